"""The store of haplotypes: found again, built anew when anything it holds changed, whole or not there."""

from __future__ import annotations

import json
import os
import socket
import time

import numpy as np
import pytest

from ganinfer.genomes import GenomeSource, WindowSettings, open_genomes, store
from ganinfer.genomes.records import Chunk
from tests.genome_files import write_sheet, write_vcf

RECORDS = ["1 5 A C 0|1 1|1 0|0", "1 150 G T 0|0 1|0 .|1"]


@pytest.fixture
def source(tmp_path):
    sheet = write_sheet(tmp_path / "sheet.tsv", {"a": "A", "b": "A", "c": "B"})
    return {"genotypes": (write_vcf(tmp_path / "x.vcf", RECORDS),), "samples": sheet}


def opened(source, tmp_path, length=100):
    return open_genomes(GenomeSource(**source), WindowSettings(length), tmp_path / "cache")


def stores(tmp_path):
    return {p.name: (p / "meta.json").stat().st_mtime_ns for p in (tmp_path / "cache").iterdir()}


def test_a_second_opening_finds_the_store(source, tmp_path):
    opened(source, tmp_path)
    before = stores(tmp_path)
    opened(source, tmp_path, length=50)
    opened({**source, "populations": {"A": "all", "B": 1}, "seed": 5}, tmp_path)
    opened({**source, "phased": False, "contig_lengths": {"1": 300}}, tmp_path)
    assert stores(tmp_path) == before


def test_other_individuals_make_another_store(source, tmp_path):
    """Which sites are biallelic depends on them."""
    for number, populations in enumerate([{}, {"A": 1, "B": 1}, {"B": "all"}], start=1):
        opened({**source, "populations": populations}, tmp_path)
        assert len(stores(tmp_path)) == number
    alone = {"genotypes": source["genotypes"]}
    for number, (populations, seed) in enumerate([({"A": "all"}, 1), ({"A": 2}, 1), ({"A": 2}, 3)], start=4):
        opened({**alone, "populations": populations, "seed": seed}, tmp_path)
        assert len(stores(tmp_path)) == number


@pytest.mark.parametrize(
    "change",
    [{"ancestral": "REF"}, {"filters": ("PASS",)}, {"min_depth": 1}, {"accessible": "from-genotypes"}],
)
def test_other_settings_make_another_store(source, tmp_path, change):
    opened(source, tmp_path)
    opened({**source, **change}, tmp_path, length=1)
    assert len(stores(tmp_path)) == 2


def test_a_changed_file_is_read_again(source, tmp_path):
    assert opened(source, tmp_path).haplotypes(0).num_sites == 1
    path = source["genotypes"][0]
    text = path.read_text()
    status = path.stat()
    path.write_text(text.replace("1\t5\t", "1\t6\t"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # same size, same time, other contents
    assert opened(source, tmp_path).haplotypes(0).positions.tolist() == [5]
    assert len(stores(tmp_path)) == 2


@pytest.mark.parametrize("damage", ["truncate", "remove", "meta", "version"])
def test_a_damaged_store_is_built_again(source, tmp_path, damage):
    expected = opened(source, tmp_path).haplotypes(0).genotypes
    folder = next((tmp_path / "cache").iterdir())
    if damage == "truncate":
        os.truncate(folder / "alleles.npy", 100)
    elif damage == "remove":
        (folder / "positions.npy").unlink()
    elif damage == "meta":
        (folder / "meta.json").write_text("{")
    else:
        meta = json.loads((folder / "meta.json").read_text())
        (folder / "meta.json").write_text(json.dumps({**meta, "version": 0}))
    np.testing.assert_array_equal(opened(source, tmp_path).haplotypes(0).genotypes, expected)
    assert [p.name for p in (tmp_path / "cache").iterdir()] == [folder.name]


def test_arrays_are_what_the_module_says(source, tmp_path):
    opened(source, tmp_path)
    folder = next((tmp_path / "cache").iterdir())
    assert np.load(folder / "positions.npy").tolist() == [4, 149]
    alleles = np.unpackbits(np.load(folder / "alleles.npy"), axis=1, count=6)
    assert alleles.tolist() == [[0, 1, 1, 1, 0, 0], [0, 0, 1, 0, 0, 1]]
    assert np.unpackbits(np.load(folder / "missing.npy"), axis=1, count=6).tolist() == [[0] * 6, [0, 0, 0, 0, 1, 0]]
    meta = json.loads((folder / "meta.json").read_text())
    assert meta["version"] == store.STORE_VERSION
    assert meta["individuals"] == ["a", "b", "c"]
    assert len(meta["files"][0]["digest"]) == 64


def test_no_plane_of_missing_calls_when_there_are_none(tmp_path):
    source = {"genotypes": (write_vcf(tmp_path / "x.vcf", RECORDS[:1]),), "populations": {"A": "all"}}
    opened(source, tmp_path)
    folder = next((tmp_path / "cache").iterdir())
    assert not (folder / "missing.npy").exists()


def chunks(number, failing=False):
    for i in range(number):
        if failing and i == number - 1:
            raise RuntimeError("the reader broke")
        positions = np.arange(3) + 10 * i
        genotypes = np.ones((3, 2, 2), dtype=np.int8)
        none = np.empty((0, 2), dtype=np.int64)
        yield Chunk("1", positions, genotypes, np.zeros(3, np.int8), np.ones(3, bool), none, 3)


def test_a_failure_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError, match="the reader broke"):
        store.build(tmp_path / "cache" / "x", chunks(5, failing=True), ("a", "b"), {})
    assert not (tmp_path / "cache").exists()


def test_leftovers_of_dead_processes_are_removed(tmp_path):
    host = socket.gethostname()
    dead, alive = tmp_path / f".building-999999999@{host}-x", tmp_path / f".building-{os.getpid()}@{host}-y"
    # Of another machine it only shows that nothing is written any more.
    elsewhere, given_up = tmp_path / ".building-999999999@node-7-z", tmp_path / ".building-999999999@node-7-w"
    for folder in (dead, alive, elsewhere, given_up):
        folder.mkdir()
        (folder / "positions.npy").touch()
    month_ago = time.time() - 30 * 24 * 3600
    for path in (given_up / "positions.npy", given_up):
        os.utime(path, (month_ago, month_ago))
    store.build(tmp_path / "x", chunks(2), ("a", "b"), {})
    assert [folder.exists() for folder in (dead, alive, elsewhere, given_up)] == [False, True, True, False]
    assert store.is_complete(tmp_path / "x")


def test_two_processes_may_build_the_same_store(tmp_path):
    def meanwhile():
        yield from chunks(2)
        store.build(tmp_path / "x", chunks(2), ("a", "b"), {})

    store.build(tmp_path / "x", meanwhile(), ("a", "b"), {})
    assert store.is_complete(tmp_path / "x")
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_many_contigs_are_opened_quickly(tmp_path):
    """A simulation written as one contig a block has thousands of them."""
    names = [f"c{i}" for i in range(300)]
    path = write_vcf(tmp_path / "x.vcf", [f"{c} 5 A C 0|1 1|1 0|0" for c in names], contigs=dict.fromkeys(names, 100))
    source = {"genotypes": (path,), "populations": {"A": "all"}}
    genomes = opened(source, tmp_path)
    assert [w.contig for w in genomes.windows] == names
    assert [w.block for w in genomes.windows] == list(range(300))
    start = time.process_time()
    opened(source, tmp_path)
    assert time.process_time() - start < 1
