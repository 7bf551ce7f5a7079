"""Executors: the same results everywhere, nothing lost or doubled, and clean ends."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ganinfer import execution
from ganinfer.execution import ExecutionError, WorkerError, base
from ganinfer.execution.base import Groups

PARALLEL = ("process", "ray")


# Functions for workers: at module level, found by name.


def square(x):
    return x * x


def wait(seconds):
    time.sleep(seconds)
    return seconds


def weigh(seconds):
    """A quarter of a MiB, after ``seconds``."""
    time.sleep(seconds)
    return b"x" * 2**18


def heavy_modules(_):
    heavy = ("tensorflow", "keras", "mlflow", "pandas", "matplotlib")
    return [m for m in heavy if m in sys.modules], os.environ.get("OMP_NUM_THREADS"), os.getpid()


def search_path(_):
    return [os.path.abspath(p) for p in sys.path]


def fail_at(x):
    if x == 7:
        raise LookupError("seven is not here")
    return x


def unpicklable(x):
    return lambda: x


def die_once(item):
    """Kill the own process by SIGKILL the first time that ``item`` names a file that is not there."""
    index, flag = item
    if flag and not Path(flag).exists():
        Path(flag).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return index


def die_always(index):
    if index == 5:
        os._exit(13)
    return index


def hang_at(index):
    while index == 5:
        time.sleep(0.02)
    return index


def hang_in_c(index):
    """Hangs without ever giving up the interpreter's lock."""
    if index == 2:
        (1 << 40_000_000) % ((1 << 20_000_000) - 1)
    return index


def die_once_after(item):
    """Take some seconds, and at their end do what :func:`die_once` does."""
    seconds, _ = item
    time.sleep(seconds)
    return die_once(item)


def record_pid(folder):
    Path(folder, str(os.getpid())).touch()
    time.sleep(0.05)
    return os.getpid()


def start_child_and_hang(folder):
    child = subprocess.Popen(["sleep", "600"])
    Path(folder, str(child.pid)).touch()
    time.sleep(600)


def alive(pid):
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def wait_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


# --- every executor -----------------------------------------------------------------------------------------------


def test_every_item_once_with_its_index(executor):
    pairs = list(executor.run(square, range(500)))
    assert sorted(pairs) == [(i, i * i) for i in range(500)]
    assert list(execution.ordered(executor.run(square, iter(range(50))))) == [i * i for i in range(50)]


def test_no_items(executor):
    assert list(executor.run(square, [])) == []


@pytest.mark.parametrize("kind", PARALLEL)
def test_workers_import_nothing_heavy_and_use_one_thread(kind, embedded_ray):
    with execution.make(kind, 2) as executor:
        found = [result for _, result in executor.run(heavy_modules, range(4))]
    assert all(modules == [] and threads == "1" and pid != os.getpid() for modules, threads, pid in found)


def test_workers_look_for_modules_where_we_do(executor):
    """Not in the folder where a user works, whose `simulators` may not be ours, unless we look there too."""
    assert [result for _, result in executor.run(search_path, range(2))] == [search_path(None)] * 2


def test_an_error_in_the_items_themselves_ends_the_run(executor):
    def items():
        yield 1
        raise LookupError("no more templates")

    with pytest.raises(LookupError, match="no more templates"):
        list(executor.run(square, items()))
    assert list(executor.run(square, [3])) == [(0, 9)]


def test_an_error_reaches_the_caller(executor):
    with pytest.raises(LookupError, match="seven is not here"):
        list(executor.run(fail_at, range(40)))
    assert sorted(executor.run(square, range(3))) == [(0, 0), (1, 1), (2, 4)]


def test_items_are_taken_lazily(executor):
    taken = []

    def items():
        for i in range(100_000):
            taken.append(i)
            yield 0.01

    run = executor.run(wait, items())
    for _ in range(3):
        next(run)
    run.close()
    assert len(taken) < 300
    assert sorted(executor.run(square, range(3))) == [(0, 0), (1, 1), (2, 4)]


@pytest.mark.parametrize("kind", PARALLEL)
def test_a_fast_item_overtakes_a_slow_one(kind, embedded_ray):
    with execution.make(kind, 2) as executor:
        list(executor.run(square, range(2)))
        assert next(executor.run(wait, [5.0, 0.0, 0.0, 0.0])) == (1, 0.0)


@pytest.mark.parametrize("kind", PARALLEL)
def test_what_waits_for_a_slow_item_is_bounded(kind, embedded_ray, monkeypatch):
    monkeypatch.setattr(base, "WAITING_BYTES", 2**23)
    taken = []

    def items():
        for i in range(400):
            taken.append(i)
            yield 3.0 if i == 0 else 0.0

    with execution.make(kind, 2) as executor:
        results = execution.ordered(executor.run(weigh, items()))
        next(results)
        # Beside what may wait: the group that was one too many, and up to three behind the slow item or at work.
        assert len(taken) <= (base.WAITING_BYTES + 4 * base.TARGET_BYTES) / 2**18
        assert sum(1 for _ in results) == 399
    assert taken == list(range(400))


def test_slow_items_wait_for_no_particular_worker():
    """What is left goes to whoever is free, not behind the slowest."""
    with execution.make("process", 2) as executor:
        list(executor.run(square, range(2)))
        order = [index for index, _ in executor.run(wait, [0.7, 0.7, 2.5, 0.7, 0.7])]
    assert order[2:] == [3, 4, 2]


# --- dead and hanging workers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", PARALLEL)
def test_workers_killed_in_mid_run_lose_and_double_nothing(kind, embedded_ray, tmp_path):
    flags = {10: str(tmp_path / "a"), 70: str(tmp_path / "b")}
    items = [(i, flags.get(i)) for i in range(200)]
    with execution.make(kind, 2) as executor:
        assert list(execution.ordered(executor.run(die_once, items))) == list(range(200))
    assert (tmp_path / "a").exists()
    assert (tmp_path / "b").exists()


@pytest.mark.parametrize("kind", PARALLEL)
def test_a_worker_killed_from_outside(kind, embedded_ray, tmp_path):
    with execution.make(kind, 2) as executor:
        run = executor.run(record_pid, [str(tmp_path)] * 60)
        results = [next(run) for _ in range(10)]
        os.kill(results[-1][1], signal.SIGKILL)
        results += list(run)
    assert sorted(index for index, _ in results) == list(range(60))


@pytest.mark.parametrize("kind", PARALLEL)
def test_an_item_that_always_kills_its_worker_is_named(kind, embedded_ray):
    with execution.make(kind, 2) as executor:
        with pytest.raises(WorkerError, match=r"item 5: .*3 times") as caught:
            list(executor.run(die_always, range(20)))
        assert (caught.value.index, caught.value.item) == (5, 5)
        assert sorted(executor.run(square, range(3))) == [(0, 0), (1, 1), (2, 4)]


@pytest.mark.parametrize("kind", execution.KINDS)
def test_an_item_that_hangs_is_named(kind, embedded_ray):
    start = time.monotonic()
    with execution.make(kind, 2, timeout=1.0) as executor:
        with pytest.raises(WorkerError, match=r"item 5: took longer than 1 s") as caught:
            list(executor.run(hang_at, range(20)))
        assert caught.value.item == 5
        assert sorted(executor.run(square, range(3))) == [(0, 0), (1, 1), (2, 4)]
    assert time.monotonic() - start < 60


def test_a_worker_that_dies_after_a_long_wait_for_its_turn_is_not_called_hung(embedded_ray, tmp_path):
    """Ray has all four from the start, and two workers: the last one begins after 1.5 s and dies after 2.7 s."""
    items = [(1.5, None), (1.5, None), (0.1, None), (1.2, str(tmp_path / "dead"))]
    with execution.make("ray", timeout=2.5) as executor:
        assert list(execution.ordered(executor.run(die_once_after, items))) == [1.5, 1.5, 0.1, 1.2]
    assert (tmp_path / "dead").exists()


@pytest.mark.parametrize("kind", PARALLEL)
def test_a_hang_in_compiled_code_is_ended_and_located(kind, embedded_ray):
    with (
        execution.make(kind, 1, timeout=1.0) as executor,
        pytest.raises(WorkerError, match=r"item 2: took longer than 1 s, in .*test_execution\.py.* in hang_in_c"),
    ):
        list(executor.run(hang_in_c, range(3)))


def test_what_a_hanging_simulator_started_goes_with_it(tmp_path):
    with execution.make("process", 1, timeout=1.0) as executor, pytest.raises(WorkerError, match="longer than 1 s"):
        list(executor.run(start_child_and_hang, [str(tmp_path)]))
    children = [int(p.name) for p in tmp_path.iterdir()]
    assert children
    wait_until(lambda: not any(alive(pid) for pid in children))


def test_a_result_that_cannot_leave_its_worker_is_an_error():
    with execution.make("process", 1) as executor, pytest.raises(ExecutionError, match="cannot leave its worker"):
        list(executor.run(unpicklable, range(1)))


def test_a_worker_that_cannot_start_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setattr("sys.executable", "/bin/false")
    with execution.make("process", 1) as executor, pytest.raises(ExecutionError, match=r"did not start.*exit status 1"):
        list(executor.run(square, range(3)))


def test_serial_runs_in_other_threads_too():
    found = []
    thread = threading.Thread(target=lambda: found.extend(execution.make("serial").run(square, range(3))))
    thread.start()
    thread.join()
    assert found == [(0, 0), (1, 1), (2, 4)]


# --- the end of a run -------------------------------------------------------------------------------------------------

INTERRUPTED = """
import sys
sys.path[:0] = [{root!r}]
from ganinfer import execution
from tests.test_execution import record_pid
with execution.make({kind!r}, 2) as executor:
    for _ in executor.run(record_pid, [{folder!r}] * 100000):
        pass
"""


@pytest.mark.parametrize(
    ("kind", "end"),
    [
        ("process", signal.SIGINT),
        ("process", signal.SIGKILL),
        pytest.param("ray", signal.SIGINT, marks=pytest.mark.slow),
        pytest.param("ray", signal.SIGKILL, marks=pytest.mark.verification),
    ],
)
def test_no_process_outlives_the_run(kind, end, tmp_path):
    script = INTERRUPTED.format(root=str(Path(__file__).parent.parent), kind=kind, folder=str(tmp_path))
    driver = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        wait_until(lambda: len(list(tmp_path.iterdir())) == 2, 120)
        driver.send_signal(end)
        _, said = driver.communicate(timeout=60)
    finally:
        driver.kill()
    workers = [int(p.name) for p in tmp_path.iterdir()]
    wait_until(lambda: not any(alive(pid) for pid in workers))
    if end == signal.SIGINT:
        assert b"KeyboardInterrupt" in said
    assert driver.returncode != 0


def test_an_executor_closes_only_the_ray_that_it_started(embedded_ray):
    import ray

    with execution.make("ray", 2):
        pass
    assert ray.is_initialized()


# --- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "proces"}, r"executor must be one of serial, process, ray, not 'proces'; did you mean 'process'\?"),
        ({"kind": "process", "workers": 0}, r"workers must be a whole number of at least 1, or null, not 0"),
        ({"kind": "process", "workers": 1.5}, r"workers must be a whole number"),
        ({"kind": "process", "timeout": 0}, r"timeout must be above 0 seconds, not 0"),
    ],
)
def test_settings_that_cannot_work(settings, message):
    with pytest.raises(ExecutionError, match=message):
        execution.make(**settings)


ADDRESS = """
import sys, time
from ganinfer import execution
start = time.monotonic()
try:
    execution.make("ray", 2, address=sys.argv[1])
except ValueError as error:
    print(error, "IN TIME" if time.monotonic() - start < 15 else "LATE")
"""


def test_a_wrong_address_in_the_environment_is_named_as_such(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    script = ADDRESS.replace(", address=sys.argv[1]", "")
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert said.stdout.startswith("no Ray cluster lets us in at the environment variable RAY_ADDRESS '127.0.0.1:1'")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:1", "no Ray cluster lets us in at execution.address '127.0.0.1:1' (ConnectionRefusedError"),
        ("no-such-host.invalid:6379", "execution.address 'no-such-host.invalid:6379' cannot be reached (gaierror"),
        ("ray://head:10001", "execution.address must be auto or HOST:PORT of a Ray cluster, not 'ray://head:10001'"),
        ("head", "execution.address must be auto or HOST:PORT of a Ray cluster, not 'head'"),
    ],
)
def test_a_wrong_ray_address_is_answered_quickly(address, message):
    said = subprocess.run([sys.executable, "-c", ADDRESS, address], capture_output=True, text=True, timeout=60)
    assert said.stdout.startswith(message)
    assert "IN TIME" in said.stdout


# --- grouping ---------------------------------------------------------------------------------------------------------


def sizes(items, seconds, num_workers=2, num_bytes=0.0):
    groups, found = Groups(items, num_workers), []
    while (group := groups.next()) is not None:
        found.append(len(group))
        groups.finished(group, seconds * len(group), int(num_bytes * len(group)))
    return found


def test_groups_grow_to_the_target_time_and_shrink_at_the_end():
    found = sizes(range(20_000), 0.005)
    assert found[0] == 1
    assert max(found) == base.TARGET_SECONDS / 0.005
    assert found[-1] == 1
    assert sum(found) == 20_000


def test_groups_of_slow_items_are_single():
    assert set(sizes(range(30), 2.0)) == {1}


def test_groups_are_bounded_by_the_memory_of_their_results():
    assert max(sizes(iter(range(1000)), 1e-4, num_bytes=2**20)) == base.TARGET_BYTES / 2**20


def test_no_worker_is_left_without_a_group_where_the_number_of_items_is_known():
    assert len(sizes(range(40), 1e-3, num_workers=8)) >= 2 * 8


def test_a_dead_group_is_cut_into_single_items_in_order():
    groups = Groups(iter(range(100)), 2)
    for _ in range(8):
        groups.finished(groups.next(), 1e-3, 1)
    group = groups.next()
    assert len(group) > 1
    groups.died(group, "gone")
    singles = [groups.next() for _ in group.items]
    assert [s.indices for s in singles] == [[i] for i in group.indices]
    groups.died(singles[0], "gone")
    again = groups.next()
    assert again.indices == singles[0].indices
    groups.died(again, "gone")
    with pytest.raises(WorkerError, match=f"item {again.indices[0]}: gone, {base.MAX_TRIES} times"):
        groups.died(groups.next(), "gone")


@pytest.mark.parametrize("seed", range(20))
def test_the_oldest_item_is_always_on_its_way(seed, monkeypatch):
    """However slow it is, and whatever dies: nothing is stuck, nothing lost, and little waits."""
    monkeypatch.setattr(base, "WAITING_BYTES", 50)
    rng = random.Random(seed)
    groups, flying, done = Groups(iter(range(300)), 3), [], set()
    while True:
        while len(flying) < 6 and (group := groups.next()) is not None:
            flying.append(group)
        if not flying:
            break
        oldest = min(set(range(301)) - done)
        assert oldest in {i for group in flying for i in group.indices}
        # The oldest is the last to end, as often as not.
        flying.sort(key=lambda group: group.indices, reverse=rng.random() < 0.9)
        group = flying.pop(0)
        if len(group) > 1 and rng.random() < 0.1:
            groups.died(group, "gone")
            continue
        groups.finished(group, 0.1 * len(group), len(group))
        done |= set(group.indices)
        assert len(done - set(range(oldest))) < 50 + 6 * 5
    assert done == set(range(300))


def test_ordered_holds_back_what_came_early():
    assert list(execution.ordered([(2, "c"), (0, "a"), (1, "b"), (3, "d")])) == ["a", "b", "c", "d"]


# --- patience -----------------------------------------------------------------------------------------------------


def test_a_patient_executor_starts_nothing_for_little_work():
    def start():
        raise AssertionError("started")

    with execution.make_patient(start, 60) as executor:
        assert list(executor.run(square, range(20))) == [(i, i * i) for i in range(20)]
        assert executor.num_workers == 1


def test_a_patient_executor_hands_over_what_is_left():
    with execution.make_patient(lambda: execution.make("process", 2), 0.05) as executor:
        assert sorted(executor.run(wait, [0.04] * 12)) == [(i, 0.04) for i in range(12)]
        assert executor.num_workers == 2
        assert sorted(executor.run(square, range(5))) == [(i, i * i) for i in range(5)]


def test_a_patient_executor_numbers_errors_as_items_are():
    with (
        execution.make_patient(lambda: execution.make("process", 1, timeout=0.5), 0.2) as executor,
        pytest.raises(WorkerError, match="item 5: took longer than") as caught,
    ):
        list(executor.run(wait, [0.1, 0.1, 0.1, 0.01, 0.01, 5, 0.1]))
    assert caught.value.index == 5
