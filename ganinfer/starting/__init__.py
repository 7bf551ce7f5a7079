"""First experiments: from one's own genomes, or a copy of a shipped one."""

from ganinfer.starting.examples import copy_example, example_names
from ganinfer.starting.models import KINDS
from ganinfer.starting.writing import MAX_INDIVIDUALS, StartingError, Wish, write_experiment

__all__ = [
    "KINDS",
    "MAX_INDIVIDUALS",
    "StartingError",
    "Wish",
    "copy_example",
    "example_names",
    "write_experiment",
]
