"""Importing this registers every built-in policy, and every rule of a cycle."""

# Rules are asked in this order: whose it is, where, what is booked, who makes way, what is switched.
# isort: off
import domain.rules.sharing
import domain.rules.partitioning
import domain.rules.bookings
import domain.rules.preempting
import domain.rules.energy  # noqa: F401

# isort: on
from domain.policies import (
    backfill,
    energy,
    estimate,
    fairshare,
    filters,
    order,
    placement,
    portfolio,
    preemption,
    priority,
    sharing,
    suited,
)

__all__ = [
    "backfill",
    "energy",
    "estimate",
    "fairshare",
    "filters",
    "order",
    "placement",
    "portfolio",
    "preemption",
    "priority",
    "sharing",
    "suited",
]
