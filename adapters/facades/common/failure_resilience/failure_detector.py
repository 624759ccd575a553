"""Another name of `common.failure_resilience.detector`."""

from common.failure_resilience import detector
from common.failure_resilience.detector import *  # noqa: F403

__all__ = [*detector.__all__]
