"""`python -m tests.studies farms [--seeds N] [--load X] [--tight] [--mtbf HOURS] [--only SET] [--json]`."""

import argparse
import sys
from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from application.simulation.synthetic_farm import HOUR_S, STUDIO, outages
from tests.studies import report
from tests.studies.farms import PARTS, SETS, Day, Outcome, outcome

KNOWN = SETS | PARTS
REPAIR_S = HOUR_S
"""Median time until a node is back."""
TIGHT = replace(STUDIO, least_lead_s=0)
"""The same studio, where short jobs are wanted at once: some deadlines leave hardly more than the longest task."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the study and prints it; 1 if a target was missed in the median."""
    given = _parser().parse_args(arguments)
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.studies", description="What schedules are worth.")
    parser.add_argument("study", choices=["farms"], help="heterogeneous farms with deadlines")
    parser.add_argument("--seeds", type=int, default=20, metavar="N", help="how many farms and days (default: 20)")
    parser.add_argument("--first", type=int, default=1, metavar="SEED", help="the first seed (default: 1)")
    parser.add_argument("--load", type=float, default=1.0, help="how much work there is (default: 1.0)")
    parser.add_argument("--tight", action="store_true", help="without a shortest lead for deadlines")
    parser.add_argument("--mtbf", type=float, metavar="HOURS", help="let every node fail so often on average")
    parser.add_argument("--only", action="append", choices=list(KNOWN), help="policy sets; may be repeated")
    parser.add_argument("--json", action="store_true", help="print every outcome as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
