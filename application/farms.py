"""The farm from the log: now, at any past position, and at any past time.

From the nearest snapshot at or before the position, plus replay. Snapshots are a cache; with none, all is replayed.
"""

import msgspec

from application.ports import Log, StateSnapshot
from domain.farm import Farm
from domain.farm_snapshot import FarmSnapshot
from domain.messages import StreamId

FARM_STREAM: StreamId = "farm"
FARM_TOPIC = "farm.snapshot"
"""Renamed when an older snapshot could no longer be trusted; one of another name is passed over."""
SNAPSHOT_EVERY = 10_000
"""Events between two snapshots of the farm while a server runs."""
WORTH_A_SNAPSHOT = 500
"""Fewer new events than this are replayed faster than a snapshot is written."""


def load(log: Log, upto: int | None = None) -> Farm:
    """The farm at a position, or at the end of the log."""
    return load_and_tell(log, upto)[0]


def load_and_tell(log: Log, upto: int | None = None) -> tuple[Farm, int]:
    """The same, and the position of the snapshot that it started from."""
    found, start = log.snapshot(FARM_STREAM, upto), Farm()
    if found is not None and found.topic == FARM_TOPIC:
        start = Farm.restore(_decode(found.state))
    position = start.position
    return Farm.fold(log.replay(position, upto), start), position


def at_time(log: Log, at_ms: int) -> Farm:
    """The farm as it was at a time: every event up to and including that millisecond."""
    farm = load(log, log.position_at(at_ms))
    farm.now_ms = at_ms
    return farm


def save(log: Log, snapshot: FarmSnapshot) -> None:
    """Stores a snapshot of the farm."""
    log.save_snapshots([StateSnapshot(FARM_STREAM, snapshot.position, FARM_TOPIC, _encode(snapshot))])


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(FarmSnapshot).decode
