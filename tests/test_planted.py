"""The verification's own rules: faults are planted and taken out again, what is right passes, what is wrong fails."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import norm

from ganinfer.experiment import loads
from ganinfer.generators.emulator import Basis, fit
from ganinfer.generators.linkage import Linkage, linkage_inflation
from tests.verification import (
    accuracy,
    adequacy,
    bottlenecks,
    coverage,
    intervals,
    leak,
    planted,
    records,
    replicates,
    widths,
)


def linked_windows():
    rng = np.random.default_rng(1)
    return np.repeat(rng.standard_normal((200, 3)), 5, axis=0), np.arange(1_000) // 20


def test_without_linkage_windows_are_taken_as_independent():
    values, block = linked_windows()
    families = np.array(["all"] * 3)
    with planted.FAULTS["linkage"].planted():
        assert linkage_inflation(values, block) == 1.0
        linkage = Linkage.of(values, block, families)
        assert linkage.factor.tolist() == [1.0] * 3
        assert linkage.along(values, np.full(3, 4.0)).tolist() == [1.0] * 3
        assert linkage.excess(values, np.ones(3)) == 1.0
    assert linkage_inflation(values, block) == pytest.approx(5, rel=0.3)


def test_without_its_error_the_emulator_is_taken_as_exact():
    x = np.random.default_rng(2).standard_normal((200, 1))
    emulator = fit(Basis(1, 1), x, x + 0.1, np.ones((200, 1)))
    right = emulator.predict(x)
    with planted.FAULTS["emulator"].planted():
        mean, variance = emulator.predict(x)
    np.testing.assert_array_equal(mean, right[0])
    assert variance.max() < 1e-6 * right[1].min()
    np.testing.assert_array_equal(emulator.predict(x)[1], right[1])


def test_a_shrunk_interval_is_shrunk_around_its_middle():
    posterior = np.linspace(-1, 1, 2_001)[:, None]
    for truth, shrunk, held in ((0.85, 1.0, True), (0.85, 0.8, False), (-0.71, 0.8, True), (-0.95, 1.0, False)):
        assert planted._held(posterior, np.array([truth]), shrunk) == [held]


@pytest.mark.parametrize("name", planted.FAULTS)
def test_every_fault_has_an_experiment(name):
    told = loads(planted.FAULTS[name].experiment(3), planted.FOLDER, name)
    assert told.seed == told.data.simulate.seed == 3
    assert told.adequacy.windows == 0


def test_what_was_found_on_a_run_is_kept_beside_it(monkeypatch, tmp_path):
    made = {"variance": [1.0], "right": [[True]] * 100, "wrong": [[False]] * 100}
    monkeypatch.setattr(planted, "FOLDER", tmp_path)
    monkeypatch.setattr(planted.runner, "run", lambda *_, **__: None)
    monkeypatch.setattr(planted, "_inferred", lambda *_: made)
    found = planted._one_run("interval", 1)
    monkeypatch.setattr(planted, "_inferred", None)  # another inference would need it
    assert planted._one_run("interval", 1) == planted._one_run("interval", 1)
    assert made.items() <= found.items()


def test_the_rule_passes_what_is_right_and_fails_what_is_too_narrow():
    rng = np.random.default_rng(3)
    for share, passed in ((0.9, 0.99), (0.81, 0.05)):
        said = [intervals.judged(rng.random((100, 5)) < share)["passed"] for _ in range(400)]
        assert np.mean(said) >= passed - 0.02 if passed > 0.5 else np.mean(said) <= passed


def test_what_is_expected_of_a_fault_is_what_normal_posteriors_do():
    assert planted.expected(np.ones(3)) == pytest.approx(0.9)
    assert planted.expected(np.array([1 / 0.8**2])) == pytest.approx(2 * norm.cdf(0.8 * norm.isf(0.05)) - 1)
    assert planted.power(0.9, 1_000) == pytest.approx(0.01, abs=1e-6)
    assert planted.power(0.81, 330) > 0.95


def test_the_truths_of_bottlenecks_are_all_over_the_prior_and_stay():
    found = bottlenecks.truths()
    assert found == bottlenecks.truths()
    assert len(found) == bottlenecks.SETS
    sizes = np.array([[t["N_anc"], t["N"]] for t in found])
    assert sizes.max() <= bottlenecks.LARGEST
    times = np.sort([t["T"] for t in found])
    assert (np.diff(np.floor(np.log10(times / 10) / 0.3)) == 1).all()  # one in each tenth


def test_the_rule_for_bottlenecks_counts_intervals_and_flags():
    def row(held, verdict="adequate"):
        interval = [0.0, 2.0] if held else [2.0, 3.0]
        names = ("N_anc", "N", "T")
        return {
            "truth": dict.fromkeys(names, 1.0),
            "interval": dict.fromkeys(names, interval),
            "estimate": dict.fromkeys(names, 1.5),
            "sd": dict.fromkeys(names, 0.5),
            "verdict": {"verdict": verdict, "p_value": 0.5},
            "seconds": {"total": 60.0},
        }

    assert bottlenecks.summed([row(True)] * 9 + [row(False)])["passed"]
    assert not bottlenecks.summed([row(True)] * 7 + [row(False)] * 3)["passed"]
    assert not bottlenecks.summed([row(True, "wrong")] * 4 + [row(True)] * 6)["passed"]


def test_widths_that_fall_as_they_should_have_the_slope_that_is_asked_for(monkeypatch, tmp_path):
    def fits(name, windows):
        sd = {n: limit / 100 * np.sqrt(2_000 / windows) for n, limit in accuracy.LIMITS[name].items()}
        return [{"sd": sd, "truth": dict.fromkeys(sd, 1.0)}]

    monkeypatch.setattr(widths, "fits", fits)
    found = widths.examined("im")
    assert found["passed"]
    assert found["slopes"]["N1"] == pytest.approx(-0.5)
    assert found["of_limit"]["pulse"] == pytest.approx(1.0)


def test_the_rule_for_the_verdict_is_of_the_kinds_own_strength():
    def passed(kind, strength, flagged, p_uniform=0.5):
        row = {"kind": kind, "strength": strength, "windows": 1_000, "sets": 50}
        return adequacy.passed({**row, "flagged": flagged, "p_uniform": p_uniform})

    assert passed("true", 1.0, 6)
    assert not passed("true", 1.0, 7)
    assert not passed("true", 1.0, 3, p_uniform=0.001)
    assert passed("errors", None, 43, p_uniform=0.0)
    assert not passed("errors", None, 42)
    assert passed("errors", 0.001, 0) is None


def test_data_sets_that_were_judged_are_not_judged_again(monkeypatch, tmp_path):
    monkeypatch.setattr(adequacy, "RECORD", tmp_path / "adequacy.json")
    monkeypatch.setattr(adequacy, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(adequacy, "FOLDER", tmp_path)
    row = {"kind": "errors", "strength": None, "windows": 1_000, "sets": 50, "flagged": 50, "auc": 0.8}
    adequacy.keep({**row, "full": {"sets": 2, "flagged": 2}})
    adequacy.keep({**row, "kind": "true", "strength": 1.0, "flagged": 2})
    monkeypatch.setattr(adequacy, "runner", None)  # anything that is made would need it
    assert adequacy.examined("errors", None, 1_000, 50, 2)["flagged"] == 50
    with pytest.raises(AttributeError):
        adequacy.examined("errors", None, 1_000, 60, 0)
    text = (tmp_path / "page.md").read_text()
    assert text.index("which is right") < text.index("2 of 2")


def test_the_rule_for_leaks_is_of_nulls_and_the_largest_difference():
    def rows(case, strength, p_values):
        return [{"case": case, "strength": strength, "p_value": p} for p in p_values]

    even = np.linspace(0.05, 0.95, 19)
    assert leak.passed(rows("nulls", 0.0, even) + rows("map", 1.0, [0.001] * 9 + [0.2]))
    assert not leak.passed(rows("nulls", 0.0, even**6))
    assert not leak.passed(rows("map", 1.0, [0.001] * 7 + [0.2] * 3))
    assert leak.passed(rows("missingness", 0.2, even))


def test_the_rule_for_accuracy_is_of_intervals_bias_and_errors_beside_moments(tmp_path):
    def judged(error, inside=0.6, moments=2.0):
        case = tmp_path / f"{error:.2f}-{inside:g}-{moments:g}"
        rng = np.random.default_rng(4)
        for seed in range(1, 11):
            at = 1 + error + 0.02 * rng.standard_normal(2)
            mine = {"N1": at[0], "N2": at[1]}
            interval = {n: [v - inside, v + inside] for n, v in mine.items()}
            made = {"seed": seed, "truth": {"N1": 1.0, "N2": 1.0}, "estimate": mine, "interval": interval}
            records.add(accuracy.record_path("im", case), "im", made)
            theirs = {n: 1 + moments * (v - 1) for n, v in mine.items()}
            records.add(case / "moments-im.json", "im", {**made, "estimate": theirs})
        return accuracy.judged("im", case)["passed"]

    assert judged(0.0)
    assert not judged(0.0, inside=0.01)
    assert not judged(0.1)
    assert not judged(0.0, moments=0.5)
    assert accuracy.judged("exp", tmp_path) is None


def test_folds_removed_is_a_case_of_the_leak_study():
    assert leak.CASES["folds"].strengths == (1.0,)
    assert leak.SETTINGS.folds == 2


def test_what_is_found_of_one_part_leaves_the_others(tmp_path):
    path = tmp_path / "record.json"
    for part, found in (("one", {"held": 1}), ("two", {"held": 2}), ("one", {"held": 3})):
        records.put(path, part, found)
    one, two = (records.content(path, part) for part in ("one", "two"))
    assert (one["held"], two["held"]) == (3, 2)
    assert "msprime" in one["versions"]


# --- coverage -----------------------------------------------------------------------------------------------------


def around_a_solution(held, half=50):
    """What a calibration of 100 data sets says of two parameters, ``held`` of each."""
    share = {level: {"held": n, "of": 100, "share": n / 100} for level, n in (("0.5", half), ("0.9", held))}
    pooled = {level: {"held": 2 * each["held"], "of": 200} for level, each in share.items()}
    return {"sets": 100, "parameters": {n: {"coverage": share} for n in ("a", "b")}, "pooled": pooled}


@pytest.mark.parametrize(
    ("held", "half", "passed"),
    [((90, 90), 50, True), ((96, 84), 50, True), ((98, 84), 50, False), ((86, 86), 50, False), ((90, 90), 60, False)],
)
def test_coverage_around_solutions_is_judged_together_and_by_parameter(held, half, passed):
    found = {name: around_a_solution(n, half) for name, n in zip(("im", "exp"), held, strict=True)}
    judged = coverage.judged_together(found)
    assert judged["passed"] == passed
    assert judged["outside"] == ({"im/a": 0.98, "im/b": 0.98} if held[0] == 98 else {})


def both_ways(seed, moved=0.0, wider=1.0, rank=0.5):
    values = {"rank": rank, "error": moved, "sd": wider}
    shared = {"rank": 0.5, "error": 0.0, "sd": 1.0}
    return {"seed": seed, "full": {"parameters": {"a": values}}, "posterior": {"parameters": {"a": shared}}}


def test_runs_of_their_own_have_to_be_like_the_shortcut_and_hold():
    assert coverage.judged_beside([both_ways(i, moved=0.5) for i in range(10)])["passed"]
    assert not coverage.judged_beside([both_ways(i, moved=1.2) for i in range(10)])["passed"]
    assert not coverage.judged_beside([both_ways(i, wider=0.7) for i in range(10)])["passed"]
    missed = [both_ways(i, rank=0.99 if i < 5 else 0.5) for i in range(10)]
    assert not coverage.judged_beside(missed)["passed"]


def test_runs_of_their_own_are_made_once_whatever_the_machine(monkeypatch, tmp_path):
    """Another folder, as on another machine, gets what is recorded; only what lacks is made."""
    made = []

    def calibrate(_, folder, *, around, sets):
        place = folder / "calibration"
        (place / "prior").mkdir(parents=True, exist_ok=True)
        (place / "about-prior.json").write_text('{"schema_version": 1, "method": 2}')
        for number in range(sets):
            path = place / "prior" / f"{number:04d}.json"
            if not path.exists():
                made.append(number)
                row = {"schema_version": 1, "parameters": {"a": {"rank": 0.1 * number}}}
                path.write_text(json.dumps(row))

    monkeypatch.setattr(coverage.records, "FOLDER", tmp_path / "docs")
    monkeypatch.setattr(coverage.runner, "calibrate", calibrate)
    for machine, sets in (("one", 2), ("other", 4)):
        monkeypatch.setattr(coverage, "FOLDER", tmp_path / machine)
        rows = coverage.around_prior("im", sets)
    assert made == [0, 1, 2, 3]
    assert [r["prior"]["parameters"]["a"]["rank"] for r in rows] == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert coverage.judged_around_prior(rows) == {"sets": 4, "held": 3, "of": 4, "passed": False}


@pytest.mark.parametrize(
    ("scatter", "said", "passed"),
    [(0.3, 0.3, True), (0.3, 0.43, True), (0.3, 0.5, False), (0.42, 0.25, False), (0.8, 0.8, False)],
)
def test_replicates_are_to_scatter_little_and_as_they_say(scatter, said, passed):
    """Estimates of two parameters, each at a middle and as far to both sides of it in turn."""
    sd = {"a": 2.0, "b": 10.0}
    sides = np.resize([1.0, -1.0], 10) * scatter * np.sqrt(0.9)
    fits = [
        {"estimate": {n: 50 + side * sd[n] for n in sd}, "sd": sd, "monte_carlo": dict.fromkeys(sd, said)}
        for side in sides
    ]
    found = replicates.judged(fits)
    assert found["together"] == pytest.approx(scatter)
    assert found["spread"]["a"] == pytest.approx(found["spread"]["b"])
    assert found["passed"] == passed


def test_one_parameter_that_scatters_more_is_too_much():
    fits = [
        {
            "estimate": {"a": 50.0 + a, "b": 50.0 + 0.1 * a},
            "sd": {"a": 1.0, "b": 1.0},
            "monte_carlo": {"a": 0.5, "b": 0.3},
        }
        for a in np.resize([0.55, -0.55], 10)
    ]
    found = replicates.judged(fits)
    assert found["together"] < 0.5 < found["spread"]["a"]
    assert not found["passed"]
