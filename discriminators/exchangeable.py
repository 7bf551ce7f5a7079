"""The default network: allele counts, haplotypes and linkage of one window, blind to the order of chromosomes.

The first branch sums a learned function of each site's allele counts over the window. The second reads the SNP matrix:
in parts of the window of several sizes, every chromosome is told how many chromosomes of each population are identical
to it there; functions of these numbers are averaged over each population's chromosomes, and convolutions run along the
parts. Chromosomes meet in symmetric sums only, as in Sanchez et al. (2021, doi:10.1111/1755-0998.13224), but the sums
are over *pairs* of chromosomes inside a part, which is where shared haplotypes and recombination show: convolutions
of single chromosomes, averaged over the sample, were tried and found neither.

Of tables whose loci hold several SNPs, a branch in the second's place looks at individuals (chromosomes, where phase is
known) locus by locus: each is a sum over its SNPs, a learned function of that sum is averaged over each population, and
one of these averages is summed over loci. It sees which alleles go together inside a locus; sums over SNPs do not.

Exact: the order of chromosomes inside populations, that of loci, and more padding, change nothing but the last digits.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
import tensorflow as tf

from ganinfer.interfaces import EncodingSpec

api_version = "1"
encodings = ("snp-matrix", "joint-counts")
#: Asked for beside these where loci hold several SNPs.
locus_encodings = ("locus-table",)
invariant = True

#: So many equal parts the window is cut into, each number a divisor of the last one.
PARTS = (1, 2, 6)
#: Rows are told apart at all sites, and at common ones only.
_SITE_SETS = 2
#: Hash weights repeat along the sites after so many.
_HASH_PERIOD = 64
#: Up to so many rows are compared pair by pair, more by sorting.
_FEW_ROWS = 100
#: Integer sums below 2**24 are exact in float32: 2,048 sites of haploid rows.
_HASH_LIMIT = 2**12
#: Its multiples are beyond every sum of weights.
_ABSENT = -(2.0**25)
_SITE_SCALE = 100.0
_LOCUS_ARRAYS = ("locus_genotypes", "locus_counts", "locus_called")
#: Of an allele frequency: rarer alleles weigh no more than one of a few hundred.
_LEAST_VARIANCE = 2e-3
#: Standard deviations from the simulated mean beyond which a feature of a part says no more.
_FAR = 10.0

register = keras.saving.register_keras_serializable(package="ganinfer")


@register
class SiteFunctional(keras.layers.Layer):
    """The sum over sites of a learned function of the allele counts in every population, over 100.

    Inputs ``counts`` and ``called`` (batch, sites, populations), ``count_mask`` (batch, sites); output (batch, units).
    The function is evaluated once for each distinct combination of counts in the batch. ``folded`` makes it symmetric
    in the two alleles.
    """

    def __init__(self, units: int, *, folded: bool, **kwargs: Any):
        super().__init__(**kwargs)
        self.units, self.folded = units, folded
        self._hidden = keras.layers.Dense(units, activation="gelu", name="hidden")
        self._output = keras.layers.Dense(units, activation="gelu", name="output")

    def build(self, input_shape: Any) -> None:
        num_populations = input_shape[0][-1]
        self._hidden.build((None, 8 * num_populations))
        self._output.build((None, self.units))
        self.built = True

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, int]:
        return (input_shape[0][0], self.units)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units, "folded": self.folded}

    def call(self, inputs: Sequence[Any]) -> Any:
        counts, called, mask = inputs
        shape = tf.shape(mask)
        table, index = _distinct(tf.cast(counts, tf.int64), tf.cast(called, tf.int64))
        derived, total = tf.cast(table[0], tf.float32), tf.cast(table[1], tf.float32)
        values = self._function(derived, total)
        if self.folded:
            values = 0.5 * (values + self._function(total - derived, total))
        weights = tf.cast(tf.reshape(mask, [-1]), tf.float32) / _SITE_SCALE
        window = tf.repeat(tf.range(shape[0]), shape[1])
        real = tf.where(weights > 0)[:, 0]
        cells = tf.stack([tf.cast(tf.gather(window, real), tf.int64), tf.gather(index, real)], axis=1)
        size = tf.cast(tf.stack([shape[0], tf.shape(values)[0]]), tf.int64)
        return tf.sparse.sparse_dense_matmul(tf.SparseTensor(cells, tf.gather(weights, real), size), values)

    def _function(self, derived: Any, called: Any) -> Any:
        return self._output(self._hidden(count_features(derived, called)))


def _distinct(counts: Any, called: Any) -> tuple[tuple[Any, Any], Any]:
    """Distinct rows of (batch, sites, populations) counts, as (rows, populations) twice, and each site's row."""
    num_populations = counts.shape[-1]
    flat_counts, flat_called = tf.reshape(counts, [-1, num_populations]), tf.reshape(called, [-1, num_populations])
    index = tf.zeros_like(flat_counts[:, 0])
    rows = index[:1]
    for i in range(num_populations):
        pairs, pair = tf.unique(flat_counts[:, i] * 2**20 + flat_called[:, i], out_idx=tf.int64)
        rows, index = tf.unique(index * tf.size(pairs, out_type=tf.int64) + pair, out_idx=tf.int64)
    first = tf.math.unsorted_segment_min(tf.range(tf.size(index)), index, tf.size(rows))
    return (tf.gather(flat_counts, first), tf.gather(flat_called, first)), index


def count_features(derived: Any, called: Any) -> Any:
    """Smooth features of counts (rows, populations): (rows, 8 x populations).

    Functions of the frequency and of small counts, so that a sample smaller than the training one means the same.
    """
    other = called - derived
    frequency = derived / tf.maximum(called, 1.0)
    features = [
        2.0 * frequency - 1.0,
        4.0 * frequency * (1.0 - frequency),
        1.0 / (1.0 + derived),
        1.0 / (1.0 + other),
        tf.exp(-derived),
        tf.exp(-other),
        tf.exp(-derived / 4.0),
        tf.exp(-other / 4.0),
    ]
    return tf.concat(features, axis=-1)


@register
class HaplotypeIdentity(keras.layers.Layer):
    """Who carries the same haplotype as how many others, in each part of the window.

    Inputs ``genotypes`` int8 (batch, rows, sites) and ``distances`` (batch, sites); output (batch, parts of all
    sizes, features). Two rows are identical in a part when they agree at all of its sites that are of a set: every
    site; those where the rarer allele makes up a tenth or more. Features are means over the rows of a population of
    functions of how many rows of each population are identical to it. ``rows`` are the
    rows of each population, ``ploidy`` the largest value of a genotype. A missing genotype counts as the commoner
    allele; rows without any genotype are left out.
    """

    def __init__(self, rows: Sequence[int], *, ploidy: int = 1, **kwargs: Any):
        super().__init__(**kwargs)
        self.rows, self.ploidy = list(rows), ploidy
        self._weights = np.random.default_rng(1).integers(1, _HASH_LIMIT, size=_HASH_PERIOD)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rows": self.rows, "ploidy": self.ploidy}

    def num_features(self) -> int:
        num = len(self.rows)
        return _SITE_SETS * (4 * num + 2 * num * (num - 1) + num * (num - 1) // 2) + 1

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, int, int]:
        return (input_shape[0][0], sum(PARTS), self.num_features())

    def call(self, inputs: Sequence[Any]) -> Any:
        genotypes, distances = inputs
        used = _used_sites(genotypes)
        genotypes, distances = genotypes[:, :, :used], distances[:, :used]
        known = genotypes > -128
        values = tf.cast(genotypes, tf.float32)
        total = tf.reduce_sum(tf.where(known, values, 0.0), axis=1)
        called = self.ploidy * tf.reduce_sum(tf.cast(known, tf.float32), axis=1)
        commoner = tf.where(total > 0, 1.0, -1.0) * self.ploidy
        alleles = tf.where(known, values, commoner[:, None, :])
        tenth = 0.5 * (called - tf.abs(total)) >= 0.1 * called
        member = part_members(distances, called)
        sums = self._hashes(alleles, member, tf.stack([tf.ones_like(total), tf.cast(tenth, tf.float32)], axis=-1))
        present = tf.transpose(tf.cast(tf.reduce_any(known, axis=2), tf.float32))[:, :, None]
        # An absent row gets a value that no other row has.
        absent = _ABSENT * tf.range(1.0, sum(self.rows) + 1.0)[:, None, None]
        features = self._features(identical_rows(tf.where(present > 0, sums, absent), self.rows), present)
        num_sites = _by_part(tf.reduce_sum(member, axis=1)[..., None])
        return tf.concat([features, tf.math.log1p(num_sites)], axis=-1)

    def _hashes(self, alleles: Any, member: Any, sets: Any) -> Any:
        """(rows, batch, parts x sets) sums of integer weights, equal where rows are."""
        num_sites, finest, rows = tf.shape(alleles)[2], PARTS[-1], sum(self.rows)
        weights = tf.gather(tf.constant(self._weights, tf.float32), tf.range(num_sites) % _HASH_PERIOD)
        spread = member[:, :, :, None] * (sets * weights[None, :, None])[:, :, None, :]
        spread = tf.reshape(spread, [-1, num_sites, finest * _SITE_SETS])
        sums = tf.matmul(spread, alleles, transpose_a=True, transpose_b=True)
        sums = _by_part(tf.reshape(sums, [-1, finest, _SITE_SETS * rows]))
        return tf.transpose(tf.reshape(sums, [-1, sum(PARTS) * _SITE_SETS, rows]), [2, 0, 1])

    def _features(self, counts: Sequence[Any], present: Any) -> Any:
        """(batch, parts, features) from how many rows of each population each row is identical to."""
        features = []
        everyone = tf.split(present, self.rows, axis=0)
        numbers = [tf.reduce_sum(there, axis=0) for there in everyone]
        for i, there in enumerate(everyone):
            own, *others = (tf.split(counts[j], self.rows, axis=0)[i] for j in _first(i, len(self.rows)))
            own = tf.maximum(own, 1.0)
            values = [(own - 1.0) / tf.maximum(numbers[i] - 1.0, 1.0), 1.0 / own]
            values += [tf.cast(own < 1.5, tf.float32), tf.cast(tf.abs(own - 2.0) < 0.5, tf.float32)]
            for j, other in zip(_first(i, len(self.rows))[1:], others, strict=True):
                shared = tf.cast(other > 0.5, tf.float32)
                values += [shared, shared / own]
                if j < i:
                    values.append(other / tf.maximum(numbers[j], 1.0))
            weight = there / tf.maximum(numbers[i], 1.0)
            features += [tf.reduce_sum(value * weight, axis=0) for value in values]
        together = tf.stack([tf.reshape(f, [-1, sum(PARTS), _SITE_SETS]) for f in features], axis=-1)
        return tf.reshape(together, [-1, sum(PARTS), self.num_features() - 1])


def _first(i: int, size: int) -> list[int]:
    return [i, *(j for j in range(size) if j != i)]


def identical_rows(values: Any, rows: Sequence[int], *, few: int = _FEW_ROWS) -> list[Any]:
    """For each population, in how many of its rows ``values`` (rows, ...) is the same as in each row."""
    groups = tf.split(values, list(rows), axis=0)
    if sum(rows) <= few:
        return [tf.add_n([tf.cast(tf.equal(values, row), tf.float32) for row in tf.unstack(g)]) for g in groups]
    by_place = tf.transpose(tf.reshape(values, [sum(rows), -1]))
    counts = []
    for group in tf.split(by_place, list(rows), axis=1):
        ordered = tf.sort(group, axis=1)
        number = tf.searchsorted(ordered, by_place, side="right") - tf.searchsorted(ordered, by_place, side="left")
        counts.append(tf.reshape(tf.transpose(tf.cast(number, tf.float32)), tf.shape(values)))
    return counts


def _used_sites(genotypes: Any) -> Any:
    """Sites up to the last at which any window of the batch has a genotype; the rest is padding."""
    used = tf.reduce_any(genotypes > -128, axis=[0, 1])
    return tf.reduce_max(tf.where(used, tf.range(tf.size(used)) + 1, 0))


def part_members(distances: Any, called: Any) -> Any:
    """(batch, sites, finest parts) 1 where a site lies in a part; padding in none."""
    finest = PARTS[-1]
    part = tf.minimum(tf.cast(tf.cumsum(distances, axis=1) * finest, tf.int32), finest - 1)
    return tf.one_hot(tf.where(called > 0, part, -1), finest, dtype=tf.float32)


def _by_part(finest: Any) -> Any:
    """(batch, parts of all sizes, k) sums from those of the finest parts (batch, finest, k)."""
    width = finest.shape[-1]
    scales = [tf.reshape(finest, [-1, parts, PARTS[-1] // parts, width]) for parts in PARTS]
    return tf.concat([tf.reduce_sum(scale, axis=2) for scale in scales], axis=1)


@register
class PartConvolution(keras.layers.Layer):
    """Convolutions along the parts of each size, averaged over them beside the features themselves.

    Input (batch, parts of all sizes, features); output (batch, sizes x (features + units)).
    """

    def __init__(self, units: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.units = units
        self._convolutions = [
            keras.layers.Conv1D(units, min(3, parts), padding="same", activation="gelu", name=f"parts_{parts}")
            for parts in PARTS
        ]

    def build(self, input_shape: Any) -> None:
        for layer, parts in zip(self._convolutions, PARTS, strict=True):
            layer.build((None, parts, input_shape[-1]))
        self.built = True

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, int]:
        return (input_shape[0], len(PARTS) * (input_shape[-1] + self.units))

    def call(self, inputs: Any) -> Any:
        means = []
        inputs = tf.clip_by_value(inputs, -_FAR, _FAR)
        for layer, part in zip(self._convolutions, tf.split(inputs, list(PARTS), axis=1), strict=True):
            means += [tf.reduce_mean(part, axis=1), tf.reduce_mean(layer(part), axis=1)]
        return tf.concat(means, axis=-1)


@register
class IndividualsInLoci(keras.layers.Layer):
    """The sum over loci, over 100, of a learned function of what each population's individuals are there.

    Inputs ``locus_genotypes`` int8 (batch, loci, SNPs, rows), ``locus_counts`` and ``locus_called`` (batch, loci, SNPs,
    populations); output (batch, units). An individual is, in a locus, the sum over SNPs of its genotype, less its
    population's mean and in units of the binomial standard deviation, times ``channels`` learned functions of the SNP's
    allele counts. A layer of these numbers is averaged over the individuals of each of the populations, whose ``rows``
    follow each other; a further one sees all averages of the locus. ``ploidy`` is the largest value of a genotype;
    missing ones count as the mean, and loci with less than two SNPs not at all. ``folded`` makes it the same whichever
    allele is counted.
    """

    def __init__(self, units: int, channels: int, rows: Sequence[int], *, ploidy: int, folded: bool, **kwargs: Any):
        super().__init__(**kwargs)
        self.units, self.channels, self.rows = units, channels, list(rows)
        self.ploidy, self.folded = ploidy, folded
        self._sites = keras.layers.Dense(channels, activation="gelu", name="sites")
        self._loadings = keras.layers.Dense(channels, name="loadings")
        self._members = keras.layers.Dense(2 * channels, activation="gelu", name="members")
        self._output = keras.layers.Dense(units, activation="gelu", name="output")

    def build(self, input_shape: Any) -> None:
        populations = len(self.rows)
        self._sites.build((None, 8 * populations))
        self._loadings.build((None, self.channels))
        self._members.build((None, self.channels))
        self._output.build((None, 2 * self.channels * populations))
        self.built = True

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, int]:
        return (input_shape[0][0], self.units)

    def get_config(self) -> dict[str, Any]:
        own = {"units": self.units, "channels": self.channels, "rows": self.rows}
        return {**super().get_config(), **own, "ploidy": self.ploidy, "folded": self.folded}

    def call(self, inputs: Sequence[Any]) -> Any:
        genotypes, counts, called = inputs
        there = tf.reduce_any(called > 0, axis=-1)
        derived, total = tf.cast(counts, tf.float32), tf.cast(called, tf.float32)
        loadings = self._loadings_of(derived, total)
        if self.folded:
            # Counting the other allele turns the sign of every genotype, and of its loading: nothing changes.
            loadings = loadings - self._loadings_of(total - derived, total)
        loadings = tf.where(there[..., None], loadings, 0.0)
        means = []
        values = tf.split(genotypes, self.rows, axis=-1)
        for mine, x, n in zip(values, tf.unstack(derived, axis=-1), tf.unstack(total, axis=-1), strict=True):
            sums = tf.einsum("blsr,blsk->blrk", self._standardised(mine, x / tf.maximum(n, 1.0)), loadings)
            means.append(tf.reduce_mean(self._members(sums), axis=2))
        several = tf.cast(tf.reduce_sum(tf.cast(there, tf.int32), axis=2) > 1, tf.float32)
        return tf.einsum("bl,blu->bu", several, self._output(tf.concat(means, axis=-1))) / _SITE_SCALE

    def _loadings_of(self, derived: Any, called: Any) -> Any:
        """(batch, loci, SNPs, channels) of the allele counts (batch, loci, SNPs, populations)."""
        return self._loadings(self._sites(count_features(derived, called)))

    def _standardised(self, genotypes: Any, frequency: Any) -> Any:
        """Genotypes (batch, loci, SNPs, rows) about the mean of frequency (batch, loci, SNPs), missing ones 0."""
        dosage = 0.5 * (tf.cast(genotypes, tf.float32) + self.ploidy)
        deviation = tf.sqrt(self.ploidy * tf.maximum(frequency * (1.0 - frequency), _LEAST_VARIANCE))
        centred = (dosage - self.ploidy * frequency[..., None]) / deviation[..., None]
        return tf.where(genotypes > -128, centred, 0.0)


def build(
    spec: Mapping[str, EncodingSpec],
    *,
    width: int = 48,
    units: int = 48,
    channels: int = 16,
    cnn: bool | None = None,
    individuals: bool | None = None,
) -> keras.Model:
    """The network for ``spec``: named inputs to an embedding (batch, ``width``).

    ``units`` is the width of what is learned of a site's counts, ``channels`` that of a convolution along the window,
    and of what is learned of a locus; ``cnn`` false leaves the SNP matrix's branch out; by default it is there where
    there are distances along a window. ``individuals`` false leaves out the branch on individuals in loci; by default
    it is there where loci hold several SNPs.
    """
    if cnn is None:
        cnn = "distances" in spec
    if individuals is None:
        individuals = "locus_genotypes" in spec
    names = ("counts", "called", "count_mask", *(("genotypes", "distances") if cnn else ()))
    names += _LOCUS_ARRAYS if individuals else ()
    inputs = {name: keras.Input(shape=spec[name].shape, dtype=spec[name].dtype, name=name) for name in names}
    details = spec["counts"].details
    functional = SiteFunctional(units, folded=bool(details["folded"]), name="sites")
    branches = [functional([inputs["counts"], inputs["called"], inputs["count_mask"]])]
    if cnn:
        identity = HaplotypeIdentity(details["rows"], ploidy=details["ploidy"], name="identity")
        parts = identity([inputs["genotypes"], inputs["distances"]])
        parts = keras.layers.Normalization(axis=(1, 2), name="scale_parts")(parts)
        branches.append(PartConvolution(channels, name="parts")(parts))
    if individuals:
        # Narrow: a wider one learned no more from some hundred tables, and forgot less of them.
        members = IndividualsInLoci(
            channels,
            max(channels // 2, 1),
            details["rows"],
            ploidy=details["ploidy"],
            folded=bool(details["folded"]),
            name="loci",
        )
        branches.append(members([inputs[name] for name in _LOCUS_ARRAYS]))
    branches = [keras.layers.Normalization(name=f"scale_{i}")(branch) for i, branch in enumerate(branches)]
    features = keras.layers.Concatenate(name="features")(branches) if len(branches) > 1 else branches[0]
    hidden = keras.layers.Dense(2 * width, activation="gelu", name="hidden")(features)
    linear = keras.layers.Dense(width, name="linear")(features)
    curved = keras.layers.Dense(width, use_bias=False, name="curved")(hidden)
    return keras.Model(inputs, keras.layers.Add(name="embedding")([linear, curved]), name="exchangeable")
