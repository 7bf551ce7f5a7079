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


@dataclass(frozen=True)
class Without:
    """``families`` of statistics that were left out, and how far each estimate then ``moved``, by name.

    In standard deviations of the posterior with them. Nothing moved where nothing would have been left.
    """

    families: tuple[str, ...]
    moved: Mapping[str, float]


def without(
    problem: Problem, state: InferenceState, posterior: np.ndarray, families: Sequence[str], verdict: Verdict
) -> Without:
    """Leave out the family that looks oddest, and what networks add: an embedding mixes all kinds of statistics."""
    results = fold_results(problem, state)
    worst = oddest(verdict, families)
    left = (worst, EMBEDDING) if worst in results[0].families else (EMBEDDING,)
    kept = np.array([family not in left for family in results[0].families])
    if not kept.any():
        return Without(left, {})
    rng = randomness.stream(problem.seed, "verdict", "without", problem.scenario)
    fewer = RoundResult(state.index - 1, tuple(reduced(result, kept) for result in results))
    try:
        _, info = problem.generator.step(state.generator, fewer, rng)
    except (ArithmeticError, np.linalg.LinAlgError):  # what is left is too little to estimate from
        return Without(left, {})
    if info.posterior is None:
        return Without(left, {})
    before, after = (problem.parameters.to_scale(draws) for draws in (posterior, info.posterior))
    moved = np.abs(np.median(after, axis=0) - np.median(before, axis=0)) / np.maximum(before.std(axis=0), 1e-300)
    return Without(left, dict(zip(problem.parameters.names, moved.tolist(), strict=True)))


def oddest(verdict: Verdict, families: Sequence[str]) -> str:
    """The classical family whose largest residual is oddest, by its p-value and where these are equal by its size."""
    looks = {k.removeprefix(f"{LARGEST}: "): p for k, p in verdict.parts.items() if k.startswith(f"{LARGEST}: ")}
    classical = [family for family in looks if family.split(" ")[0] not in (EMBEDDING, CRITIC)]
    largest = {family: float(np.abs(verdict.z[np.array(families) == family]).max()) for family in classical}
    return min(classical, key=lambda family: (looks[family], -largest[family]))


def reduced(result: FoldResult, kept: np.ndarray) -> FoldResult:
    """A fold with some of its statistics, ``kept`` (d,) bool."""
    return replace(
        result,
        statistics=result.statistics[:, kept],
        real=result.real[:, kept],
        shared=int(kept[: result.shared].sum()),
        families=tuple(family for family, own in zip(result.families, kept, strict=True) if own),
    )
