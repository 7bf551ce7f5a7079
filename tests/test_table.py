"""Text tables of SNPs: what was written is read back, and every mistake in a file is said."""

from __future__ import annotations

import gzip
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ganinfer.genomes import GenomeError, LociChoice, prepared
from ganinfer.haplotypes import SampleSet
from ganinfer.interfaces import SiteRule
from ganinfer.pipeline import PipelineSettings
from tests.genome_files import write_sheet
from tests.table_files import DATA, GENOTYPES, HAPLOTYPES, opened, table, write

ROWS = [["0", "1", "1", "NA"], ["1", "0", "0", "0"], ["0", "0", "0", "1"]]
EXPECTED = np.array([[0, 1, 1, -1], [1, 0, 0, 0], [0, 0, 0, 1]])
DELIMITERS = {"tab": "\t", "comma": ",", "semicolon": ";", "space": " ", "whitespace": "  \t "}


@pytest.fixture
def snps(tmp_path):
    return write(tmp_path / "snps.txt", ROWS)


# --- what is read -------------------------------------------------------------------------------------------------


def test_the_fixture():
    coding = {"ancestral": ("-1",), "derived": ("1",), "missing": ("0",)}
    file = table(DATA / "snps.tsv", coding=coding, leading=("locus",), columns={"ExZ": ("1-6",), "Z": ("7-10",)})
    found = opened(file)
    assert found.samples == (SampleSet("ExZ", 6, 1), SampleSet("Z", 4, 1))
    assert found.haplotypes.positions.tolist() == np.repeat(np.arange(20), 2).tolist()
    written = np.array([line.split("\t")[1:] for line in (DATA / "snps.tsv").read_text().splitlines()], dtype=int)
    assert np.array_equal(found.haplotypes.genotypes, np.where(written == 0, -1, (written + 1) // 2))
    summary = found.summary()
    assert (summary["snps"], summary["loci"], summary["rows"], summary["columns"]) == (40, 20, 40, 10)
    assert summary["missing"] == (written == 0).mean() > 0
    assert [file["path"] for file in summary["files"]] == [str(DATA / "snps.tsv")]


@st.composite
def tables(draw):
    """Genotype codes (-1 missing) with both alleles somewhere, and a locus a row."""
    values = draw(st.sampled_from(["haplotypes", "genotypes"]))
    shape = draw(st.tuples(st.integers(1, 6), st.integers(2, 6)))
    codes = draw(arrays(np.int8, shape, elements=st.integers(-1, 1 if values == "haplotypes" else 2)))
    codes[0, :2] = 0, 1
    loci = draw(st.lists(st.sampled_from(["a", "b", "tag 3"]), min_size=shape[0], max_size=shape[0]))
    return values, codes, loci


WORDS = st.text("abAB019-./|?", min_size=1, max_size=3)


@settings(max_examples=60, deadline=None)
@given(
    tables(), st.sampled_from(list(DELIMITERS)), st.lists(WORDS, min_size=4, max_size=4, unique=True),
    st.booleans(), st.booleans(), st.booleans(), st.booleans(),
)  # fmt: skip
def test_what_was_written_is_read(tmp_path_factory, drawn, delimiter, words, header, leading, zipped, turned):
    values, codes, loci = drawn
    loci = [name.replace(" ", "") for name in loci]
    keys = {0: "ancestral", 1: "derived"} if values == "haplotypes" else {0: "0", 1: "1", 2: "2"}
    word = dict(zip([-1, 0, 1, 2], words, strict=True))
    coding = {name: (word[code],) for code, name in {**keys, -1: "missing"}.items()}
    names = [f"i{i}" for i in range(codes.shape[1])]
    rows = [[*([f"rs{i}", loci[i]] if leading else []), *(word[int(c)] for c in row)] for i, row in enumerate(codes)]
    if header:
        rows.insert(0, [*(["id", "tag"] if leading else []), *names])
    rows = list(zip(*rows, strict=True)) if turned else rows
    path = write(tmp_path_factory.mktemp("t") / "t.txt", rows, DELIMITERS[delimiter])
    if zipped:
        path.write_bytes(gzip.compress(path.read_bytes()))
    options = {"header": header, "leading": ("id", "locus") if leading else (), "delimiter": delimiter}
    options["rows"] = "individuals" if turned else "snps"
    found = opened(table(path, values=values, coding=coding, **options))
    numbers = {name: i for i, name in enumerate(dict.fromkeys(loci))}
    order = np.argsort([numbers[name] for name in loci], kind="stable") if leading else np.arange(len(codes))
    genotypes = found.haplotypes.genotypes[np.argsort(order, kind="stable")]
    if values == "genotypes":
        pairs = genotypes.reshape(*codes.shape, 2)
        assert np.array_equal(np.where((pairs < 0).any(axis=2), -1, pairs.sum(axis=2)), codes)
        assert not found.phased
    else:
        assert np.array_equal(genotypes, codes)
        assert found.phased
    locus = found.haplotypes.positions
    assert locus.dtype == np.int64
    assert locus.tolist() == ([numbers[loci[i]] for i in order] if leading else list(range(len(codes))))
    assert found.told["individuals"] == {"A": names if header else [str(i + 1) for i in range(codes.shape[1])]}


def test_several_words_may_mean_the_same(tmp_path):
    rows = [["0/0", "0/1", "1/0", "1/1", "./."], ["0/0", "0/0", "1/1", "?", "0/1"]]
    coding = {"0": ("0/0",), "1": ("0/1", "1/0"), "2": ("1/1",), "missing": ("./.", "?")}
    found = opened(table(write(tmp_path / "t", rows, " "), values="genotypes", coding=coding, delimiter="space"))
    assert found.haplotypes.genotypes.tolist() == [[0, 0, 0, 1, 0, 1, 1, 1, -1, -1], [0, 0, 0, 0, 1, 1, -1, -1, 0, 1]]
    assert found.samples == (SampleSet("A", 5, 2),)


def test_quotes_and_the_header_of_r(tmp_path):
    """write.table names no column for the row names."""
    path = tmp_path / "t.csv"
    path.write_text('"x1","x2"\n"snp1","0"," 1"\n"snp2","1","0"\n')
    found = opened(table(path, delimiter="comma", header=True, leading=("id",)))
    assert found.haplotypes.genotypes.tolist() == [[0, 1], [1, 0]]
    assert found.told["individuals"] == {"A": ["x1", "x2"]}


def test_empty_cells_may_be_missing(tmp_path):
    path = write(tmp_path / "t", [["0", "", "1"], ["", "1", "0"]], ",")
    found = opened(table(path, delimiter="comma", coding={**HAPLOTYPES, "missing": ("",)}))
    assert found.haplotypes.genotypes.tolist() == [[0, -1, 1], [-1, 1, 0]]


# --- who is read --------------------------------------------------------------------------------------------------


def test_columns_by_population(snps):
    found = opened(table(snps, columns={"B": ("3-4",), "A": ("1",)}))
    assert found.samples == (SampleSet("B", 2, 1), SampleSet("A", 1, 1))
    assert np.array_equal(found.haplotypes.genotypes, EXPECTED[:, [2, 3, 0]])
    assert found.told["individuals_left_out"] == 1


def test_a_sheet_by_number_and_by_name(tmp_path, snps):
    by_number = write_sheet(tmp_path / "numbers", {"4": "B", "1": "A", "2": "A", "3": "B"}, dict.fromkeys("1234", 0.0))
    found = opened(table(snps), samples=by_number)
    assert found.samples == (SampleSet("B", 2, 1), SampleSet("A", 2, 1))
    assert np.array_equal(found.haplotypes.genotypes, EXPECTED[:, [3, 2, 0, 1]])
    named = write(tmp_path / "named", [list("wxyz"), *ROWS])
    times = {"z": 0.0, "w": 20.0, "x": 0.0}
    sheet = write_sheet(tmp_path / "names", {"z": "B", "w": "A", "x": "A"}, times)
    found = opened(table(named, header=True), samples=sheet)
    assert found.samples == (SampleSet("B", 1, 1), SampleSet("A", 1, 1, 0.0), SampleSet("A", 1, 1, 20.0))
    assert np.array_equal(found.haplotypes.genotypes, EXPECTED[:, [3, 1, 0]])


def test_two_columns_of_an_individual(tmp_path):
    path = write(tmp_path / "t", [["a", "a", "b", "b"], *ROWS])
    sheet = write_sheet(tmp_path / "sheet", {"b": "B", "a": "A"})
    found = opened(table(path, header=True, ploidy=2), samples=sheet)
    assert found.samples == (SampleSet("B", 1, 2), SampleSet("A", 1, 2))
    assert np.array_equal(found.haplotypes.genotypes, EXPECTED[:, [2, 3, 0, 1]])


def test_fewer_individuals_are_drawn_by_the_seed(tmp_path):
    genotypes = np.random.default_rng(1).integers(0, 2, (20, 6))
    snps = write(tmp_path / "t", genotypes)
    drawn = [opened(table(snps), populations={"A": 2}, seed=seed).told["individuals"]["A"] for seed in range(20)]
    assert all(len(names) == 2 for names in drawn)
    assert len(set(map(tuple, drawn))) > 3
    again = opened(table(snps), populations={"A": 2}, seed=3)
    assert again.told["individuals"]["A"] == drawn[3]
    assert again.told["individuals_left_out"] == 4
    assert np.array_equal(again.haplotypes.genotypes, genotypes[:, [int(name) - 1 for name in drawn[3]]])


# --- which SNPs ---------------------------------------------------------------------------------------------------


def test_one_snp_a_locus(tmp_path):
    rows = [[f"l{i // 4}", *("01" if i % 2 else "00"), "0"] for i in range(40)]
    path = write(tmp_path / "t", rows)
    file = table(path, leading=("locus",))
    found = opened(file, choice=LociChoice(per_locus="one"), seed=2)
    assert found.haplotypes.positions.tolist() == list(range(10))
    assert (found.haplotypes.genotypes == 1).any(axis=1).all(), "an invariant row was taken for its locus"
    chosen = found.told["chosen"]
    assert {name: len(lines) for name, lines in chosen.items()} == {f"l{i}": 1 for i in range(10)}
    assert all(rows[lines[0] - 1][0] == name for name, lines in chosen.items())
    assert found.told["snps_not_taken"] == 30
    assert opened(file, choice=LociChoice(per_locus="one"), seed=2).told["chosen"] == chosen
    assert opened(file, choice=LociChoice(per_locus="one"), seed=3).told["chosen"] != chosen


def test_the_rule_says_which_snps_may_stand_for_a_locus(tmp_path):
    rows = [["a", "0", "0", "1", "0"], ["a", "0", "1", "1", "0"], ["a", "NA", "NA", "1", "0"]]
    file = table(write(tmp_path / "t", rows), leading=("locus",))
    choice = LociChoice(per_locus="one", rule=SiteRule(singletons="drop"), min_call_rate=0.9)
    assert {str(opened(file, choice=choice, seed=seed).told["chosen"]) for seed in range(8)} == {"{'a': [2]}"}
    choice = LociChoice(per_locus="one", rule=SiteRule(min_minor_frequency=0.5), min_call_rate=0.9)
    assert opened(file, choice=choice).told["chosen"] == {"a": [2]}
    with pytest.raises(
        GenomeError, match=r"no SNP of 1 is left by loci\.min_call_rate, loci\.min_minor_frequency and data\.singletons"
    ):
        opened(table(write(tmp_path / "u", rows[:1]), leading=("locus",)), choice=choice)


def test_rows_without_variation_are_counted_when_prepared(tmp_path):
    path = write(tmp_path / "t", [*ROWS, ["0", "0", "0", "0"], ["1", "1", "NA", "NA"]])
    real = opened(table(path))
    assert real.haplotypes.num_sites == 5
    assert prepared(real, PipelineSettings(), "alike", 0.0, 1).dropped["without variation among the calls"] == 2


# --- mistakes -----------------------------------------------------------------------------------------------------


def fails(text, tmp_path, message, source=None, **options):
    path = tmp_path / "snps.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(GenomeError, match=re.escape(message)):
        opened(table(path, **options), **(source or {}))


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("0\t1\n0\t1\t1\n", {}, "snps.txt, line 2: 3 columns, line 1 has 2; all rows must have as many"),
        ("0\t1\n0\t2\n", {}, "snps.txt, line 2, column 2: '2' is none of the values of data.table.coding"),
        ("a\tb\n0\t1\n", {}, "line 1, column 1: 'a' is none of the values of data.table.coding"),
        ("a\tb\n0\t1\n", {}, "if the line is of names, say header: true"),
        ("0\t1\t\n0\t1\t\n", {}, "column 3: '' is none of the values"),
        ("0,1\n1,0\n", {}, "line 1: 1 column with the delimiter tab, of which 0 are leading"),
        ("0,1\n1,0\n", {}, "it holds more where the delimiter is comma"),
        ("x\t0\nx\t1\n", {"leading": ("id",)}, "2 columns with the delimiter tab, of which 1 is leading; at least 2"),
        ("0\t0\n1\t1\n", {}, "no variable SNP in the individuals chosen; of 2 rows none has both alleles, and 0 %"),
        ("0\tNA\n", {}, "50 % of the calls are missing"),
        ("", {}, "snps.txt: no row; each row is a SNP"),
        ("\n \n", {}, "snps.txt: no row; each row is a SNP"),
        ("a\tb\n", {"header": True}, "no row follows the header; each row is a SNP"),
        ("a\ta\n0\t1\n", {"header": True}, "sample a is there twice in the header; names must differ"),
        ("a\t\n0\t1\n", {"header": True}, "snps.txt, line 1, column 2: the name is empty"),
        ("a\tb\tc\n0\t1\n", {"header": True}, "line 1: the header names 3 columns, line 2 has 2; it must name as many"),
        ("a\nx\t0\t1\n", {"header": True, "leading": ("id",)}, "as many (or 2, without the leading ones)"),
        ("a\tb\n0\t1\n", {"header": True, "ploidy": 2}, "columns 1 and 2 are called a and b; with ploidy: 2"),
        ("0\t1\t0\n", {"ploidy": 2}, "3 columns of chromosomes, an odd number; with ploidy: 2 each individual has two"),
        ("\t0\t1\n", {"leading": ("locus",)}, "snps.txt, line 1, column 1: the locus is empty"),
        ("0\t1\n", {"columns": {"A": ("1-3",)}}, "data.table.columns gives column 3 to A, the rows have 2"),
        ("0\t1\t0\t1\n", {"ploidy": 2, "columns": {"A": ("1",), "B": ("2-4",)}}, "columns 1 and 2 are one"),
        ("0\t1\n\n0\t1\t1\n", {"rows": "individuals"}, "snps.txt, line 3: 3 columns, line 1 has 2"),
        ("0\t1\n\n0\t2\n", {"rows": "individuals"}, "snps.txt, line 3, column 2: '2' is none of the values"),
        ("a\t1\nb\t0\n", {"rows": "individuals"}, "line 1, column 1: 'a' is none"),
        ("0\t1\t\n1\t0\t\n", {"rows": "individuals"}, "line 1, column 3: '' is none"),
        ("0\t1\t\n1\t0\t\n", {"rows": "individuals"}, "; the line ends with a tab"),
        ("a\t1\nb\t0\n", {"rows": "individuals"}, "if the column is of names, say header: true"),
        ("a\t1\n\t0\n", {"rows": "individuals", "header": True}, "snps.txt, line 2, column 1: the name is empty"),
        ("a\nb\n", {"rows": "individuals", "header": True}, "no column follows the header; each column is a SNP"),
        ("0\t1\n", {"rows": "individuals"}, "snps.txt: 1 row, of which 0 are leading; at least 2 of chromosomes"),
        ("l\t\n0\t1\n1\t0\n", {"rows": "individuals", "leading": ("locus",)}, "line 1, column 2: the locus is empty"),
        (b"\xff\xfe0\t1\n", {}, "not a text file (UTF-8)"),
        (gzip.compress(b"0\t1\n" * 50)[:-9], {}, "damaged or cut short gzip file"),
    ],
)  # fmt: skip
def test_mistakes_in_a_table(tmp_path, text, options, message):
    fails(text, tmp_path, message, **options)


def test_who_is_who_must_be_said(tmp_path, snps):
    with pytest.raises(GenomeError, match="nothing says who belongs to which population; name a sample sheet"):
        opened(table(snps), populations={})
    with pytest.raises(GenomeError, match="nothing says who belongs"):
        opened(table(snps), populations={"A": "all", "B": "all"})
    with pytest.raises(GenomeError, match=r"population C of data.populations is empty; there are A"):
        opened(table(snps, columns={"A": ("1-2",), "B": ("3-4",)}), populations={"C": "all"})
    with pytest.raises(GenomeError, match="asks for 3 individuals of A, there are 2; ask for fewer, or all"):
        opened(table(snps, columns={"A": ("1-2",), "B": ("3-4",)}), populations={"A": 3})
    sheet = write_sheet(tmp_path / "s.tsv", {"1": "A", "2": "A"})
    with pytest.raises(GenomeError, match="both say who is of which population; give one"):
        opened(table(snps, columns={"A": ("1-2",)}), samples=sheet)
    with pytest.raises(GenomeError, match=r"s.tsv: 2 samples where the data have 4 individuals without names.*1 to 4"):
        opened(table(snps), samples=sheet)
    sheet = write_sheet(tmp_path / "s.tsv", dict.fromkeys("1235", "A"))
    with pytest.raises(GenomeError, match=r"s.tsv: sample 5 where the data have 4 individuals"):
        opened(table(snps), samples=sheet)
    named = write(tmp_path / "named", [list("wxyz"), *ROWS])
    with pytest.raises(GenomeError, match=r"4 of 4 samples of .*s.tsv are not in the genotypes: 1, 2, 3, 5; .*w, x, y"):
        opened(table(named, header=True), samples=sheet)
    (tmp_path / "s.tsv").write_text("sample\tpopulation\nw\tA\nw\tB\n")
    with pytest.raises(GenomeError, match="line 3: sample w is there twice, first in line 2"):
        opened(table(named, header=True), samples=tmp_path / "s.tsv")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delimiter": "pipe"}, "delimiter must be one of tab, comma, semicolon, space, whitespace, not 'pipe'"),
        ({"values": "alleles", "coding": {}}, "values must be haplotypes or genotypes, not 'alleles'"),
        ({"rows": "chromosomes"}, "rows must be snps or individuals, not 'chromosomes'"),
        ({"ploidy": 3}, "ploidy must be 1 or 2, not 3"),
        ({"values": "genotypes", "ploidy": 2}, "ploidy is for haplotypes: a column of genotypes is a diploid"),
        ({"leading": ("id", "id")}, "leading names a column twice: id, id"),
        ({"coding": {"ancestral": ("0",)}}, "coding: derived is missing; it must say what the file writes"),
        ({"coding": {**HAPLOTYPES, "minor": ("2",)}}, "coding: unknown key 'minor'; it must say what the file writes"),
        ({"coding": GENOTYPES}, "coding: unknown key '0'"),
        ({"coding": {**HAPLOTYPES, "missing": ("0",)}}, "coding: '0' stands for both ancestral and missing"),
        ({"coding": {**HAPLOTYPES, "derived": ()}}, "coding.derived is empty"),
        (
            {"coding": {**HAPLOTYPES, "missing": ("N A",)}, "delimiter": "space"},
            "may hold no space, quotes or blanks at",
        ),
        ({"coding": {**HAPLOTYPES, "missing": ("",)}, "delimiter": "space"}, "nothing at all cannot be told where"),
        ({"columns": {"A": ("1-",)}}, "columns.A: must be columns from 1 up such as 1-160 or 7, not '1-'"),
        ({"columns": {"A": ("5-2",)}}, "columns.A: must be columns from 1 up"),
        ({"columns": {"A": ("0",)}}, "columns.A: must be columns from 1 up"),
        ({"columns": {"A": ("1-3",), "B": ("3",)}}, "columns: column 3 is of A and of B; each column belongs to one"),
        ({"columns": {"A": ("1-999999999",)}}, "columns.A: 1-999999999 are more columns than any table has"),
    ],
)
def test_mistakes_in_a_description(snps, options, message):
    with pytest.raises(GenomeError, match=re.escape(message)):
        opened(table(snps, **options))


def test_loci_by_contig_is_not_for_tables(snps):
    with pytest.raises(GenomeError, match=r"loci.by is for genomes and NPZ files"):
        opened(table(snps), choice=LociChoice(by="contig"))
    with pytest.raises(GenomeError, match=r"loci.min_distance must be at least 1 base, got 0"):
        LociChoice(min_distance=0)
