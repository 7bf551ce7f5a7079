"""The one ordered pipeline between an observation and its encoding, for real and simulated windows alike.

accessible bases, biallelic sites, missing calls, ancestral alleles, phase, folding, monomorphic sites, singletons.
Real windows arrive with their own missing calls and without the sites whose ancestral allele is unknown; simulated
ones take both from the real window that is their template. Every other step is the same code on both sides.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ganinfer.haplotypes import MISSING, Haplotypes
from ganinfer.interfaces import LociTemplate, SiteRule, WindowTemplate
from ganinfer.windows import contains


@dataclass(frozen=True)
class PipelineSettings:
    """What users chose about their data, applied to both sides.

    ``phased``: an individual's chromosomes are told apart; ``folded``: ancestral alleles are not used;
    ``singletons`` and ``min_minor_frequency``: see :class:`ganinfer.interfaces.SiteRule`.
    """

    phased: bool = True
    folded: bool = False
    singletons: Literal["keep", "drop"] = "keep"
    min_minor_frequency: float = 0.0

    @property
    def rule(self) -> SiteRule:
        """Which variable sites are kept."""
        return SiteRule(self.folded, self.singletons, self.min_minor_frequency)


def prepare_simulated(
    haplotypes: Haplotypes,
    template: WindowTemplate | LociTemplate,
    settings: PipelineSettings,
    rng: np.random.Generator,
) -> Haplotypes:
    """A simulated window or table made to look like the real one behind ``template``, and prepared like it."""
    if isinstance(template, LociTemplate):
        if template.lengths is not None:
            haplotypes = with_two_alleles(haplotypes, folded=settings.folded)
            haplotypes = _called_as_drawn(haplotypes, template, rng)
        else:
            haplotypes = called_as_in(haplotypes, template)
        return prepare_table(haplotypes, settings, rng)
    return _common(mirrored(haplotypes, template, rng, folded=settings.folded), settings, rng)


def mirrored(
    haplotypes: Haplotypes, template: WindowTemplate, rng: np.random.Generator, *, folded: bool = False
) -> Haplotypes:
    """A simulated window as it would have been read: what the template's mask, missing calls and ancestors leave."""
    haplotypes = _accessible(haplotypes, template)
    haplotypes = biallelic(haplotypes, folded=folded)
    haplotypes = _missing_as_in(haplotypes, template, rng)
    return _thinned(haplotypes, template.unusable_ancestral, rng)


def prepare_real(haplotypes: Haplotypes, settings: PipelineSettings, rng: np.random.Generator) -> Haplotypes:
    """A real window as read: accessible, biallelic sites of the chosen individuals, polarised where asked for."""
    return _common(biallelic(haplotypes, folded=settings.folded), settings, rng)


def prepare_table(haplotypes: Haplotypes, settings: PipelineSettings, rng: np.random.Generator) -> Haplotypes:
    """A table of SNPs with two alleles each, real or simulated: folded, unphased and filtered where asked for."""
    return _common(haplotypes, settings, rng)


def called_as_in(haplotypes: Haplotypes, template: LociTemplate) -> Haplotypes:
    """A simulated table with the missing calls of the real one, SNP by SNP."""
    called = template.called(haplotypes.genotypes.shape[1])
    if called is None:
        return haplotypes
    return replace(haplotypes, genotypes=np.where(called, haplotypes.genotypes, np.int8(MISSING)))


def with_two_alleles(haplotypes: Haplotypes, *, folded: bool = False) -> Haplotypes:
    """Sites at which no more than two alleles are seen, numbered 0 and 1; positions may be shared, as loci are."""
    if haplotypes.genotypes.max(initial=0) <= 1:
        return haplotypes
    renumbered, kept = _renumbered(haplotypes, folded)
    return renumbered.select(kept)


def _called_as_drawn(haplotypes: Haplotypes, template: LociTemplate, rng: np.random.Generator) -> Haplotypes:
    """A simulated table by rate with rows of missing calls like those of the real one, locus by locus.

    Rows are drawn as those of windows are (see :func:`_missing_as_in`), for each locus from its own real sites. A locus
    that had none has those of another one, which is drawn in proportion to its sites: who lacks a locus lacks it whole.

    The few sites of a locus do not make up for those that were lost there, as the many of a window do. So sites are
    left out at random until as large a share is kept as if rows had been drawn from the whole table. Sites that are
    called too rarely are left out, too.
    """
    called = template.called(haplotypes.genotypes.shape[1])
    if called is None or haplotypes.num_sites == 0:
        return haplotypes
    missing, of_row = np.unique(~called, axis=0, return_inverse=True)
    weight = (1 / _share_variable(haplotypes.genotypes, missing))[of_row.ravel()]
    often = called.sum(axis=1) >= template.min_call_rate * called.shape[1]
    edges = np.searchsorted(template.locus, np.arange(template.length + 1))
    numbers, sizes = np.unique(haplotypes.positions, return_counts=True)
    drawn, kept = [], 0.0
    for number, size in zip(numbers, sizes, strict=True):
        source = number if edges[number] < edges[number + 1] else template.locus[rng.integers(len(template.locus))]
        first, last = edges[source], edges[source + 1]
        drawn.append(first + _evenly_drawn(weight[first:last], int(size), rng))
        kept += size * often[first:last].sum() / weight[first:last].sum()
    rows = np.concatenate(drawn)
    table = replace(haplotypes, genotypes=np.where(called[rows], haplotypes.genotypes, np.int8(MISSING)))
    wanted = haplotypes.num_sites * often.sum() / weight.sum()
    return _thinned(table.select(often[rows]), 1 - wanted / max(kept, wanted), rng)


def _common(haplotypes: Haplotypes, settings: PipelineSettings, rng: np.random.Generator) -> Haplotypes:
    counts = _Counts(haplotypes)
    if settings.folded:
        haplotypes, counts = _folded(haplotypes, counts)
    kept = settings.rule.keeps(counts.derived, counts.called)
    if not kept.all():
        haplotypes = haplotypes.select(kept)
        counts = counts.select(kept)
    if not settings.phased:
        return _unphased(haplotypes)
    return _singletons_phased_at_random(haplotypes, counts, rng)


class _Counts:
    """Derived and called alleles of each site over all chromosomes."""

    def __init__(
        self, haplotypes: Haplotypes | None, derived: np.ndarray | None = None, called: np.ndarray | None = None
    ):
        if haplotypes is not None:
            genotypes = haplotypes.genotypes
            derived = np.count_nonzero(genotypes == 1, axis=1)
            called = (
                np.count_nonzero(genotypes >= 0, axis=1)
                if len(genotypes) and genotypes.min() < 0
                else np.full(len(genotypes), genotypes.shape[1])
            )
        assert derived is not None
        assert called is not None
        self.derived, self.called = derived, called

    def select(self, sites: np.ndarray) -> _Counts:
        return _Counts(None, self.derived[sites], self.called[sites])


def _accessible(haplotypes: Haplotypes, template: WindowTemplate) -> Haplotypes:
    if template.accessible is None:
        return haplotypes
    return haplotypes.select(contains(template.accessible, haplotypes.positions))


def biallelic(haplotypes: Haplotypes, *, folded: bool = False) -> Haplotypes:
    """Sites at which two alleles are seen, numbered 0 and 1, and one record a position."""
    positions = haplotypes.positions
    if len(positions) == 0:
        return haplotypes
    kept = None
    if haplotypes.genotypes.max() > 1:
        haplotypes, kept = _renumbered(haplotypes, folded)
    same = positions[1:] == positions[:-1]
    if same.any():
        repeated = np.zeros(len(positions), dtype=bool)
        repeated[1:] |= same
        repeated[:-1] |= same
        kept = ~repeated if kept is None else kept & ~repeated
    return haplotypes if kept is None else haplotypes.select(kept)


def _renumbered(haplotypes: Haplotypes, folded: bool) -> tuple[Haplotypes, np.ndarray]:
    """Alleles above 1 numbered as if those that nobody has were not there, and which sites then have two at most.

    Where nobody has the ancestral allele 0, two others are two alleles if ``folded``, else too many.
    """
    genotypes = haplotypes.genotypes.copy()
    kept = np.ones(len(genotypes), dtype=bool)
    for row in np.flatnonzero(genotypes.max(axis=1) > 1):
        called = genotypes[row] >= 0
        seen = np.unique(genotypes[row][called])
        seen = seen if len(seen) > 1 and folded else np.union1d(seen, 0)
        genotypes[row, called] = np.searchsorted(seen, genotypes[row][called])
        kept[row] = len(seen) <= 2
    return replace(haplotypes, genotypes=genotypes), kept


def missing_rows(haplotypes: Haplotypes) -> np.ndarray | None:
    """A real window's rows of missing calls, packed for its template; ``None`` where no call is missing.

    Of its variable sites alone: whether a file also holds others depends on who else is in it.
    """
    genotypes = biallelic(haplotypes).genotypes
    missing = genotypes < 0
    if not missing.any():
        return None
    rows = missing[(genotypes == 0).any(axis=1) & (genotypes == 1).any(axis=1)]
    return np.packbits(rows, axis=1) if rows.any() else None


def _missing_as_in(haplotypes: Haplotypes, template: WindowTemplate, rng: np.random.Generator) -> Haplotypes:
    """Whole rows of missing calls like those of the template's real window.

    The real window shows the rows of sites that were variable in spite of them, in which rows that miss much are too
    few. So each row counts by one over the share of simulated sites that stay variable under it; what is then lost
    of the simulated sites is what was lost of the real ones. Rows come as often as they should and no more at
    random than that, since windows that draw theirs freely would differ more among each other than real ones do.
    """
    if template.missing is None or len(template.missing) == 0 or haplotypes.num_sites == 0:
        return haplotypes
    genotypes = haplotypes.genotypes
    rows = np.unpackbits(template.missing, axis=1, count=genotypes.shape[1]).astype(bool)
    chosen = _evenly_drawn(1 / _share_variable(genotypes, rows), haplotypes.num_sites, rng)
    return replace(haplotypes, genotypes=np.where(rows[chosen], np.int8(MISSING), genotypes))


def _share_variable(genotypes: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Share (num_rows,) of the sites that are variable without the calls of each row; half a site where none is."""
    called = (~missing).T.astype(np.float32)
    seen = [(genotypes == allele).astype(np.float32) @ called > 0 for allele in (0, 1)]
    variable = np.count_nonzero(seen[0] & seen[1], axis=0)
    return np.maximum(variable, 0.5) / len(genotypes)


def _evenly_drawn(weights: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """``size`` indices in random order, each within one of ``size`` times its share of the weights."""
    order = rng.permutation(len(weights))
    edges = np.cumsum(weights[order])
    places = (np.arange(size) + rng.random()) * (edges[-1] / size)
    drawn = order[np.minimum(np.searchsorted(edges, places, side="right"), len(order) - 1)]
    return rng.permutation(drawn)


def _thinned(haplotypes: Haplotypes, unusable: float, rng: np.random.Generator) -> Haplotypes:
    """Sites kept with the probability that a site of the real window has a usable ancestral allele."""
    if unusable <= 0:
        return haplotypes
    return haplotypes.select(rng.random(haplotypes.num_sites) >= unusable)


def _folded(haplotypes: Haplotypes, counts: _Counts) -> tuple[Haplotypes, _Counts]:
    """Allele 1 becomes the minor one over all chromosomes.

    A tie is decided by the first population in which the two alleles differ in number (its rarer one becomes 1), and
    where there is none by the parity of the position: a rule that depends neither on which allele was called 1 nor on
    the order of chromosomes, but for the last case, in which the data hold nothing to decide by.
    """
    twice = 2 * counts.derived
    flip = twice > counts.called
    tied = np.flatnonzero(twice == counts.called)
    if len(tied):
        genotypes = haplotypes.genotypes[tied]
        undecided = np.ones(len(tied), dtype=bool)
        for columns in haplotypes.carriers.columns:
            sub = genotypes[:, columns]
            difference = np.count_nonzero(sub == 1, axis=1) - np.count_nonzero(sub == 0, axis=1)
            flip[tied[undecided & (difference > 0)]] = True
            undecided &= difference == 0
        flip[tied[undecided]] = haplotypes.positions[tied[undecided]] % 2 == 1
    if not flip.any():
        return haplotypes, counts
    genotypes = haplotypes.genotypes.copy()
    flipped = genotypes[flip]
    genotypes[flip] = np.where(flipped >= 0, 1 - flipped, flipped)
    derived = np.where(flip, counts.called - counts.derived, counts.derived)
    return replace(haplotypes, genotypes=genotypes), _Counts(None, derived, counts.called)


def _unphased(haplotypes: Haplotypes) -> Haplotypes:
    """An individual's alleles in ascending order, so that nothing of the phase is left."""
    carriers, genotypes = haplotypes.carriers, haplotypes.genotypes
    ploidy = carriers.ploidy
    if (ploidy == 2).all():
        shaped = genotypes.reshape(len(genotypes), genotypes.shape[1] // 2, 2)
        ordered = np.stack([shaped.min(axis=2), shaped.max(axis=2)], axis=2).reshape(genotypes.shape)
    else:
        ordered = genotypes.copy()
        for size in np.unique(ploidy[ploidy > 1]):
            columns = carriers.first[ploidy == size][:, None] + np.arange(size)
            ordered[:, columns] = np.sort(genotypes[:, columns], axis=2)
    return replace(haplotypes, genotypes=ordered, phased=False)


def _singletons_phased_at_random(haplotypes: Haplotypes, counts: _Counts, rng: np.random.Generator) -> Haplotypes:
    """Phasing says nothing about an allele seen once: it is put on either chromosome of its carrier."""
    sites = np.flatnonzero(counts.derived == 1)
    carriers = haplotypes.carriers
    if len(sites) == 0 or len(carriers.ploidy) == len(carriers):
        return haplotypes
    column = np.argmax(haplotypes.genotypes[sites] == 1, axis=1)
    individual = carriers.individual[column]
    offset = (rng.random(len(sites)) * carriers.ploidy[individual]).astype(np.int64)
    target = carriers.first[individual] + offset
    moved = target != column
    sites, column, target = sites[moved], column[moved], target[moved]
    genotypes = haplotypes.genotypes.copy()
    genotypes[sites, column], genotypes[sites, target] = genotypes[sites, target], genotypes[sites, column].copy()
    return replace(haplotypes, genotypes=genotypes)
