"""What of fresh and real windows is looked at: directions that the parameters move, and statistics as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ganinfer.contest import Solution, columns, looking, means
from ganinfer.evidence import BOUND, Contender, Genomes, LocalMean, Looked, Plain, look, noise_share
from ganinfer.generators.bounds import Bounds
from ganinfer.generators.linkage import linkage_inflation
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


def families(problem: Problem, networks: Sequence[FoldNetwork]) -> tuple[str, ...]:
    """The family (d,) of every statistic that is looked at as it is: classical ones, then those of each network."""
    classical = [name for name, columns in _kinds(problem).items() for _ in columns]
    own = [(*[f"{EMBEDDING} {n.fold + 1}"] * n.width, f"{CRITIC} {n.fold + 1}") for n in networks]
    return (*classical, *(name for part in own for name in part))


def _kinds(problem: Problem) -> dict[str, np.ndarray]:
    """Columns of the classical statistics by family."""
    names = np.array(encoding_specs(problem.setup)[CLASSICAL].details["families"])
    return {str(name): np.flatnonzero(names == name) for name in dict.fromkeys(names.tolist())}


def _real(problem: Problem, state: InferenceState) -> list[np.ndarray]:
    """Statistics (m, d) of the real windows as they are: of each classical family, then of each fold's network."""
    observed = problem.observed
    classical = np.asarray(observed.arrays[CLASSICAL], dtype=float)
    parts = [classical[:, columns] for columns in _kinds(problem).values()]
    for network in state.networks:
        mine = observed.fold == network.fold
        parts.append(np.concatenate([state.real_embedding[mine], state.real_logits[mine, None]], axis=1).astype(float))
    return parts


def _plain(problem: Problem, state: InferenceState, fresh: Fresh) -> tuple[list[Bounds], list[Plain]]:
    """Statistics of the fresh windows as they are, within bounds of their own, with the linkage of the real ones."""
    observed = problem.observed
    inflation = linkage_inflation(np.asarray(observed.arrays[CLASSICAL], dtype=float), observed.block)
    sides = [fresh.classical[..., columns] for columns in _kinds(problem).values()]
    folds: list[int | None] = [None] * len(sides)
    kinds = [[""] * side.shape[-1] for side in sides]
    for network, embedding, logits in zip(state.networks, fresh.embedding, fresh.logits, strict=True):
        sides.append(np.concatenate([embedding, logits[..., None]], axis=-1).astype(float))
        folds.append(network.fold)
        kinds.append([EMBEDDING] * network.width + [CRITIC])
    bounds = [Bounds.of(values.reshape(-1, values.shape[-1]), BOUND) for values in sides]
    plain = []
    for bound, values, real, fold, kind in zip(bounds, sides, _real(problem, state), folds, kinds, strict=True):
        group = observed.block if fold is None else observed.block[observed.fold == fold]
        plain.append(Plain(bound(values), noise_share(bound(real), group, inflation, kind), fold))
    return bounds, plain


def data_sets(problem: Problem, found: Seen, fresh: Fresh) -> Genomes:
    """Fresh data sets that were simulated whole, as large as the real one, with its linkage.

    Their windows were simulated one by one. What linkage does to the noise of their means is put on the noise that an
    emulator leaves of them, which lacks what went into the emulator.
    """
    x = found.contender.coordinates.encode(fresh.theta)
    along = [_linked(problem, x, Plain(part.judge[0], part.share, part.fold)) for part in found.looked]
    plain = [_linked(problem, x, part) for part in found.plain]
    return Genomes(np.concatenate(along, axis=1), np.concatenate(plain, axis=1))


def _linked(problem: Problem, x: np.ndarray, part: Plain) -> np.ndarray:
    """(k, d) means of data sets at coordinates ``x`` (k, p) whose noise is that of linked windows."""
    fold = problem.observed.fold
    values = part.values if part.fold is None else part.values[:, fold == part.fold]
    emulator, wanted = LocalMean(x, values), part.share * values.shape[1]
    usual, leverage = emulator(x), np.minimum(emulator.leverage(x), 0.9)[:, None]
    factor = np.sqrt(np.maximum(wanted - leverage, 0.0) / (1 - leverage))
    return np.asarray(usual + factor * (values.mean(axis=1) - usual))


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
