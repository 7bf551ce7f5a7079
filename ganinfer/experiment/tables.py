"""The section data of an experiment on SNPs at unlinked loci: text tables, alignments, arrays."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from ganinfer.experiment.sections import (
    Count,
    DataSection,
    ExistingFile,
    ExistingFiles,
    Populations,
    Section,
    Seed,
    Words,
)

if TYPE_CHECKING:
    from ganinfer.genomes import Alignments, SnpArrays, SnpTable


class TableFile(Section):
    """A text file whose rows or columns are SNPs; see :class:`ganinfer.genomes.SnpTable`."""

    file: ExistingFile
    delimiter: Literal["tab", "comma", "semicolon", "space", "whitespace"]
    values: Literal["haplotypes", "genotypes"] = Field(description="what a column is: a chromosome, or a diploid")
    coding: Words = Field(description="ancestral, derived, missing; or 0, 1, 2, missing: what the file writes for each")
    rows: Literal["snps", "individuals"] = Field("snps", description="individuals: columns are SNPs, all is turned")
    header: bool = Field(False, description="whether the first line names the columns")
    leading: tuple[str, ...] = Field((), description="names of the columns in front; locus tells the locus of a SNP")
    ploidy: Annotated[int, Field(ge=1, le=2)] = Field(1, description="columns of haplotypes that are one individual's")
    columns: Words = Field(default_factory=dict, description="columns of each population, such as {A: 1-160}")

    @model_validator(mode="after")
    def _sound(self) -> TableFile:
        self.source()
        return self

    def source(self) -> SnpTable:
        from ganinfer.genomes import SnpTable

        return SnpTable(**dict(self))


class AlignmentFiles(Section):
    """FASTA or NEXUS files, each a locus; see :class:`ganinfer.genomes.Alignments`."""

    files: ExistingFiles = Field(min_length=1)
    values: Literal["haplotypes", "genotypes"] = Field(
        "haplotypes", description="what a sequence is: a chromosome, or a diploid with IUPAC codes"
    )
    suffixes: tuple[str, ...] = Field((), description="ends of the names of an individual's two haplotypes")
    incomplete: Literal["drop", "missing"] = Field("drop", description="columns with gaps or unknown bases")
    outgroup: str | None = Field(None, description="the sequence with the ancestral bases")

    @model_validator(mode="after")
    def _sound(self) -> AlignmentFiles:
        self.source()
        return self

    def source(self) -> Alignments:
        from ganinfer.genomes import Alignments

        return Alignments(**dict(self))


class ArrayFiles(Section):
    """NPZ files with SNP and POS, as dnadna writes them; see :class:`ganinfer.genomes.SnpArrays`."""

    files: ExistingFiles = Field(min_length=1)
    ploidy: Annotated[int, Field(ge=1, le=2)] = Field(1, description="rows of SNP that are one individual's")
    positions: Literal["absolute", "distances"] = "absolute"
    length: Count | None = Field(None, description="bases, where positions are shares of it")
    parameters: ExistingFile | None = Field(None, description="CSV with a row a scenario, for the record")

    @model_validator(mode="after")
    def _sound(self) -> ArrayFiles:
        self.source()
        return self

    def source(self) -> SnpArrays:
        from ganinfer.genomes import SnpArrays

        return SnpArrays(**dict(self))


class TableSection(DataSection):
    """What all tables of SNPs at unlinked loci have in common: who is in them."""

    samples: ExistingFile | None = Field(None, description="sheet with columns sample, population[, time]")
    populations: Populations = Field(default_factory=dict)
    seed: Seed = Field(1, description="chooses individuals, and SNPs of a locus where not all are used")
    ancestral: Literal["none", "known"] = Field("none", description="known: by the coding, the outgroup or the arrays")

    @abstractmethod
    def files(self) -> SnpTable | Alignments | SnpArrays:
        """What the section says of files, in the words of :mod:`ganinfer.genomes`."""


class TableData(TableSection):
    """A text file of SNPs."""

    table: TableFile

    def files(self) -> SnpTable:
        return self.table.source()


class AlignmentData(TableSection):
    """Alignments of a few loci."""

    alignments: AlignmentFiles

    @model_validator(mode="after")
    def _outgroup(self) -> AlignmentData:
        if (self.ancestral == "known") != (self.alignments.outgroup is not None):
            raise ValueError("ancestral: known and alignments.outgroup go together")
        return self

    def files(self) -> Alignments:
        return self.alignments.source()


class ArrayData(TableSection):
    """Arrays of SNPs."""

    npz: ArrayFiles

    def files(self) -> SnpArrays:
        return self.npz.source()
