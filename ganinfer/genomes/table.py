"""A table of SNPs at unlinked loci, as read or as simulated in the place of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ganinfer import randomness
from ganinfer.haplotypes import Haplotypes, SampleSet
from ganinfer.interfaces import Genealogies, LociTemplate
from ganinfer.pipeline import PipelineSettings, prepare_table


@dataclass(frozen=True, eq=False)
class RealTable:
    """SNPs with two alleles each: ``haplotypes`` with the locus of each SNP, from 0, in the place of its position.

    Columns follow ``samples``. ``phased``: an individual's chromosomes are told apart. ``told``: what the reader found
    and left out, JSON values. ``lengths`` (num_loci,) int64: bases of each locus in which a SNP would have been seen,
    loci without any among them; ``None`` where loci are known by their SNPs alone.
    """

    samples: tuple[SampleSet, ...]
    haplotypes: Haplotypes
    phased: bool
    told: Mapping[str, Any] = field(default_factory=dict)
    lengths: np.ndarray | None = None

    def summary(self) -> dict[str, Any]:
        """What the table holds; JSON values."""
        genotypes = self.haplotypes.genotypes
        with_snps = len(np.unique(self.haplotypes.positions))
        known = {} if self.lengths is None else {"bases": int(self.lengths.sum()), "loci_with_snps": with_snps}
        return {
            **self.told,
            "samples": [
                {"population": s.population, "individuals": s.num_individuals, "ploidy": s.ploidy, "time": s.time}
                for s in self.samples
            ],
            "snps": self.haplotypes.num_sites,
            "loci": with_snps if self.lengths is None else len(self.lengths),
            **known,
            "missing": float((genotypes < 0).mean()) if genotypes.size else 0.0,
        }


@dataclass(frozen=True, eq=False)
class PreparedTable:
    """A real table after the pipeline, and the ``template`` that simulated ones have to resemble.

    ``dropped``: SNPs left out, by the reason.
    """

    haplotypes: Haplotypes
    template: LociTemplate
    dropped: Mapping[str, int]


def prepared(
    table: RealTable,
    settings: PipelineSettings,
    genealogies: Genealogies,
    min_call_rate: float,
    seed: int,
) -> PreparedTable:
    """The table as the networks see it. SNPs without variation among their calls are left out, and counted.

    Raises ``ValueError`` where genealogies are by rate and the lengths of loci are not known.
    """
    raw = table.haplotypes
    called = (raw.genotypes >= 0).sum(axis=1)
    often = called >= min_call_rate * raw.genotypes.shape[1]
    derived = (raw.genotypes == 1).sum(axis=1)
    varies = (derived > 0) & (derived < called)
    rng = randomness.stream(seed, "real table")
    final = prepare_table(raw.select(often & varies), settings, rng)
    dropped = {
        "called too rarely": int((~often).sum()),
        "without variation among the calls": int((often & ~varies).sum()),
        "by singletons and min_minor_frequency": int((often & varies).sum()) - final.num_sites,
    }
    if genealogies == "by-rate":
        return PreparedTable(final, _by_rate(table, raw.select(varies), settings, min_call_rate), dropped)
    # Loci are numbered anew: those that lost all their SNPs are gone.
    locus = np.unique(final.positions, return_inverse=True)[1].astype(np.int64)
    template = LociTemplate(locus, _packed(final), genealogies, settings.rule)
    return PreparedTable(replace(final, positions=locus), template, dropped)


def _by_rate(table: RealTable, variable: Haplotypes, settings: PipelineSettings, min_call_rate: float) -> LociTemplate:
    """The template of loci of known length, with the missing calls of all ``variable`` sites."""
    if table.lengths is None:
        raise ValueError("genealogies by rate need the length of every locus, which these data do not tell")
    return LociTemplate(variable.positions, _packed(variable), "by-rate", settings.rule, table.lengths, min_call_rate)


def _packed(haplotypes: Haplotypes) -> np.ndarray | None:
    """The missing calls as a template holds them."""
    missing = haplotypes.genotypes < 0
    return np.packbits(missing, axis=1) if missing.any() else None
