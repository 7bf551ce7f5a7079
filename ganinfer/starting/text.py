"""Lines of YAML with comments, for experiments that people read."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def commented(text: str, comment: str, width: int = 58) -> str:
    """A line with what it means behind it, or above it where it is long."""
    indent = text[: len(text) - len(text.lstrip())]
    return f"{text.ljust(width)}  # {comment}" if len(text) <= width else f"{indent}# {comment}\n{text}"


def quoted(value: Any) -> str:
    """A scalar or list as YAML on one line; JSON is YAML, quotes are left out where plain text reads the same."""
    from ganinfer.experiment.document import parse

    if isinstance(value, list):
        return f"[{', '.join(map(quoted, value))}]"
    try:
        same = parse(f"{{x: {value}}}", "").data == {"x": value}
    except ValueError:
        same = False
    return str(value) if same else json.dumps(value, ensure_ascii=False)


def relative(path: Path, folder: Path) -> str:
    """A path from the experiment's file, unless it is shorter from the root."""
    near = os.path.relpath(path.absolute(), folder.absolute())
    return quoted(min(near, os.path.abspath(path), key=len))
