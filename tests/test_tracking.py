"""MLflow's record: complete, once, and never in the way of the run. Real databases and a real server."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import ganinfer
from ganinfer.tracking import TrackingError, check_reachable, open_tracker
from ganinfer.tracking import tracker as tracking


@pytest.fixture(scope="module")
def database(tmp_path_factory) -> Path:
    """A database that MLflow has laid out already, which takes it seconds; tests copy it."""
    folder = tmp_path_factory.mktemp("mlflow")
    open_tracker(None, folder, "empty", "run", {}, {}).finish()
    return folder / "mlflow.db"


@pytest.fixture
def runs(tmp_path, database) -> Path:
    shutil.copy(database, tmp_path / "mlflow.db")
    return tmp_path


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    monkeypatch.setattr(tracking, "RETRY", (0.05, 0.2))
    monkeypatch.setattr(tracking, "SECONDS", 0.0)


def start(runs: Path, *, run_id: str | None = None, uri: str | None = None, **params):
    return open_tracker(uri, runs, "im", "first", params, {"ganinfer.seed": 1}, run_id, run_folder=runs / "first")


def history(tracker, key: str) -> list[tuple[int, float]]:
    return sorted((m.step, m.value) for m in tracker._client.get_metric_history(tracker.run_id, key))


def recorded(tracker):
    return tracker._client.get_run(tracker.run_id)


def test_a_run_is_recorded(runs):
    tracker = start(runs, budget={"rounds": 3, "minutes": None}, data={"exclude": [], "filters": ["PASS"]}, seed=1)
    for step in range(3):
        tracker.metrics({"theta/N1": 9000.5 + step, "spread/N1": 10.0, "auc": float("nan")}, step)
    (runs / "report.html").write_text("words")
    (runs / "figures").mkdir()
    (runs / "figures" / "trajectory.png").write_bytes(b"png")
    tracker.artifact(runs / "report.html")
    tracker.artifact(runs / "figures")
    tracker.finish()
    run = recorded(tracker)
    assert tracker.warnings == []
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "first"
    assert run.data.params == {
        "budget.rounds": "3",
        "budget.minutes": "null",
        "data.exclude": "[]",
        "data.filters": '["PASS"]',
        "seed": "1",
    }
    assert run.data.tags["ganinfer.seed"] == "1"
    assert history(tracker, "theta/N1") == [(0, 9000.5), (1, 9001.5), (2, 9002.5)]
    assert len(history(tracker, "auc")) == 3
    assert {a.path for a in tracker._client.list_artifacts(tracker.run_id)} == {"report.html", "figures"}
    assert Path(run.info.artifact_uri.removeprefix("file://")).is_relative_to(runs / "mlflow-artifacts")
    assert not (runs / "first" / "mlflow-pending.json").exists()


def test_points_wait_for_a_batch(runs, monkeypatch):
    tracker = start(runs)
    monkeypatch.setattr(tracking, "SECONDS", 60.0)
    tracker.metrics({"a": 1.0}, 0)
    assert history(tracker, "a") == []
    tracker.metrics({f"m{i}": 1.0 for i in range(tracking.BATCH)}, 0)
    assert history(tracker, "a") == [(0, 1.0)]


def test_more_points_than_a_request_may_hold(runs):
    tracker = start(runs)
    tracker.metrics({f"m{i}": float(i) for i in range(2500)}, 0)
    tracker.finish()
    assert len(recorded(tracker).data.metrics) == 2500


def test_long_and_odd_parameters(runs):
    tracker = start(runs, text="x" * 13_000, **{"weiß(θ)": 1, "many": {f"k{i}": i for i in range(230)}})
    tracker.metrics({"theta/θ1": 1.0}, 0)
    tracker.finish()
    params = recorded(tracker).data.params
    assert tracker.warnings == []
    assert params["text"] + params["text.2"] + params["text.3"] == "x" * 13_000
    assert params["wei____"] == "1"
    assert params["many.k229"] == "229"


def test_a_resumed_run_records_each_point_once(runs):
    first = start(runs, budget=1)
    for step in range(3):
        first.metrics({"theta/N1": float(step)}, step)
    first.finish("KILLED")
    second = start(runs, run_id=first.run_id, budget=2, level=0.9)
    assert second.run_id == first.run_id
    second.flush(force=True)
    assert recorded(second).info.status == "RUNNING"
    for step in range(5):
        second.metrics({"theta/N1": float(step)}, step)
        second.metrics({"theta/N1": float(step)}, step)
    second.finish()
    run = recorded(second)
    assert history(second, "theta/N1") == [(step, float(step)) for step in range(5)]
    assert run.info.status == "FINISHED"
    assert run.data.params == {"budget": "1", "level": "0.9"}
    assert run.data.tags["resumed.budget"] == "2"


def test_a_run_that_mlflow_lost_is_started_anew(runs):
    tracker = start(runs, run_id="0" * 32)
    assert tracker.run_id != "0" * 32
    assert tracker.warnings == [
        f"MLflow at {tracker.uri} no longer has run {'0' * 32}; run {tracker.run_id} takes its place"
    ]


@pytest.mark.parametrize(("finished", "status"), [(False, "KILLED"), (True, "FINISHED")])
def test_a_run_that_left_nothing_behind_ends_when_the_next_one_starts(runs, finished, status):
    first = start(runs)
    if finished:
        first.finish()
    second = open_tracker(None, runs, "im", "first", {}, {}, run_folder=runs / "first", abandoned=first.run_id)
    assert second.run_id != first.run_id
    assert recorded(first).info.status == status
    assert recorded(second).info.status == "RUNNING"


def test_a_run_of_another_database_is_nothing_to_stop_for(runs):
    open_tracker(None, runs, "im", "first", {}, {}, run_folder=runs / "first", abandoned="0" * 32).finish()


def test_nothing_global_is_touched(runs):
    import mlflow

    before = mlflow.get_tracking_uri()
    start(runs).finish()
    assert mlflow.get_tracking_uri() == before
    assert mlflow.active_run() is None
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


@pytest.mark.slow
def test_the_network_is_an_mlflow_model(runs):
    keras = pytest.importorskip("keras")
    inputs = {"snp": keras.Input((None, 4), name="snp"), "mask": keras.Input((3,), name="mask")}
    pooled = keras.layers.GlobalAveragePooling1D()(inputs["snp"])
    network = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Concatenate()([pooled, inputs["mask"]])))
    network.save(runs / "discriminator.keras")
    (runs / "broken.keras").write_text("not a network")
    tracker = start(runs)
    tracker.keras_model(runs / "discriminator.keras")
    tracker.keras_model(runs / "broken.keras")
    tracker.finish()
    (output,) = recorded(tracker).outputs.model_outputs
    model = tracker._client.get_logged_model(output.model_id)
    assert model.name == "discriminator"
    assert model.status == "READY"
    assert len(tracker.warnings) == 1
    assert "the network was recorded as a file, not as an MLflow model" in tracker.warnings[0]
    assert [a.path for a in tracker._client.list_artifacts(tracker.run_id, "model")] == ["model/broken.keras"]
    files = Path(model.artifact_location.removeprefix("file://"))
    loaded = keras.models.load_model(files / "data" / "model.keras")
    assert loaded.count_params() == network.count_params()
    assert "tensorflow==" in (files / "requirements.txt").read_text()


def default_network(folder: Path):
    """The default network of a small sample, saved; what it makes of three windows of noise."""
    import keras
    import numpy as np

    from discriminators import exchangeable
    from ganinfer import encodings
    from ganinfer.haplotypes import SampleSet

    context = encodings.EncodingContext((SampleSet("A", 4),), True, False, 10_000, 32)
    specs = {k: v for name in exchangeable.encodings for k, v in encodings.make(name, context, {}).spec().items()}
    network = exchangeable.build(specs)
    network.save(folder / "trunk.keras")
    rng = np.random.default_rng(1)
    arrays = {t.name: rng.integers(0, 2, (3, *specs[t.name].shape)).astype(specs[t.name].dtype) for t in network.inputs}
    np.savez(folder / "windows.npz", **arrays)
    return keras.ops.convert_to_numpy(network(arrays))


@pytest.mark.slow
def test_the_documented_way_loads_the_default_network_in_a_fresh_process(runs):
    """With its own layers: without the plugin, Keras does not know them."""
    import numpy as np

    embedding = default_network(runs)
    tracker = start(runs)
    tracker.keras_model(runs / "trunk.keras", "exchangeable")
    tracker.finish()
    assert tracker.warnings == []
    (output,) = recorded(tracker).outputs.model_outputs
    page = (Path(__file__).parent.parent / "docs" / "reading-a-report.md").read_text()
    (snippet,) = re.findall(r"```python\n(.*?load_model.*?)```", page, re.DOTALL)
    snippet = snippet.replace("m-0123456789abcdef", output.model_id).replace("sqlite:///runs", f"sqlite:///{runs}")
    before = f"""
import mlflow
mlflow.set_tracking_uri("sqlite:///{runs}/mlflow.db")
try:
    mlflow.keras.load_model("models:/{output.model_id}")
except TypeError as error:
    assert "Could not locate class" in str(error), error
else:
    raise AssertionError("loaded without its plugin")
"""
    after = f"""
import numpy
found = network(dict(numpy.load("{runs}/windows.npz")))
numpy.save("{runs}/found.npy", numpy.asarray(found))
"""
    done = subprocess.run([sys.executable, "-c", before + snippet + after], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    np.testing.assert_allclose(np.load(runs / "found.npy"), embedding, rtol=1e-5, atol=1e-6)
    model = tracker._client.get_logged_model(output.model_id)
    requirements = Path(model.artifact_location.removeprefix("file://")) / "requirements.txt"
    assert f"ganinfer=={ganinfer.__version__}" in requirements.read_text()


# --- the model registry


def bundle_folder(runs: Path, text: str) -> Path:
    folder = runs / "first" / "bundle"
    (folder / "networks").mkdir(parents=True, exist_ok=True)
    (folder / "bundle.json").write_text(json.dumps({"name": text}))
    (folder / "networks" / "fold-0.keras").write_text(text)
    return folder


def versions(tracker, name: str = "ganinfer-im") -> dict[str, str]:
    """Number and the network's text of each version of a registered model, as downloaded."""
    import mlflow

    found = tracker._client.search_model_versions(f"name='{name}'")
    uri = tracker._client.tracking_uri
    folders = {v.version: mlflow.artifacts.download_artifacts(v.source, tracking_uri=uri) for v in found}
    return {str(n): (Path(folder) / "networks" / "fold-0.keras").read_text() for n, folder in folders.items()}


def test_a_bundle_becomes_a_version_of_a_registered_model(runs):
    tracker = start(runs)
    tracker.bundle(bundle_folder(runs, "one"), "ganinfer-im")
    tracker.finish()
    assert tracker.warnings == []
    assert versions(tracker) == {"1": "one"}
    (version,) = tracker._client.search_model_versions("name='ganinfer-im'")
    assert version.run_id == tracker.run_id
    assert version.source == f"{recorded(tracker).info.artifact_uri}/bundle"
    assert recorded(tracker).info.status == "FINISHED"


def test_versions_stay_as_they_were_when_the_run_goes_on(runs):
    first = start(runs)
    first.bundle(bundle_folder(runs, "one"), "ganinfer-im")
    first.finish()
    for text in ("one", "two", "two"):
        tracker = start(runs, run_id=first.run_id)
        tracker.bundle(bundle_folder(runs, text), "ganinfer-im")
        tracker.finish()
        assert tracker.warnings == []
    assert versions(tracker) == {"1": "one", "2": "two"}
    other = start(runs)
    other.bundle(bundle_folder(runs, "two"), "ganinfer-im")
    other.finish()
    assert versions(tracker) == {"1": "one", "2": "two", "3": "two"}


def test_without_a_registry_the_bundle_is_recorded_and_a_warning_says_so(runs, monkeypatch):
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "nowhere://registry")
    tracker = start(runs)
    tracker.bundle(bundle_folder(runs, "one"), "ganinfer-im")
    tracker.finish()
    (warning,) = tracker.warnings
    assert "did not register the bundle as a model: Model Registry features are not supported" in warning
    files = {a.path for a in tracker._client.list_artifacts(tracker.run_id, "bundle")}
    assert files == {"bundle/bundle.json", "bundle/networks"}
    assert recorded(tracker).info.status == "FINISHED"


def test_a_bundle_that_could_not_be_sent_is_registered_by_the_next_resume(runs):
    tracker = start(runs)
    stores = tracker._client._tracking_client.store, tracker._client._get_registry_client().store
    (runs / "mlflow.db").rename(runs / "away.db")
    (runs / "mlflow.db").write_bytes(b"not a database, long enough to be refused" * 100)
    for store in stores:
        store.engine.dispose()
    tracker.bundle(bundle_folder(runs, "one"), "ganinfer-im")
    tracker.finish()
    assert "sent by the next --resume" in tracker.warnings[0]
    (runs / "away.db").replace(runs / "mlflow.db")
    for store in stores:
        store.engine.dispose()
    second = start(runs, run_id=tracker.run_id)
    second.finish()
    assert second.warnings == []
    assert versions(second) == {"1": "one"}


def test_what_nobody_would_resume_leaves_nothing_for_later(runs):
    tracker = open_tracker(None, runs, "im", "trained", {}, {}, resumable=False)
    (runs / "mlflow.db").write_bytes(b"not a database, long enough to be refused" * 100)
    tracker._client._tracking_client.store.engine.dispose()
    tracker.metrics({"accuracy": 0.9}, 0)
    tracker.finish()
    (warning,) = tracker.warnings
    assert "could not be reached" in warning
    assert "its record lacks what came last" in warning
    assert not list(runs.rglob("mlflow-pending.json"))


@pytest.mark.slow
def test_a_server_registers_bundles_too(server, runs):
    tracker = start(runs, uri=server.uri)
    tracker.bundle(bundle_folder(runs, "one"), "ganinfer-im")
    tracker.finish()
    assert tracker.warnings == []
    assert versions(tracker) == {"1": "one"}


@pytest.mark.slow
def test_a_plugin_of_others_is_named_with_its_distribution(runs, toys):
    from ganinfer.tracking.keras_model import _distribution_of

    assert _distribution_of("toy-net") == ["toy-plugins==1.0"]
    assert _distribution_of("exchangeable") == _distribution_of(None) == []


def test_models_that_waited_without_their_plugin_are_still_sent(runs):
    tracker = start(runs)
    tracker.finish()
    (runs / "first").mkdir(exist_ok=True)
    record = {"schema_version": 1, "run_id": tracker.run_id, "params": {}, "tags": {}, "metrics": [], "artifacts": []}
    (runs / "first" / "mlflow-pending.json").write_text(json.dumps(record | {"models": [str(runs / "gone.keras")]}))
    second = start(runs, run_id=tracker.run_id)
    second.finish()
    assert len(second.warnings) == 2
    assert "gone.keras is gone and could not be recorded" in second.warnings[0]


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("mlruns", r"tracking\.uri 'mlruns' has no scheme; allowed: null .*sqlite:///FILE"),
        ("file:./mlruns", r"is a folder of files, which MLflow no longer writes \(mlflow migrate-filestore"),
        ("htp://host", r"has the scheme 'htp'"),
        ("http://", r"names no host"),
        ("http://host:port", r"a port that is not a number"),
        ("http://host:99999", r"a port that is not a number"),
        ("sqlite://", r"names no database file \(three slashes"),
        ("postgre://user:secret@host/db", r"'postgre://user:\*\*\*@host/db' has the scheme"),
    ],
)
def test_a_malformed_address_is_refused(tmp_path, uri, message):
    with pytest.raises(TrackingError, match=message):
        start(tmp_path, uri=uri)
    assert list(tmp_path.iterdir()) == []


def test_a_new_run_needs_an_answer(tmp_path):
    began = time.monotonic()
    with pytest.raises(
        TrackingError, match=r"does not answer: .*Connection refused; start the server or correct the address.*null"
    ):
        start(tmp_path, uri=f"http://127.0.0.1:{free_port()}")
    assert time.monotonic() - began < 5


def test_a_deleted_experiment_says_how_to_restore_it(runs):
    tracker = start(runs)
    tracker._client.delete_experiment(recorded(tracker).info.experiment_id)
    with pytest.raises(TrackingError, match=r"experiment 'im' .* was deleted; restore it there \(mlflow experiments"):
        start(runs)


def test_what_could_not_be_sent_is_sent_by_the_next_resume(runs):
    tracker = start(runs)
    tracker.metrics({"auc": 0.5}, 0)
    (runs / "mlflow.db").rename(runs / "away.db")
    (runs / "mlflow.db").write_bytes(b"not a database, long enough to be refused" * 100)
    tracker._client._tracking_client.store.engine.dispose()
    (runs / "report.html").write_text("words")
    tracker.metrics({"auc": 0.6}, 1)
    tracker.artifact(runs / "report.html")
    tracker.finish()
    assert len(tracker.warnings) == 1
    assert "could not be reached" in tracker.warnings[0]
    assert "sent by the next --resume" in tracker.warnings[0]
    pending = json.loads((runs / "first" / "mlflow-pending.json").read_text())
    assert pending["schema_version"] == 1
    assert [point[:2] for point in pending["metrics"]] == [["auc", 0.6]]
    (runs / "away.db").replace(runs / "mlflow.db")
    tracker._client._tracking_client.store.engine.dispose()
    second = start(runs, run_id=tracker.run_id)
    second.finish()
    assert second.warnings == []
    assert history(second, "auc") == [(0, 0.5), (1, 0.6)]
    assert [a.path for a in second._client.list_artifacts(second.run_id)] == ["report.html"]
    assert not (runs / "first" / "mlflow-pending.json").exists()


def test_another_runs_pending_record_is_left_out(runs):
    tracker = start(runs)
    tracker.finish()
    (runs / "first").mkdir(exist_ok=True)
    (runs / "first" / "mlflow-pending.json").write_text('{"schema_version": 1, "run_id": "other"}')
    second = start(runs, run_id=tracker.run_id)
    assert "is damaged or belongs to another run or version" in second.warnings[0]


@pytest.mark.slow
def test_two_runs_may_start_at_once_on_a_new_database(tmp_path):
    code = (
        "import sys; from pathlib import Path; from ganinfer.tracking import open_tracker\n"
        "tracker = open_tracker(None, Path(sys.argv[1]), 'im', sys.argv[2], {}, {}); tracker.finish()\n"
        "print(tracker.warnings)"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path), name],
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for name in ("a", "b")
    ]
    assert [process.communicate(timeout=120)[0].strip() for process in processes] == ["[]", "[]"]


# A real server that goes away


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        import urllib.request

        command = [
            sys.executable,
            "-m",
            "mlflow",
            "server",
            "--backend-store-uri",
            f"sqlite:///{self.folder}/mlflow.db",
        ]
        command += ["--artifacts-destination", str(self.folder / "artifacts"), "--workers", "1"]
        command += ["--host", "127.0.0.1", "--port", str(self.port)]
        environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"}
        log = (self.folder / "server.log").open("ab")
        self.process = subprocess.Popen(
            command, stdout=log, stderr=log, start_new_session=True, cwd=self.folder, env=environment
        )
        deadline = time.monotonic() + 300  # a busy machine takes a minute
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"{self.uri}/health", timeout=1)
                return
            except OSError:
                time.sleep(0.1)
        raise AssertionError((self.folder / "server.log").read_text())

    def signal(self, number: int) -> None:
        assert self.process is not None
        os.killpg(self.process.pid, number)

    def stop(self) -> None:
        if self.process is not None:
            self.signal(signal.SIGKILL)
            self.process.wait()
            self.process = None


@pytest.fixture(scope="module")
def only_server(database, tmp_path_factory):
    """It takes long to start, and serves one test after the other."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(database, folder / "mlflow.db")
    server = Server(folder)
    yield server
    server.stop()


@pytest.fixture
def server(only_server):
    if only_server.process is None:
        only_server.start()
    return only_server


@pytest.mark.slow
def test_a_server_that_goes_away_costs_nothing_but_a_late_record(server, runs, monkeypatch):
    check_reachable(server.uri)
    tracker = start(runs, uri=server.uri, seed=1)
    other = open_tracker(server.uri, runs, "im", "second", {"seed": 1}, {})
    (runs / "report.html").write_text("words")
    tracker.metrics({"auc": 0.0}, 0)
    other.metrics({"auc": 0.0}, 0)

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    server.signal(signal.SIGSTOP)  # there, but silent
    began = time.monotonic()
    tracker.metrics({"auc": 1.0}, 1)
    assert time.monotonic() - began < 5

    server.stop()
    slowest = 0.0
    for step in range(2, 50):
        began = time.monotonic()
        tracker.metrics({"auc": float(step), "theta/N1": 1.0}, step)
        slowest = max(slowest, time.monotonic() - began)
    tracker.artifact(runs / "report.html")
    assert slowest < 2.0
    assert json.loads((runs / "first" / "mlflow-pending.json").read_text())["metrics"]
    other.metrics({"auc": 1.0}, 1)
    other.finish()
    assert "sent by the next --resume" in other.warnings[0]
    resumed = open_tracker(server.uri, runs, "im", "second", {"seed": 2}, {}, other.run_id)
    resumed.metrics({"auc": 2.0}, 2)

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")
    server.start()
    time.sleep(0.3)  # longer than the wait between attempts
    tracker.metrics({"auc": 50.0}, 50)
    assert history(tracker, "auc") == [(step, float(step)) for step in range(51)]
    assert not (runs / "first" / "mlflow-pending.json").exists()
    tracker.finish()
    resumed.finish()
    assert tracker.warnings == resumed.warnings == []
    assert recorded(tracker).info.status == recorded(resumed).info.status == "FINISHED"
    assert [a.path for a in tracker._client.list_artifacts(tracker.run_id)] == ["report.html"]
    assert history(resumed, "auc") == [(0, 0.0), (1, 1.0), (2, 2.0)]
    assert recorded(resumed).data.tags["resumed.seed"] == "2"
