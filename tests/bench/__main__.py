"""``make bench``: benchmarks that compare within one run.

    python -m tests.bench                                     all of them, at the sizes of the published tables
    python -m tests.bench information im --proposals 600      some of it, smaller
    python -m tests.bench training                            speed of training at 200 chromosomes

Simulated windows are kept under ``.bench``. ``--write`` puts the tables into docs/information.md.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

BENCHES = ("information", "training")


def main() -> None:
    arguments = _arguments()
    from ganinfer import training

    training.configure(arguments.threads)
    pages = []
    if "information" in arguments.what:
        pages += [_information(model, arguments) for model in arguments.models]
    if "training" in arguments.what:
        from tests.bench import speed

        pages.append(speed.training_speed() + "\n")
        print(pages[-1])
    if arguments.write:
        from tests.bench.data import ROOT

        (ROOT / "docs" / "information.md").write_text("# What the statistics tell\n\n" + _HOW + "\n".join(pages))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("what", nargs="*", help=f"of {', '.join(BENCHES)}, im, exp, recombination; default: all")
    parser.add_argument("--proposals", type=int, default=3_000, help="around the truth, 16 windows each")
    parser.add_argument("--train-windows", type=int, default=16_000, help="simulated windows a network is trained on")
    parser.add_argument("--workers", type=int, default=2, help="processes that simulate")
    parser.add_argument("--threads", type=int, default=2, help="TensorFlow's threads")
    parser.add_argument("--write", action="store_true", help="write docs/information.md")
    arguments = parser.parse_args()
    from tests.bench.data import BOXES

    unknown = set(arguments.what) - {*BENCHES, *BOXES}
    if unknown:
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}")
    arguments.models = [w for w in arguments.what if w in BOXES] or list(BOXES)
    arguments.what = [w for w in arguments.what if w in BENCHES] or (["information"] if arguments.what else BENCHES)
    return arguments


def _information(model: str, arguments: argparse.Namespace) -> str:
    from tests.bench import data, information

    point = data.point(model, arguments.proposals, arguments.workers)
    print(f"{model}: {', '.join(point.names)}; {arguments.proposals} proposals x {data.WINDOWS} windows", flush=True)
    rows = information.rows(point, arguments.train_windows)
    text = f"## {model}\n\n{information.table(rows, point.names)}\n{information.gain(rows)}"
    print(text, flush=True)
    return text


_HOW = """Standard errors, in per cent of the true values, that statistics allow at 2,000 windows of 50 kb; how they are
found stands in `tests/bench/information.py`. Errors after ± are bootstrapped over proposals. Networks are trained
within one run's budget, on windows simulated around the truth. `make bench` repeats this page.

"""

if __name__ == "__main__":
    main()
