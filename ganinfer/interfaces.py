"""What a plugin implements and what flows between the layers. NumPy only, nothing above it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np

from ganinfer.haplotypes import Haplotypes, SampleSet
from ganinfer.parameters import Parameters
from ganinfer.windows import RecombinationMap

API_VERSION = "1"

#: What a simulator may yield for one template: Haplotypes, or a tskit.TreeSequence whose samples follow the design.
Observation = Any


@dataclass(frozen=True, eq=False)
class WindowTemplate:
    """What one simulated window has to resemble.

    ``accessible`` intervals (k, 2) counted from the window's left end, ``None`` when every base is;
    ``recombination`` the slice of the map, ``None`` without a map; ``missing`` packed bits (num_rows,
    ceil(num_chromosomes / 8)) uint8 of the rows of missing calls at the real window's variable sites, ``None`` when
    nothing is missing;
    ``unusable_ancestral`` the share of the real window's biallelic sites whose ancestral allele is unknown, in [0, 1).
    """

    length: int
    accessible: np.ndarray | None = None
    recombination: RecombinationMap | None = None
    missing: np.ndarray | None = None
    unusable_ancestral: float = 0.0


@dataclass(frozen=True, eq=False)
class NeutralModel:
    """All that the expected site frequency spectrum of a neutral model follows from.

    ``graph``: a ``demes.Graph``, its sizes in diploid individuals; ``mutation_rate`` per base and generation;
    ``demes``: the graph's deme of a population label of the data, where they differ; ``misidentified``: the share of
    sites with their ancestral and derived alleles the wrong way round. A simulator may have a method
    ``neutral_model(theta)`` that gives one, and raises ``ValueError`` where its model is none.
    """

    graph: Any
    mutation_rate: float
    demes: Mapping[str, str]
    misidentified: float = 0.0


#: How loci come to vary; see :class:`LociTemplate`.
Genealogies = Literal["alike", "by-length", "by-rate"]
#: What a simulator ``produces`` that serves loci of known length, too: mutations fall on them at a rate.
LOCI_BY_RATE = "loci-by-rate"


@dataclass(frozen=True)
class SiteRule:
    """Which variable sites are kept, on both sides alike; ``folded``: ancestral alleles are not used.

    ``singletons``: ``drop`` sites whose derived (folded: minor) allele is seen once over all chosen chromosomes;
    ``min_minor_frequency``: of the rarer allele among called ones, in [0, 0.5].
    """

    folded: bool = False
    singletons: Literal["keep", "drop"] = "keep"
    min_minor_frequency: float = 0.0

    def keeps(self, derived: np.ndarray, called: np.ndarray) -> np.ndarray:
        """Whether sites (n,) with so many derived and called alleles are kept; sites without variation never are."""
        minor = np.minimum(derived, called - derived)
        kept = minor > 0
        if self.singletons == "drop":
            kept &= (minor if self.folded else derived) != 1
        if self.min_minor_frequency > 0:
            kept &= minor >= self.min_minor_frequency * called - 1e-9
        return kept


@dataclass(frozen=True, eq=False)
class LociTemplate:
    """What one simulated SNP table has to resemble: as many SNPs, each kept by ``rule`` where it is called.

    ``locus`` (num_snps,) int64 from 0, sorted: SNPs of one locus share a genealogy, loci are unlinked. ``missing``
    packed bits (num_snps, ceil(num_chromosomes / 8)) uint8, the missing calls of each SNP, ``None`` when there are
    none. ``genealogies``: ``alike``, each counts the same, as where the number of segregating sites of a locus is fixed
    beforehand; ``by-length``, in proportion to the total length of its branches, as where loci vary because a rare
    mutation hit them.

    Where they are ``by-rate``, nothing is conditional: ``lengths`` (num_loci,) int64 are the bases of all loci, those
    without SNPs too, mutations fall on them at the scenario's rate, and a table has as many SNPs as they make. Then
    ``locus`` and ``missing`` are those of the real table's variable sites before any filter, from which simulated ones
    draw their missing calls; sites called in a smaller share than ``min_call_rate`` are left out afterwards, as they
    are of the real table.
    """

    locus: np.ndarray
    missing: np.ndarray | None = None
    genealogies: Genealogies = "alike"
    rule: SiteRule = SiteRule()
    lengths: np.ndarray | None = None
    min_call_rate: float = 0.0

    @property
    def digest(self) -> str:
        """SHA-256 of everything that a simulated table depends on."""
        missing = b"" if self.missing is None else self.missing.tobytes()
        told = repr((self.genealogies, self.rule)).encode()
        parts = [self.locus.tobytes(), missing, told]
        if self.lengths is not None:
            parts += [self.lengths.tobytes(), repr(self.min_call_rate).encode()]
        return hashlib.sha256(b"|".join(parts)).hexdigest()

    @property
    def length(self) -> int:
        """Number of loci."""
        if self.lengths is not None:
            return len(self.lengths)
        return int(self.locus[-1]) + 1 if len(self.locus) else 0

    @property
    def most_snps(self) -> int:
        """SNPs of the locus that has the most."""
        return int(np.bincount(self.locus).max(initial=0))

    @property
    def num_several(self) -> int:
        """Number of loci with several SNPs."""
        return int((np.bincount(self.locus) > 1).sum())

    def called(self, num_chromosomes: int) -> np.ndarray | None:
        """(num_snps, num_chromosomes) bool, ``None`` where every call is there."""
        if self.missing is None:
            return None
        return np.unpackbits(self.missing, axis=1, count=num_chromosomes) == 0


#: What an observation has to resemble, by the kind of design.
Template = WindowTemplate | LociTemplate


@dataclass(frozen=True, eq=False)
class Design:
    """What to simulate, as plain data: kind, sample sets in order, and one template an observation.

    ``kind``: ``windows`` with :class:`WindowTemplate`, or ``loci`` with :class:`LociTemplate`.
    """

    samples: tuple[SampleSet, ...]
    templates: tuple[Any, ...]
    kind: str = "windows"

    def with_templates(self, templates: Sequence[Template]) -> Design:
        return Design(self.samples, tuple(templates), self.kind)

    @property
    def num_chromosomes(self) -> int:
        return sum(s.num_chromosomes for s in self.samples)


@runtime_checkable
class Simulator(Protocol):
    """Named parameters, a design and a seed in; one observation per template, in order, out.

    Constructed with the scenario's options as keyword arguments (JSON values). Samples of every observation follow
    the order of ``design.samples``, an individual's chromosomes side by side. The same seed gives the same output.

    ``produces`` names the kind of design that it serves, or several: ``windows``, ``loci``, and ``loci-by-rate`` for
    loci whose template has lengths. A simulator that serves a kind only with certain options may have a method
    ``why_not(kind)``: a sentence, or ``None`` where it does.
    """

    api_version: ClassVar[str]
    produces: ClassVar[str | tuple[str, ...]]

    @property
    def parameters(self) -> Parameters: ...

    def simulate(self, theta: Mapping[str, float], design: Design, seed: int) -> Iterator[Observation]: ...


def kinds(simulator: Any) -> tuple[str, ...]:
    """The kinds of design that a simulator serves."""
    produces = simulator.produces
    return (produces,) if isinstance(produces, str) else tuple(produces)


@dataclass(frozen=True)
class EncodingSpec:
    """One encoded array of one observation: shape without the batch axis, dtype, and what the engine knows of it.

    ``details`` holds JSON values a network may need: population names, rows of each population, ploidy, whether folded.
    """

    shape: tuple[int, ...]
    dtype: str
    details: Mapping[str, Any] = field(default_factory=dict)


@runtime_checkable
class Encoding(Protocol):
    """Observation to named arrays of fixed shape; names are prefixed by nobody, so they must be unique in a run."""

    accepts: ClassVar[tuple[str, ...]]

    def spec(self) -> dict[str, EncodingSpec]: ...

    def encode(self, haplotypes: Haplotypes) -> dict[str, np.ndarray]: ...


@dataclass(frozen=True)
class Budget:
    """What a run may spend; ``minutes`` is ``None`` for no limit by the clock."""

    simulated_windows: int
    rounds: int
    minutes: float | None = None


@dataclass(frozen=True)
class RoundPlan:
    """One round: so many proposals, each simulated on so many windows."""

    num_proposals: int
    num_windows: int


@dataclass(frozen=True, eq=False)
class FoldResult:
    """Out-of-fold statistics of one fold: k proposals of this fold from every round so far, d statistics a window.

    ``theta`` (k, parameters) natural units; ``round_index`` (k,); ``statistics`` (n, d) of the simulated windows and
    ``proposal`` (n,) the row of ``theta`` each was simulated under; ``real`` (m, d) of the fold's real windows and
    ``block`` (m,) the block each lies in; ``logits`` (n,) and ``real_logits`` (m,) of the critic, empty without one.
    The first ``shared`` columns of the statistics are the same functions of a window in every fold, the others come
    from the fold's own network. ``families`` names what kind of statistic each column is, () where nobody knows: a
    model that misses one of a kind may well miss the others.
    """

    theta: np.ndarray
    round_index: np.ndarray
    statistics: np.ndarray
    proposal: np.ndarray
    real: np.ndarray
    block: np.ndarray
    logits: np.ndarray
    real_logits: np.ndarray
    shared: int = 0
    families: tuple[str, ...] = ()


@dataclass(frozen=True)
class RoundResult:
    """What a round learned: its number from 0, and one result a fold."""

    index: int
    folds: tuple[FoldResult, ...]


@dataclass(frozen=True, eq=False)
class State:
    """A generator's state: arrays and JSON values, nothing else, so that it can be saved."""

    arrays: Mapping[str, np.ndarray]
    values: Mapping[str, Any]


#: What the names of metrics begin with that tell a parameter's Monte Carlo error: by how much estimates would scatter
#: with other simulations of the same data, in posterior standard deviations.
MONTE_CARLO = "monte_carlo/"
#: The same for the part of it that all data have in common which are inferred with the same simulations.
EMULATOR_ERROR = "emulator_error/"


@dataclass(frozen=True, eq=False)
class Info:
    """What a generator says of a step.

    ``estimate`` (parameters,) natural units; ``posterior`` (draws, parameters) or ``None``; ``spread`` (parameters,)
    standard deviation of the proposals on each parameter's scale; ``converged`` why to stop, or ``None``;
    ``metrics`` numbers to record; ``warnings`` sentences for the report of a run that ends with this step.
    """

    estimate: np.ndarray
    spread: np.ndarray
    posterior: np.ndarray | None = None
    converged: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@runtime_checkable
class Generator(Protocol):
    """The proposal distribution and the rule that moves it. Constructed with its options as keyword arguments."""

    api_version: ClassVar[str]

    def plan(self, parameters: Parameters, budget: Budget) -> tuple[RoundPlan, ...]: ...

    def init(self, parameters: Parameters, rng: np.random.Generator) -> State: ...

    def propose(self, state: State, rng: np.random.Generator, k: int) -> np.ndarray: ...

    def step(self, state: State, result: RoundResult, rng: np.random.Generator) -> tuple[State, Info]: ...


@runtime_checkable
class SecondLook(Protocol):
    """What a generator may have besides: a place that it gave up early on, and doubts now, is looked at once more.

    After a step that trained no network the engine asks for what was ``given_up``. The state that comes back, if one
    does, is proposed from, simulated and moved a few times as the generator's own is; then ``chosen`` says whether the
    generator keeps to ours, and what it goes on with.
    """

    def given_up(self, state: State, info: Info, rng: np.random.Generator) -> State | None: ...

    def chosen(self, ours: tuple[State, Info], other: tuple[State, Info]) -> tuple[bool, State, Info]: ...
