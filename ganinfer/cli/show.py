"""Results on standard output: tables for people, JSON for machines."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ganinfer import storage
from ganinfer.progress import duration, number

if TYPE_CHECKING:
    from ganinfer.doctor import Check


def report(values: Mapping[str, Any], as_json: bool) -> None:
    """What a check found: nested mappings as indented lines, lists of mappings as tables."""
    if as_json:
        typer.echo(json.dumps(values, indent=2, default=str))
        return
    for line in lines(values):
        typer.echo(line)


def lines(values: Mapping[str, Any], indent: str = "") -> list[str]:
    """``key: value`` lines; underscores of our own keys, all in small letters, are shown as spaces."""
    shown: list[str] = []
    names = any(str(key) != str(key).lower() for key in values)
    for key, value in values.items():
        name = indent + (str(key) if names else str(key).replace("_", " "))
        if _alike(value):
            rows = [{"": inner, **columns} for inner, columns in value.items()]
            shown += [f"{name}:", *(f"{indent}  {row}" for row in table(rows))]
        elif isinstance(value, Mapping):
            shown += [f"{name}:", *lines(value, indent + "  ")] if value else [f"{name}: none"]
        elif isinstance(value, list | tuple) and value and all(isinstance(v, Mapping) for v in value):
            shown += [f"{name}:", *(f"{indent}  {row}" for row in table(value))]
        elif isinstance(value, list | tuple) and any(isinstance(v, str) and " " in v for v in value):
            shown += [f"{name}:", *(f"{indent}  - {v}" for v in value)]
        else:
            shown.append(f"{name}: {_value(value)}")
    return shown


def _alike(value: Any) -> bool:
    """Whether a mapping holds mappings with the same keys and plain values: such are shown as a table."""
    if not isinstance(value, Mapping) or not value or not all(isinstance(v, Mapping) and v for v in value.values()):
        return False
    columns = [tuple(v) for v in value.values()]
    return len(set(columns)) == 1 and not any(isinstance(c, Mapping | list) for v in value.values() for c in v.values())


def _value(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return number(value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_value, value)) or "none"
    return str(value)


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Aligned columns under their names; the columns are those of the first row."""
    if not rows:
        return []
    columns = list(rows[0])
    cells = [[c.replace("_", " ") for c in columns], *([_value(row.get(c)) for c in columns] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def result(folder: Path, as_json: bool) -> None:
    """The estimates of a finished run and where they lie."""
    values = storage.read_json(folder / "result.json")
    warnings, replicates = _beside(folder, "warnings.json"), _beside(folder, storage.REPLICATES)
    told = warnings.get("warnings", [])
    if as_json:
        more = {"warnings": told, **({"replicates": replicates} if replicates else {})}
        typer.echo(json.dumps({"folder": str(folder), **values, **more}, indent=2))
        return
    if values.get("comparison"):
        _compared(values)
    else:
        from ganinfer.report import words

        typer.echo(f"{words.adequacy(values)}\n")
    for row in table(_parameter_rows(values)):
        typer.echo(row)
    _remarks(values)
    if replicates:
        from ganinfer.report import words

        typer.echo(f"\n{replicates['runs']} runs of the same windows, and how far their estimates scatter:")
        for row in table(words.replicates(replicates)):
            typer.echo(row)
    for warning in told:
        typer.echo(f"\nWarning: {warning}")
    if values.get("seconds"):
        typer.echo(f"\n{_spent(values)}")
    for name in ("result.json", "report.html", "best.demes.yaml", storage.SCENARIOS):
        if (folder / name).exists():
            typer.echo(f"{folder / name}")


def _beside(folder: Path, name: str) -> dict[str, Any]:
    """What a run's folder has in a JSON file, nothing where it has none."""
    return storage.read_json(folder / name) if (folder / name).exists() else {}


def _remarks(values: Mapping[str, Any]) -> None:
    from ganinfer.report import second_told, words

    for said in (words.product(values), second_told.sentence(values) or second_told.why_not(values)):
        if said:
            typer.echo(f"\n{said}")


def calibration(path: Path, as_json: bool) -> None:
    """How often intervals held the truth, by where truths came from and how data sets were inferred."""
    values = storage.read_json(path)
    if as_json:
        typer.echo(json.dumps({"file": str(path), **values}, indent=2))
        return
    from ganinfer.report import calibration_told

    for kind, said in calibration_told.kinds(values).items():
        typer.echo(calibration_told.sentence(kind, said))
        typer.echo("")
        for row in table(calibration_told.rows(said)):
            typer.echo(row)
        for remark in (calibration_told.missed(said), calibration_told.alarms(said)):
            if remark:
                typer.echo(f"\n{remark}")
        if beside := calibration_told.beside(said):
            typer.echo("\nThe same data sets, by a run of their own and with the simulations of the run:")
            for row in table(beside):
                typer.echo(row)
        typer.echo("")
    if unchecked := calibration_told.unchecked(values):
        typer.echo(f"{unchecked}\n")
    typer.echo(str(path))


def bundle(folder: Path, as_json: bool) -> None:
    """A new bundle, and how good it is on tests."""
    about = storage.read_json(folder / "bundle.json")
    scores = {
        k: about["tested"]["calibration"][k]
        for k in ("tests", "accuracy", "log_loss", "expected_calibration_error")
        if k in about["tested"]["calibration"]
    }
    if as_json:
        typer.echo(json.dumps({"bundle": str(folder), **scores}, indent=2))
        return
    report(scores, as_json=False)
    typer.echo(str(folder))


def predictions(answers: Sequence[Mapping[str, Any]]) -> None:
    """For each table first whether anything fits, then how probable each scenario is."""
    rows = []
    for answer in answers:
        comparison = answer["comparison"]
        row = {"data": answer["data"], "fits": "none fits" if answer["none_fits"] else "yes", "best": answer["best"]}
        for name, probability in comparison["probabilities"].items():
            row[f"P({name})"] = f"{probability:.3f}"
        rows.append({**row, "p": number(comparison["prior_predictive_p"][answer["best"]])})
    for line in table(rows):
        typer.echo(line)
    if len(answers) == 1 and answers[0]["parameters"]:
        typer.echo("")
        for line in table(_parameter_rows(answers[0])):
            typer.echo(line)


def _compared(values: Mapping[str, Any]) -> None:
    """Which scenario, before its parameters: the verdict, then what it rests on."""
    from ganinfer.report import scenarios_told

    for sentence in (scenarios_told.verdict(values), *scenarios_told.alike(values)):
        typer.echo(sentence)
    typer.echo("")
    for row in table(scenarios_told.rows(values)):
        typer.echo(row)
    if tests := scenarios_told.tests(values):
        typer.echo(f"\n{tests}")
    elif not values["comparison"].get("confusion"):
        typer.echo("\nNothing was tested: comparison.tests is 0.")
    if values.get("parameters"):
        typer.echo(f"\n{scenarios_told.whose(values)}")


def _spent(values: Mapping[str, Any]) -> str:
    total = duration(values["seconds"].get("total") or 0)
    windows, tables = values.get("simulated_windows", 0), values.get("simulated_tables", 0)
    if not values.get("comparison"):
        return f"{windows:,} windows simulated in {total}; stopped: {values['stopped']}"
    if not windows:
        return f"{tables:,} data sets simulated in {total}"
    made = f"{windows:,} windows simulated under {len(values['scenarios'])} scenarios in {total}"
    return f"{made}; {values['chosen']} stopped: {values['stopped']}"


def _parameter_rows(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    from ganinfer.report import words

    rows = []
    for name, p in (values.get("parameters") or {}).items():
        interval = p.get("interval")
        level = f"{words.level(p.get('level', 0.9))} interval"
        prior = " – ".join(map(number, p["prior"])) if p.get("prior") else "–"
        informed = {True: "yes", False: "no: the data say little", None: "–"}[p.get("informative")]
        row = {
            "parameter": name,
            "estimate": number(p["estimate"]),
            level: " – ".join(map(number, interval)) if interval else None,
        }
        rows.append({**row, "unit": p.get("unit") or "", "prior": prior, "informative": informed})
    return rows


def written(files: Sequence[Path]) -> None:
    """New files, and what to do with the experiment, the first of them."""
    for path in files:
        typer.echo(str(path))
    typer.echo(f"next: ganinfer check {files[0]}, then ganinfer run {files[0]}", err=True)


def files(folder: Path, as_json: bool) -> None:
    """What lies in a new folder."""
    names = sorted(str(path) for path in folder.iterdir() if path.is_file())
    typer.echo(json.dumps({"folder": str(folder), "files": names}, indent=2) if as_json else "\n".join(names))


def checks(found: Sequence[Check]) -> None:
    """Findings of doctor, one a line; what is in order is short, what is not comes with its remedy."""
    signs = {"ok": "ok     ", "note": "note   ", "problem": "PROBLEM"}
    width = max(len(check.name) for check in found)
    for check in found:
        typer.echo(f"{signs[check.status]}  {check.name.ljust(width)}  {check.found}")
        if check.remedy:
            typer.echo(f"{' ' * (width + 9)}  → {check.remedy}")
    number_of = {status: sum(check.status == status for check in found) for status in signs}
    typer.echo(f"\n{number_of['ok']} in order, {number_of['note']} notes, {number_of['problem']} problems")


def how_to_go_on(file: Path, folder: Path, overrides: Sequence[str], asked: Sequence[str] = ()) -> None:
    """What an interrupted run has kept.

    ``overrides`` are the options of ``--set`` that make its experiment, ``asked`` what was asked for besides.
    """
    rounds, parts = storage.completed_rounds(folder), storage.completed_parts(folder)
    changes = [word for text in overrides for word in ("--set", text)]
    command = shlex.join(["ganinfer", "run", str(file), *changes, *asked, "--output", str(folder), "--resume"])
    if rounds:
        typer.echo(f"{len(rounds)} complete round{'s' * (len(rounds) > 1)} kept; go on with: {command}", err=True)
    elif parts:
        kept = ", ".join(f"{number} of {name}" for name, number in parts.items())
        typer.echo(f"complete rounds kept: {kept}; go on with: {command}", err=True)
    elif (folder / storage.SIMULATIONS).exists():
        typer.echo(f"the simulated data sets so far are kept; go on with: {command}", err=True)
    else:
        typer.echo("no round was complete; start again with the same command", err=True)


def dry_run(experiment: Any, folder: Path) -> None:
    """Where a run would lie, and what looking at it has left."""
    from ganinfer.experiment import SimulatedData
    from ganinfer.runner.assembling import cache_folder

    kept = (
        "" if isinstance(experiment.data, SimulatedData) else f"; the genomes, once read, are in {cache_folder(folder)}"
    )
    typer.echo(f"dry run: the run's folder would be {folder}, nothing was written there{kept}", err=True)


def schema() -> None:
    """What an experiment may hold, for editors that check YAML as it is written."""
    from ganinfer.experiment import Experiment

    typer.echo(json.dumps(Experiment.model_json_schema(), indent=2))
