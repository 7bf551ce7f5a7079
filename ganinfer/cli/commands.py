"""The commands, each a thin shell around the layer that does the work. Results go to stdout, the rest to stderr."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

import ganinfer
from ganinfer.cli.guard import EXIT_CODES, guarded

app = typer.Typer(
    name="ganinfer",
    help=ganinfer.__doc__,
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

ExperimentFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="The experiment, a YAML file.", show_default=False)
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change one value, e.g. --set budget.rounds=2. May be repeated."),
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON for machines.")]


def main() -> None:
    """The ``ganinfer`` program."""
    app(prog_name="ganinfer")


@app.callback()
def _program(
    version: Annotated[bool, typer.Option("--version", help="Show the version and leave.", is_eager=True)] = False,
) -> None:
    if version:
        typer.echo(f"ganinfer {ganinfer.__version__}")
        raise typer.Exit


def _load(file: Path, overrides: list[str] | None, **values: Any) -> Any:
    """The experiment, with options of the command line that stand for a value of the file."""
    from ganinfer import experiment

    extra = [f"{key}={value}" for key, value in values.items() if value is not None]
    return experiment.load(file, [*(overrides or []), *extra])


@app.command()
@guarded
def check(file: ExperimentFile, overrides: Overrides = None, as_json: Json = False) -> None:
    """Read the experiment and its data and say what was found, what it costs, and what is wrong."""
    from ganinfer import runner
    from ganinfer.cli import show

    show.report(runner.check(_load(file, overrides)), as_json)


@app.command()
@guarded
def run(
    file: ExperimentFile,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FOLDER", help="The run's folder.", show_default="runs/NAME"),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Overrides the experiment's seed.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last complete round.")] = False,
    overrides: Overrides = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, then stop.")] = False,
    executor: Annotated[
        str | None,
        typer.Option(metavar="ray|process|serial", help="Overrides execution.executor."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Estimate the parameters of an experiment."""
    from ganinfer import progress, runner
    from ganinfer.cli import show

    experiment = _load(file, overrides, **{"execution.executor": executor})
    folder = output or Path("runs") / experiment.name
    if dry_run:
        show.report(runner.check(experiment), as_json)
        typer.echo(f"dry run: would run in {folder}", err=True)
        return
    with progress.make(json_lines=as_json) as events:
        folder = runner.run(experiment, folder, seed=seed, resume=resume, progress=events)
    show.result(folder, as_json)
