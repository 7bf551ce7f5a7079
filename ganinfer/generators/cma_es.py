"""Covariance matrix adaptation (the cmaes package; Hansen 2016, arXiv:1604.00772) on the critic's verdict."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ganinfer.generators.critic import equal_rounds, latest_losses, standardised
from ganinfer.interfaces import API_VERSION, Budget, Info, RoundPlan, RoundResult, State
from ganinfer.parameters import Parameters

_TRIES = 100


class CmaEs:
    """Options: ``population`` proposals a round (default by the number of parameters), ``windows`` of each, ``sigma``.

    The search runs in unit coordinates of the prior. It starts at the best of a first round of draws from the prior,
    with standard deviation ``sigma``.
    """

    api_version: ClassVar[str] = API_VERSION
    uses: ClassVar[str] = "critic"

    def __init__(self, *, population: int | None = None, windows: int = 50, sigma: float = 0.2):
        self.population, self.windows, self.sigma = population, windows, sigma

    def plan(self, parameters: Parameters, budget: Budget) -> tuple[RoundPlan, ...]:
        population = self.population or 2 * (4 + int(3 * np.log(len(parameters) + 1)))
        return equal_rounds(budget, max(population, 4), self.windows)

    def init(self, parameters: Parameters, rng: np.random.Generator) -> State:
        self._parameters = parameters
        return State(
            {
                "start": parameters.to_unit(parameters.sample(rng, 1)[0]),
                "solutions": np.empty((0, 0, len(parameters))),
                "losses": np.empty((0, 0)),
            },
            {"round": 0},
        )

    def propose(self, state: State, rng: np.random.Generator, k: int) -> np.ndarray:
        if state.values["round"] == 0:
            return self._parameters.sample(rng, k)
        search = self._search(state, k, int(rng.integers(2**31)))
        proposals = self._parameters.sample(rng, k)
        for i in range(k):
            for _ in range(_TRIES):
                drawn = self._parameters.from_unit(search.ask())
                if self._parameters.possible(drawn)[0]:
                    proposals[i] = drawn
                    break
        return proposals

    def _search(self, state: State, population: int, seed: int) -> Any:
        """The optimiser after every round so far: told again, since its own state is no plain data."""
        from cmaes import CMA

        size = len(state.arrays["start"])
        bounds = np.tile([0.0, 1.0], (size, 1))
        start = np.clip(state.arrays["start"], 1e-6, 1 - 1e-6)
        search = CMA(start, self.sigma, bounds=bounds, population_size=population, seed=seed)
        for solutions, losses in zip(state.arrays["solutions"], state.arrays["losses"], strict=True):
            search.tell([(x, float(loss)) for x, loss in zip(solutions, losses, strict=True)])
        return search

    def step(self, state: State, result: RoundResult, rng: np.random.Generator) -> tuple[State, Info]:
        theta, judged, fold = latest_losses(result)
        # Critics of different folds are different judges, and the search asks for ranks alone.
        losses = standardised(judged, fold)
        unit = self._parameters.to_unit(theta)
        arrays = dict(state.arrays)
        if state.values["round"] == 0:
            arrays["start"] = unit[int(np.argmin(losses))]
            arrays["solutions"] = np.empty((0, *unit.shape))
            arrays["losses"] = np.empty((0, len(losses)))
        else:
            arrays["solutions"] = np.concatenate([arrays["solutions"], unit[None]])
            arrays["losses"] = np.concatenate([arrays["losses"], losses[None]])
        moved = State(arrays, {"round": state.values["round"] + 1})
        return moved, self._info(moved, len(theta), float(judged.min()))

    def _info(self, state: State, population: int, loss: float) -> Info:
        search = self._search(state, population, 0)
        mean = np.clip(search.mean, 0.0, 1.0)
        # A normal sample of the search's own distribution gives its spread on each parameter's scale.
        drawn = np.array([search.ask() for _ in range(200)])
        spread = self._parameters.to_scale(self._parameters.from_unit(drawn)).std(axis=0)
        return Info(self._parameters.from_unit(mean), spread, metrics={"loss_generator": loss})
