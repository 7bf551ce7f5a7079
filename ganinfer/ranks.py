"""What ranks of truths among posterior draws say: how often intervals hold them, and how far that can be believed.

The rank of a truth is the share of posterior draws below it. Where intervals mean what they say, ranks are uniform
(simulation-based calibration; Talts et al. 2018, arXiv 1804.06788), exactly so for truths drawn from the prior.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

#: Probability that the band of a coverage holds what is found, if intervals are right.
BAND = 0.95
#: Of the common shift, from which a band is worked out.
_DRAWS = 2_000


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


def coverage(ranks: np.ndarray, level: float, common: float = 0.0) -> Coverage:
    """Of the ``ranks`` (n,) of one parameter.

    ``common``: the error that all data sets share because they share simulations, in posterior standard deviations. It
    is part of each posterior, but moves all estimates together, so that coverage scatters more than that of as many
    independent data sets.
    """
    from scipy.stats import norm

    half = norm.isf((1 - level) / 2)
    band = _band(len(ranks), common, lambda away, own: norm.cdf(half, away, own) - norm.cdf(-half, away, own))
    return Coverage(level, int(held(ranks, level).sum()), len(ranks), (int(band[0]), int(band[1])))


def _band(size: int, common: float, share: Callable[[np.ndarray, float], np.ndarray]) -> np.ndarray:
    """(2, ...) limits of counts of ``size``, each of which has the ``share`` (draws, ...) that a shift leaves it."""
    tail, common = (1 - BAND) / 2, min(common, 0.999)
    rng = np.random.default_rng(1)
    away = common * rng.standard_normal(_DRAWS if common > 0 else 1)
    shares = np.clip(share(away, float(np.sqrt(1 - common**2))), 0, 1)
    counts = rng.binomial(size, shares, size=(_DRAWS // len(away), *shares.shape)).reshape(-1, *shares.shape[1:])
    return np.asarray(np.quantile(counts, [tail, 1 - tail], axis=0, method="inverted_cdf"))


def uniform_p(ranks: np.ndarray) -> float:
    """Probability that uniform ``ranks`` (n,) look as uneven (Kolmogorov and Smirnov)."""
    from scipy.stats import kstest

    return float(kstest(ranks, "uniform").pvalue)


def ecdf_band(size: int, points: np.ndarray, common: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Pointwise limits, both (n,), of the share of ``size`` ranks below each of ``points`` (n,).

    ``common`` as of :func:`coverage`.
    """
    from scipy.stats import norm

    places = norm.ppf(points)
    low, high = _band(size, common, lambda away, own: norm.cdf(places, away[:, None], own)) / size
    return low, high
