"""The network of pg-gan (Wang et al. 2021, doi:10.1111/1755-0998.13386), for comparison, on our SNP matrix.

As its authors describe it: the 36 sites in the middle of a region, zero-padded; one channel with the allele (-1, and +1
for the rarer allele of the pooled sample), one with the distance to the site before; two convolutions along sites with
pooling, the same for every population; a sum over chromosomes; two dense layers with dropout. Its last hidden layer is
the embedding, its output layer the engine's critic. Missing genotypes, which it does not know, are 0 like padding.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
from keras import ops

from ganinfer.interfaces import EncodingSpec

api_version = "1"
encodings = ("snp-matrix",)
invariant = True

NUM_SITES = 36
_FILTERS = (32, 64)
_KERNEL = 5


@keras.saving.register_keras_serializable(package="ganinfer")
class MiddleSites(keras.layers.Layer):
    """The middle ``num_sites`` sites of (batch, rows, sites) genotypes with distances: (batch, rows, num_sites, 2)."""

    def __init__(self, num_sites: int = NUM_SITES, **kwargs: Any):
        super().__init__(**kwargs)
        self.num_sites = num_sites

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_sites": self.num_sites}

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, int | None, int, int]:
        return (*input_shape[0][:2], self.num_sites, 2)

    def call(self, inputs: Sequence[Any]) -> Any:
        genotypes, distances, mask = inputs
        used = ops.sum(ops.cast(mask, "int32"), axis=1, keepdims=True)
        places = ops.maximum(used - self.num_sites, 0) // 2 + ops.arange(self.num_sites)
        there = ops.cast(places < used, "float32")
        places = ops.minimum(places, mask.shape[1] - 1)
        codes = ops.take_along_axis(genotypes, places[:, None, :], axis=2)
        alleles = ops.where(codes > -128, ops.sign(ops.cast(codes, "float32")), 0.0) * there[:, None, :]
        alleles = ops.where(ops.sum(alleles, axis=1, keepdims=True) > 0, -alleles, alleles)
        gaps = (ops.take_along_axis(distances, places, axis=1) * there)[:, None, :]
        return ops.stack([alleles, ops.broadcast_to(gaps, ops.shape(alleles))], axis=-1)


def build(spec: Mapping[str, EncodingSpec], *, width: int = 128, dropout: float = 0.5) -> keras.Model:
    """The network for ``spec``: named inputs to an embedding (batch, ``width``)."""
    names = ("genotypes", "distances", "mask")
    inputs = {name: keras.Input(shape=spec[name].shape, dtype=spec[name].dtype, name=name) for name in names}
    matrix = MiddleSites(name="middle")(list(inputs.values()))
    rows = spec["genotypes"].details["rows"]
    for i, filters in enumerate(_FILTERS):
        matrix = keras.layers.Conv2D(filters, (1, _KERNEL), activation="relu", name=f"convolution_{i}")(matrix)
        matrix = keras.layers.MaxPooling2D((1, 2), name=f"pool_{i}")(matrix)
    starts = [sum(rows[:i]) for i in range(len(rows))]
    sums = [ops.sum(matrix[:, start : start + n], axis=1) for start, n in zip(starts, rows, strict=True)]
    hidden = keras.layers.Flatten(name="flat")(ops.concatenate(sums, axis=-1) if len(sums) > 1 else sums[0])
    for i in range(2):
        hidden = keras.layers.Dense(width, activation="relu", name=f"dense_{i}")(hidden)
        hidden = keras.layers.Dropout(dropout, name=f"dropout_{i}")(hidden)
    return keras.Model(inputs, hidden, name="pg_gan")
