"""``ganinfer init``: the first experiment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ganinfer.cli.app import app
from ganinfer.cli.guard import USAGE, fail, guarded

if TYPE_CHECKING:
    from ganinfer.starting import Wish


def _models() -> list[str]:
    from ganinfer.starting import KINDS

    return list(KINDS)


def _examples() -> list[str]:
    from ganinfer.starting import example_names

    return example_names()


Genotypes = Annotated[
    list[Path] | None,
    typer.Option("--genotypes", "-g", metavar="FILE", help="VCF, BCF, VCF Zarr or .trees; may be repeated."),
]
Samples = Annotated[
    Path | None, typer.Option("--samples", "-s", metavar="FILE", help="Sheet with columns sample, population[, time].")
]
Populations = Annotated[
    list[str] | None, typer.Option(metavar="NAME[=N],...", help="Some populations, and how many individuals of each.")
]
Regions = Annotated[Path | None, typer.Option(metavar="BED", help="Where there is data at all.")]
Accessible = Annotated[
    Path | None,
    typer.Option(metavar="BED", help="Bases where variants can be called; from-genotypes: those of an all-sites file."),
]
Map = Annotated[Path | None, typer.Option("--map", metavar="FILE", help="Recombination map, HapMap format.")]
Model = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="size-change, growth, split, sequential-splits.", autocompletion=_models),
]
Example = Annotated[
    str | None, typer.Option(metavar="NAME", help="Copy a shipped experiment instead.", autocompletion=_examples)
]
Schema = Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of experiments, for editors.")]


@app.command()
@guarded
def init(
    genotypes: Genotypes = None,
    samples: Samples = None,
    populations: Populations = None,
    regions: Regions = None,
    accessible: Accessible = None,
    recombination_map: Map = None,
    model: Model = None,
    mutation_rate: Annotated[float, typer.Option(help="Per base and generation.")] = 1.25e-8,
    generation_time: Annotated[float | None, typer.Option(help="Years.")] = None,
    window_length: Annotated[int, typer.Option(min=100, max=100_000_000, help="Base pairs.")] = 50_000,
    name: Annotated[str | None, typer.Option(help="Name of the experiment and its files.")] = None,
    example: Example = None,
    schema: Schema = False,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where to write.")] = Path(),
) -> None:
    """Write a commented experiment with a first model for one's genomes, or copy a shipped experiment."""
    from ganinfer.cli import show

    if schema:
        show.schema()
        return
    if (example is None) == (not genotypes):
        fail(f"give either --genotypes FILE, or --example NAME ({', '.join(_examples())})", USAGE)
    _check_name(name)
    from ganinfer import starting
    from ganinfer.cli import values

    if example is not None:
        show.written(starting.copy_example(example, output))
        return
    wish = starting.Wish(
        tuple(genotypes or ()), samples, values.populations(populations or []), regions,
        values.accessible(accessible), recombination_map,
        model, name, mutation_rate, generation_time, window_length,
    )  # fmt: skip
    _write(wish, output)


def _check_name(name: str | None) -> None:
    """Before the genomes are read: the experiment and its files are called so."""
    import re

    from ganinfer.experiment.sections import NAME_PATTERN

    if name is not None and not re.fullmatch(NAME_PATTERN, name):
        fail(f"--name {name!r}: must be letters, digits, '.', '_' and '-', beginning with a letter or digit", USAGE)


def _write(wish: Wish, output: Path) -> None:
    from ganinfer import starting
    from ganinfer.cli import show
    from ganinfer.runner.assembling import cache_folder

    typer.echo("reading the genomes ...", err=True)
    made = starting.write_experiment(wish, output, cache_folder())
    show.report(made.found, as_json=False)
    show.written(made.files)
