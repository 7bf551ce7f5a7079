"""Lines of small text files, plain or gzipped, and how contig names agree."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator, Mapping, Set
from pathlib import Path

from ganinfer.genomes.source import GenomeError


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number (from 1) and text of each line that is not blank, without its end."""
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if line and not line.isspace():
            yield number, line.rstrip("\r")


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
        if content.startswith(b"\x1f\x8b"):
            content = gzip.decompress(content)
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise GenomeError(f"{path}: not a text file (UTF-8); is it the right file?") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise GenomeError(f"{path}: damaged or cut short gzip file ({error}); get it again") from None
    except OSError as error:
        raise GenomeError(f"{path}: cannot be read: {error.strerror}") from None


def reconcile(name: str, contigs: Iterable[str]) -> str | None:
    """The one of ``contigs`` that ``name`` means, with or without ``chr`` in front, or ``None``.

    Of many names each is looked for at once in a set or mapping.
    """
    if not isinstance(contigs, Set | Mapping):
        contigs = set(contigs)
    bare = name.removeprefix("chr")
    mitochondrion = {"M": "MT", "MT": "M"}.get(bare, bare)
    for candidate in (name, bare, f"chr{bare}", mitochondrion, f"chr{mitochondrion}"):
        if candidate in contigs:
            return candidate
    return None


def shorten(names: Iterable[str], most: int = 5) -> str:
    """A readable list of at most ``most`` names."""
    names = list(names)
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
