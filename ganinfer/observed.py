"""The real side of an inference: genomes, or a simulation study in their place, as encoded windows in folds."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ganinfer import randomness
from ganinfer.haplotypes import Haplotypes, SampleSet
from ganinfer.interfaces import WindowTemplate
from ganinfer.pipeline import prepare_real
from ganinfer.simulation import Setup, encode, encoding_specs
from ganinfer.windows import Window

#: The SNP matrix holds at most so many sites, whatever the data; windows with more keep their middle.
MAX_SITES = 512
_SITES_STEP = 16
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

    ``arrays`` name -> (num_windows, ...), memory-mapped; ``block`` and ``fold`` (num_windows,) int, a block's windows
    in one fold; ``templates`` what simulated windows have to resemble, in the same order.
    """

    arrays: Mapping[str, np.ndarray]
    block: np.ndarray
    fold: np.ndarray
    templates: tuple[WindowTemplate, ...]

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
    """Fold (num_windows,) of each window: blocks dealt to folds at random, folds of nearly equal size."""
    names, index, counts = np.unique(block, return_inverse=True, return_counts=True)
    if len(names) < num_folds:
        raise ObservedError(
            f"{num_folds} folds need at least {num_folds} blocks of windows, the data have {len(names)}: "
            "lower windows.block_length, or give more regions"
        )
    order = randomness.stream(seed, "folds").permutation(len(names))
    size = np.zeros(num_folds, dtype=np.int64)
    fold = np.empty(len(names), dtype=np.int64)
    for name in order:
        fold[name] = int(np.argmin(size))
        size[fold[name]] += counts[name]
    return fold[index]


def fit_num_sites(real: RealWindows, chosen: Sequence[int] | np.ndarray, setup: Setup, seed: int) -> int:
    """Sites of the arrays: a quarter above the 99th percentile of the prepared real windows, at most ``MAX_SITES``."""
    sites = [_prepared(real, int(i), setup, seed).num_sites for i in chosen]
    if max(sites) == 0:
        raise ObservedError("no real window has a variable site left after the filters: nothing to infer from")
    wanted = 1.25 * float(np.quantile(sites, 0.99))
    return int(min(MAX_SITES, max(_SITES_STEP, _SITES_STEP * np.ceil(wanted / _SITES_STEP))))


def observe(real: RealWindows, chosen: np.ndarray, setup: Setup, num_folds: int, seed: int, cache: Path) -> Observed:
    """Encode the chosen real windows into memory-mapped arrays under ``cache``."""
    arrays = {
        name: _on_disk(cache / f"real-{name}.npy", np.dtype(spec.dtype), (len(chosen), *spec.shape))
        for name, spec in encoding_specs(setup).items()
    }
    for start in range(0, len(chosen), _CHUNK):
        part = chosen[start : start + _CHUNK]
        encoded = encode(setup, (_prepared(real, int(i), setup, seed) for i in part), len(part))
        for name, values in encoded.items():
            arrays[name][start : start + len(part)] = values
    for array in arrays.values():
        array.flush()
    block = np.array([real.windows[i].block for i in chosen], dtype=np.int64)
    templates = tuple(real.templates[i] for i in chosen)
    return Observed(arrays, block, split_folds(block, num_folds, seed), templates)


def _on_disk(path: Path, dtype: np.dtype, shape: tuple[int, ...]) -> np.memmap:
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


def _prepared(real: RealWindows, index: int, setup: Setup, seed: int) -> Haplotypes:
    haplotypes = real.haplotypes(index)
    return prepare_real(haplotypes, setup.pipeline, randomness.stream(seed, "real window", index))


def resized(setup: Setup, num_sites: int) -> Setup:
    return replace(setup, num_sites=num_sites)
