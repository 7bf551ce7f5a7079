"""The evidence: a likelihood integrated over a prior by importance sampling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ganinfer.evidence.contenders import Contender, reach
from ganinfer.evidence.emulators import Likelihood
from ganinfer.generators.emulator import Coordinates
from ganinfer.parameters import Parameters

#: Draws of an integral over a prior, and degrees of freedom and scale of the distribution that they come from.
_DRAWS, _FREEDOM, _SCALE = 20_000, 5.0, 1.5
#: Draws of a prior that are tried for constraints, and draws of an integral that are tried for impossible models.
_TRIED = 2_000
#: A misfit that noise alone would exceed with less than this probability is believed.
_RARE = 1e-3
_LEAST = 1e-300


@dataclass(frozen=True, eq=False)
class Evidence:
    """``log_value``: of the real means under a scenario, its prior integrated out; ``effective``: draws behind it."""

    log_value: float
    effective: float


def evidence(contender: Contender, likelihood: Likelihood, mean: np.ndarray, rng: np.random.Generator) -> Evidence:
    """Of one ``mean`` (J,), over the scenario's prior, around its solution where the emulator is believed."""
    coordinates, parameters = contender.coordinates, contender.parameters
    size = len(coordinates.centre)
    squares = rng.chisquare(_FREEDOM, _DRAWS) / _FREEDOM
    x = _SCALE * rng.standard_normal((_DRAWS, size)) / np.sqrt(squares)[:, None]
    log_drawn = _log_t(x / _SCALE) - size * np.log(_SCALE)
    inside = (x**2).sum(axis=1) <= reach(contender)
    x, log_drawn = x[inside], log_drawn[inside]
    log_prior = _log_prior(parameters, coordinates, x)
    known = np.isfinite(log_prior)
    x, weight = x[known], log_prior[known] - log_drawn[known]
    weight = weight + likelihood(mean[None], x)[0]
    largest = weight.max(initial=-np.inf)
    if not np.isfinite(largest):
        return Evidence(-np.inf, 0.0)
    share = np.exp(weight - largest)
    total = share.sum()
    tried = x[rng.choice(len(x), min(_TRIED // 10, len(x)), p=share / total)]
    possible = max(parameters.possible(coordinates.decode(tried)).mean(), 1 / len(tried))
    log_value = float(largest + np.log(total / _DRAWS) + np.log(possible) - _log_acceptance(parameters, rng))
    return Evidence(log_value, float(total**2 / (share**2).sum()))


def dispersion(likelihoods: Sequence[Likelihood], contenders: Sequence[Contender], mean: np.ndarray) -> float:
    """How much further than noise explains even the scenario that is closest lies from the real means, at least 1.

    As the factor of a quasi-likelihood (McCullagh and Nelder 1989, doi 10.1007/978-1-4899-3242-6); a distance that
    noise may well make is 1.
    """
    from scipy.stats import chi2

    ratios = []
    for likelihood, contender in zip(likelihoods, contenders, strict=True):
        x = contender.coordinates.encode(contender.posterior)
        best = likelihood.estimate(mean[None])
        inside = np.isfinite(_log_prior(contender.parameters, contender.coordinates, best))
        known = (best**2).sum(axis=1) <= reach(contender)
        distance = likelihood.distance(mean, np.concatenate([x, best[inside & known]]))
        freedom = len(mean) - x.shape[1]
        rare = freedom < 1 or distance <= chi2.isf(_RARE, freedom)
        ratios.append(1.0 if rare else distance / freedom)
    return max(1.0, min(ratios))


def _log_t(x: np.ndarray) -> np.ndarray:
    """Log density (n,) of the multivariate t distribution with unit scale."""
    from scipy.special import gammaln

    size = x.shape[1]
    constant = gammaln((_FREEDOM + size) / 2) - gammaln(_FREEDOM / 2) - size / 2 * np.log(_FREEDOM * np.pi)
    return np.asarray(constant - (_FREEDOM + size) / 2 * np.log1p((x**2).sum(axis=1) / _FREEDOM))


def _log_prior(parameters: Parameters, coordinates: Coordinates, x: np.ndarray) -> np.ndarray:
    """Log density (n,) of the product of marginals over coordinates, minus infinity outside of constraints."""
    theta = coordinates.decode(x)
    logarithmic = np.where(coordinates.logarithmic, np.maximum(theta, _LEAST), 1.0)
    volume = np.linalg.slogdet(coordinates.axes)[1]
    mass = sum(parameter.log_mass() for parameter in parameters)
    return np.asarray(parameters.log_prior(theta) - mass + np.log(logarithmic).sum(axis=1) + volume)


def _log_acceptance(parameters: Parameters, rng: np.random.Generator) -> float:
    """Log of the share of the product of marginals that constraints and impossible models leave."""
    tried = parameters.from_unit(rng.random((_TRIED, len(parameters))))
    return float(np.log(max(parameters.possible(tried).mean(), 1 / _TRIED)))
