"""Laws of the classical rival: what may change its features, and that it learns and repeats itself."""

from __future__ import annotations

import numpy as np
import pytest

from ganinfer.joint_sfs import JointSfs, bins, features

SIZES = (12, 8)


def tables(rng, num_tables=6, num_snps=30, sizes=SIZES, missing=0.2, shape=1.0):
    """Counts and calls of SNPs whose frequencies are beta distributed, the same in every population."""
    frequency = rng.beta(0.5 * shape, 0.5, size=(num_tables, num_snps, 1))
    called = rng.binomial(sizes, 1 - missing, size=(num_tables, num_snps, len(sizes)))
    return rng.binomial(called, frequency).astype(np.int16), called.astype(np.int16)


@pytest.fixture
def rng():
    return np.random.default_rng(8)


@pytest.mark.parametrize("folded", [True, False])
def test_order_of_snps_does_not_matter(rng, folded):
    counts, called = tables(rng)
    order = rng.permutation(counts.shape[1])
    here = features(counts, called, folded=folded, sizes=SIZES)
    there = features(counts[:, order], called[:, order], folded=folded, sizes=SIZES)
    np.testing.assert_array_equal(here, there)


@pytest.mark.parametrize("folded", [True, False])
def test_padding_does_not_matter(rng, folded):
    counts, called = tables(rng)
    wider = ((0, 0), (0, 7), (0, 0))
    here = features(counts, called, folded=folded, sizes=SIZES)
    there = features(np.pad(counts, wider), np.pad(called, wider), folded=folded, sizes=SIZES)
    np.testing.assert_array_equal(here, there)


@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_folded_features_do_not_say_which_allele_was_counted(rng, missing):
    counts, called = tables(rng, missing=missing)
    pooled = 2 * counts.sum(axis=2) == called.sum(axis=2)
    assert pooled.any()
    other = np.where(rng.random(counts.shape[:2])[..., None] < 0.5, called - counts, counts)
    here = features(counts, called, folded=True, sizes=SIZES)
    np.testing.assert_array_equal(here, features(other, called, folded=True, sizes=SIZES))
    polarised = [features(c, called, folded=False, sizes=SIZES) for c in (counts, other)]
    assert np.abs(polarised[0] - polarised[1]).max() > 0.01


def test_a_table_does_not_depend_on_the_others(rng, monkeypatch):
    counts, called = tables(rng, num_tables=7)
    whole = features(counts, called, folded=True, sizes=SIZES)
    monkeypatch.setattr("ganinfer.joint_sfs._SITES_AT_ONCE", 90)
    np.testing.assert_array_equal(features(counts, called, folded=True, sizes=SIZES), whole)
    assert features(counts[:0], called[:0], folded=True, sizes=SIZES).shape == (0, whole.shape[1])


@pytest.mark.parametrize(("sizes", "pairs"), [((9,), []), ((9, 4), [(0, 1)]), ((9, 4, 5), [(0, 1), (0, 2), (1, 2)])])
def test_features_are_spectra_and_joint_spectra(rng, sizes, pairs):
    """The slow twin: SNP by SNP, without missing calls."""
    counts, called = tables(rng, num_tables=2, sizes=sizes, missing=0.0)
    found = features(counts, called, folded=False, sizes=sizes)
    for table, row in zip(counts, found, strict=True):
        expected = []
        for i, size in enumerate(sizes):
            spectrum = np.zeros(bins(size).max() + 1)
            for snp in table:
                spectrum[bins(size)[snp[i]]] += 1 / len(table)
            expected.append(spectrum)
        for i, j in pairs:
            spectrum = np.zeros((len(expected[i]), len(expected[j])))
            for snp in table:
                spectrum[bins(sizes[i])[snp[i]], bins(sizes[j])[snp[j]]] += 1 / len(table)
            expected.append(spectrum.ravel())
        np.testing.assert_allclose(row, np.concatenate(expected), rtol=1e-6)


def test_missing_calls_scale_counts_and_do_not_fix_alleles():
    """One SNP, called at half of the chromosomes of A and at none of B."""
    sizes, half = (20, 4), np.array([[[10, 0]]])
    first = len(np.unique(bins(20)))
    for count, scaled in ((0, 0), (1, 2), (5, 10), (9, 18), (10, 20)):
        row = features(np.array([[[count, 0]]]), half, folded=False, sizes=sizes)[0]
        assert row[bins(20)[scaled]] == 1
        assert row[first:].sum() == 0
    row = features(np.array([[[1, 0]]]), np.array([[[45, 4]]]), folded=False, sizes=(20, 4))[0]
    assert row[bins(20)[1]] == 1


@pytest.mark.parametrize("size", [1, 2, 3, 7, 20, 160])
def test_bins_are_symmetric_and_finest_at_the_ends(size):
    found = bins(size)
    assert found[0] == 0
    assert (np.diff(found) >= 0).all()
    np.testing.assert_array_equal(np.unique(found), np.arange(found[-1] + 1))
    widths = np.bincount(found)
    np.testing.assert_array_equal(widths[0], 1)
    np.testing.assert_array_equal(widths[-1], 1)
    half = found[: (size + 1) // 2]
    np.testing.assert_array_equal(found[-1] - found[::-1][: len(half)], half)


@pytest.fixture(scope="module")
def easy():
    """Two scenarios, of common and of rare alleles: tables to learn from, and others."""
    rng = np.random.default_rng(5)
    labels = np.arange(120) % 2
    parts = [tables(rng, 60, shape=shape) for shape in (1.0, 0.4)]
    counts, called = (np.empty((120, *parts[0][0].shape[1:]), dtype=np.int16) for _ in range(2))
    for label, (c, n) in enumerate(parts):
        counts[labels == label], called[labels == label] = c, n
    return counts, called, labels


def fitted(easy, seed=1, **options):
    counts, called, labels = (a[:80] for a in easy)
    return JointSfs(**options).fit(counts, called, labels, folded=False, sizes=SIZES, seed=seed)


def test_it_beats_chance_and_its_probabilities_sum_to_one(easy):
    counts, called, labels = (a[80:] for a in easy)
    found = fitted(easy).probabilities(counts, called)
    assert found.shape == (40, 2)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert (found.argmax(axis=1) == labels).mean() > 0.75
    assert -np.log(found[np.arange(40), labels]).mean() < np.log(2)


def test_the_same_seed_gives_the_same_answer(easy):
    counts, called, _ = easy
    answers = [fitted(easy, seed).probabilities(counts, called) for seed in (3, 3, 4)]
    np.testing.assert_array_equal(answers[0], answers[1])
    assert (answers[0] != answers[2]).any()


def test_mistakes_are_refused(easy):
    counts, called, labels = easy
    with pytest.raises(ValueError, match=r"two or more scenarios from 0.*got \[0, 2\]"):
        JointSfs().fit(counts, called, 2 * labels, folded=True, sizes=SIZES, seed=1)
    with pytest.raises(ValueError, match="one shape"):
        features(counts, called[:, :-1], folded=True, sizes=SIZES)
    with pytest.raises(ValueError, match="3 populations"):
        features(counts, called, folded=True, sizes=(12, 8, 4))
