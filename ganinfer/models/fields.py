"""Fields of a demes file named as moments' options files name them.

A *reference* is one item of a ``values`` list: a mapping with any of the keys ``demes``, ``migrations``, ``pulses``.
Indices count what is written in the demes file, before anything is resolved, so a symmetric migration is one entry::

    - demes:
        A: {epochs: {0: end_time, 1: start_size}}
        B: start_time
        C: {proportions: 0}
      migrations: {1: rate}
      pulses: {0: time, 1: {proportions: 0}}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ganinfer.models.places import Place, closest

EPOCH_ATTRIBUTES = ("start_size", "end_size", "end_time")
MIGRATION_ATTRIBUTES = ("rate", "start_time", "end_time")


@dataclass(frozen=True)
class Field:
    """One number of an un-resolved demes dictionary: the keys that lead to it.

    ``last_of_proportions`` is true where the field is one of a deme's ancestry proportions, whose last is always
    one minus the sum of the others.
    """

    path: tuple[str | int, ...]
    name: str
    last_of_proportions: bool = False

    def get(self, data: Any) -> Any:
        for key in self.path:
            data = data[key]
        return data

    def set(self, data: Any, value: float) -> None:
        for key in self.path[:-1]:
            data = data[key]
        data[self.path[-1]] = value
        if self.last_of_proportions:
            data[-1] = 1 - sum(data[:-1])


def read_values(values: Any, place: Place, model: Mapping[str, Any], file: str) -> tuple[Field, ...]:
    """The fields that a ``values`` list at ``place`` names in the demes dictionary ``model`` read from ``file``."""
    if not isinstance(values, list) or not values:
        raise place.error("values is a list with at least one of demes, migrations, pulses in each item")
    reader = _Reader(model, file)
    return tuple(found for i, item in enumerate(values) for found in reader.reference(item, place.at(i)))


class _Reader:
    def __init__(self, model: Mapping[str, Any], file: str) -> None:
        self.model = model
        self.file = file
        self.demes = {deme["name"]: i for i, deme in enumerate(model["demes"])}

    def reference(self, item: Any, place: Place) -> Iterator[Field]:
        kinds = {"demes": self._deme, "migrations": self._migration, "pulses": self._pulse}
        for kind, entries in _mapping(item, place, tuple(kinds), "names fields by demes, migrations or pulses").items():
            for key, what in _mapping(entries, place.at(kind), None, f"{kind} names at least one of them").items():
                yield from kinds[kind](key, what, place.at(kind, key))

    def _deme(self, name: Any, what: Any, place: Place) -> Iterator[Field]:
        if name not in self.demes:
            raise place.error(f"{name!r} is no deme of {self.file}; {closest(name, self.demes)}")
        index = self.demes[name]
        if not isinstance(what, Mapping):
            yield self._field(("demes", index, _one_of(what, ("start_time",), place)), f"{name}.{what}", place)
            return
        for key, inner in _mapping(what, place, ("epochs", "proportions"), "names epochs or proportions").items():
            if key == "epochs":
                yield from self._epochs(name, index, inner, place.at("epochs"))
            else:
                yield self._proportion(name, index, inner, place.at("proportions"))

    def _epochs(self, name: str, index: int, epochs: Any, place: Place) -> Iterator[Field]:
        for epoch, attribute in _mapping(epochs, place, None, "epochs maps an index to an attribute").items():
            here = place.at(epoch)
            position = self._index(epoch, self.model["demes"][index].get("epochs", []), f"epochs of deme {name}", here)
            path = ("demes", index, "epochs", position, _one_of(attribute, EPOCH_ATTRIBUTES, here))
            yield self._field(path, f"{name}.epochs[{position}].{attribute}", here)

    def _proportion(self, name: str, index: int, which: Any, place: Place) -> Field:
        written = self.model["demes"][index].get("proportions", [])
        position = self._index(which, written, f"proportions of deme {name}", place)
        if position == len(written) - 1:
            raise place.error(f"the last proportion of deme {name} is one minus the sum of the others; name another")
        path = ("demes", index, "proportions", position)
        return Field(path, f"{name}.proportions[{position}]", last_of_proportions=True)

    def _migration(self, which: Any, what: Any, place: Place) -> Iterator[Field]:
        position = self._index(which, self.model.get("migrations", []), "migrations", place)
        attribute = _one_of(what, MIGRATION_ATTRIBUTES, place)
        yield self._field(("migrations", position, attribute), f"migrations[{position}].{attribute}", place)

    def _pulse(self, which: Any, what: Any, place: Place) -> Iterator[Field]:
        position = self._index(which, self.model.get("pulses", []), "pulses", place)
        if not isinstance(what, Mapping):
            if what != "time":
                raise place.error(f"{what!r} can't follow a parameter here; allowed: time, or {{proportions: INDEX}}")
            yield self._field(("pulses", position, "time"), f"pulses[{position}].time", place)
            return
        for _, inner in _mapping(what, place, ("proportions",), "names time or proportions").items():
            written = self.model["pulses"][position].get("proportions", [])
            here = place.at("proportions")
            source = self._index(inner, written, f"proportions of pulse {position}", here)
            yield Field(("pulses", position, "proportions", source), f"pulses[{position}].proportions[{source}]")

    def _index(self, index: Any, written: list[Any], what: str, place: Place) -> int:
        """``index`` into what is written, counted from 0, or from the end when negative, as a Python list's."""
        size = len(written)
        if isinstance(index, bool) or not isinstance(index, int) or not -size <= index < size:
            allowed = f"0 to {size - 1}" if size else "there is none"
            raise place.error(f"{index!r} is no index into the {what} written in {self.file}; allowed: {allowed}")
        return index % size

    def _field(self, path: tuple[str | int, ...], name: str, place: Place) -> Field:
        found = Field(path, name)
        try:
            found.get(self.model)
        except KeyError:
            raise place.error(
                f"{name} is not written in {self.file}; write its value there, so that the file is a model by itself"
            ) from None
        return found


def _mapping(value: Any, place: Place, allowed: tuple[str, ...] | None, rule: str) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping) or not value:
        raise place.error(f"{rule}; got {value!r}")
    for key in value:
        if allowed is not None and key not in allowed:
            raise place.at(key).error(f"unknown key {key!r}; {closest(key, allowed)}")
    return value


def _one_of(value: Any, allowed: tuple[str, ...], place: Place) -> str:
    if value not in allowed:
        raise place.error(f"{value!r} can't follow a parameter here; {closest(value, allowed)}")
    return str(value)
