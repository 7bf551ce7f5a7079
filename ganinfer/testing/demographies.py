"""The contract of a demography: a function from named parameters to an ``msprime.Demography``."""

from __future__ import annotations

import inspect

from ganinfer.testing.report import Case, require


class DemographyCase(Case):
    """What can be said of a demography without knowing what its parameters mean."""

    kind = "demographies"

    def check_interface(self) -> None:
        require(callable(self.loaded()), "a demography is a function of named parameters")

    def check_named_parameters(self) -> None:
        for parameter in inspect.signature(self.loaded()).parameters.values():
            named = parameter.kind not in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL)
            require(named, f"parameter {parameter.name!r} cannot be given by name")
