"""The commands that work on an experiment. Results go to standard output, everything else to standard error."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ganinfer.cli.app import ExperimentFile, Json, Overrides, app, load
from ganinfer.cli.guard import guarded

RunFolder = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FOLDER", help="The run's folder.", show_default="runs/NAME")
]


@app.command()
@guarded
def check(file: ExperimentFile, overrides: Overrides = None, as_json: Json = False) -> None:
    """Read an experiment and its data; say what was found, what a run costs, and what is wrong."""
    experiment = load(file, overrides)
    from ganinfer import runner
    from ganinfer.cli import show

    show.report(runner.check(experiment), as_json)


@app.command()
@guarded
def run(
    file: ExperimentFile,
    output: RunFolder = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Overrides the experiment's seed.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last complete round.")] = False,
    scenario: Annotated[
        str | None, typer.Option(metavar="NAME", help="Whose parameters. Default: the best one's.")
    ] = None,
    compare_only: Annotated[bool, typer.Option("--compare-only", help="Compare scenarios and stop.")] = False,
    store: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Keep simulated tables here, for other runs too. Default: in the output."),
    ] = None,
    replicates: Annotated[
        int, typer.Option(min=1, help="Runs in all, from other seeds: do their estimates agree?")
    ] = 1,
    overrides: Overrides = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, say where it would run, stop.")] = False,
    executor: Annotated[
        Literal["ray", "process", "serial"] | None, typer.Option(help="Overrides execution.executor.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare the scenarios of an experiment, where there are several, and estimate parameters."""
    # Read first: a mistake in the file is answered before anything heavy is imported.
    experiment = load(file, overrides, **{"execution.executor": executor})
    from ganinfer import progress, runner
    from ganinfer.cli import show

    folder = output or Path("runs") / experiment.name
    if dry_run:
        show.report(runner.check(experiment, folder, seed=seed, resume=resume), as_json)
        show.dry_run(experiment, folder)
        return
    try:
        with progress.make(json_lines=as_json) as events:
            folder = runner.run(
                experiment,
                folder,
                seed=seed,
                resume=resume,
                scenario=scenario,
                compare_only=compare_only,
                store=store,
                replicates=replicates,
                progress=events,
            )
    except KeyboardInterrupt:
        changed = experiment if seed is None else experiment.model_copy(update={"seed": seed})
        asked = [*(["--scenario", scenario] if scenario else []), *["--compare-only"] * compare_only]
        asked += ["--replicates", str(replicates)] * (replicates > 1)
        show.how_to_go_on(file, folder, changed.overrides, asked)
        raise
    show.result(folder, as_json)


@app.command()
@guarded
def calibrate(
    file: ExperimentFile,
    output: RunFolder = None,
    sets: Annotated[int, typer.Option(min=1, help="Simulated data sets.")] = 100,
    around: Annotated[
        Literal["posterior", "prior"],
        typer.Option(help="Where truths come from. Around the posterior a finished run is needed, and shared."),
    ] = "posterior",
    full: Annotated[
        int, typer.Option(min=0, help="Around the posterior: so many are also inferred by runs of their own.")
    ] = 0,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Around the prior: overrides the seed.", show_default="the run's")
    ] = None,
    scenario: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Which scenario of several.", show_default="the run's"),
    ] = None,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Find out how often intervals hold the truth, on simulated data sets like the real one."""
    experiment = load(file, overrides)
    from ganinfer import progress, runner
    from ganinfer.cli import show

    folder = output or Path("runs") / experiment.name
    try:
        with progress.make(json_lines=as_json) as events:
            path = runner.calibrate(
                experiment,
                folder,
                sets=sets,
                around=around,
                full=full,
                seed=seed,
                scenario=scenario,
                progress=events,
            )
    except KeyboardInterrupt:
        typer.echo("the data sets so far are kept; the same command goes on with them", err=True)
        raise
    show.calibration(path, as_json)


@app.command()
@guarded
def simulate(
    file: ExperimentFile,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FOLDER", help="A new folder.")] = None,
    store: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Instead: tables for `run --store`, old or new.")
    ] = None,
    scenario: Annotated[str | None, typer.Option(help="Which scenario, where there are several.")] = None,
    theta: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE,...",
            help="Parameters, or a result.json for its estimates. Default: the truth of a simulation study.",
        ),
    ] = None,
    windows: Annotated[int | None, typer.Option(min=1, help="How many windows. Default: as many as the data.")] = None,
    tables: Annotated[int | None, typer.Option(min=1, help="How many tables, of loci.", show_default="1")] = None,
    format: Annotated[
        Literal["vcf", "trees", "table"] | None, typer.Option(help="What to write. Default: vcf, of loci table.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Overrides the seed.")] = None,
    proposal_seed: Annotated[
        int | None, typer.Option(min=1, max=2**31 - 1, help="Repeat one proposal of a run, by its simulator seed.")
    ] = None,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Write simulated observations for any other tool: VCF or tree sequences of windows, tables of SNPs of loci."""
    from ganinfer.cli import show, values

    experiment = load(file, overrides)
    if (output is None) == (store is None):
        raise typer.BadParameter("give either --output FOLDER, or for tables of SNPs --store FOLDER")
    if store is not None:
        values.check_store(scenario, theta, windows or tables, format, proposal_seed)
        from ganinfer import progress, runner

        with progress.make(json_lines=as_json) as events:
            runner.simulate_into(experiment, store, seed=seed, progress=events)
        return
    assert output is not None
    values.check_kind(experiment, windows, tables, format, proposal_seed)
    name = values.scenario(experiment, scenario)
    parameters = values.theta(experiment, name, theta or [])
    from ganinfer import runner

    if experiment.kind == "loci":
        folder = runner.simulate_tables(
            experiment, scenario=name, theta=parameters, num_tables=tables or 1, seed=seed, output=output
        )
    else:
        folder = runner.simulate(
            experiment,
            scenario=name,
            theta=parameters,
            num_windows=windows,
            seed=seed,
            format=format or "vcf",
            output=output,
            proposal_seed=proposal_seed,
        )
    show.files(folder, as_json)
