"""Simulated observations written for other tools: VCF with a sample sheet, or tree sequences."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ganinfer.experiment import Experiment


def simulate(
    experiment: Experiment,
    *,
    scenario: str,
    theta: Mapping[str, float],
    num_windows: int | None = None,
    seed: int | None = None,
    format: str = "vcf",
    output: Path,
    proposal_seed: int | None = None,
) -> Path:
    """Not yet."""
    raise ValueError("ganinfer simulate is not available yet")
