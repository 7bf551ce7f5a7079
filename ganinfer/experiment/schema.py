"""The sections of an experiment as validated objects. Unknown keys are errors; only data and scenarios are required.

Sizes of samples are individuals, lengths are base pairs, times are generations before the present.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PrivateAttr,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

from ganinfer.experiment.document import Document
from ganinfer.experiment.sections import (
    Count,
    DataSection,
    ExistingFile,
    ExistingFiles,
    Name,
    OpenSection,
    Populations,
    Section,
    Seed,
    Share,
    as_list,
    existing,
)
from ganinfer.experiment.tables import AlignmentData, ArrayData, TableData, TableSection
from ganinfer.interfaces import LOCI_BY_RATE

SCHEMA_VERSION = 1
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


def _data_kind(value: Any) -> str:
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
    Discriminator(_data_kind),
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


def _example(key: str) -> str:
    """How the section loci may be written for a kind of data."""
    return "loci: {by: distance, min_distance: 50_000}" if key in ("genotypes", "npz") else "loci: {} for its defaults"


class Comparison(Section):
    """How scenarios are compared: from ``simulations`` of each, and what the answer is tested on.

    ``tests`` further simulations of each scenario are never trained on or calibrated with; ``folds`` networks share
    the work, each calibrated on what the others were trained on. Of windows, simulations are genomes as large as the
    real one. ``windows`` fresh ones of each scenario at its solution judge (null: twelve for each real one, within
    4,000 and 60,000). Genomes are simulated whole as far as ``genome_windows`` of each scenario make a hundred or
    more, else drawn from those that judge.
    """

    simulations: Annotated[int, Field(ge=20)] = 1_000
    windows: Annotated[int, Field(ge=320)] | None = None
    genome_windows: Annotated[int, Field(ge=0)] = 20_000
    tests: Annotated[int, Field(ge=0)] = 200
    folds: Annotated[int, Field(ge=2, le=20)] = 5
    epochs: Count | None = None
    batch: Count | None = None
    learning_rate: Annotated[float, Field(gt=0, le=1)] | None = None
    rivals: tuple[Literal["joint-sfs"], ...] = ("joint-sfs",)


class Adequacy(Section):
    """How a fitted model is judged: from ``windows`` fresh ones at the solution, and ``data_sets`` made of them.

    ``windows`` null: eight for each real one, within 8,000 and 24,000, and up to 120 real ones as many as the data sets
    ask for; 0 leaves the verdict out.
    """

    windows: Annotated[int, Field(ge=0)] | None = None
    data_sets: Annotated[int, Field(ge=20)] = 1_000


def _none_or_ten(value: int) -> int:
    if 0 < value < 10:
        raise ValueError("take at least 10 bootstrap data sets, or 0 for no second opinion")
    return value


class SecondOpinion(Section):
    """What another program says of the same windows: ``bootstraps`` data sets of both, by which they are compared.

    0 leaves it out. ``minutes``: a fit that would take longer is not begun.
    """

    bootstraps: Annotated[int, Field(ge=0), AfterValidator(_none_or_ten)] = 20
    minutes: Annotated[float, Field(gt=0)] = 10.0


class CodeFile(Section):
    """A class in a Python file beside the experiment; the text goes with the run."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    file: str
    class_name: str = Field(alias="class")
    text: str | None = None
    sha256: str | None = None


class Scenario(OpenSection):
    """A simulator; every other key is one of its options. ``weight``: its prior probability, up to a factor."""

    simulator: str | CodeFile = "demes"
    weight: Annotated[float, Field(gt=0)] = 1.0

    @field_validator("simulator", mode="before")
    @classmethod
    def _name_or_file(cls, value: Any) -> Any:
        if isinstance(value, str) and value:
            return value
        if isinstance(value, CodeFile):
            return value
        if isinstance(value, dict) and {"file", "class"} <= set(value):
            return CodeFile.model_validate(value)
        raise ValueError(f"must be the name of a simulator, or {{file: my.py, class: MySimulator}}, not {value!r}")


class Network(OpenSection):
    """The network; ``encodings`` null: what it asks for."""

    name: str = "exchangeable"
    encodings: tuple[str, ...] | None = None


class GeneratorChoice(OpenSection):
    """The rule that moves the proposals; every other key is one of its options."""

    name: str = "matching"


class Statistics(Section):
    """``classical`` false: match on the embedding alone."""

    classical: bool = True


class BudgetSection(Section):
    """What a run may spend."""

    simulated_windows: Count = 60_000
    rounds: Count = 8
    minutes: Annotated[float, Field(gt=0)] | None = None


class Training(Section):
    """The network's training, in the words of ``ganinfer.training.TrainingSettings``; null: its own default."""

    windows: Count | None = Field(default=None, description="simulated windows that train a network in one round")
    epochs: Count | None = None
    batch: Count | None = Field(default=None, description="groups of windows a step")
    group: Count | None = Field(
        default=None, description="windows of one proposal whose mean embedding the regressor sees"
    )
    real_share: Annotated[float, Field(gt=0)] | None = None
    learning_rate: Annotated[float, Field(gt=0, le=1)] | None = None
    critic_weight: Annotated[float, Field(ge=0)] | None = None
    regressor_weight: Annotated[float, Field(ge=0)] | None = None
    folds: Annotated[int, Field(ge=2, le=20)] | None = None


class Execution(Section):
    """Where simulations run. ``workers`` null: one a core; ``threads`` are TensorFlow's, ``timeout`` in seconds."""

    executor: Literal["ray", "process", "serial"] = "ray"
    workers: Count | None = None
    threads: Count = 2
    address: str | None = None
    timeout: Annotated[float, Field(gt=0)] = 600.0


class Tracking(Section):
    """``uri`` null: SQLite in the folder of the runs."""

    uri: str | None = None
    experiment: str = "ganinfer"


class Experiment(Section):
    """One YAML file, validated."""

    schema_version: Literal[1] = 1
    name: Name = "experiment"
    data: Data
    windows: Windows = Windows()
    loci: Loci | None = None
    scenarios: dict[Name, Scenario] = Field(min_length=1)
    discriminator: Network = Network()
    statistics: Statistics = Statistics()
    comparison: Comparison = Comparison()
    adequacy: Adequacy = Adequacy()
    second_opinion: SecondOpinion = SecondOpinion()
    generator: GeneratorChoice = GeneratorChoice()
    budget: BudgetSection = BudgetSection()
    training: Training = Training()
    execution: Execution = Execution()
    tracking: Tracking = Tracking()
    seed: Seed = 1
    level: Annotated[float, Field(gt=0, lt=1)] = 0.9

    _document: Document = PrivateAttr(default_factory=lambda: Document("experiment", ""))
    _path: Path = PrivateAttr(default=Path("experiment.yaml"))

    @model_validator(mode="after")
    def _windows_or_loci(self) -> Experiment:
        if self.loci is not None and "windows" in self.model_fields_set:
            raise ValueError("windows and loci exclude each other: leave one of these sections out")
        if isinstance(self.data, SimulatedData):
            self._check_study(self.data.simulate)
        self._check_loci()
        if self.loci is not None and self.loci.genealogies == "by-rate":
            self._check_lengths(self.loci)
        return self

    def _check_study(self, study: Study) -> None:
        unlinked = study.snps is not None or study.loci is not None
        if unlinked != (self.loci is not None):
            raise ValueError("data.simulate.snps and the section loci go together (loci: {} for its defaults)")
        if self.loci is not None and (study.loci is not None) != (self.loci.genealogies == "by-rate"):
            raise ValueError("data.simulate.loci and loci.genealogies: by-rate go together, as other loci have snps")

    def _check_lengths(self, loci: Loci) -> None:
        """What says how long loci are, and how many there are, is said once."""
        key = _data_kind(self.data).removeprefix("=")
        given = (loci.length is not None, loci.number is not None)
        regions = isinstance(self.data, RealData) and self.data.regions is not None
        if key == "alignments" and any(given):
            raise ValueError("loci.length and loci.number are not for data.alignments, which tell them")
        if key == "simulate" and given != (True, False):
            raise ValueError("a study by rate has loci.length, in bases; how many loci, data.simulate.loci says")
        if key in ("table", "npz", "genotypes") and given != (True, True) and (any(given) or not regions):
            raise ValueError(
                "genealogies: by-rate needs all loci that were sequenced, those without SNPs too: give loci.length, in "
                "bases, and loci.number" + (", or data.regions with every locus" if key == "genotypes" else "")
            )

    def _check_loci(self) -> None:
        key = _data_kind(self.data).removeprefix("=")
        if isinstance(self.data, TableSection) and self.loci is None:
            raise ValueError(f"data.{key} is a table of SNPs at unlinked loci: add the section loci ({_example(key)})")
        if self.loci is None:
            return
        needed = key in ("genotypes", "npz")
        if needed and self.loci.by is None:
            raise ValueError(
                f"loci.by is missing: say what a locus of data.{key} is, contig or distance ({_example(key)})"
            )
        if not needed and self.loci.by is not None:
            raise ValueError(f"loci.by is for data.genotypes and data.npz, not for data.{key}, where loci are known")
        if isinstance(self.data, RealData) and self.data.recombination_map is not None:
            raise ValueError("data.recombination_map is of no use with loci, which are unlinked: leave it out")

    @property
    def kind(self) -> str:
        """The kind of design: ``windows`` or ``loci``."""
        return "windows" if self.loci is None else "loci"

    @property
    def wanted_kind(self) -> str:
        """What a simulator has to produce: the kind of design, or ``loci-by-rate``."""
        return LOCI_BY_RATE if self.loci is not None and self.loci.genealogies == "by-rate" else self.kind

    @property
    def path(self) -> Path:
        """The file, absolute."""
        return self._path

    @property
    def folder(self) -> Path:
        """The folder of the file, to which its paths are relative."""
        return self._path.parent

    @property
    def text(self) -> str:
        """The file as written."""
        return self._document.text

    @property
    def overrides(self) -> tuple[str, ...]:
        """The options of ``--set`` that make this experiment of its file, a replaced seed included."""
        given = tuple(self._document.overridden.values())
        written = self._document.data or {}
        same = written.get("seed", type(self).model_fields["seed"].default) == self.seed
        return given if same else (*given, f"seed={self.seed}")

    def place(self, *location: str) -> str:
        """Where a value was written, for messages."""
        return self._document.problem(location, "").removesuffix(": ")

    def resolved(self) -> dict[str, Any]:
        """Plain data with paths, option files and every default of this format filled in; ``load`` reads it.

        Defaults of the trainer and of plugins are theirs: a run fills them in, too.
        """
        return self.model_dump(mode="json", by_alias=True, exclude={"windows"} if self.loci else None)
