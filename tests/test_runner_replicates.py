"""Replicates of a run: when they agree, when they do not, and that they go on."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from ganinfer import runner
from ganinfer.runner import replicating
from ganinfer.runner.assembling import RunError
from ganinfer.runner.completing import completed, dump_yaml
from ganinfer.runner.finished import is_finished
from ganinfer.storage import read_table
from tests import test_runner

pytestmark = pytest.mark.slow
#: What the network is makes no difference here.
SMALL = "discriminator={name: exchangeable, cnn: false, width: 8}"


def tiny(*overrides, name="const"):
    return test_runner.tiny(SMALL, *overrides, name=name)


def row(middle, sd=1.0, error=0.2):
    middle = np.array(middle, dtype=float)
    return replicating._row(middle, np.broadcast_to(sd, middle.shape), middle.tolist(), [error] * len(middle))


@pytest.mark.parametrize(
    ("middle", "sd", "error", "agree"),
    [
        ([0.0, 0.3, -0.2], 1.0, 0.2, True),
        ([0.0, 1.2], 1.0, 0.2, False),  # further apart than their errors explain
        ([0.0, 1.2], 1.0, 0.5, True),  # within what they say of themselves
        ([0.0, 12.0], 10.0, 0.2, False),  # in posterior standard deviations
        ([0.0, 0.1], [1.0, 1.6], 0.2, False),  # one knows less than the other
        ([0.0] * 5, [0.8, 0.9, 1.0, 1.2, 1.3], 0.2, True),  # all know about as much as the usual one
        ([0.0] * 5, [0.9, 1.0, 1.0, 1.0, 1.6], 0.2, False),
        ([0.0] * 5, [0.6, 1.0, 1.0, 1.0, 1.1], 0.2, False),
        ([0.0, 0.9], 1.0, None, True),
        ([0.0, 1.1], 1.0, None, False),
    ],
)
def test_estimates_agree_within_their_posteriors_and_their_own_errors(middle, sd, error, agree):
    assert row(middle, sd, error)["agree"] is agree


def test_spread_and_error_are_in_posterior_deviations():
    found = row([0.0, 2.0, 4.0], 2.0, 0.3)
    assert (found["spread"], found["furthest"], found["monte_carlo"]) == pytest.approx((1.0, 2.0, 0.3))


@pytest.fixture(scope="module")
def twice(tmp_path_factory):
    return runner.run(tiny(), tmp_path_factory.mktemp("runs") / "const", replicates=2)


def test_replicates_are_runs_of_the_same_windows_from_other_seeds(twice):
    found = json.loads((twice / "replicates.json").read_text())
    assert found["runs"] == 2
    estimates = found["parameters"]["Ne"]["estimates"]
    assert len(set(estimates)) == 2
    own = json.loads((twice / "result.json").read_text())["parameters"]["Ne"]
    assert estimates[0] == own["estimate"]
    assert own["monte_carlo"] > 0
    assert found["parameters"]["Ne"]["furthest"] < 3
    assert "Do replicates agree?" in (twice / "report.html").read_text()
    assert (twice / "replicates" / "02" / "report.html").exists()


def test_one_that_ended_early_is_told(twice, tmp_path):
    from ganinfer.experiment import simulator

    early = runner.run(tiny("budget.simulated_windows=130", "budget.rounds=1"), tmp_path / "early")
    parameters = simulator(tiny(), "const").parameters
    found = replicating.agreement(parameters, [twice, early])
    assert found["disagree"] == ["Ne"]
    (said,) = replicating.warned(found)
    assert "Ne" in said
    assert "2 budget" in said


def test_more_replicates_go_on(twice):
    """Those that have finished, the run itself among them, are left as they are; what was said of them is not."""
    before = json.loads((twice / "replicates.json").read_text())["parameters"]["Ne"]["estimates"]
    said = replicating.warned(json.loads((twice / "replicates.json").read_text()))
    answers = [twice / "result.json", twice / "replicates" / "02" / "result.json"]
    written = [path.stat().st_mtime_ns for path in answers]
    runner.run(tiny(), twice, resume=True, replicates=3)
    assert [path.stat().st_mtime_ns for path in answers] == written
    warnings = json.loads((twice / "warnings.json").read_text())["warnings"]
    now = replicating.warned(json.loads((twice / "replicates.json").read_text()))
    assert [s for s in warnings if s in (*said, *now)] == now
    found = json.loads((twice / "replicates.json").read_text())
    assert found["runs"] == 3
    assert found["parameters"]["Ne"]["estimates"][:2] == before
    # Who asks for fewer is told of all that there are.
    runner.run(tiny(), twice, resume=True, replicates=2)
    assert json.loads((twice / "replicates.json").read_text()) == found


def test_where_it_runs_changes_no_answer(twice):
    assert is_finished(twice, completed(tiny("execution.workers=1", "tracking.experiment=other")))


def test_a_replicate_says_its_seed_and_what_it_is_a_part_of(twice):
    own, whole = (json.loads((f / "result.json").read_text()) for f in (twice / "replicates" / "02", twice))
    assert own["seed"] != whole["seed"] == tiny().seed
    assert f"a part of the run in {twice}" in (twice / "replicates" / "02" / "report.html").read_text()
    assert "a part of the run" not in (twice / "report.html").read_text()
    with pytest.raises(RunError, match=r"is a part of the run in .*: go on with that one"):
        runner.run(tiny(), twice / "replicates" / "02", resume=True)


def test_judging_again_keeps_what_replicates_say_and_another_answer_does_not(twice, tmp_path):
    copy = shutil.copytree(twice, tmp_path / "const")
    said = json.loads((copy / "replicates.json").read_text())
    runner.run(tiny("level=0.5"), copy, resume=True)
    assert json.loads((copy / "replicates.json").read_text()) == said
    assert "Do replicates agree?" in (copy / "report.html").read_text()
    found = json.loads((copy / "result.json").read_text())["parameters"]["Ne"]
    posterior = read_table(copy / "posterior.parquet")["Ne"]
    assert found["interval"] == pytest.approx(np.quantile(posterior, [0.25, 0.75]))
    last = {key: value[-1] for key, value in read_table(copy / "trajectory.parquet").items()}
    assert [last["low"], last["high"]] == pytest.approx(found["interval"])
    runner.run(tiny("budget.simulated_windows=900", "budget.rounds=4"), copy, resume=True)
    assert not (copy / "replicates.json").exists()


def test_one_that_fails_does_not_hide_the_others(twice, tmp_path, monkeypatch):
    copy = shutil.copytree(twice, tmp_path / "const")
    infer = replicating.parts.infer

    def failing(*arguments, **named):
        if arguments[4].name == "04":
            raise RuntimeError("no such luck")
        return infer(*arguments, **named)

    monkeypatch.setattr(replicating.parts, "infer", failing)
    with pytest.raises(RunError, match=r"04 failed: no such luck. The other 4 are compared in .*--resume tries again"):
        runner.run(tiny(), copy, resume=True, replicates=5)
    assert json.loads((copy / "replicates.json").read_text())["runs"] == 4


def test_a_run_that_was_given_more_and_stopped_has_not_finished(twice):
    """It has the answer of the smaller budget, which is not to be taken for that of the larger one."""
    complete, richer = (completed(tiny(*changes)) for changes in ((), ("budget.simulated_windows=900",)))
    assert is_finished(twice, complete)
    assert not is_finished(twice, richer)
    (twice / "experiment.yaml").write_text(dump_yaml(richer))  # as a run that goes on does first of all
    assert not is_finished(twice, richer)
    (twice / "experiment.yaml").write_text(dump_yaml(complete))


def test_replicates_are_of_one_scenario(tmp_path):
    with pytest.raises(RunError, match=r"one scenario.*--scenario"):
        runner.run(tiny(name="contact"), tmp_path / "contact", replicates=2)
