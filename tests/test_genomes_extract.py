"""The shipped 1000 Genomes extract, against what is known about it."""

from __future__ import annotations

import time

import numpy as np
import pytest

from ganinfer.genomes import GenomeSource, WindowSettings, open_genomes
from ganinfer.haplotypes import SampleSet
from ganinfer.windows import contains
from tests.genome_files import EXPERIMENTS

SOURCE = {
    "genotypes": (EXPERIMENTS / "1kg-chr4-yri-ceu.vcf.gz",),
    "samples": EXPERIMENTS / "1kg-chr4-yri-ceu.panel.tsv",
    "populations": {"YRI": "all", "CEU": "all"},
    "regions": EXPERIMENTS / "1kg-chr4-regions.bed",
    "accessible": EXPERIMENTS / "1kg-chr4-accessible.bed",
    "recombination_map": EXPERIMENTS / "chr4-b37-hapmap.txt.gz",
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def genomes(cache):
    return open_genomes(GenomeSource(**SOURCE), WindowSettings(), cache)


@pytest.mark.slow
def test_what_is_found(genomes):
    summary = genomes.summary()
    assert genomes.samples == (SampleSet("YRI", 108), SampleSet("CEU", 99))
    assert summary["records"] == {"read": 195_147, "kept": 195_147, "dropped": {}}
    assert genomes.phased
    assert genomes.num_missing == 0
    assert summary["windows"]["kept"] == 405
    assert summary["windows"]["rejected"] == {"end of a region, shorter than a window": 51}
    assert 35 <= summary["windows"]["blocks"] <= 51
    assert 0.9e-8 < summary["mean_recombination_rate"] < 1.2e-8


@pytest.mark.slow
def test_diversity_is_what_is_known(genomes):
    """Over whole regions and folded, pi is 9.8e-4 and 7.1e-4, Tajima's D -0.62 and -0.11, singletons 22 and 28 %, Fst
    0.153; the windows leave out the ends of regions and inaccessible bases, a tenth of all."""
    found = genomes.summary()["diversity"]
    yri, ceu = found["populations"]["YRI"], found["populations"]["CEU"]
    assert yri["pi"] == pytest.approx(9.8e-4, rel=0.03)
    assert ceu["pi"] == pytest.approx(7.1e-4, rel=0.03)
    assert yri["singletons"] == pytest.approx(0.22, abs=0.005)
    assert ceu["singletons"] == pytest.approx(0.28, abs=0.005)
    assert yri["tajimas_d_overall"] == pytest.approx(-0.62, abs=0.07)
    assert ceu["tajimas_d_overall"] == pytest.approx(-0.11, abs=0.07)
    assert found["fst"]["YRI,CEU"] == pytest.approx(0.153, abs=0.004)


@pytest.mark.slow
def test_haplotypes_against_the_records_themselves(cache, tmp_path):
    """One polarised window, read by hand from cyvcf2 record by record."""
    from cyvcf2 import VCF

    (tmp_path / "region.bed").write_text("4\t5053242\t5502727\n")
    source = {**SOURCE, "regions": tmp_path / "region.bed", "ancestral": "AA"}
    genomes = open_genomes(GenomeSource(**source), WindowSettings(), cache)
    records = genomes.summary()["records"]
    # The index spares most of what lies outside.
    assert records["read"] - records["kept"] == records["dropped"].get("outside the regions", 0) < 10_000
    shares = [t.unusable_ancestral for t in genomes.templates]
    assert np.mean(shares) == pytest.approx(genomes.summary()["unusable_ancestral"], rel=0.1)
    index = 7
    window, haplotypes = genomes.windows[index], genomes.haplotypes(index)
    rows, positions = [], []
    vcf = VCF(str(SOURCE["genotypes"][0]))
    order = [vcf.samples.index(name) for name in genomes.individuals]
    for variant in vcf(f"{window.contig}:{window.left + 1}-{window.right}"):
        base = variant.POS - 1 - window.left
        ancestral = (variant.INFO.get("AA") or ".").upper()
        if contains(window.accessible, np.array([base]))[0] and ancestral in (variant.REF, variant.ALT[0]):
            genotypes = variant.genotype.array()[order, :2].ravel()
            rows.append(genotypes if ancestral == variant.REF else 1 - genotypes)
            positions.append(base)
    np.testing.assert_array_equal(haplotypes.genotypes, rows)
    np.testing.assert_array_equal(haplotypes.positions, positions)
    assert len(positions) > 100


@pytest.mark.slow
def test_templates_mirror_the_windows(genomes):
    assert len(genomes.templates) == len(genomes.windows)
    for template, window in zip(genomes.templates, genomes.windows, strict=True):
        assert template.length == 50_000
        assert template.missing is None
        assert template.recombination is window.recombination
        whole = window.num_accessible == window.length
        assert (template.accessible is None) == whole
        assert template.unusable_ancestral == 0


@pytest.mark.slow
def test_the_second_opening_is_quick(genomes, cache):
    start = time.process_time()
    again = open_genomes(GenomeSource(**SOURCE), WindowSettings(), cache)
    assert time.process_time() - start < 1
    start = time.process_time()
    for index in range(len(again.windows)):
        again.haplotypes(index)
    assert (time.process_time() - start) / len(again.windows) < 1e-3


@pytest.mark.slow
def test_a_drawn_subset_keeps_its_haplotypes(genomes, cache):
    source = {**SOURCE, "populations": {"YRI": 20, "CEU": 20}}
    few = open_genomes(GenomeSource(**source), WindowSettings(), cache)
    assert few.samples == (SampleSet("YRI", 20), SampleSet("CEU", 20))
    columns = [2 * genomes.individuals.index(name) + i for name in few.individuals for i in (0, 1)]
    np.testing.assert_array_equal(few.haplotypes(3).genotypes, genomes.haplotypes(3).genotypes[:, columns])
    assert few.summary()["genotypes"] == genomes.summary()["genotypes"]
