"""Linkage inside loci: what the SNPs of one locus say together, and not each by itself.

Every statistic is a mean over loci, or over pairs of SNPs that share one. Where chromosomes are not told apart, an
individual's numbers of derived alleles stand in their place.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from ganinfer.haplotypes import Chromosomes, Haplotypes

#: Pairs of SNPs that are looked at, at most; of more, evenly many of all loci.
_MOST_PAIRS = 20_000


class Linkage:
    """For every population the mean r^2 between SNPs of a locus that vary in it (Hill & Robertson 1968, doi
    10.1007/BF01245622; of numbers of alleles where phase is unknown, Rogers & Huff 2009, doi
    10.1534/genetics.108.093153), how many different configurations of a locus's SNPs its members have, as a share of
    all that could differ, and how often two members have the same; for every pair how much of their configurations
    they share. Members are chromosomes, or individuals where phase is unknown; who lacks a call of a locus is left out
    of its configurations. Zero where no locus has two SNPs.
    """

    def __init__(self, carriers: Chromosomes):
        self._carriers = carriers
        self._pairs = list(combinations(range(len(carriers.populations)), 2))
        populations = carriers.populations
        self.names = [f"linkage {p}, {what}" for p in populations for what in ("r2", "different", "identical")]
        self.names += [f"linkage {populations[i]}-{populations[j]}, shared" for i, j in self._pairs]

    def compute(self, haplotypes: Haplotypes) -> np.ndarray:
        """(len(names),) of a table, whose positions number its loci."""
        _, locus, sizes = np.unique(haplotypes.positions, return_inverse=True, return_counts=True)
        several = np.flatnonzero(sizes[locus] > 1)
        if not len(several):
            return np.zeros(len(self.names))
        values, population = self._members(haplotypes.genotypes[several], haplotypes.phased)
        sizes = sizes[sizes > 1]
        correlations = self._correlations(values, population, sizes)
        seen = _configurations(values, population, sizes, len(self._carriers.populations))
        own, shared = _diversity(*seen, len(sizes), self._pairs)
        return np.concatenate([np.concatenate([correlations[:, None], own], axis=1).ravel(), shared])

    def _members(self, genotypes: np.ndarray, phased: bool) -> tuple[np.ndarray, np.ndarray]:
        """(num_snps, num_members) derived alleles, -1 where a call is missing, and each member's population."""
        carriers = self._carriers
        if phased:
            return genotypes.astype(np.int64), carriers.population
        dosage = np.add.reduceat(genotypes.astype(np.int64), carriers.first, axis=1)
        complete = np.minimum.reduceat(genotypes, carriers.first, axis=1) >= 0
        return np.where(complete, dosage, -1), carriers.population[carriers.first]

    def _correlations(self, values: np.ndarray, population: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """Mean squared correlation (num_populations,) of the pairs of SNPs of a locus that both vary, 0 without any."""
        first, second = _pairs_inside(sizes)
        out = np.zeros(len(self._carriers.populations))
        for i in range(len(out)):
            mine = values[:, population == i].astype(np.float32)
            x, y = mine[first], mine[second]
            both = ((x >= 0) & (y >= 0)).astype(np.float32)
            number = np.maximum(both.sum(axis=1, keepdims=True), 1)
            x, y = ((side - (side * both).sum(axis=1, keepdims=True) / number) * both for side in (x, y))
            spread = (x * x).sum(axis=1) * (y * y).sum(axis=1)
            varies = spread > 1e-6
            if varies.any():
                out[i] = float(np.mean((x * y).sum(axis=1)[varies] ** 2 / spread[varies]))
        return out


def _pairs_inside(sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the two SNPs of each pair that shares a locus, of loci with so many SNPs side by side."""
    starts = np.cumsum(sizes) - sizes
    total = int((sizes * (sizes - 1) // 2).sum())
    step = -(-total // _MOST_PAIRS)
    found = []
    for size in np.unique(sizes):
        a, b = np.triu_indices(int(size), 1)
        places = starts[sizes == size][:, None]
        found.append(np.stack([(places + a).ravel(), (places + b).ravel()]))
    first, second = np.concatenate(found, axis=1)[:, ::step]
    return first, second


def _configurations(
    values: np.ndarray, population: np.ndarray, sizes: np.ndarray, num_populations: int
) -> tuple[np.ndarray, np.ndarray]:
    """How many members of each population (num_configurations, num_populations) have each, and its locus."""
    starts = np.cumsum(sizes) - sizes
    place = np.arange(len(values)) - np.repeat(starts, sizes)
    # Sums of random weights are equal where configurations are, and else by no chance that matters.
    weight = np.random.default_rng(1).integers(1, 2**62 // (4 * int(sizes.max())), size=int(sizes.max()))
    code = np.add.reduceat(values * weight[place][:, None], starts, axis=0)
    complete = np.minimum.reduceat(values, starts, axis=0) >= 0
    locus, member = np.nonzero(complete)
    keys, which = np.unique(np.stack([locus, code[complete]]), axis=1, return_inverse=True)
    cells = which.ravel() * num_populations + population[member]
    counts = np.bincount(cells, minlength=keys.shape[1] * num_populations)
    return counts.reshape(-1, num_populations), keys[0]


def _diversity(
    counts: np.ndarray, locus: np.ndarray, num_loci: int, pairs: list[tuple[int, int]]
) -> tuple[np.ndarray, np.ndarray]:
    """By population (num_populations, 2) the shares that differ and that are alike; of pairs (len(pairs),) what they
    share: means over the loci at which two members, or one of each population, have all calls."""

    def by_locus(values: np.ndarray) -> np.ndarray:
        return np.bincount(locus, values, num_loci)

    own = []
    totals = np.stack([by_locus(column) for column in counts.T], axis=1)
    for column, total in zip(counts.T, totals.T, strict=True):
        there = total > 1
        different = (by_locus(column > 0) - 1)[there] / (total[there] - 1)
        identical = by_locus(column * (column - 1))[there] / (total * (total - 1))[there]
        own.append([different.mean(), identical.mean()] if there.any() else [0.0, 0.0])
    share = counts / np.maximum(totals, 1)[locus]
    shared = []
    for i, j in pairs:
        there = (totals[:, i] > 0) & (totals[:, j] > 0)
        common = by_locus(np.minimum(share[:, i], share[:, j]))[there]
        shared.append(common.mean() if there.any() else 0.0)
    return np.array(own), np.array(shared)
