"""Networks trained without real data, and what they say of new data of their design: train once, judge in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ganinfer import randomness, scenarios, simulation, storage
from ganinfer.experiment import Experiment, TableData, pipeline_settings
from ganinfer.genomes import PreparedTable, RealTable, prepared
from ganinfer.haplotypes import Haplotypes
from ganinfer.interfaces import Info, LociTemplate
from ganinfer.progress import Progress, Silent
from ganinfer.runner import assembling, bundling, comparing, planning, results, scoring, sending
from ganinfer.runner.assembling import RunError
from ganinfer.runner.bundling import Asked, Bundle, BundleError
from ganinfer.runner.comparing import FITS
from ganinfer.runner.completing import completed
from ganinfer.runner.refusing import refuse


def train(
    experiment: Experiment,
    output: Path,
    *,
    seed: int | None = None,
    store: Path | None = None,
    progress: Progress | None = None,
) -> Path:
    """Simulate under every scenario of ``experiment`` and train; returns the bundle ``output``.

    Of the data only the design is used: who is sampled, how many SNPs, and how calls are missing. Simulations are kept
    in ``store`` (default: beside the bundle), so that a killed training goes on where it stopped. The bundle becomes a
    version of a model in MLflow's registry, where there is one.

    Raises :class:`RunError` for windows, and where ``output`` exists.
    """
    events = progress or Silent()
    experiment = experiment if seed is None else experiment.model_copy(update={"seed": seed})
    if experiment.kind != "loci":
        raise RunError(f"{experiment.path.name}: bundles are trained for loci so far; add the section loci")
    if output.exists():
        raise RunError(f"{output} exists already; choose another with --output")
    store = store or output.with_name(f"{output.name}-{storage.SIMULATIONS}")
    with ExitStack() as stack:
        events.message("Checking the experiment")
        refuse(experiment, network=True)
        assembling.import_training(experiment)
        workers = stack.enter_context(assembling.executor(experiment))
        plan = planning.planned(experiment, planning.open_table(experiment), varied=True)
        simulated, tests, _ = comparing.simulations(plan, store, workers, events)
        trained, _ = comparing.trained_networks(plan, simulated, None, events)
        tested = scoring.tested(plan, tests, trained)
        bundling.write(output, plan, simulated, trained, tested)
    titles = ", ".join(dict.fromkeys(s.setup.title for s in plan.scenarios))
    numbers = comparing.scores(tested)
    for sentence in sending.record_training(experiment, completed(experiment), plan.summary, output, titles, numbers):
        events.message(sentence)
    return output


def predict(folder: Path, experiments: Sequence[Experiment], seed: int = 1) -> list[dict[str, Any]]:
    """What the bundle in ``folder`` says of the data of each experiment, whose scenarios do not matter.

    Raises :class:`BundleError` for a damaged bundle, and for data of another design, naming what differs.
    """
    if not experiments:
        return []
    assembling.import_training(experiments[0])
    bundle = bundling.read(folder)
    answers = []
    for experiment in experiments:
        if experiment.loci is None:
            raise BundleError(f"{experiment.path}: the bundle judges loci; add the section loci")
        table = planning.open_table(experiment)
        try:
            answers.append(judge(bundle, table, asked(experiment, table), seed))
        except BundleError as error:
            raise BundleError(f"{_where(experiment)}: {error}") from None
    return answers


def asked(experiment: Experiment, table: RealTable) -> Asked:
    """How the experiment looks at its table."""
    assert experiment.loci is not None
    pipeline = pipeline_settings(experiment, table.phased)
    return Asked(pipeline, experiment.loci.genealogies, experiment.loci.min_call_rate)


def _where(experiment: Experiment) -> Path:
    data = experiment.data
    return data.table.file if isinstance(data, TableData) else experiment.path


def judge(bundle: Bundle, table: RealTable, asked: Asked, seed: int = 1) -> dict[str, Any]:
    """What the networks of ``bundle`` say of a table of its design, JSON values like those of result.json.

    A table with more SNPs than the networks were trained for is cut into random parts, all of which are judged, unless
    loci are simulated by rate.

    Raises :class:`BundleError` for a table of another design.
    """
    from ganinfer import comparison

    setup = bundle.setup
    try:
        ready = prepared(table, setup.pipeline, bundle.template.genealogies, bundle.about["min_call_rate"], seed)
    except ValueError as error:
        raise BundleError(f"the networks were trained for loci of known length: {error}") from error
    if told := bundling.differences(bundle, table, ready.haplotypes, asked):
        raise BundleError("; ".join(told))
    arrays = _encoded(bundle, ready, seed)
    weights = [s.weight for s in bundle.scenarios]
    probabilities, outcomes = comparison.judged(bundle.trained, arrays, weights)
    each = [
        comparison.verdicts(bundle.references, arrays[scenarios.STATISTICS][row], outcomes, row)
        for row in range(len(probabilities))
    ]
    p_values = np.median([[v.p_value for v in row] for row in each], axis=0)
    mean = probabilities.mean(axis=0)
    names = [s.name for s in bundle.scenarios]
    best = int(mean.argmax())
    said = {
        "probabilities": dict(zip(names, mean.tolist(), strict=True)),
        "prior_predictive_p": dict(zip(names, p_values.tolist(), strict=True)),
        "none_fits": bool((p_values < FITS).all()),
    }
    return {
        "none_fits": said["none_fits"],
        "best": names[best],
        "comparison": said,
        "parts": {"number": len(probabilities), "spread": probabilities.std(axis=0).tolist()},
        "parameters": _parameters(bundle, best, outcomes, seed),
        "snps": ready.haplotypes.num_sites,
        "dropped": dict(ready.dropped),
    }


def _encoded(bundle: Bundle, ready: PreparedTable, seed: int) -> dict[str, np.ndarray]:
    """Arrays (parts, ...) of the table, cut into random parts of the size that the networks know.

    By rate, its number of SNPs is part of the data, and it stays whole.
    """
    if bundle.template.lengths is not None:
        return simulation.encode(bundle.setup, [ready.haplotypes], 1)
    order = randomness.stream(seed, "parts").permutation(ready.haplotypes.num_sites)
    if bundle.template.most_snps > 1:
        return simulation.encode(bundle.setup, *_parts_of_loci(bundle.template, ready.haplotypes, order))
    size, num_sites = bundle.num_snps, len(order)
    number = -(-num_sites // size)
    # The last part is filled up with SNPs of the first ones.
    chosen = np.resize(order, number * size).reshape(number, size)
    locus = bundle.template.locus
    windows = [_part(ready.haplotypes, np.sort(rows), locus) for rows in chosen]
    return simulation.encode(replace(bundle.setup, kind="loci"), windows, number)


def _parts_of_loci(template: LociTemplate, haplotypes: Haplotypes, order: np.ndarray) -> tuple[list[Haplotypes], int]:
    """Parts of whole loci, in each as many with so many SNPs as the template has, and how many parts there are.

    ``order``: of the SNPs, which decides that of the loci.
    """
    wanted, found = np.bincount(template.locus), np.bincount(haplotypes.positions)
    shuffled = np.array(list(dict.fromkeys(haplotypes.positions[order].tolist())))
    number = max(-(-int((found == size).sum()) // int((wanted == size).sum())) for size in np.unique(wanted))
    chosen = np.empty((number, len(wanted)), dtype=np.int64)
    for size in np.unique(wanted):
        mine = np.flatnonzero(wanted == size)
        chosen[:, mine] = np.resize(shuffled[found[shuffled] == size], (number, len(mine)))
    starts = np.cumsum(found) - found
    parts = []
    for loci in chosen:
        rows = np.concatenate([np.arange(starts[i], starts[i] + found[i]) for i in loci])
        parts.append(_part(haplotypes, rows, template.locus))
    return parts, number


def _part(haplotypes: Haplotypes, rows: np.ndarray, locus: np.ndarray) -> Haplotypes:
    return replace(haplotypes.select(rows), positions=locus)


def _parameters(bundle: Bundle, best: int, outcomes: Sequence[Any], seed: int) -> dict[str, Any]:
    from ganinfer import comparison

    scenario = bundle.scenarios[best]
    rng = randomness.stream(seed, "posterior", scenario.name)
    draws = np.concatenate(
        [
            comparison.posterior(scenario, best, bundle.simulations, bundle.trained, outcomes, rng, row)
            for row in range(len(outcomes[0].logits))
        ]
    )
    info = Info(np.median(draws, axis=0), draws.std(axis=0), draws)
    return results.parameter_results(scenario.parameters, info, bundle.about["level"])
