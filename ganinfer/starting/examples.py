"""The shipped experiments, wherever ganinfer is installed, and copies of them with their data."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import ganinfer
from ganinfer.starting.files import StartingError, write_all

#: Where wheels put the experiments, below the environment's prefix.
INSTALLED = "share/ganinfer/experiments/"
_INDEXES = (".tbi", ".csi")


def examples_folder() -> Path:
    """The folder of the shipped experiments: as installed from a wheel, or in the source tree."""
    beside = Path(ganinfer.__file__).resolve().parent.parent / "experiments"
    try:
        files = metadata.files("ganinfer") or []
    except metadata.PackageNotFoundError:
        files = []
    installed = [Path(str(f.locate())).resolve().parent for f in files if INSTALLED in f.as_posix()]
    for folder in (*dict.fromkeys(installed), beside):
        if any(_experiments(folder)):
            return folder
    raise StartingError(f"the shipped experiments are not installed: neither under {INSTALLED} nor in {beside}")


def _experiments(folder: Path) -> Iterator[Path]:
    return (p for p in sorted(folder.glob("*.yaml")) if not p.name.endswith((".demes.yaml", ".options.yaml")))


def example_names() -> list[str]:
    """Names for ``--example``."""
    return [path.stem for path in _experiments(examples_folder())]


def copy_example(name: str, output: Path) -> list[Path]:
    """Copies an experiment and every file that it names into ``output``; returns the copies, the experiment first."""
    from ganinfer.experiment.problems import closest

    source = examples_folder() / f"{name}.yaml"
    if name not in example_names():
        raise StartingError(f"no shipped experiment named {name!r}; {closest(name, example_names())}")
    names = [source.name, *dict.fromkeys(_files_named(source))]
    return write_all(output, {file: source.parent / file for file in names})


def _files_named(source: Path) -> Iterator[str]:
    """Files beside an experiment that it names, with their indexes."""
    from ganinfer.experiment.document import read

    for text in _texts(read(source).data):
        path = source.parent / text
        if text and "/" not in text and path.is_file():
            yield text
            yield from (text + index for index in _INDEXES if path.with_name(text + index).is_file())


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
