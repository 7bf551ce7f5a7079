"""The moments yardstick: spectra counted right, its likelihood and searches, records that are kept whole."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import msprime
import numpy as np
import pytest

from ganinfer.haplotypes import SampleSet, from_tree_sequence
from ganinfer.parameters import Parameter, Parameters
from ganinfer.pipeline import PipelineSettings
from ganinfer.windows import Window
from tests.verification import yardstick
from tests.verification.moments_fit import Coordinates, Fit, deviance_residuals
from tests.verification.records import RecordsError
from tests.verification.yardstick import YardstickError, add_record, errors, load_case, read_records, spectrum

LENGTH = 50_000
SAMPLES = (SampleSet("A", 3), SampleSet("B", 2))
RECORD = {
    "seed": 2,
    "truth": {"Ne": 100.0, "T": 10.0},
    "estimate": {"Ne": 110.0, "T": 9.0},
    "log_likelihood": -5.0,
    "cpu_seconds": 3.0,
}


class Genomes:
    """Windows made of tree sequences, one each."""

    def __init__(self, trees):
        self.samples, self.phased = SAMPLES, True
        whole = np.array([[0, LENGTH]])
        self.windows = tuple(Window("1", i * LENGTH, (i + 1) * LENGTH, whole, i) for i in range(len(trees)))
        self._haplotypes = [from_tree_sequence(t, SAMPLES) for t in trees]

    def haplotypes(self, index):
        return self._haplotypes[index]


def simulated(num_windows, mutation_rate=5e-8):
    demography = msprime.Demography.isolated_model([5_000, 8_000])
    demography.add_population(name="ancestor", initial_size=9_000)
    demography.add_population_split(time=2_000, derived=["pop_0", "pop_1"], ancestral="ancestor")
    ancestry = msprime.sim_ancestry(
        {"pop_0": 3, "pop_1": 2},
        demography=demography,
        sequence_length=LENGTH,
        recombination_rate=1e-8,
        num_replicates=num_windows,
        random_seed=3,
    )
    return [msprime.sim_mutations(t, rate=mutation_rate, random_seed=7 + i) for i, t in enumerate(ancestry)]


@pytest.fixture(scope="module")
def trees():
    return simulated(6)


def with_two_alleles(tree_sequence):
    """The tree sequence without the sites that hold more than two alleles, or that no sample tells apart."""
    odd = [v.site.id for v in tree_sequence.variants() if len(v.site.mutations) != 1]
    return tree_sequence.delete_sites(odd)


# --- counting -----------------------------------------------------------------------------------------------------


def test_the_spectrum_is_the_one_tskit_counts(trees):
    trees = [with_two_alleles(t) for t in trees]
    found = spectrum(Genomes(trees), np.arange(6), PipelineSettings())
    sets = [np.arange(6), np.arange(6, 10)]
    wanted = sum(t.allele_frequency_spectrum(sets, polarised=True, span_normalise=False) for t in trees)
    wanted[0, 0] = wanted[-1, -1] = 0
    assert found.shape == (7, 5)
    np.testing.assert_array_equal(found, wanted)
    assert found.sum() > 100


def test_a_folded_spectrum_counts_the_rarer_allele(trees):
    """Site by site; two cells that mirror each other at a tie are one to a likelihood, so their sum is compared."""
    found = spectrum(Genomes(trees), np.arange(6), PipelineSettings(folded=True))
    wanted = np.zeros((7, 5))
    for tree_sequence in trees:
        for variant in tree_sequence.variants():
            alleles = variant.genotypes
            if alleles.max() > 1 or alleles.min() == alleles.max():
                continue
            rarer = 1 if 2 * np.sum(alleles == 1) <= len(alleles) else 0
            wanted[np.sum(alleles[:6] == rarer), np.sum(alleles[6:] == rarer)] += 1
    assert wanted.sum() == found.sum()
    total = np.add.outer(np.arange(7), np.arange(5))
    np.testing.assert_array_equal(found[total < 5], wanted[total < 5])
    np.testing.assert_array_equal(found[total > 5], 0)
    tied = np.where(total == 5, found, 0)
    np.testing.assert_array_equal((tied + tied[::-1, ::-1]), np.where(total == 5, wanted + wanted[::-1, ::-1], 0))


def test_only_chosen_windows_count_and_all_of_them_add_up(trees):
    genomes = Genomes(trees)
    each = [spectrum(genomes, np.array([i]), PipelineSettings()) for i in range(6)]
    np.testing.assert_array_equal(sum(each), spectrum(genomes, np.arange(6), PipelineSettings()))


def test_sites_with_more_than_two_alleles_are_left_out():
    crowded = simulated(2, mutation_rate=1e-5)
    found = spectrum(Genomes(crowded), np.arange(2), PipelineSettings())
    sites = [v.genotypes for t in crowded for v in t.variants()]
    seen = [set(s) for s in sites]
    assert any(len(alleles) > 2 for alleles in seen)
    assert found.sum() == sum(len(alleles) == 2 and 0 in alleles for alleles in seen)


def test_a_site_without_every_call_is_refused(trees):
    genomes = Genomes(trees)
    window = genomes.haplotypes(1)
    genotypes = window.genotypes.copy()
    genotypes[4, 2] = -1
    genomes._haplotypes[1] = replace(window, genotypes=genotypes)
    with pytest.raises(YardstickError, match=rf"1:{LENGTH + window.positions[4] + 1} lacks some; use data without"):
        spectrum(genomes, np.arange(6), PipelineSettings())


# --- the fit, but for moments itself --------------------------------------------------------------------------------


PARAMETERS = Parameters((Parameter("N", 1_000, 30_000), Parameter("growth", 0, 0.05), Parameter("pulse", -0.2, 0.2)))


def test_coordinates_go_from_one_to_two_and_back():
    coordinates = Coordinates(PARAMETERS)
    np.testing.assert_allclose(coordinates.encode(PARAMETERS.bounds.T), [[1, 1, 1], [2, 2, 2]])
    draws = PARAMETERS.sample(np.random.default_rng(1), 50)
    np.testing.assert_allclose(coordinates.decode(coordinates.encode(draws)), draws, rtol=1e-10)


def test_squared_residuals_are_twice_what_is_lost_of_the_poisson_likelihood():
    observed, expected = np.array([0.0, 3.0, 40.0, 7.0]), np.array([0.5, 5.0, 33.0, 7.0])
    found = deviance_residuals(observed, expected)
    best = np.where(observed > 0, observed * np.log(np.maximum(observed, 1)), 0) - observed
    lost = (best - (observed * np.log(expected) - expected)).sum()
    assert (found**2).sum() == pytest.approx(2 * lost)
    np.testing.assert_array_equal(np.sign(found), [-1, -1, 1, 0])


class Exact(Fit):
    """A spectrum known in closed form, decaying and curved, in the place of moments'."""

    def __init__(self, truth):
        super().__init__(
            SimpleNamespace(parameters=PARAMETERS, demes={}), {"populations": ["A"]}, np.ma.array(np.zeros(30))
        )
        self.observed = np.random.default_rng(2).poisson(self.model(self.coordinates.encode(np.array(truth))))

    def model(self, x):
        size, growth, pulse = self.coordinates.decode(x)
        i = np.arange(1, 31)
        return size * np.exp(40 * growth * i / 30) / i * (1 + pulse * np.cos(i))

    def residuals(self, x):
        return deviance_residuals(self.observed, self.model(x))


def test_searches_from_afar_and_refinement_end_at_the_same_maximum():
    fit = Exact([9_000, 0.02, 0.05])
    ends = [fit.search(np.array(x)) for x in ([1.1, 1.9, 1.2], [1.9, 1.1, 1.8], [1.5, 1.5, 1.5])]
    np.testing.assert_allclose(ends[1:], [ends[0]] * 2, atol=1e-4)
    estimate = fit.coordinates.decode(ends[0])
    np.testing.assert_allclose(estimate, [9_000, 0.02, 0.05], rtol=0.1)
    close = fit.refine(ends[0] + np.array([0.004, -0.006, 0.005]))
    lost = (fit.residuals(close) ** 2).sum() - (fit.residuals(ends[0]) ** 2).sum()
    assert 0 <= lost + 1e-6 < 0.01


# --- records ------------------------------------------------------------------------------------------------------


def test_records_are_kept_by_seed_and_replaced(tmp_path):
    assert read_records("im", tmp_path) == []
    add_record("im", RECORD, tmp_path)
    add_record("im", {**RECORD, "seed": 1}, tmp_path)
    add_record("im", {**RECORD, "log_likelihood": -4.0}, tmp_path)
    assert [(r["seed"], r["log_likelihood"]) for r in read_records("im", tmp_path)] == [(1, -5.0), (2, -4.0)]
    assert [p.name for p in tmp_path.iterdir()] == ["moments-im.json"]


def test_errors_are_per_cent_of_the_truth():
    found = errors([RECORD, {**RECORD, "estimate": {"Ne": 95.0, "T": 12.0}}])
    np.testing.assert_allclose(found["Ne"], [10, -5])
    np.testing.assert_allclose(found["T"], [-10, 20])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "holds no records of fits; delete it"),
        (json.dumps({"schema_version": 99, "fits": []}), "has schema version 99, this code 1; delete it"),
    ],
)
def test_a_file_that_is_no_record_says_so(tmp_path, text, message):
    (tmp_path / "moments-im.json").write_text(text)
    with pytest.raises(RecordsError, match=message):
        read_records("im", tmp_path)


def test_an_unknown_case_is_answered_with_the_known_ones():
    with pytest.raises(YardstickError, match=r"'imm' is no case of the verification; there are im, exp"):
        load_case("imm", 1)


def test_cases_differ_from_their_experiments_only_in_what_they_say():
    assert load_case("im-50", 3).data.simulate.samples["A"].individuals == 50
    assert load_case("im", 3).data.simulate.seed == 3
    assert load_case("exp-folded", 1).data.ancestral == "none"


def test_a_command_that_fails_is_reported_with_its_last_words():
    with pytest.raises(YardstickError, match=r"the fit failed with exit code 3:\nno such thing"):
        yardstick._call(["sh", "-c", "echo no such thing >&2; exit 3"], "the fit")
