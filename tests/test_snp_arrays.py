"""NPZ files of SNPs as dnadna writes them."""

from __future__ import annotations

import pickle
import re
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ganinfer.genomes import GenomeError, LociChoice, SnpArrays
from ganinfer.haplotypes import SampleSet
from tests.genome_files import write_sheet
from tests.table_files import npz, opened

BY_FILE = LociChoice(by="contig")


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=3).flatmap(
        lambda sizes: st.tuples(*(arrays(np.uint8, (4, n), elements=st.integers(0, 1)) for n in sizes))
    ),
    st.sampled_from([np.uint8, np.int64, np.float32, bool]),
)
def test_what_was_written_is_read(tmp_path_factory, matrices, dtype):
    folder = tmp_path_factory.mktemp("n")
    matrices[0][:2, 0] = 0, 1
    files = tuple(npz(folder / f"x_0_{i}.npz", m.astype(dtype)) for i, m in enumerate(matrices))
    found = opened(SnpArrays(files), choice=BY_FILE)
    assert np.array_equal(found.haplotypes.genotypes, np.concatenate(matrices, axis=1).T)
    assert found.haplotypes.positions.tolist() == [i for i, m in enumerate(matrices) for _ in range(m.shape[1])]
    assert found.samples == (SampleSet("A", 4, 1),)
    assert found.phased


def test_populations_and_ploidy(tmp_path):
    snps = np.random.default_rng(2).integers(0, 2, (6, 8))
    path = npz(tmp_path / "x.npz", snps)
    sheet = write_sheet(tmp_path / "s", {"2": "B", "1": "A", "3": "A"})
    found = opened(SnpArrays((path,), ploidy=2), samples=sheet, choice=BY_FILE)
    assert found.samples == (SampleSet("B", 1, 2), SampleSet("A", 2, 2))
    assert np.array_equal(found.haplotypes.genotypes, snps[[2, 3, 0, 1, 4, 5]].T)


@pytest.mark.parametrize("form", ["absolute", "distances", "shares"])
def test_single_snps_far_from_each_other(tmp_path, form):
    rng = np.random.default_rng(3)
    snps = np.array([[0] * 300, [1] * 300])
    bases = np.sort(rng.integers(0, 1_000_000, 300))
    positions = {"absolute": bases, "distances": np.diff(bases, prepend=0), "shares": bases / 1_000_000}[form]
    options = {"distances": {"positions": "distances"}, "shares": {"length": 1_000_000}}.get(form, {})
    files = tuple(npz(tmp_path / f"{i}.npz", snps, positions) for i in range(2))
    choice = LociChoice(by="distance", min_distance=20_000)
    found = opened(SnpArrays(files, **options), choice=choice, seed=4)
    assert found.haplotypes.positions.tolist() == list(range(found.haplotypes.num_sites))
    for numbers in found.told["chosen"].values():
        taken = bases[np.array(numbers) - 1]
        assert (np.diff(taken) >= 19_999).all()
        assert len(taken) > 8, "a third of those that would have room"
    assert found.told["snps_not_taken"] == 600 - found.haplotypes.num_sites
    assert found.told["min_distance"] == 20_000


def test_the_scenario_of_the_files_is_recorded(tmp_path):
    path = npz(tmp_path / "scenario_03" / "my_03_0.npz", np.array([[0, 1], [1, 0]]))
    table = tmp_path / "my_params.csv"
    table.write_text("scenario_idx,mu,n_replicates\n2,1e-7,1\n3,1e-8,1\n")
    found = opened(SnpArrays((path,), parameters=table), choice=BY_FILE)
    assert found.told["scenario"] == 3
    assert found.told["parameters"] == {"scenario_idx": "3", "mu": "1e-8", "n_replicates": "1"}
    table.write_text("scenario_idx,mu\n2,1e-7\n")
    with pytest.raises(GenomeError, match="no row has scenario_idx 3, the number of the files' folder"):
        opened(SnpArrays((path,), parameters=table), choice=BY_FILE)
    table.write_text("scenario,mu\n3,1e-7\n")
    with pytest.raises(GenomeError, match="the first line must name the column scenario_idx; it names scenario, mu"):
        opened(SnpArrays((path,), parameters=table), choice=BY_FILE)
    table.write_text("scenario_idx,mu\n3\n")
    with pytest.raises(GenomeError, match="line 2: 1 columns, the header names 2"):
        opened(SnpArrays((path,), parameters=table), choice=BY_FILE)
    other = npz(tmp_path / "elsewhere" / "x.npz", np.array([[0, 1], [1, 0]]))
    with pytest.raises(
        GenomeError, match="must lie in one folder scenario_N to have parameters; they are in elsewhere"
    ):
        opened(SnpArrays((path, other), parameters=table), choice=BY_FILE)


SNPS = np.array([[0, 1], [1, 0]])


@pytest.mark.parametrize(
    ("arrays", "options", "message"),
    [
        ({"SNP": SNPS}, {}, "x.npz: no array POS; there are SNP"),
        ({}, {}, "x.npz: no array SNP; there are none"),
        ({"SNP": SNPS[0], "POS": [1, 2]}, {}, "x.npz: SNP is an array of int64 of shape (2,); it must be numbers"),
        ({"SNP": SNPS.astype("U1"), "POS": [1, 2]}, {}, "x.npz: SNP is an array of <U1 of shape (2, 2); it must be"),
        ({"SNP": SNPS, "POS": [[1, 2]]}, {}, "x.npz: POS is an array of int64 of shape (1, 2); it must be numbers"),
        ({"SNP": SNPS, "POS": [1]}, {}, "x.npz: SNP has 2 columns, POS 1 positions"),
        ({"SNP": np.zeros((3, 2)), "POS": [1, 2, 3]}, {}, "POS 3 positions; is it chromosomes by SNPs?"),
        ({"SNP": np.zeros((2, 0)), "POS": np.zeros(0)}, {}, "of shape (2, 0); it holds nothing"),
        ({"SNP": SNPS * 2, "POS": [1, 2]}, {}, "x.npz: SNP[0, 1] is 2; only 0 (ancestral) and 1 (derived) are allowed"),
        ({"SNP": SNPS * np.nan, "POS": [1, 2]}, {}, "x.npz: SNP[0, 0] is nan; only 0"),
        ({"SNP": SNPS, "POS": [1, np.nan]}, {}, "x.npz: POS[1] is nan; positions are bases, 0 or more"),
        ({"SNP": SNPS, "POS": [-1, 5]}, {}, "x.npz: POS[0] is -1; positions are bases, 0 or more"),
        ({"SNP": SNPS, "POS": [1, 2]}, {"length": 10}, "POS goes from 1 to 2; with data.npz.length positions"),
        ({"SNP": SNPS * 0, "POS": [1, 2]}, {}, "no variable SNP in the individuals chosen; of 2 rows none has both"),
        ({"SNP": np.zeros((3, 1)), "POS": [1]}, {"ploidy": 2}, "x.npz: 3 rows of SNP, an odd number; with ploidy: 2"),
        ({"SNP": SNPS.astype(object), "POS": [1, 2]}, {}, "x.npz: holds pickled objects, which could run any code"),
    ],
)  # fmt: skip
def test_mistakes_in_arrays(tmp_path, arrays, options, message):
    path = tmp_path / "x.npz"
    np.savez(path, **arrays)
    with pytest.raises(GenomeError, match=re.escape(message)):
        opened(SnpArrays((path,), **options), choice=BY_FILE)


def test_files_that_are_no_arrays(tmp_path):
    def fails(content, message):
        (tmp_path / "x.npz").write_bytes(content)
        with pytest.raises(GenomeError, match=re.escape(message)):
            opened(SnpArrays((tmp_path / "x.npz",)), choice=BY_FILE)

    good = npz(tmp_path / "good.npz", SNPS).read_bytes()
    fails(b"", "x.npz: no NPZ file: it begins with b'', an NPZ file with b'PK'")
    fails(b"0\t1\n", "x.npz: no NPZ file: it begins with b'0\\t1\\n'")
    fails(pickle.dumps(SNPS), "x.npz: no NPZ file: it begins with")
    fails(good[: len(good) // 2], "x.npz: a damaged NPZ file (File is not a zip file); get it again")
    with (tmp_path / "one.npy").open("wb") as file:
        np.save(file, SNPS)
    fails((tmp_path / "one.npy").read_bytes(), "x.npz: a single array (NPY); an NPZ file with SNP and POS is needed")
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("SNP.npy", b"not an array")
        archive.writestr("POS.npy", b"\x93NUMPY\1\0")
    fails((tmp_path / "x.npz").read_bytes(), "x.npz: ")


def test_files_of_different_chromosomes(tmp_path):
    files = npz(tmp_path / "1.npz", SNPS), npz(tmp_path / "2.npz", np.array([[0, 1]] * 3))
    with pytest.raises(GenomeError, match=r"2.npz: 3 rows of SNP, .*1.npz has 2; all files must be of the same"):
        opened(SnpArrays(files), choice=BY_FILE)
    with pytest.raises(GenomeError, match=r"loci\.by is missing; NPZ files are taken as loci by contig"):
        opened(SnpArrays(files))
    with pytest.raises(GenomeError, match="ploidy must be 1 or 2, not 4"):
        SnpArrays(files, ploidy=4)
