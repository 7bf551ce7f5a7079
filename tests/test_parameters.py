"""Parameters: priors against scipy, coordinate systems as round trips, the joint prior by rejection."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from ganinfer.parameters import Constraint, Parameter, ParameterError, Parameters, Prior

PARAMETERS = [
    Parameter("flat", -2.0, 3.0),
    Parameter("sizes", 100.0, 1e5, "log"),
    Parameter("flat_on_log_scale", 100.0, 1e5, "log", Prior("uniform")),
    Parameter("logarithmic_on_linear_scale", 1e-3, 1.0, "linear", Prior("log-uniform")),
    Parameter("bell", -1.0, 4.0, "linear", Prior("normal", 0.5, 1.5)),
    Parameter("narrow_bell", 0.0, 100.0, "linear", Prior("normal", 30.0, 2.0)),
    Parameter("skewed", 1.0, 1e4, "log", Prior("lognormal", 6.0, 1.0)),
]
each = pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda p: p.name)


def scipy_of(parameter: Parameter):
    """The same truncated distribution, of the value or of its logarithm, as scipy has it."""
    prior = parameter.density
    low, high = parameter.lower, parameter.upper
    if prior.logarithmic:
        low, high = math.log(low), math.log(high)
    if prior.mean is None:
        return stats.uniform(low, high - low)
    return stats.truncnorm((low - prior.mean) / prior.sd, (high - prior.mean) / prior.sd, prior.mean, prior.sd)


# --- one parameter ------------------------------------------------------------------------------------------------


@each
@given(u=st.floats(1e-6, 1 - 1e-6))
@settings(deadline=None, max_examples=40)
def test_cdf_undoes_quantile(parameter, u):
    value = parameter.quantile(u)
    assert parameter.lower <= value <= parameter.upper
    assert parameter.cdf(value) == pytest.approx(u, abs=1e-9)


@each
@given(share=st.floats(0, 1))
@settings(deadline=None, max_examples=40)
def test_scale_round_trip(parameter, share):
    value = parameter.lower + share * (parameter.upper - parameter.lower)
    assert parameter.from_scale(parameter.to_scale(value)) == pytest.approx(value, rel=1e-12)


@each
def test_cdf_and_quantile_are_those_of_scipy(parameter):
    u = np.linspace(0.001, 0.999, 101)
    values = parameter.quantile(u)
    transformed = np.log(values) if parameter.density.logarithmic else values
    np.testing.assert_allclose(transformed, scipy_of(parameter).ppf(u), rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(parameter.cdf(values), scipy_of(parameter).cdf(transformed), atol=1e-9)


@each
def test_quantile_increases_within_the_bounds(parameter):
    values = parameter.quantile(np.linspace(0, 1, 200))
    assert (np.diff(values) > 0).all()
    assert parameter.lower <= values[0]
    assert values[-1] <= parameter.upper


@each
def test_cdf_clips_values_outside_the_bounds(parameter):
    assert parameter.cdf(parameter.lower - 1.0 if parameter.lower <= 0 else parameter.lower / 2) == 0.0
    assert parameter.cdf(2 * parameter.upper) == pytest.approx(1.0)


@each
def test_log_density_integrates_to_the_cdf(parameter):
    """The density is per natural unit: its integral between two values, normalised, is the difference of the cdf."""

    def density(value):
        return float(np.exp(parameter.log_density(value) - reference))

    low, high = parameter.quantile(0.02), parameter.quantile(0.98)
    middle = parameter.quantile(0.4)
    reference = float(parameter.log_density(middle))
    lower_part = integrate.quad(density, low, middle, limit=200)[0]
    whole = lower_part + integrate.quad(density, middle, high, limit=200)[0]
    expected = (parameter.cdf(middle) - parameter.cdf(low)) / (parameter.cdf(high) - parameter.cdf(low))
    assert lower_part / whole == pytest.approx(float(expected), rel=1e-6)


@each
def test_the_mass_is_what_the_density_integrates_to(parameter):
    low, high = parameter.quantile(0.1), parameter.quantile(0.9)
    middle = float(parameter.log_density(parameter.quantile(0.5)))
    part = integrate.quad(lambda x: float(np.exp(parameter.log_density(x) - middle)), low, high, limit=200)[0]
    assert np.log(part) + middle - np.log(0.8) == pytest.approx(parameter.log_mass(), abs=1e-5)


@each
def test_no_density_outside_the_bounds(parameter):
    outside = [parameter.lower - 1e-6 * max(1, abs(parameter.lower)), parameter.upper * (1 + 1e-9) + 1e-9]
    assert np.isneginf(parameter.log_density(outside)).all()
    assert np.isfinite(parameter.log_density([parameter.lower, parameter.upper])).all()


@each
def test_prior_sd_is_that_of_draws(parameter):
    draws = parameter.to_scale(parameter.quantile(np.random.default_rng(1).random(20_000)))
    assert parameter.prior_sd() == pytest.approx(draws.std(), rel=0.03)


def test_a_widened_prior_never_narrows():
    """A wider standard deviation, and wider bounds, leave more room."""
    sds = [Parameter("x", 0, 10, "linear", Prior("normal", 5, sd)).prior_sd() for sd in (0.1, 1, 3, 30)]
    assert sds == sorted(sds)
    assert sds[-1] == pytest.approx(10 / math.sqrt(12), rel=0.01)


def test_default_priors_follow_the_scale():
    assert Parameter("x", 1, 2).density.kind == "uniform"
    assert Parameter("x", 1, 2, "log").density.kind == "log-uniform"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("9lives", 0, 1), "a name is letters, digits and underscores"),
        (("", 0, 1), "a name is letters"),
        (("x", 2, 1), "lower bound 2 must be below upper bound 1"),
        (("x", 1, 1), "must be below"),
        (("x", 0, math.inf), "bounds must be finite"),
        (("x", math.nan, 1), "bounds must be finite"),
        (("x", 0, 1, "cubic"), "scale must be linear or log, not 'cubic'"),
        (("x", 0, 1, "log"), "needs a lower bound above 0, got 0"),
        (("x", -1, 1, "linear", Prior("log-uniform")), "needs a lower bound above 0, got -1"),
    ],
)
def test_impossible_parameters(arguments, message):
    with pytest.raises(ParameterError, match=message):
        Parameter(*arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("gamma",), "not 'gamma'"),
        (("normal",), "needs a finite mean and an sd above 0"),
        (("normal", 1.0, 0.0), "sd above 0"),
        (("lognormal", math.nan, 1.0), "finite mean"),
        (("uniform", 1.0), "takes no mean and no sd"),
    ],
)
def test_impossible_priors(arguments, message):
    with pytest.raises(ParameterError, match=message):
        Prior(*arguments)


def test_bounds_that_hold_nothing_of_the_prior():
    with pytest.raises(
        ParameterError, match=r"parameter 'x': the bounds \[10, 12\] hold next to nothing of its normal prior"
    ):
        Parameter("x", 10, 12, "linear", Prior("normal", 0.0, 1.0))
    with pytest.raises(ParameterError, match="next to nothing of its lognormal prior"):
        Parameter("x", 1, 2, "log", Prior("lognormal", 20.0, 1.0))


# --- the joint prior ----------------------------------------------------------------------------------------------


def test_vectors_and_names():
    parameters = Parameters(tuple(PARAMETERS[:3]))
    values = {"sizes": 500.0, "flat": 1.0, "flat_on_log_scale": 200.0}
    vector = parameters.vector(values)
    assert vector.tolist() == [1.0, 500.0, 200.0]
    assert parameters.named(vector) == values
    with pytest.raises(ParameterError, match=r"missing: \['sizes'\], unknown: \['size'\]"):
        parameters.vector({"flat": 1, "size": 2, "flat_on_log_scale": 3})


def test_columns_are_the_parameters():
    parameters = Parameters(tuple(PARAMETERS))
    u = np.random.default_rng(2).uniform(0.01, 0.99, size=(4, 5, len(parameters)))
    theta = parameters.from_unit(u)
    for i, parameter in enumerate(parameters):
        np.testing.assert_array_equal(theta[..., i], parameter.quantile(u[..., i]))
    np.testing.assert_allclose(parameters.to_unit(theta), u, atol=1e-9)
    np.testing.assert_allclose(parameters.from_scale(parameters.to_scale(theta)), theta, rtol=1e-12)


def test_repeated_names_and_unknown_constraints():
    with pytest.raises(ParameterError, match="must be unique, repeated: x"):
        Parameters((Parameter("x", 0, 1), Parameter("x", 0, 2)))
    with pytest.raises(ParameterError, match="unknown parameter 'z'; parameters: x, y"):
        Parameters((Parameter("x", 0, 1), Parameter("y", 0, 2)), (Constraint("x", "z"),))


@given(st.integers(0, 2**31), st.floats(1, 6))
@settings(deadline=None, max_examples=20)
def test_samples_obey_bounds_constraints_and_the_model(seed, edge):
    parameters = Parameters(
        (Parameter("late", 0.0, 2.0), Parameter("early", 0.0, 4.0)),
        (Constraint("early", "late"),),
        lambda values: "too large" if values["early"] + values["late"] > edge else None,
    )
    draws = parameters.sample(np.random.default_rng(seed), 50)
    assert (draws[:, 1] > draws[:, 0]).all()
    assert (draws.sum(axis=1) <= edge).all()
    assert np.isfinite(parameters.log_prior(draws)).all()


def test_a_constraint_is_strict():
    parameters = Parameters((Parameter("a", 0, 1), Parameter("b", 0, 1)), (Constraint("a", "b"),))
    vectors = np.array([[0.6, 0.5], [0.5, 0.5], [0.4, 0.5], [1.2, 0.5]])
    assert parameters.satisfies_constraints(vectors).tolist() == [True, False, False, False]
    assert np.isneginf(parameters.log_prior(vectors)).tolist() == [False, True, True, True]


def test_samples_follow_the_marginals():
    parameters = Parameters(tuple(PARAMETERS))
    u = parameters.to_unit(parameters.sample(np.random.default_rng(3), 4000))
    assert min(stats.kstest(column, "uniform").pvalue for column in u.T) > 1e-3


def test_log_prior_is_the_sum_of_the_marginals():
    parameters = Parameters(tuple(PARAMETERS))
    theta = parameters.sample(np.random.default_rng(4), 10)
    expected = sum(p.log_density(theta[:, i]) for i, p in enumerate(parameters))
    np.testing.assert_allclose(parameters.log_prior(theta), expected)


def test_an_impossible_prior_names_the_share_and_an_example():
    constrained = Parameters((Parameter("a", 0, 1), Parameter("b", 2, 3)), (Constraint("a", "b"),))
    with pytest.raises(ParameterError, match=r"none of 1024 draws .* \(for example a=.* breaks a constraint\)"):
        constrained.sample(np.random.default_rng(5), 10)
    modelled = Parameters((Parameter("a", 0, 1),), problem=lambda values: "no such world")
    with pytest.raises(
        ParameterError, match=r"none of 1024 .*; mend the model.*\(for example at a=.*: no such world\)"
    ):
        modelled.sample(np.random.default_rng(6), 10)

    rare = Parameters((Parameter("a", 0, 1),), problem=lambda v: None if v["a"] < 0.003 else "too large")
    with pytest.raises(ParameterError, match=r"only [1-9] of 1024 draws .*; narrow the bounds .*: too large\)"):
        rare.sample(np.random.default_rng(6), 50)


def test_rare_draws_are_found():
    """Three in a hundred is rare, and enough."""
    parameters = Parameters((Parameter("a", 0, 1),), problem=lambda v: None if v["a"] < 0.03 else "too large")
    assert (parameters.sample(np.random.default_rng(7), 20) < 0.03).all()


def test_the_model_is_not_asked_about_vectors_outside_the_prior():
    asked = []
    parameters = Parameters((Parameter("a", 0, 1),), problem=lambda v: asked.append(v["a"]))
    assert parameters.possible([[0.5], [2.0], [-1.0]]).tolist() == [True, False, False]
    assert asked == [0.5]
