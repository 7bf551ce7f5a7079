"""Whether data lie among simulations: honest inside, and seen outside."""

from __future__ import annotations

import numpy as np
import pytest

from ganinfer.adequacy import ALL, GUIDE, LARGEST, Reference


def simulated(size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Twelve statistics that depend on two parameters, one of them not linearly, and guides that know these nearly."""
    rng = np.random.default_rng(seed)
    theta = rng.standard_normal((size, 2))
    matrix = np.random.default_rng(0).standard_normal((3, 12))
    mean = np.column_stack([theta, theta[:, 0] ** 2]) @ matrix
    noise = rng.standard_normal((size, 12)) @ np.diag(np.linspace(0.2, 2, 12))
    noise[:, 1] += noise[:, 0]
    return mean + noise, theta + 0.2 * rng.standard_normal((size, 2))


def p_values(reference: Reference, statistics: np.ndarray, guide: np.ndarray) -> np.ndarray:
    return np.array([reference.verdict(s, g).p_value for s, g in zip(statistics, guide, strict=True)])


@pytest.mark.parametrize("size", [60, 400])
def test_fresh_simulations_are_odd_as_often_as_the_p_value_says(size):
    found = p_values(Reference(*simulated(size, 1)), *simulated(400, 2))
    for level in (0.05, 0.2, 0.5):
        assert abs((found < level).mean() - level) < 4 * np.sqrt(level * (1 - level) * (1 / 400 + 1 / size))


@pytest.mark.parametrize("statistic", [0, 5, 11])
def test_a_statistic_that_is_off_is_seen_and_named(statistic):
    reference = Reference(*simulated(400, 1))
    statistics, guide = simulated(50, 3)
    statistics[:, statistic] += 8 * np.linspace(0.2, 2, 12)[statistic] + 4
    verdicts = [reference.verdict(s, g) for s, g in zip(statistics, guide, strict=True)]
    assert np.mean([v.p_value < 0.05 for v in verdicts]) > 0.9
    assert np.mean([np.argmax(np.abs(v.z)) == statistic for v in verdicts]) > 0.8
    assert set(verdicts[0].parts) == {GUIDE, ALL, LARGEST}


def test_long_tails_of_one_family_do_not_hide_another():
    """A hundred statistics with long tails, and one that is steady: what it shows is seen if it is looked at alone."""
    rng = np.random.default_rng(8)

    def drawn(size: int) -> np.ndarray:
        return np.column_stack([rng.standard_t(2.5, (size, 100)), rng.standard_normal(size)])

    guide, families = rng.standard_normal((500, 1)), [*["rare"] * 100, "steady"]
    off = drawn(100)
    off[:, -1] += 5
    known = drawn(500)
    flagged = {
        name: np.mean(p_values(reference, off, guide[:100]) < 0.05)
        for name, reference in (("apart", Reference(known, guide, families)), ("together", Reference(known, guide)))
    }
    assert flagged["apart"] > 0.95
    assert flagged["together"] < 0.5
    fresh = p_values(Reference(known, guide, families), drawn(400), guide[:400])
    assert abs((fresh < 0.05).mean() - 0.05) < 4 * np.sqrt(0.05 * 0.95 * (1 / 400 + 1 / 500))
    assert set(Reference(known, guide, families).looks) == {GUIDE, ALL, f"{LARGEST}: rare", f"{LARGEST}: steady"}


def test_parameters_beyond_the_prior_are_seen():
    reference = Reference(*simulated(400, 1))
    assert reference.verdict(simulated(1, 3)[0][0], np.array([9.0, 9.0])).parts["guide"] < 0.01


def test_what_never_varies_in_simulations_is_no_surprise_when_it_hardly_does():
    statistics, guide = simulated(400, 1)
    statistics = np.column_stack([statistics, np.full(400, 0.25)])
    reference = Reference(statistics, guide)
    fresh, own = simulated(1, 5)
    same = reference.verdict(np.append(fresh[0], 0.25), own[0])
    assert np.isfinite(same.z).all()
    assert same.z[-1] == 0
    assert abs(reference.verdict(np.append(fresh[0], 99.0), own[0]).z[-1]) > 20


def test_a_family_that_never_varies_is_no_look_of_its_own():
    """As where simulations have the real table's missing calls, and new tables have their own."""
    statistics, guide = simulated(400, 1)
    reference = Reference(np.column_stack([statistics, np.full(400, 0.25)]), guide, [*["spectrum"] * 12, "missing"])
    assert reference.looks == (GUIDE, ALL, f"{LARGEST}: spectrum")
    fresh, own = simulated(200, 5)
    near = p_values(reference, np.column_stack([fresh, np.full(200, 0.26)]), own)
    assert (near < 0.05).mean() < 0.12
    far = p_values(reference, np.column_stack([fresh, np.full(200, 9.0)]), own)
    assert (far < 0.05).all()


def test_a_verdict_depends_on_the_data_set_alone():
    reference = Reference(*simulated(200, 1))
    statistics, guide = simulated(3, 7)
    alone = reference.verdict(statistics[1], guide[1])
    assert p_values(reference, statistics, guide)[1] == alone.p_value
