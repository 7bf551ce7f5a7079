"""Rounds on disk: what is kept of a step, and the state read back.

Training changes the embeddings of earlier rounds, whose windows it embeds anew. While their inputs are kept, resuming
does the same again. The round that forgets the inputs of earlier ones holds their embeddings as they have become; these
inputs are then removed from the disk. A kill between the two leaves inputs that resuming removes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ganinfer import storage
from ganinfer.interfaces import Info, State

#: What is written of an earlier round once its inputs are forgotten.
_CHANGED = ("embedding", "logits")
_FORGOTTEN = "forgotten"


def write(folder: storage.RunFolder, before: Any, state: Any, info: Any, entry: Mapping[str, Any]) -> Any:
    """Write the round that led from ``before`` to ``state``, then remove the inputs that it forgot.

    Returns ``state`` with the round's inputs read from the disk from now on, so that memory holds one round at a time.
    """
    current = state.rounds[-1]
    arrays = current.arrays() | {f"state-{name}": array for name, array in state.generator.arrays.items()}
    if info.info.posterior is not None:
        arrays["posterior"] = info.info.posterior
    arrays["estimate"], arrays["spread"] = info.info.estimate, info.info.spread
    forgotten = [i for i, r in enumerate(before.rounds) if r.inputs and not state.rounds[i].inputs]
    if forgotten:
        parts = [state.rounds[i] for i in forgotten]
        arrays |= {f"{_FORGOTTEN}-{n}": np.concatenate([getattr(r, n) for r in parts]) for n in _CHANGED}
    values = {"entry": dict(entry), "generator": dict(state.generator.values), "trained": state.trained}
    values[_FORGOTTEN] = forgotten
    files: dict[str, Callable[[Path], None]] = {}
    if state.trained == state.index - 1:
        files["networks"] = lambda path: _save_networks(state, path)
    folder.write_round(state.index - 1, arrays, values, files)
    _remove_inputs(folder, forgotten)
    if not current.inputs:
        return state
    from ganinfer import inference

    stored, _, _ = folder.read_round(state.index - 1)
    inputs = {name: stored[f"{inference.INPUT}{name}"] for name in current.inputs}
    return replace(state, rounds=(*state.rounds[:-1], replace(current, inputs=inputs)))


def read(problem: Any, folder: storage.RunFolder) -> tuple[Any, list[dict[str, Any]]]:
    """The state after the last complete round, or the first one, with the history of rounds."""
    from ganinfer import inference, training

    fresh = inference.init(problem)
    indices = folder.rounds()
    if not indices:
        return fresh, []
    loaded: list[Any] = []
    history, forgotten = [], []
    for index in indices:
        arrays, values, _ = folder.read_round(index)
        loaded.append(inference.Round.from_arrays(arrays))
        history.append(values["entry"])
        _settle(loaded, values.get(_FORGOTTEN, []), arrays)
        forgotten += values.get(_FORGOTTEN, [])
    _remove_inputs(folder, forgotten)
    networks = fresh.networks
    if values["trained"] >= 0:
        networks = training.load(folder.path / "rounds" / f"{values['trained']:04d}" / "networks")
    generator = State(
        {name.removeprefix("state-"): np.array(a) for name, a in arrays.items() if name.startswith("state-")},
        values["generator"],
    )
    state = inference.InferenceState(len(indices), generator, networks, tuple(loaded), values["trained"])
    return inference.resumed(problem, state), history


def last_info(folder: storage.RunFolder, index: int) -> Info:
    """The generator's last word, as its round's folder has it."""
    arrays, values, _ = folder.read_round(index)
    posterior = np.array(arrays["posterior"]) if "posterior" in arrays else None
    warnings = tuple(values["entry"]["warnings"])
    metrics = values["entry"]["metrics"]
    return Info(np.array(arrays["estimate"]), np.array(arrays["spread"]), posterior, metrics=metrics, warnings=warnings)


def _settle(rounds: list[Any], forgotten: list[int], arrays: Mapping[str, np.ndarray]) -> None:
    """Give the ``forgotten`` of ``rounds``, in place, the embeddings that a later round holds."""
    edges = np.cumsum([0, *(len(rounds[i]) for i in forgotten)])
    for i, start, stop in zip(forgotten, edges, edges[1:], strict=False):
        changed = {name: arrays[f"{_FORGOTTEN}-{name}"][start:stop] for name in _CHANGED}
        rounds[i] = replace(rounds[i], inputs={}, **changed)


def _remove_inputs(folder: storage.RunFolder, indices: list[int]) -> None:
    from ganinfer import inference

    for index in indices:
        folder.drop_arrays(index, inference.INPUT)


def _save_networks(state: Any, path: Path) -> None:
    from ganinfer import training

    path.mkdir()
    training.save(state.networks, path)
