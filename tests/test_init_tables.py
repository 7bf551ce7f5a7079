"""``ganinfer init --table``: first experiments from text tables of SNPs; what a table leaves open is refused."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from ganinfer import experiment, starting
from ganinfer.cli import app
from ganinfer.runner import planning
from ganinfer.starting import StartingError, TableWish, Told
from ganinfer.starting.layout import layout
from tests.table_files import write
from tests.test_cli import PROGRAM

NAMES = [f"{population}{i}" for population in "AB" for i in range(1, 6)]


def genotypes(values: int = 3, num_snps: int = 30) -> np.ndarray:
    """Words of calls, a SNP a row; each varies."""
    rng = np.random.default_rng(1)
    calls = rng.integers(0, values, (num_snps, len(NAMES)))
    calls[:, :2] = [0, values - 1]
    return calls.astype(str)


def sheet(folder: Path, names: list[str] = NAMES) -> Path:
    rows = [[name, name[0] if not name.isdigit() else "AB"[int(name) > 5], 0] for name in names]
    return write(folder / "sheet.tsv", [["sample", "population", "time"], *rows])


def layouts(folder: Path) -> dict[str, tuple[list[list[str]], str, dict[str, object]]]:
    """Rows of a file, its delimiter, and what its table must be taken for."""
    calls = genotypes()
    missing = np.where(np.random.default_rng(2).random(calls.shape) < 0.1, "NA", calls)
    missing[0] = calls[0]
    numbered = [[f"snp{i}", f"tag{i // 2}", *row] for i, row in enumerate(missing)]
    pairs = np.array(["0/0", "0/1", "1/1"])[calls.astype(int)]
    chromosomes = np.repeat(genotypes(2), 2, axis=1)
    chromosomes[:, 1::4] = "9"
    known = {"values": "genotypes", "header": True, "rows": "snps"}
    return {
        "genotypes": ([NAMES, *calls.tolist()], "\t", known | {"coding": {"0": ("0",), "1": ("1",), "2": ("2",)}}),
        "leading columns": (
            [["id", "Locus", *NAMES], *numbered],
            ",",
            known | {"leading": ("id", "locus"), "delimiter": "comma"},
        ),
        "of R": ([NAMES, *[row[:1] + row[2:] for row in numbered]], ";", known | {"leading": ("column1",)}),
        "individuals a row": (
            [["id", *(f"s{i}" for i in range(30))], *([n, *c] for n, c in zip(NAMES, missing.T.tolist(), strict=True))],
            " ",
            known | {"rows": "individuals", "leading": ("id",), "delimiter": "space"},
        ),
        "pairs": (
            [NAMES, *pairs.tolist()],
            "\t",
            known | {"coding": {"0": ("0/0",), "1": ("0/1",), "2": ("1/1",)}},
        ),
        "two columns each": (
            [[n for n in NAMES for _ in "12"], *chromosomes.tolist()],
            "\t",
            {
                "values": "haplotypes",
                "ploidy": 2,
                "coding": {"ancestral": ("0",), "derived": ("1",), "missing": ("9",)},
            },
        ),
    }


@pytest.mark.parametrize("case", layouts(Path()))
def test_an_experiment_reads_the_table_as_it_is(case: str, tmp_path: Path) -> None:
    rows, delimiter, expected = layouts(tmp_path)[case]
    table = write(tmp_path / "my snps.txt", rows, delimiter)
    wish = TableWish(table, sheet(tmp_path))
    made = starting.write_table_experiment(wish, tmp_path / "study", tmp_path / "cache")
    loaded = experiment.load(made.files[0])
    read = experiment.table_source(loaded).files
    for key, value in expected.items():
        assert getattr(read, key) == value, key
    opened = planning.open_table(loaded)
    assert [(s.population, s.num_individuals) for s in opened.samples] == [("A", 5), ("B", 5)]
    assert (opened.haplotypes.num_sites, made.found["snps"]) == (30, 30)
    assert made.found["loci"] == (15 if case == "leading columns" else 30)
    assert list(loaded.scenarios) == ["isolation", "migration"]
    assert loaded.data.phased is (True if case == "two columns each" else None)
    isolation, migration = (experiment.simulator(loaded, name).parameters.names for name in loaded.scenarios)
    assert isolation == ("N_anc", "N_A", "N_B", "T_split")
    assert migration == (*isolation, "m")


def test_what_was_read_off_is_written_and_told(tmp_path: Path) -> None:
    table = write(tmp_path / "snps.tsv", [NAMES, *genotypes().tolist()])
    wish = TableWish(table, sheet(tmp_path), told=Told(coding={"0": ("2",), "1": ("1",), "2": ("0",)}))
    made = starting.write_table_experiment(wish, tmp_path, tmp_path / "cache")
    text = made.files[0].read_text()
    assert "delimiter: tab # read off the table: with it, all rows have 10 columns" in " ".join(text.split())
    (coding,) = (line for line in text.splitlines() if line.strip().startswith("coding:"))
    assert coding.endswith("# as told")
    told = made.found["read_off_the_table"]
    assert [line.partition(":")[0] for line in told] == ["delimiter", "rows", "header"]


def test_one_population_in_numbered_columns(tmp_path: Path) -> None:
    table = write(tmp_path / "snps.tsv", genotypes(2).tolist())
    wish = TableWish(table, populations={"A": "all"}, told=Told(rows="snps"), generation_time=9)
    made = starting.write_table_experiment(wish, tmp_path / "study", tmp_path / "cache")
    loaded = experiment.load(made.files[0])
    assert list(loaded.scenarios) == ["constant", "size-change"]
    assert experiment.simulator(loaded, "constant").parameters.names == ("N_A",)
    assert experiment.simulator(loaded, "size-change").parameters.names == ("N_anc", "N_A", "T")
    assert planning.open_table(loaded).samples[0].num_individuals == 10


def test_a_numbered_sheet_says_which_way_the_table_lies(tmp_path: Path) -> None:
    numbers = [str(i + 1) for i in range(10)]
    upright = write(tmp_path / "a.tsv", genotypes(2).tolist())
    turned = write(tmp_path / "b.tsv", genotypes(2).T.tolist())
    paired = write(tmp_path / "c.tsv", np.repeat(genotypes(2), 2, axis=1).tolist())
    assert layout(upright, Told(), numbers).table.rows == "snps"
    assert layout(turned, Told(), numbers).table.rows == "individuals"
    assert layout(paired, Told(), numbers).table.ploidy == 2


def test_an_ancient_sample_is_older_than_no_split(tmp_path: Path) -> None:
    table = write(tmp_path / "snps.tsv", [NAMES, *genotypes().tolist()])
    rows = [[name, name[0], 3000 if name == "A1" else 0] for name in NAMES]
    times = write(tmp_path / "times.tsv", [["sample", "population", "time"], *rows])
    made = starting.write_table_experiment(TableWish(table, times), tmp_path / "study", tmp_path / "cache")
    parameters = experiment.simulator(experiment.load(made.files[0]), "isolation").parameters
    assert parameters[parameters.names.index("T_split")].lower > 3000


def test_check_accepts_the_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "snps.tsv", genotypes(2).tolist())
    done = CliRunner().invoke(app, ["init", "--table", "snps.tsv", "--columns", "A=1-6,B=7-10", "-o", "study"])
    assert done.exit_code == 0, done.output
    assert "delimiter: with it, all rows have 10 columns" in done.stdout
    assert "next: ganinfer check study/snps.yaml" in done.stderr
    # It asks the network, and TensorFlow's threads are fixed once for a process.
    command = [*PROGRAM, "check", "study/snps.yaml", "--set", "execution.executor=serial", "--json"]
    looked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert looked.returncode == 0, looked.stderr
    found = json.loads(looked.stdout)
    assert [(s["population"], s["individuals"], s["ploidy"]) for s in found["samples"]] == [("A", 6, 1), ("B", 4, 1)]
    assert (found["used_snps"], list(found["scenarios"])) == (30, ["isolation", "migration"])


def word_table(words: str) -> list[list[str]]:
    """A table of 10 individuals with names in which every row has these words."""
    row = words.split()
    return [NAMES, *[(row * 10)[:10]] * 20]


@pytest.mark.parametrize(
    ("rows", "told", "sentence"),
    [
        (word_table("-1 0 1"), Told(), r"cannot tell the coding of the words '-1', '0', '1', of which -1 or 0 may be"),
        (word_table("1 2"), Told(), r"cannot tell the coding of the words '1', '2'; say it, such as --coding"),
        (word_table("0 2"), Told(), r"cannot tell the coding of the words '0', '2'"),
        (word_table("A C"), Told(), r"cannot tell the coding of the words 'A', 'C'"),
        (genotypes().tolist(), Told(), r"cannot tell whether a row is a SNP or an individual: A1, A2, A3 and 7 more"),
        (
            [["0,1", "1"]] * 5,
            Told(rows="snps"),
            r"cannot tell the delimiter: it may be tab or comma; say it with --del",
        ),
        ([["0"]] * 5, Told(), r"cannot tell the delimiter: none of tab, comma, .* gives equal rows"),
        ([NAMES, *[["x"] * 10] * 3], Told(rows="snps", delimiter="comma"), r"with the delimiter comma its rows have"),
        ([["0", "1"]], Told(), r"1 lines; a table has a row a SNP or individual, two at least"),
    ],
)
def test_what_a_table_leaves_open_is_refused(rows: list[list[str]], told: Told, sentence: str, tmp_path: Path) -> None:
    table = write(tmp_path / "snps.tsv", rows)
    with pytest.raises(StartingError, match=sentence):
        starting.write_table_experiment(TableWish(table, sheet(tmp_path), told=told), tmp_path / "new", tmp_path / "c")
    assert not (tmp_path / "new").exists()


def test_words_without_a_header_or_a_coding(tmp_path: Path) -> None:
    table = write(tmp_path / "snps.tsv", [["A", "C", "A", "A"]] * 5)
    with pytest.raises(StartingError, match=r"the words 'A' are no coding that is known; say --coding"):
        layout(table, Told(rows="snps"), [])
    told = Told(rows="snps", coding={"ancestral": ("A",), "derived": ("C",)})
    assert layout(table, told, []).table.values == "haplotypes"


def test_three_populations_are_too_many(tmp_path: Path) -> None:
    table = write(tmp_path / "snps.tsv", genotypes(2).tolist())
    told = Told(columns={"A": ("1-4",), "B": ("5-7",), "C": ("8-10",)})
    with pytest.raises(
        StartingError, match=r"no first scenarios for 3 populations \(A, B, C\); choose .* --populations"
    ):
        starting.write_table_experiment(TableWish(table, told=told), tmp_path / "new", tmp_path / "cache")
    made = starting.write_table_experiment(
        TableWish(table, populations={"A": "all", "C": 2}, told=told), tmp_path / "new", tmp_path / "cache"
    )
    opened = planning.open_table(experiment.load(made.files[0]))
    assert [(s.population, s.num_individuals) for s in opened.samples] == [("A", 4), ("C", 2)]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--table", "x.tsv", "--example", "im"], "give either --genotypes FILE, or --table FILE, or --example NAME"),
        (
            ["--table", "x.tsv", "--regions", "x.bed", "--mutation-rate", "1e-8"],
            "--regions, --mutation-rate: only with",
        ),
        (["-g", "x.vcf", "--delimiter", "tab"], "--delimiter: only with --table"),
        (["--table", "x.tsv", "--columns", "A"], "--columns A: must be KEY=WORD"),
        (["--table", "gone.tsv", "--columns", "A=1-3"], "gone.tsv: no such file"),
        (["--table", __file__], "nothing says who is of which population: give --samples SHEET, or --columns"),
    ],
)
def test_mistakes_of_the_command_line(
    arguments: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["init", *arguments])
    assert (done.exit_code, done.stdout) == (2, "")
    assert sentence in done.stderr
    assert list(tmp_path.iterdir()) == []
