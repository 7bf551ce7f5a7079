"""The contract of a discriminator. TensorFlow is imported by the plugin, or when the first network is built."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ganinfer import simulation
from ganinfer.encodings import ENCODINGS
from ganinfer.haplotypes import Haplotypes, SampleSet, chromosomes
from ganinfer.interfaces import API_VERSION
from ganinfer.pipeline import PipelineSettings, prepare_real
from ganinfer.testing.report import Case, ContractError, NotApplicableError, require

#: What a plugin is given that does not say what it needs.
_OF_WINDOWS = tuple(name for name, encoding in ENCODINGS.items() if "windows" in encoding.accepts)
_SAMPLES = (SampleSet("A", 4), SampleSet("B", 3))
_LENGTH = 20_000
_NUM_SITES = 48
_TOLERANCE = 1e-4
#: What a network may claim in ``invariant``; ``True`` claims both.
CLAIMS = ("chromosomes", "padding")


class DiscriminatorCase(Case):
    """A module with ``build``, and windows of two populations to try it on.

    A plugin says which encodings it needs in ``encodings`` (default: all of windows), and what changes nothing in
    ``invariant``.
    """

    kind = "discriminators"
    needed = ("interface", "builds")

    @cached_property
    def module(self) -> Any:
        return self.loaded()

    @cached_property
    def options(self) -> dict[str, Any]:
        return dict(self._options or {})

    @cached_property
    def windows(self) -> list[Haplotypes]:
        return _windows()

    @cached_property
    def model(self) -> Any:
        return self._build(self._setup())

    @cached_property
    def embedding(self) -> np.ndarray:
        return self._embed(self.model, self._setup(), self.windows)

    def _setup(self, num_sites: int = _NUM_SITES, phased: bool = True) -> simulation.Setup:
        """With more sites in the joint counts than in the matrix, as where windows are dense."""
        names: tuple[str, ...] = tuple(getattr(self.module, "encodings", _OF_WINDOWS))
        wanted: tuple[tuple[str, dict[str, Any]], ...] = tuple((name, {}) for name in names)
        pipeline = PipelineSettings(phased=phased)
        return simulation.Setup("", {}, _SAMPLES, pipeline, wanted, _LENGTH, num_sites, num_sites + 16)

    def _build(self, setup: simulation.Setup) -> Any:
        """What was built, as a run takes it."""
        specs = simulation.encoding_specs(setup)
        model = self.module.build(specs, **self.options)
        from ganinfer import training

        try:
            return training.trunk_of(self._name, model, specs)
        except training.TrainingError as error:
            raise ContractError(str(error)) from None

    @property
    def _name(self) -> str:
        return self.title.removeprefix("discriminator ")

    def _embed(self, model: Any, setup: simulation.Setup, windows: list[Haplotypes]) -> np.ndarray:
        import keras

        arrays = simulation.encode(setup, windows, len(windows))
        return keras.ops.convert_to_numpy(model({i.name: arrays[i.name] for i in model.inputs}, training=False))

    def _claims(self, what: str) -> None:
        claimed = getattr(self.module, "invariant", ())
        if claimed is not True and what not in (claimed or ()):
            raise NotApplicableError(f"the discriminator does not claim it (invariant = True or {CLAIMS!r})")

    # --- the clauses ------------------------------------------------------------------------------------------------

    def check_interface(self) -> None:
        require(
            callable(getattr(self.module, "build", None)), "the discriminator has no function build(spec, **options)"
        )
        version = str(getattr(self.module, "api_version", API_VERSION))
        require(
            version.partition(".")[0] == API_VERSION, f"api_version is {version!r}; the interface is {API_VERSION!r}"
        )
        for name in getattr(self.module, "encodings", ()):
            require(name in ENCODINGS, f"encodings names {name!r}; there are {', '.join(ENCODINGS)}")

    def check_builds(self) -> None:
        require(self.model.trainable_weights, "the network has no weight that could be trained")

    def check_embedding(self) -> None:
        require(self.embedding.ndim == 2, f"an embedding has shape (batch, width), this one {self.embedding.shape}")
        require(len(self.embedding) == len(self.windows), f"{len(self.embedding)} rows for {len(self.windows)} windows")
        one = self._embed(self.model, self._setup(), self.windows[:1])
        require(_close(one, self.embedding[:1]), "a window's embedding depends on the others in its batch")

    def check_finite(self) -> None:
        """Windows with missing calls, with a single site and with none are among those tried."""
        for i, row in enumerate(self.embedding):
            require(np.isfinite(row).all(), f"not finite for a window of {self.windows[i].num_sites} sites")

    def check_unphased(self) -> None:
        setup = self._setup(phased=False)
        unphased = [prepare_real(h, setup.pipeline, np.random.default_rng(0)) for h in self.windows]
        require(np.isfinite(self._embed(self._build(setup), setup, unphased)).all(), "not finite for unphased windows")

    def check_repeatable(self) -> None:
        again = self._embed(self.model, self._setup(), self.windows)
        require(np.array_equal(again, self.embedding), "the same windows gave another embedding outside of training")

    def check_order_of_chromosomes(self) -> None:
        self._claims("chromosomes")
        rng = np.random.default_rng(2)
        shuffled = [_shuffled(h, rng) for h in self.windows]
        found = self._embed(self.model, self._setup(), shuffled)
        require(
            _close(found, self.embedding), f"the order of chromosomes matters, by {_gap(found, self.embedding):.3g}"
        )

    def check_padding(self) -> None:
        self._claims("padding")
        wider = self._setup(num_sites=2 * _NUM_SITES)
        model = self._build(wider)
        shapes = [[tuple(w.shape) for w in m.weights] for m in (self.model, model)]
        require(
            shapes[0] == shapes[1],
            "the weights' shapes depend on the number of sites, so padding cannot change nothing",
        )
        model.set_weights(self.model.get_weights())
        found = self._embed(model, wider, self.windows)
        require(_close(found, self.embedding), f"more padding matters, by {_gap(found, self.embedding):.3g}")

    def check_gradients(self) -> None:
        import tensorflow as tf

        setup = self._setup()
        arrays = simulation.encode(setup, self.windows, len(self.windows))
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(self.model({i.name: arrays[i.name] for i in self.model.inputs}) - 1.0))
        gradients = [
            np.asarray(tf.convert_to_tensor(g))
            for g in tape.gradient(loss, self.model.trainable_weights)
            if g is not None
        ]
        require(any(np.any(g) for g in gradients), "no weight has a gradient, so the network cannot learn")
        require(all(np.isfinite(g).all() for g in gradients), "a gradient is not finite")

    def check_training(self) -> None:
        """One step of a run's own training, and embeddings as a run makes them."""
        from ganinfer import training

        setup, windows = self._setup(), self.windows * 2
        network = training.assembled(0, self._name, self._build(setup), simulation.encoding_specs(setup), 1)
        arrays = simulation.encode(setup, windows, len(windows))
        others = np.ones(len(windows), dtype=int)
        proposal = np.repeat([0, 1], len(self.windows))
        simulated = training.Windows(arrays, others, proposal, np.array([[0.2], [0.8]]))
        settings = training.TrainingSettings(epochs=1)
        training.train([network], simulated, training.Windows(arrays, others), settings, np.random.default_rng(3))
        embedding, logits = training.embed(network, arrays)
        finite = np.isfinite(embedding).all() and np.isfinite(logits).all()
        require(finite, "after a step of training its embeddings are not finite")

    def check_saving(self) -> None:
        import keras

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "network.keras"
            self.model.save(path)
            restored = keras.saving.load_model(path, compile=False)
        found = self._embed(restored, self._setup(), self.windows)
        require(_close(found, self.embedding), "the network that was saved and loaded gives other embeddings")


def _windows() -> list[Haplotypes]:
    """Prepared windows: full, with missing calls, nearly and quite empty."""
    rng = np.random.default_rng(7)
    carriers = chromosomes(_SAMPLES)
    windows = []
    for num_sites, missing in ((_NUM_SITES, 0.0), (30, 0.0), (25, 0.2), (1, 0.0), (0, 0.0)):
        positions = np.sort(rng.choice(_LENGTH, size=num_sites, replace=False)).astype(np.int64)
        frequency = rng.uniform(0.15, 0.85, size=(num_sites, 1))
        genotypes = (rng.random((num_sites, len(carriers))) < frequency).astype(np.int8)
        genotypes[:, :2] = [0, 1]
        absent = rng.random(genotypes.shape) < missing
        absent[:, :2] = False
        windows.append(Haplotypes(np.where(absent, np.int8(-1), genotypes), positions, carriers))
    return windows


def _shuffled(haplotypes: Haplotypes, rng: np.random.Generator) -> Haplotypes:
    """The chromosomes of each population in another order."""
    order = np.arange(len(haplotypes.carriers))
    for columns in haplotypes.carriers.columns:
        order[columns] = rng.permutation(columns)
    return replace(haplotypes, genotypes=haplotypes.genotypes[:, order])


def _gap(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max(initial=0.0))


def _close(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and np.allclose(a, b, rtol=_TOLERANCE, atol=_TOLERANCE * max(1.0, float(np.abs(b).max())))
