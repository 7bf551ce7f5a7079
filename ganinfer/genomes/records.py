"""What every reader yields: chunks of SNP records, and the tally of what was dropped on the way.

A reader first says what its file declares and checks that against what is selected, then reads. Readers do not know
each other; the store does not know them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from ganinfer.windows import contains

#: A genotype slot that an individual of lower ploidy does not have.
ABSENT = -2

MULTI_ALLELIC = "multi-allelic"
INDEL = "indel or other length change"
SPANNING = "spanning deletion (*)"
SYMBOLIC = "symbolic allele or breakend"
FILTERED = "FILTER"
DUPLICATE = "position occurs more than once"
OUTSIDE = "outside the regions"
INVARIANT = "invariant"
UNCALLED = "called in fewer than half of the individuals"

#: A base of an all-sites file is accessible where at least this share of the individuals has a genotype.
MINIMUM_CALLED = 0.5

#: Alternative alleles that stand for "any other base" in all-sites files; they are not variation.
_UNSPECIFIC = frozenset({"<*>", "<NON_REF>", "<X>", "."})
_BASES = frozenset("ACGT")


def classify(reference: str, alternatives: Sequence[str]) -> str | None:
    """Why a record is no biallelic SNP, one of this module's reasons; ``None`` when it is one."""
    if len(alternatives) == 1 and reference in _BASES and alternatives[0] in _BASES:
        return None  # nearly every record; the rest says the same at length
    alleles = [a for a in alternatives if a not in _UNSPECIFIC]
    if not alleles:
        return INVARIANT
    if "*" in alleles:
        return SPANNING
    if any(a.startswith("<") or "[" in a or "]" in a for a in alleles):
        return SYMBOLIC
    if len(reference) != 1 or any(len(a) != 1 for a in alleles):
        return INDEL
    if len(alleles) > 1:
        return MULTI_ALLELIC
    return None if {reference.upper(), alleles[0].upper()} <= _BASES else SYMBOLIC


def several(reference: str, alternatives: Sequence[str]) -> bool:
    """Whether who carries what decides if this is a biallelic SNP: :func:`judge` says so then.

    A reference of several bases stays a change of length, whatever is carried: what is left would have to be trimmed.
    """
    return len(alternatives) > 1 and len(reference) == 1


def judge(
    reference: str, alternatives: Sequence[str], seen: Iterable[int], ancestral: str
) -> tuple[str | None, tuple[int, int]]:
    """As :func:`classify`, of a record's alleles only those ``seen`` in the individuals chosen; and which two they are.

    How many more are listed depends on how many other individuals were sequenced, of whom a simulation knows nothing.
    Where the reference is the ancestral allele (``ancestral`` REF) and nobody has it, two others are too many.
    """
    seen = [int(i) for i in seen if i == 0 or alternatives[i - 1] not in _UNSPECIFIC]
    reason = classify(reference, [alternatives[i - 1] for i in seen if i > 0])
    pair = two_alleles(seen)
    if reason == MULTI_ALLELIC and pair is not None:  # two alternatives, and nobody has the reference
        reason = None if {alternatives[i - 1].upper() for i in pair} <= _BASES else SYMBOLIC
    if reason is None and pair is not None and pair[0] > 0 and ancestral == "REF":
        reason = MULTI_ALLELIC
    return reason, pair or (0, 1)


def two_alleles(seen: Sequence[int]) -> tuple[int, int] | None:
    """Numbers of a site's two alleles, the lower first; ``None`` of more. One alone is paired with the reference."""
    if len(seen) > 1:
        return (seen[0], seen[1]) if len(seen) == 2 else None
    return 0, (seen[0] if seen and seen[0] > 0 else 1)


def recode(alleles: np.ndarray, pair: tuple[int, int]) -> np.ndarray:
    """0 and 1 for the two alleles of ``pair``, -1 for any other; negative numbers stay as they are."""
    coded = np.where(alleles >= 0, -1, alleles)
    coded[alleles == pair[0]] = 0
    coded[alleles == pair[1]] = 1
    return coded


#: Where an invariant record of an all-sites file says it otherwise than a variant (GATK): the quality that it is the
#: reference, and the least depth of a block of bases.
OF_INVARIANT = {"GQ": "RGQ", "DP": "MIN_DP"}


def polarity(reference: str, alternative: str, ancestral: str | None) -> int:
    """0 when the reference allele is ancestral, 1 when the alternative is, -1 when that is not known.

    An annotation may go on after a ``|``, and lower case (low confidence) counts as upper case.
    """
    base = (ancestral or "").split("|")[0].strip().upper()
    if base == reference.upper():
        return 0
    return 1 if base == alternative.upper() else -1


@dataclass(frozen=True, eq=False)
class Selection:
    """What a reader has to yield.

    ``individuals`` in the order wanted; ``regions`` intervals by contig, a contig not named is not read, ``None`` reads
    all; ``ancestral``, ``filters``, ``min_depth``, ``min_genotype_quality`` as in
    :class:`~ganinfer.genomes.source.GenomeSource`; ``callable_bases``: also report which bases have records;
    ``chunk_sites``: records held in memory at once.
    """

    individuals: tuple[str, ...]
    regions: Mapping[str, np.ndarray] | None
    ancestral: str
    filters: frozenset[str]
    min_depth: int | None
    min_genotype_quality: int | None
    callable_bases: bool
    chunk_sites: int

    @property
    def least(self) -> list[tuple[str, str, int]]:
        """Setting, FORMAT key and least value of what genotypes are judged by."""
        both = [("min_depth", "DP", self.min_depth), ("min_genotype_quality", "GQ", self.min_genotype_quality)]
        return [(name, key, least) for name, key, least in both if least is not None]


@dataclass(frozen=True)
class Contents:
    """Who and what is in a genotype file: its format's name, individuals by name, contigs in order and their lengths
    (``None`` unknown), records by contig (contigs without any are left out).

    ``populations`` and ``times`` of the individuals, and the intervals ``covered`` by data in each contig, where the
    file itself says so (tree sequences). ``filters`` that the header defines, ``None`` where the format has none.
    """

    format: str
    individuals: tuple[str, ...]
    contigs: Mapping[str, int | None]
    records: Mapping[str, int]
    populations: tuple[str, ...] | None = None
    times: tuple[float, ...] | None = None
    covered: Mapping[str, list[list[int]]] | None = None
    filters: tuple[str, ...] | None = None


@dataclass(frozen=True, eq=False)
class Chunk:
    """Some consecutive SNP records of one contig.

    ``positions`` int64 (num_sites,) 0-based, not decreasing; ``genotypes`` int8 (num_sites, num_individuals, ploidy): 0
    reference (or ancestral), 1 alternative, -1 missing, -2 a slot the individual lacks; ``ancestral`` int8 (num_sites,)
    as :func:`polarity`; ``biallelic`` bool (num_sites,): others only block their position; ``callable_bases`` intervals
    (k, 2); ``num_records`` read, ``dropped`` by reason, ``num_unphased`` of the ``num_heterozygous`` genotypes;
    ``masked`` called genotypes that were made missing, by setting.
    """

    contig: str
    positions: np.ndarray
    genotypes: np.ndarray
    ancestral: np.ndarray
    biallelic: np.ndarray
    callable_bases: np.ndarray
    num_records: int
    dropped: Counter[str] = field(default_factory=Counter)
    num_unphased: int = 0
    num_heterozygous: int = 0
    masked: Counter[str] = field(default_factory=Counter)

    def select(self, sites: np.ndarray) -> Chunk:
        return replace(
            self,
            positions=self.positions[sites],
            genotypes=self.genotypes[sites],
            ancestral=self.ancestral[sites],
            biallelic=self.biallelic[sites],
        )


class Reader(Protocol):
    """One genotype file or folder."""

    def declared(self) -> Contents:
        """What is known without reading the file to its end; ``records`` may be empty."""
        ...

    def check(self, selection: Selection) -> None:
        """Raises GenomeError where the file defines nothing for something that is selected by."""
        ...

    def contents(self) -> Contents: ...

    def chunks(self, selection: Selection) -> Iterator[Chunk]: ...


def heterozygous(genotypes: np.ndarray) -> np.ndarray:
    """bool (num_sites, num_individuals): whether two called alleles of an individual differ; a loop over few slots."""
    lowest = np.full(genotypes.shape[:2], 127, dtype=np.int8)
    highest = np.full(genotypes.shape[:2], -1, dtype=np.int8)
    for slot in range(genotypes.shape[2]):
        alleles = genotypes[:, :, slot]
        np.minimum(lowest, alleles, out=lowest, where=alleles >= 0)
        np.maximum(highest, alleles, out=highest)
    return lowest < highest


def restrict(chunk: Chunk, regions: Mapping[str, np.ndarray] | None) -> Chunk:
    """The chunk's sites inside ``regions``; the others are counted as dropped."""
    if regions is None:
        return chunk
    inside = contains(regions.get(chunk.contig, np.empty((0, 2), dtype=np.int64)), chunk.positions)
    dropped = chunk.dropped + Counter({OUTSIDE: int((~inside).sum())})
    return replace(chunk.select(inside), dropped=dropped)


def without_duplicates(chunks: Iterable[Chunk]) -> Iterator[Chunk]:
    """Only biallelic sites alone at their position; sites that share one are all dropped, as in a simulation.

    Records whose alternative nobody has don't count there: they are a listed allele of a site split into records.
    The last position of a chunk waits for the next chunk, since its records may go on there.
    """
    held: Chunk | None = None
    for chunk in chunks:
        if held is not None and held.contig == chunk.contig:
            chunk = _join(held, chunk)
        elif held is not None:
            yield _unique(held)
        if len(chunk.positions) == 0:
            held = chunk
            continue
        waiting = chunk.positions == chunk.positions[-1]
        held = replace(
            chunk.select(waiting),
            callable_bases=chunk.callable_bases[:0],
            num_records=0,
            dropped=Counter(),
            num_unphased=0,
            num_heterozygous=0,
            masked=Counter(),
        )
        yield _unique(chunk.select(~waiting))
    if held is not None:
        yield _unique(held)


def _widen(genotypes: np.ndarray, ploidy: int) -> np.ndarray:
    """With slots that nobody has, up to ``ploidy``."""
    missing = ploidy - genotypes.shape[2]
    return np.pad(genotypes, ((0, 0), (0, 0), (0, missing)), constant_values=ABSENT) if missing > 0 else genotypes


def _join(a: Chunk, b: Chunk) -> Chunk:
    ploidy = max(a.genotypes.shape[2], b.genotypes.shape[2])
    return Chunk(
        b.contig,
        np.concatenate([a.positions, b.positions]),
        np.concatenate([_widen(a.genotypes, ploidy), _widen(b.genotypes, ploidy)]),
        np.concatenate([a.ancestral, b.ancestral]),
        np.concatenate([a.biallelic, b.biallelic]),
        np.concatenate([a.callable_bases, b.callable_bases]),
        a.num_records + b.num_records,
        a.dropped + b.dropped,
        a.num_unphased + b.num_unphased,
        a.num_heterozygous + b.num_heterozygous,
        a.masked + b.masked,
    )


def _alone(positions: np.ndarray) -> np.ndarray:
    """bool (num_sites,): no neighbour has the same position."""
    different = np.concatenate([[True], positions[1:] != positions[:-1], [True]])[: len(positions) + 1]
    return np.asarray(different[:-1] & different[1:], dtype=bool)


def _unique(chunk: Chunk) -> Chunk:
    alone = _alone(chunk.positions)
    counts = alone | ~chunk.biallelic
    counts[~counts] = (chunk.genotypes[~counts] == 1).any(axis=(1, 2))
    if not counts.all():
        chunk = replace(chunk.select(counts), dropped=chunk.dropped + Counter({INVARIANT: int((~counts).sum())}))
        alone = _alone(chunk.positions)
    dropped = chunk.dropped + Counter(
        {DUPLICATE: int((~alone).sum()), MULTI_ALLELIC: int((alone & ~chunk.biallelic).sum())}
    )
    return replace(chunk.select(alone & chunk.biallelic), dropped=dropped)
