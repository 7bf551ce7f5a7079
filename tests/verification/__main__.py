"""``make verify``: long statistical verification. Resumable: what is finished is not done again.

    python -m tests.verification                      accuracy of im, exp and const, ten data sets each, then a table
    python -m tests.verification im --seeds 1 2 3     some of it
    python -m pytest -m verification                  the other long checks (fuzzing)

Runs are kept under ``.bench/verification``; the table is written to docs/verification.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tests.verification import accuracy

ROOT = Path(__file__).parents[2]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.verification")
    parser.add_argument("cases", nargs="*", choices=[[], *accuracy.CASES], help="default: all")
    parser.add_argument("--seeds", nargs="*", type=int, default=list(range(1, 11)), help="seeds of the data sets")
    parser.add_argument("--set", dest="overrides", action="append", default=[], help="overrides of the experiment")
    parser.add_argument("--folder", type=Path, default=ROOT / ".bench" / "verification", help="where runs are kept")
    arguments = parser.parse_args()
    folder = arguments.folder
    for name in arguments.cases or accuracy.CASES:
        for seed in arguments.seeds:
            accuracy.run_one(name, seed, folder, arguments.overrides)
    page = accuracy.table(folder)
    print(page)
    if not arguments.overrides and folder == parser.get_default("folder"):
        (ROOT / "docs" / "verification.md").write_text(page)


if __name__ == "__main__":
    main()
