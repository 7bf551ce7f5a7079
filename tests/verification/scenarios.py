"""Comparisons of scenarios put to the test.

    python -m tests.verification.scenarios                       all of it but what takes hours
    python -m tests.verification.scenarios practical             the experiment ``seguieriana`` and its tests
    python -m tests.verification.scenarios misfits --kinds hidden homozygous --sets 20
    python -m tests.verification.scenarios parameters            errors of parameters, beside a second method's
    python -m tests.verification.scenarios polarised --simulations 4000
    python -m tests.verification.scenarios folded --simulations 4000    (after ``polarised``, of the same simulations)
    python -m tests.verification.scenarios other-reading         the ancestor as large as ExZ
    python -m tests.verification.scenarios conv1d --tests 334 --folds 2 --epochs 20    the network of a course
    python -m tests.verification.scenarios windows               simulated genomes of the experiment ``contact``

Runs are kept under ``.bench/verification`` and go on where they were stopped; what was found stands in
docs/verification/scenarios.json and on the page docs/scenarios-verified.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from ganinfer import runner
from ganinfer.experiment import Experiment, load
from ganinfer.progress import Silent
from ganinfer.runner import assembling, bundling, comparing, planning
from ganinfer.storage import SIMULATIONS, SimulationStore
from tests.verification import folding, misfits, records, scenarios_page

NAME = "seguieriana"
RUNS = records.ROOT / ".bench" / "verification"
EXPERIMENTS = records.ROOT / "experiments"
RECORD = records.FOLDER / "scenarios.json"
PAGE = records.ROOT / "docs" / "scenarios-verified.md"
Arguments = argparse.Namespace


def practical(arguments: Arguments) -> None:
    """The experiment as it is shipped, with more tests."""
    finished(NAME, [f"comparison.tests={arguments.tests}"])


def misfit(arguments: Arguments) -> None:
    experiment, bundle = opened(finished(NAME, [f"comparison.tests={arguments.tests}"]))
    known = {r["kind"]: r for r in json.loads(RECORD.read_text()).get("kinds", [])} if RECORD.exists() else {}
    for name in arguments.kinds or misfits.KINDS:
        if known.get(name, {}).get("of", 0) < arguments.sets:
            known[name] = misfits.power(experiment, bundle, name, arguments.sets)
            print(known[name], flush=True)
            keep("kinds", [known[kind] for kind in misfits.KINDS if kind in known])


def parameters(arguments: Arguments) -> None:
    from tests.verification import table_parameters

    folder = finished(NAME, [f"comparison.tests={arguments.tests}"])
    experiment, bundle = opened(folder)
    plan = planning.planned(experiment, planning.open_table(experiment))
    with assembling.executor(experiment) as workers:
        learnt, tests, _ = comparing.simulations(plan, folder / SIMULATIONS, workers, Silent())
    keep("parameters", table_parameters.measured(bundle, learnt, tests, arguments.sets))


def polarised(arguments: Arguments) -> None:
    """Ancestral alleles known, as Kirschner et al. had them, with as many simulations as are asked for."""
    larger("seguieriana-polarised", ["data.ancestral=REF"], arguments)


def folded(arguments: Arguments) -> None:
    """The tables of ``polarised`` folded, which are those that a run on folded ones would simulate."""
    changes = sized(arguments)
    unfolded, wanted = (planned([*changes, *more]) for more in (["data.ancestral=REF"], []))
    source, target = (RUNS / f"{NAME}-{name}" / SIMULATIONS for name in ("polarised", "folded"))
    for purpose, size in (("learn", arguments.simulations), ("test", arguments.tests)):
        for before, after in zip(unfolded.scenarios, wanted.scenarios, strict=True):
            known, new = (
                SimulationStore(place / f"{s.name}-{purpose}", comparing.key(plan, s, purpose))
                for place, plan, s in ((source, unfolded, before), (target, wanted, after))
            )
            new.extend(size, partial(folding.folded, known, after))
    (target.parent / "rounds").mkdir(exist_ok=True)  # a run that has simulated all that it needs
    larger(f"{NAME}-folded", [], arguments)


def other_reading(arguments: Arguments) -> None:
    """The ancestor of both lineages as large as ExZ at the split, not as Z."""
    name = f"{NAME}-other-reading"
    larger(name, other_ancestor(RUNS / f"{name}-models"), arguments)


def other_ancestor(folder: Path) -> list[str]:
    """Changes to the experiment: options, written to ``folder``, in which the ancestor has the size of ExZ."""
    folder.mkdir(parents=True, exist_ok=True)
    yaml, changes, size = YAML(typ="safe"), [], {"epochs": {0: "start_size"}}
    for scenario in load(EXPERIMENTS / f"{NAME}.yaml").scenarios:
        options = yaml.load(EXPERIMENTS / f"{NAME}-{scenario}.options.yaml")
        settings = [each for part in options.values() for item in part for each in item.get("values", [])]
        demes = [each["demes"] for each in settings if "demes" in each]
        (of_z,) = (each for each in demes if each.get("ancestral") == size)
        (of_exz,) = (each for each in demes if each.get("ExZ", {}).get("epochs", {}).get(0) == "start_size")
        of_exz["ancestral"] = of_z.pop("ancestral")
        model = yaml.load(EXPERIMENTS / f"{NAME}-{scenario}.demes.yaml")
        first = {deme["name"]: deme["epochs"][0] for deme in model["demes"]}
        first["ancestral"]["start_size"] = first["ExZ"]["start_size"]
        for key, kind, written in (("model", "demes", model), ("parameters", "options", options)):
            yaml.dump(written, folder / f"{scenario}.{kind}.yaml")
            changes.append(f"scenarios.{scenario}.{key}={folder / scenario}.{kind}.yaml")
    return changes


def conv1d(arguments: Arguments) -> None:
    """The network of a course, which wants a row a chromosome."""
    larger(f"{NAME}-conv1d", ["data.phased=true", "discriminator={name: conv1d}"], arguments)


def larger(name: str, overrides: list[str], arguments: Arguments) -> None:
    """A run with as many simulations as are asked for; what it says is recorded under its number of simulations."""
    result = json.loads((finished(name, [*overrides, *sized(arguments)]) / "result.json").read_text())
    said = result["comparison"]
    row = {
        "run": name,
        "simulations": said["simulations"],
        "networks": said["calibration"],
        "rivals": said["rivals"],
        "learning_curve": said["learning_curve"],
        "seconds": result["seconds"],
    }
    row["networks"] = {k: v for k, v in row["networks"].items() if k != "reliability"}
    known = json.loads(RECORD.read_text()).get("larger", []) if RECORD.exists() else []
    others = [r for r in known if (r["run"], r["simulations"]) != (name, said["simulations"])]
    keep("larger", sorted([*others, row], key=lambda r: (r["run"], r["simulations"])))


def windows(arguments: Arguments) -> None:
    from tests.verification import window_scenarios

    keep("windows", window_scenarios.measured(RUNS, arguments.genomes))


def sized(arguments: Arguments) -> list[str]:
    sizes = {name: getattr(arguments, name) for name in ("simulations", "tests", "folds", "epochs")}
    return [f"comparison.{name}={number}" for name, number in sizes.items() if number is not None]


def planned(overrides: Sequence[str]) -> planning.Plan:
    experiment = load(EXPERIMENTS / f"{NAME}.yaml", overrides)
    assembling.import_training(experiment)
    return planning.planned(experiment, planning.open_table(experiment))


def finished(name: str, overrides: Sequence[str], file: str = NAME) -> Path:
    """A finished run of the experiment ``file``: made, gone on with, or as it is."""
    experiment, folder = load(EXPERIMENTS / f"{file}.yaml", overrides), RUNS / name
    done = folder / "result.json"
    wanted = experiment.comparison.simulations
    if not done.exists() or json.loads(done.read_text())["comparison"]["simulations"] < wanted:
        runner.run(experiment, folder, resume=(folder / "rounds").exists())
    return folder


def opened(folder: Path) -> tuple[Experiment, bundling.Bundle]:
    experiment = load(EXPERIMENTS / f"{NAME}.yaml")
    assembling.import_training(experiment)
    return experiment, bundling.read(folder / "bundle")


def keep(what: str, found: Any) -> None:
    """Put a list among the records, and write the page anew."""
    known = json.loads(RECORD.read_text()) if RECORD.exists() else {"schema_version": records.SCHEMA_VERSION}
    records.write(RECORD, json.dumps({**known, what: found}, indent=1) + "\n")
    practical_run = RUNS / NAME / "result.json"
    if practical_run.exists():
        result = json.loads(practical_run.read_text())
        PAGE.write_text(scenarios_page.page({**known, what: found, "practical": result}))


PARTS: dict[str, Callable[[Arguments], None]] = {
    "practical": practical,
    "misfits": misfit,
    "parameters": parameters,
    "windows": windows,
    "polarised": polarised,
    "folded": folded,
    "other-reading": other_reading,
    "conv1d": conv1d,
}
#: What is done where nothing is named.
_USUAL = ("practical", "misfits", "parameters", "windows")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.verification.scenarios")
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help=f"default: {', '.join(_USUAL)}")
    parser.add_argument("--kinds", nargs="*", choices=[*misfits.KINDS], help="misfits; default: all")
    parser.add_argument("--sets", type=int, default=100, help="misfits of each kind, tables of each scenario")
    parser.add_argument("--tests", type=int, default=1_000, help="test data sets of each scenario")
    parser.add_argument("--simulations", type=int, default=1_000, help="of each scenario, for the larger runs")
    parser.add_argument("--folds", type=int, default=3, help="networks of the larger runs")
    parser.add_argument("--epochs", type=int, help="passes in training the larger runs' networks; default: as any run")
    parser.add_argument("--genomes", type=int, default=100, help="simulated genomes of each scenario on windows")
    arguments = parser.parse_args()
    for part in arguments.parts or _USUAL:
        PARTS[part](arguments)


if __name__ == "__main__":
    main()
