"""The maximum of the likelihood of a spectrum, how sure it is, and where bootstrap data sets have theirs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from ganinfer.execution import Executor, ordered
from ganinfer.second_opinion.likelihood import (
    EMPTY,
    Again,
    Around,
    Found,
    Job,
    Likelihood,
    Start,
    principal,
    refitted,
    sandwich,
    searched,
)

PROGRAM = "moments"
#: Between these, what one standard deviation costs in log likelihood is taken to be what the sandwich says.
_BELIEVED = (0.5, 2.0)
#: A parameter of which less than this share of a standard error changes over its whole range is not in the spectrum.
_UNSEEN = 1e-3
#: This close to a bound, as a share of the range, an estimate is on it.
_AT_BOUND = 2e-3
#: Estimates whose correlation is larger go together.
_TOGETHER = 0.5
#: An axis with less than this share of the information, parameters taken in standard errors, may be a ridge that never
#: ends. It is one where a step of :data:`_ALONG` of the range of the parameter that it moves most costs next to nothing
#: in log likelihood. Those belong to it that it moves by :data:`_PART` of that.
_FLAT, _ALONG, _NOTHING, _PART = 1e-4, 0.02, 0.05, 0.05


class OpinionError(ValueError):
    """The fit failed, in a sentence."""


class Fit:
    """The best of several searches, each from one of ``draws`` (k, p), refined, with derivatives there.

    Raises :class:`OpinionError` where none found a model that is possible.
    """

    def __init__(self, job: Job, draws: np.ndarray, executor: Executor):
        self.job, self.likelihood = job, Likelihood(job)
        coarse = job.coarse
        items = [Start(coarse or job, draw) for draw in draws]
        self.starts: list[Found] = list(ordered(executor.run(searched, items)))
        best = max(self.starts, key=lambda found: found.log_likelihood)
        if not np.isfinite(best.log_likelihood):
            raise OpinionError(f"none of {len(draws)} starts of {PROGRAM} found a model that is possible")
        self.sides = self._sides(best.x)
        self.around = max(self.sides, key=lambda around: self.likelihood.log_likelihood(around.x))
        self.x = self.around.x
        self.log_likelihood = self.likelihood.log_likelihood(self.x)

    def _sides(self, x: np.ndarray) -> list[Around]:
        """The maximum next to ``x``, or those of all sides of the zeros that are close to it, with derivatives."""
        likelihood = self.likelihood
        found = likelihood.around(likelihood.refine(likelihood.around(x)))
        boxes = likelihood.sides(found)
        ends = []
        for box in boxes if boxes[1:] else []:
            try:
                end = likelihood.refine(likelihood.around(box(found.x), box))
                ends.append(likelihood.around(end, box))
            except ValueError:  # no model is possible on that side of zero
                continue
        return ends or [found]

    @property
    def estimate(self) -> np.ndarray:
        """Parameters (p,) in natural units, and after them the share that is misidentified, where it is fitted."""
        return self.likelihood.coordinates.decode(self.x)

    @property
    def seen(self) -> np.ndarray:
        """(p,) bool: whether the spectrum depends on each."""
        return np.sqrt(np.diag(self.around.information)) > _UNSEEN

    @cached_property
    def _ridges(self) -> np.ndarray:
        """(k, p) axes along which nothing changes, each with 1 for what it moves most, as a size and its rate have."""
        seen = self.seen
        if not seen.any():
            return np.empty((0, len(self.x)))
        axes = np.zeros((len(self.x), int(seen.sum())))
        values, axes[seen] = principal(self.around.information[np.ix_(seen, seen)])
        found = [axis / np.abs(axis).max() for axis in axes.T[values < _FLAT]]
        return np.array([axis for axis in found if self._costs_nothing(_ALONG * axis)]).reshape(-1, len(self.x))

    def _costs_nothing(self, step: np.ndarray) -> bool:
        ends = [x for x in (self.x + step, self.x - step) if ((x >= 1) & (x <= 2)).all()]
        costs = [self.log_likelihood - self.likelihood.log_likelihood(x) for x in ends]
        return bool(costs) and max(costs) < _NOTHING

    @property
    def confounded(self) -> np.ndarray:
        """(p,) bool: which the spectrum knows together with others only, as it knows products of sizes and a rate."""
        return np.asarray((np.abs(self._ridges) > _PART).any(axis=0))

    def at(self, theta: np.ndarray) -> float | None:
        """The log likelihood at another vector, with what is misidentified as fitted; ``None`` if it is impossible."""
        x = self.likelihood.encode(theta)
        x[len(theta) :] = self.x[len(theta) :]
        try:
            self.likelihood.expected(x)
        except ValueError:
            return None
        return self.likelihood.log_likelihood(x)

    def again(self, counts: Sequence[np.ndarray], executor: Executor) -> np.ndarray:
        """Estimates (b, p) of bootstrap data sets."""
        parts = np.array_split(np.arange(len(counts)), min(len(counts), 4 * executor.num_workers))
        items = [Again(self.job, self.sides, [counts[i] for i in part]) for part in parts]
        return np.concatenate(list(ordered(executor.run(refitted, items))))

    @property
    def at_bound(self) -> np.ndarray:
        """(p,) bool: which lie on a bound."""
        return np.minimum(self.x - 1, 2 - self.x) < _AT_BOUND

    @property
    def leans_on(self) -> np.ndarray:
        """(p,) index of the parameter on a bound that each goes with most, or -1.

        What stands on a bound would have moved, and others with it: how far they are known is then not known. A share
        of misidentified sites that is none at all stays where it is.
        """
        bound = self.at_bound.copy()
        bound[len(bound) - int(self.job.misidentified) :] = False
        found, names = np.full(len(self.x), -1), np.flatnonzero(self.seen)
        covariance = np.linalg.pinv(self.around.information[np.ix_(names, names)], rcond=1e-12, hermitian=True)
        spread = np.sqrt(np.maximum(np.diag(covariance), 1e-300))
        together = np.abs(covariance / np.outer(spread, spread)) * bound[names]
        np.fill_diagonal(together, 0.0)
        if len(names):
            found[names] = np.where(together.max(axis=1) > _TOGETHER, names[together.argmax(axis=1)], -1)
        return found

    def covariance(self, groups: Sequence[np.ndarray], lengths: np.ndarray) -> np.ndarray | None:
        """Godambe's covariance, in coordinates, of what is seen and inside its bounds, else 0.

        ``groups``: the spectrum of each, and their ``lengths`` (g,). ``None`` where it is not to be believed. It is
        believed where a step of one standard deviation along its longest axis, to either side, costs about what it
        says, and leads nowhere impossible: along a curved ridge it costs far more.
        """
        free, likelihood = self.seen & ~self.at_bound, self.likelihood
        if not free.any():
            return None
        cells = [likelihood.of(g) for g in groups]
        around = Around(self.x, self.around.expected, self.around.slopes[:, free])
        found = sandwich(around, cells, lengths / lengths.sum(), _FLAT if len(self._ridges) else EMPTY)
        values, vectors = np.linalg.eigh(found)
        step = np.zeros(len(self.x))
        step[free] = vectors[:, -1] * np.sqrt(max(values[-1], 0.0))
        said = 0.5 * float(step[free] @ around.information @ step[free])
        for side in (1, -1):
            x = self.x + side * step
            if ((x < 1) | (x > 2)).any():
                return None
            cost = self.log_likelihood - likelihood.log_likelihood(x)
            if not _BELIEVED[0] * said <= cost <= _BELIEVED[1] * said:
                return None
        covariance = np.zeros((len(self.x), len(self.x)))
        covariance[np.ix_(free, free)] = found
        return covariance
