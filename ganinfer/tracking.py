"""Recording a run in MLflow, through an explicit client and never its global state.

Everything is queued and sent in batches. While the server is away the queue grows, lies in the run folder
(``mlflow-pending.json``) in case the run is killed, and is offered again from time to time; an attempt costs at most
a few seconds. What could not be sent at the end stays in that file for the next ``--resume``. Points that MLflow
already has are not sent again, so a resumed run may simply offer its whole trajectory.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import re
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import ganinfer

PENDING = "mlflow-pending.json"
PENDING_VERSION = 1
#: Limits of MLflow's interface.
MAX_PARAM, MAX_TAG, MAX_KEY = 6000, 8000, 250
METRICS_PER_BATCH, PARAMS_PER_BATCH = 1000, 100

#: Points are sent when so many wait, or so many seconds after the last time.
BATCH, SECONDS = 200, 5.0
#: After a failure the next attempt waits so long, doubled each time up to the second figure (seconds).
RETRY = (2.0, 60.0)
#: One request may take so long (seconds); an upload as long as the server keeps reading.
TIMEOUT = 10

_SCHEMES = ("sqlite", "postgresql", "mysql", "mssql", "http", "https", "databricks")
_NOT_A_KEY = re.compile(r"[^A-Za-z0-9_\-. /]")
_PERMANENT = ("INVALID_PARAMETER_VALUE", "FEATURE_DISABLED")


class TrackingError(ValueError):
    """MLflow cannot be used as asked."""


@dataclass
class _Queue:
    """What MLflow has not got yet; JSON values only."""

    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: list[tuple[str, float, int, int]] = field(default_factory=list)  # key, value, milliseconds, step
    artifacts: list[tuple[str, str]] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    status: str | None = None

    def __bool__(self) -> bool:
        return any((self.params, self.tags, self.metrics, self.artifacts, self.models, self.status))


class Tracker:
    """Records one run. ``run_id`` names it in MLflow, ``warnings`` says what went wrong, in sentences."""

    def __init__(self, client: Any, run_id: str, uri: str, pending: Path) -> None:
        self.run_id, self.uri = run_id, uri
        self.warnings: list[str] = []
        self._client, self._pending = client, pending
        self._queue = _Queue()
        self._recorded: dict[str, set[int]] = {}
        self._resumed = False
        self._sent = time.monotonic()
        self._failures = 0
        self._problem: Exception | None = None

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Record numbers under names such as ``theta/N1`` at a step; a point recorded before is left as it is."""
        now = int(time.time() * 1000)
        self._queue.metrics += [(_key(name), float(value), now, int(step)) for name, value in values.items()]
        if len(self._queue.metrics) >= BATCH or time.monotonic() - self._sent >= SECONDS:
            self.flush()

    def params(self, values: Mapping[str, Any]) -> None:
        """Record what the run was started with; a value that changed on resume becomes a tag ``resumed.NAME``."""
        self._queue.params |= _chunked(values)

    def tags(self, values: Mapping[str, Any]) -> None:
        self._queue.tags |= {_key(name): str(value)[:MAX_TAG] for name, value in values.items()}

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Record a file, or all that a folder holds (by default under its own name); it must stay until sent."""
        self._queue.artifacts.append((str(Path(path).absolute()), folder or (path.name if path.is_dir() else "")))
        self.flush()

    def keras_model(self, path: Path) -> None:
        """Record a saved Keras model (.keras) as an MLflow model; where that fails, as a plain file."""
        self._queue.models.append(str(Path(path).absolute()))
        self.flush()

    def finish(self, status: str = "FINISHED") -> None:
        """Send what is left and close the run as FINISHED, FAILED or KILLED.

        What MLflow does not take stays in the run folder, and ``warnings`` says so.
        """
        self._queue.status = status
        self.flush(force=True)
        if self._queue:
            problem = f"MLflow at {self.uri} could not be reached ({_sentence(self._problem)})"
            self.warnings.append(f"{problem}; what it misses is kept in {self._pending} and sent by the next --resume")

    def flush(self, *, force: bool = False) -> bool:
        """Send what waits; false when MLflow did not take it all. Between failures it is not asked too often."""
        now = time.monotonic()
        if not self._queue:
            return True
        if not force and self._failures and now - self._sent < min(RETRY[0] * 2 ** (self._failures - 1), RETRY[1]):
            return False
        self._sent = now
        try:
            with _quiet():
                self._send()
        except Exception as error:  # whatever a client library raises, a run of hours must not end for its record
            self._failures += 1
            self._problem = error
            self._spill()
            return False
        self._failures = 0
        self._pending.unlink(missing_ok=True)
        return True

    def _send(self) -> None:
        queue = self._queue
        self._send_params()
        if queue.tags:
            self._batch(tags=list(queue.tags.items()))
            queue.tags = {}
        while queue.metrics:
            self._batch(metrics=self._fresh(queue.metrics[:METRICS_PER_BATCH]))
            del queue.metrics[:METRICS_PER_BATCH]
        while queue.artifacts:
            self._send_artifact(*queue.artifacts[0])
            del queue.artifacts[0]
        while queue.models:
            self._send_model(Path(queue.models[0]))
            del queue.models[0]
        if queue.status:
            if queue.status == "RUNNING":
                self._client.update_run(self.run_id, queue.status)
            else:
                self._client.set_terminated(self.run_id, queue.status)
            queue.status = None

    def _send_params(self) -> None:
        """Params cannot change in MLflow: what a resumed run sets anew is kept beside it as a tag."""
        if not self._queue.params:
            return
        known = self._client.get_run(self.run_id).data.params if self._resumed else {}
        fresh = [(key, value) for key, value in self._queue.params.items() if key not in known]
        changed = {key: value for key, value in self._queue.params.items() if key in known and known[key] != value}
        for start in range(0, len(fresh), PARAMS_PER_BATCH):
            self._batch(params=fresh[start : start + PARAMS_PER_BATCH])
            self._resumed = True  # should a later batch fail, these must not be sent as new
        self._queue.tags |= {_key(f"resumed.{key}"): value for key, value in changed.items()}
        self._queue.params = {}

    def _fresh(self, points: Sequence[tuple[str, float, int, int]]) -> list[tuple[str, float, int, int]]:
        """The points at steps that MLflow does not have yet, and each (name, step) once."""
        kept = []
        for point in points:
            key, _, _, step = point
            if key not in self._recorded:
                history = self._client.get_metric_history(self.run_id, key) if self._resumed else []
                self._recorded[key] = {m.step for m in history}
            if step not in self._recorded[key]:
                kept.append(point)
        return list({(key, step): (key, value, at, step) for key, value, at, step in kept}.values())

    def _batch(
        self,
        metrics: Sequence[tuple[str, float, int, int]] = (),
        params: Sequence[tuple[str, str]] = (),
        tags: Sequence[tuple[str, str]] = (),
    ) -> None:
        from mlflow.entities import Metric, Param, RunTag
        from mlflow.exceptions import MlflowException

        try:
            entities = [Metric(*m) for m in metrics], [Param(*p) for p in params], [RunTag(*t) for t in tags]
            self._client.log_batch(self.run_id, *entities)
        except MlflowException as error:
            if error.error_code not in _PERMANENT:
                raise
            problem = f"MLflow at {self.uri} refused a part of the record: {_sentence(error)}"
            self.warnings += [problem] if problem not in self.warnings else []
        for key, _, _, step in metrics:
            self._recorded[key].add(step)

    def _send_artifact(self, path: str, folder: str) -> None:
        if not Path(path).exists():
            self.warnings.append(f"{path} is gone and could not be recorded in MLflow")
        elif Path(path).is_dir():
            self._client.log_artifacts(self.run_id, path, folder or None)
        else:
            self._client.log_artifact(self.run_id, path, folder or None)

    def _send_model(self, path: Path) -> None:
        """What mlflow.keras.log_model does, without the active run and the tracking URI that it would set."""
        from mlflow.entities import LoggedModelOutput

        experiment = self._client.get_run(self.run_id).info.experiment_id
        logged = self._client.create_logged_model(experiment, name=_key(path.stem), source_run_id=self.run_id)
        state = "FAILED"
        with tempfile.TemporaryDirectory() as scratch:
            try:
                problem = _save_model(path, f"{scratch}/model", logged, self.run_id)
                if problem is None:
                    self._client.log_model_artifacts(logged.model_id, f"{scratch}/model")
                    self._client.log_outputs(self.run_id, [LoggedModelOutput(logged.model_id, step=0)])
                    state = "READY"
                else:
                    self._send_artifact(str(path), "model")
                    self.warnings.append(f"the network was recorded as a file, not as an MLflow model: {problem}")
            finally:
                with contextlib.suppress(Exception):
                    self._client.finalize_logged_model(logged.model_id, state)

    def _spill(self) -> None:
        record = {"schema_version": PENDING_VERSION, "run_id": self.run_id, "uri": self.uri, **vars(self._queue)}
        temporary = self._pending.with_name(f".{PENDING}.{os.getpid()}.tmp")
        try:
            self._pending.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps(record), encoding="utf-8")
            temporary.replace(self._pending)
        except OSError as error:
            self.warnings.append(f"cannot keep what MLflow misses in {self._pending}: {error.strerror or error}")

    def take_over(self) -> None:
        """Queue what an earlier process of this run could not send, and ask MLflow before sending anything twice."""
        self._resumed = True
        queue = self._queue
        queue.status = "RUNNING"
        try:
            record = json.loads(self._pending.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return
        except (OSError, ValueError):
            record = {}
        if (record.get("schema_version"), record.get("run_id")) != (PENDING_VERSION, self.run_id):
            problem = "is damaged or belongs to another run or version"
            self.warnings.append(f"{self._pending} {problem} and was left out of MLflow's record")
            return
        queue.params, queue.tags, queue.models = record["params"], record["tags"], record["models"]
        queue.metrics = [tuple(point) for point in record["metrics"]]
        queue.artifacts = [tuple(entry) for entry in record["artifacts"]]


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
) -> Tracker:
    """Start recording a run, or with ``run_id`` go on with one.

    ``uri`` is an MLflow tracking URI, ``None`` for the database ``mlflow.db`` in ``runs_folder``; ``params`` may be
    nested; ``run_folder`` (default ``runs_folder/run_name``) keeps what MLflow cannot take. Raises
    :class:`TrackingError` when the URI is malformed, and, for a new run, when nothing answers there: nothing has been
    computed yet. A resumed run starts without.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(TIMEOUT))
    uri = checked_uri(uri, Path(runs_folder))
    pending = (run_folder or Path(runs_folder) / run_name).absolute() / PENDING
    with _quiet(), _one_at_a_time(uri):
        from mlflow import MlflowClient

        client = MlflowClient(uri)
        known = run_id is not None and _still_there(client, run_id)
        started = run_id if known and run_id else _start(client, uri, experiment_name, run_name)
    tracker = Tracker(client, started, _shown(uri), pending)
    if known:
        tracker.take_over()
    elif run_id is not None:
        tracker.warnings.append(f"MLflow at {_shown(uri)} no longer has run {run_id}; run {started} takes its place")
    tracker.params(params)
    tracker.tags(tags)
    tracker.flush(force=True)
    return tracker


def check_reachable(uri: str | None) -> None:
    """Raise :class:`TrackingError` for a malformed URI, or a server of which not even the port answers; quick."""
    if uri is None:
        return
    parts = urlsplit(checked_uri(uri, Path()))
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return
    try:
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        socket.create_connection((parts.hostname, port), timeout=TIMEOUT).close()
    except OSError as error:
        raise TrackingError(_no_answer(uri, error)) from error


def _no_answer(uri: str, error: Exception) -> str:
    remedy = "make the folder writable" if _database(uri) else "start the server or correct the address"
    remedy += ", or set tracking.uri to null to record in the runs folder"
    return f"MLflow at tracking.uri {_shown(uri)!r} does not answer: {_sentence(error)}; {remedy}"


def checked_uri(uri: str | None, runs_folder: Path) -> str:
    """The tracking URI to use; raises :class:`TrackingError` for one that MLflow could not understand."""
    if uri is None:
        return f"sqlite:///{runs_folder.absolute() / 'mlflow.db'}"
    allowed = "allowed: null (a database in the runs folder), sqlite:///FILE, http://HOST:PORT, postgresql://..."
    parts = urlsplit(uri)
    scheme = parts.scheme.partition("+")[0]
    try:
        port_is_right = parts.port is None or parts.port > 0
    except ValueError:
        port_is_right = False
    if scheme not in _SCHEMES:
        problem = f"has the scheme {scheme!r}" if scheme else "has no scheme"
    elif scheme == "sqlite" and not re.match(r"sqlite(\+\w+)?:///.", uri):
        problem = "names no database file (three slashes before a relative path, four before an absolute one)"
    elif scheme in ("http", "https") and not parts.hostname:
        problem = "names no host"
    elif not port_is_right:
        problem = "has a port that is not a number from 1 to 65535"
    else:
        return uri
    raise TrackingError(f"tracking.uri {_shown(uri)!r} {problem}; {allowed}")


def _database(uri: str) -> Path | None:
    """The file of a SQLite tracking URI."""
    return Path(uri.partition(":///")[2].partition("?")[0]).absolute() if uri.startswith("sqlite") else None


def _start(client: Any, uri: str, experiment_name: str, run_name: str) -> str:
    """The id of a new run; raises :class:`TrackingError` when MLflow does not answer."""
    try:
        experiment = client.get_experiment_by_name(experiment_name)
        if experiment is not None and experiment.lifecycle_stage != "active":
            restore = f"mlflow experiments restore --experiment-id {experiment.experiment_id}"
            problem = f"MLflow experiment {experiment_name!r} at {_shown(uri)} was deleted"
            raise TrackingError(f"{problem}; restore it there ({restore}) or change the experiment's name")
        database = _database(uri)
        location = (database.parent / "mlflow-artifacts").as_uri() if database else None
        identifier = experiment.experiment_id if experiment else client.create_experiment(experiment_name, location)
        return str(client.create_run(identifier, run_name=run_name).info.run_id)
    except TrackingError:
        raise
    except Exception as error:
        raise TrackingError(_no_answer(uri, error)) from error


def _still_there(client: Any, run_id: str) -> bool:
    """Whether MLflow still has the run, or cannot be asked, which is for later."""
    try:
        return bool(client.get_run(run_id).info.lifecycle_stage == "active")
    except Exception as error:
        return getattr(error, "error_code", None) not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


@contextlib.contextmanager
def _one_at_a_time(uri: str) -> Iterator[None]:
    """Two runs that start at once must not both lay out the same new SQLite database."""
    database = _database(uri)
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


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep database migrations and retries out of the run's output; real failures reach us as exceptions."""
    import mlflow  # noqa: F401, its import sets the levels

    levels = {name: logging.getLogger(name).level for name in ("alembic", "mlflow", "urllib3")}
    for name in levels:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def _save_model(path: Path, folder: str, logged: Any, run_id: str) -> str | None:
    """Turn a .keras file into an MLflow model's folder; what prevents it, in a sentence."""
    try:
        import keras
        import mlflow.keras
        import tensorflow
        from mlflow.models import Model

        network = keras.models.load_model(path, compile=False)
        record = Model(artifact_path=logged.artifact_location, run_id=run_id, model_id=logged.model_id)
        # left to itself MLflow finds out what loading needs by importing everything, half a minute
        needed = [f"{m.__name__}=={m.__version__}" for m in (ganinfer, tensorflow, keras)]
        options = {"signature": _signature(network), "pip_requirements": needed}
        mlflow.keras.save_model(network, folder, mlflow_model=record, **options)
    except Exception as error:  # a network that cannot be loaded here is no reason to lose the record
        return _sentence(error)
    return None


def _signature(model: Any) -> Any:
    """Names, types and shapes of a network's inputs and outputs, -1 for what may vary."""
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    def schema(tensors: Sequence[Any]) -> Any:
        shapes = [tuple(-1 if n is None else n for n in t.shape) for t in tensors]
        return Schema([TensorSpec(np.dtype(t.dtype), s, name=t.name) for t, s in zip(tensors, shapes, strict=True)])

    return ModelSignature(inputs=schema(model.inputs), outputs=schema(model.outputs))


def _key(name: str) -> str:
    return _NOT_A_KEY.sub("_", name)[:MAX_KEY]


def _chunked(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested values as flat names and texts; a text beyond MLflow's limit goes on under ``NAME.2``, ``NAME.3``."""
    flat: dict[str, str] = {}
    for name, value in values.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and value:
            flat |= _chunked(value, f"{key}.")
            continue
        text = value if isinstance(value, str) else json.dumps(value, default=str)
        pieces = [text[i : i + MAX_PARAM] for i in range(0, len(text), MAX_PARAM)] or [""]
        flat |= {_key(key if i == 0 else f"{key[: MAX_KEY - 8]}.{i + 1}"): piece for i, piece in enumerate(pieces)}
    return flat


def _shown(uri: str) -> str:
    """A URI without its password."""
    return re.sub(r"(://[^/@:]*):[^/@]*@", r"\1:***@", uri)


def _sentence(error: Exception | None) -> str:
    """What an error says, short enough for a sentence; of a failed connection the reason alone."""
    text = str(error).strip() or type(error).__name__
    reason = re.search(r"\[Errno -?\d+\] [\w ]+|Read timed out|Name or service not known", text)
    line = reason[0] if reason else text.splitlines()[0]
    return line if len(line) <= 200 else f"{line[:200]}..."
