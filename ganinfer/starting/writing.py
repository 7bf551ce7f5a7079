"""A commented experiment from genotypes and a sample sheet, with a first model scaled to their diversity."""

from __future__ import annotations

import gzip
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ganinfer.coalescent import MAX_MUTATION_RATE
from ganinfer.starting.files import StartingError, refuse_existing, write_all
from ganinfer.starting.models import KINDS, Diversity, FirstModel, first_model
from ganinfer.starting.text import commented, quoted, relative

if TYPE_CHECKING:
    from ganinfer.genomes import Genomes, GenomeSource

#: Individuals of each population in a first experiment, where there are more.
MAX_INDIVIDUALS = 20
#: Per base and generation; what is written unless told.
RECOMBINATION_RATE = 1e-8


@dataclass(frozen=True)
class Wish:
    """What the user asks for. Paths are relative to the working directory; rates per base and generation."""

    genotypes: tuple[Path, ...]
    samples: Path | None = None
    populations: Mapping[str, int | Literal["all"]] = field(default_factory=dict)
    regions: Path | None = None
    accessible: Path | Literal["from-genotypes"] | None = None
    recombination_map: Path | None = None
    model: str | None = None
    name: str | None = None
    mutation_rate: float = 1.25e-8
    generation_time: float | None = None
    window_length: int = 50_000


@dataclass(frozen=True)
class Written:
    """What was made: the files, the experiment first, and what was found in the genomes."""

    files: list[Path]
    found: dict[str, Any]


def write_experiment(wish: Wish, output: Path, cache: Path) -> Written:
    """Reads the genomes and writes NAME.yaml, NAME.demes.yaml and NAME.options.yaml into ``output``.

    What is read stays in ``cache``, where ``check`` and ``run`` find it unless the experiment is changed.
    Raises ValueError, before anything is written, for genomes that cannot be read and wishes that do not fit them.
    """
    from ganinfer import experiment

    _check_values(wish)
    name = wish.name or _name(wish.genotypes[0])
    refuse_existing(output, [f"{name}{end}" for end in (".yaml", ".demes.yaml", ".options.yaml")])
    if asked := _populations(wish):
        _kind(wish.model, list(asked))
    genomes = _open(wish, cache)
    chosen = _individuals(wish, genomes)
    kind = _kind(wish.model, list(chosen))
    summary = genomes.summary()
    oldest = max(samples.time for samples in genomes.samples)
    model = first_model(kind, list(chosen), _diversity(summary), wish.mutation_rate, oldest)
    text = _experiment_text(wish, name, output, genomes, chosen, kind, model)
    files = write_all(
        output,
        {
            f"{name}.yaml": text.encode(),
            f"{name}.demes.yaml": model.demes.encode(),
            f"{name}.options.yaml": model.options.encode(),
        },
        check=experiment.load,
    )
    return Written(files, _found(summary, chosen, kind, model))


def _check_values(wish: Wish) -> None:
    """What needs no genomes to be seen wrong."""
    if not 0 < wish.mutation_rate <= MAX_MUTATION_RATE:
        raise StartingError(
            f"--mutation-rate must be above 0 and at most {MAX_MUTATION_RATE:g} per base and generation, such as "
            f"1.25e-8, not {wish.mutation_rate:g}"
        )
    if wish.generation_time is not None and not 0 < wish.generation_time < math.inf:
        raise StartingError(f"--generation-time must be above 0 years, not {wish.generation_time:g}")
    if wish.model is not None and wish.model not in KINDS:
        raise StartingError(f"no model named {wish.model!r}; allowed: {', '.join(KINDS)}")


def _name(genotypes: Path) -> str:
    from ganinfer.experiment.problems import file_name

    name = genotypes.name
    for ending in (".gz", ".bgz", ".vcf", ".bcf", ".vcz", ".zarr", ".trees", ".tsz"):
        name = name.removesuffix(ending)
    return file_name(Path(name + ".yaml"))


def _open(wish: Wish, cache: Path) -> Genomes:
    """The genomes with every population that is wanted, in at least two blocks of windows: one a fold."""
    from ganinfer.experiment.settings import DEFAULT_BLOCK_LENGTH
    from ganinfer.genomes import GenomeSource, WindowSettings, open_genomes

    source = GenomeSource(
        genotypes=wish.genotypes,
        samples=wish.samples,
        populations=_populations(wish),
        regions=wish.regions,
        accessible=wish.accessible,
        recombination_map=wish.recombination_map,
    )
    _check_files(source)
    block_length = max(DEFAULT_BLOCK_LENGTH, wish.window_length)
    while True:
        windows = WindowSettings(length=wish.window_length, block_length=block_length)
        genomes = open_genomes(source, windows, cache)
        if len({window.block for window in genomes.windows}) > 1:
            return genomes
        if block_length == wish.window_length:
            raise StartingError(
                f"the genomes make {len(genomes.windows)} window of {wish.window_length:,} bases, two at least are "
                "needed, far from each other if possible: lower --window-length, or give more regions"
            )
        block_length = max(wish.window_length, block_length // 2)


def _populations(wish: Wish) -> Mapping[str, int | Literal["all"]]:
    """Whom the experiment will use, as far as that is known before the genotypes are read."""
    from ganinfer.genomes import read_samples

    if wish.populations or wish.samples is None or not wish.samples.exists():
        return wish.populations
    sizes: Counter[str] = Counter()
    for group in read_samples(wish.samples, {}):
        sizes[group.population] += group.num_individuals
    return {name: min(number, MAX_INDIVIDUALS) for name, number in sizes.items()}


def _check_files(source: GenomeSource) -> None:
    named = [*source.genotypes, source.samples, source.regions, source.accessible, source.recombination_map]
    for path in named:
        if isinstance(path, Path) and not path.exists():
            raise StartingError(f"{path}: no such file")


def _individuals(wish: Wish, genomes: Genomes) -> dict[str, int]:
    """How many of each population the experiment uses: as asked, else all up to :data:`MAX_INDIVIDUALS`."""
    found: dict[str, int] = {}
    for samples in genomes.samples:
        found[samples.population] = found.get(samples.population, 0) + samples.num_individuals
    return {name: n if name in wish.populations else min(n, MAX_INDIVIDUALS) for name, n in found.items()}


def _kind(wanted: str | None, populations: list[str]) -> str:
    """The model to write; raises where none is for that many populations."""
    fitting = [name for name, kind in KINDS.items() if kind.num_populations == len(populations)]
    shown = ", ".join(f"{name} ({kind.num_populations})" for name, kind in KINDS.items())
    if wanted is not None and wanted not in fitting:
        raise StartingError(
            f"model {wanted} is for {KINDS[wanted].num_populations} population(s), the data have {len(populations)}: "
            f"{', '.join(populations)}; models and their populations: {shown}; choose some with --populations"
        )
    if not fitting:
        raise StartingError(
            f"there is no first model for {len(populations)} populations ({', '.join(populations)}); choose one to "
            f"three of them, for example --populations {','.join(populations[:2])}, and extend the demes file later"
        )
    return wanted or fitting[0]


def _diversity(summary: Mapping[str, Any]) -> Diversity:
    populations = summary["diversity"]["populations"]
    pi = {name: values["pi"] for name, values in populations.items()}
    flat = [name for name, value in pi.items() if not value > 0]
    if flat:
        raise StartingError(f"no site segregates in {', '.join(flat)}: there is no diversity to scale a model to")
    fst: dict[tuple[str, str], float] = {}
    for pair, value in summary["diversity"]["fst"].items():
        a, b = (p for p in _pair(pair, list(pi)))
        fst[a, b] = fst[b, a] = value or 0.0
    return Diversity(pi, fst)


def _pair(text: str, names: list[str]) -> tuple[str, str]:
    """The two names of ``A,B``; names may hold commas."""
    return next((a, b) for a in names for b in names if f"{a},{b}" == text)


def _found(summary: Mapping[str, Any], chosen: Mapping[str, int], kind: str, model: FirstModel) -> dict[str, Any]:
    diversity = summary["diversity"]
    return {
        "populations": [
            {"population": name, "individuals": number, "pi": diversity["populations"][name]["pi"]}
            for name, number in chosen.items()
        ],
        "fst": diversity["fst"],
        "windows": summary["windows"]["kept"],
        "model": f"{kind}: {KINDS[kind].description}",
        "parameters": list(model.parameters),
        **({"notes": summary["notes"]} if summary.get("notes") else {}),
    }


# --- the text ---------------------------------------------------------------------------------------------------


def _experiment_text(
    wish: Wish, name: str, output: Path, genomes: Genomes, chosen: Mapping[str, int], kind: str, model: FirstModel
) -> str:
    """The experiment, each line with what it means."""
    lines = [
        "# An experiment for ganinfer. Paths are relative to this file. Next: ganinfer check, then ganinfer run.",
        "schema_version: 1",
        f"name: {quoted(name)}",
        "data:",
        *_data_lines(wish, output, genomes, chosen),
        *_window_lines(wish, genomes),
        "scenarios:",
        f"  {kind}:",
        *_scenario_lines(wish, name, model),
        commented(
            "budget: {simulated_windows: 60_000, rounds: 8}", "what a run may spend; minutes: 30 would bound its time"
        ),
        commented("execution: {executor: ray}", "or process, or serial; workers: 4 (default: one a core)"),
        commented("seed: 1", "the same seed gives the same answer"),
    ]
    return "\n".join(lines) + "\n"


def _rate(value: float) -> str:
    """``1.25e-8``."""
    return f"{value:g}".replace("e-0", "e-")


def _data_lines(wish: Wish, output: Path, genomes: Genomes, chosen: Mapping[str, int]) -> list[str]:
    populations = ", ".join(f"{quoted(name)}: {number}" for name, number in chosen.items())
    files = ", ".join(relative(path, output) for path in wish.genotypes)
    lines = [commented(f"  genotypes: [{files}]", "VCF, BCF, VCF Zarr, .trees; one or many")]
    if wish.samples:
        lines += [commented(f"  samples: {relative(wish.samples, output)}", "columns sample, population[, time]")]
    return [
        *lines,
        commented(f"  populations: {{{populations}}}", "individuals of each, or all"),
        _optional("regions", wish.regions, output, "regions.bed", "where there is data at all"),
        _optional("accessible", wish.accessible, output, "accessible.bed", "bases where variants can be called"),
        _optional(
            "recombination_map", wish.recombination_map, output, "map.txt.gz", "HapMap format, or {contig: file}"
        ),
        commented("  exclude: []", "BED files to leave out, such as selected loci"),
        commented("  ancestral: none", f"{_ancestral_keys(wish.genotypes[0])}none: folded"),
        commented("  # phased: false", f"do not use the haplotypes; else as genotypes say: {_said(genomes.phased)}"),
        commented("  singletons: keep", "drop: if they are under-called, as at low coverage"),
    ]


def _window_lines(wish: Wish, genomes: Genomes) -> list[str]:
    """``block_length`` stands there only where its default would make one block of all windows."""
    from ganinfer.experiment.settings import DEFAULT_BLOCK_LENGTH

    shape = f"length: {wish.window_length:_}, min_accessible: 0.5"
    block_length = genomes.settings.block_length
    if block_length >= DEFAULT_BLOCK_LENGTH:
        return [commented(f"windows: {{{shape}}}", "base pairs; share of accessible bases")]
    return [
        commented(
            f"windows: {{{shape}, block_length: {block_length:_}}}",
            f"blocks below {DEFAULT_BLOCK_LENGTH:_} are linked: give more regions if you can",
        )
    ]


def _said(phased: bool) -> str:
    return "phased" if phased else "unphased"


def _optional(key: str, path: Path | str | None, output: Path, example: str, comment: str) -> str:
    shown = relative(path, output) if isinstance(path, Path) else path
    return commented(f"  {key}: {shown}" if shown else f"  # {key}: {example}", comment)


def _ancestral_keys(path: Path) -> str:
    """A hint where the header of a VCF knows ancestral alleles."""
    if path.is_dir() or path.suffix not in (".gz", ".bgz", ".vcf"):
        return "REF, or an INFO key; "
    opener = open if path.suffix == ".vcf" else gzip.open
    with opener(path, "rt", encoding="utf-8", errors="replace") as stream:
        for line in stream:
            if not line.startswith("##"):
                break
            if line.startswith("##INFO=<ID=AA,"):
                return "AA: as the file's INFO says; "
    return "REF, or an INFO key; "


def _scenario_lines(wish: Wish, name: str, model: FirstModel) -> list[str]:
    rate = "map" if wish.recombination_map else _rate(RECOMBINATION_RATE)
    told = "slices of the map" if wish.recombination_map else "per base and generation; map, with a recombination_map"
    renamed = {label: deme for label, deme in model.labels.items() if label != deme}
    lines = [
        "    simulator: demes",
        commented(f"    model: {quoted(name + '.demes.yaml')}", "the shape, with starting values"),
        commented(f"    parameters: {quoted(name + '.options.yaml')}", "what is free, with bounds"),
    ]
    if renamed:
        pairs = ", ".join(f"{quoted(label)}: {deme}" for label, deme in renamed.items())
        lines += [commented(f"    demes: {{{pairs}}}", "population in the data: deme")]
    lines += [
        commented(
            f"    mutation_rate: {_rate(wish.mutation_rate)}",
            "per base and generation: check that it is your organism's",
        ),
        commented(f"    recombination_rate: {rate}", told),
    ]
    if wish.generation_time is not None:
        lines += [commented(f"    generation_time: {wish.generation_time:g}", "years")]
    return lines
