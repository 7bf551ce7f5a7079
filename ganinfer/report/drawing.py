"""Every figure of a run by name, in the report's order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ganinfer.report import fit_drawn, model_drawn, parameters_drawn, training_drawn
from ganinfer.report.reading import Run
from ganinfer.report.style import Drawing, applied

#: Name to what draws it, or says in a sentence why it cannot.
FIGURES: dict[str, Callable[[Run], Drawing | str]] = {
    "model": model_drawn.model,
    "prior_to_posterior": parameters_drawn.prior_to_posterior,
    "trajectory": parameters_drawn.trajectory,
    "pairs": parameters_drawn.pairs,
    "spectrum": fit_drawn.spectrum,
    "joint_spectrum": fit_drawn.joint_spectrum,
    "linkage": fit_drawn.linkage,
    "haplotypes": fit_drawn.haplotypes,
    "residuals": fit_drawn.residual_plot,
    "progress": training_drawn.progress,
    "training": training_drawn.training,
    "timing": training_drawn.timing,
}


def write_all(run: Run, folder: Path) -> dict[str, Path]:
    """Every figure that can be drawn, as PNG files in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    written: dict[str, Path] = {}
    with applied():
        for name, draw in FIGURES.items():
            drawing = draw(run)
            if isinstance(drawing, Drawing):
                written[name] = folder / f"{name}.png"
                written[name].write_bytes(drawing.png())
    return written
