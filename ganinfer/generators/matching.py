"""The default generator: the parameters whose emulated mean statistics meet the real mean.

The proposals are a cloud of particles, the emulator's tempered posterior (prior times likelihood to the power beta);
every step refits the emulator on all proposals around the cloud and samples the posterior anew. The cloud
follows curved ridges as they are; where it is small and straight the polynomial is nearly linear and the fit local.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np

from ganinfer.generators import sampling, sides
from ganinfer.generators.emulator import Basis, Coordinates
from ganinfer.generators.local import Local
from ganinfer.generators.pools import Pool, pools
from ganinfer.interfaces import (
    API_VERSION,
    EMULATOR_ERROR,
    MONTE_CARLO,
    Budget,
    FoldResult,
    Info,
    RoundPlan,
    RoundResult,
    State,
)
from ganinfer.parameters import Parameters

#: An estimate that moved further than this since the last round, in posterior standard deviations, has not settled.
_STEADY = 2.0
#: While it moves by more than this, the run goes on: an emulator whose error adds a tenth to a variance moves it less.
_AT_REST = 0.5
#: Proposals that scores are read from lie further out than the cloud, by a factor from the first to the last of these,
_NEAREST, _FARTHEST = 4.0, 16.0
#: so far that the noise of what is read there is this share of it.
_NOISE = 0.25
#: and by this much less, so often by parameter, along an axis that leads out of the prior.
_LESS, _SHORTER = 0.7, 8
#: With a smaller share of possible draws, walkers are kept where models are possible.
_ENOUGH_POSSIBLE = 0.5
#: Parameters whose other side of zero was looked at, and whether it misses the data by about as much;
_OTHER = "other_sides"
#: and how often it was. One that has not become as small as ours by then is left.
_LOOKS, _MOST_LOOKS = "looks", 2
#: Two sides are alike where their squared distances from the data differ by no more than so many standard deviations,
#: and this share of the smaller one.
_ALIKE, _METRIC = 1.5, 0.1
#: A family that the model misses by fewer standard errors is not named.
_WORTH_NAMING = 0.5


class Matching:
    """Emulator matching; options are the keyword arguments.

    ``temper``: largest power of the likelihood for proposals; ``effective_sample``: least share of the cloud that
    has to stay effective when the power rises; ``prior_share``: proposals drawn from the prior; ``wide_share``:
    proposals far outside the cloud; ``first_proposals`` and
    ``first_windows``: the first round; ``windows``: windows of each later proposal; ``num_particles``: the cloud;
    ``tolerance`` and ``monte_carlo``: stop when the emulator's error adds less than this share to any parameter's
    variance, and the Monte Carlo error of every estimate is below so many standard deviations of its posterior.
    """

    api_version: ClassVar[str] = API_VERSION

    def __init__(
        self,
        *,
        temper: float = 0.5,
        effective_sample: float = 0.1,
        prior_share: float = 0.03,
        wide_share: float = 0.2,
        first_proposals: int = 1000,
        first_windows: int = 5,
        windows: int = 16,
        num_particles: int = 400,
        tolerance: float = 0.1,
        monte_carlo: float = 0.4,
        steps: int = 60,
    ):
        self.temper, self.effective_sample, self.prior_share = temper, effective_sample, prior_share
        self.first_proposals, self.first_windows, self.windows = first_proposals, first_windows, windows
        self.wide_share = wide_share
        self.num_particles, self.steps = num_particles, steps
        self.tolerance, self.monte_carlo = tolerance, monte_carlo
        if not 0 < temper <= 1 or not 0 < effective_sample < 1:
            raise ValueError(
                f"generator matching: temper must lie in (0, 1], effective_sample in (0, 1); "
                f"got {temper}, {effective_sample}"
            )
        if min(prior_share, wide_share) < 0 or prior_share + wide_share >= 1:
            raise ValueError(
                f"generator matching: prior_share and wide_share must be at least 0 and below 1 together; "
                f"got {prior_share} and {wide_share}"
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
        sizes[-1] = left // self.windows - sizes[:-1].sum()
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
        num_wide = int(self.wide_share * k)
        both = np.concatenate([cloud, state.arrays["curious"]])
        chosen = both[sampling.spread_choice(rng, len(both), k - num_prior)]
        chosen_wide = cloud[sampling.spread_choice(rng, len(cloud), num_wide)]
        wide = self._stretched(cloud, chosen_wide, float(state.values.get("stretch", _NEAREST)))
        drawn = np.concatenate([wide, chosen[num_wide:], parameters.sample(rng, num_prior)])
        impossible = ~parameters.possible(drawn)
        drawn[impossible] = parameters.sample(rng, int(impossible.sum()))
        return drawn

    def _stretched(self, cloud: np.ndarray, chosen: np.ndarray, factor: float) -> np.ndarray:
        """``chosen`` moved away from the cloud's middle by ``factor`` along each of its axes.

        By less along those that would lead out of the prior, or to the side of zero where the cloud is not: what lies
        there says nothing of this one.
        """
        coordinates, parameters = Coordinates.of_cloud(self._parameters, cloud), self._parameters
        low, high = sides.bounds_of_side(parameters, cloud)
        x = coordinates.encode(chosen)
        factors = np.full(x.shape, factor)
        for _ in range(_SHORTER * len(parameters)):
            moved = coordinates.decode(factors * x)
            beyond = np.where(moved > high, 1.0, np.where(moved < low, -1.0, 0.0))
            outside = np.flatnonzero(beyond.any(axis=1) | np.isneginf(np.asarray(parameters.log_prior(moved))))
            if not len(outside):
                return moved
            # The axis that leads out most; over a border that is none of the bounds, the one that leads furthest.
            steps = (factors * x)[outside]
            known = beyond[outside].any(axis=1, keepdims=True)
            push = np.where(known, steps * (beyond[outside] @ coordinates.axes), np.abs(steps))
            longest = np.where(factors[outside] > 1, push, -np.inf).argmax(axis=1)
            factors[outside, longest] = np.maximum(factors[outside, longest] * _LESS, 1.0)
        moved[outside] = chosen[outside]
        return moved

    def _stretch(self, folds: Sequence[FoldResult]) -> float:
        """How far out the next wide proposals are to lie, as a multiple of the cloud.

        One unit of the cloud moves the mean of M real windows by about its standard error: by a squared length of 1 / M
        in units of windows. Slopes of d statistics, read from n windows at m such units, have noise of d / (n m²).
        """
        real, simulated = sum(len(f.real) for f in folds), sum(len(f.proposal) for f in folds)
        wide = max(self.wide_share * simulated, 1.0)
        return float(np.clip(np.sqrt(folds[0].statistics.shape[1] * real / (_NOISE * wide)), _NEAREST, _FARTHEST))

    def step(self, state: State, result: RoundResult, rng: np.random.Generator) -> tuple[State, Info]:
        cloud, beta = state.arrays["cloud"], float(state.values["beta"])
        reach = Coordinates.of_cloud(self._parameters, cloud)
        known = pools(result.folds, [(reach.encode(f.theta) ** 2).sum(axis=1) for f in result.folds])
        left = sides.parts(state.arrays)
        for _ in range(sampling.MAX_TEMPERINGS):
            local = Local(self._parameters, cloud, known, settled=beta >= self.temper)
            beta_before, before = beta, cloud
            beta, cloud = self._tempered(local, cloud, beta, rng)
            left = sides.left(self._parameters, before, cloud, left)
            still = not sampling.has_moved_far(*map(local.coordinates.encode, (before, cloud)))
            if (beta_before >= self.temper and still) or not self._supported(cloud, known):
                break
        posterior = self._walked(local, 1.0, cloud, rng, 3 * self.steps, keep=self.steps)
        shifts = self._shifts(state, posterior)
        curious = sampling.walk(local.log_posterior(beta, curious=True), cloud, local.coordinates, rng, self.steps)
        arrays = {"cloud": cloud, "curious": curious, "estimate": np.median(posterior, axis=0), **left}
        values = {"beta": beta, "step": state.values["step"] + 1, "stretch": self._stretch(result.folds)}
        names = self._parameters.names
        other = {n: v for n, v in state.values.get(_OTHER, {}).items() if not sides.across(cloud[:, names.index(n)])}
        return State(arrays, {**values, _OTHER: other}), self._info(local, cloud, posterior, beta, shifts, other)

    def given_up(self, state: State, info: Info, rng: np.random.Generator) -> State | None:
        """The side of zero that the cloud left, once the model turns out to miss something on ours."""
        left = sides.parts(state.arrays)
        if not left or state.values["beta"] < self.temper or info.metrics["misfit"] <= 1.0:
            return None
        cloud = sides.blurred(self._parameters, left[min(left)], self.num_particles, rng)
        arrays = {"cloud": cloud, "curious": cloud, "estimate": np.median(cloud, axis=0)}
        return State(arrays, {"beta": 0.0, "step": 1, "stretch": _NEAREST})

    def chosen(self, ours: tuple[State, Info], other: tuple[State, Info]) -> tuple[bool, State, Info]:
        """Of two sides the closer one to the data, ``other`` being what became of :meth:`given_up`.

        One that has not become as small as ours is looked at once more from where it is. After that, or where it has
        come over to ours, it is forgotten.
        """
        (state, info), (there, found) = ours, other
        key = min(sides.parts(state.arrays))
        name = self._parameters.names[sides.number(key)]
        looks = {**state.values.get(_LOOKS, {})}
        looks[name] = looks.get(name, 0) + 1
        values = {_OTHER: dict(state.values[_OTHER]), _LOOKS: looks}
        settled = there.values["beta"] >= self.temper
        apart = sides.lie_apart(key, state.arrays["cloud"], there.arrays["cloud"])
        if apart and not settled and looks[name] < _MOST_LOOKS:
            return True, _changed(state, {key: there.arrays["cloud"]}, values), info
        if not apart or not settled:
            return True, _changed(state, {key: None}, values), info
        further, noise = _further(info, found)
        kept, alike = further >= -noise, abs(further) <= noise
        values[_OTHER][name] = alike
        if not kept:
            state, info = _changed(there, sides.parts(state.arrays) | sides.parts(there.arrays), {}), found
        info = replace(
            info,
            metrics={**info.metrics, "other_side": further},
            warnings=(*info.warnings, _either_sign(name)) if alike else info.warnings,
        )
        return kept, _changed(state, {key: None}, values), info

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
        # What the emulator says of stragglers is extrapolated, and may be better than all that is true.
        known, size = local.trusts(x), len(cloud)
        x, cloud = x[known], cloud[known]
        log_likelihood = local.log_likelihood(x)
        beta = max(reached, sampling.largest_power(log_likelihood, self.temper, self.effective_sample))
        weights = sampling.normalised(beta * log_likelihood)
        start = cloud[sampling.systematic(rng, weights, size)]
        moved = self._walked(local, beta, start, rng, self.steps)
        if len(moved) < size:
            moved = moved[sampling.systematic(rng, np.full(len(moved), 1 / len(moved)), size)]
        return beta, moved

    def _walked(
        self, local: Local, beta: float, start: np.ndarray, rng: np.random.Generator, num_steps: int, keep: int = 1
    ) -> np.ndarray:
        """Draws of the posterior under ``beta`` that can be simulated, from ``start``, all of which can.

        Walkers know bounds and constraints. Whether a model is possible takes long to find out, so it is asked of
        their last draws; only where most of these are not, at every step.
        """
        density, parameters, coordinates = local.log_posterior(beta), self._parameters, local.coordinates

        def of_possible(x: np.ndarray) -> np.ndarray:
            out = density(x)
            finite = np.flatnonzero(np.isfinite(out))
            out[finite[~parameters.possible(coordinates.decode(x[finite]))]] = -np.inf
            return out

        drawn = sampling.walk(density, start, coordinates, rng, num_steps, keep)
        possible = parameters.possible(drawn)
        if possible.mean() < _ENOUGH_POSSIBLE:
            drawn = sampling.walk(of_possible, start, coordinates, rng, num_steps, keep)
            possible = parameters.possible(drawn)
        return drawn[possible]

    def _supported(self, cloud: np.ndarray, known: Sequence[Pool]) -> bool:
        """Whether enough proposals lie within the cloud for its emulator to be fitted again on the same round."""
        coordinates = Coordinates.of_cloud(self._parameters, cloud)
        reach = float(np.quantile((coordinates.encode(cloud) ** 2).sum(axis=1), 0.95))
        needed = 2 * len(Basis(len(self._parameters), 2))
        return all(((coordinates.encode(p.theta) ** 2).sum(axis=1) <= reach).sum() >= needed for p in known)

    def _info(
        self,
        local: Local,
        cloud: np.ndarray,
        posterior: np.ndarray,
        beta: float,
        shifts: np.ndarray,
        other: Mapping[str, bool],
    ) -> Info:
        """Warnings are those of a run that ends here, by its budget, by the clock, or because it has converged."""
        parameters = self._parameters
        shares, scatter = local.errors_of_simulations(posterior)
        share, emulator = float(shares.max()), shares / (1 + shares)
        monte_carlo = np.sqrt(emulator + scatter)
        steady = bool(shifts.max() <= _STEADY)
        precise = share <= self.tolerance and bool(monte_carlo.max() <= self.monte_carlo)
        settled = beta >= self.temper and precise and bool(shifts.max() <= _AT_REST)
        warnings = []
        if np.isfinite(shifts).all() and not steady:
            worst = int(np.argmax(shifts))
            warnings.append(
                f"In the last round the estimate of {parameters.names[worst]} moved by {shifts[worst]:.1f} standard "
                "deviations of its posterior: the intervals of this run are too narrow to be believed. A model that "
                "misses something in the data does that, and so does a budget that is too small."
            )
        if local.misfit > 1.0:
            warnings += [_misfit_warning(local), *(_either_sign(name) for name, alike in other.items() if alike)]
        if share > self.tolerance:
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
                **_by_name(EMULATOR_ERROR, parameters, np.sqrt(emulator)),
                **_by_name(MONTE_CARLO, parameters, monte_carlo),
                **({"shift": float(shifts.max())} if np.isfinite(shifts).all() else {}),
                "match_distance": local.match_distance(posterior),
                "num_local": float(local.num_local),
                "effective_windows": local.effective_windows,
                "degree": float(local.degree),
                "num_directions": float(local.num_directions),
                "excess": local.excess_share(),
                "inflation": local.inflation,
                "misfit": local.misfit,
                "beyond": local.beyond,
                "beyond_sd": local.deviation,
            },
            warnings=tuple(warnings),
        )


def _by_name(prefix: str, parameters: Parameters, values: np.ndarray) -> dict[str, float]:
    return {f"{prefix}{name}": float(value) for name, value in zip(parameters.names, values, strict=True)}


def _changed(state: State, arrays: Mapping[str, np.ndarray | None], values: Mapping[str, object]) -> State:
    """The state with other arrays and values; an array that is ``None`` is left out."""
    changed = {name: array for name, array in {**state.arrays, **arrays}.items() if array is not None}
    return State(changed, {**state.values, **values})


def _further(ours: Info, other: Info) -> tuple[float, float]:
    """How much further the other side lies from the data, and how much of that noise may make.

    Squared distances without the noise in them; no metric is known to better than some percent.
    """
    near, far = ours.metrics["beyond"], other.metrics["beyond"]
    noise = _ALIKE * max(ours.metrics["beyond_sd"], other.metrics["beyond_sd"])
    return far - near, noise + _METRIC * max(min(near, far), 0.0)


def _either_sign(name: str) -> str:
    return (
        f"The model misses something of the data, and about as much with the other sign of {name}. The intervals are "
        "those of one sign; the other may be the true one."
    )


def _misfit_warning(local: Local) -> str:
    worst = sorted(local.errors.items(), key=lambda item: -item[1])
    named = [f"{family} by {error:.1f}" for family, error in worst if family and error >= _WORTH_NAMING]
    where = f" Missed, in standard errors of the real means: {', '.join(named)}." if named else ""
    return (
        f"The model cannot make the real statistics: they lie {local.misfit:.1f} times as far from what it can do, in "
        f"variance, as noise explains.{where} What it misses has less say in the estimates; the residuals show more."
    )
