"""An experiment's YAML as plain data that remembers on which line each value was written.

YAML 1.2, so that ``1e-4`` is a number and ``NO`` a name; keys are kept as text, so contig ``4`` is ``"4"``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

Location = tuple[str, ...]


class ExperimentError(ValueError):
    """An experiment breaks one or more rules; ``problems`` holds one sentence for each, with its place."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


@dataclass
class Document:
    """``data`` as read, ``lines`` the line (from 1) of each location, ``overridden`` what ``--set`` gave."""

    name: str
    text: str
    data: Any = None
    lines: dict[Location, int] = field(default_factory=dict)
    overridden: dict[Location, str] = field(default_factory=dict)

    def place(self, location: Location) -> str:
        """Where a value, or the closest thing around it, was written: ``FILE:LINE`` or the ``--set`` option."""
        for end in range(len(location), 0, -1):
            if location[:end] in self.overridden:
                return f"--set {self.overridden[location[:end]]}"
            if location[:end] in self.lines:
                return f"{self.name}:{self.lines[location[:end]]}"
        return self.name

    def problem(self, location: Location, message: str) -> str:
        """A sentence with its place and its dotted path."""
        path = ".".join(location)
        return f"{self.place(location)}: {path}: {message}" if path else f"{self.place(location)}: {message}"


def read(path: Path, overrides: Sequence[str] = ()) -> Document:
    """The document in ``path`` with ``a.b=VALUE`` overrides applied; raises :class:`ExperimentError`."""
    try:
        content = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ExperimentError([f"{path}: no such experiment file"]) from None
    except IsADirectoryError:
        raise ExperimentError([f"{path}: is a folder; give the experiment's YAML file"]) from None
    except UnicodeDecodeError as error:
        raise ExperimentError([f"{path}: not UTF-8 text (byte {error.start}); an experiment is a YAML file"]) from None
    except OSError as error:
        raise ExperimentError([f"{path}: cannot be read: {error.strerror}"]) from None
    document = parse(content, str(path))
    for text in overrides:
        override(document, text)
    return document


def parse(text: str, name: str) -> Document:
    """The YAML mapping in ``text``; ``name`` stands in messages."""
    document = Document(name, text)
    yaml = YAML(typ="safe", pure=True)
    try:
        node = yaml.compose(text)
        document.data = {} if node is None else _plain(node, (), yaml, document, ())
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}:{mark.line + 1}" if mark else name
        why = " ".join(part for part in (error.context, error.problem) if part)
        raise ExperimentError([f"{where}: not valid YAML: {why}"]) from None
    except (YAMLError, ValueError) as error:
        if isinstance(error, ExperimentError):
            raise
        raise ExperimentError([f"{name}: not valid YAML: {' '.join(str(error).split())}"]) from None
    if not isinstance(document.data, dict):
        raise ExperimentError([f"{name}: an experiment is a mapping of sections such as data: and scenarios:"])
    return document


def _plain(node: Node, location: Location, yaml: YAML, document: Document, around: tuple[Node, ...]) -> Any:
    """Dictionaries, lists and scalars of a node, noting lines on the way."""
    document.lines.setdefault(location, node.start_mark.line + 1)
    if any(node is outer for outer in around):
        raise ExperimentError([document.problem(location, "a YAML alias may not contain itself")])
    around = (*around, node)
    if isinstance(node, SequenceNode):
        return [_plain(item, (*location, str(i)), yaml, document, around) for i, item in enumerate(node.value)]
    if not isinstance(node, MappingNode):
        return yaml.constructor.construct_object(node, deep=True)
    _refuse_repeated(node, location, document)
    yaml.constructor.flatten_mapping(node)
    result: dict[str, Any] = {}
    for key, value in node.value:  # what `<<` merges in comes first, so that the mapping's own keys win
        below = (*location, key.value)
        document.lines[below] = key.start_mark.line + 1
        result[key.value] = _plain(value, below, yaml, document, around)
    return result


def _refuse_repeated(node: MappingNode, location: Location, document: Document) -> None:
    """Keys must be plain words, each given once."""
    lines: dict[str, int] = {}
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, ScalarNode):
            raise ExperimentError([document.problem(location, "keys must be plain words")])
        if key.value in lines:
            path = ".".join((*location, key.value))
            first = lines[key.value]
            raise ExperimentError([f"{document.name}:{line}: {path}: key given twice, first on line {first}"])
        lines[key.value] = line


def override(document: Document, text: str, option: str = "--set") -> None:
    """Changes one value as ``a.b=VALUE`` says; missing sections are made on the way."""
    path, equals, value_text = text.partition("=")
    keys = path.strip().split(".")
    if not equals or "" in keys:
        example = "budget.rounds=2" if option == "--set" else "depth=3"
        raise ExperimentError([f"{option} {text}: must be KEY=VALUE, for example {option} {example}"])
    # Parsed as the value of a key, so that scalars, lists and mappings are all read as in the file.
    try:
        value = parse(f"value: {value_text}", f"{option} {text}").data["value"]
    except ExperimentError:
        raise ExperimentError([f"{option} {text}: the value is not valid YAML"]) from None
    target: Any = document.data
    for position, key in enumerate(keys[:-1]):
        target = _enter(target, key, f"{option} {text}: {'.'.join(keys[:position])}")
    _assign(target, keys[-1], value, f"{option} {text}: {'.'.join(keys[:-1])}")
    document.overridden[tuple(keys)] = text


def _enter(target: Any, key: str, where: str) -> Any:
    """What ``key`` holds; a missing section is made."""
    if isinstance(target, dict):
        if target.get(key) is None:
            target[key] = {}
        return target[key]
    if isinstance(target, list) and key.isdigit() and int(key) < len(target):
        return target[int(key)]
    raise ExperimentError([f"{where} is {target!r} and holds no {key!r}"])


def _assign(target: Any, key: str, value: Any, where: str) -> None:
    if isinstance(target, dict):
        target[key] = value
    elif isinstance(target, list) and key.isdigit() and int(key) < len(target):
        target[int(key)] = value
    else:
        raise ExperimentError([f"{where} is {target!r} and holds no {key!r}"])
