"""The built-in ``demes`` simulator: a demes file with free parameters, simulated by msprime."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ganinfer.coalescent import MAP, Existence, Rates, sample_sets, simulate_windows
from ganinfer.interfaces import Design
from ganinfer.models import DemesModel, file_text
from ganinfer.parameters import Parameters

if TYPE_CHECKING:
    import demes as demes_module
    import tskit


class DemesSimulator:
    """Windows of a demes model.

    ``model`` is a demes file, ``parameters`` an options file (without it nothing is free). ``demes`` maps population
    labels of the data to demes where they differ; demes without samples are ghosts. ``fixed`` holds parameters at
    a value. ``mutation_rate`` is a number or a parameter's name, ``recombination_rate`` also ``map``; the map is
    multiplied by ``recombination_scale``. ``generation_time`` is in years, for a demes file in years
    that does not say. ``ploidy``: chromosomes of the individuals that population sizes count.
    """

    api_version: ClassVar[str] = "1"
    produces: ClassVar[str] = "windows"
    file_options: ClassVar[tuple[str, ...]] = ("model", "parameters")

    def __init__(
        self,
        *,
        model: Any,
        mutation_rate: float | str,
        parameters: Any = None,
        demes: Mapping[str, str] | None = None,
        fixed: Mapping[str, float] | None = None,
        recombination_rate: float | str = MAP,
        recombination_scale: float | str = 1.0,
        generation_time: float | None = None,
        ploidy: int = 2,
    ) -> None:
        file, text = file_text(model, "model")
        options_file, options = (None, None) if parameters is None else file_text(parameters, "parameters")
        self.rates = Rates(mutation_rate, recombination_rate, recombination_scale)
        self.model = DemesModel(
            text,
            options,
            model_file=file,
            options_file=options_file or "",
            fixed=fixed,
            elsewhere=self.rates.names,
            generation_time=generation_time,
        )
        self.rates.check(self.model.parameters, self.model.fixed)
        self.demes = dict(demes or {})
        self.ploidy = ploidy

    @property
    def parameters(self) -> Parameters:
        return self.model.parameters

    def graph(self, theta: Mapping[str, float]) -> demes_module.Graph:
        """The demes graph at ``theta``, in the demes file's own units."""
        return self.model.graph(theta)

    def simulate(self, theta: Mapping[str, float], design: Design, seed: int) -> Iterator[tskit.TreeSequence]:
        import msprime

        graph = self.graph(theta)
        unit = float(graph.generation_time or 1)  # 1 in a graph in generations
        existing = {d.name: Existence(d.start_time / unit, d.end_time / unit) for d in graph.demes}
        return simulate_windows(
            msprime.Demography.from_demes(graph),
            sample_sets(design, self.demes, existing, self.model.file),
            design.templates,
            seed,
            ploidy=self.ploidy,
            **self.rates.at(self.model.values(theta)),
        )
