"""The table of the accuracy verification: what its ratios, counts and comparisons mean."""

from __future__ import annotations

import numpy as np
import pytest

from tests.verification import accuracy, records

TRUTH = {"N1": 9_000.0, "N2": 5_000.0}


def fit(seed, factors, width=0.1):
    estimate = {n: TRUTH[n] * f for n, f in zip(TRUTH, factors, strict=True)}
    return {
        "seed": seed,
        "truth": TRUTH,
        "estimate": estimate,
        "interval": {n: [v * (1 - width), v * (1 + width)] for n, v in estimate.items()},
        "sd": {n: 0.01 * v for n, v in TRUTH.items()},
        "windows": 1_000 * seed,
        "stopped": "budget" if seed == 1 else "converged",
        "seconds": {"total": 60.0 * seed},
    }


def test_ratios_are_of_root_mean_squares_over_the_same_data_sets():
    theirs = np.random.default_rng(1).normal(size=(10, 3))
    compared = accuracy.compare(theirs * [1.0, 2.0, 0.5], theirs)
    np.testing.assert_allclose(compared.ours / compared.moments, [1.0, 2.0, 0.5])
    # Errors that are multiples of each other leave the bootstrap nothing to vary.
    np.testing.assert_allclose(compared.low, [1.0, 2.0, 0.5])
    assert compared.mean_ratio == pytest.approx((1.0, 1.0, 1.0))


def test_the_interval_of_a_ratio_widens_with_scatter():
    rng = np.random.default_rng(2)
    compared = accuracy.compare(rng.normal(size=(10, 1)), rng.normal(size=(10, 1)))
    assert compared.low[0] < compared.ours[0] / compared.moments[0] < compared.high[0]
    assert compared.high[0] > 1.5 * compared.low[0]


def test_the_table_compares_only_data_sets_that_both_have(tmp_path):
    for seed, factors in [(1, (1.01, 1.02)), (2, (0.99, 0.98)), (3, (1.5, 1.5))]:
        records.add(accuracy.record_path("im", tmp_path), "im", fit(seed, factors))
    for seed in (1, 2):
        records.add(tmp_path / "moments-im.json", "im", fit(seed, (1.02, 1.02)))
    lines = accuracy.table(tmp_path).splitlines()
    cells = [line.strip("| ").split(" | ") for line in lines if line.startswith("| im |")]
    n1, n2, mean, cost = cells
    assert n1[:5] == ["im", "N1", "3", "28.88", "2.00"]
    assert n1[5] == "0.50 (0.50–0.50)"
    assert n1[7:] == ["1.6", "31.2", "2 of 3"]
    assert n2[5] == "1.00 (1.00–1.00)"
    assert "**0.71**" in mean[4]
    assert cost == ["im", "3", "2.0, 3.0", "2,000", "budget 1, converged 2"]


def test_every_case_is_an_experiment_that_loads():
    from tests.verification.yardstick import load_case

    for case, spec in accuracy.CASES.items():
        assert load_case(case, 3).data.simulate.seed == 3
        assert spec.moments is None or accuracy.CASES[spec.moments].moments == spec.moments
