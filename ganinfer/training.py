"""One round of the networks: training them on simulated and real windows, embedding windows with them.

There is one network a fold. Network k is trained on the windows whose fold is not k and embeds those whose fold is k,
so that no window is ever embedded by a network that was trained on it. A network is a discriminator's trunk with two
heads: the critic tells real from simulated windows; the regressor tells a proposal's parameters from the *mean*
embedding of some of its windows, which is what matching will use of them.
"""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import tensorflow as tf

from ganinfer import plugins, randomness
from ganinfer.interfaces import EncodingSpec

FORMAT_VERSION = 1
#: Bounds of the regressor's log standard deviations, in units of the proposals' own spread.
_LOG_SD = 5.0
_AUC_WINDOWS = 1_000
_CLIP_NORM = 5.0
_FIXED_BATCH = 256
_MODELS = ("trunk", "critic", "regressor")


class TrainingError(ValueError):
    """A network or its training data break one of their rules."""


@dataclass(frozen=True)
class TrainingSettings:
    """How the networks are trained in a round.

    ``windows``: at most so many simulated windows train a network in one round, the latest proposals first;
    ``epochs`` passes over them; ``batch`` groups of at most ``group`` windows of one proposal a step; ``real_share``
    real windows a step, as a share of the simulated ones; ``learning_rate`` falls to a twentieth along a cosine.
    """

    windows: int = 16_000
    epochs: int = 8
    batch: int = 24
    group: int = 16
    real_share: float = 0.25
    learning_rate: float = 2e-3
    critic_weight: float = 0.1
    regressor_weight: float = 1.0
    folds: int = 2

    def __post_init__(self) -> None:
        for name in ("windows", "epochs", "batch", "group"):
            if getattr(self, name) < 1:
                raise TrainingError(f"training.{name} must be at least 1, got {getattr(self, name)}")
        if self.folds < 2:
            raise TrainingError(f"training.folds must be at least 2, got {self.folds}: no window may train its network")
        for name in ("learning_rate", "real_share"):
            if not getattr(self, name) > 0:
                raise TrainingError(f"training.{name} must be above 0, got {getattr(self, name)}")


@dataclass(eq=False)
class Windows:
    """Encoded windows: ``arrays`` name -> (num_windows, ...), maybe memory-mapped, and ``fold`` (num_windows,).

    Simulated ones also have ``proposal`` (num_windows,) int, the row of ``targets`` (num_proposals, parameters) that
    they were simulated under; the latest proposals have the highest numbers. A proposal's windows share one fold.
    """

    arrays: Mapping[str, np.ndarray]
    fold: np.ndarray
    proposal: np.ndarray | None = None
    targets: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.fold)

    def take(self, index: np.ndarray) -> dict[str, np.ndarray]:
        return {name: np.asarray(array[index]) for name, array in self.arrays.items()}


@dataclass
class TrainingInfo:
    """What a round of training was like: ``rows`` (fold, step, loss_critic, loss_regressor, auc) as plain dicts.

    A row an epoch; its losses are means over the epoch's steps, ``auc`` is out of fold and only in the last.
    """

    rows: list[dict[str, float]] = field(default_factory=list)

    @property
    def auc(self) -> float:
        """Mean over folds of the out-of-fold area under the critic's curve."""
        return float(np.nanmean([row["auc"] for row in self.rows]))


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


def _signature(tensors: Sequence[Any]) -> dict[str, Any]:
    return {t.name: tf.TensorSpec((None, *t.shape[1:]), t.dtype) for t in tensors}


@dataclass(eq=False)
class Cut:
    """A trunk cut where training begins.

    The ``fixed`` layers have no trainable weight and do the same in training as outside, so that a window passes them
    once a round and not once an epoch. ``trained`` are the others. ``raw`` names the trunk's inputs that these read
    themselves, ``computed`` names what they read of the fixed ones. Tensors are known by their place in the graph.
    """

    trunk: Any
    fixed: tuple[Any, ...] = ()
    trained: tuple[Any, ...] = ()
    raw: Mapping[str, Any] = field(default_factory=dict)
    computed: Mapping[str, Any] = field(default_factory=dict)

    def signature(self) -> dict[str, Any]:
        tensors = {**self.raw, **self.computed}
        return {name: tf.TensorSpec((None, *t.shape[1:]), t.dtype) for name, t in tensors.items()}

    def compute(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """``computed`` from the trunk's inputs."""
        values = {id(tensor): arrays[tensor.name] for tensor in self.trunk.inputs}
        _run(self.fixed, values, training=False)
        return {name: values[id(tensor)] for name, tensor in self.computed.items()}

    def embed(self, arrays: Mapping[str, Any], *, training: bool) -> Any:
        """The embedding from ``raw`` and ``computed``."""
        if not self.fixed:
            return self.trunk(arrays, training=training)
        values = {id(tensor): arrays[name] for name, tensor in {**self.raw, **self.computed}.items()}
        _run(self.trained, values, training=training)
        return values[id(self.trunk.output)]


def _run(layers: Sequence[Any], values: dict[int, Any], *, training: bool) -> None:
    for layer in layers:
        incoming = keras.tree.map_structure(lambda tensor: values[id(tensor)], layer.input)
        options = {"training": training} if _minds_training(layer) else {}
        outgoing = keras.tree.flatten(layer(incoming, **options))
        values.update(zip(map(id, keras.tree.flatten(layer.output)), outgoing, strict=True))


def _minds_training(layer: Any) -> bool:
    return "training" in inspect.signature(layer.call).parameters


def cut(trunk: Any) -> Cut:
    """Cut a trunk behind the layers that training does not change, if that makes its input smaller."""
    whole = Cut(trunk, raw={tensor.name: tensor for tensor in trunk.inputs})
    raw = {id(tensor): tensor for tensor in trunk.inputs}
    computed: dict[int, Any] = {}
    needed: dict[int, Any] = {}
    fixed, trained = [], []
    for layer in trunk.layers:
        try:
            incoming, outgoing = keras.tree.flatten(layer.input), keras.tree.flatten(layer.output)
        except (AttributeError, ValueError):  # a layer used more than once has no one input
            return whole
        if isinstance(layer, keras.layers.InputLayer):
            continue
        free = not layer.trainable_variables and not _minds_training(layer)
        if free and all(id(t) in raw or id(t) in computed for t in incoming):
            fixed.append(layer)
            computed.update((id(t), t) for t in outgoing)
        else:
            trained.append(layer)
            needed.update((id(t), t) for t in incoming if id(t) in raw or id(t) in computed)
    inner = [t for key, t in needed.items() if key in computed]
    if not inner or id(trunk.output) in computed or _num_bytes(inner) > _num_bytes(trunk.inputs):
        return whole
    names = {f"computed {i}": tensor for i, tensor in enumerate(inner)}
    result = Cut(trunk, tuple(fixed), tuple(trained), {t.name: t for k, t in needed.items() if k in raw}, names)
    return result if _agrees(result) else whole


def _agrees(cut: Cut) -> bool:
    """Whether the two parts, one after the other, are the trunk: layers called in unusual ways are not."""
    arrays = {t.name: tf.zeros((1, *t.shape[1:]), t.dtype) for t in cut.trunk.inputs}
    try:
        parts = cut.embed({**arrays, **cut.compute(arrays)}, training=False)
    except (KeyError, TypeError, ValueError):
        return False
    return bool(np.allclose(parts, cut.trunk(arrays, training=False), equal_nan=True))


def _num_bytes(tensors: Sequence[Any]) -> int:
    return sum(int(np.prod(t.shape[1:])) * tf.as_dtype(t.dtype).size for t in tensors)


class FoldNetwork:
    """The network of one fold: ``trunk`` with its heads ``critic`` and ``regressor``, and their optimiser.

    ``rounds`` counts the calls of :func:`train` it has seen.
    """

    def __init__(self, fold: int, trunk: Any, critic: Any, regressor: Any, *, rounds: int = 0):
        self.fold, self.trunk, self.critic, self.regressor, self.rounds = fold, trunk, critic, regressor, rounds
        self.optimizer = keras.optimizers.Adam(1e-3, clipnorm=None, global_clipnorm=_CLIP_NORM)
        self.optimizer.build(self.variables)
        self.forget()

    def forget(self) -> None:
        """Drop what was traced: the scales of the trunk have changed."""
        self._step: Callable[..., Any] | None = None
        self._embed: Callable[..., Any] | None = None
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

    def embed(self, arrays: Mapping[str, Any]) -> Any:
        if self._embed is None:
            self._embed = tf.function(self._traced_embed, input_signature=[_signature(self.trunk.inputs)])
        return self._embed({name: arrays[name] for name in self.names})

    def _traced_embed(self, arrays: Mapping[str, Any]) -> Any:
        embedding = self.trunk(arrays, training=False)
        return embedding, self.critic(embedding, training=False)[:, 0]

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
        trunk = build(specs, **options)
        _check_trunk(name, trunk, specs)
        width = int(trunk.output.shape[-1])
        critic = keras.Sequential([keras.Input((width,)), keras.layers.Dense(1)], name="critic")
        mean, log_size = keras.Input((width,), name="mean"), keras.Input((1,), name="log_size")
        regressor = keras.Model([mean, log_size], Regressor(num_parameters, name="regressor")([mean, log_size]))
        networks.append(FoldNetwork(fold, trunk, critic, regressor))
    return networks


def _check_trunk(name: str, trunk: Any, specs: Mapping[str, EncodingSpec]) -> None:
    if not isinstance(trunk, keras.Model):
        raise TrainingError(f"discriminator {name!r}: build must return a keras.Model, got {type(trunk).__name__}")
    unknown = [tensor.name for tensor in trunk.inputs if tensor.name not in specs]
    if unknown:
        raise TrainingError(
            f"discriminator {name!r} has inputs named {', '.join(unknown)}; the encoded arrays are {', '.join(specs)}"
        )
    shape = getattr(trunk.output, "shape", None)
    if shape is None or len(shape) != 2 or shape[1] is None:
        raise TrainingError(f"discriminator {name!r}: its output must be an embedding (batch, width), got {shape}")


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
        sample = _sample(network, simulated, real, settings)
        per_epoch = -(-len(sample.groups) // settings.batch)
        for epoch in range(settings.epochs):
            losses = []
            for i, chosen in enumerate(np.array_split(rng.permutation(len(sample.groups)), per_epoch)):
                progress = (epoch * per_epoch + i) / (settings.epochs * per_epoch)
                rate = settings.learning_rate * (0.05 + 0.475 * (1 + np.cos(np.pi * progress)))
                weights = [rate, settings.critic_weight, settings.regressor_weight]
                batch = sample.batch(chosen, settings.real_share, rng)
                losses.append(network.step(*batch, tf.constant(weights, tf.float32)))
            critic, regressor = np.mean([[float(x) for x in pair] for pair in losses], axis=0)
            row = {"fold": network.fold, "step": (epoch + 1) * per_epoch, "loss_critic": critic}
            info.rows.append({**row, "loss_regressor": regressor, "auc": np.nan})
        network.rounds += 1
        info.rows[-1]["auc"] = _out_of_fold_auc(network, simulated, real, rng)
    return info


@dataclass(eq=False)
class _Sample:
    """What one network is trained on: ``groups`` of places in ``used`` simulated windows, and ``used`` real ones."""

    sources: tuple[Windows, Windows]
    used: tuple[np.ndarray, np.ndarray]
    groups: list[np.ndarray]
    targets: np.ndarray
    raw: tuple[str, ...]
    computed: tuple[dict[str, np.ndarray], dict[str, np.ndarray]]

    def batch(self, chosen: np.ndarray, real_share: float, rng: np.random.Generator) -> tuple[Any, Any, Any]:
        """Arrays of the ``chosen`` groups' windows and of real ones behind them, each window's group, the targets."""
        simulated = np.concatenate([self.groups[g] for g in chosen])
        num_real, available = max(1, round(real_share * len(simulated))), len(self.used[1])
        real = rng.choice(available, size=num_real, replace=num_real > available)
        arrays = {}
        for name in self.raw:
            parts = [s.arrays[name][u[p]] for s, u, p in zip(self.sources, self.used, (simulated, real), strict=True)]
            arrays[name] = tf.constant(np.concatenate(parts))
        for name in self.computed[0]:
            arrays[name] = tf.constant(
                np.concatenate([self.computed[0][name][simulated], self.computed[1][name][real]])
            )
        group = np.repeat(np.arange(len(chosen), dtype=np.int32), [len(self.groups[g]) for g in chosen])
        return arrays, tf.constant(group), tf.constant(self.targets[chosen].astype(np.float32))


def _sample(network: FoldNetwork, simulated: Windows, real: Windows, settings: TrainingSettings) -> _Sample:
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
    network.head.recentre(targets.mean(axis=0), np.maximum(targets.std(axis=0), 1e-6))
    used = np.concatenate(groups)
    if network.rounds == 0:
        some = used[np.linspace(0, len(used) - 1, min(len(used), 2 * _AUC_WINDOWS)).astype(int)]
        _adapt(network.trunk, simulated.take(np.sort(some)))
        network.forget()
    places = np.split(np.arange(len(used)), np.cumsum([len(g) for g in groups])[:-1])
    computed = _computed(network, simulated, used), _computed(network, real, real_index)
    return _Sample((simulated, real), (used, real_index), places, targets, tuple(network.cut.raw), computed)


def _computed(network: FoldNetwork, windows: Windows, index: np.ndarray) -> dict[str, np.ndarray]:
    """What the fixed part of the trunk makes of the windows ``index``."""
    cut = network.cut
    if not cut.fixed:
        return {}
    function = tf.function(cut.compute, input_signature=[_signature(network.trunk.inputs)])
    parts: dict[str, list[np.ndarray]] = {name: [] for name in cut.computed}
    for i in range(0, len(index), _FIXED_BATCH):
        chosen = index[i : i + _FIXED_BATCH]
        arrays = {name: tf.constant(np.asarray(windows.arrays[name][chosen])) for name in network.names}
        for name, value in function(arrays).items():
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


def _adapt(trunk: Any, arrays: Mapping[str, np.ndarray]) -> None:
    for layer in trunk.layers:
        if isinstance(layer, keras.layers.Normalization):
            before = keras.Model(trunk.inputs, layer.input)
            names = [tensor.name for tensor in trunk.inputs]
            size = len(arrays[names[0]])
            parts = [before({n: arrays[n][i : i + 256] for n in names}) for i in range(0, size, 256)]
            layer.adapt(np.concatenate([np.asarray(part) for part in parts]))


def _training_step(network: FoldNetwork) -> Callable[..., Any]:
    """Arrays of simulated windows, then real ones; group of each simulated one; targets; rate and both weights."""

    def step(arrays: Any, group: Any, targets: Any, weights: Any) -> Any:
        num_simulated = tf.shape(group)[0]
        with tf.GradientTape() as tape:
            embedding = network.cut.embed(arrays, training=True)
            logits = network.critic(embedding, training=True)[:, 0]
            critic = _critic_loss(logits[num_simulated:], logits[:num_simulated])
            regressor = _regressor_loss(network, embedding[:num_simulated], group, targets)
            loss = weights[1] * critic + weights[2] * regressor
        network.optimizer.learning_rate.assign(weights[0])
        network.optimizer.apply(tape.gradient(loss, network.variables), network.variables)
        return critic, regressor

    return step


def _critic_loss(real: Any, simulated: Any) -> Any:
    """Binary cross-entropy in which both sides weigh the same."""
    return 0.5 * (tf.reduce_mean(tf.nn.softplus(-real)) + tf.reduce_mean(tf.nn.softplus(simulated)))


def _regressor_loss(network: FoldNetwork, embedding: Any, group: Any, targets: Any) -> Any:
    """Minus the mean Gaussian log-likelihood of a parameter, in units of the proposals' spread."""
    num_groups = tf.shape(targets)[0]
    size = tf.math.unsorted_segment_sum(tf.ones_like(group, tf.float32), group, num_groups)
    mean = tf.math.unsorted_segment_sum(embedding, group, num_groups) / size[:, None]
    predicted = network.regressor([mean, tf.math.log(size)[:, None]], training=True)
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
        part = {name: tf.constant(np.asarray(arrays[name][i : i + batch])) for name in network.names}
        embedding[i : i + batch], logits[i : i + batch] = (x.numpy() for x in network.embed(part))
    return embedding, logits


def _out_of_fold_auc(network: FoldNetwork, simulated: Windows, real: Windows, rng: np.random.Generator) -> float:
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


def save(networks: Sequence[FoldNetwork], folder: Path) -> None:
    """Write all of the networks' state under ``folder``, which must exist; training goes on from it bit by bit."""
    for network in networks:
        place = folder / f"fold-{network.fold}"
        place.mkdir(parents=True, exist_ok=True)
        for name in _MODELS:
            getattr(network, name).save(place / f"{name}.keras")
        store: dict[str, Any] = {}
        network.optimizer.save_own_variables(store)
        arrays: dict[str, Any] = {key: np.asarray(value) for key, value in store.items()}
        np.savez(place / "optimizer.npz", **arrays)
    state = [{"fold": network.fold, "rounds": network.rounds} for network in networks]
    (folder / "networks.json").write_text(json.dumps({"format": FORMAT_VERSION, "networks": state}))


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
        models = [
            keras.saving.load_model(place / f"{n}.keras", compile=False) for n in ("trunk", "critic", "regressor")
        ]
        network = FoldNetwork(entry["fold"], *models, rounds=entry["rounds"])
        with np.load(place / "optimizer.npz", allow_pickle=False) as store:
            network.optimizer.load_own_variables(dict(store))
        networks.append(network)
    return networks


def settings_dict(settings: TrainingSettings) -> dict[str, Any]:
    """The settings as JSON values."""
    return asdict(settings)
