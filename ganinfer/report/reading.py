"""A run folder's files as plain data; what is not there is ``None`` and has a reason."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

#: Version of result.json and of the other files that this report reads.
SCHEMA_VERSION = 1
#: Where a comparison of scenarios on windows has a run of each.
SCENARIO_RUNS = "scenarios"
#: Where simulated data sets like the real one, whose truth is known, are told of.
CALIBRATION = "calibration"
_LOG_FROM_RATIO = 50.0

Table = dict[str, np.ndarray]


class ReportError(ValueError):
    """A folder cannot be reported on."""


@dataclass(frozen=True)
class Estimate:
    """One parameter as result.json has it, or before that the trajectory's last round."""

    name: str
    estimate: float
    interval: tuple[float, float] | None = None
    level: float = 0.9
    unit: str = ""
    prior: tuple[float, float] | None = None
    informative: bool | None = None
    description: str = ""
    scale: str | None = None
    sd_ratio: float | None = None
    truth: float | None = None

    @property
    def logarithmic(self) -> bool:
        """Whether to draw it on a logarithmic axis: as its scale says, else if a positive prior spans much."""
        if self.prior is None or self.prior[0] <= 0:
            return False
        return self.scale == "log" or (self.scale is None and self.prior[1] / self.prior[0] >= _LOG_FROM_RATIO)


@dataclass(frozen=True, eq=False)
class Run:
    """Everything a report may draw on; ``absent`` says, file by file, why something is ``None``."""

    folder: Path
    result: dict[str, Any] | None
    experiment: dict[str, Any]
    experiment_text: str
    data: dict[str, Any] | None
    warnings: tuple[str, ...]
    trajectory: Table | None
    proposals: Table | None
    posterior: Table | None
    training: Table | None
    metrics: Table | None
    fit: dict[str, np.ndarray] | None
    fit_info: dict[str, Any]
    graph: Any
    windows: Table | None = None
    calibration: Mapping[str, Any] | None = None
    calibrated: Table | None = None
    replicates: Mapping[str, Any] | None = None
    absent: Mapping[str, str] = field(default_factory=dict)
    pictured: dict[str, np.ndarray] | None = None
    part_of: str | None = None
    graphs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return str(self.experiment.get("name") or self.folder.name)

    @property
    def scenario(self) -> str | None:
        """The scenario that the estimates belong to."""
        names = list(self.experiment.get("scenarios") or {})
        result = self.result or {}
        return result.get("chosen") or result.get("best") or (names[0] if names else None)

    @property
    def comparison(self) -> Mapping[str, Any]:
        """What a run that compared scenarios says of them; empty for any other run."""
        return (self.result or {}).get("comparison") or {}

    @property
    def compares_windows(self) -> bool:
        """Whether scenarios were compared on windows, each inferred by itself before; else it was a table of SNPs."""
        return self.result is not None and compared_windows(self.result)

    @property
    def generation_parameter(self) -> str | None:
        """The parameter that is the years of a generation, where its length is not known."""
        scenario = (self.experiment.get("scenarios") or {}).get(self.scenario) or {}
        value = scenario.get("generation_time")
        return value if isinstance(value, str) and any(e.name == value for e in self.estimates) else None

    @cached_property
    def generation_time(self) -> float | None:
        """Years a generation, where the scenario or the fitted model says so."""
        scenario = (self.experiment.get("scenarios") or {}).get(self.scenario) or {}
        value = scenario.get("generation_time")
        if isinstance(value, str):
            known = {e.name: e.estimate for e in self.estimates} | dict(scenario.get("fixed") or {})
            value = known.get(value)
        if value is None and self.graph is not None and self.graph.time_units != "generations":
            value = self.graph.generation_time
        return float(value) if isinstance(value, int | float) and value > 0 else None

    @cached_property
    def estimates(self) -> tuple[Estimate, ...]:
        """The parameters' estimates in order; while a run is unfinished those of its last round."""
        parameters = (self.result or {}).get("parameters")
        if parameters:
            return _estimates(parameters, self.truth)
        if self.trajectory is None:
            return ()
        t = self.trajectory
        last = {str(name): i for i, name in enumerate(t["parameter"])}
        found = []
        for name, i in last.items():
            inside = (float(t["low"][i]), float(t["high"][i]))
            known = inside if np.isfinite(inside).all() else None
            scale = str(t["scale"][i]) if "scale" in t else None
            found.append(Estimate(name, float(t["estimate"][i]), known, scale=scale, truth=self.truth.get(name)))
        return tuple(found)

    @property
    def estimates_by_scenario(self) -> dict[str, tuple[Estimate, ...]]:
        """The same of every scenario that was compared; empty where none was estimated."""
        scenarios = (self.result or {}).get("scenarios") or {} if self.comparison else {}
        found = {name: _estimates(values.get("parameters") or {}, {}) for name, values in scenarios.items()}
        return found if any(found.values()) else {}

    @property
    def truth(self) -> dict[str, float]:
        """The parameters that made the data, in a simulation study; none where they are another scenario's."""
        values = (self.data or {}).get("truth")
        known = self.comparison or self.true_scenario is not None
        if known and self.true_scenario != self.scenario:
            return {}
        return {str(k): float(v) for k, v in values.items()} if isinstance(values, Mapping) else {}

    @property
    def true_scenario(self) -> str | None:
        """The scenario that made the data, in a simulation study."""
        section = (self.experiment.get("data") or {}).get("simulate")
        return section.get("scenario") if isinstance(section, Mapping) else None

    @property
    def populations(self) -> tuple[str, ...]:
        samples = (self.data or {}).get("samples") or []
        names = [s["population"] for s in samples if isinstance(s, Mapping) and "population" in s]
        return tuple(dict.fromkeys(names)) or tuple((self.experiment.get("data") or {}).get("populations") or ())

    @property
    def num_windows(self) -> int | None:
        """Real windows that the statistics are means over."""
        used, windows = (self.data or {}).get("used_windows"), (self.data or {}).get("windows")
        if isinstance(used, int) and used > 0:
            return used
        kept = windows.get("kept") if isinstance(windows, Mapping) else windows
        return kept if isinstance(kept, int) and kept > 0 else None

    @property
    def num_compared(self) -> int | None:
        """Windows on the smaller side of the comparison of real and simulated statistics, where both are known."""
        simulated = self.fit_info.get("num_simulated")
        return min(self.num_windows, simulated) if self.num_windows and isinstance(simulated, int) else self.num_windows

    @property
    def folded(self) -> bool:
        """Whether counts are of the minor allele, ancestral alleles being unknown."""
        if "folded" in self.fit_info:
            return bool(self.fit_info["folded"])
        data = self.experiment.get("data") or {}
        default = "known" if "simulate" in data else "none"
        return ((data.get("simulate") or {}).get("ancestral") or data.get("ancestral") or default) == "none"


def load(folder: Path) -> Run:
    """Read a run folder; raises :class:`ReportError` where it holds no run, or one of another version."""
    if not folder.is_dir():
        raise ReportError(f"{folder} is not a folder; name a run's output folder, such as runs/NAME")
    absent: dict[str, str] = {}
    result = _json(folder / "result.json", absent)
    trajectory = _table(folder / "trajectory.parquet", absent)
    if result is None and trajectory is None:
        raise ReportError(_nothing(folder))
    text = _text(folder / "experiment.yaml", absent)
    sentences = (_json(folder / "warnings.json", absent) or {}).get("warnings") or []
    return Run(
        folder=folder,
        result=result,
        experiment=_yaml(text),
        experiment_text=text,
        data=_json(folder / "data.json", absent),
        warnings=tuple(map(str, sentences)),
        trajectory=trajectory,
        proposals=_table(folder / "proposals.parquet", absent),
        posterior=_table(folder / "posterior.parquet", absent),
        training=_table(folder / "training.parquet", absent),
        metrics=_table(folder / "metrics.parquet", absent),
        fit=_arrays(folder / "fit.npz", absent),
        fit_info=_json(folder / "fit.json", absent) or {},
        graph=_graph(folder / "best.demes.yaml", absent),
        windows=_table(folder / "windows.parquet", absent),
        calibration=_json(folder / CALIBRATION / "calibration.json", absent),
        replicates=_json(folder / "replicates.json", absent),
        calibrated=_table(folder / CALIBRATION / "calibration.parquet", absent),
        part_of=(_json(folder / "wanted.json", {}) or {}).get("part_of"),
        absent=absent,
        **_compared(folder, result, absent),
    )


def compared_windows(result: Mapping[str, Any]) -> bool:
    """Whether ``result`` is of scenarios compared on windows: such a run simulates windows, and no tables."""
    return bool(result.get("comparison")) and bool(result.get("simulated_windows"))


def parts(folder: Path) -> list[Path]:
    """The runs of single scenarios in a comparison's folder that have something to look at."""
    return sorted(path.parent for path in folder.glob(f"{SCENARIO_RUNS}/*/trajectory.parquet"))


def _nothing(folder: Path) -> str:
    """Why a folder cannot be reported on, and what can be instead."""
    if (folder / SCENARIO_RUNS).is_dir():
        why = f"{folder} holds a comparison of scenarios that has not finished"
        shown = ", ".join(map(str, parts(folder)))
        return (
            f"{why}; look at a scenario by itself: {shown}" if shown else f"{why}, nor has any scenario's first round"
        )
    return f"{folder} holds no run to report on: neither result.json nor trajectory.parquet is there"


def _compared(folder: Path, result: Mapping[str, Any] | None, absent: dict[str, str]) -> dict[str, Any]:
    """What only a comparison of scenarios leaves: arrays to draw, and each scenario's graph where it has one."""
    names = ((result or {}).get("comparison") or {}).get("probabilities") or {}
    if not names:
        return {}
    graphs = {name: _graph(folder / "models" / f"{name}.demes.yaml", absent) for name in names}
    return {
        "pictured": _arrays(folder / "comparison.npz", absent),
        "graphs": {name: graph for name, graph in graphs.items() if graph is not None},
    }


def proposal_spread(trajectory: Table, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One standard deviation of the proposals to each side of the estimates in ``rows``; NaN where it is not known.

    The column ``spread`` is on the parameter's own scale, which the column ``scale`` names.
    """
    estimate, spread = trajectory["estimate"][rows], trajectory["spread"][rows]
    if "scale" not in trajectory:
        return np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    logarithmic = trajectory["scale"][rows] == "log"
    factor = np.exp(np.where(logarithmic, spread, 0.0))
    return (
        np.where(logarithmic, estimate / factor, estimate - spread),
        np.where(logarithmic, estimate * factor, estimate + spread),
    )


def _estimates(parameters: Mapping[str, Any], truth: Mapping[str, float]) -> tuple[Estimate, ...]:
    return tuple(estimate_of(name, values, truth.get(name)) for name, values in parameters.items())


def estimate_of(name: str, values: Mapping[str, Any], truth: float | None = None) -> Estimate:
    def pair(key: str) -> tuple[float, float] | None:
        value = values.get(key)
        return (float(value[0]), float(value[1])) if value and None not in value else None

    point = values.get("estimate")
    return Estimate(
        name=name,
        estimate=float("nan") if point is None else float(point),
        interval=pair("interval"),
        level=float(values.get("level") or 0.9),
        unit=str(values.get("unit") or ""),
        prior=pair("prior"),
        informative=values.get("informative"),
        description=str(values.get("description") or ""),
        scale=values.get("scale"),
        sd_ratio=values.get("sd_ratio"),
        truth=truth,
    )


def _missing(path: Path, absent: dict[str, str]) -> bool:
    if path.exists():
        return False
    absent[path.name] = f"the run left no {path.name}"
    return True


def _json(path: Path, absent: dict[str, str]) -> dict[str, Any] | None:
    if _missing(path, absent):
        return None
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        absent[path.name] = f"{path.name} cannot be read: {error}"
        return None
    version = value.get("schema_version") if isinstance(value, dict) else None
    if version != SCHEMA_VERSION:
        remedy = "report on it with the ganinfer that wrote it"
        raise ReportError(f"{path} has schema_version {version!r}, this report reads {SCHEMA_VERSION}; {remedy}")
    return dict(value)


def _table(path: Path, absent: dict[str, str]) -> Table | None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if _missing(path, absent):
        return None
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        absent[path.name] = f"{path.name} cannot be read: {error}"
        return None
    if table.num_rows == 0:
        absent[path.name] = f"{path.name} is empty"
        return None
    return {name: table.column(name).to_numpy() for name in table.column_names}


def _arrays(path: Path, absent: dict[str, str]) -> dict[str, np.ndarray] | None:
    if _missing(path, absent):
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError) as error:
        absent[path.name] = f"{path.name} cannot be read: {error}"
        return None


def _text(path: Path, absent: dict[str, str]) -> str:
    return "" if _missing(path, absent) else path.read_text(encoding="utf-8")


def _yaml(text: str) -> dict[str, Any]:
    from ruamel.yaml import YAML, YAMLError

    try:
        value = YAML(typ="safe").load(text)
    except YAMLError:
        return {}
    return dict(value) if isinstance(value, Mapping) else {}


def _graph(path: Path, absent: dict[str, str]) -> Any:
    import demes

    if _missing(path, absent):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on models that are as the user wrote them
            return demes.load(path)
    except Exception as error:  # demes passes on errors of several libraries
        absent[path.name] = f"{path.name} cannot be read: {error}"
        return None
