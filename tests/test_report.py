"""The report: right in what it says, whole in one file, and without loading anything from elsewhere."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from ganinfer import report, storage
from ganinfer.report import adequacy_told, calibration_told, citing, drawing, fit_drawn, page, reading, words
from ganinfer.report.reading import Estimate, ReportError
from ganinfer.report.style import Drawing, applied
from tests import run_folder

MOMENTS = "10.1534/genetics.117.200493"
VOID = {"meta", "link", "img", "br", "hr", "input", "wbr"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A finished run of five parameters and two populations, with its report."""
    path = run_folder.make(tmp_path_factory.mktemp("two") / "run", warnings=["The budget <was> short & spent."])
    report.write_report(path)
    return path


class Page(HTMLParser):
    """Checks that tags nest and collects what a page holds, what it would load, and what it links to."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.loads: list[str] = re.findall(r"""url\(\s*["']?([^)"']+)|@import\s+["']?([^"';]+)""", html)
        self.ids: list[str] = []
        self.anchors: list[str] = []
        self.scripts = 0
        self.feed(html)
        assert self.open == [], f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "img":
            self.images.append(values)
        if tag == "script":
            self.scripts += 1
        if tag == "a":
            self.anchors.append(values["href"] or "")
        else:
            self.loads += [v or "" for k, v in attrs if k in ("src", "href", "data", "srcset", "poster", "action")]
        if values.get("id"):
            self.ids.append(values["id"] or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def parsed(folder: Path) -> Page:
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def without_figures(folder: Path) -> None:
    """Write the report again, of words alone: the figures take nearly all of its time."""
    page.write(reading.load(folder), {})


# One file, complete


def assert_stands_alone(found: Page) -> None:
    assert [load for load in found.loads if not load.startswith("data:")] == []
    assert found.scripts == 0
    assert all(image["alt"] and len(image["alt"]) > 20 for image in found.images)
    assert {a[1:] for a in found.anchors if a.startswith("#")} <= set(found.ids)
    assert len(found.ids) == len(set(found.ids))


def test_the_report_is_one_file_that_loads_nothing(folder):
    found = parsed(folder)
    assert_stands_alone(found)
    assert len(found.images) == len(drawing.FIGURES)
    assert (folder / "report.html").stat().st_size < 5_000_000


def test_the_parse_check_can_fail():
    with pytest.raises(AssertionError, match="never closed"):
        Page("<div><p></p>")
    assert Page('<img src="https://example.org/x.png" alt="x">').loads == ["https://example.org/x.png"]


def browser() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


def browse(executable: str, path: Path, scratch: Path) -> tuple[list[str], list[str]]:
    """Console messages of a page opened in a real browser, and the addresses that the page itself asked for."""
    log, shot = scratch / "net.json", scratch / "page.png"
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    flags += ["--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr", f"--log-net-log={log}"]
    flags += [f"--user-data-dir={scratch / 'profile'}", f"--screenshot={shot}", "--window-size=1100,3000"]
    done = subprocess.run([executable, *flags, path.as_uri()], capture_output=True, text=True, timeout=120)
    assert shot.exists(), done.stderr
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    events = json.loads(log.read_text())
    kind = events["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"]
    asked = [e.get("params", {}) for e in events["events"] if e["type"] == kind]
    own = ("not an origin", None)  # the browser's own business, not the page's
    return console, [p["url"] for p in asked if p.get("initiator") not in own and p["url"].startswith("http")]


@pytest.mark.slow
def test_a_browser_opens_it_silently_and_offline(folder, tmp_path, capsys):
    executable = browser()
    if executable is None:
        assert_stands_alone(parsed(folder))
        with capsys.disabled():
            print("\nno browser on PATH: the report was checked by parsing it only")
        return
    assert browse(executable, folder / "report.html", tmp_path) == ([], [])
    bad = tmp_path / "bad.html"
    bad.write_text("<img src='http://127.0.0.1:9/x.png'><script>console.error('boom')</script>")
    console, asked = browse(executable, bad, tmp_path)
    assert "boom" in console[0]
    assert asked == ["http://127.0.0.1:9/x.png"]


# What it says


def test_files_are_named_with_their_format(folder):
    text = parsed(folder).words
    assert "files example.vcf.gz (VCF)" in text
    assert "digest" not in text


def test_many_files_are_counted():
    files = [{"path": f"/data/chr{i}.bcf", "format": "BCF"} for i in range(1, 23)]
    assert page._files(files) == "chr1.bcf (BCF), chr2.bcf (BCF), chr3.bcf (BCF) and 19 more"
    assert page._files(["old.vcf"]) == "old.vcf"


def test_the_summary_comes_first_and_in_plain_words(folder):
    text = parsed(folder).words
    assert (
        "The genomes of 20 A and 20 B individuals, 405 windows of 50 kb, were compared with 59,840 simulated ones"
        in text
    )
    assert "in 8 rounds within 5 min 43 s" in text
    assert "ended because the emulator's error added little to any parameter's variance and the estimates" in text
    assert "N1 9,000 8,730 to 9,270 diploid individuals 2 %" in text
    assert "T_ split 2,000 1,840 to 2,160 generations = 50,000 years (46,000 to 54,000)" in text
    assert "The genomes say little about pulse" in text
    assert "was not tested in this run" in text
    assert text.index("Estimates") < text.index("The model") < text.index("How to cite")


def test_warnings_are_shown_and_escaped(folder):
    assert "The budget &lt;was&gt; short &amp; spent." in (folder / "report.html").read_text()


def test_the_worst_statistics_are_named(folder):
    text = parsed(folder).words
    assert "sites with minor-allele count 2 in A and 2 in B: " in text
    assert re.search(r"in real windows, 20\.00 in simulated ones \(\d\.\d standard errors above\)", text)


def test_data_settings_versions_and_citations(folder):
    text = parsed(folder).words
    for part in ("too few accessible bases 21", "read 195,147", "dropped: indel 12,000", "A and B 0.153", "9.8 × 10⁻⁴"):
        assert part in text
    assert "simulated_windows: 60000" in text
    assert "msprime 1.4.4" in text
    assert "doi:10.1093/genetics/iyab229" in text
    assert "doi:10.1093/genetics/iyac131" in text


@pytest.mark.slow
def test_extreme_scales_three_populations_and_a_verdict(tmp_path):
    verdict = {"verdict": "strained", "p_value": 0.0004, "critic_auc": 0.54}
    path = run_folder.make(tmp_path / "run", truths=run_folder.EXTREME, num_populations=3, adequacy=verdict)
    report.write_report(path)
    found = parsed(path)
    assert_stands_alone(found)
    assert len(found.images) == len(drawing.FIGURES)
    assert "1.290 × 10⁻⁸ 1.264 to 1.316 × 10⁻⁸" in found.words
    assert "= 4,940 generations" in found.words
    assert "The interval of at_the_edge reaches the prior's upper bound, 30,000" in found.words
    assert "The fitted model is strained" in found.words
    assert "p < 0.001; the discriminator's AUC is 0.540" in found.words


def test_estimates_without_what_the_model_misses_stand_beside_the_others(tmp_path):
    without = {t.name: {"estimate": t.value * 1.01, "interval": [t.value * 0.9, t.value * 1.1]} for t in run_folder.IM}
    left = {"families": ["haplotypes", "embedding"], "moved": {"N1": 1.2, "N2": 0.3}, "parameters": without}
    verdict = {"verdict": "wrong", "p_value": 0.01, "critic_auc": 0.7, "looks": {}, "left_out": left}
    run = reading.load(run_folder.make(tmp_path / "run", adequacy=verdict))
    rows = adequacy_told.estimates_without(run)
    assert [row["parameter"] for row in rows] == [t.name for t in run_folder.IM]
    assert (rows[0]["from all statistics"], rows[0]["without those"]) != ("", "")
    assert "9,090 (8,100 to 9,900)" in rows[0]["without those"]
    report.write_report(tmp_path / "run")
    assert "without those" in parsed(tmp_path / "run").words


def test_a_calibration_by_the_short_way_alone_says_so():
    assert "--full 10" in calibration_told.unchecked({"posterior": {"sets": 3}})
    assert calibration_told.unchecked({"posterior": {"sets": 3}, "full": {"sets": 1}}) == ""
    assert calibration_told.unchecked({"prior": {"sets": 3}}) == ""


def test_one_parameter_of_one_population(tmp_path):
    path = run_folder.make(tmp_path / "run", truths=run_folder.IM[:1], num_populations=1, size=50)
    report.write_report(path)
    found = parsed(path)
    assert_stands_alone(found)
    assert "Not shown: there is only one parameter." in found.words
    assert "there is one population" in found.words


def test_what_follows_from_parameters_and_what_was_given_stand_by_the_estimates(tmp_path):
    path = run_folder.make(tmp_path / "run")
    result = json.loads((path / "result.json").read_text())
    result["derived"] = {"present size": {"estimate": 28_134.0, "interval": [23_690.0, 32_530.0], "level": 0.9}}
    result["stability"] = {
        "halves": {"N1": 0.8, "N2": 1.0},
        "folds": {"N1": 0.1, "N2": 3.0},
        "usual": {"halves": {"N1": 0.2, "N2": 0.9}, "folds": {"N1": 2.0, "N2": 2.0}},
        "stable": True,
        "effective_windows": 3_412.4,
        "peaks": {"N2": [[4_000.0, 0.3], [6_000.0, 0.7]]},
    }
    (path / "result.json").write_text(json.dumps(result))
    report.write_report(path)
    words = parsed(path).words
    assert "present size 28,000 24,000 to 33,000" in words or "present size 28,100 23,700 to 32,500" in words
    assert "Taken as given: a mutation rate of" in words
    assert "3,412 effective simulated windows" in words
    assert "two halves of the simulations differ by 0.8 (N1; 0.2 by chance)" in words
    assert "two halves of the windows differ by 3.0 (N2; 2.0 by chance), which is within what chance does" in words
    assert "ended in one place" not in words
    assert "several peaks: N2 at 4,000 (30 % of the draws) and 6,000 (70 % of the draws)" in words
    result["stability"] |= {"folds": {}}
    (path / "result.json").write_text(json.dumps(result))
    without_figures(path)
    words = parsed(path).words
    assert "estimates from two halves of the simulations differ by 0.8 (N1; 0.2 by chance), which is within" in words
    result["stability"] |= {"halves": None, "folds": None, "usual": None, "stable": None, "peaks": {}}
    (path / "result.json").write_text(json.dumps(result))
    without_figures(path)
    assert "Half of the simulations are too few to be estimated from" in parsed(path).words
    assert "several peaks" not in parsed(path).words
    assert "began all over the prior, ended in one place" in parsed(path).words


def _cover(held, band=(84, 96)):
    return {"held": held, "of": 100, "share": held / 100, "band": list(band), "right": band[0] <= held <= band[1]}


@pytest.mark.parametrize(
    ("sets", "told"), [(1, "In 1 simulated data set with"), (1200, "In 1,200 simulated data sets with")]
)
def test_data_sets_of_a_calibration_are_counted(sets, told):
    said = {"sets": sets, "pooled": {"0.9": {"held": 3, "of": 4}}}
    sentence = calibration_told.sentence("posterior", said)
    assert sentence.startswith(told)
    assert "90 % intervals held the truth in 3 of 4 cases" in sentence


def test_intervals_that_hold_too_seldom_are_named():
    said = {
        "parameters": {
            name: {"coverage": {"0.9": _cover(held)}} for name, held in (("a", 80), ("b", 90), ("c", 99), ("d", 82))
        },
        "adequacy": {"flagged": 1, "judged": 100, "p_uniform": 1e-5, "mean_p": 0.7},
    }
    told = calibration_told.missed(said)
    assert "intervals of a (90 %) and d (90 %) held less often" in told
    assert "intervals of c (90 %) held more often" in told
    assert "b" not in told.split("intervals of ")[1].split(" held")[0].replace("(90 %)", "")
    assert "Of 4 counts like these, chance alone marks 0.2 on average." in told
    assert "too narrow" in told
    assert "wider than they need be" in told
    assert "are too large (mean 0.70): the verdict is careful" in calibration_told.alarms(said)
    for name in "acd":
        said["parameters"][name]["coverage"]["0.9"] = _cover(90)
    said["adequacy"]["p_uniform"] = 0.3
    assert calibration_told.missed(said) == ""
    said["parameters"]["a"]["coverage"]["0.9"] = _cover(83)
    told = calibration_told.missed(said)
    assert "intervals of a (90 %) held less often than chance allows for one count alone" in told
    assert "too narrow" not in told
    assert "mean" not in calibration_told.alarms(said)


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_crosses_are_the_truths_that_intervals_do_not_hold(tmp_path, scale):
    run = reading.load(run_folder.make(tmp_path / "run"))
    name = run.estimates[0].name
    log = scale == "log"
    middle, half = 5_000.0, np.array([100.0, 200.0, 400.0, 800.0])
    truth = middle + np.array([90.0, -210.0, 390.0, 900.0])
    ends = (
        (middle - half, middle + half) if not log else (middle * np.exp(-half / middle), middle * np.exp(half / middle))
    )
    calibrated = {
        "kind": np.array(["posterior"] * 4, object),
        "parameter": np.array([name] * 4, object),
        "truth": truth if not log else middle * np.exp((truth - middle) / middle),
        "low": ends[0],
        "high": ends[1],
    }
    result = json.loads(json.dumps(run.result))
    result["parameters"][name]["scale"] = scale
    drawn = drawing.FIGURES["widths"](replace(run, result=result, calibrated=calibrated))
    ax = drawn.figure.axes[0]
    held, missed = (c.get_offsets().data for c in ax.collections[:2])
    unit = middle if log else 1.0
    np.testing.assert_allclose(held * unit, [[200, 90], [800, 390]])
    np.testing.assert_allclose(missed * unit, [[400, -210], [1600, 900]])
    assert all(t.get_text().startswith("×") == log for t in ax.get_xticklabels())


@pytest.mark.parametrize(("low", "high", "shown"), [(8_900, 9_100, True), (4_000, 14_000, False)])
def test_a_narrow_interval_is_enlarged(tmp_path, low, high, shown):
    path = run_folder.make(tmp_path / "run")
    result = json.loads((path / "result.json").read_text())
    result["parameters"]["N1"] |= {"interval": [low, high], "estimate": 9_000}
    for name in result["parameters"].keys() - {"N1"}:
        del result["parameters"][name]
    (path / "result.json").write_text(json.dumps(result))
    drawn = drawing.drawn(reading.load(path))
    for name in ("trajectory", "prior_to_posterior"):
        assert ("enlarge" in drawn[name].caption) is shown
        assert bool([a for a in drawn[name].figure.axes[0].child_axes if a.lines]) is shown


def test_only_admixture_that_moved_somebody_is_drawn_and_its_share_is_told(folder):
    import demes

    builder = demes.Builder()
    builder.add_deme("A", epochs=[{"start_size": 1_000}])
    builder.add_deme("B", ancestors=["A"], start_time=900, epochs=[{"start_size": 500}])
    builder.add_pulse(sources=["A"], dest="B", time=400, proportions=[0.25])
    builder.add_pulse(sources=["B"], dest="A", time=400, proportions=[0.0])
    drawn = drawing.FIGURES["model"](replace(reading.load(folder), graph=builder.resolve()))
    assert drawn.caption.endswith("dashed ones admixture. 400.0 generations ago B had 25 % of A in it.")


def test_what_is_absent_is_said(tmp_path):
    path = run_folder.make(tmp_path / "run", minimal=True)
    report.write_report(path)
    found = parsed(path)
    assert_stands_alone(found)
    for name in ("best.demes.yaml", "posterior.parquet", "fit.npz", "training.parquet", "metrics.parquet", "data.json"):
        assert f"the run left no {name}" in found.words or "no comparison of real and simulated" in found.words
    assert "N1 9,000" in found.words


def test_an_unfinished_run_has_a_report(tmp_path):
    path = run_folder.make(tmp_path / "run", minimal=True, finished=False)
    report.write_report(path)
    assert "The run has not finished: these are its latest estimates." in parsed(path).words


def test_a_simulation_study_says_that_the_truth_was_known(tmp_path):
    path = run_folder.make(tmp_path / "run", minimal=True)
    (path / "experiment.yaml").write_text(
        "name: im\ndata: {simulate: {scenario: im}}\nscenarios: {im: {simulator: demes}}\n"
    )
    assert "The simulated data set with known truth" in page.lead(reading.load(path))
    assert not reading.load(path).folded


def test_the_truth_of_a_simulation_study_is_shown_beside_the_estimate(tmp_path):
    path = run_folder.make(tmp_path / "run", minimal=True)
    truth = {"N1": 8888.0, "N2": 5000.0}
    (path / "data.json").write_text(json.dumps({"schema_version": 1, "simulated": True, "truth": truth}))
    report.write_report(path)
    found = parsed(path)
    assert "N1 9,000 8,730 to 9,270 diploid individuals 8,890" in found.words
    assert "Orange: the truth that the data were simulated with." in found.words


def test_generators_without_intervals_have_a_report(tmp_path):
    path = run_folder.make(tmp_path / "run", minimal=True, finished=False)
    columns = storage.read_table(path / "trajectory.parquet")
    columns |= {key: np.full(len(columns["round"]), np.nan) for key in ("low", "high")}
    logarithmic = columns["parameter"] == "T_split"
    columns["scale"] = np.where(logarithmic, "log", "linear")
    columns["spread"] = np.where(logarithmic, np.log(2), 100.0)
    with storage.RunFolder.create(path, resume=True) as run:
        run.write_table("trajectory.parquet", columns)
    report.write_report(path)
    assert "no interval" in parsed(path).words
    assert "The generator gives no posterior, so there is no interval. The dotted lines" in parsed(path).words
    assert "the interval it was known to" not in parsed(path).words
    lines = report.trace_text(path).splitlines()
    assert " 9,000 [8,900 – 9,100] " in lines[-2]
    assert " 2,000 [1,000 – 4,000] " in lines[-2]  # by a factor of two, on its own scale
    assert lines[-1].endswith("this generator gives no interval")


def test_estimates_without_a_posterior_are_drawn_as_such(tmp_path):
    path = run_folder.make(tmp_path / "run", minimal=True)
    result = json.loads((path / "result.json").read_text())
    for values in result["parameters"].values():
        values["interval"] = None
    (path / "result.json").write_text(json.dumps(result))
    drawn = drawing.FIGURES["prior_to_posterior"](reading.load(path))
    assert "so there is no interval" in drawn.caption
    assert "Blue" not in drawn.caption


def test_damaged_files_are_said_not_raised(tmp_path):
    path = run_folder.make(tmp_path / "run")
    for name in ("fit.npz", "posterior.parquet", "best.demes.yaml", "training.parquet", "data.json"):
        (path / name).write_bytes(b"{ damaged")
    run = reading.load(path)
    assert run.fit is run.posterior is run.graph is run.training is run.data is None
    assert all("cannot be read" in run.absent[name] for name in ("fit.npz", "posterior.parquet", "best.demes.yaml"))
    report.write_report(path)
    assert_stands_alone(parsed(path))


def test_no_run_and_other_versions_are_refused(tmp_path):
    with pytest.raises(ReportError, match=r"nowhere is not a folder; name a run's output folder"):
        report.write_report(tmp_path / "nowhere")
    with pytest.raises(ReportError, match=r"holds no run to report on: neither result\.json nor trajectory"):
        report.write_report(tmp_path)
    (tmp_path / "result.json").write_text('{"schema_version": 7}')
    with pytest.raises(ReportError, match=r"result\.json has schema_version 7, this report reads 1"):
        report.write_report(tmp_path)


def test_reader_and_writer_agree_on_the_version():
    assert reading.SCHEMA_VERSION == storage.RESULT_SCHEMA_VERSION == storage.FORMAT_VERSION


# Figures


def test_figures_are_written_for_the_record(tmp_path):
    path = run_folder.make(tmp_path / "run", truths=run_folder.IM[:1], num_populations=1)
    written = report.figures(path)
    assert set(drawing.FIGURES) - set(written) == {"pairs", "joint_spectrum"}
    assert written["trajectory"] == path / "figures" / "trajectory.png"
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in written.values())


def test_a_figure_is_the_same_twice(folder):
    run = reading.load(folder)
    with applied():
        first, second = (drawing.FIGURES["trajectory"](run) for _ in range(2))
        assert isinstance(first, Drawing)
        assert isinstance(second, Drawing)
        assert first.data_uri() == second.data_uri()


def test_no_users_figure_or_setting_is_touched(folder):
    import matplotlib
    import matplotlib.pyplot as plt

    before = dict(matplotlib.rcParams)
    with applied():
        drawing.FIGURES["residuals"](reading.load(folder))
    assert dict(matplotlib.rcParams) == before
    assert plt.get_fignums() == []


def test_spectra_of_joint_counts_are_the_sums(folder):
    run = reading.load(folder)
    marginals = fit_drawn._marginals(run)
    joint = run.fit["sfs_real"]
    np.testing.assert_allclose(marginals["A"][0], joint.sum(axis=1))
    np.testing.assert_allclose(marginals["B"][0], joint.sum(axis=0))


def test_residuals_are_in_standard_errors(folder):
    run = reading.load(folder)
    found = fit_drawn.residuals(run)
    se = np.hypot(run.fit["real_se"], run.fit["simulated_se"])
    np.testing.assert_allclose(found.z, (run.fit["real_mean"] - run.fit["simulated_mean"]) / se)
    assert found.worst(1) == [1]


# Words


@pytest.mark.parametrize(
    ("value", "resolution", "text"),
    [
        (9012.3, 150, "9,010"),
        (9012.3, None, "9,012"),
        (1.29e-8, 3e-10, "1.290 × 10⁻⁸"),
        (3.4e9, 7e8, "3.40 × 10⁹"),
        (0, 0.2, "0.00"),
        (-0.004, 0.3, "0.00"),
        (-0.2, 0.075, "−0.200"),
        (3e-6, 2.7e-5, "3.0 × 10⁻⁶"),
        (9.9999e-8, 1e-10, "1.0000 × 10⁻⁷"),
        (9999.6, 1, "9,999.6"),
        (float("nan"), 1, "–"),
    ],
)
def test_numbers(value, resolution, text):
    assert words.number(value, resolution) == text


def test_numbers_can_be_read_back():
    rng = np.random.default_rng(1)
    for _ in range(500):
        value = float(rng.normal() * 10.0 ** rng.integers(-12, 12))
        half = abs(value) * float(10 ** rng.uniform(-3, 0))
        text = words.number(value, half).replace("−", "-").replace(",", "").replace(" × 10", "e")
        text = text.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789"))
        assert float(text) == pytest.approx(value, abs=0.06 * half), (value, half)


def test_years_and_generations():
    split = Estimate("T", 2000, (1800, 2200), unit="generations", prior=(500, 20_000))
    years = words.in_other_unit(split, 25)
    assert (years.estimate, years.interval, years.unit) == (50_000, (45_000, 55_000), "years")
    assert words.in_other_unit(years, 25).estimate == 2000
    assert words.in_other_unit(split, None) is None
    assert words.in_other_unit(Estimate("N", 1, unit="diploid individuals"), 25) is None


@pytest.mark.parametrize(
    ("interval", "sides"), [((1000, 2000), ["lower"]), ((2000, 29_900), ["upper"]), ((2000, 9000), []), (None, [])]
)
def test_intervals_that_reach_the_priors_bounds(interval, sides):
    assert words.edges(Estimate("N", 5000, interval, prior=(1000, 30_000))) == sides


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("sfs A=1,B=0", "sites with derived-allele count 1 in A and 0 in B"),
        ("sfs A=5-8", "sites with derived-allele count 5 to 8 in A"),
        ("haplotypes shared A,B, 1/2 window", "haplotypes that A and B share (half a window)"),
        ("r2 YRI, 0-500 bp", "linkage disequilibrium (r²) in YRI between sites 0 to 500 bp apart"),
        ("something new", "something new"),
    ],
)
def test_statistics_in_words(name, text):
    assert words.statistic(name) == text


def test_every_classical_statistic_has_words():
    from ganinfer.haplotypes import SampleSet, chromosomes
    from ganinfer.statistics import ClassicalStatistics

    samples = (SampleSet("YRI", 5), SampleSet("CEU", 4))
    names = ClassicalStatistics(chromosomes(samples), 50_000, True).names
    assert [n for n in names if words.statistic(n) == n] == []


def test_sources_named_in_the_experiment_are_cited(tmp_path):
    path = run_folder.make(tmp_path / "run", minimal=True)
    text = "# data: Nature 526:68, doi 10.1038/nature15393.\n" + (path / "experiment.yaml").read_text()
    (path / "experiment.yaml").write_text(text)
    assert "10.1038/nature15393" in [c.doi for c in citing.citations(reading.load(path))]


@pytest.mark.parametrize(
    ("simulator", "works"),
    [
        ("simulator: demes", {"10.1093/genetics/iyab229"}),
        ("simulator: msprime", {"10.1093/genetics/iyab229"}),
        (
            "simulator: demes\n    model: {stdpopsim: HomSap/OutOfAfrica_3G09}",
            {"10.1093/genetics/iyab229", "10.7554/eLife.54967"},
        ),
        ("simulator: mine", set()),
        ("simulator: {file: mine.py, class: Mine}", set()),
    ],
)
def test_a_simulator_is_cited_by_who_used_it(simulator, works, tmp_path):
    """The versions name msprime in any case: it is installed with ganinfer."""
    path = run_folder.make(tmp_path / "run", minimal=True)
    text = (path / "experiment.yaml").read_text().replace("simulator: demes", simulator)
    (path / "experiment.yaml").write_text(text)
    assert {c.doi for c in citing.citations(reading.load(path))} - {"", MOMENTS} == works


def test_moments_is_cited_where_it_gave_an_opinion(tmp_path):
    path = run_folder.make(tmp_path / "run", minimal=True)
    assert MOMENTS in {c.doi for c in citing.citations(reading.load(path))}
    result = json.loads((path / "result.json").read_text())
    result["second_opinion"] = {"program": "moments", "why_not": "samples of A are ancient"}
    (path / "result.json").write_text(json.dumps(result))
    assert MOMENTS not in {c.doi for c in citing.citations(reading.load(path))}


# How the run went


def test_the_caption_says_which_rounds_trained(folder, tmp_path):
    caption = drawing.FIGURES["training"](reading.load(folder)).caption
    assert "trained in rounds 1 to 8, each time on the windows simulated so far; each fold's network" in caption
    assert "only embedded" not in caption
    path = run_folder.make(tmp_path / "run")
    table = storage.read_table(path / "training.parquet")
    with storage.RunFolder.create(path, resume=True) as run:
        run.write_table("training.parquet", {key: column[table["round"] < 3] for key, column in table.items()})
        run.write_text("experiment.yaml", (path / "experiment.yaml").read_text() + "training: {windows: 16000}\n")
    caption = drawing.FIGURES["training"](reading.load(path)).caption
    assert "trained in rounds 1 to 3, each time on the windows simulated so far, at most the latest 16,000" in caption
    assert "the windows of later rounds were only embedded" in caption


def test_what_is_measured_once_a_round_stands_inside_it(tmp_path):
    """Three epochs of unequal rounds in two folds, each with its AUC in the last."""
    path = run_folder.make(tmp_path / "run")
    table = np.array([(r, f, 10 * (r + 1) * e) for r in (0, 1) for f in (0, 1) for e in (1, 2, 3)])
    columns = {"round": table[:, 0], "fold": table[:, 1], "step": table[:, 2]}
    columns["auc"] = np.where(np.arange(len(table)) % 3 == 2, 0.5, np.nan)
    with storage.RunFolder.create(path, resume=True) as run:
        run.write_table("training.parquet", columns | {"loss_critic": columns["step"] / 100})
    figure = drawing.FIGURES["training"](reading.load(path)).figure
    losses, auc = figure.axes[:2]
    for line in losses.lines[:2]:
        np.testing.assert_allclose(line.get_xdata(), [5, 15, 25, 40, 60, 80])
    for line in auc.lines[:2]:
        np.testing.assert_allclose(line.get_xdata(), [15, 60])
    assert auc.get_xlim() == (0, 90)


def test_the_rest_of_the_time_is_said(folder):
    caption = drawing.FIGURES["timing"](reading.load(folder)).caption
    assert caption.startswith(
        "In all 5 min 43 s: simulation 3 min 34 s, training 1 min 42 s, estimation 20 s, the rest 7 s."
    )
    assert caption.endswith(
        "The rest is checking, reading the data, comparing the fitted model with them, and writing."
    )


# The trajectory


def test_the_trace_as_table_text_csv_and_picture(folder, tmp_path):
    table = report.trace_table(folder)
    assert set(table["parameter"]) == {t.name for t in run_folder.IM}
    lines = report.trace_text(folder).splitlines()
    assert lines[0].split() == ["round", "windows", "time", *(t.name for t in run_folder.IM)]
    assert len(lines) == 1 + run_folder.ROUNDS
    assert re.search(r"8 +59,840 +5 min 36 s +9,000 \(8,730 – 9,270\) +5,000 \(4,800 – 5,200\)", lines[-1])
    assert len({len(line) for line in lines}) <= 2
    with report.trace_csv(folder, tmp_path / "trace.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == run_folder.ROUNDS * len(run_folder.IM)
    assert float(rows[-1]["estimate"]) == table["estimate"][-1]
    assert report.trace_figure(folder, tmp_path / "trace.svg").read_text().startswith("<?xml")
    with pytest.raises(ReportError, match=r"cannot draw into .*trace\.docx: its name must end in \.png"):
        report.trace_figure(folder, tmp_path / "trace.docx")


def test_a_run_without_a_trajectory_has_no_trace(tmp_path):
    path = run_folder.make(tmp_path / "run", minimal=True)
    (path / "trajectory.parquet").unlink()
    with pytest.raises(ReportError, match=r"has no trajectory yet: the run left no trajectory\.parquet"):
        report.trace_text(path)
