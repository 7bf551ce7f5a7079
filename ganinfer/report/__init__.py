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
    "write_predictions",
    "write_report",
]


def write_report(folder: Path) -> Path:
    """Write ``report.html`` into a run folder and return its path; raises ValueError where there is no run."""
    from ganinfer.report.page import write
    from ganinfer.report.reading import load

    return write(load(Path(folder)))


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
    from ganinfer.report.drawing import write_all
    from ganinfer.report.reading import load

    return write_all(load(Path(folder)), Path(folder) / "figures")


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
