"""From a path to a checked experiment."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ganinfer import plugins
from ganinfer.experiment import options, problems
from ganinfer.experiment.data import SimulatedData
from ganinfer.experiment.document import Document, ExperimentError, Location, parse, read
from ganinfer.experiment.schema import SCHEMA_VERSION, CodeFile, Experiment, Scenario
from ganinfer.interfaces import Simulator, kinds


def load(path: str | Path, overrides: Sequence[str] = ()) -> Experiment:
    """The experiment in a YAML file, with ``a.b=VALUE`` overrides.

    Files that it names must exist, plugins must load and accept their options, models must be sound. Raises
    :class:`ExperimentError` with every problem that was found, each with file, line and dotted path.
    """
    path = Path(path)
    return _validated(read(path, overrides), path.absolute())


def loads(text: str, folder: str | Path = ".", name: str = "experiment.yaml") -> Experiment:
    """Like :func:`load` for YAML text whose paths are relative to ``folder``."""
    return _validated(parse(text, name), Path(folder).absolute() / name)


def _validated(document: Document, path: Path) -> Experiment:
    _check_version(document)
    data = document.data
    if data.get("name") is None:
        data = {**data, "name": problems.file_name(path)}
    try:
        experiment = Experiment.model_validate(data, context={"folder": path.parent})
    except ValidationError as error:
        raise ExperimentError(problems.sentences(error, document)) from None
    scenarios, found = {}, []
    for name, scenario in experiment.scenarios.items():
        scenarios[name], wrong = _with_files(scenario, ("scenarios", name), document, path.parent)
        found += wrong
    experiment = experiment.model_copy(update={"scenarios": scenarios})
    experiment._document, experiment._path = document, path
    found += _check_choice("generators", experiment.generator.name, experiment.generator.options, "generator", document)
    found += _check_installed("discriminators", experiment.discriminator.name, ("discriminator", "name"), document)
    if not found:
        found = _check_models(experiment, document)
    if found:
        raise ExperimentError(found)
    return experiment


def _check_version(document: Document) -> None:
    version = document.data.get("schema_version", SCHEMA_VERSION)
    if version == SCHEMA_VERSION and not isinstance(version, bool):
        return
    newer = isinstance(version, int) and version > SCHEMA_VERSION
    remedy = (
        "it was written for a newer ganinfer: upgrade with pip install --upgrade ganinfer"
        if newer
        else f"write schema_version: {SCHEMA_VERSION}; CHANGELOG says which keys changed between versions"
    )
    message = f"this ganinfer reads version {SCHEMA_VERSION}, not {version!r}; {remedy}"
    raise ExperimentError([document.problem(("schema_version",), message)])


def _with_files(scenario: Scenario, location: Location, document: Document, folder: Path) -> tuple[Scenario, list[str]]:
    """The scenario with its files read, and what is wrong with it."""
    simulator = scenario.simulator
    try:
        if isinstance(simulator, CodeFile) and simulator.text is None:
            simulator = simulator.model_copy(update=options.read_file(simulator.file, folder))
        plugin = simulator_class(simulator)
    except ValueError as error:
        return scenario, [document.problem((*location, "simulator"), str(error))]
    found = options.check_names(plugin, scenario.options, document, location, also=("simulator",))
    try:
        complete = options.with_files(scenario.options, tuple(getattr(plugin, "file_options", ())), folder)
        _check_json(complete)
    except options.OptionError as error:
        return scenario, [*found, document.problem((*location, error.key), str(error))]
    return Scenario.model_construct(simulator=simulator, **complete), found


def simulator_class(simulator: str | CodeFile) -> Any:
    """What constructs a scenario's simulator from its options; raises :class:`ganinfer.plugins.PluginError`."""
    if isinstance(simulator, str):
        return plugins.load("simulators", simulator)
    return plugins.load_code(simulator_key(simulator), simulator.class_name)


def _check_json(values: dict[str, Any]) -> None:
    """Options travel to workers as JSON."""
    for key, value in values.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            allowed = "text, finite numbers, true, false, null, lists and mappings"
            raise options.OptionError(key, f"must be made of {allowed}, not {value!r}") from None


def simulator_key(simulator: str | CodeFile) -> Any:
    """What names a simulator to :mod:`ganinfer.plugins` and to workers: a name, or a file's text with its class."""
    return simulator if isinstance(simulator, str) else simulator.model_dump(by_alias=True)


def _check_installed(kind: str, name: str, location: Location, document: Document) -> list[str]:
    """Whether a plugin is installed, without importing it (a network imports TensorFlow)."""
    installed = sorted({plugin.name for plugin in plugins.available(kind)})
    if name in installed:
        return []
    return [document.problem(location, f"no {kind[:-1]} named {name!r}; {problems.closest(name, installed)}")]


def _check_choice(kind: str, name: str, chosen: dict[str, Any], section: str, document: Document) -> list[str]:
    found = _check_installed(kind, name, (section, "name"), document)
    if found:
        return found
    try:
        plugin = plugins.load(kind, name)
    except ValueError as error:
        return [document.problem((section, "name"), str(error))]
    return options.check_names(plugin, chosen, document, (section,), also=("name",))


def simulator(experiment: Experiment, scenario: str) -> Simulator:
    """The simulator of a scenario, constructed; raises :class:`ExperimentError`."""
    section = experiment.scenarios[scenario]
    try:
        return plugins.load_simulator(simulator_key(section.simulator), section.options)
    except ValueError as error:
        place = experiment._document.problem(("scenarios", scenario), str(error))
        raise ExperimentError([place]) from None


def _check_models(experiment: Experiment, document: Document) -> list[str]:
    """Constructs every simulator, and compares the truth of a simulation study with its scenario."""
    found: list[str] = []
    for name in experiment.scenarios:
        try:
            plugin = simulator(experiment, name)
        except ExperimentError as error:
            found += error.problems
            continue
        why = _why_not(plugin, experiment.wanted_kind)
        if why:
            found.append(document.problem(("scenarios", name), why))
        elif _needs_map(plugin, experiment) and getattr(experiment.data, "recombination_map", None) is None:
            found.append(document.problem(("scenarios", name), _no_map(experiment)))
    return found or _check_truth(experiment, document)


def _why_not(plugin: Simulator, kind: str) -> str | None:
    """Why a simulator cannot simulate a kind of design, as a sentence."""
    if kind not in kinds(plugin):
        remedy = "; add the section loci" if "loci" in kinds(plugin) else "; leave the section loci out"
        return f"the simulator makes {' and '.join(kinds(plugin))}, the experiment is about {kind}{remedy}"
    ask = getattr(plugin, "why_not", None)
    return None if ask is None else ask(kind)


def _needs_map(plugin: Simulator, experiment: Experiment) -> bool:
    return experiment.kind == "windows" and getattr(plugin, "needs_map", False)


def _no_map(experiment: Experiment) -> str:
    remedy = "give recombination_rate as a number, such as 1e-8 per base and generation, or as a parameter's name"
    if isinstance(experiment.data, SimulatedData):
        return f"recombination_rate is map, and a simulation study has no recombination map; {remedy}"
    return f"recombination_rate is map (the default), but the data have no recombination_map; name one, or {remedy}"


def _check_truth(experiment: Experiment, document: Document) -> list[str]:
    if not isinstance(experiment.data, SimulatedData):
        return []
    study, location = experiment.data.simulate, ("data", "simulate")
    if study.scenario not in experiment.scenarios:
        allowed = problems.closest(study.scenario, experiment.scenarios)
        return [document.problem((*location, "scenario"), f"no scenario named {study.scenario!r}; {allowed}")]
    parameters = simulator(experiment, study.scenario).parameters
    fixed = experiment.scenarios[study.scenario].options.get("fixed") or {}
    found = [
        document.problem(
            (*location, "truth", name),
            f"is fixed at {fixed[name]} in the scenario: leave it out here"
            if name in fixed
            else f"unknown parameter; {problems.closest(name, parameters.names)}",
        )
        for name in study.truth
        if name not in parameters.names
    ]
    missing = [name for name in parameters.names if name not in study.truth]
    if missing:
        found.append(document.problem((*location, "truth"), f"values missing for {', '.join(missing)}"))
    if not found and parameters.problem is not None:
        try:
            why = parameters.problem(study.truth)
        except ValueError as error:
            return [document.problem(("scenarios", study.scenario), str(error))]
        found = [document.problem((*location, "truth"), f"makes an impossible model: {why}")] if why else []
    return found


def check_discriminator(experiment: Experiment) -> None:
    """Imports the network's plugin, TensorFlow with it, and checks its options; raises :class:`ExperimentError`."""
    section, document = experiment.discriminator, experiment._document
    try:
        plugin = plugins.load("discriminators", section.name)
    except ValueError as error:
        raise ExperimentError([document.problem(("discriminator", "name"), str(error))]) from None
    build = getattr(plugin, "build", plugin)
    found = options.check_names(
        build, section.options, document, ("discriminator",), also=("name", "encodings"), skip=1
    )
    if found:
        raise ExperimentError(found)
