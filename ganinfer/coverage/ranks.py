"""What ranks of truths among posterior draws say: how often intervals hold them, and how far that can be believed.

The rank of a truth is the share of posterior draws below it. Where intervals mean what they say, ranks are uniform
(simulation-based calibration; Talts et al. 2018, arXiv 1804.06788), exactly so for truths drawn from the prior.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Probability that the band of a coverage holds what is found, if intervals are right.
BAND = 0.95


@dataclass(frozen=True)
class Coverage:
    """``held`` of ``sets`` truths lay in the central interval of a ``level``; ``band``: what chance allows if right."""

    level: float
    held: int
    sets: int
    band: tuple[int, int]

    @property
    def share(self) -> float:
        return self.held / self.sets

    @property
    def right(self) -> bool:
        """Whether chance explains the difference from the level."""
        return self.band[0] <= self.held <= self.band[1]


def held(ranks: np.ndarray, level: float) -> np.ndarray:
    """Whether truths of these ``ranks`` lie in the central interval of a ``level``; same shape."""
    return np.asarray(np.abs(ranks - 0.5) <= level / 2 + 1e-12)


def coverage(ranks: np.ndarray, level: float) -> Coverage:
    """Of the ``ranks`` (n,) of one parameter."""
    from scipy.stats import binom

    size = len(ranks)
    tail = (1 - BAND) / 2
    band = binom.ppf([tail, 1 - tail], size, level)
    return Coverage(level, int(held(ranks, level).sum()), size, (int(band[0]), int(band[1])))


def uniform_p(ranks: np.ndarray) -> float:
    """Probability that uniform ``ranks`` (n,) look as uneven (Kolmogorov and Smirnov)."""
    from scipy.stats import kstest

    return float(kstest(ranks, "uniform").pvalue)


def ecdf_band(size: int, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pointwise limits, both (n,), of the share of ``size`` uniform ranks below each of ``points`` (n,)."""
    from scipy.stats import binom

    tail = (1 - BAND) / 2
    return binom.ppf(tail, size, points) / size, binom.ppf(1 - tail, size, points) / size
