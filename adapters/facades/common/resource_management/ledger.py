"""Who lends what to whom. The sum of what is lent is always the sum of what is borrowed, for each type."""

from collections.abc import Mapping

from common.core.enums import ResourceType
from common.core.needs import Amounts, ResourceAllocation

EPSILON = 1e-9
"""Amounts below this are none: sums of fractions are not exact."""


def summed_by_type(ledger: Mapping[str, Mapping[ResourceType, float]], kind: ResourceType) -> float:
    """What all owners of a ledger have of a type."""
    return sum(amounts.get(kind, 0.0) for amounts in ledger.values())


def move(lender: ResourceAllocation, borrower: ResourceAllocation, kind: ResourceType, amount: float) -> None:
    """Lends so much."""
    borrower.borrow_from(lender.owner_id, kind, amount)
    lender.lend_to(borrower.owner_id, kind, amount)


def give_back(lender: ResourceAllocation, borrower: ResourceAllocation, asked: Mapping[ResourceType, float]) -> Amounts:
    """Returns of each type as much as was asked, but not more than is borrowed and lent; what was returned."""
    borrowed = borrower.borrowed.get(lender.owner_id, {})
    lent = lender.lent.get(borrower.owner_id, {})
    returned: Amounts = {}
    for kind, wanted in asked.items():
        amount = min(wanted, borrowed.get(kind, 0.0), lent.get(kind, 0.0))
        if amount > 0:
            returned[kind] = amount
            _lower(borrowed, kind, amount)
            _lower(lent, kind, amount)
    for ledger, owner in ((borrower.borrowed, lender.owner_id), (lender.lent, borrower.owner_id)):
        if owner in ledger and not ledger[owner]:
            del ledger[owner]
    return returned


def _lower(amounts: Amounts, kind: ResourceType, amount: float) -> None:
    left = amounts[kind] - amount
    if left > EPSILON:
        amounts[kind] = left
    else:
        del amounts[kind]
