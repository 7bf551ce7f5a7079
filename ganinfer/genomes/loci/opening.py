"""From files of any kind to a table of SNPs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ganinfer.genomes import samples
from ganinfer.genomes.fingerprints import digest
from ganinfer.genomes.loci.alignments import AlignmentsReader
from ganinfer.genomes.loci.arrays import SnpArraysReader
from ganinfer.genomes.loci.choosing import Snps, choose, individuals, kept, nothing_left
from ganinfer.genomes.loci.from_genomes import table_of_genomes
from ganinfer.genomes.loci.snp_table import SnpTableReader
from ganinfer.genomes.loci.source import LociChoice, SnpArrays, SnpTable, TableSource
from ganinfer.genomes.samples import Individual
from ganinfer.genomes.source import GenomeError, GenomeSource
from ganinfer.genomes.table import RealTable
from ganinfer.haplotypes import Haplotypes, chromosomes


class _Reader(Protocol):
    """Files of one kind, read and checked; ``named``: individuals have names, and not only numbers."""

    @property
    def individuals(self) -> tuple[str, ...]: ...

    @property
    def ploidy(self) -> int: ...

    @property
    def named(self) -> bool: ...

    def read(self, names: Sequence[str]) -> Snps: ...


def open_table(source: TableSource, cache: Path) -> RealTable:
    """Read a table of SNPs at unlinked loci; genomes are read into, or found in, the store in ``cache``.

    Raises GenomeError for anything wrong with the input.
    """
    if isinstance(source.files, GenomeSource):
        table = table_of_genomes(source.files, _choice_of_genomes(source), source.seed, cache)
        _check_varies(table.haplotypes.genotypes, str(source.files.genotypes[0]), "see loci and data.filters")
        return table
    files = _files(source)
    reader, sheet = _reader(source)
    where = str(source.samples or files[0])
    chosen = individuals(source, sheet, reader.individuals, where, reader.ploidy)
    if source.samples is not None:
        samples.check_present(chosen.names, reader.individuals, where, files[0])
    snps = reader.read(chosen.names)
    _check_varies(snps.genotypes, str(files[0]), _why(snps))
    derived, called = (snps.genotypes == 1).sum(axis=1), (snps.genotypes >= 0).sum(axis=1)
    eligible = kept(source.choice, derived, called, snps.genotypes.shape[1])
    positions = snps.numbers if snps.positions is None else snps.positions
    taken, locus = choose(source.choice, snps.locus, positions, eligible, source.seed)
    if not len(taken):
        raise GenomeError(f"{files[0]}: {nothing_left(source.choice, len(snps.locus))}")
    told = {"files": [{"path": str(path), "digest": digest(path)} for path in files], **chosen.told, **snps.told}
    told |= _choice_told(source, snps, taken)
    carriers = chromosomes(chosen.samples)
    haplotypes = Haplotypes(np.ascontiguousarray(snps.genotypes[taken]), locus, carriers, snps.phased)
    return RealTable(chosen.samples, haplotypes, snps.phased, told, _lengths(source.choice, snps))


def _lengths(choice: LociChoice, snps: Snps) -> np.ndarray | None:
    """Bases of all loci, where these count."""
    if not choice.by_rate:
        return None
    return choice.lengths(len(snps.loci)) if snps.lengths is None else snps.lengths


def _choice_of_genomes(source: TableSource) -> LociChoice:
    if source.choice.by is None:
        raise GenomeError("loci.by is missing; genomes are taken as loci by contig or by distance")
    return source.choice


def _files(source: TableSource) -> tuple[Path, ...]:
    files = source.files
    assert not isinstance(files, GenomeSource)
    if source.choice.by is not None and not isinstance(files, SnpArrays):
        raise GenomeError(
            "loci.by is for genomes and NPZ files; in a table a column called locus tells loci, and each alignment is "
            "one"
        )
    if source.choice.by is None and isinstance(files, SnpArrays):
        raise GenomeError("loci.by is missing; NPZ files are taken as loci by contig (each file is one) or by distance")
    return (files.file,) if isinstance(files, SnpTable) else files.files


def _reader(source: TableSource) -> tuple[_Reader, Sequence[Individual] | None]:
    """The reader, and what is said of populations."""
    files = source.files
    sheet = None if source.samples is None else samples.read_sheet(source.samples)
    if isinstance(files, SnpTable):
        if files.columns and sheet is not None:
            raise GenomeError(
                "data.samples and data.table.columns both say who is of which population; give one of them"
            )
        table = SnpTableReader(files)
        _check_numbers(table, sheet, source)
        return table, table.sheet() if files.columns else sheet
    if isinstance(files, SnpArrays):
        arrays = SnpArraysReader(files)
        _check_numbers(arrays, sheet, source)
        return arrays, sheet
    assert not isinstance(files, GenomeSource)
    return AlignmentsReader(files), sheet


def _check_numbers(reader: _Reader, sheet: Sequence[Individual] | None, source: TableSource) -> None:
    """Where a sheet names individuals by their numbers, it names them all: else numbers are easily off."""
    if sheet is None or reader.named:
        return
    there = {individual.name for individual in sheet}
    expected = reader.individuals
    if there != set(expected):
        wrong = next((name for name in there if name not in expected), None)
        found = f"sample {wrong}" if wrong is not None else f"{len(there)} samples"
        raise GenomeError(
            f"{source.samples}: {found} where the data have {len(expected)} individuals without names; the sheet must "
            f"call them 1 to {len(expected)}, every one"
        )


def _check_varies(genotypes: np.ndarray, where: str, why: str) -> None:
    if not ((genotypes == 0).any(axis=1) & (genotypes == 1).any(axis=1)).any():
        raise GenomeError(f"{where}: no variable SNP in the individuals chosen; {why}")


def _why(snps: Snps) -> str:
    missing = float((snps.genotypes < 0).mean()) if snps.genotypes.size else 0.0
    none = f"of {len(snps.genotypes):,} rows none has both alleles, and {100 * missing:.3g} % of the calls are missing"
    return snps.left_out or none


def _choice_told(source: TableSource, snps: Snps, taken: np.ndarray) -> dict[str, Any]:
    choice = source.choice
    told: dict[str, Any] = {"snps_not_taken": len(snps.locus) - len(taken)}
    if choice.by is not None:
        told["loci_by"] = choice.by
    if choice.by == "distance":
        told["min_distance"] = choice.min_distance
    if choice.by == "distance" or choice.per_locus == "one":
        chosen: dict[str, list[int]] = {}
        for i in taken.tolist():
            chosen.setdefault(snps.loci[snps.locus[i]], []).append(int(snps.numbers[i]))
        told["chosen"] = chosen
    return told
