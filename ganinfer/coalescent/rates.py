"""Mutation and recombination rates of a scenario, and its other options that msprime is told.

Per base and generation; each is a number or the name of a parameter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ganinfer.models import ModelError, closest, finite_number
from ganinfer.parameters import Parameters

#: What ``recombination_rate`` says when every window has the rates of its template's slice of the map.
MAP = "map"
#: Per base and generation. Rates of viruses and of hotspots lie below; what lies above is a slip such as 1.25 for
#: 1.25e-8, which would fill the memory with mutations or recombinations.
MAX_MUTATION_RATE = 1e-3
MAX_RECOMBINATION_RATE = 0.1


@dataclass(frozen=True)
class Rates:
    """Mutation and recombination rates per base and generation: numbers, or names of parameters.

    ``recombination`` may also be ``map``: the template's slice of the map; it is multiplied by ``scale``. Without
    ``mutation``, loci given to vary can be simulated, and nothing else.
    """

    mutation: float | str | None
    recombination: float | str = MAP
    scale: float | str = 1.0

    def _options(self) -> dict[str, float | str]:
        return {
            "mutation_rate": 0.0 if self.mutation is None else self.mutation,
            "recombination_rate": self.recombination,
            "recombination_scale": self.scale,
        }

    @property
    def missing(self) -> str | None:
        """What is missing for windows and for loci by rate, as a sentence."""
        if self.mutation is not None:
            return None
        return "mutation_rate is missing: a number per base and generation, or the name of a parameter"

    @property
    def names(self) -> tuple[str, ...]:
        """Parameters that are rates."""
        return tuple(v for k, v in self._options().items() if isinstance(v, str) and not _is_map(k, v))

    def check(self, parameters: Parameters, fixed: Mapping[str, float]) -> None:
        """Raise :class:`ModelError` unless each rate is a number, or a parameter, that lies where rates lie."""
        ranges = {p.name: (p.lower, p.upper) for p in parameters} | {name: (v, v) for name, v in fixed.items()}
        mutation, recombination, scale = (self._range(option, ranges) for option in self._options())
        if self.mutation is not None and (mutation[0] <= 0 or mutation[1] > MAX_MUTATION_RATE):
            raise _no_rate(
                f"mutation_rate is above 0 and at most {MAX_MUTATION_RATE:g} per base and generation, such as 1.25e-8",
                self.mutation,
                mutation,
            )
        if scale[0] < 0:
            raise _no_rate("recombination_scale is a factor from 0", self.scale, scale)
        rule = f"recombination_rate is from 0 to {MAX_RECOMBINATION_RATE:g} per base and generation, such as 1.25e-8"
        if recombination[0] < 0 or recombination[1] > MAX_RECOMBINATION_RATE:
            raise _no_rate(rule, self.recombination, recombination)
        if recombination[1] * scale[1] > MAX_RECOMBINATION_RATE:
            raise _no_rate(f"{rule}, after recombination_scale", self.scale, (0, recombination[1] * scale[1]))

    def _range(self, option: str, ranges: Mapping[str, tuple[float, float]]) -> tuple[float, float]:
        """The least and the largest value of an option; nothing is known of a map here, which counts as 0."""
        value = self._options()[option]
        if _is_map(option, value):
            return 0.0, 0.0
        allowed = "a number, map, or a parameter" if option == "recombination_rate" else "a number or a parameter"
        return option_range(option, value, ranges, allowed)

    def at(self, values: Mapping[str, float]) -> dict[str, Any]:
        """Rates at the values of all parameters, as keyword arguments of what simulates windows or loci."""
        return {k: v if _is_map(k, v) or not isinstance(v, str) else values[v] for k, v in self._options().items()}


def option_range(
    option: str,
    value: float | str,
    ranges: Mapping[str, tuple[float, float]],
    allowed: str = "a number or a parameter",
) -> tuple[float, float]:
    """The least and the largest value of an option; ``ranges`` are those of all parameters."""
    if not isinstance(value, str):
        return (finite_number(value, option),) * 2
    if value not in ranges:
        raise ModelError(f"{option} is {allowed}; {value!r} is no parameter; {closest(value, ranges)}")
    return ranges[value]


def _no_rate(rule: str, written: float | str | None, found: tuple[float, float]) -> ModelError:
    """The error for an option that may leave its range: a number, or a parameter whose bounds are ``found``."""
    if isinstance(written, str):
        return ModelError(f"{rule}; parameter {written!r} lets it be from {found[0]:g} to {found[1]:g}")
    return ModelError(f"{rule}; got {found[1]:g}")


def read_rates(mutation_rate: Any, recombination_rate: Any, recombination_scale: Any) -> Rates:
    """The three rate options of a scenario, each a number or a name; :meth:`Rates.check` says if it is known."""
    rates = Rates(mutation_rate, recombination_rate, recombination_scale)
    for option, value in rates._options().items():
        if not isinstance(value, str):
            finite_number(value, option)
    return rates


def read_labels(demes: Any) -> dict[str, str]:
    """The option ``demes``: population labels of the data mapped to populations of the model."""
    if not isinstance(demes, Mapping | None) or not all(isinstance(v, str) for v in (demes or {}).values()):
        raise ModelError(f"demes maps population labels of the data to demes of the model, got {demes!r}")
    return {str(label): deme for label, deme in (demes or {}).items()}


def read_ploidy(ploidy: Any) -> int:
    """The option ``ploidy``: 1 or more chromosomes an individual that population sizes count."""
    if isinstance(ploidy, bool) or not isinstance(ploidy, int) or ploidy < 1:
        raise ModelError(f"ploidy is a number of chromosomes from 1, got {ploidy!r}")
    return ploidy


def _is_map(option: str, value: Any) -> bool:
    return option == "recombination_rate" and isinstance(value, str) and value == MAP
