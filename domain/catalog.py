"""The alphabet of the log: every event type, by its topic. An unknown topic is an error, never skipped."""

from typing import get_args

from domain.checkpoint import CheckpointEvent
from domain.client import ClientEvent
from domain.cycle import CommandRefused, CycleDecided, PoliciesAdopted
from domain.dependency import DependencyEvent
from domain.job.events import JobEvent
from domain.messages import Event, topic_of
from domain.node import NodeEvent
from domain.workflow import WorkflowEvent

AnyEvent = (
    JobEvent
    | NodeEvent
    | ClientEvent
    | WorkflowEvent
    | DependencyEvent
    | CheckpointEvent
    | CycleDecided
    | CommandRefused
    | PoliciesAdopted
)

TOPICS: dict[str, type[Event]] = {topic_of(kind): kind for kind in get_args(AnyEvent)}
