"""The judgement: how probable each scenario is, how far that can be believed, and which of them fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import logsumexp

from ganinfer import calibration, randomness
from ganinfer.adequacy import Reference, Verdict
from ganinfer.contest.fresh import WINDOWS, ContestSettings, Whole
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
    noise_share,
)
from ganinfer.inference import CLASSICAL, Problem
from ganinfer.training import TrainingInfo, contending

#: Draws of each scenario's posterior under which genomes are judged.
_PARTICLES = 400
#: Logits beyond this many are far apart, and far apart is the same as very far apart.
_SOFT = 6.0


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

    def genomes(self, scenario: int, whole: Whole) -> Genomes:
        """Genomes simulated under a scenario, their noise inflated by what linkage does to the real means."""
        means = np.stack([self.means(found[: len(self.looked)]) for found in whole.columns])
        expected = self.likelihoods[scenario].emulator(self.contenders[scenario].coordinates.encode(whole.theta))
        inflation = [np.full(len(part.real), np.sqrt(part.share * part.windows)) for part in self.looked]
        return Genomes(expected + np.concatenate(inflation) * (means - expected), whole.classical)

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
    ``genomes`` (a scenario each) that it was calibrated on, simulated ``whole`` or drawn; ``dispersion``: how much
    further than noise even the closest scenario lies from the real means; ``networks``, one a fold, and their
    ``training``.
    """

    evidence: list[Evidence]
    verdicts: list[Verdict]
    calibration: calibration.Calibration
    probabilities: np.ndarray
    tests: Mapping[str, tuple[np.ndarray, np.ndarray]]
    genomes: list[Genomes]
    whole: bool
    judges: Judges
    classical: np.ndarray
    dispersion: float
    networks: list[contending.ContendingNetwork]
    training: TrainingInfo
    num_windows: int


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


def judged(
    problem: Problem,
    contenders: Sequence[Contender],
    blocks: Sequence[Block],
    classical: Sequence[np.ndarray],
    whole: Sequence[Whole],
    weights: Sequence[float],
    settings: ContestSettings,
    networks: list[contending.ContendingNetwork],
    info: TrainingInfo,
) -> Outcome:
    found = judges(contenders, blocks, problem.seed)
    share = noise_share(np.asarray(problem.observed.arrays[CLASSICAL], dtype=float), problem.observed.block)
    drawn = _genomes(found, classical, whole, share, settings, problem.seed)
    learnt = settings.whole(len(problem.observed))[0] if whole else settings.genomes
    fitted, tests = _calibrated(found, drawn, learnt)
    excess = dispersion(found.likelihoods, contenders, found.real)
    values = []
    for contender, likelihood in zip(contenders, found.likelihoods, strict=True):
        rng = randomness.stream(problem.seed, "contest", "evidence", contender.name)
        values.append(evidence(contender, replace(likelihood, noise=excess * likelihood.noise), found.real, rng))
    logits = np.array([v.log_value for v in values])
    own = [part[:learnt] for part in drawn]
    real = np.asarray(problem.observed.arrays[CLASSICAL], dtype=float).mean(axis=0)
    by_method = {"networks": tests}
    if problem.classical and len(blocks) > 1:
        alone = judges(contenders, blocks[:1], problem.seed)
        drawn = _genomes(alone, classical, whole, share, settings, problem.seed)
        by_method["classical"] = _calibrated(alone, drawn, learnt)[1]
    return Outcome(
        values,
        [_verdict(found, i, part, real) for i, part in enumerate(own)],
        fitted,
        fitted.probabilities(_finite(logits)[None], weights)[0],
        by_method,
        own,
        bool(whole),
        found,
        real,
        excess,
        networks,
        info,
        sum((len(c.learn) + len(c.judge)) * WINDOWS for c in contenders)
        + sum(len(part.theta) for part in whole) * len(problem.observed),
    )


def _finite(logits: np.ndarray) -> np.ndarray:
    """Logits in which what cannot be is very improbable: a softmax of nothing but infinities is none."""
    largest = logits.max()
    return np.zeros_like(logits) if not np.isfinite(largest) else np.maximum(logits - largest, -1e3)


def _genomes(
    found: Judges,
    classical: Sequence[np.ndarray],
    whole: Sequence[Whole],
    share: float,
    settings: ContestSettings,
    seed: int,
) -> list[Genomes]:
    """Those simulated whole as ``found`` sees them, or where there are none, genomes of pooled windows."""
    if whole:
        return [found.genomes(i, part) for i, part in enumerate(whole)]
    drawn = []
    for i, contender in enumerate(found.contenders):
        own = [replace(part, judge=[part.judge[i]]) for part in found.looked]
        rng = randomness.stream(seed, "contest", "genomes", contender.name)
        drawn.append(genomes(contender, own, classical[i], share, settings.genomes + settings.tests, rng))
    return drawn


def _calibrated(
    found: Judges, drawn: Sequence[Genomes], learnt: int
) -> tuple[calibration.Calibration, tuple[np.ndarray, np.ndarray]]:
    """The calibration on the first genomes of each, and probabilities and true scenarios of the others, the tests."""
    parts = []
    for kept in (slice(0, learnt), slice(learnt, None)):
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
