"""``make bench``: benchmarks that compare within one run.

    python -m tests.bench                                     all of them, at the sizes of the published tables
    python -m tests.bench information im --proposals 600      some of it, smaller
    python -m tests.bench simulation                          windows a CPU second, against a bare loop of msprime
    python -m tests.bench tables                              tables of SNPs, against such a loop, and reading them
    python -m tests.bench histories                           which draws are possible histories, asked of thousands
    python -m tests.bench training                            speed of training at 200 chromosomes
    python -m tests.bench memory                              peak memory of a run, and of reading many genomes
    python -m tests.bench linkage                             scenarios told apart with and without linkage inside loci
    python -m tests.bench pg-gan --sides default              one side of the comparison with pg-gan

Simulated windows are kept under ``.bench``, runs against pg-gan under docs/verification, and neither is made again.
``--write`` puts what was measured into docs/information.md, docs/speed.md and docs/against-pg-gan.md.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

BENCHES = ("information", "simulation", "tables", "histories", "training", "memory", "linkage", "pg-gan")


def main() -> None:
    arguments = _arguments()
    if {"information", "tables", "training", "linkage"} & set(arguments.what):
        from ganinfer import training

        training.configure(arguments.threads)
    for what in arguments.what:
        _RUN[what](arguments)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("what", nargs="*", help=f"of {', '.join(BENCHES)}, im, exp, recombination; default: all")
    parser.add_argument("--proposals", type=int, default=3_000, help="information: around the truth, 16 windows each")
    parser.add_argument("--train-windows", type=int, default=16_000, help="information: windows to train a network on")
    parser.add_argument("--turns", type=int, default=12, help="simulation: turns of 30 proposals of each kind")
    parser.add_argument("--repeats", type=int, default=3, help="training: measurements of each network")
    parser.add_argument("--tables", type=int, default=600, help="linkage: simulated of each scenario to learn from")
    parser.add_argument("--snps", nargs="+", type=int, default=[3, 8], help="linkage: of each locus")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1], help="pg-gan: seeds of the data sets")
    parser.add_argument("--sides", nargs="+", choices=("pg-gan", "default"), default=["pg-gan", "default"])
    parser.add_argument("--workers", type=int, default=2, help="processes that simulate")
    parser.add_argument("--threads", type=int, default=2, help="TensorFlow's threads")
    parser.add_argument("--write", action="store_true", help="write the pages")
    arguments = parser.parse_args()
    from tests.bench.data import BOXES

    unknown = set(arguments.what) - {*BENCHES, *BOXES}
    if unknown:
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}")
    arguments.models = [w for w in arguments.what if w in BOXES] or list(BOXES)
    arguments.what = [w for w in arguments.what if w in BENCHES] or (["information"] if arguments.what else BENCHES)
    return arguments


def _information(arguments: argparse.Namespace) -> None:
    from tests.bench import data, information

    pages = []
    for model in arguments.models:
        point = data.point(model, arguments.proposals, arguments.workers)
        print(
            f"{model}: {', '.join(point.names)}; {arguments.proposals} proposals x {data.WINDOWS} windows", flush=True
        )
        rows = information.rows(point, arguments.train_windows)
        pages.append(f"## {model}\n\n{information.table(rows, point.names)}\n{information.gain(rows)}")
        print(pages[-1], flush=True)
    if arguments.write:
        text = "# What the statistics tell\n\n" + _HOW + "\n".join(pages)
        (data.ROOT / "docs" / "information.md").write_text(text, encoding="utf-8")


def _simulation(arguments: argparse.Namespace) -> None:
    from tests.bench import pages, simulation

    records = simulation.measure(_PROPOSALS, arguments.workers, arguments.turns)
    print(pages.simulation_part(records))
    _keep(arguments, "simulation", records)


def _tables(arguments: argparse.Namespace) -> None:
    from tests.bench import pages, tables

    records = tables.measure(arguments.turns)
    print(pages.tables_part(records))
    _keep(arguments, "tables", records)


def _histories(arguments: argparse.Namespace) -> None:
    from tests.bench import histories, pages

    records = histories.measure(_VECTORS, arguments.repeats)
    print(pages.histories_part(records))
    _keep(arguments, "histories", records)


def _training(arguments: argparse.Namespace) -> None:
    from tests.bench import pages, speed

    records = speed.measure(arguments.repeats)
    print(pages.training_part(records))
    _keep(arguments, "training", records)


def _memory(arguments: argparse.Namespace) -> None:
    from tests.bench import memory, pages

    records = memory.measure(arguments.workers)
    print(pages.memory_part(records))
    _keep(arguments, "memory", records)


def _linkage(arguments: argparse.Namespace) -> None:
    from tests.bench import linkage

    for problem in linkage.PROBLEMS:
        for snps in arguments.snps:
            rows = linkage.measure(problem, snps, arguments.tables, arguments.tables, arguments.workers)
            print(f"## {problem}, {snps} SNPs a locus\n\n{linkage.table(rows)}\n", flush=True)


def _keep(arguments: argparse.Namespace, section: str, records: list) -> None:
    from tests.bench import pages

    if arguments.write:
        pages.add(section, records)
        pages.write()


def _pg_gan(arguments: argparse.Namespace) -> None:
    from tests.bench import against, against_drawn

    against.run_missing(against.MODELS, arguments.sides, arguments.seeds)
    records = against.records()
    print(against_drawn.table(records))
    if arguments.write:
        against_drawn.write(records)


_RUN = {
    "information": _information,
    "simulation": _simulation,
    "tables": _tables,
    "histories": _histories,
    "training": _training,
    "memory": _memory,
    "linkage": _linkage,
    "pg-gan": _pg_gan,
}
#: Proposals of 16 windows in each turn of simulation.
_PROPOSALS = 30
#: Draws of which each is asked whether it is possible: about as many as a round asks.
_VECTORS = 5_000

_HOW = """Standard errors, in per cent of the true values, that statistics allow at 2,000 windows of 50 kb; how they are
found stands in `tests/bench/information.py`. Errors after ± are bootstrapped over proposals; `?` stands where the
proposals do not determine a number. Networks are trained
within one run's budget, on windows simulated around the truth. `make bench` repeats this page.

"""

if __name__ == "__main__":
    main()
