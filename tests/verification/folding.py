"""Simulated tables with ancestral alleles known, as a run on folded tables would have simulated them.

Folding comes after simulation, so that the same simulations serve both: twelve thousand tables cost hours.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ganinfer.haplotypes import chromosomes
from ganinfer.statistics import JointSpectrum
from ganinfer.storage import SimulationStore


def folded(store: SimulationStore, scenario: Any, start: int, stop: int) -> Iterator[tuple[np.ndarray, int, Any]]:
    """Parameters, seed and arrays of the data sets from ``start`` to ``stop`` of a ``store`` of unfolded ones.

    The arrays are those of ``joint-counts`` and ``table-statistics``, of tables with one SNP a locus.
    """
    spectrum = JointSpectrum(chromosomes(scenario.setup.samples))
    arrays = {name: np.concatenate([c[:] for c in chunks]) for name, chunks in store.arrays(stop).items()}
    theta, seeds = store.theta(stop), store.seeds(stop)
    for i in range(start, stop):
        counts, called = arrays["counts"][i].astype(int), arrays["called"][i].astype(int)
        counts = np.where(_flipped(counts, called)[:, None], called - counts, counts)
        statistics = arrays["statistics"][i].copy()
        statistics[: len(spectrum.names)] = spectrum.compute(counts, called) / len(counts)
        own = {"counts": counts.astype(np.int16), "statistics": statistics}
        yield theta[i], int(seeds[i]), {name: array[i] for name, array in arrays.items()} | own


def _flipped(counts: np.ndarray, called: np.ndarray) -> np.ndarray:
    """SNPs (n,) whose alleles change their names; ties as in :mod:`ganinfer.pipeline`."""
    excess = 2 * counts - called
    total = excess.sum(axis=1)
    flip, undecided = total > 0, total == 0
    for column in excess.T:
        flip |= undecided & (column > 0)
        undecided &= column == 0
    return flip | (undecided & (np.arange(len(counts)) % 2 == 1))
