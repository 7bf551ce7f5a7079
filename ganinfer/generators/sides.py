"""The side of zero that a cloud has left.

A parameter whose prior lies on both sides of zero may act like two models, as migration one way and the other does, and
populations that are alike look alike either way until much is known. The cloud settles on one side while its emulator
is still coarse, and nothing leads back across: proposals on the other side say nothing of this one, and are left out.
So the part that was left is kept, until it can be said which side is closer to the data.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ganinfer.generators import sampling
from ganinfer.generators.emulator import Coordinates
from ganinfer.generators.local import STRADDLES
from ganinfer.parameters import Parameters

#: What the names of arrays begin with that hold the part of the cloud which was left; a parameter's number follows.
LEFT = "left-"
#: A part lies apart if its middle is so many of its standard deviations from zero; in the tail of a cloud that ends at
#: zero they are 1 or 1.3, in one that is spread evenly 1.7.
_APART = 1.5
#: A part that is taken up again is blurred by this share of its width.
_BLURRED = 0.3


def bounds_of_side(parameters: Parameters, cloud: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bounds (p,) of the prior, from zero on where the cloud (k, p) lies to one side of it."""
    low, high = np.array(parameters.bounds, dtype=float).T
    positive = (cloud > 0).mean(axis=0)
    both = _both(parameters)
    low[both & (positive > 1 - STRADDLES)] = 0.0
    high[both & (positive < STRADDLES)] = 0.0
    return low, high


def parts(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Those arrays of a state that hold a part which was left."""
    return {name: array for name, array in arrays.items() if name.startswith(LEFT)}


def number(name: str) -> int:
    """Of the parameter whose part an array of this ``name`` holds."""
    return int(name.removeprefix(LEFT))


def left(
    parameters: Parameters, before: np.ndarray, after: np.ndarray, known: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """What is left of a cloud (k, p) that was ``before`` and is ``after``, beside what was ``known`` to be left.

    By name of the parameter's array: the particles on the side that hardly any are on any more. A tail that reached
    across zero and has been drawn in is none: between the sides walkers could go to and fro.
    """
    found = dict(known)
    for i in np.flatnonzero(_both(parameters)):
        name = f"{LEFT}{i}"
        if across(after[:, i]):
            found.pop(name, None)
        else:
            there = (before[:, i] > 0) != _positive(after[:, i])
            if there.mean() >= STRADDLES and there.sum() > len(parameters) and _off_zero(before[there, i]):
                found[name] = before[there]
    return found


def blurred(parameters: Parameters, part: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """``size`` particles (size, p) from around a ``part`` (k, p) of a cloud, on its side and possible as it is."""
    coordinates = Coordinates.of_cloud(parameters, part)
    start = part[sampling.spread_choice(rng, len(part), size)]
    moved = coordinates.decode(coordinates.encode(start) + _BLURRED * rng.standard_normal(start.shape))
    low, high = bounds_of_side(parameters, part)
    usable = ((moved >= low) & (moved <= high)).all(axis=1) & parameters.possible(moved)
    return np.where(usable[:, None], moved, start)


def across(values: np.ndarray) -> bool:
    """Whether ``values`` (k,) lie on both sides of zero."""
    positive = (values > 0).mean()
    return bool(min(positive, 1 - positive) >= STRADDLES)


def lie_apart(name: str, ours: np.ndarray, other: np.ndarray) -> bool:
    """Whether two clouds (k, p) are on either side of zero, the other one not just across, by an array's ``name``."""
    here, there = ours[:, number(name)], other[:, number(name)]
    return _positive(here) != _positive(there) and _off_zero(there)


def _positive(values: np.ndarray) -> bool:
    return bool((values > 0).mean() > 0.5)


def _off_zero(values: np.ndarray) -> bool:
    """Whether ``values`` (k,), all on one side of zero, are more than what reaches there from the other."""
    return bool(abs(values.mean()) >= _APART * values.std())


def _both(parameters: Parameters) -> np.ndarray:
    return np.array([p.lower < 0 < p.upper for p in parameters])
