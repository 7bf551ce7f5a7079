"""Fresh windows around the solutions, the networks that learn from them to tell scenarios apart, and whole genomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ganinfer import randomness
from ganinfer.evidence import JUDGE, LEARN, Looked, judging_windows, whole_genomes, widened
from ganinfer.execution import Executor
from ganinfer.inference import CLASSICAL, Problem, tasks
from ganinfer.observed import on_disk
from ganinfer.simulation import encoding_specs, simulate
from ganinfer.training import FoldNetwork, Stacked, TrainingInfo, Windows, contending, embed

#: Windows of each fresh proposal.
WINDOWS = 16
#: Proposals to judge by at least, for each parameter and two more.
LEAST_JUDGING = 3
#: Proposals whose windows are embedded together.
_TOGETHER = 32
#: Of the genomes that are simulated whole, at least so many calibrate.
_LEAST_CALIBRATING = 80
#: Windows whose arrays are looked at together.
_PIECE = 4_096


@dataclass(frozen=True)
class ContestSettings:
    """``windows``: fresh ones of each scenario to judge by, ``None`` for as many as the real ones need; ``genomes``
    of each scenario to calibrate on, and ``tests`` more to test on; ``genome_windows``: of each scenario that may go
    into genomes simulated whole.
    """

    windows: int | None = None
    genomes: int = 1_000
    tests: int = 200
    genome_windows: int = 20_000

    def proposals(self, problems: Sequence[Problem]) -> dict[str, int]:
        """Proposals of each scenario by what they are for."""
        judge = self.windows or judging_windows(len(problems[0].observed))
        learn = problems[0].network.settings.windows // len(problems)
        return {"learn": max(learn // WINDOWS, 1), "judge": max(judge // WINDOWS, 1)}

    def simulated(self, num_real: int) -> tuple[int, int]:
        """Genomes of each scenario to calibrate and to test on that are simulated whole; none where it is too much."""
        size = whole_genomes(num_real, self.genome_windows, self.genomes + self.tests)
        share = size * self.genomes // (self.genomes + self.tests)
        # Calibration comes first, as the p of fit cannot be less than one in so many.
        calibrating = min(self.genomes, max(share, min(_LEAST_CALIBRATING, size)))
        return calibrating, min(self.tests, size - calibrating)


@dataclass(frozen=True, eq=False)
class Solution:
    """How a scenario was matched: ``posterior`` (n, p) draws, and the windows of all its rounds.

    ``theta`` (k, p) proposals; ``proposal`` (m,) index into them and classical ``statistics`` (m, d) of windows.
    """

    posterior: np.ndarray
    theta: np.ndarray
    proposal: np.ndarray
    statistics: np.ndarray


@dataclass(frozen=True, eq=False)
class Whole:
    """Genomes simulated whole under draws ``theta`` (n, p) of a scenario's posterior.

    ``means`` (n, J) along the directions, and ``classical`` (n, d) of all classical statistics.
    """

    theta: np.ndarray
    means: np.ndarray
    classical: np.ndarray


@dataclass(frozen=True, eq=False)
class Fresh:
    """A scenario's fresh windows to learn from: ``theta`` (k, p) and encoded ``arrays`` (k * w, ...)."""

    theta: np.ndarray
    arrays: dict[str, np.ndarray]


def proposed(problem: Problem, solution: Solution, purpose: str, sizes: Mapping[str, int]) -> np.ndarray:
    """Proposals (k, p) around a solution, to "learn" from or to "judge" by."""
    rng = randomness.stream(problem.seed, "contest", purpose, problem.scenario)
    factor = LEARN if purpose == "learn" else JUDGE
    return widened(problem.parameters, solution.posterior, sizes[purpose], factor, rng)


def kept(problem: Problem, theta: np.ndarray, executor: Executor, folder: Path) -> Fresh:
    """Windows simulated at proposals ``theta`` (k, p), on disk as long as networks are trained."""
    arrays: dict[str, np.ndarray] = {
        name: on_disk(folder / f"{name}.npy", np.dtype(spec.dtype), (len(theta) * WINDOWS, *spec.shape))
        for name, spec in encoding_specs(problem.setup).items()
    }
    for i, encoded in enumerate(simulate(tasks(problem, theta, WINDOWS, "contest", "learn"), executor)):
        for name, array in arrays.items():
            array[i * WINDOWS : (i + 1) * WINDOWS] = encoded[name]
    return Fresh(theta, arrays)


def fold_of(problem: Problem, num_proposals: int) -> np.ndarray:
    """Fold (num_proposals,) of each proposal to learn from."""
    return np.arange(num_proposals) % problem.network.settings.folds


def trained(
    problems: Sequence[Problem], fresh: Sequence[Fresh]
) -> tuple[list[contending.ContendingNetwork], TrainingInfo]:
    """One network a fold for all scenarios, trained on what was :func:`kept` of each."""
    first = problems[0]
    network, sizes = first.network, [len(p.parameters) for p in problems]
    unasked = {CLASSICAL} - set(network.encodings)
    specs = {name: spec for name, spec in encoding_specs(first.setup).items() if name not in unasked}
    networks = contending.init(network.name, network.options, specs, sizes, network.settings.folds, first.seed)
    edges = np.cumsum([0, *sizes])
    targets = []
    for i, (problem, part) in enumerate(zip(problems, fresh, strict=True)):
        own = np.full((len(part.theta), edges[-1]), np.nan)
        own[:, edges[i] : edges[i + 1]] = problem.parameters.to_unit(part.theta)
        targets.append(own)
    everything = np.concatenate(targets)
    simulated = Windows(
        {name: Stacked([part.arrays[name] for part in fresh]) for name in networks[0].names},
        np.repeat(np.concatenate([fold_of(first, len(part.theta)) for part in fresh]), WINDOWS),
        np.repeat(np.arange(len(everything)), WINDOWS),
        everything,
    )
    real = Windows(first.observed.arrays, first.observed.fold)
    rng = randomness.stream(first.seed, "contest", "train")
    return networks, contending.train(networks, simulated, real, network.settings, rng)


def embedded(
    problem: Problem, networks: Sequence[contending.ContendingNetwork], arrays: Mapping[str, Any]
) -> list[np.ndarray]:
    """Classical statistics (k, w, d) of fresh windows, and the embedding (k, w, width) by each network."""
    parts = [np.asarray(arrays[CLASSICAL], dtype=float), *(embed(network, arrays)[0] for network in networks)]
    return [part.reshape(-1, WINDOWS, part.shape[-1]) for part in parts]


def judging(
    problem: Problem, theta: np.ndarray, networks: Sequence[contending.ContendingNetwork], executor: Executor
) -> list[np.ndarray]:
    """The same of windows simulated at proposals ``theta`` (k, p) to judge by, embedded as they come."""
    stream = simulate(tasks(problem, theta, WINDOWS, "contest", "judge"), executor)
    parts = []
    while some := list(islice(stream, _TOGETHER)):
        arrays = {name: np.concatenate([encoded[name] for encoded in some]) for name in some[0]}
        parts.append(embedded(problem, networks, arrays))
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


def whole(
    problem: Problem,
    solution: Solution,
    networks: Sequence[contending.ContendingNetwork],
    looked: Sequence[Looked],
    executor: Executor,
    size: int,
) -> Whole:
    """``size`` genomes with as many windows as the real one, which are dealt to the same folds."""
    rng = randomness.stream(problem.seed, "contest", "whole", problem.scenario)
    theta = solution.posterior[rng.choice(len(solution.posterior), size, replace=len(solution.posterior) < size)]
    fold = problem.observed.fold
    found, classical = [], []
    for encoded in simulate(tasks(problem, theta, len(fold), "contest", "whole"), executor):
        found.append(means(looked, columns(problem, networks, encoded, fold)))
        classical.append(np.asarray(encoded[CLASSICAL], dtype=float).mean(axis=0))
    return Whole(theta, np.stack(found), np.stack(classical))


def means(looked: Sequence[Looked], found: Sequence[np.ndarray]) -> np.ndarray:
    """(J,) means along the directions of a genome's :func:`columns`, a block each."""
    pairs = zip(looked, found, strict=True)
    return np.concatenate([part.directions(values).mean(axis=0) for part, values in pairs])


def columns(
    problem: Problem,
    networks: Sequence[FoldNetwork],
    arrays: Mapping[str, Any],
    fold: np.ndarray,
) -> list[np.ndarray]:
    """Of encoded windows, each in a ``fold``, what the blocks' statistics are: one array (m, d) a block."""
    shared = np.asarray(arrays[CLASSICAL], dtype=float)
    found = [shared] if problem.classical else []
    for network in networks:
        mine = np.flatnonzero(fold == network.fold)
        parts = [mine[i : i + _PIECE] for i in range(0, len(mine), _PIECE)]
        seen = [embed(network, {name: np.asarray(arrays[name][part]) for name in network.names})[0] for part in parts]
        own = np.concatenate([np.empty((0, network.width)), *seen])
        found.append(joined(shared[mine] if problem.classical else None, own))
    return found


def joined(classical: np.ndarray | None, embedding: np.ndarray) -> np.ndarray:
    """Classical statistics (..., d), where they are asked for, and beside them an embedding (..., width)."""
    return embedding if classical is None else np.concatenate([classical, embedding], axis=-1)
