"""The shipped experiments with several scenarios: the published models and priors, all of which can be simulated."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import demes
import msprime
import numpy as np
import pytest

from ganinfer import experiment, simulation
from ganinfer.haplotypes import SampleSet
from ganinfer.interfaces import Design, LociTemplate, WindowTemplate
from ganinfer.windows import RecombinationMap

EXPERIMENTS = Path(__file__).parent.parent / "experiments"
STEPPE = ("stable", "expansion-both", "expansion-z")
PAST = 2_400_000

#: What the demes files of the steppe plant hold.
WRITTEN: dict[str, float] = {
    "generation_time": 9,
    "Ne": 100_000,
    "NeZ": 1.5,
    "NeExZLGM": 20,
    "NeZLGM": 30,
    "NeExZPl": 0.8,
    "NeZPl": 0.7,
    "T1": 900_000,
    "T1Growth": 300_000,
    "split_share": (900_000 - 300_000) / (PAST - 300_000),
    "T2": 60_000,
    "T3": 6_000,
    "m12_LGM": 2,
    "m21_LGM": 1,
    "m12_Pl": 1.5,
    "m21_Pl": 0.5,
}
BOUNDS: dict[str, tuple[float, float]] = {
    "generation_time": (8, 10),
    "Ne": (40_000, 200_000),
    "NeZ": (0.2, 5),
    "NeExZLGM": (5, 100),
    "NeZLGM": (5, 100),
    "NeExZPl": (0.5, 1),
    "NeZPl": (0.5, 1),
    "T1": (110_000, PAST),
    "T1Growth": (110_000, 500_000),
    "split_share": (0, 1),
    "T2": (12_000, 110_000),
    "T3": (0, 12_000),
    **dict.fromkeys(("m12_LGM", "m21_LGM", "m12_Pl", "m21_Pl"), (0, 5)),
}
#: Parameters that are not everywhere, by scenario.
OWN = {
    "stable": {"T1"},
    "expansion-both": {"NeExZLGM", "NeZLGM", "NeExZPl", "NeZPl", "T1Growth", "split_share"},
    "expansion-z": {"NeZLGM", "NeZPl", "T1Growth", "split_share"},
}
EVERYWHERE = set(BOUNDS) - set.union(*OWN.values())


def load(name: str, scenario: str) -> tuple[experiment.Experiment, Any]:
    found = experiment.load(EXPERIMENTS / f"{name}.yaml")
    return found, experiment.simulator(found, scenario)


def every() -> list[tuple[str, str]]:
    names = ("seguieriana", "expansion-decline")
    return [(name, s) for name in names for s in experiment.load(EXPERIMENTS / f"{name}.yaml").scenarios]


def by_hand(scenario: str, p: dict[str, float]) -> msprime.Demography:
    """The published ms command in generations: backwards in time, population 1 (ExZ) joins population 2 (Z)."""
    size, years = p["Ne"], p["generation_time"]
    split = p["T1"] if scenario == "stable" else p["T1Growth"] + p["split_share"] * (PAST - p["T1Growth"])
    t1, t2, t3 = split / years, p["T2"] / years, p["T3"] / years
    demography = msprime.Demography()
    demography.add_population(name="ExZ", initial_size=size)
    demography.add_population(name="Z", initial_size=size * p["NeZ"])
    for time, period in ((t3, "LGM"), (t2, "Pl")):
        for source, dest, which in (("ExZ", "Z", "m12"), ("Z", "ExZ", "m21")):
            rate = p[f"{which}_{period}"] / (4 * size)
            demography.add_migration_rate_change(time=time, source=source, dest=dest, rate=rate)
    for name in {"stable": (), "expansion-both": ("ExZ", "Z"), "expansion-z": ("Z",)}[scenario]:
        until = p["T1Growth"] / years
        growth = math.log(p[f"Ne{name}LGM"] / p[f"Ne{name}Pl"]) / (until - t2)
        demography.add_population_parameters_change(time=t3, population=name, initial_size=size * p[f"Ne{name}LGM"])
        demography.add_population_parameters_change(time=t2, population=name, growth_rate=growth)
        demography.add_population_parameters_change(time=until, population=name, growth_rate=0)
    demography.add_mass_migration(time=t1, source="ExZ", dest="Z", proportion=1)
    demography.add_migration_rate_change(time=t1, rate=0)
    demography.sort_events()
    return demography


def histories(demography: msprime.Demography) -> np.ndarray:
    """Coalescence rates along time of two lineages within and between populations.

    The shares that have not coalesced follow from them, and msprime loses digits of those where a deme is inactive.
    """
    times = np.geomspace(10, 400_000, 60)
    pairs: tuple[dict[str, int], ...] = ({"ExZ": 2}, {"Z": 2}, {"ExZ": 1, "Z": 1})
    debug = demography.debug()
    return np.stack([debug.coalescence_rate_trajectory(times, pair, double_step_validation=False)[0] for pair in pairs])


@pytest.mark.parametrize("scenario", STEPPE)
def test_steppe_scenarios_are_the_published_ones(scenario: str) -> None:
    _, simulator = load("seguieriana", scenario)
    draws = simulator.parameters.sample(np.random.default_rng(3), 3)
    for vector in draws:
        theta = simulator.parameters.named(vector)
        here, there = histories(simulator.demography(theta)), histories(by_hand(scenario, theta))
        np.testing.assert_allclose(here, there, rtol=1e-5, atol=1e-14, err_msg=f"{theta}")


@pytest.mark.parametrize("scenario", STEPPE)
def test_steppe_priors_are_the_published_ones(scenario: str) -> None:
    parameters = load("seguieriana", scenario)[1].parameters
    assert set(parameters.names) == EVERYWHERE | OWN[scenario]
    for p in parameters:
        assert (p.lower, p.upper) == BOUNDS[p.name]
        assert (p.density.kind, p.scale) == ("uniform", "linear")
        assert p.unit
        assert p.description


@pytest.mark.parametrize("scenario", STEPPE)
def test_steppe_demes_files_are_one_point_of_the_prior(scenario: str) -> None:
    simulator = load("seguieriana", scenario)[1]
    theta = {name: WRITTEN[name] for name in simulator.parameters.names}
    written = demes.load(EXPERIMENTS / f"seguieriana-{scenario}.demes.yaml")
    assert simulator.graph(theta).isclose(written, rel_tol=1e-4)


def test_the_steppe_study_is_as_large_as_the_published_data() -> None:
    found, _ = load("seguieriana", "stable")
    study = found.data.simulate  # type: ignore[union-attr]
    assert study.truth == {name: WRITTEN[name] for name in study.truth}
    assert experiment.sample_sets(study) == (SampleSet("ExZ", 80), SampleSet("Z", 55))
    assert (study.snps, study.missingness, found.kind) == (1000, 0.15, "loci")
    assert experiment.pipeline_settings(found, phased=True).folded


@pytest.mark.parametrize(("name", "scenario"), every())
def test_every_draw_is_a_possible_model(name: str, scenario: str) -> None:
    parameters = load(name, scenario)[1].parameters
    draws = parameters.from_unit(np.random.default_rng(1).random((1000, len(parameters))))
    kept = parameters.satisfies_constraints(draws)
    assert (parameters.possible(draws) == kept).all()
    assert kept.all() == (name == "seguieriana")


@pytest.mark.parametrize(("name", "scenario"), every())
def test_the_corners_of_the_prior_can_be_simulated(name: str, scenario: str) -> None:
    found, simulator = load(name, scenario)
    parameters = simulator.parameters
    corners = parameters.from_unit(np.random.default_rng(5).integers(0, 2, (40, len(parameters))) * (1 - 2e-6) + 1e-6)
    corners = corners[parameters.possible(corners)][:6]
    assert len(corners) == 6
    samples = tuple(SampleSet(s.population, 3) for s in experiment.sample_sets(found.data.simulate))  # type: ignore[union-attr]
    settings = experiment.pipeline_settings(found, phased=False)
    setup = simulation.Setup(
        "demes", found.scenarios[scenario].options, samples, settings, (("joint-counts", {}),), 20, 20, 20, "loci"
    )
    template = LociTemplate(np.arange(20), None, found.loci.genealogies, settings.rule)  # type: ignore[union-attr]
    for vector in corners:
        encoded = simulation.simulate_task(simulation.Task(setup, parameters.named(vector), (template,), 1))
        assert encoded["count_mask"].all()


def test_expansion_and_decline_share_a_prior() -> None:
    """Sizes between the same bounds in the logarithm, and which is the larger says which scenario it is."""
    drawn = {}
    for scenario in ("expansion", "decline"):
        parameters = load("expansion-decline", scenario)[1].parameters
        assert {p.name: (p.lower, p.upper, p.scale) for p in parameters} == {
            "N_past": (5_000, 50_000, "log"),
            "N": (5_000, 50_000, "log"),
            "T": (2_000 / 25, 100_000 / 25, "linear"),
        }
        drawn[scenario] = [parameters.named(v) for v in parameters.sample(np.random.default_rng(2), 50)]
    assert all(theta["N"] > theta["N_past"] for theta in drawn["expansion"])
    assert all(theta["N"] < theta["N_past"] for theta in drawn["decline"])


@pytest.mark.parametrize(
    ("scenario", "until", "since"),
    [("isolation", None, None), ("migration", 4_000, 0), ("secondary-contact", 400, 0)],
)
def test_populations_that_meet_again_exchange_migrants_only_then(scenario, until, since) -> None:
    found, simulator = load("contact", scenario)
    theta = {k: v for k, v in found.data.simulate.truth.items() if k in simulator.parameters.names}
    graph = simulator.graph(theta)
    times = {(m.start_time, m.end_time) for m in graph.migrations}
    assert times == (set() if until is None else {(until, since)})
    assert {d.end_time for d in graph.demes if d.name == "ancestral"} == {4_000}


@pytest.mark.parametrize("name", ["contact", "yri-ceu-migration"])
def test_scenarios_on_windows_can_be_simulated_anywhere_in_their_priors(name: str) -> None:
    for scenario in experiment.load(EXPERIMENTS / f"{name}.yaml").scenarios:
        _, simulator = load(name, scenario)
        demes_of = {"contact": ("A", "B"), "yri-ceu-migration": ("YRI", "CEU")}[name]
        template = WindowTemplate(2_000, recombination=RecombinationMap(np.array([0.0, 2_000.0]), np.array([1e-8])))
        design = Design(tuple(SampleSet(population, 2) for population in demes_of), (template,))
        for vector in simulator.parameters.sample(np.random.default_rng(1), 5):
            (window,) = simulator.simulate(simulator.parameters.named(vector), design, 1)
            assert window is not None
