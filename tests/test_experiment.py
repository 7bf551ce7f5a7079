"""Experiments: what is read, and what is refused with which words."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from ganinfer import experiment
from ganinfer.experiment import ExperimentError
from ganinfer.experiment.document import parse
from ganinfer.haplotypes import SampleSet
from ganinfer.interfaces import Budget
from ganinfer.pipeline import PipelineSettings

EXPERIMENTS = Path(__file__).parent.parent / "experiments"

REAL = """\
schema_version: 1
name: yri-ceu
data:
  genotypes: [1kg-chr4-yri-ceu.vcf.gz]
  samples: 1kg-chr4-yri-ceu.panel.tsv
  populations: {YRI: 50, CEU: all}
  regions: 1kg-chr4-regions.bed
  accessible: 1kg-chr4-accessible.bed
  recombination_map: {4: chr4-b37-hapmap.txt.gz}
  ancestral: AA
  singletons: drop
windows: {length: 50_000, min_accessible: 0.5}
scenarios:
  im:
    simulator: demes
    model: im.demes.yaml
    parameters: im.options.yaml
    demes: {YRI: A, CEU: B}
    mutation_rate: 1.29e-8
    recombination_rate: map
"""


def write(folder: Path, text: str, name: str = "study.yaml") -> Path:
    """An experiment in a folder where the shipped files are at hand."""
    for shipped in EXPERIMENTS.iterdir():
        if not (folder / shipped.name).exists():
            (folder / shipped.name).symlink_to(shipped)
    path = folder / name
    path.unlink(missing_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def problems(folder: Path, text: str, *overrides: str) -> tuple[str, ...]:
    """What is wrong with an experiment, without the folder in front of each sentence."""
    with pytest.raises(ExperimentError, match=r".") as caught:
        experiment.load(write(folder, text), overrides)
    return tuple(sentence.replace(f"{folder}/", "") for sentence in caught.value.problems)


# --- what is read -----------------------------------------------------------------------------------------------


def test_only_data_and_scenarios_are_required() -> None:
    loaded = experiment.load(EXPERIMENTS / "const.yaml")
    assert loaded.name == "const"
    assert loaded.folder == EXPERIMENTS.absolute()
    assert loaded.text == (EXPERIMENTS / "const.yaml").read_text()
    assert (loaded.generator.name, loaded.discriminator.name) == ("matching", "exchangeable")
    assert (loaded.execution.executor, loaded.level, loaded.seed, loaded.tracking.uri) == ("ray", 0.9, 1, None)
    assert experiment.budget(loaded) == Budget(60_000, 8, None)


def test_the_name_is_the_files_where_none_is_given(tmp_path: Path) -> None:
    text = REAL.replace("name: yri-ceu\n", "")
    assert experiment.load(write(tmp_path, text, "my study.yaml")).name == "my-study"


def test_numbers_are_those_of_yaml_1_2() -> None:
    data = parse("{a: 1e-4, b: 50_000, c: NO, 4: x, 04: y, d: 1.25e-8}", "x").data
    assert data == {"a": 1e-4, "b": 50_000, "c": "NO", "4": "x", "04": "y", "d": 1.25e-8}


def test_merge_keys_give_defaults() -> None:
    data = parse("base: &base {a: 1, b: 2}\nother: {<<: *base, b: 3}", "x").data
    assert data["other"] == {"a": 1, "b": 3}


def test_files_of_a_scenario_are_read_so_that_workers_need_none() -> None:
    options = experiment.load(EXPERIMENTS / "im.yaml").scenarios["im"].options
    assert options["model"] == {"file": "im.demes.yaml", "text": (EXPERIMENTS / "im.demes.yaml").read_text()}
    assert options["mutation_rate"] == 1.25e-8
    assert set(options) == {"model", "parameters", "mutation_rate", "recombination_rate"}


def test_the_simulator_of_a_scenario_has_its_parameters() -> None:
    simulator = experiment.simulator(experiment.load(EXPERIMENTS / "im.yaml"), "im")
    assert simulator.parameters.names == ("N1", "N2", "N_anc", "T_split", "pulse")


def test_a_resolved_experiment_reads_back_from_anywhere(tmp_path: Path) -> None:
    for text in (REAL, (EXPERIMENTS / "exp.yaml").read_text()):
        first = experiment.load(write(tmp_path, text), ["budget.rounds=3"])
        (tmp_path / "elsewhere").mkdir(exist_ok=True)
        with (tmp_path / "elsewhere" / "again.yaml").open("w") as stream:
            YAML(typ="safe").dump(first.resolved(), stream)
        again = experiment.load(tmp_path / "elsewhere" / "again.yaml")
        assert again.resolved() == first.resolved()
        assert again.budget.rounds == 3


def test_experiments_from_text_are_those_from_files() -> None:
    text = (EXPERIMENTS / "im.yaml").read_text()
    loaded = experiment.loads(text, EXPERIMENTS)
    assert loaded.resolved() == experiment.load(EXPERIMENTS / "im.yaml").resolved()


def test_settings_for_the_layers_below(tmp_path: Path) -> None:
    loaded = experiment.load(write(tmp_path, REAL))
    source, windows = experiment.genome_source(loaded), experiment.window_settings(loaded)
    assert source.genotypes == (tmp_path / "1kg-chr4-yri-ceu.vcf.gz",)
    assert source.populations == {"YRI": 50, "CEU": "all"}
    assert source.recombination_map == {"4": tmp_path / "chr4-b37-hapmap.txt.gz"}
    assert source.filters == ("PASS", ".")
    assert (windows.length, windows.min_accessible, windows.block_length) == (50_000, 0.5, 1_000_000)
    assert experiment.pipeline_settings(loaded, True) == PipelineSettings(True, False, "drop")


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], PipelineSettings(phased=True, folded=False)),
        (["data.ancestral=none"], PipelineSettings(phased=True, folded=True)),
        (["data.phased=false"], PipelineSettings(phased=False)),
        (["data.singletons=drop"], PipelineSettings(singletons="drop")),
    ],
)
def test_a_study_is_looked_at_as_real_data_would_be(overrides: list[str], expected: PipelineSettings) -> None:
    loaded = experiment.load(EXPERIMENTS / "im.yaml", overrides)
    assert experiment.pipeline_settings(loaded, True) == expected


def test_only_what_is_set_of_the_training_is_passed_on() -> None:
    loaded = experiment.load(EXPERIMENTS / "im.yaml", ["training={windows: 500, folds: 3}"])
    assert experiment.training_settings(loaded) == {"windows": 500, "folds": 3}
    assert experiment.training_settings(experiment.load(EXPERIMENTS / "im.yaml")) == {}


def test_samples_of_a_study_may_be_haploid_or_ancient() -> None:
    overrides = ["data.simulate.samples={A: 10, B: {individuals: 3, ploidy: 1, time: 40}}"]
    study = experiment.load(EXPERIMENTS / "im.yaml", overrides).data.simulate  # type: ignore[union-attr]
    assert experiment.sample_sets(study) == (SampleSet("A", 10), SampleSet("B", 3, 1, 40.0))


def test_patterns_name_many_files_in_sorted_order(tmp_path: Path) -> None:
    for contig in ("chr2", "chr1"):
        (tmp_path / f"{contig}.vcf.gz").symlink_to(EXPERIMENTS / "1kg-chr4-yri-ceu.vcf.gz")
    text = REAL.replace("[1kg-chr4-yri-ceu.vcf.gz]", "chr?.vcf.gz")
    source = experiment.genome_source(experiment.load(write(tmp_path, text)))
    assert [path.name for path in source.genotypes] == ["chr1.vcf.gz", "chr2.vcf.gz"]


def test_patterns_reach_home_and_a_file_may_be_called_like_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    for path in (tmp_path / "home" / "chr1.vcf.gz", tmp_path / "run[2].vcf.gz"):
        path.symlink_to(EXPERIMENTS / "1kg-chr4-yri-ceu.vcf.gz")
    text = REAL.replace("[1kg-chr4-yri-ceu.vcf.gz]", "['~/*.vcf.gz', 'run[2].vcf.gz']")
    source = experiment.genome_source(experiment.load(write(tmp_path, text)))
    assert [path.name for path in source.genotypes] == ["chr1.vcf.gz", "run[2].vcf.gz"]


def test_overrides_read_yaml_and_reach_into_lists_and_new_sections() -> None:
    loaded = experiment.load(
        EXPERIMENTS / "im.yaml",
        ["budget={rounds: 2, minutes: 1.5}", "execution.executor=serial", "seed=7", "tracking.uri=null"],
    )
    assert (loaded.budget.rounds, loaded.budget.minutes) == (2, 1.5)
    assert (loaded.execution.executor, loaded.seed) == ("serial", 7)


# --- what is refused --------------------------------------------------------------------------------------------


def test_every_problem_is_reported_with_its_line(tmp_path: Path) -> None:
    text = REAL.replace("genotypes:", "genotyps:").replace("min_accessible: 0.5", "min_accessible: 1.5")
    found = problems(tmp_path, text.replace("YRI: 50", "YRI: 0") + "budget: {rounds: many}\n")
    assert [sentence.split(": ")[0] for sentence in found[1:]] == [f"study.yaml:{n}" for n in (4, 6, 12, 21)]
    assert found[0].startswith("study.yaml:3: data.genotypes: required key is missing; name the genotype files")
    assert "data.genotyps: unknown key; did you mean genotypes? allowed: ancestral, phased" in found[1]
    assert found[2].endswith("data.populations: YRI: must be a number of individuals above 0 or all, not 0")
    assert found[3].endswith("windows.min_accessible: must be at most 1, not 1.5")
    assert found[4].endswith("budget.rounds: must be a whole number, not 'many'")


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("samples: 1kg-chr4-yri-ceu.panel.tsv", "samples: panel.tsv", r"data\.samples: no such file: panel\.tsv"),
        ("[1kg-chr4-yri-ceu.vcf.gz]", "[]", r"data\.genotypes: must not be empty"),
        ("[1kg-chr4-yri-ceu.vcf.gz]", "'*.bcf'", r"data\.genotypes: no file matches \*\.bcf"),
        ("singletons: drop", "singletons: maybe", r"data\.singletons: must be keep or drop, not 'maybe'"),
        ("{4: chr4-b37-hapmap.txt.gz}", "{4: gone.txt}", r"recombination_map: no such file: gone\.txt"),
        ("length: 50_000", "length: 50kb", r"windows\.length: must be a whole number, not '50kb'"),
        ("name: yri-ceu", "name: a/b", r"name: must be letters, digits, dots, dashes and underscores"),
        ("schema_version: 1", "schema_version: 2", r"reads version 1, not 2; .* pip install --upgrade"),
        ("schema_version: 1", "schema_version: 0", r"reads version 1, not 0; write schema_version: 1"),
        ("  im:\n", "  a b:\n", r"scenarios\.a b.*: must be letters, digits"),
        ("simulator: demes", "simulator: deme", r"no simulator 'deme' is installed; .*did you mean 'demes'"),
        ("simulator: demes", "simulator: {file: x.py}", r"must be the name of a simulator, or \{file: my\.py, class"),
        ("simulator: demes", "simulator: {file: x.py, class: X}", r"\.simulator: no such file: x\.py"),
        ("model: im.demes.yaml", "model: gone.yaml", r":16: scenarios\.im\.model: no such file: gone\.yaml"),
        ("parameters:", "paramters:", r"scenarios\.im\.paramters: unknown option; did you mean parameters\?"),
        ("    mutation_rate: 1.29e-8\n", "", r"study\.yaml:14: scenarios\.im: .*mutation_rate is missing"),
        ("mutation_rate: 1.29e-8", "mutation_rate: .nan", r"mutation_rate: must be made of text, finite numbers"),
        ("mutation_rate: 1.29e-8", "mutation_rate: mu", r"study\.yaml:14: scenarios\.im: .*mu"),
    ],
)
def test_messages_say_what_where_and_what_is_right(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    assert old in REAL
    with pytest.raises(ExperimentError, match=sentence):
        experiment.load(write(tmp_path, REAL.replace(old, new)))


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("rounds", r"--set rounds: must be KEY=VALUE"),
        ("a..b=1", r"must be KEY=VALUE"),
        ("budget.rounds=[", r"the value is not valid YAML"),
        ("name.x=1", r"--set name\.x=1: name is 'im' and holds no 'x'"),
        ("budget.round=2", r"--set budget\.round=2: budget\.round: unknown key; did you mean rounds\?"),
        ("scenarios.im.fixed={N1: 5}", r"truth\.N1: is fixed at 5 in the scenario: leave it out here"),
        ("data.simulate.truth.N3=2", r"truth\.N3: unknown parameter; did you mean N2\? allowed: N1, N2, N_anc"),
        ("data.simulate.truth={N1: 9000}", r"truth: values missing for N2, N_anc, T_split, pulse"),
        ("data.simulate.scenario=in", r"scenario: no scenario named 'in'; did you mean im\? allowed: im"),
        ("data.simulate.windows=null", r"give either windows .* or contigs and contig_length"),
        ("data.simulate.contigs=2", r"give either windows .* or contigs and contig_length"),
        ("data.simulate.samples={A: -1}", r"samples\.A\.individuals: must be above 0, not -1"),
        ("data.genotypes=x.vcf", r"data\.genotypes: unknown key; allowed: .*simulate"),
        ("discriminator.name=exchangable", r"no discriminator named 'exchangable'; did you mean exchangeable\?"),
        ("generator.name=match", r"no generator named 'match'; did you mean matching\?"),
        ("generator.colour=red", r"generator\.colour: unknown option"),
        ("execution.executor=dask", r"must be ray, process or serial, not 'dask'"),
        ("scenarios={}", r"scenarios: must not be empty"),
        ("level=90", r"level: must be below 1, not 90"),
        ("seed=-1", r"seed: must be at least 0, not -1"),
    ],
)
def test_overrides_are_held_to_the_same_rules(override: str, sentence: str) -> None:
    with pytest.raises(ExperimentError, match=sentence):
        experiment.load(EXPERIMENTS / "im.yaml", [override])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("data: [1, 2\nx: 3", r"study\.yaml:\d: not valid YAML"),
        ("data: {}\ndata: {}", r"study\.yaml:2: data: key given twice, first on line 1"),
        ("- 1\n- 2", r"an experiment is a mapping of sections"),
        ("", r"data: required key is missing"),
        ("a: &x [*x]", r"alias may not contain itself"),
        ("? [1, 2]\n: 3", r"keys must be plain words"),
        ("a: !!python/object:os.system x", r"not valid YAML"),
        ("data: 5\nscenarios: 3", r"scenarios: must be a mapping \(key: value\), not 3"),
        ("a: \x01", r"not valid YAML"),
    ],
)
def test_yaml_that_is_no_experiment(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(ExperimentError, match=sentence):
        experiment.load(write(tmp_path, text))


@pytest.mark.parametrize("name", ["~nobody/x", "x" * 5000, "/", "..", "~"])
def test_paths_that_no_file_could_have(name: str) -> None:
    with pytest.raises(ExperimentError, match="no such file"):
        experiment.load(EXPERIMENTS / "im.yaml", [f"scenarios.im.model={name!r}"])


PIECES = [
    "null",
    "[]",
    "{}",
    "-1",
    "1e400",
    ".nan",
    "true",
    "*x",
    "&a",
    "- ",
    "? ",
    "|",
    ": ",
    "#",
    "\t",
    "  ",
    "~x",
    "{",
    "]",
]


def mutated(text: str, rng: random.Random) -> str:
    """The text with a line replaced, cut, doubled, indented or left out."""
    lines = text.split("\n")
    i = rng.randrange(len(lines))
    line, piece, cut = lines[i], rng.choice(PIECES), rng.randint(0, len(lines[i]))
    lines[i : i + 1] = rng.choice(
        ([f"{line.split(':')[0]}: {piece}"], [line[:cut] + piece + line[cut:]], [], [line, line], [f"  {line}"])
    )
    return "\n".join(lines)


@pytest.mark.parametrize("name", ["im", "yri-ceu"])
def test_no_mutation_of_an_experiment_ends_in_anything_but_a_message(name: str) -> None:
    rng = random.Random(name)
    original = (EXPERIMENTS / f"{name}.yaml").read_text()
    for _ in range(100):
        text = mutated(mutated(original, rng), rng)
        with contextlib.suppress(ExperimentError):
            assert experiment.loads(text, EXPERIMENTS).resolved()


def test_files_that_are_no_text(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match="no such experiment file"):
        experiment.load(tmp_path / "gone.yaml")
    with pytest.raises(ExperimentError, match="is a folder"):
        experiment.load(tmp_path)
    with pytest.raises(ExperimentError, match="not UTF-8 text"):
        experiment.load(EXPERIMENTS / "1kg-chr4-yri-ceu.vcf.gz")


def test_a_study_has_no_genome_source() -> None:
    with pytest.raises(ValueError, match=r"im\.yaml:6: data\.simulate: a simulation study has no genotype files"):
        experiment.genome_source(experiment.load(EXPERIMENTS / "im.yaml"))


CODE = '''
class Mine:
    """Yields nothing."""

    api_version = "1"
    produces = "windows"

    def __init__(self, *, rate):
        from ganinfer.parameters import Parameter, Parameters

        self.parameters = Parameters((Parameter("x", 0.0, rate),))

    def simulate(self, theta, design, seed):
        yield from ()
'''


def test_a_simulator_in_a_file_travels_as_text(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(CODE)
    text = "data: {simulate: {scenario: s, truth: {x: 1}, samples: {A: 1}, windows: 2}}\nscenarios:\n  s:\n"
    path = write(tmp_path, text + "    simulator: {file: mine.py, class: Mine}\n    rate: 3.0\n")
    loaded = experiment.load(path)
    (tmp_path / "mine.py").unlink()
    again = experiment.loads(_dump(loaded.resolved()), tmp_path)
    assert experiment.simulator(again, "s").parameters.names == ("x",)
    assert again.resolved()["scenarios"]["s"]["simulator"]["text"] == CODE
    assert problems(tmp_path, _dump(loaded.resolved()).replace("rate: 3.0", "speed: 3.0"))


def _dump(values: dict[str, object]) -> str:
    from io import StringIO

    stream = StringIO()
    YAML(typ="safe").dump(values, stream)
    return stream.getvalue()
