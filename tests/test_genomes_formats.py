"""The same genomes as tree sequence, VCF, BCF and VCF Zarr give the same haplotypes, and tskit's own statistics."""

from __future__ import annotations

import shutil
import subprocess
import sys

import msprime
import numpy as np
import pytest
import tskit

from ganinfer.genomes import GenomeError, GenomeSource, WindowSettings, open_genomes
from ganinfer.haplotypes import SampleSet
from tests.genome_files import convert, write_vcf

LENGTH = 200_000
WINDOW = 20_000


@pytest.fixture(scope="module")
def tree_sequence():
    demography = msprime.Demography()
    demography.add_population(name="A", initial_size=5_000)
    demography.add_population(name="B", initial_size=2_000)
    demography.add_population(name="ANC", initial_size=8_000)
    demography.add_population_split(1_000, derived=["A", "B"], ancestral="ANC")
    samples = [msprime.SampleSet(6, "A"), msprime.SampleSet(4, "B", time=50)]
    ancestry = msprime.sim_ancestry(
        samples, demography=demography, sequence_length=LENGTH, recombination_rate=1e-8, random_seed=3
    )
    return msprime.sim_mutations(ancestry, rate=4e-8, random_seed=4)


@pytest.fixture(scope="module")
def folder(tree_sequence, tmp_path_factory):
    """The tree sequence as chr1.trees, chr1.tsz, chr1.vcf, chr1.bcf, chr1.vcz and its zip."""
    import tszip
    from bio2zarr import vcf as vcf2zarr

    folder = tmp_path_factory.mktemp("formats")
    tree_sequence.dump(folder / "chr1.trees")
    tszip.compress(tree_sequence, folder / "chr1.tsz")
    with (folder / "chr1.vcf").open("w") as file:
        tree_sequence.write_vcf(file, contig_id="chr1", position_transform=lambda x: 1 + np.asarray(x))
    convert(folder / "chr1.vcf", folder / "chr1.bcf", "wb")
    bgzipped = convert(folder / "chr1.vcf", folder / "chr1.vcf.gz", "wz")
    vcf2zarr.convert([bgzipped], folder / "chr1.vcz", variants_chunk_size=100, samples_chunk_size=4)
    shutil.make_archive(str(folder / "chr1.vcz"), "zip", folder / "chr1.vcz")
    return folder


@pytest.fixture
def sheet(tmp_path):
    rows = [f"tsk_{i}\t{'A' if i < 6 else 'B'}\t{0 if i < 6 else 50}" for i in range(10)]
    (tmp_path / "sheet.tsv").write_text("sample\tpopulation\ttime\n" + "\n".join(rows) + "\n")
    return tmp_path / "sheet.tsv"


def opened(path, tmp_path, **source):
    source.setdefault("ancestral", "REF")
    return open_genomes(GenomeSource((path,), **source), WindowSettings(WINDOW), tmp_path / "cache")


@pytest.mark.parametrize("name", ["chr1.trees", "chr1.tsz", "chr1.vcf", "chr1.bcf", "chr1.vcz", "chr1.vcz.zip"])
def test_haplotypes_are_those_of_the_tree_sequence(tree_sequence, folder, sheet, tmp_path, name):
    genomes = opened(folder / name, tmp_path, samples=sheet)
    assert genomes.samples == (SampleSet("A", 6), SampleSet("B", 4, 2, 50.0))
    assert genomes.phased
    assert len(genomes.windows) == LENGTH // WINDOW
    biallelic = np.array([len(site.alleles) == 2 for site in tree_sequence.sites()])
    positions = tree_sequence.tables.sites.position
    matrix = tree_sequence.genotype_matrix()
    assert not biallelic.all()
    for index, window in enumerate(genomes.windows):
        inside = biallelic & (positions >= window.left) & (positions < window.right)
        haplotypes = genomes.haplotypes(index)
        np.testing.assert_array_equal(haplotypes.positions, positions[inside] - window.left)
        np.testing.assert_array_equal(haplotypes.genotypes, matrix[inside])
        assert haplotypes.genotypes.dtype == np.int8


def test_summary_statistics_are_tskits(tree_sequence, folder, sheet, tmp_path):
    genomes = opened(folder / "chr1.vcf", tmp_path, samples=sheet)
    summary = genomes.summary()["diversity"]
    many = np.array([site.id for site in tree_sequence.sites() if len(site.alleles) != 2])
    biallelic = tree_sequence.delete_sites(many)
    edges = np.arange(0, LENGTH + 1, WINDOW)
    for name, nodes in (("A", np.arange(12)), ("B", np.arange(12, 20))):
        found = summary["populations"][name]
        assert found["pi"] == pytest.approx(biallelic.diversity(nodes))
        assert found["segregating_sites"] == biallelic.segregating_sites(nodes, span_normalise=False)
        assert found["tajimas_d_overall"] == pytest.approx(biallelic.Tajimas_D(nodes))
        assert found["tajimas_d"] == pytest.approx(np.nanmean(biallelic.Tajimas_D(nodes, windows=edges)))
        spectrum = biallelic.allele_frequency_spectrum([nodes], polarised=False, span_normalise=False)
        assert found["singletons"] == pytest.approx(spectrum[1] / spectrum[1:].sum())
    between = biallelic.divergence([np.arange(12), np.arange(12, 20)])
    within = np.mean([biallelic.diversity(nodes) for nodes in (np.arange(12), np.arange(12, 20))])
    assert summary["fst"] == {"A,B": pytest.approx(1 - within / between)}


def test_a_tree_sequence_says_itself_who_is_where(folder, tmp_path):
    genomes = opened(folder / "chr1.trees", tmp_path, populations={"B": 2, "A": "all"})
    assert [(s.population, s.num_individuals, s.time) for s in genomes.samples] == [("B", 2, 50.0), ("A", 6, 0.0)]
    assert opened(folder / "chr1.trees", tmp_path).samples == (SampleSet("A", 6), SampleSet("B", 4, 2, 50.0))


def test_nodes_without_individuals_are_haploid(tree_sequence, tmp_path):
    tables = tree_sequence.dump_tables()
    individual = tables.nodes.individual
    individual[:] = tskit.NULL
    tables.nodes.individual = individual
    tables.tree_sequence().dump(tmp_path / "chr1.trees")
    genomes = opened(tmp_path / "chr1.trees", tmp_path)
    assert genomes.samples == (SampleSet("A", 12, 1), SampleSet("B", 8, 1, 50.0))


def test_a_stretch_of_a_chromosome_is_not_a_chromosome_without_variation(tree_sequence, tmp_path):
    tree_sequence.keep_intervals([[40_000, 110_000]]).dump(tmp_path / "chr1.trees")
    genomes = opened(tmp_path / "chr1.trees", tmp_path)
    assert [w.left for w in genomes.windows] == [40_000, 60_000, 80_000]


def test_missing_samples_of_a_tree_sequence(tmp_path):
    tables = msprime.sim_ancestry(2, sequence_length=100, population_size=1, random_seed=1).dump_tables()
    tables.keep_intervals([[0, 50]], simplify=False)
    tables.sites.add_row(10, "A")
    tables.mutations.add_row(0, 0, "C")
    tables.sites.add_row(70, "A")
    tables.mutations.add_row(1, 1, "C")
    tables.tree_sequence().dump(tmp_path / "x.trees")
    (tmp_path / "r.bed").write_text("x\t0\t100\n")
    source = GenomeSource((tmp_path / "x.trees",), regions=tmp_path / "r.bed")
    genomes = open_genomes(source, WindowSettings(50), tmp_path / "cache")
    assert genomes.haplotypes(0).genotypes.tolist() == [[1, 0, 0, 0]]
    assert genomes.haplotypes(1).genotypes.tolist() == [[-1, 1, -1, -1]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ancestral": "AA"}, "holds ancestral alleles itself and has no INFO/AA; set data.ancestral to REF"),
        ({"min_depth": 3}, "a tree sequence has no depths and genotype qualities"),
    ],
)
def test_what_a_tree_sequence_has_not(folder, tmp_path, options, message):
    with pytest.raises(GenomeError, match=message):
        opened(folder / "chr1.trees", tmp_path, **options)


@pytest.mark.parametrize(("name", "keep"), [("chr1.trees", 0.5), ("chr1.tsz", 0.5), ("chr1.vcz.zip", 0.5)])
def test_truncated_archives(folder, tmp_path, name, keep):
    content = (folder / name).read_bytes()
    (tmp_path / name).write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(GenomeError, match=f"{name}: no (tree sequence|VCF Zarr) that"):
        opened(tmp_path / name, tmp_path)
    assert not (tmp_path / "cache").exists()


def test_tree_sequences_without_samples_or_sites(tmp_path):
    ancestry = msprime.sim_ancestry(2, sequence_length=100, random_seed=1)
    ancestry.dump(tmp_path / "bare.trees")
    with pytest.raises(GenomeError, match="the tree sequence has no site; add mutations"):
        opened(tmp_path / "bare.trees", tmp_path)
    tskit.TableCollection(100).tree_sequence().dump(tmp_path / "empty.trees")
    with pytest.raises(GenomeError, match="the tree sequence has no sample"):
        opened(tmp_path / "empty.trees", tmp_path)


def test_a_zarr_store_that_is_no_vcf_zarr(tmp_path):
    import zarr

    zarr.open_group(str(tmp_path / "x.vcz"), mode="w").create_array("something", shape=3, dtype="i4")
    with pytest.raises(GenomeError, match="the array call_genotype is missing; is it a VCF Zarr"):
        opened(tmp_path / "x.vcz", tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(GenomeError, match="folder: no VCF Zarr that zarr can open"):
        opened(tmp_path / "folder", tmp_path)


def test_vcf_zarr_damaged_inside(folder, sheet, tmp_path):
    shutil.copytree(folder / "chr1.vcz", tmp_path / "chr1.vcz")
    files = (tmp_path / "chr1.vcz" / "call_genotype").rglob("*")
    chunk = next(p for p in files if p.is_file() and p.suffix != ".json" and not p.name.startswith("."))
    chunk.write_bytes(b"garbage")
    with pytest.raises(GenomeError, match=r"chr1.vcz: genotypes cannot be read"):
        opened(tmp_path / "chr1.vcz", tmp_path, samples=sheet)
    assert not (tmp_path / "cache").exists()


def test_vcf_zarr_drops_and_masks_what_vcf_does(tmp_path):
    records = [
        "1 5 A C 0|1:9:50 1|1:2:50 0|0:.:50 FORMAT=GT:DP:GQ INFO=AA=C",
        "1 7 A C,G 0|1:9:9 0|2:9:9 0|0:9:9 FORMAT=GT:DP:GQ INFO=AA=A",
        "1 8 AT A 0|1:9:9 0|1:9:9 0|0:9:9 FORMAT=GT:DP:GQ INFO=AA=A",
        "1 9 A C 0|1:9:9 .|.:9:9 0/1:9:9 FORMAT=GT:DP:GQ FILTER=q10 INFO=AA=A",
        "1 9 A . 0|0:9:9 0|0:9:9 0/0:9:9 FORMAT=GT:DP:GQ INFO=AA=A",
        "1 12 A C 0|1:9:9 .|.:9:9 0/1:9:9 FORMAT=GT:DP:GQ INFO=AA=A",
        "1 12 A G 0|1:9:9 .|.:9:9 0/1:9:9 FORMAT=GT:DP:GQ INFO=AA=A",
        "2 5 A C 0|1:9:9 .|.:9:9 0/1:9:9 FORMAT=GT:DP:GQ INFO=AA=A",
    ]
    records[5:5] = [
        "1 10 A . 0|0:9:9 0|0:9:90 0/0:9:9 FORMAT=GT:DP:RGQ",
        "1 11 A <NON_REF> 0|0:9:90:2 0|0:9:90:2 0/0:9:90:9 FORMAT=GT:DP:GQ:MIN_DP",
    ]
    write_vcf(tmp_path / "x.vcf", records, contigs={"1": 200, "2": 200})
    from bio2zarr import vcf as vcf2zarr

    contigs = {"1": 200, "2": 200}
    parts = [write_vcf(tmp_path / f"{c}.vcf", [r for r in records if r[0] == c], contigs=contigs) for c in contigs]
    vcf2zarr.convert([convert(part, part.with_suffix(".vcf.gz"), "wz") for part in parts], tmp_path / "x.vcz")
    variations = [{}, {"min_depth": 3}, {"min_genotype_quality": 10}, {"ancestral": "AA"}, {"filters": ("any",)}]
    variations += [{"filters": ("PASS",)}, {"filters": ("PASS", "q10")}, {"accessible": "from-genotypes"}]
    variations += [
        {"accessible": "from-genotypes", **least} for least in ({"min_depth": 3}, {"min_genotype_quality": 9})
    ]
    for options in variations:
        found = []
        for name in ("x.vcf", "x.vcz"):
            source = GenomeSource((tmp_path / name,), populations={"A": "all"}, **options)
            genomes = open_genomes(source, WindowSettings(100, 0.0), tmp_path / "cache")
            summary = {k: v for k, v in genomes.summary().items() if k != "genotypes"}
            windows = [(w.contig, w.left, w.accessible.tolist()) for w in genomes.windows]
            sites = [genomes.haplotypes(i) for i in range(len(windows))]
            found.append((summary, windows, [(h.positions.tolist(), h.genotypes.tolist()) for h in sites]))
        assert found[0] == found[1], options


@pytest.mark.parametrize(("package", "name"), [("zarr", "chr1.vcz"), ("tszip", "chr1.tsz")])
def test_the_optional_extra_is_named_when_it_is_missing(folder, tmp_path, package, name):
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "from pathlib import Path\n"
        "from ganinfer.genomes import *\n"
        f"source = GenomeSource((Path({str(folder / name)!r}),))\n"
        f"try: open_genomes(source, WindowSettings(), Path({str(tmp_path)!r}))\n"
        "except GenomeError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert f"needs {package}; install it with: pip install 'ganinfer[zarr]'" in done.stdout
