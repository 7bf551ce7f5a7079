"""Is the critic's out-of-fold logit higher for real windows than for simulated ones? Tested by blocks, fold by fold.

A fold's windows are compared with simulated windows of the same fold, made on the same templates, since the logits of
two networks have no common origin. One-sided: a critic that learnt something puts real windows *higher*.

The folds' tests are not independent. Network 0 learnt from the windows that network 1 is tested on and the other way
round, so that where chance makes the two halves alike both tests see it; for a linear critic the two statistics have
the same sign always. Adding them up as if they were independent rejects a true null up to twice too often. Cauchy
combination (Liu & Xie 2020, doi:10.1080/01621459.2018.1554485) is exact both for independent and for equal p-values.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from ganinfer.training import area_under_curve


@dataclass(frozen=True)
class Verdict:
    """``p_value`` of all folds together; of each fold its own, Student's ``t`` and its blocks; ``auc`` their mean."""

    p_value: float
    auc: float
    fold_p_values: tuple[float, ...]
    fold_t: tuple[float, ...]
    fold_blocks: tuple[int, ...]


def compare(real: np.ndarray, simulated: np.ndarray, block: np.ndarray, fold: np.ndarray) -> Verdict:
    """``real`` (n,) logits; ``simulated`` (n, copies) of windows on the same templates; ``block``, ``fold`` (n,)."""
    ts, p_values, blocks, areas, sizes = [], [], [], [], []
    for k in np.unique(fold):
        mine = fold == k
        t, p_value, number = paired(real[mine] - simulated[mine].mean(axis=1), block[mine])
        ts.append(t)
        p_values.append(p_value)
        blocks.append(number)
        areas.append(area_under_curve(real[mine], simulated[mine].ravel()))
        sizes.append(int(mine.sum()))
    return Verdict(
        combined(np.array(p_values)),
        float(np.average(areas, weights=sizes)),
        tuple(p_values),
        tuple(ts),
        tuple(blocks),
    )


def paired(difference: np.ndarray, block: np.ndarray) -> tuple[float, float, int]:
    """Student's t of the blocks' mean differences, its p-value against a mean of 0 or less, the number of blocks."""
    _, index, counts = np.unique(block, return_inverse=True, return_counts=True)
    means = np.bincount(index, weights=difference) / counts
    error = means.std(ddof=1) / np.sqrt(len(means))
    t = float(means.mean() / error) if error > 0 else 0.0
    return t, float(stats.t.sf(t, len(means) - 1)), len(means)


def combined(p_values: np.ndarray) -> float:
    """One p-value of several, whether they are independent or the same."""
    return float(stats.cauchy.sf(np.mean(stats.cauchy.isf(p_values))))
