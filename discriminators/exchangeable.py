"""The default network: allele counts, haplotypes and linkage of one window, blind to the order of chromosomes.

Two branches see every site. The first sums a learned function of each site's allele counts over the window. The
second reads the SNP matrix: each chromosome is run through the same features along the genome, chromosomes meet only
in symmetric sums inside their population (as in Sanchez et al. 2021, doi:10.1111/1755-0998.13224), and what the sums
say is passed on, location by location. Products of such sums are what tells haplotypes and linkage: for random
features exp(i w.x), the squared modulus of their mean over chromosomes is the mean of a kernel over *pairs* of
chromosomes (Rahimi and Recht 2007), at a cost linear in the sample.

Exact: order of chromosomes inside populations, and more padding, change nothing but the last digits. Means over
pairs leave a chromosome's pair with itself out, so that statistics of smaller samples mean the same.
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
invariant = True

#: Parts into which a window is cut, each divides the last one.
PARTS = (1, 2, 5, 10)
#: Parts up to this many are searched for identical chromosomes, pair by pair.
IDENTITY_PARTS = 5
#: Standard deviations of the random features' frequencies: from a few differences between two chromosomes to one.
FREQUENCIES = (0.3, 0.7, 1.5)
#: Sites this many steps apart are compared for linkage.
LAGS = (1, 2, 4, 8, 16, 32)
_HASH_PERIOD = 64
#: Integer sums below 2**24 are exact in float32: 2,048 sites of haploid rows.
_HASH_LIMIT = 2**12
_SITE_SCALE = 100.0

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
class HaplotypeKernels(keras.layers.Layer):
    """Kernels between chromosomes in each part of the window, averaged over pairs of chromosomes.

    Inputs ``genotypes`` int8 (batch, rows, sites) and ``distances`` (batch, sites); output (batch, parts of all
    sizes, features). ``rows`` are the rows of each population, ``channels`` the random features of a frequency.
    """

    def __init__(self, rows: Sequence[int], *, channels: int = 16, seed: int = 1, **kwargs: Any):
        super().__init__(**kwargs)
        self.rows, self.channels, self.seed = list(rows), channels, seed

    def build(self, input_shape: Any) -> None:
        rng = np.random.default_rng(self.seed)
        phases = rng.normal(size=(_HASH_PERIOD, self.channels))
        hashes = rng.integers(1, _HASH_LIMIT, size=(_HASH_PERIOD, 1))
        table = np.concatenate([phases, hashes], axis=1).astype(np.float32)
        self.table = self.add_weight(
            name="table", shape=table.shape, initializer=lambda *_, **__: table, trainable=False
        )
        self.built = True

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rows": self.rows, "channels": self.channels, "seed": self.seed}

    def num_features(self) -> int:
        pairs = len(self.rows) * (len(self.rows) + 1) // 2
        return pairs * len(FREQUENCIES) + 1

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, int, int]:
        return (input_shape[0][0], sum(PARTS), self.num_features())

    def call(self, inputs: Sequence[Any]) -> Any:
        genotypes, distances = inputs
        sites = genotypes.shape[2]
        known = tf.cast(genotypes > -128, tf.float32)
        alleles = tf.cast(genotypes, tf.float32) * known
        finest = PARTS[-1]
        position = tf.cumsum(distances, axis=1)
        part = tf.minimum(tf.cast(position * finest, tf.int32), finest - 1)
        member = tf.one_hot(part, finest, dtype=tf.float32) * tf.reduce_max(known, axis=1)[:, :, None]
        table = tf.gather(self.table, np.arange(sites) % _HASH_PERIOD)
        width = self.channels + 1
        spread = tf.reshape(member[:, :, :, None] * table[None, :, None, :], [-1, sites, finest * width])
        sums = tf.reshape(alleles @ spread, [-1, sum(self.rows), finest, width])
        called = known @ member
        num_sites = tf.reduce_sum(member, axis=1)
        share = tf.reduce_mean(known, axis=2, keepdims=True) / tf.maximum(
            tf.reduce_mean(tf.reduce_max(known, axis=1), axis=1)[:, None, None], 1e-9
        )
        return tf.concat([self._of_scale(sums, called, num_sites, share, parts) for parts in PARTS], axis=1)

    def _of_scale(self, sums: Any, called: Any, num_sites: Any, share: Any, parts: int) -> Any:
        rows, finest, width = sum(self.rows), PARTS[-1], self.channels + 1
        sums = tf.reduce_sum(tf.reshape(sums, [-1, rows, parts, finest // parts, width]), axis=3)
        called = tf.reduce_sum(tf.reshape(called, [-1, rows, parts, finest // parts]), axis=3)
        num_sites = tf.reduce_sum(tf.reshape(num_sites, [-1, parts, finest // parts]), axis=2)
        weights = (called + share) / (num_sites[:, None, :] + 1.0)
        features = [tf.math.log1p(num_sites)[:, :, None] / 4.0]
        for frequency in FREQUENCIES:
            features.append(self._kernels(frequency * sums[..., :-1], weights))
        return tf.concat(features, axis=-1)

    def _kernels(self, angles: Any, weights: Any) -> Any:
        """(batch, parts, pairs of populations) mean kernels of angles (batch, rows, parts, channels)."""
        real = tf.split(tf.cos(angles) * weights[..., None], self.rows, axis=1)
        imaginary = tf.split(tf.sin(angles) * weights[..., None], self.rows, axis=1)
        real, imaginary = [tf.reduce_sum(x, axis=1) for x in real], [tf.reduce_sum(x, axis=1) for x in imaginary]
        groups = tf.split(weights, self.rows, axis=1)
        total = [tf.reduce_sum(w, axis=1) for w in groups]
        itself = [tf.reduce_sum(w * w, axis=1) for w in groups]
        kernels = []
        for i in range(len(self.rows)):
            for j in range(i + 1):
                product = tf.reduce_mean(real[i] * real[j] + imaginary[i] * imaginary[j], axis=-1)
                own = itself[i] if i == j else 0.0
                kernels.append((product - own) / tf.maximum(total[i] * total[j] - own, 1e-6))
        return tf.stack(kernels, axis=-1)


@register
class PairFunctional(keras.layers.Layer):
    """The mean over pairs of sites of a learned function of their two-site allele counts and distance.

    What Hudson (2001, doi:10.1093/genetics/159.4.1805) tabulates for one population, learned for any. Inputs
    ``genotypes`` int8 (batch, rows, sites) and ``distances`` (batch, sites); output (batch, units). At most ``limit``
    sites, evenly spaced among those whose rarer allele is seen twice or more; pairs are ``LAGS`` such sites apart.
    """

    def __init__(self, rows: Sequence[int], units: int, *, ploidy: int = 1, limit: int = 64, **kwargs: Any):
        super().__init__(**kwargs)
        self.rows, self.units, self.ploidy, self.limit = list(rows), units, ploidy, limit
        self._hidden = keras.layers.Dense(units, activation="gelu", name="hidden")
        self._output = keras.layers.Dense(units, activation="gelu", name="output")
        lags = [lag for lag in LAGS if lag < limit]
        self._left = np.concatenate([np.arange(limit - lag) for lag in lags])
        self._right = np.concatenate([np.arange(lag, limit) for lag in lags])

    def build(self, input_shape: Any) -> None:
        self._hidden.build((None, None, 5 * len(self.rows) + 3))
        self._output.build((None, None, self.units))
        self.built = True

    def get_config(self) -> dict[str, Any]:
        own = {"rows": self.rows, "units": self.units, "ploidy": self.ploidy, "limit": self.limit}
        return {**super().get_config(), **own}

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, int]:
        return (input_shape[0][0], self.units)

    def call(self, inputs: Sequence[Any]) -> Any:
        genotypes, distances = inputs
        known = tf.cast(genotypes > -128, tf.float32)
        alleles = tf.cast(genotypes, tf.float32) * known / self.ploidy
        chosen = self._chosen(alleles, known)
        position = tf.cumsum(distances, axis=1)[:, None, :] @ chosen
        alleles, known = alleles @ chosen, known @ chosen
        features, present = [], 1.0
        for x, called in zip(tf.split(alleles, self.rows, 1), tf.split(known, self.rows, 1), strict=True):
            features += self._two_site(x, called)
        apart = tf.gather(position[:, 0], self._right, axis=1) - tf.gather(position[:, 0], self._left, axis=1)
        features += [tf.math.log(tf.maximum(apart, 0.0) + 1e-3) + 3.0, apart, tf.exp(-apart / 0.05)]
        values = self._output(self._hidden(tf.stack(features, axis=-1)))
        there = tf.reduce_max(known, axis=1)
        present = tf.gather(there, self._left, axis=1) * tf.gather(there, self._right, axis=1)
        return tf.reduce_sum(values * present[..., None], axis=1) / (tf.reduce_sum(present, axis=1)[:, None] + 10.0)

    def _chosen(self, alleles: Any, known: Any) -> Any:
        """(batch, sites, limit) 1 where a site is the one put in a place."""
        called = tf.reduce_sum(known, axis=1)
        surplus = tf.abs(tf.reduce_sum(alleles, axis=1))
        # An allele seen once in m haploid rows leaves |sum| = m - 2; twice, m - 4.
        common = tf.cast(self.ploidy * (called - surplus) > 3.0, tf.float32) * tf.cast(called > 0, tf.float32)
        rank = tf.cumsum(common, axis=1) - common
        spacing = tf.maximum(tf.reduce_sum(common, axis=1, keepdims=True) / self.limit, 1.0)
        place = tf.math.floor(rank / spacing)
        starts = tf.cast(tf.math.floor((rank - 1.0) / spacing) < place, tf.float32)
        return tf.one_hot(tf.cast(place, tf.int32), self.limit) * (common * starts)[:, :, None]

    def _two_site(self, x: Any, called: Any) -> list[Any]:
        """Frequencies, covariance and squared correlation of each pair in one population: four (batch, pairs)."""
        number = tf.maximum(tf.reduce_sum(called, axis=1), 1.0)
        mean = tf.reduce_sum(x, axis=1) / number
        both = tf.matmul(called, called, transpose_a=True)
        product = tf.matmul(x, x, transpose_a=True) / tf.maximum(both, 1.0)
        covariance = product - mean[:, :, None] * mean[:, None, :]
        variance = 1.0 - mean * mean
        r2 = covariance**2 / tf.maximum(variance[:, :, None] * variance[:, None, :], 1e-3)
        index = self._left * self.limit + self._right
        left, right = tf.gather(mean, self._left, axis=1), tf.gather(mean, self._right, axis=1)
        pairs = [tf.gather(tf.reshape(v, [-1, self.limit**2]), index, axis=1) for v in (covariance, r2)]
        return [left + right, left * right, tf.abs(left - right), *pairs]


@register
class PartSummary(keras.layers.Layer):
    """Features of the parts of a window, averaged over the parts of each size: themselves and learned functions.

    Input (batch, parts of all sizes, features); output (batch, sizes x (features + units)).
    """

    def __init__(self, units: int = 16, **kwargs: Any):
        super().__init__(**kwargs)
        self.units = units
        self._hidden = [keras.layers.Dense(units, activation="gelu", name=f"hidden_{parts}") for parts in PARTS]

    def build(self, input_shape: Any) -> None:
        for layer in self._hidden:
            layer.build((None, None, input_shape[-1]))
        self.built = True

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, int]:
        return (input_shape[0], len(PARTS) * (input_shape[-1] + self.units))

    def call(self, inputs: Any) -> Any:
        means = []
        for layer, part in zip(self._hidden, tf.split(inputs, list(PARTS), axis=1), strict=True):
            means += [tf.reduce_mean(part, axis=1), tf.reduce_mean(layer(part), axis=1)]
        return tf.concat(means, axis=-1)


def build(spec: Mapping[str, EncodingSpec], *, width: int = 48, units: int = 48, cnn: bool = True) -> keras.Model:
    """The network for ``spec``: named inputs to an embedding (batch, ``width``).

    ``cnn`` false leaves the SNP matrix's branch out; ``units`` is the width of what a branch learns of a site.
    """
    inputs = {
        name: keras.Input(shape=spec[name].shape, dtype=spec[name].dtype, name=name)
        for name in ("counts", "called", "count_mask", *(("genotypes", "distances") if cnn else ()))
    }
    details = spec["counts"].details
    functional = SiteFunctional(units, folded=bool(details["folded"]), name="sites")
    branches = [functional([inputs["counts"], inputs["called"], inputs["count_mask"]])]
    if cnn:
        matrix = [inputs["genotypes"], inputs["distances"]]
        kernels = HaplotypeKernels(details["rows"], name="kernels")(matrix)
        branches.append(PartSummary(name="parts")(kernels))
        branches.append(PairFunctional(details["rows"], units, ploidy=details["ploidy"], name="pairs")(matrix))
    branches = [keras.layers.Normalization(name=f"scale_{i}")(branch) for i, branch in enumerate(branches)]
    features = keras.layers.Concatenate(name="features")(branches) if len(branches) > 1 else branches[0]
    hidden = keras.layers.Dense(2 * width, activation="gelu", name="hidden")(features)
    linear = keras.layers.Dense(width, name="linear")(features)
    curved = keras.layers.Dense(width, use_bias=False, name="curved")(hidden)
    embedding = keras.layers.Add(name="embedding")([linear, curved])
    return keras.Model(inputs, embedding, name="exchangeable")
