"""Simulated tables of SNPs: an experiment that reads one sees what was simulated, call by call."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from ganinfer import runner
from ganinfer.cli import app
from ganinfer.experiment import load
from ganinfer.runner import planning
from ganinfer.runner.assembling import RunError
from tests.test_cli import PROGRAM

EXPERIMENTS = Path(__file__).parent.parent / "experiments"
FILE = EXPERIMENTS / "expansion-decline.yaml"
TRUTH = {"N_past": 8000.0, "N": 30_000.0, "T": 1000.0}
SMALL = ("data.simulate.samples={A: 8}", "data.simulate.snps=60", "execution.executor=serial")
CASES = {
    "phased": (),
    "missing": ("data.simulate.missingness=0.2", "loci.min_call_rate=0.7"),
    "haploid": ("data.simulate.samples={A: {individuals: 9, ploidy: 1}}",),
    "ancient": ("data.simulate.samples={A: {individuals: 6, time: 50}}",),
    "unphased and folded": ("data.phased=false", "data.ancestral=none"),
    "filtered": ("data.singletons=drop", "loci.min_minor_frequency=0.1", "loci.genealogies=alike"),
}


def prepared(experiment):
    """Everything that a comparison sees of its data."""
    raw = planning.open_table(experiment)
    return raw.samples, planning.prepared_table(experiment, raw)


def assert_same(found, expected):
    (samples, table), (expected_samples, expected_table) = found, expected
    assert samples == expected_samples
    np.testing.assert_array_equal(table.haplotypes.genotypes, expected_table.haplotypes.genotypes)
    assert table.haplotypes.phased == expected_table.haplotypes.phased
    assert table.template.digest == expected_table.template.digest
    assert table.dropped == expected_table.dropped


@pytest.mark.parametrize("changes", CASES.values(), ids=CASES)
def test_the_table_is_seen_as_the_study_was(changes, tmp_path):
    study = load(FILE, [*SMALL, *changes])
    runner.simulate_tables(study, scenario="expansion", theta=TRUTH, output=tmp_path / "new")
    again = load(tmp_path / "new" / "experiment.yaml")
    assert_same(prepared(again), prepared(study))
    raw, expected = planning.open_table(again), planning.open_table(study)
    np.testing.assert_array_equal(raw.haplotypes.genotypes, expected.haplotypes.genotypes)


@pytest.fixture
def real(tmp_path):
    """A text table with several SNPs a locus, missing calls and one SNP too rarely called, and its experiment."""
    rng = np.random.default_rng(1)
    genotypes = rng.integers(0, 2, (40, 12)).astype(str)
    genotypes[np.repeat(rng.random((40, 6)) < 0.1, 2, axis=1)] = "NA"
    genotypes[7, :8] = "NA"
    rows = [[f"tag{i // 2}", *row] for i, row in enumerate(genotypes)]
    (tmp_path / "real.tsv").write_text("".join("\t".join(row) + "\n" for row in rows))
    for end in ("demes", "options"):
        name = f"expansion-decline-expansion.{end}.yaml"
        (tmp_path / name).write_text((EXPERIMENTS / name).read_text())
    (tmp_path / "real.yaml").write_text(
        """
data:
  table:
    file: real.tsv
    delimiter: tab
    values: haplotypes
    coding: {ancestral: 0, derived: 1, missing: NA}
    leading: [locus]
    ploidy: 2
    columns: {A: 1-8, B: 9-12}
loci: {min_call_rate: 0.5}
execution: {executor: serial}
scenarios:
  expansion:
    model: expansion-decline-expansion.demes.yaml
    parameters: expansion-decline-expansion.options.yaml
    demes: {B: A}
"""
    )
    return load(tmp_path / "real.yaml")


def test_tables_imitate_the_real_one(real, tmp_path):
    runner.simulate_tables(real, scenario="expansion", theta=TRUTH, num_tables=12, output=tmp_path / "new")
    names = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert names == ["experiment.yaml", "samples.tsv", *(f"simulated-{i:02}.tsv" for i in range(1, 13))]
    samples, table = prepared(real)
    found = []
    for name in names[2:]:
        again = load(tmp_path / "new" / "experiment.yaml", [f"data.table.file={name}"])
        new_samples, new = prepared(again)
        found.append(new.haplotypes.genotypes)
        assert new_samples == samples
        assert new.template.digest == table.template.digest, "loci, missing calls and filters are the real table's"
        assert not any(new.dropped.values())
    assert table.dropped["called too rarely"] > 0
    assert len({genotypes.tobytes() for genotypes in found}) == 12


def test_the_seed_says_which_tables(real, tmp_path):
    for name, seed in (("a", None), ("b", 1), ("c", 2)):
        runner.simulate_tables(real, scenario="expansion", theta=TRUTH, seed=seed, output=tmp_path / name)
    a, b, c = ((tmp_path / name / "simulated-1.tsv").read_text() for name in "abc")
    assert a == b != c


def invoke(*arguments: object):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def changed(*overrides: str) -> list[str]:
    return [word for text in (*SMALL, *overrides) for word in ("--set", text)]


def test_the_command_line_writes_what_check_reads(tmp_path):
    folder = tmp_path / "new"
    done = invoke("simulate", FILE, *changed(), "-o", folder, "--tables", 2, "--json")
    assert done.exit_code == 0, done.output
    files = [str(folder / n) for n in ("experiment.yaml", "samples.tsv", "simulated-1.tsv", "simulated-2.tsv")]
    assert json.loads(done.stdout) == {"folder": str(folder), "files": files}
    # It asks the network, and TensorFlow's threads are fixed once for a process.
    command = [*PROGRAM, "check", str(folder / "experiment.yaml"), "--json"]
    looked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert looked.returncode == 0, looked.stderr
    told = json.loads(looked.stdout)
    assert (told["used_snps"], told["loci"]) == (60, 60)
    assert told["samples"] == [{"population": "A", "individuals": 8, "ploidy": 2, "time": 0.0}]


def test_another_scenario_at_other_values(tmp_path):
    theta = "N_past=30000,N=8000,T=500"
    done = invoke("simulate", FILE, *changed(), "-o", tmp_path / "new", "--scenario", "decline", "--theta", theta)
    assert done.exit_code == 0, done.output
    assert prepared(load(tmp_path / "new" / "experiment.yaml"))[1].haplotypes.num_sites == 60


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((FILE, "--windows", "3"), "--windows 3: the experiment is about loci; --tables says how many tables of them"),
        ((FILE, "--format", "vcf"), "--format vcf: the experiment is about loci; allowed: table"),
        ((FILE, "--proposal-seed", "3"), "--proposal-seed: the experiment is about loci"),
        ((EXPERIMENTS / "im.yaml", "--tables", "3"), "--tables 3: the experiment is about windows; --windows says"),
        ((EXPERIMENTS / "im.yaml", "--format", "table"), "--format table: the experiment is about windows"),
        ((FILE, "--set", "data.simulate.samples={A: 3, B: {individuals: 2, ploidy: 1}}"), "individuals of one ploidy"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_simulated(arguments, sentence, tmp_path):
    done = invoke("simulate", *arguments, "-o", tmp_path / "new")
    assert done.exit_code == 2
    assert sentence in done.stderr
    assert not (tmp_path / "new").exists()


def test_a_store_holds_what_a_run_simulates_and_nothing_else(tmp_path):
    done = invoke("simulate", FILE, "--store", tmp_path / "store", "--tables", 3)
    assert done.exit_code == 2
    assert "--store simulates what a run would" in done.stderr
    assert not (tmp_path / "store").exists()


def test_a_folder_that_holds_something_is_left_alone(real, tmp_path):
    with pytest.raises(RunError, match="is not empty"):
        runner.simulate_tables(real, scenario="expansion", theta=TRUTH, output=tmp_path)
