"""Probabilities that mean what they say: a temperature and a floor, fitted on data sets that trained nothing.

Logits are divided by one temperature (Guo et al. 2017, arXiv 1706.04599) and the softmax is mixed with the uniform
distribution. The share of the mixture is fitted too, and never below what so many data sets can tell from zero: after n
without an error the next is wrong with probability 1 / (n + 2) (Laplace's rule of succession).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_LOG_TEMPERATURE = 5.0


@dataclass(frozen=True)
class Calibration:
    """``temperature`` of the logits and ``floor``, the share of the uniform distribution; ``num_sets`` behind them."""

    temperature: float
    floor: float
    num_sets: int

    def probabilities(self, logits: np.ndarray, weights: Sequence[float] | np.ndarray | None = None) -> np.ndarray:
        """(..., scenarios) from logits of networks that saw each scenario equally often; ``weights``: the prior's."""
        size = logits.shape[-1]
        prior = np.full(size, 1 / size) if weights is None else np.asarray(weights, dtype=float) / np.sum(weights)
        return _mixed(logits / self.temperature + np.log(prior * size), self.floor)


def _mixed(logits: np.ndarray, floor: float) -> np.ndarray:
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return (1 - floor) * shifted / shifted.sum(axis=-1, keepdims=True) + floor / logits.shape[-1]


def fit(logits: np.ndarray, scenario: np.ndarray, *, coolest: float = 0.0) -> Calibration:
    """From ``logits`` (n, scenarios) of data sets whose true ``scenario`` (n,) is known.

    ``coolest``: the least temperature. Where no data set is mistaken for another, any small one fits.
    """
    from scipy.optimize import minimize
    from scipy.special import expit

    least = 1 / (len(scenario) + 2)
    rows = np.arange(len(scenario))

    def loss(x: np.ndarray) -> float:
        temperature, floor = meant(x)
        return float(-np.log(_mixed(logits / temperature, floor)[rows, scenario]).mean())

    def meant(x: np.ndarray) -> tuple[float, float]:
        temperature = float(np.exp(np.clip(x[0], -_LOG_TEMPERATURE, _LOG_TEMPERATURE)))
        temperature = max(temperature, coolest)
        return temperature, least + (1 - least) * float(expit(x[1]))

    starts = [(0.0, -6.0), (1.0, -6.0), (0.0, -3.0)]
    found = min((minimize(loss, x0, method="Nelder-Mead") for x0 in starts), key=lambda result: result.fun)
    return Calibration(*meant(found.x), len(rows))


def log_loss(probabilities: np.ndarray, scenario: np.ndarray) -> float:
    """Mean of minus the logarithm of the true scenario's probability."""
    return float(-np.log(probabilities[np.arange(len(scenario)), scenario]).mean())


def log_loss_error(probabilities: np.ndarray, scenario: np.ndarray) -> float:
    """Standard error of :func:`log_loss`."""
    losses = -np.log(probabilities[np.arange(len(scenario)), scenario])
    return float(losses.std(ddof=1) / np.sqrt(len(losses))) if len(losses) > 1 else float("nan")


def confusion(probabilities: np.ndarray, scenario: np.ndarray) -> np.ndarray:
    """(scenarios, scenarios) data sets by true scenario (row) and most probable one (column)."""
    size = probabilities.shape[1]
    table = np.zeros((size, size), dtype=np.int64)
    np.add.at(table, (scenario, probabilities.argmax(axis=1)), 1)
    return table


@dataclass(frozen=True, eq=False)
class Reliability:
    """Of all scenarios' probabilities, by bin: ``count``, mean ``predicted``, share ``observed``; NaN where empty."""

    edges: np.ndarray
    count: np.ndarray
    predicted: np.ndarray
    observed: np.ndarray


def reliability(probabilities: np.ndarray, scenario: np.ndarray, num_bins: int = 10) -> Reliability:
    """How often scenarios said to be so probable are true, in bins of equal width."""
    true = np.zeros(probabilities.shape, dtype=bool)
    true[np.arange(len(scenario)), scenario] = True
    return _binned(probabilities.ravel(), true.ravel(), num_bins)


def expected_calibration_error(probabilities: np.ndarray, scenario: np.ndarray, num_bins: int = 10) -> float:
    """Mean gap between the most probable scenario's probability and how often it is true (Naeini et al. 2015)."""
    bins = _binned(probabilities.max(axis=1), probabilities.argmax(axis=1) == scenario, num_bins)
    used = bins.count > 0
    gaps = np.abs(bins.predicted[used] - bins.observed[used])
    return float((bins.count[used] * gaps).sum() / max(bins.count.sum(), 1))


def _binned(probability: np.ndarray, true: np.ndarray, num_bins: int) -> Reliability:
    edges = np.linspace(0, 1, num_bins + 1)
    index = np.clip(np.digitize(probability, edges) - 1, 0, num_bins - 1)
    count = np.bincount(index, minlength=num_bins)
    with np.errstate(invalid="ignore", divide="ignore"):
        predicted = np.bincount(index, probability, minlength=num_bins) / count
        observed = np.bincount(index, true.astype(float), minlength=num_bins) / count
    return Reliability(edges, count, predicted, observed)
