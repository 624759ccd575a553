"""Events to stored rows and back: nothing is lost, what is stored can be read by people, and strangers are errors."""

import json
import zlib
from typing import Any

import msgspec
import pytest
from eventsourcing.persistence import Cipher, Notification, StoredEvent
from eventsourcing.utils import Environment
from hypothesis import given
from hypothesis import strategies as st

from adapters.store import mapper
from adapters.store.mapper import StructMapper, decode, decode_event, encode
from adapters.store.upcasts import UPCASTS
from domain.catalog import TOPICS
from domain.job import events as e
from domain.messages import Meta, Recorded
from tests.builders import NOW, submitted
from tests.strategies import instances

META = Meta("user:ada", "cmd-1", "job-0@3", 17)
EVENT = e.JobHeld(at_ms=NOW, job_id="job-1", why="é√")


@given(st.data())
def test_every_event_comes_back_as_it_was(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(list(TOPICS.values())))
    event, meta = data.draw(instances(kind)), data.draw(instances(Meta))
    topic, state = encode(event, meta)
    assert TOPICS[topic] is kind
    assert decode(topic, state) == (event, meta)
    assert decode_event(state) == event


def test_a_stored_state_is_json_with_the_event_and_its_metadata() -> None:
    topic, state = encode(EVENT, META)
    assert topic == "job.held"
    assert json.loads(state) == {
        "event": {"topic": "job.held", "at_ms": NOW, "job_id": "job-1", "why": "é√"},
        "meta": {"actor": "user:ada", "command_id": "cmd-1", "cause": "job-0@3", "cycle": 17},
    }


def test_defaults_are_not_stored() -> None:
    _, state = encode(e.JobHeld(at_ms=NOW, job_id="job-1"), Meta("user:ada"))
    assert json.loads(state)["event"] == {"topic": "job.held", "at_ms": NOW, "job_id": "job-1"}
    assert json.loads(state)["meta"] == {"actor": "user:ada"}


def test_fields_of_a_later_version_are_passed_over() -> None:
    state = b'{"event":{"topic":"job.held","at_ms":1,"job_id":"job-1","mood":"blue"},"meta":{"actor":"x"},"extra":1}'
    assert decode("job.held", state) == (e.JobHeld(at_ms=1, job_id="job-1"), Meta("x"))


@pytest.mark.parametrize(
    "state",
    [
        b'{"event":{"topic":"job.vanished","at_ms":1},"meta":{"actor":"x"}}',
        b'{"event":{"topic":"job.held","at_ms":1},"meta":{"actor":"x"}}',
        b'{"event":{"topic":"job.held","at_ms":"soon","job_id":"job-1"},"meta":{"actor":"x"}}',
        b"{",
    ],
    ids=["unknown topic", "missing field", "wrong type", "torn"],
)
def test_what_cannot_be_understood_is_an_error_and_never_skipped(state: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode("job.held", state)
    with pytest.raises(msgspec.DecodeError):
        decode_event(state)


def test_a_retired_topic_is_read_in_todays_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped_to_held(event: dict[str, Any]) -> dict[str, Any]:
        return {"topic": "job.held", "at_ms": event["at_ms"], "job_id": event["job"]}

    monkeypatch.setitem(UPCASTS, "job.stopped_v0", stopped_to_held)
    assert mapper.UPCASTS is UPCASTS
    state = b'{"event":{"topic":"job.stopped_v0","at_ms":1,"job":"job-1"},"meta":{"actor":"x","cycle":4}}'
    assert decode("job.stopped_v0", state) == (e.JobHeld(at_ms=1, job_id="job-1"), Meta("x", cycle=4))
    assert decode_event(state) == e.JobHeld(at_ms=1, job_id="job-1")


# -- the library's interface -----------------------------------------------------------------------------------------


def recorded(event: Any = EVENT) -> Recorded:
    return Recorded(0, "job-1", 3, event, META)


def stored(made: StructMapper, event: Recorded) -> StoredEvent:
    return made.to_stored_event(event)


def test_the_librarys_mapper_interface_gives_the_same_row() -> None:
    made = StructMapper()
    row = stored(made, recorded())
    assert (row.originator_id, row.originator_version) == ("job-1", 3)
    assert (row.topic, row.state) == encode(EVENT, META)
    assert made.to_domain_event(row) == recorded()


def test_a_notification_knows_its_position() -> None:
    row = stored(StructMapper(), recorded())
    notification = Notification(row.originator_id, row.originator_version, row.topic, row.state, 42)
    assert StructMapper().to_domain_event(notification) == recorded()._replace(position=42)


class Shifted(Cipher):
    """Adds its key to every byte, after a mark that only the same key brings back."""

    def __init__(self, environment: Environment) -> None:
        self.key = int(environment["KEY"])

    def encrypt(self, plaintext: bytes) -> bytes:
        return bytes((byte + self.key) % 256 for byte in b"mark" + plaintext)

    def decrypt(self, ciphertext: bytes) -> bytes:
        plain = bytes((byte - self.key) % 256 for byte in ciphertext)
        if not plain.startswith(b"mark"):
            raise ValueError("another key")
        return plain.removeprefix(b"mark")


def test_states_can_be_compressed_and_enciphered() -> None:
    ours, theirs = Shifted(Environment(env={"KEY": "7"})), Shifted(Environment(env={"KEY": "8"}))
    long_event = recorded(submitted(name="x" * 5_000))
    compressed = stored(StructMapper(compressor=zlib), long_event)
    assert len(compressed.state) < 1_000
    assert StructMapper(compressor=zlib).to_domain_event(compressed) == long_event
    secret = stored(StructMapper(compressor=zlib, cipher=ours), long_event)
    assert zlib.decompress(ours.decrypt(secret.state)) == encode(long_event.event, META)[1]
    assert StructMapper(compressor=zlib, cipher=ours).to_domain_event(secret) == long_event
    with pytest.raises(ValueError, match="another key"):
        StructMapper(compressor=zlib, cipher=theirs).to_domain_event(secret)
