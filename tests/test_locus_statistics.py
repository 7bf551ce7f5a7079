"""Linkage inside loci: against definitions, and what it must not depend on."""

from __future__ import annotations

from itertools import combinations

import msprime
import numpy as np
import pytest

from ganinfer.coalescent import simulate_loci
from ganinfer.encodings import EncodingContext, LocusTable
from ganinfer.haplotypes import Haplotypes, SampleSet, chromosomes
from ganinfer.interfaces import Design, LociTemplate
from ganinfer.locus_statistics import Linkage
from ganinfer.statistics import allele_counts
from ganinfer.table_statistics import TableStatistics

SAMPLES = (SampleSet("A", 6), SampleSet("B", 5))
CARRIERS = chromosomes(SAMPLES)
LOCUS = np.array([0, 0, 0, 1, 2, 2, 4, 4, 4, 4])


def table(seed: int = 1, missing: float = 0.1, phased: bool = False) -> Haplotypes:
    rng = np.random.default_rng(seed)
    genotypes = (rng.random((len(LOCUS), 22)) < rng.uniform(0.2, 0.8, (len(LOCUS), 1))).astype(np.int8)
    genotypes[(rng.random((len(LOCUS), 11)) < missing)[:, CARRIERS.individual]] = -1
    return Haplotypes(genotypes, LOCUS, CARRIERS, phased)


def computed(haplotypes: Haplotypes) -> dict[str, float]:
    linkage = Linkage(haplotypes.carriers)
    return dict(zip(linkage.names, linkage.compute(haplotypes).tolist(), strict=True))


def members(haplotypes: Haplotypes) -> np.ndarray:
    """Derived alleles of each chromosome, or individual; NaN where a call is missing."""
    values = np.where(haplotypes.genotypes < 0, np.nan, haplotypes.genotypes)
    return values if haplotypes.phased else values[:, ::2] + values[:, 1::2]


@pytest.mark.parametrize("phased", [False, True])
def test_definitions_one_by_one(phased):
    haplotypes = table(phased=phased)
    values, found = members(haplotypes), computed(haplotypes)
    split = 12 if phased else 6
    shares = {}
    for name, columns in (("A", values[:, :split]), ("B", values[:, split:])):
        squares, different, identical = [], [], []
        for locus in (0, 2, 4):
            snps = columns[locus == LOCUS]
            for x, y in combinations(snps, 2):
                both = ~np.isnan(x) & ~np.isnan(y)
                if np.std(x[both]) * np.std(y[both]) > 0:
                    squares.append(np.corrcoef(x[both], y[both])[0, 1] ** 2)
            seen = [tuple(member) for member in snps.T if not np.isnan(member).any()]
            if len(seen) > 1:
                different.append((len(set(seen)) - 1) / (len(seen) - 1))
                identical.append(np.mean([a == b for a, b in combinations(seen, 2)]))
            shares[name, locus] = {c: seen.count(c) / len(seen) for c in seen}
        assert found[f"linkage {name}, r2"] == pytest.approx(np.mean(squares), rel=1e-4)
        assert found[f"linkage {name}, different"] == pytest.approx(np.mean(different))
        assert found[f"linkage {name}, identical"] == pytest.approx(np.mean(identical))
    shared = [
        sum(min(share, shares["B", locus].get(c, 0)) for c, share in shares["A", locus].items()) for locus in (0, 2, 4)
    ]
    assert found["linkage A-B, shared"] == pytest.approx(np.mean(shared))


def test_order_is_no_matter():
    haplotypes, rng = table(), np.random.default_rng(2)
    order = np.concatenate([rng.permutation(6), 6 + rng.permutation(5)])
    genotypes = haplotypes.genotypes.reshape(len(LOCUS), 11, 2)[:, order].reshape(len(LOCUS), 22)
    rows = np.argsort(np.array([3, 1, 2, 9, 0])[LOCUS], kind="stable")
    changed = Haplotypes(genotypes[rows], np.sort(np.array([3, 1, 2, 9, 0])[LOCUS]), CARRIERS, False)
    np.testing.assert_allclose(list(computed(changed).values()), list(computed(haplotypes).values()), rtol=1e-5)


def test_snps_on_one_genealogy_are_linked_and_others_are_not():
    """Unlinked SNPs of n chromosomes have r^2 of 1 / (n - 1) on average; on one tree it is several times that."""

    def squared(template: LociTemplate, locus: np.ndarray) -> float:
        samples = (SampleSet("A", 15),)
        demography = msprime.Demography.isolated_model([1_000])
        demography.populations[0].name = "A"
        design = Design(samples, (template,), "loci")
        (made,) = simulate_loci(demography, [msprime.SampleSet(15, population="A")], design, 1)
        return computed(Haplotypes(made.genotypes, locus, made.carriers))["linkage A, r2"]

    pairs = np.repeat(np.arange(600), 2)
    assert squared(LociTemplate(np.arange(1_200)), pairs) == pytest.approx(1 / 29, rel=0.2)
    assert squared(LociTemplate(pairs), pairs) > 3 / 29


def test_many_pairs_are_thinned_evenly():
    rng = np.random.default_rng(1)
    genotypes = (rng.random((300, 22)) < 0.5).astype(np.int8)
    found = computed(Haplotypes(genotypes, np.zeros(300, dtype=np.int64), CARRIERS))
    assert found["linkage A, r2"] == pytest.approx(1 / 11, rel=0.05)


@pytest.mark.parametrize("value", [-1, 0, 1])
@pytest.mark.parametrize("locus", [[], [0], [0, 1], [0, 0]])
def test_small_tables_are_finite(value, locus):
    genotypes = np.full((len(locus), 22), value, dtype=np.int8)
    assert np.isfinite(list(computed(Haplotypes(genotypes, np.array(locus, dtype=np.int64), CARRIERS)).values())).all()


def test_tables_of_one_snp_a_locus_keep_their_statistics():
    plain, more = TableStatistics(CARRIERS), TableStatistics(CARRIERS, linkage=True, num_loci=6)
    assert more.names[: len(plain.names)] == plain.names
    haplotypes = table()
    counts = allele_counts(haplotypes)
    values = more.compute(haplotypes, *counts)
    np.testing.assert_array_equal(values[: len(plain.names)], plain.compute(haplotypes, *counts))
    said = dict(zip(more.names, values.tolist(), strict=True))
    assert said["number all, SNPs a locus"] == pytest.approx(10 / 6)
    assert said["number all, loci without"] == pytest.approx(2 / 6)
    assert said["number all, spread over loci"] == pytest.approx(np.std([3, 1, 2, 0, 4, 0]), rel=1e-6)


def test_the_locus_table_holds_every_call_of_loci_with_several_snps():
    haplotypes = table()
    context = EncodingContext(SAMPLES, False, True, 10, 10)
    arrays = LocusTable(context, num_loci=4, num_snps=3).encode(haplotypes)
    genotypes = arrays["locus_genotypes"]
    assert genotypes.shape == (4, 3, 11)
    expected = np.nan_to_num(2 * members(haplotypes) - 2, nan=-128)
    np.testing.assert_array_equal(genotypes[2], expected[6:9])
    np.testing.assert_array_equal(genotypes[1, :2], expected[4:6])
    assert (genotypes[3] == -128).all()
    derived, called = allele_counts(haplotypes)
    np.testing.assert_array_equal(arrays["locus_counts"][1, :2], derived[4:6])
    totals = [called[:3].sum(), called[4:6].sum(), called[6:9].sum(), 0]
    np.testing.assert_array_equal(arrays["locus_called"].sum(axis=(1, 2)), totals)
