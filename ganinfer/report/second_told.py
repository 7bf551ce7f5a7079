"""The second opinion in words: what another program says of the same windows, and why it differs where it does."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ganinfer.report import words
from ganinfer.report.reading import Estimate, Run

#: Standard deviations of the difference beyond which it asks for an explanation.
APART = 2.0
#: A difference that falls to this share of itself is made by what was left out.
_MADE = 0.5
#: Share of sites with their alleles the wrong way round that is worth a word.
_MANY_MISIDENTIFIED = 0.005
_METHODS = {"godambe": "Godambe", "bootstrap": "bootstrap"}


def opinion(result: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    return (result or {}).get("second_opinion")


def why_not(result: Mapping[str, Any] | None) -> str:
    """Why there is none, as a sentence; empty where there is one, or none was wanted."""
    found = opinion(result) or {}
    if found.get("failed"):
        return f"{found['program']} gave no second opinion: {found['failed']}."
    return f"{found['program']} was not asked: {found['why_not']}." if found.get("why_not") else ""


def answered(result: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    found = opinion(result)
    return found if found and "parameters" in found else None


def sentence(result: Mapping[str, Any] | None) -> str:
    """Whether both agree, in one sentence; empty where nobody answered."""
    found = answered(result)
    if found is None:
        return ""
    told = {name: s["difference"] for name, s in found["parameters"].items() if s["difference"] is not None}
    program, number = found["program"], len(told)
    if not told and not found["bootstraps"]:
        return (
            f"{program} fitted the joint spectrum of the same windows; these lie in too few blocks to tell how sure "
            "its estimates are, or how far the two are apart."
        )
    if not told:
        together = _together(found)
        reason = f"it knows {together} together only" if together else "there is nothing to compare the two by"
        return f"{program} fitted the joint spectrum of the same windows; {reason}."
    far = {name: d for name, d in told.items() if abs(d) > APART}
    if not far:
        agreed = f"all {number} parameters" if number == len(found["parameters"]) else f"the {number} that it tells"
        agreed = "the parameter" if len(found["parameters"]) == 1 else agreed
        return f"A second opinion, {program} on the joint spectrum of the same windows, agrees on {agreed}."
    off = words.listing([f"{name} ({abs(d):.1f} standard errors)" for name, d in far.items()])
    rest = f", and agrees on the other {number - len(far)}" if number > len(far) else ""
    return f"A second opinion, {program} on the joint spectrum of the same windows, differs in {off}{rest}."


def about(run: Run) -> str:
    """What was fitted to what."""
    found = answered(run.result)
    if found is None:
        return ""
    spectrum = found["about"]
    sizes = words.listing([f"{n} of {name}" for name, n in spectrum["chromosomes"].items()])
    folded = "folded" if spectrum["folded"] else "unfolded"
    told = [
        f"The same model, fitted by {found['program']} to the {folded} spectrum of {spectrum['sites']:,} sites in "
        f"{sizes} chromosomes. It has a likelihood, but sees neither haplotypes nor linkage."
    ]
    if found["misidentified"] is not None:
        told.append(f"It takes {100 * found['misidentified']:.1f} % of the sites to have their alleles the wrong way.")
    if not found["one_maximum"]:
        told.append(
            f"Only one of its {len(found['starts'])} starts found its best fit: there may be a better one elsewhere."
        )
    together = _together(found)
    if together:
        told.append(
            f"Other {together} that go together make the same spectrum, so it tells none of them by itself. Priors are "
            "no part of it."
        )
    if found["bootstraps"]:
        told.append(
            f"Difference: ours less its own, in standard deviations of that difference over {found['bootstraps']} data "
            "sets of blocks drawn with replacement, each inferred both ways."
        )
    return " ".join(told)


def _together(found: Mapping[str, Any]) -> str:
    """The parameters that the spectrum knows together with others only; empty where there are none."""
    return words.listing([name for name, s in found["parameters"].items() if s.get("confounded")])


def rows(run: Run) -> list[dict[str, str]]:
    """Both estimates of every parameter, and how far they are apart."""
    found = answered(run.result)
    if found is None:
        return []
    table, program = [], found["program"].split(" ")[0]
    for e in run.estimates:
        second = found["parameters"].get(e.name)
        if second is None:
            continue
        theirs = _as_estimate(e, second)
        table.append(
            {
                "parameter": e.name,
                "ours": f"{words.point(e)} ({words.interval(e)})",
                program: unknown(second) or f"{words.point(theirs)} ({words.interval(theirs)})",
                "by": _by(second, e),
                "difference": "" if second["difference"] is None else f"{second['difference']:+.1f}".replace("-", "−"),
            }
        )
    return table


def unknown(second: Mapping[str, Any]) -> str:
    """Why the spectrum says nothing of one parameter; empty where it does."""
    if not second["seen"]:
        return "not in a spectrum"
    return "only with others" if second.get("confounded") else ""


def _by(second: Mapping[str, Any], ours: Estimate) -> str:
    if second["at_bound"]:
        return "at a bound"
    if second.get("leans_on"):
        return f"{second['leans_on']} at a bound"
    method = _METHODS.get(second["method"] or "", "")
    if second["interval"] is None or ours.prior is None:
        return method
    ends = zip(second["interval"], ours.prior, strict=True)
    return f"{method}, to a bound" if any(math.isclose(end, bound, rel_tol=1e-9) for end, bound in ends) else method


def _as_estimate(ours: Estimate, second: Mapping[str, Any]) -> Estimate:
    interval = second["interval"]
    return replace(ours, estimate=second["estimate"], interval=tuple(interval) if interval else None)


def explained(run: Run) -> list[str]:
    """A sentence on each difference of more than two standard errors."""
    found = answered(run.result)
    if found is None:
        return []
    by_name = {e.name: e for e in run.estimates}
    far = [
        (by_name[name], second)
        for name, second in found["parameters"].items()
        if name in by_name and second["difference"] is not None and abs(second["difference"]) > APART
    ]
    return [_explanation(run, found, estimate, second) for estimate, second in far]


def _explanation(run: Run, found: Mapping[str, Any], ours: Estimate, second: Mapping[str, Any]) -> str:
    told = []
    if not found["one_maximum"]:
        told.append("its starts ended in different places")
    if (found["misidentified"] or 0) > _MANY_MISIDENTIFIED:
        told.append(f"it takes {100 * found['misidentified']:.1f} % of the ancestral alleles to be wrong, ours none")
    alone = (found["spectrum_alone"] or {}).get(ours.name)
    if alone is not None:
        told.append(_of_spectrum(run, ours, second["estimate"], alone))
    reasons = "; ".join(told) or "nothing that was looked at explains it"
    return f"{ours.name} ({abs(second['difference']):.1f} standard errors apart): {reasons}."


def _of_spectrum(run: Run, ours: Estimate, theirs: float, alone: float) -> str:
    """What our own estimate from the spectrum alone says of the difference."""
    step, logarithmic = words.resolution(ours), ours.logarithmic and min(ours.estimate, theirs, alone) > 0
    before, after = (words.distance(x, theirs, logarithmic=logarithmic) for x in (ours.estimate, alone))
    said = f"from the spectrum's statistics alone we would say {words.number(alone, step)}"
    if after <= _MADE * before:
        missed = _missed(run)
        odd = f", and the model misses {missed}: then the spectrum is the safer witness" if missed else ""
        return f"{said}, so haplotypes and linkage make the difference{odd}"
    return (
        f"{said}, so haplotypes and linkage do not make the difference: our statistics are wider bins of the spectrum, "
        "and ours is a posterior's median where a likelihood may be flat"
    )


def _missed(run: Run) -> str:
    """Kinds of statistics other than the spectrum that the model misses, in words."""
    looks = ((run.result or {}).get("adequacy") or {}).get("looks") or {}
    prefix = "largest residual: "
    kinds = {
        name.removeprefix(prefix).rpartition(" ")[0] if name[-1].isdigit() else name.removeprefix(prefix)
        for name, p in looks.items()
        if name.startswith(prefix) and p < 0.01
    }
    named = {"embedding": "what the network sees", "critic": "what the critic sees"}
    return words.listing(sorted({named.get(k, k) for k in kinds if not k.startswith("site frequency")}))
