"""A stream of encoded simulations: proposals in, arrays out.

What a worker does for one proposal: simulate one observation a template, check it, prepare and encode it. NumPy only;
the plugin imports what it needs.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache
from itertools import islice
from typing import Any, TypeVar

import numpy as np

from ganinfer import encodings, plugins, randomness
from ganinfer.execution import Executor, WorkerError, ordered
from ganinfer.haplotypes import Chromosomes, Haplotypes, SampleSet, chromosomes, from_tree_sequence
from ganinfer.interfaces import Design, Encoding, EncodingSpec, LociTemplate, Observation, Template, kinds
from ganinfer.pipeline import PipelineSettings, prepare_simulated
from ganinfer.statistics import allele_counts

#: Named arrays; the leading axis is windows, in the order of the templates.
Encoded = dict[str, np.ndarray]
#: Derived (or minor) and called alleles, each (sites of all windows, num_populations).
AlleleCounts = tuple[np.ndarray, np.ndarray]
R = TypeVar("R")

#: Windows that go through a step together before the next one. A step on its own after a simulation costs up to three
#: times as much, since its code and data have left the processor's caches.
_BATCH = 16


class SimulationError(ValueError):
    """A simulator raised, hung, took its worker down, or yielded something that is no observation of its template.

    ``details`` holds the traceback in the worker, where there is one.
    """

    details: str = ""


class ObservationError(ValueError):
    """What a simulator yielded cannot be an observation of its template."""


@dataclass(frozen=True, eq=False)
class Setup:
    """What all proposals of a scenario share; equal when its values are.

    ``simulator`` is a plugin's name or ``{"file", "class", "text", "sha256"}``, ``options`` its keyword arguments (JSON
    values); ``encoders`` pairs of an encoding's name and options; ``length`` of windows in base pairs, or number of
    loci; ``num_sites`` of the SNP matrix and ``num_counted_sites`` of the joint counts (``None``: as many); ``kind`` of
    the design.
    """

    simulator: str | Mapping[str, Any]
    options: Mapping[str, Any]
    samples: tuple[SampleSet, ...]
    pipeline: PipelineSettings
    encoders: tuple[tuple[str, Mapping[str, Any]], ...]
    length: int
    num_sites: int
    num_counted_sites: int | None = None
    kind: str = "windows"

    @cached_property
    def digest(self) -> str:
        values = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(values.encode()).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Setup) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    @property
    def title(self) -> str:
        """The simulator as messages name it."""
        if isinstance(self.simulator, str):
            return f"simulator {self.simulator!r}"
        return f"simulator {self.simulator.get('class')} of {self.simulator.get('file')}"


@dataclass(frozen=True, eq=False)
class Task:
    """One proposal: parameters by name, a window (or table) a template, one seed in [1, 2³¹).

    ``label`` is what follows ``ganinfer simulate`` for its experiment and scenario: see :func:`label`.
    """

    setup: Setup
    theta: Mapping[str, float]
    templates: tuple[Template, ...]
    seed: int
    label: str = ""

    @property
    def command(self) -> str:
        """The command that repeats it, nothing without a label."""
        exact = ",".join(f"{name}={float(value)!r}" for name, value in self.theta.items())
        proposal = ["--theta", exact] * bool(exact) + ["--proposal-seed", self.seed, "--windows", len(self.templates)]
        return repeating(self.label, *proposal, "--output", f"repeated-{self.seed}") if self.label else ""


def label(experiment: str, scenario: str, overrides: Sequence[str] = ()) -> str:
    """The label of a scenario's tasks; ``experiment`` is its file, ``overrides`` what ``--set`` changed of it."""
    changes = [word for text in overrides for word in ("--set", text)]
    return shlex.join([experiment, *changes, "--scenario", scenario])


def repeating(label: str, *arguments: Any) -> str:
    """The command that simulates with a label and further arguments."""
    return f"ganinfer simulate {label} {shlex.join(map(str, arguments))}"


def choose_templates(seed: int, num_available: int, num_windows: int) -> np.ndarray:
    """Which real windows are a proposal's templates: a function of its seed alone, so that the seed repeats it.

    Without repetition unless more are asked for than there are; then every one comes equally often, give or take one.
    """
    rng = randomness.stream(seed, "templates")
    rounds = -(-num_windows // num_available)
    return np.concatenate([rng.permutation(num_available) for _ in range(rounds)])[:num_windows]


def simulate(tasks: Iterable[Task], executor: Executor) -> Iterator[Encoded]:
    """The encoded windows of each task, in order, as they come.

    Raises :class:`SimulationError` for the first proposal found that fails.
    """
    yield from _run(simulate_task, tasks, executor)


def simulate_counted(tasks: Iterable[Task], executor: Executor) -> Iterator[tuple[Encoded, AlleleCounts]]:
    """Like :func:`simulate`, with the allele counts of all sites of a task's windows, which no array's size cuts."""
    yield from _run(counted_task, tasks, executor)


def simulate_raw(tasks: Iterable[Task], executor: Executor) -> Iterator[list[Haplotypes]]:
    """Like :func:`simulate`, but checked observations as simulated, before any preparation."""
    yield from _run(raw_task, tasks, executor)


def _run(function: Callable[[Task], R], tasks: Iterable[Task], executor: Executor) -> Iterator[R]:
    try:
        yield from ordered(executor.run(function, tasks))
    except WorkerError as error:
        task = error.item
        raise failure(task.setup, task.theta, task.seed, task.command, error.reason) from error


def simulate_task(task: Task) -> Encoded:
    """Simulate, prepare and encode one proposal; what a worker runs."""
    return encode(task.setup, _prepared(task), len(task.templates))


def counted_task(task: Task) -> tuple[Encoded, AlleleCounts]:
    """Simulate, prepare, count and encode one proposal; what a worker runs for :func:`simulate_counted`."""
    windows = list(_prepared(task))
    derived, called = zip(*(allele_counts(window) for window in windows), strict=True)
    return encode(task.setup, windows, len(windows)), (np.concatenate(derived), np.concatenate(called))


def _prepared(task: Task) -> Iterator[Haplotypes]:
    rng = randomness.stream(task.seed, "pipeline")
    observations = _observations(task.setup, task.theta, task.templates, task.seed, task.command)
    for batch in _batches(zip(observations, task.templates, strict=True)):
        yield from [prepare_simulated(h, template, task.setup.pipeline, rng) for h, template in batch]


def _batches(items: Iterable[R]) -> Iterator[list[R]]:
    iterator = iter(items)
    while batch := list(islice(iterator, _BATCH)):
        yield batch


def raw_task(task: Task) -> list[Haplotypes]:
    """Simulate one proposal; what a worker runs for :func:`simulate_raw`."""
    return list(_observations(task.setup, task.theta, task.templates, task.seed, task.command))


def encode(setup: Setup, windows: Iterable[Haplotypes], num_windows: int) -> Encoded:
    """Prepared windows, real or simulated, as the arrays of :func:`encoding_specs`."""
    encoders = _encoders(setup)
    arrays = {
        name: np.empty((num_windows, *spec.shape), dtype=spec.dtype) for name, spec in encoding_specs(setup).items()
    }
    done = 0
    for batch in _batches(windows):
        for encoder in encoders:
            for index, window in enumerate(batch, done):
                for name, values in encoder.encode(window).items():
                    arrays[name][index] = values
        done += len(batch)
    assert done == num_windows, f"{done} windows for {num_windows} rows"
    return arrays


@lru_cache(maxsize=16)
def encoding_specs(setup: Setup) -> dict[str, EncodingSpec]:
    """Every array of the set-up's encodings; raises ``ValueError`` when two encodings share a name."""
    specs: dict[str, EncodingSpec] = {}
    for (name, _), encoder in zip(setup.encoders, _encoders(setup), strict=True):
        for array, spec in encoder.spec().items():
            if array in specs:
                raise ValueError(f"encoding {name!r} makes an array {array!r} that another one makes too")
            specs[array] = spec
    return specs


def raw_observations(
    setup: Setup, theta: Mapping[str, float], templates: Iterable[Template], seed: int, command: str = ""
) -> Iterator[Haplotypes]:
    """Checked observations as simulated, in this process, before any preparation; ``command`` repeats them."""
    return _observations(setup, theta, tuple(templates), seed, command)


def failure(setup: Setup, theta: Mapping[str, float], seed: int, command: str, what: str) -> SimulationError:
    """The error that names plugin, parameters and seed, says ``what`` happened and which ``command`` repeats it."""
    shown = ", ".join(f"{name}={value:.6g}" for name, value in theta.items()) or "no free parameters"
    message = f"{setup.title} failed at {shown} with seed {seed}: {what}"
    return SimulationError(f"{message}\nRepeat it with: {command}" if command else message)


# --- in the worker ----------------------------------------------------------------------------------------------


@lru_cache(maxsize=16)
def _encoders(setup: Setup) -> tuple[Encoding, ...]:
    pipeline = setup.pipeline
    context = encodings.EncodingContext(
        setup.samples, pipeline.phased, pipeline.folded, setup.length, setup.num_sites, setup.num_counted_sites
    )
    return tuple(encodings.make(name, context, options) for name, options in setup.encoders)


@lru_cache(maxsize=16)
def simulator(setup: Setup) -> Any:
    """The simulator, which must serve the kind of design, as the encodings must."""
    loaded = plugins.load_simulator(setup.simulator, setup.options)
    if setup.kind not in kinds(loaded):
        raise plugins.PluginError(
            f"{setup.title} produces {' and '.join(kinds(loaded))}; {setup.kind} are what the data are"
        )
    for (name, _), encoder in zip(setup.encoders, _encoders(setup), strict=True):
        if setup.kind not in encoder.accepts:
            raise plugins.PluginError(
                f"encoding {name!r} takes {' and '.join(encoder.accepts)}; {setup.kind} are what the data are"
            )
    return loaded


def _observations(
    setup: Setup, theta: Mapping[str, float], templates: tuple[Template, ...], seed: int, command: str
) -> Iterator[Haplotypes]:
    loaded = simulator(setup)
    try:
        yield from checked_observations(loaded, Design(setup.samples, templates, setup.kind), theta, seed)
    except ObservationError as error:
        raise failure(setup, theta, seed, command, str(error)) from None
    except (Exception, SystemExit) as error:
        found = failure(setup, theta, seed, command, f"raised {_described(error)}")
        found.details = "".join(traceback.format_exception(error))
        raise found from error


def checked_observations(
    simulator: Any, design: Design, theta: Mapping[str, float], seed: int, *, rules: bool = True
) -> Iterator[Haplotypes]:
    """What a simulator yields, one observation a template; raises whatever it raises.

    ``rules=False`` leaves out :data:`RULES`, for who applies them one by one. Raises :class:`ObservationError` for
    answers that are no observations of their templates.
    """
    carriers = chromosomes(design.samples)
    # The plugin gets values of its own: what it does to them must not reach the next message.
    answer = simulator.simulate(dict(theta), design, seed)
    if not isinstance(answer, Iterable):
        raise ObservationError(f"simulate returned {type(answer).__name__}, not an iterator of observations")
    iterator, expected, done = iter(answer), len(design.templates), 0
    for batch in _batches(map(_kept, islice(iterator, expected))):
        windows = []
        for index, observation in enumerate(batch, done):
            template = design.templates[index]
            windows.append(_converted(observation, template, design.samples, index))
            problem = _problem(windows[-1], template.length, carriers) if rules else None
            if problem is None and rules and isinstance(template, LociTemplate):
                problem = wrong_loci(windows[-1], template)
            if problem:
                raise ObservationError(f"yielded nonsense for template {index}: {problem}")
        done += len(batch)
        yield from windows
    if done < expected:
        raise ObservationError(f"yielded {done} observations for {expected} templates")
    if next(iterator, None) is not None:
        raise ObservationError(f"yielded more than {expected} observations, one for each template")


def _kept(observation: Observation) -> Observation:
    """The observation with arrays of its own: a plugin may fill the same ones again for its next."""
    if not isinstance(observation, Haplotypes):
        return observation
    # What is no array is left for the rules to refuse.
    genotypes, positions = (
        a.copy() if isinstance(a, np.ndarray) else a for a in (observation.genotypes, observation.positions)
    )
    return replace(observation, genotypes=genotypes, positions=positions)


def wrong_loci(haplotypes: Haplotypes, template: LociTemplate) -> str | None:
    """What keeps an observation from being a table of its template's loci."""
    if template.lengths is not None:
        return None
    if not np.array_equal(haplotypes.positions, template.locus):
        return f"positions must be the template's loci, one for each of its {len(template.locus):,} SNPs"
    highest = haplotypes.genotypes.max(initial=0)
    return f"a SNP has two alleles, 0 and 1, but {highest} occurs" if highest > 1 else None


def _converted(observation: Observation, template: Template, samples: Sequence[SampleSet], index: int) -> Haplotypes:
    if isinstance(observation, Haplotypes):
        return observation
    if isinstance(template, LociTemplate):
        raise ObservationError(f"a table of loci must be Haplotypes, not {type(observation).__name__}")
    import tskit

    where, num_chromosomes = f"yielded nonsense for template {index}:", sum(s.num_chromosomes for s in samples)
    if not isinstance(observation, tskit.TreeSequence):
        kind = type(observation).__name__
        raise ObservationError(f"{where} an observation must be Haplotypes or a tskit.TreeSequence, not {kind}")
    if observation.num_samples != num_chromosomes:
        raise ObservationError(
            f"{where} {observation.num_samples} samples, the design has {num_chromosomes} chromosomes"
        )
    if observation.sequence_length != template.length:
        length = observation.sequence_length
        raise ObservationError(f"{where} sequence length {length:g}, the window has {template.length} base pairs")
    return from_tree_sequence(observation, samples)


def _wrong_shapes(haplotypes: Haplotypes, length: int, carriers: Chromosomes) -> str | None:
    genotypes, positions = haplotypes.genotypes, haplotypes.positions
    if not isinstance(genotypes, np.ndarray) or not isinstance(positions, np.ndarray):
        return "genotypes and positions must be NumPy arrays"
    if genotypes.dtype != np.int8:
        return f"genotypes must be int8, not {genotypes.dtype}"
    if positions.dtype != np.int64:
        return f"positions must be int64, not {positions.dtype}"
    if positions.ndim != 1 or genotypes.shape != (len(positions), len(carriers)):
        expected = f"({positions.size} positions, {len(carriers)} chromosomes)"
        return f"genotypes have shape {genotypes.shape}, expected {expected}"
    return None


def _wrong_positions(haplotypes: Haplotypes, length: int, carriers: Chromosomes) -> str | None:
    positions = haplotypes.positions
    if len(positions) == 0:
        return None
    falls = positions[1:] < positions[:-1]
    if falls.any():
        site = int(np.argmax(falls))
        return f"positions must be sorted, but {positions[site]} is followed by {positions[site + 1]}"
    if positions[0] < 0 or positions[-1] >= length:
        return f"positions must lie in [0, {length}), but run from {positions[0]} to {positions[-1]}"
    return None


def _wrong_alleles(haplotypes: Haplotypes, length: int, carriers: Chromosomes) -> str | None:
    lowest = haplotypes.genotypes.min(initial=0)
    return f"genotypes must be -1 (missing), 0, 1, …, but {lowest} occurs" if lowest < -1 else None


def _wrong_chromosomes(haplotypes: Haplotypes, length: int, carriers: Chromosomes) -> str | None:
    mine = haplotypes.carriers
    same = mine is carriers or (
        mine.populations == carriers.populations
        and np.array_equal(mine.population, carriers.population)
        and np.array_equal(mine.individual, carriers.individual)
    )
    return None if same else "its chromosomes are not those of the design's samples"


#: What an observation has to hold to; each rule returns what is wrong, and may rely on those before it.
RULES: Mapping[str, Callable[[Haplotypes, int, Chromosomes], str | None]] = {
    "shapes": _wrong_shapes,
    "positions": _wrong_positions,
    "alleles": _wrong_alleles,
    "chromosomes": _wrong_chromosomes,
}


def _problem(haplotypes: Haplotypes, length: int, carriers: Chromosomes) -> str | None:
    """The first rule that an observation breaks; a few microseconds a window."""
    for rule in RULES.values():
        problem = rule(haplotypes, length, carriers)
        if problem:
            return problem
    return None


def _described(error: BaseException) -> str:
    """Kind and text of an error, and the place in the plugin's code where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)[1:]
    where = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{where}"
