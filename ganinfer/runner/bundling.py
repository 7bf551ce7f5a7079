"""Bundles: trained networks with all that is needed to judge new data of their design. No code, no pickles.

A bundle is a folder: Keras files, arrays, JSON. ``bundle.json`` says what it is and holds the digest of every other
file, which is checked before one of them is read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ganinfer import plugins, scenarios, simulation, storage
from ganinfer.calibration import Calibration
from ganinfer.genomes import RealTable
from ganinfer.haplotypes import Haplotypes, SampleSet
from ganinfer.interfaces import Genealogies, LociTemplate, SiteRule
from ganinfer.parameters import Parameter, Parameters, Prior
from ganinfer.pipeline import PipelineSettings
from ganinfer.refining import Refiner
from ganinfer.runner import assembling

FORMAT_VERSION = 1
_ABOUT = "bundle.json"
_ARRAYS = "arrays.npz"
_NETWORKS = "networks"
_REFINER = "refiner-"
#: Packages without whose very version networks may say something else, or not load.
_DECISIVE = ("keras", "tensorflow")


class BundleError(ValueError):
    """A bundle is damaged, was changed, or was made for something else."""


@dataclass(frozen=True, eq=False)
class Bundle:
    """Networks and what they said of the simulations that trained others of them; ``about``: bundle.json.

    ``setup`` is that of the first scenario: its encodings and pipeline are all scenarios'.
    """

    about: Mapping[str, Any]
    scenarios: tuple[Any, ...]
    template: LociTemplate
    simulations: Any
    trained: Any

    @property
    def setup(self) -> simulation.Setup:
        setup: simulation.Setup = self.scenarios[0].setup
        return setup

    @cached_property
    def references(self) -> list[Any]:
        """What each scenario's simulations look like (see :mod:`ganinfer.adequacy`)."""
        from ganinfer import comparison

        return list(comparison.references(self.simulations, self.trained, scenarios.families(self.setup)))

    @property
    def num_snps(self) -> int:
        """SNPs that the networks' arrays hold."""
        return int(self.about["num_snps"])


def write(folder: Path, plan: Any, simulated: Any, trained: Any, tested: Mapping[str, Any]) -> None:
    """Write what :func:`read` reads into ``folder``, which appears as a whole; ``tested``: how good it is on tests."""
    from ganinfer.training import scenarios as networks

    def make(path: Path) -> None:
        path.mkdir()
        (path / _NETWORKS).mkdir()
        networks.save(trained.networks, path / _NETWORKS)
        template = plan.table.template
        arrays = {
            "locus": template.locus,
            **({} if template.missing is None else {"missing": template.missing}),
            **({} if template.lengths is None else {"lengths": template.lengths}),
            "scenario": simulated.sets.scenario,
            "targets": simulated.sets.targets,
            scenarios.STATISTICS: simulated.statistics().astype(np.float32),
            "fold": trained.fold,
            "logits": trained.logits,
            **{f"predicted-{i}": p for i, p in enumerate(trained.predicted)},
            **{f"{_REFINER}{i}-{k}": a for i, r in enumerate(trained.refiners) for k, a in r.arrays().items()},
        }
        np.savez_compressed(path / _ARRAYS, allow_pickle=False, **arrays)
        about = _about(plan, trained)
        about["tested"] = dict(tested)
        about["files"] = {name: _digest(path / name) for name in _files(path)}
        (path / _ABOUT).write_text(json.dumps(about, indent=1), encoding="utf-8")

    storage.replace(folder, make)


def _about(plan: Any, trained: Any) -> dict[str, Any]:
    setup, network = plan.scenarios[0].setup, plan.experiment.discriminator
    return {
        "schema_version": FORMAT_VERSION,
        "kind": "loci",
        "name": plan.experiment.name,
        "discriminator": {"name": network.name, "options": dict(network.options)},
        "scenarios": [
            {"name": s.name, "weight": s.weight, "parameters": [asdict(p) for p in s.parameters]}
            for s in plan.scenarios
        ],
        "samples": [asdict(s) for s in setup.samples],
        "pipeline": asdict(setup.pipeline),
        "genealogies": plan.table.template.genealogies,
        "min_call_rate": plan.experiment.loci.min_call_rate,
        "encodings": [name for name, _ in setup.encoders],
        "encoding_options": {name: dict(options) for name, options in setup.encoders if options},
        "statistics": scenarios.definitions(setup),
        "num_snps": setup.num_sites,
        "calibration": asdict(trained.calibration),
        "level": plan.experiment.level,
        "versions": assembling.versions(),
    }


def _files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and p.name != _ABOUT)


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read(folder: Path) -> Bundle:
    """A bundle whose files are those that were written; nothing but Keras' own and installed layers is executed.

    Raises :class:`BundleError` where something is missing, was changed, or is of another version.
    """
    about = _checked(folder)
    _check_versions(about, folder)
    with np.load(folder / _ARRAYS, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    try:
        return _assembled(about, arrays, folder)
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, plugins.PluginError | BundleError):
            raise
        raise BundleError(f"{folder} cannot be read: {type(error).__name__}: {error}") from error


def _checked(folder: Path) -> dict[str, Any]:
    """bundle.json, once every file has the digest that stands there."""
    path = folder / _ABOUT
    if not path.is_file():
        raise BundleError(f"{folder} is no bundle: it has no {_ABOUT}; name a folder that ganinfer train wrote")
    try:
        about: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        version, files = about["schema_version"], dict(about["files"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path} is damaged: {type(error).__name__}: {error}") from error
    if version != FORMAT_VERSION:
        raise BundleError(f"{folder} has format {version!r}, this ganinfer reads {FORMAT_VERSION}; train it again")
    if about.get("kind") != "loci":
        raise BundleError(f"{folder} is about {about.get('kind')!r}; loci can be judged")
    for name, digest in files.items():
        if ".." in Path(name).parts or Path(name).is_absolute():
            raise BundleError(f"{path} names a file outside the bundle: {name}")
        if not (folder / name).is_file():
            raise BundleError(f"{folder} is incomplete: {name} is missing")
        if _digest(folder / name) != digest:
            raise BundleError(f"{folder / name} is not what was written: it is truncated or was changed")
    extra = [name for name in _files(folder) if name not in files]
    if extra:
        raise BundleError(f"{folder} holds files that do not belong to it: {', '.join(extra[:3])}")
    return about


def _check_versions(about: Mapping[str, Any], folder: Path) -> None:
    written, here = about.get("versions") or {}, assembling.versions()
    for name in _DECISIVE:
        before, now = str(written.get(name, "")).split("."), str(here.get(name, "")).split(".")
        if before[:2] != now[:2]:
            raise BundleError(
                f"{folder} was made with {name} {written.get(name)}, here is {here.get(name)}: install that version, "
                "or train the bundle again"
            )


def _assembled(about: Mapping[str, Any], arrays: Mapping[str, np.ndarray], folder: Path) -> Bundle:
    from ganinfer import comparison
    from ganinfer.training import scenarios as networks

    samples = tuple(SampleSet(**s) for s in about["samples"])
    pipeline = PipelineSettings(**about["pipeline"])
    rule = SiteRule(pipeline.folded, pipeline.singletons, pipeline.min_minor_frequency)
    lengths = arrays.get("lengths")
    call_rate = 0.0 if lengths is None else about["min_call_rate"]
    template = LociTemplate(arrays["locus"], arrays.get("missing"), about["genealogies"], rule, lengths, call_rate)
    options = about.get("encoding_options", {})
    encoders = tuple((name, options.get(name, {})) for name in about["encodings"])
    size = int(about["num_snps"])
    setup = simulation.Setup("", {}, samples, pipeline, encoders, max(size, 1), size, kind="loci")
    if about["statistics"] != scenarios.definitions(setup):
        raise BundleError(f"{folder} knows other classical statistics than this ganinfer computes; train it again")
    made = tuple(
        scenarios.Scenario(s["name"], setup, Parameters(tuple(map(_parameter, s["parameters"]))), s["weight"])
        for s in about["scenarios"]
    )
    sets = networks.DataSets(
        {scenarios.STATISTICS: arrays[scenarios.STATISTICS]}, arrays["scenario"], arrays["targets"]
    )
    predicted = tuple(arrays[f"predicted-{i}"] for i in range(len(made)))
    trained = comparison.Trained(
        networks.load(folder / _NETWORKS),
        arrays["fold"],
        arrays["logits"],
        predicted,
        Calibration(**about["calibration"]),
        refiners=tuple(_refiner(arrays, i) for i in range(len(made))),
    )
    return Bundle(about, made, template, comparison.Simulations(sets), trained)


def _refiner(arrays: Mapping[str, np.ndarray], scenario: int) -> Refiner:
    prefix = f"{_REFINER}{scenario}-"
    return Refiner.from_arrays({n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)})


def _parameter(values: Mapping[str, Any]) -> Parameter:
    prior = values["prior"]
    return Parameter(**{**values, "prior": None if prior is None else Prior(**prior)})


@dataclass(frozen=True)
class Asked:
    """How a file wants its table of SNPs looked at, which has to agree with the bundle's design."""

    pipeline: PipelineSettings
    genealogies: Genealogies
    min_call_rate: float


def differences(bundle: Bundle, table: RealTable, left: Haplotypes, asked: Asked) -> list[str]:
    """What keeps a table from being judged by the bundle, in sentences; none where it is of its design.

    ``left``: what the bundle's filters leave of it.
    """
    num_snps, template = left.num_sites, bundle.template
    out = [*_other_samples(bundle, table.samples), *_other_settings(bundle, asked)]
    if bundle.setup.pipeline.phased and not asked.pipeline.phased:
        out.append("the networks were trained for phased chromosomes (data.phased), the table is read without phase")
    if template.lengths is not None:
        return out + _other_lengths(template.lengths, table.lengths)
    out += _other_loci(bundle, table)
    if num_snps < bundle.num_snps:
        out.append(
            f"the networks were trained for {bundle.num_snps:,} SNPs, {num_snps:,} of the table can be used: train a "
            "bundle for as many, or compare by ganinfer run"
        )
    elif template.most_snps > 1 and not out:
        out += _other_sizes(np.bincount(template.locus), np.bincount(left.positions))
    return out


def _other_samples(bundle: Bundle, samples: Sequence[SampleSet]) -> list[str]:
    wanted, given = tuple(bundle.setup.samples), tuple(samples)
    if given == wanted:
        return []

    def told(sets: Sequence[SampleSet]) -> str:
        ago = (f" {s.time:g} generations ago" if s.time else "" for s in sets)
        return ", ".join(
            f"{s.num_individuals} {s.population} of ploidy {s.ploidy}{t}" for s, t in zip(sets, ago, strict=True)
        )

    return [f"the networks were trained for {told(wanted)} individuals, the table has {told(given)}"]


def _other_settings(bundle: Bundle, asked: Asked) -> list[str]:
    """Filters are applied on both sides, so other ones make other data."""
    before = Asked(bundle.setup.pipeline, bundle.template.genealogies, bundle.about["min_call_rate"])
    out = []
    if asked.pipeline.folded != before.pipeline.folded:
        said = {True: "unknown (folded)", False: "known"}
        told = said[before.pipeline.folded], said[asked.pipeline.folded]
        out.append(f"ancestral alleles (data.ancestral) were {told[0]} in training, and are {told[1]} in the table")
    trained, now = _by_key(before), _by_key(asked)
    return out + [
        f"{key} was {value} in training, and is {now[key]} for the table: read it alike with --set {key}={value}, or "
        "train another bundle"
        for key, value in trained.items()
        if now[key] != value
    ]


def _by_key(asked: Asked) -> dict[str, Any]:
    """Settings that have to agree, as an experiment calls them."""
    return {
        "data.singletons": asked.pipeline.singletons,
        "loci.genealogies": asked.genealogies,
        "loci.min_minor_frequency": asked.pipeline.min_minor_frequency,
        "loci.min_call_rate": asked.min_call_rate,
    }


def _other_loci(bundle: Bundle, table: RealTable) -> list[str]:
    """SNPs of one locus share a genealogy: several of each are other data than one."""
    single = bundle.template.length == bundle.num_snps
    mine = len(np.unique(table.haplotypes.positions)) == table.haplotypes.num_sites
    if single == mine:
        return []
    said = {True: "one SNP of each locus", False: "several SNPs of a locus"}
    remedy = "; read one of each with --set loci.per_locus=one" if single else ""
    return [f"the networks were trained on {said[single]}, the table has {said[mine]}{remedy}"]


def _other_sizes(trained: np.ndarray, given: np.ndarray) -> list[str]:
    """That fewer loci have as many SNPs as in training, as a sentence."""
    return [
        f"the networks were trained for {int((trained == size).sum()):,} loci of {size} SNPs, the table has "
        f"{int((given == size).sum()):,}: train a bundle for as many, or compare by ganinfer run"
        for size in np.unique(trained)
        if (given == size).sum() < (trained == size).sum()
    ]


def _other_lengths(trained: np.ndarray, given: np.ndarray | None) -> list[str]:
    """That loci have other lengths than in training, as a sentence; their order does not matter."""
    if given is not None and np.array_equal(np.sort(given), np.sort(trained)):
        return []
    told = "no lengths" if given is None else f"{len(given):,} of {int(given.sum()):,} bases in all"
    return [
        f"the networks were trained for {len(trained):,} loci of {int(trained.sum()):,} bases in all, the table has "
        f"{told}; each locus must be as long as one of them"
    ]
