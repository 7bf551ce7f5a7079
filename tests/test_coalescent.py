"""Windows from msprime: laws of the coalescent, and what the output may depend on."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import msprime
import numpy as np
import pytest

from ganinfer.coalescent import Rates, keep_freed_memory, read_labels, read_ploidy, read_rates, simulate_windows
from ganinfer.interfaces import WindowTemplate
from ganinfer.models import ModelError
from ganinfer.parameters import Parameter, Parameters
from ganinfer.windows import RecombinationMap

SIZE, RATE = 10_000, 1.25e-8
HALF = RecombinationMap(np.array([0.0, 10_000, 20_000]), np.array([0.0, 5e-8]))


def windows(templates: Sequence[WindowTemplate], seed: int = 1, num_samples: int = 5, **options: Any) -> list[Any]:
    demography = msprime.Demography.isolated_model([SIZE])
    samples = [msprime.SampleSet(num_samples, population="pop_0")]
    options = {"mutation_rate": RATE, "recombination_rate": RATE, **options}
    return list(simulate_windows(demography, samples, templates, seed, **options))


def digests(found: Sequence[Any]) -> list[Any]:
    return [(t.genotype_matrix().tobytes(), t.sites_position.tobytes(), t.edges_left.tobytes()) for t in found]


MIXED = (
    WindowTemplate(20_000, recombination=HALF),
    WindowTemplate(10_000),
    WindowTemplate(20_000, recombination=HALF),
    WindowTemplate(10_000),
    WindowTemplate(20_000),
)


def test_one_window_a_template_in_order() -> None:
    assert [t.sequence_length for t in windows(MIXED)] == [t.length for t in MIXED]


def test_the_same_arguments_give_the_same_windows() -> None:
    first = digests(windows(MIXED, seed=7))
    windows(MIXED, seed=8)
    assert digests(windows(MIXED, seed=7)) == first
    assert not set(digests(windows(MIXED, seed=8))) & set(first)


def test_streams_do_not_disturb_one_another() -> None:
    demography = msprime.Demography.isolated_model([SIZE])
    samples = [msprime.SampleSet(5, population="pop_0")]
    streams = [
        simulate_windows(demography, samples, MIXED, s, mutation_rate=RATE, recombination_rate=RATE) for s in (7, 8)
    ]
    turns = list(zip(*streams, strict=True))
    assert digests([a for a, _ in turns]) == digests(windows(MIXED, seed=7))
    assert digests([b for _, b in turns]) == digests(windows(MIXED, seed=8))


def test_windows_of_one_call_are_independent() -> None:
    """Replicates of one simulator and windows of simulators of their own vary alike, and neighbours do not covary."""
    same = np.array([t.num_sites for t in windows((WindowTemplate(10_000),) * 400, num_samples=2)])
    own = np.array([t.num_sites for t in windows([WindowTemplate(10_000 + i % 7) for i in range(400)], num_samples=2)])
    assert len(set(digests(windows((WindowTemplate(10_000),) * 20)))) == 20
    error = np.hypot(same.std(), own.std()) / np.sqrt(400)
    assert abs(same.mean() - own.mean()) < 4 * error
    assert abs(np.corrcoef(same[:-1], same[1:])[0, 1]) < 4 / np.sqrt(399)


@pytest.mark.parametrize("ploidy", [1, 2])
def test_diversity_is_what_theory_says(ploidy: int) -> None:
    """Expected pairwise differences under Jukes-Cantor with gamma = exponential coalescence times of mean 2 N."""
    found = [t.diversity() for t in windows((WindowTemplate(20_000),) * 400, ploidy=ploidy)]
    theta = 2 * ploidy * SIZE * RATE
    expected = 0.75 * (1 - 1 / (1 + 4 / 3 * theta))
    assert abs(np.mean(found) - expected) < 4 * np.std(found) / np.sqrt(len(found))


def test_segregating_sites_are_what_theory_says() -> None:
    """Watterson's expectation (doi 10.1016/0040-5809(75)90020-9); sites hit twice are one in a thousand here."""
    found = [t.num_sites for t in windows((WindowTemplate(20_000),) * 400)]
    expected = 4 * SIZE * RATE * 20_000 * (1 / np.arange(1, 10)).sum()
    assert abs(np.mean(found) - expected) < 4 * np.std(found) / np.sqrt(len(found)) + 0.003 * expected


def test_recombination_follows_the_slice_of_the_map() -> None:
    found = windows([WindowTemplate(20_000, recombination=HALF)] * 50, recombination_rate="map")
    breakpoints = np.concatenate([t.breakpoints(as_array=True)[1:-1] for t in found])
    assert len(breakpoints) > 100
    assert breakpoints.min() >= 10_000
    uniform = windows([WindowTemplate(20_000, recombination=HALF)] * 50)
    assert min(t.breakpoints(as_array=True)[1:2].min(initial=np.inf) for t in uniform) < 10_000


def test_recombination_scale() -> None:
    def num_trees(scale: float) -> float:
        templates = [WindowTemplate(20_000, recombination=HALF)] * 60
        return float(
            np.mean([t.num_trees - 1 for t in windows(templates, recombination_rate="map", recombination_scale=scale)])
        )

    assert num_trees(0) == 0
    assert num_trees(3) == pytest.approx(3 * num_trees(1), rel=0.2)


def test_a_map_that_is_a_number_is_that_number() -> None:
    flat = RecombinationMap(np.array([0.0, 20_000]), np.array([RATE]))
    by_map = windows([WindowTemplate(20_000, recombination=flat)] * 3, recombination_rate="map")
    assert digests(by_map) == digests(windows([WindowTemplate(20_000)] * 3))


def test_without_a_map_there_is_no_map() -> None:
    with pytest.raises(ValueError, match="recombination_rate is map, but the data have no recombination map: name one"):
        windows([WindowTemplate(20_000)], recombination_rate="map")


def test_a_map_of_another_length() -> None:
    with pytest.raises(ValueError, match="template of 10000 bases has a recombination map of 20000 bases"):
        windows([WindowTemplate(10_000, recombination=HALF)], recombination_rate="map")


def test_sites_with_several_alleles_occur() -> None:
    found = windows((WindowTemplate(2_000),) * 10, mutation_rate=2e-6)
    alleles = np.concatenate([[v.num_alleles for v in t.variants()] for t in found])
    assert {2, 3, 4} <= set(alleles.tolist())
    assert all(float(x).is_integer() for t in found for x in t.sites_position)
    assert all(a < b for t in found for a, b in pairwise(t.sites_position))


def test_freed_memory_can_be_kept_or_not() -> None:
    assert keep_freed_memory() in (True, False)


# --- options ----------------------------------------------------------------------------------------------------

MU = Parameters(
    (Parameter("mu", 1e-9, 1e-7), Parameter("odd", -1, 1), Parameter("big", 0, 1), Parameter("fold", 0.1, 10))
)


def test_rates_are_numbers_or_parameters() -> None:
    rates = read_rates("mu", "map", 2)
    rates.check(MU, {})
    assert rates.names == ("mu",)
    assert rates.at({"mu": 3e-9, "odd": 0.0}) == {
        "mutation_rate": 3e-9,
        "recombination_rate": "map",
        "recombination_scale": 2,
    }


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        (Rates("m"), r"mutation_rate is a number or a parameter; 'm' is no parameter; .*Allowed: mu, odd, big, fold"),
        (Rates(1e-8, "mpa"), "recombination_rate is a number, map, or a parameter; 'mpa' is no parameter"),
        (Rates("map"), "mutation_rate is a number or a parameter; 'map' is no parameter"),
        (Rates(-1e-8), "mutation_rate is above 0 and at most 0.001 per base and generation, such as .*; got -1e-08"),
        (Rates(0), "mutation_rate is above 0 .*; got 0"),
        (Rates(1.25), "mutation_rate is above 0 and at most 0.001 .*, such as 1.25e-8; got 1.25"),
        (Rates("big"), "mutation_rate is above 0 and at most 0.001 .*; parameter 'big' lets it be from 0 to 1"),
        (Rates(1e-8, "odd"), "recombination_rate is from 0 to 0.1 .*; parameter 'odd' lets it be from -1 to 1"),
        (Rates(1e-8, "big"), "recombination_rate is from 0 to 0.1 per base and generation, such as 1.25e-8; parameter"),
        (Rates(1e-8, 1.25), "recombination_rate is from 0 to 0.1 .*; got 1.25"),
        (Rates(1e-8, "map", -1), "recombination_scale is a factor from 0; got -1"),
        (Rates(1e-8, "map", "odd"), "recombination_scale is a factor from 0; parameter 'odd' lets it be from -1 to 1"),
        (Rates(1e-8, 0.05, 3), "recombination_rate is from 0 to 0.1 .*, after recombination_scale; got 0.15"),
        (Rates(1e-8, 0.05, "fold"), "after recombination_scale; parameter 'fold' lets it be from 0 to 0.5"),
    ],
)
def test_wrong_rates(rates: Rates, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        rates.check(MU, {})


def test_a_rate_that_is_held_lies_where_rates_lie() -> None:
    Rates("held", "none").check(MU, {"held": 1e-8, "none": 0.0})
    with pytest.raises(ModelError, match=r"mutation_rate is above 0 .*; parameter 'held' lets it be from 0 to 0"):
        Rates("held").check(MU, {"held": 0.0})


def test_wrong_kinds_of_options() -> None:
    loci_only = read_rates(None, "map", 1)
    assert loci_only.missing == "mutation_rate is missing: a number per base and generation, or the name of a parameter"
    assert read_rates(1e-8, "map", 1).missing is None
    with pytest.raises(ModelError, match="recombination_scale must be a finite number, got inf"):
        read_rates(1e-8, "map", float("inf"))
    with pytest.raises(ModelError, match=r"demes maps population labels .* got \['A'\]"):
        read_labels(["A"])
    with pytest.raises(ModelError, match="ploidy is a number of chromosomes from 1, got 0"):
        read_ploidy(0)
