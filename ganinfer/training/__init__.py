"""One round of the networks: training them on simulated and real windows, embedding windows with them.

There is one network a fold. Network k is trained on the windows whose fold is not k and embeds those whose fold is k,
so that no window is ever embedded by a network that was trained on it. A network is a discriminator's trunk with two
heads: the critic tells real from simulated windows; the regressor tells a proposal's parameters from the *mean*
embedding of some of its windows, which is what matching will use of them.

Two courtesies to trunks: ``Normalization`` layers are adapted to the first round's simulated windows, in the order of
the model's layers; and what lies before the first layer with weights to train is computed once a round, not once an
epoch, where that makes the input smaller.
"""

from __future__ import annotations

import os

# Before the first import of Keras or TensorFlow.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from ganinfer.training.networks import (
    FoldNetwork,
    Regressor,
    assembled,
    configure,
    embed,
    init,
    load,
    save,
    trunk_of,
)
from ganinfer.training.rounds import area_under_curve, train
from ganinfer.training.settings import Stacked, TrainingError, TrainingInfo, TrainingSettings, Windows

__all__ = [
    "FoldNetwork",
    "Regressor",
    "Stacked",
    "TrainingError",
    "TrainingInfo",
    "TrainingSettings",
    "Windows",
    "area_under_curve",
    "assembled",
    "configure",
    "embed",
    "init",
    "load",
    "save",
    "train",
    "trunk_of",
]
