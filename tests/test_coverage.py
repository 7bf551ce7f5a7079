"""Data sets like the real one, and what ranks of truths say."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from ganinfer.coverage.bootstrap import _cut, _linked, _plan
from ganinfer.haplotypes import Haplotypes, SampleSet, chromosomes
from ganinfer.interfaces import WindowTemplate
from ganinfer.ranks import coverage, ecdf_band, held, uniform_p
from ganinfer.windows import RecombinationMap, Window

WHOLE = np.array([[0, 100]])


def window(left: int, block: int, rates: np.ndarray | None = None) -> tuple[Window, WindowTemplate]:
    own = None if rates is None else RecombinationMap(np.linspace(0, 100, len(rates) + 1), rates)
    return Window("chr1", left, left + 100, WHOLE, block), WindowTemplate(100, recombination=own)


def problem(pairs: list[tuple[Window, WindowTemplate]], differences: float = 0.1) -> SimpleNamespace:
    """Of windows in which two chromosomes have so many ``differences`` each."""
    windows, templates = zip(*pairs, strict=True)
    block = np.array([w.block for w in windows])
    # Of sites with one derived allele of four, half of all pairs differ.
    spectra = {"": np.array([0, 2 * differences * len(windows), 0, 0, 0])}
    return SimpleNamespace(observed=SimpleNamespace(windows=windows, templates=templates, block=block, spectra=spectra))


def test_windows_of_a_block_are_cut_from_one_stretch_and_others_are_simulated_together():
    pairs = [window(300, 7), window(0, 3), window(100, 7), window(900, 1)]
    order, parts = _plan(problem(pairs))
    assert order.tolist() == [2, 0, 3, 1]
    (whole, cuts), (alone, cuts_alone) = parts
    assert alone == (pairs[3][1], pairs[1][1])
    assert [[left for left, _ in cut] for cut in cuts_alone] == [[0], [0]]
    assert [template.length for template in whole] == [300]
    assert [(left, template) for left, template in cuts[0]] == [(0, pairs[2][1]), (200, pairs[0][1])]


def test_neighbouring_blocks_are_one_stretch_up_to_a_length():
    near = [window(100 * i, i // 2) for i in range(6)]
    far = [window(6_000_000 + 100 * i, 3) for i in range(2)]
    elsewhere = [window(6_000_200 + 100 * i, 5) for i in range(2)]
    pairs = [*near, *far, *elsewhere]
    order, parts = _plan(problem(pairs))
    assert order.tolist() == list(range(10))
    assert [whole[0].length for whole, _ in parts] == [600, 200, 200]
    assert [left for left, _ in parts[0][1][0]] == [0, 100, 200, 300, 400, 500]


def test_stretches_are_shorter_where_chromosomes_differ_more():
    """They have 10,000 differences at most: four windows with 2,500 each, and blocks are cut where they have more."""
    near = [window(100 * i, i // 2) for i in range(8)]
    for differences, lengths in ((1_000, [800]), (2_500, [400, 400]), (6_000, [100])):
        order, parts = _plan(problem(near, differences))
        assert sorted(order) == list(range(8))
        assert [whole[0].length for whole, _ in parts] == lengths
    one_block = [window(100 * i, 0) for i in range(8)]
    _, parts = _plan(problem(one_block, 3_000))
    assert [[template.length for template in whole] for whole, _ in parts] == [[300], [300], [200]]


def test_many_windows_alone_are_several_units_of_work():
    _, parts = _plan(problem([window(200 * i, i) for i in range(60)]))
    assert [len(whole) for whole, _ in parts] == [25, 25, 10]


def test_the_map_of_a_stretch_has_the_windows_slices_and_their_mean_between():
    pairs = [
        window(1000, 0, np.array([1e-8, 3e-8])),
        window(1100, 0, np.array([4e-8])),
        window(1300, 0, np.array([6e-8])),
    ]
    (whole,), _ = _linked([w for w, _ in pairs], [t for _, t in pairs])
    found = whole.recombination
    assert found.positions.tolist() == [0, 50, 100, 200, 300, 400]
    assert found.rates == pytest.approx([1e-8, 3e-8, 4e-8, 4e-8, 6e-8])
    assert _linked([pairs[0][0]] * 1, [WindowTemplate(100)])[0][0].recombination is None


def test_a_cut_counts_positions_from_its_left_end():
    carriers = chromosomes((SampleSet("A", 1, 2, 0.0),))
    whole = Haplotypes(np.array([[0, 1], [1, 0], [1, 1]], np.int8), np.array([5, 100, 199]), carriers)
    cut = _cut(whole, 100, 100)
    assert cut.positions.tolist() == [0, 99]
    assert cut.genotypes.tolist() == [[1, 0], [1, 1]]


def test_coverage_counts_truths_in_central_intervals():
    ranks = np.array([0.0, 0.04, 0.06, 0.3, 0.5, 0.74, 0.76, 0.95, 1.0, 0.5])
    assert held(ranks, 0.9).tolist() == [False, False, True, True, True, True, True, True, False, True]
    found = coverage(ranks, 0.5)
    assert (found.held, found.sets) == (4, 10)
    assert found.right
    assert not coverage(np.full(100, 0.5), 0.5).right
    assert not coverage(np.tile([0.01, 0.99], 50), 0.9).right


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_the_band_holds_what_right_intervals_do(level):
    rng = np.random.default_rng(1)
    right = [coverage(rng.random(100), level).right for _ in range(2_000)]
    assert 0.94 < np.mean(right) < 0.98


def test_uneven_ranks_are_seen():
    rng = np.random.default_rng(2)
    assert uniform_p(rng.random(200)) > 0.01
    assert uniform_p(0.5 + 0.3 * (rng.random(200) - 0.5)) < 1e-6
    low, high = ecdf_band(100, np.array([0.1, 0.5]))
    assert (low < [0.1, 0.5]).all()
    assert (high > [0.1, 0.5]).all()


@pytest.mark.parametrize("common", [0.0, 0.3, 0.75])
def test_the_band_knows_that_shared_simulations_move_all_estimates_together(common):
    from scipy.stats import norm

    rng = np.random.default_rng(4)
    shift = common * rng.standard_normal((400, 1))
    ranks = norm.cdf(shift + np.sqrt(1 - common**2) * rng.standard_normal((400, 100)))
    right = np.mean([coverage(row, 0.9, common).right for row in ranks])
    assert 0.92 < right < 0.99
    if common > 0.5:
        assert np.mean([coverage(row, 0.9).right for row in ranks]) < 0.75
