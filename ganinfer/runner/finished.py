"""Whether a run has finished as it is asked now: its answer, bundle and report are those of this very experiment.

A run that goes on with a larger budget has the answer of the smaller one until it ends, and may be stopped before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ganinfer import storage
from ganinfer.experiment import loads
from ganinfer.runner.completing import completed, dump_yaml

JSON = "finished.json"
#: The experiment of a run in its folder.
EXPERIMENT = "experiment.yaml"
#: Of an experiment: where it runs and is recorded, which changes no answer.
_ELSEWHERE = ("execution", "tracking", "name")


def mark(folder: storage.RunFolder) -> None:
    """To be called when all that the run leaves is there."""
    folder.write_json(JSON, {"experiment": _digest(_own(folder.path))})


def is_finished(path: Path, complete: Mapping[str, Any]) -> bool:
    """Whether the run in ``path`` was of the experiment ``complete``, with every default, and has ended."""
    if not (path / JSON).exists():
        return False
    return bool(storage.read_json(path / JSON)["experiment"] == _digest(complete))


def has_ended(path: Path) -> bool:
    """Whether the run in ``path`` has ended as its own experiment says, which may have been given more since."""
    return (path / EXPERIMENT).exists() and is_finished(path, _own(path))


def _own(path: Path) -> dict[str, Any]:
    return completed(loads((path / EXPERIMENT).read_text(), path, EXPERIMENT))


def _digest(complete: Mapping[str, Any]) -> str:
    kept = {key: value for key, value in complete.items() if key not in _ELSEWHERE}
    return hashlib.sha256(dump_yaml(kept).encode()).hexdigest()
