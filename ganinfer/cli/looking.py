"""The commands that look at a run or at this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ganinfer.cli.app import Json, RunFolder, app
from ganinfer.cli.guard import FAILED, guarded


@app.command()
@guarded
def report(folder: RunFolder) -> None:
    """Write the report of a run again: report.html, one file that opens offline."""
    from ganinfer import report as reports

    typer.echo(str(reports.write_report(folder)))


@app.command()
@guarded
def trace(
    folder: RunFolder,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write it as CSV; - is standard output.")] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw it: .png, .svg or .pdf.")] = None,
) -> None:
    """Show how the estimates of a run moved, round by round; also while it is going on."""
    from ganinfer import report as reports

    if csv is None and plot is None:
        typer.echo(reports.trace_text(folder))
    if csv is not None and str(csv) == "-":
        import tempfile

        with tempfile.TemporaryDirectory() as temporary:
            typer.echo(reports.trace_csv(folder, Path(temporary) / "trace.csv").read_text(), nl=False)
    elif csv is not None:
        typer.echo(str(reports.trace_csv(folder, csv)))
    if plot is not None:
        typer.echo(str(reports.trace_figure(folder, plot)))


@app.command()
@guarded
def doctor(
    ray: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Try this Ray cluster, not a local one.")] = None,
    mlflow: Annotated[str | None, typer.Option(metavar="URI", help="Try this MLflow tracking server.")] = None,
    as_json: Json = False,
) -> None:
    """Check this machine and this installation: versions, TensorFlow, Ray, MLflow, plugins."""
    import json

    from ganinfer import doctor as checks
    from ganinfer.cli import show

    if not as_json:
        typer.echo("trying TensorFlow, Ray, MLflow and the plugins, about half a minute ...", err=True)
    found = checks.examine(ray=ray, mlflow=mlflow)
    if as_json:
        typer.echo(json.dumps([check.as_dict() for check in found], indent=2))
    else:
        show.checks(found)
    if any(check.status == "problem" for check in found):
        raise typer.Exit(FAILED)
