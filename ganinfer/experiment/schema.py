"""The sections of an experiment as validated objects. Unknown keys are errors; only data and scenarios are required.

Sizes of samples are individuals, lengths are base pairs, times are generations before the present.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, PrivateAttr, field_validator, model_validator

from ganinfer.experiment.data import Data, Loci, RealData, SimulatedData, Study, Windows, data_kind
from ganinfer.experiment.document import Document
from ganinfer.experiment.sections import Count, Name, OpenSection, Section, Seed
from ganinfer.experiment.tables import TableSection
from ganinfer.interfaces import LOCI_BY_RATE

SCHEMA_VERSION = 1


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
    data_sets: Annotated[int, Field(ge=200)] = 1_000


def _none_or_ten(value: int) -> int:
    if 0 < value < 10:
        raise ValueError("take at least 10 bootstrap data sets, or 0 for no second opinion")
    return value


class SecondOpinion(Section):
    """What another program says of the same windows: ``bootstraps`` data sets of both, by which they are compared.

    0 leaves it out. ``minutes``: what would take longer is not begun.
    """

    bootstraps: Annotated[int, Field(ge=0), AfterValidator(_none_or_ten)] = 20
    minutes: Annotated[float, Field(gt=0)] = 20.0


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
        key = data_kind(self.data).removeprefix("=")
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
        key = data_kind(self.data).removeprefix("=")
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
