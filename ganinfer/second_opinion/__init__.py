"""A second opinion: the same model, fitted by moments to the joint site frequency spectrum of the same windows.

It has a likelihood, we have not; it sees no haplotypes and no linkage, we do. Where both agree, neither the emulator
nor the networks can be to blame for the estimates. moments is not installed with ganinfer: the extra ``sfs`` brings it.
"""

from ganinfer.second_opinion.asking import (
    EXTRA,
    PROGRAM,
    Opinion,
    OpinionError,
    OpinionSettings,
    Second,
    ask,
    installed,
    why_not,
)

__all__ = ["EXTRA", "PROGRAM", "Opinion", "OpinionError", "OpinionSettings", "Second", "ask", "installed", "why_not"]
