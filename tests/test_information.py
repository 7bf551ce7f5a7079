"""The benchmark of statistics finds the information that is known to be there."""

from __future__ import annotations

import numpy as np
import pytest

from tests.bench.information import NUM_WINDOWS, shown, standard_errors


def gaussian(rng, noise_statistics=0):
    """Windows whose statistics are linear in two parameters, with a known covariance."""
    truth = np.array([4.0, -2.0])
    theta = truth + rng.uniform(-1, 1, size=(900, 2))
    slopes = np.array([[1.0, 0.2], [0.3, 0.8], [0.0, 0.5]])
    root = np.array([[2.0, 0, 0], [0.7, 1.5, 0], [-0.4, 0.3, 1.0]])
    windows = (theta @ slopes.T)[:, None] + rng.normal(size=(900, 16, 3)) @ root.T
    noise = rng.normal(size=(900, 16, noise_statistics))
    information = slopes.T @ np.linalg.inv(root @ root.T) @ slopes
    together = 100 * np.sqrt(np.diag(np.linalg.inv(information)) / NUM_WINDOWS) / np.abs(truth)
    alone = 100 / np.sqrt(np.diag(information) * NUM_WINDOWS) / np.abs(truth)
    return np.concatenate([windows, noise], axis=2), theta, truth, together, alone


@pytest.mark.parametrize("noise_statistics", [0, 60])
def test_standard_errors_are_those_of_the_known_information(noise_statistics):
    statistics, theta, truth, together, alone = gaussian(np.random.default_rng(1), noise_statistics)
    found = standard_errors(statistics, theta, truth)
    for values, expected in zip(found, (together, alone), strict=True):
        error = values[1:].std(axis=0)
        assert (np.abs(values[0] - expected) < 4 * error).all()
        assert (error < 0.15 * expected).all()


def test_scale_and_mixing_of_statistics_do_not_matter():
    statistics, theta, truth, _, _ = gaussian(np.random.default_rng(2))
    mixed = statistics @ np.array([[100.0, 3, 0], [0, 1, 5], [1, 0, 0.1]]) + 7
    for a, b in zip(standard_errors(statistics, theta, truth), standard_errors(mixed, theta, truth), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_what_the_proposals_do_not_determine_is_not_given_as_a_number():
    assert shown(1.234, 0.05) == "1.2 ± 0.05"
    assert shown(79.0, 5e8) == "79 ± ?"
    assert shown(np.inf, np.nan) == "?"
