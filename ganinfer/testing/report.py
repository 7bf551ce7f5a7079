"""Checks, what became of them, and the order they run in."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ganinfer import plugins


class ContractError(AssertionError):
    """A plugin does not do what its contract says."""


class NotApplicableError(Exception):
    """A check has nothing to look at; the message says why."""


def require(condition: object, message: str) -> None:
    """Raise :class:`ContractError` unless ``condition``; unlike ``assert`` it stays under ``python -O``."""
    if not condition:
        raise ContractError(message)


@dataclass(frozen=True)
class Check:
    """One clause of a contract; called, it raises what is wrong. Under pytest a check with nothing to look at skips."""

    name: str
    function: Callable[[], None]

    def __call__(self) -> None:
        try:
            self.function()
        except NotApplicableError as reason:
            if "pytest" not in sys.modules:
                raise
            import pytest

            pytest.skip(str(reason))


@dataclass(frozen=True)
class Outcome:
    """What became of one check."""

    name: str
    state: Literal["passed", "failed", "skipped"]
    message: str
    seconds: float


@dataclass(frozen=True)
class Report:
    """The outcomes of a contract's checks, in the order in which they ran."""

    title: str
    outcomes: tuple[Outcome, ...]

    @property
    def ok(self) -> bool:
        return not self.failed

    @property
    def failed(self) -> dict[str, str]:
        return {o.name: o.message for o in self.outcomes if o.state == "failed"}

    @property
    def skipped(self) -> dict[str, str]:
        return {o.name: o.message for o in self.outcomes if o.state == "skipped"}

    @property
    def passed(self) -> list[str]:
        return [o.name for o in self.outcomes if o.state == "passed"]

    def values(self) -> dict[str, Any]:
        """The report as JSON values: names of passed checks, messages of the others."""
        seconds = round(sum(o.seconds for o in self.outcomes), 2)
        return {
            "plugin": self.title,
            "passed": self.passed,
            "failed": self.failed,
            "skipped": self.skipped,
            "seconds": seconds,
        }

    def __str__(self) -> str:
        lines = [f"{o.state:8}{o.name}{': ' if o.message else ''}{o.message}" for o in self.outcomes]
        return "\n".join([self.title, *lines])


class Case:
    """A plugin with what its checks share. Subclasses have a method ``check_NAME`` for each clause, in order."""

    kind = ""
    #: Checks without which the others have nothing to try.
    needed: tuple[str, ...] = ("interface",)

    def __init__(self, plugin: Any, options: Mapping[str, Any] | None = None):
        self.plugin = plugin
        self._options = options

    @property
    def title(self) -> str:
        singular = "demography" if self.kind == "demographies" else self.kind.removesuffix("s")
        name = self.plugin if isinstance(self.plugin, str) else getattr(self.plugin, "__name__", self.plugin)
        if isinstance(name, Mapping):
            name = name.get("file", "")
        return f"{singular} {name if isinstance(name, str) else type(name).__name__}"

    def loaded(self) -> Any:
        """What the entry point names, or what was given instead of a name."""
        return plugins.load(self.kind, self.plugin) if isinstance(self.plugin, str) else self.plugin

    def checks(self) -> list[Check]:
        methods = [name for name in vars(type(self)) if name.startswith("check_")]
        return [Check(name.removeprefix("check_").replace("_", " "), getattr(self, name)) for name in methods]


def run(case: Case) -> Report:
    """Every check of a case. When one fails that the case says is ``needed``, those after it are not tried."""
    outcomes: list[Outcome] = []
    for check in case.checks():
        if any(o.state == "failed" and o.name in case.needed for o in outcomes):
            outcomes.append(Outcome(check.name, "skipped", "the plugin cannot be used at all", 0.0))
        else:
            outcomes.append(_outcome(check))
    return Report(case.title, tuple(outcomes))


def _outcome(check: Check) -> Outcome:
    start = time.perf_counter()
    state: Literal["passed", "failed", "skipped"] = "passed"
    message = ""
    try:
        check.function()
    except NotApplicableError as reason:
        state, message = "skipped", str(reason)
    except (ContractError, plugins.PluginError) as error:
        state, message = "failed", str(error)
    except (Exception, SystemExit) as error:
        state, message = "failed", f"{type(error).__name__}: {error}"
    return Outcome(check.name, state, message, time.perf_counter() - start)
