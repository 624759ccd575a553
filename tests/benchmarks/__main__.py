"""`python -m tests.benchmarks [--only NAME] [--rounds N] [--json] [--quick] [--strict]`."""

import argparse
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.benchmarks import harness, report
from tests.benchmarks.catalog import LEFT_OUT, ROWS
from tests.benchmarks.harness import Result, Row, Size


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints the table, and judges: 1 only with `--strict` and a missed accept limit."""
    given = _parser().parse_args(arguments)
    for row in LEFT_OUT:
        print(f"{row.name}: left out, {row.floor.split(',')[0]} is not installed", file=sys.stderr)
    rows = [row for row in ROWS if not given.only or any(row.name.startswith(name) for name in given.only)]
    if not rows:
        print(f"no row begins so; there are {', '.join(row.name for row in ROWS)}", file=sys.stderr)
        return 2
    results = list(_measured(rows, Size.QUICK if given.quick else Size.FULL, given.rounds, given.directory))
    print(report.as_json(results) if given.json else f"\n{report.table(results)}")
    missed = [result.name for result in results if result.verdict == "MISSED"]
    return 1 if missed and given.strict else 0


def _measured(rows: Iterable[Row], size: Size, rounds: int | None, directory: Path | None) -> Iterable[Result]:
    for row in rows:
        print(f"{row.name} …", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="milepost-bench-", dir=directory) as scratch:
            result = harness.run(row, size, Path(scratch), rounds)
        print(f"{row.name}: {result.ratio:.2f} {result.verdict}", file=sys.stderr, flush=True)
        yield result


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="Hot paths against their floors.")
    parser.add_argument("--only", action="append", metavar="NAME", help="rows whose name begins so; may be repeated")
    parser.add_argument("--rounds", type=int, metavar="N", help="measured rounds per row (default: each row's own)")
    parser.add_argument("--quick", action="store_true", help="smaller inputs")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if an accept limit was missed")
    parser.add_argument(
        "--directory", type=Path, help="where databases are made; a disk, because in memory a commit costs nothing"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
