"""Whom to cite for a run: this software, the simulator, the data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ganinfer import __version__
from ganinfer.report.reading import Run


@dataclass(frozen=True)
class Citation:
    text: str
    doi: str = ""


_GANINFER = Citation(f"The ganinfer developers. ganinfer, version {__version__}. Its CITATION.cff has the entry.")
_MSPRIME = Citation(
    "Baumdicker F, Bisschop G, Goldstein D, et al. 2022. Efficient ancestry and mutation simulation with msprime 1.0. "
    "Genetics 220: iyab229.",
    "10.1093/genetics/iyab229",
)
_DEMES = Citation(
    "Gower G, Ragsdale AP, Bisschop G, et al. 2022. Demes: a standard format for demographic models. "
    "Genetics 222: iyac131.",
    "10.1093/genetics/iyac131",
)
_STDPOPSIM = Citation(
    "Adrion JR, Cole CB, Dukler N, et al. 2020. A community-maintained standard library of population genetic models. "
    "eLife 9: e54967.",
    "10.7554/eLife.54967",
)
_MOMENTS = Citation(
    "Jouganous J, Long W, Ragsdale AP, Gravel S. 2017. Inferring the joint demographic history of multiple "
    "populations: beyond the diffusion approximation. Genetics 206: 1549-1567.",
    "10.1534/genetics.117.200493",
)
#: Simulators that are msprime underneath. Every installation has msprime, so its version says nothing.
_COALESCENT = ("demes", "msprime")
_DOI = re.compile(r"\b10\.\d{4,9}/[^\s\"'<>;,]+[^\s\"'<>;,.)]")


def citations(run: Run) -> list[Citation]:
    """Works to cite: the engine, the simulator where it is built in, the model, its format, sources that are named."""
    scenario = (run.experiment.get("scenarios") or {}).get(run.scenario) or {}
    simulator = scenario.get("simulator")
    found = [_GANINFER]
    if simulator in _COALESCENT:
        found.append(_MSPRIME)
    if isinstance(scenario.get("model"), Mapping) and "stdpopsim" in scenario["model"]:
        found.append(_STDPOPSIM)
    if run.graph is not None:
        found.append(_DEMES)
    if "parameters" in ((run.result or {}).get("second_opinion") or {}):
        found.append(_MOMENTS)
    for doi in _graph_dois(run):
        found.append(Citation("The demographic model names this source.", doi))
    for doi in _data_dois(run):
        found.append(Citation("The experiment names this source.", doi))
    known: dict[str, Citation] = {}
    for c in found:
        known.setdefault(c.doi or c.text, c)
    return list(known.values())


def _graph_dois(run: Run) -> list[str]:
    return [m[0] for entry in (run.graph.doi if run.graph is not None else []) if (m := _DOI.search(str(entry)))]


def _data_dois(run: Run) -> list[str]:
    """DOIs that the experiment's text names, in its comments too, and those of the data summary's ``source``."""
    source = (run.data or {}).get("source")
    text = run.experiment_text + (str(source) if isinstance(source, str | Mapping) else "")
    return list(dict.fromkeys(_DOI.findall(text)))
