"""Pages from templates, and putting them on disk as a whole."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from ganinfer import __version__
from ganinfer.report.reading import ReportError


def render(template: str, **values: Any) -> str:
    """A page as HTML; names that ``values`` lack are errors."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("ganinfer.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(version=__version__, **values)


def write(target: Path, html: str) -> Path:
    """Put a page in its place, whole or not at all; raises :class:`ReportError` where it cannot be written."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(html, encoding="utf-8")
        temporary.replace(target)
    except OSError as error:
        raise ReportError(
            f"cannot write {target}: {error.strerror or error}; free space or make it writable"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return target
