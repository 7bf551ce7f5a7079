"""How good a comparison of scenarios is on tests that it never saw, beside classical rivals, and what to warn of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from ganinfer.haplotypes import chromosomes

#: Scenarios that tests take for each other more often than this cannot be told apart with such data.
_ALIKE = 0.25


def tested(plan: Any, tests: Any, trained: Any) -> dict[str, Any]:
    """How good the networks are on data sets that they never saw, and how they were calibrated."""
    from ganinfer import comparison

    if tests is None:
        return judged(trained.calibration, None, None)
    probabilities, _ = comparison.judged(trained, tests.sets.arrays, [1.0] * len(plan.scenarios))
    return judged(trained.calibration, probabilities, tests.sets.scenario)


def judged(fitted: Any, probabilities: np.ndarray | None, scenario: np.ndarray | None) -> dict[str, Any]:
    """``confusion`` and ``calibration`` of result.json, from what was fitted and what it says of tests."""
    from ganinfer import calibration

    told = {**asdict(fitted), "method": "temperature with a floor"}
    if probabilities is None or scenario is None or not len(scenario):
        return {"confusion": None, "calibration": told}
    bins = calibration.reliability(probabilities, scenario)
    scores = scored(probabilities, scenario)
    return {
        "confusion": scores.pop("confusion"),
        "calibration": {
            **told,
            "tests": len(scenario),
            **scores,
            "reliability": {
                "edges": bins.edges.tolist(),
                "count": bins.count.tolist(),
                "predicted": bins.predicted.tolist(),
                "observed": bins.observed.tolist(),
            },
        },
    }


def rivals(plan: Any, simulated: Any, tests: Any, trained: Any) -> dict[str, Any]:
    """The classical rivals on the same data sets, in the same folds, calibrated in the same way."""
    from ganinfer import calibration
    from ganinfer.joint_sfs import JointSfs

    if tests is None or len(plan.scenarios) < 2 or "joint-sfs" not in plan.experiment.comparison.rivals:
        return {}
    carriers = chromosomes(plan.scenarios[0].setup.samples)
    settings: dict[str, Any] = {"folded": plan.scenarios[0].setup.pipeline.folded, "sizes": carriers.sizes}

    def counts(sets: Any, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return sets.arrays["counts"][index], sets.arrays["called"][index]

    label, fold = simulated.sets.scenario, trained.fold
    everything = np.arange(len(tests.sets))
    logits = np.empty((len(label), len(plan.scenarios)))
    judged = []
    for k in np.unique(fold):
        rival = JointSfs()
        learn, own = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
        rival.fit(*counts(simulated.sets, learn), label[learn], seed=plan.experiment.seed, **settings)
        logits[own] = _logarithms(rival.probabilities(*counts(simulated.sets, own)))
        judged.append(_logarithms(rival.probabilities(*counts(tests.sets, everything))))
    fitted = calibration.fit(logits, label)
    probabilities = np.mean([fitted.probabilities(each) for each in judged], axis=0)
    return {"joint-sfs": scored(probabilities, tests.sets.scenario)}


def _logarithms(probabilities: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(probabilities, 1e-12))


def scored(probabilities: np.ndarray, scenario: np.ndarray) -> dict[str, Any]:
    """How good probabilities (n, scenarios) are where the true ``scenario`` (n,) is known."""
    from ganinfer import calibration

    return {
        "accuracy": float((probabilities.argmax(axis=1) == scenario).mean()),
        "log_loss": calibration.log_loss(probabilities, scenario),
        "log_loss_error": calibration.log_loss_error(probabilities, scenario),
        "expected_calibration_error": calibration.expected_calibration_error(probabilities, scenario),
        "confusion": calibration.confusion(probabilities, scenario).tolist(),
    }


def alike(names: Sequence[str], confusion: Sequence[Sequence[int]] | None) -> list[list[str]]:
    """Pairs of scenarios that tests take for each other too often."""
    if confusion is None:
        return []
    table = np.asarray(confusion, dtype=float)
    pairs = []
    for i in range(len(names)):
        for j in range(i):
            swapped = table[i, j] + table[j, i]
            both = table[i, i] + table[j, j] + swapped
            if both and swapped / both > _ALIKE:
                pairs.append([names[j], names[i]])
    return pairs


def warned(said: Mapping[str, Any], p_name: str = "prior-predictive p") -> list[str]:
    """What a reader has to know before the probabilities, in sentences."""
    out = []
    if said["none_fits"]:
        p = ", ".join(f"{n} {v:.3g}" for n, v in said["prior_predictive_p"].items())
        out.append(
            f"No scenario fits: the data lie outside what each of them simulates ({p_name}: {p}). The "
            "probabilities say only which is the least bad."
        )
    for first, second in said["alike"]:
        out.append(f"With such data {first} and {second} are too alike to tell apart: tests take one for the other.")
    return out
