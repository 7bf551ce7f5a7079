"""Writing several files of a new experiment: all of them, or none and a message."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


class StartingError(ValueError):
    """A first experiment cannot be made as asked."""


def refuse_existing(folder: Path, names: list[str]) -> None:
    """Raises when one of the files is there already: nothing is ever overwritten."""
    there = [str(folder / name) for name in names if (folder / name).exists()]
    if there:
        raise StartingError(
            f"{', '.join(there)} exist{'s' * (len(there) == 1)} already; choose another --output or --name"
        )


def write_all(folder: Path, contents: Mapping[str, bytes | Path]) -> list[Path]:
    """Writes texts and copies files into ``folder``; what was written is removed when one of them fails."""
    import shutil

    refuse_existing(folder, list(contents))
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    try:
        for name, content in contents.items():
            written.append(folder / name)
            if isinstance(content, Path):
                shutil.copyfile(content, folder / name)
            else:
                (folder / name).write_bytes(content)
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        raise
    return written
