"""Coverage with faults planted in the inference, each of which has to be found.

    python -m tests.verification.planted             all
    python -m tests.verification.planted linkage     one of them

*linkage*: the variance of mean statistics taken as if windows were independent, on contigs of 10 Mb with little
recombination. *emulator*: the emulator taken as exact, fitted to 8,000 simulated windows. *interval*: intervals a fifth
too narrow. (Folds removed: ``python -m tests.verification.leak folds``.)

Data sets are drawn around the posterior of one run, or of several, and each is inferred with its run's simulations
twice, as ganinfer does and with the fault. By the rule of :mod:`tests.verification.intervals`, whose clusters are runs,
or data sets of one run, what is right has to pass and the fault to fail; the chance that it does is computed from what
a fault does to a normal posterior, before its data sets are looked at. Runs are kept under
``.bench/verification/planted``, and what was found stands in docs/verification/planted.json.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from scipy.stats import norm

from ganinfer import coverage, randomness, runner, storage
from ganinfer.experiment import Experiment, loads
from ganinfer.generators.emulator import Emulator
from ganinfer.generators.linkage import _Measured
from ganinfer.interfaces import EMULATOR_ERROR
from ganinfer.runner import assembling, inferring, parts, rounds
from tests.verification import records
from tests.verification.intervals import APART, LEVEL, judged

FOLDER = records.ROOT / ".bench" / "verification" / "planted"
EXPERIMENTS = records.ROOT / "experiments"
RECORD = records.FOLDER / "planted.json"
#: Parameters of one data set, and data sets of one run, are not independent: their number counts by so much less.
DEPENDENT = 1.5
LEAST_POWER = 0.95
SHRUNK = 0.8


def _without_emulator_error() -> AbstractContextManager[Any]:
    right = Emulator.predict

    def exact(self: Emulator, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mean, variance = right(self, x)
        return mean, 1e-9 * variance

    return patch.object(Emulator, "predict", exact)


def _without_linkage() -> AbstractContextManager[Any]:
    def independent(values: np.ndarray, block: np.ndarray) -> _Measured:
        return _Measured(np.full(values.shape[1], np.nan), 0.0, block)

    return patch.object(_Measured, "of", independent)


@dataclass(frozen=True)
class Fault:
    """``experiment`` as YAML of a seed; ``runs`` of it with ``sets`` data sets each; ``planted`` around an inference.

    ``variance`` is by what the fault divides the variance of a posterior, from what a run says of itself, by parameter.
    """

    told: str
    experiment: Callable[[int], str]
    runs: int
    sets: int
    variance: Callable[[dict[str, float], Sequence[str]], np.ndarray]
    planted: Callable[[], AbstractContextManager[Any]] = nullcontext
    shrunk: float = 1.0


def _contigs(seed: int) -> str:
    return _written(
        "const",
        f"truth: {{Ne: 10_000}}, samples: {{A: 10}}, contigs: 10, contig_length: 10_000_000, seed: {seed}",
        "recombination_rate: 1.0e-9",
        20_000,
        seed,
    )


def _im(budget: int, windows: int) -> Callable[[int], str]:
    truth = "truth: {N1: 9_000, N2: 5_000, N_anc: 15_000, T_split: 2_000, pulse: 0.05}"

    def written(seed: int) -> str:
        told = f"{truth}, samples: {{A: 10, B: 10}}, windows: {windows}, seed: {seed}"
        return _written("im", told, "recombination_rate: 1.25e-8", budget, seed)

    return written


def _written(model: str, data: str, options: str, budget: int, seed: int) -> str:
    return f"""
schema_version: 1
name: planted
data: {{simulate: {{scenario: {model}, {data}}}}}
windows: {{length: 50_000}}
scenarios:
  {model}:
    simulator: demes
    model: {EXPERIMENTS}/{model}.demes.yaml
    parameters: {EXPERIMENTS}/{model}.options.yaml
    mutation_rate: 1.25e-8
    {options}
execution: {{executor: process}}
adequacy: {{windows: 0}}
second_opinion: {{bootstraps: 0}}
budget: {{simulated_windows: {budget}}}
seed: {seed}
"""


def _emulator_variance(metrics: dict[str, float], names: Sequence[str]) -> np.ndarray:
    """The variance with the emulator's error over the data's own."""
    return 1 / (1 - np.array([metrics[f"{EMULATOR_ERROR}{n}"] for n in names]) ** 2)


FAULTS = {
    "linkage": Fault(
        "linked windows taken as independent",
        _contigs,
        1,
        100,
        lambda metrics, names: np.full(len(names), metrics["inflation"]),
        _without_linkage,
    ),
    "emulator": Fault(
        "the emulator's error left out, 8,000 simulated windows",
        _im(8_000, 4_000),
        12,
        3,
        _emulator_variance,
        _without_emulator_error,
    ),
    "interval": Fault(
        "intervals a fifth too narrow",
        _im(40_000, 2_000),
        1,
        100,
        lambda metrics, names: np.full(len(names), 1 / SHRUNK**2),
        shrunk=SHRUNK,
    ),
}


def power(share: float, num_independent: float) -> float:
    """Chance that coverage of ``share`` in so many intervals fails the rule."""
    error = np.sqrt(share * (1 - share) / num_independent)
    return float(norm.cdf((LEVEL - share) / error - APART))


def expected(variance: np.ndarray) -> float:
    """Coverage of intervals of normal posteriors whose variance is too small by these factors."""
    narrow = norm.isf((1 - LEVEL) / 2) / np.sqrt(variance)
    return float(np.mean(2 * norm.cdf(narrow) - 1))


def examined(name: str) -> dict[str, Any]:
    """Both kinds of intervals on the data sets of a fault, and what was expected of the fault beforehand."""
    fault, variances, right, wrong = FAULTS[name], [], [], []
    for seed in range(1, fault.runs + 1):
        made = _one_run(name, seed)
        variances.append(made["variance"])
        right.append(made["right"])
        wrong.append(made["wrong"])
        print(name, seed, np.mean(made["right"]), np.mean(made["wrong"]), flush=True)
    share = expected(np.array(variances))
    both = [np.array(each) for each in (right, wrong)]
    num_intervals = both[0].size
    flat = [each.reshape(len(each), -1) if fault.runs > 1 else each[0] for each in both]
    found = {
        "told": fault.told,
        "variance_factor": float(np.mean(variances)),
        "expected_share": share,
        "power": power(share, num_intervals / DEPENDENT),
        "right": judged(flat[0]),
        "planted": judged(flat[1]),
    }
    enough = found["power"] >= LEAST_POWER
    return {**found, "passed": enough and found["right"]["passed"] and not found["planted"]["passed"]}


def _one_run(name: str, seed: int) -> dict[str, Any]:
    """Whether intervals of the data sets of a run held, as they are and with the fault; kept beside the run."""
    fault, folder = FAULTS[name], FOLDER / f"{name}-{seed:02d}"
    kept = folder.with_suffix(".json")
    if kept.exists() and storage.read_json(kept)["sets"] == fault.sets:
        return storage.read_json(kept)
    told = loads(fault.experiment(seed), FOLDER, "planted")
    if not (folder / "result.json").exists():
        runner.run(told, folder, resume=(folder / "rounds").exists())
    made = {"sets": fault.sets, **_inferred(told, folder, fault)}
    records.write(kept, json.dumps({"schema_version": records.SCHEMA_VERSION, **made}) + "\n")
    return made


def _inferred(told: Experiment, folder: Path, fault: Fault) -> dict[str, Any]:
    assembling.import_training(told)
    right, wrong = [], []
    with assembling.executor(told) as workers, tempfile.TemporaryDirectory() as cache:
        real = assembling.open_data(told, workers, Path(cache))
        problem, _ = inferring.problem_of(told, assembling.only_scenario(told), real, Path(cache) / "encoded")
        with storage.RunFolder.create(folder, resume=True) as run:
            state, history = rounds.read(problem, run)
            metrics = rounds.last_info(run, history[-1]["round"]).metrics
        truth = _truths(problem, parts.posterior(folder), fault.sets)
        for number, data in enumerate(coverage.data_sets(problem, truth, range(fault.sets), workers)):
            seen = coverage.seen_by(problem, state, data)
            right.append(_held(coverage.inferred(*seen, number)[0], truth[number], 1.0))
            with fault.planted():
                wrong.append(_held(coverage.inferred(*seen, number)[0], truth[number], fault.shrunk))
    variance = fault.variance(dict(metrics), problem.parameters.names)
    return {"variance": variance.tolist(), "right": right, "wrong": wrong}


def _truths(problem: Any, posterior: np.ndarray, sets: int) -> np.ndarray:
    rng = randomness.stream(problem.seed, "planted")
    return posterior[rng.integers(len(posterior), size=sets)]


def _held(posterior: np.ndarray, truth: np.ndarray, shrunk: float) -> list[bool]:
    low, middle, high = np.quantile(posterior, [(1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2], axis=0)
    inside = (middle - shrunk * (middle - low) <= truth) & (truth <= middle + shrunk * (high - middle))
    return [bool(each) for each in inside]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.verification.planted")
    parser.add_argument("faults", nargs="*", choices=[[], *FAULTS], help="default: all")
    passed = True
    for name in parser.parse_args().faults or FAULTS:
        found = examined(name)
        records.put(RECORD, name, found)
        print(name, found)
        passed = passed and found["passed"]
    raise SystemExit(0 if passed else 1)


if __name__ == "__main__":
    main()
