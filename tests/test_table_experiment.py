"""Experiments on tables of SNPs: the examples of the pages open what they describe, and what is wrong is said."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from ganinfer import experiment
from ganinfer.experiment import ExperimentError
from ganinfer.experiment.data import DATA_KEYS
from ganinfer.experiment.tables import AlignmentFiles, ArrayFiles, TableFile, TableSection
from ganinfer.genomes import GenomeError, open_table
from ganinfer.haplotypes import SampleSet
from ganinfer.runner import planning
from tests.genome_files import write_sheet, write_vcf
from tests.table_files import DATA, nexus, npz, write

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
EXAMPLES = {
    next(key for key in YAML(typ="safe").load(text)["data"] if key not in ("samples", "populations", "ancestral")): text
    for text in re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
}
SNIPPETS = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
SCENARIOS = """
scenarios:
  stable:
    simulator: demes
    model: seguieriana-stable.demes.yaml
    parameters: seguieriana-stable.options.yaml
    mutation_rate: 1e-8
"""
TABLE = """
data:
  table:
    file: snps.tsv
    delimiter: tab
    values: haplotypes
    coding: {ancestral: -1, derived: 1, missing: 0}
    leading: [locus]
    columns: {ExZ: 1-6, Z: [7-8, 9, 10]}
loci: {}
"""


def shipped(folder):
    for file in (ROOT / "experiments").glob("seguieriana-stable.*"):
        (folder / file.name).symlink_to(file)
    (folder / "snps.tsv").symlink_to(DATA / "snps.tsv")
    return folder


@pytest.fixture
def folder(tmp_path):
    return shipped(tmp_path)


def load(text, folder, *overrides):
    path = folder / "x.yaml"
    path.write_text(text + SCENARIOS)
    return experiment.load(path, overrides)


def opened(loaded, folder):
    return open_table(experiment.table_source(loaded), folder / "cache")


# --- what is read -------------------------------------------------------------------------------------------------


def test_the_fixture(folder):
    loaded = load(TABLE, folder)
    assert isinstance(loaded.data, TableSection)
    found = opened(loaded, folder)
    assert found.samples == (SampleSet("ExZ", 6, 1), SampleSet("Z", 4, 1))
    assert found.haplotypes.num_sites == 40
    assert experiment.pipeline_settings(loaded, True).folded
    assert not experiment.pipeline_settings(load(TABLE, folder, "data.ancestral=known"), True).folded


def test_an_experiment_written_out_reads_the_same(folder):
    loaded = load(TABLE, folder, "loci.per_locus=one")
    (folder / "again.yaml").write_text("")
    with (folder / "again.yaml").open("w") as file:
        YAML().dump(loaded.resolved(), file)
    again = experiment.load(folder / "again.yaml")
    assert opened(again, folder).told == opened(loaded, folder).told
    assert experiment.table_source(again) == experiment.table_source(loaded)


def test_a_comparison_reads_the_table(folder, monkeypatch):
    monkeypatch.chdir(folder)
    loaded = load(TABLE, folder)
    raw = planning.open_table(loaded)
    assert raw.told == opened(loaded, folder).told
    assert planning.planned(loaded, raw).table.haplotypes.num_sites > 20


def documented(folder):
    """Files for each example of docs/data.md."""
    rng = np.random.default_rng(1)
    codes = rng.integers(-1, 2, (30, 270))
    names = [f"i{k}" for k in range(6)]
    write_sheet(folder / "panel.tsv", {name: "ExZ" if k < 4 else "Z" for k, name in enumerate(names)})
    (folder / "snps.tsv").unlink()
    write(folder / "snps.tsv", codes)
    rows = [[f"rs{i}", f"tag{i // 3}", *rng.choice(["0", "1", "2", "NA", "-9"], 6)] for i in range(30)]
    write(folder / "genotypes.csv", [["snp", "locus", *names], *rows], ",")
    calls = [" ".join(f"{a}/{b}" for a, b in rng.integers(0, 2, (6, 2))) for _ in range(80)]
    records = [f"{1 + i // 40} {1 + 20_000 * (i % 40)} A C {call}" for i, call in enumerate(calls)]
    write_vcf(folder / "tags.vcf.gz", records, samples=names, contigs={"1": None, "2": None})
    (folder / "loci").mkdir()
    for locus in range(2):
        sequences = {f"{name}_{k}": "".join(rng.choice(list("AC"), 9)) for name in names for k in (1, 2)}
        nexus(folder / "loci" / f"{locus}.nex", sequences)
    for replicate in range(2):
        path = folder / "study" / "scenario_0" / f"study_0_{replicate}.npz"
        npz(path, rng.integers(0, 2, (8, 50)), np.sort(rng.random(50)))
    (folder / "study" / "study_params.csv").write_text("scenario_idx,Ne,n_replicates\n0,1e4,2\n")
    return folder


@pytest.mark.parametrize("text", SNIPPETS, ids=[" ".join(text.split()[1:4]) for text in SNIPPETS])
def test_the_examples_of_the_pages(text, folder):
    found = opened(load(text, documented(folder)), folder)
    assert found.haplotypes.num_sites > 5
    assert {s.population for s in found.samples} <= {"ExZ", "Z"}
    sizes = {s.population: s.num_individuals for s in found.samples}
    assert sizes in ({"ExZ": 160, "Z": 110}, {"ExZ": 4, "Z": 2}, {"ExZ": 8})


def test_every_kind_has_an_example_and_every_key_is_explained():
    assert set(DATA_KEYS) - {"simulate"} <= set(EXAMPLES)
    keys = {key for kind in (TableFile, AlignmentFiles, ArrayFiles) for key in kind.model_fields}
    text = PAGE.partition("## Tables of SNPs")[2].partition("\n## ")[0]
    assert keys <= set(re.findall(r"\w+", text))
    rows = re.findall(r"^\| `(\w+)` \| (required|none|`\w+`) \|", text, re.MULTILINE)
    assert [key for key, _ in rows] == list(TableFile.model_fields)
    for key, written in rows:
        assert (written == "required") == TableFile.model_fields[key].is_required()


# --- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("loci=null", r"data\.table is a table of SNPs at unlinked loci: add the section loci \(loci: \{\}"),
        (
            "loci.by=distance",
            r"loci\.by is for data\.genotypes and data\.npz, not for data\.table, where loci are known",
        ),
        ("loci.min_distance=5", r"loci: min_distance is for by: distance"),
        ("windows.length=5000", r"windows and loci exclude each other"),
        ("data.table.file=gone.tsv", r"data\.table\.file: no such file: gone\.tsv"),
        (
            "data.table.delimiter=pipe",
            r"data\.table\.delimiter: must be tab, comma, semicolon, space or whitespace, not",
        ),
        ("data.table.coding={ancestral: 0}", r"data\.table: coding: derived is missing; it must say what"),
        ("data.table.coding.missing=-1", r"data\.table: coding: '-1' stands for both ancestral and missing"),
        ("data.table.coding.missing=null", r"data\.table\.coding\.missing: must be"),
        (
            "data.table.columns={A: x}",
            r"data\.table: columns\.A: must be columns from 1 up such as 1-160 or 7, not 'x'",
        ),
        ("data.table.colums={A: 1}", r"data\.table\.colums: unknown key; did you mean columns\? allowed: file, "),
        ("data.table.ploidy=3", r"data\.table\.ploidy: must be at most 2, not 3"),
        ("data.genotypes=snps.tsv", r"data\.genotypes: unknown key; allowed: .*table"),
        ("data.regions=x.bed", r"data\.regions: unknown key; "),
        ("data.ancestral=AA", r"data\.ancestral: must be none or known, not 'AA'"),
        ("data.samples=gone.tsv", r"data\.samples: no such file"),
        ("data.populations={ExZ: 0}", r"data\.populations: ExZ: must be a number of individuals above 0 or all"),
    ],
)
def test_messages_about_a_table(folder, override, sentence):
    with pytest.raises(ExperimentError, match=sentence):
        load(TABLE, folder, override)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("data: {table: {file: snps.tsv}}\nloci: {}\n", r"data\.table\.delimiter: required key is missing"),
        ("data: {alignments: {files: []}}\nloci: {}\n", r"data\.alignments\.files: must not be empty"),
        ("data: {alignments: {files: snps.tsv, sufixes: [a, b]}}\nloci: {}\n", r"unknown key; did you mean suffixes\?"),
        (
            "data: {alignments: {files: snps.tsv, suffixes: [a]}}\nloci: {}\n",
            r"data\.alignments: suffixes must be the two",
        ),
        (
            "data: {alignments: {files: snps.tsv, outgroup: o}}\nloci: {}\n",
            r"ancestral: known and alignments\.outgroup go",
        ),
        ("data: {npz: {files: snps.tsv}}\nloci: {}\n", r"loci\.by is missing: say what a locus of data\.npz is"),
        ("data: {npz: {files: '*.npz'}}\nloci: {}\n", r"data\.npz\.files: no file matches \*\.npz"),
        ("data: {genotypes: snps.tsv}\nloci: {}\n", r"loci\.by is missing: say what a locus of data\.genotypes is"),
        (
            "data: {genotypes: snps.tsv, recombination_map: snps.tsv}\nloci: {by: contig}\n",
            r"data\.recombination_map is of no use with loci",
        ),
        (
            "data: {genotypes: snps.tsv}\nloci: {by: distance, per_locus: all}\n",
            r"per_locus: all is not for by: distance",
        ),
        ("data: {}\nloci: {}\n", r"data\.genotypes: required key is missing; .* or table:, alignments: or npz:"),
    ],
)
def test_messages_about_other_data(folder, text, sentence):
    with pytest.raises(ExperimentError, match=sentence):
        load(text, folder)


def test_sources_of_the_wrong_kind(folder):
    with pytest.raises(ValueError, match="a table of SNPs has no genotype files"):
        experiment.genome_source(load(TABLE, folder))
    study = experiment.load(ROOT / "experiments" / "im.yaml")
    with pytest.raises(ValueError, match="a simulation study has no files of SNPs"):
        experiment.table_source(study)
    windows = load("data: {genotypes: snps.tsv}\n", folder, "scenarios.stable.recombination_rate=1e-8")
    with pytest.raises(ValueError, match="without the section loci, genomes are cut into windows"):
        experiment.table_source(windows)


def test_a_mistake_in_the_file_is_the_readers(folder):
    loaded = load(TABLE, folder, "data.table.leading=[]")
    with pytest.raises(GenomeError, match=r"snps\.tsv, line 1, column 1: 'tag1' is none of the values"):
        opened(loaded, folder)
