"""Whether a history can be stretched as a whole: then mutations tell its sizes in products with their rate only."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from ganinfer import randomness
from ganinfer.parameters import Parameters

if TYPE_CHECKING:
    import demes

#: Draws of the prior at which a history is looked at, and the relative step to either side of each.
_DRAWS, _STEP = 3, 1e-4
#: A size that changes by less than this with a parameter, both as logarithms, does not depend on it.
_NONE = 1e-6
#: What is left of a stretch, as logarithms, above which it is none.
_LEFT = 1e-4


def stretching_sizes(
    graph: Callable[[Mapping[str, float]], demes.Graph], parameters: Parameters, apart: str
) -> tuple[str, ...] | None:
    """Parameters that sizes depend on, where ``parameters`` can make all sizes and times of ``graph`` longer by one
    factor and rates of migration smaller by it; ``None`` where what is given does not allow that.

    The parameter ``apart`` stays as it is. Looked at by derivatives, so that it holds for any function.
    """
    names = [name for name in parameters.names if name != apart]
    found: set[str] = set()
    for theta in parameters.sample(randomness.stream(0), _DRAWS):
        at = parameters.named(theta)
        slopes = _slopes(graph, at, names)
        if slopes is None:
            return None
        wanted, is_size, matrix = slopes
        stretch = np.linalg.lstsq(matrix, wanted, rcond=None)[0]
        if np.abs(matrix @ stretch - wanted).max(initial=0.0) > _LEFT:
            return None
        acting = (np.abs(matrix[is_size]) > _NONE).any(axis=0)
        found.update(name for name, acts in zip(names, acting, strict=True) if acts)
    return tuple(name for name in names if name in found)


def _slopes(
    graph: Callable[[Mapping[str, float]], demes.Graph], at: Mapping[str, float], names: list[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """What a stretch does to each number of the history, which are sizes, and derivatives (numbers, parameters).

    All of logarithms; ``None`` where there is no such history next to it, or one of another form.
    """
    try:
        here = list(_numbers(graph(at)))
        ends = [
            [list(_numbers(graph({**at, name: at[name] * (1 + side * _STEP)}))) for side in (1, -1)] for name in names
        ]
    except ValueError:
        return None
    form = [kind for kind, _ in here]
    if any([kind for kind, _ in end] != form for pair in ends for end in pair):
        return None
    step = math.log1p(_STEP) - math.log1p(-_STEP)
    columns = [[(up - down) / step for (_, up), (_, down) in zip(*pair, strict=True)] for pair in ends]
    wanted = np.array([_STRETCH[kind] for kind in form], dtype=float)
    matrix = np.array(columns, dtype=float).reshape(len(names), len(form)).T
    return wanted, np.array([kind == "size" for kind in form], dtype=bool), matrix


#: The power of the factor by which a stretch multiplies numbers of a kind.
_STRETCH = {"size": 1, "time": 1, "rate": -1, "proportion": 0}


def _numbers(graph: demes.Graph) -> Iterator[tuple[str, float]]:
    """Kind and logarithm of every number of a graph that is neither zero nor infinite."""

    def told(kind: str, *values: float) -> Iterator[tuple[str, float]]:
        return ((kind, math.log(value)) for value in values if 0 < value < math.inf)

    for deme in graph.demes:
        yield from told("time", deme.start_time)
        yield from told("proportion", *deme.proportions)
        for epoch in deme.epochs:
            yield from told("size", epoch.start_size, epoch.end_size)
            yield from told("time", epoch.end_time)
            yield from told("proportion", epoch.selfing_rate, epoch.cloning_rate)
    for migration in graph.migrations:
        yield from told("rate", migration.rate)
        yield from told("time", migration.start_time, migration.end_time)
    for pulse in graph.pulses:
        yield from told("time", pulse.time)
        yield from told("proportion", *pulse.proportions)
