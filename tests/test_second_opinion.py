"""A second opinion: spectra counted right, a likelihood and its maximum, what is said of differences."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import moments
import msprime
import numpy as np
import pytest

from ganinfer import execution
from ganinfer.coalescent import with_errors
from ganinfer.haplotypes import SampleSet, from_tree_sequence
from ganinfer.interfaces import FoldResult, State, WindowTemplate
from ganinfer.parameters import Parameter, Parameters
from ganinfer.pipeline import PipelineSettings
from ganinfer.report import reading, second_told
from ganinfer.runner import opinions
from ganinfer.second_opinion import ours
from ganinfer.second_opinion import spectra as counting
from ganinfer.second_opinion.asking import OpinionSettings, _apart, _check_time, _seconds
from ganinfer.second_opinion.fitting import Fit, OpinionError
from ganinfer.second_opinion.likelihood import (
    Around,
    Coordinates,
    Job,
    Likelihood,
    deviance_residuals,
    deviance_slopes,
    sandwich,
    without_idle_pulses,
)
from ganinfer.simulation import Setup
from ganinfer.windows import Window
from tests import run_folder

LENGTH = 50_000
SAMPLES = (SampleSet("A", 3), SampleSet("B", 2))
MODEL = """
time_units: generations
demes:
- {name: ancestor, epochs: [{start_size: 9000, end_time: 2000}]}
- {name: A, ancestors: [ancestor], epochs: [{start_size: 5000}]}
- {name: B, ancestors: [ancestor], epochs: [{start_size: 8000}]}
"""
OPTIONS = """
parameters:
- {name: N_A, lower_bound: 500, upper_bound: 50000, values: [{demes: {A: {epochs: {0: start_size}}}}]}
- {name: N_B, lower_bound: 500, upper_bound: 50000, values: [{demes: {B: {epochs: {0: start_size}}}}]}
- {name: N_anc, lower_bound: 500, upper_bound: 50000, values: [{demes: {ancestor: {epochs: {0: start_size}}}}]}
- {name: T, lower_bound: 100, upper_bound: 20000, values: [{demes: {ancestor: {epochs: {0: end_time}}}}]}
- {name: rate, lower_bound: 1.0e-9, upper_bound: 1.0e-7}
"""


def setup(settings=PipelineSettings(), samples=SAMPLES, mutation_rate=5e-8):  # noqa: B008
    options = {
        "model": {"file": "m.yaml", "text": MODEL},
        "parameters": {"file": "o.yaml", "text": OPTIONS},
        "mutation_rate": mutation_rate,
        "recombination_rate": "rate",
    }
    return Setup("demes", options, samples, settings, (), LENGTH, 16)


def test_importing_moments_leaves_alone_what_the_process_warns_of():
    code = """
import warnings
from ganinfer.second_opinion.likelihood import program
before = list(warnings.filters)
assert program().__name__ == "moments"
assert warnings.filters == before, warnings.filters
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


class Genomes:
    """Windows made of tree sequences, one each, every window a block of its own."""

    def __init__(self, trees):
        self.samples, self.phased = SAMPLES, True
        whole = np.array([[0, LENGTH]])
        self.windows = tuple(Window("1", i * LENGTH, (i + 1) * LENGTH, whole, i) for i in range(len(trees)))
        self.templates = (WindowTemplate(LENGTH),) * len(trees)
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


@pytest.fixture(scope="module")
def many():
    return Genomes(simulated(300))


def counted(genomes, settings=PipelineSettings(), folds=2):  # noqa: B008
    chosen = np.arange(len(genomes.windows))
    return counting.spectra(setup(settings), genomes, chosen, chosen % folds, 1)


def with_two_alleles(tree_sequence):
    """The tree sequence without the sites that hold more than two alleles, or that no sample tells apart."""
    odd = [v.site.id for v in tree_sequence.variants() if len(v.site.mutations) != 1]
    return tree_sequence.delete_sites(odd)


# --- counting -----------------------------------------------------------------------------------------------------


def test_the_spectrum_is_the_one_tskit_counts(trees):
    trees = [with_two_alleles(t) for t in trees]
    found = counted(Genomes(trees))
    sets = [np.arange(6), np.arange(6, 10)]
    wanted = sum(t.allele_frequency_spectrum(sets, polarised=True, span_normalise=False) for t in trees)
    wanted[0, 0] = wanted[-1, -1] = 0
    np.testing.assert_array_equal(found.total, wanted)
    assert found.total.sum() > 100
    assert found.length == 6 * LENGTH
    assert found.used.sum() == 7 * 5 - 2


def test_a_folded_spectrum_counts_the_rarer_allele(trees):
    """Site by site; two cells that mirror each other at a tie are one to a likelihood, so their sum is compared."""
    found = counted(Genomes(trees), PipelineSettings(folded=True)).total
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


def test_cells_of_sites_that_are_left_out_are_not_compared(trees):
    found = counted(Genomes(trees), PipelineSettings(folded=True, singletons="drop"))
    alleles = np.add.outer(np.arange(7), np.arange(5))
    np.testing.assert_array_equal(found.used, (alleles >= 2) & (alleles <= 8))
    assert found.total[~found.used].sum() == 0
    assert found.total.sum() > 0


def test_missing_calls_are_projected_away_and_what_is_lost_shortens_the_length(trees):
    """Where any call of three may be missing, a spectrum of fewer chromosomes has the diversity of the whole one."""
    rng, whole = np.random.default_rng(3), Genomes([with_two_alleles(t) for t in simulated(60)])
    holed = Genomes([])
    holed.windows, holed.templates = whole.windows, (WindowTemplate(LENGTH, missing=np.zeros((1, 2), np.uint8)),) * 60
    for window in whole._haplotypes:
        genotypes = window.genotypes.copy()
        genotypes[rng.random(genotypes.shape) < 0.05] = -1
        holed._haplotypes.append(replace(window, genotypes=genotypes))
    found, complete = counted(holed), counted(whole)
    assert all(n < m for n, m in zip(found.sizes.values(), complete.sizes.values(), strict=True))
    assert found.length < complete.length
    pi = [moments.Spectrum(s.total).marginalize([1]).pi() / s.length for s in (found, complete)]
    assert pi[0] == pytest.approx(pi[1], rel=0.03)


@pytest.mark.parametrize(("chromosomes", "sizes"), [([40], [30]), ([12, 9], [10, 9]), ([9, 8, 8], [7, 8, 4])])
def test_sites_are_projected_as_moments_does_it(chromosomes, sizes):
    rng = np.random.default_rng(len(sizes))
    called = np.stack([rng.integers(n, m + 1, 500) for n, m in zip(sizes, chromosomes, strict=True)], axis=1)
    derived = rng.binomial(called, 0.3)
    found, wanted = np.zeros([n + 1 for n in sizes]), np.zeros([n + 1 for n in sizes])
    counting._add(found, derived, called)
    for site, calls in zip(derived, called, strict=True):
        whole = np.zeros(calls + 1)
        whole[tuple(site)] = 1
        wanted += moments.Spectrum(whole, mask_corners=False).project(sizes).data
    np.testing.assert_allclose(found, wanted, atol=1e-10)


def test_many_chromosomes_of_many_populations_are_projected_in_little_memory():
    """A spectrum of all of them would have 5 x 10^11 cells."""
    called = np.full((2_000, 5), 220)
    derived = np.random.default_rng(1).binomial(called, 0.2)
    found = np.zeros((5,) * 5)
    tracemalloc.start()
    counting._add(found, derived, called)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.sum() == pytest.approx(2_000)
    # Of four chromosomes, a share of .2 is derived in each population.
    assert np.tensordot(found, np.arange(5), axes=([4], [0])).sum() / 2_000 == pytest.approx(0.8, rel=0.02)
    assert peak < 2e8


def test_groups_keep_blocks_and_folds_together():
    rng = np.random.default_rng(1)
    block = np.repeat(np.arange(140), rng.integers(1, 4, 140))
    fold = (block * 7 % 3 == 0).astype(int)
    group, folds = counting._groups(block, fold)
    assert all(len(np.unique(group[block == b])) == 1 for b in range(140))
    np.testing.assert_array_equal(folds[group], fold)
    assert np.bincount(folds).max() <= 50
    sizes = np.bincount(group)
    assert sizes.min() > 0


def test_a_bootstrap_draws_as_many_groups_of_each_fold(trees):
    found = counted(Genomes(trees))
    times = np.stack([counting.drawn(found, np.random.default_rng(i)) for i in range(50)])
    for k in (0, 1):
        assert (times[:, found.fold == k].sum(axis=1) == 3).all()
    assert times.max() > 1
    wanted = sum(n * spectrum for n, spectrum in zip(times[0], found.counts, strict=True))
    np.testing.assert_array_equal(counting.resampled(found, times[0]), wanted)


def test_groups_of_other_lengths_make_no_noise(trees):
    """Three times the bases with three times the sites say the same."""
    found = counted(Genomes(trees))
    even = replace(found, counts=np.stack([found.total] * 4), lengths=np.ones(4), fold=np.array([0, 0, 1, 1]))
    uneven = replace(even, counts=even.counts * np.array([1, 3, 1, 3])[:, None, None], lengths=np.array([1.0, 3, 1, 3]))
    for i in range(5):
        times = counting.drawn(uneven, np.random.default_rng(i))
        np.testing.assert_allclose(counting.resampled(uneven, times), 2 * even.total)
    around = Around(np.array([1.5]), np.ones(even.total.size), np.ones((even.total.size, 1)))
    cells = [c.ravel() / uneven.total.sum() * even.total.size for c in uneven.counts]
    assert sandwich(around, cells, uneven.lengths / 8)[0, 0] == pytest.approx(0, abs=1e-20)


@pytest.mark.parametrize(
    ("settings", "samples", "templates", "says"),
    [
        (PipelineSettings(), SAMPLES, (), None),
        (PipelineSettings(), (SampleSet("A", 3, 2, 100.0),), (), "samples of A are ancient"),
        (PipelineSettings(), tuple(SampleSet(c, 1) for c in "ABCDEF"), (), "up to 5 populations, and there are 6"),
        (
            PipelineSettings(singletons="drop"),
            SAMPLES,
            (WindowTemplate(9, missing=np.zeros((1, 2), np.uint8)),),
            "calls are missing",
        ),
        (PipelineSettings(singletons="drop"), (SampleSet("A", 50), SampleSet("B", 2)), (), "100 chromosomes"),
        (PipelineSettings(), (SampleSet("A", 50), SampleSet("B", 2)), (), None),
    ],
)
def test_what_has_no_spectrum_says_why(settings, samples, templates, says):
    found = counting.why_not(setup(settings, samples), templates)
    assert found is None if says is None else says in found


# --- the fit ------------------------------------------------------------------------------------------------------


PARAMETERS = Parameters((Parameter("N", 1_000, 30_000), Parameter("growth", 0, 0.05), Parameter("pulse", -0.2, 0.2)))


def test_coordinates_go_from_one_to_two_and_back():
    coordinates = Coordinates(PARAMETERS.bounds)
    np.testing.assert_allclose(coordinates.encode(PARAMETERS.bounds.T), [[1, 1, 1], [2, 2, 2]])
    draws = PARAMETERS.sample(np.random.default_rng(1), 50)
    np.testing.assert_allclose(coordinates.decode(coordinates.encode(draws)), draws, rtol=1e-10)


@pytest.mark.parametrize("bounds", [(1_000, 100_000), (1_000, 30_000), (10, 10_000), (100, 50_000), (500, 20_000)])
def test_bounds_are_inside_of_themselves(bounds):
    """Over logarithms they come back with another last digit, and a fit that ends at one must be possible."""
    known = Parameters((Parameter("N", *bounds),))
    found = Coordinates(known.bounds).decode(np.array([[1.0], [2.0]]))
    np.testing.assert_array_equal(found, known.bounds.T)
    assert known.satisfies_constraints(found).all()


def test_squared_residuals_are_twice_what_is_lost_of_the_poisson_likelihood():
    observed, expected = np.array([0.0, 3.0, 40.0, 7.0]), np.array([0.5, 5.0, 33.0, 7.0])
    found = deviance_residuals(observed, expected)
    best = np.where(observed > 0, observed * np.log(np.maximum(observed, 1)), 0) - observed
    lost = (best - (observed * np.log(expected) - expected)).sum()
    assert (found**2).sum() == pytest.approx(2 * lost)
    np.testing.assert_array_equal(np.sign(found), [-1, -1, 1, 0])


def test_residuals_have_the_slopes_that_are_said():
    observed, expected = np.array([0.0, 3.0, 40.0, 7.0, 1.0]), np.array([0.5, 5.0, 33.0, 7.0, 1e-3])
    steps = 1e-6 * expected
    numerical = deviance_residuals(observed, expected + steps) - deviance_residuals(observed, expected - steps)
    found = deviance_slopes(observed, expected, deviance_residuals(observed, expected))
    np.testing.assert_allclose(found, numerical / (2 * steps), rtol=1e-4)


@pytest.fixture(scope="module")
def fitted(many):
    found = counted(many)
    draws = Likelihood(Job.of(setup(), found, misidentified=False)).parameters.sample(np.random.default_rng(4), 2)
    with execution.make("serial", 1) as executor:
        return found, Fit(Job.of(setup(), found, misidentified=False), draws, executor)


def test_starts_from_afar_meet_near_the_truth(fitted):
    spectra, fit = fitted
    assert abs(np.diff([start.log_likelihood for start in fit.starts])[0]) < 1
    truth = fit.likelihood.coordinates.encode(np.array([5_000, 8_000, 9_000, 2_000, 1e-8]))
    away = (fit.x - truth)[:4] / np.sqrt(np.diag(fit.covariance(list(spectra.counts), spectra.lengths)))[:4]
    assert np.abs(away).max() < 3
    assert fit.log_likelihood < 0
    assert fit.at(fit.estimate) == pytest.approx(fit.log_likelihood)


def test_the_spectrum_does_not_see_recombination(fitted):
    _, fit = fitted
    assert fit.seen.tolist() == [True, True, True, True, False]


def test_godambes_covariance_is_that_of_moments(fitted):
    spectra, fit = fitted
    own = np.sqrt(np.diag(fit.covariance(list(spectra.counts), spectra.lengths)))
    rng, likelihood = np.random.default_rng(1), fit.likelihood
    resampled = [counting.resampled(spectra, counting.drawn(spectra, rng)) for _ in range(200)]

    def expected(x, _sizes):
        theta = likelihood.parameters.named(likelihood.coordinates.decode(np.append(x, fit.x[4])))
        graph = likelihood._simulator.neutral_model(theta).graph
        return moments.Demes.SFS(graph, ["A", "B"], [6, 4], u=5e-8 * spectra.length)

    theirs = moments.Godambe.GIM_uncert(
        expected, [moments.Spectrum(s) for s in resampled], fit.x[:4], moments.Spectrum(spectra.total), multinom=False
    )
    np.testing.assert_allclose(own[:4], theirs, rtol=0.25)


def test_bootstrap_data_sets_scatter_as_the_covariance_says(fitted):
    spectra, fit = fitted
    rng = np.random.default_rng(2)
    counts = [counting.resampled(spectra, counting.drawn(spectra, rng)) for _ in range(60)]
    with execution.make("serial", 1) as executor:
        found = fit.likelihood.coordinates.encode(fit.again(counts, executor))
    said = np.sqrt(np.diag(fit.covariance(list(spectra.counts), spectra.lengths)))
    np.testing.assert_allclose(found[:, :4].std(axis=0), said[:4], rtol=0.35)


def test_a_curved_ridge_is_told_from_a_straight_one():
    """Along a bend, one standard deviation of the tangent costs far more than the sandwich says."""
    fit = object.__new__(Fit)
    bend = 0.0

    class Bent:
        def of(self, cells):
            return cells

        def log_likelihood(self, x):
            a, b = x - 1.5
            return -0.5 * ((a / 0.1) ** 2 + ((b - bend * a**2) / 0.001) ** 2)

    fit.x, fit.likelihood, fit.log_likelihood = np.array([1.5, 1.5]), Bent(), 0.0
    fit.around, lengths = Around(fit.x, np.ones(2), np.diag([10.0, 1000.0])), np.ones(4)
    groups = [np.array([s, t]) for s in (-1.0, 1.0) for t in (-1.0, 1.0)]
    scale = sandwich(fit.around, groups, lengths / 4)
    groups = [g * np.array([0.1, 0.001]) / np.sqrt(np.diag(scale)) for g in groups]
    np.testing.assert_allclose(np.sqrt(np.diag(fit.covariance(groups, lengths))), [0.1, 0.001])
    bend = 5.0
    assert fit.covariance(groups, lengths) is None


def test_what_goes_with_an_estimate_at_a_bound_is_told():
    """The first two go together, the third with neither, and the spectrum sees nothing of the fourth."""
    fit = object.__new__(Fit)
    fit.job = SimpleNamespace(misidentified=False)
    slopes = np.zeros((40, 4))
    slopes[:, :3] = np.random.default_rng(1).normal(size=(40, 3)) * 100
    slopes[:, 1] = slopes[:, 0] + 0.5 * slopes[:, 1]
    for x, expected in (([1.5, 1.5, 1.5, 1.5], [-1, -1, -1, -1]), ([2.0, 1.5, 1.5, 1.0], [-1, 0, -1, -1])):
        fit.x = np.array(x)
        fit.around = Around(fit.x, np.ones(40), slopes)
        assert fit.seen.tolist() == [True, True, True, False]
        assert fit.leans_on.tolist() == expected
    # Of the last one, where it is the share of misidentified sites, nothing is made.
    fit.job = SimpleNamespace(misidentified=True)
    fit.x, fit.around = np.array([1.5, 1.0]), Around(np.array([1.5, 1.0]), np.ones(40), slopes[:, :2])
    assert fit.leans_on.tolist() == [-1, -1]


class Linear(Likelihood):
    """A Poisson model of the ``slopes`` (c, p): ``level`` sites a cell in the middle of the coordinates' range.

    What the ``kink`` th parameter does below the middle is told by the other ``below`` (c,).
    """

    def __init__(self, observed, slopes, level=100.0, kink=None, below=None):
        self.observed, self._slopes, self._level, self._kink, self._below = observed, slopes, level, kink, below
        size = slopes.shape[1]
        self.coordinates = Coordinates(np.tile([[-1.0, 1.0]], (size, 1)))

    def of(self, counts):
        return counts

    def expected(self, x):
        moved = x - 1.5
        found = self._level + self._slopes @ moved
        if self._kink is not None:
            found = found + (self._below - self._slopes[:, self._kink]) * min(moved[self._kink], 0)
        return np.maximum(found, 1e-9)


def test_what_is_at_a_bound_leaves_the_others_free():
    """The maximum of a model whose first parameter would leave its bounds, beside a general search."""
    from scipy.optimize import minimize

    slopes = np.random.default_rng(1).normal(size=(30, 2)) * 40
    fit = Linear(np.maximum(100 + slopes @ [-0.55, 0.3], 1), slopes)
    found = fit.refine(fit.around(np.array([1.2, 1.4])))
    wanted = minimize(lambda x: (fit.residuals(x) ** 2).sum(), [1.1, 1.6], bounds=[(1, 2)] * 2).x
    assert wanted[0] == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(found, wanted, atol=2e-3)


def linear_fit(slopes, seed=1):
    """A fit at the middle of a linear model of the ``slopes`` (c, p), and 40 groups of what it expects, with noise."""
    fit = object.__new__(Fit)
    fit.job, fit.x = SimpleNamespace(misidentified=False), np.full(slopes.shape[1], 1.5)
    fit.likelihood = Linear(np.full(len(slopes), 100.0), slopes)
    fit.around, fit.log_likelihood = fit.likelihood.around(fit.x), fit.likelihood.log_likelihood(fit.x)
    groups = np.random.default_rng(seed).poisson(2.5, size=(40, len(slopes))).astype(float)
    return fit, fit.covariance(list(groups), np.ones(40))


def test_what_goes_together_for_ever_is_known_together_only_and_leaves_the_others_as_they_are():
    rng = np.random.default_rng(3)
    slopes = rng.normal(size=(60, 3)) * 40
    slopes[:, 2] = 0.0
    alone, covariance = linear_fit(slopes)
    assert not alone.confounded.any()
    # The third does what the second does, so that their difference can be anything.
    slopes[:, 2] = slopes[:, 1]
    both, with_ridge = linear_fit(slopes)
    assert both.confounded.tolist() == [False, True, True]
    assert with_ridge[0, 0] == pytest.approx(covariance[0, 0], rel=1e-6)
    # What goes together closely, and is told apart, is no ridge.
    slopes[:, 2] = slopes[:, 1] + 0.05 * rng.normal(size=60) * 40
    close, _ = linear_fit(slopes)
    assert not close.confounded.any()


def test_of_sizes_and_a_rate_the_spectrum_knows_products_only(fitted):
    """One parameter is both rates, so that mutations leave no scale."""
    spectra, known = fitted
    assert not known.confounded.any()
    job = Job.of(setup(mutation_rate="rate"), spectra, misidentified=False)
    draws = Likelihood(job).parameters.sample(np.random.default_rng(4), 2)
    with execution.make("serial", 1) as executor:
        fit = Fit(job, draws, executor)
        theirs = fit.again([spectra.total] * 3, executor)
    assert fit.confounded.all()
    posterior = np.random.default_rng(5).normal(1, 0.1, size=(100, 5)) * fit.estimate
    found = _seconds(fit.likelihood.parameters, fit, theirs, theirs, spectra, posterior, np.zeros(5), 0.9)
    assert {(s.interval, s.difference, s.confounded) for s in found.values()} == {(None, None, True)}


def test_a_refinement_of_sparse_cells_ends_at_the_maximum():
    """With less than a site in a cell, where residuals are far from normal, hardly any log likelihood is left over."""
    from scipy.optimize import minimize

    rng, lost = np.random.default_rng(2), []
    slopes = 0.6 * rng.uniform(-1, 1, size=(400, 3)) * np.array([1.0, 1.0, 0.5])
    for seed in range(5):
        observed = np.random.default_rng(seed).poisson(0.8 + slopes @ [0.2, -0.2, 0.3]).astype(float)
        fit = Linear(observed, slopes, level=0.8)
        found = fit.refine(fit.around(np.full(3, 1.5)))
        best = minimize(lambda x, f=fit: -f.log_likelihood(x), found, bounds=[(1, 2)] * 3, tol=1e-10)
        lost.append(-best.fun - fit.log_likelihood(found))
    assert np.mean(lost) < 0.02


def test_a_refit_crosses_a_zero_that_the_fit_lies_at():
    """Migration that turns round: from the kink, each side is searched, and the better one counts."""
    rng = np.random.default_rng(3)
    slopes, below = rng.normal(size=(40, 2)) * 40, rng.normal(size=40) * 40
    fit = Linear(np.full(40, 100.0), slopes, kink=1, below=below)
    at = fit.around(np.array([1.5, 1.5]))
    boxes = fit.sides(at)
    assert [box(np.array([1.2, 1.2])).tolist() for box in boxes] == [[1.5, 1.5], [1.5, 1.2], [1.2, 1.5], [1.2, 1.2]]
    sides = [fit.around(box(at.x), box) for box in boxes]
    for x in ([1.52, 1.58], [1.47, 1.42], [1.5, 1.5]):
        np.testing.assert_allclose(fit.refit(sides, fit.expected(np.array(x))), x, atol=2e-3)
    # One side alone stays where it is, and far from the kink there is one.
    assert fit.refit(sides[:1], fit.expected(np.array([1.5, 1.42])))[1] == pytest.approx(1.5)
    assert len(fit.sides(fit.around(np.array([1.9, 1.9])))) == 1


class OneSided(Linear):
    def expected(self, x):
        if x[1] <= 1.5:
            raise ValueError("impossible")
        return super().expected(x)


@pytest.mark.parametrize(("model", "second"), [(Linear, {1.5, 2.0}), (OneSided, {2.0})])
def test_a_fit_close_to_zero_has_a_side_for_every_sign_that_is_possible(model, second):
    rng = np.random.default_rng(3)
    slopes, below = rng.normal(size=(40, 2)) * 40, rng.normal(size=40) * 40
    fit = object.__new__(Fit)
    fit.likelihood = model(np.full(40, 100.0), slopes, kink=1, below=below)
    fit.likelihood.observed = fit.likelihood.expected(np.array([1.5, 1.53]))
    sides = fit._sides(np.array([1.5, 1.52]))
    assert {side.box.high[1] for side in sides} == second
    best = max(sides, key=lambda side: fit.likelihood.log_likelihood(side.x))
    np.testing.assert_allclose(best.x, [1.5, 1.53], atol=2e-3)


def test_broken_constraints_are_impossible():
    limited = setup()
    limited.options["parameters"]["text"] += "constraints: [{params: [N_A, N_B], constraint: greater_than}]\n"
    job = Job(limited, ("A", "B"), np.ones((7, 5)), np.ones((7, 5), dtype=bool), 1e6, False, False)
    likelihood = Likelihood(job)
    theta = np.array([5_000.0, 8_000, 9_000, 2_000, 1e-8])
    with pytest.raises(ValueError, match="constraints"):
        likelihood.expected(likelihood.encode(theta))
    theta[:2] = 8_000, 5_000
    assert np.isfinite(likelihood.expected(likelihood.encode(theta))).all()


@pytest.mark.parametrize("share", [0.0, 0.1])
def test_a_pulse_that_moves_nobody_is_left_out_and_changes_nothing(share, monkeypatch):
    pulsing = setup()
    pulses = [("A", "B", share), ("B", "A", 0.0)]
    lines = [f"- {{sources: [{a}], dest: {b}, time: 900, proportions: [{s}]}}" for a, b, s in pulses]
    pulsing.options["model"] = {"file": "m.yaml", "text": MODEL + "\n".join(["pulses:", *lines]) + "\n"}
    job = Job(pulsing, ("A", "B"), np.ones((7, 5)), np.ones((7, 5), dtype=bool), 1e6, False, False)
    job.used.flat[[0, -1]] = False
    likelihood = Likelihood(job)
    theta = np.array([5_000.0, 8_000, 9_000, 2_000, 1e-8])
    graph = likelihood._simulator.graph(likelihood.parameters.named(theta))
    less = without_idle_pulses(graph)
    assert [pulse.proportions for pulse in less.pulses] == [[share]] * (share > 0)
    assert len(graph.pulses) == 2  # the model itself stays as it is
    whole = moments.Demes.SFS(graph, ["A", "B"], [20, 20], unsampled_n=20, u=5e-8 * 1e6).project([6, 4])
    seen, own = [], moments.Demes.SFS
    monkeypatch.setattr(moments.Demes, "SFS", lambda graph, *a, **k: seen.append(graph) or own(graph, *a, **k))
    np.testing.assert_allclose(likelihood.expected(likelihood.encode(theta)), whole.data[job.used], rtol=1e-4)
    assert [len(graph.pulses) for graph in seen] == [int(share > 0)]


def test_few_chromosomes_are_computed_as_many():
    """With migration, moments itself is far off for few: its own spectrum of many, projected, is the measure."""
    text = MODEL + "migrations: [{demes: [A, B], rate: 3.0e-4}]\n"
    migrating = setup()
    migrating.options["model"] = {"file": "m.yaml", "text": text}
    job = Job(migrating, ("A", "B"), np.ones((7, 5)), np.ones((7, 5), dtype=bool), 1e6, False, False)
    job.used.flat[[0, -1]] = False
    likelihood = Likelihood(job)
    theta = np.array([5_000.0, 8_000, 9_000, 2_000, 1e-8])
    found = likelihood.expected(likelihood.encode(theta))
    graph = likelihood._simulator.graph(likelihood.parameters.named(theta))
    large = moments.Demes.SFS(graph, ["A", "B"], [60, 60], u=5e-8 * 1e6).project([6, 4])
    np.testing.assert_allclose(found, large.data[job.used], rtol=0.01)


def test_wrong_ancestral_alleles_are_found(many):
    """In windows that our simulators' own errors were put on."""
    rng, wrong = np.random.default_rng(6), Genomes([])
    wrong.windows, wrong.templates = many.windows, many.templates
    wrong._haplotypes = [with_errors(w, 0.04, 0.0, rng) for w in many._haplotypes]
    found = counted(wrong)
    start = np.array([[5_000.0, 8_000, 9_000, 2_000, 1e-8]])
    with execution.make("serial", 1) as executor:
        fit = Fit(Job.of(setup(), found, misidentified=True), start, executor)
        blind = Fit(Job.of(setup(), found, misidentified=False), start, executor)
    assert fit.estimate[5] == pytest.approx(0.04, abs=0.01)
    assert fit.log_likelihood > blind.log_likelihood + 20
    assert not Job.of(setup(), replace(found, folded=True), misidentified=True).misidentified


def test_folded_spectra_are_fitted(many):
    found = counted(many, PipelineSettings(folded=True))
    job = Job.of(setup(PipelineSettings(folded=True)), found, misidentified=False)
    with execution.make("serial", 1) as executor:
        fit = Fit(job, np.array([[6_000.0, 6_000, 8_000, 3_000, 1e-8]]), executor)
    assert len(fit.likelihood.observed) < found.used.sum()
    away = fit.x - fit.likelihood.coordinates.encode(np.array([5_000, 8_000, 9_000, 2_000, 1e-8]))
    sd = np.sqrt(np.diag(fit.covariance(list(found.counts), found.lengths)))
    assert np.abs(away[:4] / sd[:4]).max() < 3.5


def test_large_samples_are_searched_in_small_ones_and_end_in_full():
    counts = np.zeros((31, 5))
    job = Job(setup(), ("A", "B"), counts, np.ones(counts.shape, dtype=bool), 1e6, False, False)
    job.used.flat[[0, -1]] = False
    assert job.coarse.counts.shape == (21, 5)
    job.used[1, 0] = False
    assert job.coarse is None


def test_a_fit_that_would_take_long_is_not_begun(fitted):
    _, fit = fitted
    draws = fit.estimate[None, :5]
    _check_time(fit.job, draws, OpinionSettings(20, 0.9, minutes=10), 2)
    with pytest.raises(OpinionError, match=r"would take about \d minutes, since one spectrum of this model takes \d"):
        _check_time(fit.job, draws, OpinionSettings(20, 0.9, minutes=1e-6), 2)
    with pytest.raises(OpinionError, match=r"take about 1\d minutes, .* and one estimate of ours 60.0 s"):
        _check_time(fit.job, draws, OpinionSettings(20, 0.9, minutes=10, step=60), 2)


# --- paired with ours ---------------------------------------------------------------------------------------------


class Mean:
    """A generator whose estimate is the mean of the real windows, by blocks."""

    def step(self, state, result, rng):
        real = np.concatenate([fold.real for fold in result.folds])
        return state, SimpleNamespace(posterior=np.repeat(real.mean(axis=0)[None], 3, axis=0))


def test_our_estimates_are_of_the_same_blocks_as_theirs(monkeypatch):
    fold, block = np.array([0, 0, 1, 1, 1]), np.array([0, 0, 1, 2, 3])
    values = np.array([[1.0], [2], [4], [8], [16]])
    empty = np.empty((0, 1))
    results = [
        FoldResult(empty, *[empty] * 3, values[fold == k], block[fold == k], np.empty(0), np.zeros((fold == k).sum()))
        for k in (0, 1)
    ]
    monkeypatch.setattr(ours, "fold_results", lambda problem, state: tuple(results))
    problem = SimpleNamespace(
        observed=SimpleNamespace(fold=fold, block=block), generator=Mean(), seed=1, scenario="a", setup=setup()
    )
    group = np.array([0, 0, 1, 1, 2])
    times = np.array([[1, 1, 1], [1, 2, 0]])
    with execution.make("serial", 1) as executor:
        found = ours.of_bootstrap(problem, SimpleNamespace(generator=State({}, {}), index=1), group, times, executor)
    np.testing.assert_allclose(found[:, 0], [31 / 5, (1 + 2 + 2 * (4 + 8)) / 6])
    (part,) = ours._parts(problem, SimpleNamespace(generator=State({}, {}), index=1), group, times[1:], 1)
    # Drawn twice, a block is two blocks.
    assert len(np.unique(np.concatenate(part.blocks[0]))) == 5


def test_our_estimate_from_the_spectrum_alone_sees_nothing_else(monkeypatch):
    kinds, empty = ("site frequency spectrum", "haplotypes", "embedding"), np.empty((0, 3))
    real = np.array([[1.0, 100, 1000], [3, 300, 3000]])
    fold = FoldResult(
        empty, np.empty(0), empty, np.empty(0, dtype=int), real, np.arange(2), *[np.empty(0)] * 2, 2, kinds
    )
    monkeypatch.setattr(ours, "fold_results", lambda problem, state: (fold,))
    problem, state = SimpleNamespace(generator=Mean(), seed=1, scenario="a"), SimpleNamespace(generator=None, index=1)
    assert ours.of_the_spectrum(problem, state).tolist() == [2.0]
    without = replace(fold, families=("haplotypes",) * 3)
    monkeypatch.setattr(ours, "fold_results", lambda problem, state: (without,))
    assert ours.of_the_spectrum(problem, state) is None


class Knowing(Mean):
    """A generator that knows a prior, as all do once they have begun."""

    def __init__(self, parameters):
        self.parameters = parameters


def test_what_models_are_made_of_can_be_sent_to_workers():
    from ganinfer import experiment
    from ganinfer.runner import impossible

    folder = Path(__file__).parents[1] / "experiments"
    for name in ("im", "exp", "ooa3", "yri-ceu"):
        told = experiment.load(folder / f"{name}.yaml")
        simulator = experiment.simulator(told, next(iter(told.scenarios)))
        parameters = impossible.sampled(simulator, (SampleSet("A", 1),))
        again = pickle.loads(pickle.dumps(parameters))
        draws = simulator.parameters.sample(np.random.default_rng(1), 3)
        assert [again.problem(parameters.named(d)) for d in draws] == [
            parameters.problem(parameters.named(d)) for d in draws
        ]
        assert ours._can_be_sent(Knowing(parameters))
    assert not ours._can_be_sent(Knowing(lambda: None))


def test_the_difference_is_in_its_own_standard_deviations():
    rng = np.random.default_rng(1)
    shared, noise = rng.standard_normal((2, 400, 1))
    names = Parameters((Parameter("a", -100, 100),))
    posterior = rng.standard_normal((4000, 1)) * 3 + 10
    found = _apart(names, np.array([8.0]), 8 + shared, 10 + shared + 0.5 * noise, posterior, np.array([0.0]))
    assert found[0] == pytest.approx((np.median(posterior) - 8) / 0.5, rel=0.1)
    wider = _apart(names, np.array([8.0]), 8 + shared, 10 + shared + 0.5 * noise, posterior, np.array([0.5]))
    assert wider[0] == pytest.approx((np.median(posterior) - 8) / np.hypot(0.5, 1.5), rel=0.1)


# --- in words -----------------------------------------------------------------------------------------------------


def opinion(differences, **more):
    parameters = {
        name: {
            "estimate": estimate,
            "interval": [0.9 * estimate, 1.1 * estimate],
            "method": "godambe",
            "difference": difference,
            "seen": True,
            "at_bound": False,
            "leans_on": None,
            "confounded": False,
        }
        for name, (estimate, difference) in differences.items()
    }
    return run_folder.opinion(parameters, **more)


@pytest.fixture
def told(tmp_path):
    def of(second, adequacy=None):
        folder = run_folder.make(tmp_path / "run", adequacy=adequacy)
        result = json.loads((folder / "result.json").read_text())
        (folder / "result.json").write_text(json.dumps({**result, "second_opinion": second}))
        return reading.load(folder)

    return of


def test_agreement_is_one_sentence(told):
    run = told(opinion({"N1": (9_100, 0.3), "N2": (5_000, -1.2)}))
    assert second_told.sentence(run.result).endswith("of the same windows, agrees on all 2 parameters.")
    assert second_told.explained(run) == []
    assert [row["difference"] for row in second_told.rows(run)] == ["+0.3", "−1.2"]


def test_what_is_not_compared_for_a_bound_says_which(told):
    bound = {"interval": None, "method": None, "difference": None}
    second = opinion({"N1": (9_100, 0.3), "N2": (5_000, 0.0)})
    second["parameters"]["N2"] |= {**bound, "leans_on": "N1"}
    second["parameters"]["N1"] |= {**bound, "at_bound": True}
    assert [row["by"] for row in second_told.rows(told(second))] == ["at a bound", "N1 at a bound"]


def test_what_the_spectrum_knows_together_only_is_not_compared(told):
    second = opinion({"N1": (9_100, 0.3), "N2": (5_000, 0.0)})
    for one in second["parameters"].values():
        one |= {"interval": None, "method": None, "difference": None, "confounded": True}
    run = told(second)
    assert second_told.sentence(run.result).endswith("of the same windows; it knows N1 and N2 together only.")
    assert "Other N1 and N2 that go together make the same spectrum" in second_told.about(run)
    assert {row["moments"] for row in second_told.rows(run)} == {"only with others"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, "nothing that was looked at explains it"),
        ({"one_maximum": False}, "its starts ended in different places"),
        ({"misidentified": 0.03}, "it takes 3.0 % of the ancestral alleles to be wrong"),
        ({"spectrum_alone": {"N1": 7_100}}, "so haplotypes and linkage make the difference"),
        ({"spectrum_alone": {"N1": 8_990}}, "so haplotypes and linkage do not make the difference"),
    ],
)
def test_a_difference_is_explained(told, change, says):
    run = told(opinion({"N1": (7_000, 3.4), "N2": (5_000, -1.2)}, **change))
    assert "differs in N1 (3.4 standard errors), and agrees on the other 1" in second_told.sentence(run.result)
    (line,) = second_told.explained(run)
    assert line.startswith("N1 (3.4 standard errors apart): ")
    assert says in line


def test_what_the_model_misses_makes_the_spectrum_the_safer_witness(told):
    looks = {"largest residual: haplotypes": 0.001, "largest residual: site frequency spectrum": 0.4, "guide": 0.5}
    verdict = {"verdict": "wrong", "p_value": 0.001, "critic_auc": 0.7, "looks": looks, "left_out": None}
    run = told(opinion({"N1": (7_000, 3.4)}, spectrum_alone={"N1": 7_100}), verdict)
    assert "the model misses haplotypes: then the spectrum is the safer witness" in second_told.explained(run)[0]


def test_too_few_blocks_are_told(told):
    run = told(opinion({"N1": (9_100, None)}, bootstraps=0))
    assert second_told.sentence(run.result).endswith("or how far the two are apart.")
    assert "too few blocks" in second_told.sentence(run.result)


def test_who_was_not_asked_is_told_why(told):
    run = told({"program": "moments", "why_not": "samples of A are ancient"})
    assert second_told.why_not(run.result) == "moments was not asked: samples of A are ancient."
    assert second_told.sentence(run.result) == ""
    assert second_told.rows(run) == []


def test_a_failure_is_told_as_one(told):
    run = told({"program": "moments", "failed": "RuntimeError (no such luck)"})
    assert second_told.why_not(run.result) == "moments gave no second opinion: RuntimeError (no such luck)."


def test_who_was_not_installed_may_be_asked_once_it_is(tmp_path, monkeypatch):
    assert not opinions.may_be_had_now(tmp_path / "gone")
    answers = (f"{opinions._MISSING}; pip install it", "samples of A are ancient", None)
    for there in (False, True):
        monkeypatch.setattr("ganinfer.second_opinion.installed", lambda there=there: there)
        for why in answers:
            second = None if why is None else {"program": "moments", "why_not": why}
            (tmp_path / "result.json").write_text(json.dumps({"schema_version": 1, "second_opinion": second}))
            assert opinions.may_be_had_now(tmp_path) is (there and why == answers[0])
