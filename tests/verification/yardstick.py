"""The yardstick beside our accuracy: moments on the joint site frequency spectrum of the same windows.

    python -m tests.verification.yardstick                      every case, data seeds 1 to 10
    python -m tests.verification.yardstick im --seeds 1 2 3     some of it
    python -m tests.verification.yardstick yri-ceu --seeds 1    the shipped genomes, with starts of that seed

Each fit starts three times from draws of the prior, knows the mutation rate and the length, and uses ancestral alleles
where our run uses them. Fits are kept in docs/verification/moments-CASE.json; what is there is not done again. moments
has an environment of its own in ``.bench/moments``, made when it is missing: it asks for an older scipy than ours.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ganinfer import execution, experiment, randomness
from ganinfer.experiment import Experiment, pipeline_settings
from ganinfer.observed import RealWindows, chosen_windows
from ganinfer.pipeline import PipelineSettings, prepare_real
from ganinfer.runner import assembling
from ganinfer.statistics import allele_counts
from tests.verification import accuracy, records

ROOT = Path(__file__).parents[2]
ENVIRONMENT = ROOT / ".bench" / "moments"
REQUIREMENT = "moments-popgen==1.6.1"
#: Experiments on real genomes, whose truth nobody knows.
GENOMES = ("yri-ceu",)
_STARTS = 3
_LAST_LINES = 5


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


def spectrum(real: RealWindows, chosen: np.ndarray, settings: PipelineSettings) -> np.ndarray:
    """Sites (chromosomes of each population + 1, ...) by their derived (folded: minor) alleles in each population.

    ``chosen``: indices of the windows to count.

    Raises :class:`YardstickError` where a call is missing: such a site has no cell.
    """
    rng = randomness.stream(0, "spectrum")  # only moves singletons between chromosomes, which no count sees
    sizes: tuple[int, ...] | None = None
    counts = np.zeros(0)
    for i in chosen:
        window = prepare_real(real.haplotypes(i), settings, rng)
        if sizes is None:
            sizes = window.carriers.sizes
            counts = np.zeros([size + 1 for size in sizes])
        derived, called = allele_counts(window)
        short = np.flatnonzero((called != np.array(sizes)).any(axis=1))
        if len(short):
            where = real.windows[i]
            position = where.left + int(window.positions[short[0]])
            raise YardstickError(
                f"moments needs every call of a site, and {where.contig}:{position + 1} lacks some; use data without "
                "missing genotypes"
            )
        np.add.at(counts, tuple(derived.T), 1)
    return counts


def moments_python() -> Path:
    """The Python that has moments, its environment made if it is not there or has another version."""
    python, stamp = ENVIRONMENT / "bin" / "python", ENVIRONMENT / "installed"
    if not (stamp.exists() and stamp.read_text() == REQUIREMENT):
        print(f"making {ENVIRONMENT} with {REQUIREMENT}", flush=True)
        _call([sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT)], "making an environment for moments")
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", REQUIREMENT]
        _call(install, f"installing {REQUIREMENT}")
        stamp.write_text(REQUIREMENT)
    return python


def fit(case: str, seed: int) -> dict[str, Any]:
    """moments' fit of the windows that our run of this case and data seed sees, as a record."""
    loaded = load_case(case, seed)
    python = moments_python()
    with execution.make("serial", 1) as workers:
        real = assembling.open_data(loaded, workers, ENVIRONMENT / "cache")
    scenario = assembling.only_scenario(loaded)
    late = [s.population for s in real.samples if s.time > 0]
    if late:
        raise YardstickError(
            f"case {case}: samples of {', '.join(late)} are ancient; the yardstick has present ones only"
        )
    settings = pipeline_settings(loaded, real.phased)
    # As :func:`accuracy.run_one` does, the run's seed is the data's.
    chosen = chosen_windows(real, loaded.windows.maximum, seed)
    counts = spectrum(real, chosen, settings)
    job = {
        "options": dict(loaded.scenarios[scenario].options),
        "populations": list(dict.fromkeys(s.population for s in real.samples)),
        "folded": settings.folded,
        "without_singletons": settings.singletons == "drop",
        "length": sum(real.windows[i].num_accessible for i in chosen),
        "starts": _STARTS,
        "seed": seed,
        "stream": ["moments starts", case],
    }
    record = {"seed": seed, "truth": dict(real.summary().get("truth", {})), "windows": len(chosen)}
    return {**record, "sites": int(counts.sum()), "folded": settings.folded, **_run(python, job, counts)}


def _run(python: Path, job: dict[str, Any], counts: np.ndarray) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="moments-") as name:
        folder = Path(name)
        (folder / "job.json").write_text(json.dumps(job))
        np.save(folder / "spectrum.npy", counts)
        _call([str(python), "-m", "tests.verification.moments_fit", name], "the fit with moments")
        return json.loads((folder / "fit.json").read_text())


def _call(command: Sequence[str], what: str) -> None:
    """Run ``command`` in the root with one thread; raises :class:`YardstickError` with the end of its messages."""
    one = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **one, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = "\n".join((done.stderr or done.stdout).strip().splitlines()[-_LAST_LINES:])
        raise YardstickError(f"{what} failed with exit code {done.returncode}:\n{said}")


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
