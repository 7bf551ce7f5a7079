"""The second opinion on a run: what another program says of the same windows, as result.json has it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ganinfer import observed, storage
from ganinfer.execution import Executor
from ganinfer.experiment import Experiment, RealData
from ganinfer.interfaces import EMULATOR_ERROR, Info
from ganinfer.observed import RealWindows

_SECONDS = "second_opinion"
#: How the sentence begins that says that the other program is not there.
_MISSING = "moments is not installed"


@dataclass(frozen=True)
class Source:
    """The real windows, which are read once more for it."""

    real: RealWindows
    experiment: Experiment

    def chosen(self) -> np.ndarray:
        """Indices of the windows in use."""
        return observed.chosen_windows(self.real, self.experiment.windows.maximum, self.experiment.seed)


def may_be_had_now(path: Path) -> bool:
    """Whether the run in ``path`` lacks an opinion because nobody could be asked then, who can be now."""
    from ganinfer import second_opinion

    result = storage.read_json(path / "result.json") if (path / "result.json").exists() else {}
    lacking = (result.get("second_opinion") or {}).get("why_not", "").startswith(_MISSING)
    return bool(lacking and second_opinion.installed())


def asked(
    experiment: Experiment,
    problem: Any,
    state: Any,
    info: Info,
    source: Source | None,
    workers: Executor,
    told: Callable[[str], None],
    *,
    step: float,
) -> tuple[dict[str, Any] | None, dict[str, float]]:
    """The second opinion of result.json and the seconds that it took; ``step``: seconds that one of the run takes.

    Where it can't be had, its key ``why_not`` says why, and where it ``failed``, that key; ``None`` where nobody wants
    one.
    """
    if source is None or info.posterior is None or experiment.second_opinion.bootstraps == 0:
        return None, {}
    from ganinfer import second_opinion

    try:
        return _asked(experiment, problem, state, info, source, workers, told, step)
    except Exception as error:  # whatever goes wrong in another program must not cost a run its answer
        reason = str(error) if isinstance(error, second_opinion.OpinionError) else f"{type(error).__name__} ({error})"
        told(f"No second opinion: {reason}")
        return {"program": second_opinion.PROGRAM, "failed": reason}, {}


def _asked(
    experiment: Experiment,
    problem: Any,
    state: Any,
    info: Info,
    source: Source,
    workers: Executor,
    told: Callable[[str], None],
    step: float,
) -> tuple[dict[str, Any], dict[str, float]]:
    from ganinfer import second_opinion

    why = second_opinion.why_not(problem)
    if why is None and not second_opinion.installed():
        why = f"{_MISSING}; pip install 'ganinfer[{second_opinion.EXTRA}]', then ganinfer run with --resume asks it"
        told(f"No second opinion: {why}")
    if why is not None:
        return {"program": second_opinion.PROGRAM, "why_not": why}, {}
    begun = time.monotonic()
    error = np.array([info.metrics.get(f"{EMULATOR_ERROR}{name}", 0.0) for name in problem.parameters.names])
    section = experiment.second_opinion
    settings = second_opinion.OpinionSettings(section.bootstraps, experiment.level, section.minutes, step)
    posterior, wrong = info.posterior, isinstance(experiment.data, RealData)
    assert posterior is not None
    found = second_opinion.ask(
        problem, state, posterior, error, source.real, source.chosen(), settings, workers, told, misidentified=wrong
    )
    values = asdict(found) | {"level": experiment.level, "one_maximum": found.one_maximum}
    return values, {_SECONDS: time.monotonic() - begun}
