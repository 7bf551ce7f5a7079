"""Whether this machine and this installation can run ganinfer: each check says what it found and what would mend it.

What may crash, hang or print (TensorFlow, Ray, MLflow, plugins of others) is tried in a process of its own.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement

from ganinfer import plugins

Status = Literal["ok", "note", "problem"]

#: Distributions that all install the import package ``tensorflow``; two of them overwrite each other's files.
TENSORFLOW = ("tensorflow", "tensorflow-cpu", "tf-nightly", "tf-nightly-cpu", "tensorflow-macos", "tensorflow-rocm")
#: Programs that are of use beside ganinfer, and for what.
TOOLS = {"bcftools": "to index, subset and convert VCF files", "tabix": "to index VCF files"}
GIGABYTE = 1e9
#: Below these, runs of the shipped size get into trouble (bytes).
ENOUGH_MEMORY, ENOUGH_DISK, ENOUGH_SHM = 4 * GIGABYTE, 5 * GIGABYTE, 1 * GIGABYTE
PROBE_SECONDS = 180


@dataclass(frozen=True)
class Check:
    """One finding: ``note`` is worth knowing, ``problem`` will stop a run; ``remedy`` says what would be right."""

    name: str
    status: Status
    found: str
    remedy: str = ""

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


def examine(*, ray: str | None = None, mlflow: str | None = None, runs: Path = Path("runs")) -> list[Check]:
    """Every check. ``ray`` is the address of a cluster, ``mlflow`` a tracking URI, to try instead of local ones."""
    checks = [python(), *packages(), duplicate_tensorflow(), cores(), memory(), shared_memory(), disk(runs)]
    # One after the other: a machine that is just large enough must not fail for being asked everything at once.
    checks += _tensorflow(_probe("tensorflow"))
    checks += _ray(_probe("ray", ray or ""))
    checks += _mlflow(_probe("mlflow", mlflow or "", str(runs)))
    return [*checks, *_plugins(_probe("plugins")), *tools()]


# --- the installation -------------------------------------------------------------------------------------------


def python() -> Check:
    requires = metadata.metadata("ganinfer")["Requires-Python"] or ""
    found = f"{platform.python_version()} on {platform.platform()}"
    good = Requirement(f"python{requires}").specifier.contains(platform.python_version(), prereleases=True)
    return Check("python", "ok" if good else "problem", found, "" if good else f"use Python {requires}")


#: What extras are good for.
_EXTRAS = {"zarr": "VCF Zarr and .tsz", "sfs": "a second opinion by moments on every run"}


def packages(requirements: Sequence[str] | None = None) -> list[Check]:
    """Installed versions against the ranges that ganinfer is tested with."""
    found = metadata.requires("ganinfer") or [] if requirements is None else requirements
    checks = []
    for requirement in map(Requirement, found):
        extra = _extra(requirement)
        if extra not in (None, *_EXTRAS) or (
            requirement.marker and not requirement.marker.evaluate({"extra": extra or ""})
        ):
            continue
        checks.append(_package(requirement, extra))
    return checks


def _extra(requirement: Requirement) -> str | None:
    text = str(requirement.marker or "")
    return text.split('extra == "')[1].split('"')[0] if 'extra == "' in text else None


def _package(requirement: Requirement, extra: str | None) -> Check:
    name, allowed = requirement.name, str(requirement.specifier)
    installed = version(name)
    if installed is None and name == "tensorflow":
        others = [other for other in TENSORFLOW if version(other)]
        name = others[0] if others else name
        installed = version(name)
    if installed is None:
        wanted = f'pip install "ganinfer[{extra}]" for {_EXTRAS[extra]}' if extra else ""
        remedy = wanted or f'pip install "{name}{allowed}"'
        return Check(name, "note" if extra else "problem", "not installed", remedy)
    if not requirement.specifier.contains(installed, prereleases=True):
        return Check(name, "problem", f"{installed}, tested with {allowed}", f'pip install "{name}{allowed}"')
    return Check(name, "ok", installed)


def version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def duplicate_tensorflow(installed: Sequence[str] | None = None) -> Check:
    """Two distributions of one import package overwrite each other, and pip does not see it."""
    found = [name for name in TENSORFLOW if version(name)] if installed is None else list(installed)
    if len(found) < 2:
        return Check("tensorflow distributions", "ok", ", ".join(found) or "none")
    remedy = f"pip uninstall {' '.join(found)}, then pip install {found[0]}"
    return Check("tensorflow distributions", "problem", f"{' and '.join(found)} overwrite each other's files", remedy)


def tools() -> list[Check]:
    """Optional programs."""
    found = {name: shutil.which(name) for name in TOOLS}
    return [
        Check(name, "ok", path) if path else Check(name, "note", "not found", f"optional: {TOOLS[name]}")
        for name, path in found.items()
    ]


# --- the machine ------------------------------------------------------------------------------------------------


def cores() -> Check:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cpu_quota()
    found = f"{usable} usable" + (f", limited to {quota:g} by the container" if quota and quota < usable else "")
    if quota and quota < usable:
        return Check("cores", "note", found, f"set execution.workers to {max(1, int(quota))}")
    return Check("cores", "ok", found)


def _cpu_quota() -> float | None:
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return None


def memory() -> Check:
    total, available = _memory()
    if total is None or available is None:
        return Check("memory", "note", "cannot be read on this system")
    found = f"{total / GIGABYTE:.1f} GB, {available / GIGABYTE:.1f} GB free"
    if available < ENOUGH_MEMORY:
        return Check("memory", "note", found, f"at least {ENOUGH_MEMORY / GIGABYTE:.0f} GB free are advisable")
    return Check("memory", "ok", found)


def _memory() -> tuple[float | None, float | None]:
    """Bytes in all and available, the container's limit taken into account."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
        total, available = float(sizes["MemTotal"]), float(sizes["MemAvailable"])
    except (OSError, ValueError, KeyError, IndexError):
        return None, None
    try:
        limit = float(Path("/sys/fs/cgroup/memory.max").read_text())
        used = float(Path("/sys/fs/cgroup/memory.current").read_text())
        return min(total, limit), min(available, limit - used)
    except (OSError, ValueError):
        return total, available


def shared_memory(folder: Path = Path("/dev/shm")) -> Check:
    """Ray's object store lives there and falls back to the disk where it is small."""
    if not folder.is_dir():
        return Check("shared memory", "ok", "no /dev/shm on this system")
    free = shutil.disk_usage(folder).free
    found = f"{free / GIGABYTE:.2f} GB free in {folder}"
    if free < ENOUGH_SHM:
        return Check("shared memory", "note", found, "Ray will be slow; in Docker: --shm-size=2g, or executor: process")
    return Check("shared memory", "ok", found)


def disk(runs: Path) -> Check:
    folder = next(path for path in (runs.absolute(), *runs.absolute().parents) if path.is_dir())
    free = shutil.disk_usage(folder).free
    found = f"{free / GIGABYTE:.0f} GB free in {folder}"
    if not os.access(folder, os.W_OK):
        return Check("disk", "problem", f"{folder} is not writable", "run elsewhere, or with --output FOLDER")
    if free < ENOUGH_DISK:
        return Check("disk", "note", found, f"at least {ENOUGH_DISK / GIGABYTE:.0f} GB are advisable")
    return Check("disk", "ok", found)


# --- what is tried in a process of its own ----------------------------------------------------------------------


def _probe(name: str, *arguments: str) -> dict[str, object]:
    """The JSON that a function of :mod:`ganinfer.probes` prints, or ``{"error": why}``."""
    # Not ``-m``: what workers are sent must be importable by its module's name.
    command = [sys.executable, "-c", "import sys; from ganinfer import probes; probes.main(*sys.argv[1:])"]
    with tempfile.TemporaryFile("w+") as errors:
        try:
            done = subprocess.run(
                [*command, name, *arguments],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                timeout=PROBE_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return {"error": f"gave no answer within {PROBE_SECONDS} s"}
        errors.seek(0)
        last = [line for line in errors.read().splitlines() if line.strip()][-1:]
    for line in reversed(done.stdout.splitlines()):
        if line.startswith("{"):
            return dict(json.loads(line))
    return {"error": f"ended with status {done.returncode}: {''.join(last)}"}


def _tensorflow(found: dict[str, object]) -> list[Check]:
    if "error" in found:
        remedy = "pip install --force-reinstall tensorflow; an old processor without AVX cannot run it"
        return [Check("training step", "problem", str(found["error"]), remedy)]
    devices = ", ".join(map(str, found["devices"])) if isinstance(found["devices"], list) else ""
    step = f"import {found['import_seconds']} s, compile and step {found['step_seconds']} s, Keras {found['keras']}"
    return [Check("training step", "ok", step), Check("devices", "ok", devices)]


def _ray(found: dict[str, object]) -> list[Check]:
    if "error" in found:
        return [Check("ray task", "problem", str(found["error"]), "without Ray: execution.executor: process")]
    return [Check("ray task", "ok", f"one task in {found['seconds']} s, {found['workers']} workers")]


def _mlflow(found: dict[str, object]) -> list[Check]:
    if "error" in found:
        return [Check("mlflow", "problem", str(found["error"]), "see tracking.uri; null is a local SQLite database")]
    return [Check("mlflow", "ok", f"run recorded at {found['uri']} in {found['seconds']} s")]


def _plugins(found: dict[str, object]) -> list[Check]:
    if "error" in found:
        return [Check("plugins", "problem", str(found["error"]), "ganinfer plugins list")]
    checks = []
    for kind in plugins.GROUPS:
        for info in plugins.available(kind):
            error = found.get(f"{kind}/{info.name}")
            name = f"{kind[:-1] if kind != 'demographies' else 'demography'} {info.name}"
            if error:
                remedy = "uninstall it or ask its authors; other plugins are not affected"
                ours = info.distribution == "ganinfer"
                checks.append(Check(name, "problem" if ours else "note", str(error), "" if ours else remedy))
            else:
                checks.append(Check(name, "ok", info.where))
    return checks
