"""Recombination maps in HapMap format."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ganinfer.genomes.source import GenomeError
from ganinfer.genomes.text import lines, reconcile, shorten
from ganinfer.windows import RecombinationMap

_FORMAT = "a HapMap row is contig, position, rate in cM/Mb and map in cM (the contig may be left out)"
_CENTIMORGAN = 0.01
#: Morgan a base; the hottest hotspots known are a hundred times cooler.
_HIGHEST_RATE = 0.1


@dataclass(frozen=True, eq=False)
class Maps:
    """Maps by contig as the files name them (``""`` where a file names none); ``where`` for messages."""

    where: str
    maps: Mapping[str, RecombinationMap]

    def match(self, contigs: Iterable[str]) -> dict[str, RecombinationMap]:
        """The map of each of ``contigs``; raises GenomeError when one has none."""
        contigs = list(contigs)
        found: dict[str, RecombinationMap] = {}
        for name, recombination_map in self.maps.items():
            contig = contigs[0] if name == "" and len(contigs) == 1 else reconcile(name, contigs)
            if contig is not None:
                found[contig] = recombination_map
        if missing := [contig for contig in contigs if contig not in found]:
            named = shorten(name or "one contig without a name" for name in self.maps)
            raise GenomeError(
                f"{self.where}: no recombination map for contig {shorten(missing)}; there are maps for {named}"
            )
        return found

    def length(self, contig: str) -> int | None:
        """The contig's length as far as its map goes, or ``None``."""
        name = reconcile(contig, self.maps)
        return None if name is None else int(self.maps[name].positions[-1]) + 1


def read_maps(source: Path | Mapping[str, Path]) -> Maps:
    """Maps from one file of all contigs or one file a contig; raises GenomeError when one is malformed."""
    if isinstance(source, Path):
        return Maps(str(source), {name: _map(source, rows) for name, rows in _tables(source).items()})
    return Maps("data.recombination_map", {name: _map(path, _single(path, name)) for name, path in source.items()})


_Row = tuple[int, int, float, float]


def _tables(path: Path) -> dict[str, list[_Row]]:
    """Rows (line number, position, rate, map or NaN) by contig; the contig is ``""`` where the file names none."""
    tables: dict[str, list[_Row]] = {}
    last = None
    for index, (number, line) in enumerate(lines(path)):
        if line.startswith("#") or (index == 0 and not _is_number(line.split()[-1])):
            continue
        try:
            name, row = _row(number, line.split())
        except ValueError as error:
            raise GenomeError(f"{path}, line {number}: {error}") from None
        if name != last and name in tables:
            raise GenomeError(f"{path}, line {number}: contig {name} again, after {last}; its rows must stand together")
        last = name
        tables.setdefault(name, []).append(row)
    if not tables:
        raise GenomeError(f"{path}: no row in the file; {_FORMAT}")
    return tables


def _single(path: Path, contig: str) -> list[_Row]:
    tables = _tables(path)
    if set(tables) == {""}:
        return tables[""]
    name = reconcile(contig, tables)
    if name is None:
        raise GenomeError(f"{path}: given as the map of contig {contig}, but its rows are of {shorten(tables)}")
    return tables[name]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _row(number: int, columns: list[str]) -> tuple[str, _Row]:
    """Contig and row; a ValueError says what is wrong with the line."""
    name, values = ("", columns) if len(columns) == 3 and _is_number(columns[0]) else (columns[0], columns[1:])
    try:
        position, rate, distance = float(values[0]), float(values[1]), float(values[2]) if len(values) > 2 else math.nan
    except (ValueError, IndexError):
        raise ValueError(f"{_FORMAT}; found {' '.join(columns)[:60]!r}") from None
    if not position.is_integer() or not 0 <= position < 2**53:
        raise ValueError(f"position {values[0]} must be a whole number of bases, 0 or more")
    if not 0 <= rate < math.inf:
        raise ValueError(f"rate {values[1]} must be finite and not negative")
    if len(values) > 2 and not math.isfinite(distance):
        raise ValueError(f"map {values[2]} must be finite")
    return name, (number, int(position), rate, distance)


def _map(path: Path, rows: list[_Row]) -> RecombinationMap:
    """Rates from the map column, which stays right when rows were thinned out; from the rate column without one."""
    if len(rows) < 2:
        raise GenomeError(f"{path}, line {rows[0][0]}: a map needs at least two rows a contig")
    numbers = [row[0] for row in rows]
    positions = np.array([row[1] for row in rows], dtype=np.int64)
    distances = np.array([row[3] for row in rows])
    _check_increase(path, numbers, positions, "position", strictly=True)
    if np.isnan(distances).any():
        rates = np.array([row[2] for row in rows])[:-1] * _CENTIMORGAN / 1e6
    else:
        _check_increase(path, numbers, distances, "map", strictly=False)
        rates = np.diff(distances) * _CENTIMORGAN / np.diff(positions)
    if not rates.max() < _HIGHEST_RATE:
        i = int(rates.argmax())
        raise GenomeError(
            f"{path}, line {numbers[i]}: {rates[i]:g} Morgan a base up to the next row; positions must be in bases, "
            "maps in centimorgan, rates in centimorgan a million bases"
        )
    return RecombinationMap(np.maximum(positions - 1, 0) if positions[0] > 0 else positions, rates)


def _check_increase(path: Path, numbers: list[int], values: np.ndarray, name: str, *, strictly: bool) -> None:
    steps = np.diff(values)
    bad = np.flatnonzero(steps <= 0 if strictly else steps < 0)
    if len(bad):
        i = int(bad[0]) + 1
        rule = "must increase" if strictly else "must not decrease"
        raise GenomeError(f"{path}, line {numbers[i]}: {name} {values[i]:g} follows {values[i - 1]:g}; {name}s {rule}")
