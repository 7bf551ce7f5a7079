"""A run gives the same answer wherever it runs and however often it is killed, and a failing one can be repeated.

    python -m tests.verification.same_answer                     every group of checks, half an hour on two busy cores
    python -m tests.verification.same_answer executors kills     some of them
    python -m tests.verification.same_answer --folder FOLDER     keep the runs there

Every run is a process of its own, started by the command line: a small simulation study of two populations with the
default network, on TensorFlow with two threads, recorded in MLflow. Records are kept in
docs/verification/same-answer.json; a group that is done again replaces its own. Needs Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shlex
import signal
import sqlite3
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np

from ganinfer.experiment import Experiment, load
from ganinfer.runner.assembling import versions
from ganinfer.storage import completed_rounds
from tests.verification.processes import ROOT, Outcome, Program, call

RECORDS = ROOT / "docs" / "verification" / "same-answer.json"
SCHEMA_VERSION = 1
FILE = ROOT / "experiments" / "im.yaml"
#: Small, and with every step: training in the first rounds, then frozen networks.
SMALL = (
    "data.simulate.windows=100",
    "data.simulate.samples={A: 5, B: 5}",
    "windows.length=20000",
    "budget.simulated_windows=1500",
    "budget.rounds=4",
    "training.epochs=1",
    "training.windows=400",
    "generator.first_proposals=60",
    "generator.num_particles=100",
    "generator.steps=20",
    "execution.threads=2",
    "execution.executor=serial",
    "execution.workers=2",
)
EXECUTORS = {"process, 1 worker": 1, "process, 2 workers": 2, "ray, 1 worker": 1, "ray, 2 workers": 2}
RAY = "execution.executor=ray"
REFERENCE = "reference"
NUM_KILLS = 5


class Differs(AssertionError):
    """A check does not hold."""


class Bench:
    """The runs of one verification in ``folder``, and what was found."""

    def __init__(self, folder: Path, seed: int):
        self.folder, self.random = folder, random.Random(seed)
        self.records: list[dict[str, Any]] = []

    @contextmanager
    def check(self, group: str, name: str) -> Iterator[dict[str, Any]]:
        """One check: holds unless its body raises; what the body puts into the record is kept with it."""
        record: dict[str, Any] = {"group": group, "check": name, "passed": True}
        begun = time.monotonic()
        try:
            yield record
        except (AssertionError, OSError, ValueError, KeyError) as error:
            record |= {"passed": False, "problem": f"{type(error).__name__}: {error}".replace(str(self.folder), "RUNS")}
        record["seconds"] = round(time.monotonic() - begun, 1)
        self.records.append(record)
        shown = "pass" if record["passed"] else f"FAIL  {record['problem']}"
        print(f"{group:11} {name:66} {record['seconds']:6.0f} s  {shown}", flush=True)

    def run(self, name: str, *changes: str, file: Path = FILE, resume: bool = False) -> Program:
        """A run in the folder ``name``, under way."""
        changed = [word for text in (*(SMALL if file == FILE else ()), *changes) for word in ("--set", text)]
        arguments = ["run", str(file), *changed, "--output", str(self.folder / name), "--json"]
        return Program([*arguments, *["--resume"] * resume], self.folder)

    def finish(self, name: str, *changes: str, file: Path = FILE, resume: bool = False) -> Outcome:
        """A run, done."""
        return done(self.run(name, *changes, file=file, resume=resume).outcome())

    def reference(self, *changes: str) -> Path:
        """The folder of a run that nothing disturbed."""
        folder = self.folder / (f"{REFERENCE}-{zlib.crc32(repr(changes).encode())}" if changes else REFERENCE)
        if not (folder / "result.json").exists():
            self.finish(folder.name, *changes)
        return folder


def done(outcome: Outcome) -> Outcome:
    if outcome.code != 0:
        raise Differs(f"exit code {outcome.code}: {outcome.errors[-600:]}")
    return outcome


def expect(condition: object, message: str) -> None:
    if not condition:
        raise Differs(message)


# --- what has to be the same ----------------------------------------------------------------------------------------


def answer(folder: Path) -> dict[str, Any]:
    """result.json but for times."""
    return {key: value for key, value in json.loads((folder / "result.json").read_text()).items() if key != "seconds"}


def same_answer(folder: Path, reference: Path) -> None:
    found, expected = answer(folder), answer(reference)
    differing = [key for key in expected if found.get(key) != expected[key]]
    expect(found == expected, f"result.json differs in {', '.join(differing) or 'its keys'}")


def same_rounds(folder: Path, reference: Path) -> None:
    """Bit by bit the same proposals, windows and embeddings in every round: none lost, none doubled."""
    expect(completed_rounds(folder) == completed_rounds(reference), "the rounds are not the same")
    for path in sorted(reference.glob("rounds/*/*.npy")):
        found = np.load(folder / path.relative_to(reference))
        expect(np.array_equal(found, np.load(path), equal_nan=True), f"{path.relative_to(reference)} differs")


def tidy(folder: Path) -> None:
    """Nothing half-written, nothing locked, no inputs of networks that are frozen."""
    expect(not list(folder.rglob("*.tmp")), "temporary files are left")
    expect(not (folder / ".lock").exists(), "the lock is left")
    expect(not list(folder.glob("rounds/*/input-*")), "inputs of frozen networks are left")
    report = (folder / "report.html").read_text()
    expect(report.rstrip().endswith("</html>"), "the report is not whole")


def recorded_once(folder: Path) -> None:
    """One finished run in MLflow, every point of every metric once."""
    run_id = json.loads((folder / "mlflow.json").read_text())["run_id"]
    with closing(sqlite3.connect(folder.parent / "mlflow.db")) as database:
        named = "select r.run_uuid, r.status from runs r join tags t on t.run_uuid = r.run_uuid"
        runs = database.execute(f"{named} where t.key = 'ganinfer.folder' and t.value = ?", [str(folder)]).fetchall()
        points = database.execute("select key, step, count(*) from metrics where run_uuid = ? group by 1, 2", [run_id])
        counts = points.fetchall()
    expect(runs == [(run_id, "FINISHED")], f"MLflow has {len(runs)} runs of status {[s for _, s in runs]}")
    expect(counts, "MLflow has no metric")
    expect(all(count == 1 for *_, count in counts), "MLflow has points twice")


# --- executors ------------------------------------------------------------------------------------------------------


def executors(bench: Bench) -> None:
    with bench.check("executors", "serial: the reference") as record:
        measure(bench.finish(REFERENCE), bench.folder / REFERENCE, record)
    for name, workers in EXECUTORS.items():
        with bench.check("executors", name) as record:
            folder = bench.folder / name.replace(", ", "-").replace(" ", "-")
            kind = name.partition(",")[0]
            outcome = bench.finish(folder.name, f"execution.executor={kind}", f"execution.workers={workers}")
            measure(outcome, folder, record)
            expect("worker" not in outcome.heavy, "a worker loaded TensorFlow")
            same_answer(folder, bench.reference())
            same_rounds(folder, bench.reference())


def measure(outcome: Outcome, folder: Path, record: dict[str, Any]) -> None:
    """What a run cost, into its record; and that it left what it should."""
    record["peak_megabytes"] = {key: round(value) for key, value in sorted(outcome.peaks.items())}
    record["tensorflow_in"] = sorted(outcome.heavy)
    record["folder_megabytes"] = round(size(folder) / 1e6, 1)
    record["rounds_megabytes"] = round(size(folder / "rounds") / 1e6, 1)
    tidy(folder)
    recorded_once(folder)


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


# --- kills ----------------------------------------------------------------------------------------------------------


def kills(bench: Bench) -> None:
    """Random moments: so many of the budget's windows done, then some seconds, while networks train or files appear."""
    with bench.check("kills", f"ray: SIGKILL to all processes at {NUM_KILLS} random moments") as record:
        planned = round_sizes(bench.reference())
        folder = bench.folder / "killed"
        record["kills"] = []
        for share in sorted(bench.random.uniform(0, 1.05) for _ in range(NUM_KILLS)):
            program = bench.run(folder.name, RAY, resume=(folder / "rounds").exists())
            target, delay = share * sum(planned), bench.random.uniform(0, 3)
            program.reach(lambda events, target=target: position(events, planned) >= target)
            time.sleep(delay)
            where = " ".join(str(program.events[-1][key]) for key in ("event", "round") if key in program.events[-1])
            program.kill()
            rounds, left = len(completed_rounds(folder)), len(list(folder.rglob(".*.tmp")))
            record["kills"].append({"after": where, "seconds_later": round(delay, 2), "rounds": rounds, "left": left})
        bench.finish(folder.name, RAY, resume=True)
        same_answer(folder, bench.reference())
        same_rounds(folder, bench.reference())
        tidy(folder)
        recorded_once(folder)
        refused = bench.run(folder.name, RAY).outcome()
        expect("already holds a finished run" in refused.errors, f"the folder is not free: {refused.errors[-300:]}")


def round_sizes(folder: Path) -> list[int]:
    """Windows of each round of a finished run."""
    return [len(np.load(folder / "rounds" / f"{i:04d}" / "proposal.npy")) for i in completed_rounds(folder)]


def position(events: Sequence[Any], planned: Sequence[int]) -> float:
    """Windows done when the last event came; more than all of them once the last round is over."""
    found = 0.0
    for event in list(events):
        if event["event"] == "windows_done":
            found = sum(planned[: event["round"]]) + event["done"]
        elif event["event"] == "message" and "Comparing" in event["text"]:
            found = 2.0 * sum(planned)
    return found


def workers(bench: Bench) -> None:
    with bench.check("workers", "ray: SIGKILL to a worker in three rounds") as record:
        folder = bench.folder / "worker-killed"
        program = bench.run(folder.name, RAY)
        record["killed"] = []
        for index in (0, 2, 3):
            program.reach(lambda events, index=index: in_round(events, index))
            pids = program.workers()
            expect(pids, "there is no worker to kill")
            os.kill(pids[index % len(pids)], signal.SIGKILL)
            record["killed"].append({"round": index, "workers": len(pids)})
        done(program.outcome())
        same_answer(folder, bench.reference())
        same_rounds(folder, bench.reference())


def in_round(events: Sequence[Any], index: int) -> bool:
    return any(e["event"] == "windows_done" and e["round"] == index for e in list(events))


# --- Ctrl-C ---------------------------------------------------------------------------------------------------------


def interrupts(bench: Bench) -> None:
    for kind in ("serial", "process", "ray"):
        with bench.check("interrupts", f"{kind}: SIGINT, exit code 130, then the command that it prints") as record:
            folder = bench.folder / f"interrupted-{kind}"
            program = bench.run(folder.name, f"execution.executor={kind}")
            program.reach(lambda events: in_round(events, 1))
            begun = time.monotonic()
            pids = program.family()
            os.killpg(program.process.pid, signal.SIGINT)  # as a terminal does
            outcome = program.outcome()
            record["seconds_to_end"] = round(time.monotonic() - begun, 1)
            expect(outcome.code == 130, f"exit code {outcome.code}: {outcome.errors[-600:]}")
            expect("Traceback" not in outcome.errors, f"a traceback: {outcome.errors[-600:]}")
            expect(completed_rounds(folder) == [0], f"complete rounds: {completed_rounds(folder)}")
            expect(not (folder / ".lock").exists(), "the lock is left")
            record["left_processes"] = len([pid for pid in pids if Path(f"/proc/{pid}").exists()])
            command = printed(outcome.errors, "go on with: ")
            done(call(command, bench.folder))
            same_answer(folder, bench.reference())


def printed(errors: str, before: str) -> list[str]:
    """Arguments of the ``ganinfer`` command that stands behind some words."""
    lines = [line.partition(before)[2] for line in errors.splitlines() if before in line]
    expect(lines, f"no line says {before!r}: {errors[-600:]}")
    words = shlex.split(lines[-1])
    expect(words[:1] == ["ganinfer"], f"not our command: {lines[-1]}")
    return words[1:]


# --- simulated VCF --------------------------------------------------------------------------------------------------

TRUTH = "{N1: 9000, N2: 5000, N_anc: 15000, T_split: 2000, pulse: 0.05}"
LINKED = (
    f"data.simulate={{scenario: im, truth: {TRUTH}, samples: {{A: 5, B: {{individuals: 4, time: 400}}}}, "
    "contigs: 12, contig_length: 170000, missingness: 0.05}"
)
#: More kinds of data, one by one and without the run that follows, in tests/test_exporting.py.
ROUND_TRIPS: dict[str, tuple[str, ...]] = {
    "windows, phased": (),
    "contigs, missing genotypes, ancient samples": (LINKED,),
}


def vcf(bench: Bench) -> None:
    for name, changes in ROUND_TRIPS.items():
        with bench.check("vcf", f"{name}: parameters as in simulation mode") as record:
            reference = bench.reference(*changes)
            folder = bench.folder / f"vcf-{name.partition(',')[0].replace(' ', '-')}"
            changed = [word for text in (*SMALL, *changes) for word in ("--set", text)]
            done(call(["simulate", str(FILE), *changed, "--output", str(folder)], bench.folder))
            companions(folder, load(FILE, [*SMALL, *changes]))
            run = folder.with_name(f"from-{folder.name}")
            bench.finish(run.name, file=folder / "experiment.yaml")
            record["sites"] = [json.loads((f / "data.json").read_text()).get("sites") for f in (reference, run)]
            found, expected = answer(run)["parameters"], answer(reference)["parameters"]
            expect(found == expected, "parameters differ")


def companions(folder: Path, experiment: Experiment) -> None:
    """A contig a block, and what stands beside the VCF."""
    from cyvcf2 import VCF

    names = {p.name for p in folder.iterdir()}
    wanted = {"simulated.vcf.gz", "samples.tsv", "regions.bed", "accessible.bed", "experiment.yaml"}
    expect(names >= wanted, f"missing: {', '.join(wanted - names)}")
    study: Any = experiment.data
    blocks = study.simulate.windows or study.simulate.contigs
    file = VCF(str(folder / "simulated.vcf.gz"))
    expect(len(file.seqnames) == blocks, f"{len(file.seqnames)} contigs for {blocks} blocks")
    sheet = (folder / "samples.tsv").read_text().splitlines()
    expect([row.split("\t")[0] for row in sheet[1:]] == file.samples, "the sample sheet is not that of the VCF")


# --- simulators that fail -------------------------------------------------------------------------------------------

PLUGIN = '''
    """Sites at random; fails where `rate` is high."""

    import time

    import numpy as np

    from ganinfer.haplotypes import Haplotypes, chromosomes
    from ganinfer.parameters import Parameter, Parameters


    class Simulator:
        api_version = "1"
        produces = "windows"
        parameters = Parameters((Parameter("rate", 1.0, 60.0),))

        def __init__(self, *, how):
            self.how = how

        def simulate(self, theta, design, seed):
            rng = np.random.default_rng(seed)
            for i, template in enumerate(design.templates):
                if theta["rate"] > 50 and i == 1:
                    if self.how == "raises":
                        raise RuntimeError("the coalescent is out of order")
                    while self.how == "hangs":
                        time.sleep(0.05)
                positions = np.sort(rng.integers(template.length, size=rng.poisson(theta["rate"])))
                genotypes = rng.integers(2, size=(len(positions), design.num_chromosomes), dtype=np.int8)
                if theta["rate"] > 50 and self.how == "yields nonsense":
                    positions = positions[::-1]
                yield Haplotypes(genotypes, positions, chromosomes(design.samples))
'''
EXPERIMENT = """
    schema_version: 1
    data: {simulate: {scenario: toy, truth: {rate: TRUTH}, samples: {A: 5}, windows: 40}}
    windows: {length: 20000}
    scenarios: {toy: {simulator: {file: plugin.py, class: Simulator}, how: HOW}}
    generator: {name: matching, first_proposals: 40}
    budget: {simulated_windows: 600, rounds: 3}
    execution: {executor: process, workers: 2, timeout: 5}
"""
MESSAGES = {
    "raises": "raised RuntimeError: the coalescent is out of order",
    "hangs": "took longer than 5 s",
    "yields nonsense": "positions must be sorted",
}


FAILURES = (
    ("raises", True, "ray"),
    ("raises", False, "process"),
    ("hangs", True, "serial"),
    ("hangs", True, "ray"),
    ("hangs", False, "process"),
    ("yields nonsense", True, "process"),
)


def failures(bench: Bench) -> None:
    for how, proposal, kind in FAILURES:
        where = "proposal" if proposal else "study"
        with bench.check("failures", f"simulator in a {where} {how}, {kind}: named, and repeated"):
            failing(bench, how, proposal, kind)


def failing(bench: Bench, how: str, proposal: bool, kind: str) -> None:
    truth, message = 20 if proposal else 55, MESSAGES[how]
    folder = bench.folder / f"failing {how} {truth} {kind}"
    folder.mkdir()
    (folder / "plugin.py").write_text(dedent(PLUGIN))
    text = dedent(EXPERIMENT).replace("TRUTH", str(truth)).replace("HOW", how)
    (folder / "toy.yaml").write_text(text)
    change = f"execution.executor={kind}"
    outcome = call(
        ["run", str(folder / "toy.yaml"), "--set", change, "--output", str(folder / "run"), "--json"], folder
    )
    expect(outcome.code == 1, f"exit code {outcome.code}: {outcome.errors[-600:]}")
    for said in ("plugin.py", "rate=", "with seed", message):
        expect(said in outcome.errors, f"{said!r} is not in: {outcome.errors[-600:]}")
    expect(not (folder / "run").exists(), "a run without a round left its folder")
    again = call(printed(outcome.errors, "Repeat it with: "), folder)
    expect(again.code == 1, f"the command ended with {again.code}: {again.errors[-600:]}")
    # Units of a study fail side by side, and any may be the first; a proposal is repeated by itself.
    named = r"error: (simulator .* failed at .* with seed)( \d+)?"
    first, second = (re.findall(named, text)[-1] for text in (outcome.errors, again.errors))
    expect(first[: 1 + proposal] == second[: 1 + proposal], f"repeated otherwise: {first}, {second}")
    expect(message in again.errors, f"{message!r} is not in: {again.errors[-600:]}")


# --- records --------------------------------------------------------------------------------------------------------

GROUPS: dict[str, Callable[[Bench], None]] = {
    "executors": executors,
    "kills": kills,
    "workers": workers,
    "interrupts": interrupts,
    "vcf": vcf,
    "failures": failures,
}


def write(records: Sequence[dict[str, Any]]) -> None:
    """Keep records; those of other groups stay."""
    groups = {record["group"] for record in records}
    old = json.loads(RECORDS.read_text())["checks"] if RECORDS.exists() else []
    checks = [record for record in old if record["group"] not in groups] + list(records)
    checks.sort(key=lambda record: list(GROUPS).index(record["group"]))
    value = {"schema_version": SCHEMA_VERSION, "versions": versions(), "checks": checks}
    partial = RECORDS.with_suffix(".partial")
    partial.write_text(json.dumps(value, indent=1) + "\n")
    os.replace(partial, RECORDS)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.verification.same_answer", description="Same answer.")
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"of {', '.join(GROUPS)}; default: all")
    parser.add_argument("--folder", type=Path, help="keep the runs in this folder; default: a temporary one")
    parser.add_argument("--seed", type=int, default=1, help="of the moments at which runs are killed")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.groups if name not in GROUPS]
    if unknown:
        parser.error(f"no group {unknown[0]}; there are {', '.join(GROUPS)}")
    # A shell's jobs in the background ignore it, and so would the runs.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="same-answer-") as temporary:
        folder = (arguments.folder or Path(temporary)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        bench = Bench(folder, arguments.seed)
        for name in arguments.groups or GROUPS:
            GROUPS[name](bench)
            write(bench.records)
    failed = [record for record in bench.records if not record["passed"]]
    print(f"{len(bench.records) - len(failed)} of {len(bench.records)} checks passed")
    parser.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
