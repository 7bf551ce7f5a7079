"""The rule for 90 % intervals: the share that holds the truth is not clearly below nine in ten."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import norm

LEVEL = 0.9
#: Standard errors below the level that make a check fail: once in a hundred where all is right.
APART = float(norm.isf(0.01))


def judged(held: np.ndarray) -> dict[str, Any]:
    """The rule, of ``held`` (clusters, intervals of each): clusters are runs, or data sets of one run."""
    share, clusters = float(held.mean()), held.mean(axis=1)
    least = np.sqrt(LEVEL * (1 - LEVEL) / held.size)
    seen = clusters.std(ddof=1) / np.sqrt(len(clusters)) if len(clusters) > 1 else 0.0
    error = max(float(seen), float(least))
    apart = (share - LEVEL) / error
    return {"held": int(held.sum()), "of": held.size, "standard_errors": apart, "passed": apart > -APART}
