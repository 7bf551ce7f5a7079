"""Real genomes: readers, masks, maps, the store of haplotypes on disk, and windows."""

from ganinfer.genomes.dataset import Genomes
from ganinfer.genomes.opening import check_length, open_genomes, read_samples
from ganinfer.genomes.source import FROM_GENOTYPES, GenomeError, GenomeSource, WindowSettings
from ganinfer.genomes.table import PreparedTable, RealTable, prepared

__all__ = [
    "FROM_GENOTYPES",
    "GenomeError",
    "GenomeSource",
    "Genomes",
    "PreparedTable",
    "RealTable",
    "WindowSettings",
    "check_length",
    "open_genomes",
    "prepared",
    "read_samples",
]
