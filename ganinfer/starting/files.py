"""Writing several files of a new experiment: all of them, or none and a message."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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


def write_all(
    folder: Path, contents: Mapping[str, bytes | Path], check: Callable[[Path], object] | None = None
) -> list[Path]:
    """Writes texts and copies files into ``folder``.

    What was written, and folders that were made for it, are removed when one of them fails, or ``check`` of the first.
    """
    import shutil

    refuse_existing(folder, list(contents))
    missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    try:
        for name, content in contents.items():
            written.append(folder / name)
            if isinstance(content, Path):
                shutil.copyfile(content, folder / name)
            else:
                (folder / name).write_bytes(content)
        if check is not None:
            check(written[0])
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        for made in missing:
            made.rmdir()
        raise
    return written
