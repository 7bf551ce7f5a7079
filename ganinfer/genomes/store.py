"""The haplotype store: genotypes of the chosen individuals as packed bits on disk, read by memory mapping.

A store is a folder: ``meta.json``, ``positions.npy`` int64 (num_sites,), ``alleles.npy`` and ``missing.npy`` uint8
(num_sites, ceil(num_individuals * ploidy / 8)) bit planes, ``ancestral.npy`` int8 (num_sites,), ``callable.npy`` int64
(k, 3) (contig number, left, right). It is built in a folder beside it and renamed when whole: present means complete.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ganinfer.genomes.records import ABSENT, Chunk
from ganinfer.genomes.source import GenomeError
from ganinfer.windows import normalise

#: Written into every store and part of its key: a store of another version is not found, and built anew.
STORE_VERSION = 2
_MINIMUM_PLOIDY = 2
#: How folders begin in which a store is built, and seconds without a change after which another machine's is given up.
_BUILDING, _ABANDONED = ".building-", 7 * 24 * 3600


@dataclass(frozen=True, eq=False)
class Contig:
    """A contig's rows ``[start, stop)`` in the store; ``ploidy`` of each individual there, 0 where never called."""

    name: str
    start: int
    stop: int
    ploidy: np.ndarray


class Store:
    """A complete store, opened for reading."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.meta: dict[str, Any] = json.loads((folder / "meta.json").read_text())
        self.individuals: tuple[str, ...] = tuple(self.meta["individuals"])
        self.ploidy: int = self.meta["ploidy"]
        self.contigs = {
            c["name"]: Contig(c["name"], c["start"], c["stop"], np.array(c["ploidy"])) for c in self.meta["contigs"]
        }

    def _array(self, name: str) -> np.ndarray:
        small = name == "callable" or self.meta["num_sites"] == 0  # nothing cannot be mapped
        return np.load(self.folder / f"{name}.npy", mmap_mode=None if small else "r")

    @cached_property
    def positions(self) -> np.ndarray:
        return self._array("positions")

    @cached_property
    def ancestral(self) -> np.ndarray:
        return self._array("ancestral")

    @cached_property
    def alleles(self) -> np.ndarray:
        return self._array("alleles")

    @cached_property
    def missing(self) -> np.ndarray | None:
        """``None`` when every chromosome of every individual was called everywhere."""
        return self._array("missing") if self.meta["num_missing"] else None

    @property
    def tally(self) -> dict[str, Any]:
        """Records read, kept and dropped, and genotypes made missing where a setting asks for that; JSON values."""
        meta = self.meta
        records = {"read": meta["num_records"], "kept": meta["num_sites"], "dropped": meta["dropped"]}
        return {"records": records, **({"genotypes_made_missing": meta["masked"]} if meta["masked"] else {})}

    def callable_bases(self, contig: str) -> np.ndarray:
        """Intervals (k, 2) with a usable record, of a store built with ``accessible: from-genotypes``."""
        table = self._array("callable")
        number = list(self.contigs).index(contig)
        return normalise(table[table[:, 0] == number, 1:])


def is_complete(folder: Path) -> bool:
    """Whether a whole store of this version lies there; anything else there is damaged."""
    try:
        meta = json.loads((folder / "meta.json").read_text())
        if meta["version"] != STORE_VERSION:
            return False
        return all((folder / name).stat().st_size == size for name, size in meta["sizes"].items())
    except (OSError, ValueError, KeyError, AttributeError):
        return False


def build(folder: Path, chunks: Iterable[Chunk], individuals: tuple[str, ...], extra: Mapping[str, Any]) -> None:
    """Write the chunks as a store at ``folder``; nothing is left there when that fails.

    ``extra`` JSON values are kept in ``meta.json``. Raises GenomeError when the disk is full or positions are out of
    order.
    """
    with _disk_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(folder.parent)
        name = f"{_BUILDING}{os.getpid()}@{socket.gethostname()}-"
        temporary = Path(tempfile.mkdtemp(prefix=name, dir=folder.parent))
    try:
        with _disk_errors(folder):
            writer = _Writer(temporary, len(individuals))
        for chunk in chunks:
            with _disk_errors(folder):
                writer.append(chunk)
        with _disk_errors(folder):
            writer.finish({"individuals": individuals, **extra})
            _move(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if not folder.exists():
            with suppress(OSError):  # unless other stores lie there
                folder.parent.rmdir()


def _remove_leftovers(parent: Path) -> None:
    """Unfinished stores of processes that are gone; of other machines' it only shows that nothing comes any more."""
    for leftover in parent.glob(f"{_BUILDING}*"):
        process, _, host = leftover.name.removeprefix(_BUILDING).rpartition("-")[0].partition("@")
        gone = False
        if host == socket.gethostname():
            gone = Path("/proc/self").exists() and not Path(f"/proc/{process}").exists()
        else:
            with suppress(OSError):  # the other one may have finished just now
                written = max(path.stat().st_mtime for path in (leftover, *leftover.iterdir()))
                gone = time.time() - written > _ABANDONED
        if gone:
            shutil.rmtree(leftover, ignore_errors=True)


def _move(temporary: Path, folder: Path) -> None:
    """Rename into place; another process may have built the same store meanwhile, which is as good."""
    if folder.exists() and not is_complete(folder):
        shutil.rmtree(folder)
    try:
        temporary.chmod(0o755)
        temporary.rename(folder)
    except OSError:
        if not is_complete(folder):
            raise


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
            reason = "the disk, the quota or the limit on file sizes is full"
        else:
            reason = str(error.strerror or error)
        raise GenomeError(
            f"{folder}: the haplotype store cannot be written: {reason}; nothing was kept. "
            "Free some space, or choose another place: the cache is runs/cache of the current folder"
        ) from error


class _Column:
    """A .npy file that grows by rows; the header is written again with the final number of rows at the end."""

    def __init__(self, path: Path, dtype: Any, row_shape: tuple[int, ...]) -> None:
        self.path = path
        self.dtype = np.dtype(dtype)
        self.row_shape = row_shape
        self.num_rows = 0
        self._file = path.open("wb")
        self._header()

    def _header(self) -> None:
        shape = (self.num_rows, *self.row_shape)
        description = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False, "shape": shape}
        self._file.seek(0)
        np.lib.format.write_array_header_1_0(self._file, description)

    def append(self, rows: np.ndarray) -> None:
        self._file.write(np.ascontiguousarray(rows, dtype=self.dtype).data)
        self.num_rows += len(rows)

    def close(self) -> None:
        # numpy leaves room in the header for the first axis to grow
        end = self._file.tell()
        self._header()
        assert end - self._file.tell() == self.num_rows * int(np.prod(self.row_shape, dtype=int)) * self.dtype.itemsize
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()


class _Writer:
    """Packs chunks into the columns of a store."""

    def __init__(self, folder: Path, num_individuals: int) -> None:
        self.folder = folder
        self.num_individuals = num_individuals
        self.ploidy = 0
        self.columns: dict[str, _Column] = {}
        self.contigs: list[dict[str, Any]] = []
        self.entered: set[str] = set()
        self.last_position = -1
        self.num_rows = 0
        self.num_missing = 0
        self.num_records = 0
        self.num_unphased = 0
        self.num_heterozygous = 0
        self.dropped: Counter[str] = Counter()
        self.masked: Counter[str] = Counter()

    def _open(self, ploidy: int) -> None:
        self.ploidy = max(ploidy, _MINIMUM_PLOIDY)
        width = (self.num_individuals * self.ploidy + 7) // 8
        layout = {
            "positions": (np.int64, ()),
            "ancestral": (np.int8, ()),
            "alleles": (np.uint8, (width,)),
            "missing": (np.uint8, (width,)),
            "callable": (np.int64, (3,)),
        }
        self.columns = {
            name: _Column(self.folder / f"{name}.npy", dtype, shape) for name, (dtype, shape) in layout.items()
        }

    def append(self, chunk: Chunk) -> None:
        if not self.columns:
            self._open(chunk.genotypes.shape[2])
        self._enter(chunk)
        self._add_ploidy(chunk)
        self.columns["positions"].append(chunk.positions)
        self.columns["ancestral"].append(chunk.ancestral)
        self._add_genotypes(chunk.genotypes)
        number = np.full((len(chunk.callable_bases), 1), len(self.contigs) - 1)
        self.columns["callable"].append(np.concatenate([number, chunk.callable_bases], axis=1))
        self.num_rows += len(chunk.positions)
        self.contigs[-1]["stop"] = self.num_rows
        self.num_records += chunk.num_records
        self.num_unphased += chunk.num_unphased
        self.num_heterozygous += chunk.num_heterozygous
        self.dropped += chunk.dropped
        self.masked += chunk.masked

    def _enter(self, chunk: Chunk) -> None:
        """Contigs stand together and their positions increase, from file to file too."""
        if not self.contigs or self.contigs[-1]["name"] != chunk.contig:
            if chunk.contig in self.entered:
                raise GenomeError(
                    f"data.genotypes: contig {chunk.contig} comes back after {self.contigs[-1]['name']}; "
                    "name the files of one contig one after the other"
                )
            self.entered.add(chunk.contig)
            self.contigs.append({
                "name": chunk.contig, "start": self.num_rows, "stop": self.num_rows,
                "highest": _Extreme(self.num_individuals, 0), "lowest": _Extreme(self.num_individuals, -127),
            })  # fmt: skip
            self.last_position = -1
        if len(chunk.positions):
            if chunk.positions[0] <= self.last_position:
                raise GenomeError(
                    f"data.genotypes: two files hold contig {chunk.contig} up to {self.last_position + 1} and from "
                    f"{chunk.positions[0] + 1} on; files of one contig must follow each other in order of position"
                )
            self.last_position = int(chunk.positions[-1])

    def _add_ploidy(self, chunk: Chunk) -> None:
        """Called genotypes say how many chromosomes an individual has; a lone missing one does not."""
        if len(chunk.positions) == 0:
            return
        shape = chunk.genotypes.shape[:2]
        slots, called = np.zeros(shape, dtype=np.int8), np.zeros(shape, dtype=bool)
        for slot in range(chunk.genotypes.shape[2]):
            slots += chunk.genotypes[:, :, slot] != ABSENT
            called |= chunk.genotypes[:, :, slot] >= 0
        if slots.max() > self.ploidy:
            site = int(slots.max(axis=1).argmax())
            raise GenomeError(
                f"{chunk.contig}:{chunk.positions[site] + 1}: a genotype of {slots.max()} alleles where the first "
                f"records have {self.ploidy}; read genotypes of different ploidy in separate experiments"
            )
        self.contigs[-1]["highest"].update(np.where(called, slots, 0), chunk.positions)
        self.contigs[-1]["lowest"].update(-np.where(called, slots, np.int8(127)), chunk.positions)

    def _add_genotypes(self, genotypes: np.ndarray) -> None:
        num_sites, num_individuals, slots = genotypes.shape
        used = min(slots, self.ploidy)  # others are absent in every individual
        full = np.full((num_sites, num_individuals, self.ploidy), ABSENT, dtype=np.int8)
        full[:, :, :used] = genotypes[:, :, :used]
        flat = full.reshape(num_sites, num_individuals * self.ploidy)
        self.num_missing += int((flat == -1).sum())
        self.columns["alleles"].append(np.packbits(flat == 1, axis=1))
        self.columns["missing"].append(np.packbits(flat < 0, axis=1))

    def finish(self, extra: Mapping[str, Any]) -> None:
        if not self.columns:
            self._open(_MINIMUM_PLOIDY)
        for column in self.columns.values():
            column.close()
        if not self.num_missing:
            self.columns.pop("missing").path.unlink()
        meta = {
            "version": STORE_VERSION,
            "ploidy": self.ploidy,
            "contigs": [self._contig(c, extra["individuals"]) for c in self.contigs],
            "num_sites": self.num_rows,
            "num_missing": self.num_missing,
            "num_records": self.num_records,
            "num_unphased": self.num_unphased,
            "num_heterozygous": self.num_heterozygous,
            "dropped": dict(self.dropped.most_common()),
            "masked": dict(self.masked.most_common()),
            "sizes": {column.path.name: column.path.stat().st_size for column in self.columns.values()},
            **extra,
        }
        with (self.folder / "meta.json").open("w") as file:
            json.dump(meta, file)
            file.flush()
            os.fsync(file.fileno())

    def _contig(self, contig: Mapping[str, Any], individuals: tuple[str, ...]) -> dict[str, Any]:
        highest, lowest = contig["highest"], contig["lowest"]
        mixed = np.flatnonzero((highest.values > 0) & (-lowest.values < highest.values))
        if len(mixed):
            i, name = int(mixed[0]), contig["name"]
            raise GenomeError(
                f"sample {individuals[i]} has {-lowest.values[i]} allele at {name}:{lowest.positions[i] + 1} but "
                f"{highest.values[i]} at {name}:{highest.positions[i] + 1} ({len(mixed)} such samples); limit "
                "data.regions to a stretch of one ploidy (leave out pseudo-autosomal regions)"
            )
        ploidy = highest.values.tolist()
        return {"name": contig["name"], "start": contig["start"], "stop": contig["stop"], "ploidy": ploidy}


class _Extreme:
    """The highest value of each individual so far, and the position where it was first met."""

    def __init__(self, num_individuals: int, least: int) -> None:
        self.values = np.full(num_individuals, least, dtype=np.int64)
        self.positions = np.zeros(num_individuals, dtype=np.int64)

    def update(self, values: np.ndarray, positions: np.ndarray) -> None:
        """``values`` (num_sites, num_individuals), at least one site."""
        best = values.max(axis=0)
        new = np.flatnonzero(best > self.values)
        self.values[new] = best[new]
        self.positions[new] = positions[values[:, new].argmax(axis=0)]
