"""Fresh windows around a solution: they trained no network and moved no proposal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from ganinfer import randomness
from ganinfer.adequacy import AdequacySettings
from ganinfer.evidence import JUDGE, widened
from ganinfer.execution import Executor
from ganinfer.inference import CLASSICAL, Problem, resembled, tasks
from ganinfer.simulation import simulate
from ganinfer.training import FoldNetwork, embed

#: Windows that are embedded together, about.
_TOGETHER = 512


@dataclass(frozen=True, eq=False)
class Fresh:
    """Windows simulated at ``theta`` (k, p), w of each.

    ``classical`` (k, w, d); of each fold's network the ``embedding`` (k, w, width) and the critic's ``logits`` (k, w).
    ``template`` (k, w): the real window that each resembles. ``whole``: every proposal is a draw of the posterior, and
    its windows are a data set as large as the real one.
    """

    theta: np.ndarray
    template: np.ndarray
    classical: np.ndarray
    embedding: tuple[np.ndarray, ...]
    logits: tuple[np.ndarray, ...]
    whole: bool

    @property
    def num_windows(self) -> int:
        return self.classical.shape[0] * self.classical.shape[1]


def simulated(
    problem: Problem,
    networks: Sequence[FoldNetwork],
    posterior: np.ndarray,
    settings: AdequacySettings,
    executor: Executor,
) -> Fresh:
    """Windows at draws of ``posterior`` (n, p), or where data sets are put together of them, from somewhat further out.

    An emulator tells the slopes of the means the better the further apart proposals are.
    """
    size, num_windows, whole = settings.shape(len(problem.observed), len(problem.parameters))
    rng = randomness.stream(problem.seed, "verdict", problem.scenario)
    if whole:
        theta = posterior[rng.choice(len(posterior), size, replace=len(posterior) < size)]
    else:
        theta = widened(problem.parameters, posterior, size, JUDGE, rng)
    stream = simulate(tasks(problem, theta, num_windows, "verdict"), executor)
    together, parts = max(_TOGETHER // num_windows, 1), []
    while some := list(islice(stream, together)):
        arrays = {name: np.concatenate([encoded[name] for encoded in some]) for name in some[0]}
        found = [np.asarray(arrays[CLASSICAL], dtype=float), *(x for n in networks for x in embed(n, arrays))]
        parts.append([part.reshape(len(some), num_windows, *part.shape[1:]) for part in found])
    classical, *seen = (np.concatenate(column) for column in zip(*parts, strict=True))
    template = np.stack(list(resembled(problem, len(theta), num_windows, "verdict")))
    return Fresh(theta, template, classical, tuple(seen[::2]), tuple(seen[1::2]), whole)
