"""Classical summary statistics of one window: binned joint site frequency spectrum, haplotypes, linkage disequilibrium.

They are computed on prepared windows (see :mod:`ganinfer.pipeline`), real and simulated alike, and cost a fraction of
a coalescent simulation. Every statistic is finite for every window, an empty one included.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations, pairwise, product

import numpy as np

from ganinfer.haplotypes import Chromosomes, Haplotypes

#: Upper edges, as fractions of the window's length, of the distances by which linkage disequilibrium is averaged.
LD_EDGES = (0.01, 0.03, 0.08, 0.2, 0.5, 1.0)
#: Sub-windows in which haplotypes are told apart: so many equal parts of the window.
HAPLOTYPE_PARTS = (1, 2, 5)
_MAX_LD_SITES = 48
#: Hash weights are integers below 2**42: sums over fewer than 2**11 sites stay exact in float64.
_HASH_LIMIT = 2**42
_MAX_HASHED_SITES = 2**11
#: Kinds of statistics by what their names begin with: a fault of the data or of the model is in all of a kind.
FAMILIES = {
    "sfs": "site frequency spectrum",
    "haplotypes": "haplotypes",
    "r2": "linkage disequilibrium",
    "four gametes": "four gametes",
}
_CELLS_BY_POPULATIONS = {1: 20, 2: 9, 3: 5}


def frequency_bins(size: int, num_bins: int) -> np.ndarray:
    """Bin (size + 1,) of each allele count 0 to ``size``: 0 and ``size`` alone, small counts alone, then ever wider.

    At most ``num_bins`` bins, symmetric widths towards neither end: rare alleles are what demography moves most.
    """
    edges = [0, 1]
    inner = np.unique(np.round(np.geomspace(1, size, max(num_bins - 1, 2))).astype(int))
    edges += [int(e) for e in inner if e > 1]
    if edges[-1] < size:
        edges.append(size)
    lower = np.array(edges)
    return np.searchsorted(lower, np.arange(size + 1), side="right") - 1


class JointSpectrum:
    """Sites by cell of a joint allele-count spectrum, binned in each population.

    All populations jointly up to three; with more, every pair of them.
    """

    def __init__(self, carriers: Chromosomes):
        names, sizes = carriers.populations, carriers.sizes
        groups = [tuple(range(len(names)))] if len(names) <= 3 else list(combinations(range(len(names)), 2))
        num_bins = _CELLS_BY_POPULATIONS[len(groups[0])]
        self._groups = groups
        self._sizes = np.array(sizes)
        self._bins = [frequency_bins(size, num_bins) for size in sizes]
        self._shapes = [tuple(int(self._bins[i][-1]) + 1 for i in group) for group in groups]
        self.names = [
            "sfs " + ",".join(f"{names[i]}={self._label(i, b)}" for i, b in zip(group, cell, strict=True))
            for group, shape in zip(groups, self._shapes, strict=True)
            for cell in product(*map(range, shape))
        ]

    def _label(self, population: int, index: int) -> str:
        counts = np.flatnonzero(self._bins[population] == index)
        return str(counts[0]) if len(counts) == 1 else f"{counts[0]}-{counts[-1]}"

    def compute(self, derived: np.ndarray, called: np.ndarray) -> np.ndarray:
        """Cell counts from ``derived`` and ``called`` (num_sites, num_populations) allele counts."""
        scaled = _on_full_grid(derived, called, self._sizes)
        parts = []
        for group, shape in zip(self._groups, self._shapes, strict=True):
            cell = np.zeros(len(derived), dtype=np.int64)
            for i, width in zip(group, shape, strict=True):
                cell = cell * width + self._bins[i][scaled[:, i]]
            parts.append(np.bincount(cell, minlength=int(np.prod(shape))))
        return np.concatenate(parts)


def _on_full_grid(derived: np.ndarray, called: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Allele counts as if all were called: a site with missing calls counts at the frequency seen."""
    if (called == sizes).all():
        return derived
    return np.round(derived * sizes / np.maximum(called, 1)).astype(np.int64)


def joint_spectra(derived: np.ndarray, called: np.ndarray, carriers: Chromosomes) -> dict[str, np.ndarray]:
    """Sites by joint allele count, every count a cell: of one or two populations under the key ``""``.

    Of more populations a table for each pair of them, under ``_A_B``. The allele counts are (num_sites,
    num_populations).
    """
    names, sizes = carriers.populations, np.array(carriers.sizes)
    counts = _on_full_grid(derived, called, sizes)
    if len(names) == 1:
        return {"": np.bincount(counts[:, 0], minlength=sizes[0] + 1).astype(float)}
    pairs = list(combinations(range(len(names)), 2))
    spectra = {}
    for a, b in pairs:
        shape = (sizes[a] + 1, sizes[b] + 1)
        cells = np.bincount(counts[:, a] * shape[1] + counts[:, b], minlength=shape[0] * shape[1])
        spectra["" if len(pairs) == 1 else f"_{names[a]}_{names[b]}"] = cells.reshape(shape).astype(float)
    return spectra


class HaplotypeDiversity:
    """Distinct haplotypes and haplotype homozygosity by population, and distinct ones shared by pairs of populations.

    Averaged over the sub-windows of each size. Unphased data: multi-locus genotypes of individuals instead.
    """

    def __init__(self, carriers: Chromosomes, length: int, phased: bool):
        self._phased = phased
        self._individual_first = carriers.first
        population = carriers.population if phased else carriers.population[carriers.first]
        columns = [np.flatnonzero(population == i) for i in range(len(carriers.populations))]
        self._pairs = list(combinations(range(len(carriers.populations)), 2))
        self._columns = [_as_slice(c) for c in columns]
        self._unions = [_as_slice(np.concatenate([columns[a], columns[b]])) for a, b in self._pairs]
        # The sub-windows of all sizes are unions of the pieces between all their edges.
        of = np.repeat(HAPLOTYPE_PARTS, HAPLOTYPE_PARTS)
        part = np.concatenate([np.arange(parts) for parts in HAPLOTYPE_PARTS])
        self._edges = np.unique([-(-i * length // parts) for parts in HAPLOTYPE_PARTS for i in range(parts)])
        self._contains = (self._edges[None, :] * of[:, None] // length == part[:, None]).astype(float)
        self._average = (of == np.array(HAPLOTYPE_PARTS)[:, None]) / of
        rng = np.random.default_rng(20_130_502)
        self._weights = rng.integers(1, _HASH_LIMIT, size=_MAX_HASHED_SITES).astype(float)
        names = carriers.populations
        self.names = []
        for parts in HAPLOTYPE_PARTS:
            size = f"1/{parts} window" if parts > 1 else "window"
            self.names += [f"haplotypes distinct {n}, {size}" for n in names]
            self.names += [f"haplotypes homozygosity {n}, {size}" for n in names]
            self.names += [f"haplotypes shared {names[a]},{names[b]}, {size}" for a, b in self._pairs]

    def compute(self, haplotypes: Haplotypes) -> np.ndarray:
        positions = haplotypes.positions[:_MAX_HASHED_SITES]
        values = haplotypes.genotypes[:_MAX_HASHED_SITES].astype(float)
        if not self._phased:
            values = np.add.reduceat(values, self._individual_first, axis=1)
        first = [*np.searchsorted(positions, self._edges).tolist(), len(positions)]
        pieces = np.array([self._weights[a:b] @ values[a:b] for a, b in pairwise(first)])
        hashes = self._contains @ pieces
        summaries = [_distinct_and_homozygosity(hashes[:, columns]) for columns in self._columns]
        distinct = [s[0] for s in summaries]
        shared = [
            distinct[a] + distinct[b] - _distinct(hashes[:, union])
            for (a, b), union in zip(self._pairs, self._unions, strict=True)
        ]
        by_row = np.array(distinct + [s[1] for s in summaries] + shared)
        return (self._average @ by_row.T).ravel()


def _as_slice(columns: np.ndarray) -> slice | np.ndarray:
    """The same columns as a slice where they lie side by side, so that taking them copies nothing."""
    side_by_side = len(columns) > 0 and (np.diff(columns) == 1).all()
    return slice(int(columns[0]), int(columns[-1]) + 1) if side_by_side else columns


def _distinct(hashes: np.ndarray) -> np.ndarray:
    """Number of distinct values in each row."""
    ordered = np.sort(hashes, axis=1)
    return 1 + np.count_nonzero(ordered[:, 1:] != ordered[:, :-1], axis=1)


def _distinct_and_homozygosity(hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number of distinct values in each row, and the sum of their squared frequencies."""
    ordered = np.sort(hashes, axis=1)
    num_rows, size = ordered.shape
    first = np.empty(ordered.shape, dtype=bool)
    first[:, 0] = True
    np.not_equal(ordered[:, 1:], ordered[:, :-1], out=first[:, 1:])
    starts = np.flatnonzero(first)
    runs = np.empty(len(starts))
    runs[:-1] = starts[1:] - starts[:-1]
    runs[-1] = ordered.size - starts[-1]
    row = starts // size
    return np.bincount(row, minlength=num_rows), np.bincount(row, runs * runs, minlength=num_rows) / size**2


class LinkageDisequilibrium:
    """Mean r2 by distance and the share of neighbouring sites with all four gametes, by population.

    r2 as Hill and Robertson (1968, doi:10.1007/BF01245622), between at most 48 sites evenly spaced among those seen at
    least twice; the four-gamete test as Hudson and Kaplan (1985, doi:10.1093/genetics/111.1.147). Unphased data: the
    squared correlation of genotypes, and no four-gamete test.
    """

    def __init__(self, carriers: Chromosomes, length: int, phased: bool):
        self._edges = np.array(LD_EDGES) * length
        self._bin = np.searchsorted(self._edges, np.arange(length + 1), side="left")
        self._phased = phased
        self._first = carriers.first
        population = carriers.population if phased else carriers.population[carriers.first]
        columns = [np.flatnonzero(population == i) for i in range(len(carriers.populations))]
        self._columns = [_as_slice(c) for c in columns]
        self._sizes = np.bincount(carriers.population, minlength=len(columns)).tolist()
        lower = np.concatenate([[0], self._edges[:-1]])
        self.names = []
        for name in carriers.populations:
            self.names += [f"r2 {name}, {a:.0f}-{b:.0f} bp" for a, b in zip(lower, self._edges, strict=True)]
            if phased:
                self.names.append(f"four gametes {name}")

    def compute(self, haplotypes: Haplotypes) -> np.ndarray:
        values = np.maximum(haplotypes.genotypes, 0) if haplotypes.any_missing else haplotypes.genotypes
        if not self._phased:
            values = np.add.reduceat(values, self._first, axis=1)
        derived = haplotypes.allele_counts[0]
        parts = [
            self._of_population(values[:, columns], size, derived[:, i], haplotypes.positions)
            for i, (columns, size) in enumerate(zip(self._columns, self._sizes, strict=True))
        ]
        return np.concatenate(parts)

    def _of_population(self, values: np.ndarray, size: int, counts: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """``values`` (num_sites, rows) 0 to the ploidy, ``counts`` (num_sites,) their sums; ``size`` chromosomes."""
        common = np.flatnonzero((counts >= 2) & (counts <= size - 2))
        gametes = [_four_gametes(values[common], counts[common])] if self._phased else []
        if len(common) > _MAX_LD_SITES:
            common = common[_evenly_spaced(len(common))]
        out = np.zeros(len(self._edges))
        if len(common) >= 2:
            x = values[common].astype(np.float32)
            x -= x.mean(axis=1, keepdims=True)
            variance = np.einsum("ij,ij->i", x, x)
            # A site heterozygous in every individual has no variance of genotypes: it correlates with nothing.
            r2 = (x @ x.T) ** 2 / np.maximum(np.outer(variance, variance), 1e-12)
            upper = _upper_triangle(len(common))
            place = positions[common]
            index = self._bin[(place[None, :] - place[:, None]).ravel()[upper]]
            total = np.bincount(index, weights=r2.ravel()[upper], minlength=len(self._edges))
            pairs = np.bincount(index, minlength=len(self._edges))
            out = total / (pairs + 1.0)
        return np.concatenate([out, gametes])


def _four_gametes(values: np.ndarray, counts: np.ndarray) -> float:
    """Share of neighbouring sites of ``values`` (num_sites, n) 0 or 1, ``counts`` ones each, with all four pairs."""
    if len(values) < 2:
        return 0.0
    bits = np.packbits(values, axis=1)
    both = np.bitwise_count(bits[:-1] & bits[1:]).sum(axis=1, dtype=np.int64)
    only_a, only_b = counts[:-1] - both, counts[1:] - both
    neither = values.shape[1] - both - only_a - only_b
    return float(np.mean((both > 0) & (only_a > 0) & (only_b > 0) & (neither > 0)))


@lru_cache(maxsize=1024)
def _evenly_spaced(size: int) -> np.ndarray:
    """Indices of the sites that are looked at among ``size``."""
    return np.linspace(0, size - 1, _MAX_LD_SITES).astype(int)


@lru_cache(maxsize=2 * _MAX_LD_SITES)
def _upper_triangle(size: int) -> np.ndarray:
    """Flat indices of the pairs i < j of a (size, size) matrix."""
    rows, columns = np.triu_indices(size, k=1)
    return rows * size + columns


class ClassicalStatistics:
    """All classical statistics of a window as one vector; ``names`` say which is which, ``families`` of what kind."""

    def __init__(self, carriers: Chromosomes, length: int, phased: bool):
        self._carriers = carriers
        self._spectrum = JointSpectrum(carriers)
        self._diversity = HaplotypeDiversity(carriers, length, phased)
        self._linkage = LinkageDisequilibrium(carriers, length, phased)
        self.names: Sequence[str] = (*self._spectrum.names, *self._diversity.names, *self._linkage.names)
        self.families = [next(f for start, f in FAMILIES.items() if name.startswith(start)) for name in self.names]

    def compute(self, haplotypes: Haplotypes, derived: np.ndarray, called: np.ndarray) -> np.ndarray:
        """(len(names),) float32; ``derived`` and ``called`` are (num_sites, num_populations) allele counts."""
        return np.concatenate(
            [
                self._spectrum.compute(derived, called),
                self._diversity.compute(haplotypes),
                self._linkage.compute(haplotypes),
            ]
        ).astype(np.float32)


def allele_counts(haplotypes: Haplotypes) -> tuple[np.ndarray, np.ndarray]:
    """Derived (or minor) and called alleles, each int64 (num_sites, num_populations)."""
    return haplotypes.allele_counts
