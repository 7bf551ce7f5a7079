"""The judgement: how probable each scenario is, how far that can be believed, and which of them fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import logsumexp

from ganinfer import calibration, randomness
from ganinfer.adequacy import Reference, Verdict
from ganinfer.contest.fresh import LEAST_JUDGING, WINDOWS, Whole
from ganinfer.evidence import (
    Contender,
    Evidence,
    Genomes,
    Likelihood,
    LocalMean,
    Looked,
    Plain,
    dispersion,
    evidence,
    genomes,
)
from ganinfer.inference import CLASSICAL, Problem
from ganinfer.simulation import encoding_specs
from ganinfer.training import TrainingInfo, contending

#: Draws of each scenario's posterior under which genomes are judged.
_PARTICLES = 400
#: Logits beyond this many are far apart, and far apart is the same as very far apart.
_SOFT = 6.0
#: The learning curve is made with these parts of the judging windows, and with all of them.
_PARTS = (4, 2)

#: Probabilities (n, scenarios) of genomes whose true scenario (n,) is known.
Tests = tuple[np.ndarray, np.ndarray]


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
    ``tests``, by method, of genomes that nothing was fitted on, and their ``curve``: with so many judging windows of
    each scenario; ``genomes`` (a scenario each) that it was calibrated on, simulated ``whole`` or drawn; ``classical``
    (d,) means of the real windows; ``dispersion``: how much further than noise even the closest scenario lies from the
    real means; ``networks``, one a fold, and their ``training``.
    """

    evidence: list[Evidence]
    verdicts: list[Verdict]
    calibration: calibration.Calibration
    probabilities: np.ndarray
    tests: Mapping[str, Tests]
    curve: list[tuple[int, Tests]]
    genomes: list[Genomes]
    whole: bool
    judges: Judges
    classical: np.ndarray
    dispersion: float
    networks: list[contending.ContendingNetwork]
    training: TrainingInfo
    num_windows: int


def judges(contenders: Sequence[Contender], looked: Sequence[Looked], seed: int) -> Judges:
    """What the fresh windows say of the means under each scenario."""
    likelihoods, particles = [], []
    for i, contender in enumerate(contenders):
        coordinates = contender.coordinates
        emulator = LocalMean(
            coordinates.encode(contender.judge), np.concatenate([part.judge[i] for part in looked], axis=-1)
        )
        noise, start = np.zeros_like(emulator.within), 0
        for part in looked:
            own = slice(start, start + len(part.real))
            root = np.sqrt(part.share)
            noise[own, own] = (emulator.within[own, own] + part.missed) * np.outer(root, root)
            start = own.stop
        likelihoods.append(Likelihood(emulator, noise))
        rng = randomness.stream(seed, "contest", "particles", contender.name)
        chosen = rng.choice(len(contender.posterior), _PARTICLES, replace=len(contender.posterior) < _PARTICLES)
        particles.append(coordinates.encode(contender.posterior[chosen]))
    return Judges(tuple(contenders), tuple(looked), tuple(likelihoods), tuple(particles))


@dataclass(frozen=True, eq=False)
class Material:
    """What a judgement is made from: ``contenders``, and blocks ``looked`` at along their directions.

    ``classical``, one array (k, w, d) a scenario: all classical statistics of the windows that judge; ``share`` (d,):
    noise of their real means as a share of the variance between windows. Genomes simulated ``whole``, one item a
    scenario, or none. Of each scenario's genomes the first ``learnt`` calibrate, the ``tests`` after them test.
    """

    contenders: Sequence[Contender]
    looked: Sequence[Looked]
    classical: Sequence[np.ndarray]
    share: np.ndarray
    whole: Sequence[Whole]
    learnt: int
    tests: int
    seed: int

    def judges(self) -> Judges:
        return judges(self.contenders, self.looked, self.seed)

    def fewer(self, num_proposals: int) -> Material:
        """With the first judging proposals only; genomes are to be those of all."""
        return replace(
            self,
            contenders=[replace(c, judge=c.judge[:num_proposals]) for c in self.contenders],
            looked=[replace(b, judge=[values[:num_proposals] for values in b.judge]) for b in self.looked],
        )

    def genomes(self, found: Judges) -> list[Genomes]:
        """Those simulated whole, or where there are none, genomes of pooled windows; linkage as in the real one."""
        if self.whole:
            return [self._linked(found, i, part) for i, part in enumerate(self.whole)]
        drawn = []
        for i, contender in enumerate(self.contenders):
            own = [replace(part, judge=[part.judge[i]]) for part in self.looked]
            rng = randomness.stream(self.seed, "contest", "genomes", contender.name)
            plain = [Plain(self.classical[i], self.share)]
            drawn.append(genomes(contender, own, plain, self.learnt + self.tests, rng))
        return drawn

    def _linked(self, found: Judges, scenario: int, whole: Whole) -> Genomes:
        """Windows were simulated one by one: what linkage does to the noise of their means is put on it."""
        contender = self.contenders[scenario]
        x, judge = (contender.coordinates.encode(theta) for theta in (whole.theta, contender.judge))
        by_part = [np.sqrt(part.share * part.windows) for part in self.looked]
        expected = found.likelihoods[scenario].emulator(x)
        means = expected + np.concatenate(by_part) * (whole.means - expected)
        windows = sum(part.windows for part in self.looked if part.fold is not None) or self.looked[0].windows
        usual = LocalMean(judge, self.classical[scenario])(x)
        return Genomes(means, usual + np.sqrt(self.share * windows) * (whole.classical - usual))

    def calibrated(self, found: Judges, drawn: Sequence[Genomes]) -> tuple[calibration.Calibration, Tests]:
        """The calibration, and what it makes of the tests.

        Blocks looked at are the first of those that the genomes' means were taken along.
        """
        width, parts = len(found.real), []
        for kept in (slice(0, self.learnt), slice(self.learnt, None)):
            logits = np.concatenate([_bounded(found.logits(part[kept].means[:, :width])) for part in drawn])
            parts.append((logits, np.repeat(np.arange(len(drawn)), [len(part[kept]) for part in drawn])))
        # An evidence is a probability already: what is known of its error can make it less certain only.
        fitted = calibration.fit(*parts[0], coolest=1.0)
        return fitted, (fitted.probabilities(parts[1][0]), parts[1][1])


def judged(
    problem: Problem,
    material: Material,
    weights: Sequence[float],
    networks: list[contending.ContendingNetwork],
    info: TrainingInfo,
) -> Outcome:
    """The answer for the real windows of ``problem``."""
    contenders = material.contenders
    found = material.judges()
    drawn = material.genomes(found)
    fitted, tests = material.calibrated(found, drawn)
    excess = dispersion(found.likelihoods, contenders, found.real)
    values = []
    for contender, likelihood in zip(contenders, found.likelihoods, strict=True):
        rng = randomness.stream(problem.seed, "contest", "evidence", contender.name)
        values.append(evidence(contender, replace(likelihood, noise=excess * likelihood.noise), found.real, rng))
    logits = np.array([v.log_value for v in values])
    own = [part[: material.learnt] for part in drawn]
    real = np.asarray(problem.observed.arrays[CLASSICAL], dtype=float).mean(axis=0)
    families = encoding_specs(problem.setup)[CLASSICAL].details["families"]
    by_method = {"networks": tests}
    if problem.classical and len(material.looked) > 1:
        by_method["classical"] = _tested(replace(material, looked=material.looked[:1]), drawn)
    return Outcome(
        evidence=values,
        verdicts=[_verdict(found, i, part, real, families) for i, part in enumerate(own)],
        calibration=fitted,
        probabilities=fitted.probabilities(_bounded(logits[None]), weights)[0],
        tests=by_method,
        curve=[*_curve(material, drawn), (len(contenders[0].judge) * WINDOWS, tests)] if material.tests else [],
        genomes=own,
        whole=bool(material.whole),
        judges=found,
        classical=real,
        dispersion=excess,
        networks=networks,
        training=info,
        num_windows=sum((len(c.learn) + len(c.judge)) * WINDOWS for c in contenders)
        + sum(len(part.theta) for part in material.whole) * len(problem.observed),
    )


def _tested(material: Material, drawn: Sequence[Genomes]) -> Tests:
    """What the tests among genomes say of a judgement from other ``material``."""
    return material.calibrated(material.judges(), drawn)[1]


def _curve(material: Material, drawn: Sequence[Genomes]) -> list[tuple[int, Tests]]:
    """Judging windows of each scenario and what the tests say, with parts of them as large as emulators bear."""
    least = LEAST_JUDGING * (max(len(c.parameters) for c in material.contenders) + 2)
    sizes = [len(material.contenders[0].judge) // part for part in _PARTS]
    return [(size * WINDOWS, _tested(material.fewer(size), drawn)) for size in sizes if size >= least]


def _bounded(logits: np.ndarray) -> np.ndarray:
    """Logits (n, scenarios) in which what cannot be is very improbable: a softmax of nothing but infinities is none."""
    largest = logits.max(axis=1, keepdims=True)
    return np.where(np.isfinite(largest), np.maximum(logits - np.where(np.isfinite(largest), largest, 0), -1e3), 0.0)


def _verdict(found: Judges, scenario: int, own: Genomes, real: np.ndarray, families: Sequence[str]) -> Verdict:
    reference = Reference(own.statistics, found.guide(scenario, own.means), families)
    return reference.verdict(real, found.guide(scenario, found.real[None])[0])
