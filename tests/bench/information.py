"""How much statistics tell about parameters, without running an inference.

Windows are simulated under proposals around the truth; a third of the proposals is kept from training. On these the
slopes J of the mean statistics on the parameters are found twice, from two disjoint halves (quadratic terms beside
them; averaged over several ways to halve), with the covariance S of statistics between windows of one proposal.
Information about the parameters in one window is J1' S^-1 J2, symmetrised: a product of independent halves carries no
bias from the slopes' noise. Standard errors at M windows are those of its inverse over M, bootstrapped over proposals;
"alone" is that of a parameter when the others are known. Where noise exceeds information they are infinite.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.bench import data

NUM_WINDOWS = 2_000
_BOOTSTRAPS = 200
_SPLITS = 8


@dataclass(frozen=True, eq=False)
class Row:
    """Standard errors in per cent of the truth: (1 + bootstraps, parameters), the first from the data themselves."""

    model: str
    statistic: str
    size: int
    together: np.ndarray
    alone: np.ndarray
    training: float
    embedding: float

    def error(self, which: str) -> np.ndarray:
        """Bootstrap error: half of the middle 68 %."""
        repeats = np.minimum(getattr(self, which)[1:], 1e9)
        low, high = np.quantile(repeats, [0.16, 0.84], axis=0)
        return 0.5 * (high - low)


def standard_errors(
    statistics: np.ndarray, theta: np.ndarray, truth: np.ndarray, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Relative standard errors in per cent, together and alone, each (1 + bootstraps, parameters).

    ``statistics`` (proposals, windows, d), ``theta`` (proposals, parameters). The same seed resamples the same
    proposals, so that differences between statistics are paired.
    """
    means, degrees = _whitened_means(statistics)
    shrink = (degrees - means.shape[1] - 1) / degrees
    offsets = (theta - truth) / np.abs(truth)
    num = offsets.shape[1]
    squares = [offsets[:, i] * offsets[:, j] for i in range(num) for j in range(i, num)]
    design = np.column_stack([np.ones(len(theta)), offsets, *squares])
    rng = np.random.default_rng(seed)
    first = [rng.permutation(len(theta)) % 2 == 0 for _ in range(_SPLITS)]
    out = []
    for repeat in range(1 + _BOOTSTRAPS):
        # A proposal drawn twice counts twice on its side of a split, so that the halves stay independent.
        chosen = rng.integers(len(theta), size=len(theta)) if repeat else np.arange(len(theta))
        weight = np.bincount(chosen, minlength=len(theta)).astype(float)
        information = np.zeros((num, num))
        for half in first:
            slopes = [_slopes(design, means, weight * side)[1 : num + 1] for side in (half, ~half)]
            product = slopes[0] @ slopes[1].T
            information += shrink * (product + product.T) / (2 * _SPLITS)
        variances = np.array([np.diag(np.linalg.inv(information)), 1 / np.diag(information)])
        out.append(100 * np.sqrt(np.where(variances > 0, variances, np.inf) / NUM_WINDOWS))
    result = np.array(out)
    return result[:, 0], result[:, 1]


def _slopes(design: np.ndarray, values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    weighted = design * weight[:, None]
    return np.linalg.solve(weighted.T @ design, weighted.T @ values)


def _whitened_means(statistics: np.ndarray) -> tuple[np.ndarray, int]:
    """Mean statistics of each proposal in units in which windows have unit covariance, and its degrees of freedom."""
    num_proposals, num_windows, _ = statistics.shape
    flat = statistics.reshape(-1, statistics.shape[2]).astype(float)
    scale = flat.std(axis=0)
    flat = flat[:, scale > 1e-9] / scale[scale > 1e-9]
    means = flat.reshape(num_proposals, num_windows, -1).mean(axis=1)
    residual = flat - np.repeat(means, num_windows, axis=0)
    degrees = num_proposals * (num_windows - 1)
    values, vectors = np.linalg.eigh(residual.T @ residual / degrees)
    kept = values > 1e-7 * values.max()
    return means @ (vectors[:, kept] / np.sqrt(values[kept])), degrees


#: Rows: label, discriminator, options, settings that differ from the shipped ones, with classical statistics or not.
NETWORKS: tuple[tuple[str, str, Mapping[str, Any], Mapping[str, Any]], ...] = (
    ("exchangeable", "exchangeable", {}, {}),
    ("exchangeable without its CNN branch", "exchangeable", {"cnn": False}, {}),
    ("exchangeable, untrained", "exchangeable", {}, {"epochs": 1, "learning_rate": 1e-12}),
    ("pg-gan", "pg-gan", {}, {"epochs": 2}),
)


def rows(point: data.Point, train_windows: int) -> list[Row]:
    """The table of one model."""
    held_out = np.arange(len(point.theta)) % 3 == 0
    theta = point.theta[held_out]

    def row(label: str, statistics: np.ndarray, training: float = 0.0, embedding: float = 0.0) -> Row:
        shaped = statistics.reshape(len(theta), data.WINDOWS, -1)
        together, alone = standard_errors(shaped, theta, point.truth)
        made = Row(point.model, label, shaped.shape[2], together, alone, training, embedding)
        print(line(made), flush=True)
        return made

    index = np.flatnonzero(np.repeat(held_out, data.WINDOWS))
    classical = np.asarray(point.arrays["classical"])[index]
    names = point.specs["classical"].details["names"]
    spectrum = [i for i, name in enumerate(names) if name.startswith("sfs ")]
    made = [row("classical", classical), row("joint SFS", classical[:, spectrum])]
    for label, name, options, overrides in NETWORKS:
        embedding, training, embedding_time = embedded(point, held_out, name, options, overrides, train_windows)
        made.append(row(label, embedding, training, embedding_time))
        if label == "exchangeable":
            made.append(
                row(
                    "exchangeable and classical",
                    np.concatenate([embedding, classical], axis=1),
                    training,
                    embedding_time,
                )
            )
    return made


def embedded(
    point: data.Point,
    held_out: np.ndarray,
    name: str,
    options: Mapping[str, Any],
    overrides: Mapping[str, Any],
    train_windows: int,
) -> tuple[np.ndarray, float, float]:
    """Embeddings of the held-out proposals' windows, CPU seconds of training, CPU milliseconds a window embedded."""
    from ganinfer import training

    settings = training.TrainingSettings(**{"windows": train_windows, **overrides})
    num_parameters = point.theta.shape[1]
    specs = {key: spec for key, spec in point.specs.items() if key != "classical"}
    network = training.init(name, options, specs, num_parameters, settings, 1)[1]
    low, high = point.theta.min(axis=0), point.theta.max(axis=0)
    proposal = np.repeat(np.arange(len(point.theta)), data.WINDOWS)
    simulated = training.Windows(
        point.arrays, held_out[proposal].astype(int), proposal, (point.theta - low) / (high - low)
    )
    real = training.Windows(point.real, np.arange(len(point.real["mask"])) % 2)
    begun = time.process_time()
    training.train([network], simulated, real, settings, np.random.default_rng(1))
    trained = time.process_time() - begun
    index = np.flatnonzero(held_out[proposal])
    training.embed(network, simulated.take(index[:64]))
    begun = time.process_time()
    embedding, _ = training.embed(network, {key: point.arrays[key][index] for key in network.names})
    return embedding, trained, 1e3 * (time.process_time() - begun) / len(index)


def line(row: Row) -> str:
    together = " ".join(f"{v:6.2f}" for v in row.together[0])
    error = " ".join(f"{v:.2f}" for v in row.error("together"))
    alone = " ".join(f"{v:6.2f}" for v in row.alone[0])
    cost = f"{row.training:5.0f} s {row.embedding:5.2f} ms" if row.training else ""
    return f"{row.model:14s}{row.statistic:36s}{row.size:4d}  {together} ± {error}  alone {alone}  {cost}"


def shown(value: float, error: float) -> str:
    """A standard error with its own; without it where some bootstraps find no information, none where all data do."""
    if not np.isfinite(value):
        return "?"
    return f"{value:.2g} ± {error:.1g}" if error < value else f"{value:.2g} ± ?"


def table(rows: list[Row], names: tuple[str, ...]) -> str:
    """The rows of one model as a Markdown table."""
    columns = ("statistic", "d", f"SE of {', '.join(names)}, %", "each alone, %", "training, embedding")
    head = f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|\n"
    out = [head]
    for row in rows:
        together, alone = (
            ", ".join(shown(v, e) for v, e in zip(getattr(row, which)[0], row.error(which), strict=True))
            for which in ("together", "alone")
        )
        cost = f"{row.training:.0f} CPU s, {row.embedding:.2f} ms" if row.training else "–"
        out.append(f"| {row.statistic} | {row.size} | {together} | {alone} | {cost} |\n")
    return "".join(out)


def gain(rows: list[Row]) -> str:
    """What the CNN branch takes off the embedding's standard errors, paired over bootstraps."""
    found = {row.statistic: row for row in rows}
    whole, without = found["exchangeable"], found["exchangeable without its CNN branch"]
    ratio = whole.alone / without.alone
    error = 0.5 * np.ptp(np.nanquantile(ratio[1:], [0.16, 0.84], axis=0), axis=0)
    shown = ", ".join(f"{r:.2f} ± {e:.2f}" for r, e in zip(ratio[0], error, strict=True))
    return f"Standard errors with the CNN branch over those without it, each parameter alone: {shown}.\n"
