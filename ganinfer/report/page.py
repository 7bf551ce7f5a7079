"""The report itself: findings in words, then figures, data, settings, all in one file that opens anywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ganinfer.report import (
    adequacy_told,
    calibration_told,
    citing,
    fit_drawn,
    rendering,
    scenarios_told,
    second_told,
    words,
)
from ganinfer.report.reading import SCENARIO_RUNS, Estimate, Run
from ganinfer.report.style import Drawing, applied

_WORST = 6
_MOST_FILES = 3


@dataclass(frozen=True)
class Figure:
    """A figure as the template needs it, or the sentence saying why there is none."""

    title: str
    uri: str = ""
    alternative: str = ""
    caption: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Row:
    """One line of the table of estimates; ``place`` is where interval and estimate lie in the prior, in percent."""

    name: str
    description: str
    estimate: str
    interval: str
    other: str
    unit: str
    prior: tuple[str, str] | None
    place: tuple[float, float, float] | None
    informative: bool | None
    left: str
    truth: str


#: Section to its figures by name, each with its heading.
SECTIONS = {
    "The model": {"model": "Sizes, splits and migration at the estimates"},
    "The parameters": {
        "prior_to_posterior": "Before and after seeing the genomes",
        "trajectory": "How the estimates were reached",
        "pairs": "Which parameters depend on each other",
        "second_opinion": "A second opinion",
    },
    "Calibration": {
        "calibration": "Where truths lie among posterior draws",
        "widths": "How wide intervals are, and how far off",
    },
    "Real against simulated": {
        "residuals": "All statistics at once",
        "spectrum": "Site frequency spectrum",
        "joint_spectrum": "Joint site frequency spectrum",
        "linkage": "Linkage disequilibrium",
        "haplotypes": "Haplotypes",
        "places": "Along the genome",
    },
    "The run": {
        "progress": "Round by round",
        "training": "Training of the network",
        "timing": "Where the time went",
    },
}


#: The same of a run that compared scenarios on a table of SNPs.
SCENARIOS = "Scenarios"
COMPARED = {
    SCENARIOS: {
        "scenarios": "What the scenarios tell",
        "clouds": "The data among simulated data sets",
        "confusion": "Which scenarios are taken for which",
        "reliability": "Whether the probabilities mean what they say",
        "learning_curve": "Whether more simulations would help",
        "separating": "What tells the scenarios apart",
        "oddest": "Where the data are most unusual",
    },
    "The model": {"model": "Sizes, splits and migration at the estimates"},
    "The parameters": {
        "prior_to_posterior": "Before and after seeing the genomes",
        "pairs": "Which parameters depend on each other",
    },
    "The run": {"training": "Training of the networks", "timing": "Where the time went"},
}
#: The same of a run that compared scenarios on windows.
CONTENDED = {
    SCENARIOS: {
        "scenarios": "What the scenarios tell",
        "clouds": "The real among simulated genomes",
        "confusion": "Which scenarios are taken for which",
        "reliability": "Whether the probabilities mean what they say",
        "learning_curve": "Whether more simulations would help",
        "separating": "What tells the scenarios apart",
        "oddest": "Where the genomes are most unusual",
    },
    **SECTIONS,
}


def write(run: Run, figures: Mapping[str, Drawing | str]) -> Path:
    """Render the page and put it into the run folder as a whole; ``figures`` as :func:`drawing.drawn` gives them."""
    return rendering.write(run.folder / "report.html", render(run, figures))


def render(run: Run, figures: Mapping[str, Drawing | str]) -> str:
    """The page as HTML."""
    result = run.result or {}
    return rendering.render(
        "report.html.j2",
        run=run,
        show_left=any(e.sd_ratio is not None for e in run.estimates),
        lead=lead(run),
        whose=whose(run),
        rows=[row(e, run) for e in run.estimates],
        level=words.level(run.estimates[0].level) if run.estimates else "",
        findings=findings(run),
        warnings=run.warnings,
        adequacy=adequacy(run),
        banner=words.verdict(run.result),
        rates=rates(run),
        derived=derived(run),
        steady=words.stability(run.result),
        replicates=words.replicates(run.replicates),
        looks=adequacy_told.looks(run),
        left_out=adequacy_told.left_out(run),
        without=adequacy_told.estimates_without(run),
        places=adequacy_told.places(run),
        second=second_told,
        calibrated=calibration_told.kinds(run.calibration),
        calibration=calibration_told,
        verdict=_verdict(run),
        compared=run.comparison,
        told=scenarios_told,
        scenarios=SCENARIOS,
        side_by_side=scenarios_told.side_by_side(run),
        sections=_sections(run, figures),
        worst=worst(run),
        data=data_tables(run),
        versions=result.get("versions") or {},
        citations=citing.citations(run),
        reasons=run.absent,
    )


def _sections(run: Run, figures: Mapping[str, Drawing | str]) -> dict[str, list[Figure]]:
    with applied():
        shown = {
            section: [_figure(title, figures[name]) for name, title in titles.items() if name in figures]
            for section, titles in _headings(run).items()
        }
    return {section: found for section, found in shown.items() if found}


def _headings(run: Run) -> dict[str, dict[str, str]]:
    if run.compares_windows:
        return CONTENDED
    return COMPARED if run.comparison else SECTIONS


def _figure(title: str, drawn: Drawing | str) -> Figure:
    if isinstance(drawn, str):
        return Figure(title, reason=drawn)
    return Figure(title, drawn.data_uri(), drawn.alternative, drawn.caption)


def lead(run: Run) -> str:
    """What was done, in two sentences."""
    if run.comparison:
        return scenarios_told.lead(run)
    sampled = words.sampled(run)
    origin = "simulated data set with known truth" if "simulate" in (run.experiment.get("data") or {}) else "genomes"
    what = f"The {origin}{f' of {sampled}' if sampled else ''}, {words.windows(run)}"
    if run.result is None:
        return f"{what}, are being compared with simulations. The run has not finished: these are its latest estimates."
    done = (
        f"{run.result['simulated_windows']:,} simulated ones" if run.result.get("simulated_windows") else "simulations"
    )
    rounds = len(set(run.trajectory["round"].tolist())) if run.trajectory is not None else None
    total = (run.result.get("seconds") or {}).get("total")
    took = " ".join(
        [f"in {rounds} rounds" if rounds else "", f"within {words.duration(total)}" if total else ""]
    ).strip()
    verb = "was" if origin.startswith("simulated") else "were"
    generator = (run.experiment.get("generator") or {}).get("name")
    ended = f"The run ended because {words.stopped(run.result.get('stopped'), generator)}."
    return f"{what}, {verb} compared with {done}{f', {took}' if took else ''}. {ended}"


def in_other_unit(estimate: Estimate, run: Run) -> Estimate | None:
    """A time in years for one in generations and the reverse; a generation of unknown length is integrated over."""
    other = words.in_other_unit(estimate, run.generation_time)
    name = run.generation_parameter
    if other is None or name is None or run.posterior is None or estimate.interval is None:
        return other
    length = run.posterior[name] if other.unit == "years" else 1 / run.posterior[name]
    low, middle, high = np.quantile(
        run.posterior[estimate.name] * length, [(1 - estimate.level) / 2, 0.5, (1 + estimate.level) / 2]
    )
    return replace(other, estimate=float(middle), interval=(float(low), float(high)))


def row(estimate: Estimate, run: Run | None) -> Row:
    """The line of an estimate; without a ``run`` times stay in their own unit."""
    other = in_other_unit(estimate, run) if run is not None else None
    place = words.share_of_prior(estimate)
    return Row(
        name=estimate.name,
        description=estimate.description,
        estimate=words.point(estimate),
        interval=words.interval(estimate),
        other=f"{words.with_unit(other)} ({words.interval(other)})" if other else "",
        unit=estimate.unit,
        prior=(words.short(estimate.prior[0]), words.short(estimate.prior[1])) if estimate.prior else None,
        place=(round(100 * place[0], 2), round(100 * place[1], 2), round(100 * place[2], 2)) if place else None,
        informative=estimate.informative,
        left=words.percent(estimate.sd_ratio) if estimate.sd_ratio is not None else "",
        truth=words.number(estimate.truth, words.resolution(estimate)) if estimate.truth is not None else "",
    )


def whose(run: Run) -> str:
    """Whose parameters, and on windows everything below, the page shows; empty where there is no choice."""
    if not run.comparison or not run.estimates:
        return ""
    sentence = scenarios_told.whose(run.result or {})
    if not run.compares_windows:
        return sentence
    return (
        f"{sentence} The figures below are of its own run; each scenario's own run is in {SCENARIO_RUNS}/NAME in this "
        "folder, with a report."
    )


def derived(run: Run) -> list[dict[str, str]]:
    """What parameters come to together, such as a present size, with intervals."""
    rows = []
    for name, found in ((run.result or {}).get("derived") or {}).items():
        e = Estimate(name, found["estimate"], tuple(found["interval"]), found["level"])
        rows.append({"derived from them": name, "estimate": words.point(e), "interval": words.interval(e)})
    return rows


def rates(run: Run) -> str:
    """The rates that were taken as given, on which sizes and times hang; empty where none was."""
    scenario = (run.experiment.get("scenarios") or {}).get(run.scenario) or {}
    told = []
    for key, what, unit in _RATES:
        value = scenario.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool):
            told.append(f"{what} of {words.short(float(value))}{unit}")
        elif value == "map":
            told.append(f"{what} of the map")
    if not told:
        return ""
    scaled = isinstance(scenario.get("mutation_rate"), int | float)
    ends = ": with another mutation rate sizes and times would be others" if scaled else ""
    return f"Taken as given: {words.listing(told)}{ends}."


_RATES = (
    ("mutation_rate", "a mutation rate", " per base and generation"),
    ("recombination_rate", "a recombination rate", " per base and generation"),
    ("generation_time", "a generation", " years"),
)


def findings(run: Run) -> list[str]:
    """What a reader must know of the estimates beside the numbers."""
    found = []
    silent = [e.name for e in run.estimates if e.informative is False]
    more = "more SNPs" if run.comparison and not run.compares_windows else "longer windows"
    if silent:
        found.append(
            f"The genomes say little about {words.listing(silent)}: after seeing them the uncertainty is nearly what "
            "the prior allowed before. Do not report such an estimate as a finding; another design (more individuals, "
            f"{more}, another model) may be able to tell."
        )
    if told := words.product(run.result):
        found.append(told)
    if told := words.peaks(run.result):
        found.append(told)
    for e in run.estimates:
        sides = [] if e.informative is False or e.prior is None else words.edges(e)
        if sides and e.prior is not None:
            bounds = words.listing([f"{s} bound, {words.short(e.prior[s == 'upper'])}" for s in sides])
            found.append(
                f"The interval of {e.name} reaches the prior's {bounds}: the truth may lie beyond. "
                "Widen the prior unless you have reasons for that bound."
            )
    if run.generation_time is None and any(e.unit.startswith("generation") for e in run.estimates):
        found.append("Times are in generations only: set the scenario's generation_time to have them in years too.")
    found += (run.data or {}).get("unseen_sites") or []
    return found


def adequacy(run: Run) -> str:
    """Whether the model can have made the data, in words."""
    if not run.comparison:
        return words.adequacy(run.result)
    result = run.result or {}
    sentence = scenarios_told.adequacy(result, scenarios_told.chosen(result))
    return f"{sentence[0].upper()}{sentence[1:]}."


def _verdict(run: Run) -> str:
    """The class of the sentence on adequacy."""
    if run.comparison:
        result = run.result or {}
        fitting = scenarios_told.fits(result, scenarios_told.chosen(result))
        return {True: "adequate", False: "wrong", None: "unknown"}[fitting]
    return ((run.result or {}).get("adequacy") or {}).get("verdict") or "unknown"


def worst(run: Run) -> list[str]:
    """The statistics in which real and simulated genomes differ most, in words; only remarkable ones."""
    found = fit_drawn.residuals(run)
    if found is None:
        return []
    lines = []
    for i in found.worst(_WORST):
        if abs(found.z[i]) <= fit_drawn.REMARKABLE:
            break
        direction = "above" if found.z[i] > 0 else "below"
        real, simulated = (words.number(float(v), float(found.se[i])) for v in (found.real[i], found.simulated[i]))
        name = words.statistic(found.names[i], folded=run.folded)
        off = f"{abs(found.z[i]):.1f} standard errors {direction}"
        lines.append(f"{name}: {real} in real windows, {simulated} in simulated ones ({off})")
    return lines


def data_tables(run: Run) -> dict[str, list[tuple[str, str]]]:
    """What is known of the data, as tables of name and value under headings."""
    data = run.data
    if data is None:
        return {}
    windows = data["windows"] if isinstance(data.get("windows"), Mapping) else {"kept": data.get("windows")}
    records = data["records"] if isinstance(data.get("records"), Mapping) else {}
    about = "Genomes" if data.get("snps") is None else "Individuals"
    tables = {about: _genomes(run, data), "Windows": _windows(windows), **scenarios_told.snp_table(data)}
    if records:
        dropped = records.get("dropped") or {}
        tables["Records"] = [("read", _count(records.get("read"))), ("kept", _count(records.get("kept")))]
        tables["Records"] += [(f"dropped: {reason}", _count(n)) for reason, n in dropped.items()]
    tables |= _diversity(data.get("diversity"))
    return {title: [(k, v) for k, v in lines if v] for title, lines in tables.items() if any(v for _, v in lines)}


def _genomes(run: Run, data: Mapping[str, Any]) -> list[tuple[str, str]]:
    phased = {True: "yes", False: "no", None: ""}[data.get("phased")]
    ancestral = data.get("ancestral")
    told = (
        "unknown: spectra are folded"
        if run.folded
        else ("known" if ancestral in (None, "none") else f"from {ancestral}")
    )
    rate = data.get("mean_recombination_rate")
    missing = data.get("missing")
    return [
        ("individuals", words.sampled(run)),
        ("files", _files(data.get("genotypes") or data.get("files") or [])),
        ("phased", phased),
        ("ancestral alleles", told),
        ("missing genotypes", f"{100 * missing:.2g} %" if missing is not None else ""),
        ("mean recombination rate", f"{words.short(float(f'{rate:.3g}'))} per base and generation" if rate else ""),
    ]


def _files(files: Sequence[Any]) -> str:
    """Names and formats of the genotype files; of many only the first ones."""
    shown = []
    for file in files[:_MOST_FILES]:
        path, kind = (file.get("path"), file.get("format")) if isinstance(file, Mapping) else (file, None)
        shown.append(Path(str(path)).name + (f" ({kind})" if kind else ""))
    if len(files) > _MOST_FILES:
        shown.append(f"{len(files) - _MOST_FILES} more")
    return words.listing(shown)


def _windows(windows: Mapping[str, Any]) -> list[tuple[str, str]]:
    length, bases = windows.get("length"), windows.get("accessible_bases")
    lines = [("kept", _count(windows.get("kept"))), ("length", f"{length / 1000:,.4g} kb" if length else "")]
    lines += [("blocks (linked neighbours)", _count(windows.get("blocks")))]
    lines += [("accessible bases", f"{bases / 1e6:,.1f} million" if bases else "")]
    return lines + [(f"left out: {reason}", _count(n)) for reason, n in (windows.get("rejected") or {}).items()]


def _diversity(values: Any) -> dict[str, list[tuple[str, str]]]:
    if not isinstance(values, Mapping):
        return {}
    tables = {}
    for name, v in (values.get("populations") or {}).items():
        lines = [("diversity π per base", v.get("pi"), ".2e"), ("Tajima's D", v.get("tajimas_d"), ".2f")]
        texts = [(label, _formatted(value, style)) for label, value, style in lines]
        share = v.get("singletons")
        tables[str(name)] = [
            *texts,
            ("singletons", f"{100 * share:.0f} % of variable sites" if share is not None else ""),
        ]
    fst = [(pair.replace(",", " and "), f"{v:.3f}") for pair, v in (values.get("fst") or {}).items() if v is not None]
    return tables | ({"Differentiation (Hudson's Fst)": fst} if fst else {})


def _formatted(value: float | None, style: str) -> str:
    if value is None:
        return ""
    return words.short(float(format(value, style))) if style.endswith("e") else format(value, style).replace("-", "−")


def _count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else ""
