"""Classical summary statistics of a table of SNPs: spectrum, diversity, inbreeding, structure inside populations.

Where loci hold several SNPs, linkage inside them; where loci are simulated by rate, how many SNPs they have.

They are computed on prepared tables (see :mod:`ganinfer.pipeline`), real and simulated alike. Every statistic is finite
for every table, an empty one included.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from ganinfer.haplotypes import Chromosomes, Haplotypes
from ganinfer.locus_statistics import Linkage
from ganinfer.statistics import JointSpectrum

#: Kinds of statistics by what their names begin with.
FAMILIES = {
    "sfs": "site frequency spectrum",
    "diversity": "diversity and differentiation",
    "inbreeding": "heterozygotes",
    "structure": "structure inside populations",
    "missing": "missing calls",
    "linkage": "linkage inside loci",
    "number": "number of SNPs",
}
_LEAST = 1e-9
#: A ratio of eigenvalues is no larger.
_MOST_RATIO = 100.0


class TableStatistics:
    """Spectrum as shares of the SNPs; for every population its heterozygosity, the share of SNPs that vary in it, the
    lack of heterozygotes (F = 1 - observed / expected, diploids), the largest eigenvalue of the covariance between its
    individuals (Patterson et al. 2006, doi 10.1371/journal.pgen.0020190), as a multiple of the mean one and of the
    second, and the spread of their heterozygosity;
    for every pair Hudson's Fst (Bhatia et al. 2013, doi 10.1101/gr.154831.113) and dxy; the share of missing calls in
    every population, and how much it differs between individuals and between SNPs.

    ``linkage`` adds what :class:`ganinfer.locus_statistics.Linkage` finds inside loci. ``num_loci``, those without SNPs
    included, adds the mean number of SNPs a locus, its standard deviation and the share of loci without any, of all
    individuals and of each population.
    """

    def __init__(self, carriers: Chromosomes, *, linkage: bool = False, num_loci: int | None = None):
        self._carriers = carriers
        self._linkage = Linkage(carriers) if linkage else None
        self._num_loci = num_loci
        self._spectrum = JointSpectrum(carriers)
        self._pairs = list(combinations(range(len(carriers.populations)), 2))
        self._diploid = bool((carriers.ploidy == 2).all())
        populations = carriers.populations
        names = list(self._spectrum.names)
        names += [f"diversity {p}, {what}" for p in populations for what in ("heterozygosity", "variable SNPs")]
        names += [
            f"diversity {populations[i]}-{populations[j]}, {what}" for i, j in self._pairs for what in ("Fst", "dxy")
        ]
        if self._diploid:
            names += [f"inbreeding {p}, {what}" for p in populations for what in ("F", "spread of heterozygosity")]
        names += [f"structure {p}, eigenvalue 1 over {what}" for p in populations for what in ("mean", "2")]
        names += [f"missing {p}, {what}" for p in populations for what in ("share", "by individual", "by SNP")]
        if self._linkage is not None:
            names += self._linkage.names
        if num_loci is not None:
            told = ("SNPs a locus", "spread over loci", "loci without")
            names += [f"number {who}, {what}" for who in ("all", *populations) for what in told]
        self.names = tuple(names)

    @property
    def families(self) -> list[str]:
        """The kind of each statistic."""
        return [FAMILIES[name.partition(" ")[0]] for name in self.names]

    def compute(self, haplotypes: Haplotypes, derived: np.ndarray, called: np.ndarray) -> np.ndarray:
        """(len(names),) float32 from a table and its allele counts by population."""
        size = max(len(derived), 1)
        parts = [self._spectrum.compute(derived, called) / size, self._diversity(derived, called)]
        individuals = self._dosages(haplotypes)
        if self._diploid:
            parts.append(self._inbreeding(haplotypes, derived, called))
        parts.append(
            np.concatenate([self._eigenvalues(individuals, i) for i in range(len(self._carriers.populations))])
        )
        parts.append(self._missing(individuals[1]))
        if self._linkage is not None:
            parts.append(self._linkage.compute(haplotypes))
        if self._num_loci is not None:
            parts.append(_numbers(haplotypes.positions, derived, called, self._num_loci))
        return np.concatenate(parts).astype(np.float32)

    def _missing(self, called: np.ndarray) -> np.ndarray:
        """Of alleles called (num_snps, num_individuals): shares missing, and their standard deviations."""
        if not len(called):
            return np.zeros(3 * len(self._carriers.populations))
        out: list[float] = []
        for population in range(len(self._carriers.populations)):
            mine = self._members(population)
            missing = 1 - called[:, mine] / self._carriers.ploidy[mine]
            out += [missing.mean(), missing.mean(axis=0).std(), missing.mean(axis=1).std()]
        return np.array(out)

    def _diversity(self, derived: np.ndarray, called: np.ndarray) -> np.ndarray:
        there = np.maximum(called, 1)
        frequency = derived / there
        within = 2 * frequency * (1 - frequency) * there / np.maximum(there - 1, 1)
        varies = (derived > 0) & (derived < called)
        size = max(len(derived), 1)
        out = []
        for i in range(derived.shape[1]):
            out += [within[:, i].sum() / size, varies[:, i].sum() / size]
        for i, j in self._pairs:
            between = frequency[:, i] * (1 - frequency[:, j]) + frequency[:, j] * (1 - frequency[:, i])
            gap = between.sum() - 0.5 * (within[:, i] + within[:, j]).sum()
            out += [gap / max(between.sum(), _LEAST), between.sum() / size]
        return np.array(out)

    def _members(self, population: int) -> np.ndarray:
        """The individuals of a population."""
        carriers = self._carriers
        return np.flatnonzero(carriers.population[carriers.first] == population)

    def _inbreeding(self, haplotypes: Haplotypes, derived: np.ndarray, called: np.ndarray) -> np.ndarray:
        first, second = haplotypes.genotypes[:, ::2], haplotypes.genotypes[:, 1::2]
        both = (first >= 0) & (second >= 0)
        differ = both & (first != second)
        there = np.maximum(called, 1)
        frequency = derived / there
        expected = 2 * frequency * (1 - frequency) * there / np.maximum(there - 1, 1)
        out = []
        for population in range(derived.shape[1]):
            mine = self._members(population)
            genotyped, heterozygous = both[:, mine], differ[:, mine]
            hoped = (expected[:, [population]] * genotyped).sum(axis=0)
            share = heterozygous.sum(axis=0) / np.maximum(hoped, _LEAST)
            total = heterozygous.sum() / max(float(hoped.sum()), _LEAST)
            out += [1 - total, float(np.std(share[hoped > 0])) if (hoped > 0).any() else 0.0]
        return np.array(out)

    def _dosages(self, haplotypes: Haplotypes) -> tuple[np.ndarray, np.ndarray]:
        """Derived and called alleles (num_snps, num_individuals) of each individual."""
        first = self._carriers.first
        genotypes = haplotypes.genotypes
        derived = np.add.reduceat((genotypes == 1).astype(np.int16), first, axis=1)
        return derived, np.add.reduceat((genotypes >= 0).astype(np.int16), first, axis=1)

    def _eigenvalues(self, individuals: tuple[np.ndarray, np.ndarray], population: int) -> np.ndarray:
        """(2,) the largest over their mean and over the second, where each SNP's sampling variance is one."""
        mine = self._members(population)
        derived, called = individuals[0][:, mine].astype(float), individuals[1][:, mine].astype(float)
        total = called.sum(axis=1, keepdims=True)
        frequency = derived.sum(axis=1, keepdims=True) / np.maximum(total, 1)
        variance = frequency * (1 - frequency)
        used = (variance > 0)[:, 0] & (called > 0).any(axis=1)
        if used.sum() < 2 or len(mine) < 3:
            return np.zeros(2)
        residual = (derived - called * frequency)[used] / np.sqrt(variance[used] * np.maximum(called[used], 1))
        values = np.linalg.eigvalsh(residual.T @ residual)[::-1]
        # How large noise alone makes the first depends on how many SNPs vary; the second knows that, too.
        largest = float(values[0])
        if largest <= _LEAST:
            return np.zeros(2)
        return largest / np.maximum([values.mean(), values[1]], largest / _MOST_RATIO)


def _numbers(locus: np.ndarray, derived: np.ndarray, called: np.ndarray, num_loci: int) -> np.ndarray:
    """Of the numbers of variable SNPs over loci: mean, standard deviation, share of none; of all, and by population."""
    varies = (derived > 0) & (derived < called)
    out: list[float] = []
    for chosen in (np.ones(len(locus), dtype=bool), *varies.T):
        number = np.bincount(locus[chosen], minlength=num_loci)
        out += [number.mean(), number.std(), (number == 0).mean()]
    return np.array(out)
