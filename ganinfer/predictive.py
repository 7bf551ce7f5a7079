"""What the fitted model predicts, beside what the genomes hold: the comparison that a report draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ganinfer import randomness
from ganinfer.execution import Executor
from ganinfer.haplotypes import chromosomes
from ganinfer.inference import Problem, tasks
from ganinfer.simulation import encoding_specs, simulate_counted
from ganinfer.statistics import LD_EDGES, joint_spectra

_WINDOWS = 16
_MOST_WINDOWS = 3_200
#: Proposals where real windows are few, and how many windows on both sides together allow fewer.
_ENOUGH_PROPOSALS, _ENOUGH_PAIRS = 100, 10_000
#: What fewer blocks of real windows hold anything of has its standard error from simulated windows too, which weigh
#: as much as so many blocks.
_FEW_BLOCKS = 30


@dataclass(frozen=True, eq=False)
class Fit:
    """Real and predicted statistics: ``arrays`` by name and JSON ``values`` that describe them.

    ``real_mean``, ``real_se``, ``simulated_mean``, ``simulated_se`` (d,) classical statistics, ``names`` theirs; joint
    spectra ``sfs_real`` and ``sfs_simulated``, mean sites a window by allele count, with suffix ``_A_B`` for every pair
    of three or more populations, of all sites, however many the arrays hold; ``ld_distance`` (bins,) base pairs and
    ``ld_real_POP``, ``ld_simulated_POP`` r2.
    """

    arrays: dict[str, np.ndarray]
    values: dict[str, Any]


def predict(problem: Problem, posterior: np.ndarray, executor: Executor) -> Fit:
    """Simulate fresh windows at posterior draws and compare them with the real ones."""
    num_proposals = _num_proposals(len(problem.observed))
    rng = randomness.stream(problem.seed, "predictive")
    theta = posterior[rng.choice(len(posterior), num_proposals, replace=len(posterior) < num_proposals)]
    names = classical_names(problem)
    carriers = chromosomes(problem.setup.samples)
    totals = problem.observed.spectra
    simulated, spectra = [], {key: np.zeros_like(total) for key, total in totals.items()}
    for encoded, counts in simulate_counted(tasks(problem, theta, _WINDOWS, "predictive"), executor):
        simulated.append(encoded["classical"] if "classical" in encoded else np.empty((_WINDOWS, 0)))
        for key, sites in joint_spectra(*counts, carriers).items():
            spectra[key] += sites
    arrays = problem.observed.arrays
    real = np.asarray(arrays["classical"]) if "classical" in arrays else np.empty((len(problem.observed), 0))
    compared = _compared(real, problem.observed.block, np.stack(simulated))
    for key, total in totals.items():
        compared[f"sfs_real{key}"] = total / len(real)
        compared[f"sfs_simulated{key}"] = spectra[key] / (num_proposals * _WINDOWS)
    if names:
        compared |= _linkage(compared, names, carriers.populations, problem.setup.length)
    values = {
        "names": names,
        "populations": list(carriers.populations),
        "folded": problem.setup.pipeline.folded,
        "num_simulated": num_proposals * _WINDOWS,
    }
    return Fit(compared, values)


def _num_proposals(num_real: int) -> int:
    """As many windows as there are real ones, up to 3,200, but where these are few up to a hundred proposals.

    The simulations' own error is that of means over proposals: of a few it is not known.
    """
    as_many = min(num_real, _MOST_WINDOWS) // _WINDOWS
    return max(as_many, min(_ENOUGH_PROPOSALS, _ENOUGH_PAIRS // num_real))


def block_standard_error(values: np.ndarray, block: np.ndarray) -> np.ndarray:
    """Standard error (d,) of the mean of ``values`` (n, d), blocks taken as independent."""
    names, index = np.unique(block, return_inverse=True)
    centred = values - values.mean(axis=0)
    sums = np.stack([np.bincount(index, column, minlength=len(names)) for column in centred.T], axis=1)
    correction = len(names) / max(len(names) - 1, 1)
    return np.sqrt((sums**2).sum(axis=0) * correction) / len(values)


def _compared(real: np.ndarray, block: np.ndarray, simulated: np.ndarray) -> dict[str, np.ndarray]:
    """Means and standard errors; ``simulated`` (proposals, windows, d), proposals taken as independent."""
    by_proposal = simulated.mean(axis=1, dtype=float)
    if real.shape[1] == 0:
        return {}
    return {
        "real_mean": real.mean(axis=0, dtype=float),
        "real_se": _real_standard_error(real.astype(float), block, simulated.astype(float)),
        "simulated_mean": by_proposal.mean(axis=0, dtype=float),
        "simulated_se": by_proposal.std(axis=0, dtype=float) / np.sqrt(max(len(by_proposal) - 1, 1)),
    }


def _real_standard_error(real: np.ndarray, block: np.ndarray, simulated: np.ndarray) -> np.ndarray:
    """Standard error (d,) of the real means; of statistics that few blocks hold anything of, pooled with the model's.

    A bin in which no real window has a site would have none, whatever is expected there.
    """
    own = block_standard_error(real, block)
    independent = block_standard_error(real, np.arange(len(real)))
    known = independent > 0
    # Simulated windows are not linked: what linkage does to the real means is taken from all statistics together.
    linkage = max(1.0, float(np.median((own[known] / independent[known]) ** 2))) if known.any() else 1.0
    modelled = linkage * simulated.var(axis=1, ddof=1).mean(axis=0) / len(real)
    names, index = np.unique(block, return_inverse=True)
    held = np.array([len(np.unique(index[column != 0])) for column in real.T])
    freedom = len(names) - 1
    pooled = np.sqrt((freedom * own**2 + _FEW_BLOCKS * modelled) / (freedom + _FEW_BLOCKS))
    return np.where(held < _FEW_BLOCKS, pooled, own)


def classical_names(problem: Problem) -> list[str]:
    spec = encoding_specs(problem.setup).get("classical")
    return [] if spec is None else list(spec.details["names"])


def _linkage(
    compared: Mapping[str, np.ndarray], names: list[str], populations: tuple[str, ...], length: int
) -> dict[str, np.ndarray]:
    edges = np.array([0.0, *LD_EDGES]) * length
    out = {"ld_distance": 0.5 * (edges[:-1] + edges[1:])}
    for population in populations:
        index = [i for i, name in enumerate(names) if name.startswith(f"r2 {population},")]
        out[f"ld_real_{population}"] = compared["real_mean"][index]
        out[f"ld_simulated_{population}"] = compared["simulated_mean"][index]
    return out
