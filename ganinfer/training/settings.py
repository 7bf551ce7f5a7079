"""What training is told and what it tells: settings, windows, and the record of a round. NumPy only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np


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
    epochs: int = 3
    batch: int = 12
    group: int = 16
    real_share: float = 0.25
    learning_rate: float = 4e-3
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


class Stacked:
    """Arrays with the same columns read as one, row by row, without a copy of the whole."""

    def __init__(self, parts: Sequence[np.ndarray]):
        self._parts = parts
        self._starts = np.cumsum([0, *(len(part) for part in parts)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """The ``rows`` (n,) int, in their order."""
        rows = np.asarray(rows)
        owner = np.searchsorted(self._starts, rows, side="right") - 1
        first = self._parts[0]
        out = np.empty((len(rows), *first.shape[1:]), first.dtype)
        for i in np.unique(owner):
            mine = owner == i
            out[mine] = self._parts[i][rows[mine] - self._starts[i]]
        return out


@dataclass(eq=False)
class Windows:
    """Encoded windows: ``arrays`` name -> (num_windows, ...), maybe memory-mapped, and ``fold`` (num_windows,).

    Simulated ones also have ``proposal`` (num_windows,) int, the row of ``targets`` (num_proposals, parameters) that
    they were simulated under; the latest proposals have the highest numbers. A proposal's windows share one fold.
    """

    arrays: Mapping[str, np.ndarray | Stacked]
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
