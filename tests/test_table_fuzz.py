"""Readers of tables under mutated files: whatever the bytes, a table is read or one message says what is wrong.

A short run is part of the default tests; ``-m verification`` runs for GANINFER_FUZZ_SECONDS (600 without it).
"""

from __future__ import annotations

import gzip
import io
import os
import signal
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganinfer.genomes import Alignments, GenomeError, LociChoice, SnpArrays
from tests.table_files import opened, table
from tests.test_genomes_fuzz import SECONDS_EACH, examples, mutations

TABLE = b"id\tlocus\ta\tb\tc\nx\tl1\t0\t1\t2\ny\tl1\t0\tNA\t0\nz\tl2\t1\t1\t0\n"
FASTA = b">a some words\nACGTN-\nAC\n>b\nACCTRA\nGC\n>c\nAAGTAA\nAC\n"
NEXUS = (
    b"#NEXUS\n[comment]\nbegin taxa;\n dimensions ntax=3;\n taxlabels a b c;\nend;\nbegin characters;\n"
    b" dimensions nchar=6;\n format datatype=dna missing=? gap=- matchchar=. interleave;\n matrix\n"
    b"a ACG\nb ..T\n'c' A?-\n\na TAG\nb ...\n'c' T.C\n;\nend;\nbegin sets;\n charset x = 1-3;\nend;\n"
)
SHEET = b"sample\tpopulation\ttime\na\tA\t0\nb\tA\t10\nc\tB\t0\n"
CSV = b"scenario_idx,mu,n_replicates\n0,1e-8,1\n1,2e-8,1\n"


def npz_bytes(save) -> bytes:
    buffer = io.BytesIO()
    save(buffer, SNP=np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1]], dtype=np.uint8), POS=np.array([0.1, 0.5, 0.7]))
    return buffer.getvalue()


FILES = {
    "table": TABLE,
    "turned": b"id\tx\ty\tz\nlocus\tl1\tl1\tl2\na\t0\t0\t1\nb\t1\tNA\t1\nc\t2\t0\t0\n",
    "gzipped": gzip.compress(TABLE),
    "fasta": FASTA,
    "nexus": NEXUS,
    "npz": npz_bytes(np.savez),
    "packed": npz_bytes(np.savez_compressed),
    "sheet": SHEET,
    "csv": CSV,
}


def attempt(kind: str, content: bytes) -> None:
    """Open a table of which one file is ``content``; anything but success or a GenomeError of one line fails."""

    def too_long(*_):
        raise AssertionError(f"still reading after {SECONDS_EACH} s")

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "scenario_0"
        folder.mkdir()
        (folder / "file").write_bytes(content)
        (folder / "sheet").write_bytes(content if kind == "sheet" else SHEET)
        (folder / "csv").write_bytes(content if kind == "csv" else CSV)
        (folder / "good").write_bytes(FILES["npz" if kind == "csv" else "table"])
        path = folder / ("good" if kind in ("sheet", "csv") else "file")
        signal.signal(signal.SIGALRM, too_long)
        signal.alarm(SECONDS_EACH)
        try:
            if kind in ("table", "turned", "gzipped", "sheet"):
                turned = {"rows": "individuals"} if kind == "turned" else {}
                file = table(path, values="genotypes", header=True, leading=("id", "locus"), **turned)
                found = opened(file, samples=folder / "sheet", choice=LociChoice(per_locus="one"))
            elif kind in ("fasta", "nexus"):
                found = opened(Alignments((path,), values="genotypes", incomplete="missing"), samples=folder / "sheet")
            else:
                arrays = SnpArrays((path,), length=1000, parameters=folder / "csv")
                found = opened(arrays, choice=LociChoice(by="distance", min_distance=10))
            assert set(np.unique(found.haplotypes.genotypes)) <= {-1, 0, 1}
            assert found.haplotypes.genotypes.shape == (
                len(found.haplotypes.positions),
                sum(s.num_chromosomes for s in found.samples),
            )
            found.summary()
        except GenomeError as error:
            message = str(error)
        else:
            message = "all was read, and that is fine too"
        finally:
            signal.alarm(0)
        assert "\n" not in message
        assert len(message) > 20


@pytest.mark.parametrize("kind", FILES)
def test_the_files_before_mutation_are_good(kind, monkeypatch):
    """Nothing is caught."""
    monkeypatch.setattr("tests.test_table_fuzz.GenomeError", ZeroDivisionError)
    attempt(kind, FILES[kind])


@pytest.mark.parametrize("kind", FILES)
def test_mutated_files(kind):
    @examples(40)
    @given(mutations(FILES[kind]))
    def one_kind(content):
        attempt(kind, content)

    one_kind()


@pytest.mark.verification
def test_mutated_tables_for_long():
    end = time.monotonic() + float(os.environ.get("GANINFER_FUZZ_SECONDS", "600"))
    number = 0

    @examples(50, derandomize=False)
    @given(st.data())
    def one_round(data):
        nonlocal number
        number += 1
        kind = data.draw(st.sampled_from(list(FILES)))
        attempt(kind, data.draw(mutations(FILES[kind])))

    while time.monotonic() < end:
        one_round()
        print(f"{number} mutated files, {end - time.monotonic():.0f} s left", flush=True)
