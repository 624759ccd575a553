"""Importing this registers every built-in policy."""

from domain.policies import backfill, order, placement

__all__ = ["backfill", "order", "placement"]
