"""What to read a table of SNPs from: files of four kinds, who is in them, and which SNPs of a locus are taken.

Columns and rows are counted from 1, as users count them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from ganinfer.genomes.source import GenomeError, GenomeSource
from ganinfer.interfaces import SiteRule

#: What a delimiter is called; ``whitespace`` is any run of blanks.
DELIMITERS = {"tab": "\t", "comma": ",", "semicolon": ";", "space": " ", "whitespace": None}
#: The name among ``leading`` columns that tells the locus of each SNP.
LOCUS = "locus"
MISSING = "missing"
#: Keys of a coding in the order of what they stand for: no derived allele, one, two.
CODES = {"haplotypes": ("ancestral", "derived"), "genotypes": ("0", "1", "2")}
_EXAMPLES = {
    "haplotypes": "{ancestral: 0, derived: 1, missing: NA}",
    "genotypes": "{0: 0, 1: 1, 2: 2, missing: NA}",
}
_RANGE = re.compile(r"^\s*([0-9]{1,9})\s*(?:-\s*([0-9]{1,9})\s*)?$")


@dataclass(frozen=True)
class SnpTable:
    """A text file whose rows are SNPs, or ``individuals``: then it is turned before all that is said here of it.

    ``values``: a column is a chromosome (``haplotypes``), or a diploid individual (``genotypes``). ``coding`` maps
    ``ancestral``, ``derived`` and perhaps ``missing``, or ``0``, ``1``, ``2`` derived alleles and ``missing``, to the
    words that the file has for them. ``leading`` names the columns in front of the chromosomes; that called ``locus``
    tells the locus of each SNP, else each is its own. ``ploidy`` of haplotypes: 2 where an individual has two columns
    side by side. ``columns`` says who is of which population, counted after the leading ones: ``{A: ("1-10", "15")}``.
    """

    file: Path
    delimiter: str
    values: Literal["haplotypes", "genotypes"]
    coding: Mapping[str, Sequence[str]]
    header: bool = False
    leading: tuple[str, ...] = ()
    ploidy: int = 1
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    rows: Literal["snps", "individuals"] = "snps"

    def __post_init__(self) -> None:
        if self.delimiter not in DELIMITERS:
            raise GenomeError(f"delimiter must be one of {', '.join(DELIMITERS)}, not {self.delimiter!r}")
        if self.values not in CODES:
            raise GenomeError(f"values must be haplotypes or genotypes, not {self.values!r}")
        if self.rows not in ("snps", "individuals"):
            raise GenomeError(f"rows must be snps or individuals, not {self.rows!r}")
        if self.ploidy not in (1, 2):
            raise GenomeError(f"ploidy must be 1 or 2, not {self.ploidy}")
        if self.values == "genotypes" and self.ploidy != 1:
            raise GenomeError("ploidy is for haplotypes: a column of genotypes is a diploid individual")
        if len(set(self.leading)) < len(self.leading):
            raise GenomeError(f"leading names a column twice: {', '.join(self.leading)}")
        _check_coding(self.values, self.coding, self.delimiter)
        _populations(self.columns)

    @property
    def alleles(self) -> dict[str, int]:
        """From the file's words to numbers of derived alleles, -1 missing."""
        keys = CODES[self.values]
        return {w: keys.index(k) if k != MISSING else -1 for k, words in self.coding.items() for w in words}

    @property
    def population_of(self) -> dict[int, str]:
        """Population of each column that ``columns`` names, by number."""
        return _populations(self.columns)


def _check_coding(values: str, coding: Mapping[str, Sequence[str]], delimiter: str) -> None:
    keys, told = CODES[values], f"for {values} such as {_EXAMPLES[values]}"
    unknown = [key for key in coding if key not in (*keys, MISSING)]
    absent = [key for key in keys if key not in coding]
    if unknown or absent:
        wrong = f"unknown key {unknown[0]!r}" if unknown else f"{absent[0]} is missing"
        raise GenomeError(f"coding: {wrong}; it must say what the file writes, {told}")
    meaning: dict[str, str] = {}
    for key, words in coding.items():
        if not words and key != MISSING:
            raise GenomeError(f"coding.{key} is empty; it must say what the file writes, {told}")
        for word in words:
            if word in meaning:
                raise GenomeError(f"coding: {word!r} stands for both {meaning[word]} and {key}; it must mean one thing")
            if word != word.strip() or '"' in word or (DELIMITERS[delimiter] or " ") in word or "\n" in word:
                raise GenomeError(f"coding.{key}: {word!r} may hold no {delimiter}, quotes or blanks at its ends")
            if word == "" and delimiter in ("space", "whitespace"):
                raise GenomeError(f"coding.{key}: nothing at all cannot be told where the delimiter is {delimiter}")
            meaning[word] = key


def _populations(columns: Mapping[str, Sequence[str]]) -> dict[int, str]:
    found: dict[int, str] = {}
    for population, texts in columns.items():
        for text in texts:
            match = _RANGE.match(text)
            first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
            if not 1 <= first <= last:
                raise GenomeError(f"columns.{population}: must be columns from 1 up such as 1-160 or 7, not {text!r}")
            if last - first > 10_000_000:
                raise GenomeError(f"columns.{population}: {text} are more columns than any table has")
            for column in range(first, last + 1):
                if column in found:
                    raise GenomeError(
                        f"columns: column {column} is of {found[column]} and of {population}; each column belongs to "
                        "one population"
                    )
                found[column] = population
    return found


@dataclass(frozen=True)
class Alignments:
    """FASTA or NEXUS files, each the alignment of one locus with sequences named by chromosome or individual.

    ``values``: a sequence is a chromosome (``haplotypes``), or a diploid individual (``genotypes``) whose heterozygous
    sites are IUPAC codes. ``suffixes``: ends of the names of an individual's two haplotypes. ``incomplete``: columns
    with a gap or an unknown base are left out (``drop``), or these calls are ``missing``. ``outgroup``: the sequence
    with the ancestral alleles.
    """

    files: tuple[Path, ...]
    values: Literal["haplotypes", "genotypes"] = "haplotypes"
    suffixes: tuple[str, ...] = ()
    incomplete: Literal["drop", "missing"] = "drop"
    outgroup: str | None = None

    def __post_init__(self) -> None:
        _check_files(self.files, "an alignment")
        if self.suffixes and self.values == "genotypes":
            raise GenomeError("suffixes are for haplotypes: a sequence of genotypes is a diploid individual")
        alike = len(self.suffixes) == 2 and (
            self.suffixes[0].endswith(self.suffixes[1]) or self.suffixes[1].endswith(self.suffixes[0])
        )
        if len(self.suffixes) not in (0, 2) or alike:
            raise GenomeError(
                "suffixes must be the two ends of the names of an individual's sequences, such as [_1, _2], "
                f"neither the end of the other; not [{', '.join(self.suffixes)}]"
            )


@dataclass(frozen=True)
class SnpArrays:
    """NPZ files as dnadna writes them: ``SNP`` (chromosomes, SNPs) of 0 and 1, and ``POS`` (SNPs,).

    ``ploidy`` 2 where an individual's chromosomes are two rows one after the other; individuals are called 1, 2 and so
    on. ``positions``: as they stand in ``POS`` (``absolute``), or each the distance from the one before
    (``distances``); ``length`` in bases where they are shares of it. ``parameters``: a CSV with a row a scenario, which
    goes into the record.
    """

    files: tuple[Path, ...]
    ploidy: int = 1
    positions: Literal["absolute", "distances"] = "absolute"
    length: int | None = None
    parameters: Path | None = None

    def __post_init__(self) -> None:
        _check_files(self.files, "an NPZ file")
        if self.ploidy not in (1, 2):
            raise GenomeError(f"ploidy must be 1 or 2, not {self.ploidy}")


def _check_files(files: Sequence[Path], what: str) -> None:
    if not files:
        raise GenomeError(f"files names no file; at least {what} is needed")
    if len({path.resolve() for path in files}) < len(files):
        twice = next(path for i, path in enumerate(files) if path.resolve() in {p.resolve() for p in files[:i]})
        raise GenomeError(f"{twice}: the file is named twice; each file is a locus of its own")


@dataclass(frozen=True)
class LociChoice:
    """What a locus is where files have contigs, and which of a locus's SNPs are taken.

    ``by``: ``contig``, each contig (or NPZ file) is a locus; ``distance``, single SNPs at least ``min_distance`` bases
    apart. ``per_locus``: ``all`` SNPs of a locus, or ``one``, drawn among those that ``rule`` and ``min_call_rate``
    keep. ``by_rate``: lengths of loci count, and loci without SNPs, too; where files do not tell, there are ``number``
    of them, each of ``length`` bases.
    """

    by: Literal["contig", "distance"] | None = None
    min_distance: int = 50_000
    per_locus: Literal["all", "one"] = "all"
    rule: SiteRule = field(default_factory=SiteRule)
    min_call_rate: float = 0.0
    by_rate: bool = False
    length: int | None = None
    number: int | None = None

    def __post_init__(self) -> None:
        if self.min_distance < 1:
            raise GenomeError(f"loci.min_distance must be at least 1 base, got {self.min_distance}")
        if self.by_rate and (self.by == "distance" or self.per_locus == "one"):
            raise GenomeError("genealogies by rate are of whole loci: by distance and per_locus: one take single SNPs")
        if (self.length is None) != (self.number is None):
            raise GenomeError("loci.length and loci.number go together: the bases of a locus, and how many there are")

    def lengths(self, num_named: int) -> np.ndarray:
        """Bases of each of ``number`` loci, of which files name so many."""
        if self.length is None or self.number is None:
            raise GenomeError(
                "genealogies by rate need all loci that were sequenced, those without SNPs too: give loci.length, in "
                "bases, and loci.number (or, for genomes, data.regions with every locus)"
            )
        if self.number < num_named:
            raise GenomeError(f"loci.number is {self.number:,}, but the data have {num_named:,} loci")
        return np.full(self.number, self.length, dtype=np.int64)


@dataclass(frozen=True)
class TableSource:
    """Where a table of SNPs comes from.

    ``samples`` and ``populations`` as in :class:`~ganinfer.genomes.source.GenomeSource`, whose own count where genomes
    are read. ``seed`` chooses individuals, and SNPs of a locus.
    """

    files: SnpTable | Alignments | SnpArrays | GenomeSource
    samples: Path | None = None
    populations: Mapping[str, int | Literal["all"]] = field(default_factory=dict)
    choice: LociChoice = field(default_factory=LociChoice)
    seed: int = 1
