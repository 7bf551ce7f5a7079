"""Ray: groups of items as stateless tasks, on a Ray of our own on this machine or on a running cluster.

Lost workers and nodes are answered here rather than by Ray's own retries, by the same rule as in the pool of processes:
an item that takes its worker down is found, and tried a bounded number of times.
"""

from __future__ import annotations

import os
import signal
import socket
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ganinfer.execution.base import GROUPS_PER_WORKER, TARGET_BYTES, ExecutionError, Executor, Group, Groups, num_cores
from ganinfer.execution.worker import (
    THREAD_VARIABLES,
    overdue,
    pack,
    run_group_on_ray,
    search_path,
    taken_report,
    unpack,
)

T = TypeVar("T")
R = TypeVar("R")

#: Seconds to wait for the port of a cluster to answer.
_REACH = 5.0
#: Seconds that machines of a cluster have to say whether a worker hung there.
_ANSWER = 60.0
#: Seconds between looks while nothing comes.
_LOOK = 5.0
_BASE_STORE = 128 * 2**20


@dataclass(frozen=True)
class _Sent:
    """A group that Ray has, when Ray got it, and the file for its stack if it hangs."""

    group: Group
    time: float
    report: str


class RayExecutor(Executor):
    """Shuts down the Ray that it started, and no other."""

    def __init__(self, workers: int | None = None, timeout: float = 600, address: str | None = None):
        self._workers = workers
        self._timeout = timeout
        self._address, self._setting = named_address(address)
        self._ray = _imported(self._address)
        self._owner = not self._ray.is_initialized()
        self._embedded = False
        if self._owner:
            self._connect()
        elif ":" in self._address and self._address != self._ray.get_runtime_context().gcs_address:
            present = self._ray.get_runtime_context().gcs_address
            raise ExecutionError(
                f"{self._setting} is {self._address}, but this process is connected to Ray at {present}"
            )
        # Crashes are retried here, item by item; Ray would send whole groups again, hung ones too.
        self._task = self._ray.remote(num_cpus=1, max_retries=0)(run_group_on_ray)
        self._paths = search_path() if self._alone() else None
        # For stacks of groups that hang. Of a cluster, each machine has them among its temporary files.
        self._reports = tempfile.TemporaryDirectory(prefix="ganinfer-", ignore_cleanup_errors=True)
        self._folder = self._reports.name if self._embedded else ""

    @property
    def num_workers(self) -> int:
        """Tasks that may run at once."""
        available = max(1, int(self._ray.cluster_resources().get("CPU", 1)))
        return min(self._workers or available, available)

    def run(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[tuple[int, R]]:
        num_workers = self.num_workers
        groups = Groups(items, num_workers)
        pending: dict[Any, _Sent] = {}
        # What is in flight when the caller stops is left to end: cancelling a task that ends at that moment crashes the
        # driver inside Ray (seen with 2.60), and shutting down takes the workers along.
        while self._feed(groups, function, pending, num_workers):
            ready, _ = self._ray.wait(list(pending), num_returns=1, timeout=_LOOK)
            outcomes = [self._outcome(ref, pending.pop(ref), groups) for ref in ready]
            self._feed(groups, function, pending, num_workers)
            for outcome in outcomes:
                yield from outcome

    def close(self) -> None:
        if self._owner and self._ray.is_initialized():
            self._ray.shutdown()
        self._owner = False
        self._reports.cleanup()

    def _feed(
        self, groups: Groups, function: Callable[[Any], Any], pending: dict[Any, _Sent], num_workers: int
    ) -> bool:
        """Fill the window; whether anything is in flight.

        On a shared cluster nothing but the window keeps us to the workers that were asked for.
        """
        limited = self._workers is not None and not self._embedded
        window = num_workers if limited else GROUPS_PER_WORKER * num_workers
        while len(pending) < window:
            group = groups.next()
            if group is None:
                break
            payload = pack(function, group.items, self._timeout)
            sent = _Sent(group, time.monotonic(), os.path.join(self._folder, f"ganinfer-{uuid.uuid4().hex}"))
            pending[self._task.remote(payload, self._paths, sent.report)] = sent
        return bool(pending)

    def _outcome(self, ref: Any, sent: _Sent, groups: Groups) -> Iterator[tuple[int, Any]]:
        errors, group = self._ray.exceptions, sent.group
        try:
            outcome = self._ray.get(ref)
        except (
            errors.WorkerCrashedError,
            errors.NodeDiedError,
            errors.OutOfMemoryError,
            errors.ObjectLostError,
        ) as error:
            # It may have waited long for its turn and then died of something else: only a report says that it hung.
            late = time.monotonic() - sent.time >= self._timeout and isinstance(error, errors.WorkerCrashedError)
            reason = overdue(self._report(sent.report), self._timeout) if late else None
            groups.died(group, reason or _described(error), hung=reason is not None)
            return iter(())
        except errors.RayError as error:
            raise ExecutionError(f"Ray cannot run the work: {_described(error)}") from error
        seconds, results, raised = unpack(outcome)
        groups.finished(group, seconds, len(outcome))
        return _results(group, results, raised)

    def _report(self, name: str) -> str:
        """The stack that a worker left on its machine, empty if none; Ray does not say on which, so all are asked."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as Pinned

        take = self._ray.remote(num_cpus=0, max_retries=0)(taken_report)
        refs = [take.options(scheduling_strategy=Pinned(n, soft=False)).remote(name) for n in self._nodes()]
        answered, _ = self._ray.wait(refs, num_returns=len(refs), timeout=_ANSWER)
        reports = []
        for ref in answered:
            # A machine that is gone has no report, and without one the item is tried again.
            with suppress(self._ray.exceptions.RayError):
                reports.append(self._ray.get(ref))
        return "".join(reports)

    def _nodes(self) -> list[str]:
        return [node["NodeID"] for node in self._ray.nodes() if node["Alive"]]

    def _alone(self) -> bool:
        """Whether this machine is the whole cluster: its workers then find modules where we do."""
        return self._nodes() == [self._ray.get_runtime_context().get_node_id()]

    def _connect(self) -> None:
        ray, address = self._ray, self._address
        settings: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "namespace": "ganinfer"}
        if address == "local":
            self._embedded = True
            workers = self._workers or num_cores()
            store = _BASE_STORE + workers * (GROUPS_PER_WORKER + 1) * TARGET_BYTES
            settings |= {"num_cpus": workers, "include_dashboard": False, "object_store_memory": store}
        else:
            _reach(address, self._setting)
        for last in (False, True) if self._embedded else (True,):
            try:
                with _environment(dict.fromkeys(THREAD_VARIABLES, "1") if self._embedded else {}), _sigterm_kept():
                    ray.init(address=address, **settings)
                return
            except Exception as error:
                # Ray gives its own servers half a minute, which a busy machine may need more than once.
                ray.shutdown()
                if last:
                    raise ExecutionError(_unreachable(address, self._setting, error)) from error


def check_reachable(address: str | None) -> None:
    """Raise :class:`ExecutionError` for an address that is none, or where nothing answers; Ray is not imported."""
    named, setting = named_address(address)
    if named != "local":
        _reach(named, setting)


def named_address(address: str | None) -> tuple[str, str]:
    """The address to use, and the setting that it comes from."""
    if address:
        return address, "execution.address"
    return os.environ.get("RAY_ADDRESS") or "local", "the environment variable RAY_ADDRESS"


def _imported(address: str) -> Any:
    """Ray, which reads these variables when it is imported."""
    if address == "local" or _has_token():
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    return ray


def _has_token() -> bool:
    """Whether a cluster that asks for a token could be given one; one that asks for none would refuse the attempt."""
    named = "RAY_AUTH_TOKEN" in os.environ or "RAY_AUTH_TOKEN_PATH" in os.environ
    return named or (Path.home() / ".ray" / "auth_token").exists()


@contextmanager
def _environment(defaults: Mapping[str, str]) -> Iterator[None]:
    """Variables for the processes that Ray starts, not for this one."""
    added = {name: value for name, value in defaults.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


@contextmanager
def _sigterm_kept() -> Iterator[None]:
    """Keep the program's own answer to SIGTERM, where it has one: Ray's ends the process without a word."""
    before = signal.getsignal(signal.SIGTERM)
    kept = callable(before) and threading.current_thread() is threading.main_thread()
    try:
        yield
    except SystemExit:  # by Ray's handler, already
        if callable(before):
            before(signal.SIGTERM, None)
        raise
    finally:
        if kept:
            signal.signal(signal.SIGTERM, before)


def _results(group: Group, results: list[Any], error: BaseException | None) -> Iterator[tuple[int, Any]]:
    yield from zip(group.indices, results, strict=False)
    if error is not None:
        raise error


def _reach(address: str, setting: str) -> None:
    """Raise :class:`ExecutionError` at once where Ray would try for a long time."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in host:
        raise ExecutionError(f"{setting} must be auto or HOST:PORT of a Ray cluster, not {address!r}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_REACH).close()
    except (OSError, OverflowError) as error:
        raise ExecutionError(_unreachable(address, setting, error)) from error


def _unreachable(address: str, setting: str, error: Exception) -> str:
    reason = _described(error)
    if address == "local":
        return f"Ray did not start on this machine: {reason}; executor process does without it"
    if address == "auto":
        return f"{setting} is auto, but no Ray cluster runs here ({reason}); start one with: ray start --head"
    if isinstance(error, OSError) and not isinstance(error, ConnectionError):
        return f"{setting} {address!r} cannot be reached ({reason})"
    return (
        f"no Ray cluster lets us in at {setting} {address!r} ({reason}); `ray start --head` prints it, "
        f"and both ends need the same version of Ray and the same token (RAY_AUTH_TOKEN or ~/.ray/auth_token)"
    )


def _described(error: Exception) -> str:
    first = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
