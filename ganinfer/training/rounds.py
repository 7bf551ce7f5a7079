"""One round of training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ganinfer.training.cutting import constants
from ganinfer.training.networks import FoldNetwork, embed
from ganinfer.training.settings import TrainingError, TrainingInfo, TrainingSettings, Windows

_AUC_WINDOWS = 1_000
_FIXED_BATCH = 256


def train(
    networks: Sequence[FoldNetwork],
    simulated: Windows,
    real: Windows,
    settings: TrainingSettings,
    rng: np.random.Generator,
) -> TrainingInfo:
    """Train every network, in place, on the windows outside its fold; the same ``rng`` gives the same weights."""
    info = TrainingInfo()
    for network in networks:
        for step, (critic, regressor) in passes(network, simulated, real, settings, settings.epochs, rng):
            row = {"fold": network.fold, "step": step, "loss_critic": critic, "loss_regressor": regressor}
            info.rows.append({**row, "auc": np.nan})
        network.rounds += 1
        info.rows[-1]["auc"] = out_of_fold_auc(network, simulated, real, rng)
    return info


def passes(
    network: FoldNetwork,
    simulated: Windows,
    real: Windows,
    settings: TrainingSettings,
    epochs: int,
    rng: np.random.Generator,
) -> Iterator[tuple[int, np.ndarray]]:
    """Train one network, in place; after each of ``epochs`` passes the steps so far and the pass's mean losses."""
    sample = sample_for(network, simulated, real, settings)
    per_epoch = -(-len(sample.groups) // settings.batch)
    for epoch in range(epochs):
        losses = []
        for i, chosen in enumerate(np.array_split(rng.permutation(len(sample.groups)), per_epoch)):
            progress = (epoch * per_epoch + i) / (epochs * per_epoch)
            rate = settings.learning_rate * (0.05 + 0.475 * (1 + np.cos(np.pi * progress)))
            weights = [rate, settings.critic_weight, settings.regressor_weight]
            batch = sample.batch(chosen, settings.real_share, rng)
            losses.append(network.step(*batch, tf.constant(weights, tf.float32)))
        yield (epoch + 1) * per_epoch, np.mean([[float(x) for x in each] for each in losses], axis=0)


@dataclass(eq=False)
class Sample:
    """What one network is trained on: ``groups`` of places in ``used`` simulated windows, and ``used`` real ones.

    ``raw`` the trunk's inputs that are read as they are, by name; ``computed`` what its fixed part made of the others.
    """

    sources: tuple[Windows, Windows]
    used: tuple[np.ndarray, np.ndarray]
    groups: list[np.ndarray]
    targets: np.ndarray
    raw: Mapping[str, Any]
    computed: tuple[dict[str, np.ndarray], dict[str, np.ndarray]]

    def batch(self, chosen: np.ndarray, real_share: float, rng: np.random.Generator) -> tuple[Any, Any, Any]:
        """Arrays of the ``chosen`` groups' windows and of real ones behind them, each window's group, the targets."""
        simulated = np.concatenate([self.groups[g] for g in chosen])
        num_real, available = max(1, round(real_share * len(simulated))), len(self.used[1])
        real = rng.choice(available, size=num_real, replace=num_real > available)
        rows = [u[p] for u, p in zip(self.used, (simulated, real), strict=True)]
        raw = {n: np.concatenate([s.arrays[n][r] for s, r in zip(self.sources, rows, strict=True)]) for n in self.raw}
        arrays = constants(self.raw.values(), raw)
        for name in self.computed[0]:
            arrays[name] = tf.constant(
                np.concatenate([self.computed[0][name][simulated], self.computed[1][name][real]])
            )
        group = np.repeat(np.arange(len(chosen), dtype=np.int32), [len(self.groups[g]) for g in chosen])
        return arrays, tf.constant(group), tf.constant(self.targets[chosen].astype(np.float32))


def sample_for(network: FoldNetwork, simulated: Windows, real: Windows, settings: TrainingSettings) -> Sample:
    assert simulated.proposal is not None
    assert simulated.targets is not None
    groups = _groups(simulated, network.fold, settings)
    real_index = np.flatnonzero(real.fold != network.fold)
    if len(groups) == 0 or len(real_index) == 0:
        raise TrainingError(
            f"network {network.fold} has {len(groups)} groups of simulated and {len(real_index)} real windows "
            f"outside its fold to train on; both must be there"
        )
    targets = simulated.targets[simulated.proposal[[g[0] for g in groups]]]
    network.recentre(targets)
    used = np.concatenate(groups)
    if network.rounds == 0:
        some = used[np.linspace(0, len(used) - 1, min(len(used), 2 * _AUC_WINDOWS)).astype(int)]
        adapt(network.trunk, simulated.take(np.sort(some)))
        network.forget()
    places = np.split(np.arange(len(used)), np.cumsum([len(g) for g in groups])[:-1])
    computed = _computed(network, simulated, used), _computed(network, real, real_index)
    return Sample((simulated, real), (used, real_index), places, targets, network.cut.raw, computed)


def _computed(network: FoldNetwork, windows: Windows, index: np.ndarray) -> dict[str, np.ndarray]:
    """What the fixed part of the trunk makes of the windows ``index``."""
    if not network.cut.fixed:
        return {}
    parts: dict[str, list[np.ndarray]] = {name: [] for name in network.cut.computed}
    for i in range(0, len(index), _FIXED_BATCH):
        chosen = index[i : i + _FIXED_BATCH]
        arrays = constants(network.trunk.inputs, {name: windows.arrays[name][chosen] for name in network.names})
        for name, value in network.compute(arrays).items():
            parts[name].append(value.numpy())
    return {name: np.concatenate(column) for name, column in parts.items()}


def _groups(simulated: Windows, fold: int, settings: TrainingSettings) -> list[np.ndarray]:
    """Windows of one proposal each, at most ``settings.group`` of them; the latest proposals up to the bound."""
    assert simulated.proposal is not None
    usable = np.flatnonzero(simulated.fold != fold)
    usable = usable[np.argsort(simulated.proposal[usable], kind="stable")][-settings.windows :]
    proposal = simulated.proposal[usable]
    groups = []
    for windows in np.split(usable, np.flatnonzero(np.diff(proposal)) + 1):
        groups += np.array_split(windows, -(-len(windows) // settings.group)) if len(windows) else []
    return groups


def adapt(trunk: Any, arrays: Mapping[str, np.ndarray]) -> None:
    for layer in trunk.layers:
        if isinstance(layer, keras.layers.Normalization):
            before = keras.Model(trunk.inputs, layer.input)
            names = [tensor.name for tensor in trunk.inputs]
            size = len(arrays[names[0]])
            parts = [before({n: arrays[n][i : i + 256] for n in names}) for i in range(0, size, 256)]
            values = np.concatenate([np.asarray(part) for part in parts])
            axes = layer.axis if isinstance(layer.axis, tuple | list) else (layer.axis,)
            layer.adapt(_with_variance(values, [axis % values.ndim for axis in axes if axis is not None]))


def _with_variance(values: np.ndarray, kept: Sequence[int]) -> np.ndarray:
    """``values`` (n, ...) in which what is constant along all but the ``kept`` axes varies by about 1.

    Dividing by no variance would make a number beyond any bound of the first window that differs.
    """
    others = tuple(axis for axis in range(values.ndim) if axis not in kept)
    size = np.abs(values).max(axis=others, keepdims=True)
    constant = np.ptp(values, axis=others, keepdims=True) <= 1e-4 * size + 1e-6
    sign = np.where(np.arange(len(values)) % 2, 1.0, -1.0).reshape(-1, *[1] * (values.ndim - 1))
    return (values + constant * sign).astype(np.float32)


def out_of_fold_auc(network: FoldNetwork, simulated: Windows, real: Windows, rng: np.random.Generator) -> float:
    logits = []
    for windows in (real, simulated):
        index = np.flatnonzero(windows.fold == network.fold)
        if len(index) == 0:
            return float("nan")
        index = np.sort(rng.choice(index, size=min(len(index), _AUC_WINDOWS), replace=False))
        logits.append(embed(network, windows.take(index))[1])
    return area_under_curve(*logits)


def area_under_curve(positive: np.ndarray, negative: np.ndarray) -> float:
    """Probability that a draw of ``positive`` exceeds one of ``negative``, ties counting half."""
    values = np.concatenate([positive, negative])
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - 0.5 * (counts - 1))[inverse]
    n, m = len(positive), len(negative)
    return float((rank[:n].sum() - n * (n + 1) / 2) / (n * m))
