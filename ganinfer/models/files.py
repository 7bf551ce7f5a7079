"""Options that name files: read beforehand and carried as text, so that a worker needs no file system."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ganinfer.models.places import ModelError


def file_text(option: Any, where: str) -> tuple[str, str]:
    """Name and text of an option that names a file: ``{"file": NAME, "text": TEXT}``, or a path to read here."""
    if isinstance(option, Mapping) and {"file", "text"} <= set(option):
        return str(option["file"]), str(option["text"])
    if not isinstance(option, str | Path):
        raise ModelError(f"{where} names a file, got {option!r}")
    try:
        return str(option), Path(option).read_text(encoding="utf-8")
    except OSError as error:
        raise ModelError(f"{where}: can't read {option}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ModelError(f"{where}: {option} is no UTF-8 text") from None
