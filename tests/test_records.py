"""Records of verifications: what is kept, and what is said of it."""

from __future__ import annotations

import numpy as np
import pytest

from ganinfer.runner.assembling import versions
from tests.verification import opinions, records


def test_records_say_by_which_versions_they_were_made(tmp_path):
    path = tmp_path / "records.json"
    records.add(path, "case", {"seed": 2, "versions": {"ganinfer": "0.0.1"}})
    records.add(path, "case", {"seed": 1})
    assert [r["seed"] for r in records.read(path)] == [1, 2]
    assert [r["versions"] for r in records.read(path)] == [versions(), {"ganinfer": "0.0.1"}]
    assert [r.get("commit") for r in records.read(path)] == [records.commit()] * 2
    # One made anew says so, too.
    records.add(path, "case", {"seed": 2})
    assert [r["versions"] for r in records.read(path)] == [versions()] * 2


def opinion(ours, theirs, difference):
    truth = {"N": 1_000.0, "T": 50.0}
    return {
        "truth": truth,
        "ours": {n: t * (1 + ours) for n, t in truth.items()},
        "theirs": {n: t * (1 + theirs) for n, t in truth.items()},
        "intervals": {"N": [950.0, 1_050.0], "T": None},
        "differences": {"N": difference, "T": None},
    }


def test_opinions_are_counted_where_there_are_intervals_and_differences():
    found = opinions.summed([opinion(0.01, 0.02, 3.0), opinion(-0.02, 0.04, -1.0)])
    assert (found["beyond"], found["of"], found["passed"]) == (1, 2, False)
    assert found["root_mean_square"] == pytest.approx(np.sqrt(5))
    assert (found["their_intervals_held"], found["their_intervals"]) == (2, 2)
    # Errors are halves of theirs in every data set and parameter.
    assert found["error_ratio"] == pytest.approx(0.5)


def test_one_difference_in_ten_may_be_large():
    rows = [opinion(0.01, 0.01, d) for d in (3.0, *[0.5] * 9)]
    assert opinions.summed(rows)["passed"]
    assert not opinions.summed(rows[:9])["passed"]
