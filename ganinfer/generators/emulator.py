"""The emulator: a local Bayesian polynomial regression of mean statistics on parameters.

The mean of every score (see :mod:`ganinfer.generators.scores`) is a polynomial in the coordinates of
:class:`Coordinates`: flat intercept and linear part, the other terms shrunk by their evidence (one variance a family of
:class:`Basis`; MacKay 1992, doi:10.1162/neco.1992.4.3.415). The noise of a proposal's mean is known: the variance
between its windows over their number. What the polynomial cannot follow is measured as excess scatter and added to the
emulator's variance.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np

from ganinfer.parameters import Parameters

_EVIDENCE_ITERATIONS = 20
_MAX_DEGREE = 3


@dataclass(frozen=True, eq=False)
class Coordinates:
    """Affine map between parameters and a cloud's principal axes, in logarithms where the prior spans a decade.

    ``logarithmic`` (p,) bool; ``centre`` (p,); ``axes`` (p, p) with columns scaled so that the cloud has unit variance.
    """

    logarithmic: np.ndarray
    centre: np.ndarray
    axes: np.ndarray

    @classmethod
    def of_cloud(cls, parameters: Parameters, cloud: np.ndarray) -> Coordinates:
        """Coordinates in which ``cloud`` (k, p), natural units, has mean zero and unit covariance."""
        logarithmic = spans_decade(parameters)
        flat = _flatten(cloud, logarithmic)
        covariance = np.atleast_2d(np.cov(flat, rowvar=False))
        scale = np.sqrt(np.maximum(np.diag(covariance), 1e-300))
        values, vectors = np.linalg.eigh(covariance / np.outer(scale, scale))
        # A degenerate cloud keeps a sliver of width: the emulator must be able to leave its plane.
        axes = scale[:, None] * vectors * np.sqrt(np.maximum(values, 1e-6))
        return cls(logarithmic, flat.mean(axis=0), axes)

    def encode(self, theta: np.ndarray) -> np.ndarray:
        """Natural vectors (..., p) to coordinates (..., p)."""
        flat = _flatten(theta, self.logarithmic) - self.centre
        return np.linalg.solve(self.axes, flat.reshape(-1, flat.shape[-1]).T).T.reshape(flat.shape)

    def decode(self, x: np.ndarray) -> np.ndarray:
        """Inverse of :meth:`encode`; may lie outside the prior."""
        flat = x @ self.axes.T + self.centre
        return np.where(self.logarithmic, np.exp(np.minimum(flat, 700.0)), flat)


def spans_decade(parameters: Parameters) -> np.ndarray:
    """Which parameters are handled as logarithms: positive ones whose prior spans a factor of ten."""
    return np.array([p.scale == "log" or (p.lower > 0 and p.upper >= 10 * p.lower) for p in parameters])


def _flatten(theta: np.ndarray, logarithmic: np.ndarray) -> np.ndarray:
    theta = np.asarray(theta, dtype=float)
    return np.where(logarithmic, np.log(np.where(logarithmic, theta, 1.0)), theta)


class Basis:
    """Products of probabilists' Hermite polynomials up to a total degree, orthonormal under the unit cloud.

    The last ``num_kinks`` inputs are absolute values, which occur once in a term at most. ``families`` (terms,) tells
    which terms are shrunk together: 0 not at all (intercept and linear part), 1 the absolute values by themselves, and
    every higher degree.
    """

    def __init__(self, dimension: int, degree: int, num_kinks: int = 0):
        kinks = range(dimension, dimension + num_kinks)
        combined = [c for d in range(degree + 1) for c in combinations_with_replacement(range(kinks.stop), d)]
        bent = [sum(i in kinks for i in term) for term in combined]
        once = [len({i for i in term if i in kinks}) == n for term, n in zip(combined, bent, strict=True)]
        self.terms = [term for term, fits in zip(combined, once, strict=True) if fits]
        self.degrees = np.array([len(term) for term in self.terms])
        alone = np.array([len(term) == 1 and term[0] in kinks for term in self.terms])
        self.families = np.where(alone, 1, np.where(self.degrees >= 2, self.degrees, 0))
        self._exponents = np.array([[t.count(i) for i in range(kinks.stop)] for t in self.terms])
        self._degree = degree

    def __len__(self) -> int:
        return len(self.terms)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """(n, dimension + num_kinks) inputs to (n, terms)."""
        powers = np.empty((self._degree + 1, *x.shape))
        powers[0] = 1.0
        if self._degree >= 1:
            powers[1] = x
        for d in range(2, self._degree + 1):
            powers[d] = (x * powers[d - 1] - np.sqrt(d - 1) * powers[d - 2]) / np.sqrt(d)
        out = np.ones((len(x), len(self.terms)))
        for i in range(x.shape[1]):
            out *= powers[self._exponents[:, i], :, i].T
        return out


def largest_degree(dimension: int, num_proposals: int, num_kinks: int = 0) -> int:
    """The highest degree, up to three, whose terms stay below a third of the proposals; at least one."""
    degree = 1
    while degree < _MAX_DEGREE and len(Basis(dimension, degree + 1, num_kinks)) <= num_proposals / 3:
        degree += 1
    return degree


def remoteness(radius: np.ndarray, scale: float) -> np.ndarray:
    """Factors (n,) by which the noise of proposals at squared ``radius`` counts more, beyond about ``scale``.

    A polynomial is right in the middle and ever less so outside; this lets what lies outside say ever less.
    """
    return 1.0 + (radius / scale) ** 2


@dataclass(frozen=True, eq=False)
class ProposalMoments:
    """Windows' mean and variance of each rotated statistic under each proposal.

    ``mean`` and ``variance`` (k, J), the latter with ``count - 1`` degrees of freedom; ``count`` (k,) windows.
    """

    mean: np.ndarray
    variance: np.ndarray
    count: np.ndarray

    @classmethod
    def of_windows(cls, values: np.ndarray, proposal: np.ndarray, num_proposals: int) -> ProposalMoments:
        """From ``values`` (n, J) of windows and the ``proposal`` (n,) of each, in any order."""
        count = np.bincount(proposal, minlength=num_proposals).astype(float)
        if np.any(np.diff(proposal) < 0):
            order = np.argsort(proposal, kind="stable")
            values, proposal = values[order], proposal[order]
        there = np.flatnonzero(count)
        starts = np.concatenate([[0], np.cumsum(count[there])[:-1]]).astype(int)
        mean = np.zeros((num_proposals, values.shape[1]))
        square = np.zeros_like(mean)
        mean[there] = np.add.reduceat(values, starts, axis=0) / count[there, None]
        square[there] = np.add.reduceat((values - mean[proposal]) ** 2, starts, axis=0)
        return cls(mean, square / np.maximum(count - 1.0, 1.0)[:, None], count)

    def select(self, proposals: np.ndarray) -> ProposalMoments:
        return ProposalMoments(self.mean[proposals], self.variance[proposals], self.count[proposals])


def within_covariance(statistics: np.ndarray, proposal: np.ndarray, num_proposals: int) -> np.ndarray:
    """(d, d) covariance between windows of one proposal, pooled."""
    moments = ProposalMoments.of_windows(statistics, proposal, num_proposals)
    residual = statistics - moments.mean[proposal]
    freedom = max(float(np.maximum(moments.count - 1.0, 0.0).sum()), 1.0)
    return residual.T @ residual / freedom


@dataclass(frozen=True, eq=False)
class VarianceModel:
    """Log-linear variance between windows of each rotated statistic: ``exp(intercept + x @ slopes)``, kept in range."""

    intercept: np.ndarray
    slopes: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """(n, J) variances at coordinates (n, p)."""
        return np.exp(np.clip(self.intercept + x @ self.slopes, self.low, self.high))

    @classmethod
    def fit(cls, x: np.ndarray, moments: ProposalMoments) -> VarianceModel:
        """Gamma regression with logarithmic link of proposals' variances on coordinates, by iterated least squares."""
        used = moments.count > 1
        design = Basis(x.shape[1], 1)(x[used])
        variance = np.maximum(moments.variance[used], 1e-12)
        freedom = moments.count[used] - 1.0
        mean = np.average(variance, axis=0, weights=freedom)
        fitted = np.tile(np.log(mean), (len(variance), 1))
        coefficients = np.zeros((design.shape[1], variance.shape[1]))
        weighted = design * freedom[:, None]
        ridge = 9.0 * np.eye(design.shape[1])
        ridge[0, 0] = 0.0
        solver = np.linalg.inv(weighted.T @ design + ridge) @ weighted.T
        for _ in range(8):
            working = fitted + variance / np.exp(fitted) - 1.0
            coefficients = solver @ working
            fitted = np.clip(design @ coefficients, np.log(mean) - 2.0, np.log(mean) + 2.0)
        return cls(coefficients[0], coefficients[1:], fitted.min(axis=0), fitted.max(axis=0))


@dataclass(frozen=True, eq=False)
class Emulator:
    """Mean of each rotated statistic as a function of coordinates, with its variance.

    ``coefficients`` (terms, J); ``factors`` (J, terms, terms), ``factors[j].T @ factors[j]`` being the covariance of
    the coefficients; ``excess`` (J,) variance of what the polynomial misses; ``effective`` (J,) coefficients in use.
    """

    basis: Basis
    coefficients: np.ndarray
    factors: np.ndarray
    excess: np.ndarray
    effective: np.ndarray

    def predict(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Means and variances, both (n, J), at inputs (n, d) of the basis."""
        design = self.basis(x)
        spread = design @ self.factors.transpose(0, 2, 1)
        return design @ self.coefficients, np.einsum("jns,jns->nj", spread, spread) + self.excess


def fit(basis: Basis, x: np.ndarray, y: np.ndarray, noise: np.ndarray, near: np.ndarray | None = None) -> Emulator:
    """Emulator of means ``y`` (k, J) with variances ``noise`` (k, J) at inputs ``x`` (k, d) of ``basis``.

    ``near`` (k,) bool: the proposals whose scatter is compared with the noise; default all.
    """
    design = basis(x)
    fits = []
    for j in range(y.shape[1]):
        root = 1.0 / np.sqrt(noise[:, j])
        scaled = design * root[:, None]
        fits.append(_fit_direction(scaled.T @ scaled, scaled.T @ (y[:, j] * root), basis.families))
    coefficients = np.stack([f.coefficients for f in fits], axis=1)
    factors = np.stack([f.factor for f in fits])
    near = np.ones(len(x), dtype=bool) if near is None else near
    residual = (y - design @ coefficients)[near] ** 2 / noise[near]
    # A residual is smaller than the noise by what its own proposal did to the fit.
    spread = design[near] @ factors.transpose(0, 2, 1)
    leverage = np.einsum("jns,jns->nj", spread, spread) / noise[near]
    chi_square = residual.sum(axis=0) / np.maximum((1.0 - leverage).sum(axis=0), 1.0)
    # Scatter beyond the known noise is what the polynomial misses; below two standard errors it is none.
    excess = np.where(chi_square > 1.0 + 2.0 * np.sqrt(2.0 / max(near.sum(), 1)), chi_square - 1.0, 0.0)
    effective = np.array([f.determined.sum() for f in fits])
    return Emulator(basis, coefficients, factors, excess * np.median(noise[near], axis=0), effective)


@dataclass(frozen=True, eq=False)
class _DirectionFit:
    coefficients: np.ndarray
    factor: np.ndarray
    determined: np.ndarray


def _fit_direction(gram: np.ndarray, moment: np.ndarray, families: np.ndarray) -> _DirectionFit:
    """Coefficients, a factor of their covariance, and how many the data determine, by family.

    The prior variance of each family above 0 is set by evidence (MacKay's fixed point).
    """
    last, shrunk = int(families.max()), families >= 1
    precision = np.where(shrunk, 1.0, 0.0)
    steady = 1e-10 * np.diag(np.diag(gram))
    determined: np.ndarray = np.zeros(last + 1)
    for _ in range(_EVIDENCE_ITERATIONS):
        lower = np.linalg.cholesky(gram + np.diag(precision) + steady)
        factor = np.linalg.inv(lower)
        coefficients = factor.T @ (factor @ moment)
        share = 1.0 - precision * (factor**2).sum(axis=0)
        determined = np.bincount(families, share, minlength=last + 1)
        previous = precision.copy()
        for family in range(1, last + 1):
            group = families == family
            size = (coefficients[group] ** 2).sum()
            precision[group] = np.clip(max(determined[family], 1e-3) / max(size, 1e-12), 1e-6, 1e10)
        if np.allclose(np.log(precision[shrunk]), np.log(previous[shrunk]), atol=0.1):
            break
    return _DirectionFit(coefficients, factor, determined)
