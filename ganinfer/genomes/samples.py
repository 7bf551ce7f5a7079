"""The sample sheet, and which individuals are taken."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ganinfer.genomes.source import GenomeError
from ganinfer.genomes.text import lines, shorten
from ganinfer.randomness import stream


@dataclass(frozen=True)
class Individual:
    """One row of the sample sheet; ``time`` of sampling in generations before the present."""

    name: str
    population: str
    time: float = 0.0


def read_sheet(path: Path) -> tuple[Individual, ...]:
    """Rows of a tab separated file with columns sample, population and perhaps time, in any order; others ignored."""
    rows = lines(path)
    header = next(rows, None)
    columns = [c.strip().lstrip("#").lower() for c in header[1].split("\t")] if header else []
    if "sample" not in columns or "population" not in columns:
        found = repr(header[1][:60]) if header else "an empty file"
        raise GenomeError(
            f"{path}: the first line must name the tab separated columns sample and population (and time, if any); "
            f"found {found}"
        )
    individuals: list[Individual] = []
    seen: dict[str, int] = {}
    for number, line in rows:
        individual = _row(f"{path}, line {number}", columns, [c.strip() for c in line.split("\t")])
        if individual.name in seen:
            raise GenomeError(
                f"{path}, line {number}: sample {individual.name} is there twice, first in line "
                f"{seen[individual.name]}; each sample belongs to one population"
            )
        seen[individual.name] = number
        individuals.append(individual)
    if not individuals:
        raise GenomeError(f"{path}: no sample follows the header line")
    return tuple(individuals)


def _row(where: str, columns: Sequence[str], values: Sequence[str]) -> Individual:
    if len(values) != len(columns):
        raise GenomeError(f"{where}: {len(values)} columns, the header names {len(columns)} ({', '.join(columns)})")
    row = dict(zip(columns, values, strict=True))
    for column in ("sample", "population"):
        if not row[column]:
            raise GenomeError(f"{where}: the {column} is empty")
    return Individual(row["sample"], row["population"], _time(where, row.get("time", "")))


def _time(where: str, text: str) -> float:
    try:
        time = float(text or 0)
    except ValueError:
        time = math.nan
    if not (math.isfinite(time) and time >= 0):
        raise GenomeError(f"{where}: time must be a number of generations before the present, 0 or more; got {text!r}")
    return time


def wanted(
    sheet: Sequence[Individual], populations: Mapping[str, int | str], where: str
) -> dict[str, tuple[Individual, ...]]:
    """All individuals of each population asked for, in the order asked; empty ``populations`` asks for all.

    Raises GenomeError for a population without individuals or with fewer than asked.
    """
    sizes = Counter(individual.population for individual in sheet)
    listing = ", ".join(f"{name} ({number})" for name, number in sizes.items())
    for population, number in populations.items():
        if population not in sizes:
            raise GenomeError(f"{where}: population {population} of data.populations is empty; there are {listing}")
        if number != "all" and int(number) > sizes[population]:
            raise GenomeError(
                f"{where}: data.populations asks for {number} individuals of {population}, there are "
                f"{sizes[population]}; ask for fewer, or all"
            )
    return {
        population: tuple(individual for individual in sheet if individual.population == population)
        for population in (populations or sizes)
    }


def choose(
    groups: Mapping[str, Sequence[Individual]], populations: Mapping[str, int | str], seed: int
) -> dict[str, tuple[Individual, ...]]:
    """The individuals taken, by a draw of its own for each population; they keep the sheet's order."""
    chosen: dict[str, tuple[Individual, ...]] = {}
    for population, members in groups.items():
        number = populations.get(population, "all")
        take = len(members) if number == "all" else int(number)
        draw = stream(seed, "individuals", population).permutation(len(members))[:take]
        chosen[population] = tuple(members[i] for i in sorted(draw))
    return chosen


def check_present(individuals: Sequence[str], present: Sequence[str], sheet: str, path: Path) -> None:
    """Every individual of the sheet's wanted populations has to be in the genotype file, once."""
    twice = [name for name, number in Counter(present).items() if number > 1]
    if twice:
        raise GenomeError(f"{path}: sample {shorten(twice)} is there twice; names must differ")
    missing = [name for name in individuals if name not in set(present)]
    if missing:
        raise GenomeError(
            f"{path}: {len(missing)} of {len(individuals)} samples of {sheet} are not in the genotypes: "
            f"{shorten(missing)}; the genotypes have {shorten(present, 3)}"
        )
