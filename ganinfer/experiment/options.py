"""Options of plugins: files are read here, so that workers need no file system, and names are checked here."""

from __future__ import annotations

import hashlib
import inspect
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ganinfer import plugins
from ganinfer.experiment.document import Document, Location
from ganinfer.experiment.problems import closest

#: A file much larger than this is no model; read as text it would travel to every worker.
MAXIMUM_BYTES = 10_000_000
#: Annotations that say enough of an option to check its value: what YAML gives for them, and their names in messages.
_KINDS: Mapping[str, tuple[Any, str]] = {
    "int": (int, "a whole number"),
    "float": ((int, float), "a number"),
    "bool": (bool, "true or false"),
    "str": (str, "text"),
    "None": (type(None), "null"),
}


def read_file(name: Any, folder: Path) -> dict[str, str]:
    """``{"file", "text"}``, for code also ``"sha256"``, of a path relative to ``folder``; raises ValueError."""
    if not isinstance(name, str) or not name:
        raise ValueError(f"must be the path of a file, not {name!r}")
    path = folder / os.path.expanduser(name)
    if not os.path.isfile(path):
        raise ValueError(f"no such file: {name} (looked for {path}; paths are relative to the experiment's file)")
    if path.stat().st_size > MAXIMUM_BYTES:
        raise ValueError(f"{name} has {path.stat().st_size:,} bytes; at most {MAXIMUM_BYTES:,} are read as an option")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{name} is not UTF-8 text") from None
    except OSError as error:
        raise ValueError(f"{name} cannot be read: {error.strerror}") from None
    digest = {"sha256": hashlib.sha256(text.encode()).hexdigest()} if path.suffix == ".py" else {}
    return {"file": name, "text": text, **digest}


def with_files(options: Mapping[str, Any], file_options: tuple[str, ...], folder: Path) -> dict[str, Any]:
    """``options`` with each file replaced by its name and text; raises :class:`OptionError` naming the option."""
    result = dict(options)
    for key, value in options.items():
        try:
            if key in file_options and isinstance(value, str):
                result[key] = read_file(value, folder)
            elif isinstance(value, Mapping) and "file" in value and "text" not in value:
                result[key] = {**value, **read_file(value["file"], folder)}
        except ValueError as error:
            raise OptionError(key, str(error)) from None
    return result


class OptionError(ValueError):
    """What is wrong with the option ``key``."""

    def __init__(self, key: str, message: str) -> None:
        self.key = key
        super().__init__(message)


def check_names(
    target: Callable[..., Any],
    options: Mapping[str, Any],
    document: Document,
    location: Location,
    *,
    also: tuple[str, ...] = (),
    skip: int = 0,
) -> list[str]:
    """Problems of options against a plugin's signature: unknown ones, values of another kind, required ones missing.

    ``also`` are keys of the section that are not options; ``skip`` leading parameters are the engine's own.
    """
    accepted = plugins.option_parameters(target)
    if accepted is None:
        return []
    accepted = dict(list(accepted.items())[skip:])
    problems = [
        document.problem((*location, key), f"unknown option; {closest(key, [*also, *accepted])}")
        for key in options
        if key not in accepted
    ]
    problems += [
        document.problem((*location, key), message)
        for key, value in options.items()
        if key in accepted and (message := _wrong_kind(accepted[key].annotation, value))
    ]
    missing = [n for n, p in accepted.items() if p.default is inspect.Parameter.empty and n not in options]
    if missing:
        problems.append(document.problem(location, f"required option missing: {', '.join(missing)}"))
    return problems


def _wrong_kind(annotation: Any, value: Any) -> str | None:
    """Why a value is not of the simple kinds that an option is annotated with; ``None`` where it is, or may be."""
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    kinds = [part.strip() for part in text.split("|")]
    if not set(kinds) <= set(_KINDS):
        return None
    for kind in kinds:
        type_, _ = _KINDS[kind]
        if isinstance(value, type_) and (not isinstance(value, bool) or kind == "bool"):
            return None
    return f"must be {' or '.join(_KINDS[kind][1] for kind in kinds)}, not {value!r}"
