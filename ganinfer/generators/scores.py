"""Scores: the few directions of the statistics in which windows tell parameters apart.

Statistics are many, and most of them say nothing. In units in which windows of one proposal have unit covariance, the
direction that tells two nearby parameter vectors apart best is the difference of their mean statistics (Fisher's
discriminant). These differences are read from a polynomial fit over a region much wider than the cloud, where they
stand out of the noise. Few combinations of the statistics bend over such a region, and strongly, while most do not: so
the statistics are rotated to the axes along which proposals differ, and on each of them the bent terms are shrunk by
their own evidence. Where the cloud is wide, because the data say little, such a fit may be wrong across all of it. So
what a narrow fit surely sees beside these directions is added to them.

Directions bent by the noise of a window would take this noise for a signal when that window is looked at along them.
So proposals are dealt to groups, each group's statistics are looked at along the directions that the other groups
give, and the real windows along the mean of all. Directions are linear in the fitted coefficients, so that those of
different groups are estimates of the same thing and the groups can share an emulator.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ganinfer.generators.emulator import Basis, ProposalMoments, largest_degree, remoteness

#: Within-window directions with less than this share of the mean correlation eigenvalue are numerically empty.
_EMPTY_DIRECTION = 1e-4
#: Directions along which less than this share of all changes lies are no directions.
_EMPTY_CHANGE = 1e-9
#: Scores with less than this share of the largest one's variance are those of other scores.
_DEPENDENT = 1e-10
#: Proposals are dealt to so many groups.
NUM_GROUPS = 4
_MAX_DEGREE = 2
_EVIDENCE_ITERATIONS = 15
#: Coefficients of a degree that count as determined, at least: shrinking never ends at exactly nothing.
_LEAST_FREEDOM = 1e-3
#: Proposals beyond so many times the fit's own squared radius are left out.
_FAR = 4.0
#: Points of the cloud at which differences are taken, at most.
_NUM_POINTS = 40
#: After the first p, a direction is left out where one unit of the cloud moves the real mean by less than this share of
#: its variance,
_LEAST_SCORE = 0.2
#: and where less than this share of its squared length is known not to be noise.
_RELIABLE = 0.2
#: What a narrow fit shows beside the wide one has this share at least.
_SURELY = 0.5

Inputs = Callable[[np.ndarray], np.ndarray]
Equations = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class Scores:
    """Linear maps from d statistics to J scores, ``(statistics - offset) @ matrix``, with unit variance near the cloud.

    ``matrices`` (groups, d, J): what each group's statistics are looked at along; ``mean`` (d, J) for real windows.
    ``noise`` (J,): the share of the variance of each score's real mean that is along what is noise of the simulations.
    """

    offset: np.ndarray
    matrices: np.ndarray
    noise: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        return self.matrices.mean(axis=0)

    def of_real(self, statistics: np.ndarray) -> np.ndarray:
        """(m, d) statistics of real windows to (m, J) scores."""
        return (statistics - self.offset) @ self.mean

    def of_simulated(self, statistics: np.ndarray, group: np.ndarray) -> np.ndarray:
        """(n, d) statistics of simulated windows to (n, J) scores, ``group`` (n,) being their proposals'."""
        out = np.empty((len(statistics), self.matrices.shape[2]))
        for k, matrix in enumerate(self.matrices):
            out[group == k] = (statistics[group == k] - self.offset) @ matrix
        return out


def groups(num_proposals: int) -> np.ndarray:
    """Group (num_proposals,) of each proposal, dealt in turn."""
    return np.arange(num_proposals) % NUM_GROUPS


def whitening(within: np.ndarray) -> np.ndarray:
    """(d, r) matrix W with W.T within W = 1; directions without variance are left out."""
    scale = np.sqrt(np.maximum(np.diag(within), 0.0))
    used = scale > 1e-9 * max(float(scale.max(initial=0.0)), 1e-300)
    correlation = within[np.ix_(used, used)] / np.outer(scale[used], scale[used])
    values, vectors = np.linalg.eigh(correlation)
    kept = values > _EMPTY_DIRECTION
    matrix = np.zeros((len(within), int(kept.sum())))
    matrix[used] = vectors[:, kept] / np.sqrt(values[kept]) / scale[used][:, None]
    return matrix


def find(
    x: np.ndarray,
    moments: ProposalMoments,
    within: np.ndarray,
    cloud: np.ndarray,
    inputs: Inputs,
    *,
    num_kinks: int,
    near: float,
    narrow: float,
    wide: float,
    limit: int,
    num_real: float,
) -> Scores:
    """At most ``limit`` scores that tell points of ``cloud`` (n, p) apart, cross-fitted between :func:`groups`.

    ``x`` (k, p) coordinates of proposals with their ``moments``; ``within`` (d, d) the covariance between windows of
    one proposal; ``inputs`` maps coordinates to the inputs of a basis with ``num_kinks``; the fit reaches to the
    squared radius ``wide`` and is centred on the proposals within ``near``. After the strongest p scores, those are
    left out that would hardly move the mean of ``num_real`` windows or are little more than noise. At most p more are
    what a fit to the squared radius ``narrow`` shows beside them, clearly more than noise.
    """
    size, radius = x.shape[1], (x**2).sum(axis=1)
    offset = np.average(moments.mean, axis=0, weights=moments.count / remoteness(radius, near))
    white = whitening(within)
    values, points = (moments.mean - offset) @ white, cloud[:: max(len(cloud) // _NUM_POINTS, 1)]

    def fitted(reach: float) -> _Slopes:
        weight = np.where(radius < _FAR * reach, moments.count / remoteness(radius, reach), 0.0)
        return _Slopes.of(x, values, weight, points, inputs, num_kinks, reach)

    directions, strength = fitted(wide).directions(limit)
    kept = (strength**2 * num_real > _LEAST_SCORE) & (_reliability(directions) > _RELIABLE)
    kept[:size] = True
    directions = directions[:, :, kept]
    if narrow < wide:
        bent, strength = fitted(narrow).directions(size, beside=directions.mean(axis=0))
        kept = (strength**2 * num_real > _LEAST_SCORE) & (_reliability(bent) > _SURELY)
        directions = np.concatenate([directions, bent[:, :, kept]], axis=2)
    mean = white @ directions.mean(axis=0)
    variances, axes = np.linalg.eigh(mean.T @ within @ mean)
    # Of few windows some directions may be combinations of others.
    own = variances > _DEPENDENT * variances.max()
    directions = directions @ (axes[:, own] / np.sqrt(variances[own]))
    return Scores(offset, white @ directions, np.clip(1.0 - _reliability(directions), 0.0, 1.0))


@dataclass(frozen=True, eq=False)
class _Slopes:
    """A polynomial fit of whitened statistics: what they change by over one unit along each axis, around each point.

    ``differences`` (p x n, terms) of the basis; ``coefficients`` (terms, r), and ``by_group`` (groups, terms, r) those
    without each group's proposals.
    """

    differences: np.ndarray
    coefficients: np.ndarray
    by_group: np.ndarray
    num_points: int

    @classmethod
    def of(
        cls,
        x: np.ndarray,
        values: np.ndarray,
        weight: np.ndarray,
        points: np.ndarray,
        inputs: Inputs,
        num_kinks: int,
        reach: float,
    ) -> _Slopes:
        """Around ``points`` (n, p), of ``values`` (k, r) at ``x`` (k, p), which count by their ``weight`` (k,)."""
        size = x.shape[1]
        degree = min(_MAX_DEGREE, largest_degree(size, int((weight > 0).sum() * (1 - 1 / NUM_GROUPS)), num_kinks))
        basis, scale = Basis(size, degree, num_kinks), np.sqrt(max(1.0, reach / (size + 2 * np.sqrt(size))))

        def design(at: np.ndarray) -> np.ndarray:
            return basis(inputs(at) / scale)

        terms, group = design(x), groups(len(x))
        parts = [_normal_equations(terms, values, np.where(group == k, weight, 0.0)) for k in range(NUM_GROUPS)]
        others = [[part for i, part in enumerate(parts) if i != k] for k in range(NUM_GROUPS)]
        by_group = np.stack([_shrunk(rest, basis.families) for rest in others])
        return cls(_differences(design, points), _shrunk(parts, basis.families), by_group, len(points))

    def directions(self, limit: int, beside: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """At most ``limit`` directions (groups, r, J), the strongest first, and the root mean square change along each.

        Of what is orthogonal to other directions ``beside`` (r, i), where these are given: there may be none.
        """
        found, by_group = self.differences @ self.coefficients, self.by_group
        least = _EMPTY_CHANGE * float(np.linalg.norm(found))
        if beside is not None:
            other = np.linalg.qr(beside)[0]
            found, by_group = (part - part @ other @ other.T for part in (found, by_group))
        left, strength, _ = np.linalg.svd(found, full_matrices=False)
        number = max(min(limit, int((strength > least).sum())), int(beside is None))
        combination = self.differences.T @ (left[:, :number] / strength[:number])
        return np.einsum("ktr,tj->krj", by_group, combination), strength[:number] / np.sqrt(self.num_points)


def _reliability(directions: np.ndarray) -> np.ndarray:
    """Share (J,) of the squared length of each mean direction that is no noise, from (groups, r, J) directions.

    Each group's leaves out one part of the proposals, so that their scatter is a jackknife.
    """
    mean = directions.mean(axis=0)
    noise = (1 - 1 / len(directions)) * ((directions - mean) ** 2).sum(axis=(0, 1))
    return 1.0 - noise / np.maximum((mean**2).sum(axis=0), 1e-300)


def _differences(design: Callable[[np.ndarray], np.ndarray], points: np.ndarray) -> np.ndarray:
    """(p x n, terms) differences of the basis over one unit along each coordinate, around each of (n, p) points."""
    steps = 0.5 * np.eye(points.shape[1])
    return np.concatenate([design(points + step) - design(points - step) for step in steps])


def _normal_equations(terms: np.ndarray, values: np.ndarray, weight: np.ndarray) -> Equations:
    """Of ``values`` (k, r) on ``terms``; besides, the values' own second moments (r, r)."""
    used = weight > 0
    weighted, own = terms[used] * weight[used][:, None], values[used] * weight[used][:, None]
    return weighted.T @ terms[used], weighted.T @ values[used], own.T @ values[used]


def _shrunk(parts: Sequence[Equations], families: np.ndarray) -> np.ndarray:
    """Coefficients (terms, r), those of the constant excepted, from normal equations that add.

    On each principal axis of the values every family of terms above 0 has a prior variance by evidence (MacKay's fixed
    point).
    """
    gram, moment, signal = (np.sum([part[i] for part in parts], axis=0) for i in range(3))
    mean = moment[0] / gram[0, 0]  # the first term is constant
    axes = np.linalg.eigh(signal - np.outer(moment[0], mean))[1]
    moment = (moment - np.outer(gram[:, 0], mean)) @ axes
    size, num_axes = moment.shape
    steady = 1e-9 * np.trace(gram) / size
    precision = np.tile(np.where(families >= 1, 1.0, 0.0), (num_axes, 1))
    coefficients = np.zeros((num_axes, size))
    for _ in range(_EVIDENCE_ITERATIONS):
        covariance = np.linalg.inv(gram + (precision + steady)[:, :, None] * np.eye(size))
        coefficients = np.einsum("rst,tr->rs", covariance, moment)
        determined = 1.0 - precision * np.diagonal(covariance, axis1=1, axis2=2)
        for family in range(1, int(families.max()) + 1):
            group = families == family
            freedom = np.maximum(determined[:, group].sum(axis=1), _LEAST_FREEDOM)
            squares = np.maximum((coefficients[:, group] ** 2).sum(axis=1), 1e-12)
            precision[:, group] = np.clip(freedom / squares, 1e-6, 1e10)[:, None]
    return coefficients.T @ axes.T
