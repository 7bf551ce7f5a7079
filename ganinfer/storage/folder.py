"""A run's folder, its rounds, and who may have it."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from ganinfer import __version__
from ganinfer.storage.formats import (
    FORMAT_VERSION,
    RESULT_SCHEMA_VERSION,
    dumps,
    file_name,
    read_json,
    read_table,
    write_array,
)
from ganinfer.storage.locking import Lock, check_free
from ganinfer.storage.replacing import StorageError, remove, replace, told

#: What a comparison of scenarios has simulated so far.
SIMULATIONS = "simulations"
#: Where a comparison of scenarios on windows has a run of each.
SCENARIOS = "scenarios"
#: What is known of how far a run's answer can be believed; it may be found before the run is made.
CALIBRATION = "calibration"
#: What replicates of a run are told in: how they agree, the ``posterior`` they are beside, and ``warnings``.
REPLICATES = "replicates.json"
_ROUND = re.compile(r"[0-9]{4,}")
_TEMPORARY = re.compile(r"\..*\.tmp")
#: What a run that completed no round may leave; anything else in a folder belongs to somebody.
_LEFTOVERS = (
    "rounds",
    "experiment.yaml",
    "data.json",
    "warnings.json",
    "wanted.json",
    "mlflow.json",
    "mlflow-pending.json",
    "cache",
    SCENARIOS,
)


class RunFolder:
    """One run's folder, locked against other runs until :meth:`close`."""

    def __init__(self, path: Path, lock: Lock, *, fresh: bool) -> None:
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
            Lock(path).release()  # a run in progress is named as such, whatever it has written so far
        _check_contents(path, resume=resume)
        with told(path):
            path.mkdir(parents=True, exist_ok=True)
        folder = cls(path, Lock(path), fresh=not resume)
        try:
            _check_contents(path, resume=resume)  # another run may have ended while we took the lock
            folder._tidy(fresh=not resume)
        except BaseException:
            folder.close()
            raise
        return folder

    @classmethod
    def of_calibration(cls, path: str | Path) -> RunFolder:
        """The folder of calibrations in the run folder ``path``, which is locked and need not hold a run yet."""
        whole = Path(path).absolute()
        with told(whole):
            (whole / CALIBRATION).mkdir(parents=True, exist_ok=True)
        return cls(whole / CALIBRATION, Lock(whole), fresh=False)

    def beside(self, path: Path) -> RunFolder:
        """Another folder of the same run, under the same lock, which is not its to release."""
        return RunFolder(path, self._lock, fresh=False)

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        simulated = (self.path / SIMULATIONS).exists()
        simulated = simulated or bool(completed_parts(self.path))
        if error is not None and self._fresh and self.last_round() is None and not simulated:
            self._tidy(fresh=True)  # nothing was finished that could be gone on with
        self.close()

    def close(self) -> None:
        """Release the lock; a folder in which nothing was written disappears."""
        self._lock.release()
        with contextlib.suppress(OSError):
            if [e.name for e in self.path.iterdir()] == ["rounds"]:
                (self.path / "rounds").rmdir()
            self.path.rmdir()  # refuses where there is anything
            if self.path.name == CALIBRATION:
                self.path.parent.rmdir()

    def _tidy(self, *, fresh: bool) -> None:
        """Remove what a killed run left unfinished, and, for a new run, what a failed start left."""
        with told(self.path):
            rounds = self.path / "rounds"
            for parent in (self.path, rounds, *(rounds / f"{i:04d}" for i in self.rounds())):
                for entry in parent.iterdir() if parent.is_dir() else ():
                    if _TEMPORARY.fullmatch(entry.name):
                        remove(entry)
            if fresh:
                for name in _LEFTOVERS:
                    remove(self.path / name)
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
                manifest[name] = file = file_name(name, manifest)
                with (folder / file).open("wb") as stream:
                    write_array(stream, name, array)
            for name, callback in (files or {}).items():
                callback(folder / name)
            record = {"schema_version": FORMAT_VERSION, "ganinfer": __version__, "round": index}
            record |= {"arrays": manifest, "values": values}
            (folder / "round.json").write_text(dumps(record, strict=False), encoding="utf-8")

        replace(target, write)
        return target

    def read_round(self, index: int) -> tuple[dict[str, np.ndarray], Any, Path]:
        """Arrays (memory-mapped, read-only), values and folder of a complete round."""
        return read_round(self.path, index)

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
            text = dumps(record, strict=False)
            replace(folder / "round.json", lambda path: path.write_text(text, encoding="utf-8"))
        with told(folder):
            for file in record.get("dropped", {}).values():
                (folder / file).unlink(missing_ok=True)

    def write_json(self, name: str, value: Mapping[str, Any]) -> Path:
        """Write a JSON object with its ``schema_version``; numbers that are not finite become null."""
        version = RESULT_SCHEMA_VERSION if name == "result.json" else FORMAT_VERSION
        text = dumps({"schema_version": version, **value}, strict=True)
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
        replace(target, write)
        return target


def check_folder(path: Path, *, resume: bool = False) -> None:
    """Raise as :meth:`RunFolder.create` would, and make, lock and change nothing."""
    path = path.absolute()
    check_free(path)
    _check_contents(path, resume=resume)
    there = next(folder for folder in (path, *path.parents) if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise StorageError(f"cannot make {path}: {there} must be a writable folder; choose another with --output")


def completed_rounds(path: Path) -> list[int]:
    """Numbers of the complete rounds in a run folder, ascending."""
    rounds = path / "rounds"
    if not rounds.is_dir():
        return []
    return sorted(int(e.name) for e in rounds.iterdir() if _ROUND.fullmatch(e.name) and (e / "round.json").is_file())


def read_round(path: Path, index: int) -> tuple[dict[str, np.ndarray], Any, Path]:
    """Of the run folder ``path``; see :meth:`RunFolder.read_round`."""
    folder = path / "rounds" / f"{index:04d}"
    if index not in completed_rounds(path):
        done = ", ".join(map(str, completed_rounds(path))) or "none"
        raise StorageError(f"round {index} is not complete in {path}; complete rounds: {done}")
    record = read_json(folder / "round.json")
    arrays: dict[str, np.ndarray] = {}
    for name, file in record["arrays"].items():
        try:
            arrays[name] = np.load(folder / file, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise StorageError(f"array {name!r} of round {index} is damaged: {folder / file}: {error}") from error
    return arrays, record["values"], folder


def completed_parts(path: Path) -> dict[str, int]:
    """Complete rounds of each scenario's own run in a comparison's folder, where there are any."""
    rounds = {part.name: len(completed_rounds(part)) for part in sorted(path.glob(f"{SCENARIOS}/*"))}
    return {name: number for name, number in rounds.items() if number}


def _check_contents(path: Path, *, resume: bool) -> None:
    """Raise unless ``path`` may be given to a new run, or to a resumed one."""
    if path.exists() and not path.is_dir():
        raise StorageError(f"output folder {path} is a file; choose another one with --output")
    names = {e.name for e in path.iterdir()} if path.exists() else set()
    names = {name for name in names if name not in (".lock", CALIBRATION) and not _TEMPORARY.fullmatch(name)}
    rounds = completed_rounds(path)
    if resume:
        if "rounds" not in names:
            raise StorageError(f"nothing to resume: {path} holds no run; start it without --resume, or see --output")
        return
    go_on = f"go on with it: --resume --output {path}; or choose another folder: --output"
    if "result.json" in names:
        raise StorageError(f"output folder {path} already holds a finished run; {go_on}")
    if SIMULATIONS in names or completed_parts(path):
        raise StorageError(f"output folder {path} already holds an unfinished comparison; {go_on}")
    if rounds:
        held = f"an unfinished run ({len(rounds)} complete rounds)"
        raise StorageError(f"output folder {path} already holds {held}; {go_on}")
    foreign = sorted(names - set(_LEFTOVERS))
    if foreign or (names and "rounds" not in names):
        shown = ", ".join((foreign or sorted(names))[:3])
        remedy = "choose another with --output"
        raise StorageError(f"output folder {path} is not empty ({shown}) and holds no run; {remedy}")
