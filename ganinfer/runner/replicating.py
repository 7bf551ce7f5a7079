"""Replicates: the same data inferred again from other seeds, and whether the answers agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ganinfer import randomness, storage
from ganinfer.execution import Executor
from ganinfer.experiment import Experiment
from ganinfer.parameters import Parameters
from ganinfer.progress import Progress
from ganinfer.runner import belonging, parts, sending
from ganinfer.runner.assembling import FailedError
from ganinfer.runner.finished import is_finished

FOLDER = "replicates"
#: Estimates further apart than this, in standard deviations of their posteriors, disagree,
_APART = 1.0
#: where their Monte Carlo errors explain that less often than once in a thousand times.
_RARE = 1e-3
#: Posteriors whose widths differ by more than this factor disagree.
_WIDER = 1.5


def replicate(
    experiment: Experiment,
    complete: Mapping[str, Any],
    problem: Any,
    summary: Mapping[str, Any],
    folder: storage.RunFolder,
    number: int,
    workers: Executor,
    events: Progress,
) -> dict[str, Any]:
    """Infer ``problem`` until there are ``number`` runs of it, the one in ``folder`` counted; how they agree.

    Seeds are derived from the run's own: networks, proposals and simulations are others, the windows the same. Where
    one fails the others are made and compared all the same; then :class:`FailedError` says which failed.
    """
    paths, failed = [folder.path], []
    for k in range(2, number + 1):
        path = folder.path / FOLDER / f"{k:02d}"
        if not is_finished(path, complete):
            events.message(f"Replicate {k} of {number}")
            own = replace(problem, seed=randomness.simulator_seed(problem.seed, "replicate", k))
            try:
                parts.infer(experiment, complete, own, summary, path, folder.path, workers, events)
            except Exception as error:  # of one, whatever it is, must not hide what the others say
                failed.append(f"{path} failed: {error}")
                events.message(failed[-1])
                continue
        paths.append(path)
    # Those of an earlier call that asked for more count, too.
    further = sorted(p for p in (folder.path / FOLDER).glob("[0-9]*") if int(p.name) > number)
    paths += [path for path in further if is_finished(path, complete)]
    found = _told(experiment, problem, folder, paths, events) if len(paths) > 1 else {}
    if failed:
        compared = f"The other {len(paths)} are compared in {folder.path}. " if len(paths) > 1 else ""
        raise FailedError(f"{'; '.join(failed)}. {compared}The same command with --resume tries again.")
    return found


def _told(
    experiment: Experiment, problem: Any, folder: storage.RunFolder, paths: Sequence[Path], events: Progress
) -> dict[str, Any]:
    """How the runs in ``paths`` agree, the first of which is in ``folder``: written there, in the report and MLflow."""
    found = agreement(problem.parameters, paths)
    before = folder.path / storage.REPLICATES
    past = storage.read_json(before).get("warnings", []) if before.exists() else []
    rest = [s for s in folder.read_json("warnings.json")["warnings"] if s not in past]
    folder.write_json("warnings.json", {"warnings": [*found["warnings"], *rest]})
    folder.write_json(storage.REPLICATES, {**found, "posterior": belonging.digest(parts.posterior(folder.path))})
    for sentence in sending.send_again(experiment, folder):
        events.message(sentence)
    return found


def agreement(parameters: Parameters, folders: Sequence[Path]) -> dict[str, Any]:
    """How finished runs of the same data agree: by parameter, and which disagree."""
    draws = [parameters.to_scale(parts.posterior(folder)) for folder in folders]
    told = [storage.read_json(folder / "result.json") for folder in folders]
    rows = {}
    for i, name in enumerate(parameters.names):
        middle, sd = (np.array([f(d[:, i]) for d in draws]) for f in (np.median, np.std))
        sampled = [t["parameters"][name].get("monte_carlo") for t in told]
        rows[name] = _row(middle, sd, [t["parameters"][name]["estimate"] for t in told], sampled)
    found = {
        "runs": len(folders),
        "stopped": [t["stopped"] for t in told],
        "parameters": rows,
        "disagree": [name for name, row in rows.items() if not row["agree"]],
    }
    return {**found, "warnings": warned(found)}


def _row(
    middle: np.ndarray, sd: np.ndarray, estimates: Sequence[float], sampled: Sequence[float | None]
) -> dict[str, Any]:
    """Of one parameter, from the medians and standard deviations (k,) of its posteriors on its own scale.

    ``sampled``: the Monte Carlo error that each run reports, in standard deviations of its posterior.
    """
    from scipy.stats import norm

    usual = max(float(np.median(sd)), 1e-300)
    apart = np.abs(middle[:, None] - middle[None, :])
    known = [value for value in sampled if value is not None]
    error = float(np.sqrt(np.mean(np.square(known)))) if known else None
    # Of so many pairs the furthest is further apart than one is.
    pairs = len(middle) * (len(middle) - 1) / 2
    explained = 0.0 if error is None else float(norm.isf(_RARE / (2 * pairs))) * np.sqrt(2) * error
    # Of two the narrower one is the usual one.
    ordered = np.maximum(np.sort(sd), 1e-300)
    common = ordered[(len(ordered) - 1) // 2]
    furthest, width = float(apart.max()) / usual, float(max(ordered[-1] / common, common / ordered[0]))
    return {
        "estimates": list(estimates),
        "spread": float(middle.std(ddof=1)) / usual,
        "monte_carlo": error,
        "furthest": furthest,
        "width_ratio": width,
        "agree": not (furthest > max(_APART, explained) or width > _WIDER),
    }


def warned(found: Mapping[str, Any]) -> list[str]:
    """What is to be said where replicates disagree."""
    if not found["disagree"]:
        return []
    rows = [(name, found["parameters"][name]) for name in found["disagree"]]
    told = ", ".join(f"{name} ({r['furthest']:.1f}; widths by {r['width_ratio']:.1f})" for name, r in rows)
    ended = {reason: found["stopped"].count(reason) for reason in dict.fromkeys(found["stopped"])}
    ends = ", ".join(f"{number} {reason}" for reason, number in ended.items())
    return [
        f"Of {found['runs']} replicates the furthest two disagree, in posterior standard deviations, on {told}: other "
        "simulations of the same data give other answers, so the intervals cannot be relied on. How the runs ended: "
        f"{ends}. A larger budget brings them together."
    ]
