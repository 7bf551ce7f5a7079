"""NPZ files as dnadna writes them, one a replicate, and the CSV of their scenarios' parameters."""

from __future__ import annotations

import csv
import lzma
import re
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ganinfer.genomes.loci.choosing import Snps
from ganinfer.genomes.loci.source import SnpArrays
from ganinfer.genomes.source import GenomeError
from ganinfer.genomes.text import lines, shorten

_SCENARIO = re.compile(r"^scenario_([0-9]+)$")
_INDEX = "scenario_idx"
#: Bases: beyond these, positions are no positions.
_FARTHEST = float(1 << 40)
#: What NumPy and zipfile raise of files and headers that are damaged.
_DAMAGE = (
    OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, NotImplementedError, RuntimeError,
    AttributeError, LookupError, TypeError, SyntaxError, MemoryError, ArithmeticError, struct.error,
    tokenize.TokenError,
)  # fmt: skip


class SnpArraysReader:
    """All files, read and checked."""

    named = False

    def __init__(self, source: SnpArrays) -> None:
        self.source = source
        self.told = _parameters(source)
        self._loci = [_read(path, source) for path in source.files]
        size = len(self._loci[0][0])
        for path, (snps, _) in zip(source.files, self._loci, strict=True):
            if len(snps) != size:
                raise GenomeError(
                    f"{path}: {len(snps)} rows of SNP, {source.files[0]} has {size}; all files must be of the same "
                    "chromosomes"
                )
        if size % source.ploidy:
            raise GenomeError(f"{source.files[0]}: {size} rows of SNP, an odd number; with ploidy: 2 each has two")
        self.individuals = tuple(str(i + 1) for i in range(size // source.ploidy))

    @property
    def ploidy(self) -> int:
        return self.source.ploidy

    def read(self, names: Sequence[str]) -> Snps:
        wanted = np.array([int(name) - 1 for name in names], dtype=np.int64)
        rows = (wanted[:, None] * self.ploidy + np.arange(self.ploidy)).ravel()
        counts = [len(positions) for _, positions in self._loci]
        return Snps(
            np.concatenate([snps[rows].T for snps, _ in self._loci]),
            np.repeat(np.arange(len(counts)), counts),
            tuple(str(path) for path in self.source.files),
            np.concatenate([np.arange(1, n + 1) for n in counts]),
            True,
            np.concatenate([positions for _, positions in self._loci]),
            told=self.told,
        )


def _read(path: Path, source: SnpArrays) -> tuple[np.ndarray, np.ndarray]:
    """int8 (chromosomes, SNPs) and int64 (SNPs,), by position."""
    arrays = _load(path)
    snps, positions = arrays["SNP"], arrays["POS"]
    if snps.ndim != 2 or snps.dtype.kind not in "biuf":
        raise GenomeError(f"{path}: SNP is {_described(snps)}; it must be numbers, chromosomes by SNPs")
    if positions.ndim != 1 or positions.dtype.kind not in "iuf":
        raise GenomeError(f"{path}: POS is {_described(positions)}; it must be numbers, one a SNP")
    if snps.shape[1] != len(positions):
        turned = "; is it chromosomes by SNPs?" if snps.shape[0] == len(positions) else ""
        raise GenomeError(f"{path}: SNP has {snps.shape[1]} columns, POS {len(positions)} positions{turned}")
    if 0 in snps.shape:
        raise GenomeError(f"{path}: SNP is {_described(snps)}; it holds nothing")
    wrong = np.argwhere((snps != 0) & (snps != 1))
    if len(wrong):
        row, column = wrong[0]
        raise GenomeError(
            f"{path}: SNP[{row}, {column}] is {snps[row, column]}; only 0 (ancestral) and 1 (derived) are allowed"
        )
    bases = _bases(path, positions, source)
    order = np.argsort(bases, kind="stable")
    return snps.astype(np.int8)[:, order], bases[order]


def _load(path: Path) -> dict[str, np.ndarray]:
    _check_kind(path)
    try:
        with np.load(path, allow_pickle=False) as opened:
            names = list(opened.files)
            found = {key: opened[key] for key in ("SNP", "POS") if key in names}
    except _DAMAGE as error:
        if "pickle" in str(error).lower():
            raise GenomeError(
                f"{path}: holds pickled objects, which could run any code, and is not read; write SNP and POS as "
                "arrays of numbers"
            ) from None
        raise GenomeError(f"{path}: a damaged NPZ file ({_first_line(error)}); get it again") from None
    for key in ("SNP", "POS"):
        if not isinstance(found.get(key), np.ndarray):
            raise GenomeError(f"{path}: no array {key}; there are {shorten(names) or 'none'}")
    return found


def _check_kind(path: Path) -> None:
    with path.open("rb") as stream:
        start = stream.read(6)
    if start == b"\x93NUMPY":
        raise GenomeError(f"{path}: a single array (NPY); an NPZ file with SNP and POS is needed")
    if not start.startswith(b"PK"):
        raise GenomeError(f"{path}: no NPZ file: it begins with {start!r}, an NPZ file with b'PK'")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().partition("\n")[0] or type(error).__name__)[:120]


def _described(array: np.ndarray) -> str:
    return f"an array of {array.dtype} of shape {array.shape}"


def _bases(path: Path, positions: np.ndarray, source: SnpArrays) -> np.ndarray:
    """Positions in bases, int64."""
    found = positions.astype(np.float64)
    if source.positions == "distances":
        found = np.cumsum(found)
    if source.length is not None:
        if not (np.isfinite(found).all() and found.min() >= 0 and found.max() <= 1):
            raise GenomeError(
                f"{path}: POS goes from {found.min():g} to {found.max():g}; with data.npz.length positions "
                "are shares of it, from 0 to 1"
            )
        found = found * source.length
    if not (np.isfinite(found).all() and found.min() >= 0 and found.max() < _FARTHEST):
        index = int(np.argmax(~(np.isfinite(found) & (found >= 0) & (found < _FARTHEST))))
        raise GenomeError(f"{path}: POS[{index}] is {positions[index]}; positions are bases, 0 or more")
    return np.floor(found).astype(np.int64)


def _parameters(source: SnpArrays) -> dict[str, Any]:
    """The scenario that the files are of, by the name of their folder, and its row of the CSV."""
    if source.parameters is None:
        return {}
    found = {match[1] for path in source.files if (match := _SCENARIO.match(path.parent.name))}
    if len(found) != 1 or not all(_SCENARIO.match(path.parent.name) for path in source.files):
        raise GenomeError(
            f"{source.parameters}: the files must lie in one folder scenario_N to have parameters; they are in "
            f"{shorten(sorted({path.parent.name for path in source.files}))}"
        )
    number = int(found.pop())
    rows = _csv(source.parameters)
    header = next(rows, None)
    if header is None or _INDEX not in header[1]:
        names = shorten(header[1]) if header else "nothing"
        raise GenomeError(f"{source.parameters}: the first line must name the column {_INDEX}; it names {names}")
    column = header[1].index(_INDEX)
    for line, cells in rows:
        if len(cells) != len(header[1]):
            raise GenomeError(
                f"{source.parameters}, line {line}: {len(cells)} columns, the header names {len(header[1])}"
            )
        if cells[column] in (str(number), f"{number}.0"):
            return {"scenario": number, "parameters": dict(zip(header[1], cells, strict=True))}
    raise GenomeError(f"{source.parameters}: no row has {_INDEX} {number}, the number of the files' folder")


def _csv(path: Path) -> Any:
    for number, line in lines(path):
        try:
            yield number, [cell.strip() for cell in next(csv.reader([line]))]
        except csv.Error as error:
            raise GenomeError(f"{path}, line {number}: not CSV: {error}") from None
