"""The default generator: the parameters whose emulated mean statistics meet the real mean.

The proposals are a cloud of particles, the emulator's tempered posterior (prior times likelihood to the power beta);
every step refits the emulator on all proposals that lie within the cloud and samples the posterior anew. The cloud
follows curved ridges as they are; where it is small and straight the polynomial is nearly linear and the fit local.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ganinfer.generators import sampling
from ganinfer.generators.emulator import (
    Basis,
    Coordinates,
    Emulator,
    ProposalMoments,
    Rotation,
    VarianceModel,
    fit,
    largest_degree,
    score_rotation,
    within_covariance,
)
from ganinfer.interfaces import API_VERSION, Budget, FoldResult, Info, RoundPlan, RoundResult, State
from ganinfer.parameters import Parameters

#: The emulator is fitted, and trusted, up to this multiple of the cloud's 95 % squared radius.
_REACH = 3.0
#: Proposals that the metric is estimated from, at least.
_CORE = 200
_MIN_BLOCKS = 8
#: An estimate that moved further than this since the last round, in posterior standard deviations, has not settled.
_STEADY = 2.0
#: Half the distance, in standard deviations of the cloud, over which slopes are taken.
_SLOPE_STEP = 0.5


@dataclass(frozen=True, eq=False)
class FoldEmulator:
    """One fold's emulator with what it is matched to."""

    rotation: Rotation
    emulator: Emulator
    variance: VarianceModel
    target: np.ndarray
    share: float

    def residuals(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """At coordinates (n, p), each (n, J): target less emulated mean, the emulator's variance, the data's own."""
        mean, variance = self.emulator.predict(x)
        return self.target - mean, variance, self.variance(x) * self.share

    def log_likelihood(self, x: np.ndarray) -> np.ndarray:
        """Normal log likelihood (n,) of the real mean at coordinates (n, p), the log determinant included."""
        residual, emulator, own = self.residuals(x)
        total = emulator + own
        return -0.5 * (residual**2 / total + np.log(total)).sum(axis=1)


class Matching:
    """Emulator matching; options are the keyword arguments.

    ``temper``: largest power of the likelihood for proposals; ``effective_sample``: least share of the cloud that
    has to stay effective when the power rises; ``prior_share``: proposals drawn from the prior; ``first_proposals`` and
    ``first_windows``: the first round; ``windows``: windows of each later proposal; ``num_particles``: the cloud;
    ``tolerance``: stop when the emulator's error adds less than this share to any parameter's variance.
    """

    api_version: ClassVar[str] = API_VERSION

    def __init__(
        self,
        *,
        temper: float = 0.5,
        effective_sample: float = 0.1,
        prior_share: float = 0.03,
        first_proposals: int = 1000,
        first_windows: int = 5,
        windows: int = 16,
        num_particles: int = 400,
        tolerance: float = 0.1,
        steps: int = 60,
    ):
        self.temper, self.effective_sample, self.prior_share = temper, effective_sample, prior_share
        self.first_proposals, self.first_windows, self.windows = first_proposals, first_windows, windows
        self.num_particles, self.tolerance, self.steps = num_particles, tolerance, steps
        if not 0 < temper <= 1 or not 0 < effective_sample < 1 or not 0 <= prior_share < 1:
            raise ValueError(
                f"generator matching: temper must lie in (0, 1], effective_sample in (0, 1), prior_share in [0, 1); "
                f"got {temper}, {effective_sample}, {prior_share}"
            )
        for name, value, least in (
            ("first_proposals", first_proposals, 1),
            ("first_windows", first_windows, 2),
            ("windows", windows, 2),
            ("num_particles", num_particles, 4),
            ("steps", steps, 1),
        ):
            if value < least:
                raise ValueError(f"generator matching: {name} must be at least {least}, not {value}")

    def plan(self, parameters: Parameters, budget: Budget) -> tuple[RoundPlan, ...]:
        """A wide first round over the prior, then rounds that grow towards the answer.

        Raises ``ValueError`` for a budget whose first round is too small for a regression in every fold.
        """
        first = min(self.first_proposals, budget.simulated_windows // (4 * self.first_windows))
        needed = 2 * (len(parameters) + 2)
        if first < needed:
            raise ValueError(
                f"generator matching needs at least {needed} proposals of {self.first_windows} windows in its first "
                f"round for {len(parameters)} parameters, a quarter of the budget: budget.simulated_windows must be "
                f"at least "
                f"{4 * needed * self.first_windows} (and generator.first_proposals {needed}), not "
                f"{budget.simulated_windows} (and {self.first_proposals})"
            )
        left = budget.simulated_windows - first * self.first_windows
        num_later = budget.rounds - 1
        if num_later <= 0 or left < self.windows * num_later:
            return (RoundPlan(max(budget.simulated_windows // self.first_windows, 1), self.first_windows),)
        shares = np.geomspace(1.0, 5.0, num_later)
        sizes = np.maximum((left * shares / shares.sum() / self.windows).astype(int), 1)
        return (RoundPlan(first, self.first_windows), *(RoundPlan(int(n), self.windows) for n in sizes))

    def init(self, parameters: Parameters, rng: np.random.Generator) -> State:
        self._parameters = parameters
        cloud = parameters.sample(rng, self.num_particles)
        return State({"cloud": cloud}, {"beta": 0.0, "step": 0})

    def propose(self, state: State, rng: np.random.Generator, k: int) -> np.ndarray:
        parameters = self._parameters
        if state.values["step"] == 0:
            return sampling.space_filling(parameters, rng, k)
        num_prior = int(np.ceil(self.prior_share * k))
        cloud = state.arrays["cloud"]
        chosen = cloud[sampling.spread_choice(rng, len(cloud), k - num_prior)]
        drawn = np.concatenate([chosen, parameters.sample(rng, num_prior)])
        impossible = ~parameters.possible(drawn)
        drawn[impossible] = parameters.sample(rng, int(impossible.sum()))
        return drawn

    def step(self, state: State, result: RoundResult, rng: np.random.Generator) -> tuple[State, Info]:
        cloud, beta = state.arrays["cloud"], float(state.values["beta"])
        for _ in range(sampling.MAX_TEMPERINGS):
            local = Local(self._parameters, cloud, result.folds)
            beta_before = beta
            beta, cloud = self._tempered(local, cloud, beta, rng)
            if (beta >= self.temper and beta_before >= self.temper) or not self._supported(cloud, result.folds):
                break
        posterior = sampling.walk(
            local.log_posterior(1.0), cloud, local.coordinates, rng, 3 * self.steps, keep=self.steps
        )
        # Walkers know bounds and constraints; whether a model is possible is asked once, of their draws.
        possible = self._parameters.possible(posterior)
        posterior = posterior[possible] if possible.any() else posterior
        shifts = self._shifts(state, posterior)
        arrays = {"cloud": cloud, "estimate": np.median(posterior, axis=0)}
        values = {"beta": beta, "step": state.values["step"] + 1}
        return State(arrays, values), self._info(local, cloud, posterior, beta, shifts, result)

    def _shifts(self, state: State, posterior: np.ndarray) -> np.ndarray:
        """How far each estimate moved since the last step, in posterior standard deviations; infinite at first."""
        if "estimate" not in state.arrays:
            return np.full(len(self._parameters), np.inf)
        draws = self._parameters.to_scale(posterior)
        before = self._parameters.to_scale(state.arrays["estimate"])
        return np.abs(np.median(draws, axis=0) - before) / np.maximum(draws.std(axis=0), 1e-300)

    def _tempered(
        self, local: Local, cloud: np.ndarray, reached: float, rng: np.random.Generator
    ) -> tuple[float, np.ndarray]:
        """The cloud moved to the largest allowed power of the likelihood, never below the one already ``reached``.

        A power that fell would blow the cloud up to the emulator's reach, where it knows least.
        """
        x = local.coordinates.encode(cloud)
        log_likelihood = local.log_likelihood(x)
        beta = max(reached, sampling.largest_power(log_likelihood, self.temper, self.effective_sample))
        weights = sampling.normalised(beta * log_likelihood)
        start = cloud[sampling.systematic(rng, weights, len(cloud))]
        moved = sampling.walk(local.log_posterior(beta), start, local.coordinates, rng, self.steps)
        return beta, moved

    def _supported(self, cloud: np.ndarray, folds: Sequence[FoldResult]) -> bool:
        """Whether enough proposals lie within the cloud for its emulator to be fitted again on the same round."""
        coordinates = Coordinates.of_cloud(self._parameters, cloud)
        reach = float(np.quantile((coordinates.encode(cloud) ** 2).sum(axis=1), 0.95))
        needed = 2 * len(Basis(len(self._parameters), 2))
        return all(((coordinates.encode(f.theta) ** 2).sum(axis=1) <= reach).sum() >= needed for f in folds)

    def _info(
        self,
        local: Local,
        cloud: np.ndarray,
        posterior: np.ndarray,
        beta: float,
        shifts: np.ndarray,
        result: RoundResult,
    ) -> Info:
        parameters = self._parameters
        share = local.emulator_share(posterior)
        steady = bool(shifts.max() <= _STEADY)
        settled = beta >= self.temper and share <= self.tolerance and steady
        warnings = []
        if result.last and np.isfinite(shifts).all() and not steady:
            worst = int(np.argmax(shifts))
            warnings.append(
                f"In the last round the estimate of {parameters.names[worst]} moved by {shifts[worst]:.1f} standard "
                "deviations of its posterior: the intervals of this run are too narrow to be believed. A model that "
                "misses something in the data does that, and so does a budget that is too small."
            )
        if result.last and share > self.tolerance:
            warnings.append(
                f"The budget ended before the emulator had settled: its error adds {100 * share:.0f} % to the variance "
                "of the least certain parameter. More simulated windows would narrow the intervals."
            )
        return Info(
            estimate=np.median(posterior, axis=0),
            spread=parameters.to_scale(cloud).std(axis=0),
            posterior=posterior,
            converged="converged" if settled else None,
            metrics={
                "beta": beta,
                "emulator_share": share,
                **({"shift": float(shifts.max())} if np.isfinite(shifts).all() else {}),
                "match_distance": local.match_distance(posterior),
                "num_local": float(local.num_local),
                "degree": float(local.degree),
                "num_directions": float(local.num_directions),
                "excess": local.excess_share(),
                "inflation": local.inflation,
            },
            warnings=tuple(warnings),
        )


class Local:
    """The folds' emulators around one cloud."""

    def __init__(self, parameters: Parameters, cloud: np.ndarray, folds: Sequence[FoldResult]):
        self._parameters = parameters
        self.coordinates = Coordinates.of_cloud(parameters, cloud)
        radius = (self.coordinates.encode(cloud) ** 2).sum(axis=1)
        self._reach = _REACH * float(np.quantile(radius, 0.95))
        self.num_local, self.degree, self.inflation = 0, 0, 1.0
        self._cloud = self.coordinates.encode(cloud)
        self._folds = [self._fit(fold) for fold in folds]
        self.num_directions = sum(len(f.target) for f in self._folds)

    def _fit(self, fold: FoldResult) -> FoldEmulator:
        x = self.coordinates.encode(fold.theta)
        radius = (x**2).sum(axis=1)
        near = radius <= self._reach
        # The metric is the covariance close to the answer: the nearest proposals, a few hundred at least.
        core = radius <= max(self._reach / _REACH, float(np.sort(radius)[min(len(radius), _CORE) - 1]))
        windows = core[fold.proposal]
        renumbered = np.cumsum(core) - 1
        within = within_covariance(
            fold.statistics[windows].astype(float), renumbered[fold.proposal[windows]], int(core.sum())
        )
        windows = near[fold.proposal]
        proposal = (np.cumsum(near) - 1)[fold.proposal[windows]]
        statistics = fold.statistics[windows].astype(float)
        x_all, x = x, x[near]
        raw = ProposalMoments.of_windows(fold.statistics.astype(float), fold.proposal, len(x_all))
        wide = radius <= np.sort(radius)[_widely(len(radius))]
        rotation = score_rotation(
            x_all[wide],
            raw.mean[wide],
            raw.count[wide],
            within,
            self._cloud[:: max(len(self._cloud) // 40, 1)],
            2 * x.shape[1],
        )
        moments = ProposalMoments.of_windows(rotation(statistics), proposal, len(x))
        variance = VarianceModel.fit(x, moments)
        degree = largest_degree(x.shape[1], len(x))
        emulator = fit(x, moments.mean, variance(x) / moments.count[:, None], degree)
        close = core[near]
        own = VarianceModel.fit(x[close], moments.select(close))
        self.num_local += len(x)
        self.degree = max(self.degree, int(emulator.basis.degrees.max()))
        real = rotation(fold.real.astype(float))
        inflation = linkage_inflation(real, fold.block)
        self.inflation = max(self.inflation, inflation)
        return FoldEmulator(rotation, emulator, own, real.mean(axis=0), inflation / len(real))

    def log_likelihood(self, x: np.ndarray) -> np.ndarray:
        return np.sum([fold.log_likelihood(x) for fold in self._folds], axis=0)

    def log_posterior(self, beta: float) -> Callable[[np.ndarray], np.ndarray]:
        """Log density over coordinates (n, p): prior times likelihood to ``beta``, inside the emulator's reach."""

        def evaluate(x: np.ndarray) -> np.ndarray:
            theta = self.coordinates.decode(x)
            out = self._parameters.log_prior(theta)
            logarithmic = self.coordinates.logarithmic
            out = out + np.log(np.where(logarithmic, np.maximum(theta, 1e-300), 1.0)).sum(axis=1)
            inside = np.isfinite(out) & ((x**2).sum(axis=1) <= self._reach)
            out[~inside] = -np.inf
            if inside.any():
                out[inside] += beta * self.log_likelihood(x[inside])
            return out

        return evaluate

    def emulator_share(self, posterior: np.ndarray) -> float:
        """How much the emulator's error adds to a parameter's variance, as a share of what the data alone leave.

        The worst parameter's, from the curvature of the likelihood at the middle of the posterior.
        """
        size = len(self.coordinates.centre)
        centre = self.coordinates.encode(posterior).mean(axis=0)
        ends = centre + _SLOPE_STEP * np.concatenate([np.eye(size), -np.eye(size)])
        with_error, without = np.zeros((size, size)), np.zeros((size, size))
        for fold in self._folds:
            mean = fold.emulator.predict(ends)[0]
            slopes = (mean[:size] - mean[size:]) / (2 * _SLOPE_STEP)
            _, emulator, own = (part[0] for part in fold.residuals(centre[None, :]))
            with_error += (slopes / (own + emulator)) @ slopes.T
            without += (slopes / own) @ slopes.T
        axes = self.coordinates.axes
        variances = [np.diag(axes @ np.linalg.pinv(i) @ axes.T) for i in (with_error, without)]
        return float(np.max(variances[0] / np.maximum(variances[1], 1e-300)) - 1.0)

    def excess_share(self) -> float:
        """The part of :meth:`emulator_share` that is scatter the polynomial misses, at the cloud's centre."""
        centre = np.zeros((1, len(self.coordinates.centre)))
        return float(max((f.emulator.excess / (f.variance(centre)[0] * f.share)).max(initial=0.0) for f in self._folds))

    def match_distance(self, posterior: np.ndarray) -> float:
        """Smallest squared distance over posterior draws between real and emulated means, in the likelihood metric."""
        parts = [fold.residuals(self.coordinates.encode(posterior)) for fold in self._folds]
        return float(sum((r**2 / (e + own)).sum(axis=1) for r, e, own in parts).min())


def _widely(num_proposals: int) -> int:
    """How many of the nearest proposals directions are read from."""
    return max(num_proposals * 2 // 3, min(num_proposals - 1, 300))


def linkage_inflation(values: np.ndarray, block: np.ndarray) -> float:
    """How much linkage inflates the variance of the mean of ``values`` (m, J), at least 1, pooled over directions.

    The variance of the mean by blocks over that by windows taken as independent; 1 where every window is its own block
    or there are too few blocks to tell.
    """
    names, index = np.unique(block, return_inverse=True)
    if len(names) == len(values) or len(names) < _MIN_BLOCKS:
        return 1.0
    centred = values - values.mean(axis=0)
    sums = np.stack([np.bincount(index, column) for column in centred.T], axis=1)
    by_blocks = (sums**2).sum(axis=0) * len(names) / (len(names) - 1)
    by_windows = (centred**2).sum(axis=0)
    return max(1.0, float(np.mean(by_blocks / np.maximum(by_windows, 1e-300))))
