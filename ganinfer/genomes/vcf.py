"""VCF and BCF, plain, gzipped or bgzipped, by cyvcf2."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ganinfer.genomes import bytestream, isolation, records, slicing
from ganinfer.genomes.records import Chunk, Contents, Selection
from ganinfer.genomes.source import ANY_FILTER, GenomeError
from ganinfer.windows import normalise

_USUAL_PLOIDY = 2
_INTERVALS_PER_SITE = 16
#: The VCF specification's largest position.
_LAST_POSITION = 2**31 - 2


class VcfReader:
    """One VCF or BCF file, whole, or where ``regions`` need little of it and it has an index, that part."""

    def __init__(self, path: Path, regions: Mapping[str, np.ndarray] | None = None) -> None:
        self.path = path
        self._regions = regions
        self._file = path
        self._contigs: tuple[str, ...] = ()

    @cached_property
    def _header(self) -> bytestream.Scan:
        return bytestream.scan(self.path, header_only=True)

    @cached_property
    def _scan(self) -> bytestream.Scan:
        slice_ = None if self._regions is None else slicing.cut(self.path, self._regions)
        if slice_ is not None:
            self._slice, self._contigs = slice_
            self._file = Path(self._slice.name)
            with suppress(GenomeError):  # the index is of another file, or this one is damaged: the whole tells
                found = bytestream.scan(self._file)
                if found.records:
                    return found
            self._file, self._contigs = self.path, ()
        return bytestream.scan(self.path)

    def declared(self) -> Contents:
        lines = bytestream.header_lines(self._header.header, "contig")
        lengths = {name: _length(line) for name, line in lines.items()}
        if not self._header.individuals:
            raise GenomeError(f"{self.path}: the #CHROM line names no sample; genotypes of individuals are needed")
        filters = tuple(bytestream.header_lines(self._header.header, "FILTER"))
        return Contents(self._header.format, self._header.individuals, lengths, {}, filters=filters)

    def contents(self) -> Contents:
        declared, records = self.declared(), self._scan.records
        if not records:
            raise GenomeError(f"{self.path}: no record follows the header; at least one variant is needed")
        lengths = dict.fromkeys([*declared.contigs, *records, *self._contigs]) | dict(declared.contigs)
        return replace(declared, contigs=lengths, records=records)

    def chunks(self, selection: Selection) -> Iterator[Chunk]:
        contents = self.contents()
        num_records = sum(contents.records.values())
        arguments = (self._file, selection, dict(contents.contigs), num_records, self.path)
        yield from isolation.iterate(str(self.path), read_chunks, *arguments)

    def check(self, selection: Selection) -> None:
        formats = bytestream.header_lines(self._header.header, "FORMAT")
        infos = bytestream.header_lines(self._header.header, "INFO")
        needed = [("GT", "genotypes"), *((key, f"data.{name}") for name, key, _ in selection.least)]
        for key, purpose in needed:
            if key not in formats:
                raise GenomeError(
                    f"{self.path}: the header defines no FORMAT/{key}, needed for {purpose}; "
                    f"it defines {', '.join(sorted(formats)) or 'none'}"
                )
            if key != "GT" and formats[key].get("Type") not in ("Integer", "Float"):
                raise GenomeError(
                    f"{self.path}: the header defines FORMAT/{key} as {formats[key].get('Type') or 'nothing'}, "
                    f"needed for {purpose} as Number=1,Type=Integer"
                )
        if selection.ancestral not in ("none", "REF") and selection.ancestral not in infos:
            raise GenomeError(
                f"{self.path}: the header defines no INFO/{selection.ancestral}, named by data.ancestral; "
                f"it defines {', '.join(sorted(infos)) or 'none'} (REF and none are allowed too)"
            )


def read_chunks(
    file: Path, selection: Selection, contigs: Mapping[str, int | None], num_records: int, path: Path
) -> Iterator[Chunk]:
    """Chunks of ``file`` by htslib, which has to come as far as ``num_records``; ``contigs`` with their lengths.

    ``path`` is the file that messages name.
    """
    vcf = _open(file, selection)
    batch = _Batch(path, selection, contigs, _order(path, vcf, selection))
    try:
        for variant in _variants(path, vcf):
            if batch.num_records and (batch.full or batch.contig != variant.CHROM):
                yield batch.finish()
            batch.add(variant)
    except GenomeError:
        raise
    except Exception as error:  # any attribute of a damaged record may raise a bare Exception or UnicodeDecodeError
        raise GenomeError(f"{path}: record {batch.total} near {batch.where} cannot be read: {error}") from error
    if batch.num_records:
        yield batch.finish()
    if batch.total != num_records:
        raise GenomeError(
            f"{path}: htslib stopped after record {batch.total} of {num_records}, at {batch.where}; "
            "the next record is damaged (bcftools view shows where)"
        )


def _open(path: Path, selection: Selection) -> Any:
    from cyvcf2 import VCF

    try:
        return VCF(str(path), samples=list(selection.individuals), strict_gt=True)
    except Exception as error:  # cyvcf2 raises bare Exception, OSError and UnicodeDecodeError
        raise GenomeError(f"{path}: htslib cannot read the header: {error}") from error


def _order(path: Path, vcf: Any, selection: Selection) -> np.ndarray:
    """Where htslib puts each individual wanted."""
    try:
        return np.array([vcf.samples.index(name) for name in selection.individuals])
    except ValueError as error:  # a UnicodeDecodeError is one too
        raise GenomeError(f"{path}: htslib reads other sample names than stand in the #CHROM line: {error}") from None


def _variants(path: Path, vcf: Any) -> Iterator[Any]:
    number = 0
    try:
        for variant in vcf:
            number += 1
            yield variant
    except Exception as error:  # as above
        raise GenomeError(f"{path}: record {number + 1} cannot be read: {error}") from error


def _length(line: dict[str, str]) -> int | None:
    try:
        return int(line["length"])
    except (KeyError, ValueError):
        return None


class _Batch:
    """Records gathered into one chunk of one contig."""

    def __init__(self, path: Path, selection: Selection, contigs: Mapping[str, int | None], order: np.ndarray) -> None:
        self.path = path
        self.selection = selection
        self.contigs = contigs
        self.order = order
        self.keep_all = ANY_FILTER in selection.filters
        self.total = 0
        self.contig: str | None = None
        self.position = -1
        self._seen: set[str] = set()
        self._region = (0, 0)
        self._end = _LAST_POSITION
        self._buffer = np.empty((selection.chunk_sites, len(order), _USUAL_PLOIDY + 1), dtype=np.int16)
        self._clear()

    def _clear(self) -> None:
        self.num_records = 0
        self.positions: list[int] = []
        self.ancestral: list[int] = []
        self.biallelic: list[bool] = []
        self.callable: list[tuple[int, int]] = []
        self.dropped: Counter[str] = Counter()
        self.masked: Counter[str] = Counter()

    @property
    def full(self) -> bool:
        most = self.selection.chunk_sites
        return len(self.positions) >= most or len(self.callable) >= _INTERVALS_PER_SITE * most

    @property
    def where(self) -> str:
        return f"{self.contig}:{self.position}"

    def add(self, variant: Any) -> None:
        self.total += 1
        self.num_records += 1
        self._check_order(variant.CHROM, variant.POS)
        alternatives = variant.ALT
        reason, pair = self._excluded(variant), (0, 1)
        several = reason is None and records.several(variant.REF, alternatives)
        if reason is None and not several:
            reason = records.classify(variant.REF, alternatives)
        if reason is None or (self.selection.callable_bases and reason == records.INVARIANT):
            genotypes = self._genotypes(variant, reason == records.INVARIANT)
            share = (genotypes[:, :-1] >= 0).any(axis=1).mean() if self.selection.callable_bases else 1.0
            if several:
                reason, pair = self._judge(variant, genotypes)
            reason = self._note_callable(variant, share, reason)
            if reason in (None, records.MULTI_ALLELIC):
                self._add_site(variant, genotypes, pair, biallelic=reason is None)
                return
        self.dropped[str(reason)] += 1

    def _judge(self, variant: Any, genotypes: np.ndarray) -> tuple[str | None, tuple[int, int]]:
        """A record with several alternatives, by those that are carried; ``genotypes`` are numbered anew."""
        alleles = genotypes[:, :-1]
        seen = np.unique(alleles[alleles >= 0])
        if len(seen) and seen[-1] > len(variant.ALT):
            raise self._unknown_allele(self.position - 1, int(seen[-1]), len(variant.ALT))
        reason, pair = records.judge(variant.REF, variant.ALT, seen, self.selection.ancestral)
        genotypes[:, :-1] = records.recode(alleles, pair)
        return reason, pair

    def _note_callable(self, variant: Any, share: float, reason: str | None) -> str | None:
        """Takes down the record's bases as accessible where enough individuals are called; why not otherwise."""
        if self.selection.callable_bases and reason in (None, records.MULTI_ALLELIC, records.INVARIANT):
            if share < records.MINIMUM_CALLED:
                return records.UNCALLED
            self.callable.append((self.position - 1, max(variant.end, self.position)))
        return reason

    def _unknown_allele(self, position: int, allele: int, number: int) -> GenomeError:
        return GenomeError(
            f"{self.path}: a genotype at {self.contig}:{position + 1} has allele {allele}, the record has "
            f"{number} alternative{'s' * (number > 1)}; the file is damaged, or its alleles were split wrongly "
            "(bcftools norm -m- splits them)"
        )

    def _check_order(self, contig: str, position: int) -> None:
        if contig == self.contig and position < self.position:
            raise GenomeError(
                f"{self.path}: record {self.total} at {contig}:{position} comes after {self.where}; "
                "positions must not decrease (bcftools sort puts them in order)"
            )
        if position < 1:
            raise GenomeError(f"{self.path}: record {self.total} is at {contig}:{position}; the first base is 1")
        if contig != self.contig:
            if contig in self._seen:
                raise GenomeError(
                    f"{self.path}: record {self.total} returns to contig {contig} after {self.where}; "
                    "a contig's records must stand together (bcftools sort puts them in order)"
                )
            self._seen.add(contig)
            self._region = (0, 0)
            self._end = self.contigs.get(contig) or _LAST_POSITION
        if position > self._end:
            raise GenomeError(
                f"{self.path}: record {self.total} at {contig}:{position} lies beyond the contig's end {self._end}"
            )
        self.contig, self.position = contig, position

    def _excluded(self, variant: Any) -> str | None:
        if not self._in_region(self.position - 1):
            return records.OUTSIDE
        if not self.keep_all and not self.selection.filters.issuperset(variant.FILTERS or (".",)):
            return records.FILTERED
        return None

    def _in_region(self, position: int) -> bool:
        """Positions increase, so the last region found mostly holds the next one too."""
        if self.selection.regions is None or self._region[0] <= position < self._region[1]:
            return True
        intervals = self.selection.regions.get(str(self.contig))
        if intervals is None:
            return False
        index = int(np.searchsorted(intervals[:, 1], position, side="right"))
        if index < len(intervals) and intervals[index, 0] <= position:
            self._region = (int(intervals[index, 0]), int(intervals[index, 1]))
            return True
        return False

    def _genotypes(self, variant: Any, invariant: bool) -> np.ndarray:
        """int16 (num_individuals, ploidy + 1) in the file's order: alleles, then whether phased; masked are missing."""
        try:
            genotypes: np.ndarray = variant.genotype.array()
        except Exception:  # cyvcf2 raises bare Exception when a record has no GT
            raise GenomeError(f"{self.path}: record {self.total} at {self.where} has no GT; each needs one") from None
        for name, key, least in self.selection.least:
            if invariant and records.OF_INVARIANT[key] in variant.FORMAT:
                key = records.OF_INVARIANT[key]
            below = self._below(variant, key, least)
            self.masked[name] += int((below & (genotypes[:, :-1] >= 0).any(axis=1)).sum())
            genotypes[below, :-1] = -1
        return genotypes

    def _below(self, variant: Any, key: str, least: int) -> np.ndarray:
        """bool (num_individuals,): whether a FORMAT value is below ``least`` or absent."""
        values = variant.format(key) if key in variant.FORMAT else None
        if values is None:
            return np.ones(len(self.order), dtype=bool)
        if values.ndim != 2 or values.dtype.kind not in "if":
            raise GenomeError(
                f"{self.path}: record {self.total} at {self.where}: {key} is read as text, not as numbers"
            )
        below: np.ndarray = ~(values[:, 0] >= least)
        return below

    def _add_site(self, variant: Any, genotypes: np.ndarray, pair: tuple[int, int], biallelic: bool) -> None:
        row, width = len(self.positions), genotypes.shape[1]
        if width > self._buffer.shape[2]:
            extra = np.full((*self._buffer.shape[:2], width - self._buffer.shape[2]), records.ABSENT, dtype=np.int16)
            self._buffer = np.concatenate([self._buffer[:, :, :-1], extra, self._buffer[:, :, -1:]], axis=2)
        if width == self._buffer.shape[2]:
            self._buffer[row] = genotypes
        else:
            self._buffer[row, :, : width - 1] = genotypes[:, :-1]
            self._buffer[row, :, width - 1 : -1] = records.ABSENT
            self._buffer[row, :, -1] = genotypes[:, -1]
        self.positions.append(self.position - 1)
        self.biallelic.append(biallelic)
        self.ancestral.append(self._ancestral(variant, pair) if biallelic else 0)

    def _ancestral(self, variant: Any, pair: tuple[int, int]) -> int:
        if self.selection.ancestral in ("none", "REF"):
            return 0
        alleles = (variant.REF, *variant.ALT)
        value = variant.INFO.get(self.selection.ancestral)
        return records.polarity(alleles[pair[0]], alleles[pair[1]], None if value is None else str(value))

    def _check_alleles(self, alleles: np.ndarray) -> None:
        """Records with several alternatives were numbered anew; here the others, all at once since that is quick."""
        if alleles.max(initial=0) > 1:
            row = int(alleles.max(axis=(1, 2)).argmax())
            raise self._unknown_allele(self.positions[row], int(alleles[row].max()), 1)

    def finish(self) -> Chunk:
        number = len(self.positions)
        read = self._buffer[:number, self.order]
        genotypes, unphased = read[:, :, :-1].astype(np.int8), read[:, :, -1] == 0
        biallelic = np.array(self.biallelic, dtype=bool)
        self._check_alleles(read[:, :, :-1])
        heterozygous = records.heterozygous(genotypes) & biallelic[:, None]
        chunk = Chunk(
            str(self.contig),
            np.array(self.positions, dtype=np.int64),
            genotypes,
            np.array(self.ancestral, dtype=np.int8),
            biallelic,
            normalise(np.array(self.callable, dtype=np.int64)),
            self.num_records,
            self.dropped,
            int((heterozygous & unphased).sum()),
            int(heterozygous.sum()),
            self.masked,
        )
        self._clear()
        return chunk
