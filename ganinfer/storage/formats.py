"""How values, arrays and tables lie in files: JSON, .npy and Parquet, each with the version of its format."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from ganinfer import __version__
from ganinfer.storage.replacing import StorageError

RESULT_SCHEMA_VERSION = 1
#: Version of every other JSON file, of the tables and of the round folders.
FORMAT_VERSION = 1


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


def write_array(stream: Any, name: str, array: Any) -> None:
    array = np.asarray(array)
    if array.dtype.hasobject:
        raise StorageError(f"array {name!r} holds Python objects; only numbers and fixed-width text can be stored")
    array = np.ascontiguousarray(array).reshape(array.shape)
    np.lib.format.write_array_header_1_0(stream, np.lib.format.header_data_from_array_1_0(array))
    if array.size:  # through the stream, which reports a full disk with its errno; np.save doesn't
        stream.write(array.reshape(-1).view(np.uint8))


def file_name(name: str, taken: Mapping[str, str]) -> str:
    """A file name for an array, safe on file systems that don't tell upper from lower case."""
    stem = quote(name, safe=" ").replace(".", "%2E")[:100]
    used = {file.lower() for file in taken.values()}
    number = 0
    while (file := f"{stem}{f'-{number}' if number else ''}.npy").lower() in used:
        number += 1
    return file


def dumps(value: Any, *, strict: bool) -> str:
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


def _refuse_version(path: Path, found: Any, expected: int, writer: str | None) -> None:
    install = f"ganinfer {writer}" if writer else "the ganinfer that wrote it"
    remedy = f"read it with {install}, or start a new run with this one (--output)"
    if isinstance(found, int | str) and str(found).isdigit() and int(found) > expected:
        remedy = f"it was written by a newer ganinfer: pip install --upgrade ganinfer, or {remedy}"
    rule = f"ganinfer {__version__} reads {expected}"
    raise StorageError(f"{path} has schema_version {found!r}, {rule}; to migrate: {remedy}")
