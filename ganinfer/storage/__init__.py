"""The run folder: complete or absent files and rounds, one run at a time.

Everything is first written under a hidden temporary name in the same folder, flushed to the disk and then renamed,
so that a kill at any moment leaves the previous complete state. Every JSON file carries ``schema_version``.
"""

from __future__ import annotations

from ganinfer.storage.folder import (
    CALIBRATION,
    REPLICATES,
    SCENARIOS,
    SIMULATIONS,
    RunFolder,
    check_folder,
    completed_parts,
    completed_rounds,
    read_round,
)
from ganinfer.storage.formats import FORMAT_VERSION, RESULT_SCHEMA_VERSION, read_json, read_table
from ganinfer.storage.replacing import StorageError, remove, replace
from ganinfer.storage.simulations import SimulationStore

__all__ = [
    "CALIBRATION",
    "FORMAT_VERSION",
    "REPLICATES",
    "RESULT_SCHEMA_VERSION",
    "SCENARIOS",
    "SIMULATIONS",
    "RunFolder",
    "SimulationStore",
    "StorageError",
    "check_folder",
    "completed_parts",
    "completed_rounds",
    "read_json",
    "read_round",
    "read_table",
    "remove",
    "replace",
]
