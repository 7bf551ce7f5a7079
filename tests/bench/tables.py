"""Simulated tables of SNPs a CPU second, against a bare loop of msprime, and how fast stored ones are read.

The table is that of the experiment ``seguieriana``: 1,000 unlinked SNPs of 270 chromosomes, 15 % of the calls missing,
in the scenario ``stable`` at its truth. The bare loop takes a replicate of ``sim_ancestry`` a SNP, puts a mutation on
a branch in proportion to its length, and draws anew what does not vary among the calls; ours checks, folds and encodes
besides. Both take turns in processes that stay, and a share is one of the same turn.

Reading is that of a store of tables as a network that trains reads them, in random order, against the training itself.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ganinfer import execution
from tests.bench.data import ROOT
from tests.bench.simulation import environment

SCENARIO = "stable"
_EXPERIMENT = ROOT / "experiments" / "seguieriana.yaml"
_STORED, _BATCH = 100, 32


def measure(repeats: int) -> list[dict[str, Any]]:
    """A record of simulation, with CPU seconds a table of both loops by turn, and one of reading and training."""
    with ExitStack() as stack:
        stack.enter_context(environment())
        seconds: dict[str, list[float]] = {"bare": [], "ours": []}
        workers = {kind: stack.enter_context(execution.make("process", 1)) for kind in seconds}
        for turn in range(1 + repeats):  # the first is for warming up
            for kind, worker in workers.items():
                ((_, spent),) = worker.run(_in_one_process, [(kind, 1 + turn)])
                seconds[kind].append(spent)
    found = {"what": "simulation", **{kind: spent[1:] for kind, spent in seconds.items()}}
    return [found, {"what": "reading", **_reading(repeats)}]


def _in_one_process(job: tuple[str, int]) -> float:
    """CPU seconds of a table."""
    kind, seed = job
    plan = _plan()
    begun = time.process_time()
    if kind == "bare":
        _bare(plan, seed)
    else:
        from ganinfer import simulation

        simulation.simulate_task(_task(plan, seed))
    return time.process_time() - begun


@cache
def _plan() -> Any:
    """The experiment's plan with the encodings of the default network, without TensorFlow."""
    from ganinfer.experiment import load
    from ganinfer.runner import planning

    overrides = ["discriminator={name: exchangeable, encodings: [joint-counts]}"]
    experiment = load(_EXPERIMENT, overrides)
    return planning.planned(experiment, planning.open_table(experiment))


def _task(plan: Any, seed: int) -> Any:
    from ganinfer.simulation import Task

    truth = plan.experiment.data.simulate.truth
    scenario = next(s for s in plan.scenarios if s.name == SCENARIO)
    return Task(scenario.setup, truth, (plan.table.template,), seed)


def _bare(plan: Any, seed: int) -> np.ndarray:
    import msprime

    from ganinfer.experiment import simulator

    truth = plan.experiment.data.simulate.truth
    demography = simulator(plan.experiment, SCENARIO).demography(truth)
    samples = {s.population: s.num_individuals for s in plan.scenarios[0].setup.samples}
    num_chromosomes = 2 * sum(samples.values())
    called = plan.table.template.called(num_chromosomes)
    rng, row = np.random.default_rng(seed), 0
    genotypes = np.zeros((len(called), num_chromosomes), dtype=np.int8)
    for replicate in msprime.sim_ancestry(
        samples, demography=demography, sequence_length=1, num_replicates=10**9, random_seed=seed
    ):
        tree, times = replicate.first(), replicate.nodes_time
        ends = np.cumsum(times[replicate.edges_parent] - times[replicate.edges_child])
        branch = int(replicate.edges_child[np.searchsorted(ends, rng.random() * ends[-1])])
        genotypes[row] = 0
        genotypes[row, list(tree.samples(branch))] = 1
        seen = genotypes[row][called[row]]
        if 0 < seen.sum() < len(seen):
            row += 1
            if row == len(genotypes):
                break
    genotypes[~called] = -1
    return genotypes


def _reading(repeats: int) -> dict[str, list[float]]:
    """Tables a second that are read from a store in batches, and that a network trains on."""
    from ganinfer import comparison, scenarios, simulation
    from ganinfer.storage import SimulationStore
    from ganinfer.training import scenarios as networks

    plan = _plan()
    scenario = next(s for s in plan.scenarios if s.name == SCENARIO)
    with tempfile.TemporaryDirectory() as folder, execution.make("serial") as workers:
        store = SimulationStore(Path(folder) / SCENARIO, {})

        def make(start: int, stop: int) -> Any:
            return scenarios.simulated(scenario, plan.table.template, 1, "learn", workers, False, start, stop)

        store.extend(_STORED, make)
        joined = comparison.Simulations.joined([scenario], [store.arrays(_STORED)], [store.theta(_STORED)])
        specs = dict(simulation.encoding_specs(scenario.setup))
        specs.pop(comparison.STATISTICS)
        rates: dict[str, list[float]] = {"read": [], "trained": []}
        for turn in range(1 + repeats):
            (network,) = networks.init("exchangeable", {}, specs, [len(scenario.parameters)], 1, turn)
            rng = np.random.default_rng(turn)
            rates["read"].append(_read(joined.sets.arrays, network.names, rng))
            rates["trained"].append(_trained(network, joined.sets, rng))
    return {name: values[1:] for name, values in rates.items()}


def _read(arrays: Any, names: Any, rng: np.random.Generator) -> float:
    begun, number = time.perf_counter(), 0
    while time.perf_counter() - begun < 1:
        for rows in np.array_split(rng.permutation(_STORED), _STORED // _BATCH):
            for name in names:
                number += len(np.asarray(arrays[name][rows])) * (name == names[0])
    return number / (time.perf_counter() - begun)


def _trained(network: Any, sets: Any, rng: np.random.Generator) -> float:
    """Of the difference between long and short training, so that tracing does not count."""
    from ganinfer.training import scenarios as networks

    spent = []
    for epochs in (2, 12):
        settings = networks.ScenarioSettings(epochs=epochs, batch=_BATCH)
        begun = time.perf_counter()
        networks.train(network, sets, np.arange(_STORED), settings, rng)
        spent.append(time.perf_counter() - begun)
    return 10 * 0.9 * _STORED / max(spent[1] - spent[0], 1e-9)
