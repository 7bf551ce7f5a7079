"""Which sites are biallelic is a question to the individuals chosen: who else was sequenced must not matter."""

from __future__ import annotations

import shutil

import msprime
import numpy as np
import pytest

from ganinfer.genomes import GenomeError, GenomeSource, WindowSettings, open_genomes
from tests.genome_files import convert, read, write_sheet, write_vcf

SNP = "1 5 A C 0|1 1|1 0|0 0|0"
#: Lists of alternatives, and how often; of the last kinds only those whose listed rest nobody chosen has are SNPs.
ALTERNATIVES = (["C"] * 6, ["C", "G"] * 3, ["C", "G", "T"], ["C", "*"], ["G", "AT"], ["C", "<DEL>"], ["T", "<NON_REF>"])
NAMES = tuple(f"s{i}" for i in range(8))
CHOSEN = (1, 4, 6)


def reading(folder, records, **source):
    """Four individuals, of which the last is not asked for."""
    sheet = write_sheet(folder / "sheet.tsv", {"a": "A", "b": "A", "c": "A", "d": "other"})
    return read(folder, records, names=("a", "b", "c", "d"), samples=sheet, populations={"A": "all"}, **source)


def kept(genomes):
    """Position and genotypes of all sites that vary."""
    rows = []
    for i, window in enumerate(genomes.windows):
        haplotypes = genomes.haplotypes(i)
        pairs = zip(haplotypes.positions, haplotypes.genotypes, strict=True)
        rows += [(int(p) + window.left, g.tolist()) for p, g in pairs if {0, 1} <= set(g.tolist())]
    return rows


@pytest.mark.parametrize(
    ("record", "genotypes"),
    [
        ("1 7 A C,G 0|1 0|0 0|. 0|2", [0, 1, 0, 0, 0, -1]),
        ("1 7 A C,G 0|2 0|0 0|0 0|1", [0, 1, 0, 0, 0, 0]),
        ("1 7 A C,G 1|2 1|1 2|2 0|0", [0, 1, 0, 0, 1, 1]),
        ("1 7 A C,G,T 1|0 1|1 0|0 3|2", [1, 0, 1, 1, 0, 0]),
        ("1 7 A C,* 1|0 1|1 0|0 2|2", [1, 0, 1, 1, 0, 0]),
        ("1 7 A AT,C 2|0 2|2 0|0 1|0", [1, 0, 1, 1, 0, 0]),
        ("1 7 A C,<DEL> 1|0 1|1 0|0 0|2", [1, 0, 1, 1, 0, 0]),
        ("1 7 A <NON_REF>,C 2|0 2|2 1|0 0|2", [1, 0, 1, 1, -1, 0]),
    ],
)
def test_alleles_that_nobody_chosen_has_do_not_count(tmp_path, record, genotypes):
    genomes = reading(tmp_path, [SNP, record])
    assert kept(genomes)[1:] == [(6, genotypes)]
    assert genomes.summary()["records"] == {"read": 2, "kept": 2, "dropped": {}}


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ("1 7 A C,G 0|1 2|0 0|0 0|0", "multi-allelic"),
        ("1 7 A C,G,T 1|2 3|1 1|1 0|0", "multi-allelic"),
        ("1 7 A C,* 0|1 2|0 0|0 0|0", "spanning deletion (*)"),
        ("1 7 A C,AT 0|1 2|0 0|0 0|0", "indel or other length change"),
        ("1 7 A C,<DEL> 0|1 2|0 0|0 0|0", "symbolic allele or breakend"),
        ("1 7 A C,N 1|1 2|1 1|1 0|0", "symbolic allele or breakend"),
        ("1 7 AT A,CT 0|2 0|0 0|0 1|1", "indel or other length change"),
        ("1 7 A C,G 0|0 .|. 0|0 1|2", "invariant"),
    ],
)
def test_what_the_chosen_have_is_dropped_and_counted_as_ever(tmp_path, record, reason):
    genomes = reading(tmp_path, [SNP, record])
    assert kept(genomes) == [(4, [0, 1, 1, 1, 0, 0])]
    assert genomes.summary()["records"] == {"read": 2, "kept": 1, "dropped": {reason: 1}}


def test_genotypes_that_are_made_missing_do_not_count(tmp_path):
    record = "1 7 A C,G 0|1:9 0|2:1 0|0:9 0|0:9 FORMAT=GT:DP"
    with pytest.raises(GenomeError, match=r"no biallelic SNP .* dropped: 1 multi-allelic"):
        reading(tmp_path, [record])
    assert kept(reading(tmp_path, [record], min_depth=5)) == [(6, [0, 1, -1, -1, 0, 0])]


def test_a_site_split_into_records_is_one_too(tmp_path):
    records = [SNP, "1 7 A C 0|1 0|0 0|0 0|0", "1 7 A G 0|0 0|0 0|0 0|1"]
    genomes = reading(tmp_path, records)
    assert kept(genomes) == [(4, [0, 1, 1, 1, 0, 0]), (6, [0, 1, 0, 0, 0, 0])]
    assert genomes.summary()["records"]["dropped"] == {"invariant": 1}
    both = reading(tmp_path, [SNP, records[1], "1 7 A G 0|0 0|0 1|0 0|1"])
    assert both.summary()["records"]["dropped"] == {"position occurs more than once": 2}


def test_ancestral_alleles_are_one_of_the_two_that_are_left(tmp_path):
    records = [f"1 {7 + i} A C,G 0|2 2|2 0|0 1|1 INFO=AA={allele}" for i, allele in enumerate("AGC")]
    records += [f"1 {17 + i} A C,G 1|2 2|2 1|1 0|0 INFO=AA={allele}" for i, allele in enumerate("AGC")]
    forward, backward = [0, 1, 1, 1, 0, 0], [1, 0, 0, 0, 1, 1]
    found = kept(reading(tmp_path, records, ancestral="AA"))
    assert found == [(6, forward), (7, backward), (17, backward), (18, forward)]
    assert [position for position, _ in kept(reading(tmp_path, records, ancestral="REF"))] == [6, 7, 8]
    assert len(kept(reading(tmp_path, records))) == 6


def random_records(rng, number=300):
    """Records of eight individuals, as words of each column."""
    records = []
    for position in np.sort(rng.choice(np.arange(1, 2000), number)).tolist():
        alternatives = list(dict.fromkeys(ALTERNATIVES[rng.integers(len(ALTERNATIVES))]))
        weights = np.array([6.0, 2.0, *[0.3] * (len(alternatives) - 1), 0.2])
        alleles = [*range(len(alternatives) + 1), -1]
        genotypes = rng.choice(alleles, (len(NAMES), 2), p=weights / weights.sum())
        records.append((position, alternatives, genotypes, "ACGT"[rng.integers(4)]))
    return records


def as_text(records, columns, trimmed):
    """Lines for some individuals; ``trimmed`` of alternatives that none of them has."""
    lines = []
    for position, alternatives, genotypes, ancestral in records:
        chosen = genotypes[list(columns)]
        listed = [i + 1 for i in range(len(alternatives)) if not trimmed or (chosen == i + 1).any()]
        if not listed:
            continue
        number = {-1: ".", 0: "0", **{old: str(new) for new, old in enumerate(listed, 1)}}
        words = ["|".join(number[a] for a in pair) for pair in chosen.tolist()]
        named = ",".join(alternatives[i - 1] for i in listed)
        lines.append(f"1 {position} A {named} {' '.join(words)} INFO=AA={ancestral}")
    return lines


def as_zarr(path):
    from bio2zarr import vcf as vcf2zarr

    vcf2zarr.convert([convert(path, path.with_suffix(".vcf.gz"), "wz")], path.with_suffix(".vcz"))
    return path.with_suffix(".vcz")


@pytest.mark.parametrize("ancestral", ["none", "REF", "AA"])
@pytest.mark.parametrize("seed", [1, 2])
def test_who_else_was_sequenced_changes_nothing(tmp_path, ancestral, seed):
    """As files of the chosen alone, with and without the alternatives that only others have; in every format."""
    records, contigs = random_records(np.random.default_rng(seed)), {"1": 2000}
    everyone, names = range(len(NAMES)), [NAMES[i] for i in CHOSEN]
    sheet = write_sheet(tmp_path / "sheet.tsv", dict.fromkeys(names, "A"))
    paths = [
        write_vcf(tmp_path / "all.vcf", as_text(records, everyone, False), samples=NAMES, contigs=contigs),
        write_vcf(tmp_path / "few.vcf", as_text(records, CHOSEN, False), samples=names, contigs=contigs),
        write_vcf(tmp_path / "trimmed.vcf", as_text(records, CHOSEN, True), samples=names, contigs=contigs),
    ]
    paths += [convert(paths[0], tmp_path / "all.bcf", "wb"), as_zarr(paths[0])]
    found = []
    for path in paths:
        source = GenomeSource((path,), sheet, ancestral=ancestral)
        found.append(kept(open_genomes(source, WindowSettings(100), tmp_path / "cache")))
    assert all(other == found[0] for other in found[1:])
    assert len(found[0]) > 40


def test_a_drawn_subset_is_what_its_members_are_alone(tmp_path):
    """Not only populations: individuals that the draw leaves out don't count either."""
    records, contigs = random_records(np.random.default_rng(3)), {"1": 2000}
    path = write_vcf(tmp_path / "all.vcf", as_text(records, range(8), False), samples=NAMES, contigs=contigs)
    drawn = open_genomes(GenomeSource((path,), populations={"A": 3}, seed=4), WindowSettings(100), tmp_path / "cache")
    sheet = write_sheet(tmp_path / "sheet.tsv", dict.fromkeys(drawn.individuals, "A"))
    alone = open_genomes(GenomeSource((path,), sheet), WindowSettings(100), tmp_path / "cache")
    everyone = open_genomes(GenomeSource((path,), populations={"A": "all"}), WindowSettings(100), tmp_path / "cache")
    assert len(drawn.individuals) == 3
    assert kept(drawn) == kept(alone)
    assert drawn.summary()["records"] == alone.summary()["records"]
    assert drawn.summary()["records"]["kept"] > everyone.summary()["records"]["kept"]


def test_tree_sequences_are_judged_so_too(tmp_path):
    ancestry = msprime.sim_ancestry(10, sequence_length=20_000, population_size=10_000, random_seed=1)
    tree_sequence = msprime.sim_mutations(ancestry, rate=2e-6, random_seed=2)
    tree_sequence.dump(tmp_path / "x.trees")
    source = GenomeSource((tmp_path / "x.trees",), populations={"pop_0": 3}, ancestral="REF")
    genomes = open_genomes(source, WindowSettings(20_000), tmp_path / "cache")
    columns = [2 * int(name.removeprefix("tsk_")) + slot for name in genomes.individuals for slot in (0, 1)]
    expected, listed = [], 0
    for site, row in zip(tree_sequence.sites(), tree_sequence.genotype_matrix()[:, columns], strict=True):
        if len(set(row)) == 2 and 0 in row:
            expected.append((int(site.position), (row > 0).astype(int).tolist()))
            listed += len(site.alleles) > 2
    assert kept(genomes) == expected
    assert listed > 10


@pytest.mark.parametrize("record", ["1 7 A C 0|2 0|1 0|0 0|0", "1 7 A C,G 0|3 0|1 0|0 0|0"])
def test_alleles_that_the_record_does_not_list(tmp_path, record):
    number = record.count(",") + 1
    message = f"a genotype at 1:7 has allele {number + 1}, the record has {number} alternative"
    with pytest.raises(GenomeError, match=message):
        reading(tmp_path, [SNP, record])
    assert not (tmp_path / "cache").exists()


def test_alleles_that_a_zarr_archive_does_not_list(tmp_path):
    import zarr

    path = as_zarr(write_vcf(tmp_path / "x.vcf", ["1 5 A C 0|1 1|1 0|0", "1 7 A C 0|1 0|1 0|0"]))
    damaged = zarr.open_group(str(shutil.copytree(path, tmp_path / "y.vcz")), mode="r+")
    damaged["call_genotype"][1, 0, 0] = 2
    with pytest.raises(GenomeError, match=r"y\.vcz: a genotype at 1:7 has allele 2, the record has 1 alternative;"):
        open_genomes(GenomeSource((tmp_path / "y.vcz",), populations={"A": "all"}), WindowSettings(100), tmp_path)
