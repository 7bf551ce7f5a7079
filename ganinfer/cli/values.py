"""Options of the command line that need the experiment to be understood."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ganinfer.experiment import SimulatedData, simulator
from ganinfer.experiment.problems import closest

if TYPE_CHECKING:
    from ganinfer.experiment import Experiment


class OptionError(ValueError):
    """An option of the command line does not fit the experiment."""


def scenario(experiment: Experiment, name: str | None) -> str:
    """The scenario asked for; without a name the only one, or that of a simulation study's truth."""
    names = list(experiment.scenarios)
    if name is not None:
        if name not in names:
            raise OptionError(f"--scenario {name}: no such scenario; {closest(name, names)}")
        return name
    if len(names) == 1:
        return names[0]
    if isinstance(experiment.data, SimulatedData):
        return experiment.data.simulate.scenario
    raise OptionError(f"the experiment has several scenarios; choose one with --scenario: {', '.join(names)}")


def check_store(*given: object) -> None:
    """Raise for options that say what to write, where everything that a run would simulate is simulated."""
    if any(value is not None for value in given):
        raise OptionError(
            "--store simulates what a run would, under all scenarios: --scenario, --theta, --windows, --tables, "
            "--format and --proposal-seed go with --output"
        )


def check_kind(
    experiment: Experiment, windows: int | None, tables: int | None, format: str | None, proposal_seed: int | None
) -> None:
    """Raise for options of ``simulate`` that are for windows where the experiment is about loci, and the reverse."""
    if experiment.kind == "windows":
        if tables is not None:
            raise OptionError(f"--tables {tables}: the experiment is about windows; --windows says how many")
        if format == "table":
            raise OptionError("--format table: the experiment is about windows; allowed: vcf, trees")
        return
    if windows is not None:
        raise OptionError(f"--windows {windows}: the experiment is about loci; --tables says how many tables of them")
    if format not in (None, "table"):
        raise OptionError(f"--format {format}: the experiment is about loci; allowed: table")
    if proposal_seed is not None:
        raise OptionError("--proposal-seed: the experiment is about loci, and proposals are of windows; use --seed")


def theta(experiment: Experiment, name: str, given: Sequence[str]) -> dict[str, float]:
    """Values of every parameter, from ``NAME=VALUE,...`` options, a result.json, or the truth of a study."""
    parameters = simulator(experiment, name).parameters
    values: dict[str, float] = {}
    for text in given:
        values.update(_estimates(Path(text), name) if text.endswith(".json") else _pairs(text))
    if not given and isinstance(experiment.data, SimulatedData) and experiment.data.simulate.scenario == name:
        values = dict(experiment.data.simulate.truth)
    for key in values:
        if key not in parameters.names:
            raise OptionError(f"--theta {key}: scenario {name} has no such parameter; {closest(key, parameters.names)}")
    missing = [key for key in parameters.names if key not in values]
    if missing:
        raise OptionError(f"--theta: values missing for {', '.join(missing)}; give --theta {missing[0]}=VALUE,...")
    reason = parameters.problem(values) if parameters.problem else None
    if reason:
        raise OptionError(f"--theta makes an impossible model: {reason}")
    return {key: values[key] for key in parameters.names}


def _pairs(text: str) -> dict[str, float]:
    values = {}
    for pair in text.split(","):
        name, equals, value = pair.partition("=")
        try:
            values[name.strip()] = float(value.replace("_", ""))
        except ValueError:
            equals = ""
        if not equals:
            raise OptionError(f"--theta {text}: must be NAME=VALUE,... with numbers, or a run's result.json")
    return values


def _estimates(path: Path, name: str) -> dict[str, float]:
    from ganinfer.storage import read_json

    result: Mapping[str, Any] = read_json(path)
    parameters = (result.get("scenarios") or {}).get(name, {}).get("parameters") or result.get("parameters") or {}
    return {key: float(value["estimate"]) for key, value in parameters.items()}


def populations(given: Sequence[str]) -> dict[str, Any]:
    """``{"YRI": 20, "CEU": "all"}`` of ``YRI=20,CEU`` options."""
    found: dict[str, Any] = {}
    for item in (part.strip() for text in given for part in text.split(",")):
        name, equals, number = item.partition("=")
        if not name or ":" in name or (equals and not number.isdigit() and number != "all"):
            raise OptionError(f"--populations {item}: must be NAME or NAME=INDIVIDUALS, for example YRI=20,CEU")
        found[name] = int(number) if number.isdigit() else "all"
    return found


def words(option: str, given: Sequence[str] | None) -> dict[str, tuple[str, ...]]:
    """``{"missing": ("NA", "-9")}`` of ``missing=NA,missing=-9``: words of a key, in the order given."""
    found: dict[str, tuple[str, ...]] = {}
    for item in (part.strip() for text in given or () for part in text.split(",")):
        key, equals, word = item.partition("=")
        if not key or not word or not equals:
            raise OptionError(f"{option} {item}: must be KEY=WORD, several separated by commas")
        found[key] = (*found.get(key, ()), word)
    return found


def accessible(given: Path | None) -> Path | Literal["from-genotypes"] | None:
    """A BED file, or the word that stands for the records of an all-sites file, as in an experiment."""
    return "from-genotypes" if given == Path("from-genotypes") else given


def options(given: Sequence[str]) -> dict[str, Any]:
    """``KEY=VALUE`` options of a plugin, values as YAML; a ``.`` enters a mapping."""
    from ganinfer.experiment.document import Document, override

    document = Document("--option", "", {})
    for text in given:
        override(document, text, "--option")
    return dict(document.data)
