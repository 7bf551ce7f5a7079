"""Executors: one function over many items, in this process, in a pool of processes, or on Ray.

Results come in completion order with the index of their item; items are consumed as workers become free, and what is
in flight, or done before an older item, is bounded. Which executor ran a function, with how many workers, never
changes a result.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from ganinfer.execution.base import ExecutionError, Executor, WorkerError

__all__ = [
    "KINDS",
    "ExecutionError",
    "Executor",
    "WorkerError",
    "check_reachable",
    "cluster_address",
    "make",
    "make_patient",
    "ordered",
]

KINDS = ("serial", "process", "ray")
R = TypeVar("R")


def make(
    kind: str = "ray", workers: int | None = None, *, address: str | None = None, timeout: float = 600
) -> Executor:
    """An executor, to be used as a context manager.

    ``workers``: processes to run at once, ``None`` for one a core (on a Ray cluster: one a CPU of the cluster);
    ``serial`` has one, whatever is asked for. ``address``, for ``ray`` alone: a running cluster, ``auto`` or
    ``HOST:PORT``; ``None`` for the one in the environment variable ``RAY_ADDRESS``, or without it a Ray of our own on
    this machine. ``timeout``: seconds that one item may take.

    Raises :class:`ExecutionError` (a ``ValueError``) for settings that cannot work.
    """
    _check(kind, workers, timeout)
    if kind == "serial":
        from ganinfer.execution.serial import SerialExecutor

        return SerialExecutor(timeout)
    if kind == "process":
        from ganinfer.execution.process import ProcessExecutor

        return ProcessExecutor(workers, timeout)
    from ganinfer.execution.ray_tasks import RayExecutor

    return RayExecutor(workers, timeout, address)


def make_patient(start: Callable[[], Executor], seconds: float, *, timeout: float = 600) -> Executor:
    """An executor of this process that calls ``start`` for another one when work is left after ``seconds``."""
    from ganinfer.execution.patient import PatientExecutor

    return PatientExecutor(start, seconds, timeout)


def cluster_address(kind: str, address: str | None = None) -> str | None:
    """The Ray cluster that :func:`make` would use; ``None`` where work stays on this machine."""
    if kind != "ray":
        return None
    from ganinfer.execution.ray_tasks import named_address

    named, _ = named_address(address)
    return None if named == "local" else named


def check_reachable(kind: str, address: str | None = None) -> None:
    """Raise :class:`ExecutionError` where nothing answers at the address that :func:`make` would use; quick."""
    if kind == "ray":
        from ganinfer.execution.ray_tasks import check_reachable as check

        check(address)


def _check(kind: str, workers: int | None, timeout: float) -> None:
    if kind not in KINDS:
        close = difflib.get_close_matches(str(kind), KINDS, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ExecutionError(f"execution.executor must be one of {', '.join(KINDS)}, not {kind!r}{hint}")
    if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 1):
        raise ExecutionError(f"execution.workers must be a whole number of at least 1, or null, not {workers!r}")
    if not timeout > 0:
        raise ExecutionError(f"execution.timeout must be above 0 seconds, not {timeout!r}")


def ordered(pairs: Iterable[tuple[int, R]]) -> Iterator[R]:
    """Results in the order of their indices 0, 1, 2, …, each as soon as all before it are there.

    What waits here is bounded by the executors, which begin nothing new while too much does.
    """
    waiting: dict[int, R] = {}
    following = 0
    for index, result in pairs:
        waiting[index] = result
        while following in waiting:
            yield waiting.pop(following)
            following += 1
    assert not waiting, f"index {following} never came"
