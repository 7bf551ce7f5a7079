"""A trunk in two parts: layers that training does not change, and the others."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf


def signature(tensors: Sequence[Any]) -> dict[str, Any]:
    return {t.name: tf.TensorSpec((None, *t.shape[1:]), t.dtype) for t in tensors}


def constants(tensors: Iterable[Any], arrays: Mapping[str, Any]) -> dict[str, Any]:
    """The ``arrays`` that inputs read, in the inputs' dtypes; where these are the arrays' own nothing is cast."""
    return {t.name: tf.constant(np.asarray(arrays[t.name], tf.as_dtype(t.dtype).as_numpy_dtype)) for t in tensors}


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
