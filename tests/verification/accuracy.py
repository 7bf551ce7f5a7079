"""Accuracy on simulated data sets of known truth: error beside moments on the same data, interval coverage, cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ganinfer import experiment, runner, storage
from ganinfer.progress import make as make_progress
from tests.verification import intervals, records

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
#: Of a run with these only the posterior is looked at.
POSTERIOR_ONLY = ("execution.executor=process", "second_opinion.bootstraps=0", "adequacy.windows=0")
_BOOTSTRAPS = 4_000
#: Data sets that the rule asks for, and standard errors of a mean error that it allows: with ten data sets and five
#: parameters one case in a hundred has more where nothing is wrong.
ENOUGH, BIASED = 10, 4.3


@dataclass(frozen=True)
class Case:
    """Runs of an experiment with ``changes``; ``moments`` names the case whose windows moments was fitted to."""

    experiment: str
    changes: tuple[str, ...] = ()
    moments: str | None = None
    seeds: tuple[int, ...] = tuple(range(1, 11))


_FOLDED = "data.ancestral=none"
_FIFTY = "data.simulate.samples={A: 50, B: 50}"
_SMALL = "budget.simulated_windows=20000"
_MIDDLE = "budget.simulated_windows=60000"
_EMBEDDING = "statistics.classical=false"
#: What moments is fitted to, and what is run.
CASES: dict[str, Case] = {
    "im": Case("im", (), "im"),
    "exp": Case("exp", (), "exp"),
    "exp-folded": Case("exp", (_FOLDED,), "exp-folded"),
    "const": Case("const", (), "const", (1, 2, 3)),
    "im-50": Case("im", (_FIFTY,), "im-50", (1, 2, 3)),
    "recombination": Case("recombination", (), None, (1, 2, 3)),
    "im-20k": Case("im", (_SMALL,), "im"),
    "exp-20k": Case("exp", (_SMALL,), "exp"),
    "exp-folded-20k": Case("exp", (_FOLDED, _SMALL), "exp-folded"),
    "im-60k": Case("im", (_MIDDLE,), "im"),
    "exp-60k": Case("exp", (_MIDDLE,), "exp"),
    "exp-folded-60k": Case("exp", (_FOLDED, _MIDDLE), "exp-folded"),
    "im-embedding": Case("im", (_EMBEDDING,), "im", (1, 2, 3, 4, 5)),
    # Width against the number of real windows; 2,000 are above.
    **{
        f"{name}-{windows}w": Case(name, (f"data.simulate.windows={windows}",), None, (1, 2))
        for name in ("im", "exp")
        for windows in (500, 8000)
    },
    "recombination-embedding": Case("recombination", (_EMBEDDING,), None, (1, 2, 3)),
}
#: Sampling standard deviation of the composite-likelihood estimate at the truth, per cent: what the spectrum allows.
LIMITS = {
    "im": {"N1": 1.6, "N2": 1.5, "N_anc": 0.5, "T_split": 3.6, "pulse": 59.0},
    "im-50": {"N1": 0.9, "N2": 0.9, "N_anc": 0.4, "T_split": 2.3, "pulse": 35.0},
    "exp": {"N1": 0.8, "N2": 5.8, "T1": 13.0, "T2": 17.0, "growth": 24.0},
    "exp-folded": {"N1": 1.2, "N2": 7.5, "T1": 20.0, "T2": 20.0, "growth": 28.0},
}


def record_path(case: str, folder: Path = records.FOLDER) -> Path:
    return folder / f"runs-{case}.json"


def run_one(case: str, seed: int, folder: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The record of one data set's run, which goes on where it was stopped."""
    spec = CASES[case]
    output = folder / case / f"data-{seed:02d}"
    finish(spec.experiment, [f"data.simulate.seed={seed}", *spec.changes, *overrides], output, seed)
    return {**record(output, seed), "truth": storage.read_json(output / "data.json")["truth"]}


def finish(name: str, changes: Sequence[str], output: Path, seed: int) -> None:
    """Run the shipped experiment ``name`` in ``output``, from where it was stopped; nothing if it is done."""
    if (output / "result.json").exists():
        return
    loaded = experiment.load(EXPERIMENTS / f"{name}.yaml", changes)
    resume = bool(storage.completed_rounds(output)) if output.exists() else False
    with make_progress() as progress:
        runner.run(loaded, output, seed=seed, resume=resume, progress=progress)


def record(output: Path, seed: int) -> dict[str, Any]:
    """What a finished run says."""
    result = storage.read_json(output / "result.json")
    posterior = storage.read_table(output / "posterior.parquet")
    parameters = result["parameters"]
    return {
        "seed": seed,
        "estimate": {n: p["estimate"] for n, p in parameters.items()},
        "interval": {n: p["interval"] for n, p in parameters.items()},
        "sd": {n: float(np.std(posterior[n])) for n in parameters},
        "windows": result["simulated_windows"],
        "stopped": result["stopped"],
        "seconds": result["seconds"],
        "versions": result["versions"],
    }


def relative_errors(fits: Sequence[dict[str, Any]]) -> tuple[list[str], np.ndarray]:
    """Names, and errors (fits, parameters) in per cent of the truth."""
    names = list(fits[0]["estimate"])
    return names, np.array([[100 * (f["estimate"][n] / f["truth"][n] - 1) for n in names] for f in fits])


@dataclass(frozen=True, eq=False)
class Comparison:
    """Root mean square errors over the same data sets, ours and moments', and their ratio's 90 % bootstrap interval.

    Arrays (parameters,); ``mean_ratio`` is the geometric mean over parameters: estimate, low, high.
    """

    ours: np.ndarray
    moments: np.ndarray
    low: np.ndarray
    high: np.ndarray
    mean_ratio: tuple[float, float, float]


def compare(ours: np.ndarray, theirs: np.ndarray) -> Comparison:
    """Of errors (data sets, parameters), one row a data set in both; data sets are drawn anew together."""
    rng = np.random.default_rng(1)
    chosen = rng.integers(len(ours), size=(_BOOTSTRAPS, len(ours)))
    rms = [np.sqrt((e**2).mean(axis=0)) for e in (ours, theirs)]
    drawn = [np.maximum(np.sqrt((e[chosen] ** 2).mean(axis=1)), 1e-12) for e in (ours, theirs)]
    ratios = drawn[0] / drawn[1]
    low, high = np.quantile(ratios, [0.05, 0.95], axis=0)
    means = np.exp(np.log(ratios).mean(axis=1))
    mean = float(np.exp(np.log(rms[0] / rms[1]).mean()))
    return Comparison(*rms, low, high, (mean, *(float(q) for q in np.quantile(means, [0.05, 0.95]))))


def judged(case: str, folder: Path = records.FOLDER) -> dict[str, Any] | None:
    """The rule of a case, or ``None`` where too few data sets are recorded.

    90 % intervals hold; no parameter's mean error is further from nothing than :data:`BIASED` of its standard errors;
    and where there is moments beside it, errors are no larger on the whole.
    """
    fits = records.read(record_path(case, folder))
    if len(fits) < ENOUGH:
        return None
    names, errors = relative_errors(fits)
    held = [[f["interval"][n][0] <= f["truth"][n] <= f["interval"][n][1] for n in names] for f in fits]
    bias = errors.mean(axis=0) / (errors.std(axis=0, ddof=1) / np.sqrt(len(errors)))
    both = _beside(CASES[case], fits, folder)
    said = {
        "intervals": intervals.judged(np.array(held)),
        "bias": {n: float(b) for n, b in zip(names, bias, strict=True)},
        "ratio": both[1].mean_ratio[0] if both else None,
    }
    smaller = said["ratio"] is None or said["ratio"] <= 1
    return {**said, "passed": said["intervals"]["passed"] and float(np.abs(bias).max()) <= BIASED and smaller}


def _beside(
    spec: Case, fits: Sequence[dict[str, Any]], folder: Path
) -> tuple[Sequence[dict[str, Any]], Comparison] | None:
    """Those of ``fits`` whose windows moments was fitted to as well, and both compared."""
    theirs = {f["seed"]: f for f in records.read(folder / f"moments-{spec.moments}.json")} if spec.moments else {}
    both = [f for f in fits if f["seed"] in theirs]
    if not both:
        return None
    return both, compare(relative_errors(both)[1], relative_errors([theirs[f["seed"]] for f in both])[1])


def table(folder: Path = records.FOLDER) -> str:
    """The page of all cases that have records."""
    rows, costs = [], []
    for case, spec in CASES.items():
        fits = records.read(record_path(case, folder))
        if fits:
            rows += _rows(case, spec, fits, folder)
            costs.append(_cost(case, fits))
    return "\n".join([*_HEAD, *rows, "", *_COST_HEAD, *costs, ""])


def _rows(case: str, spec: Case, fits: Sequence[dict[str, Any]], folder: Path) -> list[str]:
    names, errors = relative_errors(fits)
    both, compared = _beside(spec, fits, folder) or ([], None)
    rms = np.sqrt((errors**2).mean(axis=0))
    limits = LIMITS.get(spec.moments or "", {})
    lines = []
    for i, name in enumerate(names):
        sd = np.median([100 * f["sd"][name] / abs(f["truth"][name]) for f in fits])
        held = sum(f["interval"][name][0] <= f["truth"][name] <= f["interval"][name][1] for f in fits)
        cells = [case, name, len(fits), f"{rms[i]:.2f}"]
        cells += (
            ["–", "–"]
            if compared is None
            else [
                f"{compared.moments[i]:.2f}",
                f"{compared.ours[i] / compared.moments[i]:.2f} ({compared.low[i]:.2f}–{compared.high[i]:.2f})",
            ]
        )
        furthest = "–" if name not in limits else f"{np.abs(errors[:, i]).max() / limits[name]:.1f}"
        cells += [f"{sd:.2f}", limits.get(name, "–"), furthest, f"{held} of {len(fits)}"]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    if compared is not None and len(names) > 1:
        mean, low, high = compared.mean_ratio
        lines.append(f"| {case} | *geometric mean* | {len(both)} | | | **{mean:.2f}** ({low:.2f}–{high:.2f}) | | | | |")
    return lines


def _cost(case: str, fits: Sequence[dict[str, Any]]) -> str:
    minutes = np.array([f["seconds"]["total"] for f in fits]) / 60
    windows = int(np.median([f["windows"] for f in fits]))
    why = [f["stopped"] for f in fits]
    stopped = ", ".join(f"{w} {why.count(w)}" for w in sorted(set(why)))
    return f"| {case} | {len(fits)} | {np.median(minutes):.1f}, {minutes.max():.1f} | {windows:,} | {stopped} |"


_HEAD = (
    "# Verification",
    "",
    "Simulated data sets of known truth, one run each, made by `make verify`: 2,000 windows of 50 kb. The second table",
    "says how many windows were simulated, which is what the shipped experiments had then. Beside them moments' fits",
    "of the joint site frequency spectrum of the same windows, from three starts each",
    "(`python -m tests.verification.yardstick`). Errors are per cent of the true value, root mean squares over",
    "data sets; *ratio* is ours over moments', with a 90 % bootstrap interval over data sets; *posterior* the median",
    "standard deviation of our posterior; *limit* the sampling standard deviation of the composite likelihood at the",
    "truth; *furthest* the largest error of a run in units of the limit; *held* counts the 90 % intervals that contain",
    "the truth.",
    "",
    "Cases: `-folded` without ancestral alleles; `-50` with 50 + 50 individuals; `-20k` and `-60k` with fewer",
    "simulated windows; `-500w` and `-8000w` with so many real ones; `-embedding` matched on the network's embedding",
    "alone, without classical statistics.",
    "",
    "A run is not made anew when the method changes. All but `-500w` and `-8000w` are from before linkage was measured",
    "by statistic; how often intervals of today's code hold is in [How far to believe it](trust.md).",
    "",
    "| case | parameter | data sets | error | moments | ratio | posterior | limit | furthest | held |",
    "|---|---|---|---|---|---|---|---|---|---|",
)
_COST_HEAD = (
    "| case | runs | minutes, median and most | simulated windows, median | stopped |",
    "|---|---|---|---|---|",
)
