"""Simulated data sets kept on disk: append-only, in chunks that are complete or absent."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ganinfer.storage.replacing import StorageError, replace

#: Data sets a chunk.
CHUNK = 50
_CHUNK_NAME = re.compile(r"[0-9]{6}")
_THETA, _SEEDS = "theta", "seed"
_KEY = "key.json"


class SimulationStore:
    """What was simulated of one scenario and design, under ``folder``; data set i is a function of ``key`` and i.

    ``key``: JSON values that tell these simulations from all others. The folder of another key is refused.
    """

    def __init__(self, folder: Path, key: Mapping[str, Any]):
        self.folder, self.key = folder, json.loads(json.dumps(key, sort_keys=True))
        path = folder / _KEY
        if path.exists():
            written = json.loads(path.read_text())
            differing = sorted(k for k in {*written, *self.key} if written.get(k) != self.key.get(k))
            if differing:
                raise StorageError(
                    f"{folder} holds simulations that differ in {', '.join(differing)}; choose another folder"
                )

    def __len__(self) -> int:
        """Data sets that are there."""
        return sum(len(self._load(i, _SEEDS)) for i in range(self.num_chunks))

    @property
    def num_chunks(self) -> int:
        """Chunks from the first on without a gap."""
        count = 0
        while (self.folder / f"{count:06d}").is_dir():
            count += 1
        return count

    def extend(
        self, size: int, make: Callable[[int, int], Iterator[tuple[np.ndarray, int, Mapping[str, Any]]]]
    ) -> None:
        """Simulate until there are ``size`` data sets, in whole chunks at least.

        ``make(start, stop)`` yields parameters, seed and arrays of the data sets with these numbers.
        """
        first = self.num_chunks
        last = -(-size // CHUNK)
        if first >= last:
            return
        if not (self.folder / _KEY).exists():
            text = json.dumps(self.key, indent=1, sort_keys=True)
            replace(self.folder / _KEY, lambda path: path.write_text(text))
        made: list[tuple[np.ndarray, int, Mapping[str, Any]]] = []
        chunk = first
        for item in make(first * CHUNK, last * CHUNK):
            made.append(item)
            if len(made) == CHUNK:
                replace(self.folder / f"{chunk:06d}", _writer(made))
                chunk, made = chunk + 1, []

    def theta(self, size: int) -> np.ndarray:
        """(size, parameters) of the first data sets."""
        return np.concatenate([self._load(i, _THETA) for i in self._chunks(size)])[:size]

    def seeds(self, size: int) -> np.ndarray:
        """(size,) simulator seeds of the first data sets."""
        return np.concatenate([self._load(i, _SEEDS) for i in self._chunks(size)])[:size]

    def arrays(self, size: int) -> dict[str, list[np.ndarray]]:
        """By name, the chunks' memory-mapped arrays, the last one cut so that there are ``size`` data sets."""
        names = sorted(p.stem for p in (self.folder / f"{0:06d}").glob("*.npy") if p.stem not in (_THETA, _SEEDS))
        parts = {name: [self._load(i, name) for i in self._chunks(size)] for name in names}
        room = size - (len(self._chunks(size)) - 1) * CHUNK
        return {name: [*chunks[:-1], chunks[-1][:room]] for name, chunks in parts.items()}

    def _chunks(self, size: int) -> range:
        needed = -(-size // CHUNK)
        if needed > self.num_chunks:
            raise StorageError(f"{self.folder} holds {len(self):,} data sets, {size:,} were asked for")
        return range(needed)

    def _load(self, chunk: int, name: str) -> np.ndarray:
        array: np.ndarray = np.load(self.folder / f"{chunk:06d}" / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        return array


def _writer(made: Sequence[tuple[np.ndarray, int, Mapping[str, Any]]]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.mkdir()
        np.save(path / f"{_THETA}.npy", np.stack([theta for theta, _, _ in made]))
        np.save(path / f"{_SEEDS}.npy", np.array([seed for _, seed, _ in made], dtype=np.int64))
        for name in made[0][2]:
            np.save(path / f"{name}.npy", np.stack([np.asarray(arrays[name]) for _, _, arrays in made]))

    return write
