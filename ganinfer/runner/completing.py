"""An experiment as it runs: with what it leaves to the trainer and to its plugins written out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ganinfer import plugins
from ganinfer.experiment import Experiment, simulator, simulator_class, training_settings
from ganinfer.runner import assembling


def completed(experiment: Experiment) -> dict[str, Any]:
    """The experiment as plain data that reads as the same one, defaults of training and of plugins' options included.

    So is what a model of a catalogue brings with it, such as its mutation rate.

    Imports the network's plugin, and TensorFlow with it. What a plugin does not say of its options is left out, and so
    is what only the data or the machine decide: ``data.phased``, ``execution.workers``.
    """
    from ganinfer.training import TrainingSettings
    from ganinfer.training.scenarios import ScenarioSettings

    values = experiment.resolved()
    values["training"] = asdict(TrainingSettings(**training_settings(experiment)))
    trainer = asdict(ScenarioSettings())
    values["comparison"] |= {k: trainer[k] for k, v in values["comparison"].items() if v is None and k in trainer}
    generator, network = experiment.generator, experiment.discriminator
    values["generator"] |= _unwritten(plugins.load("generators", generator.name), generator.options)
    plugin = plugins.load("discriminators", network.name)
    values["discriminator"] |= _unwritten(getattr(plugin, "build", plugin), network.options, skip=1)
    values["discriminator"]["encodings"] = list(assembling.network_encodings(experiment))
    for name, scenario in experiment.scenarios.items():
        values["scenarios"][name] |= _unwritten(simulator_class(scenario.simulator), scenario.options)
        values["scenarios"][name] |= getattr(simulator(experiment, name), "brought", {})
    return values


def _unwritten(plugin: Any, options: dict[str, Any], skip: int = 0) -> dict[str, Any]:
    return {k: v for k, v in plugins.option_defaults(plugin, skip).items() if k not in options}


def located(complete: Mapping[str, Any]) -> dict[str, Any]:
    """The same with every absolute path as it really lies, however it is spelled and whatever links lead there."""
    return {key: _located(value) for key, value in complete.items()}


def _located(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _located(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_located(inner) for inner in value]
    return os.path.realpath(value) if isinstance(value, str) and os.path.isabs(value) else value


def dump_yaml(values: Mapping[str, Any]) -> str:
    """Plain data as YAML that :func:`ganinfer.experiment.load` reads, unsorted: the order of populations counts."""
    from io import StringIO

    from ruamel.yaml import YAML

    stream = StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # inferred from None
    yaml.dump(dict(values), stream)
    return stream.getvalue()
