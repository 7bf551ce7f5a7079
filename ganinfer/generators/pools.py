"""Pools: proposals and windows that one emulator is fitted to, made of the folds' results.

Statistics that mean the same in every fold, such as the classical ones, need no cross-fitting of networks: all
proposals and all real windows are one pool for them. What a fold's network adds is a pool of its own, the fold's
proposals and windows with the part of the embedding that the shared statistics do not explain between windows of one
proposal. Parts explained by different pools are then uncorrelated, and their likelihoods multiply.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ganinfer.generators.bounds import Bounds
from ganinfer.generators.emulator import ProposalMoments, within_covariance
from ganinfer.generators.scores import whitening
from ganinfer.interfaces import FoldResult

#: Spreads at which statistics of windows are cut.
_BOUND = 8.0
#: Spreads are those between windows of the closest proposals: this share of them, and so many at least.
_CLOSE_SHARE, _CLOSEST = 0.25, 100
#: Windows of a fold that are looked at for its bounds, about.
_SAMPLE = 5_000


@dataclass(frozen=True, eq=False)
class Pool:
    """``theta`` (k, p) proposals; ``statistics`` (n, d) of windows with their ``proposal`` (n,) and ``moments``.

    ``real`` (m, d) real windows and ``block`` (m,) of each; ``families`` (d,) names the kind of each statistic. The
    first ``explained`` columns are another pool's, and only there to be regressed out.
    """

    theta: np.ndarray
    proposal: np.ndarray
    statistics: np.ndarray
    moments: ProposalMoments
    real: np.ndarray
    block: np.ndarray
    families: np.ndarray
    explained: int = 0

    @classmethod
    def of_windows(
        cls,
        theta: np.ndarray,
        proposal: np.ndarray,
        statistics: np.ndarray,
        real: np.ndarray,
        block: np.ndarray,
        families: np.ndarray,
    ) -> Pool:
        statistics = np.asarray(statistics, dtype=float)
        moments = ProposalMoments.of_windows(statistics, proposal, len(theta))
        return cls(theta, proposal, statistics, moments, np.asarray(real, dtype=float), block, families)

    def select(self, proposals: np.ndarray) -> Pool:
        """The pool of some proposals (k,) bool, numbered anew."""
        if proposals.all():
            return self
        windows = proposals[self.proposal]
        number = (np.cumsum(proposals) - 1)[self.proposal[windows]]
        return replace(
            self,
            theta=self.theta[proposals],
            proposal=number,
            statistics=self.statistics[windows],
            moments=self.moments.select(proposals),
        )

    def residual(self, core: Pool) -> Pool:
        """The pool of what the explained columns leave of the others, by regression between the windows of ``core``."""
        size = self.explained
        if size == 0:
            return self
        within = within_covariance(core.statistics, core.proposal, len(core.theta))
        white = whitening(within[:size, :size])
        slopes = white @ (white.T @ within[:size, size:])
        parts = [values[:, size:] - values[:, :size] @ slopes for values in (self.statistics, self.real)]
        return Pool.of_windows(self.theta, self.proposal, parts[0], parts[1], self.block, self.families[size:])


def pools(folds: Sequence[FoldResult], distance: Sequence[np.ndarray] | None = None) -> list[Pool]:
    """One pool of the statistics that the folds share, and one a fold of what it has besides.

    Statistics are bounded, where windows say of the proposals that are closest by ``distance``, (k,) a fold; or of all.
    """
    shared, own = folds[0].shared, folds[0].statistics.shape[1] > folds[0].shared
    families = np.array(folds[0].families or [""] * folds[0].statistics.shape[1])
    samples = [_sample(f, None if distance is None else distance[i]) for i, f in enumerate(folds)]
    common = Bounds.of(np.concatenate([s[:, :shared] for s in samples]), _BOUND) if shared else None
    result = []
    if common:
        offsets = np.cumsum([0, *(len(f.theta) for f in folds)])
        result.append(
            Pool.of_windows(
                np.concatenate([f.theta for f in folds]),
                np.concatenate([f.proposal + o for f, o in zip(folds, offsets, strict=False)]),
                common(np.concatenate([f.statistics[:, :shared] for f in folds])),
                common(np.concatenate([f.real[:, :shared] for f in folds])),
                np.concatenate([f.block for f in folds]),
                families[:shared],
            )
        )
    for f, sample in zip(folds, samples, strict=True) if own else ():
        bounds = _joined(common, Bounds.of(sample[:, shared:], _BOUND))
        pool = Pool.of_windows(f.theta, f.proposal, bounds(f.statistics), bounds(f.real), f.block, families)
        result.append(replace(pool, explained=shared))
    return result


def _sample(fold: FoldResult, distance: np.ndarray | None) -> np.ndarray:
    """Windows (m, d) of the closest proposals, or of all."""
    windows = np.arange(len(fold.proposal))
    if distance is not None:
        closest = np.argsort(distance, kind="stable")[: max(_CLOSEST, int(_CLOSE_SHARE * len(distance)))]
        windows = windows[np.isin(fold.proposal, closest)]
    return np.asarray(fold.statistics[windows[:: max(len(windows) // _SAMPLE, 1)]], dtype=float)


def _joined(first: Bounds | None, second: Bounds) -> Bounds:
    if first is None:
        return second
    middle, spread = (np.concatenate(pair) for pair in ((first.middle, second.middle), (first.spread, second.spread)))
    return Bounds(middle, spread, second.at)
