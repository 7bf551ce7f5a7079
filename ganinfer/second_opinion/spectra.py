"""The joint site frequency spectrum of real windows, by groups of blocks that a bootstrap draws.

Where calls are missing, the spectrum is projected to fewer chromosomes: a site with more calls counts in the cells that
a random subset of these would give (Gutenkunst et al. 2009, doi:10.1371/journal.pgen.1000695).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ganinfer.haplotypes import chromosomes
from ganinfer.interfaces import SiteRule, WindowTemplate
from ganinfer.observed import RealWindows, prepared
from ganinfer.simulation import Setup
from ganinfer.statistics import allele_counts

#: Chromosomes of a population at most, by the number of populations: what moments computes in about a second.
MOST = {1: 200, 2: 60, 3: 24, 4: 12, 5: 8}
#: Groups of blocks in a fold: enough for a bootstrap, and few enough to keep a spectrum of each.
_GROUPS = 50
#: Chromosomes are as many as this share of sites has calls of, in every population.
_CALLED = 0.9
#: Numbers that are held at once while sites are projected.
_CELLS = 5_000_000


@dataclass(frozen=True, eq=False)
class Spectra:
    """Spectra of the groups of a real data set.

    ``counts`` (g, n_1 + 1, n_2 + 1, ...) sites, unfolded (of folded data: by minor alleles); ``lengths`` (g,) base
    pairs of each group, less what goes with sites that are left out; ``group`` (m,) of each window and ``fold`` (g,) of
    each group; ``used`` cells that are compared.
    """

    populations: tuple[str, ...]
    counts: np.ndarray
    lengths: np.ndarray
    group: np.ndarray
    fold: np.ndarray
    used: np.ndarray
    folded: bool

    @property
    def sizes(self) -> dict[str, int]:
        """Chromosomes by population."""
        return dict(zip(self.populations, (n - 1 for n in self.counts.shape[1:]), strict=True))

    @property
    def length(self) -> float:
        return float(self.lengths.sum())

    @property
    def total(self) -> np.ndarray:
        return self.counts.sum(axis=0)


def why_not(setup: Setup, templates: Sequence[WindowTemplate]) -> str | None:
    """Why windows like the ``templates`` have no spectrum that could be fitted, as a sentence."""
    sizes, rule = chromosomes(setup.samples).sizes, setup.pipeline.rule
    late = sorted({s.population for s in setup.samples if s.time > 0})
    if late:
        return f"samples of {', '.join(late)} are ancient"
    if len(sizes) > max(MOST):
        return f"it computes spectra of up to {max(MOST)} populations, and there are {len(sizes)}"
    if rule.singletons == "keep" and rule.min_minor_frequency == 0:
        return None
    if any(t.missing is not None for t in templates):
        return "calls are missing, and sites left out by their frequency can't be projected to fewer chromosomes"
    if max(sizes) > MOST[len(sizes)]:
        return (
            f"{max(sizes)} chromosomes of a population take it long, and a spectrum without all of its sites can't be "
            "projected to fewer"
        )
    return None


def spectra(setup: Setup, real: RealWindows, chosen: np.ndarray, fold: np.ndarray, seed: int) -> Spectra:
    """Of the windows ``chosen`` (m,) of ``real``, each in its ``fold`` (m,); they are read one by one."""
    carriers, pipeline = chromosomes(setup.samples), setup.pipeline
    windows, templates = [real.windows[i] for i in chosen], [real.templates[i] for i in chosen]
    group, group_fold = _groups(np.array([w.block for w in windows]), fold)

    def counted(chosen: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for i in chosen:
            yield allele_counts(prepared(real, int(i), setup, seed))

    complete = all(t.missing is None for t in templates)
    sizes = _sizes(carriers.sizes, None if complete else (called for _, called in counted(chosen)))
    shape = tuple(n + 1 for n in sizes)
    counts, lengths = np.zeros((len(group_fold), *shape)), np.zeros(len(group_fold))
    pairs = zip(windows, templates, strict=True)
    usable = np.array([w.num_accessible * (1 - t.unusable_ancestral) for w, t in pairs])
    for k in range(len(group_fold)):
        mine = group == k
        derived, called = (np.concatenate(side) for side in zip(*counted(chosen[mine]), strict=True))
        enough = np.asarray((called >= np.array(sizes)).all(axis=1))
        _add(counts[k], derived[enough], called[enough])
        lengths[k] = usable[mine].sum() * _share(called, enough)
    return Spectra(
        carriers.populations, counts, lengths, group, group_fold, _used(shape, pipeline.rule), pipeline.folded
    )


def _share(called: np.ndarray, enough: np.ndarray) -> float:
    """Share of the bases that have enough calls, from variable sites (n, populations).

    The fewer calls a base has, the less likely it is seen to vary (Watterson 1975,
    doi:10.1016/0040-5809(75)90020-9): it counts by so much more.
    """
    if enough.all():
        return 1.0
    harmonic = np.concatenate([[1.0, 1.0], np.cumsum(1 / np.arange(1, called.sum(axis=1).max()))])
    weight = 1 / harmonic[called.sum(axis=1)]
    return float(weight[enough].sum() / weight.sum())


def _groups(block: np.ndarray, fold: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Group (m,) of each window, neighbouring blocks of one fold together, and the fold of each group."""
    group = np.empty(len(block), dtype=np.int64)
    folds: list[int] = []
    for k in np.unique(fold):
        mine = np.flatnonzero(fold == k)
        names, index = np.unique(block[mine], return_inverse=True)
        number = min(len(names), _GROUPS)
        group[mine] = len(folds) + (index * number) // len(names)
        folds += [int(k)] * number
    return group, np.array(folds)


def _sizes(sizes: tuple[int, ...], called: Iterator[np.ndarray] | None) -> tuple[int, ...]:
    """Chromosomes of the spectrum: all, or what :data:`_CALLED` of the sites have, and no more than :data:`MOST`."""
    most = MOST[len(sizes)]
    if called is None:
        return tuple(min(n, most) for n in sizes)
    seen = [np.zeros(n + 1) for n in sizes]
    for window in called:
        for number, column in zip(seen, window.T, strict=True):
            np.add.at(number, column, 1)
    chosen = []
    for number in seen:
        at_least = number[::-1].cumsum()[::-1]
        chosen.append(int(np.flatnonzero(at_least >= _CALLED * at_least[0]).max(initial=0)))
    return tuple(min(max(n, 1), most) for n in chosen)


def _add(counts: np.ndarray, derived: np.ndarray, called: np.ndarray) -> None:
    """Add sites (n, populations) to a spectrum, those with more calls than it has chromosomes in projection.

    A site's cells are a product over populations, so no spectrum is made of all chromosomes, which may be large.
    """
    whole = (called == np.array(counts.shape) - 1).all(axis=1)
    np.add.at(counts, tuple(derived[whole].T), 1)
    rest = np.stack([derived, called], axis=2)[~whole]
    alike, number = np.unique(rest, axis=0, return_counts=True)
    at_once = max(_CELLS // (counts.size // counts.shape[-1]), 1)
    for start in range(0, len(alike), at_once):
        some = alike[start : start + at_once]
        shares = [_projected(some[:, k, 0], some[:, k, 1], size - 1) for k, size in enumerate(counts.shape)]
        rows = number[start : start + at_once, None].astype(float)
        for share in shares[:-1]:
            rows = (rows[:, :, None] * share[:, None, :]).reshape(len(some), -1)
        counts += (rows.T @ shares[-1]).reshape(counts.shape)


def _projected(derived: np.ndarray, called: np.ndarray, size: int) -> np.ndarray:
    """How likely (n, size + 1) each number of derived alleles is among ``size`` chromosomes of those ``called`` (n)."""
    from scipy.stats import hypergeom

    pairs, index = np.unique(np.stack([derived, called], axis=1), axis=0, return_inverse=True)
    table = hypergeom.pmf(np.arange(size + 1), pairs[:, 1, None], pairs[:, 0, None], size)
    return np.asarray(table[index.ravel()])


def _used(shape: tuple[int, ...], rule: SiteRule) -> np.ndarray:
    """Cells (shape) of sites that are kept; of folded data both of the two that fold into one."""
    derived = np.indices(shape).sum(axis=0)
    return rule.keeps(derived, np.full(shape, sum(n - 1 for n in shape)))


def drawn(spectra: Spectra, rng: np.random.Generator) -> np.ndarray:
    """How often (g,) each group comes in one bootstrap data set: as many groups of each fold as there are."""
    times = np.zeros(len(spectra.fold), dtype=np.int64)
    for k in np.unique(spectra.fold):
        mine = np.flatnonzero(spectra.fold == k)
        np.add.at(times, rng.choice(mine, len(mine)), 1)
    return times


def resampled(spectra: Spectra, times: np.ndarray) -> np.ndarray:
    """The spectrum of a bootstrap data set, ``times`` (g,) each group, brought to the length of the real one."""
    return np.tensordot(times, spectra.counts, axes=1) * (spectra.length / float(times @ spectra.lengths))


def describe(spectra: Spectra) -> Mapping[str, object]:
    """What the spectrum is, as JSON values."""
    return {
        "chromosomes": spectra.sizes,
        "folded": spectra.folded,
        "sites": round(float(spectra.total[spectra.used].sum())),
        "length": round(spectra.length),
    }
