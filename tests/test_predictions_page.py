"""The page of what a bundle says of data sets: first whether anything fits, then probabilities, then parameters."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from ganinfer import report
from ganinfer.report.reading import ReportError
from tests.test_report import Page, assert_stands_alone

ABOUT = {
    "name": "lineages",
    "scenarios": [{"name": "stable"}, {"name": "expansion"}],
    "samples": [{"population": "A", "num_individuals": 8}, {"population": "B", "num_individuals": 5}],
    "num_snps": 1200,
    "level": 0.9,
    "tested": {"calibration": {"accuracy": 0.91, "log_loss": 0.3, "log_loss_error": 0.02, "tests": 400}},
}


def answer(name: str, *, p: tuple[float, float] = (0.4, 0.01), parts: int = 1) -> dict[str, Any]:
    values = {
        "estimate": 9000.0,
        "interval": [7000.0, 12_000.0],
        "level": 0.9,
        "unit": "diploid individuals",
        "prior": [1000.0, 30_000.0],
        "informative": True,
        "sd_ratio": 0.2,
        "scale": "log",
        "description": "size",
    }
    return {
        "data": name,
        "none_fits": all(value < 0.05 for value in p),
        "best": "stable",
        "comparison": {
            "probabilities": {"stable": 0.9, "expansion": 0.1},
            "prior_predictive_p": dict(zip(("stable", "expansion"), p, strict=True)),
            "none_fits": all(value < 0.05 for value in p),
        },
        "parts": {"number": parts, "spread": [0.01, 0.01]},
        "parameters": {"N_anc": values},
        "snps": 2500,
        "dropped": {"called too rarely": 7, "without variation among the calls": 0},
    }


def page(folder: Path, *answers: dict[str, Any]) -> str:
    path = report.write_predictions(answers, ABOUT, folder / "page.html")
    return " ".join(path.read_text().split())


def text(html: str) -> str:
    return " ".join(re.sub(r"<style>.*?</style>|<[^>]+>", " ", html).split())


def test_one_data_set(tmp_path: Path) -> None:
    html = page(tmp_path, answer("my.tsv", parts=3))
    said = text(html)
    order = ("The most probable scenario is stable", "stable 0.900 0.4 fits", "Estimates", "9,000", "7,000 to 12,000")
    places = [said.index(words) for words in order]
    assert places == sorted(places)
    assert "1,200 SNPs of 8 A and 5 B individuals, simulated under stable and expansion" in said
    assert "name the true scenario in 91.0 %" in said
    assert (
        "2,500 SNPs were judged, in 3 random parts whose answers are averaged. Left out: 7 called too rarely." in said
    )
    assert_stands_alone(Page(html))


def test_that_nothing_fits_comes_first(tmp_path: Path) -> None:
    html = page(tmp_path, answer("my.tsv", p=(0.001, 0.02)))
    assert html.index("No scenario fits: the data lie outside") < html.index("0.900")
    assert 'class="banner none"' in html
    assert "the least bad scenario: none fits, so do not interpret them" in text(html)


def test_many_data_sets_make_one_table(tmp_path: Path) -> None:
    html = page(tmp_path, answer("a & b.tsv"), answer("odd.tsv", p=(0.01, 0.01)), answer("third.tsv", p=(0.01, 0.3)))
    said = text(html)
    assert "No scenario fits 1 of the 3 data sets" in said
    assert "a & b.tsv" not in html, "names are escaped"
    assert "odd.tsv none fits stable 0.900 0.100 0.01" in said
    assert said.index("third.tsv fits stable") < said.index("a &amp; b.tsv The most probable")
    assert "But it does not fit" in said
    everything = page(tmp_path, answer("a.tsv"), answer("b.tsv"))
    assert "At least one scenario fits each of the 2 data sets." in everything


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("there.html", "there.html exists already; choose another --output"),
        ("page.pdf", "choose a name that ends in .html"),
        ("nowhere/page.html", "there is no folder .*nowhere; make it first"),
    ],
)
def test_where_no_page_can_be_is_known_before(name: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "there.html").touch()
    with pytest.raises(ReportError, match=sentence):
        report.check_predictions(tmp_path / name)
