"""Observations of one window: genotypes, positions and who carries them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

MISSING = -1


@dataclass(frozen=True)
class SampleSet:
    """``num_individuals`` of one population with the same ploidy, sampled ``time`` generations ago."""

    population: str
    num_individuals: int
    ploidy: int = 2
    time: float = 0.0

    @property
    def num_chromosomes(self) -> int:
        return self.num_individuals * self.ploidy


@dataclass(frozen=True, eq=False)
class Chromosomes:
    """The columns of a genotype matrix, in the order of the design's sample sets.

    ``populations`` names the populations in order of first appearance; ``population`` (num_chromosomes,) int16 indexes
    it; ``individual`` (num_chromosomes,) int32 numbers individuals from 0, an individual's chromosomes side by side.
    """

    populations: tuple[str, ...]
    population: np.ndarray
    individual: np.ndarray

    def __len__(self) -> int:
        return len(self.population)

    @cached_property
    def ploidy(self) -> np.ndarray:
        """(num_individuals,) chromosomes of each individual."""
        return np.bincount(self.individual)

    @cached_property
    def first(self) -> np.ndarray:
        """(num_individuals,) column of each individual's first chromosome."""
        return np.concatenate([[0], np.cumsum(self.ploidy)[:-1]])

    @cached_property
    def columns(self) -> tuple[np.ndarray, ...]:
        """For each population the indices of its chromosomes."""
        return tuple(np.flatnonzero(self.population == i) for i in range(len(self.populations)))

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Chromosomes of each population."""
        return tuple(len(c) for c in self.columns)

    @cached_property
    def indicator(self) -> np.ndarray:
        """(num_chromosomes, num_populations) float32, 1 where a chromosome is of a population."""
        return (self.population[:, None] == np.arange(len(self.populations))[None, :]).astype(np.float32)


@lru_cache(maxsize=64)
def chromosomes(samples: tuple[SampleSet, ...]) -> Chromosomes:
    """The columns that a design's sample sets make."""
    names = tuple(dict.fromkeys(s.population for s in samples))
    population, ploidy = [], []
    for s in samples:
        population += [names.index(s.population)] * s.num_chromosomes
        ploidy += [s.ploidy] * s.num_individuals
    individual = np.repeat(np.arange(len(ploidy)), ploidy)
    return Chromosomes(names, np.array(population, dtype=np.int16), individual.astype(np.int32))


@dataclass(frozen=True, eq=False)
class Haplotypes:
    """What one window holds.

    ``genotypes`` int8 (num_sites, num_chromosomes): 0 ancestral or reference, 1 and above other alleles, -1 missing;
    ``positions`` int64 (num_sites,), counted from the window's left end, sorted, several sites may share one only
    before they are made biallelic; ``phased`` says whether an individual's chromosomes are told apart.
    """

    genotypes: np.ndarray
    positions: np.ndarray
    carriers: Chromosomes
    phased: bool = True

    @property
    def num_sites(self) -> int:
        return len(self.positions)

    @cached_property
    def any_missing(self) -> bool:
        return bool(self.genotypes.min(initial=0) < 0)

    @cached_property
    def allele_counts(self) -> tuple[np.ndarray, np.ndarray]:
        """Derived (or minor) and called alleles, each int64 (num_sites, num_populations). Shared: not to be changed."""
        carriers = self.carriers
        derived = (self.genotypes == 1).astype(np.float32) @ carriers.indicator
        if self.any_missing:
            called = (self.genotypes >= 0).astype(np.float32) @ carriers.indicator
        else:
            called = np.broadcast_to(np.array(carriers.sizes, dtype=np.float32), derived.shape)
        return derived.astype(np.int64), called.astype(np.int64)

    def select(self, sites: np.ndarray) -> Haplotypes:
        """The sites chosen by a boolean mask or indices."""
        return replace(self, genotypes=self.genotypes[sites], positions=self.positions[sites])


def from_tree_sequence(tree_sequence: Any, samples: Sequence[SampleSet], *, left: float = 0.0) -> Haplotypes:
    """Haplotypes of a tskit tree sequence whose sample nodes follow the order of ``samples``.

    Alleles are numbered as tskit does (0 ancestral); isolated samples are missing.
    """
    carriers = chromosomes(tuple(samples))
    if tree_sequence.num_samples != len(carriers):
        raise ValueError(f"tree sequence has {tree_sequence.num_samples} samples, the design {len(carriers)}")
    positions = np.floor(tree_sequence.sites_position - left).astype(np.int64)
    genotypes = np.asarray(tree_sequence.genotype_matrix(), dtype=np.int8).reshape(len(positions), len(carriers))
    return Haplotypes(genotypes, positions, carriers)
