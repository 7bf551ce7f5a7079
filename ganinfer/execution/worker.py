"""What runs in a worker: a group of items, and the main loop of a process of the pool. Imports nothing heavy."""

from __future__ import annotations

import faulthandler
import importlib
import os
import pickle
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import ganinfer
from ganinfer.execution.base import ExecutionError

#: First message of a process of the pool.
READY = b""
_STDERR = 2
#: Numerical libraries would otherwise start one thread a core in every worker.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def pack(function: Callable[[Any], Any], items: list[Any], timeout: float) -> bytes:
    """A group as bytes; what several items share, such as a set-up, is in them once."""
    return pickle.dumps((ganinfer.__version__, timeout, function, items), protocol=5)


def unpack(outcome: bytes) -> tuple[float, list[Any], BaseException | None]:
    """Seconds, results, and the error that ended the group early, if one did."""
    return pickle.loads(outcome)


def run_group(payload: bytes, report: int | None = None) -> bytes:
    """Run a packed group and pack its outcome.

    An item that raises ends the group; its error is part of the outcome. A group that takes longer than its timeout
    ends the process: a thread that needs no interpreter lock does it, so that compiled code is stopped too. ``report``
    is a file descriptor for the stack at that moment.
    """
    start = time.perf_counter()
    results: list[Any] = []
    error: BaseException | None = None
    try:
        timeout, function, items = _loaded(payload)
        faulthandler.dump_traceback_later(timeout, exit=True, file=_STDERR if report is None else report)
        for item in items:
            results.append(function(item))
    except KeyboardInterrupt:
        raise
    except BaseException as raised:
        error = _portable(raised)
    finally:
        faulthandler.cancel_dump_traceback_later()
    return _packed(time.perf_counter() - start, results, error)


def search_path() -> list[str]:
    """Where this process looks for modules, as a worker on the same machine must."""
    return [os.path.abspath(p) for p in sys.path]


def run_group_on_ray(payload: bytes, paths: list[str] | None, name: str) -> bytes:
    """:func:`run_group` in a Ray worker, which has a search path of its own with the main process's folder in it.

    ``paths``: what to look for modules in instead, ``None`` on other machines. ``name``: of a new file for the stack,
    in the machine's folder of temporary files or with a folder of its own; it stays behind if the group hangs.
    """
    if paths is not None and sys.path != paths:
        sys.path[:] = paths
        importlib.invalidate_caches()
    path = Path(tempfile.gettempdir(), name)
    try:
        with path.open("xb") as report:
            return run_group(payload, report.fileno())
    finally:
        path.unlink(missing_ok=True)


def taken_report(name: str) -> str:
    """What :func:`run_group_on_ray` left in that file on this machine, empty where there is none; removes it."""
    path = Path(tempfile.gettempdir(), name)
    try:
        return path.read_text(errors="replace")
    except FileNotFoundError:
        return ""
    finally:
        path.unlink(missing_ok=True)


def overdue(report: str, timeout: float) -> str | None:
    """The reason, with the place in the code, where a report says that the timeout ended its worker; else ``None``."""
    if not report.startswith("Timeout"):
        return None
    # The innermost frame of the main thread, which is the last one.
    frames = report.rpartition("Thread 0x")[2].splitlines()[1:2]
    place = f", in {frames[0].strip().removeprefix('File ')}" if frames else ""
    return f"took longer than {timeout:g} s{place}; execution.timeout says how long is allowed"


def _loaded(payload: bytes) -> Any:
    try:
        loaded = pickle.loads(payload)
    except Exception as error:
        raise ExecutionError(
            f"a worker cannot load its work ({type(error).__name__}: {error}); ganinfer {ganinfer.__version__} on the "
            f"worker and the plugins there must be those of the main process"
        ) from error
    if loaded[0] != ganinfer.__version__:
        raise ExecutionError(f"a worker has ganinfer {ganinfer.__version__}, the main process {loaded[0]}")
    return loaded[1:]


def _portable(error: BaseException) -> BaseException:
    """The error with its traceback as a note, or where it cannot be pickled, another one that says the same."""
    text = "".join(traceback.format_exception(error))
    error.add_note(f"In the worker:\n{text}")
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return ExecutionError(f"{type(error).__name__}: {error}")
    return error


def _packed(seconds: float, results: list[Any], error: BaseException | None) -> bytes:
    try:
        return pickle.dumps((seconds, results, error), protocol=5)
    except Exception as unpicklable:
        return pickle.dumps((seconds, [], ExecutionError(f"a result cannot leave its worker: {unpicklable}")))


def main(descriptor: int, report: int) -> None:
    """Run groups from a connection until it closes, which it does when the main process ends in whatever way."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.set_inheritable(descriptor, False)
    os.set_inheritable(report, False)
    connection = Connection(descriptor)
    inbox: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_receive, args=(connection, inbox), daemon=True).start()
    connection.send_bytes(READY)
    while True:
        connection.send_bytes(run_group(inbox.get(), report))


def _receive(connection: Connection, inbox: SimpleQueue[bytes]) -> None:
    """Take what comes at once, so that neither side ever waits for the other to read."""
    try:
        while True:
            inbox.put(connection.recv_bytes())
    except (EOFError, OSError):
        # The worker leads a process group of its own: what a simulator started goes with it.
        os.killpg(os.getpid(), signal.SIGKILL)
