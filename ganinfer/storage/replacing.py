"""Files that appear as a whole or not at all, and what to say where the disk does not take them."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
#: What a run does about a full disk, once there is room.
_GO_ON = "go on with --resume, or start again where no round was complete"


class StorageError(ValueError):
    """The run folder cannot be used, read or written."""


@contextlib.contextmanager
def told(path: Path, then: str = _GO_ON) -> Iterator[None]:
    """Turn errors of the operating system into one sentence that names the folder and the remedy.

    ``then`` is what to do once a full disk has room again.
    """
    try:
        yield
    except OSError as error:
        folder = path if path.is_dir() else path.parent
        if error.errno in _FULL:
            remedy = f"free space or raise the quota or file size limit there, then {then}"
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            remedy = "the folder must be writable; choose another with --output"
        else:
            remedy = "the folder must be readable and writable"
        what = f"{'disk full: ' if error.errno in _FULL else ''}cannot write {path.name} in {folder}"
        raise StorageError(f"{what}: {error.strerror or error}; {remedy}") from error


def replace(target: Path, write: Callable[[Path], Any], then: str = _GO_ON) -> None:
    """Make ``target`` with ``write`` under a temporary name beside it, flush it, and rename it into place."""
    with told(target, then):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.parent / f".{target.name}.{os.getpid()}.tmp"
        remove(temporary)
        try:
            write(temporary)
            _flush(temporary)
            if temporary.is_dir() and target.is_dir():
                old = target.parent / f".{target.name}.old.tmp"
                remove(old)
                target.rename(old)
                temporary.rename(target)
                remove(old)
            else:
                temporary.replace(target)
            _sync(target.parent)
        except BaseException:
            remove(temporary)
            raise


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Have a file, or a folder with everything in it, reach the disk."""
    if path.is_dir():
        for entry in path.iterdir():
            _flush(entry)
    _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
