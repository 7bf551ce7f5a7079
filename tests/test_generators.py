"""The emulator and the matching generator on toys whose answers are known exactly."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ganinfer.generators import emulator, sampling, scores, sides
from ganinfer.generators.emulator import Basis, Coordinates, ProposalMoments, VarianceModel
from ganinfer.generators.local import Local
from ganinfer.generators.matching import Matching
from ganinfer.generators.pools import pools
from ganinfer.interfaces import MONTE_CARLO, Budget, FoldResult, RoundPlan, RoundResult, State
from ganinfer.parameters import Constraint, Parameter, Parameters

FLAT = Parameters((Parameter("a", -3.0, 3.0), Parameter("b", -3.0, 3.0)))


# --- coordinates and polynomials ----------------------------------------------------------------------------------


@given(st.integers(0, 2**32))
@settings(deadline=None, max_examples=25)
def test_coordinates_round_trip_and_whiten(seed):
    parameters = Parameters((Parameter("n", 10.0, 1e4, "log"), Parameter("t", 1.0, 1e3), Parameter("m", -1.0, 1.0)))
    cloud = parameters.sample(np.random.default_rng(seed), 200)
    coordinates = Coordinates.of_cloud(parameters, cloud)
    assert coordinates.logarithmic.tolist() == [True, True, False]
    x = coordinates.encode(cloud)
    np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-8)
    np.testing.assert_allclose(np.cov(x, rowvar=False), np.eye(3), atol=1e-8)
    np.testing.assert_allclose(coordinates.decode(x), cloud, rtol=1e-9)


def test_a_flat_cloud_keeps_a_sliver_of_width():
    cloud = np.linspace(-1, 1, 50)[:, None] * np.ones(2)
    coordinates = Coordinates.of_cloud(FLAT, cloud)
    assert np.isfinite(coordinates.encode(cloud)).all()
    np.testing.assert_allclose(coordinates.decode(coordinates.encode(cloud)), cloud, atol=1e-9)


@pytest.mark.parametrize(("dimension", "degree"), [(1, 4), (2, 3), (3, 2)])
def test_polynomials_are_orthonormal_under_the_unit_cloud(dimension, degree):
    nodes, weights = np.polynomial.hermite_e.hermegauss(6)
    weights = weights / weights.sum()
    grid = np.stack([g.ravel() for g in np.meshgrid(*[nodes] * dimension)], axis=1)
    weight = np.prod(np.stack([g.ravel() for g in np.meshgrid(*[weights] * dimension)]), axis=0)
    design = Basis(dimension, degree)(grid)
    np.testing.assert_allclose(design.T @ (weight[:, None] * design), np.eye(design.shape[1]), atol=1e-8)


def test_a_kink_occurs_once_in_a_term_and_is_shrunk_by_itself():
    basis = Basis(2, 3, 1)
    bent = [(2,), (0, 2), (1, 2), (0, 0, 2), (0, 1, 2), (1, 1, 2)]
    assert sorted(basis.terms) == sorted([*Basis(2, 3).terms, *bent])
    families = dict(zip(basis.terms, basis.families, strict=True))
    assert [families[t] for t in [(), (0,), (2,), (0, 0), (0, 2), (0, 0, 2)]] == [0, 0, 1, 2, 2, 3]


# --- the regression -----------------------------------------------------------------------------------------------


def cubic(x):
    """Two directions: a cubic surface, and one that says nothing."""
    a, b = x.T
    return np.stack([1 + 2 * a - b + 0.5 * a * b - 0.3 * a**2 + 0.1 * a**3, np.full(len(x), 4.0)], axis=1)


def fitted(num_proposals, seed, noise=0.04, degree=4, truth=cubic):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((num_proposals, 2))
    y = truth(x) + rng.normal(0, np.sqrt(noise), (num_proposals, 2))
    return emulator.fit(Basis(2, degree), x, y, np.full(y.shape, noise))


def test_a_polynomial_is_recovered_within_the_stated_variance():
    points = np.random.default_rng(0).standard_normal((200, 2))
    points = points[(points**2).sum(axis=1) < 6]
    scores = []
    for seed in range(25):
        mean, variance = fitted(200, seed).predict(points)
        scores.append((mean - cubic(points)) ** 2 / variance)
    # Squared errors over stated variances: one on average, by repetition.
    assert np.mean(scores, axis=(0, 1)) == pytest.approx(1.0, abs=0.45)
    assert np.mean(np.array(scores) < 3.84) > 0.88


def test_evidence_leaves_out_what_the_data_do_not_show():
    linear = fitted(300, 1, truth=lambda x: np.stack([x[:, 0], x[:, 1]], axis=1))
    assert linear.effective.max() < 6  # three of the plane, next to nothing beyond
    free = len(Basis(2, 4))
    assert linear.effective.max() < free / 2
    curved = fitted(300, 1)
    assert curved.effective[0] > linear.effective[0] + 1.5


def test_more_proposals_shrink_the_variance():
    point = np.zeros((1, 2))
    variances = [fitted(n, 3).predict(point)[1].max() for n in (60, 240, 960)]
    assert variances[0] > 2 * variances[1] > 4 * variances[2]


def test_scatter_beyond_the_noise_is_told():
    rough = fitted(300, 4, truth=lambda x: np.stack([np.sin(9 * x[:, 0]), x[:, 1]], axis=1))
    assert rough.excess[0] > 0.2  # a sine's variance is a half
    assert rough.excess[1] == 0


def test_variances_that_change_with_parameters():
    rng = np.random.default_rng(1)
    x = rng.uniform(-1, 1, (400, 2))
    sd = np.exp(0.5 * (0.3 + 0.8 * x[:, :1]))
    proposal = np.repeat(np.arange(400), 10)
    moments = ProposalMoments.of_windows(sd[proposal] * rng.standard_normal((4_000, 1)), proposal, 400)
    model = VarianceModel.fit(x, moments)
    assert model.intercept[0] == pytest.approx(0.3, abs=0.12)
    np.testing.assert_allclose(model.slopes[:, 0], [0.8, 0.0], atol=0.15)


def test_moments_are_those_of_each_proposal():
    rng = np.random.default_rng(2)
    proposal = rng.integers(0, 6, 100)
    values = rng.standard_normal((100, 3))
    moments = ProposalMoments.of_windows(values, proposal, 6)
    for i in range(6):
        np.testing.assert_allclose(moments.mean[i], values[proposal == i].mean(axis=0))
        np.testing.assert_allclose(moments.variance[i], values[proposal == i].var(axis=0, ddof=1))


class Linear:
    """Ten correlated statistics of 500 proposals, of which two combinations move with the two parameters."""

    def __init__(self, seed, size=10, num_windows=16):
        rng = np.random.default_rng(seed)
        self.slopes = rng.standard_normal((2, size))
        root = rng.standard_normal((size, size)) / 3 + 2 * np.eye(size)
        self.within = root @ root.T
        self.x = 3 * rng.standard_normal((500, 2))
        noise = rng.standard_normal((500, num_windows, size)) @ root.T
        self.proposal = np.repeat(np.arange(500), num_windows)
        self.statistics = (self.x @ self.slopes)[self.proposal] + noise.reshape(-1, size)
        self.moments = ProposalMoments.of_windows(self.statistics, self.proposal, 500)
        self.cloud = rng.standard_normal((40, 2))

    def scores(self, limit=2):
        settings = {"num_kinks": 0, "near": 12.0, "narrow": 50.0, "wide": 300.0, "limit": limit, "num_real": 2_000.0}
        return scores.find(self.x, self.moments, self.within, self.cloud, lambda x: x, **settings)


def test_scores_find_the_informative_directions():
    toy = Linear(3)
    found = toy.scores().mean
    for direction in np.linalg.solve(toy.within, toy.slopes.T).T:  # Fisher's
        in_span = found @ (found.T @ toy.within @ direction)
        cosine = in_span @ toy.within @ direction
        cosine /= np.sqrt((in_span @ toy.within @ in_span) * (direction @ toy.within @ direction))
        assert cosine > 0.99
    np.testing.assert_allclose(found.T @ toy.within @ found, np.eye(2), atol=1e-8)


@pytest.mark.parametrize("seed", [0, 2, 3, 4])
def test_there_are_as_many_scores_as_parameters_and_no_score_of_noise(seed):
    """Of 30 statistics one moves, with one of the two parameters: a second score is kept, noise makes no third."""
    toy, rng = Linear(seed, size=30), np.random.default_rng(seed)
    mean = rng.standard_normal((500, 30)) / np.sqrt(8)
    mean[:, 0] += 0.02 * toy.x[:, 0]
    toy.moments = ProposalMoments(mean, np.ones_like(mean), np.full(500, 8.0))
    toy.within = np.eye(30)
    assert toy.scores(limit=4).matrices.shape == (scores.NUM_GROUPS, 30, 2)


def test_scores_owe_nothing_to_the_windows_they_are_of():
    """A group's own noise does not turn its scores; the others' does.

    Around one point: of several, every group's noise has a say in which are told apart.
    """
    toy = Linear(4)
    toy.cloud = toy.cloud[:1]
    before = toy.scores().matrices
    mine = scores.groups(500) == 1
    toy.moments.mean[mine] += np.random.default_rng(1).standard_normal((int(mine.sum()), 10))
    after = toy.scores().matrices
    direction = [m[1] / np.linalg.norm(m[1], axis=0) for m in (before, after)]
    others = [m[2] / np.linalg.norm(m[2], axis=0) for m in (before, after)]
    span = [np.linalg.qr(d)[0] for d in (direction[0], direction[1], others[0], others[1])]
    turned = [np.linalg.norm(a @ a.T - b @ b.T) for a, b in (span[:2], span[2:])]
    assert turned[0] < 1e-12
    assert turned[1] > 1e-3


def test_what_bends_does_not_hide_what_does_not():
    """Of 60 statistics one bends with a and one rises with it; the cloud is where the first is level.

    Proposals lie to one side of it. Where the bend is not seen as one, it passes for a slope: .9 of the slope of the
    one that rises, with a single prior variance for the bends of all.
    """
    assert np.mean([_bend_taken_for_a_slope(seed) for seed in range(5)]) < 0.6


def levelled(seed, narrow, strength=0.3):
    """Scores at a cloud around 0, where one of 40 statistics rises with a by ``strength`` and is level further out."""
    rng = np.random.default_rng(seed)
    x = np.concatenate([rng.standard_normal((1_600, 2)), 8 * rng.standard_normal((400, 2))])
    proposal, statistics = np.repeat(np.arange(2_000), 16), rng.standard_normal((2_000 * 16, 40))
    statistics[:, 0] += strength * np.sin(x[proposal, 0])
    statistics[:, 1] += 0.1 * x[proposal, 1]
    statistics[:, 2] += 0.05 * x[proposal, 0]
    moments = ProposalMoments.of_windows(statistics, proposal, 2_000)
    settings = {"num_kinks": 0, "near": 12.0, "narrow": narrow, "wide": 600.0, "limit": 4, "num_real": 2_000.0}
    return scores.find(x, moments, np.eye(40), x[:40], lambda points: points, **settings)


def test_what_bends_too_much_for_the_wide_fit_is_seen_by_the_narrow_one():
    """Over a wide region the statistic that tells most is level: its share of what is looked at is next to nothing."""
    for seed in range(3):
        wide, both = (np.linalg.qr(levelled(seed, narrow).mean)[0][0] for narrow in (600.0, 48.0))
        assert (wide @ wide, both @ both) == (pytest.approx(0, abs=0.25), pytest.approx(1, abs=0.2))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("size", [1, 2, 3])
def test_beside_as_many_directions_as_statistics_there_are_no_more(size):
    found = Linear(1, size=size).scores(limit=4)
    assert found.mean.shape == (size, min(size, 2))
    assert np.isfinite(found.matrices).all()


def test_where_nothing_bends_the_narrow_fit_adds_nothing():
    for seed in range(3):
        with_narrow, without = (levelled(seed, narrow, strength=0.0) for narrow in (48.0, 600.0))
        np.testing.assert_array_equal(with_narrow.matrices, without.matrices)


def _bend_taken_for_a_slope(seed):
    rng = np.random.default_rng(seed)
    x = np.stack([rng.uniform(-2, 8, 800), 3 * rng.standard_normal(800)], axis=1)
    proposal, statistics = np.repeat(np.arange(800), 16), rng.standard_normal((800 * 16, 60))
    statistics[:, 0] += 0.02 * x[proposal, 0] ** 2
    statistics[:, 1] += 0.1 * x[proposal, 0]
    statistics[:, 2] += 0.1 * x[proposal, 1]
    moments = ProposalMoments.of_windows(statistics, proposal, 800)
    settings = {"num_kinks": 0, "near": 12.0, "narrow": 50.0, "wide": 100.0, "limit": 2, "num_real": 2_000.0}
    cloud = 0.1 * rng.standard_normal((40, 2))
    found = scores.find(x, moments, np.eye(60), cloud, lambda points: points, **settings).mean
    return abs(found[0] @ found[1]) / np.linalg.norm(found[1]) ** 2


def test_scores_are_not_fooled_by_noise():
    """Sixty statistics that say nothing: along scores, simulated windows do not move with the parameters."""
    rng = np.random.default_rng(5)
    t = []
    for seed in range(20):
        toy = Linear(seed, size=60)
        toy.slopes[:] = 0
        toy.statistics = rng.standard_normal((8_000, 60))
        toy.within = np.eye(60)
        toy.moments = ProposalMoments.of_windows(toy.statistics, toy.proposal, 500)
        found = toy.scores(limit=1)
        values = found.of_simulated(toy.statistics, scores.groups(500)[toy.proposal])
        means = ProposalMoments.of_windows(values, toy.proposal, 500).mean[:, 0]
        design = np.column_stack([np.ones(500), toy.x])
        slopes, residual = np.linalg.lstsq(design, means, rcond=None)[:2]
        error = np.sqrt(residual[0] / 497 * np.diag(np.linalg.inv(design.T @ design)))
        t += (slopes / error)[1:].tolist()
    assert np.sqrt(np.mean(np.square(t))) == pytest.approx(1.0, abs=0.4)


def test_constant_statistics_are_left_out():
    within = np.diag([1.0, 0.0, 4.0])
    white = scores.whitening(within)
    assert white.shape == (3, 2)
    assert not white[1].any()
    np.testing.assert_allclose(white.T @ within @ white, np.eye(2))


# --- particles ----------------------------------------------------------------------------------------------------

WEDGE = Parameters((Parameter("early", 0.0, 1.0), Parameter("late", 0.0, 1.0)), (Constraint("early", "late"),))


@pytest.mark.parametrize("k", [1, 7, 64, 100])
def test_space_filling_draws_are_possible(k):
    drawn = sampling.space_filling(WEDGE, np.random.default_rng(1), k)
    assert drawn.shape == (k, 2)
    assert WEDGE.possible(drawn).all()
    assert len(np.unique(drawn, axis=0)) == k


def test_space_filling_draws_fill_the_space():
    """Every cell of a grid of 64 holds a point: independent draws leave gaps."""
    drawn = sampling.space_filling(FLAT, np.random.default_rng(1), 128)
    cells = np.floor((drawn + 3) / 6 * 8).astype(int)
    assert len({tuple(c) for c in cells}) == 64


@given(st.integers(1, 50), st.integers(0, 200))
@settings(deadline=None)
def test_choices_are_spread(size, k):
    counts = np.bincount(sampling.spread_choice(np.random.default_rng(1), size, k), minlength=size)
    assert counts.sum() == k
    assert counts.max() - counts.min() <= 1


def test_the_power_keeps_the_particles_effective():
    log_likelihood = -0.5 * np.linspace(-50, 50, 400) ** 2
    power = sampling.largest_power(log_likelihood, 0.5, 0.1)
    assert 0 < power < 0.5
    assert sampling.effective_size(power * log_likelihood) == pytest.approx(40, rel=0.01)
    assert sampling.largest_power(log_likelihood * 1e-9, 0.5, 0.1) == 0.5


def test_walkers_sample_the_density():
    rng = np.random.default_rng(5)
    coordinates = Coordinates.of_cloud(FLAT, FLAT.sample(rng, 300))

    def log_density(x):
        theta = coordinates.decode(x)
        out = -0.5 * (((theta - [0.5, -0.2]) / [0.3, 0.6]) ** 2).sum(axis=1)
        return np.where(FLAT.satisfies_constraints(theta), out, -np.inf)

    drawn = sampling.walk(log_density, FLAT.sample(rng, 300), coordinates, rng, 150, keep=60)
    assert FLAT.satisfies_constraints(drawn).all()
    np.testing.assert_allclose(drawn.mean(axis=0), [0.5, -0.2], atol=0.1)
    np.testing.assert_allclose(drawn.std(axis=0), [0.3, 0.6], rtol=0.2)


def test_walkers_without_a_density_are_told_of():
    rng = np.random.default_rng(5)
    start = FLAT.sample(rng, 20)
    coordinates = Coordinates.of_cloud(FLAT, start)
    with pytest.raises(FloatingPointError, match="no density"):
        sampling.walk(lambda x: np.full(len(x), np.nan), start, coordinates, rng, 5)


# --- matching -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Toy:
    """Windows with Gaussian statistics of known mean and unit variance, mixed; two of six say nothing."""

    parameters: Parameters
    mean: object
    truth: tuple[float, ...]
    num_real: int = 200
    bend: float = 0.0

    def straightened(self, theta):
        """Coordinates in which the posterior is straight, to compare it in."""
        return np.stack([theta[:, 0], theta[:, 1] - self.bend * theta[:, 0] ** 2], axis=1)

    @property
    def mixing(self):
        return np.random.default_rng(99).standard_normal((6, 6)) + 2 * np.eye(6)

    def windows(self, theta, num_windows, rng):
        """(k * num_windows, 6) statistics."""
        mean = np.repeat(self.mean(theta), num_windows, axis=0)
        white = np.concatenate([mean, np.zeros((len(mean), 6 - mean.shape[1]))], axis=1)
        return (white + rng.standard_normal(white.shape)) @ self.mixing

    def infer(self, seed, budget, told=None, states=None, **options):
        """The last step's word, every round's proposals, the real mean in the clear.

        ``told`` hears of every step, and ``states`` gets what each left.
        """
        rng = np.random.default_rng(seed)
        real = self.windows(np.array([self.truth]), self.num_real, rng)
        generator = Matching(**options)
        state = generator.init(self.parameters, rng)
        plan = generator.plan(self.parameters, budget)
        theta, statistics, proposed = [], [], []
        for index, planned in enumerate(plan):
            drawn = generator.propose(state, rng, planned.num_proposals)
            assert drawn.shape == (planned.num_proposals, len(self.parameters))
            proposed.append(drawn)
            theta.append(drawn)
            statistics.append(self.windows(drawn, planned.num_windows, rng))
            folds = tuple(self._fold(k, theta, statistics, plan, real) for k in range(2))
            state, info = generator.step(state, RoundResult(index, folds), rng)
            if told is not None:
                told.append(info)
            if states is not None:
                states.append(state)
        white = real @ np.linalg.inv(self.mixing)
        return info, proposed, white.mean(axis=0)

    def _fold(self, k, theta, statistics, plan, real):
        vectors, values, proposal = [], [], []
        number = []
        for index, (t, s) in enumerate(zip(theta, statistics, strict=True)):
            mine = np.arange(len(t)) % 2 == k
            of = np.repeat(np.arange(len(t)), plan[index].num_windows)
            values.append(s[mine[of]])
            proposal.append((np.cumsum(mine) - 1)[of[mine[of]]] + sum(len(v) for v in vectors))
            vectors.append(t[mine])
            number.append(np.full(int(mine.sum()), index))
        block = np.arange(len(real))
        none = np.empty(0)
        return FoldResult(
            np.concatenate(vectors),
            np.concatenate(number),
            np.concatenate(values),
            np.concatenate(proposal),
            real[block % 2 == k],
            block[block % 2 == k],
            none,
            none,
        )

    def exact(self, real_mean):
        """Straightened posterior mean and SD, given the informative statistics' real mean, on a fine grid."""
        axes = [np.linspace(p.lower, p.upper, 601) for p in self.parameters]
        for _ in range(3):
            grid = np.stack([g.ravel() for g in np.meshgrid(*axes, indexing="ij")], axis=1)
            expected = self.mean(grid)
            misfit = ((expected - real_mean[: expected.shape[1]]) ** 2).sum(axis=1) * self.num_real
            weight = np.exp(-0.5 * (misfit - misfit.min())) * self.parameters.satisfies_constraints(grid)
            weight /= weight.sum()
            mean = weight @ grid
            sd = np.sqrt(weight @ (grid - mean) ** 2)
            axes = [
                np.linspace(max(p.lower, m - 8 * s), min(p.upper, m + 8 * s), 401)
                for p, m, s in zip(self.parameters, mean, np.maximum(sd, 1e-4), strict=True)
            ]
        straight = self.straightened(grid)
        mean = weight @ straight
        return mean, np.sqrt(weight @ (straight - mean) ** 2)


STRAIGHT = Toy(
    FLAT, lambda t: np.stack([t[:, 0] + 0.5 * t[:, 1], 0.4 * t[:, 1] + 0.05 * t[:, 0] ** 2], axis=1), (0.7, -0.4)
)
#: A banana: the second statistic hardly tells a from where b follows a's square.
CURVED = Toy(
    FLAT,
    lambda t: np.stack([1.5 * (t[:, 1] - 0.4 * t[:, 0] ** 2), 0.2 * t[:, 0]], axis=1),
    (0.8, 0.3),
    bend=0.4,
)
#: The second parameter acts otherwise on either side of zero, as a pulse that changes its direction.
BENT = Toy(FLAT, lambda t: np.stack([t[:, 0], np.maximum(t[:, 1], 0) + 0.3 * t[:, 1]], axis=1), (0.7, 0.1), 400)
#: A hundred windows for every real one: the emulator's own error hardly counts.
BUDGET = Budget(20_000, 5)
OPTIONS = {"first_proposals": 300, "num_particles": 150, "steps": 80}


# Along the banana, where windows say little, the emulator's own error and spurious directions weigh more.
@pytest.mark.parametrize(
    ("toy", "shift"), [(STRAIGHT, 0.5), (CURVED, 1.0), (BENT, 0.75)], ids=["straight", "curved", "bent"]
)
def test_matching_converges_to_the_exact_posterior(toy, shift):
    """Each time about the right place; and of the right width on average, which tails of few draws make noisy."""
    ratios = []
    for seed in (1, 2, 3):
        info, proposed, real_mean = toy.infer(seed, BUDGET, **OPTIONS)
        mean, sd = toy.exact(real_mean)
        drawn = toy.straightened(info.posterior)
        np.testing.assert_array_less(np.abs(drawn.mean(axis=0) - mean) / sd, shift)
        ratios.append(drawn.std(axis=0) / sd)
        np.testing.assert_allclose(info.estimate, np.median(info.posterior, axis=0))
        for drawn in [*proposed, info.posterior]:
            assert toy.parameters.satisfies_constraints(drawn).all()
        assert info.metrics["beta"] > 0
    mean_ratio = np.mean(ratios, axis=0)
    assert 0.75 < mean_ratio.min() <= mean_ratio.max() < 1.3


def test_a_run_ends_when_it_has_settled_and_is_at_rest():
    """The emulator's error hardly counts, others would find the same, no estimate moves any more: none is enough."""
    told = []
    options = {"tolerance": 0.5, "monte_carlo": 0.45, "first_proposals": 60, "num_particles": 60, "steps": 30}
    for toy in (STRAIGHT, BENT):
        for seed in (1, 2, 3, 4, 5):
            toy.infer(seed, Budget(3_000, 6), told, **options)
    known = [i for i in told if "shift" in i.metrics and i.metrics["beta"] >= 0.5]
    settled = [i.metrics["emulator_share"] <= 0.5 for i in known]
    precise = [max(v for k, v in i.metrics.items() if k.startswith(MONTE_CARLO)) <= 0.45 for i in known]
    at_rest = [i.metrics["shift"] <= 0.5 for i in known]
    ended = [i.converged is not None for i in known]
    conditions = list(zip(settled, precise, at_rest, strict=True))
    assert ended == [all(c) for c in conditions]
    assert {(True,) * 3, (True, True, False), (True, False, True), (False, False, True)} <= set(conditions)
    assert all(i.converged is None for i in told if i.metrics["beta"] < 0.5)


def test_answers_at_the_edge_stay_inside_the_prior_and_its_constraints():
    toy = Toy(WEDGE, lambda t: 2 * t, (0.99, 0.985), num_real=300)
    info, proposed, _ = toy.infer(3, Budget(4_000, 3), **OPTIONS)
    for drawn in [*proposed, info.posterior]:
        assert WEDGE.possible(drawn).all()
    assert info.estimate[0] > 0.9


def test_proposals_are_models_that_are_possible():
    """The posterior is cut off where the model says so, and no simulator meets an impossible vector."""
    parameters = Parameters(FLAT.items, (), lambda v: "not there" if v["a"] > 0.7 else None)
    toy = Toy(parameters, STRAIGHT.mean, (0.69, -0.4), num_real=100)
    info, proposed, _ = toy.infer(4, Budget(4_000, 3), **OPTIONS)
    for drawn in [*proposed, info.posterior]:
        assert parameters.possible(drawn).all()


def test_a_step_is_a_function_of_its_arguments():
    first = STRAIGHT.infer(5, Budget(3_000, 2), first_proposals=150, num_particles=100)
    second = STRAIGHT.infer(5, Budget(3_000, 2), first_proposals=150, num_particles=100)
    np.testing.assert_array_equal(first[0].posterior, second[0].posterior)


def test_curious_clouds_go_where_nothing_was_simulated():
    """Over places that the emulator knows equally well both likelihoods agree; elsewhere the curious one is larger."""
    rng = np.random.default_rng(8)
    theta = np.array(STRAIGHT.truth) + 0.2 * rng.standard_normal((300, 2))
    theta = theta[theta[:, 0] < 0.7]  # nothing on one side
    windows = STRAIGHT.windows(theta, 8, rng)
    real = STRAIGHT.windows(np.array([STRAIGHT.truth]), 200, rng)
    proposal = np.repeat(np.arange(len(theta)), 8)
    none = np.empty(0)
    fold = FoldResult(theta, np.zeros(len(theta), int), windows, proposal, real, np.arange(200), none, none)
    local = Local(FLAT, theta, pools([fold]))
    points = local.coordinates.encode(np.array([[0.55, -0.4], [1.0, -0.4]]))
    gain = local.log_likelihood(points, curious=True) - local.log_likelihood(points)
    assert (gain > 0).all()
    assert gain[1] > 4 * gain[0]


def test_stragglers_do_not_carry_the_cloud_away():
    """Far out a polynomial may promise a better match than there is; particles there weigh nothing."""
    rng = np.random.default_rng(9)
    theta = np.array(STRAIGHT.truth) + 0.2 * rng.standard_normal((300, 2))
    far = Toy(FLAT, lambda t: np.sin(t), STRAIGHT.truth)  # bends back outside what was simulated
    windows, real = far.windows(theta, 8, rng), far.windows(np.array([STRAIGHT.truth]), 200, rng)
    none = np.empty(0)
    fold = FoldResult(
        theta, np.zeros(300, int), windows, np.repeat(np.arange(300), 8), real, np.arange(200), none, none
    )
    cloud = theta[:100].copy()
    cloud[:3] = [[2.9, 2.9], [-2.9, 2.9], [2.9, -2.9]]
    generator = Matching()
    generator.init(FLAT, rng)
    local = Local(FLAT, cloud, pools([fold]))
    _, moved = generator._tempered(local, cloud, 0.0, rng)
    assert moved.shape == cloud.shape
    assert local.trusts(local.coordinates.encode(moved)).all()
    np.testing.assert_allclose(moved.mean(axis=0), STRAIGHT.truth, atol=0.3)


def test_a_window_in_a_thousand_does_not_lead_a_score():
    """What hardly a window holds near the solution, and many far from it, looks like much told by little."""
    rng = np.random.default_rng(0)

    def windows(theta):
        holds = rng.random(len(theta)) < 0.0006 * np.exp(np.clip(6 * theta[:, 0], -9, 6))
        return np.column_stack([theta + rng.standard_normal((len(theta), 2)), 4.0 * holds])

    theta = np.concatenate([0.15 * rng.standard_normal((400, 2)), rng.uniform(-1, 1, (300, 2))])
    proposal, none = np.repeat(np.arange(700), 10), np.empty(0)
    real = windows(np.zeros((400, 2)))
    fold = FoldResult(theta, np.zeros(700, int), windows(theta[proposal]), proposal, real, np.arange(400), none, none)
    emulator = Local(FLAT, theta[:200], pools([fold]))._emulators[0]
    scores = emulator.scores.of_real(windows(np.zeros((20_000, 2))))
    core = np.abs(scores - np.median(scores, axis=0)) < 10 * np.median(
        np.abs(scores - np.median(scores, axis=0)), axis=0
    )
    without = np.array([s[c].var() for s, c in zip(scores.T, core.T, strict=True)])
    assert (scores.var(axis=0) / without).max() > 4  # one score is its outliers
    assert (emulator.variance(np.zeros((1, 2)))[0] / without).max() < 1.5


def test_wide_proposals_lie_further_out_for_more_real_windows_and_nearer_for_more_simulated_ones():
    factors = []
    options = {"first_proposals": 300, "num_particles": 60, "steps": 10}  # as far out wherever the cloud is
    for num_real, simulated in ((2_000, 4_000), (8_000, 4_000), (8_000, 16_000)):
        states = []
        Toy(FLAT, STRAIGHT.mean, STRAIGHT.truth, num_real).infer(6, Budget(simulated, 3), states=states, **options)
        factors.append(states[-1].values["stretch"])
    few, many, more = factors
    assert many == pytest.approx(2 * few)
    assert more == pytest.approx(many / 2, rel=0.02)


@pytest.mark.parametrize(("middle", "low", "high"), [((2.9, 0.0), (-3, -3), (3, 3)), ((0.0, 0.06), (-3, 0), (3, 3))])
def test_wide_proposals_lie_as_far_out_as_told_or_as_the_prior_lets_them(middle, low, high):
    """Along a bound, and the side of zero where the cloud is, as far as without it; towards it, not beyond."""
    generator = Matching(wide_share=0.5, prior_share=0.0)
    generator.init(FLAT, np.random.default_rng(0))
    cloud = np.random.default_rng(1).normal(middle, 0.02, (400, 2))
    cloud = cloud[((cloud > low) & (cloud < high)).all(axis=1)]
    state = State({"cloud": cloud, "curious": cloud}, {"beta": 0.5, "step": 3, "stretch": 16.0})
    wide = generator.propose(state, np.random.default_rng(2), 400)[:200]
    assert ((wide >= low) & (wide <= high)).all()
    spread = np.sqrt(((wide - middle) ** 2).mean(axis=0)) / 0.02
    limited = int(np.argmin(np.minimum(np.subtract(middle, low), np.subtract(high, middle))))
    assert 12 < spread[1 - limited] < 17.5
    assert 7 < spread[limited] < 13
    assert np.isin(wide[:, 1 - limited], cloud[:, 1 - limited]).mean() < 0.12  # those beside the bound


def test_more_real_windows_never_widen_the_posterior():
    few, many = (
        Toy(FLAT, STRAIGHT.mean, STRAIGHT.truth, n).infer(6, Budget(4_000, 3), **OPTIONS)[0] for n in (100, 2_000)
    )
    assert (many.posterior.std(axis=0) < few.posterior.std(axis=0)).all()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"temper": 0.0}, "temper must lie"),
        ({"windows": 1}, "windows must be at least 2"),
        ({"prior_share": 0.5, "wide_share": 0.5}, "below 1 together"),
        ({"steps": 0}, "steps must"),
    ],
)
def test_options_that_cannot_work_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        Matching(**options)


@pytest.mark.parametrize("num_particles", [10, 39, 41])
def test_small_clouds_work(num_particles):
    info, _, _ = STRAIGHT.infer(7, Budget(2_000, 2), first_proposals=100, num_particles=num_particles)
    assert FLAT.satisfies_constraints(info.posterior).all()


@pytest.mark.parametrize("truth", [(0.0, 0.3), (0.5, 0.3), (0.8, 0.3)])
def test_estimates_are_of_models_that_can_be(truth):
    """What cannot be made is found out by trying: the posterior is that of the rest, on its edge where it must be."""
    edge = Parameters(FLAT.items, problem=lambda values: "too large" if values["a"] > 0.5 else None)
    bounded = Parameters((Parameter("a", -3.0, 0.5), FLAT[1]))
    info, proposed, real = Toy(edge, STRAIGHT.mean, truth).infer(3, Budget(20_000, 5), **OPTIONS)
    assert edge.possible(np.concatenate([*proposed, info.posterior, [info.estimate]])).all()
    mean, sd = Toy(bounded, STRAIGHT.mean, truth).exact(real)
    assert len(info.posterior) >= 300
    np.testing.assert_array_less(np.abs(info.posterior.mean(axis=0) - mean) / sd, 0.75)
    ratio = info.posterior.std(axis=0) / sd
    assert 0.6 < ratio.min() <= ratio.max() < 1.5


@given(st.integers(1, 200_000), st.integers(1, 12), st.integers(1, 2_000), st.integers(2, 20), st.integers(2, 40))
@example(64, 3, 8, 2, 10)
@settings(deadline=None)
def test_plans_stay_within_the_budget(windows, rounds, first_proposals, first_windows, later):
    generator = Matching(first_proposals=first_proposals, first_windows=first_windows, windows=later)
    needed = 2 * (len(FLAT) + 2)
    if min(first_proposals, windows // (4 * first_windows)) < needed:
        with pytest.raises(ValueError, match=f"needs at least {needed} proposals"):
            generator.plan(FLAT, Budget(windows, rounds))
        return
    plan = generator.plan(FLAT, Budget(windows, rounds))
    assert 1 <= len(plan) <= rounds
    assert all(p.num_proposals >= 1 and p.num_windows >= 1 for p in plan)
    spent = sum(p.num_proposals * p.num_windows for p in plan)
    assert spent <= max(windows, first_windows)
    sizes = [p.num_proposals for p in plan[1:]]
    assert sizes == sorted(sizes)


def test_the_default_plan_spends_its_budget():
    plan = Matching().plan(FLAT, Budget(60_000, 8))
    assert len(plan) == 8
    assert 59_000 <= sum(p.num_proposals * p.num_windows for p in plan) <= 60_000
    assert (plan[0].num_proposals, plan[0].num_windows) == (1_000, 5)


def around_the_truth(toy, theta, rng, shift=0.0):
    """One fold's emulator around ``theta``; real windows are shifted where no parameter moves them."""
    real = toy.windows(np.array([toy.truth]), 200, rng) + shift * toy.mixing[5]
    proposal, none, size = np.repeat(np.arange(len(theta)), 8), np.empty(0), len(theta)
    windows = toy.windows(theta, 8, rng)
    fold = FoldResult(theta, np.zeros(size, int), windows, proposal, real, np.arange(200), none, none)
    return Local(FLAT, theta, pools([fold]))


@pytest.mark.parametrize(("shift", "low", "high"), [(0.0, 1.0, 1.0), (0.6, 5.0, 60.0)])
def test_what_the_model_cannot_do_widens_the_likelihood(shift, low, high):
    """A shift of the real windows in a direction that no parameter moves is misfit, and noise alone is none."""
    rng = np.random.default_rng(11)
    theta = np.array(STRAIGHT.truth) + 0.2 * rng.standard_normal((600, 2))
    plain, local = (around_the_truth(STRAIGHT, theta, np.random.default_rng(3), s) for s in (0.0, shift))
    assert low <= local.misfit <= high
    centre = np.zeros((1, 2))
    own = [e._residuals(centre)[0][2] for e in (plain, local)]  # the data's own variance of every score
    np.testing.assert_allclose(own[1], local.misfit * own[0])


def either_side(middle, far, seed):
    """A cloud around a = ``middle`` and proposals beyond zero; one statistic rises with a above zero, one below."""
    rng = np.random.default_rng(seed)
    a = np.concatenate([middle + 0.2 * rng.standard_normal(800), far])
    theta = np.stack([a, 0.2 * rng.standard_normal(len(a))], axis=1)
    proposal, none, size = np.repeat(np.arange(len(a)), 8), np.empty(0), len(a)

    def windows(theta):
        a, b = theta.T
        mean = np.stack([b, np.maximum(a, 0), 2 * np.minimum(a, 0), 0 * a], axis=1)
        return mean + rng.standard_normal(mean.shape)

    real = windows(np.repeat([[middle, 0.0]], 200, axis=0))
    statistics = windows(theta[proposal])
    fold = FoldResult(theta, np.zeros(size, int), statistics, proposal, real, np.arange(200), none, none)
    return Local(FLAT, theta[:800], pools([fold]))


@pytest.mark.parametrize("seed", [1, 3])
def test_a_cloud_on_one_side_of_zero_knows_nothing_of_the_other(seed):
    local = either_side(1.0, np.random.default_rng(1).uniform(-3, 0, 800), seed)
    along = local._emulators[0].scores.mean
    assert np.linalg.norm(along[1]) > 0.9
    assert np.linalg.norm(along[2]) < 0.4


@pytest.mark.parametrize("seed", [1, 3])
def test_a_cloud_across_zero_bends_there(seed):
    """A polynomial alone would be off by five to seven of its standard deviations."""
    local = either_side(0.0, np.random.default_rng(1).uniform(-1, 1, 800), seed)
    points = local.coordinates.encode(np.array([[-0.4, 0.0], [0.0, 0.0], [0.4, 0.0]]))
    mean, variance = local._emulators[0].emulator.predict(local._inputs(points))
    found = local._emulators[0].scores
    true = np.array([[0, 0, -0.8, 0], [0, 0, 0, 0], [0, 0.4, 0, 0]]) - found.offset
    assert (np.abs(mean - true @ found.mean) < 4 * np.sqrt(variance)).all()
    assert np.sqrt(variance).max() < 0.05


# --- the other side of zero ---------------------------------------------------------------------------------------


def two_sided(sign):
    """Windows that tell how large a is, and hardly on which side of zero: by ``sign`` standard deviations."""

    def mean(t):
        size, b = np.abs(t[:, 0]), t[:, 1]
        return np.stack([size + 0.2 * b, b, sign * (t[:, 0] > 0)], axis=1)

    return Toy(FLAT, mean, (1.5, 0.3), 400)


class Looking:
    """A generator on a toy whose cloud has settled around ``middle``, the other side having been given up."""

    def __init__(self, toy, middle, seed, missed=0.0, rounds=1):
        self.toy, self.rng = toy, np.random.default_rng(seed)
        real = toy.windows(np.array([toy.truth]), toy.num_real, self.rng)
        self.real = real + missed * np.eye(6)[5] @ toy.mixing
        self.generator = Matching(**OPTIONS)
        self.generator.init(FLAT, self.rng)
        self.theta, self.statistics = [], []
        cloud, other = (
            np.array([[a, toy.truth[1]]]) + 0.1 * self.rng.standard_normal((150, 2)) for a in (middle, -middle)
        )
        values = {"beta": 0.5, "step": 3, "stretch": 4.0}
        state = State({"cloud": cloud, "curious": cloud, "estimate": cloud.mean(axis=0), "left-0": other}, values)
        for _ in range(rounds):
            self.ours = self.stepped(state, 800)
            state = self.ours[0]

    def stepped(self, state, num_proposals):
        self.theta.append(self.generator.propose(state, self.rng, num_proposals))
        self.statistics.append(self.toy.windows(self.theta[-1], 8, self.rng))
        plan = [RoundPlan(len(t), 8) for t in self.theta]
        folds = tuple(self.toy._fold(k, self.theta, self.statistics, plan, self.real) for k in range(2))
        return self.generator.step(state, RoundResult(3, folds), self.rng)

    def looked(self):
        """What is chosen after a second look; ``None`` where the generator asks for none."""
        other = self.generator.given_up(*self.ours, self.rng)
        if other is None:
            return None
        for _ in range(3):
            other, info = self.stepped(other, 300)
        return self.generator.chosen(self.ours, (other, info))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_cloud_on_the_wrong_side_of_zero_crosses_it(seed):
    """By a step that the model misses there; where it misses nothing, nobody looks."""
    assert Looking(two_sided(0.4), 1.5, seed).looked() is None
    wrong = Looking(two_sided(0.4), -1.5, seed)
    assert wrong.ours[1].metrics["misfit"] > 1
    assert (wrong.ours[0].arrays["cloud"][:, 0] < 0).all()
    kept, state, info = wrong.looked()
    assert not kept
    assert (state.arrays["cloud"][:, 0] > 0).all()
    assert np.median(info.posterior, axis=0) == pytest.approx([1.5, 0.3], abs=0.3)
    assert info.metrics["other_side"] < -6
    assert not sides.parts(state.arrays)
    assert wrong.generator.given_up(state, info, wrong.rng) is None


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_where_both_signs_miss_as_much_the_run_stays_and_says_so(seed):
    alike = Looking(two_sided(0.0), 1.5, seed, missed=0.5)
    kept, state, info = alike.looked()
    assert kept
    assert (state.arrays["cloud"][:, 0] > 0).all()
    assert any("other sign of a" in warning for warning in info.warnings)
    _, after = alike.stepped(state, 300)
    assert any("other sign of a" in warning for warning in after.warnings)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_side_that_is_less_known_is_not_closer_for_that(seed):
    """What the model misses on either side is the same; the noise of fewer simulations must not hide it."""
    alike = Looking(replace(two_sided(0.0), num_real=2000), 1.5, seed, missed=0.7, rounds=5)
    kept, _, info = alike.looked()
    assert kept
    assert info.metrics["beyond"] > 500
    assert abs(info.metrics["other_side"]) < 0.2 * info.metrics["beyond"]


def test_a_side_that_has_not_settled_is_looked_at_once_more_and_then_left():
    looking = Looking(two_sided(0.4), -1.5, 1)
    (state, info), other = looking.ours, looking.generator.given_up(*looking.ours, looking.rng)
    kept, again, _ = looking.generator.chosen((state, info), (other, info))
    assert kept
    np.testing.assert_array_equal(again.arrays["left-0"], other.arrays["cloud"])
    kept, last, said = looking.generator.chosen((again, info), (other, info))
    assert kept
    assert "left-0" not in last.arrays
    assert "other_side" not in said.metrics
    assert looking.generator.given_up(last, info, looking.rng) is None


def test_a_side_that_has_come_over_is_none():
    looking = Looking(two_sided(0.4), -1.5, 1)
    kept, state, info = looking.generator.chosen(looking.ours, looking.ours)
    assert kept
    assert "left-0" not in state.arrays
    assert "other_side" not in info.metrics


def test_what_is_left_of_other_parameters_outlasts_a_turn():
    looking = Looking(two_sided(0.4), -1.5, 1)
    state = looking.ours[0]
    part = state.arrays["cloud"] - [0, 2]
    looking.ours = (replace(state, arrays={**state.arrays, "left-1": part}), looking.ours[1])
    kept, state, _ = looking.looked()
    assert not kept
    np.testing.assert_array_equal(state.arrays["left-1"], part)


def test_a_cloud_that_settles_on_one_side_leaves_the_other_part_in_its_state():
    states = []
    two_sided(1.0).infer(1, Budget(8000, 4), states=states, **OPTIONS)
    assert any("left-0" in state.arrays for state in states)
    last = states[-1]
    assert (last.arrays["cloud"][:, 0] > 0).all()
    assert (last.arrays["left-0"][:, 0] < 0).all()


def test_the_side_that_is_closer_is_kept():
    closer = Looking(two_sided(0.6), 1.5, 4, missed=0.5)
    kept, state, info = closer.looked()
    assert kept
    assert info.metrics["other_side"] > 6
    _, after = closer.stepped(state, 300)
    assert not any("other sign" in warning for warning in after.warnings)


def test_what_a_cloud_leaves_is_kept_until_it_is_back():
    rng = np.random.default_rng(1)
    right = np.stack([rng.normal(1.5, 0.2, 200), rng.normal(0, 1, 200)], axis=1)
    both = np.where(np.arange(200)[:, None] < 80, right * [-1, 1], right)
    known = sides.left(FLAT, both, right, {})
    np.testing.assert_array_equal(known["left-0"], both[:80])
    assert list(known) == ["left-0"]
    assert sides.left(FLAT, right, right, known).keys() == {"left-0"}
    assert sides.left(FLAT, right, both, known) == {}
    # A tail across zero that is drawn in leads nowhere.
    tail = np.stack([rng.normal(0.3, 0.3, 400), rng.normal(0, 1, 400)], axis=1)
    assert sides.left(FLAT, tail, np.abs(tail), {}) == {}


def test_a_part_is_taken_up_on_its_side_where_models_are_possible():
    rng = np.random.default_rng(2)
    parameters = Parameters((Parameter("a", -3.0, 3.0), Parameter("b", 0.0, 3.0)), constraints=(Constraint("b", "a"),))
    part = np.stack([rng.uniform(0.01, 0.3, 30), rng.uniform(0.31, 0.6, 30)], axis=1)
    drawn = sides.blurred(parameters, part, 300, rng)
    assert len(np.unique(drawn, axis=0)) > 200
    assert (drawn[:, 0] >= 0).all()
    assert parameters.possible(drawn).all()
