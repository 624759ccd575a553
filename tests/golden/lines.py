"""Golden lines: a stored event as a release wrote it, and the state that it folds to.

    {"position": 1, "stream": "node:n1", "version": 1, "topic": "node.registered", "state": {...}, "folds_to": {...}}

`state` is byte for byte what the store holds; `folds_to` is the aggregate after it, null where there is none.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec

from adapters.store.log import Row
from application.decider import (
    CHECKPOINT,
    CLIENT,
    DEPENDENCY,
    EXTERNAL,
    JOB,
    NODE,
    PARTITION,
    RESERVATION,
    WORKFLOW,
    Aggregate,
)
from domain.checkpoint import CheckpointEvent
from domain.client import ClientEvent
from domain.dependency import DependencyEvent
from domain.job.events import JobEvent
from domain.messages import Event, StreamId
from domain.node import NodeEvent
from domain.observed import ObservedExternally
from domain.partition import PartitionEvent
from domain.reservation import ReservationEvent
from domain.workflow import WorkflowEvent

FOLDER = Path(__file__).parent
FAMILIES = (
    (JobEvent, JOB),
    (NodeEvent, NODE),
    (ClientEvent, CLIENT),
    (WorkflowEvent, WORKFLOW),
    (DependencyEvent, DEPENDENCY),
    (CheckpointEvent, CHECKPOINT),
    (PartitionEvent, PARTITION),
    (ReservationEvent, RESERVATION),
)
AGGREGATES: dict[type[Event], Aggregate] = {kind: family for kinds, family in FAMILIES for kind in get_args(kinds)} | {
    ObservedExternally: EXTERNAL
}


class Line(msgspec.Struct, frozen=True):
    """One line of a golden file."""

    position: int
    stream: StreamId
    version: int
    topic: str
    state: msgspec.Raw
    folds_to: msgspec.Raw

    @property
    def row(self) -> Row:
        """As the store holds it."""
        return Row(self.position, self.stream, self.version, self.topic, bytes(self.state))


def golden_files() -> list[Path]:
    """All files with golden lines, by name."""
    return sorted(FOLDER.glob("*.jsonl"))


def read_lines(file: Path) -> list[Line]:
    """The lines of one file."""
    return [msgspec.json.decode(line, type=Line) for line in file.read_bytes().splitlines()]


def fold(events: Iterator[tuple[StreamId, Event]]) -> Iterator[Any]:
    """After each event the state of its aggregate, None where there is none."""
    states: dict[StreamId, Any] = {}
    for stream, event in events:
        aggregate = AGGREGATES.get(type(event))
        if aggregate is None:
            yield None
            continue
        states[stream] = aggregate.evolve(states.get(stream), event)
        yield states[stream]


def topics_in(files: list[Path]) -> set[str]:
    """Every topic of which there is a golden line."""
    return {line.topic for file in files for line in read_lines(file)}
