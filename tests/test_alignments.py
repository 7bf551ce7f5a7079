"""Alignments in FASTA and NEXUS: columns with two bases become SNPs, the others are counted, mistakes are said."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ganinfer.genomes import Alignments, GenomeError, LociChoice
from ganinfer.haplotypes import SampleSet
from tests.genome_files import write_sheet
from tests.table_files import fasta, nexus, opened

PAIRS = {"AC": "M", "AG": "R", "AT": "W", "CG": "S", "CT": "Y", "GT": "K"}


@st.composite
def alignments(draw):
    """Sequences of four haplotypes in one to three files, with an A and a C in the first column."""
    files = []
    for _ in range(draw(st.integers(1, 3))):
        length = draw(st.integers(1, 8))
        texts = [draw(st.text("ACGTacgt-N?", min_size=length, max_size=length)) for _ in range(4)]
        files.append({f"s{i}": "AACC"[i] + text for i, text in enumerate(texts)})
    return files


def slow_reference(sequences, incomplete):
    """Column by column: alleles (0 the first of the alphabet) of each SNP, columns from 1, and why others fell."""
    snps, columns, dropped = [], [], {}
    for number, column in enumerate(zip(*(text.upper() for text in sequences), strict=True), start=1):
        bases = sorted(set(column) & set("ACGT"))
        if len(bases) < 2:
            reason = "invariant"
        elif len(bases) > 2:
            reason = "more than two bases"
        elif incomplete == "drop" and "-" in column:
            reason = "with a gap"
        elif incomplete == "drop" and set(column) & set("N?"):
            reason = "with an unknown base"
        else:
            snps.append([bases.index(base) if base in bases else -1 for base in column])
            columns.append(number)
            continue
        dropped[reason] = dropped.get(reason, 0) + 1
    return snps, columns, dropped


@settings(max_examples=60, deadline=None)
@given(alignments(), st.sampled_from(["drop", "missing"]), st.sampled_from(["fasta", "nexus", "interleaved"]))
def test_against_a_slow_reading(tmp_path_factory, files, incomplete, kind):
    folder = tmp_path_factory.mktemp("a")
    for i, sequences in enumerate(files):
        if kind == "fasta":
            fasta(folder / f"{i}.txt", sequences)
        else:
            nexus(folder / f"{i}.txt", sequences, interleave=4 if kind == "interleaved" else 0)
    found = opened(Alignments(tuple(sorted(folder.iterdir())), incomplete=incomplete))
    expected = [slow_reference(sequences.values(), incomplete) for sequences in files]
    assert found.haplotypes.genotypes.tolist() == [snp for snps, _, _ in expected for snp in snps]
    assert found.haplotypes.positions.tolist() == [i for i, (snps, _, _) in enumerate(expected) for _ in snps]
    reasons = [reason for _, _, dropped in expected for reason in dropped]
    total = {r: sum(dropped.get(r, 0) for _, _, dropped in expected) for r in reasons}
    assert found.told["columns"]["dropped"] == total
    assert found.told["columns"]["read"] == sum(len(s["s0"]) for s in files) == sum(found.told["lengths"].values())
    assert found.phased
    assert found.samples == (SampleSet("A", 4, 1),)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text("ACGT", min_size=6, max_size=6), min_size=2, max_size=5))
def test_heterozygotes_are_two_haplotypes_without_their_phase(tmp_path_factory, first):
    """A diploid written as two sequences, and as one with IUPAC codes, is the same but for the phase."""
    folder = tmp_path_factory.mktemp("h")
    second = [text[::-1] for text in first]
    first[0], second[0] = "A" + first[0], "C" + second[0]
    first[1:], second[1:] = ["A" + t for t in first[1:]], ["A" + t for t in second[1:]]
    pairs = list(zip(first, second, strict=True))
    split = {f"i{i}_{k + 1}": text for i, pair in enumerate(pairs) for k, text in enumerate(pair)}
    codes = {
        f"i{i}": "".join(a if a == b else PAIRS["".join(sorted(a + b))] for a, b in zip(*pair, strict=True))
        for i, pair in enumerate(pairs)
    }
    haplotypes = opened(Alignments((fasta(folder / "h.fa", split),), suffixes=("_1", "_2")))
    genotypes = opened(Alignments((fasta(folder / "g.fa", codes),), values="genotypes"))
    assert haplotypes.samples == genotypes.samples == (SampleSet("A", len(first), 2),)
    assert (haplotypes.phased, genotypes.phased) == (True, False)
    dosages = [t.haplotypes.genotypes.reshape(-1, len(first), 2).sum(axis=2) for t in (haplotypes, genotypes)]
    assert np.array_equal(*dosages)


def test_populations_of_a_sheet_and_individuals_that_a_locus_lacks(tmp_path):
    one = fasta(tmp_path / "1.fa", {"x": "AC", "y": "AT", "out": "AC", "z": "GC"})
    two = fasta(tmp_path / "2.fa", {"z": "T", "x": "C"})
    sheet = write_sheet(tmp_path / "s", {"z": "B", "x": "A", "y": "A"})
    found = opened(Alignments((one, two)), samples=sheet)
    assert found.samples == (SampleSet("B", 1, 1), SampleSet("A", 2, 1))
    assert found.haplotypes.genotypes.tolist() == [[1, 0, 0], [0, 0, 1], [1, 0, -1]]
    assert found.haplotypes.positions.tolist() == [0, 0, 1]
    assert found.told["absent"] == {"2.fa": ["y"]}
    assert found.told["individuals_left_out"] == 1


def test_an_outgroup_tells_ancestral_bases(tmp_path):
    path = fasta(tmp_path / "1.fa", {"out": "CTGA-", "x": "AAGCA", "y": "CTATC"})
    found = opened(Alignments((path,), outgroup="out"))
    assert found.haplotypes.genotypes.tolist() == [[1, 0], [1, 0], [0, 1]]
    assert found.told["columns"]["dropped"] == {"ancestral base unknown or neither of the two": 2}
    assert found.told["individuals"] == {"A": ["x", "y"]}


def test_one_column_a_locus(tmp_path):
    paths = [fasta(tmp_path / f"{i}.fa", {"x": "AAAA", "y": "CGTA"}) for i in range(6)]
    found = opened(Alignments(tuple(paths)), choice=LociChoice(per_locus="one"), seed=5)
    assert found.haplotypes.positions.tolist() == list(range(6))
    assert set(found.told["chosen"]) == {str(path) for path in paths}
    assert {column for columns in found.told["chosen"].values() for column in columns} <= {1, 2, 3}


def test_match_characters_of_nexus(tmp_path):
    path = tmp_path / "m.nex"
    path.write_text(
        "#NEXUS\nBEGIN DATA;\nDIMENSIONS NTAX=2 NCHAR=4;\nFORMAT DATATYPE=DNA GAP=~ MISSING=n MATCHCHAR=.;\nMATRIX\n"
        "x ACG~\ny .T..\n;\nEND;\nBEGIN PAUP;\nset a=b;\nEND;\n"
    )
    found = opened(Alignments((path,)))
    assert found.haplotypes.genotypes.tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, "a.txt: the file is empty; FASTA begins with >, NEXUS with #NEXUS"),
        ("ACGT\n", {}, "a.txt: begins with 'ACGT'; FASTA begins with >, NEXUS with #NEXUS"),
        (">\nAC\n", {}, "a.txt: sequence 1 has no name after >"),
        (">x\nAC\n>x\nAG\n", {}, "a.txt: sequence x is there twice; names must differ"),
        (">x\n>y\nAG\n", {}, "a.txt: sequence x is empty; an alignment has at least one column"),
        (">x\nACG\n>y\nAG\n", {}, "a.txt: sequence y has 2 bases, x has 3; aligned sequences are of equal length"),
        (">x\nAC\n>y\nA!\n", {}, "a.txt: sequence y, column 2: '!' is no base; A, C, G, T, IUPAC codes, - and ?"),
        (">x\nAC\n>y\nA\u2713\n", {}, "a.txt: sequence y, column 2: '✓' is no base"),
        (">x\nAC\n>y\nAR\n", {}, "sequence y, column 2: 'R' is a code of two bases, and a sequence is one chromosome"),
        (">x\nAC\n>y\nAC\n", {}, "no variable SNP in the individuals chosen; columns left out: 2 invariant"),
        (">x\nAC\n>y\n-C\n", {}, "no variable SNP in the individuals chosen; columns left out: 2 invariant"),
        (">x\nAC\n>y\nGC\n", {"outgroup": "z"}, "no sequence is called z (data.alignments.outgroup); there are x, y"),
        (">x\nAC\n", {"outgroup": "x"}, "no sequence beside x, the outgroup"),
        (">x1\nAC\n>y\nGC\n", {"suffixes": ("1", "2")}, "sequence y ends neither in 1 nor in 2"),
        (">x1\nAC\n", {"suffixes": ("1", "2")}, "individual x has the sequence x1 only, it needs two"),
        ("#NEXUS\n", {}, "a.txt: no block data or characters with a matrix; that is where the alignment stands"),
        ("#NEXUS\nbegin trees;\ntree a = (x,y);\nend;\n", {}, "a.txt: no block data or characters with a matrix"),
        ("#NEXUS\nbegin data;\nmatrix\nx A\n;\nend;\n", {}, "a.txt: not valid NEXUS: Dimensions must be specified"),
        (
            "#NEXUS\nbegin data;\ndimensions ntax=2 nchar=3;\nformat datatype=dna;\nmatrix\nx ACG\ny AC\n;\nend;\n", {},
            "a.txt: not valid NEXUS: the matrix does not hold what its dimensions say",
        ),
        (
            "#NEXUS\nbegin data;\ndimensions ntax=2 nchar=2;\nformat datatype=protein;\nmatrix\nx AC\ny AC\n;\nend;\n",
            {}, "a.txt: datatype=protein; SNPs are read from dna, rna or nucleotide",
        ),
    ],
)  # fmt: skip
def test_mistakes_in_an_alignment(tmp_path, text, options, message):
    path = tmp_path / "a.txt"
    path.write_text(text)
    with pytest.raises(GenomeError, match=re.escape(message)):
        opened(Alignments((path,), **options))


def test_mistakes_around_alignments(tmp_path):
    path = fasta(tmp_path / "a.fa", {"x": "AC", "y": "GC"})
    other = fasta(tmp_path / "b.fa", {"z": "AC", "w": "GC"})
    with pytest.raises(GenomeError, match="files names no file; at least an alignment is needed"):
        Alignments(())
    with pytest.raises(GenomeError, match="the file is named twice; each file is a locus of its own"):
        Alignments((path, path))
    with pytest.raises(GenomeError, match="suffixes are for haplotypes"):
        Alignments((path,), values="genotypes", suffixes=("1", "2"))
    for wrong in (("1",), ("1", "11"), ("a", "a"), ("a", "")):
        with pytest.raises(GenomeError, match="suffixes must be the two ends of the names"):
            Alignments((path,), suffixes=wrong)
    sheet = write_sheet(tmp_path / "s", {"x": "A", "y": "A", "q": "A"})
    with pytest.raises(
        GenomeError, match=r"1 of 3 samples of .*s are not in the genotypes: q; the genotypes have x, y"
    ):
        opened(Alignments((path,)), samples=sheet)
    sheet = write_sheet(tmp_path / "s", {"x": "A", "y": "A"})
    with pytest.raises(GenomeError, match=r"b.fa: none of the individuals chosen is there; it has z, w"):
        opened(Alignments((path, other)), samples=sheet)
