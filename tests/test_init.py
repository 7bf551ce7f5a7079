"""``ganinfer init``: first experiments from genomes, and copies of the shipped ones."""

from __future__ import annotations

import gzip
import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from ganinfer import experiment, starting
from ganinfer.cli import app
from ganinfer.genomes import open_genomes, read_samples
from ganinfer.models import DemesModel
from ganinfer.runner.refusing import refuse
from ganinfer.starting import StartingError, Wish
from ganinfer.starting.files import write_all
from ganinfer.starting.models import KINDS, Diversity, first_model
from tests.genome_files import write_vcf

EXPERIMENTS = Path(__file__).parent.parent / "experiments"
NUM_INDIVIDUALS = 25


@pytest.fixture(scope="module")
def genomes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the first region of the shipped extract, for 25 individuals of each population."""
    folder = tmp_path_factory.mktemp("genomes")
    contig, left, right = (EXPERIMENTS / "1kg-chr4-regions.bed").read_text().split()[:3]
    (folder / "regions.bed").write_text(f"{contig}\t{left}\t{right}\n")
    rows = (EXPERIMENTS / "1kg-chr4-yri-ceu.panel.tsv").read_text().splitlines()
    chosen = [[row for row in rows if row.endswith(f"\t{p}")][:NUM_INDIVIDUALS] for p in ("YRI", "CEU")]
    (folder / "panel.tsv").write_text("\n".join([rows[0], *chosen[0], *chosen[1]]) + "\n")
    names = [row.split("\t")[0] for row in (*chosen[0], *chosen[1])]
    with gzip.open(EXPERIMENTS / "1kg-chr4-yri-ceu.vcf.gz", "rt") as stream, (folder / "some.vcf").open("w") as copy:
        for line in stream:
            fields = line.rstrip("\n").split("\t")
            if line.startswith("#CHROM"):
                columns = [*range(9), *map(fields.index, names)]
            elif not line.startswith("#") and int(fields[1]) > int(right):
                break
            copy.write(line if line.startswith("##") else "\t".join(fields[c] for c in columns) + "\n")
    return folder


def wish(genomes: Path, **changes: object) -> Wish:
    values = {
        "genotypes": (genomes / "some.vcf",),
        "samples": genomes / "panel.tsv",
        "regions": genomes / "regions.bed",
    }
    return Wish(**{**values, **changes})  # type: ignore[arg-type]


def test_two_populations_get_a_split_scaled_to_their_diversity(genomes: Path, tmp_path: Path) -> None:
    made = starting.write_experiment(wish(genomes), tmp_path / "study", genomes / "cache")
    assert [path.name for path in made.files] == ["some.yaml", "some.demes.yaml", "some.options.yaml"]
    loaded = experiment.load(made.files[0])
    assert experiment.genome_source(loaded).populations == {"YRI": 20, "CEU": 20}
    parameters = experiment.simulator(loaded, "split").parameters
    assert parameters.names == ("N_anc", "N_YRI", "N_CEU", "T_split", "m")
    for population in made.found["populations"]:
        size = population["pi"] / (4 * 1.25e-8)
        bounds = parameters[parameters.names.index(f"N_{population['population']}")]
        assert bounds.lower * 10 < size < bounds.upper / 10
    assert len(parameters.sample(np.random.default_rng(1), 200)) == 200


def test_a_written_experiment_is_explained_line_by_line(genomes: Path, tmp_path: Path) -> None:
    made = starting.write_experiment(
        wish(genomes, recombination_map=EXPERIMENTS / "chr4-b37-hapmap.txt.gz"), tmp_path, genomes / "cache"
    )
    text = made.files[0].read_text()
    for word in ("accessible", "exclude", "ancestral", "phased", "singletons", "mutation_rate", "budget", "seed"):
        assert any(word in line and "#" in line for line in text.splitlines()), word
    assert "AA: as the file's INFO says" in text
    assert "recombination_rate: map" in text


@pytest.mark.parametrize("model", ["size-change", "growth"])
def test_one_population_gets_a_change_of_size(genomes: Path, tmp_path: Path, model: str) -> None:
    chosen = wish(genomes, populations={"CEU": 7}, model=model, mutation_rate=2.5e-8, generation_time=25, name="ceu")
    loaded = experiment.load(starting.write_experiment(chosen, tmp_path, genomes / "cache").files[0])
    assert (loaded.name, experiment.genome_source(loaded).populations) == ("ceu", {"CEU": 7})
    assert experiment.simulator(loaded, model).parameters.names == ("N_anc", "N_CEU", "T")
    assert loaded.scenarios[model].options["mutation_rate"] == 2.5e-8


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("fst", [0.0, 0.08, 0.9])
def test_every_first_model_is_possible_all_over_its_prior(kind: str, fst: float) -> None:
    names = ["YRI", "Central-Europe 1", "pair"][: KINDS[kind].num_populations]
    pairs = {(a, b): fst for x, y in combinations(names, 2) for a, b in ((x, y), (y, x))}
    made = first_model(kind, names, Diversity(dict(zip(names, (1e-3, 7e-4, 2e-5), strict=False)), pairs), 1.25e-8)
    model = DemesModel(made.demes, made.options)
    draws = model.parameters.sample(np.random.default_rng(1), 300)
    assert model.parameters.names == made.parameters
    assert all(model.problem(model.parameters.named(theta)) is None for theta in draws)
    assert set(made.labels) == set(names)
    assert set(made.labels.values()) <= {deme.name for deme in model.graph(model.parameters.named(draws[0])).demes}


@pytest.mark.parametrize("kind", ["split", "sequential-splits"])
@pytest.mark.parametrize("oldest", [0.04, 97.0, 1234.5, 99_999.0])
@pytest.mark.parametrize("fst", [0.0, 0.08, 0.9])
def test_populations_split_before_the_oldest_sample_lived(kind: str, oldest: float, fst: float) -> None:
    names = ["A", "B", "C"][: KINDS[kind].num_populations]
    pairs = {(a, b): fst for x, y in combinations(names, 2) for a, b in ((x, y), (y, x))}
    made = first_model(kind, names, Diversity(dict.fromkeys(names, 1e-3), pairs), 1.25e-8, oldest)
    model = DemesModel(made.demes, made.options)
    times = [p for p in model.parameters if p.unit == "generations"]
    assert all(oldest < p.lower < p.upper / 3 for p in times)
    draws = [model.parameters.named(theta) for theta in model.parameters.sample(np.random.default_rng(1), 100)]
    assert all(model.graph(theta)[name].start_time > oldest for theta in draws for name in names)


def test_an_experiment_with_an_ancient_sample_passes_its_own_check(genomes: Path, tmp_path: Path) -> None:
    rows = (genomes / "panel.tsv").read_text().splitlines()
    timed = [f"{row}\t{2000 if i == 1 else 0}" for i, row in enumerate(rows)]
    (tmp_path / "ancient.tsv").write_text("\n".join([f"{rows[0]}\ttime", *timed[1:]]) + "\n")
    chosen = wish(genomes, samples=tmp_path / "ancient.tsv", populations={"YRI": "all", "CEU": 10})
    made = starting.write_experiment(chosen, tmp_path / "study", genomes / "cache")
    loaded = experiment.load(made.files[0], ["execution.executor=serial"])
    assert any(samples.time == 2000 for samples in read_samples(tmp_path / "ancient.tsv", {}))
    refuse(loaded, network=False)
    times = experiment.simulator(loaded, "split").parameters[3]
    assert (times.name, times.lower) == ("T_split", 2200.0)


def test_the_most_similar_pair_splits_last() -> None:
    names = ("A", "B", "C")
    fst = {("A", "B"): 0.2, ("A", "C"): 0.05, ("B", "C"): 0.2}
    both = fst | {(b, a): value for (a, b), value in fst.items()}
    made = first_model("sequential-splits", names, Diversity(dict.fromkeys(names, 1e-3), both), 1.25e-8)
    theta = {p.name: float(p.quantile(0.5)) for p in DemesModel(made.demes, made.options).parameters}
    graph = DemesModel(made.demes, made.options).graph(theta | {"T_1": 3000.0, "T_2": 1000.0})
    assert {name: graph[name].ancestors for name in names} == {"A": ["pair"], "B": ["ancestral"], "C": ["pair"]}
    assert (graph["B"].start_time, graph["A"].start_time) == (3000.0, 1000.0)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"model": "spilt"}, r"no model named 'spilt'; allowed: size-change, growth, split"),
        ({"model": "size-change"}, r"model size-change is for 1 population\(s\), the data have 2: YRI, CEU"),
        ({"mutation_rate": 0.0}, r"--mutation-rate must be above 0"),
        ({"mutation_rate": 1.25}, r"--mutation-rate must be .* at most 0.001 .*, such as 1.25e-8, not 1.25"),
        ({"generation_time": -25.0}, r"--generation-time must be above 0 years, not -25"),
        ({"window_length": 400_000}, r"the genomes make 1 window of 400,000 bases, two at least are needed"),
        ({"regions": Path("gone.bed")}, r"gone\.bed: no such file"),
        ({"populations": {"FIN": "all"}}, r"FIN"),
        ({"window_length": 10_000_000}, r"window"),
    ],
)
def test_wishes_that_do_not_fit(genomes: Path, tmp_path: Path, changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        starting.write_experiment(wish(genomes, **changes), tmp_path / "new", genomes / "cache")
    assert list(tmp_path.iterdir()) == []


def test_values_are_looked_at_before_the_genomes(genomes: Path, tmp_path: Path) -> None:
    with pytest.raises(StartingError, match=r"--mutation-rate"):
        starting.write_experiment(wish(genomes, mutation_rate=1.25), tmp_path / "new", tmp_path / "cache")
    assert list(tmp_path.iterdir()) == []


def test_nothing_stays_of_files_that_turn_out_wrong(tmp_path: Path) -> None:
    """Neither they nor the folders made for them; what was there before is left."""

    def check(path: Path) -> None:
        raise StartingError(f"{path.read_text()} is wrong")

    (tmp_path / "mine").mkdir()
    with pytest.raises(StartingError, match="a is wrong"):
        write_all(tmp_path / "mine" / "new" / "deep", {"a.yaml": b"a", "b.yaml": b"b"}, check)
    assert [path.name for path in tmp_path.rglob("*")] == ["mine"]


def test_one_short_region_is_cut_into_blocks_for_two_folds(genomes: Path, tmp_path: Path) -> None:
    """One region of half a megabase; ``check`` and ``run`` refuse fewer blocks than folds."""
    loaded = experiment.load(starting.write_experiment(wish(genomes), tmp_path, genomes / "cache").files[0])
    settings = experiment.window_settings(loaded)
    assert settings.min_blocks == 2
    found = open_genomes(experiment.genome_source(loaded), settings, genomes / "cache")
    assert len({window.block for window in found.windows}) >= 2
    assert settings.block_length < 1_000_000


def test_accessible_bases_from_an_all_sites_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        f"1 {i} A {'C' if i % 9 == 0 else '.'} {'0|1 1|0 0|0' if i % 9 == 0 else '0|0 0|0 0|0'}" for i in range(1, 401)
    ]
    write_vcf(tmp_path / "all.vcf", rows, contigs={"1": 400})
    monkeypatch.chdir(tmp_path)
    arguments = ["-g", "all.vcf", "--populations", "A", "--accessible", "from-genotypes", "--window-length", "100"]
    done = CliRunner().invoke(app, ["init", *arguments])
    assert done.exit_code == 0, done.output
    assert experiment.genome_source(experiment.load(tmp_path / "all.yaml")).accessible == "from-genotypes"


def test_four_populations_are_too_many_for_a_first_model(genomes: Path, tmp_path: Path) -> None:
    rows = (genomes / "panel.tsv").read_text().splitlines()
    split = [f"{row}{i % 2}" if i else row for i, row in enumerate(rows)]
    (tmp_path / "four.tsv").write_text("\n".join(split) + "\n")
    with pytest.raises(StartingError, match=r"no first model for 4 populations .*--populations YRI\d,YRI\d"):
        starting.write_experiment(wish(genomes, samples=tmp_path / "four.tsv"), tmp_path, genomes / "cache")


def test_too_many_populations_are_refused_before_the_genomes_are_read(tmp_path: Path) -> None:
    (tmp_path / "damaged.vcf").write_text("no VCF at all")
    (tmp_path / "sheet.tsv").write_text("sample\tpopulation\n" + "".join(f"s{i}\tP{i}\n" for i in range(5)))
    wish = Wish(genotypes=(tmp_path / "damaged.vcf",), samples=tmp_path / "sheet.tsv")
    with pytest.raises(StartingError, match="there is no first model for 5 populations"):
        starting.write_experiment(wish, tmp_path / "out", tmp_path / "cache")


def test_nothing_is_overwritten(genomes: Path, tmp_path: Path) -> None:
    (tmp_path / "some.demes.yaml").write_text("mine")
    with pytest.raises(StartingError, match=r"some\.demes\.yaml exists already; choose another --output or --name"):
        starting.write_experiment(wish(genomes), tmp_path, genomes / "cache")
    assert [path.name for path in tmp_path.iterdir()] == ["some.demes.yaml"]
    starting.copy_example("im", tmp_path)
    with pytest.raises(StartingError, match=r"im\.yaml, .* exist already"):
        starting.copy_example("im", tmp_path)


@pytest.mark.parametrize("name", starting.example_names())
def test_every_shipped_experiment_can_be_copied_and_read(name: str, tmp_path: Path) -> None:
    copies = starting.copy_example(name, tmp_path / "copy")
    assert copies[0].name == f"{name}.yaml"
    assert experiment.load(copies[0]).name == name
    assert all((EXPERIMENTS / path.name).read_bytes() == path.read_bytes() for path in copies)


def test_an_unknown_example_is_answered_with_the_closest() -> None:
    with pytest.raises(
        StartingError, match=r"no shipped experiment named 'yri'; did you mean yri-ceu\? allowed: bottleneck, const"
    ):
        starting.copy_example("yri", Path("never"))


def test_the_command_says_what_it_found_and_what_comes_next(
    genomes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["init", "-g", str(genomes / "some.vcf"), "-s", str(genomes / "panel.tsv"), "-o", str(tmp_path)]
    done = CliRunner().invoke(
        app, [*arguments, "--regions", str(genomes / "regions.bed"), "--populations", "YRI=5,CEU"]
    )
    assert done.exit_code == 0, done.output
    assert "split: a split with migration" in done.stdout
    assert str(tmp_path / "some.yaml") in done.stdout
    assert f"next: ganinfer check {tmp_path / 'some.yaml'}" in done.stderr
    loaded = experiment.load(tmp_path / "some.yaml")
    assert experiment.genome_source(loaded).populations == {"YRI": 5, "CEU": 25}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "give either --genotypes FILE, or --table FILE, or --example NAME (bottleneck, const"),
        (["--example", "im", "-g", "x.vcf"], "give either --genotypes FILE, or --table FILE, or --example NAME"),
        (["-g", "gone.vcf"], "gone.vcf: no such file"),
        (["-g", "gone.vcf", "--name", "a/b"], "--name 'a/b': must be letters, digits, '.', '_' and '-', beginning"),
        (["-g", "x.vcf", "--populations", "YRI=many"], "--populations YRI=many: must be NAME or NAME=INDIVIDUALS"),
        (["-g", "x.vcf", "--populations", "YRI:2"], "--populations YRI:2: must be NAME or NAME=INDIVIDUALS"),
        (["--table", "x.vcf.gz"], "--table x.vcf.gz: a VCF is no text table; give it as --genotypes x.vcf.gz"),
        (["--example", "nothing"], "no shipped experiment named 'nothing'"),
    ],
)
def test_mistakes_of_the_command_line(
    arguments: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["init", *arguments])
    assert (done.exit_code, done.stdout) == (2, "")
    assert sentence in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_is_wrong_is_named_as_it_was_typed(genomes: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["init", "-g", str(genomes / "some.vcf"), "-o", str(tmp_path / "new")])
    assert done.exit_code == 2
    assert "--samples" in done.stderr
    assert "data.samples" not in done.stderr


def test_editors_get_a_schema_of_every_section() -> None:
    done = CliRunner().invoke(app, ["init", "--schema"])
    schema = json.loads(done.stdout)
    assert done.exit_code == 0
    assert set(schema["properties"]) == set(experiment.Experiment.model_fields)
    assert schema["additionalProperties"] is False
