"""This process first, and another executor only for what is still to do after some seconds."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from ganinfer.execution.base import Executor, WorkerError
from ganinfer.execution.serial import SerialExecutor

T = TypeVar("T")
R = TypeVar("R")


class PatientExecutor(Executor):
    """For work that is mostly small: starting Ray takes longer than a hundred windows.

    ``start`` makes the other executor; it is called once at most.
    """

    def __init__(self, start: Callable[[], Executor], seconds: float, timeout: float = 600):
        self._start, self._seconds = start, seconds
        self._serial = SerialExecutor(timeout)
        self._other: Executor | None = None

    @property
    def num_workers(self) -> int:
        return 1 if self._other is None else self._other.num_workers

    def run(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[tuple[int, R]]:
        left = deque(items)
        total, end = len(left), time.monotonic() + self._seconds
        while left and self._other is None and time.monotonic() < end:
            yield from self._numbered(self._serial.run(function, [left.popleft()]), total - len(left) - 1)
        if left:
            self._other = self._other or self._start()
            yield from self._numbered(self._other.run(function, left), total - len(left))

    @staticmethod
    def _numbered(results: Iterator[tuple[int, R]], first: int) -> Iterator[tuple[int, R]]:
        """The same with indices, also those of errors, from ``first`` on."""
        try:
            yield from ((first + index, result) for index, result in results)
        except WorkerError as error:
            raise WorkerError(error.reason, first + error.index, error.item) from error

    def close(self) -> None:
        if self._other is not None:
            self._other.close()
