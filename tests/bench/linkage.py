"""What it is worth to look at individuals inside loci: two scenarios told apart from the same simulated tables.

Three problems: two populations that split and never met again, or exchange migrants since a split long ago; one
population that declined, or has migrants from another that nobody sampled; one population of one size, or one that
expanded. Tables have a few SNPs at
each of some unlinked loci, genotypes without phase and folded. The same networks are trained with and without the
branch on individuals, and beside them boosted trees on the joint spectrum, which sees SNP by SNP, too, and a logistic
regression on the classical statistics with and without those of linkage.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ganinfer import comparison, execution, scenarios, simulation
from ganinfer.haplotypes import SampleSet, chromosomes
from ganinfer.interfaces import LociTemplate, SiteRule
from ganinfer.joint_sfs import JointSfs
from ganinfer.pipeline import PipelineSettings
from ganinfer.plugins import load_simulator
from ganinfer.training import scenarios as networks

PAIR, ALONE = (SampleSet("A", 10), SampleSet("B", 10)), (SampleSet("A", 20),)
NUM_LOCI = 60
#: Not 1, on whose tables the width of the branch was chosen.
_SEED = 2
_SPLIT = """time_units: generations
demes:
- {name: ancestor, epochs: [{start_size: 1000, end_time: %d}]}
- {name: A, ancestors: [ancestor], epochs: [{start_size: 1000}]}
- {name: B, ancestors: [ancestor], epochs: [{start_size: 1000}]}
"""
_RATE = (
    "parameters:\n- {name: m, lower_bound: 1e-4, upper_bound: 3e-3, scale: log, values: [{migrations: {0: rate}}]}\n"
)
_ISOLATION = """parameters:
- {name: T, lower_bound: 200, upper_bound: 4000, scale: log, values: [{demes: {ancestor: {epochs: {0: end_time}}}}]}
"""
_DECLINE = (
    "time_units: generations\ndemes:\n- {name: A, epochs: [{start_size: 5000, end_time: 500}, {start_size: 1000}]}\n"
)
_BEFORE = """parameters:
- {name: N, lower_bound: 1500, upper_bound: 20000, scale: log, values: [{demes: {A: {epochs: {0: start_size}}}}]}
- {name: T, lower_bound: 100, upper_bound: 4000, scale: log, values: [{demes: {A: {epochs: {0: end_time}}}}]}
"""
_STEADY = "time_units: generations\ndemes:\n- {name: A, epochs: [{start_size: 1000}]}\n"
_SIZE = """parameters:
- {name: N, lower_bound: 500, upper_bound: 2000, scale: log, values: [{demes: {A: {epochs: {0: start_size}}}}]}
"""
_EXPANSION = """time_units: generations
demes:
- {name: A, epochs: [{start_size: 500, end_time: 200}, {start_size: 5000}]}
"""
_WHEN = """parameters:
- {name: T, lower_bound: 20, upper_bound: 1000, scale: log, values: [{demes: {A: {epochs: {0: end_time}}}}]}
- {name: N, lower_bound: 50, upper_bound: 2500, scale: log, values: [{demes: {A: {epochs: {0: start_size}}}}]}
"""
_MIGRATION = _SPLIT % 10_000 + "migrations: [{demes: [A, B], rate: 1e-3}]\n"
PROBLEMS = {
    "isolation or migration": (PAIR, {"isolation": (_SPLIT % 1_000, _ISOLATION), "migration": (_MIGRATION, _RATE)}),
    "decline or migrants": (ALONE, {"decline": (_DECLINE, _BEFORE), "migrants": (_MIGRATION, _RATE)}),
    "constant or expansion": (ALONE, {"constant": (_STEADY, _SIZE), "expansion": (_EXPANSION, _WHEN)}),
}


@dataclass(frozen=True)
class Row:
    """A method's hits on tests and its log loss of each, both (tests,), and the CPU seconds it trained."""

    method: str
    hit: np.ndarray
    log_loss: np.ndarray
    seconds: float


def made(problem: str, num_snps: int, simulations: int, tests: int, workers: int) -> tuple[Any, Any, Any]:
    """Simulated tables of a problem to learn from and to test on, and the specs of their arrays.

    ``num_snps`` at each locus; ``simulations`` and ``tests`` of each scenario.
    """
    samples, stories = PROBLEMS[problem]
    rule = SiteRule(folded=True)
    template = LociTemplate(np.repeat(np.arange(NUM_LOCI), num_snps), None, "alike", rule)
    encoders = (
        ("joint-counts", {}),
        ("table-statistics", {"linkage": True}),
        ("locus-table", {"num_loci": NUM_LOCI, "num_snps": num_snps}),
    )
    size = NUM_LOCI * num_snps
    told = []
    for name, (model, options) in stories.items():
        wanted = {
            "model": {"file": f"{name}.demes.yaml", "text": model},
            "parameters": {"file": f"{name}.options.yaml", "text": options},
        }
        pipeline = PipelineSettings(phased=False, folded=True)
        setup = simulation.Setup("demes", wanted, samples, pipeline, encoders, size, size, kind="loci")
        told.append(scenarios.Scenario(name, setup, load_simulator("demes", wanted).parameters))
    parts = []
    with execution.make("process", workers) as executor:
        for purpose, number in (("learn", simulations), ("test", tests)):
            found = [list(scenarios.simulated(s, template, _SEED, purpose, executor, False, 0, number)) for s in told]
            arrays = [{k: [np.stack([a[k] for _, _, a in one])] for k in one[0][2]} for one in found]
            theta = [np.stack([vector for vector, _, _ in one]) for one in found]
            parts.append(comparison.Simulations.joined(told, arrays, theta))
    return parts[0], parts[1], simulation.encoding_specs(told[0].setup)


def measure(problem: str, num_snps: int, simulations: int, tests: int, workers: int, folds: int = 2) -> list[Row]:
    """Every method on the same tables of a problem."""
    learned, tested, specs = made(problem, num_snps, simulations, tests, workers)
    sizes = [int(np.isfinite(learned.sets.targets[learned.of(i)[0]]).sum()) for i in range(2)]
    rows = []
    for individuals in (False, True):
        begun = time.process_time()
        fresh = networks.init("exchangeable", {"individuals": individuals}, specs, sizes, folds, 1)
        trained = comparison.train(fresh, learned.sets, networks.ScenarioSettings(), 1)
        probabilities, _ = comparison.judged(trained, tested.sets.arrays, [1.0, 1.0])
        name = f"network, individuals: {str(individuals).lower()}"
        rows.append(_row(name, probabilities, tested.sets.scenario, time.process_time() - begun))
    begun = time.process_time()
    counts = [
        [np.asarray(s.sets.arrays[n][np.arange(len(s.sets))]) for n in ("counts", "called")] for s in (learned, tested)
    ]
    rival = JointSfs().fit(
        *counts[0], learned.sets.scenario, folded=True, sizes=chromosomes(PROBLEMS[problem][0]).sizes, seed=1
    )
    rows.append(_row("joint-sfs", rival.probabilities(*counts[1]), tested.sets.scenario, time.process_time() - begun))
    names = np.array(specs["statistics"].details["names"])
    inside = np.char.startswith(names, "linkage ")
    for name, used in (("regression, SNP by SNP", ~inside), ("regression, with linkage", inside | True)):
        rows.append(replace(_regression(learned, tested, used), method=name))
    return rows


def _regression(learned: Any, tested: Any, used: np.ndarray) -> Row:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    begun = time.process_time()
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2_000))
    model.fit(learned.statistics()[:, used], learned.sets.scenario)
    probabilities = model.predict_proba(tested.statistics()[:, used])
    return _row("", probabilities, tested.sets.scenario, time.process_time() - begun)


def _row(method: str, probabilities: np.ndarray, true: np.ndarray, seconds: float) -> Row:
    mine = np.maximum(probabilities[np.arange(len(true)), true], 1e-12)
    return Row(method, probabilities.argmax(axis=1) == true, -np.log(mine), seconds)


def table(rows: list[Row]) -> str:
    """The rows as Markdown, and what the branch on individuals changes: the first row against the second."""
    lines = ["| | accuracy | log loss | CPU seconds |", "|---|---|---|---|"]
    for row in rows:
        accuracy, error = 100 * row.hit.mean(), 100 * _error(row.hit)
        lines.append(
            f"| {row.method} | {accuracy:.1f} ± {error:.1f} % | {row.log_loss.mean():.3f} | {row.seconds:.0f} |"
        )
    hits, loss = rows[1].hit.astype(float) - rows[0].hit, rows[1].log_loss - rows[0].log_loss
    change = f"accuracy {100 * hits.mean():+.1f} ± {100 * _error(hits):.1f} %, log loss {loss.mean():+.3f}"
    return "\n".join([*lines, "", f"With individuals, on the same tests: {change} ± {_error(loss):.3f}"])


def _error(values: np.ndarray) -> float:
    """Standard error of the mean."""
    return float(np.std(values) / np.sqrt(len(values)))
