"""Figures of how the run went: training, how well real could be told from simulated, and time."""

from __future__ import annotations

import numpy as np

from ganinfer.report import words
from ganinfer.report.reading import Run, Table
from ganinfer.report.style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    POPULATIONS,
    Drawing,
    canvas,
    panels,
    parameter_axis,
    rounds_axis,
)

_REST = "the rest"
_LINES = ("solid", "dashed", "dotted", "dashdot")


def training(run: Run) -> Drawing | str:
    """Losses and AUC of the network over the training steps of all rounds, fold by fold."""
    table = run.training
    if table is None:
        return run.absent.get("training.parquet", "no network was trained")
    kinds = [
        ("loss_critic", "critic: real or simulated?", "loss"),
        ("loss_regressor", "regressor: which parameters?", "loss"),
    ]
    kinds += [("auc", "telling apart, in training", "AUC")]
    kinds = [k for k in kinds if k[0] in table and np.isfinite(table[k[0]].astype(float)).any()]
    if not kinds:
        return "training.parquet holds no losses"
    figure, axes = panels(len(kinds), height=2.6)
    middles, edges, end = _positions(table)
    centres = _middles(edges, end)
    for ax, (column, title, label) in zip(axes, kinds, strict=True):
        position = _middle_of_round(table, centres) if _is_once_a_round(table, column) else middles
        for k, fold in enumerate(np.unique(table["fold"])):
            mine = (table["fold"] == fold) & np.isfinite(table[column].astype(float))
            sparse = mine.sum() <= 3 * len(edges)
            order = np.argsort(position[mine], kind="stable")
            style = {
                "color": POPULATIONS[k % len(POPULATIONS)],
                "ls": _LINES[k % len(_LINES)],
                "lw": 1.1,
                "marker": "o" if sparse else "",
                "ms": 4,
            }
            ax.plot(position[mine][order], table[column][mine][order].astype(float), label=f"fold {fold}", **style)
        for edge in edges[1:]:
            ax.axvline(edge, color="#dadada", lw=0.7, zorder=0)
        if column == "auc":
            ax.axhline(0.5, color=GREY, lw=0.9, ls=(0, (4, 3)))
        ax.set(title=title, ylabel=label)
        ax.set(xlim=(0, end))
        ax.set_xticks(centres, [str(r + 1) for r in np.unique(table["round"])])
        ax.tick_params(axis="x", length=0)
        ax.set_xlabel("round")
    axes[0].legend()
    last = _final(table, "auc")
    alternative = "Training curves of critic and regressor" + (
        f"; the AUC ends at {last:.2f}." if last is not None else "."
    )
    return Drawing(figure, alternative, _how_trained(run, table))


def _how_trained(run: Run, table: Table) -> str:
    """On what the networks were trained, and in which rounds."""
    rounds = [int(r) + 1 for r in np.unique(table["round"])]
    total = int(run.trajectory["round"].max()) + 1 if run.trajectory is not None else rounds[-1]
    when = f"rounds {rounds[0]} to {rounds[-1]}" if len(rounds) > 1 else f"round {rounds[0]}"
    bound = (run.experiment.get("training") or {}).get("windows")
    most = f", at most the latest {bound:,}" if isinstance(bound, int) else ""
    caption = (
        f"The networks were trained in {when}, each time on the windows simulated so far{most}; each fold's network "
        "without the windows of that fold."
    )
    if total > rounds[-1]:
        caption += " After that they stayed as they were, and the windows of later rounds were only embedded."
    return (
        f"{caption} The AUC is on the windows outside training. Where the proposals close in on the answer, real and "
        "simulated windows become harder to tell apart, and it falls towards 0.5, guessing."
    )


def _positions(table: Table) -> tuple[np.ndarray, list[float], float]:
    """Where each row's epoch has its middle, steps counted through all rounds; where rounds begin, and the last ends.

    A row stands for the epoch that ends with its step.
    """
    position = np.zeros(len(table["step"]))
    edges, offset = [], 0.0
    for r in np.unique(table["round"]):
        edges.append(offset)
        for fold in np.unique(table["fold"]):
            mine = np.flatnonzero((table["round"] == r) & (table["fold"] == fold))
            mine = mine[np.argsort(table["step"][mine], kind="stable")]
            steps = table["step"][mine].astype(float)
            position[mine] = offset + (steps + np.concatenate([[0.0], steps[:-1]])[: len(steps)]) / 2
        offset += float(table["step"][table["round"] == r].max())
    return position, edges, offset


def _is_once_a_round(table: Table, column: str) -> bool:
    """Whether no fold has more than one value of the column in a round, as the AUC has."""
    known = np.isfinite(table[column].astype(float))
    pairs = np.stack([table["round"][known], table["fold"][known]], axis=1)
    return len(np.unique(pairs, axis=0)) == len(pairs)


def _middle_of_round(table: Table, centres: list[float]) -> np.ndarray:
    """The middle of each row's round: what is measured once a round belongs to none of its epochs."""
    return np.asarray(centres)[np.unique(table["round"], return_inverse=True)[1]]


def _middles(edges: list[float], end: float) -> list[float]:
    return [(a + b) / 2 for a, b in zip(edges, [*edges[1:], end], strict=True)]


def _final(table: Table, column: str) -> float | None:
    values = table[column].astype(float) if column in table else np.array([])
    values = values[np.isfinite(values)]
    return float(values[-1]) if len(values) else None


def _metric(run: Run, name: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Rounds, counted from 1 as the terminal does, and values of one metric."""
    if run.metrics is None:
        return None
    mine = (run.metrics["name"] == name) & np.isfinite(run.metrics["value"].astype(float))
    if not mine.any():
        return None
    order = np.argsort(run.metrics["round"][mine], kind="stable")
    return run.metrics["round"][mine][order] + 1, run.metrics["value"][mine][order].astype(float)


_METRICS = (
    ("match_distance", "match distance", "distance", True),
    ("auc", "telling real from simulated", "AUC", False),
    ("windows_per_second", "simulation speed", "windows a second", False),
)


def progress(run: Run) -> Drawing | str:
    """Match distance, AUC and speed, round by round."""
    recorded = [(metric, _metric(run, metric[0])) for metric in _METRICS]
    found = [(metric, pair) for metric, pair in recorded if pair is not None]
    if not found:
        return run.absent.get("metrics.parquet", "the run recorded no metrics")
    figure, axes = panels(len(found), height=2.4)
    sentences = []
    for ax, ((_, title, label, logarithmic), (rounds, values)) in zip(axes, found, strict=True):
        ax.plot(rounds, values, color=BLUE, marker="o", ms=3.5)
        rounds_axis(ax, rounds.tolist())
        ax.set(title=title, ylabel=label, xlabel="round")
        if logarithmic and (values > 0).all() and values.max() / values.min() > 10:
            ax.set_yscale("log")
        elif label == "AUC":
            ax.axhline(0.5, color=GREY, lw=0.9, ls=(0, (4, 3)))
            ax.set_ylim(min(0.45, values.min() - 0.02), None)
        else:
            ax.set_ylim(0, None)
        parameter_axis(ax.yaxis, ax.get_yscale() == "log")
        sentences.append(f"{title} ends at {words.number(values[-1])}.")
    caption = (
        "The match distance says how far simulated statistics at the estimate are from the real ones; it usually falls "
        "and then levels off at what the model cannot do better. AUC 0.5: real and simulated windows look alike."
    )
    return Drawing(figure, "Progress by round. " + " ".join(sentences), caption)


_PARTS = {
    "simulate": "simulation",
    "train": "training",
    "move": "estimation",
    "look": "second look",
    "judge": "verdict",
    "compare": "comparison",
    "second_opinion": "second opinion",
}


def timing(run: Run) -> Drawing | str:
    """Where the time went: simulation, training, the rest."""
    seconds = (run.result or {}).get("seconds") or {}
    total = seconds.get("total")
    if not total:
        return "the run has not finished"
    spent = [(_PARTS.get(key, key), float(value or 0)) for key, value in seconds.items() if key != "total"]
    spent.append((_REST, max(total - sum(value for _, value in spent), 0.0)))
    distinct = [BLUE, GREEN, *(c for c in POPULATIONS[::-1] if c not in (BLUE, GREEN))]
    colours = [*distinct[: len(spent) - 1], "#b9b9b5"]
    parts = [(name, value, c) for (name, value), c in zip(spent, colours, strict=False) if value > 0.005 * total]
    figure = canvas(1.3)
    ax = figure.subplots()
    left = 0.0
    for name, value, colour in parts:
        ax.barh(0, value, left=left, color=colour, height=0.5)
        if value > 0.09 * total:
            ax.text(left + value / 2, 0.36, f"{name}\n{words.duration(value)}", ha="center", fontsize=9.5, color=INK)
        left += value
    ax.set(xlim=(0, total), ylim=(-0.3, 1.0))
    ax.set_axis_off()
    spoken = ", ".join(f"{name} {words.duration(value)}" for name, value, _ in parts)
    caption = f"In all {words.duration(total)}: {spoken}."
    if run.compares_windows:
        caption += (
            " What stands before the comparison is of all scenarios, each matched by itself; the comparison's own "
            "simulations and networks are a part of it."
        )
    if any(name == _REST for name, _, _ in parts):
        caption += " The rest is checking, reading the data, comparing the fitted model with them, and writing."
    return Drawing(figure, f"Time: {spoken}.", caption)
