"""The studies `shares` and `months` from the command line: every seed under every set of policies."""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from domain.policies import Policies
from tests.studies import medians, months, shares
from tests.studies.months_farm import MonthsFarm
from tests.studies.shares_day import SharesDay


class Proof(NamedTuple):
    """One study."""

    drawn: Callable[[int], Any]
    """What a seed draws."""
    sets: dict[str, Callable[[], Policies]]
    outcome: Callable[[Any, str, Policies], Any]
    line: Callable[[Any], str]
    columns: Sequence[medians.Column[Any]]
    musts: Sequence[medians.Must[Any]]


PROOFS = {
    "shares": Proof(SharesDay.of, shares.SETS, shares.outcome, shares.line, shares.COLUMNS, shares.MUSTS),
    "months": Proof(MonthsFarm, months.SETS, months.outcome, months.line, months.COLUMNS, months.MUSTS),
}


def run(given: argparse.Namespace) -> int:
    """Runs a study and prints it; 1 if anything happened that must not."""
    proof = PROOFS[given.study]
    outcomes = []
    for seed in range(given.first, given.first + given.seeds):
        drawn = proof.drawn(seed)
        for name in given.only or proof.sets:
            outcomes.append(proof.outcome(drawn, name, proof.sets[name]()))
            print(proof.line(outcomes[-1]), file=sys.stderr, flush=True)
    broken = medians.broken(outcomes, proof.musts)
    if given.json:
        print(msgspec.json.format(msgspec.json.encode(outcomes), indent=2).decode())
    else:
        musts = broken or [f"On every seed: {must.what}." for must in proof.musts]
        print("\n".join(["", medians.table(outcomes, proof.columns), "", *musts]))
    return 1 if broken else 0
