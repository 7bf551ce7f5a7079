"""The contract of a simulator."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from ganinfer import plugins, simulation
from ganinfer.haplotypes import Haplotypes, SampleSet, chromosomes
from ganinfer.interfaces import API_VERSION, LOCI_BY_RATE, Design, LociTemplate, SiteRule, WindowTemplate, kinds
from ganinfer.parameters import Parameters
from ganinfer.testing.report import Case, ContractError, NotApplicableError, require
from ganinfer.windows import RecombinationMap

_SEEDS = (1234, 2**31 - 1)
_HEAVY = ("tensorflow", "keras", "torch", "jax", "mlflow")
_FRESH = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from ganinfer.testing.simulators import in_fresh_process
in_fresh_process()
"""


class SimulatorCase(Case):
    """A simulator, options, a design and parameters; observations are simulated once and looked at by many checks."""

    kind = "simulators"

    def __init__(
        self,
        plugin: Any,
        options: Mapping[str, Any] | None = None,
        *,
        design: Design | None = None,
        theta: Mapping[str, float] | None = None,
    ):
        super().__init__(plugin, options)
        self._design = design
        self._theta = theta

    @property
    def _by_name(self) -> bool:
        return isinstance(self.plugin, (str, Mapping))

    @cached_property
    def _factory(self) -> Any:
        if isinstance(self.plugin, Mapping):
            return plugins.load_code(self.plugin, self.plugin["class"])
        return self.loaded() if self._by_name else type(self.plugin)

    @cached_property
    def _example(self) -> Mapping[str, Any]:
        return getattr(self._factory, "example", {})

    @cached_property
    def options(self) -> dict[str, Any]:
        return dict(self._example.get("options", {}) if self._options is None else self._options)

    @cached_property
    def simulator(self) -> Any:
        return plugins.load_simulator(self.plugin, self.options) if self._by_name else self.plugin

    @cached_property
    def design(self) -> Design:
        if self._design is not None:
            return self._design
        individuals = self._example.get("samples", {"A": 3, "B": 2})
        served = kinds(self.simulator)
        return example_design(individuals) if "windows" in served else example_loci(individuals, LOCI_BY_RATE in served)

    @cached_property
    def theta(self) -> dict[str, float]:
        if self._theta is not None:
            return dict(self._theta)
        parameters: Parameters = self.simulator.parameters
        middle = parameters.from_unit(np.full((1, len(parameters)), 0.5))
        if len(parameters) and not parameters.possible(middle)[0]:
            middle = parameters.sample(np.random.default_rng(0), 1)
        return parameters.named(middle[0])

    @cached_property
    def observations(self) -> list[Haplotypes]:
        return self._simulate(_SEEDS[0])

    def _simulate(self, seed: int, theta: Mapping[str, float] | None = None, simulator: Any = None) -> list[Haplotypes]:
        source = simulator or self.simulator
        return list(simulation.checked_observations(source, self.design, theta or self.theta, seed, rules=False))

    # --- the clauses ------------------------------------------------------------------------------------------------

    def check_interface(self) -> None:
        simulator = self.simulator
        for name in ("api_version", "produces", "parameters", "simulate"):
            require(hasattr(simulator, name), f"the simulator has no {name}")
        major = str(simulator.api_version).partition(".")[0]
        require(major == API_VERSION, f"api_version is {simulator.api_version!r}; this interface is {API_VERSION!r}")
        known = ("windows", "loci", LOCI_BY_RATE)
        require(
            set(kinds(simulator)) <= set(known) and bool(kinds(simulator)),
            f"produces is {simulator.produces!r}; the kinds of design are: {', '.join(known)}",
        )

    def check_parameters(self) -> None:
        parameters = self.simulator.parameters
        require(isinstance(parameters, Parameters), f"parameters must be Parameters, not {type(parameters).__name__}")
        draws = parameters.sample(np.random.default_rng(0), 64)
        require(np.isfinite(parameters.log_prior(draws)).all(), "draws from the prior must have finite prior density")

    def check_options(self) -> None:
        if not self._by_name:
            raise NotApplicableError("an instance was given, so its options are not known")
        restored = json.loads(json.dumps(self.options))
        require(
            restored == self.options, "options must come through JSON unchanged (strings as keys, lists, no tuples)"
        )
        again = self._simulate(_SEEDS[0], simulator=self._factory(**restored))
        _require_same(again, self.observations, "a second simulator made from the same options gave other observations")

    def check_number_of_observations(self) -> None:
        require(len(self.observations) == len(self.design.templates), "one observation a template")

    def check_shapes(self) -> None:
        self._require_rule("shapes")

    def check_positions(self) -> None:
        self._require_rule("positions")

    def check_allele_codes(self) -> None:
        self._require_rule("alleles")

    def check_chromosomes(self) -> None:
        self._require_rule("chromosomes")

    def check_loci(self) -> None:
        if self.design.kind != "loci":
            raise NotApplicableError("it simulates windows")
        for index, (observation, template) in enumerate(zip(self.observations, self.design.templates, strict=True)):
            problem = simulation.wrong_loci(observation, template)
            require(problem is None, f"template {index}: {problem}")

    def check_same_seed(self) -> None:
        _require_same(self._simulate(_SEEDS[0]), self.observations, "the same seed gave other observations")

    def check_different_seed(self) -> None:
        if not any(h.num_sites for h in self.observations):
            raise NotApplicableError("no window has a variable site at these parameters")
        other = self._simulate(_SEEDS[1])
        require(not _same(other, self.observations), f"seeds {_SEEDS[0]} and {_SEEDS[1]} gave the same observations")

    def check_order_of_calls(self) -> None:
        parameters = self.simulator.parameters
        other = parameters.named(parameters.sample(np.random.default_rng(1), 1)[0])
        self._simulate(_SEEDS[1], other)
        again = self._simulate(_SEEDS[0])
        _require_same(again, self.observations, "observations depend on what was simulated before")

    def check_theta_untouched(self) -> None:
        given = dict(self.theta)
        list(self.simulator.simulate(given, self.design, _SEEDS[0]))
        require(given == self.theta, f"simulate changed the parameters it was given: {self.theta} became {given}")

    def check_prior_corners(self) -> None:
        design = self.design.with_templates(self.design.templates[:1])
        for corner in _corners(self.simulator.parameters, self.theta):
            try:
                list(simulation.checked_observations(self.simulator, design, corner, _SEEDS[0]))
            except (Exception, SystemExit) as error:
                shown = ", ".join(f"{name}={value:.6g}" for name, value in corner.items())
                raise ContractError(f"at {shown}: {type(error).__name__}: {error}") from error

    def check_fresh_process(self) -> None:
        """The same observations from an interpreter of its own, which imports no network library or MLflow."""
        if not self._by_name:
            raise NotApplicableError("an instance was given; a name is needed to make it elsewhere")
        work = pickle.dumps((self.plugin, self.options, self.design, self.theta, _SEEDS[0]))
        paths = json.dumps([os.path.abspath(p) for p in sys.path])
        environment = {**os.environ, "PYTHONHASHSEED": "4321"}
        result = subprocess.run(
            [sys.executable, "-P", "-c", _FRESH, paths], input=work, capture_output=True, env=environment
        )
        require(result.returncode == 0, f"fails in a fresh process:\n{result.stderr.decode(errors='replace')[-2000:]}")
        observations, heavy = pickle.loads(result.stdout)
        require(not heavy, f"a worker would import {', '.join(heavy)}: hundreds of megabytes in every worker")
        _require_same(observations, self.observations, "another process gave other observations for the same seed")

    def _require_rule(self, name: str) -> None:
        carriers = chromosomes(self.design.samples)
        for index, (observation, template) in enumerate(zip(self.observations, self.design.templates, strict=True)):
            problem = simulation.RULES[name](observation, template.length, carriers)
            require(problem is None, f"template {index}: {problem}")


def in_fresh_process() -> None:
    """The other side of :meth:`SimulatorCase.check_fresh_process`: from standard input to standard output."""
    # What a simulator prints must not mix with the answer.
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    plugin, options, design, theta, seed = pickle.load(sys.stdin.buffer)
    simulator = plugins.load_simulator(plugin, options)
    observations = list(simulation.checked_observations(simulator, design, theta, seed, rules=False))
    with answer:
        pickle.dump((observations, [m for m in _HEAVY if m in sys.modules]), answer)


def example_design(individuals: Mapping[str, int]) -> Design:
    """Diploid ``individuals`` of each population, and three windows.

    They have two lengths, one is partly accessible, and along their maps the rate changes and is zero for a while.
    """
    samples = tuple(SampleSet(population, n) for population, n in individuals.items())
    templates = (
        WindowTemplate(20_000, recombination=_map(20_000)),
        WindowTemplate(10_000, np.array([[500, 4_000], [6_000, 10_000]]), _map(10_000)),
        WindowTemplate(20_000, recombination=_map(20_000)),
    )
    return Design(samples, templates)


def example_loci(individuals: Mapping[str, int], by_rate: bool = False) -> Design:
    """The same individuals, and two tables: one SNP a locus with every call there, and two with some calls missing.

    ``by_rate``: a third one, of loci of two lengths.
    """
    samples = tuple(SampleSet(population, n) for population, n in individuals.items())
    missing = np.zeros((12, sum(s.num_chromosomes for s in samples)), dtype=bool)
    missing[::3, :2] = True
    packed = np.packbits(missing, axis=1)
    templates = [
        LociTemplate(np.arange(20)),
        LociTemplate(np.repeat(np.arange(6), 2), packed, "by-length", SiteRule(folded=True)),
    ]
    if by_rate:
        lengths = np.array([500, 2_000] * 3)
        templates.append(LociTemplate(np.repeat(np.arange(6), 2), packed, "by-rate", SiteRule(folded=True), lengths))
    return Design(samples, tuple(templates), "loci")


def _map(length: int) -> RecombinationMap:
    positions = np.array([0.0, length / 4, length / 2, length])
    return RecombinationMap(positions, np.array([1e-8, 0.0, 3e-8]))


def _corners(parameters: Parameters, theta: Mapping[str, float]) -> Iterable[dict[str, float]]:
    """Each parameter at either bound, the others where they are, wherever the prior allows that."""
    for parameter in parameters:
        for value in (parameter.lower, parameter.upper):
            corner = {**theta, parameter.name: value}
            if parameters.possible(parameters.vector(corner))[0]:
                yield corner


def _same(a: list[Haplotypes], b: list[Haplotypes]) -> bool:
    return len(a) == len(b) and all(
        np.array_equal(x.genotypes, y.genotypes) and np.array_equal(x.positions, y.positions)
        for x, y in zip(a, b, strict=True)
    )


def _require_same(a: list[Haplotypes], b: list[Haplotypes], message: str) -> None:
    require(_same(a, b), message)
