"""Which scenario made the real windows: all were matched to them, now they are compared at their solutions.

Fresh proposals around each solution are simulated twice over. On the first ones networks learn to tell scenarios (and
parameters, and real windows) apart; the second ones trained nothing, and give the emulators and the evidence (see
:mod:`ganinfer.evidence`). The answer is calibrated on genomes as large as the real one: where it has few windows they
are simulated whole, else drawn from the second ones.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from ganinfer.contest import fresh, looking
from ganinfer.contest.fresh import WINDOWS, ContestSettings, Solution, columns, means
from ganinfer.contest.judging import Material, Outcome, judged
from ganinfer.evidence import Contender, look, noise_share
from ganinfer.execution import Executor
from ganinfer.inference import CLASSICAL, Problem
from ganinfer.simulation import encoding_specs

__all__ = ["ContestSettings", "Outcome", "Solution", "columns", "contest", "means"]


def contest(
    problems: Sequence[Problem],
    solutions: Sequence[Solution],
    weights: Sequence[float],
    settings: ContestSettings,
    executor: Executor,
    cache: Path,
    told: Callable[[str], None],
) -> Outcome:
    """Compare scenarios that were matched to the real windows; ``weights`` are their prior probabilities.

    ``problems`` differ in their scenarios only. ``cache``: a folder for the arrays that networks learn from, removed
    once they have; ``told`` hears what is being done.
    """
    first, sizes = problems[0], settings.proposals(problems)
    pairs = list(zip(problems, solutions, strict=True))
    told(f"Simulating {sizes['learn'] * WINDOWS:,} windows of each scenario to learn from")
    try:
        learn = [fresh.kept(p, fresh.proposed(p, s, "learn", sizes), executor, cache / p.scenario) for p, s in pairs]
        told("Training networks to tell the scenarios apart")
        networks, info = fresh.trained(problems, learn)
        seen = {"learn": [fresh.embedded(first, networks, part.arrays) for part in learn]}
        learnt = [part.theta for part in learn]
        del learn  # and with it the mapped files
    finally:
        shutil.rmtree(cache, ignore_errors=True)
    told(f"Simulating {sizes['judge'] * WINDOWS:,} windows of each scenario to judge by")
    proposed = [fresh.proposed(p, s, "judge", sizes) for p, s in pairs]
    seen["judge"] = [fresh.judging(p, theta, networks, executor) for (p, _), theta in zip(pairs, proposed, strict=True)]
    contenders = [
        Contender(p.scenario, p.parameters, s.posterior, *both)
        for (p, s), both in zip(pairs, zip(learnt, proposed, strict=True), strict=True)
    ]
    calibrating, tests = settings.simulated(len(first.observed))
    folds = [fresh.fold_of(first, len(theta)) for theta in learnt]
    # With more threads, sums in another order could let one direction more or less pass.
    with threadpool_limits(1, user_api="blas"):
        looked = [look(block, contenders) for block in looking.blocks(pairs, contenders, seen, folds, networks)]
    whole = []
    if size := calibrating + tests:
        told(f"Simulating {size:,} whole genomes of each scenario to calibrate and test on")
        whole = [fresh.whole(p, s, networks, looked, executor, size) for p, s in pairs]
    else:
        calibrating, tests = settings.genomes, settings.tests
    told("Comparing the scenarios")
    with threadpool_limits(1, user_api="blas"):
        everywhere = np.asarray(first.observed.arrays[CLASSICAL], dtype=float)
        kinds = encoding_specs(first.setup)[CLASSICAL].details["families"]
        share = noise_share(everywhere, first.observed.block, families=kinds)
        classical = [found[0] for found in seen["judge"]]
        material = Material(contenders, looked, classical, share, whole, calibrating, tests, first.seed)
        return judged(first, material, weights, networks, info)
