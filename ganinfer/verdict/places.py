"""Which real windows the fitted model explains worst."""

from __future__ import annotations

import numpy as np

from ganinfer.generators.emulator import within_covariance
from ganinfer.generators.scores import whitening
from ganinfer.inference import CLASSICAL, Problem
from ganinfer.verdict.fresh import Fresh

#: Axes along which windows are compared: those in which they differ most.
_AXES = 20


def distances(problem: Problem, fresh: Fresh) -> np.ndarray:
    """How unusual every real window (m,) is: a normal score, 2 for what one fresh window in 44 exceeds.

    By the squared distance of its classical statistics from the fresh windows' middle along their principal axes, and
    where that lies among the distances of fresh windows.
    """
    from scipy.stats import norm

    size = len(fresh.theta)
    flat = fresh.classical.reshape(-1, fresh.classical.shape[-1])
    within = within_covariance(flat, np.repeat(np.arange(size), fresh.classical.shape[1]), size)
    white, middle = whitening(within)[:, -_AXES:], flat.mean(axis=0)  # the most variable axes come last
    real = np.asarray(problem.observed.arrays[CLASSICAL], dtype=float)
    known, own = ((((values - middle) @ white) ** 2).sum(axis=1) for values in (flat, real))
    above = (len(known) - np.searchsorted(np.sort(known), own, side="left") + 0.5) / (len(known) + 1)
    return np.asarray(norm.isf(np.clip(above, 0.5 / (len(known) + 1), 1 - 0.5 / (len(known) + 1))))
