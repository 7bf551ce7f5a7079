"""What the data of an experiment are, and how they are cut: genomes or a simulation study, windows or loci."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, ValidationInfo, model_validator

from ganinfer.experiment.sections import (
    Count,
    DataSection,
    ExistingFile,
    ExistingFiles,
    Populations,
    Section,
    Seed,
    Share,
    as_list,
    existing,
)
from ganinfer.experiment.tables import AlignmentData, ArrayData, TableData

#: Bases of a window at most: one of a whole chromosome would be simulated for hours, and tells no more than many do.
MAX_WINDOW = 100_000_000


def _map_files(value: Any, info: ValidationInfo) -> Any:
    if isinstance(value, dict):
        return {contig: existing(path, info) for contig, path in value.items()}
    return None if value is None else existing(value, info)


def _accessible(value: Any, info: ValidationInfo) -> Any:
    return value if value in (None, "from-genotypes") else existing(value, info)


class RealData(DataSection):
    """Genomes in files."""

    genotypes: ExistingFiles = Field(min_length=1, description="VCF, BCF, VCF Zarr, .trees or .tsz; one or many")
    samples: ExistingFile | None = Field(None, description="sheet with columns sample, population[, time]")
    populations: Populations = Field(default_factory=dict)
    regions: ExistingFile | None = None
    accessible: Annotated[Path | Literal["from-genotypes"] | None, BeforeValidator(_accessible)] = None
    exclude: ExistingFiles = ()
    recombination_map: Annotated[dict[str, Path] | Path | None, BeforeValidator(_map_files)] = None
    filters: Annotated[tuple[str, ...], BeforeValidator(as_list)] = Field(
        ("PASS", "."), description="records with any other FILTER value are dropped; any: none is"
    )
    min_depth: Annotated[int, Field(ge=0)] | None = None
    min_genotype_quality: Annotated[int, Field(ge=0)] | None = None
    contig_lengths: dict[str, Count] | None = None
    seed: Seed = Field(1, description="chooses the individuals where fewer than all are used")


class SampleGroup(Section):
    """Individuals of one population with one ploidy, sampled ``time`` generations ago."""

    individuals: Count
    ploidy: Annotated[int, Field(ge=1, le=2)] = 2
    time: Annotated[float, Field(ge=0)] = 0.0


def _sample_groups(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: {"individuals": n} if isinstance(n, int) else n for name, n in value.items()}


class Study(Section):
    """The truth of a simulation study: independent ``windows``, linked ones on ``contigs``, unlinked ``snps``, or
    whole ``loci`` on which mutations fall at a rate.
    """

    scenario: str
    truth: dict[str, float]
    samples: Annotated[dict[str, SampleGroup], BeforeValidator(_sample_groups)] = Field(min_length=1)
    windows: Count | None = None
    contigs: Count | None = None
    contig_length: Count | None = None
    snps: Count | None = None
    loci: Count | None = None
    missingness: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="share of genotypes made missing")
    seed: Seed = 1

    @model_validator(mode="after")
    def _windows_or_contigs(self) -> Study:
        linked = self.contigs is not None or self.contig_length is not None
        if linked + sum(number is not None for number in (self.windows, self.snps, self.loci)) != 1:
            raise ValueError(
                "give either windows (independent ones), or contigs and contig_length (linked ones), or snps (one at "
                "each of so many unlinked loci), or loci (with genealogies: by-rate)"
            )
        if linked and (self.contigs is None or self.contig_length is None):
            raise ValueError("contigs and contig_length go together")
        return self


class SimulatedData(DataSection):
    """A simulation study in place of genomes; ancestral alleles are known unless ``ancestral`` is none."""

    simulate: Study
    ancestral: str = "REF"


#: The key by which each kind of data is told; genomes have none of them.
DATA_KEYS: dict[str, type[DataSection]] = {
    "simulate": SimulatedData,
    "table": TableData,
    "alignments": AlignmentData,
    "npz": ArrayData,
}


def data_kind(value: Any) -> str:
    for key, kind in DATA_KEYS.items():
        if key in value if isinstance(value, dict) else isinstance(value, kind):
            return f"={key}"
    return "=genotypes"


Data = Annotated[
    Annotated[RealData, Tag("=genotypes")]
    | Annotated[SimulatedData, Tag("=simulate")]
    | Annotated[TableData, Tag("=table")]
    | Annotated[AlignmentData, Tag("=alignments")]
    | Annotated[ArrayData, Tag("=npz")],
    Discriminator(data_kind),
]


class Windows(Section):
    """How genomes are cut. ``block_length`` null: 1,000,000, or ``length`` if longer; ``maximum`` null: all windows."""

    length: Annotated[int, Field(ge=100, le=MAX_WINDOW)] = 50_000
    min_accessible: Share = 0.5
    maximum: Count | None = None
    block_length: Count | None = None


class Loci(Section):
    """Unlinked loci instead of windows, and which of their SNPs are kept, on both sides.

    ``genealogies``: ``by-length`` where loci were sequenced and some vary, ``alike`` where each has a number of
    segregating sites fixed beforehand, as ``ms -s`` simulates them, ``by-rate`` where all loci that were sequenced
    count with their lengths, and mutations fall at the scenario's rate. Where files do not tell them, there are
    ``number`` loci of ``length`` bases. ``by``, of genomes and NPZ files: each ``contig``
    is a locus, or single SNPs at a ``distance`` are, ``min_distance`` null: 50,000. ``per_locus``: one of a locus's
    SNPs is drawn, or all count; null: one where loci are told by distance, else all.
    """

    genealogies: Literal["by-length", "alike", "by-rate"] = "by-length"
    min_minor_frequency: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    min_call_rate: Share = Field(0.0, description="SNPs called in a smaller share of the chromosomes are left out")
    by: Literal["contig", "distance"] | None = Field(None, description="what is a locus of genomes and of NPZ files")
    min_distance: Count | None = Field(None, description="bases between SNPs where loci are told by distance")
    per_locus: Literal["all", "one"] | None = None
    length: Annotated[int, Field(ge=1, le=MAX_WINDOW)] | None = Field(None, description="bases of a locus, by rate")
    number: Count | None = Field(None, description="loci that were sequenced, those without SNPs too, by rate")

    @model_validator(mode="after")
    def _by_rate(self) -> Loci:
        by_rate = self.genealogies == "by-rate"
        if not by_rate and (self.length is not None or self.number is not None):
            raise ValueError("length and number are for genealogies: by-rate; other loci are given to vary")
        if by_rate and (self.by == "distance" or self.per_locus == "one"):
            raise ValueError("genealogies: by-rate is of whole loci: by: distance and per_locus: one take single SNPs")
        return self

    @model_validator(mode="after")
    def _by_distance(self) -> Loci:
        if self.min_distance is not None and self.by != "distance":
            raise ValueError("min_distance is for by: distance")
        if self.per_locus == "all" and self.by == "distance":
            raise ValueError("per_locus: all is not for by: distance, where each locus is a single SNP")
        return self
