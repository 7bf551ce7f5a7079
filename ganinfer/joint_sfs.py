"""The classical rival of the networks: gradient-boosted trees on the binned joint site frequency spectrum.

SNPs at unlinked loci can be put in any order, and so can the chromosomes of a population. What is left of a table then
is how many of its SNPs have which allele counts in the populations: the joint spectrum says all there is, but for what
missing calls and bins blur.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

#: How much wider each bin of allele counts is than the one before it.
_GROWTH = 1.5
#: Sites whose bins are held in memory at once.
_SITES_AT_ONCE = 1_000_000
#: Small trees, whose splits each look at a tenth of the features: tables are few, and neighbouring bins tell the same.
_OPTIONS = {"max_leaf_nodes": 8, "max_features": 0.1}


class JointSfs:
    """A classifier of SNP tables by :func:`features`, scikit-learn's ``HistGradientBoostingClassifier``.

    ``options`` are that classifier's own, in place of ours. Nothing is saved: fitting again with the same seed gives
    the same answer.
    """

    def __init__(self, **options: Any) -> None:
        self._options = {**_OPTIONS, **options}
        self._classifier: Any = None
        self._settings: dict[str, Any] = {}

    def fit(
        self,
        counts: np.ndarray,
        called: np.ndarray,
        labels: np.ndarray,
        /,
        *,
        folded: bool,
        sizes: Sequence[int],
        seed: int,
    ) -> JointSfs:
        """Learn from tables as :func:`features` takes them, each of a scenario in ``labels`` (num_tables,) from 0.

        Raises ``ValueError`` where a scenario between 0 and the largest label has no table.
        """
        from sklearn.ensemble import HistGradientBoostingClassifier

        labels = np.asarray(labels)
        there = np.unique(labels)
        if len(there) < 2 or not np.array_equal(there, np.arange(len(there))):
            raise ValueError(f"labels number two or more scenarios from 0, each with a table; got {there.tolist()}")
        self._settings = {"folded": folded, "sizes": tuple(sizes)}
        self._classifier = HistGradientBoostingClassifier(random_state=seed, **self._options)
        spectra = features(counts, called, **self._settings)
        # Its threads wait for one another at every node of a tree, for minutes where others use the cores, too.
        with threadpool_limits(1, user_api="openmp"):
            self._classifier.fit(spectra, labels)
        return self

    def probabilities(self, counts: np.ndarray, called: np.ndarray, /) -> np.ndarray:
        """(num_tables, scenarios) of each table; a row sums to 1."""
        assert self._classifier is not None, "fit comes first"
        spectra = features(counts, called, **self._settings)
        with threadpool_limits(1, user_api="openmp"):
            return self._classifier.predict_proba(spectra)


def features(counts: np.ndarray, called: np.ndarray, /, *, folded: bool, sizes: Sequence[int]) -> np.ndarray:
    """(num_tables, num_features) float32: shares of SNPs by binned allele counts, of populations and of pairs of them.

    ``counts`` and ``called`` (num_tables, num_snps, num_populations) are those of the encoding ``joint-counts``,
    derived alleles and called ones; a SNP at which nobody is called is padding. ``folded``: the allele that is rarer in
    all populations together is counted, whichever ``counts`` counts. ``sizes`` are the populations' chromosomes. A
    count among fewer calls is scaled to the size; where nobody of a population is called, the SNP is left out there.
    """
    counts, called = np.asarray(counts), np.asarray(called)
    if counts.shape != called.shape or counts.ndim != 3 or counts.shape[2] != len(sizes):
        raise ValueError(
            f"counts and called have one shape (tables, SNPs, {len(sizes)} populations), not {counts.shape} and "
            f"{called.shape}"
        )
    step = max(1, _SITES_AT_ONCE // max(1, counts.shape[1]))
    parts = [slice(i, i + step) for i in range(0, len(counts), step)] or [slice(0, 0)]
    return np.concatenate(
        [_shares(counts[p].astype(np.int64), called[p].astype(np.int64), folded, sizes) for p in parts]
    )


def bins(size: int) -> np.ndarray:
    """The bin, from 0, of each allele count from 0 to ``size``; bins widen from either end towards the middle."""
    starts = [0, 1, 2, 3]
    while starts[-1] <= size:
        starts.append(max(starts[-1] + 1, int(starts[-1] * _GROWTH)))
    count = np.arange(size + 1)
    near = np.searchsorted(starts, np.minimum(count, size - count), side="right")
    return np.unique(np.where(2 * count <= size, near, 2 * len(starts) - near), return_inverse=True)[1]


def _shares(counts: np.ndarray, called: np.ndarray, folded: bool, sizes: Sequence[int]) -> np.ndarray:
    groups = [(i,) for i in range(len(sizes))] + list(combinations(range(len(sizes)), 2))
    tables = [bins(size) for size in sizes]
    totals: list[Any] = [0.0] * len(groups)
    for seen, weight in _oriented(counts, called, folded):
        binned = [
            t[_scaled(seen[..., i], called[..., i], s)] for i, (t, s) in enumerate(zip(tables, sizes, strict=True))
        ]
        for g, group in enumerate(groups):
            there = weight * (called[..., group] > 0).all(axis=-1)
            shape = [int(tables[i].max()) + 1 for i in group]
            cells = np.ravel_multi_index([binned[i] for i in group], shape)
            totals[g] = totals[g] + _histograms(cells, there, int(np.prod(shape)))
    return np.concatenate([t / np.maximum(t.sum(axis=1, keepdims=True), 1) for t in totals], axis=1).astype(np.float32)


def _oriented(counts: np.ndarray, called: np.ndarray, folded: bool) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The alleles that are counted, with each SNP's weight: where both alleles are equally common, half for either."""
    if not folded:
        yield counts, np.ones(counts.shape[:2])
        return
    excess = 2 * counts.sum(axis=2) - called.sum(axis=2)
    rarer = np.where((excess > 0)[..., None], called - counts, counts)
    both = (excess == 0) / 2
    yield rarer, 1 - both
    yield called - rarer, both


def _scaled(counts: np.ndarray, called: np.ndarray, size: int) -> np.ndarray:
    """Counts among ``called`` as counts among ``size``, to the nearest; what varies goes on varying."""
    scaled = (2 * counts * size + called) // np.maximum(2 * called, 1)
    varies = (counts > 0) & (counts < called)
    return np.where(varies, np.clip(scaled, 1, max(size - 1, 1)), np.clip(scaled, 0, size))


def _histograms(cells: np.ndarray, weight: np.ndarray, num_cells: int) -> np.ndarray:
    """(num_tables, num_cells) summed weights of the cells (num_tables, num_snps)."""
    place = cells + num_cells * np.arange(len(cells))[:, None]
    return np.bincount(place.ravel(), weight.ravel(), len(cells) * num_cells).reshape(len(cells), num_cells)
