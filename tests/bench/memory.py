"""Peak memory: of a whole run's driver and workers, and of reading genomes ten times the shipped extract.

The long extract repeats the shipped one on the same contig, each copy shifted past the one before, with its regions and
its mask. What has to stay bounded is what grows with the genomes: they are read and kept in pieces. Every measurement
has a process of its own.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bench import processes
from tests.bench.data import ROOT

FOLDER = ROOT / ".bench" / "memory"
EXTRACT = "1kg-chr4-yri-ceu.vcf.gz"
REGIONS, ACCESSIBLE, PANEL = "1kg-chr4-regions.bed", "1kg-chr4-accessible.bed", "1kg-chr4-yri-ceu.panel.tsv"
COPIES = 10
_SHIFT = 200_000_000  # more than the contig is long
_LOOK = 0.5


def measure(workers: int) -> list[dict[str, Any]]:
    """Records: genomes read, ten times as many, and a run of ``yri-ceu`` past the bound on training."""
    found = []
    for what, arguments in (
        ("read", ["read", "1"]),
        ("read", ["read", str(COPIES)]),
        ("run", ["run", str(workers)]),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "tests.bench.memory", *arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        found.append({"what": what, **json.loads(done.stdout.splitlines()[-1])})
        print(f"  {found[-1]}", flush=True)
    return found


class Watch:
    """Looks at all processes below this one twice a second, and remembers each one's peak."""

    def __init__(self) -> None:
        self.peaks: dict[int, processes.Peak] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(_LOOK):
            self.peaks.update((p.pid, p) for p in processes.peak_memory())


def read(copies: int) -> dict[str, Any]:
    """Open the genomes and take every window's haplotypes and template once, as a run does."""
    from ganinfer.genomes import GenomeSource, WindowSettings, open_genomes

    folder = long_extract(copies)
    source = GenomeSource(
        genotypes=(folder / EXTRACT,),
        samples=ROOT / "experiments" / PANEL,
        regions=folder / REGIONS,
        accessible=folder / ACCESSIBLE,
    )
    with tempfile.TemporaryDirectory(prefix="memory-") as cache, Watch() as watch:
        genomes = open_genomes(
            source, WindowSettings(length=50_000, min_accessible=0.5, block_length=1_000_000), Path(cache)
        )
        sites, anonymous = 0, 0
        for i in range(len(genomes.windows)):
            sites += genomes.haplotypes(i).num_sites
            anonymous = max(anonymous, processes.anonymous_memory())
        store = sum(f.stat().st_size for f in Path(cache).rglob("*") if f.is_file())
        peak = processes.peak_memory()[0]
    return {
        "copies": copies,
        "megabases": round(50_000 * len(genomes.windows) / 1e6, 1),
        "windows": len(genomes.windows),
        "sites": sites,
        "chromosomes": 2 * len(genomes.individuals),
        "file_bytes": (folder / EXTRACT).stat().st_size,
        "store_bytes": store,
        "driver_peak": peak.size,
        "driver_anonymous": anonymous,
        "reader_peak": max((p.size for p in watch.peaks.values() if p.pid != peak.pid), default=0),
        "cpu_seconds": round(processes.cpu_seconds(), 1),
    }


def run(workers: int) -> dict[str, Any]:
    """A run of ``yri-ceu`` that passes the bound on the windows kept for training."""
    from ganinfer import experiment, runner, training

    bound = training.TrainingSettings().windows
    windows = 5 * bound // 4
    overrides = [f"budget.simulated_windows={windows}", f"execution.workers={workers}"]
    loaded = experiment.load(ROOT / "experiments" / "yri-ceu.yaml", overrides)
    # There, so that the genomes are read and not found in the cache of the current folder.
    with tempfile.TemporaryDirectory(prefix="memory-") as folder, contextlib.chdir(folder), Watch() as watch:
        runner.run(loaded, Path(folder) / "run")
        own = processes.peak_memory()[0]
    return {
        "windows": windows,
        "training_windows": bound,
        "workers": workers,
        "driver_peak": own.size,
        "worker_peak": processes.workers_peak(watch.peaks.values()),
        "cpu_seconds": round(processes.cpu_seconds(), 1),
    }


def long_extract(copies: int) -> Path:
    """The folder of the extract repeated ``copies`` times, made if it is not there."""
    folder = FOLDER / f"{copies}-copies"
    if (folder / "complete").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    length = copies * _SHIFT
    with gzip.open(folder / EXTRACT, "wt", compresslevel=1) as out:
        for copy in range(copies):
            with gzip.open(ROOT / "experiments" / EXTRACT, "rt") as lines:
                for line in lines:
                    if line.startswith("#"):
                        if copy == 0:
                            out.write(f"##contig=<ID=4,length={length}>\n" if line.startswith("##contig") else line)
                        continue
                    contig, position, rest = line.split("\t", 2)
                    out.write(f"{contig}\t{int(position) + copy * _SHIFT}\t{rest}")
    for name in (REGIONS, ACCESSIBLE):
        rows = [line.split() for line in (ROOT / "experiments" / name).read_text().splitlines()]
        (folder / name).write_text("".join(_shifted(rows, copy) for copy in range(copies)))
    (folder / "complete").touch()
    return folder


def _shifted(rows: Sequence[Sequence[str]], copy: int) -> str:
    offset = copy * _SHIFT
    return "".join(f"{contig}\t{int(left) + offset}\t{int(right) + offset}\n" for contig, left, right in rows)


if __name__ == "__main__":
    print(json.dumps((read if sys.argv[1] == "read" else run)(int(sys.argv[2]))))
