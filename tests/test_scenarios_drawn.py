"""The report of compared scenarios: its verdict first, its figures whole for few and many scenarios."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ganinfer import report, storage
from ganinfer.haplotypes import SampleSet, chromosomes
from ganinfer.report import comparison_drawn, drawing, page, reading, scenarios_drawn, scenarios_told, words
from ganinfer.report.style import Drawing, applied
from ganinfer.runner import comparing, contending
from ganinfer.table_statistics import TableStatistics
from tests import compared_folder, contended_folder, run_folder
from tests.test_report import assert_stands_alone, parsed


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compared_folder.make(tmp_path_factory.mktemp("compared") / "run", rivals=["joint-sfs"])


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five scenarios of long names, of which none fits and two are alike."""
    path = tmp_path_factory.mktemp("five") / "run"
    return compared_folder.make(path, compared_folder.LONG, p_values=[0.001, 0.02, 0.0002, 0.01, 0.001], alike=True)


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three scenarios that were compared on windows, with the report."""
    path = contended_folder.make(tmp_path_factory.mktemp("windows") / "run")
    report.write_report(path)
    return path


def changed(path: Path, **values: Any) -> Path:
    """The folder with other values in the comparison of its result."""
    result = json.loads((path / "result.json").read_text())
    result["comparison"] |= values
    (path / "result.json").write_text(json.dumps(result))
    return path


def drawn(path: Path, name: str) -> Drawing:
    with applied():
        found = drawing.figures_of(run := reading.load(path))[name](run)
    assert isinstance(found, Drawing), found
    return found


def texts(found: Drawing) -> list[str]:
    from matplotlib.text import Text

    return [text.get_text() for text in found.figure.findobj(Text) if text.get_text()]


def overlapping(labels: list[Any], figure: Any) -> list[tuple[str, str]]:
    """Pairs of labels that cover each other once drawn."""
    figure.draw_without_rendering()
    boxes = [(label.get_text(), label.get_window_extent()) for label in labels if label.get_text()]
    return [(a, b) for i, (a, one) in enumerate(boxes) for b, other in boxes[:i] if one.overlaps(other)]


# The page


def test_the_verdict_comes_first_and_the_page_is_whole(folder: Path) -> None:
    report.write_report(folder)
    found = parsed(folder)
    assert_stands_alone(found)
    assert len(found.images) == len(drawing.COMPARED)
    text = found.words
    sentence = "The most probable scenario is stable (probability 0.900). It fits: 40 % of the data sets"
    assert text.index(sentence) < text.index("was compared with")
    assert "(prior-predictive p = 0.4)" in text
    assert "expansion 0.050 0.02 does not fit" in text
    assert "The parameters of stable, the most probable scenario." in text
    assert "N 9,000 7,200 to 10,800 diploid individuals 8,800 20 %" in text
    assert "Not shown" not in text
    assert text.index("prior-predictive p the data") < text.index("The parameters of stable")


def test_that_none_fits_is_said_before_any_probability(five: Path) -> None:
    report.write_report(five)
    text = parsed(five).words
    place = text.index("No scenario fits: the data lie outside what every one of them simulates.")
    assert place < text.index("0.900")
    assert '<p class="banner none">' in (five / "report.html").read_text()
    assert "the least bad scenario: none fits, so do not interpret them" in text
    alike = "constant-size and expansion-of-both-lineages-before-the-last-ice-age cannot be told apart with such data"
    assert f"{alike}: in 76 of 192 tests (40 %) one was taken for the other." in text
    assert "expansion_of_the_zonal_lineage_only_with_migration 0.025 < 0.001 does not fit" in text


def test_the_most_probable_need_not_fit(tmp_path: Path) -> None:
    path = compared_folder.make(tmp_path / "run", p_values=[0.001, 0.3, 0.2])
    said = scenarios_told.verdict(reading.load(path).result or {})
    assert "But it does not fit: 0.1 % of the data sets simulated under stable" in said
    assert said.endswith("Of the others, expansion and bottleneck would fit.")


def test_the_lead_counts_what_was_compared(folder: Path) -> None:
    said = page.lead(reading.load(folder))
    assert said == (
        "A simulated data set with known truth (scenario stable) of 20 A and 15 B individuals and 1,150 SNPs at 1,000 "
        "loci was compared with 1,500 data sets simulated under 3 scenarios, within 1 min 30 s."
    )


def test_the_data_are_a_table_of_snps(folder: Path) -> None:
    tables = page.data_tables(reading.load(folder))
    assert list(tables) == ["Individuals", "SNPs"]
    assert dict(tables["SNPs"]) == {
        "in the table": "1,200",
        "loci": "1,000",
        "used": "1,150",
        "of the loci, not taken": "300",
        "left out: called too rarely": "50",
    }
    assert dict(tables["Individuals"])["missing genotypes"] == "14 %"
    assert dict(tables["Individuals"])["files"] == "snps.tsv"


def test_a_comparison_alone_has_no_estimates(tmp_path: Path) -> None:
    path = compared_folder.make(tmp_path / "run", parameters=False, models=False, tests=False)
    report.write_report(path)
    found = parsed(path)
    assert_stands_alone(found)
    assert "This run only compared scenarios; it estimated no parameters." in found.words
    assert "The parameters" not in found.words
    assert "Not shown: no scenario's simulator has a demographic graph to draw." in found.words
    assert found.words.count("Not shown: the run kept no data sets to test on") == 2
    assert "Not shown: there is no learning curve" in found.words


def test_another_scenario_may_be_chosen(tmp_path: Path) -> None:
    path = compared_folder.make(tmp_path / "run", chosen="bottleneck")
    report.write_report(path)
    text = parsed(path).words
    assert "The most probable scenario is stable" in text
    assert "The parameters of bottleneck, which was asked for; the most probable scenario is stable." in text
    assert "2 % of the data sets simulated under bottleneck" in text
    assert reading.load(path).truth == {}  # the data were made under stable


def test_one_scenario_is_only_asked_whether_it_fits(tmp_path: Path) -> None:
    path = compared_folder.make(tmp_path / "run", ["only"])
    report.write_report(path)
    found = parsed(path)
    assert_stands_alone(found)
    assert "There is one scenario, only. It fits: 40 % of the data sets" in found.words
    assert "simulated under 1 scenario, within" in found.words
    assert "taken for" not in found.words
    assert set(drawing.COMPARED) - set(report.figures(path)) == {
        "confusion",
        "reliability",
        "learning_curve",
        "separating",
    }


def test_the_truth_of_another_scenario_is_not_that_of_the_best(tmp_path: Path) -> None:
    path = compared_folder.make(tmp_path / "run")
    assert reading.load(path).truth == {"N": 8765.0, "T": 2100.0}
    text = (path / "experiment.yaml").read_text().replace("scenario: stable", "scenario: bottleneck")
    (path / "experiment.yaml").write_text(text)
    assert reading.load(path).truth == {}


def test_what_is_damaged_is_said(tmp_path: Path) -> None:
    path = compared_folder.make(tmp_path / "run")
    for name in ("comparison.npz", "training.parquet", "models/stable.demes.yaml"):
        (path / name).write_bytes(b"{ damaged")
    report.write_report(path)
    found = parsed(path)
    assert found.words.count("Not shown: comparison.npz cannot be read") == 3
    assert "no graph to draw" in texts(drawn(path, "scenarios"))


def test_other_runs_are_not_told_of_scenarios(tmp_path: Path) -> None:
    path = run_folder.make(tmp_path / "run", minimal=True)
    report.write_report(path)
    assert "Scenarios" not in parsed(path).words
    assert drawing.figures_of(reading.load(path)).keys() == drawing.FIGURES.keys() - {"calibration", "widths"}


def test_reader_and_writer_agree_on_what_fits() -> None:
    assert scenarios_told.FITS == comparing.FITS


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.99999, "> 0.999"), (1e-9, "< 0.001"), (0.9955, "0.996"), (None, "–"), (float("nan"), "–")],
)
def test_no_probability_is_0_or_1(value: float | None, text: str) -> None:
    assert scenarios_told.probability(value) == text


@pytest.mark.parametrize(("value", "text"), [(0.001, "0.001"), (0.0009, "< 0.001"), (1.0, "1"), (0.392, "0.39")])
def test_p_values(value: float, text: str) -> None:
    assert scenarios_told.p_value(value) == text


def test_every_statistic_of_tables_has_words() -> None:
    samples = (SampleSet("A", 5), SampleSet("B-north", 4))
    names = TableStatistics(chromosomes(samples)).names
    assert [name for name in names if words.statistic(name) == name] == []


# Compared on windows


def test_a_comparison_on_windows_has_its_own_figures_and_those_of_the_best(windows: Path) -> None:
    found = parsed(windows)
    assert_stands_alone(found)
    assert list(reading.load(windows).experiment["scenarios"]) == list(contended_folder.NAMES)
    shown = {name for section in page.CONTENDED.values() for name in section}
    assert shown == set(drawing.CONTENDED)
    missing = {"calibration", "widths", "places", "second_opinion"}  # not calibrated, not judged, no second opinion
    assert drawing.figures_of(reading.load(windows)).keys() == drawing.CONTENDED.keys() - missing
    assert len(found.images) == len(drawing.CONTENDED) - len(missing)
    for part in ("What tells the scenarios apart", "How the estimates were reached", "Linkage disequilibrium"):
        assert part in found.words
    for part in ("Not shown", "SNP", "data set", "prior-predictive"):
        assert part not in found.words
    assert "Training curves of critic and regressor" in (windows / "report.html").read_text()


def test_a_comparison_on_windows_speaks_of_genomes(windows: Path) -> None:
    text = parsed(windows).words
    assert (
        "The most probable scenario is stable (probability 0.900). It fits: 40 % of the genomes simulated under stable "
        "at its solution are as unusual for it as the real ones, or more (posterior-predictive p = 0.4)."
    ) in text
    assert (
        "The genomes of 20 A and 20 B individuals, 405 windows of 50 kb, were compared with 45,576 simulated windows "
        "under 3 scenarios, within 3 min 50 s."
    ) in text
    assert "The matching of stable took 8 rounds and ended because the budget of simulated windows was spent." in text
    assert "scenario probability log evidence posterior-predictive p the genomes" in text
    assert "expansion 0.050 −13.5 0.02 does not fit" in text
    assert "each scenario's own run is in scenarios/NAME in this folder, with a report." in text
    assert "Can this scenario have made these genomes?" in text
    assert "Of 300 test genomes, simulated around the scenarios' solutions and never trained on, the comparison" in text
    assert "Where real and simulated genomes differ most: sites with minor-allele count 2 in A and 2 in B" in text


def test_the_figures_of_windows_speak_of_genomes(windows: Path) -> None:
    assert "each at its estimates, present at the bottom" in drawn(windows, "scenarios").caption
    clouds = drawn(windows, "clouds")
    assert "the real genomes" in [text.get_text() for text in clouds.figure.legends[0].get_texts()]
    assert "by classical statistics, the genomes lie nearest to stable" in clouds.alternative
    confusion = drawn(windows, "confusion")
    assert [label.get_text() for label in confusion.figure.axes[1].get_yticklabels()] == ["with networks", "classical"]
    assert "classical, the same evidence from classical statistics alone, without networks" in confusion.caption
    assert "The scenarios' log evidences were divided by 1.3" in drawn(windows, "reliability").caption
    oddest = drawn(windows, "oddest")
    assert "Where the genomes are oddest under stable: sites with minor-allele count 4" in oddest.alternative
    assert "comparison 40 s, the rest 10 s" in drawn(windows, "timing").caption


def test_parameters_stand_side_by_side(windows: Path, folder: Path) -> None:
    found = scenarios_told.side_by_side(reading.load(windows))
    assert found is not None
    assert found.scenarios == contended_folder.NAMES
    values = {row.name: [cell and cell.estimate for cell in row.cells] for row in found.rows}
    assert values == {
        "N1": ["9,000", "9,000", "9,000"],
        "N2": ["5,000", "5,000", "5,000"],
        "N_anc": [None, "15,000", "15,000"],
        "T_split": [None, None, "2,000"],
    }
    assert (found.gaps, found.silent) == (True, False)
    text = parsed(windows).words
    assert "parameter unit stable expansion bottleneck N1 diploid individuals 9,000 8,730 to 9,270 9,000" in text
    assert "Empty: the scenario has no such parameter." in text
    report.write_report(folder)  # a table of SNPs
    assert "parameter unit stable expansion bottleneck N diploid individuals 9,000" in parsed(folder).words
    assert "Empty: the scenario" not in parsed(folder).words


def test_one_name_with_two_units_is_two_parameters(tmp_path: Path) -> None:
    path = compared_folder.make(tmp_path / "run", ("a", "b"))
    result = json.loads((path / "result.json").read_text())
    result["scenarios"]["b"]["parameters"]["T"] |= {"unit": "years", "informative": False}
    result["scenarios"]["a"]["parameters"]["N"]["description"] = "size"
    (path / "result.json").write_text(json.dumps(result))
    found = scenarios_told.side_by_side(reading.load(path))
    assert found is not None
    assert [(row.name, row.unit, [cell is None for cell in row.cells]) for row in found.rows] == [
        ("N", "diploid individuals", [False, False]),
        ("T", "generations", [False, True]),
        ("T", "years", [True, False]),
    ]
    assert found.rows[0].description == ""  # the scenarios mean different things by it
    assert found.silent


def test_that_no_scenario_makes_the_genomes_is_said_first(tmp_path: Path) -> None:
    path = contended_folder.make(tmp_path / "run", p_values=[0.001, 0.02, 0.0002], parameters=False, tests=False)
    report.write_report(path)
    found = parsed(path)
    assert_stands_alone(found)
    assert "No scenario fits: the genomes lie outside what every one of them simulates." in found.words
    assert "This run only compared scenarios; it estimated no parameters." in found.words
    assert found.words.count("Not shown: the run drew no genomes to test on (comparison.tests).") == 2
    assert "Not shown: the run left no" not in found.words
    assert "The matching of" not in found.words
    with pytest.raises(
        reading.ReportError, match=r"no trajectory\.parquet; look at a scenario by itself: .*/bottleneck"
    ):
        report.trace_text(path)


def test_evidence_that_is_not_a_number_has_a_dash(tmp_path: Path) -> None:
    path = contended_folder.make(tmp_path / "run", ("a", "b"))
    changed(path, log_evidence={"a": 3.14, "b": None})
    assert [row["log evidence"] for row in scenarios_told.rows(reading.load(path).result or {})] == ["3.1", "–"]


def test_a_scenario_of_a_comparison_has_its_own_report(windows: Path) -> None:
    part = windows / storage.SCENARIOS / "expansion"
    report.write_report(part)
    found = parsed(part)
    assert_stands_alone(found)
    assert "ganinfer report, scenario expansion" in found.words
    assert "Scenarios" not in found.words
    assert "N_ anc 15,000" in found.words
    assert report.trace_text(part).splitlines()[-1].startswith("    8")
    assert report.trace_text(windows).splitlines()[-1] == (
        f"These are the rounds of stable; those of each scenario: {windows}/scenarios/NAME"
    )


def test_truth_of_another_scenario_is_not_shown_in_a_scenarios_own_report(tmp_path: Path) -> None:
    path = run_folder.make(tmp_path / "run", minimal=True)
    (path / "data.json").write_text(json.dumps({"schema_version": 1, "truth": {"N1": 8888.0}}))
    text = (path / "experiment.yaml").read_text()
    for scenario, truth in (("split", {"N1": 8888.0}), ("other", {})):
        (path / "experiment.yaml").write_text(text.replace("data:\n", f"data:\n  simulate: {{scenario: {scenario}}}\n"))
        assert reading.load(path).truth == truth


def test_an_unfinished_comparison_names_what_can_be_looked_at(tmp_path: Path) -> None:
    path = contended_folder.make(tmp_path / "run", ("a", "b"), finished=False)
    said = rf"has not finished; look at a scenario by itself: {path}/scenarios/a, {path}/scenarios/b$"
    for look in (report.write_report, report.trace_text):
        with pytest.raises(reading.ReportError, match=said):
            look(path)
    report.write_report(path / "scenarios/b")
    assert "The run has not finished" in parsed(path / "scenarios/b").words
    for part in ("a", "b"):
        (path / "scenarios" / part / "trajectory.parquet").unlink()
    with pytest.raises(reading.ReportError, match="has not finished, nor has any scenario's first round"):
        report.trace_text(path)


def test_scenarios_that_an_earlier_process_finished_count_in_the_time(windows: Path) -> None:
    parts = sorted((windows / storage.SCENARIOS).iterdir())
    each = storage.read_json(parts[0] / "result.json")["seconds"]
    seconds = contending._seconds(parts, 40.0, 55.0)
    assert (seconds["simulate"], seconds["compare"]) == (3 * each["simulate"], 40.0)
    assert seconds["total"] == pytest.approx(3 * each["total"] + 40)
    assert contending._seconds(parts, 40.0, 2000.0)["total"] == 2000.0


def test_reader_and_writer_agree_on_where_scenarios_lie() -> None:
    assert reading.SCENARIO_RUNS == storage.SCENARIOS


# The figures


@pytest.mark.parametrize("names", [("a", "bottleneck"), compared_folder.SHORT, compared_folder.LONG])
def test_every_figure_is_drawn_with_words(names: tuple[str, ...], tmp_path: Path) -> None:
    path = compared_folder.make(tmp_path / "run", names, rivals=["joint-sfs", "abc-random-forest"])
    written = report.figures(path)
    assert list(written) == list(drawing.COMPARED)
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in written.values())
    for name in written:
        found = drawn(path, name)
        assert len(found.alternative) > 20
        assert len(found.caption) > 20


LABELS: dict[str, Callable[[Any], list[Any]]] = {
    "scenarios": lambda figure: [text for ax in figure.axes for text in (ax._left_title, *ax.texts)],
    "confusion": lambda figure: [*figure.axes[0].get_yticklabels(), *figure.axes[1].get_yticklabels()],
    "separating": lambda figure: [*figure.axes[0].get_yticklabels(), *(ax.xaxis.label for ax in figure.axes)],
    "oddest": lambda figure: [*figure.axes[0].get_yticklabels(), *figure.legends[0].get_texts()],
    "clouds": lambda figure: [*figure.legends[0].get_texts(), *(ax.xaxis.label for ax in figure.axes)],
}


@pytest.mark.parametrize("name", LABELS)
def test_long_names_do_not_cover_each_other(name: str, five: Path) -> None:
    found = drawn(five, name)
    with applied():
        assert overlapping(LABELS[name](found.figure), found.figure) == []


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("short", ["short"]),
        ("expansion_of_the_zonal_lineage", ["expansion_of_", "the_zonal_", "lineage"]),
        ("no-end-of-parts-in-this-name-here", ["no-end-of-", "parts-in-this-", "name-here"]),
        ("unbreakableunbreakable", ["unbreakableunb", "reakable"]),
        ("a b " * 12, ["a b a b a b a", "b a b a b a b", "a b a b a b a…"]),
    ],
)
def test_names_are_wrapped_where_words_end(text: str, lines: list[str]) -> None:
    assert scenarios_drawn.wrapped(text, 14).split("\n") == lines


def test_scenarios_share_their_time_and_have_their_own_colours(folder: Path) -> None:
    found = drawn(folder, "scenarios")
    assert len({ax.get_ylim() for ax in found.figure.axes}) == 1
    assert len({ax._left_title.get_color() for ax in found.figure.axes}) == 3
    assert "probability 0.900" in texts(found)


def test_the_data_are_a_star_for_each_network(folder: Path, tmp_path: Path) -> None:
    statistics, networks = drawn(folder, "clouds").figure.axes
    assert [len(ax.lines[0].get_xdata()) for ax in (statistics, networks)] == [1, 5]
    assert "by classical statistics, the data lie nearest to stable" in drawn(folder, "clouds").alternative
    two = drawn(compared_folder.make(tmp_path / "run", ("a", "b")), "clouds")
    assert two.figure.axes[1].get_ylabel() == "simulated data sets"
    assert "bars count the simulated data sets" in two.caption


def test_the_confusion_has_counts_shares_and_rivals(folder: Path) -> None:
    found = drawn(folder, "confusion")
    assert "96\n96 %" in texts(found)
    assert "288 of 300 right" in found.alternative
    assert "joint-sfs, trained on the same simulations" in found.caption
    assert [label.get_text() for label in found.figure.axes[1].get_yticklabels()] == ["networks", "joint-sfs"]


def test_empty_classes_have_no_point(folder: Path) -> None:
    found = drawn(folder, "reliability")
    points = found.figure.axes[0].containers[0].lines[0]
    assert len(points.get_xdata()) == 8
    assert np.isfinite(points.get_ydata()).all()
    for part in ("4 % on average", "Log loss 0.3 ± 0.03", "divided by 1.3", "guessing by 0.2 %"):
        assert part in found.caption


@pytest.mark.parametrize(
    ("losses", "said"),
    [
        (
            (0.5, 0.4, 0.3),
            "From 200 to 400 data sets a scenario the log loss still fell by 0.1: more simulations would",
        ),
        ((0.5, 0.31, 0.3), "changed by −0.01, within the tests' own error (0.042): more simulations promise little"),
        ((0.5, 0.3, 0.4), "rose by 0.1: more simulations alone would not help"),
    ],
)
def test_the_last_step_says_whether_more_would_help(losses: tuple[float, ...], said: str, tmp_path: Path) -> None:
    path = compared_folder.make(tmp_path / "run")
    changed(path, learning_curve=compared_folder.curve(losses))
    assert said in drawn(path, "learning_curve").caption


def test_on_windows_the_curve_is_of_those_that_judge(windows: Path) -> None:
    found = drawn(windows, "learning_curve")
    assert "From 22,784 to 45,568 judging windows a scenario the log loss still fell by 0.04" in found.caption
    assert "data sets" not in found.caption
    assert {ax.get_xlabel() for ax in found.figure.axes} == {"judging windows a scenario"}


def test_separating_statistics_are_in_order_with_the_data_beside(folder: Path) -> None:
    found = drawn(folder, "separating")
    widths = [bar.get_width() for bar in found.figure.axes[0].patches]
    assert widths == sorted(widths, reverse=True)
    assert len(widths) == 10
    assert "most of all how unevenly calls are missing in A, by individual, 95 %" in found.alternative


def test_the_oddest_statistics_are_the_best_scenarios(folder: Path) -> None:
    found = drawn(folder, "oddest")
    assert "SNPs with minor-allele count 0 in A and 4 to 8 in B, +6.50 standard deviations" in found.alternative
    assert "they say what the scenario lacks" in found.caption


def test_training_has_a_line_a_fold_and_kind(folder: Path) -> None:
    found = drawn(folder, "training")
    assert [len(ax.lines) for ax in found.figure.axes] == [10, 10]
    assert found.alternative == "Losses of 5 networks over 30 epochs."


def test_wilsons_interval_lies_within_0_and_1() -> None:
    low, high = comparison_drawn._wilson(np.array([0.0, 0.5, 1.0]), np.array([1.0, 100.0, 20.0]))
    assert ((low >= -1e-12) & (high <= 1 + 1e-12)).all()
    np.testing.assert_allclose((low[1], high[1]), (0.404, 0.596), atol=1e-3)  # as R's prop.test without correction
