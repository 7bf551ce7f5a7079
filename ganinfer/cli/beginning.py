"""``ganinfer init``: the first experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ganinfer.cli.app import app
from ganinfer.cli.guard import USAGE, fail, guarded


def _models() -> list[str]:
    from ganinfer.starting import KINDS

    return list(KINDS)


def _examples() -> list[str]:
    from ganinfer.starting import example_names

    return example_names()


@app.command()
@guarded
def init(
    genotypes: Annotated[
        list[Path] | None,
        typer.Option("--genotypes", "-g", metavar="FILE", help="VCF, BCF, VCF Zarr or .trees; may be repeated."),
    ] = None,
    samples: Annotated[
        Path | None,
        typer.Option("--samples", "-s", metavar="FILE", help="Sheet with columns sample, population[, time]."),
    ] = None,
    populations: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME[=N],...", help="Some populations, and how many individuals of each."),
    ] = None,
    regions: Annotated[Path | None, typer.Option(metavar="BED", help="Where there is data at all.")] = None,
    accessible: Annotated[Path | None, typer.Option(metavar="BED", help="Bases where variants can be called.")] = None,
    recombination_map: Annotated[
        Path | None, typer.Option("--map", metavar="FILE", help="Recombination map, HapMap format.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="size-change, growth, split, sequential-splits.", autocompletion=_models),
    ] = None,
    mutation_rate: Annotated[float, typer.Option(help="Per base and generation.")] = 1.25e-8,
    generation_time: Annotated[float | None, typer.Option(help="Years.")] = None,
    window_length: Annotated[int, typer.Option(min=100, help="Base pairs.")] = 50_000,
    name: Annotated[str | None, typer.Option(help="Name of the experiment and its files.")] = None,
    example: Annotated[
        str | None, typer.Option(metavar="NAME", help="Copy a shipped experiment instead.", autocompletion=_examples)
    ] = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of experiments, for editors.")
    ] = False,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where to write.")] = Path(),
) -> None:
    """Write a commented experiment with a first model for one's genomes, or copy a shipped experiment."""
    from ganinfer import starting
    from ganinfer.cli import show, values

    if schema:
        show.schema()
        return
    if (example is None) == (not genotypes):
        fail(f"give either --genotypes FILE, or --example NAME ({', '.join(_examples())})", USAGE)
    if example is not None:
        show.written(starting.copy_example(example, output))
        return
    from ganinfer.runner.assembling import CACHE

    wish = starting.Wish(
        genotypes=tuple(genotypes or ()),
        samples=samples,
        populations=values.populations(populations or []),
        regions=regions,
        accessible=accessible,
        recombination_map=recombination_map,
        model=model,
        name=name,
        mutation_rate=mutation_rate,
        generation_time=generation_time,
        window_length=window_length,
    )
    typer.echo("reading the genomes ...", err=True)
    made = starting.write_experiment(wish, output, Path("runs") / CACHE)
    show.report(made.found, as_json=False)
    show.written(made.files)
