"""Evidence of scenarios from windows' means: right where it is known, and reliable on genomes.

Windows here are normal vectors whose mean is linear in the parameters, so that everything can be worked out exactly.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import logsumexp

from ganinfer import calibration
from ganinfer.evidence import (
    JUDGE,
    LEARN,
    Block,
    Contender,
    Directions,
    Likelihood,
    LocalMean,
    Plain,
    dispersion,
    evidence,
    genomes,
    look,
    widened,
)
from ganinfer.parameters import Constraint, Parameter, Parameters

WIDTH, WINDOWS, REAL, PROPOSALS = 8, 16, 600, 250
SPREAD = np.linspace(0.5, 2.0, WIDTH)
SLOPES = np.random.default_rng(0).standard_normal((2, WIDTH)) * 0.6
OFFSET = np.zeros(WIDTH)
OFFSET[3] = 0.15


class Toy:
    """A scenario: ``size`` parameters, and an ``offset`` of the means that no parameter makes."""

    def __init__(self, name: str, size: int, offset: np.ndarray, *, constraints: tuple[Constraint, ...] = ()):
        items = [Parameter(f"p{i}", 0.0, 2.0) for i in range(size)]
        self.name, self.offset = name, offset
        self.parameters = Parameters(tuple(items), constraints)

    def mean(self, theta: np.ndarray) -> np.ndarray:
        return np.atleast_2d(theta) @ SLOPES[: len(self.parameters)] + self.offset

    def windows(self, theta: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
        noise = rng.standard_normal((len(theta), size, WIDTH)) * SPREAD
        return self.mean(theta)[:, None] + noise

    def posterior(self, real: np.ndarray, rng: np.random.Generator, size: int = 2_000) -> np.ndarray:
        theta = self.parameters.sample(rng, 200_000)
        density = self.log_likelihood(real, theta)
        weight = np.exp(density - density.max())
        return theta[rng.choice(len(theta), size, p=weight / weight.sum())]

    def log_likelihood(self, real: np.ndarray, theta: np.ndarray) -> np.ndarray:
        """Of a genome's mean, without the constant that all scenarios share."""
        return -0.5 * (((real - self.mean(theta)) / SPREAD) ** 2 * REAL).sum(axis=1)

    def log_evidence(self, real: np.ndarray) -> float:
        theta = self.parameters.sample(np.random.default_rng(9), 400_000)
        return float(logsumexp(self.log_likelihood(real, theta)) - np.log(len(theta)))


def matched(toys: list[Toy], real: np.ndarray, seed: int = 1, proposals: int = PROPOSALS):
    """Contenders at their solutions, a block of all statistics, and what it looks like along its directions."""
    rng = np.random.default_rng(seed)
    contenders, learn, judge = [], [], []
    for toy in toys:
        posterior = toy.posterior(real.mean(axis=0), rng)
        first, second = (widened(toy.parameters, posterior, proposals, factor, rng) for factor in (LEARN, JUDGE))
        contenders.append(Contender(toy.name, toy.parameters, posterior, first, second))
        learn.append(toy.windows(first, WINDOWS, rng))
        judge.append(toy.windows(second, WINDOWS, rng))
    everything = [np.ones(proposals, dtype=bool) for _ in toys]
    block = Block(learn, judge, everything, real, np.arange(len(real)), np.empty((WIDTH, 0)), np.zeros(WIDTH))
    return contenders, block, look(block, contenders)


def likelihoods(contenders, looked) -> list[Likelihood]:
    found = []
    for contender, judge in zip(contenders, looked.judge, strict=True):
        emulator = LocalMean(contender.coordinates.encode(contender.judge), judge)
        found.append(Likelihood(emulator, emulator.within * looked.share))
    return found


def genome(toy: Toy, theta: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return toy.windows(theta[None], REAL, rng)[0]


def test_the_evidence_is_the_integral_over_the_prior():
    """With one parameter against two, so that the volume of the prior counts; exact values by brute force.

    So many proposals leave of the emulators an error of a hundredth of the noise of 600 real windows.
    """
    toys = [Toy("one", 1, np.zeros(WIDTH)), Toy("two", 2, OFFSET)]
    apart = []
    for seed in range(1, 7):
        rng = np.random.default_rng(seed)
        real = genome(toys[1], np.array([1.0, 0.03]), rng)
        contenders, block, _ = matched(toys, real, seed, proposals=12_000)
        looked = look(replace(block, given=np.eye(WIDTH)), contenders)
        found = [
            evidence(c, likelihood, looked.real, rng).log_value
            for c, likelihood in zip(contenders, likelihoods(contenders, looked), strict=True)
        ]
        exact = [toy.log_evidence(real.mean(axis=0)) for toy in toys]
        apart.append((found[1] - found[0]) - (exact[1] - exact[0]))
    assert np.abs(apart).max() < 0.6
    assert abs(np.mean(apart)) < 0.3


def test_a_wider_prior_is_paid_for_in_whatever_unit():
    """The same scenario with a prior ten thousand times as wide has a ten thousandth of the evidence."""
    narrow = Toy("narrow", 1, np.zeros(WIDTH))
    real = genome(narrow, np.array([1.0]), np.random.default_rng(4))
    contenders, _, looked = matched([narrow], real)
    (likelihood,) = likelihoods(contenders, looked)
    found = {}
    for upper in (2.0, 2e4):
        wide = replace(contenders[0], parameters=Parameters((Parameter("p0", 0.0, upper),)))
        found[upper] = evidence(wide, likelihood, looked.real, np.random.default_rng(5)).log_value
    assert found[2.0] - found[2e4] == pytest.approx(np.log(1e4), abs=0.1)


def test_a_constraint_on_the_prior_counts():
    """Half of the prior is cut away from where the data are not: the evidence doubles."""
    free = Toy("free", 2, np.zeros(WIDTH))
    bound = Toy("bound", 2, np.zeros(WIDTH), constraints=(Constraint("p0", "p1"),))
    real = genome(free, np.array([1.5, 0.5]), np.random.default_rng(4))
    found = []
    for toy in (free, bound):
        contenders, _, looked = matched([toy], real, proposals=4_000)
        (likelihood,) = likelihoods(contenders, looked)
        found.append(evidence(contenders[0], likelihood, looked.real, np.random.default_rng(5)).log_value)
    assert found[1] - found[0] == pytest.approx(np.log(2), abs=0.35)


def test_genomes_are_as_uncertain_as_real_ones():
    toy = Toy("two", 2, np.zeros(WIDTH))
    rng = np.random.default_rng(6)
    real = genome(toy, np.array([1.0, 1.0]), rng)
    contenders, block, looked = matched([toy], real, proposals=1_500)
    drawn = genomes(contenders[0], [looked], [Plain(block.judge[0], 1 / REAL)], 2_000, rng)
    posterior = contenders[0].posterior[:2_000]
    truly = np.stack([toy.windows(theta[None], REAL, rng)[0].mean(axis=0) for theta in posterior[:500]])
    assert np.allclose(drawn.statistics.mean(axis=0), truly.mean(axis=0), atol=6 * SPREAD / np.sqrt(REAL * 100))
    # The emulator's error comes on top, which with so many proposals is small.
    ratio = drawn.statistics.var(axis=0) / truly.var(axis=0)
    assert (ratio > 0.8).all()
    assert (ratio < 1.5).all()


def test_folds_of_a_genome_have_noise_of_their_own():
    """Without statistics of all windows, too: the folds' noise is independent, and classical means are of all."""
    toy = Toy("two", 2, np.zeros(WIDTH))
    rng = np.random.default_rng(6)
    real = genome(toy, np.array([1.0, 1.0]), rng)
    contenders, block, _ = matched([toy], real, proposals=1_500)
    folds = [
        look(replace(block, real=real[k::2], group=np.arange(REAL // 2), fold=k, given=np.eye(WIDTH)), contenders)
        for k in range(2)
    ]
    drawn = genomes(contenders[0], folds, [Plain(block.judge[0], 1 / REAL)], 3_000, rng)
    size = len(folds[0].real)
    # What the parameters do moves both folds alike, and so does the emulator's error: left is the noise of both.
    apart = (drawn.means[:, :size] - drawn.means[:, size:]).var(axis=0)
    assert np.allclose(apart, 2 / (REAL // 2), rtol=0.2)


def test_probabilities_of_true_genomes_are_reliable():
    """Two scenarios that differ by half an error in the end: what is called 80 % probable is true in 80 of 100."""
    toys = [Toy("same", 2, np.zeros(WIDTH)), Toy("off", 2, 0.9 * OFFSET)]
    rng = np.random.default_rng(7)
    real = genome(toys[0], np.array([1.0, 1.0]), rng)
    contenders, block, looked = matched(toys, real)
    found = likelihoods(contenders, looked)
    particles = [c.coordinates.encode(c.posterior[:400]) for c in contenders]

    def logits(means: np.ndarray) -> np.ndarray:
        pairs = zip(found, particles, strict=True)
        return np.stack([logsumexp(likelihood(means, x), axis=1) for likelihood, x in pairs], axis=1)

    own = [
        genomes(c, [replace(looked, judge=[looked.judge[i]])], [Plain(block.judge[i], 1 / REAL)], 500, rng).means
        for i, c in enumerate(contenders)
    ]
    fitted = calibration.fit(logits(np.concatenate(own)), np.repeat([0, 1], 500))
    truly, label = [], np.repeat([0, 1], 300)
    for i, toy in enumerate(toys):
        for theta in contenders[i].posterior[rng.choice(2_000, 300)]:
            truly.append(looked.directions(toy.windows(theta[None], REAL, rng)[0]).mean(axis=0))
    probabilities = fitted.probabilities(logits(np.stack(truly)))
    accuracy = (probabilities.argmax(axis=1) == label).mean()
    assert 0.6 < accuracy < 0.98, "the problem is neither hopeless nor trivial"
    assert calibration.expected_calibration_error(probabilities, label) < 0.08
    assert 0.6 < fitted.temperature < 1.6


class Odd(Toy):
    """One window of a hundred is thirty times as far out as the others."""

    def windows(self, theta: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
        far = np.where(rng.random((len(theta), size, 1)) < 0.01, 30.0, 1.0)
        return self.mean(theta)[:, None] + far * (super().windows(theta, size, rng) - self.mean(theta)[:, None])


def test_odd_windows_do_not_decide():
    """Genomes of two scenarios come apart as they would without such windows, nearly; by plain means they would not."""
    toys = [Odd("same", 1, np.zeros(WIDTH)), Odd("off", 1, OFFSET)]
    rng, theta = np.random.default_rng(10), np.array([[1.0]])
    real = genome(toys[0], theta[0], rng)
    bounded = Directions.bounded(np.empty((0, 0)), np.eye(WIDTH)[:, [3]], real)
    plain, along = [], []
    for toy in toys:
        each = [toy.windows(theta, REAL, rng)[0] for _ in range(200)]
        plain.append([windows[:, 3].mean() for windows in each])
        along.append([bounded(windows).mean() for windows in each])

    def apart(means: list[list[float]]) -> float:
        return float((np.mean(means[1]) - np.mean(means[0])) / np.std(means[0]))

    ideal = OFFSET[3] / SPREAD[3] * np.sqrt(REAL)
    assert apart(along) > 0.9 * ideal
    assert apart(plain) < 0.5 * ideal
    # Bounds are learned from windows, odd ones among them.
    _, _, looked = matched(toys, real)
    far = looked.directions(1e6 * np.ones((1, WIDTH))) - looked.directions.bounds.middle
    assert (np.abs(far) <= 2.5 * looked.directions.bounds.spread * (1 + 1e-9)).all()
    along_axes = real @ looked.directions.axes
    usual = np.quantile(np.abs(along_axes - np.median(along_axes, axis=0)), 0.683, axis=0)
    assert looked.directions.bounds.spread == pytest.approx(usual, rel=0.2)


def test_windows_that_are_mostly_the_same_keep_their_others():
    """Their spread would be nothing: the distance of the others bounds them."""
    values = np.zeros((1_000, 1))
    values[::50] = 1.0
    directions = Directions.bounded(np.empty((0, 0)), np.eye(1), values)
    assert directions(values).mean() > 0.3 * values.mean()
    assert (directions(values)[::50] > directions(values)[1]).all()
    # Nor does one far away among them open the bound.
    far = values.copy()
    far[1] = 1e6
    assert Directions.bounded(np.empty((0, 0)), np.eye(1), far)(far).max() < 3


def test_directions_that_say_nothing_are_left_out_and_given_ones_stay():
    toy = Toy("one", 1, np.zeros(WIDTH))
    real = genome(toy, np.array([1.0]), np.random.default_rng(8))
    contenders, block, looked = matched([toy], real)
    assert looked.real.shape == (1,)
    given = np.eye(WIDTH)[:, [6, 7]]
    with_given = look(replace(block, given=given), contenders)
    assert with_given.real.shape == (3,)
    # The same direction twice, or nearly, is one.
    repeated = np.concatenate([given, given * 5, looked.directions.axes * 1.01], axis=1)
    assert look(replace(block, given=repeated), contenders).real.shape == (3,)


def test_the_direction_found_is_the_one_that_tells_parameters_apart_best():
    toy = Toy("one", 1, np.zeros(WIDTH))
    real = genome(toy, np.array([1.0]), np.random.default_rng(8))
    _, _, looked = matched([toy], real, proposals=2_000)
    best = SLOPES[0] / SPREAD**2  # Fisher's discriminant
    (found,) = looked.directions.axes.T
    cosine = (found * SPREAD) @ (best * SPREAD) / np.linalg.norm(found * SPREAD) / np.linalg.norm(best * SPREAD)
    assert abs(cosine) > 0.97


def test_folds_in_too_few_groups_take_the_linkage_of_all():
    toy = Toy("one", 1, np.zeros(WIDTH))
    real = genome(toy, np.array([1.0]), np.random.default_rng(8))
    contenders, block, _ = matched([toy], real)
    few, many = np.arange(REAL) // (REAL // 5), np.arange(REAL) // (REAL // 50)
    linked = np.repeat(real[: REAL // 12], 12, axis=0)
    shares = {
        name: look(replace(block, real=linked, group=group, inflation=7.0), contenders).share * REAL
        for name, group in (("few", few), ("many", many), ("alone", 2 * np.arange(REAL)))
    }
    assert shares["few"] == pytest.approx(7)
    assert shares["many"] == pytest.approx(12, rel=0.4)
    assert shares["alone"] == pytest.approx(1)


def test_what_is_missed_is_told_in_units_of_bounded_windows():
    toy = Odd("odd", 1, np.zeros(WIDTH))
    real = genome(toy, np.array([1.0]), np.random.default_rng(8))
    contenders, block, _ = matched([toy], real, proposals=1_000)
    looked = look(replace(block, given=np.eye(WIDTH)[:, [3]], missed=None, error=2.0), contenders)
    within = LocalMean(contenders[0].coordinates.encode(contenders[0].judge), looked.judge[0]).within
    assert np.diag(looked.missed) == pytest.approx(4 * np.diag(within), rel=0.2)


def test_what_explained_columns_say_is_regressed_out():
    """The second half repeats the first with noise of its own: it has nothing to add."""
    toy = Toy("one", 1, np.zeros(WIDTH))
    rng = np.random.default_rng(8)
    real = genome(toy, np.array([1.0]), rng)
    contenders, block, _ = matched([toy], real)

    def doubled(values: np.ndarray) -> np.ndarray:
        return np.concatenate([values, values + rng.standard_normal(values.shape)], axis=-1)

    twice = replace(
        block,
        learn=[doubled(values) for values in block.learn],
        judge=[doubled(values) for values in block.judge],
        real=doubled(real),
        explained=WIDTH,
    )
    assert look(twice, contenders).real.shape == (0,)


def test_what_no_scenario_makes_counts_as_noise():
    toys = [Toy("same", 1, np.zeros(WIDTH)), Toy("off", 1, OFFSET)]
    rng = np.random.default_rng(9)
    real = genome(toys[0], np.array([1.0]), rng)
    contenders, _, looked = matched(toys, real)
    found = likelihoods(contenders, looked)
    assert dispersion(found, contenders, looked.real) == 1.0
    noise = np.sqrt(np.diag(found[0].noise))
    across = np.linalg.svd(np.concatenate([likelihood.emulator.coefficients[1:2] for likelihood in found]))[2][-1]
    assert dispersion(found, contenders, looked.real + 40 * noise * across) > 5


def test_a_likelihood_of_many_genomes_is_that_of_each():
    toy = Toy("two", 2, np.zeros(WIDTH))
    real = genome(toy, np.array([1.0, 1.0]), np.random.default_rng(3))
    contenders, _, looked = matched([toy], real)
    (likelihood,) = likelihoods(contenders, looked)
    x = np.random.default_rng(1).standard_normal((7, 2))
    means = looked.real + 0.1 * np.random.default_rng(2).standard_normal((5, len(looked.real)))
    together = likelihood(means, x)
    for i, j in ((0, 0), (3, 6), (4, 2)):
        leverage = likelihood.emulator.leverage(x[j : j + 1])[0]
        covariance = likelihood.noise + likelihood.emulator.missed * likelihood.emulator.within
        covariance = covariance + leverage * likelihood.emulator.error
        residual = means[i] - likelihood.emulator(x[j : j + 1])[0]
        alone = -0.5 * (residual @ np.linalg.solve(covariance, residual) + np.linalg.slogdet(covariance)[1])
        assert together[i, j] == pytest.approx(alone, abs=1e-6 * max(1, abs(alone)))
