"""A distribution of toy plugins, written to a folder with the metadata that an installer would leave there."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

SIMULATORS = '''
import os
import time
from pathlib import Path

import numpy as np

from ganinfer.haplotypes import Haplotypes, chromosomes
from ganinfer.parameters import Parameter, Parameters


class Toy:
    """Independent sites: their number is Poisson with mean `rate`, each allele derived with probability one half."""

    api_version = "1"
    produces = "windows"
    parameters = Parameters((Parameter("rate", 1.0, 60.0),))

    def __init__(self, *, scale=1.0):
        self.scale = scale

    def window(self, rng, theta, design, template):
        num_sites = rng.poisson(theta["rate"] * self.scale)
        positions = np.sort(rng.integers(template.length, size=num_sites))
        genotypes = rng.integers(2, size=(num_sites, design.num_chromosomes), dtype=np.int8)
        return Haplotypes(genotypes, positions, chromosomes(design.samples))

    def simulate(self, theta, design, seed):
        rng = np.random.default_rng(seed)
        for template in design.templates:
            yield self.window(rng, theta, design, template)


class Trees(Toy):
    """msprime, for observations that are tree sequences."""

    def __init__(self, *, length=None):
        self.length = length

    def simulate(self, theta, design, seed):
        import msprime

        samples = [msprime.SampleSet(s.num_individuals, ploidy=s.ploidy) for s in design.samples]
        for i, template in enumerate(design.templates):
            length = self.length or template.length
            trees = msprime.sim_ancestry(samples, population_size=100, sequence_length=length, random_seed=seed + i)
            yield msprime.sim_mutations(trees, rate=1e-7 * theta["rate"], random_seed=seed + i)


class Failing(Toy):
    """Fails in the way asked for; with `once`, a file that it leaves behind, only the first time."""

    def __init__(self, *, how, once=None, rate=0.0, log=None):
        self.how, self.once, self.rate, self.log = how, once, rate, log

    def simulate(self, theta, design, seed):
        if self.log:
            with open(self.log, "a") as log:
                print(seed, file=log)
        if theta["rate"] > self.rate and not (self.once and Path(self.once).exists()):
            if self.once:
                Path(self.once).touch()
            getattr(self, self.how)()
        return Toy(scale=1.0).simulate(theta, design, seed)

    def raises(self):
        raise RuntimeError("the coalescent is out of order")

    def exits(self):
        raise SystemExit(3)

    def dies(self):
        os.kill(os.getpid(), 9)

    def hangs(self):
        while True:
            time.sleep(0.05)


class Nonsense(Toy):
    """Yields what is asked for instead of an observation."""

    def __init__(self, *, how):
        self.how = how

    def simulate(self, theta, design, seed):
        windows = list(Toy(scale=1.0).simulate(theta, design, seed))
        if self.how == "too few":
            return windows[:-1]
        if self.how == "too many":
            return windows + windows[:1]
        if self.how == "nothing":
            return None
        theta["rate"] = -1.0
        return (self.broken(w) for w in windows)

    def broken(self, window):
        genotypes, positions, carriers = window.genotypes, window.positions, window.carriers
        changed = {
            "string": lambda: "window",
            "float": lambda: Haplotypes(genotypes.astype(float), positions, carriers),
            "list": lambda: Haplotypes(genotypes.tolist(), positions, carriers),
            "int32": lambda: Haplotypes(genotypes, positions.astype(np.int32), carriers),
            "transposed": lambda: Haplotypes(genotypes.T, positions, carriers),
            "unsorted": lambda: Haplotypes(genotypes, positions[::-1], carriers),
            "beyond": lambda: Haplotypes(genotypes, positions + 10**6, carriers),
            "before": lambda: Haplotypes(genotypes, positions - 10**6, carriers),
            "codes": lambda: Haplotypes(np.full_like(genotypes, -3), positions, carriers),
            "carriers": lambda: Haplotypes(genotypes, positions, type(carriers)(
                carriers.populations, carriers.population[::-1].copy(), carriers.individual)),
        }
        return changed[self.how]()


class Global(Toy):
    """Draws from a generator that its seed does not set."""

    _rng = np.random.default_rng(5)

    def simulate(self, theta, design, seed):
        for template in design.templates:
            yield self.window(self._rng, theta, design, template)


class Constant(Toy):
    """Ignores its seed."""

    def simulate(self, theta, design, seed):
        return super().simulate(theta, design, 1)


class Reusing(Toy):
    """Fills the same arrays for every window."""

    def simulate(self, theta, design, seed):
        kept = None
        for window in super().simulate(theta, design, seed):
            if kept is None:
                kept = np.zeros((1000, design.num_chromosomes), dtype=np.int8), np.zeros(1000, dtype=np.int64)
            genotypes, positions = kept[0][: window.num_sites], kept[1][: window.num_sites]
            genotypes[:], positions[:] = window.genotypes, window.positions
            yield Haplotypes(genotypes, positions, window.carriers)


class Cached(Toy):
    """Remembers the call before and lets it leak into the next."""

    calls = 0

    def simulate(self, theta, design, seed):
        type(self).calls += 1
        return super().simulate(theta, design, seed + type(self).calls)


class Mutating(Toy):
    def simulate(self, theta, design, seed):
        yield from super().simulate(theta, design, seed)
        theta["rate"] = 0.0


class Heavy(Toy):
    """Pulls a heavy package into every worker."""

    def simulate(self, theta, design, seed):
        import mlflow  # noqa: F401

        return super().simulate(theta, design, seed)


class Cornered(Toy):
    """Cannot simulate at its own upper bound."""

    def simulate(self, theta, design, seed):
        if theta["rate"] > 59:
            raise ValueError("rate too high")
        return super().simulate(theta, design, seed)


class Old(Toy):
    api_version = "0.3"


class Picky(Toy):
    def __init__(self, *, depth):
        if depth < 0:
            raise ValueError(f"depth must not be negative, got {depth}")
        self.depth = depth


class NoParameters:
    api_version = "1"
    produces = "windows"

    def simulate(self, theta, design, seed):
        return iter(())


class Other(Toy):
    produces = "loci"
'''

BROKEN = "raise RuntimeError('half installed')\n"

DISCRIMINATOR = '''
"""A small invariant network over the SNP matrix: sums over sites, means and variances over rows."""


def build(spec, *, width=8):
    import keras

    genotypes = keras.Input(spec["genotypes"].shape, dtype="int8", name="genotypes")
    mask = keras.Input(spec["mask"].shape, dtype="uint8", name="mask")
    site = keras.ops.expand_dims(keras.ops.cast(mask, "float32"), 1)
    x = keras.ops.cast(genotypes, "float32") * site
    per_row = keras.ops.sum(x, axis=2)
    per_site = keras.ops.mean(x, axis=1)
    features = keras.ops.stack(
        [keras.ops.mean(per_row, axis=1), keras.ops.var(per_row, axis=1), keras.ops.sum(per_site**2, axis=1)], axis=1
    )
    return keras.Model({"genotypes": genotypes, "mask": mask}, keras.layers.Dense(width)(features))
'''

ORDERED_DISCRIMINATOR = '''
"""A network that sees the order of rows, and the padding, and says otherwise."""
invariant = True
padding_invariant = True


def build(spec, *, width=4):
    import keras

    genotypes = keras.Input(spec["genotypes"].shape, dtype="int8", name="genotypes")
    flat = keras.layers.Flatten()(keras.ops.cast(genotypes, "float32") / 128)
    return keras.Model({"genotypes": genotypes}, keras.layers.Dense(width)(flat))
'''

CLASSICAL_DISCRIMINATOR = '''
"""A network over classical statistics alone."""
encodings = ("classical",)


def build(spec, *, width=4):
    import keras

    classical = keras.Input(spec["classical"].shape, dtype="float32", name="classical")
    scaled = keras.layers.Normalization()(classical)
    return keras.Model({"classical": classical}, keras.layers.Dense(width)(scaled))
'''

KERAS_DISCRIMINATOR = '''
"""A small network over allele counts, as a Keras model of the kind asked for."""
import keras
from keras import layers, ops

encodings = ("joint-counts",)


@keras.saving.register_keras_serializable(package="toys")
class Summed(keras.Model):
    """A subclass: what it reads only its call knows."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(4)

    def call(self, inputs):
        return self.dense(ops.sum(ops.cast(inputs["counts"], "float32"), axis=1))


def build(spec, *, kind="integers"):
    shape = spec["counts"].shape
    if kind in ("subclassed", "wrapped"):
        inputs = {"counts": keras.Input(shape, name="counts", dtype="int16")}
        return Summed() if kind == "subclassed" else keras.Model(inputs, Summed()(inputs))
    if kind in ("sequential", "unbuilt"):
        start = [keras.Input(shape, name="counts")] if kind == "sequential" else []
        scaled = [layers.Flatten(), layers.Normalization(), layers.Dropout(0.1)]
        return keras.Sequential([*start, *scaled, layers.Dense(4)])
    dtype = {"integers": "int16", "wide": "int32", "bytes": "int8"}.get(kind, "float32")
    name = "alleles" if kind == "stray" else "counts"
    counts = keras.Input((*shape, 1) if kind == "shaped" else shape, name=name, dtype=dtype)
    mask = keras.Input(spec["count_mask"].shape, name="count_mask", dtype="bool")
    x = layers.Flatten()(ops.cast(counts, "float32"))
    out = layers.Dense(4, dtype="mixed_float16" if kind == "half" else None)(x)
    if kind == "masked":
        return keras.Model([mask, counts], out * ops.any(mask, axis=1, keepdims=True))
    return keras.Model(counts if kind == "single" else {name: counts}, [out, out] if kind == "two" else out)
'''

GENERATOR = '''
import numpy as np

from ganinfer.interfaces import Info, RoundPlan, State


class PriorOnly:
    """Proposes from the prior for ever; the estimate is the proposal with the nearest mean."""

    api_version = "1"

    def __init__(self, *, proposals=4, stray=False):
        self.proposals, self.stray = proposals, stray
        self._parameters = None

    def plan(self, parameters, budget):
        windows = max(1, budget.simulated_windows // (self.proposals * budget.rounds))
        return tuple(RoundPlan(self.proposals, windows) for _ in range(budget.rounds))

    def init(self, parameters, rng):
        self._parameters = parameters
        values = {"rounds": (0,)} if self.stray else {"rounds": 0}
        return State({"bounds": parameters.bounds}, values)

    def propose(self, state, rng, k):
        if self.stray:
            return 2.0 * self._parameters.bounds[:, 1] * np.ones((k, 1))
        return self._parameters.sample(rng, k)

    def step(self, state, result, rng):
        fold = result.folds[0]
        means = [fold.statistics[fold.proposal == i].mean(axis=0) for i in range(len(fold.theta))]
        best = np.argmin(((np.array(means) - fold.real.mean(axis=0)) ** 2).sum(axis=1))
        spread = np.ptp(np.asarray(state.arrays["bounds"]), axis=1) / 4
        return State(state.arrays, {"rounds": 1}), Info(fold.theta[best], spread)
'''

ENTRY_POINTS = """
[ganinfer.simulators]
toy = toyplugins.simulators:Toy
toy-trees = toyplugins.simulators:Trees
toy-failing = toyplugins.simulators:Failing
toy-nonsense = toyplugins.simulators:Nonsense
toy-global = toyplugins.simulators:Global
toy-constant = toyplugins.simulators:Constant
toy-reusing = toyplugins.simulators:Reusing
toy-cached = toyplugins.simulators:Cached
toy-mutating = toyplugins.simulators:Mutating
toy-heavy = toyplugins.simulators:Heavy
toy-cornered = toyplugins.simulators:Cornered
toy-old = toyplugins.simulators:Old
toy-picky = toyplugins.simulators:Picky
toy-no-parameters = toyplugins.simulators:NoParameters
toy-other = toyplugins.simulators:Other
toy-broken = toyplugins.broken:Toy
toy-attribute = toyplugins.simulators:Nobody
toy-gone = toypluginsgone.simulators:Toy
toy-malformed = toyplugins.simulators Toy
toy-class = toyplugins:__doc__

[ganinfer.discriminators]
toy-net = toyplugins.net
toy-ordered = toyplugins.ordered
toy-classical = toyplugins.classical
toy-keras = toyplugins.kinds

[ganinfer.generators]
toy-prior = toyplugins.generator:PriorOnly

[ganinfer.demographies]
toy-demography = toyplugins.demography:constant
toy-number = toyplugins.demography:NUMBER
"""

DEMOGRAPHY = """
NUMBER = 7


def constant(N):
    import msprime

    return msprime.Demography.isolated_model([N])
"""


def install(folder: Path) -> Path:
    """The distribution toy-plugins 1.0 in ``folder``, as ``pip install --target`` would leave it."""
    write(folder / "toyplugins", "__init__.py", '"""Toys."""\n')
    modules = {
        "simulators": SIMULATORS,
        "broken": BROKEN,
        "net": DISCRIMINATOR,
        "ordered": ORDERED_DISCRIMINATOR,
        "classical": CLASSICAL_DISCRIMINATOR,
        "kinds": KERAS_DISCRIMINATOR,
        "generator": GENERATOR,
        "demography": DEMOGRAPHY,
    }
    for name, text in modules.items():
        write(folder / "toyplugins", f"{name}.py", text)
    return metadata(folder, "toy-plugins", "1.0", ENTRY_POINTS)


def metadata(folder: Path, name: str, version: str, points: str) -> Path:
    """What the packaging metadata of a distribution must hold to be found."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    write(info, "METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    write(info, "entry_points.txt", points)
    return folder


def write(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(dedent(text))
    return folder / name
