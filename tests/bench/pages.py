"""docs/speed.md from its records: simulation, training, memory."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tests.bench import simulation
from tests.bench.data import ROOT

RECORDS = ROOT / "docs" / "verification" / "speed.json"
PAGE = ROOT / "docs" / "speed.md"
SCHEMA_VERSION = 1
_MB = 1e6
_WIDTH = 118
#: What each measurement has to reach.
SIMULATION_TARGET, TRAINING_TARGET, CELLS_TARGET, READING_TARGET = 0.8, 2.0, 8.0, 5.0

_HEAD = """# Speed and memory

Made by `python -m tests.bench simulation tables histories training memory --write`. Times are CPU seconds, user and
system, of a process and all it started. Compare within a table; another machine has other seconds and about the same
ratios. The numbers behind this page are in [speed.json](verification/speed.json).

"""


def add(section: str, records: Sequence[Mapping[str, Any]]) -> None:
    """Put a section's records among the others, in the place of its earlier ones."""
    from ganinfer.runner import assembling

    content = read()
    versions = {name: v for name, v in assembling.versions().items() if name in _VERSIONS}
    content[section] = {"versions": versions, "cores": os.cpu_count(), "records": list(records)}
    RECORDS.parent.mkdir(parents=True, exist_ok=True)
    partial = RECORDS.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, RECORDS)


_VERSIONS = ("python", "ganinfer", "numpy", "msprime", "tskit", "tensorflow", "keras", "ray")


def read() -> dict[str, Any]:
    if not RECORDS.exists():
        return {"schema_version": SCHEMA_VERSION}
    content = json.loads(RECORDS.read_text(encoding="utf-8"))
    if content.get("schema_version") != SCHEMA_VERSION:
        raise ValueError(f"{RECORDS} has schema version {content.get('schema_version')}; delete it to make it anew")
    return content


def write() -> None:
    content = read()
    parts = [
        make(content[section]["records"]) + _versions(content[section])
        for section, make in _PARTS.items()
        if section in content
    ]
    PAGE.write_text(_HEAD + "\n".join(parts), encoding="utf-8")


def _versions(section: Mapping[str, Any]) -> str:
    named = ", ".join(f"{name} {version}" for name, version in section["versions"].items())
    return f"\n{section['cores']} cores; {named}.\n"


def paragraph(*sentences: str) -> str:
    return textwrap.fill(" ".join(sentences), _WIDTH, break_on_hyphens=False, break_long_words=False)


def simulation_part(records: list[dict[str, Any]]) -> str:
    """Markdown: rates of every kind and size, and the share of each bare loop's."""
    sizes = list(dict.fromkeys(r["individuals"] for r in records))
    head = ["", *(f"{4 * s} chromosomes" for s in sizes)]
    hardest = simulation.BARE[-1]
    rows = []
    for kind, variant in dict.fromkeys((r["kind"], r["variant"]) for r in records):
        cells = [f"bare msprime: {variant}" if kind == "bare" else f"{kind}: {variant}"]
        for size in sizes:
            one = next(r for r in records if (r["individuals"], r["kind"], r["variant"]) == (size, kind, variant))
            cells.append(f"{simulation.rate(one):.0f} ({simulation.share(one):.2f})")
        rows.append(f"| {' | '.join(cells)} |")
    missed = [
        f"{r['kind']} at {4 * r['individuals']} chromosomes ({simulation.share(r):.2f})"
        for r in records
        if r["variant"] == simulation.ARRAYS and simulation.share(r) < SIMULATION_TARGET
    ]
    verdict = f"The target is missed by {' and by '.join(missed)}." if missed else "The target is met by all."
    on_ray = [r for r in records if r["kind"] == "ray"]
    servers = float(np.median([sum(r["servers"]) / sum(r["seconds"]) for r in on_ray]))
    return "\n".join(
        [
            "## Simulation\n",
            paragraph(
                "Windows of 50 kb of the model `im`, simulated and encoded, a CPU second. In brackets the share",
                f"of the bare loop in the row *{hardest}* at the same time; medians. The pool and Ray have two",
                "workers; what the driver and Ray's servers cost counts too. *Arrays* are the SNP matrix and the",
                "allele counts of every window, *statistics* the classical ones beside them. The target is a",
                f"share of {SIMULATION_TARGET:g} with arrays.",
            ),
            "",
            f"| {' | '.join(head)} |",
            "|---" * len(head) + "|",
            *rows,
            "",
            paragraph(
                verdict,
                "A bare loop with a call a window builds a simulator for every window and hands its memory back",
                "to the kernel each time. ganinfer simulates the windows of a proposal as replicates of one",
                "simulator, and has the C library keep freed memory. Ray's servers are part of its row, with",
                f"{servers:.0%} beside driver and workers; they cost by the clock, more on a busy machine.",
            ),
            "",
        ]
    )


def tables_part(records: list[dict[str, Any]]) -> str:
    """Markdown: tables of SNPs a CPU second beside a bare loop, and how fast stored ones are read."""
    made, read = records
    bare, ours = (np.array(made[name]) for name in ("bare", "ours"))
    share = float(np.median(bare / ours))
    faster = float(np.median(np.array(read["read"]) / np.array(read["trained"])))
    met = [_met(share >= SIMULATION_TARGET), _met(faster >= READING_TARGET)]
    return "\n".join(
        [
            "## Tables of SNPs\n",
            paragraph(
                "1,000 unlinked SNPs of 270 chromosomes with 15 % missing calls, the scenario `stable` of",
                f"`seguieriana` at its truth: {1 / np.median(ours):.2f} tables a CPU second simulated, prepared and",
                f"encoded, {1 / np.median(bare):.2f} by a bare loop of msprime's replicates with a mutation on each,",
                f"a share of {share:.2f}. The target, {SIMULATION_TARGET:g}, is {met[0]}.",
            ),
            "",
            paragraph(
                f"The default network trains on {np.median(read['trained']):,.0f} of them a second by the clock;",
                f"{np.median(read['read']):,.0f} a second are read from a store, {faster:.0f} times as many. The",
                f"target, {READING_TARGET:g} times, is {met[1]}.",
            ),
            "",
        ]
    )


def histories_part(records: list[dict[str, Any]]) -> str:
    """Markdown: a row a model."""
    rows = []
    for r in records:
        bare, ours = (1_000 * np.median(r[kind]) / r["vectors"] for kind in ("bare", "ours"))
        possible = r["possible"] / r["vectors"]
        rows.append(f"| {r['model']} | {100 * possible:.0f} % | {bare:.3f} | {ours:.3f} | {bare / ours:.1f} |")
    return "\n".join(
        [
            "## Possible histories\n",
            paragraph(
                "CPU milliseconds to say whether a draw is a possible history, which every step asks of thousands.",
                "Draws of which all comparisons come out alike are possible together, so that few demes graphs are",
                "built; the bare way builds one of each. Medians of the repeats, in which both say the same.",
            ),
            "",
            "| model | possible | a graph each | ours | times as fast |",
            "|---|---|---|---|---|",
            *rows,
            "",
        ]
    )


def training_part(records: list[dict[str, Any]]) -> str:
    """Markdown: both networks, and the ratio of their speeds."""
    ours, theirs = records
    rows = [
        f"| {r['network']} | {r['sites']} | {r['cells']:,} | {np.median(r['round']):.0f} | {np.median(r['step']):.0f} |"
        for r in records
    ]
    ratios = {key: float(np.median(np.array(ours[key]) / np.array(theirs[key]))) for key in ("round", "step")}
    cells = ours["cells"] / theirs["cells"]
    met = _met(min(ratios.values()) >= TRAINING_TARGET and cells >= CELLS_TARGET)
    return "\n".join(
        [
            "## Training\n",
            paragraph(
                "Windows a CPU second in training at 200 chromosomes: the default network on our arrays, and",
                "pg-gan's network on the 36 sites that it sees. A cell is a chromosome at a site. Medians of the",
                "repeats.",
            ),
            "",
            "| network | sites | cells a window | a whole round | its steps alone |",
            "|---|---|---|---|---|",
            *rows,
            "",
            paragraph(
                f"The default network trains {ratios['round']:.1f} times as fast in a whole round and",
                f"{ratios['step']:.1f} times in its steps, on {cells:.0f} times the cells. The target,",
                f"{TRAINING_TARGET:g} times the speed on at least {CELLS_TARGET:g} times the cells, is {met}.",
            ),
            "",
        ]
    )


def memory_part(records: list[dict[str, Any]]) -> str:
    """Markdown: peaks of reading and of a run."""
    rows = []
    for r in (r for r in records if r["what"] == "read"):
        sizes = [r[key] for key in ("store_bytes", "driver_peak", "driver_anonymous", "reader_peak")]
        cells = ["the extract" if r["copies"] == 1 else f"{r['copies']} times the extract"]
        cells += [f"{r['megabases']:.0f}", f"{r['sites']:,}", f"{r['chromosomes']}"]
        rows.append(f"| {' | '.join([*cells, *(f'{size / _MB:.0f} MB' for size in sizes)])} |")
    runs = [
        paragraph(
            f"A run of `yri-ceu` with {r['workers']} Ray workers and {r['windows']:,} simulated windows, which is",
            f"past the bound of {r['training_windows']:,} on those that train the networks, peaks at",
            f"{r['driver_peak'] / _MB:.0f} MB in the driver, TensorFlow included, and",
            f"{r['worker_peak'] / _MB:.0f} MB in a worker. Windows beyond the bound are embedded as they arrive,",
            "and their arrays are dropped.",
        )
        for r in records
        if r["what"] == "run"
    ]
    return "\n".join(
        [
            "## Memory\n",
            paragraph(
                "Peak resident memory of reading the shipped extract, and one ten times as long. Genomes are",
                "read in pieces by a process of its own and kept as bits on disk, which the driver maps: mapped",
                "pages count as resident, but the kernel takes them back when memory runs short.",
            ),
            "",
            "| genomes | Mb in windows | sites | chromosomes | kept on disk | driver | of it not mapped | reader |",
            "|---|---|---|---|---|---|---|---|",
            *rows,
            "",
            *runs,
            "",
        ]
    )


def _met(reached: bool) -> str:
    return "met" if reached else "missed"


_PARTS = {
    "simulation": simulation_part,
    "tables": tables_part,
    "histories": histories_part,
    "training": training_part,
    "memory": memory_part,
}
