"""A demographic model with free parameters: a demes file, and an options file that says what is free."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ganinfer.models.expressions import ExpressionError
from ganinfer.models.fields import Field, read_values
from ganinfer.models.options import Driver, Held, Options, finite_number, hold, read_options
from ganinfer.models.patterns import Known, Patterns
from ganinfer.models.places import ModelError, Place, closest, read_yaml

if TYPE_CHECKING:
    import demes


#: What demes raises for a file that is no model.
_DEMES_ERRORS = (ValueError, TypeError, KeyError, AttributeError, IndexError)


class DemesModel:
    """A demes graph as a function of named parameters.

    ``model`` and ``options`` are the texts of the two files, ``model_file`` and ``options_file`` their names for
    messages. ``fixed`` holds parameters at a value: they are no longer among ``parameters``. ``elsewhere`` names
    parameters that something beside the graph depends on, such as a mutation rate. All numbers are in the
    demes file's own units; ``generation_time`` is used where the file is in years and does not say. It may name a
    parameter: then the file's own value, where it is in years, is only one among others.

    Raises :class:`ModelError` when a file breaks one of its rules, ``ValueError`` when ``fixed`` does.
    """

    def __init__(
        self,
        model: str,
        options: str | None = None,
        *,
        model_file: str = "the demes file",
        options_file: str = "the options file",
        fixed: Mapping[str, Any] | None = None,
        elsewhere: tuple[str, ...] = (),
        generation_time: float | str | None = None,
    ) -> None:
        self.file = model_file
        named = generation_time if isinstance(generation_time, str) else None
        self._generation_time = (
            None if generation_time is None or named is not None else read_generation_time(generation_time)
        )
        self._data = read_demes(model, model_file, self._generation_time)
        #: The graph of the demes file as it is written.
        self.written = _build(self._data, model_file)
        self.options: Options | None = None if options is None else read_options(options_file, options)
        self._last: tuple[Mapping[str, float], demes.Graph] | None = None
        self._patterns = Patterns(self._data)
        self._possible = Known()
        self._held = hold(self.options, fixed)
        self._generation_parameter = named
        if named is not None:
            check_generation_parameter(named, self._held)
            elsewhere = (*elsewhere, named)
        self._drivers = self._bind(self.options.drivers if self.options else ())
        self._check_initial_values()
        self._check_every_parameter_acts(elsewhere)
        self.parameters = replace(self._held.free, problem=self.problem)

    @property
    def fixed(self) -> Mapping[str, float]:
        """Values of the parameters that are held."""
        return self._held.values

    @property
    def generation_time(self) -> float | None:
        """Years a generation, where the demes file or the scenario says so; ``None`` where it is a free parameter."""
        if self._generation_parameter is not None:
            return self.fixed.get(self._generation_parameter)
        if self._data.get("time_units", "generations") == "generations":
            return self._generation_time
        return float(self._data["generation_time"])

    @property
    def sizes(self) -> tuple[str, ...]:
        """Free parameters that sizes of demes depend on."""
        acting = {
            name
            for driver, fields in self._drivers
            if any(str(field.path[-1]).endswith("_size") for field in fields)
            for name in driver.expression.names
        }
        return tuple(name for name in self.parameters.names if name in acting)

    @property
    def all_free(self) -> bool:
        """Whether every size, time and rate of migration in the demes file depends on a free parameter.

        Then all of them can be stretched together, and genomes tell the products with the mutation rate only.
        """
        free = set(self.parameters.names)
        driven = {
            field.path for driver, fields in self._drivers for field in fields if free & set(driver.expression.names)
        }
        return all(path in driven for path in _scaled_fields(self._data))

    def values(self, theta: Mapping[str, float]) -> dict[str, float]:
        """Values of all parameters, free and fixed; raises :class:`ModelError` for missing or unknown names."""
        return self._held.complete(theta, self.file)

    def derived(self, theta: Mapping[str, float]) -> dict[str, float]:
        """What described expressions of the options file come to at ``theta``, by description.

        Where several share a description, each has its text beside it. Raises :class:`ModelError` where one has no
        value.
        """
        values = self.values(theta)
        described = [(d.description, d.expression) for d, _ in self._drivers if d.description]
        times = Counter(description for description, _ in described)
        try:
            return {f"{n} ({e.text})" if times[n] > 1 else n: e.value(values) for n, e in described}
        except ExpressionError as error:
            raise ModelError(str(error)) from None

    def graph(self, theta: Mapping[str, float]) -> demes.Graph:
        """The graph at ``theta``, in the demes file's units; raises :class:`ModelError` where it is impossible.

        Who asks whether a model is possible often asks for its graph next: the last one is kept.
        """
        values = self.values(theta)
        if self._last is None or self._last[0] != values:
            self._last = values, self._built(values)
        return self._last[1]

    def _built(self, values: Mapping[str, float]) -> demes.Graph:
        return _build(self._set(values), self.file)

    def _set(self, values: Mapping[str, float]) -> dict[str, Any]:
        """The demes dictionary at values of all parameters."""
        data = self._data
        if self._generation_parameter is not None and data.get("time_units", "generations") != "generations":
            data["generation_time"] = values[self._generation_parameter]
        for driver, fields in self._drivers:
            try:
                value = driver.expression.value(values)
            except ExpressionError as error:
                raise ModelError(f"{fields[0].name} has no value: {error}") from None
            for field in fields:
                # In place: building a graph copies the data, and every call sets the same fields.
                field.set(data, value)
        return data

    def pattern(self, theta: Mapping[str, float], times: Sequence[float] = ()) -> Hashable | None:
        """What the model at ``theta`` has in common with all that are possible, or impossible, for the same reasons.

        Further ``times`` are compared with its own. ``None`` where only building the graph can tell.
        """
        try:
            return self._patterns.of(self._set(self.values(theta)), times)
        except ModelError:
            return None

    def problem(self, theta: Mapping[str, float]) -> str | None:
        """Why the model is impossible at ``theta``, as a sentence; ``None`` where it is possible."""
        broken = self._held.broken_constraint(self.values(theta))
        if broken:
            return broken
        # Asked of thousands of draws, nearly all of which are possible in one of a few ways.
        pattern = self.pattern(theta)
        if pattern in self._possible:
            return None
        try:
            self.graph(theta)
        except ModelError as error:
            return str(error)
        if pattern is not None:
            self._possible.add(pattern)
        return None

    def _bind(self, drivers: tuple[Driver, ...]) -> tuple[tuple[Driver, tuple[Field, ...]], ...]:
        """Each driver with its fields; no field may be driven twice."""
        bound = tuple((d, read_values(d.values, d.place, self._data, self.file)) for d in drivers)
        owner: dict[tuple[str | int, ...], Driver] = {}
        for driver, fields in bound:
            for field in fields:
                if field.path in owner:
                    both = f"{owner[field.path].expression.text!r} and by {driver.expression.text!r}"
                    raise driver.place.error(f"{field.name} is set twice, by {both}")
                owner[field.path] = driver
        return bound

    def _check_initial_values(self) -> None:
        """Fields of one parameter agree in the demes file and lie in its bounds: a wrong index or unit shows here."""
        parameters = {p.name: p for p in self.options.parameters} if self.options else {}
        for driver, fields in self._drivers:
            written = {f.name: f.get(self._data) for f in fields}
            shown = ", ".join(f"{name}={value}" for name, value in written.items())
            p = parameters.get(driver.expression.text)
            if p is None:
                continue
            if len(set(written.values())) > 1:
                raise driver.place.error(f"fields of one parameter must be equal in {self.file}, got {shown}")
            value = next(iter(written.values()))
            if not p.lower <= value <= p.upper:
                raise driver.place.error(
                    f"the value in {self.file}, {shown}, lies outside the bounds [{p.lower:g}, {p.upper:g}] of "
                    f"parameter {p.name!r}; both are in the demes file's own units ({self._data['time_units']})"
                )

    def _check_every_parameter_acts(self, elsewhere: tuple[str, ...]) -> None:
        acting = {name for driver, _ in self._drivers for name in driver.expression.names} | set(elsewhere)
        for i, p in enumerate(self.options.parameters if self.options else ()):
            if p.name not in acting:
                assert self.options is not None
                raise self.options.place.at("parameters", i).error(
                    f"parameter {p.name!r} changes nothing: give it values, use it in expressions, or make it a rate"
                )


def without_idle_pulses(graph: demes.Graph) -> demes.Graph:
    """The same model less the pulses that move nobody, as one of two opposite ones at a time does."""
    moving = [pulse for pulse in graph.pulses if any(pulse.proportions)]
    if len(moving) == len(graph.pulses):
        return graph
    same = copy(graph)
    same.pulses = moving
    return same


def _scaled_fields(data: Mapping[str, Any]) -> Iterator[tuple[str | int, ...]]:
    """Sizes, times above 0 and rates of migration of an un-resolved demes dictionary, by the keys that lead to them."""
    for i, deme in enumerate(data["demes"]):
        if _is_finite(deme.get("start_time")):
            yield ("demes", i, "start_time")
        for k, epoch in enumerate(deme.get("epochs") or ()):
            for key in ("start_size", "end_size", "end_time"):
                if _is_finite(epoch.get(key)):
                    yield ("demes", i, "epochs", k, key)
    for section, keys in (("migrations", ("rate", "start_time", "end_time")), ("pulses", ("time",))):
        for i, entry in enumerate(data.get(section) or ()):
            for key in keys:
                if _is_finite(entry.get(key)):
                    yield (section, i, key)


def _is_finite(value: Any) -> bool:
    """Whether a value is one that stretching changes: absent ones, 0 and infinity stay."""
    return isinstance(value, int | float) and 0 < value < math.inf


def check_generation_parameter(name: str, held: Held) -> None:
    """Raise :class:`ModelError` unless ``name`` is a parameter of the scenario, above 0 years."""
    lowest = {p.name: p.lower for p in held.free} | dict(held.values)
    if name not in lowest:
        raise ModelError(f"generation_time is years or a parameter; {name!r} is no parameter; {closest(name, lowest)}")
    if lowest[name] <= 0:
        raise ModelError(f"generation_time is in years and above 0; parameter {name!r} may be {lowest[name]:g}")


def read_generation_time(value: Any) -> float:
    """The scenario's ``generation_time``: years, above 0."""
    years = finite_number(value, "generation_time")
    if years <= 0:
        raise ModelError(f"generation_time is in years and above 0, got {years:g}")
    return years


def read_demes(text: str, file: str, generation_time: float | None = None) -> dict[str, Any]:
    """A demes file as it is written, checked to be a valid model; raises :class:`ModelError`."""
    content = read_yaml(file, text)
    if not isinstance(content, dict) or not isinstance(content.get("demes"), list):
        raise ModelError(f"{file}: a demes file is a mapping with time_units and a list of demes")
    for i, deme in enumerate(content["demes"]):
        if not isinstance(deme, dict):
            raise Place(file, text, ("demes", i)).error(f"a deme is a mapping with a name and epochs, got {deme!r}")
    import demes

    try:
        data = dict(demes.loads_asdict(text))
    except _DEMES_ERRORS as error:
        raise ModelError(f"{file}: {_sentence(error)}") from None
    if generation_time is not None and data.get("time_units", "generations") != "generations":
        written = data.setdefault("generation_time", generation_time)
        if written != generation_time:
            raise Place(file, text, ("generation_time",)).error(
                f"the demes file says {written}, the scenario's generation_time says {generation_time}; they must agree"
            )
    try:
        _build(data, file)
    except ModelError as error:
        raise _placed(error, data, Place(file, text)) from None
    return data


def _placed(error: ModelError, data: Mapping[str, Any], place: Place) -> ModelError:
    """The error with the first deme, migration or pulse without which the rest is possible, where there is one.

    demes says what is wrong, and not always with what.
    """
    so_far: dict[str, Any] = {k: v for k, v in data.items() if k not in ("migrations", "pulses")}
    if _refusal({**so_far, "demes": [{"name": "any", "epochs": [{"start_size": 1}]}]}):
        return error
    for section in ("demes", "migrations", "pulses"):
        entries = data.get(section)
        # Whatever is no list has no part to blame; demes says what it should be.
        for i, part in enumerate(entries if isinstance(entries, list) else ()):
            so_far[section] = data[section][: i + 1]
            why = _refusal(so_far)
            if why:
                name = f" ({part['name']})" if isinstance(part, Mapping) and "name" in part else ""
                return ModelError(f"{place.at(section, i)}{name} makes no possible model: {why}")
    return error


def _refusal(data: dict[str, Any]) -> str | None:
    """Why demes refuses a part of a file."""
    import demes

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            demes.Graph.fromdict(data)
    except _DEMES_ERRORS as error:
        return _sentence(error)
    return None


def _build(data: dict[str, Any], file: str) -> demes.Graph:
    import demes

    try:
        with warnings.catch_warnings():
            # Two opposite pulses at one time, of which one is zero, are how a signed pulse is written.
            warnings.filterwarnings("ignore", message="Multiple pulses", category=UserWarning)
            graph = demes.Graph.fromdict(data)
    except _DEMES_ERRORS as error:
        raise ModelError(f"{file} is no possible model: {_sentence(error)}") from None
    _check_common_ancestor(graph, file)
    return graph


def _check_common_ancestor(graph: demes.Graph, file: str) -> None:
    """Demes without ancestors must be joined by migration that goes on for ever: else lineages never meet."""
    roots = [d.name for d in graph.demes if not d.ancestors]
    joined = {roots[0]}
    for _ in roots:
        for m in graph.migrations:
            if math.isinf(m.start_time) and m.rate > 0 and {m.source, m.dest} & joined:
                joined |= {m.source, m.dest}
    apart = [name for name in roots if name not in joined]
    if apart:
        raise ModelError(
            f"{file} is no possible model: {roots[0]} and {', '.join(apart)} have no common ancestor, and no migration "
            "joins them in the past"
        )


def _sentence(error: BaseException | None) -> str:
    """An exception and its causes, outermost first, in one line."""
    parts: list[str] = []
    while error is not None:
        text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
        text = " ".join(text.split())
        if text and text not in parts:
            parts.append(text)
        error = error.__cause__
    return ": ".join(parts)
