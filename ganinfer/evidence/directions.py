"""The few directions along which statistics of windows are looked at, the same for all scenarios."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ganinfer.evidence.contenders import Contender
from ganinfer.generators.bounds import Bounds
from ganinfer.generators.emulator import Basis, within_covariance
from ganinfer.generators.linkage import Linkage
from ganinfer.generators.scores import whitening

#: A window counts as no further from the middle than so many spreads: one odd window of a hundred would otherwise
#: decide for all.
BOUND = 2.5
#: Of directions taken together, what varies less than this, each of them counting as 1, is left out.
_ALIKE = 0.4


@dataclass(frozen=True, eq=False)
class Block:
    """Statistics of windows that are averaged over the same real windows.

    ``learn`` and ``judge``, one array a scenario: (k, w, d) of k proposals with w windows each, from which directions
    are found, and by which emulators are fitted; of ``learn`` the proposals ``learnt`` (k,) bool only. ``real`` (m, d)
    of real windows, ``group`` (m,) the block of linked windows that each lies in. The first ``explained`` columns are
    another block's, and only there to be regressed out. Of the others, ``given`` (d - explained, J) are directions that
    are known beforehand. What even the closest scenario misses of the real means counts like more variance between
    windows: ``missed`` (d - explained,), or where nobody knows it statistic by statistic, their own times ``error``
    squared. ``fold``: the fold whose real windows these are, ``None`` for all. ``inflation``: what linkage does to the
    variance of means, where these windows lie in too few groups to tell.
    """

    learn: Sequence[np.ndarray]
    judge: Sequence[np.ndarray]
    learnt: Sequence[np.ndarray]
    real: np.ndarray
    group: np.ndarray
    given: np.ndarray
    missed: np.ndarray | None = None
    error: float = 0.0
    explained: int = 0
    fold: int | None = None
    inflation: float = 1.0


@dataclass(frozen=True, eq=False)
class Directions:
    """From a block's columns to J directions: ``slopes`` (explained, rest), ``axes`` (rest, J), and their bounds."""

    slopes: np.ndarray
    axes: np.ndarray
    bounds: Bounds

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """(..., J) of (..., d): what the explained columns do not say of the others, along the axes, bounded."""
        return self.along(_rest(self.slopes, values))

    def along(self, rest: np.ndarray) -> np.ndarray:
        """The same of columns (..., rest) that the explained ones are already taken out of."""
        return self.bounds(rest @ self.axes)

    @staticmethod
    def bounded(slopes: np.ndarray, axes: np.ndarray, rest: np.ndarray) -> Directions:
        """With the bounds that windows ``rest`` (m, d) along the ``axes`` ask for."""
        return Directions(slopes, axes, Bounds.of(rest @ axes, BOUND))


@dataclass(frozen=True, eq=False)
class Looked:
    """A block along its directions: ``judge`` (k, w, J) a scenario, the ``real`` mean (J,), and that mean's noise.

    ``share`` (J,): variance of the real mean as a share of that between windows, linkage included; ``missed``
    (J, J) adds to that variance; ``windows``: how many real ones, those of a ``fold`` or all.
    """

    directions: Directions
    judge: list[np.ndarray]
    real: np.ndarray
    share: np.ndarray
    missed: np.ndarray
    windows: int
    fold: int | None


def look(block: Block, contenders: Sequence[Contender]) -> Looked:
    """The block along the directions in which proposals differ by more than their noise, and those given."""
    learn = [values[keep] for values, keep in zip(block.learn, block.learnt, strict=True)]
    slopes = _slopes(block.explained, learn)
    learn = [_rest(slopes, values) for values in learn]
    proposals = [c.learn[keep] for c, keep in zip(contenders, block.learnt, strict=True)]
    within = _within(learn)
    more = block.error**2 * np.diag(within) if block.missed is None else block.missed
    metric = within + np.diag(more)
    found = _directions(learn, metric, contenders, proposals)
    axes = _condensed(np.concatenate([block.given, found], axis=1), metric)
    everything = np.concatenate([values.reshape(-1, values.shape[-1]) for values in learn])
    directions = Directions.bounded(slopes, axes, everything)
    missed = axes.T @ (more[:, None] * axes)
    if block.missed is None:
        missed = block.error**2 * _within([directions.along(values) for values in learn])
    looked, judge = directions(block.real), [directions(v) for v in block.judge]
    share = noise_share(looked, block.group, block.inflation)
    return Looked(directions, judge, looked.mean(axis=0), share, missed, len(looked), block.fold)


def noise_share(
    real: np.ndarray, group: np.ndarray, inflation: float = 1.0, families: Sequence[str] | None = None
) -> np.ndarray:
    """Variance of the mean of ``real`` (m, d) as a share (d,) of that between windows, a ``group`` being linked.

    ``inflation``: what linkage does where there are too few groups to tell. It does about the same to those of one of
    the ``families`` (d,), or where these are not given, to all.
    """
    kinds = np.array(families or [""] * real.shape[1])
    return Linkage.of(real, group, kinds, inflation).factor / len(real)


def _rest(slopes: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(..., rest) of (..., d): what is left of the other columns once ``slopes`` (explained, rest) are taken out."""
    size = len(slopes)
    return np.asarray(values[..., size:] - values[..., :size] @ slopes) if size else values


def _condensed(axes: np.ndarray, metric: np.ndarray) -> np.ndarray:
    """(d, r) directions in which the columns of ``axes`` (d, J) lie, those that are nearly alike as one.

    Of the parameters that scenarios share each has much the same direction, and every direction more brings the
    emulators' noise with it.
    """
    white = whitening(metric)
    # In whitened columns; white has a left inverse there, metric @ white being its transposed.
    inner = (metric @ white).T @ axes
    size = np.linalg.norm(inner, axis=0)
    inner = inner[:, size > 0] / size[size > 0]
    left, strength, _ = np.linalg.svd(inner, full_matrices=False)
    return np.asarray(white @ left[:, strength > _ALIKE])


def _within(values: Sequence[np.ndarray]) -> np.ndarray:
    """(d, d) covariance between windows of one proposal, all scenarios together."""
    flat = np.concatenate([v.reshape(-1, v.shape[-1]) for v in values])
    number = np.repeat(np.arange(sum(len(v) for v in values)), values[0].shape[1])
    return within_covariance(flat, number, int(number[-1]) + 1)


def _slopes(size: int, learn: Sequence[np.ndarray]) -> np.ndarray:
    """(size, rest) of the other columns on the first ``size``, as windows of one proposal have them."""
    within = _within(learn) if size else np.empty((0, 0))
    white = whitening(within[:size, :size]) if size else within
    return np.asarray(white @ (white.T @ within[:size, size:]))


def _directions(
    learn: Sequence[np.ndarray],
    metric: np.ndarray,
    contenders: Sequence[Contender],
    proposals: Sequence[np.ndarray],
) -> np.ndarray:
    """(d, r) directions along which a fit linear in every scenario's parameters moves by more than its own noise.

    A regression of reduced rank: components of what is fitted are kept above the largest that noise alone would give
    (Bai and Silverstein 2010, doi 10.1007/978-1-4419-0661-8, chapter 5), in units of the ``metric`` (d, d), windows'
    covariance and what is missed.
    """
    white = whitening(metric)
    means = [values.mean(axis=1) @ white for values in learn]
    middle = np.concatenate(means).mean(axis=0)
    fitted, terms = [], 0
    for values, contender, theta in zip(means, contenders, proposals, strict=True):
        design = Basis(theta.shape[1], 1)(contender.coordinates.encode(theta))
        fitted.append(design @ np.linalg.lstsq(design, values - middle, rcond=None)[0])
        terms += design.shape[1]
    strength, axes = np.linalg.svd(np.concatenate(fitted), full_matrices=False)[1:]
    noise = (np.sqrt(white.shape[1]) + np.sqrt(terms)) ** 2 / learn[0].shape[1]
    return np.asarray(white @ axes[strength**2 > noise].T)
