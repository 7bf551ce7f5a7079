"""Which reader serves which file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ganinfer.genomes.records import Reader

_TREES = b"\x89KAS\r\n\x1a\n"
_ZIP = b"PK\x03\x04"


def open_reader(path: Path, regions: Mapping[str, np.ndarray] | None = None) -> Reader:
    """The reader of a genotype file, told by its first bytes; a folder or a zip archive holds VCF Zarr.

    What lies outside ``regions`` need not be read.
    """
    if path.is_dir():
        return _zarr(path)
    with path.open("rb") as stream:
        start = stream.read(len(_TREES))
    if start.startswith(_TREES) or path.suffix == ".tsz":
        from ganinfer.genomes.trees import TreesReader

        return TreesReader(path)
    if start.startswith(_ZIP):
        return _zarr(path)
    from ganinfer.genomes.vcf import VcfReader

    return VcfReader(path, regions)


def _zarr(path: Path) -> Reader:
    from ganinfer.genomes.vcf_zarr import VcfZarrReader

    return VcfZarrReader(path)
