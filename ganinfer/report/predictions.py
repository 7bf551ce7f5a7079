"""What a bundle says of data sets, as one page: whether anything fits, then probabilities, then parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ganinfer.report import page, rendering, scenarios_told, words
from ganinfer.report.reading import ReportError, estimate_of

Answer = Mapping[str, Any]


def check_target(path: Path) -> None:
    """Raise :class:`ReportError` unless a page can be written there: before anything is judged."""
    if path.exists():
        raise ReportError(f"{path} exists already; choose another --output")
    if path.suffix.lower() not in (".html", ".htm"):
        raise ReportError(f"{path}: the report is a page; choose a name that ends in .html")
    if not path.absolute().parent.is_dir():
        raise ReportError(f"{path}: there is no folder {path.absolute().parent}; make it first")


def write(answers: Sequence[Answer], about: Mapping[str, Any], path: Path) -> Path:
    """Write the page of ``answers``, each with the name of its ``data``; ``about`` is bundle.json."""
    return rendering.write(path, render(answers, about))


def render(answers: Sequence[Answer], about: Mapping[str, Any]) -> str:
    """The page as HTML."""
    outside = [answer for answer in answers if scenarios_told.none_fits(answer)]
    return rendering.render(
        "predictions.html.j2",
        name=about["name"],
        answers=answers,
        scenarios=[scenario["name"] for scenario in about["scenarios"]],
        outside=outside,
        summary=_summary(answers, len(outside)),
        lead=_lead(about),
        level=words.level(about["level"]),
        told=scenarios_told,
        used=_used,
        rows=_rows,
    )


def _summary(answers: Sequence[Answer], num_outside: int) -> str:
    if len(answers) == 1:
        return scenarios_told.verdict(answers[0])
    if not num_outside:
        return f"At least one scenario fits each of the {len(answers):,} data sets."
    return (
        f"No scenario fits {num_outside:,} of the {len(answers):,} data sets: they lie outside what every scenario "
        "simulates."
    )


def _lead(about: Mapping[str, Any]) -> str:
    """Who judges, and how good they are."""
    names = [scenario["name"] for scenario in about["scenarios"]]
    samples = words.listing([f"{s['num_individuals']} {s['population']}" for s in about["samples"]])
    tests = scenarios_told.tests({"comparison": {"probabilities": dict.fromkeys(names), **about.get("tested", {})}})
    return (
        f"Networks trained on data sets of {about['num_snps']:,} SNPs of {samples} individuals, simulated under "
        f"{words.listing(names)}. {tests}".strip()
    )


def _used(answer: Answer) -> str:
    """What of the data set was judged."""
    number = answer["parts"]["number"]
    parts = f", in {number:,} random parts whose answers are averaged" if number > 1 else ""
    dropped = [f"{n:,} {why}" for why, n in answer["dropped"].items() if n]
    left_out = f" Left out: {words.listing(dropped)}." if dropped else ""
    return f"{answer['snps']:,} SNPs were judged{parts}.{left_out}"


def _rows(answer: Answer) -> list[page.Row]:
    return [page.row(estimate_of(name, values), None) for name, values in answer["parameters"].items()]
