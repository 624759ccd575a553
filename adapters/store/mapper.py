"""Recorded events ↔ stored rows: JSON by msgspec, `{"event": {"topic": …}, "meta": {…}}`, one tagged-union decoder.

JSON because it can be read in the database and costs no more than a binary form here. The topic stands twice, in its
column (for selection) and as the tag (for decoding, which is faster than choosing a decoder by the column).
"""

from typing import Any

import msgspec
from eventsourcing.persistence import Mapper, Notification, StoredEvent, Transcoder

from adapters.store.upcasts import UPCASTS, upcast
from domain.catalog import TOPICS, AnyEvent
from domain.messages import Event, Meta, Recorded, StreamId


class _Envelope(msgspec.Struct, frozen=True, gc=False):
    event: AnyEvent
    meta: Meta


class EventOnly(msgspec.Struct, frozen=True, gc=False):
    """A stored state without its metadata, which a replay need not decode."""

    event: AnyEvent


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Envelope).decode
_decode_event = msgspec.json.Decoder(EventOnly).decode
_TOPICS: dict[type[Event], str] = {kind: topic for topic, kind in TOPICS.items()}


def encode(event: Any, meta: Meta) -> tuple[str, bytes]:
    """Topic and stored state of an event."""
    return _TOPICS[type(event)], _encode(_Envelope(event, meta))


def row_of(recorded: Recorded) -> tuple[StreamId, int, str, bytes]:
    """An event as the table holds it: stream, version, topic, state."""
    _, stream, version, event, meta = recorded
    return stream, version, _TOPICS[type(event)], _encode(_Envelope(event, meta))  # type: ignore[arg-type]


def decode(topic: str, state: bytes) -> tuple[Event, Meta]:
    """Event and metadata of a stored state, upcast where its topic is an old one."""
    if topic in UPCASTS:
        state = _upcast_state(state)
    envelope = _decode(state)
    return envelope.event, envelope.meta


def mention_of(command_id: str) -> bytes:
    """What stands in the stored state of every event of a command, and hardly anywhere else."""
    return b'"command_id":' + msgspec.json.encode(command_id)


def decode_event(state: bytes) -> Event:
    """As `decode`, without the metadata. No topic of today is an old one, so an old one cannot be decoded as it is."""
    try:
        return _decode_event(state).event
    except msgspec.ValidationError:
        return _decode_event(_upcast_state(state)).event


def _upcast_state(state: bytes) -> bytes:
    envelope = msgspec.json.decode(state)
    envelope["event"] = upcast(envelope["event"])
    return _encode(envelope)


class StructMapper(Mapper[str]):
    """The library's mapper interface over `encode` and `decode`, with its compressor and cipher if there are any."""

    def __init__(self, transcoder: Transcoder | None = None, compressor: Any = None, cipher: Any = None) -> None:
        super().__init__(transcoder, compressor, cipher)  # type: ignore[arg-type]  # msgspec stands in its place

    def to_stored_event(self, domain_event: Any) -> StoredEvent:
        """The row of a `Recorded`."""
        topic, state = encode(domain_event.event, domain_event.meta)
        if self.compressor:
            state = self.compressor.compress(state)
        if self.cipher:
            state = self.cipher.encrypt(state)
        return StoredEvent(domain_event.stream, domain_event.version, topic, state)

    def to_domain_event(self, stored_event: StoredEvent) -> Any:
        """The `Recorded` of a row; its position is 0 unless the row is a notification."""
        state = stored_event.state
        if self.cipher:
            state = self.cipher.decrypt(state)
        if self.compressor:
            state = self.compressor.decompress(state)
        event, meta = decode(stored_event.topic, state)
        position = stored_event.id if isinstance(stored_event, Notification) else 0
        return Recorded(position, str(stored_event.originator_id), stored_event.originator_version, event, meta)
