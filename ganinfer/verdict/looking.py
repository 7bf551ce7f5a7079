"""What of fresh and real windows is looked at: directions that the parameters move, and statistics as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ganinfer.contest import Solution, columns, looking, means
from ganinfer.evidence import Bounds, Contender, Looked, Plain, look, noise_share
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

    ``plain`` of the fresh windows, in the order of ``families`` (d,), cut at their ``bounds``: a rare kind of site
    comes in clumps, and one window with a clump of it must not decide.
    """

    contender: Contender
    looked: list[Looked]
    bounds: list[Bounds]
    plain: list[Plain]
    families: tuple[str, ...]


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
    bounds, plain = _plain(problem, state, fresh)
    return Seen(contender, looked, bounds, plain, families(problem, state.networks))


def summaries(problem: Problem, state: InferenceState, found: Seen) -> tuple[np.ndarray, np.ndarray]:
    """Means (J,) of the real windows along the directions, and (d,) of the statistics as they are."""
    along = means(found.looked, columns(problem, state.networks, problem.observed.arrays, problem.observed.fold))
    pairs = zip(found.bounds, _real(problem, state), strict=True)
    return along, np.concatenate([bound(values).mean(axis=0) for bound, values in pairs])


def _real(problem: Problem, state: InferenceState) -> list[np.ndarray]:
    """Statistics of the real windows as they are: classical ones (m, d), and of each fold's windows its network's."""
    observed = problem.observed
    parts = [np.asarray(observed.arrays[CLASSICAL], dtype=float)]
    for network in state.networks:
        mine = observed.fold == network.fold
        parts.append(np.concatenate([state.real_embedding[mine], state.real_logits[mine, None]], axis=1).astype(float))
    return parts


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
        members = [fold == network.fold for network in networks]
        for embedding, mine in zip(fresh.embedding, members, strict=True):
            shared = [fresh.classical[k][mine]] if problem.classical else []
            by_block.append(np.concatenate([*shared, embedding[k][mine]], axis=1))
        along.append(means(found.looked, by_block))
        own = [part.values[k] for part in found.plain]
        parts = [own[0], *(values[mine] for values, mine in zip(own[1:], members, strict=True))]
        plain.append(np.concatenate([part.mean(axis=0) for part in parts]))
    return [np.stack(along), np.stack(plain)]


def _plain(problem: Problem, state: InferenceState, fresh: Fresh) -> tuple[list[Bounds], list[Plain]]:
    """Statistics of the fresh windows as they are, within bounds of their own."""
    observed = problem.observed
    inflation = linkage_inflation(np.asarray(observed.arrays[CLASSICAL], dtype=float), observed.block)
    sides = [fresh.classical]
    for embedding, logits in zip(fresh.embedding, fresh.logits, strict=True):
        sides.append(np.concatenate([embedding, logits[..., None]], axis=-1).astype(float))
    bounds = [Bounds.of(values.reshape(-1, values.shape[-1])) for values in sides]
    folds, plain = [None, *(network.fold for network in state.networks)], []
    for bound, values, real, fold in zip(bounds, sides, _real(problem, state), folds, strict=True):
        group = observed.block if fold is None else observed.block[observed.fold == fold]
        plain.append(Plain(bound(values), noise_share(bound(real), group, inflation), fold))
    return bounds, plain


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
