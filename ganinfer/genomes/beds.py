"""Intervals from BED files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ganinfer.genomes.source import GenomeError
from ganinfer.genomes.text import lines, reconcile, shorten
from ganinfer.windows import normalise

_COMMENTS = ("#", "track", "browser")


@dataclass(frozen=True, eq=False)
class Bed:
    """Normalised intervals by contig, as the file names contigs, with the line where each contig first occurs."""

    path: Path
    intervals: Mapping[str, np.ndarray]
    first_lines: Mapping[str, int]


def read_bed(path: Path) -> Bed:
    """0-based half-open intervals; overlapping and touching ones are merged.

    Comment, ``track`` and ``browser`` lines are skipped; anything else that is no interval raises GenomeError.
    """
    rows: dict[str, list[tuple[int, int]]] = {}
    first_lines: dict[str, int] = {}
    for number, line in lines(path):
        if line.startswith("#") or line.split()[0] in _COMMENTS:
            continue
        contig, left, right = _interval(f"{path}, line {number}", line)
        if left == right:
            continue  # BED knows such points; they cover no base
        rows.setdefault(contig, []).append((left, right))
        first_lines.setdefault(contig, number)
    if not rows:
        raise GenomeError(f"{path}: no interval in the file; a BED line is contig, start and end, separated by tabs")
    return Bed(path, {contig: normalise(np.array(pairs)) for contig, pairs in rows.items()}, first_lines)


def _interval(where: str, line: str) -> tuple[str, int, int]:
    columns = line.split("\t") if "\t" in line else line.split()
    if len(columns) < 3:
        raise GenomeError(f"{where}: a BED line is contig, start and end, separated by tabs; found {line[:60]!r}")
    try:
        left, right = int(columns[1]), int(columns[2])
    except ValueError:
        raise GenomeError(
            f"{where}: start and end must be whole numbers, got {columns[1][:20]!r} and {columns[2][:20]!r} "
            "(a header line has to begin with #)"
        ) from None
    if left < 0:
        raise GenomeError(f"{where}: start {left} is negative; the first base of a contig is 0")
    if left > right:
        raise GenomeError(f"{where}: start {left} comes after end {right}; start and end may have been swapped")
    if right >= 2**62:
        raise GenomeError(f"{where}: end {right} is beyond any contig")
    return columns[0].strip(), left, right


def match(bed: Bed, contigs: Iterable[str], purpose: str, *, every: bool = False) -> dict[str, np.ndarray]:
    """The intervals under the genotypes' contig names; contigs that the genotypes lack are left out.

    ``every`` makes such a contig an error: a region without genotypes would read as a stretch without variation.
    """
    contigs = list(contigs)
    known = frozenset(contigs)
    matched: dict[str, np.ndarray] = {}
    for name, intervals in bed.intervals.items():
        contig = reconcile(name, known)
        if contig is None and every:
            raise GenomeError(
                f"{bed.path}, line {bed.first_lines[name]}: {purpose} name contig {name!r}, which the genotypes do not "
                f"have (they have {shorten(contigs)}); leave it out or add its genotypes"
            )
        if contig is not None:
            before = matched.get(contig, np.empty((0, 2), dtype=np.int64))
            matched[contig] = normalise(np.concatenate([before, intervals]))
    if not matched:
        raise GenomeError(
            f"{bed.path}: {purpose} name contig {shorten(bed.intervals)}, the genotypes {shorten(contigs)}: "
            "none in common"
        )
    return matched
