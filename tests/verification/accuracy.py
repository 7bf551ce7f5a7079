"""Accuracy on simulated data sets of known truth: error, interval coverage, cost."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ganinfer import experiment, runner, storage
from ganinfer.progress import make as make_progress

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
#: Each case: the experiment, and what of it is changed.
CASES: dict[str, tuple[str, tuple[str, ...]]] = {
    "im": ("im", ()),
    "exp": ("exp", ()),
    "exp-folded": ("exp", ("data.ancestral=none",)),
    "const": ("const", ()),
    "im-50": ("im", ("data.simulate.samples={A: 50, B: 50}",)),
}
#: Sampling standard deviation of the composite-likelihood estimate at the truth, per cent: what the data allow.
LIMITS = {
    "im": {"N1": 1.6, "N2": 1.5, "N_anc": 0.5, "T_split": 3.6, "pulse": 59.0},
    "im-50": {"N1": 0.9, "N2": 0.9, "N_anc": 0.4, "T_split": 2.3, "pulse": 35.0},
    "exp": {"N1": 0.8, "N2": 5.8, "T1": 13.0, "T2": 17.0, "growth": 24.0},
    "exp-folded": {"N1": 1.2, "N2": 7.5, "T1": 20.0, "T2": 20.0, "growth": 28.0},
}


def run_one(case: str, seed: int, folder: Path, overrides: list[str]) -> Path:
    """The run of one data set, made unless it is finished; a run that was stopped goes on."""
    name, changes = CASES[case]
    output = folder / case / f"data-{seed:02d}"
    if (output / "result.json").exists():
        return output
    loaded = experiment.load(EXPERIMENTS / f"{name}.yaml", [f"data.simulate.seed={seed}", *changes, *overrides])
    resume = bool(storage.completed_rounds(output)) if output.exists() else False
    with make_progress() as progress:
        return runner.run(loaded, output, seed=seed, resume=resume, progress=progress)


def table(folder: Path) -> str:
    """Markdown: for each case and parameter the relative error over its data sets, and how often intervals held."""
    lines = [
        "# Verification",
        "",
        "Simulated data sets of known truth, one run each with the shipped settings, made by `make verify`.",
        "Errors are per cent of the true value; *limit* is the sampling standard deviation of the composite likelihood",
        "of the site frequency spectrum at the truth. *Held* counts the 90 % intervals that contain the truth.",
        "",
        "| case | parameter | data sets | root mean square error | median SD of the posterior | limit | held |",
        "|---|---|---|---|---|---|---|",
    ]
    costs = []
    for case in CASES:
        rows = _rows(folder / case)
        if not rows:
            continue
        for name in rows[0]["names"]:
            errors = np.array([100 * (r["estimate"][name] / r["truth"][name] - 1) for r in rows])
            sd = np.median([100 * r["sd"][name] / abs(r["truth"][name]) for r in rows])
            held = sum(r["interval"][name][0] <= r["truth"][name] <= r["interval"][name][1] for r in rows)
            limit = LIMITS.get(case, {}).get(name)
            rms = np.sqrt(np.mean(errors**2))
            shown = "–" if limit is None else f"{limit:g}"
            lines.append(f"| {case} | {name} | {len(rows)} | {rms:.2f} | {sd:.2f} | {shown} | {held} of {len(rows)} |")
        seconds = [r["seconds"] for r in rows]
        windows = rows[0]["windows"]
        costs.append(f"{case}: {np.median(seconds) / 60:.1f} minutes a run (median), {windows:,} simulated windows.")
    return "\n".join([*lines, "", *costs, ""])


def _rows(folder: Path) -> list[dict]:
    rows = []
    for output in sorted(folder.glob("data-*")):
        if not (output / "result.json").exists():
            continue
        result = storage.read_json(output / "result.json")
        posterior = storage.read_table(output / "posterior.parquet")
        parameters = result["parameters"]
        rows.append(
            {
                "names": list(parameters),
                "truth": storage.read_json(output / "data.json")["truth"],
                "estimate": {n: p["estimate"] for n, p in parameters.items()},
                "interval": {n: p["interval"] for n, p in parameters.items()},
                "sd": {n: float(np.std(posterior[n])) for n in parameters},
                "seconds": result["seconds"]["total"],
                "windows": result["simulated_windows"],
            }
        )
    return rows
