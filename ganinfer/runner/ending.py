"""The end of a run: its answer, verdict, second opinion, best model, bundle and report."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ganinfer import storage, tracking
from ganinfer.execution import Executor
from ganinfer.experiment import Experiment, simulator
from ganinfer.interfaces import Info
from ganinfer.parameters import Parameters
from ganinfer.runner import assembling, belonging, finished, judging, opinions, results, rounds, sending, summing_up
from ganinfer.runner.recording import Clock, History


def finish(
    experiment: Experiment,
    problem: Any,
    state: Any,
    history: History,
    stopped: str,
    folder: storage.RunFolder,
    workers: Executor,
    tracker: tracking.Tracker,
    clock: Clock,
    told: Callable[[str], None],
    *,
    judged: bool = True,
    source: opinions.Source | None = None,
) -> None:
    """Posterior, comparison with the data, verdict, second opinion, result, report, bundle; then the record in MLflow.

    ``told`` hears what is being done; ``judged``: whether there is to be a verdict, and not that of a comparison;
    ``source``: of the real windows, where there is to be a second opinion.
    """
    from ganinfer.predictive import predict

    info = rounds.last_info(folder, history[-1]["round"])
    names = problem.parameters.names
    posterior = info.posterior if info.posterior is not None else info.estimate[None, :]
    storage.remove(folder.path / finished.JSON)
    if info.posterior is not None:
        folder.write_table("posterior.parquet", {name: posterior[:, i] for i, name in enumerate(names)})
    _forget_replicates(folder, posterior)
    _forget_calibration(experiment, problem.scenario, folder, posterior, told)
    fit = predict(problem, posterior, workers)
    folder.write_arrays("fit.npz", fit.arrays)
    folder.write_json("fit.json", fit.values)
    adequacy, spent = judging.judged(
        experiment, problem, state, info.posterior if judged else None, folder, workers, told
    )
    steady, sentences = judging.steady(problem, state, info, told)
    unlinked = judging.unlinked(problem, "Intervals take") if judged else []
    info = replace(info, warnings=(*info.warnings, *sentences, *unlinked))
    step = float(history[-1]["seconds"].get("move", 0.0))
    second, asking = opinions.asked(experiment, problem, state, info, source, workers, told, step=step)
    write_best_model(experiment, problem.scenario, problem.parameters, info, folder)
    plugin = simulator(experiment, problem.scenario)
    of_all = getattr(plugin, "derived", None)
    said = _write_warnings(info, folder, tracker)
    parts = spent_on_rounds([h["seconds"] for h in history])
    folder.write_json(
        "result.json",
        results.result(
            problem.scenario,
            results.parameter_results(problem.parameters, info, experiment.level),
            adequacy=adequacy,
            stability=steady,
            second_opinion=second,
            known_by_product=getattr(plugin, "known_by_product", None),
            derived=results.derived(of_all, problem.parameters, info, experiment.level) if of_all else None,
            compared=not judged,
            simulated_windows=history[-1]["total_windows"],
            stopped=stopped,
            seconds={**parts, **spent, **asking, "total": clock.seconds()},
            seed=problem.seed,
            versions=assembling.versions(),
        ),
    )
    judging.track(adequacy, tracker, history[-1]["round"])
    write_bundle(experiment, problem, state, folder)
    summing_up.bundled(folder.path)
    sending.write_report(folder, tracker)
    if len(tracker.warnings) > said:  # of what was sent last
        _write_warnings(info, folder, tracker)
    finished.mark(folder)


def _forget_replicates(folder: storage.RunFolder, posterior: np.ndarray) -> None:
    """Take out how replicates agreed with another answer than ``posterior`` (n, p)."""
    path = folder.path / storage.REPLICATES
    if path.exists() and storage.read_json(path).get("posterior") != belonging.digest(posterior):
        storage.remove(path)


def _forget_calibration(
    experiment: Experiment,
    scenario: str,
    folder: storage.RunFolder,
    posterior: np.ndarray,
    told: Callable[[str], None],
) -> None:
    """Take out of what is told of the run what was found around another ``posterior`` (n, p), or another prior."""
    path = folder.path / storage.CALIBRATION
    if not path.exists():
        return
    calibration = folder.beside(path)
    belonging.forget_another(calibration, posterior)
    kinds = belonging.kinds(calibration, experiment, scenario)
    if belonging.PRIOR not in kinds and summing_up.records(path, belonging.PRIOR):
        told(f"{path} has data sets around the prior of another scenario, experiment or budget: not in the report")
    summing_up.written(calibration, folder.path, experiment.level, kinds)


def spent_on_rounds(seconds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Seconds by what they were spent on; second looks are there where there were any."""
    spent = {key: sum(s.get(key, 0.0) for s in seconds) for key in ("simulate", "train", "move", "look")}
    return {key: value for key, value in spent.items() if key != "look" or value > 0}


def _write_warnings(info: Info, folder: storage.RunFolder, tracker: tracking.Tracker) -> int:
    """Of replicates, the method and MLflow; returns how many are of MLflow."""
    path = folder.path / storage.REPLICATES
    apart = storage.read_json(path)["warnings"] if path.exists() else []
    folder.write_json("warnings.json", {"warnings": [*apart, *info.warnings, *tracker.warnings]})
    return len(tracker.warnings)


def write_best_model(
    experiment: Experiment, scenario: str, parameters: Parameters, info: Info, folder: storage.RunFolder
) -> None:
    """best.demes.yaml, where the simulator has a demes graph."""
    plugin = simulator(experiment, scenario)
    graph = getattr(plugin, "graph", None)
    if graph is None:
        return
    import demes

    from ganinfer.models.graphs import without_idle_pulses

    # Two opposite pulses at one time, of which one is zero, are how a signed pulse is written.
    warnings.filterwarnings("ignore", message="Multiple pulses")
    try:
        best = graph(parameters.named(info.estimate))
    except ValueError:
        # Medians taken one by one can break a constraint that every draw keeps: the closest draw stands in.
        if info.posterior is None:
            return
        scale = np.maximum(info.posterior.std(axis=0), 1e-300)
        closest = np.argmin((((info.posterior - info.estimate) / scale) ** 2).sum(axis=1))
        best = graph(parameters.named(info.posterior[closest]))
    folder.write_text("best.demes.yaml", demes.dumps(without_idle_pulses(best)))


def write_bundle(experiment: Experiment, problem: Any, state: Any, folder: storage.RunFolder) -> None:
    """The trained networks with what is needed to use them: no code, no pickles."""
    from ganinfer import training

    bundle = folder.path / "bundle"
    bundle.mkdir(exist_ok=True)
    training.save(state.networks, bundle)
    specs = {
        name: {"shape": list(spec.shape), "dtype": spec.dtype, "details": dict(spec.details)}
        for name, spec in _specs(problem).items()
    }
    folder.write_json(
        "bundle/bundle.json",
        {
            "discriminator": {"name": problem.network.name, "options": dict(problem.network.options)},
            "encodings": [name for name, _ in problem.setup.encoders],
            "specs": specs,
            "parameters": [
                {"name": p.name, "lower": p.lower, "upper": p.upper, "scale": p.scale} for p in problem.parameters
            ],
            "versions": assembling.versions(),
        },
    )


def _specs(problem: Any) -> dict[str, Any]:
    from ganinfer.simulation import encoding_specs

    return encoding_specs(problem.setup)
