"""The run folder: complete or absent files and rounds, one run at a time.

Everything is first written under a hidden temporary name in the same folder, flushed to the disk and then renamed,
so that a kill at any moment leaves the previous complete state. Every JSON file carries ``schema_version``.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

import numpy as np

from ganinfer import __version__

RESULT_SCHEMA_VERSION = 1
#: Version of every other JSON file, of the tables and of the round folders.
FORMAT_VERSION = 1

_ROUND = re.compile(r"[0-9]{4,}")
_TEMPORARY = re.compile(r"\..*\.tmp")
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
#: What a run that completed no round may leave; anything else in a folder belongs to somebody.
_LEFTOVERS = ("rounds", "experiment.yaml", "data.json", "warnings.json", "mlflow.json", "mlflow-pending.json", "cache")
_in_use: set[Path] = set()


class StorageError(ValueError):
    """The run folder cannot be used, read or written."""


class RunFolder:
    """One run's folder, locked against other runs until :meth:`close`."""

    def __init__(self, path: Path, lock: _Lock, *, fresh: bool) -> None:
        self.path = path
        self._lock = lock
        self._fresh = fresh

    @classmethod
    def create(cls, path: str | Path, *, resume: bool = False) -> RunFolder:
        """Lock ``path`` for a new run, or with ``resume`` for going on with the run that it holds.

        Raises :class:`StorageError` when another run uses the folder, when it already holds a run or other files,
        or, with ``resume``, when there is nothing to go on with.
        """
        path = Path(path).absolute()
        if (path / ".lock").exists() and (path / "rounds").exists():
            _Lock(path).release()  # a run in progress is named as such, whatever it has written so far
        _check_contents(path, resume=resume)
        with _told(path):
            path.mkdir(parents=True, exist_ok=True)
        folder = cls(path, _Lock(path), fresh=not resume)
        try:
            _check_contents(path, resume=resume)  # another run may have ended while we took the lock
            folder._tidy(fresh=not resume)
        except BaseException:
            folder.close()
            raise
        return folder

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if error is not None and self._fresh and self.last_round() is None:
            self._tidy(fresh=True)  # nothing was finished that could be gone on with
        self.close()

    def close(self) -> None:
        """Release the lock; a folder in which nothing was written disappears."""
        self._lock.release()
        with contextlib.suppress(OSError):
            if [e.name for e in self.path.iterdir()] == ["rounds"]:
                (self.path / "rounds").rmdir()
                self.path.rmdir()

    def _tidy(self, *, fresh: bool) -> None:
        """Remove what a killed run left unfinished, and, for a new run, what a failed start left."""
        with _told(self.path):
            rounds = self.path / "rounds"
            for parent in (self.path, rounds, *(rounds / f"{i:04d}" for i in self.rounds())):
                for entry in parent.iterdir() if parent.is_dir() else ():
                    if _TEMPORARY.fullmatch(entry.name):
                        _remove(entry)
            if fresh:
                for name in _LEFTOVERS:
                    _remove(self.path / name)
            (self.path / "rounds").mkdir(exist_ok=True)

    def rounds(self) -> list[int]:
        """Numbers of the complete rounds, ascending."""
        return completed_rounds(self.path)

    def last_round(self) -> int | None:
        """Number of the last complete round."""
        return max(self.rounds(), default=None)

    def write_round(
        self,
        index: int,
        arrays: Mapping[str, np.ndarray],
        values: Any,
        files: Mapping[str, Callable[[Path], Any]] | None = None,
    ) -> Path:
        """Write round ``index`` as a whole and return its folder ``rounds/NNNN``.

        ``arrays`` become one .npy file each, ``values`` are JSON (non-finite numbers allowed), and each entry of
        ``files`` is called with the path that it has to write. A round that exists is never written again.
        """
        target = self.path / "rounds" / f"{index:04d}"
        if target.exists():
            raise StorageError(f"round {index} is already complete in {self.path}; the next one is {index + 1}")

        def write(folder: Path) -> None:
            folder.mkdir()
            manifest: dict[str, str] = {}
            for name, array in arrays.items():
                manifest[name] = file = _file_name(name, manifest)
                with (folder / file).open("wb") as stream:
                    _write_array(stream, name, array)
            for name, callback in (files or {}).items():
                callback(folder / name)
            record = {"schema_version": FORMAT_VERSION, "ganinfer": __version__, "round": index}
            record |= {"arrays": manifest, "values": values}
            (folder / "round.json").write_text(_dumps(record, strict=False), encoding="utf-8")

        _replace(target, write)
        return target

    def read_round(self, index: int) -> tuple[dict[str, np.ndarray], Any, Path]:
        """Arrays (memory-mapped, read-only), values and folder of a complete round."""
        folder = self.path / "rounds" / f"{index:04d}"
        if index not in self.rounds():
            done = ", ".join(map(str, self.rounds())) or "none"
            raise StorageError(f"round {index} is not complete in {self.path}; complete rounds: {done}")
        record = read_json(folder / "round.json")
        arrays: dict[str, np.ndarray] = {}
        for name, file in record["arrays"].items():
            try:
                arrays[name] = np.load(folder / file, mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError, EOFError) as error:
                raise StorageError(f"array {name!r} of round {index} is damaged: {folder / file}: {error}") from error
        return arrays, record["values"], folder

    def drop_arrays(self, index: int, prefix: str) -> None:
        """Remove the arrays of a complete round whose names begin with ``prefix``: nothing will read them again.

        First from its record, then from the disk; repeating it finishes what a kill broke off.
        """
        folder = self.path / "rounds" / f"{index:04d}"
        record = read_json(folder / "round.json")
        dropped = {name: file for name, file in record["arrays"].items() if name.startswith(prefix)}
        if dropped:
            record["arrays"] = {name: file for name, file in record["arrays"].items() if name not in dropped}
            record["dropped"] = {**record.get("dropped", {}), **dropped}
            text = _dumps(record, strict=False)
            _replace(folder / "round.json", lambda path: path.write_text(text, encoding="utf-8"))
        with _told(folder):
            for file in record.get("dropped", {}).values():
                (folder / file).unlink(missing_ok=True)

    def write_json(self, name: str, value: Mapping[str, Any]) -> Path:
        """Write a JSON object with its ``schema_version``; numbers that are not finite become null."""
        version = RESULT_SCHEMA_VERSION if name == "result.json" else FORMAT_VERSION
        text = _dumps({"schema_version": version, **value}, strict=True)
        return self.write_text(name, text)

    def read_json(self, name: str) -> dict[str, Any]:
        return read_json(self.path / name)

    def write_text(self, name: str, text: str) -> Path:
        return self.write_file(name, lambda path: path.write_text(text, encoding="utf-8"))

    def write_arrays(self, name: str, arrays: Mapping[str, np.ndarray]) -> Path:
        """Write named arrays as one .npz file."""

        def write(path: Path) -> None:
            with path.open("wb") as stream:
                np.savez_compressed(stream, allow_pickle=False, **arrays)

        return self.write_file(name, write)

    def write_table(self, name: str, columns: Mapping[str, Any]) -> Path:
        """Write equally long columns as a Parquet file."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        lengths = {key: len(column) for key, column in columns.items()}
        if len(set(lengths.values())) > 1:
            raise StorageError(f"columns of {name} must be equally long, got {lengths}")
        table = pa.table({key: pa.array(column) for key, column in columns.items()})
        table = table.replace_schema_metadata({"ganinfer.schema_version": str(FORMAT_VERSION)})
        return self.write_file(name, lambda path: pq.write_table(table, path))

    def read_table(self, name: str) -> dict[str, np.ndarray]:
        return read_table(self.path / name)

    def write_file(self, name: str, write: Callable[[Path], Any]) -> Path:
        """Let ``write`` make a file or a folder, which appears as ``name`` once it is complete."""
        target = self.path / name
        _replace(target, write)
        return target


def completed_rounds(path: Path) -> list[int]:
    """Numbers of the complete rounds in a run folder, ascending."""
    rounds = path / "rounds"
    if not rounds.is_dir():
        return []
    return sorted(int(e.name) for e in rounds.iterdir() if _ROUND.fullmatch(e.name) and (e / "round.json").is_file())


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of this version; raises :class:`StorageError` for a damaged file or another version."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise StorageError(f"{path} does not exist") from error
    except (OSError, ValueError) as error:
        raise StorageError(f"{path} is not a readable JSON file: {error}") from error
    expected = RESULT_SCHEMA_VERSION if path.name == "result.json" else FORMAT_VERSION
    found = value.get("schema_version") if isinstance(value, dict) else None
    if found != expected:
        _refuse_version(path, found, expected, value.get("ganinfer") if isinstance(value, dict) else None)
    return value


def read_table(path: Path) -> dict[str, np.ndarray]:
    """Columns of a Parquet file written by :meth:`RunFolder.write_table`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except FileNotFoundError as error:
        raise StorageError(f"{path} does not exist") from error
    except (OSError, pa.ArrowInvalid) as error:
        raise StorageError(f"{path} is not a readable Parquet file: {error}") from error
    found = (table.schema.metadata or {}).get(b"ganinfer.schema_version", b"").decode()
    if found != str(FORMAT_VERSION):
        _refuse_version(path, found or None, FORMAT_VERSION, None)
    return {name: table.column(name).to_numpy() for name in table.column_names}


def _refuse_version(path: Path, found: Any, expected: int, writer: str | None) -> None:
    install = f"ganinfer {writer}" if writer else "the ganinfer that wrote it"
    remedy = f"read it with {install}, or start a new run with this one (--output)"
    if isinstance(found, int | str) and str(found).isdigit() and int(found) > expected:
        remedy = f"it was written by a newer ganinfer: pip install --upgrade ganinfer, or {remedy}"
    rule = f"ganinfer {__version__} reads {expected}"
    raise StorageError(f"{path} has schema_version {found!r}, {rule}; to migrate: {remedy}")


def _check_contents(path: Path, *, resume: bool) -> None:
    """Raise unless ``path`` may be given to a new run, or to a resumed one."""
    if path.exists() and not path.is_dir():
        raise StorageError(f"output folder {path} is a file; choose another one with --output")
    names = {e.name for e in path.iterdir()} if path.exists() else set()
    names = {name for name in names if name != ".lock" and not _TEMPORARY.fullmatch(name)}
    rounds = completed_rounds(path)
    if resume:
        if "rounds" not in names:
            raise StorageError(f"nothing to resume: {path} holds no run; start it without --resume, or see --output")
        return
    go_on = f"go on with it: --resume --output {path}; or choose another folder: --output"
    if "result.json" in names:
        raise StorageError(f"output folder {path} already holds a finished run; {go_on}")
    if rounds:
        held = f"an unfinished run ({len(rounds)} complete rounds)"
        raise StorageError(f"output folder {path} already holds {held}; {go_on}")
    foreign = sorted(names - set(_LEFTOVERS))
    if foreign or (names and "rounds" not in names):
        shown = ", ".join((foreign or sorted(names))[:3])
        remedy = "choose another with --output"
        raise StorageError(f"output folder {path} is not empty ({shown}) and holds no run; {remedy}")


class _Lock:
    """An exclusive lock on a run folder that ends with the process, however that ends.

    A POSIX record lock, because forked workers don't inherit it; it doesn't exclude the same process, hence
    ``_in_use``. On file systems without locks the owner's process id and start time decide.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._path = folder / ".lock"
        if self._folder in _in_use:
            raise StorageError(f"output folder in use: {folder} by this process; choose another with --output")
        while not self._taken(folder):
            os.close(self._descriptor)
        now = {"pid": os.getpid(), "started": _started(os.getpid()), "host": socket.gethostname(), "time": time.time()}
        with _told(self._path):
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, json.dumps(now).encode(), 0)
        _in_use.add(self._folder)

    def _taken(self, folder: Path) -> bool:
        """Lock the file; false when its last owner removed it meanwhile, so that it has to be opened again."""
        with _told(self._path):
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        owner = self._owner()
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in _NO_LOCKS or _alive(owner):
                os.close(self._descriptor)
                since = time.strftime("%Y-%m-%d %H:%M", time.localtime(owner.get("time", 0)))
                who = (
                    f"process {owner['pid']} on {owner['host']} since {since}" if "pid" in owner else "another process"
                )
                hint = f"wait for it or choose another with --output (if that process is gone, remove {self._path})"
                raise StorageError(f"output folder in use: {folder} by {who}; {hint}") from error
        return self._path.exists() and self._path.stat().st_ino == os.fstat(self._descriptor).st_ino

    def _owner(self) -> dict[str, Any]:
        try:
            owner = json.loads(os.pread(self._descriptor, 4096, 0) or b"{}")
        except ValueError:
            return {}
        return owner if isinstance(owner, dict) else {}

    def release(self) -> None:
        if self._folder in _in_use:
            _in_use.discard(self._folder)
            with contextlib.suppress(OSError):
                self._path.unlink()
            os.close(self._descriptor)


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


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn errors of the operating system into one sentence that names the folder and the remedy."""
    try:
        yield
    except OSError as error:
        folder = path if path.is_dir() else path.parent
        if error.errno in _FULL:
            remedy = "free space or raise the quota or file size limit there, then go on with --resume, or start again"
            remedy += " where no round was complete"
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            remedy = "the folder must be writable; choose another with --output"
        else:
            remedy = "the folder must be readable and writable"
        what = f"{'disk full: ' if error.errno in _FULL else ''}cannot write {path.name} in {folder}"
        raise StorageError(f"{what}: {error.strerror or error}; {remedy}") from error


def _replace(target: Path, write: Callable[[Path], Any]) -> None:
    """Make ``target`` with ``write`` under a temporary name beside it, flush it, and rename it into place."""
    with _told(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.parent / f".{target.name}.{os.getpid()}.tmp"
        _remove(temporary)
        try:
            write(temporary)
            _flush(temporary)
            if temporary.is_dir() and target.is_dir():
                old = target.parent / f".{target.name}.old.tmp"
                _remove(old)
                target.rename(old)
                temporary.rename(target)
                _remove(old)
            else:
                temporary.replace(target)
            _sync(target.parent)
        except BaseException:
            _remove(temporary)
            raise


def _remove(path: Path) -> None:
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


def _write_array(stream: Any, name: str, array: Any) -> None:
    array = np.asarray(array)
    if array.dtype.hasobject:
        raise StorageError(f"array {name!r} holds Python objects; only numbers and fixed-width text can be stored")
    array = np.ascontiguousarray(array).reshape(array.shape)
    np.lib.format.write_array_header_1_0(stream, np.lib.format.header_data_from_array_1_0(array))
    if array.size:  # through the stream, which reports a full disk with its errno; np.save doesn't
        stream.write(array.reshape(-1).view(np.uint8))


def _file_name(name: str, taken: Mapping[str, str]) -> str:
    """A file name for an array, safe on file systems that don't tell upper from lower case."""
    stem = quote(name, safe=" ").replace(".", "%2E")[:100]
    used = {file.lower() for file in taken.values()}
    number = 0
    while (file := f"{stem}{f'-{number}' if number else ''}.npy").lower() in used:
        number += 1
    return file


def _dumps(value: Any, *, strict: bool) -> str:
    """JSON text of plain values, NumPy scalars and arrays, and paths."""
    return json.dumps(_plain(value, strict), indent=1, ensure_ascii=False, allow_nan=not strict) + "\n"


def _plain(value: Any, strict: bool) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(k): _plain(v, strict) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(v, strict) for v in value]
    if isinstance(value, Path):
        return str(value)
    if strict and isinstance(value, float) and not np.isfinite(value):
        return None
    return value
