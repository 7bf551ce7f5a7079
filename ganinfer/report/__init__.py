"""What a run found, for people: one HTML file, its figures, and the trajectory as a table.

Everything is read from the run folder's files; a file that is not there leaves out its section and the report says why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = [
    "check_predictions",
    "figures",
    "trace_csv",
    "trace_figure",
    "trace_table",
    "trace_text",
    "write_all",
    "write_predictions",
    "write_report",
]


def write_report(folder: Path) -> Path:
    """Write ``report.html`` into a run folder and return its path; raises ValueError where there is no run."""
    from ganinfer.report import drawing, page, reading

    run = reading.load(Path(folder))
    return page.write(run, drawing.drawn(run))


def write_all(folder: Path) -> tuple[Path, dict[str, Path]]:
    """The report, and every figure that the run's files allow as PNG under ``figures/``, each drawn once."""
    from ganinfer.report import drawing, page, reading

    run = reading.load(Path(folder))
    drawn = drawing.drawn(run)
    return page.write(run, drawn), drawing.write_all(drawn, Path(folder) / "figures")


def check_predictions(path: Path) -> None:
    """Raise ValueError unless :func:`write_predictions` can write there."""
    from ganinfer.report.predictions import check_target

    check_target(path)


def write_predictions(answers: Sequence[Mapping[str, Any]], about: Mapping[str, Any], path: Path) -> Path:
    """Write what a bundle says of data sets as one HTML file; ``about`` is its bundle.json."""
    from ganinfer.report.predictions import write

    return write(answers, about, path)


def figures(folder: Path) -> dict[str, Path]:
    """Write every figure that the run's files allow as PNG under ``figures/``; name to path."""
    from ganinfer.report import drawing, reading

    return drawing.write_all(drawing.drawn(reading.load(Path(folder))), Path(folder) / "figures")


def trace_table(folder: Path) -> dict[str, Any]:
    """The trajectory: column name to array, one row a round and parameter."""
    from ganinfer.report.trace import table

    return table(Path(folder))


def trace_text(folder: Path) -> str:
    """The trajectory for a terminal: one line a round, one column a parameter."""
    from ganinfer.report.trace import text

    return text(Path(folder))


def trace_csv(folder: Path, path: Path) -> Path:
    """Write the trajectory as CSV."""
    from ganinfer.report.trace import write_csv

    return write_csv(Path(folder), Path(path))


def trace_figure(folder: Path, path: Path) -> Path:
    """Draw the trajectory into ``path``; the ending says the format (.png, .svg, .pdf)."""
    from ganinfer.report.trace import draw

    return draw(Path(folder), Path(path))
