"""Importing this registers every built-in policy."""

from domain.policies import backfill, estimate, filters, order, placement, portfolio, priority, suited

__all__ = ["backfill", "estimate", "filters", "order", "placement", "portfolio", "priority", "suited"]
