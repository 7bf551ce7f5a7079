"""Whether an answer hangs on which simulations, or which half of the genome, it was made from.

The generator's step is repeated on halves of what it saw. *Halves*: every other proposal, on all real windows; the two
answers differ by their Monte Carlo error. *Folds*: the real windows of one fold with its own proposals; their answers
also differ as halves of the genome do.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from threadpoolctl import threadpool_limits

from ganinfer import randomness
from ganinfer.inference import InferenceState, Problem, fold_results
from ganinfer.interfaces import MONTE_CARLO, FoldResult, RoundResult

#: Answers further apart than so many standard deviations of what is expected are unstable,
_APART = 3.5
#: and halves of the simulations only where it matters: by so many standard deviations of the posterior.
_MATTERS = 1.0


@dataclass(frozen=True)
class Stability:
    """Differences of two answers by parameter, in standard deviations of the posterior, and which are too large.

    ``halves`` of the simulations, ``folds`` of the genome; ``unstable``: pairs of either word and a parameter's name.
    """

    halves: Mapping[str, float]
    folds: Mapping[str, float]
    unstable: tuple[tuple[str, str], ...]


def stability(
    problem: Problem, state: InferenceState, posterior: np.ndarray, metrics: Mapping[str, float]
) -> Stability | None:
    """Of a run's last state and ``posterior`` (n, p); ``metrics`` of the generator tell its Monte Carlo error.

    ``None`` where half of the proposals are too few for the generator, or there are not two folds.
    """
    results = fold_results(problem, state)
    if len(results) != 2:
        return None
    halves = [tuple(_half(result, parity) for result in results) for parity in (0, 1)]
    middles = []
    for name, parts in (("halves", halves), ("folds", [(result,) for result in results])):
        for k, part in enumerate(parts):
            found = _middle(problem, state, part, name, k)
            if found is None:
                return None
            middles.append(found)
    sd = np.maximum(problem.parameters.to_scale(posterior).std(axis=0), 1e-300)
    apart = {
        "halves": np.abs(middles[0] - middles[1]) / sd,
        "folds": np.abs(middles[2] - middles[3]) / sd,
    }
    names = problem.parameters.names
    error = np.array([metrics.get(f"{MONTE_CARLO}{name}", 0.0) for name in names])
    # An answer from half of the simulations has twice the variance of the Monte Carlo error, one from half of the
    # genome twice that of the posterior; two of them differ by four times that.
    limits = {"halves": np.maximum(2 * _APART * error, _MATTERS), "folds": np.full(len(names), 2 * _APART)}
    unstable = [
        (kind, name) for kind in apart for name, far in zip(names, apart[kind] > limits[kind], strict=True) if far
    ]
    by_name = {kind: dict(zip(names, values.tolist(), strict=True)) for kind, values in apart.items()}
    return Stability(by_name["halves"], by_name["folds"], tuple(unstable))


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
