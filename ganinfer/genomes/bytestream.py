"""Reading every byte of a VCF or BCF once, to know that it is whole before htslib sees it.

htslib ends quietly, or with a line on stderr only, when a file breaks off. So the file is first read to its end here:
a broken gzip stream, a half line or a half record is found, and the number of records is known, which the reader has to
meet.
"""

from __future__ import annotations

import gzip
import re
import struct
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ganinfer.genomes.source import GenomeError

_BLOCK = 1 << 20
_LARGEST_HEADER = 1 << 28
_TAB = b"\t"
_GZIP = b"\x1f\x8b"
_BCF = b"BCF\2"
_VCF = b"##fileformat=VCF"
_KEY_VALUE = re.compile(r'[<,](\w+)="?([^,">]*)')
_FIRST_COLUMN = re.compile(rb"^([^\t\n]*)", re.MULTILINE)
_MISSING_END = "it was probably cut short while being copied or written; get it again (gzip -t checks it)"


@dataclass(frozen=True)
class Scan:
    """``format`` is VCF or BCF; ``header`` its text; ``records`` counts by contig, contigs in order of appearance."""

    format: str
    header: str
    records: Mapping[str, int]

    @property
    def individuals(self) -> tuple[str, ...]:
        """Names of the samples, from the line that begins with #CHROM."""
        columns = self.header.rstrip("\r\n\0").rpartition("\n#CHROM")[2].split("\t")
        return tuple(columns[9:])


def scan(path: Path, *, header_only: bool = False) -> Scan:
    """Read the whole file; raises GenomeError when it is no VCF or BCF, or breaks off.

    With ``header_only`` the records are neither read nor counted.
    """
    blocks = _blocks(path)
    start = b""
    while len(start) < len(_VCF) and (block := next(blocks, b"")):
        start += block
    if start.startswith(_BCF):
        return _scan_bcf(path, _chain(start, blocks), header_only)
    if start.startswith(_VCF):
        return _scan_vcf(path, _chain(start, blocks), header_only)
    if not start:
        raise GenomeError(f"{path}: the file is empty; a VCF begins with ##fileformat=VCF")
    raise GenomeError(f"{path}: neither VCF nor BCF: it begins with {start[:16]!r}, a VCF with ##fileformat=VCF")


def _chain(start: bytes, blocks: Iterator[bytes]) -> Iterator[bytes]:
    yield start
    yield from blocks


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as raw:
        compressed = raw.read(2) == _GZIP
        raw.seek(0)
        stream = gzip.GzipFile(fileobj=raw) if compressed else raw
        try:
            while block := stream.read(_BLOCK):
                yield block
        except EOFError:
            raise GenomeError(f"{path}: the gzip stream breaks off before its end; {_MISSING_END}") from None
        except (gzip.BadGzipFile, zlib.error) as error:
            raise GenomeError(f"{path}: damaged gzip stream ({error}); {_MISSING_END}") from None


def header_lines(header: str, kind: str) -> dict[str, dict[str, str]]:
    """The header's lines ``##kind=<...>`` by ID, their values without quotes; a value with a comma in it ends there."""
    found: dict[str, dict[str, str]] = {}
    for line in header.splitlines():
        if line.startswith(f"##{kind}=<"):
            values = dict(_KEY_VALUE.findall(line))
            if "ID" in values:
                found[values["ID"]] = values
    return found


def _scan_vcf(path: Path, blocks: Iterator[bytes], header_only: bool) -> Scan:
    header, after = _vcf_header(path, blocks)
    counts: Counter[str] = Counter()
    if not header_only:
        num_columns = header.rpartition(b"\n#CHROM")[2].count(b"\t") + 1
        rest, number = b"", header.count(b"\n")
        for block in _chain(after, blocks):
            lines, newline, rest = (rest + block).rpartition(b"\n")
            lines += newline
            _check_lines(path, lines, num_columns, number)
            _count_lines(lines, counts)
            number += lines.count(b"\n")
        if rest:
            raise GenomeError(f"{path}: the last line has no end ({rest[:40]!r}...); {_MISSING_END}")
    return Scan("VCF", header.decode("utf-8", "replace"), counts)


def _vcf_header(path: Path, blocks: Iterator[bytes]) -> tuple[bytes, bytes]:
    """The lines down to the one of #CHROM, and what was read beyond it."""
    read = b""
    for block in blocks:
        read += block
        end = read.find(b"\n", read.find(b"\n#CHROM") + 1) if b"\n#CHROM" in read else -1
        if end >= 0:
            return read[: end + 1], read[end + 1 :]
        if len(read) > _LARGEST_HEADER:
            break
    raise GenomeError(f"{path}: no line begins with #CHROM; a VCF names its columns and samples there")


def _check_lines(path: Path, lines: bytes, num_columns: int, before: int) -> None:
    """Every line has the header's number of columns and a contig; blank lines, which crash htslib, have not."""
    total = lines.count(b"\n")
    bad_start = lines.startswith((b"\n", b"\t")) or b"\n\n" in lines or b"\n\t" in lines
    if lines.count(b"\t") == total * (num_columns - 1) and not bad_start:
        return
    for number, line in enumerate(lines.split(b"\n")[:-1], start=before + 1):
        if not line:
            raise GenomeError(f"{path}, line {number}: the line is empty; take it out")
        if line.count(b"\t") + 1 != num_columns:
            raise GenomeError(
                f"{path}, line {number}: {line.count(_TAB) + 1} columns, the #CHROM line names {num_columns}"
            )
        if line.startswith(b"\t"):
            raise GenomeError(f"{path}, line {number}: the contig is empty")


def _count_lines(lines: bytes, counts: Counter[str]) -> None:
    """Count the records of whole lines by contig; most blocks hold one contig only and need no look at each line."""
    if not lines:
        return
    first = lines.partition(b"\t")[0]
    if not first.startswith(b"#") and (b"\n" + lines).count(b"\n" + first + b"\t") == lines.count(b"\n"):
        counts[first.decode("utf-8", "replace")] += lines.count(b"\n")
        return
    for match in _FIRST_COLUMN.finditer(lines[:-1]):
        column = match.group(1)
        if column and not column.startswith(b"#"):
            counts[column.decode("utf-8", "replace")] += 1


def _scan_bcf(path: Path, blocks: Iterator[bytes], header_only: bool) -> Scan:
    buffer = _Buffer(path, blocks)
    buffer.take(5)
    (header_length,) = struct.unpack("<I", buffer.take(4))
    header = buffer.take(header_length).rstrip(b"\0").decode("utf-8", "replace")
    if header_only:
        return Scan("BCF", header, {})
    contigs = header_lines(header, "contig").values()
    numbers = [line.get("IDX", "") for line in contigs]
    names = {
        int(number) if number.isdecimal() else index: line["ID"]
        for index, (number, line) in enumerate(zip(numbers, contigs, strict=True))
    }
    counts: Counter[int] = Counter()
    while not buffer.at_end():
        shared, individual = struct.unpack("<II", buffer.take(8))
        if shared < 24:
            raise GenomeError(f"{path}: record {sum(counts.values()) + 1} is damaged (its length is {shared} bytes)")
        counts[struct.unpack_from("<i", buffer.take(shared + individual))[0]] += 1
    if unknown := set(counts) - set(names):
        raise GenomeError(f"{path}: a record is on contig number {min(unknown)}, which the header does not define")
    return Scan("BCF", header, {names[contig]: number for contig, number in counts.items()})


class _Buffer:
    """Bytes taken one after the other from blocks; never more than one record and one block in memory."""

    def __init__(self, path: Path, blocks: Iterator[bytes]) -> None:
        self._path = path
        self._blocks = blocks
        self._data = b""
        self._offset = 0

    def _fill(self, number: int) -> bool:
        if len(self._data) - self._offset >= number:
            return True
        pieces = [self._data[self._offset :]]
        have = len(pieces[0])
        while have < number and (block := next(self._blocks, b"")):
            pieces.append(block)
            have += len(block)
        self._data, self._offset = b"".join(pieces), 0
        return have >= number

    def at_end(self) -> bool:
        return not self._fill(1)

    def take(self, number: int) -> bytes:
        if not self._fill(number):
            raise GenomeError(f"{self._path}: the file ends inside a record; {_MISSING_END}")
        start = self._offset
        self._offset += number
        return self._data[start : self._offset]
