"""Makes a plausible finished run folder by code, for tests of what reads one; nothing in it was inferred."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from ganinfer.runner import summing_up
from ganinfer.storage import RunFolder


@dataclass(frozen=True)
class Truth:
    """A parameter to pretend to have estimated; ``spread`` is its final interval's half width over the estimate."""

    name: str
    value: float
    lower: float
    upper: float
    unit: str = "diploid individuals"
    spread: float = 0.03
    informative: bool = True


IM = (
    Truth("N1", 9000, 1000, 30_000),
    Truth("N2", 5000, 1000, 30_000, spread=0.04),
    Truth("N_anc", 15_000, 1000, 25_000, spread=0.01),
    Truth("T_split", 2000, 500, 20_000, "generations", 0.08),
    Truth("pulse", 0.05, -0.2, 0.2, "proportion", 1.5, informative=False),
)
EXTREME = (
    Truth("mutation_rate", 1.29e-8, 1e-10, 1e-6, "per base and generation", 0.02),
    Truth("N_huge", 3.4e9, 1e6, 1e11, spread=0.2),
    Truth("zero", 0.0, -1.0, 1.0, "", 1.0),
    Truth("at_the_edge", 29_990.0, 1000, 30_000, spread=0.02),
    Truth("T_long_name_of_a_time_parameter", 123_456.0, 5e4, 2e6, "years", 0.1),
    Truth("N1", 17_200, 1000, 1e5),
    Truth("migration", 3e-5, 1e-6, 1e-3, "per generation", 0.9, informative=False),
    Truth("T2", 350.0, 100, 1500, "generations", 0.3),
    Truth("growth", 0.005, 0, 0.05, "per generation", 0.6, informative=False),
)

DEMES = {
    1: """
time_units: generations
demes:
- name: A
  epochs:
  - {start_size: 9000, end_time: 2000}
  - {start_size: 5000, end_time: 350}
  - {start_size: 5000, end_size: 29000, end_time: 0}
""",
    2: """
time_units: years
generation_time: 25
demes:
- name: ancestral
  epochs:
  - {start_size: 15300, end_time: 250000}
- name: A
  ancestors: [ancestral]
  epochs:
  - {start_size: 17200}
- name: B
  ancestors: [A]
  start_time: 56000
  epochs:
  - {start_size: 800, end_size: 20000, end_time: 0}
migrations:
- {demes: [A, B], rate: 3e-5}
""",
    3: """
time_units: generations
demes:
- name: ancestral
  epochs:
  - {start_size: 7300, end_time: 8800}
- name: A
  ancestors: [ancestral]
  epochs:
  - {start_size: 12300}
- name: out_of_africa
  ancestors: [A]
  start_time: 5600
  epochs:
  - {start_size: 2100, end_time: 848}
- name: B
  ancestors: [out_of_africa]
  epochs:
  - {start_size: 1000, end_size: 29725, end_time: 0}
- name: C
  ancestors: [out_of_africa]
  epochs:
  - {start_size: 510, end_size: 54090, end_time: 0}
migrations:
- {demes: [A, B], rate: 3e-5}
- {demes: [A, C], rate: 1.9e-5}
- {demes: [B, C], rate: 9.6e-5}
""",
}

ROUNDS = 8
WINDOWS = 405


def make(
    path: Path,
    *,
    truths: Sequence[Truth] = IM,
    num_populations: int = 2,
    size: int = 20,
    finished: bool = True,
    minimal: bool = False,
    adequacy: Mapping[str, object] | None = None,
    warnings: Sequence[str] = (),
    seed: int = 1,
) -> Path:
    """Write a run folder; ``minimal`` leaves out every file that may be absent, ``finished`` false the result."""
    rng = np.random.default_rng(seed)
    names = "ABC"[:num_populations]
    with RunFolder.create(path) as run:
        run.write_round(0, {}, {})
        run.write_text("experiment.yaml", _experiment(names, size))
        trajectory = _trajectory(truths, rng)
        run.write_table("trajectory.parquet", trajectory)
        if finished:
            run.write_json("result.json", _result(truths, adequacy))
        if minimal:
            return path
        run.write_json("data.json", _data(names, size))
        run.write_json("warnings.json", {"warnings": list(warnings)})
        run.write_text("best.demes.yaml", DEMES[num_populations])
        run.write_table("proposals.parquet", _proposals(truths, trajectory, rng))
        run.write_table("posterior.parquet", _posterior(truths, rng))
        run.write_table("training.parquet", _training(rng))
        run.write_table("metrics.parquet", _metrics(rng))
        arrays, labels = _fit(names, size, rng)
        run.write_arrays("fit.npz", arrays)
        run.write_json("fit.json", {"names": labels})
        run.write_table("windows.parquet", _windows(rng))
    with RunFolder.of_calibration(path) as calibration:
        _calibrated(calibration, truths, rng)
        summing_up.written(calibration, path, 0.9)
    return path


def _experiment(names: Sequence[str], size: int) -> str:
    populations = ", ".join(f"{n}: {size}" for n in names)
    return f"""schema_version: 1
name: example
data:
  genotypes: [example.vcf.gz]
  populations: {{{populations}}}
  ancestral: none
windows: {{length: 50000, min_accessible: 0.5}}
scenarios:
  split:
    simulator: demes
    mutation_rate: 1.29e-8
    generation_time: 25
discriminator: {{name: exchangeable}}
generator: {{name: matching}}
budget: {{simulated_windows: 60000, rounds: {ROUNDS}}}
seed: 1
level: 0.9
"""


def _half_width(truth: Truth) -> float:
    return truth.spread * (abs(truth.value) or 0.1 * (truth.upper - truth.lower))


def _result(truths: Sequence[Truth], adequacy: Mapping[str, object] | None) -> dict[str, object]:
    parameters = {}
    for t in truths:
        low, high = max(t.lower, t.value - _half_width(t)), min(t.upper, t.value + _half_width(t))
        parameters[t.name] = {
            "estimate": t.value,
            "interval": [low, high],
            "level": 0.9,
            "unit": t.unit,
            "prior": [t.lower, t.upper],
            "informative": t.informative,
            "sd_ratio": min(2 * _half_width(t) / (t.upper - t.lower) / 0.95, 1.0),
        }
    scenario = {"probability": None, "parameters": parameters, "adequacy": adequacy}
    return {
        "best": "split",
        "scenarios": {"split": scenario},
        "parameters": parameters,
        "adequacy": adequacy,
        "second_opinion": _second_opinion(truths),
        "comparison": None,
        "simulated_windows": 59_840,
        "stopped": "converged",
        "seconds": {"simulate": 214.2, "train": 101.7, "move": 20.0, "total": 342.9},
        "seed": 1,
        "versions": {"ganinfer": "0.1.0", "msprime": "1.4.4", "tensorflow": "2.21.0", "python": "3.11.2"},
    }


def _second_opinion(truths: Sequence[Truth]) -> dict[str, object]:
    parameters = {}
    for i, t in enumerate(truths):
        middle = t.value + 0.4 * _half_width(t) * (-1) ** i
        parameters[t.name] = {
            "estimate": middle,
            "interval": [middle - 1.5 * _half_width(t), middle + 1.5 * _half_width(t)],
            "method": "bootstrap",
            "difference": 0.5 * (-1) ** i,
            "seen": True,
            "at_bound": False,
            "leans_on": None,
            "confounded": False,
        }
    return opinion(parameters)


def opinion(parameters: Mapping[str, object], **more: object) -> dict[str, object]:
    """A second opinion as result.json has it."""
    return {
        "program": "moments 1.6.1",
        "about": {"chromosomes": {"A": 40, "B": 40}, "folded": True, "sites": 76_948, "length": 19_800_000},
        "parameters": parameters,
        "misidentified": None,
        "log_likelihood": -500.0,
        "ours": -510.0,
        "starts": [-500.0, -500.1],
        "bootstraps": 20,
        "spectrum_alone": None,
        "level": 0.9,
        "one_maximum": True,
        **more,
    }


def _data(names: Sequence[str], size: int) -> dict[str, object]:
    return {
        "genotypes": [{"path": "/data/example.vcf.gz", "format": "VCF", "digest": "fad2" * 16}],
        "individuals": {n: [f"{n}{i:03d}" for i in range(size)] for n in names},
        "samples": [{"population": n, "individuals": size, "ploidy": 2, "time": 0} for n in names],
        "phased": True,
        "ancestral": "none",
        "records": {"read": 195_147, "kept": 180_211, "dropped": {"indel": 12_000, "FILTER q10": 2936}},
        "windows": {
            "kept": WINDOWS,
            "rejected": {"too few accessible bases": 21, "past the region's end": 3},
            "length": 50_000,
            "blocks": 51,
            "accessible_bases": 19_800_000,
        },
        "sites": 176_003,
        "missing": 0.0012,
        "mean_recombination_rate": 1.1e-8,
        "diversity": {
            "populations": {
                n: {
                    "pi": 9.8e-4 / (i + 1),
                    "segregating_sites": 100_000,
                    "singletons": 0.22,
                    "tajimas_d": -0.6,
                    "tajimas_d_overall": -0.62,
                }
                for i, n in enumerate(names)
            },
            "fst": {f"{a},{b}": 0.153 for a, b in combinations(names, 2)},
        },
    }


def _trajectory(truths: Sequence[Truth], rng: np.random.Generator) -> dict[str, object]:
    rows: list[tuple[object, ...]] = []
    for t in truths:
        width, half = (t.upper - t.lower) / 2, _half_width(t)
        for r in range(ROUNDS):
            spread = max(half, width * 0.45**r)
            estimate = float(np.clip(t.value + spread * rng.normal(0, 0.5), t.lower, t.upper))
            estimate = t.value if r == ROUNDS - 1 else estimate
            low, high = max(t.lower, estimate - spread), min(t.upper, estimate + spread)
            rows.append((r, t.name, estimate, low, high, spread / 1.645, 7480 * (r + 1), 42.0 * (r + 1)))
    columns = ("round", "parameter", "estimate", "low", "high", "spread", "num_windows", "seconds")
    return {name: np.array([row[i] for row in rows]) for i, name in enumerate(columns)}


def _proposals(
    truths: Sequence[Truth], trajectory: Mapping[str, object], rng: np.random.Generator
) -> dict[str, object]:
    count = 200
    table: dict[str, object] = {"round": np.repeat(np.arange(ROUNDS), count)}
    table["proposal"] = np.tile(np.arange(count), ROUNDS)
    parameter = np.asarray(trajectory["parameter"])
    for t in truths:
        mine = parameter == t.name
        centre, spread = np.asarray(trajectory["estimate"])[mine], np.asarray(trajectory["spread"])[mine]
        draws = rng.normal(centre[:, None], 2 * spread[:, None], (ROUNDS, count))
        draws[0] = rng.uniform(t.lower, t.upper, count)
        table[t.name] = np.clip(draws, t.lower, t.upper).ravel()
    return table


def _posterior(truths: Sequence[Truth], rng: np.random.Generator) -> dict[str, object]:
    k = len(truths)
    mix = np.eye(k) + 0.5 * np.tril(rng.normal(0, 1, (k, k)), -1)
    z = rng.normal(0, 1, (2000, k)) @ mix.T
    z /= z.std(axis=0)
    draws = np.array([t.value for t in truths]) + z * np.array([_half_width(t) / 1.645 for t in truths])
    return {t.name: np.clip(draws[:, i], t.lower, t.upper) for i, t in enumerate(truths)}


def _training(rng: np.random.Generator) -> dict[str, object]:
    rows = []
    for r in range(ROUNDS):
        for fold in range(2):
            for step in range(0, 200, 10):
                progress = step / 200
                critic = 0.69 - 0.25 * progress * 0.6**r + rng.normal(0, 0.01)
                auc = 0.5 + 0.4 * 0.6**r * (0.5 + 0.5 * progress) + rng.normal(0, 0.01)
                rows.append((r, fold, step, critic, 1.2 * np.exp(-progress - 0.3 * r) + 0.2 + rng.normal(0, 0.02), auc))
    columns = ("round", "fold", "step", "loss_critic", "loss_regressor", "auc")
    return {name: np.array([row[i] for row in rows]) for i, name in enumerate(columns)}


def _metrics(rng: np.random.Generator) -> dict[str, object]:
    rows = []
    for r in range(ROUNDS):
        values = {"auc": 0.52 + 0.4 * 0.5**r, "match_distance": 40 + 3000 * 0.3**r, "windows_per_second": 220.0}
        values |= {"seconds/simulate": 26.0 + rng.normal(), "seconds/train": 13.0 + rng.normal()}
        rows += [(r, name, value) for name, value in values.items()]
    return {name: np.array([row[i] for row in rows]) for i, name in enumerate(("round", "name", "value"))}


def _calibrated(folder: RunFolder, truths: Sequence[Truth], rng: np.random.Generator) -> None:
    """Records of forty data sets, of which two were also inferred by runs of their own."""
    common = {t.name: 0.2 for t in truths}
    folder.write_json("about-posterior.json", {"posterior": "", "experiment": "", "common": common})
    for kind, number in [*(("posterior", k) for k in range(40)), *(("full", k) for k in range(2))]:
        rows = {}
        for t in truths:
            error, sd = 0.6 * _half_width(t) * rng.standard_normal(), 0.6 * _half_width(t)
            interval = [t.value + error - _half_width(t), t.value + error + _half_width(t)]
            rows[t.name] = {"truth": t.value, "estimate": t.value + error, "interval": interval}
            rows[t.name] |= {"rank": float(rng.random()), "error": error, "sd": sd}
        judged = {"p_value": float(rng.random()), "critic_auc": 0.5}
        folder.write_json(f"{kind}/{number:04d}.json", {"parameters": rows, "adequacy": judged, "warnings": []})


def _windows(rng: np.random.Generator) -> dict[str, object]:
    """Blocks of eight windows on two chromosomes; the third block is unlike the others."""
    index = np.arange(WINDOWS)
    return {
        "contig": np.where(index < WINDOWS // 2, "chr4", "chr5"),
        "left": 50_000 * (index % (WINDOWS // 2)),
        "right": 50_000 * (index % (WINDOWS // 2) + 1),
        "block": index // 8,
        "fold": index // 8 % 2,
        "unusual": rng.standard_normal(WINDOWS) + 3.0 * (index // 8 == 2),
        "logit": rng.standard_normal(WINDOWS),
    }


def _fit(names: Sequence[str], size: int, rng: np.random.Generator) -> tuple[dict[str, np.ndarray], list[str]]:
    labels = [f"sfs {','.join(f'{n}={i}' for n in names)}" for i in range(1, 18)]
    for n in names:
        labels += [f"haplotypes distinct {n}, {w}" for w in ("window", "1/2 window", "1/5 window")]
        labels += [f"haplotypes homozygosity {n}, window"]
    labels += [f"haplotypes shared {a},{b}, window" for a, b in combinations(names, 2)]
    for n in names:
        labels += [f"r2 {n}, {a}-{b} bp" for a, b in ((0, 500), (500, 1500), (1500, 4000), (4000, 10_000))]
        labels += [f"four gametes {n}"]
    simulated = np.array([_level(label, i) for i, label in enumerate(labels)])
    se = 0.03 * simulated + 1e-3
    real = simulated + se * rng.normal(0, 1.3, len(labels))
    real[1] += 6 * se[1]
    arrays = {"real_mean": real, "real_se": se, "simulated_mean": simulated, "simulated_se": se / 5}
    arrays |= _spectra(names, 2 * size, rng)
    distance = np.array([250.0, 1000, 2750, 7000, 17_500, 37_500])
    arrays["ld_distance"] = distance
    for i, n in enumerate(names):
        expected = 0.45 / (1 + distance / 3000) + 0.04 + 0.03 * i
        arrays[f"ld_simulated_{n}"] = expected
        arrays[f"ld_real_{n}"] = expected * rng.normal(1.03, 0.02, len(distance))
    return arrays, labels


def _level(label: str, index: int) -> float:
    if label.startswith("sfs"):
        return 40.0 / (index + 1)
    return 0.1 if label.startswith(("r2", "four")) or "homozygosity" in label else 25.0


def _spectra(names: Sequence[str], size: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Expected spectra of the right shape, and Poisson counts around them over so many windows."""
    if len(names) == 1:
        expected = {"": np.concatenate([[0.0], 60 / np.arange(1, size), [0.0]])}
    else:
        i, j = np.meshgrid(np.arange(size + 1), np.arange(size + 1), indexing="ij")
        joint = 30 * np.exp(-2.0 * (i - j) ** 2 / (2.0 + i + j)) / (1 + i + j) + 25.0 / (1 + i + j) ** 2.2
        joint[0, 0] = joint[-1, -1] = 0
        joint = np.where(i + j <= size, joint, 0.0)
        expected = {"": joint} if len(names) == 2 else {f"_{a}_{b}": joint for a, b in combinations(names, 2)}
    arrays = {}
    for key, simulated in expected.items():
        arrays[f"sfs_simulated{key}"] = simulated
        biased = simulated.copy()
        biased.flat[1] *= 1.15
        arrays[f"sfs_real{key}"] = rng.poisson(biased * WINDOWS) / WINDOWS
    return arrays
