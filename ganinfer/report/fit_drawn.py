"""Real against simulated statistics: frequency spectra, linkage disequilibrium, haplotypes, and all the residuals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ganinfer.report import words
from ganinfer.report.reading import Run
from ganinfer.report.style import (
    BLUE,
    GREY,
    INK,
    LIGHT,
    POPULATIONS,
    VERMILLION,
    Drawing,
    canvas,
    panels,
    parameter_axis,
)

#: Cells in which the whole data set is expected to have fewer sites than this say nothing of the model.
_FEW_SITES = 25.0
#: Residuals beyond so many standard errors are remarkable.
REMARKABLE = 3.0
_SPAN = 2.0
_NO_FIT = "the run left no comparison of real and simulated statistics (fit.npz)"


@dataclass(frozen=True, eq=False)
class Residuals:
    """Statistics in order: names, real and simulated means, the difference's standard error, the difference in it."""

    names: Sequence[str]
    real: np.ndarray
    simulated: np.ndarray
    se: np.ndarray
    z: np.ndarray

    def worst(self, count: int) -> list[int]:
        return [int(i) for i in np.argsort(-np.abs(self.z), kind="stable")[:count]]


def residuals(run: Run) -> Residuals | None:
    """The classical statistics of a run, where it left them; statistics without any variation are left out."""
    fit, names = run.fit, run.fit_info.get("names")
    if fit is None or not names or any(key not in fit for key in ("real_mean", "real_se", "simulated_mean")):
        return None
    se = np.hypot(fit["real_se"], fit.get("simulated_se", 0.0))
    kept = np.flatnonzero(np.isfinite(se) & (se > 0))
    if not len(kept):
        return None
    real, simulated = fit["real_mean"][kept], fit["simulated_mean"][kept]
    return Residuals([str(names[i]) for i in kept], real, simulated, se[kept], (real - simulated) / se[kept])


def _allele(run: Run) -> str:
    return "minor-allele count" if run.folded else "derived-allele count"


def _spectra(run: Run) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Suffix to (real, simulated) spectrum."""
    fit = run.fit or {}
    suffixes = [key.removeprefix("sfs_real") for key in fit if key.startswith("sfs_real")]
    return {s: (fit[f"sfs_real{s}"], fit[f"sfs_simulated{s}"]) for s in suffixes if f"sfs_simulated{s}" in fit}


def _axes_of(run: Run, suffix: str, dimensions: int) -> list[str]:
    """The populations along a spectrum's axes."""
    names = list(run.fit_info.get("populations") or run.populations)
    if suffix:
        for a in names:
            for b in names:
                if suffix == f"_{a}_{b}":
                    return [a, b]
        return suffix.strip("_").split("_")[:dimensions]
    return names[:dimensions] if len(names) >= dimensions else [f"population {i + 1}" for i in range(dimensions)]


def spectrum(run: Run) -> Drawing | str:
    """The site frequency spectrum of each population, real against simulated, with their ratio."""
    marginals = _marginals(run)
    if not marginals:
        return _NO_FIT if run.fit is None else "fit.npz holds no site frequency spectrum"
    columns = min(len(marginals), 3)
    rows = -(-len(marginals) // columns)
    figure = canvas(3.9 * rows)
    grid = figure.subplots(2 * rows, columns, squeeze=False, height_ratios=[2.4, 1] * rows, sharex="col")
    sentences = []
    for k, (name, (real, simulated)) in enumerate(marginals.items()):
        top, bottom = grid[2 * (k // columns), k % columns], grid[2 * (k // columns) + 1, k % columns]
        sentences.append(_spectrum_panel(run, top, bottom, name, real, simulated))
    for k in range(len(marginals), rows * columns):
        grid[2 * (k // columns), k % columns].set_axis_off()
        grid[2 * (k // columns) + 1, k % columns].set_axis_off()
    grid[0, 0].legend()
    for row in range(rows):
        grid[2 * row, 0].set_ylabel("sites a window")
        grid[2 * row + 1, 0].set_ylabel("real /\nsimulated")
    caption = (
        f"Variable sites by {_allele(run)} in the sample, averages over the windows. Below: the ratio, 1 where the "
        "model is right; bars are two standard errors of as many independent sites, and linked ones scatter somewhat "
        "more; triangles lie beyond the axis. Counts that hardly any site has are left out."
    )
    return Drawing(figure, "Site frequency spectra. " + " ".join(sentences), caption)


def _marginals(run: Run) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Population to (real, simulated) spectrum: 1-D ones as they are, of joint ones the sums."""
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for suffix, (real, simulated) in _spectra(run).items():
        names = _axes_of(run, suffix, real.ndim)
        for axis, name in enumerate(names):
            if name not in found:
                others = tuple(i for i in range(real.ndim) if i != axis)
                found[name] = (real.sum(axis=others), simulated.sum(axis=others))
    return found


def _spectrum_panel(run: Run, top: Any, bottom: Any, name: str, real: np.ndarray, simulated: np.ndarray) -> str:
    from matplotlib.ticker import MaxNLocator

    size = len(real) - 1
    counts = np.arange(1, size)
    real, simulated = real[1:size], simulated[1:size]
    enough = simulated * (run.num_compared or 1) >= (_FEW_SITES if run.num_compared else 0)
    enough &= (simulated > 0) & (real > 0)
    counts, real, simulated = counts[enough], real[enough], simulated[enough]
    marker = {"ms": 4 if len(counts) < 50 else 2.8, "color": INK, "ls": "none", "marker": "o"}
    top.plot(counts, simulated, color=BLUE, label="simulated", drawstyle="steps-mid")
    top.plot(counts, real, label="real", **marker)
    top.set_yscale("log")
    top.set_title(name)
    ratio = real / simulated
    bottom.axhline(1, color=BLUE, lw=1.2)
    if run.num_compared:  # as if sites were independent, which they are not quite
        bars = 2 * ratio / np.sqrt(np.maximum(real * run.num_compared, 1.0))
        bottom.errorbar(counts, ratio, yerr=bars, color=GREY, ls="none", lw=0.8)
    bottom.set_xlabel(_allele(run))
    parameter_axis(top.yaxis, True)
    if len(counts) > 50:
        top.set_xscale("log")
        parameter_axis(bottom.xaxis, True)
    else:
        bottom.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    if not len(counts):
        return f"{name}: no count has enough sites."
    reach = max(np.quantile(np.abs(ratio - 1), 0.97) * 1.25, 0.1)
    low, high = max(1 - reach, 0), 1 + reach
    bottom.set_ylim(low, high)
    bottom.plot(counts, ratio, **marker)
    for mark, end, beyond in (("v", low, ratio < low), ("^", high, ratio > high)):
        if beyond.any():
            bottom.plot(counts[beyond], np.full(beyond.sum(), end), **{**marker, "marker": mark, "clip_on": False})
    worst = int(np.argmax(np.abs(np.log(ratio)) * np.sqrt(simulated)))
    return (
        f"{name}: most off at count {counts[worst]}, where the real sites are {ratio[worst]:.2f} times the simulated."
    )


def _plain_log(axis: Any) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: words.short(value)))
    axis.set_minor_formatter(NullFormatter())


def joint_spectrum(run: Run) -> Drawing | str:
    """Joint spectra of pairs of populations: real, simulated, and their ratio."""
    joint = {s: pair for s, pair in _spectra(run).items() if pair[0].ndim == 2}
    if not joint:
        return _NO_FIT if run.fit is None else "there is one population, or no two were counted together"
    figure = canvas(2.9 * len(joint))
    grid = figure.subplots(len(joint), 3, squeeze=False)
    for row, (suffix, (real, simulated)) in zip(grid, joint.items(), strict=True):
        _joint_row(run, figure, row, _axes_of(run, suffix, 2), real, simulated)
    pairs = words.listing([" and ".join(_axes_of(run, s, 2)) for s in joint])
    caption = (
        f"Sites a window by {_allele(run)} in both populations. Right: where real genomes have more sites than "
        "simulated ones (orange) or fewer (purple). Cells that hardly any site falls into are left white."
    )
    return Drawing(figure, f"Joint site frequency spectrum of {pairs}, real, simulated and ratio.", caption, True)


def _joint_row(run: Run, figure: Any, row: Any, names: list[str], real: np.ndarray, simulated: np.ndarray) -> None:
    from matplotlib.colors import LogNorm

    real, simulated = real.astype(float).copy(), simulated.astype(float).copy()
    for table in (real, simulated):
        table[0, 0] = table[-1, -1] = 0
    top = max(real.max(), simulated.max())
    floor = max(1.0 / (run.num_windows or 1000), top * 1e-5)
    scale = LogNorm(vmin=floor, vmax=max(top, floor * 10))
    few = simulated * (run.num_compared or 1) < (_FEW_SITES if run.num_compared else 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(few, np.nan, np.clip(real / simulated, 0.01, 100))
    tables = {"real": real, "simulated": simulated, "real / simulated": ratio}
    for ax, (title, table) in zip(row, tables.items(), strict=True):
        look = {"cmap": "viridis", "norm": scale}
        if table is ratio:
            look = {"cmap": "PuOr_r", "norm": LogNorm(vmin=1 / _SPAN, vmax=_SPAN)}
        image = ax.pcolormesh(np.where(table >= floor, table, np.nan).T, **look)
        ax.set(title=title, xlabel=f"{_allele(run)} in {names[0]}")
        if table is not real:
            bar = figure.colorbar(image, ax=ax if table is ratio else list(row[:2]), pad=0.02)
            _plain_log(bar.ax.yaxis)
            bar.minorticks_off()
            bar.outline.set_visible(False)
            if table is ratio:
                bar.set_ticks([0.5, 0.7, 1, 1.4, 2])
    row[0].set_ylabel(f"{_allele(run)} in {names[1]}")


def linkage(run: Run) -> Drawing | str:
    """Mean r2 between sites by their distance, by population."""
    fit = run.fit
    if fit is None:
        return _NO_FIT
    names = [key.removeprefix("ld_real_") for key in fit if key.startswith("ld_real_")]
    if not names or "ld_distance" not in fit:
        return "fit.npz holds no linkage disequilibrium"
    figure, axes = panels(len(names), height=2.9)
    kb = fit["ld_distance"] / 1000
    sentences = []
    for ax, name in zip(axes, names, strict=True):
        real, simulated = fit[f"ld_real_{name}"], fit.get(f"ld_simulated_{name}")
        if simulated is not None:
            ax.plot(kb, simulated, color=BLUE, label="simulated")
            worst = (
                int(np.nanargmax(np.abs(np.log(real / simulated)))) if (simulated > 0).all() and (real > 0).all() else 0
            )
            sentences.append(f"{name}: real {real[worst]:.2f}, simulated {simulated[worst]:.2f} at {kb[worst]:.3g} kb.")
        ax.plot(kb, real, "o", color=INK, ms=4.5, label="real")
        ax.set(title=name, xlabel="distance between sites (kb)")
        ax.set_xscale("log")
        ax.set_ylim(0, None)
        parameter_axis(ax.xaxis, True)
    axes[0].set_ylabel("linkage disequilibrium (r²)")
    axes[0].legend()
    caption = (
        "How strongly neighbouring sites are associated. It falls with distance as recombination breaks haplotypes up; "
        "small or recently bottlenecked populations keep more of it."
    )
    return Drawing(
        figure, "Linkage disequilibrium by distance; where they differ most: " + " ".join(sentences), caption
    )


def haplotypes(run: Run) -> Drawing | str:
    """Haplotype statistics of the windows, real against simulated, as ratios with their standard errors."""
    found = residuals(run)
    chosen = (
        []
        if found is None
        else [i for i, n in enumerate(found.names) if n.startswith("haplotypes") and found.simulated[i] > 0]
    )
    if found is None or not chosen:
        return _NO_FIT if run.fit is None else "there are no haplotype statistics among the classical ones"
    figure = canvas(0.27 * len(chosen) + 0.9)
    ax = figure.subplots()
    y = np.arange(len(chosen))[::-1]
    ratio = found.real[chosen] / found.simulated[chosen]
    error = 2 * found.se[chosen] / found.simulated[chosen]
    far = np.abs(found.z[chosen]) > REMARKABLE
    ax.axvline(1, color=BLUE, lw=1.2)
    for mask, colour in ((~far, INK), (far, VERMILLION)):
        ax.errorbar(ratio[mask], y[mask], xerr=error[mask], fmt="o", color=colour, ms=4, lw=1.2)
    precise = error <= max(0.3, float(error.min()))  # a rare haplotype's wide bar must not flatten the others
    reach = 1.15 * max(float((np.abs(ratio - 1) + error)[precise].max()), 0.05)
    ax.set_xlim(max(1 - reach, 0), 1 + reach)
    look = {"ha": "right", "va": "center", "fontsize": 9, "backgroundcolor": "white"}
    for place, value in zip(y[ratio > 1 + reach], ratio[ratio > 1 + reach], strict=True):
        ax.text(1, place, f"{value:.3g} →", transform=ax.get_yaxis_transform(), **look)
    ax.set_yticks(y, [words.statistic(found.names[i]) for i in chosen])
    ax.set_xlabel("real / simulated, ± 2 standard errors")
    ax.set_ylim(-0.7, len(chosen) - 0.3)
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="y", color=LIGHT, lw=0.8)
    ax.set_axisbelow(True)
    caption = (
        "How many different haplotypes a window, or a part of it, holds, how alike they are, and how many two "
        f"populations share. Orange: further from 1 than {REMARKABLE:g} standard errors."
    )
    counted = int(far.sum())
    alternative = (
        f"Haplotype statistics, ratio of real to simulated; {counted} of {len(chosen)} are further off than chance."
    )
    return Drawing(figure, alternative, caption)


def residual_plot(run: Run) -> Drawing | str:
    """Every classical statistic's residual in standard errors, grouped by kind, the worst ones named."""
    found = residuals(run)
    if found is None:
        return run.absent.get("fit.npz", "the run compared no classical statistics (statistics: {classical: false})")
    figure = canvas(3.6)
    ax = figure.subplots()
    groups = _groups(found.names)
    place = {i: x for x, i in enumerate(i for group in groups.values() for i in group)}
    total = len(place)
    limit = max(4.0, 1.25 * float(np.abs(found.z).max()))
    ax.axhspan(-2, 2, color=LIGHT, lw=0, zorder=0)
    ax.axhline(0, color=GREY, lw=0.8)
    for k, (kind, group) in enumerate(groups.items()):
        x = [place[i] for i in group]
        colour = POPULATIONS[k % len(POPULATIONS)]
        ax.plot(x, found.z[group], "o", ms=4 if total < 120 else 3, color=colour, alpha=0.9, mew=0)
        if k:
            ax.axvline(x[0] - 0.5, color="#c9c9c9", lw=0.8)
        if len(group) >= 0.07 * total:
            middle = (x[0] + x[-1]) / 2
            ax.text(middle, -0.03, kind, transform=ax.get_xaxis_transform(), ha="center", va="top", color=colour)
    for rank, i in enumerate(found.worst(3), start=1):
        if abs(found.z[i]) > REMARKABLE:
            at = (place[i], found.z[i])
            ax.annotate(str(rank), at, (6, 0), textcoords="offset points", va="center", weight="bold")
    ax.set(ylabel="real − simulated\n(standard errors)", ylim=(-limit, limit), xlim=(-1, total))
    ax.set_xticks([])
    beyond = int((np.abs(found.z) > 2).sum())
    caption = (
        f"Every summary statistic of the windows. If the model is right about 5 % lie outside the grey band; here "
        f"{beyond} of {total} do ({100 * beyond / total:.0f} %)."
        f"{' The numbered ones are described in the text.' if np.abs(found.z).max() > REMARKABLE else ''}"
    )
    return Drawing(figure, f"Residuals of {total} statistics; {beyond} beyond two standard errors.", caption)


_KINDS = {"sfs": "frequency spectrum", "haplotypes": "haplotypes", "r2": "linkage", "four": "linkage"}


def _groups(names: Sequence[str]) -> dict[str, list[int]]:
    """Kind of statistic to the indices of its members, in order."""
    groups: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        word = name.split(" ")[0]
        groups.setdefault(_KINDS.get(word, word), []).append(i)
    return groups
