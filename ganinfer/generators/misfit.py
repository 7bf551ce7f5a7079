"""Misfit: how much further the real statistics lie from what the model can do than noise explains, and in which kinds.

A score is an efficient statistic only where the model is right. What no parameters can make would push them about,
with narrow intervals each time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ganinfer.generators import scores
from ganinfer.generators.emulator import Basis
from ganinfer.generators.linkage import Linkage
from ganinfer.generators.pools import Pool

#: A misfit that noise alone would exceed with less than this probability is believed.
_RARE = 1e-3
_ITERATIONS = 100
_LEAST_FREEDOM = 1e-12
#: Standard deviation, in units of the cloud, by which parameters are thought to move for a better fit.
_MOVE = 3.0
#: Statistics that are sums of each other need a little noise of their own, as a share of their variance.
_OWN_NOISE = 1e-3
#: In units of the noise's variance, the smallest variance that an error of the model may have.
_NOTHING = 1e-8


@dataclass(frozen=True, eq=False)
class Misfit:
    """``dispersion``, at least 1: squared distance of the real means from the model over what noise explains.

    ``missed`` (d,) is the variance of the model's error in each mean statistic, 0 where the dispersion is 1, and
    ``errors`` its standard deviation by family, in standard errors of the real means. Where families are not told
    apart, ``factor`` multiplies the data's own variance instead; else it is 1. ``share`` is the variance of a real
    mean as a share of the variance between windows. ``beyond``: the squared distance less what noise makes of it, in
    units of the real means' own noise, so that it is the same however well the model is known; ``deviation``: its
    standard deviation.
    """

    dispersion: float
    missed: np.ndarray
    errors: Mapping[str, float]
    factor: float
    share: float
    beyond: float
    deviation: float


def measure(
    core: Pool, x: np.ndarray, within: np.ndarray, linkage: Linkage, *, by_family: bool, least: float = 0.0
) -> Misfit:
    """Of all statistics, after the best move of the parameters, whose coordinates are ``x`` (k, p).

    ``core`` are the proposals near the answer, ``within`` (d, d) the covariance between windows of one proposal and
    ``linkage`` what linkage does to the real means. A dispersion that noise may well make is 1. Where
    ``by_family`` is false, the dispersion is that of a quasi-likelihood (McCullagh and Nelder 1989,
    doi:10.1007/978-1-4899-3242-6) and multiplies the variance of everything: in a wide cloud, whose bends no line
    follows, nothing better can be said. ``least`` is an error, in standard errors, that every family has at least.
    """
    from scipy.stats import chi2

    linked = linkage.linked(within)
    white = scores.whitening(linked)
    linear = Basis(core.theta.shape[1], 1)(x)
    weighted = linear * core.moments.count[:, None]
    gram = weighted.T @ linear
    coefficients = np.linalg.solve(gram, weighted.T @ core.moments.mean)
    residual, slopes = core.real.mean(axis=0) - coefficients[0], coefficients[1:].T
    real = core.real @ white
    expected = 1 / np.maximum(np.einsum("ij,ik,kj->j", white, within, white), 1e-300)
    share = linkage.excess(real, expected) / len(real)
    noise = share + float(np.linalg.inv(gram)[0, 0])
    span = np.linalg.qr(white.T @ slopes)[0]
    rest = white.T @ residual
    rest = rest - span @ (span.T @ rest)
    freedom, none = len(rest) - span.shape[1], np.zeros(len(within))
    squared = float(rest @ rest)
    dispersion = float((rest @ rest) / max(freedom, 1) / noise)
    beyond, deviation = (squared - freedom * noise) / share, _deviation(squared, freedom, noise) / share
    if freedom < 1 or dispersion <= chi2.isf(_RARE, freedom) / freedom:
        dispersion = 1.0
    if not by_family:
        return Misfit(dispersion, none, {}, dispersion, share, beyond, deviation)
    if dispersion == 1.0 and least == 0.0:
        return Misfit(1.0, none, {}, 1.0, share, beyond, deviation)
    missed, errors = _missed(residual, slopes, linked * noise, core.families, least)
    return Misfit(dispersion, missed, errors, 1.0, share, beyond, deviation)


def _deviation(squared: float, freedom: int, noise: float) -> float:
    """The standard deviation of a ``squared`` length, of which noise of so much variance has so much freedom."""
    return float(np.sqrt(2 * freedom * noise**2 + 4 * max(squared - freedom * noise, 0.0) * noise))


def _missed(
    residual: np.ndarray, slopes: np.ndarray, covariance: np.ndarray, families: np.ndarray, least: float
) -> tuple[np.ndarray, dict[str, float]]:
    """Variances (d,) of the model's errors, and by family their standard deviations in standard errors.

    ``residual`` (d,) is normal around ``slopes`` (d, p) times the move of the parameters, plus the model's errors,
    plus noise of ``covariance`` (d, d). In units of the noise the errors of a family have one variance, found by
    evidence (automatic relevance determination, MacKay 1996, doi:10.1007/978-1-4612-0745-0_6): it ends at nothing for
    families that the model can make. A variance for each statistic by itself would spare those that the parameters can
    be bent to fit.
    """
    scale = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    used = scale > 1e-9 * max(float(scale.max(initial=0.0)), 1e-300)
    scale, (names, family) = scale[used], np.unique(families[used], return_inverse=True)
    noise = covariance[np.ix_(used, used)] / np.outer(scale, scale) + _OWN_NOISE * np.eye(len(scale))
    moved = _MOVE * slopes[used] / scale[:, None]
    known, values = noise + moved @ moved.T, residual[used] / scale
    variance = np.ones(len(names))
    for _ in range(_ITERATIONS):
        own = variance[family]
        precision = np.linalg.inv(known + np.diag(own))
        squares = np.bincount(family, (own * (precision @ values)) ** 2)
        determined = np.bincount(family, own * np.diag(precision))
        variance = np.maximum(squares / np.maximum(determined, _LEAST_FREEDOM), max(least**2, _NOTHING))
    missed = np.zeros(len(residual))
    missed[used] = variance[family] * scale**2
    return missed, dict(zip(names.tolist(), np.sqrt(variance).tolist(), strict=True))
