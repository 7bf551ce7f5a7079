"""Arithmetic on named parameters: read by a small grammar, never evaluated as code.

An expression is made of numbers, parameter names, ``+ - * / **``, parentheses and the functions ``min``, ``max``
(two or more arguments), ``exp`` and ``log`` (natural logarithm). Everything is a float. Nothing else is allowed.
"""

from __future__ import annotations

import ast
import difflib
import math
import operator
import unicodedata
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

#: Longest expression accepted, in characters, and how deep it may nest.
MAXIMUM_LENGTH = 1000
MAXIMUM_DEPTH = 200

Evaluator = Callable[[Mapping[str, float]], float]

ALLOWED = "numbers, parameter names, + - * / **, parentheses, min, max, exp and log"

_BINARY: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: math.pow,
}
_UNARY: dict[type[ast.unaryop], Callable[[float], float]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}
#: Function and the number of arguments it takes: exactly one, or two and more.
_FUNCTIONS: dict[str, tuple[Callable[..., float], bool]] = {
    "min": (min, True),
    "max": (max, True),
    "exp": (math.exp, False),
    "log": (math.log, False),
}


class ExpressionError(ValueError):
    """An expression is not arithmetic on known names, or has no finite value."""


@dataclass(frozen=True)
class Expression:
    """A parsed expression: its text and the ``names`` of the parameters in it, in order of appearance."""

    text: str
    names: tuple[str, ...]
    _evaluate: Evaluator = field(repr=False, compare=False)

    def value(self, values: Mapping[str, float]) -> float:
        """The finite value at named parameters; raises :class:`ExpressionError` where there is none."""
        try:
            result = self._evaluate(values)
        except ZeroDivisionError:
            raise ExpressionError(f"{self._at(values)} divides by zero") from None
        except OverflowError:
            raise ExpressionError(f"{self._at(values)} is too large a number") from None
        except ValueError:
            raise ExpressionError(f"{self._at(values)} is not a real number") from None
        if not math.isfinite(result):
            raise ExpressionError(f"{self._at(values)} is {result}, not a finite number")
        return result

    def __reduce__(self) -> tuple[Any, ...]:
        """Sent to workers as text, where it is parsed again."""
        return _again, (self.text, self.names)

    def _at(self, values: Mapping[str, float]) -> str:
        shown = ", ".join(f"{name}={values[name]:.6g}" for name in self.names)
        return f"{self.text!r} at {shown}" if shown else repr(self.text)


def parameter(name: str) -> Expression:
    """The expression that is one parameter; its name need not be one that arithmetic can be written with."""
    return Expression(name, (name,), lambda values: values[name])


def _again(text: str, names: tuple[str, ...]) -> Expression:
    return parameter(text) if names == (text,) else parse(text, names)


def parse(text: str, names: Collection[str]) -> Expression:
    """The expression ``text`` over parameter ``names``; raises :class:`ExpressionError` for anything else."""
    if not isinstance(text, str):
        raise ExpressionError(f"an expression is text, got {text!r}")
    if len(text) > MAXIMUM_LENGTH:
        raise ExpressionError(f"an expression has at most {MAXIMUM_LENGTH} characters, got {len(text)}")
    builder = _Builder(text, names)
    evaluate = builder.build(_syntax_tree(text))
    return Expression(text, tuple(dict.fromkeys(builder.used)), evaluate)


def _syntax_tree(text: str) -> ast.expr:
    refused = ExpressionError(f"{text!r} is not arithmetic; allowed are {ALLOWED}")
    if "#" in text:
        raise refused
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(" ".join(text.split()), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise refused from None


class _Builder:
    """Turns a syntax tree into nested closures, refusing every node that is not arithmetic."""

    def __init__(self, text: str, names: Collection[str]) -> None:
        self.text = text
        # Python's parser normalises identifiers, so names are looked up in the same form.
        self.names = {unicodedata.normalize("NFKC", name): name for name in names}
        self.used: list[str] = []

    def build(self, node: ast.expr, depth: int = 0) -> Evaluator:
        if depth > MAXIMUM_DEPTH:
            raise ExpressionError(f"an expression nests at most {MAXIMUM_DEPTH} deep: {self.text!r}")
        depth += 1
        if isinstance(node, ast.Constant):
            return self._number(node)
        if isinstance(node, ast.Name):
            return self._parameter(node)
        if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
            function, left, right = _BINARY[type(node.op)], self.build(node.left, depth), self.build(node.right, depth)
            return lambda values: function(left(values), right(values))
        if isinstance(node, ast.UnaryOp) and type(node.op) in _UNARY:
            sign, operand = _UNARY[type(node.op)], self.build(node.operand, depth)
            return lambda values: sign(operand(values))
        if isinstance(node, ast.Call):
            return self._call(node, depth)
        raise self._refuse(node)

    def _number(self, node: ast.Constant) -> Evaluator:
        if isinstance(node.value, bool) or not isinstance(node.value, int | float):
            raise self._refuse(node)
        try:
            number = float(node.value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise ExpressionError(f"{self.text!r}: a number is too large")
        return lambda values: number

    def _parameter(self, node: ast.Name) -> Evaluator:
        if node.id not in self.names:
            close = difflib.get_close_matches(node.id, self.names, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            known = ", ".join(self.names.values()) or "none"
            raise ExpressionError(f"{self.text!r} names the unknown parameter {node.id!r}{hint} (parameters: {known})")
        name = self.names[node.id]
        self.used.append(name)
        return lambda values: values[name]

    def _call(self, node: ast.Call, depth: int) -> Evaluator:
        if not isinstance(node.func, ast.Name) or node.func.id not in _FUNCTIONS or node.keywords:
            raise self._refuse(node)
        name = node.func.id
        function, several = _FUNCTIONS[name]
        if (len(node.args) < 2) if several else (len(node.args) != 1):
            wanted = "two or more arguments" if several else "one argument"
            raise ExpressionError(f"{self.text!r}: {name} takes {wanted}, got {len(node.args)}")
        arguments = [self.build(a, depth) for a in node.args]
        return lambda values: function(*(a(values) for a in arguments))

    def _refuse(self, node: ast.expr) -> ExpressionError:
        # The tree was parsed from the text with white space collapsed, so columns count in that.
        part = ast.get_source_segment(" ".join(self.text.split()), node) or self.text
        return ExpressionError(f"{self.text!r}: {part!r} is not arithmetic; allowed are {ALLOWED}")
