"""``make verify``: long statistical verification. Resumable: what is finished is not done again.

    python -m tests.verification.theory               simulators against theory and msprime, with planted faults
    python -m tests.verification                      accuracy of every case, then a table
    python -m tests.verification im --seeds 1 2 3     some of it
    python -m tests.verification.nuisance             a rate known to 10 %, recombination's scale
    python -m tests.verification.opinions             moments and we on data of known truth
    python -m tests.verification.bottlenecks          ten bottlenecks on one chromosome
    python -m tests.verification.whole_sequences      whole sequences of 100 Mb around the solution of one of them
    python -m tests.verification.widths               widths of posteriors by the number of windows
    python -m tests.verification.planted              coverage with faults planted, which have to be found
    python -m tests.verification.adequacy             wrong models, and how often they are flagged
    python -m tests.verification.yardstick            moments on the same windows
    python -m tests.verification.real_genomes         the shipped genomes beside dadi and moments
    python -m tests.verification.same_answer          the same answer everywhere, after kills, from a simulated VCF
    python -m pytest -m verification                  the other long checks (fuzzing)

Runs are kept under ``.bench/verification``, what they found as records under docs/verification; what is recorded is not
done again. The table is written to docs/verification.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tests.verification import accuracy, records

ROOT = Path(__file__).parents[2]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.verification")
    parser.add_argument("cases", nargs="*", choices=[[], *accuracy.CASES], help="default: all")
    parser.add_argument("--seeds", nargs="*", type=int, help="seeds of the data sets; default: the case's own")
    parser.add_argument("--set", dest="overrides", action="append", default=[], help="overrides of the experiment")
    parser.add_argument("--folder", type=Path, default=ROOT / ".bench" / "verification", help="where runs are kept")
    arguments = parser.parse_args()
    shipped = not arguments.overrides
    kept = records.FOLDER if shipped else arguments.folder
    for name in arguments.cases or accuracy.CASES:
        path = accuracy.record_path(name, kept)
        done = {record["seed"] for record in records.read(path)}
        for seed in arguments.seeds or accuracy.CASES[name].seeds:
            if seed not in done:
                made = accuracy.run_one(name, seed, arguments.folder, arguments.overrides)
                records.add(path, name, made)
    page = accuracy.table(kept)
    print(page)
    if shipped:
        (ROOT / "docs" / "verification.md").write_text(page)
    judged = {name: accuracy.judged(name, kept) for name in arguments.cases or accuracy.CASES}
    failed = {name: said for name, said in judged.items() if said and not said["passed"]}
    for name, said in failed.items():
        print(f"{name} is not as the rule has it: {said}")
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
