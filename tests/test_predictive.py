"""Real beside simulated statistics: how many simulations, and what their difference is measured in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ganinfer import execution, simulation
from ganinfer.experiment import load, pipeline_settings, sample_sets
from ganinfer.interfaces import WindowTemplate
from ganinfer.runner import assembling

EXPERIMENTS = Path(__file__).parent.parent / "experiments"
PROPOSALS, WINDOWS, DATA_SETS = 100, 16, 80
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def windows() -> np.ndarray:
    """Classical statistics (proposals, windows, d) of a small split, all at its truth."""
    experiment = load(EXPERIMENTS / "im.yaml", ["data.simulate.samples={A: 4, B: 4}", "windows.length=15000"])
    study = experiment.data.simulate
    pipeline = pipeline_settings(experiment, True)
    setup = assembling.base_setup(experiment, "im", sample_sets(study), pipeline, ["classical"])
    template = (WindowTemplate(15_000),) * WINDOWS
    tasks = [simulation.Task(setup, dict(study.truth), template, seed, "") for seed in range(1, 2 * PROPOSALS + 1)]
    with execution.make("serial") as serial:
        return np.stack([encoded["classical"] for encoded in simulation.simulate(tasks, serial)])


def z_scores(real: np.ndarray, block: np.ndarray, simulated: np.ndarray) -> np.ndarray:
    """As the report has them: statistics without any variation are left out."""
    from ganinfer.predictive import _compared

    found = _compared(real, block, simulated)
    se = np.hypot(found["real_se"], found["simulated_se"])
    kept = se > 0
    return (found["real_mean"] - found["simulated_mean"])[kept] / se[kept]


@pytest.mark.parametrize("num_real", [20, 60])
def test_at_the_truth_five_percent_lie_outside_two_standard_errors(num_real, windows):
    """Statistics of one data set depend on each other: the error of the share is that over data sets."""
    rng = np.random.default_rng(num_real)
    outside, furthest = [], 0.0
    for _ in range(DATA_SETS):
        order = rng.permutation(len(windows))
        rest = windows[order[PROPOSALS:]].reshape(-1, windows.shape[2])
        real = rest[rng.choice(len(rest), num_real, replace=False)]
        z = z_scores(real, np.arange(num_real), windows[order[:PROPOSALS]])
        outside.append(np.mean(np.abs(z) > 1.96))
        furthest = max(furthest, float(np.abs(z).max()))
    independent = 10  # about so many of the statistics of a window
    error = max(np.std(outside) / np.sqrt(DATA_SETS), np.sqrt(0.05 * 0.95 / (independent * DATA_SETS)))
    assert np.mean(outside) == pytest.approx(0.05, abs=2.6 * error)
    assert furthest < 7


def test_a_bin_without_a_real_site_is_no_surprise_where_few_are_expected(windows):
    """Means of 0 in the data and of .01 a window in the model, whose simulations know it well."""
    rng = np.random.default_rng(1)
    simulated = rng.poisson(0.01, (2000, WINDOWS, 1)).astype(float)
    (z,) = z_scores(np.zeros((20, 1)), np.arange(20), simulated)
    assert -1.0 < z < 0.0


def test_linked_windows_count_for_less():
    """Ten blocks of twenty windows that are all alike: errors as of ten windows, also where they are the model's."""
    from ganinfer.predictive import _compared

    rng = np.random.default_rng(2)
    simulated = rng.normal(0.0, 1.0, (100, WINDOWS, 200))
    real = np.repeat(rng.normal(0.0, 1.0, (10, 200)), 20, axis=0)
    error = _compared(real, np.repeat(np.arange(10), 20), simulated)["real_se"]
    assert np.median(error) == pytest.approx(1 / np.sqrt(10), rel=0.1)


def test_many_blocks_keep_their_own_error(windows):
    from ganinfer.predictive import _compared, block_standard_error

    real = windows[:100].reshape(-1, windows.shape[2])
    block = np.arange(len(real)) // 4
    filled = [(real[block == b] != 0).any(axis=0) for b in np.unique(block)]
    common = np.sum(filled, axis=0) >= 30
    assert common.sum() > 20
    error = _compared(real, block, windows[100:])["real_se"]
    np.testing.assert_allclose(error[common], block_standard_error(real.astype(float), block)[common])


@pytest.mark.parametrize(
    ("num_real", "proposals"), [(1, 100), (20, 100), (60, 100), (405, 25), (2000, 125), (9000, 200)]
)
def test_few_real_windows_have_many_proposals(num_real, proposals):
    """What the shipped experiments have, 405 windows and 2,000, is compared with as many."""
    from ganinfer.predictive import _num_proposals

    assert _num_proposals(num_real) == proposals
    counts = [_num_proposals(n) for n in range(1, 5000)]
    assert min(counts) >= 24
