"""Observations from msprime: windows and loci of one demography. msprime is imported where it is used."""

from ganinfer.coalescent.errors import Errors, read_errors, with_errors
from ganinfer.coalescent.loci import simulate_loci
from ganinfer.coalescent.memory import keep_freed_memory
from ganinfer.coalescent.neutral import neutral_model
from ganinfer.coalescent.rates import (
    MAP,
    MAX_MUTATION_RATE,
    MAX_RECOMBINATION_RATE,
    Rates,
    read_labels,
    read_ploidy,
    read_rates,
)
from ganinfer.coalescent.samples import sample_sets, sampling_problem
from ganinfer.coalescent.windows import simulate_windows

__all__ = [
    "MAP",
    "MAX_MUTATION_RATE",
    "MAX_RECOMBINATION_RATE",
    "Errors",
    "Rates",
    "keep_freed_memory",
    "neutral_model",
    "read_errors",
    "read_labels",
    "read_ploidy",
    "read_rates",
    "sample_sets",
    "sampling_problem",
    "simulate_loci",
    "simulate_windows",
    "with_errors",
]
