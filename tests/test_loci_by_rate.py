"""Loci of known length, simulated by mutation rate: against theory, and the same on both sides."""

from __future__ import annotations

from dataclasses import replace

import msprime
import numpy as np
import pytest

from ganinfer.coalescent import simulate_loci
from ganinfer.experiment import ExperimentError, load, loads
from ganinfer.genomes import (
    Alignments,
    GenomeError,
    GenomeSource,
    LociChoice,
    RealTable,
    TableSource,
    open_table,
    prepared,
)
from ganinfer.haplotypes import Haplotypes, SampleSet, chromosomes
from ganinfer.interfaces import Design, LociTemplate, SiteRule
from ganinfer.pipeline import PipelineSettings, prepare_simulated
from ganinfer.runner import comparing, planning, predicting
from ganinfer.scenarios import remissed
from tests.genome_files import write_sheet, write_vcf
from tests.table_files import DATA

SAMPLES = (SampleSet("A", 5),)
SIZE, RATE = 1_000, 2e-7
NOTHING = np.empty(0, dtype=np.int64)


def by_rate(lengths, locus=NOTHING, missing=None) -> LociTemplate:
    packed = None if missing is None else np.packbits(missing, axis=1)
    return LociTemplate(locus, packed, "by-rate", SiteRule(), np.asarray(lengths, dtype=np.int64))


def simulated(template: LociTemplate, seed: int = 1, size: float = SIZE, **rates) -> Haplotypes:
    demography = msprime.Demography.isolated_model([size])
    demography.populations[0].name = "A"
    sets = [msprime.SampleSet(5, population="A")]
    rates = {"mutation_rate": RATE, **rates}
    (made,) = simulate_loci(demography, sets, Design(SAMPLES, (template,), "loci"), seed, **rates)
    return made


def numbers(made: Haplotypes, num_loci: int) -> np.ndarray:
    return np.bincount(made.positions, minlength=num_loci)


# --- the simulator ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [500, 2_000])
def test_segregating_sites_have_wattersons_mean_and_tajimas_variance(size):
    """Without recombination E[S] = a1 theta and Var[S] = a1 theta + a2 theta^2 (Watterson 1975, doi
    10.1016/0040-5809(75)90020-9). Few sites are hit twice at these rates: 4 N u is at most 0.0016 a base.
    """
    num_loci, length = 4_000, 500
    number = numbers(simulated(by_rate(np.full(num_loci, length)), size=size), num_loci)
    theta = 4 * size * RATE * length
    i = np.arange(1, 10)
    variance = theta * (1 / i).sum() + theta**2 * (1 / i**2).sum()
    assert abs(number.mean() - theta * (1 / i).sum()) < 4 * np.sqrt(variance / num_loci) + 0.005 * theta
    assert number.var() == pytest.approx(variance, rel=0.15)
    assert (number == 0).any(), "loci without variation exist"


def test_lengths_count():
    lengths = np.tile([100, 400], 3_000)
    number = numbers(simulated(by_rate(lengths)), len(lengths))
    assert number[1::2].mean() / number[::2].mean() == pytest.approx(4, rel=0.1)


def test_recombination_inside_loci_evens_out_their_numbers():
    """The mean stays, the variance falls: a locus is then a mean over genealogies."""
    template = by_rate(np.full(1_500, 500))
    without = numbers(simulated(template, recombination_rate="map", mutation_rate=1e-6), 1_500)
    rates = {"recombination_rate": 5e-6, "recombination_scale": 2.0, "mutation_rate": 1e-6}
    along = numbers(simulated(template, **rates), 1_500)
    assert along.mean() == pytest.approx(without.mean(), rel=0.1)
    assert along.var() < 0.7 * without.var()


def test_the_seed_decides():
    first, again = (simulated(by_rate([300] * 20), seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.genotypes, again.genotypes)
    assert not np.array_equal(first.positions, simulated(by_rate([300] * 20), seed=4).positions)


# --- missing calls ------------------------------------------------------------------------------------------------


def test_a_locus_has_the_missing_calls_of_its_own_real_sites():
    """Locus 0 lacks an individual, locus 1 another one; locus 2 had no real site and has those of either."""
    missing = np.zeros((4, 10), dtype=bool)
    missing[:2, :2], missing[2:, 4:6] = True, True
    template = by_rate([30_000] * 3, np.array([0, 0, 1, 1]), missing)
    made = prepare_simulated(simulated(template), template, PipelineSettings(), np.random.default_rng(1))
    lacking = [set(map(tuple, made.genotypes[made.positions == locus] < 0)) for locus in range(3)]
    first, second = tuple(missing[0]), tuple(missing[2])
    assert lacking[0] == {first}
    assert lacking[1] == {second}
    assert len(lacking[2]) == 1, "who lacks a locus lacks it whole"
    assert lacking[2] <= {first, second}


def test_what_missing_calls_cost_is_what_they_cost_the_real_side():
    """Calls missing at random at half of the sites, a real table made so and its simulated likes: as many sites.

    Sites called too rarely fall on both sides.
    """
    rng = np.random.default_rng(5)
    lengths = np.full(400, 1_000)
    raw = simulated(by_rate(lengths), seed=8)
    carriers = chromosomes(SAMPLES)
    lost = (rng.random((raw.num_sites, 5)) < 0.5)[:, carriers.individual] & (rng.random((raw.num_sites, 1)) < 0.5)
    real = RealTable(SAMPLES, replace(raw, genotypes=np.where(lost, np.int8(-1), raw.genotypes)), True, {}, lengths)
    ready = prepared(real, PipelineSettings(folded=True), "by-rate", 0.6, 1)
    assert 0.5 * raw.num_sites < ready.haplotypes.num_sites < 0.95 * raw.num_sites
    found = [
        prepare_simulated(simulated(ready.template, seed), ready.template, PipelineSettings(folded=True), rng)
        for seed in range(100, 112)
    ]
    sizes = np.array([made.num_sites for made in found])
    whole = np.array([simulated(ready.template, seed).num_sites for seed in range(100, 112)])
    assert sizes.mean() / whole.mean() == pytest.approx(ready.haplotypes.num_sites / raw.num_sites, rel=0.05)
    assert min((made.genotypes >= 0).mean(axis=1).min() for made in found) >= 0.6


def test_new_missing_calls_stay_with_their_loci():
    missing = np.zeros((2, 10), dtype=bool)
    missing[0, :2] = True
    template = by_rate([10, 10], np.array([0, 1]), missing)

    class Setup:
        samples = SAMPLES

    called = remissed(template, Setup(), 3).called(10)
    assert called[0].sum() == 8
    assert called[1].all()


# --- readers ------------------------------------------------------------------------------------------------------


def alignments(folder, texts, **options) -> RealTable:
    files = []
    for i, text in enumerate(texts):
        files.append(folder / f"{i}.fasta")
        files[-1].write_text("".join(f">{name}\n{bases}\n" for name, bases in text.items()))
    source = TableSource(Alignments(tuple(files), **options), populations={"A": "all"}, choice=LociChoice(by_rate=True))
    return open_table(source, folder)


def test_alignments_tell_their_lengths_and_loci_without_snps(tmp_path):
    texts = [
        {"x": "ACGTA", "y": "ACGTC", "z": "ACGTA"},
        {"x": "ACGT", "y": "ACGT", "z": "ACGT"},
        {"x": "AC-TGG", "y": "ACGTCN", "z": "TCGTCG"},
    ]
    found = alignments(tmp_path, texts)
    assert found.lengths.tolist() == [5, 4, 4], "columns with a gap or an unknown base show no SNP"
    assert found.haplotypes.positions.tolist() == [0, 2, 2]
    summary = found.summary()
    assert (summary["loci"], summary["loci_with_snps"], summary["bases"]) == (3, 2, 13)
    ready = prepared(found, PipelineSettings(folded=True), "by-rate", 0.0, 1)
    assert ready.haplotypes.positions.tolist() == [0, 2, 2]
    assert ready.template.length == 3
    assert alignments(tmp_path, texts, incomplete="missing").lengths.tolist() == [5, 4, 6]


def test_snps_whose_ancestor_fits_neither_base_shorten_loci(tmp_path):
    """Of three SNPs one has a third base in the outgroup: two thirds of the bases count."""
    texts = [{"x": "AAAACC", "y": "CCCACC", "out": "ACTACC"}, {"x": "AAAAAA", "y": "AAAAAA", "out": "AAAAA-"}]
    found = alignments(tmp_path, texts, outgroup="out")
    assert found.haplotypes.num_sites == 2
    assert found.lengths.tolist() == [4, round(5 * 2 / 3)]


def vcf(folder):
    records = ["1 10 A C 0|1 0|0", "1 20 A C 0|1 1|0", "3 5 A C 0|1 0|0"]
    return write_vcf(folder / "x.vcf", records, samples=("a", "b"), contigs={"1": 100, "2": 80, "3": 60})


def test_regions_name_every_locus_of_genomes(tmp_path):
    write_sheet(tmp_path / "s", {"a": "A", "b": "A"})
    (tmp_path / "r.bed").write_text("1\t0\t100\n2\t0\t80\n3\t0\t50\n")
    (tmp_path / "out.bed").write_text("1\t40\t60\n")
    source = GenomeSource((vcf(tmp_path),), tmp_path / "s", regions=tmp_path / "r.bed", exclude=(tmp_path / "out.bed",))
    choice = LociChoice(by="contig", by_rate=True)
    found = open_table(TableSource(source, choice=choice), tmp_path / "cache")
    assert sorted(found.lengths.tolist()) == [50, 80, 80]
    assert sorted(np.bincount(found.haplotypes.positions, minlength=3).tolist()) == [0, 1, 2]
    assert found.lengths[found.haplotypes.positions].tolist() == [80, 80, 50]
    whole = replace(source, regions=None)
    with pytest.raises(GenomeError, match=r"give loci\.length, in bases, and loci\.number"):
        open_table(TableSource(whole, choice=choice), tmp_path / "cache")
    tags = replace(choice, length=90, number=7)
    assert open_table(TableSource(whole, choice=tags), tmp_path / "cache").lengths.tolist() == [90] * 7
    with pytest.raises(GenomeError, match=r"loci\.number is 1, but the data have 2 loci"):
        open_table(TableSource(whole, choice=replace(tags, number=1)), tmp_path / "cache")


# --- the experiment -----------------------------------------------------------------------------------------------

STUDY = """
data:
  simulate: {scenario: one, truth: {N: 2_000}, samples: {A: 5}, loci: 60}
loci: {genealogies: by-rate, length: 500}
scenarios:
  one: {model: one.demes.yaml, parameters: one.options.yaml, mutation_rate: 1e-7}
comparison: {simulations: 20, tests: 0}
execution: {executor: serial}
"""
MODEL = "time_units: generations\ndemes:\n- {name: A, epochs: [{start_size: 1000}]}\n"
OPTIONS = """parameters:
- {name: N, lower_bound: 500, upper_bound: 8000, values: [{demes: {A: {epochs: {0: start_size}}}}]}
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "one.demes.yaml").write_text(MODEL)
    (tmp_path / "one.options.yaml").write_text(OPTIONS)
    (tmp_path / "study.yaml").write_text(STUDY)
    return tmp_path


def test_a_study_is_planned_with_room_and_a_key_of_its_own(folder):
    experiment = load(folder / "study.yaml")
    raw = planning.open_table(experiment)
    plan = planning.planned(experiment, raw)
    size = plan.table.haplotypes.num_sites
    assert len(plan.table.template.lengths) == raw.summary()["loci"] == 60
    assert 60 < size < 400, "4 N u L a1 = 0.4 x 2.83 a locus is expected, 68 in all"
    setup = plan.scenarios[0].setup
    assert setup.num_sites == 2 * size
    assert plan.real["count_mask"].sum() == size
    assert {"linkage": True, "num_loci": 60} in [dict(options) for _, options in setup.encoders]
    longer = load(folder / "study.yaml", ["loci.length=501"])
    keys = [comparing.key(p, p.scenarios[0], "learn") for p in (plan, planning.planned(longer, raw))]
    assert keys[0] == keys[1], "lengths are those of the table"
    other = replace(raw, lengths=raw.lengths + 1)
    assert comparing.key(planning.planned(experiment, other), plan.scenarios[0], "learn") != keys[0]


def test_the_number_of_snps_tells_the_size(folder):
    """Statistics of simulated tables: the mean number of SNPs a locus goes with N."""
    from ganinfer import scenarios
    from ganinfer.execution import make
    from ganinfer.simulation import encoding_specs

    experiment = load(folder / "study.yaml")
    plan = planning.planned(experiment, planning.open_table(experiment))
    (scenario,) = plan.scenarios
    names = encoding_specs(scenario.setup)["statistics"].details["names"]
    with make("serial") as serial:
        sets = list(scenarios.simulated(scenario, plan.table.template, 1, "learn", serial, False, 0, 30))
    size = np.array([theta[0] for theta, _, _ in sets])
    number = np.array([arrays["statistics"][names.index("number all, SNPs a locus")] for _, _, arrays in sets])
    assert np.corrcoef(np.log(size), np.log(number))[0, 1] > 0.9
    np.testing.assert_allclose(number, 4 * size * 1e-7 * 500 * (1 / np.arange(1, 10)).sum(), rtol=0.6)


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("loci.length=null", r"a study by rate has loci\.length"),
        ("loci.number=5", r"a study by rate has loci\.length"),
        ("loci.genealogies=alike", r"length and number are for genealogies: by-rate"),
        ("loci={}", r"data\.simulate\.loci and loci\.genealogies: by-rate go together"),
        ("loci.per_locus=one", r"by-rate is of whole loci"),
        ("scenarios.one.mutation_rate=null", r"mutation_rate is missing"),
    ],
)
def test_what_a_study_by_rate_needs(folder, override, sentence):
    with pytest.raises(ExperimentError, match=sentence):
        load(folder / "study.yaml", [override])


def test_data_say_their_lengths_once(folder):
    scenarios = STUDY[STUDY.index("scenarios:") :]
    file = f"{{file: {DATA / 'snps.tsv'}, delimiter: tab, values: haplotypes, columns: {{A: 1-6}}}}"
    table = f"data:\n  table: {file[:-1]}, coding: {{ancestral: -1, derived: 1, missing: 0}}, leading: [locus]}}\n"
    with pytest.raises(ExperimentError, match=r"give loci\.length, in bases, and loci\.number"):
        loads(table + "loci: {genealogies: by-rate, length: 100}\n" + scenarios, folder)
    loaded = loads(table + "loci: {genealogies: by-rate, length: 100, number: 50}\n" + scenarios, folder)
    assert planning.open_table(loaded).summary()["bases"] == 5_000
    (folder / "x.fasta").write_text(">a\nACGT\n>b\nACGA\n")
    aligned = "data: {alignments: {files: x.fasta}, populations: {A: all}}\n"
    with pytest.raises(ExperimentError, match=r"not for data\.alignments, which tell them"):
        loads(aligned + "loci: {genealogies: by-rate, length: 4, number: 1}\n" + scenarios, folder)
    loaded = loads(aligned + "loci: {genealogies: by-rate}\n" + scenarios, folder)
    assert planning.open_table(loaded).lengths.tolist() == [4]


def test_a_table_with_more_loci_is_judged_in_parts_of_whole_ones():
    """Loci of one and of two SNPs; in every part as many of each as the template has, SNPs of a locus together."""
    template = LociTemplate(np.array([0, 0, 1, 2, 2]))
    locus = np.array([0, 1, 1, 2, 2, 3, 3, 4, 5, 5, 5])
    genotypes = np.repeat(locus[:, None], 10, axis=1).astype(np.int8)
    table = Haplotypes(genotypes, locus, chromosomes(SAMPLES))
    order = np.random.default_rng(1).permutation(len(locus))
    parts, number = predicting._parts_of_loci(template, table, order)
    assert number == len(parts) == 2
    for part in parts:
        assert part.positions.tolist() == template.locus.tolist()
        names = part.genotypes[:, 0]
        assert names[0] == names[1]
        assert names[3] == names[4]
        assert names[2] in (0, 4)
    assert {int(n) for part in parts for n in part.genotypes[:, 0]} == {0, 1, 2, 3, 4}


def test_what_is_laid_out_by_locus_is_bounded():
    """Loci with several SNPs alone; by rate with room, but no more genotypes than a bound."""
    given = LociTemplate(np.array([0, 0, 1, 2, 2, 2]))
    assert planning._encoding_options("locus-table", given, 10) == {"num_loci": 2, "num_snps": 3}
    assert planning._encoding_options("table-statistics", given, 10) == {"linkage": True}
    rate = by_rate([500] * 9, given.locus)
    assert planning._encoding_options("locus-table", rate, 10) == {"num_loci": 4, "num_snps": 6}
    many = by_rate([500] * 5_000, np.repeat(np.arange(4_000), 2))
    assert planning._encoding_options("locus-table", many, 200) == {"num_loci": 500, "num_snps": 4}
    single = LociTemplate(np.arange(5))
    assert [planning._encoding_options(name, single, 10) for name in ("joint-counts", "table-statistics")] == [{}, {}]
