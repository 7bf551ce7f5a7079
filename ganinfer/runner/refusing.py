"""What can be found wrong with an experiment before any genome is read, which may take hours."""

from __future__ import annotations

import shlex
from dataclasses import replace

import numpy as np

from ganinfer import execution, simulation, tracking
from ganinfer.encodings import ENCODINGS
from ganinfer.experiment import (
    Experiment,
    RealData,
    SimulatedData,
    TableData,
    check_discriminator,
    pipeline_settings,
    sample_sets,
    training_settings,
)
from ganinfer.experiment.problems import closest
from ganinfer.haplotypes import SampleSet
from ganinfer.interfaces import LOCI_BY_RATE, LociTemplate, Template, WindowTemplate
from ganinfer.parameters import Parameters
from ganinfer.runner import assembling
from ganinfer.runner.assembling import RunError
from ganinfer.simulation import SimulationError
from ganinfer.windows import RecombinationMap

_FEW_INDIVIDUALS = 3
_SOME_SITES = 64
_FEW_SNPS = 4
_SOME_BASES = 500


def refuse(experiment: Experiment, *, network: bool, resume: bool = False, scenario: str | None = None) -> None:
    """Raise for labels without a deme, a budget too small, options refused, a simulator that fails, nobody at home.

    ``scenario``: the only one of several that is wanted. ``network`` builds it, which takes the seconds of TensorFlow's
    import. A run that is resumed may start while
    MLflow is away. What only the genomes can tell is left to those who read them.
    """
    windows = experiment.kind == "windows"
    scenarios = list(experiment.scenarios) if scenario is None else [assembling.only_scenario(experiment, scenario)]
    check_addresses(experiment, resume=resume)
    samples = _samples(experiment)
    few = tuple(replace(s, num_individuals=min(s.num_individuals, _FEW_INDIVIDUALS)) for s in samples)
    few = few or (SampleSet("population", _FEW_INDIVIDUALS),)
    parameters = {name: assembling.checked_parameters(experiment, name, samples)[1] for name in scenarios}
    for name in scenarios if windows else ():
        assembling.round_plan(experiment, parameters[name])
    if windows and len(scenarios) > 1:
        check_gives_posterior(
            experiment, "from which scenarios are compared; take matching, or infer one of them with --scenario"
        )
    _check_encodings(experiment)
    if windows:
        _check_length(experiment)
    for name in scenarios if samples else ():
        _try_simulator(experiment, name, parameters[name], few)
    if network:
        _try_network(experiment, scenarios[0], parameters[scenarios[0]], few)


def check_addresses(experiment: Experiment, *, resume: bool = False) -> None:
    """Raise where no Ray cluster or no MLflow server answers at the addresses given; nothing is started."""
    section = experiment.execution
    execution.check_reachable(section.executor, section.address)
    if not resume:
        tracking.check_reachable(experiment.tracking.uri)


def _samples(experiment: Experiment) -> tuple[SampleSet, ...]:
    """Populations, numbers and times as study or sample sheet say; none where only the genotypes know."""
    if isinstance(experiment.data, SimulatedData):
        return sample_sets(experiment.data.simulate)
    if experiment.data.samples is None:
        named = dict(experiment.data.populations)
        if isinstance(experiment.data, TableData) and not named:
            named = dict.fromkeys(experiment.data.table.columns, "all")
        return tuple(SampleSet(name, _FEW_INDIVIDUALS if number == "all" else number) for name, number in named.items())
    from ganinfer.genomes import read_samples

    return read_samples(experiment.data.samples, experiment.data.populations)


def _check_length(experiment: Experiment) -> None:
    """Before a window is simulated, which takes the longer the longer it is."""
    if isinstance(experiment.data, RealData) and experiment.data.regions is not None:
        from ganinfer.genomes import check_length

        check_length(experiment.data.regions, experiment.windows.length)


def _try_simulator(
    experiment: Experiment, scenario: str, parameters: Parameters, samples: tuple[SampleSet, ...]
) -> None:
    """One window of a few individuals, at a draw from the prior.

    It is a window of no data, which ``ganinfer simulate`` could not repeat. A check can, as it comes here first.

    A process of its own simulates it: a simulator that crashes, or hangs in compiled code, is then named instead of
    taking this process along. Not so where the executor is ``serial``: who asks for that wants to follow the simulator
    with a debugger, which a worker has no terminal for.
    """
    setup = assembling.base_setup(experiment, scenario, samples, pipeline_settings(experiment, True), ())
    template: Template
    if experiment.kind == "loci":
        template = LociTemplate(np.arange(_FEW_SNPS), rule=setup.pipeline.rule)
        if experiment.loci is not None and experiment.wanted_kind == LOCI_BY_RATE:
            lengths = np.full(_FEW_SNPS, experiment.loci.length or _SOME_BASES)
            template = replace(template, genealogies="by-rate", lengths=lengths)
    else:
        length = experiment.windows.length
        rates = RecombinationMap(np.array([0.0, length / 2, length]), np.array([2e-8, 5e-9]))
        template = WindowTemplate(length, recombination=rates)
    vector = parameters.sample(np.random.default_rng(experiment.seed), 1)[0]
    task = simulation.Task(setup, parameters.named(vector), (template,), 1)
    kind = "serial" if experiment.execution.executor == "serial" else "process"
    with execution.make(kind, 1, timeout=experiment.execution.timeout) as alone:
        try:
            next(simulation.simulate([task], alone))
        except SimulationError as error:
            changes = [word for text in experiment.overrides for word in ("--set", text)]
            command = shlex.join(["ganinfer", "check", str(experiment.path), *changes])
            told = SimulationError(f"{error}\nRepeat it with: {command}")
            told.details = error.details
            raise told from error


def check_gives_posterior(experiment: Experiment, wanted: str) -> None:
    """Raise where the generator gives no posterior; ``wanted`` says what it is needed for, and what to do."""
    if getattr(assembling.generator(experiment), "uses", "statistics") != "statistics":
        name = experiment.generator.name
        raise RunError(f"{experiment.place('generator')}: {name} follows the critic and gives no posterior, {wanted}")


def _check_encodings(experiment: Experiment) -> None:
    for name in experiment.discriminator.encodings or ():
        if name not in ENCODINGS:
            place = experiment.place("discriminator", "encodings")
            raise RunError(f"{place}: no encoding named {name!r}; {closest(name, ENCODINGS)}")


def _try_network(experiment: Experiment, scenario: str, parameters: Parameters, samples: tuple[SampleSet, ...]) -> None:
    """Builds the networks on arrays of the kinds that they will get, and forgets them again."""
    training = assembling.import_training(experiment)
    check_discriminator(experiment)
    encodings = assembling.network_encodings(experiment)
    pipeline = pipeline_settings(experiment, True)
    setup = assembling.base_setup(experiment, scenario, samples, pipeline, encodings, _SOME_SITES)
    settings = training.TrainingSettings(**training_settings(experiment))
    section, place = experiment.discriminator, experiment.place("discriminator")
    try:
        training.init(section.name, section.options, simulation.encoding_specs(setup), len(parameters), settings, 1)
    except KeyError as error:
        raise RunError(
            f"{place}: {section.name} asks for an array {error}, which its encodings ({', '.join(encodings)}) do not "
            "make; name those that it needs under encodings, or leave that key out"
        ) from error
    except (ValueError, TypeError) as error:
        said = str(error).strip().partition("\n")[0]
        raise RunError(f"{place}: {section.name} cannot be built so: {said}") from error
    finally:
        assembling.forget_networks()
