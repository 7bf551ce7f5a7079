"""Streams: a function of their key alone, unlike for unlike keys, and seeds that simulators accept."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ganinfer import randomness

keys = st.lists(st.text(max_size=8) | st.integers(-(2**40), 2**40), max_size=4).map(tuple)
seeds = st.integers(0, 2**63 - 1)
#: Recorded once.
SEED = 1249108519
SEEDS = [1002614732, 1685340273, 625864486]
FOLDS = [393, 906, 394, 798]


@given(seeds, keys)
@settings(deadline=None)
def test_the_same_key_gives_the_same_numbers(seed, key):
    assert randomness.stream(seed, *key).random(4).tolist() == randomness.stream(seed, *key).random(4).tolist()


@given(seeds, keys, seeds, keys)
@settings(deadline=None)
def test_other_keys_give_other_numbers(seed, key, other_seed, other_key):
    same = seed == other_seed and key == other_key
    equal = (
        randomness.stream(seed, *key).random(2).tolist() == randomness.stream(other_seed, *other_key).random(2).tolist()
    )
    assert equal == same


def test_a_number_is_not_its_name():
    """Key parts of different kinds don't collide, nor do parts joined otherwise."""
    streams = [("1",), (1,), ("a", "b"), ("ab",), ("a", "b", 0), ()]
    firsts = {randomness.stream(1, *key).random() for key in streams}
    assert len(firsts) == len(streams)


@given(seeds, keys)
@settings(deadline=None)
def test_simulator_seeds_are_those_that_msprime_accepts(seed, key):
    assert 1 <= randomness.simulator_seed(seed, *key) < 2**31


def test_simulator_seeds_of_templates():
    many = randomness.simulator_seeds(5, 5_000)
    assert many.dtype == np.int64
    assert many.min() >= 1
    assert many.max() < 2**31
    assert len(set(many.tolist())) == 5_000
    # A proposal with more windows begins with those of one with fewer.
    assert many[:7].tolist() == randomness.simulator_seeds(5, 7).tolist()


def test_neighbouring_proposals_do_not_share_seeds():
    seeds = {randomness.simulator_seed(3, "round", r, "im", i) for r in range(8) for i in range(2_000)}
    # A chance collision among 16,000 of 2**31 has a probability of 6 %; this seed has none.
    assert len(seeds) == 16_000


def test_numbers_stay_as_they_were():
    """What was published with a seed can be repeated: these numbers may never change."""
    assert randomness.simulator_seed(1, "round", 0, "im", 0) == SEED
    assert randomness.simulator_seeds(1, 3).tolist() == SEEDS
    assert randomness.stream(1, "folds").integers(1000, size=4).tolist() == FOLDS
