"""The alphabet of the log: every event type, by its topic. An unknown topic is an error, never skipped."""

from typing import get_args

from domain.checkpoint import CheckpointEvent
from domain.client import ClientEvent
from domain.cycle import CommandRefused, CycleDecided, PoliciesAdopted
from domain.dependency import DependencyEvent
from domain.forecasting.promises import ForecastsMade, ForecastsScored
from domain.job.events import JobEvent
from domain.messages import Event, topic_of
from domain.node import NodeEvent
from domain.observed import ObservedExternally
from domain.partition import PartitionEvent
from domain.reservation import ReservationEvent
from domain.undo import CommandUndone
from domain.workflow import WorkflowEvent

AnyEvent = (
    JobEvent
    | NodeEvent
    | ClientEvent
    | WorkflowEvent
    | DependencyEvent
    | CheckpointEvent
    | PartitionEvent
    | ReservationEvent
    | CycleDecided
    | CommandRefused
    | CommandUndone
    | PoliciesAdopted
    | ForecastsMade
    | ForecastsScored
    | ObservedExternally
)

TOPICS: dict[str, type[Event]] = {topic_of(kind): kind for kind in get_args(AnyEvent)}
