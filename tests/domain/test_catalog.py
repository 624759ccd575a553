"""The alphabet of the log: all topics, as they were published, and every event comes back from JSON as it was."""

import re
from enum import StrEnum
from typing import get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import domain.job.commands
from domain import checkpoint, client, dependency, node, workflow
from domain.catalog import TOPICS, AnyEvent
from domain.checkpoint import CheckpointState, CheckpointType
from domain.cycle import DAY_MS, cycle_stream, refusal_stream
from domain.dependency import DependencyState, DependencyType
from domain.farm_snapshot import FarmSnapshot
from domain.job.values import JobStatus, Priority
from domain.messages import Command, Event, Meta, client_stream, node_stream, topic_of
from domain.node import NodeStatus
from domain.planning.planner import CONFLICTING
from domain.resources import ResourceType
from tests.spec import stored
from tests.strategies import instances

COMMANDS = [
    kind
    for union in (
        domain.job.commands.JobCommand,
        node.NodeCommand,
        client.ClientCommand,
        workflow.WorkflowCommand,
        dependency.DependencyCommand,
        checkpoint.CheckpointCommand,
    )
    for kind in get_args(union)
]

FEWER = settings(max_examples=settings.default.max_examples // 4)
"""There are many types, and few ways for one to go wrong."""


def test_every_event_type_is_in_the_catalog_under_a_topic_of_its_own() -> None:
    defined = {kind for kind in Event.__subclasses__() if kind.__module__.startswith("domain.")}
    assert set(TOPICS.values()) == defined == set(get_args(AnyEvent))
    assert len(TOPICS) == len(defined)


@pytest.mark.parametrize("topic", TOPICS)
def test_a_topic_is_an_aggregate_and_what_happened_to_it(topic: str) -> None:
    assert re.fullmatch(r"[a-z]+\.[a-z]+(_[a-z]+)*", topic)
    assert topic_of(TOPICS[topic]) == topic


def test_every_command_has_a_tag_of_its_own() -> None:
    tags = [kind.__struct_config__.tag for kind in COMMANDS]
    assert len(set(tags)) == len(tags) == len(COMMANDS)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)+", tag) for tag in tags)


def test_events_and_commands_are_frozen_and_say_in_words_what_they_mean() -> None:
    for kind in (*TOPICS.values(), *COMMANDS):
        assert kind.__struct_config__.frozen
        assert kind.__doc__
        assert kind.__doc__.rstrip().endswith(".")


def test_an_event_of_an_unknown_kind_is_an_error() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"Invalid value 'job\.exploded'"):
        msgspec.json.decode(b'{"topic":"job.exploded","at_ms":1}', type=AnyEvent)


@pytest.mark.parametrize("topic", TOPICS)
@FEWER
@given(data=st.data())
def test_every_event_comes_back_from_the_log_as_it_was(topic: str, data: st.DataObject) -> None:
    event = data.draw(instances(TOPICS[topic]))
    back = stored(event)
    assert back == event
    assert type(back) is TOPICS[topic]
    assert msgspec.json.encode(back) == msgspec.json.encode(event)


@FEWER
@given(st.data())
def test_commands_and_snapshots_come_back_from_json_as_they_were(data: st.DataObject) -> None:
    for kind in (*COMMANDS, FarmSnapshot, Meta):
        value = data.draw(instances(kind))
        assert msgspec.json.decode(msgspec.json.encode(value), type=kind) == value


def test_every_topic_that_voids_a_plan_exists() -> None:
    assert set(CONFLICTING) <= set(TOPICS)
    assert len(set(CONFLICTING)) == len(CONFLICTING)


PUBLISHED = {
    JobStatus: "PENDING QUEUED RUNNING PAUSED COMPLETED FAILED CANCELLED",
    NodeStatus: "ONLINE OFFLINE MAINTENANCE ERROR STARTING STOPPING",
    Priority: "LOW MEDIUM HIGH CRITICAL",
    ResourceType: "CPU GPU MEMORY STORAGE NETWORK SPECIALIZED",
    DependencyType: "SEQUENTIAL DATA RESOURCE CONDITIONAL TEMPORAL",
    DependencyState: "PENDING SATISFIED FAILED BYPASSED",
    CheckpointType: "FULL INCREMENTAL DELTA METADATA",
    CheckpointState: "TAKEN VERIFIED CORRUPT DISCARDED",
}


@pytest.mark.parametrize("kind", PUBLISHED)
def test_enumerations_have_exactly_the_published_members(kind: type[StrEnum]) -> None:
    assert [member.name for member in kind] == PUBLISHED[kind].split()
    assert all(member.value == member.name.lower() for member in kind)


def test_streams_of_named_entities_cannot_be_mistaken_for_others() -> None:
    assert node_stream("job-1") == "node:job-1"
    assert client_stream("job-1") == "client:job-1"


def test_cycles_and_refusals_have_a_stream_for_each_day() -> None:
    midnight = 20_000 * DAY_MS
    assert cycle_stream(midnight) == cycle_stream(midnight + DAY_MS - 1) == "cycle-20000"
    assert cycle_stream(midnight - 1) == "cycle-19999"
    assert refusal_stream(midnight) == "refusal-20000"


def test_a_command_can_be_told_from_another_in_json() -> None:
    union = get_args(node.NodeCommand)
    drain = node.DrainNode(node_id="n1", why="disk")
    assert issubclass(type(drain), Command)
    assert msgspec.json.decode(msgspec.json.encode(drain), type=node.NodeCommand) == drain
    assert len(union) == len({kind.__struct_config__.tag for kind in union})
