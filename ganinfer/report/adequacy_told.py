"""What the verdict on a fitted model rests on, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ganinfer.report import words
from ganinfer.report.reading import Run

_LARGEST = "largest residual: "
#: Regions that are listed, and blocks below which none is: what is usual of so few is not known.
_MOST_PLACES, _LEAST_BLOCKS = 6, 8
#: If the model is right, a region is named by chance in one genome out of twenty.
_CHANCE = 0.05


@dataclass(frozen=True, eq=False)
class Regions:
    """Blocks of linked windows: ``contig`` (n,), ``left`` and ``right`` (n,), and how unusual each is.

    ``score`` (n,): the mean normal score of its windows, in standard errors as blocks scatter; above ``remarkable``
    chance hardly brings any of them.
    """

    contig: np.ndarray
    left: np.ndarray
    right: np.ndarray
    score: np.ndarray
    num_windows: np.ndarray

    @property
    def remarkable(self) -> float:
        from scipy.stats import norm

        return float(norm.isf(_CHANCE / len(self.score)))


def _adequacy(run: Run) -> Mapping[str, Any]:
    return (run.result or {}).get("adequacy") or {}


def look(name: str) -> str:
    """What one look is at, in words."""
    if name == "guide":
        return "the estimates themselves"
    if name == "all residuals":
        return "all statistics together"
    kind, _, number = name.removeprefix(_LARGEST).rpartition(" ")
    if kind == "critic":
        return f"the critic that was not trained on part {number} of the windows"
    if kind == "embedding":
        return f"what the network adds on part {number} of the windows"
    return f"{name.removeprefix(_LARGEST)}, the oddest statistic"


def looks(run: Run) -> list[tuple[str, str]]:
    """Every look and its p-value, the smallest first."""
    found = sorted((_adequacy(run).get("looks") or {}).items(), key=lambda item: item[1])
    return [(look(name), f"{p:.2g}" if p >= 0.001 else "< 0.001") for name, p in found]


def left_out(run: Run) -> str:
    """What the estimates do once that is left out which the model misses most."""
    left = _adequacy(run).get("left_out")
    if not left:
        return ""
    names = [{"embedding": "what the network adds"}.get(name, name) for name in left["families"]]
    if not left["moved"]:
        return f"Without {words.listing(names)} nothing would be left to estimate from."
    name, most = max(left["moved"].items(), key=lambda item: item[1])
    said = f"Without {words.listing(names)}, "
    if most < 1:
        return f"{said}no estimate moves by more than {most:.1f} posterior standard deviations ({name})."
    moved = [f"{n} by {m:.1f}" for n, m in sorted(left["moved"].items(), key=lambda item: -item[1]) if m >= 1]
    return f"{said}estimates move, in posterior standard deviations: {words.listing(moved)}."


def estimates_without(run: Run) -> list[dict[str, str]]:
    """Every estimate beside the one without what the model misses most; empty where nothing was left out."""
    without = (_adequacy(run).get("left_out") or {}).get("parameters") or {}
    table = []
    for e in run.estimates:
        if e.name in without:
            fewer = replace(e, estimate=without[e.name]["estimate"], interval=tuple(without[e.name]["interval"]))
            with_all, left = (f"{words.point(x)} ({words.interval(x)})" for x in (e, fewer))
            table.append({"parameter": e.name, "from all statistics": with_all, "without those": left})
    return table


def regions(run: Run) -> Regions | None:
    """The blocks of real windows; ``None`` where no verdict was sought, or nothing is linked."""
    table = run.windows
    if table is None:
        return None
    names, index = np.unique(table["block"], return_inverse=True)
    if len(names) == len(index) or len(names) < _LEAST_BLOCKS:
        return None
    size = np.bincount(index)
    mean = np.bincount(index, table["unusual"]) / size
    # What blocks of so many windows scatter by, linkage included: from blocks themselves, robust against the few.
    scaled = (mean - np.median(mean)) * np.sqrt(size)
    spread = max(float(np.median(np.abs(scaled))) / 0.6745, 1e-9)
    first = np.array([np.flatnonzero(index == k)[0] for k in range(len(names))])
    left, right = (np.array([f(table[side][index == k]) for k in range(len(names))]) for f, side in _EDGES)
    return Regions(table["contig"][first], left, right, scaled / spread, size)


_EDGES = ((np.min, "left"), (np.max, "right"))


def places(run: Run) -> list[str]:
    """The regions that the model explains worst; only remarkable ones."""
    found = regions(run)
    if found is None:
        return []
    worst = [i for i in np.argsort(-found.score) if found.score[i] > found.remarkable][:_MOST_PLACES]
    return [
        f"{found.contig[i]}:{found.left[i] + 1:,}–{found.right[i]:,}, {found.num_windows[i]} windows "
        f"({found.score[i]:.1f} standard errors)"
        for i in worst
    ]
