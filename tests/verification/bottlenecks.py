"""A bottleneck on one chromosome, at ten truths all over the prior, with the settings of experiments/bottleneck.yaml.

    python -m tests.verification.bottlenecks                          ten truths
    python -m tests.verification.bottlenecks --seeds 1 2              some of them
    python -m tests.verification.bottlenecks --truth 30000 900 120    one of your own

Truths are a Latin hypercube over the prior, up to a size of 20,000: simulating one sequence of 100 Mb takes minutes
there, and hours at 100,000. Some of them say next to nothing about a parameter. Runs are kept under
``.bench/verification/bottlenecks`` and go on where they were stopped; what was found stands in
docs/verification/bottlenecks.json. The rule: of the 90 % intervals no fewer hold the truth, and of the right models no
more are flagged, than chance allows once in a hundred.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import binom, qmc

from ganinfer import experiment, storage
from ganinfer.runner import assembling
from tests.verification import accuracy, records

NAME = "bottleneck"
FOLDER = records.ROOT / ".bench" / "verification" / "bottlenecks"
RECORD = records.FOLDER / "bottlenecks.json"
SETS = 10
#: Largest size of a truth.
LARGEST = 2e4
#: Chance that a verification of intervals and a verdict that are what they say fails, each.
ALLOWED = 0.01


def truths() -> list[dict[str, float]]:
    """Truths of the ten data sets, three digits each."""
    told = experiment.load(accuracy.EXPERIMENTS / f"{NAME}.yaml")
    parameters = assembling.simulator(told, NAME).parameters
    cube = qmc.LatinHypercube(len(parameters.names), rng=1).random(SETS)
    lower, upper = parameters.bounds.T
    upper = np.where(np.array(parameters.names) == "T", upper, LARGEST)
    drawn = np.exp(np.log(lower) + cube * np.log(upper / lower))
    return [{n: float(f"{v:.3g}") for n, v in zip(parameters.names, row, strict=True)} for row in drawn]


def run_one(seed: int, truth: dict[str, float], folder: str) -> dict[str, Any]:
    """The record of one run, which goes on where it was stopped."""
    output = FOLDER / folder
    told = ", ".join(f"{n}: {v!r}" for n, v in truth.items())
    accuracy.finish(
        NAME,
        [f"data.simulate.seed={seed}", f"data.simulate.truth={{{told}}}", "execution.executor=process"],
        output,
        seed,
    )
    result = storage.read_json(output / "result.json")
    opinion = result.get("second_opinion") or {}
    return {
        **accuracy.record(output, seed),
        "truth": truth,
        "verdict": {k: result["adequacy"][k] for k in ("verdict", "p_value")},
        "moments": opinion.get("parameters", {}),
    }


def summed(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Intervals that hold the truth, models flagged, errors in standard deviations of the posterior; the rule."""
    held = [r["interval"][n][0] <= t <= r["interval"][n][1] for r in rows for n, t in r["truth"].items()]
    flagged = sum(r["verdict"]["verdict"] != "adequate" for r in rows)
    errors = [(r["estimate"][n] - t) / r["sd"][n] for r in rows for n, t in r["truth"].items()]
    fewest = int(binom.ppf(ALLOWED, len(held), 0.9))
    most = int(binom.isf(ALLOWED, len(rows), 0.05))
    return {
        "sets": len(rows),
        "held": sum(held),
        "of": len(held),
        "fewest": fewest,
        "flagged": flagged,
        "most": most,
        "root_mean_square": float(np.sqrt(np.mean(np.square(errors)))),
        "minutes": float(np.median([r["seconds"]["total"] for r in rows]) / 60),
        "passed": sum(held) >= fewest and flagged <= most,
    }


def told(row: dict[str, Any]) -> str:
    """One run in a few lines."""
    lines = [f"data set {row['seed']}: {row['verdict']['verdict']} (p {row['verdict']['p_value']:.2f})"]
    for name, truth in row["truth"].items():
        low, high = row["interval"][name]
        mark = "" if low <= truth <= high else "  MISSED"
        lines.append(f"  {name}: {row['estimate'][name]:,.0f} ({low:,.0f} to {high:,.0f}), in truth {truth:,.0f}{mark}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.verification.bottlenecks")
    parser.add_argument("--seeds", nargs="*", type=int, default=list(range(1, SETS + 1)), help="of the ten data sets")
    parser.add_argument("--truth", nargs=3, type=float, metavar=("N_anc", "N", "T"), help="one other truth")
    arguments = parser.parse_args()
    if arguments.truth:
        truth = dict(zip(("N_anc", "N", "T"), arguments.truth, strict=True))
        print(told(run_one(1, truth, "-".join(f"{v:g}" for v in arguments.truth))))
        return
    chosen = truths()
    done = {r["seed"] for r in records.read(RECORD)}
    for seed in arguments.seeds:
        if seed not in done:
            made = run_one(seed, chosen[seed - 1], f"data-{seed:02d}")
            records.add(RECORD, NAME, made)
            print(told(made), flush=True)
    found = summed(records.read(RECORD))
    print(found)
    raise SystemExit(0 if found["passed"] else 1)


if __name__ == "__main__":
    main()
