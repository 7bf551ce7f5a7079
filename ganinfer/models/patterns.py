"""What decides whether a graph is possible: the order of its times and signs of its other numbers, not their values.

demes compares times with each other, sizes with 0 and with each other, rates and proportions with 0 and 1 (the rules
of its specification, doi:10.1093/genetics/iyac131). So graphs of one file that agree in all of these comparisons are
possible together, or none is: building one of them shows it of all.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

_TIMES, _SIZES = ("start_time", "end_time", "time"), ("start_size", "end_size")
_ROUND_OFF = 1e-12

#: Patterns that are remembered at most.
_REMEMBERED = 4096

Path = tuple[str | int, ...]


class Known(set[Hashable]):
    """Patterns that something is known of. Of more than a few thousand, those to come are not remembered."""

    def add(self, pattern: Hashable) -> None:
        if len(self) < _REMEMBERED:
            super().add(pattern)


class Patterns:
    """Of one un-resolved demes dictionary, whose numbers are set in place; which of them are there stays as it is."""

    def __init__(self, data: Mapping[str, Any]):
        numbers = list(_numbers(data, ()))
        self._times = _Getters(path for path in numbers if path[-1] in _TIMES)
        self._sizes = _Getters(path for path in numbers if path[-1] in _SIZES)
        self._rates = _Getters(path for path in numbers if path[-1] == "rate")
        shares = {path[:-1] for path in numbers if "proportions" in path}
        # Those of ancestors come to one, whatever they are set to; those of a pulse may come to more.
        self._ancestry = _Getters(path for path in sorted(shares, key=str) if path[0] != "pulses")
        self._pulses = _Getters(path for path in sorted(shares, key=str) if path[0] == "pulses")
        self._positive = _Getters(path for path in numbers if path[-1] == "generation_time")
        self._most = 1 / max(len(data["demes"]), 1)

    def of(self, data: Mapping[str, Any], times: Sequence[float] = ()) -> Hashable | None:
        """What ``data`` has in common with all that are possible, or impossible, for the same reasons.

        Further ``times`` are compared with its own. ``None`` where only building the graph can tell.
        """
        sizes, rates = self._sizes(data), self._rates(data)
        ancestry, pulses = self._ancestry(data), self._pulses(data)
        plain = (
            all(0 < value < math.inf for value in (*sizes, *self._positive(data)))
            and all(rate >= 0 for rate in rates)
            and sum(rates) <= self._most
            and all(0 <= share <= 1 for shares in (*ancestry, *pulses) for share in shares)
            and all(sum(shares) <= 1 - _ROUND_OFF for shares in pulses)
        )
        if not plain:
            return None
        order = _ranks((0.0, *times, *self._times(data)))
        return order, _equal(sizes), tuple(rate > 0 for rate in rates)


def _numbers(item: Any, path: Path) -> Iterator[Path]:
    """The paths of all numbers in a dictionary of dictionaries and lists."""
    if isinstance(item, Mapping):
        for key, inner in item.items():
            yield from _numbers(inner, (*path, key))
    elif isinstance(item, list):
        for i, inner in enumerate(item):
            yield from _numbers(inner, (*path, i))
    elif isinstance(item, int | float) and not isinstance(item, bool):
        yield path


class _Getters:
    """Reads what lies at some paths."""

    def __init__(self, paths: Iterator[Path]):
        self._paths = tuple(paths)

    def __call__(self, data: Any) -> tuple[Any, ...]:
        found = []
        for path in self._paths:
            item = data
            for key in path:
                item = item[key]
            found.append(item)
        return tuple(found)


def _ranks(values: Sequence[float]) -> tuple[int, ...]:
    """Each value's place among those that differ."""
    place = {value: i for i, value in enumerate(sorted(set(values)))}
    return tuple(place[value] for value in values)


def _equal(values: Sequence[float]) -> tuple[int, ...]:
    """For each value, which is the first that is equal."""
    first: dict[float, int] = {}
    return tuple(first.setdefault(value, i) for i, value in enumerate(values))
