"""How probable the real means are under each scenario as a whole: local emulators, integrated over the priors.

Every scenario has been matched to the real windows; fresh proposals lie around its solution. *Blocks* of statistics
(the classical ones, and what the network of each fold adds) are looked at along the few directions in which proposals
of all scenarios differ, found on some proposals; on others, a polynomial in each scenario's parameters gives the mean
along them. With it the normal likelihood of the real means is integrated over the scenario's prior by importance
sampling. Genomes simulated whole, or drawn window by window from the pool of fresh windows, say how far to believe it.
"""

from ganinfer.evidence.contenders import JUDGE, LEARN, Contender, judging_windows, whole_genomes, widened
from ganinfer.evidence.directions import BOUND, Block, Directions, Looked, look, noise_share
from ganinfer.evidence.emulators import Likelihood, LocalMean
from ganinfer.evidence.integral import Evidence, dispersion, evidence
from ganinfer.evidence.pooled import Genomes, Plain, genomes

__all__ = [
    "BOUND",
    "JUDGE",
    "LEARN",
    "Block",
    "Contender",
    "Directions",
    "Evidence",
    "Genomes",
    "Likelihood",
    "LocalMean",
    "Looked",
    "Plain",
    "dispersion",
    "evidence",
    "genomes",
    "judging_windows",
    "look",
    "noise_share",
    "whole_genomes",
    "widened",
]
