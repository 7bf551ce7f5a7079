"""Everything in this process, one item after the other."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

from ganinfer.execution.base import Executor, WorkerError

T = TypeVar("T")
R = TypeVar("R")


class _TookTooLong(BaseException):
    """Raised by the alarm inside an item; not an ``Exception``, so that no plugin swallows it."""


class SerialExecutor(Executor):
    """No other process. An item over its timeout is interrupted where Python can be: in the main thread, outside of
    compiled code."""

    num_workers = 1

    def __init__(self, timeout: float = 600):
        self._timeout = timeout

    def run(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[tuple[int, R]]:
        for index, item in enumerate(items):
            try:
                with _alarm(self._timeout):
                    result = function(item)
            except _TookTooLong:
                raise WorkerError(
                    f"took longer than {self._timeout:g} s; execution.timeout says how long is allowed", index, item
                ) from None
            yield index, result

    def close(self) -> None:
        pass


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGALRM, _ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def _ring(number: int, frame: FrameType | None) -> None:
    raise _TookTooLong
