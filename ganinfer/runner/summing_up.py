"""What calibration data sets amount to: coverage, bias and ranks by parameter, and how often the verdict is false."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ganinfer import storage
from ganinfer.interfaces import EMULATOR_ERROR
from ganinfer.parameters import Parameters
from ganinfer.ranks import coverage, held, uniform_p
from ganinfer.runner.belonging import FULL, KINDS, SHARED

JSON, TABLE = "calibration.json", "calibration.parquet"
#: Levels of intervals whose coverage is told, beside the experiment's own.
_LEVELS = (0.5, 0.9)
#: A model with a smaller p-value is flagged.
_FLAGGED = 0.05

Rows = list[dict[str, Any]]


def row(
    parameters: Parameters,
    truth: np.ndarray,
    posterior: np.ndarray,
    level: float,
    metrics: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """One data set's record: of every parameter the truth, and where it lies in the ``posterior`` (n, p).

    With it the error of the simulations as a share of the standard deviation, where a generator's ``metrics`` have it.
    """
    metrics = metrics or {}
    low, high = np.quantile(posterior, [(1 - level) / 2, (1 + level) / 2], axis=0)
    scaled, at = parameters.to_scale(posterior), parameters.to_scale(truth[None])[0]
    return {
        "parameters": {
            name: {
                "truth": float(truth[i]),
                "estimate": float(np.median(posterior[:, i])),
                "interval": [float(low[i]), float(high[i])],
                "rank": float((posterior[:, i] < truth[i]).mean()),
                "error": float(np.median(scaled[:, i]) - at[i]),
                "sd": float(scaled[:, i].std()),
                "emulator_error": metrics.get(f"{EMULATOR_ERROR}{name}", 0.0),
            }
            for i, name in enumerate(parameters.names)
        }
    }


def records(folder: Path, kind: str) -> dict[int, dict[str, Any]]:
    """The records of one kind of data sets, by number."""
    paths = sorted((folder / kind).glob("[0-9]*.json"))
    return {int(path.stem): storage.read_json(path) for path in paths}


def written(folder: storage.RunFolder, output: Path, level: float, kinds: Sequence[str] = KINDS) -> Path | None:
    """Write calibration.json and calibration.parquet from all records in ``folder`` of these ``kinds``.

    The first goes into the bundle as well; returns its path. Without records there are no such files, and ``None`` is
    returned.
    """
    known = {kind: records(folder.path, kind) if kind in kinds else {} for kind in KINDS}
    if not any(known.values()):
        for path in (folder.path / JSON, folder.path / TABLE, output / "bundle" / JSON):
            storage.remove(path)
        return None
    said = {kind: summed(list(found.values()), level, shared=kind == SHARED) for kind, found in known.items() if found}
    if known[FULL] and known[SHARED]:
        said[FULL]["beside_shared"] = _beside(known[FULL], known[SHARED])
    path = folder.write_json(JSON, said)
    folder.write_table(TABLE, _table(known))
    bundled(output)
    return path


def bundled(output: Path) -> None:
    """Put calibration.json into the bundle of the run in ``output``, where there are both."""
    path = output / storage.CALIBRATION / JSON
    if path.exists() and (output / "bundle").is_dir():
        storage.replace(output / "bundle" / JSON, lambda copy: shutil.copyfile(path, copy))


def summed(rows: Rows, level: float, *, shared: bool = False) -> dict[str, Any]:
    """Of data sets of one kind.

    Where they ``shared`` simulations, the error of these is the same in all of them, and part of a coverage's band.
    """
    errors = [r["parameters"] for r in rows] if shared else []
    names = list(rows[0]["parameters"])
    ranks = {name: np.array([r["parameters"][name]["rank"] for r in rows]) for name in names}
    levels = sorted({*_LEVELS, level})
    by_parameter = {
        name: _of_parameter(
            [r["parameters"][name] for r in rows],
            levels,
            float(np.median([e[name].get("emulator_error", 0.0) for e in errors])) if errors else 0.0,
        )
        for name in names
    }
    pooled = np.concatenate(list(ranks.values()))
    return {
        "sets": len(rows),
        "parameters": by_parameter,
        # Parameters of one data set err together: how far chance may take their common coverage, nobody knows.
        "pooled": {f"{each:g}": {"held": int(held(pooled, each).sum()), "of": len(pooled)} for each in levels},
        "adequacy": _false_alarms([r["adequacy"] for r in rows]),
        "warned": sum(bool(r["warnings"]) for r in rows) if all("warnings" in r for r in rows) else None,
    }


def _of_parameter(found: Sequence[Mapping[str, Any]], levels: Sequence[float], common: float) -> dict[str, Any]:
    ranks, error, sd = (np.array([f[key] for f in found]) for key in ("rank", "error", "sd"))
    return {
        "coverage": {f"{level:g}": _coverage(ranks, level, common) for level in levels},
        "common_error": common,
        "ranks_p": uniform_p(ranks) if common == 0 else None,
        "bias": float(error.mean() / max(sd.mean(), 1e-300)),
        "error_over_sd": float(np.sqrt((error**2).mean()) / max(np.sqrt((sd**2).mean()), 1e-300)),
        "rmse": float(np.sqrt((error**2).mean())),
        "mean_sd": float(sd.mean()),
    }


def _coverage(ranks: np.ndarray, level: float, common: float) -> dict[str, Any]:
    found = coverage(ranks, level, common)
    return {"held": found.held, "of": found.sets, "share": found.share, "band": list(found.band), "right": found.right}


def _false_alarms(found: Sequence[Mapping[str, Any] | None]) -> dict[str, Any] | None:
    """How often a true model was flagged; a run of its own has a verdict, data sets of a shared pool a p-value."""
    p_values = np.array([f["p_value"] for f in found if f is not None])
    if len(p_values) == 0:
        return None
    return {
        "judged": len(p_values),
        "flagged": int((p_values < _FLAGGED).sum()),
        "p_uniform": uniform_p(p_values),
        "mean_p": float(p_values.mean()),
    }


def _beside(full: Mapping[int, Mapping[str, Any]], shared: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Runs of their own beside the same data sets inferred with the shared simulations."""
    both = sorted(full.keys() & shared.keys())
    out = {}
    for name in full[both[0]]["parameters"] if both else ():
        pairs = [(full[k]["parameters"][name], shared[k]["parameters"][name]) for k in both]
        moved = [(f["error"] - s["error"]) / max(s["sd"], 1e-300) for f, s in pairs]
        ratio = [f["sd"] / max(s["sd"], 1e-300) for f, s in pairs]
        out[name] = {
            "difference": float(np.sqrt(np.mean(np.square(moved)))),
            "mean_difference": float(np.mean(moved)),
            "sd_ratio": float(np.median(ratio)),
        }
    return {"sets": len(both), "parameters": out}


def _table(known: Mapping[str, Mapping[int, Mapping[str, Any]]]) -> dict[str, np.ndarray]:
    rows = [
        (kind, number, name, values)
        for kind, found in known.items()
        for number, record in found.items()
        for name, values in record["parameters"].items()
    ]
    keys = ("truth", "estimate", "rank", "error", "sd")
    return {
        "kind": np.array([r[0] for r in rows]),
        "number": np.array([r[1] for r in rows]),
        "parameter": np.array([r[2] for r in rows]),
        **{key: np.array([r[3][key] for r in rows], dtype=float) for key in keys},
        "low": np.array([r[3]["interval"][0] for r in rows], dtype=float),
        "high": np.array([r[3]["interval"][1] for r in rows], dtype=float),
    }
