"""Estimates from networks and classical statistics together: no worse than the better of the two."""

from __future__ import annotations

import numpy as np
import pytest

from ganinfer import refining
from ganinfer.refining import Refiner

SIZE, FOLDS = 600, 3


def made(seed: int, network: float, classical: float):
    """Two parameters; a network that knows them with an error, statistics whose squares do with another."""
    rng = np.random.default_rng(seed)
    truth = rng.standard_normal((SIZE, 2))
    means = truth + network * rng.standard_normal(truth.shape)
    roots = np.concatenate([truth + classical * rng.standard_normal(truth.shape), rng.standard_normal((SIZE, 30))], 1)
    return means, np.sign(roots) * roots**2, truth, np.arange(SIZE) % FOLDS


def error(estimates: np.ndarray, truth: np.ndarray) -> float:
    return float(((estimates - truth) ** 2).mean())


@pytest.mark.parametrize(("network", "classical"), [(0.2, 2.0), (2.0, 0.2), (0.7, 0.7)])
def test_both_together_are_as_good_as_the_better_one(network, classical):
    means, statistics, truth, fold = made(1, network, classical)
    refiner, own = refining.fit(means, statistics, truth, fold, FOLDS)
    new_means, new_statistics, new_truth, _ = made(2, network, classical)
    fresh = [refiner(new_means, new_statistics, k) for k in range(FOLDS)]
    best = min(network, classical) ** 2
    shrunk = best / (1 + best)  # what an estimate loses that knows the prior, too
    for estimates, target in [(own, truth), *((f, new_truth) for f in fresh)]:
        assert error(estimates, target) < 1.15 * shrunk
    if network == classical:
        assert error(own, truth) < 0.75 * shrunk, "two errors of their own average out"


def test_nothing_is_foretold_by_what_was_trained_on_it():
    """Of noise nothing can be learned: estimates are the mean, not the noise learnt by heart."""
    rng = np.random.default_rng(3)
    truth, statistics = rng.standard_normal((80, 1)), rng.standard_normal((80, 60))
    _, own = refining.fit(np.zeros((80, 1)), statistics, truth, np.arange(80) % 4, 4)
    assert np.corrcoef(own[:, 0], truth[:, 0])[0, 1] < 0.35


def test_arrays_hold_all_of_it():
    means, statistics, truth, fold = made(4, 0.5, 0.5)
    refiner, _ = refining.fit(means, statistics, truth, fold, FOLDS)
    again = Refiner.from_arrays(refiner.arrays())
    assert np.array_equal(again(means, statistics, 1), refiner(means, statistics, 1))


def test_a_scenario_without_parameters_has_nothing_to_estimate():
    _, statistics, _, fold = made(5, 1, 1)
    refiner, own = refining.fit(np.empty((SIZE, 0)), statistics, np.empty((SIZE, 0)), fold, FOLDS)
    assert own.shape == (SIZE, 0)
    assert refiner(np.empty((3, 0)), statistics[:3], 0).shape == (3, 0)
