"""Whole runs, small: what they leave, that they can be resumed and repeated, and what stops them."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from ganinfer import runner
from ganinfer.experiment import budget, load
from ganinfer.parameters import ParameterError
from ganinfer.progress import Silent
from ganinfer.runner import assembling, ending, recording
from ganinfer.storage import RunFolder, completed_rounds
from tests.verification.processes import Program

EXPERIMENTS = Path(__file__).parent.parent / "experiments"
#: Small enough for seconds, large enough for every step to be taken.
TINY = (
    "data.simulate.windows=60",
    "data.simulate.samples={A: 5}",
    "windows.length=20000",
    "budget.simulated_windows=600",
    "budget.rounds=3",
    "training.epochs=1",
    "training.windows=150",
    "generator.first_proposals=24",
    "generator.num_particles=80",
    "generator.steps=20",
    "adequacy.windows=0",
    "second_opinion.bootstraps=0",
    "execution.executor=serial",
    "execution.threads=1",
)
JUDGED = "adequacy={windows: 480, data_sets: 200}"
PROCESS = ("execution.executor=process", "execution.workers=2")
pytestmark = pytest.mark.slow


def tiny(*overrides, name="const"):
    return load(EXPERIMENTS / f"{name}.yaml", [*TINY, *overrides])


def result(folder):
    return json.loads((folder / "result.json").read_text())


def answer(folder):
    """What has to be the same: everything but times."""
    return {key: value for key, value in result(folder).items() if key != "seconds"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def finished(runs):
    return runner.run(tiny(), runs / "finished")


# --- what a run leaves --------------------------------------------------------------------------------------------


def test_a_run_leaves_every_file(finished):
    names = {path.name for path in finished.iterdir()}
    assert names >= {
        "best.demes.yaml",
        "bundle",
        "data.json",
        "experiment.yaml",
        "fit.json",
        "fit.npz",
        "metrics.parquet",
        "posterior.parquet",
        "proposals.parquet",
        "report.html",
        "result.json",
        "rounds",
        "training.parquet",
        "trajectory.parquet",
        "warnings.json",
    }
    assert sorted(p.name for p in (finished / "rounds").iterdir()) == ["0000", "0001", "0002"]
    assert (finished.parent / "mlflow.db").exists()


def test_the_result_has_every_key(finished):
    found = result(finished)
    assert found.keys() == {
        "schema_version",
        "best",
        "scenarios",
        "parameters",
        "adequacy",
        "stability",
        "second_opinion",
        "known_by_product",
        "derived",
        "comparison",
        "compared",
        "simulated_windows",
        "stopped",
        "seconds",
        "seed",
        "versions",
    }
    assert found["best"] == "const"
    scenario = found["scenarios"]["const"]
    assert scenario.keys() >= {"probability", "parameters", "adequacy"}
    assert found["parameters"] == scenario["parameters"]
    assert found["parameters"]["Ne"].keys() >= {"estimate", "interval", "level", "unit", "prior", "informative"}
    assert found["seconds"].keys() >= {"simulate", "train", "total"}
    assert found["stopped"] in {"converged", "budget"}
    assert 0 < found["simulated_windows"] <= 600
    assert found["seed"] == 1
    keys = {"halves", "folds", "usual", "stable", "effective_windows", "peaks"}
    assert found["stability"].keys() == keys
    assert 0 < found["parameters"]["Ne"]["monte_carlo"] < 1
    assert found["stability"]["halves"]["Ne"] >= 0
    assert found["adequacy"] is None
    assert found["second_opinion"] is None
    assert found["known_by_product"] is None
    assert found["derived"] == {}
    assert found["compared"] is False


@pytest.fixture(scope="module")
def judged(runs):
    return runner.run(tiny(JUDGED), runs / "judged")


def test_the_verdict_is_in_the_result(judged, finished):
    found = result(judged)
    said = found["adequacy"]
    assert said == found["scenarios"]["const"]["adequacy"]
    assert said["verdict"] in {"adequate", "strained", "wrong"}
    assert said["p_value"] >= 1 / 41
    assert 0 <= said["critic_auc"] <= 1
    assert (said["left_out"] is None) == (said["verdict"] == "adequate")
    assert (said["data_sets"], said["windows"]) == (200, 480)
    assert {"guide", "largest residual: haplotypes", "largest residual: critic 1"} <= said["looks"].keys()
    assert (judged / "adequacy.npz").exists()
    # It changes nothing of what it judges.
    assert found["parameters"] == result(finished)["parameters"]


def test_processes_give_the_same_verdict(judged, runs):
    assert answer(runner.run(tiny(JUDGED, *PROCESS), runs / "judged-elsewhere")) == answer(judged)


def test_a_second_opinion_stands_beside_ours(runs, finished):
    path = runner.run(tiny("second_opinion.bootstraps=10"), runs / "opinion")
    found = result(path)
    said = found["second_opinion"]
    assert said["program"].startswith("moments ")
    assert said["about"]["chromosomes"] == {"A": 10}
    assert said["parameters"]["Ne"]["interval"][0] < said["parameters"]["Ne"]["estimate"]
    assert said["parameters"]["Ne"]["estimate"] == pytest.approx(10_000, rel=0.15)
    assert np.isfinite(said["parameters"]["Ne"]["difference"])
    assert found["parameters"] == result(finished)["parameters"]
    assert "What does another method say?" in (path / "report.html").read_text()


@pytest.mark.parametrize("part", ["spectra.spectra", "asking.Fit.at", "why_not"])
def test_what_goes_wrong_in_a_second_opinion_is_told_and_costs_nothing(part, runs, monkeypatch, finished):
    def failing(*_, **__):
        raise RuntimeError("no such luck")

    monkeypatch.setattr(f"ganinfer.second_opinion.{part}", failing)
    path = runner.run(tiny("second_opinion.bootstraps=10"), runs / f"failing-{part}")
    found = result(path)
    assert found["second_opinion"] == {"program": "moments", "failed": "RuntimeError (no such luck)"}
    assert found["parameters"] == result(finished)["parameters"]


def test_without_moments_a_run_says_how_to_get_it(runs, monkeypatch, finished):
    monkeypatch.setattr("ganinfer.second_opinion.installed", lambda: False)
    path = runner.run(tiny("second_opinion.bootstraps=10"), runs / "no-opinion")
    found = result(path)
    assert "pip install 'ganinfer[sfs]'" in found["second_opinion"]["why_not"]
    assert found["parameters"] == result(finished)["parameters"]
    assert "moments was not asked: moments is not installed" in (path / "report.html").read_text()


def test_every_real_window_has_a_place_and_a_score(judged):
    import pandas as pd

    table = pd.read_parquet(judged / "windows.parquet")
    assert len(table) == 60
    assert (table["right"] - table["left"] == 20_000).all()
    assert table["unusual"].between(-4, 4).all()
    assert table["unusual"].std() > 0.3


def test_estimates_lie_inside_the_prior(finished):
    import pandas as pd

    ne = result(finished)["parameters"]["Ne"]
    low, high = ne["interval"]
    assert ne["prior"] == [1000, 30_000]
    assert 1000 <= low < ne["estimate"] < high <= 30_000
    posterior = pd.read_parquet(finished / "posterior.parquet")["Ne"]
    assert posterior.between(1000, 30_000).all()
    assert posterior.median() == pytest.approx(ne["estimate"])
    assert pd.read_parquet(finished / "proposals.parquet")["Ne"].between(1000, 30_000).all()


def test_tables_tell_of_every_round(finished):
    import pandas as pd

    trajectory = pd.read_parquet(finished / "trajectory.parquet")
    assert trajectory["round"].tolist() == [0, 1, 2]
    assert (np.diff(trajectory["num_windows"]) > 0).all()
    assert (np.diff(trajectory["seconds"]) > 0).all()
    proposals = pd.read_parquet(finished / "proposals.parquet")
    assert set(proposals["round"]) == {0, 1, 2}
    assert result(finished)["simulated_windows"] == trajectory["num_windows"].iloc[-1]


def test_the_comparison_is_of_the_same_statistics(finished):
    arrays = np.load(finished / "fit.npz")
    described = json.loads((finished / "fit.json").read_text())
    for name in ("real_mean", "real_se", "simulated_mean", "simulated_se"):
        assert arrays[name].shape == (len(described["names"]),)
        assert np.isfinite(arrays[name]).all()
    assert arrays["sfs_real"].shape == arrays["sfs_simulated"].shape == (11,)
    assert arrays["ld_real_A"].shape == arrays["ld_distance"].shape


def test_mlflow_has_what_repeats_a_run(finished):
    from mlflow import MlflowClient

    from ganinfer.training import TrainingSettings

    client = MlflowClient(f"sqlite:///{finished.parent / 'mlflow.db'}")
    run = client.get_run(json.loads((finished / "mlflow.json").read_text())["run_id"])
    tables = {f"{name}.parquet" for name in ("trajectory", "proposals", "posterior", "training", "metrics")}
    described = {"experiment.yaml", "data.json", "warnings.json", "result.json", "fit.npz", "fit.json"}
    assert {a.path for a in client.list_artifacts(run.info.run_id)} >= tables | described
    assert run.data.params["training.epochs"] == "1"
    assert run.data.params["training.batch"] == str(TrainingSettings().batch)
    assert run.data.params["generator.temper"] == "0.5"
    assert run.data.params["discriminator.width"] == "48"
    (output,) = run.outputs.model_outputs
    assert client.get_logged_model(output.model_id).tags["ganinfer.discriminator"] == "exchangeable"


def test_the_time_is_that_of_the_clock(finished, runs):
    """Of every process that had a part in it, what is neither simulation nor training included."""
    seconds = result(finished)["seconds"]
    parts = seconds["simulate"] + seconds["train"] + seconds["move"]
    assert seconds["total"] > parts
    folder = runs / "clock"
    shutil.copytree(finished, folder)
    begun = time.monotonic()
    runner.run(tiny(), folder, resume=True)
    took = time.monotonic() - begun
    assert seconds["total"] < result(folder)["seconds"]["total"] <= seconds["total"] + took


def test_the_best_model_is_a_demes_file(finished):
    import demes

    graph = demes.load(finished / "best.demes.yaml")
    assert graph["A"].epochs[0].start_size == pytest.approx(result(finished)["parameters"]["Ne"]["estimate"], rel=1e-6)


# --- the same answer ----------------------------------------------------------------------------------------------


def test_processes_give_the_same_answer(finished, runs):
    assert answer(runner.run(tiny(*PROCESS), runs / "process")) == answer(finished)


class Killed(BaseException):
    """Ends a run as a kill would: nothing of ours catches it."""


def kill_at(patch, owner, name, call=1, suffix=""):
    """Let the call of ``owner.name`` of this number (with a first argument of this ``suffix``) end the run instead."""
    real, calls = getattr(owner, name), []

    def counted(*args, **kwargs):
        calls.append(str(args[0]).endswith(suffix))
        if sum(calls) == call:
            raise Killed
        return real(*args, **kwargs)

    patch.setattr(owner, name, counted)


#: One after the other, on one run.
KILLS = (
    (recording, "write_tables"),  # the first round is written, no table is
    (RunFolder, "drop_arrays"),  # the round that freezes is written, the inputs of earlier ones are still there
    (Path, "unlink", 1, ".npy"),  # their record has changed, the files are still there
    (recording, "write_tables", 2),  # the last round is written, the tables do not have it
    (ending, "write_bundle"),  # the answer is written, its networks are not
)


def assert_tidy(folder):
    """No temporary file, no lock, no input that nothing reads again."""
    assert not list(folder.rglob("*.tmp"))
    assert not (folder / ".lock").exists()
    assert not list(folder.glob("rounds/*/input-*"))


@pytest.mark.parametrize("num_workers", [1, 2])
def test_ray_gives_the_same_answer(num_workers, finished, runs):
    folder = runs / f"ray-{num_workers}"
    runner.run(tiny("execution.executor=ray", f"execution.workers={num_workers}"), folder)
    assert answer(folder) == answer(finished)


def kill_in_round(number, folder):
    """A run in ``folder`` with two workers, all of its processes killed in mid-round."""
    changes = [word for text in (*TINY, *PROCESS) for word in ("--set", text)]
    run = Program(["run", str(EXPERIMENTS / "const.yaml"), *changes, "--output", str(folder), "--json"], folder.parent)
    assert run.wait(lambda events: any(e["event"] == "windows_done" and e["round"] == number for e in list(events)))
    assert len(run.kill()) == 3


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are followed through /proc")
def test_a_run_whose_processes_were_killed_gives_the_same_answer(finished, runs):
    folder = runs / "sigkill"
    kill_in_round(1, folder)
    assert (folder / ".lock").exists()
    assert completed_rounds(folder) == [0]
    runner.run(tiny(), folder, resume=True)
    assert answer(folder) == answer(finished)
    assert_tidy(folder)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are followed through /proc")
def test_a_run_killed_in_its_first_round_begins_anew(finished, runs):
    from mlflow import MlflowClient

    folder = runs / "sigkill-first"
    kill_in_round(0, folder)
    runner.run(tiny(), folder)
    assert answer(folder) == answer(finished)
    client = MlflowClient(f"sqlite:///{runs / 'mlflow.db'}")
    experiments = [e.experiment_id for e in client.search_experiments()]
    recorded = client.search_runs(experiments, "attributes.run_name = 'sigkill-first'", order_by=["start_time"])
    assert [run.info.status for run in recorded] == ["KILLED", "FINISHED"]


@pytest.mark.parametrize(("changes", "rounds"), [((), [0, 1, 2, 3]), (("budget.rounds=5",), [0, 1, 2, 3, 4])])
def test_a_run_goes_on_with_a_larger_budget(changes, rounds, finished, runs):
    """All of it is spent: in the rounds that were added, or without these in further ones like the last."""
    folder = runs / f"larger-{len(rounds)}"
    shutil.copytree(finished, folder)
    runner.run(tiny("budget.simulated_windows=900", *changes), folder, resume=True)
    assert completed_rounds(folder) == rounds
    assert 900 - 16 * len(rounds) < result(folder)["simulated_windows"] <= 900
    assert_tidy(folder)


def test_a_converged_run_goes_on_only_where_it_is_given_more(runs):
    eager = ("generator.tolerance=1e9", "generator.monte_carlo=1e9", "generator.temper=0.01", "budget.rounds=6")
    folder = runner.run(tiny(*eager), runs / "eager")
    assert result(folder)["stopped"] == "converged"
    done, answered = completed_rounds(folder), answer(folder)
    events = Messages()
    runner.run(tiny(*eager), folder, resume=True, progress=events)
    assert any(m.startswith("Nothing left to simulate: the run has converged (600 ") for m in events.messages)
    assert answer(folder) == answered
    runner.run(tiny(*eager, "budget.simulated_windows=1200"), folder, resume=True)
    assert len(completed_rounds(folder)) > len(done)
    assert result(folder)["simulated_windows"] <= 1200


def test_a_run_that_is_out_of_time_says_what_is_not_settled(runs):
    folder = runner.run(tiny("budget.minutes=0.0001"), runs / "hasty")
    assert result(folder)["stopped"] == "time"
    assert completed_rounds(folder) == [0]
    said = json.loads((folder / "warnings.json").read_text())["warnings"]
    assert any(w.startswith("The budget ended before the emulator had settled") for w in said)


def test_the_benchmark_against_pg_gan_runs_the_default(finished, runs):
    from tests.bench.against import Default

    default = Default(tiny(), runs / "against")
    estimates = [estimate.tolist() for estimate in default.rounds()]
    assert default.planned_rounds == len(estimates) == 3
    assert default.parameters.named(estimates[-1]) == {
        n: p["estimate"] for n, p in result(finished)["parameters"].items()
    }


class Messages(Silent):
    """What a run says in words."""

    def __init__(self):
        self.messages = []

    def message(self, text):
        self.messages.append(text)


def test_mlflow_that_fails_at_the_end_is_among_the_warnings(runs):
    class Sabotage(Silent):
        said: ClassVar[list[str]] = []

        def message(self, text: str) -> None:
            self.said.append(text)
            if text.startswith("Comparing"):
                with closing(sqlite3.connect(runs / "away" / "mlflow.db")) as database:
                    database.execute("DROP TABLE runs")
                    database.commit()

    folder = runner.run(tiny("budget.rounds=1"), runs / "away" / "run", progress=Sabotage())
    (warning,) = [w for w in json.loads((folder / "warnings.json").read_text())["warnings"] if "MLflow" in w]
    assert "sent by the next --resume" in warning
    assert warning in Sabotage.said


def test_a_critic_followed_through_a_kill_gives_the_same_answer(runs, monkeypatch):
    """Its networks train in every round and forget old windows, whose embeddings are those of the time."""
    changes = ("generator={name: annealing, proposals: 6, windows: 8}", "budget.rounds=4", "training.windows=100")
    undisturbed, folder = runs / "annealing", runs / "annealing-killed"
    runner.run(tiny(*changes), undisturbed)
    with monkeypatch.context() as patch:
        kill_at(patch, recording, "write_tables", 3)
        with pytest.raises(Killed):
            runner.run(tiny(*changes), folder)
    runner.run(tiny(*changes), folder, resume=True)
    assert answer(folder) == answer(undisturbed)
    assert len(list(folder.glob("rounds/*/forgotten-*"))) > 0
    for path in undisturbed.glob("rounds/*/*.npy"):
        np.testing.assert_array_equal(np.load(folder / path.relative_to(undisturbed)), np.load(path))


def looked_at(patch, kept):
    """Let every run look back at where its cloud is, once its networks are frozen, and then keep to it or not."""
    from ganinfer.generators.matching import Matching
    from ganinfer.interfaces import State

    def given_up(self, state, info, rng):
        if state.values.get("looked"):
            return None
        return State({**state.arrays, "cloud": rng.permutation(state.arrays["cloud"])}, dict(state.values))

    def chosen(self, ours, other):
        state, info = ours if kept else other
        return kept, State(state.arrays, {**state.values, "looked": True}), info

    patch.setattr(Matching, "given_up", given_up)
    patch.setattr(Matching, "chosen", chosen)


def test_a_second_look_that_changes_nothing_changes_no_digit(finished, runs, monkeypatch):
    looked_at(monkeypatch, kept=True)
    told = Messages()
    folder = runner.run(tiny(), runs / "looked", progress=told)
    assert answer(folder) == answer(finished)
    assert [line for line in told.messages if "looked at again" in line and "stays where it is" in line]


def test_windows_of_a_second_look_that_is_followed_are_part_of_the_round(finished, runs, monkeypatch):
    looked_at(monkeypatch, kept=False)
    undisturbed, folder = runs / "followed", runs / "followed-killed"
    runner.run(tiny(), undisturbed)
    assert result(undisturbed)["seconds"]["look"] > 0
    usual, longer = (
        [len(np.load(path)) for path in sorted(run.glob("rounds/*/theta.npy"))] for run in (finished, undisturbed)
    )
    frozen = next(i for i, (a, b) in enumerate(zip(usual, longer, strict=False)) if a != b)
    joined = 3 * (usual[frozen] // 3)
    assert longer[frozen] == usual[frozen] + joined
    # It is the last round, so there is no later one that could have fewer for it.
    windows = [result(run)["simulated_windows"] for run in (finished, undisturbed)]
    assert windows[1] == windows[0] + 16 * joined
    with monkeypatch.context() as patch:
        kill_at(patch, recording, "write_tables", frozen + 1)
        with pytest.raises(Killed):
            runner.run(tiny(), folder)
    runner.run(tiny(), folder, resume=True)
    assert answer(folder) == answer(undisturbed)


def test_windows_that_networks_train_on_stay_on_the_disk(runs, monkeypatch):
    from ganinfer import inference

    seen, step = [], inference.step

    def watched(problem, state, *arguments, **named):
        seen.append([array for r in state.rounds for array in r.inputs.values()])
        return step(problem, state, *arguments, **named)

    monkeypatch.setattr(inference, "step", watched)
    runner.run(tiny(), runs / "mapped")
    assert any(seen)
    assert all(isinstance(array, np.memmap) for arrays in seen for array in arrays)


def test_a_generator_hears_what_kind_every_statistic_is_and_computes_in_one_thread(runs, monkeypatch):
    from threadpoolctl import threadpool_info

    from ganinfer.generators.matching import Matching
    from ganinfer.statistics import FAMILIES

    seen, threads, step = [], [], Matching.step

    def watched(self, state, result, rng):
        seen.extend(result.folds)
        threads.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
        return step(self, state, result, rng)

    monkeypatch.setattr(Matching, "step", watched)
    runner.run(tiny("budget.rounds=1"), runs / "families")
    assert set(threads) == {1}
    assert seen
    for fold in seen:
        assert len(fold.families) == fold.statistics.shape[1] > fold.shared
        assert set(fold.families[: fold.shared]) <= set(FAMILIES.values())
        assert set(fold.families[fold.shared :]) == {"embedding"}


@pytest.mark.parametrize(
    ("propose", "message"),
    [
        (lambda theta: 1e3 * theta, "generator Matching proposed 24 vectors outside the prior, such as {'Ne': "),
        (lambda theta: theta[:-1], "was asked for 24 proposals of 1 parameters and gave an array of shape (23, 1)"),
    ],
)
def test_proposals_that_cannot_be_end_the_run(propose, message, runs, monkeypatch):
    from ganinfer.generators.matching import Matching

    real = Matching.propose
    monkeypatch.setattr(Matching, "propose", lambda *arguments: propose(real(*arguments)))
    with pytest.raises(ValueError, match=re.escape(message)):
        runner.run(tiny(), runs / "stray")


def test_a_run_killed_again_and_again_gives_the_same_answer(finished, runs, monkeypatch):
    import pandas as pd

    folder = runs / "killed"
    complete = []
    for i, where in enumerate(KILLS):
        with monkeypatch.context() as patch:
            kill_at(patch, *where)
            with pytest.raises(Killed):
                runner.run(tiny(), folder, resume=i > 0)
        complete.append(len(completed_rounds(folder)))
    assert complete == [1, 2, 2, 3, 3]
    runner.run(tiny(), folder, resume=True)
    assert answer(folder) == answer(finished)
    assert_tidy(folder)
    assert pd.read_parquet(folder / "trajectory.parquet")["round"].tolist() == [0, 1, 2]


# --- simulated observations ---------------------------------------------------------------------------------------


def test_a_run_on_the_simulated_vcf_gives_the_same_parameters(finished, runs, monkeypatch):
    monkeypatch.chdir(runs)
    folder = runs / "simulated"
    runner.simulate(tiny(), scenario="const", theta={"Ne": 10_000.0}, output=folder)
    assert {"simulated.vcf.gz", "samples.tsv", "regions.bed", "accessible.bed", "experiment.yaml"} <= {
        p.name for p in folder.iterdir()
    }
    again = runner.run(load(folder / "experiment.yaml"), runs / "elsewhere" / "from-vcf")
    assert (runs / "runs" / "cache").is_dir()
    assert not (runs / "elsewhere" / "cache").exists()
    assert result(again)["parameters"] == result(finished)["parameters"]
    with pytest.raises(ValueError, match="is not empty: choose another --output"):
        runner.simulate(tiny(), scenario="const", theta={"Ne": 10_000.0}, output=folder)


def test_simulated_trees_are_those_of_the_study(runs):
    import tskit

    folder = runs / "trees"
    runner.simulate(tiny(), scenario="const", theta={"Ne": 10_000.0}, output=folder, format="trees", num_windows=30)
    with assembling.executor(tiny()) as workers:
        study = assembling.open_data(tiny(), workers, runs / "cache")
    paths = sorted(folder.glob("*.trees"))
    assert len(paths) == 30
    for i, path in enumerate(paths):
        sequence = tskit.load(path)
        assert sequence.sequence_length == 20_000
        np.testing.assert_array_equal(sequence.genotype_matrix(), study.haplotypes(i).genotypes)


# --- looks and mistakes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["const", "im"])
def test_check_says_what_a_run_would_cost(name):
    experiment = load(EXPERIMENTS / f"{name}.yaml", ["execution.executor=serial"])
    affordable = budget(experiment).simulated_windows
    found = runner.check(experiment)
    assert found.keys() >= {"experiment", "simulation_study", "pipeline", "parameters", "cost"}
    assert found["experiment"] == name
    assert found["pipeline"] == {"phased": True, "folded": False, "singletons": "keep", "min_minor_frequency": 0.0}
    assert found["parameters"][0]["name"] in {"Ne", "N1"}
    cost = found["cost"]
    assert cost["workers"] == 1
    assert 0.9 * affordable <= cost["simulated_windows"] <= affordable
    assert 0 < cost["milliseconds_per_simulated_window"] < 1_000
    assert cost["estimated_minutes"] > cost["core_minutes_of_simulation"] > 0
    assert found["execution"]["ray_cluster"] == "none: this machine"
    json.dumps(found)


def test_check_tells_a_truth_that_no_estimate_can_reach():
    experiment = load(EXPERIMENTS / "const.yaml", ["execution.executor=serial", "data.simulate.truth.Ne=99_000"])
    (warning,) = runner.check(experiment)["warnings"]
    assert "truth.Ne: 99000 lies outside of the prior, 1000 to 30000" in warning


#: More than the SNP matrix takes in most windows.
DENSE = "scenarios.const.mutation_rate=4e-7"


def test_check_says_which_sites_a_network_would_not_see():
    assert runner.check(tiny())["unseen_sites"] == []
    (sentence,) = runner.check(tiny(DENSE))["unseen_sites"]
    assert re.match(r"\d+ of 40 windows have more sites than snp-matrix has room for \(512\): it keeps", sentence)


def test_dense_windows_have_a_whole_spectrum_and_whole_counts(runs):
    folder = runner.run(tiny(DENSE, "budget.rounds=1", "budget.simulated_windows=200"), runs / "dense")
    found = json.loads((folder / "data.json").read_text())
    counted = np.load(folder / "cache" / "real-count_mask.npy").sum(axis=1)
    assert found["matrix_sites"] == 512 < counted.max() < found["counted_sites"]
    fit = np.load(folder / "fit.npz")
    assert fit["sfs_real"].sum() == pytest.approx(counted.mean())
    classical = [name.startswith("sfs") for name in json.loads((folder / "fit.json").read_text())["names"]]
    assert fit["sfs_simulated"].sum() == pytest.approx(fit["simulated_mean"][classical].sum(), rel=1e-5)
    (sentence,) = found["unseen_sites"]
    assert sentence.partition(":")[0] in (folder / "report.html").read_text()


@pytest.mark.parametrize(
    ("discriminator", "message"),
    [
        ("{name: exchangeable, widht: 3}", "discriminator.widht: unknown option; did you mean width"),
        ("{name: exchangeable, width: big}", "discriminator.width: must be a whole number, not 'big'"),
        ("{name: exchangeable, width: -3}", "discriminator: exchangeable cannot be built so: .*positive integer"),
        (
            "{name: exchangeable, encodings: [snp-matrix]}",
            r"asks for an array 'counts', which its encodings \(snp-matrix\)",
        ),
        (
            "{name: toy-keras, kind: subclassed}",
            "the Summed that build returned does not say which arrays it reads",
        ),
    ],
)
def test_a_network_that_cannot_be_built_is_refused_before_the_data_are_read(
    discriminator, message, runs, toys, monkeypatch
):
    def no_data(*arguments):
        raise AssertionError("the data were read")

    monkeypatch.setattr(assembling, "open_data", no_data)
    wrong = tiny(f"discriminator={discriminator}")
    with pytest.raises(ValueError, match=message):
        runner.check(wrong)
    with pytest.raises(ValueError, match=message):
        runner.run(wrong, runs / "wrong")
    assert not (runs / "wrong").exists()


def test_a_network_reads_classical_statistics_where_it_asks_for_them(toys, runs):
    asked = tiny("discriminator={name: toy-classical}")
    runner.check(asked)
    found = result(runner.run(asked, runs / "classical"))["parameters"]["Ne"]
    assert found["prior"][0] < found["estimate"] < found["prior"][1]


def test_a_used_folder_is_refused(finished):
    with pytest.raises(ValueError, match="--resume"):
        runner.run(tiny(), finished)


def test_another_experiment_cannot_go_on_with_a_run(finished):
    changed = tiny("data.simulate.windows=61")
    with pytest.raises(ValueError, match="--resume goes on with the run's own experiment, but data changed"):
        runner.run(changed, finished, resume=True)


def test_a_prior_without_a_possible_model_is_refused(monkeypatch, runs):
    """Before anything is simulated, and with the place in the file."""
    from ganinfer.parameters import Parameters

    def nothing(self, rng, k):
        raise ParameterError("only 0 of 1024 draws from the prior satisfy the constraints")

    monkeypatch.setattr(Parameters, "sample", nothing)
    with pytest.raises(ValueError, match=r"const.yaml.*scenarios.const: only 0 of 1024 draws"):
        runner.check(tiny())
