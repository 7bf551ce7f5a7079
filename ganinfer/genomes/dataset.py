"""Real genomes, opened: windows, their templates, and the haplotypes of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

import numpy as np

from ganinfer.genomes.notes import without_sites
from ganinfer.genomes.samples import Individual
from ganinfer.genomes.source import GenomeError, GenomeSource, WindowSettings
from ganinfer.genomes.store import Store
from ganinfer.genomes.summary import diversity, left_out
from ganinfer.genomes.tiling import Tiling
from ganinfer.haplotypes import MISSING, Haplotypes, SampleSet, chromosomes
from ganinfer.interfaces import WindowTemplate
from ganinfer.pipeline import missing_rows
from ganinfer.windows import Window, contains, num_bases

#: A window's share of unusable ancestral alleles counts as so many sites with the mean share besides its own, so that
#: it stays below 1 and few sites don't make it noisy.
_PRIOR_SITES = 20


@dataclass(frozen=True, eq=False)
class Columns:
    """Where the chosen chromosomes lie: design and columns of the store."""

    samples: tuple[SampleSet, ...]
    individuals: tuple[str, ...]
    columns: np.ndarray


def arrange(chosen: Mapping[str, tuple[Individual, ...]], ploidy: Mapping[str, int], store: Store) -> Columns:
    """Sample sets by population, then sampling time, then higher ploidy first; individuals in the sheet's order."""
    index = {name: i for i, name in enumerate(store.individuals)}
    sets: list[SampleSet] = []
    names: list[str] = []
    columns: list[int] = []
    for population, members in chosen.items():
        order = sorted(members, key=lambda m: (m.time, -ploidy[m.name]))
        for (time, copies), group in groupby(order, key=lambda m: (m.time, ploidy[m.name])):
            alike = [m.name for m in group]
            sets.append(SampleSet(population, len(alike), copies, time))
            names += alike
            columns += [index[name] * store.ploidy + slot for name in alike for slot in range(copies)]
    return Columns(tuple(sets), tuple(names), np.array(columns, dtype=np.int64))


def ploidies(store: Store, individuals: tuple[str, ...], contigs: tuple[str, ...]) -> dict[str, int]:
    """Ploidy of each individual, the same on all ``contigs``; one never called gets the others' highest.

    Raises GenomeError where contigs differ: one design serves all windows.
    """
    known = {name: i for i, name in enumerate(store.individuals)}
    rows = np.array([known[name] for name in individuals])
    present = [store.contigs[c] for c in contigs if c in store.contigs]
    table = np.array([c.ploidy[rows] for c in present]).reshape(len(present), len(rows))
    highest = table.max(axis=0, initial=0)
    differs = np.argwhere((table > 0) & (table < highest))
    if len(differs):
        contig, sample = differs[0]
        other = int(table[:, sample].argmax())
        raise GenomeError(
            f"sample {individuals[sample]} has {table[contig, sample]} chromosomes of contig {present[contig].name} "
            f"but {highest[sample]} of {present[other].name}; analyse contigs of different ploidy in separate "
            "experiments (data.regions limits the contigs)"
        )
    fallback = int(highest.max(initial=0)) or 2
    return {name: int(p) or fallback for name, p in zip(individuals, highest, strict=True)}


class Genomes:
    """Real genomes in windows. ``windows`` and ``templates`` have the same order; :meth:`haplotypes` takes an index."""

    def __init__(
        self,
        source: GenomeSource,
        settings: WindowSettings,
        store: Store,
        tiling: Tiling,
        columns: Columns,
        notes: Sequence[str] = (),
    ) -> None:
        self.source = source
        self.settings = settings
        self.windows: tuple[Window, ...] = tiling.windows
        self.rejected: Mapping[str, int] = tiling.rejected
        self.samples: tuple[SampleSet, ...] = columns.samples
        self.individuals: tuple[str, ...] = columns.individuals
        self.notes = tuple(notes)
        self._store = store
        self._columns = columns.columns
        self._carriers = chromosomes(columns.samples)
        self._limits = self._find_limits()
        self._accessible, self._keep = self._choose_sites()
        if empty := without_sites(self.windows, self._sites()):
            self.notes = (*self.notes, empty)

    @property
    def phased(self) -> bool:
        """What the source says, else whether every heterozygous genotype was written as phased."""
        if self.source.phased is not None:
            return self.source.phased
        return int(self._store.meta["num_unphased"]) == 0

    @property
    def polarised(self) -> bool:
        return self.source.ancestral != "none"

    def _find_limits(self) -> np.ndarray:
        """(num_windows, 2) rows of the store, from and to."""
        limits = np.zeros((len(self.windows), 2), dtype=np.int64)
        by_contig: dict[str, list[int]] = {}
        for i, window in enumerate(self.windows):
            by_contig.setdefault(window.contig, []).append(i)
        for name, members in by_contig.items():
            contig = self._store.contigs.get(name)
            if contig is not None:
                positions = self._store.positions[contig.start : contig.stop]
                edges = np.array([[self.windows[i].left, self.windows[i].right] for i in members])
                limits[members] = contig.start + np.searchsorted(positions, edges)
        return limits

    def _choose_sites(self) -> tuple[np.ndarray, np.ndarray]:
        """bool (num_sites,) of the whole store: in a window's accessible bases; and of those with a usable ancestor."""
        accessible = np.zeros(len(self._store.positions), dtype=bool)
        for window, (start, stop) in zip(self.windows, self._limits, strict=True):
            inside = contains(window.accessible, self._store.positions[start:stop] - window.left)
            accessible[start:stop] = inside
        if not accessible.any():
            raise GenomeError(
                f"{self.source.genotypes[0]}: no biallelic SNP in the {len(self.windows):,} windows; "
                f"{left_out(self._store.tally)}"
            )
        if not self.polarised:
            return accessible, accessible
        usable = accessible & (np.asarray(self._store.ancestral) >= 0)
        if not usable.any():
            raise GenomeError(
                f"data.ancestral: {self.source.ancestral} gives no site of the kept windows an ancestral allele that "
                "is one of its two alleles; use none to fold"
            )
        return accessible, usable

    def _sites(self) -> np.ndarray:
        """Variable sites (n,) in each window's accessible bases, usable or not."""
        before = np.concatenate([[0], np.cumsum(self._accessible)])
        return np.asarray(before[self._limits[:, 1]] - before[self._limits[:, 0]])

    def haplotypes(self, index: int) -> Haplotypes:
        """The chosen individuals in one window, polarised where ancestral alleles are used, before the pipeline."""
        window = self.windows[index]
        start, stop = self._limits[index]
        keep = self._keep[start:stop]
        genotypes = self._unpack(self._store.alleles[start:stop][keep]).view(np.int8)
        if self.polarised:
            genotypes ^= self._store.ancestral[start:stop][keep][:, None]
        missing = self._missing(start, stop, keep)
        if missing is not None:
            genotypes[missing.view(bool)] = MISSING
        positions = self._store.positions[start:stop][keep] - window.left
        return Haplotypes(genotypes, positions, self._carriers, self.phased)

    def _unpack(self, rows: np.ndarray) -> np.ndarray:
        """uint8 (num_sites, num_chromosomes) of packed rows, chosen chromosomes in the design's order."""
        bits = np.unpackbits(rows, axis=1, count=len(self._store.individuals) * self._store.ploidy)
        return np.take(bits, self._columns, axis=1)

    def _missing(self, start: int, stop: int, keep: np.ndarray) -> np.ndarray | None:
        plane = self._store.missing
        return None if plane is None else self._unpack(plane[start:stop][keep])

    @cached_property
    def templates(self) -> tuple[WindowTemplate, ...]:
        """What a simulated window has to resemble, one a window."""
        return tuple(self._template(i) for i in range(len(self.windows)))

    def _template(self, index: int) -> WindowTemplate:
        window = self.windows[index]
        complete = num_bases(window.accessible) == window.length
        return WindowTemplate(
            window.length,
            None if complete else window.accessible,
            window.recombination,
            missing_rows(self.haplotypes(index)) if self._store.missing is not None else None,
            float(self._unusable[index]),
        )

    @cached_property
    def _unusable(self) -> np.ndarray:
        """(num_windows,) share of sites whose ancestral allele is not known, drawn a little towards the mean."""
        if not self.polarised:
            return np.zeros(len(self.windows))
        sums = np.concatenate([[0], np.cumsum(self._accessible)]), np.concatenate([[0], np.cumsum(self._keep)])
        sites, usable = (s[self._limits[:, 1]] - s[self._limits[:, 0]] for s in sums)
        mean = 1 - usable.sum() / max(sites.sum(), 1)
        return (sites - usable + _PRIOR_SITES * mean) / (sites + _PRIOR_SITES)

    @cached_property
    def _counts(self) -> tuple[list[tuple[np.ndarray, np.ndarray]], int, int]:
        """Each window's (derived, called) counts, missing calls and all calls."""
        counts, missing, cells = [], 0, 0
        for i in range(len(self.windows)):
            genotypes = self.haplotypes(i).genotypes
            called = np.stack([(genotypes[:, c] >= 0).sum(axis=1) for c in self._carriers.columns], axis=1)
            derived = np.stack([(genotypes[:, c] == 1).sum(axis=1) for c in self._carriers.columns], axis=1)
            counts.append((derived, called))
            cells += genotypes.size
            missing += genotypes.size - int(called.sum())
        return counts, missing, cells

    @property
    def num_unusable(self) -> int:
        """Sites in windows' accessible bases that are left out as their ancestral allele is not known."""
        return int(self._accessible.sum()) - int(self._keep.sum())

    @property
    def num_missing(self) -> int:
        """Missing alleles of the chosen individuals over all windows' sites."""
        return self._counts[1] if self._store.missing is not None else 0

    def summary(self) -> dict[str, Any]:
        """What was read, kept and dropped, and the diversity of the kept windows; JSON values."""
        counts, missing, cells = self._counts
        bases = sum(w.num_accessible for w in self.windows)
        return {
            **self.inputs(),
            "windows": {
                "kept": len(self.windows),
                "rejected": dict(self.rejected),
                "length": self.settings.length,
                "blocks": len({w.block for w in self.windows}),
                "accessible_bases": bases,
            },
            "sites": int(self._keep.sum()),
            "missing": missing / cells if cells else 0.0,
            "unusable_ancestral": 1 - int(self._keep.sum()) / max(int(self._accessible.sum()), 1),
            "mean_recombination_rate": self._mean_recombination_rate(),
            "diversity": diversity(counts, bases, self._carriers.populations),
        }

    def inputs(self) -> dict[str, Any]:
        """What was read and left out, whatever the windows; JSON values."""
        meta = self._store.meta
        names = iter(self.individuals)
        chosen: dict[str, list[str]] = {}
        for s in self.samples:
            chosen.setdefault(s.population, []).extend(next(names) for _ in range(s.num_individuals))
        return {
            "genotypes": meta["files"],
            "individuals": chosen,
            "samples": [
                {"population": s.population, "individuals": s.num_individuals, "ploidy": s.ploidy, "time": s.time}
                for s in self.samples
            ],
            "seed": self.source.seed,
            "phased": self.phased,
            "heterozygous_genotypes": meta["num_heterozygous"],
            "unphased_genotypes": meta["num_unphased"],
            "ancestral": self.source.ancestral,
            **self._store.tally,
            **({"notes": list(self.notes)} if self.notes else {}),
        }

    def _mean_recombination_rate(self) -> float | None:
        rates = [w.recombination.mean_rate for w in self.windows if w.recombination is not None]
        return float(np.mean(rates)) if rates else None
