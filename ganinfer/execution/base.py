"""What every executor is, and how items are grouped and retried."""

from __future__ import annotations

import bisect
import os
import statistics
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from operator import length_hint
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

T = TypeVar("T")
R = TypeVar("R")

#: Seconds of work a group aims at: long against the cost of sending it, short against a round.
TARGET_SECONDS = 0.5
#: A group's results stay below this many bytes (unless one item's alone are more), so that memory stays bounded.
TARGET_BYTES = 8 * 2**20
MAX_GROUP = 1000
#: Groups a worker has at once: one at work, one waiting.
GROUPS_PER_WORKER = 2
#: Bytes of results that may wait in the main process for that of an older item, beside those of what is at work.
WAITING_BYTES = 256 * 2**20
#: How often one item may take a worker down before the run ends with an error.
MAX_TRIES = 3
_MEMORY = 9


class ExecutionError(ValueError):
    """Executors' settings cannot work, or workers cannot be started or reached."""


class WorkerError(ExecutionError):
    """A worker died, or hung, on one item, as often as is allowed: why, the item's index, and the item."""

    def __init__(self, reason: str, index: int, item: Any):
        super().__init__(f"item {index}: {reason}")
        self.reason = reason
        self.index = index
        self.item = item

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.reason, self.index, self.item)


class Executor(Protocol):
    """Runs one function over items; a context manager that leaves no process behind."""

    @property
    def num_workers(self) -> int: ...

    def run(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[tuple[int, R]]:
        """(index, result) of every item, in completion order; ``function`` is importable by name."""
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def num_cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass
class Group:
    """Items sent to a worker together. ``tries``: how often their worker died before."""

    indices: list[int]
    items: list[Any]
    tries: int = 0

    def __len__(self) -> int:
        return len(self.items)


class Groups:
    """Cuts a stream of items into groups by the time that items have taken so far.

    Nothing new is begun while :data:`WAITING_BYTES` of results wait for that of an older item. A group whose worker
    died is cut into single items; one that has cost :data:`MAX_TRIES` workers alone is an error.
    """

    def __init__(self, items: Iterable[Any], num_workers: int):
        # The number of items still to come, where it is known: the last groups are made small enough for all workers.
        self._remaining = length_hint(items, 0)
        self._items = enumerate(items)
        self._num_workers = num_workers
        self._again: list[Group] = []
        # The oldest item whose result is not there, and the sizes of younger results that are.
        self._oldest = 0
        self._waiting: dict[int, int] = {}
        self._waiting_bytes = 0
        self._seconds: deque[float] = deque(maxlen=_MEMORY)
        self._bytes: deque[float] = deque(maxlen=_MEMORY)
        self._largest = 1

    def next(self) -> Group | None:
        """The next group to send; ``None`` when there is none left, or none before the oldest item is done.

        The oldest is then at work: items are sent in order, and those that were lost come first.
        """
        if self._again:
            return self._again.pop(0)
        if self._waiting_bytes >= WAITING_BYTES:
            return None
        size = self._size()
        taken = [pair for _, pair in zip(range(size), self._items, strict=False)]
        if not taken:
            return None
        self._remaining -= len(taken)
        return Group([i for i, _ in taken], [item for _, item in taken])

    @property
    def depth(self) -> int:
        """Groups to give a worker at once. A slow item, or one of unknown cost, must not wait behind another one."""
        quick = bool(self._seconds) and statistics.median(self._seconds) <= TARGET_SECONDS
        return GROUPS_PER_WORKER if quick else 1

    def _size(self) -> int:
        if not self._seconds:
            return 1
        size = int(TARGET_SECONDS / max(statistics.median(self._seconds), 1e-9))
        size = min(size, int(TARGET_BYTES / max(statistics.median(self._bytes), 1e-9)), MAX_GROUP, 4 * self._largest)
        if self._remaining > 0:
            size = min(size, -(-self._remaining // (GROUPS_PER_WORKER * self._num_workers)))
        size = max(size, 1)
        self._largest = max(self._largest, size)
        return size

    def finished(self, group: Group, seconds: float, num_bytes: int) -> None:
        """Remember what a group cost, and which of its results wait for an older item's."""
        self._seconds.append(seconds / len(group))
        self._bytes.append(num_bytes / len(group))
        each = -(-num_bytes // len(group))
        self._waiting |= dict.fromkeys(group.indices, each)
        self._waiting_bytes += each * len(group)
        while self._oldest in self._waiting:
            self._waiting_bytes -= self._waiting.pop(self._oldest)
            self._oldest += 1

    def again(self, group: Group) -> None:
        """Send a group once more that was lost by no fault of its own."""
        bisect.insort(self._again, group, key=lambda lost: lost.indices)

    def died(self, group: Group, reason: str, *, hung: bool = False) -> None:
        """A group's worker is gone; raises :class:`WorkerError` when that was one item's last try."""
        if len(group) == 1 and (hung or group.tries + 1 >= MAX_TRIES):
            times = "" if hung else f", {group.tries + 1} times"
            raise WorkerError(f"{reason}{times}", group.indices[0], group.items[0])
        tries = group.tries + 1 if len(group) == 1 else 0
        for index, item in zip(group.indices, group.items, strict=True):
            self.again(Group([index], [item], tries))
