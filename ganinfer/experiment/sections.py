"""What the sections of an experiment are made of: their base, and kinds of values."""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationInfo

#: What a name used for files and plots may look like.
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"

Count = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Name = Annotated[str, Field(pattern=NAME_PATTERN)]


def as_list(value: Any) -> Any:
    return value if isinstance(value, list | tuple) or value is None else [value]


def existing(value: Any, info: ValidationInfo) -> Path:
    """A path written relative to the experiment's file, made absolute; it must exist."""
    if not isinstance(value, str | Path) or not str(value):
        raise ValueError(f"must be the path of a file, not {value!r}")
    path = Path((info.context or {}).get("folder", "")) / os.path.expanduser(value)
    if not os.path.exists(path):  # unlike Path.exists, false for names that no file system could hold
        raise ValueError(f"no such file: {value} (looked for {path}; paths are relative to the experiment's file)")
    return path


def _existing_files(value: Any, info: ValidationInfo) -> list[Path]:
    """Like :func:`existing` for one path or many; ``*`` and ``?`` stand for any characters, in sorted order."""
    paths: list[Path] = []
    folder = (info.context or {}).get("folder", "")
    for item in as_list(value) or []:
        pattern = os.path.expanduser(item) if isinstance(item, str) else ""
        if any(c in pattern for c in "*?[") and not os.path.exists(os.path.join(folder, pattern)):
            found = sorted(glob.glob(pattern, root_dir=folder or None))
            if not found:
                raise ValueError(f"no file matches {item}")
            paths += [existing(name, info) for name in found]
        else:
            paths.append(existing(item, info))
    return paths


def _individuals(value: Any) -> Any:
    """Individuals of each population: ``all``, or a mapping to ``all`` or a number above 0."""
    if value is None or value == "all":
        return {}
    if not isinstance(value, dict) or not value:
        raise ValueError(f"must be all, or individuals of each population such as {{YRI: 50, CEU: all}}, not {value!r}")
    for population, number in value.items():
        whole = isinstance(number, int) and not isinstance(number, bool) and number > 0
        if number != "all" and not whole:
            raise ValueError(f"{population}: must be a number of individuals above 0 or all, not {number!r}")
    return value


def _words(value: Any) -> Any:
    """One word of a file or several, for each key."""
    return {key: as_list(words) for key, words in value.items()} if isinstance(value, dict) else value


ExistingFile = Annotated[Path, BeforeValidator(existing)]
ExistingFiles = Annotated[tuple[Path, ...], BeforeValidator(_existing_files)]
Populations = Annotated[
    dict[str, int | Literal["all"]],
    BeforeValidator(_individuals),
    # As it may be written: an empty mapping may not.
    PlainSerializer(lambda value: value or "all", when_used="json"),
]
Words = Annotated[dict[str, tuple[str, ...]], BeforeValidator(_words)]


class Section(BaseModel):
    """A mapping of the experiment; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)


class OpenSection(Section):
    """A mapping whose unknown keys are options of the plugin that it names."""

    model_config = ConfigDict(extra="allow", frozen=True, coerce_numbers_to_str=True)

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class DataSection(Section):
    """What real and simulated data have in common: how both sides are looked at."""

    ancestral: str = Field("none", description="INFO key of the ancestral allele, REF, or none: folded")
    phased: bool | None = Field(None, description="whether haplotypes are used; null: what the genotypes say")
    singletons: Literal["keep", "drop"] = "keep"
