"""Numbers and findings in words that a biologist reads without a manual."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ganinfer.report.reading import Estimate, Run

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
#: A bound of the prior counts as reached when an interval comes this close to it, as a share of the prior's range.
EDGE = 0.01


def number(value: float, resolution: float | None = None) -> str:
    """A number to about two digits of its ``resolution`` (four significant digits without one).

    Thousands are separated; far from one, powers of ten are written out.
    """
    if not math.isfinite(value):
        return "–"
    if value == 0 and not resolution:
        return "0"
    if resolution and abs(value) < resolution / 50:
        value = 0.0
    size = abs(value) or abs(resolution or 1.0)
    step = resolution if resolution and resolution > 0 and math.isfinite(resolution) else size * 1e-2
    decimals = 1 - math.floor(math.log10(step))
    magnitude = math.floor(math.log10(size))
    decimals = max(min(decimals, 5 - magnitude), 1 - magnitude)  # between two and six significant digits
    if 1e-3 <= size < 1e7:
        rounded = round(value, decimals)
        return _minus(f"{rounded:,.{max(decimals, 0)}f}")
    if value == 0:
        return "0"
    mantissa = f"{value / 10.0**magnitude:.{max(decimals + magnitude, 0)}f}"
    if abs(float(mantissa)) >= 10:  # rounding carried over
        mantissa, magnitude = f"{float(mantissa) / 10:.{max(decimals + magnitude + 1, 0)}f}", magnitude + 1
    return f"{_minus(mantissa)} × 10{str(magnitude).translate(_SUPERSCRIPT)}"


def _minus(text: str) -> str:
    text = text.replace("-", "−")
    return text[1:] if re.fullmatch(r"−0(\.0+)?", text) else text


def short(value: float) -> str:
    """A number in four significant digits without trailing zeros, for axes and priors."""
    if not math.isfinite(value):
        return "–"
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        return _minus(f"{float(f'{value:.4g}'):,}".removesuffix(".0"))
    mantissa, exponent = f"{value:.3e}".split("e")
    mantissa = _minus(mantissa.rstrip("0").removesuffix("."))
    power = f"10{str(int(exponent)).translate(_SUPERSCRIPT)}"
    return {"1": power, "−1": f"−{power}"}.get(mantissa, f"{mantissa} × {power}")


def resolution(estimate: Estimate) -> float | None:
    """What the estimate is uncertain by: half its interval."""
    if estimate.interval is None:
        return None
    half = (estimate.interval[1] - estimate.interval[0]) / 2
    return half if half > 0 else None


def interval(estimate: Estimate) -> str:
    """Both ends; a power of ten that they share is written once."""
    if estimate.interval is None:
        return "no interval"
    step = resolution(estimate)
    low, high = (number(end, step) for end in estimate.interval)
    value, times, power = low.partition(" × ")
    return f"{value if times and high.endswith(times + power) else low} to {high}"


def point(estimate: Estimate) -> str:
    return number(estimate.estimate, resolution(estimate))


def in_other_unit(estimate: Estimate, generation_time: float | None) -> Estimate | None:
    """A time in years for one in generations and the reverse, where the generation time is known."""
    unit = estimate.unit.strip().lower()
    if generation_time is None or unit not in ("generations", "generation", "years", "year"):
        return None
    forward = unit.startswith("generation")
    factor = generation_time if forward else 1 / generation_time

    def scaled(pair: tuple[float, float] | None) -> tuple[float, float] | None:
        return (pair[0] * factor, pair[1] * factor) if pair else None

    return Estimate(
        name=estimate.name,
        estimate=estimate.estimate * factor,
        interval=scaled(estimate.interval),
        level=estimate.level,
        unit="years" if forward else "generations",
        prior=scaled(estimate.prior),
        scale=estimate.scale,
    )


def with_unit(estimate: Estimate) -> str:
    return f"{point(estimate)} {estimate.unit}".strip()


def edges(estimate: Estimate) -> list[str]:
    """Which bounds of the prior the interval reaches: "lower", "upper"."""
    if estimate.interval is None or estimate.prior is None:
        return []
    low, high = _on_axis(estimate, estimate.prior)
    inner = _on_axis(estimate, estimate.interval)
    margin = EDGE * (high - low)
    return [side for side, near in (("lower", inner[0] - low <= margin), ("upper", high - inner[1] <= margin)) if near]


def share_of_prior(estimate: Estimate) -> tuple[float, float, float] | None:
    """Where interval and estimate lie within the prior, as (low, estimate, high) in [0, 1] on the drawn axis."""
    if estimate.prior is None or not math.isfinite(estimate.estimate):
        return None
    low, high = _on_axis(estimate, estimate.prior)
    inside = estimate.interval or (estimate.estimate, estimate.estimate)
    values = _on_axis(estimate, (inside[0], estimate.estimate, inside[1]))
    a, b, c = (min(max((v - low) / (high - low), 0.0), 1.0) for v in values)
    return a, b, c


def _on_axis(estimate: Estimate, values: Sequence[float]) -> list[float]:
    if estimate.logarithmic:
        return [math.log(max(v, 1e-300)) for v in values]
    return list(values)


def distance(a: float, b: float, *, logarithmic: bool) -> float:
    """How far apart two values are, of a logarithmic parameter in their logarithms."""
    return abs(math.log(a / b)) if logarithmic else abs(a - b)


def listing(items: Sequence[str]) -> str:
    """Items as a phrase: "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def duration(seconds: float) -> str:
    """Seconds as "48 s", "5 min 43 s" or "3 h 20 min"."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


_MATCHED = "the emulator's error added little to any parameter's variance and the estimates were steady"
_STOPPED = {
    "converged": "its generator found that it had converged",
    "budget": "the budget of simulated windows was spent",
    "rounds": "the budget of rounds was spent",
    "time": "the time allowed was over; a longer run may give a different answer",
    "interrupted": "it was interrupted",
}


def stopped(reason: str | None, generator: str | None = None) -> str:
    """Why the run ended, as the end of a sentence; what having converged means depends on the generator."""
    if reason == "converged" and generator == "matching":
        return _MATCHED
    return _STOPPED.get(str(reason), str(reason)) if reason else "the run has not finished"


_VERDICTS = {
    "adequate": "The fitted model is adequate: data simulated under it could not be told from the real genomes. "
    "Other models may be adequate, too.",
    "strained": "The fitted model is strained: real and simulated genomes differ detectably, but the difference is "
    "small and moves no estimate by more than its own uncertainty. The report says in what.",
    "wrong": "The fitted model is wrong: no values of its parameters make data like the real genomes. "
    "Do not interpret the estimates before the model has been changed; the report says where it fails.",
}


def verdict(result: Mapping[str, Any] | None) -> str:
    """The verdict of result.json in a sentence or two."""
    values = (result or {}).get("adequacy")
    if not values and (result or {}).get("compared"):
        return "Whether this scenario could have made these genomes is in the report of the comparison it is a part of."
    if not values:
        return (
            "Whether the fitted model could have made these genomes was not tested in this run: "
            "compare real and simulated statistics before trusting the estimates."
        )
    return _VERDICTS.get(str(values.get("verdict")), f"Adequacy: {values.get('verdict')}.")


def adequacy(result: Mapping[str, Any] | None) -> str:
    """The verdict, and what it rests on."""
    sentence, values, details = verdict(result), (result or {}).get("adequacy") or {}, []
    if values.get("data_sets"):
        details.append(f"compared with {values['data_sets']:,} simulated data sets of the same size")
    if values.get("p_value") is not None:
        p = values["p_value"]
        details.append(f"p = {p:.2g}" if p >= 0.001 else "p < 0.001")
    if values.get("critic_auc") is not None:
        auc = f"{values['critic_auc']:.3f}"
        details.append(f"the discriminator's AUC is {auc}, where 0.5 means that it only guesses")
    if details and details[0].startswith("compared"):
        details[0] = f"It was {details[0]}"
    return f"{sentence} {'; '.join(details)}." if details else sentence


def product(result: Mapping[str, Any] | None) -> str:
    """What cannot be known where sizes and the mutation rate are both free; empty where they are not."""
    found = (result or {}).get("known_by_product")
    if not found:
        return ""
    rate = found["rate"]
    said = f"Only the product of size and mutation rate is known from mutations: {listing(found['sizes'])} and {rate}"
    if ((result or {}).get("parameters") or {}).get(rate, {}).get("informative"):
        return f"{said} are told apart by what recombination says, and by their priors."
    return f"{said} are told apart by the prior of {rate} alone, and intervals of sizes are as wide as it is."


def stability(result: Mapping[str, Any] | None) -> str:
    """What the answer rests on: effective simulations, the error that these leave, and whether halves answer alike."""
    found = (result or {}).get("stability")
    if not found:
        return ""
    told = []
    if found.get("effective_windows"):
        told.append(
            f"The answer rests on {found['effective_windows']:,.0f} effective simulated windows: those near the "
            "solution count most."
        )
    if found.get("peaks") == {}:
        told.append("The search, which began all over the prior, ended in one place.")
    errors = {name: p.get("monte_carlo") for name, p in ((result or {}).get("parameters") or {}).items()}
    known = {name: error for name, error in errors.items() if error is not None}
    if known:
        name = max(known, key=lambda key: known[key])
        told.append(
            "Other simulations of as many windows would move estimates by up to "
            f"{known[name]:.2f} posterior standard deviations ({name})"
            f"{_MORE if (result or {}).get('stopped') == 'budget' else ''}."
        )
    return " ".join([*told, _halves(found)])


_MORE = "; a larger budget.simulated_windows with --resume makes that less"


def _halves(found: Mapping[str, Any]) -> str:
    if not found.get("halves"):
        return "Half of the simulations are too few to be estimated from, so nobody knows whether halves answer alike."
    told, usual = [], found.get("usual")
    for kind, what in (("halves", "of the simulations"), ("folds", "of the windows")):
        if not (values := found[kind]):
            continue  # of the windows there may be more parts than two
        name = max(values, key=lambda key: values[key] / max(usual[kind][key], 1e-9) if usual else values[key])
        chance = f"; {usual[kind][name]:.1f} by chance" if usual else ""
        told.append(f"two halves {what} differ by {values[name]:.1f} ({name}{chance})")
    ends = "which is within what chance does" if found.get("stable") else "which is more than chance does: see Warnings"
    return f"In the same unit estimates from {listing(told)}, {ends}."


def peaks(result: Mapping[str, Any] | None) -> str:
    """Which parameters the search, which began all over the prior, left at several places; empty where at one."""
    several = ((result or {}).get("stability") or {}).get("peaks") or {}
    told = []
    for name, ends in several.items():
        where = [f"{short(float(format(at, '.3g')))} ({percent(share)} of the draws)" for at, share in ends]
        told.append(f"{name} at {listing(where)}")
    if not told:
        return ""
    return (
        f"The posterior has several peaks: {listing(told)}. The search, which began all over the prior, did not end "
        "in one place, and an estimate between peaks is none of them: look at the draws."
    )


def replicates(values: Mapping[str, Any] | None) -> list[dict[str, str]]:
    """How replicates agree, by parameter: the lowest and highest estimate, and their spread in posterior deviations."""
    rows = []
    for name, row in ((values or {}).get("parameters") or {}).items():
        error = row["monte_carlo"]
        rows.append(
            {
                "parameter": name,
                "estimates": f"{short(min(row['estimates']))} to {short(max(row['estimates']))}",
                "spread / SD": f"{row['spread']:.2f}",
                "expected / SD": "–" if error is None else f"{error:.2f}",
                "agree": "yes" if row["agree"] else "no",
            }
        )
    return rows


_PARTS = (
    (re.compile(r"haplotypes distinct ([^,]+), (.+)"), "distinct haplotypes in {0} ({1})"),
    (re.compile(r"haplotypes homozygosity ([^,]+), (.+)"), "haplotype homozygosity in {0} ({1})"),
    (re.compile(r"haplotypes shared ([^,]+),([^,]+), (.+)"), "haplotypes that {0} and {1} share ({2})"),
    (re.compile(r"r2 ([^,]+), (\d+)-(\d+) bp"), "linkage disequilibrium (r²) in {0} between sites {1} to {2} bp apart"),
    (re.compile(r"diversity (.+), heterozygosity"), "heterozygosity in {0}"),
    (re.compile(r"diversity (.+), variable SNPs"), "share of SNPs that vary in {0}"),
    (re.compile(r"diversity (.+), (Fst|dxy)"), "differentiation of {0} ({1})"),
    (re.compile(r"inbreeding (.+), F"), "inbreeding (F) in {0}"),
    (re.compile(r"inbreeding (.+), spread of heterozygosity"), "spread of heterozygosity among individuals of {0}"),
    (re.compile(r"structure (.+), eigenvalue 1 over (\S+)"), "structure within {0} (eigenvalue 1 over {1})"),
    (re.compile(r"missing (.+), share"), "share of missing calls in {0}"),
    (re.compile(r"missing (.+), by (individual|SNP)"), "how unevenly calls are missing in {0}, by {1}"),
    (re.compile(r"four gametes (.+)"), "share of pairs of neighbouring sites in {0} with all four gametes"),
)


_WIDTHS = {"window": "whole window", "1/2 window": "half a window", "1/5 window": "a fifth of a window"}


def statistic(name: str, *, folded: bool = False) -> str:
    """A classical statistic's name in words."""
    if name.startswith("sfs "):
        allele = "minor" if folded else "derived"
        cells = [cell.split("=") for cell in name[4:].split(",")]
        parts = [
            f"{count.replace('-', ' to ')} in {population}" for population, count in (c for c in cells if len(c) == 2)
        ]
        return f"sites with {allele}-allele count {listing(parts)}" if parts else name
    for pattern, phrase in _PARTS:
        match = pattern.fullmatch(name)
        if match:
            return phrase.format(*(_WIDTHS.get(group, group) for group in match.groups()))
    return name


def sampled(run: Run) -> str:
    """The sampled individuals of each population as a phrase."""
    samples = (run.data or {}).get("samples") or []
    counts: dict[str, int] = {}
    for s in samples:
        if isinstance(s, Mapping) and "population" in s:
            counts[str(s["population"])] = counts.get(str(s["population"]), 0) + int(s.get("individuals") or 0)
    plural = "s" if sum(counts.values()) != 1 else ""
    return f"{listing([f'{n} {p}' for p, n in counts.items()])} individual{plural}" if counts else ""


def windows(run: Run) -> str:
    """The real windows and their length as a phrase."""
    if not run.num_windows:
        return "windows"
    about = (run.data or {}).get("windows")
    length = about.get("length") if isinstance(about, Mapping) else None
    return f"{run.num_windows:,} windows{f' of {length / 1000:,.4g} kb' if length else ''}"


def percent(share: float) -> str:
    """A share in percent: two digits, and whole from 10 % on."""
    return f"{100 * share:.0f} %" if share >= 0.0995 else f"{100 * share:.2g} %"


def level(value: float | str) -> str:
    """The level of an interval in percent, with all of its digits."""
    return f"{100 * float(value):g} %"


def signed(value: Any) -> str:
    """A correlation or residual with its sign and two digits."""
    text = f"{value:+.2f}"
    return text.replace("-", "−")
