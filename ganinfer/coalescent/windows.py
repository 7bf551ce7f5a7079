"""Windows: one demography, many templates, as fast as msprime allows.

Ancestry follows Hudson's coalescent with recombination (doi 10.1093/genetics/iyab229); mutations fall on discrete
sites under the Jukes-Cantor model, so that sites with several alleles occur as they do in nature.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ganinfer.coalescent.memory import keep_freed_memory
from ganinfer.coalescent.rates import MAP
from ganinfer.interfaces import WindowTemplate
from ganinfer.randomness import simulator_seeds

if TYPE_CHECKING:
    import msprime
    import tskit


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
