"""Simulated observations written for other tools: VCF with a sample sheet and BED, or tree sequences.

Beside the VCF stands an experiment that runs on it. For a simulation study at its truth that run sees the very windows
of the study, so its parameters are the same.
"""

from __future__ import annotations

import errno
import gzip
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ganinfer import execution, observed, plugins, randomness, simulation, study
from ganinfer.experiment import Experiment, SimulatedData, pipeline_settings
from ganinfer.haplotypes import Haplotypes, SampleSet
from ganinfer.interfaces import Design, WindowTemplate
from ganinfer.observed import RealWindows
from ganinfer.pipeline import PipelineSettings, mirrored
from ganinfer.runner import assembling, folders
from ganinfer.runner.assembling import RunError
from ganinfer.windows import Window

_ALLELES = "ATGC"
#: The empty block at the end of every complete BGZF file.
_BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
#: Windows of a proposal that is repeated, where nothing else says how many.
_PROPOSAL_WINDOWS = 16


@dataclass(frozen=True, eq=False)
class Simulated:
    """Windows to write: where each lies, what it holds, who is sampled, and whether the imitated data have a phase."""

    windows: Sequence[Window]
    haplotypes: Sequence[Haplotypes]
    samples: tuple[SampleSet, ...]
    phased: bool = True


def simulate(
    experiment: Experiment,
    *,
    scenario: str,
    theta: Mapping[str, float],
    num_windows: int | None = None,
    seed: int | None = None,
    format: str = "vcf",
    output: Path,
    proposal_seed: int | None = None,
) -> Path:
    """Simulate an experiment's windows at ``theta`` and write them into the new folder ``output``.

    ``num_windows`` default: as many as the data have; ``proposal_seed`` repeats one proposal of a run instead: the
    same templates, the same seed. ``format`` is ``vcf`` or ``trees``. All files appear at once, or none.
    """
    if experiment.kind == "loci":
        raise RunError(f"{experiment.path.name} is about loci, which have no windows: simulate_tables writes tables")
    folders.check_new(output)
    if format == "trees":
        sequences = _tree_sequences(experiment, scenario, theta, num_windows, seed, proposal_seed)
        folders.fill(output, lambda folder: _write_trees(sequences, folder))
        return output
    write_vcf(experiment, scenario, _simulated(experiment, scenario, theta, num_windows, seed, proposal_seed), output)
    return output


def write_vcf(experiment: Experiment, scenario: str, simulated: Simulated, output: Path) -> None:
    """A VCF in ``output``, with its sample sheet, BEDs and the experiment that runs on it."""

    def write(folder: Path) -> None:
        folder.mkdir()
        _write_records(simulated, folder / "simulated.vcf.gz")
        _write_companions(experiment, scenario, simulated, folder)

    folders.fill(output, write)


# --- what to simulate ---------------------------------------------------------------------------------------------


def _simulated(
    experiment: Experiment,
    scenario: str,
    theta: Mapping[str, float],
    num_windows: int | None,
    seed: int | None,
    proposal_seed: int | None,
) -> Simulated:
    with assembling.patient(experiment) as workers:
        if isinstance(experiment.data, SimulatedData) and proposal_seed is None:
            plan = assembling.study_plan(experiment)
            setup = assembling.base_setup(experiment, scenario, plan.setup.samples, PipelineSettings(), ())
            plan = replace(plan, setup=setup, truth=theta, seed=plan.seed if seed is None else seed)
            plan = _of_windows(plan, num_windows)
            genomes = study.simulate_study(plan, workers)
            return Simulated(
                genomes.windows, [genomes.haplotypes(i) for i in range(len(genomes.windows))], plan.setup.samples
            )
        real = assembling.open_data(experiment, workers, assembling.cache_folder())
        chosen, first_seed = _templates(experiment, real, num_windows, seed, proposal_seed)
        templates = [real.templates[i] for i in chosen]
        if proposal_seed is None:
            raw = _raw(experiment, scenario, theta, real.samples, templates, first_seed, workers)
        else:  # in this process, where a debugger can follow, yet within the time that a run would give it
            with execution.make("serial", timeout=experiment.execution.timeout) as serial:
                raw = _raw(experiment, scenario, theta, real.samples, templates, first_seed, serial, len(templates))
    rng = randomness.stream(first_seed, "pipeline")
    folded = pipeline_settings(experiment, real.phased).folded
    haplotypes = [mirrored(h, t, rng, folded=folded) for h, t in zip(raw, templates, strict=True)]
    return Simulated([real.windows[i] for i in chosen], haplotypes, real.samples, real.phased)


def _of_windows(plan: study.StudyPlan, num_windows: int | None) -> study.StudyPlan:
    """The study with another number of windows."""
    if num_windows is None:
        return plan
    if plan.num_contigs is not None:
        raise RunError("the windows of this study lie on contigs: set data.simulate.contigs instead of their number")
    return replace(plan, num_windows=num_windows)


def _templates(
    experiment: Experiment, real: RealWindows, num_windows: int | None, seed: int | None, proposal_seed: int | None
) -> tuple[np.ndarray, int]:
    """Indices of the real windows to imitate, and the simulator's seed."""
    if proposal_seed is not None:
        used = observed.chosen_windows(real, experiment.windows.maximum, experiment.seed)
        size = num_windows or _PROPOSAL_WINDOWS
        return used[simulation.choose_templates(proposal_seed, len(used), size)], proposal_seed
    if num_windows is not None and num_windows > len(real.templates):
        raise RunError(f"the data have {len(real.templates):,} windows to imitate, {num_windows:,} were asked for")
    index = np.arange(len(real.templates))[:num_windows]
    return index, randomness.simulator_seed(experiment.seed if seed is None else seed, "simulate")


def _raw(
    experiment: Experiment,
    scenario: str,
    theta: Mapping[str, float],
    samples: tuple[SampleSet, ...],
    templates: Sequence[WindowTemplate],
    seed: int,
    executor: execution.Executor,
    at_once: int = _PROPOSAL_WINDOWS,
) -> list[Haplotypes]:
    """So many ``at_once``, for which a worker has as long as for a proposal; the first of them have the ``seed``."""
    setup = assembling.base_setup(experiment, scenario, samples, PipelineSettings(), ())
    starts = range(0, len(templates), at_once)
    seeds = [seed, *(randomness.simulator_seed(seed, "windows", start) for start in starts[1:])]
    tasks = (
        simulation.Task(setup, theta, tuple(templates[i : i + at_once]), own, assembling.label(experiment, scenario))
        for i, own in zip(starts, seeds, strict=True)
    )
    return [window for windows in simulation.simulate_raw(tasks, executor) for window in windows]


def _tree_sequences(
    experiment: Experiment,
    scenario: str,
    theta: Mapping[str, float],
    num_windows: int | None,
    seed: int | None,
    proposal_seed: int | None,
) -> Iterator[Any]:
    """Tree sequences as the simulator yields them: every base accessible, nothing missing."""
    setup: Any = None
    if isinstance(experiment.data, SimulatedData):
        plan = assembling.study_plan(experiment)
        plan = replace(plan, seed=plan.seed if seed is None else seed)
        plan = _of_windows(plan, num_windows if proposal_seed is None else None)
        parts = [(plan.setup.samples, p.templates, p.seed) for p in study.parts(plan)]
        if proposal_seed is not None:
            template = WindowTemplate(experiment.windows.length)
            parts = [(plan.setup.samples, (template,) * (num_windows or _PROPOSAL_WINDOWS), proposal_seed)]
    else:
        with assembling.patient(experiment) as workers:
            real = assembling.open_data(experiment, workers, assembling.cache_folder())
        chosen, first = _templates(experiment, real, num_windows, seed, proposal_seed)
        parts = [(real.samples, tuple(real.templates[i] for i in chosen), first)]
    for samples, templates, part_seed in parts:
        setup = assembling.base_setup(experiment, scenario, samples, PipelineSettings(), ())
        plugin = plugins.load_simulator(setup.simulator, setup.options)
        try:
            yield from plugin.simulate(dict(theta), Design(samples, tuple(templates)), part_seed)
        except OSError as error:  # not to be taken for one of writing what it yields
            raise RunError(f"{experiment.place('scenarios', scenario)}: the simulator failed: {error}") from error


# --- files --------------------------------------------------------------------------------------------------------


def _write_trees(sequences: Iterator[Any], folder: Path) -> None:
    import tskit

    folder.mkdir()
    for i, sequence in enumerate(sequences):
        if not isinstance(sequence, tskit.TreeSequence):
            raise RunError(f"the simulator yields {type(sequence).__name__}, no tree sequences: use --format vcf")
        sequence.dump(folder / f"window{i + 1:05d}.trees")


def _write_records(simulated: Simulated, path: Path) -> None:
    from cyvcf2 import Writer

    individuals = folders.individuals(simulated.samples)
    contigs: dict[str, int] = {}
    for window in simulated.windows:
        contigs[window.contig] = max(contigs.get(window.contig, 0), window.right)
    header = ["##fileformat=VCFv4.2", "##source=ganinfer simulate"]
    header += [f"##contig=<ID={name},length={length}>" for name, length in contigs.items()]
    header.append('##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">')
    header.append(
        "\t".join(["#CHROM POS ID REF ALT QUAL FILTER INFO FORMAT".replace(" ", "\t"), *(n for n, _ in individuals)])
    )
    writer = Writer.from_string(str(path), "\n".join(header) + "\n", mode="wz")
    writer.write_header()
    num_lines = writer.raw_header.count("\n")
    for window, haplotypes in zip(simulated.windows, simulated.haplotypes, strict=True):
        for line in _records(window, haplotypes):
            writer.write_record(writer.variant_from_string(line))
            num_lines += 1
    writer.close()
    _check_whole(path, num_lines)


def _check_whole(path: Path, num_lines: int) -> None:
    """Raise OSError unless all lines are in the file: its writer keeps a full disk to itself."""
    if _is_whole(path, num_lines):
        return
    # Whatever kept the rest out is met again here, and says what it is.
    with path.open("ab") as file:
        file.write(bytes(1 << 20))
        file.flush()
        os.fsync(file.fileno())
    raise OSError(errno.EIO, "what was written is not whole")


def _is_whole(path: Path, num_lines: int) -> bool:
    try:
        with path.open("rb") as file:
            file.seek(-len(_BGZF_END), os.SEEK_END)
            ended = file.read() == _BGZF_END
        with gzip.open(path, "rb") as lines:
            return ended and sum(1 for _ in lines) == num_lines
    except (EOFError, OSError, zlib.error):
        return False


def _records(window: Window, haplotypes: Haplotypes) -> Iterator[str]:
    carriers = haplotypes.carriers
    edges = carriers.first[1:]
    separator = "|" if haplotypes.phased else "/"
    for position, row in zip(haplotypes.positions, haplotypes.genotypes, strict=True):
        if (row < 0).all():
            continue
        # A site whose only carriers are missing is still a site: its row of missing calls is one of the window's.
        highest = max(int(row.max()), 1)
        alternatives = ",".join(_ALLELES[1 : highest + 1])
        calls = np.where(row < 0, ".", row.astype(str))
        genotypes = "\t".join(separator.join(part) for part in np.split(calls, edges))
        place = window.left + int(position) + 1
        yield f"{window.contig}\t{place}\t.\t{_ALLELES[0]}\t{alternatives}\t.\tPASS\t.\tGT\t{genotypes}"


def _write_companions(experiment: Experiment, scenario: str, simulated: Simulated, output: Path) -> None:
    """Sample sheet, BEDs, and the experiment that runs on the VCF."""
    folders.write_sheet(simulated.samples, output)
    bed = [f"{w.contig}\t{w.left}\t{w.right}" for w in simulated.windows]
    (output / "regions.bed").write_text("\n".join(bed) + "\n")
    accessible = [
        f"{w.contig}\t{w.left + a}\t{w.left + b}" for w in simulated.windows for a, b in w.accessible.tolist()
    ]
    (output / "accessible.bed").write_text("\n".join(accessible) + "\n")
    (output / "experiment.yaml").write_text(_experiment_yaml(experiment, scenario, simulated))


def _experiment_yaml(experiment: Experiment, scenario: str, simulated: Simulated) -> str:
    from ganinfer.runner.completing import dump_yaml

    resolved = experiment.resolved()
    pipeline = pipeline_settings(experiment, simulated.phased)
    before = resolved["data"]
    # What is written imitates windows that were already polarised: the ancestral allele is REF.
    ancestral = "none" if pipeline.folded else "REF"
    data = {
        "genotypes": ["simulated.vcf.gz"],
        "samples": folders.SHEET,
        "regions": "regions.bed",
        "accessible": "accessible.bed",
        "recombination_map": before.get("recombination_map"),
        "ancestral": ancestral,
        # A simulator knows the phase of all that it writes.
        "phased": None if pipeline.phased else False,
        "singletons": before["singletons"],
    }
    resolved["data"] = {key: value for key, value in data.items() if value is not None}
    resolved["name"] = f"{experiment.name}-simulated"
    if isinstance(experiment.data, SimulatedData):
        resolved["windows"]["min_accessible"] = 0.0
        # A study's contigs are its blocks, whatever their length.
        resolved["windows"]["block_length"] = max(w.right for w in simulated.windows)
    return dump_yaml(resolved)
