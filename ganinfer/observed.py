"""The real side of an inference: genomes, or a simulation study in their place, as encoded windows in folds."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ganinfer import randomness
from ganinfer.genomes.summary import left_out
from ganinfer.haplotypes import Haplotypes, SampleSet, chromosomes
from ganinfer.interfaces import WindowTemplate
from ganinfer.pipeline import prepare_real
from ganinfer.simulation import Setup, encode, encoding_specs
from ganinfer.statistics import allele_counts, joint_spectra
from ganinfer.windows import Window

#: The SNP matrix holds at most so many sites, whatever the data; windows with more keep their middle.
MAX_SITES = 512
#: The joint counts hold at most so many: about the memory of a SNP matrix of a hundred chromosomes.
MAX_COUNTED_SITES = 4_096
_SITES_STEP = 16
#: Base pairs between blocks that are still neighbours, at most.
_NEAR = 1_000_000
#: Neighbouring blocks in one fold, at most, as long as every fold has so many groups of them.
_MOST_TOGETHER, _DEALT = 4, 16
#: Numbers between blocks that are none: so many blocks of neighbours joined would still be none.
_APART = 1_024
_CHUNK = 256


class ObservedError(ValueError):
    """The real windows cannot be used for an inference."""


class RealWindows(Protocol):
    """Windows with their observations: genomes that were read, or a simulation study."""

    @property
    def samples(self) -> tuple[SampleSet, ...]: ...

    @property
    def windows(self) -> tuple[Window, ...]: ...

    @property
    def templates(self) -> tuple[WindowTemplate, ...]: ...

    @property
    def phased(self) -> bool: ...

    def haplotypes(self, index: int) -> Haplotypes: ...

    def summary(self) -> dict[str, Any]: ...


@dataclass(frozen=True, eq=False)
class Observed:
    """Encoded real windows.

    ``arrays`` name -> (num_windows, ...), memory-mapped; ``block`` (num_windows,) int, see :func:`numbered`, and
    ``fold`` (num_windows,) int, a block's windows in one fold; ``templates`` what simulated windows have to resemble
    and ``windows`` where real ones lie, in the same order; ``spectra`` the joint spectra of all sites of all windows
    (see :func:`ganinfer.statistics.joint_spectra`), which no array's size cuts.
    """

    arrays: Mapping[str, np.ndarray]
    block: np.ndarray
    fold: np.ndarray
    templates: tuple[WindowTemplate, ...]
    spectra: Mapping[str, np.ndarray]
    windows: tuple[Window, ...]

    def __len__(self) -> int:
        return len(self.block)


def chosen_windows(real: RealWindows, maximum: int | None, seed: int) -> np.ndarray:
    """Indices of the windows to use: all, or whole blocks drawn at random up to ``maximum`` windows."""
    block = np.array([w.block for w in real.windows])
    if maximum is None or len(block) <= maximum:
        return np.arange(len(block))
    rng = randomness.stream(seed, "chosen blocks")
    kept: list[int] = []
    for name in rng.permutation(np.unique(block)):
        kept += np.flatnonzero(block == name).tolist()
        if len(kept) >= maximum:
            break
    return np.sort(kept)[:maximum]


def split_folds(block: np.ndarray, num_folds: int, seed: int) -> np.ndarray:
    """Fold (num_windows,) of each window: blocks dealt to folds at random, folds of nearly equal size.

    Of many blocks, neighbours are dealt together by up to four, so that few of them are in different folds.
    """
    names, index = np.unique(block, return_inverse=True)
    if len(names) < num_folds:
        raise ObservedError(
            f"{num_folds} folds need at least {num_folds} blocks of windows, the {len(block):,} windows in use have "
            f"{len(names)}: lower windows.block_length, raise windows.maximum where it is set, or give more regions"
        )
    together = min(max(len(names) // (_DEALT * num_folds), 1), _MOST_TOGETHER)
    run = np.cumsum(np.diff(names, prepend=names[0] - 2) != 1)
    place = np.arange(len(names)) - np.searchsorted(run, run)
    dealt = np.unique(np.stack([run, place // together]), axis=1, return_inverse=True)[1].ravel()[index]
    counts = np.bincount(dealt)
    size, fold = np.zeros(num_folds, dtype=np.int64), np.empty(len(counts), dtype=np.int64)
    for name in randomness.stream(seed, "folds").permutation(len(counts)):
        fold[name] = int(np.argmin(size))
        size[fold[name]] += counts[name]
    return fold[dealt]


def numbered(windows: Sequence[Window]) -> np.ndarray:
    """Numbers (n,) of the windows' blocks, in the same order, those of neighbours being neighbours themselves.

    What lies between others is counted in steps of :data:`_NEAR`, so that joined ones are neighbours in turn. Those of
    other contigs are more than :data:`_APART` apart.
    """
    first: dict[int, Window] = {}
    last: dict[int, Window] = {}
    for window in sorted(windows, key=lambda w: (w.block, w.left)):
        first.setdefault(window.block, window)
        last[window.block] = window
    given: dict[int, int] = {}
    number, before = 0, -1
    for block in sorted(first):
        if before >= 0:
            gap = first[block].left - last[before].right
            if first[block].contig != last[before].contig:
                number = (number // _APART + 2) * _APART
            elif block == before + 1 and gap < _NEAR:
                number += 1
            else:
                number += max(1 + gap // _NEAR, 2)
        given[block], before = number, block
    return np.array([given[window.block] for window in windows], dtype=np.int64)


def numbers_of_sites(real: RealWindows, chosen: Sequence[int] | np.ndarray, setup: Setup, seed: int) -> np.ndarray:
    """Sites (len(chosen),) of the prepared real windows."""
    sites = np.array([prepared(real, int(i), setup, seed).num_sites for i in chosen])
    if sites.max() == 0:
        summary = real.summary()
        told = f"; {left_out(summary)}" if "records" in summary else ""
        raise ObservedError(f"no real window has a variable site left after the filters: nothing to infer from{told}")
    return sites


def fitted(setup: Setup, sites: np.ndarray) -> Setup:
    """The set-up with arrays for the real windows' numbers of ``sites``, within :data:`MAX_SITES` and its like.

    A quarter above their 99th percentile, as simulated windows may have more.
    """
    wanted = 1.25 * float(np.quantile(sites, 0.99))
    room = max(_SITES_STEP, _SITES_STEP * int(np.ceil(wanted / _SITES_STEP)))
    return replace(setup, num_sites=min(MAX_SITES, room), num_counted_sites=min(MAX_COUNTED_SITES, room))


def unseen_sites(setup: Setup, sites: np.ndarray) -> list[str]:
    """What the set-up's arrays leave out of real windows with these numbers of ``sites``, in sentences."""
    limits = {"snp-matrix": setup.num_sites, "joint-counts": setup.num_counted_sites or setup.num_sites}
    sentences = []
    for name in (name for name, _ in setup.encoders if name in limits):
        limit = limits[name]
        cut, unseen = int((sites > limit).sum()), int(np.maximum(sites - limit, 0).sum())
        if cut:
            sentences.append(
                f"{cut:,} of {len(sites):,} windows have more sites than {name} has room for ({limit:,}): it keeps "
                f"their middle, and a network that reads it does not see {100 * unseen / sites.sum():.2g} % of all "
                "sites. A shorter windows.length leaves fewer out."
            )
    return sentences


def observe(real: RealWindows, chosen: np.ndarray, setup: Setup, num_folds: int, seed: int, cache: Path) -> Observed:
    """Encode the chosen real windows into memory-mapped arrays under ``cache``."""
    arrays = {
        name: on_disk(cache / f"real-{name}.npy", np.dtype(spec.dtype), (len(chosen), *spec.shape))
        for name, spec in encoding_specs(setup).items()
    }
    spectra: dict[str, np.ndarray] = {}
    for start in range(0, len(chosen), _CHUNK):
        part = chosen[start : start + _CHUNK]
        counts: list[tuple[np.ndarray, np.ndarray]] = []
        encoded = encode(setup, _counted((prepared(real, int(i), setup, seed) for i in part), counts), len(part))
        for name, values in encoded.items():
            arrays[name][start : start + len(part)] = values
        derived, called = (np.concatenate(side) for side in zip(*counts, strict=True))
        for key, sites in joint_spectra(derived, called, chromosomes(setup.samples)).items():
            spectra[key] = spectra.get(key, 0.0) + sites
    for array in arrays.values():
        array.flush()
    block = numbered([real.windows[i] for i in chosen])
    templates = tuple(real.templates[i] for i in chosen)
    windows = tuple(real.windows[i] for i in chosen)
    return Observed(arrays, block, split_folds(block, num_folds, seed), templates, spectra, windows)


def _counted(windows: Iterable[Haplotypes], counts: list[tuple[np.ndarray, np.ndarray]]) -> Iterator[Haplotypes]:
    """The same ``windows``, whose allele counts are left in ``counts``: they stay, the windows are dropped."""
    for window in windows:
        counts.append(allele_counts(window))
        yield window


def on_disk(path: Path, dtype: np.dtype, shape: tuple[int, ...]) -> np.memmap:
    """A memory-mapped array whose room on the disk is taken at once: a mapping that finds none kills the process."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
        if hasattr(os, "posix_fallocate"):
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    except OSError as error:
        needed = int(np.prod(shape)) * dtype.itemsize / 1e6
        raise ObservedError(
            f"{path}: the encoded windows, {needed:,.1f} MB, cannot be written: {error.strerror or error}; "
            "free some space there, or choose another place with --output"
        ) from error
    return array


def prepared(real: RealWindows, index: int, setup: Setup, seed: int) -> Haplotypes:
    """A real window after the pipeline, as it is encoded."""
    haplotypes = real.haplotypes(index)
    return prepare_real(haplotypes, setup.pipeline, randomness.stream(seed, "real window", index))
