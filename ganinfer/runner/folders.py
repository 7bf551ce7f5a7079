"""Folders of simulated data: all files appear at once or none; who is in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ganinfer import storage
from ganinfer.haplotypes import SampleSet
from ganinfer.runner.assembling import RunError

SHEET = "samples.tsv"


def check_new(output: Path) -> None:
    """Raise :class:`RunError` unless ``output`` can become such a folder."""
    if output.exists() and not output.is_dir():
        raise RunError(f"{output} is a file: choose another --output")
    if output.exists() and any(output.iterdir()):
        raise RunError(f"{output} is not empty: choose another --output")


def fill(output: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` make a folder that becomes ``output`` once it is complete.

    An empty folder that exists is kept, since it may be a mount, or where the user is: the files move into it.
    """
    again = "start again"
    if not output.exists():
        storage.replace(output.absolute(), write, again)
        return
    complete = output / ".complete"
    storage.replace(complete, write, again)
    for path in complete.iterdir():
        path.rename(output / path.name)
    complete.rmdir()


def individuals(samples: Sequence[SampleSet]) -> list[tuple[str, SampleSet]]:
    """Name and sample set of every individual, in the order of the columns."""
    count: dict[str, int] = {}
    names = []
    for group in samples:
        for _ in range(group.num_individuals):
            count[group.population] = count.get(group.population, 0) + 1
            names.append((f"{group.population}_{count[group.population]}", group))
    return names


def write_sheet(samples: Sequence[SampleSet], folder: Path) -> None:
    """The sample sheet that belongs to the names of :func:`individuals`."""
    rows = [f"{name}\t{group.population}\t{group.time:g}" for name, group in individuals(samples)]
    (folder / SHEET).write_text("\n".join(["sample\tpopulation\ttime", *rows]) + "\n")
