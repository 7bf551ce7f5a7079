"""Interval functions against sets of bases, and recombination maps against single bases."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ganinfer.windows import (
    RecombinationMap,
    Window,
    complement,
    contains,
    intersect,
    normalise,
    num_bases,
    subtract,
)

unhurried = settings(deadline=None)  # a busy machine is no failure
LENGTH = 40
pairs = st.lists(st.tuples(st.integers(0, LENGTH), st.integers(0, LENGTH)).map(sorted), max_size=8)


def bases(intervals):
    return {base for left, right in np.asarray(intervals).tolist() for base in range(left, right)}


def is_normal(intervals):
    flat = np.asarray(intervals).ravel()
    return intervals.shape[1] == 2 and bool((np.diff(flat) > 0).all())


@unhurried
@given(pairs)
def test_normalise_keeps_bases_and_merges(intervals):
    result = normalise(np.array(intervals))
    assert bases(result) == bases(intervals)
    assert is_normal(result)  # sorted, disjoint, and touching ones merged
    assert num_bases(result) == len(bases(intervals))
    np.testing.assert_array_equal(normalise(result), result)


@unhurried
@given(pairs, pairs)
def test_set_operations(a, b):
    first, second = normalise(np.array(a)), normalise(np.array(b))
    for operation, result in (("__and__", intersect(first, second)), ("__sub__", subtract(first, second))):
        assert bases(result) == getattr(bases(a), operation)(bases(b))
        assert is_normal(normalise(result))
        assert num_bases(result) == len(bases(result))
    np.testing.assert_array_equal(intersect(first, second), intersect(second, first))


@unhurried
@given(pairs, st.integers(0, LENGTH), st.integers(0, LENGTH))
def test_complement(intervals, a, b):
    left, right = sorted((a, b))
    result = complement(normalise(np.array(intervals)), left, right)
    assert bases(result) == set(range(left, right)) - bases(intervals)
    assert len(result) == 0 or is_normal(result)


@unhurried
@given(pairs)
def test_contains(intervals):
    inside = contains(normalise(np.array(intervals)), np.arange(LENGTH + 5))
    assert set(np.flatnonzero(inside).tolist()) == bases(intervals)


def test_empty_intervals():
    empty = np.empty((0, 2), dtype=np.int64)
    assert normalise(np.array([])).shape == (0, 2)
    assert num_bases(empty) == 0
    assert not contains(empty, np.array([1, 2])).any()
    assert contains(np.array([[0, 5]]), np.array([], dtype=np.int64)).shape == (0,)
    assert complement(empty, 3, 7).tolist() == [[3, 7]]


@unhurried
@given(
    st.lists(st.integers(0, LENGTH), min_size=2, max_size=8, unique=True).map(sorted),
    st.integers(0, LENGTH + 10),
    st.integers(1, 20),
)
def test_a_slice_has_the_rate_of_every_base(positions, left, length):
    rates = np.arange(1, len(positions)) * 1e-8
    recombination = RecombinationMap(np.array(positions), rates)

    def rate(base):
        index = int(np.searchsorted(positions, base, side="right")) - 1
        return rates[min(max(index, 0), len(rates) - 1)]  # the ends extend the outermost rates

    piece = recombination.slice(left, left + length)
    assert piece.positions[0] == 0
    assert piece.positions[-1] == length
    for base in range(length):
        index = int(np.searchsorted(piece.positions, base, side="right")) - 1
        assert piece.rates[index] == rate(left + base)
    assert piece.mean_rate == pytest.approx(np.mean([rate(left + base) for base in range(length)]))


@pytest.mark.parametrize(
    ("positions", "rates", "message"),
    [
        ([0, 10], [1e-8, 1e-8], "2 rates need 3 positions, got 2"),
        ([0, 10, 10], [1e-8, 1e-8], "positions must increase strictly"),
        ([0, 10, 20], [1e-8, -1e-8], "finite and not negative"),
        ([0, 10, 20], [1e-8, np.nan], "finite and not negative"),
    ],
)
def test_maps_that_are_none(positions, rates, message):
    with pytest.raises(ValueError, match=message):
        RecombinationMap(np.array(positions), np.array(rates))


def test_a_window_counts_its_bases():
    window = Window("1", 100, 300, np.array([[0, 50], [150, 200]]), 0)
    assert (window.length, window.num_accessible) == (200, 100)
