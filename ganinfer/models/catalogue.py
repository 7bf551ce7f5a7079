"""Demographic models of the stdpopsim catalogue (doi 10.7554/eLife.54967) as demes files."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ganinfer.models.places import ModelError, closest


@dataclass(frozen=True)
class CatalogueModel:
    """A model as demes text, in generations; ``generation_time`` in years, ``mutation_rate`` a base, where known."""

    name: str
    text: str
    generation_time: float | None
    mutation_rate: float | None


@lru_cache(maxsize=8)
def catalogue_model(identifier: str) -> CatalogueModel:
    """The model ``SPECIES/MODEL``, such as ``HomSap/OutOfAfrica_3G09``; raises :class:`ModelError` if there is none.

    Options files address the fields that ``text`` writes, in its order: demes' simplified form.
    """
    import demes
    import stdpopsim

    species = {s.id: s for s in stdpopsim.all_species() if s.demographic_models}
    wanted, _, name = str(identifier).partition("/")
    if wanted not in species:
        raise ModelError(f"stdpopsim has no species {wanted!r} with a demographic model; {closest(wanted, species)}")
    models: dict[str, Any] = {m.id: m for m in species[wanted].demographic_models}
    if name not in models:
        raise ModelError(f"stdpopsim has no model {name!r} of {wanted}; {closest(name, models)}")
    model = models[name]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Multiple pulses", category=UserWarning)
        text = demes.dumps(model.model.to_demes())
    return CatalogueModel(f"stdpopsim {wanted}/{name}", text, model.generation_time, model.mutation_rate)
