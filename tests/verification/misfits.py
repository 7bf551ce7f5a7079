"""Tables that no scenario of the experiment ``seguieriana`` makes, and how often that is seen.

What is changed of a table is its history, who is sampled, its genotypes, or which calls are missing. Some changes come
in several sizes: where a size cannot be seen, the row of them is its power curve.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import msprime
import numpy as np

from ganinfer.coalescent import simulate_loci
from ganinfer.experiment import Experiment, simulator
from ganinfer.genomes import RealTable
from ganinfer.haplotypes import Haplotypes, chromosomes
from ganinfer.interfaces import Design, LociTemplate
from ganinfer.runner import bundling, predicting

#: The data sets that are changed have more SNPs than are needed: some no longer vary afterwards.
_SPARE = 1.5
_INDIVIDUALS = {"ExZ": 80, "Z": 55}
Change = Callable[[msprime.Demography, Mapping[str, float]], None]


@dataclass(frozen=True)
class Kind:
    """A misfit: what it does to the history, who is sampled, and what it does to genotypes and missing calls."""

    text: str
    history: Change | None = None
    sampled: tuple[tuple[str, int], ...] = tuple(_INDIVIDUALS.items())
    genotypes: Callable[[np.ndarray, np.random.Generator], np.ndarray] | None = None
    missing: Callable[[np.ndarray, np.random.Generator], np.ndarray] | None = None
    monomorphic: float = 0.0


def _bottleneck(demography: msprime.Demography, theta: Mapping[str, float]) -> None:
    unit = 2 * theta["Ne"]
    for time, size in ((0.02 * unit, 0.02), (0.07 * unit, 1.0)):
        demography.add_population_parameters_change(
            time=time, population="ExZ", initial_size=size * theta["Ne"], growth_rate=0
        )
    demography.sort_events()


def _migration(migrants: float, demography: msprime.Demography, theta: Mapping[str, float]) -> None:
    rate = migrants / (2 * theta["Ne"])
    demography.set_migration_rate("ExZ", "Z", rate)
    demography.set_migration_rate("Z", "ExZ", rate)


def _hidden(share: float, demography: msprime.Demography, theta: Mapping[str, float]) -> None:
    (split,) = (e.time for e in demography.events if type(e).__name__ == "PopulationSplit")
    demography.add_population(name="H", initial_size=theta["Ne"])
    demography.add_population_split(time=share * split, derived=["H"], ancestral="Z")
    demography.sort_events()


def _homozygous(genotypes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    first, second = genotypes[:, ::2].copy(), genotypes[:, 1::2].copy()
    hit = (first != second) & (rng.random(len(genotypes)) < 0.3)[:, None]
    called = np.where(rng.random(first.shape) < 0.5, first, second)
    first[hit], second[hit] = called[hit], called[hit]
    return np.stack([first, second], axis=2).reshape(genotypes.shape)


def _thirty_percent(missing: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.repeat(rng.random((len(missing), missing.shape[1] // 2)) < 0.3, 2, axis=1)


def _concentrated(missing: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As many missing calls as before, in a fifth of each sample's individuals."""
    sizes = list(_INDIVIDUALS.values())
    hit = [start + rng.permutation(size)[: size // 5] for start, size in zip((0, sizes[0]), sizes, strict=True)]
    chosen = np.concatenate(hit)
    lost = np.zeros((len(missing), sum(sizes)), dtype=bool)
    lost[:, chosen] = rng.random((len(missing), len(chosen))) < missing.mean() * sum(sizes) / len(chosen)
    return np.repeat(lost, 2, axis=1)


KINDS = {
    "inside": Kind("nothing is changed"),
    "bottleneck": Kind("ExZ was .02 Ne large for .05 x 2 Ne generations, until .02 x 2 Ne ago", _bottleneck),
    "homozygous": Kind("at 30 % of the SNPs heterozygotes are called homozygous", genotypes=_homozygous),
    **{
        f"hidden{name}": Kind(
            f"a fifth of the sample of Z is of a population apart since {share:g} of the split's time",
            partial(_hidden, share),
            (("ExZ", 80), ("Z", 44), ("H", 11)),
        )
        for name, share in (("-quarter", 0.25), ("", 0.5), ("-whole", 0.99))
    },
    **{
        f"migration{name}": Kind(f"migrants until today, 2 N m = {migrants} both ways", partial(_migration, migrants))
        for name, migrants in (("", 1), ("-4", 4), ("-16", 16), ("-64", 64))
    },
    "missing": Kind("30 % of the calls are missing instead of 15 %", missing=_thirty_percent),
    "concentrated": Kind("the missing calls are in a fifth of the individuals", missing=_concentrated),
    "monomorphic": Kind("40 % of the rows do not vary, and are left in", monomorphic=0.4),
}


def power(experiment: Experiment, bundle: bundling.Bundle, name: str, sets: int) -> dict[str, Any]:
    """How many of ``sets`` data sets of a kind are refused, or said to fit no scenario; scenarios take turns."""
    found = [judged(bundle, made(experiment, bundle, KINDS[name], i)) for i in range(sets)]
    refused = found.count("refused")
    return {"kind": name, "flagged": found.count("none fits") + refused, "refused": refused, "of": len(found)}


def judged(bundle: bundling.Bundle, table: RealTable) -> str:
    """``refused``, ``none fits`` or ``fits``, as ``ganinfer predict`` finds."""
    own = bundling.Asked(bundle.setup.pipeline, bundle.template.genealogies, bundle.about["min_call_rate"])
    try:
        answer = predicting.judge(bundle, table, own)
    except bundling.BundleError:
        return "refused"
    return "none fits" if answer["none_fits"] else "fits"


def made(experiment: Experiment, bundle: bundling.Bundle, kind: Kind, number: int) -> RealTable:
    """A data set of a kind with as many SNPs as the bundle's, at a draw from a scenario's prior."""
    scenario = list(experiment.scenarios)[number % len(experiment.scenarios)]
    plugin, rng = simulator(experiment, scenario), np.random.default_rng([number, 7])
    theta = plugin.parameters.named(plugin.parameters.sample(rng, 1)[0])
    demography = plugin.demography(theta)  # type: ignore[attr-defined]
    if kind.history is not None:
        kind.history(demography, theta)
    samples = bundle.setup.samples
    carriers = chromosomes(samples)
    size = int(_SPARE * bundle.num_snps)
    assert bundle.template.missing is not None
    missing = np.unpackbits(bundle.template.missing, axis=1, count=len(carriers)).astype(bool)
    missing = np.resize(missing, (size, len(carriers)))
    template = LociTemplate(np.arange(size), np.packbits(missing, axis=1), "alike", bundle.template.rule)
    sets = [msprime.SampleSet(n, population=p, ploidy=2) for p, n in kind.sampled]
    (table,) = simulate_loci(demography, sets, Design(samples, (template,), "loci"), 1 + number)
    genotypes = table.genotypes if kind.genotypes is None else kind.genotypes(table.genotypes, rng)
    missing = missing if kind.missing is None else kind.missing(missing, rng)
    genotypes = np.where(missing, np.int8(-1), genotypes)
    derived, called = (genotypes == 1).sum(axis=1), (genotypes >= 0).sum(axis=1)
    kept = np.flatnonzero((derived > 0) & (derived < called))[: bundle.num_snps]
    constant = kept[len(kept) - int(kind.monomorphic * len(kept)) :]
    genotypes[constant] = np.minimum(genotypes[constant], 0)
    return RealTable(samples, Haplotypes(genotypes[kept], np.arange(len(kept)), carriers), phased=True)
