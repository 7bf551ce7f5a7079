"""The program as a process: started, followed by its events, measured, killed. Linux only, through /proc."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PROGRAM = (sys.executable, "-c", "from ganinfer.cli import main; main()")
#: Seconds between two looks at the memory of a run's processes.
_LOOK = 0.25
_LONGEST = 1_800

Event = Mapping[str, Any]


@dataclass
class Outcome:
    """How a command ended; ``peaks`` MB of resident memory of its largest process of each role."""

    code: int
    output: str
    errors: str
    seconds: float
    events: list[Event] = field(default_factory=list)
    peaks: dict[str, float] = field(default_factory=dict)
    heavy: set[str] = field(default_factory=set)


class Program:
    """``ganinfer`` with ``arguments``, in a session of its own, in ``folder``."""

    def __init__(self, arguments: Sequence[str], folder: Path):
        self.start = time.monotonic()
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        environment.pop("RAY_ADDRESS", None)
        self.process = subprocess.Popen(
            [*PROGRAM, *arguments],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.events: list[Event] = []
        self.peaks: dict[str, float] = {}
        #: Roles of which a process had TensorFlow's libraries in its memory.
        self.heavy: set[str] = set()
        self._said: list[str] = []
        self._lines: list[str] = []
        self._threads = [threading.Thread(target=f, daemon=True) for f in (self._read_out, self._read_err, self._watch)]
        for thread in self._threads:
            thread.start()

    def wait(self, condition: Callable[[list[Event]], bool] = lambda _: False) -> bool:
        """Wait until the events hold to a condition (true), or the program ends (false)."""
        deadline = time.monotonic() + _LONGEST
        while not condition(self.events):
            if self.process.poll() is not None:
                return condition(self.events)
            if time.monotonic() > deadline:
                self.kill()
                raise TimeoutError(f"not done in {_LONGEST} s")
            time.sleep(0.02)
        return True

    def reach(self, condition: Callable[[list[Event]], bool]) -> None:
        """Wait until the events hold to a condition; raises ``ValueError`` when the program ends before."""
        if not self.wait(condition):
            outcome = self.outcome()
            raise ValueError(f"ended too early, with exit code {outcome.code}: {outcome.errors[-600:]}")

    def outcome(self) -> Outcome:
        """How it ended, once it has."""
        self.wait()
        for thread in self._threads:
            thread.join(10)
        seconds = time.monotonic() - self.start
        said, errors = "".join(self._said), "".join(self._lines)
        return Outcome(self.process.returncode, said, errors, seconds, self.events, self.peaks, self.heavy)

    def family(self) -> list[int]:
        """The program's process and all that descend from it."""
        return [self.process.pid, *descendants(self.process.pid)]

    def workers(self) -> list[int]:
        """Processes that simulate, or wait for work."""
        return [pid for pid in self.family() if role(pid) == "worker"]

    def kill(self) -> list[int]:
        """SIGKILL to the program and to all that descend from it; returns when none of them is left."""
        pids = self.family()
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        deadline = time.monotonic() + 60
        while any(alive(pid) for pid in pids):
            assert time.monotonic() < deadline, "killed processes are still there"
            time.sleep(0.05)
        return pids

    def _read_out(self) -> None:
        assert self.process.stdout is not None
        self._said.extend(self.process.stdout)

    def _read_err(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._lines.append(line)
            if line.startswith("{"):
                with suppress(ValueError):
                    self.events.append(json.loads(line))

    def _watch(self) -> None:
        while self.process.poll() is None:
            for pid in self.family():
                kind = role(pid)
                if kind == "other":  # between fork and exec
                    continue
                self.peaks[kind] = max(self.peaks.get(kind, 0.0), peak_memory(pid))
                if "tensorflow" in _read(pid, "maps"):
                    self.heavy.add(kind)
            time.sleep(_LOOK)


def call(arguments: Sequence[str], folder: Path) -> Outcome:
    """Run ``ganinfer`` to its end."""
    return Program(arguments, folder).outcome()


def descendants(pid: int) -> Iterator[int]:
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(ValueError, IndexError):
                parents.setdefault(int(_read(int(entry.name), "stat").rpartition(")")[2].split()[1]), []).append(
                    int(entry.name)
                )
    waiting = [pid]
    while waiting:
        found = parents.get(waiting.pop(), [])
        yield from found
        waiting += found


def role(pid: int) -> str:
    """``driver``, ``worker``, or ``ray`` for what else Ray keeps running."""
    command = _read(pid, "cmdline").replace("\0", " ")
    if "ganinfer.execution.worker" in command or command.startswith(("ray::run_group", "ray::IDLE")):
        return "worker"
    if "ganinfer.cli" in command:
        return "driver"
    return "ray" if "ray" in command else "other"


def alive(pid: int) -> bool:
    status = _read(pid, "status")
    return bool(status) and "\nState:\tZ" not in status


def peak_memory(pid: int) -> float:
    """Most resident memory so far, MB."""
    for line in _read(pid, "status").splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    except OSError:
        return ""
