"""Whether another run would say the same: runs of one data set from other seeds, beside what each says of itself.

    python -m tests.verification.replicates                 ten runs of im
    python -m tests.verification.replicates exp --runs 5    some of another experiment

The windows are the same in all of them; networks, folds, proposals and simulations are others. Two rules. The estimates
of every parameter scatter by :data:`MOST` standard deviations of its posterior at most; and over all parameters by as
much as the runs say of their Monte Carlo errors, within the factor :data:`WITHIN`. Every run is recorded in
docs/verification/replicates-NAME.json, and what is there is not done again, on whatever machine.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ganinfer import storage
from tests.verification import accuracy, records

FOLDER = records.ROOT / ".bench" / "verification" / "replicates"
MOST, WITHIN = 0.5, 1.5


def replicated(name: str, runs: int) -> list[dict[str, Any]]:
    """Records of so many runs, those that lack made now."""
    path = records.FOLDER / f"replicates-{name}.json"
    done = {r["seed"] for r in records.read(path)}
    for seed in range(1, runs + 1):
        if seed not in done:
            output = FOLDER / name / f"run-{seed:02d}"
            accuracy.finish(name, accuracy.POSTERIOR_ONLY, output, seed)
            records.add(path, name, recorded(output, seed))
    return [r for r in records.read(path) if r["seed"] <= runs]


def recorded(output: Path, seed: int) -> dict[str, Any]:
    parameters = storage.read_json(output / "result.json")["parameters"]
    sampled = {n: p["monte_carlo"] for n, p in parameters.items()}
    return {**accuracy.record(output, seed), "monte_carlo": sampled}


def judged(fits: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The rules; spread and Monte Carlo error in standard deviations of the posterior, the usual one of all runs."""
    names = list(fits[0]["estimate"])
    estimates, sd, said = (
        np.array([[f[key][n] for n in names] for f in fits]) for key in ("estimate", "sd", "monte_carlo")
    )
    spread = estimates.std(axis=0, ddof=1) / np.median(sd, axis=0)
    told = np.sqrt(np.mean(said**2, axis=0))
    ratio = float(np.sqrt(np.mean(spread**2) / np.mean(told**2)))
    return {
        "runs": len(fits),
        "spread": dict(zip(names, spread.tolist(), strict=True)),
        "monte_carlo": dict(zip(names, told.tolist(), strict=True)),
        "together": float(np.sqrt(np.mean(spread**2))),
        "ratio": ratio,
        "passed": bool(spread.max() <= MOST) and 1 / WITHIN <= ratio <= WITHIN,
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.verification.replicates")
    parser.add_argument("experiment", nargs="?", default="im", help="of the shipped simulation studies")
    parser.add_argument("--runs", type=int, default=10, help="seeds, from 1 on; two at least")
    arguments = parser.parse_args()
    if arguments.runs < 2:
        parser.error("a single run has nothing to be compared with: --runs is 2 at least")
    found = judged(replicated(arguments.experiment, arguments.runs))
    print(json.dumps(found, indent=1))
    raise SystemExit(0 if found["passed"] else 1)


if __name__ == "__main__":
    main()
