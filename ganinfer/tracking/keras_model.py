"""A saved Keras model as the folder of an MLflow model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ganinfer
from ganinfer import plugins
from ganinfer.tracking.address import sentence

#: Metadata and tag of a model: the plugin that has to be loaded before it, since it has the network's own layers.
PLUGIN = "ganinfer.discriminator"


def save_model(path: Path, folder: str, logged: Any, run_id: str, discriminator: str | None) -> str | None:
    """Turn a .keras file into an MLflow model's folder; what prevents it, in a sentence.

    ``discriminator`` is the plugin that built the network.
    """
    try:
        if discriminator is not None:
            plugins.load("discriminators", discriminator)
        import keras
        import mlflow.keras
        import tensorflow
        from mlflow.models import Model

        network = keras.models.load_model(path, compile=False)
        record = Model(artifact_path=logged.artifact_location, run_id=run_id, model_id=logged.model_id)
        # left to itself MLflow finds out what loading needs by importing everything, half a minute
        needed = [f"{m.__name__}=={m.__version__}" for m in (ganinfer, tensorflow, keras)]
        needed += _distribution_of(discriminator)
        mlflow.keras.save_model(
            network,
            folder,
            mlflow_model=record,
            signature=_signature(network),
            pip_requirements=needed,
            metadata={PLUGIN: discriminator} if discriminator is not None else None,
        )
    except Exception as error:  # a network that cannot be loaded here is no reason to lose the record
        return sentence(error)
    return None


def _distribution_of(discriminator: str | None) -> list[str]:
    """The distribution that a plugin of others comes with, as pip names it."""
    found = [p for p in plugins.available("discriminators") if p.name == discriminator and p.version]
    return [f"{p.distribution}=={p.version}" for p in found if p.distribution != plugins.DISTRIBUTION]


def _signature(model: Any) -> Any:
    """Names, types and shapes of a network's inputs and outputs, -1 for what may vary."""
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    def schema(tensors: Sequence[Any]) -> Any:
        shapes = [tuple(-1 if n is None else n for n in t.shape) for t in tensors]
        return Schema([TensorSpec(np.dtype(t.dtype), s, name=t.name) for t, s in zip(tensors, shapes, strict=True)])

    return ModelSignature(inputs=schema(model.inputs), outputs=schema(model.outputs))
