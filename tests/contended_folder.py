"""Makes a plausible run folder of scenarios compared on windows by code, for tests of what reads one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ganinfer.storage import SCENARIOS, RunFolder, read_json
from tests import compared_folder, run_folder

NAMES = compared_folder.SHORT
#: What the run of all takes from the best scenario's own.
_BEST = (
    "trajectory.parquet",
    "proposals.parquet",
    "posterior.parquet",
    "training.parquet",
    "metrics.parquet",
    "fit.npz",
    "fit.json",
    "best.demes.yaml",
)


def make(
    path: Path,
    names: Sequence[str] = NAMES,
    *,
    finished: bool = True,
    parameters: bool = True,
    p_values: Sequence[float] | None = None,
    tests: bool = True,
) -> Path:
    """Write a run folder; ``finished`` false: of the last scenario there is one round, and no comparison.

    Every scenario has a parameter more than the one before it; the first is the best.
    """
    with RunFolder.create(path) as run:
        parts = [_part(path / SCENARIOS / name, i, finished or i < len(names) - 1) for i, name in enumerate(names)]
        others = "".join(f"  {name}: {{simulator: demes}}\n" for name in names[1:])
        text = (parts[0] / "experiment.yaml").read_text()
        run.write_text("experiment.yaml", text.replace("discriminator:", f"{others}discriminator:"))
        shutil.copyfile(parts[0] / "data.json", path / "data.json")
        if not finished:
            return path
        for name in _BEST if parameters else ():
            shutil.copyfile(parts[0] / name, path / name)
        for i, name in enumerate(names):
            run.write_text(f"models/{name}.demes.yaml", compared_folder.MODEL.format(size=3000 * (i + 1)))
        statistics = read_json(parts[0] / "fit.json")["names"]
        rng = np.random.default_rng(1)
        run.write_arrays("comparison.npz", compared_folder.pictured(names, rng, statistics))
        run.write_json("warnings.json", {"warnings": []})
        run.write_json("result.json", _result(names, parts, parameters, p_values, tests))
    return path


def _part(path: Path, more: int, finished: bool) -> Path:
    """The run of one scenario, all but the first without what only the best one's report shows."""
    truths = run_folder.IM[: 2 + more]
    run_folder.make(path, truths=truths, minimal=more > 0, finished=finished)
    for name, form in (("experiment.yaml", "  {}:\n"), ("result.json", '"{}"')):
        if (path / name).exists():
            text = (path / name).read_text().replace(form.format("split"), form.format(path.name))
            (path / name).write_text(text)
    return path


def _result(
    names: Sequence[str],
    parts: Sequence[Path],
    parameters: bool,
    p_values: Sequence[float] | None,
    tests: bool,
) -> dict[str, object]:
    values = [0.4, *[0.02] * (len(names) - 1)] if p_values is None else list(p_values)
    result = json.loads(json.dumps(compared_folder.result(names, values, False, False, ["classical"], tests)))
    losses = ((11_392, 0.2), (22_784, 0.15), (45_568, 0.11))
    curve = [{"windows": n, "accuracy": 1 - loss / 3, "log_loss": loss, "step_error": 0.01} for n, loss in losses]
    result["comparison"] |= {
        "log_evidence": {n: 47.0 - 60.5 * i for i, n in enumerate(names)},
        "learning_curve": curve if tests else [],
    }
    for name, part in zip(names, parts, strict=True):
        if parameters:
            result["scenarios"][name]["parameters"] = read_json(part / "result.json")["parameters"]
    if parameters:
        result["parameters"] = result["scenarios"][names[0]]["parameters"]
    seconds = {"simulate": 60.0, "train": 90.0, "move": 30.0, "compare": 40.0, "total": 230.0}
    return result | {"chosen": names[0], "simulated_windows": 45_576, "simulated_tables": 0, "seconds": seconds}
