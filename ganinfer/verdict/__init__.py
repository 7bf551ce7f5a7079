"""Whether the fitted model can have made the real windows: adequate, strained or wrong.

Fresh windows at the solution are looked at in the ways of :mod:`ganinfer.adequacy`. The parameters of a data set are
estimated from its means along the directions that tell parameters; what is left of every statistic is compared with
simulated data sets of the same size and linkage, estimated alike. Statistics are the classical ones, the embedding by
the network of each fold, and the logits of its critic, none of which was trained on the windows that it looks at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from ganinfer import randomness
from ganinfer.adequacy import AdequacySettings, Reference, Verdict
from ganinfer.contest.judging import judges
from ganinfer.evidence import genomes
from ganinfer.execution import Executor
from ganinfer.inference import InferenceState, Problem
from ganinfer.training import area_under_curve
from ganinfer.verdict import places
from ganinfer.verdict.fresh import Fresh, simulated
from ganinfer.verdict.leaving import Without, without
from ganinfer.verdict.looking import data_sets, seen, summaries

__all__ = [
    "ADEQUATE",
    "STRAINED",
    "WRONG",
    "Finding",
    "Judge",
    "critic_auc",
    "judge",
    "simulated",
    "verdict_of",
]

ADEQUATE, STRAINED, WRONG = "adequate", "strained", "wrong"
#: A model that is told from the real windows no better than this may still be useful.
_STRAINED_AUC = 0.65
#: Posterior standard deviations by which an estimate may move when what is missed is left out.
_STRAINED_MOVE = 1.0


@dataclass(frozen=True, eq=False)
class Finding:
    """What is said of the real windows.

    ``verdict``; ``p_value``, and those of each look by name in ``looks``; ``critic_auc``: how well the critic tells
    real windows from fresh ones, 0.5 for not at all; ``z`` (d,) residuals of the statistics with their ``families``;
    ``left_out``: the estimates without what is missed most, where the model is rejected; ``distance`` (m,) of every
    real window, see :func:`places.distances`; ``data_sets`` of ``num_windows`` fresh windows; ``whole``: each was
    simulated.
    """

    verdict: str
    p_value: float
    looks: Mapping[str, float]
    critic_auc: float
    z: np.ndarray
    families: tuple[str, ...]
    left_out: Without | None
    distance: np.ndarray
    data_sets: int
    num_windows: int
    whole: bool


class Judge:
    """What the fresh windows say that data sets of the fitted model look like."""

    def __init__(self, problem: Problem, state: InferenceState, posterior: np.ndarray, fresh: Fresh, num_sets: int):
        # With more threads, sums in another order could let one direction more or less pass.
        with threadpool_limits(1, user_api="blas"):
            self.seen = seen(problem, state, posterior, fresh)
            self._likelihood = judges([self.seen.contender], self.seen.looked, problem.seed).likelihoods[0]
            rng = randomness.stream(problem.seed, "verdict", "data sets", problem.scenario)
            parts = self.seen.contender, self.seen.looked, self.seen.plain
            self.drawn = data_sets(problem, self.seen, fresh) if fresh.whole else genomes(*parts, num_sets, rng)
            self.reference = Reference(self.drawn.statistics, self.guide(self.drawn.means), self.seen.families)

    def guide(self, means: np.ndarray) -> np.ndarray:
        """(n, p) what data sets with these ``means`` (n, J) along the directions say of the parameters."""
        return self._likelihood.estimate(means)

    def verdict(self, problem: Problem, state: InferenceState) -> Verdict:
        """Of the real windows, or of others in their place."""
        with threadpool_limits(1, user_api="blas"):
            along, plain = summaries(problem, state, self.seen)
            return self.reference.verdict(plain, self.guide(along[None])[0])


def judge(
    problem: Problem,
    state: InferenceState,
    posterior: np.ndarray,
    settings: AdequacySettings,
    executor: Executor,
    told: Callable[[str], None],
) -> Finding:
    """Simulate fresh windows at the solution of a run, whose last state and posterior (n, p) these are, and judge."""
    size, num_windows, _ = settings.shape(len(problem.observed), len(problem.parameters))
    told(f"Simulating {size * num_windows:,} windows at the solution to judge the model by")
    fresh = simulated(problem, state.networks, posterior, settings, executor)
    found = Judge(problem, state, posterior, fresh, settings.data_sets)
    verdict = found.verdict(problem, state)
    auc = critic_auc(problem, state, fresh)
    left_out = None
    if verdict.p_value < settings.level:
        with threadpool_limits(1, user_api="blas"):
            left_out = without(problem, state, posterior, found.seen.families, verdict)
    return Finding(
        verdict=verdict_of(verdict.p_value, auc, left_out, settings.level),
        p_value=verdict.p_value,
        looks=verdict.parts,
        critic_auc=auc,
        z=verdict.z,
        families=found.seen.families,
        left_out=left_out,
        distance=places.distances(problem, fresh),
        data_sets=len(found.drawn),
        num_windows=fresh.num_windows,
        whole=fresh.whole,
    )


def verdict_of(p_value: float, critic_auc: float, left_out: Without | None, level: float) -> str:
    """The verdict in a word; ``left_out`` of a model that is rejected."""
    if p_value >= level:
        return ADEQUATE
    moved = max(left_out.moved.values()) if left_out is not None and left_out.moved else np.inf
    return STRAINED if critic_auc <= _STRAINED_AUC and moved < _STRAINED_MOVE else WRONG


def critic_auc(problem: Problem, state: InferenceState, fresh: Fresh) -> float:
    """Area under the curve of the critics, each telling the real windows of its fold from the fresh ones."""
    fold, found = problem.observed.fold, []
    for network, logits in zip(state.networks, fresh.logits, strict=True):
        found.append(area_under_curve(state.real_logits[fold == network.fold], logits.ravel()))
    return float(np.mean(found))
