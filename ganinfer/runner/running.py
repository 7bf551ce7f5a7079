"""One run: data, rounds, record, answer. Every round is on disk before the next begins."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ganinfer import observed, storage, tracking
from ganinfer.execution import Executor
from ganinfer.experiment import Experiment, budget, loads, training_settings
from ganinfer.interfaces import Budget
from ganinfer.observed import RealWindows
from ganinfer.progress import Progress, Silent
from ganinfer.runner import assembling, comparing, recording, rounds
from ganinfer.runner.assembling import RunError
from ganinfer.runner.completing import completed
from ganinfer.runner.refusing import refuse

EXPERIMENT = "experiment.yaml"


def run(
    experiment: Experiment,
    output: Path,
    *,
    seed: int | None = None,
    resume: bool = False,
    scenario: str | None = None,
    compare_only: bool = False,
    store: Path | None = None,
    progress: Progress | None = None,
) -> Path:
    """Infer the parameters of ``experiment`` and return the run folder ``output``.

    Loci: its scenarios are compared first, and the parameters are the best one's; ``compare_only`` leaves them out, and
    ``store`` keeps the simulated data sets in a folder of their own, for other runs. ``scenario`` names the one whose
    parameters are wanted. ``seed`` replaces the experiment's; ``resume`` goes on from what is complete.

    Raises ``ValueError`` kinds for anything wrong with the experiment, its data or the folder, before the first
    simulation.
    """
    events, clock = progress or Silent(), recording.Clock()
    if seed is not None:
        experiment = experiment.model_copy(update={"seed": seed})
    if experiment.kind == "loci":
        wanted = comparing.Wanted(scenario, compare_only, store)
        return _compared(experiment, output, wanted, resume, events, clock)
    scenario = assembling.only_scenario(experiment, scenario)
    before = recording.tracked(output)
    with ExitStack() as stack:
        folder = stack.enter_context(storage.RunFolder.create(output, resume=resume))
        if resume:
            assembling.import_training(experiment)  # as this run wants it, before its defaults are asked for
            check_same(experiment, folder.path)
        events.message("Checking the experiment")
        refuse(experiment, network=True, resume=resume, scenario=scenario)
        complete = completed(experiment)
        folder.write_text(EXPERIMENT, dump_yaml(complete))
        workers = stack.enter_context(assembling.executor(experiment))
        events.message("Reading the data")
        real = assembling.open_data(experiment, workers, assembling.cache_folder(folder.path))
        problem, unseen = _problem(experiment, scenario, real, folder)
        for sentence in unseen:
            events.message(sentence)
        summary = _data_summary(problem, real, unseen)
        summary["inputs"] = assembling.input_digests(experiment)
        folder.write_json("data.json", summary)
        tracker = recording.start_tracking(experiment, complete, summary, folder, problem.setup.title, before)
        try:
            _infer(experiment, problem, folder, tracker, workers, events, clock)
        except BaseException as error:
            tracker.finish("KILLED" if isinstance(error, KeyboardInterrupt | SystemExit) else "FAILED")
            raise
    return folder.path


def _compared(
    experiment: Experiment,
    output: Path,
    wanted: comparing.Wanted,
    resume: bool,
    events: Progress,
    clock: recording.Clock,
) -> Path:
    """A run on loci: its scenarios are compared first, however many there are."""
    if wanted.scenario is not None:
        assembling.only_scenario(experiment, wanted.scenario)
    before = recording.tracked(output)
    with ExitStack() as stack:
        folder = stack.enter_context(storage.RunFolder.create(output, resume=resume))
        if resume:
            assembling.import_training(experiment)
            check_same(experiment, folder.path)
        events.message("Checking the experiment")
        refuse(experiment, network=True, resume=resume)
        complete = completed(experiment)
        folder.write_text(EXPERIMENT, dump_yaml(complete))
        workers = stack.enter_context(assembling.executor(experiment))
        events.message("Reading the data")
        plan = comparing.planned(experiment, comparing.open_table(experiment))
        folder.write_json("data.json", plan.summary)
        titles = ", ".join(dict.fromkeys(s.setup.title for s in plan.scenarios))
        tracker = recording.start_tracking(experiment, complete, plan.summary, folder, titles, before)
        try:
            comparing.compare(plan, wanted, folder, workers, tracker, events, clock)
        except BaseException as error:
            tracker.finish("KILLED" if isinstance(error, KeyboardInterrupt | SystemExit) else "FAILED")
            raise
    return folder.path


def _problem(
    experiment: Experiment, scenario: str, real: RealWindows, folder: storage.RunFolder
) -> tuple[Any, list[str]]:
    """The inference's problem, and what its arrays leave out of the real windows."""
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
        observed.observe(real, chosen, setup, settings.folds, experiment.seed, folder.path / "cache"),
        assembling.generator(experiment),
        budget(experiment),
        inference.Network(experiment.discriminator.name, experiment.discriminator.options, settings, wanted),
        scenario,
        experiment.seed,
        experiment.statistics.classical,
        assembling.label(experiment, scenario),
    )
    return problem, unseen


def _data_summary(problem: Any, real: RealWindows, unseen: list[str]) -> dict[str, Any]:
    summary = dict(real.summary())
    summary["used_windows"] = len(problem.observed)
    summary["matrix_sites"], summary["counted_sites"] = problem.setup.num_sites, problem.setup.num_counted_sites
    summary["unseen_sites"] = unseen
    return summary


def _infer(
    experiment: Experiment,
    problem: Any,
    folder: storage.RunFolder,
    tracker: tracking.Tracker,
    workers: Executor,
    events: Progress,
    clock: recording.Clock,
) -> None:
    from ganinfer import inference

    state, history = rounds.read(problem, folder)
    clock.go_on(folder, history)
    if history:  # what a killed run had not written or sent; points that MLflow has are skipped
        recording.write_tables(folder, problem, state, history)
    for entry in history:
        recording.track(tracker, entry)
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
        recording.track(tracker, entry)
        events.round_finished(index, recording.shown(entry))
        stopped = _why_stop(problem, state, history)
    events.message("Comparing the fitted model with the data")
    recording.finish(experiment, problem, state, history, stopped, folder, workers, tracker, clock)
    for sentence in tracker.warnings:
        events.message(sentence)
    events.finished(storage.read_json(folder.path / "result.json"))


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


# --- the experiment -----------------------------------------------------------------------------------------------

#: What may differ between a run and its resumption: how much it may spend, and where it runs.
_MAY_CHANGE = ("budget", "comparison", "execution", "tracking", "name")


def check_same(experiment: Experiment, folder: Path) -> None:
    """Refuse to resume a run of another experiment."""
    path = folder / EXPERIMENT
    if not path.exists():
        return
    # What an earlier version left to a default counts as that default.
    before = completed(loads(path.read_text(), folder, EXPERIMENT))
    now = completed(experiment)
    differing = [key for key in now if key not in _MAY_CHANGE and before.get(key) != now[key]]
    # Arrays have the populations in the order that the data name them.
    if json.dumps(before.get("data")) != json.dumps(now["data"]) and "data" not in differing:
        differing.append("the order of what is in data")
    if differing:
        raise RunError(
            f"{folder}: --resume goes on with the run's own experiment, but {', '.join(differing)} changed; "
            "undo that, or start a new run with another --output"
        )


def dump_yaml(values: Mapping[str, Any]) -> str:
    """Plain data as YAML that :func:`ganinfer.experiment.load` reads, unsorted: the order of populations counts."""
    from io import StringIO

    from ruamel.yaml import YAML

    stream = StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # inferred from None
    yaml.dump(dict(values), stream)
    return stream.getvalue()
