"""From files to opened genomes: check everything cheap first, read genotypes once into the store, cut windows."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ganinfer.genomes import beds, maps, samples, store
from ganinfer.genomes.dataset import Columns, Genomes, arrange, ploidies
from ganinfer.genomes.fingerprints import digest, fingerprint
from ganinfer.genomes.formats import open_reader
from ganinfer.genomes.notes import notes
from ganinfer.genomes.records import Chunk, Contents, Reader, Selection, restrict, without_duplicates
from ganinfer.genomes.samples import Individual
from ganinfer.genomes.source import FROM_GENOTYPES, GenomeError, GenomeSource, WindowSettings
from ganinfer.genomes.summary import left_out
from ganinfer.genomes.text import reconcile, shorten
from ganinfer.genomes.tiling import tile, too_long
from ganinfer.haplotypes import SampleSet
from ganinfer.windows import intersect, normalise, num_bases, subtract

#: Bytes of unpacked genotypes held in memory at once while reading. No setting of an experiment: it changes nothing
#: that is read, and below some 100 MB in all there is little to gain.
CHUNK_BYTES = 16_000_000
_MAXIMUM_CHUNK_SITES = 20_000
#: A contig without any record is an error where this many were to be expected from the other contigs.
_EXPECTED_RECORDS = 50
_LONGEST_CONTIG = 1 << 40

Groups = Mapping[str, tuple[Individual, ...]]


@dataclass(frozen=True, eq=False)
class _Descriptions:
    """The small files, read: ``groups`` everyone in the populations wanted, where a sample sheet tells."""

    groups: Groups | None
    regions: beds.Bed | None
    accessible: beds.Bed | None
    exclude: tuple[beds.Bed, ...]
    maps: maps.Maps | None


def open_genomes(
    source: GenomeSource, windows: WindowSettings, cache: Path, *, chunk_bytes: int = CHUNK_BYTES
) -> Genomes:
    """Read genomes, or find them in ``cache`` where they were read before, and cut them into windows.

    A store in the cache is keyed by the genotype files' paths, sizes, modification times and first and last 64 KiB, and
    by every setting that decides what is read. It holds the individuals chosen and nobody else, since which sites are
    biallelic is a question to them. Memory while reading is bounded by some six times ``chunk_bytes``.
    Raises GenomeError for anything wrong with the input.
    """
    opened = open_sites(source, windows, cache, chunk_bytes=chunk_bytes)
    try:
        tiling = tile(opened.regions, opened.accessible, opened.maps, windows)
    except GenomeError as error:
        raise (_few_bases(error, opened.store) if source.accessible == FROM_GENOTYPES else error) from None
    columns = opened.columns(window.contig for window in tiling.windows)
    told = notes(source, opened.store.meta, opened.maps, tiling.windows)
    return Genomes(source, windows, opened.store, tiling, columns, told)


@dataclass(frozen=True, eq=False)
class Opened:
    """Genomes in the store, and which stretches of them are of interest: intervals by contig.

    ``accessible`` is ``None`` where all of the ``regions`` are; ``maps`` by contig, ``None`` without any; ``told``: a
    BED file says what the regions are, so that they hold contigs without records, too.
    """

    store: store.Store
    chosen: Groups
    regions: Mapping[str, np.ndarray]
    accessible: Mapping[str, np.ndarray] | None
    maps: Mapping[str, Any] | None
    told: bool = False

    def columns(self, contigs: Iterable[str]) -> Columns:
        """Where the chosen chromosomes lie, of one ploidy on all ``contigs``."""
        names = tuple(individual.name for members in self.chosen.values() for individual in members)
        return arrange(self.chosen, ploidies(self.store, names, tuple(dict.fromkeys(contigs))), self.store)


def open_sites(
    source: GenomeSource, windows: WindowSettings | None, cache: Path, *, chunk_bytes: int = CHUNK_BYTES
) -> Opened:
    """The part of :func:`open_genomes` before windows are cut, from the same store.

    Without ``windows`` nothing is asked of lengths, and contigs whose length nobody knows have no end.
    """
    described = _describe(source)
    folder = cache / _key(source, described)
    if not store.is_complete(folder):
        _read(source, described, windows, folder, chunk_bytes)
    opened = store.Store(folder)
    contents = opened.meta["contents"] if windows is not None else _without_ends(opened.meta["contents"])
    chosen = _choose(source, described.groups or _groups_in_file(source, contents))
    regions = _regions(source, described, contents)
    accessible = _accessible(source, described, contents, regions, opened)
    return Opened(opened, chosen, regions, accessible, _match_maps(described, regions), described.regions is not None)


def _without_ends(contents: Mapping[str, Any]) -> dict[str, Any]:
    """The same, contigs of unknown length as long as any."""
    lengths = {name: length or _LONGEST_CONTIG - 1 for name, length in contents["contigs"].items()}
    return {**contents, "contigs": lengths}


def _few_bases(error: GenomeError, opened: store.Store) -> GenomeError:
    """With what an all-sites file had too little of, once its records were read."""
    bases = sum(num_bases(opened.callable_bases(contig)) for contig in opened.contigs)
    return GenomeError(
        f"{error}. data.accessible: from-genotypes takes the bases that have a record with half of the individuals "
        f"called, here {bases:,} (a file of variants alone has none for the others); {left_out(opened.tally)}"
    )


def check_length(regions: Path, length: int) -> None:
    """Raise GenomeError where no region of a BED file holds a window of ``length`` bases."""
    intervals = beds.read_bed(regions).intervals
    if all((i[:, 1] - i[:, 0]).max(initial=0) < length for i in intervals.values()):
        raise GenomeError(f"{regions}: {too_long(intervals, length)}")


def read_samples(sheet: Path, populations: Mapping[str, int | Literal["all"]]) -> tuple[SampleSet, ...]:
    """Who is asked for, as the sample sheet alone says it: a set a population and sampling time, taken as diploid."""
    groups = samples.wanted(samples.read_sheet(sheet), populations, str(sheet))
    counts = Counter((m.population, m.time) for members in groups.values() for m in members)
    return tuple(SampleSet(population, number, 2, time) for (population, time), number in counts.items())


def _describe(source: GenomeSource) -> _Descriptions:
    groups = None
    if source.samples is not None:
        groups = samples.wanted(samples.read_sheet(source.samples), source.populations, str(source.samples))
    accessible = source.accessible if isinstance(source.accessible, Path) else None
    return _Descriptions(
        groups,
        beds.read_bed(source.regions) if source.regions is not None else None,
        beds.read_bed(accessible) if accessible is not None else None,
        tuple(beds.read_bed(path) for path in source.exclude),
        maps.read_maps(source.recombination_map) if source.recombination_map is not None else None,
    )


def _key(source: GenomeSource, described: _Descriptions) -> str:
    """Name of the store: a digest of all that decides what is in it."""
    regions = described.regions
    values = {
        "version": store.STORE_VERSION,
        "files": [fingerprint(path) for path in source.genotypes],
        "individuals": [dict(source.populations), source.seed]
        if described.groups is None
        else _names(_choose(source, described.groups)),
        "regions": None if regions is None else {c: i.tolist() for c, i in regions.intervals.items()},
        "ancestral": source.ancestral,
        "filters": sorted(source.filters),
        "min_depth": source.min_depth,
        "min_genotype_quality": source.min_genotype_quality,
        "callable_bases": source.accessible == FROM_GENOTYPES,
    }
    return hashlib.blake2b(json.dumps(values, sort_keys=True).encode(), digest_size=16).hexdigest()


def _choose(source: GenomeSource, groups: Groups) -> Groups:
    return samples.choose(groups, source.populations, source.seed)


def _names(groups: Groups) -> tuple[str, ...]:
    return tuple(individual.name for members in groups.values() for individual in members)


def _read(
    source: GenomeSource, described: _Descriptions, windows: WindowSettings | None, folder: Path, chunk_bytes: int
) -> None:
    wanted = None if described.regions is None else described.regions.intervals
    readers = [(path, open_reader(path, wanted)) for path in source.genotypes]
    selection = _check_headers(source, described, readers, windows, chunk_bytes)
    contents = [(path, reader.contents()) for path, reader in readers]
    merged = _merge(contents)
    regions = _regions(source, described, merged if windows is not None else _without_ends(merged))
    matched = _match_maps(described, regions)
    for bed, purpose in _masks(described):
        beds.match(bed, merged["contigs"], purpose)
    if windows is not None and source.accessible != FROM_GENOTYPES:
        # The same as afterwards: what leaves no window is said before genotypes are read.
        tile(regions, _accessible(source, described, merged, regions), matched, windows)
    if described.regions is not None:
        selection = replace(selection, regions=regions)
    files = [{"path": str(path), "format": c.format, "digest": digest(path)} for path, c in contents]
    spelled = [_spellings(path, content, merged["contigs"]) for path, content in contents]
    chunks = without_duplicates(_all_chunks((reader for _, reader in readers), spelled, selection))
    store.build(folder, chunks, selection.individuals, {"contents": merged, "files": files})


def _check_headers(
    source: GenomeSource,
    described: _Descriptions,
    readers: Iterable[tuple[Path, Reader]],
    windows: WindowSettings | None,
    chunk_bytes: int,
) -> Selection:
    """What to read, of all contigs, once every file is known to hold it: a mistake in the last must not cost the
    reading of the first."""
    declared = [(path, reader.declared()) for path, reader in readers]
    merged = _merge(declared)
    groups = described.groups or _groups_in_file(source, merged)
    for path, content in declared:
        samples.check_present(_names(groups), content.individuals, str(source.samples or declared[0][0]), path)
    individuals = _names(_choose(source, groups))
    selection = Selection(
        individuals,
        None,
        source.ancestral,
        frozenset(source.filters),
        source.min_depth,
        source.min_genotype_quality,
        source.accessible == FROM_GENOTYPES,
        min(_MAXIMUM_CHUNK_SITES, max(1, chunk_bytes // (2 * len(individuals)))),
    )
    for _, reader in readers:
        reader.check(selection)
    if windows is not None:
        _check_enough(source, described, merged, windows)
    return selection


def _check_enough(
    source: GenomeSource, described: _Descriptions, declared: dict[str, Any], windows: WindowSettings
) -> None:
    """Windows and blocks there would be, had every contig of the headers records: fewer than needed is soon said.

    Headers may leave out contigs and lengths; then this has to wait until the files are read.
    """
    contigs = declared["contigs"]
    named = [bed for bed, _ in _masks(described)] + ([described.regions] if described.regions is not None else [])
    if any(reconcile(name, contigs) is None for bed in named for name in bed.intervals):
        return
    if described.regions is None and any(_length(source, described, declared, c) is None for c in contigs):
        return
    full = {**declared, "records": dict.fromkeys(contigs, 1)}
    regions = _regions(source, described, full)
    if not regions:
        return
    mask = None if source.accessible == FROM_GENOTYPES else _accessible(source, described, full, regions)
    tile(regions, mask, None, windows)


def _all_chunks(
    readers: Iterable[Reader], spelled: Iterable[Mapping[str, str]], selection: Selection
) -> Iterator[Chunk]:
    """Chunks of all files; each reader is asked in its own file's names of contigs."""
    regions = selection.regions
    for reader, names in zip(readers, spelled, strict=True):
        own = None if regions is None else {own: regions[name] for own, name in names.items() if name in regions}
        for chunk in reader.chunks(replace(selection, regions=own)):
            yield restrict(replace(chunk, contig=names[chunk.contig]), regions)


def _merge(contents: Iterable[tuple[Path, Contents]]) -> dict[str, Any]:
    """All files' contents together, as JSON values that the store keeps; contigs as the first file spells them."""
    contigs: dict[str, int | None] = {}
    records: dict[str, int] = {}
    covered: dict[str, list[list[int]]] = {}
    filters: list[tuple[str, ...] | None] = []
    first: Contents | None = None
    for path, content in contents:
        first = first or content
        filters.append(content.filters)
        for own, name in _spellings(path, content, contigs).items():
            length, known = content.contigs[own], contigs.get(name)
            if known is not None and length is not None and known != length:
                raise GenomeError(
                    f"{path}: contig {own} is {length} bases long, {known} in an earlier file; one reference is needed"
                )
            contigs[name] = known if known is not None else length
            if own in content.records:
                records[name] = records.get(name, 0) + content.records[own]
            if content.covered and own in content.covered:
                covered[name] = [*covered.get(name, []), *content.covered[own]]
    assert first is not None
    return {
        "individuals": list(first.individuals),
        "populations": first.populations,
        "times": first.times,
        "contigs": contigs,
        "records": records,
        "covered": covered,
        "filters": None if None in filters else sorted({name for names in filters for name in names or ()}),
    }


def _spellings(path: Path, content: Contents, known: Iterable[str]) -> dict[str, str]:
    """The name that each of a file's contigs has among all files': ``chr1`` is ``1`` where that came before.

    A second spelling inside one file counts only if it has records, and then the first must have none.
    """
    known = frozenset(known)
    names: dict[str, str] = {}
    taken: dict[str, str] = {}
    for own in sorted(content.contigs, key=lambda c: not content.records.get(c)):
        name = reconcile(own, known) or reconcile(own, taken) or own
        if name not in taken:
            names[own], taken[name] = name, own
        elif content.records.get(own):
            raise GenomeError(
                f"{path}: records on contig {taken[name]} and on contig {own}, which are taken for the same one; "
                "give each contig one name (bcftools annotate --rename-chrs)"
            )
    return {own: names[own] for own in content.contigs if own in names}


def _groups_in_file(source: GenomeSource, contents: Mapping[str, Any]) -> Groups:
    """Without a sample sheet: populations as the file names them, else all are of the one population asked for."""
    names, where = contents["individuals"], str(source.genotypes[0])
    populations, times = contents["populations"], contents["times"]
    if populations is None:
        if len(source.populations) != 1:
            raise GenomeError(
                f"{where}: the file does not say who belongs to which population; name a sample sheet in data.samples "
                "(columns sample and population), or exactly one population in data.populations"
            )
        populations = list(source.populations) * len(names)
    times = times or [0.0] * len(names)
    sheet = [Individual(*row) for row in zip(names, populations, times, strict=True)]
    return samples.wanted(sheet, source.populations, where)


def _masks(described: _Descriptions) -> list[tuple[beds.Bed, str]]:
    masks = [(bed, "excluded intervals") for bed in described.exclude]
    return masks + ([(described.accessible, "accessible intervals")] if described.accessible is not None else [])


def _regions(source: GenomeSource, described: _Descriptions, contents: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Regions by contig in the genotypes' order; whole contigs with records when no BED says otherwise."""
    lengths = {c: _length(source, described, contents, c) for c in contents["contigs"]}
    if described.regions is None:
        covered = contents["covered"]
        return {
            c: normalise(np.array(covered.get(c) or [[0, _known(c, lengths[c])]]))
            for c in lengths
            if contents["records"].get(c)
        }
    matched = beds.match(described.regions, contents["contigs"], "regions", every=True)
    for contig, intervals in matched.items():
        length = lengths[contig]
        if length is not None and intervals[-1, 1] > length:
            raise GenomeError(
                f"{described.regions.path}: a region of contig {contig} ends at {intervals[-1, 1]}, "
                f"the contig at {length}"
            )
    _check_records(described.regions, matched, contents["records"])
    return {contig: matched[contig] for contig in contents["contigs"] if contig in matched}


def _check_records(bed: beds.Bed, regions: Mapping[str, np.ndarray], records: Mapping[str, int]) -> None:
    """A contig without a record is believed only where chance could make it so."""
    with_records = [contig for contig in regions if records.get(contig)]
    if not with_records:
        raise GenomeError(
            f"{bed.path}: regions name contig {shorten(regions)}, the genotypes have records on {shorten(records)}: "
            "none in common"
        )
    density = sum(records[c] for c in with_records) / sum(num_bases(regions[c]) for c in with_records)
    for contig, intervals in regions.items():
        expected = density * num_bases(intervals)
        if not records.get(contig) and expected > _EXPECTED_RECORDS:
            raise GenomeError(
                f"{bed.path}: regions name contig {contig}, on which the genotypes have no record where some "
                f"{expected:.0f} are to be expected; leave it out or add its genotypes"
            )


def _length(source: GenomeSource, described: _Descriptions, contents: Mapping[str, Any], contig: str) -> int | None:
    """A contig's length: as the user says, else the genotypes' header, else as far as the map goes."""
    told = source.contig_lengths or {}
    name = reconcile(contig, told)
    if name is not None:
        if told[name] < 1:
            raise GenomeError(f"data.contig_lengths.{name} must be at least 1 base, got {told[name]}")
        return told[name]
    length: int | None = contents["contigs"][contig]
    if length is None and described.maps is not None:
        length = described.maps.length(contig)
    if length is not None and not 0 < length < _LONGEST_CONTIG:
        raise GenomeError(f"contig {contig}: its length in the genotypes' header is {length}; no contig is that long")
    return length


def _known(contig: str, length: int | None) -> int:
    if length is None:
        raise GenomeError(
            f"the length of contig {contig} is not known: neither the genotypes' header nor a recombination map tells "
            "it; give data.contig_lengths, or data.regions"
        )
    return length


def _match_maps(described: _Descriptions, regions: Mapping[str, np.ndarray]) -> dict[str, Any] | None:
    return None if described.maps is None else described.maps.match(regions)


def _accessible(
    source: GenomeSource,
    described: _Descriptions,
    contents: Mapping[str, Any],
    regions: Mapping[str, np.ndarray],
    opened: store.Store | None = None,
) -> dict[str, np.ndarray] | None:
    """Accessible bases inside the regions without the excluded ones, or ``None`` when all are.

    The store is needed where the genotypes say what is accessible.
    """
    if source.accessible is None and not described.exclude:
        return None
    accessible = dict(regions)
    if described.accessible is not None:
        mask = beds.match(described.accessible, regions, "accessible intervals")
        accessible = {c: intersect(i, mask.get(c, i[:0])) for c, i in accessible.items()}
    elif source.accessible == FROM_GENOTYPES:
        assert opened is not None
        accessible = {
            c: intersect(i, opened.callable_bases(c)) if c in opened.contigs else i[:0] for c, i in accessible.items()
        }
    for bed in described.exclude:
        mask = beds.match(bed, contents["contigs"], "excluded intervals")
        accessible = {c: subtract(i, mask[c]) if c in mask else i for c, i in accessible.items()}
    return accessible
