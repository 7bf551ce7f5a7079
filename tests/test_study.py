"""Simulation studies: the same windows everywhere, linked windows on contigs, missing calls."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ganinfer import execution
from ganinfer.haplotypes import SampleSet
from ganinfer.pipeline import PipelineSettings
from ganinfer.simulation import Setup, SimulationError
from ganinfer.study import StudyPlan, _windows, parts, simulate_study

MODEL = {
    "file": "const.demes.yaml",
    "text": "time_units: generations\ndemes:\n- name: A\n  epochs:\n  - {start_size: 10000}\n",
}
PARAMETERS = {
    "file": "const.options.yaml",
    "text": "parameters:\n- name: Ne\n  values:\n  - demes:\n      A: {epochs: {0: start_size}}\n"
    "  lower_bound: 1000\n  upper_bound: 30000\n",
}
OPTIONS = {"model": MODEL, "parameters": PARAMETERS, "mutation_rate": 2e-8, "recombination_rate": 1e-8}
SAMPLES = (SampleSet("A", 4),)
SETUP = Setup("demes", OPTIONS, SAMPLES, PipelineSettings(), (), 10_000, 1)
PLAN = StudyPlan(SETUP, {"Ne": 10_000.0}, 60, 5)
LINKED = replace(PLAN, num_windows=0, num_contigs=3, contig_length=45_000)


def simulated(plan, kind="serial", workers=None):
    with execution.make(kind, workers) as executor:
        return simulate_study(plan, executor)


@pytest.fixture(scope="module")
def independent():
    return simulated(PLAN)


@pytest.fixture(scope="module")
def linked():
    return simulated(LINKED)


@pytest.mark.parametrize("plan", [replace(PLAN, missingness=0.1), LINKED], ids=["independent", "linked"])
def test_the_same_windows_on_every_executor(plan):
    serial, process = simulated(plan), simulated(plan, "process", 2)
    assert len(serial.windows) == len(process.windows)
    for i in range(len(serial.windows)):
        np.testing.assert_array_equal(serial.haplotypes(i).genotypes, process.haplotypes(i).genotypes)
        np.testing.assert_array_equal(serial.haplotypes(i).positions, process.haplotypes(i).positions)
        assert serial.windows[i].block == process.windows[i].block


def test_independent_windows_are_their_own_blocks(independent):
    assert [w.block for w in independent.windows] == list(range(60))
    assert len({w.contig for w in independent.windows}) == 60
    assert len(independent.templates) == 60
    assert len({independent.haplotypes(i).genotypes.tobytes() for i in range(60)}) == 60


def test_another_seed_gives_other_windows(independent):
    other = simulated(replace(PLAN, seed=6))
    assert all(
        independent.haplotypes(i).positions.tolist() != other.haplotypes(i).positions.tolist() for i in range(60)
    )


def test_more_windows_begin_with_the_same_ones(independent):
    fewer = simulated(replace(PLAN, num_windows=25))
    for i in range(25):
        assert fewer.haplotypes(i).positions.tolist() == independent.haplotypes(i).positions.tolist()


def test_windows_of_a_contig_share_its_block(linked):
    assert [w.block for w in linked.windows] == [0] * 4 + [1] * 4 + [2] * 4
    assert [(w.left, w.right) for w in linked.windows[:4]] == [(i * 10_000, (i + 1) * 10_000) for i in range(4)]
    for i in range(len(linked.windows)):
        positions = linked.haplotypes(i).positions
        assert (positions >= 0).all()
        assert (positions < 10_000).all()


def test_windows_of_a_contig_are_its_pieces(linked):
    """Put together they are the contig, but for the rest that fills no window."""
    from ganinfer.simulation import raw_observations

    unit = parts(LINKED)[1]
    (contig,) = raw_observations(SETUP, LINKED.truth, unit.templates, unit.seed)
    mine = [i for i, w in enumerate(linked.windows) if w.block == 1]
    positions = np.concatenate([linked.haplotypes(i).positions + linked.windows[i].left for i in mine])
    kept = contig.positions < 40_000
    np.testing.assert_array_equal(positions, contig.positions[kept])
    np.testing.assert_array_equal(
        np.concatenate([linked.haplotypes(i).genotypes for i in mine]), contig.genotypes[kept]
    )


def test_missing_calls_are_of_whole_individuals_at_the_share_asked_for(independent):
    lossy = simulated(replace(PLAN, missingness=0.2))
    cells = missing = 0
    for i in range(60):
        genotypes, complete = lossy.haplotypes(i).genotypes, independent.haplotypes(i).genotypes
        lost = genotypes < 0
        np.testing.assert_array_equal(lost[:, ::2], lost[:, 1::2])
        np.testing.assert_array_equal(np.where(lost, -1, complete), genotypes)
        rows = np.unpackbits(lossy.templates[i].missing, axis=1, count=8).astype(bool)
        np.testing.assert_array_equal(rows, lost[(genotypes == 0).any(axis=1) & (genotypes == 1).any(axis=1)])
        cells, missing = cells + lost[:, ::2].size, missing + int(lost[:, ::2].sum())
    assert missing / cells == pytest.approx(0.2, abs=4 * np.sqrt(0.16 / cells))
    assert lossy.summary()["missing"] == pytest.approx(missing / cells)


def test_nothing_is_missing_unless_asked_for(independent):
    assert all(t.missing is None for t in independent.templates)
    assert all(t.length == 10_000 for t in independent.templates)


def test_the_summary_says_what_was_simulated(linked):
    summary = linked.summary()
    assert summary["truth"] == {"Ne": 10_000.0}
    assert summary["windows"] == {"kept": 12, "length": 10_000, "blocks": 3}
    assert summary["samples"] == [{"population": "A", "individuals": 4, "ploidy": 2, "time": 0.0}]
    assert summary["sites"] == sum(linked.haplotypes(i).num_sites for i in range(12))


@pytest.mark.parametrize("kind", ["serial", "process"])
@pytest.mark.parametrize(
    ("how", "what"),
    [("hangs", "took longer than 1 s"), ("raises", "raised RuntimeError: the coalescent is out of order")],
)
def test_a_simulator_that_fails_is_named_with_the_command_that_simulates_the_study(kind, how, what, toys):
    setup = replace(SETUP, simulator="toy-failing", options={"how": how})
    plan = StudyPlan(setup, {"rate": 5.0}, 3, 7, label="study.yaml --scenario toy")
    seed = parts(plan)[0].seed
    message = rf"^simulator 'toy-failing' failed at rate=5 with seed {seed}: {what}(?s:.*)\nRepeat it with: "
    with execution.make(kind, 1, timeout=1) as executor, pytest.raises(SimulationError, match=message) as caught:
        simulate_study(plan, executor)
    assert str(caught.value).endswith("ganinfer simulate study.yaml --scenario toy --output repeated")


def test_a_long_contig_is_several_blocks():
    plan = replace(PLAN, num_windows=0, num_contigs=2, contig_length=400_000, block_length=100_000)
    blocks = np.array([w.block for w in _windows(plan)])
    assert (np.diff(blocks) >= 0).all()
    assert len(np.unique(blocks)) == 8
    names = [w.contig for w in _windows(plan)]
    assert len({(name, block) for name, block in zip(names, blocks, strict=True)}) == 8
    short = replace(plan, block_length=1_000_000)
    assert len({w.block for w in _windows(short)}) == 2
