"""Figures of the parameters: their trajectory, prior against posterior, and how they depend on each other."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

from ganinfer.report import words
from ganinfer.report.reading import Estimate, Run, proposal_spread
from ganinfer.report.style import (
    BLUE,
    GREY,
    INK,
    LIGHT,
    VERMILLION,
    Drawing,
    canvas,
    heading,
    panels,
    parameter_axis,
    rounds_axis,
)

#: So many parameters fit a full grid of pairs; of more, the strongest pairs are drawn.
_FULL_GRID = 6
_POINTS = 1500
#: An interval that takes a smaller share of the prior is shown larger beside itself.
_NARROW = 0.08
_DASHES = (0, (4, 2))
_DOTS = (0, (1, 1.5))
#: What stands in the place of a band where the generator gives no posterior.
_SEARCH = (
    "The estimate after each round (line). The generator gives no posterior, so there is no interval. The dotted lines "
    "lie one standard deviation of its proposals to each side: how widely it still searches, not how well a parameter "
    "is known."
)
_NO_POSTERIOR = (
    "The line is the estimate. The generator gives no posterior, so there is no interval, and nothing here says how "
    "well a parameter is known. Grey: the prior's range."
)


def trajectory(run: Run) -> Drawing | str:
    """Each parameter's estimate and interval, round by round, within its prior."""
    if run.trajectory is None:
        return run.absent.get("trajectory.parquet", "there is no trajectory")
    figure, axes = panels(len(run.estimates))
    sentences = []
    for ax, estimate in zip(axes, run.estimates, strict=True):
        sentences.append(_trajectory_panel(ax, run.trajectory, estimate))
    for ax in axes:
        ax.set_xlabel("round")
    known = np.isfinite(run.trajectory["low"]).any()
    caption = "The estimate after each round (line) and the interval it was known to (band)." if known else _SEARCH
    caption += " The grey background is the prior: what was allowed before any genome was seen." + _enlarged(run)
    caption += _of_truth(run)
    return Drawing(figure, "Trajectory of each parameter. " + " ".join(sentences), caption)


def _enlarged(run: Run) -> str:
    places = [words.share_of_prior(e) for e in run.estimates if e.interval is not None]
    narrow = any(place is not None and 0 < place[2] - place[0] < _NARROW for place in places)
    return " The small pictures enlarge intervals too narrow to be seen." if narrow else ""


def _of_truth(run: Run) -> str:
    return " Orange: the truth that the data were simulated with." if run.truth else ""


def _trajectory_panel(ax: Any, table: dict[str, np.ndarray], estimate: Estimate) -> str:
    mine = table["parameter"] == estimate.name
    rounds, values = table["round"][mine] + 1, table["estimate"][mine]
    order = np.argsort(rounds)
    rounds, values = rounds[order], values[order]
    low, high = table["low"][mine][order], table["high"][mine][order]
    search = () if np.isfinite(low).any() else proposal_spread(table, np.flatnonzero(mine)[order])
    if estimate.prior is not None:
        ax.axhspan(*estimate.prior, color=LIGHT, lw=0, zorder=0)
        ax.set_ylim(*_padded(estimate))
    parameter_axis(ax.yaxis, estimate.logarithmic)
    if estimate.truth is not None:
        ax.axhline(estimate.truth, color=VERMILLION, lw=1.1, ls=_DASHES)
    if len(rounds):
        ax.fill_between(rounds, low, high, color=BLUE, alpha=0.25, lw=0)
        ax.plot(rounds, values, color=BLUE, marker="o", ms=3.5)
        for bound in search:
            ax.plot(rounds, bound, color=BLUE, lw=1.1, ls=_DOTS, marker="_" if len(rounds) == 1 else "")
        if len(rounds) == 1:
            ax.vlines(rounds, low, high, color=BLUE, alpha=0.4, lw=4)
        rounds_axis(ax, rounds.tolist())
    if len(rounds) > 2 and (inset := _close_up(ax, estimate, upright=True)) is not None:
        late = rounds >= rounds[len(rounds) // 2]
        inset.fill_between(rounds[late], low[late], high[late], color=BLUE, alpha=0.25, lw=0)
        inset.plot(rounds[late], values[late], color=BLUE, marker="o", ms=2.5, lw=1.1)
        inset.set_ylim(*_middle_of(np.append(low[late], high[late])))
        _finished_inset(inset, inset.yaxis, estimate)
        rounds_axis(inset, rounds[late].tolist())
        if estimate.truth is not None:
            inset.axhline(estimate.truth, color=VERMILLION, lw=1.1, ls=_DASHES)
    heading(ax, estimate)
    if not len(rounds):
        return f"{estimate.name} has no trajectory."
    first, last = words.number(values[0]), words.number(values[-1])
    return f"{estimate.name} moves from {first} in round {rounds[0]} to {last} in round {rounds[-1]}."


def _close_up(ax: Any, estimate: Estimate, *, upright: bool) -> Any:
    """Axes within ``ax``, away from the estimate, for an interval that is too narrow to be seen there; else ``None``.

    ``upright``: the parameter is on the vertical axis.
    """
    place = words.share_of_prior(estimate)
    if place is None or estimate.interval is None or not 0 < place[2] - place[0] < _NARROW:
        return None
    if upright:
        return ax.inset_axes([0.42, 0.14 if place[1] > 0.5 else 0.56, 0.54, 0.36])
    return ax.inset_axes([0.08 if place[1] > 0.5 else 0.56, 0.42, 0.38, 0.5])


def _middle_of(values: Any, margin: float = 0.15) -> tuple[float, float]:
    """What ``values`` span and a ``margin`` of that to each side."""
    low, high = float(np.min(values)), float(np.max(values))
    return low - margin * (high - low), high + margin * (high - low)


def _finished_inset(inset: Any, axis: Any, estimate: Estimate) -> None:
    parameter_axis(axis, estimate.logarithmic, 3)
    inset.tick_params(labelsize=7)
    inset.patch.set_alpha(0.9)


def _padded(estimate: Estimate) -> tuple[float, float]:
    """The prior's range and a little more on the drawn axis."""
    assert estimate.prior is not None
    low, high = estimate.prior
    if estimate.logarithmic:
        factor = (high / low) ** 0.03
        return low / factor, high * factor
    margin = 0.03 * (high - low)
    return low - margin, high + margin


def prior_to_posterior(run: Run) -> Drawing | str:
    """Each parameter's prior range, its posterior draws, estimate and interval on one axis."""
    estimates = [e for e in run.estimates if e.prior is not None]
    if not estimates:
        return "result.json, which has the priors, is not there yet"
    figure, axes = panels(len(estimates), height=1.75)
    for ax, estimate in zip(axes, estimates, strict=True):
        draws = None if run.posterior is None else run.posterior.get(estimate.name)
        _density_panel(ax, estimate, draws)
    if all(e.interval is None for e in estimates):
        return Drawing(figure, "Each estimate within its prior, without an interval.", _NO_POSTERIOR + _of_truth(run))
    shares = []
    for e in estimates:
        place = words.share_of_prior(e)
        shares.append(f"{e.name} {words.percent(place[2] - place[0])}" if place else e.name)
    caption = (
        "Blue: what is believed after seeing the genomes; the line is the estimate, the bar below its interval. Grey: "
        "the prior's range. A narrow peak means that the genomes say much about a parameter, a blue shape as wide as "
        "the grey one that they say nothing."
    ) + _enlarged(run)
    caption += _of_truth(run)
    alternative = "Share of the prior's range that each interval takes: " + ", ".join(shares) + "."
    return Drawing(figure, alternative, caption)


def _density_panel(ax: Any, estimate: Estimate, draws: np.ndarray | None) -> None:
    assert estimate.prior is not None
    low, high = estimate.prior
    ax.set_xlim(*_padded(estimate))
    ax.axvspan(low, high, color=LIGHT, lw=0, zorder=0)
    ax.set_ylim(-0.16, 1.1)
    if draws is not None and np.ptp(draws) > 0:
        spread = np.log if estimate.logarithmic else np.asarray
        back = np.exp if estimate.logarithmic else np.asarray
        inside = np.clip(draws, low, high)
        width = np.ptp(spread(np.array([low, high])))
        # bins follow the draws' own spread, as fine as the page can show
        step = max(np.ptp(np.quantile(spread(inside), [0.01, 0.99])) / 24, width / 400)
        edges = np.arange(spread(inside).min() - step, spread(inside).max() + 2 * step, step)
        counts, edges = np.histogram(spread(inside), edges)
        ax.stairs(counts / max(counts.max(), 1), back(edges), color=BLUE, fill=True, alpha=0.55, lw=0)
        if (inset := _close_up(ax, estimate, upright=False)) is not None:
            inset.hist(inside, 24, range=_middle_of(estimate.interval, 1.0), color=BLUE, alpha=0.55)
            inset.axvline(estimate.estimate, color=INK, lw=1)
            inset.set_yticks([])
            _finished_inset(inset, inset.xaxis, estimate)
            if estimate.truth is not None:
                inset.axvline(estimate.truth, color=VERMILLION, lw=1.1, ls=_DASHES)
    if estimate.interval is not None:
        ax.hlines(-0.09, *estimate.interval, color=BLUE, lw=3)
    ax.vlines(estimate.estimate, 0, 1.05, color=INK, lw=1)
    if estimate.truth is not None:
        ax.axvline(estimate.truth, color=VERMILLION, lw=1.1, ls=_DASHES)
    parameter_axis(ax.xaxis, estimate.logarithmic, 5)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    heading(ax, estimate)


def pairs(run: Run) -> Drawing | str:
    """Posterior draws of each pair of parameters, and their correlations."""
    if run.posterior is None:
        return run.absent.get("posterior.parquet", "there are no posterior draws")
    estimates = [e for e in run.estimates if e.name in run.posterior]
    if len(estimates) < 2:
        return "there is only one parameter"
    draws = np.column_stack([_transformed(e, run.posterior[e.name]) for e in estimates])
    varying = [i for i in range(len(estimates)) if np.ptp(draws[:, i]) > 0]
    if len(varying) < 2:
        return "the posterior draws do not vary"
    estimates, draws = [estimates[i] for i in varying], draws[:, varying]
    correlation = np.corrcoef(draws, rowvar=False)
    order = sorted(combinations(range(len(estimates)), 2), key=lambda ij: -abs(correlation[ij]))
    strongest = ", ".join(
        f"{estimates[i].name} and {estimates[j].name} {words.signed(correlation[i, j])}" for i, j in order[:3]
    )
    draw = _grid if len(estimates) <= _FULL_GRID else _strongest
    caption = (
        "Draws from the posterior. A tilted cloud means that two parameters can be exchanged for one another to some "
        "degree: only their combination is well known. r is their correlation."
    )
    figure = draw(run, estimates, correlation, order)
    return Drawing(
        figure, f"Posterior draws by pairs of parameters. Strongest correlations: {strongest}.", caption, True
    )


def _transformed(estimate: Estimate, values: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(values, 1e-300)) if estimate.logarithmic else values


def _cloud(ax: Any, run: Run, x: Estimate, y: Estimate) -> None:
    assert run.posterior is not None
    step = max(len(run.posterior[x.name]) // _POINTS, 1)
    ax.plot(run.posterior[x.name][::step], run.posterior[y.name][::step], ".", color=BLUE, ms=2.5, alpha=0.25, mew=0)
    ax.plot(x.estimate, y.estimate, "+", color=INK, ms=9, mew=1.4)
    # A linear axis' margins may reach below zero, where a logarithmic one cannot go.
    for estimate, limit in ((x, ax.set_xlim), (y, ax.set_ylim)):
        values = run.posterior[estimate.name]
        if estimate.logarithmic and values.min() > 0:
            margin = (values.max() / values.min()) ** 0.05
            limit(values.min() / margin, values.max() * margin)


def _grid(run: Run, estimates: list[Estimate], correlation: np.ndarray, order: Any) -> Any:
    assert run.posterior is not None
    k = len(estimates)
    figure = canvas(1.55 * k if k > 2 else 4.6)
    axes = figure.subplots(k, k, squeeze=False, sharex="col")
    for i, j in np.ndindex(k, k):
        ax, x, y = axes[i, j], estimates[j], estimates[i]
        if i == j:
            values = run.posterior[x.name]
            bins = np.geomspace(values.min(), values.max(), 31) if x.logarithmic else 30
            ax.hist(values, bins=bins, color=BLUE, alpha=0.55)
            ax.set_title(x.name)
        elif i > j:
            _cloud(ax, run, x, y)
        else:
            colour = INK if abs(correlation[i, j]) >= 0.3 else "#a0a0a0"
            place = {"transform": ax.transAxes, "ha": "center", "va": "center"}
            ax.text(0.5, 0.5, f"r = {words.signed(correlation[i, j])}", color=colour, fontsize=11, **place)
        _edge_labels(ax, i, j, k, x, y)
    return figure


def _edge_labels(ax: Any, i: int, j: int, k: int, x: Estimate, y: Estimate) -> None:
    """Numbers at the grid's left and lower edges only; correlations and histograms have no axes of their own."""
    if i <= j:
        ax.set_yticks([])
        ax.spines["left"].set_visible(False)
    if i < j:
        ax.spines["bottom"].set_visible(False)
        ax.tick_params(bottom=False, labelbottom=False)
    else:
        parameter_axis(ax.xaxis, x.logarithmic, 3)
        ax.tick_params(axis="x", labelbottom=i == k - 1)
    if i > j:
        parameter_axis(ax.yaxis, y.logarithmic, 3)
        ax.tick_params(axis="y", labelleft=j == 0)
    if i == k - 1:
        ax.set_xlabel(x.unit, fontsize=8.5, color=GREY)


def _strongest(run: Run, estimates: list[Estimate], correlation: np.ndarray, order: Any) -> Any:
    """All correlations as a coloured table, and the six strongest pairs."""
    k = len(estimates)
    figure = canvas(0.36 * k + 1.6 + 5.4)
    upper, lower = figure.subfigures(2, 1, height_ratios=[0.36 * k + 1.6, 5.4])
    ax = upper.subplots()
    shown = np.where(np.tri(k, k=-1, dtype=bool), correlation, np.nan)[1:, :-1]
    ax.imshow(shown, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
    for i, j in np.ndindex(k - 1, k - 1):
        if j <= i:
            value = shown[i, j]
            ax.text(
                j,
                i,
                words.signed(value),
                ha="center",
                va="center",
                color="white" if abs(value) > 0.6 else INK,
                fontsize=9,
            )
    names = [e.name if len(e.name) <= 18 else f"{e.name[:17]}…" for e in estimates]
    ax.set_yticks(range(k - 1), names[1:])
    ax.set_xticks(range(k - 1), names[:-1], rotation=30, ha="right")
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    ax.set_title("correlation of posterior draws")
    for pair_ax, (i, j) in zip(lower.subplots(2, 3).flat, order, strict=False):
        x, y = estimates[j], estimates[i]
        _cloud(pair_ax, run, x, y)
        parameter_axis(pair_ax.xaxis, x.logarithmic, 4)
        parameter_axis(pair_ax.yaxis, y.logarithmic, 4)
        pair_ax.set(xlabel=x.name, ylabel=y.name)
        pair_ax.set_title(f"r = {words.signed(correlation[i, j])}", fontweight="normal")
    return figure
