"""Which scenario made the real windows: all were matched to them, now they are compared at their solutions.

Fresh proposals around each solution are simulated twice over. On the first ones networks learn to tell scenarios (and
parameters, and real windows) apart; the second ones trained nothing, and give the emulators, the evidence and the
genomes that the answer is calibrated on (see :mod:`ganinfer.evidence`).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import logsumexp

from ganinfer import calibration, randomness
from ganinfer.adequacy import Reference, Verdict
from ganinfer.evidence import (
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
    look,
    widened,
)
from ganinfer.execution import Executor
from ganinfer.inference import CLASSICAL, Problem, tasks
from ganinfer.simulation import encoding_specs, simulate
from ganinfer.training import Stacked, TrainingInfo, Windows, contending, embed

#: Windows of each fresh proposal.
_WINDOWS = 16
#: What fresh windows are for.
_SIDES = ("learn", "judge")
#: Draws of each scenario's posterior under which genomes are judged.
_PARTICLES = 400
#: Logits beyond this many are far apart, and far apart is the same as very far apart.
_SOFT = 6.0


@dataclass(frozen=True)
class ContestSettings:
    """``windows``: fresh ones of each scenario, half to learn from; ``genomes`` drawn of each scenario to calibrate on,
    and ``tests`` more to test on.
    """

    windows: int = 8_000
    genomes: int = 1_000
    tests: int = 200

    @property
    def proposals(self) -> int:
        """Of each scenario, to learn from or to judge by."""
        return max(self.windows // (2 * _WINDOWS), 1)


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
    posteriors: Sequence[np.ndarray],
    weights: Sequence[float],
    settings: ContestSettings,
    executor: Executor,
    cache: Path,
    told: Callable[[str], None],
) -> Outcome:
    """Compare scenarios that have ``posteriors``, a (n, p) array each; ``weights`` are their prior probabilities.

    ``problems`` differ in their scenarios only. ``cache``: a folder for arrays, removed at the end; ``told`` hears
    what is being done.
    """
    try:
        fresh = [_simulated(p, d, settings, executor, cache, told) for p, d in zip(problems, posteriors, strict=True)]
        told("Training networks to tell the scenarios apart")
        networks, info = _trained(problems, fresh)
        blocks = _blocks(problems[0], fresh, networks)
        classical = [f.classical("judge") for f in fresh]
    finally:
        shutil.rmtree(cache, ignore_errors=True)
    contenders = [
        Contender(p.scenario, p.parameters, d, f.theta["learn"], f.theta["judge"])
        for p, d, f in zip(problems, posteriors, fresh, strict=True)
    ]
    told("Comparing the scenarios")
    return _judged(problems[0], contenders, blocks, classical, weights, settings, networks, info)


# --- simulation and networks --------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Fresh:
    """A scenario's fresh windows: ``theta`` (k, p) and encoded ``arrays`` (k * w, ...) by purpose."""

    theta: dict[str, np.ndarray]
    arrays: dict[str, dict[str, np.ndarray]]

    def classical(self, purpose: str) -> np.ndarray:
        """(k, w, d) classical statistics."""
        values = np.asarray(self.arrays[purpose][CLASSICAL], dtype=float)
        return values.reshape(len(self.theta[purpose]), _WINDOWS, -1)


def _simulated(
    problem: Problem,
    posterior: np.ndarray,
    settings: ContestSettings,
    executor: Executor,
    cache: Path,
    told: Callable[[str], None],
) -> _Fresh:
    size = settings.proposals
    told(f"Simulating {2 * size * _WINDOWS:,} windows around the solution of {problem.scenario}")
    specs = encoding_specs(problem.setup)
    thetas: dict[str, np.ndarray] = {}
    arrays: dict[str, dict[str, np.ndarray]] = {}
    for purpose in _SIDES:
        rng = randomness.stream(problem.seed, "contest", purpose, problem.scenario)
        theta = thetas[purpose] = widened(problem.parameters, posterior, size, rng)
        place = cache / f"{purpose}-{problem.scenario}"
        place.mkdir(parents=True, exist_ok=True)
        kept: dict[str, np.ndarray] = {
            name: np.lib.format.open_memmap(
                place / f"{name}.npy", mode="w+", dtype=np.dtype(spec.dtype), shape=(size * _WINDOWS, *spec.shape)
            )
            for name, spec in specs.items()
        }
        for i, encoded in enumerate(simulate(tasks(problem, theta, _WINDOWS, "contest", purpose), executor)):
            for name, array in kept.items():
                array[i * _WINDOWS : (i + 1) * _WINDOWS] = encoded[name]
        arrays[purpose] = kept
    return _Fresh(thetas, arrays)


def _fold(problem: Problem, fresh: _Fresh) -> np.ndarray:
    """Fold (k,) of each proposal to learn from."""
    return np.arange(len(fresh.theta["learn"])) % problem.network.settings.folds


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
    for i, (problem, values) in enumerate(zip(problems, fresh, strict=True)):
        own = np.full((len(values.theta["learn"]), edges[-1]), np.nan)
        own[:, edges[i] : edges[i + 1]] = problem.parameters.to_unit(values.theta["learn"])
        targets.append(own)
    fold = np.concatenate([_fold(p, f) for p, f in zip(problems, fresh, strict=True)])
    # Proposals of scenarios take turns, so that a bound on the windows leaves as many of each.
    order = np.argsort(np.concatenate([np.arange(len(t)) for t in targets]), kind="stable")
    number = np.empty(len(order), dtype=np.int64)
    number[order] = np.arange(len(order))
    simulated = Windows(
        {name: Stacked([f.arrays["learn"][name] for f in fresh]) for name in networks[0].names},
        np.repeat(fold, _WINDOWS),
        np.repeat(number, _WINDOWS),
        np.concatenate(targets)[order],
    )
    real = Windows(first.observed.arrays, first.observed.fold)
    most = max(network.settings.windows, len(simulated))
    settings = replace(network.settings, windows=most)
    rng = randomness.stream(first.seed, "contest", "train")
    return networks, contending.train(networks, simulated, real, settings, rng)


def _blocks(problem: Problem, fresh: Sequence[_Fresh], networks: Sequence[contending.ContendingNetwork]) -> list[Block]:
    observed = problem.observed
    everything = [np.ones(len(f.theta["learn"]), dtype=bool) for f in fresh]
    sides = [[_columns(problem, network, f, side) for f in fresh] for network in [None, *networks] for side in _SIDES]
    real = columns(problem, networks, observed.arrays, observed.fold)
    explained = len(encoding_specs(problem.setup)[CLASSICAL].details["names"]) if problem.classical else 0
    blocks = [Block(sides[0], sides[1], everything, real[0], observed.block)] if explained else []
    for i, network in enumerate(networks):
        learnt = [_fold(problem, f) == network.fold for f in fresh]
        group = observed.block[observed.fold == network.fold]
        own = real[i + bool(explained)]
        blocks.append(Block(sides[2 * i + 2], sides[2 * i + 3], learnt, own, group, explained, len(fresh) - 1))
    return blocks


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
        own = _seen(network, {name: np.asarray(arrays[name][mine]) for name in network.names})
        found.append(np.concatenate([shared[mine], own], axis=-1) if problem.classical else own)
    return found


def _columns(problem: Problem, network: contending.ContendingNetwork | None, fresh: _Fresh, side: str) -> np.ndarray:
    """(k, w, d) of fresh windows, all by one network, or the classical ones alone."""
    shared = fresh.classical(side)
    if network is None:
        return shared
    own = _seen(network, fresh.arrays[side])
    own = own.reshape(*shared.shape[:2], -1)
    return np.concatenate([shared, own], axis=-1) if problem.classical else own


def _seen(network: contending.ContendingNetwork, arrays: Mapping[str, Any]) -> np.ndarray:
    """(n, width + scenarios - 1): embedding of each window, and its logits against the last scenario's."""
    embedding = embed(network, arrays)[0].astype(float)
    logits = network.logits(embedding)
    return np.concatenate([embedding, logits[:, :-1] - logits[:, -1:]], axis=1)


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
            noise[own, own], start = emulator.within[own, own] * part.share, own.stop
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
    drawn = _genomes(found, classical, settings, problem.seed)
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
        by_method["classical"] = _calibrated(alone, _genomes(alone, classical, settings, problem.seed), settings)[1]
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
        sum(2 * settings.proposals * _WINDOWS for _ in contenders),
    )


def _finite(logits: np.ndarray) -> np.ndarray:
    """Logits in which what cannot be is very improbable: a softmax of nothing but infinities is none."""
    largest = logits.max()
    return np.zeros_like(logits) if not np.isfinite(largest) else np.maximum(logits - largest, -1e3)


def _genomes(found: Judges, classical: Sequence[np.ndarray], settings: ContestSettings, seed: int) -> list[Genomes]:
    drawn = []
    for i, contender in enumerate(found.contenders):
        own = [replace(part, judge=[part.judge[i]]) for part in found.looked]
        rng = randomness.stream(seed, "contest", "genomes", contender.name)
        drawn.append(genomes(contender, own, classical[i], settings.genomes + settings.tests, rng))
    return drawn


def _calibrated(
    found: Judges, drawn: Sequence[Genomes], settings: ContestSettings
) -> tuple[calibration.Calibration, tuple[np.ndarray, np.ndarray]]:
    """The calibration, and probabilities and true scenarios of the tests."""
    parts = []
    for kept in (slice(0, settings.genomes), slice(settings.genomes, None)):
        logits = np.concatenate([_rows(found.logits(part[kept].means)) for part in drawn])
        parts.append((logits, np.repeat(np.arange(len(drawn)), [len(part[kept]) for part in drawn])))
    fitted = calibration.fit(*parts[0])
    return fitted, (fitted.probabilities(parts[1][0]), parts[1][1])


def _rows(logits: np.ndarray) -> np.ndarray:
    return np.maximum(logits - logits.max(axis=1, keepdims=True), -1e3)


def _verdict(found: Judges, scenario: int, own: Genomes, real: np.ndarray) -> Verdict:
    reference = Reference(own.classical, found.guide(scenario, own.means))
    return reference.verdict(real, found.guide(scenario, found.real[None])[0])
