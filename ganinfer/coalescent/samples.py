"""Samples of a design as msprime takes them, where the model has the populations at the time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ganinfer.haplotypes import SampleSet
from ganinfer.models import ModelError, closest

if TYPE_CHECKING:
    import msprime


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
