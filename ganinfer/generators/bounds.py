"""Bounds on what one window may say along a direction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: A window counts as no further from the middle than so many spreads: one odd window of a hundred would otherwise
#: decide for all. A spread is the first distance that is not zero within which these shares of the windows lie, in
#: standard deviations of normal ones. What fewer hold any of is there or not, however much of it.
_BOUND = 2.5
_WITHIN = ((0.683, 1.0), (0.9, 1.645), (0.99, 2.576), (0.999, 3.291))


@dataclass(frozen=True, eq=False)
class Bounds:
    """``middle`` and ``spread`` (J,) of windows' statistics, which are cut at ``_BOUND`` spreads.

    The mean of a bounded statistic is a statistic like another, and normal with fewer windows (Huber 1964,
    doi 10.1214/aoms/1177703732); of windows that are normal themselves it knows 99.8 % of what their own mean does.
    What few windows hold any of counts as there or not.
    """

    middle: np.ndarray
    spread: np.ndarray

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """(..., J) of (..., J)."""
        away = (values - self.middle) / self.spread
        return np.asarray(self.middle + self.spread * np.clip(away, -_BOUND, _BOUND))

    @classmethod
    def of(cls, values: np.ndarray) -> Bounds:
        """Those that windows (m, J) ask for."""
        middle = np.median(values, axis=0)
        away, spread = np.abs(values - middle), np.zeros(values.shape[1])
        # Where most windows are the same, the others say how far apart they are.
        for within, normal in _WITHIN:
            further = np.quantile(away, within, axis=0) / normal
            spread = np.where(spread > 0, spread, further)
        least = np.where(away > 0, away, np.inf).min(axis=0) / _BOUND
        return cls(middle, np.where(spread > 0, spread, np.where(np.isfinite(least), least, 1.0)))
