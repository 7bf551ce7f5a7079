"""Which real windows the fitted model explains worst."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ganinfer.generators.emulator import within_covariance
from ganinfer.generators.scores import whitening
from ganinfer.inference import CLASSICAL, Problem
from ganinfer.interfaces import WindowTemplate
from ganinfer.verdict.fresh import Fresh

#: Axes along which windows are compared: those in which they differ most.
_AXES = 20
#: A feature of windows that varies by less is the same in all.
_SAME = 1e-9
#: Features count as no further out than so many standard deviations: beyond, a parabola would say nonsense.
_CLIP = 3.0


def distances(problem: Problem, fresh: Fresh) -> np.ndarray:
    """How unusual every real window (m,) is: a normal score, 2 for what one fresh window in 44 exceeds.

    By the squared distance of its classical statistics from those of fresh windows along their principal axes, and
    where that lies among the distances of fresh windows. A window with few accessible bases, or little recombination,
    is compared with what the model makes of such a window: middle and distance are regressed on these.
    """
    from scipy.stats import norm

    size = len(fresh.theta)
    flat = fresh.classical.reshape(-1, fresh.classical.shape[-1])
    real = np.asarray(problem.observed.arrays[CLASSICAL], dtype=float)
    own_design, design = _designs(features(problem.observed.templates), fresh.template.ravel())
    coefficients = np.linalg.lstsq(design, flat, rcond=None)[0]
    flat, real = flat - design @ coefficients, real - own_design @ coefficients
    within = within_covariance(flat, np.repeat(np.arange(size), fresh.classical.shape[1]), size)
    white = whitening(within)[:, -_AXES:]  # the most variable axes come last
    known, own = (np.log(((values @ white) ** 2).sum(axis=1) + _SAME) for values in (flat, real))
    level = np.linalg.lstsq(design, known, rcond=None)[0]
    known, own = known - design @ level, own - own_design @ level
    above = (len(known) - np.searchsorted(np.sort(known), own, side="left") + 0.5) / (len(known) + 1)
    return np.asarray(norm.isf(np.clip(above, 0.5 / (len(known) + 1), 1 - 0.5 / (len(known) + 1))))


def features(templates: Sequence[WindowTemplate]) -> np.ndarray:
    """(m, 4) what windows differ in before anything is seen of them.

    Logarithms of accessible bases and of the mean recombination rate, the root of the number of missing calls, the
    share of sites whose ancestral allele is unknown.
    """
    found = []
    for t in templates:
        bases = t.length if t.accessible is None else float(np.diff(t.accessible, axis=1).sum())
        rate = 0.0 if t.recombination is None else t.recombination.mean_rate
        missing = 0 if t.missing is None else int(np.bitwise_count(t.missing).sum())
        found.append([np.log(max(bases, 1.0)), np.log(max(rate, 1e-12)), np.sqrt(missing), t.unusable_ancestral])
    return np.array(found)


def _designs(values: np.ndarray, template: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Constant, linear and quadratic terms of what varies among ``values`` (m, 4): of real windows, and of fresh ones.

    ``template`` (n,): the real window that each fresh one resembles.
    """
    spread = values.std(axis=0)
    varying = spread > _SAME
    scaled = np.clip((values[:, varying] - values[:, varying].mean(axis=0)) / spread[varying], -_CLIP, _CLIP)
    columns = [np.ones((len(values), 1)), scaled]
    columns += [scaled[:, [i]] * scaled[:, i:] for i in range(scaled.shape[1])]
    design = np.concatenate(columns, axis=1)
    return design, design[template]
