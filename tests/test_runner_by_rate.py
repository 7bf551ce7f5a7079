"""A bundle for loci of known length: trained, used, and refused what it does not know."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ganinfer.experiment import load
from ganinfer.runner import bundling, planning, predicting
from ganinfer.runner.bundling import BundleError
from tests.test_loci_by_rate import MODEL, OPTIONS, STUDY

pytestmark = pytest.mark.slow
TINY = (
    "comparison.simulations=40",
    "comparison.folds=2",
    "comparison.epochs=2",
    "data.simulate.loci=30",
    "execution.threads=1",
)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("by-rate")
    (folder / "one.demes.yaml").write_text(MODEL)
    (folder / "one.options.yaml").write_text(OPTIONS)
    (folder / "study.yaml").write_text(STUDY)
    experiment = load(folder / "study.yaml", TINY)
    return experiment, predicting.train(experiment, folder / "bundle")


def test_a_bundle_by_rate_judges_whole_tables_of_its_lengths(bundle):
    experiment, folder = bundle
    (answer,) = predicting.predict(folder, [experiment])
    assert answer["parts"]["number"] == 1
    low, high = answer["parameters"]["N"]["interval"]
    assert 500 <= low < high <= 8_000
    more = load(experiment.path, [*TINY, "data.simulate.truth.N=6000"])
    (other,) = predicting.predict(folder, [more])
    assert other["snps"] > 1.5 * answer["snps"]
    longer = load(experiment.path, [*TINY, "loci.length=600"])
    with pytest.raises(BundleError, match="trained for 30 loci of 15,000 bases in all, the table has 30 of 18,000"):
        predicting.predict(folder, [longer])


def test_a_bundle_by_rate_refuses_tables_without_lengths(bundle):
    experiment, folder = bundle
    raw = replace(planning.open_table(experiment), lengths=None)
    with pytest.raises(BundleError, match="trained for loci of known length"):
        predicting.judge(bundling.read(folder), raw, predicting.asked(experiment, raw))
