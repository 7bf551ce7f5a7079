"""The msprime simulator: a function of named parameters, from an entry point or from a file."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest

from ganinfer import plugins
from ganinfer.haplotypes import SampleSet
from ganinfer.interfaces import Design, Simulator, WindowTemplate
from ganinfer.models import ModelError
from simulators.demes import DemesSimulator
from simulators.msprime import FunctionError, MsprimeSimulator

EXPERIMENTS = Path(__file__).parent.parent / "experiments"
IM = {"N1": 9000.0, "N2": 5000.0, "N_anc": 15000.0, "T_split": 2000.0, "pulse": 0.05}
AB = Design((SampleSet("A", 3), SampleSet("B", 2, time=30)), (WindowTemplate(10_000),) * 3)

CODE = """\
import msprime


def im(N1, N2, N_anc, T_split, pulse=0.0):
    demography = msprime.Demography()
    demography.add_population(name="ancestral", initial_size=N_anc)
    demography.add_population(name="A", initial_size=N1)
    demography.add_population(name="B", initial_size=N2)
    demography.add_population_split(time=T_split, derived=["A", "B"], ancestral="ancestral")
    source, dest = ("B", "A") if pulse > 0 else ("A", "B")
    demography.add_mass_migration(time=T_split / 2, source=source, dest=dest, proportion=abs(pulse))
    demography.sort_events()
    return demography


def anything(**parameters):
    return msprime.Demography.isolated_model([parameters["N"]])


def positional(N, /):
    return msprime.Demography.isolated_model([N])


def half(N):
    if N < 500:
        raise ValueError("too few")
    return msprime.Demography.isolated_model([-N if N > 900 else N])


def islands(N, m):
    return msprime.Demography.island_model([N, N], migration_rate=m)


def one_way(N, m):
    demography = msprime.Demography.isolated_model([N, N, N])
    demography.set_migration_rate("pop_0", "pop_2", m)
    demography.set_migration_rate("pop_1", "pop_2", 1e-2)
    return demography


def old_style(N, m):
    demography = msprime.Demography.isolated_model([N, N])
    demography.add_mass_migration(time=100, source="pop_1", dest="pop_0", proportion=1 if m else 0.5)
    return demography


def lists(N):
    return [N]


def forgets(N):
    msprime.Demography.isolated_model([N])


def asserts(N):
    assert N > 500
    return msprime.Demography.isolated_model([N])


def misspelt(N):
    return msprime.Demography.isolated_model([M])


def leaves(N):
    raise SystemExit(0)


def unknown_population(N):
    demography = msprime.Demography.isolated_model([N])
    demography.add_population_split(time=N, derived=["pop_0"], ancestral="ancestral")
    return demography


def pulse(time, share):
    demography = msprime.Demography.isolated_model([100, 100])
    demography.add_mass_migration(time=time, source="pop_0", dest="pop_1", proportion=share)
    return demography


def admixed(time, share):
    demography = msprime.Demography.isolated_model([100, 100, 100])
    ancestral, proportions = ["pop_1", "pop_2"], [share, 1 - share]
    demography.add_admixture(time=time, derived="pop_0", ancestral=ancestral, proportions=proportions)
    return demography


def migration(time, share):
    demography = msprime.Demography.isolated_model([100, 100])
    demography.set_migration_rate("pop_0", "pop_1", share)
    demography.add_migration_rate_change(time=time, rate=0.1)
    return demography


def migration_change(time, share):
    demography = msprime.Demography.isolated_model([100, 100])
    demography.add_symmetric_migration_rate_change(time=time, populations=["pop_0", "pop_1"], rate=share)
    return demography


NUMBER = 3
"""
LINE = 1 + CODE[: CODE.index("raise ValueError")].count("\n")
ONE = "parameters: [{name: N, lower_bound: 0, upper_bound: 1000}]"
TWO = ONE[:-1] + ", {name: r, lower_bound: 1e-9, upper_bound: 1e-7, scale: log}]"


def text(content: str, name: str = "mine.py") -> dict[str, str]:
    return {"file": name, "text": dedent(content)}


def make(function: str = "half", parameters: str | None = ONE, **options: Any) -> MsprimeSimulator:
    given = None if parameters is None else text(parameters, "mine.yaml")
    rates = {"mutation_rate": 1.25e-8, "recombination_rate": 1.25e-8}
    return MsprimeSimulator(**{**rates, "file": text(CODE), "function": function, "parameters": given, **options})


def im(**options: Any) -> MsprimeSimulator:
    bare = "parameters:" + "".join(f"\n- {{name: {n}, lower_bound: -1, upper_bound: 1e5}}" for n in IM)
    return make("im", bare, **options)


def test_it_agrees_with_the_demes_simulator() -> None:
    """The same demography in another order of populations and events has the same graph and diversity."""
    demes = DemesSimulator(
        model=str(EXPERIMENTS / "im.demes.yaml"),
        parameters=str(EXPERIMENTS / "im.options.yaml"),
        mutation_rate=1.25e-8,
        recombination_rate=1.25e-8,
    )
    assert isinstance(im(), Simulator)
    for theta in (IM, {**IM, "pulse": -0.2, "T_split": 700.0}):
        here, there = im().graph(theta), demes.graph(theta)
        for name in ("ancestral", "A", "B"):
            assert here[name].epochs == there[name].epochs
        flow = [(p.sources, p.dest, p.time, p.proportions) for p in there.pulses if p.proportions[0] > 0]
        assert [(p.sources, p.dest, p.time, p.proportions) for p in here.pulses] == flow


def test_windows_follow_the_design_and_the_seed() -> None:
    first = list(im().simulate(IM, AB, 1))
    names = [p.metadata["name"] for p in first[0].populations()]
    assert [names[first[0].node(u).population] for u in first[0].samples()] == ["A"] * 6 + ["B"] * 4
    assert [first[0].node(u).time for u in first[0].samples()] == [0] * 6 + [30] * 4
    assert [w.sequence_length for w in first] == [10_000] * 3
    again = [w.genotype_matrix().tobytes() for w in im().simulate(IM, AB, 1)]
    assert again == [w.genotype_matrix().tobytes() for w in first]


def test_an_entry_point_names_the_function(toys: Path) -> None:
    options = {
        "demography": "toy-demography",
        "parameters": text(ONE, "mine.yaml"),
        "demes": {"YRI": "pop_0"},
        "mutation_rate": 1e-8,
        "recombination_rate": 0,
    }
    simulator = plugins.load_simulator("msprime", options)
    window = next(simulator.simulate({"N": 800.0}, Design((SampleSet("YRI", 2),), (WindowTemplate(500),)), 1))
    assert (window.num_samples, window.num_trees) == (4, 1)
    with pytest.raises(ValueError, match="no demography 'toy-demografy' is installed"):
        make(None, file=None, demography="toy-demografy")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"toy-number.*is not a function of named parameters"):
        make(None, file=None, demography="toy-number")  # type: ignore[arg-type]


def test_a_file_beside_the_experiment(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(CODE)
    (tmp_path / "mine.yaml").write_text(ONE)
    simulator = MsprimeSimulator(
        file=str(tmp_path / "mine.py"), function="half", parameters=str(tmp_path / "mine.yaml"), mutation_rate=1e-8
    )
    assert simulator.demography({"N": 600.0})[0].initial_size == 600


def test_fixed_parameters_and_rates() -> None:
    simulator = make("half", TWO, recombination_rate="r", fixed={"N": 700})
    assert simulator.parameters.names == ("r",)
    assert simulator.demography({"r": 1e-8})[0].initial_size == 700
    assert make("anything", TWO, recombination_rate="r").demography({"N": 50.0, "r": 1e-8})[0].initial_size == 50
    assert im(fixed={"pulse": 0}).parameters.names == tuple(IM)[:-1]


def test_impossible_demographies_are_sentences() -> None:
    simulator = make()
    assert simulator.problem({"N": 700.0}) is None
    assert simulator.problem({"N": 400.0}) == f"mine.py:half, line {LINE}: too few"
    assert "population size values must be nonnegative" in str(simulator.problem({"N": 950.0}))
    assert simulator.parameters.possible([[700.0], [400.0], [950.0]]).tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("asserts", r"mine.py:asserts, line \d+ raised AssertionError at N=400; mend it, or let it raise ValueError"),
        ("misspelt", r"line \d+ raised NameError \(name 'M' is not defined\) at N=400"),
        ("leaves", r"line \d+ raised SystemExit \(0\) at N=400"),
        ("unknown_population", r"line \d+ raised KeyError .*'ancestral' not found.* at N=400"),
        ("lists", "mine.py:lists must return an msprime.Demography, got list at N=400"),
        ("forgets", "mine.py:forgets must return an msprime.Demography, got NoneType at N=400"),
    ],
)
def test_a_function_that_fails_is_no_impossible_history(function: str, message: str) -> None:
    simulator = make(function)
    for ask in (simulator.problem, simulator.demography):
        with pytest.raises(FunctionError, match=message):
            ask({"N": 400.0})
    with pytest.raises(FunctionError, match=message.replace("400", ".*")):
        simulator.parameters.sample(np.random.default_rng(1), 10)


@pytest.mark.parametrize("function", ["pulse", "admixed", "migration", "migration_change"])
@pytest.mark.parametrize("time", [-1.0, 0.5])
@pytest.mark.parametrize("share", [-0.5, 0.0, 0.5, 1.0, 1.5])
def test_what_msprime_refuses_to_simulate_is_impossible_beforehand(function: str, time: float, share: float) -> None:
    bounds = "[{name: time, lower_bound: -1, upper_bound: 1}, {name: share, lower_bound: -1, upper_bound: 2}]"
    simulator = make(function, f"parameters: {bounds}")
    theta = {"time": time, "share": share}
    demography = simulator._function(**theta)
    try:
        demography.debug()
    except Exception:
        assert simulator.problem(theta) is not None
    else:
        assert simulator.problem(theta) is None


def test_constraints_with_a_fixed_parameter() -> None:
    ordered = ONE[:-1] + ", {name: M, upper_bound: 1000}]\nconstraints: [{params: [N, M], constraint: less_than}]"
    simulator = make("anything", ordered, fixed={"M": 300})
    assert simulator.problem({"N": 200.0}) is None
    assert simulator.problem({"N": 400.0}) == "M=300 must be above N=400"


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (SampleSet("C", 1), "'C', which mine.py:im does not have; name its deme under demes; Allowed: ancestral, A, B"),
        (SampleSet("A", 1, time=2000), "'A' of mine.py:im exists only from 2000 to 0"),
        (SampleSet("ancestral", 1), "'ancestral' of mine.py:im exists only from inf to 2000"),
    ],
)
def test_samples_that_the_model_cannot_give(sample: SampleSet, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        next(im().simulate(IM, Design((sample,), AB.templates), 1))
    assert im().sampling_problem(IM, (sample,)) is not None
    assert im().sampling_problem(IM, AB.samples) is None


@pytest.mark.parametrize("function", ["islands", "one_way", "old_style"])
def test_lineages_that_never_meet_are_refused_at_once(function: str) -> None:
    simulator = make(function, ONE[:-1] + ", {name: m, upper_bound: 1}]")
    both = Design((SampleSet("pop_0", 2), SampleSet("pop_1", 2)), (WindowTemplate(100),))
    assert next(simulator.simulate({"N": 100.0, "m": 0.1}, both, 1)).num_samples == 8
    with pytest.raises(ModelError, match=rf"mine.py:{function}: lineages in pop_0, pop_\d.* never meet"):
        next(simulator.simulate({"N": 100.0, "m": 0.0}, both, 1))
    one = Design(both.samples[:1], both.templates)
    assert next(simulator.simulate({"N": 100.0, "m": 0.0}, one, 1)).num_samples == 4


@pytest.mark.parametrize(
    ("function", "parameters", "options", "message"),
    [
        ("half", ONE, {"demography": "x"}, "name the function either by demography, .* or by file and function"),
        (None, ONE, {}, "name the function either by demography"),
        ("half", ONE, {"file": None}, "name the function either by demography"),
        ("halve", ONE, {}, "mine.py: defines no 'halve'; .*did you mean 'half'"),
        ("NUMBER", ONE, {}, "mine.py:NUMBER is no function"),
        ("positional", ONE, {}, "mine.py:positional must take its parameters by name"),
        ("half", None, {}, "mine.py:half needs 'N', which is no parameter; Allowed: none"),
        (
            "half",
            TWO,
            {},
            r"mine.yaml:1: parameters\[1\]: parameter 'r' changes nothing: mine.py:half does not",
        ),
        ("half", ONE[:-2] + ", values: [{demes: {A: start_time}}]}]", {}, "a function takes parameters by name"),
        ("half", ONE, {"generation_time": 0}, "generation_time is in years and above 0, got 0"),
        ("half", ONE, {"fixed": {"M": 1}}, "fixed: 'M' is no parameter"),
        ("half", ONE, {"file": text("def half(N:\n")}, "mine.py, line 1"),
        ("half", ONE, {"file": {**text(CODE), "sha256": "0"}}, "one of them was changed"),
    ],
)
def test_wrong_options(function: Any, parameters: str | None, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(function, parameters, **options)


def test_theta_has_exactly_the_free_parameters() -> None:
    with pytest.raises(ModelError, match=r"mine.py:half needs values of N; missing: N; unknown: M"):
        make().demography({"M": 1.0})


@pytest.mark.parametrize(
    ("function", "parameters", "fixed", "known"),
    [
        ("im", ("N1", "N2", "N_anc", "T_split", "pulse"), {}, ("N1", "N2", "N_anc")),
        ("im", ("N1", "N2", "N_anc", "T_split", "pulse"), {"T_split": 2000.0}, None),
        ("im", ("N1", "N2", "N_anc", "T_split", "pulse"), {"pulse": 0.1}, ("N1", "N2", "N_anc")),
        ("islands", ("N", "m"), {}, ("N",)),
        ("islands", ("N", "m"), {"m": 1e-4}, None),
        ("admixed", ("time", "share"), {}, None),  # of a given size
    ],
)
def test_where_all_of_a_history_and_the_rate_are_free_sizes_are_known_by_products(
    function: str, parameters: tuple[str, ...], fixed: dict[str, float], known: tuple[str, ...] | None
) -> None:
    bounds = {"pulse": (-0.2, 0.2), "m": (1e-6, 1e-3), "share": (0.1, 0.4), "time": (100, 1000)}
    listed = [
        f"{{name: {name}, lower_bound: {low!r}, upper_bound: {high!r}}}"
        for name, (low, high) in {n: bounds.get(n, (1000, 9000)) for n in parameters}.items()
    ]
    mu = "{name: mu, lower_bound: 1.0e-9, upper_bound: 1.0e-7}"
    options = f"parameters: [{', '.join([mu, *listed])}]"
    made = make(function, options, mutation_rate="mu", fixed=fixed)
    assert made.known_by_product == (None if known is None else (known, "mu"))
    assert make(function, f"parameters: [{', '.join(listed)}]", fixed=fixed).known_by_product is None
