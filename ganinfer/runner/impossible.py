"""The part of a prior that makes no possible model: how large it is, and why it is none."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ganinfer.haplotypes import SampleSet
from ganinfer.interfaces import Simulator
from ganinfer.parameters import Parameters

#: Draws to try, and seconds to try them in where models take long to build.
_NUM_DRAWS = 1000
_SECONDS = 3.0
_LEAST_DRAWS = 20
_BATCH = 250
#: Kinds of reasons to name, the most frequent first.
_NUM_KINDS = 3
_NUMBER = re.compile(r"(?<![\w.])[-+]?\d[\d.]*(e[-+]?\d+)?")


@dataclass(frozen=True)
class Tried:
    """Draws from the prior, constraints kept, and for each kind of reason how many it stopped and the first of them."""

    num_draws: int
    reasons: tuple[tuple[int, str], ...]

    @property
    def share(self) -> float:
        """Of the draws that make no possible model."""
        return sum(number for number, _ in self.reasons) / self.num_draws

    def warnings(self, place: str) -> list[str]:
        """A sentence for each of the most frequent kinds of reasons."""
        sentences = [
            f"{place}: {100 * number / self.num_draws:.3g} % of {self.num_draws:,} draws from the prior make no "
            f"possible model and are left out; for example {example}"
            for number, example in self.reasons[:_NUM_KINDS]
        ]
        others = sum(number for number, _ in self.reasons[_NUM_KINDS:])
        if others:
            sentences.append(f"{place}: {100 * others / self.num_draws:.3g} % are left out for other reasons")
        return sentences


@dataclass(frozen=True, eq=False)
class _Sampled:
    """Why a vector is impossible, by the simulator's own rules or because ``samples`` can't be taken there.

    A class, not a closure: workers are sent parameters.
    """

    simulator: Simulator
    samples: tuple[SampleSet, ...]

    def __call__(self, values: Mapping[str, float]) -> str | None:
        own = self.simulator.parameters.problem
        found: str | None = (own(values) if own else None) or self.simulator.sampling_problem(values, self.samples)  # type: ignore[attr-defined]
        return found


def sampled(simulator: Simulator, samples: tuple[SampleSet, ...]) -> Parameters:
    """The simulator's parameters, impossible also where ``samples`` cannot be taken, if the simulator can tell."""
    parameters: Parameters = simulator.parameters
    if getattr(simulator, "sampling_problem", None) is None:
        return parameters
    return replace(parameters, problem=_Sampled(simulator, samples))


def everywhere(simulator: Simulator, samples: tuple[SampleSet, ...], draws: Sequence[dict[str, float]]) -> str | None:
    """Why ``samples`` can be taken at none of the possible ``draws``, where it is nothing that parameters change."""
    sampling_problem = getattr(simulator, "sampling_problem", None)
    found = {sampling_problem(values, samples) for values in draws} if sampling_problem else {None}
    return found.pop() if len(found) == 1 else None


def look(parameters: Parameters, seed: int) -> Tried:
    """Try a thousand draws, fewer where the models take long to build. The prior must hold possible models."""
    num_draws, ends = 0, time.monotonic() + _SECONDS
    kinds: dict[str, tuple[int, str]] = {}
    for vector in _draws(parameters, np.random.default_rng(seed)):
        if num_draws == _NUM_DRAWS or (num_draws >= _LEAST_DRAWS and time.monotonic() > ends):
            break
        num_draws += 1
        values = parameters.named(vector)
        reason = parameters.problem(values) if parameters.problem else None
        if reason:
            # Reasons that differ in their numbers only are of one kind.
            kind = _NUMBER.sub("#", reason)
            shown = ", ".join(f"{name}={value:.6g}" for name, value in values.items())
            number, example = kinds.get(kind, (0, f"at {shown}: {reason}"))
            kinds[kind] = number + 1, example
    return Tried(num_draws, tuple(sorted(kinds.values(), key=lambda kind: -kind[0])))


def _draws(parameters: Parameters, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Draws from the marginal priors that keep the constraints, without end."""
    while True:
        drawn = parameters.from_unit(rng.random((_BATCH, len(parameters))))
        yield from drawn[parameters.satisfies_constraints(drawn)]
