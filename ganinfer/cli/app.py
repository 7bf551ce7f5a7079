"""The program and what its commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

import ganinfer
from ganinfer.cli.guard import EXIT_CODES

app = typer.Typer(
    name="ganinfer",
    help=ganinfer.__doc__,
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _experiment_files(incomplete: str) -> list[str]:
    """Completions: folders, and YAML files that are not part of a model."""
    parent = Path(incomplete).parent if not incomplete.endswith("/") else Path(incomplete)
    if not parent.is_dir():
        return []
    found = [f"{p}/" if p.is_dir() else str(p) for p in sorted(parent.iterdir()) if _is_experiment(p) or p.is_dir()]
    return [name for name in found if name.startswith(incomplete)]


def _is_experiment(path: Path) -> bool:
    return path.suffix in (".yaml", ".yml") and not path.stem.endswith((".demes", ".options"))


ExperimentFile = Annotated[
    Path,
    typer.Argument(metavar="FILE", help="The experiment, a YAML file.", autocompletion=_experiment_files),
]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change one value, e.g. --set budget.rounds=2; may be repeated."),
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON, for machines.")]


@app.callback()
def _program(
    version: Annotated[bool, typer.Option("--version", help="Show the version and leave.", is_eager=True)] = False,
) -> None:
    if version:
        typer.echo(f"ganinfer {ganinfer.__version__}")
        raise typer.Exit


# `--version` is asked for without a command, which `no_args_is_help` alone would refuse.
app.registered_callback.invoke_without_command = True  # type: ignore[union-attr]


def load(file: Path, overrides: list[str] | None, **values: Any) -> Any:
    """The experiment, with options of the command line that stand for a value of the file."""
    from ganinfer import experiment

    extra = [f"{key}={value}" for key, value in values.items() if value is not None]
    return experiment.load(file, [*(overrides or []), *extra])
