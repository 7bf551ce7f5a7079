"""The demes simulator: who is sampled when, in which units, at which rates."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msprime
import numpy as np
import pytest

from ganinfer import plugins
from ganinfer.haplotypes import SampleSet
from ganinfer.interfaces import Design, Simulator, WindowTemplate
from ganinfer.models import ModelError
from simulators.demes import DemesSimulator

EXPERIMENTS = Path(__file__).parent.parent / "experiments"
IM = {"N1": 9000.0, "N2": 5000.0, "N_anc": 15000.0, "T_split": 2000.0, "pulse": 0.05}
AB = (SampleSet("A", 3), SampleSet("B", 2))

#: A ghost X gives a pulse to B; N died out 1,000 generations ago.
GHOSTS = """\
time_units: generations
demes:
- {name: root, epochs: [{start_size: 1000, end_time: 5000}]}
- {name: A, ancestors: [root], epochs: [{start_size: 1000}]}
- {name: N, ancestors: [root], epochs: [{start_size: 1000, end_time: 1000}]}
- {name: X, ancestors: [root], epochs: [{start_size: 1000}]}
- {name: B, ancestors: [A], start_time: 2000, epochs: [{start_size: 1000}]}
pulses:
- {sources: [X], dest: B, time: 500, proportions: [0.5]}
"""


def text(content: str, name: str = "model.yaml") -> dict[str, str]:
    return {"file": name, "text": content}


def make(name: str = "im", **options: Any) -> DemesSimulator:
    files = {"model": str(EXPERIMENTS / f"{name}.demes.yaml"), "parameters": str(EXPERIMENTS / f"{name}.options.yaml")}
    return DemesSimulator(**{**files, "mutation_rate": 1.25e-8, "recombination_rate": 1.25e-8, **options})


def ghosts(**options: Any) -> DemesSimulator:
    return make(**{"model": text(GHOSTS, "ghosts.yaml"), "parameters": None, **options})


def design(samples: tuple[SampleSet, ...], num_windows: int = 2, length: int = 10_000) -> Design:
    return Design(samples, (WindowTemplate(length),) * num_windows)


def labels(tree_sequence: Any) -> list[str]:
    names = [p.metadata["name"] for p in tree_sequence.populations()]
    return [names[tree_sequence.node(u).population] for u in tree_sequence.samples()]


def test_it_is_a_simulator_by_entry_point_and_json_options() -> None:
    options = {
        "model": text((EXPERIMENTS / "im.demes.yaml").read_text()),
        "parameters": text((EXPERIMENTS / "im.options.yaml").read_text()),
        "mutation_rate": 1e-8,
    }
    found = plugins.load_simulator("demes", options)
    assert isinstance(found, Simulator)
    assert isinstance(found, DemesSimulator)
    assert found.parameters.names == tuple(IM)


def test_samples_follow_the_design() -> None:
    for samples in (AB, AB[::-1], (*AB, AB[0])):
        for window in make().simulate(IM, design(samples), 1):
            assert labels(window) == [s.population for s in samples for _ in range(s.num_chromosomes)]


def test_haploids_and_ancient_samples() -> None:
    samples = (SampleSet("A", 2, ploidy=1), SampleSet("B", 3, time=120.5), SampleSet("A", 1))
    window = next(make().simulate(IM, design(samples), 1))
    assert [window.node(u).time for u in window.samples()] == [0] * 2 + [120.5] * 6 + [0] * 2
    assert labels(window) == ["A"] * 2 + ["B"] * 6 + ["A"] * 2
    individuals = [window.node(u).individual for u in window.samples()]
    assert np.bincount(individuals).tolist() == [1, 1, 2, 2, 2, 2]


def test_the_same_seed_gives_the_same_windows() -> None:
    def genotypes(seed: int, simulator: DemesSimulator) -> list[bytes]:
        return [w.genotype_matrix().tobytes() for w in simulator.simulate(IM, design(AB, 5), seed)]

    simulator = make()
    first = genotypes(1, simulator)
    list(simulator.simulate({**IM, "N1": 2000.0, "pulse": -0.1}, design(AB), 1))
    assert genotypes(1, simulator) == first == genotypes(1, make())
    assert genotypes(2, simulator) != first


def test_labels_of_the_data_map_to_demes() -> None:
    mapped = make(demes={"YRI": "A", "CEU": "B"})
    named = (SampleSet("YRI", 3), SampleSet("CEU", 2))
    found = [w.genotype_matrix().tobytes() for w in mapped.simulate(IM, design(named), 1)]
    assert found == [w.genotype_matrix().tobytes() for w in make().simulate(IM, design(AB), 1)]


def test_years_and_generations_are_the_same_model() -> None:
    texts = [(EXPERIMENTS / f"yri-ceu.{kind}.yaml").read_text() for kind in ("demes", "options")]
    in_years = make("yri-ceu")
    in_generations = make(
        model=text(
            texts[0]
            .replace("years\ngeneration_time: 25", "generations")
            .replace("250000", "10000")
            .replace("start_time: 60000", "start_time: 2400")
        ),
        parameters=text(
            texts[1].replace("2e6", "8e4").replace("5e5", "2e4").replace("50000", "2000").replace("5000", "200")
        ),
    )
    theta = {"N_anc": 12e3, "N_YRI": 2e4, "N_CEU_split": 900.0, "N_CEU": 15e3, "migration": 3e-5}
    years = {**theta, "T_anc": 200_000.0, "T_split": 50_000.0}
    generations = {**theta, "T_anc": 8_000.0, "T_split": 2_000.0}
    samples = (SampleSet("YRI", 3), SampleSet("CEU", 3, time=40))
    first, second = (
        [w.genotype_matrix().tobytes() for w in s.simulate(t, design(samples), 1)]
        for s, t in ((in_years, years), (in_generations, generations))
    )
    assert first == second
    assert (in_years.generation_time, in_generations.generation_time) == (25, None)
    assert in_years.graph(years).time_units == "years"
    assert make(generation_time=30).generation_time == 30


def test_ghosts_are_simulated_and_not_sampled() -> None:
    window = next(ghosts().simulate({}, design((SampleSet("B", 20), SampleSet("A", 2)), length=100), 1))
    assert set(labels(window)) == {"A", "B"}
    names = [p.metadata["name"] for p in window.populations()]
    assert names.index("X") in {n.population for n in window.nodes()}


def test_a_population_that_died_out_is_sampled_while_it_lived() -> None:
    window = next(ghosts().simulate({}, design((SampleSet("N", 1, time=1000), SampleSet("N", 1, time=4000.0))), 1))
    assert labels(window) == ["N"] * 4


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (SampleSet("C", 1), "population 'C' of the data is sampled from 'C', which ghosts.yaml does not have; "
         "name its deme under demes; Allowed: root, A, N, X, B"),
        (SampleSet("N", 1), "population 'N' is sampled 0 generations ago, but 'N' of ghosts.yaml exists only from 5000 "
         "to 1000; give a sampling time in that range"),
        (SampleSet("B", 1, time=2000), "2000 generations ago, but 'B' of ghosts.yaml exists only from 2000 to 0"),
        (SampleSet("root", 1), "'root' of ghosts.yaml exists only from inf to 5000"),
    ],
)  # fmt: skip
def test_samples_that_the_model_cannot_give(sample: SampleSet, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        next(ghosts().simulate({}, design((sample,)), 1))
    problem = ghosts().sampling_problem({}, (sample,))
    assert problem is not None
    assert ghosts().sampling_problem({}, (SampleSet("B", 1, time=1999),)) is None


@pytest.mark.parametrize("time", [0.0, 1500.0, 2500.0])
def test_what_is_known_of_other_vectors_says_nothing_wrong_of_samples(time: float) -> None:
    """Of A, which began at T_split: whether a sample of 2,500 generations ago can be taken changes with it."""
    samples = (SampleSet("A", 1, time=time), SampleSet("B", 1))
    used = make()
    drawn = used.parameters.sample(np.random.default_rng(1), 60)
    for theta in map(used.parameters.named, drawn):
        can = time < theta["T_split"]
        for _ in range(2):  # known by the second time, where it can
            assert (used.sampling_problem(theta, samples) is None) == can
    assert {t > 2500 for t in drawn[:, used.parameters.names.index("T_split")]} == {True, False}


def test_samples_of_a_model_in_years() -> None:
    """Today is today in years as well; 600 generations are 15,000 years, when N and X lived and B did not."""
    years = GHOSTS.replace("time_units: generations", "time_units: years\ngeneration_time: 25")
    simulator = ghosts(model=text(years.replace("5000}", "50000}").replace("end_time: 1000", "end_time: 10000")))
    for _ in range(2):
        assert simulator.sampling_problem({}, AB) is None
        assert "'N'" in (simulator.sampling_problem({}, (SampleSet("N", 1),)) or "")
        assert simulator.sampling_problem({}, (SampleSet("N", 1, time=600),)) is None
        assert "'B'" in (simulator.sampling_problem({}, (SampleSet("B", 1, time=600),)) or "")


def test_free_rates() -> None:
    simulator = make("recombination", recombination_rate="recombination_rate")
    assert simulator.parameters.names == ("Ne", "recombination_rate")

    def num_trees(rate: float) -> float:
        theta = {"Ne": 10_000.0, "recombination_rate": rate}
        return float(np.mean([w.num_trees for w in simulator.simulate(theta, design((SampleSet("A", 5),), 50), 1)]))

    assert num_trees(1e-7) > 4 * num_trees(1e-8) > 4


def test_a_rate_may_be_fixed() -> None:
    simulator = make("recombination", recombination_rate="recombination_rate", fixed={"recombination_rate": 0})
    assert simulator.parameters.names == ("Ne",)
    windows = simulator.simulate({"Ne": 1e4}, design((SampleSet("A", 5),), 20), 1)
    assert {w.num_trees for w in windows} == {1}


def test_a_parameter_that_nothing_uses_is_refused() -> None:
    with pytest.raises(ModelError, match="parameter 'recombination_rate' changes nothing: give it values"):
        make("recombination")


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("selfing_rate: 0.5", "non-zero selfing_rate not supported"),
        ("cloning_rate: 0.5", "non-zero cloning_rate not supported"),
        ("end_size: 900, size_function: linear", "msprime only supports constant or exponentially changing"),
        # Of equal sizes now, but a free size would change it.
        ("end_size: 1000, size_function: linear", "msprime only supports constant or exponentially changing"),
    ],
)
def test_what_demes_knows_and_msprime_does_not(written: str, reason: str) -> None:
    sizes = "start_time: 2000, epochs: [{start_size: 1000"
    model = GHOSTS.replace(sizes, f"{sizes}, {written}")
    message = rf"ghosts.yaml: msprime cannot simulate deme B as it is written: .*{reason}.*; leave out selfing_rate"
    with pytest.raises(ModelError, match=message):
        ghosts(model=text(model, "ghosts.yaml"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mutation_rate": "mu"}, "mutation_rate is a number or a parameter; 'mu' is no parameter"),
        ({"recombination_rate": "pulse"}, "recombination_rate is from 0 .*'pulse' lets it be from -0.2 to 0.2"),
        ({"model": 3}, r"model, unless it is \{stdpopsim: SPECIES/MODEL\}, names a file, got 3"),
        ({"model": "nowhere.yaml"}, "can't read nowhere.yaml: No such file"),
        ({"model": {"stdpopsim": "HomSap/Nowhere"}}, "stdpopsim has no model 'Nowhere' of HomSap"),
        ({"fixed": {"N3": 1}}, "fixed: 'N3' is no parameter"),
        ({"demes": "A"}, "demes maps population labels"),
        ({"ploidy": 0}, "ploidy is a number of chromosomes"),
        ({"generation_time": -1}, "generation_time is in years and above 0"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        make(**options)


def test_a_catalogue_model_with_its_own_rate_and_free_parameters() -> None:
    parameters = """
    parameters:
    - {name: N_YRI, values: [{demes: {YRI: {epochs: {1: start_size}}}}], lower_bound: 1000, upper_bound: 30000}
    - {name: T_B, values: [{demes: {CEU: start_time}}], lower_bound: 2000, upper_bound: 8000}
    """
    simulator = DemesSimulator(
        model={"stdpopsim": "HomSap/OutOfAfrica_3G09"}, parameters=text(parameters), recombination_rate=1e-8
    )
    import stdpopsim

    model = stdpopsim.get_species("HomSap").get_demographic_model("OutOfAfrica_3G09")
    assert simulator.rates.mutation == model.mutation_rate
    assert simulator.generation_time == model.generation_time == 25
    assert simulator.brought == {"mutation_rate": model.mutation_rate, "generation_time": 25}
    own = DemesSimulator(
        model={"stdpopsim": "HomSap/OutOfAfrica_3G09"},
        parameters=text(parameters),
        mutation_rate=1.2e-8,
        generation_time=29,
        recombination_rate=1e-8,
    )
    assert (own.rates.mutation, own.generation_time, own.brought) == (1.2e-8, 29, {})
    assert make().brought == {}
    graph = simulator.graph({"N_YRI": 20_000.0, "T_B": 5_000.0})
    assert (graph["YRI"].epochs[1].start_size, graph["CEU"].start_time) == (20_000, 5_000)
    here = msprime.Demography.from_demes(simulator.graph({"N_YRI": 12_300.0, "T_B": 5_600.0}))
    here.assert_equivalent(msprime.Demography.from_demes(model.model.to_demes()))
    window = next(simulator.simulate({"N_YRI": 2e4, "T_B": 5e3}, design((SampleSet("CHB", 2), SampleSet("YRI", 1))), 1))
    assert labels(window) == ["CHB"] * 4 + ["YRI"] * 2


def test_symmetric_pulses_mirror_each_other() -> None:
    """A pulse of p from A into B is the one of -p with the roles of A and B exchanged."""
    theta = {**IM, "N1": 7000.0, "N2": 7000.0, "T_split": 8000.0}

    def similarity(pulse: float, samples: tuple[SampleSet, ...]) -> np.ndarray:
        windows = make().simulate({**theta, "pulse": pulse}, design(samples, 300, 5_000), 3)
        sets = [range(4), range(4, 8)]
        return np.array([w.diversity(sample_sets=sets) for w in windows])

    forwards = similarity(0.2, (SampleSet("A", 2), SampleSet("B", 2)))
    backwards = similarity(-0.2, (SampleSet("B", 2), SampleSet("A", 2)))
    error = np.hypot(forwards.std(axis=0), backwards.std(axis=0)) / np.sqrt(300)
    assert (np.abs(forwards.mean(axis=0) - backwards.mean(axis=0)) < 4 * error).all()
    assert forwards.mean(axis=0)[1] > 1.1 * forwards.mean(axis=0)[0], (
        "migrants make the population that gets them diverse"
    )


def errors(**options: Any) -> DemesSimulator:
    parameters = [
        "{name: wrong, upper_bound: 0.4}",
        "{name: miscalled, upper_bound: 0.4}",
        "{name: years, lower_bound: 20, upper_bound: 30}",
    ]
    listed = text("parameters: [" + ", ".join(parameters) + "]", "errors.yaml")
    chosen = {"misidentified": "wrong", "genotype_error": "miscalled", "generation_time": "years"}
    return make(**{"parameters": listed, **chosen, **options})


def test_errors_of_a_parameters_size_are_put_on_windows() -> None:
    samples, years = (SampleSet("A", 20),), {"years": 25.0}

    def windows(wrong: float, miscalled: float) -> list[np.ndarray]:
        theta = {"wrong": wrong, "miscalled": miscalled, **years}
        found = list(errors().simulate(theta, design(samples, 40, 20_000), 3))
        return [w.genotypes for w in found]

    true, turned, miscalled = windows(0, 0), windows(0.3, 0), windows(0, 0.05)
    plain = [t.genotype_matrix() for t in make(parameters=None).simulate({}, design(samples, 40, 20_000), 3)]
    for a, b in zip(true, plain, strict=True):
        np.testing.assert_array_equal(a, b)
    sites = [(a != b).mean(axis=1) for a, b in zip(true, turned, strict=True)]
    share = np.concatenate(sites)
    assert ((share == 0) | (share > 0.9)).all()  # third alleles stay
    assert share.mean() == pytest.approx(0.3, abs=0.04)
    wrong = np.concatenate([(a != b).reshape(len(a), 20, 2).sum(axis=2) for a, b in zip(true, miscalled, strict=True)])
    assert wrong.max() == 1
    assert wrong.mean() == pytest.approx(0.05, abs=0.005)


def test_a_number_may_be_an_error_as_well() -> None:
    simulator = make(misidentified=0.5)
    window = next(simulator.simulate(IM, design((SampleSet("A", 20),), 1, 50_000), 3))
    plain = next(make().simulate(IM, design((SampleSet("A", 20),), 1, 50_000), 3))
    assert 0.3 < (window.genotypes != plain.genotype_matrix()).all(axis=1).mean() < 0.7


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"parameters": None, "generation_time": 25, "misidentified": 0.6},
            "misidentified is a share from 0 to 0.5; got 0.6",
        ),
        ({"parameters": None}, "generation_time is years or a parameter; 'years' is no parameter"),
        ({"parameters": None, "generation_time": 25}, "misidentified is a number or a parameter; 'wrong' is no param"),
        (
            {"misidentified": "years", "genotype_error": "wrong", "generation_time": "miscalled"},
            "above 0; parameter 'm",
        ),
        ({"generation_time": "yaers"}, "generation_time is years or a parameter; 'yaers' is no parameter"),
        ({"generation_time": "wrong"}, "generation_time is in years and above 0; parameter 'wrong' may be 0"),
    ],
)
def test_errors_and_generations_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        errors(**options)


def test_snps_that_are_given_to_vary_have_no_errors() -> None:
    for kind in ("loci", "loci-by-rate"):
        said = errors().why_not(kind)
        assert said is not None
        assert "misidentified and genotype_error: errors are put on windows" in said
    assert errors().why_not("windows") is None
    assert make().why_not("loci") is None


YEARS = """
time_units: years
generation_time: 25
demes:
- {name: A, epochs: [{start_size: 1000, end_time: 5000}, {start_size: 500}]}
"""


def test_a_generation_of_unknown_length_turns_years_into_generations() -> None:
    options = text("parameters: [{name: years, lower_bound: 20, upper_bound: 50}]", "years.yaml")
    simulator = make(model=text(YEARS), parameters=options, generation_time="years")
    assert simulator.generation_time is None
    for years, generations in ((25.0, 200), (50.0, 100), (25.0, 200)):
        (event,) = simulator.demography({"years": years}).events
        assert event.time == pytest.approx(generations)


def test_sizes_and_a_free_mutation_rate_are_known_by_their_product() -> None:
    listed = (EXPERIMENTS / "im.options.yaml").read_text() + "\n"
    free = listed.replace("parameters:\n", "parameters:\n- {name: mu, lower_bound: 1.0e-9, upper_bound: 1.0e-7}\n", 1)
    simulator = make(parameters=text(free, "mu.yaml"), mutation_rate="mu")
    assert simulator.known_by_product == (("N1", "N2", "N_anc"), "mu")
    assert make().known_by_product is None
    assert make(parameters=text(free, "mu.yaml"), mutation_rate="mu", fixed={"mu": 1e-8}).known_by_product is None


def test_described_expressions_have_values() -> None:
    files = [{"file": f"exp.{kind}.yaml", "text": (EXPERIMENTS / f"exp.{kind}.yaml").read_text()} for kind in _FILES]
    simulator = DemesSimulator(model=files[0], parameters=files[1], mutation_rate=1e-8, recombination_rate=1e-8)
    theta = {"N1": 9000.0, "N2": 5000.0, "T1": 2000.0, "T2": 350.0, "growth": 0.005}
    assert simulator.derived(theta) == {"present size": pytest.approx(5000 * math.exp(0.005 * 350))}
    assert make().derived(IM) == {}  # expressions without a description are how the file is written

    # Two that share a description are told apart.
    changes = "  values: [{demes: {A: {epochs: {1: start_size}}}}]"
    both = files[1]["text"].replace("{1: start_size, 2: start_size}", "{2: start_size}")
    both = {**files[1], "text": f"{both}- expression: 2 * N2\n  description: present size\n{changes}\n"}
    said = DemesSimulator(model=files[0], parameters=both, mutation_rate=1e-8, recombination_rate=1e-8).derived(theta)
    assert said.keys() == {"present size (N2 * exp(growth * T2))", "present size (2 * N2)"}
    assert said["present size (2 * N2)"] == 10_000


_FILES = ("demes", "options")


def test_the_neutral_model_has_what_a_spectrum_follows_from() -> None:
    model = make(misidentified=0.02).neutral_model(IM)
    assert (model.mutation_rate, model.misidentified) == (1.25e-8, 0.02)
    assert {deme.name for deme in model.graph.demes} >= {"A", "B"}
    with pytest.raises(ModelError, match="individuals of 1 chromosomes"):
        make(ploidy=1).neutral_model(IM)
    with pytest.raises(ModelError, match="genotypes are wrong at a rate"):
        make(genotype_error=0.01).neutral_model(IM)
