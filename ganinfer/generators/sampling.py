"""Particles: space-filling draws, tempering, resampling, and walkers (emcee) over an emulated posterior."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ganinfer.generators.emulator import Coordinates
from ganinfer.parameters import Parameters

#: The emulator is refitted and the cloud tempered at most so often within one round.
MAX_TEMPERINGS = 6


def space_filling(parameters: Parameters, rng: np.random.Generator, k: int) -> np.ndarray:
    """``k`` scrambled Sobol points (k, p) under the prior; impossible ones are left out and more are drawn."""
    from scipy.stats import qmc

    engine = qmc.Sobol(len(parameters), scramble=True, rng=rng)
    kept = np.empty((0, len(parameters)))
    for _ in range(60):
        size = int(np.ceil(np.log2(max(2 * (k - len(kept)), 2))))
        drawn = parameters.from_unit(
            np.clip(engine.random_base2(size) if not len(kept) else engine.random(2**size), 1e-9, 1 - 1e-9)
        )
        kept = np.concatenate([kept, drawn[parameters.possible(drawn)]])
        if len(kept) >= k:
            return kept[:k]
    return np.concatenate([kept, parameters.sample(rng, k - len(kept))])


def spread_choice(rng: np.random.Generator, size: int, k: int) -> np.ndarray:
    """``k`` indices below ``size``, each used as equally often as possible."""
    rounds = [rng.permutation(size) for _ in range(max(1, -(-k // size)))]
    return np.concatenate(rounds)[:k]


def normalised(log_weights: np.ndarray) -> np.ndarray:
    weights = np.exp(log_weights - log_weights.max())
    return weights / weights.sum()


def effective_size(log_weights: np.ndarray) -> float:
    return float(1.0 / (normalised(log_weights) ** 2).sum())


def largest_power(log_likelihood: np.ndarray, most: float, least_share: float) -> float:
    """The largest power up to ``most`` under which ``least_share`` of the particles stay effective (bisection)."""
    enough = least_share * len(log_likelihood)
    if effective_size(most * log_likelihood) >= enough:
        return most
    low, high = 0.0, most
    for _ in range(50):
        middle = 0.5 * (low + high)
        if effective_size(middle * log_likelihood) >= enough:
            low = middle
        else:
            high = middle
    return low


def systematic(rng: np.random.Generator, weights: np.ndarray, k: int) -> np.ndarray:
    """``k`` indices drawn in proportion to ``weights`` by systematic resampling."""
    places = (rng.random() + np.arange(k)) / k
    return np.minimum(np.searchsorted(np.cumsum(weights), places), len(weights) - 1)


def has_moved_far(before: np.ndarray, after: np.ndarray) -> bool:
    """Whether the cloud's centre moved by over half a standard deviation or shrank below a third along an axis."""
    return bool(
        np.abs(after.mean(axis=0) - before.mean(axis=0)).max() > 0.5
        or (after.std(axis=0) < before.std(axis=0) / 3).any()
    )


def walk(
    log_density: Callable[[np.ndarray], np.ndarray],
    start: np.ndarray,
    coordinates: Coordinates,
    rng: np.random.Generator,
    num_steps: int,
    keep: int = 1,
) -> np.ndarray:
    """Stretch and differential-evolution moves of an ensemble over ``log_density``, in ``coordinates``.

    ``start`` (k, p) natural units; repeated particles are jittered by a hundredth of the cloud. Returns the last
    ``keep`` ensembles, thinned to at most ten, as (draws, p) in natural units.

    Raises FloatingPointError where no walker has a density to start from, as one from too few proposals is.
    """
    import emcee

    x = coordinates.encode(start) + 0.01 * rng.standard_normal(start.shape)
    density = log_density(x)
    for _ in range(20):
        lost = ~np.isfinite(density)
        if lost.all():
            raise FloatingPointError("The emulated posterior has no density at any of the walkers.")
        if not lost.any():
            break
        x[lost] = x[rng.choice(np.flatnonzero(~lost), lost.sum())] + 0.03 * rng.standard_normal(
            (lost.sum(), x.shape[1])
        )
        density = log_density(x)
    finite = np.isfinite(density)
    x[~finite] = x[rng.choice(np.flatnonzero(finite), (~finite).sum())]
    moves = [(emcee.moves.StretchMove(), 0.5), (emcee.moves.DEMove(), 0.5)]
    sampler = emcee.EnsembleSampler(len(x), x.shape[1], log_density, vectorize=True, moves=moves)
    state = emcee.State(x, random_state=np.random.RandomState(int(rng.integers(2**32))).get_state())
    sampler.run_mcmc(state, num_steps, skip_initial_state_check=True)
    chain = sampler.get_chain()[-keep:]
    chain = chain[:: -max(len(chain) // 10, 1)][:10]
    return coordinates.decode(chain.reshape(-1, x.shape[1]))
