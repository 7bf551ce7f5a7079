"""Estimates of parameters from networks and from classical statistics together.

A network learns the parameters of a scenario from a thousand data sets or so, which is few; a ridge regression on the
classical statistics needs less. Neither is always better. The two are combined parameter by parameter, with weights
from data sets that neither was trained on (stacking; Wolpert 1992, doi 10.1016/S0893-6080(05)80023-1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np

_RIDGES = np.geomspace(1e-1, 1e6, 15)
_LEAST_SD = 1e-9
#: Statistics count as no further out than so many standard deviations: beyond, a straight line would say nonsense.
_FAR = 4.0


@dataclass(frozen=True, eq=False)
class Refiner:
    """Of one scenario with p parameters, d statistics: what is made of a network's means and the statistics.

    ``centre`` and ``scale`` (d,) of the statistics' signed square roots; ``slopes`` (folds, d, p) and ``intercept``
    (folds, p) of each fold's regression; ``weights`` (2, p) of network and regression, and ``constant`` (p,).
    """

    centre: np.ndarray
    scale: np.ndarray
    slopes: np.ndarray
    intercept: np.ndarray
    weights: np.ndarray
    constant: np.ndarray

    def __call__(self, means: np.ndarray, statistics: np.ndarray, fold: int) -> np.ndarray:
        """(n, p) estimates from the network of a ``fold``'s ``means`` (n, p) and ``statistics`` (n, d)."""
        regressed = self._scaled(statistics) @ self.slopes[fold] + self.intercept[fold]
        return np.asarray(self.constant + self.weights[0] * means + self.weights[1] * regressed)

    def _scaled(self, statistics: np.ndarray) -> np.ndarray:
        return np.clip((_rooted(statistics) - self.centre) / self.scale, -_FAR, _FAR)

    def arrays(self) -> dict[str, np.ndarray]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Refiner:
        return cls(**{field.name: arrays[field.name] for field in fields(cls)})


def fit(
    means: np.ndarray, statistics: np.ndarray, targets: np.ndarray, fold: np.ndarray, num_folds: int
) -> tuple[Refiner, np.ndarray]:
    """The refiner of a scenario's data sets, and its estimates (n, p) of each by what was not trained on it.

    ``means`` (n, p): what the network of each data set's own ``fold`` (n,) says; ``targets`` (n, p): the truth.
    """
    from sklearn.linear_model import RidgeCV

    rooted, size = _rooted(statistics), targets.shape[1]
    centre, scale = rooted.mean(axis=0), np.maximum(rooted.std(axis=0), _LEAST_SD)
    scaled, regressed = np.clip((rooted - centre) / scale, -_FAR, _FAR), np.empty_like(targets)
    slopes, intercept = np.zeros((num_folds, scaled.shape[1], size)), np.zeros((num_folds, size))
    for k in range(num_folds if size else 0):
        found = RidgeCV(_RIDGES, alpha_per_target=True).fit(scaled[fold != k], targets[fold != k])
        slopes[k], intercept[k] = found.coef_.T.reshape(-1, size), found.intercept_
        regressed[fold == k] = scaled[fold == k] @ slopes[k] + intercept[k]
    weights, constant = np.zeros((2, size)), np.zeros(size)
    for j in range(size):
        both = np.column_stack([np.ones(len(means)), means[:, j], regressed[:, j]])
        constant[j], *weights[:, j] = np.linalg.lstsq(both, targets[:, j], rcond=None)[0]
    refiner = Refiner(centre, scale, slopes, intercept, weights, constant)
    return refiner, constant + weights[0] * means + weights[1] * regressed


def _rooted(statistics: np.ndarray) -> np.ndarray:
    """Signed square roots: of shares of SNPs, which noise scatters in proportion to them, all alike."""
    return np.asarray(np.sign(statistics) * np.sqrt(np.abs(statistics)), dtype=float)
