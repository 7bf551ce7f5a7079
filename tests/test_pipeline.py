"""The pipeline: what names and orders of alleles, chromosomes and phase cannot change, and one path for both sides."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ganinfer.haplotypes import Haplotypes, SampleSet, chromosomes
from ganinfer.interfaces import WindowTemplate
from ganinfer.pipeline import PipelineSettings, biallelic, mirrored, missing_rows, prepare_real, prepare_simulated

LENGTH = 1_000
SAMPLES = (SampleSet("A", 3), SampleSet("B", 2))
MIXED = (SampleSet("A", 2), SampleSet("B", 3, ploidy=1), SampleSet("C", 1))
TEMPLATE = WindowTemplate(LENGTH)
FOLDED = PipelineSettings(folded=True)
quick = settings(deadline=None, max_examples=60)


def rng(seed=1):
    return np.random.default_rng(seed)


def window(genotypes, positions=None, samples=SAMPLES):
    genotypes = np.asarray(genotypes, dtype=np.int8)
    if positions is None:
        positions = 10 * np.arange(len(genotypes)) + 5
    return Haplotypes(genotypes, np.asarray(positions, dtype=np.int64), chromosomes(samples))


@st.composite
def windows(draw, samples=SAMPLES, lowest=-1, highest=1, repeated=False):
    """Random windows with sites of every kind: missing calls, monomorphic sites, ties."""
    num_sites = draw(st.integers(0, 12))
    source = rng(draw(st.integers(0, 2**32)))
    share = source.uniform(0, 1, size=(num_sites, 1))
    shape = (num_sites, sum(s.num_chromosomes for s in samples))
    genotypes = (source.random(shape) < share) * source.integers(1, highest + 1, size=(num_sites, 1))
    if lowest < 0:
        genotypes[source.random(shape) < 0.1] = -1
    positions = np.sort(source.choice(LENGTH, num_sites, replace=repeated))
    return window(genotypes, positions, samples)


def counts(haplotypes):
    """Alleles 1 and called alleles of each site."""
    return (haplotypes.genotypes == 1).sum(axis=1), (haplotypes.genotypes >= 0).sum(axis=1)


def swapped(haplotypes):
    """The same data with alleles 0 and 1 called the other way round."""
    g = haplotypes.genotypes
    return replace(haplotypes, genotypes=np.where(g >= 0, 1 - g, g).astype(np.int8))


def assert_same(a, b):
    np.testing.assert_array_equal(a.positions, b.positions)
    np.testing.assert_array_equal(a.genotypes, b.genotypes)
    assert a.phased == b.phased
    assert a.genotypes.dtype == b.genotypes.dtype == np.int8


# --- folding ------------------------------------------------------------------------------------------------------


@given(windows())
@quick
def test_the_minor_allele_is_minor(haplotypes):
    derived, called = counts(prepare_real(haplotypes, FOLDED, rng()))
    assert (2 * derived <= called).all()
    assert (derived > 0).all()


def undecided(haplotypes):
    """Sites at which every population holds as many of either allele: nothing says which one is minor."""
    g = haplotypes.genotypes
    return np.all(
        [(g[:, c] == 1).sum(axis=1) == (g[:, c] == 0).sum(axis=1) for c in haplotypes.carriers.columns], axis=0
    )


@given(windows(), st.integers(0, 100))
@quick
def test_folding_does_not_care_what_alleles_are_called(haplotypes, seed):
    haplotypes = haplotypes.select(~undecided(haplotypes))
    assert_same(prepare_real(haplotypes, FOLDED, rng(seed)), prepare_real(swapped(haplotypes), FOLDED, rng(seed)))


@given(windows())
@quick
def test_undecided_sites_keep_their_counts(haplotypes):
    """Where nothing says which allele is minor, either naming gives the same counts in every population."""
    a = prepare_real(haplotypes.select(undecided(haplotypes)), FOLDED, rng())
    b = prepare_real(swapped(haplotypes.select(undecided(haplotypes))), FOLDED, rng())
    np.testing.assert_array_equal((a.genotypes == 1) @ a.carriers.indicator, (b.genotypes == 1) @ b.carriers.indicator)


@given(windows(), st.permutations(range(3)), st.permutations(range(2)))
@quick
def test_folding_does_not_care_for_the_order_of_individuals(haplotypes, first, second):
    """Individuals permuted within populations before, or after: the same window (singletons' phase is random)."""
    columns = [c for i in (*first, *(3 + np.array(second))) for c in (2 * i, 2 * i + 1)]
    unphased = replace(FOLDED, phased=False)
    before = prepare_real(replace(haplotypes, genotypes=haplotypes.genotypes[:, columns]), unphased, rng())
    after = prepare_real(haplotypes, unphased, rng())
    assert_same(before, replace(after, genotypes=after.genotypes[:, columns]))


def test_ties_fall_to_the_first_population_that_differs():
    row = [1, 1, 1, 0, 0, 1, 0, 0, 1, 0]  # five of ten; four of six in A
    assert (counts(window([row]))[0] == 5).all()
    for given_row in (row, [1 - g for g in row]):
        folded = prepare_real(window([given_row]), FOLDED, rng())
        assert folded.genotypes.tolist() == [[1 - g for g in row]]


def test_unfolded_windows_keep_their_alleles():
    row = [1, 1, 1, 1, 1, 1, 1, 1, 0, 0]
    assert prepare_real(window([row]), PipelineSettings(), rng()).genotypes.tolist() == [row]


# --- phase --------------------------------------------------------------------------------------------------------


@given(windows(MIXED), st.integers(0, 2**32))
@quick
def test_unphasing_leaves_nothing_of_the_phase(haplotypes, seed):
    """Any rearrangement of alleles within individuals gives the same window, genotypes unchanged."""
    carriers = haplotypes.carriers
    shuffled = haplotypes.genotypes.copy()
    for individual in range(len(carriers.ploidy)):
        columns = np.flatnonzero(carriers.individual == individual)
        shuffled[:, columns] = rng(seed).permuted(shuffled[:, columns], axis=1)
    unphased = PipelineSettings(phased=False)
    prepared = prepare_real(haplotypes, unphased, rng())
    assert_same(prepared, prepare_real(replace(haplotypes, genotypes=shuffled), unphased, rng(2)))
    assert not prepared.phased
    kept = np.isin(haplotypes.positions, prepared.positions)
    for individual in range(len(carriers.ploidy)):
        columns = np.flatnonzero(carriers.individual == individual)
        before = np.sort(haplotypes.genotypes[kept][:, columns], axis=1)
        np.testing.assert_array_equal(prepared.genotypes[:, columns], before)


def test_phased_windows_keep_their_phase_but_for_singletons():
    genotypes = [[1, 0, 0, 1, 0, 0, 1, 0, 1, 0], [0, 0, 0, 0, 1, 0, 0, 0, 0, 0]]
    seen = set()
    for seed in range(20):
        prepared = prepare_real(window(genotypes), PipelineSettings(), rng(seed))
        assert prepared.genotypes[0].tolist() == genotypes[0]
        seen.add(int(np.flatnonzero(prepared.genotypes[1])[0]))
    assert seen == {4, 5}


def test_singletons_lie_on_either_chromosome_equally_often():
    genotypes = np.zeros((2_000, 10), dtype=np.int8)
    genotypes[:, 3] = 1
    prepared = prepare_real(window(genotypes), PipelineSettings(), rng())
    assert (prepared.genotypes[:, 2:4].sum(axis=1) == 1).all()
    assert prepared.genotypes[:, 2].mean() == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(2_000))


def test_haploid_carriers_keep_their_singletons():
    genotypes = np.zeros((50, 9), dtype=np.int8)
    genotypes[:, 5] = 1
    prepared = prepare_real(window(genotypes, samples=MIXED), PipelineSettings(), rng())
    assert (prepared.genotypes[:, 5] == 1).all()


@given(windows(MIXED), st.booleans())
@quick
def test_random_phase_changes_no_genotype(haplotypes, folded):
    phased = prepare_real(haplotypes, PipelineSettings(folded=folded), rng())
    unphased = prepare_real(haplotypes, PipelineSettings(folded=folded, phased=False), rng())
    starts = phased.carriers.first
    np.testing.assert_array_equal(
        np.add.reduceat(phased.genotypes, starts, axis=1), np.add.reduceat(unphased.genotypes, starts, axis=1)
    )


# --- which sites --------------------------------------------------------------------------------------------------


@given(windows(highest=3, repeated=True), st.booleans(), st.sampled_from(["keep", "drop"]))
@quick
def test_kept_sites_are_biallelic_variable_and_alone_at_their_position(haplotypes, folded, singletons):
    prepared = prepare_real(haplotypes, PipelineSettings(folded=folded, singletons=singletons), rng())
    derived, called = counts(prepared)
    assert (derived >= (2 if singletons == "drop" else 1)).all()
    assert (derived < called).all()
    assert prepared.genotypes.max(initial=0) <= 1
    assert (np.diff(prepared.positions) > 0).all()
    # And nothing else was lost.
    alone = {p for p in haplotypes.positions if (haplotypes.positions == p).sum() == 1}
    for position, row in zip(haplotypes.positions, haplotypes.genotypes, strict=True):
        called_row = row[row >= 0]
        others = set(called_row) - {0}
        num_derived = (
            int((called_row > 0).sum()) if 0 in called_row or not folded else int((called_row == max(others)).sum())
        )
        rare = min(num_derived, len(called_row) - num_derived) if folded else num_derived
        two = len(others) <= 1 or (folded and set(called_row) == others and len(others) == 2)
        variable = 0 < num_derived < len(called_row)
        expected = position in alone and two and variable and not (singletons == "drop" and rare == 1)
        assert (position in prepared.positions) == expected


def test_folded_singletons_are_those_of_the_minor_allele():
    rows = [[1] * 9 + [0], [0] * 9 + [1], [1, 1] + [0] * 8]
    drop = PipelineSettings(singletons="drop")
    assert prepare_real(window(rows), drop, rng()).positions.tolist() == [5, 25]
    assert prepare_real(window(rows), replace(drop, folded=True), rng()).positions.tolist() == [25]


def test_only_accessible_bases_are_kept():
    haplotypes = window([[1] + [0] * 9] * 6, [0, 99, 100, 199, 200, 999])
    template = WindowTemplate(LENGTH, accessible=np.array([[0, 100], [199, 200], [900, 1000]]))
    assert prepare_simulated(haplotypes, template, PipelineSettings(), rng()).positions.tolist() == [0, 99, 199, 999]
    nothing = WindowTemplate(LENGTH, accessible=np.empty((0, 2), dtype=np.int64))
    assert prepare_simulated(haplotypes, nothing, PipelineSettings(), rng()).num_sites == 0


# --- what simulated windows take from their template --------------------------------------------------------------


def test_rows_of_missing_calls_are_those_of_the_template():
    rows = rng(3).random((4, 10)) < 0.4
    template = WindowTemplate(LENGTH, missing=np.packbits(rows, axis=1))
    genotypes = rng(4).integers(0, 2, size=(300, 10)).astype(np.int8)
    mirror = mirrored(window(genotypes, np.arange(300)), template, rng())
    drawn = {tuple(r) for r in mirror.genotypes < 0}
    assert drawn == {tuple(r) for r in rows}
    np.testing.assert_array_equal(np.where(mirror.genotypes < 0, -1, genotypes), mirror.genotypes)


def test_rows_come_as_often_as_in_the_template_and_no_more_at_random():
    """Every site is variable under every row here, so that all rows count the same."""
    genotypes = np.tile([0, 1, 0, 1, 0, 1, 0, 1, 0, 1], (250, 1))
    rows = np.eye(10, dtype=bool)[:7]
    template = WindowTemplate(LENGTH, missing=np.packbits(rows, axis=1))
    missing = mirrored(window(genotypes, np.arange(250)), template, rng()).genotypes < 0
    times = missing.sum(axis=0)
    assert times[:7].min() >= 250 // 7
    assert times[:7].max() <= 250 // 7 + 1
    orders = {missing[:, 0].tobytes()} | {
        (mirrored(window(genotypes, np.arange(250)), template, rng(i)).genotypes[:, 0] < 0).tobytes() for i in (2, 3)
    }
    assert len(orders) == 3


def test_rows_are_those_of_variable_sites():
    rows = [[-1, -1, 0, 0, 1], [-1, -1, 0, 0, 0], [0, 0, -1, -1, 1], [0, 1, -1, -1, 2], [0, 1, 1, 0, 1]]
    genotypes = np.array([[*r, *r] for r in rows])
    packed = missing_rows(window(genotypes))
    np.testing.assert_array_equal(np.unpackbits(packed, axis=1, count=10), genotypes[[0, 2, 4]] < 0)
    assert missing_rows(window(np.abs(genotypes))) is None
    assert missing_rows(window(genotypes[[1, 4]])) is None


def test_calls_are_missing_as_often_as_in_real_windows_though_sites_go_with_them():
    """A real window lacks the sites that missing calls made monomorphic, most of which missed much."""
    source, shares = rng(5), {"real": [], "simulated": []}
    for i in range(400):
        real = prepare_real(_with_rare_alleles(source, 0.25), PipelineSettings(), rng())
        template = WindowTemplate(LENGTH, missing=missing_rows(real))
        simulated = prepare_simulated(_with_rare_alleles(source, 0.0), template, PipelineSettings(), rng(i))
        shares["real"].append((real.genotypes < 0).mean())
        shares["simulated"].append((simulated.genotypes < 0).mean())
    real_shares, simulated_shares = (np.array(s) for s in shares.values())
    difference = real_shares - simulated_shares
    assert abs(difference.mean()) < 4 * difference.std() / 20
    assert real_shares.mean() < 0.245
    assert simulated_shares.std() < 1.2 * real_shares.std()


def _with_rare_alleles(source, missingness):
    """80 sites, half of them with a single derived allele, and individuals without a call."""
    size = np.where(source.random(80) < 0.5, 1, source.integers(2, 9, size=80))
    genotypes = source.permuted(np.arange(10)[None, :] < size[:, None], axis=1).astype(np.int8)
    genotypes[np.repeat(source.random((80, 5)) < missingness, 2, axis=1)] = -1
    return window(genotypes)


def test_sites_are_thinned_by_the_share_of_unusable_ancestral_alleles():
    template = WindowTemplate(LENGTH, unusable_ancestral=0.3)
    haplotypes = window(np.ones((1_000, 10)), np.arange(1_000))
    kept = mirrored(haplotypes, template, rng()).num_sites
    assert kept == pytest.approx(700, abs=4 * np.sqrt(1_000 * 0.3 * 0.7))


@given(
    windows(MIXED, lowest=0, highest=2, repeated=True), st.booleans(), st.booleans(), st.sampled_from(["keep", "drop"])
)
@quick
def test_real_and_simulated_windows_take_one_path(haplotypes, phased, folded, singletons):
    chosen = PipelineSettings(phased=phased, folded=folded, singletons=singletons)
    assert_same(prepare_simulated(haplotypes, TEMPLATE, chosen, rng(9)), prepare_real(haplotypes, chosen, rng(9)))


@given(windows(), st.booleans(), st.booleans())
@quick
def test_preparing_twice_is_preparing_once(haplotypes, phased, folded):
    chosen = PipelineSettings(phased=phased, folded=folded)
    haplotypes = haplotypes.select(~undecided(haplotypes))
    once = prepare_real(haplotypes, chosen, rng(1))
    twice = prepare_real(replace(once, phased=True), chosen, rng(1))
    np.testing.assert_array_equal(once.positions, twice.positions)
    np.testing.assert_array_equal(counts(once), counts(twice))


@given(windows(highest=2, repeated=True), st.booleans(), st.booleans())
@quick
def test_what_is_given_is_left_alone(haplotypes, phased, folded):
    genotypes, positions = haplotypes.genotypes.copy(), haplotypes.positions.copy()
    template = WindowTemplate(LENGTH, missing=np.packbits(np.eye(10, dtype=bool), axis=1), unusable_ancestral=0.2)
    prepare_simulated(haplotypes, template, PipelineSettings(phased=phased, folded=folded), rng())
    np.testing.assert_array_equal(haplotypes.genotypes, genotypes)
    np.testing.assert_array_equal(haplotypes.positions, positions)


@pytest.mark.parametrize("folded", [False, True])
def test_alleles_that_nobody_has_are_not_counted(folded):
    """As in genomes that were read: an allele's number says how many there were before, not how many there are."""
    rows = [[0, 1, 1, -1], [0, 2, 2, 0], [1, 2, 2, 1], [0, 1, 2, 0], [2, 2, 2, 2], [-1, 3, 0, -1]]
    seen = biallelic(window(rows, np.arange(6), (SampleSet("A", 2),)), folded=folded)
    expected = {0: [0, 1, 1, -1], 1: [0, 1, 1, 0], 4: [1, 1, 1, 1], 5: [-1, 1, 0, -1]}
    if folded:
        expected[2] = [0, 1, 1, 0]
    assert seen.positions.tolist() == sorted(expected)
    assert seen.genotypes.tolist() == [expected[i] for i in sorted(expected)]
