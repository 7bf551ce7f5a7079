"""Each classical statistic against a slow brute-force reference, and what none of them may depend on."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, pairwise, product

import msprime
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ganinfer.haplotypes import Haplotypes, SampleSet, chromosomes, from_tree_sequence
from ganinfer.pipeline import PipelineSettings, prepare_real
from ganinfer.statistics import (
    FAMILIES,
    HAPLOTYPE_PARTS,
    LD_EDGES,
    ClassicalStatistics,
    HaplotypeDiversity,
    JointSpectrum,
    LinkageDisequilibrium,
    allele_counts,
    frequency_bins,
    joint_spectra,
)

LENGTH = 20_000
ONE = (SampleSet("A", 6),)
TWO = (SampleSet("A", 5), SampleSet("B", 4))
MIXED = (SampleSet("A", 5), SampleSet("H", 9, ploidy=1))
THREE = (SampleSet("A", 3), SampleSet("B", 2), SampleSet("C", 4, ploidy=1))
FOUR = (*THREE, SampleSet("D", 2))


def simulated(samples, seed=1):
    """A window with a few dozen sites, from the coalescent with recombination."""
    demography = msprime.Demography.island_model([5e3] * len(samples), 1e-4)
    sets = [msprime.SampleSet(s.num_individuals, i, ploidy=s.ploidy) for i, s in enumerate(samples)]
    trees = msprime.sim_ancestry(
        sets, demography=demography, sequence_length=LENGTH, recombination_rate=1e-7, random_seed=seed
    )
    return msprime.sim_mutations(trees, rate=1e-7, random_seed=seed)


def window(samples=TWO, seed=1, phased=True, folded=False):
    haplotypes = from_tree_sequence(simulated(samples, seed), samples)
    return prepare_real(haplotypes, PipelineSettings(phased, folded), np.random.default_rng(seed))


def statistics(haplotypes):
    """All of them by name."""
    computed = ClassicalStatistics(haplotypes.carriers, LENGTH, haplotypes.phased)
    values = computed.compute(haplotypes, *allele_counts(haplotypes))
    assert values.dtype == np.float32
    return dict(zip(computed.names, values.tolist(), strict=True))


@pytest.mark.parametrize("phased", [True, False])
def test_every_statistic_has_a_family(phased):
    haplotypes = window(phased=phased)
    computed = ClassicalStatistics(haplotypes.carriers, LENGTH, haplotypes.phased)
    assert len(computed.families) == len(computed.names)
    assert set(computed.families) == {f for f in FAMILIES.values() if phased or f != "four gametes"}


def genotypes_of(haplotypes, population):
    """Columns of one population: chromosomes, or (unphased) individuals' dosages."""
    carriers = haplotypes.carriers
    if haplotypes.phased:
        return haplotypes.genotypes[:, carriers.columns[population]].astype(int)
    individuals = np.unique(carriers.individual[carriers.population == population])
    return np.stack([haplotypes.genotypes[:, carriers.individual == i].sum(axis=1) for i in individuals], axis=1)


# --- spectrum -----------------------------------------------------------------------------------------------------


@given(st.integers(1, 400), st.integers(3, 30))
@settings(deadline=None)
def test_frequency_bins_cover_every_count_in_order(size, num_bins):
    bins = frequency_bins(size, num_bins)
    assert bins.shape == (size + 1,)
    assert bins[0] == 0
    assert set(np.diff(bins)) <= {0, 1}
    assert (bins == 0).sum() == 1
    assert (bins == bins[-1]).sum() == 1
    assert bins[-1] + 1 <= num_bins + 1
    widths = np.bincount(bins)[1:-2]
    assert (np.diff(widths) >= -1).all()  # wider and wider, but for rounding


def biallelic(samples):
    """A tree sequence without the sites of more than two alleles, and its haplotypes."""
    trees = simulated(samples)
    haplotypes = from_tree_sequence(trees, samples)
    kept = haplotypes.genotypes.max(axis=1) == 1
    return trees.delete_sites(np.array([s.id for s in trees.sites()])[~kept]), haplotypes.select(kept)


@pytest.mark.parametrize("samples", [ONE, TWO, THREE, FOUR])
def test_spectra_of_every_count_are_those_of_tskit(samples):
    trees, haplotypes = biallelic(samples)
    carriers = haplotypes.carriers
    names, columns = carriers.populations, carriers.columns
    pairs = list(combinations(range(len(names)), 2)) or [(0,)]
    found = joint_spectra(*allele_counts(haplotypes), carriers)
    assert list(found) == ([""] if len(pairs) == 1 else [f"_{names[a]}_{names[b]}" for a, b in pairs])
    for pair, spectrum in zip(pairs, found.values(), strict=True):
        expected = trees.allele_frequency_spectrum([columns[i] for i in pair], polarised=True, span_normalise=False)
        nobody = (0,) * len(pair)  # tskit leaves out sites without a derived allele in the pair
        expected[nobody] += haplotypes.num_sites - expected.sum()
        np.testing.assert_allclose(spectrum, expected)


@pytest.mark.parametrize("samples", [ONE, TWO, THREE, FOUR])
def test_joint_spectrum_is_that_of_tskit(samples):
    trees, haplotypes = biallelic(samples)
    spectrum = JointSpectrum(haplotypes.carriers)
    computed = spectrum.compute(*allele_counts(haplotypes))
    names, sizes = haplotypes.carriers.populations, haplotypes.carriers.sizes
    groups = [tuple(range(len(names)))] if len(names) <= 3 else list(combinations(range(len(names)), 2))
    expected = []
    for group in groups:
        sets = [haplotypes.carriers.columns[i] for i in group]
        full = trees.allele_frequency_spectrum(sets, polarised=True, span_normalise=False)
        bins = [frequency_bins(sizes[i], {1: 20, 2: 9, 3: 5}[len(group)]) for i in group]
        binned = np.zeros([b[-1] + 1 for b in bins])
        for cell in product(*(range(n) for n in full.shape)):
            binned[tuple(b[c] for b, c in zip(bins, cell, strict=True))] += full[cell]
        binned[(0,) * len(group)] = len(haplotypes.positions) - (full.sum() - full[(0,) * len(group)])
        expected.append(binned.ravel())
    np.testing.assert_allclose(computed, np.concatenate(expected))
    assert len(spectrum.names) == len(computed) == len(set(spectrum.names))


def test_missing_calls_keep_the_frequency():
    carriers = chromosomes(TWO)
    spectrum = JointSpectrum(carriers)
    halved = spectrum.compute(np.array([[2, 1], [1, 2]]), np.array([[4, 4], [5, 8]]))
    whole = spectrum.compute(np.array([[5, 2], [2, 2]]), np.array([[10, 8], [10, 8]]))
    np.testing.assert_array_equal(halved, whole)
    uncalled = spectrum.compute(np.array([[0, 1]]), np.array([[0, 8]]))
    np.testing.assert_array_equal(uncalled, spectrum.compute(np.array([[0, 1]]), np.array([[10, 8]])))
    every_count = joint_spectra(np.array([[2, 1], [1, 2]]), np.array([[4, 4], [5, 8]]), carriers)[""]
    assert np.argwhere(every_count).tolist() == [[2, 2], [5, 2]]


# --- haplotypes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phased", [True, False])
@pytest.mark.parametrize("samples", [ONE, TWO, THREE])
@pytest.mark.parametrize("seed", [1, 2])
def test_haplotype_diversity_by_hand(samples, phased, seed):
    haplotypes = window(samples, seed, phased)
    found = statistics(haplotypes)
    names = haplotypes.carriers.populations
    for parts in HAPLOTYPE_PARTS:
        size = f"1/{parts} window" if parts > 1 else "window"
        distinct = {n: [] for n in names}
        homozygosity = {n: [] for n in names}
        shared = {pair: [] for pair in combinations(names, 2)}
        for part in range(parts):
            inside = (haplotypes.positions * parts // LENGTH) == part
            seen = {n: [tuple(c) for c in genotypes_of(haplotypes, i)[inside].T] for i, n in enumerate(names)}
            for n in names:
                distinct[n].append(len(set(seen[n])))
                homozygosity[n].append(np.mean([a == b for a in seen[n] for b in seen[n]]))
            for a, b in shared:
                shared[a, b].append(len(set(seen[a]) & set(seen[b])))
        for n in names:
            assert found[f"haplotypes distinct {n}, {size}"] == pytest.approx(np.mean(distinct[n]))
            assert found[f"haplotypes homozygosity {n}, {size}"] == pytest.approx(np.mean(homozygosity[n]))
        for a, b in shared:
            assert found[f"haplotypes shared {a},{b}, {size}"] == pytest.approx(np.mean(shared[a, b]))


# --- linkage disequilibrium ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("phased", [True, False])
@pytest.mark.parametrize("samples", [ONE, TWO, MIXED])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_linkage_by_hand(samples, phased, seed):
    haplotypes = window(samples, seed, phased)
    found = statistics(haplotypes)
    edges = [0.0, *(e * LENGTH for e in LD_EDGES)]
    for i, name in enumerate(haplotypes.carriers.populations):
        values = genotypes_of(haplotypes, i)
        full = haplotypes.carriers.sizes[i]
        common = [s for s in range(len(values)) if 2 <= values[s].sum() <= full - 2]
        if phased:
            gametes = [len(set(zip(values[a], values[b], strict=True))) == 4 for a, b in pairwise(common)]
            assert found[f"four gametes {name}"] == pytest.approx(np.mean(gametes) if gametes else 0.0)
        if len(common) > 48:
            common = [common[j] for j in np.linspace(0, len(common) - 1, 48).astype(int)]
        assert len(common) > 5
        for low, high in pairwise(edges):
            squared = []
            for a, b in combinations(common, 2):
                if low < haplotypes.positions[b] - haplotypes.positions[a] <= high:
                    varies = values[a].std() > 0 and values[b].std() > 0
                    squared.append(np.corrcoef(values[a], values[b])[0, 1] ** 2 if varies else 0.0)
            expected = sum(squared) / (len(squared) + 1)
            assert found[f"r2 {name}, {low:.0f}-{high:.0f} bp"] == pytest.approx(expected, abs=1e-5)


def test_a_site_heterozygous_in_everybody_correlates_with_nothing():
    genotypes = np.tile(np.array([[0, 1]], dtype=np.int8), (4, 6))
    haplotypes = Haplotypes(genotypes, np.array([10, 20, 500, 9_000]), chromosomes(ONE), phased=False)
    values = LinkageDisequilibrium(haplotypes.carriers, LENGTH, False).compute(haplotypes)
    assert (values == 0).all()


def test_complete_linkage_has_r2_of_one():
    row = np.array([0, 1] * 6, dtype=np.int8)
    haplotypes = Haplotypes(np.stack([row] * 40), np.arange(0, 120, 3), chromosomes(ONE))
    values = LinkageDisequilibrium(haplotypes.carriers, LENGTH, True).compute(haplotypes)
    assert values[0] == pytest.approx(780 / 781)
    assert values[-1] == 0


# --- all of them --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("samples", [ONE, TWO, THREE, FOUR])
@pytest.mark.parametrize("phased", [True, False])
@pytest.mark.parametrize("num_sites", [0, 1, 2])
def test_empty_windows_have_finite_statistics(samples, phased, num_sites):
    whole = window(samples, phased=phased)
    values = statistics(whole.select(np.arange(num_sites)))
    assert np.isfinite(list(values.values())).all()


def test_more_sites_than_are_hashed():
    genotypes = np.random.default_rng(1).integers(0, 2, (2_500, 12)).astype(np.int8)
    values = statistics(Haplotypes(genotypes, np.arange(2_500), chromosomes(ONE)))
    assert np.isfinite(list(values.values())).all()
    assert values["haplotypes distinct A, window"] == 12


@pytest.mark.parametrize("phased", [True, False])
@given(st.integers(0, 2**32), st.sampled_from([TWO, THREE]))
@settings(deadline=None, max_examples=15)
def test_order_within_populations_changes_nothing(phased, seed, samples):
    haplotypes = window(samples, 1 + seed % 3, phased)
    carriers = haplotypes.carriers
    rng = np.random.default_rng(seed)
    columns = np.arange(len(carriers))
    for mine in carriers.columns:
        size = 1 if phased else carriers.ploidy[carriers.individual[mine[0]]]
        columns[mine] = rng.permutation(mine.reshape(-1, size)).ravel()
    permuted = replace(haplotypes, genotypes=haplotypes.genotypes[:, columns])
    assert statistics(permuted) == pytest.approx(statistics(haplotypes), rel=1e-5, abs=1e-6)


def test_linkage_and_haplotypes_do_not_care_what_alleles_are_called():
    haplotypes = window()
    swapped = replace(haplotypes, genotypes=(1 - haplotypes.genotypes).astype(np.int8))
    for of in (HaplotypeDiversity, LinkageDisequilibrium):
        kept = of(haplotypes.carriers, LENGTH, True)
        np.testing.assert_allclose(kept.compute(haplotypes), kept.compute(swapped), atol=1e-5)


def test_missing_calls_leave_statistics_finite():
    haplotypes = window()
    missing = np.random.default_rng(1).random(haplotypes.genotypes.shape) < 0.3
    missing[:3] = True
    genotypes = np.where(missing, -1, haplotypes.genotypes).astype(np.int8)
    for phased in (True, False):
        values = statistics(replace(haplotypes, genotypes=genotypes, phased=phased))
        assert np.isfinite(list(values.values())).all()


def test_allele_counts_are_counted():
    genotypes = np.array([[1, 1, 0, -1, 0, 0, 0, 0, 0, 0, 1, 0, -1, -1, -1, 1, 0, 0]], dtype=np.int8)
    haplotypes = Haplotypes(genotypes, np.array([5]), chromosomes(TWO))
    derived, called = allele_counts(haplotypes)
    assert derived.tolist() == [[2, 2]]
    assert called.tolist() == [[9, 5]]
