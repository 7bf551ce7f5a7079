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
from types import SimpleNamespace

import numpy as np
import pytest

from ganinfer import runner
from ganinfer.experiment import budget, load
from ganinfer.parameters import ParameterError
from ganinfer.progress import Silent
from ganinfer.runner import assembling, ending, opinions, recording
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


def unjudged(found):
    """An answer without what a verdict adds to it."""
    scenarios = {name: {**scenario, "adequacy": None} for name, scenario in found["scenarios"].items()}
    return {**found, "adequacy": None, "scenarios": scenarios}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def seen():
    """What the run of ``finished`` had in its hands: inputs of its networks, a generator's statistics, threads."""
    return SimpleNamespace(inputs=[], folds=[], threads=[])


@pytest.fixture(scope="module")
def finished(runs, seen):
    from threadpoolctl import threadpool_info

    from ganinfer import inference
    from ganinfer.generators.matching import Matching

    step, moved = inference.step, Matching.step

    def watched(problem, state, *arguments, **named):
        seen.inputs.append([array for r in state.rounds for array in r.inputs.values()])
        return step(problem, state, *arguments, **named)

    def heard(self, state, result, rng):
        seen.folds.extend(result.folds)
        seen.threads.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
        return moved(self, state, result, rng)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inference, "step", watched)
        patch.setattr(Matching, "step", heard)
        return runner.run(tiny(), runs / "finished")


def gone_on_with(finished, folder, *overrides, **named):
    """A copy of a run in ``folder``, resumed: its rounds are there, and what follows them is done anew."""
    shutil.copytree(finished, folder)
    return runner.run(tiny(*overrides), folder, resume=True, **named)


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
def judged_in(finished, runs):
    """A finished run that is judged afterwards, and the seconds that this took."""
    begun = time.monotonic()
    return gone_on_with(finished, runs / "judged", JUDGED), time.monotonic() - begun


@pytest.fixture(scope="module")
def judged(judged_in):
    return judged_in[0]


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


def test_processes_give_the_same_answer_and_verdict(judged, finished, runs):
    found = answer(runner.run(tiny(JUDGED, *PROCESS), runs / "process"))
    assert found == answer(judged)
    assert unjudged(found) == unjudged(answer(finished))


@pytest.fixture(scope="module")
def opinion(runs):
    """A run with a second opinion, and with what this was asked for."""
    asked, arguments = opinions.asked, []

    def heard(*args, **named):
        arguments.append((args, named))
        return asked(*args, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opinions, "asked", heard)
        path = runner.run(tiny("second_opinion.bootstraps=10"), runs / "opinion")
    (once,) = arguments
    return path, once


def test_a_second_opinion_stands_beside_ours(opinion, finished):
    path, _ = opinion
    found = result(path)
    said = found["second_opinion"]
    assert said["program"].startswith("moments ")
    assert said["about"]["chromosomes"] == {"A": 10}
    assert said["parameters"]["Ne"]["interval"][0] < said["parameters"]["Ne"]["estimate"]
    assert said["parameters"]["Ne"]["estimate"] == pytest.approx(10_000, rel=0.15)
    assert np.isfinite(said["parameters"]["Ne"]["difference"])
    assert found["parameters"] == result(finished)["parameters"]
    assert "What does another method say?" in (path / "report.html").read_text()


FAILED = {"program": "moments", "failed": "RuntimeError (no such luck)"}


def no_such_luck(*_, **__):
    raise RuntimeError("no such luck")


@pytest.mark.parametrize("part", ["spectra.spectra", "asking.Fit.at", "why_not"])
def test_what_goes_wrong_in_a_second_opinion_is_told(part, opinion, monkeypatch):
    _, (arguments, named) = opinion
    monkeypatch.setattr(f"ganinfer.second_opinion.{part}", no_such_luck)
    assert opinions.asked(*arguments, **named) == (FAILED, {})


def test_a_second_opinion_that_goes_wrong_costs_nothing(runs, monkeypatch, finished):
    monkeypatch.setattr("ganinfer.second_opinion.asking.Fit.at", no_such_luck)
    path = gone_on_with(finished, runs / "failing", "second_opinion.bootstraps=10")
    found = result(path)
    assert found["second_opinion"] == FAILED
    assert found["parameters"] == result(finished)["parameters"]


def test_without_moments_a_run_says_how_to_get_it(runs, monkeypatch, finished):
    monkeypatch.setattr("ganinfer.second_opinion.installed", lambda: False)
    path = gone_on_with(finished, runs / "no-opinion", "second_opinion.bootstraps=10")
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


def test_the_time_is_that_of_the_clock(finished, judged_in):
    """Of every process that had a part in it, what is neither simulation nor training included."""
    seconds = result(finished)["seconds"]
    parts = seconds["simulate"] + seconds["train"] + seconds["move"]
    assert seconds["total"] > parts
    folder, took = judged_in
    assert seconds["total"] < result(folder)["seconds"]["total"] <= seconds["total"] + took


def test_the_best_model_is_a_demes_file(finished):
    import demes

    graph = demes.load(finished / "best.demes.yaml")
    assert graph["A"].epochs[0].start_size == pytest.approx(result(finished)["parameters"]["Ne"]["estimate"], rel=1e-6)


# --- the same answer ----------------------------------------------------------------------------------------------


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


def left_by_kills(patch, owner, name, folder):
    """Copies of ``folder``, one at each call of ``owner.name`` as it comes: what a kill at that moment would leave."""
    real, copies = getattr(owner, name), []

    def copied(*args, **kwargs):
        to = folder.with_name(f"{folder.name}-killed-{len(copies)}")
        copies.append(shutil.copytree(folder, to, ignore=shutil.ignore_patterns(".lock")))
        return real(*args, **kwargs)

    patch.setattr(owner, name, copied)
    return copies


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
    """Killed in its first round it begins anew, with the same command, and in a later one it goes on."""
    from mlflow import MlflowClient

    folder = runs / "sigkill"
    for number, complete in ((0, []), (1, [0])):
        kill_in_round(number, folder)
        assert (folder / ".lock").exists()
        assert completed_rounds(folder) == complete
    runner.run(tiny(), folder, resume=True)
    assert answer(folder) == answer(finished)
    assert_tidy(folder)
    client = MlflowClient(f"sqlite:///{runs / 'mlflow.db'}")
    experiments = [e.experiment_id for e in client.search_experiments()]
    recorded = client.search_runs(experiments, "attributes.run_name = 'sigkill'", order_by=["start_time"])
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


class Messages(Silent):
    """What a run says in words."""

    def __init__(self):
        self.messages = []

    def message(self, text):
        self.messages.append(text)


class Sabotage(Messages):
    """Destroys a run's MLflow ``database`` when its rounds are over."""

    def __init__(self, database):
        super().__init__()
        self.database = database

    def message(self, text):
        super().message(text)
        if text.startswith("Comparing"):
            with closing(sqlite3.connect(self.database)) as database:
                database.execute("DROP TABLE runs")
                database.commit()


@pytest.fixture(scope="module")
def unlucky(runs):
    """A run that is out of time after its first round and then loses its MLflow, with what it said."""
    told = Sabotage(runs / "away" / "mlflow.db")
    return runner.run(tiny("budget.minutes=0.0001"), runs / "away" / "run", progress=told), told.messages


def test_a_run_that_is_out_of_time_says_what_is_not_settled(unlucky):
    folder, _ = unlucky
    assert result(folder)["stopped"] == "time"
    assert completed_rounds(folder) == [0]
    said = json.loads((folder / "warnings.json").read_text())["warnings"]
    assert any(w.startswith("The budget ended before the emulator had settled") for w in said)


def test_mlflow_that_fails_at_the_end_is_among_the_warnings(unlucky):
    folder, told = unlucky
    (warning,) = [w for w in json.loads((folder / "warnings.json").read_text())["warnings"] if "MLflow" in w]
    assert "sent by the next --resume" in warning
    assert warning in told


def test_the_benchmark_against_pg_gan_runs_the_default(finished, runs):
    from tests.bench.against import Default

    default = Default(tiny(), runs / "against")
    estimates = [estimate.tolist() for estimate in default.rounds()]
    assert default.planned_rounds == len(estimates) == 3
    assert default.parameters.named(estimates[-1]) == {
        n: p["estimate"] for n, p in result(finished)["parameters"].items()
    }


def test_a_critic_followed_through_a_kill_gives_the_same_answer(runs, monkeypatch):
    """Its networks train in every round and forget old windows, whose embeddings are those of the time."""
    changes = ("generator={name: annealing, proposals: 6, windows: 8}", "budget.rounds=4", "training.windows=100")
    undisturbed = runs / "annealing"
    with monkeypatch.context() as patch:
        copies = left_by_kills(patch, recording, "write_tables", undisturbed)
        runner.run(tiny(*changes), undisturbed)
    folder = copies[2]
    assert completed_rounds(folder) == [0, 1, 2]
    assert not (folder / "result.json").exists()
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
    undisturbed = runs / "followed"
    with monkeypatch.context() as patch:
        copies = left_by_kills(patch, recording, "write_tables", undisturbed)
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
    folder = copies[frozen]
    assert completed_rounds(folder)[-1] == frozen
    assert not (folder / "result.json").exists()
    runner.run(tiny(), folder, resume=True)
    assert answer(folder) == answer(undisturbed)


def test_windows_that_networks_train_on_stay_on_the_disk(finished, seen):
    assert any(seen.inputs)
    assert all(isinstance(array, np.memmap) for arrays in seen.inputs for array in arrays)


def test_a_generator_hears_what_kind_every_statistic_is_and_computes_in_one_thread(finished, seen):
    from ganinfer.statistics import FAMILIES

    assert set(seen.threads) == {1}
    assert seen.folds
    for fold in seen.folds:
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
