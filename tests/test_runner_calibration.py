"""Calibration of a run: what it finds, that it goes on where it stopped, and what it refuses."""

from __future__ import annotations

import json
import shutil

import pytest

from ganinfer import runner
from ganinfer.runner.assembling import RunError
from ganinfer.storage import read_table
from tests.test_runner import tiny

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return runner.run(tiny(), tmp_path_factory.mktemp("runs") / "const")


@pytest.fixture(scope="module")
def calibrated(finished):
    path = runner.calibrate(tiny(), finished, sets=3)
    return json.loads(path.read_text())


def test_every_data_set_counts(calibrated, finished):
    said = calibrated["posterior"]
    assert said["sets"] == 3
    assert said["parameters"].keys() == {"Ne"}
    cover = said["parameters"]["Ne"]["coverage"]
    assert cover.keys() == {"0.5", "0.9"}
    assert all(c["of"] == 3 and 0 <= c["held"] <= 3 for c in cover.values())
    assert cover["0.5"]["held"] <= cover["0.9"]["held"]
    assert said["adequacy"]["judged"] == 3
    table = read_table(finished / "calibration" / "calibration.parquet")
    inside = (table["low"] <= table["truth"]) & (table["truth"] <= table["high"])
    assert inside.sum() == cover["0.9"]["held"]
    assert json.loads((finished / "bundle" / "calibration.json").read_text()) == calibrated
    assert not (finished / "calibration" / "cache").exists()


def test_truths_are_draws_of_the_posterior(calibrated, finished):
    posterior = read_table(finished / "posterior.parquet")["Ne"]
    truths = read_table(finished / "calibration" / "calibration.parquet")["truth"]
    assert set(truths) <= set(posterior)
    assert len(set(truths)) > 1


def test_more_data_sets_go_on_and_lost_ones_come_back_the_same(calibrated, finished, tmp_path):
    copy = shutil.copytree(finished, tmp_path / "const")
    records = copy / "calibration" / "posterior"
    before = {path.name: path.read_text() for path in records.glob("0*.json")}
    (records / "0001.json").unlink()
    again = json.loads(runner.calibrate(tiny(), copy, sets=4).read_text())
    assert again["posterior"]["sets"] == 4
    assert before.items() <= {path.name: path.read_text() for path in records.glob("0*.json")}.items()


def test_a_run_that_went_on_is_calibrated_anew(calibrated, finished, tmp_path):
    copy = shutil.copytree(finished, tmp_path / "const")
    more = tiny("budget.simulated_windows=900", "budget.rounds=4")
    runner.run(more, copy, resume=True)
    again = json.loads(runner.calibrate(more, copy, sets=1).read_text())
    assert again["posterior"]["sets"] == 1


def test_data_sets_are_also_inferred_by_runs_of_their_own(calibrated, finished, tmp_path):
    copy = shutil.copytree(finished, tmp_path / "const")
    said = json.loads(runner.calibrate(tiny(), copy, sets=3, full=1).read_text())
    assert said["full"]["sets"] == 1
    assert said["full"]["adequacy"]["judged"] == 1
    beside = said["full"]["beside_shared"]["parameters"]["Ne"]
    assert 0.2 < beside["sd_ratio"] < 5
    ours = read_table(copy / "calibration" / "calibration.parquet")
    truths = {kind: ours["truth"][(ours["kind"] == kind) & (ours["number"] == 0)] for kind in ("posterior", "full")}
    assert truths["posterior"] == truths["full"]
    assert not list((copy / "calibration" / "runs").glob("full*"))


def test_around_the_prior_no_run_is_needed_and_one_may_follow(tmp_path):
    folder = tmp_path / "const"
    said = json.loads(runner.calibrate(tiny(), folder, sets=1, around="prior").read_text())
    assert said["prior"]["sets"] == 1
    assert "posterior" not in said
    truth = read_table(folder / "calibration" / "calibration.parquet")["truth"]
    assert 1000 <= truth[0] <= 30_000
    runner.run(tiny(), folder)
    assert (folder / "calibration" / "calibration.json").exists()


def test_what_cannot_be_calibrated_is_refused(finished, tmp_path):
    with pytest.raises(RunError, match=r"no finished run.*--around prior"):
        runner.calibrate(tiny(), tmp_path / "nothing", sets=1)
    with pytest.raises(RunError, match="training changed"):
        runner.calibrate(tiny("training.epochs=2"), finished, sets=1)
