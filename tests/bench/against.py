"""Our default against pg-gan's rule with its network: error of the estimate by CPU seconds, same data, same truth.

Every run has a process of its own and simulates in it, so that its CPU seconds are all there are: imports, the
simulation of the data set, TensorFlow, simulated windows. Nothing is sent to MLflow and no report is written. After
every round the estimate and the CPU seconds so far are kept in docs/verification/against-pg-gan; a run that is
finished there is not done again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench import pg_gan
from tests.bench.data import ROOT

RECORDS = ROOT / "docs" / "verification" / "against-pg-gan"
SCHEMA_VERSION = 1
MODELS = ("const", "im")
#: CPU seconds at which methods are compared.
LIMITS = (60, 600)
PUBLISHED_ROUNDS = 300

#: Simulated windows of the default's runs: a run plans its rounds from its budget.
DEFAULT_WINDOWS = (4_000, 15_000, 60_000, 150_000)


@dataclass(frozen=True)
class Method:
    """One way to infer, and the CPU seconds at which it is stopped.

    ``size``: the default's budget of simulated windows; annealing's rounds, 0 for as many as fit into ``stop``.
    """

    name: str
    side: str
    size: int
    stop: float


#: The published schedule takes hours. Its beginning tells what a round costs, and so which schedule fits a limit.
PUBLISHED = Method("annealing-300", "pg-gan", PUBLISHED_ROUNDS, 2 * LIMITS[0])
METHODS = (
    PUBLISHED,
    *(Method(f"annealing-{limit}s", "pg-gan", 0, limit) for limit in LIMITS),
    *(Method(f"default-{windows}", "default", windows, 1.5 * LIMITS[-1]) for windows in DEFAULT_WINDOWS),
)


class AgainstError(ValueError):
    """A run of the comparison cannot be made."""


def method(name: str) -> Method:
    return next(m for m in METHODS if m.name == name)


def run_missing(models: Sequence[str], sides: Iterable[str], seeds: Sequence[int]) -> None:
    """Make every run that has no finished record, each in a process of its own."""
    for seed in seeds:
        for chosen in (m for m in METHODS if m.side in sides):
            if chosen is PUBLISHED and seed != seeds[0]:
                continue  # one data set tells what its rounds cost
            for model in models:
                found = read(model, chosen.name, seed)
                if found is None or not found["finished"]:
                    print(f"{model}, {chosen.name}, data seed {seed}", flush=True)
                    _in_a_process(model, chosen.name, seed)


def _in_a_process(model: str, name: str, seed: int) -> None:
    one = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
    command = [sys.executable, "-m", "tests.bench.against", model, name, str(seed)]
    environment = {**os.environ, **one, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, check=False)
    if done.returncode:
        raise AgainstError(f"{model}, {name}, data seed {seed}: the run ended with exit code {done.returncode}")


def run_one(model: str, name: str, seed: int) -> None:
    """One run in this process, its record on disk after every round."""
    from ganinfer import experiment
    from ganinfer.runner import assembling

    chosen = method(name)
    overrides = [f"data.simulate.seed={seed}", f"seed={seed}", "execution={executor: serial, threads: 1}"]
    if chosen.side == "default":
        overrides.append(f"budget.simulated_windows={chosen.size}")
    loaded = experiment.load(ROOT / "experiments" / f"{model}.yaml", overrides)
    assembling.import_training(loaded)
    with tempfile.TemporaryDirectory(prefix="against-") as folder:
        if chosen.side == "default":
            run: Any = Default(loaded, Path(folder))
        else:
            run = pg_gan.Annealed(loaded, chosen.size or _rounds_that_fit(model, chosen), Path(folder))
        record: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "model": model,
            "method": name,
            "side": chosen.side,
            "seed": seed,
            "truth": dict(loaded.data.simulate.truth),
            "prior": {p.name: [p.lower, p.upper] for p in run.parameters},
            "planned_rounds": run.planned_rounds,
            "versions": _versions(),
            "finished": False,
            "start_cpu_seconds": round(time.process_time(), 2),
            "rounds": [],
        }
        for estimate in run.rounds():
            entry = {
                "cpu_seconds": round(time.process_time(), 2),
                "windows": run.num_windows,
                "estimate": run.parameters.named(estimate),
            }
            record["rounds"].append(entry)
            write(record)
            shown = ", ".join(f"{n} {v:.4g}" for n, v in entry["estimate"].items())
            print(f"  {entry['cpu_seconds']:6.0f} CPU s, {entry['windows']:,} windows: {shown}", flush=True)
            if entry["cpu_seconds"] >= chosen.stop:
                break
    record["finished"] = True
    write(record)


class Default:
    """A run of the shipped default, round by round, by the engine's own loop. It simulates in this process."""

    def __init__(self, loaded: Any, folder: Path):
        from ganinfer.runner import assembling, inferring

        self._workers = assembling.executor(loaded)
        real = assembling.open_data(loaded, self._workers, folder)
        scenario = assembling.only_scenario(loaded)
        self._problem, _ = inferring.problem_of(loaded, scenario, real, folder / "cache")
        self.parameters = self._problem.parameters
        self.planned_rounds = len(self._problem.plan)
        self.num_windows = 0

    def rounds(self) -> Iterator[np.ndarray]:
        """The estimate after each round."""
        from ganinfer import inference

        state = inference.init(self._problem)
        with self._workers:
            while state.index < self.planned_rounds:
                state, step = inference.step(
                    self._problem, state, self._workers, done=lambda _: None, clock=time.process_time
                )
                self.num_windows = state.num_windows
                yield step.info.estimate
                if step.info.converged:
                    return


def _rounds_that_fit(model: str, chosen: Method) -> int:
    """Rounds that end within the method's CPU seconds, by what those of the published schedule cost."""
    others = [r for r in records() if r["model"] == model and r["method"] == PUBLISHED.name and r["finished"]]
    if not others:
        raise AgainstError(f"{model}, {chosen.name}: its number of rounds comes from {PUBLISHED.name}, not made yet")
    seconds = [entry["cpu_seconds"] for entry in others[0]["rounds"]]
    # The first round pays for imports and tracing.
    each = (seconds[-1] - seconds[0]) / (len(seconds) - 1)
    return max(2, 1 + int((chosen.stop - seconds[0]) / each))


def _versions() -> dict[str, str]:
    from ganinfer.runner import assembling

    known = assembling.versions()
    return {name: known[name] for name in ("ganinfer", "tensorflow", "keras", "msprime", "numpy") if name in known}


# --- records ------------------------------------------------------------------------------------------------------


def read(model: str, name: str, seed: int, folder: Path = RECORDS) -> dict[str, Any] | None:
    path = folder / f"{model}-{name}-{seed}.json"
    if not path.exists():
        return None
    record = json.loads(path.read_text(encoding="utf-8"))
    if record.get("schema_version") != SCHEMA_VERSION:
        raise AgainstError(f"{path} has schema version {record.get('schema_version')}, this code {SCHEMA_VERSION}")
    return record


def records(folder: Path = RECORDS) -> list[dict[str, Any]]:
    """All finished and unfinished runs, by model, method and seed."""
    order = {m.name: i for i, m in enumerate(METHODS)}
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    return sorted((r for r in found if r["method"] in order), key=lambda r: (r["model"], order[r["method"]], r["seed"]))


def write(record: Mapping[str, Any], folder: Path = RECORDS) -> None:
    """The file is whole at any moment."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{record['model']}-{record['method']}-{record['seed']}.json"
    partial = path.with_suffix(".partial")
    lines = ",\n  ".join(json.dumps(entry) for entry in record["rounds"])
    head = json.dumps({k: v for k, v in record.items() if k != "rounds"}, indent=1)
    partial.write_text(head.removesuffix("\n}") + ',\n "rounds": [\n  ' + lines + "\n ]\n}\n", encoding="utf-8")
    os.replace(partial, path)


if __name__ == "__main__":
    run_one(sys.argv[1], sys.argv[2], int(sys.argv[3]))
