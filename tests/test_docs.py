"""The pages: links lead somewhere, commands parse, examples load, tables agree with the code."""

from __future__ import annotations

import inspect
import re
import shlex
from configparser import ConfigParser
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from pydantic import BaseModel
from ruamel.yaml import YAML

import ganinfer
from ganinfer import experiment, plugins, testing
from ganinfer.cli import app, guard
from ganinfer.experiment import data, schema
from ganinfer.training.settings import TrainingSettings

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "experiments").glob("*.md")])
EXPERIMENT = ROOT / "docs" / "experiment.md"

_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`]+)`")


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose(page: Path) -> str:
    """A page without its fenced code, whose brackets are no links."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def blocks(page: Path, language: str) -> list[str]:
    return [text for found, text in _FENCE.findall(page.read_text(encoding="utf-8")) if found == language]


def yaml(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


# --- links --------------------------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


LINKS = [(page, link) for page in PAGES for link in _LINK.findall(prose(page)) if not link.startswith("http")]


@pytest.mark.parametrize(("page", "link"), LINKS, ids=[f"{name(p)}:{link}" for p, link in LINKS])
def test_link_leads_somewhere(page, link):
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    assert target.is_relative_to(ROOT), f"{name(page)} links to {link}, which is outside the repository"
    assert target.exists(), f"{name(page)} links to {link}, which does not exist"
    if anchor:
        assert anchor in anchors(target), f"{name(page)} links to {link}, but the headings there are {anchors(target)}"


def test_every_page_is_reached_from_the_readme():
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page not in reached:
            reached.add(page)
            targets = [(page.parent / link.partition("#")[0]).resolve() for p, link in LINKS if p == page]
            waiting += [t for t in targets if t.suffix == ".md"]
    assert set(PAGES) <= reached


def test_images_are_small():
    images = list((ROOT / "docs" / "images").iterdir())
    assert images
    for image in images:
        assert image.stat().st_size < 150_000, f"{name(image)} weighs down every clone"


# --- commands -----------------------------------------------------------------------------------------------------


def shown(program: str) -> list[tuple[Path, str]]:
    """Commands of ``program`` in indented or fenced code and in inline code, each with its page."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        found += [(page, line.strip()) for line in re.findall(rf"^ {{4}}{program} .*$", text, re.MULTILINE)]
        found += [(page, line) for line in re.findall(rf"^{program} .*$", "\n".join(_fenced(page)), re.MULTILINE)]
        found += [(page, " ".join(c.split())) for c in _INLINE.findall(prose(page)) if c.startswith(f"{program} ")]
    return list(dict.fromkeys(found))


def _fenced(page: Path) -> list[str]:
    return [text for _, text in _FENCE.findall(page.read_text(encoding="utf-8"))]


@cache
def program() -> Any:
    return typer.main.get_command(app)


def parsed(arguments: list[str], *, incomplete: bool = False) -> Any:
    """The context of the innermost command; a click error says what is wrong. ``incomplete``: nothing is missing."""
    command, context = program(), None
    while hasattr(command, "resolve_command") and arguments and not arguments[0].startswith("-"):
        context = command.context_class(command, info_name=command.name, parent=context)
        _, command, arguments = command.resolve_command(context, arguments)
    return command.make_context(command.name, list(arguments), parent=context, resilient_parsing=incomplete)


COMMANDS = [(page, command) for page, command in shown("ganinfer") if "--help" not in command]


@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=[f"{name(p)}:{c}" for p, c in COMMANDS])
def test_command_parses(page, command):
    arguments = shlex.split(command, comments=True)[1:]
    # Prose may name a command without what it acts on.
    parsed(arguments, incomplete=len(arguments) == arguments.count("plugins") + 1)


def test_commands_that_do_not_exist_are_noticed():
    with pytest.raises(Exception, match="No such option"):
        parsed(["run", "my.yaml", "--outptu", "there"])
    with pytest.raises(Exception, match="No such command"):
        parsed(["plugins", "lst"])


def test_every_command_is_shown():
    used = {shlex.split(command)[1] for _, command in COMMANDS}
    assert set(program().commands) <= used


def test_changed_values_exist():
    given = [(p, v) for p, c in COMMANDS for v in re.findall(r"--set (\S+)", c) if not v.startswith("KEY")]
    assert given
    for page, value in given:
        section, _, key = value.partition("=")[0].partition(".")
        fields = schema.Experiment.model_fields[section].annotation.model_fields
        assert key in fields, f"{name(page)}: --set {value}"


def test_targets_of_make_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for page, command in shown("make"):
        target = shlex.split(command, comments=True)[1]
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{name(page)}: {command}"


def test_exit_codes():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (sentence,) = re.findall(r"Exit codes: ([^.]*)\.", text)
    codes = {int(code) for code in re.findall(r"\b\d+\b", sentence)}
    assert codes == {guard.OK, guard.FAILED, guard.USAGE, guard.MISSING, guard.INTERRUPTED, guard.TERMINATED}


# --- examples -----------------------------------------------------------------------------------------------------


@pytest.fixture
def model_folder(tmp_path):
    """The model of docs/models.md, under the names that docs/experiment.md uses, and two files that only have to be."""
    demes, options, *_ = blocks(ROOT / "docs" / "models.md", "yaml")
    (tmp_path / "split.demes.yaml").write_text(demes)
    (tmp_path / "split.options.yaml").write_text(options)
    for file in ("genomes.vcf.gz", "panel.tsv"):
        (tmp_path / file).touch()
    return tmp_path


SNIPPETS = [(p, text) for p in PAGES for text in blocks(p, "yaml")]
COMPLETE = [(p, text) for p, text in SNIPPETS if {"data", "scenarios"} <= set(yaml(text))]


def test_snippets_are_yaml():
    assert len(COMPLETE) >= 2
    for page, text in SNIPPETS:
        assert yaml(text), name(page)


@pytest.mark.parametrize("text", [t for _, t in COMPLETE], ids=[name(p) for p, _ in COMPLETE])
def test_complete_experiment_loads(text, model_folder):
    loaded = experiment.loads(text, model_folder)
    for scenario in loaded.scenarios:
        parameters = experiment.simulator(loaded, scenario).parameters
        assert parameters.names == ("N", "T_split", "T_since", "m")
        if isinstance(loaded.data, experiment.SimulatedData):
            assert set(loaded.data.simulate.truth) == set(parameters.names)
            assert parameters.problem is None or parameters.problem(loaded.data.simulate.truth) is None


def plugin_example(word: str) -> str:
    (text,) = [t for t in blocks(ROOT / "docs" / "plugins.md", "python") if word in t]
    return text


def test_simulator_example_keeps_its_contract():
    text = plugin_example("class Constant")
    report = testing.check_simulator({"file": "constant.py", "class": "Constant", "text": text})
    assert report.ok, str(report)


def test_generator_example_keeps_its_contract():
    namespace: dict[str, Any] = {}
    exec(plugin_example("class Best"), namespace)
    report = testing.check_generator(namespace["Best"])
    assert report.ok, str(report)


@pytest.mark.parametrize("page", ["README.md", "docs/plugins.md"])
def test_discriminator_example_keeps_its_contract(page):
    import keras

    (text,) = [t for t in blocks(ROOT / page, "python") if "def build" in t]
    namespace: dict[str, Any] = {"keras": keras}
    exec(text, namespace)
    report = testing.check_discriminator(SimpleNamespace(**namespace))
    assert report.ok, str(report)


def test_demography_example():
    namespace: dict[str, Any] = {}
    exec(plugin_example("def island"), namespace)
    assert namespace["island"](N=1000, m=1e-3).num_populations == 2


# --- tables -------------------------------------------------------------------------------------------------------


def section(title: str) -> str:
    """The text of docs/experiment.md under the heading that begins with ``title``."""
    parts = re.split(r"^## ", EXPERIMENT.read_text(encoding="utf-8"), flags=re.MULTILINE)
    (found,) = [part for part in parts if part.splitlines()[0].startswith(title)]
    return found


def rows(text: str) -> dict[str, str]:
    """Key to default, as written, of every table row whose first cell is code."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.startswith("| `"):
            found |= dict.fromkeys(_INLINE.findall(cells[0]), cells[1])
    return found


SECTIONS: dict[str, type[BaseModel]] = {
    "Top level": schema.Experiment,
    "`data`: genomes": data.RealData,
    "`windows`": data.Windows,
    "`loci`": data.Loci,
    "`comparison`": schema.Comparison,
    "`adequacy`": schema.Adequacy,
    "`second_opinion`": schema.SecondOpinion,
    "`budget`": schema.BudgetSection,
    "`training`": schema.Training,
    "`execution`": schema.Execution,
    "`tracking`": schema.Tracking,
}


@pytest.mark.parametrize("title", SECTIONS)
def test_every_key_is_explained(title):
    assert set(rows(section(title))) == set(SECTIONS[title].model_fields)


def test_keys_of_a_study_and_of_plugins_are_explained():
    text = section("`data`: a simulation study")
    fields = {key for kind in (data.Study, data.SimulatedData) for key in kind.model_fields}
    assert fields <= set(_INLINE.findall(text)), "keys of a simulation study"
    assert set(data.SampleGroup.model_fields) <= set(_INLINE.findall(text)), "keys of its samples"
    chosen = set(rows(section("`discriminator`")))
    for key, kind in (
        ("discriminator", schema.Network),
        ("statistics", schema.Statistics),
        ("generator", schema.GeneratorChoice),
    ):
        assert {f"{key}.{field}" for field in kind.model_fields} <= chosen


def test_options_of_the_demes_simulator_are_explained():
    assert set(rows(section("`scenarios`"))) == set(inspect.signature(plugins.load("simulators", "demes")).parameters)


@pytest.mark.parametrize("title", SECTIONS)
def test_defaults_are_those_of_the_schema(title):
    trainer = TrainingSettings()
    for key, written in rows(section(title)).items():
        code = _INLINE.findall(written)
        if not code:
            continue  # required, none, or a section
        default = SECTIONS[title].model_fields[key].get_default(call_default_factory=True)
        if title == "`training`":
            default = getattr(trainer, key)
        if key == "populations":
            default = default or "all"
        value = yaml(code[0])
        assert (tuple(value) if isinstance(value, list) else value) == default, f"{title}: {key}"


PLUGINS = (
    ("generators", "matching"),
    ("generators", "annealing"),
    ("generators", "cma-es"),
    ("discriminators", "exchangeable"),
    ("discriminators", "pg-gan"),
    ("discriminators", "conv1d"),
)


@pytest.mark.parametrize(("kind", "plugin"), PLUGINS)
def test_options_of_plugins_are_explained(kind, plugin):
    loaded = plugins.load(kind, plugin)
    options = inspect.signature(getattr(loaded, "build", loaded)).parameters
    known = {key: p.default for key, p in options.items() if p.kind is p.KEYWORD_ONLY}
    (text,) = re.findall(rf"^### `{plugin}`\n(.*?)(?=^#)", EXPERIMENT.read_text(encoding="utf-8"), re.M | re.S)
    written = {key: yaml(_INLINE.findall(cell)[0]) for key, cell in rows(text).items()}
    assert written == pytest.approx(known)


def test_built_in_plugins_are_explained():
    built_in = {
        (k, p.name)
        for k in ("generators", "discriminators")
        for p in plugins.available(k)
        if p.where.startswith("ganinfer ")
    }
    assert built_in == set(PLUGINS)


def test_required_keys_are_called_so():
    for title, kind in SECTIONS.items():
        for key, written in rows(section(title)).items():
            assert (written == "required") == kind.model_fields[key].is_required(), f"{title}: {key}"


def test_every_layer_is_explained():
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    layers = set(re.findall(r"\w+", config["importlinter:contract:layers"]["layers"]))
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"## The layers\n(.*?)\n## ", text, re.DOTALL)
    assert layers <= set(_INLINE.findall(table))


def test_experiments_are_listed():
    text = (ROOT / "experiments" / "README.md").read_text(encoding="utf-8")
    found = (ROOT / "experiments").glob("*.yaml")
    names = {p.name for p in found if not p.stem.endswith((".demes", ".options"))}
    assert names <= set(_LINK.findall(text))


# --- the rest -----------------------------------------------------------------------------------------------------


def test_citation_file():
    citation = yaml((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == ganinfer.__version__
    assert citation["license"] == "MIT"


def test_changelog_has_this_version():
    assert f"## [{ganinfer.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_contributing_fits_on_a_screen():
    assert len((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").splitlines()) <= 60
