"""How far a run's answer can be believed: data sets like the real one whose truth is known, inferred as it was.

Truths are draws of the run's posterior, and data sets share the run's simulations; or they are draws of the prior, and
each is a run of its own. Every data set is on disk before the next begins.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ganinfer import randomness, storage
from ganinfer.adequacy import AdequacySettings
from ganinfer.execution import Executor
from ganinfer.experiment import Experiment
from ganinfer.progress import Progress, Silent
from ganinfer.runner import assembling, inferring, parts, rounds, summing_up
from ganinfer.runner.assembling import RunError
from ganinfer.runner.refusing import refuse

Around = Literal["posterior", "prior"]
#: Data sets inferred with a run's simulations, and those that are runs of their own.
SHARED, FULL, PRIOR = "posterior", "full", "prior"
ABOUT = "about.json"
Told = Callable[[str], None]


def calibrate(
    experiment: Experiment,
    output: Path,
    *,
    sets: int = 100,
    around: Around = "posterior",
    full: int = 0,
    progress: Progress | None = None,
) -> Path:
    """Infer ``sets`` data sets whose truth is known, and write what came of it to ``output``/calibration.

    ``around`` the posterior of the finished run in ``output``, the first ``full`` of them by runs of their own as well;
    or around the prior, each by a run of its own. What is there from before counts; more data sets go on from it.

    Raises ``ValueError`` kinds for anything wrong with the experiment, its data or the folder.
    """
    events = progress or Silent()
    if experiment.kind != "windows":
        raise RunError(
            "calibrate is for windows: a comparison of tables of SNPs is calibrated and tested as it is made"
        )
    with storage.RunFolder.of_calibration(output) as folder:
        assembling.import_training(experiment)
        if around == "posterior":
            _check_run(experiment, output)
        events.message("Checking the experiment")
        refuse(experiment, network=True, resume=True, scenario=None)
        with assembling.executor(experiment) as workers:
            events.message("Reading the data")
            real = assembling.open_data(experiment, workers, assembling.cache_folder(output))
            scenario = assembling.only_scenario(experiment, None)
            problem, _ = inferring.problem_of(experiment, scenario, real, folder.path / "cache")
            if around == "posterior":
                _around_posterior(experiment, problem, output, folder, sets, full, workers, events.message)
            else:
                _around_prior(experiment, problem, output, folder, sets, workers, events.message)
        storage.remove(folder.path / "cache")
        path = summing_up.written(folder, output, experiment.level)
    if (output / "result.json").exists():
        from ganinfer import report

        report.write_report(output)
    return path


def _check_run(experiment: Experiment, output: Path) -> None:
    from ganinfer.runner.running import check_same

    if not (output / "result.json").exists():
        raise RunError(
            f"{output} holds no finished run: make it first (ganinfer run), or calibrate with --around prior"
        )
    if not (output / "posterior.parquet").exists():
        raise RunError(
            f"the run in {output} gave no posterior, so there are no intervals whose coverage could be found"
        )
    if storage.read_json(output / "result.json").get("comparison"):
        raise RunError(
            f"{output} compares scenarios; calibrate the run of one of them, in {output / storage.SCENARIOS}/NAME"
        )
    check_same(experiment, output)


@dataclass(frozen=True)
class _Truths:
    """Vectors ``theta`` (k, p) by number, the same whoever asks for how many."""

    problem: Any
    around: str
    draws: np.ndarray | None = None

    def __getitem__(self, number: int) -> np.ndarray:
        rng = randomness.stream(self.problem.seed, "truth", self.around, self.problem.scenario, number)
        if self.draws is None:
            return np.asarray(self.problem.parameters.sample(rng, 1)[0])
        return np.asarray(self.draws[rng.integers(len(self.draws))])


# --- around the posterior -----------------------------------------------------------------------------------------


def _around_posterior(
    experiment: Experiment,
    problem: Any,
    output: Path,
    folder: storage.RunFolder,
    sets: int,
    full: int,
    workers: Executor,
    told: Told,
) -> None:
    from ganinfer import coverage

    posterior = parts.posterior(output)
    _same_as_before(folder, SHARED, {"posterior": hashlib.sha256(posterior.tobytes()).hexdigest()})
    truths = _Truths(problem, SHARED, posterior)
    missing = [k for k in range(sets) if not _record(folder, SHARED, k).exists()]
    if missing:
        with storage.RunFolder.create(output, resume=True) as run:
            state, _ = rounds.read(problem, run)
        judge = _judge(experiment, problem, state, posterior, workers, told)
        told(f"Inferring {len(missing):,} simulated data sets with the simulations of the run")
        theta = np.stack([truths[k] for k in missing])
        stream = coverage.data_sets(problem, theta, missing, workers)
        for number, truth, data in zip(missing, theta, stream, strict=True):
            seen = coverage.seen_by(problem, state, data)
            found = coverage.inferred(*seen, number)
            row = summing_up.row(problem.parameters, truth, found.posterior, experiment.level)
            folder.write_json(f"{SHARED}/{number:04d}.json", {**row, **judge(*seen), "warnings": list(found.warnings)})
    _full(experiment, problem, output, folder, FULL, truths, full, workers, told)


def _judge(
    experiment: Experiment, problem: Any, state: Any, posterior: np.ndarray, workers: Executor, told: Told
) -> Callable[[Any, Any], dict[str, Any]]:
    """What says whether a data set is flagged, from fresh windows that all data sets share."""
    from ganinfer import verdict

    section = experiment.adequacy
    if section.windows == 0:
        return lambda *_: {"adequacy": None}
    settings = AdequacySettings(section.windows, section.data_sets)
    told("Simulating windows at the solution to judge by")
    fresh = verdict.simulated(problem, state.networks, posterior, settings, workers)
    found = verdict.Judge(problem, state, posterior, fresh, settings.data_sets)

    def judged(seen: Any, at: Any) -> dict[str, Any]:
        said = found.verdict(seen, at)
        auc = verdict.critic_auc(seen, at, fresh)
        return {"adequacy": {"p_value": said.p_value, "critic_auc": auc, "looks": dict(said.parts)}}

    return judged


def _same_as_before(folder: storage.RunFolder, kind: str, now: Mapping[str, Any]) -> None:
    """Forget data sets around another solution: the run has gone on since."""
    path = folder.path / kind / ABOUT
    if path.exists() and {k: v for k, v in storage.read_json(path).items() if k in now} != dict(now):
        for old in (kind, FULL):
            storage.remove(folder.path / old)
    folder.write_json(f"{kind}/{ABOUT}", now)


def _record(folder: storage.RunFolder, kind: str, number: int) -> Path:
    return folder.path / kind / f"{number:04d}.json"


# --- runs of their own --------------------------------------------------------------------------------------------


def _around_prior(
    experiment: Experiment,
    problem: Any,
    output: Path,
    folder: storage.RunFolder,
    sets: int,
    workers: Executor,
    told: Told,
) -> None:
    _same_as_before(folder, PRIOR, {"experiment": _digest(experiment)})
    _full(experiment, problem, output, folder, PRIOR, _Truths(problem, PRIOR), sets, workers, told)


def _digest(experiment: Experiment) -> str:
    from ganinfer.runner.completing import completed, dump_yaml
    from ganinfer.runner.running import MAY_CHANGE

    kept = {k: v for k, v in completed(experiment).items() if k not in MAY_CHANGE or k in ("budget", "adequacy")}
    return hashlib.sha256(dump_yaml(kept).encode()).hexdigest()


def _full(
    experiment: Experiment,
    problem: Any,
    output: Path,
    folder: storage.RunFolder,
    kind: str,
    truths: _Truths,
    sets: int,
    workers: Executor,
    told: Told,
) -> None:
    """The first ``sets`` data sets, each inferred by a run of its own in a folder of its own, with its own seed."""
    from ganinfer import coverage
    from ganinfer.runner.completing import completed

    complete = completed(experiment) if sets else {}
    for number in range(sets):
        if _record(folder, kind, number).exists():
            continue
        told(f"Simulated data set {number + 1} of {sets}, a run of its own")
        path = folder.path / "runs" / f"{kind}-{number:04d}"
        truth = truths[number]
        (data,) = coverage.data_sets(problem, truth[None], [number], workers)
        # What its networks read stays on the disk, as the real windows do.
        cache = folder.path / "cache" / f"{kind}-{number:04d}"
        arrays = {name: _mapped(cache / f"{name}.npy", array) for name, array in data.arrays.items()}
        observed = replace(problem.observed, arrays=arrays, spectra=data.spectra)
        seed = randomness.simulator_seed(problem.seed, "calibration", kind, number)
        mine = replace(problem, observed=observed, seed=seed)
        parts.infer(experiment, complete, mine, {"simulated": True}, path, output, workers, Silent())
        row = summing_up.row(problem.parameters, truth, parts.posterior(path), experiment.level)
        adequacy = storage.read_json(path / "result.json")["adequacy"]
        folder.write_json(f"{kind}/{number:04d}.json", {**row, "adequacy": adequacy, "warnings": []})
        storage.remove(cache)
        storage.remove(path)


def _mapped(path: Path, array: np.ndarray) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)
    return np.load(path, mmap_mode="r", allow_pickle=False)
