"""Our simulators against theory, and against msprime called directly.

    python -m tests.verification.theory

One population of constant size, and two that split, as the ``demes`` simulator makes them, through our own conversion
of tree sequences. *Theory*: diversity 4 N mu, segregating sites (Watterson 1975, doi:10.1016/0040-5809(75)90020-9),
the site frequency spectrum theta / i (Fu 1995, doi:10.1006/tpbi.1995.1025), the ratio E[D2] / E[p (1 - p) q (1 - q)]
= (10 + rho) / (22 + 13 rho + rho2) (Ohta and Kimura 1971, doi:10.1093/genetics/68.4.571), Hudson's Fst = T / (T + 2
N). *Directly*: the same statistics of windows that msprime makes of the same model without us.

Each statistic is compared by its mean over windows, in standard errors; all lie within :data:`LIMIT`. How large an
error these would notice is then shown by faults planted in what five of them expect: each is of a size that is found
with probability .95 at least, by the standard errors, and is found. Seeds are fixed. What was found stands in
docs/verification/theory.json.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import msprime
import numpy as np

from ganinfer import experiment
from ganinfer.haplotypes import Haplotypes, SampleSet, from_tree_sequence
from ganinfer.interfaces import Design, WindowTemplate
from tests.verification import records

RECORD = records.FOLDER / "theory.json"
EXPERIMENTS = records.ROOT / "experiments"
#: Standard errors that a mean may be off; of some forty statistics one in 400 sets has one beyond by chance.
LIMIT = 4.0
#: Quantile by which a fault has to lie beyond the limit to be found in 95 of 100.
_SURE = 1.645
NUM_WINDOWS, LENGTH, INDIVIDUALS = 6_000, 20_000, 10
SIZE, RATE, SPLIT = 10_000.0, 1.25e-8, 4_000.0
#: Pairs of sites so far apart, in bases, are taken together.
_DISTANCES = ((0, 500), (500, 2_000), (2_000, 8_000))


@dataclass(frozen=True)
class Found:
    """A statistic by windows (n,), what it is expected to be, and the standard error of the latter."""

    name: str
    values: np.ndarray
    expected: float
    expected_error: float = 0.0

    @property
    def error(self) -> float:
        own = self.values.std(ddof=1) / np.sqrt(len(self.values))
        return float(np.hypot(own, self.expected_error))

    @property
    def z(self) -> float:
        return float((self.values.mean() - self.expected) / max(self.error, 1e-300))


def windows(name: str, theta: dict[str, float], samples: tuple[SampleSet, ...], seed: int) -> Iterator[Haplotypes]:
    """What the simulator of a shipped experiment yields."""
    told = experiment.load(EXPERIMENTS / f"{name}.yaml")
    simulator = experiment.simulator(told, next(iter(told.scenarios)))
    design = Design(samples, (WindowTemplate(LENGTH),) * NUM_WINDOWS)
    for trees in simulator.simulate(theta, design, seed):
        yield from_tree_sequence(trees, samples)


def one(seed: int) -> list[Found]:
    """One population of constant size, against theory."""
    samples = (SampleSet("A", INDIVIDUALS),)
    n, theta = 2 * INDIVIDUALS, 4 * SIZE * RATE * LENGTH
    counts, ld = [], []
    for window in windows("const", {"Ne": SIZE}, samples, seed):
        derived = (window.genotypes != 0).sum(axis=1)
        counts.append(np.bincount(derived, minlength=n + 1)[1:n])
        ld.append(linkage(window))
    spectrum = np.array(counts, dtype=float)
    i = np.arange(1, n)
    pairs = i * (n - i) / (n * (n - 1) / 2)
    found = [
        Found("diversity", spectrum @ pairs, theta),
        Found("segregating sites", spectrum.sum(axis=1), theta * (1 / i).sum()),
    ]
    found += [Found(f"sites with {k} derived alleles", spectrum[:, k - 1], theta / k) for k in i]
    return found + _of_linkage(np.array(ld))


def _of_linkage(sums: np.ndarray) -> list[Found]:
    """(windows, distances, 3) sums of D2, of p (1 - p) q (1 - q), and of the latter times its expected share."""
    found = []
    for k, (low, high) in enumerate(_DISTANCES):
        total = sums[:, k].mean(axis=0)
        expected = total[2] / total[1]
        # A ratio of means, linearised window by window.
        values = expected + (sums[:, k, 0] - expected * sums[:, k, 1]) / total[1]
        found.append(Found(f"linkage, {low} to {high} bases", values, expected))
    return found


_PRODUCTS = list(product((0, 1), (2, 3), (0, 2), (1, 3)))


def linkage(window: Haplotypes) -> np.ndarray:
    """(distances, 3) of a window's pairs of biallelic sites; unbiased (Ragsdale and Gravel 2019,
    doi:10.1093/molbev/msz265).
    """
    out = np.zeros((len(_DISTANCES), 3))
    genotypes = window.genotypes[window.genotypes.max(axis=1) == 1].astype(float)
    positions = window.positions[window.genotypes.max(axis=1) == 1]
    if len(genotypes) < 2:
        return out
    n = genotypes.shape[1]
    a, b = np.triu_indices(len(genotypes), 1)
    both = (genotypes @ genotypes.T)[a, b]
    first, second = genotypes.sum(axis=1)[a], genotypes.sum(axis=1)[b]
    cells = np.stack([both, first - both, second - both, n - first - second + both])
    whole = n * (n - 1) * (n - 2) * (n - 3)
    n1, n2, n3, n4 = cells
    square = (n1 * (n1 - 1) * n4 * (n4 - 1) + n2 * (n2 - 1) * n3 * (n3 - 1) - 2 * n1 * n2 * n3 * n4) / whole
    heterozygous = sum(_falling(cells, chosen) for chosen in _PRODUCTS) / whole
    distance = positions[b] - positions[a]
    rho = 4 * SIZE * RATE * distance
    share = (10 + rho) / (22 + 13 * rho + rho**2)
    for k, (low, high) in enumerate(_DISTANCES):
        near = (distance > low) & (distance <= high)
        out[k] = square[near].sum(), heterozygous[near].sum(), (heterozygous * share)[near].sum()
    return out


def _falling(cells: np.ndarray, chosen: tuple[int, ...]) -> np.ndarray:
    """Product of the chosen cells, drawn without replacement."""
    out = np.ones(cells.shape[1])
    for kind in set(chosen):
        for step in range(chosen.count(kind)):
            out *= cells[kind] - step
    return out


def _differentiation(window: Haplotypes) -> np.ndarray:
    """(2,): differences within populations, averaged, and between them."""
    first, second = ((window.genotypes[:, columns] != 0).sum(axis=1) for columns in window.carriers.columns)
    n, m = window.carriers.sizes
    within = (first * (n - first) / (n * (n - 1) / 2) + second * (m - second) / (m * (m - 1) / 2)).sum() / 2
    between = (first * (m - second) + second * (n - first)).sum() / (n * m)
    return np.array([within, between])


def two(seed: int) -> list[Found]:
    """Two populations that split, against theory."""
    theta = {"N1": SIZE, "N2": SIZE, "N_anc": SIZE, "T_split": SPLIT}
    samples = (SampleSet("A", INDIVIDUALS), SampleSet("B", INDIVIDUALS))
    sums = np.array([_differentiation(w) for w in windows("contact", theta, samples, seed)])
    expected = SPLIT / (SPLIT + 2 * SIZE)
    within, between = sums.mean(axis=0)
    # Linearised window by window, as the ratio of linkage is.
    linear = 1 - within / between - (sums[:, 0] - within) / between + within * (sums[:, 1] - between) / between**2
    return [
        Found("Fst", linear, expected),
        Found("differences between populations", sums[:, 1], 2 * RATE * LENGTH * (SPLIT + 2 * SIZE)),
    ]


IM = {"N1": 9_000.0, "N2": 5_000.0, "N_anc": 15_000.0, "T_split": 2_000.0, "pulse": 0.05}


def directly(seed: int) -> list[Found]:
    """``im`` against msprime called without us."""
    samples = (SampleSet("A", INDIVIDUALS), SampleSet("B", INDIVIDUALS))
    ours = np.array([_summary(w) for w in windows("im", IM, samples, seed)])
    demography = msprime.Demography()
    for name, size in (("A", IM["N1"]), ("B", IM["N2"]), ("ancestral", IM["N_anc"])):
        demography.add_population(name=name, initial_size=size)
    demography.add_mass_migration(time=IM["T_split"] / 2, source="B", dest="A", proportion=IM["pulse"])
    demography.add_population_split(time=IM["T_split"], derived=["A", "B"], ancestral="ancestral")
    replicates = msprime.sim_ancestry(
        {"A": INDIVIDUALS, "B": INDIVIDUALS},
        demography=demography,
        sequence_length=LENGTH,
        recombination_rate=RATE,
        num_replicates=NUM_WINDOWS,
        random_seed=seed + 1,
    )
    theirs = np.array(
        [
            _summary(from_tree_sequence(msprime.sim_mutations(t, rate=RATE, random_seed=seed + 2 + i), samples))
            for i, t in enumerate(replicates)
        ]
    )
    error = theirs.std(axis=0, ddof=1) / np.sqrt(len(theirs))
    return [
        Found(f"im directly: {name}", ours[:, k], float(theirs[:, k].mean()), float(error[k]))
        for k, name in enumerate(_SUMMARY)
    ]


_SUMMARY = ("within", "between", "sites", "singletons", "shared", "linkage", "haplotypes")


def _summary(window: Haplotypes) -> list[float]:
    first, second = ((window.genotypes[:, columns] != 0).sum(axis=1) for columns in window.carriers.columns)
    within, between = _differentiation(window)
    total = first + second
    shared = ((first > 0) & (second > 0)).sum()
    ld = linkage(window)
    distinct = len(np.unique(window.genotypes.T, axis=0))
    return [within, between, len(total), (total == 1).sum(), shared, ld[:, 0].sum(), distinct]


#: What is planted in the expectation of a check, and the statistic that must find it.
FAULTS: dict[str, tuple[str, Callable[[float], float], float]] = {
    "a mutation rate 3 % too high": ("segregating sites", lambda e: 1.03 * e, 0.03),
    "a size 5 % too small": ("diversity", lambda e: 0.95 * e, 0.05),
    "a tenth more singletons": ("sites with 1 derived alleles", lambda e: 1.1 * e, 0.1),
    "recombination a third too high": ("linkage, 2000 to 8000 bases", lambda e: e * _thirds(), 1 / 3),
    "a split a tenth too early": ("Fst", lambda e: 1.1 * SPLIT / (1.1 * SPLIT + 2 * SIZE), 0.1),
}


def _thirds() -> float:
    """What a rate a third higher does to linkage, at the middle of the last distances."""
    rho = 4 * SIZE * RATE * np.linspace(*_DISTANCES[-1], 50)
    share = [((10 + r) / (22 + 13 * r + r**2)).mean() for r in (rho, rho * 4 / 3)]
    return float(share[1] / share[0])


def run() -> dict[str, object]:
    found = [*one(11), *two(12), *directly(13)]
    by_name = {f.name: f for f in found}
    planted = {}
    for name, (statistic, wrong, size) in FAULTS.items():
        f = by_name[statistic]
        effect = abs(wrong(f.expected) - f.expected) / f.error
        z = (f.values.mean() - wrong(f.expected)) / f.error
        planted[name] = {
            "share": size,
            "seen in": statistic,
            "standard errors": float(effect),
            "powerful": bool(effect > LIMIT + _SURE),
            "z": float(z),
            "found": bool(abs(z) > LIMIT),
        }
    rows = {f.name: {"mean": float(f.values.mean()), "expected": f.expected, "z": f.z} for f in found}
    passed = all(abs(f.z) <= LIMIT for f in found) and all(p["found"] and p["powerful"] for p in planted.values())
    return {
        "schema_version": records.SCHEMA_VERSION,
        "windows": NUM_WINDOWS,
        "statistics": rows,
        "planted": planted,
        "versions": {"msprime": msprime.__version__, "numpy": np.__version__},
        "passed": passed,
    }


def main(path: Path = RECORD) -> None:
    found = run()
    records.write(path, json.dumps(found, indent=1) + "\n")
    for name, row in found["statistics"].items():  # type: ignore[attr-defined]
        print(f"{name}: {row['mean']:.5g}, expected {row['expected']:.5g}, z {row['z']:+.2f}")
    for name, row in found["planted"].items():  # type: ignore[attr-defined]
        print(f"planted: {name}: {row['standard errors']:.1f} standard errors, found: {row['found']}")
    raise SystemExit(0 if found["passed"] else 1)


if __name__ == "__main__":
    main()
