"""One run: data, rounds, record, answer. Every round is on disk before the next begins."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from ganinfer import observed, storage, tracking
from ganinfer.execution import Executor
from ganinfer.experiment import Experiment, budget, check_discriminator, loads, training_settings
from ganinfer.interfaces import Info, State
from ganinfer.observed import RealWindows
from ganinfer.progress import Progress, Silent
from ganinfer.runner import assembling, recording
from ganinfer.runner.assembling import RunError

EXPERIMENT = "experiment.yaml"


def run(
    experiment: Experiment,
    output: Path,
    *,
    seed: int | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Infer the parameters of ``experiment`` and return the run folder ``output``.

    ``seed`` replaces the experiment's; ``resume`` goes on from the last complete round. Raises ``ValueError`` kinds
    for anything wrong with the experiment, its data or the folder, before the first simulation.
    """
    events = progress or Silent()
    if seed is not None:
        experiment = experiment.model_copy(update={"seed": seed})
    scenario = assembling.only_scenario(experiment)
    with ExitStack() as stack:
        folder = stack.enter_context(storage.RunFolder.create(output, resume=resume))
        if resume:
            _check_same(experiment, folder)
        folder.write_text(EXPERIMENT, dump_yaml(experiment.resolved()))
        workers = stack.enter_context(assembling.executor(experiment))
        events.message("Reading the data")
        real = assembling.open_data(experiment, workers, folder.path.parent / assembling.CACHE)
        problem = _problem(experiment, scenario, real, folder)
        folder.write_json("data.json", _data_summary(problem, real))
        tracker = recording.start_tracking(experiment, folder, problem)
        try:
            _infer(experiment, problem, folder, tracker, workers, events)
        except BaseException as error:
            tracker.finish("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
            raise
    return folder.path


def _problem(experiment: Experiment, scenario: str, real: RealWindows, folder: storage.RunFolder) -> Any:
    """The inference's problem; TensorFlow is imported here."""
    assembling.quiet_tensorflow(experiment.execution.threads)
    from ganinfer import inference, plugins, training

    check_discriminator(experiment)
    training.configure(experiment.execution.threads)
    plugin = plugins.load("discriminators", experiment.discriminator.name)
    wanted: Any = experiment.discriminator.encodings or getattr(plugin, "encodings", ("snp-matrix", "joint-counts"))
    encodings = list(wanted)
    # Classical statistics are computed in any case: where they are not matched, the report still compares them.
    encodings += [name for name in ("joint-counts", assembling.CLASSICAL) if name not in encodings]
    chosen = observed.chosen_windows(real, experiment.windows.maximum, experiment.seed)
    setup = assembling.fitted_setup(experiment, scenario, real, chosen, encodings)
    _, parameters = assembling.checked_parameters(experiment, scenario, real.samples)
    settings = training.TrainingSettings(**training_settings(experiment))
    generator = plugins.load("generators", experiment.generator.name)(**experiment.generator.options)
    return inference.Problem(
        setup,
        parameters,
        observed.observe(real, chosen, setup, settings.folds, experiment.seed, folder.path / "cache"),
        generator,
        budget(experiment),
        inference.Network(experiment.discriminator.name, experiment.discriminator.options, settings),
        scenario,
        experiment.seed,
        experiment.statistics.classical,
        _label(experiment, scenario),
    )


def _label(experiment: Experiment, scenario: str) -> str:
    from ganinfer.simulation import label

    return label(str(experiment.path), scenario)


def _data_summary(problem: Any, real: RealWindows) -> dict[str, Any]:
    summary = dict(real.summary())
    summary["used_windows"] = len(problem.observed)
    summary["matrix_sites"] = problem.setup.num_sites
    return summary


def _infer(
    experiment: Experiment,
    problem: Any,
    folder: storage.RunFolder,
    tracker: tracking.Tracker,
    workers: Executor,
    events: Progress,
) -> None:
    from ganinfer import inference

    state, history = _begin(problem, folder)
    for entry in history:  # what a killed run had not sent; points that MLflow has are skipped
        recording.track(tracker, entry)
    stopped = _why_stop(problem, history)
    plan = problem.plan
    while stopped is None:
        index = state.index
        events.round_started(index, len(plan), plan[index].num_proposals * plan[index].num_windows)
        state, info = inference.step(problem, state, workers, done=events.windows_done, clock=time.monotonic)
        entry = recording.entry(problem, state, info, history, experiment.level)
        _write_round(folder, state, info, entry)
        history.append(entry)
        recording.write_tables(folder, problem, state, history)
        recording.track(tracker, entry)
        events.round_finished(index, recording.shown(entry))
        stopped = _why_stop(problem, history)
    events.message("Comparing the fitted model with the data")
    recording.finish(experiment, problem, state, history, stopped, folder, workers, tracker)
    for sentence in tracker.warnings:
        events.message(sentence)
    events.finished(storage.read_json(folder.path / "result.json"))


def _why_stop(problem: Any, history: list[dict[str, Any]]) -> str | None:
    """``converged``, ``budget``, ``time``, or ``None`` to go on."""
    if not history:
        return None
    if history[-1]["converged"]:
        return str(history[-1]["converged"])
    if len(history) >= len(problem.plan):
        return "budget"
    minutes = problem.budget.minutes
    if minutes is not None and sum(sum(h["seconds"].values()) for h in history) >= 60 * minutes:
        return "time"
    return None


# --- rounds on disk -----------------------------------------------------------------------------------------------


def _write_round(folder: storage.RunFolder, state: Any, info: Any, entry: Mapping[str, Any]) -> None:
    current = state.rounds[-1]
    arrays = current.arrays() | {f"state-{name}": array for name, array in state.generator.arrays.items()}
    if info.info.posterior is not None:
        arrays["posterior"] = info.info.posterior
    arrays["estimate"], arrays["spread"] = info.info.estimate, info.info.spread
    values = {"entry": dict(entry), "generator": dict(state.generator.values), "trained": state.trained}
    files: dict[str, Callable[[Path], None]] = {}
    if state.trained == state.index - 1:
        files["networks"] = lambda path: _save_networks(state, path)
    folder.write_round(state.index - 1, arrays, values, files)


def _save_networks(state: Any, path: Path) -> None:
    from ganinfer import training

    path.mkdir()
    training.save(state.networks, path)


def _begin(problem: Any, folder: storage.RunFolder) -> tuple[Any, list[dict[str, Any]]]:
    """The state after the last complete round, or the first one, with the history of rounds."""
    from ganinfer import inference, training

    rounds = folder.rounds()
    fresh = inference.init(problem)
    if not rounds:
        return fresh, []
    loaded, history = [], []
    for index in rounds:
        arrays, values, _ = folder.read_round(index)
        loaded.append(inference.Round.from_arrays(arrays))
        history.append(values["entry"])
    networks = fresh.networks
    if values["trained"] >= 0:
        networks = training.load(folder.path / "rounds" / f"{values['trained']:04d}" / "networks")
    generator = State(
        {name.removeprefix("state-"): np.array(a) for name, a in arrays.items() if name.startswith("state-")},
        values["generator"],
    )
    state = inference.InferenceState(len(rounds), generator, networks, tuple(loaded), values["trained"])
    return inference.resumed(problem, state), history


def last_info(folder: storage.RunFolder, index: int) -> Info:
    """The generator's last word, as its round's folder has it."""
    arrays, values, _ = folder.read_round(index)
    posterior = np.array(arrays["posterior"]) if "posterior" in arrays else None
    warnings = tuple(values["entry"]["warnings"])
    return Info(np.array(arrays["estimate"]), np.array(arrays["spread"]), posterior, warnings=warnings)


# --- the experiment -----------------------------------------------------------------------------------------------

#: What may differ between a run and its resumption: how much it may spend, and where it runs.
_MAY_CHANGE = ("budget", "execution", "tracking", "name")


def _check_same(experiment: Experiment, folder: storage.RunFolder) -> None:
    """Refuse to resume a run of another experiment."""
    path = folder.path / EXPERIMENT
    if not path.exists():
        return
    before = loads(path.read_text(), folder.path, EXPERIMENT).resolved()
    now = experiment.resolved()
    differing = [key for key in now if key not in _MAY_CHANGE and before.get(key) != now[key]]
    if differing:
        raise RunError(
            f"{folder.path}: --resume goes on with the run's own experiment, but {', '.join(differing)} changed; "
            "undo that, or start a new run with another --output"
        )


def dump_yaml(values: Mapping[str, Any]) -> str:
    """Plain data as YAML that :func:`ganinfer.experiment.load` reads."""
    from io import StringIO

    from ruamel.yaml import YAML

    stream = StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.dump(dict(values), stream)
    return stream.getvalue()
