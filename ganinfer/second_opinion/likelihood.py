"""The Poisson likelihood of a joint site frequency spectrum, expected by moments (doi:10.1534/genetics.117.200493).

Mutation rate and length are known, so the expected number of sites is too. Sites are linked, so the likelihood is a
composite one: its maximum is right, and how sure it is has to come from blocks.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import ModuleType

import numpy as np

from ganinfer.interfaces import NeutralModel
from ganinfer.models.graphs import without_idle_pulses
from ganinfer.parameters import Parameters
from ganinfer.second_opinion.spectra import Spectra
from ganinfer.simulation import Setup, simulator

#: Step of numerical derivatives, as a share of a parameter's range.
_STEP = 1e-3
#: Spectra are computed for so many chromosomes of a population at least, by the number of populations, and projected:
#: with migration, what moments closes its equations by is far off for few (times of splits by half at ten).
_LEAST = {1: 30, 2: 30, 3: 20, 4: 12, 5: 8}
#: The residual of every cell where the model is impossible: far, and finite, as derivatives across the border must be.
_IMPOSSIBLE = 1e3
#: A refinement ends with a step this short, in standard deviations of an estimate (Fisher information): of the fit
#: itself, and of a bootstrap data set, whose scatter is all that is wanted.
_SHORT, _SHORT_OF_MANY = 0.03, 0.1
_MAX_STEPS = 15
_ROUND_OFF = 1e-9
#: An axis with a smaller share of the information has none.
EMPTY = 1e-12
#: Closer to zero than so many standard deviations (Fisher information; linkage about doubles them), an estimate whose
#: bounds lie to both sides of it is looked for on either: a migration that turns round has a kink there.
_CLOSE_TO_ZERO = 6.0
#: Searches from afar end where a step gains or moves less than this share; the best goes on.
_ENOUGH, _NEAR = 1e-5, 1e-4
_MAX_EVALUATIONS = 60
#: The largest share of sites whose ancestral allele may be taken for the derived one.
MOST_MISIDENTIFIED = 0.25
#: Starts are fitted to spectra projected to at most so many chromosomes a population; the best goes on in full.
COARSE = 20


def program() -> ModuleType:
    """moments, whose import would have the whole process warn of whatever happens once."""
    with warnings.catch_warnings():
        import moments
    return moments


@dataclass(frozen=True, eq=False)
class Job:
    """A spectrum and all that its fit needs, as plain data for workers.

    ``counts`` as in :class:`ganinfer.second_opinion.spectra.Spectra`, with the cells ``used``; ``misidentified``: the
    share of sites that have their alleles the wrong way round is fitted, too.
    """

    setup: Setup
    populations: tuple[str, ...]
    counts: np.ndarray
    used: np.ndarray
    length: float
    folded: bool
    misidentified: bool

    @classmethod
    def of(cls, setup: Setup, spectra: Spectra, *, misidentified: bool) -> Job:
        """The job of all groups; what folding makes of wrong ancestral alleles needs no fit."""
        parts = spectra.populations, spectra.total, spectra.used, spectra.length, spectra.folded
        return cls(setup, *parts, misidentified and not spectra.folded)

    @property
    def coarse(self) -> Job | None:
        """The same projected to few chromosomes, where that saves time and all sites are there."""
        shape = self.counts.shape
        if len(shape) == 1 or max(shape) - 1 <= COARSE or not self.complete:
            return None
        sizes = [min(n - 1, COARSE) for n in shape]
        counts = np.asarray(program().Spectrum(self.counts, mask_corners=False).project(sizes).data)
        used = np.ones(counts.shape, dtype=bool)
        used.flat[[0, -1]] = False
        return replace(self, counts=counts, used=used)

    @property
    def complete(self) -> bool:
        """Whether every cell of a variable site is used."""
        return int(self.used.sum()) == self.used.size - 2


@dataclass(frozen=True, eq=False)
class Box:
    """Bounds ``low`` and ``high`` of coordinates, (p,) or one for all."""

    low: np.ndarray
    high: np.ndarray

    def halves(self, zero: np.ndarray, i: int) -> tuple[Box, Box]:
        """What is above and what is below the value that ``zero`` (p,) has at ``i``."""
        low, high = (np.broadcast_to(end, zero.shape) for end in (self.low, self.high))
        at = np.arange(len(zero)) == i
        return Box(np.where(at, zero, low), high), Box(low, np.where(at, zero, high))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The point of the box that is next to another one."""
        return np.clip(x, self.low, self.high)


#: All values of all coordinates.
_WHOLE = Box(np.array(1.0), np.array(2.0))


class Coordinates:
    """Parameters in [1, 2]: the logarithm where a parameter can't be 0 or less, stretched to its bounds.

    Away from 0, where relative steps of numerical derivatives would vanish.
    """

    def __init__(self, bounds: np.ndarray):
        self._bounds = bounds
        self._logarithmic = bounds[:, 0] > 0
        ends = self._transformed(bounds.T)
        self._low, self._range = ends[0], ends[1] - ends[0]
        #: Those (p,) bool that have 0 inside their bounds, and where that is.
        self.both_signs = (bounds[:, 0] < 0) & (bounds[:, 1] > 0)
        self.zero = self.encode(np.where(self._logarithmic, bounds[:, 0], 0.0))

    def _transformed(self, vectors: np.ndarray) -> np.ndarray:
        return np.where(self._logarithmic, np.log(np.where(self._logarithmic, vectors, 1.0)), vectors)

    def encode(self, vectors: np.ndarray) -> np.ndarray:
        return 1 + (self._transformed(vectors) - self._low) / self._range

    def decode(self, x: np.ndarray) -> np.ndarray:
        values = self._low + (x - 1) * self._range
        found = np.where(self._logarithmic, np.exp(np.where(self._logarithmic, values, 0.0)), values)
        # Over the logarithm a bound may come back a little outside of itself, where no model is possible.
        found = np.where(np.abs(x - 1) < _ROUND_OFF, self._bounds[:, 0], found)
        return np.where(np.abs(x - 2) < _ROUND_OFF, self._bounds[:, 1], found)


def deviance_residuals(observed: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Signed square roots of each cell's Poisson deviance: half the sum of their squares is a negative likelihood."""
    expected = np.maximum(expected, 1e-12)
    ratio = np.where(observed > 0, observed, 1.0) / expected
    logarithm = np.where(observed > 0, observed * np.log(ratio), 0.0)
    return np.sign(observed - expected) * np.sqrt(2 * np.maximum(expected - observed + logarithm, 0.0))


def deviance_slopes(observed: np.ndarray, expected: np.ndarray, residuals: np.ndarray) -> np.ndarray:
    """Derivatives of :func:`deviance_residuals` by what is expected.

    The usual -1 / sqrt(expected) holds where the two are close, but in sparse cells it leads beside the maximum.
    """
    close = np.abs(residuals) < _ROUND_OFF**0.5
    return np.where(close, -1 / np.sqrt(expected), (1 - observed / expected) / np.where(close, 1.0, residuals))


class Likelihood:
    """Of one spectrum, at points (p,) of its :class:`Coordinates`; raises what the simulator or moments raises."""

    def __init__(self, job: Job):
        self._job, self._simulator = job, simulator(job.setup)
        self.parameters: Parameters = self._simulator.parameters
        extra = np.array([[0.0, MOST_MISIDENTIFIED]] * job.misidentified).reshape(-1, 2)
        self.coordinates = Coordinates(np.concatenate([self.parameters.bounds, extra]))
        self._sizes = [n - 1 for n in job.counts.shape]
        self.observed = self.of(job.counts)

    @cached_property
    def _used(self) -> np.ndarray:
        moments = program()
        folded = np.ma.getmaskarray(moments.Spectrum(self._job.counts).fold()) if self._job.folded else False
        return self._job.used & ~np.asarray(folded)

    def of(self, counts: np.ndarray) -> np.ndarray:
        """The cells (c,) that are compared, of another spectrum of the same shape."""
        moments = program()
        spectrum = moments.Spectrum(counts)
        return np.asarray((spectrum.fold() if self._job.folded else spectrum).data)[self._used]

    def encode(self, theta: np.ndarray) -> np.ndarray:
        """The point of a vector (p,) of the parameters; nothing is misidentified there."""
        return self.coordinates.encode(np.concatenate([theta, [0.0] * self._job.misidentified]))

    def expected(self, x: np.ndarray) -> np.ndarray:
        """Expected sites (c,); raises ``ValueError`` where the model is impossible."""
        moments = program()
        vector = self.coordinates.decode(x)
        job, size = self._job, len(self.parameters)
        if not self.parameters.satisfies_constraints(vector[None, :size])[0]:
            raise ValueError("the constraints of the options file are broken")
        least = _LEAST[len(self._sizes)]
        computed = [max(n, least) for n in self._sizes]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model: NeutralModel = self._simulator.neutral_model(self.parameters.named(vector[:size]))
            sampled = [model.demes.get(name, name) for name in job.populations]
            # A pulse that moves nobody takes moments as long as one that does.
            graph, rate = without_idle_pulses(model.graph), model.mutation_rate * job.length
            found = moments.Demes.SFS(graph, sampled, computed, unsampled_n=least, u=rate).project(self._sizes)
            wrong = vector[size] if job.misidentified else model.misidentified
            if wrong > 0:
                found = moments.Misc.flip_ancestral_misid(found, wrong)
            return np.asarray((found.fold() if job.folded else found).data)[self._used]

    def residuals(self, x: np.ndarray, observed: np.ndarray | None = None) -> np.ndarray:
        """Deviance residuals; very large where the model is impossible, so that no step goes there."""
        observed = self.observed if observed is None else observed
        try:
            return deviance_residuals(observed, self.expected(x))
        except ValueError:
            return np.full(observed.shape, _IMPOSSIBLE)

    def log_likelihood(self, x: np.ndarray) -> float:
        """Less its largest possible value, that of a model which expects exactly what was seen."""
        return -0.5 * float((self.residuals(x) ** 2).sum())

    def search(self, start: np.ndarray) -> np.ndarray:
        """The maximum nearest to ``start`` inside the bounds, by least squares of the deviance residuals."""
        from scipy.optimize import least_squares

        found = least_squares(
            self.residuals,
            np.clip(start, 1 + 1e-4, 2 - 1e-4),
            bounds=(1.0, 2.0),
            diff_step=_STEP,
            ftol=_ENOUGH,
            xtol=_NEAR,
            gtol=_ENOUGH,
            max_nfev=_MAX_EVALUATIONS,
        )
        return np.asarray(found.x)

    def around(self, x: np.ndarray, box: Box = _WHOLE) -> Around:
        """What is expected at ``x``, with derivatives, one-sided, away from the nearer bound of ``box``.

        Raises ``ValueError`` where the model is impossible there, or to both sides.
        """
        here, upwards = self.expected(x), x < (box.low + box.high) / 2
        slopes = np.stack([self._slope(x, here, i, bool(upwards[i])) for i in range(len(x))], axis=1)
        return Around(x, np.maximum(here, 1e-12), slopes, box)

    def _slope(self, x: np.ndarray, here: np.ndarray, i: int, upwards: bool) -> np.ndarray:
        step = np.zeros(len(x))
        step[i] = _STEP if upwards else -_STEP
        try:
            return (self.expected(x + step) - here) / step[i]
        except ValueError:  # over a border that is none of the bounds
            return (here - self.expected(x - step)) / step[i]

    def sides(self, around: Around) -> list[Box]:
        """The boxes next to a point, each on one side of every zero that is close."""
        spread = np.sqrt(np.diag(np.linalg.pinv(around.information, rcond=1e-12, hermitian=True)))
        away = around.x - self.coordinates.zero
        close = np.flatnonzero(self.coordinates.both_signs & (np.abs(away) < _CLOSE_TO_ZERO * spread))
        found = [around.box]
        for i in close:
            found = [half for box in found for half in box.halves(self.coordinates.zero, int(i))]
        return found

    def refine(self, around: Around, observed: np.ndarray | None = None, short: float = _SHORT) -> np.ndarray:
        """The maximum close to a point, for spectra that take moments long: Gauss-Newton with one set of derivatives.

        They are corrected by what every step shows (Broyden 1965, doi:10.1090/S0025-5718-1965-0198670-6). It stays in
        the box that ``around`` is of, and ends where the whole step is ``short``. ``observed`` (c,): other cells than
        the job's.
        """
        from scipy.optimize import lsq_linear

        cells = self.observed if observed is None else observed
        x, share, box = around.x, 1.0, around.box
        residuals = deviance_residuals(cells, around.expected)
        slopes = deviance_slopes(cells, around.expected, residuals)[:, None] * around.slopes
        for _ in range(_MAX_STEPS):
            # Bounded, so that what stands at a bound leaves the others free.
            found = lsq_linear(slopes, -residuals, bounds=(box.low - x - _ROUND_OFF, box.high - x + _ROUND_OFF))
            whole = float(np.linalg.norm(slopes @ found.x))
            trial = np.clip(x + share * found.x, box.low, box.high)
            step = trial - x
            if not step.any():
                break
            after = self.residuals(trial, cells)
            if after[0] != _IMPOSSIBLE:
                slopes = slopes + np.outer(after - residuals - slopes @ step, step) / (step @ step)
            if after @ after < residuals @ residuals:
                x, residuals, share = trial, after, min(1.0, 2 * share)
            else:
                share /= 2
            if whole < short:
                break
        return x

    def refit(self, sides: Sequence[Around], observed: np.ndarray) -> np.ndarray:
        """The maximum (p,) for other cells ``observed`` (c,), the best of those found from each of the ``sides``."""
        ends = [self.refine(around, observed, _SHORT_OF_MANY) for around in sides]
        return min(ends, key=lambda x: float((self.residuals(x, observed) ** 2).sum())) if ends[1:] else ends[0]


@dataclass(frozen=True, eq=False)
class Around:
    """A point ``x`` (p,) of coordinates, the sites ``expected`` (c,) there, and their derivatives ``slopes`` (c, p).

    In the ``box`` that the point lies in: over its bounds derivatives may be others.
    """

    x: np.ndarray
    expected: np.ndarray
    slopes: np.ndarray
    box: Box = _WHOLE

    @property
    def information(self) -> np.ndarray:
        """(p, p) expected information of sites that were independent."""
        return self.slopes.T @ (self.slopes / self.expected[:, None])


@dataclass(frozen=True, eq=False)
class Start:
    """A search to make: the job, and the vector (p,) of parameters it begins at."""

    job: Job
    theta: np.ndarray


@dataclass(frozen=True, eq=False)
class Found:
    """Where a search ended, as a point of :class:`Coordinates`, and the log likelihood there."""

    x: np.ndarray
    log_likelihood: float


def searched(start: Start) -> Found:
    """What a worker makes of a start; one that fails is as bad as can be, since others may not."""
    likelihood = Likelihood(start.job)
    x = likelihood.encode(start.theta)
    try:
        x = likelihood.search(x)
    except (ValueError, ArithmeticError, np.linalg.LinAlgError):
        return Found(x, -np.inf)
    return Found(x, likelihood.log_likelihood(x))


@dataclass(frozen=True, eq=False)
class Again:
    """Fits of other spectra like that of the job, each ``counts`` of its shape.

    From ``sides``: the job's own maximum, and where a zero is close, that of every side of it.
    """

    job: Job
    sides: Sequence[Around]
    counts: Sequence[np.ndarray]


def refitted(again: Again) -> np.ndarray:
    """Vectors (k, p) of the parameters, and what is misidentified; what a worker makes of a part of a bootstrap."""
    likelihood = Likelihood(again.job)
    found = [likelihood.refit(again.sides, likelihood.of(counts)) for counts in again.counts]
    return np.stack([likelihood.coordinates.decode(x) for x in found])


def sandwich(around: Around, groups: Sequence[np.ndarray], shares: np.ndarray, least: float = EMPTY) -> np.ndarray:
    """Covariance (p, p) at a maximum: Godambe's, scores by groups of blocks (doi:10.1093/molbev/msv255).

    Expected information takes the place of second derivatives. ``groups``: the cells (c,) of each, which has ``shares``
    (g,) of the length. ``least``: axes with a smaller share of the information (:func:`principal`) are left out.
    """
    pairs = zip(groups, shares, strict=True)
    scores = np.stack([(cells / around.expected - share) @ around.slopes for cells, share in pairs])
    scores = scores - scores.mean(axis=0)
    spread = scores.T @ scores * len(groups) / max(len(groups) - 1, 1)
    values, axes = principal(around.information)
    kept = axes[:, values > least]
    inverse = (kept / values[values > least]) @ kept.T
    return inverse @ spread @ inverse


def principal(information: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values (p,), rising, and axes (p, p), one a column, of an ``information`` (p, p), parameters in standard errors.

    So that no value depends on units; they add up to p. Axes are in the parameters' own units again, and of length 1 in
    standard errors.
    """
    errors = 1 / np.sqrt(np.maximum(np.diag(information), 1e-300))
    values, axes = np.linalg.eigh(information * np.outer(errors, errors))
    return values, axes * errors[:, None]
