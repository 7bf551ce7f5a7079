"""``ganinfer init``: the first experiment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ganinfer.cli.app import app
from ganinfer.cli.guard import USAGE, fail, guarded

if TYPE_CHECKING:
    from ganinfer.starting import TableWish, Wish


_MUTATION_RATE, _WINDOW_LENGTH = 1.25e-8, 50_000


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
_TABLES = "Tables of SNPs"
Table = Annotated[
    Path | None,
    typer.Option("--table", "-t", metavar="FILE", help="Text, SNPs at unlinked loci.", rich_help_panel=_TABLES),
]
Delimiter = Annotated[
    Literal["tab", "comma", "semicolon", "space", "whitespace"] | None,
    typer.Option(help="Default: the one that fits.", rich_help_panel=_TABLES),
]
Coding = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=WORD,...",
        help="What the file writes for ancestral, derived, missing; of genotypes for 0, 1, 2, missing. Default: the "
        "one that fits.",
        rich_help_panel=_TABLES,
    ),
]
RowsOf = Annotated[
    Literal["snps", "individuals"] | None,
    typer.Option(help="What a row is. Default: as the sample sheet's names tell.", rich_help_panel=_TABLES),
]
Columns = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=N-N,...", help="Columns of each population, from 1.", rich_help_panel=_TABLES),
]
Schema = Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of experiments, for editors.")]


@app.command()
@guarded
def init(
    genotypes: Genotypes = None,
    table: Table = None,
    samples: Samples = None,
    populations: Populations = None,
    regions: Regions = None,
    accessible: Accessible = None,
    recombination_map: Map = None,
    model: Model = None,
    mutation_rate: Annotated[float, typer.Option(help="Per base and generation.")] = _MUTATION_RATE,
    generation_time: Annotated[float | None, typer.Option(help="Years.")] = None,
    window_length: Annotated[int, typer.Option(min=100, max=100_000_000, help="Base pairs.")] = _WINDOW_LENGTH,
    delimiter: Delimiter = None,
    coding: Coding = None,
    rows: RowsOf = None,
    columns: Columns = None,
    name: Annotated[str | None, typer.Option(help="Name of the experiment and its files.")] = None,
    example: Example = None,
    schema: Schema = False,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where to write.")] = Path(),
) -> None:
    """Write a commented experiment with first models for one's genomes or table of SNPs, or copy a shipped one."""
    from ganinfer.cli import show

    if schema:
        show.schema()
        return
    if (example is not None) + bool(genotypes) + (table is not None) != 1:
        fail(f"give either --genotypes FILE, or --table FILE, or --example NAME ({', '.join(_examples())})", USAGE)
    _check_name(name)
    of_genomes = {
        "--regions": regions, "--accessible": accessible, "--map": recombination_map, "--model": model,
        "--mutation-rate": None if mutation_rate == _MUTATION_RATE else mutation_rate,
        "--window-length": None if window_length == _WINDOW_LENGTH else window_length,
    }  # fmt: skip
    of_tables = {"--delimiter": delimiter, "--coding": coding, "--rows": rows, "--columns": columns}
    _check_options("--genotypes" if table is not None else "--table", of_genomes if table is not None else of_tables)
    from ganinfer import starting
    from ganinfer.cli import values

    if example is not None:
        show.written(starting.copy_example(example, output))
        return
    if table is not None:
        told = starting.Told(delimiter, rows, values.words("--coding", coding), values.words("--columns", columns))
        chosen = values.populations(populations or [])
        _write_table(starting.TableWish(table, samples, chosen, told, name, generation_time), output)
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


def _check_options(option: str, given: Mapping[str, object]) -> None:
    """Options that go with ``option`` alone, which was not given."""
    if there := [name for name, value in given.items() if value]:
        fail(f"{', '.join(there)}: only with {option}", USAGE)


#: Keys of an experiment that options of ``init`` stand for.
_KEYS = {
    "data.samples": "--samples", "data.populations": "--populations", "data.genotypes": "--genotypes",
    "data.regions": "--regions", "data.accessible": "--accessible", "data.recombination_map": "--map",
    "windows.length": "--window-length", "data.table.delimiter": "--delimiter", "data.table.coding": "--coding",
}  # fmt: skip


@contextmanager
def _told_as_options() -> Iterator[None]:
    """What is wrong is named as it was typed, not as the experiment that is being written would call it."""
    try:
        yield
    except ValueError as error:
        text = str(error)
        for key, option in _KEYS.items():
            text = text.replace(key, option)
        error.args = (text,)
        raise


def _write_table(wish: TableWish, output: Path) -> None:
    from ganinfer import starting
    from ganinfer.cli import show
    from ganinfer.runner.assembling import cache_folder

    if any(suffix in (".vcf", ".bcf") for suffix in wish.table.suffixes):
        fail(f"--table {wish.table}: a VCF is no text table; give it as --genotypes {wish.table}", USAGE)
    with _told_as_options():
        made = starting.write_table_experiment(wish, output, cache_folder())
    show.report(made.found, as_json=False)
    show.written(made.files)


def _write(wish: Wish, output: Path) -> None:
    from ganinfer import starting
    from ganinfer.cli import show
    from ganinfer.runner.assembling import cache_folder

    typer.echo("reading the genomes ...", err=True)
    with _told_as_options():
        made = starting.write_experiment(wish, output, cache_folder())
    show.report(made.found, as_json=False)
    show.written(made.files)
