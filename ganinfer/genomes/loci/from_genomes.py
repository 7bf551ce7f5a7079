"""Genomes taken as loci: each contig is one, or single SNPs far from each other are.

The sites are those that windows would have: the same readers, store, masks and ancestral alleles.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ganinfer.genomes.dataset import Genomes
from ganinfer.genomes.loci.choosing import choose, kept, nothing_left
from ganinfer.genomes.loci.source import LociChoice
from ganinfer.genomes.opening import Opened, open_sites
from ganinfer.genomes.source import GenomeError, GenomeSource, WindowSettings
from ganinfer.genomes.summary import left_out
from ganinfer.genomes.table import RealTable
from ganinfer.genomes.tiling import Tiling
from ganinfer.haplotypes import Haplotypes
from ganinfer.windows import Window, contains, intersect, num_bases

#: Sites that are unpacked at once.
_SITES = 20_000


def table_of_genomes(source: GenomeSource, choice: LociChoice, seed: int, cache: Path) -> RealTable:
    """The SNPs that ``choice`` takes. Two passes over the store, so that all genotypes are never held at once."""
    opened = open_sites(source, None, cache)
    stretches = tuple(_stretches(opened))
    if not any(_num_sites(opened, window) for window in stretches):
        raise GenomeError(
            f"{source.genotypes[0]}: no biallelic SNP where there is data; {left_out(opened.store.tally)}"
        )
    # Stretches stand in the place of windows; their settings describe none.
    genomes = Genomes(
        source,
        WindowSettings(),
        opened.store,
        Tiling(stretches, {}),
        opened.columns(w.contig for w in stretches),
    )
    contigs = {name: i for i, name in enumerate(dict.fromkeys(w.contig for w in stretches))}
    if choice.by_rate and choice.length is None:
        contigs |= {name: i for i, name in enumerate((n for n in opened.regions if n not in contigs), len(contigs))}
    numbers: list[np.ndarray] = []
    positions: list[np.ndarray] = []
    eligible: list[np.ndarray] = []
    for i, window in enumerate(stretches):
        found = genomes.haplotypes(i)
        positions.append(found.positions + window.left)
        numbers.append(np.full(found.num_sites, contigs[window.contig]))
        eligible.append(_eligible(found, choice))
    number, position = np.concatenate(numbers), np.concatenate(positions)
    taken, locus = choose(choice, number, position, np.concatenate(eligible), seed)
    if not len(taken):
        raise GenomeError(f"{source.genotypes[0]}: {nothing_left(choice, len(number))}")
    rows = np.zeros(len(number), dtype=bool)
    rows[taken] = True  # in order of contig and position, as is `taken`
    genotypes = _genotypes(genomes, rows, [len(part) for part in positions])
    sample = genomes.haplotypes(0)
    told = _told(genomes, choice, list(contigs), number[taken], position[taken], len(number))
    lengths = _lengths(opened, choice, contigs)
    if lengths is not None and genomes.num_unusable:
        # Sites without an ancestral allele are lost on the real side: as good as fewer bases.
        share = len(number) / (len(number) + genomes.num_unusable)
        lengths = np.maximum(np.round(share * lengths), 1).astype(np.int64)
    haplotypes = Haplotypes(genotypes, locus, sample.carriers, genomes.phased)
    return RealTable(genomes.samples, haplotypes, genomes.phased, told, lengths)


def _lengths(opened: Opened, choice: LociChoice, contigs: Collection[str]) -> np.ndarray | None:
    """Bases of all loci, where these count: the accessible ones of the regions, which name every locus."""
    if not choice.by_rate:
        return None
    if choice.length is not None or not opened.told:
        return choice.lengths(len(contigs))
    accessible = opened.regions if opened.accessible is None else opened.accessible
    return np.array([max(num_bases(accessible[name]), 1) for name in contigs], dtype=np.int64)


def _stretches(opened: Opened) -> Iterator[Window]:
    """All accessible bases, in pieces of so many sites at most."""
    accessible = opened.regions if opened.accessible is None else opened.accessible
    for block, (name, intervals) in enumerate(opened.regions.items()):
        contig = opened.store.contigs.get(name)
        if contig is None or len(intervals) == 0:
            continue
        inner = opened.store.positions[contig.start + _SITES : contig.stop : _SITES].tolist()
        edges = [int(intervals[0, 0]), *inner, int(intervals[-1, 1])]
        for left, right in pairwise(edges):
            inside = intersect(accessible[name], np.array([[left, right]])) - left
            yield Window(name, left, right, inside, block)


def _num_sites(opened: Opened, window: Window) -> int:
    contig = opened.store.contigs[window.contig]
    positions = opened.store.positions[contig.start : contig.stop]
    first, last = np.searchsorted(positions, [window.left, window.right])
    return int(contains(window.accessible, positions[first:last] - window.left).sum())


def _eligible(haplotypes: Haplotypes, choice: LociChoice) -> np.ndarray:
    genotypes = haplotypes.genotypes
    derived, called = (genotypes == 1).sum(axis=1), (genotypes >= 0).sum(axis=1)
    return kept(choice, derived, called, genotypes.shape[1])


def _genotypes(genomes: Genomes, rows: np.ndarray, sizes: list[int]) -> np.ndarray:
    """Of all sites in order, those of ``rows`` (bool)."""
    ends = np.cumsum(sizes)[:-1]
    parts = [genomes.haplotypes(i).genotypes[part] for i, part in enumerate(np.split(rows, ends)) if part.any()]
    width = sum(s.num_chromosomes for s in genomes.samples)
    return np.concatenate([np.empty((0, width), dtype=np.int8), *parts])


def _told(
    genomes: Genomes, choice: LociChoice, contigs: list[str], number: np.ndarray, position: np.ndarray, total: int
) -> dict[str, Any]:
    told = {
        **genomes.inputs(),
        "sites": total,
        "without_usable_ancestral": genomes.num_unusable,
        "loci_by": choice.by,
        "sites_not_taken": total - len(number),
    }
    if choice.by == "distance":
        told["min_distance"] = choice.min_distance
    if choice.by == "distance" or choice.per_locus == "one":
        told["chosen"] = {
            name: (position[number == i] + 1).tolist() for i, name in enumerate(contigs) if (number == i).any()
        }
    return told
