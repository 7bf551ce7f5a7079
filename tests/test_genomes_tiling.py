"""Windows are cut by region and accessibility alone; blocks hold neighbours."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ganinfer.genomes import GenomeError, WindowSettings
from ganinfer.genomes.tiling import tile
from ganinfer.windows import RecombinationMap, contains, normalise

unhurried = settings(deadline=None)  # a busy machine is no failure


def cut(regions, length=100, accessible=None, maps=None, **settings):
    regions = {contig: np.array(intervals) for contig, intervals in regions.items()}
    masks = None if accessible is None else {c: np.array(i).reshape(-1, 2) for c, i in accessible.items()}
    return tile(regions, masks, maps, WindowSettings(length, **settings))


def test_windows_lie_side_by_side_from_the_left_end():
    tiling = cut({"2": [[50, 360], [500, 599]], "1": [[0, 100]]})
    assert [(w.contig, w.left, w.right) for w in tiling.windows] == [
        ("2", 50, 150),
        ("2", 150, 250),
        ("2", 250, 350),
        ("1", 0, 100),
    ]
    assert tiling.rejected == {"end of a region, shorter than a window": 2}
    assert all(w.accessible.tolist() == [[0, 100]] for w in tiling.windows)


def test_windows_are_chosen_by_their_accessible_share():
    accessible = {"1": [[0, 30], [60, 80], [100, 149], [250, 400]]}
    tiling = cut({"1": [[0, 500]], "2": [[0, 100]]}, accessible=accessible)
    assert [(w.left, w.accessible.tolist()) for w in tiling.windows] == [
        (0, [[0, 30], [60, 80]]),
        (200, [[50, 100]]),
        (300, [[0, 100]]),
    ]
    assert tiling.rejected == {"too few accessible bases": 3}
    assert len(cut({"1": [[0, 500]]}, accessible=accessible, min_accessible=0.0).windows) == 5


@unhurried
@given(
    st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 3000)).map(sorted), min_size=1, max_size=6),
    st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 3000)).map(sorted), max_size=6),
)
def test_accessible_bases_are_those_of_the_mask(regions, mask):
    regions, mask = normalise(np.array(regions)), normalise(np.array(mask))
    try:
        windows = tile({"1": regions}, {"1": mask}, None, WindowSettings(70, 0.0)).windows
    except GenomeError:
        windows = ()
    assert len(windows) == sum((right - left) // 70 for left, right in regions.tolist())
    for window in windows:
        bases = np.arange(window.left, window.right)
        assert contains(regions, bases).all()
        np.testing.assert_array_equal(contains(window.accessible, bases - window.left), contains(mask, bases))


def test_each_window_has_its_slice_of_the_map():
    recombination = RecombinationMap(np.array([0, 150, 1000]), np.array([1e-8, 3e-8]))
    windows = cut({"1": [[0, 300]]}, maps={"1": recombination}).windows
    assert [w.recombination.mean_rate for w in windows] == pytest.approx([1e-8, 2e-8, 3e-8])
    assert windows[1].recombination.positions.tolist() == [0, 50, 100]
    assert cut({"1": [[0, 300]]}).windows[0].recombination is None


def blocks(regions, **settings):
    return [w.block for w in cut(regions, **settings).windows]


def test_blocks_are_even_stretches_of_neighbours():
    assert blocks({"1": [[0, 2000]]}, block_length=500) == [i // 5 for i in range(20)]
    assert blocks({"1": [[0, 1100]]}, block_length=500) == [0] * 6 + [1] * 5
    assert blocks({"1": [[0, 400]]}, block_length=500) == [0] * 4


def test_near_regions_share_a_block_and_far_ones_do_not():
    assert blocks({"1": [[0, 200], [210, 410]]}, block_length=500) == [0, 0, 0, 0]
    assert blocks({"1": [[0, 200], [699, 899]]}, block_length=500) == [0, 0, 1, 1]
    assert blocks({"1": [[0, 200], [700, 900]]}, block_length=500) == [0, 0, 1, 1]


def test_contigs_never_share_a_block():
    assert blocks({"1": [[0, 200]], "2": [[200, 400]], "3": [[0, 100]]}, block_length=10_000) == [0, 0, 1, 1, 2]


@unhurried
@given(st.lists(st.integers(0, 500), min_size=1, max_size=40, unique=True), st.integers(1, 30))
def test_blocks_are_consecutive_and_bounded(starts, block):
    """Windows of 10 at multiples of 11: numbers rise by at most one, and no block spans much more than asked."""
    regions = [[11 * s, 11 * s + 10] for s in sorted(starts)]
    windows = cut({"1": regions}, length=10, block_length=10 * block).windows
    numbers = [w.block for w in windows]
    assert numbers[0] == 0
    assert set(np.diff(numbers)) <= {0, 1}
    for number in set(numbers):
        members = [w for w in windows if w.block == number]
        assert members[-1].left - members[0].left <= 1.5 * 10 * block
