"""pg-gan's rule with its network, as lean as it can be: the plugins ``annealing`` and ``pg-gan`` and no engine.

Wang et al. 2021, doi:10.1111/1755-0998.13386. In every round 10 proposals for each parameter, 50 windows each, are
judged by one critic; when one is accepted, the critic is trained with 100 batches of 50 fresh windows simulated there
and 50 real ones, by Adam at 1e-3 (on average: our training lowers the rate along a cosine within those batches).
Windows that are judged are new, so one critic is enough. Only the 36 sites that it sees are encoded, and no classical
statistics. What is left out of the published rule: its pre-training, which would take longer than all limits here;
the first round judges draws from the prior by a critic trained on them, and its best is where annealing starts.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ganinfer import observed, randomness, simulation
from ganinfer.experiment import Experiment, pipeline_settings
from ganinfer.generators.annealing import Annealing
from ganinfer.interfaces import Budget, FoldResult, RoundResult, WindowTemplate
from ganinfer.runner import assembling

NUM_SITES = 36
_BATCHES, _BATCH = 100, 50
_UNLIMITED = 10**9
_EMPTY = np.empty(0)


class Annealed:
    """A run of ``num_rounds`` rounds, over which the temperature falls to 0. It simulates in this process."""

    def __init__(self, loaded: Experiment, num_rounds: int, folder: Path):
        from ganinfer import training

        self._seed = loaded.seed
        scenario = assembling.only_scenario(loaded)
        with assembling.executor(loaded) as workers:
            real = assembling.open_data(loaded, workers, folder)
        self.parameters = assembling.checked_parameters(loaded, scenario, real.samples)[1]
        settings = pipeline_settings(loaded, real.phased)
        self._setup = assembling.base_setup(
            loaded, scenario, real.samples, settings, ("snp-matrix",), num_sites=NUM_SITES
        )
        chosen = np.arange(len(real.windows))
        self._real = observed.observe(real, chosen, self._setup, 2, self._seed, folder)
        self._settings = training.TrainingSettings(
            windows=_BATCHES * _BATCH,
            epochs=1,
            batch=1,
            group=_BATCH,
            real_share=1.0,
            learning_rate=2e-3,
            critic_weight=1.0,
            regressor_weight=0.0,
        )
        specs = simulation.encoding_specs(self._setup)
        # The network of fold 1 trains on windows of fold 0, which here are all.
        self._network = training.init("pg-gan", {}, specs, len(self.parameters), self._settings, self._seed)[1]
        self._generator = Annealing()
        self._plan = self._generator.plan(self.parameters, Budget(_UNLIMITED, num_rounds))
        self.num_windows = 0

    @property
    def planned_rounds(self) -> int:
        return len(self._plan)

    def rounds(self) -> Iterator[np.ndarray]:
        """The estimate after each round."""
        state = self._generator.init(self.parameters, randomness.stream(self._seed, "init"))
        for index, plan in enumerate(self._plan):
            theta = self._generator.propose(state, self._stream("propose", index), plan.num_proposals)
            arrays = [self._simulated(v, plan.num_windows, "round", index, i) for i, v in enumerate(theta)]
            if index == 0:
                self._train(theta, arrays, index)
            result = RoundResult(index, (self._judged(theta, arrays, index),))
            state, info = self._generator.step(state, result, self._stream("step", index))
            if info.metrics["accepted"]:
                fresh = [self._simulated(info.estimate, _BATCH, "fresh", index, i) for i in range(_BATCHES)]
                self._train(np.tile(info.estimate, (_BATCHES, 1)), fresh, index)
            yield info.estimate

    def _stream(self, *key: str | int) -> np.random.Generator:
        return randomness.stream(self._seed, *key)

    def _simulated(self, vector: np.ndarray, num_windows: int, *key: str | int) -> dict[str, np.ndarray]:
        self.num_windows += num_windows
        seed = randomness.simulator_seed(self._seed, *key)
        templates = (WindowTemplate(self._setup.length),) * num_windows
        return simulation.simulate_task(simulation.Task(self._setup, self.parameters.named(vector), templates, seed))

    def _train(self, theta: np.ndarray, arrays: list[dict[str, np.ndarray]], index: int) -> None:
        """One pass over groups of windows, a batch a group."""
        from ganinfer import training

        joined = _joined(arrays)
        num = len(joined["mask"])
        proposal = np.repeat(np.arange(len(theta)), num // len(theta))
        targets = self.parameters.to_unit(theta)
        simulated = training.Windows(joined, np.zeros(num, dtype=int), proposal, targets)
        real = training.Windows(self._real.arrays, np.zeros(len(self._real), dtype=int))
        training.train([self._network], simulated, real, self._settings, self._stream("train", index))

    def _judged(self, theta: np.ndarray, arrays: list[dict[str, np.ndarray]], index: int) -> FoldResult:
        from ganinfer import training

        logits: Any = training.embed(self._network, _joined(arrays))[1]
        proposal = np.repeat(np.arange(len(theta)), len(logits) // len(theta))
        rounds = np.full(len(theta), index)
        return FoldResult(theta, rounds, np.empty((len(logits), 0)), proposal, _EMPTY, _EMPTY, logits, _EMPTY)


def _joined(arrays: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([a[name] for a in arrays]) for name in arrays[0]}
