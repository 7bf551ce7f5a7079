"""The options file: which numbers of a demes file are free, in moments' format with our extensions.

moments' keys: ``parameters`` (``name``, ``description``, ``values``, ``lower_bound``, ``upper_bound``) and
``constraints`` (``params``, ``constraint``). Ours: a parameter's ``scale``, ``prior`` and ``unit``, and
``expressions`` (``expression``, ``values``, ``description``), fields that follow from several parameters. moments
ignores ours, and a file without them means here what it means there; only that a prior needs an ``upper_bound``::

    parameters:
    - name: T_split
      unit: generations
      values:
      - demes: {ancestral: {epochs: {0: end_time}}}
      lower_bound: 500
      upper_bound: 20000
      scale: log
    - {name: pulse, lower_bound: -0.2, upper_bound: 0.2}
    expressions:
    - expression: T_split / 2
      values:
      - pulses: {0: time}
    - expression: max(pulse, 0)
      values:
      - pulses: {0: {proportions: 0}}

A parameter that acts only through expressions, or is a rate, has no ``values`` (moments does not load such a file).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ganinfer.models.expressions import Expression, ExpressionError, parameter, parse
from ganinfer.models.places import ModelError, Place, closest, read_yaml
from ganinfer.parameters import Constraint, Parameter, ParameterError, Parameters, Prior

PARAMETER_KEYS = (
    "name",
    "description",
    "values",
    "lower_bound",
    "upper_bound",
    "scale",
    "prior",
    "unit",
)
#: ``uL`` stands in moments' own examples, where its loader ignores it too; the rest are notes to readers.
IGNORED_KEYS = ("uL", "description", "doi", "metadata")
FILE_KEYS = ("parameters", "constraints", "expressions", *IGNORED_KEYS)


@dataclass(frozen=True)
class Driver:
    """What one parameter or expression drives: its ``values`` list as written, ``None`` without one, and its place.

    ``description``: what an expression is, where the file says so.
    """

    expression: Expression
    values: Any
    place: Place
    description: str = ""


@dataclass(frozen=True)
class Options:
    """A read options file: parameters in order, constraints, and what drives which fields."""

    parameters: tuple[Parameter, ...]
    constraints: tuple[Constraint, ...]
    drivers: tuple[Driver, ...]
    place: Place

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(p.name for p in self.parameters)


def read_options(file: str, text: str) -> Options:
    """Read an options file; raises :class:`~ganinfer.models.places.ModelError` naming file, line, path and rule."""
    place = Place(file, text)
    content = _keys(read_yaml(file, text), place, FILE_KEYS, ("parameters",))
    items = _list(content["parameters"], place.at("parameters"))
    places = [place.at("parameters", i) for i in range(len(items))]
    parameters = tuple(_parameter(item, here) for item, here in zip(items, places, strict=True))
    names = tuple(p.name for p in parameters)
    for i, here in enumerate(places):
        if names[i] in names[:i]:
            raise here.at("name").error(f"parameter names must be unique, {names[i]!r} stands twice")
    own = [
        Driver(parameter(name), item["values"], here.at("values"))
        for name, item, here in zip(names, items, places, strict=True)
        if "values" in item
    ]
    constraints = _list(content.get("constraints") or [], place.at("constraints"))
    expressions = _list(content.get("expressions") or [], place.at("expressions"))
    return Options(
        parameters,
        tuple(_constraint(c, names, place.at("constraints", i)) for i, c in enumerate(constraints)),
        (*own, *(_expression(e, names, place.at("expressions", i)) for i, e in enumerate(expressions))),
        place,
    )


@dataclass(frozen=True)
class Held:
    """An options file with some parameters held at ``values``: the ``free`` ones, and constraints on both kinds."""

    free: Parameters
    values: Mapping[str, float]
    mixed: tuple[Constraint, ...] = ()

    def complete(self, theta: Mapping[str, float], where: str) -> dict[str, float]:
        """Values of all parameters; raises :class:`ModelError` for missing or unknown names in ``theta``."""
        names = self.free.names
        if len(theta) != len(names) or any(name not in theta for name in names):
            missing = ", ".join(n for n in names if n not in theta)
            unknown = ", ".join(n for n in theta if n not in names)
            raise ModelError(
                f"{where} needs values of {', '.join(names) or 'no parameter'}; "
                f"missing: {missing or 'none'}; unknown: {unknown or 'none'}"
            )
        return {**theta, **self.values}

    def broken_constraint(self, values: Mapping[str, float]) -> str | None:
        """The constraint between a free and a held parameter that complete ``values`` break, as a sentence."""
        for c in self.mixed:
            if not values[c.greater] > values[c.smaller]:
                return f"{c.greater}={values[c.greater]:.6g} must be above {c.smaller}={values[c.smaller]:.6g}"
        return None


def hold(options: Options | None, fixed: Mapping[str, Any] | None) -> Held:
    """Hold the parameters of an options file that ``fixed`` maps to finite numbers.

    The numbers may lie outside the bounds, so that a migration on a log scale can be held at 0. Raises
    :class:`ModelError` for unknown names, other values, and constraints that held values break among themselves.
    """
    names = options.names if options else ()
    values: dict[str, float] = {}
    if not isinstance(fixed, Mapping | None):
        raise ModelError(f"fixed maps parameters to numbers, got {fixed!r}")
    for name, value in (fixed or {}).items():
        if name not in names:
            raise ModelError(f"fixed: {name!r} is no parameter; {closest(name, names)}")
        values[name] = finite_number(value, f"fixed.{name}")
    if options is None:
        return Held(Parameters(()), values)
    touched = tuple(c for c in options.constraints if c.greater in values or c.smaller in values)
    for c in touched:
        if c.greater in values and c.smaller in values and not values[c.greater] > values[c.smaller]:
            raise ModelError(
                f"fixed: {c.greater}={values[c.greater]:g} must be above {c.smaller}={values[c.smaller]:g}, "
                f"as {options.place.file} demands under constraints"
            )
    free = Parameters(
        tuple(p for p in options.parameters if p.name not in values),
        tuple(c for c in options.constraints if c not in touched),
    )
    mixed = tuple(c for c in touched if c.greater not in values or c.smaller not in values)
    return Held(free, values, mixed)


def finite_number(value: Any, where: str) -> float:
    """``value`` as a float; raises :class:`ModelError` naming ``where`` when it is no finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ModelError(f"{where} must be a finite number, got {value!r}")
    return float(value)


def _keys(value: Any, place: Place, allowed: Sequence[str], required: Sequence[str]) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise place.error(f"a mapping is expected here, with the keys {', '.join(allowed)}; got {value!r}")
    for key in value:
        if key not in allowed:
            raise place.at(key).error(f"unknown key {key!r}; {closest(key, allowed)}")
    for key in required:
        if key not in value:
            raise place.error(f"the key {key!r} is missing")
    return value


def _list(value: Any, place: Place) -> list[Any]:
    if not isinstance(value, list):
        raise place.error(f"a list is expected here, got {value!r}")
    return value


def _parameter(item: Any, place: Place) -> Parameter:
    item = _keys(item, place, PARAMETER_KEYS, ("name",))
    if "upper_bound" not in item:
        raise place.error(
            f"parameter {item['name']!r} needs an upper_bound, since its prior lies between lower_bound (0 when left "
            "out) and upper_bound; a tenth and ten times the value in the demes file are a start"
        )
    bounds = []
    for key in ("lower_bound", "upper_bound"):
        try:
            bounds.append(finite_number(item.get(key, 0.0), key))
        except ValueError as error:
            raise place.at(key).error(str(error)) from None
    prior = _prior(item["prior"], place.at("prior")) if "prior" in item else None
    texts = [str(item.get(key) or "") for key in ("unit", "description")]
    try:
        return Parameter(str(item["name"]), bounds[0], bounds[1], item.get("scale", "linear"), prior, *texts)
    except ParameterError as error:
        raise place.error(str(error)) from None


def _prior(value: Any, place: Place) -> Prior:
    rule = "a prior is uniform, log-uniform, {normal: {mean: M, sd: S}} or {lognormal: {mean: M, sd: S}}"
    if value in ("uniform", "log-uniform"):
        return Prior(value)
    if not isinstance(value, Mapping) or len(value) != 1 or not set(value) <= {"normal", "lognormal"}:
        raise place.error(f"{rule}; got {value!r}")
    ((kind, shape),) = value.items()
    shape = _keys(shape, place.at(kind), ("mean", "sd"), ("mean", "sd"))
    try:
        return Prior(kind, finite_number(shape["mean"], "mean"), finite_number(shape["sd"], "sd"))
    except ValueError as error:
        raise place.at(kind).error(str(error)) from None


def _constraint(item: Any, names: Sequence[str], place: Place) -> Constraint:
    item = _keys(item, place, ("params", "constraint"), ("params", "constraint"))
    pair = item["params"]
    if not isinstance(pair, list) or len(pair) != 2 or pair[0] == pair[1]:
        raise place.at("params").error(f"a constraint is between two different parameters, got {pair!r}")
    for name in pair:
        if name not in names:
            raise place.at("params").error(f"{name!r} is no parameter; {closest(name, names)}")
    if item["constraint"] not in ("greater_than", "less_than"):
        raise place.at("constraint").error(f"a constraint is greater_than or less_than, got {item['constraint']!r}")
    greater, smaller = pair if item["constraint"] == "greater_than" else reversed(pair)
    return Constraint(greater, smaller)


def _expression(item: Any, names: Sequence[str], place: Place) -> Driver:
    item = _keys(item, place, ("expression", "values", "description"), ("expression", "values"))
    text = item["expression"]
    # A lone number is read by YAML as a number; it is arithmetic all the same.
    text = str(text) if isinstance(text, int | float) and not isinstance(text, bool) else text
    try:
        expression = parse(text, names)
    except ExpressionError as error:
        raise place.at("expression").error(str(error)) from None
    return Driver(expression, item["values"], place.at("values"), str(item.get("description") or ""))
