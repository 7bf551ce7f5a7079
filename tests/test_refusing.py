"""What is refused before any genome is read, by ``check`` and by ``run``: the message, and that nothing is left."""

from __future__ import annotations

import os
import re
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ganinfer import runner
from ganinfer.experiment import Experiment, ExperimentError, load
from ganinfer.haplotypes import SampleSet
from ganinfer.runner import assembling
from ganinfer.runner.refusing import refuse
from ganinfer.runner.running import dump_yaml
from ganinfer.simulation import SimulationError
from ganinfer.storage import RunFolder
from ganinfer.tracking import TrackingError, check_reachable
from tests.genome_files import vcf_text, write_sheet

EXPERIMENTS = Path(__file__).parent.parent / "experiments"
DEMES = "model: im.demes.yaml, parameters: im.options.yaml, mutation_rate: 1.25e-8"
EXPERIMENT = """\
data: {genotypes: x.vcf, samples: sheet.tsv, populations: {A: 2, B: 1}}
windows: {length: 100, block_length: 100}
scenarios:
  im: {model: im.demes.yaml, parameters: im.options.yaml, mutation_rate: 1.25e-8, recombination_rate: 1e-8}
execution: {executor: serial, threads: 1}
"""
CODE = """
from ganinfer.parameters import Parameter, Parameters

class Mine:
    api_version, produces = "1", "windows"
    parameters = Parameters((Parameter("N", 100, 20_000, "log"),))

    def simulate(self, theta, design, seed):
        ANSWER
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An experiment on a small VCF that nobody may read."""
    (tmp_path / "x.vcf").write_text(vcf_text([f"1 {p} A C 0|1 1|1 0|0" for p in range(5, 900, 7)]))
    write_sheet(tmp_path / "sheet.tsv", {"a": "A", "b": "A", "c": "B"})
    for name in ("im.demes.yaml", "im.options.yaml"):
        (tmp_path / name).write_text((EXPERIMENTS / name).read_text())

    def no_data(*arguments: Any) -> None:
        raise AssertionError("the genomes were read")

    monkeypatch.setattr(assembling, "open_data", no_data)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def experiment(folder: Path, *overrides: str, text: str = EXPERIMENT) -> Any:
    (folder / "my.yaml").write_text(text)
    return load(folder / "my.yaml", overrides)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def refused(folder: Path, message: str, *overrides: str, text: str = EXPERIMENT, kind: type = ValueError) -> None:
    loaded = experiment(folder, *overrides, text=text)
    before = sorted(folder.rglob("*"))
    with pytest.raises(kind, match=message):
        runner.check(loaded)
    with pytest.raises(kind, match=message):
        runner.check(loaded, folder / "run")
    with pytest.raises(kind, match=message):
        runner.run(loaded, folder / "run")
    assert sorted(folder.rglob("*")) == before


def test_a_sound_experiment_passes(folder: Path) -> None:
    refuse(experiment(folder), network=False)
    refuse(load(EXPERIMENTS / "im.yaml"), network=False)


def test_a_folder_that_a_run_could_not_have(folder: Path) -> None:
    """Said by a check that is told the folder, which takes and changes nothing there."""
    loaded = experiment(folder)
    (folder / "other").mkdir()
    (folder / "other" / "thesis.tex").touch()
    with RunFolder.create(folder / "taken") as run:
        run.write_round(0, {}, {})
        with pytest.raises(ValueError, match=r"output folder in use: .* by this process"):
            runner.check(loaded, folder / "taken")
        program = "from pathlib import Path; from ganinfer.storage import check_folder; check_folder(Path('taken'))"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert "StorageError: output folder in use: " in done.stderr
        assert f"by process {os.getpid()} on " in done.stderr
        run.write_text("experiment.yaml", dump_yaml(loaded.resolved()))
    before = sorted(folder.rglob("*"))
    for name, resume, message in [
        ("taken", False, r"already holds an unfinished run \(1 complete rounds\)"),
        ("other", False, r"is not empty \(thesis.tex\) and holds no run"),
        ("other", True, "nothing to resume: "),
        ("gone", True, "nothing to resume: "),
        ("my.yaml", False, "my.yaml is a file; choose another"),
        ("my.yaml/run", False, "my.yaml must be a writable folder; choose another with --output"),
    ]:
        with pytest.raises(ValueError, match=message):
            runner.check(loaded, folder / name, resume=resume)
    with pytest.raises(ValueError, match="--resume goes on with the run's own experiment, but seed changed"):
        runner.check(loaded, folder / "taken", resume=True, seed=5)
    with pytest.raises(AssertionError, match="the genomes were read"):
        runner.check(_threaded_as_this_process(loaded), folder / "taken", resume=True)
    assert sorted(folder.rglob("*")) == before


def _threaded_as_this_process(loaded: Experiment) -> Experiment:
    """Another test may have started TensorFlow, whose threads are then fixed."""
    import tensorflow as tf

    threads = tf.config.threading.get_intra_op_parallelism_threads()
    return loaded.model_copy(update={"execution": loaded.execution.model_copy(update={"threads": threads})})


def test_a_population_without_a_deme(folder: Path) -> None:
    write_sheet(folder / "sheet.tsv", {"a": "A", "b": "A", "c": "CEU"})
    text = EXPERIMENT.replace("B: 1", "CEU: 1")
    message = r"my.yaml:4: scenarios.im: population 'CEU' of the data is sampled from 'CEU', which im.demes.yaml"
    refused(folder, message, text=text)
    refused(folder, "'A' of the data is sampled from 'AFR'", "scenarios.im.demes={A: AFR, CEU: B}", text=text)
    refuse(experiment(folder, "scenarios.im.demes={CEU: B}", text=text), network=False)


def test_an_ancient_sample_of_a_deme_that_did_not_exist_yet(folder: Path) -> None:
    (folder / "sheet.tsv").write_text("sample\tpopulation\ttime\na\tA\t0\nb\tA\t19000\nc\tB\t0\n")
    message = (
        r"scenarios.im: none of 1024 draws .*for example at N1=.*: population 'A' is sampled 25000 generations ago"
    )
    fixed = r"scenarios.im: population 'A' is sampled 19000 generations ago, but 'A' of im.demes.yaml exists only from"
    refused(folder, fixed, "scenarios.im.fixed={T_split: 600}")
    (folder / "sheet.tsv").write_text("sample\tpopulation\ttime\na\tA\t0\nb\tA\t25000\nc\tB\t0\n")
    refused(folder, message)


def test_an_ancient_sample_that_some_of_the_prior_can_give(folder: Path) -> None:
    (folder / "sheet.tsv").write_text("sample\tpopulation\ttime\na\tA\t0\nb\tA\t10000\nc\tB\t0\n")
    loaded = experiment(folder)
    refuse(loaded, network=False)
    samples = (SampleSet("A", 1), SampleSet("A", 1, time=10_000), SampleSet("B", 1))
    simulator, parameters = assembling.checked_parameters(loaded, "im", samples)
    draws = parameters.sample(np.random.default_rng(1), 300)
    assert draws[:, parameters.names.index("T_split")].min() > 10_000
    assert simulator.parameters.possible(draws).all()
    before = simulator.parameters.sample(np.random.default_rng(1), 300)
    young = before[:, parameters.names.index("T_split")] <= 10_000
    assert (parameters.possible(before) == ~young).all()
    assert young.any()


def test_an_empty_population(folder: Path) -> None:
    refused(folder, r"sheet.tsv: population C of data.populations is empty; there are A \(2\)", "data.populations.C=1")


def test_windows_longer_than_what_they_are_cut_from(folder: Path) -> None:
    (folder / "regions.bed").write_text("1\t0\t700\n1\t800\t900\n")
    message = "regions.bed: no window of 90,000,000 bases is left: the longest of the regions has 700. Lower windows.le"
    refused(folder, message, "data.regions=regions.bed", "windows.length=90000000", "windows.block_length=null")
    refuse(experiment(folder, "data.regions=regions.bed", "windows.length=700"), network=False)
    with pytest.raises(ExperimentError, match=r"windows.length: must be at most 100,000,000, not 5000000000"):
        experiment(folder, "windows.length=5000000000")


def test_a_budget_that_is_too_small(folder: Path) -> None:
    refused(folder, r"budget: generator matching needs at least 14 proposals", "budget.simulated_windows=3")


def test_options_that_the_generator_refuses(folder: Path) -> None:
    refused(folder, r"generator: generator matching: temper must lie in \(0, 1\]", "generator.temper=7")


def test_an_unknown_encoding(folder: Path) -> None:
    message = "discriminator.encodings: no encoding named 'snp-matrx'; did you mean snp-matrix"
    refused(folder, message, "discriminator.encodings=[snp-matrx]")


def test_several_scenarios_without_a_posterior(folder: Path) -> None:
    two = f"scenarios.two={{{DEMES}, recombination_rate: 0}}"
    refused(
        folder, r"generator: annealing follows the critic and gives no posterior", two, "generator={name: annealing}"
    )


def test_every_one_of_several_scenarios_is_tried(folder: Path) -> None:
    two = f"scenarios.two={{{DEMES}, recombination_rate: 0, demes: {{A: AFR}}}}"
    refused(folder, "two: population 'A' of the data is sampled from 'AFR'", two)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            "raise RuntimeError('no licence')",
            r"Mine of my.py failed at N=.*: raised RuntimeError: no licence \(my.py",
        ),
        ("yield 7", "an observation must be Haplotypes or a tskit.TreeSequence, not int"),
        ("return []", "yielded 0 observations for 1 templates"),
    ],
)
def test_a_simulator_that_fails(folder: Path, answer: str, message: str) -> None:
    (folder / "my.py").write_text(CODE.replace("ANSWER", answer))
    text = re.sub(r"im: \{.*\}", "im: {simulator: {file: my.py, class: Mine}}", EXPERIMENT)
    command = r"[^\n]*\nRepeat it with: ganinfer check \S*my.yaml --set seed=5$"
    refused(folder, message + command, "seed=5", text=text, kind=SimulationError)


@pytest.mark.parametrize(
    ("executor", "answer", "message"),
    [
        (
            "process",
            "from itertools import repeat; sum(repeat(0))",
            "took longer than 2 s, in .my.py., line 9[^\n]*",
        ),
        ("process", "import os; os._exit(7)", "its worker process ended with exit status 7, 3 times"),
        ("ray", "import ctypes; ctypes.string_at(0)", "its worker process was ended by SIGSEGV, 3 times"),
    ],
)
def test_a_simulator_that_takes_its_process_along(folder: Path, executor: str, answer: str, message: str) -> None:
    """In a program of its own, which must live to say so."""
    (folder / "my.py").write_text(CODE.replace("ANSWER", answer))
    (folder / "my.yaml").write_text(re.sub(r"im: \{.*\}", "im: {simulator: {file: my.py, class: Mine}}", EXPERIMENT))
    changes = ["--set", f"execution.executor={executor}", "--set", "execution.timeout=2", "--set", "seed=5"]
    script = "from ganinfer.cli import main; main()"
    command = [sys.executable, "-c", script, "run", "my.yaml", "--output", "run", *changes]
    done = subprocess.run(command, capture_output=True, text=True, timeout=40, check=False)
    found = re.search(rf"Mine of my.py failed at N=.* with seed 1: {message}\n(.*)", done.stderr)
    assert found, done.stderr
    assert found[1] == f"Repeat it with: ganinfer check {folder / 'my.yaml'} {' '.join(changes)}"
    assert done.returncode == 1


def test_a_debugger_can_follow_the_trial_of_the_serial_executor(folder: Path) -> None:
    (folder / "my.py").write_text(CODE.replace("ANSWER", "import os; raise RuntimeError(f'in {os.getpid()}')"))
    text = re.sub(r"im: \{.*\}", "im: {simulator: {file: my.py, class: Mine}}", EXPERIMENT)
    with pytest.raises(SimulationError, match=f"raised RuntimeError: in {os.getpid()} "):
        refuse(experiment(folder, text=text), network=False)
    with pytest.raises(SimulationError, match=rf"raised RuntimeError: in (?!{os.getpid()} )\d+ "):
        refuse(experiment(folder, "execution.executor=process", text=text), network=False)


def test_mlflow_that_is_away_or_misnamed(folder: Path) -> None:
    message = r"MLflow at tracking.uri 'http://127.0.0.1:\d+' does not answer: .*; start the server or correct the addr"
    refused(folder, message, f"tracking.uri=http://127.0.0.1:{free_port()}")
    refused(folder, r"'mlflow.org:5000' has the scheme 'mlflow.org'; allowed: null", "tracking.uri=mlflow.org:5000")
    away = experiment(folder, f"tracking.uri=http://127.0.0.1:{free_port()}")
    refuse(away, network=False, resume=True)


def answers(status: int, kind: str, text: bytes) -> type[BaseHTTPRequestHandler]:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *arguments: Any) -> None:
            """Nothing on the terminal."""

    return Answer


@pytest.fixture
def served() -> Iterator[Callable[..., str]]:
    """Starts web servers with one answer to everything; gives their addresses."""
    servers: list[HTTPServer] = []

    def start(status: int, kind: str = "text/html", text: bytes = b"<html>") -> str:
        servers.append(HTTPServer(("127.0.0.1", 0), answers(status, kind, text)))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_server_that_is_no_mlflow(folder: Path, served: Callable[..., str]) -> None:
    message = r"a server answers there, but not as MLflow does \(HTTP status 404, text/html for /api/2.0/mlflow"
    refused(folder, message, f"tracking.uri={served(404)}")
    for status, kind, text in [(200, "text/html", b"<html>"), (500, "application/json", b"{}"), (200, "a/b", b"[]")]:
        with pytest.raises(TrackingError, match=f"HTTP status {status}, {kind}"):
            check_reachable(served(status, kind, text))
    check_reachable(served(200, "application/json", b'{"experiments": []}'))
    check_reachable(served(401))


def test_a_tracking_database_that_cannot_be(folder: Path) -> None:
    refused(
        folder,
        r"'sqlite:////proc/x.db' does not answer: .*; make the folder writable",
        "tracking.uri=sqlite:////proc/x.db",
    )
    uri = f"sqlite:///{folder}/x.vcf"
    refused(folder, r"x.vcf is no SQLite database; name another file", f"tracking.uri={uri}")
    refused(folder, "Not a directory", f"tracking.uri={uri}/mlflow.db")
    refused(folder, "does not answer: .*Is a directory", f"tracking.uri=sqlite:///{folder}")
    check_reachable(f"sqlite:///{folder}/new/folder/mlflow.db")
    sqlite3.connect(folder / "there.db").execute("CREATE TABLE a (b)").connection.close()
    check_reachable(f"sqlite:///{folder}/there.db")
    assert not (folder / "new").exists()


def test_a_tracking_database_server_that_is_away_or_has_no_driver(folder: Path) -> None:
    uri = f"postgresql://me:secret@127.0.0.1:{free_port()}/mlflow"
    refused(
        folder, r"me:\*\*\*@127.0.0.1:\d+/mlflow' does not answer: .*refused; start the server", f"tracking.uri={uri}"
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        uri = f"postgresql+other://127.0.0.1:{listener.getsockname()[1]}/mlflow"
        refused(folder, "the database's driver cannot be used .*install it beside mlflow", f"tracking.uri={uri}")


def test_databricks_is_left_to_mlflow() -> None:
    check_reachable("databricks")
    check_reachable("databricks://profile")


def test_ray_that_is_away_or_misnamed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = "execution.executor=ray"
    message = r"no Ray cluster lets us in at execution.address '127.0.0.1:\d+' \(ConnectionRefusedError"
    refused(folder, message, ray, f"execution.address=127.0.0.1:{free_port()}")
    refused(folder, "execution.address must be auto or HOST:PORT", ray, "execution.address=ray://head")
    monkeypatch.setenv("RAY_ADDRESS", "head")
    refused(folder, "the environment variable RAY_ADDRESS must be auto or HOST:PORT", ray)


def test_a_map_that_is_missing(folder: Path) -> None:
    text = EXPERIMENT.replace(", recombination_rate: 1e-8", "")
    with pytest.raises(ExperimentError, match=r":4: scenarios.im: recombination_rate is map \(the default\), but"):
        experiment(folder, text=text)
    with pytest.raises(ExperimentError, match="a simulation study has no recombination map; give recombination_rate"):
        load(EXPERIMENTS / "im.yaml", ["scenarios.im.recombination_rate=map"])


def test_options_of_another_kind(folder: Path) -> None:
    for option, message in {
        "generator.temper=hot": "generator.temper: must be a number, not 'hot'",
        "generator.windows=1.5": "generator.windows: must be a whole number, not 1.5",
        "generator.steps=true": "generator.steps: must be a whole number, not True",
        "scenarios.im.ploidy=two": "scenarios.im.ploidy: must be a whole number, not 'two'",
        "scenarios.im.mutation_rate=[1]": r"scenarios.im.mutation_rate: must be a number or text or null, not \[1\]",
    }.items():
        with pytest.raises(ExperimentError, match=message):
            experiment(folder, option)
