"""The convolutional network of a course on Kirschner et al. (2022, doi:10.1038/s41467-022-29267-8), for comparison.

As the course gives it (M. F. Perez, Physalia, 2023 to 2025; the paper's own has more layers): SNPs are steps,
chromosomes are channels, -1 the more frequent allele and +1 the rarer one, missing genotypes 0. Three convolutions over
two SNPs, each followed by average pooling and batch normalisation, then two dense layers with dropout. The second of
them is the embedding; class probabilities are the engine's head. With 270 chromosomes, 1,000 SNPs and three classes
that makes the published 2,287,747 weights.

It reads our SNP table as it is, so polarised SNPs have -1 for the ancestral allele. It is blind neither to the order of
chromosomes nor to that of SNPs, though neither means anything where loci are unlinked. Unphased individuals are
channels of dosages scaled to [-1, 1], in which a heterozygote looks like a missing genotype.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
from keras import ops

from ganinfer.encodings import NO_GENOTYPE
from ganinfer.interfaces import EncodingSpec

api_version = "1"
encodings = ("snp-table",)
invariant = ()

_FILTERS = (256, 128, 128)
_KERNEL = _POOL = 2
#: Below so many SNPs a pooling is left without any.
MIN_SITES = 15


def build(spec: Mapping[str, EncodingSpec], *, width: int = 128, dropout: float = 0.5) -> keras.Model:
    """The network for ``spec``: ``genotypes`` (batch, rows, SNPs) to an embedding (batch, ``width``)."""
    rows, sites = spec["genotypes"].shape
    if sites < MIN_SITES:
        raise ValueError(f"conv1d pools SNPs three times and needs {MIN_SITES} of them, not {sites}")
    genotypes = keras.Input(shape=(rows, sites), dtype=spec["genotypes"].dtype, name="genotypes")
    codes = ops.cast(genotypes, "float32")
    alleles = ops.where(codes > NO_GENOTYPE, codes / spec["genotypes"].details["ploidy"], 0.0)
    steps = ops.transpose(alleles, (0, 2, 1))
    for i, filters in enumerate(_FILTERS):
        steps = keras.layers.Conv1D(filters, _KERNEL, activation="relu", name=f"convolution_{i}")(steps)
        steps = keras.layers.AveragePooling1D(_POOL, name=f"pool_{i}")(steps)
        steps = keras.layers.BatchNormalization(name=f"normalised_{i}")(steps)
    hidden = keras.layers.Flatten(name="flat")(steps)
    for i in range(2):
        hidden = keras.layers.Dense(width, activation="relu", name=f"dense_{i}")(hidden)
        hidden = keras.layers.Dropout(dropout, name=f"dropout_{i}")(hidden)
    return keras.Model({"genotypes": genotypes}, hidden, name="conv1d")
