"""What waits to be recorded of a run, and sending it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ganinfer.tracking.address import sentence
from ganinfer.tracking.keras_model import PLUGIN, save_model

PENDING = "mlflow-pending.json"
PENDING_VERSION = 1
#: Limits of MLflow's interface.
MAX_PARAM, MAX_TAG, MAX_KEY = 6000, 8000, 250
METRICS_PER_BATCH, PARAMS_PER_BATCH = 1000, 100

#: Points are sent when so many wait, or so many seconds after the last time.
BATCH, SECONDS = 200, 5.0
#: After a failure the next attempt waits so long, doubled each time up to the second figure (seconds).
RETRY = (2.0, 60.0)

_NOT_A_KEY = re.compile(r"[^A-Za-z0-9_\-. /]")
_PERMANENT = ("INVALID_PARAMETER_VALUE", "FEATURE_DISABLED")
#: What is said where there is no model registry, or where it lets nobody register.
_NO_REGISTRY = (
    *_PERMANENT, "ENDPOINT_NOT_FOUND", "NOT_IMPLEMENTED", "RESOURCE_DOES_NOT_EXIST", "PERMISSION_DENIED",
    "CUSTOMER_UNAUTHORIZED",
)  # fmt: skip
#: Tag of a model version: the digest of the bundle that it is.
BUNDLE = "ganinfer.bundle"


@dataclass
class _Queue:
    """What MLflow has not got yet; JSON values only."""

    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: list[tuple[str, float, int, int]] = field(default_factory=list)  # key, value, milliseconds, step
    artifacts: list[tuple[str, str]] = field(default_factory=list)
    models: list[tuple[str, str | None]] = field(default_factory=list)  # file, plugin that built it
    bundles: list[tuple[str, str]] = field(default_factory=list)  # folder, name of the registered model
    status: str | None = None

    def __bool__(self) -> bool:
        return any((self.params, self.tags, self.metrics, self.artifacts, self.models, self.bundles, self.status))


class Tracker:
    """Records one run. ``run_id`` names it in MLflow, ``warnings`` says what went wrong, in sentences.

    ``pending`` is the file for what MLflow could not take, ``None`` where nobody would send it later.
    """

    def __init__(self, client: Any, run_id: str, uri: str, pending: Path | None) -> None:
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

    def keras_model(self, path: Path, discriminator: str | None = None) -> None:
        """Record a saved Keras model (.keras) as an MLflow model; where that fails, as a plain file.

        ``discriminator`` is the plugin that built it: whoever loads the model has to load the plugin before.
        """
        self._queue.models.append((str(Path(path).absolute()), discriminator))
        self.flush()

    def bundle(self, path: Path, name: str) -> None:
        """Record a bundle's folder, and register it as a version of the model ``name`` where there is a registry."""
        self._queue.bundles.append((str(Path(path).absolute()), name))
        self.flush()

    def finish(self, status: str = "FINISHED") -> None:
        """Send what is left and close the run as FINISHED, FAILED or KILLED.

        What MLflow does not take stays in the run folder, and ``warnings`` says so.
        """
        self._queue.status = status
        self.flush(force=True)
        if self._queue:
            problem = f"MLflow at {self.uri} could not be reached ({sentence(self._problem)})"
            kept = f"what it misses is kept in {self._pending} and sent by the next --resume"
            self.warnings.append(f"{problem}; {kept if self._pending else 'its record lacks what came last'}")

    def flush(self, *, force: bool = False) -> bool:
        """Send what waits; false when MLflow did not take it all. Between failures it is not asked too often."""
        now = time.monotonic()
        if not self._queue:
            return True
        if not force and self._failures and now - self._sent < min(RETRY[0] * 2 ** (self._failures - 1), RETRY[1]):
            return False
        self._sent = now
        try:
            with quiet():
                self._send()
        except Exception as error:  # whatever a client library raises, a run of hours must not end for its record
            self._failures += 1
            self._problem = error
            self._spill()
            return False
        self._failures = 0
        if self._pending is not None:
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
            self._send_model(Path(queue.models[0][0]), queue.models[0][1])
            del queue.models[0]
        if queue.status:
            if queue.status == "RUNNING":
                self._client.update_run(self.run_id, queue.status)
            else:
                self._client.set_terminated(self.run_id, queue.status)
            queue.status = None
        while queue.bundles:  # last, so that a registry that fails keeps nothing else back
            self._send_bundle(Path(queue.bundles[0][0]), queue.bundles[0][1])
            del queue.bundles[0]

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
            problem = f"MLflow at {self.uri} refused a part of the record: {sentence(error)}"
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

    def _send_model(self, path: Path, discriminator: str | None) -> None:
        """What mlflow.keras.log_model does, without the active run and the tracking URI that it would set."""
        from mlflow.entities import LoggedModelOutput

        experiment = self._client.get_run(self.run_id).info.experiment_id
        tags = {PLUGIN: discriminator} if discriminator is not None else {}
        logged = self._client.create_logged_model(experiment, _key(path.stem), self.run_id, tags)
        state = "FAILED"
        with tempfile.TemporaryDirectory() as scratch:
            try:
                problem = save_model(path, f"{scratch}/model", logged, self.run_id, discriminator)
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

    def _send_bundle(self, path: Path, name: str) -> None:
        """The bundle's files, and a version of the registered model that is where they lie.

        Versions never change: another bundle of a resumed run lies in another folder of the run's artifacts.
        """
        if not (path / "bundle.json").is_file():
            self.warnings.append(f"{path} is gone and could not be recorded in MLflow")
            return
        digest = hashlib.sha256((path / "bundle.json").read_bytes()).hexdigest()
        versions = self._registry(self._client.search_model_versions, f"run_id='{self.run_id}'")
        if any(version.tags.get(BUNDLE) == digest for version in versions or ()):
            return
        folder = f"bundle-{len(versions) + 1}" if versions else "bundle"
        self._client.log_artifacts(self.run_id, str(path), folder)
        if versions is not None:
            self._registry(self._register, name, folder, digest)

    def _registry(self, ask: Callable[..., Any], *arguments: Any) -> Any:
        """What the model registry answers; ``None`` and a warning where there is none, or it refuses."""
        from mlflow.exceptions import MlflowException

        try:
            return ask(*arguments)
        except MlflowException as error:
            if error.error_code not in _NO_REGISTRY:
                raise
            problem = f"MLflow at {self.uri} did not register the bundle as a model: {sentence(error)}"
            self.warnings += [problem] if problem not in self.warnings else []
            return None

    def _register(self, name: str, folder: str, digest: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        source = f"{self._client.get_run(self.run_id).info.artifact_uri}/{folder}"
        self._client.create_model_version(name, source, self.run_id, tags={BUNDLE: digest}, await_creation_for=0)

    def _spill(self) -> None:
        if self._pending is None:
            return
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
        if self._pending is None:
            return
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
        queue.params, queue.tags = record["params"], record["tags"]
        queue.models = [(m, None) if isinstance(m, str) else tuple(m) for m in record["models"]]
        queue.metrics = [tuple(point) for point in record["metrics"]]
        queue.artifacts = [tuple(entry) for entry in record["artifacts"]]
        queue.bundles = [tuple(entry) for entry in record.get("bundles", [])]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
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
