"""How probable the real means are under each scenario as a whole: local emulators, integrated over the priors.

Every scenario has been matched to the real windows; fresh proposals lie around its solution. *Blocks* of statistics
(the classical ones, and what the network of each fold adds) are looked at along the few directions in which proposals
of all scenarios differ, found on some proposals; on others, a polynomial in each scenario's parameters gives the mean
along them. With it the normal likelihood of the real means is integrated over the scenario's prior by importance
sampling. Genomes drawn window by window from the pool of fresh windows say how far to believe the outcome.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ganinfer.generators.emulator import Basis, Coordinates, within_covariance
from ganinfer.generators.misfit import linkage_inflation
from ganinfer.generators.scores import whitening
from ganinfer.parameters import Parameters

#: Fresh proposals lie so much further out than the posterior's draws: those to learn from, where directions have to
#: stand out of the noise, and those to judge by.
LEARN, JUDGE = 3.0, 1.5
#: Draws of an integral over a prior, and degrees of freedom and scale of the distribution that they come from.
_DRAWS, _FREEDOM, _SCALE = 20_000, 5.0, 1.5
#: Up to this multiple of the fresh proposals' 95 % squared radius the emulator is believed.
_REACH = 1.5
#: Draws of a prior that are tried for constraints, and draws of an integral that are tried for impossible models.
_TRIED = 2_000
#: A misfit that noise alone would exceed with less than this probability is believed.
_RARE = 1e-3
_GENOMES_AT_ONCE = 50
#: Fresh windows to judge by for each real one, at least and at most: an emulator of p parameters adds to the variance
#: of the data about (1 + p / 2) of what so many real windows are of the fresh ones.
_PER_REAL, _LEAST_WINDOWS, _MOST_WINDOWS = 12, 4_000, 60_000
#: Of directions taken together, what varies less than this, each of them counting as 1, is left out.
_ALIKE = 0.4
_LEAST = 1e-300
#: Weight of a unit of the coordinates where the data say nothing of a parameter.
_RIDGE = 0.05


@dataclass(frozen=True, eq=False)
class Block:
    """Statistics of windows that are averaged over the same real windows.

    ``learn`` and ``judge``, one array a scenario: (k, w, d) of k proposals with w windows each, from which directions
    are found, and by which emulators are fitted; of ``learn`` the proposals ``learnt`` (k,) bool only. ``real`` (m, d)
    of real windows, ``group`` (m,) the block of linked windows that each lies in. The first ``explained`` columns are
    another block's, and only there to be regressed out. Of the others, ``given`` (d - explained, J) are directions that
    are known beforehand. What even the closest scenario misses of the real means counts like more variance between
    windows: ``missed`` (d - explained,), or where nobody knows it statistic by statistic, their own times ``error``
    squared. ``fold``: the fold whose real windows these are, ``None`` for all.
    """

    learn: Sequence[np.ndarray]
    judge: Sequence[np.ndarray]
    learnt: Sequence[np.ndarray]
    real: np.ndarray
    group: np.ndarray
    given: np.ndarray
    missed: np.ndarray | None = None
    error: float = 0.0
    explained: int = 0
    fold: int | None = None


@dataclass(frozen=True, eq=False)
class Contender:
    """A scenario at its solution: ``posterior`` (n, p) draws, and the fresh proposals (k, p) of both kinds."""

    name: str
    parameters: Parameters
    posterior: np.ndarray
    learn: np.ndarray
    judge: np.ndarray

    @property
    def coordinates(self) -> Coordinates:
        return Coordinates.of_cloud(self.parameters, self.posterior)


def judging_windows(num_real: int) -> int:
    """Fresh windows of each scenario that so many real ones need, within what memory holds."""
    return min(max(_PER_REAL * num_real, _LEAST_WINDOWS), _MOST_WINDOWS)


def widened(
    parameters: Parameters, posterior: np.ndarray, size: int, factor: float, rng: np.random.Generator
) -> np.ndarray:
    """``size`` proposals (size, p) around a posterior, further out than it by ``factor``, where the prior allows."""
    chosen = posterior[rng.choice(len(posterior), size, replace=len(posterior) < size)]
    coordinates = Coordinates.of_cloud(parameters, posterior)
    moved = coordinates.decode(factor * coordinates.encode(chosen))
    inside = np.isfinite(parameters.log_prior(moved))
    inside[inside] = parameters.possible(moved[inside])
    return np.where(inside[:, None], moved, chosen)


# --- directions ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Directions:
    """Linear maps from a block's columns to J directions: ``slopes`` (explained, rest) and ``axes`` (rest, J)."""

    slopes: np.ndarray
    axes: np.ndarray

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """(..., J) of (..., d): what the explained columns do not say of the others, along the axes."""
        return np.asarray(self.rest(values) @ self.axes)

    def rest(self, values: np.ndarray) -> np.ndarray:
        """(..., rest) of (..., d)."""
        size = len(self.slopes)
        return np.asarray(values[..., size:] - values[..., :size] @ self.slopes) if size else values


@dataclass(frozen=True, eq=False)
class Looked:
    """A block along its directions: ``judge`` (k, w, J) a scenario, the ``real`` mean (J,), and that mean's noise.

    ``share``: variance of the real mean as a share of the variance between windows, linkage included; ``missed``
    (J, J) adds to that variance; ``windows``: how many real ones, those of a ``fold`` or all.
    """

    directions: Directions
    judge: list[np.ndarray]
    real: np.ndarray
    share: float
    missed: np.ndarray
    windows: int
    fold: int | None


def look(block: Block, contenders: Sequence[Contender]) -> Looked:
    """The block along the directions in which proposals differ by more than their noise, and those given."""
    learn = [values[keep] for values, keep in zip(block.learn, block.learnt, strict=True)]
    slopes = _slopes(block.explained, learn)
    rest = Directions(slopes, np.empty(0)).rest
    learn = [rest(values) for values in learn]
    proposals = [c.learn[keep] for c, keep in zip(contenders, block.learnt, strict=True)]
    within = _within(learn)
    more = block.error**2 * np.diag(within) if block.missed is None else block.missed
    metric = within + np.diag(more)
    found = _directions(learn, metric, contenders, proposals)
    axes = _condensed(np.concatenate([block.given, found], axis=1), metric)
    directions, missed = Directions(slopes, axes), axes.T @ (more[:, None] * axes)
    looked, judge = directions(block.real), [directions(v) for v in block.judge]
    share = noise_share(looked, block.group)
    return Looked(directions, judge, looked.mean(axis=0), share, missed, len(looked), block.fold)


def noise_share(real: np.ndarray, group: np.ndarray) -> float:
    """Variance of the mean of ``real`` (m, d) as a share of that between windows, those of a ``group`` being linked."""
    return linkage_inflation(real, group) / len(real) if real.shape[1] else 1.0


def _condensed(axes: np.ndarray, metric: np.ndarray) -> np.ndarray:
    """(d, r) directions in which the columns of ``axes`` (d, J) lie, those that are nearly alike as one.

    Of the parameters that scenarios share each has much the same direction, and every direction more brings the
    emulators' noise with it.
    """
    white = whitening(metric)
    # In whitened columns; white has a left inverse there, metric @ white being its transposed.
    inner = (metric @ white).T @ axes
    size = np.linalg.norm(inner, axis=0)
    inner = inner[:, size > 0] / size[size > 0]
    left, strength, _ = np.linalg.svd(inner, full_matrices=False)
    return np.asarray(white @ left[:, strength > _ALIKE])


def _within(values: Sequence[np.ndarray]) -> np.ndarray:
    """(d, d) covariance between windows of one proposal, all scenarios together."""
    flat = np.concatenate([v.reshape(-1, v.shape[-1]) for v in values])
    number = np.repeat(np.arange(sum(len(v) for v in values)), values[0].shape[1])
    return within_covariance(flat, number, int(number[-1]) + 1)


def _slopes(size: int, learn: Sequence[np.ndarray]) -> np.ndarray:
    """(size, rest) of the other columns on the first ``size``, as windows of one proposal have them."""
    within = _within(learn) if size else np.empty((0, 0))
    white = whitening(within[:size, :size]) if size else within
    return np.asarray(white @ (white.T @ within[:size, size:]))


def _directions(
    learn: Sequence[np.ndarray],
    metric: np.ndarray,
    contenders: Sequence[Contender],
    proposals: Sequence[np.ndarray],
) -> np.ndarray:
    """(d, r) directions along which a fit linear in every scenario's parameters moves by more than its own noise.

    A regression of reduced rank: components of what is fitted are kept above the largest that noise alone would give
    (Bai and Silverstein 2010, doi 10.1007/978-1-4419-0661-8, chapter 5), in units of the ``metric`` (d, d), windows'
    covariance and what is missed.
    """
    white = whitening(metric)
    means = [values.mean(axis=1) @ white for values in learn]
    middle = np.concatenate(means).mean(axis=0)
    fitted, terms = [], 0
    for values, contender, theta in zip(means, contenders, proposals, strict=True):
        design = Basis(theta.shape[1], 1)(contender.coordinates.encode(theta))
        fitted.append(design @ np.linalg.lstsq(design, values - middle, rcond=None)[0])
        terms += design.shape[1]
    strength, axes = np.linalg.svd(np.concatenate(fitted), full_matrices=False)[1:]
    noise = (np.sqrt(white.shape[1]) + np.sqrt(terms)) ** 2 / learn[0].shape[1]
    return np.asarray(white @ axes[strength**2 > noise].T)


# --- emulators ----------------------------------------------------------------------------------------------------


class LocalMean:
    """Means along all directions as a polynomial in a scenario's coordinates.

    ``values`` (k, w, J) of proposals at ``x`` (k, p). Its bent terms are shrunk as far as makes it foretell proposals
    best that it was not fitted to. ``within`` (J, J): covariance between windows of one proposal; ``error`` (J, J):
    that of the means of proposals around the polynomial; ``missed``: what the polynomial cannot follow, as a share of
    the windows' covariance.
    """

    def __init__(self, x: np.ndarray, values: np.ndarray):
        num_windows, self.num_parameters = values.shape[1], x.shape[1]
        degree = 2 if len(Basis(x.shape[1], 2)) <= len(x) / 3 else 1
        self._basis = Basis(x.shape[1], degree)
        design, means = self._basis(x), values.mean(axis=1)
        flat = values.reshape(-1, values.shape[-1])
        self.within = within_covariance(flat, np.repeat(np.arange(len(x)), num_windows), len(x))
        self._inverse, freedom = _shrunk(design, means @ whitening(self.within), self._basis.degrees)
        self.coefficients = self._inverse @ (design.T @ means)
        residual = means - design @ self.coefficients
        self.error = residual.T @ residual / freedom
        own = self.within / num_windows
        size = max(len(own), 1)
        ratio = float(np.trace(np.linalg.lstsq(own, self.error, rcond=None)[0])) / size
        self.missed = max(ratio - 1, 0.0) / num_windows if ratio > 1 + 2 * np.sqrt(2 / (size * freedom)) else 0.0

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """(n, J) means at (n, p)."""
        return np.asarray(self._basis(x) @ self.coefficients)

    def leverage(self, x: np.ndarray) -> np.ndarray:
        """(n,) variance of the mean at (n, p), as a multiple of ``error``."""
        design = self._basis(x)
        return np.asarray(np.einsum("nt,ts,ns->n", design, self._inverse, design))

    def errors(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(n, J) draws of the emulator's own error at (n, p), each of another emulator."""
        root = np.linalg.cholesky(self.error + 1e-9 * np.diag(np.diag(self.error) + _LEAST))
        return np.asarray(np.sqrt(self.leverage(x))[:, None] * rng.standard_normal((len(x), len(root))) @ root.T)


def _shrunk(design: np.ndarray, means: np.ndarray, degrees: np.ndarray) -> tuple[np.ndarray, float]:
    """The inverse (terms, terms) of a regression's normal equations, and its residuals' degrees of freedom.

    Terms of degree two are shrunk by the ridge that leaves the least squares of ``means`` (k, J), each foretold by all
    others.
    """
    gram, least = design.T @ design, (np.inf, 0.0)
    for ridge in (*np.geomspace(1e-2, 1e4, 13) * len(design), 0.0) if (degrees > 1).any() else (0.0,):
        inverse = np.linalg.pinv(gram + ridge * np.diag(degrees > 1))
        hat = np.einsum("nt,ts,ns->n", design, inverse, design)
        residual = (means - design @ (inverse @ (design.T @ means))) / np.maximum(1 - hat, 1e-6)[:, None]
        least = min(least, (float((residual**2).sum()), float(ridge)))
    inverse = np.linalg.pinv(gram + least[1] * np.diag(degrees > 1))
    return inverse, max(len(design) - float(np.trace(gram @ inverse)), 1.0)


@dataclass(frozen=True, eq=False)
class Likelihood:
    """A scenario's normal likelihood of mean statistics; ``noise`` (J, J) covariance of the data's own."""

    emulator: LocalMean
    noise: np.ndarray

    def __call__(self, means: np.ndarray, x: np.ndarray) -> np.ndarray:
        """(n, m) log likelihood of ``means`` (n, J) at coordinates (m, p)."""
        rotated, ratio, log_size = self._axes()
        leverage = self.emulator.leverage(x)[:, None]
        variance = 1 + ratio * leverage
        expected, seen = self.emulator(x) @ rotated, means @ rotated
        out = np.empty((len(means), len(x)))
        constant = -0.5 * (np.log(variance).sum(axis=1) + log_size)
        for start in range(0, len(means), _GENOMES_AT_ONCE):
            part = slice(start, start + _GENOMES_AT_ONCE)
            # Of all pairs, without an array of pairs times directions.
            square = (seen[part] ** 2) @ (1 / variance).T - 2 * seen[part] @ (expected / variance).T
            out[part] = constant - 0.5 * (square + (expected**2 / variance).sum(axis=1))
        return out

    def _axes(self) -> tuple[np.ndarray, np.ndarray, float]:
        """Axes in which noise is one and the emulator's error diagonal, that diagonal, and log |noise|."""
        noise = self.noise + self.emulator.missed * self.emulator.within
        values, vectors = np.linalg.eigh(noise)
        values = np.maximum(values, 1e-12 * values.max(initial=_LEAST))
        white = vectors / np.sqrt(values)
        ratio, turned = np.linalg.eigh(white.T @ self.emulator.error @ white)
        return white @ turned, np.maximum(ratio, 0.0), float(np.log(values).sum())

    def estimate(self, means: np.ndarray) -> np.ndarray:
        """(n, p) coordinates that fit ``means`` (n, J) best, by the emulator's slopes in the middle."""
        step = 0.5 * np.eye(self.emulator.num_parameters)
        slopes = self.emulator(step) - self.emulator(-step)
        middle = self.emulator(np.zeros((1, len(step))))
        precision = np.linalg.pinv(self.noise + self.emulator.missed * self.emulator.within)
        gram = slopes @ precision @ slopes.T + _RIDGE * np.eye(len(step))
        return np.asarray(np.linalg.solve(gram, slopes @ precision @ (means - middle).T).T)

    def distance(self, mean: np.ndarray, x: np.ndarray) -> float:
        """The smallest squared distance of one ``mean`` (J,) from the emulator's over (m, p), in units of its noise."""
        rotated, ratio, _ = self._axes()
        variance = 1 + ratio * self.emulator.leverage(x)[:, None]
        return float((((mean - self.emulator(x)) @ rotated) ** 2 / variance).sum(axis=1).min())


@dataclass(frozen=True, eq=False)
class Evidence:
    """``log_value``: of the real means under a scenario, its prior integrated out; ``effective``: draws behind it."""

    log_value: float
    effective: float


def evidence(contender: Contender, likelihood: Likelihood, mean: np.ndarray, rng: np.random.Generator) -> Evidence:
    """Of one ``mean`` (J,), over the scenario's prior, around its solution where the emulator is believed."""
    coordinates, parameters = contender.coordinates, contender.parameters
    size = len(coordinates.centre)
    squares = rng.chisquare(_FREEDOM, _DRAWS) / _FREEDOM
    x = _SCALE * rng.standard_normal((_DRAWS, size)) / np.sqrt(squares)[:, None]
    log_drawn = _log_t(x / _SCALE) - size * np.log(_SCALE)
    inside = (x**2).sum(axis=1) <= _reach(contender)
    x, log_drawn = x[inside], log_drawn[inside]
    log_prior = _log_prior(parameters, coordinates, x)
    known = np.isfinite(log_prior)
    x, weight = x[known], log_prior[known] - log_drawn[known]
    weight = weight + likelihood(mean[None], x)[0]
    largest = weight.max(initial=-np.inf)
    if not np.isfinite(largest):
        return Evidence(-np.inf, 0.0)
    share = np.exp(weight - largest)
    total = share.sum()
    tried = x[rng.choice(len(x), min(_TRIED // 10, len(x)), p=share / total)]
    possible = max(parameters.possible(coordinates.decode(tried)).mean(), 1 / len(tried))
    log_value = float(largest + np.log(total / _DRAWS) + np.log(possible) - _log_acceptance(parameters, rng))
    return Evidence(log_value, float(total**2 / (share**2).sum()))


def _reach(contender: Contender) -> float:
    """The squared radius up to which a scenario's emulator is believed."""
    fresh = contender.coordinates.encode(contender.judge)
    return float(_REACH * np.quantile((fresh**2).sum(axis=1), 0.95))


def _log_t(x: np.ndarray) -> np.ndarray:
    """Log density (n,) of the multivariate t distribution with unit scale."""
    from scipy.special import gammaln

    size = x.shape[1]
    constant = gammaln((_FREEDOM + size) / 2) - gammaln(_FREEDOM / 2) - size / 2 * np.log(_FREEDOM * np.pi)
    return np.asarray(constant - (_FREEDOM + size) / 2 * np.log1p((x**2).sum(axis=1) / _FREEDOM))


def _log_prior(parameters: Parameters, coordinates: Coordinates, x: np.ndarray) -> np.ndarray:
    """Log density (n,) of the product of marginals over coordinates, minus infinity outside of constraints."""
    theta = coordinates.decode(x)
    logarithmic = np.where(coordinates.logarithmic, np.maximum(theta, _LEAST), 1.0)
    volume = np.linalg.slogdet(coordinates.axes)[1]
    mass = sum(parameter.log_mass() for parameter in parameters)
    return np.asarray(parameters.log_prior(theta) - mass + np.log(logarithmic).sum(axis=1) + volume)


def _log_acceptance(parameters: Parameters, rng: np.random.Generator) -> float:
    """Log of the share of the product of marginals that constraints and impossible models leave."""
    tried = parameters.from_unit(rng.random((_TRIED, len(parameters))))
    return float(np.log(max(parameters.possible(tried).mean(), 1 / _TRIED)))


def dispersion(likelihoods: Sequence[Likelihood], contenders: Sequence[Contender], mean: np.ndarray) -> float:
    """How much further than noise explains even the scenario that is closest lies from the real means, at least 1.

    As the factor of a quasi-likelihood (McCullagh and Nelder 1989, doi 10.1007/978-1-4899-3242-6); a distance that
    noise may well make is 1.
    """
    from scipy.stats import chi2

    ratios = []
    for likelihood, contender in zip(likelihoods, contenders, strict=True):
        x = contender.coordinates.encode(contender.posterior)
        best = likelihood.estimate(mean[None])
        inside = np.isfinite(_log_prior(contender.parameters, contender.coordinates, best))
        known = (best**2).sum(axis=1) <= _reach(contender)
        distance = likelihood.distance(mean, np.concatenate([x, best[inside & known]]))
        freedom = len(mean) - x.shape[1]
        rare = freedom < 1 or distance <= chi2.isf(_RARE, freedom)
        ratios.append(1.0 if rare else distance / freedom)
    return max(1.0, min(ratios))


# --- genomes ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Genomes:
    """Simulated data sets: ``means`` (n, J) along the directions, and those of all classical statistics (n, d)."""

    means: np.ndarray
    classical: np.ndarray

    def __len__(self) -> int:
        return len(self.means)

    def __getitem__(self, part: slice) -> Genomes:
        return Genomes(self.means[part], self.classical[part])


def genomes(
    contender: Contender,
    looked: Sequence[Looked],
    classical: np.ndarray,
    share: float,
    size: int,
    rng: np.random.Generator,
) -> Genomes:
    """``size`` genomes as large as the real one under draws of a scenario's posterior.

    Means are the emulator's with errors of its own; the windows' noise is drawn from the fresh windows, for each fold
    as many of them as it has real ones, and inflated by what linkage does to the real means. ``looked``: what
    :func:`look` made of the blocks, with this scenario's ``judge`` only; ``classical`` (k, w, d) all classical
    statistics of the same windows, and the ``share`` that the noise of their real means is.
    """
    x = contender.coordinates.encode(contender.judge)
    values = np.concatenate([*(part.judge[0] for part in looked), classical], axis=-1)
    emulator = LocalMean(x, values)
    residual = (values - emulator(x)[:, None]).reshape(-1, values.shape[-1])
    residual -= residual.mean(axis=0)
    drawn = contender.coordinates.encode(contender.posterior[rng.choice(len(contender.posterior), size)])
    out = emulator(drawn) + emulator.errors(drawn, rng)
    widths = [*(part.judge[0].shape[-1] for part in looked), classical.shape[-1]]
    edges = np.cumsum([0, *widths])
    blocks = [*((part.fold, part.share) for part in looked), (None, share)]
    # The whole is made of folds; where there are none it is one.
    numbers = {part.fold: part.windows for part in looked if part.fold is not None} or {0: looked[0].windows}
    for start in range(0, size, _GENOMES_AT_ONCE):
        rows = slice(start, min(start + _GENOMES_AT_ONCE, size))
        noise = {fold: _summed(residual, number, rows.stop - start, rng) for fold, number in numbers.items()}
        for (fold, own), left, right in zip(blocks, edges, edges[1:], strict=False):
            used = [fold] if fold is not None else list(numbers)
            total, number = sum(noise[f][:, left:right] for f in used), sum(numbers[f] for f in used)
            out[rows, left:right] += total * np.sqrt(own / number)
    return Genomes(out[:, : edges[-2]], out[:, edges[-2] :])


def _summed(residual: np.ndarray, number: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """(size, d) sums of ``number`` rows of ``residual`` (n, d), drawn with replacement."""
    counts = rng.multinomial(number, np.full(len(residual), 1 / len(residual)), size=size)
    return np.asarray(counts @ residual)
