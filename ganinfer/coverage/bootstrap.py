"""Data sets like the real one, simulated under known parameters: a parametric bootstrap.

As many windows as the real data have, in the same places: those of a block and of its neighbours are cut from one
simulated stretch, so that they are linked as real ones are. Every window is then prepared by its own template, as any
simulated window is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby

import numpy as np

from ganinfer import randomness
from ganinfer.execution import Executor, WorkerError, ordered
from ganinfer.haplotypes import Haplotypes, chromosomes
from ganinfer.inference import Problem
from ganinfer.interfaces import WindowTemplate
from ganinfer.pipeline import prepare_simulated
from ganinfer.simulation import Encoded, Setup, encode, failure, raw_observations
from ganinfer.statistics import allele_counts, joint_spectra
from ganinfer.windows import RecombinationMap, Window

#: Windows that are blocks of their own are simulated so many at a time: enough to share a simulator's start.
_TOGETHER = 25
#: Neighbouring blocks are simulated as one stretch up to this length, base pairs: time grows with its square,
_LONGEST = 5_000_000
#: and with that of the population, so that two of its chromosomes may have so many differences at most. Where one
#: recombination comes with a mutation, correlations reach some hundredth of that far.
_MOST_DIFFERENCES = 10_000


@dataclass(frozen=True, eq=False)
class Stretch:
    """One unit of work: ``whole`` templates are simulated, and ``cuts[i]`` are windows of the i-th of them.

    A cut is the left end of a window in its stretch and the window's own template.
    """

    setup: Setup
    theta: Mapping[str, float]
    whole: tuple[WindowTemplate, ...]
    cuts: tuple[tuple[tuple[int, WindowTemplate], ...], ...]
    seed: int


@dataclass(frozen=True, eq=False)
class DataSet:
    """Windows in the order of the real ones, encoded as ``arrays``, and the joint ``spectra`` of all their sites."""

    arrays: Encoded
    spectra: Mapping[str, np.ndarray]


def data_sets(problem: Problem, theta: np.ndarray, numbers: Sequence[int], executor: Executor) -> Iterator[DataSet]:
    """A data set for each of ``theta`` (k, p), as they come.

    The same parameters and the same one of the ``numbers`` (k) give the same data set on every executor. Raises
    :class:`ganinfer.simulation.SimulationError` when the simulator fails.
    """
    order, parts = _plan(problem)
    back = np.argsort(order, kind="stable")
    pairs = zip(theta, numbers, strict=True)
    stream = _simulated((s for vector, number in pairs for s in _stretches(problem, vector, number, parts)), executor)
    for _ in theta:
        found = [next(stream) for _ in parts]
        arrays = {name: np.concatenate([part.arrays[name] for part in found])[back] for name in found[0].arrays}
        spectra = {key: np.sum([part.spectra[key] for part in found], axis=0) for key in found[0].spectra}
        yield DataSet(arrays, spectra)


def _simulated(stretches: Iterator[Stretch], executor: Executor) -> Iterator[DataSet]:
    try:
        yield from ordered(executor.run(simulate_stretch, stretches))
    except WorkerError as error:
        stretch = error.item
        raise failure(stretch.setup, stretch.theta, stretch.seed, "", error.reason) from error


def simulate_stretch(stretch: Stretch) -> DataSet:
    """Simulate, cut, prepare, count and encode; what a worker runs."""
    setup = stretch.setup
    rng = randomness.stream(stretch.seed, "pipeline")
    observations = raw_observations(setup, stretch.theta, stretch.whole, stretch.seed)
    windows = [
        prepare_simulated(_cut(whole, left, template.length), template, setup.pipeline, rng)
        for whole, cuts in zip(observations, stretch.cuts, strict=True)
        for left, template in cuts
    ]
    derived, called = (np.concatenate(side) for side in zip(*map(allele_counts, windows), strict=True))
    spectra = joint_spectra(derived, called, chromosomes(setup.samples))
    return DataSet(encode(setup, windows, len(windows)), spectra)


def _cut(whole: Haplotypes, left: int, length: int) -> Haplotypes:
    """The sites of ``[left, left + length)``, positions counted from its left end."""
    start, stop = np.searchsorted(whole.positions, [left, left + length])
    return replace(whole, genotypes=whole.genotypes[start:stop].copy(), positions=whole.positions[start:stop] - left)


Part = tuple[tuple[WindowTemplate, ...], tuple[tuple[tuple[int, WindowTemplate], ...], ...]]


def _plan(problem: Problem) -> tuple[np.ndarray, list[Part]]:
    """Indices (m,) of the real windows in the order of the parts, and what is simulated for each part."""
    observed = problem.observed
    stretches: list[list[int]] = []
    alone: list[int] = []
    longest = _longest(problem)
    for block in chain.from_iterable(_pieces(problem, block, longest) for block in _blocks(problem)):
        if len(block) == 1:
            alone += block
        elif stretches and _reaches(problem, stretches[-1], block, longest):
            stretches[-1] += block
        else:
            stretches.append(block)
    parts = [_linked([observed.windows[k] for k in s], [observed.templates[k] for k in s]) for s in stretches]
    for start in range(0, len(alone), _TOGETHER):
        templates = tuple(observed.templates[k] for k in alone[start : start + _TOGETHER])
        parts.append((templates, tuple(((0, template),) for template in templates)))
    return np.array(list(chain(*stretches, alone))), parts


def _blocks(problem: Problem) -> Iterator[list[int]]:
    """The real windows of each block from left to right, blocks in the order of their numbers."""
    observed = problem.observed
    order = np.lexsort((np.array([w.left for w in observed.windows]), observed.block))
    for _, block in groupby(order.tolist(), key=lambda k: int(observed.block[k])):
        yield list(block)


def _longest(problem: Problem) -> float:
    """Base pairs of a stretch at most; its differences are reckoned from the real windows."""
    observed = problem.observed
    differences = 0.0
    for cells in observed.spectra.values():
        size, derived = sum(cells.shape) - cells.ndim, np.indices(cells.shape).sum(axis=0)
        differences = max(differences, float((cells * 2 * derived * (size - derived)).sum()) / (size * (size - 1)))
    diversity = differences / sum(w.length for w in observed.windows)
    return min(_LONGEST, _MOST_DIFFERENCES / max(diversity, 1e-300))


def _pieces(problem: Problem, block: list[int], longest: float) -> Iterator[list[int]]:
    """A block, cut between its windows where it is longer than a stretch may be."""
    windows = problem.observed.windows
    piece: list[int] = []
    for k in block:
        if piece and windows[k].right - windows[piece[0]].left > longest:
            yield piece
            piece = []
        piece.append(k)
    yield piece


def _reaches(problem: Problem, stretch: list[int], block: list[int], longest: float) -> bool:
    """Whether a block is the next one after a stretch, and not too much for it."""
    observed = problem.observed
    first, left, right = (observed.windows[k] for k in (stretch[0], block[0], block[-1]))
    next_to = observed.block[block[0]] == observed.block[stretch[-1]] + 1 and left.contig == first.contig
    return bool(next_to and first.left < left.left and right.right - first.left <= longest)


def _linked(windows: list[Window], templates: list[WindowTemplate]) -> Part:
    """A stretch from the first window's left end to the last one's right, and its windows."""
    left, right = windows[0].left, windows[-1].right
    whole = WindowTemplate(right - left, recombination=_map_along(windows, templates))
    cuts = tuple((w.left - left, template) for w, template in zip(windows, templates, strict=True))
    return (whole,), (cuts,)


def _map_along(windows: list[Window], templates: list[WindowTemplate]) -> RecombinationMap | None:
    """The windows' slices of the map one after the other; what lies between two has the mean rate of all."""
    slices = [template.recombination for template in templates]
    known = [s for s in slices if s is not None]
    if not known:
        return None
    usual = float(np.mean([s.mean_rate for s in known]))
    origin, positions, rates = windows[0].left, [0.0], []
    for window, own in zip(windows, slices, strict=True):
        start = float(window.left - origin)
        if start > positions[-1]:
            positions.append(start)
            rates.append(usual)
        inner = np.array([0.0, window.length]) if own is None else own.positions
        positions += (inner[1:] + start).tolist()
        rates += [usual] if own is None else own.rates.tolist()
    return RecombinationMap(np.array(positions), np.array(rates))


def _stretches(problem: Problem, vector: np.ndarray, number: int, parts: list[Part]) -> Iterator[Stretch]:
    theta = problem.parameters.named(vector)
    for i, (whole, cuts) in enumerate(parts):
        seed = randomness.simulator_seed(problem.seed, "bootstrap", problem.scenario, number, i)
        yield Stretch(problem.setup, theta, whole, cuts, seed)
