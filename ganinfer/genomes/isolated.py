"""A reader that works in a process of its own.

htslib is C and takes some damaged files badly: a blank line in a VCF ends the whole process with a segmentation fault.
In a process of its own that becomes a message with what htslib says on stderr, and reading runs beside packing.
"""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import IO, Any, cast

from ganinfer.genomes.records import Chunk, Contents, Selection
from ganinfer.genomes.source import GenomeError

_CHILD = "import sys; sys.path[:] = {path!r}; from ganinfer.genomes.isolated import serve; serve()"
_COMPLAINT = "[E::"
_VALUE, _ERROR, _END = "value", "error", "end"


class IsolatedReader:
    """The VCF and BCF reader, behind a pipe."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def _contents(self) -> Contents:
        (contents,) = self._call("contents")
        return cast(Contents, contents)

    def contents(self) -> Contents:
        return self._contents

    def chunks(self, selection: Selection) -> Iterator[Chunk]:
        return cast(Iterator[Chunk], self._call("chunks", selection, sum(self._contents.records.values())))

    def _call(self, method: str, *arguments: Any) -> Iterator[Any]:
        code = _CHILD.format(path=sys.path)
        with tempfile.TemporaryFile() as complaints:
            child = subprocess.Popen(
                [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints
            )
            assert child.stdin is not None
            assert child.stdout is not None
            try:
                pickle.dump((self.path, method, arguments), child.stdin)
                child.stdin.close()
                yield from self._receive(child, child.stdout, complaints)
            finally:
                child.kill()
                child.stdout.close()
                child.wait()

    def _receive(self, child: subprocess.Popen[bytes], stream: IO[bytes], complaints: IO[bytes]) -> Iterator[Any]:
        while True:
            try:
                kind, value = pickle.load(stream)
            except (EOFError, pickle.UnpicklingError):
                raise self._crash(child.wait(), complaints) from None
            if kind == _END:
                return
            if kind == _ERROR:
                said = "; ".join(line for line in _text(complaints).splitlines() if line.startswith(_COMPLAINT))
                raise GenomeError(f"{value} (htslib: {said[:400]})" if said else value)
            yield value

    def _crash(self, status: int, complaints: IO[bytes]) -> Exception:
        if status < 0:
            name = signal.Signals(-status).name
            return GenomeError(
                f"{self.path}: htslib broke down over this file ({name}): it is damaged where no check of ours looks; "
                "bcftools view shows how far it can be read"
            )
        return RuntimeError(f"the reader of {self.path} ended with status {status}:\n{_text(complaints)}")


def _text(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read().decode("utf-8", "replace")


def serve() -> None:
    """The child's side: one request from stdin, its values to stdout."""
    from ganinfer.genomes.vcf import VcfReader

    output = sys.stdout.buffer
    path, method, arguments = pickle.load(sys.stdin.buffer)
    reader = VcfReader(path)
    try:
        values = [reader.contents()] if method == "contents" else reader.chunks(*arguments)
        for value in values:
            pickle.dump((_VALUE, value), output, protocol=pickle.HIGHEST_PROTOCOL)
        pickle.dump((_END, None), output)
    except GenomeError as error:
        pickle.dump((_ERROR, str(error)), output)
    output.flush()
