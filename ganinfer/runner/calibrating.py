"""How far a run's answer can be believed: data sets like the real one whose truth is known, inferred as it was.

Truths are draws of the run's posterior, and data sets share the run's simulations; or they are draws of the prior, and
each is a run of its own. Every data set is on disk before the next begins; one that fails is left out, and told of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ganinfer import randomness, storage
from ganinfer.adequacy import AdequacySettings
from ganinfer.execution import Executor
from ganinfer.experiment import Experiment, loads
from ganinfer.progress import Progress, Silent
from ganinfer.runner import assembling, belonging, finished, inferring, parts, rounds, sending, summing_up
from ganinfer.runner.assembling import RunError
from ganinfer.runner.belonging import FULL, POOL, PRIOR, RUNS, SHARED
from ganinfer.runner.completing import completed
from ganinfer.runner.finished import EXPERIMENT, has_ended
from ganinfer.runner.refusing import check_gives_posterior, refuse
from ganinfer.runner.trying import Tries
from ganinfer.simulation import SimulationError

#: What data sets are to have as the run had it.
_OF_THE_RUN = ("seed", "budget", "level")

Around = Literal["posterior", "prior"]
Told = Callable[[str], None]


def calibrate(
    experiment: Experiment,
    output: Path,
    *,
    sets: int = 100,
    around: Around = "posterior",
    full: int = 0,
    seed: int | None = None,
    scenario: str | None = None,
    progress: Progress | None = None,
) -> Path:
    """Infer ``sets`` data sets whose truth is known, and write what came of it to ``output``/calibration.

    ``around`` the posterior of the finished run in ``output``, the first ``full`` of them by runs of their own as well;
    or around the prior, each by a run of its own. Seed, scenario and budget are the run's, where there is one and
    nobody overrides them. What is there from before counts; more data sets go on from it.

    Raises ``ValueError`` kinds for anything wrong with the experiment, its data or the folder, and
    :class:`ganinfer.runner.assembling.FailedError` at the end where data sets failed; the others are told of.
    """
    events = progress or Silent()
    if full and around == "prior":
        raise RunError("around the prior every data set has a run of its own: leave --full out")
    experiment, scenario = _as_run(experiment, output, seed, scenario)
    assembling.import_training(experiment)
    output = output.absolute()
    if around == "posterior":
        _check_run(experiment, output)
    with storage.RunFolder.of_calibration(output) as folder:
        events.message("Checking the experiment")
        refuse(experiment, network=True, resume=True, scenario=scenario)
        if around == "prior":
            belonging.keep_or_refuse(folder, belonging.around_prior(experiment, scenario))
        with assembling.executor(experiment) as workers:
            events.message("Reading the data")
            real = assembling.open_data(experiment, workers, assembling.cache_folder(output))
            problem, unseen = inferring.problem_of(experiment, scenario, real, folder.path / "cache")
            finished.check_data(output, inferring.data_summary(experiment, problem, real, unseen))
            task = _Task(experiment, problem, output, folder, workers, events.message, Tries(events.message))
            try:
                if around == "posterior":
                    _around_posterior(task, sets, full)
                else:
                    _full(task, PRIOR, _Truths(problem, PRIOR), sets)
            finally:  # what there is counts, however this ends
                storage.remove(folder.path / "cache")
                path = _summed_up(task)
        if path is not None and (output / "result.json").exists():
            for sentence in sending.send_again(experiment, folder.beside(output)):
                events.message(sentence)
    task.tries.check()
    return folder.path / summing_up.JSON


@dataclass(frozen=True)
class _Task:
    """What a calibration is of, where it goes, and who works on it."""

    experiment: Experiment
    problem: Any
    output: Path
    folder: storage.RunFolder
    workers: Executor
    told: Told
    tries: Tries


def _summed_up(task: _Task) -> Path | None:
    """What all data sets of the experiment say together; those around another prior are left out."""
    kinds = belonging.kinds(task.folder, task.experiment, task.problem.scenario)
    return summing_up.written(task.folder, task.output, task.experiment.level, kinds)


def _as_run(experiment: Experiment, output: Path, seed: int | None, scenario: str | None) -> tuple[Experiment, str]:
    """The experiment with what the run in ``output`` had of it, and that run's scenario, where there is one.

    That is its seed and its budget: a run may have been given more than its file says.
    """
    if experiment.kind != "windows":
        raise RunError("calibrate is for windows; a comparison of tables of SNPs is calibrated as it is made")
    check_gives_posterior(experiment, "whose coverage could be found; take matching")
    had: dict[str, Any] = {}
    if (output / EXPERIMENT).exists():
        made = loads((output / EXPERIMENT).read_text(), output, EXPERIMENT)
        set_anew = {override.partition("=")[0].partition(".")[0].strip() for override in experiment.overrides}
        had = {key: getattr(made, key) for key in _OF_THE_RUN if key not in set_anew}
    experiment = experiment.model_copy(update={**had, **({} if seed is None else {"seed": seed})})
    if (output / parts.WANTED).exists():
        asked = storage.read_json(output / parts.WANTED)["scenario"]
        if asked is None:
            raise RunError(
                f"{output} compares scenarios; calibrate the run of one of them: "
                f"--output {output / storage.SCENARIOS}/NAME"
            )
        if scenario not in (None, asked):
            raise RunError(f"{output} holds a run of scenario {asked}, not of {scenario}")
        scenario = asked
    return experiment, assembling.only_scenario(experiment, scenario)


def _check_run(experiment: Experiment, output: Path) -> None:
    from ganinfer.runner.running import check_same

    if not (output / "result.json").exists():
        raise RunError(f"{output} holds no finished run: make it first (ganinfer run), or give --around prior")
    if not has_ended(output):
        raise RunError(
            f"the run in {output} has not ended since it was given more, or is an older version's: ganinfer run with "
            "--resume ends it"
        )
    if not (output / "posterior.parquet").exists():
        raise RunError(f"the run in {output} gave no posterior, so there are no intervals to find the coverage of")
    check_same(experiment, output, "a calibration is of the run's own experiment")


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


def _around_posterior(task: _Task, sets: int, full: int) -> None:
    from ganinfer import coverage

    problem, folder = task.problem, task.folder
    posterior = parts.posterior(task.output)
    belonging.keep_or_forget(folder, belonging.around_posterior(task.experiment, posterior))
    truths = _Truths(problem, SHARED, posterior)
    missing = [k for k in range(sets) if not _record(folder, SHARED, k).exists()]
    if missing:
        state = _with_pool(task)
        judge = _judge(task, state, posterior)
        task.told(f"Inferring {len(missing):,} simulated data sets with the simulations of the run")
        theta = np.stack([truths[k] for k in missing])
        for number, truth, made in zip(missing, theta, _made(task, theta, missing), strict=True):
            with task.tries.one(f"data set {number + 1}"):
                if isinstance(made, SimulationError):
                    raise made
                seen = coverage.seen_by(problem, state, made)
                own, metrics = coverage.inferred(*seen, number)
                row = summing_up.row(problem.parameters, truth, own, task.experiment.level, metrics)
                folder.write_json(f"{SHARED}/{number:04d}.json", {**row, **judge(*seen)})
    _full(task, FULL, truths, full)


def _made(task: _Task, theta: np.ndarray, numbers: Sequence[int]) -> Iterator[Any]:
    """A data set for each of ``theta`` (k, p), or the error of its simulation."""
    from ganinfer import coverage

    done = 0
    try:
        for data in coverage.data_sets(task.problem, theta, numbers, task.workers):
            yield data
            done += 1
    except SimulationError:  # which data set it is of shows only where each is made by itself
        for k in range(done, len(numbers)):
            try:
                yield from coverage.data_sets(task.problem, theta[k : k + 1], numbers[k : k + 1], task.workers)
            except SimulationError as error:
                yield error


def _with_pool(task: _Task) -> Any:
    """The run's last state, with more simulations where the model misses something of the real windows.

    What it misses widens the run's posterior, which then needs fewer simulations than data sets do of which the model
    misses nothing. The more are kept beside the data sets.
    """
    from ganinfer import inference

    problem, folder = task.problem, task.folder
    run = folder.beside(task.output)
    state, history = rounds.read(problem, run)
    if rounds.last_info(run, history[-1]["round"]).metrics.get("misfit", 1.0) <= 1.0:
        return state
    path = folder.path / POOL
    if not path.exists():
        size = problem.budget.simulated_windows
        task.told(f"Simulating {size:,} more windows around the solution: the model misses some of the real ones")
        more = inference.more_simulations(problem, state, size, task.workers)
        folder.write_arrays(POOL, more.arrays())
    with np.load(path, allow_pickle=False) as arrays:
        more = inference.Round.from_arrays(dict(arrays))
    return replace(state, rounds=(*state.rounds, more))


def _judge(task: _Task, state: Any, posterior: np.ndarray) -> Callable[[Any, Any], dict[str, Any]]:
    """What says whether a data set is flagged, from fresh windows that all data sets share."""
    from ganinfer import verdict

    section, problem = task.experiment.adequacy, task.problem
    if section.windows == 0:
        return lambda *_: {"adequacy": None}
    settings = AdequacySettings(section.windows, section.data_sets)
    task.told("Simulating windows at the solution to judge by")
    fresh = verdict.simulated(problem, state.networks, posterior, settings, task.workers)
    found = verdict.Judge(problem, state, posterior, fresh, settings.data_sets)

    def judged(seen: Any, at: Any) -> dict[str, Any]:
        said = found.verdict(seen, at)
        auc = verdict.critic_auc(seen, at, fresh)
        return {"adequacy": {"p_value": said.p_value, "critic_auc": auc, "looks": dict(said.parts)}}

    return judged


def _record(folder: storage.RunFolder, kind: str, number: int) -> Path:
    return folder.path / kind / f"{number:04d}.json"


# --- runs of their own --------------------------------------------------------------------------------------------


def _full(task: _Task, kind: str, truths: _Truths, sets: int) -> None:
    """The first ``sets`` data sets, each inferred by a run of its own in a folder of its own, with its own seed."""
    complete = completed(task.experiment) if sets else {}
    for number in range(sets):
        if not _record(task.folder, kind, number).exists():
            task.told(f"Simulated data set {number + 1} of {sets}, a run of its own")
            with task.tries.one(f"data set {number + 1}, as a run of its own"):
                _run_of_its_own(task, complete, kind, number, truths[number])


def _run_of_its_own(task: _Task, complete: Mapping[str, Any], kind: str, number: int, truth: np.ndarray) -> None:
    from ganinfer import coverage

    problem, folder = task.problem, task.folder
    name = f"{kind}-{number:04d}"
    path, cache = folder.path / RUNS / name, folder.path / "cache" / name
    (data,) = coverage.data_sets(problem, truth[None], [number], task.workers)
    # What its networks read stays on the disk, as the real windows do.
    arrays = {key: _mapped(cache / f"{key}.npy", array) for key, array in data.arrays.items()}
    observed = replace(problem.observed, arrays=arrays, spectra=data.spectra)
    own = replace(problem, observed=observed, seed=randomness.simulator_seed(problem.seed, "calibration", name))
    parts.infer(task.experiment, complete, own, {"simulated": True}, path, task.output, task.workers, Silent())
    row = summing_up.row(problem.parameters, truth, parts.posterior(path), task.experiment.level)
    adequacy = storage.read_json(path / "result.json")["adequacy"]
    warnings = storage.read_json(path / "warnings.json")["warnings"]
    folder.write_json(f"{kind}/{number:04d}.json", {**row, "adequacy": adequacy, "warnings": warnings})
    for done in (path, cache):
        storage.remove(done)


def _mapped(path: Path, array: np.ndarray) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)
    return np.load(path, mmap_mode="r", allow_pickle=False)
