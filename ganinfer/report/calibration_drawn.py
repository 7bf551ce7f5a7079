"""Where the truths of simulated data sets lie among their posterior draws, and in their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ganinfer.ranks import ecdf_band
from ganinfer.report import words
from ganinfer.report.calibration_told import KINDS
from ganinfer.report.reading import Run
from ganinfer.report.style import BLUE, GREEN, GREY, INK, LIGHT, VERMILLION, Drawing, heading, panels

_COLOURS = dict(zip(KINDS, (BLUE, VERMILLION, GREEN), strict=True))
_POINTS = np.linspace(0, 1, 101)
#: Of fewer data sets the steps would be all that is seen.
_FEWEST = 10
#: Of bands that lie above each other.
_FAINT = 0.15


def calibration(run: Run) -> Drawing | str:
    """Each parameter's ranks: the share of truths below every quantile of their posteriors, less what is expected."""
    table = run.calibrated
    if table is None:
        return run.absent.get("calibration.parquet", "the run has not been calibrated")
    names = list(dict.fromkeys(table["parameter"].tolist()))
    sizes = {kind: int((table["kind"] == kind).sum()) // len(names) for kind in KINDS}
    kinds = [kind for kind, size in sizes.items() if size >= _FEWEST]
    if not kinds:
        return f"ranks are drawn of {_FEWEST} data sets or more"
    figure, axes = panels(len(names))
    for ax, name in zip(axes, names, strict=True):
        for kind in kinds:
            ranks = table["rank"][(table["parameter"] == name) & (table["kind"] == kind)]
            low, high = ecdf_band(len(ranks), _POINTS, _common(run, kind, name))
            colour, alpha = (LIGHT, 1.0) if len(kinds) == 1 else (_COLOURS[kind], _FAINT)
            ax.fill_between(_POINTS, low - _POINTS, high - _POINTS, color=colour, alpha=alpha, lw=0)
            below = np.searchsorted(np.sort(ranks), _POINTS, side="right") / len(ranks)
            ax.plot(_POINTS, below - _POINTS, color=_COLOURS[kind], label=KINDS[kind])
        ax.axhline(0, color=GREY, lw=0.8)
        ax.set_title(name)
        ax.set(xlim=(0, 1), xticks=(0, 0.5, 1))
        ax.yaxis.label.set_color(INK)
    _label(figure, axes, "quantile of the posterior", "share of truths below\nless expected", kinds)
    band = "the grey band" if len(kinds) == 1 else "the band of their colour, wider of fewer data sets,"
    caption = (
        f"If intervals mean what they say, lines stay within {band} in about 95 % of all places. A line that "
        "rises above zero on the left and falls below it on the right: intervals are too narrow. The reverse: too "
        "wide. A line on one side of zero: estimates are too high (above) or too low."
    )
    return Drawing(figure, f"Ranks of truths among posterior draws of {len(names)} parameters.", caption)


def _common(run: Run, kind: str, name: str) -> float:
    """The error that all data sets share in a parameter, in posterior standard deviations."""
    said = ((run.calibration or {}).get(kind) or {}).get("parameters") or {}
    return float((said.get(name) or {}).get("common_error") or 0.0)


def widths(run: Run) -> Drawing | str:
    """Each parameter's errors against the widths of its intervals, a mark for every data set."""
    table = run.calibrated
    if table is None:
        return run.absent.get("calibration.parquet", "the run has not been calibrated")
    names = list(dict.fromkeys(table["parameter"].tolist()))
    estimates = {e.name: e for e in run.estimates}
    kinds = [kind for kind in KINDS if (table["kind"] == kind).any()]
    figure, axes = panels(len(names))
    for ax, name in zip(axes, names, strict=True):
        estimate = estimates.get(name)
        logarithmic = estimate is not None and estimate.scale == "log"
        for kind in kinds:
            rows = (table["parameter"] == name) & (table["kind"] == kind)
            low, truth, high = (_on_scale(table[c][rows], logarithmic) for c in ("low", "truth", "high"))
            width, error = high - low, truth - (low + high) / 2
            missed = (truth < low) | (truth > high)
            colour = _COLOURS[kind]
            ax.scatter(width[~missed], error[~missed], s=12, color=colour, alpha=0.5, lw=0, label=KINDS[kind])
            ax.scatter(width[missed], error[missed], s=24, color=colour, marker="x", lw=1.4)
        _wedge(ax)
        _plain(ax, logarithmic)
        if estimate is None or logarithmic:
            ax.set_title(name)
        else:
            heading(ax, estimate)
    _label(figure, axes, "width of the interval", "truth, from the\ninterval's middle", kinds)
    caption = (
        "Every mark is a simulated data set: how far the truth is from the middle of its interval, against the width "
        "of that interval. Within the grey wedge the interval holds the truth; crosses lie outside. Where widths mean "
        "what they say, errors are larger where intervals are wider, and crosses are as rare among narrow intervals "
        "as among wide ones. Numbers with × are factors: upper end over lower one, and truth over middle."
    )
    return Drawing(figure, f"Errors against the widths of intervals of {len(names)} parameters.", caption)


def _label(figure: Any, axes: Sequence[Any], across: str, up: str, kinds: Sequence[str]) -> None:
    """Axes named once a row and once below, and which colour is which kind, where there are several."""
    for ax in axes[:: min(3, len(axes))]:
        ax.set_ylabel(up)
    figure.supxlabel(across, fontsize=9.5)
    if len(kinds) > 1:
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=1)


def _on_scale(values: np.ndarray, logarithmic: bool) -> np.ndarray:
    return np.log(values) if logarithmic else np.asarray(values, dtype=float)


def _wedge(ax: Any) -> None:
    """Where an interval holds the truth, over all widths that are there."""
    low, high = ax.get_xlim()
    edges = np.array([max(low, 0.0), high])
    ax.fill_between(edges, -edges / 2, edges / 2, color=LIGHT, lw=0, zorder=0)
    ax.axhline(0, color=GREY, lw=0.8, zorder=0)
    ax.set_xlim(*edges)


def _plain(ax: Any, logarithmic: bool) -> None:
    """Few plain numbers; differences of logarithms as the factors that they are."""
    from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter, MaxNLocator

    for axis in (ax.xaxis, ax.yaxis):
        even = MaxNLocator(4, steps=[1, 2, 2.5, 5, 10])
        if not logarithmic:
            axis.set_major_locator(even)
            axis.set_major_formatter(FuncFormatter(lambda value, _: words.short(value)))
            continue
        low, high = axis.get_view_interval()
        factors = [f for f in even.tick_values(np.exp(low), np.exp(high)) if f > 0 and low <= np.log(f) <= high]
        axis.set_major_locator(FixedLocator([float(np.log(f)) for f in factors]))
        axis.set_major_formatter(FixedFormatter([f"× {words.short(f)}" for f in factors]))
