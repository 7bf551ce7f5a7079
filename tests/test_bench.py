"""The benchmarks' arithmetic: what their records say, and what processes cost."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import pytest

from tests.bench import against, against_drawn, histories, memory, pages, processes, simulation


def record(method, rounds, *, seed=1, model="im", finished=True):
    return {
        "schema_version": against.SCHEMA_VERSION,
        "model": model,
        "method": method,
        "side": against.method(method).side,
        "seed": seed,
        "truth": {"a": 100.0, "b": 2.0},
        "prior": {"a": [0.0, 1000.0], "b": [0.0, 10.0]},
        "finished": finished,
        "rounds": [
            {"cpu_seconds": seconds, "windows": 10 * i, "estimate": {"a": a, "b": b}}
            for i, (seconds, a, b) in enumerate(rounds)
        ],
    }


def test_possible_histories_are_asked_for_both_ways_and_agree():
    (record, *_) = histories.measure(30, 1)
    assert record["possible"] <= record["vectors"] == 30
    told = {"model": "im", "vectors": 1_000, "possible": 900, "bare": [0.3, 0.4, 0.9], "ours": [0.1, 0.2, 0.1]}
    assert "| im | 90 % | 0.400 | 0.100 | 4.0 |" in pages.histories_part([told])


# --- against pg-gan -----------------------------------------------------------------------------------------------


def test_error_is_in_units_of_the_prior():
    found = record("default-4000", [(10, 400.0, 6.0)])
    assert against_drawn.error(found, found["rounds"][0]) == pytest.approx(np.sqrt((0.3**2 + 0.4**2) / 2))
    assert against_drawn.relative([(found, found["rounds"][0])], "b") == [pytest.approx(200)]


def test_default_answers_with_its_largest_budget_that_ends_in_time():
    records = [
        record("default-4000", [(20, 1, 1), (50, 2, 2)]),
        record("default-15000", [(30, 3, 3), (90, 4, 4)]),
        record("default-60000", [(300, 5, 5)], finished=False),
    ]
    for limit, expected in ((60, 2), (600, 4)):
        ((_, entry),) = against_drawn.answers(records, "im", "default", limit)
        assert entry["estimate"]["a"] == expected
    assert against_drawn.answers(records, "im", "default", 10) == []


def test_annealing_answers_with_the_schedule_planned_for_the_limit():
    records = [
        record("annealing-300", [(10, 1, 1), (55, 2, 2)]),
        record("annealing-60s", [(10, 3, 3), (59, 4, 4), (70, 5, 5)]),
        record("annealing-600s", [(10, 6, 6), (590, 7, 7)]),
    ]
    for limit, expected in ((60, 4), (600, 7)):
        ((_, entry),) = against_drawn.answers(records, "im", "pg-gan", limit)
        assert entry["estimate"]["a"] == expected


def test_table_has_a_row_for_every_answer():
    records = [record("default-4000", [(20, 110.0, 2.2)]), record("annealing-60s", [(20, 120.0, 3.0)])]
    rows = against_drawn.table(records).splitlines()[2:]
    assert [row.split(" | ")[:3] for row in rows] == [
        ["| im", "60", "pg-gan's rule and network"],
        ["| im", "60", "ganinfer's default"],
        ["| im", "600", "ganinfer's default"],
    ]
    assert rows[0].endswith("a 20, b 50 |")


def test_records_are_read_back(tmp_path):
    written = record("default-4000", [(10, 1.0, 2.0), (20, 3.0, 4.0)])
    against.write(written, tmp_path)
    assert against.read("im", "default-4000", 1, tmp_path) == written
    assert against.records(tmp_path) == [written]
    assert against.read("im", "default-4000", 2, tmp_path) is None
    against.write({**written, "schema_version": 0}, tmp_path)
    with pytest.raises(against.AgainstError, match="schema version 0"):
        against.read("im", "default-4000", 1, tmp_path)


# --- speed and memory ---------------------------------------------------------------------------------------------


def test_cpu_seconds_are_those_of_the_children_too():
    before = processes.cpu_seconds()
    begun = time.process_time()
    work = "import time\nwhile time.process_time() < 0.5: pass"
    subprocess.run([sys.executable, "-c", work], check=True)
    own = time.process_time() - begun
    assert processes.cpu_seconds() - before >= 0.45 + own


def test_peak_memory_names_this_process_first_and_its_children():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        peaks = processes.peak_memory()
    finally:
        child.communicate(b"\n")
    assert child.pid in {p.pid for p in peaks[1:]}
    assert peaks[0].size >= processes.anonymous_memory() > 0


def test_shares_are_of_the_same_turn():
    record = {"seconds": [2.0, 8.0, 3.0], "servers": [0.0, 0.0, 1.0], "base": [1.0, 4.0, 1.0], "windows": 100}
    assert simulation.share(record) == 0.5
    assert simulation.rate(record) == 25


def test_every_kind_but_ray_takes_its_turns(monkeypatch):
    monkeypatch.setattr(simulation, "SIZES", {10: 192})
    monkeypatch.setattr(simulation, "_WITH_RAY", {"bare": simulation.BARE[-1:]})
    records = simulation.measure(1, 1, 2)
    assert [(r["kind"], r["variant"]) for r in records] == [
        *(("bare", variant) for variant in simulation.BARE),
        ("serial", simulation.ARRAYS),
        ("serial", simulation.STATISTICS),
        ("process", simulation.ARRAYS),
    ]
    for r in records:
        assert r["windows"] == simulation.WINDOWS
        assert len(r["seconds"]) == len(r["base"]) == len(r["servers"]) == 2


def test_page_says_whether_targets_are_met():
    records = [
        {"network": "exchangeable", "sites": 288, "cells": 800, "round": [30.0], "step": [40.0]},
        {"network": "pg-gan", "sites": 36, "cells": 100, "round": [10.0], "step": [10.0]},
    ]
    assert "is met." in pages.training_part(records)
    assert "is missed." in pages.training_part([{**records[0], "step": [19.0]}, records[1]])


def test_long_extract_repeats_the_shipped_one(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "FOLDER", tmp_path)
    folder = memory.long_extract(1)
    shipped = (memory.ROOT / "experiments" / memory.REGIONS).read_text()
    assert (folder / memory.REGIONS).read_text() == shipped
    rows = [line.split() for line in shipped.splitlines()]
    shifted = memory._shifted(rows, 2).splitlines()
    assert int(shifted[0].split("\t")[1]) == int(rows[0][1]) + 400_000_000
