"""The commands that train networks without real data and judge new data with them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from ganinfer.cli.app import ExperimentFile, Json, Overrides, app, load
from ganinfer.cli.guard import guarded

BundleFolder = Annotated[Path, typer.Argument(metavar="BUNDLE", help="The folder of a bundle.")]


@app.command()
@guarded
def train(
    file: ExperimentFile,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="The bundle, a new folder.")],
    seed: Annotated[int | None, typer.Option(min=0, help="Overrides the experiment's seed.")] = None,
    store: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where simulated tables are kept.", show_default="beside the bundle"),
    ] = None,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Simulate the scenarios of an experiment and train networks, without real data."""
    experiment = load(file, overrides)
    from ganinfer import progress, runner
    from ganinfer.cli import show

    with progress.make(json_lines=as_json) as events:
        folder = runner.train(experiment, output, seed=seed, store=store, progress=events)
    show.bundle(folder, as_json)


@app.command()
@guarded
def predict(
    bundle: BundleFolder,
    file: ExperimentFile,
    tables: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[TABLE]...", help="Text tables, read as FILE says. Default: the data that it names."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE.html", help="Write a report, a new HTML file.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of whatever is drawn.")] = 1,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Judge new data of a bundle's design: does any scenario fit, which one, with which parameters."""
    from ganinfer import report
    from ganinfer.cli import show

    if output is not None:
        report.check_predictions(output)
    experiments = list(_experiments(file, tables or [], overrides))
    from ganinfer import runner, storage

    found = runner.predict(bundle, [experiment for _, experiment in experiments], seed)
    answers = [{"data": name, **answer} for (name, _), answer in zip(experiments, found, strict=True)]
    if output is not None:
        report.write_predictions(answers, storage.read_json(bundle / "bundle.json"), output)
    if as_json:
        typer.echo(json.dumps(answers, indent=2))
        return
    show.predictions(answers)
    if output is not None:
        typer.echo(str(output))


def _experiments(file: Path, tables: list[Path], overrides: list[str] | None) -> Iterator[tuple[str, Any]]:
    if not tables:
        yield str(file), load(file, overrides)
    for table in tables:
        yield str(table), load(file, overrides, **{"data.table.file": table.absolute()})
