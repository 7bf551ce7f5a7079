"""The contract kit: sound plugins pass, and every clause can fail."""

from __future__ import annotations

import subprocess
import sys
import types

import pytest

from ganinfer import plugins, testing
from ganinfer.haplotypes import SampleSet
from ganinfer.interfaces import Design, WindowTemplate
from tests import toy_plugins

pytestmark = pytest.mark.usefixtures("toys")


# --- simulators ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["toy", "toy-trees"])
def test_sound_simulators_pass(name):
    report = testing.check_simulator(name)
    assert report.ok, str(report)
    assert len(report.passed) == 14


def test_an_instance_passes_what_can_be_asked_of_it():
    report = testing.check_simulator(plugins.load("simulators", "toy")(scale=0.5))
    assert report.ok, str(report)
    assert set(report.skipped) == {"options", "loci", "fresh process"}


def test_a_simulator_in_a_file_passes(tmp_path):
    path = toy_plugins.write(tmp_path, "mine.py", toy_plugins.SIMULATORS)
    report = testing.check_simulator({**plugins.read_code(path, "mine.py"), "class": "Toy"}, {"scale": 2.0})
    assert report.ok, str(report)
    assert report.title == "simulator mine.py"


def test_design_and_parameters_can_be_given():
    design = Design((SampleSet("P", 2, ploidy=1), SampleSet("Q", 1, ploidy=4)), (WindowTemplate(500),))
    assert testing.check_simulator("toy", design=design, theta={"rate": 3.0}).ok


@pytest.mark.parametrize(
    ("name", "options", "failed"),
    [
        ("toy-global", None, {"options", "same seed", "order of calls", "fresh process"}),
        ("toy-cached", None, {"options", "same seed", "order of calls", "fresh process"}),
        ("toy-constant", None, {"different seed"}),
        ("toy-mutating", None, {"theta untouched"}),
        ("toy-cornered", None, {"prior corners"}),
        ("toy-broken", None, {"interface"}),
        ("toy-old", None, {"interface"}),
        ("toy-other", None, {"loci", "prior corners"}),
        ("toy-picky", None, {"interface"}),
        ("toy-no-parameters", None, {"interface"}),
    ],
)
def test_every_fault_of_a_simulator_is_found(name, options, failed):
    assert set(testing.check_simulator(name, options).failed) == failed


@pytest.mark.parametrize(
    ("how", "clause"),
    [
        ("too few", "number of observations"),
        ("too many", "number of observations"),
        ("float", "shapes"),
        ("transposed", "shapes"),
        ("unsorted", "positions"),
        ("beyond", "positions"),
        ("codes", "allele codes"),
        ("carriers", "chromosomes"),
    ],
)
def test_nonsense_fails_the_clause_that_it_breaks(how, clause):
    design = Design((SampleSet("A", 4), SampleSet("B", 3)), (WindowTemplate(5_000),) * 2)
    failed = testing.check_simulator("toy-nonsense", {"how": how}, design=design).failed
    assert clause in failed
    shape_rules = {"shapes", "positions", "allele codes", "chromosomes"}
    assert not (shape_rules & failed.keys()) - {clause} or how in ("too few", "too many")


def test_a_simulator_that_brings_heavy_packages_into_workers(tmp_path, monkeypatch):
    """A stand-in for MLflow, which takes seconds to import; it must not stay in this process."""
    monkeypatch.setitem(sys.modules, "mlflow", types.ModuleType("mlflow"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "mlflow.py").write_text("")
    beside = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import mlflow"
    text = toy_plugins.SIMULATORS.replace("import mlflow", beside)
    path = toy_plugins.write(tmp_path, "mine.py", text)
    plugin = {**plugins.read_code(path, "mine.py"), "class": "Heavy"}
    report = testing.check_simulator(plugin)
    assert "a worker would import mlflow" in report.failed["fresh process"]


# --- generators ---------------------------------------------------------------------------------------------------


def test_a_sound_generator_passes():
    report = testing.check_generator("toy-prior")
    assert report.ok, str(report)


def test_faults_of_a_generator_are_found():
    failed = testing.check_generator("toy-prior", {"stray": True, "proposals": 5}).failed
    assert {"state", "proposals"} <= set(failed)
    assert "do not come through JSON unchanged" in failed["state"]


def test_a_plan_beyond_the_budget_is_found():
    assert "the budget is 2400" in testing.check_generator("toy-prior", {"proposals": 4000}).failed["plan"]


# --- discriminators -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_sound_discriminator_passes():
    report = testing.check_discriminator("toy-net")
    assert report.ok, str(report)
    assert set(report.skipped) == {"order of chromosomes", "padding"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["floats", "sequential", "wrapped"])
def test_keras_models_of_other_kinds_pass(kind):
    report = testing.check_discriminator("toy-keras", {"kind": kind})
    assert report.ok, str(report)
    assert "training" in report.passed


@pytest.mark.slow
def test_what_is_no_network_is_said_once():
    report = testing.check_discriminator("toy-keras", {"kind": "subclassed"})
    assert report.failed.keys() == {"builds"}
    assert "does not say which arrays it reads; return keras.Model(inputs" in report.failed["builds"]


@pytest.mark.slow
def test_a_network_that_a_run_cannot_train_is_found():
    """In training it drops all windows of a batch but the first."""
    import keras

    class FirstAlone(keras.layers.Layer):
        def call(self, inputs, training=None):
            return inputs[:1] if training else inputs

    def build(spec):
        counts = keras.Input(spec["counts"].shape, name="counts")
        return keras.Model(counts, FirstAlone()(keras.layers.Dense(4)(keras.layers.Flatten()(counts))))

    module = types.SimpleNamespace(build=build, encodings=("joint-counts",))
    assert "training" in testing.check_discriminator(module).failed


@pytest.mark.slow
def test_a_network_that_mixes_counts_with_the_matrix_site_by_site_is_found():
    import keras

    def build(spec):
        counts = keras.Input(spec["counts"].shape, dtype="int16", name="counts")
        mask = keras.Input(spec["mask"].shape, dtype="uint8", name="mask")
        masked = keras.ops.cast(counts, "float32") * keras.ops.cast(mask, "float32")[:, :, None]
        return keras.Model({"counts": counts, "mask": mask}, keras.layers.Dense(4)(keras.ops.sum(masked, axis=1)))

    assert testing.check_discriminator(types.SimpleNamespace(build=build)).failed.keys() == {"builds"}


@pytest.mark.slow
def test_false_claims_of_a_discriminator_are_found():
    assert set(testing.check_discriminator("toy-ordered").failed) == {"order of chromosomes", "padding"}


# --- reports and pytest -------------------------------------------------------------------------------------------


def test_a_report_is_json_values_for_the_command_line():
    values = testing.check_plugin("simulators", "toy-constant")
    assert values["plugin"] == "simulator toy-constant"
    assert values["failed"] == {"different seed": "seeds 1234 and 2147483647 gave the same observations"}
    assert "same seed" in values["passed"]
    assert testing.check_plugin("demographies", "toy-demography")["failed"] == {}
    assert testing.check_plugin("demographies", "toy-number")["failed"].keys() == {"interface"}


def test_what_cannot_be_loaded_is_not_tried_further():
    report = testing.check_simulator("toy-broken")
    assert set(report.skipped.values()) == {"the plugin cannot be used at all"}
    assert "half installed" in report.failed["interface"]


@testing.parametrize("simulators", "toy", {"scale": 0.5})
def test_contract_by_pytest(check):
    check()


def test_a_check_raises_what_is_wrong():
    found = {check.name: check for check in testing.checks("simulators", "toy-constant")}
    with pytest.raises(AssertionError, match="gave the same observations"):
        found["different seed"]()


def test_the_kit_needs_neither_pytest_nor_tensorflow(toys):
    code = (
        "import sys; sys.modules['pytest'] = sys.modules['tensorflow'] = sys.modules['keras'] = None\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from ganinfer import testing\n"
        "assert testing.check_simulator('toy').ok and testing.check_generator('toy-prior').ok"
    )
    subprocess.run([sys.executable, "-c", code, str(toys)], check=True)


@pytest.mark.parametrize("name", ["demes", "msprime"])
def test_simulators_of_loci_keep_the_contract(name):
    from ganinfer.testing.simulators import example_loci

    report = testing.check_simulator(name, design=example_loci({"A": 4}))
    assert report.ok, str(report)


def test_a_simulator_of_loci_alone_is_checked_on_loci():
    text = """
import numpy as np
from ganinfer.haplotypes import Haplotypes, chromosomes
from ganinfer.parameters import Parameter, Parameters


class Coins:
    api_version, produces = "1", "loci"
    parameters = Parameters((Parameter("p", 0.1, 0.9),))
    example = {"samples": {"A": 5}}

    def simulate(self, theta, design, seed):
        rng = np.random.default_rng(seed)
        for template in design.templates:
            shape = (len(template.locus), design.num_chromosomes)
            genotypes = (rng.random(shape) < theta["p"]).astype(np.int8)
            yield Haplotypes(genotypes, template.locus, chromosomes(design.samples))
"""
    code = {"file": "coins.py", "class": "Coins", "text": text}
    report = testing.check_simulator(code)
    assert report.ok, str(report)
    wrong = testing.check_simulator(
        {**code, "text": text.replace("template.locus, chrom", "template.locus[::-1], chrom")}
    )
    assert not wrong.ok
