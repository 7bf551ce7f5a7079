"""What the leak verification rests on: files change nothing, its test is fair and finds shifts, records are kept."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from ganinfer import execution, training
from ganinfer.experiment import pipeline_settings
from ganinfer.interfaces import WindowTemplate
from ganinfer.pipeline import prepare_real, prepare_simulated
from ganinfer.runner import assembling
from ganinfer.simulation import encode
from tests.verification import blocks, leak, leak_data
from tests.verification.leak import add_record, fewer_missing, late, read_records, table

ENCODINGS = ("snp-matrix", "joint-counts", "classical")
RECORD = {
    "case": "nulls",
    "strength": 0.0,
    "seed": 2,
    "windows": 500,
    "blocks": 50,
    "p_value": 0.4,
    "auc": 0.51,
    "cpu_seconds": 20.0,
}


def rng(seed=1):
    return np.random.default_rng(seed)


# --- through files ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phased", [False, True])
def test_windows_read_from_a_vcf_encode_like_the_simulated_ones_they_were_written_from(tmp_path, phased):
    """Masks, missing calls, either allele as the reference, folded: a file in between is no leak."""
    simulated, _ = leak_data.simulate(3, phased=phased, contigs=3)
    loaded = leak_data.write(3, tmp_path, phased=phased, contigs=3)
    with execution.make("serial") as serial:
        real = assembling.open_data(loaded, serial, tmp_path / "cache")
    settings = pipeline_settings(loaded, real.phased)
    assert settings.phased == phased
    assert settings.folded
    places = {(w.contig, w.left): i for i, w in enumerate(simulated.windows)}
    origin = [places[w.contig, w.left] for w in real.windows]
    assert len(origin) > 20
    setup = assembling.base_setup(loaded, leak_data.SCENARIO, real.samples, settings, ENCODINGS, 256)
    read = encode(setup, (prepare_real(real.haplotypes(i), settings, rng(i)) for i in range(len(origin))), len(origin))
    masked = [WindowTemplate(leak_data.LENGTH, simulated.windows[j].accessible) for j in origin]
    straight = encode(
        setup,
        (prepare_simulated(simulated.haplotypes[j], masked[i], settings, rng(i)) for i, j in enumerate(origin)),
        len(origin),
    )
    assert set(read) == set(straight)
    for name, values in read.items():
        np.testing.assert_array_equal(values, straight[name], err_msg=name)
    assert (read["genotypes"][read["count_mask"][:, None].repeat(read["genotypes"].shape[1], 1) > 0] == -128).any()


def test_maps_and_masks_of_templates_are_those_of_the_simulation(tmp_path):
    simulated, maps = leak_data.simulate(4, phased=False, contigs=2)
    loaded = leak_data.write(4, tmp_path, phased=False, contigs=2)
    with execution.make("serial") as serial:
        real = assembling.open_data(loaded, serial, tmp_path / "cache")
    masks = {(w.contig, w.left): w.accessible for w in simulated.windows}
    for window, template in zip(real.windows, real.templates, strict=True):
        accessible = [[0, window.length]] if template.accessible is None else template.accessible
        np.testing.assert_array_equal(accessible, masks[window.contig, window.left])
        slice = maps[window.contig].slice(window.left, window.right)
        np.testing.assert_array_equal(template.recombination.positions, slice.positions)
        np.testing.assert_allclose(template.recombination.rates, slice.rates, rtol=1e-6)


# --- the test by blocks -------------------------------------------------------------------------------------------


def logits(source, shift=0.0, num_blocks=40, windows=5, copies=3):
    """Real and simulated logits with an origin of each fold's own, and what windows of a block have in common."""
    block = np.repeat(np.arange(num_blocks), windows)
    fold = block % 2
    template = source.normal(size=len(block))
    real = template + source.normal(size=num_blocks)[block] + source.normal(size=len(block)) + shift
    simulated = template[:, None] + np.sqrt(2) * source.normal(size=(len(block), copies))
    return real + 5 * fold, simulated + 5 * fold[:, None], block, fold


def test_p_values_are_uniform_where_nothing_differs():
    verdicts = [blocks.compare(*logits(rng(i))) for i in range(400)]
    assert stats.kstest([v.p_value for v in verdicts], "uniform").pvalue > 0.01
    auc = np.array([v.auc for v in verdicts])
    assert abs(auc.mean() - 0.5) < 3 * auc.std() / 20


def test_a_shift_is_found_and_one_to_the_other_side_is_not():
    found = [blocks.compare(*logits(rng(i), shift=1.0)).p_value for i in range(50)]
    assert np.mean(np.array(found) < 0.01) > 0.9
    assert min(blocks.compare(*logits(rng(i), shift=-1.0)).p_value for i in range(50)) > 0.5


def test_windows_of_a_block_count_as_one():
    difference, block = rng(2).normal(size=30), np.arange(30)
    once = blocks.paired(difference, block)
    assert once == pytest.approx(blocks.paired(np.repeat(difference, 7), np.repeat(block, 7)))
    assert once[:2] == pytest.approx(stats.ttest_1samp(difference, 0, alternative="greater"))


def test_folds_that_agree_by_chance_are_not_counted_as_two_witnesses():
    """Linear critics, each trained on the half that the other is tested on, have statistics of the same sign."""
    source, together, added = rng(3), [], []
    for _ in range(1_000):
        real, simulated = source.normal(size=(2, 2, 30, 6))
        weights = [(real[1 - k] - simulated[1 - k]).mean(axis=0) for k in (0, 1)]
        t, p_values = np.array(
            [blocks.paired((real[k] - simulated[k]) @ weights[k], np.arange(30))[:2] for k in (0, 1)]
        ).T
        assert np.sign(t[0]) == np.sign(t[1])
        together.append(blocks.combined(p_values))
        added.append(stats.norm.sf(t.sum() / np.sqrt(2)))
    assert stats.kstest(together, "uniform").pvalue > 0.01
    assert np.mean(np.array(together) < 0.05) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 1_000)
    assert np.mean(np.array(added) < 0.05) > 0.08


@pytest.mark.parametrize("p_values", [[0.3, 0.3], [0.001, 0.001], [0.97, 0.97]])
def test_equal_p_values_are_their_own_combination(p_values):
    assert blocks.combined(np.array(p_values)) == pytest.approx(p_values[0])


# --- what is planted ----------------------------------------------------------------------------------------------


def test_late_distances_are_those_of_an_earlier_site():
    arrays = {
        "distances": np.array([[0.1, 0.2, 0.3, 0.0]], dtype=np.float32),
        "mask": np.array([[1, 1, 1, 0]], dtype=np.uint8),
        "genotypes": np.ones((1, 2, 4), dtype=np.int8),
    }
    moved = late(arrays, 1)
    np.testing.assert_allclose(moved["distances"], [[0, 0.1, 0.2, 0]])
    assert moved["distances"].dtype == np.float32
    assert moved["genotypes"] is arrays["genotypes"]


def test_a_share_of_the_missing_individuals_is_called_again():
    rows = np.repeat(rng().random((2_000, 10)) < 0.3, 2, axis=1)
    template = WindowTemplate(1_000, missing=np.packbits(rows, axis=1))
    kept = np.unpackbits(fewer_missing(template, 0.2, 20, rng(2)).missing, axis=1, count=20).astype(bool)
    assert not (kept & ~rows).any()
    np.testing.assert_array_equal(kept[:, ::2], kept[:, 1::2])
    assert kept.sum() / rows.sum() == pytest.approx(0.8, abs=0.02)
    assert fewer_missing(replace(template, missing=None), 0.2, 20, rng()).missing is None


@pytest.mark.slow
def test_a_small_data_set_whose_phase_was_lost_is_told_from_simulated_ones(monkeypatch):
    monkeypatch.setattr(leak_data, "CONTIGS", 6)
    record = leak.examine("phase", 1.0, 1)
    assert record["blocks"] == 6
    assert record["auc"] > 0.7
    assert sum(record["fold_blocks"]) == 6
    json.dumps(record)


# --- records ------------------------------------------------------------------------------------------------------


def test_records_are_kept_by_data_set_and_replaced(tmp_path):
    path = tmp_path / "leak.json"
    assert read_records(path) == []
    add_record(RECORD, path)
    add_record({**RECORD, "case": "missingness", "strength": 0.2}, path)
    add_record({**RECORD, "seed": 1}, path)
    add_record({**RECORD, "p_value": 0.2}, path)
    kept = [(r["case"], r["seed"], r["p_value"]) for r in read_records(path)]
    assert kept == [("nulls", 1, 0.4), ("nulls", 2, 0.2), ("missingness", 2, 0.4)]
    assert [p.name for p in tmp_path.iterdir()] == ["leak.json"]


def test_the_table_counts_what_was_found():
    planted = [{**RECORD, "case": "map", "strength": 1.0, "p_value": p, "auc": 0.6} for p in (0.001, 0.2)]
    text = table([RECORD, *planted])
    assert "| nulls | 0 | 1 | 0 | 0.4 | 0.5100 |" in text
    assert "| map | 1 | 2 | 1 |" in text


def test_an_unknown_case_is_answered_with_the_known_ones(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["leak", "nul"])
    monkeypatch.setattr(training, "configure", lambda threads: None)
    with pytest.raises(SystemExit):
        leak.main()
    assert "no case 'nul'; there are nulls, phased-nulls, missingness" in capsys.readouterr().err
