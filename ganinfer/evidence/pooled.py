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
class Genomes:
    """Simulated data sets: ``means`` (n, J) along the directions, and those of all classical statistics (n, d)."""

    means: np.ndarray
    classical: np.ndarray

    def __len__(self) -> int:
        return len(self.means)

    def __getitem__(self, part: slice) -> Genomes:
        return Genomes(self.means[part], self.classical[part])


def genomes(
    contender: Contender,
    looked: Sequence[Looked],
    classical: np.ndarray,
    share: float,
    size: int,
    rng: np.random.Generator,
) -> Genomes:
    """``size`` genomes as large as the real one under draws of a scenario's posterior.

    Means are the emulator's with errors of its own; the windows' noise is drawn from the fresh windows, for each fold
    as many of them as it has real ones, and inflated by what linkage does to the real means. ``looked``: what
    :func:`look` made of the blocks, with this scenario's ``judge`` only; ``classical`` (k, w, d) all classical
    statistics of the same windows, and the ``share`` that the noise of their real means is.
    """
    x = contender.coordinates.encode(contender.judge)
    values = np.concatenate([*(part.judge[0] for part in looked), classical], axis=-1)
    emulator = LocalMean(x, values)
    residual = (values - emulator(x)[:, None]).reshape(-1, values.shape[-1])
    residual -= residual.mean(axis=0)
    drawn = contender.coordinates.encode(contender.posterior[rng.choice(len(contender.posterior), size)])
    out = emulator(drawn) + emulator.errors(drawn, rng)
    widths = [*(part.judge[0].shape[-1] for part in looked), classical.shape[-1]]
    edges = np.cumsum([0, *widths])
    blocks = [*((part.fold, part.share) for part in looked), (None, share)]
    # The whole is made of folds; where there are none it is one.
    numbers = {part.fold: part.windows for part in looked if part.fold is not None} or {0: looked[0].windows}
    for start in range(0, size, _GENOMES_AT_ONCE):
        rows = slice(start, min(start + _GENOMES_AT_ONCE, size))
        noise = {fold: _summed(residual, number, rows.stop - start, rng) for fold, number in numbers.items()}
        for (fold, own), left, right in zip(blocks, edges, edges[1:], strict=False):
            used = [fold] if fold is not None else list(numbers)
            total, number = sum(noise[f][:, left:right] for f in used), sum(numbers[f] for f in used)
            out[rows, left:right] += total * np.sqrt(own / number)
    return Genomes(out[:, : edges[-2]], out[:, edges[-2] :])


def _summed(residual: np.ndarray, number: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """(size, d) sums of ``number`` rows of ``residual`` (n, d), drawn with replacement."""
    counts = rng.multinomial(number, np.full(len(residual), 1 / len(residual)), size=size)
    return np.asarray(counts @ residual)
