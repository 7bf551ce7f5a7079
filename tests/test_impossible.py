"""What part of a prior makes no possible model, and what ``check`` says of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ganinfer.cli import app
from ganinfer.parameters import Constraint, Parameter, Parameters
from ganinfer.runner import impossible

UNIT = Parameter("a", 0, 1)
EXPERIMENT = """\
data:
  simulate: {scenario: s, truth: {T: 2000, T2: 1000}, samples: {A: 2, C: {individuals: 1, time: TIME}}, windows: 40}
windows: {length: 100, block_length: 100}
scenarios:
  s: {model: s.demes.yaml, parameters: s.options.yaml, mutation_rate: 1.25e-6, recombination_rate: 0}
execution: {executor: serial, threads: 1}
"""
MODEL = """\
time_units: generations
demes:
- {name: root, epochs: [{start_size: 1000, end_time: 2000}]}
- {name: A, ancestors: [root], epochs: [{start_size: 1000}]}
- {name: C, ancestors: [A], start_time: 1000, epochs: [{start_size: 1000}]}
"""
OPTIONS = """\
parameters:
- {name: T, lower_bound: 100, upper_bound: 5000, values: [{demes: {root: {epochs: {0: end_time}}}}]}
- {name: T2, lower_bound: 100, upper_bound: 5000, values: [{demes: {C: start_time}}]}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in {
        "s.yaml": EXPERIMENT.replace("TIME", "0"),
        "s.demes.yaml": MODEL,
        "s.options.yaml": OPTIONS,
    }.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def checked(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["check", "s.yaml", *arguments])
    assert done.exit_code == 0, done.stderr
    return done.stdout


def found_by_check(*arguments: str) -> Any:
    return json.loads(checked("--json", *arguments))


# --- draws ------------------------------------------------------------------------------------------------------


def test_the_share_is_that_of_the_prior() -> None:
    tried = impossible.look(Parameters((UNIT,), problem=lambda v: "too large" if v["a"] > 0.7 else None), 1)
    assert tried.num_draws == 1000
    assert tried.share == pytest.approx(0.3, abs=0.05)
    assert len(tried.reasons) == 1
    assert tried.reasons[0][1].startswith("at a=0.")
    assert impossible.look(Parameters((UNIT,)), 1) == impossible.Tried(1000, ())
    assert impossible.Tried(1000, ()).warnings("my.yaml") == []


def test_constraints_are_no_impossible_models() -> None:
    both = (UNIT, Parameter("b", 0, 1))
    tried = impossible.look(
        Parameters(both, (Constraint("a", "b"),), lambda v: None if v["a"] > v["b"] else "asked"), 1
    )
    assert tried == impossible.Tried(1000, ())


def test_reasons_of_one_kind_come_with_one_example_the_most_frequent_first() -> None:
    def problem(values: Any) -> str | None:
        a = values["a"]
        return (
            f"pop_1 ends at {a}, T={a:g}"
            if a > 0.6
            else f"pop_2 ends at {a}"
            if a < 0.1
            else "never"
            if a > 0.55
            else None
        )

    tried = impossible.look(Parameters((UNIT,), problem=problem), 1)
    assert [example.partition(": ")[2].split()[0] for _, example in tried.reasons] == ["pop_1", "pop_2", "never"]
    shown = tried.warnings("my.yaml:3: scenarios.s")
    assert len(shown) == 3
    assert shown[0].startswith("my.yaml:3: scenarios.s: 4")
    assert " % of 1,000 draws from the prior make no possible model and are left out; for example at a=0." in shown[0]


def test_a_few_kinds_are_named_and_the_rest_counted() -> None:
    tried = impossible.look(Parameters((UNIT,), problem=lambda v: "abcdefghij"[int(10 * v["a"])]), 1)
    assert (len(tried.reasons), tried.share) == (10, 1.0)
    shown = tried.warnings("here")
    assert len(shown) == 4
    assert "are left out for other reasons" in shown[-1]


def test_fewer_draws_are_tried_where_a_model_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(impossible, "_SECONDS", 0.0)
    assert impossible.look(Parameters((UNIT,)), 1).num_draws == 20


# --- what check says --------------------------------------------------------------------------------------------


def test_check_warns_of_impossible_graphs_inside_the_prior(folder: Path) -> None:
    found = found_by_check()
    assert found["prior"]["tried_draws"] == 1000
    assert found["prior"]["impossible_share"] == pytest.approx(0.5, abs=0.06)
    (warning,) = found["warnings"]
    assert warning.startswith("s.yaml:5: scenarios.s: ")
    assert "% of 1,000 draws from the prior make no possible model and are left out; for example at T=" in warning
    assert "s.demes.yaml is no possible model: deme[2] C: start_time=" in warning
    assert f"warnings:\n  - {warning}\n" in checked()


def test_check_warns_of_nothing_where_all_is_possible(folder: Path) -> None:
    (folder / "s.options.yaml").write_text(
        OPTIONS.replace("100, upper_bound: 5000", "2000, upper_bound: 5000", 1).replace(
            "lower_bound: 100, upper_bound: 5000", "lower_bound: 100, upper_bound: 1900"
        )
    )
    found = found_by_check("--set", "data.simulate.truth.T=2500")
    assert (found["prior"], found["warnings"]) == ({"tried_draws": 1000, "impossible_share": 0.0}, [])
    assert "warnings: none" in checked("--set", "data.simulate.truth.T=2500")


def test_check_warns_of_ancient_samples_that_the_model_cannot_give(folder: Path) -> None:
    (folder / "s.yaml").write_text(EXPERIMENT.replace("TIME", "800"))
    graphs, samples = sorted(found_by_check()["warnings"], key=lambda warning: "is sampled" in warning)
    assert "is no possible model" in graphs
    assert "population 'C' is sampled 800 generations ago, but 'C' of s.demes.yaml exists only from" in samples


def test_a_function_that_fails_somewhere_in_the_prior_ends_check(folder: Path) -> None:
    (folder / "s.py").write_text(CODE)
    (folder / "s.options.yaml").write_text("parameters: [{name: N, lower_bound: 0, upper_bound: 1000}]")
    text = EXPERIMENT.replace("T: 2000, T2: 1000", "N: 500").replace(", C: {individuals: 1, time: TIME}", "")
    text = text.replace("model: s.demes.yaml", "simulator: msprime, file: s.py, function: f")
    (folder / "s.yaml").write_text(text)
    for where in ("N > 2", "N > 995"):
        (folder / "s.py").write_text(CODE.replace("N > 0", where))
        done = CliRunner().invoke(app, ["check", "s.yaml"])
        assert done.exit_code == 2
        assert done.stderr.startswith("error: s.yaml:5: scenarios.s: s.py:f, line 5 raised SystemExit (3) at N=")
        assert "narrow the bounds" not in done.stderr


CODE = """\
import msprime

def f(N):
    if N > 0:
        raise SystemExit(3)
    return msprime.Demography.isolated_model([N])
"""
