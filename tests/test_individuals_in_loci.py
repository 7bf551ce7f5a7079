"""The default network's branch on individuals inside loci: what may change an embedding and what may not."""

from __future__ import annotations

import numpy as np
import pytest

keras = pytest.importorskip("keras")

import tensorflow as tf  # noqa: E402

from discriminators import exchangeable  # noqa: E402
from ganinfer import encodings  # noqa: E402
from ganinfer.haplotypes import Haplotypes, SampleSet, chromosomes  # noqa: E402

SAMPLES = (SampleSet("A", 5), SampleSet("B", 4))
CARRIERS = chromosomes(SAMPLES)
SIZES = np.array([3, 1, 2, 4, 3, 3])
LOCUS = np.repeat(np.arange(6), SIZES)


def table(seed: int = 1, missing: float = 0.1) -> Haplotypes:
    rng = np.random.default_rng(seed)
    genotypes = (rng.random((len(LOCUS), 18)) < rng.uniform(0.1, 0.6, (len(LOCUS), 1))).astype(np.int8)
    genotypes[(rng.random((len(LOCUS), 9)) < missing)[:, CARRIERS.individual]] = -1
    return Haplotypes(genotypes, LOCUS, CARRIERS, False)


def makers(num_snps: int = 4, folded: bool = True):
    context = encodings.EncodingContext(SAMPLES, False, folded, 30, 30)
    options = {"locus-table": {"num_loci": 6, "num_snps": num_snps}}
    return [encodings.make(name, context, options.get(name)) for name in ("joint-counts", "locus-table")]


def encoded(haplotypes: Haplotypes, made) -> dict[str, np.ndarray]:
    return {k: v[None] for encoding in made for k, v in encoding.encode(haplotypes).items()}


def build(made, **options):
    keras.utils.set_random_seed(3)
    return exchangeable.build({k: v for encoding in made for k, v in encoding.spec().items()}, **options)


def embed(model, arrays) -> np.ndarray:
    return model({i.name: tf.constant(arrays[i.name]) for i in model.inputs}).numpy()


@pytest.fixture(scope="module")
def model():
    return build(makers())


def close(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(np.abs(a - b).max() < 1e-5 * np.abs(b).max())


def test_the_order_of_individuals_loci_and_snps_does_not_matter(model):
    rng, haplotypes = np.random.default_rng(2), table()
    before = embed(model, encoded(haplotypes, makers()))
    order = np.concatenate([rng.permutation(5), 5 + rng.permutation(4)])
    genotypes = haplotypes.genotypes.reshape(-1, 9, 2)[:, order].reshape(-1, 18)
    assert close(embed(model, encoded(Haplotypes(genotypes, LOCUS, CARRIERS, False), makers())), before)
    loci = rng.permutation(6)
    rows = np.concatenate([rng.permutation(np.flatnonzero(locus == LOCUS)) for locus in loci])
    moved = Haplotypes(genotypes[rows], np.repeat(np.arange(6), SIZES[loci]), CARRIERS, False)
    assert close(embed(model, encoded(moved, makers())), before)


def test_which_individual_carries_an_allele_matters_with_the_branch_only(model):
    haplotypes = table(missing=0.0)
    genotypes = haplotypes.genotypes.copy()
    genotypes[7, :10] = genotypes[7, :10].reshape(5, 2)[[2, 0, 4, 1, 3]].ravel()
    changed = Haplotypes(genotypes, LOCUS, CARRIERS, False)
    off = build(makers(), individuals=False)
    first, second = (encoded(h, makers()) for h in (haplotypes, changed))
    assert close(embed(off, second), embed(off, first))
    assert not close(embed(model, second), embed(model, first))


def test_a_locus_of_one_snp_tells_the_branch_nothing():
    layer = build(makers()).get_layer("loci")
    made = makers()
    haplotypes = table()
    other = Haplotypes(np.where(LOCUS[:, None] == 1, np.int8(0), haplotypes.genotypes), LOCUS, CARRIERS, False)
    names = ("locus_genotypes", "locus_counts", "locus_called")
    first, second = (layer([tf.constant(encoded(h, made)[n]) for n in names]).numpy() for h in (haplotypes, other))
    np.testing.assert_array_equal(first, second)


def test_which_allele_is_counted_does_not_matter_where_spectra_are_folded(model):
    haplotypes = table()
    genotypes = haplotypes.genotypes.copy()
    genotypes[[1, 5]] = np.where(genotypes[[1, 5]] >= 0, 1 - genotypes[[1, 5]], -1)
    changed = Haplotypes(genotypes, LOCUS, CARRIERS, False)
    assert close(embed(model, encoded(changed, makers())), embed(model, encoded(haplotypes, makers())))
    made = makers(folded=False)
    unfolded = build(made)
    assert not close(embed(unfolded, encoded(changed, made)), embed(unfolded, encoded(haplotypes, made)))


def test_more_room_changes_nothing(model):
    wider = build(makers(num_snps=9))
    wider.set_weights(model.get_weights())
    assert close(embed(wider, encoded(table(), makers(num_snps=9))), embed(model, encoded(table(), makers())))


def test_without_the_branch_the_network_is_what_it_was():
    """Off, or where loci hold one SNP: the same inputs, weights and embeddings."""
    off, plain = build(makers(), individuals=False), build(makers()[:1])
    assert [i.name for i in off.inputs] == [i.name for i in plain.inputs]
    assert all(np.array_equal(a, b) for a, b in zip(off.get_weights(), plain.get_weights(), strict=True))
    arrays = encoded(table(), makers())
    np.testing.assert_array_equal(embed(off, arrays), embed(plain, arrays))


def test_keras_file_gives_the_same_network(model, tmp_path):
    model.save(tmp_path / "n.keras")
    restored = keras.saving.load_model(tmp_path / "n.keras", compile=False)
    arrays = encoded(table(), makers())
    np.testing.assert_allclose(embed(restored, arrays), embed(model, arrays), rtol=1e-5, atol=1e-6)
