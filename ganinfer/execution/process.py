"""A pool of processes on this machine.

Each worker is a fresh interpreter (never a fork of one that has TensorFlow's threads) which does not import the main
script again, has one connection of its own, and leads its own process group. So it is always known which group a dead
worker had, only that one is run again, and whatever a simulator started dies with its worker. A Ctrl-C reaches the main
process alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import Pipe
from multiprocessing.connection import wait
from typing import Any, TypeVar

from ganinfer.execution.base import ExecutionError, Executor, Group, Groups, num_cores
from ganinfer.execution.worker import READY, THREAD_VARIABLES, overdue, pack, search_path, unpack

T = TypeVar("T")
R = TypeVar("R")

#: A worker gets the search path of this process instead of one derived from how it was started (`-P`).
_BOOT = """
import json, sys
sys.path[:] = json.loads(sys.argv[3])
from ganinfer.execution.worker import main
main(int(sys.argv[1]), int(sys.argv[2]))
"""
#: Seconds between looks at whether a worker is gone without its connection saying so.
_LOOK = 2.0


class ProcessExecutor(Executor):
    """Workers start with the first run and stay for the next ones."""

    def __init__(self, workers: int | None = None, timeout: float = 600):
        self._num_workers = workers or num_cores()
        self._timeout = timeout
        self._workers: list[_Worker] = []
        self._finalizer = weakref.finalize(self, _kill_all, self._workers)

    @property
    def num_workers(self) -> int:
        return self._num_workers

    def run(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[tuple[int, R]]:
        groups = Groups(items, self._num_workers)
        try:
            while self._feed(groups, function):
                for worker in self._ready():
                    outcome = self._outcome(worker, groups)
                    # The worker gets its next group before the caller gets its hands on this one's results.
                    self._feed(groups, function)
                    yield from outcome
        finally:
            self._drop_busy()

    def close(self) -> None:
        _kill_all(self._workers)

    def _feed(self, groups: Groups, function: Callable[[Any], Any]) -> bool:
        """Give every worker its share; whether anything is in flight."""
        while len(self._workers) < self._num_workers:
            self._workers.append(_Worker(self._timeout))
        for depth in range(groups.depth):
            for worker in self._workers:
                if len(worker.groups) <= depth:
                    group = groups.next()
                    if group is None:
                        return any(w.groups for w in self._workers)
                    worker.send(group, function)
        return any(w.groups for w in self._workers)

    def _ready(self) -> list[_Worker]:
        """Workers that have something to say, or are dead."""
        said = set(wait([w.connection for w in self._workers], timeout=_LOOK))
        return [w for w in self._workers if w.connection in said or not w.alive]

    def _outcome(self, worker: _Worker, groups: Groups) -> Iterator[tuple[int, Any]]:
        message = worker.receive()
        if message == READY:
            worker.started = True
            return iter(())
        if message is None:
            self._bury(worker, groups)
            return iter(())
        group = worker.groups.popleft()
        seconds, results, error = unpack(message)
        groups.finished(group, seconds, len(message))
        return _results(group, results, error)

    def _bury(self, worker: _Worker, groups: Groups) -> None:
        self._workers.remove(worker)
        reason, hung = worker.kill()
        if not worker.started:
            raise ExecutionError(f"a worker process did not start ({reason}); what it said stands above")
        waiting = list(worker.groups)
        for group in reversed(waiting[1:]):
            groups.again(group)
        if waiting:
            groups.died(waiting[0], reason, hung=hung)

    def _drop_busy(self) -> None:
        """After a run that was broken off: workers that still have something of it are replaced."""
        busy = [w for w in self._workers if w.groups]
        self._workers[:] = [w for w in self._workers if not w.groups]
        _kill_all(busy)


def _results(group: Group, results: list[Any], error: BaseException | None) -> Iterator[tuple[int, Any]]:
    yield from zip(group.indices, results, strict=False)
    if error is not None:
        raise error


class _Worker:
    """One process, its connection, and the groups it has, the one at work first."""

    def __init__(self, timeout: float):
        self.groups: deque[Group] = deque()
        self.started = False
        self._timeout = timeout
        # Where the worker's stack goes if it hangs; closed by `kill`.
        self._report = tempfile.TemporaryFile()  # noqa: SIM115
        self.connection, theirs = Pipe()
        descriptors = (theirs.fileno(), self._report.fileno())
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _BOOT, *map(str, descriptors), json.dumps(search_path())],
            pass_fds=descriptors,
            stdin=subprocess.DEVNULL,
            # What a simulator prints must not mix with our own output.
            stdout=2,
            env={**dict.fromkeys(THREAD_VARIABLES, "1"), **os.environ},
            start_new_session=True,
        )
        theirs.close()

    @property
    def alive(self) -> bool:
        if not hasattr(os, "waitid"):  # macOS before Python 3.13
            return self._process.poll() is None
        # Not reaped here: until `kill` its process group's number stays its own.
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def send(self, group: Group, function: Callable[[Any], Any]) -> None:
        self.groups.append(group)
        # A dead worker is noticed when it is read from.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send_bytes(pack(function, group.items, self._timeout))

    def receive(self) -> bytes | None:
        """The next message, ``None`` from a dead worker."""
        try:
            return self.connection.recv_bytes() if self.connection.poll() else None
        except (EOFError, OSError):
            return None

    def kill(self) -> tuple[str, bool]:
        """End the process and everything it started; why it was dead, if it was, and whether it hung."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self.connection.close()
        self._report.seek(0)
        reason = overdue(self._report.read().decode(errors="replace"), self._timeout)
        self._report.close()
        return reason or _described(self._process.returncode), reason is not None


def _kill_all(workers: list[_Worker]) -> None:
    while workers:
        workers.pop().kill()


def _described(code: int) -> str:
    if code >= 0:
        return f"its worker process ended with exit status {code}"
    hint = " (out of memory?)" if -code == signal.SIGKILL else ""
    return f"its worker process was ended by {signal.Signals(-code).name}{hint}"
