"""The built-in ``msprime`` simulator: a function of named parameters that returns an ``msprime.Demography``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ganinfer import plugins
from ganinfer.coalescent import (
    MAP,
    neutral_model,
    read_errors,
    read_labels,
    read_ploidy,
    read_rates,
    sample_sets,
    sampling_problem,
    simulate_loci,
    simulate_windows,
)
from ganinfer.haplotypes import SampleSet
from ganinfer.interfaces import Design, NeutralModel, Observation
from ganinfer.models import (
    Held,
    ModelError,
    Options,
    check_generation_parameter,
    closest,
    file_text,
    hold,
    read_generation_time,
    read_options,
    stretching_sizes,
)
from ganinfer.parameters import Parameters

if TYPE_CHECKING:
    import demes as demes_module
    import msprime


_EXAMPLE_CODE = """\
import msprime


def one_population(N):
    demography = msprime.Demography()
    demography.add_population(name="A", initial_size=N)
    return demography
"""
_EXAMPLE_PARAMETERS = "parameters: [{name: N, lower_bound: 1000, upper_bound: 30000}]\n"


class FunctionError(ValueError):
    """A user's function fails, which says nothing about what histories are possible."""


class MsprimeSimulator:
    """Windows of a demography that a Python function makes.

    The function is named by ``demography``, an entry point of ``ganinfer.demographies``, or by ``file`` and
    ``function``. It takes parameters by name, and returns an ``msprime.Demography`` in generations. ``parameters``
    is an options file without ``values`` and ``expressions``; a parameter that the function does not take must be a
    rate or a share of errors. Every other option is as in the ``demes`` simulator.
    """

    api_version: ClassVar[str] = "1"
    produces: ClassVar[tuple[str, ...]] = ("windows", "loci", "loci-by-rate")
    file_options: ClassVar[tuple[str, ...]] = ("file", "parameters")
    #: What ``ganinfer plugins check msprime`` tries: one population of unknown size.
    example: ClassVar[Mapping[str, Any]] = {
        "options": {
            "file": {"file": "example.py", "text": _EXAMPLE_CODE},
            "function": "one_population",
            "parameters": {"file": "example.options.yaml", "text": _EXAMPLE_PARAMETERS},
            "mutation_rate": 1.25e-8,
            "recombination_rate": 1.25e-8,
        },
        "samples": {"A": 4},
    }

    def __init__(
        self,
        *,
        demography: str | None = None,
        file: Any = None,
        function: str | None = None,
        parameters: Any = None,
        demes: Mapping[str, str] | None = None,
        fixed: Mapping[str, float] | None = None,
        mutation_rate: float | str | None = None,
        recombination_rate: float | str = MAP,
        recombination_scale: float | str = 1.0,
        misidentified: float | str = 0.0,
        genotype_error: float | str = 0.0,
        generation_time: float | str | None = None,
        ploidy: int = 2,
    ) -> None:
        self.name, self._function = _demography(demography, file, function)
        options = None if parameters is None else _options(*file_text(parameters, "parameters"))
        self._held: Held = hold(options, fixed)
        self.rates = read_rates(mutation_rate, recombination_rate, recombination_scale)
        self.rates.check(self._held.free, self._held.values)
        self.errors = read_errors(misidentified, genotype_error)
        self.errors.check(self._held.free, self._held.values)
        named = (generation_time,) if isinstance(generation_time, str) else ()
        for name in named:
            check_generation_parameter(name, self._held)
        self.generation_time = None if named or generation_time is None else read_generation_time(generation_time)
        self._arguments = _arguments(
            self._function, self.name, options, (*self.rates.names, *self.errors.names, *named)
        )
        self.demes = read_labels(demes)
        self.ploidy = read_ploidy(ploidy)
        self._parameters = replace(self._held.free, problem=self.problem)

    @property
    def parameters(self) -> Parameters:
        return self._parameters

    def demography(self, theta: Mapping[str, float]) -> msprime.Demography:
        """What the function makes of ``theta``.

        Raises :class:`ModelError` where it or msprime says by a ``ValueError`` that there is no such history, and
        :class:`FunctionError` where it fails in any other way.
        """
        import msprime

        values = self._held.complete(theta, self.name)
        try:
            made = self._function(**{name: values[name] for name in self._arguments})
            if isinstance(made, msprime.Demography):
                made.validate()
                _check_events(made)
        except ValueError as error:
            raise ModelError(f"{self._where(error)}: {error}") from error
        except (Exception, SystemExit) as error:
            raise FunctionError(
                f"{self._where(error)} raised {_described(error)} at {_shown(values)}; mend it, or let it raise "
                "ValueError where these parameters make no possible history"
            ) from error
        if not isinstance(made, msprime.Demography):
            answer = f"got {type(made).__name__} at {_shown(values)}"
            raise FunctionError(f"{self.name} must return an msprime.Demography, {answer}")
        return made

    def _where(self, error: BaseException) -> str:
        """The function, and the line of its file that an error came from."""
        return self.name + plugins.line_in(error, self.name.partition(":")[0])

    def problem(self, theta: Mapping[str, float]) -> str | None:
        """Why the demography is impossible at ``theta``, as a sentence; ``None`` where it is possible.

        Raises :class:`FunctionError` where the function fails.
        """
        broken = self._held.broken_constraint(self._held.complete(theta, self.name))
        if broken:
            return broken
        try:
            self.demography(theta)
        except ModelError as error:
            return str(error)
        return None

    def graph(self, theta: Mapping[str, float]) -> demes_module.Graph:
        """The demography as a demes graph, in generations; ``ValueError`` where demes cannot express it."""
        return self.demography(theta).to_demes()

    def neutral_model(self, theta: Mapping[str, float]) -> NeutralModel:
        """What a likelihood of the site frequency spectrum needs; ``ValueError`` where there is none."""
        return neutral_model(self, theta, self._held.complete(theta, self.name))

    @property
    def known_by_product(self) -> tuple[tuple[str, ...], str] | None:
        """Sizes, and the mutation rate, where the rate is free and so is all of the history: their products are known.

        ``None`` where something that is given, a size or a time, tells more.
        """
        rate = self.rates.mutation
        if not isinstance(rate, str) or rate not in self.parameters.names:
            return None
        sizes = stretching_sizes(self.graph, self.parameters, rate)
        return (sizes, rate) if sizes else None

    @property
    def needs_map(self) -> bool:
        """Whether every window needs a slice of a recombination map."""
        return self.rates.recombination == MAP

    def sampling_problem(self, theta: Mapping[str, float], samples: Sequence[SampleSet]) -> str | None:
        """Why the possible model at ``theta`` cannot be sampled so, as a sentence; ``None`` where it can."""
        return sampling_problem(samples, self.demes, self.demography(theta), self.name)

    def why_not(self, kind: str) -> str | None:
        """Why it cannot serve a kind of design with its options, as a sentence."""
        return (None if kind == "loci" else self.rates.missing) or (
            self.errors.why_no_loci if kind.startswith("loci") else None
        )

    def simulate(self, theta: Mapping[str, float], design: Design, seed: int) -> Iterator[Observation]:
        """One tree sequence a window, or one SNP table a template."""
        demography = self.demography(theta)
        samples = sample_sets(design.samples, self.demes, demography, self.name)
        values = self._held.complete(theta, self.name)
        rates = self.rates.at(values)
        if design.kind == "loci":
            return simulate_loci(demography, samples, design, seed, ploidy=self.ploidy, **rates)
        windows = simulate_windows(demography, samples, design.templates, seed, ploidy=self.ploidy, **rates)
        return self.errors.put_on(windows, design.samples, values, seed)


def _described(error: BaseException) -> str:
    return f"{type(error).__name__} ({error})" if str(error) else type(error).__name__


def _shown(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name}={value:.6g}" for name, value in values.items()) or "no parameters"


def _check_events(demography: msprime.Demography) -> None:
    """Raise ``ValueError`` for what msprime would refuse only once it simulates, in the middle of a run."""
    if (np.asarray(demography.migration_matrix) < 0).any():
        raise ValueError("a migration rate is below 0")
    for event in demography.events:
        kind = type(event).__name__
        if event.time < 0:
            raise ValueError(f"{kind} at time {event.time:.6g}; times are from 0")
        for share in getattr(event, "proportions", [getattr(event, "proportion", 0)]):
            if not 0 <= share <= 1:
                raise ValueError(f"{kind} at time {event.time:.6g} of a proportion {share:.6g}; allowed: 0 to 1")
        if getattr(event, "rate", 0) < 0:
            raise ValueError(f"{kind} at time {event.time:.6g} of a rate {event.rate:.6g}; rates are from 0")


def _demography(demography: Any, file: Any, function: Any) -> tuple[str, Callable[..., Any]]:
    """The user's function and its name for messages."""
    if (demography is None) == (file is None) or (file is None) != (function is None):
        raise ModelError(
            "name the function either by demography, an entry point of ganinfer.demographies, or by file and function"
        )
    if demography is not None:
        return f"demography {demography!r}", plugins.load("demographies", demography)
    name, text = file_text(file, "file")
    digest = {"sha256": file["sha256"]} if isinstance(file, Mapping) and "sha256" in file else {}
    found = plugins.load_code({"file": name, "text": text, **digest}, function)
    if not callable(found):
        raise ModelError(f"{name}:{function} is no function")
    return f"{name}:{function}", found


def _options(file: str, text: str) -> Options:
    options = read_options(file, text)
    for driver in options.drivers:
        raise driver.place.error("values and expressions address a demes file; a function takes parameters by name")
    return options


def _arguments(
    function: Callable[..., Any], name: str, options: Options | None, rates: tuple[str, ...]
) -> tuple[str, ...]:
    """The parameters that the function is called with; raises :class:`ModelError` unless both sides agree."""
    names = options.names if options else ()
    taken = inspect.signature(function).parameters.values()
    if any(p.kind is p.POSITIONAL_ONLY for p in taken):
        raise ModelError(f"{name} must take its parameters by name, not by position only")
    if any(p.kind is p.VAR_KEYWORD for p in taken):
        return tuple(n for n in names if n not in rates)
    accepted = {p.name: p for p in taken if p.kind is not p.VAR_POSITIONAL}
    for p in accepted.values():
        if p.default is p.empty and p.name not in names:
            raise ModelError(f"{name} needs {p.name!r}, which is no parameter; {closest(p.name, names)}")
    for i, n in enumerate(names):
        if n not in accepted and n not in rates:
            assert options is not None
            raise options.place.at("parameters", i).error(
                f"parameter {n!r} changes nothing: {name} does not take it, and it is no rate, share of errors or "
                f"generation time; {closest(n, accepted)}"
            )
    return tuple(n for n in names if n in accepted)
