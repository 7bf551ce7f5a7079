"""Every built-in plugin keeps the contract that third parties' plugins are held to."""

from __future__ import annotations

from textwrap import dedent

import pytest

from ganinfer import plugins, testing

MODEL = """
    time_units: generations
    demes:
    - {name: anc, epochs: [{start_size: 1000, end_time: 300}]}
    - {name: A, ancestors: [anc], epochs: [{start_size: 900}]}
    - {name: B, ancestors: [anc], epochs: [{start_size: 500}]}
"""
OPTIONS = """
    parameters:
    - name: N_A
      lower_bound: 100
      upper_bound: 3000
      values:
      - demes: {A: {epochs: {0: start_size}}}
    - name: T_split
      lower_bound: 50
      upper_bound: 2000
      values:
      - demes: {anc: {epochs: {0: end_time}}}
"""
FUNCTION = """
    import msprime


    def split(N_A, T_split):
        demography = msprime.Demography()
        demography.add_population(name="A", initial_size=N_A)
        demography.add_population(name="B", initial_size=500)
        demography.add_population(name="anc", initial_size=1000)
        demography.add_population_split(time=T_split, derived=["A", "B"], ancestral="anc")
        return demography
"""
BOUNDS = """
    parameters:
    - {name: N_A, lower_bound: 100, upper_bound: 3000}
    - {name: T_split, lower_bound: 50, upper_bound: 2000}
"""


def file(name, text):
    return {"file": name, "text": dedent(text)}


RATES = {"mutation_rate": 2e-7, "recombination_rate": "map"}
SIMULATORS = {
    "demes": {"model": file("split.yaml", MODEL), "parameters": file("options.yaml", OPTIONS), **RATES},
    "msprime": {"file": file("split.py", FUNCTION), "function": "split", "parameters": file("o.yaml", BOUNDS), **RATES},
}


def built_in(kind):
    return [p.name for p in plugins.available(kind) if p.distribution == "ganinfer"]


@pytest.mark.parametrize("name", built_in("simulators"))
def test_simulators(name):
    design = testing.example_design({"A": 3, "B": 2})
    report = testing.check_simulator(name, SIMULATORS[name], design=design)
    assert report.ok, str(report)
    assert set(report.skipped) == {"loci"}


@pytest.mark.slow
@pytest.mark.parametrize("name", built_in("generators"))
def test_generators(name):
    report = testing.check_generator(name)
    assert report.ok, str(report)


@pytest.mark.slow
@pytest.mark.parametrize("name", built_in("discriminators"))
def test_discriminators(name):
    report = testing.check_discriminator(name)
    assert report.ok, str(report)
