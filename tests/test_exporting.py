"""Simulated VCF: an experiment that runs on it sees what the simulation study saw, bit by bit."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ganinfer import observed, runner, simulation
from ganinfer.experiment import load
from ganinfer.runner import assembling, exporting, finished
from ganinfer.runner.running import check_same, dump_yaml
from ganinfer.storage import RunFolder

FILE = Path(__file__).parent.parent / "experiments" / "im.yaml"
SMALL = (
    "data.simulate.windows=30",
    "data.simulate.samples={A: 4, B: 3}",
    "windows.length=20000",
    "execution.executor=serial",
)
TRUTH = {"N1": 9000.0, "N2": 5000.0, "N_anc": 15_000.0, "T_split": 2000.0, "pulse": 0.05}
STUDY = f"data.simulate={{scenario: im, truth: {TRUTH}, samples: {{A: 4, B: 3}}, SIZE}}".replace("'", "")
CASES = {
    "windows": (),
    "contigs": (STUDY.replace("SIZE", "contigs: 12, contig_length: 60000"),),
    "contigs with a rest": (STUDY.replace("SIZE", "contigs: 4, contig_length: 70000"),),
    "long contigs": (STUDY.replace("SIZE", "contigs: 2, contig_length: 1200000"),),
    "missing": ("data.simulate.missingness=0.2",),
    "ancient": ("data.simulate.samples={A: 12, B: {individuals: 3, time: 400}}",),
    "haploid": ("data.simulate.samples={A: {individuals: 5, ploidy: 1}, B: 3}",),
    "other order": ("data.simulate.samples={B: 11, A: 2}",),
    "unphased": ("data.phased=false",),
    "folded": ("data.ancestral=none", "data.singletons=drop"),
    "some of the windows": ("windows.maximum=11",),
    "hardly variable": ("data.simulate.missingness=0.5", "windows.length=1000"),
}


def opened(experiment, folder):
    """Everything that an inference sees of its data."""
    with assembling.executor(experiment) as workers:
        real = assembling.open_data(experiment, workers, folder / "cache")
    chosen = observed.chosen_windows(real, experiment.windows.maximum, experiment.seed)
    setup, _ = assembling.fitted_setup(experiment, "im", real, chosen, ("snp-matrix", "joint-counts", "classical"))
    return setup, observed.observe(real, chosen, setup, 2, experiment.seed, folder)


def plain(templates):
    """Templates as values that can be compared."""
    missing = [None if t.missing is None else t.missing.tolist() for t in templates]
    return [(t.length, t.accessible, t.recombination, t.unusable_ancestral) for t in templates], missing


@pytest.mark.parametrize("changes", CASES.values(), ids=CASES)
def test_the_vcf_is_seen_as_the_study_was(changes, tmp_path):
    study = load(FILE, [*SMALL, *changes])
    runner.simulate(study, scenario="im", theta=TRUTH, output=tmp_path / "vcf")
    again = load(tmp_path / "vcf" / "experiment.yaml")
    setup, expected = opened(study, tmp_path / "study")
    found_setup, found = opened(again, tmp_path / "again")
    assert found_setup == setup
    assert found.arrays.keys() == expected.arrays.keys()
    for name, array in expected.arrays.items():
        np.testing.assert_array_equal(found.arrays[name], array, err_msg=name)
    np.testing.assert_array_equal(found.block, expected.block)
    np.testing.assert_array_equal(found.fold, expected.fold)
    assert plain(found.templates) == plain(expected.templates)


def test_genomes_without_phase_are_imitated_without_it(tmp_path):
    """Also where the genotypes say so, not the experiment: simulated ones are written with the phase that they have."""
    runner.simulate(load(FILE, SMALL), scenario="im", theta=TRUTH, output=tmp_path / "first")
    text = gzip.decompress((tmp_path / "first" / "simulated.vcf.gz").read_bytes()).decode()
    (tmp_path / "first" / "unphased.vcf").write_text(text.replace("|", "/"))
    real = load(tmp_path / "first" / "experiment.yaml", ["data.genotypes=[unphased.vcf]"])
    runner.simulate(real, scenario="im", theta=TRUTH, output=tmp_path / "second")
    again = load(tmp_path / "second" / "experiment.yaml")
    assert again.data.phased is False
    assert opened(again, tmp_path / "again")[0].pipeline == opened(real, tmp_path / "real")[0].pipeline


FULL = """
import resource, sys
from pathlib import Path
from ganinfer import runner
from ganinfer.experiment import load
from tests.test_exporting import FILE, SMALL, TRUTH
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    runner.simulate(load(FILE, SMALL), scenario="im", theta=TRUTH, output=Path(sys.argv[1]), format=sys.argv[2])
except ValueError as error:
    print(error)
"""


@pytest.mark.parametrize("kind", ["vcf", "trees"])
@pytest.mark.parametrize("there", [False, True])
def test_a_full_disk_is_named_and_nothing_is_left(kind, there, tmp_path):
    output = tmp_path / "new"
    if there:
        output.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", FULL, output, kind], capture_output=True, text=True, cwd=FILE.parent.parent, check=True
    )
    assert "disk full: cannot write" in done.stdout, done.stderr
    assert str(tmp_path) in done.stdout
    assert done.stdout.endswith("free space or raise the quota or file size limit there, then start again\n")
    assert list(tmp_path.rglob("*")) == [output] * there


def test_a_vcf_with_a_hole_is_not_whole(tmp_path):
    """As when the disk was full for a moment: the end is there, something before it is not."""
    runner.simulate(load(FILE, SMALL), scenario="im", theta=TRUTH, output=tmp_path / "vcf")
    path = tmp_path / "vcf" / "simulated.vcf.gz"
    whole = path.read_bytes()
    num_lines = len(gzip.decompress(whole).splitlines())
    exporting._check_whole(path, num_lines)
    first = int.from_bytes(whole[16:18], "little") + 1  # bytes of the first block
    for damaged in (whole[first:], whole[:first] + whole[first + 500 :], whole[:-1], whole[:20], b""):
        path.write_bytes(damaged)
        with pytest.raises(OSError, match="what was written is not whole"):
            exporting._check_whole(path, num_lines)


def test_an_empty_folder_is_filled_and_stays_the_same_folder(tmp_path):
    (tmp_path / "here").mkdir()
    before = (tmp_path / "here").stat().st_ino
    runner.simulate(load(FILE, SMALL), scenario="im", theta=TRUTH, output=tmp_path / "here")
    names = {path.name for path in (tmp_path / "here").iterdir()}
    assert names == {"simulated.vcf.gz", "samples.tsv", "regions.bed", "accessible.bed", "experiment.yaml"}
    assert (tmp_path / "here").stat().st_ino == before
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="file is a file: choose another --output"):
        runner.simulate(load(FILE, SMALL), scenario="im", theta=TRUTH, output=tmp_path / "file")


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="a folder that nobody may write is needed")
def test_genomes_that_were_read_lie_where_every_command_looks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert assembling.cache_folder() == tmp_path / "runs" / "cache"
    assert assembling.cache_folder(tmp_path / "elsewhere" / "run") == tmp_path / "runs" / "cache"
    monkeypatch.chdir("/proc/self")
    assert assembling.cache_folder(tmp_path / "elsewhere" / "run") == tmp_path / "elsewhere" / "cache"


def test_an_experiment_that_was_written_keeps_the_order_of_its_populations(tmp_path):
    study = load(FILE, [*SMALL, "data.simulate.samples={B: 11, A: 2}"])
    path = tmp_path / "experiment.yaml"
    path.write_text(dump_yaml(study.resolved()))
    again = load(path)
    assert again.resolved() == study.resolved()
    assert list(again.data.simulate.samples) == ["B", "A"]


def test_a_run_does_not_go_on_with_its_populations_in_another_order(tmp_path):
    """Its arrays have them in the order of before."""
    study, other = (load(FILE, [*SMALL, f"data.simulate.samples={s}"]) for s in ("{B: 11, A: 2}", "{A: 2, B: 11}"))
    with RunFolder.create(tmp_path / "run") as folder:
        folder.write_text("experiment.yaml", dump_yaml(study.resolved()))
        check_same(study, folder.path)
        with pytest.raises(ValueError, match="but the order of what is in data changed"):
            check_same(other, folder.path)


def test_a_run_goes_on_however_its_files_are_spelled_and_not_with_others_contents(tmp_path):
    written = runner.simulate(load(FILE, SMALL), scenario="im", theta=TRUTH, output=tmp_path / "genomes")
    (tmp_path / "link").symlink_to(written)
    told = load(written / "experiment.yaml")
    with RunFolder.create(tmp_path / "run") as folder, assembling.executor(told) as workers:
        folder.write_text("experiment.yaml", dump_yaml(told.resolved()))
        for spelled in (tmp_path / "link", written / ".." / "genomes"):
            check_same(load(spelled / "experiment.yaml"), folder.path)

        def summary():
            real = assembling.open_data(told, workers, tmp_path / "cache")
            return {**real.summary(), "inputs": assembling.input_digests(told)}

        folder.write_json("data.json", summary())
        mask = written / "accessible.bed"
        kept = mask.read_text()
        mask.write_text(kept.replace("\t20000\n", "\t15000\n", 1))
        assert mask.read_text() != kept
        finished.check_data(folder.path, summary())  # nothing was simulated yet
        (folder.path / "rounds" / "0000").mkdir(parents=True)
        (folder.path / "rounds" / "0000" / "round.json").write_text("{}")
        with pytest.raises(ValueError, match=r"began with other contents of accessible\.bed"):
            finished.check_data(folder.path, summary())
        mask.write_text(kept)
        finished.check_data(folder.path, summary())


def test_real_windows_are_imitated_in_parts_each_with_the_time_of_a_proposal(tmp_path):
    written = runner.simulate(load(FILE, SMALL), scenario="im", theta=TRUTH, output=tmp_path / "genomes")
    again = load(written / "experiment.yaml", ["execution.executor=serial"])
    tasks = []
    raw = simulation.simulate_raw

    def seen(of, executor):
        of = list(of)
        tasks.extend(of)
        return raw(of, executor)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporting.simulation, "simulate_raw", seen)
        runner.simulate(again, scenario="im", theta=TRUTH, output=tmp_path / "imitated")
    assert [len(task.templates) for task in tasks] == [16, 14]
    assert len({task.seed for task in tasks}) == 2
    imitated = load(tmp_path / "imitated" / "experiment.yaml")
    with assembling.executor(imitated) as workers:
        assert len(assembling.open_data(imitated, workers, tmp_path / "cache").windows) == 30
    with pytest.raises(ValueError, match="the data have 30 windows to imitate, 31 were asked for"):
        runner.simulate(again, scenario="im", theta=TRUTH, num_windows=31, output=tmp_path / "more")
    contigs = load(FILE, [*SMALL, *CASES["contigs"]])
    with pytest.raises(ValueError, match=r"lie on contigs: set data\.simulate\.contigs"):
        runner.simulate(contigs, scenario="im", theta=TRUTH, num_windows=5, output=tmp_path / "more")
