"""What an experiment says, as the objects that the engine works with."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ganinfer import execution, observed, plugins, simulation, study
from ganinfer.encodings import ENCODINGS
from ganinfer.execution import Executor
from ganinfer.experiment import (
    ArrayData,
    Experiment,
    RealData,
    SimulatedData,
    budget,
    genome_source,
    pipeline_settings,
    sample_sets,
    simulator,
    simulator_key,
    window_settings,
)
from ganinfer.experiment.problems import closest
from ganinfer.haplotypes import SampleSet
from ganinfer.interfaces import Generator, RoundPlan, Simulator
from ganinfer.observed import RealWindows
from ganinfer.parameters import Parameters
from ganinfer.pipeline import PipelineSettings
from ganinfer.runner import impossible

CLASSICAL = "classical"
#: Where genomes are kept once they were read.
CACHE = "cache"
#: Seconds of simulation in this process before Ray is started for the rest.
_PATIENCE = 10.0
#: Draws from the prior that are tried before anything else is.
_TRIED_DRAWS = 32
#: Packages whose versions an answer depends on.
PACKAGES = (
    "ganinfer",
    "numpy",
    "scipy",
    "tensorflow",
    "keras",
    "msprime",
    "tskit",
    "demes",
    "ray",
    "mlflow",
    "emcee",
)
#: Lines of TensorFlow about GPUs that are not there; no setting of its own keeps them back.
_CHATTER = ("before absl::InitializeLog()", "Could not find cuda drivers", "failed call to cuInit")


class RunError(ValueError):
    """An experiment cannot be run as it is."""


class FailedError(RunError):
    """A part of what was asked for failed on the way; the rest is done."""


def executor(experiment: Experiment) -> Executor:
    section = experiment.execution
    return execution.make(section.executor, section.workers, address=section.address, timeout=section.timeout)


def patient(experiment: Experiment) -> Executor:
    """The experiment's executor, once it is sure to pay."""
    return execution.make_patient(lambda: executor(experiment), _PATIENCE, timeout=experiment.execution.timeout)


def only_scenario(experiment: Experiment, wanted: str | None = None) -> str:
    """The one scenario to look at: the one ``wanted``, the only one, or that of a study's truth."""
    names = list(experiment.scenarios)
    if wanted is not None:
        if wanted not in names:
            raise RunError(f"no scenario named {wanted!r}; {closest(wanted, names)}")
        return wanted
    if len(names) == 1:
        return names[0]
    if isinstance(experiment.data, SimulatedData):
        return experiment.data.simulate.scenario
    raise RunError(
        f"the experiment has {len(names)} scenarios ({', '.join(names)}): --scenario names the one that is meant"
    )


def label(experiment: Experiment, scenario: str) -> str:
    """What follows ``ganinfer simulate`` in a command that repeats simulations of the experiment."""
    return simulation.label(str(experiment.path), scenario, experiment.overrides)


def cache_folder(output: Path | None = None) -> Path:
    """``runs/cache`` of the current folder, which every command finds, wherever a run's folder ``output`` lies.

    Beside ``output`` where nothing can be written here.
    """
    here = (Path("runs") / CACHE).absolute()
    there = next(folder for folder in (here, *here.parents) if folder.exists())
    return here if output is None or os.access(there, os.W_OK) else output.absolute().parent / CACHE


def open_data(experiment: Experiment, workers: Executor, cache: Path) -> RealWindows:
    """The experiment's genomes, read or found in ``cache``, or its simulation study, simulated."""
    if isinstance(experiment.data, SimulatedData):
        return study.simulate_study(study_plan(experiment), workers)
    from ganinfer.genomes import open_genomes

    return open_genomes(genome_source(experiment), window_settings(experiment), cache)


def input_digests(experiment: Experiment) -> dict[str, str]:
    """SHA-256 of the files beside the genotypes that the data are made with: sheet, BED files, maps; by path.

    The genotypes' own stand with the genotypes or the table, and models and code in the experiment itself.
    """
    data = experiment.data
    if isinstance(data, SimulatedData):
        return {}
    named: list[Any] = [data.samples]
    if isinstance(data, RealData):
        maps = data.recombination_map
        named += [data.regions, data.accessible, *data.exclude]
        named += maps.values() if isinstance(maps, dict) else [maps]
    elif isinstance(data, ArrayData):
        named.append(data.npz.parameters)
    paths = [path for path in named if isinstance(path, Path) and path.is_file()]
    digests = {}
    for path in paths:
        with path.open("rb") as stream:
            digests[str(path)] = hashlib.file_digest(stream, "sha256").hexdigest()
    return digests


def study_plan(experiment: Experiment) -> study.StudyPlan:
    assert isinstance(experiment.data, SimulatedData)
    section = experiment.data.simulate
    setup = base_setup(experiment, section.scenario, sample_sets(section), PipelineSettings(), ())
    return study.StudyPlan(
        setup,
        section.truth,
        section.windows or 0,
        section.seed,
        section.missingness,
        section.contigs,
        section.contig_length,
        label=label(experiment, section.scenario),
        block_length=window_settings(experiment).block_length if section.contigs else 1,
    )


def base_setup(
    experiment: Experiment,
    scenario: str,
    samples: tuple[SampleSet, ...],
    pipeline: PipelineSettings,
    encodings: Sequence[str],
    num_sites: int = 1,
) -> simulation.Setup:
    section = experiment.scenarios[scenario]
    return simulation.Setup(
        simulator_key(section.simulator),
        section.options,
        samples,
        pipeline,
        tuple((name, {}) for name in encodings),
        experiment.windows.length if experiment.kind == "windows" else max(num_sites, 1),
        num_sites,
        kind=experiment.kind,
    )


def fitted_setup(
    experiment: Experiment, scenario: str, real: RealWindows, chosen: np.ndarray, encodings: Sequence[str]
) -> tuple[simulation.Setup, list[str]]:
    """The set-up of a scenario's simulations, its arrays as large as the real windows ask for.

    With it, in sentences, what these arrays leave out of the real windows.
    """
    pipeline = pipeline_settings(experiment, real.phased)
    setup = base_setup(experiment, scenario, real.samples, pipeline, encodings)
    sites = observed.numbers_of_sites(real, chosen, setup, experiment.seed)
    setup = observed.fitted(setup, sites)
    return setup, observed.unseen_sites(setup, sites)


def checked_parameters(
    experiment: Experiment, scenario: str, samples: tuple[SampleSet, ...]
) -> tuple[Simulator, Parameters]:
    """The scenario's simulator and its parameters, which are possible only where ``samples`` can be taken.

    Raises :class:`RunError` where the prior holds no possible model, or next to none.
    """
    plugin = simulator(experiment, scenario)
    place = experiment.place("scenarios", scenario)
    if not len(plugin.parameters):
        raise RunError(f"{place}: no parameter is free, so there is nothing to infer")
    parameters = impossible.sampled(plugin, samples)
    try:
        draws = plugin.parameters.sample(np.random.default_rng(experiment.seed), _TRIED_DRAWS)
        why = impossible.everywhere(plugin, samples, [parameters.named(vector) for vector in draws])
        if why is None:
            parameters.sample(np.random.default_rng(experiment.seed), _TRIED_DRAWS)
    except ValueError as error:
        raise RunError(f"{place}: {error}") from error
    if why:
        raise RunError(f"{place}: {why}")
    return plugin, parameters


def tried_prior(experiment: Experiment, scenario: str, parameters: Parameters) -> impossible.Tried:
    """What part of the scenario's prior makes no possible model; raises :class:`RunError` where the simulator fails."""
    try:
        return impossible.look(parameters, experiment.seed)
    except ValueError as error:
        raise RunError(f"{experiment.place('scenarios', scenario)}: {error}") from error


def generator(experiment: Experiment) -> Generator:
    """The experiment's generator; raises :class:`RunError` for options that it refuses."""
    section = experiment.generator
    try:
        made: Generator = plugins.load("generators", section.name)(**section.options)
    except (TypeError, ValueError) as error:
        raise RunError(f"{experiment.place('generator')}: {error}") from error
    return made


def round_plan(experiment: Experiment, parameters: Parameters) -> tuple[RoundPlan, ...]:
    """What the generator will do with the budget; raises :class:`RunError` where that is too small."""
    try:
        return generator(experiment).plan(parameters, budget(experiment))
    except RunError:
        raise
    except ValueError as error:
        raise RunError(f"{experiment.place('budget')}: {error}") from error


def network_encodings(experiment: Experiment, *, several: bool = False) -> tuple[str, ...]:
    """What the network is given: what the experiment says, else what the plugin asks for; imports the plugin.

    ``several``: loci hold several SNPs, for which a plugin may ask for more.
    """
    named = experiment.discriminator.encodings
    if named is None:
        plugin = plugins.load("discriminators", experiment.discriminator.name)
        named = tuple(getattr(plugin, "encodings", ("snp-matrix", "joint-counts")))
        named += tuple(getattr(plugin, "locus_encodings", ())) if several else ()
        named = tuple(name for name in named if name not in ENCODINGS or experiment.kind in ENCODINGS[name].accepts)
    return named


def versions() -> dict[str, str]:
    """Versions of what an answer depends on."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version(), "machine": platform.machine()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def import_training(experiment: Experiment) -> ModuleType:
    """:mod:`ganinfer.training`, ready for use. TensorFlow comes with it, which takes seconds."""
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    with _without_chatter():
        from ganinfer import training

        training.configure(experiment.execution.threads)
    return training


def forget_networks() -> None:
    """Layers count their names from the start again, as if no network had been built in this process."""
    import keras

    keras.backend.clear_session()


@contextmanager
def _without_chatter() -> Iterator[None]:
    """Keep from stderr what TensorFlow's libraries write there, whatever is asked, on a machine without a GPU."""
    sys.stderr.flush()
    shown = os.dup(2)
    with tempfile.TemporaryFile() as written:
        os.dup2(written.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(shown, 2)
            os.close(shown)
            written.seek(0)
            for line in written.read().decode("utf-8", "replace").splitlines(keepends=True):
                if not any(words in line for words in _CHATTER):
                    sys.stderr.write(line)


def options_of(section: Any) -> dict[str, Any]:
    return dict(section.options)
