"""Simulated windows around a point, kept on disk between runs of a benchmark."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ganinfer import execution, experiment, randomness, simulation
from ganinfer.interfaces import EncodingSpec, WindowTemplate
from ganinfer.pipeline import PipelineSettings
from ganinfer.runner import assembling

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".bench" / "information"
ENCODINGS = ("snp-matrix", "joint-counts", "classical")
WINDOWS = 16
NUM_REAL = 2_000

#: Half-widths of the box around the truth, relative to the true values.
BOXES: Mapping[str, Mapping[str, float]] = {
    "im": {"N1": 0.25, "N2": 0.25, "N_anc": 0.25, "T_split": 0.3, "pulse": 2.0},
    "exp": {"N1": 0.25, "N2": 0.25, "T1": 0.25, "T2": 0.45, "growth": 0.6},
    "recombination": {"Ne": 0.25, "recombination_rate": 0.4},
}
#: Sites of the arrays: more than all but a few windows of the box have.
SITES = {"im": 288, "exp": 256, "recombination": 192}


@dataclass(frozen=True, eq=False)
class Point:
    """Windows around the truth of a model: ``theta`` (proposals, parameters), WINDOWS of each, and ``real`` ones.

    ``arrays`` and ``real`` map names to arrays whose first axis is windows, in the order of the proposals.
    """

    model: str
    names: tuple[str, ...]
    truth: np.ndarray
    theta: np.ndarray
    specs: Mapping[str, EncodingSpec]
    arrays: Mapping[str, np.ndarray]
    real: Mapping[str, np.ndarray]


def point(model: str, num_proposals: int, workers: int) -> Point:
    """The windows around ``model``'s truth, simulated if they are not there yet."""
    setup, truth, names = _setup(model)
    half = np.array([BOXES[model][name] for name in names]) * np.abs(truth)
    rng = randomness.stream(1, "box", model)
    theta = truth + half * rng.uniform(-1, 1, size=(num_proposals, len(names)))
    arrays = _windows(model, "around", setup, names, theta, WINDOWS, workers)
    real = _windows(model, "real", setup, names, np.tile(truth, (NUM_REAL // WINDOWS, 1)), WINDOWS, workers)
    return Point(model, names, truth, theta, simulation.encoding_specs(setup), arrays, real)


def _setup(model: str) -> tuple[simulation.Setup, np.ndarray, tuple[str, ...]]:
    loaded = experiment.load(ROOT / "experiments" / f"{model}.yaml")
    plan = assembling.study_plan(loaded)
    scenario = assembling.only_scenario(loaded)
    setup = assembling.base_setup(
        loaded, scenario, plan.setup.samples, PipelineSettings(), ENCODINGS, num_sites=SITES[model]
    )
    parameters = assembling.checked_parameters(loaded, scenario, plan.setup.samples)[1]
    return setup, parameters.vector(plan.truth), parameters.names


def _windows(
    model: str,
    kind: str,
    setup: simulation.Setup,
    names: tuple[str, ...],
    theta: np.ndarray,
    num_windows: int,
    workers: int,
) -> dict[str, np.ndarray]:
    folder = FOLDER / f"{model}-{kind}-{len(theta)}x{num_windows}-{setup.digest[:12]}"
    specs = simulation.encoding_specs(setup)
    complete = folder / "complete.json"
    if not complete.exists():
        folder.mkdir(parents=True, exist_ok=True)
        shape = len(theta) * num_windows
        arrays = {
            name: np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.dtype(s.dtype), (shape, *s.shape))
            for name, s in specs.items()
        }
        template = (WindowTemplate(setup.length),) * num_windows

        def tasks() -> Iterator[simulation.Task]:
            for i, vector in enumerate(theta):
                seed = randomness.simulator_seed(1, "bench", model, kind, i)
                yield simulation.Task(setup, dict(zip(names, map(float, vector), strict=True)), template, seed)

        with execution.make("process", workers) as executor:
            for i, encoded in enumerate(simulation.simulate(tasks(), executor)):
                for name, values in encoded.items():
                    arrays[name][i * num_windows : (i + 1) * num_windows] = values
        for array in arrays.values():
            array.flush()
        complete.write_text(json.dumps({"windows": shape}))
    return {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in specs}
