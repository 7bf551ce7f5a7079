"""Records of long verifications under docs/verification: JSON files with one record a data set."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from ganinfer.runner.assembling import versions

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "verification"
SCHEMA_VERSION = 1
#: What records are made by; they change themselves.
CODE = ("ganinfer", "simulators", "discriminators", "experiments", "tests")


class RecordsError(ValueError):
    """A file is none of records, or of another version."""


def read(path: Path) -> list[dict[str, Any]]:
    """The fits of a case by seed, none where there is no file yet."""
    return sorted(content(path, "fits"), key=lambda record: record["seed"])


def content(path: Path, what: str) -> list[dict[str, Any]]:
    """The list ``what`` of a file of records, empty where there is no file; :class:`RecordsError` for other files."""
    if not path.exists():
        return []
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        version, listed = found["schema_version"], found[what]
    except (ValueError, KeyError, TypeError):
        raise RecordsError(f"{path} holds no records of {what}; delete it to make them anew") from None
    if version != SCHEMA_VERSION:
        raise RecordsError(
            f"{path} has schema version {version}, this code {SCHEMA_VERSION}; delete it to make it anew"
        )
    return listed


def add(path: Path, case: str, record: dict[str, Any]) -> None:
    """Put a record among those of its case, in the place of one of the same seed; the file is whole at any moment.

    A record that does not say by which ``versions`` it was made is by those of now.
    """
    kept = [r for r in read(path) if r["seed"] != record["seed"]]
    fits = sorted([*kept, {"versions": versions(), "commit": commit(), **record}], key=lambda r: r["seed"])
    write(path, json.dumps({"schema_version": SCHEMA_VERSION, "case": case, "fits": fits}, indent=1) + "\n")


def put(path: Path, part: str, found: dict[str, Any]) -> None:
    """Put what was found of one ``part``, and with which versions, in a file that holds one object a part."""
    before = json.loads(path.read_text()) if path.exists() else {"schema_version": SCHEMA_VERSION}
    write(path, json.dumps({**before, part: {**found, "versions": versions(), "commit": commit()}}, indent=1) + "\n")


def commit() -> str | None:
    """The commit that the code is of, with a + where the code was changed since; ``None`` where git does not know."""
    try:
        head, changed = (
            subprocess.run(["git", "-C", str(ROOT), *asked], capture_output=True, text=True, check=True, timeout=60)
            for asked in (["rev-parse", "--short=12", "HEAD"], ["status", "--porcelain", "--", *CODE])
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return head.stdout.strip() + "+" * bool(changed.stdout.strip())


def write(path: Path, text: str) -> None:
    """Replace a file in one go, its folder made if it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    partial.write_text(text)
    os.replace(partial, path)
