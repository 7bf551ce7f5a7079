"""The fitted demographic model as a drawing of tubes."""

from __future__ import annotations

import math
from typing import Any

from ganinfer.models.graphs import without_idle_pulses
from ganinfer.report import words
from ganinfer.report.reading import Run
from ganinfer.report.style import GREY, POPULATIONS, Drawing, canvas, parameter_axis

#: From this ratio of the oldest to the youngest event on, time is drawn on a logarithmic axis.
LOG_TIME = 12.0


def model(run: Run) -> Drawing | str:
    """Demes as tubes as wide as they are large, the past above, arrows where genes flow."""
    if run.graph is None:
        return run.absent.get("best.demes.yaml", "the simulator has no demographic graph to draw")
    import demesdraw

    graph = without_idle_pulses(run.graph)
    figure = canvas(5.2)
    ax = figure.subplots()
    log_time = span(graph) >= LOG_TIME
    colours = {deme.name: POPULATIONS[i % len(POPULATIONS)] for i, deme in enumerate(graph.demes)}
    demesdraw.tubes(graph, ax=ax, colours=colours, log_time=log_time, seed=1, labels="xticks-mid")
    scale_bar(ax, graph)
    parameter_axis(ax.yaxis, log_time, 6)
    ax.set_ylabel(f"{graph.time_units} ago{', logarithmic' if log_time else ''}")
    _second_axis(run, ax, log_time)
    caption = (
        "The model at the estimates, present at the bottom. A tube is as wide as the population is large (diploid "
        "individuals; the bar is the scale), populations split where tubes meet or arrows join their ends, "
        f"thin arrows are migration, dashed ones admixture.{pulses(graph)}"
    )
    return Drawing(figure, described(graph), caption)


def _second_axis(run: Run, ax: Any, log_time: bool) -> None:
    """The same times in the other unit, where the generation time is known."""
    years = run.generation_time
    if years is None or run.graph.time_units not in ("generations", "years"):
        return
    factor = years if run.graph.time_units == "generations" else 1 / years
    other = "years" if run.graph.time_units == "generations" else "generations"
    twin = ax.twinx()
    twin.set_ylim(*(value * factor for value in ax.get_ylim()))
    parameter_axis(twin.yaxis, log_time, 6)
    twin.spines["right"].set_visible(True)
    twin.spines["left"].set_visible(False)
    twin.spines["bottom"].set_visible(False)
    twin.set_ylabel(f"{other} ago ({words.short(years)} years a generation)", color=GREY)


def scale_bar(ax: Any, graph: Any, below: float = 0.13) -> None:
    """A bar of a round number of individuals below the drawing, whose horizontal axis counts individuals."""
    largest = max(max(epoch.start_size, epoch.end_size) for deme in graph.demes for epoch in deme.epochs)
    power = 10.0 ** math.floor(math.log10(largest / 2))
    length = max(step * power for step in (1, 2, 5) if step * power <= largest / 2)
    left, transform = ax.get_xlim()[0], ax.get_xaxis_transform()
    ax.plot([left, left + length], [-below, -below], color=GREY, lw=3, transform=transform, clip_on=False)
    label = f"  {words.short(length)} individuals"
    ax.text(left + length, -below, label, transform=transform, va="center", color=GREY, fontsize=9.5)


def events(graph: Any) -> list[float]:
    """Times after the present at which anything happens, ascending."""
    times = {epoch.start_time for deme in graph.demes for epoch in deme.epochs}
    times |= {epoch.end_time for deme in graph.demes for epoch in deme.epochs}
    times |= {pulse.time for pulse in graph.pulses}
    return sorted(t for t in times if 0 < t < math.inf)


def span(graph: Any) -> float:
    """How much older the oldest event is than the youngest."""
    times = events(graph)
    return times[-1] / times[0] if times else 1.0


def pulses(graph: Any) -> str:
    """Admixture, whose share no arrow shows, in sentences."""
    return "".join(
        f" {words.number(pulse.time, pulse.time / 100)} {graph.time_units} ago {pulse.dest} had "
        + words.listing(
            [f"{words.percent(p)} of {name}" for p, name in zip(pulse.proportions, pulse.sources, strict=True)]
        )
        + " in it."
        for pulse in graph.pulses
    )


def described(graph: Any) -> str:
    """The demes with their origins and sizes in a sentence."""
    parts = []
    for deme in graph.demes:
        sizes = [words.short(float(f"{epoch.start_size:.3g}")) for epoch in deme.epochs]
        if deme.epochs[-1].end_size != deme.epochs[-1].start_size:
            sizes.append(words.short(float(f"{deme.epochs[-1].end_size:.3g}")))
        origin = f" from {words.listing(list(deme.ancestors))}" if deme.ancestors else ""
        begins = "" if math.isinf(deme.start_time) else f", {words.number(deme.start_time)} {graph.time_units} ago"
        parts.append(f"{deme.name}{origin}{begins}: size {', then '.join(sizes)}")
    return "Demographic model. " + "; ".join(parts) + "."
