"""Probabilities that mean what they say: temperature, floor, and the measures of both."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import log_softmax

from ganinfer import calibration


def drawn(num_sets: int, seed: int, sharpness: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are ``sharpness`` times the right ones, and scenarios drawn by the right ones."""
    rng = np.random.default_rng(seed)
    right = log_softmax(2 * rng.standard_normal((num_sets, 3)), axis=1)
    scenario = (rng.random((num_sets, 1)) > np.exp(right).cumsum(axis=1)).sum(axis=1)
    return sharpness * right, np.minimum(scenario, 2)


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_overconfidence(sharpness):
    logits, scenario = drawn(4_000, 1, sharpness)
    fitted = calibration.fit(logits, scenario)
    assert fitted.temperature == pytest.approx(sharpness, rel=0.12)
    again, fresh = drawn(4_000, 2, sharpness)
    assert calibration.expected_calibration_error(fitted.probabilities(again), fresh) < 0.03


def test_the_floor_is_what_so_many_sets_can_tell():
    """A classifier that was never wrong is not certain: Laplace's rule of succession."""
    scenario = np.arange(99) % 3
    fitted = calibration.fit(100.0 * np.eye(3)[scenario], scenario)
    least = fitted.probabilities(100.0 * np.eye(3)[:1])[0]
    assert fitted.floor >= 1 / 101
    assert least.max() <= 1 - (2 / 3) / 101 + 1e-12
    more = calibration.fit(100.0 * np.eye(3)[np.arange(999) % 3], np.arange(999) % 3)
    assert more.probabilities(100.0 * np.eye(3)[:1]).max() > least.max()


def test_the_floor_grows_where_certain_answers_were_wrong():
    scenario = np.arange(300) % 3
    said = scenario.copy()
    said[:30] = (said[:30] + 1) % 3
    fitted = calibration.fit(50.0 * np.eye(3)[said], scenario)
    assert fitted.probabilities(50.0 * np.eye(3)[:1]).max() == pytest.approx(0.9, abs=0.03)


@given(arrays(float, (5, 4), elements=st.floats(-500, 500)), st.floats(0.1, 10), st.floats(1e-4, 0.5))
def test_probabilities_are_probabilities(logits, temperature, floor):
    p = calibration.Calibration(temperature, floor, 10).probabilities(logits)
    np.testing.assert_allclose(p.sum(axis=1), 1.0)
    assert (p >= floor / 4 - 1e-12).all()


def test_prior_weights_multiply_the_odds():
    logits = np.array([[0.3, -0.2]])
    plain = calibration.Calibration(1.0, 0.0, 10).probabilities(logits)[0]
    weighted = calibration.Calibration(1.0, 0.0, 10).probabilities(logits, [3.0, 1.0])[0]
    assert weighted[0] / weighted[1] == pytest.approx(3 * plain[0] / plain[1])


def test_measures_by_hand():
    p = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.7, 0.3]])
    true = np.array([0, 1, 1, 0])
    assert calibration.log_loss(p, true) == pytest.approx(-np.log([0.9, 0.4, 0.8, 0.7]).mean())
    assert calibration.log_loss_error(p, true) == pytest.approx(np.log([0.9, 0.4, 0.8, 0.7]).std(ddof=1) / 2)
    np.testing.assert_array_equal(calibration.confusion(p, true), [[2, 0], [1, 1]])
    # Bins of the largest probability: .9 right, .6 wrong, .8 right, .7 right, each alone.
    assert calibration.expected_calibration_error(p, true) == pytest.approx((0.1 + 0.6 + 0.2 + 0.3) / 4)
    bins = calibration.reliability(p, true, 2)
    np.testing.assert_array_equal(bins.count, [4, 4])
    np.testing.assert_allclose(bins.observed, [0.25, 0.75])
    np.testing.assert_allclose(bins.predicted, [0.25, 0.75])


def test_an_empty_bin_is_not_a_number():
    bins = calibration.reliability(np.array([[1.0, 0.0]]), np.array([0]), 4)
    assert np.isnan(bins.observed[1:3]).all()
    assert bins.count.tolist() == [1, 0, 0, 1]
