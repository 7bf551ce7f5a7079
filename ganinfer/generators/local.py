"""The emulators of one step: what is known about the statistics around one cloud of particles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ganinfer.generators import misfit, scores
from ganinfer.generators.bounds import Bounds
from ganinfer.generators.emulator import (
    Basis,
    Coordinates,
    Emulator,
    ProposalMoments,
    VarianceModel,
    fit,
    largest_degree,
    remoteness,
    within_covariance,
)
from ganinfer.generators.linkage import Linkage
from ganinfer.generators.pools import Pool
from ganinfer.generators.scores import Scores
from ganinfer.parameters import Parameters

#: Proposals feed the emulator up to this multiple of the cloud's 95 % squared radius.
_REACH = 3.0
#: Up to this multiple of it the emulator is trusted; beyond, a proposal says clearly less to it.
_NEAR = 2.0
#: So wide is the fit that scores are read from, in the same unit.
_WIDE = 100.0
#: And so wide is the one that shows what bends too much over that region.
_NARROW = 8.0
#: Scores kept, as a multiple of the number of parameters.
_SCORES = 2
#: Proposals that the metric is estimated from, at least.
_CORE = 200
#: Proposals lie on both sides of zero if at least this share of them is on either.
STRADDLES = 0.05
#: Spreads at which scores are cut, those of all windows that the emulator is fitted to.
_BOUND = 8.0
#: Half the distance, in standard deviations of the cloud, over which slopes are taken.
_SLOPE_STEP = 0.5


@dataclass(frozen=True, eq=False)
class PoolEmulator:
    """One pool's emulator with what it is matched to.

    ``share`` (J,): the variance of the real mean as a share of the variance between windows; ``missed`` (J,): what the
    model misses adds to it.
    """

    scores: Scores
    emulator: Emulator
    variance: VarianceModel
    target: np.ndarray
    share: np.ndarray
    missed: np.ndarray

    def residuals(self, x: np.ndarray, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """At coordinates (n, p), each (n, J): target less emulated mean, the emulator's variance, the data's own."""
        mean, variance = self.emulator.predict(inputs)
        return self.target - mean, variance, self.variance(x) * self.share + self.missed


class Local:
    """The pools' emulators around one cloud (k, p).

    A parameter whose prior lies on both sides of zero may act differently on either (a pulse that changes its
    direction). Where proposals around the cloud do too, its absolute value is an input of its own; else those of the
    other side are left out. ``settled`` says that the cloud is about as small as the data allow: then what the model
    misses is told apart by families of statistics.
    """

    def __init__(self, parameters: Parameters, cloud: np.ndarray, pools: Sequence[Pool], *, settled: bool = False):
        self._parameters, self._settled = parameters, settled
        self.coordinates = Coordinates.of_cloud(parameters, cloud)
        self._cloud = self.coordinates.encode(cloud)
        self._radius = float(np.quantile((self._cloud**2).sum(axis=1), 0.95))
        both = np.array([p.lower < 0 < p.upper for p in parameters])
        theta = np.concatenate([cloud, *(pool.theta for pool in pools)])
        near = (self.coordinates.encode(theta) ** 2).sum(axis=1) <= _REACH * self._radius
        positive = (theta[near] > 0).mean(axis=0)
        straddles = np.minimum(positive, 1 - positive) >= STRADDLES
        self._kinks = np.flatnonzero(both & straddles)
        self._one_sided = np.flatnonzero(both & ~straddles)
        self._positive = positive > 0.5
        sizes = np.abs(cloud[:, self._kinks])
        self._kink_centre, self._kink_scale = sizes.mean(axis=0), np.maximum(sizes.std(axis=0), 1e-300)
        self.num_local, self.degree, self.inflation, self.misfit = 0, 0, 1.0, 1.0
        self.effective_windows, self.beyond, self.deviation = 0.0, 0.0, 0.0
        self.errors: dict[str, float] = {}
        self._emulators = [self._fit(pool) for pool in pools]
        self.num_directions = sum(len(e.target) for e in self._emulators)

    def _inputs(self, x: np.ndarray) -> np.ndarray:
        """Inputs of the polynomials at coordinates (n, p): these, and the absolute values of parameters with a kink."""
        if not len(self._kinks):
            return x
        sizes = np.abs(self.coordinates.decode(x)[:, self._kinks])
        return np.concatenate([x, (sizes - self._kink_centre) / self._kink_scale], axis=1)

    def _on_our_side(self, theta: np.ndarray) -> np.ndarray:
        """Which of (k, p) lie where the cloud does, zero being the border; all if these are too few."""
        side = self._one_sided
        ours = ((theta[:, side] > 0) == self._positive[side]).all(axis=1)
        return ours if ours.sum() >= min(_CORE, len(ours)) else np.ones_like(ours)

    def _fit(self, pool: Pool) -> PoolEmulator:
        pool = pool.select(self._on_our_side(pool.theta))
        x = self.coordinates.encode(pool.theta)
        radius = (x**2).sum(axis=1)
        # The metric is the covariance close to the answer: the nearest proposals, a few hundred at least.
        close = radius <= max(self._radius, float(np.sort(radius)[min(len(radius), _CORE) - 1]))
        # A network mixes all kinds of statistics: it is believed no more than the one that the model misses most.
        least = max(self.errors.values(), default=0.0) if pool.explained else 0.0
        pool = pool.residual(pool.select(close))
        core = pool.select(close)
        within = within_covariance(core.statistics, core.proposal, len(core.theta))
        # A fold may have too few blocks to tell; then what all windows say of other statistics has to do.
        linkage = Linkage.of(pool.real, pool.block, pool.families, otherwise=self.inflation)
        linked = linkage.linked(within)
        gap = misfit.measure(core, x[close], within, linkage, by_family=self._settled, least=least)
        found = self._scores(pool, x, linked + np.diag(gap.missed) / gap.share)
        group = scores.groups(len(x))
        values = found.of_simulated(pool.statistics, group[pool.proposal])
        used = radius <= _REACH * self._radius
        # A score may be made of what hardly a window holds.
        within_reach = values[used[pool.proposal]]
        bounds = Bounds.of(within_reach if len(within_reach) else values, _BOUND)
        moments = ProposalMoments.of_windows(bounds(values), pool.proposal, len(x))
        emulator = self._emulator(x[used], radius[used], moments.select(used))
        real = bounds(found.of_real(pool.real))
        expected = _squared_lengths(found.mean, linked) / _squared_lengths(found.mean, within)
        inflation = linkage.along(real, expected * gap.share * len(real))
        self.num_local += int(used.sum())
        shares = 1 / remoteness(radius[used], self._trusted)
        self.effective_windows = max(self.effective_windows, float(shares @ moments.count[used]))
        self.degree = max(self.degree, int(emulator.basis.degrees.max()))
        self.inflation = max(self.inflation, float(inflation.mean()))
        self.misfit = max(self.misfit, gap.dispersion)
        self.beyond, self.deviation = self.beyond + gap.beyond, float(np.hypot(self.deviation, gap.deviation))
        told = {family: error for family, error in gap.errors.items() if error > least}
        self.errors |= {family: max(error, self.errors.get(family, 0.0)) for family, error in told.items()}
        return PoolEmulator(
            found,
            emulator,
            self._own_variance(core, bounds(found.of_real(core.statistics))),
            real.mean(axis=0),
            gap.factor * inflation / len(real),
            gap.missed @ found.mean**2,
        )

    @property
    def _trusted(self) -> float:
        """The squared radius up to which the emulator is believed."""
        return _NEAR * self._radius

    def _scores(self, pool: Pool, x: np.ndarray, within: np.ndarray) -> Scores:
        return scores.find(
            x,
            pool.moments,
            within,
            self._cloud,
            self._inputs,
            num_kinks=len(self._kinks),
            near=self._trusted,
            narrow=_NARROW * self._radius,
            wide=_WIDE * self._radius,
            limit=_SCORES * x.shape[1],
            num_real=len(pool.real),
        )

    def _own_variance(self, core: Pool, values: np.ndarray) -> VarianceModel:
        """Variance between windows of the scores ``values`` (n, J) as real windows have them."""
        moments = ProposalMoments.of_windows(values, core.proposal, len(core.theta))
        return VarianceModel.fit(self.coordinates.encode(core.theta), moments)

    def _emulator(self, x: np.ndarray, radius: np.ndarray, moments: ProposalMoments) -> Emulator:
        noise = VarianceModel.fit(x, moments)(x) / moments.count[:, None] * remoteness(radius, self._trusted)[:, None]
        degree = largest_degree(x.shape[1], len(x), len(self._kinks))
        basis = Basis(x.shape[1], degree, len(self._kinks))
        return fit(basis, self._inputs(x), moments.mean, noise, radius <= self._trusted)

    def _residuals(self, x: np.ndarray) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        inputs = self._inputs(x)
        return [emulator.residuals(x, inputs) for emulator in self._emulators]

    def trusts(self, x: np.ndarray) -> np.ndarray:
        """Whether the emulator is believed at coordinates (n, p)."""
        return (x**2).sum(axis=1) <= self._trusted

    def log_likelihood(self, x: np.ndarray, *, curious: bool = False) -> np.ndarray:
        """Normal log likelihood (n,) of the real means at coordinates (n, p), the log determinant included.

        ``curious`` leaves the emulator's variance out of the determinant: where it knows little, the real means are
        then as likely as they can be.
        """
        out = np.zeros(len(x))
        for residual, emulator, own in self._residuals(x):
            total = emulator + own
            out -= 0.5 * (residual**2 / total + np.log(own if curious else total)).sum(axis=1)
        return out

    def log_posterior(self, beta: float, *, curious: bool = False) -> Callable[[np.ndarray], np.ndarray]:
        """Log density over coordinates (n, p): prior times likelihood to ``beta``, where the emulator is trusted."""

        def evaluate(x: np.ndarray) -> np.ndarray:
            theta = self.coordinates.decode(x)
            out = self._parameters.log_prior(theta)
            logarithmic = self.coordinates.logarithmic
            out = out + np.log(np.where(logarithmic, np.maximum(theta, 1e-300), 1.0)).sum(axis=1)
            inside = np.isfinite(out) & self.trusts(x)
            out[~inside] = -np.inf
            if inside.any():
                out[inside] += beta * self.log_likelihood(x[inside], curious=curious)
            return out

        return evaluate

    def errors_of_simulations(self, posterior: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What the emulator's error adds to each parameter's variance (p,), as a share of what the data alone leave.

        And as a share (p,) of the whole variance, by how much estimates from other simulations scatter because these
        look at the real windows along other directions: the noise in a direction meets the windows' own noise there.
        Both from the curvature of the likelihood at the middle of the posterior.
        """
        size = len(self.coordinates.centre)
        centre = self.coordinates.encode(posterior).mean(axis=0)
        ends = centre + _SLOPE_STEP * np.concatenate([np.eye(size), -np.eye(size)])
        with_error, without, scatter = (np.zeros((size, size)) for _ in range(3))
        middle = self._residuals(centre[None, :])
        for (residual, _, _), (_, emulator, own), fitted in zip(
            self._residuals(ends), middle, self._emulators, strict=True
        ):
            slopes = (residual[size:] - residual[:size]) / (2 * _SLOPE_STEP)
            with_error += (slopes / (own + emulator)) @ slopes.T
            without += (slopes / own) @ slopes.T
            scatter += (slopes * fitted.scores.noise * own / (own + emulator) ** 2) @ slopes.T
        whole, alone = np.linalg.pinv(with_error), np.linalg.pinv(without)
        axes = self.coordinates.axes
        variance, of_data, moved = (np.diag(axes @ v @ axes.T) for v in (whole, alone, whole @ scatter @ whole))
        shares = np.maximum(variance / np.maximum(of_data, 1e-300) - 1.0, 0.0)
        return shares, moved / np.maximum(variance, 1e-300)

    def excess_share(self) -> float:
        """The part of :meth:`emulator_shares` that is scatter the polynomial misses, at the cloud's centre."""
        centre = np.zeros((1, len(self.coordinates.centre)))
        return float(
            max((e.emulator.excess / (e.variance(centre)[0] * e.share)).max(initial=0.0) for e in self._emulators)
        )

    def match_distance(self, posterior: np.ndarray) -> float:
        """Smallest squared distance over posterior draws between real and emulated means, in the likelihood metric."""
        parts = self._residuals(self.coordinates.encode(posterior))
        return float(np.sum([(r**2 / (e + own)).sum(axis=1) for r, e, own in parts], axis=0).min())


def _squared_lengths(directions: np.ndarray, metric: np.ndarray) -> np.ndarray:
    """(J,) of directions (d, J)."""
    return np.asarray(np.einsum("ij,ik,kj->j", directions, metric, directions))


def score_axes(parameters: Parameters, cloud: np.ndarray, pool: Pool, missed: np.ndarray) -> np.ndarray:
    """(d, J) directions of a pool's statistics that tell points of ``cloud`` (n, p) apart; see :mod:`scores`.

    ``missed`` (d,): what the model misses counts like so much more variance between windows.
    """
    coordinates = Coordinates.of_cloud(parameters, cloud)
    x, inner = coordinates.encode(pool.theta), coordinates.encode(cloud)
    radius, own = (x**2).sum(axis=1), float(np.quantile((inner**2).sum(axis=1), 0.95))
    core = pool.select(radius <= max(own, float(np.sort(radius)[min(len(radius), _CORE) - 1])))
    return scores.find(
        x,
        pool.moments,
        within_covariance(core.statistics, core.proposal, len(core.theta)) + np.diag(missed),
        inner,
        lambda points: points,
        num_kinks=0,
        near=_NEAR * own,
        narrow=_NARROW * own,
        wide=_WIDE * own,
        limit=_SCORES * x.shape[1],
        num_real=len(pool.real),
    ).mean
