"""Encoded simulations: the same on every executor, checked, and every failure can be repeated from its message."""

from __future__ import annotations

import pickle
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from ganinfer import execution, pipeline, randomness, simulation
from ganinfer.haplotypes import SampleSet
from ganinfer.interfaces import WindowTemplate
from ganinfer.pipeline import PipelineSettings
from ganinfer.plugins import PluginError, read_code
from ganinfer.simulation import Setup, SimulationError, Task
from ganinfer.windows import RecombinationMap
from tests import toy_plugins

SAMPLES = (SampleSet("A", 4), SampleSet("B", 3))
MODEL = {
    "model": {
        "file": "two.demes.yaml",
        "text": "time_units: generations\ndemes:\n- {name: A, epochs: [{start_size: 1000}]}\n"
        "- {name: B, ancestors: [A], start_time: 500, epochs: [{start_size: 1000}]}\n",
    },
    "parameters": {
        "file": "two.options.yaml",
        "text": "parameters:\n- name: N\n  values:\n  - demes:\n      A: {epochs: {0: start_size}}\n"
        "  lower_bound: 100\n  upper_bound: 3000\n",
    },
    "mutation_rate": 1e-7,
    "recombination_rate": 1e-8,
}
LENGTH = 5_000
pytestmark = pytest.mark.usefixtures("toys")


def setup(simulator="toy", options=None, encoders=("snp-matrix", "joint-counts"), **settings):
    pairs = tuple((name, {}) for name in encoders)
    return Setup(simulator, options or {}, SAMPLES, PipelineSettings(**settings), pairs, LENGTH, 64)


def template(**changes):
    return WindowTemplate(LENGTH, **changes)


def task(shared=None, *, rate=20.0, seed=11, num_windows=3, label="", **kwargs):
    shared = shared or setup(**kwargs)
    return Task(shared, {"rate": rate}, (template(),) * num_windows, seed, label)


def tasks(k, **kwargs):
    shared = setup(**kwargs)
    return [task(shared, rate=5.0 + i % 40, seed=randomness.simulator_seed(3, i)) for i in range(k)]


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[n], b[n]) and a[n].dtype == b[n].dtype for n in a)


# --- one proposal -------------------------------------------------------------------------------------------------


def test_arrays_are_those_of_the_specs():
    encoded = simulation.simulate_task(task(encoders=("snp-matrix", "joint-counts", "classical")))
    specs = simulation.encoding_specs(setup(encoders=("snp-matrix", "joint-counts", "classical")))
    assert encoded.keys() == specs.keys()
    for name, spec in specs.items():
        assert encoded[name].shape == (3, *spec.shape)
        assert encoded[name].dtype == spec.dtype


def test_a_task_is_a_function_of_its_seed():
    assert same(simulation.simulate_task(task()), simulation.simulate_task(task()))
    assert not same(simulation.simulate_task(task()), simulation.simulate_task(task(seed=12)))


@pytest.mark.parametrize("settings", [{}, {"phased": False}, {"folded": True}, {"singletons": "drop"}])
def test_encoded_windows_are_the_prepared_observations(settings):
    """The slow way: observations, pipeline and encoding one after the other, with a stream named for the purpose."""
    missing = np.packbits(np.eye(14, dtype=bool)[:5], axis=1)
    templates = (
        template(accessible=np.array([[0, 2_000], [3_000, 4_500]])),
        template(missing=missing),
        template(unusable_ancestral=0.3),
    )
    shared = setup(**settings)
    encoded = simulation.simulate_task(Task(shared, {"rate": 30.0}, templates, 5))
    rng = randomness.stream(5, "pipeline")
    raw = simulation.raw_observations(shared, {"rate": 30.0}, templates, 5)
    prepared = [
        pipeline.prepare_simulated(h, t, shared.pipeline, rng) for h, t in zip(list(raw), templates, strict=True)
    ]
    for i, window in enumerate(prepared):
        assert encoded["mask"][i].sum() == window.num_sites
        assert same(simulation.encode(shared, [window], 1), {n: v[i : i + 1] for n, v in encoded.items()})


@pytest.mark.parametrize("num_windows", [1, 16, 17, 40])
def test_a_window_is_its_own_however_many_come_with_it(num_windows):
    many = task(num_windows=num_windows)
    raw = simulation.raw_observations(many.setup, many.theta, many.templates, many.seed)
    rng = randomness.stream(many.seed, "pipeline")
    alone = [
        simulation.encode(many.setup, [pipeline.prepare_simulated(h, template(), many.setup.pipeline, rng)], 1)
        for h in raw
    ]
    assert len({one["genotypes"].tobytes() for one in alone}) == num_windows
    assert same(simulation.simulate_task(many), {n: np.concatenate([one[n] for one in alone]) for n in alone[0]})


def test_a_simulator_may_fill_the_same_arrays_again():
    assert same(simulation.simulate_task(task(simulator="toy-reusing")), simulation.simulate_task(task()))


def test_all_sites_are_counted_beside_arrays_that_hold_fewer():
    one = task(rate=60.0, num_windows=4)
    cut = replace(one, setup=replace(one.setup, num_sites=8, num_counted_sites=16))
    encoded, (derived, called) = simulation.counted_task(cut)
    assert same(encoded, simulation.simulate_task(cut))
    assert encoded["mask"].sum() == 4 * 8
    assert encoded["count_mask"].sum() == 4 * 16
    whole = simulation.simulate_task(one)
    real = whole["count_mask"].astype(bool)
    np.testing.assert_array_equal(derived, whole["counts"][real])
    np.testing.assert_array_equal(called, whole["called"][real])


def test_tree_sequences_are_observations():
    encoded = simulation.simulate_task(task(simulator="toy-trees", rate=1.0))
    assert encoded["mask"].sum() > 0
    raw = list(simulation.raw_observations(setup("toy-trees"), {"rate": 1.0}, [template()], 11))
    assert raw[0].genotypes.shape[1] == 14


def test_a_simulator_travels_as_text(tmp_path):
    path = toy_plugins.write(tmp_path, "mine.py", toy_plugins.SIMULATORS)
    mine = {**read_code(path, "mine.py"), "class": "Toy"}
    path.unlink()
    by_text, by_name = task(simulator=mine), task()
    assert same(simulation.simulate_task(by_text), simulation.simulate_task(by_name))
    with execution.make("process", 1) as executor:
        assert same(next(simulation.simulate([by_text], executor)), simulation.simulate_task(by_name))


def test_set_ups_are_equal_when_their_values_are():
    assert setup() == setup()
    assert hash(setup()) == hash(pickle.loads(pickle.dumps(setup())))
    assert setup() != setup(options={"scale": 2.0})
    assert setup() != setup(folded=True)


def test_two_encodings_cannot_make_the_same_array():
    with pytest.raises(ValueError, match="'snp-matrix' makes an array 'genotypes' that another one makes too"):
        simulation.simulate_task(task(encoders=("snp-matrix", "snp-matrix")))


def test_templates_are_chosen_by_the_seed_and_evenly():
    chosen = simulation.choose_templates(9, 10, 25)
    assert np.array_equal(chosen, simulation.choose_templates(9, 10, 25))
    assert not np.array_equal(chosen, simulation.choose_templates(10, 10, 25))
    assert set(np.bincount(chosen, minlength=10)) == {2, 3}
    assert len(set(simulation.choose_templates(9, 100, 16))) == 16


# --- many, on executors ---------------------------------------------------------------------------------------------


def test_every_executor_gives_the_same_bits_in_task_order(executor):
    work = tasks(60)
    expected = [simulation.simulate_task(t) for t in work]
    found = list(simulation.simulate(iter(work), executor))
    assert len(found) == 60
    assert all(same(a, b) for a, b in zip(found, expected, strict=True))
    assert all(v.flags.writeable for v in found[0].values())


def heavy_modules(_):
    return [m for m in ("tensorflow", "keras", "mlflow", "pandas", "matplotlib") if m in sys.modules]


@pytest.mark.parametrize("kind", ["process", "ray"])
def test_workers_that_simulated_have_loaded_nothing_heavy(kind, embedded_ray):
    shared = setup("demes", MODEL, encoders=("snp-matrix", "joint-counts", "classical"))
    work = [Task(shared, {"N": 1000.0 + i}, (template(),) * 2, 1 + i) for i in range(8)]
    with execution.make(kind, 2) as executor:
        assert len(list(simulation.simulate(work, executor))) == 8
        assert [result for _, result in executor.run(heavy_modules, range(8))] == [[]] * 8


@pytest.mark.parametrize("kind", ["process", "ray"])
def test_a_simulator_that_kills_its_worker_once_changes_nothing(kind, embedded_ray, tmp_path):
    dying = setup("toy-failing", {"how": "dies", "once": str(tmp_path / "died"), "rate": 39.0})
    work = [task(dying, rate=5.0 + i % 40, seed=100 + i) for i in range(80)]
    with execution.make(kind, 2) as executor:
        found = list(simulation.simulate(work, executor))
    assert (tmp_path / "died").exists()
    for a, b in zip(found, work, strict=True):
        assert same(a, simulation.simulate_task(Task(setup(), b.theta, b.templates, b.seed)))


def test_what_proposals_share_is_sent_once_a_group():
    big = setup(options={"scale": 1.0}, simulator={"file": "a.py", "class": "A", "text": "#" * 50_000, "sha256": ""})
    group = [task(big, rate=float(i + 1)) for i in range(20)]
    assert len(pickle.dumps(group)) < len(pickle.dumps(group[0])) + 20 * 200


# --- failures -------------------------------------------------------------------------------------------------------

LABEL = simulation.label("my study.yaml", "out-of-africa", ["seed=2"])
COMMAND = (
    r"Repeat it with: ganinfer simulate 'my study\.yaml' --set seed=2 --scenario out-of-africa "
    r"--theta rate=20\.123456789 --proposal-seed 11 --windows 3 --output repeated-11$"
)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"how": "raises"}, r"raised RuntimeError: the coalescent is out of order \(.*simulators\.py, line \d+\)"),
        ({"how": "exits"}, r"raised SystemExit: 3"),
    ],
)
def test_a_simulator_that_raises(executor, options, what):
    work = [task(simulator="toy-failing", options=options, rate=20.123456789, label=LABEL)]
    message = rf"simulator 'toy-failing' failed at rate=20\.1235 with seed 11: {what}.*\n{COMMAND}"
    with pytest.raises(SimulationError, match=message) as caught:
        list(simulation.simulate(work, executor))
    assert "Traceback" in caught.value.details


@pytest.mark.parametrize(("how", "tries"), [("raises", 1), ("dies", 3)])
def test_what_raises_is_not_tried_again_and_what_dies_is(how, tries, tmp_path):
    log = tmp_path / "log"
    work = [task(simulator="toy-failing", options={"how": how, "log": str(log)})]
    with execution.make("process", 1) as executor, pytest.raises(SimulationError, match="'toy-failing' failed"):
        list(simulation.simulate(work, executor))
    assert log.read_text().split() == ["11"] * tries


@pytest.mark.parametrize("kind", execution.KINDS)
def test_a_simulator_that_hangs(kind, embedded_ray):
    work = [task(simulator="toy-failing", options={"how": "hangs"}, rate=20.123456789, label=LABEL)]
    message = rf"'toy-failing' failed at rate=20\.1235 with seed 11: took longer than 1 s.*\n{COMMAND}"
    with execution.make(kind, 1, timeout=1) as executor, pytest.raises(SimulationError, match=message):
        list(simulation.simulate(work, executor))


@pytest.mark.parametrize("kind", ["process", "ray"])
def test_a_simulator_that_always_dies(kind, embedded_ray):
    work = [task(simulator="toy-failing", options={"how": "dies"}, rate=20.123456789, label=LABEL)]
    message = rf"'toy-failing' failed at rate=20\.1235 with seed 11: .*, 3 times\n{COMMAND}"
    with execution.make(kind, 1) as executor, pytest.raises(SimulationError, match=message):
        list(simulation.simulate(work, executor))


@pytest.mark.parametrize(
    ("how", "what"),
    [
        ("too few", r"yielded 2 observations for 3 templates"),
        ("too many", r"yielded more than 3 observations, one for each template"),
        ("nothing", r"simulate returned NoneType, not an iterator of observations"),
        ("string", r"template 0: an observation must be Haplotypes or a tskit\.TreeSequence, not str"),
        ("list", r"genotypes and positions must be NumPy arrays"),
        ("float", r"genotypes must be int8, not float64"),
        ("int32", r"positions must be int64, not int32"),
        ("transposed", r"genotypes have shape \(14, \d+\), expected \(\d+ positions, 14 chromosomes\)"),
        ("unsorted", r"positions must be sorted, but \d+ is followed by \d+"),
        ("beyond", r"positions must lie in \[0, 5000\), but run from 100\d+ to 100\d+"),
        ("before", r"positions must lie in \[0, 5000\), but run from -\d+ to -\d+"),
        ("codes", r"genotypes must be -1 \(missing\), 0, 1, …, but -3 occurs"),
        ("carriers", r"its chromosomes are not those of the design's samples"),
    ],
)
def test_a_simulator_that_yields_nonsense(how, what):
    message = rf"'toy-nonsense' failed at rate=20\.1235 with seed 11: .*{what}\n{COMMAND}"
    work = task(simulator="toy-nonsense", options={"how": how}, rate=20.123456789, label=LABEL)
    with pytest.raises(SimulationError, match=message):
        simulation.simulate_task(work)


def test_a_tree_sequence_of_another_length():
    with pytest.raises(SimulationError, match="sequence length 100, the window has 5000 base pairs"):
        simulation.simulate_task(task(simulator="toy-trees", options={"length": 100}))


def test_a_simulator_of_another_kind_of_design():
    with pytest.raises(PluginError, match="'toy-other' produces loci; windows are what the data are"):
        simulation.simulate_task(task(simulator="toy-other"))
    loci = replace(setup(simulator="toy-other"), kind="loci")
    with pytest.raises(PluginError, match="encoding 'snp-matrix' takes windows; loci are what the data are"):
        simulation.simulate_task(task(loci))


def test_a_missing_plugin_is_the_plugin_error_on_every_executor(executor):
    with pytest.raises(PluginError, match=r"no simulator 'toyy' is installed.*did you mean 'toy'"):
        list(simulation.simulate([task(simulator="toyy")], executor))


def test_errors_survive_the_way_between_processes():
    with pytest.raises(SimulationError) as caught:
        simulation.simulate_task(task(simulator="toy-failing", options={"how": "raises"}))
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value)
    assert again.details == caught.value.details


# --- cost -------------------------------------------------------------------------------------------------------------


def test_checks_cost_little():
    """Against the 1.5 ms of an msprime window: checks below a fiftieth, pipeline and encodings below a third."""
    templates = (template(recombination=RecombinationMap(np.array([0.0, 5e3]), np.array([1e-8]))),) * 16
    work = Task(setup(options={"scale": 2.0}), {"rate": 50.0}, templates, 7)
    raw = list(simulation.raw_observations(work.setup, work.theta, templates, 7))
    assert _best(lambda: [simulation._problem(h, LENGTH, h.carriers) for h in raw]) / 16 < 30e-6
    assert _best(lambda: simulation.simulate_task(work)) / 16 < 500e-6


def _best(function):
    seconds = []
    for _ in range(20):
        start = time.process_time()
        function()
        seconds.append(time.process_time() - start)
    return min(seconds)
