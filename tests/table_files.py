"""Small tables of SNPs for the tests of their readers."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ganinfer.genomes import Alignments, LociChoice, RealTable, SnpArrays, SnpTable, TableSource, open_table

DATA = Path(__file__).parent / "data"
HAPLOTYPES = {"ancestral": ("0",), "derived": ("1",), "missing": ("NA",)}
GENOTYPES = {"0": ("0",), "1": ("1",), "2": ("2",), "missing": ("NA",)}


def write(path: Path, rows: Sequence[Sequence[Any]], delimiter: str = "\t") -> Path:
    path.write_text("".join(delimiter.join(map(str, row)) + "\n" for row in rows))
    return path


def opened(files: SnpTable | Alignments | SnpArrays, **source: Any) -> RealTable:
    """The table, all of population A unless ``samples``, ``populations`` or columns say otherwise."""
    if "samples" not in source and not getattr(files, "columns", None):
        source.setdefault("populations", {"A": "all"})
    choice = source.pop("choice", LociChoice())
    with tempfile.TemporaryDirectory() as cache:
        return open_table(TableSource(files, choice=choice, **source), Path(cache))


def table(path: Path, **options: Any) -> SnpTable:
    """A tab separated table of haplotypes, unless ``options`` say otherwise."""
    values = options.setdefault("values", "haplotypes")
    options.setdefault("coding", HAPLOTYPES if values == "haplotypes" else GENOTYPES)
    return SnpTable(path, options.pop("delimiter", "tab"), **options)


def fasta(path: Path, sequences: Mapping[str, str]) -> Path:
    path.write_text("".join(f">{name} some words\n{text}\n" for name, text in sequences.items()))
    return path


def nexus(path: Path, sequences: Mapping[str, str], interleave: int = 0) -> Path:
    """With ``interleave``, in blocks of so many columns."""
    length = len(next(iter(sequences.values())))
    step = interleave or max(length, 1)
    blocks = [
        "\n".join(f"'{name}'  {text[start : start + step]}" for name, text in sequences.items())
        for start in range(0, length, step)
    ]
    path.write_text(
        "#NEXUS\n[a comment]\nbegin data;\n"
        f"  dimensions ntax={len(sequences)} nchar={length};\n"
        f"  format datatype=dna missing=? gap=-{' interleave' if interleave else ''};\n"
        "  matrix\n" + "\n\n".join(blocks) + "\n;\nend;\n"
    )
    return path


def npz(path: Path, snps: np.ndarray, positions: np.ndarray | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    positions = np.arange(snps.shape[1]) * 1000 if positions is None else positions
    np.savez_compressed(path, SNP=snps, POS=positions)
    return path
