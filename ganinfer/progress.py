"""What a run tells while it goes: rich on a terminal, plain lines elsewhere, JSON lines for machines.

Everything here writes to standard error; results go to standard output. The information of a round is a mapping
with ``parameters`` ({name: {``estimate``, ``interval`` [low, high]}}), ``seconds``, ``windows_per_second`` and, where
known, ``auc`` and ``distance``.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Protocol, Self, TextIO


class Progress(Protocol):
    """The events of a run, in order; every round is started before its windows are done. A context manager."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None: ...

    def message(self, text: str) -> None: ...

    def round_started(self, index: int, num_rounds: int, num_windows: int, num_later: int) -> None:
        """Round ``index`` of ``num_rounds`` simulates ``num_windows``, the rounds after it ``num_later`` together."""

    def windows_done(self, num_windows: int) -> None:
        """``num_windows`` more of the round's windows are simulated."""

    def round_finished(self, index: int, info: Mapping[str, Any]) -> None: ...

    def finished(self, result: Mapping[str, Any]) -> None: ...


class _Quiet:
    """Enters and leaves without doing anything."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        return None


class Silent(_Quiet):
    """Tells nothing: for runs started from Python."""

    def message(self, text: str) -> None:
        return None

    def round_started(self, index: int, num_rounds: int, num_windows: int, num_later: int) -> None:
        return None

    def windows_done(self, num_windows: int) -> None:
        return None

    def round_finished(self, index: int, info: Mapping[str, Any]) -> None:
        return None

    def finished(self, result: Mapping[str, Any]) -> None:
        return None


def number(value: float) -> str:
    """Four significant figures, thousands grouped: ``12,340``, ``0.0512``, ``1.25e-08``."""
    if value == 0 or 1e-4 <= abs(value) < 1e3:
        return f"{value:.4g}"
    if 1e3 <= abs(value) < 1e12:
        return f"{float(f'{value:.4g}'):,.0f}"
    return f"{value:.3e}"


def duration(seconds: float) -> str:
    """``42 s``, ``3 min 05 s``, ``2 h 10 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def estimates(info: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(name, estimate, interval) of each parameter of a round or a result."""
    rows = []
    for name, values in (info.get("parameters") or {}).items():
        interval = values.get("interval")
        known = interval is not None and None not in interval
        shown = f"{number(interval[0])} – {number(interval[1])}" if known else ""
        rows.append((name, number(values["estimate"]), shown))
    return rows


class TimeLeft:
    """Seconds a run still takes, from the windows done so far and those to come: later rounds are larger ones."""

    def __init__(self) -> None:
        self.start = time.monotonic()
        self.num_done = self.num_windows = self.num_later = 0

    def round_started(self, num_windows: int, num_later: int) -> None:
        if self.num_windows == 0:
            self.start = time.monotonic()
        self.num_done += self.num_windows
        self.num_windows, self.num_later = num_windows, num_later

    def seconds(self, share: float) -> float | None:
        """Time left when ``share`` of the present round is done; ``None`` as long as nothing is."""
        done = self.num_done + share * self.num_windows
        if done <= 0:
            return None
        to_do = (1 - share) * self.num_windows + self.num_later
        return (time.monotonic() - self.start) / done * to_do


class Plain(_Quiet):
    """One line an event, for log files."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.left = TimeLeft()
        self.num_rounds = 0

    def message(self, text: str) -> None:
        print(text, file=self.stream, flush=True)

    def round_started(self, index: int, num_rounds: int, num_windows: int, num_later: int) -> None:
        self.num_rounds = num_rounds
        self.left.round_started(num_windows, num_later)
        self.message(f"round {index + 1} of {num_rounds}: simulating {num_windows:,} windows")

    def windows_done(self, num_windows: int) -> None:
        return None

    def round_finished(self, index: int, info: Mapping[str, Any]) -> None:
        shown = "; ".join(f"{name} {value}" + (f" ({low})" if low else "") for name, value, low in estimates(info))
        left = self.left.seconds(1.0)
        rate = info.get("windows_per_second")
        parts = [
            f"round {index + 1} of {self.num_rounds}: {shown}",
            f"{duration(info['seconds'])}" if info.get("seconds") is not None else "",
            f"{number(rate)} windows/s" if rate else "",
            f"about {duration(left)} left" if left else "",
        ]
        self.message(" | ".join(part for part in parts if part))

    def finished(self, result: Mapping[str, Any]) -> None:
        self.message(f"stopped: {result.get('stopped')}")


class JsonLines(_Quiet):
    """One JSON object a line, each with ``event`` and seconds since the ``start``."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.start = time.monotonic()
        self.round = self.num_windows = self.done = 0

    def _event(self, event: str, **values: Any) -> None:
        line = {"event": event, "time": round(time.monotonic() - self.start, 3), **values}
        print(json.dumps(line, default=_plain), file=self.stream, flush=True)

    def message(self, text: str) -> None:
        self._event("message", text=text)

    def round_started(self, index: int, num_rounds: int, num_windows: int, num_later: int) -> None:
        self.round, self.num_windows, self.done = index, num_windows, 0
        self._event("round_started", round=index, num_rounds=num_rounds, num_windows=num_windows)

    def windows_done(self, num_windows: int) -> None:
        self.done += num_windows
        self._event("windows_done", round=self.round, done=self.done, num_windows=self.num_windows)

    def round_finished(self, index: int, info: Mapping[str, Any]) -> None:
        self._event("round_finished", round=index, **info)

    def finished(self, result: Mapping[str, Any]) -> None:
        self._event("finished", result=result)


def _plain(value: Any) -> Any:
    """NumPy numbers and arrays, and mappings that are no dict, as JSON."""
    if hasattr(value, "tolist"):
        return value.tolist()
    return dict(value) if isinstance(value, Mapping) else str(value)


class Rich(_Quiet):
    """A bar for the round, the time left, and a table of the parameters, redrawn in place."""

    def __init__(self, stream: TextIO | None = None) -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
        from rich.progress import Progress as Bars

        self.console = Console(file=stream or sys.stderr)
        self.bars = Bars(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[left]}")
        )
        self.task: Any = None
        self.left = TimeLeft()
        self.rows: list[tuple[str, str, str]] = []
        self.live = Live(self._table(), console=self.console, refresh_per_second=4, transient=True)

    def _table(self) -> Any:
        from rich.console import Group
        from rich.table import Table

        if not self.rows:
            return Group(self.bars)
        table = Table("parameter", "estimate", "interval", box=None, padding=(0, 2))
        for row in self.rows:
            table.add_row(*row)
        return Group(table, self.bars)

    def __enter__(self) -> Self:
        self.live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.live.stop()

    def message(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def round_started(self, index: int, num_rounds: int, num_windows: int, num_later: int) -> None:
        self.left.round_started(num_windows, num_later)
        if self.task is not None:
            self.bars.remove_task(self.task)
        self.task = self.bars.add_task(f"round {index + 1} of {num_rounds}", total=num_windows, left="")

    def windows_done(self, num_windows: int) -> None:
        if self.task is None:
            return
        self.bars.advance(self.task, num_windows)
        task = self.bars.tasks[-1]
        # Simulation is most of a round, but not all: training follows it.
        left = self.left.seconds(0.9 * task.completed / task.total if task.total else 0.0)
        self.bars.update(self.task, left=f"about {duration(left)} left" if left else "")

    def round_finished(self, index: int, info: Mapping[str, Any]) -> None:
        self.rows = estimates(info)
        self.live.update(self._table())

    def finished(self, result: Mapping[str, Any]) -> None:
        self.message(f"stopped: {result.get('stopped')}")


def make(*, json_lines: bool = False, stream: TextIO | None = None) -> Progress:
    """The implementation that suits ``stream`` (standard error unless given)."""
    stream = stream or sys.stderr
    if json_lines:
        return JsonLines(stream)
    return Rich(stream) if stream.isatty() else Plain(stream)
