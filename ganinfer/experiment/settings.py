"""What the layers below need of an experiment, in their own words."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ganinfer.experiment.data import RealData, SimulatedData, Study
from ganinfer.experiment.schema import Experiment
from ganinfer.experiment.tables import TableSection
from ganinfer.haplotypes import SampleSet
from ganinfer.interfaces import Budget, Design, WindowTemplate
from ganinfer.pipeline import PipelineSettings
from ganinfer.windows import RecombinationMap

if TYPE_CHECKING:
    from ganinfer.genomes import GenomeSource, TableSource, WindowSettings

#: Base pairs over which linkage is taken to have faded.
DEFAULT_BLOCK_LENGTH = 1_000_000
#: Base pairs between single SNPs that are taken for unlinked.
DEFAULT_LOCUS_DISTANCE = 50_000


def genome_source(experiment: Experiment) -> GenomeSource:
    """Where real genomes come from; raises ValueError for other data, which have none."""
    from ganinfer.genomes import GenomeSource

    data = experiment.data
    if isinstance(data, SimulatedData):
        raise ValueError(f"{experiment.place('data', 'simulate')}: a simulation study has no genotype files")
    if not isinstance(data, RealData):
        raise ValueError(f"{experiment.place('data')}: a table of SNPs has no genotype files")
    return GenomeSource(
        genotypes=tuple(data.genotypes),
        samples=data.samples,
        populations=dict(data.populations),
        regions=data.regions,
        accessible=data.accessible,
        exclude=tuple(data.exclude),
        recombination_map=data.recombination_map,
        ancestral=data.ancestral,
        phased=data.phased,
        filters=tuple(data.filters),
        min_depth=data.min_depth,
        min_genotype_quality=data.min_genotype_quality,
        contig_lengths=data.contig_lengths,
        seed=data.seed,
    )


def table_source(experiment: Experiment) -> TableSource:
    """Where a real table of SNPs at unlinked loci comes from; raises ValueError for other data."""
    from ganinfer.genomes import LociChoice, TableSource

    data, loci = experiment.data, experiment.loci
    if isinstance(data, SimulatedData):
        raise ValueError(f"{experiment.place('data', 'simulate')}: a simulation study has no files of SNPs")
    if loci is None:
        raise ValueError(f"{experiment.place('data')}: without the section loci, genomes are cut into windows")
    choice = LociChoice(
        by=loci.by,
        min_distance=loci.min_distance or DEFAULT_LOCUS_DISTANCE,
        per_locus=loci.per_locus or ("one" if loci.by == "distance" else "all"),
        rule=pipeline_settings(experiment, True).rule,
        min_call_rate=loci.min_call_rate,
        by_rate=loci.genealogies == "by-rate",
        length=loci.length,
        number=loci.number,
    )
    files = data.files() if isinstance(data, TableSection) else genome_source(experiment)
    return TableSource(files, data.samples, dict(data.populations), choice, data.seed)


def window_settings(experiment: Experiment) -> WindowSettings:
    """How genomes are cut into windows and blocks; ``windows.maximum`` is for who chooses among them."""
    from ganinfer.genomes import WindowSettings

    windows = experiment.windows
    return WindowSettings(
        length=windows.length,
        min_accessible=windows.min_accessible,
        block_length=windows.block_length or max(DEFAULT_BLOCK_LENGTH, windows.length),
        min_blocks=num_folds(experiment),
    )


def pipeline_settings(experiment: Experiment, phased: bool) -> PipelineSettings:
    """The switches of the pipeline; ``phased`` is what the genotypes say, which ``data.phased`` overrides."""
    data = experiment.data
    return PipelineSettings(
        phased=phased if data.phased is None else data.phased,
        folded=data.ancestral == "none",
        singletons=data.singletons,
        min_minor_frequency=experiment.loci.min_minor_frequency if experiment.loci else 0.0,
    )


def sample_sets(study: Study) -> tuple[SampleSet, ...]:
    """The samples of a simulation study, in the order written."""
    return tuple(SampleSet(name, g.individuals, g.ploidy, g.time) for name, g in study.samples.items())


def budget(experiment: Experiment) -> Budget:
    """What the run may spend."""
    section = experiment.budget
    return Budget(section.simulated_windows, section.rounds, section.minutes)


def training_settings(experiment: Experiment) -> dict[str, Any]:
    """Keyword arguments of ``ganinfer.training.TrainingSettings``: what the experiment sets, nothing else."""
    return {name: value for name, value in experiment.training.model_dump().items() if value is not None}


def num_folds(experiment: Experiment) -> int:
    """As many as the run's training has; the default stands in a module that imports TensorFlow."""
    return int(training_settings(experiment).get("folds", 2))


def small_design(experiment: Experiment, num_windows: int = 3) -> Design:
    """A few windows for three individuals at most of each population: enough to try a simulator.

    Real populations that the experiment doesn't name (``populations: all``) are left to the genomes, so that such an
    experiment raises ValueError here. Templates have a recombination map, which simulators with a rate ignore.
    """
    data = experiment.data
    if not isinstance(data, SimulatedData):
        names: dict[str, Any] = dict(data.populations)
        samples = tuple(SampleSet(name, 3 if number == "all" else min(number, 3)) for name, number in names.items())
    else:
        samples = tuple(replace(s, num_individuals=min(s.num_individuals, 3)) for s in sample_sets(data.simulate))
    if not samples:
        raise ValueError(f"{experiment.place('data', 'populations')}: name the populations to try a simulator")
    length = experiment.windows.length
    rates = RecombinationMap(np.array([0.0, length / 2, length]), np.array([2e-8, 5e-9]))
    return Design(samples, (WindowTemplate(length, recombination=rates),) * num_windows)
