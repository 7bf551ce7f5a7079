"""The contract of a generator, tried on a linear problem whose answer is known."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from ganinfer.interfaces import API_VERSION, Budget, FoldResult, Info, RoundPlan, RoundResult, State
from ganinfer.parameters import Constraint, Parameter, Parameters
from ganinfer.testing.report import Case, require

_BUDGET = Budget(simulated_windows=2_400, rounds=3)
_NUM_FOLDS = 2
_NUM_REAL = 400


def _parameters() -> Parameters:
    """Linear and logarithmic scales, and two times in order."""
    return Parameters(
        (
            Parameter("share", 0.0, 1.0),
            Parameter("size", 10.0, 1_000.0, scale="log"),
            Parameter("early", 1.0, 100.0),
            Parameter("late", 1.0, 100.0),
        ),
        constraints=(Constraint("early", "late"),),
    )


class GeneratorCase(Case):
    """A generator's class, and two rounds of it."""

    kind = "generators"
    parameters = _parameters()

    @cached_property
    def factory(self) -> Any:
        return self.loaded()

    @cached_property
    def options(self) -> dict[str, Any]:
        return dict(self._options or {})

    @cached_property
    def rounds(self) -> list[_Round]:
        return self._run(self._made())

    def _made(self) -> Any:
        return self.factory(**self.options)

    def _run(self, generator: Any, num_rounds: int = 2) -> list[_Round]:
        rng = np.random.default_rng(3)
        plan = generator.plan(self.parameters, _BUDGET)
        state, rounds, problem = generator.init(self.parameters, rng), [], _Problem(self.parameters)
        rounds.append(_Round(state, np.empty((0, len(self.parameters))), None, None))
        for index, step in enumerate(plan[:num_rounds]):
            proposals = generator.propose(state, rng, step.num_proposals)
            result = problem.round(index, np.asarray(proposals, dtype=float), step)
            state, info = generator.step(state, result, rng)
            rounds.append(_Round(state, proposals, info, step))
        return rounds

    # --- the clauses ------------------------------------------------------------------------------------------------

    def check_interface(self) -> None:
        generator = self._made()
        for name in ("api_version", "plan", "init", "propose", "step"):
            require(hasattr(generator, name), f"the generator has no {name}")
        major = str(generator.api_version).partition(".")[0]
        require(major == API_VERSION, f"api_version is {generator.api_version!r}; the interface is {API_VERSION!r}")

    def check_options(self) -> None:
        restored = json.loads(json.dumps(self.options))
        require(
            restored == self.options, "options must come through JSON unchanged (strings as keys, lists, no tuples)"
        )

    def check_plan(self) -> None:
        plan = self._made().plan(self.parameters, _BUDGET)
        require(0 < len(plan) <= _BUDGET.rounds, f"{len(plan)} rounds for a budget of {_BUDGET.rounds}")
        require(all(isinstance(p, RoundPlan) for p in plan), "a plan is a tuple of RoundPlan")
        require(all(p.num_proposals > 0 and p.num_windows > 0 for p in plan), "a round without proposals or windows")
        windows = sum(p.num_proposals * p.num_windows for p in plan)
        limit = _BUDGET.simulated_windows
        require(windows <= limit, f"the plan takes {windows} windows, the budget is {limit}")

    def check_state(self) -> None:
        for index, one in enumerate(self.rounds):
            _require_plain(one.state, f"after {index} rounds")

    def check_proposals(self) -> None:
        for one in self.rounds[1:]:
            assert one.plan is not None
            shape = (one.plan.num_proposals, len(self.parameters))
            require(
                np.shape(one.proposals) == shape, f"proposals have shape {np.shape(one.proposals)}, expected {shape}"
            )
            stray = np.flatnonzero(~self.parameters.possible(one.proposals))
            shown = self.parameters.named(one.proposals[stray[0]]) if len(stray) else {}
            require(not len(stray), f"{len(stray)} proposals lie outside the prior, for example {shown}")

    def check_info(self) -> None:
        for one in self.rounds[1:]:
            _require_sensible(one.info, self.parameters)

    def check_determinism(self) -> None:
        again = self._run(self._made())
        for a, b in zip(again, self.rounds, strict=True):
            require(np.array_equal(a.proposals, b.proposals), "the same random numbers gave other proposals")
        require(np.array_equal(again[-1].info.estimate, self.rounds[-1].info.estimate), "…gave another estimate")

    def check_resuming(self) -> None:
        """A generator made anew goes on from a state that was written and read as the one that wrote it would."""
        here, there = self._made(), self._made()
        plan = here.plan(self.parameters, _BUDGET)
        there.plan(self.parameters, _BUDGET)
        here.init(self.parameters, np.random.default_rng(3))
        there.init(self.parameters, np.random.default_rng(99))
        state, k = self.rounds[1].state, plan[-1].num_proposals
        expected = here.propose(state, np.random.default_rng(5), k)
        found = there.propose(_written_and_read(state), np.random.default_rng(5), k)
        require(np.array_equal(found, expected), "a state that was saved and loaded gave other proposals")


class _Round:
    def __init__(self, state: State, proposals: np.ndarray, info: Any, plan: RoundPlan | None):
        self.state, self.proposals, self.info, self.plan = state, proposals, info, plan


class _Problem:
    """Statistics that are linear in the prior's unit coordinates, with noise of one standard deviation a window."""

    def __init__(self, parameters: Parameters):
        self._rng = np.random.default_rng(11)
        self._parameters = parameters
        self._slope = self._rng.normal(size=(len(parameters), 6)) * 4
        truth = np.array([[0.4, 100.0, 60.0, 30.0]])
        self._real = [self._windows(truth, _NUM_REAL) for _ in range(_NUM_FOLDS)]
        self._so_far: list[list[tuple[int, np.ndarray, np.ndarray]]] = [[] for _ in range(_NUM_FOLDS)]

    def _windows(self, theta: np.ndarray, num_windows: int) -> np.ndarray:
        """(len(theta) * num_windows, 6) statistics, the windows of a proposal side by side."""
        means = np.repeat(self._parameters.to_unit(theta) @ self._slope, num_windows, axis=0)
        return means + self._rng.normal(size=means.shape)

    def round(self, index: int, theta: np.ndarray, plan: RoundPlan) -> RoundResult:
        for fold, record in enumerate(self._so_far):
            mine = theta[fold::_NUM_FOLDS]
            record.append((index, mine, self._windows(mine, plan.num_windows)))
        return RoundResult(index, tuple(self._fold(i) for i in range(_NUM_FOLDS)))

    def _fold(self, fold: int) -> FoldResult:
        record, real = self._so_far[fold], self._real[fold]
        statistics = np.concatenate([windows for _, _, windows in record])
        theta = np.concatenate([vectors for _, vectors, _ in record])
        repeats = np.concatenate([np.full(len(t), len(w) // max(len(t), 1)) for _, t, w in record])
        return FoldResult(
            theta=theta,
            round_index=np.concatenate([np.full(len(vectors), index) for index, vectors, _ in record]),
            statistics=statistics,
            proposal=np.repeat(np.arange(len(theta)), repeats),
            real=real,
            block=np.arange(_NUM_REAL) // 4,
            logits=-np.linalg.norm(statistics - real.mean(axis=0), axis=1),
            real_logits=-np.linalg.norm(real - real.mean(axis=0), axis=1),
        )


def _require_plain(state: Any, when: str) -> None:
    require(isinstance(state, State), f"{when} the state is a {type(state).__name__}, not a State")
    for name, array in state.arrays.items():
        plain = isinstance(array, np.ndarray) and array.dtype != object
        require(plain, f"{when} arrays[{name!r}] is no array of numbers, but {type(array).__name__}")
    try:
        same = json.loads(json.dumps(dict(state.values), allow_nan=False)) == dict(state.values)
    except (TypeError, ValueError) as error:
        require(False, f"{when} values are not JSON: {error}")
    require(same, f"{when} values do not come through JSON unchanged")


def _written_and_read(state: State) -> State:
    values: Mapping[str, Any] = json.loads(json.dumps(dict(state.values)))
    return State({name: _through_a_file(array) for name, array in state.arrays.items()}, values)


def _through_a_file(array: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    buffer.seek(0)
    return np.load(buffer, allow_pickle=False)


def _require_sensible(info: Any, parameters: Parameters) -> None:
    require(isinstance(info, Info), f"step must return (State, Info), not {type(info).__name__}")
    width = (len(parameters),)
    for name in ("estimate", "spread"):
        values = getattr(info, name)
        require(np.shape(values) == width, f"{name} has shape {np.shape(values)}, expected {width}")
        require(np.isfinite(values).all(), f"{name} is not finite: {values}")
    bounds = parameters.bounds
    inside = (info.estimate >= bounds[:, 0]) & (info.estimate <= bounds[:, 1])
    require(inside.all(), f"the estimate leaves its prior: {parameters.named(info.estimate)}")
    require((np.asarray(info.spread) >= 0).all(), f"spread must not be negative: {info.spread}")
    if info.posterior is not None:
        shape = np.shape(info.posterior)
        require(len(shape) == 2 and shape[1:] == width, f"posterior has shape {shape}, expected (draws, {width[0]})")
        require(parameters.possible(info.posterior).all(), "posterior draws lie outside the prior")
    metrics = all(np.isscalar(v) and np.isreal(v) for v in info.metrics.values())
    require(metrics, f"metrics must be numbers: {dict(info.metrics)}")
    require(info.converged is None or isinstance(info.converged, str), "converged must be None or say why to stop")
    require(all(isinstance(w, str) for w in info.warnings), "warnings must be sentences")
