"""Tables of SNPs at unlinked loci: laws of the coalescent, and what conditioning does to them."""

from __future__ import annotations

import msprime
import numpy as np
import pytest

from ganinfer.coalescent import simulate_loci
from ganinfer.haplotypes import SampleSet
from ganinfer.interfaces import Design, LociTemplate, SiteRule
from ganinfer.models import ModelError

SAMPLES = (SampleSet("A", 6), SampleSet("B", 4))


def demography() -> msprime.Demography:
    made = msprime.Demography()
    made.add_population(name="A", initial_size=1_000)
    made.add_population(name="B", initial_size=500)
    made.add_population(name="C", initial_size=1_000)
    made.add_population_split(time=800, derived=["A", "B"], ancestral="C")
    return made


def table(template: LociTemplate, seed: int = 1, samples: tuple[SampleSet, ...] = SAMPLES) -> np.ndarray:
    sets = [msprime.SampleSet(s.num_individuals, population=s.population, ploidy=s.ploidy) for s in samples]
    (made,) = simulate_loci(demography(), sets, Design(samples, (template,), "loci"), seed)
    np.testing.assert_array_equal(made.positions, template.locus)
    return made.genotypes


def spectrum(genotypes: np.ndarray) -> np.ndarray:
    return np.bincount(genotypes.sum(axis=1), minlength=genotypes.shape[1] + 1)[1:-1] / len(genotypes)


def test_every_snp_varies_and_the_seed_decides():
    first = table(LociTemplate(np.arange(200)))
    derived = first.sum(axis=1)
    assert ((derived > 0) & (derived < 20)).all()
    np.testing.assert_array_equal(first, table(LociTemplate(np.arange(200))))
    assert (first != table(LociTemplate(np.arange(200)), seed=2)).any()


def test_by_length_is_the_spectrum_of_branches():
    """Mutations that fall on branches by length, genealogies too: the ratio of expected branch lengths.

    One population of constant size: shares in proportion to 1 / i (Fu 1995, doi 10.1006/tpbi.1995.1025).
    """
    alone = (SampleSet("C", 5),)
    expected = 1 / np.arange(1, 10)
    expected /= expected.sum()
    got = spectrum(table(LociTemplate(np.arange(8_000), genealogies="by-length"), samples=alone))
    np.testing.assert_allclose(got, expected, atol=4 * np.sqrt(0.25 / 8_000))


def test_alike_is_the_mean_over_genealogies():
    """Against the mean of relative branch lengths of msprime's own trees."""
    sets = [msprime.SampleSet(s.num_individuals, population=s.population) for s in SAMPLES]
    shares = np.zeros(20)
    trees = msprime.sim_ancestry(sets, demography=demography(), num_replicates=4_000, random_seed=9)
    for sequence in trees:
        lengths = sequence.allele_frequency_spectrum(mode="branch", polarised=True, span_normalise=False)
        shares += lengths[:20] / lengths[1:20].sum()
    np.testing.assert_allclose(spectrum(table(LociTemplate(np.arange(4_000)))), shares[1:] / 4_000, atol=0.03)


def test_snps_of_a_locus_share_its_genealogy():
    """Two SNPs on one tree never show all four gametes; on different trees they often do."""

    def incompatible(genotypes: np.ndarray) -> float:
        first, second = genotypes[::2].astype(int), genotypes[1::2].astype(int)
        pairs = 2 * first + second
        return float(np.mean([len(np.unique(row)) == 4 for row in pairs]))

    assert incompatible(table(LociTemplate(np.repeat(np.arange(300), 2)))) == 0
    assert incompatible(table(LociTemplate(np.arange(600)))) > 0.05


@pytest.mark.parametrize("rule", [SiteRule(), SiteRule(folded=True, singletons="drop"), SiteRule(True, "keep", 0.2)])
def test_a_snp_is_kept_by_the_rule_among_the_calls_there_are(rule):
    rng = np.random.default_rng(3)
    missing = rng.random((150, 20)) < 0.3
    genotypes = table(LociTemplate(np.arange(150), np.packbits(missing, axis=1), "alike", rule))
    called = ~missing
    derived, there = (genotypes * called).sum(axis=1), called.sum(axis=1)
    counted = np.minimum(derived, there - derived) if rule.folded else derived
    assert rule.keeps(counted, there).all()
    assert (genotypes[missing] == 1).any(), "missing calls are made missing later, by the pipeline"


def test_a_table_that_cannot_be_made_is_an_error():
    """Of one call a SNP there is no variation."""
    missing = np.ones((3, 20), dtype=bool)
    missing[:, 0] = False
    with pytest.raises(ModelError, match="too few made a locus that varies among the calls"):
        table(LociTemplate(np.arange(3), np.packbits(missing, axis=1)))


def test_an_empty_table():
    assert table(LociTemplate(np.empty(0, dtype=np.int64))).shape == (0, 20)
