"""Alignments of a few loci in FASTA or NEXUS: columns with two bases among the chosen sequences are SNPs."""

from __future__ import annotations

import io
import warnings
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ganinfer.genomes.loci.choosing import Snps
from ganinfer.genomes.loci.source import Alignments
from ganinfer.genomes.source import GenomeError
from ganinfer.genomes.text import lines, shorten

INVARIANT = "invariant"
SEVERAL = "more than two bases"
GAP = "with a gap"
UNKNOWN = "with an unknown base"
NO_ANCESTOR = "ancestral base unknown or neither of the two"

_BASES = "ACGT"
_GAP, _MISSING, _INVALID, _HETEROZYGOUS = 20, 21, 22, 8
#: Codes of two bases; of three or four, they are unknown ones.
_PAIRS = {"M": "AC", "R": "AG", "W": "AT", "S": "CG", "Y": "CT", "K": "GT"}
_UNKNOWN = "N?XVHDB"


def _codes() -> np.ndarray:
    codes = np.full(256, _INVALID, dtype=np.uint8)
    for i, base in enumerate(_BASES):
        codes[ord(base)] = codes[ord(base.lower())] = i
    for i, code in enumerate(_PAIRS):
        codes[ord(code)] = codes[ord(code.lower())] = _HETEROZYGOUS + i
    for code in _UNKNOWN:
        codes[ord(code)] = codes[ord(code.lower())] = _MISSING
    codes[ord("U")] = codes[ord("u")] = codes[ord("T")]
    codes[ord("-")] = _GAP
    return codes


_CODES = _codes()
#: The two bases, 0 to 3, of each code; those of unknown ones and gaps are 255.
_TWO = np.full((_INVALID + 1, 2), 255, dtype=np.uint8)
_TWO[:4] = np.arange(4)[:, None]
_TWO[_HETEROZYGOUS : _HETEROZYGOUS + len(_PAIRS)] = [[_BASES.index(base) for base in pair] for pair in _PAIRS.values()]


class AlignmentsReader:
    """All files, read and checked; who is in them, and the SNPs of some of these."""

    named = True

    def __init__(self, source: Alignments) -> None:
        self.source = source
        self._loci = [_Locus(path, source) for path in source.files]

    @property
    def ploidy(self) -> int:
        return 2 if self.source.values == "genotypes" or self.source.suffixes else 1

    @cached_property
    def individuals(self) -> tuple[str, ...]:
        """In order of first appearance."""
        return tuple(dict.fromkeys(name for locus in self._loci for name in locus.individuals))

    def read(self, names: Sequence[str]) -> Snps:
        parts = [locus.snps(names) for locus in self._loci]
        dropped: Counter[str] = Counter()
        for part in parts:
            dropped += part[2]
        lengths = _thinned([part[3] for part in parts], sum(len(p[1]) for p in parts), sum(p[4] for p in parts))
        told: dict[str, Any] = {
            "lengths": {locus.path.name: locus.length for locus in self._loci},
            "columns": {
                "read": sum(locus.length for locus in self._loci),
                "kept": sum(len(p[1]) for p in parts),
                "dropped": dict(dropped.most_common()),
            },
        }
        if absent := {l.path.name: n for l in self._loci if (n := [x for x in names if x not in l.individuals])}:  # noqa: E741
            told["absent"] = absent
        return Snps(
            np.concatenate([part[0] for part in parts]),
            np.repeat(np.arange(len(parts)), [len(part[1]) for part in parts]),
            tuple(str(locus.path) for locus in self._loci),
            np.concatenate([part[1] + 1 for part in parts]),
            self.source.values == "haplotypes",
            left_out="columns left out: " + (", ".join(f"{n:,} {why}" for why, n in dropped.items()) or "none"),
            told=told,
            lengths=lengths,
        )


def _thinned(lengths: Sequence[int], kept: int, odd: int) -> np.ndarray:
    """Bases of each locus, less the share of SNPs that are ``odd``: their ancestor has a base that nobody else has.

    Such SNPs are lost on the real side only. Losing a share of mutations at random is as good as fewer bases.
    """
    share = kept / max(kept + odd, 1) if odd else 1.0
    return np.maximum(np.round(share * np.array(lengths)), 1).astype(np.int64)


class _Locus:
    """One file."""

    def __init__(self, path: Path, source: Alignments) -> None:
        self.path, self.source = path, source
        sequences = _sequences(path)
        self.length = len(next(iter(sequences.values())))
        self._check_lengths(sequences)
        self.outgroup = self._take_outgroup(sequences)
        self._coded_sequences = {name: self._coded(name, text) for name, text in sequences.items()}
        self.individuals = self._find_individuals()

    def _check_lengths(self, sequences: dict[str, str]) -> None:
        first = next(iter(sequences))
        if self.length == 0:
            raise GenomeError(f"{self.path}: sequence {first} is empty; an alignment has at least one column")
        for name, text in sequences.items():
            if len(text) != self.length:
                raise GenomeError(
                    f"{self.path}: sequence {name} has {len(text)} bases, {first} has {self.length}; aligned sequences "
                    "are of equal length"
                )

    def _take_outgroup(self, sequences: dict[str, str]) -> np.ndarray | None:
        name = self.source.outgroup
        if name is None:
            return None
        if name not in sequences:
            raise GenomeError(
                f"{self.path}: no sequence is called {name} (data.alignments.outgroup); there are {shorten(sequences)}"
            )
        if len(sequences) == 1:
            raise GenomeError(f"{self.path}: no sequence beside {name}, the outgroup")
        return self._coded(name, sequences.pop(name))

    def _coded(self, name: str, text: str) -> np.ndarray:
        codes = _CODES[np.minimum(np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32), 255)]
        bad = codes == _INVALID
        if self.source.values == "haplotypes" and name != self.source.outgroup:
            bad |= (codes >= _HETEROZYGOUS) & (codes < _GAP)
        if bad.any():
            column = int(bad.argmax())
            code = text[column]
            why = (
                "is a code of two bases, and a sequence is one chromosome; where it is a diploid individual, say "
                "values: genotypes"
                if code.upper() in _PAIRS
                else "is no base; A, C, G, T, IUPAC codes, - and ? are allowed"
            )
            raise GenomeError(f"{self.path}: sequence {name}, column {column + 1}: {code!r} {why}")
        return codes

    def _find_individuals(self) -> dict[str, tuple[str, ...]]:
        """The sequences of each individual."""
        suffixes = self.source.suffixes
        if not suffixes:
            return {name: (name,) for name in self._coded_sequences}
        found: dict[str, dict[str, str]] = {}
        for name in self._coded_sequences:
            suffix = next((s for s in suffixes if name.endswith(s) and name != s), None)
            if suffix is None:
                raise GenomeError(
                    f"{self.path}: sequence {name} ends neither in {suffixes[0]} nor in {suffixes[1]} "
                    "(data.alignments.suffixes)"
                )
            found.setdefault(name.removesuffix(suffix), {})[suffix] = name
        for individual, parts in found.items():
            if len(parts) < 2:
                there = next(iter(parts.values()))
                raise GenomeError(f"{self.path}: individual {individual} has the sequence {there} only, it needs two")
        return {individual: tuple(parts[s] for s in suffixes) for individual, parts in found.items()}

    def snps(self, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray, Counter[str], int, int]:
        """Genotypes of the individuals named (num_snps, num_chromosomes), the SNPs' columns from 0, and what fell.

        With these, the columns in which a SNP would have been seen, variable or not, and how many SNPs fell because the
        ancestor's base is known and neither of the two.
        """
        present = [name in self.individuals for name in names]
        if not any(present):
            raise GenomeError(
                f"{self.path}: none of the individuals chosen is there; it has {shorten(self.individuals)}"
            )
        rows = [self._coded_sequences[s] for name in names if name in self.individuals for s in self.individuals[name]]
        codes = np.stack(rows)
        bases = self._chromosomes(codes)
        seen = np.stack([(bases == base).any(axis=0) for base in range(4)])
        reasons, pair = self._reasons(codes, seen)
        columns = np.flatnonzero(reasons == "")
        first, second = pair[0, columns], pair[1, columns]
        part = bases[:, columns]
        coded = np.where(part == first, 0, np.where(part == second, 1, -1)).astype(np.int8)
        per_individual = 2 if self.source.values == "genotypes" or self.source.suffixes else 1
        genotypes = np.full((len(columns), len(names) * per_individual), -1, dtype=np.int8)
        genotypes[:, np.repeat(present, per_individual)] = coded.T
        odd = (reasons == NO_ANCESTOR) & (self.outgroup < 4) if self.outgroup is not None else np.zeros(0, dtype=bool)
        return genotypes, columns, Counter(r for r in reasons.tolist() if r), self._usable(codes, bases), int(odd.sum())

    def _usable(self, codes: np.ndarray, bases: np.ndarray) -> int:
        """Columns in which a SNP would have been seen."""
        known = (codes < _GAP).all(axis=0) if self.source.incomplete == "drop" else (bases < 4).sum(axis=0) > 1
        if self.outgroup is not None:
            known &= self.outgroup < 4
        return int(known.sum())

    def _chromosomes(self, codes: np.ndarray) -> np.ndarray:
        """Bases 0 to 3 of each chromosome, 255 unknown; a diploid's two side by side."""
        if self.source.values == "haplotypes":
            return _TWO[codes, 0]
        return _TWO[codes].transpose(0, 2, 1).reshape(2 * len(codes), -1)

    def _reasons(self, codes: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Why each column is no SNP, empty where it is one, and its two bases, the ancestral one first."""
        number = seen.sum(axis=0)
        pair = np.stack([seen.argmax(axis=0), 3 - seen[::-1].argmax(axis=0)])
        reasons = np.full(self.length, "", dtype=object)
        if self.outgroup is not None:
            ancestral = self.outgroup
            reasons[(ancestral != pair[0]) & (ancestral != pair[1])] = NO_ANCESTOR
            swapped = ancestral == pair[1]
            pair[:, swapped] = pair[::-1, swapped]
        if self.source.incomplete == "drop":
            reasons[(codes == _MISSING).any(axis=0)] = UNKNOWN
            reasons[(codes == _GAP).any(axis=0)] = GAP
        reasons[number > 2] = SEVERAL
        reasons[number < 2] = INVARIANT
        return reasons, pair


def _sequences(path: Path) -> dict[str, str]:
    """Sequences by name, in the file's order; the format is told by the first line."""
    rows = list(lines(path))
    if not rows:
        raise GenomeError(f"{path}: the file is empty; FASTA begins with >, NEXUS with #NEXUS")
    start = rows[0][1].lstrip()
    if start.startswith(">"):
        return _fasta(path, rows)
    if start[:6].upper() == "#NEXUS":
        return _nexus(path, "\n".join(line for _, line in rows))
    raise GenomeError(f"{path}: begins with {start[:20]!r}; FASTA begins with >, NEXUS with #NEXUS")


def _fasta(path: Path, rows: Sequence[tuple[int, str]]) -> dict[str, str]:
    from Bio.SeqIO.FastaIO import SimpleFastaParser

    found: dict[str, str] = {}
    for title, sequence in SimpleFastaParser(io.StringIO("\n".join(line.lstrip() for _, line in rows) + "\n")):
        name = title.split(maxsplit=1)[0] if title.strip() else ""
        if not name:
            raise GenomeError(f"{path}: sequence {len(found) + 1} has no name after >")
        if name in found:
            raise GenomeError(f"{path}: sequence {name} is there twice; names must differ")
        found[name] = "".join(sequence.split())
    return found


def _nexus(path: Path, text: str) -> dict[str, str]:
    """By Biopython's parser, which meets files that break its rules with errors of any kind, or with other contents:
    so whatever it raises is a mistake in the file, and what it returns is compared with what the file declares."""
    from Bio.Nexus.Nexus import Nexus

    try:
        nexus = Nexus()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            nexus.read(io.StringIO(text))
    except RecursionError:
        raise GenomeError(f"{path}: not valid NEXUS: brackets nested too deep") from None
    except Exception as error:
        said = " ".join(str(error).split()) or "the matrix does not hold what its dimensions say"
        raise GenomeError(f"{path}: not valid NEXUS: {said[:200]}") from None
    matrix = dict(nexus.matrix or {})
    if not matrix:
        raise GenomeError(f"{path}: no block data or characters with a matrix; that is where the alignment stands")
    if str(nexus.datatype).lower() not in ("dna", "rna", "nucleotide"):
        raise GenomeError(f"{path}: datatype={nexus.datatype}; SNPs are read from dna, rna or nucleotide")
    if len(matrix) != nexus.ntax:
        raise GenomeError(f"{path}: {len(matrix)} sequences, the dimensions say ntax={nexus.ntax}")
    signs = str.maketrans({str(nexus.gap or "-"): "-", str(nexus.missing or "?"): "?"})
    return {str(name): str(sequence).translate(signs) for name, sequence in matrix.items()}
