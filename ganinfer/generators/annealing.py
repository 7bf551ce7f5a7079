"""Simulated annealing on the critic's verdict, the rule of pg-gan (Wang et al. 2021, doi:10.1111/1755-0998.13386).

Two things differ from its code: proposals are centred on the current point, as published, and the current point is
simulated again in every round, once for the critic of every fold, so that losses are compared under the same critic.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ganinfer.generators.critic import equal_rounds, latest_losses, levelled, standardised
from ganinfer.interfaces import API_VERSION, Budget, Info, RoundPlan, RoundResult, State
from ganinfer.parameters import Parameters

_TRIES = 100


class Annealing:
    """Options: ``proposals`` of each parameter a round, ``windows`` of each proposal, ``width`` of a step at the start.

    A proposal changes one parameter by a normal step whose standard deviation is the temperature times ``width`` of
    the prior's range, on the parameter's scale. The temperature falls from 1 to 0 over the planned rounds.
    """

    api_version: ClassVar[str] = API_VERSION
    uses: ClassVar[str] = "critic"

    def __init__(self, *, proposals: int = 10, windows: int = 50, width: float = 1 / 15):
        self.proposals, self.windows, self.width = proposals, windows, width
        self._rounds: tuple[RoundPlan, ...] = ()

    def plan(self, parameters: Parameters, budget: Budget) -> tuple[RoundPlan, ...]:
        self._rounds = equal_rounds(budget, self.proposals * len(parameters) + 1, self.windows)
        return self._rounds

    def init(self, parameters: Parameters, rng: np.random.Generator) -> State:
        self._parameters = parameters
        return State({"current": parameters.sample(rng, 1)[0]}, {"round": 0, "folds": 1})

    def propose(self, state: State, rng: np.random.Generator, k: int) -> np.ndarray:
        """The current point first, once a fold; in the first round draws from the prior, whose best is the start."""
        parameters, current = self._parameters, state.arrays["current"]
        if state.values["round"] == 0:
            return np.concatenate([current[None, :], parameters.sample(rng, k - 1)]) if k > 1 else current[None, :]
        steps = self._steps(state)
        proposals = np.tile(current, (k, 1))
        # Proposals are dealt to folds in turn.
        for i in range(max(min(state.values["folds"], k - 1), 1), k):
            axis = i % len(parameters)
            proposals[i] = self._moved(current, axis, steps[axis], rng)
        return proposals

    def _steps(self, state: State) -> np.ndarray:
        """Standard deviation of a step of each parameter, on its scale."""
        ranges = np.diff(self._parameters.to_scale(self._parameters.bounds.T), axis=0)[0]
        return self._temperature(state) * self.width * ranges

    def _temperature(self, state: State) -> float:
        """By the plan of now: a run that goes on with more rounds is warm again."""
        return max(1.0 - state.values["round"] / max(len(self._rounds), 1), 0.0)

    def _moved(self, current: np.ndarray, axis: int, step: float, rng: np.random.Generator) -> np.ndarray:
        parameter = self._parameters[axis]
        for _ in range(_TRIES):
            moved = current.copy()
            value = parameter.to_scale(current[axis]) + step * rng.standard_normal()
            moved[axis] = parameter.from_scale(value)
            low, high = parameter.to_scale(parameter.lower), parameter.to_scale(parameter.upper)
            if low <= value <= high and self._parameters.possible(moved)[0]:
                return moved
        return current.copy()

    def step(self, state: State, result: RoundResult, rng: np.random.Generator) -> tuple[State, Info]:
        theta, losses, fold = latest_losses(result)
        current = state.arrays["current"]
        if state.values["round"] == 0:
            best, accepted, now = int(np.argmin(standardised(losses, fold))), True, np.inf
        else:
            here = (theta == current).all(axis=1)
            losses = levelled(losses, fold, here)
            now = float(losses[here].mean())
            best = int(np.argmin(np.where(here, np.inf, losses)))
            accepted = bool(losses[best] <= now or rng.random() < now / losses[best] * self._temperature(state))
        current = theta[best] if accepted else current
        loss = float(losses[best]) if accepted else now
        moved = State({"current": current}, {"round": state.values["round"] + 1, "folds": len(result.folds)})
        info = Info(current, self._steps(moved), metrics={"loss_generator": loss, "accepted": float(accepted)})
        return moved, info
