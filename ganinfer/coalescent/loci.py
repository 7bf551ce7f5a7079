"""Tables of SNPs at unlinked loci: conditional on being what the real table holds, or by length and mutation rate.

Every locus has a genealogy of its own; each of its SNPs is one mutation, which hits a branch with a probability in
proportion to its length (Hudson 1990, in Oxford Surveys in Evolutionary Biology 7; ``ms -s``,
doi 10.1093/bioinformatics/18.2.337). A locus one of whose SNPs does not vary among the calls that the real table has,
or would have been filtered, is drawn anew.

Loci of known length need no condition: each is a short window of its own, with or without recombination, on which
mutations fall at a rate, so that how many SNPs there are tells of sizes and times in absolute terms.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ganinfer.coalescent.memory import keep_freed_memory
from ganinfer.coalescent.rates import MAP
from ganinfer.coalescent.windows import simulate_windows
from ganinfer.haplotypes import Chromosomes, Haplotypes, SampleSet, chromosomes, from_tree_sequence
from ganinfer.interfaces import Design, LociTemplate, SiteRule, WindowTemplate
from ganinfer.models import ModelError
from ganinfer.randomness import simulator_seeds

if TYPE_CHECKING:
    import msprime

#: Genealogies that a table may cost, as a multiple of its loci.
_PATIENCE = 1_000
#: Genealogies from which the longest is learnt where they count by length, and by how much longer ones may come.
_PILOT, _LONGER = 200, 1.5


def simulate_loci(
    demography: msprime.Demography,
    samples: Sequence[msprime.SampleSet],
    design: Design,
    seed: int,
    *,
    ploidy: int = 2,
    mutation_rate: float = 0.0,
    recombination_rate: float | str = 0.0,
    recombination_scale: float = 1.0,
) -> Iterator[Haplotypes]:
    """One table a template of ``design``, 0 ancestral and 1 derived, every call there; positions number the loci.

    ``samples`` follow those of the design. The output depends on the arguments only. The rates, per base and
    generation, are for templates with lengths; a ``recombination_rate`` that is ``map`` counts as 0, as loci have no
    map. Their sites may show more than two alleles, as nature's do.

    Raises :class:`ModelError` where hardly any locus is as a template wants it.
    """
    keep_freed_memory()
    seeds = simulator_seeds(seed, 2 * len(design.templates)).tolist()
    inside = 0.0 if recombination_rate == MAP else float(recombination_rate) * recombination_scale
    for i, template in enumerate(design.templates):
        if template.lengths is not None:
            # In order of length, so that the simulators of all lengths are never there at once.
            order = np.argsort(template.lengths, kind="stable")
            windows = [WindowTemplate(int(length)) for length in template.lengths[order]]
            trees = simulate_windows(
                demography,
                samples,
                windows,
                seeds[2 * i],
                mutation_rate=mutation_rate,
                recombination_rate=inside,
                ploidy=ploidy,
            )
            yield _joined(trees, order, design.samples)
            continue
        genealogies = _genealogies(demography, samples, ploidy, seeds[2 * i])
        yield _table(genealogies, chromosomes(design.samples), template, np.random.default_rng(seeds[2 * i + 1]))


def _joined(loci: Iterator[Any], order: np.ndarray, samples: Sequence[SampleSet]) -> Haplotypes:
    """The sites of all loci with the number of its locus in the place of each one's position, in order of these.

    ``order`` (num_loci,) numbers the ``loci`` as they come.
    """
    carriers = chromosomes(tuple(samples))
    found = [from_tree_sequence(trees, samples).genotypes for trees in loci]
    number = np.repeat(order, [len(part) for part in found])
    genotypes = np.concatenate([np.empty((0, len(carriers)), dtype=np.int8), *found])
    by_locus = np.argsort(number, kind="stable")
    return Haplotypes(genotypes[by_locus], number[by_locus], carriers)


def _table(
    genealogies: Iterator[_Genealogy], carriers: Chromosomes, template: LociTemplate, rng: np.random.Generator
) -> Haplotypes:
    called = template.called(len(carriers))
    genotypes = np.zeros((len(template.locus), len(carriers)), dtype=np.int8)
    accepts = _by_length(genealogies, rng) if template.genealogies == "by-length" else None
    loci = np.split(np.arange(len(template.locus)), np.flatnonzero(np.diff(template.locus)) + 1)
    left = _PATIENCE * len(loci)
    for rows in loci if len(template.locus) else ():
        done = False
        while not done:
            left -= 1
            if left < 0:
                raise ModelError(
                    f"of {_PATIENCE * len(loci):,} simulated genealogies too few made a locus that varies among the "
                    "calls of the table and that its filters keep"
                )
            genealogy = next(genealogies)
            if accepts is None or accepts(genealogy, len(rows)):
                genotypes[rows] = genealogy.mutated(rng, len(rows))
                done = _kept(genotypes[rows], None if called is None else called[rows], template.rule)
    return Haplotypes(genotypes, np.array(template.locus, dtype=np.int64), carriers)


def _kept(genotypes: np.ndarray, called: np.ndarray | None, rule: SiteRule) -> bool:
    if called is None:
        derived, there = np.count_nonzero(genotypes, axis=1), np.full(len(genotypes), genotypes.shape[1])
    else:
        derived, there = np.count_nonzero(genotypes & called, axis=1), np.count_nonzero(called, axis=1)
    if rule.folded:
        derived = np.minimum(derived, there - derived)
    return bool(rule.keeps(derived, there).all())


class _Genealogy:
    """One locus: its tree, with the branches' children and the running sum of their lengths."""

    def __init__(self, tree_sequence: Any):
        time, child = tree_sequence.nodes_time, tree_sequence.edges_child
        self._trees, self._child = tree_sequence, child
        self._ends = np.cumsum(time[tree_sequence.edges_parent] - time[child])
        self.length = float(self._ends[-1])

    def mutated(self, rng: np.random.Generator, num_snps: int) -> np.ndarray:
        """(num_snps, num_chromosomes) int8, 1 below the branch that a mutation hit."""
        tree = self._trees.first()
        out = np.zeros((num_snps, self._trees.num_samples), dtype=np.int8)
        hit = np.searchsorted(self._ends, rng.random(num_snps) * self.length, side="right")
        for row, branch in enumerate(np.minimum(hit, len(self._child) - 1)):
            out[row, list(tree.samples(int(self._child[branch])))] = 1
        return out


def _genealogies(
    demography: msprime.Demography, samples: Sequence[msprime.SampleSet], ploidy: int, seed: int
) -> Iterator[_Genealogy]:
    import msprime

    replicates = msprime.sim_ancestry(
        samples,
        demography=demography,
        sequence_length=1,
        ploidy=ploidy,
        num_replicates=2**31,
        random_seed=seed,
        record_provenance=False,
    )
    for tree_sequence in replicates:
        yield _Genealogy(tree_sequence)


def _by_length(genealogies: Iterator[_Genealogy], rng: np.random.Generator) -> Any:
    """Whether a genealogy is accepted for a locus of so many SNPs, by its length to that power.

    Exact but for the few longer than half as long again as the longest of some that are looked at beforehand.
    """
    longest = _LONGER * max(next(genealogies).length for _ in range(_PILOT))

    def accepts(genealogy: _Genealogy, num_snps: int) -> bool:
        return bool(rng.random() < (genealogy.length / longest) ** num_snps)

    return accepts
