"""Simulated data sets on disk: extended as if made at once, complete chunks or none, nobody else's."""

from __future__ import annotations

import numpy as np
import pytest

from ganinfer.storage import SimulationStore, StorageError
from ganinfer.storage.simulations import CHUNK

KEY = {"scenario": "one", "seed": 1}


def made(start, stop):
    for i in range(start, stop):
        yield (
            np.array([i, i / 2]),
            1000 + i,
            {"counts": np.full((3, 2), i, dtype=np.int16), "mask": np.uint8([1, i % 2, 0])},
        )


def contents(store, size):
    arrays = {name: np.concatenate(parts) for name, parts in store.arrays(size).items()}
    return {"theta": store.theta(size), **arrays}


def test_more_simulations_go_on_where_the_last_stopped(tmp_path):
    asked = []

    def recorded(start, stop):
        asked.append((start, stop))
        yield from made(start, stop)

    at_once, bit_by_bit = SimulationStore(tmp_path / "a", KEY), SimulationStore(tmp_path / "b", KEY)
    at_once.extend(130, made)
    for size in (10, 70, 70, 130):
        SimulationStore(tmp_path / "b", KEY).extend(size, recorded)
    assert asked == [(0, CHUNK), (CHUNK, 2 * CHUNK), (2 * CHUNK, 3 * CHUNK)]
    for name, values in contents(at_once, 130).items():
        np.testing.assert_array_equal(contents(bit_by_bit, 130)[name], values)
    assert contents(at_once, 130)["counts"].dtype == np.int16
    assert len(at_once) == 3 * CHUNK


def test_a_chunk_that_fails_is_not_there(tmp_path):
    def failing(start, stop):
        for i, item in enumerate(made(start, stop)):
            if i == CHUNK + 3:
                raise RuntimeError("killed")
            yield item

    store = SimulationStore(tmp_path, KEY)
    with pytest.raises(RuntimeError, match="killed"):
        store.extend(3 * CHUNK, failing)
    assert len(store) == CHUNK
    assert sorted(p.name for p in tmp_path.iterdir()) == ["000000", "key.json"]
    with pytest.raises(StorageError, match=f"holds {CHUNK} data sets, 60 were asked for"):
        store.theta(60)
    store.extend(3 * CHUNK, made)
    np.testing.assert_array_equal(store.theta(3 * CHUNK)[:, 0], np.arange(3 * CHUNK))


def test_simulations_of_something_else_are_refused(tmp_path):
    SimulationStore(tmp_path, KEY).extend(1, made)
    SimulationStore(tmp_path, dict(reversed(KEY.items())))
    with pytest.raises(StorageError, match="holds simulations that differ in seed; choose another folder"):
        SimulationStore(tmp_path, {**KEY, "seed": 2})


def test_arrays_are_mapped_not_read(tmp_path):
    store = SimulationStore(tmp_path, KEY)
    store.extend(1, made)
    assert all(isinstance(part, np.memmap) for parts in store.arrays(5).values() for part in parts)
    with pytest.raises(ValueError, match="read-only"):
        store.arrays(5)["counts"][0][0] = 1
