"""A run that is part of another one: in a folder of its own, under the other in MLflow, begun or gone on with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ganinfer import storage
from ganinfer.execution import Executor
from ganinfer.experiment import Experiment
from ganinfer.progress import Progress
from ganinfer.runner import inferring, recording, sending
from ganinfer.runner.completing import dump_yaml
from ganinfer.runner.finished import EXPERIMENT

#: Which scenario a run on windows was asked for (``null``: all of them), and the folder of the run that it is a part
#: of, where it cannot go on without that.
WANTED = "wanted.json"


def infer(
    experiment: Experiment,
    complete: Mapping[str, Any],
    problem: Any,
    summary: Mapping[str, Any],
    path: Path,
    parent: Path,
    workers: Executor,
    events: Progress,
    *,
    judged: bool = True,
) -> Path:
    """Infer ``problem`` in the folder ``path``, which it returns; ``parent`` is the folder of the run it is part of.

    ``complete`` is the experiment with every default, ``summary`` what data.json is to say; ``judged``: whether a
    verdict on its model is wanted.
    """
    before = sending.tracked(path)
    with storage.RunFolder.create(path, resume=(path / "rounds").exists()) as folder:
        folder.write_text(EXPERIMENT, dump_yaml(complete))
        # Of another seed than the experiment's, by which the windows and their folds are chosen, it is only a part.
        own = {"part_of": str(parent)} if problem.seed != experiment.seed else {}
        folder.write_json(WANTED, {"scenario": problem.scenario, **own})
        folder.write_json("data.json", summary)
        title = problem.setup.title
        seeded = {**complete, "seed": problem.seed}
        tracker = sending.start_tracking(experiment, seeded, summary, folder, title, before, parent=parent)
        with sending.ended(tracker):
            inferring.infer(experiment, problem, folder, tracker, workers, events, recording.Clock(), judged=judged)
    return path


def posterior(path: Path) -> np.ndarray:
    """The posterior's draws (n, p) of a finished run."""
    columns = storage.read_table(path / "posterior.parquet").values()
    return np.stack([np.asarray(column, dtype=float) for column in columns], axis=1)
