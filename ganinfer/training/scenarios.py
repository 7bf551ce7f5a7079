"""The network that tells scenarios apart: a trunk with a classifier, and a regressor of every scenario's parameters.

An observation is a whole data set here, such as a table of SNPs: it is embedded as a whole, and the heads see the
embedding of one data set. There is no critic, which would have a single real data set to learn from.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ganinfer import plugins, randomness
from ganinfer.interfaces import EncodingSpec
from ganinfer.training.cutting import constants, signature
from ganinfer.training.networks import trunk_of
from ganinfer.training.rounds import adapt
from ganinfer.training.settings import Stacked, TrainingError

FORMAT_VERSION = 1
#: Bounds of the regressors' log standard deviations, in prior standard deviations.
_LOG_SD = 5.0
_CLIP_NORM = 5.0
_ADAPTED = 2_000
_EMBED = 256


@dataclass(frozen=True)
class ScenarioSettings:
    """How the network is trained.

    At most ``epochs`` passes in steps of ``batch`` data sets; the learning rate falls to a twentieth along a cosine.
    The weights are those of the epoch with the lowest loss on ``validation``, a share of the data sets that does not
    train.
    """

    epochs: int = 40
    batch: int = 32
    learning_rate: float = 2e-3
    weight_decay: float = 1e-3
    regressor_weight: float = 0.2
    validation: float = 0.1

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "learning_rate"):
            if not getattr(self, name) > 0:
                raise TrainingError(f"comparison.{name} must be above 0, got {getattr(self, name)}")
        if not 0 < self.validation < 1:
            raise TrainingError(f"comparison.validation must lie in (0, 1), got {self.validation}")


@dataclass(eq=False)
class DataSets:
    """Simulated data sets: ``arrays`` name -> (n, ...), ``scenario`` (n,) int, and their parameters.

    ``targets`` (n, largest number of parameters) normal scores of the prior's cumulative distribution, NaN where a
    scenario has fewer parameters than the largest.
    """

    arrays: Mapping[str, np.ndarray | Stacked]
    scenario: np.ndarray
    targets: np.ndarray

    def __len__(self) -> int:
        return len(self.scenario)


class ScenarioNetwork:
    """One fold's network: ``trunk``, ``classifier`` with a logit a scenario, ``regressors`` one a scenario.

    ``sizes`` are the scenarios' numbers of parameters.
    """

    def __init__(self, fold: int, discriminator: str, models: Sequence[Any], sizes: Sequence[int]):
        self.fold, self.discriminator, self.sizes = fold, discriminator, tuple(sizes)
        self.trunk, self.classifier, *self.regressors = models
        self._step: Callable[..., Any] | None = None
        self._evaluate: Callable[..., Any] | None = None

    @property
    def models(self) -> list[Any]:
        return [self.trunk, self.classifier, *self.regressors]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the encoded arrays that the trunk reads."""
        return tuple(tensor.name for tensor in self.trunk.inputs)

    @property
    def width(self) -> int:
        return int(self.trunk.output.shape[-1])

    @property
    def variables(self) -> list[Any]:
        return [v for model in self.models for v in model.trainable_variables]

    def evaluate(self, arrays: Mapping[str, Any]) -> Any:
        """Embedding, logits, and every scenario's regressor (batch, 2 x parameters)."""
        if self._evaluate is None:
            self._evaluate = tf.function(self._traced, input_signature=[signature(self.trunk.inputs)])
        return self._evaluate({name: arrays[name] for name in self.names})

    def _traced(self, arrays: Mapping[str, Any]) -> Any:
        embedding = tf.cast(self.trunk(arrays, training=False), tf.float32)
        return embedding, self.classifier(embedding), [r(embedding) for r in self.regressors]


def init(
    name: str,
    options: Mapping[str, Any],
    specs: Mapping[str, EncodingSpec],
    sizes: Sequence[int],
    folds: int,
    seed: int,
) -> list[ScenarioNetwork]:
    """Fresh networks, one a fold, of the discriminator ``name``; the same ``seed`` gives the same weights."""
    build = plugins.load("discriminators", name).build
    networks = []
    for fold in range(folds):
        keras.utils.set_random_seed(randomness.simulator_seed(seed, "scenario network", fold))
        trunk = trunk_of(name, build(specs, **options), specs)
        width = int(trunk.output.shape[-1])
        classifier = keras.Sequential([keras.Input((width,)), keras.layers.Dense(len(sizes))], name="classifier")
        regressors = [_regressor(width, size, i) for i, size in enumerate(sizes)]
        networks.append(ScenarioNetwork(fold, name, [trunk, classifier, *regressors], sizes))
    return networks


def _regressor(width: int, size: int, index: int) -> Any:
    layers = [keras.Input((width,)), keras.layers.Dense(64, activation="gelu"), keras.layers.Dense(2 * size)]
    return keras.Sequential(layers, name=f"regressor_{index}")


def train(
    network: ScenarioNetwork, data: DataSets, index: np.ndarray, settings: ScenarioSettings, rng: np.random.Generator
) -> list[dict[str, float]]:
    """Train ``network``, in place, on the data sets ``index``; a row an epoch. The same ``rng`` gives the same weights.

    Rows hold the epoch and the losses of classifier and regressors in training, and of the classifier in validation.
    """
    order = rng.permutation(index)
    num_held = max(int(settings.validation * len(order)), 1)
    held, used = np.sort(order[:num_held]), order[num_held:]
    adapt(network.trunk, _taken(data, network.names, np.sort(used[:_ADAPTED])))
    network._step = network._evaluate = None
    steps = -(-len(used) // settings.batch)
    optimizer = keras.optimizers.AdamW(
        settings.learning_rate, weight_decay=settings.weight_decay, global_clipnorm=_CLIP_NORM
    )
    optimizer.build(network.variables)
    step = _compiled_step(network, optimizer, settings)
    rows: list[dict[str, float]] = []
    best, kept = np.inf, [model.get_weights() for model in network.models]
    for epoch in range(settings.epochs):
        losses = []
        for i, chosen in enumerate(np.array_split(rng.permutation(used), steps)):
            progress = (epoch * steps + i) / (settings.epochs * steps)
            rate = settings.learning_rate * (0.05 + 0.475 * (1 + np.cos(np.pi * progress)))
            arrays = constants(network.trunk.inputs, _taken(data, network.names, chosen))
            targets = tf.constant(np.nan_to_num(data.targets[chosen]).astype(np.float32))
            losses.append(
                step(arrays, tf.constant(data.scenario[chosen], tf.int32), targets, tf.constant(rate, tf.float32))
            )
        classifier, regressor = np.mean([[float(x) for x in pair] for pair in losses], axis=0)
        validation = _validation_loss(network, data, held)
        row = {"fold": network.fold, "epoch": epoch + 1, "loss_classifier": classifier, "loss_regressor": regressor}
        rows.append({**row, "validation": validation[0], "validation_regressor": validation[1]})
        total = validation[0] + settings.regressor_weight * validation[1]
        if total < best:
            best, kept = total, [model.get_weights() for model in network.models]
    for model, weights in zip(network.models, kept, strict=True):
        model.set_weights(weights)
    return rows


def _taken(data: DataSets, names: Sequence[str], index: np.ndarray) -> dict[str, np.ndarray]:
    return {name: np.asarray(data.arrays[name][index]) for name in names}


def _compiled_step(network: ScenarioNetwork, optimizer: Any, settings: ScenarioSettings) -> Callable[..., Any]:
    def step(arrays: Any, scenario: Any, targets: Any, rate: Any) -> Any:
        with tf.GradientTape() as tape:
            embedding = tf.cast(network.trunk(arrays, training=True), tf.float32)
            classifier = _classifier_loss(network.classifier(embedding, training=True), scenario)
            predicted = [r(embedding, training=True) for r in network.regressors]
            regressor = _regressor_loss(predicted, scenario, targets, network.sizes)
            loss = classifier + settings.regressor_weight * regressor
        optimizer.learning_rate.assign(rate)
        optimizer.apply(tape.gradient(loss, network.variables, unconnected_gradients="zero"), network.variables)
        return classifier, regressor

    specs = [
        signature(network.trunk.inputs),
        tf.TensorSpec((None,), tf.int32),
        tf.TensorSpec((None, None)),
        tf.TensorSpec(()),
    ]
    return tf.function(step, input_signature=specs)


def _classifier_loss(logits: Any, scenario: Any) -> Any:
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(scenario, logits))


def _regressor_loss(predicted: Sequence[Any], scenario: Any, targets: Any, sizes: Sequence[int]) -> Any:
    """Minus the mean Gaussian log-likelihood of a parameter of the true scenario."""
    total, number = 0.0, 0.0
    for i, (values, size) in enumerate(zip(predicted, sizes, strict=True)):
        if size == 0:
            continue
        mine = tf.cast(tf.equal(scenario, i), tf.float32)[:, None]
        mean, log_sd = tf.split(values, 2, axis=-1)
        log_sd = tf.clip_by_value(log_sd, -_LOG_SD, _LOG_SD)
        residual = (targets[:, :size] - mean) * tf.exp(-log_sd)
        total += tf.reduce_sum(mine * (0.5 * residual**2 + log_sd))
        number += size * tf.reduce_sum(mine)
    return total / tf.maximum(number, 1.0)


def _validation_loss(network: ScenarioNetwork, data: DataSets, held: np.ndarray) -> tuple[float, float]:
    outcome = evaluate(network, data.arrays, held)
    scenario = tf.constant(data.scenario[held], tf.int32)
    targets = tf.constant(np.nan_to_num(data.targets[held]).astype(np.float32))
    classifier = _classifier_loss(tf.constant(outcome.logits), scenario)
    regressor = _regressor_loss([tf.constant(p) for p in outcome.predicted], scenario, targets, network.sizes)
    return float(classifier), float(regressor)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a network says of n data sets: ``embedding`` (n, width), ``logits`` (n, scenarios), and each scenario's
    ``predicted`` (n, 2 x parameters): means and logarithms of standard deviations of the normal scores.
    """

    embedding: np.ndarray
    logits: np.ndarray
    predicted: tuple[np.ndarray, ...]


def evaluate(network: ScenarioNetwork, arrays: Mapping[str, Any], index: np.ndarray | None = None) -> Outcome:
    """What ``network`` says of the data sets ``index`` (default: all), in their order."""
    index = np.arange(len(arrays[network.names[0]])) if index is None else index
    parts = []
    for start in range(0, len(index), _EMBED):
        chosen = index[start : start + _EMBED]
        batch = {name: np.asarray(arrays[name][chosen]) for name in network.names}
        parts.append(network.evaluate(constants(network.trunk.inputs, batch)))
    embedding, logits = (np.concatenate([p[i].numpy() for p in parts]) for i in range(2))
    predicted = tuple(np.concatenate([p[2][i].numpy() for p in parts]) for i in range(len(network.sizes)))
    return Outcome(embedding, logits, predicted)


def save(networks: Sequence[ScenarioNetwork], folder: Path) -> None:
    """Write the networks under ``folder``, which must exist: Keras files and JSON."""
    for network in networks:
        place = folder / f"fold-{network.fold}"
        place.mkdir(parents=True, exist_ok=True)
        for name, model in zip(_names(network.sizes), network.models, strict=True):
            model.save(place / f"{name}.keras")
    state = [{"fold": n.fold, "discriminator": n.discriminator, "sizes": list(n.sizes)} for n in networks]
    (folder / "networks.json").write_text(json.dumps({"format": FORMAT_VERSION, "networks": state}))


def load(folder: Path) -> list[ScenarioNetwork]:
    """The networks that :func:`save` wrote; nothing but Keras' own and the discriminators' layers is executed."""
    written = json.loads((folder / "networks.json").read_text())
    if written["format"] != FORMAT_VERSION:
        raise TrainingError(f"{folder} holds networks of format {written['format']}, this is {FORMAT_VERSION}")
    networks = []
    for values in written["networks"]:
        plugins.load("discriminators", values["discriminator"])  # registers its layers
        place = folder / f"fold-{values['fold']}"
        models = [
            keras.saving.load_model(place / f"{name}.keras", compile=False, safe_mode=True)
            for name in _names(values["sizes"])
        ]
        networks.append(ScenarioNetwork(values["fold"], values["discriminator"], models, values["sizes"]))
    return networks


def _names(sizes: Sequence[int]) -> list[str]:
    return ["trunk", "classifier", *(f"regressor-{i}" for i in range(len(sizes)))]
