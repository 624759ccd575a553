"""Queues, schedulers and priorities of jobs."""

from common.job_management import prioritization, queue, scheduler
from common.job_management.prioritization import *  # noqa: F403
from common.job_management.queue import *  # noqa: F403
from common.job_management.scheduler import *  # noqa: F403

__all__ = [*queue.__all__, *scheduler.__all__, *prioritization.__all__]
