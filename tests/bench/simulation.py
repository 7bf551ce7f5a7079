"""Simulated and encoded windows a CPU second, against a bare loop of msprime.

The model is ``im`` at its truth, windows of 50 kb, 16 a proposal. The bare loop builds the demography once and takes
ancestry, mutations and the genotype matrix in one process: by a call of ``sim_ancestry`` a window, as most people write
it; by ``num_replicates``, as we call it; and so with freed memory kept as we keep it, the hardest to reach. CPU seconds
are user and system time, Ray's own servers included.

All kinds take turns, some proposals each, in processes that stay, and a share is one of the same turn. So whatever else
the machine does slows all of them alike. Numerical libraries have one thread.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from typing import Any

import numpy as np

from ganinfer import execution
from tests.bench import processes
from tests.bench.data import ROOT

#: Individuals of each of the two populations, and the sites of the arrays.
SIZES = {10: 192, 50: 288}
WINDOWS = 16
ENCODINGS = ("snp-matrix", "joint-counts")
BARE = ("a call a window", "replicates", "replicates, memory kept")
ARRAYS, STATISTICS = "arrays", "arrays and statistics"
#: Variants by kind. Ray comes last and alone: its servers and idle workers cost a little all the time.
_TOGETHER = {"bare": BARE, "serial": (ARRAYS, STATISTICS), "process": (ARRAYS,)}
_WITH_RAY = {"bare": BARE[-1:], "ray": (ARRAYS,)}
_SETTINGS = {
    **{f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")},
    # Ray gives its workers the lowest priority. Where others compute too, they would be interrupted more than the rest.
    "RAY_worker_niceness": "0",
}
#: CPU seconds of what was asked for, and of Ray's servers meanwhile.
Cost = tuple[float, float]


def measure(num_proposals: int, workers: int, repeats: int) -> list[dict[str, Any]]:
    """A record a kind, variant and size; ``seconds`` and ``servers`` list the CPU seconds of every turn.

    ``base`` lists the seconds of the hardest bare loop in the same turns.
    """
    found = []
    for size in SIZES:
        for kinds in (_TOGETHER, _WITH_RAY):
            made = _turns(size, kinds, num_proposals, workers, repeats)
            base = next(r["seconds"] for r in made if r["variant"] == BARE[-1])
            kept = [{**r, "base": base} for r in made if kinds is _TOGETHER or r["kind"] == "ray"]
            found += kept
            for r in kept:
                print(
                    f"  {4 * size} chromosomes, {r['kind']}, {r['variant']}: {share(r):.2f} of the bare loop",
                    flush=True,
                )
    return found


def _turns(
    size: int, kinds: Mapping[str, tuple[str, ...]], num_proposals: int, workers: int, repeats: int
) -> list[dict[str, Any]]:
    with ExitStack() as stack:
        stack.enter_context(environment())
        runs = {
            (kind, variant): _contender(stack, size, kind, variant, workers)
            for kind, variants in kinds.items()
            for variant in variants
        }
        costs: dict[Any, list[Cost]] = {key: [] for key in runs}
        for turn in range(1 + repeats):  # the first is for warming up
            for key, run in runs.items():
                costs[key].append(run(num_proposals, 1 + turn * num_proposals))
    return [
        {
            "individuals": size,
            "kind": kind,
            "variant": variant,
            "windows": num_proposals * WINDOWS,
            "seconds": [round(seconds, 3) for seconds, _ in cost[1:]],
            "servers": [round(servers, 3) for _, servers in cost[1:]],
        }
        for (kind, variant), cost in costs.items()
    ]


def _contender(stack: ExitStack, size: int, kind: str, variant: str, workers: int) -> Callable[[int, int], Cost]:
    """A function of the number of proposals and the first one's seed."""
    if kind in ("process", "ray"):
        executor = stack.enter_context(execution.make(kind, workers))
        return partial(_on_executor, executor, size, variant)
    alone = stack.enter_context(execution.make("process", 1))

    def run(num_proposals: int, first: int) -> Cost:
        ((_, seconds),) = alone.run(_in_one_process, [(size, kind, variant, num_proposals, first)])
        return seconds, 0.0

    return run


def _on_executor(executor: execution.Executor, size: int, variant: str, num_proposals: int, first: int) -> Cost:
    """By an executor of several processes: the driver's own seconds count, too."""
    from ganinfer import simulation

    tasks = _tasks(size, variant, num_proposals, first)

    def now() -> np.ndarray:
        without = processes.cpu_seconds(servers=False)
        return np.array([without, processes.cpu_seconds() - without])

    begun = now()
    for encoded in simulation.simulate(iter(tasks), executor):
        assert len(encoded["mask"]) == WINDOWS
    seconds, servers = now() - begun
    return float(seconds), float(servers)


def _in_one_process(job: tuple[int, str, str, int, int]) -> float:
    """What a process of its own does in a turn; its CPU seconds for it."""
    from ganinfer import simulation

    size, kind, variant, num_proposals, first = job
    loop = _bare(size, variant) if kind == "bare" else None
    tasks = _tasks(size, variant, num_proposals, first) if kind == "serial" else []
    begun = time.process_time()
    if loop is not None:
        loop(num_proposals, first)
    for task in tasks:
        simulation.simulate_task(task)
    return time.process_time() - begun


def _tasks(size: int, variant: str, num_proposals: int, first: int) -> list[Any]:
    from ganinfer import simulation
    from ganinfer.interfaces import WindowTemplate

    setup, truth = _setup(size, variant)
    templates = (WindowTemplate(setup.length),) * WINDOWS
    return [simulation.Task(setup, truth, templates, first + i) for i in range(num_proposals)]


@cache
def _setup(size: int, variant: str) -> tuple[Any, Mapping[str, float]]:
    from ganinfer import experiment
    from ganinfer.haplotypes import SampleSet
    from ganinfer.pipeline import PipelineSettings
    from ganinfer.runner import assembling

    loaded = experiment.load(ROOT / "experiments" / "im.yaml")
    encodings = (*ENCODINGS, assembling.CLASSICAL) if variant == STATISTICS else ENCODINGS
    samples = (SampleSet("A", size), SampleSet("B", size))
    setup = assembling.base_setup(loaded, "im", samples, PipelineSettings(), encodings, num_sites=SIZES[size])
    return setup, assembling.study_plan(loaded).truth


@cache
def _bare(size: int, variant: str) -> Callable[[int, int], None]:
    import msprime

    from ganinfer import coalescent, experiment
    from ganinfer.runner import assembling

    loaded = experiment.load(ROOT / "experiments" / "im.yaml")
    plugin = experiment.simulator(loaded, "im")
    demography = plugin.demography(assembling.study_plan(loaded).truth)  # type: ignore[attr-defined]
    rate = loaded.scenarios["im"].options["mutation_rate"]
    if variant.endswith("memory kept"):
        coalescent.keep_freed_memory()
    common: dict[str, Any] = {
        "samples": [msprime.SampleSet(size, population=name, ploidy=2) for name in ("A", "B")],
        "demography": demography,
        "sequence_length": loaded.windows.length,
        "recombination_rate": loaded.scenarios["im"].options["recombination_rate"],
    }

    def ancestries(seed: int) -> Iterator[Any]:
        if variant == BARE[0]:
            for i in range(WINDOWS):
                yield msprime.sim_ancestry(**common, random_seed=seed * WINDOWS + i)
        else:
            yield from msprime.sim_ancestry(**common, num_replicates=WINDOWS, random_seed=seed)

    def loop(num_proposals: int, first: int) -> None:
        for seed in range(first, first + num_proposals):
            for i, ancestry in enumerate(ancestries(seed)):
                mutated = msprime.sim_mutations(ancestry, rate=rate, random_seed=seed * WINDOWS + i)
                mutated.genotype_matrix()

    return loop


@contextmanager
def environment() -> Iterator[None]:
    """For the processes that are started meanwhile."""
    before = dict(os.environ)
    os.environ.update(_SETTINGS)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


# --- what the records say -----------------------------------------------------------------------------------------


def spent(record: dict[str, Any]) -> np.ndarray:
    """CPU seconds of every turn, Ray's servers included."""
    return np.array(record["seconds"]) + np.array(record["servers"])


def rate(record: dict[str, Any]) -> float:
    """Windows a CPU second, the median of the turns."""
    return float(np.median(record["windows"] / spent(record)))


def share(record: dict[str, Any]) -> float:
    """Its speed over that of the hardest bare loop in the same turns, the median."""
    return float(np.median(np.array(record["base"]) / spent(record)))
