"""What a run writes down of its experiment: everything that it leaves to a default."""

from __future__ import annotations

import inspect
from dataclasses import asdict
from pathlib import Path

import pytest

from ganinfer import plugins
from ganinfer.experiment import load, loads
from ganinfer.runner.assembling import RunError
from ganinfer.runner.completing import completed, dump_yaml
from ganinfer.runner.running import check_same
from ganinfer.storage import RunFolder

EXPERIMENTS = Path(__file__).parent.parent / "experiments"
OTHERS = ("discriminator={name: pg-gan, width: 16}", "generator={name: cma-es, sigma: 0.1}", "training.epochs=7")


def keywords(kind: str, name: str) -> set[str]:
    plugin = plugins.load(kind, name)
    parameters = inspect.signature(getattr(plugin, "build", plugin)).parameters.values()
    return {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}


@pytest.mark.parametrize("overrides", [(), OTHERS])
@pytest.mark.parametrize("name", ["im", "yri-ceu"])
def test_every_default_is_written_and_read_again(name, overrides):
    from ganinfer.training import TrainingSettings

    written = completed(load(EXPERIMENTS / f"{name}.yaml", overrides))
    given = {"epochs": 7} if overrides else {}
    assert written["training"] == asdict(TrainingSettings(**given))
    for kind, section in (("generators", "generator"), ("discriminators", "discriminator")):
        assert set(written[section]) >= keywords(kind, written[section]["name"])
    assert written["discriminator"]["width"] == (16 if overrides else 48)
    assert written["discriminator"]["encodings"]
    (scenario,) = written["scenarios"].values()
    assert {"demes", "fixed", "recombination_scale", "ploidy"} <= set(scenario)
    assert completed(loads(dump_yaml(written), EXPERIMENTS)) == written


def test_a_file_of_ones_own_has_its_defaults_too(tmp_path):
    code = """
from ganinfer.parameters import Parameter, Parameters


class Mine:
    api_version, produces = "1", "windows"
    parameters = Parameters((Parameter("rate", 1.0, 60.0),))

    def __init__(self, *, scale=2.0, tool=print, sizes=(1, 2)):
        self.scale = scale

    def simulate(self, theta, design, seed):
        raise NotImplementedError
"""
    (tmp_path / "mine.py").write_text(code)
    study = "data: {simulate: {scenario: s, truth: {rate: 2.0}, samples: {A: 2}, windows: 4}}"
    text = f"{study}\nscenarios: {{s: {{simulator: {{file: mine.py, class: Mine}}}}}}\n"
    written = completed(loads(text, tmp_path))
    options = {k: v for k, v in written["scenarios"]["s"].items() if k not in ("simulator", "weight")}
    assert options == {"scale": 2.0, "sizes": [1, 2]}


def test_what_a_catalogues_model_brings_is_written(tmp_path):
    parameters = (
        "{name: N_YRI, values: [{demes: {YRI: {epochs: {1: start_size}}}}], lower_bound: 1000, upper_bound: 30000}"
    )
    (tmp_path / "some.yaml").write_text(f"parameters: [{parameters}]")
    study = "data: {simulate: {scenario: s, truth: {N_YRI: 2e4}, samples: {YRI: 2}, windows: 4}}"
    model = "simulator: demes, model: {stdpopsim: HomSap/OutOfAfrica_3G09}, parameters: some.yaml"
    text = f"{study}\nscenarios: {{s: {{{model}, recombination_rate: 1e-8}}}}\n"
    written = completed(loads(text, tmp_path))
    scenario = written["scenarios"]["s"]
    assert (scenario["mutation_rate"], scenario["generation_time"]) == (2.35e-8, 25)
    assert completed(loads(dump_yaml(written), tmp_path)) == written


def test_a_run_that_left_its_defaults_unwritten_goes_on(tmp_path):
    """Such runs were written before; a default that is set to its own value is no change either."""
    experiment = load(EXPERIMENTS / "im.yaml")
    with RunFolder.create(tmp_path / "run") as folder:
        folder.write_text("experiment.yaml", dump_yaml(experiment.resolved()))
        check_same(experiment, folder.path)
        check_same(load(EXPERIMENTS / "im.yaml", ["training.batch=12", "generator.temper=0.5"]), folder.path)
        with pytest.raises(RunError, match="but generator, training changed"):
            check_same(load(EXPERIMENTS / "im.yaml", ["training.batch=13", "generator.temper=0.6"]), folder.path)
        folder.write_text("experiment.yaml", dump_yaml(completed(experiment)))
        check_same(experiment, folder.path)
