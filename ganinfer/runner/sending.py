"""A run's record in MLflow: its parameters and tags, the metrics of its rounds, and the files that it leaves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ganinfer import report, storage, tracking
from ganinfer.experiment import Experiment
from ganinfer.runner import assembling, recording, summing_up

_TRACKED = "mlflow.json"
#: The tag by which MLflow shows a run under another.
_PARENT = "mlflow.parentRunId"
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
    storage.REPLICATES,
    f"{storage.CALIBRATION}/{summing_up.JSON}",
    f"{storage.CALIBRATION}/{summing_up.TABLE}",
    "best.demes.yaml",
)


def tracked(folder: Path) -> str | None:
    """The MLflow run that a folder began; a copy of another folder has none."""
    path = folder / _TRACKED
    return storage.read_json(path)["run_id"] if path.exists() and _original(path) is None else None


def _original(path: Path) -> Path | None:
    """Where the run lies whose ``mlflow.json`` this one is a copy of; ``None`` where it is its own, moved or not."""
    known = storage.read_json(path)
    original = Path(known.get("folder", path.parent)) / _TRACKED
    if not original.exists() or original.samefile(path) or storage.read_json(original)["run_id"] != known["run_id"]:
        return None
    return original.parent


def _moved(path: Path) -> bool:
    """Whether the run of an ``mlflow.json`` began elsewhere: the database beside it came along, unless told."""
    began = Path(storage.read_json(path).get("folder", path.parent)) / _TRACKED
    return not (began.exists() and began.samefile(path))


def _keep(folder: storage.RunFolder, tracker: tracking.Tracker) -> None:
    folder.write_json(_TRACKED, {"run_id": tracker.run_id, "uri": tracker.uri, "folder": str(folder.path)})


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
    _keep(folder, tracker)
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
    path = folder.path / _TRACKED
    if not path.exists():
        return []
    if original := _original(path):
        return [f"MLflow's record is that of {original}, of which {folder.path} is a copy: it lacks what is new"]
    known = storage.read_json(path)
    try:
        tracker = tracking.open_tracker(
            experiment.tracking.uri or (None if _moved(path) else known["uri"]),
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
    _keep(folder, tracker)
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
    tracker.metrics(recording.numbers(entry), entry["round"])


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
