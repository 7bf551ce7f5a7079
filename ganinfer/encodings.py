"""Encodings: a prepared window to named arrays of fixed shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ganinfer.haplotypes import Chromosomes, Haplotypes, SampleSet, chromosomes
from ganinfer.interfaces import Encoding, EncodingSpec
from ganinfer.statistics import ClassicalStatistics, allele_counts
from ganinfer.table_statistics import TableStatistics

#: Value of a genotype that is missing or padding in the SNP matrix.
NO_GENOTYPE = -128


@dataclass(frozen=True)
class EncodingContext:
    """What an encoding has to know of a run: who is sampled, how windows were prepared, and the arrays' size.

    ``num_sites`` of the SNP matrix, ``num_counted_sites`` of the joint counts; ``None``: as many.
    """

    samples: tuple[SampleSet, ...]
    phased: bool
    folded: bool
    length: int
    num_sites: int
    num_counted_sites: int | None = None

    @property
    def carriers(self) -> Chromosomes:
        return chromosomes(self.samples)

    def details(self) -> dict[str, Any]:
        """What a network may want to know, as JSON values (see :class:`ganinfer.interfaces.EncodingSpec`)."""
        carriers = self.carriers
        population = carriers.population if self.phased else carriers.population[carriers.first]
        return {
            "populations": list(carriers.populations),
            "rows": [int((population == i).sum()) for i in range(len(carriers.populations))],
            "sizes": list(carriers.sizes),
            "folded": self.folded,
            "phased": self.phased,
            "ploidy": 1 if self.phased else int(carriers.ploidy.max()),
            "length": self.length,
        }


def _central(num_sites: int, limit: int) -> slice:
    """The middle ``limit`` of ``num_sites`` sites, or all of them."""
    excess = max(num_sites - limit, 0)
    return slice(excess // 2, excess // 2 + min(num_sites, limit))


class SnpMatrix:
    """The SNP matrix with distances; rows grouped by population in the design's order.

    ``genotypes`` int8 (rows, num_sites): phased, a row a chromosome, -1 ancestral (or major) and +1 derived (minor);
    unphased, a row an individual, twice the derived alleles less the ploidy; -128 missing or padding.
    ``distances`` float32 (num_sites,): base pairs to the site before (the first: to the window's left end) over the
    window's length. ``mask`` uint8 (num_sites,): 1 for a site, 0 for padding. A window with too many sites keeps its
    middle.
    """

    accepts: ClassVar[tuple[str, ...]] = ("windows",)

    def __init__(self, context: EncodingContext):
        self._context = context
        carriers = context.carriers
        population = carriers.population if context.phased else carriers.population[carriers.first]
        order = np.argsort(population, kind="stable")
        self._order = None if (order == np.arange(len(population))).all() else order
        self._num_rows = len(population)

    def spec(self) -> dict[str, EncodingSpec]:
        sites, details = self._context.num_sites, self._context.details()
        return {
            "genotypes": EncodingSpec((self._num_rows, sites), "int8", details),
            "distances": EncodingSpec((sites,), "float32", details),
            "mask": EncodingSpec((sites,), "uint8", details),
        }

    def encode(self, haplotypes: Haplotypes) -> dict[str, np.ndarray]:
        limit = self._context.num_sites
        kept = _central(haplotypes.num_sites, limit)
        num_sites = kept.stop - kept.start
        genotypes = np.full((self._num_rows, limit), NO_GENOTYPE, dtype=np.int8)
        genotypes[:, :num_sites] = self._rows(haplotypes.genotypes[kept]).T
        gaps = np.diff(haplotypes.positions, prepend=0)[kept]
        distances = np.zeros(limit, dtype=np.float32)
        distances[:num_sites] = gaps / self._context.length
        mask = np.zeros(limit, dtype=np.uint8)
        mask[:num_sites] = 1
        return {"genotypes": genotypes, "distances": distances, "mask": mask}

    def _rows(self, alleles: np.ndarray) -> np.ndarray:
        """(num_sites, rows) coded values."""
        if self._context.phased:
            coded = 2 * alleles - 1
            if len(alleles) and alleles.min() < 0:
                coded[alleles < 0] = NO_GENOTYPE
        else:
            carriers = self._context.carriers
            dosage = np.add.reduceat(np.maximum(alleles, 0), carriers.first, axis=1)
            coded = (2 * dosage - carriers.ploidy).astype(np.int8)
            if len(alleles) and alleles.min() < 0:
                coded[np.minimum.reduceat(alleles, carriers.first, axis=1) < 0] = NO_GENOTYPE
        return coded if self._order is None else coded[:, self._order]


class SnpTable(SnpMatrix):
    """The SNP matrix of unlinked loci: like :class:`SnpMatrix` without distances."""

    accepts: ClassVar[tuple[str, ...]] = ("loci",)

    def spec(self) -> dict[str, EncodingSpec]:
        return {name: spec for name, spec in super().spec().items() if name != "distances"}

    def encode(self, haplotypes: Haplotypes) -> dict[str, np.ndarray]:
        return {name: array for name, array in super().encode(haplotypes).items() if name != "distances"}


class LocusTable(SnpTable):
    """The SNPs of loci that have several, locus by locus, for what only these say together.

    ``locus_genotypes`` int8 (num_loci, num_snps, rows) coded as in :class:`SnpMatrix`, -128 missing or padding;
    ``locus_counts`` and ``locus_called`` int16 (num_loci, num_snps, populations), as in :class:`JointCounts`, nobody
    called where there is padding. A locus with too many SNPs keeps its first ones, and a table with too many such loci
    its first ones.
    """

    def __init__(self, context: EncodingContext, *, num_loci: int = 1, num_snps: int = 1):
        super().__init__(context)
        self._num_loci, self._num_snps = num_loci, num_snps

    def spec(self) -> dict[str, EncodingSpec]:
        details = self._context.details()
        shape = (self._num_loci, self._num_snps)
        counts = EncodingSpec((*shape, len(details["populations"])), "int16", details)
        genotypes = EncodingSpec((*shape, self._num_rows), "int8", details)
        return {"locus_genotypes": genotypes, "locus_counts": counts, "locus_called": counts}

    def encode(self, haplotypes: Haplotypes) -> dict[str, np.ndarray]:
        arrays = {name: np.zeros(spec.shape, dtype=spec.dtype) for name, spec in self.spec().items()}
        arrays["locus_genotypes"][:] = NO_GENOTYPE
        _, first, of_snp, sizes = np.unique(
            haplotypes.positions, return_index=True, return_inverse=True, return_counts=True
        )
        locus = (np.cumsum(sizes > 1) - 1)[of_snp]
        place = np.arange(len(of_snp)) - first[of_snp]
        kept = np.flatnonzero((sizes[of_snp] > 1) & (place < self._num_snps) & (locus < self._num_loci))
        derived, called = allele_counts(haplotypes)
        values = (self._rows(haplotypes.genotypes[kept]), derived[kept], called[kept])
        for array, part in zip(arrays.values(), values, strict=True):
            array[locus[kept], place[kept]] = part
        return arrays


class JointCounts:
    """Allele counts of each site in each population: small enough for samples in the hundreds.

    ``counts`` int16 (num_counted_sites, populations) derived (folded: minor) alleles; ``called`` int16, the same
    shape; ``count_mask`` uint8 (num_counted_sites,) 1 for a site, 0 for padding. A window with too many sites keeps its
    middle.
    """

    accepts: ClassVar[tuple[str, ...]] = ("windows", "loci")

    def __init__(self, context: EncodingContext):
        self._context = context
        self._num_sites = context.num_sites if context.num_counted_sites is None else context.num_counted_sites

    def spec(self) -> dict[str, EncodingSpec]:
        sites, details = self._num_sites, self._context.details()
        num_populations = len(details["populations"])
        return {
            "counts": EncodingSpec((sites, num_populations), "int16", details),
            "called": EncodingSpec((sites, num_populations), "int16", details),
            "count_mask": EncodingSpec((sites,), "uint8", details),
        }

    def encode(self, haplotypes: Haplotypes) -> dict[str, np.ndarray]:
        derived, called = allele_counts(haplotypes)
        return self.encode_counts(derived, called)

    def encode_counts(self, derived: np.ndarray, called: np.ndarray) -> dict[str, np.ndarray]:
        limit = self._num_sites
        kept = _central(len(derived), limit)
        num_sites = kept.stop - kept.start
        counts = np.zeros((limit, derived.shape[1]), dtype=np.int16)
        counts[:num_sites] = derived[kept]
        padded = np.zeros_like(counts)
        padded[:num_sites] = called[kept]
        mask = np.zeros(limit, dtype=np.uint8)
        mask[:num_sites] = 1
        return {"counts": counts, "called": padded, "count_mask": mask}


class Classical:
    """The classical summary statistics as one array ``classical`` float32; ``details`` has their names and families."""

    accepts: ClassVar[tuple[str, ...]] = ("windows",)

    def __init__(self, context: EncodingContext):
        self._context = context
        self._statistics = ClassicalStatistics(context.carriers, context.length, context.phased)

    def spec(self) -> dict[str, EncodingSpec]:
        own = {"names": list(self._statistics.names), "families": self._statistics.families}
        details = {**self._context.details(), **own}
        return {"classical": EncodingSpec((len(self._statistics.names),), "float32", details)}

    def encode(self, haplotypes: Haplotypes) -> dict[str, np.ndarray]:
        return {"classical": self._statistics.compute(haplotypes, *allele_counts(haplotypes))}


class TableClassical:
    """The classical summary statistics of a table as one array ``statistics`` float32, named in ``details``.

    Options: see :class:`ganinfer.table_statistics.TableStatistics`.
    """

    accepts: ClassVar[tuple[str, ...]] = ("loci",)

    def __init__(self, context: EncodingContext, *, linkage: bool = False, num_loci: int | None = None):
        self._context = context
        self._statistics = TableStatistics(context.carriers, linkage=linkage, num_loci=num_loci)

    def spec(self) -> dict[str, EncodingSpec]:
        own = {"names": list(self._statistics.names), "families": self._statistics.families}
        details = {**self._context.details(), **own}
        return {"statistics": EncodingSpec((len(self._statistics.names),), "float32", details)}

    def encode(self, haplotypes: Haplotypes) -> dict[str, np.ndarray]:
        return {"statistics": self._statistics.compute(haplotypes, *allele_counts(haplotypes))}


ENCODINGS: Mapping[str, type[Any]] = {
    "snp-matrix": SnpMatrix,
    "snp-table": SnpTable,
    "joint-counts": JointCounts,
    "classical": Classical,
    "table-statistics": TableClassical,
    "locus-table": LocusTable,
}


def make(name: str, context: EncodingContext, options: Mapping[str, Any] | None = None) -> Encoding:
    """The encoding ``name``; raises ``ValueError`` for an unknown one."""
    if name not in ENCODINGS:
        raise ValueError(f"unknown encoding {name!r}; there are {', '.join(ENCODINGS)}")
    return ENCODINGS[name](context, **(options or {}))
