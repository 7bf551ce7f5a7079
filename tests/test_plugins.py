"""Plugins: listed without import, loaded lazily, and every way of being broken has its message."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ganinfer import plugins
from ganinfer.plugins import PluginError
from tests import toy_plugins


@pytest.fixture
def site(tmp_path, monkeypatch, toys):
    """A folder of one's own on the search path."""
    monkeypatch.syspath_prepend(tmp_path)
    plugins.refresh()
    yield tmp_path
    monkeypatch.undo()
    plugins.refresh()


def named(kind, name):
    return next(p for p in plugins.available(kind) if p.name == name)


def test_built_ins_are_listed():
    assert {"demes", "msprime"} <= {p.name for p in plugins.available("simulators")}
    assert {"exchangeable", "pg-gan"} <= {p.name for p in plugins.available("discriminators")}
    assert {"matching", "annealing", "cma-es"} <= {p.name for p in plugins.available("generators")}


def test_listing_imports_nothing_and_names_the_distribution(toys):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from ganinfer import plugins\n"
        "for kind in plugins.GROUPS: plugins.available(kind)\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('toyplugins', 'simulators', 'discriminators')])"
    )
    listed = subprocess.run([sys.executable, "-c", code, str(toys)], capture_output=True, text=True, check=True)
    assert listed.stdout.strip() == "[]"
    toy = named("simulators", "toy")
    assert (toy.distribution, toy.version, toy.value) == ("toy-plugins", "1.0", "toyplugins.simulators:Toy")


def test_broken_plugins_do_not_break_the_list(toys):
    assert "toypluginsgone" in named("simulators", "toy-gone").error
    assert "package.module:attribute" in named("simulators", "toy-malformed").error
    assert named("simulators", "toy-broken").error is None
    assert named("simulators", "toy").error is None
    names = [p.name for p in plugins.available("simulators")]
    assert names == sorted(names)


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("simulators", "toi", r"no simulator 'toi' is installed; installed: .*demes.*; did you mean 'toy'\?"),
        ("simulators", "qqqqqqq", r"installed: demes, [^;]*$"),
        ("generators", "matchin", r"did you mean 'matching'\?"),
        ("demographies", "nobody", r"no demography 'nobody' is installed"),
        ("networks", "toy", r"unknown kind of plugin 'networks'; there are simulators, discriminators"),
        ("simulators", "toy-broken", r"\(toy-plugins 1\.0, .*\) could not be imported: RuntimeError: half installed"),
        ("simulators", "toy-attribute", r"could not be imported: AttributeError: .*Nobody"),
        ("simulators", "toy-gone", r"toy-plugins 1\.0.*the package 'toypluginsgone' is not installed"),
        ("simulators", "toy-malformed", r"not of the form package\.module:attribute"),
        ("simulators", "toy-old", r"is written for interface 0\.3, this is ganinfer .* with interface 1"),
        ("simulators", "toy-class", r"has no api_version, produces, simulate"),
        ("demographies", "toy-number", r"is not a function of named parameters"),
    ],
)  # fmt: skip
def test_what_cannot_be_loaded_says_why(toys, kind, name, message):
    with pytest.raises(PluginError, match=message):
        plugins.load(kind, name)


def test_loads_every_kind(toys):
    assert plugins.load("simulators", "toy").produces == "windows"
    assert callable(plugins.load("discriminators", "toy-net").build)
    assert plugins.load("generators", "toy-prior").api_version == "1"
    assert callable(plugins.load("demographies", "toy-demography"))


def test_a_name_registered_twice_names_both_distributions(site):
    toy_plugins.metadata(site, "rival", "2.1", "[ganinfer.simulators]\ntoy = toyplugins.simulators:Trees\n")
    plugins.refresh()
    both = r"registered more than once, by rival 2\.1 .*Trees.* and by toy-plugins 1\.0 .*Toy.*uninstall all but one"
    with pytest.raises(PluginError, match=both):
        plugins.load("simulators", "toy")
    assert [bool(p.error) for p in plugins.available("simulators") if p.name == "toy"] == [True, True]


@pytest.mark.parametrize("regular", [True, False])
def test_a_folder_that_hides_the_built_ins_is_named(tmp_path, regular):
    """``simulators`` in the folder where a user works, as a package or as a plain folder of scripts."""
    toy_plugins.write(tmp_path / "simulators", "__init__.py" if regular else "demes.py", "DemesSimulator = print\n")
    code = "from ganinfer import plugins; plugins.load('simulators', 'demes')"
    result = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert f"{tmp_path / 'simulators'} hides ganinfer's own package 'simulators'" in result.stderr
    assert "rename it" in result.stderr


def test_simulators_are_constructed_once_for_the_same_options(toys):
    first = plugins.load_simulator("toy", {"scale": 2.0})
    assert plugins.load_simulator("toy", {"scale": 2.0}) is first
    assert plugins.load_simulator("toy", {"scale": 3.0}) is not first
    assert first.scale == 2.0


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("toy", {"scal": 1}, r"'toy' has no option 'scal'; it takes scale; did you mean 'scale'\?"),
        ("toy-picky", {}, r"'toy-picky' needs the option depth"),
        ("toy-picky", {"depth": -1}, r"'toy-picky': depth must not be negative, got -1"),
        ("toy-picky", {"depth": None}, r"'toy-picky' failed on its options: TypeError"),
        ("toy-picky", {"depth": {1, 2}}, r"options of 'toy-picky' must be JSON values"),
        ("toy-picky", {"depth": float("nan")}, r"must be JSON values"),
        ("toy-no-parameters", {}, r"'toy-no-parameters' has no parameters"),
    ],
)
def test_options_that_cannot_be_used_say_why(toys, name, options, message):
    with pytest.raises(PluginError, match=message):
        plugins.load_simulator(name, options)


def code(text, name="mine.py", **changes):
    return {"file": name, "text": text, "sha256": hashlib.sha256(text.encode()).hexdigest(), **changes}


FILE_SIMULATOR = """
from dataclasses import dataclass
from ganinfer.parameters import Parameter, Parameters

@dataclass
class Settings:
    depth: int = 1

class Mine:
    api_version = "1"
    produces = "windows"
    parameters = Parameters((Parameter("rate", 1.0, 2.0),))

    def __init__(self, *, depth=1):
        self.settings = Settings(depth)

    def simulate(self, theta, design, seed):
        return iter(())
"""


def test_a_simulator_in_a_file_is_constructed_from_its_text():
    simulator = plugins.load_simulator({**code(FILE_SIMULATOR), "class": "Mine"}, {"depth": 4})
    assert simulator.settings.depth == 4
    assert plugins.load_simulator({**code(FILE_SIMULATOR), "class": "Mine"}, {"depth": 4}) is simulator


def test_a_file_is_read_with_its_digest(tmp_path):
    path = toy_plugins.write(tmp_path, "mine.py", FILE_SIMULATOR)
    read = plugins.read_code(path, "models/mine.py")
    assert read["file"] == "models/mine.py"
    assert read["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(PluginError, match=r"gone\.py: cannot be read as a Python file"):
        plugins.read_code(tmp_path / "gone.py", "gone.py")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (code("x = 1\ndef f(:\n"), r"mine\.py, line 2: invalid syntax"),
        (code("import math\n1 / 0\n"), r"mine\.py, line 2: ZeroDivisionError: division by zero"),
        (code("import helpers_beside\n"), r"mine\.py, line 1: ModuleNotFoundError.*the file travels alone"),
        (code("class Mime: pass\n"), r"mine\.py: defines no 'Mine'; it defines Mime; did you mean 'Mime'\?"),
        (code("Mine = 1\n", sha256="0" * 64), r"the text has SHA-256 .*, the experiment recorded 0000"),
        (code("raise SystemExit(2)\n"), r"mine\.py, line 1: SystemExit: 2"),
    ],
)
def test_a_broken_file_is_named_with_the_line(given, message):
    with pytest.raises(PluginError, match=message):
        plugins.load_code(given, "Mine")


def test_a_class_in_a_file_is_held_to_the_interface():
    with pytest.raises(PluginError, match=r"simulator Mine of mine\.py has no api_version, produces, simulate"):
        plugins.load_simulator({**code("class Mine: pass\n"), "class": "Mine"}, {})


def test_built_ins_lie_beside_the_engine():
    assert Path(plugins.load("simulators", "demes").__module__.replace(".", "/")).parts[0] == "simulators"
