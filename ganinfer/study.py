"""Simulation studies: windows simulated at a known truth, in the place of genomes.

They come in the form in which genomes come, before the pipeline, so that everything after it is the same code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ganinfer import randomness
from ganinfer.execution import Executor, WorkerError, ordered
from ganinfer.genomes.table import RealTable
from ganinfer.genomes.tiling import with_blocks
from ganinfer.haplotypes import MISSING, Haplotypes, SampleSet, chromosomes
from ganinfer.interfaces import Genealogies, LociTemplate, SiteRule, WindowTemplate
from ganinfer.pipeline import called_as_in, missing_rows, with_two_alleles
from ganinfer.simulation import Setup, Task, failure, raw_observations, repeating
from ganinfer.windows import RecombinationMap, Window

#: Independent windows are simulated so many at a time: enough to share a simulator's start, few enough to spread.
_TOGETHER = 25


@dataclass(frozen=True, eq=False)
class StudyPlan:
    """What is simulated: independent ``num_windows``, or ``num_contigs`` of ``contig_length`` cut into windows.

    Contigs are cut into blocks of about ``block_length``, as genomes are.
    ``label`` is what follows ``ganinfer simulate`` for its experiment: see :func:`ganinfer.simulation.label`.
    """

    setup: Setup
    truth: Mapping[str, float]
    num_windows: int
    seed: int
    missingness: float = 0.0
    num_contigs: int | None = None
    contig_length: int | None = None
    recombination: RecombinationMap | None = None
    label: str = ""
    block_length: int = 1_000_000

    @property
    def command(self) -> str:
        """The command that simulates the study, nothing without a label."""
        return repeating(self.label, "--output", "repeated") if self.label else ""


@dataclass(frozen=True, eq=False)
class Part:
    """One unit of work: templates simulated with one seed."""

    plan: StudyPlan
    templates: tuple[WindowTemplate, ...]
    seed: int


class SimulatedGenomes:
    """A study's windows, ready for use as real ones (see :class:`ganinfer.observed.RealWindows`)."""

    def __init__(self, plan: StudyPlan, haplotypes: list[Haplotypes], windows: tuple[Window, ...]):
        self.plan, self._haplotypes, self.windows = plan, haplotypes, windows
        self.samples: tuple[SampleSet, ...] = plan.setup.samples
        self.phased = True
        self.templates = tuple(self._template(i) for i in range(len(windows)))

    def haplotypes(self, index: int) -> Haplotypes:
        return self._haplotypes[index]

    def _template(self, index: int) -> WindowTemplate:
        return WindowTemplate(self.plan.setup.length, missing=missing_rows(self._haplotypes[index]))

    def summary(self) -> dict[str, Any]:
        """What was simulated; JSON values."""
        cells = sum(h.genotypes.size for h in self._haplotypes)
        missing = sum(int((h.genotypes < 0).sum()) for h in self._haplotypes)
        return {
            "simulated": True,
            "truth": dict(self.plan.truth),
            "seed": self.plan.seed,
            "samples": [
                {"population": s.population, "individuals": s.num_individuals, "ploidy": s.ploidy, "time": s.time}
                for s in self.samples
            ],
            "windows": {
                "kept": len(self.windows),
                "length": self.plan.setup.length,
                "blocks": len({w.block for w in self.windows}),
            },
            "sites": sum(h.num_sites for h in self._haplotypes),
            "missing": missing / cells if cells else 0.0,
        }


def simulate_study(plan: StudyPlan, executor: Executor) -> SimulatedGenomes:
    """Simulate the study's windows; the same plan gives the same windows on every executor.

    Raises :class:`ganinfer.simulation.SimulationError` when the simulator fails.
    """
    try:
        haplotypes = [h for windows in ordered(executor.run(_simulate_part, parts(plan))) for h in windows]
    except WorkerError as error:
        raise failure(plan.setup, plan.truth, error.item.seed, plan.command, error.reason) from error
    haplotypes = [_with_missing(h, plan, i) for i, h in enumerate(haplotypes)]
    return SimulatedGenomes(plan, haplotypes, tuple(_windows(plan)))


def simulate_loci(plan: StudyPlan, num_loci: int, length: int, rule: SiteRule) -> RealTable:
    """As many unlinked loci of ``length`` bases in the place of real ones, simulated in this process.

    Mutations fall on them at the scenario's rate. Individuals' calls are missing at random at the plan's rate.
    """
    setup = plan.setup
    lengths = np.full(num_loci, length, dtype=np.int64)
    template = LociTemplate(np.empty(0, dtype=np.int64), None, "by-rate", rule, lengths)
    seed = randomness.simulator_seed(plan.seed, "study", 0)
    (table,) = raw_observations(setup, plan.truth, (template,), seed, plan.command)
    table = _with_missing(with_two_alleles(table, folded=rule.folded), plan, 0)
    told = {"simulated": True, "truth": dict(plan.truth), "seed": plan.seed}
    return RealTable(setup.samples, table, phased=True, told=told, lengths=lengths)


def simulate_table(plan: StudyPlan, num_snps: int, genealogies: Genealogies, rule: SiteRule) -> RealTable:
    """A table of SNPs at as many unlinked loci in the place of a real one, simulated in this process.

    Individuals' calls are missing at random at the plan's rate; every SNP varies among those that are left.
    """
    task = table_task(plan, num_snps, genealogies, rule)
    (table,) = raw_observations(task.setup, task.theta, task.templates, task.seed, plan.command)
    (template,) = task.templates
    assert isinstance(template, LociTemplate)
    table = called_as_in(table, template)
    told = {"simulated": True, "truth": dict(plan.truth), "seed": plan.seed}
    return RealTable(plan.setup.samples, table, phased=True, told=told)


def table_task(plan: StudyPlan, num_snps: int, genealogies: Genealogies, rule: SiteRule, number: int = 0) -> Task:
    """What simulates the study's table, before calls are made missing; other numbers are for others of its kind."""
    carriers = chromosomes(plan.setup.samples)
    missing = None
    if plan.missingness > 0:
        rng = randomness.stream(plan.seed, "study missing", number)
        lost = rng.random((num_snps, len(carriers.ploidy))) < plan.missingness
        missing = np.packbits(lost[:, carriers.individual], axis=1)
    template = LociTemplate(np.arange(num_snps), missing, genealogies, rule)
    return Task(plan.setup, plan.truth, (template,), randomness.simulator_seed(plan.seed, "study", number))


def parts(plan: StudyPlan) -> list[Part]:
    """The units of work of a study, in the order of its windows."""
    if plan.num_contigs is not None:
        assert plan.contig_length is not None
        whole = WindowTemplate(plan.contig_length, recombination=plan.recombination)
        return [Part(plan, (whole,), randomness.simulator_seed(plan.seed, "study", i)) for i in range(plan.num_contigs)]
    template = WindowTemplate(plan.setup.length, recombination=plan.recombination)
    return [
        Part(
            plan,
            (template,) * min(_TOGETHER, plan.num_windows - start),
            randomness.simulator_seed(plan.seed, "study", start),
        )
        for start in range(0, plan.num_windows, _TOGETHER)
    ]


def _simulate_part(part: Part) -> list[Haplotypes]:
    plan = part.plan
    observations = raw_observations(plan.setup, plan.truth, part.templates, part.seed, plan.command)
    if plan.num_contigs is None:
        return list(observations)
    return [window for contig in observations for window in _cut(contig, plan)]


def _cut(contig: Haplotypes, plan: StudyPlan) -> Iterator[Haplotypes]:
    """The windows of one contig, positions counted from each window's left end."""
    assert plan.contig_length is not None
    length = plan.setup.length
    edges = np.arange(0, plan.contig_length - length + 1, length)
    limits = np.searchsorted(contig.positions, np.stack([edges, edges + length], axis=1))
    for left, (start, stop) in zip(edges, limits, strict=True):
        yield replace(
            contig, genotypes=contig.genotypes[start:stop].copy(), positions=contig.positions[start:stop] - left
        )


def _windows(plan: StudyPlan) -> Iterator[Window]:
    length = plan.setup.length
    whole = np.array([[0, length]])
    if plan.num_contigs is None:
        for i in range(plan.num_windows):
            yield Window(f"window{i + 1}", 0, length, whole, i)
        return
    assert plan.contig_length is not None
    lefts = range(0, plan.contig_length - length + 1, length)
    contigs = [f"contig{contig + 1}" for contig in range(plan.num_contigs)]
    yield from with_blocks(
        [Window(c, left, left + length, whole, 0) for c in contigs for left in lefts], plan.block_length
    )


def _with_missing(haplotypes: Haplotypes, plan: StudyPlan, index: int) -> Haplotypes:
    """Whole individuals' calls made missing at random, as a genotype caller leaves them."""
    if plan.missingness <= 0:
        return haplotypes
    rng = randomness.stream(plan.seed, "study missing", index)
    carriers = haplotypes.carriers
    lost = rng.random((haplotypes.num_sites, len(carriers.ploidy))) < plan.missingness
    return replace(haplotypes, genotypes=np.where(lost[:, carriers.individual], np.int8(MISSING), haplotypes.genotypes))
