"""Whether the fitted model can have made the genomes: what the run writes of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ganinfer import storage, tracking
from ganinfer.adequacy import AdequacySettings
from ganinfer.execution import Executor
from ganinfer.experiment import Experiment
from ganinfer.interfaces import Info
from ganinfer.parameters import Parameters

#: The residuals of every statistic, and how unusual every real window is.
ARRAYS, WINDOWS = "adequacy.npz", "windows.parquet"
_SECONDS = "judge"


def judged(
    experiment: Experiment,
    problem: Any,
    state: Any,
    posterior: np.ndarray | None,
    folder: storage.RunFolder,
    workers: Executor,
    told: Callable[[str], None],
) -> tuple[dict[str, Any] | None, dict[str, float]]:
    """The adequacy of result.json and the seconds that it took; without a posterior, or where none is asked for, none.

    What is drawn of it goes to ``folder``.
    """
    section = experiment.adequacy
    if posterior is None or section.windows == 0:
        for name in (ARRAYS, WINDOWS):
            storage.remove(folder.path / name)
        return None, {}
    from ganinfer.verdict import judge

    begun = time.monotonic()
    settings = AdequacySettings(section.windows, section.data_sets)
    found = judge(problem, state, posterior, settings, workers, told)
    folder.write_arrays(ARRAYS, {"z": found.z, "families": np.array(found.families)})
    folder.write_table(WINDOWS, _windows(problem.observed, state, found.distance))
    return said(found, problem.parameters, experiment.level), {_SECONDS: time.monotonic() - begun}


def steady(
    problem: Any, state: Any, info: Info, told: Callable[[str], None]
) -> tuple[dict[str, Any] | None, list[str]]:
    """Whether halves of the simulations and of the genome answer alike, as JSON values, and what to warn of."""
    if info.posterior is None or not problem.freezes:
        return None, []
    from ganinfer.stability import peaks, stability

    told("Estimating once more from halves of the simulations")
    found = stability(problem, state, info.posterior, info.metrics)
    several = {name: [list(p) for p in ends] for name, ends in peaks(problem.parameters, info.posterior).items()}
    known = {"effective_windows": info.metrics.get("effective_windows"), "peaks": several}
    if found is None:
        return {**known, "halves": None, "folds": None, "usual": None, "stable": None}, []
    by_kind = {"halves": found.halves, "folds": found.folds}
    warnings = [_UNSTABLE[kind].format(name=name, apart=by_kind[kind][name]) for kind, name in found.unstable]
    told_of = {kind: dict(values) for kind, values in (by_kind | {"usual": found.usual}).items()}
    return {**known, **told_of, "stable": not warnings}, warnings


_UNSTABLE = {
    "halves": "Of {name} two halves of the simulations give estimates {apart:.1f} posterior standard deviations apart: "
    "its interval is too narrow to be believed. More simulated windows would bring them together.",
    "folds": "Of {name} two halves of the windows give estimates {apart:.1f} posterior standard deviations apart, "
    "where 2 would be usual: parts of the genome disagree about it, or linkage reaches further than blocks do.",
}


def _windows(observed: Any, state: Any, distance: np.ndarray) -> dict[str, np.ndarray]:
    """The real windows: where they lie, the block and fold of each, and how unusual it is in the fitted model."""
    return {
        "contig": np.array([w.contig for w in observed.windows]),
        "left": np.array([w.left for w in observed.windows]),
        "right": np.array([w.right for w in observed.windows]),
        "block": np.array([w.block for w in observed.windows]),
        "fold": observed.fold,
        "unusual": distance.astype(float),
        "logit": state.real_logits.astype(float),
    }


def unlinked(problem: Any, what: str) -> list[str]:
    """A sentence where windows are linked, and nobody can tell how much that makes of their means' noise.

    ``what`` then takes windows as independent.
    """
    from ganinfer.generators.linkage import too_few_blocks

    block, fold = problem.observed.block, problem.observed.fold
    parts = [block] if problem.classical else [block[fold == k] for k in np.unique(fold)]
    if not any(too_few_blocks(part) for part in parts):
        return []
    of_folds = "" if problem.classical else ", which are matched fold by fold"
    return [
        f"The windows lie in {len(np.unique(block))} blocks{of_folds}: too few, or too unequal, to tell how much "
        f"linkage adds to the noise of their means. {what} windows as independent."
    ]


def said(found: Any, parameters: Parameters, level: float) -> dict[str, Any]:
    """A finding of :mod:`ganinfer.verdict` as JSON values, intervals of this ``level``."""
    return {
        "verdict": found.verdict,
        "p_value": found.p_value,
        "critic_auc": found.critic_auc,
        "looks": dict(found.looks),
        "left_out": None if found.left_out is None else _left_out(found.left_out, parameters, level),
        "data_sets": found.data_sets,
        "windows": found.num_windows,
        "data_sets_simulated": "whole" if found.whole else "pooled",
    }


def _left_out(left: Any, parameters: Parameters, level: float) -> dict[str, Any]:
    """What was left out, and the estimates without it."""
    values: dict[str, Any] = {"families": list(left.families), "moved": dict(left.moved), "parameters": {}}
    if left.posterior is not None:
        low, middle, high = np.quantile(left.posterior, [(1 - level) / 2, 0.5, (1 + level) / 2], axis=0)
        rows = zip(parameters.names, low.tolist(), middle.tolist(), high.tolist(), strict=True)
        values["parameters"] = {name: {"estimate": m, "interval": [a, b]} for name, a, m, b in rows}
    return values


def track(adequacy: dict[str, Any] | None, tracker: tracking.Tracker, step: int) -> None:
    if adequacy is not None:
        names = {"adequacy_p": "p_value", "critic_auc": "critic_auc"}
        tracker.metrics({name: float(adequacy[key]) for name, key in names.items()}, step)
