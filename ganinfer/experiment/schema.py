"""The sections of an experiment as validated objects. Unknown keys are errors; only data and scenarios are required.

Sizes of samples are individuals, lengths are base pairs, times are generations before the present.
"""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
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

SCHEMA_VERSION = 1
#: What a name used for files and plots may look like.
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"

#: Bases of a window at most: one of a whole chromosome would be simulated for hours, and tells no more than many do.
MAX_WINDOW = 100_000_000

Count = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Name = Annotated[str, Field(pattern=NAME_PATTERN)]


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list | tuple) or value is None else [value]


def _existing(value: Any, info: ValidationInfo) -> Path:
    """A path written relative to the experiment's file, made absolute; it must exist."""
    if not isinstance(value, str | Path) or not str(value):
        raise ValueError(f"must be the path of a file, not {value!r}")
    path = Path((info.context or {}).get("folder", "")) / os.path.expanduser(value)
    if not os.path.exists(path):  # unlike Path.exists, false for names that no file system could hold
        raise ValueError(f"no such file: {value} (looked for {path}; paths are relative to the experiment's file)")
    return path


def _existing_files(value: Any, info: ValidationInfo) -> list[Path]:
    """Like :func:`_existing` for one path or many; ``*`` and ``?`` stand for any characters, in sorted order."""
    paths: list[Path] = []
    for item in _as_list(value) or []:
        if isinstance(item, str) and any(c in item for c in "*?["):
            found = sorted(glob.glob(item, root_dir=(info.context or {}).get("folder")))
            if not found:
                raise ValueError(f"no file matches {item}")
            paths += [_existing(name, info) for name in found]
        else:
            paths.append(_existing(item, info))
    return paths


def _individuals(value: Any) -> Any:
    """Individuals of each population: ``all``, or a mapping to ``all`` or a number above 0."""
    if value is None or value == "all":
        return {}
    if not isinstance(value, dict) or not value:
        raise ValueError(f"must be all, or individuals of each population such as {{YRI: 50, CEU: all}}, not {value!r}")
    for population, number in value.items():
        whole = isinstance(number, int) and not isinstance(number, bool) and number > 0
        if number != "all" and not whole:
            raise ValueError(f"{population}: must be a number of individuals above 0 or all, not {number!r}")
    return value


def _map_files(value: Any, info: ValidationInfo) -> Any:
    if isinstance(value, dict):
        return {contig: _existing(path, info) for contig, path in value.items()}
    return None if value is None else _existing(value, info)


def _accessible(value: Any, info: ValidationInfo) -> Any:
    return value if value in (None, "from-genotypes") else _existing(value, info)


ExistingFile = Annotated[Path, BeforeValidator(_existing)]
ExistingFiles = Annotated[tuple[Path, ...], BeforeValidator(_existing_files)]


class Section(BaseModel):
    """A mapping of the experiment; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)


class OpenSection(Section):
    """A mapping whose unknown keys are options of the plugin that it names."""

    model_config = ConfigDict(extra="allow", frozen=True, coerce_numbers_to_str=True)

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class DataSection(Section):
    """What real and simulated data have in common: how both sides are looked at."""

    ancestral: str = Field("none", description="INFO key of the ancestral allele, REF, or none: folded")
    phased: bool | None = Field(None, description="whether haplotypes are used; null: what the genotypes say")
    singletons: Literal["keep", "drop"] = "keep"


class RealData(DataSection):
    """Genomes in files."""

    genotypes: ExistingFiles = Field(min_length=1, description="VCF, BCF, VCF Zarr, .trees or .tsz; one or many")
    samples: ExistingFile | None = Field(None, description="sheet with columns sample, population[, time]")
    populations: Annotated[dict[str, int | Literal["all"]], BeforeValidator(_individuals)] = Field(default_factory=dict)
    regions: ExistingFile | None = None
    accessible: Annotated[Path | Literal["from-genotypes"] | None, BeforeValidator(_accessible)] = None
    exclude: ExistingFiles = ()
    recombination_map: Annotated[dict[str, Path] | Path | None, BeforeValidator(_map_files)] = None
    filters: Annotated[tuple[str, ...], BeforeValidator(_as_list)] = Field(
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
    """The truth of a simulation study: independent ``windows``, linked ones on ``contigs``, or unlinked ``snps``."""

    scenario: str
    truth: dict[str, float]
    samples: Annotated[dict[str, SampleGroup], BeforeValidator(_sample_groups)] = Field(min_length=1)
    windows: Count | None = None
    contigs: Count | None = None
    contig_length: Count | None = None
    snps: Count | None = None
    missingness: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="share of genotypes made missing")
    seed: Seed = 1

    @model_validator(mode="after")
    def _windows_or_contigs(self) -> Study:
        linked = self.contigs is not None or self.contig_length is not None
        if linked + (self.windows is not None) + (self.snps is not None) != 1:
            raise ValueError(
                "give either windows (independent ones), or contigs and contig_length (linked ones), or snps (one at "
                "each of so many unlinked loci)"
            )
        if linked and (self.contigs is None or self.contig_length is None):
            raise ValueError("contigs and contig_length go together")
        return self


class SimulatedData(DataSection):
    """A simulation study in place of genomes; ancestral alleles are known unless ``ancestral`` is none."""

    simulate: Study
    ancestral: str = "REF"


def _data_kind(value: Any) -> str:
    simulated = "simulate" in value if isinstance(value, dict) else isinstance(value, SimulatedData)
    return "=simulated" if simulated else "=real"


Data = Annotated[
    Annotated[RealData, Tag("=real")] | Annotated[SimulatedData, Tag("=simulated")], Discriminator(_data_kind)
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
    segregating sites fixed beforehand, as ``ms -s`` simulates them.
    """

    genealogies: Literal["by-length", "alike"] = "by-length"
    min_minor_frequency: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    min_call_rate: Share = Field(0.0, description="SNPs called in a smaller share of the chromosomes are left out")


class Comparison(Section):
    """How scenarios are compared: from ``simulations`` of each, and what the answer is tested on.

    ``tests`` further simulations of each scenario are never trained on or calibrated with; ``folds`` networks share
    the work, each calibrated on what the others were trained on.
    """

    simulations: Annotated[int, Field(ge=20)] = 1_000
    tests: Annotated[int, Field(ge=0)] = 200
    folds: Annotated[int, Field(ge=2, le=20)] = 5
    epochs: Count | None = None
    batch: Count | None = None
    learning_rate: Annotated[float, Field(gt=0, le=1)] | None = None
    rivals: tuple[Literal["joint-sfs"], ...] = ("joint-sfs",)


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
        if isinstance(self.data, SimulatedData) and (self.data.simulate.snps is None) != (self.loci is None):
            raise ValueError("data.simulate.snps and the section loci go together (loci: {} for its defaults)")
        return self

    @property
    def kind(self) -> str:
        """The kind of design: ``windows`` or ``loci``."""
        return "windows" if self.loci is None else "loci"

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
