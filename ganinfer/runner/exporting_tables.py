"""Simulated tables of SNPs at unlinked loci, written as text, and beside them an experiment that reads them.

Of a simulation study at its truth, the first table is the study's own, call by call.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ganinfer import randomness, study
from ganinfer.experiment import Experiment, SimulatedData, pipeline_settings
from ganinfer.haplotypes import Haplotypes, SampleSet
from ganinfer.interfaces import LociTemplate
from ganinfer.pipeline import PipelineSettings, called_as_in
from ganinfer.runner import assembling, folders, planning
from ganinfer.runner.assembling import RunError
from ganinfer.simulation import Task, simulate_raw

#: Words for no derived allele, one, and a missing call, which is -1 and so the last of them.
_WORDS = np.array(["0", "1", "NA"])
_CODING = {"ancestral": ["0"], "derived": ["1"], "missing": ["NA"]}


@dataclass(frozen=True, eq=False)
class _Tables:
    """What is simulated: a task a table, of whom, and how the imitated data are looked at."""

    tasks: Sequence[Task]
    samples: tuple[SampleSet, ...]
    pipeline: PipelineSettings


def simulate_tables(
    experiment: Experiment,
    *,
    scenario: str,
    theta: Mapping[str, float],
    num_tables: int = 1,
    seed: int | None = None,
    output: Path,
) -> Path:
    """Simulate tables like the experiment's at ``theta`` and write them into the new folder ``output``.

    Each has as many SNPs at as many loci as a run uses of the data, and misses the same calls; of a simulation study
    each misses calls of its own. A tab separated row is a SNP: its locus, then every chromosome as 0, 1 or NA.
    Raises :class:`RunError` where tables cannot be written so.
    """
    if experiment.kind != "loci":
        raise RunError(f"{experiment.path.name} is about windows: simulate writes them")
    if experiment.loci is not None and experiment.loci.genealogies == "by-rate":
        raise RunError("loci by rate cannot be written as a table, which says nothing of loci without SNPs")
    folders.check_new(output)
    tables = _planned(experiment, scenario, theta, num_tables, seed)
    ploidy = _ploidy(tables.samples)

    def write(folder: Path) -> None:
        folder.mkdir()
        names = [f"simulated-{i + 1:0{len(str(num_tables))}}.tsv" for i in range(num_tables)]
        for name, haplotypes in zip(names, _simulated(experiment, tables), strict=True):
            _write_table(haplotypes, tables.samples, folder / name)
        folders.write_sheet(tables.samples, folder)
        (folder / "experiment.yaml").write_text(_experiment_yaml(experiment, tables.pipeline, ploidy, names[0]))

    folders.fill(output, write)
    return output


def _planned(
    experiment: Experiment, scenario: str, theta: Mapping[str, float], num_tables: int, seed: int | None
) -> _Tables:
    assert experiment.loci is not None
    if isinstance(experiment.data, SimulatedData):
        plan, num_snps = planning.study_plan(experiment)
        setup = assembling.base_setup(experiment, scenario, plan.setup.samples, PipelineSettings(), (), num_snps)
        plan = replace(plan, setup=setup, truth=theta, seed=plan.seed if seed is None else seed)
        pipeline = pipeline_settings(experiment, phased=True)
        genealogies = experiment.loci.genealogies
        tasks = [study.table_task(plan, num_snps, genealogies, pipeline.rule, i) for i in range(num_tables)]
        return _Tables(tasks, setup.samples, pipeline)
    raw = planning.open_table(experiment)
    template = planning.prepared_table(experiment, raw).template
    setup = assembling.base_setup(experiment, scenario, raw.samples, PipelineSettings(), (), len(template.locus))
    first = experiment.seed if seed is None else seed
    seeds = [randomness.simulator_seed(first, "simulate", i) for i in range(num_tables)]
    tasks = [Task(setup, theta, (template,), number) for number in seeds]
    return _Tables(tasks, raw.samples, pipeline_settings(experiment, raw.phased))


def _ploidy(samples: Sequence[SampleSet]) -> int:
    found = {s.ploidy for s in samples}
    if len(found) > 1:
        raise RunError(
            f"a table holds individuals of one ploidy, the data have {' and '.join(map(str, sorted(found)))}: choose "
            "populations that are alike"
        )
    return found.pop()


def _simulated(experiment: Experiment, tables: _Tables) -> Iterator[Haplotypes]:
    """Each table with the missing calls of its template."""
    with assembling.patient(experiment) as workers:
        for task, (raw,) in zip(tables.tasks, simulate_raw(tables.tasks, workers), strict=True):
            (template,) = task.templates
            assert isinstance(template, LociTemplate)
            yield called_as_in(raw, template)


def _write_table(haplotypes: Haplotypes, samples: Sequence[SampleSet], path: Path) -> None:
    names = [name for name, group in folders.individuals(samples) for _ in range(group.ploidy)]
    with path.open("w", encoding="utf-8") as file:
        file.write("\t".join(["locus", *names]) + "\n")
        for locus, row in zip(haplotypes.positions.tolist(), haplotypes.genotypes, strict=True):
            file.write("\t".join([f"locus{locus + 1}", *_WORDS[row]]) + "\n")


def _experiment_yaml(experiment: Experiment, pipeline: PipelineSettings, ploidy: int, table: str) -> str:
    from ganinfer.runner.completing import dump_yaml

    resolved = experiment.resolved()
    data: dict[str, Any] = {
        "table": {
            "file": table,
            "delimiter": "tab",
            "values": "haplotypes",
            "coding": _CODING,
            "header": True,
            "leading": ["locus"],
            "ploidy": ploidy,
        },
        "samples": folders.SHEET,
        "ancestral": "none" if pipeline.folded else "known",
        "singletons": pipeline.singletons,
    }
    # A simulator knows the phase of all that it writes.
    resolved["data"] = data if pipeline.phased else {**data, "phased": False}
    # The table holds the loci, and of each the SNPs that were taken.
    resolved["loci"] = {**resolved["loci"], "by": None, "min_distance": None, "per_locus": None}
    resolved["name"] = f"{experiment.name}-simulated"
    return dump_yaml(resolved)
