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


@pytest.fixture(scope="module")
def right(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verdict") / "true"
    return folder, judged("true", folder)


def test_a_model_that_is_right_is_adequate(right):
    _, found = right
    assert found["verdict"] == "adequate"
    assert found["left_out"] is None
    assert abs(found["critic_auc"] - 0.5) < 0.1


@pytest.mark.parametrize("name", ["recombination", "hidden"])
def test_a_model_that_is_wrong_is_rejected(name, tmp_path):
    found = judged(name, tmp_path / name)
    assert found["verdict"] in {"strained", "wrong"}
    assert found["p_value"] < 0.01
    assert found["left_out"]["moved"].keys() == {"Ne"}
    low, high = found["left_out"]["parameters"]["Ne"]["interval"]
    assert low < found["left_out"]["parameters"]["Ne"]["estimate"] < high


def test_data_sets_that_share_a_runs_simulations_are_judged_as_the_verification_does(right):
    folder, _ = right
    changes = ["execution.executor=serial", "execution.threads=1", "windows.length=50000"]
    found = adequacy.summed(
        adequacy.shared(load(folder.with_suffix(".yaml"), changes), folder, 4, around_solution=True)
    )
    assert found["flagged"] <= 1
    assert 0 <= found["p_uniform"] <= 1
    page = adequacy.page([{"kind": "true", "strength": 1.0, "windows": WINDOWS, "sets": 4, **found}])
    assert f"{found['flagged']} of 4" in page
