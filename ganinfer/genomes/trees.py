"""tskit tree sequences, ``.trees`` and ``.tsz``.

A tree sequence has no contig name: the file's name without its ending is taken. Individuals are called ``tsk_0``,
``tsk_1``, ... in the order in which tskit writes them to VCF; sample nodes without an individual are haploid ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ganinfer.genomes import records
from ganinfer.genomes.records import Chunk, Contents, Selection
from ganinfer.genomes.source import GenomeError
from ganinfer.windows import normalise

_BASES = frozenset("ACGT")


@dataclass(frozen=True)
class _Person:
    nodes: tuple[int, ...]
    population: str
    time: float


@dataclass(frozen=True)
class _Site:
    position: int
    reason: str | None
    genotypes: np.ndarray


class TreesReader:
    """One tree sequence, as the genomes of one contig."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.contig = path.name.removesuffix(".tsz").removesuffix(".trees")

    @cached_property
    def _tree_sequence(self) -> Any:
        try:
            tree_sequence = self._load()
        except GenomeError:
            raise
        except Exception as error:  # tskit, kastore, zarr and zip each have their own
            raise GenomeError(f"{self.path}: no tree sequence that tskit can read: {error}") from error
        if tree_sequence.num_samples == 0:
            raise GenomeError(f"{self.path}: the tree sequence has no sample")
        if tree_sequence.num_sites == 0:
            raise GenomeError(f"{self.path}: the tree sequence has no site; add mutations (msprime.sim_mutations)")
        return tree_sequence

    def _load(self) -> Any:
        if self.path.suffix != ".tsz":
            import tskit

            return tskit.load(str(self.path))
        try:
            import tszip
        except ImportError:
            raise GenomeError(
                f"{self.path}: reading .tsz needs tszip; install it with: pip install 'ganinfer[zarr]'"
            ) from None
        return tszip.decompress(str(self.path))

    @cached_property
    def _people(self) -> tuple[_Person, ...]:
        """Individuals in the order of their first sample node."""
        tree_sequence = self._tree_sequence
        groups: dict[tuple[str, int], list[int]] = {}
        for node in tree_sequence.samples():
            individual = tree_sequence.node(node).individual
            groups.setdefault(("individual", individual) if individual >= 0 else ("node", node), []).append(int(node))
        return tuple(self._person(nodes) for nodes in groups.values())

    def _person(self, nodes: list[int]) -> _Person:
        first = self._tree_sequence.node(nodes[0])
        return _Person(tuple(nodes), self._population(first.population), float(first.time))

    def _population(self, number: int) -> str:
        if number < 0:
            return "unknown"
        metadata = self._tree_sequence.population(number).metadata
        name = metadata.get("name") if isinstance(metadata, dict) else None
        return str(name) if name else f"pop_{number}"

    def contents(self) -> Contents:
        tree_sequence = self._tree_sequence
        return Contents(
            "tree sequence",
            tuple(f"tsk_{i}" for i in range(len(self._people))),
            {self.contig: int(np.ceil(tree_sequence.sequence_length))},
            {self.contig: int(tree_sequence.num_sites)},
            tuple(person.population for person in self._people),
            tuple(person.time for person in self._people),
            {self.contig: self._covered().tolist()},
        )

    def _covered(self) -> np.ndarray:
        """Where there are trees: a simulated stretch of a chromosome leaves the rest of it empty."""
        spans = [tree.interval for tree in self._tree_sequence.trees() if tree.num_edges > 0]
        return normalise(np.array([[np.ceil(span.left), np.ceil(span.right)] for span in spans]))

    def declared(self) -> Contents:
        return self.contents()

    def chunks(self, selection: Selection) -> Iterator[Chunk]:
        people = [self._people[int(name.removeprefix("tsk_"))] for name in selection.individuals]
        nodes = [node for person in people for node in person.nodes]
        ploidy = max(len(person.nodes) for person in people)
        rows = np.repeat(np.arange(len(people)), [len(person.nodes) for person in people])
        slots = np.concatenate([np.arange(len(person.nodes)) for person in people])
        covered = self._covered() if selection.callable_bases else np.empty((0, 2), dtype=np.int64)
        sites: list[_Site] = []
        for variant in self._tree_sequence.variants(samples=nodes):
            genotypes = np.full((len(people), ploidy), records.ABSENT, dtype=np.int8)
            reason, pair = _judge(variant.alleles, variant.genotypes, selection.ancestral)
            genotypes[rows, slots] = records.recode(variant.genotypes, pair)
            sites.append(_Site(int(variant.site.position), reason, genotypes))
            if len(sites) >= selection.chunk_sites:
                yield self._chunk(sites, covered)
                sites, covered = [], covered[:0]
        yield self._chunk(sites, covered, (len(people), ploidy))

    def check(self, selection: Selection) -> None:
        if selection.ancestral not in ("none", "REF"):
            raise GenomeError(
                f"{self.path}: a tree sequence holds ancestral alleles itself and has no INFO/{selection.ancestral}; "
                "set data.ancestral to REF (use them) or none (fold)"
            )
        if selection.min_depth is not None or selection.min_genotype_quality is not None:
            raise GenomeError(
                f"{self.path}: a tree sequence has no depths and genotype qualities; leave out data.min_depth and "
                "data.min_genotype_quality"
            )

    def _chunk(self, sites: list[_Site], covered: np.ndarray, shape: tuple[int, int] = (0, 0)) -> Chunk:
        """Sites that are neither biallelic nor multi-allelic only count as dropped."""
        kept = [site for site in sites if site.reason in (None, records.MULTI_ALLELIC)]
        genotypes = np.array([site.genotypes for site in kept], dtype=np.int8).reshape(
            len(kept), *(shape if not kept else kept[0].genotypes.shape)
        )
        return Chunk(
            self.contig,
            np.array([site.position for site in kept], dtype=np.int64),
            genotypes,
            np.zeros(len(kept), dtype=np.int8),
            np.array([site.reason is None for site in kept], dtype=bool),
            covered,
            len(sites),
            Counter(str(site.reason) for site in sites if site.reason not in (None, records.MULTI_ALLELIC)),
            0,
            int(records.heterozygous(genotypes).sum()),
        )


def _judge(
    alleles: tuple[str | None, ...], genotypes: np.ndarray, ancestral: str
) -> tuple[str | None, tuple[int, int]]:
    """As :func:`records.judge`, but alleles need not be bases: simulators also write 0 and 1, or numbers.

    Allele 0 is the ancestral one, and is so asked for unless ``ancestral`` is ``none``.
    """
    known = [allele for allele in alleles if allele is not None]
    seen = np.unique(genotypes[genotypes >= 0]).tolist()
    if len(known) > 2:
        known = [known[i] for i in sorted({0, *seen})]
    pair = records.two_alleles(seen)
    if len(known) < 2:
        return records.INVARIANT, (0, 1)
    if all(allele and set(allele) <= _BASES for allele in known) and any(len(allele) != 1 for allele in known):
        return records.INDEL, (0, 1)
    if pair is None or (pair[0] > 0 and ancestral != "none"):
        return records.MULTI_ALLELIC, (0, 1)
    return None, pair
