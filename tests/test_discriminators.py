"""Laws of the built-in networks: what may change an embedding and what may not."""

from __future__ import annotations

import numpy as np
import pytest

keras = pytest.importorskip("keras")

import tensorflow as tf  # noqa: E402

from discriminators import exchangeable, pg_gan  # noqa: E402
from ganinfer import encodings  # noqa: E402
from ganinfer.haplotypes import Haplotypes, SampleSet, chromosomes  # noqa: E402

LENGTH = 10_000
SAMPLES = (SampleSet("A", 4), SampleSet("B", 3))


def context(num_sites=64, samples=SAMPLES, **settings):
    return encodings.EncodingContext(
        samples, **{"phased": True, "folded": False, **settings}, length=LENGTH, num_sites=num_sites
    )


def haplotypes(rng, samples=SAMPLES, num_sites=40, missing=0.0, blocks=5):
    """Sites in runs of linked ones, so that some rows are identical in some parts of the window."""
    carriers = chromosomes(samples)
    patterns = rng.random((blocks, len(carriers))) < rng.uniform(0.1, 0.9, size=(blocks, 1))
    genotypes = patterns[np.sort(rng.integers(blocks, size=num_sites))].astype(np.int8)
    genotypes ^= (rng.random(genotypes.shape) < 0.03).astype(np.int8)
    genotypes[rng.random(genotypes.shape) < missing] = -1
    return Haplotypes(genotypes, np.sort(rng.choice(LENGTH, num_sites, replace=False)), carriers)


def specs_of(ctx):
    return {k: v for name in ("snp-matrix", "joint-counts") for k, v in encodings.make(name, ctx, {}).spec().items()}


def encode(ctx, windows):
    made = [encodings.make(name, ctx, {}) for name in ("snp-matrix", "joint-counts")]
    rows = [{k: v for encoding in made for k, v in encoding.encode(window).items()} for window in windows]
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def embed(model, arrays):
    return model({t.name: tf.constant(arrays[t.name]) for t in model.inputs}).numpy()


def build(module, ctx, **options):
    keras.utils.set_random_seed(3)
    return module.build(specs_of(ctx), **options)


NETWORKS = pytest.mark.parametrize(
    ("module", "options"),
    [(exchangeable, {}), (exchangeable, {"cnn": False}), (pg_gan, {})],
    ids=["exchangeable", "exchangeable without cnn", "pg-gan"],
)


@NETWORKS
def test_order_of_chromosomes_within_populations_does_not_matter(module, options):
    rng = np.random.default_rng(1)
    ctx = context()
    model = build(module, ctx, **options)
    arrays = encode(ctx, [haplotypes(rng, missing=0.02) for _ in range(6)])
    shuffled = dict(arrays)
    order = np.concatenate([rng.permutation(8), 8 + rng.permutation(6)])
    shuffled["genotypes"] = arrays["genotypes"][:, order]
    np.testing.assert_allclose(embed(model, shuffled), embed(model, arrays), rtol=1e-5, atol=1e-5)


def test_exchange_between_populations_matters():
    rng = np.random.default_rng(2)
    ctx = context()
    model = build(exchangeable, ctx)
    arrays = encode(ctx, [haplotypes(rng) for _ in range(4)])
    swapped = dict(arrays)
    order = np.arange(14)
    order[[0, 13]] = order[[13, 0]]
    swapped["genotypes"] = arrays["genotypes"][:, order]
    assert np.abs(embed(model, swapped) - embed(model, arrays)).max() > 1e-4


@NETWORKS
def test_more_padding_changes_nothing(module, options):
    rng = np.random.default_rng(3)
    windows = [haplotypes(rng, num_sites=n) for n in (0, 1, 7, 40, 60)]
    narrow, wide = context(64), context(133)
    small, large = build(module, narrow, **options), build(module, wide, **options)
    large.set_weights(small.get_weights())
    np.testing.assert_allclose(
        embed(large, encode(wide, windows)), embed(small, encode(narrow, windows)), rtol=1e-5, atol=1e-5
    )


@NETWORKS
def test_a_window_does_not_depend_on_the_batch_around_it(module, options):
    rng = np.random.default_rng(4)
    ctx = context()
    model = build(module, ctx, **options)
    arrays = encode(ctx, [haplotypes(rng, num_sites=n) for n in (60, 3, 20)])
    alone = [embed(model, {k: v[i : i + 1] for k, v in arrays.items()}) for i in range(3)]
    np.testing.assert_allclose(np.concatenate(alone), embed(model, arrays), rtol=1e-5, atol=1e-5)


@NETWORKS
def test_keras_file_gives_the_same_network(module, options, tmp_path):
    rng = np.random.default_rng(5)
    ctx = context()
    model = build(module, ctx, **options)
    model.save(tmp_path / "trunk.keras")
    again = keras.saving.load_model(tmp_path / "trunk.keras", safe_mode=True)
    arrays = encode(ctx, [haplotypes(rng) for _ in range(3)])
    assert (embed(model, arrays) == embed(again, arrays)).all()


def test_rows_without_genotypes_are_a_smaller_sample():
    rng = np.random.default_rng(6)
    small_samples = (SampleSet("A", 3), SampleSet("B", 3))
    large, small = context(), context(samples=small_samples)
    window = haplotypes(rng, small_samples)
    arrays = encode(small, [window])
    padded = dict(arrays)
    nobody = np.full((1, 2, 64), encodings.NO_GENOTYPE, dtype=np.int8)
    padded["genotypes"] = np.concatenate([arrays["genotypes"][:, :6], nobody, arrays["genotypes"][:, 6:]], axis=1)
    model = build(exchangeable, large)
    fewer = build(exchangeable, small)
    fewer.set_weights(model.get_weights())
    np.testing.assert_allclose(embed(model, padded), embed(fewer, arrays), rtol=1e-5, atol=1e-5)


def test_folded_counts_do_not_say_which_allele_was_counted():
    rng = np.random.default_rng(7)
    ctx = context(folded=True)
    model = build(exchangeable, ctx, cnn=False)
    arrays = encode(ctx, [haplotypes(rng) for _ in range(3)])
    flipped = dict(arrays)
    other = rng.random((3, 64, 1)) < 0.5
    flipped["counts"] = np.where(other, arrays["called"] - arrays["counts"], arrays["counts"])
    np.testing.assert_allclose(embed(model, flipped), embed(model, arrays), rtol=1e-5, atol=1e-5)
    polarised = build(exchangeable, context(), cnn=False)
    assert np.abs(embed(polarised, flipped) - embed(polarised, arrays)).max() > 1e-3


def test_unphased_individuals_and_three_populations():
    rng = np.random.default_rng(8)
    samples = (*SAMPLES, SampleSet("C", 2))
    ctx = context(samples=samples, phased=False)
    model = build(exchangeable, ctx, width=8)
    embedding = embed(model, encode(ctx, [haplotypes(rng, samples, missing=0.1) for _ in range(3)]))
    assert embedding.shape == (3, 8)
    assert np.isfinite(embedding).all()


@pytest.mark.parametrize("sizes", [[6], [5, 3], [4, 1, 3]])
def test_identical_rows_agree_with_counting_them(sizes):
    rng = np.random.default_rng(9)
    values = rng.integers(4, size=(sum(sizes), 7, 5)).astype(np.float32)
    groups = np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])
    expected = [sum((values == values[r]).astype(int) for r in group) for group in groups]
    for few in (0, 100):
        found = exchangeable.identical_rows(tf.constant(values), sizes, few=few)
        for got, want in zip(found, expected, strict=True):
            np.testing.assert_array_equal(got.numpy(), want)


def test_identity_features_are_haplotype_homozygosity_and_distinct_haplotypes():
    rng = np.random.default_rng(10)
    ctx = context(samples=(SampleSet("A", 10),))
    windows = [haplotypes(rng, (SampleSet("A", 10),)) for _ in range(5)]
    arrays = encode(ctx, windows)
    layer = exchangeable.HaplotypeIdentity([20])
    whole = layer([tf.constant(arrays["genotypes"]), tf.constant(arrays["distances"])]).numpy()[:, 0]
    for window, features in zip(windows, whole, strict=True):
        _, number = np.unique(window.genotypes.T, axis=0, return_counts=True)
        pairs = (number * (number - 1)).sum() / (20 * 19)
        np.testing.assert_allclose(features[:2], [pairs, len(number) / 20], rtol=1e-5)


def test_pg_gan_has_the_published_number_of_weights():
    for populations, published in ((1, 76_577), (2, 125_729), (3, 174_881)):
        samples = tuple(SampleSet(name, 2) for name in "ABC"[:populations])
        trunk = build(pg_gan, context(samples=samples))
        assert trunk.count_params() + 128 + 1 == published


def test_pg_gan_sees_the_middle_sites_with_the_rarer_allele_as_one():
    rng = np.random.default_rng(11)
    ctx = context()
    arrays = encode(ctx, [haplotypes(rng, num_sites=50), haplotypes(rng, num_sites=10)])
    layer = pg_gan.MiddleSites()
    seen = layer([tf.constant(arrays[n]) for n in ("genotypes", "distances", "mask")]).numpy()
    codes = arrays["genotypes"][0, :, 7:43].astype(float)
    np.testing.assert_array_equal(seen[0, :, :, 0], np.where(codes.sum(axis=0) > 0, -codes, codes))
    np.testing.assert_allclose(seen[0, 3, :, 1], arrays["distances"][0, 7:43])
    assert (seen[1, :, 10:] == 0).all()
    assert (np.abs(seen[1, :, :10, 0]) == 1).all()
