"""Parameters of a scenario: names, bounds, scales and priors.

Vectors of parameters are float64 arrays whose last axis follows the order of :class:`Parameters`. Three
coordinate systems are used: *natural* values (what simulators and users see), the parameter's own *scale*
(natural logarithm where ``scale`` is ``log``), and *unit* coordinates (the prior's cumulative distribution
function, uniform in (0, 1) under the prior).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any, Literal

import numpy as np

Scale = Literal["linear", "log"]
PriorKind = Literal["uniform", "log-uniform", "normal", "lognormal"]

_STANDARD_NORMAL = NormalDist()
_normal_cdf = np.vectorize(_STANDARD_NORMAL.cdf, otypes=[float])
_normal_quantile = np.vectorize(_STANDARD_NORMAL.inv_cdf, otypes=[float])
#: Constraints and impossible models may reject at most this share of draws from the marginal priors.
MINIMUM_ACCEPTANCE = 0.01
_BATCH = 256
#: Bounds have to hold this share of a normal prior, or its tail is lost to round-off.
_LEAST_MASS = 1e-9


class ParameterError(ValueError):
    """A parameter, prior or constraint breaks one of its rules."""


@dataclass(frozen=True)
class Prior:
    """A marginal prior, truncated to the parameter's bounds.

    ``uniform`` is uniform in the value, ``log-uniform`` in its logarithm; ``normal`` has ``mean`` and ``sd`` of
    the value, ``lognormal`` of the value's natural logarithm.
    """

    kind: PriorKind = "uniform"
    mean: float | None = None
    sd: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("uniform", "log-uniform", "normal", "lognormal"):
            raise ParameterError(f"prior must be uniform, log-uniform, normal or lognormal, not {self.kind!r}")
        shaped = self.kind in ("normal", "lognormal")
        if shaped and (self.mean is None or self.sd is None or not self.sd > 0 or not math.isfinite(self.mean)):
            raise ParameterError(f"prior {self.kind} needs a finite mean and an sd above 0, got {self.mean}, {self.sd}")
        if not shaped and (self.mean is not None or self.sd is not None):
            raise ParameterError(f"prior {self.kind} takes no mean and no sd")

    @property
    def logarithmic(self) -> bool:
        """Whether the density is defined on the logarithm of the value."""
        return self.kind in ("log-uniform", "lognormal")


@dataclass(frozen=True)
class Parameter:
    """One named parameter with finite bounds, ``lower < upper``, both closed."""

    name: str
    lower: float
    upper: float
    scale: Scale = "linear"
    prior: Prior | None = None
    unit: str = ""
    description: str = ""

    def __post_init__(self) -> None:
        where = f"parameter {self.name!r}"
        if not self.name or not self.name.isidentifier():
            raise ParameterError(f"{where}: a name is letters, digits and underscores, no digit first")
        if not (math.isfinite(self.lower) and math.isfinite(self.upper)):
            raise ParameterError(f"{where}: bounds must be finite, got [{self.lower}, {self.upper}]")
        if not self.lower < self.upper:
            raise ParameterError(f"{where}: lower bound {self.lower} must be below upper bound {self.upper}")
        if self.scale not in ("linear", "log"):
            raise ParameterError(f"{where}: scale must be linear or log, not {self.scale!r}")
        if self.prior is None:
            object.__setattr__(self, "prior", Prior("log-uniform" if self.scale == "log" else "uniform"))
        if (self.scale == "log" or self.density.logarithmic) and self.lower <= 0:
            raise ParameterError(f"{where}: a logarithmic scale or prior needs a lower bound above 0, got {self.lower}")
        if self.density.mean is not None and np.diff(self._tails())[0] < _LEAST_MASS:
            raise ParameterError(
                f"{where}: the bounds [{self.lower:g}, {self.upper:g}] hold next to nothing of its {self.density.kind} "
                f"prior with mean {self.density.mean:g} and sd {self.density.sd:g}"
            )

    @property
    def density(self) -> Prior:
        """The marginal prior, never ``None`` once constructed."""
        assert self.prior is not None
        return self.prior

    def _transformed(self, values: Any) -> np.ndarray:
        values = np.asarray(values, dtype=float)
        return np.log(values) if self.density.logarithmic else values

    def _tails(self) -> np.ndarray:
        """Mass of the untruncated normal prior below the lower and the upper bound."""
        prior = self.density
        assert prior.mean is not None
        assert prior.sd is not None
        ends = np.stack([self._transformed(self.lower), self._transformed(self.upper)])
        return _normal_cdf((ends - prior.mean) / prior.sd)

    def cdf(self, values: Any) -> np.ndarray:
        """Prior probability of a value at or below ``values`` (natural units, any shape)."""
        x = self._transformed(np.clip(values, self.lower, self.upper))
        low, high = self._transformed(self.lower), self._transformed(self.upper)
        prior = self.density
        if prior.mean is None or prior.sd is None:
            return (x - low) / (high - low)
        tail = self._tails()
        return (_normal_cdf((x - prior.mean) / prior.sd) - tail[0]) / (tail[1] - tail[0])

    def quantile(self, probabilities: Any) -> np.ndarray:
        """Inverse of :meth:`cdf`; the result lies inside the bounds."""
        u = np.asarray(probabilities, dtype=float)
        low, high = self._transformed(self.lower), self._transformed(self.upper)
        prior = self.density
        if prior.mean is None or prior.sd is None:
            x = low + u * (high - low)
        else:
            tail = self._tails()
            inner = np.clip(tail[0] + u * (tail[1] - tail[0]), 1e-300, 1 - 1e-16)
            x = prior.mean + prior.sd * _normal_quantile(inner)
        return np.clip(np.exp(x) if prior.logarithmic else x, self.lower, self.upper)

    def log_density(self, values: Any) -> np.ndarray:
        """Log prior density *per natural unit*, up to a constant; ``-inf`` outside the bounds."""
        values = np.asarray(values, dtype=float)
        inside = (values >= self.lower) & (values <= self.upper)
        x = self._transformed(np.where(inside, values, self.upper))
        prior = self.density
        log_p = np.zeros_like(x) if prior.mean is None else -0.5 * ((x - prior.mean) / (prior.sd or 1.0)) ** 2
        if prior.logarithmic:
            log_p = log_p - x
        return np.where(inside, log_p, -np.inf)

    def log_mass(self) -> float:
        """Logarithm of the integral of ``exp(log_density)`` over the bounds: the constant that it leaves out."""
        low, high = float(self._transformed(self.lower)), float(self._transformed(self.upper))
        prior = self.density
        if prior.mean is None or prior.sd is None:
            return math.log(high - low)
        return math.log(prior.sd * math.sqrt(2 * math.pi) * float(np.diff(self._tails())[0]))

    def to_scale(self, values: Any) -> np.ndarray:
        """Natural values to the parameter's own scale."""
        values = np.asarray(values, dtype=float)
        return np.log(values) if self.scale == "log" else values

    def from_scale(self, values: Any) -> np.ndarray:
        """Inverse of :meth:`to_scale`, clipped to the bounds (round-off can leave them)."""
        values = np.asarray(values, dtype=float)
        return np.clip(np.exp(values) if self.scale == "log" else values, self.lower, self.upper)

    def prior_sd(self) -> float:
        """Standard deviation of the prior on the parameter's own scale."""
        grid = self.quantile((np.arange(2000) + 0.5) / 2000)
        return float(np.std(self.to_scale(grid)))


@dataclass(frozen=True)
class Constraint:
    """``greater`` is larger than ``smaller``, strictly; both are parameter names."""

    greater: str
    smaller: str


@dataclass(frozen=True)
class Parameters(Sequence[Parameter]):
    """The free parameters of a scenario, in order, with what restricts them jointly.

    The joint prior is the product of the marginals restricted to ``constraints`` and to vectors for which
    ``problem`` returns ``None``; otherwise it returns a sentence saying why the model is impossible there.
    """

    items: tuple[Parameter, ...]
    constraints: tuple[Constraint, ...] = ()
    problem: Callable[[Mapping[str, float]], str | None] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        names = [p.name for p in self.items]
        repeated = sorted({n for n in names if names.count(n) > 1})
        if repeated:
            raise ParameterError(f"parameter names must be unique, repeated: {', '.join(repeated)}")
        for constraint in self.constraints:
            for name in (constraint.greater, constraint.smaller):
                if name not in names:
                    raise ParameterError(f"constraint names unknown parameter {name!r}; parameters: {', '.join(names)}")

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Parameter]:
        return iter(self.items)

    def __getitem__(self, key: Any) -> Any:
        return self.items[key]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(p.name for p in self.items)

    @property
    def bounds(self) -> np.ndarray:
        """Array (parameters, 2) of lower and upper bounds."""
        return np.array([[p.lower, p.upper] for p in self.items], dtype=float).reshape(-1, 2)

    def named(self, vector: Any) -> dict[str, float]:
        return {p.name: float(v) for p, v in zip(self.items, vector, strict=True)}

    def vector(self, values: Mapping[str, float]) -> np.ndarray:
        """Array of ``values`` in order; raises :class:`ParameterError` for missing or unknown names."""
        missing = [n for n in self.names if n not in values]
        unknown = [n for n in values if n not in self.names]
        if missing or unknown:
            raise ParameterError(f"expected values for {', '.join(self.names)}; missing: {missing}, unknown: {unknown}")
        return np.array([float(values[n]) for n in self.names])

    def _columns(self, method: str, vectors: Any) -> np.ndarray:
        vectors = np.asarray(vectors, dtype=float)
        if not self.items:
            return vectors.copy()
        return np.stack([getattr(p, method)(vectors[..., i]) for i, p in enumerate(self.items)], axis=-1)

    def to_scale(self, vectors: Any) -> np.ndarray:
        return self._columns("to_scale", vectors)

    def from_scale(self, vectors: Any) -> np.ndarray:
        return self._columns("from_scale", vectors)

    def to_unit(self, vectors: Any) -> np.ndarray:
        return self._columns("cdf", vectors)

    def from_unit(self, vectors: Any) -> np.ndarray:
        return self._columns("quantile", vectors)

    def prior_sd(self) -> np.ndarray:
        return np.array([p.prior_sd() for p in self.items])

    def satisfies_constraints(self, vectors: Any) -> np.ndarray:
        """Boolean array: vectors (..., parameters) inside the bounds and every constraint."""
        vectors = np.asarray(vectors, dtype=float)
        bounds = self.bounds
        good = ((vectors >= bounds[:, 0]) & (vectors <= bounds[:, 1])).all(axis=-1)
        index = {name: i for i, name in enumerate(self.names)}
        for c in self.constraints:
            good &= vectors[..., index[c.greater]] > vectors[..., index[c.smaller]]
        return good

    def possible(self, vectors: Any) -> np.ndarray:
        """Boolean array (k,): vectors (k, parameters) that the joint prior allows, ``problem`` included."""
        vectors = np.atleast_2d(np.asarray(vectors, dtype=float))
        good = self.satisfies_constraints(vectors)
        if self.problem is not None:
            for i in np.flatnonzero(good):
                good[i] = self.problem(self.named(vectors[i])) is None
        return good

    def log_prior(self, vectors: Any) -> np.ndarray:
        """Log density of the product of marginals per natural unit, ``-inf`` outside bounds or constraints.

        Does not call ``problem``: proposals are checked with :meth:`possible` before anything is simulated.
        """
        vectors = np.asarray(vectors, dtype=float)
        total = sum(p.log_density(vectors[..., i]) for i, p in enumerate(self.items))
        return np.where(self.satisfies_constraints(vectors), total, -np.inf)

    def sample(self, rng: np.random.Generator, k: int) -> np.ndarray:
        """``k`` draws (k, parameters) from the joint prior, by rejection.

        Raises :class:`ParameterError` when fewer than one draw in a hundred is possible.
        """
        kept: list[np.ndarray] = []
        num_kept = num_tried = 0
        while num_kept < k:
            draws = self.from_unit(rng.random((max(_BATCH, k - num_kept), len(self.items))))
            good = draws[self.possible(draws)]
            kept.append(good)
            num_tried += len(draws)
            num_kept += len(good)
            if num_tried >= 4 * _BATCH and num_kept < MINIMUM_ACCEPTANCE * num_tried:
                raise ParameterError(_scarce(num_kept, num_tried) + self._example_problem(draws))
        return np.concatenate(kept)[:k] if kept else np.empty((0, len(self.items)))

    def _example_problem(self, draws: np.ndarray) -> str:
        for vector in draws:
            values = self.named(vector)
            shown = ", ".join(f"{n}={v:.6g}" for n, v in values.items())
            if not self.satisfies_constraints(vector):
                return f" (for example {shown} breaks a constraint)"
            reason = self.problem(values) if self.problem else None
            if reason:
                return f" (for example at {shown}: {reason})"
        return ""


def _scarce(num_kept: int, num_tried: int) -> str:
    """What is wrong where so few draws are possible, and what to do about it."""
    if not num_kept:
        # Where nothing at all is possible, the bounds are seldom to blame.
        rule = "satisfies the constraints and makes a possible model; mend the model, its constraints or its bounds"
        return f"none of {num_tried} draws from the prior {rule}"
    rule = "satisfy the constraints and make a possible model; narrow the bounds or loosen the constraints"
    return f"only {num_kept} of {num_tried} draws from the prior {rule}"
