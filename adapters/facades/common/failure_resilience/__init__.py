"""Saving and restoring jobs, noticing failures, and recovering from them."""

from common.failure_resilience import checkpoint, detector, recovery
from common.failure_resilience.checkpoint import *  # noqa: F403
from common.failure_resilience.detector import *  # noqa: F403
from common.failure_resilience.recovery import *  # noqa: F403

__all__ = [*checkpoint.__all__, *detector.__all__, *recovery.__all__]
