"""Seeds and random streams, keyed by purpose.

Every random number of a run comes from one run seed through a stream named for its use, so that adding a
consumer never shifts another one's numbers, and no stream depends on the order in which work is done.
"""

from __future__ import annotations

import hashlib

import numpy as np

# NumPy imports it when it is first used, and loses an interrupt that comes meanwhile: better here than half way.
import numpy.random

#: Seeds handed to simulators lie in [1, SEED_LIMIT), what msprime accepts.
SEED_LIMIT = 2**31


def _entropy(key: object) -> int:
    digest = hashlib.blake2b(f"{type(key).__name__}:{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def sequence(run_seed: int, *key: str | int) -> np.random.SeedSequence:
    """Seed sequence of the stream ``key`` of a run."""
    return np.random.SeedSequence([int(run_seed), *(_entropy(part) for part in key)])


def stream(run_seed: int, *key: str | int) -> np.random.Generator:
    """Generator of the stream ``key`` of a run; the same key gives the same numbers."""
    return np.random.Generator(np.random.PCG64(sequence(run_seed, *key)))


def simulator_seed(run_seed: int, *key: str | int) -> int:
    """An integer in [1, 2**31) for a simulator."""
    return 1 + int(sequence(run_seed, *key).generate_state(1, np.uint64)[0] % (SEED_LIMIT - 1))


def simulator_seeds(seed: int, num_seeds: int) -> np.ndarray:
    """``num_seeds`` integers in [1, 2**31) derived from one simulator seed, one a template."""
    state = np.random.SeedSequence(seed).generate_state(num_seeds, np.uint64)
    return (1 + state % np.uint64(SEED_LIMIT - 1)).astype(np.int64)
