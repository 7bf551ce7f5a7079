"""Figures of how well a comparison of scenarios works: tests, rivals, calibration, more simulations, training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ganinfer.report import scenarios_told, words
from ganinfer.report.reading import Run, Table
from ganinfer.report.scenarios_drawn import wrapped
from ganinfer.report.style import (
    BLUE,
    GREY,
    INK,
    LIGHT,
    POPULATIONS,
    Drawing,
    canvas,
    panels,
    parameter_axis,
)

#: What captions say of tables of SNPs (False), and of windows (True).
_NO_TESTS = {
    False: "the run kept no data sets to test on (comparison.tests)",
    True: "the run drew no genomes to test on (comparison.tests)",
}
_CONFUSION = {
    False: "Left: test data sets, simulated but never trained on, by the scenario that made them (row) and the one "
    "that the networks find most probable (column), with the share of the row. On the diagonal they are right. Right: "
    "how often they are right, and their log loss, which also counts how sure they were (less is better), with 95 % "
    "intervals; dashed: guessing.",
    True: "Left: test genomes, of fresh windows that trained no network, by the scenario at whose solution "
    "they were simulated (row) and the one that is found most probable (column), with the share of the row. On the "
    "diagonal the answer is right. Right: how often it is right, and its log loss, which also counts how sure it was "
    "(less is better), with 95 % intervals; dashed: guessing.",
}
#: What a learning curve counts, in result.json and in words, and what it is.
_CURVES = {
    False: (
        "simulations",
        "data sets",
        "Single networks trained on ever fewer of the simulations, down from all of them, and judged on the same half "
        "of the tests.",
    ),
    True: (
        "windows",
        "judging windows",
        "The same genomes judged by ever fewer of the fresh windows that trained no network, down from all of them "
        "(comparison.windows); networks and directions are the same.",
    ),
}
_DASHES = (0, (4, 3))


# --- which is taken for which -------------------------------------------------------------------------------------


def confusion(run: Run) -> Drawing | str:
    """Tests by true and most probable scenario, and accuracy and log loss of the networks beside their rivals."""
    if not run.comparison.get("confusion"):
        return _NO_TESTS[run.compares_windows]
    names = list(run.comparison["probabilities"])
    table = np.asarray(run.comparison["confusion"], dtype=float)
    methods = _methods(run)
    height = 2.2 + 0.62 * len(names) + (0.9 if _slanted(names) else 0.0)
    figure = canvas(max(height, 1.9 + 0.8 * len(methods)))
    matrix, scores = figure.subfigures(1, 2, width_ratios=[1.5, 1])
    _matrix(matrix.subplots(), names, table, scenarios_told.nouns(run.result or {}).sets)
    _scores(scores.subplots(2, 1), methods, len(names), int(table.sum()))
    caption = f"{_CONFUSION[run.compares_windows]}{_of_rivals(run)}"
    right = int(np.trace(table))
    said = [f"{name} {100 * table[i, i] / max(table[i].sum(), 1):.0f} %" for i, name in enumerate(names)]
    alternative = f"Tests: {right:,} of {int(table.sum()):,} right; by scenario: {', '.join(said)}."
    return Drawing(figure, alternative, caption)


def _methods(run: Run) -> dict[str, Mapping[str, Any]]:
    """The networks, or the evidence that they have a part in, then the rivals."""
    own = "with networks" if run.compares_windows else "networks"
    return {own: run.comparison.get("calibration") or {}, **(run.comparison.get("rivals") or {})}


def _of_rivals(run: Run) -> str:
    """What the rivals are."""
    names = list(run.comparison.get("rivals") or {})
    if not names:
        return ""
    if run.compares_windows:
        return (
            f" Beside it: {words.listing(names)}, the same evidence from classical statistics alone, without networks."
        )
    return f" Beside the networks: {words.listing(names)}, trained on the same simulations."


def _slanted(names: Sequence[str]) -> bool:
    return max(map(len, names)) * len(names) > 60


def _matrix(ax: Any, names: Sequence[str], table: np.ndarray, sets: str) -> None:
    size = len(names)
    rows = table.sum(axis=1, keepdims=True)
    share = np.divide(table, rows, out=np.zeros_like(table), where=rows > 0)
    ax.imshow(share, cmap="Blues", vmin=0, vmax=1.15, aspect="auto")
    for i, j in np.ndindex(size, size):
        text = f"{int(table[i, j]):,}" + (f"\n{100 * share[i, j]:.0f} %" if rows[i, 0] else "")
        colour = "white" if share[i, j] > 0.6 else INK if table[i, j] else GREY
        ax.text(j, i, text, ha="center", va="center", color=colour, fontsize=10)
    slant = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if _slanted(names) else {}
    ax.set_xticks(range(size), [wrapped(name, 24 if slant else 14, 1 if slant else 3) for name in names], **slant)
    ax.set_yticks(range(size), [wrapped(name, 18) for name in names])
    ax.set(xlabel="taken for", ylabel="simulated under")
    ax.set_title(f"test {sets}")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    for edge in np.arange(size - 1) + 0.5:
        ax.axhline(edge, color="white", lw=2)
        ax.axvline(edge, color="white", lw=2)


def _scores(axes: Sequence[Any], methods: Mapping[str, Mapping[str, Any]], size: int, tests: int) -> None:
    """Accuracy and log loss, a line a method."""
    y = np.arange(len(methods))[::-1]
    guessing = {"accuracy": 1 / size, "log_loss": math.log(size)}
    titles = {"accuracy": "share of tests that are right", "log_loss": "log loss (less is better)"}
    for ax, (key, title) in zip(axes, titles.items(), strict=True):
        values = _column(methods, key)
        error = 1.96 * np.nan_to_num(_column(methods, "log_loss_error"))
        low, high = _wilson(values, np.array(max(tests, 1))) if key == "accuracy" else (values - error, values + error)
        ax.hlines(y, np.maximum(low, 0), high, color=GREY, lw=1.4)
        most = 1.02 if key == "accuracy" else 1.1 * np.nanmax([*high, guessing[key]])
        for k, (place, value) in enumerate(zip(y, values, strict=True)):
            ax.plot(value, place, "o", ms=7, color=GREY if k else INK, clip_on=False)
            side = "left" if value < 0.1 * most else "center"  # so that it does not lie across the axis
            ax.annotate(f"{value:.3g}", (value, place), (0, 7), textcoords="offset points", ha=side, fontsize=9)
        ax.axvline(guessing[key], color=GREY, lw=0.9, ls=_DASHES)
        ax.set_title(title)
        ax.set_yticks(y, [wrapped(name, 14, 2) for name in methods])
        ax.set_ylim(-0.6, len(methods) - 0.3)
        ax.set_xlim(0, most)
        ax.tick_params(axis="y", length=0, pad=7)
        ax.grid(axis="y", color=LIGHT, lw=0.8)
        ax.set_axisbelow(True)


def _column(methods: Mapping[str, Mapping[str, Any]], key: str) -> np.ndarray:
    return np.array([m.get(key) for m in methods.values()], dtype=float)


# --- whether probabilities mean what they say ---------------------------------------------------------------------


def reliability(run: Run) -> Drawing | str:
    """How often scenarios are true that were said to be so probable."""
    values = run.comparison.get("calibration") or {}
    bins = values.get("reliability")
    if not bins:
        return _NO_TESTS[run.compares_windows]
    edges, count, predicted, observed = (
        np.array(bins[key], dtype=float) for key in ("edges", "count", "predicted", "observed")
    )
    used = (count > 0) & np.isfinite(predicted) & np.isfinite(observed)
    figure = canvas(3.9)
    left, right = figure.subplots(1, 2)
    left.plot([0, 1], [0, 1], color=GREY, lw=1, ls=_DASHES)
    low, high = _wilson(observed[used], count[used])
    around = np.abs(np.stack([observed[used] - low, high - observed[used]]))
    left.errorbar(predicted[used], observed[used], yerr=around, fmt="o", ms=6, color=BLUE, ecolor=BLUE, elinewidth=1.1)
    left.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xlabel="probability that was said", ylabel="share that was true")
    left.set_title("how often it was true (dashed: as often as was said)")
    right.bar((edges[1:] + edges[:-1]) / 2, count, np.diff(edges) * 0.9, color=BLUE, alpha=0.75)
    for centre, number in zip((edges[1:] + edges[:-1]) / 2, count, strict=True):
        right.annotate(
            f"{int(number):,}", (centre, number), (0, 2), textcoords="offset points", ha="center", fontsize=8.5
        )
    right.set(xlim=(-0.03, 1.03), ylim=(0, 1.12 * max(count.max(), 1)))
    right.set(xlabel="probability that was said", ylabel="number")
    right.set_title("how often it was said")
    error = values.get("expected_calibration_error")
    ece = f"{100 * error:.2g} %" if error is not None else "not known"
    return Drawing(
        figure, f"Reliability of the probabilities; expected calibration error {ece}.", _calibrated(run, values, ece)
    )


def _calibrated(run: Run, values: Mapping[str, Any], ece: str) -> str:
    sets = scenarios_told.nouns(run.result or {}).sets
    scores = "The scenarios' log evidences" if run.compares_windows else "The networks' scores"
    error = values.get("log_loss_error")
    around = f" ± {error:.2g}" if error is not None and math.isfinite(error) else ""
    return (
        f"Every scenario's probability for each of {values.get('tests', 0):,} test {sets}, in classes. Points on "
        "the dashed line are probabilities that mean what they say; below it they are too high, above it too low. Bars "
        "are 95 % intervals by the number in the class. The most probable scenario's probability is off by "
        f"{ece} on average (expected calibration error). Log loss {values['log_loss']:.3g}{around}. {scores} "
        f"were divided by {values['temperature']:.3g} (temperature: above 1 they were too sure) and mixed with "
        f"guessing by {100 * values['floor']:.2g} %: this floor is the smallest error that so many {sets} can "
        "support, so that no probability comes nearer to 0 or 1 than they can tell."
    )


def _wilson(share: np.ndarray, count: np.ndarray, z: float = 1.96) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's interval of a share."""
    scale = 1 + z**2 / count
    centre = (share + z**2 / (2 * count)) / scale
    half = z * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2)) / scale
    return centre - half, centre + half


# --- whether more would help --------------------------------------------------------------------------------------


def learning_curve(run: Run) -> Drawing | str:
    """Accuracy and log loss with ever more simulations: of networks trained on them, or judgements by windows."""
    points = run.comparison.get("learning_curve") or []
    key, unit, about = _CURVES[run.compares_windows]
    if len(points) < 2:
        wanted = "test genomes and more judging windows" if run.compares_windows else "test data sets"
        keys = "comparison.tests, comparison.windows" if run.compares_windows else "comparison.tests"
        return f"there is no learning curve: it needs {wanted} ({keys})"
    sizes, accuracy, loss = (
        np.array([p.get(name) for p in points], dtype=float) for name in (key, "accuracy", "log_loss")
    )
    figure, axes = panels(2, columns=2, height=2.9)
    for ax, values, title in zip(
        axes, (loss, accuracy), ("log loss (less is better)", "share of tests right"), strict=True
    ):
        ax.plot(sizes, values, "o-", color=BLUE, ms=6)
        ax.set_title(title)
        ax.set_xscale("log")
        ax.set_xticks(sizes, [words.short(size) for size in sizes])
        ax.minorticks_off()
        ax.set_xlim(sizes[0] / 1.25, sizes[-1] * 1.25)
        ax.set_xlabel(f"{unit} a scenario")
        ax.margins(y=0.15)
    spread = np.nanmax([np.ptp(loss), 0.02])
    axes[0].set_ylim(max(np.nanmin(loss) - 0.4 * spread, 0), np.nanmax(loss) + 0.4 * spread)
    axes[1].set_ylim(max(np.nanmin(accuracy) - max(0.4 * np.ptp(accuracy), 0.05), 0), 1.01)
    for ax in axes:
        parameter_axis(ax.yaxis, False)
    told = more_would_help(run)
    return Drawing(figure, f"Learning curve. {told}", f"{about} {told}")


def more_would_help(run: Run) -> str:
    """What the last step of the learning curve says: doubling the simulations once more would bring less than that."""
    before, after = (run.comparison.get("learning_curve") or [])[-2:]
    key, unit, _ = _CURVES[run.compares_windows]
    step = f"From {before[key]:,} to {after[key]:,} {unit} a scenario the log loss"
    fall = before["log_loss"] - after["log_loss"]
    error = (run.comparison.get("calibration") or {}).get("log_loss_error")
    chance = math.sqrt(2) * error if error is not None and math.isfinite(error) else 0.0  # half of the tests
    chance = after.get("step_error", chance)
    if abs(fall) <= chance:
        moved = f"changed by {words.short(float(f'{-fall:.2g}'))}"
        return f"{step} {moved}, within the tests' own error ({chance:.2g}): more simulations promise little."
    if fall > 0:
        return f"{step} still fell by {fall:.2g}: more simulations would help."
    remedy = "" if run.compares_windows else "; look at the training below"
    return f"{step} rose by {-fall:.2g}: more simulations alone would not help{remedy}."


# --- training -----------------------------------------------------------------------------------------------------

_LOSSES = (
    ("loss_classifier", "validation", "classifier: which scenario?"),
    ("loss_regressor", "validation_regressor", "regressors: which parameters?"),
)


def training(run: Run) -> Drawing | str:
    """Losses by epoch in training and validation, a line a fold."""
    table = run.training
    if table is None:
        return run.absent.get("training.parquet", "no network was trained")
    kinds = [kind for kind in _LOSSES if kind[0] in table and np.isfinite(table[kind[0]].astype(float)).any()]
    if not kinds or "epoch" not in table:
        return "training.parquet holds no losses by epoch"
    figure, axes = panels(len(kinds), columns=2, height=3.2)
    for ax, (trained, validated, title) in zip(axes, kinds, strict=True):
        _losses(ax, table, trained, validated)
        ax.set(title=title, xlabel="epoch", ylabel="loss")
    _training_legend(figure, np.unique(table["fold"]))
    folds = len(np.unique(table["fold"]))
    caption = (
        f"{folds} networks, each trained without the data sets of its fold. Solid: loss on the data sets in training; "
        "dashed: on a share of them kept out to see when to stop. The weights are those of the epoch with the "
        "least dashed loss, of classifier and regressors together. Where dashed lines rise while solid ones fall, a "
        "network learns single data sets by heart: more simulations would help."
    )
    return Drawing(figure, f"Losses of {folds} networks over {int(table['epoch'].max())} epochs.", caption)


def _losses(ax: Any, table: Table, trained: str, validated: str) -> None:
    from matplotlib.ticker import MaxNLocator

    shown = []
    for k, fold in enumerate(np.unique(table["fold"])):
        mine = np.flatnonzero(table["fold"] == fold)
        mine = mine[np.argsort(table["epoch"][mine], kind="stable")]
        colour = POPULATIONS[k % len(POPULATIONS)]
        for name, style in ((trained, "solid"), (validated, (0, (3, 2)))):
            if name in table:
                values = table[name][mine].astype(float)
                ax.plot(table["epoch"][mine], values, color=colour, ls=style, lw=1.2, alpha=0.9)
                shown.append(values)
    values = np.concatenate(shown)
    values = values[np.isfinite(values)]
    if values.min() > 0 and values.max() / values.min() > 10:
        ax.set_yscale("log")
    parameter_axis(ax.yaxis, ax.get_yscale() == "log")
    ax.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))


def _training_legend(figure: Any, folds: np.ndarray) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=INK, lw=1.2, label="training")]
    handles += [Line2D([], [], color=INK, lw=1.2, ls=(0, (3, 2)), label="validation")]
    for k, fold in enumerate(folds):
        handles.append(Line2D([], [], color=POPULATIONS[k % len(POPULATIONS)], lw=3, label=f"fold {fold}"))
    figure.legend(handles=handles, loc="outside lower left", ncols=min(len(handles), 9))
