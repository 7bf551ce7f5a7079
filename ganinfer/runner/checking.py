"""A look at an experiment before it runs: what was found, what a simulation costs, how long a run will take."""

from __future__ import annotations

import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ganinfer import execution, observed, storage
from ganinfer.adequacy import AdequacySettings
from ganinfer.evidence import judging_windows, whole_genomes
from ganinfer.experiment import Experiment, SimulatedData, num_folds, pipeline_settings
from ganinfer.interfaces import WindowTemplate
from ganinfer.observed import RealWindows
from ganinfer.parameters import Parameters
from ganinfer.runner import assembling, impossible, planning
from ganinfer.runner.refusing import refuse
from ganinfer.runner.running import check_same
from ganinfer.simulation import Setup, Task, choose_templates, simulate

_TRIED_WINDOWS = 4
_TRIED_DRAWS = 9
#: Network, emulator and report, beside the simulations: seconds a simulated window, and once a run.
_TRAINING_SECONDS = 1.5e-3
_ONCE_SECONDS = 30.0
#: Of the networks of a comparison: seconds a simulated table and fold.
_TRAINING_SECONDS_A_SET = 0.05
_TRIED_TABLES = 3
#: What is told of a table at such length that it stays in data.json.
_LONG = ("chosen", "individuals", "inputs")


def check(
    experiment: Experiment, output: Path | None = None, *, seed: int | None = None, resume: bool = False
) -> dict[str, Any]:
    """Data, windows, diversity, the cost of a simulation and the run's likely time, as JSON values.

    Raises the same errors as a run would, before anything expensive; with ``output`` also those of a run in that folder
    with ``seed`` and ``resume``. Nothing is written there.
    """
    if seed is not None:
        experiment = experiment.model_copy(update={"seed": seed})
    if output is not None:
        storage.check_folder(output, resume=resume)
    if output is not None and resume:
        check_same(experiment, output)
    # The default network without options is sure to build; TensorFlow's import would take longer than all the rest.
    network = output is not None or experiment.discriminator != type(experiment.discriminator)()
    refuse(experiment, network=network, resume=resume)
    if experiment.kind == "loci":
        return _check_loci(experiment)
    asked = experiment.data.simulate.windows if isinstance(experiment.data, SimulatedData) else None
    if isinstance(experiment.data, SimulatedData):
        experiment = _smaller_study(experiment)
    with execution.make("serial") as serial:
        real = assembling.open_data(experiment, serial, assembling.cache_folder(output))
    chosen = observed.chosen_windows(real, experiment.windows.maximum, experiment.seed)
    if not isinstance(experiment.data, SimulatedData):
        block = observed.numbered([real.windows[i] for i in chosen])
        observed.split_folds(block, num_folds(experiment), experiment.seed)
    num_real = min(asked or len(chosen), experiment.windows.maximum or asked or len(chosen))
    looks = [_looked_at(experiment, name, real, chosen) for name in experiment.scenarios]
    return {
        "experiment": experiment.name,
        **_told_of(experiment, real, chosen),
        "unseen_sites": looks[0].unseen,
        "pipeline": vars(pipeline_settings(experiment, real.phased)),
        **(_of_one(looks[0]) if len(looks) == 1 else {"scenarios": {look.scenario: _in_short(look) for look in looks}}),
        "warnings": [
            line
            for look in looks
            for line in (
                *look.tried.warnings(experiment.place("scenarios", look.scenario)),
                *_out_of_reach(experiment, look),
            )
        ],
        "execution": _where(experiment),
        "cost": _cost(experiment, looks, num_real),
    }


@dataclass(frozen=True, eq=False)
class _Look:
    """What was found of one scenario: ``mean`` and ``median`` seconds of a core a window, see :func:`_cost`."""

    scenario: str
    parameters: Parameters
    tried: impossible.Tried
    unseen: list[str]
    mean: float
    median: float


def _looked_at(experiment: Experiment, scenario: str, real: RealWindows, chosen: np.ndarray) -> _Look:
    _, parameters = assembling.checked_parameters(experiment, scenario, real.samples)
    tried = assembling.tried_prior(experiment, scenario, parameters)
    setup, unseen = assembling.fitted_setup(
        experiment, scenario, real, chosen, ("snp-matrix", "joint-counts", assembling.CLASSICAL)
    )
    templates = [real.templates[i] for i in chosen]
    mean, median = _seconds_per_window(experiment, scenario, setup, templates, parameters)
    return _Look(scenario, parameters, tried, unseen, mean, median)


def _told_of(experiment: Experiment, real: RealWindows, chosen: np.ndarray) -> dict[str, Any]:
    """The data: what was read, what is used, and what may be a slip of the pen."""
    summary = dict(real.summary())
    if len(chosen) < len(real.windows):
        blocks = {real.windows[i].block for i in chosen}
        summary["windows"] = {**summary["windows"], "used": len(chosen), "blocks_used": len(blocks)}
    unused = [_unused_labels(experiment, name, real) for name in experiment.scenarios]
    if any(unused):
        summary["notes"] = [*summary.get("notes", []), *filter(None, unused)]
    individuals = summary.pop("individuals", None)
    if isinstance(experiment.data, SimulatedData):
        return {"simulation_study": {k: summary[k] for k in ("truth", "samples")}}
    if individuals:
        return {"individuals": {name: len(members) for name, members in individuals.items()}, **summary}
    return summary


def _out_of_reach(experiment: Experiment, look: _Look) -> list[str]:
    """Values of a study's truth that no estimate can reach, since they lie outside of the prior."""
    study = experiment.data.simulate if isinstance(experiment.data, SimulatedData) else None
    if study is None or study.scenario != look.scenario:
        return []
    return [
        f"{experiment.place('data', 'simulate', 'truth', p.name)}: {study.truth[p.name]:g} lies outside of the prior, "
        f"{p.lower:g} to {p.upper:g}, so no estimate can reach it"
        for p in look.parameters
        if p.name in study.truth and not p.lower <= study.truth[p.name] <= p.upper
    ]


def _of_one(look: _Look) -> dict[str, Any]:
    """The parameters of an experiment's only scenario, and how much of their prior is possible."""
    return {
        "parameters": [
            {
                "name": p.name,
                "lower": p.lower,
                "upper": p.upper,
                "scale": p.scale,
                "prior": p.density.kind,
                "unit": p.unit,
            }
            for p in look.parameters
        ],
        "prior": {"tried_draws": look.tried.num_draws, "impossible_share": look.tried.share},
    }


def _in_short(look: _Look) -> dict[str, Any]:
    return {
        "parameters": ", ".join(look.parameters.names),
        "impossible_share": look.tried.share,
        "milliseconds_per_simulated_window": 1000 * look.median,
    }


def _check_loci(experiment: Experiment) -> dict[str, Any]:
    """The same of a comparison of scenarios on a table of SNPs."""
    assembling.import_training(experiment)  # the network says which arrays it needs
    raw = planning.open_table(experiment)
    plan = planning.planned(experiment, raw)
    tried = {s.name: assembling.tried_prior(experiment, s.name, s.parameters) for s in plan.scenarios}
    seconds = {s.name: _seconds_per_table(experiment, plan, s) for s in plan.scenarios}
    section = experiment.comparison
    number = section.simulations + section.tests
    core = sum(number * each for each in seconds.values())
    workers = _num_workers(experiment)
    once = section.folds * section.simulations * len(seconds) * _TRAINING_SECONDS_A_SET + _ONCE_SECONDS
    return {
        "experiment": experiment.name,
        **{key: value for key, value in plan.summary.items() if key not in _LONG},
        "pipeline": vars(pipeline_settings(experiment, raw.phased)),
        "scenarios": {
            s.name: {"parameters": ", ".join(s.parameters.names), "seconds_per_table": seconds[s.name]}
            for s in plan.scenarios
        },
        "warnings": [
            line for s in plan.scenarios for line in tried[s.name].warnings(experiment.place("scenarios", s.name))
        ],
        "execution": _where(experiment),
        "cost": {
            "simulated_tables": number * len(seconds),
            "core_minutes_of_simulation": core / 60,
            "workers": workers or "as many as the cluster has",
            "estimated_minutes": (core / workers + once) / 60 if workers else None,
        },
    }


def _seconds_per_table(experiment: Experiment, plan: planning.Plan, scenario: Any) -> float:
    """Seconds of one core to simulate, prepare and encode a table: mean over a few draws of the prior."""
    draws = scenario.parameters.sample(np.random.default_rng(experiment.seed), _TRIED_TABLES + 1)
    seconds = []
    with execution.make("serial", timeout=experiment.execution.timeout) as serial:
        for seed, vector in enumerate(draws, start=1):
            values = scenario.parameters.named(vector)
            task = Task(scenario.setup, values, (plan.table.template,), seed)
            begun = _core_seconds()
            list(simulate([task], serial))
            seconds.append(_core_seconds() - begun)
    return float(np.mean(seconds[1:]))


def _unused_labels(experiment: Experiment, scenario: str, real: RealWindows) -> str | None:
    """Populations in a scenario's ``demes`` that the data do not have: a slip of the pen would go unnoticed."""
    known = [samples.population for samples in real.samples]
    unused = [str(label) for label in experiment.scenarios[scenario].options.get("demes") or {} if label not in known]
    if not unused:
        return None
    place = experiment.place("scenarios", scenario, "demes")
    return f"{place}: {', '.join(unused)} is no population of the data, which have {', '.join(dict.fromkeys(known))}"


def _smaller_study(experiment: Experiment) -> Experiment:
    """The same study with few windows: a check needs no more."""
    assert isinstance(experiment.data, SimulatedData)
    study = experiment.data.simulate
    fewer = {"windows": min(study.windows, 40)} if study.windows else {"contigs": 1}
    data = experiment.data.model_copy(update={"simulate": study.model_copy(update=fewer)})
    return experiment.model_copy(update={"data": data})


def _seconds_per_window(
    experiment: Experiment, scenario: str, setup: Setup, templates: Sequence[WindowTemplate], parameters: Parameters
) -> tuple[float, float]:
    """Seconds of one core to simulate, prepare and encode a window: mean and median over a few draws of the prior.

    Of a core and not of the clock, since other work on the machine is none of the experiment's cost.
    """
    draws = parameters.sample(np.random.default_rng(experiment.seed), _TRIED_DRAWS + 1)
    seconds = []
    with execution.make("serial", timeout=experiment.execution.timeout) as serial:
        for seed, vector in enumerate(draws, start=1):
            tried = tuple(templates[i] for i in choose_templates(seed, len(templates), _TRIED_WINDOWS))
            task = Task(setup, parameters.named(vector), tried, seed, assembling.label(experiment, scenario))
            begun = _core_seconds()
            list(simulate([task], serial))
            seconds.append((_core_seconds() - begun) / _TRIED_WINDOWS)
    return float(np.mean(seconds[1:])), float(np.median(seconds[1:]))


def _core_seconds() -> float:
    """Of this process and of programs that a simulator ran; finer than the clock ticks of ``os.times``."""
    programs = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + programs.ru_utime + programs.ru_stime


def _where(experiment: Experiment) -> dict[str, Any]:
    """Where a run would simulate, and where it would be recorded."""
    section = experiment.execution
    address = execution.cluster_address(section.executor, section.address)
    return {
        "executor": section.executor,
        "ray_cluster": address or "none: this machine",
        "tracking": experiment.tracking.uri or "SQLite, mlflow.db beside the run's folder",
    }


def _cost(experiment: Experiment, looks: Sequence[_Look], num_real: int) -> dict[str, Any]:
    """What the simulations cost, and how long the run takes on this machine while nothing else runs there.

    Windows at the solution, by which a model is judged, are no part of the budget; their time is counted.

    The first round is spread over the prior, whose most costly corners later ones leave: these are counted at the
    median. How many workers a cluster has is known once it is asked, which only a run does.
    """
    windows, seconds, compared = 0, 0.0, len(looks) > 1
    fresh = _compared_by(experiment, num_real) if compared else 0
    for look in looks:
        plan = assembling.round_plan(experiment, look.parameters)
        sizes = [r.num_proposals * r.num_windows for r in plan]
        later = sum(sizes[1:]) + fresh
        windows += sizes[0] + later
        judging = _judged_by(experiment, num_real, len(look.parameters))
        seconds += sizes[0] * look.mean + (later + judging) * look.median
    workers = _num_workers(experiment)
    once = windows * _TRAINING_SECONDS + _ONCE_SECONDS * (len(looks) + compared)
    return {
        "milliseconds_per_simulated_window": 1000 * seconds / windows,
        "simulated_windows": windows,
        "core_minutes_of_simulation": seconds / 60,
        "workers": workers or "as many as the cluster has",
        "estimated_minutes": (seconds / workers + once) / 60 if workers else None,
        **({} if compared or not experiment.second_opinion.bootstraps else {"not_counted": "a second opinion"}),
    }


def _compared_by(experiment: Experiment, num_real: int) -> int:
    """Windows of each scenario that a comparison judges by and calibrates on."""
    section = experiment.comparison
    genomes = whole_genomes(num_real, section.genome_windows, section.simulations + section.tests)
    return (section.windows or judging_windows(num_real)) + genomes * num_real


def _judged_by(experiment: Experiment, num_real: int, num_parameters: int) -> int:
    """Windows at the solution that the verdict on a scenario rests on."""
    section = experiment.adequacy
    size, windows, _ = AdequacySettings(section.windows, section.data_sets).shape(num_real, num_parameters)
    return 0 if section.windows == 0 else size * windows


def _num_workers(experiment: Experiment) -> int | None:
    from ganinfer.execution.base import num_cores

    section = experiment.execution
    if section.executor == "serial":
        return 1
    if execution.cluster_address(section.executor, section.address):
        return section.workers
    return section.workers or num_cores()
