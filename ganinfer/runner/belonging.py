"""Which simulated data sets of a calibration are of a run as it is now, and which of another answer or experiment."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from ganinfer import storage
from ganinfer.experiment import Experiment
from ganinfer.runner.assembling import RunError
from ganinfer.runner.completing import completed, dump_yaml, located

#: Data sets inferred with a run's simulations, and those that are runs of their own.
SHARED, FULL, PRIOR = KINDS = "posterior", "full", "prior"
#: What the data sets of a kind belong to.
ABOUT = "about-{}.json"
#: Simulations that data sets share beside the run's own.
POOL = "pool.npz"
#: Where runs of their own are until they are recorded.
RUNS = "runs"
#: Of data sets: those made by another are made anew.
_METHOD = 3


def around_posterior(experiment: Experiment, posterior: np.ndarray) -> dict[str, Any]:
    """What data sets with truths from the ``posterior`` (n, p) of a run belong to."""
    return {"method": _METHOD, "posterior": digest(posterior), "experiment": _digest(experiment)}


def around_prior(experiment: Experiment, scenario: str) -> dict[str, Any]:
    """What data sets with truths from the prior of a scenario belong to."""
    return {"method": _METHOD, "scenario": scenario, "experiment": _digest(experiment)}


def digest(posterior: np.ndarray) -> str:
    """Of the posterior's draws (n, p), by which what belongs to a run is told from what belonged to it before."""
    return hashlib.sha256(np.ascontiguousarray(posterior).tobytes()).hexdigest()


def _digest(experiment: Experiment) -> str:
    """Of all that an answer depends on; at which level it is told, and how it is judged, may change."""
    from ganinfer.runner.running import MAY_CHANGE

    kept = {k: v for k, v in completed(experiment).items() if k not in MAY_CHANGE or k == "budget"}
    return hashlib.sha256(dump_yaml(located(kept)).encode()).hexdigest()


def keep_or_forget(folder: storage.RunFolder, now: Mapping[str, Any]) -> None:
    """Forget data sets around a posterior, with what they shared, where they are not of ``now``."""
    if not _is(folder, SHARED, now):
        _forget_shared(folder)
        folder.write_json(ABOUT.format(SHARED), now)


def keep_or_refuse(folder: storage.RunFolder, now: Mapping[str, Any]) -> None:
    """Refuse to add to data sets around another prior than that of ``now``: each of them was a run of its own."""
    if _is(folder, PRIOR, now):
        return
    if number := sum(1 for _ in (folder.path / PRIOR).glob("[0-9]*.json")):
        sets = "1 data set" if number == 1 else f"{number} data sets"
        raise RunError(
            f"{folder.path / PRIOR} holds {sets} of another scenario, experiment or budget: give another --output, or "
            "remove that folder to begin anew"
        )
    for run in (folder.path / RUNS).glob(f"{PRIOR}-*"):
        storage.remove(run)
    folder.write_json(ABOUT.format(PRIOR), now)


def forget_another(folder: storage.RunFolder, posterior: np.ndarray) -> None:
    """Forget data sets around another posterior than a finished run's (n, p); ``folder`` is that of its calibration."""
    about = folder.path / ABOUT.format(SHARED)
    if about.exists() and storage.read_json(about)["posterior"] != digest(posterior):
        _forget_shared(folder)


def kinds(folder: storage.RunFolder, experiment: Experiment, scenario: str) -> tuple[str, ...]:
    """The kinds of data sets in a calibration's folder that are of this experiment and scenario.

    Those around a posterior are, or were forgotten; those around a prior are kept whatever they are of.
    """
    return KINDS if _is(folder, PRIOR, around_prior(experiment, scenario)) else (SHARED, FULL)


def _is(folder: storage.RunFolder, kind: str, now: Mapping[str, Any]) -> bool:
    path = folder.path / ABOUT.format(kind)
    before = storage.read_json(path) if path.exists() else {}
    return {key: value for key, value in before.items() if key in now} == dict(now)


def _forget_shared(folder: storage.RunFolder) -> None:
    """What the data sets are of goes last: until then they are not taken for another's."""
    for run in (folder.path / RUNS).glob(f"{FULL}-*"):
        storage.remove(run)
    for name in (FULL, SHARED, POOL, ABOUT.format(SHARED)):
        storage.remove(folder.path / name)
