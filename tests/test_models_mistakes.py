"""Demes and options files with mistakes: each is refused with file, line, path, rule and what would be allowed."""

from __future__ import annotations

import contextlib
from io import StringIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from ganinfer.models import DemesModel, ModelError
from tests.test_models import EXPERIMENTS, MODEL, OPTIONS, shipped, simple

A_SIZE = "demes: {A: {epochs: {0: start_size}}}"


def one_parameter(values: str, **more: Any) -> DemesModel:
    return simple(f"parameters:\n- name: x\n  values:\n  - {values}\n  upper_bound: 1e6\n", **more)


# --- fixed parameters -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fixed", "message"),
    [
        ({"N3": 1}, r"fixed: 'N3' is no parameter; Allowed: N1, N2, N_anc, T_split, pulse"),
        ({"N1": "big"}, "fixed.N1 must be a finite number, got 'big'"),
        ({"N1": float("nan")}, "fixed.N1 must be a finite number, got nan"),
        (["N1"], r"fixed maps parameters to numbers, got \['N1'\]"),
    ],
)
def test_wrong_fixed(fixed: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        shipped("im", fixed=fixed)


def test_fixed_values_that_break_a_constraint() -> None:
    with pytest.raises(ModelError, match="T1=1 must be above T2=2, as the options file demands under constraints"):
        shipped("ooa2", fixed={"T1": 1, "T2": 2})


# --- mistakes in the options file -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("demes: {AA: start_time}", r"im.options.yaml:4: parameters\[0\].values\[0\].demes.AA: 'AA' is no deme of "
         r"im.demes.yaml; did you mean 'A'\? Allowed: ancestral, A, B"),
        ("demes: {A: end_time}", r"demes.A: 'end_time' can't follow a parameter here; .*Allowed: start_time"),
        ("demes: {A: start_time}", "A.start_time is not written in im.demes.yaml; write its value there"),
        ("demes: {A: {epoch: {0: start_size}}}", r"demes.A.epoch: unknown key 'epoch'; did you mean 'epochs'\?"),
        ("demes: {A: {epochs: {1: start_size}}}", r"A.epochs\[1\]: 1 is no index into the epochs of deme A written in "
         "im.demes.yaml; allowed: 0 to 0"),
        ("demes: {A: {epochs: {0: size}}}", "'size' can't follow .*Allowed: start_size, end_size, end_time"),
        ("demes: {A: {epochs: 0}}", "epochs maps an index to an attribute; got 0"),
        ("demes: {A: {epochs: {0: end_size}}}", r"A.epochs\[0\].end_size is not written in im.demes.yaml"),
        ("demes: {A: {proportions: 0}}", "0 is no index into the proportions of deme A .* allowed: there is none"),
        ("demes: {}", "demes names at least one of them; got {}"),
        ("demes: A", "demes names at least one of them; got 'A'"),
        ("migrations: {0: rate}", "0 is no index into the migrations written in im.demes.yaml; allowed: there is none"),
        ("pulses: {2: time}", "2 is no index into the pulses written in im.demes.yaml; allowed: 0 to 1"),
        ("pulses: {true: time}", "True is no index into the pulses"),
        ("pulses: {first: time}", "'first' is no index into the pulses"),
        ("pulses: {0: proportions}", "'proportions' can't follow a .*; allowed: time, or {proportions: INDEX}"),
        ("pulses: {0: {sources: 0}}", "unknown key 'sources'; .*Allowed: proportions"),
        ("pulses: {0: {proportions: 1}}", "1 is no index into the proportions of pulse 0 .* allowed: 0 to 0"),
        ("deme: {A: start_time}", r"values\[0\].deme: unknown key 'deme'; did you mean 'demes'\?"),
        ("A", "names fields by demes, migrations or pulses; got 'A'"),
    ],
)  # fmt: skip
def test_values_that_name_no_field(values: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        one_parameter(values)


def test_the_last_proportion_follows_from_the_others() -> None:
    for index in (1, -1):
        with pytest.raises(ModelError, match="the last proportion of deme C is one minus the sum of the others"):
            one_parameter(f"demes: {{C: {{proportions: {index}}}}}", model=MODEL)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("parameters: {}", "im.options.yaml:1: parameters: a list is expected here, got {}"),
        ("[]", "im.options.yaml: a mapping is expected here"),
        ("constraints: []", "im.options.yaml: the key 'parameters' is missing"),
        ("parameters: []\nconstraint: []", r"options.yaml:2: constraint: unknown key .* did you mean 'constraints'\?"),
        ("parameters:\n- x", r"im.options.yaml:2: parameters\[0\]: a mapping is expected here"),
        ("parameters:\n- {upper_bound: 1}", r"parameters\[0\]: the key 'name' is missing"),
        ("parameters:\n- {name: x}", "parameter 'x' needs an upper_bound"),
        ("parameters:\n- {name: 1x, upper_bound: 1}", "parameter '1x': a name is letters, digits and underscores"),
        ("parameters:\n- {name: x, upper_bound: 1}", "parameter 'x' changes nothing: give it values"),
        (
            "parameters:\n- {name: x, upper_bound: 1}\n- {name: x, upper_bound: 1}",
            r"im.options.yaml:3: parameters\[1\].name: parameter names must be unique, 'x' stands twice",
        ),
        ("parameters: [", "im.options.yaml:1: not valid YAML"),
        ("parameters: []\nparameters: []", "im.options.yaml:2: not valid YAML: found duplicate key"),
    ],
)  # fmt: skip
def test_mistakes_in_an_options_file(options: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        simple(options)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("upper_bound: .inf", r"parameters\[0\].upper_bound: upper_bound must be a finite number"),
        ("lower_bound: 2, upper_bound: 1", "lower bound 2.0 must be below upper bound 1.0"),
        ("upper_bound: 1, scale: log", "a logarithmic scale or prior needs a lower bound above"),
        ("upper_bound: 1, scale: cubic", "scale must be linear or log, not 'cubic'"),
        ("upper_bound: 1, bound: 2", r"parameters\[0\].bound: unknown key 'bound'; did you mean"),
        ("upper_bound: 1, prior: flat", r"prior: a prior is uniform, log-uniform, .* got 'flat'"),
        ("upper_bound: 1, prior: {normal: {mean: 1}}", "prior.normal: the key 'sd' is missing"),
        ("upper_bound: 1, prior: {normal: {mean: 1, sd: 0}}", "an sd above 0"),
        ("upper_bound: 1, prior: {normal: {mean: 1, sd: a}}", "sd must be a finite number"),
        ("upper_bound: 1, values: []", r"values: values is a list with at least one of demes"),
    ],
)
def test_mistakes_in_a_parameter(keys: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        simple(f"parameters:\n- {{name: x, {keys}}}")


_TWO = "parameters:\n- {name: a, upper_bound: 1}\n- {name: b, upper_bound: 1}\n"


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ("constraints:\n- {params: [a, c], constraint: less_than}", r"constraints\[0\].params: 'c' is no parameter; "),
        ("constraints:\n- {params: [a], constraint: less_than}", "between two different parameters, got .'a'."),
        ("constraints:\n- {params: [a, a], constraint: less_than}", "between two different parameters"),
        ("constraints:\n- {params: [a, b], constraint: above}", "greater_than or less_than, got 'above'"),
        ("constraints:\n- {params: [a, b]}", r"constraints\[0\]: the key 'constraint' is missing"),
        ("expressions:\n- {expression: a}", r"im.options.yaml:5: expressions\[0\]: the key 'values' is missing"),
        (
            "expressions:\n- {expression: c, values: []}",
            r"expressions\[0\].expression: 'c' names the unknown",
        ),
        ("expressions:\n- {expression: a.b, values: []}", r"expression: 'a.b': 'a.b' is not arithmetic"),
        ("expressions:\n- {expression: [a], values: []}", "an expression is text, got"),
        (
            f"expressions:\n- {{expression: a, values: [{A_SIZE}]}}\n- {{expression: a * b, values: [{A_SIZE}]}}",
            r"options.yaml:6: expressions\[1\].values: A.epochs\[0\].start_size is set twice, by 'a' and by 'a \* b'",
        ),
    ],
)
def test_mistakes_in_constraints_and_expressions(rest: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        simple(_TWO + rest)


def test_a_number_is_an_expression() -> None:
    rest = f"expressions:\n- {{expression: 123, values: [{A_SIZE}]}}"
    assert simple(_TWO + rest, elsewhere=("a", "b")).graph({"a": 0, "b": 0})["A"].epochs[0].start_size == 123


def test_fields_of_one_parameter_agree_in_the_demes_file() -> None:
    values = "demes: {A: {epochs: {0: start_size}}, B: {epochs: {0: start_size}}}"
    message = r"must be equal in im.demes.yaml, got A.epochs\[0\].start_size=9000, B.epochs\[0\].start_size=5000"
    with pytest.raises(ModelError, match=message):
        one_parameter(values)


def test_a_wrong_unit_shows_in_the_demes_file_s_own_value() -> None:
    options = """
    parameters:
    - {name: T, values: [{demes: {C: start_time}}], lower_bound: 500, upper_bound: 5000}
    """
    with pytest.raises(ModelError, match=r"C.start_time=50000, lies outside the bounds \[500, 5000\] .*\(years\)"):
        DemesModel(MODEL, options)


# --- mistakes in the demes file ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("demes: [", "my.yaml:1: not valid YAML"),
        ("", "my.yaml: a demes file is a mapping with time_units and a list of demes"),
        ("a: 1", "my.yaml: a demes file is a mapping"),
        ("demes: [{name: A, epochs: [{start_size: 1}]}]", "my.yaml is no possible model: .*time_units"),
        (
            "time_units: generations\ndemes: [{name: A, epochs: [{start_size: -1}]}]",
            r"no possible model: deme .*A.*epoch",
        ),
        ("time_units: generations\ndemes: [{name: A, epoch: [{start_size: 1}]}]", "unexpected field: 'epoch'. Allowed"),
        ("time_units: generations\ndemes: [{name: A, epochs: 7}]", "no possible model: .*epochs"),
        (
            "time_units: generations\ndemes: [A]",
            r"my.yaml:2: demes\[0\]: a deme is a mapping with a name",
        ),
        ("time_units: generations\ndemes: [{name: A, epochs: [{start_size: null}]}]", "my.yaml: .*[Nn]ull"),
        ("time_units: years\ndemes: [{name: A, epochs: [{start_size: 1}]}]", "no possible model: .*generation_time"),
    ],
)
def test_mistakes_in_a_demes_file(model: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        DemesModel(model, model_file="my.yaml")


@pytest.mark.parametrize(
    ("written", "instead", "message"),
    [
        (
            "end_time: 2000",
            "end_time: 0",
            r"im.demes.yaml:7: demes\[1\] \(A\) makes no possible model: start_time",
        ),
        ("ancestors: [ancestral]", "ancestors: [ancient]", r":7: demes\[1\] \(A\) .*ancestor deme 'ancient' not found"),
        ("start_size: 5000", "start_size: -5", r":11: demes\[2\] \(B\) .*start_size must be greater than zero"),
        ("time: 1000", "time: 3000", r":16: pulses\[0\] makes no possible model: .*time 3000 not in interval"),
        ("dest: A", "dest: C", r":17: pulses\[1\] makes no possible model: .*C not in graph"),
    ],
)
def test_the_part_of_a_demes_file_that_is_impossible(written: str, instead: str, message: str) -> None:
    model = (EXPERIMENTS / "im.demes.yaml").read_text().replace(written, instead, 1)
    with pytest.raises(ModelError, match=message):
        DemesModel(model, model_file="im.demes.yaml")


def test_the_generation_time_of_the_scenario() -> None:
    years = "time_units: years\ndemes: [{name: A, epochs: [{start_size: 1}]}]"
    assert DemesModel(years, generation_time=25).graph({}).generation_time == 25
    assert DemesModel(years, generation_time=25).generation_time == 25
    assert DemesModel(MODEL, generation_time=29).generation_time == 29
    with pytest.raises(ModelError, match=r"m.yaml:2: generation_time: the demes file says 29, .* says 25"):
        DemesModel(MODEL, model_file="m.yaml", generation_time=25)
    with pytest.raises(ModelError, match="generation_time is in years and above 0, got 0"):
        DemesModel(MODEL, generation_time=0)


_keys = st.sampled_from(
    [
        "demes",
        "epochs",
        "name",
        "start_size",
        "end_time",
        "migrations",
        "pulses",
        "time_units",
        "values",
        "parameters",
        "proportions",
        "time",
        "rate",
        "constraints",
        "params",
        "prior",
        "A",
        "B",
    ]
)
_json = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.floats() | _keys | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys | st.integers(-1, 2), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def _damaged(draw: st.DrawFn, text: str) -> str:
    """A file with one node replaced, removed or renamed."""
    data: Any = YAML(typ="safe", pure=True).load(text)
    node, key = data, None
    for _ in range(draw(st.integers(1, 6))):
        keys = list(node) if isinstance(node, dict) else list(range(len(node))) if isinstance(node, list) else []
        if not keys:
            break
        parent, key = node, draw(st.sampled_from(keys))
        node = parent[key]
    if draw(st.booleans()):
        parent[key] = draw(_json)
    else:
        del parent[key]
    written = StringIO()
    YAML(typ="safe", pure=True).dump(data, written)
    return written.getvalue()


@settings(deadline=None, max_examples=30)
@given(_damaged(MODEL))
def test_a_damaged_demes_file_is_read_or_refused(model: str) -> None:
    with contextlib.suppress(ModelError):
        DemesModel(model, OPTIONS)


@settings(deadline=None, max_examples=30)
@given(_damaged(OPTIONS))
def test_a_damaged_options_file_is_read_or_refused(options: str) -> None:
    with contextlib.suppress(ModelError):
        model = DemesModel(MODEL, options)
        model.problem(model.parameters.named(model.parameters.from_unit(np.full(len(model.parameters), 0.5))))
