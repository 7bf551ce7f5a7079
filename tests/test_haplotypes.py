"""Chromosomes of a design, and haplotypes of tree sequences."""

from __future__ import annotations

import msprime
import numpy as np
import pytest

from ganinfer.haplotypes import Haplotypes, SampleSet, chromosomes, from_tree_sequence

SAMPLES = (SampleSet("A", 2), SampleSet("B", 1, ploidy=1), SampleSet("A", 1, time=50.0))


def test_columns_follow_the_sample_sets():
    carriers = chromosomes(SAMPLES)
    assert carriers.populations == ("A", "B")
    assert carriers.population.tolist() == [0, 0, 0, 0, 1, 0, 0]
    assert carriers.individual.tolist() == [0, 0, 1, 1, 2, 3, 3]
    assert carriers.ploidy.tolist() == [2, 2, 1, 2]
    assert carriers.first.tolist() == [0, 2, 4, 5]
    assert carriers.sizes == (6, 1)
    assert [c.tolist() for c in carriers.columns] == [[0, 1, 2, 3, 5, 6], [4]]
    assert len(carriers) == sum(s.num_chromosomes for s in SAMPLES)
    np.testing.assert_array_equal(carriers.indicator.sum(axis=0), carriers.sizes)
    np.testing.assert_array_equal(carriers.indicator.argmax(axis=1), carriers.population)


def test_equal_designs_share_their_columns():
    assert chromosomes(SAMPLES) is chromosomes(tuple(SAMPLES))


def test_select_takes_masks_and_indices():
    genotypes = np.arange(6, dtype=np.int8).reshape(3, 2)
    whole = Haplotypes(genotypes, np.array([1, 5, 9]), chromosomes((SampleSet("A", 1),)), phased=False)
    by_mask, by_index = whole.select(np.array([True, False, True])), whole.select(np.array([0, 2]))
    for part in (by_mask, by_index):
        assert part.positions.tolist() == [1, 9]
        assert part.genotypes.tolist() == [[0, 1], [4, 5]]
        assert not part.phased
        assert part.num_sites == 2


@pytest.fixture(scope="module")
def tree_sequence():
    sets = [msprime.SampleSet(2), msprime.SampleSet(1, ploidy=1), msprime.SampleSet(1, time=50.0)]
    ancestry = msprime.sim_ancestry(sets, population_size=1e4, sequence_length=5e4, random_seed=1, ploidy=2)
    return msprime.sim_mutations(ancestry, rate=2e-8, random_seed=1)


def test_genotypes_are_those_of_the_trees(tree_sequence):
    haplotypes = from_tree_sequence(tree_sequence, SAMPLES)
    assert haplotypes.genotypes.dtype == np.int8
    assert haplotypes.positions.dtype == np.int64
    assert haplotypes.num_sites == tree_sequence.num_sites > 5
    for site, variant in enumerate(tree_sequence.variants()):
        assert haplotypes.positions[site] == int(variant.site.position)
        assert haplotypes.genotypes[site].tolist() == variant.genotypes.tolist()


def test_positions_are_counted_from_the_left_end(tree_sequence):
    part = tree_sequence.keep_intervals([[20_000, 40_000]])
    moved = from_tree_sequence(part, SAMPLES, left=20_000)
    assert (moved.positions >= 0).all()
    assert (moved.positions < 20_000).all()
    assert (moved.positions + 20_000).tolist() == [int(s.position) for s in part.sites()]


def test_isolated_samples_are_missing(tree_sequence):
    tables = tree_sequence.dump_tables()
    tables.edges.keep_rows(tables.edges.child != 0)
    tables.mutations.clear()
    tables.sites.clear()
    site = tables.sites.add_row(100, "A")
    tables.mutations.add_row(site, node=1, derived_state="T")
    haplotypes = from_tree_sequence(tables.tree_sequence(), SAMPLES)
    assert haplotypes.genotypes.tolist() == [[-1, 1, 0, 0, 0, 0, 0]]


def test_samples_that_are_not_those_of_the_design(tree_sequence):
    with pytest.raises(ValueError, match="tree sequence has 7 samples, the design 6"):
        from_tree_sequence(tree_sequence, (SampleSet("A", 3),))


def test_no_sites():
    ancestry = msprime.sim_ancestry(3, population_size=10, sequence_length=10, random_seed=1)
    haplotypes = from_tree_sequence(ancestry, (SampleSet("A", 3),))
    assert haplotypes.genotypes.shape == (0, 6)
    assert haplotypes.positions.shape == (0,)
