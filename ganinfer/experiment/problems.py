"""Validation errors as sentences: the place, the rule, the offending value, what is allowed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from ganinfer.experiment.data import DATA_KEYS, RealData
from ganinfer.experiment.document import Document, Location
from ganinfer.experiment.schema import Experiment

_KINDS = {
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be text",
    "dict_type": "must be a mapping (key: value)",
    "model_type": "must be a mapping (key: value)",
    "model_attributes_type": "must be a mapping (key: value)",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "finite_number": "must be finite",
}
_BOUNDS = {
    "greater_than": ("above", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("below", "lt"),
    "less_than_equal": ("at most", "le"),
}


def closest(word: str, allowed: Iterable[str]) -> str:
    """``did you mean X? allowed: A, B`` for a word that is not allowed."""
    allowed = list(allowed)
    near = difflib.get_close_matches(word, allowed, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"{hint}allowed: {', '.join(allowed) or 'none'}"


def sentences(error: ValidationError, document: Document) -> list[str]:
    """One sentence for each thing that is wrong, in the order of the file."""
    found: dict[str, int] = {}
    for item in error.errors(include_url=False):
        location = tuple(str(part) for part in item["loc"] if not str(part).startswith(("=", "[")))
        sentence = document.problem(_known(location, document), _message(item, location))
        found.setdefault(sentence, document.lines.get(location, 0))
    return sorted(found, key=lambda sentence: found[sentence])


def _known(location: Location, document: Document) -> Location:
    """Validators of alternatives append the alternative's name to the path; such ends are cut."""
    while location and location[-1] in ("int", "float", "str", "is-instance[Path]") and location not in document.lines:
        location = location[:-1]
    return location


def _message(item: Any, location: Location) -> str:
    kind, context, value = item["type"], item.get("ctx", {}), item.get("input")
    if kind == "extra_forbidden":
        return f"unknown key; {closest(location[-1], keys(location[:-1], item))}"
    if kind == "missing":
        return _missing(location)
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        return f"must be {context['expected'].replace(chr(39), '')}, not {_shown(value)}"
    if kind == "string_pattern_mismatch":
        return f"must be letters, digits, dots, dashes and underscores, starting with a letter or digit, not {value!r}"
    if kind in ("too_short", "string_too_short"):
        return "must not be empty"
    if kind in _BOUNDS:
        word, key = _BOUNDS[kind]
        bound = context[key]
        return f"must be {word} {f'{bound:,}' if isinstance(bound, int) else f'{bound:g}'}, not {_shown(value)}"
    return f"{_KINDS.get(kind, item['msg'])}, not {_shown(value)}"


def _missing(location: Location) -> str:
    if location == ("data", "genotypes"):
        return (
            "required key is missing; name the genotype files, or give simulate: for a simulation study, or table:, "
            "alignments: or npz: for SNPs at unlinked loci"
        )
    return "required key is missing"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def keys(location: Location, item: Any = None) -> list[str]:
    """The keys that the mapping at ``location`` may hold, empty where any are."""
    if location[:1] == ("data",) and len(location) == 1:
        tags = [str(part).removeprefix("=") for part in (item or {}).get("loc", ()) if str(part).startswith("=")]
        told = next((tag for tag in tags if tag in DATA_KEYS), None)
        model: Any = RealData if told is None else DATA_KEYS[told]
        return [*model.model_fields, *(DATA_KEYS if told is None else ())]
    model = Experiment
    if location[:1] == ("data",):
        model, location = DATA_KEYS.get(location[1], RealData), location[1:]
    for part in location:
        model = _below(model, part)
        if model is None:
            return []
    return [field.alias or name for name, field in model.model_fields.items()]


def _below(model: Any, part: str) -> Any:
    """The model that holds the value of key ``part``; for mappings, the model of any of their values."""
    field = model.model_fields.get(part) if hasattr(model, "model_fields") else None
    return _find(field.annotation) if field is not None else model


def _find(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for found in map(_find, get_args(annotation)) if found is not None), None)


def file_name(path: Path) -> str:
    """A name for an experiment made from its file's: ``my model.yaml`` is called ``my-model``."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip("-._") or "experiment"
