"""Text files of SNPs, a row or a column each, with delimiter and coding as declared: nothing is guessed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from ganinfer.genomes.loci.choosing import Snps
from ganinfer.genomes.loci.source import DELIMITERS, LOCUS, SnpTable
from ganinfer.genomes.samples import Individual
from ganinfer.genomes.source import GenomeError
from ganinfer.genomes.text import lines, shorten

#: Numbers of derived alleles to those of an individual's two chromosomes; the last row is for missing ones (-1).
_DOSAGES = np.array([[0, 0], [0, 1], [1, 1], [-1, -1]], dtype=np.int8)


class SnpTableReader:
    """A table, read: the constructor checks the file's shape, :meth:`read` its values."""

    def __init__(self, table: SnpTable) -> None:
        self.table = table
        self._rows: list[tuple[int, str | list[str]]] = list(lines(table.file))
        self._turned = [number for number, _ in self._rows] if table.rows == "individuals" else None
        if self._turned:
            self._rows = self._turn()
        first = self._rows.pop(0) if self._rows and table.header else None
        if not self._rows:
            raise GenomeError(
                f"{table.file}: no {self._row}{' follows the header' if first else ''}; each {self._row} is a SNP"
            )
        self._width = self._first_width()
        self.columns = self._names(first)
        per_individual = table.ploidy
        if len(self.columns) % per_individual:
            raise GenomeError(
                f"{table.file}: {len(self.columns)} columns of chromosomes, an odd number; with ploidy: 2 each "
                "individual has two columns side by side"
            )
        self.individuals = self._individuals()

    @property
    def ploidy(self) -> int:
        """Of the individuals: a genotype is a diploid's."""
        return 2 if self.table.values == "genotypes" else self.table.ploidy

    @property
    def named(self) -> bool:
        """Whether individuals have names, and not only numbers."""
        return self.table.header

    @property
    def _row(self) -> str:
        """What holds a SNP."""
        return "row" if self._turned is None else "column"

    def _place(self, number: int, across: int | None = None) -> str:
        """Where a row that holds a SNP stands in the file, and perhaps the value that is so many columns inside it."""
        if self._turned is None:
            return f"line {number}" + (f", column {across}" if across else "")
        return (f"line {self._turned[across - 1]}, " if across else "") + f"column {number}"

    def _cells(self, line: str | list[str]) -> list[str]:
        return line if isinstance(line, list) else line.split(DELIMITERS[self.table.delimiter])

    def _turn(self) -> list[tuple[int, str | list[str]]]:
        """Columns in the place of rows."""
        rows = [self._cells(line) for _, line in self._rows]
        for (number, _), cells in zip(self._rows, rows, strict=True):
            self._check_width(f"line {number}", cells, f"line {self._rows[0][0]}", len(rows[0]))
        return [(i, list(column)) for i, column in enumerate(zip(*rows, strict=True), start=1)]

    def _check_width(self, where: str, cells: Sequence[str], first: str, width: int) -> None:
        if len(cells) != width:
            raise GenomeError(
                f"{self.table.file}, {where}: {len(cells)} columns, {first} has {width}; all rows must have as many "
                f"(delimiter: {self.table.delimiter})"
            )

    def _first_width(self) -> int:
        number, line = self._rows[0]
        width, leading = len(self._cells(line)), len(self.table.leading)
        if width - leading >= 2:
            return width
        if isinstance(line, list):
            raise GenomeError(
                f"{self.table.file}: {width} row{'s' * (width > 1)}, of which {leading} "
                f"{'are' if leading != 1 else 'is'} leading; at least 2 of chromosomes or individuals must follow"
            )
        others = [
            name for name, sign in DELIMITERS.items()
            if name not in (self.table.delimiter, "whitespace") and len(line.split(sign)) - leading >= 2
        ]  # fmt: skip
        hint = f"; it holds more where the delimiter is {' or '.join(others)}" if others else ""
        raise GenomeError(
            f"{self.table.file}, line {number}: {width} column{'s' * (width > 1)} with the delimiter "
            f"{self.table.delimiter}, of which {leading} {'are' if leading != 1 else 'is'} leading; at least 2 of "
            f"chromosomes or individuals must follow{hint}"
        )

    def _names(self, header: tuple[int, str | list[str]] | None) -> tuple[str, ...]:
        """Names of the columns without the leading ones; their numbers without a header."""
        leading = len(self.table.leading)
        if header is None:
            return tuple(str(i + 1) for i in range(self._width - leading))
        names = [bare(cell) for cell in self._cells(header[1])]
        if len(names) not in (self._width, self._width - leading):
            besides = f" (or {self._width - leading}, without the leading ones)" if leading else ""
            raise GenomeError(
                f"{self.table.file}, line {header[0]}: the header names {len(names)} columns, line {self._rows[0][0]} "
                f"has {self._width}; it must name as many{besides}"
            )
        names = names[leading:] if len(names) == self._width else names
        if "" in names:
            at = names.index("") + 1 + (self._width - len(names))
            raise GenomeError(f"{self.table.file}, {self._place(header[0], at)}: the name is empty")
        return tuple(names)

    def _individuals(self) -> tuple[str, ...]:
        per_individual = self.table.ploidy
        if not self.named:
            return tuple(str(i + 1) for i in range(len(self.columns) // per_individual))
        for i in range(0, len(self.columns), per_individual):
            if len(set(self.columns[i : i + per_individual])) > 1:
                raise GenomeError(
                    f"{self.table.file}: columns {i + 1} and {i + 2} are called {self.columns[i]} and "
                    f"{self.columns[i + 1]}; with ploidy: 2 both columns of an individual bear its name"
                )
        individuals = self.columns[::per_individual]
        twice = [name for name, number in Counter(individuals).items() if number > 1]
        if twice:
            raise GenomeError(
                f"{self.table.file}: sample {shorten(twice)} is there twice in the header; names must differ"
            )
        return individuals

    def sheet(self) -> list[Individual]:
        """Individuals by population as the table's ``columns`` say, and in their order."""
        size, found = self.table.ploidy, []
        population_of = self.table.population_of
        if population_of and max(population_of) > len(self.columns):
            column = max(population_of)
            leading = f" after {len(self.table.leading)} leading" if self.table.leading else ""
            raise GenomeError(
                f"{self.table.file}: data.table.columns gives column {column} to {population_of[column]}, the rows "
                f"have {len(self.columns)}{leading}"
            )
        for i, name in enumerate(self.individuals):
            of = {population_of.get(column) for column in range(i * size + 1, (i + 1) * size + 1)}
            if len(of) > 1:
                raise GenomeError(
                    f"data.table.columns: columns {i * size + 1} and {i * size + 2} are one individual's (ploidy: 2); "
                    "they must be of the same population"
                )
            if (population := of.pop()) is not None:
                found.append(Individual(name, population))
        order = list(self.table.columns)
        return sorted(found, key=lambda individual: order.index(individual.population))

    def read(self, names: Sequence[str]) -> Snps:
        """All rows, for the individuals named; every value of the file is checked."""
        table = self.table
        codes = {word: code % 256 for word, code in table.alleles.items()}
        rows, loci = bytearray(), []
        for number, line in self._rows:
            cells = self._cells(line)
            self._check_width(f"line {number}", cells, f"line {self._rows[0][0]}", self._width)
            loci.append(self._locus(number, cells))
            values = cells[len(table.leading) :]
            try:
                rows += bytes(map(codes.__getitem__, values))
            except KeyError:
                rows += self._quoted(number, values, codes)
        matrix = np.frombuffer(bytes(rows), dtype=np.int8).reshape(len(self._rows), len(self.columns))
        index = {name: i for i, name in enumerate(self.individuals)}
        wanted = np.array([index[name] for name in names], dtype=np.int64)
        if table.values == "genotypes":
            genotypes = _DOSAGES[matrix[:, wanted]].reshape(len(matrix), 2 * len(wanted))
        else:
            genotypes = matrix[:, (wanted[:, None] * table.ploidy + np.arange(table.ploidy)).ravel()]
        numbering = {name: i for i, name in enumerate(dict.fromkeys(loci))}
        locus = np.array([numbering[name] for name in loci], dtype=np.int64)
        lines_of = np.array([number for number, _ in self._rows], dtype=np.int64)
        told = {"rows": len(matrix), "columns": len(self.columns)}
        return Snps(genotypes, locus, tuple(numbering), lines_of, table.values == "haplotypes", told=told)

    def _locus(self, number: int, cells: Sequence[str]) -> str:
        if LOCUS not in self.table.leading:
            return self._place(number)
        column = self.table.leading.index(LOCUS)
        name = bare(cells[column])
        if not name:
            raise GenomeError(f"{self.table.file}, {self._place(number, column + 1)}: the locus is empty")
        return name

    def _quoted(self, number: int, values: Sequence[str], codes: dict[str, int]) -> bytes:
        """A row with quotes or blanks around values."""
        words = [bare(value) for value in values]
        for column, value in enumerate(words, start=1):
            if value not in codes:
                written = shorten([repr(word) for word in codes], 8)
                at = column + len(self.table.leading)
                hint = ""
                if number == self._rows[0][0] and not self.table.header:
                    hint = f"; if the {'line' if self._turned is None else 'column'} is of names, say header: true"
                elif value == "" and (column == len(words) if self._turned is None else number == self._rows[-1][0]):
                    hint = f"; the line ends with a {self.table.delimiter}"
                raise GenomeError(
                    f"{self.table.file}, {self._place(number, at)}: {value[:40]!r} is none of the values of "
                    f"data.table.coding ({written}){hint}"
                )
        return bytes(codes[value] for value in words)


def bare(cell: str) -> str:
    """Without blanks and a pair of quotes around it."""
    cell = cell.strip()
    return cell[1:-1].strip() if len(cell) > 1 and cell[0] == cell[-1] == '"' else cell
