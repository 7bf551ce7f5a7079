"""Whole genomes simulated under each scenario of the experiment ``contact``, judged as its data are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ganinfer import runner
from ganinfer.experiment import Experiment, load
from ganinfer.runner import assembling, contending
from ganinfer.runner.comparing import FITS
from tests.verification import records

#: Real windows: few enough for scenarios to be taken for each other.
WINDOWS = (60, 200)
_BUDGET = 20_000


def measured(runs: Path, genomes: int) -> list[dict[str, Any]]:
    """For each number of windows, what ``genomes`` of each scenario are taken for, and how reliably."""
    return [_measured(runs / f"contact-{size}", size, genomes) for size in WINDOWS]


def _measured(folder: Path, size: int, genomes: int) -> dict[str, Any]:
    overrides = [f"data.simulate.windows={size}", f"budget.simulated_windows={_BUDGET}"]
    experiment = load(records.ROOT / "experiments" / "contact.yaml", overrides)
    if not (folder / "result.json").exists():
        runner.run(experiment, folder, resume=(folder / "rounds").exists())
    probabilities, scenario, p_values = judged(experiment, folder, genomes)
    from ganinfer import calibration

    best = probabilities.max(axis=1)
    right = int((probabilities.argmax(axis=1) == scenario).sum())
    return {
        "windows": size,
        "genomes": len(scenario),
        "right": right,
        "expected": float(best.sum()),
        "apart": float((right - best.sum()) / np.sqrt((best * (1 - best)).sum())),
        "log_loss": calibration.log_loss(probabilities, scenario),
        "log_loss_error": calibration.log_loss_error(probabilities, scenario),
        "calibration_error": calibration.expected_calibration_error(probabilities, scenario),
        "flagged": int((p_values < FITS).sum()),
        "confusion": calibration.confusion(probabilities, scenario).tolist(),
    }


def judged(experiment: Experiment, folder: Path, genomes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities (n, scenarios), true scenario (n,) and the true scenario's p-value (n,) of fresh genomes.

    They are simulated under draws of each scenario's posterior, which a finished run in ``folder`` holds; the
    comparison itself is done again, since a run does not keep its networks.
    """
    assembling.import_training(experiment)
    from ganinfer import contest, inference, simulation
    from ganinfer.adequacy import Reference

    found, labels, p_values = [], [], []
    with assembling.executor(experiment) as workers:
        real = assembling.open_data(experiment, workers, assembling.cache_folder(folder))
        problems, _ = contending.problems_of(experiment, real, folder / "cache")
        parts = [folder / "scenarios" / problem.scenario for problem in problems]
        outcome = contending.contested(experiment, problems, parts, folder / "cache" / "contest", workers, print)
        fold = problems[0].observed.fold
        for i, (problem, contender) in enumerate(zip(problems, outcome.judges.contenders, strict=True)):
            rng = np.random.default_rng([i, 11])
            theta = contender.posterior[rng.choice(len(contender.posterior), genomes)]
            own = outcome.genomes[i]
            families = simulation.encoding_specs(problem.setup)[inference.CLASSICAL].details["families"]
            reference = Reference(own.classical, outcome.judges.guide(i, own.means), families)
            stream = simulation.simulate(inference.tasks(problem, theta, len(fold), "fresh genomes"), workers)
            for encoded in stream:
                columns = contest.columns(problem, outcome.networks, encoded, fold)
                means = contest.means(outcome.judges.looked, columns)[None]
                found.append(outcome.judges.logits(means)[0])
                labels.append(i)
                classical = np.asarray(encoded[inference.CLASSICAL], dtype=float).mean(axis=0)
                p_values.append(reference.verdict(classical, outcome.judges.guide(i, means)[0]).p_value)
    logits = np.stack(found)
    logits = np.maximum(logits - logits.max(axis=1, keepdims=True), -1e3)  # as the comparison bounds them
    return outcome.calibration.probabilities(logits), np.array(labels), np.array(p_values)
