"""Linkage: how much it inflates the variance of the mean of windows, measured from blocks.

What linkage does is not the same to all statistics: at a bottleneck it may multiply the variance of mean haplotype
statistics by ten and leave others as they are. And it may reach further than a block. So where a block is correlated
with the next one their covariance counts (a flat-top kernel, Politis and Romano 1995,
doi:10.1111/j.1467-9892.1995.tb00223.x), and where it is much so, blocks are joined two by two (Flyvbjerg and Petersen
1989, doi:10.1063/1.457480).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: With fewer blocks nobody can tell.
_MIN_BLOCKS = 8
#: With fewer blocks neither joined ones nor neighbours can be told from noise.
_ENOUGH = 16
#: Correlation of a block with the next one, on average over statistics of a kind, above which blocks are joined.
_LINKED = 0.1
#: In units of the standard error of one such correlation, what it has to be to count.
_SEEN = 0.5
#: Variance of the logarithm of what all ratios together are over what is expected, before they are measured. Of the
#: directions that tell parameters, linkage is a sixth more than that of what they are made of.
_COMMON = 0.1
#: A measured ratio counts as this, at least.
_LEAST_RATIO = 0.1


@dataclass(frozen=True, eq=False)
class Linkage:
    """``factor`` (d,), at least 1, by which linkage multiplies the variance of the mean of each statistic.

    ``block`` (m,) of each window, as much joined as any kind of statistics asks for.
    """

    factor: np.ndarray
    block: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, block: np.ndarray, families: np.ndarray, otherwise: float = 1.0) -> Linkage:
        """Of statistics ``values`` (m, d); those of one of the ``families`` (d,) are alike.

        How alike is estimated: each is drawn to the mean of its family by what its own measurement lacks (empirical
        Bayes). ``block`` (m,) int: neighbouring blocks have neighbouring numbers. The factor is 1 where every window is
        its own block and has no neighbour, ``otherwise`` where there are too few blocks to tell.
        """
        factor, joined = np.ones(values.shape[1]), block
        for family in np.unique(families):
            mine = np.flatnonzero(families == family)
            measured = _Measured.of(values[:, mine], block)
            factor[mine] = measured.factors(np.ones(len(mine)), measured.pooled(), otherwise)
            joined = min(joined, measured.block, key=lambda b: len(np.unique(b)))
        return cls(factor, joined)

    def linked(self, within: np.ndarray) -> np.ndarray:
        """The covariance ``within`` (d, d) of independent windows with what linkage does to means."""
        root = np.sqrt(self.factor)
        return within * np.outer(root, root)

    def excess(self, values: np.ndarray, expected: np.ndarray) -> float:
        """By what common factor, at least 1, linkage inflates directions ``values`` more than ``expected`` (J,)."""
        return max(_Measured.of(values, self.block).pooled(expected), 1.0)

    def along(self, values: np.ndarray, expected: np.ndarray) -> np.ndarray:
        """The factor (J,) of directions ``values`` (m, J), drawn to what is ``expected``; these with too few blocks."""
        return _Measured.of(values, self.block).factors(expected, 1.0, None)


def linkage_inflation(values: np.ndarray, block: np.ndarray, otherwise: float = 1.0) -> float:
    """One factor, at least 1, for the mean of all columns of ``values`` (m, J); see :meth:`Linkage.of`.

    Columns that do not vary say nothing.
    """
    measured = _Measured.of(values, block)
    return otherwise if measured.noise is None else max(measured.pooled(), 1.0)


def too_few_blocks(block: np.ndarray) -> bool:
    """Whether windows of these blocks (m,) are linked, and nobody can tell how much."""
    return _Measured.of(np.empty((len(block), 0)), block).noise is None


@dataclass(frozen=True, eq=False)
class _Measured:
    """``ratio`` (J,): the variance of means by blocks over that by independent windows.

    Not a number for columns that do not vary. ``noise`` is the variance of the logarithm of one, 0 where every window
    is its own block, ``None`` with too few blocks; ``block`` (m,) the joined ones.
    """

    ratio: np.ndarray
    noise: float | None
    block: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, block: np.ndarray) -> _Measured:
        ratio, joined = np.full(values.shape[1], np.nan), np.asarray(block)
        names, counts = np.unique(joined, return_counts=True)
        if len(names) == len(joined) and not (np.diff(names) == 1).any():
            return cls(ratio, 0.0, joined)
        if _effective(counts) < _MIN_BLOCKS:
            return cls(ratio, None, joined)
        varying = np.ptp(values, axis=0) > 0 if values.shape[1] else np.zeros(0, dtype=bool)
        if not varying.any():
            return cls(ratio, 2 / _effective(counts), joined)
        centred = values[:, varying] - values[:, varying].mean(axis=0)
        sums = _Sums.of(centred, joined)
        while sums.effective >= 2 * _ENOUGH and sums.seen and sums.correlation > _LINKED:
            joined = joined // 2
            sums = _Sums.of(centred, joined)
        ratio[varying], noise = sums.ratio((centred**2).sum(axis=0))
        return cls(ratio, noise, joined)

    def pooled(self, expected: np.ndarray | float = 1.0) -> float:
        """The mean over what is expected; 1 where nothing is known."""
        over = self.ratio / expected
        known = np.isfinite(over)
        return max(float(over[known].mean()), _LEAST_RATIO) if known.any() else 1.0

    def factors(self, expected: np.ndarray, common: float, otherwise: float | None) -> np.ndarray:
        """Ratios (J,) drawn to the ``common`` multiple of what is expected, first all together, then each; at least 1.

        ``otherwise`` with too few blocks, or where that is ``None``, what is expected.
        """
        usual = expected * common
        if self.noise is None:
            return np.maximum(usual if otherwise is None else np.full(len(usual), otherwise), 1.0)
        if self.noise == 0.0:
            return np.ones(len(usual))
        known, out = np.isfinite(self.ratio), usual.copy()
        if known.any():
            # The logarithm of a variance that is measured is too small by half of its own variance.
            apart = np.log(np.maximum(self.ratio[known], _LEAST_RATIO) / usual[known]) + self.noise / 2
            together = _COMMON / (_COMMON + self.noise / len(apart)) * apart.mean()
            own = apart - together
            out *= np.exp(together)
            out[known] *= np.exp(_drawn(float(np.mean(own**2)), self.noise) * own)
        return np.maximum(out, 1.0)


@dataclass(frozen=True, eq=False)
class _Sums:
    """Of the sums of blocks, by column (J,): squares ``own``, and products ``beside`` of neighbours.

    With them how many blocks and ``pairs`` of neighbours there are, and how many blocks of equal size these are worth.
    """

    own: np.ndarray
    beside: np.ndarray
    number: int
    pairs: int
    effective: float

    @classmethod
    def of(cls, centred: np.ndarray, block: np.ndarray) -> _Sums:
        names, index, counts = np.unique(block, return_inverse=True, return_counts=True)
        sums = np.stack([np.bincount(index, column) for column in centred.T], axis=1)
        next_to = np.flatnonzero(np.diff(names) == 1)
        own, beside = (sums**2).sum(axis=0), (sums[next_to] * sums[next_to + 1]).sum(axis=0)
        return cls(np.maximum(own, 1e-300), beside, len(names), len(next_to), _effective(counts))

    @property
    def correlation(self) -> float:
        """That of neighbours, on average over the columns; a mean that is estimated makes it smaller than it is."""
        if not self.pairs:
            return 0.0
        return float(np.mean(self.beside / self.own)) * self.number / self.pairs + 1 / self.effective

    @property
    def seen(self) -> bool:
        """Whether neighbours are more correlated than independent ones would be."""
        return self.pairs > 0 and self.correlation > _SEEN / np.sqrt(self.pairs)

    def ratio(self, by_windows: np.ndarray) -> tuple[np.ndarray, float]:
        """The variance of means over that by independent windows, and the variance of the logarithm of one."""
        lags = 2.0 if self.effective >= _ENOUGH and self.seen else 0.0
        terms = 1 + lags * self.pairs / self.number
        # A mean that is estimated takes its part of every product.
        return (self.own + lags * self.beside) / (1 - terms / self.effective) / by_windows, 2 * terms / self.effective


def _drawn(square: float, noise: float) -> float:
    """The share of a deviation that is kept, from its square and the variance of its noise (empirical Bayes)."""
    own = max(square - noise, 0.0)
    return own / (own + noise)


def _effective(counts: np.ndarray) -> float:
    """How many blocks of equal size blocks of these are worth."""
    return float(counts.sum() ** 2 / (counts.astype(float) ** 2).sum())
