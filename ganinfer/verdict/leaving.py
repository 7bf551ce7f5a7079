"""The estimates once more, without the statistics that the model misses most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ganinfer import randomness
from ganinfer.adequacy import LARGEST, Verdict
from ganinfer.inference import EMBEDDING, InferenceState, Problem, fold_results
from ganinfer.interfaces import FoldResult, RoundResult
from ganinfer.verdict.looking import CRITIC

#: Families with smaller p-values, all of them considered, are left out.
_LEVEL = 0.05


@dataclass(frozen=True)
class Without:
    """``families`` of statistics that were left out, and how far each estimate then ``moved``, by name.

    In standard deviations of the posterior with them; ``posterior`` (n, p) is what there then is. Nothing moved where
    nothing would have been left, and there is none.
    """

    families: tuple[str, ...]
    moved: Mapping[str, float]
    posterior: np.ndarray | None = None


def without(
    problem: Problem, state: InferenceState, posterior: np.ndarray, families: Sequence[str], verdict: Verdict
) -> Without:
    """Leave out the families that look odd, and what networks add: an embedding mixes all kinds of statistics.

    Where that leaves too little to estimate from, as many of the oddest as can be spared.
    """
    matched = fold_results(problem, state)[0].families
    worst = [family for family in odd(verdict, families) if family in matched]
    for number in range(len(worst), min(len(worst), 1) - 1, -1):
        left = (*worst[:number], EMBEDDING)
        after = _posterior(problem, state, left)
        if after is not None:
            return Without(left, _moved(problem, posterior, after), after)
    return Without(left, {})


def _posterior(problem: Problem, state: InferenceState, left: Sequence[str]) -> np.ndarray | None:
    """The posterior (n, p) without families ``left``; ``None`` where nothing can be estimated."""
    results = fold_results(problem, state)
    kept = np.array([family not in left for family in results[0].families])
    if not kept.any():
        return None
    rng = randomness.stream(problem.seed, "verdict", "without", problem.scenario)
    fewer = RoundResult(state.index - 1, tuple(reduced(result, kept) for result in results))
    try:
        _, info = problem.generator.step(state.generator, fewer, rng)
    except (ArithmeticError, np.linalg.LinAlgError):  # what is left is too little to estimate from
        return None
    return info.posterior


def _moved(problem: Problem, posterior: np.ndarray, without: np.ndarray) -> Mapping[str, float]:
    """How far estimates move from one posterior to another, in standard deviations of the first, by name."""
    before, after = (problem.parameters.to_scale(draws) for draws in (posterior, without))
    moved = np.abs(np.median(after, axis=0) - np.median(before, axis=0)) / np.maximum(before.std(axis=0), 1e-300)
    return dict(zip(problem.parameters.names, moved.tolist(), strict=True))


def odd(verdict: Verdict, families: Sequence[str]) -> tuple[str, ...]:
    """Classical families whose largest residuals are odd by themselves, the oddest first, and in any case that one.

    By p-values, and where these are equal by the residual's size. Of so many families one is odd by chance the more
    often: that is allowed for (Bonferroni).
    """
    looks = {k.removeprefix(f"{LARGEST}: "): p for k, p in verdict.parts.items() if k.startswith(f"{LARGEST}: ")}
    classical = [family for family in looks if family.split(" ")[0] not in (EMBEDDING, CRITIC)]
    largest = {family: float(np.abs(verdict.z[np.array(families) == family]).max()) for family in classical}
    ordered = sorted(classical, key=lambda family: (looks[family], -largest[family]))
    return tuple(f for i, f in enumerate(ordered) if i == 0 or looks[f] < _LEVEL / len(classical))


def reduced(result: FoldResult, kept: np.ndarray) -> FoldResult:
    """A fold with some of its statistics, ``kept`` (d,) bool."""
    return replace(
        result,
        statistics=result.statistics[:, kept],
        real=result.real[:, kept],
        shared=int(kept[: result.shared].sum()),
        families=tuple(family for family, own in zip(result.families, kept, strict=True) if own),
    )
