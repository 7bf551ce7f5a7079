"""The contracts of plugins as checks: for ``ganinfer plugins check``, for our own tests, and for the tests of plugins.

Without pytest::

    report = testing.check_simulator("my-simulator", {"depth": 3})
    print(report)

and with it, one test a check::

    @testing.parametrize("simulators", "my-simulator", {"depth": 3})
    def test_contract(check):
        check()
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ganinfer.interfaces import Design
from ganinfer.testing.demographies import DemographyCase
from ganinfer.testing.discriminators import DiscriminatorCase
from ganinfer.testing.generators import GeneratorCase
from ganinfer.testing.report import Case, Check, Outcome, Report, run
from ganinfer.testing.simulators import SimulatorCase, example_design

__all__ = [
    "Check", "Outcome", "Report", "check_discriminator", "check_generator", "check_plugin", "check_simulator", "checks",
    "example_design", "parametrize",
]  # fmt: skip

CASES: Mapping[str, type[Case]] = {
    "simulators": SimulatorCase,
    "discriminators": DiscriminatorCase,
    "generators": GeneratorCase,
    "demographies": DemographyCase,
}


def check_simulator(
    simulator: Any,
    options: Mapping[str, Any] | None = None,
    *,
    design: Design | None = None,
    theta: Mapping[str, float] | None = None,
) -> Report:
    """Check a simulator: a plugin's name, ``{"file", "class", "text"}``, or an instance (``options`` is then unused).

    ``options``, and the populations of ``design``, default to what the simulator's class says in ``example``:
    ``{"options": {...}, "samples": {population: individuals}}``; ``theta`` to the middle of the prior.
    """
    return run(SimulatorCase(simulator, options, design=design, theta=theta))


def check_discriminator(discriminator: Any, options: Mapping[str, Any] | None = None) -> Report:
    """Check a discriminator: a plugin's name, or a module or other object with a function ``build``."""
    return run(DiscriminatorCase(discriminator, options))


def check_generator(generator: Any, options: Mapping[str, Any] | None = None) -> Report:
    """Check a generator: a plugin's name or a class."""
    return run(GeneratorCase(generator, options))


def check_plugin(kind: str, plugin: Any, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Check a plugin of any kind; the report as JSON values (see :meth:`Report.values`)."""
    return run(CASES[kind](plugin, options)).values()


def checks(kind: str, plugin: Any, options: Mapping[str, Any] | None = None, **settings: Any) -> list[Check]:
    """The checks of a contract, to be called one by one; each raises an error that says what is wrong."""
    return CASES[kind](plugin, options, **settings).checks()


def parametrize(kind: str, plugin: Any, options: Mapping[str, Any] | None = None, **settings: Any) -> Any:
    """A pytest mark that gives a test function its argument ``check``, once for each check of the contract."""
    import pytest

    found = checks(kind, plugin, options, **settings)
    return pytest.mark.parametrize("check", [pytest.param(check, id=check.name.replace(" ", "-")) for check in found])
