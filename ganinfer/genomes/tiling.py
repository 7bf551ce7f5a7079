"""Cutting regions into windows, and windows into blocks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ganinfer.genomes.source import GenomeError, WindowSettings
from ganinfer.windows import RecombinationMap, Window, intersect, num_bases

TOO_SHORT = "end of a region, shorter than a window"
INACCESSIBLE = "too few accessible bases"
_MOST_WINDOWS = 1_000_000


@dataclass(frozen=True, eq=False)
class Tiling:
    """Windows in order of contig and position, and how many stretches fell for which reason."""

    windows: tuple[Window, ...]
    rejected: Mapping[str, int]


def tile(
    regions: Mapping[str, np.ndarray],
    accessible: Mapping[str, np.ndarray] | None,
    maps: Mapping[str, RecombinationMap] | None,
    settings: WindowSettings,
) -> Tiling:
    """Windows side by side from each region's left end; chosen by accessibility alone, never by content.

    ``regions`` and ``accessible`` are normalised intervals by contig; without ``accessible`` every base is. Raises
    GenomeError when no window is left, or fewer blocks than needed.
    """
    _check_number(regions, settings)
    windows: list[Window] = []
    rejected: Counter[str] = Counter()
    best = 0.0
    for contig, intervals in regions.items():
        mask = None if accessible is None else accessible.get(contig, np.empty((0, 2), dtype=np.int64))
        for left in _starts(intervals, settings.length, rejected):
            bases = _accessible(mask, left, settings.length)
            share = num_bases(bases) / settings.length
            best = max(best, share)
            if share < settings.min_accessible:
                rejected[INACCESSIBLE] += 1
                continue
            recombination = maps[contig].slice(left, left + settings.length) if maps is not None else None
            windows.append(Window(contig, left, left + settings.length, bases, 0, recombination))
    if not windows:
        raise GenomeError(_nothing_left(rejected, best, regions, settings))
    numbered = with_blocks(windows, settings.block_length)
    _check_blocks(numbered[-1].block + 1, len(numbered), settings)
    return Tiling(tuple(numbered), dict(rejected))


def _check_number(regions: Mapping[str, np.ndarray], settings: WindowSettings) -> None:
    number = sum(int(((i[:, 1] - i[:, 0]) // settings.length).sum()) for i in regions.values())
    if number > _MOST_WINDOWS:
        raise GenomeError(
            f"regions hold {number:,} windows of {settings.length:,} bases (windows.length), at most {_MOST_WINDOWS:,} "
            "are possible: choose longer windows, or limit data.regions"
        )


def _check_blocks(number: int, num_windows: int, settings: WindowSettings) -> None:
    if number < settings.min_blocks:
        raise GenomeError(
            f"{settings.min_blocks} folds need at least {settings.min_blocks} blocks of windows, the regions have "
            f"{number} ({num_windows:,} windows): lower windows.block_length, which is {settings.block_length:,}, "
            "or give more regions"
        )


def _starts(intervals: np.ndarray, length: int, rejected: Counter[str]) -> list[int]:
    starts: list[int] = []
    for left, right in intervals.tolist():
        number = (right - left) // length
        starts += range(left, left + number * length, length)
        if (right - left) % length:
            rejected[TOO_SHORT] += 1
    return starts


def _accessible(mask: np.ndarray | None, left: int, length: int) -> np.ndarray:
    """The window's accessible intervals, counted from its left end."""
    if mask is None:
        return np.array([[0, length]], dtype=np.int64)
    return intersect(np.array([[left, left + length]], dtype=np.int64), mask) - left


def _nothing_left(
    rejected: Mapping[str, int], best: float, regions: Mapping[str, np.ndarray], settings: WindowSettings
) -> str:
    if INACCESSIBLE not in rejected:
        return too_long(regions, settings.length)
    reasons = "; ".join(f"{number} fell as {reason}" for reason, number in rejected.items())
    return (
        f"no window of {settings.length:,} bases is left: {reasons}. The most accessible had a share of {best:.2f}, "
        f"windows.min_accessible is {settings.min_accessible:g}: lower it or windows.length, or look at data.regions, "
        "data.accessible and data.exclude"
    )


def too_long(regions: Mapping[str, np.ndarray], length: int) -> str:
    """What to say where every region is shorter than a window."""
    longest = max((int((i[:, 1] - i[:, 0]).max()) for i in regions.values() if len(i)), default=0)
    return (
        f"no window of {length:,} bases is left: the longest of the regions has {longest:,}. Lower "
        "windows.length, or give longer regions in data.regions"
    )


def with_blocks(windows: list[Window], block_length: int) -> list[Window]:
    """Number blocks from 0: runs of windows with gaps below ``block_length``, cut into even parts of about it."""
    numbered: list[Window] = []
    block = -1
    for run in _runs(windows, block_length):
        left, right = run[0].left, run[-1].right
        parts = max(1, round((right - left) / block_length))
        part = -1
        for window in run:
            current = min((window.left - left) * parts // (right - left), parts - 1)
            block += current != part
            part = current
            numbered.append(replace(window, block=block))
    return numbered


def _runs(windows: list[Window], gap: int) -> list[list[Window]]:
    runs: list[list[Window]] = []
    for window in windows:
        if runs and runs[-1][-1].contig == window.contig and window.left - runs[-1][-1].right < gap:
            runs[-1].append(window)
        else:
            runs.append([window])
    return runs
