"""What a comparison on windows makes of whole genomes: how many, with what noise, and fewer judging windows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ganinfer.contest import ContestSettings
from ganinfer.contest.fresh import Whole
from ganinfer.contest.judging import Material
from ganinfer.evidence import noise_share
from tests.test_evidence import OFFSET, REAL, WIDTH, Toy, genome, look, matched


@pytest.mark.parametrize(
    ("settings", "num_real", "expected"),
    [
        (ContestSettings(), 60, (277, 56)),
        (ContestSettings(), 201, (0, 0)),
        (ContestSettings(genomes=30, tests=10), 200, (30, 10)),
        (ContestSettings(genomes=1_000, tests=0), 200, (100, 0)),
        (ContestSettings(genomes=1_000, tests=5), 200, (99, 1)),
        (ContestSettings(genomes=100, tests=1_000), 200, (80, 20)),
        (ContestSettings(genomes=20, tests=200), 200, (20, 80)),
        (ContestSettings(genome_windows=0), 10, (0, 0)),
    ],
)
def test_calibration_comes_before_tests(settings, num_real, expected):
    assert settings.simulated(num_real) == expected


def material(group: np.ndarray, num: int = 400) -> tuple[Material, list[Toy]]:
    """Two scenarios whose genomes are simulated whole; ``group`` (REAL,) of the real windows."""
    toys = [Toy("same", 2, np.zeros(WIDTH)), Toy("off", 2, OFFSET)]
    rng = np.random.default_rng(7)
    real = np.repeat(genome(toys[0], np.array([1.0, 1.0]), rng)[: REAL // 4], 4, axis=0)
    contenders, block, _ = matched(toys, real)
    looked = look(replace(block, group=group), contenders)
    whole = []
    for toy, contender in zip(toys, contenders, strict=True):
        theta = contender.posterior[:num]
        each = [toy.windows(t[None], REAL, rng)[0] for t in theta]
        means = np.stack([looked.directions(windows).mean(axis=0) for windows in each])
        whole.append(Whole(theta, means, np.stack([windows.mean(axis=0) for windows in each])))
    share = noise_share(real, group)
    return Material(contenders, [looked], block.judge, share, whole, num - 100, 100, 1), toys


def test_whole_genomes_have_the_noise_of_linked_windows():
    """Four windows of a group repeat one: the means' variance is four times that of as many independent ones."""
    linked, toys = material(np.arange(REAL) // 4)
    alone, _ = material(2 * np.arange(REAL))
    assert linked.share * REAL == pytest.approx(4, rel=0.25)
    drawn, plain = linked.genomes(linked.judges()), alone.genomes(alone.judges())
    for i, toy in enumerate(toys):
        expected = toy.mean(linked.whole[i].theta)
        noise = [(part.statistics - expected).var(axis=0) for part in (plain[i], drawn[i])]
        assert noise[1] / noise[0] == pytest.approx(linked.share * REAL * np.ones(WIDTH), rel=0.25)
        middle = linked.judges().likelihoods[i].emulator(linked.contenders[i].coordinates.encode(linked.whole[i].theta))
        ratio = (drawn[i].means - middle).var(axis=0) / (linked.whole[i].means - middle).var(axis=0)
        assert ratio == pytest.approx(linked.looked[0].share * REAL * np.ones(len(ratio)), rel=1e-6)
    # Where windows are their own blocks, genomes are as simulated.
    assert np.allclose(plain[0].statistics, alone.whole[0].classical)
    assert np.allclose(plain[0].means, alone.whole[0].means)


def test_fewer_judging_windows_judge_the_same_genomes_less_well():
    everything, _ = material(np.arange(REAL))
    drawn = everything.genomes(everything.judges())
    losses = {}
    for size in (len(everything.contenders[0].judge), 40):
        fewer = everything.fewer(size)
        assert len(fewer.looked[0].judge[0]) == len(fewer.contenders[0].judge) == size
        probabilities, scenario = fewer.calibrated(fewer.judges(), drawn)[1]
        assert len(scenario) == 200
        losses[size] = -np.log(probabilities[np.arange(200), scenario]).mean()
    assert losses[250] < losses[40] + 0.05
    assert losses[250] < 0.9 * np.log(2)
