"""Training at 200 chromosomes: the default network in our encoding against pg-gan's in its own."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from ganinfer import experiment, simulation
from ganinfer.haplotypes import SampleSet
from ganinfer.interfaces import EncodingSpec, WindowTemplate
from ganinfer.pipeline import PipelineSettings
from ganinfer.runner import assembling
from tests.bench.data import ROOT

_SAMPLES = (SampleSet("A", 50), SampleSet("B", 50))
_CHROMOSOMES = sum(s.num_chromosomes for s in _SAMPLES)
#: Sites of each network's arrays; a cell is a chromosome at a site.
SITES = {"exchangeable": 288, "pg-gan": 36}
_PROPOSALS, _WINDOWS = 24, 16
#: Epochs beyond the first, which alone tell what a step costs without what a round costs once.
_MORE_EPOCHS = 8


def measure(repeats: int = 3) -> list[dict[str, Any]]:
    """A record a network: its cells, and windows a CPU second in every repeat, of whole rounds and of steps alone."""
    prepared = {name: _encoded(sites) for name, sites in SITES.items()}
    found = {
        name: {"network": name, "sites": sites, "cells": _CHROMOSOMES * sites, "round": [], "step": []}
        for name, sites in SITES.items()
    }
    for _ in range(repeats):
        for name, (arrays, specs) in prepared.items():
            whole, step = _speed(name, specs, arrays)
            found[name]["round"].append(round(whole, 1))
            found[name]["step"].append(round(step, 1))
            print(
                f"  {name}: {whole:.0f} windows a CPU second in a round of training, {step:.0f} in its steps",
                flush=True,
            )
    return list(found.values())


def _encoded(num_sites: int) -> tuple[dict[str, np.ndarray], dict[str, EncodingSpec]]:
    loaded = experiment.load(ROOT / "experiments" / "im.yaml")
    setup = assembling.base_setup(
        loaded, "im", _SAMPLES, PipelineSettings(), ("snp-matrix", "joint-counts"), num_sites=num_sites
    )
    truth = assembling.study_plan(loaded).truth
    templates = (WindowTemplate(setup.length),) * _WINDOWS
    parts = [simulation.simulate_task(simulation.Task(setup, truth, templates, seed + 1)) for seed in range(_PROPOSALS)]
    return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}, simulation.encoding_specs(setup)


def _speed(name: str, specs: Mapping[str, EncodingSpec], arrays: Mapping[str, np.ndarray]) -> tuple[float, float]:
    from ganinfer import training

    num = len(arrays["mask"])
    targets = np.random.default_rng(1).random((_PROPOSALS, 5))
    simulated = training.Windows(arrays, np.zeros(num, dtype=int), np.arange(num) // _WINDOWS, targets)
    real = training.Windows(arrays, np.zeros(num, dtype=int))
    network = training.init(name, {}, specs, 5, training.TrainingSettings(), 1)[1]

    def seconds(epochs: int) -> float:
        begun = time.process_time()
        settings = training.TrainingSettings(epochs=epochs)
        training.train([network], simulated, real, settings, np.random.default_rng(1))
        return time.process_time() - begun

    seconds(1)  # traces
    settings = training.TrainingSettings()
    one, whole, long = seconds(1), seconds(settings.epochs), seconds(1 + _MORE_EPOCHS)
    passes = (1 + settings.real_share) * num
    return passes * settings.epochs / whole, passes * _MORE_EPOCHS / (long - one)
