"""Where the truths of simulated data sets lie among their posterior draws."""

from __future__ import annotations

import numpy as np

from ganinfer.ranks import ecdf_band
from ganinfer.report.calibration_told import KINDS
from ganinfer.report.reading import Run
from ganinfer.report.style import BLUE, GREEN, GREY, INK, LIGHT, VERMILLION, Drawing, panels

_COLOURS = dict(zip(KINDS, (BLUE, VERMILLION, GREEN), strict=True))
_POINTS = np.linspace(0, 1, 101)
#: Of fewer data sets the steps would be all that is seen.
_FEWEST = 10


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
            if kind == kinds[0]:
                low, high = ecdf_band(len(ranks), _POINTS, _common(run, kind, name))
                ax.fill_between(_POINTS, low - _POINTS, high - _POINTS, color=LIGHT, lw=0)
            below = np.searchsorted(np.sort(ranks), _POINTS, side="right") / len(ranks)
            ax.plot(_POINTS, below - _POINTS, color=_COLOURS[kind], label=KINDS[kind])
        ax.axhline(0, color=GREY, lw=0.8)
        ax.set_title(name)
        ax.set(xlim=(0, 1), xticks=(0, 0.5, 1))
        ax.yaxis.label.set_color(INK)
    for ax in axes[:: min(3, len(axes))]:
        ax.set_ylabel("share of truths below\nless expected")
    axes[0].figure.supxlabel("quantile of the posterior", fontsize=9.5)
    if len(kinds) > 1:
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=1)
    caption = (
        "If intervals mean what they say, lines stay within the grey band in about 95 % of all places. A line that "
        "rises above zero on the left and falls below it on the right: intervals are too narrow. The reverse: too "
        "wide. A line on one side of zero: estimates are too high (above) or too low."
    )
    return Drawing(figure, f"Ranks of truths among posterior draws of {len(names)} parameters.", caption)


def _common(run: Run, kind: str, name: str) -> float:
    """The error that all data sets share in a parameter, in posterior standard deviations."""
    said = ((run.calibration or {}).get(kind) or {}).get("parameters") or {}
    return float((said.get(name) or {}).get("common_error") or 0.0)
