"""Errors of reading that nobody knows the size of: wrong ancestral alleles, wrong genotypes.

Each is a share, a number or the name of a parameter, so that a prior on it is integrated over like any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ganinfer import randomness
from ganinfer.coalescent.rates import option_range
from ganinfer.haplotypes import Haplotypes, SampleSet, from_tree_sequence
from ganinfer.models import ModelError, finite_number
from ganinfer.parameters import Parameters

#: Above it, the other allele would be the right one more often.
_MOST = 0.5


@dataclass(frozen=True)
class Errors:
    """Shares from 0 to a half: of sites that have their alleles the wrong way round, and of wrong genotypes.

    ``misidentified``: sites whose derived allele is taken for the ancestral one. ``genotype_error``: genotypes of
    individuals, at variable sites, that have one allele called wrongly.
    """

    misidentified: float | str = 0.0
    genotype_error: float | str = 0.0

    def _options(self) -> dict[str, float | str]:
        return {"misidentified": self.misidentified, "genotype_error": self.genotype_error}

    @property
    def names(self) -> tuple[str, ...]:
        """Parameters that are shares of errors."""
        return tuple(value for value in self._options().values() if isinstance(value, str))

    @property
    def any(self) -> bool:
        return any(value != 0 for value in self._options().values())

    @property
    def why_no_loci(self) -> str | None:
        """Why SNPs given to vary can't have them, as a sentence."""
        if not self.any:
            return None
        told = " and ".join(key for key, value in self._options().items() if value != 0)
        return f"{told}: errors are put on windows, not on SNPs that are given to vary"

    def check(self, parameters: Parameters, fixed: Mapping[str, float]) -> None:
        """Raise :class:`ModelError` unless each is a share, or a parameter whose bounds are shares."""
        ranges = {p.name: (p.lower, p.upper) for p in parameters} | {name: (v, v) for name, v in fixed.items()}
        for option, value in self._options().items():
            low, high = option_range(option, value, ranges)
            if low < 0 or high > _MOST:
                raise ModelError(f"{option} is a share from 0 to {_MOST:g}; got {low:g} to {high:g}")

    def at(self, values: Mapping[str, float]) -> tuple[float, float]:
        """Both shares at the values of all parameters."""
        found = [values[v] if isinstance(v, str) else v for v in self._options().values()]
        return found[0], found[1]

    def put_on(
        self,
        observations: Iterable[Any],
        samples: tuple[SampleSet, ...],
        values: Mapping[str, float],
        seed: int,
    ) -> Iterator[Any]:
        """The observations of a design with ``samples``; without errors they pass as they are."""
        if not self.any:
            yield from observations
            return
        misidentified, genotype_error = self.at(values)
        rng = randomness.stream(seed, "errors")
        for observation in observations:
            haplotypes = observation
            if not isinstance(observation, Haplotypes):
                haplotypes = from_tree_sequence(observation, samples)
            yield with_errors(haplotypes, misidentified, genotype_error, rng)


def read_errors(misidentified: Any, genotype_error: Any) -> Errors:
    """The two options of a scenario, each a number or a name; :meth:`Errors.check` says if it is known."""
    for option, value in (("misidentified", misidentified), ("genotype_error", genotype_error)):
        if not isinstance(value, str):
            finite_number(value, option)
    return Errors(misidentified, genotype_error)


def with_errors(
    haplotypes: Haplotypes, misidentified: float, genotype_error: float, rng: np.random.Generator
) -> Haplotypes:
    """The sites with errors: alleles 0 and 1 swapped in some, and in some genotypes one allele the other one.

    Errors make no site variable that was not. Alleles above 1 stay.
    """
    genotypes, carriers = haplotypes.genotypes.copy(), haplotypes.carriers
    turned = rng.random(len(genotypes)) < misidentified
    if turned.any():
        genotypes[turned] = _other(genotypes[turned])
    if genotype_error > 0:
        # Which genotypes are wrong is drawn by their number: it is far smaller than that of all.
        num_individuals = len(carriers.first)
        number = rng.binomial(len(genotypes) * num_individuals, genotype_error)
        wrong = rng.choice(len(genotypes) * num_individuals, number, replace=False)
        site, individual = np.divmod(wrong, num_individuals)
        column = carriers.first[individual] + (rng.random(number) * carriers.ploidy[individual]).astype(np.int64)
        genotypes[site, column] = _other(genotypes[site, column])
    return replace(haplotypes, genotypes=genotypes)


def _other(alleles: np.ndarray) -> np.ndarray:
    return np.where((alleles == 0) | (alleles == 1), 1 - alleles, alleles).astype(alleles.dtype)
