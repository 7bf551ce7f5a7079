"""Whether a real data set lies among a scenario's simulated ones.

Some looks, each at something fixed beforehand, from simulations alone. *Guide*: what networks say of the parameters,
and how far that lies from what they say of simulations (squared Mahalanobis distance). *Residual*: classical statistics
less what simulations with the same guide have, in units of their scatter: all together in whitened directions, and the
largest alone of each family of statistics. A family by itself, because a spectrum has rare classes of SNPs, whose
scatter has long tails: among a hundred of them the largest residual would hide a family of four. The smallest p-value
is compared with that of simulations treated alike, so that looking several times costs nothing. What a scenario cannot
do with any parameters shows in the residual, what its prior forbids in the guide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ganinfer.evidence import whole_genomes

#: Looks by name; :data:`LARGEST` at each family of statistics.
GUIDE, ALL, LARGEST = "guide", "all residuals", "largest residual"
_PARTS = 5
_RIDGE = 1.0
_LEAST_SD = 1e-9
#: Where among the statistics' spreads that of a constant one is taken to be.
_STEADY = 0.1
#: Simulations for every term of a regression, and for every direction of a covariance.
_ROOM = 5
#: Guides count as no further out than so many standard deviations.
_CLIP = 4.0

#: Fresh windows of each proposal where data sets are put together from them.
_WINDOWS = 16
#: Fresh windows for each real one, at least and at most, where nothing else is asked for.
_PER_REAL, _LEAST_WINDOWS, _MOST_WINDOWS = 8, 8_000, 24_000
#: Proposals at least, for each parameter and two more.
_LEAST_PROPOSALS = 3
#: Fewer simulated data sets than this do not say how unusual the real one is.
_LEAST_SETS = 200


@dataclass(frozen=True)
class AdequacySettings:
    """``windows``: fresh ones to judge by, ``None`` for as many as the real ones need; ``data_sets`` to compare with.

    Up to 120 real windows need data sets that are simulated whole: their posterior is wide, and noise changes over it.
    ``level``: a smaller p-value rejects the model.
    """

    windows: int | None = None
    data_sets: int = 1_000
    level: float = 0.05

    def shape(self, num_real: int, num_parameters: int) -> tuple[int, int, bool]:
        """Fresh proposals, windows of each, and whether every proposal is a data set of the real size."""
        per_real = _PER_REAL if num_real * _LEAST_SETS > _MOST_WINDOWS else self.data_sets
        wanted = self.windows or min(max(per_real * num_real, _LEAST_WINDOWS), _MOST_WINDOWS)
        if whole := whole_genomes(num_real, wanted, self.data_sets, least=_LEAST_SETS):
            return whole, num_real, True
        return max(wanted // _WINDOWS, _LEAST_PROPOSALS * (num_parameters + 2)), _WINDOWS, False


@dataclass(frozen=True, eq=False)
class Verdict:
    """``p_value`` that a data set of the scenario looks as odd; ``parts`` the looks' p-values by name; ``z`` (d,) the
    classical statistics' residuals in standard deviations.
    """

    p_value: float
    parts: dict[str, float]
    z: np.ndarray


class Reference:
    """A scenario's simulations: classical ``statistics`` (n, d) and ``guide`` (n, g).

    ``families`` (d,) names the kind of each statistic; without them all are of one. Statistics that are the same in all
    simulations are looked at with the largest family: by themselves, the slightest difference would be the oddest.
    They are dealt to parts, and each part is looked at with what the others taught; the data with what every such set
    of others taught, the median counting.
    """

    def __init__(self, statistics: np.ndarray, guide: np.ndarray, families: Sequence[str] | None = None):
        statistics, guide = np.asarray(statistics, float), np.asarray(guide, float)
        family = np.array([""] * statistics.shape[1] if families is None else families)
        names, count = np.unique(family, return_counts=True)
        family[statistics.std(axis=0) <= _LEAST_SD] = names[count.argmax()]
        kinds = dict.fromkeys(family.tolist())
        self.looks = (GUIDE, ALL, *(f"{LARGEST}: {kind}" if kind else LARGEST for kind in kinds))
        self._members = [family == kind for kind in kinds]
        part = np.arange(len(statistics)) % _PARTS
        self._taught = [_Taught(statistics[part != k], guide[part != k]) for k in range(_PARTS)]
        looks = np.empty((len(statistics), len(self.looks)))
        for k, taught in enumerate(self._taught):
            looks[part == k] = taught.looks(statistics[part == k], guide[part == k], self._members)[0]
        self._looks = looks
        own = np.stack([_exceeding(column, column, own=True) for column in looks.T], axis=1)
        self._smallest = own.min(axis=1)

    def verdict(self, statistics: np.ndarray, guide: np.ndarray) -> Verdict:
        """Of one data set: its ``statistics`` (d,) and ``guide`` (g,)."""
        each = [self._verdict(*taught.looks(statistics[None], guide[None], self._members)) for taught in self._taught]
        return sorted(each, key=lambda verdict: verdict.p_value)[len(each) // 2]

    def _verdict(self, looks: np.ndarray, z: np.ndarray) -> Verdict:
        parts = [float(_exceeding(self._looks[:, i], looks[:, i])[0]) for i in range(len(self.looks))]
        # Small p-values are odd: those of simulations that are as small or smaller.
        as_small = int((self._smallest <= min(parts) + 1e-12).sum())
        p_value = (1 + as_small) / (1 + len(self._smallest))
        return Verdict(p_value, dict(zip(self.looks, parts, strict=True)), z[0])


class _Taught:
    """What some simulations teach: where their guides lie, and their statistics as a function of the guide."""

    def __init__(self, statistics: np.ndarray, guide: np.ndarray):
        size = len(statistics)
        self._centre, self._scale = guide.mean(axis=0), np.maximum(guide.std(axis=0), _LEAST_SD)
        scaled = self._scaled(guide)
        covariance = np.atleast_2d(np.cov(scaled, rowvar=False))
        self._inverse = np.linalg.inv(covariance + _shrinkage(scaled) * np.eye(len(covariance)))
        self._mean, spread = statistics.mean(axis=0), statistics.std(axis=0)
        # What is the same in all of them may be rare rather than impossible: it counts as the steadiest of the others.
        varying = spread[spread > _LEAST_SD]
        self._spread = np.where(spread > _LEAST_SD, spread, np.quantile(varying, _STEADY) if len(varying) else 1.0)
        self._quadratic = _design(scaled, True).shape[1] <= size / _ROOM
        design, values = _design(scaled, self._quadratic), (statistics - self._mean) / self._spread
        self._coefficients = _ridge(design, values)
        residual = values - design @ self._coefficients
        own = np.sqrt((residual**2).sum(axis=0) / max(size - design.shape[1], 1))
        self._sd = np.where(spread > _LEAST_SD, np.maximum(own, _LEAST_SD), 1.0)
        self._whitening = _whitening(residual / self._sd)

    def _scaled(self, guide: np.ndarray) -> np.ndarray:
        return np.asarray((guide - self._centre) / self._scale)

    def looks(
        self, statistics: np.ndarray, guide: np.ndarray, members: Sequence[np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """(n, looks), the larger the odder, and the residuals (n, d) in standard deviations.

        ``members``: bool (d,), which statistics are looked at together for their largest.
        """
        scaled = self._scaled(guide)
        values = (statistics - self._mean) / self._spread
        z = (values - _design(scaled, self._quadratic) @ self._coefficients) / self._sd
        found = [
            np.einsum("ni,ij,nj->n", scaled, self._inverse, scaled),
            ((z @ self._whitening) ** 2).sum(axis=1),
            *(np.abs(z[:, mine]).max(axis=1, initial=0.0) for mine in members),
        ]
        return np.stack(found, axis=1), z


def _design(guide: np.ndarray, quadratic: bool) -> np.ndarray:
    """Constant, linear and maybe quadratic terms of clipped guides: far out, a parabola would say nonsense."""
    guide = np.clip(guide, -_CLIP, _CLIP)
    columns = [np.ones((len(guide), 1)), guide]
    columns += [guide[:, [i]] * guide[:, i:] for i in range(guide.shape[1])] if quadratic else []
    return np.concatenate(columns, axis=1)


def _ridge(design: np.ndarray, values: np.ndarray) -> np.ndarray:
    penalty = _RIDGE * np.eye(design.shape[1])
    penalty[0, 0] = 0.0
    return np.linalg.solve(design.T @ design + penalty, design.T @ values)


def _shrinkage(z: np.ndarray) -> float:
    """How far a covariance of so many rows is pulled towards the identity."""
    return min(1.0, z.shape[1] / len(z))


def _whitening(z: np.ndarray) -> np.ndarray:
    """(d, r) directions of about unit variance: a fifth as many as there are rows, the most variable ones, at most."""
    covariance = np.atleast_2d(np.cov(z, rowvar=False))
    share = _shrinkage(z)
    values, vectors = np.linalg.eigh((1 - share) * covariance + share * np.eye(len(covariance)))
    kept = np.argsort(values)[::-1][: max(len(z) // _ROOM, 1)]
    return np.asarray(vectors[:, kept] / np.sqrt(values[kept]))


def _exceeding(reference: np.ndarray, values: np.ndarray, *, own: bool = False) -> np.ndarray:
    """p-values: the share of ``reference`` at or above each value, the value itself counted once."""
    ordered = np.sort(reference)
    above = len(ordered) - np.searchsorted(ordered, values, side="left")
    return above / len(ordered) if own else (1 + above) / (1 + len(ordered))
