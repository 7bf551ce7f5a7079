"""The moments yardstick: its cases, and records that are kept whole."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.verification.records import RecordsError
from tests.verification.yardstick import YardstickError, add_record, errors, load_case, read_records

RECORD = {
    "seed": 2,
    "truth": {"Ne": 100.0, "T": 10.0},
    "estimate": {"Ne": 110.0, "T": 9.0},
    "log_likelihood": -5.0,
    "cpu_seconds": 3.0,
}


def test_records_are_kept_by_seed_and_replaced(tmp_path):
    assert read_records("im", tmp_path) == []
    add_record("im", RECORD, tmp_path)
    add_record("im", {**RECORD, "seed": 1}, tmp_path)
    add_record("im", {**RECORD, "log_likelihood": -4.0}, tmp_path)
    assert [(r["seed"], r["log_likelihood"]) for r in read_records("im", tmp_path)] == [(1, -5.0), (2, -4.0)]
    assert [p.name for p in tmp_path.iterdir()] == ["moments-im.json"]


def test_errors_are_per_cent_of_the_truth():
    found = errors([RECORD, {**RECORD, "estimate": {"Ne": 95.0, "T": 12.0}}])
    np.testing.assert_allclose(found["Ne"], [10, -5])
    np.testing.assert_allclose(found["T"], [-10, 20])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "holds no records of fits; delete it"),
        (json.dumps({"schema_version": 99, "fits": []}), "has schema version 99, this code 1; delete it"),
    ],
)
def test_a_file_that_is_no_record_says_so(tmp_path, text, message):
    (tmp_path / "moments-im.json").write_text(text)
    with pytest.raises(RecordsError, match=message):
        read_records("im", tmp_path)


def test_an_unknown_case_is_answered_with_the_known_ones():
    with pytest.raises(YardstickError, match=r"'imm' is no case of the verification; there are im, exp"):
        load_case("imm", 1)


def test_cases_differ_from_their_experiments_only_in_what_they_say():
    assert load_case("im-50", 3).data.simulate.samples["A"].individuals == 50
    assert load_case("im", 3).data.simulate.seed == 3
    assert load_case("exp-folded", 1).data.ancestral == "none"
