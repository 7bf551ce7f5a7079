"""Expressions: arithmetic means what it says, and nothing but arithmetic is accepted."""

from __future__ import annotations

import contextlib
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ganinfer.models.expressions import MAXIMUM_DEPTH, MAXIMUM_LENGTH, ExpressionError, parameter, parse

NAMES = ("N", "T_split", "growth")
VALUES = {"N": 5000.0, "T_split": 350.0, "growth": 0.005}
_PYTHON = {"min": min, "max": max, "exp": math.exp, "log": math.log, "__builtins__": {}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("T_split / 2", 175.0),
        ("N * exp(growth * T_split)", 5000 * math.exp(1.75)),
        ("max(-growth, 0)", 0.0),
        ("min(N, T_split, 10)", 10.0),
        ("-N ** 2 + 3e2", -25e6 + 300),
        ("log(exp(2)) - +1", 1.0),
        ("  N\n  / 2  ", 2500.0),
        ("12", 12.0),
    ],
)
def test_arithmetic(text: str, expected: float) -> None:
    assert parse(text, NAMES).value(VALUES) == pytest.approx(expected, rel=1e-15)


_leaves = st.sampled_from(NAMES) | st.floats(0, 1e6, allow_nan=False).map(repr) | st.integers(0, 10**6).map(str)


def _compound(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/"]), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        inner.map(lambda x: f"(-{x})"),
        st.tuples(st.sampled_from(["min", "max"]), inner, inner).map(lambda t: f"{t[0]}({t[1]}, {t[2]})"),
        st.tuples(st.sampled_from(["exp", "log"]), inner).map(lambda t: f"{t[0]}({t[1]})"),
    )


@settings(deadline=None)
@given(st.recursive(_leaves, _compound, max_leaves=12))
def test_agrees_with_a_slow_reading(text: str) -> None:
    """The same text as Python arithmetic on floats is the reference."""
    if len(text) > MAXIMUM_LENGTH:
        return
    try:
        expected = float(eval(text, dict(_PYTHON), dict(VALUES)))
    except (ZeroDivisionError, OverflowError, ValueError):
        expected = math.nan
    expression = parse(text, NAMES)
    if math.isfinite(expected):
        assert expression.value(VALUES) == pytest.approx(expected, rel=1e-12)
    else:
        with pytest.raises(ExpressionError, match=r"divides by zero|too large|not a real number|not a finite number"):
            expression.value(VALUES)


@settings(deadline=None)
@given(st.text(max_size=40) | st.text("N+-*/(), .expmaxlog1e[]{}:'\"_", max_size=40))
def test_any_text_is_arithmetic_or_refused(text: str) -> None:
    try:
        expression = parse(text, NAMES)
    except ExpressionError:
        return
    with contextlib.suppress(ExpressionError):
        assert math.isfinite(expression.value(VALUES))


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "N.real",
        "N[0]",
        "(lambda: 1)()",
        "[N for N in (1, 2)]",
        "N if T_split else growth",
        "N and T_split",
        "N < T_split",
        "N % 2",
        "N // 2",
        "N @ T_split",
        "~N",
        "not N",
        "'N'",
        "True",
        "None",
        "1j",
        "N, T_split",
        "(x := 2)",
        "f'{N}'",
        "max(*N, *T_split)",
        "max(N, T_split, key=exp)",
        "sqrt(N)",
        "exp",
        "N # a remark",
        "N; T_split",
        "N = 2",
        "await N",
        "...",
        "",
        "(",
        "N\x00",
    ],
)
def test_only_arithmetic(text: str) -> None:
    with pytest.raises(ExpressionError, match=r"is not arithmetic; allowed are|unknown parameter 'exp' "):
        parse(text, NAMES)


def test_the_offending_part_is_named() -> None:
    with pytest.raises(ExpressionError, match=r"'2 \* N % 3': '2 \* N % 3' is not arithmetic; allowed are numbers"):
        parse("2 * N % 3", NAMES)
    with pytest.raises(ExpressionError, match=r"'N\.real' is not arithmetic"):
        parse("exp(1) + N.real", NAMES)


def test_unknown_names_are_answered_with_the_closest() -> None:
    with pytest.raises(ExpressionError, match=r"'T_spit'; did you mean 'T_split'\? \(parameters: N, T_split, growth\)"):
        parse("T_spit / 2", NAMES)
    with pytest.raises(ExpressionError, match=r"unknown parameter 'N' \(parameters: none\)"):
        parse("N", ())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("exp()", "exp takes one argument, got 0"),
        ("log(N, 10)", "log takes one argument, got 2"),
        ("min(N)", "min takes two or more arguments, got 1"),
        ("1" + "0" * 400, "a number is too large"),
        ("1e999", "a number is too large"),
        ("+".join("1" * (MAXIMUM_LENGTH // 2 + 1)), f"at most {MAXIMUM_LENGTH} characters"),
        ("-" * (MAXIMUM_DEPTH + 1) + "N", f"at most {MAXIMUM_DEPTH} deep"),
        ("(" * 300 + "N" + ")" * 300, "is not arithmetic"),
    ],
)
def test_limits(text: str, message: str) -> None:
    with pytest.raises(ExpressionError, match=message):
        parse(text, NAMES)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 / (N - 5000)", r"'1 / \(N - 5000\)' at N=5000 divides by zero"),
        ("exp(N)", "at N=5000 is too large a number"),
        ("log(-N)", "at N=5000 is not a real number"),
        ("(-N) ** 0.5", "at N=5000 is not a real number"),
        ("1e308 * 10", r"^'1e308 \* 10' is inf, not a finite number"),
    ],
)
def test_values_that_do_not_exist_are_sentences(text: str, message: str) -> None:
    with pytest.raises(ExpressionError, match=message):
        parse(text, NAMES).value(VALUES)


def test_names_are_those_in_the_text() -> None:
    assert parse("T_split + N * (T_split - 1)", NAMES).names == ("T_split", "N")


def test_names_that_python_normalises() -> None:
    """The parser turns the micro sign into the Greek letter; a file may hold either."""
    assert parse("2 * \u00b5", ["\u00b5"]).value({"\u00b5": 3.0}) == 6.0


def test_a_parameter_by_itself_may_have_any_name() -> None:
    assert parameter("lambda").value({"lambda": 2.5}) == 2.5
