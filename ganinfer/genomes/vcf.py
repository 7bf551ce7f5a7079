"""VCF and BCF, plain, gzipped or bgzipped, by cyvcf2."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ganinfer.genomes import bytestream, records
from ganinfer.genomes.records import Chunk, Contents, Selection
from ganinfer.genomes.source import ANY_FILTER, GenomeError
from ganinfer.windows import normalise

#: A base of an all-sites file is accessible where at least this share of the individuals has a genotype.
MINIMUM_CALLED = 0.5


class VcfReader:
    """One VCF or BCF file, whole; an index is not needed and not used."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def _scan(self) -> bytestream.Scan:
        return bytestream.scan(self.path)

    def contents(self) -> Contents:
        scan = self._scan
        vcf = self._open(None)
        declared, individuals = _header(vcf, "CONTIG"), tuple(vcf.samples)
        vcf.close()
        lengths = {name: _length(declared.get(name, {})) for name in [*declared, *scan.records]}
        if not scan.records:
            raise GenomeError(f"{self.path}: no record follows the header; at least one variant is needed")
        return Contents(scan.format, individuals, lengths, scan.records)

    def chunks(self, selection: Selection) -> Iterator[Chunk]:
        vcf = self._open(list(selection.individuals))
        self._check_header(vcf, selection)
        order = np.array([vcf.samples.index(name) for name in selection.individuals])
        batch = _Batch(self.path, selection, order)
        for variant in self._variants(vcf):
            if batch.contig is not None and (batch.full or variant.CHROM != batch.contig):
                yield batch.finish()
            batch.add(variant)
        if batch.num_records:
            yield batch.finish()
        if batch.total != self._scan.num_records:
            raise GenomeError(
                f"{self.path}: htslib stopped after record {batch.total} of {self._scan.num_records}, at {batch.where}; "
                "the next record is damaged (bcftools view shows where)"
            )

    def _open(self, samples: list[str] | None) -> Any:
        from cyvcf2 import VCF

        try:
            return VCF(str(self.path), samples=samples, strict_gt=True)
        except Exception as error:  # cyvcf2 raises bare Exception, OSError and UnicodeDecodeError
            raise GenomeError(f"{self.path}: htslib cannot read the header: {error}") from error

    def _variants(self, vcf: Any) -> Iterator[Any]:
        number = 0
        try:
            for variant in vcf:
                number += 1
                yield variant
        except GenomeError:
            raise
        except Exception as error:  # as above
            raise GenomeError(f"{self.path}: record {number + 1} cannot be read: {error}") from error

    def _check_header(self, vcf: Any, selection: Selection) -> None:
        formats, infos = _header(vcf, "FORMAT"), _header(vcf, "INFO")
        needed = [("GT", True, "genotypes")]
        needed += [("DP", selection.min_depth is not None, "data.min_depth")]
        needed += [("GQ", selection.min_genotype_quality is not None, "data.min_genotype_quality")]
        for key, wanted, purpose in needed:
            if wanted and key not in formats:
                raise GenomeError(
                    f"{self.path}: the header defines no FORMAT/{key}, needed for {purpose}; "
                    f"it defines {', '.join(sorted(formats)) or 'none'}"
                )
        if selection.ancestral not in ("none", "REF") and selection.ancestral not in infos:
            raise GenomeError(
                f"{self.path}: the header defines no INFO/{selection.ancestral}, named by data.ancestral; "
                f"it defines {', '.join(sorted(infos)) or 'none'} (REF and none are allowed too)"
            )


def _header(vcf: Any, kind: str) -> dict[str, dict[str, str]]:
    """The header's lines of one kind by ID."""
    lines = (line.info(extra=True) for line in vcf.header_iter() if line.type == kind)
    return {line["ID"]: line for line in lines if "ID" in line}


def _length(line: dict[str, str]) -> int | None:
    try:
        return int(line["length"])
    except (KeyError, ValueError):
        return None


class _Batch:
    """Records gathered into one chunk of one contig."""

    def __init__(self, path: Path, selection: Selection, order: np.ndarray) -> None:
        self.path = path
        self.selection = selection
        self.order = order
        self.total = 0
        self.contig: str | None = None
        self.position = -1
        self._seen: set[str] = set()
        self._clear()

    def _clear(self) -> None:
        self.num_records = 0
        self.positions: list[int] = []
        self.genotypes: list[np.ndarray] = []
        self.ancestral: list[int] = []
        self.biallelic: list[bool] = []
        self.callable: list[tuple[int, int]] = []
        self.dropped: Counter[str] = Counter()

    @property
    def full(self) -> bool:
        return (
            len(self.positions) >= self.selection.chunk_sites or len(self.callable) >= 16 * self.selection.chunk_sites
        )

    @property
    def where(self) -> str:
        return f"{self.contig}:{self.position}"

    def add(self, variant: Any) -> None:
        self.total += 1
        self.num_records += 1
        contig, position = variant.CHROM, variant.POS
        self._check_order(contig, position)
        reason = self._reason(variant, contig, position)
        snp = reason is None or reason == records.MULTI_ALLELIC
        if not snp and not (reason == records.INVARIANT and self.selection.callable_bases):
            self.dropped[str(reason)] += 1
            return
        genotypes = self._genotypes(variant)
        if self.selection.callable_bases:
            called = (genotypes[:, :-1] >= 0).any(axis=1).mean()
            if called < MINIMUM_CALLED:
                self.dropped["fewer than half of the individuals called"] += 1
                return
            self.callable.append((position - 1, max(variant.end, position)))
        if not snp:
            self.dropped[records.INVARIANT] += 1
            return
        self._add_site(variant, genotypes, biallelic=reason is None)

    def _check_order(self, contig: str, position: int) -> None:
        if contig == self.contig and position < self.position:
            raise GenomeError(
                f"{self.path}: record {self.total} at {contig}:{position} comes after {self.where}; "
                "positions must not decrease (bcftools sort puts them in order)"
            )
        if contig != self.contig:
            if contig in self._seen:
                raise GenomeError(
                    f"{self.path}: record {self.total} returns to contig {contig} after {self.where}; "
                    "a contig's records must stand together (bcftools sort puts them in order)"
                )
            self._seen.add(contig)
        self.contig, self.position = contig, position

    def _reason(self, variant: Any, contig: str, position: int) -> str | None:
        filters = self.selection.filters
        if self.selection.regions is not None and not _inside(self.selection.regions.get(contig), position - 1):
            return records.OUTSIDE
        if ANY_FILTER not in filters and not filters.issuperset(variant.FILTERS or (".",)):
            return records.FILTERED
        return records.classify(variant.REF, variant.ALT)

    def _genotypes(self, variant: Any) -> np.ndarray:
        """int16 (num_individuals, ploidy + 1): alleles, then whether phased; masked genotypes are missing."""
        try:
            genotypes = variant.genotype.array()[self.order]
        except Exception:  # cyvcf2 raises bare Exception when a record has no GT
            raise GenomeError(
                f"{self.path}: record {self.total} at {self.where} has no GT; every record needs it"
            ) from None
        for key, least in (("DP", self.selection.min_depth), ("GQ", self.selection.min_genotype_quality)):
            if least is not None:
                genotypes[self._below(variant, key, least), :-1] = -1
        return genotypes

    def _below(self, variant: Any, key: str, least: int) -> np.ndarray:
        values = variant.format(key) if key in variant.FORMAT else None
        if values is None:
            return np.ones(len(self.order), dtype=bool)
        return ~(values[self.order, 0] >= least)

    def _add_site(self, variant: Any, genotypes: np.ndarray, biallelic: bool) -> None:
        self.positions.append(self.position - 1)
        self.genotypes.append(genotypes)
        self.biallelic.append(biallelic)
        self.ancestral.append(self._ancestral(variant) if biallelic else 0)

    def _ancestral(self, variant: Any) -> int:
        if self.selection.ancestral in ("none", "REF"):
            return 0
        value = variant.INFO.get(self.selection.ancestral)
        return records.polarity(variant.REF, variant.ALT[0], None if value is None else str(value))

    def finish(self) -> Chunk:
        ploidy = max((g.shape[1] - 1 for g in self.genotypes), default=2)
        packed = np.full((len(self.genotypes), len(self.order), ploidy), records.ABSENT, dtype=np.int8)
        unphased = np.zeros(packed.shape[:2], dtype=bool)
        for row, genotypes in enumerate(self.genotypes):
            packed[row, :, : genotypes.shape[1] - 1] = genotypes[:, :-1]
            unphased[row] = genotypes[:, -1] == 0
        biallelic = np.array(self.biallelic, dtype=bool)
        packed[(packed > 1) & biallelic[:, None, None]] = -1
        heterozygous, bad = records.count_heterozygous(packed[biallelic], unphased[biallelic])
        chunk = Chunk(
            str(self.contig),
            np.array(self.positions, dtype=np.int64),
            packed,
            np.array(self.ancestral, dtype=np.int8),
            biallelic,
            normalise(np.array(self.callable, dtype=np.int64)),
            self.num_records,
            self.dropped,
            bad,
            heterozygous,
        )
        self._clear()
        return chunk


def _inside(intervals: np.ndarray | None, position: int) -> bool:
    if intervals is None:
        return False
    index = int(np.searchsorted(intervals[:, 0], position, side="right")) - 1
    return index >= 0 and position < intervals[index, 1]
