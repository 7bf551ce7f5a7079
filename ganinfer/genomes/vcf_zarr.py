"""VCF Zarr, a folder or a zip archive, by zarr (an optional extra)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ganinfer.genomes import records
from ganinfer.genomes.records import Chunk, Contents, Selection
from ganinfer.genomes.source import ANY_FILTER, GenomeError
from ganinfer.windows import contains, normalise

_REQUIRED = ("call_genotype", "contig_id", "sample_id", "variant_allele", "variant_contig", "variant_position")
#: Genotypes are read by the archive's own chunks of variants where these are not larger than this, in bytes.
_LARGEST_READ = 256_000_000


class VcfZarrReader:
    """One VCF Zarr store, as bio2zarr writes it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def _root(self) -> Any:
        try:
            import zarr
        except ImportError:
            raise GenomeError(
                f"{self.path}: reading VCF Zarr needs zarr; install it with: pip install 'ganinfer[zarr]'"
            ) from None
        try:
            store = str(self.path) if self.path.is_dir() else zarr.storage.ZipStore(str(self.path), mode="r")
            root = zarr.open_group(store, mode="r")
        except Exception as error:  # zarr, zip and the codecs each have their own
            raise GenomeError(f"{self.path}: no VCF Zarr that zarr can open: {error}") from error
        if missing := [name for name in _REQUIRED if name not in root]:
            hint = (
                "genotypes are needed" if missing == ["call_genotype"] else "is it a VCF Zarr (bio2zarr writes them)?"
            )
            raise GenomeError(f"{self.path}: the array {missing[0]} is missing; {hint}")
        return root

    def _read(self, name: str, rows: slice = slice(None)) -> np.ndarray:
        try:
            return np.asarray(self._root[name][rows])
        except Exception as error:  # as above
            raise GenomeError(f"{self.path}: array {name} cannot be read: {error}") from error

    @cached_property
    def _contigs(self) -> tuple[str, ...]:
        return tuple(str(name) for name in self._read("contig_id"))

    @cached_property
    def _variants(self) -> tuple[np.ndarray, np.ndarray]:
        """Contig number and position (1-based) of each record; in order."""
        contig, position = self._read("variant_contig"), self._read("variant_position").astype(np.int64)
        if len(contig) == 0:
            raise GenomeError(f"{self.path}: it holds no record; at least one variant is needed")
        if len(contig) != len(position) or contig.min() < 0 or contig.max() >= len(self._contigs):
            raise GenomeError(f"{self.path}: variant_contig does not fit contig_id and variant_position; it is damaged")
        new = np.concatenate([[True], contig[1:] != contig[:-1]])
        back = np.flatnonzero(~new[1:] & (np.diff(position) < 0))
        if len(back):
            i = int(back[0])
            name = self._contigs[contig[i]]
            raise GenomeError(
                f"{self.path}: record {i + 2} at {name}:{position[i + 1]} comes after {name}:{position[i]}; "
                "positions must not decrease"
            )
        if new.sum() != len(np.unique(contig)):
            raise GenomeError(f"{self.path}: records return to a contig left before; a contig's records stand together")
        return contig, position

    def contents(self) -> Contents:
        contig, _ = self._variants
        lengths = [int(n) for n in self._read("contig_length")] if "contig_length" in self._root else None
        numbers, counts = np.unique(contig, return_counts=True)
        return Contents(
            "VCF Zarr",
            tuple(str(name) for name in self._read("sample_id")),
            {name: lengths[i] if lengths and lengths[i] > 0 else None for i, name in enumerate(self._contigs)},
            {self._contigs[i]: int(count) for i, count in zip(numbers, counts, strict=True)},
            filters=tuple(str(name) for name in self._read("filter_id")) if "filter_id" in self._root else None,
        )

    def declared(self) -> Contents:
        return self.contents()

    def chunks(self, selection: Selection) -> Iterator[Chunk]:
        contig, position = self._variants
        names = [str(name) for name in self._read("sample_id")]
        samples = np.array([names.index(name) for name in selection.individuals])
        step = self._step(selection, len(samples))
        starts = np.flatnonzero(np.concatenate([[True], contig[1:] != contig[:-1]]))
        for first, last in zip(starts, [*starts[1:], len(contig)], strict=True):
            for start in range(first, last, step):
                rows = slice(start, min(start + step, last))
                yield self._chunk(self._contigs[contig[first]], position[rows] - 1, rows, samples, selection)

    def _step(self, selection: Selection, num_samples: int) -> int:
        genotypes = self._root["call_genotype"]
        chunk = int(genotypes.chunks[0])
        fits = chunk * num_samples * genotypes.shape[2] <= _LARGEST_READ
        return max(chunk, selection.chunk_sites // chunk * chunk) if fits else selection.chunk_sites

    def check(self, selection: Selection) -> None:
        needed = [
            (f"variant_{selection.ancestral}", selection.ancestral not in ("none", "REF"), "data.ancestral"),
            *((f"call_{key}", True, f"data.{name}") for name, key, _ in selection.least),
        ]
        for name, wanted, purpose in needed:
            if wanted and name not in self._root:
                raise GenomeError(f"{self.path}: there is no array {name}, needed for {purpose}")

    def _chunk(
        self, contig: str, positions: np.ndarray, rows: slice, samples: np.ndarray, selection: Selection
    ) -> Chunk:
        alleles = [[str(row[0]), *(str(a) for a in row[1:] if a)] for row in self._read("variant_allele", rows)]
        listed = self._reasons(contig, positions, alleles, rows, selection)
        genotypes = self._genotypes(rows, samples)
        masked = self._mask(genotypes, rows, samples, selection, listed)
        called = (genotypes >= 0).any(axis=2).mean(axis=1) >= records.MINIMUM_CALLED
        reasons, pairs = self._judge(contig, positions, alleles, listed, genotypes, selection.ancestral)
        site = np.array([r is None or r == records.MULTI_ALLELIC for r in reasons], dtype=bool)
        spans = np.empty((0, 2), dtype=np.int64)
        if selection.callable_bases:
            usable = site | np.array([r == records.INVARIANT for r in reasons], dtype=bool)
            spans = self._spans(positions, rows)[called & usable]
            reasons = [records.UNCALLED if u and not c else r for r, u, c in zip(reasons, usable, called, strict=True)]
            site &= called
        biallelic = np.array([r is None for r in reasons], dtype=bool)[site]
        genotypes = genotypes[site]
        mixed = records.heterozygous(genotypes) & biallelic[:, None]
        return Chunk(
            contig,
            positions[site],
            genotypes,
            self._ancestral(alleles, pairs, rows, selection)[site],
            biallelic,
            normalise(spans),
            len(positions),
            Counter(str(r) for r, kept in zip(reasons, site, strict=True) if not kept),
            int((mixed & ~self._phased(rows, samples)[site]).sum()),
            int(mixed.sum()),
            masked,
        )

    def _reasons(
        self, contig: str, positions: np.ndarray, alleles: list[list[str]], rows: slice, selection: Selection
    ) -> list[str | None]:
        """Why a record is left out, as far as that is seen without genotypes."""
        keep = self._passes(rows, selection.filters)
        inside = np.ones(len(positions), dtype=bool)
        if selection.regions is not None:
            inside = contains(selection.regions.get(contig, np.empty((0, 2), dtype=np.int64)), positions)
        listed = [None if records.several(a[0], a[1:]) else records.classify(a[0], a[1:]) for a in alleles]
        return [
            records.OUTSIDE if not i else records.FILTERED if not k else reason
            for reason, i, k in zip(listed, inside, keep, strict=True)
        ]

    def _judge(
        self,
        contig: str,
        positions: np.ndarray,
        alleles: list[list[str]],
        listed: list[str | None],
        genotypes: np.ndarray,
        ancestral: str,
    ) -> tuple[list[str | None], list[tuple[int, int]]]:
        """Reasons, and the two alleles, of records; ``genotypes`` with several alternatives are numbered anew."""
        highest = genotypes.max(axis=(1, 2), initial=0).tolist()
        reasons, pairs = list(listed), [(0, 1)] * len(alleles)
        for i, (reference, *alternatives) in enumerate(alleles):
            if listed[i] is not None:
                continue
            if highest[i] > len(alternatives):
                raise GenomeError(
                    f"{self.path}: a genotype at {contig}:{positions[i] + 1} has allele {highest[i]}, the record has "
                    f"{len(alternatives)} alternative{'s' * (len(alternatives) > 1)}; the archive is damaged"
                )
            if records.several(reference, alternatives):
                seen = np.unique(genotypes[i][genotypes[i] >= 0])
                reasons[i], pairs[i] = records.judge(reference, alternatives, seen, ancestral)
                genotypes[i] = records.recode(genotypes[i], pairs[i])
        return reasons, pairs

    def _passes(self, rows: slice, filters: frozenset[str]) -> np.ndarray:
        """bool (num_records,): no filter outside ``filters`` is set; none set at all stands for ``.``."""
        if ANY_FILTER in filters or "variant_filter" not in self._root:
            return np.ones(rows.stop - rows.start, dtype=bool)
        values = self._read("variant_filter", rows)
        allowed = np.array([str(name) in filters for name in self._read("filter_id")], dtype=bool)
        passes = ~values[:, ~allowed].any(axis=1)
        return np.asarray(passes if "." in filters else passes & values.any(axis=1))

    def _values(self, name: str, rows: slice, samples: np.ndarray) -> np.ndarray:
        try:
            return np.asarray(self._root[name].oindex[rows, samples])
        except Exception as error:  # zarr and the codecs each have their own
            raise GenomeError(f"{self.path}: genotypes cannot be read: {error}") from error

    def _genotypes(self, rows: slice, samples: np.ndarray) -> np.ndarray:
        genotypes = self._values("call_genotype", rows, samples)
        return np.minimum(genotypes, np.iinfo(np.int8).max).astype(np.int8)

    def _mask(
        self, genotypes: np.ndarray, rows: slice, samples: np.ndarray, selection: Selection, listed: list[str | None]
    ) -> Counter[str]:
        """Makes doubtful genotypes missing; how many of those that matter were."""
        masked: Counter[str] = Counter()
        invariant = np.array([r == records.INVARIANT for r in listed], dtype=bool)[:, None]
        matter = np.array([r is None for r in listed], dtype=bool)[:, None] | (invariant & selection.callable_bases)
        for name, key, least in selection.least:
            values = self._values(f"call_{key}", rows, samples)
            if (instead := f"call_{records.OF_INVARIANT[key]}") in self._root:
                other = self._values(instead, rows, samples)
                values = np.where(invariant & (other >= 0).any(axis=1, keepdims=True), other, values)
            below = ~(values >= least)
            masked[name] = int((below & matter & (genotypes >= 0).any(axis=2)).sum())
            genotypes[below] = -1
        return masked

    def _phased(self, rows: slice, samples: np.ndarray) -> np.ndarray:
        """bool (num_records, num_samples); without the array nothing is."""
        if "call_genotype_phased" not in self._root:
            return np.zeros((rows.stop - rows.start, len(samples)), dtype=bool)
        return np.asarray(self._root["call_genotype_phased"].oindex[rows, samples], dtype=bool)

    def _spans(self, positions: np.ndarray, rows: slice) -> np.ndarray:
        lengths = self._read("variant_length", rows) if "variant_length" in self._root else 1
        return np.stack([positions, positions + np.maximum(lengths, 1)], axis=1)

    def _ancestral(
        self, alleles: list[list[str]], pairs: list[tuple[int, int]], rows: slice, selection: Selection
    ) -> np.ndarray:
        if selection.ancestral in ("none", "REF"):
            return np.zeros(len(alleles), dtype=np.int8)
        values = self._read(f"variant_{selection.ancestral}", rows).reshape(len(alleles), -1)[:, 0]
        return np.array(
            [
                records.polarity(row[a], row[b], str(value)) if max(a, b) < len(row) else 0
                for row, (a, b), value in zip(alleles, pairs, values, strict=True)
            ],
            dtype=np.int8,
        )
