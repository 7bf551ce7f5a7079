"""What one knows of a data set: diversity, Tajima's D, singletons and Fst of its windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from ganinfer.genomes.records import FILTERED, OUTSIDE

#: What to do where most records fell for one reason.
_REMEDIES = {
    FILTERED: "; data.filters says which values of FILTER are kept (any keeps all)",
    OUTSIDE: "; look at data.regions: are these the same reference's coordinates?",
}


def left_out(summary: Mapping[str, Any]) -> str:
    """Of genomes' summary, why little may be left: records that were dropped, genotypes that were made missing."""
    records = summary["records"]
    dropped = ", ".join(f"{number:,} {reason}" for reason, number in records["dropped"].items())
    remedy = _REMEDIES.get(max(records["dropped"], key=records["dropped"].get, default=""), "")
    masked = [
        f"; data.{setting} made {number:,} called genotypes missing"
        for setting, number in summary.get("genotypes_made_missing", {}).items()
    ]
    kept = f"of {records['read']:,} records {records['kept']:,} were kept, dropped: {dropped or 'none'}"
    return kept + remedy + "".join(masked)


def harmonic(n: np.ndarray) -> np.ndarray:
    """Sum of 1/i for i from 1 to n - 1, elementwise; 0 for n below 2."""
    n = np.asarray(n, dtype=np.int64)
    table = np.concatenate([[0.0, 0.0], np.cumsum(1.0 / np.arange(1, max(int(n.max(initial=1)), 2)))])
    return table[np.maximum(n, 0)]


def pairwise_differences(derived: np.ndarray, called: np.ndarray) -> np.ndarray:
    """Share of differing pairs of called chromosomes at each site; 0 where fewer than two are called."""
    derived, called = derived.astype(float), called.astype(float)
    pairs = called * (called - 1)
    return np.divide(2 * derived * (called - derived), pairs, out=np.zeros(len(derived)), where=pairs > 0)


def tajimas_d(derived: np.ndarray, called: np.ndarray) -> float:
    """Tajima's D of one stretch of sites (Tajima 1989, doi:10.1093/genetics/123.3.585); NaN without segregating sites.

    With missing calls each site adds to Watterson's estimator by its own sample size; the variance takes the mean one.
    """
    segregating = (derived > 0) & (derived < called)
    number = int(segregating.sum())
    if number == 0:
        return float("nan")
    sizes = called[segregating]
    n = round(float(sizes.mean()))
    a1 = float(harmonic(np.array([n]))[0])
    a2 = float((1.0 / np.arange(1, n) ** 2).sum())
    b1, b2 = (n + 1) / (3 * (n - 1)), 2 * (n * n + n + 3) / (9 * n * (n - 1))
    c1, c2 = b1 - 1 / a1, b2 - (n + 2) / (a1 * n) + a2 / a1**2
    variance = c1 / a1 * number + c2 / (a1**2 + a2) * number * (number - 1)
    difference = pairwise_differences(derived, called).sum() - (1.0 / harmonic(sizes)).sum()
    return float(difference / np.sqrt(variance)) if variance > 0 else float("nan")


def hudson_fst(derived: np.ndarray, called: np.ndarray) -> float:
    """Hudson's Fst of two populations, ratio of sums (Bhatia et al. 2013, doi:10.1101/gr.154831.113).

    ``derived`` and ``called`` (num_sites, 2); sites with fewer than two called chromosomes in either are left out.
    """
    usable = (called >= 2).all(axis=1)
    n = called[usable].astype(float)
    p = derived[usable] / n
    between = p[:, 0] * (1 - p[:, 1]) + p[:, 1] * (1 - p[:, 0])
    within = (p * (1 - p) / (n - 1)).sum(axis=1)
    numerator, denominator = ((p[:, 0] - p[:, 1]) ** 2 - within).sum(), between.sum()
    return float(numerator / denominator) if denominator > 0 else float("nan")


def singleton_share(derived: np.ndarray, called: np.ndarray) -> float:
    """Share of segregating sites whose rarer allele is on one chromosome."""
    minor = np.minimum(derived, called - derived)
    number = int((minor > 0).sum())
    return float((minor == 1).sum() / number) if number else float("nan")


def diversity(
    windows: Sequence[tuple[np.ndarray, np.ndarray]], num_accessible: int, populations: Sequence[str]
) -> dict[str, Any]:
    """Statistics by population (and pair) from each window's ``(derived, called)`` counts (num_sites, num_populations).

    pi is per accessible base; ``tajimas_d`` is the mean over windows that segregate, ``tajimas_d_overall`` that of all
    sites together.
    """
    derived = np.concatenate([w[0] for w in windows])
    called = np.concatenate([w[1] for w in windows])
    result: dict[str, Any] = {}
    for i, name in enumerate(populations):
        each = np.array([tajimas_d(d[:, i], c[:, i]) for d, c in windows])
        result[name] = {
            "pi": float(pairwise_differences(derived[:, i], called[:, i]).sum() / num_accessible),
            "segregating_sites": int(((derived[:, i] > 0) & (derived[:, i] < called[:, i])).sum()),
            "singletons": _none(singleton_share(derived[:, i], called[:, i])),
            "tajimas_d": _none(float(np.nanmean(each)) if np.isfinite(each).any() else float("nan")),
            "tajimas_d_overall": _none(tajimas_d(derived[:, i], called[:, i])),
        }
    return {"populations": result, "fst": _pairs(derived, called, populations)}


def _pairs(derived: np.ndarray, called: np.ndarray, populations: Sequence[str]) -> Mapping[str, float | None]:
    return {
        f"{populations[i]},{populations[j]}": _none(hudson_fst(derived[:, [i, j]], called[:, [i, j]]))
        for i, j in combinations(range(len(populations)), 2)
    }


def _none(value: float) -> float | None:
    """JSON knows no NaN."""
    return value if np.isfinite(value) else None
