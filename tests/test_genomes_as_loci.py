"""Genomes taken as loci: the genotypes are those of the windows, and which SNPs are taken is drawn by a seed."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ganinfer.genomes import (
    GenomeError,
    GenomeSource,
    LociChoice,
    TableSource,
    WindowSettings,
    open_genomes,
    open_table,
)
from ganinfer.genomes.loci.choosing import apart, one_each
from ganinfer.haplotypes import SampleSet
from ganinfer.interfaces import SiteRule
from tests.genome_files import write_sheet, write_vcf

NAMES = tuple("abcdef")


def random_vcf(path, *, contigs=3, length=1000, sites=60, seed=1, lengths=True, missing=0.1):
    """Half of the sites have an ancestral allele; genotypes are phased."""
    rng = np.random.default_rng(seed)
    records = []
    for contig in range(1, contigs + 1):
        for position in np.sort(rng.choice(np.arange(1, length + 1), sites, replace=False)):
            calls = rng.integers(0, 2, (len(NAMES), 2)).astype(str)
            calls[rng.random(len(NAMES)) < missing] = "."
            ancestor = rng.choice(["A", "C", "."])
            genotypes = " ".join("|".join(call) for call in calls)
            records.append(f"{contig} {position} A C INFO={'AA=' + ancestor if ancestor != '.' else '.'} {genotypes}")
    named = {str(c): length if lengths else None for c in range(1, contigs + 1)}
    return write_vcf(path, records, samples=NAMES, contigs=named)


def table(source, choice, folder, seed=1):
    return open_table(TableSource(source, choice=choice, seed=seed), folder / "cache")


@pytest.mark.parametrize("ancestral", ["none", "REF", "AA"])
@pytest.mark.parametrize("masked", [False, True])
def test_contigs_as_loci_have_the_genotypes_of_windows(tmp_path, ancestral, masked):
    path = random_vcf(tmp_path / "x.vcf")
    sheet = write_sheet(tmp_path / "s", dict(zip("fabc", "BAAA", strict=True)))
    options = {}
    if masked:
        (tmp_path / "mask.bed").write_text("1\t0\t700\n2\t100\t1000\n3\t0\t1000\n")
        (tmp_path / "out.bed").write_text("3\t400\t600\n")
        options = {"accessible": tmp_path / "mask.bed", "exclude": (tmp_path / "out.bed",)}
    source = GenomeSource((path,), sheet, ancestral=ancestral, **options)
    genomes = open_genomes(source, WindowSettings(1000, 0.0), tmp_path / "cache")
    found = table(source, LociChoice(by="contig"), tmp_path)
    windows = [genomes.haplotypes(i) for i in range(len(genomes.windows))]
    assert np.array_equal(found.haplotypes.genotypes, np.concatenate([w.genotypes for w in windows]))
    assert found.haplotypes.positions.tolist() == [i for i, w in enumerate(windows) for _ in range(w.num_sites)]
    assert found.samples == genomes.samples == (SampleSet("B", 1, 2), SampleSet("A", 3, 2))
    assert found.told["records"] == genomes.summary()["records"]
    assert found.told["sites"] == genomes.summary()["sites"]
    assert (found.told["without_usable_ancestral"] > 0) == (ancestral == "AA")
    assert len(list((tmp_path / "cache").iterdir())) == 1, "both sides read from one store"


def test_pieces_of_a_contig_make_no_difference(tmp_path, monkeypatch):
    source = GenomeSource((random_vcf(tmp_path / "x.vcf"),), populations={"A": "all"})
    (tmp_path / "r.bed").write_text("1\t10\t500\n1\t600\t1000\n3\t0\t900\n")
    for settings_ in (source, GenomeSource(source.genotypes, populations={"A": 4}, regions=tmp_path / "r.bed")):
        for choice in (LociChoice(by="contig"), LociChoice(by="distance", min_distance=90)):
            whole = table(settings_, choice, tmp_path)
            with monkeypatch.context() as changed:
                changed.setattr("ganinfer.genomes.loci.from_genomes._SITES", 7)
                pieces = table(settings_, choice, tmp_path)
            assert np.array_equal(whole.haplotypes.genotypes, pieces.haplotypes.genotypes)
            assert np.array_equal(whole.haplotypes.positions, pieces.haplotypes.positions)
            assert whole.told == pieces.told


@pytest.mark.parametrize("lengths", [True, False])
def test_single_snps_far_from_each_other(tmp_path, lengths):
    """Nothing is asked of the lengths of contigs."""
    source = GenomeSource((random_vcf(tmp_path / "x.vcf", lengths=lengths),), populations={"A": "all"})
    everything = table(source, LociChoice(by="contig"), tmp_path)
    choice = LociChoice(by="distance", min_distance=100, rule=SiteRule(folded=True, singletons="drop"))
    found = table(source, choice, tmp_path, seed=3)
    assert found.haplotypes.positions.tolist() == list(range(found.haplotypes.num_sites))
    assert sum(map(len, found.told["chosen"].values())) == found.haplotypes.num_sites
    assert found.haplotypes.num_sites > 5
    assert all((np.diff(positions) >= 100).all() for positions in found.told["chosen"].values())
    rows = {row.tobytes() for row in everything.haplotypes.genotypes}
    assert all(row.tobytes() in rows for row in found.haplotypes.genotypes)
    derived = (found.haplotypes.genotypes == 1).sum(axis=1)
    assert np.minimum(derived, (found.haplotypes.genotypes == 0).sum(axis=1)).min() > 1
    assert found.told["sites_not_taken"] == everything.haplotypes.num_sites - found.haplotypes.num_sites
    assert table(source, choice, tmp_path, seed=3).told == found.told
    assert table(source, choice, tmp_path, seed=4).told["chosen"] != found.told["chosen"]


def test_one_snp_a_tag(tmp_path):
    source = GenomeSource((random_vcf(tmp_path / "x.vcf", contigs=8, length=90, sites=5),), populations={"A": "all"})
    found = table(source, LociChoice(by="contig", per_locus="one"), tmp_path)
    assert found.haplotypes.positions.tolist() == list(range(8))
    assert {contig: len(chosen) for contig, chosen in found.told["chosen"].items()} == {str(i + 1): 1 for i in range(8)}


def test_mistakes(tmp_path):
    good = GenomeSource((random_vcf(tmp_path / "g.vcf"),), populations={"A": "all"})
    choice = LociChoice(by="distance", min_call_rate=1.0, rule=SiteRule(min_minor_frequency=0.5))
    with pytest.raises(GenomeError, match=r"g.vcf: no SNP of 180 is left by loci\.min_call_rate, .*loci\.min_distance"):
        table(good, choice, tmp_path)
    path = write_vcf(tmp_path / "x.vcf", ["1 5 A C 0|0 0|0 0|0", "1 9 A C 1|1 ./. 1|1"])
    source = GenomeSource((path,), populations={"A": "all"})
    with pytest.raises(GenomeError, match="no variable SNP in the individuals chosen"):
        table(source, LociChoice(by="contig"), tmp_path)
    with pytest.raises(GenomeError, match=r"loci\.by is missing; genomes are taken as loci by contig or by distance"):
        table(source, LociChoice(), tmp_path)
    path = write_vcf(tmp_path / "y.vcf", ["1 5 A CT 0|0 0|0 0|0"])
    with pytest.raises(GenomeError, match=r"y.vcf: no biallelic SNP where there is data; of 1 records 0 were kept"):
        table(GenomeSource((path,), populations={"A": "all"}), LociChoice(by="contig"), tmp_path)


# --- the draws ----------------------------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 300)), max_size=60), st.integers(1, 60), st.integers(0, 5))
def test_apart(places, distance, seed):
    contig, position = np.array(sorted(places), dtype=np.int64).reshape(-1, 2).T
    taken = apart(contig, position, distance, np.random.default_rng(seed))
    assert taken.tolist() == sorted(set(taken.tolist()))
    for number in range(3):
        chosen = position[taken][contig[taken] == number]
        assert all(b - a >= distance for a, b in itertools.pairwise(chosen))


def test_apart_takes_each_snp_with_the_same_probability():
    """Dense SNPs and sparse ones, in stretches many times as long as the distance."""
    sparse, dense = np.arange(0, 100_000, 200), np.arange(100_000, 200_000, 40)
    position = np.concatenate([sparse, dense])
    drawn = [apart(np.zeros(len(position)), position, 1000, np.random.default_rng(seed)) for seed in range(100)]
    counts = np.bincount(np.concatenate(drawn), minlength=len(position)) / 100
    rates = counts[: len(sparse)].mean(), counts[len(sparse) :].mean()
    assert rates[0] == pytest.approx(rates[1], rel=0.15)
    assert np.mean([len(d) for d in drawn]) > 50


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 5), max_size=30), st.integers(0, 5))
def test_one_each(groups, seed):
    groups = np.array(groups, dtype=np.int64)
    taken = one_each(groups, np.random.default_rng(seed))
    assert taken.tolist() == sorted(taken.tolist())
    assert sorted(groups[taken]) == sorted(set(groups.tolist()))


def test_one_each_is_fair():
    drawn = [one_each(np.array([0, 1, 0, 0, 1]), np.random.default_rng(seed)) for seed in range(3000)]
    counts = np.bincount(np.concatenate(drawn), minlength=5)
    assert np.abs(counts / 3000 - [1 / 3, 1 / 2, 1 / 3, 1 / 3, 1 / 2]).max() < 0.05
