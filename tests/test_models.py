"""Demographic models: what is set where, what is impossible, and what is refused with which words."""

from __future__ import annotations

import copy
import time
from io import StringIO
from pathlib import Path
from typing import Any

import demes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from ganinfer.models import DemesModel, ModelError, catalogue_model, file_text
from ganinfer.parameters import Constraint, Prior

EXPERIMENTS = Path(__file__).parent.parent / "experiments"

#: Every construct that moments' options files can name.
MODEL = """\
time_units: years
generation_time: 29
defaults: {epoch: {start_size: 777}}
demes:
- name: anc
  epochs:
  - {end_time: 300000, start_size: 10000}
  - {end_time: 100000, start_size: 12000}
- name: A
  ancestors: [anc]
  epochs: [{start_size: 5000, end_time: 3000}, {start_size: 5000, end_size: 40000, end_time: 0}]
- name: B
  ancestors: [anc]
  epochs: [{start_size: 5000, end_time: 0}]
- name: C
  ancestors: [A, B]
  proportions: [0.2, 0.8]
  start_time: 50000
  epochs: [{start_size: 2000}]
- name: D
  ancestors: [A, B]
  start_time: 50000
  proportions: [0.4, 0.6]
  epochs: [{}]
migrations:
- {demes: [A, B], rate: 1e-4}
- {source: A, dest: C, rate: 2e-4, start_time: 40000, end_time: 100}
- {demes: [B, C], rate: 1e-5, start_time: 30000, end_time: 10000}
pulses:
- {sources: [A], dest: B, time: 20000, proportions: [0.1]}
- {sources: [A, B], dest: C, time: 10000, proportions: [0.1, 0.05]}
"""

OPTIONS = """\
parameters:
- name: N
  description: two fields of one deme and one of another, its last epoch counted from the end
  values:
  - demes:
      A: {epochs: {0: start_size, 1: start_size}}
      B: {epochs: {-1: start_size}}
  lower_bound: 100
  upper_bound: 1e5
- name: T
  values:
  - demes: {D: start_time, C: start_time}
  lower_bound: 41000
  upper_bound: 90000
- name: q
  values:
  - demes: {C: {proportions: 0}}
  upper_bound: 0.4
- name: m
  values:
  - migrations: {0: rate}
  upper_bound: 1
- name: m_end
  values:
  - migrations: {1: end_time}
  lower_bound: 10
  upper_bound: 10000
- name: p
  values:
  - pulses:
      0: {proportions: 0}
      1: {proportions: 0}
  upper_bound: 0.9
- name: t_pulse
  values:
  - pulses: {1: time}
  upper_bound: 15000
constraints:
- params: [T, t_pulse]
  constraint: greater_than
- params: [m_end, t_pulse]
  constraint: less_than
uL: 0.36
"""
THETA = {"N": 6000.0, "T": 60000.0, "q": 0.3, "m": 2e-4, "m_end": 200.0, "p": 0.15, "t_pulse": 9000.0}


def simple(options: str, model: str | None = None, **more: Any) -> DemesModel:
    model = (EXPERIMENTS / "im.demes.yaml").read_text() if model is None else model
    return DemesModel(model, options, model_file="im.demes.yaml", options_file="im.options.yaml", **more)


def shipped(name: str, **more: Any) -> DemesModel:
    texts = [(EXPERIMENTS / f"{name}.{kind}.yaml").read_text() for kind in ("demes", "options")]
    return DemesModel(*texts, **more)


# --- what is set ------------------------------------------------------------------------------------------------


def test_every_construct_of_an_options_file() -> None:
    expected: Any = YAML(typ="safe", pure=True).load(MODEL)
    anc, a, b, c, d = expected["demes"]
    a["epochs"][0]["start_size"] = a["epochs"][1]["start_size"] = b["epochs"][0]["start_size"] = 6000
    c["start_time"] = d["start_time"] = 60000
    c["proportions"] = [0.3, 0.7]
    expected["migrations"][0]["rate"] = 2e-4
    expected["migrations"][1]["end_time"] = 200
    expected["pulses"][0]["proportions"] = [0.15]
    expected["pulses"][1] = {"sources": ["A", "B"], "dest": "C", "time": 9000, "proportions": [0.15, 0.05]}
    assert anc["epochs"][0]["start_size"] == 10000
    DemesModel(MODEL, OPTIONS).graph(THETA).assert_close(demes.Graph.fromdict(expected))


def test_parameters_and_constraints_are_read_in_order() -> None:
    parameters = DemesModel(MODEL, OPTIONS).parameters
    assert parameters.names == tuple(THETA)
    assert parameters.constraints == (Constraint("T", "t_pulse"), Constraint("t_pulse", "m_end"))
    assert (parameters[1].lower, parameters[1].upper, parameters[2].lower) == (41000, 90000, 0)


def test_the_documented_example_is_an_options_file() -> None:
    from ganinfer.models import options

    assert options.__doc__ is not None
    example = options.__doc__.partition("::\n\n")[2].partition("\n\nA parameter that")[0]
    model = simple(example)
    assert model.parameters.names == ("T_split", "pulse")
    assert model.graph({"T_split": 4000.0, "pulse": 0.1}).pulses[0].time == 2000


def test_scale_prior_and_unit() -> None:
    options = """
    parameters:
    - {name: a, lower_bound: 1, upper_bound: 9, scale: log, unit: generations, description: of a}
    - {name: b, lower_bound: 1, upper_bound: 9, prior: log-uniform}
    - {name: c, lower_bound: 1, upper_bound: 9, prior: {normal: {mean: 2, sd: 1e-1}}}
    - {name: d, lower_bound: 1, upper_bound: 9, scale: log, prior: {lognormal: {mean: 1, sd: 2}}}
    """
    a, b, c, d = simple(options, elsewhere=("a", "b", "c", "d")).parameters
    assert (a.scale, a.prior, a.unit, a.description) == ("log", Prior("log-uniform"), "generations", "of a")
    assert (b.scale, b.prior) == ("linear", Prior("log-uniform"))
    assert c.prior == Prior("normal", 2.0, 0.1)
    assert (d.scale, d.prior) == ("log", Prior("lognormal", 1.0, 2.0))


def test_without_options_nothing_is_free() -> None:
    model = DemesModel(MODEL)
    assert len(model.parameters) == 0
    model.graph({}).assert_close(demes.loads(MODEL))


def test_expressions_set_several_fields_and_are_recomputed() -> None:
    model = shipped("im")
    theta = {"N1": 9000.0, "N2": 5000.0, "N_anc": 15000.0, "T_split": 3000.0}
    forwards, backwards = model.graph({**theta, "pulse": 0.1}), model.graph({**theta, "pulse": -0.2})
    assert [p.time for p in forwards.pulses] == [1500, 1500]
    assert [p.proportions for p in forwards.pulses] == [[0.1], [0]]
    assert [p.proportions for p in backwards.pulses] == [[0], [0.2]]
    assert model.graph({**theta, "pulse": 0.1}) == forwards


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 2**32 - 1))
def test_graph_depends_on_theta_alone(seed: int) -> None:
    """An impossible or other vector in between leaves nothing behind."""
    used = DemesModel(MODEL, OPTIONS)
    for vector in used.parameters.from_unit(np.random.default_rng(seed).random((3, len(THETA)))):
        used.problem(used.parameters.named(vector))
    assert used.problem({**THETA, "T": 1.0}) is not None
    assert used.graph(THETA) == DemesModel(MODEL, OPTIONS).graph(THETA)


def test_order_of_parameters_and_items_does_not_matter() -> None:
    options: Any = YAML(typ="safe", pure=True).load(OPTIONS)
    turned = copy.deepcopy(options)
    turned["parameters"].reverse()
    turned["constraints"].reverse()
    written = StringIO()
    YAML(typ="safe", pure=True).dump(turned, written)
    other = DemesModel(MODEL, written.getvalue())
    assert other.parameters.names == tuple(reversed(tuple(THETA)))
    assert other.graph(THETA) == DemesModel(MODEL, OPTIONS).graph(THETA)


def test_a_graph_takes_less_than_a_millisecond() -> None:
    model = shipped("ooa3")
    theta = model.parameters.named(model.parameters.sample(np.random.default_rng(1), 1)[0])
    best = np.inf
    for _ in range(5):
        start = time.process_time()
        for _ in range(20):
            model.graph(theta)
        best = min(best, (time.process_time() - start) / 20)
    assert best < 2e-3, "twice the limit, since the machine may be busy"


# --- fixed parameters -------------------------------------------------------------------------------------------


def test_fixed_parameters_are_no_longer_free() -> None:
    model = shipped("im", fixed={"pulse": 0, "N1": 8000})
    assert model.parameters.names == ("N2", "N_anc", "T_split")
    graph = model.graph({"N2": 5000.0, "N_anc": 15000.0, "T_split": 3000.0})
    assert graph["A"].epochs[0].start_size == 8000
    assert [p.proportions for p in graph.pulses] == [[0], [0]]


def test_fixed_may_lie_outside_the_bounds() -> None:
    model = shipped("yri-ceu", fixed={"migration": 0})
    assert all(
        m.rate == 0 for m in model.graph(model.parameters.named(model.parameters.sample(_rng(), 1)[0])).migrations
    )


def test_constraints_with_a_fixed_parameter_hold() -> None:
    model = shipped("ooa2", fixed={"T1": 1600})
    theta = {"N1": 9e3, "N2": 5e3, "N3": 12e3, "N_anc": 15e3, "T2": 350.0, "pulse": 0.05}
    assert model.problem(theta) is None
    assert model.problem({**theta, "T2": 1700.0}) == "T1=1600 must be above T2=1700"
    assert shipped("ooa2", fixed={"T1": 1600, "T2": 1500}).parameters.constraints == ()


# --- impossible vectors -----------------------------------------------------------------------------------------


#: Every construct once more, with bounds in which most vectors are impossible, and no constraint to say so.
LOOSE = (
    OPTIONS.replace("lower_bound: 41000", "lower_bound: 50")
    .replace("lower_bound: 100\n", "lower_bound: -100\n")
    .replace("upper_bound: 15000", "upper_bound: 60000")
    .replace("upper_bound: 10000", "upper_bound: 60000")
    .replace("upper_bound: 0.4", "lower_bound: -0.1\n  upper_bound: 1.1")
    .replace("upper_bound: 1\n", "lower_bound: -0.2\n  upper_bound: 0.2\n")
    .replace("upper_bound: 0.9", "lower_bound: -0.05\n  upper_bound: 1")
    .partition("constraints:")[0]
)


def islands() -> DemesModel:
    options = "parameters: [{name: m, values: [{migrations: {0: rate}}], lower_bound: -1.5, upper_bound: 1.5}]"
    return DemesModel(ISLANDS, options)


def one_change() -> DemesModel:
    """A size before all times may not change, and there is no time after today."""
    epochs = "[{start_size: 9, end_size: 9, end_time: 1}, {start_size: 5}]"
    options = """
    parameters:
    - {name: N, values: [{demes: {A: {epochs: {0: start_size}}}}], lower_bound: 5, upper_bound: 13}
    - {name: T, values: [{demes: {A: {epochs: {0: end_time}}}}], lower_bound: -1, upper_bound: 3}
    """
    return DemesModel(f"time_units: generations\ndemes: [{{name: A, epochs: {epochs}}}]", options)


def free(name: str) -> DemesModel:
    """A shipped model without its constraints."""
    texts = [(EXPERIMENTS / f"{name}.{kind}.yaml").read_text() for kind in ("demes", "options")]
    before, _, after = texts[1].partition("constraints:")
    rest = after[after.index("expressions:") :] if "expressions:" in after else ""
    return DemesModel(texts[0], before + rest)


@pytest.mark.parametrize(
    "make",
    [
        lambda: DemesModel(MODEL, LOOSE),
        lambda: free("exp"),
        lambda: free("ooa3"),
        lambda: free("ooa2"),
        islands,
        one_change,
    ],
    ids=["every construct", "exp", "ooa3", "ooa2", "islands", "one change"],
)
def test_a_vector_is_possible_where_its_graph_can_be_built(make: Any) -> None:
    """What is remembered of other vectors changes no answer, on edges and where times coincide neither."""
    model, rng = make(), _rng()
    bounds = model.parameters.bounds
    unit = rng.random((1500, len(bounds)))
    edges = rng.random(unit.shape) < 0.2
    unit[edges] = rng.choice([0.0, 0.25, 0.5, 1.0], edges.sum())
    answers = []
    for vector in bounds[:, 0] + unit * (bounds[:, 1] - bounds[:, 0]):
        theta = model.parameters.named(vector)
        why = None
        try:
            model.graph(theta)
        except ModelError as error:
            why = str(error)
        assert model.problem(theta) == why
        answers.append(why is None)
    assert 0.01 < np.mean(answers) < 0.999


def test_few_graphs_are_built_to_find_possible_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    from ganinfer.models import graphs

    built, build = [], graphs._build
    model = shipped("yri-ceu")
    monkeypatch.setattr(graphs, "_build", lambda *told: built.append(1) or build(*told))
    drawn = model.parameters.from_unit(_rng().random((500, len(model.parameters))))
    drawn = drawn[model.parameters.satisfies_constraints(drawn)]
    assert model.parameters.possible(drawn).all()
    assert len(drawn) > 100
    assert len(built) < 10


def test_impossible_graphs_are_sentences() -> None:
    options = """
    parameters:
    - {name: T, values: [{demes: {ancestral: {epochs: {0: end_time}}}}], lower_bound: 500, upper_bound: 5000}
    """
    model = simple(options)
    assert model.problem({"T": 2000.0}) is None
    problem = model.problem({"T": 900.0})
    assert problem is not None
    assert "im.demes.yaml is no possible model: pulse[0]" in problem
    assert "\n" not in problem
    share = model.parameters.possible(model.parameters.from_unit(_rng().random((400, 1)))).mean()
    assert share == pytest.approx((5000 - 1000) / 4500, abs=0.08)


def test_expressions_without_a_value_are_sentences() -> None:
    options = """
    parameters:
    - {name: f, lower_bound: 0, upper_bound: 1}
    expressions:
    - {expression: 1000 / f, values: [{demes: {A: {epochs: {0: start_size}}}}]}
    """
    model = simple(options)
    assert model.problem({"f": 0.5}) is None
    assert model.problem({"f": 0.0}) == "A.epochs[0].start_size has no value: '1000 / f' at f=0 divides by zero"


ISLANDS = """
time_units: generations
demes: [{name: A, epochs: [{start_size: 1000}]}, {name: B, epochs: [{start_size: 1000}]}]
migrations: [{demes: [A, B], rate: 1e-4}]
"""


def test_demes_that_never_meet_are_impossible() -> None:
    options = "parameters: [{name: m, values: [{migrations: {0: rate}}], upper_bound: 0.1}]"
    model = DemesModel(ISLANDS, options, model_file="islands.yaml")
    assert model.problem({"m": 1e-3}) is None
    assert model.problem({"m": 0.0}) == (
        "islands.yaml is no possible model: A and B have no common ancestor, and no migration joins them in the past"
    )
    with pytest.raises(ModelError, match="have no common ancestor"):
        DemesModel(ISLANDS.replace("rate: 1e-4", "rate: 1e-4, start_time: 1000"))


def test_a_prior_that_is_nearly_impossible_is_an_error_with_an_example() -> None:
    options = """
    parameters:
    - {name: T, values: [{demes: {ancestral: {epochs: {0: end_time}}}}], lower_bound: 1, upper_bound: 2000}
    """
    model = simple(options, (EXPERIMENTS / "im.demes.yaml").read_text().replace("time: 1000", "time: 1999"))
    with pytest.raises(ValueError, match=r"draws from the prior .*for example at T=.*is no possible model: pulse\[0\]"):
        model.parameters.sample(_rng(), 10)


@pytest.mark.parametrize("theta", [{"N1": 1.0}, {**dict.fromkeys(("N1", "N2", "N_anc", "T_split", "puls"), 1.0)}])
def test_theta_has_exactly_the_free_parameters(theta: dict[str, float]) -> None:
    with pytest.raises(ModelError, match=r"needs values of N1, N2, N_anc, T_split, pulse; missing: .*pulse; unknown: "):
        shipped("im").graph(theta)


# --- the catalogue and files ------------------------------------------------------------------------------------


def test_catalogue_model() -> None:
    import stdpopsim

    found = catalogue_model("HomSap/OutOfAfrica_3G09")
    catalogued = stdpopsim.get_species("HomSap").get_demographic_model("OutOfAfrica_3G09")
    assert (found.generation_time, found.mutation_rate) == (catalogued.generation_time, catalogued.mutation_rate)
    demes.loads(found.text).assert_close(catalogued.model.to_demes())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "HomSap/OutOfAfrica_3G9",
            r"no model 'OutOfAfrica_3G9' of HomSap; did you mean 'OutOfAfrica_3G09'\?",
        ),
        ("HomSap", "no model '' of HomSap"),
        ("Homsap/OutOfAfrica_3G09", r"no species 'Homsap' .* did you mean 'HomSap'\?"),
    ],
)
def test_unknown_catalogue_models(name: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        catalogue_model(name)


def test_files_are_read_here_or_beforehand(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("µ: 1", encoding="utf-8")
    (tmp_path / "b.yaml").write_bytes(b"\xff")
    assert file_text(str(tmp_path / "a.yaml"), "model") == (str(tmp_path / "a.yaml"), "µ: 1")
    assert file_text({"file": "x.yaml", "text": "y"}, "model") == ("x.yaml", "y")
    with pytest.raises(ModelError, match="model names a file, got 3"):
        file_text(3, "model")
    with pytest.raises(ModelError, match=r"model: can't read .*c.yaml: No such file"):
        file_text(str(tmp_path / "c.yaml"), "model")
    with pytest.raises(ModelError, match=r"b.yaml is no UTF-8 text"):
        file_text(tmp_path / "b.yaml", "model")


def _rng() -> np.random.Generator:
    return np.random.default_rng(1)
