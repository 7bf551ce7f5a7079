"""Whether an answer hangs on which simulations, or which half of the genome, it was made from.

The generator's step is repeated on halves of what it saw. *Halves*: every other proposal, on all real windows; the two
answers differ by their Monte Carlo error. *Folds*: the real windows of one fold with its own proposals; their answers
also differ as halves of the genome do, where there are two.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from threadpoolctl import threadpool_limits

from ganinfer import randomness
from ganinfer.inference import InferenceState, Problem, fold_results
from ganinfer.interfaces import MONTE_CARLO, FoldResult, RoundResult
from ganinfer.parameters import Parameters

#: Answers further apart than so many standard deviations of what is expected are unstable,
_APART = 3.5
#: and halves of the simulations only where it matters: by so many standard deviations of the posterior.
_MATTERS = 1.0
#: A peak of the posterior has at least this share of its draws; densities are computed at so many points.
_OF_A_PEAK, _GRID = 0.05, 256


@dataclass(frozen=True)
class Stability:
    """Differences of two answers by parameter, in standard deviations of the posterior, and which are too large.

    ``halves`` of the simulations, ``folds`` of the genome, empty where there are not two; ``usual``: of either word and
    each parameter, how large these would be by chance, as a standard deviation; ``unstable``: pairs of either word and
    a parameter's name.
    """

    halves: Mapping[str, float]
    folds: Mapping[str, float]
    usual: Mapping[str, Mapping[str, float]]
    unstable: tuple[tuple[str, str], ...]


def stability(
    problem: Problem, state: InferenceState, posterior: np.ndarray, metrics: Mapping[str, float]
) -> Stability | None:
    """Of a run's last state and ``posterior`` (n, p); ``metrics`` of the generator tell its Monte Carlo error.

    ``None`` where half of the proposals are too few for the generator.
    """
    results = fold_results(problem, state)
    pairs: dict[str, list[tuple[FoldResult, ...]]] = {
        "halves": [tuple(_half(result, parity) for result in results) for parity in (0, 1)]
    }
    if len(results) == 2:
        pairs["folds"] = [(result,) for result in results]
    sd = np.maximum(problem.parameters.to_scale(posterior).std(axis=0), 1e-300)
    apart = {}
    for kind, parts in pairs.items():
        one, other = (_middle(problem, state, part, kind, k) for k, part in enumerate(parts))
        if one is None or other is None:
            return None
        apart[kind] = np.abs(one - other) / sd
    names = problem.parameters.names
    error = np.array([metrics.get(f"{MONTE_CARLO}{name}", 0.0) for name in names])
    # An answer from half of the simulations has twice the variance of the Monte Carlo error, one from half of the
    # genome twice that of the posterior; two of them differ by four times that.
    usual = {"halves": 2 * error, "folds": np.full(len(names), 2.0)}
    limits = {"halves": np.maximum(_APART * usual["halves"], _MATTERS), "folds": _APART * usual["folds"]}
    unstable = [
        (kind, name) for kind in apart for name, far in zip(names, apart[kind] > limits[kind], strict=True) if far
    ]
    by_name, by_chance = (
        {kind: dict(zip(names, values.tolist(), strict=True)) for kind, values in found.items()}
        for found in (apart, usual)
    )
    return Stability(by_name["halves"], by_name.get("folds", {}), by_chance, tuple(unstable))


def peaks(parameters: Parameters, posterior: np.ndarray) -> dict[str, list[tuple[float, float]]]:
    """Of every parameter whose ``posterior`` (n, p) has more than one peak: where each lies, and its share of draws.

    The cloud of proposals begins all over the prior; peaks are the places where it ended. Two with less than half of
    the lower one's density between them count, each with a share of :data:`_OF_A_PEAK` at least.
    """
    draws = parameters.to_scale(posterior)
    found = {}
    for i, name in enumerate(parameters.names):
        ends = _peaks(draws[:, i])
        if len(ends) > 1:
            values = np.repeat(np.median(draws, axis=0)[None], len(ends), axis=0)
            values[:, i] = [at for at, _ in ends]
            natural = parameters.from_scale(values)[:, i]
            found[name] = [(float(at), share) for at, (_, share) in zip(natural, ends, strict=True)]
    return found


def _peaks(draws: np.ndarray) -> list[tuple[float, float]]:
    """Of one parameter on its scale: peaks of the density, and the share of ``draws`` (n,) between their valleys."""
    from scipy.signal import find_peaks, peak_prominences
    from scipy.stats import gaussian_kde

    if np.ptp(draws) == 0:
        return [(float(draws[0]), 1.0)]
    grid = np.linspace(draws.min(), draws.max(), _GRID)
    density = np.pad(gaussian_kde(draws)(grid), 1)  # a density may be highest at a bound
    tops = find_peaks(density)[0]
    tops = tops[peak_prominences(density, tops)[0] > density[tops] / 2]
    valleys = [grid[a + int(density[a:b].argmin()) - 1] for a, b in pairwise(tops)]
    shares = np.bincount(np.searchsorted(valleys, draws), minlength=len(tops)) / len(draws)
    ends = [(float(grid[top - 1]), float(share)) for top, share in zip(tops, shares, strict=True)]
    return [end for end in ends if end[1] >= _OF_A_PEAK]


def _middle(
    problem: Problem, state: InferenceState, results: Sequence[FoldResult], *key: str | int
) -> np.ndarray | None:
    """Medians (p,) on the parameters' scales of the generator's answer; ``None`` where it has none."""
    rng = randomness.stream(problem.seed, "stability", problem.scenario, *key)
    try:
        with threadpool_limits(1, user_api="blas"), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # means of no proposals, where half are too few
            _, info = problem.generator.step(state.generator, RoundResult(state.index - 1, tuple(results)), rng)
    except (ArithmeticError, np.linalg.LinAlgError):  # too few of them for a regression
        return None
    return None if info.posterior is None else np.median(problem.parameters.to_scale(info.posterior), axis=0)


def _half(result: FoldResult, parity: int) -> FoldResult:
    """Every other proposal of a fold, and its windows."""
    kept = np.arange(len(result.theta)) % 2 == parity
    windows = kept[result.proposal]
    number = np.cumsum(kept) - 1
    logits = result.logits[windows] if len(result.logits) else result.logits
    return replace(
        result,
        theta=result.theta[kept],
        round_index=result.round_index[kept],
        statistics=result.statistics[windows],
        proposal=number[result.proposal[windows]],
        logits=logits,
    )
