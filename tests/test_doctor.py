"""``ganinfer doctor``: what it finds here, and what it would say elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ganinfer import doctor


def status(checks: list[doctor.Check], name: str) -> str:
    return next(check.status for check in checks if check.name == name)


def test_this_installation_is_in_order() -> None:
    checks = [doctor.python(), *doctor.packages(), doctor.duplicate_tensorflow(), doctor.cores(), doctor.memory()]
    assert {check.name for check in checks} >= {"python", "tensorflow", "msprime", "ray", "mlflow", "numpy", "cores"}
    assert [check for check in checks if check.status == "problem"] == []


def test_versions_are_held_against_the_tested_ranges() -> None:
    (old,) = doctor.packages(["numpy>=99"])
    assert (old.status, old.remedy) == ("problem", 'pip install "numpy>=99"')
    (gone,) = doctor.packages(["no-such-package>=1"])
    assert (gone.status, gone.found, gone.remedy) == ("problem", "not installed", 'pip install "no-such-package>=1"')
    (optional,) = doctor.packages(['no-such-package>=1; extra == "zarr"'])
    assert (optional.status, "ganinfer[zarr]" in optional.remedy) == ("note", True)
    (second,) = doctor.packages(['no-such-package>=1; extra == "sfs"'])
    assert second.remedy == 'pip install "ganinfer[sfs]" for a second opinion by moments on every run'
    assert doctor.packages(['pytest>=8; extra == "dev"', 'numpy>=2; python_version < "3"']) == []


def test_two_distributions_of_tensorflow_are_a_problem() -> None:
    check = doctor.duplicate_tensorflow(["tensorflow", "tensorflow-cpu"])
    assert check.status == "problem"
    assert check.found == "tensorflow and tensorflow-cpu overwrite each other's files"
    assert check.remedy == "pip uninstall tensorflow tensorflow-cpu, then pip install tensorflow"


def test_a_folder_that_cannot_be_written_is_a_problem(tmp_path: Path) -> None:
    assert doctor.disk(tmp_path / "runs").found.endswith(str(tmp_path))
    if os.geteuid() == 0:
        pytest.skip("root writes everywhere")
    tmp_path.chmod(0o500)
    assert doctor.disk(tmp_path / "runs").status == "problem"


def test_no_shared_memory_is_no_problem(tmp_path: Path) -> None:
    assert doctor.shared_memory(tmp_path / "gone").status == "ok"
    assert "GB free" in doctor.shared_memory(tmp_path).found


def test_what_could_not_be_tried_is_a_problem_with_a_remedy() -> None:
    for check in (doctor._mlflow, doctor._ray, doctor._tensorflow, doctor._plugins):
        (found,) = check({"error": "TrackingError: no answer"})
        assert (found.status, found.found) == ("problem", "TrackingError: no answer")
        assert found.remedy


def test_a_probe_that_dies_or_hangs_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no_such" in str(doctor._probe("no_such")["error"])
    monkeypatch.setattr(doctor, "PROBE_SECONDS", 0.01)
    assert doctor._probe("plugins") == {"error": "gave no answer within 0.01 s"}


@pytest.mark.slow
def test_the_command_tries_everything(tmp_path: Path, toys: Path) -> None:
    """TensorFlow, Ray, MLflow and every plugin, among them the broken ones of :mod:`tests.toy_plugins`."""
    done = subprocess.run(
        [sys.executable, "-c", "from ganinfer.cli import main; main()", "doctor", "--json"],
        env={**os.environ, "PYTHONPATH": str(toys)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    checks = [doctor.Check(**check) for check in json.loads(done.stdout)]
    for name in ("training step", "devices", "ray task", "mlflow", "simulator demes", "simulator msprime"):
        assert status(checks, name) == "ok", checks
    broken = [check for check in checks if check.status == "note" and check.name.startswith("simulator")]
    assert broken, "the toy plugins have broken ones"
    assert all(check.remedy for check in broken)
    assert done.returncode == (1 if any(check.status == "problem" for check in checks) else 0)
    assert list(tmp_path.iterdir()) == []
