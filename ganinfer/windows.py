"""Windows of a genome: intervals, accessible bases and the recombination map along them.

Intervals are int64 arrays (num_intervals, 2) of half-open, 0-based ``[left, right)``, sorted and disjoint.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


def normalise(intervals: np.ndarray) -> np.ndarray:
    """Sorted, disjoint intervals that cover the same bases; touching ones are merged."""
    intervals = np.asarray(intervals, dtype=np.int64).reshape(-1, 2)
    intervals = intervals[intervals[:, 1] > intervals[:, 0]]
    if len(intervals) == 0:
        return intervals
    intervals = intervals[np.argsort(intervals[:, 0], kind="stable")]
    reach = np.maximum.accumulate(intervals[:, 1])
    starts = np.flatnonzero(np.concatenate([[True], intervals[1:, 0] > reach[:-1]]))
    ends = np.concatenate([reach[starts[1:] - 1], reach[-1:]])
    return np.stack([intervals[starts, 0], ends], axis=1)


def complement(intervals: np.ndarray, left: int, right: int) -> np.ndarray:
    """The bases of ``[left, right)`` outside ``intervals`` (normalised)."""
    inner = intersect(intervals, np.array([[left, right]]))
    edges = np.concatenate([[left], inner.ravel(), [right]])
    gaps = edges.reshape(-1, 2)
    return gaps[gaps[:, 1] > gaps[:, 0]]


def intersect(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Bases in both ``a`` and ``b`` (each normalised)."""
    a = np.asarray(a, dtype=np.int64).reshape(-1, 2)
    b = np.asarray(b, dtype=np.int64).reshape(-1, 2)
    first = np.searchsorted(b[:, 1], a[:, 0], side="right")
    last = np.searchsorted(b[:, 0], a[:, 1], side="left")
    counts = np.maximum(last - first, 0)
    row = np.repeat(np.arange(len(a)), counts)
    offset = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    column = np.repeat(first, counts) + offset
    return np.stack([np.maximum(a[row, 0], b[column, 0]), np.minimum(a[row, 1], b[column, 1])], axis=1)


def subtract(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Bases in ``a`` and not in ``b`` (each normalised)."""
    a = np.asarray(a, dtype=np.int64).reshape(-1, 2)
    if len(a) == 0:
        return a
    return intersect(a, complement(b, int(a[0, 0]), int(a[-1, 1])))


def num_bases(intervals: np.ndarray) -> int:
    return int((intervals[:, 1] - intervals[:, 0]).sum())


def contains(intervals: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Boolean array: which ``positions`` lie in normalised ``intervals``."""
    index = np.searchsorted(intervals[:, 0], positions, side="right") - 1
    inside = np.zeros(len(positions), dtype=bool)
    known = index >= 0
    inside[known] = np.asarray(positions)[known] < intervals[index[known], 1]
    return inside


@dataclass(frozen=True, eq=False)
class RecombinationMap:
    """Piecewise constant recombination: ``rates[i]`` per base and generation on ``[positions[i], positions[i+1])``.

    ``positions`` (num_rates + 1,) increase strictly; all rates are finite and not negative.
    """

    positions: np.ndarray
    rates: np.ndarray

    def __post_init__(self) -> None:
        if len(self.positions) != len(self.rates) + 1:
            raise ValueError(f"{len(self.rates)} rates need {len(self.rates) + 1} positions, got {len(self.positions)}")
        if not (np.diff(self.positions) > 0).all():
            raise ValueError("recombination map positions must increase strictly")
        if not (np.isfinite(self.rates).all() and (np.asarray(self.rates) >= 0).all()):
            raise ValueError("recombination rates must be finite and not negative")

    def slice(self, left: int, right: int) -> RecombinationMap:
        """The map of ``[left, right)`` with positions counted from ``left``; the ends extend the outermost rates."""
        first = max(int(np.searchsorted(self.positions, left, side="right")) - 1, 0)
        last = min(int(np.searchsorted(self.positions, right, side="left")), len(self.rates))
        first = min(first, len(self.rates) - 1)
        last = max(last, first + 1)
        inner = np.asarray(self.positions[first + 1 : last], dtype=float) - left
        return RecombinationMap(
            np.concatenate([[0.0], inner, [float(right - left)]]), np.asarray(self.rates[first:last], dtype=float)
        )

    @property
    def mean_rate(self) -> float:
        widths = np.diff(self.positions)
        return float((widths * self.rates).sum() / widths.sum())


@dataclass(frozen=True, eq=False)
class Window:
    """A stretch ``[left, right)`` of one contig inside a region.

    ``accessible`` holds intervals counted from ``left``; ``recombination`` is the map's slice, also from ``left``,
    or ``None`` without a map. Windows of one ``block`` are linked: they are resampled, split and held out together.
    """

    contig: str
    left: int
    right: int
    accessible: np.ndarray
    block: int
    recombination: RecombinationMap | None = None

    @property
    def length(self) -> int:
        return self.right - self.left

    @property
    def num_accessible(self) -> int:
        return num_bases(self.accessible)
