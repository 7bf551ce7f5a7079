"""Data sets for the leak verification: genomes simulated at the truth, written as VCF, read as real ones are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from ganinfer import execution, experiment, randomness, study
from ganinfer.experiment import Experiment
from ganinfer.haplotypes import MISSING, Haplotypes
from ganinfer.runner import assembling, exporting
from ganinfer.windows import RecombinationMap, Window, complement, normalise
from tests.verification.accuracy import EXPERIMENTS

SCENARIO = "im"
LENGTH = 50_000
CONTIGS = 50
CONTIG_LENGTH = 500_000
MEAN_RATE = 1.25e-8
MISSINGNESS = 0.1
_MIN_ACCESSIBLE = 0.3
_GRID = 1_000


def study_experiment() -> Experiment:
    """``im`` with five individuals a population, folded."""
    return experiment.load(
        EXPERIMENTS / "im.yaml",
        [
            "data.simulate.samples={A: 5, B: 5}",
            "data.simulate.windows=null",
            "data.simulate.contigs=1",
            f"data.simulate.contig_length={CONTIG_LENGTH}",
            "data.ancestral=none",
            f"windows.length={LENGTH}",
            "execution.executor=serial",
        ],
    )


@cache
def truth() -> Mapping[str, float]:
    return assembling.study_plan(study_experiment()).truth


def write(seed: int, folder: Path, *, phased: bool, shuffled: float = 0.0, contigs: int | None = None) -> Experiment:
    """Write a data set into ``folder``; the experiment that reads it. The arguments are those of :func:`simulate`."""
    simulated, maps = simulate(seed, phased=phased, shuffled=shuffled, contigs=contigs)
    exporting.write_vcf(study_experiment(), SCENARIO, simulated, folder)
    (folder / "map.txt").write_text("\n".join(hapmap(maps)) + "\n")
    return experiment.load(
        folder / "experiment.yaml",
        [
            "data.recombination_map=map.txt",
            f"scenarios.{SCENARIO}.recombination_rate=map",
            f"windows.min_accessible={_MIN_ACCESSIBLE}",
        ],
    )


def simulate(
    seed: int, *, phased: bool, shuffled: float = 0.0, contigs: int | None = None
) -> tuple[exporting.Simulated, dict[str, RecombinationMap]]:
    """A data set's windows as called, and the map of each contig.

    ``phased``: genotypes are said to be so; ``shuffled``: at so large a share of the sites the phase is lost all the
    same; ``contigs`` as many as :data:`CONTIGS` unless said.
    """
    plan = assembling.study_plan(study_experiment())
    options = {**plan.setup.options, "recombination_rate": "map"}  # each contig has a map of its own
    plan = replace(plan, setup=replace(plan.setup, options=options))
    windows: list[Window] = []
    haplotypes: list[Haplotypes] = []
    maps: dict[str, RecombinationMap] = {}
    rng = randomness.stream(seed, "leak data")
    individuals = rng.uniform(0.5, 1.5, size=sum(s.num_individuals for s in plan.setup.samples))
    for i in range(contigs or CONTIGS):
        name = f"contig{i + 1}"
        maps[name] = random_map(rng)
        part = replace(plan, recombination=maps[name], seed=randomness.simulator_seed(seed, "contig", i))
        with execution.make("serial") as serial:
            genomes = study.simulate_study(part, serial)
        for j, window in enumerate(genomes.windows):
            windows.append(replace(window, contig=name, accessible=random_mask(rng)))
            rate = MISSINGNESS * rng.gamma(8, 1 / 8) * individuals
            haplotypes.append(as_called(genomes.haplotypes(j), rate, rng, phased=phased, shuffled=shuffled))
    return exporting.Simulated(windows, haplotypes, plan.setup.samples), maps


def as_called(
    haplotypes: Haplotypes, missing: np.ndarray, rng: np.random.Generator, *, phased: bool, shuffled: float
) -> Haplotypes:
    """What a caller leaves: either allele as the reference, individuals without a call, chromosomes in any order.

    ``missing`` (individuals,) the share of sites at which each has no call.
    """
    genotypes, individual = haplotypes.genotypes.copy(), haplotypes.carriers.individual
    shape = (haplotypes.num_sites, len(missing))
    genotypes[(rng.random(shape) < missing)[:, individual]] = MISSING
    called = np.where(genotypes < 0, 0, genotypes)
    both = (genotypes == 0).any(axis=1) & (called.max(axis=1) == 1)
    swapped = both & (rng.random(haplotypes.num_sites) < 0.5)
    genotypes[swapped] = np.where(genotypes[swapped] < 0, MISSING, 1 - genotypes[swapped])
    share = shuffled if phased else 1.0
    if share:
        sites = rng.random((haplotypes.num_sites, 1)) < share
        turned = sites & (rng.random(shape) < 0.5)
        pairs = genotypes.reshape(*shape, 2)
        genotypes = np.where(turned[:, :, None], pairs[:, :, ::-1], pairs).reshape(genotypes.shape)
    return replace(haplotypes, genotypes=genotypes, phased=phased)


def random_mask(rng: np.random.Generator) -> np.ndarray:
    """A window's accessible intervals: all of it in a quarter of the windows, two thirds of it on average."""
    if rng.random() < 0.25:
        return np.array([[0, LENGTH]])
    lefts = rng.integers(LENGTH, size=1 + rng.poisson(8))
    rights = np.minimum(lefts + rng.exponential(2_500, size=len(lefts)).astype(int) + 1, LENGTH)
    return complement(normalise(np.stack([lefts, rights], axis=1)), 0, LENGTH)


def random_map(rng: np.random.Generator) -> RecombinationMap:
    """Four fifths of the recombination in hot spots of a kilobase, one in 25 of them, of all strengths."""
    cells = CONTIG_LENGTH // _GRID
    hot = rng.random(cells) < 0.04
    rates = MEAN_RATE * (0.2 + hot * 20 * rng.exponential(size=cells))
    starts = np.flatnonzero(np.concatenate([[True], rates[1:] != rates[:-1]]))
    return RecombinationMap(np.append(starts * _GRID, CONTIG_LENGTH), rates[starts])


def hapmap(maps: dict[str, RecombinationMap]) -> Iterator[str]:
    """Lines of a HapMap file."""
    yield "Chromosome\tPosition(bp)\tRate(cM/Mb)\tMap(cM)"
    for name, one in maps.items():
        distances = np.concatenate([[0], np.cumsum(np.diff(one.positions) * one.rates)])
        for position, rate, distance in zip(one.positions, np.append(one.rates, 0), distances, strict=True):
            yield f"{name}\t{position + 1}\t{rate * 1e8:.12g}\t{distance * 100:.12g}"
