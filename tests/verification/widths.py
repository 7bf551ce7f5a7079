"""How wide posteriors are: against what the spectrum allows, and by the number of windows.

    python -m tests.verification.widths     from the records of im and exp; the runs that lack are made

Two rules. With 2,000 windows the median standard deviation of every parameter's posterior is at most
:data:`WIDEST` times the sampling standard deviation of the spectrum's composite likelihood (``accuracy.LIMITS``). And
between 500 and 8,000 windows it falls as one over their square root, or nearly: the slope of its logarithm on that of
their number lies in :data:`SLOPES`, for what is known well enough at 500. What was found stands in
docs/verification/widths.json.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from tests.verification import accuracy, records

RECORD = records.FOLDER / "widths.json"
FOLDER = records.ROOT / ".bench" / "verification"
WINDOWS = (500, 2_000, 8_000)
WIDEST, SLOPES = 1.3, (-0.6, -0.4)
#: Parameters whose widths are followed. The others lean on their bounds, or on ridges, with few windows.
FOLLOWED = {"im": ("N1", "N2", "N_anc", "T_split"), "exp": ("N1",)}


def fits(name: str, windows: int) -> list[dict[str, Any]]:
    """Records of an experiment with so many windows, made if there are none."""
    case = name if windows == 2_000 else f"{name}-{windows}w"
    path = accuracy.record_path(case)
    done = {r["seed"] for r in records.read(path)}
    for seed in accuracy.CASES[case].seeds:
        if seed not in done:
            records.add(path, case, accuracy.run_one(case, seed, FOLDER, accuracy.POSTERIOR_ONLY))
    return records.read(path)


def relative_sd(fitted: list[dict[str, Any]], parameter: str) -> float:
    """Median posterior standard deviation, per cent of the truth."""
    return float(np.median([100 * f["sd"][parameter] / abs(f["truth"][parameter]) for f in fitted]))


def examined(name: str) -> dict[str, Any]:
    found = {windows: fits(name, windows) for windows in WINDOWS}
    limits = accuracy.LIMITS[name]
    at_limit = {n: relative_sd(found[2_000], n) / limit for n, limit in limits.items()}
    widths = {n: [relative_sd(found[w], n) for w in WINDOWS] for n in FOLLOWED[name]}
    slopes = {n: float(np.polyfit(np.log(WINDOWS), np.log(each), 1)[0]) for n, each in widths.items()}
    return {
        "of_limit": at_limit,
        "windows": list(WINDOWS),
        "widths": widths,
        "slopes": slopes,
        "passed": max(at_limit.values()) <= WIDEST
        and all(SLOPES[0] <= slope <= SLOPES[1] for slope in slopes.values()),
    }


def main() -> None:
    found = {name: examined(name) for name in FOLLOWED}
    for name, each in found.items():
        records.put(RECORD, name, each)
    print(json.dumps(found, indent=1))
    raise SystemExit(0 if all(f["passed"] for f in found.values()) else 1)


if __name__ == "__main__":
    main()
