"""Reading by the index: the same genomes as from the whole file, and the whole file wherever that is doubtful."""

from __future__ import annotations

import gzip
import os
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ganinfer.genomes import GenomeError, GenomeSource, WindowSettings, open_genomes, slicing
from ganinfer.genomes.vcf import VcfReader
from tests.genome_files import EXPERIMENTS

VCF, PANEL = EXPERIMENTS / "1kg-chr4-yri-ceu.vcf.gz", EXPERIMENTS / "1kg-chr4-yri-ceu.panel.tsv"
REGIONS = [
    line.split()[:3] for line in (EXPERIMENTS / "1kg-chr4-regions.bed").read_text().splitlines() if line[0] != "#"
]
FEW = {"4": np.array([[int(left), int(right)] for _, left, right in (REGIONS[3], REGIONS[20], REGIONS[50])])}
NUM_RECORDS = 195_147


def as_csi(tbi: bytes) -> bytes:
    """The same index in the other format, without its linear part."""
    (number, *_), names = struct.unpack_from("<i", tbi, 4), tbi[8:36]
    length = struct.unpack_from("<i", tbi, 32)[0]
    auxiliary, at = names + tbi[36 : 36 + length], 36 + length
    made = b"CSI\1" + struct.pack("<iii", 14, 5, len(auxiliary)) + auxiliary + struct.pack("<i", number)
    for _ in range(number):
        (bins,) = struct.unpack_from("<i", tbi, at)
        made, at = made + struct.pack("<i", bins), at + 4
        for _ in range(bins):
            bin_, size = struct.unpack_from("<Ii", tbi, at)
            made += struct.pack("<IQi", bin_, 0, size) + tbi[at + 8 : at + 8 + 16 * size]
            at += 8 + 16 * size
        at += 4 + 8 * struct.unpack_from("<i", tbi, at)[0]
    return made


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The shipped VCF without an index."""
    return Path(shutil.copy(VCF, tmp_path / "copy.vcf.gz"))


def index(copy: Path, *, suffix: str = ".tbi", content: bytes | None = None, age: float = 0) -> None:
    tbi = VCF.with_name(VCF.name + ".tbi").read_bytes()
    path = copy.with_name(copy.name + suffix)
    path.write_bytes(tbi if content is None else content)
    time = copy.stat().st_mtime - age
    os.utime(path, (time, time))


def opened(path: Path, folder: Path, regions: dict[str, np.ndarray] = FEW):
    bed = folder / f"{path.name}.bed"
    bed.write_text("".join(f"{c}\t{a}\t{b}\n" for c, intervals in regions.items() for a, b in intervals.tolist()))
    source = GenomeSource((path,), PANEL, {"YRI": 3, "CEU": 2}, bed)
    return open_genomes(source, WindowSettings(50_000), folder / f"cache-{path.name}")


def read(reader: VcfReader) -> int:
    return sum(reader.contents().records.values())


@pytest.mark.parametrize(("suffix", "prefix"), [(".tbi", ""), (".csi", "chr")])
def test_a_part_read_by_the_index_is_that_part(copy: Path, tmp_path: Path, suffix: str, prefix: str) -> None:
    whole = opened(copy, tmp_path)
    indexed = Path(shutil.copy(copy, tmp_path / "indexed.vcf.gz"))
    tbi = VCF.with_name(VCF.name + ".tbi").read_bytes()
    index(indexed, suffix=suffix, content=None if suffix == ".tbi" else gzip.compress(as_csi(gzip.decompress(tbi))))
    part = opened(indexed, tmp_path, {prefix + name: intervals for name, intervals in FEW.items()})
    counts = [g.summary()["records"] for g in (whole, part)]
    assert counts[0]["read"] == NUM_RECORDS
    assert counts[0]["kept"] == counts[1]["kept"] <= counts[1]["read"] < NUM_RECORDS / 5
    assert len(whole.windows) == len(part.windows) == 12
    for i in range(len(whole.windows)):
        a, b = whole.haplotypes(i), part.haplotypes(i)
        np.testing.assert_array_equal(a.positions, b.positions)
        np.testing.assert_array_equal(a.genotypes, b.genotypes)


@pytest.mark.parametrize(
    "change",
    [{"age": 60}, {"content": b"no index"}, {"content": gzip.compress(b"TBI\1")}, {"content": gzip.compress(b"CSI\1")}],
)
def test_an_index_that_is_old_or_damaged_is_not_used(copy: Path, change: Any) -> None:
    index(copy, **change)
    assert read(VcfReader(copy, FEW)) == NUM_RECORDS


@pytest.mark.parametrize("csi", [False, True])
def test_whatever_an_index_holds_nothing_is_raised(copy: Path, csi: bool) -> None:
    whole = gzip.decompress(VCF.with_name(VCF.name + ".tbi").read_bytes())
    whole = as_csi(whole) if csi else whole
    rng = np.random.default_rng(7)
    wide = FEW | {"chr4": np.array([[0, 2**61]])}
    for _ in range(60):
        content = bytearray(whole)
        for at in rng.integers(4, 200 if rng.random() < 0.5 else len(content), size=rng.integers(1, 4)):
            content[at : at + 4] = rng.bytes(4)
        index(copy, suffix=".csi" if csi else ".tbi", content=gzip.compress(bytes(content), 1))
        slicing.cut(copy, wide if rng.random() < 0.5 else FEW)


def test_an_index_of_another_file_is_not_used(copy: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.vcf.gz"
    other.write_bytes(gzip.compress(gzip.decompress(copy.read_bytes()), 1))
    index(other)
    assert read(VcfReader(other, FEW)) == NUM_RECORDS


def test_regions_that_need_most_of_the_file_read_it_whole(copy: Path) -> None:
    index(copy)
    everywhere = {"4": np.array([[0, 191_154_276]])}
    assert slicing.cut(copy, everywhere) is None
    assert read(VcfReader(copy, everywhere)) == read(VcfReader(copy)) == NUM_RECORDS
    assert 0 < read(VcfReader(copy, FEW)) < NUM_RECORDS


def test_a_damaged_part_is_told_as_of_the_file(copy: Path, tmp_path: Path) -> None:
    content = bytearray(copy.read_bytes())
    middle = len(content) * 20 // 51 + 20_000
    content[middle : middle + 16] = bytes(16)
    copy.write_bytes(content)
    index(copy)
    with pytest.raises(GenomeError, match=r"copy.vcf.gz: damaged gzip stream"):
        opened(copy, tmp_path, {"4": np.array([[int(a), int(b)] for _, a, b in REGIONS[19:23]])})


def test_a_file_cut_short_where_it_is_read(copy: Path, tmp_path: Path) -> None:
    copy.write_bytes(copy.read_bytes()[: copy.stat().st_size // 2])
    index(copy)
    with pytest.raises(GenomeError, match=r"copy.vcf.gz: the gzip stream breaks off"):
        opened(copy, tmp_path)
