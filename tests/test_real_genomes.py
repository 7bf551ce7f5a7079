"""The page of estimates from real genomes beside other fits."""

from __future__ import annotations

from tests.verification import real_genomes


def record(seed, factor, residuals):
    """A run whose estimates are ``factor`` times dadi's, with intervals of a tenth around them."""
    estimate = {n: v * factor for n, v in real_genomes.DADI.items()}
    return {
        "seed": seed,
        "estimate": estimate,
        "interval": {n: [0.9 * v, 1.1 * v] for n, v in estimate.items()},
        "residuals": residuals,
        "warnings": ["Something is missed."],
        "windows": 20_000,
        "stopped": "converged",
        "seconds": {"total": 120.0},
        "adequacy": {
            "verdict": "wrong",
            "p_value": 0.001,
            "critic_auc": 0.775,
            "left_out": {"families": ["haplotypes", "embedding"], "moved": {"N_anc": 0.16, "T_split": -0.54}},
        },
    }


def rows(page, start):
    return [[c.strip() for c in line.strip("|").split("|")] for line in page.splitlines() if line.startswith(start)]


MOMENTS = {n: 0.5 * v for n, v in real_genomes.DADI.items()}


def test_fits_are_in_intervals_or_not():
    page = real_genomes.page([record(s, f, {"r2": 1.0}) for s, f in ((1, 0.95), (2, 0.5), (3, 0.55))], MOMENTS)
    ((*others, first, second, third),) = rows(page, "| T_split")
    assert others == ["T_split", "75,600", "1 of 3", "37,800", "2 of 3"]
    assert first == "71,800 (64,600 – 79,000)"
    assert [second, third] == ["37,800 (34,000 – 41,600)", "41,600 (37,400 – 45,700)"]
    header, rule = page[page.index("| parameter") :].splitlines()[:2]
    assert header.count("|") == rule.count("|") == 9


def test_what_is_furthest_off_in_all_runs_comes_first():
    page = real_genomes.page(
        [record(1, 1, {"a": -1.0, "b": 5.0, "c": -4.0}), record(2, 1, {"a": 1.0, "c": -8.0})], MOMENTS
    )
    assert [row[:2] for row in rows(page, "| a ") + rows(page, "| b ") + rows(page, "| c ")] == [
        ["a", "-1.0, +1.0"],
        ["b", "+5.0, +0.0"],
        ["c", "-4.0, -8.0"],
    ]
    assert page.index("| c |") < page.index("| b |") < page.index("| a |")
    assert "Seed 2: 20,000 simulated windows, 2.0 min, converged.\nThe verdict is *wrong* (p 0.001, critic's" in page
    assert "Without haplotypes and embedding no estimate moves by more than 0.54 posterior standard deviations" in page
    assert "deviations (T_split).\nWarning: *Something is missed.*" in page
