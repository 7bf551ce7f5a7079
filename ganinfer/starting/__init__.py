"""First experiments: from one's own genomes or table of SNPs, or a copy of a shipped one."""

from ganinfer.starting.examples import copy_example, example_names
from ganinfer.starting.files import StartingError
from ganinfer.starting.layout import Told
from ganinfer.starting.models import KINDS
from ganinfer.starting.writing import MAX_INDIVIDUALS, Wish, write_experiment
from ganinfer.starting.writing_tables import TableWish, write_table_experiment

__all__ = [
    "KINDS",
    "MAX_INDIVIDUALS",
    "StartingError",
    "TableWish",
    "Told",
    "Wish",
    "copy_example",
    "example_names",
    "write_experiment",
    "write_table_experiment",
]
