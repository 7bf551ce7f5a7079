"""Means along the directions as a function of parameters, and the likelihood that follows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ganinfer.generators.emulator import Basis, within_covariance
from ganinfer.generators.scores import whitening

_LEAST = 1e-300
#: Weight of a unit of the coordinates where the data say nothing of a parameter.
_RIDGE = 0.05
#: Genomes whose likelihoods are worked out together.
_GENOMES_AT_ONCE = 50


class LocalMean:
    """Means along all directions as a polynomial in a scenario's coordinates.

    ``values`` (k, w, J) of proposals at ``x`` (k, p). Its bent terms are shrunk as far as makes it foretell proposals
    best that it was not fitted to. ``within`` (J, J): covariance between windows of one proposal; ``error`` (J, J):
    that of the means of proposals around the polynomial; ``missed``: what the polynomial cannot follow, as a share of
    the windows' covariance.
    """

    def __init__(self, x: np.ndarray, values: np.ndarray):
        num_windows, self.num_parameters = values.shape[1], x.shape[1]
        degree = 2 if len(Basis(x.shape[1], 2)) <= len(x) / 3 else 1
        self._basis = Basis(x.shape[1], degree)
        design, means = self._basis(x), values.mean(axis=1)
        flat = values.reshape(-1, values.shape[-1])
        self.within = within_covariance(flat, np.repeat(np.arange(len(x)), num_windows), len(x))
        self._inverse, freedom = _shrunk(design, means @ whitening(self.within), self._basis.degrees)
        self.coefficients = self._inverse @ (design.T @ means)
        residual = means - design @ self.coefficients
        self.error = residual.T @ residual / freedom
        own = self.within / num_windows
        size = max(len(own), 1)
        ratio = float(np.trace(np.linalg.lstsq(own, self.error, rcond=None)[0])) / size
        self.missed = max(ratio - 1, 0.0) / num_windows if ratio > 1 + 2 * np.sqrt(2 / (size * freedom)) else 0.0

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """(n, J) means at (n, p)."""
        return np.asarray(self._basis(x) @ self.coefficients)

    def leverage(self, x: np.ndarray) -> np.ndarray:
        """(n,) variance of the mean at (n, p), as a multiple of ``error``."""
        design = self._basis(x)
        return np.asarray(np.einsum("nt,ts,ns->n", design, self._inverse, design))

    def errors(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(n, J) draws of the emulator's own error at (n, p), each of another emulator."""
        root = np.linalg.cholesky(self.error + 1e-9 * np.diag(np.diag(self.error) + _LEAST))
        return np.asarray(np.sqrt(self.leverage(x))[:, None] * rng.standard_normal((len(x), len(root))) @ root.T)


@dataclass(frozen=True, eq=False)
class Likelihood:
    """A scenario's normal likelihood of mean statistics; ``noise`` (J, J) covariance of the data's own."""

    emulator: LocalMean
    noise: np.ndarray

    def __call__(self, means: np.ndarray, x: np.ndarray) -> np.ndarray:
        """(n, m) log likelihood of ``means`` (n, J) at coordinates (m, p)."""
        rotated, ratio, log_size = self._axes()
        leverage = self.emulator.leverage(x)[:, None]
        variance = 1 + ratio * leverage
        expected, seen = self.emulator(x) @ rotated, means @ rotated
        out = np.empty((len(means), len(x)))
        constant = -0.5 * (np.log(variance).sum(axis=1) + log_size)
        for start in range(0, len(means), _GENOMES_AT_ONCE):
            part = slice(start, start + _GENOMES_AT_ONCE)
            # Of all pairs, without an array of pairs times directions.
            square = (seen[part] ** 2) @ (1 / variance).T - 2 * seen[part] @ (expected / variance).T
            out[part] = constant - 0.5 * (square + (expected**2 / variance).sum(axis=1))
        return out

    def _axes(self) -> tuple[np.ndarray, np.ndarray, float]:
        """Axes in which noise is one and the emulator's error diagonal, that diagonal, and log |noise|."""
        noise = self.noise + self.emulator.missed * self.emulator.within
        values, vectors = np.linalg.eigh(noise)
        values = np.maximum(values, 1e-12 * values.max(initial=_LEAST))
        white = vectors / np.sqrt(values)
        ratio, turned = np.linalg.eigh(white.T @ self.emulator.error @ white)
        return white @ turned, np.maximum(ratio, 0.0), float(np.log(values).sum())

    def estimate(self, means: np.ndarray) -> np.ndarray:
        """(n, p) coordinates that fit ``means`` (n, J) best, by the emulator's slopes in the middle."""
        step = 0.5 * np.eye(self.emulator.num_parameters)
        slopes = self.emulator(step) - self.emulator(-step)
        middle = self.emulator(np.zeros((1, len(step))))
        precision = np.linalg.pinv(self.noise + self.emulator.missed * self.emulator.within)
        gram = slopes @ precision @ slopes.T + _RIDGE * np.eye(len(step))
        return np.asarray(np.linalg.solve(gram, slopes @ precision @ (means - middle).T).T)

    def distance(self, mean: np.ndarray, x: np.ndarray) -> float:
        """The smallest squared distance of one ``mean`` (J,) from the emulator's over (m, p), in units of its noise."""
        rotated, ratio, _ = self._axes()
        variance = 1 + ratio * self.emulator.leverage(x)[:, None]
        return float((((mean - self.emulator(x)) @ rotated) ** 2 / variance).sum(axis=1).min())


def _shrunk(design: np.ndarray, means: np.ndarray, degrees: np.ndarray) -> tuple[np.ndarray, float]:
    """The inverse (terms, terms) of a regression's normal equations, and its residuals' degrees of freedom.

    Terms of degree two are shrunk by the ridge that leaves the least squares of ``means`` (k, J), each foretold by all
    others.
    """
    gram, least = design.T @ design, (np.inf, 0.0)
    for ridge in (*np.geomspace(1e-2, 1e4, 13) * len(design), 0.0) if (degrees > 1).any() else (0.0,):
        inverse = np.linalg.pinv(gram + ridge * np.diag(degrees > 1))
        hat = np.einsum("nt,ts,ns->n", design, inverse, design)
        residual = (means - design @ (inverse @ (design.T @ means))) / np.maximum(1 - hat, 1e-6)[:, None]
        least = min(least, (float((residual**2).sum()), float(ridge)))
    inverse = np.linalg.pinv(gram + least[1] * np.diag(degrees > 1))
    return inverse, max(len(design) - float(np.trace(gram @ inverse)), 1.0)
