"""Whether a vector is a possible history, asked of thousands of draws a step: vectors a CPU second.

The bare way builds the demes graph of each. Both look at the same draws, all over the prior and its constraints broken
or not, and say the same. A simulator is new each time, so that nothing is known of its patterns beforehand.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from ganinfer import experiment, randomness
from ganinfer.experiment import simulator
from ganinfer.runner import assembling
from tests.bench.data import ROOT

MODELS = ("im", "ooa3", "yri-ceu")


def measure(vectors: int, repeats: int) -> list[dict[str, Any]]:
    """A record a model: CPU seconds of all ``vectors`` both ways, and how many are possible."""
    return [_of_model(model, vectors, repeats) for model in MODELS]


def _of_model(model: str, vectors: int, repeats: int) -> dict[str, Any]:
    told = experiment.load(ROOT / "experiments" / f"{model}.yaml", [])
    scenario = assembling.only_scenario(told, None)
    parameters = simulator(told, scenario).parameters
    rng = randomness.stream(1, "histories", model)
    low, high = (np.array([getattr(p, end) for p in parameters]) for end in ("lower", "upper"))
    draws = [parameters.named(v) for v in low + rng.random((vectors, len(low))) * (high - low)]
    seconds: dict[str, list[float]] = {"bare": [], "ours": []}
    for _ in range(repeats):
        said = {}
        for kind, spent in seconds.items():
            plugin = simulator(told, scenario)
            begun = time.process_time()
            said[kind] = [_built(plugin, d) if kind == "bare" else plugin.parameters.problem(d) is None for d in draws]
            spent.append(time.process_time() - begun)
        if said["bare"] != said["ours"]:
            raise AssertionError(f"{model}: patterns and graphs disagree on which histories are possible")
    return {"model": model, "vectors": vectors, "possible": sum(said["ours"]), **seconds}


def _built(plugin: Any, theta: dict[str, float]) -> bool:
    try:
        plugin.graph(theta)
    except ValueError:
        return False
    return True
