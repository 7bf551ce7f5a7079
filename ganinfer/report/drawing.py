"""Every figure of a run by name, in the report's order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from ganinfer.report import (
    calibration_drawn,
    comparison_drawn,
    fit_drawn,
    model_drawn,
    parameters_drawn,
    places_drawn,
    scenarios_drawn,
    second_drawn,
    second_told,
    training_drawn,
)
from ganinfer.report.reading import Run
from ganinfer.report.style import Drawing, applied

#: Name to what draws it, or says in a sentence why it cannot.
FIGURES: dict[str, Callable[[Run], Drawing | str]] = {
    "model": model_drawn.model,
    "prior_to_posterior": parameters_drawn.prior_to_posterior,
    "trajectory": parameters_drawn.trajectory,
    "pairs": parameters_drawn.pairs,
    "second_opinion": second_drawn.second_opinion,
    "calibration": calibration_drawn.calibration,
    "widths": calibration_drawn.widths,
    "spectrum": fit_drawn.spectrum,
    "joint_spectrum": fit_drawn.joint_spectrum,
    "linkage": fit_drawn.linkage,
    "haplotypes": fit_drawn.haplotypes,
    "residuals": fit_drawn.residual_plot,
    "places": places_drawn.places,
    "progress": training_drawn.progress,
    "training": training_drawn.training,
    "timing": training_drawn.timing,
}


#: The same of a run that compared scenarios on a table of SNPs: there is no trajectory, and there are no windows.
COMPARED: dict[str, Callable[[Run], Drawing | str]] = {
    "scenarios": scenarios_drawn.scenarios,
    "clouds": scenarios_drawn.clouds,
    "confusion": comparison_drawn.confusion,
    "reliability": comparison_drawn.reliability,
    "learning_curve": comparison_drawn.learning_curve,
    "separating": scenarios_drawn.separating,
    "oddest": scenarios_drawn.oddest,
    "model": model_drawn.model,
    "prior_to_posterior": parameters_drawn.prior_to_posterior,
    "pairs": parameters_drawn.pairs,
    "training": comparison_drawn.training,
    "timing": training_drawn.timing,
}


#: The same of a run that compared scenarios on windows: how they compare, then all that the chosen one's own run has.
CONTENDED: dict[str, Callable[[Run], Drawing | str]] = {
    "scenarios": scenarios_drawn.scenarios,
    "clouds": scenarios_drawn.clouds,
    "confusion": comparison_drawn.confusion,
    "reliability": comparison_drawn.reliability,
    "learning_curve": comparison_drawn.learning_curve,
    "separating": scenarios_drawn.separating,
    "oddest": scenarios_drawn.oddest,
    **FIGURES,
}


#: What one scenario alone has nothing to show of.
_OF_SEVERAL = {"confusion", "reliability", "learning_curve", "separating"}


def figures_of(run: Run) -> dict[str, Callable[[Run], Drawing | str]]:
    """The figures that fit a run: a comparison without estimates has none of parameters.

    Who has not asked for a calibration is not told that there is none; why there is no second opinion stands elsewhere.
    """
    calibrated = dict.fromkeys(("calibration", "widths"), run.calibration)
    there = {**calibrated, "second_opinion": second_told.answered(run.result)}
    missing = {name for name, found in there.items() if not found}
    return {name: draw for name, draw in _figures_of(run).items() if name not in missing}


def _figures_of(run: Run) -> dict[str, Callable[[Run], Drawing | str]]:
    if not run.comparison:
        return FIGURES
    if run.compares_windows:
        own = {"places"} if run.estimates else set(FIGURES) - {"timing"}  # a scenario's own run is not judged by itself
        return {name: draw for name, draw in CONTENDED.items() if name not in own}
    left_out = set() if run.estimates else {"model", "prior_to_posterior", "pairs"}
    if len(run.comparison["probabilities"]) == 1:
        left_out |= _OF_SEVERAL
    return {name: draw for name, draw in COMPARED.items() if name not in left_out}


def drawn(run: Run) -> dict[str, Drawing | str]:
    """Every figure that fits the run, or why it cannot be drawn."""
    with applied():
        return {name: draw(run) for name, draw in figures_of(run).items()}


def write_all(figures: Mapping[str, Drawing | str], folder: Path) -> dict[str, Path]:
    """Those of the :func:`drawn` that are there, as PNG files in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    written: dict[str, Path] = {}
    with applied():
        for name, drawing in figures.items():
            if isinstance(drawing, Drawing):
                written[name] = folder / f"{name}.png"
                written[name].write_bytes(drawing.png())
    return written
