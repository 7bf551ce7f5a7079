"""Makes a plausible run folder of compared scenarios by code, for tests of what reads one; nothing was inferred."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ganinfer.storage import RunFolder

SHORT = ("stable", "expansion", "bottleneck")
LONG = (
    "constant-size",
    "expansion-of-both-lineages-before-the-last-ice-age",
    "expansion_of_the_zonal_lineage_only_with_migration",
    "bottleneck",
    "secondary-contact-after-the-last-glacial-maximum",
)
_PARAMETERS = {"N": (9000.0, 1000.0, 30_000.0, "diploid individuals"), "T": (2000.0, 100.0, 20_000.0, "generations")}
_STATISTICS = (
    *(f"sfs A={a},B={b}" for a in ("0", "1", "2-3") for b in ("0", "1", "2-3", "4-8")),
    "diversity A, heterozygosity",
    "diversity B, variable SNPs",
    "diversity A-B, Fst",
    "inbreeding A, F",
    "structure B, eigenvalue 1 over mean",
    "missing A, by individual",
)
MODEL = """
time_units: generations
demes:
- name: ancestral
  epochs:
  - {{start_size: 15000, end_time: 2000}}
- name: A
  ancestors: [ancestral]
  epochs:
  - {{start_size: {size}}}
- name: B
  ancestors: [ancestral]
  epochs:
  - {{start_size: 800, end_size: 20000}}
"""
_EDGES = np.linspace(0, 1, 11)


def make(
    path: Path,
    names: Sequence[str] = SHORT,
    *,
    p_values: Sequence[float] | None = None,
    alike: bool = False,
    parameters: bool = True,
    chosen: str | None = None,
    rivals: Sequence[str] = (),
    tests: bool = True,
    models: bool = True,
    seed: int = 1,
) -> Path:
    """Write a run folder; ``alike``: tests take the first two scenarios for each other; ``tests``: whether any."""
    rng = np.random.default_rng(seed)
    values = [0.4, *[0.02] * (len(names) - 1)] if p_values is None else list(p_values)
    with RunFolder.create(path) as run:
        run.write_text("experiment.yaml", _EXPERIMENT.format(name=names[0]))
        run.write_json("data.json", _DATA)
        run.write_json("warnings.json", {"warnings": []})
        run.write_json(
            "result.json", result(names, values, alike, parameters, rivals, tests) | {"chosen": chosen or names[0]}
        )
        run.write_arrays("comparison.npz", pictured(names, rng))
        run.write_table("training.parquet", _training(rng))
        if models:
            for i, name in enumerate(names):
                run.write_text(f"models/{name}.demes.yaml", MODEL.format(size=3000 * (i + 1)))
        if parameters:
            run.write_text("best.demes.yaml", MODEL.format(size=9000))
            run.write_table("posterior.parquet", _posterior(rng))
    return path


_EXPERIMENT = """schema_version: 1
name: lineages
data: {{simulate: {{scenario: {name}, snps: 1000}}, ancestral: none}}
scenarios: {{{name}: {{simulator: demes}}}}
"""
_DATA = {
    "samples": [
        {"population": "A", "individuals": 20, "ploidy": 2, "time": 0},
        {"population": "B", "individuals": 15, "ploidy": 2, "time": 0},
    ],
    "truth": {"N": 8765.0, "T": 2100.0},
    "files": [{"path": "/data/snps.tsv", "digest": "fad2" * 16}],
    "snps_not_taken": 300,
    "snps": 1200,
    "loci": 1000,
    "used_snps": 1150,
    "missing": 0.14,
    "dropped": {"called too rarely": 50, "without variation among the calls": 0},
}


def result(
    names: Sequence[str], p_values: Sequence[float], alike: bool, parameters: bool, rivals: Sequence[str], tests: bool
) -> dict[str, object]:
    others = len(names) - 1
    chances = np.array([0.9, *[0.1 / others] * others] if others else [1.0])
    estimates = {
        name: {
            "estimate": value,
            "interval": [0.8 * value, 1.2 * value],
            "level": 0.9,
            "unit": unit,
            "prior": [low, high],
            "informative": True,
            "sd_ratio": 0.2,
        }
        for name, (value, low, high, unit) in _PARAMETERS.items()
    }
    adequacy = [{"verdict": None, "p_value": p, "critic_auc": None} for p in p_values]
    scenarios = {
        name: {"probability": float(c), "parameters": estimates if parameters else None, "adequacy": a}
        for name, c, a in zip(names, chances, adequacy, strict=True)
    }
    table = _confusion(len(names), alike)
    comparison = {
        "probabilities": dict(zip(names, chances.tolist(), strict=True)),
        "prior_predictive_p": dict(zip(names, p_values, strict=True)),
        "none_fits": all(p < 0.05 for p in p_values),
        "simulations": 400,
        "confusion": table.tolist() if tests else None,
        "calibration": _calibration(table, tests),
        "learning_curve": curve((0.5, 0.4, 0.31)) if tests else [],
        "rivals": {name: _scores(0.8, 0.6) for name in rivals},
        "alike": [list(names[:2])] if alike else [],
    }
    return {
        "best": names[0],
        "scenarios": scenarios,
        "adequacy": adequacy[0],
        "comparison": comparison,
        "simulated_windows": 0,
        "simulated_tables": 1500,
        "stopped": "budget",
        "seconds": {"simulate": 20.0, "train": 60.0, "total": 90.0},
        "seed": 1,
        "versions": {"ganinfer": "0.1.0"},
        **({"parameters": estimates} if parameters else {}),
    }


def _confusion(size: int, alike: bool) -> np.ndarray:
    table = np.full((size, size), 2) + np.diag(np.full(size, 94))
    if alike:
        table[:2, :2] = [[60, 36], [40, 56]]
    return table


def _scores(accuracy: float, log_loss: float) -> dict[str, object]:
    return {
        "accuracy": accuracy,
        "log_loss": log_loss,
        "log_loss_error": 0.03,
        "expected_calibration_error": 0.04,
    }


def _calibration(table: np.ndarray, tests: bool) -> dict[str, object]:
    fitted = {"temperature": 1.3, "floor": 0.002, "num_sets": 1200, "method": "temperature with a floor"}
    if not tests:
        return fitted
    count = np.array([500, 60, 0, 20, 8, 3, 0, 12, 40, 257])
    middle = (_EDGES[1:] + _EDGES[:-1]) / 2
    predicted = [float(m) if n else None for m, n in zip(middle, count, strict=True)]
    observed = [float(min(m + 0.03, 1.0)) if n else None for m, n in zip(middle, count, strict=True)]
    bins = {"edges": _EDGES.tolist(), "count": count.tolist(), "predicted": predicted, "observed": observed}
    scores = _scores(float(np.trace(table) / table.sum()), 0.3)
    return {**fitted, **scores, "tests": int(table.sum()), "reliability": bins}


def curve(losses: Sequence[float]) -> list[dict[str, float]]:
    return [{"simulations": 100 * 2**k, "accuracy": 1 - v / 3, "log_loss": v} for k, v in enumerate(losses)]


def pictured(
    names: Sequence[str], rng: np.random.Generator, statistics: Sequence[str] = _STATISTICS
) -> dict[str, np.ndarray]:
    size, each = len(names), 60
    scenario = np.repeat(np.arange(size), each)
    angle = 2 * np.pi * np.arange(size) / size
    centres = 3 * np.column_stack([np.cos(angle), np.sin(angle)])
    cloud = centres[scenario] + rng.normal(size=(len(scenario), 2))
    network = cloud * ([1.0, 1e-12] if size == 2 else [1.0, 1.0])  # two scenarios differ along one axis only
    z = rng.normal(0, 1.5, (size, len(statistics)))
    z[0, 3], z[0, 14] = 6.5, -4.0
    return {
        "scenario": scenario,
        "statistics_cloud": cloud,
        "statistics_real": centres[0] + 0.3,
        "network_cloud": network,
        "network_real": centres[0] + rng.normal(0, 0.4, (5, 2)) * (network.std(axis=0) > 1e-6),
        "z": z,
        "separation": np.linspace(0, 0.95, len(statistics)),
        "names": np.array(statistics),
        "scenarios": np.array(names),
    }


def _training(rng: np.random.Generator) -> dict[str, np.ndarray]:
    fold, epoch = np.divmod(np.arange(5 * 30), 30)
    loss = np.exp(-epoch / 8) + 0.1 + 0.02 * rng.random(len(fold))
    columns = {"loss_classifier": loss, "loss_regressor": 20 * loss}
    columns |= {"validation": 1.3 * loss, "validation_regressor": 25 * loss}
    return {"fold": fold, "epoch": epoch + 1, **columns}


def _posterior(rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {name: value * rng.normal(1, 0.12, 500) for name, (value, *_) in _PARAMETERS.items()}
