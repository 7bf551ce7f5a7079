"""CPU seconds and peak memory of a process with everything below it, from Linux's ``/proc``."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")
_SERVERS = ("gcs_server", "raylet/raylet", "ray/dashboard", "ray/_private/log_monitor", "runtime_env/agent")
_PPID, _UTIME, _CSTIME = 1, 11, 14  # fields after the command's name


def cpu_seconds(root: int | None = None, *, servers: bool = True) -> float:
    """User and system seconds so far of ``root`` (this process) and its descendants, the ended and awaited included.

    ``servers=False`` leaves out Ray's own, which cost by the clock and not by the work.
    """
    table = _table()
    tree = [pid for pid in _tree(table, root or os.getpid()) if servers or not _is_server(_command(pid))]
    return sum(sum(table[pid][_UTIME : _CSTIME + 1]) for pid in tree) / _TICKS


def _is_server(command: str) -> bool:
    return any(name in command for name in _SERVERS)


@dataclass(frozen=True)
class Peak:
    """A living process: its id, its command line, and its largest resident bytes so far."""

    pid: int
    command: str
    size: int


def peak_memory(root: int | None = None) -> list[Peak]:
    """``root`` (this process) first, then its living descendants."""
    tree = _tree(_table(), root or os.getpid())
    return [Peak(pid, _command(pid), size) for pid in tree if (size := _peak(pid))]


def anonymous_memory(pid: int | None = None) -> int:
    """Resident bytes that are no mapped file: what the kernel cannot take back when memory runs short."""
    return _status(pid or os.getpid(), "RssAnon")


def workers_peak(peaks: Iterable[Peak]) -> int:
    """The largest of the processes that simulate, 0 where there is none; Ray's own servers are left out."""
    return max((p.size for p in peaks if "ganinfer.execution.worker" in p.command or "ray::" in p.command), default=0)


def _command(pid: int) -> str:
    try:
        return (_PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _table() -> dict[int, list[int]]:
    """Fields of /proc/PID/stat behind the command's name, by process id."""
    table = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            try:
                text = (entry / "stat").read_text()
            except OSError:  # it has ended
                continue
            table[int(entry.name)] = [int(f) if f.lstrip("-").isdigit() else 0 for f in text.rpartition(")")[2].split()]
    return table


def _tree(table: dict[int, list[int]], root: int) -> list[int]:
    children = defaultdict(list)
    for pid, fields in table.items():
        children[fields[_PPID]].append(pid)
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += children[pid]
    return found


def _peak(pid: int) -> int:
    return _status(pid, "VmHWM")


def _status(pid: int, key: str) -> int:
    """A size from /proc/PID/status in bytes, 0 for a process that has ended."""
    try:
        lines = (_PROC / str(pid) / "status").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(f"{key}:")), 0)
