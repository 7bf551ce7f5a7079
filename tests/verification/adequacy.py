"""The verdict put to the test: how often models are flagged that are right, and that are wrong in known ways.

    python -m tests.verification.adequacy                                 all kinds
    python -m tests.verification.adequacy migration --strength 0.3        one of them, weaker or stronger
    python -m tests.verification.adequacy errors --full 5                 five of the data sets as runs of their own

A model is fitted to one data set; others from the same population are judged with the simulations of that run and its
networks, as ``ganinfer calibrate`` does. The rule: of 50 data sets the right model is flagged in :data:`MOST` at most
and its p-values are uniform, a wrong one is flagged in :data:`LEAST` at least; strengths other than a kind's own make a
power curve, which has no rule. Runs are kept under ``.bench/verification/adequacy`` and go on where they were stopped;
what was found stands in docs/verification/adequacy.json and on the page docs/adequacy-verified.md, and what stands
there is not done again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ganinfer import coverage, randomness, ranks, runner, storage, verdict
from ganinfer.adequacy import AdequacySettings
from ganinfer.experiment import Experiment, loads
from ganinfer.runner import assembling, inferring, rounds
from ganinfer.runner.assembling import versions
from tests.verification import records

FOLDER = records.ROOT / ".bench" / "verification" / "adequacy"
EXPERIMENTS = records.ROOT / "experiments"
RECORD = records.FOLDER / "adequacy.json"
PAGE = records.ROOT / "docs" / "adequacy-verified.md"
WRONG = Path(__file__).parent / "wrong_models.py"
LEVEL = 0.05
SIZE = 10_000
#: Shares of data sets in which the right model may be flagged, and a wrong one has to be.
MOST, LEAST = 6 / 50, 43 / 50
#: What p-values of the right model have to have by Kolmogorov and Smirnov's test.
UNIFORM = 0.01


@dataclass(frozen=True)
class Kind:
    """A population, the class that makes it, and the shipped model that is fitted to it."""

    told: str
    made_by: str
    fitted: str
    samples: str = "{A: 10}"
    strength: float | None = None


RIGHT = "true"
KINDS = {
    RIGHT: Kind("constant size, which is right", "Recombination", "const", strength=1.0),
    "bottleneck": Kind("constant size; a bottleneck to a tenth, 2,500 to 2,000 generations ago", "Bottleneck", "const"),
    "migration": Kind("a split without migrants; 2 N m = 1 both ways", "Migration", "isolation", "{A: 10, B: 10}"),
    "recombination": Kind("recombination half as much as it is", "Recombination", "const"),
    "sweeps": Kind("neutral; a hard sweep in a tenth of the windows", "Sweeps", "const"),
    "errors": Kind("genotypes as called; .5 % of them are wrong", "Errors", "const"),
    "hidden": Kind("one population; half of the sample is of another, split 2 N x .5 ago", "Hidden", "const"),
}
_MODELS = {
    "const": ("const.demes.yaml", "const.options.yaml"),
    "isolation": ("contact-isolation.demes.yaml", "contact-isolation.options.yaml"),
}


def written(kind: Kind, strength: float | None, windows: int, seed: int = 1) -> str:
    """The experiment that fits a kind's model to data of its population, as YAML."""
    model, parameters = (EXPERIMENTS / name for name in _MODELS[kind.fitted])
    option = "" if strength is None else f", strength: {strength}"
    return f"""
schema_version: 1
name: adequacy
data:
  simulate:
    {{scenario: population, truth: {{Ne: {SIZE}}}, samples: {kind.samples}, windows: {windows}, seed: {seed}}}
windows: {{length: 50_000}}
scenarios:
  fitted:
    {{simulator: demes, model: {model}, parameters: {parameters}, mutation_rate: 1.25e-8, recombination_rate: 1.25e-8}}
  population: {{simulator: {{file: {WRONG}, class: {kind.made_by}}}{option}}}
execution: {{executor: process}}
second_opinion: {{bootstraps: 0}}
budget: {{simulated_windows: 40_000}}
"""


def examined(name: str, strength: float | None, windows: int, sets: int, full: int) -> dict[str, Any]:
    """The row of a kind, from what is recorded of it and what has to be made for as many data sets as are asked for."""
    kind = KINDS[name]
    key = {"kind": name, "strength": kind.strength if strength is None else strength, "windows": windows}
    row = next((r for r in records.content(RECORD, "kinds") if key.items() <= r.items()), {**key, "sets": 0})
    folder = FOLDER / f"{name}-{key['strength'] or 'usual'}-{windows}"
    if row["sets"] < sets:
        told = loads(written(kind, key["strength"], windows), FOLDER, "adequacy")
        if not (folder / "result.json").exists():
            runner.run(told, folder, scenario="fitted", resume=(folder / "rounds").exists())
        found = shared(told, folder, sets, around_solution=name == RIGHT)
        row |= {"sets": sets, **summed(found), "versions": versions()}
    if row.get("full", {"sets": 0})["sets"] < full:
        own = [flagged_alone(kind, key["strength"], windows, 2 + i, folder) for i in range(full)]
        row["full"] = {"sets": full, "flagged": sum(own)}
    return row


def passed(row: Mapping[str, Any]) -> bool | None:
    """Whether a row is as the rule has it; ``None`` where there is none, at another strength than the kind's own."""
    if row["strength"] != KINDS[row["kind"]].strength:
        return None
    share = row["flagged"] / row["sets"]
    if row["kind"] == RIGHT:
        return share <= MOST and row["p_uniform"] > UNIFORM
    return share >= LEAST


def shared(told: Experiment, folder: Path, sets: int, *, around_solution: bool = False) -> list[dict[str, Any]]:
    """p-value and AUC of ``sets`` data sets judged with the run's simulations.

    Their size is that of the run's own data set; ``around_solution`` it is drawn from the run's posterior instead. The
    right model's p-values are uniform only so: the solution lies about the truth as one data set would have it.
    """
    assembling.import_training(told)
    with assembling.executor(told) as workers, tempfile.TemporaryDirectory() as cache:
        real = assembling.open_data(told, workers, Path(cache))
        problem, _ = inferring.problem_of(told, "fitted", real, Path(cache) / "encoded")
        population, _ = inferring.problem_of(told, "population", real, Path(cache) / "again", problem.observed)
        population = replace(population, setup=replace(population.setup, **_shapes(problem.setup)))
        with storage.RunFolder.create(folder, resume=True) as run:
            state, _ = rounds.read(problem, run)
        columns = storage.read_table(folder / "posterior.parquet").values()
        posterior = np.stack([np.asarray(c, dtype=float) for c in columns], axis=1)
        settings = AdequacySettings()
        fresh = verdict.simulated(problem, state.networks, posterior, settings, workers)
        judge = verdict.Judge(problem, state, posterior, fresh, settings.data_sets)
        out = []
        rng = randomness.stream(problem.seed, "truths of data sets")
        truth = (
            posterior[rng.integers(len(posterior), size=sets)] if around_solution else np.full((sets, 1), float(SIZE))
        )
        for data in coverage.data_sets(population, truth, range(sets), workers):
            seen = coverage.seen_by(problem, state, data)
            said = judge.verdict(*seen)
            out.append({"p": said.p_value, "auc": verdict.critic_auc(*seen, fresh)})
    return out


def _shapes(setup: Any) -> dict[str, Any]:
    """What of the fitted scenario's arrays the population's are to have, too."""
    return {name: getattr(setup, name) for name in ("encoders", "num_sites", "num_counted_sites", "pipeline")}


def flagged_alone(kind: Kind, strength: float | None, windows: int, seed: int, folder: Path) -> bool:
    """Whether a run of its own flags the model of a data set of its own."""
    place = folder.parent / f"{folder.name}-{seed}"
    if not (place / "result.json").exists():
        told = loads(written(kind, strength, windows, seed), FOLDER, "adequacy")
        runner.run(told, place, scenario="fitted", resume=(place / "rounds").exists())
    return bool(storage.read_json(place / "result.json")["adequacy"]["verdict"] != verdict.ADEQUATE)


def summed(found: list[dict[str, Any]]) -> dict[str, Any]:
    p_values = np.array([f["p"] for f in found])
    return {
        "flagged": int((p_values < LEVEL).sum()),
        "p_uniform": ranks.uniform_p(p_values),
        "median_p": float(np.median(p_values)),
        "auc": float(np.median([f["auc"] for f in found])),
    }


def page(rows: list[Mapping[str, Any]]) -> str:
    """What was recorded, in Markdown."""
    lines = [
        "# The verdict, put to the test",
        "",
        "Made by `python -m tests.verification.adequacy`. A model is fitted to data of a population that it does not "
        "describe, or in the first row does; other data sets of that population are then judged with the simulations "
        "of the run. Those of the right model have sizes drawn from the run's posterior. 10 individuals a population, "
        "windows of 50 kb. Flagged: strained or wrong, p < .05; of the right model that should be one in twenty. "
        "Critic's AUC: how well the network tells real from simulated windows, 0.5 for not at all.",
        "",
        f"| {' | '.join(_columns(rows))} |",
        f"|{'---|' * len(_columns(rows))}",
    ]
    for row in rows:
        alone = f"{row['full']['flagged']} of {row['full']['sets']}" if row.get("full") else "–"
        strength = "–" if row["strength"] is None else f"{row['strength']:g}"
        cells = {
            _FITTED: KINDS[row["kind"]].told,
            _STRENGTH: strength,
            "windows": f"{row['windows']:,}",
            "flagged": f"{row['flagged']} of {row['sets']}",
            _ALONE: alone,
            "critic's AUC": f"{row['auc']:.3f}",
        }
        lines.append(f"| {' | '.join(cells[name] for name in _columns(rows))} |")
    return "\n".join(lines) + "\n"


_FITTED, _STRENGTH, _ALONE = "fitted; in truth", "strength", "by runs of their own"


def _columns(rows: list[Mapping[str, Any]]) -> list[str]:
    """Headings of what rows have: strengths where one has another than its kind's own, runs where some were made."""
    weaker = any(row["strength"] != KINDS[row["kind"]].strength for row in rows)
    alone = any(row.get("full") for row in rows)
    return [_FITTED, *[_STRENGTH] * weaker, "windows", "flagged", *[_ALONE] * alone, "critic's AUC"]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.verification.adequacy")
    parser.add_argument("kinds", nargs="*", choices=[[], *KINDS], help="default: all")
    parser.add_argument("--strength", type=float, help="of what is wrong; default: the kind's own")
    parser.add_argument("--sets", type=int, default=50, help="data sets that share a run's simulations")
    parser.add_argument("--windows", type=int, default=1_000, help="of each data set")
    parser.add_argument("--full", type=int, default=0, help="data sets with runs of their own")
    arguments = parser.parse_args()
    right = True
    for name in arguments.kinds or KINDS:
        row = examined(name, arguments.strength, arguments.windows, arguments.sets, arguments.full)
        print(row, flush=True)
        right = right and passed(row) is not False
        keep(row)
    raise SystemExit(0 if right else 1)


def keep(row: dict[str, Any]) -> None:
    """Record a row in the place of one of the same kind, strength and windows, and write the page anew."""
    rows = [r for r in records.content(RECORD, "kinds") if any(r[k] != row[k] for k in ("kind", "strength", "windows"))]
    rows = sorted([*rows, row], key=lambda r: (list(KINDS).index(r["kind"]), r["strength"] or 0, r["windows"]))
    records.write(RECORD, json.dumps({"schema_version": records.SCHEMA_VERSION, "kinds": rows}, indent=1) + "\n")
    PAGE.write_text(page(rows))


if __name__ == "__main__":
    main()
