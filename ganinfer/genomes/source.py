"""What to read: where the genomes are, who is in them, and how windows are cut."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

#: Value of ``accessible`` that reads accessibility from the records of an all-sites file.
FROM_GENOTYPES: Literal["from-genotypes"] = "from-genotypes"
#: Value in ``filters`` that keeps every record whatever its FILTER says.
ANY_FILTER = "any"


class GenomeError(ValueError):
    """The genomes, or a file that describes them, break a rule; the message says which, where and what is allowed."""


@dataclass(frozen=True)
class GenomeSource:
    """Files of real genomes and how to read them.

    ``populations`` maps a population to a number of individuals or ``"all"``; empty means all of every population.
    ``regions`` says where there is data (without it: whole contigs); ``exclude`` is taken out of ``accessible``.
    ``recombination_map`` is one HapMap file or one a contig. ``ancestral`` is ``"none"``, ``"REF"`` or an INFO key.
    ``phased`` of ``None`` believes the genotypes' separators. Records whose FILTER has a value outside ``filters`` are
    dropped. Genotypes whose DP or GQ is below ``min_depth`` or ``min_genotype_quality``, or absent, become missing.
    ``contig_lengths`` in bases win over what files say. ``seed`` chooses individuals.
    """

    genotypes: tuple[Path, ...]
    samples: Path | None = None
    populations: Mapping[str, int | Literal["all"]] = field(default_factory=dict)
    regions: Path | None = None
    accessible: Path | Literal["from-genotypes"] | None = None
    exclude: tuple[Path, ...] = ()
    recombination_map: Path | Mapping[str, Path] | None = None
    ancestral: str = "none"
    phased: bool | None = None
    filters: tuple[str, ...] = ("PASS", ".")
    min_depth: int | None = None
    min_genotype_quality: int | None = None
    contig_lengths: Mapping[str, int] | None = None
    seed: int = 1

    def __post_init__(self) -> None:
        if not self.genotypes:
            raise GenomeError(
                "data.genotypes names no file; at least one VCF, BCF, VCF Zarr or tree sequence is needed"
            )
        for name, value in (("min_depth", self.min_depth), ("min_genotype_quality", self.min_genotype_quality)):
            if value is not None and value < 0:
                raise GenomeError(f"data.{name} must not be negative, got {value}")
        for population, number in self.populations.items():
            if number != "all" and (isinstance(number, (bool, str)) or number < 1):
                raise GenomeError(
                    f"data.populations.{population} must be a number of individuals from 1 up, or all; got {number!r}"
                )


@dataclass(frozen=True)
class WindowSettings:
    """How regions are cut into windows.

    ``length`` in bases; windows with a smaller share than ``min_accessible`` of accessible bases are left out.
    Windows closer together than ``block_length`` bases share blocks of at most about that length. Fewer blocks than
    ``min_blocks``, the number of folds, are an error.
    """

    length: int = 50_000
    min_accessible: float = 0.5
    block_length: int = 1_000_000
    min_blocks: int = 1

    def __post_init__(self) -> None:
        if self.length < 1:
            raise GenomeError(f"windows.length must be at least 1 base, got {self.length}")
        if not 0 <= self.min_accessible <= 1:
            raise GenomeError(f"windows.min_accessible is a share in [0, 1], got {self.min_accessible}")
        if self.block_length < self.length:
            raise GenomeError(
                f"windows.block_length {self.block_length} must be at least windows.length {self.length}: "
                "a block holds whole windows"
            )
