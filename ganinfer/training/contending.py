"""The network that tells scenarios apart by windows: one trunk with a critic, a classifier, and a regressor a scenario.

Windows of one proposal are a group, which all heads but the critic see by its mean embedding. The classifier is linear,
so that its logits of a genome are the mean of those of its windows: directions of the embedding, fixed by training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ganinfer import plugins, randomness
from ganinfer.interfaces import EncodingSpec
from ganinfer.training.networks import FoldNetwork, Regressor, critic_loss, grouped, trunk_of
from ganinfer.training.rounds import out_of_fold_auc, passes
from ganinfer.training.settings import TrainingInfo, TrainingSettings, Windows

#: Passes over the windows, as a multiple of those of one round of matching: these networks are trained once.
_PASSES = 4
_LEAST_SPREAD = 1e-6


class ContendingNetwork(FoldNetwork):
    """The network of one fold: ``trunk``, ``critic``, ``classifier`` and ``regressors``, one a scenario.

    ``sizes`` are the scenarios' numbers of parameters. Targets of training are (groups, sum of sizes), NaN in the
    columns of all scenarios but the group's own.
    """

    def __init__(self, fold: int, discriminator: str, models: Sequence[Any], sizes: Sequence[int]):
        self.classifier, *self.regressors = models[2:]
        self.edges = np.cumsum([0, *sizes])
        super().__init__(fold, discriminator, (*models[:2], self.regressors[0]))

    @property
    def variables(self) -> list[Any]:
        models = (self.trunk, self.critic, self.classifier, *self.regressors)
        return [v for model in models for v in model.trainable_variables]

    def heads(self) -> list[Regressor]:
        return [regressor.get_layer("regressor") for regressor in self.regressors]

    def recentre(self, targets: np.ndarray) -> None:
        for head, start, stop in zip(self.heads(), self.edges, self.edges[1:], strict=False):
            mine = targets[np.isfinite(targets[:, start])][:, start:stop]
            head.recentre(mine.mean(axis=0), np.maximum(mine.std(axis=0), _LEAST_SPREAD))

    def step(self, *arguments: Any) -> Any:
        """One step of the optimiser; returns the losses of critic, regressors and classifier."""
        if self._step is None:
            specs = [tf.TensorSpec((None,), tf.int32), tf.TensorSpec((None, self.edges[-1])), tf.TensorSpec((3,))]
            self._step = tf.function(_training_step(self), input_signature=[self.cut.signature(), *specs])
        return self._step(*arguments)

    @property
    def axes(self) -> np.ndarray:
        """(width, J) directions of the embedding: logits against the last scenario's, the regressors' straight parts.

        What a genome's windows have in them is the mean of what each has.
        """
        logits = self.classifier.layers[-1].get_weights()[0]
        slopes = [head.linear.get_weights()[0] for head in self.heads()]
        return np.concatenate([logits[:, :-1] - logits[:, -1:], *slopes], axis=1).astype(float)


def init(
    name: str,
    options: Mapping[str, Any],
    specs: Mapping[str, EncodingSpec],
    sizes: Sequence[int],
    folds: int,
    seed: int,
) -> list[ContendingNetwork]:
    """Fresh networks, one a fold, of the discriminator ``name``; the same ``seed`` gives the same weights."""
    build = plugins.load("discriminators", name).build
    networks = []
    for fold in range(folds):
        keras.utils.set_random_seed(randomness.simulator_seed(seed, "contending network", fold))
        trunk = trunk_of(name, build(specs, **options), specs)
        width = int(trunk.output.shape[-1])
        critic, classifier = (
            keras.Sequential([keras.Input((width,)), keras.layers.Dense(size)], name=head)
            for head, size in (("critic", 1), ("classifier", len(sizes)))
        )
        mean, log_size = keras.Input((width,), name="mean"), keras.Input((1,), name="log_size")
        regressors = [keras.Model([mean, log_size], Regressor(n, name="regressor")([mean, log_size])) for n in sizes]
        networks.append(ContendingNetwork(fold, name, [trunk, critic, classifier, *regressors], sizes))
    return networks


def train(
    networks: Sequence[ContendingNetwork],
    simulated: Windows,
    real: Windows,
    settings: TrainingSettings,
    rng: np.random.Generator,
) -> TrainingInfo:
    """Train every network, in place, on the windows outside its fold; the same ``rng`` gives the same weights."""
    info = TrainingInfo()
    for network in networks:
        for step, losses in passes(network, simulated, real, settings, _PASSES * settings.epochs, rng):
            named = dict(zip(("loss_critic", "loss_regressor", "loss_classifier"), losses, strict=True))
            info.rows.append({"fold": network.fold, "step": step, **named, "auc": np.nan})
        network.rounds += 1
        info.rows[-1]["auc"] = out_of_fold_auc(network, simulated, real, rng)
    return info


def _training_step(network: ContendingNetwork) -> Callable[..., Any]:
    """Arrays of simulated windows, then real ones; group of each simulated one; targets; rate and two weights."""

    def step(arrays: Any, group: Any, targets: Any, weights: Any) -> Any:
        num_simulated = tf.shape(group)[0]
        with tf.GradientTape() as tape:
            embedding = tf.cast(network.cut.embed(arrays, training=True), tf.float32)
            outputs = network.critic(embedding, training=True)[:, 0]
            critic = critic_loss(outputs[num_simulated:], outputs[:num_simulated])
            mean, log_size = grouped(embedding[:num_simulated], group, targets)
            scenario, regressor = _regressor_loss(network, mean, log_size, targets)
            logits = network.classifier(mean, training=True)
            classifier = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(scenario, logits))
            loss = weights[1] * critic + weights[2] * regressor + classifier
        network.optimizer.learning_rate.assign(weights[0])
        gradients = tape.gradient(loss, network.variables, unconnected_gradients="zero")
        network.optimizer.apply(gradients, network.variables)
        return critic, regressor, classifier

    return step


def _regressor_loss(network: ContendingNetwork, mean: Any, log_size: Any, targets: Any) -> tuple[Any, Any]:
    """Each group's scenario, and minus the mean Gaussian log-likelihood of a parameter of its own scenario."""
    total, number, mine = 0.0, 0.0, []
    for head, regressor, start, stop in zip(
        network.heads(), network.regressors, network.edges, network.edges[1:], strict=False
    ):
        own = targets[:, start:stop]
        there = tf.math.is_finite(own[:, :1])
        mine.append(there[:, 0])
        centre, log_sd = tf.split(regressor([mean, log_size], training=True), 2, axis=-1)
        scaled = (tf.where(there, own, 0.0) - head.centre) / head.spread
        losses = 0.5 * ((scaled - centre) * tf.exp(-log_sd)) ** 2 + log_sd
        total += tf.reduce_sum(tf.where(there, losses, 0.0))
        number += (stop - start) * tf.reduce_sum(tf.cast(there, tf.float32))
    scenario = tf.argmax(tf.cast(tf.stack(mine, axis=1), tf.int32), axis=1, output_type=tf.int32)
    return scenario, total / tf.maximum(number, 1.0)
