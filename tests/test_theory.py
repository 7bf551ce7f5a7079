"""The checks of simulators against theory: unbiased statistics of linkage, and a record of what was found."""

from __future__ import annotations

import json
from itertools import permutations

import numpy as np
import pytest

from ganinfer.haplotypes import Haplotypes, SampleSet, chromosomes
from tests.verification import theory


def test_linkage_is_that_of_four_different_chromosomes():
    rng = np.random.default_rng(4)
    samples = (SampleSet("A", 4),)
    genotypes = rng.integers(0, 2, (2, 8)).astype(np.int8)
    found = theory.linkage(Haplotypes(genotypes, np.array([100, 400]), chromosomes(samples)))
    a, b = genotypes.astype(float)
    square, heterozygous = [], []
    for i, j, k, m in permutations(range(8), 4):
        # D of four chromosomes: that of two of them times that of the others.
        square.append((a[i] * b[i] - a[i] * b[j]) * (a[k] * b[k] - a[k] * b[m]))
        heterozygous.append(a[i] * (1 - a[j]) * b[k] * (1 - b[m]))
    assert found[0, 0] == pytest.approx(np.mean(square))
    assert found[0, 1] == pytest.approx(np.mean(heterozygous))
    rho = 4 * theory.SIZE * theory.RATE * 300
    assert found[0, 2] == pytest.approx(found[0, 1] * (10 + rho) / (22 + 13 * rho + rho**2))
    assert not found[1:].any()


def test_what_was_recorded_passed_and_every_fault_was_found():
    found = json.loads(theory.RECORD.read_text())
    assert found["passed"]
    assert max(abs(row["z"]) for row in found["statistics"].values()) <= theory.LIMIT
    assert found["planted"].keys() == theory.FAULTS.keys()
    assert all(row["found"] and row["powerful"] for row in found["planted"].values())
