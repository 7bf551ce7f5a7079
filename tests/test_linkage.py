"""What linkage does to the variance of means: measured by statistic, beyond blocks, and used where parameters are."""

from __future__ import annotations

import numpy as np
import pytest

from ganinfer.generators.linkage import Linkage, _Measured, linkage_inflation
from ganinfer.generators.local import Local
from ganinfer.generators.pools import pools
from ganinfer.interfaces import FoldResult
from ganinfer.parameters import Parameter, Parameters

FLAT = Parameters((Parameter("a", -3.0, 3.0), Parameter("b", -3.0, 3.0)))
TRUTH = np.array([0.3, -0.2])


def neighbours(num_windows, correlation, rng):
    """(num_windows, J) autoregressive windows of unit variance, ``correlation`` (J,) that of neighbours."""
    correlation = np.asarray(correlation, dtype=float)
    fresh = rng.standard_normal((num_windows, len(correlation)))
    values = fresh.copy()
    for i in range(1, num_windows):
        values[i] = correlation * values[i - 1] + np.sqrt(1 - correlation**2) * fresh[i]
    return values


def inflated(correlation):
    """What linkage multiplies the variance of a long mean by."""
    return (1 + np.asarray(correlation)) / (1 - np.asarray(correlation))


def test_linkage_inflation_of_independent_and_of_doubled_windows():
    rng = np.random.default_rng(4)
    independent = rng.standard_normal((2_000, 6))
    block = np.repeat(np.arange(200), 10)
    assert linkage_inflation(independent, block) == pytest.approx(1.0, abs=0.15)
    assert linkage_inflation(np.repeat(independent, 2, axis=0), np.repeat(np.arange(2_000), 2)) == pytest.approx(
        2.0, abs=0.1
    )
    assert linkage_inflation(independent, 2 * np.arange(2_000)) == 1.0
    assert linkage_inflation(independent, np.zeros(2_000)) == 1.0
    assert linkage_inflation(independent, np.zeros(2_000), otherwise=3.0) == 3.0
    with_constants = np.concatenate([np.repeat(independent, 2, axis=0), np.ones((4_000, 5))], axis=1)
    assert linkage_inflation(with_constants, np.repeat(np.arange(2_000), 2)) == pytest.approx(2.0, rel=0.1)


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9, 0.97])
def test_linkage_that_reaches_beyond_blocks_is_all_counted(correlation):
    rng, block = np.random.default_rng(1), np.arange(2_000) // 20
    values = neighbours(2_000, np.full(200, correlation), rng)
    assert linkage_inflation(values, block) == pytest.approx(inflated(correlation), rel=0.1)


def test_blocks_whose_numbers_are_not_neighbours_are_not_linked():
    rng, block = np.random.default_rng(2), np.arange(1_000) // 20
    values = neighbours(1_000, np.full(200, 0.9), rng)
    shuffled = np.random.default_rng(3).permutation(50)[block] * 2
    together, apart = (linkage_inflation(values, b) for b in (block, shuffled))
    assert together == pytest.approx(19, rel=0.15)
    assert apart < 0.8 * together


def test_statistics_of_a_family_share_what_is_known_of_it():
    rng, block = np.random.default_rng(4), np.arange(2_000) // 20
    correlation = np.repeat([0.0, 0.8], 30)
    families = np.repeat(["sites", "haplotypes"], 30)
    found = Linkage.of(neighbours(2_000, correlation, rng), block, families).factor
    assert found[:30].mean() == pytest.approx(1.0, abs=0.1)
    np.testing.assert_allclose(found[30:], 9.0, rtol=0.3)  # one by one they scatter by a quarter


def test_statistics_of_a_family_may_differ():
    rng, block = np.random.default_rng(5), np.arange(4_000) // 20
    correlation = np.tile([0.0, 0.9], 10)
    found = Linkage.of(neighbours(4_000, correlation, rng), block, np.repeat(["all"], 20)).factor
    np.testing.assert_allclose(found[::2], 1.0, atol=0.5)
    np.testing.assert_allclose(found[1::2], 19.0, rtol=0.5)


def test_directions_are_drawn_to_what_is_expected():
    rng, block = np.random.default_rng(6), np.arange(400) // 20
    correlation, errors = np.repeat([0.3, 0.8], 4), []
    for _ in range(20):
        values = neighbours(400, correlation, rng)
        linkage = Linkage(np.ones(8), block)
        found, alone = linkage.along(values, inflated(correlation)), _Measured.of(values, block).ratio
        errors.append([np.abs(np.log(r / inflated(correlation))).mean() for r in (found, np.maximum(alone, 0.1))])
    drawn, measured = np.mean(errors, axis=0)
    assert drawn < 0.7 * measured


def test_what_all_directions_share_is_found_though_each_is_hardly_told_from_noise():
    rng, block, found, alone = np.random.default_rng(11), np.arange(600) // 20, [], []
    for _ in range(20):
        values = neighbours(600, np.full(16, 0.25), rng)
        linkage = Linkage(np.ones(16), block)
        found.append(linkage.along(values, np.ones(16)))
        alone.append(linkage.along(values[:, :1], np.ones(1)))
    assert np.mean(found) == pytest.approx(inflated(0.25), rel=0.1)
    assert np.std([f.mean() for f in found]) < 0.5 * np.std(alone)


@pytest.mark.parametrize(("blocks", "otherwise"), [(200, 1.0), (4, 3.0)], ids=["every window its own", "too few"])
def test_where_blocks_say_nothing_nothing_is_inflated(blocks, otherwise):
    values = np.random.default_rng(7).standard_normal((200, 3))
    block = 2 * (np.arange(200) * blocks // 200)
    assert linkage_inflation(values, block, otherwise=3.0) == otherwise
    linkage = Linkage.of(values, block, np.array(["one"] * 3), otherwise=3.0)
    assert linkage.factor.tolist() == [otherwise] * 3
    np.testing.assert_array_equal(linkage.along(values, np.full(3, otherwise)), otherwise)


@pytest.mark.parametrize("correlation", [0.9, 0.97])
def test_few_linked_statistics_are_told_from_many_that_are_not(correlation):
    """How far linkage reaches is asked of each kind."""
    rng, block = np.random.default_rng(8), np.arange(2_000) // 20
    families = np.repeat(["sites", "haplotypes"], [80, 20])
    found = Linkage.of(neighbours(2_000, np.repeat([0.0, correlation], [80, 20]), rng), block, families).factor
    assert found[80:].mean() == pytest.approx(inflated(correlation), rel=0.25)
    assert found[:80].mean() == pytest.approx(1.0, abs=0.1)


def test_windows_that_are_blocks_may_have_neighbours():
    values = neighbours(2_000, np.full(50, 0.8), np.random.default_rng(9))
    assert linkage_inflation(values, np.arange(2_000)) == pytest.approx(9.0, rel=0.1)
    assert linkage_inflation(values, 2 * np.arange(2_000)) == 1.0


def test_blocks_of_unequal_size_count_as_what_they_are_worth():
    sizes = np.repeat([40, 4], [10, 40])
    block = 2 * np.repeat(np.arange(50), sizes)
    found = [_Measured.of(np.random.default_rng(s).standard_normal((560, 20)), block).ratio.mean() for s in range(20)]
    assert np.mean(found) == pytest.approx(1.0, abs=0.05)
    # One block that is nearly everything tells nothing.
    alone = np.repeat(np.arange(20), [400, *[1] * 19])
    assert linkage_inflation(np.random.default_rng(1).standard_normal((419, 3)), alone, otherwise=2.0) == 2.0


def test_columns_that_do_not_vary_are_as_the_others_of_their_kind():
    values = neighbours(2_000, np.full(4, 0.9), np.random.default_rng(10))
    values[:, 0] = 0.1
    block, families = np.arange(2_000) // 20, np.array(["all"] * 4)
    factor = Linkage.of(values, block, families).factor
    assert factor[0] == pytest.approx(factor[1:].mean(), rel=0.3)
    assert factor[0] > 10
    for nothing in (np.full((2_000, 3), 0.1), np.empty((2_000, 0))):
        assert linkage_inflation(nothing, block) == 1.0
        assert (Linkage.of(nothing, block, families[: nothing.shape[1]]).factor == 1.0).all()


# --- in an inference ----------------------------------------------------------------------------------------------

#: Two statistics tell each parameter; those of the second family are linked.
MIXING = np.array([[1, 0], [0, 1], [1, 0], [0, 1]], dtype=float).T
LINKED = np.array([0.0, 0.0, 0.9, 0.9])
NUM_REAL = 1_000


def study(seed):
    """One fold of 600 proposals around the truth, and linked real windows in blocks of 20."""
    rng = np.random.default_rng(seed)
    theta, proposal = TRUTH + 0.2 * rng.standard_normal((600, 2)), np.repeat(np.arange(600), 40)
    statistics = theta[proposal] @ MIXING + rng.standard_normal((len(proposal), 4))
    real = TRUTH @ MIXING + neighbours(NUM_REAL, LINKED, rng)
    none, kinds = np.empty(0), ("sites", "sites", "haplotypes", "haplotypes")
    block = np.arange(NUM_REAL) // 20
    return FoldResult(theta, np.zeros(600, int), statistics, proposal, real, block, none, none, 4, kinds)


def answer(fold):
    """Mean and standard deviation of the posterior under a flat prior, on a grid around the truth."""
    local = Local(FLAT, TRUTH + 0.5 * (fold.theta - TRUTH), pools([fold]), settled=True)
    axes = [np.linspace(t - 0.4, t + 0.4, 81) for t in TRUTH]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    log_density = local.log_likelihood(local.coordinates.encode(grid))
    weight = np.exp(log_density - log_density.max())
    mean = np.average(grid, axis=0, weights=weight)
    return mean, np.sqrt(np.average((grid - mean) ** 2, axis=0, weights=weight))


def test_what_is_linked_has_less_say_and_widths_are_right():
    """Both families together know hardly more than the one that is not linked, and that is what the posterior says."""
    found = [answer(study(seed)) for seed in range(30)]
    mean, sd = (np.array(each) for each in zip(*found, strict=True))
    independent = 1 / np.sqrt(NUM_REAL * (1 + 1 / inflated(0.9)))
    assert np.median(sd) == pytest.approx(independent, rel=0.2)
    assert np.sqrt((((mean - TRUTH) / sd) ** 2).mean()) == pytest.approx(1.0, abs=0.25)
