"""The verdict on a fitted model: what decides, what is left out, where windows are unusual."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from ganinfer.adequacy import ALL, GUIDE, LARGEST, AdequacySettings, Verdict
from ganinfer.evidence import BOUND, Plain
from ganinfer.generators.bounds import Bounds
from ganinfer.interfaces import FoldResult, WindowTemplate
from ganinfer.verdict import ADEQUATE, STRAINED, WRONG, verdict_of
from ganinfer.verdict.leaving import Without, odd, reduced
from ganinfer.verdict.looking import _linked
from ganinfer.verdict.places import distances
from ganinfer.windows import RecombinationMap

FAMILIES = ("sfs", "sfs", "haplotypes", "embedding 1", "critic 1")


@pytest.mark.parametrize(
    ("p_value", "auc", "moved", "expected"),
    [
        (0.06, 0.9, None, ADEQUATE),
        (0.04, 0.55, {"N": 0.4, "T": 0.9}, STRAINED),
        (0.04, 0.55, {"N": 0.4, "T": 1.1}, WRONG),
        (0.04, 0.66, {"N": 0.4}, WRONG),
        (0.04, 0.55, {}, WRONG),
        (0.04, 0.55, None, WRONG),
    ],
)
def test_the_verdict_in_a_word(p_value, auc, moved, expected):
    left = None if moved is None else Without(("sfs", "embedding"), moved)
    assert verdict_of(p_value, auc, left, 0.05) == expected


def looked(p_values: dict[str, float], z: list[float]) -> Verdict:
    parts = {GUIDE: 0.5, ALL: 0.001} | {f"{LARGEST}: {name}": p for name, p in p_values.items()}
    return Verdict(0.01, parts, np.array(z))


def test_odd_families_are_left_out_and_the_oddest_in_any_case():
    usual = {"sfs": 0.5, "haplotypes": 0.5, "embedding 1": 0.5, "critic 1": 0.5}
    assert odd(looked({**usual, "haplotypes": 0.01}, [1, 1, 4, 1, 1]), FAMILIES) == ("haplotypes",)
    # Where two are as odd as simulations can say, the larger residual decides.
    both = looked({**usual, "haplotypes": 0.01, "sfs": 0.01}, [1, -9, 4, 1, 1])
    assert odd(both, FAMILIES) == ("sfs", "haplotypes")
    # One in twenty is no oddity among several.
    assert odd(looked({**usual, "haplotypes": 0.04, "sfs": 0.01}, [1, -9, 4, 1, 1]), FAMILIES) == ("sfs",)
    # A network's own statistics are left out anyway, however odd they are.
    assert odd(looked({**usual, "critic 1": 0.01, "sfs": 0.2}, [1, 1, 1, 1, 50]), FAMILIES) == ("sfs",)


def test_what_is_left_has_its_families_and_its_shared_columns():
    rng = np.random.default_rng(1)
    statistics, real = rng.random((6, 5)), rng.random((4, 5))
    families = ("sfs", "haplotypes", "sfs", "embedding", "embedding")
    zeros = np.zeros(3)
    result = FoldResult(zeros, zeros, statistics, zeros, real, zeros, zeros, zeros, 3, families)
    kept = reduced(result, np.array([True, False, True, False, False]))
    assert (kept.shared, kept.families) == (2, ("sfs", "sfs"))
    assert np.array_equal(kept.statistics, statistics[:, [0, 2]])
    assert np.array_equal(kept.real, real[:, [0, 2]])


@pytest.mark.parametrize(
    ("settings", "num_real", "expected"),
    [
        (AdequacySettings(), 2_000, (1_000, 16, False)),
        (AdequacySettings(), 20_000, (1_500, 16, False)),
        (AdequacySettings(), 400, (500, 16, False)),
        (AdequacySettings(), 5, (1_000, 5, True)),
        (AdequacySettings(), 40, (600, 40, True)),
        (AdequacySettings(), 120, (200, 120, True)),
        (AdequacySettings(), 121, (500, 16, False)),
        (AdequacySettings(windows=100_000), 120, (833, 120, True)),
        (AdequacySettings(windows=100_000, data_sets=300), 120, (300, 120, True)),
        (AdequacySettings(windows=10), 400, (21, 16, False)),
    ],
)
def test_how_many_fresh_windows(settings, num_real, expected):
    assert settings.shape(num_real, 5) == expected


def test_a_rare_kind_of_site_counts_as_there_or_not():
    rng = np.random.default_rng(3)
    common, rare = rng.normal(10, 2, 10_000), np.zeros(10_000)
    rare[:5] = [1, 2, 30, 400, 5000]
    values = np.stack([common, rare], axis=1)
    found = Bounds.of(values, BOUND)(values)
    assert len(set(found[:5, 1].tolist())) == 1
    assert (found[5:, 1] == 0).all()
    assert found[:, 0].mean() == pytest.approx(10, abs=0.1)
    assert np.ptp(found[:, 0]) == pytest.approx(2 * 2.5 * 2, rel=0.05)


def test_unusual_windows_stand_out_and_usual_ones_are_normal():
    rng = np.random.default_rng(4)
    mixing = rng.normal(size=(8, 8))
    classical = (rng.normal(size=(200, 16, 8)) @ mixing) + 3
    fresh = SimpleNamespace(theta=np.zeros((200, 1)), classical=classical, template=np.zeros((200, 16), dtype=int))
    real = rng.normal(size=(1_000, 8)) @ mixing + 3
    real[:10] += 6 * mixing[0]
    observed = SimpleNamespace(arrays={"classical": real}, templates=[WindowTemplate(50_000)] * 1_000)
    found = distances(SimpleNamespace(observed=observed), fresh)
    assert found[10:].mean() == pytest.approx(0, abs=0.12)
    assert found[10:].std() == pytest.approx(1, abs=0.1)
    assert (found[:10] > 2.5).all()


def test_windows_are_compared_with_what_the_model_makes_of_their_like():
    """Means and spread follow accessible bases and recombination: of a right model no kind of window is unusual."""
    rng = np.random.default_rng(6)
    bases, rate = rng.integers(5_000, 50_000, 400), 10 ** rng.uniform(-9, -7.5, 400)
    templates = [
        WindowTemplate(50_000, np.array([[0, b]]), RecombinationMap(np.array([0.0, 50_000.0]), np.array([r])))
        for b, r in zip(bases, rate, strict=True)
    ]

    def windows(template):
        size, spread = bases[template] / 25_000, (1e-8 / rate[template]) ** 0.25
        return size[..., None] * (5 + spread[..., None] * rng.normal(size=(*template.shape, 6)))

    template = rng.integers(0, 400, (300, 16))
    fresh = SimpleNamespace(theta=np.zeros((300, 1)), classical=windows(template), template=template)
    real = windows(np.arange(400))
    few = np.argsort(bases)[:40]
    real[few[:5]] += bases[few[:5], None] / 25_000 * 12
    observed = SimpleNamespace(arrays={"classical": real}, templates=templates)
    found = distances(SimpleNamespace(observed=observed), fresh)
    assert (found[few[:5]] > 2).all()  # unusual for so few bases, though not among all windows
    usual = np.delete(np.arange(400), few[:5])
    for feature in (bases, rate):
        order = usual[np.argsort(feature[usual])]
        for part in np.array_split(order, 4):
            assert found[part].mean() == pytest.approx(0, abs=0.35)


@pytest.mark.parametrize("size", [3, 9])
def test_whole_data_sets_have_the_noise_of_linked_windows(size):
    """Windows were simulated one by one; what went into the emulator of ``size`` parameters is not lost."""
    rng = np.random.default_rng(5)
    sets, windows, inflation = 60, 40, 2.5
    slopes = rng.normal(size=(size, 4))
    ratio = []
    for _ in range(80):
        x = rng.normal(size=(sets, size))
        values = (x @ slopes)[:, None] + rng.normal(size=(sets, windows, 4))
        fold = np.zeros(windows, dtype=int)
        problem = SimpleNamespace(observed=SimpleNamespace(fold=fold))
        found = _linked(problem, x, Plain(values, inflation / windows, 0))
        ratio.append(((found - x @ slopes) ** 2).mean() * windows)
    assert np.mean(ratio) == pytest.approx(inflation, rel=0.05)
    assert np.allclose(_linked(problem, x, Plain(values, 1 / windows, None)), values.mean(axis=1))
