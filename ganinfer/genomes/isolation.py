"""Iterating in a process of its own, for C libraries that take damaged files badly.

htslib ends the whole process with a segmentation fault over a blank line in a VCF, for one. In a process of its own
that becomes a message with what the library wrote to stderr, and reading runs beside whatever the parent does.
"""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any, TypeVar

from ganinfer.genomes.source import GenomeError

_CHILD = "import sys; sys.path[:] = {path!r}; from ganinfer.genomes.isolation import serve; serve()"
#: How htslib begins a line about an error.
_COMPLAINT = "[E::"
_VALUE, _ERROR, _END = "value", "error", "end"

T = TypeVar("T")


def iterate(name: str, function: Callable[..., Iterable[T]], *arguments: Any) -> Iterator[T]:
    """The values of a module-level ``function(*arguments)``, run in a fresh interpreter; a GenomeError passes through.

    ``name`` of what is read stands in the GenomeError raised when that process crashes.
    """
    with tempfile.TemporaryFile() as complaints:
        child = subprocess.Popen(
            [sys.executable, "-c", _CHILD.format(path=sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
        )
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            pickle.dump((function, arguments), child.stdin)
            child.stdin.close()
            yield from _receive(name, child, child.stdout, complaints)
        finally:
            child.kill()
            child.stdout.close()
            child.wait()


def _receive(name: str, child: subprocess.Popen[bytes], stream: IO[bytes], complaints: IO[bytes]) -> Iterator[Any]:
    while True:
        try:
            kind, value = pickle.load(stream)
        except (EOFError, pickle.UnpicklingError):
            raise _crash(name, child.wait(), _text(complaints)) from None
        if kind == _END:
            return
        if kind == _ERROR:
            said = "; ".join(line for line in _text(complaints).splitlines() if line.startswith(_COMPLAINT))
            raise GenomeError(f"{value} (htslib: {said[:400]})" if said else value)
        yield value


def _crash(name: str, status: int, said: str) -> Exception:
    if status < 0:
        return GenomeError(
            f"{name}: htslib broke down over this file ({signal.Signals(-status).name}): it is damaged where no check "
            "looks; bcftools view shows how far it can be read"
        )
    return RuntimeError(f"the process that reads {name} ended with status {status}:\n{said}")


def _text(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read().decode("utf-8", "replace")


def serve() -> None:
    """The child's side: one call from stdin, its values to stdout."""
    output = sys.stdout.buffer
    function, arguments = pickle.load(sys.stdin.buffer)
    try:
        for value in function(*arguments):
            pickle.dump((_VALUE, value), output, protocol=pickle.HIGHEST_PROTOCOL)
        pickle.dump((_END, None), output)
    except GenomeError as error:
        pickle.dump((_ERROR, str(error)), output)
    output.flush()
