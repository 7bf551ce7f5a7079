"""How often intervals hold the truth: around solutions, beside runs of their own, and all over the prior.

    python -m tests.verification.coverage                     all of it
    python -m tests.verification.coverage posterior exp       one part, of one experiment
    python -m tests.verification.coverage prior --sets 5      five data sets of it

*posterior*: a run of each experiment and 100 data sets around its solution, which share its simulations (``ganinfer
calibrate``). *full*: ten of them by runs of their own as well. *prior*: 30 data sets with truths from the prior, each a
run of its own. Runs are kept under ``.bench/verification/coverage``. What was found around solutions stands in
docs/verification/coverage.json; every run of its own in coverage-full-NAME.json and coverage-prior-NAME.json, and what
is there is not done again, on whatever machine.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ganinfer import experiment, ranks, runner, storage
from ganinfer.experiment import Experiment
from ganinfer.runner import belonging, parts, summing_up
from tests.verification import intervals, records

FOLDER = records.ROOT / ".bench" / "verification" / "coverage"
EXPERIMENTS = records.ROOT / "experiments"
RECORD = records.FOLDER / "coverage.json"
SETTINGS = ("execution.executor=process",)
#: Experiments and data sets of each part.
POSTERIOR, FULL, PRIOR = belonging.SHARED, belonging.FULL, belonging.PRIOR
PARTS = {POSTERIOR: (("im", "exp", "yri-ceu"), 100), FULL: (("im", "exp"), 10), PRIOR: (("im",), 30)}
#: Shares of truths that intervals hold: of all together, by level, and of every parameter.
POOLED = {"0.5": (0.44, 0.56), "0.9": (0.87, 0.93)}
EACH = (0.80, 0.97)
AROUND_PRIOR = (0.80, 0.97)
#: Estimates of a run of its own less those of the shortcut, in posterior standard deviations (root mean square), and
#: the median ratio of these.
APART, WIDTHS = 1.0, (0.8, 1.25)


def told(name: str) -> Experiment:
    return experiment.load(EXPERIMENTS / f"{name}.yaml", list(SETTINGS))


def finished(name: str) -> Path:
    """The folder of an experiment's run, made or gone on with if need be."""
    folder = FOLDER / name
    if not (folder / "result.json").exists():
        runner.run(told(name), folder, resume=(folder / "rounds").exists())
    return folder


# --- around solutions ---------------------------------------------------------------------------------------------


def around_posterior(name: str, sets: int) -> dict[str, Any]:
    """What ``ganinfer calibrate`` says of so many data sets, recorded; it is kept if it is of as many or more."""
    kept = known(name)
    if kept.get("sets", 0) < sets:
        folder = finished(name)
        runner.calibrate(told(name), folder, sets=sets)
        found = storage.read_json(folder / storage.CALIBRATION / summing_up.JSON)[POSTERIOR]
        records.put(RECORD, name, found)
        kept = known(name)
    return kept


def known(name: str) -> dict[str, Any]:
    """What is recorded of an experiment's data sets around its solution."""
    found = json.loads(RECORD.read_text()).get(name, {}) if RECORD.exists() else {}
    return dict(found)


def judged_together(found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The rule for what was found around the solutions of all experiments."""
    shares = {
        level: sum(f["pooled"][level]["held"] for f in found.values())
        / sum(f["pooled"][level]["of"] for f in found.values())
        for level in POOLED
    }
    each = {
        f"{name}/{parameter}": values["coverage"]["0.9"]["share"]
        for name, f in found.items()
        for parameter, values in f["parameters"].items()
    }
    outside = {key: share for key, share in each.items() if not _within(share, EACH)}
    pooled = all(_within(shares[level], limits) for level, limits in POOLED.items())
    return {"pooled": shares, "outside": outside, "passed": pooled and not outside}


def _within(value: float, limits: tuple[float, float]) -> bool:
    return limits[0] <= value <= limits[1]


# --- runs of their own --------------------------------------------------------------------------------------------


def path_of(part: str, name: str) -> Path:
    return records.FOLDER / f"coverage-{part}-{name}.json"


def beside_runs(name: str, sets: int) -> list[dict[str, Any]]:
    """Records of so many data sets, each inferred both ways, those that lack made around the solution of a run here."""
    path = path_of(FULL, name)
    if len(records.read(path)) < sets:
        folder = finished(name)
        solution = belonging.digest(parts.posterior(folder))
        runner.calibrate(told(name), folder, sets=sets)
        calibration = folder / storage.CALIBRATION
        _restored(calibration / FULL, {r["number"]: r[FULL] for r in records.read(path) if r["solution"] == solution})
        while (count := len(records.read(path))) < sets:
            number = sum(r["solution"] == solution for r in records.read(path))
            runner.calibrate(told(name), folder, sets=number + 1, full=number + 1)
            both = {kind: summing_up.records(calibration, kind)[number] for kind in (FULL, POSTERIOR)}
            made = {"seed": count, "solution": solution, "number": number, **both}
            records.add(path, name, made)
            print(name, number, _apart([made]), flush=True)
    return records.read(path)[:sets]


def around_prior(name: str, sets: int) -> list[dict[str, Any]]:
    """Records of so many data sets with truths from the prior, those that lack made now."""
    path, folder = path_of(PRIOR, name), FOLDER / f"{name}-{PRIOR}"
    if len(records.read(path)) < sets:
        runner.calibrate(told(name), folder, around="prior", sets=0)
        calibration = folder / storage.CALIBRATION
        about = storage.read_json(calibration / belonging.ABOUT.format(PRIOR))
        if any(r["about"] != about for r in records.read(path)):
            raise records.RecordsError(f"{path} is of another experiment or way to calibrate; delete it to begin anew")
        _restored(calibration / PRIOR, {r["seed"]: r[PRIOR] for r in records.read(path)})
        for number in range(len(records.read(path)), sets):
            runner.calibrate(told(name), folder, around="prior", sets=number + 1)
            row = summing_up.records(calibration, PRIOR)[number]
            records.add(path, name, {"seed": number, "about": about, PRIOR: row})
            print(name, number, {n: round(v["rank"], 3) for n, v in row["parameters"].items()}, flush=True)
    return records.read(path)[:sets]


def _restored(folder: Path, rows: Mapping[int, Mapping[str, Any]]) -> None:
    """Put recorded rows where a calibration looks for what it has done."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, row in rows.items():
        path = folder / f"{number:04d}.json"
        if not path.exists():
            path.write_text(json.dumps(row))


def _held(rows: Sequence[Mapping[str, Any]], kind: str) -> np.ndarray:
    """Whether 90 % intervals hold the truth, (data sets, parameters)."""
    found = [[values["rank"] for values in row[kind]["parameters"].values()] for row in rows]
    return ranks.held(np.array(found), intervals.LEVEL)


def _apart(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    pairs = [(own, row[POSTERIOR]["parameters"][name]) for row in rows for name, own in row[FULL]["parameters"].items()]
    moved = [(own["error"] - shared["error"]) / shared["sd"] for own, shared in pairs]
    ratio = [own["sd"] / shared["sd"] for own, shared in pairs]
    return {"apart": float(np.sqrt(np.mean(np.square(moved)))), "sd_ratio": float(np.median(ratio))}


def judged_beside(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The rule for runs of their own beside the shortcut: alike, and with intervals that hold."""
    held, apart = intervals.judged(_held(rows, FULL)), _apart(rows)
    alike = apart["apart"] <= APART and _within(apart["sd_ratio"], WIDTHS)
    shortcut = int(_held(rows, POSTERIOR).sum())
    return {"sets": len(rows), **held, "shortcut": shortcut, **apart, "passed": held["passed"] and alike}


def judged_around_prior(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    held = _held(rows, PRIOR)
    told_of = {"sets": len(rows), "held": int(held.sum()), "of": held.size}
    return {**told_of, "passed": _within(float(held.mean()), AROUND_PRIOR)}


def examined(part: str, names: Sequence[str], sets: int) -> dict[str, Any]:
    """What the rule says of a part, by experiment where each stands for itself."""
    if part == POSTERIOR:
        return {"together": judged_together({name: around_posterior(name, sets) for name in names})}
    if part == FULL:
        return {name: judged_beside(beside_runs(name, sets)) for name in names}
    return {name: judged_around_prior(around_prior(name, sets)) for name in names}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.verification.coverage")
    parser.add_argument("part", nargs="?", choices=PARTS, help="default: all")
    parser.add_argument("experiments", nargs="*", help="of the part; default: all")
    parser.add_argument("--sets", type=int, help="data sets; default: those of the part")
    arguments = parser.parse_args()
    right = True
    for part in [arguments.part] if arguments.part else PARTS:
        names, sets = PARTS[part]
        found = examined(part, arguments.experiments or names, arguments.sets or sets)
        print(part, json.dumps(found, indent=1), flush=True)
        right = right and all(f["passed"] for f in found.values())
    raise SystemExit(0 if right else 1)


if __name__ == "__main__":
    main()
