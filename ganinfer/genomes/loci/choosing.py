"""Which individuals a table is of, and which SNPs of a locus are taken: both drawn by a seed of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np

from ganinfer.genomes import samples
from ganinfer.genomes.loci.source import LociChoice, TableSource
from ganinfer.genomes.samples import Individual
from ganinfer.genomes.source import GenomeError
from ganinfer.haplotypes import SampleSet
from ganinfer.randomness import stream

#: Quantile of the numbers of SNPs of stretches above which these are taken for equal: see :func:`apart`.
_MANY = 0.95


@dataclass(frozen=True, eq=False)
class Snps:
    """What a reader found in the individuals chosen, before SNPs of a locus are chosen.

    ``genotypes`` int8 (num_snps, num_chromosomes): 0, 1, -1 missing; ``locus`` int64 (num_snps,) and ``loci`` the names
    of its numbers; ``numbers`` int64 (num_snps,), what a user finds each SNP by: line, column or position, from 1;
    ``positions`` int64 (num_snps,) in bases, where they are known; ``left_out`` says what the reader left out, for who
    finds no variation; ``told`` the same and more as JSON values; ``lengths`` int64 (num_loci,) bases of each locus in
    which a SNP would have been seen, where they are known.
    """

    genotypes: np.ndarray
    locus: np.ndarray
    loci: tuple[str, ...]
    numbers: np.ndarray
    phased: bool
    positions: np.ndarray | None = None
    left_out: str = ""
    told: Mapping[str, Any] = field(default_factory=dict)
    lengths: np.ndarray | None = None


@dataclass(frozen=True)
class Chosen:
    """The individuals taken, in the order of the ``samples``; ``told`` JSON values."""

    samples: tuple[SampleSet, ...]
    names: tuple[str, ...]
    told: Mapping[str, Any]


def individuals(
    source: TableSource, sheet: Sequence[Individual] | None, present: Sequence[str], where: str, ploidy: int
) -> Chosen:
    """Who is taken of those ``present`` in the files, all of one ploidy.

    ``sheet``: what the files or the experiment say of populations; ``None``: all are of the only population asked for.
    """
    if sheet is None and len(source.populations) != 1:
        raise GenomeError(
            f"{where}: nothing says who belongs to which population; name a sample sheet in data.samples (columns "
            "sample and population), or exactly one population in data.populations"
        )
    if sheet is None:
        sheet = [Individual(name, next(iter(source.populations))) for name in present]
    groups = samples.choose(samples.wanted(sheet, source.populations, where), source.populations, source.seed)
    sets: list[SampleSet] = []
    names: list[str] = []
    for population, members in groups.items():
        for time, alike in groupby(sorted(members, key=lambda m: m.time), key=lambda m: m.time):
            same = [m.name for m in alike]
            sets.append(SampleSet(population, len(same), ploidy, time))
            names += same
    told = {
        "individuals": {population: [m.name for m in members] for population, members in groups.items()},
        "individuals_left_out": len(present) - len(set(names) & set(present)),
        "seed": source.seed,
    }
    return Chosen(tuple(sets), tuple(names), told)


def kept(choice: LociChoice, derived: np.ndarray, called: np.ndarray, num_chromosomes: int) -> np.ndarray:
    """Whether SNPs with so many derived and called alleles may be taken to stand for their locus."""
    often = np.asarray(called) >= choice.min_call_rate * num_chromosomes
    return np.asarray(often & choice.rule.keeps(derived, called))


def nothing_left(choice: LociChoice, total: int) -> str:
    """That none of so many SNPs is taken, and by which settings."""
    settings = ["loci.min_call_rate", "loci.min_minor_frequency", "data.singletons"]
    settings += ["loci.min_distance"] if choice.by == "distance" else []
    return f"no SNP of {total:,} is left by {', '.join(settings[:-1])} and {settings[-1]}"


def one_each(groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Indices, increasing, of one element of each group, each equally likely."""
    order = rng.permutation(len(groups))
    return np.sort(order[np.unique(groups[order], return_index=True)[1]])


def apart(contig: np.ndarray, positions: np.ndarray, distance: int, rng: np.random.Generator) -> np.ndarray:
    """Indices, increasing, of single SNPs at least ``distance`` apart within a ``contig``, each as likely as any other.

    Whoever packs as many as have room fills up stretches that have few SNPs, whose genealogies are short: simulated
    with SNPs in proportion to length, such data would look a little too young. So a SNP is drawn from stretches of half
    the distance, which have the whole distance between them, and a stretch with fewer SNPs is taken more rarely. The
    few with the most, above a quantile, all count as having as many as that.
    """
    length = max(distance // 2, 1)
    period = length + distance - 1
    shifted = positions + rng.integers(period)
    inside = np.flatnonzero(shifted % period < length)
    _, stretch = np.unique(np.stack([contig[inside], shifted[inside] // period]), axis=1, return_inverse=True)
    sizes = np.bincount(stretch.ravel())
    most = np.quantile(sizes, _MANY) if len(sizes) else 1.0
    taken = rng.random(len(sizes)) < sizes / most
    inside = inside[taken[stretch.ravel()]]
    return inside[one_each(stretch.ravel()[taken[stretch.ravel()]], rng)]


def choose(
    choice: LociChoice, locus: np.ndarray, positions: np.ndarray, eligible: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the SNPs taken, in order of their loci, and the loci of these, numbered from 0.

    ``eligible`` (num_snps,): may be taken where not all are. By rate the loci keep their numbers, as those without SNPs
    count.
    """
    members = np.flatnonzero(eligible)
    if choice.by == "distance":
        drawn = apart(locus[members], positions[members], choice.min_distance, stream(seed, "loci"))
        return members[drawn], np.arange(len(drawn), dtype=np.int64)
    if choice.per_locus == "one":
        taken = members[one_each(locus[members], stream(seed, "loci"))]
    else:
        taken = np.arange(len(locus))
    taken = taken[np.argsort(locus[taken], kind="stable")]
    if choice.by_rate:
        return taken, locus[taken].astype(np.int64)
    return taken, np.unique(locus[taken], return_inverse=True)[1].astype(np.int64)
