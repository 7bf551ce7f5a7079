"""Which scenario: data sets simulated under each, networks that tell them apart, and what these say of the real one.

For data that are one observation, such as a table of SNPs. Simulated data sets are dealt to folds; the network of a
fold is trained on the others, so that what it says of its own is what it says of data that it never saw: that is what
probabilities are calibrated on. All networks together judge the real data and the tests, which trained none of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

from ganinfer import calibration, randomness, refining
from ganinfer.adequacy import Reference, Verdict
from ganinfer.calibration import Calibration
from ganinfer.parameters import Parameters
from ganinfer.refining import Refiner
from ganinfer.scenarios import STATISTICS, Scenario
from ganinfer.training import scenarios as networks
from ganinfer.training.scenarios import DataSets, Outcome, ScenarioNetwork, ScenarioSettings
from ganinfer.training.settings import Stacked

#: Share of a scenario's simulations that parameters are regressed on, the closest ones.
_ACCEPTED = 0.2
_LEAST_ACCEPTED = 100
_UNIT_MARGIN = 1e-6
_DRAWS = 2_000


@dataclass(eq=False)
class Simulations:
    """Data sets of all scenarios, in their order."""

    sets: DataSets

    @classmethod
    def joined(
        cls,
        scenarios: Sequence[Scenario],
        arrays: Sequence[Mapping[str, list[np.ndarray]]],
        theta: Sequence[np.ndarray],
    ) -> Simulations:
        """From each scenario's chunks of ``arrays`` and its ``theta``."""
        width = max(len(s.parameters) for s in scenarios)
        targets = np.full((sum(len(t) for t in theta), width), np.nan)
        number = np.repeat(np.arange(len(scenarios)), [len(t) for t in theta])
        for i, (scenario, vectors) in enumerate(zip(scenarios, theta, strict=True)):
            targets[number == i, : len(scenario.parameters)] = normal_scores(scenario.parameters, vectors)
        stacked = {name: Stacked([part for one in arrays for part in one[name]]) for name in arrays[0]}
        return cls(DataSets(stacked, number, targets))

    @property
    def num_scenarios(self) -> int:
        return int(self.sets.scenario[-1]) + 1

    def of(self, scenario: int) -> np.ndarray:
        """Indices of a scenario's data sets."""
        return np.flatnonzero(self.sets.scenario == scenario)

    def statistics(self) -> np.ndarray:
        """(n, d) classical statistics."""
        array = self.sets.arrays[STATISTICS]
        return np.asarray(array[np.arange(len(self.sets))], dtype=float)


def normal_scores(parameters: Parameters, theta: np.ndarray) -> np.ndarray:
    """Normal scores (n, p) of the prior's cumulative distribution."""
    if not len(parameters):
        return np.empty((len(theta), 0))
    return ndtri(np.clip(parameters.to_unit(theta), _UNIT_MARGIN, 1 - _UNIT_MARGIN))


@dataclass(eq=False)
class Trained:
    """Networks, one a fold, and what each says of the data sets of its own fold.

    ``fold`` (n,) of each; ``logits`` (n, scenarios) and ``predicted`` by scenario, see
    :class:`ganinfer.training.scenarios.Outcome`; ``calibration`` fitted on them; ``rows`` of training. ``refiners`` by
    scenario are part of what is predicted, here and of other data sets.
    """

    networks: list[ScenarioNetwork]
    fold: np.ndarray
    logits: np.ndarray
    predicted: tuple[np.ndarray, ...]
    calibration: Calibration
    rows: list[dict[str, float]] = field(default_factory=list)
    refiners: tuple[Refiner, ...] = ()


def deal(scenario: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Fold (n,) of each data set, every scenario's dealt evenly at random."""
    fold = np.empty(len(scenario), dtype=np.int64)
    for number in np.unique(scenario):
        mine = np.flatnonzero(scenario == number)
        fold[randomness.stream(seed, "deal", int(number)).permutation(mine)] = np.arange(len(mine)) % folds
    return fold


def train(fresh: list[ScenarioNetwork], sets: DataSets, settings: ScenarioSettings, seed: int) -> Trained:
    """Train each network on the data sets outside its fold, and calibrate what they say inside."""
    fold = deal(sets.scenario, len(fresh), seed)
    rows: list[dict[str, float]] = []
    outcomes: list[Outcome] = []
    for network in fresh:
        rng = randomness.stream(seed, "train scenarios", network.fold)
        rows += networks.train(network, sets, np.flatnonzero(fold != network.fold), settings, rng)
        outcomes.append(networks.evaluate(network, sets.arrays, np.flatnonzero(fold == network.fold)))
    order = np.argsort(np.concatenate([np.flatnonzero(fold == n.fold) for n in fresh]))

    def restored(parts: Sequence[np.ndarray]) -> np.ndarray:
        return np.concatenate(parts)[order]

    logits = restored([o.logits for o in outcomes])
    predicted = tuple(restored([o.predicted[i] for o in outcomes]) for i in range(len(fresh[0].sizes)))
    trained = Trained(fresh, fold, logits, predicted, calibration.fit(logits, sets.scenario), rows)
    return refined(trained, sets) if STATISTICS in sets.arrays else trained


def judged(trained: Trained, arrays: Mapping[str, Any], weights: Sequence[float]) -> tuple[np.ndarray, list[Outcome]]:
    """Probabilities (n, scenarios) of data sets that trained none of the networks, and what each network says."""
    outcomes = [networks.evaluate(network, arrays) for network in trained.networks]
    if trained.refiners:
        statistics = np.asarray(arrays[STATISTICS][np.arange(len(arrays[STATISTICS]))], dtype=float)
        outcomes = [_refined(trained, o, statistics, k) for k, o in enumerate(outcomes)]
    each = [trained.calibration.probabilities(o.logits, weights) for o in outcomes]
    return np.mean(each, axis=0), outcomes


def refined(trained: Trained, sets: DataSets) -> Trained:
    """The same networks, whose estimates of parameters are combined with a regression on classical statistics."""
    statistics = np.asarray(sets.arrays[STATISTICS][np.arange(len(sets))], dtype=float)
    refiners, predicted = [], []
    for i, both in enumerate(trained.predicted):
        mine, size, everything = sets.scenario == i, both.shape[1] // 2, both.copy()
        refiner, everything[mine, :size] = refining.fit(
            both[mine, :size], statistics[mine], sets.targets[mine, :size], trained.fold[mine], len(trained.networks)
        )
        for k in np.unique(trained.fold):
            others = ~mine & (trained.fold == k)
            everything[others, :size] = refiner(both[others, :size], statistics[others], int(k))
        refiners.append(refiner)
        predicted.append(everything)
    return replace(trained, predicted=tuple(predicted), refiners=tuple(refiners))


def _refined(trained: Trained, outcome: Outcome, statistics: np.ndarray, fold: int) -> Outcome:
    predicted = []
    for refiner, both in zip(trained.refiners, outcome.predicted, strict=True):
        size = both.shape[1] // 2
        predicted.append(np.concatenate([refiner(both[:, :size], statistics, fold), both[:, size:]], axis=1))
    return replace(outcome, predicted=tuple(predicted))


def guide(logits: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """(n, g): what a network says of a scenario's parameters and of the scenarios, for :class:`Reference`.

    Logits bounded softly: far apart or very far apart is the same.
    """
    means = predicted[:, : predicted.shape[1] // 2]
    centred = logits - logits.mean(axis=1, keepdims=True)
    return np.concatenate([means, 3 * np.tanh(centred[:, :-1] / 6)], axis=1)


def references(simulations: Simulations, trained: Trained, families: Sequence[str]) -> list[Reference]:
    """What each scenario's data sets look like, the networks' words out of fold.

    ``families`` (d,): the kind of each classical statistic.
    """
    statistics = simulations.statistics()
    found = []
    for i in range(simulations.num_scenarios):
        mine = simulations.of(i)
        found.append(Reference(statistics[mine], guide(trained.logits[mine], trained.predicted[i][mine]), families))
    return found


def verdicts(
    found: Sequence[Reference], statistics: np.ndarray, outcomes: Sequence[Outcome], row: int = 0
) -> list[Verdict]:
    """Of one data set among those of ``outcomes``, for every scenario: the networks' median p-value, with its parts."""
    out = []
    for i, reference in enumerate(found):
        each = [
            reference.verdict(statistics, guide(o.logits[row : row + 1], o.predicted[i][row : row + 1])[0])
            for o in outcomes
        ]
        out.append(sorted(each, key=lambda verdict: verdict.p_value)[len(each) // 2])
    return out


def posterior(
    scenario: Scenario,
    index: int,
    simulations: Simulations,
    trained: Trained,
    outcomes: Sequence[Outcome],
    rng: np.random.Generator,
    row: int = 0,
) -> np.ndarray:
    """Draws (n, p) of a scenario's parameters, natural units and inside the prior.

    Approximate Bayesian computation with local-linear regression (Beaumont et al. 2002, doi
    10.1093/genetics/162.4.2025) on the networks' estimates, in normal scores of the prior: simulations' estimates are
    of networks that never saw them. Every network has its share of the draws.
    """
    mine = simulations.of(index)
    target = simulations.sets.targets[mine][:, : len(scenario.parameters)]
    known = trained.predicted[index][mine][:, : len(scenario.parameters)]
    parts = []
    for outcome in outcomes:
        seen = outcome.predicted[index][row, : len(scenario.parameters)]
        parts.append(adjusted(target, known, seen, _DRAWS // len(outcomes), rng))
    unit = np.clip(ndtr(np.concatenate(parts)), _UNIT_MARGIN, 1 - _UNIT_MARGIN)
    draws = scenario.parameters.from_unit(unit)
    possible = scenario.parameters.possible(draws)
    if not possible.any():
        # The regression leads out of where models are possible; the simulations themselves are all inside.
        seen = outcomes[0].predicted[index][row, : len(scenario.parameters)]
        nearest = np.argsort(((known - seen) ** 2).sum(axis=1))[:_LEAST_ACCEPTED]
        return scenario.parameters.from_unit(ndtr(target[nearest]))
    return draws[possible]


def adjusted(
    target: np.ndarray, known: np.ndarray, seen: np.ndarray, size: int, rng: np.random.Generator
) -> np.ndarray:
    """Draws (size, p) of parameters by local-linear regression: ``target`` (n, p) of simulations on what is ``known``
    of each (n, g), read off at what is ``seen`` (g,) of the data.
    """
    scale = np.maximum(known.std(axis=0), 1e-9)
    # In prior standard deviations: what networks know nothing of hardly differs, and hardly counts.
    distance = np.sqrt(((known - seen) ** 2).sum(axis=1))
    number = min(max(int(_ACCEPTED * len(target)), _LEAST_ACCEPTED), len(target))
    chosen = np.argsort(distance, kind="stable")[:number]
    width = max(float(distance[chosen[-1]]), 1e-9)
    weight = np.maximum(1 - (distance[chosen] / width) ** 2, 1e-6)
    design = np.concatenate([np.ones((number, 1)), (known[chosen] - seen) / scale], axis=1)
    weighted = design * weight[:, None]
    ridge = 1e-3 * np.trace(weighted.T @ design) / design.shape[1] * np.eye(design.shape[1])
    ridge[0, 0] = 0.0
    slopes = np.linalg.solve(weighted.T @ design + ridge, weighted.T @ target[chosen])
    residual = target[chosen] - design @ slopes
    drawn = rng.choice(number, size=size, p=weight / weight.sum())
    return slopes[0] + residual[drawn]


def separation(statistics: np.ndarray, scenario: np.ndarray) -> np.ndarray:
    """(d,) share of each statistic's variance that lies between scenarios, 0 for one that does not vary."""
    total = statistics.var(axis=0)
    means = np.stack([statistics[scenario == i].mean(axis=0) for i in np.unique(scenario)])
    sizes = np.array([(scenario == i).mean() for i in np.unique(scenario)])
    between = (sizes[:, None] * (means - sizes @ means) ** 2).sum(axis=0)
    return np.where(total > 0, between / np.maximum(total, 1e-300), 0.0)


def discriminant_axes(values: np.ndarray, scenario: np.ndarray, num_axes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """(d,) offset and (d, num_axes) axes along which scenarios differ most, for looking at clouds of data sets.

    Fisher's discriminants within a covariance that is pulled towards its diagonal; where there are fewer, principal
    components fill up.
    """
    mean, spread = values.mean(axis=0), np.maximum(values.std(axis=0), 1e-9)
    scaled = (values - mean) / spread
    groups = [scaled[scenario == i] for i in np.unique(scenario)]
    within = sum(((g - g.mean(axis=0)).T @ (g - g.mean(axis=0)) for g in groups), np.zeros((scaled.shape[1],) * 2))
    within /= len(scaled)
    within = 0.9 * within + 0.1 * np.diag(np.maximum(np.diag(within), 1e-6))
    means = np.stack([g.mean(axis=0) for g in groups])
    directions = np.linalg.solve(within, (means - means.mean(axis=0)).T)
    left, strength, _ = np.linalg.svd(directions, full_matrices=False)
    found = left[:, strength > 1e-9 * max(strength.max(initial=0.0), 1e-300)][:, :num_axes]
    rest = scaled - scaled @ found @ found.T
    fill = np.linalg.svd(rest, full_matrices=False)[2][: num_axes - found.shape[1]].T
    axes = np.concatenate([found, fill], axis=1)
    # Of a single value there is one axis; along the others everything lies in one place.
    return mean, np.pad(axes, ((0, 0), (0, num_axes - axes.shape[1]))) / spread[:, None]


def learning_curve(
    fresh: Sequence[ScenarioNetwork],
    simulations: Simulations,
    tests: Simulations,
    settings: ScenarioSettings,
    seed: int,
) -> list[tuple[int, float, float]]:
    """Data sets a scenario, accuracy and log loss on ``tests`` of single networks trained on ever more of them.

    ``fresh``: untrained networks, one for every point of the curve; the last is trained on all there are.
    """
    sets = simulations.sets
    most = min(len(simulations.of(i)) for i in range(simulations.num_scenarios))
    points = []
    for k, network in enumerate(fresh):
        size = max(most >> (len(fresh) - 1 - k), 10)
        index = np.concatenate([simulations.of(i)[:size] for i in range(simulations.num_scenarios)])
        networks.train(network, sets, index, settings, randomness.stream(seed, "learning curve", k))
        logits = networks.evaluate(network, tests.sets.arrays).logits
        half = np.arange(len(logits)) % 2 == 0
        fitted = calibration.fit(logits[half], tests.sets.scenario[half])
        probabilities = fitted.probabilities(logits[~half])
        true = tests.sets.scenario[~half]
        accuracy = float((probabilities.argmax(axis=1) == true).mean())
        points.append((size, accuracy, calibration.log_loss(probabilities, true)))
    return points
