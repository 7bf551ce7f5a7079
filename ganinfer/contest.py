"""Which scenario made the real windows: all were matched to them, now they are compared at their solutions.

Fresh proposals around each solution are simulated twice over. On the first ones networks learn to tell scenarios (and
parameters, and real windows) apart; the second ones trained nothing, and give the emulators, the evidence and the
genomes that the answer is calibrated on (see :mod:`ganinfer.evidence`).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import logsumexp
from threadpoolctl import threadpool_limits

from ganinfer import calibration, randomness
from ganinfer.adequacy import Reference, Verdict
from ganinfer.evidence import (
    JUDGE,
    LEARN,
    Block,
    Contender,
    Evidence,
    Genomes,
    Likelihood,
    LocalMean,
    Looked,
    dispersion,
    evidence,
    genomes,
    judging_windows,
    look,
    noise_share,
    widened,
)
from ganinfer.execution import Executor
from ganinfer.generators import misfit
from ganinfer.generators.emulator import within_covariance
from ganinfer.generators.local import score_axes
from ganinfer.generators.pools import Pool
from ganinfer.inference import CLASSICAL, Problem, tasks
from ganinfer.observed import on_disk
from ganinfer.simulation import encoding_specs, simulate
from ganinfer.training import Stacked, TrainingInfo, Windows, contending, embed

#: Windows of each fresh proposal.
_WINDOWS = 16
#: Proposals whose windows are embedded together.
_TOGETHER = 32
#: Real windows whose arrays are in memory at once.
_PIECE = 4_096
#: Draws of each scenario's posterior under which genomes are judged.
_PARTICLES = 400
#: Logits beyond this many are far apart, and far apart is the same as very far apart.
_SOFT = 6.0


@dataclass(frozen=True)
class ContestSettings:
    """``windows``: fresh ones of each scenario to judge by, ``None`` for as many as the real ones need; ``genomes``
    drawn of each scenario to calibrate on, and ``tests`` more to test on.
    """

    windows: int | None = None
    genomes: int = 1_000
    tests: int = 200

    def proposals(self, problems: Sequence[Problem]) -> dict[str, int]:
        """Proposals of each scenario by what they are for."""
        judge = self.windows or judging_windows(len(problems[0].observed))
        learn = problems[0].network.settings.windows // len(problems)
        return {"learn": max(learn // _WINDOWS, 1), "judge": max(judge // _WINDOWS, 1)}


@dataclass(frozen=True, eq=False)
class Solution:
    """How a scenario was matched: ``posterior`` (n, p) draws, and the windows of all its rounds.

    ``theta`` (k, p) proposals; ``proposal`` (m,) index into them and classical ``statistics`` (m, d) of windows.
    """

    posterior: np.ndarray
    theta: np.ndarray
    proposal: np.ndarray
    statistics: np.ndarray


@dataclass(frozen=True, eq=False)
class Judges:
    """What says how probable scenarios are: their likelihoods, and the draws that genomes are judged under."""

    contenders: tuple[Contender, ...]
    looked: tuple[Looked, ...]
    likelihoods: tuple[Likelihood, ...]
    particles: tuple[np.ndarray, ...]

    @property
    def real(self) -> np.ndarray:
        """(J,) the real means along the directions."""
        return np.concatenate([part.real for part in self.looked])

    def means(self, found: Sequence[np.ndarray]) -> np.ndarray:
        """(J,) means along the directions of windows' :func:`columns`, a block each."""
        pairs = zip(self.looked, found, strict=True)
        return np.concatenate([part.directions(values).mean(axis=0) for part, values in pairs])

    def logits(self, means: np.ndarray) -> np.ndarray:
        """(n, scenarios) log evidence of ``means`` (n, J), each scenario's posterior standing in for its prior."""
        columns = [
            logsumexp(likelihood(means, x), axis=1) - np.log(len(x))
            for likelihood, x in zip(self.likelihoods, self.particles, strict=True)
        ]
        return np.stack(columns, axis=1)

    def guide(self, scenario: int, means: np.ndarray) -> np.ndarray:
        """(n, g) what a scenario's emulator makes of ``means``, and how the scenarios compare."""
        logits = self.logits(means)
        centred = logits - logits.mean(axis=1, keepdims=True)
        return np.concatenate(
            [self.likelihoods[scenario].estimate(means), 3 * np.tanh(centred[:, :-1] / _SOFT)], axis=1
        )


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a contest found.

    ``evidence`` and ``verdicts`` by scenario; ``calibration``; ``probabilities`` (scenarios,) of the real windows;
    ``tests``: probabilities (n, scenarios) and true ``scenario`` (n,) of genomes that nothing was fitted on, by method;
    ``genomes`` (a scenario each) that it was calibrated on; ``dispersion``: how much further than noise even the
    closest scenario lies from the real means; ``networks``, one a fold, and their ``training``.
    """

    evidence: list[Evidence]
    verdicts: list[Verdict]
    calibration: calibration.Calibration
    probabilities: np.ndarray
    tests: Mapping[str, tuple[np.ndarray, np.ndarray]]
    genomes: list[Genomes]
    judges: Judges
    classical: np.ndarray
    dispersion: float
    networks: list[contending.ContendingNetwork]
    training: TrainingInfo
    num_windows: int


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
    told(f"Simulating {sizes['learn'] * _WINDOWS:,} windows of each scenario to learn from")
    try:
        learn = [_kept(p, _proposed(p, s, "learn", sizes), executor, cache / p.scenario) for p, s in pairs]
        told("Training networks to tell the scenarios apart")
        networks, info = _trained(problems, learn)
        seen = {"learn": [_columns(first, networks, part.arrays) for part in learn]}
        learnt = [part.theta for part in learn]
        del learn  # and with it the mapped files
    finally:
        shutil.rmtree(cache, ignore_errors=True)
    told(f"Simulating {sizes['judge'] * _WINDOWS:,} windows of each scenario to judge by")
    proposed = [_proposed(p, s, "judge", sizes) for p, s in pairs]
    seen["judge"] = [_judging(p, theta, networks, executor) for (p, _), theta in zip(pairs, proposed, strict=True)]
    contenders = [
        Contender(p.scenario, p.parameters, s.posterior, *both)
        for (p, s), both in zip(pairs, zip(learnt, proposed, strict=True), strict=True)
    ]
    told("Comparing the scenarios")
    # With more threads, sums in another order could let one direction more or less pass.
    with threadpool_limits(1, user_api="blas"):
        missed, error = _missed(problems, contenders, seen["judge"]) if first.classical else (np.empty(0), 0.0)
        given = _score_axes(pairs, missed)
        blocks = _blocks(first, contenders, seen, networks, given, missed, error)
        classical = [columns[0] for columns in seen["judge"]]
        return _judged(first, contenders, blocks, classical, weights, settings, networks, info)


# --- simulation and networks --------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Fresh:
    """A scenario's fresh windows to learn from: ``theta`` (k, p) and encoded ``arrays`` (k * w, ...)."""

    theta: np.ndarray
    arrays: dict[str, np.ndarray]


def _proposed(problem: Problem, solution: Solution, purpose: str, sizes: Mapping[str, int]) -> np.ndarray:
    rng = randomness.stream(problem.seed, "contest", purpose, problem.scenario)
    factor = LEARN if purpose == "learn" else JUDGE
    return widened(problem.parameters, solution.posterior, sizes[purpose], factor, rng)


def _kept(problem: Problem, theta: np.ndarray, executor: Executor, folder: Path) -> _Fresh:
    """Simulated windows, on disk as long as networks are trained."""
    arrays: dict[str, np.ndarray] = {
        name: on_disk(folder / f"{name}.npy", np.dtype(spec.dtype), (len(theta) * _WINDOWS, *spec.shape))
        for name, spec in encoding_specs(problem.setup).items()
    }
    for i, encoded in enumerate(simulate(tasks(problem, theta, _WINDOWS, "contest", "learn"), executor)):
        for name, array in arrays.items():
            array[i * _WINDOWS : (i + 1) * _WINDOWS] = encoded[name]
    return _Fresh(theta, arrays)


def _fold(problem: Problem, num_proposals: int) -> np.ndarray:
    """Fold (num_proposals,) of each proposal to learn from."""
    return np.arange(num_proposals) % problem.network.settings.folds


def _trained(
    problems: Sequence[Problem], fresh: Sequence[_Fresh]
) -> tuple[list[contending.ContendingNetwork], TrainingInfo]:
    first = problems[0]
    network, sizes = first.network, [len(p.parameters) for p in problems]
    unasked = {CLASSICAL} - set(network.encodings)
    specs = {name: spec for name, spec in encoding_specs(first.setup).items() if name not in unasked}
    networks = contending.init(network.name, network.options, specs, sizes, network.settings.folds, first.seed)
    edges = np.cumsum([0, *sizes])
    targets = []
    for i, (problem, part) in enumerate(zip(problems, fresh, strict=True)):
        own = np.full((len(part.theta), edges[-1]), np.nan)
        own[:, edges[i] : edges[i + 1]] = problem.parameters.to_unit(part.theta)
        targets.append(own)
    everything = np.concatenate(targets)
    simulated = Windows(
        {name: Stacked([part.arrays[name] for part in fresh]) for name in networks[0].names},
        np.repeat(np.concatenate([_fold(first, len(part.theta)) for part in fresh]), _WINDOWS),
        np.repeat(np.arange(len(everything)), _WINDOWS),
        everything,
    )
    real = Windows(first.observed.arrays, first.observed.fold)
    rng = randomness.stream(first.seed, "contest", "train")
    return networks, contending.train(networks, simulated, real, network.settings, rng)


def _columns(
    problem: Problem, networks: Sequence[contending.ContendingNetwork], arrays: Mapping[str, Any]
) -> list[np.ndarray]:
    """Classical statistics (k, w, d) of fresh windows, and the embedding (k, w, width) by each network."""
    parts = [np.asarray(arrays[CLASSICAL], dtype=float), *(embed(network, arrays)[0] for network in networks)]
    return [part.reshape(-1, _WINDOWS, part.shape[-1]) for part in parts]


def _judging(
    problem: Problem, theta: np.ndarray, networks: Sequence[contending.ContendingNetwork], executor: Executor
) -> list[np.ndarray]:
    """The same of windows to judge by, embedded as they come."""
    stream = simulate(tasks(problem, theta, _WINDOWS, "contest", "judge"), executor)
    parts = []
    while some := list(islice(stream, _TOGETHER)):
        arrays = {name: np.concatenate([encoded[name] for encoded in some]) for name in some[0]}
        parts.append(_columns(problem, networks, arrays))
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


def _missed(
    problems: Sequence[Problem], contenders: Sequence[Contender], judge: Sequence[Sequence[np.ndarray]]
) -> tuple[np.ndarray, float]:
    """What the closest scenario misses of the classical statistics, as variance (d,) between windows.

    With it the largest error of a family of statistics, in standard errors. All scenarios are allowed the same.
    """
    found = []
    for problem, contender, columns in zip(problems, contenders, judge, strict=True):
        x, classical = contender.coordinates.encode(contender.judge), columns[0]
        number = np.repeat(np.arange(len(classical)), classical.shape[1])
        pool = _pool(problem, contender.judge, number, classical.reshape(len(number), -1))
        within = within_covariance(pool.statistics, number, len(classical))
        found.append(misfit.measure(pool, x, within, by_family=True))
    closest = min(found, key=lambda gap: gap.dispersion)
    return closest.missed / closest.share, max(closest.errors.values(), default=0.0)


def _pool(problem: Problem, theta: np.ndarray, proposal: np.ndarray, statistics: np.ndarray) -> Pool:
    """The classical statistics of simulated and of all real windows."""
    real = np.asarray(problem.observed.arrays[CLASSICAL], dtype=float)
    families = np.array(encoding_specs(problem.setup)[CLASSICAL].details["families"])
    return Pool.of_windows(theta, proposal, statistics, real, problem.observed.block, families)


def _score_axes(pairs: Sequence[tuple[Problem, Solution]], missed: np.ndarray) -> np.ndarray:
    """(d, J) directions of the classical statistics in which each scenario was matched, from its rounds."""
    found = []
    for problem, solution in pairs if len(missed) else ():
        pool = _pool(problem, solution.theta, solution.proposal, solution.statistics)
        rng = randomness.stream(problem.seed, "contest", "scores", problem.scenario)
        cloud = solution.posterior[rng.choice(len(solution.posterior), _PARTICLES)]
        found.append(score_axes(problem.parameters, cloud, pool, missed))
    return np.concatenate(found, axis=1) if found else np.empty((0, 0))


def _blocks(
    problem: Problem,
    contenders: Sequence[Contender],
    seen: Mapping[str, Sequence[Sequence[np.ndarray]]],
    networks: Sequence[contending.ContendingNetwork],
    given: np.ndarray,
    missed: np.ndarray,
    error: float,
) -> list[Block]:
    """``given`` and ``missed`` of the classical statistics; ``error``: the largest of their families."""
    observed, classical = problem.observed, problem.classical
    real = columns(problem, networks, observed.arrays, observed.fold)
    explained = real[0].shape[1] if classical else 0
    blocks = []
    if classical:
        everything = [np.ones(len(c.learn), dtype=bool) for c in contenders]
        sides = [[columns[0] for columns in seen[side]] for side in ("learn", "judge")]
        blocks.append(Block(sides[0], sides[1], everything, real[0], observed.block, given, missed))
    for i, network in enumerate(networks):
        sides = [[_joined(c[0] if classical else None, c[i + 1]) for c in seen[side]] for side in ("learn", "judge")]
        learnt = [_fold(problem, len(c.learn)) == network.fold for c in contenders]
        group = observed.block[observed.fold == network.fold]
        own = real[i + bool(classical)]
        # A network mixes all kinds of statistics: it is believed no more than the one that is missed most.
        blocks.append(
            Block(
                sides[0],
                sides[1],
                learnt,
                own,
                group,
                network.axes,
                None,
                error,
                explained=explained,
                fold=network.fold,
            )
        )
    return blocks


def _joined(classical: np.ndarray | None, embedding: np.ndarray) -> np.ndarray:
    return embedding if classical is None else np.concatenate([classical, embedding], axis=-1)


def columns(
    problem: Problem,
    networks: Sequence[contending.ContendingNetwork],
    arrays: Mapping[str, Any],
    fold: np.ndarray,
) -> list[np.ndarray]:
    """Of encoded windows, each in a ``fold``, what the blocks' statistics are: one array (m, d) a block."""
    shared = np.asarray(arrays[CLASSICAL], dtype=float)
    found = [shared] if problem.classical else []
    for network in networks:
        mine = np.flatnonzero(fold == network.fold)
        parts = [mine[i : i + _PIECE] for i in range(0, len(mine), _PIECE)]
        seen = [embed(network, {name: np.asarray(arrays[name][part]) for name in network.names})[0] for part in parts]
        own = np.concatenate([np.empty((0, network.width)), *seen])
        found.append(_joined(shared[mine] if problem.classical else None, own))
    return found


# --- judgement ----------------------------------------------------------------------------------------------------


def judges(contenders: Sequence[Contender], blocks: Sequence[Block], seed: int) -> Judges:
    """What the fresh windows say of the means under each scenario."""
    looked = [look(block, contenders) for block in blocks]
    likelihoods, particles = [], []
    for i, contender in enumerate(contenders):
        coordinates = contender.coordinates
        emulator = LocalMean(
            coordinates.encode(contender.judge), np.concatenate([part.judge[i] for part in looked], axis=-1)
        )
        noise, start = np.zeros_like(emulator.within), 0
        for part in looked:
            own = slice(start, start + len(part.real))
            noise[own, own], start = (emulator.within[own, own] + part.missed) * part.share, own.stop
        likelihoods.append(Likelihood(emulator, noise))
        rng = randomness.stream(seed, "contest", "particles", contender.name)
        chosen = rng.choice(len(contender.posterior), _PARTICLES, replace=len(contender.posterior) < _PARTICLES)
        particles.append(coordinates.encode(contender.posterior[chosen]))
    return Judges(tuple(contenders), tuple(looked), tuple(likelihoods), tuple(particles))


def _judged(
    problem: Problem,
    contenders: Sequence[Contender],
    blocks: Sequence[Block],
    classical: Sequence[np.ndarray],
    weights: Sequence[float],
    settings: ContestSettings,
    networks: list[contending.ContendingNetwork],
    info: TrainingInfo,
) -> Outcome:
    found = judges(contenders, blocks, problem.seed)
    share = noise_share(np.asarray(problem.observed.arrays[CLASSICAL], dtype=float), problem.observed.block)
    drawn = _genomes(found, classical, share, settings, problem.seed)
    fitted, tests = _calibrated(found, drawn, settings)
    excess = dispersion(found.likelihoods, contenders, found.real)
    values = []
    for contender, likelihood in zip(contenders, found.likelihoods, strict=True):
        rng = randomness.stream(problem.seed, "contest", "evidence", contender.name)
        values.append(evidence(contender, replace(likelihood, noise=excess * likelihood.noise), found.real, rng))
    logits = np.array([v.log_value for v in values])
    learnt = [part[: settings.genomes] for part in drawn]
    real = np.asarray(problem.observed.arrays[CLASSICAL], dtype=float).mean(axis=0)
    by_method = {"networks": tests}
    if problem.classical and len(blocks) > 1:
        alone = judges(contenders, blocks[:1], problem.seed)
        by_method["classical"] = _calibrated(
            alone, _genomes(alone, classical, share, settings, problem.seed), settings
        )[1]
    return Outcome(
        values,
        [_verdict(found, i, part, real) for i, part in enumerate(learnt)],
        fitted,
        fitted.probabilities(_finite(logits)[None], weights)[0],
        by_method,
        learnt,
        found,
        real,
        excess,
        networks,
        info,
        sum((len(c.learn) + len(c.judge)) * _WINDOWS for c in contenders),
    )


def _finite(logits: np.ndarray) -> np.ndarray:
    """Logits in which what cannot be is very improbable: a softmax of nothing but infinities is none."""
    largest = logits.max()
    return np.zeros_like(logits) if not np.isfinite(largest) else np.maximum(logits - largest, -1e3)


def _genomes(
    found: Judges, classical: Sequence[np.ndarray], share: float, settings: ContestSettings, seed: int
) -> list[Genomes]:
    drawn = []
    for i, contender in enumerate(found.contenders):
        own = [replace(part, judge=[part.judge[i]]) for part in found.looked]
        rng = randomness.stream(seed, "contest", "genomes", contender.name)
        drawn.append(genomes(contender, own, classical[i], share, settings.genomes + settings.tests, rng))
    return drawn


def _calibrated(
    found: Judges, drawn: Sequence[Genomes], settings: ContestSettings
) -> tuple[calibration.Calibration, tuple[np.ndarray, np.ndarray]]:
    """The calibration, and probabilities and true scenarios of the tests."""
    parts = []
    for kept in (slice(0, settings.genomes), slice(settings.genomes, None)):
        logits = np.concatenate([_rows(found.logits(part[kept].means)) for part in drawn])
        parts.append((logits, np.repeat(np.arange(len(drawn)), [len(part[kept]) for part in drawn])))
    # An evidence is a probability already: what is known of its error can make it less certain only.
    fitted = calibration.fit(*parts[0], coolest=1.0)
    return fitted, (fitted.probabilities(parts[1][0]), parts[1][1])


def _rows(logits: np.ndarray) -> np.ndarray:
    return np.maximum(logits - logits.max(axis=1, keepdims=True), -1e3)


def _verdict(found: Judges, scenario: int, own: Genomes, real: np.ndarray) -> Verdict:
    reference = Reference(own.classical, found.guide(scenario, own.means))
    return reference.verdict(real, found.guide(scenario, found.real[None])[0])
