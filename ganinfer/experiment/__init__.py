"""Experiments: one YAML file each, validated before anything is computed."""

from ganinfer.experiment.data import RealData, SimulatedData, Study
from ganinfer.experiment.document import ExperimentError
from ganinfer.experiment.loading import check_discriminator, load, loads, simulator, simulator_class, simulator_key
from ganinfer.experiment.schema import SCHEMA_VERSION, Experiment, Scenario
from ganinfer.experiment.settings import (
    budget,
    genome_source,
    num_folds,
    pipeline_settings,
    sample_sets,
    small_design,
    table_source,
    training_settings,
    window_settings,
)
from ganinfer.experiment.tables import ArrayData, TableData, TableSection

__all__ = [
    "SCHEMA_VERSION",
    "ArrayData",
    "Experiment",
    "ExperimentError",
    "RealData",
    "Scenario",
    "SimulatedData",
    "Study",
    "TableData",
    "TableSection",
    "budget",
    "check_discriminator",
    "genome_source",
    "load",
    "loads",
    "num_folds",
    "pipeline_settings",
    "sample_sets",
    "simulator",
    "simulator_class",
    "simulator_key",
    "small_design",
    "table_source",
    "training_settings",
    "window_settings",
]
