"""One look for every figure: ink for real genomes, blue for simulated ones, grey for what was believed before.

The colours are those of Okabe and Ito, which people with any common colour blindness tell apart.
"""

from __future__ import annotations

import base64
import contextlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ganinfer.report import words
from ganinfer.report.reading import Estimate

INK, GREY, LIGHT = "#1b1b1b", "#6b6b6b", "#e7e7e4"
BLUE, VERMILLION, GREEN = "#0072B2", "#D55E00", "#009E73"
POPULATIONS = (BLUE, VERMILLION, GREEN, "#CC79A7", "#E69F00", "#56B4E9")
#: Width of every figure in inches; a report's column is 100 times as many pixels wide.
WIDTH = 9.6

_SETTINGS: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9.5,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#9a9a9a",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": "#3d3d3d",
    "ytick.labelcolor": "#3d3d3d",
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.6,
    "savefig.facecolor": "white",
    "figure.facecolor": "white",
    "svg.fonttype": "path",
    "svg.hashsalt": "ganinfer",
}


@dataclass(frozen=True, eq=False)
class Drawing:
    """A figure with what it shows: ``alternative`` stands for it where it cannot be seen, ``caption`` explains it."""

    figure: Any
    alternative: str
    caption: str
    dense: bool = False  # too many marks for a vector file

    def png(self, dpi: int = 150) -> bytes:
        return self._saved(format="png", dpi=dpi, metadata={"Software": None})

    def data_uri(self) -> str:
        """The figure within a page: SVG, or PNG where it holds too many marks."""
        if self.dense:
            return f"data:image/png;base64,{base64.b64encode(self.png()).decode()}"
        vector = self._saved(format="svg", metadata={"Date": None, "Creator": None})
        return f"data:image/svg+xml;base64,{base64.b64encode(vector).decode()}"

    def _saved(self, **options: Any) -> bytes:
        buffer = io.BytesIO()
        self.figure.savefig(buffer, **options)
        # To find its layout takes as long as to draw it, and a second file has the same one.
        self.figure.set_layout_engine("none")
        return buffer.getvalue()


@contextlib.contextmanager
def applied() -> Iterator[None]:
    """Draw and save in this style, without touching a user's own settings."""
    import matplotlib

    with matplotlib.rc_context(_SETTINGS):
        yield


def canvas(height: float, width: float = WIDTH) -> Any:
    """An empty figure that no global state knows of."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def panels(count: int, *, columns: int = 3, height: float = 2.3) -> tuple[Any, list[Any]]:
    """A figure with ``count`` panels in rows of at most ``columns``; few panels stay as wide as many."""
    columns = min(columns, max(count, 2))
    rows = -(-count // columns)
    figure = canvas(height * rows)
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)
    grid = figure.subplots(rows, columns, squeeze=False)
    axes = list(grid.flat)
    for ax in axes[count:]:
        ax.set_axis_off()
    return figure, axes[:count]


def heading(ax: Any, estimate: Estimate) -> None:
    """A parameter's name above its panel, its unit beside it."""
    ax.set_title(estimate.name)
    if estimate.unit:
        ax.set_title(estimate.unit, loc="right", fontsize=8.5, fontweight="normal", color=GREY)
        if len(estimate.name) + len(estimate.unit) > 34:
            ax.set_title("", loc="right")
            ax.set_title(f"{estimate.name}\n", loc="left")
            ax.text(0, 1.02, estimate.unit, transform=ax.transAxes, fontsize=8.5, color=GREY)


def parameter_axis(axis: Any, logarithmic: bool, num_ticks: int = 5) -> None:
    """Plain numbers on an axis, and few of them; call it once the axis has its limits.

    ``logarithmic`` makes it so where it spans enough: over a small factor a linear axis reads better.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    low, high = sorted(axis.get_view_interval())
    crowded = axis.axis_name == "x" and max(len(words.short(v)) for v in (low, high)) > 6
    if logarithmic and low > 0 and high / low > 5:
        axis.axes.set_xscale("log") if axis.axis_name == "x" else axis.axes.set_yscale("log")
        subs = (1.0,) if high / low > 100 else (1.0, 3.0) if high / low > 20 or crowded else (1.0, 2.0, 5.0)
        axis.set_major_locator(LogLocator(subs=subs, numticks=num_ticks))
        axis.set_minor_formatter(NullFormatter())
    else:
        axis.set_major_locator(MaxNLocator(min(num_ticks, 3) if crowded else num_ticks, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: words.short(value)))


def rounds_axis(ax: Any, rounds: Sequence[int]) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    low, high = min(rounds), max(rounds)
    ax.set_xlim(low - 0.4, high + 0.4)
