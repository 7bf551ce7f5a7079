"""What of the fresh and the real windows is looked at: blocks of statistics, and what all scenarios miss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ganinfer import randomness
from ganinfer.contest.fresh import Solution, columns, joined
from ganinfer.evidence import Block, Contender
from ganinfer.generators import misfit
from ganinfer.generators.emulator import within_covariance
from ganinfer.generators.linkage import Linkage, linkage_inflation
from ganinfer.generators.local import score_axes
from ganinfer.generators.pools import Pool
from ganinfer.inference import CLASSICAL, Problem
from ganinfer.simulation import encoding_specs
from ganinfer.training import FoldNetwork

#: Draws of each scenario's posterior along which it was matched.
_PARTICLES = 400


def _missed(
    problems: Sequence[Problem], contenders: Sequence[Contender], judge: Sequence[Sequence[np.ndarray]]
) -> tuple[np.ndarray, float]:
    """What the closest scenario misses of the classical statistics, as variance (d,) between windows.

    With it the largest error of a family of statistics, in standard errors. All scenarios are allowed the same.
    """
    observed, families = problems[0].observed, _families(problems[0])
    linkage = Linkage.of(np.asarray(observed.arrays[CLASSICAL], dtype=float), observed.block, families)
    found = []
    for problem, contender, own in zip(problems, contenders, judge, strict=True):
        x, classical = contender.coordinates.encode(contender.judge), own[0]
        number = np.repeat(np.arange(len(classical)), classical.shape[1])
        pool = _pool(problem, contender.judge, number, classical.reshape(len(number), -1))
        within = within_covariance(pool.statistics, number, len(classical))
        found.append(misfit.measure(pool, x, within, linkage, by_family=True))
    closest = min(found, key=lambda gap: gap.dispersion)
    return closest.missed * len(observed.block) / linkage.factor, max(closest.errors.values(), default=0.0)


def _families(problem: Problem) -> np.ndarray:
    return np.array(encoding_specs(problem.setup)[CLASSICAL].details["families"])


def _pool(problem: Problem, theta: np.ndarray, proposal: np.ndarray, statistics: np.ndarray) -> Pool:
    """The classical statistics of simulated and of all real windows."""
    real = np.asarray(problem.observed.arrays[CLASSICAL], dtype=float)
    return Pool.of_windows(theta, proposal, statistics, real, problem.observed.block, _families(problem))


def _score_axes(pairs: Sequence[tuple[Problem, Solution]], missed: np.ndarray) -> np.ndarray:
    """(d, J) directions of the classical statistics in which each scenario was matched, from its rounds."""
    found = []
    for problem, solution in pairs:
        pool = _pool(problem, solution.theta, solution.proposal, solution.statistics)
        rng = randomness.stream(problem.seed, "contest", "scores", problem.scenario)
        cloud = solution.posterior[rng.choice(len(solution.posterior), _PARTICLES)]
        found.append(score_axes(problem.parameters, cloud, pool, missed))
    return np.concatenate(found, axis=1)


def blocks(
    pairs: Sequence[tuple[Problem, Solution]],
    contenders: Sequence[Contender],
    seen: Mapping[str, Sequence[Sequence[np.ndarray]]],
    folds: Sequence[np.ndarray],
    networks: Sequence[FoldNetwork],
) -> list[Block]:
    """The classical statistics, where they are asked for, and what the network of each fold adds to them.

    ``seen``: of the windows to "learn" from and to "judge" by, by scenario, what :func:`fresh.embedded` finds;
    ``folds``: by scenario, the fold of each proposal to learn from.
    """
    problem = pairs[0][0]
    observed, classical = problem.observed, problem.classical
    real = columns(problem, networks, observed.arrays, observed.fold)
    explained = real[0].shape[1] if classical else 0
    everywhere = np.asarray(observed.arrays[CLASSICAL], dtype=float)
    inflation = linkage_inflation(everywhere, observed.block)
    found, error = [], 0.0
    if classical:
        missed, error = _missed([p for p, _ in pairs], contenders, seen["judge"])
        given = _score_axes(pairs, missed)
        everything = [np.ones(len(c.learn), dtype=bool) for c in contenders]
        sides = [[own[0] for own in seen[side]] for side in ("learn", "judge")]
        found.append(Block(sides[0], sides[1], everything, real[0], observed.block, given, missed))
    for i, network in enumerate(networks):
        sides = [[joined(c[0] if classical else None, c[i + 1]) for c in seen[side]] for side in ("learn", "judge")]
        learnt = [fold == network.fold for fold in folds]
        group = observed.block[observed.fold == network.fold]
        own = real[i + bool(classical)]
        # A network mixes all kinds of statistics: it is believed no more than the one that is missed most.
        added = Block(sides[0], sides[1], learnt, own, group, network.axes, error=error)
        found.append(replace(added, explained=explained, fold=network.fold, inflation=inflation))
    return found
