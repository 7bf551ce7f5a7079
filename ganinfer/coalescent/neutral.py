"""What the expected site frequency spectrum of a simulator on msprime follows from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ganinfer.interfaces import NeutralModel
from ganinfer.models import ModelError


def neutral_model(simulator: Any, theta: Mapping[str, float], values: Mapping[str, float]) -> NeutralModel:
    """Of a simulator with ``graph``, ``rates``, ``errors``, ``demes`` and ``ploidy`` at the complete ``values``.

    Raises :class:`ModelError` where its spectrum is not that of a neutral model of diploids.
    """
    if simulator.rates.mutation is None:
        raise ModelError(str(simulator.rates.missing))
    if simulator.ploidy != 2:
        raise ModelError(f"its sizes count individuals of {simulator.ploidy} chromosomes, a demes graph diploid ones")
    if simulator.errors.genotype_error != 0:
        raise ModelError("genotypes are wrong at a rate, which changes the spectrum")
    rate, misidentified = simulator.rates.at(values)["mutation_rate"], simulator.errors.at(values)[0]
    return NeutralModel(simulator.graph(theta), rate, simulator.demes, misidentified)
