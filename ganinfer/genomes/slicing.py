"""The part of a bgzipped VCF that regions need, found by its index, as a VCF of its own.

Regions often cover little of a file. Its index (.tbi, .csi; format in the SAM/VCF specifications, hts-specs) says where
their records lie. Their blocks are copied into a temporary file, which is then read and checked as any whole VCF is.
Where anything speaks against it, nothing is raised: the whole file is read instead, and tells what is wrong.
"""

from __future__ import annotations

import gzip
import struct
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from ganinfer.genomes.text import reconcile

#: A slice larger than this share of the file saves nothing worth the copy.
_WORTH = 0.5
_LARGEST_HEADER = 1 << 28
_BLOCK = 60_000
_END_OF_FILE = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
_TBI_SHIFT, _TBI_DEPTH = 14, 5
_SHIFTS, _DEPTHS = range(10, 31), range(1, 11)

#: A stretch of a file: virtual offsets, where a block begins in the file times 2¹⁶ plus bytes into the block.
Stretch = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Index:
    """``bins`` of each contig: bin number to stretches of the file. Bins halve by eights from 2^(shift + 3 depth)."""

    shift: int
    depth: int
    bins: Mapping[str, Mapping[int, tuple[Stretch, ...]]]

    def stretches(self, contig: str, left: int, right: int) -> Iterator[Stretch]:
        """Where records that overlap [left, right) may lie."""
        present = self.bins[contig]
        first, shift = 0, self.shift + 3 * self.depth
        left, right = min(left, 1 << shift), min(right, 1 << shift)
        for level in range(self.depth + 1):
            for number in range(first + (left >> shift), first + ((right - 1) >> shift) + 1):
                yield from present.get(number, ())
            first += 1 << (3 * level)
            shift -= 3


def cut(path: Path, regions: Mapping[str, np.ndarray]) -> tuple[IO[bytes], tuple[str, ...]] | None:
    """A temporary VCF with at least the records in ``regions``, and all contigs of the index; ``None`` if not worth it.

    ``regions`` intervals by contig, named as in the VCF or with ``chr`` more or less. The index must not be older than
    the file.
    """
    try:
        index = _index_of(path)
        if index is None:
            return None
        stretches = _merged(_wanted(index, regions))
        size = sum((end >> 16) - (begin >> 16) + (1 << 15) for begin, end in stretches)
        if size > _WORTH * path.stat().st_size:
            return None
        target = tempfile.NamedTemporaryFile(prefix="ganinfer-", suffix=".vcf.gz")  # noqa: SIM115, closed by its owner
        with path.open("rb") as source:
            _write(source, _header(path), stretches, target)
        target.flush()
    except (OSError, ValueError, KeyError, IndexError, EOFError, struct.error, zlib.error):
        return None
    return target, tuple(index.bins)


def _wanted(index: Index, regions: Mapping[str, np.ndarray]) -> Iterator[Stretch]:
    for name, intervals in regions.items():
        contig = reconcile(name, index.bins)
        for left, right in intervals.tolist() if contig is not None else ():
            yield from index.stretches(str(contig), left, right)


def _merged(stretches: Iterable[Stretch]) -> list[Stretch]:
    merged: list[list[int]] = []
    for begin, end in sorted(stretches):
        if merged and begin <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([begin, end])
    return [(begin, end) for begin, end in merged]


# --- the index ----------------------------------------------------------------------------------------------------


def _index_of(path: Path) -> Index | None:
    for suffix in (".tbi", ".csi"):
        file = path.with_name(path.name + suffix)
        if file.exists() and file.stat().st_mtime >= path.stat().st_mtime:
            return _parse(gzip.decompress(file.read_bytes()))
    return None


def _parse(data: bytes) -> Index | None:
    kind, data = data[:4], data[4:]
    reader = _Bytes(data)
    if kind == b"TBI\1":
        number = reader.integer()
        names = _names(reader)
        return Index(_TBI_SHIFT, _TBI_DEPTH, {n: _bins(reader, csi=False) for n in _counted(names, number)})
    if kind == b"CSI\1":
        shift, depth, length = reader.integer(), reader.integer(), reader.integer()
        if length < 28:
            return None  # of a BCF, whose contigs are numbered by its header
        if shift not in _SHIFTS or depth not in _DEPTHS:
            return None
        names = _names(_Bytes(reader.take(length)))
        number = reader.integer()
        return Index(shift, depth, {n: _bins(reader, csi=True) for n in _counted(names, number)})
    return None


def _counted(names: list[str], number: int) -> list[str]:
    if len(names) != number:
        raise ValueError("names and contigs of the index differ in number")
    return names


def _names(reader: _Bytes) -> list[str]:
    reader.take(24)  # columns of contig and position, comment sign: a VCF's
    return [name.decode() for name in reader.take(reader.integer()).split(b"\0")[:-1]]


def _bins(reader: _Bytes, *, csi: bool) -> dict[int, tuple[Stretch, ...]]:
    bins: dict[int, tuple[Stretch, ...]] = {}
    for _ in range(reader.integer()):
        (number,) = struct.unpack("<I", reader.take(4))
        if csi:
            reader.take(8)
        size = reader.integer()
        offsets = struct.unpack(f"<{2 * size}Q", reader.take(16 * size))
        bins[number] = tuple(zip(offsets[::2], offsets[1::2], strict=True))
    if not csi:
        reader.take(8 * reader.integer())
    return bins


class _Bytes:
    """Bytes taken one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, number: int) -> bytes:
        if number < 0 or self._at + number > len(self._data):
            raise EOFError
        self._at += number
        return self._data[self._at - number : self._at]

    def integer(self) -> int:
        value: int = struct.unpack("<i", self.take(4))[0]
        return value


# --- blocks -------------------------------------------------------------------------------------------------------


def _header(path: Path) -> bytes:
    with gzip.open(path, "rb") as lines:
        header = b""
        for line in lines:
            header += line
            if line.startswith(b"#CHROM"):
                return header
            if not line.startswith(b"#") or len(header) > _LARGEST_HEADER:
                break
    raise ValueError("no header")


def _write(source: IO[bytes], header: bytes, stretches: Iterable[Stretch], target: Any) -> None:
    """Inner blocks are copied as they are; parts of a stretch's first and last block are packed anew."""
    _pack(header, target)
    for begin, end in stretches:
        first, last = begin >> 16, end >> 16
        data, after = _block(source, first)
        if first == last:
            _pack(data[begin & 0xFFFF : end & 0xFFFF], target)
            continue
        _pack(data[begin & 0xFFFF :], target)
        source.seek(after)
        left = last - after
        while left > 0:
            piece = source.read(min(left, 1 << 20))
            if not piece:
                raise EOFError
            target.write(piece)
            left -= len(piece)
        if end & 0xFFFF:
            _pack(_block(source, last)[0][: end & 0xFFFF], target)
    target.write(_END_OF_FILE)


def _block(source: IO[bytes], offset: int) -> tuple[bytes, int]:
    """What the block at ``offset`` holds, and where the next one begins."""
    source.seek(offset)
    start = source.read(18)
    if start[:4] != b"\x1f\x8b\x08\x04" or start[12:14] != b"BC":
        raise ValueError("no block of bgzip")
    size = struct.unpack("<H", start[16:18])[0] + 1
    return gzip.decompress(start + source.read(size - 18)), offset + size


def _pack(data: bytes, target: Any) -> None:
    for start in range(0, len(data), _BLOCK):
        part = data[start : start + _BLOCK]
        packer = zlib.compressobj(1, zlib.DEFLATED, -15)
        packed = packer.compress(part) + packer.flush()
        frame = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x06\0BC\x02\0" + struct.pack("<H", len(packed) + 25)
        target.write(frame + packed + struct.pack("<II", zlib.crc32(part), len(part)))
