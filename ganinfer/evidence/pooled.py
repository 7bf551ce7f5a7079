"""Genomes drawn window by window from pools of fresh windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ganinfer.evidence.contenders import Contender
from ganinfer.evidence.directions import Looked
from ganinfer.evidence.emulators import LocalMean

#: Genomes that are drawn together.
_GENOMES_AT_ONCE = 50


@dataclass(frozen=True, eq=False)
class Plain:
    """Statistics that are looked at as they are: ``values`` (k, w, d) of the windows that judge.

    ``share`` (d,): noise of their real means as a share of the variance between windows; ``fold``: the fold whose real
    windows they are means over, ``None`` for all.
    """

    values: np.ndarray
    share: np.ndarray
    fold: int | None = None


@dataclass(frozen=True, eq=False)
class Genomes:
    """Simulated data sets: ``means`` (n, J) along the directions, and ``statistics`` (n, d) as they are."""

    means: np.ndarray
    statistics: np.ndarray

    def __len__(self) -> int:
        return len(self.means)

    def __getitem__(self, part: slice) -> Genomes:
        return Genomes(self.means[part], self.statistics[part])


def genomes(
    contender: Contender,
    looked: Sequence[Looked],
    plain: Sequence[Plain],
    size: int,
    rng: np.random.Generator,
) -> Genomes:
    """``size`` genomes as large as the real one under draws of a scenario's posterior.

    Means are the emulator's with errors of its own; the windows' noise is drawn from the fresh windows, for each fold
    as many of them as it has real ones, and inflated by what linkage does to the real means. ``looked``: what
    :func:`look` made of the blocks, with this scenario's ``judge`` only; ``plain``: other statistics of the same
    windows.
    """
    x = contender.coordinates.encode(contender.judge)
    parts = [*(Plain(part.judge[0], part.share, part.fold) for part in looked), *plain]
    values = np.concatenate([part.values for part in parts], axis=-1)
    emulator = LocalMean(x, values)
    residual = (values - emulator(x)[:, None]).reshape(-1, values.shape[-1])
    residual -= residual.mean(axis=0)
    drawn = contender.coordinates.encode(contender.posterior[rng.choice(len(contender.posterior), size)])
    out = emulator(drawn) + emulator.errors(drawn, rng)
    edges = np.cumsum([0, *(part.values.shape[-1] for part in parts)])
    # The whole is made of folds; where there are none it is one.
    numbers = {part.fold: part.windows for part in looked if part.fold is not None} or {0: looked[0].windows}
    for start in range(0, size, _GENOMES_AT_ONCE):
        rows = slice(start, min(start + _GENOMES_AT_ONCE, size))
        noise = {fold: _summed(residual, number, rows.stop - start, rng) for fold, number in numbers.items()}
        for part, left, right in zip(parts, edges, edges[1:], strict=False):
            used = [part.fold] if part.fold is not None else list(numbers)
            total, number = sum(noise[f][:, left:right] for f in used), sum(numbers[f] for f in used)
            out[rows, left:right] += total * np.sqrt(part.share / number)
    return Genomes(out[:, : edges[len(looked)]], out[:, edges[len(looked)] :])


def _summed(residual: np.ndarray, number: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """(size, d) sums of ``number`` rows of ``residual`` (n, d), drawn with replacement."""
    counts = rng.multinomial(number, np.full(len(residual), 1 / len(residual)), size=size)
    return np.asarray(counts @ residual)
