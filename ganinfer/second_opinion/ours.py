"""Our own estimates of bootstrap data sets, with the simulations of the run: what the others are paired with."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from ganinfer import plugins, randomness
from ganinfer.execution import Executor, ordered
from ganinfer.inference import InferenceState, Problem, fold_results
from ganinfer.interfaces import FoldResult, RoundResult, State
from ganinfer.verdict.leaving import reduced

#: Numbers between the blocks of one copy and those of another, which are no neighbours.
_APART = 1_024
#: Families of statistics that the joint spectrum holds as well.
_OF_THE_SPECTRUM = ("site frequency spectrum",)


@dataclass(frozen=True, eq=False)
class Estimates:
    """Data sets to estimate from: fold by fold the rows of real windows of each, and the block that each row is in.

    ``rows`` and ``blocks``: one a data set, each with an array (m_k,) a fold; ``seeds`` one a data set.
    """

    generator: Any
    state: State
    index: int
    results: tuple[FoldResult, ...]
    rows: Sequence[Sequence[np.ndarray]]
    blocks: Sequence[Sequence[np.ndarray]]
    seeds: Sequence[int]


def estimated(wanted: Estimates) -> np.ndarray:
    """Medians (k, p) in natural units; NaN where there is none. What a worker makes of a part of a bootstrap."""
    found = []
    for rows, blocks, seed in zip(wanted.rows, wanted.blocks, wanted.seeds, strict=True):
        parts = [
            replace(r, real=r.real[mine], block=block, real_logits=r.real_logits[mine])
            for r, mine, block in zip(wanted.results, rows, blocks, strict=True)
        ]
        rng = randomness.stream(seed, "bootstrap")
        middle = _median(wanted.generator, wanted.state, RoundResult(wanted.index, tuple(parts)), rng)
        found.append(np.full(wanted.results[0].theta.shape[1], np.nan) if middle is None else middle)
    return np.stack(found)


def _median(generator: Any, state: State, result: RoundResult, rng: np.random.Generator) -> np.ndarray | None:
    try:
        with threadpool_limits(1, user_api="blas"):
            _, info = generator.step(state, result, rng)
    except (ArithmeticError, np.linalg.LinAlgError):
        return None
    return None if info.posterior is None else np.median(info.posterior, axis=0)


def of_bootstrap(
    problem: Problem, state: InferenceState, group: np.ndarray, times: np.ndarray, executor: Executor
) -> np.ndarray:
    """Medians (b, p) of the data sets that draw each group ``times`` (b, g); ``group`` (m,) of each real window."""
    parts = _parts(problem, state, group, times, min(len(times), 2 * executor.num_workers))
    if not _can_be_sent(problem.generator):
        return np.concatenate([estimated(part) for part in parts])
    return np.concatenate(list(ordered(executor.run(estimated, parts))))


def _can_be_sent(generator: Any) -> bool:
    """Whether workers can read it: with what it knows of the prior comes the simulator, which may be of a file."""
    try:
        sent = pickle.dumps(generator)
    except (pickle.PicklingError, AttributeError, TypeError):
        return False
    return plugins.FILE_MODULE.encode() not in sent


def _parts(
    problem: Problem, state: InferenceState, group: np.ndarray, times: np.ndarray, number: int
) -> list[Estimates]:
    """The data sets in ``number`` parts for workers. A group that is drawn twice is two groups, of other blocks."""
    results, fold, block = fold_results(problem, state), problem.observed.fold, problem.observed.block
    most = int(block.max()) + _APART
    rows, blocks = [], []
    for drawn in times:
        row, names = [], []
        for k in range(len(results)):
            mine = np.flatnonzero(fold == k)
            often = drawn[group[mine]]
            chosen = np.repeat(np.arange(len(mine)), often)
            copy = np.concatenate([np.arange(n) for n in often]) if len(often) else np.empty(0, dtype=int)
            row.append(chosen)
            names.append(block[mine][chosen] + most * copy)
        rows.append(row)
        blocks.append(names)
    seeds = [randomness.simulator_seed(problem.seed, "second opinion", problem.scenario, i) for i in range(len(times))]
    found = []
    for mine in np.array_split(np.arange(len(times)), number):
        own = [rows[i] for i in mine], [blocks[i] for i in mine], [seeds[i] for i in mine]
        found.append(Estimates(problem.generator, state.generator, state.index - 1, results, *own))
    return found


def of_the_spectrum(problem: Problem, state: InferenceState) -> np.ndarray | None:
    """Our estimates (p,) from the spectrum's own statistics alone; ``None`` where these are too little."""
    results = fold_results(problem, state)
    kept = np.array([family in _OF_THE_SPECTRUM for family in results[0].families])
    if not kept.any():
        return None
    rng = randomness.stream(problem.seed, "second opinion", "spectrum", problem.scenario)
    return _median(
        problem.generator, state.generator, RoundResult(state.index - 1, tuple(reduced(r, kept) for r in results)), rng
    )
