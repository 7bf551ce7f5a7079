"""Linkage: how much it inflates the variance of the mean of windows, measured from blocks.

What linkage does is not the same to all statistics: at a bottleneck it may multiply the variance of mean haplotype
statistics by ten and leave others as they are. And it may reach further than a block. So the covariance of a block with
the next one counts (a flat-top kernel, Politis and Romano 1995, doi:10.1111/j.1467-9892.1995.tb00223.x), and where
that is large, blocks are joined two by two (Flyvbjerg and Petersen 1989, doi:10.1063/1.457480).
"""

from __future__ import annotations

import numpy as np

#: With fewer blocks nobody can tell.
MIN_BLOCKS = 8
#: With fewer blocks neither joined ones nor neighbours can be told from noise.
_ENOUGH = 16
#: Correlation of a block with the next one, on average over the statistics, above which blocks are joined.
_LINKED = 0.1
#: A measured ratio counts as this, at least.
_LEAST_RATIO = 0.1


def linkage_inflation(values: np.ndarray, block: np.ndarray, otherwise: float = 1.0) -> float:
    """By how much linkage multiplies the variance of the mean of ``values`` (m, J), at least 1, pooled over columns.

    ``block`` (m,) int: neighbouring blocks have neighbouring numbers. 1 where every window is its own block,
    ``otherwise`` where there are too few blocks to tell. Columns that do not vary say nothing.
    """
    ratio, noise = _ratios(values, block)
    known = np.isfinite(ratio)
    if noise is None or not known.any():
        return 1.0 if noise == 0.0 else otherwise
    return max(1.0, float(ratio[known].mean()))


def linked(within: np.ndarray, values: np.ndarray, block: np.ndarray, families: np.ndarray) -> np.ndarray:
    """The covariance ``within`` (d, d) of independent windows with what linkage does to the mean of each statistic."""
    root = np.sqrt(by_statistic(values, block, families))
    return within * np.outer(root, root)


def by_statistic(values: np.ndarray, block: np.ndarray, families: np.ndarray, otherwise: float = 1.0) -> np.ndarray:
    """The same (d,) of each of the statistics ``values`` (m, d); those of one of the ``families`` (d,) are alike.

    How alike is estimated: each is drawn to the mean of its family by what its own measurement lacks (empirical Bayes).
    """
    ratio, noise = _ratios(values, block)
    out = np.full(values.shape[1], otherwise if noise is None else 1.0)
    if not noise:
        return out
    for family in np.unique(families):
        mine = np.flatnonzero((families == family) & np.isfinite(ratio))
        if len(mine):
            out[mine] = _drawn(ratio[mine], np.ones(len(mine)), noise)
    return out


def along(values: np.ndarray, block: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """The same (J,) of directions ``values`` (m, J), for which (J,) is ``expected`` up to a common factor."""
    ratio, noise = _ratios(values, block)
    if not noise:
        return np.ones(len(expected))
    known = np.isfinite(ratio)
    out = np.maximum(expected, 1.0)
    out[known] = _drawn(ratio[known], expected[known], noise)
    return out


def excess(values: np.ndarray, block: np.ndarray, expected: np.ndarray) -> float:
    """By what common factor, at least 1, linkage inflates directions ``values`` (m, J) more than ``expected`` (J,)."""
    ratio, noise = _ratios(values, block)
    known = np.isfinite(ratio)
    if not noise or not known.any():
        return 1.0
    return max(1.0, float(np.mean(ratio[known] / expected[known])))


def _drawn(ratio: np.ndarray, expected: np.ndarray, noise: float) -> np.ndarray:
    """Ratios drawn to a multiple of what is expected, at least 1; ``noise`` is the variance of their logarithms."""
    usual = expected * max(float(np.mean(ratio / expected)), _LEAST_RATIO)
    apart = np.log(np.maximum(ratio, _LEAST_RATIO) / usual)
    own = max(float(np.mean(apart**2)) - noise, 0.0)
    return np.maximum(usual * np.exp(own / (own + noise) * apart), 1.0)


def _ratios(values: np.ndarray, block: np.ndarray) -> tuple[np.ndarray, float | None]:
    """The variance of means (J,) by blocks over that by independent windows, and the variance of such a logarithm.

    The ratios are not a number for columns that do not vary; the variance is 0 where every window is its own block, and
    ``None`` with too few blocks.
    """
    ratio = np.full(values.shape[1], np.nan)
    names = np.unique(block)
    if len(names) == len(values):
        return ratio, 0.0
    if len(names) < MIN_BLOCKS:
        return ratio, None
    centred = values - values.mean(axis=0)
    by_windows = (centred**2).sum(axis=0)
    varying = by_windows > 0
    centred, joined = centred[:, varying], np.asarray(block)
    while True:
        own, beside, number, pairs = _by_blocks(centred, joined)
        if number < 2 * _ENOUGH or not varying.any() or float(np.mean(beside / own)) <= _LINKED:
            break
        joined = joined // 2
    lags = 2.0 if number >= _ENOUGH else 0.0
    # A mean that is estimated takes its part of every product.
    lost = (1 + lags * pairs / number) / number
    ratio[varying] = (own + lags * beside) / (1 - lost) / by_windows[varying]
    return ratio, 2 * (1 + lags * pairs / number) / number


def _by_blocks(centred: np.ndarray, block: np.ndarray) -> tuple[np.ndarray, np.ndarray, int, int]:
    """Of the sums of blocks, by column: squares, products of neighbours. Then the numbers of blocks and neighbours."""
    names, index = np.unique(block, return_inverse=True)
    sums = np.stack([np.bincount(index, column) for column in centred.T], axis=1).reshape(len(names), -1)
    next_to = np.flatnonzero(np.diff(names) == 1)
    return (sums**2).sum(axis=0), (sums[next_to] * sums[next_to + 1]).sum(axis=0), len(names), len(next_to)
