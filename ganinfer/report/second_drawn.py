"""Both opinions of every parameter, one above the other."""

from __future__ import annotations

from typing import Any

from ganinfer.report import second_told, words
from ganinfer.report.reading import Estimate, Run
from ganinfer.report.style import BLUE, GREEN, VERMILLION, Drawing, heading, panels, parameter_axis


def second_opinion(run: Run) -> Drawing | str:
    """Estimates and intervals, ours and those of the other program."""
    found = second_told.answered(run.result)
    if found is None:
        return second_told.why_not(run.result).removesuffix(".") or "no second opinion was asked for"
    theirs = found["parameters"]
    shown = [e for e in run.estimates if e.name in theirs and not second_told.unknown(theirs[e.name])]
    if not shown:
        return "the spectrum tells no parameter by itself"
    program = found["program"].split(" ")[0]
    figure, axes = panels(len(shown), height=1.5)
    for ax, estimate in zip(axes, shown, strict=True):
        _pair(ax, estimate, theirs[estimate.name])
        ax.set_yticks([1, 0], ["ganinfer", program])
        heading(ax, estimate)
    caption = (
        f"Estimates (points) and {words.level(found['level'])} intervals (lines) from the same windows: ours in blue, "
        f"those of {found['program']} in green, which sees the joint site frequency spectrum and nothing else."
    )
    caption += " Orange: the truth that the data were simulated with." if run.truth else ""
    return Drawing(figure, second_told.sentence(run.result), caption)


def _pair(ax: Any, ours: Estimate, second: dict[str, Any]) -> None:
    pairs = ((1, ours.estimate, ours.interval, BLUE), (0, second["estimate"], second["interval"], GREEN))
    for height, middle, interval, colour in pairs:
        if interval is not None:
            ax.plot(interval, [height, height], color=colour, lw=2.2, solid_capstyle="round")
        ax.plot([middle], [height], "o", color=colour, ms=5)
    if ours.truth is not None:
        ax.axvline(ours.truth, color=VERMILLION, lw=1.2)
    ax.set_ylim(-0.6, 1.6)
    ax.margins(x=0.08)
    parameter_axis(ax.xaxis, ours.logarithmic)
