"""What an experiment says of genomes without effect, or with more than it seems: no mistake, but worth a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ganinfer.genomes.source import ANY_FILTER, GenomeSource
from ganinfer.genomes.text import reconcile, shorten
from ganinfer.windows import RecombinationMap, Window

#: Fewer unphased heterozygotes than this share are more likely an oversight than unphased data.
_FEW = 0.1
#: Of so many sites on average a window without any is no chance.
_MANY = 20


def notes(
    source: GenomeSource,
    meta: Mapping[str, Any],
    maps: Mapping[str, RecombinationMap] | None,
    windows: Sequence[Window],
) -> tuple[str, ...]:
    """Sentences for whoever checks an experiment; ``meta`` is the store's."""
    contents = meta["contents"]
    found = (
        _unknown_lengths(source, contents["contigs"]),
        _unknown_filters(source, contents["filters"]),
        _short_maps(maps, windows),
        _few_unphased(source, meta["num_unphased"], meta["num_heterozygous"]),
    )
    return tuple(note for note in found if note is not None)


def without_sites(windows: Sequence[Window], sites: np.ndarray) -> str | None:
    """Of windows, and how many variable sites (n,) each has: those that have none where chance can't explain it."""
    empty = np.asarray(sites) == 0
    if not empty.any() or empty.all() or (mean := float(np.mean(sites[~empty]))) < _MANY:
        return None
    runs: list[list[Window]] = []
    for k in np.flatnonzero(empty).tolist():
        window = windows[k]
        if k > 0 and empty[k - 1] and windows[k - 1].contig == window.contig:
            runs[-1].append(window)
        else:
            runs.append([window])
    longest = max(runs, key=len)
    first, last = longest[0], longest[-1]
    return (
        f"{empty.sum():,} of {len(windows):,} windows have no variable site, where the others have some {mean:,.0f}; "
        f"the longest run of them is {first.contig}:{first.left + 1:,}-{last.right:,}. They count as genome without "
        "variation, and diversity as too low: if nothing could be called there (a centromere, an assembly gap), name "
        "where there is data in data.regions or data.accessible"
    )


def _unknown_lengths(source: GenomeSource, contigs: Mapping[str, Any]) -> str | None:
    unknown = [name for name in source.contig_lengths or {} if reconcile(name, contigs) is None]
    if not unknown:
        return None
    return f"data.contig_lengths: {shorten(unknown)} is no contig of the genotypes, which have {shorten(contigs)}"


def _unknown_filters(source: GenomeSource, defined: Sequence[str] | None) -> str | None:
    """``defined`` by the files' headers; ``None`` where a file has no filters."""
    if defined is None:
        return None
    unknown = [name for name in source.filters if name not in ("PASS", ".", ANY_FILTER, *defined)]
    if not unknown:
        return None
    return (
        f"data.filters: no header defines a FILTER {shorten(unknown)}, so it may never occur; "
        f"defined: {shorten(defined, 10) or 'none'}"
    )


def _short_maps(maps: Mapping[str, RecombinationMap] | None, windows: Sequence[Window]) -> str | None:
    if maps is None:
        return None
    # A map's last row stands on the last base that it tells of.
    ends = {contig: (m.positions[0], m.positions[-1] + 1) for contig, m in maps.items()}
    beyond = [w for w in windows if w.left < ends[w.contig][0] or w.right > ends[w.contig][1]]
    if not beyond:
        return None
    return (
        f"data.recombination_map: {len(beyond):,} of {len(windows):,} windows reach beyond the ends of the map, the "
        f"first at {beyond[0].contig}:{beyond[0].left + 1}; the map's outermost rates go on there"
    )


def _few_unphased(source: GenomeSource, num_unphased: int, num_heterozygous: int) -> str | None:
    if source.phased and num_unphased > _FEW * num_heterozygous:
        return (
            f"data.phased is true, but {num_unphased:,} of {num_heterozygous:,} heterozygous genotypes are unphased: "
            "the order of their alleles, which means nothing, is taken for haplotypes; leave data.phased out"
        )
    if source.phased is not None or not 0 < num_unphased < _FEW * num_heterozygous:
        return None
    return (
        f"{num_unphased:,} of {num_heterozygous:,} heterozygous genotypes are unphased, so all are taken for unphased; "
        "data.phased: true takes all for phased"
    )
