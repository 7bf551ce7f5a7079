"""What a comparison of scenarios found, in words and tables: of its result alone, or of a whole run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ganinfer.report import words
from ganinfer.report.reading import Run, compared_windows

#: A scenario whose own data sets look as unusual as the real one more rarely than this does not fit.
FITS = 0.05
_FIT = {True: "fits", False: "does not fit", None: "not known"}


@dataclass(frozen=True)
class Nouns:
    """What a comparison is of: the ``data``, the ``sets`` simulated in their place, the ``real`` among these.

    ``p``: the name of what says whether a scenario fits; ``under``: what sets are simulated under, {} its name.
    """

    data: str
    sets: str
    real: str
    p: str
    under: str = "{}"


_TABLES = Nouns("the data", "data sets", "the real one", "prior-predictive p")
#: A scenario on windows is judged at its solution: parameters come from its posterior, not from its prior.
_WINDOWS = Nouns("the genomes", "genomes", "the real ones", "posterior-predictive p", "{} at its solution")


def nouns(result: Mapping[str, Any]) -> Nouns:
    return _WINDOWS if compared_windows(result) else _TABLES


def none_fits(result: Mapping[str, Any]) -> bool:
    return bool(result["comparison"].get("none_fits"))


def fits(result: Mapping[str, Any], scenario: str) -> bool | None:
    """Whether the data look like what a scenario simulates; ``None`` where that was not looked at."""
    p = _p_value(result, scenario)
    return None if p is None else p >= FITS


def _p_value(result: Mapping[str, Any], scenario: str) -> float | None:
    p = (result["comparison"].get("prior_predictive_p") or {}).get(scenario)
    return None if p is None or math.isnan(p) else float(p)


def probability(value: float | None) -> str:
    """Three decimals, and never 0 or 1: no comparison is that certain."""
    if value is None or math.isnan(value):
        return "–"
    if not 0.0005 <= value < 0.9995:
        return "< 0.001" if value < 0.5 else "> 0.999"
    return f"{value:.3f}"


def p_value(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "–"
    return f"{value:.2g}" if value >= 0.001 else "< 0.001"


def verdict(result: Mapping[str, Any]) -> str:
    """The answer in a sentence or two; that no scenario fits comes before any probability."""
    if none_fits(result):
        return (
            f"No scenario fits: {nouns(result).data} lie outside what every one of them simulates. The probabilities "
            "say only which is the least bad; look for a scenario that is missing before you interpret them."
        )
    best = result["best"]
    if len(result["comparison"]["probabilities"]) == 1:
        return f"There is one scenario, {best}. {_of_fit(result, best)}"
    said = probability(result["comparison"]["probabilities"][best])
    return f"The most probable scenario is {best} (probability {said}). {_of_fit(result, best)}"


def _of_fit(result: Mapping[str, Any], best: str) -> str:
    fitting = fits(result, best)
    if fitting is None:
        return f"Whether it fits {nouns(result).data} was not looked at."
    sentence = adequacy(result, best)
    if fitting:
        return f"It fits: {sentence}."
    others = [name for name in result["comparison"]["probabilities"] if fits(result, name)]
    rest = f" Of the others, {words.listing(others)} would fit." if others else ""
    return f"But it does not fit: {sentence}.{rest}"


def chosen(result: Mapping[str, Any]) -> str:
    """The scenario whose parameters the run estimated: the best, or the one that was asked for."""
    return str(result.get("chosen") or result["best"])


def whose(result: Mapping[str, Any]) -> str:
    """Whose parameters the estimates are, and what to think of it."""
    name = chosen(result)
    if name != result["best"]:
        rank = f"which was asked for; the most probable scenario is {result['best']}"
    elif none_fits(result):
        rank = "the least bad scenario: none fits, so do not interpret them"
    else:
        rank = "the most probable scenario"
    return f"The parameters of {name}, {rank}."


def adequacy(result: Mapping[str, Any], scenario: str) -> str:
    """How unusual the data are under a scenario, as the end of a sentence."""
    p, said = _p_value(result, scenario), nouns(result)
    if p is None:
        return "whether it could have made such data was not looked at"
    told = f"= {p_value(p)}" if p >= 0.001 else p_value(p)
    return (
        f"{words.percent(p)} of the {said.sets} simulated under {said.under.format(scenario)} are as unusual for it as "
        f"{said.real}, or more ({said.p} {told})"
    )


def alike(result: Mapping[str, Any]) -> list[str]:
    """Pairs of scenarios that such data cannot tell apart, each in a sentence with what the tests showed."""
    comparison = result["comparison"]
    names, table = list(comparison["probabilities"]), comparison.get("confusion")
    sentences = []
    for first, second in comparison.get("alike") or []:
        often = ""
        if table and first in names and second in names:
            i, j = names.index(first), names.index(second)
            swapped = table[i][j] + table[j][i]
            both = table[i][i] + table[j][j] + swapped
            often = (
                f": in {swapped:,} of {both:,} tests ({100 * swapped / max(both, 1):.0f} %) one was taken for the other"
            )
        sentences.append(f"{first} and {second} cannot be told apart with such data{often}.")
    return sentences


def rows(result: Mapping[str, Any]) -> list[dict[str, str]]:
    """Each scenario by name with its probability, its evidence where there is one, its p, and whether it fits."""
    values, said = result["comparison"], nouns(result)
    evidence = values.get("log_evidence") or {}
    found = []
    for name, chance in values["probabilities"].items():
        row = {"scenario": name, "probability": probability(chance)}
        if evidence:
            row["log evidence"] = _evidence(evidence.get(name))
        found.append(row | {said.p: p_value(_p_value(result, name)), said.data: _FIT[fits(result, name)]})
    return found


def _evidence(value: float | None) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:.1f}".replace("-", "−")


def explained(result: Mapping[str, Any]) -> list[str]:
    """What the columns of :func:`rows` mean, and how good such answers are: a paragraph each."""
    said = [
        "The probabilities compare the scenarios with each other and add up to 1, even where none is right.",
        "The prior-predictive p says of each whether it fits at all: how often data sets simulated under it are as "
        f"unusual for it as the real one. Below {FITS:g} it does not fit.",
    ]
    if compared_windows(result):
        said = [
            f"{said[0]} They come from each scenario's evidence: how likely it makes the mean statistics of these "
            "genomes, averaged over all that its prior allows, so that a scenario which could make nearly anything "
            "gains nothing by that. How far to believe such evidence was learned from genomes simulated around the "
            "scenarios' solutions, whose scenario is known. The log evidence is the natural logarithm; only "
            "differences between scenarios mean anything.",
            "The posterior-predictive p says of each whether it fits at all: once it is matched to the real genomes, "
            "how often are genomes simulated under it as unusual for it as these? "
            f"Below {FITS:g} it does not fit. Its parameters were chosen to fit, so a large p is no praise.",
        ]
    return [*said, tests(result)] if tests(result) else said


@dataclass(frozen=True)
class Cell:
    """A parameter under one scenario."""

    estimate: str
    interval: str
    informative: bool | None


@dataclass(frozen=True)
class ParameterRow:
    """A parameter under all scenarios, ``None`` under one that has no such parameter.

    ``description`` where all that have it mean the same by it.
    """

    name: str
    unit: str
    description: str
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True)
class SideBySide:
    """The parameters of all ``scenarios``."""

    scenarios: tuple[str, ...]
    rows: tuple[ParameterRow, ...]

    @property
    def gaps(self) -> bool:
        """Whether a scenario lacks a parameter of another."""
        return any(cell is None for row in self.rows for cell in row.cells)

    @property
    def silent(self) -> bool:
        """Whether there is a parameter that the data say little about."""
        return any(cell is not None and cell.informative is False for row in self.rows for cell in row.cells)


def side_by_side(run: Run) -> SideBySide | None:
    """Every parameter that any scenario has under all of them; ``None`` where fewer than two were estimated.

    A name with another unit is another parameter.
    """
    found = run.estimates_by_scenario
    if len(found) < 2:
        return None
    table = []
    for name, unit in dict.fromkeys((e.name, e.unit) for estimates in found.values() for e in estimates):
        same = [next((e for e in own if (e.name, e.unit) == (name, unit)), None) for own in found.values()]
        told = {e.description for e in same if e}
        cells = (Cell(words.point(e), words.interval(e), e.informative) if e else None for e in same)
        table.append(ParameterRow(name, unit, told.pop() if len(told) == 1 else "", tuple(cells)))
    return SideBySide(tuple(found), tuple(table))


def tests(result: Mapping[str, Any]) -> str:
    """How often tests, whose scenario is known, were told right; empty where there were none."""
    found = result["comparison"].get("calibration") or {}
    if found.get("accuracy") is None or len(result["comparison"]["probabilities"]) == 1:
        return ""
    error = found.get("log_loss_error")
    around = f" ± {error:.2g}" if error is not None and not math.isnan(error) else ""
    made, judge = ("simulated but never trained on", "the networks name")
    if compared_windows(result):
        made, judge = "simulated around the scenarios' solutions and never trained on", "the comparison names"
    return (
        f"Of {found.get('tests', 0):,} test {nouns(result).sets}, {made}, {judge} the true "
        f"scenario in {100 * found['accuracy']:.1f} %; log loss {found['log_loss']:.3g}{around}."
    )


def lead(run: Run) -> str:
    """What was compared with what, in a sentence."""
    assert run.result is not None
    data, result = run.data or {}, run.result
    if run.compares_windows:
        return _windows_lead(run)
    origin = _origin(run, "data set")
    holds = [words.sampled(run), _counted(data.get("used_snps") or data.get("snps"), "SNP")]
    held = words.listing([part for part in holds if part])
    loci = _counted(data.get("loci"), "locus", "loci")
    sets, names = result.get("simulated_tables"), list(run.comparison["probabilities"])
    made = f"{sets:,} data sets simulated under" if sets else "data sets simulated under"
    total = (result.get("seconds") or {}).get("total")
    return (
        f"{origin}{f' of {held}' if held else ''}{f' at {loci}' if loci else ''} was compared with {made} "
        f"{_counted(len(names), 'scenario')}{f', within {words.duration(total)}' if total else ''}."
    )


def _origin(run: Run, real: str) -> str:
    study = "simulate" in (run.experiment.get("data") or {})
    origin = "A simulated data set with known truth" if study else f"The {real}"
    return f"{origin} (scenario {run.true_scenario})" if study and run.true_scenario else origin


def _windows_lead(run: Run) -> str:
    """What was compared with what, how, and how far the best scenario had come by itself."""
    assert run.result is not None
    result, sampled = run.result, words.sampled(run)
    study = "simulate" in (run.experiment.get("data") or {})
    total = (result.get("seconds") or {}).get("total")
    said = (
        f"{_origin(run, 'genomes')}{f' of {sampled}' if sampled else ''}, {words.windows(run)}, "
        f"{'was' if study else 'were'} compared with {result['simulated_windows']:,} simulated windows under "
        f"{_counted(len(run.comparison['probabilities']), 'scenario')}"
        f"{f', within {words.duration(total)}' if total else ''}. Each scenario was first matched to the genomes by "
        "itself, then all were compared at their solutions."
    )
    if run.trajectory is None:
        return said
    rounds = _counted(len(set(run.trajectory["round"].tolist())), "round")
    generator = (run.experiment.get("generator") or {}).get("name")
    ended = words.stopped(result.get("stopped"), generator)
    return f"{said} The matching of {run.scenario} took {rounds} and ended because {ended}."


def _counted(number: Any, one: str, many: str = "") -> str:
    if not isinstance(number, int) or number <= 0:
        return ""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def snp_table(data: Mapping[str, Any]) -> dict[str, list[tuple[str, str]]]:
    """Tables of a data set that is a table of SNPs; none for genomes in windows."""
    if data.get("snps") is None:
        return {}
    dropped = data.get("dropped") or {}
    not_taken = data.get("snps_not_taken", data.get("sites_not_taken"))
    lines = [("in the table", data.get("snps")), ("loci", data.get("loci")), ("used", data.get("used_snps"))]
    lines += [("of the loci, not taken", not_taken or None)]
    lines += [(f"left out: {reason}", number) for reason, number in dropped.items() if number]
    return {"SNPs": [(name, f"{number:,}") for name, number in lines if isinstance(number, int)]}
