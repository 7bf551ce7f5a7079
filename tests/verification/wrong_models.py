"""Populations that a fitted model does not know of: what makes data for tests of the verdict. A file of plugins.

Each has one parameter, its size, and a strength of what is wrong. Rates are 1.25e-8 per base and generation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ganinfer.coalescent.windows import simulate_windows
from ganinfer.haplotypes import Haplotypes, from_tree_sequence
from ganinfer.interfaces import Design
from ganinfer.parameters import Parameter, Parameters
from ganinfer.randomness import stream

RATE = 1.25e-8


class Bottleneck:
    """One population that was ``strength`` times as large from 2,500 to 2,000 generations ago."""

    api_version = "1"
    produces = "windows"
    parameters = Parameters((Parameter("Ne", 5_000.0, 20_000.0),))

    def __init__(self, *, strength: float = 0.1):
        self.strength = strength

    def simulate(self, theta: Mapping[str, float], design: Design, seed: int) -> Iterator[Any]:
        import msprime

        samples = [msprime.SampleSet(n, population=name) for name, n in self.sampled(design).items()]
        yield from simulate_windows(
            self.demography(theta["Ne"]),
            samples,
            design.templates,
            seed,
            mutation_rate=RATE,
            recombination_rate=self.rate,
        )

    @property
    def rate(self) -> float:
        return RATE

    def sampled(self, design: Design) -> dict[str, int]:
        return {s.population: s.num_individuals for s in design.samples}

    def demography(self, size: float) -> Any:
        import msprime

        demography = msprime.Demography()
        demography.add_population(name="A", initial_size=size)
        demography.add_population_parameters_change(time=2_000, initial_size=size * self.strength)
        demography.add_population_parameters_change(time=2_500, initial_size=size)
        return demography


class Migration(Bottleneck):
    """Two populations that split 4,000 generations ago and exchange migrants at 2 N m = ``strength``."""

    def __init__(self, *, strength: float = 1.0):
        super().__init__(strength=strength)

    def demography(self, size: float) -> Any:
        import msprime

        demography = msprime.Demography()
        for name in ("A", "B", "ancestral"):
            demography.add_population(name=name, initial_size=size)
        demography.set_symmetric_migration_rate(["A", "B"], self.strength / (2 * size))
        demography.add_population_split(time=4_000, derived=["A", "B"], ancestral="ancestral")
        return demography


class Recombination(Bottleneck):
    """One population of constant size with ``strength`` times the recombination."""

    def __init__(self, *, strength: float = 2.0):
        super().__init__(strength=strength)

    @property
    def rate(self) -> float:
        return RATE * self.strength

    def demography(self, size: float) -> Any:
        import msprime

        return msprime.Demography.isolated_model([size])

    def sampled(self, design: Design) -> dict[str, int]:
        return {"pop_0": sum(s.num_individuals for s in design.samples)}


class Sweeps(Recombination):
    """In a share ``strength`` of the windows an allele with 2 N s = 200 has just gone to fixation in the middle."""

    def __init__(self, *, strength: float = 0.1):
        super().__init__(strength=strength)

    @property
    def rate(self) -> float:
        return RATE

    def simulate(self, theta: Mapping[str, float], design: Design, seed: int) -> Iterator[Any]:
        import msprime

        size, number = theta["Ne"], sum(s.num_individuals for s in design.samples)
        neutral = super().simulate(theta, design, seed)
        for window, template, draw in zip(
            neutral, design.templates, stream(seed, "sweeps").random(len(design.templates)), strict=True
        ):
            if draw >= self.strength:
                yield window
                continue
            sweep = msprime.SweepGenicSelection(
                position=template.length / 2,
                start_frequency=1 / (2 * size),
                end_frequency=1 - 1 / (2 * size),
                s=100 / size,
                dt=1 / (40 * size),
            )
            seeds = stream(seed, "sweep", int(draw * 2**31)).integers(1, 2**31, 2).tolist()
            trees = msprime.sim_ancestry(
                number,
                model=[sweep, msprime.StandardCoalescent()],
                population_size=size,
                sequence_length=template.length,
                recombination_rate=RATE,
                random_seed=seeds[0],
            )
            yield msprime.sim_mutations(trees, rate=RATE, model=msprime.JC69(), random_seed=seeds[1])


class Errors(Recombination):
    """A share ``strength`` of the genotypes at variable sites has one allele called wrongly."""

    def __init__(self, *, strength: float = 0.005):
        super().__init__(strength=strength)

    @property
    def rate(self) -> float:
        return RATE

    def simulate(self, theta: Mapping[str, float], design: Design, seed: int) -> Iterator[Haplotypes]:
        rng = stream(seed, "errors")
        for trees in super().simulate(theta, design, seed):
            window = from_tree_sequence(trees, design.samples)
            wrong = rng.random((len(window.genotypes), window.genotypes.shape[1] // 2)) < self.strength
            site, individual = np.nonzero(wrong)
            column = 2 * individual + rng.integers(2, size=len(individual))
            genotypes = window.genotypes.copy()
            genotypes[site, column] = np.where(genotypes[site, column] == 0, 1, 0)
            yield Haplotypes(genotypes, window.positions, window.carriers)


class Hidden(Bottleneck):
    """Half of the sample of A is of a population apart, which split ``strength`` times 2 N generations ago."""

    def __init__(self, *, strength: float = 0.5):
        super().__init__(strength=strength)

    def sampled(self, design: Design) -> dict[str, int]:
        number = sum(s.num_individuals for s in design.samples)
        return {"A": number - number // 2, "B": number // 2}

    def demography(self, size: float) -> Any:
        import msprime

        demography = msprime.Demography()
        for name in ("A", "B", "ancestral"):
            demography.add_population(name=name, initial_size=size)
        demography.add_population_split(time=2 * size * self.strength, derived=["A", "B"], ancestral="ancestral")
        return demography
