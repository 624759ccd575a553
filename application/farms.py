"""The farm from the log: now, and at any past position.

From the nearest snapshot at or before the position, plus replay. Snapshots are a cache; with none that this code can
read, all is replayed.
"""

import msgspec

from application.cached import read, topic_of
from application.ports import Log, StateSnapshot
from domain.farm import Farm
from domain.farm_snapshot import FarmSnapshot
from domain.messages import StreamId

FARM_STREAM: StreamId = "farm"
FARM_TOPIC = "farm.snapshot"
"""Renamed when a snapshot of the same shape could no longer be trusted; see `topic`."""
SNAPSHOT_EVERY = 10_000
"""Events between two snapshots of the farm while a server runs."""
WORTH_A_SNAPSHOT = 500
"""Fewer new events than this are replayed faster than a snapshot is written."""


def load(log: Log, upto: int | None = None) -> Farm:
    """The farm at a position, or at the end of the log."""
    return load_and_tell(log, upto)[0]


def load_and_tell(log: Log, upto: int | None = None) -> tuple[Farm, int]:
    """The same, and the position of the snapshot that it started from."""
    found = log.snapshot(FARM_STREAM, upto, topic())
    start = None if found is None else read(found.state, FarmSnapshot)
    position = 0 if start is None else start.position
    return Farm.fold(log.replay(position, upto), start), position


def save(log: Log, snapshot: FarmSnapshot) -> None:
    """Stores a snapshot of the farm."""
    log.save_snapshots([StateSnapshot(FARM_STREAM, snapshot.position, topic(), msgspec.msgpack.encode(snapshot))])


def topic() -> str:
    """How this code's snapshots of the farm are called in the store; one of another name is passed over."""
    return topic_of(FARM_TOPIC, FarmSnapshot)
