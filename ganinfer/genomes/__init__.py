"""Real genomes: readers, masks, maps, the store of haplotypes on disk, and windows."""

from ganinfer.genomes.dataset import Genomes
from ganinfer.genomes.loci import Alignments, LociChoice, SnpArrays, SnpTable, TableSource, open_table
from ganinfer.genomes.opening import check_length, open_genomes, read_samples
from ganinfer.genomes.source import FROM_GENOTYPES, GenomeError, GenomeSource, WindowSettings
from ganinfer.genomes.table import PreparedTable, RealTable, prepared

__all__ = [
    "FROM_GENOTYPES",
    "Alignments",
    "GenomeError",
    "GenomeSource",
    "Genomes",
    "LociChoice",
    "PreparedTable",
    "RealTable",
    "SnpArrays",
    "SnpTable",
    "TableSource",
    "WindowSettings",
    "check_length",
    "open_genomes",
    "open_table",
    "prepared",
    "read_samples",
]
