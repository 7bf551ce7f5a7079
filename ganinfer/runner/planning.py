"""What a comparison on loci works with: the table, read and prepared, and how each scenario is simulated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ganinfer import observed, scenarios, simulation, study
from ganinfer.experiment import Experiment, SimulatedData, pipeline_settings, sample_sets, table_source
from ganinfer.genomes import PreparedTable, RealTable, prepared
from ganinfer.interfaces import LociTemplate
from ganinfer.pipeline import PipelineSettings
from ganinfer.runner import assembling
from ganinfer.runner.assembling import RunError

#: Encodings that every comparison has: what scenarios are judged and rivals are trained by.
_ALWAYS = ("joint-counts", "table-statistics")
#: Room in arrays for simulated tables by rate, as a multiple of the real one's SNPs: sizes vary over the prior.
_SPARE = 2
#: Genotypes of a table that are laid out locus by locus, padding included: a thousand tables of them take 400 MB.
_MOST_CELLS = 400_000


@dataclass(frozen=True, eq=False)
class Plan:
    """What a comparison works with: the real ``table`` as prepared and encoded, and the scenarios.

    ``summary``: of the data, JSON values. ``varied``: simulated data sets have missing calls of their own.
    """

    experiment: Experiment
    table: PreparedTable
    real: Mapping[str, np.ndarray]
    scenarios: tuple[scenarios.Scenario, ...]
    summary: Mapping[str, Any]
    varied: bool = False

    @property
    def weights(self) -> list[float]:
        return [s.weight for s in self.scenarios]

    @property
    def names(self) -> list[str]:
        return [s.name for s in self.scenarios]


def open_table(experiment: Experiment) -> RealTable:
    """The experiment's table of SNPs, read, or simulated where the data are a study."""
    if isinstance(experiment.data, SimulatedData):
        assert experiment.loci is not None
        plan, size = study_plan(experiment)
        rule = pipeline_settings(experiment, phased=True).rule
        if experiment.data.simulate.snps is None:
            assert experiment.loci.length is not None
            return study.simulate_loci(plan, size, experiment.loci.length, rule)
        return study.simulate_table(plan, size, experiment.loci.genealogies, rule)
    from ganinfer import genomes

    return genomes.open_table(table_source(experiment), assembling.cache_folder())


def study_plan(experiment: Experiment) -> tuple[study.StudyPlan, int]:
    """A simulation study of SNPs, and how many they are; of loci of known length, how many loci."""
    assert isinstance(experiment.data, SimulatedData)
    section = experiment.data.simulate
    size = section.snps or section.loci
    assert size is not None
    setup = assembling.base_setup(experiment, section.scenario, sample_sets(section), PipelineSettings(), (), size)
    label = assembling.label(experiment, section.scenario)
    plan = study.StudyPlan(setup, section.truth, 0, section.seed, section.missingness, label=label)
    return plan, size


def prepared_table(experiment: Experiment, raw: RealTable) -> PreparedTable:
    """The table as networks see it; raises :class:`RunError` where the filters leave nothing of it."""
    section = experiment.loci
    assert section is not None
    settings = pipeline_settings(experiment, raw.phased)
    table = prepared(raw, settings, section.genealogies, section.min_call_rate, experiment.seed)
    if table.haplotypes.num_sites == 0:
        raise RunError(f"no SNP of the table is left: {dropped(table)}")
    return table


def planned(experiment: Experiment, raw: RealTable, *, varied: bool = False) -> Plan:
    """The table prepared, the scenarios with what they simulate; raises :class:`RunError` for what cannot be."""
    settings = pipeline_settings(experiment, raw.phased)
    table = prepared_table(experiment, raw)
    size = table.haplotypes.num_sites
    several = table.template.most_snps > 1
    encodings = tuple(dict.fromkeys((*assembling.network_encodings(experiment, several=several), *_ALWAYS)))
    num_chromosomes = sum(s.num_chromosomes for s in raw.samples)
    encoders = tuple((name, _encoding_options(name, table.template, num_chromosomes)) for name in encodings)
    made = []
    for name, written in experiment.scenarios.items():
        setup = assembling.base_setup(experiment, name, raw.samples, settings, encodings, _room(table))
        setup = replace(setup, encoders=encoders)
        _, parameters = assembling.checked_parameters(experiment, name, raw.samples)
        made.append(scenarios.Scenario(name, setup, parameters, written.weight))
    real = simulation.encode(made[0].setup, [table.haplotypes], 1)
    summary = {
        **raw.summary(),
        "used_snps": size,
        "dropped": dict(table.dropped),
        "inputs": assembling.input_digests(experiment),
    }
    return Plan(experiment, table, real, tuple(made), summary, varied)


def _room(table: PreparedTable) -> int:
    """SNPs that arrays hold: those of the real table; twice as many where simulated tables may have more.

    A table by rate that has more loses its outermost loci in the arrays of SNPs, which hold at least all real ones.
    Statistics are of all.
    """
    size = table.haplotypes.num_sites
    if table.template.lengths is None:
        return size
    return max(size, min(_SPARE * size, observed.MAX_COUNTED_SITES))


def _encoding_options(name: str, template: LociTemplate, num_chromosomes: int) -> dict[str, Any]:
    """What an encoding has to know of the loci; nothing where each has a single SNP and the number is given."""
    by_rate, most = template.lengths is not None, template.most_snps
    if name == "table-statistics":
        linkage = {"linkage": True} if most > 1 else {}
        return {**linkage, **({"num_loci": template.length} if by_rate else {})}
    if name == "locus-table":
        spare = _SPARE if by_rate else 1
        num_snps, num_loci = spare * most, min(spare * template.num_several, template.length)
        bound = max(_MOST_CELLS // max(num_snps * num_chromosomes, 1), 1)
        return {"num_loci": min(num_loci, bound), "num_snps": num_snps}
    return {}


def dropped(table: PreparedTable) -> str:
    return ", ".join(f"{number:,} {why}" for why, number in table.dropped.items() if number) or "it has none"
