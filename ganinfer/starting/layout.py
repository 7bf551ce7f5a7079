"""How a text table of SNPs is laid out, as far as its words tell; what they leave open is refused, not guessed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ganinfer.genomes.loci.snp_table import bare
from ganinfer.genomes.loci.source import DELIMITERS, LOCUS, MISSING, SnpTable
from ganinfer.genomes.text import lines, shorten
from ganinfer.starting.files import StartingError

#: Words for a missing call that mean nothing else; the numbers only where the others are numbers of derived alleles.
_MISSING = ("NA", "N/A", "na", "NaN", "nan", ".", "?", "-")
_MISSING_NUMBERS = ("-9", "9")
_PHASELESS = {"0/0": "0", "0/1": "1", "1/0": "1", "1/1": "2", "0|0": "0", "0|1": "1", "1|0": "1", "1|1": "2"}
_MISSING_PAIRS = ("./.", ".|.")
_KNOWN = {"0", "1", "2", "-1", *_MISSING, *_MISSING_NUMBERS, *_PHASELESS, *_MISSING_PAIRS}

Coding = Mapping[str, tuple[str, ...]]
Grid = list[list[str]]


@dataclass(frozen=True)
class Told:
    """What users say of a table; what they don't is read off it."""

    delimiter: str | None = None
    rows: str | None = None
    coding: Coding = field(default_factory=dict)
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Layout:
    """A table with all that is needed to read it; ``why`` says by key what a value was read off, as a clause."""

    table: SnpTable
    why: Mapping[str, str]


@dataclass(frozen=True)
class _Block:
    """Where the calls stand once rows are SNPs: below a header or not, behind leading columns."""

    header: bool
    leading: int
    why: str


def layout(path: Path, told: Told, individuals: Sequence[str]) -> Layout:
    """The layout of a table; ``individuals`` are those of the sample sheet, none without one.

    Raises :class:`StartingError` where the table leaves something open, naming the option that says it.
    """
    rows = [line for _, line in lines(path)]
    if len(rows) < 2:
        raise StartingError(f"{path}: {len(rows)} lines; a table has a row a SNP or individual, two at least")
    why: dict[str, str] = {}
    delimiter = told.delimiter or _delimiter(path, rows, why)
    grid = _grid(path, rows, delimiter)
    direction = told.rows or _direction(path, grid, told, individuals, why)
    if direction == "individuals":
        grid = [list(column) for column in zip(*grid, strict=True)]
    block = _block(path, grid, told, individuals)
    why["header"] = block.why
    body = [row[block.leading :] for row in grid[block.header :]]
    values, coding = _coding(path, {word for row in body for word in row}, told.coding, why)
    names = grid[0][block.leading :] if block.header else []
    ploidy = _ploidy(len(body[0]), names, individuals, why) if values == "haplotypes" else 1
    leading = _leading(grid, block, why)
    table = SnpTable(
        path, delimiter, values, coding, block.header, leading, ploidy, told.columns, direction  # type: ignore[arg-type]
    )  # fmt: skip
    return Layout(table, why)


def _delimiter(path: Path, rows: Sequence[str], why: dict[str, str]) -> str:
    """The only one with which all lines but perhaps the header have as many columns, two at least."""
    widths = {name: _width(rows, sign) for name, sign in DELIMITERS.items()}
    fitting = [name for name in ("tab", "comma", "semicolon") if widths[name]]
    # A run of blanks is told from one blank only where both are needed.
    fitting = fitting or [name for name in ("space", "whitespace") if widths[name]][:1]
    if len(fitting) != 1:
        found = f"it may be {' or '.join(fitting)}" if fitting else f"none of {', '.join(DELIMITERS)} gives equal rows"
        raise StartingError(f"{path}: cannot tell the delimiter: {found}; say it with --delimiter")
    why["delimiter"] = f"with it, all rows have {widths[fitting[0]]} columns"
    return fitting[0]


def _width(rows: Sequence[str], sign: str | None) -> int:
    """Columns of all rows after the first, 0 where they differ or are fewer than two."""
    counts = {len(row.split(sign)) for row in rows[1:]}
    width = counts.pop()
    return width if not counts and width > 1 and len(rows[0].split(sign)) <= width else 0


def _grid(path: Path, rows: Sequence[str], delimiter: str) -> Grid:
    """All cells; a header that leaves out the leading columns, as R writes it, has empty ones in their place."""
    width = _width(rows, DELIMITERS[delimiter])
    if not width:
        raise StartingError(
            f"{path}: with the delimiter {delimiter} its rows have different numbers of columns, or one"
        )
    grid = [[bare(cell) for cell in row.split(DELIMITERS[delimiter])] for row in rows]
    grid[0] = [""] * (width - len(grid[0])) + grid[0]
    return grid


def _direction(path: Path, grid: Grid, told: Told, individuals: Sequence[str], why: dict[str, str]) -> str:
    """``snps`` or ``individuals``: what a row is."""
    if told.columns:
        why["rows"] = "--columns numbers chromosomes or individuals"
        return "snps"
    across, down = set(individuals) <= set(grid[0]), set(individuals) <= {row[0] for row in grid}
    if individuals and across != down:
        why["rows"] = f"the sample sheet's individuals stand in the first {'line' if across else 'column'}"
        return "snps" if across else "individuals"
    if individuals and _numbered(individuals):
        sizes = (len(individuals), 2 * len(individuals))
        across, down = any(_fits(grid[0], n) for n in sizes), len(grid) in sizes
        if across != down:
            why["rows"] = f"the sheet numbers {len(individuals)} individuals, as {'columns' if across else 'rows'} do"
            return "snps" if across else "individuals"
    absent = [name for name in individuals if name not in grid[0]]
    said = f": {shorten(absent, 3)} of the sample sheet stand neither in its first line nor column" if absent else ""
    raise StartingError(
        f"{path}: cannot tell whether a row is a SNP or an individual{said}; say --rows snps or --rows individuals"
    )


def _numbered(individuals: Sequence[str]) -> bool:
    return set(individuals) == {str(i + 1) for i in range(len(individuals))}


def _fits(first: Sequence[str], size: int) -> bool:
    """Whether a row may have so many calls behind leading columns that are no calls."""
    return len(first) >= size and all(word not in _KNOWN for word in first[: len(first) - size])


def _block(path: Path, grid: Grid, told: Told, individuals: Sequence[str]) -> _Block:
    if individuals and set(individuals) <= set(grid[0]):
        first = min(grid[0].index(name) for name in individuals)
        return _Block(True, first, "it names the sample sheet's individuals")
    known = {word for words in told.coding.values() for word in words} or _KNOWN
    leading = len(grid[0])
    while leading and all(row[leading - 1] in known for row in grid[1:]):
        leading -= 1
    if leading == len(grid[0]):
        odd = sorted({row[-1] for row in grid[1:]} - known)
        raise StartingError(
            f"{path}: the words {shorten(map(repr, odd))} are no coding that is known; say --coding, such as --coding "
            "ancestral=A,derived=B,missing=NA (of bases it would be one for all SNPs: those are read from a VCF, or "
            "from alignments)"
        )
    header = any(word not in known for word in grid[0][leading:])
    return _Block(header, leading, "its words are no calls" if header else "its words are calls")


def _coding(path: Path, words: Collection[str], given: Coding, why: dict[str, str]) -> tuple[str, Coding]:
    """What a column is, ``haplotypes`` or ``genotypes``, and the file's words for each number of derived alleles."""
    if given:
        return ("haplotypes" if "derived" in given else "genotypes"), given
    found = sorted(words)
    missing = [word for word in found if word in (*_MISSING, *_MISSING_PAIRS)]
    calls = {word for word in found if word not in missing}
    if {"0", "1"} <= calls:
        missing += [word for word in _MISSING_NUMBERS if word in calls]
        calls -= set(_MISSING_NUMBERS)
    if {"0", "1", "2"} < calls:
        missing += [word for word in ("-1",) if word in calls]
        calls -= {"-1"}
    why["coding"] = f"its words are {shorten(found, 12)}"
    if calls == {"0", "1"}:
        return "haplotypes", _with_missing({"ancestral": ("0",), "derived": ("1",)}, missing)
    if calls == {"0", "1", "2"}:
        return "genotypes", _with_missing({n: (n,) for n in "012"}, missing)
    if {"0", "2"} <= {_PHASELESS.get(word) for word in calls} and calls <= set(_PHASELESS):
        written = {n: tuple(w for w in sorted(calls) if _PHASELESS[w] == n) for n in "012"}
        written["1"] = written["1"] or ("0/1",)  # nobody is heterozygous, and a coding names all three
        return "genotypes", _with_missing(written, missing)
    raise StartingError(
        f"{path}: cannot tell the coding of the words {shorten(map(repr, found), 8)}{_readings(calls)}; say it, such "
        "as --coding ancestral=0,derived=1,missing=NA of chromosomes, or --coding 0=0,1=1,2=2,missing=NA of genotypes"
    )


def _with_missing(coding: dict[str, tuple[str, ...]], missing: Sequence[str]) -> Coding:
    return {**coding, MISSING: tuple(missing)} if missing else coding


def _readings(calls: Collection[str]) -> str:
    if set(calls) == {"-1", "0", "1"}:
        return ", of which -1 or 0 may be the missing one"
    return ""


def _ploidy(width: int, names: Sequence[str], individuals: Sequence[str], why: dict[str, str]) -> int:
    """Columns of chromosomes that are one individual's."""
    if names and width % 2 == 0 and list(names[::2]) == list(names[1::2]):
        why["ploidy"] = "two columns side by side bear each name"
        return 2
    if not names and individuals and width == 2 * len(individuals):
        why["ploidy"] = f"{width} columns for {len(individuals)} individuals of the sample sheet"
        return 2
    why["ploidy"] = "each column is taken for an individual; 2 where two side by side are one's"
    return 1


def _leading(grid: Grid, block: _Block, why: dict[str, str]) -> tuple[str, ...]:
    """Names of the leading columns: as the header has them, else numbers; ``locus`` where it says so."""
    given = grid[0][: block.leading] if block.header else [""] * block.leading
    names: list[str] = []
    for i, word in enumerate(given):
        name = LOCUS if word.lower() == LOCUS else word or f"column{i + 1}"
        names.append(name if name not in names else f"column{i + 1}")
    if names:
        why["leading"] = _of_loci(names, grid[block.header :])
    return tuple(names)


def _of_loci(names: Sequence[str], body: Grid) -> str:
    if LOCUS in names:
        return "locus tells the locus of each SNP"
    repeated = [name for i, name in enumerate(names) if len({row[i] for row in body}) < len(body)]
    hint = f"; {shorten(repeated)} repeat{'s' * (len(repeated) == 1)} words: call it locus if it tells loci"
    return f"each SNP is taken for a locus of its own{hint if repeated else ''}"
