"""Where along the genome the fitted model explains the windows worst."""

from __future__ import annotations

from ganinfer.report.adequacy_told import regions
from ganinfer.report.reading import Run
from ganinfer.report.style import BLUE, GREY, INK, LIGHT, VERMILLION, Drawing, canvas

#: More contigs than this are named by number of their first window only where there is room.
_MOST_NAMED = 24


def places(run: Run) -> Drawing | str:
    """Every real window by how unusual it is in the fitted model, contigs one after the other."""
    table = run.windows
    if table is None:
        return run.absent.get("windows.parquet", "the run left no windows.parquet")
    contigs = list(dict.fromkeys(table["contig"].tolist()))
    if len(contigs) == len(table["contig"]):
        return "every window is a contig of its own, so there is no genome to go along"
    figure = canvas(2.8)
    ax = figure.subplots()
    found = regions(run)
    middle = (table["left"] + table["right"]) / 2
    offset, edges, ticks = 0.0, [0.0], []
    for number, contig in enumerate(contigs):
        mine = table["contig"] == contig
        start, stop = float(table["left"][mine].min()), float(table["right"][mine].max())
        x = (middle[mine] - start + offset) / 1e6
        ax.plot(x, table["unusual"][mine], ".", ms=3, color=BLUE if number % 2 == 0 else GREY, alpha=0.6, mew=0)
        if found is not None:
            own = (found.contig == contig) & (found.score > found.remarkable)
            for left, right in zip(found.left[own], found.right[own], strict=True):
                ax.axvspan(
                    (left - start + offset) / 1e6, (right - start + offset) / 1e6, color=VERMILLION, alpha=0.25, lw=0
                )
        ticks.append((offset + (stop - start) / 2) / 1e6)
        offset += stop - start
        edges.append(offset / 1e6)
    ax.axhspan(-2, 2, color=LIGHT, lw=0, zorder=0)
    for edge in edges[1:-1] if len(contigs) <= _MOST_NAMED else []:
        ax.axvline(edge, color="#c9c9c9", lw=0.8)
    if 1 < len(contigs) <= _MOST_NAMED:
        ax.set_xticks(ticks, contigs)
        ax.set_xlabel("contig")
    else:
        ax.set_xlabel(
            f"megabases along {contigs[0]}" if len(contigs) == 1 else "megabases, contigs one after the other"
        )
    ax.set(ylabel="how unusual a window is\n(normal score)", xlim=(0, edges[-1]))
    ax.yaxis.label.set_color(INK)
    beyond = int((table["unusual"] > 2).sum())
    expected = 0.0228 * len(middle)
    caption = (
        "How far a window's statistics lie from those of simulated windows, as a normal score: of windows that the "
        f"model makes 2.3 % lie above 2, which would be {expected:.0f} of these; {beyond} do. Orange: regions so far "
        "above the others as chance takes any of them in one genome out of twenty."
    )
    return Drawing(figure, f"Windows along the genome by how unusual they are; {beyond} above two.", caption)
