"""Windows from msprime: one demography, many templates, as fast as msprime allows.

Ancestry follows Hudson's coalescent with recombination (doi 10.1093/genetics/iyab229); mutations fall on discrete
sites under the Jukes-Cantor model, so that sites with several alleles occur as they do in nature.
"""

from __future__ import annotations

import ctypes
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ganinfer.haplotypes import SampleSet
from ganinfer.interfaces import WindowTemplate
from ganinfer.models import ModelError, closest, finite_number
from ganinfer.parameters import Parameters
from ganinfer.randomness import simulator_seeds

if TYPE_CHECKING:
    import msprime
    import tskit

#: What ``recombination_rate`` says when every window has the rates of its template's slice of the map.
MAP = "map"
#: Per base and generation. Rates of viruses and of hotspots lie below; what lies above is a slip such as 1.25 for
#: 1.25e-8, which would fill the memory with mutations or recombinations.
MAX_MUTATION_RATE = 1e-3
MAX_RECOMBINATION_RATE = 0.1
_MIB = 1 << 20


@dataclass(frozen=True)
class Rates:
    """Mutation and recombination rates per base and generation: numbers, or names of parameters.

    ``recombination`` may also be ``map``: the template's slice of the map; it is multiplied by ``scale``.
    """

    mutation: float | str
    recombination: float | str = MAP
    scale: float | str = 1.0

    def _options(self) -> dict[str, float | str]:
        return {
            "mutation_rate": self.mutation,
            "recombination_rate": self.recombination,
            "recombination_scale": self.scale,
        }

    @property
    def names(self) -> tuple[str, ...]:
        """Parameters that are rates."""
        return tuple(v for k, v in self._options().items() if isinstance(v, str) and not _is_map(k, v))

    def check(self, parameters: Parameters, fixed: Mapping[str, float]) -> None:
        """Raise :class:`ModelError` unless each rate is a number, or a parameter, that lies where rates lie."""
        ranges = {p.name: (p.lower, p.upper) for p in parameters} | {name: (v, v) for name, v in fixed.items()}
        mutation, recombination, scale = (self._range(option, ranges) for option in self._options())
        if mutation[0] <= 0 or mutation[1] > MAX_MUTATION_RATE:
            raise _no_rate(
                f"mutation_rate is above 0 and at most {MAX_MUTATION_RATE:g} per base and generation, such as 1.25e-8",
                self.mutation,
                mutation,
            )
        if scale[0] < 0:
            raise _no_rate("recombination_scale is a factor from 0", self.scale, scale)
        rule = f"recombination_rate is from 0 to {MAX_RECOMBINATION_RATE:g} per base and generation, such as 1.25e-8"
        if recombination[0] < 0 or recombination[1] > MAX_RECOMBINATION_RATE:
            raise _no_rate(rule, self.recombination, recombination)
        if recombination[1] * scale[1] > MAX_RECOMBINATION_RATE:
            raise _no_rate(f"{rule}, after recombination_scale", self.scale, (0, recombination[1] * scale[1]))

    def _range(self, option: str, ranges: Mapping[str, tuple[float, float]]) -> tuple[float, float]:
        """The least and the largest value of an option; nothing is known of a map here, which counts as 0."""
        value = self._options()[option]
        if _is_map(option, value):
            return 0.0, 0.0
        if not isinstance(value, str):
            return (finite_number(value, option),) * 2
        if value not in ranges:
            allowed = "a number, map, or a parameter" if option == "recombination_rate" else "a number or a parameter"
            raise ModelError(f"{option} is {allowed}; {value!r} is no parameter; {closest(value, ranges)}")
        return ranges[value]

    def at(self, values: Mapping[str, float]) -> dict[str, Any]:
        """Keyword arguments of :func:`simulate_windows` at the values of all parameters."""
        return {k: v if _is_map(k, v) or not isinstance(v, str) else values[v] for k, v in self._options().items()}


def _no_rate(rule: str, written: float | str, found: tuple[float, float]) -> ModelError:
    """The error for an option that may leave its range: a number, or a parameter whose bounds are ``found``."""
    if isinstance(written, str):
        return ModelError(f"{rule}; parameter {written!r} lets it be from {found[0]:g} to {found[1]:g}")
    return ModelError(f"{rule}; got {found[1]:g}")


def read_rates(mutation_rate: Any, recombination_rate: Any, recombination_scale: Any) -> Rates:
    """The three rate options of a scenario, each a number or a name; :meth:`Rates.check` says if it is known."""
    if mutation_rate is None:
        raise ModelError("mutation_rate is missing: a number per base and generation, or the name of a parameter")
    rates = Rates(mutation_rate, recombination_rate, recombination_scale)
    for option, value in rates._options().items():
        if not isinstance(value, str):
            finite_number(value, option)
    return rates


def read_labels(demes: Any) -> dict[str, str]:
    """The option ``demes``: population labels of the data mapped to populations of the model."""
    if not isinstance(demes, Mapping | None) or not all(isinstance(v, str) for v in (demes or {}).values()):
        raise ModelError(f"demes maps population labels of the data to demes of the model, got {demes!r}")
    return {str(label): deme for label, deme in (demes or {}).items()}


def read_ploidy(ploidy: Any) -> int:
    """The option ``ploidy``: 1 or more chromosomes an individual that population sizes count."""
    if isinstance(ploidy, bool) or not isinstance(ploidy, int) or ploidy < 1:
        raise ModelError(f"ploidy is a number of chromosomes from 1, got {ploidy!r}")
    return ploidy


def _is_map(option: str, value: Any) -> bool:
    return option == "recombination_rate" and isinstance(value, str) and value == MAP


def sample_sets(
    samples: Sequence[SampleSet], demes: Mapping[str, str], demography: msprime.Demography, where: str
) -> list[msprime.SampleSet]:
    """What msprime has to sample for a design's samples, in their order; ``where`` names the model in messages.

    ``demes`` maps population labels of the data to populations of the model, where they differ. Raises
    :class:`ModelError` for a population that the model does not have, or not at its sampling time.
    """
    import msprime

    lives = _lives(demography)
    sets = []
    for s in samples:
        deme = demes.get(s.population, s.population)
        if deme not in lives:
            raise ModelError(
                f"population {s.population!r} of the data is sampled from {deme!r}, which {where} does not have; "
                f"name its deme under demes; {closest(deme, lives)}"
            )
        start, end = lives[deme]
        if not end <= s.time < start:
            raise ModelError(
                f"population {s.population!r} is sampled {s.time:g} generations ago, but {deme!r} of {where} exists "
                f"only from {start:g} to {end:g}; give a sampling time in that range (column time of the sample "
                f"sheet), another deme under demes, or bounds that keep the deme alive then"
            )
        sets.append(msprime.SampleSet(s.num_individuals, population=deme, time=s.time, ploidy=s.ploidy))
    if sum(np.isinf(start) for start, _ in lives.values()) > 1:
        _check_that_lineages_meet(demography, sets, where)
    return sets


def _check_that_lineages_meet(demography: msprime.Demography, sets: Sequence[msprime.SampleSet], where: str) -> None:
    """Raise :class:`ModelError` where lineages may never find a common ancestor: msprime would run for ever."""
    debugger = demography.debug()
    numbers = {p.name: i for i, p in enumerate(demography.populations)}
    sampled = [numbers[s.population] for s in sets]
    located = list(debugger.possible_lineage_locations(sampled).values())[-1]
    reach = (np.asarray(debugger.epochs[-1].migration_matrix) > 0) | np.eye(len(numbers), dtype=bool)
    for _ in numbers:
        reach |= reach @ reach
    if not reach[np.flatnonzero(located)].all(axis=0).any():
        apart = ", ".join(name for name, i in numbers.items() if located[i])
        raise ModelError(
            f"{where}: lineages in {apart} never meet, since nothing joins these populations in the past; give them a "
            "common ancestor, or migration that goes on for ever"
        )


def sampling_problem(
    samples: Sequence[SampleSet], demes: Mapping[str, str], demography: msprime.Demography, where: str
) -> str | None:
    """Why ``samples`` cannot be taken from ``demography``, as a sentence; ``None`` where they can."""
    try:
        sample_sets(samples, demes, demography, where)
    except ModelError as error:
        return str(error)
    return None


def _lives(demography: msprime.Demography) -> dict[str, tuple[float, float]]:
    """For each population, generations ago: when it began (open), and when it ended (closed)."""
    from msprime.demography import Admixture, PopulationSplit

    began = {p.name: np.inf for p in demography.populations}
    for event in demography.events:
        if isinstance(event, PopulationSplit):
            began.update(dict.fromkeys(event.derived, event.time))
        elif isinstance(event, Admixture):
            began[event.derived] = event.time
    ended = {
        p.name: p.default_sampling_time or 0.0 if p.initially_active is False else 0.0 for p in demography.populations
    }
    return {name: (began[name], ended[name]) for name in began}


def simulate_windows(
    demography: msprime.Demography,
    samples: Sequence[msprime.SampleSet],
    templates: Sequence[WindowTemplate],
    seed: int,
    *,
    mutation_rate: float,
    recombination_rate: float | str = MAP,
    recombination_scale: float = 1.0,
    ploidy: int = 2,
) -> Iterator[tskit.TreeSequence]:
    """One tree sequence a template, in order; its samples follow ``samples``. Rates are per base and generation.

    Templates alike in length and recombination are replicates of one msprime simulator, whose construction costs
    as much as a window of 50 kb. The output depends on the arguments only, not on what was simulated before.
    """
    import msprime

    keep_freed_memory()
    seeds = simulator_seeds(seed, 2 * len(templates)).tolist()
    alike = [_likeness(t, recombination_rate) for t in templates]
    left = Counter(alike)
    replicates: dict[Any, Iterator[tskit.TreeSequence]] = {}
    # Made once: msprime would make both anew for every window, a fifth of what mutations cost.
    model = msprime.JC69()
    mutation_rates = {
        length: msprime.RateMap.uniform(length, mutation_rate) for length in {t.length for t in templates}
    }
    for i, (template, key) in enumerate(zip(templates, alike, strict=True)):
        if key not in replicates:
            replicates[key] = msprime.sim_ancestry(
                samples,
                demography=demography,
                sequence_length=template.length,
                recombination_rate=_rate(template, recombination_rate, recombination_scale),
                ploidy=ploidy,
                num_replicates=left[key],
                random_seed=seeds[2 * i],
                record_provenance=False,
            )
        ancestry = next(replicates[key])
        yield msprime.sim_mutations(
            ancestry,
            rate=mutation_rates[template.length],
            model=model,
            random_seed=seeds[2 * i + 1],
            record_provenance=False,
        )
        left[key] -= 1
        if not left[key]:
            del replicates[key]  # the simulator's memory goes with it


def _likeness(template: WindowTemplate, recombination_rate: float | str) -> Any:
    """What templates share when one simulator serves them: length, and the slice of the map where it is used."""
    if recombination_rate != MAP:
        return template.length
    if template.recombination is None:
        raise ValueError(
            "recombination_rate is map, but the data have no recombination map: name one under "
            "data.recombination_map, or give recombination_rate as a number or a parameter"
        )
    return template.length, template.recombination.positions.tobytes(), template.recombination.rates.tobytes()


def _rate(template: WindowTemplate, recombination_rate: float | str, scale: float) -> Any:
    import msprime

    if not isinstance(recombination_rate, str):
        return recombination_rate * scale
    assert template.recombination is not None
    positions = np.array(template.recombination.positions, dtype=float)
    if positions[-1] != template.length:
        raise ValueError(f"a template of {template.length} bases has a recombination map of {positions[-1]:g} bases")
    return msprime.RateMap(position=positions, rate=template.recombination.rates * scale)


@cache
def keep_freed_memory() -> bool:
    """Let the C library keep freed blocks of up to 32 MiB, 64 MiB in all, instead of handing them back to the kernel.

    A new msprime simulator takes some 6 MB. Handed back and faulted in again for every window, that memory costs
    as much time as the window. The limits are those which glibc's own adaptation may reach. Returns whether it
    was possible: other C libraries have no such setting and need none.
    """
    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    return bool(mallopt(mmap_threshold, 32 * _MIB) and mallopt(trim_threshold, 64 * _MIB))
