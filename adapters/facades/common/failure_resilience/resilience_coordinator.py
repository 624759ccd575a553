"""Another name of `common.failure_resilience.recovery`."""

from common.failure_resilience import recovery
from common.failure_resilience.recovery import *  # noqa: F403

__all__ = [*recovery.__all__]
