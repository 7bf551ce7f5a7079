"""Whether a run has finished as it is asked now: its answer, bundle and report are those of this very experiment.

A run that goes on with a larger budget has the answer of the smaller one until it ends, and may be stopped before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ganinfer import storage
from ganinfer.runner.completing import dump_yaml

JSON = "finished.json"
#: The experiment of a run in its folder.
EXPERIMENT = "experiment.yaml"


def mark(folder: storage.RunFolder) -> None:
    """To be called when all that the run leaves is there."""
    folder.write_json(JSON, {"experiment": _digest((folder.path / EXPERIMENT).read_text())})


def is_finished(path: Path, complete: Mapping[str, Any]) -> bool:
    """Whether the run in ``path`` was of the experiment ``complete``, with every default, and has ended."""
    if not (path / JSON).exists():
        return False
    return bool(storage.read_json(path / JSON)["experiment"] == _digest(dump_yaml(complete)))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
