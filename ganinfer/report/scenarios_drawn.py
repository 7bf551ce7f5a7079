"""Figures of compared scenarios: what they tell, where the data lie among them, and what tells them apart."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from ganinfer.report import model_drawn, scenarios_told, words
from ganinfer.report.reading import Run
from ganinfer.report.style import (
    GREY,
    INK,
    LIGHT,
    POPULATIONS,
    Drawing,
    canvas,
    panels,
    parameter_axis,
)

_SHOWN = 10
#: Residuals beyond so many standard deviations are remarkable.
_REMARKABLE = 3.0
#: What captions say of tables of SNPs (False), and of windows (True).
_GRAPHS = {False: "in the middle of its prior", True: "at its estimates"}
_MATCHED = {False: "", True: ", each at its solution,"}
_CLOUDS = {
    False: "Each dot is a simulated data set in the colour of its scenario; the black star is the real one. Where the "
    "star lies within one cloud only, that scenario makes such data; where it lies outside of all, none does. Left: "
    "by summary statistics of the SNPs. Right: by what the networks say of the scenarios, a star for each network. "
    "The axes mix many values so that the scenarios come apart; they have no unit.",
    True: "Each dot stands for genomes as large as the real ones, of fresh windows that were simulated around "
    "the solution of the scenario whose colour it has; the black star stands for the real ones. Where the star lies "
    "within one cloud only, that scenario makes such genomes; where it lies outside of all, none does. Left: by means "
    "of classical statistics over the windows. Right: by what the evidence is taken from, means along the directions "
    "in which scenarios and parameters differ, with those that networks add. The axes mix many values so that the "
    "scenarios come apart; they have no unit.",
}
_NO_ARRAYS = "the run left nothing to draw of the comparison (comparison.npz)"


def colours(run: Run) -> dict[str, str]:
    """Each scenario's colour, the same in every figure."""
    return {name: POPULATIONS[i % len(POPULATIONS)] for i, name in enumerate(run.comparison["probabilities"])}


def wrapped(text: str, width: int, most: int = 3) -> str:
    """A name in lines of at most ``width`` characters, broken after spaces, - and _, and cut after ``most`` lines."""
    lines = [""]
    for piece in re.findall(rf".{{1,{width - 1}}}?(?:[-_ ]|$)|.{{{width}}}", text):
        if lines[-1] and len(lines[-1] + piece.rstrip()) > width:
            lines.append("")
        lines[-1] += piece
    lines = [line.rstrip() for line in lines]
    return "\n".join(lines if len(lines) <= most else [*lines[: most - 1], f"{lines[most - 1][: width - 1]}…"])


# --- the scenarios ------------------------------------------------------------------------------------------------


def scenarios(run: Run) -> Drawing | str:
    """Each scenario's demes as tubes, all over the same time."""
    if not run.graphs:
        return "no scenario's simulator has a demographic graph to draw"
    names = list(run.comparison["probabilities"])
    figure, axes = panels(len(names), height=3.9)
    graphs = list(run.graphs.values())
    log_time = max(map(model_drawn.span, graphs)) >= model_drawn.LOG_TIME
    oldest = max((model_drawn.events(graph) or [1.0])[-1] for graph in graphs)
    same = len({graph.time_units for graph in graphs}) == 1
    for k, (ax, name) in enumerate(zip(axes, names, strict=True)):
        chance = scenarios_told.probability(run.comparison["probabilities"][name])
        ax.set_title(wrapped(name, 30, 2), color=colours(run)[name], pad=21)
        ax.text(0, 1.02, f"probability {chance}", transform=ax.transAxes, fontsize=9.5, color=GREY)
        if name not in run.graphs:
            ax.set_axis_off()
            ax.text(0.5, 0.5, "no graph to draw", transform=ax.transAxes, ha="center", color=GREY)
            continue
        until = oldest * (6 if log_time else 1.25) if same else None
        _tubes(ax, run.graphs[name], colours(run)[name], log_time, until)
        if k % 3 == 0 or not same:
            ax.set_ylabel(f"{run.graphs[name].time_units} ago{', logarithmic' if log_time else ''}")
    caption = (
        f"The scenarios that were compared, each {_GRAPHS[run.compares_windows]}, present at the bottom. A tube is as "
        "wide as the population is large (diploid individuals; the bar below each drawing is its scale), thick lines "
        "are splits, thin arrows migration, dashed ones admixture. A scenario has the same colour in the figures below."
    )
    parts = [f"{name}: {model_drawn.described(graph)}" for name, graph in run.graphs.items()]
    return Drawing(figure, "The scenarios beside each other. " + " ".join(parts), caption)


def _tubes(ax: Any, graph: Any, colour: str, log_time: bool, until: float | None) -> None:
    import demesdraw

    demes = {deme.name: colour for deme in graph.demes}
    demesdraw.tubes(graph, ax=ax, colours=demes, log_time=log_time, seed=1, labels="xticks-mid", max_time=until)
    model_drawn.scale_bar(ax, graph, 0.16)
    parameter_axis(ax.yaxis, log_time, 6)
    ax.set_ylabel("")


# --- the data among them ------------------------------------------------------------------------------------------


def clouds(run: Run) -> Drawing | str:
    """Simulated data sets or genomes and the real one along the axes that tell scenarios apart best."""
    found = run.pictured
    if found is None:
        return run.absent.get("comparison.npz", _NO_ARRAYS)
    figure = canvas(4.6)
    axes = figure.subplots(1, 2)
    titles = {"statistics": "by classical statistics", "network": "by the trained networks"}
    if run.compares_windows:
        titles["network"] = "by what the evidence is taken from"
    said = _nouns(run)
    names = [str(name) for name in found["scenarios"]]
    sentences, lines = [], False
    for ax, (kind, title) in zip(axes, titles.items(), strict=True):
        cloud, real = found[f"{kind}_cloud"], np.atleast_2d(found[f"{kind}_real"])
        flat = np.ptp(cloud[:, 1]) < 1e-6 * np.ptp(cloud[:, 0])
        lines |= bool(flat)
        draw = _heaps if flat else _points
        draw(ax, cloud, real, found["scenario"], [colours(run)[name] for name in names])
        ax.set(title=title, xlabel="the axis that separates the scenarios most")
        ax.set_ylabel(f"simulated {said.sets}" if flat else "the second such axis")
        sentences.append(f"{title}, {said.data} lie nearest to {_nearest(cloud, real, found['scenario'], names)}")
    _legend(figure, [(wrapped(name, 40, 1), colours(run)[name]) for name in names], _real(run))
    caption = _CLOUDS[run.compares_windows]
    if lines:
        caption += f" Where the scenarios differ along one axis only, bars count the simulated {said.sets} along it."
    return Drawing(figure, f"Real among simulated data sets: {'; '.join(sentences)}.", caption, True)


def _nouns(run: Run) -> scenarios_told.Nouns:
    return scenarios_told.nouns(run.result or {})


def _real(run: Run) -> str:
    """The real data in a legend."""
    return _nouns(run).data.replace("the ", "the real ")


def _points(ax: Any, cloud: np.ndarray, real: np.ndarray, scenario: np.ndarray, shades: list[str]) -> None:
    order = np.random.default_rng(1).permutation(len(cloud))  # so that no scenario hides another
    size = 14 if len(cloud) < 600 else 7
    ax.scatter(*cloud[order].T, c=[shades[i] for i in scenario[order]], s=size, alpha=0.5, lw=0)
    ax.plot(*real.T, "*", color=INK, ms=15 if len(real) == 1 else 11, mec="white", mew=0.9, ls="none", zorder=5)
    ax.set(xticks=[], yticks=[])


def _heaps(ax: Any, cloud: np.ndarray, real: np.ndarray, scenario: np.ndarray, shades: list[str]) -> None:
    """The same along one axis, where there is no second one: two scenarios differ in one direction only."""
    edges = np.linspace(min(cloud[:, 0].min(), real[:, 0].min()), max(cloud[:, 0].max(), real[:, 0].max()), 41)
    for i, shade in enumerate(shades):
        ax.hist(cloud[scenario == i, 0], edges, color=shade, alpha=0.5, lw=0)
    top = ax.get_ylim()[1]
    ax.plot(real[:, 0], np.full(len(real), 0.05 * top), "*", color=INK, ms=11, mec="white", mew=0.9, ls="none")
    ax.set_xticks([])


def _nearest(cloud: np.ndarray, real: np.ndarray, scenario: np.ndarray, names: list[str]) -> str:
    """The scenario whose cloud's centre is fewest of its standard deviations away."""
    centres = np.stack([cloud[scenario == i].mean(axis=0) for i in range(len(names))])
    spread = np.stack([cloud[scenario == i].std(axis=0) for i in range(len(names))])
    off = (real.mean(axis=0) - centres) / np.maximum(spread, 1e-9 * np.ptp(cloud[:, 0]) + 1e-300)
    return names[int(np.argmin((off**2).sum(axis=1)))]


def _legend(figure: Any, entries: list[tuple[str, str]], real: str = "") -> None:
    """Below a figure: a dot for each scenario, and the star where there is one, by its name."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], marker="o", ls="none", color=colour, label=name) for name, colour in entries]
    if real:
        handles.append(Line2D([], [], marker="*", ms=11, ls="none", color=INK, mec="white", label=real))
    longest = max(len(name) for name, _ in entries)
    figure.legend(handles=handles, loc="outside lower left", ncols=max(min(len(handles), 110 // (longest + 7)), 1))


# --- what tells them apart ----------------------------------------------------------------------------------------


def separating(run: Run) -> Drawing | str:
    """The statistics that differ most between scenarios, and the data's residuals in them under the best one."""
    found = run.pictured
    if found is None:
        return run.absent.get("comparison.npz", _NO_ARRAYS)
    share = np.nan_to_num(found["separation"])
    chosen = [int(i) for i in np.argsort(-share, kind="stable")[:_SHOWN] if share[i] > 0]
    if not chosen:
        return "no statistic differs between the scenarios"
    figure = canvas(0.46 * len(chosen) + 1.2)
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[1, 1])
    y = np.arange(len(chosen))[::-1]
    left.barh(y, 100 * share[chosen], color="#b9b9b5", height=0.6)
    for place, value in zip(y, 100 * share[chosen], strict=True):
        left.text(value, place, f" {value:.0f} %", va="center", fontsize=9, color=INK)
    left.set(xlim=(0, 115), xlabel="% of the variance that lies between scenarios")
    left.set_xticks([0, 25, 50, 75, 100])
    left.set_yticks(y, [_label(run, i) for i in chosen])
    left.set_title("what tells the scenarios apart")
    _residuals(run, right, y, chosen)
    right.set_title(f"{_nouns(run).data} under {wrapped(str((run.result or {})['best']), 24, 1)}")
    first = _statistic(run, chosen[0])
    caption = (
        f"Left: the ten statistics in which the scenarios{_MATCHED[run.compares_windows]} differ most, 100 % where a "
        f"statistic alone would tell them apart, 0 % where it is the same under all. Right: {_real(run)} in the same "
        "statistics, in standard deviations from the mean of the best scenario's simulations; within the grey band "
        "(± 2) they are ordinary."
    )
    return Drawing(
        figure, f"What separates the scenarios; most of all {first}, {100 * share[chosen[0]]:.0f} %.", caption
    )


def oddest(run: Run) -> Drawing | str:
    """The statistics in which the data are most unusual for the best scenario, and how they are for the others."""
    found = run.pictured
    if found is None:
        return run.absent.get("comparison.npz", _NO_ARRAYS)
    z = np.nan_to_num(found["z"][_best(run)])
    chosen = [int(i) for i in np.argsort(-np.abs(z), kind="stable")[:_SHOWN]]
    figure = canvas(0.46 * len(chosen) + 1.5)
    ax = figure.subplots()
    y = np.arange(len(chosen))[::-1]
    names = [str(name) for name in found["scenarios"]]
    for i, name in enumerate(names):
        if i != _best(run):
            ax.plot(found["z"][i][chosen], y, "o", ms=5, mfc="none", color=colours(run)[name])
    _residuals(run, ax, y, chosen)
    ax.set_yticks(y, [_label(run, i) for i in chosen])
    _legend(figure, [(wrapped(name, 40, 1), colours(run)[name]) for name in names])
    best, worst = names[_best(run)], chosen[0]
    beyond, total = int((np.abs(z) > _REMARKABLE).sum()), len(z)
    caption = (
        f"The statistics in which {_real(run)} are most unusual for {best} (filled dots), in standard deviations from "
        "the mean of its simulations; hollow dots: the same for the other scenarios. Within the grey band (± 2) "
        f"{_nouns(run).data} are ordinary. Of all {total} statistics {beyond} lie further off than {_REMARKABLE:g}: "
        f"{'they say what the scenario lacks' if beyond else 'nothing is remarkable'}."
    )
    alternative = (
        f"Where {_nouns(run).data} are oddest under {best}: {_statistic(run, worst)}, "
        f"{words.signed(z[worst])} standard deviations."
    )
    return Drawing(figure, alternative, caption)


def _best(run: Run) -> int:
    assert run.pictured is not None
    return [str(name) for name in run.pictured["scenarios"]].index((run.result or {})["best"])


def _statistic(run: Run, i: int) -> str:
    """A statistic in words; what it counts in a table are its SNPs."""
    assert run.pictured is not None
    told = words.statistic(str(run.pictured["names"][i]), folded=run.folded)
    return told if run.compares_windows else re.sub("^sites ", "SNPs ", told)


def _label(run: Run, i: int) -> str:
    return wrapped(_statistic(run, i), 38, 2)


def _residuals(run: Run, ax: Any, y: np.ndarray, chosen: list[int]) -> None:
    """The data's residuals under the best scenario at heights ``y``."""
    assert run.pictured is not None
    z = run.pictured["z"][_best(run)][chosen]
    colour = colours(run)[(run.result or {})["best"]]
    ax.axvspan(-2, 2, color=LIGHT, lw=0, zorder=0)
    ax.axvline(0, color=GREY, lw=0.8, zorder=1)
    ax.hlines(y, 0, z, color=colour, lw=1.2, zorder=2)
    ax.plot(z, y, "o", ms=7, color=colour, zorder=3)
    low, high = ax.dataLim.intervalx
    ax.set_xlim(min(low, -3) - 0.4, max(high, 3) + 0.4)
    ax.set_ylim(-0.7, len(chosen) - 0.3)
    ax.set_xlabel("standard deviations from the simulations")
    parameter_axis(ax.xaxis, False, 7)
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
