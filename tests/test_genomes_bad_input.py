"""Wrong input: every message says what is wrong, where, and what would be right; nothing is left half-written."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import sys

import pytest

from ganinfer.genomes import GenomeError, GenomeSource, WindowSettings, open_genomes
from tests.genome_files import convert, read, vcf_text, write_sheet, write_vcf

SNP = "1 5 A C 0|1 1|1 0|0"
MANY = [f"1 {p} A C 0|1 1|1 0|0" for p in range(5, 900)]


def open_file(path, folder, length=100, **source):
    source.setdefault("populations", {"A": "all"})
    return open_genomes(GenomeSource((path,), **source), WindowSettings(length), folder / "cache")


def nothing_written(folder):
    return not list((folder / "cache").glob("*")) if (folder / "cache").exists() else True


def fails(call, *patterns):
    with pytest.raises(GenomeError, match=patterns[0]) as caught:
        call()
    for pattern in patterns[1:]:
        assert re.search(pattern, str(caught.value)), str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("records", "patterns"),
    [
        ([SNP, "1 4 A C 0|1 1|1 0|0"], ["record 2 at 1:4 comes after 1:5", "bcftools sort"]),
        ([SNP, "2 4 A C 0|1 1|1 0|0", SNP], ["record 3 returns to contig 1 after 2:4", "bcftools sort"]),
        ([SNP, "1 7 A C 3 4 5 FORMAT=DP"], ["record 2 at 1:7 has no GT"]),
        ([SNP, "1 7 A C 0|1 1|1"], ["line 14: 11 columns, the #CHROM line names 12"]),
        ([SNP, "1 7 A C 0|1 1|1 x|y"], ["record 2 cannot be read", "value not a number"]),
        ([SNP, "1 x A C 0|1 1|1 0|0"], ["record 2 cannot be read", "position 'x'"]),
        ([SNP, "1 7 A C 0 1|1 0|0"], ["sample a has 1 allele at 1:7 but 2 at 1:5", "data.regions"]),
        ([SNP, "1 7 A C 0|1|1|1 1|1 0|0"], ["1:7: a genotype of 4 alleles where the first records have 2"]),
        ([], ["no record follows the header"]),
        ([SNP, "1 7000 A C 0|1 1|1 0|0"], ["record 2 at 1:7000 lies beyond the contig's end 1000"]),
    ],
)
def test_records_out_of_order_or_damaged(tmp_path, records, patterns):
    contigs = {"1": 1000, "2": 1000}
    if len(records) == 2 and "4 alleles" in patterns[0]:
        small = {"chunk_bytes": 1}
        path = write_vcf(tmp_path / "x.vcf", records, contigs=contigs)
        source = GenomeSource((path,), populations={"A": "all"})
        fails(lambda: open_genomes(source, WindowSettings(100), tmp_path / "cache", **small), *patterns)
    else:
        fails(lambda: read(tmp_path, records, contigs=contigs), *patterns)
    assert nothing_written(tmp_path)


def test_contigs_of_different_ploidy(tmp_path):
    records, contigs = [SNP, "X 7 A C 0 1|1 0|0"], {"1": 1000, "X": 1000}
    message = "sample a has 1 chromosomes of contig X but 2 of 1; analyse contigs of different ploidy in separate"
    fails(lambda: read(tmp_path, records, contigs=contigs), message)
    (tmp_path / "r.bed").write_text("1\t0\t1000\n")
    assert len(read(tmp_path, records, contigs=contigs, regions=tmp_path / "r.bed").windows) == 10


@pytest.mark.parametrize(
    ("change", "patterns"),
    [
        (lambda b: b[: len(b) // 2], ["the gzip stream breaks off", "get it again"]),
        (lambda b: b[:-9], ["the gzip stream breaks off"]),
        (lambda b: b[: len(b) // 2] + b"\0\1\2\3" * 4 + b[len(b) // 2 + 16 :], ["damaged gzip stream"]),
        (lambda b: b"", ["the file is empty"]),
        (lambda b: bytes(range(256)) * 20, ["neither VCF nor BCF"]),
        (lambda b: gzip.compress(b"sample\tpopulation\n"), ["neither VCF nor BCF", "##fileformat=VCF"]),
        (lambda b: gzip.decompress(b)[:-7], ["the last line has no end", "get it again"]),
        (lambda b: gzip.decompress(b)[:90], ["no line begins with #CHROM"]),
        (lambda b: gzip.decompress(b) + b"\n", ["line 907: the line is empty"]),
        (lambda b: gzip.decompress(b).replace(b"ID=GT", b"ID=GX"), ["no FORMAT/GT", "it defines DP, GQ, GX"]),
        (lambda b: gzip.decompress(b).replace(b"\ta\tb\tc\n", b"\ta\ta\tc\n"), ["sample a is there twice"]),
        (
            lambda b: gzip.decompress(b).replace(b"1\t800\t.\tA", b"1\t800\t.\t\xff"),
            ["record 796 near 1:800 cannot be read: .*utf-8"],
        ),
    ],
)
def test_damaged_files(tmp_path, change, patterns):
    path = tmp_path / "x.vcf.gz"
    path.write_bytes(change(gzip.compress(vcf_text(MANY).encode())))
    fails(lambda: open_file(path, tmp_path), re.escape(str(path)), *patterns)
    assert nothing_written(tmp_path)


@pytest.mark.parametrize("mode", ["wz", "wb", "wbu"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.99])
def test_truncated_copies_by_htslib(tmp_path, mode, share):
    whole = convert(write_vcf(tmp_path / "x.vcf", MANY), tmp_path / "whole", mode).read_bytes()
    path = tmp_path / "cut"
    path.write_bytes(whole[: int(len(whole) * share)])
    fails(lambda: open_file(path, tmp_path), "breaks off|ends inside a record|last line has no end")
    assert nothing_written(tmp_path)


def test_a_missing_file(tmp_path):
    fails(lambda: open_file(tmp_path / "x.vcf", tmp_path), "x.vcf: there is no such file; data.genotypes names it")
    vcf = write_vcf(tmp_path / "x.vcf", [SNP])
    for name in ("samples", "regions", "accessible", "recombination_map"):
        gone = {name: tmp_path / "gone"}
        fails(lambda gone=gone: open_file(vcf, tmp_path, **gone), "gone: cannot be read: No such file")


def test_keys_that_the_header_does_not_define(tmp_path):
    fails(lambda: read(tmp_path, [SNP], ancestral="ANC"), "no INFO/ANC, named by data.ancestral", "AA, END")
    text = vcf_text([SNP]).replace("ID=DP", "ID=XX").replace("ID=GQ", "ID=YY")
    (tmp_path / "y.vcf").write_text(text)
    fails(lambda: open_file(tmp_path / "y.vcf", tmp_path, min_depth=3), "no FORMAT/DP, needed for data.min_depth")
    fails(lambda: open_file(tmp_path / "y.vcf", tmp_path, min_genotype_quality=3), "no FORMAT/GQ")


def damaged_and_late(folder, **changed):
    """Two files: the first is cut short, which only reading it to its end shows; the second's header is changed."""
    first = folder / "first.vcf"
    first.write_text(vcf_text(MANY)[:-7])
    text = vcf_text(["1 950 A C 0|1 1|1 0|0"])
    for old, new in changed.values():
        text = text.replace(old, new)
    (folder / "second.vcf").write_text(text)
    return first, folder / "second.vcf"


@pytest.mark.parametrize(
    ("change", "source", "message"),
    [
        (("ID=AA", "ID=XX"), {"ancestral": "AA"}, "second.vcf: the header defines no INFO/AA"),
        (("ID=DP", "ID=XX"), {"min_depth": 3}, "second.vcf: the header defines no FORMAT/DP"),
        (("\ta\tb\tc", "\ta\tb\td"), {}, "second.vcf: 1 of 3 samples of .* are not in the genotypes: c"),
        (("=1,length=1000", "=1,length=999"), {}, "second.vcf: contig 1 is 999 bases long, 1000 in an earlier file"),
    ],
)
def test_every_header_is_looked_at_before_any_file_is_read(tmp_path, change, source, message):
    paths = damaged_and_late(tmp_path, header=change)

    def opening():
        open_genomes(GenomeSource(paths, populations={"A": "all"}, **source), WindowSettings(100), tmp_path / "cache")

    fails(opening, message)
    fails(lambda: open_file(paths[0], tmp_path), "first.vcf: the last line has no end")


def test_too_few_windows_or_blocks_are_said_before_any_file_is_read(tmp_path):
    paths = damaged_and_late(tmp_path)
    (tmp_path / "r.bed").write_text("1\t0\t950\n")
    for regions in (None, tmp_path / "r.bed"):
        source = GenomeSource(paths, populations={"A": "all"}, regions=regions)
        for settings, message in (
            (WindowSettings(2000), "no window of 2,000 bases is left"),
            (WindowSettings(100, min_blocks=2), r"2 folds need at least 2 blocks of windows, the regions have 1 \("),
            (WindowSettings(100, 0.5, 500, 2), "first.vcf: the last line has no end"),
        ):
            fails(lambda s=source, w=settings: open_genomes(s, w, tmp_path / "cache"), message)
    assert nothing_written(tmp_path)


def test_depths_that_are_no_numbers(tmp_path):
    record = "1 5 A C 0|1:9 1|1:2 0|0:. FORMAT=GT:DP"
    text = vcf_text([record]).replace("ID=DP,Number=1,Type=Integer", "ID=DP,Number=1,Type=String")
    (tmp_path / "y.vcf").write_text(text)
    fails(
        lambda: open_file(tmp_path / "y.vcf", tmp_path, min_depth=3),
        "defines FORMAT/DP as String, needed for data.min_depth as Number=1,Type=Integer",
    )


def test_ancestral_alleles_that_never_fit(tmp_path):
    fails(lambda: read(tmp_path, [SNP], ancestral="AA"), "data.ancestral: AA gives no site", "none to fold")


@pytest.mark.parametrize(
    ("sheet", "patterns"),
    [
        ("", ["first line must name", "an empty file"]),
        ("sample,population\na,A\n", ["tab separated columns sample and population", "sample,population"]),
        ("a\tA\nb\tA\n", ["first line must name"]),
        ("sample\tpopulation\n", ["no sample follows the header"]),
        ("sample\tpopulation\na\tA\nb\tA\na\tB\n", ["line 4: sample a is there twice, first in line 2"]),
        ("sample\tpopulation\na\n", ["line 2: 1 columns, the header names 2"]),
        ("sample\tpopulation\na\t\n", ["line 2: the population is empty"]),
        ("sample\tpopulation\ttime\na\tA\t-3\n", ["line 2: time must be", "-3"]),
        ("sample\tpopulation\ttime\na\tA\tlong ago\n", ["line 2: time must be", "long ago"]),
        ("sample\tpopulation\na\tA\nz\tA\ny\tA\n", ["2 of 3 samples of .*sheet.tsv are not in the genotypes: z, y"]),
    ],
)
def test_sample_sheets(tmp_path, sheet, patterns):
    (tmp_path / "sheet.tsv").write_text(sheet)
    fails(lambda: read(tmp_path, [SNP], samples=tmp_path / "sheet.tsv"), *patterns)
    assert nothing_written(tmp_path)


def test_populations(tmp_path):
    sheet = write_sheet(tmp_path / "sheet.tsv", {"a": "A", "b": "A", "c": "B"})

    def ask(populations):
        return lambda: read(tmp_path, [SNP], samples=sheet, populations=populations)

    fails(ask({"C": 1}), "population C of data.populations is empty; there are A \\(2\\), B \\(1\\)")
    fails(ask({"A": 3}), "asks for 3 individuals of A, there are 2; ask for fewer, or all")
    fails(ask({"A": 0}), "data.populations.A must be a number of individuals from 1 up, or all; got 0")
    fails(ask({"A": "some"}), "data.populations.A must be .* got 'some'")
    fails(lambda: read(tmp_path, [SNP], populations={}), "name a sample sheet in data.samples")
    fails(lambda: GenomeSource(()), "data.genotypes names no file")
    assert nothing_written(tmp_path)


@pytest.mark.parametrize(
    ("bed", "patterns"),
    [
        ("1\t100\t50\n", ["line 1: start 100 comes after end 50", "swapped"]),
        ("#ok\ntrack name=x\n1\t0\t100\n1\t100\n", ["line 4: a BED line is contig, start and end", "1"]),
        (
            "chrom\tstart\tend\n1\t0\t100\n",
            ["line 1: start and end must be whole numbers", "header line has to begin with #"],
        ),
        ("1\t0\t1e3\n", ["line 1: start and end must be whole numbers", "1e3"]),
        ("1\t-5\t100\n", ["line 1: start -5 is negative"]),
        ("# nothing\n", ["no interval in the file"]),
        ("1\t7\t7\n", ["no interval in the file"]),
        ("9\t0\t100\n", ["name contig '?9"]),
        ("\x00\x01\xff\t3", ["BED line|not a text file"]),
    ],
)
def test_beds(tmp_path, bed, patterns):
    path = tmp_path / "x.bed"
    path.write_text(bed, encoding="latin-1")
    for name, value in (("regions", path), ("accessible", path), ("exclude", (path,))):
        source = {name: value}
        fails(lambda source=source: read(tmp_path, [SNP], **source), re.escape(str(path)), *patterns)
    assert nothing_written(tmp_path)


def test_regions_where_there_is_no_data(tmp_path):
    (tmp_path / "r.bed").write_text("1\t0\t200\nchr7\t0\t100\n")
    fails(
        lambda: read(tmp_path, [SNP], regions=tmp_path / "r.bed"), "line 2: regions name contig 'chr7'", "they have 1"
    )
    (tmp_path / "r.bed").write_text("1\t0\t2000\n")
    fails(
        lambda: read(tmp_path, [SNP], regions=tmp_path / "r.bed"),
        "a region of contig 1 ends at 2000, the contig at 1000",
    )
    (tmp_path / "r.bed").write_text("1\t0\t900\n2\t0\t900\n")
    contigs = {"1": 1000, "2": 1000}
    fails(
        lambda: read(tmp_path, MANY, contigs=contigs, regions=tmp_path / "r.bed"),
        "contig 2, .* no record where some 895",
    )


@pytest.mark.parametrize(
    ("text", "patterns"),
    [
        ("1 1 1.0 0\n1 50 1.0 1\n1 40 1.0 2\n", ["line 3: position 40 follows 50; positions must increase"]),
        ("1 1 1.0 0\n1 50 1.0 1\n1 60 1.0 .5\n", ["line 3: map 0.5 follows 1; maps must not decrease"]),
        ("1 1 1.0 0\n1 50 -1.0 1\n", ["line 2: rate -1.0 must be finite and not negative"]),
        ("1 1 nan 0\n1 50 1.0 1\n", ["line 1: rate nan"]),
        ("1 1.5 1 0\n1 50 1.0 1\n", ["line 1: position 1.5 must be a whole number"]),
        ("1 1 1.0 0\n1 x 1.0 1\n", ["line 2: a HapMap row is contig, position, rate"]),
        ("1 1 1.0 0\n", ["line 1: a map needs at least two rows"]),
        ("pos rate map\n", ["no row in the file"]),
        ("1 1 1 0\n2 1 1 0\n1 5 1 1\n", ["line 3: contig 1 again, after 2"]),
        ("2 1 1.0 0\n2 50 1.0 1\n", ["no recombination map for contig 1; there are maps for 2"]),
    ],
)
def test_recombination_maps(tmp_path, text, patterns):
    (tmp_path / "map.txt").write_text(text)
    fails(lambda: read(tmp_path, [SNP], recombination_map=tmp_path / "map.txt"), *patterns)
    assert nothing_written(tmp_path)


def test_a_map_given_for_the_wrong_contig(tmp_path):
    (tmp_path / "map.txt").write_text("2 1 1.0 0\n2 50 1.0 1\n")
    fails(
        lambda: read(tmp_path, [SNP], recombination_map={"1": tmp_path / "map.txt"}),
        "given as the map of contig 1, .* of 2",
    )


def test_an_unknown_contig_length_is_asked_for(tmp_path):
    fails(
        lambda: read(tmp_path, [SNP], contigs={"1": None}), "the length of contig 1 is not known", "data.contig_lengths"
    )


def test_all_windows_filtered(tmp_path):
    (tmp_path / "a.bed").write_text("1\t0\t40\n1\t150\t180\n")
    fails(
        lambda: read(tmp_path, [SNP], accessible=tmp_path / "a.bed", contigs={"1": 250}),
        "no window of 100 bases is left: 1 fell as end of a region, shorter than a window; 2 fell as too few acc",
        "share of 0.40, windows.min_accessible is 0.5",
    )
    assert nothing_written(tmp_path)
    message = "no window of 2,000 bases is left: the longest of the regions has 1,000. Lower windows.length"
    fails(lambda: read(tmp_path, [SNP], length=2000), message)
    assert nothing_written(tmp_path)


def test_filters_that_drop_everything(tmp_path):
    message = "no biallelic SNP in the 10 windows; of 1 records 0 were kept, dropped: 1 FILTER; data.filters says which"
    fails(lambda: read(tmp_path, ["1 5 A C 0|1 1|1 0|0 FILTER=q10"]), message)
    (tmp_path / "r.bed").write_text("1\t500\t1000\n")
    message = "dropped: 1 outside the regions; look at data.regions: are these the same reference's coordinates"
    fails(lambda: read(tmp_path, [SNP], regions=tmp_path / "r.bed"), message)


def test_an_all_sites_file_of_which_nothing_is_left_says_why(tmp_path):
    records = ["1 1 A . 0/0:9 0/0:9 0/0:9 FORMAT=GT:DP INFO=END=900", "1 901 A C 0/1:99 0/0:99 0/0:99 FORMAT=GT:DP"]
    fails(
        lambda: read(tmp_path, records, accessible="from-genotypes", min_depth=10),
        "no window of 100 bases is left: 10 fell as too few accessible bases",
        "here 1 .*; of 2 records 1 were kept, dropped: 1 called in fewer than half of the individuals; "
        "data.min_depth made 3 called genotypes missing",
    )
    fails(
        lambda: read(tmp_path, [SNP, "1 9 A C 0|1 1|1 0|0"], accessible="from-genotypes"),
        "from-genotypes takes the bases that have a record .* here 2 \\(a file of variants alone has none",
    )


def test_genomes_without_a_snp(tmp_path):
    records = ["1 5 AT A 0|1 1|1 0|0", "1 7 A C,G 0|1 1|2 0|0", "1 9 AT A 0|1 1|1 0|0"]
    message = (
        "no biallelic SNP in the 10 windows; of 3 records 0 were kept, dropped: 2 indel or other length change, 1 m"
    )
    fails(lambda: read(tmp_path, records), message)
    (tmp_path / "x.bed").write_text("1\t0\t10\n")
    fails(
        lambda: read(tmp_path, [SNP], exclude=(tmp_path / "x.bed",)),
        "no biallelic SNP in the 10 windows; of 1 records 1",
    )


def test_excluded_intervals_may_lie_on_contigs_without_records(tmp_path):
    (tmp_path / "x.bed").write_text("chr6\t0\t10\n")
    contigs = {"1": 1000, "6": 1000}
    assert len(read(tmp_path, [SNP], contigs=contigs, exclude=(tmp_path / "x.bed",)).windows) == 10


def test_window_settings():
    fails(lambda: WindowSettings(0), "windows.length must be at least 1 base, got 0")
    fails(lambda: WindowSettings(100, 1.5), "windows.min_accessible is a share in \\[0, 1\\], got 1.5")
    fails(lambda: WindowSettings(100, 0.5, 50), "windows.block_length 50 must be at least windows.length 100")


def test_files_of_one_contig_that_overlap(tmp_path):
    first = write_vcf(tmp_path / "a.vcf", [SNP, "1 9 A C 0|1 1|1 0|0"])
    second = write_vcf(tmp_path / "b.vcf", ["1 7 A C 0|1 1|1 0|0"])
    other = write_vcf(tmp_path / "c.vcf", ["2 7 A C 0|1 1|1 0|0"], contigs={"2": 100})
    longer = write_vcf(tmp_path / "d.vcf", ["1 20 A C 0|1 1|1 0|0"], contigs={"1": 999})
    late = write_vcf(tmp_path / "e.vcf", ["1 20 A C 0|1 1|1 0|0"])

    def together(*paths):
        source = GenomeSource(paths, populations={"A": "all"})
        return lambda: open_genomes(source, WindowSettings(100), tmp_path / "cache")

    fails(together(first, second), "two files hold contig 1 up to 9 and from 7 on")
    fails(together(first, other, late), "contig 1 comes back after 2; name the files of one contig one after the other")
    fails(together(first, longer), "contig 1 is 999 bases long, 1000 in an earlier file; one reference is needed")
    assert nothing_written(tmp_path)


def test_no_contig_is_read_twice_under_two_names(tmp_path):
    """The same records again, as ``1`` instead of ``chr1``, in a second file or in the same."""
    records = [SNP, "1 9 A C 0|1 1|1 0|0"]
    renamed = [f"chr{record}" for record in records]
    first = write_vcf(tmp_path / "a.vcf", renamed, contigs={"chr1": 1000})
    second = write_vcf(tmp_path / "b.vcf", records)
    source = GenomeSource((first, second), populations={"A": "all"})
    message = "two files hold contig chr1 up to 5 and from 5 on"
    fails(lambda: open_genomes(source, WindowSettings(100), tmp_path / "cache"), message)
    both = write_vcf(tmp_path / "c.vcf", [*records, *renamed], contigs={"1": 1000, "chr1": 1000})
    fails(lambda: open_file(both, tmp_path), "c.vcf: records on contig 1 and on contig chr1, .* the same one")
    assert nothing_written(tmp_path)
    declared = write_vcf(tmp_path / "d.vcf", renamed, contigs={"1": 1000, "chr1": 1000})
    assert len(open_file(declared, tmp_path).windows) == 10


_CRAMPED = """
import resource, signal, sys
from pathlib import Path
from ganinfer.genomes import *
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
try:
    open_genomes(GenomeSource((Path(sys.argv[1]),), populations={"A": "all"}), WindowSettings(100), Path(sys.argv[2]))
except GenomeError as error:
    print(error)
"""


@pytest.mark.parametrize("limit", [50, 200, 2000])
def test_a_full_disk(tmp_path, limit):
    path = write_vcf(tmp_path / "x.vcf", MANY)
    command = [sys.executable, "-c", _CRAMPED, str(path), str(tmp_path / "cache"), str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "the haplotype store cannot be written" in done.stdout
    assert "is full; nothing was kept. Free some space, or choose another place: the cache" in done.stdout
    assert done.stderr == ""
    assert nothing_written(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_that_may_not_be_written(tmp_path):
    path = write_vcf(tmp_path / "x.vcf", [SNP])
    (tmp_path / "cache").mkdir(mode=0o555)
    fails(lambda: open_file(path, tmp_path), "the haplotype store cannot be written: Permission denied")
