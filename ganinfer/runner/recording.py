"""What is remembered of a run's rounds, and the tables of its folder that are made of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from ganinfer import storage
from ganinfer.interfaces import Info
from ganinfer.parameters import Parameters
from ganinfer.runner import rounds

History = list[dict[str, Any]]


class Clock:
    """Seconds that a run has taken by the clock, those of the processes before this one included."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._before = 0.0

    def go_on(self, folder: storage.RunFolder, history: History) -> None:
        """Add what earlier processes took up to their last complete round, or to their end where they reached it."""
        spent = [sum(h["seconds"].values()) for h in history]
        self._before = float(history[-1].get("elapsed", sum(spent))) if history else 0.0
        if (folder.path / "result.json").exists():
            self._before = max(self._before, float(folder.read_json("result.json")["seconds"]["total"]))

    def seconds(self) -> float:
        return self._before + time.monotonic() - self._begun


def entry(problem: Any, state: Any, step: Any, history: History, level: float, elapsed: float) -> dict[str, Any]:
    """What is remembered of a round, as JSON values; ``elapsed`` seconds of the run's clock."""
    info: Info = step.info
    return {
        "round": state.index - 1,
        "estimate": dict(zip(problem.parameters.names, info.estimate.tolist(), strict=True)),
        **_intervals(problem.parameters, info.posterior, level),
        "spread": dict(zip(problem.parameters.names, info.spread.tolist(), strict=True)),
        "num_windows": step.num_windows,
        "joined_windows": step.looked_at if step.turned else 0,
        "total_windows": step.num_windows + (history[-1]["total_windows"] if history else 0),
        "seconds": dict(step.seconds),
        "elapsed": elapsed,
        "metrics": {**{k: float(v) for k, v in info.metrics.items()}, "auc": step.auc},
        "training": step.training.rows,
        "converged": info.converged,
        "budget": {"simulated_windows": problem.budget.simulated_windows, "rounds": problem.budget.rounds},
        "warnings": list(info.warnings),
    }


def at_level(folder: storage.RunFolder, parameters: Parameters, history: History, level: float) -> History:
    """Rounds as remembered, with intervals of ``level``, which a run that goes on may have been given anew."""
    return [{**h, **_intervals(parameters, rounds.last_info(folder, h["round"]).posterior, level)} for h in history]


def _intervals(parameters: Parameters, posterior: np.ndarray | None, level: float) -> dict[str, dict[str, Any]]:
    low = high = [None] * len(parameters)
    if posterior is not None:
        low, high = np.quantile(posterior, [(1 - level) / 2, (1 + level) / 2], axis=0).tolist()
    return {
        "low": dict(zip(parameters.names, low, strict=True)),
        "high": dict(zip(parameters.names, high, strict=True)),
    }


def _per_second(entry: Mapping[str, Any]) -> float:
    """Windows of a round without those of a second look that joined it, which has a time of its own."""
    windows = entry["num_windows"] - entry.get("joined_windows", 0)
    return float(windows / max(entry["seconds"]["simulate"], 1e-9))


def shown(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A round as the terminal shows it."""
    seconds = sum(entry["seconds"].values())
    parameters = {
        name: {"estimate": value, "interval": [entry["low"][name], entry["high"][name]]}
        for name, value in entry["estimate"].items()
    }
    info = {
        "parameters": parameters,
        "seconds": seconds,
        "windows_per_second": _per_second(entry),
        "auc": entry["metrics"]["auc"],
    }
    if "match_distance" in entry["metrics"]:
        info["distance"] = entry["metrics"]["match_distance"]
    return info


def write_tables(folder: storage.RunFolder, problem: Any, state: Any, history: History) -> None:
    """Trajectory, proposals, training and metrics so far."""
    names = problem.parameters.names
    rows = [(h, name) for h in history for name in names]
    seconds = np.cumsum([sum(h["seconds"].values()) for h in history])

    def column(key: str) -> np.ndarray:
        return np.array([np.nan if h[key][name] is None else h[key][name] for h, name in rows], dtype=float)

    folder.write_table(
        "trajectory.parquet",
        {
            "round": np.array([h["round"] for h, _ in rows]),
            "parameter": np.array([name for _, name in rows]),
            "scale": np.array([p.scale for _ in history for p in problem.parameters]),
            **{key: column(key) for key in ("estimate", "low", "high", "spread")},
            "num_windows": np.array([h["total_windows"] for h, _ in rows]),
            "seconds": np.repeat(seconds, len(names)),
        },
    )
    theta = np.concatenate([r.theta for r in state.rounds])
    counts = [len(r.theta) for r in state.rounds]
    folder.write_table(
        "proposals.parquet",
        {
            "round": np.repeat(np.arange(len(counts)), counts),
            "proposal": np.concatenate([np.arange(c) for c in counts]),
            **{name: theta[:, i] for i, name in enumerate(names)},
        },
    )
    training = [{"round": h["round"], **row} for h in history for row in h["training"]]
    if training:
        folder.write_table("training.parquet", {key: np.array([r[key] for r in training]) for key in training[0]})
    metrics = [(h["round"], name, value) for h in history for name, value in numbers(h).items()]
    folder.write_table(
        "metrics.parquet",
        {
            "round": np.array([m[0] for m in metrics]),
            "name": np.array([m[1] for m in metrics]),
            "value": np.array([m[2] for m in metrics], dtype=float),
        },
    )


def numbers(entry: Mapping[str, Any]) -> dict[str, float]:
    """A round's numbers under the names they have in MLflow."""
    values = {f"theta/{name}": value for name, value in entry["estimate"].items()}
    values |= {f"spread/{name}": value for name, value in entry["spread"].items()}
    for key in ("low", "high"):
        values |= {f"{key}/{name}": v for name, v in entry[key].items() if v is not None}
    values |= entry["metrics"]
    last = {row["fold"]: row for row in entry["training"]}
    for loss in ("critic", "regressor"):
        if last:
            values[f"loss/{loss}"] = float(np.mean([row[f"loss_{loss}"] for row in last.values()]))
    values |= {f"seconds/{name}": value for name, value in entry["seconds"].items()}
    values["windows_per_second"] = _per_second(entry)
    values["num_windows"] = entry["total_windows"]
    return values
