"""No leak: windows that the simulator's own process made cannot be told from simulated ones; planted differences can.

    python -m tests.verification.leak                       every case at its strengths, then a table
    python -m tests.verification.leak nulls --sets 20       some of it
    python -m tests.verification.leak missingness --strengths 0.4 0.8
    python -m tests.verification.leak --table               only the table of what is there

A data set: genomes simulated at the truth on linked contigs, with hot spots of recombination, masks, missing calls,
either allele as the reference, written as VCF and read as any genomes are. Against it, on the templates of its
windows, the simulator at the truth. Nothing is inferred. A network a fold is trained to tell the two apart (critic
alone: with one truth there are no parameters to learn) and tested on the fold it has not seen, as
:mod:`tests.verification.blocks` says.

The rule: p-values of cases in which nothing differs are uniform, and a planted difference at the largest of its
strengths is found in four data sets of five. Records are kept in docs/verification/leak.json; what is there is not done
again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from ganinfer import execution, plugins, randomness, simulation, training
from ganinfer.haplotypes import chromosomes
from ganinfer.interfaces import WindowTemplate
from ganinfer.observed import Observed, chosen_windows, observe
from ganinfer.runner import assembling
from ganinfer.simulation import Encoded, Setup, Task
from tests.verification import blocks, leak_data, records

RECORDS = records.FOLDER / "leak.json"
DISCRIMINATOR = "exchangeable"
LEVEL = 0.01
#: Share of data sets in which the largest planted difference has to be found.
FOUND = 0.8
#: Simulated windows on each real window's template.
COPIES = 6
SETTINGS = training.TrainingSettings(
    epochs=8, real_share=1.0, learning_rate=1e-3, critic_weight=1.0, regressor_weight=0.0
)


@dataclass(frozen=True)
class Case:
    """``strengths`` of the planted difference, the one asked for first; none for a null.  ``what`` a strength is."""

    what: str
    strengths: tuple[float, ...] = (0.0,)
    phased: bool = False
    sets: int = 10


CASES: Mapping[str, Case] = {
    "nulls": Case("nothing differs; unphased", sets=20),
    "phased-nulls": Case("nothing differs; phased", phased=True, sets=20),
    "missingness": Case("share of missing calls that simulated windows lack", (0.2, 0.4, 0.8)),
    "map": Case("simulated at the map's mean rate, 1, or along the map", (1.0,)),
    "distance": Case("sites by which the real windows' distances are late", (1, 2, 4, 8)),
    "phase": Case("share of sites whose phase is lost in the real windows", (1.0,), phased=True),
    "folds": Case("nothing differs, but every window is looked at by the network that was trained on it", (1.0,)),
}


# --- one data set -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Sides:
    """Encoded windows: real ones; simulated ones, ``COPIES`` on each real window's template, one after the other."""

    setup: Setup
    observed: Observed
    simulated: Encoded


def examine(name: str, strength: float, seed: int) -> dict[str, Any]:
    """The record of one data set."""
    begun = time.process_time()
    with tempfile.TemporaryDirectory(prefix="leak-") as folder:
        sides = both_sides(name, strength, seed, Path(folder))
        verdict = told_apart(sides, seed, in_fold=name == "folds")
    return {
        "case": name,
        "strength": strength,
        "seed": seed,
        "windows": len(sides.observed),
        "blocks": len(np.unique(sides.observed.block)),
        **asdict(verdict),
        "cpu_seconds": round(time.process_time() - begun, 1),
        "versions": assembling.versions(),
    }


def both_sides(name: str, strength: float, seed: int, folder: Path) -> Sides:
    """A data set written, read and encoded, and its simulated counterpart, one of them with what was planted."""
    shuffled = strength if name == "phase" else 0.0
    loaded = leak_data.write(seed, folder, phased=CASES[name].phased, shuffled=shuffled)
    with execution.make("serial") as serial:
        real = assembling.open_data(loaded, serial, folder / assembling.CACHE)
    chosen = chosen_windows(real, loaded.windows.maximum, seed)
    encodings = tuple(plugins.load("discriminators", DISCRIMINATOR).encodings)
    setup, _ = assembling.fitted_setup(loaded, leak_data.SCENARIO, real, chosen, encodings)
    observed = observe(real, chosen, setup, SETTINGS.folds, seed, folder / assembling.CACHE)
    simulator, templates = setup, observed.templates
    if name == "distance":
        observed = replace(observed, arrays=late(observed.arrays, int(strength)))
    if name == "missingness":
        rng = randomness.stream(seed, "planted")
        templates = tuple(fewer_missing(t, strength, len(chromosomes(setup.samples)), rng) for t in templates)
    if name == "map":
        mean = float(np.mean([t.recombination.mean_rate for t in templates if t.recombination is not None]))
        simulator = replace(setup, options={**setup.options, "recombination_rate": mean})
    return Sides(setup, observed, simulate(simulator, templates, seed))


def simulate(setup: Setup, templates: Sequence[WindowTemplate], seed: int) -> Encoded:
    tasks = (
        Task(setup, leak_data.truth(), (template,) * COPIES, randomness.simulator_seed(seed, "leak", i))
        for i, template in enumerate(templates)
    )
    with execution.make("serial") as serial:
        encoded = list(simulation.simulate(tasks, serial))
    return {name: np.concatenate([e[name] for e in encoded]) for name in encoded[0]}


def told_apart(sides: Sides, seed: int, *, in_fold: bool = False) -> blocks.Verdict:
    """Train a critic a fold, and test each on the fold that it has not seen; or, ``in_fold``, on the one it has."""
    observed, simulated = sides.observed, sides.simulated
    fold = np.repeat(observed.fold, COPIES)
    networks = training.init(DISCRIMINATOR, {}, simulation.encoding_specs(sides.setup), 1, SETTINGS, seed)
    # A proposal's windows share a fold, so there is one proposal a fold; both are the truth.
    targets = np.zeros((SETTINGS.folds, 1))
    training.train(
        networks,
        training.Windows(simulated, fold, fold, targets),
        training.Windows(observed.arrays, observed.fold),
        SETTINGS,
        randomness.stream(seed, "train"),
    )
    turn = 1 if in_fold else 0
    real_logits = out_of_fold(networks, observed.arrays, (observed.fold + turn) % SETTINGS.folds)
    logits = out_of_fold(networks, simulated, (fold + turn) % SETTINGS.folds).reshape(len(observed), COPIES)
    return blocks.compare(real_logits, logits, observed.block, observed.fold)


def out_of_fold(
    networks: Sequence[training.FoldNetwork], arrays: Mapping[str, np.ndarray], fold: np.ndarray
) -> np.ndarray:
    """The critic's logit of each window, by the network that was not trained on it."""
    logits = np.empty(len(fold))
    for network in networks:
        mine = np.flatnonzero(fold == network.fold)
        logits[mine] = training.embed(network, {name: np.asarray(a[mine]) for name, a in arrays.items()})[1]
    return logits


# --- what is planted ----------------------------------------------------------------------------------------------


def fewer_missing(
    template: WindowTemplate, share: float, num_chromosomes: int, rng: np.random.Generator
) -> WindowTemplate:
    """The template with so large a share of its missing genotypes called after all."""
    if template.missing is None:
        return template
    rows = np.unpackbits(template.missing, axis=1, count=num_chromosomes)
    kept = rng.random((len(rows), num_chromosomes // 2)) >= share
    return replace(template, missing=np.packbits(rows & np.repeat(kept, 2, axis=1), axis=1))


def late(arrays: Mapping[str, np.ndarray], sites: int) -> dict[str, np.ndarray]:
    """Every site with the distance of the one ``sites`` before it, the first ones with none."""
    distances = np.zeros_like(arrays["distances"])
    distances[:, sites:] = arrays["distances"][:, :-sites]
    return {**arrays, "distances": distances * arrays["mask"]}


# --- records ------------------------------------------------------------------------------------------------------


def read_records(path: Path = RECORDS) -> list[dict[str, Any]]:
    """All records, none where there is no file yet."""
    return records.content(path, "sets")


def add_record(record: dict[str, Any], path: Path = RECORDS) -> None:
    """Put a record in the place of one of the same data set; the file is whole at any moment."""
    kept = [r for r in read_records(path) if _key(r) != _key(record)]
    order = list(CASES)
    kept = sorted([*kept, record], key=lambda r: (order.index(r["case"]), r["strength"], r["seed"]))
    lines = ",\n".join("  " + json.dumps(r) for r in kept)
    records.write(path, f'{{\n "schema_version": {records.SCHEMA_VERSION},\n "sets": [\n{lines}\n ]\n}}\n')


def _key(record: Mapping[str, Any]) -> tuple[str, float, int]:
    return record["case"], float(record["strength"]), record["seed"]


def table(sets: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: of each case and strength how often it was found, the AUC, and whether the nulls are uniform."""
    lines = [
        f"| case | strength | data sets | p < {LEVEL:g} | median p | mean AUC | SE | uniform: p of KS | CPU seconds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for (name, strength), rows in _grouped(sets).items():
        p_values, auc = (np.array([r[key] for r in rows]) for key in ("p_value", "auc"))
        error = auc.std(ddof=1) / np.sqrt(len(auc)) if len(auc) > 1 else np.nan
        uniform = "–" if strength else f"{_uniform(p_values):.2f}"
        lines.append(
            f"| {name} | {strength:g} | {len(rows)} | {(p_values < LEVEL).sum()} | {np.median(p_values):.2g} "
            f"| {auc.mean():.4f} | {error:.4f} | {uniform} | {np.median([r['cpu_seconds'] for r in rows]):.0f} |"
        )
    return "\n".join([*lines, "", *(f"{name}: {case.what}." for name, case in CASES.items())])


def passed(sets: Sequence[Mapping[str, Any]]) -> bool:
    """Whether all that is recorded is as the rule has it; smaller differences than the largest have no rule."""
    for (name, strength), rows in _grouped(sets).items():
        p_values = np.array([r["p_value"] for r in rows])
        if strength == 0 and _uniform(p_values) <= LEVEL:
            return False
        if strength > 0 and strength == max(CASES[name].strengths) and (p_values < LEVEL).mean() < FOUND:
            return False
    return True


def _grouped(sets: Sequence[Mapping[str, Any]]) -> dict[tuple[str, float], list[Mapping[str, Any]]]:
    groups: dict[tuple[str, float], list[Mapping[str, Any]]] = {}
    for record in sets:
        groups.setdefault((record["case"], record["strength"]), []).append(record)
    return groups


def _uniform(p_values: np.ndarray) -> float:
    return float(stats.kstest(p_values, "uniform").pvalue)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.verification.leak", description="No leak.")
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}; default: all")
    parser.add_argument("--sets", type=int, help="data sets, default 20 nulls and 10 of each planted strength")
    parser.add_argument("--first", type=int, default=1, help="seed of the first data set")
    parser.add_argument("--strengths", nargs="+", type=float, help="of the planted difference, default: several")
    parser.add_argument("--records", type=Path, default=RECORDS)
    parser.add_argument("--table", action="store_true", help="only print what is there")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.cases if name not in CASES]:
        parser.error(f"no case {unknown[0]!r}; there are {', '.join(CASES)}")
    training.configure(1)
    try:
        for name, strength, seed in () if arguments.table else _wanted(arguments):
            if (name, strength, seed) in {_key(r) for r in read_records(arguments.records)}:
                continue
            record = examine(name, strength, seed)
            add_record(record, arguments.records)
            print(
                f"{name} {strength:g} {seed}: p {record['p_value']:.3g}, AUC {record['auc']:.3f}, "
                f"{record['cpu_seconds']:.0f} CPU s",
                flush=True,
            )
        found = read_records(arguments.records)
        print(table(found))
    except ValueError as error:
        parser.exit(2, f"error: {error}\n")
    raise SystemExit(0 if passed(found) else 1)


def _wanted(arguments: argparse.Namespace) -> Iterator[tuple[str, float, int]]:
    for name in arguments.cases or CASES:
        case = CASES[name]
        for strength in arguments.strengths or case.strengths:
            for seed in range(arguments.first, arguments.first + (arguments.sets or case.sets)):
                yield name, float(strength), seed


if __name__ == "__main__":
    main()
