"""Small comparisons of scenarios: what they leave, that they can be repeated and resumed, bundles, what stops them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from ganinfer import runner
from ganinfer.cli import app
from ganinfer.experiment import load
from ganinfer.genomes import RealTable
from ganinfer.runner import bundling, comparing, planning, predicting
from ganinfer.runner.assembling import RunError
from ganinfer.runner.bundling import BundleError
from ganinfer.storage import StorageError

EXPERIMENTS = Path(__file__).parent.parent / "experiments"
TINY = (
    "data.simulate.samples={A: 8}",
    "data.simulate.snps=30",
    "comparison.simulations=50",
    "comparison.tests=25",
    "comparison.folds=2",
    "comparison.epochs=4",
    "execution.executor=serial",
    "execution.threads=1",
)
#: No tests, so no learning curve and no rivals either: half the time.
PLAIN = ("comparison.tests=0",)
pytestmark = pytest.mark.slow


def tiny(*overrides: str):
    return load(EXPERIMENTS / "expansion-decline.yaml", [*TINY, *overrides])


def result(folder: Path) -> dict:
    return json.loads((folder / "result.json").read_text())


def answer(folder: Path) -> dict:
    return {key: value for key, value in result(folder).items() if key != "seconds"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def finished(runs):
    return runner.run(tiny(), runs / "finished")


@pytest.fixture(scope="module")
def plain(runs):
    return runner.run(tiny(*PLAIN), runs / "plain")


def test_a_comparison_leaves_its_answer(finished):
    found = result(finished)
    comparison, names = found["comparison"], list(tiny().scenarios)
    assert list(comparison["probabilities"]) == names
    assert sum(comparison["probabilities"].values()) == pytest.approx(1)
    floor = comparison["calibration"]["floor"]
    assert floor >= 1 / (50 * len(names) + 2)
    assert max(comparison["probabilities"].values()) <= 1 - floor * (1 - 1 / len(names)) + 1e-9
    assert comparison["none_fits"] == all(p < comparing.FITS for p in comparison["prior_predictive_p"].values())
    assert np.sum(comparison["confusion"]) == 25 * len(names) == comparison["calibration"]["tests"]
    assert set(comparison["rivals"]) == {"joint-sfs"}
    assert [point["simulations"] for point in comparison["learning_curve"]] == [12, 25, 50]
    assert found["best"] == max(comparison["probabilities"], key=comparison["probabilities"].get) == found["chosen"]
    assert found["parameters"] == found["scenarios"][found["best"]]["parameters"]
    for values in found["parameters"].values():
        low, high = values["interval"]
        assert values["prior"][0] <= low <= values["estimate"] <= high <= values["prior"][1]
    assert {p.name for p in finished.iterdir()} >= {"report.html", "bundle", "models", "comparison.npz", "data.json"}


def test_the_same_again_and_in_processes(plain, runs):
    again = runner.run(tiny(*PLAIN, "execution.executor=process", "execution.workers=2"), runs / "again")
    assert answer(again) == answer(plain)


def test_a_broken_off_comparison_goes_on(plain, runs, monkeypatch):
    folder = runs / "broken"
    real = comparing.trained_networks

    def killed(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(comparing, "trained_networks", killed)
    with pytest.raises(KeyboardInterrupt):
        runner.run(tiny(*PLAIN), folder)
    assert len(list((folder / "simulations").iterdir())) == len(tiny().scenarios)
    with pytest.raises(StorageError, match="already holds an unfinished comparison; go on with it: --resume"):
        runner.run(tiny(*PLAIN), folder)
    monkeypatch.setattr(comparing, "trained_networks", real)
    runner.run(tiny(*PLAIN), folder, resume=True)
    assert answer(folder) == answer(plain)


def test_a_store_serves_several_runs(plain, runs):
    store = runs / "store"
    runner.simulate_into(tiny(*PLAIN, "comparison.simulations=20"), store)
    first = runner.run(tiny(*PLAIN), runs / "first", store=store, compare_only=True)
    assert "parameters" not in result(first)
    assert result(first)["comparison"] == result(plain)["comparison"]
    times = {p: p.stat().st_mtime_ns for p in store.rglob("*.npy")}
    other = next(name for name in tiny().scenarios if name != result(plain)["best"])
    second = runner.run(tiny(*PLAIN), runs / "second", store=store, scenario=other)
    assert {p: p.stat().st_mtime_ns for p in store.rglob("*.npy")} == times
    assert result(second)["chosen"] == other
    assert result(second)["best"] == result(plain)["best"]
    with pytest.raises(StorageError, match="holds simulations that differ in template"):
        runner.run(tiny(*PLAIN, "data.simulate.snps=31"), runs / "third", store=store)
    with pytest.raises(RunError, match="no scenario named 'nowhere'"):
        runner.run(tiny(*PLAIN), runs / "fourth", scenario="nowhere")


def test_a_single_scenario_is_judged_and_inferred(runs, tmp_path):
    """Nothing to compare it with: whether it fits, its parameters, and a report."""
    text = (EXPERIMENTS / "expansion-decline.yaml").read_text()
    for file in EXPERIMENTS.glob("expansion-decline-expansion.*"):
        shutil.copy(file, tmp_path)
    (tmp_path / "one.yaml").write_text(text.partition("  decline:")[0])
    found = result(runner.run(load(tmp_path / "one.yaml", TINY), runs / "one"))
    assert found["comparison"]["probabilities"] == {"expansion": 1.0}
    assert found["comparison"]["rivals"] == {}
    assert 0 < found["comparison"]["prior_predictive_p"]["expansion"] <= 1
    assert found["parameters"].keys() == {"N_past", "N", "T"}


# --- bundles ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bundle(runs):
    return runner.train(tiny(), runs / "bundle")


def table(seed: int) -> RealTable:
    return planning.open_table(tiny(f"data.simulate.seed={seed}"))


def test_a_bundle_judges_in_another_process_what_it_judges_here(bundle, finished, tmp_path):
    (here,) = runner.predict(bundle, [tiny()])
    assert here["comparison"]["probabilities"].keys() == tiny().scenarios.keys()
    assert here["none_fits"] in (True, False)
    words = ["predict", str(bundle), str(EXPERIMENTS / "expansion-decline.yaml"), "--json"]
    words += [word for text in TINY for word in ("--set", text)]
    done = subprocess.run(
        [sys.executable, "-c", "from ganinfer.cli import main; main()", *words],
        capture_output=True,
        text=True,
        check=True,
    )
    (there,) = json.loads(done.stdout)
    assert there["comparison"] == here["comparison"]
    assert there["parameters"] == here["parameters"]


def test_the_bundle_of_a_run_says_what_the_run_says(plain):
    """Of the run's own data: the same networks, calibration and references."""
    (found,) = runner.predict(plain / "bundle", [tiny()])
    for key in ("probabilities", "prior_predictive_p", "none_fits"):
        assert found["comparison"][key] == result(plain)["comparison"][key]


def test_the_order_of_snps_and_individuals_changes_nothing(bundle):
    read = bundling.read(bundle)
    raw = table(3)
    rng = np.random.default_rng(1)
    genotypes = raw.haplotypes.genotypes[rng.permutation(raw.haplotypes.num_sites)]
    order = rng.permutation(8)
    genotypes = genotypes.reshape(len(genotypes), 8, 2)[:, order].reshape(genotypes.shape)

    changed = replace(raw, haplotypes=replace(raw.haplotypes, genotypes=genotypes))
    mine, other = (predicting.judge(read, t, predicting.asked(tiny(), t)) for t in (raw, changed))
    for name, probability in mine["comparison"]["probabilities"].items():
        assert other["comparison"]["probabilities"][name] == pytest.approx(probability, abs=1e-5)


def test_all_snps_of_a_larger_table_are_used(bundle):
    (found,) = runner.predict(bundle, [tiny("data.simulate.snps=75")])
    assert found["parts"]["number"] == 3
    assert len(found["parts"]["spread"]) == len(tiny().scenarios)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.simulate.samples={A: 7}"], "trained for 8 A of ploidy 2 individuals, the table has 7 A of ploidy 2"),
        (["data.simulate.samples={A: {individuals: 8, time: 90}}"], "has 8 A of ploidy 2 90 generations ago"),
        (["data.simulate.snps=15"], "trained for 30 SNPs, 15 of the table can be used"),
        (
            ["data.ancestral=none"],
            r"\(data.ancestral\) were known in training, and are unknown \(folded\) in the table",
        ),
        (["data.phased=false"], r"trained for phased chromosomes \(data.phased\), the table is read without phase"),
        (
            ["loci.genealogies=alike"],
            "loci.genealogies was by-length in training, and is alike for the table: read it ",
        ),
        (["loci.min_call_rate=0.5"], r"min_call_rate was 0.0 in training, and is 0.5 .*--set loci.min_call_rate=0.0"),
        (["loci.min_minor_frequency=0.1"], "min_minor_frequency was 0.0 in training, and is 0.1 for the table"),
        (["data.singletons=drop"], "data.singletons was keep in training, and is drop for the table"),
    ],
)
def test_data_of_another_design_are_refused(bundle, overrides, message):
    with pytest.raises(BundleError, match=message):
        runner.predict(bundle, [tiny(*overrides)])


@pytest.mark.parametrize("source", ["bundle", "plain"])
def test_a_registered_bundle_is_downloaded_and_judges(source, bundle, plain, runs):
    """Of a training and of a run, from the database that they have by default."""
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{runs}/mlflow.db")
    names = {run.info.run_id: run.info.run_name for run in client.search_runs([_experiment_id(client)])}
    registered = client.search_model_versions("name='ganinfer-expansion-decline'")
    (version,) = [v for v in registered if names[v.run_id] == source]
    copy = mlflow.artifacts.download_artifacts(version.source, dst_path=str(runs / f"{source}-downloaded"))
    (found,) = runner.predict(Path(copy), [tiny()])
    (expected,) = runner.predict(bundle if source == "bundle" else plain / "bundle", [tiny()])
    assert found == expected
    run = client.get_run(version.run_id)
    assert run.info.status == "FINISHED"
    assert ("accuracy" in run.data.metrics) == (source == "bundle"), "no tests were asked of the plain one"


def _experiment_id(client) -> str:
    return client.get_experiment_by_name("ganinfer").experiment_id


def test_several_snps_of_a_locus_are_not_taken_for_unlinked_ones(bundle):
    read, raw = bundling.read(bundle), table(3)
    together = replace(raw, haplotypes=replace(raw.haplotypes, positions=raw.haplotypes.positions // 2))
    with pytest.raises(BundleError, match=r"on one SNP of each locus, the table has several .*loci\.per_locus=one"):
        predicting.judge(read, together, predicting.asked(tiny(), together))


def test_simulated_tables_are_judged_in_one_report(bundle, tmp_path):
    truth = dict(tiny().data.simulate.truth)
    runner.simulate_tables(tiny(), scenario="expansion", theta=truth, num_tables=2, output=tmp_path / "new")
    files = [tmp_path / "new" / f"simulated-{i}.tsv" for i in (1, 2)]
    words = ["predict", bundle, tmp_path / "new" / "experiment.yaml", *files, "-o", tmp_path / "page.html", "--json"]
    done = CliRunner().invoke(app, list(map(str, words)))
    assert done.exit_code == 0, done.output
    answers = json.loads(done.stdout)
    assert [answer["data"] for answer in answers] == list(map(str, files))
    (study,) = runner.predict(bundle, [tiny()])
    assert answers[0]["comparison"] == study["comparison"], "the first table is the study's own"
    assert answers[1]["comparison"] != study["comparison"]
    page = (tmp_path / "page.html").read_text()
    assert all(page.count(str(file)) == 2 for file in files)
    words[2:5] = [tmp_path / "new" / "experiment.yaml", files[0]]
    again = CliRunner().invoke(app, list(map(str, words)))
    assert (again.exit_code, again.stdout) == (2, "")
    assert "page.html exists already; choose another --output" in again.stderr


@pytest.mark.parametrize(
    "how", ["changed", "truncated", "missing", "extra", "version", "statistics", "outside", "no bundle"]
)
def test_a_damaged_bundle_is_refused(bundle, tmp_path, how):
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    arrays, about = copy / "arrays.npz", copy / "bundle.json"
    values = json.loads(about.read_text())
    if how == "changed":
        arrays.write_bytes(arrays.read_bytes()[:-4] + b"abcd")
    elif how == "truncated":
        arrays.write_bytes(arrays.read_bytes()[:100])
    elif how == "missing":
        arrays.unlink()
    elif how == "extra":
        (copy / "networks" / "evil.keras").write_bytes(b"x")
    elif how == "version":
        about.write_text(json.dumps({**values, "versions": {**values["versions"], "keras": "1.0"}}))
    elif how == "statistics":
        about.write_text(json.dumps({**values, "statistics": "0"}))
    elif how == "outside":
        about.write_text(json.dumps({**values, "files": {**values["files"], "../../x": "0"}}))
    else:
        about.unlink()
    message = {
        "changed": "is not what was written",
        "truncated": "is not what was written",
        "missing": r"is incomplete: arrays\.npz is missing",
        "extra": r"holds files that do not belong to it: networks/evil\.keras",
        "version": r"was made with keras 1\.0",
        "statistics": "knows other classical statistics than this ganinfer computes",
        "outside": "names a file outside the bundle",
        "no bundle": "is no bundle",
    }[how]
    with pytest.raises(BundleError, match=message):
        bundling.read(copy)


def test_a_killed_training_goes_on_with_the_same_numbers(bundle, runs, monkeypatch):
    real = comparing.trained_networks

    def killed(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(comparing, "trained_networks", killed)
    with pytest.raises(KeyboardInterrupt):
        runner.train(tiny(), runs / "later")
    monkeypatch.setattr(comparing, "trained_networks", real)
    runner.train(tiny(), runs / "later")
    first, second = (json.loads((p / "bundle.json").read_text()) for p in (bundle, runs / "later"))
    assert first["calibration"] == second["calibration"]
    assert first["tested"] == second["tested"]
    with pytest.raises(RunError, match="exists already"):
        runner.train(tiny(), runs / "later")


def test_a_finished_comparison_goes_on_with_more_simulations(plain, runs):
    """As if they had been made at once; what was there is not simulated again."""
    folder = runs / "more"
    shutil.copytree(plain, folder)
    times = {p: p.stat().st_mtime_ns for p in (folder / "simulations").rglob("*.npy")}
    more = tiny(*PLAIN, "comparison.simulations=100")
    runner.run(more, folder, resume=True)
    assert times.items() <= {p: p.stat().st_mtime_ns for p in (folder / "simulations").rglob("*.npy")}.items()
    assert answer(folder) == answer(runner.run(more, runs / "at-once"))
