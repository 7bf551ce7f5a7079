"""Calibration of a run: what it finds, that it goes on where it stopped, and what it refuses."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ganinfer import coverage, runner
from ganinfer.experiment import loads
from ganinfer.generators.linkage import linkage_inflation
from ganinfer.runner import assembling, belonging, inferring, sending
from ganinfer.runner.assembling import FailedError, RunError
from ganinfer.runner.completing import completed, dump_yaml
from ganinfer.simulation import SimulationError
from ganinfer.storage import RunFolder, read_table
from tests.test_runner import JUDGED, tiny

pytestmark = pytest.mark.slow
#: Where what the network is makes no difference.
SMALL = "discriminator={name: exchangeable, cnn: false, width: 8}"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return runner.run(tiny(), tmp_path_factory.mktemp("runs") / "const")


def copied(finished, to, *without):
    return shutil.copytree(finished, to / "const", ignore=shutil.ignore_patterns(*without))


@pytest.fixture(scope="module")
def calibrated(finished):
    path = runner.calibrate(tiny(JUDGED), finished, sets=3)
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
    copy = copied(finished, tmp_path)
    records = copy / "calibration" / "posterior"
    before = {path.name: path.read_text() for path in records.glob("0*.json")}
    (records / "0001.json").unlink()
    again = json.loads(runner.calibrate(tiny(JUDGED), copy, sets=4).read_text())
    assert again["posterior"]["sets"] == 4
    assert before.items() <= {path.name: path.read_text() for path in records.glob("0*.json")}.items()


def test_a_run_that_went_on_is_calibrated_anew(calibrated, finished, tmp_path):
    copy = copied(finished, tmp_path)
    more = tiny("budget.simulated_windows=900", "budget.rounds=4")
    runner.run(more, copy, resume=True)
    # What was found around the old solution is told no longer, nor is it counted.
    assert not (copy / "calibration" / "calibration.json").exists()
    assert not (copy / "bundle" / "calibration.json").exists()
    again = json.loads(runner.calibrate(more, copy, sets=1).read_text())
    assert again["posterior"]["sets"] == 1


def test_data_sets_are_also_inferred_by_runs_of_their_own(calibrated, finished, tmp_path):
    copy = copied(finished, tmp_path)
    said = json.loads(runner.calibrate(tiny(JUDGED), copy, sets=3, full=1).read_text())
    assert said["full"]["sets"] == 1
    assert said["full"]["adequacy"]["judged"] == 1
    beside = said["full"]["beside_shared"]["parameters"]["Ne"]
    assert 0.2 < beside["sd_ratio"] < 5
    ours = read_table(copy / "calibration" / "calibration.parquet")
    truths = {kind: ours["truth"][(ours["kind"] == kind) & (ours["number"] == 0)] for kind in ("posterior", "full")}
    assert truths["posterior"] == truths["full"]
    assert not list((copy / "calibration" / "runs").glob("full*"))


def test_where_the_model_misses_something_data_sets_share_more_simulations(calibrated, finished, tmp_path):
    """So few simulations miss something; the same run, told that its model misses nothing, needs no more."""
    last = json.loads((max((finished / "rounds").iterdir()) / "round.json").read_text())
    assert last["values"]["entry"]["metrics"]["misfit"] > 1
    with np.load(finished / "calibration" / "pool.npz") as arrays:
        assert len(arrays["proposal"]) == pytest.approx(tiny().budget.simulated_windows, abs=20)
        assert np.ptp(arrays["theta"]) > 0
    copy = copied(finished, tmp_path)
    last["values"]["entry"]["metrics"]["misfit"] = 1.0
    (max((copy / "rounds").iterdir()) / "round.json").write_text(json.dumps(last))
    shutil.rmtree(copy / "calibration")
    runner.calibrate(tiny(JUDGED), copy, sets=1)
    assert not (copy / "calibration" / "pool.npz").exists()
    alone, shared = (read_table(folder / "calibration" / "calibration.parquet") for folder in (copy, finished))
    assert alone["truth"][0] == shared["truth"][0]
    assert alone["estimate"][0] != shared["estimate"][0]


def test_around_the_prior_no_run_is_needed_and_one_may_follow(tmp_path):
    folder, study = tmp_path / "const", tiny(SMALL)
    said = json.loads(runner.calibrate(study, folder, sets=1, around="prior").read_text())
    assert said["prior"]["sets"] == 1
    assert "posterior" not in said
    truth = read_table(folder / "calibration" / "calibration.parquet")["truth"]
    assert 1000 <= truth[0] <= 30_000
    runner.run(study, folder)
    kept = (folder / "calibration" / "calibration.json").read_text()
    assert (folder / "bundle" / "calibration.json").read_text() == kept


def test_around_the_prior_of_another_scenario_nothing_is_mixed_nor_removed(tmp_path):
    """And nothing is told of it by a run of another experiment; how intervals are told and judged may change."""
    study = tiny(name="contact")
    other = tiny("budget.simulated_windows=700", name="contact")
    judged_otherwise = tiny("level=0.5", "adequacy.windows=96", name="contact")
    row = {"parameters": {"N1": {"truth": 1.0}}}
    with RunFolder.of_calibration(tmp_path / "contact") as folder:
        belonging.keep_or_refuse(folder, belonging.around_prior(study, "isolation"))
        belonging.keep_or_refuse(folder, belonging.around_prior(study, "migration"))  # nothing is lost by that
        folder.write_json("prior/0000.json", row)
        belonging.keep_or_refuse(folder, belonging.around_prior(judged_otherwise, "migration"))
        for another in ((study, "isolation"), (other, "migration")):
            with pytest.raises(RunError, match="holds 1 data set of another scenario, experiment or budget: give"):
                belonging.keep_or_refuse(folder, belonging.around_prior(*another))
            assert "prior" not in belonging.kinds(folder, *another)
        assert "prior" in belonging.kinds(folder, study, "migration")
        assert (folder.path / "prior" / "0000.json").exists()


def test_a_data_set_that_fails_leaves_the_others_standing(calibrated, finished, tmp_path, monkeypatch):
    copy, inferred = copied(finished, tmp_path), coverage.inferred
    records = copy / "calibration" / "posterior"
    before = {path.name: path.read_text() for path in records.glob("0*.json")}

    def fails(seen, at, number):
        if number == 1:
            raise ArithmeticError("no regression")
        return inferred(seen, at, number)

    monkeypatch.setattr(coverage, "inferred", fails)
    for path in records.glob("0*.json"):
        path.unlink()
    with pytest.raises(
        FailedError, match=r"1 data set failed and left out.*data set 2: no regression.*tries them again"
    ):
        runner.calibrate(tiny(JUDGED), copy, sets=3)
    assert json.loads((copy / "calibration" / "calibration.json").read_text())["posterior"]["sets"] == 2
    assert "In 2 simulated data sets" in (copy / "report.html").read_text()
    monkeypatch.undo()
    runner.calibrate(tiny(JUDGED), copy, sets=3)
    assert {path.name: path.read_text() for path in records.glob("0*.json")} == before


def test_data_sets_that_cannot_be_simulated_are_found_one_by_one(finished, linked, monkeypatch):
    """An executor may meet the error of a later data set first."""
    from ganinfer.coverage import bootstrap
    from ganinfer.runner import calibrating

    problem, workers = linked
    simulated, bad = bootstrap.simulate_stretch, 12_000.0

    def fails(stretch):
        if stretch.theta["Ne"] == bad:
            raise SimulationError("the simulator gave up")
        return simulated(stretch)

    monkeypatch.setattr(bootstrap, "simulate_stretch", fails)
    task = SimpleNamespace(problem=problem, workers=workers)
    theta = np.array([[10_000.0], [bad], [9_000.0], [bad]])
    found = list(calibrating._made(task, theta, range(4)))
    assert [isinstance(f, SimulationError) for f in found] == [False, True, False, True]
    monkeypatch.undo()
    (third,) = coverage.data_sets(problem, theta[2:3], [2], workers)
    assert np.array_equal(third.arrays["classical"], found[2].arrays["classical"])


def test_where_nothing_works_it_ends(tmp_path):
    from ganinfer.runner.trying import Tries

    told = []
    tries = Tries(told.append)
    with tries.one("first"):
        pass
    for k in (1, 2):
        with tries.one(f"data set {k}"):
            raise ValueError("disk")
    with pytest.raises(ValueError, match="disk"), tries.one("data set 3"):
        raise ValueError("disk")
    assert told == [f"data set {k}: disk; it is left out" for k in (1, 2, 3)]
    with pytest.raises(FailedError, match="3 data sets failed"):
        tries.check()


def test_what_cannot_be_calibrated_is_refused(finished, tmp_path):
    with pytest.raises(RunError, match="follows the critic and gives no posterior, whose coverage"):
        runner.calibrate(tiny("generator={name: annealing}"), tmp_path / "nothing", sets=1, around="prior")
    with pytest.raises(RunError, match=r"no finished run.*--around prior"):
        runner.calibrate(tiny(), tmp_path / "nothing", sets=1)
    with pytest.raises(RunError, match="training changed"):
        runner.calibrate(tiny("training.epochs=2"), finished, sets=1)
    with pytest.raises(RunError, match="leave --full out"):
        runner.calibrate(tiny(), finished, sets=1, around="prior", full=1)
    assert not (tmp_path / "nothing").exists()


def test_a_run_that_was_given_more_and_has_not_ended_is_refused(finished, tmp_path):
    copy = copied(finished, tmp_path, "calibration")
    richer = tiny("budget.simulated_windows=900")
    (copy / "experiment.yaml").write_text(dump_yaml(completed(richer)))  # as a run that goes on does first of all
    with pytest.raises(RunError, match=r"has not ended since it was given more.*--resume"):
        runner.calibrate(richer, copy, sets=1)


def test_the_runs_own_budget_counts_unless_another_is_asked_for(finished):
    import ganinfer.runner.calibrating as calibrating

    written = completed(tiny())
    poorer = loads(dump_yaml({**written, "budget": {"simulated_windows": 200}}), finished, "const.yaml")
    had = tiny().budget.simulated_windows
    assert poorer.budget.simulated_windows == 200
    assert calibrating._as_run(poorer, finished, None, None)[0].budget.simulated_windows == had
    asked = tiny("budget.simulated_windows=200")
    assert asked.overrides
    assert calibrating._as_run(asked, finished, None, None)[0].budget.simulated_windows == 200


def test_what_is_found_reaches_mlflow(calibrated, finished, tmp_path):
    from mlflow import MlflowClient

    known = json.loads((finished / "mlflow.json").read_text())
    client = MlflowClient(f"sqlite:///{finished.parent / 'mlflow.db'}")
    assert {"calibration.json", "calibration.parquet"} <= {a.path for a in client.list_artifacts(known["run_id"])}
    assert client.get_run(known["run_id"]).info.status == "FINISHED"
    page = client.download_artifacts(known["run_id"], "report.html", str(tmp_path))
    assert "In 3 simulated data sets with truths around the solution" in Path(page).read_text()
    assert len(client.search_logged_models([client.get_run(known["run_id"]).info.experiment_id])) == 1


def test_a_copy_leaves_the_originals_record_alone_and_a_moved_run_takes_it_along(finished, tmp_path):
    copy = copied(finished, tmp_path, "calibration")
    known = json.loads((copy / "mlflow.json").read_text())
    assert sending.tracked(finished) == known["run_id"]
    assert sending.tracked(copy) is None
    with RunFolder.create(copy, resume=True) as folder:
        (said,) = sending.send_again(tiny(), folder)
        assert f"is that of {finished}, of which {copy} is a copy" in said
        folder.write_json("mlflow.json", {**known, "folder": str(tmp_path / "gone")})
        assert sending.tracked(copy) == known["run_id"]
        # The database did not move with it: a new one beside it, where the run is found from now on.
        (said,) = sending.send_again(tiny(), folder)
    assert "no longer has run" in said
    again = json.loads((copy / "mlflow.json").read_text())
    assert again["run_id"] != known["run_id"]
    assert str(tmp_path / "mlflow.db") in again["uri"]
    assert again["folder"] == str(copy)


def test_the_runs_own_seed_and_scenario_count(tmp_path):
    """Of a study with two scenarios, where the truth is another one's than the run is of."""
    small = ("training.windows=300", "budget.simulated_windows=900", "budget.rounds=2", "generator.first_proposals=40")
    study = tiny(SMALL, *small, "data.simulate.samples={A: 3, B: 3}", name="contact")
    folder = runner.run(study, tmp_path / "contact", seed=5, scenario="isolation")
    said = json.loads(runner.calibrate(study, folder, sets=1).read_text())
    assert said["posterior"]["parameters"].keys() == {"N1", "N2", "N_anc", "T_split"}
    with pytest.raises(RunError, match="a run of scenario isolation, not of migration"):
        runner.calibrate(study, folder, sets=1, scenario="migration")
    with pytest.raises(RunError, match="a calibration is of the run's own experiment, but seed changed"):
        runner.calibrate(study, folder, sets=1, seed=6)


@pytest.fixture(scope="module")
def linked(tmp_path_factory):
    """The problem of a study on contigs without recombination, and its executor."""
    contigs = ("data.simulate.contigs=12", "data.simulate.contig_length=200000", "data.simulate.windows=null")
    study = tiny(*contigs, "scenarios.const.recombination_rate=1e-10")
    with assembling.executor(study) as workers:
        folder = tmp_path_factory.mktemp("linked")
        real = assembling.open_data(study, workers, folder / "cache")
        yield inferring.problem_of(study, "const", real, folder / "encoded")[0], workers


def test_data_sets_are_linked_as_the_real_one_is(linked):
    problem, workers = linked
    block = problem.observed.block
    real = linkage_inflation(np.asarray(problem.observed.arrays["classical"], float), block)
    theta = np.full((8, 1), 10_000.0)
    found = [
        linkage_inflation(data.arrays["classical"].astype(float), block)
        for data in coverage.data_sets(problem, theta, range(8), workers)
    ]
    assert real > 2
    assert 0.5 * real < np.mean(found) < 2 * real


def test_stretches_of_large_populations_are_short(linked):
    """However long blocks are: what the time of a simulation grows with is bounded."""
    from ganinfer.coverage.bootstrap import _plan

    problem, workers = linked
    observed, length = problem.observed, problem.observed.windows[0].length
    lengths = []
    for times in (1, 300, 1e4):
        spectra = {key: times * cells for key, cells in observed.spectra.items()}
        larger = replace(problem, observed=replace(observed, spectra=spectra))
        order, parts = _plan(larger)
        assert sorted(order) == list(range(len(observed)))
        lengths.append(max(template.length for whole, _ in parts for template in whole))
        (data,) = coverage.data_sets(larger, np.array([[10_000.0]]), [3], workers)
        assert len(data.arrays["classical"]) == len(observed)
    assert lengths[0] > lengths[1] > lengths[2] == length


def test_data_sets_have_their_windows_where_the_real_ones_are(linked):
    """Whatever the order of the real windows, each place has the same window."""
    problem, workers = linked
    theta = np.array([[10_000.0]])
    (ordered,) = coverage.data_sets(problem, theta, [3], workers)
    order = np.random.default_rng(1).permutation(len(problem.observed))
    observed = problem.observed
    shuffled = replace(
        observed,
        block=observed.block[order],
        fold=observed.fold[order],
        templates=tuple(observed.templates[i] for i in order),
        windows=tuple(observed.windows[i] for i in order),
    )
    (found,) = coverage.data_sets(replace(problem, observed=shuffled), theta, [3], workers)
    assert np.array_equal(found.arrays["classical"], ordered.arrays["classical"][order])
    assert len(np.unique(ordered.arrays["classical"], axis=0)) > len(order) / 2
    (other,) = coverage.data_sets(problem, theta, [4], workers)
    assert not np.array_equal(other.arrays["classical"], ordered.arrays["classical"])
    assert np.allclose(ordered.spectra[""].sum(), found.spectra[""].sum())
