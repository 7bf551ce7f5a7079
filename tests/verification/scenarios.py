"""Comparisons of scenarios put to the test: the experiment ``seguieriana``, its tests, and data that no scenario makes.

    python -m tests.verification.scenarios                       all of it
    python -m tests.verification.scenarios hidden homozygous     some kinds of misfit
    python -m tests.verification.scenarios --sets 20             fewer data sets of each

The run is kept under ``.bench/verification/seguieriana`` and goes on where it was stopped; what was found stands in
docs/verification/scenarios.json and on the page docs/scenarios-verified.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msprime
import numpy as np

from ganinfer import runner, simulation
from ganinfer.coalescent import simulate_loci
from ganinfer.experiment import Experiment, load, simulator
from ganinfer.genomes import RealTable, prepared
from ganinfer.haplotypes import Haplotypes, chromosomes
from ganinfer.interfaces import Design, LociTemplate
from ganinfer.runner import bundling, comparing
from tests.verification import records

NAME = "seguieriana"
RUN = records.ROOT / ".bench" / "verification" / NAME
RECORD = records.FOLDER / "scenarios.json"
PAGE = records.ROOT / "docs" / "scenarios-verified.md"
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


def _bottleneck(demography: msprime.Demography, theta: Mapping[str, float]) -> None:
    unit = 2 * theta["Ne"]
    for time, size in ((0.02 * unit, 0.02), (0.07 * unit, 1.0)):
        demography.add_population_parameters_change(
            time=time, population="ExZ", initial_size=size * theta["Ne"], growth_rate=0
        )
    demography.sort_events()


def _migration(demography: msprime.Demography, theta: Mapping[str, float]) -> None:
    rate = 1 / (2 * theta["Ne"])
    demography.set_migration_rate("ExZ", "Z", rate)
    demography.set_migration_rate("Z", "ExZ", rate)


def _hidden(demography: msprime.Demography, theta: Mapping[str, float]) -> None:
    (split,) = (e.time for e in demography.events if type(e).__name__ == "PopulationSplit")
    demography.add_population(name="H", initial_size=theta["Ne"])
    demography.add_population_split(time=0.5 * split, derived=["H"], ancestral="Z")
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
    "hidden": Kind(
        "a fifth of the sample of Z is of a population apart since half the split's time",
        _hidden,
        (("ExZ", 80), ("Z", 44), ("H", 11)),
    ),
    "migration": Kind("migrants until today, 2 N m = 1 both ways", _migration),
    "missing": Kind("30 % of the calls are missing instead of 15 %", missing=_thirty_percent),
    "concentrated": Kind("the missing calls are in a fifth of the individuals", missing=_concentrated),
}


def finished(sets: int) -> Path:
    """The run with its bundle, made if it is not there."""
    if not (RUN / "result.json").exists():
        made = load(records.ROOT / "experiments" / f"{NAME}.yaml", [f"comparison.tests={sets}"])
        runner.run(made, RUN, resume=RUN.exists())
    return RUN


def power(experiment: Experiment, bundle: bundling.Bundle, references: Any, name: str, sets: int) -> dict[str, Any]:
    """How many of ``sets`` data sets of a kind no scenario is said to fit, scenarios taking turns."""
    flagged = [none_fits(bundle, references, made(experiment, bundle, KINDS[name], i)) for i in range(sets)]
    return {"kind": name, "flagged": int(sum(flagged)), "of": len(flagged)}


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
    return RealTable(samples, Haplotypes(genotypes[kept], np.arange(len(kept)), carriers), phased=True)


def none_fits(bundle: bundling.Bundle, references: Any, table: RealTable) -> bool:
    """Whether no scenario fits a table."""
    from ganinfer import comparison

    ready = prepared(table, bundle.setup.pipeline, "alike", 0.0, 1)
    arrays = simulation.encode(bundle.setup, [ready.haplotypes], 1)
    _, outcomes = comparison.judged(bundle.trained, arrays, [1.0] * len(bundle.scenarios))
    verdicts = comparison.verdicts(references, arrays[comparison.STATISTICS][0], outcomes)
    return all(verdict.p_value < comparing.FITS for verdict in verdicts)


def page(result: Mapping[str, Any], found: list[dict[str, Any]]) -> str:
    """What the run's tests say, and the misfits that were seen, in Markdown."""
    comparison = result["comparison"]
    scores = {"networks": comparison["calibration"], **comparison["rivals"]}
    lines = [
        "# Scenarios, put to the test",
        "",
        "Made by `python -m tests.verification.scenarios` from the experiment "
        f"[{NAME}](../experiments/{NAME}.yaml): three scenarios, 1,000 SNPs of 135 individuals, 15 % missing, "
        f"{comparison['simulations']:,} simulated tables of each to learn from, {scores['networks']['tests']:,} others "
        "to test on. Sizes and times are read as the published `ms` commands have them; see the experiment.",
        "",
        "| | accuracy | log loss | calibration error |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {100 * s['accuracy']:.2f} % | {s['log_loss']:.4f} ± {s['log_loss_error']:.4f} | "
        f"{s['expected_calibration_error']:.4f} |"
        for name, s in scores.items()
    ]
    lines += [
        "",
        "Tables that no scenario makes, scenarios taking turns, and how often `none_fits` said so. Nothing of them was "
        "in training. Of tables inside, at most one in twenty should be flagged.",
        "",
        "| kind | what it is | flagged |",
        "|---|---|---|",
    ]
    lines += [f"| {r['kind']} | {KINDS[r['kind']].text} | {r['flagged']} of {r['of']} |" for r in found]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.verification.scenarios")
    parser.add_argument("kinds", nargs="*", choices=[[], *KINDS], help="default: all")
    parser.add_argument("--sets", type=int, default=100, help="data sets of each kind")
    parser.add_argument("--tests", type=int, default=1_000, help="test data sets of each scenario")
    arguments = parser.parse_args()
    folder = finished(arguments.tests)
    from ganinfer import comparison
    from ganinfer.runner import assembling

    experiment = load(records.ROOT / "experiments" / f"{NAME}.yaml")
    assembling.import_training(experiment)
    bundle = bundling.read(folder / "bundle")
    references = comparison.references(bundle.simulations, bundle.trained)
    known = {r["kind"]: r for r in records.content(RECORD, "kinds")}
    for name in arguments.kinds or KINDS:
        if known.get(name, {}).get("of", 0) < arguments.sets:
            known[name] = power(experiment, bundle, references, name, arguments.sets)
            print(known[name], flush=True)
            listed = [known[kind] for kind in KINDS if kind in known]
            RECORD.write_text(json.dumps({"schema_version": records.SCHEMA_VERSION, "kinds": listed}, indent=1) + "\n")
    result = json.loads((folder / "result.json").read_text())
    PAGE.write_text(page(result, [known[kind] for kind in KINDS if kind in known]))


if __name__ == "__main__":
    main()
