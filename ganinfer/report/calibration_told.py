"""What a calibration found, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ganinfer.ranks import BAND
from ganinfer.report import words

#: p-values that are as uneven as this by chance less often are uneven (Kolmogorov and Smirnov).
_UNEVEN = 0.01
#: Kinds of data sets, in the order in which they are told.
KINDS = {
    "posterior": "around the solution, inferred with the simulations of the run",
    "full": "around the solution, each inferred by a run of its own",
    "prior": "of the prior, each inferred by a run of its own",
}


def kinds(values: Mapping[str, Any] | None) -> dict[str, Mapping[str, Any]]:
    """What was found, by kind, of those that there are."""
    return {kind: values[kind] for kind in KINDS if values and values.get(kind)}


def sentence(kind: str, said: Mapping[str, Any]) -> str:
    """How often intervals held the truth, over all parameters together."""
    parts = [
        f"{words.level(level)} intervals held the truth in {found['held']:,} of {found['of']:,} cases "
        f"({words.percent(found['held'] / found['of'])})"
        for level, found in said["pooled"].items()
    ]
    sets = "1 simulated data set" if said["sets"] == 1 else f"{said['sets']:,} simulated data sets"
    return f"In {sets} with truths {KINDS[kind]}, {words.listing(parts)}."


def unchecked(values: Mapping[str, Any]) -> str:
    """That the short way was not compared with runs of their own; empty where it was, or was not taken."""
    if not values.get("posterior") or values.get("full"):
        return ""
    return (
        "The search and the training are not tested by that: with --full 10, calibrate infers ten of these data sets "
        "by runs of their own as well, and compares."
    )


def rows(said: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Of every parameter: how often its intervals held the truth, and how large errors were beside them."""
    out = []
    for name, found in said["parameters"].items():
        row: dict[str, Any] = {"parameter": name}
        for level, cover in found["coverage"].items():
            low, high = cover["band"]
            mark = "" if cover["right"] else " !"
            row[f"{words.level(level)} held"] = f"{cover['held']} of {cover['of']}{mark}"
            row[f"{words.level(level)} expected"] = f"{low} to {high}"
        row["mean error / SD"] = words.signed(found["bias"])
        row["RMS error / SD"] = f"{found['error_over_sd']:.2f}"
        out.append(row)
    return out


def missed(said: Mapping[str, Any]) -> str:
    """Which intervals held less, or more, often than chance allows; empty where none did.

    Of many counts some are outside of their bands by chance. Which interval is wrong is said of those that lie further
    out than any of all counts would.
    """
    counts = [cover for found in said["parameters"].values() for cover in found["coverage"].values()]
    told = []
    for less, what in ((True, "too narrow"), (False, "wider than they need be")):
        for sure in (True, False):
            names = _listed(said, less, sure, len(counts))
            if names:
                held = "less" if less else "more"
                ends = f", so they are {what} for data like these" if sure else " for one count alone"
                told.append(f"intervals of {names} held {held} often than chance allows{ends}")
    if not told:
        return ""
    return (
        f"Marked with !: {'; '.join(told)}. Of {len(counts)} counts like these, chance alone marks "
        f"{len(counts) * (1 - BAND):.2g} on average."
    )


def _listed(said: Mapping[str, Any], less: bool, sure: bool, number: int) -> str:
    """Parameters, with levels, whose counts are marked on one side, and for ``sure`` or not."""
    names = []
    for name, found in said["parameters"].items():
        levels = [
            words.level(key)
            for key, cover in found["coverage"].items()
            if not cover["right"] and less == _short(cover) and sure == _beyond(cover, float(key), number)
        ]
        if levels:
            names.append(f"{name} ({', '.join(levels)})")
    return words.listing(names)


def _short(cover: Mapping[str, Any]) -> bool:
    return bool(cover["held"] < cover["band"][0])


def _beyond(cover: Mapping[str, Any], level: float, number: int) -> bool:
    """Whether a count lies further out than any of so many would: its band, about normal, widened for all of them."""
    from scipy.stats import norm

    usual = level * cover["of"]
    edge = cover["band"][0 if _short(cover) else 1]
    wider = norm.isf((1 - BAND) / (2 * number)) / norm.isf((1 - BAND) / 2)
    return bool(abs(cover["held"] - usual) > wider * max(abs(edge - usual), 0.5))


def alarms(said: Mapping[str, Any]) -> str:
    """How often the model, which is the true one of these data sets, was rejected."""
    found = said.get("adequacy")
    if not found:
        return ""
    share = words.percent(found["flagged"] / found["judged"])
    told = f"The true model was rejected in {found['flagged']} of {found['judged']} data sets ({share}; 5 % expected)."
    if found["p_uniform"] < _UNEVEN and "mean_p" in found:
        careful = found["mean_p"] > 0.5
        told += (
            f" p-values, which should be spread evenly between 0 and 1, are too {'large' if careful else 'small'} "
            f"(mean {found['mean_p']:.2f}): the verdict {'is careful and' if careful else 'rejects too often, and'} "
            f"{'overlooks some wrong models' if careful else 'a model that it rejects may be right'}."
        )
    return told


def beside(said: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Runs of their own beside the same data sets inferred with shared simulations, by parameter."""
    found = (said.get("beside_shared") or {}).get("parameters") or {}
    return [
        {"parameter": name, "RMS difference / SD": f"{v['difference']:.2f}", "SD ratio": f"{v['sd_ratio']:.2f}"}
        for name, v in found.items()
    ]
