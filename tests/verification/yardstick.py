"""The yardstick beside our accuracy: moments on the joint site frequency spectrum of the same windows.

    python -m tests.verification.yardstick                      every case, data seeds 1 to 10
    python -m tests.verification.yardstick im --seeds 1 2 3     some of it
    python -m tests.verification.yardstick yri-ceu --seeds 1    the shipped genomes, with starts of that seed

Each fit (:mod:`ganinfer.second_opinion`) starts three times from draws of the prior, knows the mutation rate and the
length, and uses ancestral alleles where our run uses them. Records without ``chromosomes`` are of its predecessor,
which computed the spectra of small samples directly. Fits are kept in docs/verification/moments-CASE.json; what is
there is not done again.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ganinfer import execution, experiment, randomness
from ganinfer.experiment import Experiment, pipeline_settings
from ganinfer.observed import chosen_windows
from ganinfer.runner import assembling
from ganinfer.second_opinion import spectra
from ganinfer.second_opinion.fitting import Fit
from ganinfer.second_opinion.likelihood import Job
from ganinfer.simulation import simulator
from tests.verification import accuracy, records

#: Experiments on real genomes, whose truth nobody knows.
GENOMES = ("yri-ceu",)
_STARTS = 3


class YardstickError(ValueError):
    """A fit with moments can't be made."""


def load_case(case: str, seed: int) -> Experiment:
    """The experiment of a case of :data:`accuracy.CASES`, as our run of that data seed has it."""
    if case in GENOMES:
        return experiment.load(accuracy.EXPERIMENTS / f"{case}.yaml", [f"seed={seed}"])
    if case not in accuracy.CASES:
        known = ", ".join([*accuracy.CASES, *GENOMES])
        raise YardstickError(f"{case!r} is no case of the verification; there are {known}")
    spec = accuracy.CASES[case]
    changes = [f"data.simulate.seed={seed}", *spec.changes]
    return experiment.load(accuracy.EXPERIMENTS / f"{spec.experiment}.yaml", changes)


def fit(case: str, seed: int) -> dict[str, Any]:
    """moments' fit of the windows that our run of this case and data seed sees, as a record."""
    import moments

    loaded = load_case(case, seed)
    with execution.make("serial", 1) as workers:
        real = assembling.open_data(loaded, workers, assembling.cache_folder())
        setup = assembling.base_setup(
            loaded, assembling.only_scenario(loaded), real.samples, pipeline_settings(loaded, real.phased), ()
        )
        # As :func:`accuracy.run_one` does, the run's seed is the data's.
        chosen = chosen_windows(real, loaded.windows.maximum, seed)
        why = spectra.why_not(setup, [real.templates[i] for i in chosen])
        if why:
            raise YardstickError(f"case {case}: {why}")
        counted = spectra.spectra(setup, real, chosen, np.zeros(len(chosen), dtype=int), seed)
        began = time.process_time()
        parameters = simulator(setup).parameters
        draws = parameters.sample(randomness.stream(seed, "moments starts", case), _STARTS)
        found = Fit(Job.of(setup, counted, misidentified=False), draws, workers)
    ends = [found.likelihood.coordinates.decode(start.x) for start in found.starts]
    return {
        "seed": seed,
        "truth": dict(real.summary().get("truth", {})),
        "windows": len(chosen),
        **spectra.describe(counted),
        "estimate": parameters.named(found.estimate),
        "log_likelihood": found.log_likelihood,
        "starts": [
            {"from": parameters.named(draw), "to": parameters.named(end), "log_likelihood": start.log_likelihood}
            for draw, end, start in zip(draws, ends, found.starts, strict=True)
        ],
        "cpu_seconds": round(time.process_time() - began, 1),
        "versions": {"moments": moments.__version__, "numpy": np.__version__},
    }


def read_records(case: str, folder: Path = records.FOLDER) -> list[dict[str, Any]]:
    """The fits of a case by seed, none where there is no file yet."""
    return records.read(folder / f"moments-{case}.json")


def add_record(case: str, record: dict[str, Any], folder: Path = records.FOLDER) -> None:
    """Put a fit among those of its case, in the place of one of the same seed."""
    records.add(folder / f"moments-{case}.json", case, record)


def errors(fits: Iterable[dict[str, Any]]) -> dict[str, np.ndarray]:
    """For each parameter the relative errors of the estimates, per cent, one a record."""
    fits = list(fits)
    names = list(fits[0]["estimate"]) if fits else []
    return {n: np.array([100 * (r["estimate"][n] / r["truth"][n] - 1) for r in fits]) for n in names}


def table(cases: Iterable[str], folder: Path = records.FOLDER) -> str:
    """Markdown: root mean square errors and cost of each case's fits."""
    lines = [
        "| case | data sets | root mean square error | limit | CPU seconds a fit (median) |",
        "|---|---|---|---|---|",
    ]
    for case in cases:
        fits = read_records(case, folder)
        if not fits or case in GENOMES:
            continue
        found = ", ".join(f"{n} {np.sqrt(np.mean(e**2)):.2f} %" for n, e in errors(fits).items())
        limit = ", ".join(f"{value:g}" for value in accuracy.LIMITS.get(case, {}).values()) or "–"
        seconds = np.median([r["cpu_seconds"] for r in fits])
        lines.append(f"| {case} | {len(fits)} | {found} | {limit} | {seconds:.0f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.verification.yardstick", description="Fits with moments.")
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(accuracy.CASES)}; default: all")
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(1, 11)), help="seeds of the data sets")
    arguments = parser.parse_args()
    cases = arguments.cases or [case for case, spec in accuracy.CASES.items() if spec.moments == case]
    try:
        for case in cases:
            load_case(case, 1)
        for case in cases:
            done = {r["seed"] for r in read_records(case)}
            for seed in (s for s in arguments.seeds if s not in done):
                record = fit(case, seed)
                add_record(case, record)
                shown = ", ".join(f"{n} {v:.5g}" for n, v in record["estimate"].items())
                print(f"{case} {seed}: {shown}; {record['cpu_seconds']:.0f} CPU s", flush=True)
        print(table(cases))
    except ValueError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()
