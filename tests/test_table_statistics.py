"""Classical statistics of tables of SNPs: against definitions, and what they must not depend on."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from ganinfer.haplotypes import Haplotypes, SampleSet, chromosomes
from ganinfer.statistics import allele_counts
from ganinfer.table_statistics import FAMILIES, TableStatistics

SAMPLES = (SampleSet("A", 6), SampleSet("B", 5))
CARRIERS = chromosomes(SAMPLES)


def table(seed: int = 1, num_snps: int = 80, missing: float = 0.1) -> Haplotypes:
    rng = np.random.default_rng(seed)
    frequency = rng.random((num_snps, 2))[:, CARRIERS.population]
    genotypes = (rng.random((num_snps, len(CARRIERS))) < frequency).astype(np.int8)
    genotypes[(rng.random((num_snps, 11)) < missing)[:, CARRIERS.individual]] = -1
    return Haplotypes(genotypes, np.arange(num_snps), CARRIERS, phased=False)


def computed(haplotypes: Haplotypes) -> dict[str, float]:
    statistics = TableStatistics(haplotypes.carriers)
    values = statistics.compute(haplotypes, *allele_counts(haplotypes))
    assert values.dtype == np.float32
    assert values.shape == (len(statistics.names),) == (len(statistics.families),)
    assert set(statistics.families) <= set(FAMILIES.values())
    return dict(zip(statistics.names, values.tolist(), strict=True))


def pairs_that_differ(columns: np.ndarray) -> float:
    """Mean over SNPs of the share of pairs of called chromosomes that differ."""
    shares = []
    for row in columns:
        alleles = row[row >= 0]
        pairs = list(combinations(alleles, 2))
        shares.append(np.mean([a != b for a, b in pairs]) if pairs else 0.0)
    return float(np.mean(shares))


def test_diversity_by_counting_pairs():
    haplotypes = table()
    values = computed(haplotypes)
    first, second = (haplotypes.genotypes[:, c] for c in CARRIERS.columns)
    within = [pairs_that_differ(side) for side in (first, second)]
    between = np.mean(
        [
            np.mean([x != y for x in a[a >= 0] for y in b[b >= 0]]) if (a >= 0).any() and (b >= 0).any() else 0.0
            for a, b in zip(first, second, strict=True)
        ]
    )
    assert values["diversity A, heterozygosity"] == pytest.approx(within[0], rel=1e-5)
    assert values["diversity B, heterozygosity"] == pytest.approx(within[1], rel=1e-5)
    assert values["diversity A-B, dxy"] == pytest.approx(between, rel=1e-5)
    assert values["diversity A-B, Fst"] == pytest.approx(1 - np.mean(within) / between, rel=1e-4)


def test_the_spectrum_is_shares_of_the_snps():
    values = computed(table())
    assert sum(v for name, v in values.items() if name.startswith("sfs ")) == pytest.approx(1.0, rel=1e-5)


def test_heterozygotes_called_homozygous_show():
    haplotypes = table(num_snps=600)
    genotypes = haplotypes.genotypes.copy()
    rng = np.random.default_rng(2)
    hit = rng.random((600, 11)) < 0.3
    genotypes[:, 1::2] = np.where(hit, genotypes[:, ::2], genotypes[:, 1::2])
    before = computed(haplotypes)
    after = computed(Haplotypes(genotypes, haplotypes.positions, CARRIERS, phased=False))
    for population in "AB":
        assert abs(before[f"inbreeding {population}, F"]) < 0.1
        assert after[f"inbreeding {population}, F"] - before[f"inbreeding {population}, F"] > 0.15


def test_a_hidden_population_shows():
    rng = np.random.default_rng(4)
    samples = (SampleSet("A", 20),)
    carriers = chromosomes(samples)
    frequency = np.repeat(rng.random((500, 1)), 40, axis=1)
    mixed = frequency.copy()
    mixed[:, :8] = rng.random((500, 1))
    values = [
        computed(Haplotypes((rng.random((500, 40)) < f).astype(np.int8), np.arange(500), carriers))
        for f in (frequency, mixed)
    ]
    for what in ("mean", "2"):
        assert (
            values[1][f"structure A, eigenvalue 1 over {what}"]
            > 2 * values[0][f"structure A, eigenvalue 1 over {what}"]
        )


def test_where_nothing_is_known_of_relatedness_it_is_zero():
    """Each SNP is called in a single heterozygote: whoever else was there, nobody knows."""
    carriers = chromosomes((SampleSet("A", 4),))
    genotypes = np.full((8, 8), -1, dtype=np.int8)
    for snp in range(8):
        genotypes[snp, 2 * (snp % 4) : 2 * (snp % 4) + 2] = 0, 1
    values = computed(Haplotypes(genotypes, np.arange(8), carriers))
    assert [values[f"structure A, eigenvalue 1 over {what}"] for what in ("mean", "2")] == [0, 0]


@pytest.mark.parametrize("what", ["snps", "individuals"])
def test_order_is_no_matter(what):
    haplotypes = table()
    rng = np.random.default_rng(3)
    if what == "snps":
        changed = haplotypes.genotypes[rng.permutation(80)]
    else:
        order = np.concatenate([rng.permutation(6), 6 + rng.permutation(5)])
        changed = haplotypes.genotypes.reshape(80, 11, 2)[:, order].reshape(80, 22)
    mine = computed(haplotypes)
    other = computed(Haplotypes(changed, haplotypes.positions, CARRIERS, phased=False))
    np.testing.assert_allclose(list(other.values()), list(mine.values()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("samples", [SAMPLES, (SampleSet("A", 4, 1), SampleSet("B", 2, 2)), (SampleSet("A", 1),)])
@pytest.mark.parametrize("num_snps", [0, 1, 3])
def test_small_tables_are_finite(samples, num_snps):
    carriers = chromosomes(samples)
    for value in (-1, 0, 1):
        genotypes = np.full((num_snps, len(carriers)), value, dtype=np.int8)
        values = computed(Haplotypes(genotypes, np.arange(num_snps), carriers))
        assert np.isfinite(list(values.values())).all()
