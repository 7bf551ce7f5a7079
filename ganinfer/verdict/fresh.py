"""Fresh windows around a solution: they trained no network and moved no proposal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from ganinfer import randomness
from ganinfer.evidence import JUDGE, whole_genomes, widened
from ganinfer.execution import Executor
from ganinfer.inference import CLASSICAL, Problem, tasks
from ganinfer.simulation import simulate
from ganinfer.training import FoldNetwork, embed

#: Windows of each proposal where data sets are put together from them.
WINDOWS = 16
#: Fresh windows for each real one, at least and at most, where nothing else is asked for.
_PER_REAL, _LEAST_WINDOWS, _MOST_WINDOWS = 8, 8_000, 24_000
#: Proposals at least, for each parameter and two more.
_LEAST_PROPOSALS = 3
#: Fewer simulated data sets than this do not say how unusual the real one is.
LEAST_SETS = 200
#: Windows that are embedded together, about.
_TOGETHER = 512


@dataclass(frozen=True)
class VerdictSettings:
    """``windows``: fresh ones to judge by, ``None`` for as many as the real ones need; ``data_sets`` to compare with.

    ``level``: a smaller p-value rejects the model.
    """

    windows: int | None = None
    data_sets: int = 1_000
    level: float = 0.05

    def shape(self, num_real: int, num_parameters: int) -> tuple[int, int, bool]:
        """Fresh proposals, windows of each, and whether every proposal is a data set of the real size."""
        wanted = self.windows or min(max(_PER_REAL * num_real, _LEAST_WINDOWS), _MOST_WINDOWS)
        if whole := whole_genomes(num_real, wanted, self.data_sets, least=LEAST_SETS):
            return whole, num_real, True
        return max(wanted // WINDOWS, _LEAST_PROPOSALS * (num_parameters + 2)), WINDOWS, False


@dataclass(frozen=True, eq=False)
class Fresh:
    """Windows simulated at ``theta`` (k, p), w of each.

    ``classical`` (k, w, d); of each fold's network the ``embedding`` (k, w, width) and the critic's ``logits`` (k, w).
    ``whole``: every proposal is a draw of the posterior, and its windows are a data set as large as the real one.
    """

    theta: np.ndarray
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
    settings: VerdictSettings,
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
    return Fresh(theta, classical, tuple(seen[::2]), tuple(seen[1::2]), whole)
