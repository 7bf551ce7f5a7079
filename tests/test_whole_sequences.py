"""The rule for intervals of whole sequences: right ones pass, those that leave linkage out fail."""

from __future__ import annotations

import numpy as np
import pytest

from tests.verification import whole_sequences


@pytest.mark.parametrize(("inflation", "passed"), [(1.0, True), (3.0, False)])
def test_intervals_that_leave_linkage_out_fail(inflation, passed):
    """``inflation``: variance of the errors as a multiple of what intervals count."""
    rng, rows = np.random.default_rng(2), []
    for number in range(whole_sequences.SETS):
        each = {}
        for name, error in zip("ab", rng.normal(size=2) * np.sqrt(inflation), strict=True):
            interval = [5 + error - 1.645, 5 + error + 1.645]
            each[name] = {"truth": 5.0, "estimate": 5 + error, "interval": interval, "error": error, "sd": 1.0}
        rows.append({"seed": number, "parameters": each})
    found = whole_sequences.judged(rows)
    held = [row["parameters"]["a"]["interval"][0] <= 5 <= row["parameters"]["a"]["interval"][1] for row in rows]
    assert found["parameters"]["a"]["held"] == sum(held)
    assert found["passed"] is passed
    assert found["parameters"]["b"]["error"] == pytest.approx(np.sqrt(inflation), rel=0.4)
