"""What nobody knows, put to the test: a mutation rate known to 10 %, and the scale of recombination.

    python -m tests.verification.nuisance                  both
    python -m tests.verification.nuisance recombination    one of them

*mutation*: ``im`` with the rate a parameter, lognormal with a standard deviation of .1; 50 data sets around the
solution (``ganinfer calibrate``). 90 % intervals hold 80 to 97 % of truths, and the posteriors of sizes are as wide as
they should be: with s the size's change with the rate in the joint posterior, their logarithm's variance is that of a
run with a known rate plus s² times the rate's, within what the widths of runs scatter by; and one of them is wider by
more than that, or there would be nothing to see. *recombination*: ``im`` with recombination_scale a parameter, data
simulated at half, once and twice the rate. Each scale is estimated within 10 %. What was found stands in
docs/verification/nuisance.json; runs are kept and gone on with.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ganinfer import runner, storage
from ganinfer.experiment import loads
from tests.verification import records

FOLDER = records.ROOT / ".bench" / "verification" / "nuisance"
KNOWN = FOLDER / "known"
EXPERIMENTS = records.ROOT / "experiments"
RECORD = records.FOLDER / "nuisance.json"
RATE, SETS = 1.25e-8, 50
TRUTH = "N1: 9_000, N2: 5_000, N_anc: 15_000, T_split: 2_000, pulse: 0.05"
SCALES = (0.5, 1.0, 2.0)
SIZES = ("N1", "N2", "N_anc")
#: Standard deviations of posteriors scatter by up to a tenth between runs (docs/verification/replicates-im.json), their
#: ratios by 1.4 tenths: two of these.
SCATTER = 0.28
_PRIOR = "{lognormal: {mean: -18.1975, sd: 0.1}}"
_MU = f"- {{name: mu, lower_bound: 7.5e-9, upper_bound: 2.0e-8, scale: log, prior: {_PRIOR}}}"
_SCALE = "- {name: r_scale, lower_bound: 0.1, upper_bound: 10, scale: log}"


def written(parameter: str, name: str, value: float, options: str, folder: Path) -> str:
    """The experiment with one more ``parameter`` of this ``name``, at ``value`` in the data, as YAML."""
    listed = (EXPERIMENTS / "im.options.yaml").read_text().replace("parameters:\n", f"parameters:\n{parameter}\n", 1)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "options.yaml").write_text(listed)
    return f"""
schema_version: 1
name: nuisance
data:
  simulate: {{scenario: im, truth: {{{TRUTH}, {name}: {value}}}, samples: {{A: 10, B: 10}}, windows: 2000, seed: 1}}
windows: {{length: 50_000}}
scenarios:
  im: {{simulator: demes, model: {EXPERIMENTS}/im.demes.yaml, parameters: {folder}/options.yaml, {options}}}
execution: {{executor: process}}
second_opinion: {{bootstraps: 0}}
budget: {{simulated_windows: 100_000}}
"""


def made(text: str, folder: Path) -> Path:
    told = loads(text, folder.parent, "nuisance")
    if not (folder / "result.json").exists():
        runner.run(told, folder, resume=(folder / "rounds").exists())
    return folder


def mutation() -> dict[str, Any]:
    """Coverage with a rate known to 10 %, and how wide posteriors of sizes are beside those with a known one."""
    folder = FOLDER / "mutation"
    text = written(_MU, "mu", RATE, f"mutation_rate: mu, recombination_rate: {RATE}", FOLDER)
    made(text, folder)
    runner.calibrate(loads(text, FOLDER, "nuisance"), folder, sets=SETS)
    said = storage.read_json(folder / "calibration" / "calibration.json")["posterior"]
    rows = {n: v["coverage"]["0.9"]["held"] for n, v in said["parameters"].items()}
    pooled = said["pooled"]["0.9"]
    widths = widened(*(storage.read_table(f / "posterior.parquet") for f in (folder, made(_with_known_rate(), KNOWN))))
    return {
        "held": rows,
        "sets": said["sets"],
        "pooled": pooled,
        "widths": widths,
        "known_by_product": storage.read_json(folder / "result.json")["known_by_product"],
        "passed": 0.8 <= pooled["held"] / pooled["of"] <= 0.97 and as_wide_as_they_should_be(widths),
    }


def widened(free: Mapping[str, np.ndarray], known: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """By size, standard deviations of its logarithm with a ``known`` rate and a ``free`` one, and what is ``expected``.

    ``free`` and ``known``: columns (n,) of posterior draws; ``slope``: how the size changes with the rate among them.
    """
    rate = np.log(free["mu"])
    found = {}
    for name in SIZES:
        size, before = np.log(free[name]), float(np.std(np.log(known[name])))
        slope = float(np.polyfit(rate, size, 1)[0])
        expected = float(np.hypot(before, slope * np.std(rate)))
        found[name] = {"known": before, "free": float(np.std(size)), "slope": slope, "expected": expected}
    return found


def as_wide_as_they_should_be(widths: Mapping[str, Mapping[str, float]]) -> bool:
    right = all(abs(np.log(w["free"] / w["expected"])) < SCATTER for w in widths.values())
    return right and any(np.log(w["expected"] / w["known"]) > SCATTER for w in widths.values())


def _with_known_rate() -> str:
    options = f"mutation_rate: {RATE}, recombination_rate: {RATE}, recombination_scale: r_scale, fixed: {{r_scale: 1}}"
    return written(_SCALE, "r_scale", 1.0, options, FOLDER / "scale").replace(", r_scale: 1.0}", "}")


def recombination() -> dict[str, Any]:
    """Estimates of the scale, data at each of :data:`SCALES`."""
    found = {}
    for scale in SCALES:
        own = FOLDER / f"scale-{scale:g}"
        options = f"mutation_rate: {RATE}, recombination_rate: {RATE}, recombination_scale: r_scale"
        made(written(_SCALE, "r_scale", scale, options, FOLDER / "scale"), own)
        said = storage.read_json(own / "result.json")["parameters"]["r_scale"]
        found[f"{scale:g}"] = {"estimate": said["estimate"], "interval": said["interval"]}
        print(scale, found[f"{scale:g}"], flush=True)
    errors = [abs(v["estimate"] / float(scale) - 1) for scale, v in found.items()]
    return {"scales": found, "largest_error": max(errors), "passed": max(errors) <= 0.1}


PARTS: dict[str, Callable[[], dict[str, Any]]] = {"recombination": recombination, "mutation": mutation}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.verification.nuisance")
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="default: both")
    passed = True
    for name in parser.parse_args().parts or PARTS:
        found = PARTS[name]()
        records.put(RECORD, name, found)
        print(name, found)
        passed = passed and found["passed"]
    raise SystemExit(0 if passed else 1)


if __name__ == "__main__":
    main()
