"""Starting to record a run, or going on with one."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ganinfer.tracking.address import TIMEOUT, TrackingError, checked_uri, database_file, no_answer, shown
from ganinfer.tracking.tracker import PENDING, Tracker, quiet


def open_tracker(
    uri: str | None,
    runs_folder: Path,
    experiment_name: str,
    run_name: str,
    params: Mapping[str, Any],
    tags: Mapping[str, Any],
    run_id: str | None = None,
    *,
    run_folder: Path | None = None,
    abandoned: str | None = None,
    resumable: bool = True,
) -> Tracker:
    """Start recording a run, or with ``run_id`` go on with one.

    ``uri`` is an MLflow tracking URI, ``None`` for the database ``mlflow.db`` in ``runs_folder``; ``params`` may be
    nested; ``run_folder`` (default ``runs_folder/run_name``) keeps what MLflow cannot take, unless the run is not
    ``resumable``, so that nothing would send it;
    ``abandoned`` is the id of a run that was killed with nothing to go on with, which ends as KILLED. Raises
    :class:`TrackingError` when the URI is malformed, and, for a new run, when nothing answers there: nothing has been
    computed yet. A resumed run starts without.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(TIMEOUT))
    uri = checked_uri(uri, Path(runs_folder))
    pending = (run_folder or Path(runs_folder) / run_name).absolute() / PENDING if resumable else None
    with quiet(), _one_at_a_time(uri):
        from mlflow import MlflowClient

        client = MlflowClient(uri)
        known = run_id is not None and _still_there(client, run_id)
        started = run_id if known and run_id else _start(client, uri, experiment_name, run_name)
        if abandoned is not None:
            _end_as_killed(client, abandoned)
    tracker = Tracker(client, started, shown(uri), pending)
    if known:
        tracker.take_over()
    elif run_id is not None:
        tracker.warnings.append(f"MLflow at {shown(uri)} no longer has run {run_id}; run {started} takes its place")
    tracker.params(params)
    tracker.tags(tags)
    tracker.flush(force=True)
    return tracker


def _start(client: Any, uri: str, experiment_name: str, run_name: str) -> str:
    """The id of a new run; raises :class:`TrackingError` when MLflow does not answer."""
    try:
        experiment = client.get_experiment_by_name(experiment_name)
        if experiment is not None and experiment.lifecycle_stage != "active":
            restore = f"mlflow experiments restore --experiment-id {experiment.experiment_id}"
            problem = f"MLflow experiment {experiment_name!r} at {shown(uri)} was deleted"
            raise TrackingError(f"{problem}; restore it there ({restore}) or change the experiment's name")
        database = database_file(uri)
        location = (database.parent / "mlflow-artifacts").as_uri() if database else None
        identifier = experiment.experiment_id if experiment else client.create_experiment(experiment_name, location)
        return str(client.create_run(identifier, run_name=run_name).info.run_id)
    except TrackingError:
        raise
    except Exception as error:
        raise TrackingError(no_answer(uri, error)) from error


def _still_there(client: Any, run_id: str) -> bool:
    """Whether MLflow still has the run, or cannot be asked, which is for later."""
    try:
        return bool(client.get_run(run_id).info.lifecycle_stage == "active")
    except Exception as error:
        return getattr(error, "error_code", None) not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


def _end_as_killed(client: Any, run_id: str) -> None:
    """A tidier record, and nothing to stop for where the run is in another database or is gone."""
    with contextlib.suppress(Exception):
        if client.get_run(run_id).info.status == "RUNNING":
            client.set_terminated(run_id, "KILLED")


@contextlib.contextmanager
def _one_at_a_time(uri: str) -> Iterator[None]:
    """Two runs that start at once must not both lay out the same new SQLite database."""
    database = database_file(uri)
    if database is None:
        yield
        return
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
        lock = database.with_name(f".{database.name}.lock").open("w")
    except OSError as error:
        raise TrackingError(f"cannot make the MLflow database {database}: {error.strerror or error}") from error
    with lock:
        with contextlib.suppress(OSError):  # file systems without locks
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
