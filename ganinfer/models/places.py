"""Where in a YAML file something stands, so that an error can say file, line, path and rule in one message."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


class ModelError(ValueError):
    """A demographic model or its options file breaks one of its rules."""


@dataclass(frozen=True)
class Place:
    """A node of a YAML document: the file's name, its text, and the keys and indices that lead to the node."""

    file: str
    text: str
    path: tuple[str | int, ...] = ()

    def at(self, *keys: str | int) -> Place:
        return Place(self.file, self.text, (*self.path, *keys))

    def error(self, rule: str) -> ModelError:
        """The error to raise when what stands here breaks ``rule``."""
        return ModelError(f"{self}: {rule}")

    def __str__(self) -> str:
        line = _line(self.text, self.path)
        where = self.file if line is None else f"{self.file}:{line}"
        return f"{where}: {self.dotted}" if self.path else where

    @property
    def dotted(self) -> str:
        """The path as it is written in messages, ``parameters[2].values[0].demes.A``."""
        return "".join(f"[{k}]" if isinstance(k, int) else f".{k}" for k in self.path).lstrip(".")


def closest(word: str, known: Iterable[str]) -> str:
    """What to add to a message about an unknown ``word``: the closest known one and the whole list."""
    names = [str(k) for k in known]
    match = difflib.get_close_matches(str(word), names, n=1)
    hint = f"did you mean {match[0]!r}? " if match else ""
    return f"{hint}Allowed: {', '.join(names) or 'none'}"


def read_yaml(file: str, text: str) -> Any:
    """The document as plain Python values, YAML 1.2; raises :class:`ModelError` with the line of a syntax error."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        return YAML(typ="safe", pure=True).load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{file}:{mark.line + 1}" if mark else file
        raise ModelError(f"{where}: not valid YAML: {error.problem or error.context}") from None
    except YAMLError as error:
        raise ModelError(f"{file}: not valid YAML: {' '.join(str(error).split())}") from None


def _line(text: str, path: tuple[str | int, ...]) -> int | None:
    """Line, from 1, of the deepest node on ``path`` that exists; ``None`` when the text is no YAML."""
    from ruamel.yaml import YAML, MappingNode, SequenceNode
    from ruamel.yaml.error import YAMLError

    try:
        node = YAML(typ="safe", pure=True).compose(text)
    except YAMLError:
        return None
    line = None
    for key in path:
        if isinstance(node, MappingNode):
            found = [(k, v) for k, v in node.value if k.value == str(key)]
        elif isinstance(node, SequenceNode) and isinstance(key, int) and key < len(node.value):
            found = [(node.value[key], node.value[key])]
        else:
            found = []
        if not found:
            break
        line, node = found[0][0].start_mark.line + 1, found[0][1]
    return line
