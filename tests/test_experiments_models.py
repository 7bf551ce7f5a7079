"""The shipped experiments: their models are the published ones, and each can be simulated over its whole prior."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msprime
import numpy as np
import pytest
from ruamel.yaml import YAML

from ganinfer import experiment
from ganinfer.haplotypes import SampleSet
from ganinfer.interfaces import Design, WindowTemplate
from ganinfer.windows import RecombinationMap

EXPERIMENTS = Path(__file__).parent.parent / "experiments"
STUDIES = ("const", "exp", "im", "ooa2", "post_ooa", "ooa3", "recombination")
SIZE, RATE = (1000, 30000), 1.25e-8

#: Truth and prior of every parameter, in order.
PARAMETERS: dict[str, dict[str, tuple[float, float, float]]] = {
    "const": {"Ne": (10000, *SIZE)},
    "exp": {
        "N1": (9000, *SIZE),
        "N2": (5000, *SIZE),
        "T1": (2000, 1500, 5000),
        "T2": (350, 100, 1500),
        "growth": (0.005, 0, 0.05),
    },
    "im": {
        "N1": (9000, *SIZE),
        "N2": (5000, *SIZE),
        "N_anc": (15000, 1000, 25000),
        "T_split": (2000, 500, 20000),
        "pulse": (0.05, -0.2, 0.2),
    },
    "ooa2": {
        "N1": (9000, *SIZE),
        "N2": (5000, *SIZE),
        "N3": (12000, *SIZE),
        "N_anc": (15000, 1000, 25000),
        "T1": (2000, 1500, 5000),
        "T2": (350, 100, 1500),
        "pulse": (0.05, -0.2, 0.2),
    },
    "ooa3": {
        "N_A": (7300, 1000, 30000),
        "N_B": (2100, 1000, 20000),
        "N_AF": (12300, 1000, 40000),
        "N_EU0": (1000, 100, 20000),
        "N_AS0": (510, 100, 20000),
        "r_EU": (0.004, 0, 0.05),
        "r_AS": (0.0055, 0, 0.05),
        "T_AF": (8800, 8000, 15000),
        "T_B": (5600, 2000, 8000),
        "T_EU_AS": (848, 100, 2000),
        "m_AF_B": (25e-5, 0, 0.01),
        "m_AF_EU": (3e-5, 0, 0.01),
        "m_AF_AS": (1.9e-5, 0, 0.01),
        "m_EU_AS": (9.6e-5, 0, 0.01),
    },
    "recombination": {"Ne": (10000, *SIZE), "recombination_rate": (RATE, 1e-9, 1e-7)},
}
PARAMETERS["post_ooa"] = PARAMETERS["ooa2"]


def load(name: str) -> tuple[experiment.Experiment, Any]:
    found = experiment.load(EXPERIMENTS / f"{name}.yaml")
    return found, experiment.simulator(found, next(iter(found.scenarios)))


# --- the same models written by hand, for msprime, backwards in time -------------------------------------------


def _pulse(demography: msprime.Demography, time: float, share: float) -> None:
    """Lineages go back to where the migrants of the forward pulse came from."""
    source, dest = ("B", "A") if share > 0 else ("A", "B")
    demography.add_mass_migration(time=time, source=source, dest=dest, proportion=abs(share))


def _one(Ne: float, **_: float) -> msprime.Demography:
    demography = msprime.Demography()
    demography.add_population(name="A", initial_size=Ne)
    return demography


def _exp(N1: float, N2: float, T1: float, T2: float, growth: float) -> msprime.Demography:
    demography = msprime.Demography()
    demography.add_population(name="A", initial_size=N2 * math.exp(growth * T2), growth_rate=growth)
    demography.add_population_parameters_change(time=T2, population="A", initial_size=N2, growth_rate=0)
    demography.add_population_parameters_change(time=T1, population="A", initial_size=N1)
    return demography


def _im(N1: float, N2: float, N_anc: float, T_split: float, pulse: float) -> msprime.Demography:
    demography = _populations(ancestral=N_anc, A=N1, B=N2)
    _pulse(demography, T_split / 2, pulse)
    demography.add_population_split(time=T_split, derived=["A", "B"], ancestral="ancestral")
    return demography


def _ooa2(
    N1: float, N2: float, N3: float, N_anc: float, T1: float, T2: float, pulse: float
) -> msprime.Demography:  # fmt: skip
    demography = _populations(ancestral=N_anc, A=N3, B=N2)
    demography.add_population_parameters_change(time=T2, population="B", initial_size=N1)
    _pulse(demography, T2, pulse)
    demography.add_population_split(time=T1, derived=["A", "B"], ancestral="ancestral")
    return demography


def _post_ooa(
    N1: float, N2: float, N3: float, N_anc: float, T1: float, T2: float, pulse: float
) -> msprime.Demography:  # fmt: skip
    demography = _populations(ancestral=N1, A=N3, B=N2)
    _pulse(demography, T2 / 2, pulse)
    demography.add_population_split(time=T2, derived=["A", "B"], ancestral="ancestral")
    demography.add_population_parameters_change(time=T1, population="ancestral", initial_size=N_anc)
    return demography


def _ooa3(**p: float) -> msprime.Demography:
    demography = _populations(ancestral=p["N_A"], A=p["N_AF"], out_of_africa=p["N_B"])
    demography["A"].initially_active = True
    for name, size, rate in (("B", p["N_EU0"], p["r_EU"]), ("C", p["N_AS0"], p["r_AS"])):
        now = size * math.exp(rate * p["T_EU_AS"])
        demography.add_population(name=name, initial_size=now, growth_rate=rate)
    for pair, rate in ((["A", "B"], "m_AF_EU"), (["A", "C"], "m_AF_AS"), (["B", "C"], "m_EU_AS")):
        demography.set_symmetric_migration_rate(pair, p[rate])
    demography.add_population_split(time=p["T_EU_AS"], derived=["B", "C"], ancestral="out_of_africa")
    demography.add_symmetric_migration_rate_change(
        time=p["T_EU_AS"], populations=["A", "out_of_africa"], rate=p["m_AF_B"]
    )
    demography.add_population_split(time=p["T_B"], derived=["out_of_africa"], ancestral="A")
    demography.add_population_split(time=p["T_AF"], derived=["A"], ancestral="ancestral")
    return demography


def _populations(**sizes: float) -> msprime.Demography:
    demography = msprime.Demography()
    for name, size in sizes.items():
        demography.add_population(name=name, initial_size=size)
    return demography


BY_HAND = {
    "const": _one,
    "exp": _exp,
    "im": _im,
    "ooa2": _ooa2,
    "post_ooa": _post_ooa,
    "ooa3": _ooa3,
    "recombination": _one,
}


def histories(demography: msprime.Demography, until: float) -> dict[str, np.ndarray]:
    """Coalescence rate and share of lineages not coalesced, along time, for pairs within and between populations.

    What the coalescent of two lineages sees of a demography; two that agree in it for every pair have the same sizes,
    migration, pulses and splits.
    """
    times = np.geomspace(1, until, 60)
    debug = demography.debug()
    sampled = [name for name in "ABC" if name in demography]
    pairs = [(a, b) for i, a in enumerate(sampled) for b in sampled[i:]]
    found = {}
    for a, b in pairs:
        lineages = {a: 2} if a == b else {a: 1, b: 1}
        found[a + b] = np.stack(debug.coalescence_rate_trajectory(times, lineages, double_step_validation=False))
    return found


def calm(theta: dict[str, float]) -> dict[str, float]:
    """Growth of 5 % over a thousand generations leaves sizes at which no two rates can be compared."""
    return {k: v / 10 if k in ("r_EU", "r_AS", "growth") else v for k, v in theta.items()}


@pytest.mark.parametrize("name", STUDIES)
def test_the_model_is_the_one_written_by_hand(name: str) -> None:
    found, simulator = load(name)
    truth = dict(found.data.simulate.truth)  # type: ignore[union-attr]
    draws = simulator.parameters.sample(np.random.default_rng(3), 3)
    for theta in (truth, *(calm(simulator.parameters.named(v)) for v in draws)):
        here, there = histories(simulator.demography(theta), 50_000), histories(BY_HAND[name](**theta), 50_000)
        assert here.keys() == there.keys()
        for pair, values in here.items():
            np.testing.assert_allclose(values, there[pair], rtol=1e-3, atol=1e-9, err_msg=f"{pair} at {theta}")


@pytest.mark.parametrize("name", STUDIES)
def test_parameters_are_the_published_ones(name: str) -> None:
    found, simulator = load(name)
    parameters = simulator.parameters
    assert {p.name: (found.data.simulate.truth[p.name], p.lower, p.upper) for p in parameters} == PARAMETERS[name]  # type: ignore[union-attr]
    assert parameters.names == tuple(PARAMETERS[name])
    for p in parameters:
        kind = "log-uniform" if p.name == "recombination_rate" else "uniform"
        assert (p.density.kind, p.scale) == (kind, "log" if kind == "log-uniform" else "linear")
        assert p.unit
        assert p.description


@pytest.mark.parametrize("name", STUDIES)
def test_the_demes_file_holds_the_truth(name: str) -> None:
    """What is written is rounded; what options say of it is exact."""
    import demes

    found, simulator = load(name)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Multiple pulses")
        written = demes.load(EXPERIMENTS / f"{name}.demes.yaml")
    assert simulator.graph(found.data.simulate.truth).isclose(written, rel_tol=1e-4)  # type: ignore[union-attr]


@pytest.mark.parametrize("name", STUDIES)
def test_studies_have_the_agreed_data(name: str) -> None:
    found, simulator = load(name)
    study = found.data.simulate  # type: ignore[union-attr]
    individuals = {"const": 50, "exp": 50}.get(name, 10)
    populations = {"ooa2": "AB", "post_ooa": "AB", "im": "AB", "ooa3": "ABC"}.get(name, "A")
    assert experiment.sample_sets(study) == tuple(SampleSet(p, individuals) for p in populations)
    assert (study.windows, found.windows.length, found.budget.minutes) == (2000, 50_000, None)
    assert not experiment.pipeline_settings(found, phased=True).folded
    assert simulator.rates.mutation == RATE
    assert simulator.rates.recombination in (RATE, "recombination_rate")


def test_the_bottleneck_changes_the_size_once_of_one_long_chromosome() -> None:
    found, simulator = load("bottleneck")
    study = found.data.simulate  # type: ignore[union-attr]
    assert (study.contigs, study.contig_length, found.windows.length) == (1, 100_000_000, 50_000)
    assert experiment.sample_sets(study) == (SampleSet("A", 20),)
    assert (simulator.rates.mutation, simulator.rates.recombination) == (1.26e-8, 1.007e-8)
    assert {p.name: (p.lower, p.upper, p.density.kind) for p in simulator.parameters} == {
        "N_anc": (1e3, 1e5, "log-uniform"),
        "N": (1e2, 5e4, "log-uniform"),
        "T": (10, 1e4, "log-uniform"),
    }
    rate = simulator.demography({"N_anc": 8000, "N": 300, "T": 70}).debug().coalescence_rate_trajectory
    rates, _ = rate(np.array([0, 69, 71, 5000]), {"A": 2})
    np.testing.assert_allclose(rates, 1 / (2 * np.array([300, 300, 8000, 8000])))


@pytest.mark.parametrize("name", [*STUDIES, "bottleneck", "yri-ceu"])
def test_the_corners_of_the_prior_can_be_simulated(name: str) -> None:
    found, simulator = load(name)
    parameters = simulator.parameters
    rng = np.random.default_rng(5)
    corners = parameters.from_unit(rng.integers(0, 2, (40, len(parameters))) * (1 - 2e-6) + 1e-6)
    corners = corners[parameters.possible(corners)][:8]
    samples = (SampleSet("YRI", 2), SampleSet("CEU", 2)) if name == "yri-ceu" else None
    flat = RecombinationMap(np.array([0.0, 2000.0]), np.array([1e-8]))
    design = Design(
        samples or experiment.sample_sets(found.data.simulate),  # type: ignore[union-attr]
        (WindowTemplate(2000, recombination=flat),),
    )
    assert len(corners) > 0
    for vector in corners:
        (window,) = simulator.simulate(parameters.named(vector), design, 1)
        assert window.num_samples == design.num_chromosomes


def test_most_of_every_prior_is_possible() -> None:
    for name in (*STUDIES, "yri-ceu"):
        parameters = load(name)[1].parameters
        draws = parameters.from_unit(np.random.default_rng(1).random((100, len(parameters))))
        assert parameters.possible(draws).mean() > 0.7, name


def test_yri_ceu_reads_the_shipped_genomes_and_the_map() -> None:
    found, simulator = load("yri-ceu")
    source = experiment.genome_source(found)
    assert source.populations == {"YRI": 20, "CEU": 20}
    assert source.ancestral == "none"
    assert experiment.pipeline_settings(found, phased=True).singletons == "drop"
    assert (simulator.rates.mutation, simulator.rates.recombination, simulator.generation_time) == (1.29e-8, "map", 25)
    assert all(p.scale == "log" for p in simulator.parameters)


def test_diversity_of_const_is_four_n_mu() -> None:
    """2,000 windows would say it within 1 %; 300 do within 3 %."""
    _, simulator = load("const")
    design = Design((SampleSet("A", 5),), (WindowTemplate(50_000),) * 300)
    found = np.array([w.diversity() for w in simulator.simulate({"Ne": 10_000.0}, design, 11)])
    theta = 4 * 10_000 * RATE
    expected = 0.75 * (1 - 1 / (1 + 4 / 3 * theta))
    error = found.std() / math.sqrt(len(found))
    assert error < 0.03 * expected
    assert abs(found.mean() - expected) < 4 * error


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.glob("*.options.yaml")), ids=lambda p: p.name)
def test_files_are_written_for_other_tools_too(path: Path) -> None:
    """Numbers are YAML 1.2's, and a file without our extensions has what moments demands of one."""
    demes_file = path.with_name(path.name.replace(".options.", ".demes."))
    for file in (path, demes_file):
        numbers = re.sub(r"#.*", "", file.read_text())
        assert not re.search(r"\b\d+_\d", numbers), f"{file.name}: 1_000 is no number in YAML 1.2"
    options: Mapping[str, Any] = YAML(typ="safe", pure=True).load(path)
    if "expressions" not in options and path.name != "recombination.options.yaml":
        assert all("values" in p for p in options["parameters"])
