"""What a comparison of scenarios found, in words and tables: of its result alone, or of a whole run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ganinfer.report import words
from ganinfer.report.reading import Run

#: A scenario whose own data sets look as unusual as the real one more rarely than this does not fit.
FITS = 0.05
_FIT = {True: "fits", False: "does not fit", None: "not known"}


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
            "No scenario fits: the data lie outside what every one of them simulates. The probabilities say only "
            "which is the least bad; look for a scenario that is missing before you interpret them."
        )
    best = result["best"]
    if len(result["comparison"]["probabilities"]) == 1:
        return f"There is one scenario, {best}. {_of_fit(result, best)}"
    said = probability(result["comparison"]["probabilities"][best])
    return f"The most probable scenario is {best} (probability {said}). {_of_fit(result, best)}"


def _of_fit(result: Mapping[str, Any], best: str) -> str:
    fitting = fits(result, best)
    if fitting is None:
        return "Whether it fits the data was not looked at."
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
    p = _p_value(result, scenario)
    if p is None:
        return "whether it could have made such data was not looked at"
    told = f"= {p_value(p)}" if p >= 0.001 else p_value(p)
    return (
        f"{words.percent(p)} of the data sets simulated under {scenario} are as unusual for it as the real one, "
        f"or more (prior-predictive p {told})"
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


def rows(result: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Each scenario's name, probability, prior-predictive p, and whether it fits."""
    values = result["comparison"]
    found = []
    for name, chance in values["probabilities"].items():
        found.append((name, probability(chance), p_value(_p_value(result, name)), _FIT[fits(result, name)]))
    return found


def tests(result: Mapping[str, Any]) -> str:
    """How good the networks were on data sets whose scenario is known; empty where there were none."""
    found = result["comparison"].get("calibration") or {}
    if found.get("accuracy") is None or len(result["comparison"]["probabilities"]) == 1:
        return ""
    error = found.get("log_loss_error")
    around = f" ± {error:.2g}" if error is not None and not math.isnan(error) else ""
    return (
        f"Of {found.get('tests', 0):,} test data sets, simulated but never trained on, the networks name the true "
        f"scenario in {100 * found['accuracy']:.1f} %; log loss {found['log_loss']:.3g}{around}."
    )


def lead(run: Run) -> str:
    """What was compared with what, in a sentence."""
    assert run.result is not None
    data, result = run.data or {}, run.result
    study = "simulate" in (run.experiment.get("data") or {})
    origin = "A simulated data set with known truth" if study else "The data set"
    origin += f" (scenario {run.true_scenario})" if study and run.true_scenario else ""
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
