"""Simulated annealing on the critic's verdict, the rule of pg-gan (Wang et al. 2021, doi:10.1111/1755-0998.13386).

Two things differ from its code: proposals are centred on the current point, as published, and the current point is
simulated again in every round, so that losses are compared under the same critic.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ganinfer.generators.critic import equal_rounds, latest_losses
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
        return State({"current": parameters.sample(rng, 1)[0]}, {"round": 0, "num_rounds": len(self._rounds)})

    def propose(self, state: State, rng: np.random.Generator, k: int) -> np.ndarray:
        """The current point first; in the first round draws from the prior, of which the best becomes the start."""
        parameters, current = self._parameters, state.arrays["current"]
        if state.values["round"] == 0:
            return np.concatenate([current[None, :], parameters.sample(rng, k - 1)]) if k > 1 else current[None, :]
        steps = self._steps(state)
        proposals = np.tile(current, (k, 1))
        for i in range(1, k):
            axis = (i - 1) % len(parameters)
            proposals[i] = self._moved(current, axis, steps[axis], rng)
        return proposals

    def _steps(self, state: State) -> np.ndarray:
        """Standard deviation of a step of each parameter, on its scale."""
        ranges = np.diff(self._parameters.to_scale(self._parameters.bounds.T), axis=0)[0]
        return self._temperature(state) * self.width * ranges

    @staticmethod
    def _temperature(state: State) -> float:
        return max(1.0 - state.values["round"] / max(state.values["num_rounds"], 1), 0.0)

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
        theta, losses = latest_losses(result)
        current = state.arrays["current"]
        first = state.values["round"] == 0
        here = (theta == current).all(axis=1)
        now = float(losses[here].mean()) if here.any() and not first else np.inf
        losses = np.where(here & ~np.bool_(first), np.inf, losses)
        best = int(np.argmin(losses))
        accepted = bool(losses[best] <= now or rng.random() < now / losses[best] * self._temperature(state))
        if accepted and np.isfinite(losses[best]):
            current = theta[best]
        moved = State({"current": current}, {**state.values, "round": state.values["round"] + 1})
        loss = float(losses[best]) if accepted else now
        info = Info(current, self._steps(moved), metrics={"loss_generator": loss, "accepted": float(accepted)})
        return moved, info
