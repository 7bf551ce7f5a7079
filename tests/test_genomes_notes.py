"""What is no mistake but has no effect, or more than it seems: ``check`` says so."""

from __future__ import annotations

import pytest
import yaml

from ganinfer import experiment
from ganinfer.genomes import GenomeSource, WindowSettings, open_genomes
from ganinfer.runner.checking import check
from tests.genome_files import read, write_vcf

SNP = "1 5 A C 0|1 1|1 0|0"


def noted(genomes):
    return genomes.summary().get("notes", [])


def test_nothing_is_said_of_what_is_usual(tmp_path):
    (tmp_path / "map.txt").write_text("1 1 1.0 0\n1 1000 1.0 0.001\n")
    genomes = read(
        tmp_path, [SNP], recombination_map=tmp_path / "map.txt", filters=("PASS", "q10"), contig_lengths={"chr1": 1000}
    )
    assert len(genomes.windows) == 10
    assert noted(genomes) == []
    assert noted(read(tmp_path, [SNP.replace("|", "/")])) == []


def test_stretches_without_a_site_among_many_are_named(tmp_path):
    """Ten windows of 100 bases, each with 30 sites but for the first and two in the middle."""
    sites = [s for w in (1, 2, 5, 6, 7, 8, 9) for s in range(100 * w + 1, 100 * w + 31)]
    (note,) = noted(read(tmp_path, [f"1 {s} A C 0|1 1|1 0|0" for s in sites]))
    assert note.startswith("3 of 10 windows have no variable site, where the others have some 30; the longest run of ")
    assert "them is 1:301-500. They count as genome without variation" in note
    rare = read(tmp_path, [f"1 {s} A C 0|1 1|1 0|0" for s in sites[::3]])
    assert noted(rare) == []


def test_the_order_of_unphased_alleles_taken_for_haplotypes(tmp_path):
    unphased = [SNP.replace("|", "/")]
    (note,) = noted(read(tmp_path, unphased, phased=True))
    assert "data.phased is true, but 1 of 1 heterozygous genotypes are unphased" in note
    assert noted(read(tmp_path, [SNP], phased=True)) == []


def test_lengths_of_contigs_that_there_are_not(tmp_path):
    genomes = read(tmp_path, [SNP], contig_lengths={"chr1": 500, "chr7": 900})
    assert noted(genomes) == ["data.contig_lengths: chr7 is no contig of the genotypes, which have 1"]
    again = read(tmp_path, [SNP], contig_lengths={"chr1": 500, "chr7": 900})  # from the store
    assert noted(again) == noted(genomes)


def test_filters_that_no_header_defines(tmp_path):
    (note,) = noted(read(tmp_path, [SNP], filters=("PASS", "Q10")))
    assert note == "data.filters: no header defines a FILTER Q10, so it may never occur; defined: q10"
    assert noted(read(tmp_path, [SNP], filters=("any",))) == []


def test_windows_beyond_the_ends_of_the_map(tmp_path):
    (tmp_path / "map.txt").write_text("1 151 1.0 0\n1 700 1.0 0.001\n")
    (note,) = noted(read(tmp_path, [SNP], recombination_map=tmp_path / "map.txt"))
    assert note.startswith(
        "data.recombination_map: 5 of 10 windows reach beyond the ends of the map, the first at 1:1;"
    )


def test_a_few_unphased_genotypes_among_many(tmp_path):
    phased = [f"1 {p} A C 0|1 0|1 0|0" for p in range(10, 20)]
    records = [*phased, "1 20 A C 0/1 0|0 0|0"]
    genomes = read(tmp_path, records)
    assert not genomes.phased
    (note,) = noted(genomes)
    assert note.startswith("1 of 21 heterozygous genotypes are unphased, so all are taken for unphased; data.phased")
    assert noted(read(tmp_path, records, phased=True)) == []


def test_an_unphased_genotype_of_somebody_else_does_not_matter(tmp_path):
    path = write_vcf(tmp_path / "x.vcf", [SNP, "1 7 A C 0/1 0|1 0|1"])
    source = GenomeSource((path,), populations={"A": 2}, seed=1)
    phased = {}
    for seed in range(1, 9):
        genomes = open_genomes(GenomeSource(source.genotypes, None, {"A": 2}, seed=seed), WindowSettings(100), tmp_path)
        phased[genomes.individuals] = genomes.phased
    assert len(phased) == 3
    assert all(value == ("a" not in individuals) for individuals, value in phased.items())


MODEL = """\
time_units: generations
demes:
- {name: A, epochs: [{start_size: 10000, end_time: 1000}, {start_size: 5000}]}
"""
OPTIONS = """\
parameters:
- {name: N, lower_bound: 1000, upper_bound: 30000, values: [{demes: {A: {epochs: {1: start_size}}}}]}
"""


@pytest.fixture
def checked(tmp_path, monkeypatch):
    """What ``check`` finds in an experiment on 40 windows of 1 kb in 20 blocks."""
    records = [f"1 {p} A C 0|1 1|1 0|0" for p in range(100, 40_000, 100)]
    write_vcf(tmp_path / "x.vcf", records, contigs={"1": 40_000})
    (tmp_path / "m.yaml").write_text(MODEL)
    (tmp_path / "o.yaml").write_text(OPTIONS)
    monkeypatch.chdir(tmp_path)

    def checking(windows, demes=None):
        scenario = {"model": "m.yaml", "parameters": "o.yaml", "mutation_rate": 1e-8, "recombination_rate": 1e-8}
        document = {
            "data": {"genotypes": "x.vcf", "populations": {"A": "all"}},
            "windows": {"length": 1000, "block_length": 2000, **windows},
            "scenarios": {"s": {**scenario, **({"demes": demes} if demes else {})}},
            "execution": {"executor": "serial"},
        }
        (tmp_path / "x.yaml").write_text(yaml.safe_dump(document))
        return check(experiment.load(tmp_path / "x.yaml"))

    return checking


def test_how_many_windows_a_maximum_leaves(checked):
    everything, some = checked({}), checked({"maximum": 25})
    assert "used" not in everything["windows"]
    assert (some["windows"]["kept"], some["windows"]["used"], some["windows"]["blocks_used"]) == (40, 25, 13)
    with pytest.raises(ValueError, match=r"the 2 windows in use have 1: .* raise windows.maximum"):
        checked({"maximum": 2})


def test_demes_of_populations_that_there_are_not(checked):
    assert "notes" not in checked({}, {"A": "A"})
    (note,) = checked({}, {"A": "A", "AA": "A"})["notes"]
    assert note.endswith("scenarios.s.demes: AA is no population of the data, which have A")
