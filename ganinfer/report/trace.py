"""The trajectory as a table, for the terminal, as CSV and as a picture."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ganinfer.report import parameters_drawn, reading, words
from ganinfer.report.reading import Run, Table
from ganinfer.report.style import Drawing, applied

_NO_INTERVAL = "[ ]: one standard deviation of the proposals to each side; this generator gives no interval"


def table(folder: Path) -> Table:
    """Columns of trajectory.parquet; raises ReportError where there is none."""
    return _table(reading.load(folder))


def _table(run: Run) -> Table:
    if run.trajectory is None:
        others = ", ".join(map(str, reading.parts(run.folder)))
        instead = f"; look at a scenario by itself: {others}" if others else ""
        raise reading.ReportError(f"{run.folder} has no trajectory yet: {run.absent['trajectory.parquet']}{instead}")
    return run.trajectory


def text(folder: Path) -> str:
    """One line a round: windows and seconds so far, then every parameter's estimate and in brackets its interval.

    A generator without a posterior gives none: the spread of its proposals stands in square brackets.
    """
    run = reading.load(folder)
    columns = _table(run)
    names = list(dict.fromkeys(str(n) for n in columns["parameter"]))
    lines = [["round", "windows", "time", *names]]
    for r in np.unique(columns["round"]):
        here = columns["round"] == r
        first = int(np.flatnonzero(here)[0])
        line = [str(r + 1), f"{int(columns['num_windows'][first]):,}", words.duration(float(columns["seconds"][first]))]
        for name in names:
            row = np.flatnonzero(here & (columns["parameter"] == name))
            line.append(_cell(columns, int(row[0])) if len(row) else "")
        lines.append(line)
    shown = [_aligned(lines)]
    if "[" in shown[0]:
        shown.append(_NO_INTERVAL)
    if run.compares_windows:
        shown.append(
            f"These are the rounds of {run.scenario}; those of each scenario: {folder / reading.SCENARIO_RUNS}/NAME"
        )
    return "\n".join(shown)


def _cell(columns: Table, row: int) -> str:
    value, left, right = float(columns["estimate"][row]), "(", ")"
    low, high = float(columns["low"][row]), float(columns["high"][row])
    if not np.isfinite([low, high]).all():
        (low,), (high,) = reading.proposal_spread(columns, np.array([row]))
        left, right = "[", "]"
    if not high > low:
        return words.number(value)
    step = (high - low) / 2
    return f"{words.number(value, step)} {left}{words.number(low, step)} – {words.number(high, step)}{right}"


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join("  ".join(c.rjust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def write_csv(folder: Path, path: Path) -> Path:
    columns = table(folder)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))
    return path


def draw(folder: Path, path: Path) -> Path:
    run = reading.load(folder)
    _table(run)
    allowed = (".png", ".svg", ".pdf")
    if path.suffix.lower() not in allowed:
        raise reading.ReportError(f"cannot draw into {path}: its name must end in {', '.join(allowed)}")
    with applied():
        drawing = parameters_drawn.trajectory(run)
        assert isinstance(drawing, Drawing)
        drawing.figure.savefig(path, dpi=150)
    return path
