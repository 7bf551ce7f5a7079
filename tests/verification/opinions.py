"""The second opinion put to the test: how far moments and we are apart on data of known truth.

    python -m tests.verification.opinions                  20 data sets of im
    python -m tests.verification.opinions exp --sets 10    some of another experiment

Data sets are drawn around the posterior of one run, and inferred with its simulations and networks, as ``ganinfer
calibrate`` does; then moments is asked about each. If the differences are what bootstraps over blocks say, one in
twenty is beyond two of its standard deviations; the rule is one in ten. What was found stands in
docs/verification/opinions-NAME.json; what is there is not done again.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ganinfer import coverage, experiment, observed, randomness, runner, second_opinion, storage
from ganinfer.coverage import DataSet
from ganinfer.execution import Executor
from ganinfer.interfaces import EMULATOR_ERROR
from ganinfer.runner import assembling, inferring, parts, rounds
from tests.verification import records

FOLDER = records.ROOT / ".bench" / "verification" / "opinions"
EXPERIMENTS = records.ROOT / "experiments"
BOOTSTRAPS = 20
#: Standard deviations of a difference beyond which it counts, and the share that may.
APART, ALLOWED = 2.0, 0.1


def record_path(name: str) -> Path:
    return records.FOLDER / f"opinions-{name}.json"


def compare(name: str, sets: int) -> list[dict[str, Any]]:
    """Records of the first ``sets`` data sets, those that are not there yet made now."""
    told = experiment.load(EXPERIMENTS / f"{name}.yaml", ["execution.executor=process", "second_opinion.bootstraps=0"])
    folder, path = FOLDER / name, record_path(name)
    if not (folder / "result.json").exists():
        runner.run(told, folder, resume=(folder / "rounds").exists())
    missing = [k for k in range(sets) if k not in {r["seed"] for r in records.read(path)}]
    if missing:
        assembling.import_training(told)
        with assembling.executor(told) as workers, tempfile.TemporaryDirectory() as cache:
            real = assembling.open_data(told, workers, Path(cache))
            problem, _ = inferring.problem_of(told, assembling.only_scenario(told), real, Path(cache) / "encoded")
            with storage.RunFolder.create(folder, resume=True) as run:
                state, history = rounds.read(problem, run)
                info = rounds.last_info(run, history[-1]["round"])
            posterior = parts.posterior(folder)
            error = np.array([info.metrics[f"{EMULATOR_ERROR}{n}"] for n in problem.parameters.names])
            for number in missing:
                rng = randomness.stream(problem.seed, "opinions", number)
                truth = posterior[rng.integers(len(posterior))]
                made = _one(told, problem, state, truth, error, number, workers, Path(cache) / str(number))
                records.add(path, name, made)
                print(name, number, made["differences"], flush=True)
    return [r for r in records.read(path) if r["seed"] < sets]


def _one(
    told: Any,
    problem: Any,
    state: Any,
    truth: np.ndarray,
    error: np.ndarray,
    number: int,
    workers: Executor,
    cache: Path,
) -> dict[str, Any]:
    section = told.data.simulate.model_copy(update={"truth": problem.parameters.named(truth), "seed": 1_000 + number})
    study = told.model_copy(update={"data": told.data.model_copy(update={"simulate": section})})
    real = assembling.open_data(study, workers, cache)
    chosen = np.arange(len(real.windows))
    seen = observed.observe(real, chosen, problem.setup, problem.network.settings.folds, problem.seed, cache)
    own, at = coverage.seen_by(problem, state, DataSet(seen.arrays, seen.spectra))
    own = replace(own, observed=replace(own.observed, templates=seen.templates, windows=seen.windows))
    posterior, _ = coverage.inferred(own, at, number)
    settings = second_opinion.OpinionSettings(BOOTSTRAPS, told.level)
    found = second_opinion.ask(
        own, at, posterior, error, real, chosen, settings, workers, lambda _: None, misidentified=False
    )
    names = problem.parameters.names
    return {
        "seed": number,
        "truth": problem.parameters.named(truth),
        "ours": problem.parameters.named(np.median(posterior, axis=0)),
        "theirs": {n: found.parameters[n].estimate for n in names},
        "intervals": {n: found.parameters[n].interval for n in names},
        "by": {n: found.parameters[n].method for n in names},
        "differences": {n: found.parameters[n].difference for n in names},
        "one_maximum": found.one_maximum,
        "program": found.program,
    }


def summed(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Differences beyond :data:`APART`, their root mean square, and how often the other intervals held the truth.

    ``error_ratio`` is our root mean square error over moments' (geometric mean over parameters).
    """
    differences = np.array([d for r in rows for d in r["differences"].values() if d is not None])
    held = [
        r["intervals"][n][0] <= r["truth"][n] <= r["intervals"][n][1]
        for r in rows
        for n in r["truth"]
        if r["intervals"][n]
    ]
    beyond = int((np.abs(differences) > APART).sum())
    return {
        "sets": len(rows),
        "beyond": beyond,
        "of": len(differences),
        "root_mean_square": float(np.sqrt(np.mean(differences**2))),
        "their_intervals_held": sum(held),
        "their_intervals": len(held),
        "error_ratio": float(np.exp(np.mean(np.log(_errors(rows, "ours") / _errors(rows, "theirs"))))),
        "passed": len(differences) > 0 and beyond <= ALLOWED * len(differences),
    }


def _errors(rows: list[dict[str, Any]], whose: str) -> np.ndarray:
    """Root mean square error of each parameter."""
    return np.sqrt(np.mean([[(r[whose][n] - truth) ** 2 for n, truth in r["truth"].items()] for r in rows], axis=0))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.verification.opinions")
    parser.add_argument("experiment", nargs="?", default="im", help="of the shipped simulation studies")
    parser.add_argument("--sets", type=int, default=20, help="data sets")
    arguments = parser.parse_args()
    found = summed(compare(arguments.experiment, arguments.sets))
    print(found)
    raise SystemExit(0 if found["passed"] else 1)


if __name__ == "__main__":
    main()
