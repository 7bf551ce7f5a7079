"""Pools: what folds share is matched once, what a fold has besides is matched without what is shared."""

from __future__ import annotations

import numpy as np
import pytest

from ganinfer.generators.emulator import within_covariance
from ganinfer.generators.pools import pools
from ganinfer.interfaces import FoldResult

SHARED, OWN = 3, 2


def fold(seed, num_proposals=200, shared=SHARED, mixing=None):
    """Windows of 4, whose own columns follow the shared ones and the parameter; ``mixing`` adds more of the former."""
    rng = np.random.default_rng(seed)
    theta = rng.uniform(-1, 1, (num_proposals, 1))
    proposal = np.repeat(np.arange(num_proposals), 4)
    real_theta = np.full((40, 1), 0.3)

    def windows(values):
        common = values + rng.standard_normal((len(values), SHARED))
        own = common @ rng_fixed + 2 * values + rng.standard_normal((len(values), OWN))
        return np.concatenate([common, own if mixing is None else own + common @ mixing], axis=1)

    rng_fixed = np.arange(SHARED * OWN).reshape(SHARED, OWN) / 3.0
    none = np.empty(0)
    statistics, real = windows(theta[proposal]), windows(real_theta)
    numbers = np.zeros(num_proposals, int)
    return FoldResult(theta, numbers, statistics, proposal, real, np.arange(40) + 40 * seed, none, none, shared)


def test_shared_statistics_of_all_folds_are_one_pool():
    folds = [fold(1), fold(2, 300)]
    common, *own = pools(folds)
    assert len(own) == 2
    assert common.statistics.shape == (4 * 500, SHARED)
    assert common.real.shape == (80, SHARED)
    assert len(np.unique(common.block)) == 80
    for part, offset in zip(folds, (0, 200), strict=True):
        rows = (common.proposal >= offset) & (common.proposal < offset + len(part.theta))
        np.testing.assert_array_equal(common.statistics[rows], part.statistics[:, :SHARED])
        np.testing.assert_array_equal(common.theta[common.proposal[rows]], part.theta[part.proposal])


@pytest.mark.parametrize(("shared", "number"), [(0, 2), (SHARED, 3), (SHARED + OWN, 1)])
def test_there_is_a_pool_for_every_kind_of_statistic_that_there_is(shared, number):
    assert len(pools([fold(1, shared=shared), fold(2, shared=shared)])) == number


def test_what_is_left_of_a_folds_own_statistics_is_uncorrelated_with_the_shared_ones():
    pool = pools([fold(3)])[1]
    left = pool.residual(pool)
    assert left.statistics.shape[1] == left.real.shape[1] == OWN
    both = np.concatenate([pool.statistics[:, :SHARED], left.statistics], axis=1)
    within = within_covariance(both, pool.proposal, len(pool.theta))
    np.testing.assert_allclose(within[:SHARED, SHARED:], 0.0, atol=1e-10)
    slope = np.polyfit(pool.theta[:, 0], left.moments.mean[:, 0], 1)[0]
    assert slope == pytest.approx(2.0, abs=0.2)  # what the shared statistics do not say of the parameter stays


def test_what_is_left_does_not_depend_on_what_of_the_shared_ones_was_mixed_in():
    mixing = np.random.default_rng(9).standard_normal((SHARED, OWN))
    plain, mixed = (pools([fold(4, mixing=m)])[1] for m in (None, mixing))
    a, b = plain.residual(plain), mixed.residual(mixed)
    np.testing.assert_allclose(a.statistics, b.statistics, atol=1e-9)
    np.testing.assert_allclose(a.real, b.real, atol=1e-9)


def test_a_constant_shared_statistic_explains_nothing():
    part = fold(5)
    part.statistics[:, 0] = part.real[:, 0] = 7.0
    pool = pools([part])[1]
    assert np.isfinite(pool.residual(pool).statistics).all()


def test_selected_proposals_keep_their_windows():
    pool = pools([fold(6)])[0]
    chosen = pool.theta[:, 0] > 0
    part = pool.select(chosen)
    np.testing.assert_array_equal(part.theta, pool.theta[chosen])
    np.testing.assert_array_equal(part.statistics, pool.statistics[chosen[pool.proposal]])
    np.testing.assert_array_equal(part.theta[part.proposal], pool.theta[pool.proposal[chosen[pool.proposal]]])
    np.testing.assert_allclose(part.moments.mean, pool.moments.mean[chosen])


def test_no_window_decides_alone_on_either_side():
    """Bounds are those of simulated windows near the answer, whatever real windows hold."""
    folds = [fold(7), fold(8)]
    usual = pools(folds)
    for part in folds:
        part.real[0] += 1e4
        part.statistics[0] -= 1e4
    for pool, before in zip(pools(folds), usual, strict=True):
        spread = before.statistics.std(axis=0)
        for values, same in ((pool.real, before.real), (pool.statistics, before.statistics)):
            assert (np.abs(values - np.median(values, axis=0)) < 12 * spread).all()
            np.testing.assert_allclose(values[1:30], same[1:30], atol=1e-2 * spread.max())


def test_bounds_are_of_the_closest_proposals():
    """Far from the answer statistics may vary much more, which says nothing about how odd a real window is."""
    part = fold(9)
    far = np.arange(200) >= 100
    part.statistics[far[part.proposal]] *= 100.0
    part.real[0] = 50.0
    distances = [np.where(far, 9.0, 1.0)]
    (near, _), (everywhere, _) = pools([part], distances), pools([part])
    assert near.real.max() < 20 < everywhere.real.max()
