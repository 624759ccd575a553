"""Another name of `common.failure_resilience.checkpoint`."""

from common.failure_resilience import checkpoint
from common.failure_resilience.checkpoint import *  # noqa: F403

__all__ = [*checkpoint.__all__]
