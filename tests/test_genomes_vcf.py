"""What is read from VCF and BCF, and what is dropped."""

from __future__ import annotations

import numpy as np
import pytest

from ganinfer.genomes import GenomeSource, WindowSettings, open_genomes
from ganinfer.haplotypes import SampleSet
from tests.genome_files import convert, read, vcf_text, write_sheet, write_vcf

SNP = "1 5 A C 0|1 1|1 0|0"


def sites(genomes):
    """Positions (0-based, of the contig) and genotypes of all windows."""
    found = [(w, genomes.haplotypes(i)) for i, w in enumerate(genomes.windows)]
    positions = [int(p) + w.left for w, h in found for p in h.positions]
    return positions, [row.tolist() for _, h in found for row in h.genotypes]


def dropped(genomes):
    return genomes.summary()["records"]["dropped"]


def test_a_snp_is_read_as_it_stands(tmp_path):
    genomes = read(tmp_path, [SNP, "1 150 G T 0|0 1|0 0|1"])
    assert genomes.samples == (SampleSet("A", 3, 2, 0.0),)
    assert sites(genomes) == ([4, 149], [[0, 1, 1, 1, 0, 0], [0, 0, 1, 0, 0, 1]])
    assert genomes.phased
    assert genomes.haplotypes(1).positions.tolist() == [49]
    assert genomes.num_missing == 0
    assert all(t.missing is None and t.accessible is None and t.unusable_ancestral == 0 for t in genomes.templates)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ("1 7 A C,G 0|1 0|2 0|0", "multi-allelic"),
        ("1 7 AT A 0|1 0|1 0|0", "indel or other length change"),
        ("1 7 A AT 0|1 0|1 0|0", "indel or other length change"),
        ("1 7 AC GT 0|1 0|1 0|0", "indel or other length change"),
        ("1 7 A C,* 0|1 0|2 0|0", "spanning deletion (*)"),
        ("1 7 A * 0|1 0|1 0|0", "spanning deletion (*)"),
        ("1 7 A <DEL> 0|1 0|1 0|0", "symbolic allele or breakend"),
        ("1 7 A A[2:5[ 0|1 0|1 0|0", "symbolic allele or breakend"),
        ("1 7 N C 0|1 0|1 0|0", "symbolic allele or breakend"),
        ("1 7 A . 0|0 0|0 0|0", "invariant"),
        ("1 7 A <NON_REF> 0|0 0|0 0|0", "invariant"),
        ("1 7 A C 0|1 0|0 0|0 FILTER=q10", "FILTER"),
    ],
)
def test_what_is_no_biallelic_snp_is_dropped_and_counted(tmp_path, record, reason):
    genomes = read(tmp_path, [SNP, record, "1 9 A C 0|1 0|0 0|0"])
    assert sites(genomes)[0] == [4, 8]
    assert dropped(genomes) == {reason: 1}
    assert genomes.summary()["records"] == {"read": 3, "kept": 2, "dropped": {reason: 1}}


def test_snps_that_share_a_position_all_go(tmp_path):
    records = [SNP, "1 7 A C 0|1 0|0 0|0", "1 7 A G 0|1 0|0 0|0", "1 7 A AT 0|1 0|0 0|0", "1 8 A C,G 1|2 0|0 0|0"]
    genomes = read(tmp_path, [*records, "1 8 A T 0|1 0|0 0|0", "1 9 A C 0|1 0|0 0|0"])
    assert sites(genomes)[0] == [4, 8]
    assert dropped(genomes) == {"position occurs more than once": 4, "indel or other length change": 1}


def test_a_snp_beside_an_indel_stays(tmp_path):
    assert sites(read(tmp_path, ["1 7 A AT 0|1 0|0 0|0", "1 7 A C 0|1 0|0 0|0"]))[0] == [6]


def test_filters_can_be_changed(tmp_path):
    records = [SNP, "1 7 A C 0|1 0|0 0|0 FILTER=q10", "1 9 A C 0|1 0|0 0|0 FILTER=."]
    assert sites(read(tmp_path, records))[0] == [4, 8]
    assert sites(read(tmp_path, records, filters=("PASS",)))[0] == [4]
    assert sites(read(tmp_path, records, filters=("PASS", "q10")))[0] == [4, 6]
    assert sites(read(tmp_path, records, filters=("any",)))[0] == [4, 6, 8]


def test_separators_say_whether_genotypes_are_phased(tmp_path):
    assert read(tmp_path, [SNP, "1 9 A C 0/0 1/1 0|1"]).phased  # homozygous genotypes tell nothing
    genomes = read(tmp_path, [SNP, "1 9 A C 0/1 1/1 0|1"])
    assert not genomes.phased
    assert not genomes.haplotypes(0).phased
    summary = genomes.summary()
    assert (summary["unphased_genotypes"], summary["heterozygous_genotypes"]) == (1, 3)
    assert read(tmp_path, ["1 9 A C 0/1 1/1 0|1"], phased=True).phased
    assert not read(tmp_path, [SNP], phased=False).phased


def test_missing_genotypes_and_halves_of_them(tmp_path):
    genomes = read(
        tmp_path, [SNP, "1 7 A C .|. 0|1 .", "1 9 A C 0|. 1|1 0|0", "1 11 A C .|. ./. .", "1 220 A C 0|0 1|1 0|1"]
    )
    assert sites(genomes)[1][1:4] == [[-1, -1, 0, 1, -1, -1], [0, -1, 1, 1, 0, 0], [-1] * 6]
    assert genomes.num_missing == 4 + 1 + 6
    rows = np.unpackbits(genomes.templates[0].missing, axis=1, count=6)
    assert rows.tolist() == [[0] * 6, [1, 1, 0, 0, 1, 1], [0, 1, 0, 0, 0, 0]]  # without the row nobody is called in
    assert genomes.templates[2].missing is None
    assert genomes.summary()["missing"] == pytest.approx(11 / 30)


def test_shallow_and_doubtful_genotypes_become_missing(tmp_path):
    record = "1 5 A C 0|1:9:50 1|1:2:50 0|0:.:50 FORMAT=GT:DP:GQ"
    assert sites(read(tmp_path, [record], min_depth=3))[1] == [[0, 1, -1, -1, -1, -1]]
    assert sites(read(tmp_path, [record], min_depth=2))[1] == [[0, 1, 1, 1, -1, -1]]
    assert sites(read(tmp_path, [record], min_genotype_quality=50))[1] == [[0, 1, 1, 1, 0, 0]]
    assert sites(read(tmp_path, [record], min_genotype_quality=51))[1] == [[-1] * 6]
    assert sites(read(tmp_path, [SNP], min_depth=1))[1] == [[-1] * 6]  # a record without DP


def test_ancestral_alleles_from_an_info_key(tmp_path):
    records = [
        "1 5 A C 0|1 1|1 0|0 INFO=AA=A",
        "1 6 A C 0|1 1|. 0|0 INFO=AA=C",
        "1 7 A C 0|1 1|1 0|0 INFO=AA=c|||",
        "1 8 A C 0|1 1|1 0|0 INFO=AA=G",
        "1 9 A C 0|1 1|1 0|0",
        "1 10 A C 0|1 1|1 0|0 INFO=AA=.",
    ]
    genomes = read(tmp_path, records, ancestral="AA")
    assert sites(genomes) == ([4, 5, 6], [[0, 1, 1, 1, 0, 0], [1, 0, 0, -1, 1, 1], [1, 0, 0, 0, 1, 1]])
    summary = genomes.summary()
    assert summary["unusable_ancestral"] == pytest.approx(0.5)
    # windows without sites take the mean share, the window with six its own half, which is the mean here
    assert [t.unusable_ancestral for t in genomes.templates] == pytest.approx([0.5] * 10)
    assert sites(read(tmp_path, records, ancestral="REF"))[0] == [4, 5, 6, 7, 8, 9]
    assert read(tmp_path, records).summary()["ancestral"] == "none"


def test_haploid_individuals_make_sample_sets_of_their_own(tmp_path):
    sheet = write_sheet(tmp_path / "sheet.tsv", {"a": "A", "b": "A", "c": "B"})
    records = ["1 5 A C 1 0|1 0", "1 7 A C . 1|1 1", "1 9 A C 0 . 1"]
    genomes = read(tmp_path, records, samples=sheet)
    assert genomes.samples == (SampleSet("A", 1, 2), SampleSet("A", 1, 1), SampleSet("B", 1, 1))
    assert genomes.individuals == ("b", "a", "c")
    assert sites(genomes)[1] == [[0, 1, 1, 0], [1, 1, -1, 1], [-1, -1, 0, 1]]
    assert genomes.num_missing == 3
    assert list(genomes.summary()["diversity"]["populations"]) == ["A", "B"]


def test_a_haploid_contig(tmp_path):
    genomes = read(tmp_path, ["1 5 A C 1 0 0", "1 7 A C . 1 1"])
    assert genomes.samples == (SampleSet("A", 3, 1),)
    assert genomes.phased
    assert sites(genomes)[1] == [[1, 0, 0], [-1, 1, 1]]


def test_tetraploid_genotypes(tmp_path):
    genomes = read(tmp_path, ["1 5 A C 0/0/1/1 0/0/0/1 1/1/1/1", "1 7 A C 0/0/1/1 ./././. 1/1/1/."])
    assert genomes.samples == (SampleSet("A", 3, 4),)
    assert not genomes.phased
    assert sites(genomes)[1][1] == [0, 0, 1, 1, -1, -1, -1, -1, 1, 1, 1, -1]


def test_sampling_times_make_sample_sets(tmp_path):
    sheet = write_sheet(tmp_path / "sheet.tsv", {"a": "A", "b": "A", "c": "A"}, {"a": 100, "b": 0, "c": 100})
    genomes = read(tmp_path, [SNP], samples=sheet)
    assert genomes.samples == (SampleSet("A", 1, 2, 0.0), SampleSet("A", 2, 2, 100.0))
    assert genomes.individuals == ("b", "a", "c")


def test_individuals_are_drawn_by_seed_and_recorded(tmp_path):
    names = tuple(f"s{i}" for i in range(20))
    sheet = write_sheet(tmp_path / "sheet.tsv", {name: "AB"[i % 2] for i, name in enumerate(names)})
    record = "1 5 A C " + " ".join("0|1" for _ in names)

    def taken(seed):
        genomes = read(tmp_path, [record], names=names, samples=sheet, populations={"B": 4, "A": 3}, seed=seed)
        assert [s.population for s in genomes.samples] == ["B", "A"]
        return genomes.summary()["individuals"]

    first = taken(1)
    assert first == taken(1) != taken(2)
    assert [len(v) for v in first.values()] == [4, 3]
    assert all(members == sorted(members, key=names.index) for members in first.values())
    everyone = read(tmp_path, [record], names=names, samples=sheet, populations={"A": 10, "B": "all"})
    assert everyone.individuals == names[::2] + names[1::2]


def test_all_sites_files_tell_what_is_accessible(tmp_path):
    records = [
        "1 1 A . 0|0 0|0 0|0",
        "1 2 A . 0|0 .|. .|.",  # fewer than half called
        "1 3 A C 0|1 0|0 0|0",
        "1 4 A C .|. .|. 0|1",  # a variant fewer than half are called at
        "1 5 A . 0|0 0|0 0|0 FILTER=q10",
        "1 6 A <*> 0|0 0|0 0|0 INFO=END=40",  # a block of bases
        "1 41 AT A 0|1 0|0 0|0",
        "1 60 A C,G 0|1 2|0 0|0",
    ]
    genomes = read(tmp_path, records, length=50, accessible="from-genotypes", contigs={"1": 100})
    assert [w.left for w in genomes.windows] == [0]
    assert genomes.windows[0].accessible.tolist() == [[0, 1], [2, 3], [5, 40]]
    assert genomes.summary()["windows"]["rejected"] == {"too few accessible bases": 1}
    assert sites(genomes)[0] == [2]
    assert dropped(genomes) == {
        "invariant": 2,
        "called in fewer than half of the individuals": 2,
        "FILTER": 1,
        "indel or other length change": 1,
        "multi-allelic": 1,
    }


ALL_SITES = [
    "1 1 A . 0/0:9:50 0/0:9:50 0/0:9:50 FORMAT=GT:DP:RGQ INFO=END=20",
    "1 21 A C 0/1:9:50 0/0:9:50 0/0:9:10 FORMAT=GT:DP:GQ",
    "1 22 A . 0/0:9:10 0/0:9:10 0/0:9:50 FORMAT=GT:DP:RGQ INFO=END=40",
    "1 41 A <NON_REF> 0/0:9:50:9 0/0:9:50:2 0/0:9:50:2 FORMAT=GT:DP:GQ:MIN_DP INFO=END=60",
    "1 61 A <NON_REF> 0/0:2:50 0/0:9:50 0/0:9:50 FORMAT=GT:DP:GQ INFO=END=100",
]


def test_invariant_records_say_quality_and_depth_in_their_own_keys(tmp_path):
    """RGQ, as GATK writes without variation, and MIN_DP in blocks of bases, which have a GQ."""

    def accessible(**least):
        genomes = read(tmp_path, ALL_SITES, contigs={"1": 100}, accessible="from-genotypes", **least)
        return genomes.windows[0].accessible.tolist(), genomes.summary().get("genotypes_made_missing")

    assert accessible() == ([[0, 100]], None)
    assert accessible(min_genotype_quality=20) == ([[0, 21], [40, 100]], {"min_genotype_quality": 3})
    assert accessible(min_depth=3) == ([[0, 40], [60, 100]], {"min_depth": 3})
    assert accessible(min_depth=1) == ([[0, 100]], None)


@pytest.mark.parametrize("mode", ["w", "wz", "wb", "wbu"])
@pytest.mark.parametrize("index", [False, True])
def test_every_container_gives_the_same(tmp_path, mode, index):
    records = [SNP, "1 7 A C .|. 0|1 .|.", "2 9 A C 0|1 1|1 0|0 INFO=AA=C"]
    plain = write_vcf(tmp_path / "plain.vcf", records, contigs={"1": 200, "2": 300})
    path = convert(plain, tmp_path / f"copy-{mode}", mode)
    if index:
        path.with_name(path.name + ".csi").write_bytes(b"an index that is stale and must not be used")
    found = []
    for file in (plain, path):
        source = GenomeSource((file,), populations={"A": "all"})
        found.append(sites(open_genomes(source, WindowSettings(100), tmp_path / "cache")))
    assert found[0] == found[1]
    assert found[0][0] == [4, 6, 8]


def test_plain_gzip_is_read(tmp_path):
    path = write_vcf(tmp_path / "x.vcf.gz", [SNP])
    genomes = open_genomes(GenomeSource((path,), populations={"A": 2}), WindowSettings(100), tmp_path)
    assert sites(genomes)[0] == [4]


def test_many_files(tmp_path):
    first = write_vcf(tmp_path / "1a.vcf", ["1 5 A C 0|1 1|1 0|0"])
    second = write_vcf(tmp_path / "1b.vcf", ["1 305 A C 0|1 1|1 0|0"], samples=("c", "a", "b"))
    third = write_vcf(tmp_path / "2.vcf", ["2 5 A C 1|1 1|1 0|0"], contigs={"2": 500})
    source = GenomeSource((first, second, third), populations={"A": "all"})
    genomes = open_genomes(source, WindowSettings(100), tmp_path / "cache")
    assert {w.contig for w in genomes.windows} == {"1", "2"}
    assert sites(genomes) == ([4, 304, 4], [[0, 1, 1, 1, 0, 0], [1, 1, 0, 0, 0, 1], [1, 1, 1, 1, 0, 0]])
    assert [f["path"] for f in genomes.summary()["genotypes"]] == [str(first), str(second), str(third)]


def test_a_position_at_the_seam_of_two_files_is_a_duplicate(tmp_path):
    first = write_vcf(tmp_path / "1a.vcf", [SNP, "1 7 A C 0|1 1|1 0|0"])
    second = write_vcf(tmp_path / "1b.vcf", ["1 7 A G 0|1 1|1 0|0", "1 9 A C 0|1 1|1 0|0"])
    genomes = open_genomes(GenomeSource((first, second), populations={"A": "all"}), WindowSettings(100), tmp_path / "c")
    assert sites(genomes)[0] == [4, 8]
    assert dropped(genomes) == {"position occurs more than once": 2}


def test_chr_prefixes_are_reconciled(tmp_path):
    (tmp_path / "r.bed").write_text("1\t0\t200\n")
    (tmp_path / "a.bed.txt").write_text("chr1\t0\t100\n")
    (tmp_path / "map.txt").write_text("pos chr rate cM\n1 1 1.0 0\n1 300 1.0 0.0003\n")
    genomes = read(
        tmp_path,
        ["chr1 5 A C 0|1 1|1 0|0", "chr1 150 A C 0|1 1|1 0|0"],
        contigs={"chr1": 500},
        regions=tmp_path / "r.bed",
        accessible=tmp_path / "a.bed.txt",
        recombination_map=tmp_path / "map.txt",
    )
    assert [(w.contig, w.left) for w in genomes.windows] == [("chr1", 0)]
    assert genomes.windows[0].recombination.mean_rate == pytest.approx(1.0034e-8, rel=1e-3)


@pytest.mark.parametrize("regions", [None, "1\t0\t1000\n2\t0\t1000\n", "chr1\t0\t1000\nchr2\t0\t1000\n"])
def test_files_may_spell_contigs_in_two_ways(tmp_path, regions):
    """As if both said ``chr``: every record is read once, regions and masks hold for both."""
    halves = ["{}1 5 A C 0|1 1|1 0|0"], ["{}1 305 A C 0|1 1|1 0|0", "{}2 5 A C 1|1 1|0 0|0"]
    (tmp_path / "r.bed").write_text(regions or "")
    found = []
    for prefixes in (("chr", "chr"), ("chr", "")):
        paths = [tmp_path / f"{i}{prefix}.vcf" for i, prefix in enumerate(prefixes)]
        for path, half, prefix in zip(paths, halves, prefixes, strict=True):
            contigs = {f"{prefix}1": 1000, f"{prefix}2": 1000}
            write_vcf(path, [record.format(prefix) for record in half], contigs=contigs)
        source = GenomeSource(tuple(paths), populations={"A": "all"}, regions=tmp_path / "r.bed" if regions else None)
        genomes = open_genomes(source, WindowSettings(100), tmp_path / "cache")
        found.append(([(w.contig, w.left) for w in genomes.windows], sites(genomes), genomes.summary()["records"]))
    assert found[0] == found[1]
    assert len(found[1][0]) == 20
    assert found[1][1][0] == [4, 304, 4]


def test_only_regions_are_read(tmp_path):
    (tmp_path / "r.bed").write_text("1\t4\t104\n1\t200\t300\n")
    records = [
        "1 4 A C 0|1 1|1 0|0",
        "1 5 A C 0|1 1|1 0|0",
        "1 104 A C 0|1 1|1 0|0",
        "1 105 A C 0|1 1|1 0|0",
        "1 201 A C 0|1 1|1 0|0",
    ]
    genomes = read(tmp_path, records, regions=tmp_path / "r.bed")
    assert [(w.left, w.right) for w in genomes.windows] == [(4, 104), (200, 300)]
    assert sites(genomes)[0] == [4, 103, 200]
    assert dropped(genomes) == {"outside the regions": 2}


def test_ploidy_is_judged_inside_the_regions(tmp_path):
    records = ["X 5 A C 0|1 1|1 0|0", "X 205 A C 0 1 0|1"]
    (tmp_path / "r.bed").write_text("X\t200\t300\n")
    genomes = read(tmp_path, records, contigs={"X": 400}, regions=tmp_path / "r.bed")
    assert genomes.samples == (SampleSet("A", 1, 2), SampleSet("A", 2, 1))


def test_contig_lengths_come_from_the_header_then_the_map(tmp_path):
    assert len(read(tmp_path, [SNP], contigs={"1": 500}).windows) == 5
    assert len(read(tmp_path, [SNP], contigs={"1": 500}, contig_lengths={"chr1": 300}).windows) == 3
    (tmp_path / "map.txt").write_text("1 1 1.0 0\n1 400 1.0 0.0004\n")
    genomes = read(tmp_path, [SNP], contigs={"1": None}, recombination_map=tmp_path / "map.txt")
    assert len(genomes.windows) == 4
    assert len(read(tmp_path, [SNP], contigs={}, contig_lengths={"1": 200}).windows) == 2


def test_excluded_bases_are_not_accessible(tmp_path):
    (tmp_path / "x.bed").write_text("1\t0\t10\n1\t90\t160\n")
    genomes = read(tmp_path, [SNP, "1 50 A C 0|1 0|0 0|0"], contigs={"1": 200}, exclude=(tmp_path / "x.bed",))
    assert [w.accessible.tolist() for w in genomes.windows] == [[[10, 90]]]
    assert genomes.templates[0].accessible.tolist() == [[10, 90]]
    assert sites(genomes)[0] == [49]


def test_chunks_change_nothing(tmp_path):
    rng = np.random.default_rng(1)
    positions = np.sort(rng.integers(1, 900, 200))
    words = np.array(["0|0", "0|1", "1|0", "1|1", ".|."])
    records = [f"1 {p} A C " + " ".join(rng.choice(words, 3)) for p in positions]
    path = write_vcf(tmp_path / "x.vcf", records)
    found = []
    for number, chunk_bytes in enumerate((1, 60, 10**7)):
        source = GenomeSource((path,), populations={"A": "all"})
        genomes = open_genomes(source, WindowSettings(100), tmp_path / str(number), chunk_bytes=chunk_bytes)
        found.append((sites(genomes), {k: v for k, v in genomes.summary().items() if k != "genotypes"}))
    assert found[0] == found[1] == found[2]
    number = {p: sum(positions == p) for p in positions.tolist()}
    carried = {p: sum("1" in r.split(" C ")[1] for r in records if r.split()[1] == str(p)) for p in number}
    assert found[0][0][0] == [p - 1 for p in number if number[p] == 1 or carried[p] == 1]


def test_contigs_may_have_no_record_where_few_are_expected(tmp_path):
    (tmp_path / "r.bed").write_text("1\t0\t100\n2\t0\t100\n3\t0\t100\n")
    records = [SNP, "3 9 A C 0|1 1|1 0|0"]
    genomes = read(tmp_path, records, contigs={"1": 100, "2": 100, "3": 100}, regions=tmp_path / "r.bed")
    assert [w.contig for w in genomes.windows] == ["1", "2", "3"]
    assert [genomes.haplotypes(i).num_sites for i in range(3)] == [1, 0, 1]
    assert len({w.block for w in genomes.windows}) == 3


def test_the_writer_of_these_tests_is_read_by_htslib_too(tmp_path):
    assert vcf_text([SNP]).endswith("1\t5\t.\tA\tC\t.\tPASS\t.\tGT\t0|1\t1|1\t0|0\n")
