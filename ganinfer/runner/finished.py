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
from ganinfer.runner.assembling import RunError
from ganinfer.runner.completing import completed, dump_yaml, located

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


def check_data(folder: Path, summary: Mapping[str, Any]) -> None:
    """Refuse to go on with the run in ``folder`` on other data than it began with.

    ``summary`` is what data.json is to say now. What a run has learnt belongs to the windows that it has seen. Raises
    :class:`RunError`.
    """
    path = folder / "data.json"
    if not path.exists() or not (storage.completed_rounds(folder) or storage.completed_parts(folder)):
        return
    before, now = _files(storage.read_json(path)), _files(summary)
    changed = sorted(name for name in before.keys() & now.keys() if before[name] != now[name])
    if changed:
        raise RunError(
            f"{folder}: the run began with other contents of {', '.join(changed)}, and what it has simulated and "
            "learnt is of these; bring them back, or start a new run with another --output"
        )


def _files(summary: Mapping[str, Any]) -> dict[str, list[str]]:
    """Digests of what was read, by file name, which several may share: where they lie may change."""
    read = [(f["path"], f["digest"]) for f in summary.get("genotypes") or [] if f.get("digest")]
    files: dict[str, list[str]] = {}
    for path, digest in (*read, *(summary.get("inputs") or {}).items()):
        files.setdefault(Path(path).name, []).append(digest)
    return files


def _own(path: Path) -> dict[str, Any]:
    return completed(loads((path / EXPERIMENT).read_text(), path, EXPERIMENT))


def _digest(complete: Mapping[str, Any]) -> str:
    kept = {key: value for key, value in complete.items() if key not in _ELSEWHERE}
    return hashlib.sha256(dump_yaml(located(kept)).encode()).hexdigest()
