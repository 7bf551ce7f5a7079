"""The inference of one scenario's parameters in a run folder: rounds, record, answer."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ganinfer import observed, storage, tracking
from ganinfer.execution import Executor
from ganinfer.experiment import Experiment, budget, training_settings
from ganinfer.interfaces import Budget
from ganinfer.observed import RealWindows
from ganinfer.progress import Progress
from ganinfer.runner import assembling, ending, opinions, recording, rounds, sending


def problem_of(
    experiment: Experiment, scenario: str, real: RealWindows, cache: Path, seen: Any = None
) -> tuple[Any, list[str]]:
    """The inference's problem, and what its arrays leave out of the real windows.

    ``seen``: the real windows as another scenario's problem has them, if there is one; else they are encoded into
    ``cache``.
    """
    training = assembling.import_training(experiment)
    from ganinfer import inference

    wanted = assembling.network_encodings(experiment)
    # Classical statistics are computed in any case: where they are not matched, the report still compares them.
    encodings = [*wanted, *[assembling.CLASSICAL] * (assembling.CLASSICAL not in wanted)]
    chosen = observed.chosen_windows(real, experiment.windows.maximum, experiment.seed)
    setup, unseen = assembling.fitted_setup(experiment, scenario, real, chosen, encodings)
    _, parameters = assembling.checked_parameters(experiment, scenario, real.samples)
    settings = training.TrainingSettings(**training_settings(experiment))
    problem = inference.Problem(
        setup,
        parameters,
        seen or observed.observe(real, chosen, setup, settings.folds, experiment.seed, cache),
        assembling.generator(experiment),
        budget(experiment),
        inference.Network(experiment.discriminator.name, experiment.discriminator.options, settings, wanted),
        scenario,
        experiment.seed,
        experiment.statistics.classical,
        assembling.label(experiment, scenario),
    )
    return problem, unseen


def data_summary(experiment: Experiment, problem: Any, real: RealWindows, unseen: list[str]) -> dict[str, Any]:
    summary = dict(real.summary())
    summary["used_windows"] = len(problem.observed)
    summary["matrix_sites"], summary["counted_sites"] = problem.setup.num_sites, problem.setup.num_counted_sites
    summary["unseen_sites"] = unseen
    summary["inputs"] = assembling.input_digests(experiment)
    return summary


def infer(
    experiment: Experiment,
    problem: Any,
    folder: storage.RunFolder,
    tracker: tracking.Tracker,
    workers: Executor,
    events: Progress,
    clock: recording.Clock,
    *,
    judged: bool = True,
    source: opinions.Source | None = None,
) -> None:
    """Rounds until nothing is left to do, each on disk before the next begins; then what ``folder`` is to hold.

    ``judged``: whether a verdict is wanted; ``source``: of the real windows, for a second opinion.
    """
    from ganinfer import inference

    state, history = rounds.read(problem, folder)
    history = recording.at_level(folder, problem.parameters, history, experiment.level)
    clock.go_on(folder, history)
    if history:  # what a killed run had not written or sent; points that MLflow has are skipped
        recording.write_tables(folder, problem, state, history)
    for entry in history:
        sending.track(tracker, entry)
    stopped = _why_stop(problem, state, history)
    if stopped is not None:
        events.message(_nothing_left(problem, stopped))
    while stopped is None:
        index, rest = state.index, inference.remaining(problem, state)
        sizes = [plan.num_proposals * plan.num_windows for plan in rest]
        events.round_started(index, index + len(rest), sizes[0], sum(sizes[1:]))
        moved, info = inference.step(problem, state, workers, done=events.windows_done, clock=time.monotonic)
        entry = recording.entry(problem, moved, info, history, experiment.level, clock.seconds())
        state = rounds.write(folder, state, moved, info, entry)
        history.append(entry)
        recording.write_tables(folder, problem, state, history)
        sending.track(tracker, entry)
        events.round_finished(index, recording.shown(entry))
        if info.looked_at:
            events.message(_looked_back(info.looked_at, info.turned))
        stopped = _why_stop(problem, state, history)
    events.message("Comparing the fitted model with the data")
    ending.finish(
        experiment,
        problem,
        state,
        history,
        stopped,
        folder,
        workers,
        tracker,
        clock,
        events.message,
        judged=judged,
        source=source,
    )
    for sentence in tracker.warnings:
        events.message(sentence)


def _looked_back(windows: int, turned: bool) -> str:
    found = "it is closer to the data, and the run goes on from there" if turned else "the run stays where it is"
    return f"The model misses something, so a place given up early was looked at again ({windows:,} windows): {found}"


def _why_stop(problem: Any, state: Any, history: list[dict[str, Any]]) -> str | None:
    """``converged``, ``budget``, ``time``, or ``None`` to go on."""
    from ganinfer import inference

    if not history:
        return None
    if history[-1]["converged"] and not _richer(problem.budget, history[-1].get("budget")):
        return str(history[-1]["converged"])
    if not inference.remaining(problem, state):
        return "budget"
    minutes = problem.budget.minutes
    if minutes is not None and sum(sum(h["seconds"].values()) for h in history) >= 60 * minutes:
        return "time"
    return None


def _richer(budget: Budget, before: Mapping[str, int] | None) -> bool:
    """Whether a run was given more than it had when it converged: then it is to go on."""
    if before is None:
        return False
    return budget.simulated_windows > before["simulated_windows"] or budget.rounds > before["rounds"]


def _nothing_left(problem: Any, stopped: str) -> str:
    budget = problem.budget
    if stopped == "time":
        return f"budget.minutes ({budget.minutes:g}) are used up; --set budget.minutes=MORE goes on"
    spent = f"the run has {'converged' if stopped == 'converged' else 'used up its budget'}"
    had = f"{budget.simulated_windows:,} simulated windows in {budget.rounds} rounds"
    return f"Nothing left to simulate: {spent} ({had}); a larger budget.simulated_windows and budget.rounds go on"
