"""Parameters of scenarios on tables whose truth is known: the networks' beside a second, classical method's.

The second is approximate Bayesian computation on the binned joint spectrum: a ridge regression of the parameters on it
(semi-automatic summaries; Fearnhead and Prangle 2012, doi 10.1111/j.1467-9868.2011.01010.x), then rejection and
adjustment by local-linear regression (Beaumont et al. 2002, doi 10.1093/genetics/162.4.2025), as for the networks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import ndtr

from ganinfer import comparison, joint_sfs
from ganinfer.haplotypes import chromosomes
from ganinfer.parameters import Parameters
from ganinfer.runner import bundling
from ganinfer.training.scenarios import Outcome

#: Folds in which summaries of simulations are made by a regression that did not see them.
_FOLDS = 5
_LEVEL = 0.9


def measured(
    bundle: bundling.Bundle, learnt: comparison.Simulations, tests: comparison.Simulations, sets: int
) -> list[dict[str, Any]]:
    """For every scenario and parameter, over ``sets`` tests: mean square errors over the prior's variance, on the
    parameter's scale, of both methods' medians; the share of 90 % intervals that hold the truth; whether most
    posteriors were informative.
    """
    rows = []
    for index, scenario in enumerate(bundle.scenarios):
        chosen = tests.of(index)[:sets]
        truth = scenario.parameters.from_unit(ndtr(tests.sets.targets[chosen][:, : len(scenario.parameters)]))
        ours = _draws(bundle, index, _outcomes(bundle, tests, chosen), len(chosen))
        theirs = _second(bundle, learnt, tests, index, chosen)
        first, second = (_errors(scenario.parameters, truth, draws) for draws in (ours, theirs))
        for j, name in enumerate(scenario.parameters.names):
            rows.append(
                {
                    "scenario": scenario.name,
                    "parameter": name,
                    "networks": first["error"][j],
                    "second": second["error"][j],
                    "coverage": first["coverage"][j],
                    "second_coverage": second["coverage"][j],
                    "informative": first["informative"][j],
                    "of": len(chosen),
                }
            )
    return rows


def _outcomes(bundle: bundling.Bundle, tests: comparison.Simulations, chosen: np.ndarray) -> list[Outcome]:
    arrays = {name: np.asarray(array[chosen]) for name, array in tests.sets.arrays.items()}
    return comparison.judged(bundle.trained, arrays, [1.0] * len(bundle.scenarios))[1]


def _draws(bundle: bundling.Bundle, index: int, outcomes: list[Outcome], size: int) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [
        comparison.posterior(bundle.scenarios[index], index, bundle.simulations, bundle.trained, outcomes, rng, row)
        for row in range(size)
    ]


def _second(
    bundle: bundling.Bundle,
    learnt: comparison.Simulations,
    tests: comparison.Simulations,
    index: int,
    chosen: np.ndarray,
) -> list[np.ndarray]:
    """The same as :func:`_draws` with regressions on the joint spectrum in the place of networks."""
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    scenario, rng = bundle.scenarios[index], np.random.default_rng(2)
    mine = learnt.of(index)
    target = learnt.sets.targets[mine][:, : len(scenario.parameters)]
    known, seen = _spectra(bundle, learnt, mine), _spectra(bundle, tests, chosen)
    fold = np.arange(len(mine)) % _FOLDS
    summary, judged = np.empty_like(target), []
    for k in range(_FOLDS):
        regression = make_pipeline(StandardScaler(), RidgeCV(np.geomspace(1e-1, 1e6, 15)))
        regression.fit(known[fold != k], target[fold != k])
        summary[fold == k] = regression.predict(known[fold == k])
        judged.append(regression.predict(seen))
    own = np.mean(judged, axis=0)
    drawn = []
    for row in range(len(chosen)):
        scores = comparison.adjusted(target, summary, own[row], 2_000, rng)
        drawn.append(scenario.parameters.from_unit(np.clip(ndtr(scores), 1e-6, 1 - 1e-6)))
    return drawn


def _spectra(bundle: bundling.Bundle, simulations: comparison.Simulations, index: np.ndarray) -> np.ndarray:
    sizes = chromosomes(bundle.setup.samples).sizes
    counts, called = (np.asarray(simulations.sets.arrays[name][index]) for name in ("counts", "called"))
    return joint_sfs.features(counts, called, folded=bundle.setup.pipeline.folded, sizes=sizes)


def _errors(parameters: Parameters, truth: np.ndarray, draws: list[np.ndarray]) -> dict[str, list[float]]:
    scaled = parameters.to_scale(truth)
    medians = np.stack([np.median(parameters.to_scale(d), axis=0) for d in draws])
    low, high = (np.stack([np.quantile(d, q, axis=0) for d in draws]) for q in ((1 - _LEVEL) / 2, (1 + _LEVEL) / 2))
    spread = np.stack([parameters.to_scale(d).std(axis=0) for d in draws])
    prior = parameters.prior_sd()
    return {
        "error": (((medians - scaled) / prior) ** 2).mean(axis=0).tolist(),
        "coverage": ((low <= truth) & (truth <= high)).mean(axis=0).tolist(),
        "informative": (spread < 0.8 * prior).mean(axis=0).tolist(),
    }
