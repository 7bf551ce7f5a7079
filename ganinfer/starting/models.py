"""First demographic models by number of populations, scaled to the diversity of the data.

Sizes start at pi / (4 mu), the constant diploid size that would give a population its diversity; split times at
-2 N ln(1 - Fst), as under pure drift (Nei 1987). Both are where a search may start, not estimates.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

#: Bounds of sizes lie this factor below and above the starting value.
SIZE_RANGE = 20
#: Times lie between N / 200 and 4 N generations: sequences remember little beyond.
TIME_RANGE = (1 / 200, 4.0)
#: 4 N m between .04 and 40: from near isolation to near panmixia.
MIGRATION_RANGE = (0.01, 10.0)
#: Fst is believed between these when it makes a starting value.
FST_RANGE = (0.01, 0.6)
#: Where a story starts that no diversity scales: diploid individuals, and Fst of two populations.
STORY_SIZE, STORY_FST = 10_000.0, 0.1
#: What the models call their own demes and sizes.
_RESERVED = ("ancestral", "pair", "anc")


@dataclass(frozen=True)
class Diversity:
    """pi per base of each population, and Hudson's Fst of each pair ``(a, b)`` in both orders."""

    pi: Mapping[str, float]
    fst: Mapping[tuple[str, str], float]


@dataclass(frozen=True)
class FirstModel:
    """A demes file and its options file, and which deme each population of the data is."""

    demes: str
    options: str
    labels: Mapping[str, str]
    parameters: tuple[str, ...]


@dataclass(frozen=True)
class _Free:
    """A free parameter: a start inside ``lower`` and ``upper``, and the places in the demes file that it fills."""

    name: str
    description: str
    unit: str
    start: float
    lower: float
    upper: float
    places: tuple[str, ...]


@dataclass(frozen=True)
class _Sketch:
    description: str
    demes: tuple[str, ...]
    free: tuple[_Free, ...]
    greater: tuple[str, str] | None = None


def first_model(
    kind: str, populations: Sequence[str], diversity: Diversity, mutation_rate: float, oldest: float = 0.0
) -> FirstModel:
    """The model ``kind`` of :data:`KINDS` for that many populations.

    ``oldest``: generations ago of the oldest sample, by when every population has split from the others.
    """
    labels = dict(zip(populations, _deme_names(populations), strict=True))
    sizes = {labels[p]: round_to(diversity.pi[p] / (4 * mutation_rate)) for p in populations}
    fst = {(labels[a], labels[b]): value for (a, b), value in diversity.fst.items()}
    return _model(KINDS[kind].build(sizes, fst, oldest), labels)


def first_story(kind: Kind, populations: Sequence[str], oldest: float = 0.0) -> FirstModel:
    """A model of :data:`STORIES` for those populations, around a size that says nothing of theirs.

    SNPs that are given to vary know times and sizes relative to each other only, so one size is as good as another.
    """
    labels = dict(zip(populations, _deme_names(populations), strict=True))
    sizes = dict.fromkeys(labels.values(), STORY_SIZE)
    fst = {(a, b): STORY_FST for a in sizes for b in sizes if a != b}
    return _model(kind.build(sizes, fst, oldest), labels)


def _model(sketch: _Sketch, labels: Mapping[str, str]) -> FirstModel:
    return FirstModel(_demes_text(sketch), _options_text(sketch), labels, tuple(f.name for f in sketch.free))


def _deme_names(populations: Sequence[str]) -> list[str]:
    """Names that demes allows; labels that are not words get their other characters replaced."""
    names: list[str] = []
    for population in populations:
        name = re.sub(r"\W", "_", population)
        name = name if name.isidentifier() else f"p_{name}"
        while name in names or name in _RESERVED:
            name += "_"
        names.append(name)
    return names


def round_to(value: float, digits: int = 2) -> float:
    """Rounded to so many significant digits."""
    return float(f"{value:.{digits - 1}e}")


# --- the models -------------------------------------------------------------------------------------------------


def _size(name: str, description: str, start: float, places: Sequence[str]) -> _Free:
    lower, upper = round_to(start / SIZE_RANGE), round_to(start * SIZE_RANGE)
    return _Free(name, description, "diploid individuals", start, lower, upper, tuple(places))


def _time(name: str, description: str, size: float, start: float, places: Sequence[str], oldest: float = 0.0) -> _Free:
    """A time, that of a split before the ``oldest`` sample lived."""
    lower, upper = (round_to(size * factor) for factor in TIME_RANGE)
    if lower <= oldest:
        # A tenth more, so that rounding leaves it above; the upper bound leaves room for a search.
        lower = round_to(1.1 * oldest)
        upper = max(upper, round_to(4 * lower))
    start = min(max(round_to(start), round_to(lower * 1.5)), round_to(upper / 1.5))
    return _Free(name, description, "generations", start, lower, upper, tuple(places))


def _migration(size: float) -> _Free:
    lower, upper = (round_to(factor / size) for factor in MIGRATION_RANGE)
    description = "share of each population that are migrants from each other one, per generation"
    return _Free("m", description, "per generation", round_to(0.3 / size), lower, upper, ("migrations: {0: rate}",))


def _epoch(deme: str, epoch: int, field: str) -> str:
    return f"demes: {{{deme}: {{epochs: {{{epoch}: {field}}}}}}}"


def _split_time(size: float, fst: float) -> float:
    """Generations of drift that give Fst between two populations of that diploid size."""
    return -2 * size * math.log(1 - min(max(fst, FST_RANGE[0]), FST_RANGE[1]))


def _mean(values: Sequence[float]) -> float:
    return round_to(sum(values) / len(values))


Sizes = Mapping[str, float]
Fst = Mapping[tuple[str, str], float]


def _constant(sizes: Sizes, fst: Fst, oldest: float) -> _Sketch:
    ((deme, size),) = sizes.items()
    return _Sketch(
        "One population whose size did not change",
        (f"- name: {deme}", f"  epochs: [{{start_size: {size:.12g}}}]"),
        (_size(f"N_{deme}", "size", size, [_epoch(deme, 0, "start_size")]),),
    )


def _size_change(sizes: Sizes, fst: Fst, oldest: float) -> _Sketch:
    ((deme, size),) = sizes.items()
    time = _time("T", "when the size changed", size, size / 2, [_epoch(deme, 0, "end_time")])
    return _Sketch(
        "One population whose size changed once",
        (
            f"- name: {deme}",
            "  epochs:",
            f"  - {{start_size: {size:.12g}, end_time: {time.start:.12g}}}",
            f"  - {{start_size: {size:.12g}}}",
        ),
        (
            _size("N_anc", "size before the change", size, [_epoch(deme, 0, "start_size")]),
            _size(f"N_{deme}", "size since the change", size, [_epoch(deme, 1, "start_size")]),
            time,
        ),
    )


def _growth(sizes: Sizes, fst: Fst, oldest: float) -> _Sketch:
    ((deme, size),) = sizes.items()
    time = _time("T", "when growth or decline began", size, size / 2, [_epoch(deme, 0, "end_time")])
    before = [_epoch(deme, 0, "start_size"), _epoch(deme, 1, "start_size")]
    return _Sketch(
        "One population of constant size that grew or declined exponentially until now",
        (
            f"- name: {deme}",
            "  epochs:",
            f"  - {{start_size: {size:.12g}, end_time: {time.start:.12g}}}",
            f"  - {{start_size: {size:.12g}, end_size: {size:.12g}}}",
        ),
        (
            _size("N_anc", "size before", size, before),
            _size(f"N_{deme}", "size now", size, [_epoch(deme, 1, "end_size")]),
            time,
        ),
    )


def _split(sizes: Sizes, fst: Fst, oldest: float) -> _Sketch:
    (a, b), ancestral = sizes, _mean(list(sizes.values()))
    start = _split_time(ancestral, fst[a, b])
    place = _epoch("ancestral", 0, "end_time")
    time = _time("T_split", f"when {a} and {b} split", ancestral, start, [place], oldest)
    migration = _migration(ancestral)
    return _Sketch(
        "Two populations that split and exchange migrants",
        (
            "- name: ancestral",
            f"  epochs: [{{start_size: {ancestral:.12g}, end_time: {time.start:.12g}}}]",
            *(line for deme in (a, b) for line in _branch(deme, "ancestral", sizes[deme])),
            "migrations:",
            f"- {{demes: [{a}, {b}], rate: {migration.start:.12g}}}",
        ),
        (
            _size("N_anc", "size before the split", ancestral, [_epoch("ancestral", 0, "start_size")]),
            *(_size(f"N_{deme}", f"size of {deme}", sizes[deme], [_epoch(deme, 0, "start_size")]) for deme in (a, b)),
            time,
            migration,
        ),
    )


def _isolation(sizes: Sizes, fst: Fst, oldest: float) -> _Sketch:
    """The split without its migration."""
    both = _split(sizes, fst, oldest)
    demes = both.demes[: both.demes.index("migrations:")]
    free = tuple(f for f in both.free if f.name != "m")
    return _Sketch("Two populations that split and have been isolated since", demes, free)


def _branch(deme: str, ancestor: str, size: float) -> list[str]:
    return [f"- name: {deme}", f"  ancestors: [{ancestor}]", f"  epochs: [{{start_size: {size:.12g}}}]"]


def _sequential(sizes: Sizes, fst: Fst, oldest: float) -> _Sketch:
    """The pair with the smallest Fst split last."""
    names = list(sizes)
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    a, b = min(pairs, key=lambda pair: fst[pair])
    (c,) = set(names) - {a, b}
    inner, ancestral = _mean([sizes[a], sizes[b]]), _mean(list(sizes.values()))
    recent, place = _split_time(inner, fst[a, b]), _epoch("pair", 0, "end_time")
    late = _time("T_2", f"when {a} and {b} split", ancestral, recent, [place], oldest)
    old = max(_split_time(ancestral, _mean([fst[a, c], fst[b, c]])), 2 * late.start)
    place = _epoch("ancestral", 0, "end_time")
    early = _time("T_1", f"when {c} split from the others", ancestral, old, [place], oldest)
    if late.start >= early.start:
        late = _time("T_2", late.description, ancestral, early.start / 2, late.places, oldest)
    migration = _migration(ancestral)
    return _Sketch(
        f"Three populations: {c} split first, then {a} and {b}; all exchange migrants",
        (
            "- name: ancestral",
            f"  epochs: [{{start_size: {ancestral:.12g}, end_time: {early.start:.12g}}}]",
            *_branch("pair", "ancestral", inner)[:2],
            f"  epochs: [{{start_size: {inner:.12g}, end_time: {late.start:.12g}}}]",
            *_branch(c, "ancestral", sizes[c]),
            *(line for deme in (a, b) for line in _branch(deme, "pair", sizes[deme])),
            "migrations:",
            f"- {{demes: [{', '.join(names)}], rate: {migration.start:.12g}}}",
        ),
        (
            _size("N_anc", "size before the first split", ancestral, [_epoch("ancestral", 0, "start_size")]),
            _size("N_pair", f"size of the ancestors of {a} and {b}", inner, [_epoch("pair", 0, "start_size")]),
            *(_size(f"N_{deme}", f"size of {deme}", sizes[deme], [_epoch(deme, 0, "start_size")]) for deme in names),
            early,
            late,
            migration,
        ),
        greater=("T_1", "T_2"),
    )


@dataclass(frozen=True)
class Kind:
    """A model that ``init`` can write."""

    num_populations: int
    description: str
    build: Callable[[Sizes, Fst, float], _Sketch]


#: The first one for a number of populations is what is written unless another is asked for.
KINDS: Mapping[str, Kind] = {
    "size-change": Kind(1, "one change of size", _size_change),
    "growth": Kind(1, "exponential growth or decline up to now", _growth),
    "split": Kind(2, "a split with migration", _split),
    "sequential-splits": Kind(3, "two splits with migration, the most similar pair last", _sequential),
}

#: The scenarios of a first comparison, by the number of populations.
STORIES: Mapping[int, Mapping[str, Kind]] = {
    1: {"constant": Kind(1, "constant size", _constant), "size-change": KINDS["size-change"]},
    2: {"isolation": Kind(2, "a split without migration", _isolation), "migration": KINDS["split"]},
}


# --- as files ---------------------------------------------------------------------------------------------------


def _demes_text(sketch: _Sketch) -> str:
    lines = [
        "# A demes file (https://popsim-consortium.github.io/demes-spec-docs): the numbers are starting values;",
        "# the options file beside it says which of them are free, and between which bounds.",
        f"description: {sketch.description!r}",
        "time_units: generations",
        "demes:",
        *sketch.demes,
    ]
    return "\n".join(lines) + "\n"


def _options_text(sketch: _Sketch) -> str:
    lines = [
        "# Free parameters of the demes file: an options file as moments reads it, with scale and unit besides.",
        "# Widen the bounds where the truth may lie outside: no estimate ever leaves them.",
        "parameters:",
    ]
    for free in sketch.free:
        lines += [
            f"- name: {free.name}",
            f"  description: {free.description}",
            f"  unit: {free.unit}",
            "  values:",
            *(f"  - {place}" for place in free.places),
            f"  lower_bound: {free.lower:.12g}",
            f"  upper_bound: {free.upper:.12g}",
            "  scale: log",
        ]
    if sketch.greater:
        lines += ["constraints:", f"- params: [{', '.join(sketch.greater)}]", "  constraint: greater_than"]
    return "\n".join(lines) + "\n"
