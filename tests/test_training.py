"""Training: folds, learning, and going on from what was saved."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

keras = pytest.importorskip("keras")

from ganinfer import training  # noqa: E402
from ganinfer.interfaces import EncodingSpec  # noqa: E402
from ganinfer.training import cutting  # noqa: E402

SITES = 36
DETAILS = {"populations": ["A"], "rows": [6], "sizes": [6], "folded": False, "phased": True, "ploidy": 1}
SPECS = {
    "counts": EncodingSpec((SITES, 1), "int16", DETAILS),
    "called": EncodingSpec((SITES, 1), "int16", DETAILS),
    "count_mask": EncodingSpec((SITES,), "uint8", DETAILS),
    "genotypes": EncodingSpec((6, SITES), "int8", DETAILS),
    "distances": EncodingSpec((SITES,), "float32", DETAILS),
    "mask": EncodingSpec((SITES,), "uint8", DETAILS),
}
QUICK = training.TrainingSettings(epochs=2, batch=8, group=8)


def encoded(rng, frequency):
    """Windows (n) of independent sites whose alleles have the given ``frequency`` (n,)."""
    frequency = np.asarray(frequency)[:, None, None]
    alleles = rng.random((len(frequency), 6, SITES)) < frequency
    mask = np.ones((len(alleles), SITES), dtype=np.uint8)
    return {
        "genotypes": (2 * alleles - 1).astype(np.int8),
        "distances": np.full((len(alleles), SITES), 1 / SITES, dtype=np.float32),
        "mask": mask,
        "counts": alleles.sum(axis=1)[:, :, None].astype(np.int16),
        "called": np.full((len(alleles), SITES, 1), 6, dtype=np.int16),
        "count_mask": mask,
    }


def problem(seed=0, *, proposals=60, windows=8, num_real=120, low=0.1, high=0.5, real=0.3):
    """Simulated windows whose allele frequency is the one parameter, and real windows at ``real``."""
    rng = np.random.default_rng(seed)
    targets = rng.random((proposals, 1))
    proposal = np.repeat(np.arange(proposals), windows)
    arrays = encoded(rng, low + (high - low) * targets[proposal, 0])
    simulated = training.Windows(arrays, proposal % 2, proposal, targets)
    return simulated, training.Windows(encoded(rng, np.full(num_real, real)), np.arange(num_real) % 2)


def networks(settings=QUICK, seed=1, name="exchangeable", **options):
    options = {"width": 8, "units": 8, **options} if name == "exchangeable" else options
    return training.init(name, options, SPECS, 1, settings, seed)


def weights(network):
    models = (network.trunk, network.critic, network.regressor)
    return [w for model in models for w in model.get_weights()]


def same(a, b):
    assert all(np.isfinite(w).all() for w in weights(a))
    return all((x == y).all() for x, y in zip(weights(a), weights(b), strict=True))


def test_seed_decides_the_weights_and_folds_differ():
    first, again, other = networks(seed=1), networks(seed=1), networks(seed=2)
    assert [n.fold for n in first] == [0, 1]
    assert same(first[0], again[0])
    assert same(first[1], again[1])
    assert not same(first[0], first[1])
    assert not same(first[0], other[0])


def test_a_network_learns_nothing_of_its_own_fold():
    simulated, real = problem()
    trained = networks()
    training.train(trained, simulated, real, QUICK, np.random.default_rng(0))
    changed_simulated, changed_real = problem()
    for windows in (changed_simulated, changed_real):
        held_out = windows.fold == 0
        windows.arrays["counts"][held_out] = 5
        windows.arrays["genotypes"][held_out] = 1
    changed_simulated.targets[::2] = 0.9
    again = networks()
    info = training.train(again, changed_simulated, changed_real, QUICK, np.random.default_rng(0))
    assert same(trained[0], again[0])
    assert not same(trained[1], again[1])
    assert {row["fold"] for row in info.rows} == {0, 1}


#: What third parties' models may be, beside a mapping of inputs with the arrays' own dtypes.
KINDS = ("floats", "wide", "single", "masked", "sequential", "wrapped", "half")


@pytest.mark.parametrize(
    ("name", "options"),
    [("exchangeable", {}), ("pg-gan", {}), *(("toy-keras", {"kind": kind}) for kind in KINDS)],
    ids=["exchangeable", "pg-gan", *KINDS],
)
def test_what_was_saved_goes_on_bit_by_bit(name, options, tmp_path, toys):
    """Networks of every fold; of what is a kind of its own, one is enough."""
    simulated, real = problem(proposals=16, num_real=20)
    here = networks(name=name, **options)[: 2 if name == "exchangeable" else 1]
    training.train(here, simulated, real, QUICK, np.random.default_rng(1))
    training.save(here, tmp_path)
    there = training.load(tmp_path)
    assert [(n.fold, n.rounds) for n in there] == [(n.fold, 1) for n in here]
    for pair in (here, there):
        training.train(pair, simulated, real, QUICK, np.random.default_rng(2))
    for a, b in zip(here, there, strict=True):
        assert same(a, b)
        for x, y in zip(training.embed(a, real.arrays), training.embed(b, real.arrays), strict=True):
            assert (x == y).all()


def embedded(kind):
    """What a network that takes its arrays as this ``kind`` does makes of the real windows, trained."""
    simulated, real = problem(proposals=16, num_real=20)
    trained = networks(name="toy-keras", kind=kind)[:1]
    training.train(trained, simulated, real, QUICK, np.random.default_rng(1))
    return training.embed(trained[0], real.arrays)


@pytest.fixture(scope="module")
def of_integers(toys):
    return embedded("integers")


@pytest.mark.parametrize("kind", ["floats", "wide", "single"])
def test_arrays_mean_the_same_in_another_dtype(kind, of_integers):
    for x, y in zip(of_integers, embedded(kind), strict=True):
        np.testing.assert_array_equal(x, y)


def test_scales_of_a_sequential_model_are_adapted(toys):
    simulated, real = problem(proposals=16, num_real=20)
    trained = networks(name="toy-keras", kind="sequential")[:1]
    training.train(trained, simulated, real, QUICK, np.random.default_rng(1))
    (scale,) = (x for x in trained[0].trunk.layers if isinstance(x, keras.layers.Normalization))
    used = simulated.arrays["counts"][simulated.fold != 0]
    np.testing.assert_allclose(np.ravel(scale.mean), used.reshape(len(used), -1).mean(axis=0), rtol=1e-4)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("subclassed", r"the Summed that build returned does not say .* reads; return keras.Model\(inputs, Summed"),
        ("unbuilt", r"the Sequential that build returned does not say .* reads; let it begin with keras.Input\(spec"),
        ("stray", "has inputs named alleles; the encoded arrays are counts, called"),
        ("bytes", "its input 'counts' is int8, which cannot hold all values of the array, int16; that or float32"),
        ("shaped", r"its input 'counts' has shape \(36, 1, 1\), but the array \(36, 1\)"),
        ("two", r"its output must be an embedding \(batch, width\), got None"),
    ],
)
def test_models_that_are_no_networks_say_what_would_be_one(kind, message, toys):
    with pytest.raises(training.TrainingError, match=f"discriminator 'toy-keras'.*{message}"):
        networks(name="toy-keras", kind=kind)


def test_another_format_is_refused(tmp_path):
    (tmp_path / "networks.json").write_text(json.dumps({"format": 99, "networks": []}))
    with pytest.raises(training.TrainingError, match="format 99; this version reads 1"):
        training.load(tmp_path)


@pytest.fixture(scope="module")
def learned():
    settings = training.TrainingSettings(epochs=20, batch=8, group=8, learning_rate=1e-2)
    simulated, real = problem(proposals=120, num_real=400, low=0.1, high=0.5, real=0.8)
    trained = networks(settings, cnn=False)
    info = training.train(trained, simulated, real, settings, np.random.default_rng(3))
    return trained, info, simulated


def test_clearly_different_windows_are_told_apart(learned):
    assert learned[1].auc > 0.95


def test_windows_of_one_kind_are_not_told_apart():
    settings = training.TrainingSettings(epochs=3, batch=16, group=8)
    simulated, real = problem(proposals=200, num_real=800, low=0.3, high=0.3 + 1e-9, real=0.3)
    info = training.train(networks(settings, cnn=False), simulated, real, settings, np.random.default_rng(4))
    assert abs(info.auc - 0.5) < 0.06  # three standard errors of the area under 2 x 400 + 400 out-of-fold windows


def test_regressor_recovers_a_parameter_out_of_fold(learned):
    network, simulated = learned[0][0], learned[2]
    held_out = np.flatnonzero(simulated.fold == network.fold)
    embedding, _ = training.embed(network, simulated.take(held_out))
    mean = embedding.reshape(-1, 8, network.width).mean(axis=1)
    predicted = np.asarray(network.regressor([mean, np.full((len(mean), 1), np.log(8.0), np.float32)]))
    value = predicted[:, 0] * np.asarray(network.head.spread) + np.asarray(network.head.centre)
    truth = simulated.targets[simulated.proposal[held_out[::8]], 0]
    assert np.corrcoef(value, truth)[0, 1] > 0.98
    # A frequency estimated from 8 x 36 x 6 alleles: its binomial error, on the target's scale.
    assert np.sqrt(np.mean((value - truth) ** 2)) < 2 * np.sqrt(0.3 * 0.7 / (8 * SITES * 6)) / 0.4


def test_other_units_of_the_targets_leave_predictions_alone():
    head = networks()[0].head
    rng = np.random.default_rng(5)
    for layer in (head.curved, head.log_sd):
        layer.set_weights([rng.normal(size=w.shape) for w in layer.get_weights()])
    inputs = [rng.normal(size=(4, 8)).astype(np.float32), np.zeros((4, 1), np.float32)]

    def natural():
        mean, log_sd = np.split(np.asarray(head(inputs)), 2, axis=1)
        return mean * np.asarray(head.spread) + np.asarray(head.centre), np.exp(log_sd) * np.asarray(head.spread)

    before = natural()
    head.recentre(np.array([0.4]), np.array([0.7]))
    for x, y in zip(before, natural(), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4)


def test_latest_proposals_train_when_there_are_too_many():
    from ganinfer.training.rounds import _groups

    simulated, _ = problem(proposals=60, windows=8)
    groups = _groups(simulated, 0, training.TrainingSettings(windows=80, group=5))
    used = np.concatenate(groups)
    assert len(used) == 80
    assert set(simulated.proposal[used]) == set(range(41, 60, 2))
    assert all(len(set(simulated.proposal[g])) == 1 and len(g) <= 5 for g in groups)


def test_trunk_is_cut_behind_what_training_does_not_change():
    trunk = networks()[0].trunk
    parts = cutting.cut(trunk)
    assert [layer.name for layer in parts.fixed] == ["identity", "scale_parts"]
    assert set(parts.raw) == {"counts", "called", "count_mask"}
    arrays = encoded(np.random.default_rng(6), np.full(5, 0.3))
    arrays = {tensor.name: arrays[tensor.name] for tensor in trunk.inputs}
    np.testing.assert_allclose(
        parts.embed({**arrays, **parts.compute(arrays)}, training=False), trunk(arrays), rtol=1e-5, atol=1e-5
    )


def test_trunks_without_a_fixed_part_are_left_whole():
    assert cutting.cut(networks(name="pg-gan")[0].trunk).fixed == ()


def test_a_feature_that_is_constant_does_no_harm():
    simulated, real = problem(low=0.0, high=1e-9, real=0.5)
    trained = networks()[:1]
    training.train(trained, simulated, real, QUICK, np.random.default_rng(0))
    embedding, logits = training.embed(trained[0], real.arrays)
    assert np.isfinite(embedding).all()
    assert np.abs(embedding).max() < 1e3
    assert np.isfinite(logits).all()


def test_nothing_to_train_on_is_said():
    simulated, real = problem(proposals=4)
    simulated.fold[:] = 0
    message = "network 0 has 0 groups of simulated and 60 real windows outside its fold"
    with pytest.raises(training.TrainingError, match=message):
        training.train(networks(), simulated, real, QUICK, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"folds": 1}, "training.folds must be at least 2, got 1"),
        ({"epochs": 0}, "training.epochs must be at least 1, got 0"),
        ({"learning_rate": 0.0}, "training.learning_rate must be above 0"),
    ],
)
def test_settings_state_their_rules(values, message):
    with pytest.raises(training.TrainingError, match=message):
        training.TrainingSettings(**values)


def test_area_under_curve_counts_ties_half():
    rng = np.random.default_rng(7)
    a, b = rng.integers(5, size=40).astype(float), rng.integers(1, 6, size=30).astype(float)
    slow = np.mean([(x > y) + 0.5 * (x == y) for x in a for y in b])
    assert training.area_under_curve(a, b) == pytest.approx(slow)


@pytest.mark.parametrize("asked", [True, False])
def test_networks_may_read_classical_statistics_where_they_ask_for_them(asked):
    from types import SimpleNamespace

    from ganinfer import inference
    from ganinfer.haplotypes import SampleSet
    from ganinfer.pipeline import PipelineSettings
    from ganinfer.simulation import Setup

    encoders = (("joint-counts", {}), ("classical", {}))
    setup = Setup("demes", {}, (SampleSet("A", 3),), PipelineSettings(), encoders, 1_000, 16)
    wanted = ("joint-counts", "classical") if asked else ("joint-counts",)
    network = inference.Network("mine", {}, training.TrainingSettings(), wanted)
    specs = inference._network_specs(SimpleNamespace(setup=setup, network=network))
    assert ("classical" in specs) is asked
    assert "counts" in specs


@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.data())
def test_stacked_arrays_read_like_one(sizes, data):
    parts = [np.arange(3 * n, dtype=np.int8).reshape(n, 3) + 20 * i for i, n in enumerate(sizes)]
    rows = np.array(data.draw(st.lists(st.integers(0, sum(sizes) - 1), max_size=20)), dtype=int)
    stacked = training.Stacked(parts)
    assert len(stacked) == sum(sizes)
    np.testing.assert_array_equal(stacked[rows], np.concatenate(parts)[rows])
    assert stacked[rows].dtype == np.int8
