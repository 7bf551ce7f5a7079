"""One run a folder: a lock that ends with its process, and who holds it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ganinfer.storage.replacing import StorageError, told

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
_in_use: set[Path] = set()


class Lock:
    """An exclusive lock on a run folder that ends with the process, however that ends.

    A POSIX record lock, because forked workers don't inherit it; it doesn't exclude the same process, hence
    ``_in_use``. On file systems without locks the owner's process id and start time decide.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._path = folder / ".lock"
        _check_own(folder)
        while not self._taken(folder):
            os.close(self._descriptor)
        now = {"pid": os.getpid(), "started": _started(os.getpid()), "host": socket.gethostname(), "time": time.time()}
        with told(self._path):
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, json.dumps(now).encode(), 0)
        _in_use.add(self._folder)

    def _taken(self, folder: Path) -> bool:
        """Lock the file; false when its last owner removed it meanwhile, so that it has to be opened again."""
        with told(self._path):
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        owner = _owner(self._descriptor)
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in _NO_LOCKS or _alive(owner):
                os.close(self._descriptor)
                raise StorageError(_in_use_by(folder, owner)) from error
        return self._path.exists() and self._path.stat().st_ino == os.fstat(self._descriptor).st_ino

    def release(self) -> None:
        if self._folder in _in_use:
            _in_use.discard(self._folder)
            with contextlib.suppress(OSError):
                self._path.unlink()
            os.close(self._descriptor)


def check_free(folder: Path) -> None:
    """Raise :class:`StorageError` where a run has locked the folder; nothing is written."""
    _check_own(folder)
    try:
        descriptor = os.open(folder / ".lock", os.O_RDONLY)
    except OSError:
        return
    owner = _owner(descriptor)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _NO_LOCKS or _alive(owner):
            raise StorageError(_in_use_by(folder, owner)) from error
    finally:
        os.close(descriptor)


def _check_own(folder: Path) -> None:
    if folder.resolve() in _in_use:
        raise StorageError(f"output folder in use: {folder} by this process; choose another with --output")


def _in_use_by(folder: Path, owner: Mapping[str, Any]) -> str:
    since = time.strftime("%Y-%m-%d %H:%M", time.localtime(owner.get("time", 0)))
    who = f"process {owner['pid']} on {owner['host']} since {since}" if "pid" in owner else "another process"
    hint = f"wait for it or choose another with --output (if that process is gone, remove {folder / '.lock'})"
    return f"output folder in use: {folder} by {who}; {hint}"


def _owner(descriptor: int) -> dict[str, Any]:
    try:
        owner = json.loads(os.pread(descriptor, 4096, 0) or b"{}")
    except ValueError:
        return {}
    return owner if isinstance(owner, dict) else {}


def _started(pid: int) -> str | None:
    """When a process started, in the kernel's clock ticks; ``None`` where /proc does not exist."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def _alive(owner: Mapping[str, Any]) -> bool:
    """Whether a lock's owner still runs, as far as this machine can know."""
    if "pid" not in owner:
        return False
    if owner.get("host") != socket.gethostname():
        return True
    try:
        os.kill(owner["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return _started(owner["pid"]) == owner.get("started")
