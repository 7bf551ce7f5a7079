"""Misfit: what the model cannot make is found in its family of statistics, and loses its say over the parameters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ganinfer.generators import misfit
from ganinfer.generators.emulator import within_covariance
from ganinfer.generators.linkage import Linkage
from ganinfer.generators.local import Local
from ganinfer.generators.matching import Matching
from ganinfer.generators.pools import pools
from ganinfer.interfaces import FoldResult, RoundResult
from ganinfer.parameters import Parameter, Parameters

FLAT = Parameters((Parameter("a", -3.0, 3.0), Parameter("b", -3.0, 3.0)))
FAMILIES = ("good",) * 4 + ("bad",) * 4
#: Every family tells both parameters, the bad one twice as well.
MIXING = np.array([[1, 0], [0, 1], [1, 1], [1, -1], [2, 0], [0, 2], [2, 2], [2, -2]], dtype=float).T
TRUTH = np.array([0.3, -0.2])
NUM_REAL = 400


def study(shift, families=FAMILIES, seed=5, columns=slice(None)):
    """One fold of 600 proposals around the truth; ``shift`` (8,) is added to the real windows."""
    rng = np.random.default_rng(seed)
    theta = TRUTH + 0.2 * rng.standard_normal((600, 2))
    proposal = np.repeat(np.arange(600), 8)

    def windows(values):
        common = rng.standard_normal((len(values), 1))  # what windows share makes statistics of both kinds correlated
        return values @ MIXING + rng.standard_normal((len(values), 8)) + 0.5 * common

    statistics = windows(theta[proposal])
    real = windows(np.repeat([TRUTH], NUM_REAL, axis=0)) + shift
    none, kinds = np.empty(0), tuple(np.array(families)[columns]) if families else ()
    arrays = statistics[:, columns], proposal, real[:, columns], np.arange(NUM_REAL)
    return FoldResult(theta, np.zeros(600, int), *arrays, none, none, 8, kinds)


def unlinked(pool):
    return Linkage.of(pool.real, 2 * pool.block, pool.families)


def measured(fold, by_family=True):
    (pool,) = pools([fold])
    x = (pool.theta - TRUTH) / 0.2
    within = within_covariance(pool.statistics, pool.proposal, len(pool.theta))
    return misfit.measure(pool, x, within, unlinked(pool), by_family=by_family)


#: Both parameters are pulled up by half of the bad statistics and down by the others.
WRONG = np.array([0, 0, 0, 0, 1.5, -1, 1.0, 0.5])


@pytest.mark.parametrize("by_family", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_noise_is_no_misfit(seed, by_family):
    found = measured(study(np.zeros(8), seed=seed), by_family)
    assert (found.dispersion, found.factor, found.errors) == (1.0, 1.0, {})
    assert not found.missed.any()


def test_the_family_that_the_model_cannot_make_is_told():
    found = measured(study(WRONG))
    assert found.dispersion > 10
    assert found.factor == 1.0
    assert found.errors["bad"] == pytest.approx(np.sqrt((WRONG[4:] ** 2).mean() * NUM_REAL / 1.25), rel=0.5)
    assert found.errors["good"] < 0.5
    assert found.missed[4:].min() > 50 * found.missed[:4].max()


def test_in_a_wide_cloud_the_misfit_is_one_factor():
    found = measured(study(WRONG), by_family=False)
    assert found.factor == found.dispersion > 10
    assert found.errors == {}
    assert not found.missed.any()


def test_without_families_all_statistics_are_of_one_kind():
    found = measured(study(WRONG, families=()))
    assert list(found.errors) == [""]
    assert found.missed.min() > 0.5 * found.missed.max()


def test_constant_statistics_are_left_out():
    fold = study(WRONG)
    for values in (fold.statistics, fold.real):
        values[:, 0] = 4.0
    found = measured(fold)
    assert found.missed[0] == 0.0
    assert found.errors["good"] < 0.5


def answer(fold, settled=True):
    """Mean and standard deviation of the posterior under a flat prior, on a grid around the truth."""
    local = Local(FLAT, fold.theta, pools([fold]), settled=settled)
    axes = [np.linspace(t - 0.6, t + 0.6, 121) for t in TRUTH]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    log_density = local.log_likelihood(local.coordinates.encode(grid))
    weight = np.exp(log_density - log_density.max())
    mean = np.average(grid, axis=0, weights=weight)
    return mean, np.sqrt(np.average((grid - mean) ** 2, axis=0, weights=weight)), local


@pytest.mark.parametrize("seed", range(3))
def test_what_the_model_misses_has_no_say(seed):
    """The answer is that of the other family alone; where families are not told apart it is far off."""
    alone, width, _ = answer(study(WRONG, seed=seed, columns=slice(4)))
    mean, sd, local = answer(study(WRONG, seed=seed))
    mixed, _, _ = answer(study(WRONG, seed=seed), settled=False)
    assert local.errors["bad"] > 5
    assert (np.abs(mean - alone) < 1.0 * width).all()
    assert ((sd > 0.5 * width) & (sd < 1.6 * width)).all()
    assert (np.abs(mixed - alone) / width).max() > 3


def test_matching_tells_families_apart_once_its_cloud_is_small():
    generator, fold = Matching(num_particles=100, steps=20), study(WRONG)
    state = generator.init(FLAT, np.random.default_rng(1))
    for i in range(4):
        state, info = generator.step(state, RoundResult(i, (fold,)), np.random.default_rng(i))
    assert info.metrics["misfit"] > 10
    (warning,) = [w for w in info.warnings if "cannot make the real statistics" in w]
    assert "Missed, in standard errors of the real means: bad by 1" in warning


def test_nothing_changes_where_there_is_no_misfit():
    (one, width, _), (other, same, _) = (answer(study(np.zeros(8)), settled) for settled in (True, False))
    np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(width, same)


def test_a_least_error_is_that_of_every_family():
    for shift in (np.zeros(8), WRONG):
        (pool,) = pools([study(shift)])
        within = within_covariance(pool.statistics, pool.proposal, len(pool.theta))
        found = misfit.measure(pool, (pool.theta - TRUTH) / 0.2, within, unlinked(pool), by_family=True, least=3.0)
        assert found.errors["good"] == pytest.approx(3.0)
        assert found.errors["bad"] >= 3.0
        assert (found.missed >= 3.0**2 * found.share * np.diag(within)).all()


def test_an_embedding_is_believed_no_more_than_what_the_model_misses_most():
    """Its error looks like a move of the parameters, so that it does not show in the embedding itself."""
    fold, rng = study(WRONG), np.random.default_rng(9)
    embedding = [fold.theta[fold.proposal], np.repeat([TRUTH + 0.4], NUM_REAL, axis=0)]
    embedding = [values + rng.standard_normal(values.shape) for values in embedding]
    both = replace(
        fold,
        statistics=np.concatenate([fold.statistics, embedding[0]], axis=1),
        real=np.concatenate([fold.real, embedding[1]], axis=1),
        families=(*FAMILIES, "embedding", "embedding"),
    )
    alone, width, _ = answer(fold)
    joined, _, local = answer(both)
    assert "embedding" not in local.errors
    assert (np.abs(joined - alone) < 0.5 * width).all()
