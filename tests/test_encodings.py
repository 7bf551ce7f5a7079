"""Encodings against slow readable references, and what they may not depend on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ganinfer.encodings import ENCODINGS, NO_GENOTYPE, EncodingContext, make
from ganinfer.haplotypes import Haplotypes, SampleSet, chromosomes
from ganinfer.pipeline import PipelineSettings, prepare_real

LENGTH = 1_000
#: The design's sample sets, a population twice, one of them haploid.
SAMPLES = (SampleSet("A", 2), SampleSet("B", 3, ploidy=1), SampleSet("A", 1, time=9.0), SampleSet("C", 2))
NUM_CHROMOSOMES = 13
quick = settings(deadline=None, max_examples=50)


def context(phased=True, folded=False, num_sites=16, samples=SAMPLES):
    return EncodingContext(samples, phased, folded, LENGTH, num_sites)


def window(num_sites, seed=1, missing=0.0, samples=SAMPLES):
    rng = np.random.default_rng(seed)
    carriers = chromosomes(samples)
    genotypes = (rng.random((num_sites, len(carriers))) < rng.uniform(0.1, 0.9, (num_sites, 1))).astype(np.int8)
    genotypes[rng.random(genotypes.shape) < missing] = -1
    return Haplotypes(genotypes, np.sort(rng.choice(LENGTH, num_sites, replace=False)), carriers)


@st.composite
def prepared(draw, phased):
    haplotypes = window(draw(st.integers(0, 30)), draw(st.integers(0, 2**32)), draw(st.sampled_from([0.0, 0.2])))
    return prepare_real(haplotypes, PipelineSettings(phased=phased), np.random.default_rng(1))


def slow_snp_matrix(haplotypes, samples, phased, length, num_sites):
    """Cell by cell, as the docstring of the encoding has it."""
    rows = []
    column = 0
    for group in samples:
        for _ in range(group.num_individuals):
            mine = list(range(column, column + group.ploidy))
            rows += [(group.population, [c]) for c in mine] if phased else [(group.population, mine)]
            column += group.ploidy
    names = list(dict.fromkeys(g.population for g in samples))
    rows = [columns for name in names for population, columns in rows if population == name]
    total = len(haplotypes.positions)
    first = max(total - num_sites, 0) // 2
    genotypes = np.full((len(rows), num_sites), NO_GENOTYPE)
    distances, mask = np.zeros(num_sites), np.zeros(num_sites)
    for place, site in enumerate(range(first, min(first + num_sites, total))):
        before = haplotypes.positions[site - 1] if site else 0
        distances[place] = (haplotypes.positions[site] - before) / length
        mask[place] = 1
        for row, columns in enumerate(rows):
            alleles = [int(haplotypes.genotypes[site, c]) for c in columns]
            if min(alleles) >= 0:
                genotypes[row, place] = 2 * sum(alleles) - len(alleles)
    return genotypes, distances, mask


@pytest.mark.parametrize("phased", [True, False])
def test_snp_matrix_is_that_of_the_slow_reference(phased):
    @given(prepared(phased), st.integers(1, 32))
    @quick
    def check(haplotypes, num_sites):
        encoded = make("snp-matrix", context(phased, num_sites=num_sites)).encode(haplotypes)
        genotypes, distances, mask = slow_snp_matrix(haplotypes, SAMPLES, phased, LENGTH, num_sites)
        np.testing.assert_array_equal(encoded["genotypes"], genotypes)
        np.testing.assert_allclose(encoded["distances"], distances, rtol=1e-6)
        np.testing.assert_array_equal(encoded["mask"], mask)

    check()


@pytest.mark.parametrize("phased", [True, False])
@pytest.mark.parametrize("name", ENCODINGS)
@pytest.mark.parametrize("num_sites", [0, 1, 7, 16, 40])
def test_arrays_are_those_of_the_spec(name, phased, num_sites):
    haplotypes = prepare_real(window(num_sites, missing=0.1), PipelineSettings(phased=phased), np.random.default_rng(1))
    encoding = make(name, context(phased))
    spec, arrays = encoding.spec(), encoding.encode(haplotypes)
    assert spec.keys() == arrays.keys()
    for key, array in arrays.items():
        assert array.shape == spec[key].shape
        assert array.dtype == np.dtype(spec[key].dtype)


def test_details_say_whose_the_rows_are():
    details = make("snp-matrix", context()).spec()["genotypes"].details
    assert details["populations"] == ["A", "B", "C"]
    assert details["rows"] == details["sizes"] == [6, 3, 4]
    assert details["ploidy"] == 1
    unphased = make("snp-matrix", context(phased=False)).spec()["genotypes"]
    assert unphased.details["rows"] == [3, 3, 2]
    assert unphased.details["sizes"] == [6, 3, 4]
    assert unphased.details["ploidy"] == 2
    assert unphased.shape == (8, 16)


def test_rows_of_a_population_lie_together():
    """A population of two sample sets: its rows are neighbours, though its columns are not."""
    genotypes = np.zeros((1, NUM_CHROMOSOMES), dtype=np.int8)
    genotypes[0, [0, 7, 8]] = 1  # all of A
    encoded = make("snp-matrix", context()).encode(replace(window(1), genotypes=genotypes))
    assert encoded["genotypes"][:, 0].tolist() == [1, -1, -1, -1, 1, 1] + [-1] * 7


@pytest.mark.parametrize("name", ["snp-matrix", "joint-counts"])
def test_padding_is_told_by_the_mask(name):
    encoded = make(name, context()).encode(window(5))
    mask = encoded["mask" if name == "snp-matrix" else "count_mask"]
    assert mask.tolist() == [1] * 5 + [0] * 11
    if name == "snp-matrix":
        assert (encoded["genotypes"][:, 5:] == NO_GENOTYPE).all()
        assert (encoded["distances"][5:] == 0).all()
    else:
        assert not encoded["counts"][5:].any()
        assert not encoded["called"][5:].any()


@pytest.mark.parametrize(("num_sites", "first"), [(17, 0), (18, 1), (31, 7), (32, 8)])
def test_windows_with_too_many_sites_keep_their_middle(num_sites, first):
    haplotypes = window(num_sites)
    middle = haplotypes.select(np.arange(first, first + 16))
    for name in ("snp-matrix", "joint-counts"):
        whole, part = make(name, context()).encode(haplotypes), make(name, context()).encode(middle)
        for key in whole:
            start = 1 if key == "distances" and first else 0  # the first distance is to the site that was cut off
            np.testing.assert_array_equal(whole[key][start:], part[key][start:])
        assert sum(whole.get("distances", [0])) <= 1


def test_joint_counts_may_hold_more_sites_than_the_matrix():
    wide = replace(context(), num_counted_sites=40)
    haplotypes = window(33)
    counted = make("joint-counts", wide).encode(haplotypes)
    assert counted["count_mask"].tolist() == [1] * 33 + [0] * 7
    derived, called = haplotypes.allele_counts
    np.testing.assert_array_equal(counted["counts"][:33], derived)
    np.testing.assert_array_equal(counted["called"][:33], called)
    assert {spec.shape[0] for spec in make("joint-counts", wide).spec().values()} == {40}
    assert make("snp-matrix", wide).encode(haplotypes)["mask"].sum() == 16


@given(prepared(True))
@quick
def test_joint_counts_are_counted(haplotypes):
    encoded = make("joint-counts", context(num_sites=32)).encode(haplotypes)
    for site in range(haplotypes.num_sites):
        for i, columns in enumerate(haplotypes.carriers.columns):
            row = haplotypes.genotypes[site, columns].tolist()
            assert encoded["counts"][site, i] == row.count(1)
            assert encoded["called"][site, i] == row.count(0) + row.count(1)


@pytest.mark.parametrize("name", ["joint-counts", "classical"])
@given(prepared(True), st.integers(0, 2**32))
@quick
def test_counts_and_statistics_do_not_care_for_the_order_of_chromosomes(name, haplotypes, seed):
    rng = np.random.default_rng(seed)
    columns = np.arange(NUM_CHROMOSOMES)
    for mine in haplotypes.carriers.columns:
        columns[mine] = rng.permutation(mine)
    encoding = make(name, context(num_sites=32))
    before = encoding.encode(haplotypes)
    after = encoding.encode(replace(haplotypes, genotypes=haplotypes.genotypes[:, columns]))
    for key in before:
        np.testing.assert_allclose(before[key], after[key], rtol=1e-5, atol=1e-6)


@given(prepared(True), st.integers(0, 2**32))
@quick
def test_the_snp_matrix_permutes_with_its_chromosomes(haplotypes, seed):
    samples = (SampleSet("A", 5), SampleSet("B", 3, ploidy=1))
    haplotypes = replace(haplotypes, carriers=chromosomes(samples))
    columns = np.random.default_rng(seed).permutation(NUM_CHROMOSOMES)
    encoding = make("snp-matrix", context(samples=samples))
    before = encoding.encode(haplotypes)
    after = encoding.encode(replace(haplotypes, genotypes=haplotypes.genotypes[:, columns]))
    np.testing.assert_array_equal(before["genotypes"][columns], after["genotypes"])
    np.testing.assert_array_equal(before["distances"], after["distances"])


def test_one_missing_allele_hides_an_unphased_genotype():
    genotypes = np.array([[-1, 1, 0, 1, 0, 1, -1, 1, 1, 0, 0, -1, -1]], dtype=np.int8)
    encoded = make("snp-matrix", context(phased=False)).encode(replace(window(1), genotypes=genotypes))
    none = NO_GENOTYPE
    assert encoded["genotypes"][:, 0].tolist() == [none, 0, 2, -1, 1, none, -2, none]


def test_an_unknown_encoding_names_the_known_ones():
    with pytest.raises(ValueError, match="unknown encoding 'snps'; there are snp-matrix, snp-table, joint-counts, "):
        make("snps", context())
