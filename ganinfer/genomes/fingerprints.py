"""Which file it was: cheaply, to find again what was read of it, and for good, for the record."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from ganinfer.genomes.source import GenomeError

_EDGE = 1 << 16


def fingerprint(path: Path) -> list[Any]:
    """Path, size, modification time, and a digest of the first and last 64 KiB: cheap for a file of any size."""
    if not path.exists():
        raise GenomeError(f"{path}: there is no such file; data.genotypes names it")
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    parts: list[Any] = [str(path.resolve())]
    for file in files:
        status = file.stat()
        parts.append([str(file.relative_to(path)), status.st_size, status.st_mtime_ns])
    if not path.is_dir():
        with path.open("rb") as stream:
            edges = stream.read(_EDGE)
            stream.seek(max(path.stat().st_size - _EDGE, 0))
            edges += stream.read(_EDGE)
        parts.append(hashlib.blake2b(edges, digest_size=16).hexdigest())
    return parts


def digest(path: Path) -> str | None:
    """SHA-256 of a file's bytes, recorded for whoever wants to repeat the run; ``None`` for a folder."""
    if path.is_dir():
        return None
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
