"""Scenarios at their solutions, and the fresh proposals around them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ganinfer.generators.emulator import Coordinates
from ganinfer.parameters import Parameters

#: Fresh proposals lie so much further out than the posterior's draws: those to learn from, where directions have to
#: stand out of the noise, and those to judge by.
LEARN, JUDGE = 3.0, 1.5
#: Up to this multiple of the fresh proposals' 95 % squared radius the emulator is believed.
_REACH = 1.5
#: Fresh windows to judge by for each real one, at least and at most: an emulator of p parameters adds to the variance
#: of the data about (1 + p / 2) of what so many real windows are of the fresh ones.
_PER_REAL, _LEAST_WINDOWS, _MOST_WINDOWS = 12, 4_000, 60_000
#: Fewer genomes than this do not say how far probabilities are to be believed.
_LEAST_WHOLE = 100


@dataclass(frozen=True, eq=False)
class Contender:
    """A scenario at its solution: ``posterior`` (n, p) draws, and the fresh proposals (k, p) of both kinds."""

    name: str
    parameters: Parameters
    posterior: np.ndarray
    learn: np.ndarray
    judge: np.ndarray

    @property
    def coordinates(self) -> Coordinates:
        return Coordinates.of_cloud(self.parameters, self.posterior)


def judging_windows(num_real: int) -> int:
    """Fresh windows of each scenario that so many real ones need, within what memory holds."""
    return min(max(_PER_REAL * num_real, _LEAST_WINDOWS), _MOST_WINDOWS)


def whole_genomes(num_real: int, windows: int, most: int, least: int = _LEAST_WHOLE) -> int:
    """Genomes of each scenario, at most so many, that so many ``windows`` suffice for; none where they are too few."""
    affordable = windows // max(num_real, 1)
    return min(affordable, most) if affordable >= least else 0


def widened(
    parameters: Parameters, posterior: np.ndarray, size: int, factor: float, rng: np.random.Generator
) -> np.ndarray:
    """``size`` proposals (size, p) around a posterior, further out than it by ``factor``, where the prior allows."""
    chosen = posterior[rng.choice(len(posterior), size, replace=len(posterior) < size)]
    coordinates = Coordinates.of_cloud(parameters, posterior)
    moved = coordinates.decode(factor * coordinates.encode(chosen))
    inside = np.isfinite(parameters.log_prior(moved))
    inside[inside] = parameters.possible(moved[inside])
    return np.where(inside[:, None], moved, chosen)


def reach(contender: Contender) -> float:
    """The squared radius up to which a scenario's emulator is believed."""
    fresh = contender.coordinates.encode(contender.judge)
    return float(_REACH * np.quantile((fresh**2).sum(axis=1), 0.95))
