"""Whether a real data set lies among a scenario's simulated ones.

Three looks, each at something fixed beforehand, from simulations alone. *Guide*: what networks say of the parameters,
and how far that lies from what they say of simulations (squared Mahalanobis distance). *Residual*: classical statistics
less what simulations with the same guide have, in units of their scatter: all together in whitened directions, and the
largest alone. The smallest of the three p-values is compared with that of simulations treated alike, so that looking
three times costs nothing. What a scenario cannot do with any parameters shows in the residual, what its prior forbids
in the guide.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Simulations whose regression leaves a part out, so that residuals are those of data that were not fitted.
_PARTS = 5
_RIDGE = 1.0
_LEAST_SD = 1e-9
#: Whitened directions of the residuals with less than this share of the mean variance are noise of round-off.
_LEAST_DIRECTION = 1e-3


@dataclass(frozen=True, eq=False)
class Verdict:
    """``p_value`` that a data set of the scenario looks as odd; ``parts`` the three p-values by name; ``z`` (d,) the
    classical statistics' residuals in standard deviations.
    """

    p_value: float
    parts: dict[str, float]
    z: np.ndarray


class Reference:
    """A scenario's simulations: classical ``statistics`` (n, d) and ``guide`` (n, g)."""

    def __init__(self, statistics: np.ndarray, guide: np.ndarray):
        statistics, guide = np.asarray(statistics, float), np.asarray(guide, float)
        self._centre, self._scale = guide.mean(axis=0), np.maximum(guide.std(axis=0), _LEAST_SD)
        scaled = (guide - self._centre) / self._scale
        self._inverse = np.linalg.pinv(np.atleast_2d(np.cov(scaled, rowvar=False)) + 1e-3 * np.eye(guide.shape[1]))
        self._spread = np.maximum(statistics.std(axis=0), _LEAST_SD)
        self._varies = statistics.std(axis=0) > _LEAST_SD
        self._mean = statistics.mean(axis=0)
        design, values = _design(scaled), self._scaled(statistics)
        self._coefficients = _ridge(design, values)
        residual = np.empty_like(values)
        part = np.arange(len(values)) % _PARTS
        for k in range(_PARTS):
            residual[part == k] = values[part == k] - design[part == k] @ _ridge(design[part != k], values[part != k])
        self._sd = np.maximum(residual.std(axis=0), _LEAST_SD)
        self._whitening = _whitening(residual / self._sd)
        looks = self._looks(scaled, residual)
        self._looks_of_simulations = looks
        p_values = np.stack([_exceeding(looks[:, i], looks[:, i], own=True) for i in range(looks.shape[1])], axis=1)
        self._smallest = p_values.min(axis=1)

    def _scaled(self, statistics: np.ndarray) -> np.ndarray:
        return ((statistics - self._mean) / self._spread)[..., self._varies]

    def _looks(self, scaled_guide: np.ndarray, residual: np.ndarray) -> np.ndarray:
        """(n, 3): the larger the odder."""
        z = residual / self._sd
        return np.stack(
            [
                np.einsum("ni,ij,nj->n", scaled_guide, self._inverse, scaled_guide),
                ((z @ self._whitening) ** 2).sum(axis=1),
                np.abs(z).max(axis=1, initial=0.0),
            ],
            axis=1,
        )

    def verdict(self, statistics: np.ndarray, guide: np.ndarray) -> Verdict:
        """Of one data set: its ``statistics`` (d,) and ``guide`` (g,)."""
        scaled = ((np.asarray(guide, float) - self._centre) / self._scale)[None]
        value = self._scaled(np.asarray(statistics, float)[None])
        residual = value - _design(scaled) @ self._coefficients
        looks = self._looks(scaled, residual)[0]
        parts = [float(_exceeding(self._looks_of_simulations[:, i], looks[i : i + 1])[0]) for i in range(len(looks))]
        # Small p-values are odd: those of simulations that are as small or smaller.
        as_small = int((self._smallest <= min(parts) + 1e-12).sum())
        z = np.zeros(len(self._varies))
        z[self._varies] = (residual / self._sd)[0]
        # A statistic that is the same in all simulations and another in the data cannot be made at all.
        stuck = ~self._varies & (np.abs(np.asarray(statistics, float) - self._mean) > 1e-6 * np.abs(self._mean) + 1e-9)
        z[stuck] = np.inf
        p_value = (1 + as_small) / (1 + len(self._smallest)) if not stuck.any() else 1 / (1 + len(self._smallest))
        return Verdict(p_value, dict(zip(("guide", "all residuals", "largest residual"), parts, strict=True)), z)


def _design(guide: np.ndarray) -> np.ndarray:
    """Constant, linear and quadratic terms of clipped guides: a cubic tail would say nonsense of odd ones."""
    guide = np.clip(guide, -4, 4)
    columns = [np.ones((len(guide), 1)), guide]
    columns += [guide[:, [i]] * guide[:, i:] for i in range(guide.shape[1])]
    return np.concatenate(columns, axis=1)


def _ridge(design: np.ndarray, values: np.ndarray) -> np.ndarray:
    penalty = _RIDGE * np.eye(design.shape[1])
    penalty[0, 0] = 0.0
    return np.linalg.solve(design.T @ design + penalty, design.T @ values)


def _whitening(z: np.ndarray) -> np.ndarray:
    """(d, r) directions of unit variance, from a covariance that is pulled towards the identity a little."""
    if not z.size:
        return np.zeros((z.shape[1], 0))
    covariance = np.atleast_2d(np.cov(z, rowvar=False))
    shrinkage = min(1.0, z.shape[1] / (10 * len(z)))
    values, vectors = np.linalg.eigh((1 - shrinkage) * covariance + shrinkage * np.eye(len(covariance)))
    kept = values > _LEAST_DIRECTION * values.mean()
    return vectors[:, kept] / np.sqrt(values[kept])


def _exceeding(reference: np.ndarray, values: np.ndarray, *, own: bool = False) -> np.ndarray:
    """p-values: the share of ``reference`` at or above each value, the value itself counted once."""
    ordered = np.sort(reference)
    above = len(ordered) - np.searchsorted(ordered, values, side="left")
    return above / len(ordered) if own else (1 + above) / (1 + len(ordered))
