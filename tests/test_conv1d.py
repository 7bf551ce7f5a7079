"""The published network on SNP tables: its weights, its inputs, and the contract of networks."""

from __future__ import annotations

import numpy as np
import pytest

keras = pytest.importorskip("keras")

import tensorflow as tf  # noqa: E402

from discriminators import conv1d  # noqa: E402
from ganinfer import encodings, testing  # noqa: E402
from ganinfer.haplotypes import Haplotypes, SampleSet, chromosomes  # noqa: E402

SAMPLES = (SampleSet("ExZ", 4), SampleSet("Z", 3))


def table(num_sites=40, samples=SAMPLES, phased=True):
    context = encodings.EncodingContext(samples, phased=phased, folded=True, length=num_sites, num_sites=num_sites)
    return encodings.make("snp-table", context)


def genotypes(num_tables=3, num_sites=40, missing=0.1):
    """Tables of the chromosomes of SAMPLES, -1 where missing."""
    rng = np.random.default_rng(4)
    carriers = chromosomes(SAMPLES)
    drawn = rng.integers(2, size=(num_tables, num_sites, len(carriers))).astype(np.int8)
    drawn[rng.random(drawn.shape) < missing] = -1
    return [Haplotypes(g, np.arange(num_sites), carriers) for g in drawn]


def embed(model, codes):
    return model({"genotypes": tf.constant(codes)}).numpy()


def test_it_has_the_published_number_of_weights():
    """270 chromosomes, 1,000 SNPs, three classes."""
    spec = table(1000, (SampleSet("ExZ", 80), SampleSet("Z", 55))).spec()
    trunk = conv1d.build(spec)
    assert trunk.get_layer("flat").output.shape == (None, 15_872)
    assert trunk.count_params() + 3 * 128 + 3 == 2_287_747


def test_it_keeps_the_contract():
    report = testing.check_discriminator(conv1d)
    assert report.ok, str(report)


@pytest.mark.parametrize("phased", [True, False])
def test_alleles_are_centred_and_missing_ones_are_zero(phased):
    encoding = table(phased=phased)
    model = conv1d.build(encoding.spec())
    seen = keras.Model(model.inputs, model.get_layer("convolution_0").input)
    (haplotypes,) = genotypes(1)
    codes = encoding.encode(haplotypes)["genotypes"]
    values = embed(seen, codes[None])[0].T
    assert values.shape == ((14 if phased else 7), 40)
    missing = codes == encodings.NO_GENOTYPE
    assert missing.any()
    assert (values[missing] == 0).all()
    np.testing.assert_array_equal(values[~missing], codes[~missing] / (1 if phased else 2))
    assert set(np.unique(values)) == {-1, 0, 1}


def test_padding_is_read_like_missing_genotypes():
    encoding = table(60)
    model = conv1d.build(encoding.spec())
    (short,) = genotypes(1, num_sites=40)
    padded = encoding.encode(short)["genotypes"]
    nobody = np.concatenate([short.genotypes, np.full((20, 14), -1, np.int8)])
    missing = encoding.encode(Haplotypes(nobody, np.arange(60), short.carriers))["genotypes"]
    np.testing.assert_array_equal(embed(model, padded[None]), embed(model, missing[None]))


def test_a_table_does_not_depend_on_the_batch_around_it():
    encoding = table()
    keras.utils.set_random_seed(3)
    model = conv1d.build(encoding.spec())
    codes = np.stack([encoding.encode(h)["genotypes"] for h in genotypes(4)])
    alone = np.concatenate([embed(model, codes[i : i + 1]) for i in range(4)])
    np.testing.assert_allclose(alone, embed(model, codes), rtol=1e-5, atol=1e-6)


def test_too_few_snps_are_refused():
    conv1d.build(table(conv1d.MIN_SITES).spec())
    with pytest.raises(ValueError, match="needs 15 of them, not 14"):
        conv1d.build(table(conv1d.MIN_SITES - 1).spec())


def test_width_and_dropout_are_options():
    model = conv1d.build(table().spec(), width=16, dropout=0.2)
    assert model.output.shape == (None, 16)
    assert model.get_layer("dropout_1").rate == 0.2
