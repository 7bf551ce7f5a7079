"""Small runs whose model is right, and wrong: the verdict tells them apart."""

from __future__ import annotations

import json

import pytest

from ganinfer import runner
from ganinfer.experiment import load
from tests.test_runner import TINY
from tests.verification import adequacy

pytestmark = pytest.mark.slow
SIZES = {
    "budget.simulated_windows": 4_000,
    "training.windows": 1_000,
    "generator.first_proposals": 100,
    "adequacy": "{windows: 4000, data_sets: 300}",
}
WINDOWS = 200


def judged(name, folder):
    kind = adequacy.KINDS[name]
    file = folder.with_suffix(".yaml")
    file.write_text(adequacy.written(kind, kind.strength, WINDOWS))
    own = [text for text in TINY if not text.startswith(("data.", "windows.", "adequacy", "budget.simulated"))]
    changes = [*own, "windows.length=50000", *(f"{key}={value}" for key, value in SIZES.items())]
    path = runner.run(load(file, changes), folder, scenario="fitted")
    return json.loads((path / "result.json").read_text())["adequacy"]


def test_a_model_that_is_right_is_adequate(tmp_path):
    found = judged("true", tmp_path / "true")
    assert found["verdict"] == "adequate"
    assert found["left_out"] is None
    assert abs(found["critic_auc"] - 0.5) < 0.1


@pytest.mark.parametrize("name", ["recombination", "hidden"])
def test_a_model_that_is_wrong_is_rejected(name, tmp_path):
    found = judged(name, tmp_path / name)
    assert found["verdict"] in {"strained", "wrong"}
    assert found["p_value"] < 0.01
    assert found["left_out"]["moved"].keys() == {"Ne"}
