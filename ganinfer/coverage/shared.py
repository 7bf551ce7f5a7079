"""Data sets inferred with the simulations of one run, by one more step of its generator that sees them as real.

Its networks are frozen and its proposals lie around its solution, and so do the truths. Data sets are simulated anew,
so none of them is part of what it is inferred with.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from threadpoolctl import threadpool_limits

from ganinfer import randomness
from ganinfer.coverage.bootstrap import DataSet
from ganinfer.inference import InferenceState, Problem, fold_results
from ganinfer.interfaces import RoundResult
from ganinfer.training import embed


def seen_by(problem: Problem, state: InferenceState, data: DataSet) -> tuple[Problem, InferenceState]:
    """The same problem and state with a data set in the place of the real one, its windows in the same folds."""
    observed, arrays = replace(problem.observed, arrays=data.arrays, spectra=data.spectra), data.arrays
    embedding = np.empty((len(observed), state.networks[0].width), dtype=np.float32)
    logits = np.empty(len(observed), dtype=np.float32)
    for network in state.networks:
        mine = observed.fold == network.fold
        embedding[mine], logits[mine] = embed(network, {name: arrays[name][mine] for name in network.names})
    return replace(problem, observed=observed), replace(state, real_embedding=embedding, real_logits=logits)


def inferred(problem: Problem, state: InferenceState, number: int) -> tuple[np.ndarray, dict[str, float]]:
    """Draws (n, p) of the posterior of the windows of ``problem``, and the generator's metrics.

    The step is seeded by the data set's ``number``. What the generator warns of is left out: it compares this data set
    with the one before, which was another. Raises ``ValueError`` where the generator gives no posterior.
    """
    rng = randomness.stream(problem.seed, "coverage", problem.scenario, number)
    with threadpool_limits(1, user_api="blas"):
        _, info = problem.generator.step(
            state.generator, RoundResult(state.index - 1, fold_results(problem, state)), rng
        )
    if info.posterior is None:
        raise ValueError(
            f"generator {type(problem.generator).__name__} gives no posterior whose coverage could be found"
        )
    return info.posterior, dict(info.metrics)
