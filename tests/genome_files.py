"""Small genotype files for the tests of the readers."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ganinfer.genomes import Genomes, GenomeSource, WindowSettings, open_genomes

EXPERIMENTS = Path(__file__).parent.parent / "experiments"

META = (
    "##fileformat=VCFv4.2",
    '##FILTER=<ID=q10,Description="low quality">',
    '##INFO=<ID=AA,Number=1,Type=String,Description="ancestral allele">',
    '##INFO=<ID=END,Number=1,Type=Integer,Description="end">',
    '##FORMAT=<ID=GT,Number=1,Type=String,Description="genotype">',
    '##FORMAT=<ID=DP,Number=1,Type=Integer,Description="depth">',
    '##FORMAT=<ID=GQ,Number=1,Type=Integer,Description="quality">',
    '##FORMAT=<ID=RGQ,Number=1,Type=Integer,Description="quality of being the reference">',
    '##FORMAT=<ID=MIN_DP,Number=1,Type=Integer,Description="least depth of a block">',
)


def vcf_text(
    records: Sequence[str], samples: Sequence[str] = ("a", "b", "c"), contigs: dict[str, int | None] | None = None
) -> str:
    """A VCF; a record is ``"1 5 A C 0|1 1/1 ."``, with ``FILTER=``, ``INFO=`` or ``FORMAT=`` words if need be."""
    contigs = {"1": 1000} if contigs is None else contigs
    lines = list(META)
    lines += [f"##contig=<ID={c}{f',length={n}' if n else ''}>" for c, n in contigs.items()]
    lines.append("\t".join(["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT", *samples]))
    lines += [_record(record) for record in records]
    return "\n".join(lines) + "\n"


def _record(text: str) -> str:
    words = text.split()
    fields = {"FILTER": "PASS", "INFO": ".", "FORMAT": "GT"}
    for word in [w for w in words if w.split("=")[0] in fields]:
        name, _, value = word.partition("=")
        fields[name] = value
        words.remove(word)
    contig, position, reference, alternative, *genotypes = words
    return "\t".join([contig, position, ".", reference, alternative, ".", *fields.values(), *genotypes])


def write_vcf(path: Path, records: Sequence[str], **options: Any) -> Path:
    """Written plain or, where the name ends in .gz, gzipped (not bgzipped)."""
    content = vcf_text(records, **options).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def convert(path: Path, target: Path, mode: str) -> Path:
    """A copy by htslib: mode ``wz`` bgzipped VCF, ``wb`` BCF, ``wbu`` uncompressed BCF."""
    from cyvcf2 import VCF, Writer

    vcf = VCF(str(path))
    writer = Writer(str(target), vcf, mode=mode)
    for variant in vcf:
        writer.write_record(variant)
    writer.close()
    return target


def write_sheet(path: Path, rows: dict[str, str], times: dict[str, float] | None = None) -> Path:
    lines = ["sample\tpopulation" + ("\ttime" if times else "")]
    lines += [f"{name}\t{population}" + (f"\t{times[name]}" if times else "") for name, population in rows.items()]
    path.write_text("\n".join(lines) + "\n")
    return path


def read(folder: Path, records: Sequence[str], length: int = 100, **source: Any) -> Genomes:
    """Genomes of a small VCF, all in population A unless ``samples`` or ``populations`` say otherwise."""
    options = {key: source.pop(key) for key in ("contigs",) if key in source}
    names = source.pop("names", ("a", "b", "c"))
    path = write_vcf(folder / "genotypes.vcf", records, samples=names, **options)
    source.setdefault("populations", {} if "samples" in source else {"A": "all"})
    return open_genomes(GenomeSource((path,), **source), WindowSettings(length), folder / "cache")
