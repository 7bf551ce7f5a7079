"""The run folder: complete or absent, one run at a time, and errors that say what to do."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ganinfer import storage
from ganinfer.storage import RunFolder, StorageError


@pytest.fixture
def folder(tmp_path):
    with RunFolder.create(tmp_path / "run") as run:
        yield run


def python(code: str, *arguments: object, **options) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


ARRAYS = hnp.arrays(
    dtype=st.sampled_from(["i1", "u1", "i8", "f4", "f8", "?", "U3"]), shape=hnp.array_shapes(min_dims=0, min_side=0)
)


@settings(max_examples=40, deadline=None)
@given(arrays=st.dictionaries(st.text(max_size=8), ARRAYS, max_size=4))
def test_round_trip_of_any_arrays(tmp_path_factory, arrays):
    with RunFolder.create(tmp_path_factory.mktemp("round") / "run") as run:
        run.write_round(0, arrays, None)
        found, values, _ = run.read_round(0)
        assert values is None
        assert found.keys() == arrays.keys()
        for name, array in arrays.items():
            assert found[name].dtype == array.dtype
            np.testing.assert_array_equal(found[name], array)


def test_names_that_differ_by_case_or_hold_slashes_are_kept_apart(folder):
    arrays = {"n1": np.array([1]), "N1": np.array([2]), "fold0/weights/../x": np.array([3]), ".": np.array([4])}
    written = folder.write_round(0, arrays, {})
    assert len({e.name.lower() for e in written.iterdir()}) == 5
    assert {k: int(v[0]) for k, v in folder.read_round(0)[0].items()} == {
        "n1": 1,
        "N1": 2,
        "fold0/weights/../x": 3,
        ".": 4,
    }


def test_round_values_and_files(folder):
    values = {"loss": float("nan"), "seed": np.int64(3), "theta": np.array([0.1, 1e-300])}
    folder.write_round(3, {}, values, {"network.bin": lambda path: path.write_bytes(b"abc")})
    _, found, path = folder.read_round(3)
    assert np.isnan(found["loss"])
    assert found["theta"] == [0.1, 1e-300]
    assert (path / "network.bin").read_bytes() == b"abc"
    assert path == folder.path / "rounds" / "0003"
    assert folder.last_round() == 3


def test_arrays_are_memory_mapped_and_read_only(folder):
    folder.write_round(0, {"a": np.arange(10.0)}, {})
    array = folder.read_round(0)[0]["a"]
    assert isinstance(array, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1


def test_a_round_is_written_once(folder):
    folder.write_round(0, {}, {})
    with pytest.raises(StorageError, match="round 0 is already complete"):
        folder.write_round(0, {}, {})


def test_a_missing_round_is_named(folder):
    folder.write_round(0, {}, {})
    with pytest.raises(StorageError, match=r"round 4 is not complete in .*; complete rounds: 0"):
        folder.read_round(4)


def test_a_damaged_array_is_named(folder):
    written = folder.write_round(0, {"theta": np.arange(100)}, {})
    os.truncate(written / "theta.npy", 130)
    with pytest.raises(StorageError, match=r"array 'theta' of round 0 is damaged"):
        folder.read_round(0)


def test_arrays_that_nothing_reads_again_are_dropped(folder):
    written = folder.write_round(0, {"input-a": np.zeros(9), "input-b": np.ones(9), "kept": np.ones(2)}, {"i": 0})
    folder.drop_arrays(0, "input-")
    arrays, values, _ = folder.read_round(0)
    assert list(arrays) == ["kept"]
    assert values == {"i": 0}
    assert sorted(e.name for e in written.iterdir()) == ["kept.npy", "round.json"]
    folder.drop_arrays(0, "input-")
    folder.drop_arrays(0, "nothing-")
    assert folder.read_round(0)[0].keys() == {"kept"}


def test_dropping_that_was_broken_off_is_finished_by_the_next(folder, monkeypatch):
    written = folder.write_round(0, {"input-a": np.zeros(9), "kept": np.ones(2)}, {})

    def killed(self, missing_ok=False):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            folder.drop_arrays(0, "input-")
    assert (written / "input-a.npy").exists()
    folder.drop_arrays(0, "input-")
    assert sorted(e.name for e in written.iterdir()) == ["kept.npy", "round.json"]
    assert folder.read_round(0)[0].keys() == {"kept"}


def test_objects_are_refused_and_nothing_remains(folder):
    with pytest.raises(StorageError, match=r"array 'odd' holds Python objects"):
        folder.write_round(0, {"fine": np.arange(3), "odd": np.array([{}])}, {})
    assert folder.last_round() is None
    assert list((folder.path / "rounds").iterdir()) == []


def test_json_is_strict_versioned_and_ordered(folder):
    folder.write_json("result.json", {"b": float("inf"), "a": np.float32(0.5), "path": Path("x"), 3: (1, 2)})
    text = (folder.path / "result.json").read_text()
    assert json.loads(text) == {"schema_version": 1, "b": None, "a": 0.5, "path": "x", "3": [1, 2]}
    assert folder.read_json("result.json")["a"] == 0.5


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (99, r"schema_version 99, ganinfer .* reads 1; to migrate: .*newer.*upgrade"),
        (None, r"schema_version None.*migrate"),
    ],
)
def test_another_version_says_how_to_migrate(folder, version, message):
    (folder.path / "data.json").write_text(json.dumps({"schema_version": version}))
    with pytest.raises(StorageError, match=message):
        folder.read_json("data.json")


def test_a_truncated_json_is_named(folder):
    (folder.path / "data.json").write_text('{"schema_version": 1, "a"')
    with pytest.raises(StorageError, match=r"data\.json is not a readable JSON file"):
        folder.read_json("data.json")


def test_tables_round_trip(folder):
    columns = {
        "round": np.arange(3),
        "parameter": np.array(["N1", "N2", "θ"]),
        "estimate": np.array([1.5, np.nan, 1e-9]),
    }
    folder.write_table("trajectory.parquet", columns)
    found = folder.read_table("trajectory.parquet")
    assert list(found) == list(columns)
    assert found["parameter"].tolist() == ["N1", "N2", "θ"]
    np.testing.assert_array_equal(found["estimate"], columns["estimate"])


def test_tables_of_unequal_columns_and_foreign_tables_are_refused(folder):
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pytest.raises(StorageError, match=r"columns of t\.parquet must be equally long, got .*'a': 1.*'b': 2"):
        folder.write_table("t.parquet", {"a": [1], "b": [1, 2]})
    pq.write_table(pa.table({"a": [1]}), folder.path / "other.parquet")
    with pytest.raises(StorageError, match=r"other\.parquet has schema_version None"):
        folder.read_table("other.parquet")
    (folder.path / "bad.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(StorageError, match=r"bad\.parquet is not a readable Parquet file"):
        folder.read_table("bad.parquet")
    with pytest.raises(StorageError, match=r"none\.parquet does not exist"):
        folder.read_table("none.parquet")


def test_arrays_in_one_file(folder):
    folder.write_arrays("fit.npz", {"sfs_real": np.eye(3)})
    with np.load(folder.path / "fit.npz") as found:
        np.testing.assert_array_equal(found["sfs_real"], np.eye(3))


def test_a_folder_can_be_replaced_as_a_whole(folder):
    def bundle(*names):
        def write(path):
            path.mkdir()
            for name in names:
                (path / name).write_text(name)

        return write

    folder.write_file("bundle", bundle("a", "b"))
    folder.write_file("bundle", bundle("c"))
    assert [e.name for e in (folder.path / "bundle").iterdir()] == ["c"]


def test_a_file_that_fails_leaves_the_previous_one(folder):
    folder.write_text("experiment.yaml", "before")

    def fail(path):
        path.write_text("half")
        raise KeyError("interrupted")

    with pytest.raises(KeyError, match="interrupted"):
        folder.write_file("experiment.yaml", fail)
    assert (folder.path / "experiment.yaml").read_text() == "before"
    assert not list(folder.path.glob("*.tmp"))
    assert not list(folder.path.glob(".*.tmp"))


# Which folders may be used


def test_a_finished_run_is_refused_and_resumed(tmp_path):
    with RunFolder.create(tmp_path / "run") as run:
        run.write_round(0, {}, {})
        run.write_json("result.json", {})
    with pytest.raises(StorageError, match=r"already holds a finished run; .*--resume.*--output"):
        RunFolder.create(tmp_path / "run")
    with RunFolder.create(tmp_path / "run", resume=True) as run:
        assert run.last_round() == 0


def test_an_unfinished_run_is_refused_and_resumed(tmp_path):
    with RunFolder.create(tmp_path / "run") as run:
        run.write_round(0, {}, {})
        run.write_round(1, {}, {})
    with pytest.raises(StorageError, match=r"unfinished run \(2 complete rounds\); .*--resume.*--output"):
        RunFolder.create(tmp_path / "run")
    with RunFolder.create(tmp_path / "run", resume=True) as run:
        assert run.last_round() == 1


def test_a_start_that_completed_nothing_may_be_repeated(tmp_path):
    with RunFolder.create(tmp_path / "run") as run:
        run.write_text("experiment.yaml", "seed: 1")
        run.write_json("data.json", {})
    with RunFolder.create(tmp_path / "run") as run:
        assert not (run.path / "data.json").exists()


def test_a_start_that_wrote_nothing_leaves_nothing(tmp_path):
    RunFolder.create(tmp_path / "a" / "run").close()
    assert not (tmp_path / "a" / "run").exists()


def test_a_start_that_fails_leaves_nothing(tmp_path):
    def fail():
        with RunFolder.create(tmp_path / "run") as run:
            run.write_text("experiment.yaml", "seed: 1")
            run.write_json("mlflow.json", {})
            raise KeyError("a bad file")

    with pytest.raises(KeyError, match="a bad file"):
        fail()
    assert not (tmp_path / "run").exists()


def test_a_failure_after_a_round_leaves_everything(tmp_path):
    with RunFolder.create(tmp_path / "run") as run:
        run.write_round(0, {}, {})

    def fail():
        with RunFolder.create(tmp_path / "run", resume=True) as run:
            run.write_text("experiment.yaml", "seed: 1")
            raise KeyError("later")

    with pytest.raises(KeyError, match="later"):
        fail()
    assert (tmp_path / "run" / "experiment.yaml").exists()
    assert storage.completed_rounds(tmp_path / "run") == [0]


def test_other_peoples_folders_are_refused_untouched(tmp_path):
    (tmp_path / "thesis.tex").write_text("words")
    with pytest.raises(StorageError, match=r"is not empty \(thesis\.tex\) and holds no run; .*--output"):
        RunFolder.create(tmp_path)
    assert [e.name for e in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(StorageError, match=r"thesis\.tex is a file; choose another one with --output"):
        RunFolder.create(tmp_path / "thesis.tex")
    with pytest.raises(StorageError, match=r"nothing to resume: .* holds no run"):
        RunFolder.create(tmp_path / "nowhere", resume=True)
    assert not (tmp_path / "nowhere").exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot write run in .*Not a directory"):
        RunFolder.create(tmp_path / "file" / "run")


# The lock

HOLD = """
import sys, time
from ganinfer.storage import RunFolder
run = RunFolder.create(sys.argv[1])
run.write_round(0, {}, {})
print("held", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_in_use_is_refused_until_its_process_is_gone(tmp_path, resume):
    process = python(HOLD, tmp_path / "run")
    try:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(StorageError, match=rf"output folder in use: .* by process {process.pid} on .*--output"):
            RunFolder.create(tmp_path / "run", resume=resume)
    finally:
        process.kill()
        process.communicate()
    with RunFolder.create(tmp_path / "run", resume=True) as run:
        assert run.last_round() == 0
    assert not (tmp_path / "run" / ".lock").exists()


def test_the_same_process_cannot_use_a_folder_twice(folder):
    with pytest.raises(StorageError, match=r"output folder in use: .* by this process"):
        RunFolder.create(folder.path, resume=True)


def test_a_forked_child_does_not_keep_the_lock(tmp_path):
    code = HOLD.replace("import sys, time", "import os, sys, time").replace(
        'print("held", flush=True)', "if os.fork() == 0: time.sleep(60)\nprint('held', flush=True)"
    )
    process = python(code, tmp_path / "run", start_new_session=True)
    try:
        assert process.stdout.readline() == "held\n"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        RunFolder.create(tmp_path / "run", resume=True).close()
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_without_file_locks_the_owner_decides(tmp_path, monkeypatch):
    def unsupported(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", unsupported)
    process = python(HOLD, tmp_path / "run")
    try:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(StorageError, match=rf"output folder in use: .* by process {process.pid}"):
            RunFolder.create(tmp_path / "run", resume=True)
    finally:
        process.kill()
        process.communicate()
    RunFolder.create(tmp_path / "run", resume=True).close()


# Kills and full disks

WRITER = """
import sys
import numpy as np
from ganinfer.storage import RunFolder
with RunFolder.create(sys.argv[1], resume=sys.argv[2] == "1") as run:
    first = run.last_round()
    first = 0 if first is None else first + 1
    print("ready", flush=True)
    for i in range(first, first + 10_000):
        arrays = {name: np.full(50_000, i) for name in "abcd"}
        arrays["input-e"] = np.full(50_000, i)
        run.write_round(i, arrays, {"i": i}, {"network": lambda path: path.write_text(str(i) * 1000)})
        run.drop_arrays(max(i - 1, 0), "input-")
        run.write_json("result.json", {"i": i, "text": str(i) * 10_000})
        run.write_table("trajectory.parquet", {"round": np.full(1000, i)})
"""


def assert_consistent(path: Path) -> int:
    """Every visible round, JSON and table is whole; the last complete round."""
    with RunFolder.create(path, resume=True) as run:
        last = run.last_round()
        assert run.rounds() == list(range(last + 1))
        for index in run.rounds():
            arrays, values, folder = run.read_round(index)
            assert values == {"i": index}
            assert all((array == index).all() and array.shape == (50_000,) for array in arrays.values())
            assert arrays.keys() - {"input-e"} == set("abcd")
            run.drop_arrays(index, "input-")
            assert {e.name for e in folder.iterdir()} == {*(f"{n}.npy" for n in "abcd"), "network", "round.json"}
            assert (folder / "network").read_text() == str(index) * 1000
        if (path / "result.json").exists():
            result = run.read_json("result.json")
            assert result["text"] == str(result["i"]) * 10_000
            assert result["i"] in (last, last - 1)
        if (path / "trajectory.parquet").exists():
            assert run.read_table("trajectory.parquet")["round"].shape == (1000,)
        assert {e.name for e in path.iterdir()} <= {".lock", "rounds", "result.json", "trajectory.parquet"}
        return last


def test_a_kill_at_any_moment_leaves_the_previous_complete_state(tmp_path):
    rng = np.random.default_rng(1)
    last = -1
    for attempt in range(6):
        process = python(WRITER, tmp_path / "run", int(attempt > 0))
        assert process.stdout.readline() == "ready\n"
        deadline = time.monotonic() + 10
        while not (tmp_path / "run" / "rounds" / f"{last + 1:04d}").exists() and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(float(rng.uniform(0, 0.08)))
        process.kill()
        process.communicate()
        reached = assert_consistent(tmp_path / "run")
        assert reached > last
        last = reached


FULL = """
import resource, sys
import numpy as np
from ganinfer.storage import RunFolder
with RunFolder.create(sys.argv[1]) as run:
    run.write_round(0, {"a": np.zeros(10)}, {})
    run.write_json("result.json", {"ok": True})
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    writes = {
        "round": lambda: run.write_round(1, {"a": np.zeros(100), "b": np.zeros(100_000)}, {}),
        "json": lambda: run.write_json("result.json", {"text": "x" * 1_000_000}),
        "table": lambda: run.write_table("t.parquet", {"a": np.random.default_rng(1).random(100_000)}),
        "npz": lambda: run.write_arrays("fit.npz", {"a": np.random.default_rng(1).random(100_000)}),
    }
    try:
        writes[sys.argv[2]]()
    except ValueError as error:
        print(error)
"""


@pytest.mark.parametrize("kind", ["round", "json", "table", "npz"])
def test_a_full_disk_is_named_and_nothing_is_half_written(tmp_path, kind):
    assert resource.RLIMIT_FSIZE is not None
    process = python(FULL, tmp_path / "run", kind)
    output, errors = process.communicate(timeout=60)
    assert "disk full: cannot write" in output, errors
    assert str(tmp_path / "run") in output
    assert "free space" in output
    assert "--resume" in output
    with RunFolder.create(tmp_path / "run", resume=True) as run:
        assert run.last_round() == 0
        assert run.read_json("result.json")["ok"] is True
        assert sorted(e.name for e in run.path.iterdir()) == [".lock", "result.json", "rounds"]
