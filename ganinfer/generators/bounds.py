"""Bounds of statistics, so that no window decides alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: A spread is the first distance from the middle that is not zero within which these shares of the windows lie, and at
#: least the usual one of those that lie off it, in standard deviations of normal ones. What fewer hold any of is there
#: or not, however much of it.
_WITHIN = ((0.683, 1.0), (0.9, 1.645), (0.99, 2.576), (0.999, 3.291))


@dataclass(frozen=True, eq=False)
class Bounds:
    """``middle`` and ``spread`` (J,) of windows' statistics, which are cut ``at`` so many spreads.

    Some kinds of sites are rare and come in clumps: one window in a thousand may lie fifty standard deviations out, and
    means of hundreds of windows are far from normal. The mean of a bounded statistic is a statistic like another, and
    normal with fewer windows (Huber 1964, doi:10.1214/aoms/1177703732). Of windows that are normal themselves it knows
    99.8 % of what their own mean does with bounds at 2.5 spreads.
    """

    middle: np.ndarray
    spread: np.ndarray
    at: float

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """(..., J) of (..., J)."""
        reach = self.at * self.spread
        return np.asarray(np.clip(values, self.middle - reach, self.middle + reach))

    @classmethod
    def of(cls, values: np.ndarray, at: float) -> Bounds:
        """Those that windows (m, J) ask for."""
        middle = np.median(values, axis=0)
        away, spread = np.abs(values - middle), np.zeros(values.shape[1])
        # Where most windows are the same, the others say how far apart they are; the first of them may hardly differ.
        usual = np.array([np.median(column[column > 0]) if (column > 0).any() else 0.0 for column in away.T])
        for within, normal in _WITHIN:
            further = np.quantile(away, within, axis=0)
            spread = np.where((spread == 0) & (further > 0), np.maximum(further, usual) / normal, spread)
        least = np.where(away > 0, away, np.inf).min(axis=0) / at
        return cls(middle, np.where(spread > 0, spread, np.where(np.isfinite(least), least, 1.0)), at)
