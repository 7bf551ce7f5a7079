"""Generators that follow the critic, on toys of known truth whose critics do not agree."""

from __future__ import annotations

import numpy as np
import pytest

from ganinfer.generators.annealing import Annealing
from ganinfer.generators.cma_es import CmaEs
from ganinfer.generators.critic import latest_losses, levelled, standardised
from ganinfer.interfaces import Budget, FoldResult, RoundResult
from ganinfer.parameters import Parameter, Parameters

TRUTH = np.array([0.3, 0.6])
SQUARE = Parameters((Parameter("a", 0.0, 1.0), Parameter("b", 0.0, 1.0)))
EMPTY = np.empty(0)


def judged(index, theta, windows, rng, offsets, sharpness):
    """Logits that fall with the distance from the truth, by a critic of each fold with its own offset and slope."""
    folds = []
    for k, (offset, slope) in enumerate(zip(offsets, sharpness, strict=True)):
        mine = theta[k :: len(offsets)]
        proposal = np.repeat(np.arange(len(mine)), windows)
        distance = np.linalg.norm(mine - TRUTH, axis=1)[proposal]
        logits = offset - slope * 4 * distance + 0.5 * rng.standard_normal(len(proposal))
        numbers, nothing = np.full(len(mine), index), np.empty((len(proposal), 0))
        folds.append(FoldResult(mine, numbers, nothing, proposal, EMPTY, EMPTY, logits, EMPTY))
    return RoundResult(index, tuple(folds))


def infer(generator, rounds, seed, offsets, sharpness=(1.0, 1.0)):
    rng = np.random.default_rng(seed)
    plan = generator.plan(SQUARE, Budget(10**6, rounds))
    state = generator.init(SQUARE, rng)
    for index, planned in enumerate(plan):
        theta = generator.propose(state, rng, planned.num_proposals)
        result = judged(index, theta, planned.num_windows, rng, offsets, sharpness)
        state, info = generator.step(state, result, rng)
    return info.estimate


METHODS = {"annealing": (Annealing, 50), "cma-es": (CmaEs, 30)}


@pytest.mark.parametrize("offsets", [(0.0, 0.0), (0.0, 1.0), (2.0, 0.0)])
@pytest.mark.parametrize("name", METHODS)
def test_the_truth_is_found_whatever_critics_think_of_each_other(name, offsets):
    make, rounds = METHODS[name]
    errors = [infer(make(), rounds, seed, offsets) - TRUTH for seed in range(8)]
    assert np.sqrt(np.mean(np.square(errors))) < 0.06


@pytest.mark.parametrize("name", METHODS)
def test_the_truth_is_found_with_three_folds_and_with_one(name):
    make, rounds = METHODS[name]
    for offsets in [(0.0,), (0.0, 1.5, -1.0)]:
        errors = [infer(make(), rounds, seed, offsets, (1.0,) * len(offsets)) - TRUTH for seed in range(8)]
        assert np.sqrt(np.mean(np.square(errors))) < 0.06


def test_losses_are_those_of_the_last_round_by_proposal():
    theta = np.array([[0.1, 0.1], [0.2, 0.2], [0.3, 0.3]])
    fold = FoldResult(
        theta,
        np.array([0, 1, 1]),
        np.empty((5, 0)),
        np.array([0, 1, 1, 2, 2]),
        EMPTY,
        EMPTY,
        np.array([9.0, 0.0, 0.0, -1.0, 1.0]),
        EMPTY,
    )
    behind = FoldResult(
        theta[:1], np.zeros(1, int), np.empty((1, 0)), np.zeros(1, int), EMPTY, EMPTY, np.ones(1), EMPTY
    )
    found, losses, number = latest_losses(RoundResult(1, (fold, behind)))
    np.testing.assert_array_equal(found, theta[1:])
    np.testing.assert_array_equal(number, [0, 0])
    np.testing.assert_allclose(losses, [np.log(2), np.log1p(np.exp(1)) - 0.5])


def test_levelling_leaves_differences_within_folds_and_removes_those_between():
    losses, fold = np.array([1.0, 0.5, 3.0, 2.9, 7.0]), np.array([0, 0, 1, 1, 2])
    reference = np.array([True, False, True, False, False])
    np.testing.assert_allclose(levelled(losses, fold, reference), [2.0, 1.5, 2.0, 1.9, 7.0])
    assert levelled(losses[:2], fold[:2], reference[:2]).tolist() == [1.0, 0.5]


def test_standardised_losses_have_no_fold_in_them():
    losses, fold = np.random.default_rng(1).standard_normal(40), np.arange(40) % 2
    moved = np.where(fold == 0, losses, 5 + 3 * losses)
    np.testing.assert_allclose(standardised(moved, fold), standardised(losses, fold))
    assert standardised(np.ones(3), np.zeros(3)).tolist() == [0, 0, 0]


def test_every_fold_judges_the_point_where_annealing_stands():
    generator, rng = Annealing(), np.random.default_rng(1)
    (plan, *_) = generator.plan(SQUARE, Budget(10**6, 9))
    state = generator.init(SQUARE, rng)
    theta = generator.propose(state, rng, plan.num_proposals)
    state, info = generator.step(state, judged(0, theta, 5, rng, (0.0,) * 3, (1.0,) * 3), rng)
    theta = generator.propose(state, rng, plan.num_proposals)
    assert [bool((t == info.estimate).all()) for t in theta] == [True] * 3 + [False] * (plan.num_proposals - 3)
    changed = (theta[3:] != info.estimate).sum(axis=0)
    assert abs(changed[0] - changed[1]) <= 1


def test_annealing_goes_on_warm_when_it_is_given_more_rounds():
    first, second = Annealing(), Annealing()
    cold = first.plan(SQUARE, Budget(10**6, 4))
    rng = np.random.default_rng(1)
    state = first.init(SQUARE, rng)
    for index, planned in enumerate(cold):
        theta = first.propose(state, rng, planned.num_proposals)
        state, info = first.step(state, judged(index, theta, 5, rng, (0.0, 0.0), (1.0, 1.0)), rng)
    assert (info.spread == 0).all()
    second.plan(SQUARE, Budget(10**6, 8))
    second.init(SQUARE, rng)
    theta = second.propose(state, rng, 21)
    assert len(np.unique(theta, axis=0)) == 20
