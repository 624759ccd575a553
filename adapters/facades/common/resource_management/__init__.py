"""Shares of owners, what they lend each other, and what they will use."""

from common.resource_management import allocator, forecaster, partitioner
from common.resource_management.allocator import *  # noqa: F403
from common.resource_management.forecaster import *  # noqa: F403
from common.resource_management.partitioner import *  # noqa: F403

__all__ = [*allocator.__all__, *forecaster.__all__, *partitioner.__all__]
