"""Lending of whole nodes: what clients are guaranteed, who gets what is left over, and what that makes them owe.

The arithmetic of sharing a farm in percent, for whoever deals out nodes rather than processors: guarantees are scaled
when they exceed the farm, what nobody is guaranteed goes to those with demand, and borrowed nodes count as lent by
all the others. The ledger of the core (`domain/rules/ledger.py`) knows who holds what of whose guarantee; here nodes
are dealt before anybody holds anything. Pure functions of numbers; limits and factors are parameters.
"""

from collections.abc import Sequence
from math import floor
from typing import NamedTuple


class Guaranteed(NamedTuple):
    """Nodes per client, in the order of the clients."""

    counts: list[int]
    wanted: int
    """What the guarantees come to before scaling."""
    scale: float | None
    """By what they were scaled to fit the farm; None if they fit."""


def guaranteed(total: int, percents: Sequence[float]) -> Guaranteed:
    """Whole nodes of a farm of `total` for each guarantee, all scaled alike if they come to more than there is."""
    counts = [floor(total * percent / 100) for percent in percents]
    wanted = sum(counts)
    if wanted <= total:
        return Guaranteed(counts, wanted, None)
    scale = total / wanted
    return Guaranteed([floor(count * scale) for count in counts], wanted, scale)


def room(allocated: float, guarantee: float, limit: float, share: float = 0.5) -> float:
    """How much more a client is taken to want, in percent, when nobody said: a share of its guarantee, in its limit."""
    if limit <= 0 or allocated >= limit:
        return 0.0
    return min(limit - allocated, guarantee * share)


def deal(demands: Sequence[float], left: int) -> list[list[int]]:
    """Who gets which of the nodes 0 .. left-1: in proportion to demand, the remainder one by one, most wanted first.

    Nothing is dealt when nobody wants anything; else everything is.
    """
    dealt: list[list[int]] = [[] for _ in demands]
    total = sum(demands)
    if total <= 0 or left <= 0:
        return dealt
    order = sorted(range(len(demands)), key=lambda client: -demands[client])
    at = 0
    for client in order:
        count = floor(demands[client] / total * left) if demands[client] > 0 else 0
        dealt[client] += range(at, min(left, at + count))
        at = min(left, at + count)
    wanting = [client for client in order if demands[client] > 0]
    for turn, node in enumerate(range(at, left)):
        dealt[wanting[turn % len(wanting)]].append(node)
    return dealt


def within_cap(count: int, total: int, cap_percent: float) -> int:
    """How many borrowed nodes a client keeps under a cap in percent of the farm, at least one; no cap below 0."""
    if cap_percent <= 0 or count == 0 or count / total * 100 <= cap_percent:
        return count
    return max(1, floor(cap_percent / 100 * total))


def may_lend(lender_guarantee: float, amount: float, cap_percent: float) -> bool:
    """Whether a lender can spare an amount: at most a part of what it is guaranteed."""
    return amount <= lender_guarantee * cap_percent / 100


def may_borrow(borrower_guarantee: float, borrower_limit: float, amount: float) -> bool:
    """Whether an amount on top of its guarantee stays within a borrower's limit."""
    return borrower_guarantee + amount <= borrower_limit
