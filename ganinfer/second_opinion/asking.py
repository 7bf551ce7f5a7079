"""A fit of the joint site frequency spectrum by moments, and how far it lies from our estimates."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Literal

import numpy as np

from ganinfer import randomness
from ganinfer.execution import Executor
from ganinfer.inference import InferenceState, Problem
from ganinfer.observed import RealWindows
from ganinfer.parameters import Parameters
from ganinfer.second_opinion import ours
from ganinfer.second_opinion import spectra as counting
from ganinfer.second_opinion.fitting import PROGRAM, Fit, OpinionError
from ganinfer.second_opinion.likelihood import Job, Likelihood
from ganinfer.simulation import simulator

#: The distribution of what computes spectra, and the extra that installs it.
DISTRIBUTION, EXTRA = "moments-popgen", "sfs"
_STARTS = 3
#: Steps that a search from afar and a refinement take, about.
_STEPS_OF_A_SEARCH, _STEPS_OF_A_REFINEMENT = 12, 4
#: Starts whose log likelihoods are this close have reached the same maximum.
_SAME = 2.0
#: Fewer groups of blocks in a fold say too little of how a spectrum scatters.
_LEAST_GROUPS = 5


@dataclass(frozen=True)
class OpinionSettings:
    """``bootstraps``: data sets of blocks drawn with replacement, each inferred both ways; ``level`` of intervals.

    ``minutes``: what would take longer is not begun; ``step``: seconds that one of our own estimates takes.
    """

    bootstraps: int
    level: float
    minutes: float = 20.0
    step: float = 0.0


@dataclass(frozen=True)
class Second:
    """What the spectrum says of one parameter.

    ``interval`` and by which method, ``godambe`` or ``bootstrap``, none where nothing holds; ``difference``: ours less
    theirs on the parameter's scale, in standard deviations of that difference. ``seen``: the spectrum depends on it.
    ``leans_on``: another one that is on a bound, where it goes with that; ``confounded``: the spectrum knows it only
    together with others, and the estimate is one of many. Then it has neither interval nor difference.
    """

    estimate: float
    interval: tuple[float, float] | None
    method: str | None
    difference: float | None
    seen: bool
    at_bound: bool
    leans_on: str | None
    confounded: bool


@dataclass(frozen=True, eq=False)
class Opinion:
    """The answer of the other program.

    ``about``: what the spectrum is; ``misidentified``: the share of sites with their alleles the wrong way round, where
    it was fitted; ``log_likelihood`` at its estimates, and ``ours`` at ours, both less that of a model which expects
    exactly what was seen; ``starts``: where each ended. ``spectrum_alone``: our own estimates from the spectrum's
    statistics, looked for where the two differ.
    """

    program: str
    about: Mapping[str, object]
    parameters: Mapping[str, Second]
    misidentified: float | None
    log_likelihood: float
    ours: float | None
    starts: tuple[float, ...]
    bootstraps: int
    spectrum_alone: Mapping[str, float] | None

    @property
    def one_maximum(self) -> bool:
        """Whether more than one start found the best fit."""
        return sum(value > max(self.starts) - _SAME for value in self.starts) > 1


def installed() -> bool:
    return importlib.util.find_spec(PROGRAM) is not None


def why_not(problem: Problem) -> str | None:
    """Why the other program can't be asked about a problem, as a sentence; ``None`` where it can."""
    loaded = simulator(problem.setup)
    if not hasattr(loaded, "neutral_model"):
        return f"{problem.setup.title} gives no neutral model as a demes graph"
    theta = problem.parameters.sample(randomness.stream(0), 1)[0]
    try:
        model = loaded.neutral_model(problem.parameters.named(theta))
    except ValueError as error:
        return str(error)
    named = [model.demes.get(s.population, s.population) for s in problem.setup.samples]
    if len(set(named)) < len({s.population for s in problem.setup.samples}):
        return "two populations of the data are sampled from one deme"
    return counting.why_not(problem.setup, problem.observed.templates)


def ask(
    problem: Problem,
    state: InferenceState,
    posterior: np.ndarray,
    emulator_error: np.ndarray,
    real: RealWindows,
    chosen: np.ndarray,
    settings: OpinionSettings,
    executor: Executor,
    told: Callable[[str], None],
    *,
    misidentified: bool,
) -> Opinion:
    """What moments says of the same windows.

    ``posterior`` (n, p) of the run and ``emulator_error`` (p,) in standard deviations of the posterior;
    ``chosen`` (m,) windows of ``real`` in use; ``misidentified``: ancestral alleles may be wrong, so their share is
    fitted, where it is none of the model's own parameters. Neither fit sees the other: starts are draws of the prior.
    Raises :class:`OpinionError` where there is no fit, and whatever the other program raises.
    """
    told(f"Fitting the joint site frequency spectrum with {PROGRAM}, for a second opinion")
    spectra = counting.spectra(problem.setup, real, chosen, problem.observed.fold, problem.seed)
    parameters = problem.parameters
    rng = randomness.stream(problem.seed, "second opinion", problem.scenario)
    own = simulator(problem.setup).neutral_model(parameters.named(parameters.sample(rng, 1)[0])).misidentified
    job = Job.of(problem.setup, spectra, misidentified=misidentified and own == 0)
    draws = parameters.sample(rng, _STARTS)
    times = np.stack([counting.drawn(spectra, rng) for _ in range(settings.bootstraps)])
    enough = int(np.bincount(spectra.fold).min()) >= _LEAST_GROUPS
    _check_time(job, draws, settings, executor.num_workers)
    fit = Fit(job, draws, executor)
    theirs = fit.again([counting.resampled(spectra, t) for t in times], executor) if enough else None
    if enough:
        told(f"Comparing {settings.bootstraps} bootstrap data sets of both")
    paired = ours.of_bootstrap(problem, state, spectra.group, times, executor) if enough else None
    seconds = _seconds(parameters, fit, theirs, paired, spectra, posterior, emulator_error, settings.level)
    apart = any(s.difference is not None and abs(s.difference) > 2 for s in seconds.values())
    alone = ours.of_the_spectrum(problem, state) if apart else None
    return Opinion(
        program=f"{PROGRAM} {version(DISTRIBUTION)}",
        about=counting.describe(spectra),
        parameters=seconds,
        misidentified=float(fit.estimate[-1]) if job.misidentified else None,
        log_likelihood=fit.log_likelihood,
        ours=fit.at(np.median(posterior, axis=0)),
        starts=tuple(found.log_likelihood for found in fit.starts),
        bootstraps=settings.bootstraps if enough else 0,
        spectrum_alone=None if alone is None else dict(zip(parameters.names, alone.tolist(), strict=True)),
    )


def _check_time(job: Job, draws: np.ndarray, settings: OpinionSettings, num_workers: int) -> None:
    """Raise :class:`OpinionError` where both fits of all data sets would take longer than allowed.

    From the time that one spectrum takes, and one step of ours.
    """
    taken = []
    for own in (job.coarse or job, job):
        likelihood, slowest = Likelihood(own), 0.0
        for theta in draws:
            begun = time.monotonic()
            likelihood.residuals(likelihood.encode(theta))
            slowest = max(slowest, time.monotonic() - begun)
        taken.append(slowest)
    slopes, fits = draws.shape[1] + 1, 2 if likelihood.coordinates.both_signs.any() else 1
    rounds = -(-_STARTS // num_workers)
    searches = taken[0] * _STEPS_OF_A_SEARCH * slopes * rounds
    rest = fits * taken[1] * (3 * slopes + _STEPS_OF_A_REFINEMENT * settings.bootstraps / num_workers)
    minutes = (searches + rest + settings.step * settings.bootstraps / num_workers) / 60
    if minutes > settings.minutes:
        raise OpinionError(
            f"it would take about {minutes:.0f} minutes, since one spectrum of this model takes {taken[1]:.1f} s and "
            f"one estimate of ours {settings.step:.1f} s; second_opinion.minutes allows {settings.minutes:g}"
        )


def _seconds(
    parameters: Parameters,
    fit: Fit,
    theirs: np.ndarray | None,
    paired: np.ndarray | None,
    spectra: counting.Spectra,
    posterior: np.ndarray,
    emulator_error: np.ndarray,
    level: float,
) -> dict[str, Second]:
    size, seen, at_bound, leans_on, confounded = len(parameters), fit.seen, fit.at_bound, fit.leans_on, fit.confounded
    spread, method = _spread(fit, theirs, spectra)
    apart = _apart(parameters, fit.estimate[:size], theirs, paired, posterior, emulator_error, _few(spectra.fold))
    found = {}
    for i, parameter in enumerate(parameters):
        alone = seen[i] and not at_bound[i] and leans_on[i] < 0 and not confounded[i]
        known = alone and method is not None
        found[parameter.name] = Second(
            estimate=float(fit.estimate[i]),
            interval=_interval(fit, i, spread[i], level) if known else None,
            method=method if known else None,
            difference=float(apart[i]) if known and apart is not None and np.isfinite(apart[i]) else None,
            seen=bool(seen[i]),
            at_bound=bool(at_bound[i]),
            leans_on=parameters.names[leans_on[i]] if leans_on[i] >= 0 else None,
            confounded=bool(confounded[i]),
        )
    return found


def _few(fold: np.ndarray) -> float:
    """What a standard deviation over bootstrap data sets is short of, as groups are drawn fold by fold."""
    return float(np.sqrt(len(fold) / max(len(fold) - len(np.unique(fold)), 1)))


def _spread(
    fit: Fit, theirs: np.ndarray | None, spectra: counting.Spectra
) -> tuple[np.ndarray, Literal["godambe", "bootstrap"] | None]:
    """Standard deviations in coordinates, and by which method; none where there are too few groups."""
    if theirs is None:
        return np.full(len(fit.x), np.nan), None
    covariance = fit.covariance(list(spectra.counts), spectra.lengths)
    if covariance is not None:
        return np.sqrt(np.diag(covariance)), "godambe"
    return fit.likelihood.coordinates.encode(theirs).std(axis=0, ddof=1) * _few(spectra.fold), "bootstrap"


def _interval(fit: Fit, i: int, spread: float, level: float) -> tuple[float, float]:
    """A normal interval in coordinates, which quantiles of few bootstrap data sets are too narrow for."""
    from scipy.stats import norm

    ends = np.stack([fit.x, fit.x])
    ends[:, i] += np.array([-1, 1]) * norm.isf((1 - level) / 2) * spread
    low, high = fit.likelihood.coordinates.decode(np.clip(ends, 1, 2))[:, i]
    return float(low), float(high)


def _apart(
    parameters: Parameters,
    estimate: np.ndarray,
    theirs: np.ndarray | None,
    paired: np.ndarray | None,
    posterior: np.ndarray,
    emulator_error: np.ndarray,
    few: float = 1.0,
) -> np.ndarray | None:
    """Ours less theirs (p,), in standard deviations of the difference; infinite where these are 0.

    Over bootstrap data sets it shows what both fits make of the same blocks, short by the factor ``few``; the
    emulator's error, which all of them share, comes on top.
    """
    if theirs is None or paired is None:
        return None
    size, draws = len(parameters), parameters.to_scale(posterior)
    both = parameters.to_scale(paired) - parameters.to_scale(theirs[:, :size])
    both = both[np.isfinite(both).all(axis=1)]
    if len(both) < 2:
        return None
    own = emulator_error * draws.std(axis=0)
    spread = np.sqrt(few**2 * both.var(axis=0, ddof=1) + own**2)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((np.median(draws, axis=0) - parameters.to_scale(estimate)) / spread)
