"""The network of a fold: a trunk, its two heads and their optimiser; built, run, written and read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ganinfer import plugins, randomness
from ganinfer.interfaces import EncodingSpec
from ganinfer.training.cutting import Cut, constants, cut, signature
from ganinfer.training.settings import TrainingError, TrainingSettings

FORMAT_VERSION = 1
#: Bounds of the regressor's log standard deviations, in units of the proposals' own spread.
_LOG_SD = 5.0
_CLIP_NORM = 5.0
_SEED = "random layer "
_MODELS = ("trunk", "critic", "regressor")


def configure(threads: int) -> None:
    """Fix TensorFlow's ``threads`` and make its results repeatable; call it before anything else here.

    Raises :class:`TrainingError` for another Keras backend, or when TensorFlow has started with other threads.
    """
    if keras.backend.backend() != "tensorflow":
        raise TrainingError(
            f"Keras must run on TensorFlow, not {keras.backend.backend()}: set KERAS_BACKEND=tensorflow"
        )
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        for device in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(device, True)
    except RuntimeError as error:
        if tf.config.threading.get_intra_op_parallelism_threads() != threads:
            raise TrainingError(f"TensorFlow has already started; it cannot go over to {threads} threads") from error
    tf.config.experimental.enable_op_determinism()
    # It warns of tracing one function again and again where every network has its own.
    tf.get_logger().setLevel("ERROR")


@keras.saving.register_keras_serializable(package="ganinfer")
class Regressor(keras.layers.Layer):
    """Parameters and the logarithm of their standard deviations from the mean embedding of a group of windows.

    Inputs (groups, width) and (groups, 1) the logarithm of the group's size; output (groups, 2 x parameters), in
    units of ``centre`` and ``spread``, the mean and standard deviation of the proposals.
    """

    def __init__(self, num_parameters: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.num_parameters = num_parameters
        self.hidden = keras.layers.Dense(64, activation="gelu", name="hidden")
        self.linear = keras.layers.Dense(num_parameters, name="linear")
        self.curved = keras.layers.Dense(num_parameters, use_bias=False, kernel_initializer="zeros", name="curved")
        self.log_sd = keras.layers.Dense(num_parameters, kernel_initializer="zeros", name="log_sd")

    def build(self, input_shape: Any) -> None:
        width = input_shape[0][-1]
        self.hidden.build((None, width + 1))
        self.linear.build((None, width))
        for layer in (self.curved, self.log_sd):
            layer.build((None, 64))
        shape = (self.num_parameters,)
        self.centre = self.add_weight(name="centre", shape=shape, initializer="zeros", trainable=False)
        self.spread = self.add_weight(name="spread", shape=shape, initializer="ones", trainable=False)
        self.built = True

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_parameters": self.num_parameters}

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, int]:
        return (input_shape[0][0], 2 * self.num_parameters)

    def call(self, inputs: Sequence[Any]) -> Any:
        embedding, log_size = inputs
        hidden = self.hidden(keras.ops.concatenate([embedding, log_size], axis=-1))
        mean = self.linear(embedding) + self.curved(hidden)
        return keras.ops.concatenate([mean, keras.ops.clip(self.log_sd(hidden), -_LOG_SD, _LOG_SD)], axis=-1)

    def recentre(self, centre: np.ndarray, spread: np.ndarray) -> None:
        """Change the units and, with them, the weights, so that what is predicted stays the same."""
        ratio = np.asarray(self.spread) / spread
        shift = (np.asarray(self.centre) - centre) / spread
        kernel, bias = self.linear.get_weights()
        self.linear.set_weights([kernel * ratio, bias * ratio + shift])
        self.curved.set_weights([self.curved.get_weights()[0] * ratio])
        kernel, bias = self.log_sd.get_weights()
        self.log_sd.set_weights([kernel, bias + np.log(ratio)])
        self.centre.assign(centre)
        self.spread.assign(spread)


class FoldNetwork:
    """The network of one fold: ``trunk`` with its heads ``critic`` and ``regressor``, and their optimiser.

    ``rounds`` counts the rounds of training it has seen.
    """

    def __init__(self, fold: int, discriminator: str, models: Sequence[Any], *, rounds: int = 0):
        self.fold, self.discriminator, self.rounds = fold, discriminator, rounds
        self.trunk, self.critic, self.regressor = models
        self.optimizer = keras.optimizers.Adam(1e-3, clipnorm=None, global_clipnorm=_CLIP_NORM)
        self.optimizer.build(self.variables)
        self.forget()

    def forget(self) -> None:
        """Drop what was traced: the scales of the trunk have changed."""
        self._step: Callable[..., Any] | None = None
        self._embed: Callable[..., Any] | None = None
        self._compute: Callable[..., Any] | None = None
        self._cut: Cut | None = None

    @property
    def cut(self) -> Cut:
        """The trunk in two: what never changes, and what is trained."""
        if self._cut is None:
            self._cut = cut(self.trunk)
        return self._cut

    @property
    def head(self) -> Regressor:
        return self.regressor.get_layer("regressor")

    @property
    def width(self) -> int:
        return int(self.trunk.output.shape[-1])

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the encoded arrays that the trunk reads."""
        return tuple(tensor.name for tensor in self.trunk.inputs)

    @property
    def variables(self) -> list[Any]:
        models = (self.trunk, self.critic, self.regressor)
        return [v for model in models for v in model.trainable_variables]

    @property
    def axes(self) -> np.ndarray:
        """(width, J) directions of the embedding that the heads read: the straight part of what a mean one tells."""
        return np.asarray(self.head.linear.get_weights()[0], dtype=float)

    def embed(self, arrays: Mapping[str, Any]) -> Any:
        if self._embed is None:
            self._embed = tf.function(self._traced_embed, input_signature=[signature(self.trunk.inputs)])
        return self._embed({name: arrays[name] for name in self.names})

    def compute(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """What the fixed part of the trunk makes of its inputs."""
        if self._compute is None:
            self._compute = tf.function(self.cut.compute, input_signature=[signature(self.trunk.inputs)])
        return self._compute({name: arrays[name] for name in self.names})

    def _traced_embed(self, arrays: Mapping[str, Any]) -> Any:
        embedding = self.trunk(arrays, training=False)
        return embedding, self.critic(embedding, training=False)[:, 0]

    def recentre(self, targets: np.ndarray) -> None:
        """Let the regressor count in units of ``targets`` (groups, parameters); what it predicts stays the same."""
        self.head.recentre(targets.mean(axis=0), np.maximum(targets.std(axis=0), 1e-6))

    def step(self, *arguments: Any) -> Any:
        """One step of the optimiser; see ``_training_step`` for the arguments. Returns both losses."""
        if self._step is None:
            shape = (None, self.head.num_parameters)
            specs = [tf.TensorSpec((None,), tf.int32), tf.TensorSpec(shape), tf.TensorSpec((3,))]
            self._step = tf.function(_training_step(self), input_signature=[self.cut.signature(), *specs])
        return self._step(*arguments)


def init(
    name: str,
    options: Mapping[str, Any],
    specs: Mapping[str, EncodingSpec],
    num_parameters: int,
    settings: TrainingSettings,
    seed: int,
) -> list[FoldNetwork]:
    """Fresh networks, one a fold, of the discriminator ``name``; the same ``seed`` gives the same weights."""
    build = plugins.load("discriminators", name).build
    networks = []
    for fold in range(settings.folds):
        keras.utils.set_random_seed(randomness.simulator_seed(seed, "network", fold))
        networks.append(assembled(fold, name, build(specs, **options), specs, num_parameters))
    return networks


def assembled(fold: int, name: str, model: Any, specs: Mapping[str, EncodingSpec], num_parameters: int) -> FoldNetwork:
    """The network of a fold from the ``model`` that the discriminator ``name`` has built."""
    trunk = trunk_of(name, model, specs)
    width = int(trunk.output.shape[-1])
    critic = keras.Sequential([keras.Input((width,)), keras.layers.Dense(1)], name="critic")
    mean, log_size = keras.Input((width,), name="mean"), keras.Input((1,), name="log_size")
    regressor = keras.Model([mean, log_size], Regressor(num_parameters, name="regressor")([mean, log_size]))
    return FoldNetwork(fold, name, (trunk, critic, regressor))


def trunk_of(name: str, model: Any, specs: Mapping[str, EncodingSpec]) -> Any:
    """The ``model`` of the discriminator ``name`` with its inputs by name; raises what makes it none of a network."""
    if not isinstance(model, keras.Model):
        raise TrainingError(f"discriminator {name!r}: build must return a keras.Model, got {type(model).__name__}")
    inputs = _inputs(name, model)
    unknown = [tensor.name for tensor in inputs if tensor.name not in specs]
    if unknown:
        raise TrainingError(
            f"discriminator {name!r} has inputs named {', '.join(unknown)}; the encoded arrays are {', '.join(specs)}"
        )
    for tensor in inputs:
        _check_input(name, tensor, specs[tensor.name])
    keras_own = type(model).__module__.partition(".")[0] == "keras"
    if isinstance(model, keras.Sequential) or (keras_own and not isinstance(model.input, Mapping)):
        # The same layers; a Sequential knows no output of its own, and other structures are no names.
        outputs = model.outputs if len(model.outputs) > 1 else model.outputs[0]
        model = keras.Model({tensor.name: tensor for tensor in inputs}, outputs, name=model.name)
    shape = getattr(model.output, "shape", None)
    if shape is None or len(shape) != 2 or shape[1] is None:
        raise TrainingError(f"discriminator {name!r}: its output must be an embedding (batch, width), got {shape}")
    return model


def _inputs(name: str, model: Any) -> list[Any]:
    try:
        return list(model.inputs)
    except AttributeError:
        kind = type(model).__name__
        example = "keras.Input(spec['counts'].shape, name='counts')"
        remedy = f"return keras.Model(inputs, {kind}(...)(inputs)) with inputs = {{'counts': {example}}} or the like"
        if isinstance(model, keras.Sequential):
            remedy = f"let it begin with {example} or the like"
        raise TrainingError(
            f"discriminator {name!r}: the {kind} that build returned does not say which arrays it reads; {remedy}"
        ) from None


def _check_input(name: str, tensor: Any, spec: EncodingSpec) -> None:
    """Raise where an input does not take its array as it is, or its numbers in a floating type."""
    shape, dtype = tuple(tensor.shape[1:]), tf.as_dtype(tensor.dtype)
    fits = len(shape) == len(spec.shape) and all(a in (None, b) for a, b in zip(shape, spec.shape, strict=True))
    if not fits:
        raise TrainingError(
            f"discriminator {name!r}: its input {tensor.name!r} has shape {shape}, but the array {tuple(spec.shape)}"
        )
    if not (dtype.is_floating or dtype.is_bool or np.can_cast(np.dtype(spec.dtype), dtype.as_numpy_dtype)):
        raise TrainingError(
            f"discriminator {name!r}: its input {tensor.name!r} is {dtype.name}, which cannot hold all values of the "
            f"array, {spec.dtype}; that or float32 would do"
        )


def _training_step(network: FoldNetwork) -> Callable[..., Any]:
    """Arrays of simulated windows, then real ones; group of each simulated one; targets; rate and both weights."""

    def step(arrays: Any, group: Any, targets: Any, weights: Any) -> Any:
        num_simulated = tf.shape(group)[0]
        with tf.GradientTape() as tape:
            embedding = tf.cast(network.cut.embed(arrays, training=True), tf.float32)
            logits = network.critic(embedding, training=True)[:, 0]
            critic = critic_loss(logits[num_simulated:], logits[:num_simulated])
            mean, log_size = grouped(embedding[:num_simulated], group, targets)
            regressor = _regressor_loss(network, mean, log_size, targets)
            loss = weights[1] * critic + weights[2] * regressor
        network.optimizer.learning_rate.assign(weights[0])
        network.optimizer.apply(tape.gradient(loss, network.variables), network.variables)
        return critic, regressor

    return step


def critic_loss(real: Any, simulated: Any) -> Any:
    """Binary cross-entropy in which both sides weigh the same."""
    return 0.5 * (tf.reduce_mean(tf.nn.softplus(-real)) + tf.reduce_mean(tf.nn.softplus(simulated)))


def grouped(embedding: Any, group: Any, targets: Any) -> tuple[Any, Any]:
    """Mean embedding (groups, width) of the windows of each ``group``, and the logarithm of its size (groups, 1)."""
    num_groups = tf.shape(targets)[0]
    size = tf.math.unsorted_segment_sum(tf.ones_like(group, tf.float32), group, num_groups)
    mean = tf.math.unsorted_segment_sum(embedding, group, num_groups) / size[:, None]
    return mean, tf.math.log(size)[:, None]


def _regressor_loss(network: FoldNetwork, mean: Any, log_size: Any, targets: Any) -> Any:
    """Minus the mean Gaussian log-likelihood of a parameter, in units of the proposals' spread."""
    predicted = network.regressor([mean, log_size], training=True)
    centre, log_sd = tf.split(predicted, 2, axis=-1)
    head = network.head
    residual = ((targets - head.centre) / head.spread - centre) * tf.exp(-log_sd)
    return tf.reduce_mean(0.5 * residual**2 + log_sd)


def embed(network: FoldNetwork, arrays: Mapping[str, np.ndarray], batch: int = 512) -> tuple[np.ndarray, np.ndarray]:
    """Embedding (n, width) and critic logits (n,) of n windows, float32."""
    size = len(arrays[network.names[0]])
    embedding = np.empty((size, network.width), dtype=np.float32)
    logits = np.empty(size, dtype=np.float32)
    for i in range(0, size, batch):
        part = constants(network.trunk.inputs, {name: arrays[name][i : i + batch] for name in network.names})
        embedding[i : i + batch], logits[i : i + batch] = (x.numpy() for x in network.embed(part))
    return embedding, logits


def save(networks: Sequence[FoldNetwork], folder: Path) -> None:
    """Write all of the networks' state under ``folder``, which must exist; training goes on from it bit by bit."""
    for network in networks:
        place = folder / f"fold-{network.fold}"
        place.mkdir(parents=True, exist_ok=True)
        for name in _MODELS:
            getattr(network, name).save(place / f"{name}.keras")
        store: dict[str, Any] = {}
        network.optimizer.save_own_variables(store)
        store.update({f"{_SEED}{i}": seed for i, seed in enumerate(_seeds(network.trunk))})
        arrays: dict[str, Any] = {key: np.asarray(value) for key, value in store.items()}
        np.savez(place / "optimizer.npz", **arrays)
    state = [{"fold": n.fold, "discriminator": n.discriminator, "rounds": n.rounds} for n in networks]
    (folder / "networks.json").write_text(json.dumps({"format": FORMAT_VERSION, "networks": state}))


def _seeds(trunk: Any) -> list[Any]:
    """States of random layers such as dropout, which a .keras file leaves out."""
    saved = {id(variable) for variable in trunk.weights}
    return [variable for variable in trunk.variables if id(variable) not in saved]


def load(folder: Path) -> list[FoldNetwork]:
    """The networks that :func:`save` wrote; raises :class:`TrainingError` for a folder of another format."""
    state = json.loads((folder / "networks.json").read_text())
    if state.get("format") != FORMAT_VERSION:
        raise TrainingError(
            f"{folder}: networks of format {state.get('format')!r}; this version reads {FORMAT_VERSION} only"
        )
    networks = []
    for entry in state["networks"]:
        place = folder / f"fold-{entry['fold']}"
        plugins.load("discriminators", entry["discriminator"])  # registers its layers
        models = [keras.saving.load_model(place / f"{m}.keras", compile=False, safe_mode=True) for m in _MODELS]
        network = FoldNetwork(entry["fold"], entry["discriminator"], models, rounds=entry["rounds"])
        with np.load(place / "optimizer.npz", allow_pickle=False) as store:
            network.optimizer.load_own_variables({k: v for k, v in store.items() if not k.startswith(_SEED)})
            for i, seed in enumerate(_seeds(network.trunk)):
                seed.assign(store[f"{_SEED}{i}"])
        networks.append(network)
    return networks
