"""A run on windows with several scenarios: each is matched to the data, then they are compared at their solutions.

The folder ``scenarios/NAME`` of each is a run of its own, as ``--scenario NAME`` makes it; what the chosen one's holds
stands in the run's folder too.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ganinfer import storage, tracking
from ganinfer.execution import Executor
from ganinfer.experiment import Experiment
from ganinfer.observed import RealWindows
from ganinfer.progress import Progress
from ganinfer.runner import (
    assembling,
    ending,
    finished,
    inferring,
    judging,
    parts,
    recording,
    results,
    scoring,
    sending,
)
from ganinfer.runner.assembling import RunError
from ganinfer.runner.comparing import FITS, Wanted

#: What a scenario's run leaves that the run of all has too, of the chosen one.
_CHOSEN = (
    "posterior.parquet",
    "trajectory.parquet",
    "proposals.parquet",
    "training.parquet",
    "metrics.parquet",
    "fit.npz",
    "fit.json",
    "best.demes.yaml",
    "bundle",
)
#: What result.json says of the estimates of a scenario's run, and that of the run of all too, of the chosen one.
_OF_ESTIMATES = ("derived", "stability", "known_by_product")
#: Scenarios are judged at their solutions, so that what says whether one fits is not of its prior.
_P_NAME = "posterior-predictive p"
#: Simulated genomes of each scenario that are drawn.
_SHOWN = 400
#: Fewer effective draws than this make an evidence uncertain.
_FEW_DRAWS = 50.0
#: A scenario less probable than this is out of the question.
_LIKELY = 0.01


def contend(
    experiment: Experiment,
    complete: Mapping[str, Any],
    real: RealWindows,
    wanted: Wanted,
    folder: storage.RunFolder,
    before: str | None,
    workers: Executor,
    events: Progress,
    clock: recording.Clock,
) -> None:
    """Infer every scenario's parameters and compare the scenarios; everything goes to ``folder`` and to MLflow."""
    problems, unseen = problems_of(experiment, real, folder.path / "cache")
    _check_sizes(experiment, problems)
    summary = inferring.data_summary(experiment, problems[0], real, unseen)
    finished.check_data(folder.path, summary)
    folder.write_json("data.json", summary)
    for sentence in unseen:
        events.message(sentence)
    titles = ", ".join(dict.fromkeys(problem.setup.title for problem in problems))
    tracker = sending.start_tracking(experiment, complete, summary, folder, titles, before)
    with sending.ended(tracker):
        made = []
        for problem in problems:
            events.message(f"Scenario {problem.scenario}")
            made.append(_part(experiment, complete, problem, summary, folder, workers, events))
        begun = time.monotonic()
        outcome = contested(experiment, problems, made, folder.path / "cache" / "contest", workers, events.message)
        seconds = _seconds(made, time.monotonic() - begun, clock.seconds())
        _write(experiment, problems, made, outcome, wanted, folder, seconds, tracker)
    for sentence in tracker.warnings:
        events.message(sentence)
    events.finished(storage.read_json(folder.path / "result.json"))


def problems_of(experiment: Experiment, real: RealWindows, cache: Path) -> tuple[list[Any], list[str]]:
    """Each scenario's problem, and what their arrays leave out; the real windows are encoded once, into ``cache``."""
    problems: list[Any] = []
    unseen: list[str] = []
    for name in experiment.scenarios:
        seen = problems[0].observed if problems else None
        problem, unseen = inferring.problem_of(experiment, name, real, cache, seen)
        problems.append(problem)
    return problems, unseen


def _check_sizes(experiment: Experiment, problems: Sequence[Any]) -> None:
    """Raise where a comparison would have too few fresh windows, before any scenario is inferred."""
    from ganinfer.contest.fresh import LEAST_JUDGING, WINDOWS

    largest, folds = max(len(p.parameters) for p in problems), problems[0].network.settings.folds
    sizes = contest_settings(experiment).proposals(problems)
    needed = {"learn": folds * (largest + 2), "judge": LEAST_JUDGING * (largest + 2)}
    keys = {"learn": "training.windows", "judge": "comparison.windows"}
    for purpose, size in sizes.items():
        if size < needed[purpose]:
            least = WINDOWS * needed[purpose] * (len(problems) if purpose == "learn" else 1)
            raise RunError(
                f"to compare {len(problems)} scenarios of up to {largest} parameters with {folds} folds, "
                f"{keys[purpose]} must be at least {least:,}"
            )


def contest_settings(experiment: Experiment) -> Any:
    from ganinfer.contest import ContestSettings

    section = experiment.comparison
    return ContestSettings(section.windows, section.simulations, section.tests, section.genome_windows)


def _part(
    experiment: Experiment,
    complete: Mapping[str, Any],
    problem: Any,
    summary: Mapping[str, Any],
    whole: storage.RunFolder,
    workers: Executor,
    events: Progress,
) -> Path:
    """The run of one scenario, begun, gone on with or already there; its folder."""
    path = whole.path / storage.SCENARIOS / problem.scenario
    # The comparison says whether each of them fits.
    parts.infer(experiment, complete, problem, summary, path, whole.path, workers, events, judged=False)
    if not (path / "posterior.parquet").exists():
        raise RunError(
            f"generator {experiment.generator.name} gives no posterior of {problem.scenario}, from which scenarios are "
            "compared; take matching, or infer one of them with --scenario"
        )
    return path


def contested(
    experiment: Experiment,
    problems: Sequence[Any],
    parts: Sequence[Path],
    cache: Path,
    workers: Executor,
    told: Callable[[str], None],
) -> Any:
    """The outcome of comparing scenarios whose runs are in the folders ``parts``."""
    from ganinfer.contest import contest

    return contest(
        problems,
        [_solution(part) for part in parts],
        [experiment.scenarios[p.scenario].weight for p in problems],
        contest_settings(experiment),
        workers,
        cache,
        told,
    )


def _solution(part: Path) -> Any:
    """What the run of a scenario has found, and the windows of its rounds."""
    from ganinfer.contest import Solution

    posterior = storage.read_table(part / "posterior.parquet")
    rounds = [storage.read_round(part, index)[0] for index in storage.completed_rounds(part)]
    offsets = np.cumsum([0, *(len(r["theta"]) for r in rounds)])
    return Solution(
        np.stack([np.asarray(column, dtype=float) for column in posterior.values()], axis=1),
        np.concatenate([r["theta"] for r in rounds]),
        np.concatenate([r["proposal"] + o for r, o in zip(rounds, offsets, strict=False)]),
        np.concatenate([r["statistics"] for r in rounds]),
    )


def _seconds(parts: Sequence[Path], comparing: float, clock: float) -> dict[str, float]:
    """What was spent on what; ``clock``: seconds of this process, which may have found parts finished by another."""
    spent = [storage.read_json(part / "result.json")["seconds"] for part in parts]
    total = max(clock, sum(s["total"] for s in spent) + comparing)
    return {**ending.spent_on_rounds(spent), "compare": comparing, "total": total}


def _write(
    experiment: Experiment,
    problems: Sequence[Any],
    parts: Sequence[Path],
    outcome: Any,
    wanted: Wanted,
    folder: storage.RunFolder,
    seconds: Mapping[str, float],
    tracker: tracking.Tracker,
) -> None:
    names = [p.scenario for p in problems]
    said = _said(names, outcome)
    best = names[int(np.argmax(outcome.probabilities))]
    chosen = parts[names.index(best)]
    for name in _CHOSEN:
        if (chosen / name).exists() and not wanted.compare_only:
            folder.write_file(name, lambda path, source=chosen / name: _copy(source, path))  # type: ignore[misc]
        else:  # of a scenario that was the best before this run went on
            storage.remove(folder.path / name)
    for name, part in zip(names, parts, strict=True):
        if (part / "best.demes.yaml").exists():
            folder.write_text(f"models/{name}.demes.yaml", (part / "best.demes.yaml").read_text())
    folder.write_arrays("comparison.npz", _pictured(problems, outcome))
    own = storage.read_json(chosen / "warnings.json")["warnings"]
    told = [
        *scoring.warned(said, _P_NAME),
        *_uncertain(outcome, names),
        *judging.unlinked(problems[0], "Probabilities, p-values and intervals take"),
        *own,
    ]
    folder.write_json("warnings.json", {"warnings": told})
    found = [storage.read_json(part / "result.json") for part in parts]
    estimates = {} if wanted.compare_only else {n: f["parameters"] for n, f in zip(names, found, strict=True)}
    result = results.compared(
        best,
        best,
        said,
        estimates,
        simulated=0,
        seconds=seconds,
        seed=experiment.seed,
        versions=assembling.versions(),
    )
    windows = sum(f["simulated_windows"] for f in found) + outcome.num_windows
    of_best = found[names.index(best)]
    more = {} if wanted.compare_only else {key: of_best.get(key) for key in _OF_ESTIMATES}
    folder.write_json("result.json", {**result, "simulated_windows": windows, "stopped": of_best["stopped"], **more})
    _track(said, tracker, windows)
    sending.write_report(folder, tracker)
    if tracker.warnings:
        folder.write_json("warnings.json", {"warnings": [*told, *tracker.warnings]})


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)


def _said(names: Sequence[str], outcome: Any) -> dict[str, Any]:
    """The comparison of result.json."""
    p_values = {n: v.p_value for n, v in zip(names, outcome.verdicts, strict=True)}
    said = {
        "probabilities": dict(zip(names, outcome.probabilities.tolist(), strict=True)),
        "prior_predictive_p": p_values,
        "none_fits": all(p < FITS for p in p_values.values()),
        "log_evidence": {n: e.log_value for n, e in zip(names, outcome.evidence, strict=True)},
        "dispersion": outcome.dispersion,
        "simulations": len(outcome.genomes[0]),
        **scoring.judged(outcome.calibration, *outcome.tests["networks"]),
        "learning_curve": _curve(outcome.curve),
        "rivals": {n: scoring.scored(*pair) for n, pair in outcome.tests.items() if n != "networks" and len(pair[1])},
    }
    said["calibration"]["genomes"] = "whole" if outcome.whole else "pooled"
    said["alike"] = scoring.alike(names, said["confusion"])
    return said


def _curve(points: Sequence[tuple[int, tuple[np.ndarray, np.ndarray]]]) -> list[dict[str, float]]:
    """How good judgements by so many windows of each scenario are, and how sure the last step of the log loss is."""
    out, before = [], None
    for windows, (probabilities, scenario) in points:
        loss = -np.log(probabilities[np.arange(len(scenario)), scenario])
        accuracy = float((probabilities.argmax(axis=1) == scenario).mean())
        out.append({"windows": windows, "accuracy": accuracy, "log_loss": float(loss.mean())})
        if before is not None and len(loss) > 1:  # of the same genomes, so that most of their luck cancels
            out[-1]["step_error"] = float((loss - before).std(ddof=1) / np.sqrt(len(loss)))
        before = loss
    return out


def _uncertain(outcome: Any, names: Sequence[str]) -> list[str]:
    """Sentences on an evidence that rests on few draws, or on data that even the closest scenario misses."""
    out = []
    # Of a scenario that is out of the question it does not matter.
    chances = zip(names, outcome.evidence, outcome.probabilities, strict=True)
    few = [name for name, found, chance in chances if found.effective < _FEW_DRAWS and chance > _LIKELY]
    if few:
        out.append(
            f"The evidence of {', '.join(few)} rests on few draws: the emulator around its solution and the data "
            "disagree. A larger comparison.windows may bring them together."
        )
    if outcome.dispersion > 1:
        out.append(
            f"Even the closest scenario lies {outcome.dispersion:.1f} times as far from the real means as noise "
            "explains, in variance; the probabilities count that as noise."
        )
    return out


def _track(said: Mapping[str, Any], tracker: tracking.Tracker, num_windows: int) -> None:
    """At a step of its own: a run that goes on with more windows has another answer, and MLflow keeps both."""
    values = {f"probability/{name}": p for name, p in said["probabilities"].items()}
    values |= {f"prior_predictive_p/{name}": p for name, p in said["prior_predictive_p"].items()}
    tested_on = ("accuracy", "log_loss", "expected_calibration_error", "temperature", "floor")
    values |= {name: said["calibration"][name] for name in tested_on if name in said["calibration"]}
    tracker.metrics(values, num_windows)


def _pictured(problems: Sequence[Any], outcome: Any) -> dict[str, np.ndarray]:
    """What the report draws; see :func:`ganinfer.runner.comparing.pictured`."""
    from ganinfer import comparison
    from ganinfer.predictive import classical_names

    shown = [part[:_SHOWN] for part in outcome.genomes]
    scenario = np.repeat(np.arange(len(shown)), [len(part) for part in shown])
    everything = np.repeat(np.arange(len(outcome.genomes)), [len(part) for part in outcome.genomes])
    classical = np.concatenate([part.statistics for part in outcome.genomes])
    along = np.concatenate([part.means for part in outcome.genomes])
    offset, axes = comparison.discriminant_axes(classical, everything)
    middle, network_axes = comparison.discriminant_axes(along, everything)
    return {
        "scenario": scenario,
        "statistics_cloud": (np.concatenate([part.statistics for part in shown]) - offset) @ axes,
        "statistics_real": (outcome.classical - offset) @ axes,
        "network_cloud": (np.concatenate([part.means for part in shown]) - middle) @ network_axes,
        "network_real": ((outcome.judges.real - middle) @ network_axes)[None],
        "z": np.stack([v.z for v in outcome.verdicts]),
        "separation": comparison.separation(classical, everything),
        "names": np.array(classical_names(problems[0])),
        "scenarios": np.array([p.scenario for p in problems]),
    }
