"""Estimates from the shipped genomes beside a fit with dadi and a moments fit of the same windows.

    python -m tests.verification.yardstick yri-ceu --seeds 1
    python -m tests.verification.real_genomes --seeds 1 2 3

The windows are the same for every seed; how far runs differ is what simulation and training add. Runs are kept under
``.bench/verification``, what they found in docs/verification/runs-yri-ceu.json; what is recorded is not done again. The
page is docs/real-genomes.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ganinfer import storage
from ganinfer.report import fit_drawn, reading, words
from tests.verification import accuracy, records

CASE = "yri-ceu"
RUNS = records.FOLDER / f"runs-{CASE}.json"
MOMENTS = records.FOLDER / f"moments-{CASE}.json"
PAGE = records.ROOT / "docs" / "real-genomes.md"
#: Made once with dadi on the same regions: folded, projected to 20 x 20 chromosomes, same rate and generation time.
DADI = {
    "N_anc": 16_200.0,
    "N_YRI": 29_100.0,
    "N_CEU_split": 940.0,
    "N_CEU": 27_000.0,
    "T_anc": 322_000.0,
    "T_split": 75_600.0,
    "migration": 3.2e-5,
}
_NUM_RESIDUALS = 10


def run_one(seed: int, folder: Path) -> dict[str, Any]:
    """The record of one run, which goes on where it was stopped."""
    output = folder / CASE / f"seed-{seed:02d}"
    accuracy.finish(CASE, [f"seed={seed}", "second_opinion.bootstraps=0"], output, seed)
    warnings = storage.read_json(output / "warnings.json")["warnings"]
    verdict = storage.read_json(output / "result.json")["adequacy"]
    said = {key: verdict[key] for key in ("verdict", "p_value", "critic_auc", "left_out")}
    return {**accuracy.record(output, seed), "residuals": residuals(output), "warnings": warnings, "adequacy": said}


def residuals(output: Path) -> dict[str, float]:
    """Real less simulated mean of every statistic that varies, in standard errors of the difference."""
    found = fit_drawn.residuals(reading.load(output))
    assert found is not None, f"{output} has no comparison of real and simulated statistics"
    return {name: round(float(z), 2) for name, z in zip(found.names, found.z, strict=True)}


def page(runs: Sequence[Mapping[str, Any]], moments: Mapping[str, float]) -> str:
    """Markdown: estimates by seed beside the other fits, then what the model misses."""
    return "\n".join([*_HEAD, *_estimates(runs, moments), "", *_misses(runs), ""])


def _estimates(runs: Sequence[Mapping[str, Any]], moments: Mapping[str, float]) -> list[str]:
    seeds = [f"seed {run['seed']}" for run in runs]
    lines = [f"| parameter | dadi | inside | moments | inside | {' | '.join(seeds)} |", "|---" * (5 + len(runs)) + "|"]
    for name, by_dadi in DADI.items():
        intervals = [run["interval"][name] for run in runs]
        cells = [name]
        for value in (by_dadi, moments[name]):
            cells += [_number(value), f"{sum(low <= value <= high for low, high in intervals)} of {len(runs)}"]
        for run, (low, high) in zip(runs, intervals, strict=True):
            cells.append(f"{_number(run['estimate'][name])} ({_number(low)} – {_number(high)})")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _misses(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The statistics furthest off, by the mean over runs, and what the runs warn of."""
    names = list(runs[0]["residuals"])
    mean = {n: float(np.mean([r["residuals"].get(n, 0.0) for r in runs])) for n in names}
    worst = sorted(names, key=lambda n: -abs(mean[n]))[:_NUM_RESIDUALS]
    lines = [*_MISSES, "| statistic | real less simulated, standard errors |", "|---|---|"]
    for name in worst:
        by_seed = ", ".join(f"{r['residuals'].get(name, 0.0):+.1f}" for r in runs)
        lines.append(f"| {name} | {by_seed} |")
    for run in runs:
        minutes = run["seconds"]["total"] / 60
        lines += ["", f"Seed {run['seed']}: {run['windows']:,} simulated windows, {minutes:.1f} min, {run['stopped']}."]
        lines += [_verdict(run["adequacy"])]
        lines += [f"Warning: *{warning}*" for warning in run["warnings"]]
    return lines


def _verdict(said: Mapping[str, Any]) -> str:
    """What a run said of its model, and what leaving out the odd families of statistics would change."""
    told = f"The verdict is *{said['verdict']}* (p {said['p_value']:.3f}, critic's AUC {said['critic_auc']:.2f})."
    left = said["left_out"]
    if not left:
        return told
    name, most = max(left["moved"].items(), key=lambda item: abs(item[1]))
    return (
        f"{told} Without {words.listing(left['families'])} no estimate moves by more than {abs(most):.2f} posterior "
        f"standard deviations ({name})."
    )


def _number(value: float) -> str:
    return f"{value:.1e}" if abs(value) < 1 else f"{float(f'{value:.3g}'):,.0f}"


_HEAD = (
    "# Real genomes: YRI and CEU",
    "",
    "What `make run` does (seed 1), less its second opinion, and two more runs on the same data: 20 + 20 individuals,",
    "405 windows of 50 kb of chromosome 4 with their recombination map and accessibility mask, folded, sites with a",
    "single copy left out (1000 Genomes Project phase 3,",
    "[doi 10.1038/nature15393](https://doi.org/10.1038/nature15393)). How far runs differ is what simulation and",
    "training add to the uncertainty.",
    "",
    "Beside it are moments' best of three starts, fitted to the joint site frequency spectrum of the same windows, and",
    "a fit that was made with dadi to the same regions (projected to 20 x 20 chromosomes; its errors are not known,",
    "and nothing here repeats it).",
    "*Inside* counts the runs whose 90 % interval holds a fit. Sizes in diploid individuals, times in years of 25 to a",
    "generation, mutation rate 1.29e-8. Made by `python -m tests.verification.real_genomes`.",
    "",
)
_MISSES = (
    "## What the model misses",
    "",
    "The statistics of the real windows that lie furthest from those simulated under the estimates, by seed:",
    "",
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.verification.real_genomes")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3], help="of runs")
    parser.add_argument("--folder", type=Path, default=records.ROOT / ".bench" / "verification", help="where runs are")
    arguments = parser.parse_args()
    done = {record["seed"] for record in records.read(RUNS)}
    for seed in arguments.seeds:
        if seed not in done:
            records.add(RUNS, CASE, run_one(seed, arguments.folder))
    text = page(records.read(RUNS), records.read(MOMENTS)[0]["estimate"])
    print(text)
    records.write(PAGE, text)


if __name__ == "__main__":
    main()
