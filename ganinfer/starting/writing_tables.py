"""A first, commented experiment from a text table of SNPs: how it is read, and two scenarios to compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ganinfer.starting.files import StartingError, refuse_existing, write_all
from ganinfer.starting.layout import Layout, Told, layout
from ganinfer.starting.models import STORIES, FirstModel, first_story
from ganinfer.starting.text import commented, quoted, relative
from ganinfer.starting.writing import Written

if TYPE_CHECKING:
    from ganinfer.genomes import RealTable, SnpTable


@dataclass(frozen=True)
class TableWish:
    """What the user asks for; paths are relative to the working directory."""

    table: Path
    samples: Path | None = None
    populations: Mapping[str, int | Literal["all"]] = field(default_factory=dict)
    told: Told = field(default_factory=Told)
    name: str | None = None
    generation_time: float | None = None


def write_table_experiment(wish: TableWish, output: Path, cache: Path) -> Written:
    """Reads the table and writes NAME.yaml and the models of two scenarios into ``output``.

    Raises ValueError, before anything is written, for a table that cannot be read or understood.
    """
    from ganinfer import experiment, genomes

    name = wish.name or _name(wish.table)
    refuse_existing(output, [f"{name}.yaml"])
    individuals = _individuals(wish)
    found = layout(wish.table, wish.told, individuals)
    source = genomes.TableSource(found.table, wish.samples, dict(wish.populations))
    table = genomes.open_table(source, cache)
    populations = list(dict.fromkeys(samples.population for samples in table.samples))
    oldest = max(samples.time for samples in table.samples)
    models = {k: first_story(kind, populations, oldest) for k, kind in _stories(populations).items()}
    contents = {f"{name}.yaml": _text(wish, name, output, found, models).encode()}
    for kind, model in models.items():
        contents |= {
            f"{name}-{kind}.demes.yaml": model.demes.encode(),
            f"{name}-{kind}.options.yaml": model.options.encode(),
        }
    files = write_all(output, contents, check=experiment.load)
    return Written(files, _found(found, table, models))


def _name(table: Path) -> str:
    from ganinfer.experiment.problems import file_name

    name = table.name.removesuffix(".gz")
    return file_name(Path(f"{Path(name).stem}.yaml"))


def _individuals(wish: TableWish) -> list[str]:
    """Those of the sample sheet who are wanted; none without a sheet."""
    from ganinfer.genomes.samples import read_sheet

    for path in (wish.table, wish.samples):
        if path is not None and not path.exists():
            raise StartingError(f"{path}: no such file")
    if wish.samples is None:
        if not wish.told.columns and len(wish.populations) != 1:
            raise StartingError(
                f"{wish.table}: nothing says who is of which population: give --samples SHEET, or --columns such as "
                "A=1-20,B=21-40, or one population in --populations"
            )
        return []
    return [i.name for i in read_sheet(wish.samples) if not wish.populations or i.population in wish.populations]


def _stories(populations: list[str]) -> Mapping[str, Any]:
    if len(populations) not in STORIES:
        raise StartingError(
            f"there are no first scenarios for {len(populations)} populations ({', '.join(populations)}); choose one "
            f"or two of them, for example --populations {','.join(populations[:2])}, and extend the demes files later"
        )
    return STORIES[len(populations)]


def _found(found: Layout, table: RealTable, models: Mapping[str, FirstModel]) -> dict[str, Any]:
    said = found.table
    summary = table.summary()
    words = "; ".join(f"{key} {', '.join(words)}" for key, words in said.coding.items())
    values: dict[str, Any] = {"delimiter": said.delimiter, "values": said.values, "coding": words, "rows": said.rows}
    values |= {"header": said.header, "leading": said.leading, "ploidy": said.ploidy}
    stories = _stories(list(dict.fromkeys(samples.population for samples in table.samples)))
    return {
        "table": values,
        "read_off_the_table": [f"{key}: {reason}" for key, reason in found.why.items()],
        "samples": summary["samples"],
        "snps": summary["snps"],
        "loci": summary["loci"],
        "missing": summary["missing"],
        "scenarios": {
            kind: {"what": stories[kind].description, "parameters": ", ".join(model.parameters)}
            for kind, model in models.items()
        },
    }


# --- the text ---------------------------------------------------------------------------------------------------


def _text(wish: TableWish, name: str, output: Path, found: Layout, models: Mapping[str, FirstModel]) -> str:
    """The experiment, each line with what it means."""
    lines = [
        "# An experiment for ganinfer on SNPs at unlinked loci. Paths are relative to this file. Next: ganinfer check,",
        "# then ganinfer run. Values marked 'read off the table' were not told: make sure that they are right.",
        "schema_version: 1",
        f"name: {quoted(name)}",
        "data:",
        *_table_lines(found, output),
        *_who_lines(wish, output),
        *_phase_lines(found.table),
        commented("  ancestral: none", "known: where the allele that is called derived really is"),
        commented("  singletons: keep", "drop: if they are under-called, as at low coverage"),
        "loci:",
        commented("  genealogies: by-length", "alike: the number of SNPs of a locus was fixed beforehand (ms -s)"),
        commented("  min_call_rate: 0", "SNPs called in a smaller share of chromosomes are left out, on both sides"),
        commented("  min_minor_frequency: 0", "what the SNPs were chosen by, as of an array"),
        "# Both have an equal prior probability (weight: 1). SNPs that are given to vary know times and sizes only",
        "# relative to each other: the models' sizes are no estimates, and a mutation rate would say nothing.",
        "scenarios:",
        *(line for kind, model in models.items() for line in _scenario_lines(wish, f"{name}-{kind}", kind, model)),
        commented("comparison: {simulations: 1_000, tests: 200}", "tables simulated under each, to learn and to test"),
        commented("execution: {executor: ray}", "or process, or serial; workers: 4 (default: one a core)"),
        commented("seed: 1", "the same seed gives the same answer"),
    ]
    return "\n".join(lines) + "\n"


def _table_lines(found: Layout, output: Path) -> list[str]:
    table: SnpTable = found.table
    coding = ", ".join(f"{key}: {_words(words)}" for key, words in table.coding.items())
    values = {
        "delimiter": table.delimiter,
        "values": table.values,
        "coding": f"{{{coding}}}",
        "rows": table.rows,
        "header": str(table.header).lower(),
        "leading": quoted(list(table.leading)),
    }
    if table.values == "haplotypes":
        values["ploidy"] = str(table.ploidy)
    if table.columns:
        values["columns"] = "{" + ", ".join(f"{quoted(k)}: {_words(v)}" for k, v in table.columns.items()) + "}"
    why = {**_MEANING, **{key: f"read off the table: {reason}" for key, reason in found.why.items()}}
    lines = [f"    {key}: {value}" for key, value in values.items()]
    return [
        "  table:",
        f"    file: {relative(table.file, output)}",
        *(commented(line, why.get(key, "as told")) for line, key in zip(lines, values, strict=True)),
    ]


#: Of what is neither told nor read off by itself.
_MEANING = {
    "values": "haplotypes: a column is a chromosome; genotypes: a diploid individual",
    "leading": "columns in front; that called locus tells the locus of each SNP",
}


def _words(words: Sequence[str]) -> str:
    return quoted(words[0]) if len(words) == 1 else quoted(list(words))


def _who_lines(wish: TableWish, output: Path) -> list[str]:
    lines = []
    if wish.samples is not None:
        lines = [commented(f"  samples: {relative(wish.samples, output)}", "columns sample, population[, time]")]
    said = ", ".join(f"{quoted(name)}: {number}" for name, number in wish.populations.items())
    return [*lines, commented(f"  populations: {f'{{{said}}}' if said else 'all'}", "individuals of each, or all")]


def _phase_lines(table: SnpTable) -> list[str]:
    """Only where an individual has two columns: no table says whether their order means something."""
    if table.ploidy == 1:
        return []
    return [commented("  phased: true", "false: an individual's two columns are in no order")]


def _scenario_lines(wish: TableWish, files: str, kind: str, model: FirstModel) -> list[str]:
    renamed = {label: deme for label, deme in model.labels.items() if label != deme}
    lines = [
        f"  {kind}:",
        "    simulator: demes",
        commented(f"    model: {quoted(f'{files}.demes.yaml')}", "the shape"),
        commented(f"    parameters: {quoted(f'{files}.options.yaml')}", "what is free, with bounds"),
    ]
    if renamed:
        pairs = ", ".join(f"{quoted(label)}: {deme}" for label, deme in renamed.items())
        lines += [commented(f"    demes: {{{pairs}}}", "population in the data: deme")]
    if wish.generation_time is not None:
        lines += [commented(f"    generation_time: {wish.generation_time:g}", "years")]
    return lines
