"""The real side: whole blocks in folds, a choice of windows, the arrays' size, and what cannot be used."""

from __future__ import annotations

import errno
import os
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ganinfer import observed
from ganinfer.haplotypes import Haplotypes, SampleSet, chromosomes
from ganinfer.interfaces import WindowTemplate
from ganinfer.observed import ObservedError, chosen_windows, fitted, numbered, numbers_of_sites, observe, split_folds
from ganinfer.pipeline import PipelineSettings
from ganinfer.simulation import Setup, encode, encoding_specs
from ganinfer.windows import Window
from tests.genome_files import read

LENGTH = 2_000
SAMPLES = (SampleSet("A", 3),)
SETUP = Setup("none", {}, SAMPLES, PipelineSettings(), (("snp-matrix", {}), ("joint-counts", {})), LENGTH, 32)


class Genomes:
    """Windows of ``num_sites`` sites each, in the given blocks."""

    def __init__(self, num_sites, block):
        self.samples, self.phased = SAMPLES, True
        whole = np.array([[0, LENGTH]])
        self.windows = tuple(Window("1", i * LENGTH, (i + 1) * LENGTH, whole, b) for i, b in enumerate(block))
        self.templates = tuple(WindowTemplate(LENGTH, unusable_ancestral=i / 1_000) for i in range(len(block)))
        self._haplotypes = [self._window(i, n) for i, n in enumerate(num_sites)]

    @staticmethod
    def _window(seed, num_sites):
        rng = np.random.default_rng(seed)
        genotypes = np.zeros((num_sites, 6), dtype=np.int8)
        genotypes[:, rng.permutation(6)[:3]] = 1
        return Haplotypes(genotypes, np.sort(rng.choice(LENGTH, num_sites, replace=False)), chromosomes(SAMPLES))

    def haplotypes(self, index):
        return self._haplotypes[index]

    def summary(self):
        return {}


blocks = st.lists(st.integers(0, 30), min_size=1, max_size=200).map(sorted)


# --- folds --------------------------------------------------------------------------------------------------------


@given(blocks, st.integers(2, 5), st.integers(0, 2**31))
@settings(deadline=None)
def test_blocks_stay_whole_in_balanced_folds(block, num_folds, seed):
    block = np.array(block)
    sizes = np.unique(block, return_counts=True)[1]
    if len(sizes) < num_folds:
        with pytest.raises(ObservedError, match=f"{num_folds} folds need at least {num_folds} blocks of windows"):
            split_folds(block, num_folds, seed)
        return
    fold = split_folds(block, num_folds, seed)
    assert set(fold) == set(range(num_folds))
    for name in np.unique(block):
        assert len(set(fold[block == name])) == 1
    filled = np.bincount(fold, minlength=num_folds)
    assert filled.max() - filled.min() <= sizes.max()


def test_folds_are_a_function_of_the_seed():
    block = np.arange(100)
    assert split_folds(block, 2, 1).tolist() == split_folds(block, 2, 1).tolist()
    assert split_folds(block, 2, 1).tolist() != split_folds(block, 2, 2).tolist()


def test_settings_that_leave_nothing_are_named(tmp_path):
    record = "1 5 A C 0|1:9 1|1:9 0|0:9 FORMAT=GT:DP"
    genomes = read(tmp_path, [record], length=500, min_depth=1000)
    with pytest.raises(
        ObservedError, match=r"of 1 records 1 were kept.*; data\.min_depth made 3 called genotypes miss"
    ):
        numbers_of_sites(genomes, [0, 1], SETUP, 1)


def test_too_few_blocks_say_what_to_do():
    with pytest.raises(ObservedError, match=r"the 50 windows in use have 1: lower windows.block_length, raise"):
        split_folds(np.zeros(50, dtype=int), 2, 1)


# --- chosen windows -----------------------------------------------------------------------------------------------


@given(blocks, st.integers(1, 250), st.integers(0, 2**31))
@settings(deadline=None)
def test_chosen_windows_are_whole_blocks_but_for_the_last(block, maximum, seed):
    real = Genomes([0] * len(block), block)
    chosen = chosen_windows(real, maximum, seed)
    assert len(chosen) == min(maximum, len(block))
    assert (np.diff(chosen) > 0).all()
    assert chosen.tolist() == chosen_windows(real, maximum, seed).tolist()
    partial = [b for b in set(block) if 0 < sum(block[i] == b for i in chosen) < block.count(b)]
    assert len(partial) <= 1


def test_all_windows_without_a_maximum():
    assert chosen_windows(Genomes([1] * 7, [0] * 7), None, 1).tolist() == list(range(7))


# --- arrays -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("num_sites", "matrix", "counted"),
    [
        (3, 16, 16),
        (40, 64, 64),
        (100, 128, 128),
        (400, 512, 512),
        (1_500, observed.MAX_SITES, 1_888),
        (9_000, observed.MAX_SITES, observed.MAX_COUNTED_SITES),
    ],
)
def test_arrays_have_room_for_more_sites_than_the_real_windows(num_sites, matrix, counted):
    found = fitted(SETUP, np.full(50, num_sites))
    assert (found.num_sites, found.num_counted_sites) == (matrix, counted)
    specs = encoding_specs(found)
    assert specs["genotypes"].shape == (6, matrix)
    assert specs["counts"].shape == (counted, 1)


def test_sites_are_counted_after_the_filters():
    real = Genomes([7, 30, 12], range(3))
    real.haplotypes(1).genotypes[:5] = 0
    assert numbers_of_sites(real, [1, 2], SETUP, 1).tolist() == [25, 12]


def test_windows_that_do_not_fit_are_told_with_what_is_left_out():
    setup = replace(SETUP, num_sites=100, num_counted_sites=300)
    assert observed.unseen_sites(setup, np.array([100, 20, 99])) == []
    (matrix,) = observed.unseen_sites(setup, np.array([100, 150, 250]))
    assert matrix.startswith("2 of 3 windows have more sites than snp-matrix has room for (100): it keeps their middle")
    assert "does not see 40 % of all sites" in matrix
    both = observed.unseen_sites(setup, np.array([400] * 1_200))
    assert [sentence.partition(" has room")[0].split()[-1] for sentence in both] == ["snp-matrix", "joint-counts"]
    assert "does not see 25 % of all sites" in both[1]
    counts_alone = replace(setup, encoders=(("joint-counts", {}),))
    assert observed.unseen_sites(counts_alone, np.array([250])) == []


def test_windows_without_a_variable_site():
    with pytest.raises(ObservedError, match="no real window has a variable site left"):
        numbers_of_sites(Genomes([0, 0], [0, 1]), [0, 1], SETUP, 1)


def test_observed_windows_are_encoded_in_order(tmp_path):
    real = Genomes(np.arange(2, 42), np.arange(40) // 2)
    chosen = np.array([3, 4, 10, 30, 39])
    seen = observe(real, chosen, SETUP, 2, 1, tmp_path / "cache")
    assert len(seen) == 5
    assert [w.block for w in seen.windows] == [1, 2, 5, 15, 19]
    assert len(set(seen.block.tolist())) == 5
    assert seen.fold.tolist() == split_folds(seen.block, 2, 1).tolist()
    assert [t.unusable_ancestral for t in seen.templates] == [i / 1_000 for i in chosen]
    assert seen.arrays["mask"].sum(axis=1).tolist() == [5, 6, 12, 32, 32]
    whole = encode(SETUP, (real.haplotypes(i) for i in chosen), 5)  # no singletons: preparing changes nothing
    for name, array in seen.arrays.items():
        assert isinstance(array, np.memmap)
        np.testing.assert_array_equal(array, whole[name])


def test_a_window_is_the_same_whichever_others_are_chosen(tmp_path):
    """Its random phase of singletons is its own."""
    real = Genomes([20] * 30, range(30))
    for haplotypes in real._haplotypes:
        haplotypes.genotypes[:] = 0
        haplotypes.genotypes[:, 2] = 1
    few = observe(real, np.array([5, 17]), SETUP, 2, 1, tmp_path / "few")
    all_of_them = observe(real, np.arange(30), SETUP, 2, 1, tmp_path / "all")
    np.testing.assert_array_equal(few.arrays["genotypes"], all_of_them.arrays["genotypes"][[5, 17]])
    assert len({g.tobytes() for g in all_of_them.arrays["genotypes"]}) == 30


def test_spectra_are_of_all_sites_whatever_the_arrays_hold(tmp_path):
    real = Genomes([200, 31, 64] * 100, range(300))
    seen = observe(real, np.arange(300), SETUP, 2, 1, tmp_path / "cache")
    assert seen.arrays["count_mask"].sum() == 100 * (32 + 31 + 32)
    assert seen.spectra[""].tolist() == [0, 0, 0, 100 * (200 + 31 + 64), 0, 0, 0]


def test_a_full_disk_is_said_and_not_died_of(tmp_path, monkeypatch):
    """A mapping whose pages find no room would kill the process by SIGBUS."""

    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    message = r"real-genotypes.npy: the encoded windows, 0.0 MB, cannot be written: No space left on device; free some"
    with pytest.raises(ObservedError, match=message):
        observe(Genomes([5] * 4, [0, 0, 1, 1]), np.arange(4), SETUP, 2, 1, tmp_path / "cache")


def test_blocks_that_are_neighbours_have_neighbouring_numbers():
    def window(block, left, contig="1"):
        return Window(contig, left, left + 100, np.array([[0, 100]]), block)

    near = [window(0, 0), window(0, 200), window(1, 500), window(2, 900)]
    far = [window(3, 5_000_000), window(4, 5_000_300)]
    windows = [*near, *far, window(5, 5_000_600, "2")]
    order = np.random.default_rng(1).permutation(len(windows))
    number = np.empty(len(windows), dtype=int)
    number[order] = numbered([windows[i] for i in order])
    assert number[:4].tolist() == [0, 0, 1, 2]
    assert number[5] == number[4] + 1
    assert number[4] - number[3] == 1 + 4  # megabases and a bit
    assert number[6] - number[5] >= 1_024
    # One block in between that was not chosen parts its neighbours.
    assert np.diff(numbered([windows[0], windows[3]])).tolist() == [2]
