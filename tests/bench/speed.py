"""Training at 200 chromosomes: the default network in our encoding against pg-gan's in its own."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np

from ganinfer import experiment, simulation
from ganinfer.haplotypes import SampleSet
from ganinfer.interfaces import EncodingSpec, WindowTemplate
from ganinfer.pipeline import PipelineSettings
from ganinfer.runner import assembling
from tests.bench.data import ROOT

_SAMPLES = (SampleSet("A", 50), SampleSet("B", 50))
_SITES = 288
_PROPOSALS, _WINDOWS = 24, 16


def training_speed() -> str:
    """Windows a CPU second, a whole round of training each and its steps alone, as lines of text."""
    arrays, specs = _encoded(_SITES)
    ours = _speed("exchangeable", specs, arrays)
    arrays, specs = _encoded(36)
    theirs = _speed("pg-gan", specs, arrays)
    lines = ["windows a CPU second in training at 200 chromosomes:"]
    for label, sites, (round_, step) in (("exchangeable", _SITES, ours), ("pg-gan", 36, theirs)):
        lines.append(f"  {label:14s}{200 * sites:7,d} cells  whole round {round_:7.0f}  a step alone {step:7.0f}")
    ratios = ours[0] / theirs[0], ours[1] / theirs[1]
    lines.append(
        f"  ratio {ratios[0]:.1f} in a whole round, {ratios[1]:.1f} in a step, at {_SITES / 36:.0f} x the cells"
    )
    return "\n".join(lines)


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
    one, whole = seconds(1), seconds(settings.epochs)
    passes = (1 + settings.real_share) * num
    return passes * settings.epochs / whole, passes * (settings.epochs - 1) / (whole - one)
