"""`python -m tests.studies farms [--seeds N] [--load X] [--tight] [--mtbf HOURS] [--only SET] [--json]`.

`python -m tests.studies energy [--seeds N] [--only MODE] [--json]`.
`python -m tests.studies shares|months [--seeds N] [--only SET] [--json]`.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence

import msgspec
from msgspec.structs import replace

from application.simulation.synthetic_farm import HOUR_S, STUDIO, outages
from tests.studies import energy, proofs, report
from tests.studies.farms import PARTS, SETS, Day, Outcome, outcome

KNOWN = SETS | PARTS
REPAIR_S = HOUR_S
"""Median time until a node is back."""
TIGHT = replace(STUDIO, least_lead_s=0)
"""The same studio, where short jobs are wanted at once: some deadlines leave hardly more than the longest task."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a study and prints it; 1 if a target was missed (that of farms: in the median)."""
    given = _parser().parse_args(arguments)
    if given.study in proofs.PROOFS:
        return proofs.run(given)
    return _energy(given) if given.study == "energy" else _farms(given)


def _farms(given: argparse.Namespace) -> int:
    outcomes = list(_measured(given))
    print(report.as_json(outcomes) if given.json else f"\n{report.table(outcomes)}\n\n{report.targets(outcomes)}")
    return 1 if report.missed(outcomes) else 0


def _measured(given: argparse.Namespace) -> Iterator[Outcome]:
    for seed in range(given.first, given.first + given.seeds):
        day = Day.of(seed, TIGHT if given.tight else STUDIO, given.load)
        until_s = 4 * max(job.submit_s for job in day.farm.jobs)
        down = outages(day.farm, seed, given.mtbf * HOUR_S, REPAIR_S, until_s) if given.mtbf else ()
        for name in given.only or SETS:
            result = outcome(day, name, KNOWN[name](), down)
            print(report.line(result), file=sys.stderr, flush=True)
            yield result


def _energy(given: argparse.Namespace) -> int:
    modes = tuple(dict.fromkeys(("performance", *given.only))) if given.only else energy.MODES
    outcomes: list[energy.Outcome] = []
    for seed in range(given.first, given.first + given.seeds):
        outcomes += energy.study([seed], modes)
        print(f"seed {seed:3} done", file=sys.stderr, flush=True)
    missed = energy.missed(outcomes)
    if given.json:
        print(msgspec.json.format(msgspec.json.encode(outcomes), indent=2).decode())
    else:
        print("\n".join(["", energy.table(outcomes), "", *(missed or ["No target was missed."])]))
    return 1 if missed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.studies", description="What schedules are worth.")
    studies = parser.add_subparsers(dest="study", required=True)
    farms = studies.add_parser("farms", help="heterogeneous farms with deadlines")
    farms.add_argument("--load", type=float, default=1.0, help="how much work there is (default: 1.0)")
    farms.add_argument("--tight", action="store_true", help="without a shortest lead for deadlines")
    farms.add_argument("--mtbf", type=float, metavar="HOURS", help="let every node fail so often on average")
    farms.add_argument("--only", action="append", choices=list(KNOWN), help="policy sets; may be repeated")
    power = studies.add_parser("energy", help="a studio that works by day, under every energy mode")
    power.add_argument("--only", action="append", choices=list(energy.MODES), help="modes; may be repeated")
    shares = studies.add_parser("shares", help="five clients on 300 nodes, under lending and without")
    months = studies.add_parser("months", help="month-long gangs, windows of maintenance and urgent work")
    for name, study in (("shares", shares), ("months", months)):
        study.add_argument("--only", action="append", choices=list(proofs.PROOFS[name].sets), help="policy sets")
    for study in (farms, power, shares, months):
        study.add_argument("--seeds", type=int, default=20, metavar="N", help="how many seeds (default: 20)")
        study.add_argument("--first", type=int, default=1, metavar="SEED", help="the first seed (default: 1)")
        study.add_argument("--json", action="store_true", help="print every outcome as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
