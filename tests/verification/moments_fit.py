"""A maximum-likelihood fit of a joint site frequency spectrum with moments (doi:10.1534/genetics.117.200493).

Runs in an environment of its own, which :mod:`tests.verification.yardstick` makes: moments asks for another scipy
than we do. Of ganinfer it imports what reads the model, so that expressions act as they do in our runs.

    python -m tests.verification.moments_fit FOLDER

FOLDER holds ``job.json`` (``options`` of the demes simulator, ``populations``, ``folded``, ``without_singletons``,
``length`` in base pairs over all windows, ``starts``, ``seed``, ``stream``) and ``spectrum.npy``; ``fit.json`` is
written beside them. The mutation rate and the length are known, so the likelihood is Poisson with a given theta
(moments' ``multinom=False``).
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ganinfer import randomness
from ganinfer.models import ModelError
from ganinfer.parameters import Parameters
from simulators.demes import DemesSimulator

#: Starts are fitted to joint spectra projected to at most so many chromosomes a population; the best goes on in full.
COARSE = 20
#: Step of numerical derivatives, as a share of a parameter's range; moments' own error is far below what it changes.
_STEP = 1e-3
#: The refinement ends with a step this short, in standard deviations of an estimate (Fisher information).
_SHORT = 0.03
_MAX_STEPS = 12
_MAX_EVALUATIONS = 60


class Coordinates:
    """Parameters in [1, 2]: the logarithm where a parameter can't be 0 or less, stretched to its bounds.

    Away from 0, where relative steps of numerical derivatives would vanish.
    """

    def __init__(self, parameters: Parameters):
        self._logarithmic = parameters.bounds[:, 0] > 0
        ends = self._transformed(parameters.bounds.T)
        self._low, self._range = ends[0], ends[1] - ends[0]

    def _transformed(self, vectors: np.ndarray) -> np.ndarray:
        return np.where(self._logarithmic, np.log(np.where(self._logarithmic, vectors, 1.0)), vectors)

    def encode(self, vectors: np.ndarray) -> np.ndarray:
        return 1 + (self._transformed(vectors) - self._low) / self._range

    def decode(self, x: np.ndarray) -> np.ndarray:
        values = self._low + (x - 1) * self._range
        return np.where(self._logarithmic, np.exp(np.where(self._logarithmic, values, 0.0)), values)


def deviance_residuals(observed: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Signed square roots of each cell's Poisson deviance: half the sum of their squares is a negative likelihood."""
    expected = np.maximum(expected, 1e-12)
    ratio = np.where(observed > 0, observed, 1.0) / expected
    logarithm = np.where(observed > 0, observed * np.log(ratio), 0.0)
    return np.sign(observed - expected) * np.sqrt(2 * np.maximum(expected - observed + logarithm, 0.0))


class Fit:
    """The likelihood of one spectrum at one sample size; ``simulator`` gives graphs from parameters."""

    def __init__(self, simulator: DemesSimulator, job: Mapping[str, Any], spectrum: Any):
        self._simulator, self._job, self.spectrum = simulator, job, spectrum
        self.coordinates = Coordinates(simulator.parameters)
        self._sizes = [size - 1 for size in spectrum.shape]
        self._demes = [simulator.demes.get(name, name) for name in job["populations"]]

    @cached_property
    def _used(self) -> np.ndarray:
        return ~np.ma.getmaskarray(self.spectrum)

    @cached_property
    def observed(self) -> np.ndarray:
        return np.asarray(self.spectrum.data)[self._used]

    def model(self, x: np.ndarray) -> Any:
        """The expected spectrum at coordinates ``x``, folded where the data are."""
        import moments

        theta = self._simulator.parameters.named(self.coordinates.decode(x))
        rate = self._simulator.rates.at(self._simulator.model.values(theta))["mutation_rate"]
        graph = self._simulator.graph(theta)
        expected = moments.Demes.SFS(graph, self._demes, self._sizes, u=rate * self._job["length"])
        return expected.fold() if self._job["folded"] else expected

    def residuals(self, x: np.ndarray) -> np.ndarray:
        """Deviance residuals at ``x``; infinite where the model is impossible, so that no step goes there."""
        try:
            return deviance_residuals(self.observed, np.asarray(self.model(x).data)[self._used])
        except ModelError:
            return np.full(self.observed.shape, np.inf)

    def log_likelihood(self, x: np.ndarray) -> float:
        import moments

        return float(moments.Inference.ll(self.model(x), self.spectrum))

    def search(self, x: np.ndarray) -> np.ndarray:
        """The maximum nearest to ``x`` inside the bounds, by least squares of the deviance residuals."""
        from scipy.optimize import least_squares

        found = least_squares(
            self.residuals,
            np.clip(x, 1 + 1e-4, 2 - 1e-4),
            bounds=(1.0, 2.0),
            diff_step=_STEP,
            ftol=1e-8,
            xtol=1e-6,
            gtol=1e-8,
            max_nfev=_MAX_EVALUATIONS,
        )
        return found.x

    def refine(self, x: np.ndarray) -> np.ndarray:
        """The maximum close to ``x``, with derivatives taken once, there: for spectra that take moments long.

        It ends where those derivatives ask for no step. On ``im`` with 50 + 50 individuals another five evaluations,
        for fresh derivatives, moved it by less than a tenth of the sampling standard deviation.
        """
        residuals = self.residuals(x)
        jacobian = np.stack([(self.residuals(x + step) - residuals) / step.sum() for step in self._steps(x)], axis=1)
        information = np.linalg.pinv(jacobian.T @ jacobian)
        share = 1.0
        for _ in range(_MAX_STEPS):
            trial = np.clip(x - share * information @ (jacobian.T @ residuals), 1.0, 2.0)
            moved = float(np.linalg.norm(jacobian @ (trial - x)))
            found = self.residuals(trial)
            if found @ found < residuals @ residuals:
                x, residuals = trial, found
            else:
                share /= 2
            if moved < _SHORT:
                break
        return x

    @staticmethod
    def _steps(x: np.ndarray) -> np.ndarray:
        """One row a coordinate, directed away from the nearer bound."""
        return np.diag(np.where(x < 1.5, _STEP, -_STEP))


def fit(job: Mapping[str, Any], counts: np.ndarray) -> dict[str, Any]:
    """The best of ``job["starts"]`` fits of ``counts``, each started from a draw of the prior."""
    import moments

    began = time.process_time()
    simulator = DemesSimulator(**job["options"])
    parameters = simulator.parameters
    spectrum = moments.Spectrum(counts)
    spectrum = spectrum.fold() if job["folded"] else spectrum
    # Projected, singletons left out of the large sample would be missing from every cell of the small one.
    sizes = None if job["without_singletons"] else _coarse_sizes(counts.shape)
    if job["without_singletons"]:
        spectrum.mask |= np.indices(counts.shape).sum(axis=0) == 1
    whole = Fit(simulator, job, spectrum)
    coarse = whole if sizes is None else Fit(simulator, job, whole.spectrum.project(sizes))
    draws = parameters.sample(randomness.stream(job["seed"], *job["stream"]), job["starts"])
    ends = [coarse.search(whole.coordinates.encode(draw)) for draw in draws]
    reached = [coarse.log_likelihood(end) for end in ends]
    best = ends[int(np.argmax(reached))]
    best = best if sizes is None else whole.refine(best)
    return {
        "estimate": parameters.named(whole.coordinates.decode(best)),
        "log_likelihood": whole.log_likelihood(best),
        "starts": [
            {
                "from": parameters.named(draw),
                "to": parameters.named(whole.coordinates.decode(end)),
                "log_likelihood": value,
            }
            for draw, end, value in zip(draws, ends, reached, strict=True)
        ],
        "starts_projected_to": sizes,
        "cpu_seconds": round(time.process_time() - began, 1),
        "versions": {"moments": moments.__version__, "numpy": np.__version__},
    }


def _coarse_sizes(shape: tuple[int, ...]) -> list[int] | None:
    """Sizes to which a large joint spectrum is projected for the starts; one population is cheap at any size."""
    if len(shape) == 1 or max(shape) - 1 <= COARSE:
        return None
    return [min(size - 1, COARSE) for size in shape]


def main() -> None:
    folder = Path(sys.argv[1])
    job = json.loads((folder / "job.json").read_text())
    found = fit(job, np.load(folder / "spectrum.npy"))
    (folder / "fit.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
