"""Small comparisons of scenarios on windows: what they leave, that they can be resumed, and what stops them."""

from __future__ import annotations

import json
from pathlib import Path

import mlflow
import numpy as np
import pytest

from ganinfer import runner, storage
from ganinfer.experiment import load
from ganinfer.progress import Silent
from ganinfer.runner.assembling import RunError
from ganinfer.storage import StorageError

EXPERIMENTS = Path(__file__).parent.parent / "experiments"
#: The shipped experiment with its first two scenarios, and hardly any windows.
TINY = """
schema_version: 1
name: contact
data:
  simulate:
    scenario: migration
    truth: {{N1: 9_000, N2: 5_000, N_anc: 15_000, T_split: 4_000, migration: 1e-4}}
    samples: {{A: 3, B: 3}}
    windows: 80
    seed: 1
windows: {{length: 50_000}}
scenarios: {scenarios}
discriminator: {{name: exchangeable, cnn: false, width: 8}}
generator: {{name: matching, num_particles: 60, steps: 15}}
budget: {{simulated_windows: 400, rounds: 2}}
training: {{epochs: 1, windows: 640}}
comparison: {{simulations: 30, tests: 10, windows: 704, genome_windows: 8_000}}
execution: {{executor: serial, threads: 1}}
seed: 1
"""
NAMES = ["isolation", "migration"]
#: What the run of one scenario has and a part has not, and what takes most of its time.
UNJUDGED = ("adequacy.windows=0", "second_opinion.bootstraps=0")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    def loaded(*overrides: str):
        return load(path, list(overrides))

    rates = {"mutation_rate": 1.25e-8, "recombination_rate": 1.25e-8}
    scenarios = {
        name: {
            "simulator": "demes",
            "model": str(EXPERIMENTS / f"contact-{name}.demes.yaml"),
            "parameters": str(EXPERIMENTS / f"contact-{name}.options.yaml"),
            **rates,
        }
        for name in NAMES
    }
    path = tmp_path_factory.mktemp("experiment") / "contact.yaml"
    path.write_text(TINY.format(scenarios=json.dumps(scenarios)))
    return loaded


def result(folder: Path) -> dict:
    return json.loads((folder / "result.json").read_text())


def answer(folder: Path) -> dict:
    return {key: value for key, value in result(folder).items() if key != "seconds"}


class Interrupting(Silent):
    """Interrupts a run, as Ctrl-C does, when it says what begins like this."""

    def __init__(self, words: str):
        self.words = words

    def message(self, text: str) -> None:
        if text.startswith(self.words):
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def finished(runs, tiny):
    return runner.run(tiny(), runs / "finished")


def test_every_scenario_has_a_probability_a_fit_and_estimates(finished):
    found = result(finished)
    parts = [result(finished / "scenarios" / name) for name in NAMES]
    said = found["comparison"]
    assert list(said["probabilities"]) == NAMES
    assert sum(said["probabilities"].values()) == pytest.approx(1)
    assert min(said["probabilities"].values()) > 0
    assert all(0 < p <= 1 for p in said["prior_predictive_p"].values())
    assert np.array(said["confusion"]).sum() == said["calibration"]["tests"] == 20
    assert said["calibration"]["genomes"] == "whole"
    assert [point["windows"] for point in said["learning_curve"]] == [352, 704]
    assert said["learning_curve"][-1]["log_loss"] == said["calibration"]["log_loss"]
    assert set(said["rivals"]) == {"classical"}
    assert found["best"] == max(said["probabilities"], key=said["probabilities"].get)
    assert found["parameters"] == found["scenarios"][found["best"]]["parameters"]
    assert list(found["scenarios"]["migration"]["parameters"])[-1] == "migration"
    assert found["simulated_windows"] == sum(part["simulated_windows"] for part in parts) + 2 * (320 + 704 + 40 * 80)


def test_the_run_holds_what_the_best_scenario_has(finished):
    best = finished / "scenarios" / result(finished)["best"]
    for name in ("posterior.parquet", "trajectory.parquet", "fit.npz", "best.demes.yaml"):
        assert (finished / name).read_bytes() == (best / name).read_bytes()
    assert (finished / "bundle" / "networks.json").exists()
    assert sorted(path.name for path in (finished / "models").iterdir()) == [f"{n}.demes.yaml" for n in NAMES]
    assert not (finished / "cache" / "contest").exists(), "arrays for the comparison are removed"
    assert "isolation" in (finished / "report.html").read_text()
    found, own = result(finished), result(best)
    assert {key: found[key] for key in ("stability", "derived", "known_by_product")} == {
        key: own[key] for key in ("stability", "derived", "known_by_product")
    }
    assert found["stability"]["effective_windows"] > 0
    assert (own["compared"], own["adequacy"]) == (True, None)
    assert "is in the report of the comparison it is a part of" in (best / "report.html").read_text()


def test_a_scenarios_part_is_the_run_of_it_alone(finished, runs, tiny):
    """Down to the last digit: what else is in the experiment makes no difference to a scenario's parameters."""
    alone = runner.run(tiny(*UNJUDGED), runs / "alone", scenario="migration")
    part = finished / "scenarios" / "migration"
    assert result(alone)["parameters"] == result(part)["parameters"]
    assert (part / "report.html").exists()


def test_mlflow_shows_the_parts_under_the_run(finished):
    uri = storage.read_json(finished / "mlflow.json")["uri"]
    client = mlflow.MlflowClient(uri)
    whole = storage.read_json(finished / "mlflow.json")["run_id"]
    for name in NAMES:
        part = client.get_run(storage.read_json(finished / "scenarios" / name / "mlflow.json")["run_id"])
        assert part.data.tags["mlflow.parentRunId"] == whole
        assert part.info.status == "FINISHED"
    metrics = client.get_run(whole).data.metrics
    assert metrics["probability/isolation"] == pytest.approx(
        result(finished)["comparison"]["probabilities"]["isolation"]
    )


def test_a_run_that_was_interrupted_goes_on(finished, runs, tiny):
    folder = runs / "interrupted"
    with pytest.raises(KeyboardInterrupt):
        runner.run(tiny(), folder, progress=Interrupting("Scenario migration"))
    assert not (folder / "result.json").exists()
    with pytest.raises(StorageError, match="unfinished comparison"):
        runner.run(tiny(), folder)
    begun = (folder / "scenarios" / "isolation" / "rounds" / "0000" / "round.json").stat().st_mtime
    with pytest.raises(KeyboardInterrupt):
        runner.run(tiny(), folder, resume=True, progress=Interrupting("Simulating 40 whole genomes"))
    runner.run(tiny(), folder, resume=True)
    assert (folder / "scenarios" / "isolation" / "rounds" / "0000" / "round.json").stat().st_mtime == begun
    assert answer(folder) == answer(finished)


def test_a_run_that_ended_before_anything_was_done_leaves_nothing(runs, tiny):
    with pytest.raises(KeyboardInterrupt):
        runner.run(tiny(), runs / "nothing", progress=Interrupting("Scenario isolation"))
    with pytest.raises(KeyboardInterrupt):
        runner.run(tiny(), runs / "nothing", progress=Interrupting("Scenario isolation"))


def test_without_classical_statistics_networks_compare_alone(runs, tiny):
    """On genomes drawn from the judging windows, as where whole ones would take too many."""
    changed = tiny("statistics.classical=false", "comparison.genome_windows=7_999")
    folder = runner.run(changed, runs / "embedding", compare_only=True)
    found = result(folder)
    assert "parameters" not in found
    assert all(scenario["parameters"] is None for scenario in found["scenarios"].values())
    assert found["comparison"]["rivals"] == {}
    assert found["comparison"]["calibration"]["genomes"] == "pooled"
    assert found["comparison"]["calibration"]["tests"] == 20
    assert not (folder / "posterior.parquet").exists()


def test_a_folder_is_gone_on_with_as_it_was_begun(finished, runs, tiny):
    """A run of one scenario is none of another, nor of all; what is alike in a part's folder is gone on with."""
    alone = runs / "alone"
    with pytest.raises(
        RunError, match=r"holds a run of scenario migration, not of scenario isolation: give --scenario"
    ):
        runner.run(tiny(), alone, scenario="isolation", resume=True)
    with pytest.raises(RunError, match="holds a run of scenario migration, not of all scenarios"):
        runner.run(tiny(), alone, resume=True)
    with pytest.raises(RunError, match="holds a run of all scenarios, not of scenario migration: leave --scenario out"):
        runner.run(tiny(), finished, scenario="migration", resume=True)
    part = finished / "scenarios" / "isolation"
    before = result(part)["parameters"]
    runner.run(tiny(*UNJUDGED), part, scenario="isolation", resume=True)
    assert result(part)["parameters"] == before


def test_what_would_be_too_few_windows_is_said_before_anything_is_simulated(runs, tiny):
    with pytest.raises(RunError, match=r"2 scenarios of up to 5 parameters with 2 folds, training.windows .* 448"):
        runner.run(tiny("training.windows=400"), runs / "few")
    with pytest.raises(RunError, match=r"comparison.windows must be at least 336"):
        runner.run(tiny("comparison.windows=320"), runs / "few")
    assert not (runs / "few" / "scenarios").exists()


def test_one_scenario_cannot_be_compared(runs, tiny):
    with pytest.raises(RunError, match="--compare-only compares scenarios"):
        runner.run(tiny(), runs / "one", scenario="migration", compare_only=True)


def test_a_store_is_for_tables(runs, tiny):
    with pytest.raises(RunError, match="tables of SNPs"):
        runner.run(tiny(), runs / "store", store=runs / "simulations")
    assert not (runs / "store").exists()


def test_check_tells_of_every_scenario(tiny):
    found = runner.check(tiny())
    assert list(found["scenarios"]) == NAMES
    assert found["scenarios"]["migration"]["parameters"] == "N1, N2, N_anc, T_split, migration"
    planned = 400 - 400 % 16  # what is left after a round is no whole proposal
    judged = 704 + 40 * 80
    assert 2 * (planned + judged - 16) <= found["cost"]["simulated_windows"] <= 2 * (400 + judged)
