"""The built-in ``demes`` simulator: a demes file with free parameters, simulated by msprime."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ganinfer.coalescent import (
    MAP,
    neutral_model,
    read_errors,
    read_labels,
    read_ploidy,
    read_rates,
    sample_sets,
    sampling_problem,
    simulate_loci,
    simulate_windows,
)
from ganinfer.haplotypes import SampleSet
from ganinfer.interfaces import Design, NeutralModel, Observation
from ganinfer.models import CatalogueModel, DemesModel, Known, ModelError, catalogue_model, file_text
from ganinfer.parameters import Parameters

if TYPE_CHECKING:
    import demes as demes_module
    import msprime


_EXAMPLE_MODEL = """\
time_units: generations
demes:
- name: A
  epochs:
  - {start_size: 10000, end_time: 1000}
  - {start_size: 5000}
"""
_EXAMPLE_PARAMETERS = """\
parameters:
- {name: N_anc, lower_bound: 1000, upper_bound: 30000, values: [{demes: {A: {epochs: {0: start_size}}}}]}
- {name: N, lower_bound: 1000, upper_bound: 30000, values: [{demes: {A: {epochs: {1: start_size}}}}]}
- {name: T, lower_bound: 100, upper_bound: 5000, values: [{demes: {A: {epochs: {0: end_time}}}}]}
"""


class DemesSimulator:
    """Windows of a demes model.

    ``model`` is a demes file, or ``{"stdpopsim": "HomSap/OutOfAfrica_3G09"}`` for a model of that catalogue;
    ``parameters`` an options file (without it nothing is free). ``demes`` maps population labels of the data to demes
    where they differ; demes without samples are ghosts. ``fixed`` holds parameters at a value. ``mutation_rate`` is a
    number or a parameter's name (a catalogue's model may know it), ``recombination_rate`` also ``map``; it is
    multiplied by ``recombination_scale``. ``misidentified`` and ``genotype_error`` are shares of sites with their
    alleles the wrong way round, and of wrong genotypes, numbers or names of parameters. ``generation_time`` is years a
    generation, a number or a parameter, for reports, and for a demes file in years. ``ploidy``: chromosomes of one of
    the individuals that deme sizes count.
    """

    api_version: ClassVar[str] = "1"
    produces: ClassVar[tuple[str, ...]] = ("windows", "loci", "loci-by-rate")
    file_options: ClassVar[tuple[str, ...]] = ("model", "parameters")
    #: What ``ganinfer plugins check demes`` tries: a population that changed its size.
    example: ClassVar[Mapping[str, Any]] = {
        "options": {
            "model": {"file": "example.demes.yaml", "text": _EXAMPLE_MODEL},
            "parameters": {"file": "example.options.yaml", "text": _EXAMPLE_PARAMETERS},
            "mutation_rate": 1.25e-8,
            "recombination_rate": 1.25e-8,
        },
        "samples": {"A": 4},
    }

    def __init__(
        self,
        *,
        model: Any,
        parameters: Any = None,
        demes: Mapping[str, str] | None = None,
        fixed: Mapping[str, float] | None = None,
        mutation_rate: float | str | None = None,
        recombination_rate: float | str = MAP,
        recombination_scale: float | str = 1.0,
        misidentified: float | str = 0.0,
        genotype_error: float | str = 0.0,
        generation_time: float | str | None = None,
        ploidy: int = 2,
    ) -> None:
        found = _model(model)
        #: What the catalogue's model says of options that are left out: its mutation rate, and years a generation.
        self.brought: Mapping[str, float] = {
            name: value
            for name, given, value in (
                ("mutation_rate", mutation_rate, found.mutation_rate),
                ("generation_time", generation_time, found.generation_time),
            )
            if given is None and value is not None
        }
        options_file, options = ("", None) if parameters is None else file_text(parameters, "parameters")
        self.rates = read_rates(
            self.brought.get("mutation_rate", mutation_rate), recombination_rate, recombination_scale
        )
        self.errors = read_errors(misidentified, genotype_error)
        self.model = DemesModel(
            found.text,
            options,
            model_file=found.name,
            options_file=options_file,
            fixed=fixed,
            elsewhere=(*self.rates.names, *self.errors.names),
            generation_time=self.brought.get("generation_time", generation_time),
        )
        self.rates.check(self.model.parameters, self.model.fixed)
        self.errors.check(self.model.parameters, self.model.fixed)
        _check_simulable(self.model)
        self.demes = read_labels(demes)
        self.ploidy = read_ploidy(ploidy)
        self._plain = Known()

    @property
    def parameters(self) -> Parameters:
        return self.model.parameters

    @property
    def generation_time(self) -> float | None:
        """Years a generation, ``None`` where nothing says so."""
        return self.model.generation_time

    @property
    def known_by_product(self) -> tuple[tuple[str, ...], str] | None:
        """Sizes, and the mutation rate, where all of the history and the rate are free: their products are known.

        ``None`` where something that is given, a size or a time, tells more.
        """
        rate = self.rates.mutation
        if not isinstance(rate, str) or rate not in self.parameters.names or not self.model.all_free:
            return None
        return self.model.sizes, rate

    def derived(self, theta: Mapping[str, float]) -> dict[str, float]:
        """What the options file describes of expressions of parameters, at ``theta``: such as a present size."""
        return self.model.derived(theta)

    def graph(self, theta: Mapping[str, float]) -> demes_module.Graph:
        """The demes graph at ``theta``, in the demes file's own units."""
        return self.model.graph(theta)

    def demography(self, theta: Mapping[str, float]) -> msprime.Demography:
        """The same for msprime, in generations."""
        import msprime

        return msprime.Demography.from_demes(self.graph(theta))

    def neutral_model(self, theta: Mapping[str, float]) -> NeutralModel:
        """What a likelihood of the site frequency spectrum needs; raises :class:`ModelError` where there is none."""
        return neutral_model(self, theta, self.model.values(theta))

    @property
    def needs_map(self) -> bool:
        """Whether every window needs a slice of a recombination map."""
        return self.rates.recombination == MAP

    def sampling_problem(self, theta: Mapping[str, float], samples: Sequence[SampleSet]) -> str | None:
        """Why the possible model at ``theta`` cannot be sampled so, as a sentence; ``None`` where it can."""
        times = tuple(s.time for s in samples)
        known = self.model.pattern(theta, times), tuple((s.population, s.time) for s in samples)
        if known in self._plain:
            return None
        if _plainly_sampled(self.graph(theta), samples, self.demes):
            if known[0] is not None:
                self._plain.add(known)
            return None
        return sampling_problem(samples, self.demes, self.demography(theta), self.model.file)

    def why_not(self, kind: str) -> str | None:
        """Why it cannot serve a kind of design with its options, as a sentence."""
        return (None if kind == "loci" else self.rates.missing) or (
            self.errors.why_no_loci if kind.startswith("loci") else None
        )

    def simulate(self, theta: Mapping[str, float], design: Design, seed: int) -> Iterator[Observation]:
        """One tree sequence a window in generations, whatever the demes file's units, or one SNP table a template."""
        demography = self.demography(theta)
        samples = sample_sets(design.samples, self.demes, demography, self.model.file)
        values = self.model.values(theta)
        rates = self.rates.at(values)
        if design.kind == "loci":
            return simulate_loci(demography, samples, design, seed, ploidy=self.ploidy, **rates)
        windows = simulate_windows(demography, samples, design.templates, seed, ploidy=self.ploidy, **rates)
        return self.errors.put_on(windows, design.samples, values, seed)


def _plainly_sampled(graph: demes_module.Graph, samples: Sequence[SampleSet], demes: Mapping[str, str]) -> bool:
    """Whether ``samples`` are of living demes with one ancestor: most are, and msprime takes long to say so."""
    if sum(not deme.ancestors for deme in graph.demes) > 1:
        return False
    if graph.time_units != "generations" and any(s.time for s in samples):
        return False
    lives = {deme.name: deme for deme in graph.demes}
    found = [(s.time, lives.get(demes.get(s.population, s.population))) for s in samples]
    return all(deme is not None and deme.end_time <= time < deme.start_time for time, deme in found)


def _check_simulable(model: DemesModel) -> None:
    """Raise :class:`ModelError` for what demes can say and msprime cannot simulate; no parameter can set such a key."""
    import msprime

    try:
        msprime.Demography.from_demes(model.written)
    except ValueError as error:
        known = ("constant", "exponential")
        odd = [
            deme.name
            for deme in model.written.demes
            if any(e.selfing_rate or e.cloning_rate or e.size_function not in known for e in deme.epochs)
        ]
        raise ModelError(
            f"{model.file}: msprime cannot simulate deme {', '.join(odd)} as it is written: {error}; leave out "
            f"selfing_rate and cloning_rate, and let size_function be {' or '.join(known)}"
        ) from None


def _model(option: Any) -> CatalogueModel:
    """A model of the catalogue, or of a demes file, with which nothing else comes."""
    if isinstance(option, Mapping) and set(option) == {"stdpopsim"}:
        return catalogue_model(option["stdpopsim"])
    return CatalogueModel(*file_text(option, "model, unless it is {stdpopsim: SPECIES/MODEL},"), None, None)
