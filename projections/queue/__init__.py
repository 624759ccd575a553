"""Queue: what waits, runs and has ended, in what order, and what stands before it.

One row per job with its task counts, one per workflow, one per attempt, one per dependency, and the reasons that the
scheduling cycles recorded per queue segment (one client, one priority, one requirement).
"""

from typing import get_args

from domain.checkpoint import CheckpointCorrupt, CheckpointDiscarded, CheckpointTaken, CheckpointVerified
from domain.client import ClientEvent
from domain.cycle import CommandRefused, PoliciesAdopted
from domain.forecasting.promises import ForecastsMade, ForecastsScored
from domain.node import NodeEvent
from domain.observed import ObservedExternally
from domain.partition import PartitionEvent
from domain.reservation import ReservationEvent
from domain.undo import CommandUndone
from projections import tables as t
from projections.projection import Projection
from projections.queue import jobs, workflows
from projections.queue.queries import (
    attempts_of,
    behind_whom,
    count_jobs,
    dependencies_of,
    job,
    jobs_by_status,
    list_jobs,
    list_workflows,
    waits_by_client,
    workflow,
)
from projections.queue.rows import QueueFold
from projections.queue.views import (
    AttemptView,
    DependencyView,
    JobFilter,
    JobOrder,
    JobView,
    WaitView,
    WorkflowView,
)
from projections.words import reason_text

PROJECTION = Projection(
    "queue",
    (t.JOBS, t.JOB_COUNTS, t.WORKFLOWS, t.ATTEMPTS, t.DEPENDENCIES, t.REASONS),
    QueueFold,
    jobs.HANDLERS | workflows.HANDLERS,
    ignored=(
        *get_args(NodeEvent),
        *get_args(ClientEvent),
        *get_args(PartitionEvent),
        *get_args(ReservationEvent),
        CheckpointTaken,
        CheckpointVerified,
        CheckpointCorrupt,
        CheckpointDiscarded,
        CommandRefused,
        CommandUndone,
        ObservedExternally,
        PoliciesAdopted,
        ForecastsMade,
        ForecastsScored,
    ),
    version=3,
)

__all__ = [
    "PROJECTION",
    "AttemptView",
    "DependencyView",
    "JobFilter",
    "JobOrder",
    "JobView",
    "WaitView",
    "WorkflowView",
    "attempts_of",
    "behind_whom",
    "count_jobs",
    "dependencies_of",
    "job",
    "jobs_by_status",
    "list_jobs",
    "list_workflows",
    "reason_text",
    "waits_by_client",
    "workflow",
]
