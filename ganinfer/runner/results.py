"""result.json: the answer of a run, every key from the first version on; what is not computed is null."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ganinfer.interfaces import MONTE_CARLO, Info
from ganinfer.parameters import Parameters

#: A parameter is informative when its posterior is this much narrower than its prior, on its own scale.
INFORMATIVE = 0.8
#: Draws that derived quantities are computed of, about.
_DRAWS = 2000


def parameter_results(parameters: Parameters, info: Info, level: float) -> dict[str, Any]:
    """Estimate, interval and prior of each parameter; without a posterior the interval is null."""
    results: dict[str, Any] = {}
    prior_sd = parameters.prior_sd()
    for i, parameter in enumerate(parameters):
        interval, ratio = None, None
        if info.posterior is not None:
            draws = info.posterior[:, i]
            interval = [float(q) for q in np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])]
            ratio = float(parameter.to_scale(draws).std() / prior_sd[i])
        results[parameter.name] = {
            "estimate": float(info.estimate[i]),
            "interval": interval,
            "level": level,
            "unit": parameter.unit,
            "prior": [parameter.lower, parameter.upper],
            "informative": None if ratio is None else ratio < INFORMATIVE,
            "sd_ratio": ratio,
            "monte_carlo": info.metrics.get(f"{MONTE_CARLO}{parameter.name}"),
            "scale": parameter.scale,
            "description": parameter.description,
        }
    return results


def derived(
    of: Callable[[Mapping[str, float]], Mapping[str, float]], parameters: Parameters, info: Info, level: float
) -> dict[str, Any]:
    """Medians and intervals of what parameters come to together, by name; ``of`` says it of one vector.

    Empty where there is no posterior, or a draw has no such value.
    """
    if info.posterior is None:
        return {}
    draws = info.posterior[:: max(len(info.posterior) // _DRAWS, 1)]
    try:
        found = [of(parameters.named(draw)) for draw in draws]
    except ValueError:
        return {}
    told = {}
    for name in found[0]:
        low, middle, high = np.quantile([f[name] for f in found], [(1 - level) / 2, 0.5, (1 + level) / 2])
        told[name] = {"estimate": float(middle), "interval": [float(low), float(high)], "level": level}
    return told


def result(
    scenario: str,
    parameters: Mapping[str, Any],
    *,
    adequacy: Mapping[str, Any] | None = None,
    stability: Mapping[str, Any] | None = None,
    second_opinion: Mapping[str, Any] | None = None,
    known_by_product: tuple[Sequence[str], str] | None = None,
    derived: Mapping[str, Any] | None = None,
    compared: bool = False,
    simulated_windows: int,
    stopped: str,
    seconds: Mapping[str, float],
    seed: int,
    versions: Mapping[str, str],
) -> dict[str, Any]:
    """The whole of result.json but its ``schema_version``, which storage adds.

    ``compared``: the run is a scenario's part of a comparison, which says whether it fits.
    """
    judged = None if adequacy is None else dict(adequacy)
    one = {"probability": 1.0, "parameters": dict(parameters), "adequacy": judged}
    return {
        "best": scenario,
        "scenarios": {scenario: one},
        "parameters": dict(parameters),
        "adequacy": judged,
        "stability": None if stability is None else dict(stability),
        "second_opinion": None if second_opinion is None else dict(second_opinion),
        "known_by_product": _product(known_by_product),
        "derived": dict(derived or {}),
        "comparison": None,
        "compared": compared,
        "simulated_windows": simulated_windows,
        "stopped": stopped,
        "seconds": dict(seconds),
        "seed": seed,
        "versions": dict(versions),
    }


def _product(found: tuple[Sequence[str], str] | None) -> dict[str, Any] | None:
    return None if found is None else {"sizes": list(found[0]), "rate": found[1]}


def compared(
    best: str,
    chosen: str,
    comparison: Mapping[str, Any],
    parameters: Mapping[str, Mapping[str, Any]],
    *,
    simulated: int,
    seconds: Mapping[str, float],
    seed: int,
    versions: Mapping[str, str],
) -> dict[str, Any]:
    """The same for a comparison: ``parameters`` of every scenario by name, none where only the comparison was asked.

    The run's own are those of the scenario ``chosen``: the ``best``, or another where users said so.
    """
    scenarios = {
        name: {
            "probability": probability,
            "parameters": dict(parameters[name]) if name in parameters else None,
            "adequacy": {"verdict": None, "p_value": comparison["prior_predictive_p"][name], "critic_auc": None},
        }
        for name, probability in comparison["probabilities"].items()
    }
    values = {
        "best": best,
        "scenarios": scenarios,
        "chosen": chosen,
        "adequacy": scenarios[chosen]["adequacy"],
        "comparison": dict(comparison),
        "simulated_windows": 0,
        "simulated_tables": simulated,
        "stopped": "budget",
        "seconds": dict(seconds),
        "seed": seed,
        "versions": dict(versions),
    }
    return values | ({"parameters": scenarios[chosen]["parameters"]} if chosen in parameters else {})
