"""Scenarios that are to be told apart, and data sets simulated under them. NumPy only.

A data set is one observation here, such as a table of SNPs, and a function of its number.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ganinfer import randomness
from ganinfer.execution import Executor
from ganinfer.interfaces import LociTemplate
from ganinfer.parameters import Parameters
from ganinfer.simulation import Setup, Task, encoding_specs, simulate

#: The array of classical statistics, which every comparison of data sets has.
STATISTICS = "statistics"
#: To be raised whenever a statistic of the same name is computed differently.
_DEFINITIONS = 1
#: Data sets whose parameters are drawn together.
_PRIOR_BATCH = 100


@dataclass(frozen=True, eq=False)
class Scenario:
    """One story: how it is simulated, its parameters, and its prior ``weight``."""

    name: str
    setup: Setup
    parameters: Parameters
    weight: float = 1.0


def families(setup: Setup) -> Sequence[str]:
    """The kind (d,) of each classical statistic."""
    found: Sequence[str] = encoding_specs(setup)[STATISTICS].details["families"]
    return found


def definitions(setup: Setup) -> str:
    """A digest that tells the classical statistics, and how they are computed, from other versions' ones."""
    told = [_DEFINITIONS, *encoding_specs(setup)[STATISTICS].details["names"]]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def simulated(
    scenario: Scenario,
    template: LociTemplate,
    seed: int,
    purpose: str,
    executor: Executor,
    varied: bool,
    start: int,
    stop: int,
) -> Iterator[tuple[np.ndarray, int, Mapping[str, np.ndarray]]]:
    """Parameters from the prior, seed and arrays of the data sets ``start`` to ``stop``, each a function of its number.

    ``purpose`` keeps those of training and of tests apart. ``varied``: each has missing calls of its own, as new data
    of the design will; else all have those of the template.
    """
    theta = _from_prior(scenario, seed, purpose, start, stop)
    numbers = range(start, stop)
    seeds = [randomness.simulator_seed(seed, purpose, scenario.name, "data set", i) for i in numbers]
    tasks = [
        Task(
            scenario.setup,
            scenario.parameters.named(vector),
            (remissed(template, scenario.setup, number) if varied else template,),
            number,
        )
        for vector, number in zip(theta, seeds, strict=True)
    ]
    for vector, number, encoded in zip(theta, seeds, simulate(tasks, executor), strict=True):
        yield vector, number, {name: array[0] for name, array in encoded.items()}


def remissed(template: LociTemplate, setup: Setup, seed: int) -> LociTemplate:
    """The template with missing calls as another table of its kind has them.

    SNPs are drawn with replacement, and individuals of a sample set change places. Where SNPs come by rate, their rows
    are drawn anyway, and these stay with their loci.
    """
    called = template.called(sum(s.num_chromosomes for s in setup.samples))
    if called is None:
        return template
    rng = randomness.stream(seed, "missing calls")
    columns, first = [], 0
    for s in setup.samples:
        order = first + s.ploidy * rng.permutation(s.num_individuals)
        columns.append((order[:, None] + np.arange(s.ploidy)).ravel())
        first += s.num_chromosomes
    rows = rng.integers(len(called), size=len(called)) if template.lengths is None else np.arange(len(called))
    return replace(template, missing=np.packbits(~called[rows][:, np.concatenate(columns)], axis=1))


def _from_prior(scenario: Scenario, seed: int, purpose: str, start: int, stop: int) -> np.ndarray:
    """(stop - start, p) draws. They come in batches: to find out that a model is possible takes a while."""
    if not len(scenario.parameters):
        return np.empty((stop - start, 0))
    batches = range(start // _PRIOR_BATCH, -(-stop // _PRIOR_BATCH))
    drawn = [
        scenario.parameters.sample(randomness.stream(seed, purpose, scenario.name, i), _PRIOR_BATCH) for i in batches
    ]
    first = batches.start * _PRIOR_BATCH
    return np.concatenate(drawn)[start - first : stop - first]
