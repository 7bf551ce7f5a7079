"""Whether halves of the simulations, and of the genome, answer alike."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from ganinfer import stability
from ganinfer.generators.matching import Matching
from ganinfer.interfaces import EMULATOR_ERROR, MONTE_CARLO, FoldResult, Info, RoundResult, State
from ganinfer.parameters import Parameter, Parameters
from ganinfer.runner.results import parameter_results

PARAMETERS = Parameters((Parameter("a", -5.0, 5.0), Parameter("b", -5.0, 5.0)))
WINDOWS, REAL = 16, 1200


def fold(rng, proposals=300, *, real_at=(1.0, -1.0), bent=0.0):
    """Windows whose four statistics have means in the parameters; ``bent``: proposals of odd number lie about them."""
    theta = rng.uniform(-2, 2, (proposals, 2)) + np.array([1, -1])
    mixing = np.array([[1.0, 0.5], [0.2, 1.0], [1.0, -1.0], [0.0, 0.3]])
    shifted = theta + bent * (np.arange(proposals) % 2)[:, None]
    proposal = np.repeat(np.arange(proposals), WINDOWS)
    statistics = (shifted @ mixing.T)[proposal] + rng.standard_normal((len(proposal), 4))
    real = np.array(real_at) @ mixing.T + rng.standard_normal((REAL, 4))
    none = np.empty(0)
    return FoldResult(
        theta, np.zeros(proposals), statistics, proposal, real, np.arange(REAL), none, none, 4, ("s",) * 4
    )


def looked(monkeypatch, folds, *, known=True):
    generator = Matching(num_particles=100, steps=30)
    rng = np.random.default_rng(1)
    state = replace(generator.init(PARAMETERS, rng), values={"beta": 0.5, "step": 3})
    cloud = 0.3 * rng.standard_normal((100, 2)) + [1, -1]
    state = State({"cloud": cloud}, state.values)
    _, info = generator.step(state, RoundResult(3, tuple(folds)), rng)
    problem = SimpleNamespace(parameters=PARAMETERS, generator=generator, seed=1, scenario="toy")
    at = SimpleNamespace(generator=state, index=4)
    monkeypatch.setattr(stability, "fold_results", lambda *_: tuple(folds))
    return stability.stability(problem, at, info.posterior, info.metrics if known else {}), info


def test_enough_simulations_of_one_genome_are_stable(monkeypatch):
    rng = np.random.default_rng(2)
    found, info = looked(monkeypatch, [fold(rng), fold(rng)])
    assert found.unstable == ()
    assert max(found.halves.values()) < 6 * max(info.metrics[f"{MONTE_CARLO}{n}"] for n in "ab") + 0.2
    assert max(found.folds.values()) < 6


def of_many_statistics(rng, real, proposals=400, dimension=60):
    """Two parameters move two of many statistics, which leaves a direction room for noise; one in five is far away."""
    away = np.where(np.arange(proposals) % 5 == 0, 0.2, 0.08)[:, None]
    theta = away * rng.standard_normal((proposals, 2)) + np.array([1, -1])
    proposal = np.repeat(np.arange(proposals), WINDOWS)
    statistics = rng.standard_normal((len(proposal), dimension))
    statistics[:, :2] += theta[proposal]
    none = np.empty(0)
    families = ("s",) * dimension
    return FoldResult(
        theta, np.zeros(proposals), statistics, proposal, real, np.arange(len(real)), none, none, dimension, families
    )


def test_estimates_from_other_simulations_scatter_as_each_says():
    """The same real windows and cloud, other simulations: other directions, which meet the windows' noise elsewhere."""
    rng = np.random.default_rng(7)
    real = rng.standard_normal((REAL, 60)) + np.append([1.0, -1.0], np.zeros(58))
    cloud = 0.08 * rng.standard_normal((100, 2)) + [1, -1]
    generator = Matching(num_particles=100, steps=30)
    generator.init(PARAMETERS, rng)
    state = State({"cloud": cloud}, {"beta": 0.5, "step": 3})
    middles, sds, said, emulator = [], [], [], []
    for _ in range(24):
        folds = tuple(of_many_statistics(rng, real[k::2]) for k in range(2))
        _, info = generator.step(state, RoundResult(3, folds), rng)
        middles.append(np.median(info.posterior, axis=0))
        sds.append(info.posterior.std(axis=0))
        said.append([info.metrics[f"{MONTE_CARLO}{n}"] for n in "ab"])
        emulator.append([info.metrics[f"{EMULATOR_ERROR}{n}"] for n in "ab"])
    scatter = float(np.sqrt((np.var(middles, axis=0, ddof=1) / np.mean(sds, axis=0) ** 2).mean()))
    assert scatter / 1.2 < np.mean(said) < 1.5 * scatter
    assert np.mean(emulator) < scatter / 1.2  # without the directions' part it would not do


def test_the_error_that_is_told_is_the_generators():
    draws = np.random.default_rng(8).normal(size=(50, 2))
    info = Info(draws.mean(axis=0), draws.std(axis=0), draws, metrics={f"{MONTE_CARLO}a": 0.4})
    found = parameter_results(PARAMETERS, info, 0.9)
    assert (found["a"]["monte_carlo"], found["b"]["monte_carlo"]) == (0.4, None)


def test_simulations_that_disagree_are_told(monkeypatch):
    rng = np.random.default_rng(3)
    found, info = looked(monkeypatch, [fold(rng, bent=0.5), fold(rng, bent=0.5)])
    assert found.halves["a"] > 2
    # What the emulator says of its own error explains that; without it, it would be told.
    assert info.metrics[f"{MONTE_CARLO}a"] > 0.5
    silent, _ = looked(monkeypatch, [fold(rng, bent=0.5), fold(rng, bent=0.5)], known=False)
    assert ("halves", "a") in silent.unstable


def test_halves_of_a_genome_that_disagree_are_told(monkeypatch):
    rng = np.random.default_rng(4)
    found, _ = looked(monkeypatch, [fold(rng), fold(rng, real_at=(1.8, -1.0))])
    assert ("folds", "a") in found.unstable
    assert ("halves", "a") not in found.unstable


def test_a_half_has_its_own_windows():
    result = fold(np.random.default_rng(5), proposals=7)
    half = stability._half(result, 1)
    assert np.array_equal(half.theta, result.theta[1::2])
    assert np.array_equal(half.proposal, np.repeat(np.arange(3), WINDOWS))
    assert np.array_equal(half.statistics, result.statistics[np.isin(result.proposal, [1, 3, 5])])


def test_of_three_folds_halves_of_the_simulations_are_compared_all_the_same(monkeypatch):
    rng = np.random.default_rng(6)
    found, _ = looked(monkeypatch, [fold(rng) for _ in range(3)])
    assert found.unstable == ()
    assert 0 < max(found.halves.values()) < 2
    assert found.folds == {}


def test_several_peaks_are_found_and_one_is_not():
    rng = np.random.default_rng(9)
    names = Parameters((Parameter("N", 10.0, 100_000.0, "log"), Parameter("pulse", -0.2, 0.2)))
    size = np.exp(rng.normal(np.log(5_000), 0.3, 4_000))
    pulse = np.where(rng.random(4_000) < 0.3, -0.06, 0.05) + 0.01 * rng.standard_normal(4_000)
    found = stability.peaks(names, np.stack([size, pulse], axis=1))
    assert found.keys() == {"pulse"}
    (low, share), (high, rest) = found["pulse"]
    assert (low, high) == pytest.approx((-0.06, 0.05), abs=0.005)
    assert (share, rest) == pytest.approx((0.3, 0.7), abs=0.03)
    size[:1200] *= 8  # on the logarithm, where 8 is seven standard deviations
    assert stability.peaks(names, np.stack([size, pulse], axis=1)).keys() == {"N", "pulse"}


@pytest.mark.parametrize("kind", ["normal", "uniform", "exponential", "shoulder", "few strays", "constant"])
def test_one_peak_of_any_shape_is_one(kind):
    rng = np.random.default_rng(10)
    draws = {
        "normal": rng.standard_normal(1_000),
        "uniform": rng.uniform(-1, 1, 1_000),
        "exponential": rng.exponential(0.5, 1_000) - 1,
        "shoulder": np.concatenate([rng.standard_normal(700), rng.normal(1.8, 1, 300)]) / 3,
        "few strays": np.concatenate([rng.normal(0, 0.2, 980), rng.normal(4, 0.1, 20)]),
        "constant": np.full(1_000, 0.5),
    }[kind]
    assert stability.peaks(Parameters((Parameter("a", -5.0, 5.0),)), draws[:, None]) == {}
