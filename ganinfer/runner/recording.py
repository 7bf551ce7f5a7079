"""What a run writes: tables and figures in its folder, metrics and artifacts in MLflow."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ganinfer import report, storage, tracking
from ganinfer.execution import Executor
from ganinfer.experiment import Experiment, simulator
from ganinfer.interfaces import Info
from ganinfer.parameters import Parameters
from ganinfer.runner import assembling, finished, judging, opinions, results, rounds, summing_up

History = list[dict[str, Any]]
_TRACKED = "mlflow.json"
#: The tag by which MLflow shows a run under another.
_PARENT = "mlflow.parentRunId"
#: What replicates of a run are told in: how they agree, the ``posterior`` they are beside, and ``warnings``.
REPLICATES = "replicates.json"
#: Files of a run that MLflow is given, beside the report, its figures and the networks.
_ARTIFACTS = (
    "result.json",
    "experiment.yaml",
    "data.json",
    "warnings.json",
    "trajectory.parquet",
    "proposals.parquet",
    "posterior.parquet",
    "training.parquet",
    "metrics.parquet",
    "comparison.npz",
    "fit.npz",
    "fit.json",
    "adequacy.npz",
    "windows.parquet",
    REPLICATES,
    f"{storage.CALIBRATION}/{summing_up.JSON}",
    f"{storage.CALIBRATION}/{summing_up.TABLE}",
    "best.demes.yaml",
)


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
        "windows_per_second": entry["num_windows"] / max(entry["seconds"]["simulate"], 1e-9),
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
    metrics = [(h["round"], name, value) for h in history for name, value in _metrics(h).items()]
    folder.write_table(
        "metrics.parquet",
        {
            "round": np.array([m[0] for m in metrics]),
            "name": np.array([m[1] for m in metrics]),
            "value": np.array([m[2] for m in metrics], dtype=float),
        },
    )


def _metrics(entry: Mapping[str, Any]) -> dict[str, float]:
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
    values["windows_per_second"] = entry["num_windows"] / max(entry["seconds"]["simulate"], 1e-9)
    values["num_windows"] = entry["total_windows"]
    return values


# --- MLflow -------------------------------------------------------------------------------------------------------


def tracked(folder: Path) -> str | None:
    """The MLflow run that a folder began."""
    known = folder / _TRACKED
    return storage.read_json(known)["run_id"] if known.exists() else None


def start_tracking(
    experiment: Experiment,
    complete: Mapping[str, Any],
    data: Mapping[str, Any],
    folder: storage.RunFolder,
    simulators: str,
    before: str | None = None,
    parent: Path | None = None,
) -> tracking.Tracker:
    """A new MLflow run, or the one that this folder began; ``before`` began here and left nothing to go on with.

    ``complete`` is the experiment with every default, ``data`` what data.json says, ``simulators`` their titles;
    ``parent`` the folder of a run that this one is a part of.
    """
    run_id = tracked(folder.path)
    part = f"{parent.name}/" if parent else ""
    above = tracked(parent) if parent else None
    tracker = tracking.open_tracker(
        experiment.tracking.uri,
        (parent or folder.path).parent,
        experiment.tracking.experiment,
        f"{part}{folder.path.name}",
        _params(complete),
        {
            **_tags(experiment, data, folder.path, simulators),
            "ganinfer.seed": complete["seed"],
            **({_PARENT: above} if above else {}),
        },
        run_id,
        run_folder=folder.path,
        abandoned=before if before != run_id else None,
    )
    folder.write_json(_TRACKED, {"run_id": tracker.run_id, "uri": tracker.uri})
    return tracker


@contextmanager
def ended(tracker: tracking.Tracker) -> Iterator[None]:
    """The run ends in MLflow, too, where something stops it."""
    try:
        yield
    except BaseException as error:
        tracker.finish("KILLED" if isinstance(error, KeyboardInterrupt | SystemExit) else "FAILED")
        raise


def record_training(
    experiment: Experiment,
    complete: Mapping[str, Any],
    data: Mapping[str, Any],
    bundle: Path,
    simulators: str,
    measured: Mapping[str, float],
) -> list[str]:
    """A training that is done as a run of its own in MLflow, its ``bundle`` registered; what went wrong, in sentences.

    ``measured`` are numbers by name. The database that MLflow has by default lies beside the bundle.
    """
    try:
        tracker = tracking.open_tracker(
            experiment.tracking.uri,
            bundle.absolute().parent,
            experiment.tracking.experiment,
            bundle.name,
            _params(complete),
            _tags(experiment, data, bundle.absolute(), simulators),
            resumable=False,
        )
    except tracking.TrackingError as error:  # it is trained, and lies where it was asked for
        return [f"the bundle is not recorded: {error}"]
    tracker.metrics(measured, 0)
    tracker.bundle(bundle, registered_name(experiment))
    tracker.finish()
    return tracker.warnings


def send_again(experiment: Experiment, folder: storage.RunFolder) -> list[str]:
    """The report once more, and all that MLflow is given, after something was added to what a finished run says.

    Returns what went wrong in MLflow, in sentences.
    """
    page, figures = report.write_all(folder.path)
    if tracked(folder.path) is None:
        return []
    known = folder.read_json(_TRACKED)
    try:
        tracker = tracking.open_tracker(
            experiment.tracking.uri or known["uri"],
            folder.path.parent,
            experiment.tracking.experiment,
            folder.path.name,
            {},
            {},
            known["run_id"],
            run_folder=folder.path,
        )
    except tracking.TrackingError as error:
        return [f"MLflow's record lacks what is new: {error}"]
    _send(folder, page, figures, tracker)
    if (folder.path / "bundle").exists():
        tracker.artifact(folder.path / "bundle")
    tracker.finish()
    return tracker.warnings


def registered_name(experiment: Experiment) -> str:
    """The model of MLflow's registry whose versions are the experiment's bundles."""
    return f"ganinfer-{experiment.name}"


def _params(complete: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in complete.items() if k != "tracking"}


def _tags(experiment: Experiment, data: Mapping[str, Any], folder: Path, simulators: str) -> dict[str, Any]:
    return {
        "ganinfer.folder": str(folder),
        "ganinfer.simulator": simulators,
        "ganinfer.discriminator": experiment.discriminator.name,
        "ganinfer.seed": experiment.seed,
        **{f"version.{name}": v for name, v in assembling.versions().items()},
        **{f"sha256.{name}": digest for name, digest in _digests(data).items()},
    }


def _digests(data: Mapping[str, Any]) -> dict[str, str]:
    """SHA-256 of the input files by name; by path where two share a name."""
    files = {f["path"]: f["digest"] for f in data.get("genotypes") or [] if f.get("digest")}
    files |= data.get("inputs") or {}
    names = [Path(path).name for path in files]
    return {name if names.count(name) == 1 else path: files[path] for path, name in zip(files, names, strict=True)}


def track(tracker: tracking.Tracker, entry: Mapping[str, Any]) -> None:
    tracker.metrics(_metrics(entry), entry["round"])


# --- the end ------------------------------------------------------------------------------------------------------


def finish(
    experiment: Experiment,
    problem: Any,
    state: Any,
    history: History,
    stopped: str,
    folder: storage.RunFolder,
    workers: Executor,
    tracker: tracking.Tracker,
    clock: Clock,
    told: Callable[[str], None],
    *,
    judged: bool = True,
    source: opinions.Source | None = None,
) -> None:
    """Posterior, comparison with the data, verdict, second opinion, result, report, bundle; then the record in MLflow.

    ``told`` hears what is being done; ``judged``: whether there is to be a verdict; ``source``: of the real windows,
    where there is to be a second opinion.
    """
    from ganinfer.predictive import predict

    info = rounds.last_info(folder, history[-1]["round"])
    names = problem.parameters.names
    posterior = info.posterior if info.posterior is not None else info.estimate[None, :]
    storage.remove(folder.path / finished.JSON)
    if info.posterior is not None:
        folder.write_table("posterior.parquet", {name: posterior[:, i] for i, name in enumerate(names)})
    _forget_replicates(folder, posterior)
    summing_up.forget(folder, posterior, experiment.level)
    fit = predict(problem, posterior, workers)
    folder.write_arrays("fit.npz", fit.arrays)
    folder.write_json("fit.json", fit.values)
    adequacy, spent = judging.judged(
        experiment, problem, state, info.posterior if judged else None, folder, workers, told
    )
    steady, sentences = judging.steady(problem, state, info, told)
    unlinked = judging.unlinked(problem, "Intervals take") if judged else []
    info = replace(info, warnings=(*info.warnings, *sentences, *unlinked))
    step = float(history[-1]["seconds"].get("move", 0.0))
    second, asking = opinions.asked(experiment, problem, state, info, source, workers, told, step=step)
    write_best_model(experiment, problem.scenario, problem.parameters, info, folder)
    plugin = simulator(experiment, problem.scenario)
    of_all = getattr(plugin, "derived", None)
    said = _write_warnings(info, folder, tracker)
    parts = {key: sum(h["seconds"].get(key, 0.0) for h in history) for key in ("simulate", "train", "move")}
    folder.write_json(
        "result.json",
        results.result(
            problem.scenario,
            results.parameter_results(problem.parameters, info, experiment.level),
            adequacy=adequacy,
            stability=steady,
            second_opinion=second,
            known_by_product=getattr(plugin, "known_by_product", None),
            derived=results.derived(of_all, problem.parameters, info, experiment.level) if of_all else None,
            simulated_windows=history[-1]["total_windows"],
            stopped=stopped,
            seconds={**parts, **spent, **asking, "total": clock.seconds()},
            seed=problem.seed,
            versions=assembling.versions(),
        ),
    )
    judging.track(adequacy, tracker, history[-1]["round"])
    write_bundle(experiment, problem, state, folder)
    write_report(folder, tracker)
    if len(tracker.warnings) > said:  # of what was sent last
        _write_warnings(info, folder, tracker)
    finished.mark(folder)


def _forget_replicates(folder: storage.RunFolder, posterior: np.ndarray) -> None:
    """Take out how replicates agreed with another answer than ``posterior`` (n, p)."""
    path = folder.path / REPLICATES
    if path.exists() and storage.read_json(path).get("posterior") != summing_up.digest(posterior):
        storage.remove(path)


def _write_warnings(info: Info, folder: storage.RunFolder, tracker: tracking.Tracker) -> int:
    """Of replicates, the method and MLflow; returns how many are of MLflow."""
    path = folder.path / REPLICATES
    apart = storage.read_json(path)["warnings"] if path.exists() else []
    folder.write_json("warnings.json", {"warnings": [*apart, *info.warnings, *tracker.warnings]})
    return len(tracker.warnings)


def write_best_model(
    experiment: Experiment, scenario: str, parameters: Parameters, info: Info, folder: storage.RunFolder
) -> None:
    """best.demes.yaml, where the simulator has a demes graph."""
    plugin = simulator(experiment, scenario)
    graph = getattr(plugin, "graph", None)
    if graph is None:
        return
    import demes

    from ganinfer.models.graphs import without_idle_pulses

    # Two opposite pulses at one time, of which one is zero, are how a signed pulse is written.
    warnings.filterwarnings("ignore", message="Multiple pulses")
    try:
        best = graph(parameters.named(info.estimate))
    except ValueError:
        # Medians taken one by one can break a constraint that every draw keeps: the closest draw stands in.
        if info.posterior is None:
            return
        scale = np.maximum(info.posterior.std(axis=0), 1e-300)
        closest = np.argmin((((info.posterior - info.estimate) / scale) ** 2).sum(axis=1))
        best = graph(parameters.named(info.posterior[closest]))
    folder.write_text("best.demes.yaml", demes.dumps(without_idle_pulses(best)))


def write_bundle(experiment: Experiment, problem: Any, state: Any, folder: storage.RunFolder) -> None:
    """The trained networks with what is needed to use them: no code, no pickles."""
    from ganinfer import training

    bundle = folder.path / "bundle"
    bundle.mkdir(exist_ok=True)
    training.save(state.networks, bundle)
    specs = {
        name: {"shape": list(spec.shape), "dtype": spec.dtype, "details": dict(spec.details)}
        for name, spec in _specs(problem).items()
    }
    folder.write_json(
        "bundle/bundle.json",
        {
            "discriminator": {"name": problem.network.name, "options": dict(problem.network.options)},
            "encodings": [name for name, _ in problem.setup.encoders],
            "specs": specs,
            "parameters": [
                {"name": p.name, "lower": p.lower, "upper": p.upper, "scale": p.scale} for p in problem.parameters
            ],
            "versions": assembling.versions(),
        },
    )


def _specs(problem: Any) -> dict[str, Any]:
    from ganinfer.simulation import encoding_specs

    return encoding_specs(problem.setup)


def write_report(folder: storage.RunFolder, tracker: tracking.Tracker, register: str | None = None) -> None:
    """The report and its figures, and everything that MLflow is given at the end.

    ``register`` is the model of MLflow's registry of which the bundle becomes a version.
    """
    _send(folder, *report.write_all(folder.path), tracker)
    if not (folder.path / "bundle").exists():
        pass  # a comparison alone has none
    elif register is None:
        tracker.artifact(folder.path / "bundle")
    else:
        tracker.bundle(folder.path / "bundle", register)
    trunks = sorted((folder.path / "bundle").rglob("fold-0/trunk.keras"))
    if trunks:
        tracker.keras_model(trunks[0], folder.read_json("bundle/bundle.json")["discriminator"]["name"])
    tracker.finish()


def _send(folder: storage.RunFolder, page: Path, figures: Mapping[str, Path], tracker: tracking.Tracker) -> None:
    """The files of a run, the report's ``page`` and its figures."""
    for name in _ARTIFACTS:
        if (folder.path / name).exists():
            tracker.artifact(folder.path / name)
    tracker.artifact(page)
    for figure in figures.values():
        tracker.artifact(figure, "figures")
