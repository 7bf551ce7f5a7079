"""A run that compares scenarios: data, simulations of each, networks, probabilities, and the best one's parameters."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ganinfer import randomness, scenarios, simulation, storage, tracking
from ganinfer.execution import Executor
from ganinfer.experiment import Experiment, simulator
from ganinfer.interfaces import Info
from ganinfer.progress import Progress, Silent
from ganinfer.runner import assembling, bundling, ending, recording, results, scoring, sending
from ganinfer.runner.assembling import RunError
from ganinfer.runner.planning import Plan, dropped, open_table, planned
from ganinfer.storage import SIMULATIONS, SimulationStore

#: A scenario whose simulations look as odd as the data more rarely than this does not fit.
FITS = 0.05
#: Simulated data sets of each scenario that are drawn.
_SHOWN = 400
#: Points of the learning curve: all simulations, and halves of halves.
_CURVE = 3


@dataclass(frozen=True)
class Wanted:
    """What a comparison is to leave: parameters of the best ``scenario`` or of the one named, or none.

    ``store``: where simulated data sets are kept; ``None``: in the run's folder.
    """

    scenario: str | None = None
    compare_only: bool = False
    store: Path | None = None


def compare(
    plan: Plan,
    wanted: Wanted,
    folder: storage.RunFolder,
    workers: Executor,
    tracker: tracking.Tracker,
    events: Progress,
    clock: recording.Clock,
) -> None:
    """Compare the scenarios and infer the best one's parameters; everything goes to ``folder`` and to MLflow."""
    for sentence in _told(plan):
        events.message(sentence)
    simulated, tests, spent = simulations(plan, wanted.store or folder.path / SIMULATIONS, workers, events)
    begun = time.monotonic()
    trained, curve = trained_networks(plan, simulated, tests, events)
    spent["train"] = time.monotonic() - begun
    events.message("Judging the data")
    answer = _answer(plan, wanted, simulated, tests, trained, curve)
    measured = {key: answer.said[key] for key in ("confusion", "calibration")}
    bundling.write(folder.path / "bundle", plan, simulated, trained, measured)
    _write(plan, answer, folder, {**spent, "total": clock.seconds()}, tracker)
    for sentence in tracker.warnings:
        events.message(sentence)
    events.finished(storage.read_json(folder.path / "result.json"))


def _told(plan: Plan) -> list[str]:
    table = plan.table
    out = [f"{table.haplotypes.num_sites:,} SNPs"]
    lengths = table.template.lengths
    if lengths is not None:
        out[0] += f" at {len(lengths):,} loci of {int(lengths.sum()):,} bases in all"
    if any(table.dropped.values()):
        out.append(f"Left out of the table: {dropped(table)}")
    return out


# --- simulations --------------------------------------------------------------------------------------------------


def simulations(plan: Plan, folder: Path, workers: Executor, events: Progress) -> tuple[Any, Any, dict[str, float]]:
    """Data sets to learn from, and others to test on."""
    from ganinfer import comparison

    begun = time.monotonic()
    parts: dict[str, Any] = {}
    for purpose, size, stores in _filled(plan, folder, workers, events):
        arrays, theta = [s.arrays(size) for s in stores], [s.theta(size) for s in stores]
        parts[purpose] = comparison.Simulations.joined(plan.scenarios, arrays, theta)
    return parts["learn"], parts.get("test"), {"simulate": time.monotonic() - begun}


def _filled(
    plan: Plan, folder: Path, workers: Executor, events: Progress
) -> Iterator[tuple[str, int, list[SimulationStore]]]:
    """What data sets are for, how many there are of each scenario, and the scenarios' stores once they hold them."""
    section = plan.experiment.comparison
    for purpose, size in (("learn", section.simulations), ("test", section.tests)):
        stores = []
        for scenario in plan.scenarios if size else ():
            store = SimulationStore(folder / f"{scenario.name}-{purpose}", key(plan, scenario, purpose))
            if len(store) < size:
                events.message(f"Simulating {size - len(store):,} data sets of {scenario.name} to {purpose}")
            make = partial(
                scenarios.simulated,
                scenario,
                plan.table.template,
                plan.experiment.seed,
                purpose,
                workers,
                plan.varied,
            )
            store.extend(size, make)
            stores.append(store)
        if size:
            yield purpose, size, stores


def simulate_into(
    experiment: Experiment, store: Path, *, seed: int | None = None, progress: Progress | None = None
) -> Path:
    """Simulate what a run of ``experiment`` would, into the folder ``store``: runs with it begin where this ended."""
    events = progress or Silent()
    experiment = experiment if seed is None else experiment.model_copy(update={"seed": seed})
    if experiment.kind != "loci":
        raise RunError("--store keeps tables of SNPs: windows are simulated by the run; --output writes some")
    assembling.import_training(experiment)  # the network says which arrays it needs
    with assembling.executor(experiment) as workers:
        for _ in _filled(planned(experiment, open_table(experiment)), store, workers, events):
            pass
    return store


def key(plan: Plan, scenario: Any, purpose: str) -> dict[str, Any]:
    """What simulations depend on, and by what name other ones differ; names of files do not matter."""
    versions, setup = assembling.versions(), scenario.setup
    told = json.dumps(_without_names({"simulator": setup.simulator, "options": setup.options}), sort_keys=True)
    return {
        "scenario": scenario.name,
        "model": hashlib.sha256(told.encode()).hexdigest(),
        "samples": [asdict(s) for s in setup.samples],
        "pipeline": asdict(setup.pipeline),
        "encodings": [[name, dict(options)] if options else name for name, options in setup.encoders],
        "statistics": scenarios.definitions(setup),
        "template": plan.table.template.digest,
        **({} if plan.table.template.lengths is None else {"num_sites": setup.num_sites}),
        "purpose": purpose,
        "varied": plan.varied,
        "seed": plan.experiment.seed,
        "versions": {name: versions.get(name) for name in ("ganinfer", "msprime", "numpy")},
    }


def _without_names(value: Any) -> Any:
    """JSON values without the names of files whose text stands there."""
    if not isinstance(value, Mapping):
        return value
    dropped = {"file"} if "text" in value else set()
    return {k: _without_names(v) for k, v in value.items() if k not in dropped}


def trained_networks(plan: Plan, simulated: Any, tests: Any, events: Progress) -> tuple[Any, list[dict[str, float]]]:
    """The networks, one a fold, and the learning curve of single ones."""
    from ganinfer import comparison
    from ganinfer.training import scenarios as networks

    section, seed = plan.experiment.comparison, plan.experiment.seed
    changed = {k: getattr(section, k) for k in ("epochs", "batch", "learning_rate") if getattr(section, k) is not None}
    settings = networks.ScenarioSettings(**changed)
    specs = dict(simulation.encoding_specs(plan.scenarios[0].setup))
    if "table-statistics" not in assembling.network_encodings(plan.experiment):
        specs.pop(scenarios.STATISTICS)
    network, sizes = plan.experiment.discriminator, [len(s.parameters) for s in plan.scenarios]

    def fresh(number: int) -> Any:
        return networks.init(network.name, network.options, specs, sizes, number, seed)

    events.message(f"Training {section.folds} networks on {len(simulated.sets):,} data sets")
    trained = comparison.train(fresh(section.folds), simulated.sets, settings, seed)
    if tests is None:
        return trained, []
    events.message("Training networks on fewer data sets, to see what more would bring")
    points = comparison.learning_curve(fresh(_CURVE), simulated, tests, settings, seed)
    return trained, [dict(zip(("simulations", "accuracy", "log_loss"), point, strict=True)) for point in points]


# --- the answer ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Answer:
    """What a comparison found.

    ``said``: the comparison of result.json; ``info`` by scenario: estimates and posterior, empty where only the
    comparison is wanted; ``chosen``: the scenario whose parameters are the run's; ``arrays`` for the report.
    """

    said: Mapping[str, Any]
    info: Mapping[str, Info]
    best: str
    chosen: str
    arrays: Mapping[str, np.ndarray]
    trained: Any
    num_simulated: int


def _answer(
    plan: Plan, wanted: Wanted, simulated: Any, tests: Any, trained: Any, curve: Sequence[Mapping[str, float]]
) -> Answer:
    from ganinfer import comparison

    names = plan.names
    probabilities, outcomes = comparison.judged(trained, plan.real, plan.weights)
    found = comparison.references(simulated, trained, scenarios.families(plan.scenarios[0].setup))
    verdicts = comparison.verdicts(found, plan.real[scenarios.STATISTICS][0], outcomes)
    best = names[int(np.argmax(probabilities[0]))]
    said = {
        "probabilities": dict(zip(names, probabilities[0].tolist(), strict=True)),
        "prior_predictive_p": {n: v.p_value for n, v in zip(names, verdicts, strict=True)},
        "none_fits": all(v.p_value < FITS for v in verdicts),
        "simulations": plan.experiment.comparison.simulations,
        **scoring.tested(plan, tests, trained),
        "learning_curve": list(curve),
        "rivals": scoring.rivals(plan, simulated, tests, trained),
    }
    said["alike"] = scoring.alike(names, said["confusion"])
    info = {}
    for i, scenario in enumerate(plan.scenarios if not wanted.compare_only else ()):
        rng = randomness.stream(plan.experiment.seed, "posterior", scenario.name)
        draws = comparison.posterior(scenario, i, simulated, trained, outcomes, rng)
        info[scenario.name] = Info(np.median(draws, axis=0), draws.std(axis=0), draws)
    number = len(simulated.sets) + (len(tests.sets) if tests else 0)
    arrays = pictured(plan, simulated, trained, outcomes, verdicts)
    return Answer(said, info, best, wanted.scenario or best, arrays, trained, number)


def _write(
    plan: Plan, answer: Answer, folder: storage.RunFolder, seconds: Mapping[str, float], tracker: tracking.Tracker
) -> None:
    experiment, rows = plan.experiment, answer.trained.rows
    parameters = {s.name: s.parameters for s in plan.scenarios}
    if answer.chosen in answer.info:
        info, mine = answer.info[answer.chosen], parameters[answer.chosen]
        assert info.posterior is not None
        folder.write_table("posterior.parquet", {n: info.posterior[:, j] for j, n in enumerate(mine.names)})
        ending.write_best_model(experiment, answer.chosen, mine, info, folder)
    folder.write_table("training.parquet", {k: np.array([r[k] for r in rows]) for k in rows[0]})
    folder.write_arrays("comparison.npz", answer.arrays)
    _write_models(plan, folder)
    folder.write_json("warnings.json", {"warnings": [*scoring.warned(answer.said), *tracker.warnings]})
    estimates = {n: results.parameter_results(parameters[n], i, experiment.level) for n, i in answer.info.items()}
    result = results.compared(
        answer.best,
        answer.chosen,
        answer.said,
        estimates,
        simulated=answer.num_simulated,
        seconds=seconds,
        seed=experiment.seed,
        versions=assembling.versions(),
    )
    folder.write_json("result.json", result)
    _track(answer, tracker)
    sending.write_report(folder, tracker, sending.registered_name(experiment))


def _track(answer: Answer, tracker: tracking.Tracker) -> None:
    """Losses by epoch, means over folds, and at the end what the comparison says."""
    last = 0
    for epoch in sorted({int(row["epoch"]) for row in answer.trained.rows}):
        mine = [row for row in answer.trained.rows if int(row["epoch"]) == epoch]
        names = [name for name in mine[0] if name not in ("fold", "epoch")]
        tracker.metrics({f"loss/{name}": float(np.mean([row[name] for row in mine])) for name in names}, epoch)
        last = epoch
    said = answer.said
    values = {f"probability/{name}": p for name, p in said["probabilities"].items()}
    values |= {f"prior_predictive_p/{name}": p for name, p in said["prior_predictive_p"].items()}
    tracker.metrics(values | scores(said), last)


def scores(said: Mapping[str, Any]) -> dict[str, float]:
    """How good the networks are on tests, as far as there were any; see :func:`scoring.tested`."""
    names = ("accuracy", "log_loss", "expected_calibration_error", "temperature", "floor")
    return {name: said["calibration"][name] for name in names if name in said["calibration"]}


def pictured(
    plan: Plan, simulated: Any, trained: Any, outcomes: Sequence[Any], verdicts: Sequence[Any]
) -> dict[str, np.ndarray]:
    """What the report draws.

    ``scenario`` (n,) of some simulated data sets; ``statistics_cloud`` and ``network_cloud`` (n, 2): where they lie on
    the axes that tell scenarios apart, by classical statistics and by the networks' logits, ``statistics_real`` (2,)
    and ``network_real`` (networks, 2) the data; ``z`` (scenarios, d) the data's residuals in standard deviations
    under each scenario; ``separation`` (d,) of the ``names`` (d,) of statistics.
    """
    from ganinfer import comparison

    scenario = simulated.sets.scenario
    statistics = simulated.statistics()
    offset, axes = comparison.discriminant_axes(statistics, scenario)
    shown = np.concatenate([simulated.of(i)[:_SHOWN] for i in range(len(plan.scenarios))])
    centred = trained.logits - trained.logits.mean(axis=1, keepdims=True)
    middle, network_axes = comparison.discriminant_axes(centred, scenario)
    real = np.concatenate([o.logits for o in outcomes])
    real = real - real.mean(axis=1, keepdims=True)
    spec = simulation.encoding_specs(plan.scenarios[0].setup)[scenarios.STATISTICS]
    return {
        "scenario": scenario[shown],
        "statistics_cloud": (statistics[shown] - offset) @ axes,
        "statistics_real": (plan.real[scenarios.STATISTICS][0] - offset) @ axes,
        "network_cloud": (centred[shown] - middle) @ network_axes,
        "network_real": (real - middle) @ network_axes,
        "z": np.stack([v.z for v in verdicts]),
        "separation": comparison.separation(statistics, scenario),
        "names": np.array(spec.details["names"]),
        "scenarios": np.array([s.name for s in plan.scenarios]),
    }


def _write_models(plan: Plan, folder: storage.RunFolder) -> None:
    """models/NAME.demes.yaml of each scenario in the middle of its prior, where its simulator has a demes graph."""
    import demes

    for scenario in plan.scenarios:
        graph = getattr(simulator(plan.experiment, scenario.name), "graph", None)
        if graph is None:
            continue
        unit = np.full((1, len(scenario.parameters)), 0.5)
        middle = scenario.parameters.from_unit(unit)[0]
        with contextlib.suppress(ValueError), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            text = demes.dumps(graph(scenario.parameters.named(middle)))
            folder.write_text(f"models/{scenario.name}.demes.yaml", text)
