"""The command line: exit codes, messages, what goes to which stream. Nothing here waits for a run."""

from __future__ import annotations

import errno
import json
import os
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from importlib import import_module
from pathlib import Path
from textwrap import dedent

import pytest
from typer.testing import CliRunner

import ganinfer
from ganinfer import experiment, storage
from ganinfer.cli import app, guard, show, values
from ganinfer.simulation import SimulationError
from tests import compared_folder, contended_folder, run_folder
from tests.test_runner import TINY
from tests.verification import same_answer

EXPERIMENTS = Path(__file__).parent.parent / "experiments"
IM = EXPERIMENTS / "im.yaml"
PROGRAM = [sys.executable, "-c", "from ganinfer.cli import main; main()"]
COMMANDS = ("check", "doctor", "init", "plugins", "report", "run", "simulate", "trace")


def invoke(*arguments: object) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command in this process."""
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    return done.exit_code, done.stdout, done.stderr


def one_line(text: str) -> str:
    """Help as a terminal wraps it, unwrapped."""
    return " ".join(text.replace("│", " ").split())


# --- help -------------------------------------------------------------------------------------------------------


def test_help_names_every_command_and_the_exit_codes() -> None:
    code, out, _ = invoke("--help")
    assert code == 0
    assert all(command in out for command in COMMANDS)
    assert guard.EXIT_CODES in one_line(out)


@pytest.mark.parametrize("command", [*COMMANDS, "plugins list", "plugins show", "plugins check"])
def test_every_command_explains_itself(command: str) -> None:
    code, out, _ = invoke(*command.split(), "--help")
    assert code == 0
    assert f"Usage: ganinfer {command}" in one_line(out)


def test_help_loads_nothing_heavy() -> None:
    script = """
import sys
from ganinfer.cli import app
try:
    app(["--help"], prog_name="ganinfer")
except SystemExit:
    pass
heavy = "numpy scipy pydantic ruamel msprime tskit demes tensorflow keras mlflow ray matplotlib pyarrow pandas".split()
print("LOADED:", [name for name in heavy if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "LOADED: []"


def test_the_installed_program_says_its_version() -> None:
    done = subprocess.run([*PROGRAM, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"ganinfer {ganinfer.__version__}\n"


def test_completion_offers_experiments_and_not_their_parts() -> None:
    variables = {"_GANINFER_COMPLETE": "complete_bash", "COMP_WORDS": f"ganinfer run {EXPERIMENTS}/", "COMP_CWORD": "2"}
    done = subprocess.run(PROGRAM, env={**os.environ, **variables}, capture_output=True, text=True, check=False)
    assert str(IM) in done.stdout.split()
    assert "demes.yaml" not in done.stdout


# --- mistakes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["runn"], "No such command 'runn'. Did you mean 'run'?"),
        (["run"], "Missing argument 'FILE'"),
        (["run", IM, "--executor", "dask"], "'dask' is not one of 'ray', 'process', 'serial'"),
        (["run", IM, "--seed", "-1"], "Invalid value for '--seed'"),
        (["check", "gone.yaml"], "error: gone.yaml: no such experiment file"),
        (["run", IM, "--set", "budget.round=2"], "budget.round: unknown key; did you mean rounds?"),
        (["run", IM, "--set", "budget.round=2", "--set", "sed=1"], "error: 2 problems"),
        (["check", EXPERIMENTS / "im.demes.yaml"], "data: required key is missing"),
        (["simulate", IM, "-o", "x", "--scenario", "exp"], "--scenario exp: no such scenario; allowed: im"),
        (["simulate", IM, "-o", "x", "--theta", "N9=3"], "--theta N9: scenario im has no such parameter"),
        (["simulate", IM, "-o", "x", "--theta", "N1"], "--theta N1: must be NAME=VALUE,..."),
        (["simulate", IM, "-o", "x", "--theta", "N1=5"], "--theta: values missing for N2, N_anc, T_split, pulse"),
        (["simulate", IM, "-o", "x", "--theta", "gone.json"], "gone.json does not exist"),
        (["plugins", "show", "deems"], "no plugin named 'deems' is installed; did you mean demes?"),
        (["plugins", "check", "matching", "--option", "x"], "--option x: must be KEY=VALUE"),
        (["plugins", "check", "msprime", "--experiment", IM], "does not use 'msprime'"),
        (["report", "gone"], "gone"),
        (["trace", "gone"], "gone"),
    ],
)
def test_mistakes_end_with_code_2_and_one_message(arguments: list[object], sentence: str) -> None:
    code, out, err = invoke(*arguments)
    assert (code, out) == (2, "")
    assert sentence in one_line(err)
    assert "Traceback" not in err


def test_debug_shows_where() -> None:
    code, _, err = invoke("check", "gone.yaml", "--debug")
    assert code == 2
    assert "Traceback" in err
    assert err.rstrip().endswith("error: gone.yaml: no such experiment file")


def test_several_problems_come_one_a_line() -> None:
    _, _, err = invoke("check", IM, "--set", "budget.round=2", "--set", "sed=1")
    assert err.splitlines()[0] == "error: 2 problems"
    assert [line[:7] for line in err.splitlines()[1:]] == ["  --set"] * 2


def error_of(function: object, *arguments: object) -> Exception:
    try:
        function(*arguments)  # type: ignore[operator]
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def test_exit_codes_tell_mistakes_from_failures() -> None:
    assert guard.explain(error_of(experiment.load, "gone.yaml")) == ("gone.yaml: no such experiment file", 2)
    assert guard.explain(SimulationError("it failed"))[1] == 1
    message, code = guard.explain(error_of(import_module, "vcztools_of_another_name"))
    assert (code, "pip install vcztools_of_another_name" in message) == (3, True)
    assert 'pip install "ganinfer[zarr]"' in guard.explain(ImportError("gone", name="tszip"))[0]
    message, code = guard.explain(error_of(Path("/gone/away").write_text, "x"))
    assert (message, code) == ("/gone/away: No such file or directory", 1)


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, 1), (errno.EDQUOT, 1), (errno.EACCES, 2)])
def test_a_full_disk_is_a_failure_and_no_mistake(number: int, code: int) -> None:
    error = ValueError("cannot write")
    error.__cause__ = OSError(number, os.strerror(number))
    wrapped = error_of(_write_in_vain, error)
    assert guard.explain(wrapped) == ("the store cannot be written", code)


def _write_in_vain(cause: Exception) -> None:
    raise experiment.ExperimentError(["the store cannot be written"]) from cause


def test_a_bug_is_called_a_bug() -> None:
    for error in (error_of(int, "seven"), error_of({}.__getitem__, "key"), AttributeError("no such thing")):
        message, code = guard.explain(error)
        assert code == 1
        assert message.endswith("(this is a bug in ganinfer or in a plugin; --debug shows where)")


def test_a_reader_that_leaves_early_is_no_error() -> None:
    with subprocess.Popen(
        [*PROGRAM, "plugins", "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        error = process.stderr.read()
    assert (process.returncode, error) == (0, "")


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "interrupted\n"), (signal.SIGTERM, 143, "terminated\n")]
)
def test_an_interrupted_command_says_so(number: signal.Signals, code: int, word: str, tmp_path: Path) -> None:
    genotypes, samples = EXPERIMENTS / "1kg-chr4-yri-ceu.vcf.gz", EXPERIMENTS / "1kg-chr4-yri-ceu.panel.tsv"
    command = [*PROGRAM, "init", "-g", str(genotypes), "-s", str(samples), "-o", str(tmp_path / "new")]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "reading the genomes ...\n"
        process.send_signal(number)
        error = process.stderr.read()
    assert (process.returncode, error) == (code, word)
    assert not (tmp_path / "new").exists()


FAILING = """
    schema_version: 1
    data: {simulate: {scenario: toy, truth: {rate: 20}, samples: {A: 5}, windows: 40}}
    windows: {length: 20000}
    scenarios: {toy: {simulator: {file: my plugin.py, class: Simulator}, how: none}}
    seed: 3
"""


@pytest.mark.parametrize(("how", "message"), list(same_answer.MESSAGES.items()))
def test_the_command_in_a_failure_repeats_it(
    how: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my plugin.py").write_text(dedent(same_answer.PLUGIN))
    (tmp_path / "toy.yaml").write_text(dedent(FAILING))
    changes = (f"scenarios.toy.how={how}", "execution.timeout=5", "execution.executor=serial", "seed=9")
    code, _, error = invoke("check", "toy.yaml", *(word for text in changes for word in ("--set", text)))
    assert code == 1
    assert re.search(rf"simulator Simulator of my plugin.py failed at rate=5\d\.\d+ with seed \d+: .*{message}", error)
    command = shlex.split(error.partition("Repeat it with: ")[2])
    # A check tries one window first, before there are any data, and only one of the failures is in the first window.
    assert command[:2] == ["ganinfer", "check" if how == "yields nonsense" else "simulate"]
    again = invoke(*command[1:])
    assert (again[0], again[2]) == (1, error)


@pytest.mark.parametrize("kind", ["serial", "process"])
def test_an_interrupted_run_ends_at_once(kind: str, tmp_path: Path) -> None:
    """A terminal's Ctrl-C reaches every process of the run; here while the study is simulated."""
    changes = ("--set", "data.simulate.windows=1000000", "--set", "execution.workers=2", "--executor", kind)
    command = [*PROGRAM, "run", str(IM), *changes, "--output", str(tmp_path / "run")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stderr is not None
        assert "Reading the data\n" in iter(process.stderr.readline, "")
        time.sleep(1)
        os.killpg(process.pid, signal.SIGINT)
        error = process.stderr.read()
    assert (process.returncode, error) == (
        130,
        "no round was complete; start again with the same command\ninterrupted\n",
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_terminated_run_says_how_to_go_on_and_is_recorded_as_killed(tmp_path: Path) -> None:
    """Also with Ray, which has an answer of its own to SIGTERM."""
    changes = [word for text in (*TINY, "execution.executor=ray", "execution.workers=2") for word in ("--set", text)]
    command = [*PROGRAM, "run", str(EXPERIMENTS / "const.yaml"), *changes, "--output", str(tmp_path / "run")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert any(line.startswith("round 2 of 3") for line in process.stderr)
        process.send_signal(signal.SIGTERM)
        error = process.stderr.read()
    assert process.returncode == 143, error
    assert error.splitlines()[-2].startswith("1 complete round kept; go on with: ganinfer run ")
    assert error.splitlines()[-1] == "terminated"
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        assert database.execute("SELECT status FROM runs").fetchall() == [("KILLED",)]


def test_an_interrupted_run_says_how_to_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_folder.make(tmp_path / "my run", finished=False)
    changed = experiment.load(IM, ["data.simulate.samples={A: 5, B: 5}"]).model_copy(update={"seed": 7})
    show.how_to_go_on(IM, tmp_path / "my run", changed.overrides)
    (command,) = capsys.readouterr().err.splitlines()
    assert command.startswith("1 complete round kept; go on with: ganinfer run ")
    assert shlex.split(command.partition("ganinfer run ")[2]) == [
        str(IM),
        "--set",
        "data.simulate.samples={A: 5, B: 5}",
        "--set",
        "seed=7",
        "--output",
        str(tmp_path / "my run"),
        "--resume",
    ]


def test_an_interrupted_comparison_says_what_is_kept_of_each_scenario(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = contended_folder.make(tmp_path / "run", ("first", "second"), finished=False)
    (folder / "scenarios/third/rounds").mkdir(parents=True)
    show.how_to_go_on(IM, folder, [])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("complete rounds kept: 1 of first, 1 of second; go on with: ganinfer run ")
    assert line.endswith(f"--output {folder} --resume")
    assert storage.completed_parts(folder) == {"first": 1, "second": 1}


def test_a_dry_run_looks_at_all_that_a_run_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, error = invoke("run", IM, "--dry-run", "--output", run_folder.make(tmp_path / "run"))
    assert (code, "already holds a finished run; go on with it: --resume" in error) == (2, True)
    code, _, error = invoke("run", IM, "--dry-run", "--resume")
    assert (code, "nothing to resume: " in error) == (2, True)
    changes = ("--set", "execution.executor=serial", "--set", "data.simulate.windows=20")
    # It builds the network, and TensorFlow's threads are fixed once for a process.
    done = subprocess.run(
        [*PROGRAM, "run", str(IM), "--dry-run", *changes], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert (done.returncode, "cost:" in done.stdout) == (0, True), done.stderr
    assert done.stderr.splitlines()[-1] == "dry run: the run's folder would be runs/im, nothing was written there"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


# --- what options mean ------------------------------------------------------------------------------------------


def test_theta_is_the_truth_of_a_study_or_what_is_given(tmp_path: Path) -> None:
    study = experiment.load(IM)
    truth = {"N1": 9000.0, "N2": 5000.0, "N_anc": 15000.0, "T_split": 2000.0, "pulse": 0.05}
    assert values.theta(study, "im", []) == truth
    given = values.theta(study, "im", ["N1=1e4,N2=5_500", "N_anc=12000", "T_split=900, pulse=-0.1"])
    assert given == {"N1": 10000.0, "N2": 5500.0, "N_anc": 12000.0, "T_split": 900.0, "pulse": -0.1}
    finished = run_folder.make(tmp_path / "run") / "result.json"
    estimates = {t.name: t.value for t in run_folder.IM}
    assert values.theta(study, "im", [str(finished)]) == estimates
    assert values.theta(study, "im", [str(finished), "pulse=0"]) == estimates | {"pulse": 0.0}


def test_a_scenario_need_only_be_named_where_there_are_several() -> None:
    study = experiment.load(IM)
    assert values.scenario(study, None) == "im"
    other = "  other: {model: im.demes.yaml, mutation_rate: 1e-8, recombination_rate: 1e-8}\n"
    text = IM.read_text().replace("scenarios:\n", f"scenarios:\n{other}")
    assert values.scenario(experiment.loads(text, EXPERIMENTS), None) == "im"
    assert values.scenario(experiment.loads(text, EXPERIMENTS), "other") == "other"


def test_populations_are_names_with_or_without_numbers() -> None:
    assert values.populations(["YRI=20,CEU", "CHB=all"]) == {"YRI": 20, "CEU": "all", "CHB": "all"}


# --- what is shown ----------------------------------------------------------------------------------------------


def test_a_result_is_a_table_with_where_it_lies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = run_folder.make(tmp_path / "run")
    show.result(folder, as_json=False)
    out = capsys.readouterr().out
    verdict, _, header, first = out.splitlines()[:4]
    assert verdict.startswith("Whether the fitted model could have made these genomes was not tested")
    assert header.split() == ["parameter", "estimate", "90", "%", "interval", "unit", "prior", "informative"]
    assert first.split()[:2] == ["N1", "9,000"]
    assert "no: the data say little" in out
    assert str(folder / "result.json") in out


def test_a_result_for_machines_is_the_file_and_its_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = run_folder.make(tmp_path / "run")
    show.result(folder, as_json=True)
    written = json.loads((folder / "result.json").read_text())
    told = json.loads((folder / "warnings.json").read_text())["warnings"]
    assert json.loads(capsys.readouterr().out) == {"folder": str(folder), **written, "warnings": told}


def test_what_to_worry_about_is_told_with_a_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = run_folder.make(tmp_path / "run", warnings=("the budget ended early",))
    row = {"estimates": [9_000.0, 9_900.0], "spread": 0.7, "monte_carlo": 0.2, "agree": False}
    (folder / "replicates.json").write_text(json.dumps({"schema_version": 1, "runs": 2, "parameters": {"N1": row}}))
    show.result(folder, as_json=False)
    out = capsys.readouterr().out
    assert "Warning: the budget ended early" in out
    assert "2 runs of the same windows, and how far their estimates scatter:" in out
    assert "9,000 to 9,900" in out
    show.result(folder, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert (told["warnings"], told["replicates"]["runs"]) == (["the budget ended early"], 2)


def test_a_calibration_is_told_with_runs_of_their_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = run_folder.make(tmp_path / "run")
    path = folder / "calibration" / "calibration.json"
    values = json.loads(path.read_text())
    values["posterior"]["parameters"]["N1"]["coverage"]["0.9"] |= {"held": 20, "right": False}
    path.write_text(json.dumps(values))
    show.calibration(path, as_json=False)
    out = capsys.readouterr().out
    assert "intervals of N1 (90 %) held less often than chance allows, so they are too narrow" in out
    assert "The same data sets, by a run of their own and with the simulations of the run:" in out
    assert "RMS difference / SD" in out


def test_nested_values_become_indented_lines() -> None:
    found = {"windows": {"kept": 1405, "rejected": {}}, "phased": True, "pi": 9.8e-4, "rows": [{"a": 1, "b": None}]}
    expected = [
        "windows:",
        "  kept: 1,405",
        "  rejected: none",
        "phased: yes",
        "pi: 0.00098",
        "rows:",
        "  a  b",
        "  1  –",
    ]
    assert show.lines(found) == expected


def test_a_comparison_is_answered_before_its_parameters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = compared_folder.make(tmp_path / "run")
    show.result(folder, as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(
        "The most probable scenario is stable (probability 0.900). It fits: 40 % of the data sets"
    )
    assert [line.split() for line in lines[2:4]] == [
        ["scenario", "probability", "prior-predictive", "p", "the", "data"],
        ["stable", "0.900", "0.4", "fits"],
    ]
    assert "the networks name the true scenario in 96.0 %; log loss 0.3 ± 0.03." in lines[7]
    assert lines[9] == "The parameters of stable, the most probable scenario."
    assert lines[11].split()[:2] == ["N", "9,000"]
    assert "1,500 data sets simulated in 1 min 30 s" in lines
    show.result(folder, as_json=True)
    assert json.loads(capsys.readouterr().out)["comparison"]["none_fits"] is False


def test_a_comparison_on_windows_counts_windows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = contended_folder.make(tmp_path / "run")
    show.result(folder, as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert [re.split("  +", line) for line in lines[2:4]] == [
        ["scenario", "probability", "log evidence", "posterior-predictive p", "the genomes"],
        ["stable", "0.900", "47.0", "0.4", "fits"],
    ]
    assert "45,576 windows simulated under 3 scenarios in 3 min 50 s; stable stopped: budget" in lines
    assert lines[-1] == str(folder / "scenarios")


def test_that_no_scenario_fits_is_the_first_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = compared_folder.make(
        tmp_path / "run", p_values=[0.01, 0.02, 0.001], alike=True, parameters=False, tests=False
    )
    show.result(folder, as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("No scenario fits: ")
    assert lines[1] == "stable and expansion cannot be told apart with such data."
    assert "Nothing was tested: comparison.tests is 0." in lines
    assert "Parameters" not in "".join(lines)


def test_mappings_that_are_alike_become_a_table() -> None:
    found = {
        "populations": {"YRI": {"pi": 1e-3, "sites": 9}, "CEU": {"pi": 7e-4, "sites": 12}},
        "fst": {"YRI,CEU": 0.15},
    }
    expected = [
        "populations:",
        "       pi      sites",
        "  YRI  0.001   9",
        "  CEU  0.0007  12",
        "fst:",
        "  YRI,CEU: 0.15",
    ]
    assert show.lines(found) == expected


def test_plugins_are_listed_without_being_loaded(toys: Path) -> None:
    code, out, _ = invoke("plugins", "list", "--json")
    rows = json.loads(out)
    assert code == 0
    assert {"demes", "msprime", "exchangeable", "pg-gan", "matching", "annealing", "cma-es"} <= {
        r["name"] for r in rows
    }
    assert any(row["status"].startswith("broken: ") for row in rows)
    code, out, _ = invoke("plugins", "list", "--kind", "generators")
    assert (code, "demes" in out, "matching" in out) == (0, False, True)


def test_a_plugin_shows_its_options() -> None:
    code, out, _ = invoke("plugins", "show", "demes", "--json")
    shown = json.loads(out)
    assert (code, shown["kind"], shown["from"]) == (0, "simulators", f"ganinfer {ganinfer.__version__}")
    options = {option["option"]: option["default"] for option in shown["options"]}
    assert (options["model"], options["ploidy"]) == ("required", "2")


def test_a_plugin_is_checked_as_an_experiment_uses_it() -> None:
    code, out, _ = invoke("plugins", "check", "demes", "--experiment", IM, "--json")
    assert code == 0, out
    assert "same seed" in json.loads(out)["passed"]
    code, out, _ = invoke("plugins", "check", "demes", "--json")
    assert code == 0, out
    assert not json.loads(out)["failed"]


def test_a_run_can_be_traced_and_reported_again(tmp_path: Path) -> None:
    folder = run_folder.make(tmp_path / "run")
    code, out, _ = invoke("trace", folder)
    assert (code, "N_anc" in out) == (0, True)
    code, out, _ = invoke("trace", folder, "--csv", "-")
    assert (code, "parameter" in out.splitlines()[0]) == (0, True)
    code, out, _ = invoke("trace", folder, "--csv", tmp_path / "t.csv", "--plot", tmp_path / "t.png")
    assert (code, out.split()) == (0, [str(tmp_path / "t.csv"), str(tmp_path / "t.png")])
    assert (tmp_path / "t.png").read_bytes().startswith(b"\x89PNG")
    bare = run_folder.make(tmp_path / "bare", minimal=True)
    code, out, _ = invoke("report", bare)
    assert (code, out.strip()) == (0, str(bare / "report.html"))
