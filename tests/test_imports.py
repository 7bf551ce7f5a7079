"""What a worker and `ganinfer --help` must not import."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

#: Everything that a worker may load, and the generators.
LIGHT = [
    "parameters", "randomness", "windows", "haplotypes", "interfaces", "plugins", "pipeline", "encodings", "statistics",
    "models", "execution", "execution.process", "execution.worker", "execution.serial", "execution.ray_tasks",
    "genomes", "simulation", "generators", "generators.matching", "generators.annealing", "generators.cma_es",
    "testing",
]  # fmt: skip
BLOCKED = ("tensorflow", "keras", "mlflow")
#: Costly, and needed only by who reads genomes, simulates or draws.
HEAVY = (
    *BLOCKED,
    "ray",
    "msprime",
    "tskit",
    "demes",
    "stdpopsim",
    "cyvcf2",
    "matplotlib",
    "pandas",
    "pyarrow",
    "scipy",
)
SCRIPT = """
import importlib, json, sys
for name in json.loads(sys.argv[1]):
    sys.modules[name] = None
for name in json.loads(sys.argv[2]):
    importlib.import_module(name)
print(json.dumps([m for m in json.loads(sys.argv[3]) if sys.modules.get(m) is not None]))
"""


def imported(modules, *, blocked=(), looked_for=()):
    """Which of ``looked_for`` are loaded after importing ``modules`` in a fresh interpreter."""
    arguments = [json.dumps(list(x)) for x in (blocked, modules, looked_for)]
    result = subprocess.run([sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def present():
    """The modules of :data:`LIGHT`; all of them have to exist."""
    return [f"ganinfer.{name}" for name in LIGHT]


def test_everything_below_training_imports_without_tensorflow_and_mlflow(present):
    imported(present, blocked=BLOCKED)


def test_what_a_worker_loads_is_light(present):
    worker = [m for m in present if not m.startswith(("ganinfer.generators", "ganinfer.genomes", "ganinfer.models"))]
    assert imported(worker, looked_for=HEAVY) == []


def test_ganinfer_itself_is_light():
    assert imported(["ganinfer"], looked_for=(*HEAVY, "numpy")) == []
    assert imported(["ganinfer.execution"], looked_for=(*HEAVY, "numpy")) == []


def test_built_in_simulators_import_without_tensorflow_and_mlflow():
    imported(["simulators.demes", "simulators.msprime"], blocked=BLOCKED)


def test_a_check_of_the_default_network_does_without_tensorflow():
    script = (
        "import sys; from ganinfer import runner; from ganinfer.experiment import load; "
        "runner.check(load('experiments/const.yaml', ['data.simulate.windows=60'])); "
        "sys.exit('tensorflow' in sys.modules)"
    )
    folder = Path(__file__).parent.parent
    result = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
