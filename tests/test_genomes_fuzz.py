"""Readers under mutated files: whatever the bytes, genomes are read or one message says what is wrong.

A short run is part of the default tests; ``-m verification`` runs for GANINFER_FUZZ_SECONDS (600 without it).
"""

from __future__ import annotations

import os
import signal
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ganinfer.genomes import GenomeError, GenomeSource, WindowSettings, open_genomes
from tests.genome_files import convert, vcf_text

RECORDS = [f"{c} {p} A C 0|1:9 1|1:9 ./.:. FORMAT=GT:DP INFO=AA=C" for c in ("1", "2") for p in (5, 50, 51, 400, 999)]
VCF = vcf_text([*RECORDS, "2 1000 AT A,* 0|2:9 1|1:9 .:. FORMAT=GT:DP"], contigs={"1": 1000, "2": 1000}).encode()
BED = b"#comment\ntrack name=x\nchr1\t0\t500\n1\t600\t1000\nchr2\t0\t1000\textra\t3\n"
MAP = b"Chromosome Position Rate Map\n" + b"".join(
    b"%d %d 1.5 %f\n" % (c, p, p / 1e4) for c in (1, 2) for p in (1, 500, 1000)
)
SHEET = b"sample\tpopulation\ttime\na\tA\t0\nb\tA\t10\nc\tB\t0\n"
TOKENS = [
    b"\n",
    b"\n\n",
    b"\t",
    b"\0",
    b" ",
    b"-1",
    b"99999999999999999999",
    b"1e400",
    b"nan",
    b".",
    b"|",
    b"/",
    b"\xff",
    b"\xc3\xa9",
]
TOKENS += [
    b"##",
    b"#CHROM",
    b"<",
    b"*",
    b"<DEL>",
    b"0/0/0/0/0/0",
    b"2147483647",
    b"2147483648",
    b"\r\n",
    b"\x1f\x8b",
    b";",
    b",",
    b"GT",
]
SECONDS_EACH = 60


@st.composite
def mutations(draw, base: bytes) -> bytes:
    """A few edits of a file: bytes changed, cut out, doubled or moved, words put in, lines swapped, the end cut off."""
    data = base
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        size = draw(st.sampled_from([1, 1, 2, 5, 30]))
        match draw(st.sampled_from(["change", "insert", "cut", "double", "swap", "end"])):
            case "change":
                data = data[:at] + draw(st.binary(min_size=1, max_size=4)) + data[at + size :]
            case "insert":
                data = data[:at] + draw(st.sampled_from(TOKENS)) + data[at:]
            case "cut":
                data = data[:at] + data[at + size :]
            case "double":
                data = data[: at + size] + data[at:]
            case "swap":
                lines = data.split(b"\n")
                i, j = draw(st.integers(0, len(lines) - 1)), draw(st.integers(0, len(lines) - 1))
                lines[i], lines[j] = lines[j], lines[i]
                data = b"\n".join(lines)
            case "end":
                data = data[:at]
    return data


def attempt(**changed: bytes) -> None:
    """Open genomes of the base files, some of them changed; anything but success or a GenomeError of one line fails."""

    def too_long(*_):
        raise AssertionError(f"still reading after {SECONDS_EACH} s")

    files = {"genotypes.vcf": VCF, "regions.bed": BED, "map.txt": MAP, "samples.tsv": SHEET}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, content in {**files, **{k.replace("_", "."): v for k, v in changed.items()}}.items():
            (folder / file).write_bytes(content)
        source = GenomeSource(
            (folder / "genotypes.vcf",), folder / "samples.tsv", regions=folder / "regions.bed",
            exclude=(folder / "regions.bed",) if b"exclude" in changed.get("regions_bed", b"") else (),
            recombination_map=folder / "map.txt", ancestral="AA", min_depth=3,
        )  # fmt: skip
        signal.signal(signal.SIGALRM, too_long)
        signal.alarm(SECONDS_EACH)
        try:
            genomes = open_genomes(source, WindowSettings(100, 0.1), folder / "cache")
            for i in range(min(len(genomes.windows), 20)):
                genomes.haplotypes(i)
            genomes.summary()
        except GenomeError as error:
            message = str(error)
        else:
            message = "all was read, and that is fine too"
        finally:
            signal.alarm(0)
        assert "\n" not in message
        assert len(message) > 20
        assert not list((folder / "cache").glob(".building-*"))


@pytest.fixture(scope="module")
def bcf(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bcf")
    (folder / "x.vcf").write_bytes(VCF)
    return convert(folder / "x.vcf", folder / "x.bcf", "wbu").read_bytes()


def examples(number: int, derandomize: bool = True):
    quiet = (HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large)
    return settings(
        max_examples=number, derandomize=derandomize, deadline=None, database=None, suppress_health_check=quiet
    )


def test_the_files_before_mutation_are_good():
    attempt()
    with pytest.raises(AssertionError, match="still reading"):
        signal.raise_signal(signal.SIGALRM)


@examples(25)
@given(mutations(VCF))
def test_mutated_vcf(data):
    attempt(genotypes_vcf=data)


@examples(10)
@given(st.data())
def test_mutated_bcf(bcf, data):
    attempt(genotypes_vcf=data.draw(mutations(bcf)))


@examples(12)
@given(mutations(BED), mutations(MAP), mutations(SHEET), st.integers(0, 2))
def test_mutated_descriptions(bed, rates, sheet, which):
    name, data = [("regions_bed", bed), ("map_txt", rates), ("samples_tsv", sheet)][which]
    attempt(**{name: data})


@pytest.mark.verification
def test_mutated_files_for_long(bcf):
    end = time.monotonic() + float(os.environ.get("GANINFER_FUZZ_SECONDS", "600"))
    number = 0

    @examples(20, derandomize=False)
    @given(st.data())
    def one_round(data):
        nonlocal number
        number += 1
        kind = data.draw(st.sampled_from(["genotypes_vcf", "bcf", "regions_bed", "map_txt", "samples_tsv"]))
        base = {"genotypes_vcf": VCF, "bcf": bcf, "regions_bed": BED, "map_txt": MAP, "samples_tsv": SHEET}[kind]
        attempt(**{"genotypes_vcf" if kind == "bcf" else kind: data.draw(mutations(base))})

    while time.monotonic() < end:
        one_round()
        print(f"{number} mutated files, {end - time.monotonic():.0f} s left", flush=True)
