"""Simulated and encoded windows a CPU second, against a bare loop of msprime.

The model is ``im`` at its truth, windows of 50 kb, 16 a proposal. The bare loop builds the demography once and takes
ancestry, mutations and the genotype matrix in one process: by a call of ``sim_ancestry`` a window, as most people write
it; by ``num_replicates``, as we call it; and so with freed memory kept as we keep it, the hardest to reach. CPU seconds
are user and system time of the process and all it started, between a warm-up and the last result; those of Ray's own
servers are counted apart. Every measurement has a process of its own, with one thread in numerical libraries.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from tests.bench import processes
from tests.bench.data import ROOT

#: Individuals of each of the two populations, and the sites of the arrays.
SIZES = {10: 192, 50: 288}
WINDOWS = 16
ENCODINGS = ("snp-matrix", "joint-counts")
BARE = ("a call a window", "replicates", "replicates, memory kept")
EXECUTORS = ("serial", "process", "ray")
_WARM_UP = 40


def measure(num_proposals: int, workers: int, repeats: int) -> list[dict[str, Any]]:
    """One record a kind and size; ``seconds`` lists the CPU seconds of every repeat, all kinds once a repeat."""
    kinds = [*(("bare", b) for b in BARE), *((e, "arrays") for e in EXECUTORS), ("serial", "arrays and statistics")]
    found: dict[tuple[int, str, str], dict[str, Any]] = {}
    for _ in range(repeats):
        for size in SIZES:
            for kind, variant in kinds:
                one = _in_a_process(size, kind, variant, num_proposals, workers)
                record = found.setdefault(
                    (size, kind, variant), {**one, "seconds": [], "servers": [], "peak": 0, "worker_peak": 0}
                )
                for key in ("seconds", "servers"):
                    record[key].append(one[key])
                for key in ("peak", "worker_peak"):
                    record[key] = max(record[key], one[key])
                rate = one["windows"] / one["seconds"]
                print(f"  {4 * size} chromosomes, {kind}, {variant}: {rate:.0f} windows a CPU second", flush=True)
    return list(found.values())


def _in_a_process(size: int, kind: str, variant: str, num_proposals: int, workers: int) -> dict[str, Any]:
    one = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
    # Ray gives its workers the lowest priority. Where others compute too, they would be interrupted more than the rest.
    one["RAY_worker_niceness"] = "0"
    job = json.dumps({"size": size, "kind": kind, "variant": variant, "proposals": num_proposals, "workers": workers})
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.simulation", job],
        cwd=ROOT,
        env={**os.environ, **one, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def run(size: int, kind: str, variant: str, proposals: int, workers: int) -> dict[str, Any]:
    """One measurement in this process."""
    make = _bare(size, variant) if kind == "bare" else None
    if make is not None:
        cost = _timed(partial(make, _WARM_UP, 1), partial(make, proposals, 1 + _WARM_UP))
        peak = processes.peak_memory()
    else:
        cost, peak = _ours(size, kind, variant, proposals, workers)
    return {
        "individuals": size,
        "kind": kind,
        "variant": variant,
        "windows": proposals * WINDOWS,
        "seconds": round(cost[0], 2),
        "servers": round(cost[1], 2),
        "peak": peak[0].size,
        "worker_peak": processes.workers_peak(peak),
    }


def _timed(warm_up: Callable[[], Any], work: Callable[[], Any]) -> tuple[float, float]:
    """CPU seconds of the work without Ray's servers, and those of the servers."""

    def now() -> np.ndarray:
        without = processes.cpu_seconds(servers=False)
        return np.array([without, processes.cpu_seconds() - without])

    warm_up()
    begun = now()
    work()
    spent = now() - begun
    return float(spent[0]), float(spent[1])


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


def _ours(
    size: int, kind: str, variant: str, proposals: int, workers: int
) -> tuple[tuple[float, float], list[processes.Peak]]:
    """CPU seconds, and the peak memory of every process while workers still live."""
    from ganinfer import execution, experiment, simulation
    from ganinfer.haplotypes import SampleSet
    from ganinfer.interfaces import WindowTemplate
    from ganinfer.pipeline import PipelineSettings
    from ganinfer.runner import assembling

    loaded = experiment.load(ROOT / "experiments" / "im.yaml")
    truth = assembling.study_plan(loaded).truth
    encodings = (*ENCODINGS, assembling.CLASSICAL) if "statistics" in variant else ENCODINGS
    samples = (SampleSet("A", size), SampleSet("B", size))
    setup = assembling.base_setup(loaded, "im", samples, PipelineSettings(), encodings, num_sites=SIZES[size])
    templates = (WindowTemplate(setup.length),) * WINDOWS

    def tasks(num: int, first: int) -> list[simulation.Task]:
        return [simulation.Task(setup, truth, templates, first + i) for i in range(num)]

    def consume(num: int, first: int) -> None:
        for encoded in simulation.simulate(iter(tasks(num, first)), executor):
            assert len(encoded["mask"]) == WINDOWS

    with execution.make(kind, workers) as executor:
        cost = _timed(partial(consume, _WARM_UP, 1), partial(consume, proposals, 1 + _WARM_UP))
        return cost, processes.peak_memory()


# --- what the records say -----------------------------------------------------------------------------------------


def rates(record: dict[str, Any]) -> np.ndarray:
    """Windows a CPU second in every repeat."""
    return record["windows"] / np.array(record["seconds"])


def shares(records: list[dict[str, Any]], record: dict[str, Any], of: str) -> np.ndarray:
    """The record's rate over that of the bare loop ``of``, repeat by repeat."""
    base = next(
        r for r in records if r["kind"] == "bare" and r["variant"] == of and r["individuals"] == record["individuals"]
    )
    return rates(record) / rates(base)


if __name__ == "__main__":
    print(json.dumps(run(**json.loads(sys.argv[1]))))
