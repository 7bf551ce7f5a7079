"""What of fresh and real windows is looked at: directions that the parameters move, and statistics as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ganinfer.contest import Solution, looking, means
from ganinfer.evidence import Contender, Looked, Plain, look, noise_share
from ganinfer.generators.misfit import linkage_inflation
from ganinfer.inference import CLASSICAL, EMBEDDING, InferenceState, Problem
from ganinfer.simulation import encoding_specs
from ganinfer.training import FoldNetwork
from ganinfer.verdict.fresh import Fresh

#: The family of the critic's logits.
CRITIC = "critic"
#: Proposals of the rounds within so many times the posterior's own 95 % squared radius tell directions.
_REACH = 9.0
#: Of these at least so many in each fold, for every parameter and two more.
_LEAST_LEARNING = 4


@dataclass(frozen=True, eq=False)
class Seen:
    """The scenario as a ``contender``, blocks ``looked`` at along their directions, and statistics as they are.

    ``plain`` of the fresh windows, in the order of ``families`` (d,); ``real`` (d,) are the real means of them.
    """

    contender: Contender
    looked: list[Looked]
    plain: list[Plain]
    families: tuple[str, ...]
    real: np.ndarray


def seen(problem: Problem, state: InferenceState, posterior: np.ndarray, fresh: Fresh) -> Seen:
    """Directions are found on the rounds' proposals near the solution, which are not judged by."""
    near, fold, learn = _near(problem, state, posterior)
    contender = Contender(problem.scenario, problem.parameters, posterior, near, fresh.theta)
    sides = {
        "learn": [[learn[0], *[learn[1]] * len(state.networks)]],
        "judge": [[fresh.classical, *fresh.embedding]],
    }
    solution = _solution(state, posterior)
    blocks = looking.blocks([(problem, solution)], [contender], sides, [fold], state.networks)
    looked = [look(block, [contender]) for block in blocks]
    plain, real = _plain(problem, state, fresh, looked)
    return Seen(contender, looked, plain, families(problem, state.networks), real)


def families(problem: Problem, networks: Sequence[FoldNetwork]) -> tuple[str, ...]:
    """The family (d,) of every statistic that is looked at as it is: classical ones, then those of each network."""
    classical = tuple(encoding_specs(problem.setup)[CLASSICAL].details["families"])
    own = [(*[f"{EMBEDDING} {n.fold + 1}"] * n.width, f"{CRITIC} {n.fold + 1}") for n in networks]
    return (*classical, *(name for part in own for name in part))


def data_sets(problem: Problem, networks: Sequence[FoldNetwork], found: Seen, fresh: Fresh) -> list[np.ndarray]:
    """Of fresh data sets as large as the real one: means (k, J) along the directions, and (k, d) of all else."""
    fold = problem.observed.fold
    along, plain = [], []
    for k in range(len(fresh.theta)):
        by_block = [fresh.classical[k]] if problem.classical else []
        for i, network in enumerate(networks):
            mine = fold == network.fold
            shared = [fresh.classical[k][mine]] if problem.classical else []
            by_block.append(np.concatenate([*shared, fresh.embedding[i][k][mine]], axis=1))
        along.append(means(found.looked, by_block))
        plain.append(_means(fresh, k, [fold == network.fold for network in networks]))
    return [np.stack(along), np.stack(plain)]


def _means(fresh: Fresh, k: int, members: Sequence[np.ndarray]) -> np.ndarray:
    """(d,) means of the statistics of one data set as they are, in the order of :func:`families`."""
    parts = [fresh.classical[k].mean(axis=0)]
    for embedding, logits, mine in zip(fresh.embedding, fresh.logits, members, strict=True):
        parts += [embedding[k][mine].mean(axis=0), logits[k][mine].mean(keepdims=True)]
    return np.concatenate(parts)


def _plain(
    problem: Problem, state: InferenceState, fresh: Fresh, looked: Sequence[Looked]
) -> tuple[list[Plain], np.ndarray]:
    """Statistics of the fresh windows as they are, and the real means of them."""
    observed = problem.observed
    classical = np.asarray(observed.arrays[CLASSICAL], dtype=float)
    inflation = linkage_inflation(classical, observed.block)
    plain = [Plain(fresh.classical, noise_share(classical, observed.block))]
    real = [classical.mean(axis=0)]
    for i, network in enumerate(state.networks):
        mine = observed.fold == network.fold
        values = np.concatenate([state.real_embedding[mine], state.real_logits[mine, None]], axis=1).astype(float)
        both = np.concatenate([fresh.embedding[i], fresh.logits[i][..., None]], axis=-1).astype(float)
        plain.append(Plain(both, noise_share(values, observed.block[mine], inflation), network.fold))
        real.append(values.mean(axis=0))
    return plain, np.concatenate(real)


def _near(
    problem: Problem, state: InferenceState, posterior: np.ndarray
) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Proposals (k, p) of the rounds near the solution, the fold (k,) of each, and what was seen of their windows.

    That is classical statistics (k, w, d) and the embedding (k, w, width) by the network of the proposal's own fold. Of
    the rounds that have as many windows a proposal as the last.
    """
    last = state.rounds[-1]
    num_windows = len(last) // len(last.theta)
    rounds = [r for r in state.rounds if len(r) == num_windows * len(r.theta)] if problem.freezes else [last]
    theta, fold = (np.concatenate([getattr(r, name) for r in rounds]) for name in ("theta", "fold"))
    coordinates = Contender(problem.scenario, problem.parameters, posterior, theta, theta).coordinates
    radius = (coordinates.encode(theta) ** 2).sum(axis=1)
    inside = _REACH * np.quantile((coordinates.encode(posterior) ** 2).sum(axis=1), 0.95)
    least = _LEAST_LEARNING * (len(problem.parameters) + 2)
    kept = np.zeros(len(theta), dtype=bool)
    for k in range(problem.network.settings.folds):
        mine = np.flatnonzero(fold == k)
        closest = mine[np.argsort(radius[mine], kind="stable")]
        kept[closest[: max(least, int((radius[mine] <= inside).sum()))]] = True
    windows = [
        np.concatenate([getattr(r, name).reshape(len(r.theta), num_windows, -1) for r in rounds])[kept]
        for name in ("statistics" if problem.classical else "embedding", "embedding")
    ]
    return theta[kept], fold[kept], (windows[0].astype(float), windows[1].astype(float))


def _solution(state: InferenceState, posterior: np.ndarray) -> Solution:
    offsets = np.cumsum([0, *(len(r.theta) for r in state.rounds)])
    return Solution(
        posterior,
        np.concatenate([r.theta for r in state.rounds]),
        np.concatenate([r.proposal + o for r, o in zip(state.rounds, offsets, strict=False)]),
        np.concatenate([r.statistics for r in state.rounds]),
    )
