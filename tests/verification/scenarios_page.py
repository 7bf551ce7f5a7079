"""The page docs/scenarios-verified.md, from what was recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.verification import misfits

_RUNS = {
    "seguieriana-polarised": "ancestral alleles known",
    "seguieriana-folded": "folded",
    "seguieriana-other-reading": "folded, the ancestor as large as ExZ",
    "seguieriana-conv1d": "folded and phased, network `conv1d` (2 folds, 20 passes)",
}
_SCORES = "| accuracy | log loss | calibration error |\n|---|---|---|---|"


def page(found: Mapping[str, Any]) -> str:
    """Of ``practical``, the run's result.json, and of whatever else was recorded, in Markdown."""
    parts = [_practical(found["practical"])]
    for what, told in (
        ("larger", _larger),
        ("kinds", _kinds),
        ("parameters", _parameters),
        ("windows", _windows),
    ):
        if found.get(what):
            parts.append(told(found[what]))
    return "\n".join(parts)


def _scores(name: str, s: Mapping[str, Any]) -> str:
    return (
        f"| {name} | {100 * s['accuracy']:.2f} % | {s['log_loss']:.4f} ± {s['log_loss_error']:.4f} | "
        f"{s['expected_calibration_error']:.4f} |"
    )


def _practical(result: Mapping[str, Any]) -> str:
    said = result["comparison"]
    rows = [_scores(name, s) for name, s in {"networks": said["calibration"], **said["rivals"]}.items()]
    return "\n".join(
        [
            "# Scenarios, put to the test",
            "",
            "Made by `python -m tests.verification.scenarios` from the experiment "
            "[seguieriana](../experiments/seguieriana.yaml): three scenarios, 1,000 SNPs of 135 individuals, 15 % "
            f"missing, {said['simulations']:,} simulated tables of each to learn from, "
            f"{said['calibration']['tests']:,} others to test on. Sizes and times are read as the published `ms` "
            "commands have them; see the experiment.",
            "",
            f"| {_SCORES}",
            *rows,
            "",
            f"What single networks make of ever more simulations of each scenario: {_points(said['learning_curve'])}.",
            "",
        ]
    )


def _larger(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = ["## Other tables, and more of them", "", "The same with other data, networks or numbers of simulations."]
    lines += [
        "",
        f"| tables, simulations of each scenario | {_SCORES[2:].replace('---|---|---|---|', '---|---|---|---|')}",
    ]
    for row in rows:
        what = f"{_RUNS[row['run']]}, {row['simulations']:,}"
        lines += [_scores(what, row["networks"])]
        lines += [_scores(f"{what}: {name}", s) for name, s in row["rivals"].items()]
    curves = [row for row in rows if row["learning_curve"]]
    if curves:
        lines += ["", "What single networks make of ever more simulations of each scenario (accuracy, log loss):", ""]
    lines += [f"- {_RUNS[row['run']]}: {_points(row['learning_curve'])}." for row in curves]
    return "\n".join([*lines, ""])


def _points(curve: Sequence[Mapping[str, Any]]) -> str:
    return "; ".join(f"{p['simulations']:,}: {100 * p['accuracy']:.2f} %, {p['log_loss']:.4f}" for p in curve)


def _kinds(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        "## Tables that no scenario makes",
        "",
        "Scenarios take turns; how often a bundle said that none fits, or refused the table. Nothing of them was in "
        "training. Of tables inside, at most one in twenty should be flagged.",
        "",
        "| kind | what it is | flagged |",
        "|---|---|---|",
    ]
    for r in rows:
        refused = f", {r['refused']} of them refused" if r.get("refused") else ""
        lines.append(f"| {r['kind']} | {misfits.KINDS[r['kind']].text} | {r['flagged']} of {r['of']}{refused} |")
    return "\n".join([*lines, ""])


def _parameters(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        "## Parameters",
        "",
        "Mean square error of the posterior's median over the prior's variance, on the parameter's scale, for tests of "
        "each scenario: 1 is knowing nothing. Beside it a second method, ABC with regression adjustment on the binned "
        "joint spectrum. Coverage is that of 90 % intervals; informative, how often the estimate says that it is.",
        "",
        "| scenario | parameter | networks | second method | coverage | its coverage | informative | tests |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r['scenario']} | {r['parameter']} | {r['networks']:.2f} | {r['second']:.2f} | "
        f"{100 * r['coverage']:.0f} % | {100 * r['second_coverage']:.0f} % | "
        f"{100 * r['informative']:.0f} % | {r['of']} |"
        for r in rows
    ]
    return "\n".join([*lines, ""])


def _windows(found: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        "## On windows",
        "",
        "The experiment [contact](../experiments/contact.yaml) with fewer windows, so that the scenarios are harder to "
        "tell apart. Each scenario was matched to the data; then whole genomes were simulated under draws of each "
        "scenario's posterior, window by window, none of which the comparison had seen, and judged like the data. "
        "Beforehand it was fixed that the probabilities are called reliable if the number of genomes whose most "
        "probable scenario is the true one differs from the sum of these probabilities by less than 1.96 standard "
        "errors (binomial).",
        "",
        "| windows | genomes | right | expected | standard errors apart | log loss | calibration error | "
        "flagged as misfits |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in found:
        lines.append(
            f"| {r['windows']:,} | {r['genomes']} | {r['right']} | {r['expected']:.1f} | {r['apart']:+.2f} | "
            f"{r['log_loss']:.3f} ± {r['log_loss_error']:.3f} | {r['calibration_error']:.3f} | {r['flagged']} |"
        )
    lines.append("")
    lines += [f"With {r['windows']:,} windows they are {_reliable(r)}." for r in found]
    return "\n".join([*lines, ""])


def _reliable(row: Mapping[str, Any]) -> str:
    if abs(row["apart"]) < 1.96:
        return "reliable"
    return "not: they are too sure" if row["apart"] < 0 else "not: they are not sure enough"
