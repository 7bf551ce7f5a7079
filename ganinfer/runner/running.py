"""One run: data, rounds, record, answer. Every round is on disk before the next begins."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganinfer import storage
from ganinfer.execution import Executor
from ganinfer.experiment import Experiment, loads
from ganinfer.observed import RealWindows
from ganinfer.progress import Progress, Silent
from ganinfer.runner import (
    assembling,
    comparing,
    contending,
    finished,
    inferring,
    opinions,
    planning,
    recording,
    replicating,
    sending,
)
from ganinfer.runner.assembling import RunError
from ganinfer.runner.completing import completed, dump_yaml, located
from ganinfer.runner.finished import EXPERIMENT, is_finished
from ganinfer.runner.parts import WANTED
from ganinfer.runner.refusing import check_gives_posterior, refuse


def run(
    experiment: Experiment,
    output: Path,
    *,
    seed: int | None = None,
    resume: bool = False,
    scenario: str | None = None,
    compare_only: bool = False,
    store: Path | None = None,
    replicates: int = 1,
    progress: Progress | None = None,
) -> Path:
    """Infer the parameters of ``experiment`` and return the run folder ``output``.

    Several scenarios are compared, and the parameters are the best one's; ``compare_only`` leaves them out.
    ``scenario`` names the one whose parameters are wanted; of windows the others are then left alone. ``store`` keeps
    simulated tables in a folder of their own, for other runs. ``replicates``: the windows are inferred so many times in
    all, from other seeds. ``seed`` replaces the experiment's; ``resume`` goes on from what is complete.

    Raises ``ValueError`` kinds for anything wrong with the experiment, its data or the folder, before the first
    simulation.
    """
    events, clock = progress or Silent(), recording.Clock()
    if seed is not None:
        experiment = experiment.model_copy(update={"seed": seed})
    several = scenario is None and len(experiment.scenarios) > 1
    if replicates > 1 and (several or experiment.kind == "loci"):
        raise RunError("replicates are of one scenario's parameters on windows: name it with --scenario")
    if replicates > 1:
        check_gives_posterior(experiment, "by which replicates are compared; take matching")
    if experiment.kind == "loci":
        wanted = comparing.Wanted(scenario, compare_only, store)
        return _compared(experiment, output, wanted, resume, events, clock)
    if store is not None:
        raise RunError("--store keeps tables of SNPs; the windows of a run stay in its own folder")
    if compare_only and (scenario is not None or len(experiment.scenarios) == 1):
        raise RunError("--compare-only compares scenarios, and there is one: leave that out")
    if several:
        return _contended(experiment, output, comparing.Wanted(None, compare_only, None), resume, events, clock)
    scenario = assembling.only_scenario(experiment, scenario)
    with _begun(experiment, output, events, resume=resume, scenario=scenario) as begun:
        folder, real = begun.folder, _windows(experiment, begun)
        problem, unseen = inferring.problem_of(experiment, scenario, real, folder.path / "cache")
        for sentence in unseen:
            events.message(sentence)
        summary = inferring.data_summary(experiment, problem, real, unseen)
        finished.check_data(folder.path, summary)
        folder.write_json("data.json", summary)
        title = problem.setup.title
        # Of a run that has finished as it is asked now, more replicates may be wanted.
        done = is_finished(folder.path, begun.complete) and not opinions.may_be_had_now(folder.path)
        if replicates == 1 or not done:
            tracker = sending.start_tracking(experiment, begun.complete, summary, folder, title, begun.before)
            with sending.ended(tracker):
                source = opinions.Source(real, experiment)
                inferring.infer(experiment, problem, folder, tracker, begun.workers, events, clock, source=source)
        if replicates > 1:
            replicating.replicate(
                experiment, begun.complete, problem, summary, folder, replicates, begun.workers, events
            )
        events.finished(storage.read_json(folder.path / "result.json"))
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
    with _begun(experiment, output, events, resume=resume) as begun:
        folder = begun.folder
        plan = planning.planned(experiment, planning.open_table(experiment))
        folder.write_json("data.json", plan.summary)
        titles = ", ".join(dict.fromkeys(s.setup.title for s in plan.scenarios))
        tracker = sending.start_tracking(experiment, begun.complete, plan.summary, folder, titles, begun.before)
        with sending.ended(tracker):
            comparing.compare(plan, wanted, folder, begun.workers, tracker, events, clock)
    return folder.path


def _contended(
    experiment: Experiment,
    output: Path,
    wanted: comparing.Wanted,
    resume: bool,
    events: Progress,
    clock: recording.Clock,
) -> Path:
    """A run on windows with several scenarios: each is inferred, then they are compared."""
    with _begun(experiment, output, events, resume=resume) as begun:
        real = _windows(experiment, begun)
        contending.contend(
            experiment, begun.complete, real, wanted, begun.folder, begun.before, begun.workers, events, clock
        )
    return begun.folder.path


@dataclass(frozen=True)
class _Begun:
    """A run under way: its locked ``folder``, the ``complete`` experiment with every default, ``workers``.

    ``before``: the MLflow run that the folder had, if any.
    """

    folder: storage.RunFolder
    complete: Mapping[str, Any]
    workers: Executor
    before: str | None


@contextmanager
def _begun(
    experiment: Experiment, output: Path, events: Progress, *, resume: bool, scenario: str | None = None
) -> Iterator[_Begun]:
    """Begin a run, or go on with one, of ``scenario`` or of all: refuse what is wrong, and start the workers."""
    before, windows = sending.tracked(output), experiment.kind == "windows"
    with ExitStack() as stack:
        folder = stack.enter_context(storage.RunFolder.create(output, resume=resume))
        if resume:
            assembling.import_training(experiment)  # as this run wants it, before its defaults are asked for
            check_same(experiment, folder.path)
            check_wanted(scenario, folder.path)
        events.message("Checking the experiment")
        refuse(experiment, network=True, resume=resume, scenario=scenario)
        complete = completed(experiment)
        folder.write_text(EXPERIMENT, dump_yaml(complete))
        if windows:
            folder.write_json(WANTED, {"scenario": scenario})
        workers = stack.enter_context(assembling.executor(experiment))
        events.message("Reading the data")
        yield _Begun(folder, complete, workers, before)


def _windows(experiment: Experiment, begun: _Begun) -> RealWindows:
    return assembling.open_data(experiment, begun.workers, assembling.cache_folder(begun.folder.path))


# --- the experiment -----------------------------------------------------------------------------------------------

#: What may differ between a run and its resumption: how much it may spend, what is told of it, and where it runs.
MAY_CHANGE = ("budget", "level", "comparison", "adequacy", "second_opinion", "execution", "tracking", "name")


def check_same(
    experiment: Experiment, folder: Path, told: str = "--resume goes on with the run's own experiment"
) -> None:
    """Refuse to resume a run of another experiment; ``told``: what else asks for the same one."""
    path = folder / EXPERIMENT
    if not path.exists():
        return
    # What an earlier version left to a default counts as that default.
    before = located(completed(loads(path.read_text(), folder, EXPERIMENT)))
    now = located(completed(experiment))
    differing = [key for key in now if key not in MAY_CHANGE and before.get(key) != now[key]]
    # Arrays have the populations in the order that the data name them.
    if json.dumps(before.get("data")) != json.dumps(now["data"]) and "data" not in differing:
        differing.append("the order of what is in data")
    if differing:
        raise RunError(
            f"{folder}: {told}, but {', '.join(differing)} changed; undo that, or start a new run with another --output"
        )


def check_wanted(scenario: str | None, folder: Path) -> None:
    """Refuse to resume a run on windows of another scenario than ``scenario``, or of all where that is ``None``."""
    path = folder / WANTED
    if not path.exists():
        return
    wanted = storage.read_json(path)
    if wanted.get("part_of"):
        raise RunError(
            f"{folder} is a part of the run in {wanted['part_of']}, with a seed of its own: go on with that one"
        )
    before = wanted["scenario"]
    if before != scenario:
        told = [f"scenario {name}" if name else "all scenarios" for name in (before, scenario)]
        option = f"give --scenario {before}" if before else "leave --scenario out"
        raise RunError(
            f"{folder} holds a run of {told[0]}, not of {told[1]}: {option} to go on with it, or start a new run with "
            "another --output"
        )
