"""Whether stretches stand for a whole sequence: intervals of sequences of 100 Mb, around the solution of a bottleneck.

    python -m tests.verification.whole_sequences             24 sequences
    python -m tests.verification.whole_sequences --sets 8    some of them

``ganinfer calibrate`` simulates stretches of up to 5 Mb, since the time that one takes grows with the square of its
length. Linkage that reaches further is then in the real genomes alone. Here every data set is one sequence with all its
linkage, at a draw of the posterior of one of the data sets of :mod:`tests.verification.bottlenecks`, and is inferred
with the simulations of that run, as ``calibrate`` does it. The rule is that of :mod:`tests.verification.intervals`.
Records are kept in docs/verification/whole-sequences.json; what is there is not done again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ganinfer import coverage, experiment, observed, randomness, storage
from ganinfer.coverage.bootstrap import DataSet
from ganinfer.experiment import Experiment
from ganinfer.inference import InferenceState, Problem
from ganinfer.observed import RealWindows
from ganinfer.runner import assembling, inferring, parts, rounds, summing_up
from tests.verification import accuracy, bottlenecks, intervals, records

NAME = bottlenecks.NAME
RECORD = records.FOLDER / "whole-sequences.json"
SETS = 24
#: The data set around whose solution sequences are simulated: small sizes, so that one takes seconds.
AROUND = 7


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run, as far as data sets are inferred with it; ``posterior`` (n, p)."""

    problem: Problem
    state: InferenceState
    posterior: np.ndarray


def told(truth: Mapping[str, float], seed: int) -> Experiment:
    """The experiment on data simulated at ``truth``."""
    given = ", ".join(f"{n}: {v!r}" for n, v in truth.items())
    changes = [f"data.simulate.seed={seed}", f"data.simulate.truth={{{given}}}", "execution.executor=serial"]
    return experiment.load(accuracy.EXPERIMENTS / f"{NAME}.yaml", changes)


def opened(simulated: Experiment, folder: Path) -> RealWindows:
    with assembling.executor(simulated) as workers:
        return assembling.open_data(simulated, workers, folder)


def finished(folder: Path) -> Run:
    """The run around whose solution sequences lie, made if there is none; ``folder`` takes what its networks read."""
    truth, output = bottlenecks.truths()[AROUND - 1], bottlenecks.FOLDER / f"data-{AROUND:02d}"
    bottlenecks.run_one(AROUND, truth, output.name)
    own = told(truth, AROUND).model_copy(update={"seed": AROUND})
    assembling.import_training(own)
    problem, _ = inferring.problem_of(own, NAME, opened(own, folder), folder)
    with storage.RunFolder.create(output, resume=True) as run:
        state, _ = rounds.read(problem, run)
    return Run(problem, state, parts.posterior(output))


def inferred(run: Run, number: int) -> dict[str, Any]:
    """The record of one sequence."""
    problem, rng = run.problem, randomness.stream(AROUND, "whole sequence", number)
    truth = run.posterior[rng.integers(len(run.posterior))]
    simulated = told(problem.parameters.named(truth), randomness.simulator_seed(AROUND, "whole sequence", number))
    with tempfile.TemporaryDirectory() as name:
        real = opened(simulated, Path(name))
        chosen = observed.chosen_windows(real, simulated.windows.maximum, AROUND)
        made = observed.observe(real, chosen, problem.setup, problem.network.settings.folds, AROUND, Path(name))
        data = DataSet({key: np.array(array) for key, array in made.arrays.items()}, made.spectra)
    # Blocks and folds are those of the windows' places, which are the same.
    seen = coverage.seen_by(replace(problem, observed=made), run.state, data)
    posterior, metrics = coverage.inferred(*seen, number)
    return {**summing_up.row(problem.parameters, truth, posterior, intervals.LEVEL, metrics), "seed": number}


def judged(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The rule; and by parameter how many intervals hold, root mean square and mean of the errors in deviations."""
    each = [list(row["parameters"].values()) for row in rows]
    held = np.array([[p["interval"][0] <= p["truth"] <= p["interval"][1] for p in row] for row in each])
    errors = np.array([[p["error"] / p["sd"] for p in row] for row in each])
    by_name = {
        name: {
            "held": int(held[:, i].sum()),
            "error": float(np.sqrt(np.mean(errors[:, i] ** 2))),
            "bias": float(errors[:, i].mean()),
        }
        for i, name in enumerate(rows[0]["parameters"])
    }
    return {"sets": len(rows), "parameters": by_name, **intervals.judged(held)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.verification.whole_sequences")
    parser.add_argument("--sets", type=int, default=SETS, help="sequences")
    arguments = parser.parse_args()
    done = {r["seed"] for r in records.read(RECORD)}
    missing = [number for number in range(1, arguments.sets + 1) if number not in done]
    if missing:
        with tempfile.TemporaryDirectory() as name:
            run = finished(Path(name))
            for number in missing:
                made = inferred(run, number)
                records.add(RECORD, NAME, made)
                shown = {n: round(p["error"] / p["sd"], 2) for n, p in made["parameters"].items()}
                print(f"sequence {number}: errors in standard deviations {shown}", flush=True)
    found = judged([r for r in records.read(RECORD) if r["seed"] <= arguments.sets])
    print(json.dumps(found, indent=1))
    raise SystemExit(0 if found["passed"] else 1)


if __name__ == "__main__":
    main()
