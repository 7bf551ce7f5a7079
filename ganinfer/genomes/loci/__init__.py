"""Tables of SNPs at unlinked loci: readers of text files, alignments and arrays, and genomes taken as loci."""

from ganinfer.genomes.loci.opening import open_table
from ganinfer.genomes.loci.source import Alignments, LociChoice, SnpArrays, SnpTable, TableSource

__all__ = ["Alignments", "LociChoice", "SnpArrays", "SnpTable", "TableSource", "open_table"]
