"""Partition: a named set of nodes that jobs can be limited to, with limits and walltimes of its own.

Nodes belong to it by their id, or by their attributes: one that registers later with the right ones is in it at once.
Belonging to a partition keeps nobody else off a node.
"""

from collections.abc import Iterator, Mapping
from typing import Protocol

from msgspec.structs import replace

from domain import errors
from domain.messages import SAFE_ID, ClientId, Command, Event, NodeId, StreamId, Value
from domain.resources import AttributeNeed, has_attributes


class Terms(Value, frozen=True):
    """Which nodes belong to a partition, who may use it, and how much of it."""

    nodes: tuple[NodeId, ...] = ()
    """Nodes that belong to it by name, sorted; they need not be known yet."""
    attributes: tuple[AttributeNeed, ...] = ()
    """Nodes that meet all of these belong to it too; none given means only those named."""
    clients: tuple[ClientId, ...] = ()
    """Who may use it, sorted; none given means everybody."""
    max_tasks: int | None = None
    """How many tasks of its jobs may run at once; None means no such limit."""
    limit_percent: int = 100
    """What all its jobs may hold together, in percent of the cores and of the GPUs of its own nodes."""
    client_percent: int = 100
    """What the jobs of any one client may hold of it."""
    max_walltime_ms: int | None = None
    """The longest walltime of a job; None means no such limit."""
    default_walltime_ms: int | None = None
    """The walltime of a job that names none; None means the longest one."""

    def admits(self, client_id: ClientId) -> bool:
        """Whether a client may use it."""
        return not self.clients or client_id in self.clients

    def walltime_ms(self, asked_ms: int | None) -> int | None:
        """The walltime of a job that asks for this one."""
        if asked_ms is not None:
            return asked_ms
        return self.max_walltime_ms if self.default_walltime_ms is None else self.default_walltime_ms


class PartitionDefined(Event, frozen=True, kw_only=True, tag="partition.defined"):
    """A partition became known."""

    partition: str
    terms: Terms


class PartitionChanged(Event, frozen=True, kw_only=True, tag="partition.changed"):
    """A partition has other terms."""

    partition: str
    terms: Terms
    why: str = ""


class PartitionRemoved(Event, frozen=True, kw_only=True, tag="partition.removed"):
    """A partition is no more; its nodes are what they were."""

    partition: str
    why: str = ""


PartitionEvent = PartitionDefined | PartitionChanged | PartitionRemoved


class DefinePartition(Command, frozen=True, kw_only=True, tag="define-partition"):
    """Make a partition known."""

    partition: str
    terms: Terms


class ChangePartition(Command, frozen=True, kw_only=True, tag="change-partition"):
    """Give a partition other terms."""

    partition: str
    terms: Terms
    why: str = ""


class RemovePartition(Command, frozen=True, kw_only=True, tag="remove-partition"):
    """Let a partition be no more; no job may use it."""

    partition: str
    why: str = ""


PartitionCommand = DefinePartition | ChangePartition | RemovePartition


class Partition(Value, frozen=True):
    """The state of one partition: the fold of its events."""

    partition: str
    terms: Terms
    removed: bool = False


class HasAttributes(Protocol):
    """A node, as far as partitions look at it."""

    @property
    def node_id(self) -> NodeId:
        """Its name."""
        ...

    @property
    def attributes(self) -> Mapping[str, tuple[str, ...]]:
        """Its attributes."""
        ...

    @property
    def retired(self) -> bool:
        """Whether it has left the farm for good."""
        ...


def belongs(node: HasAttributes, terms: Terms) -> bool:
    """Whether a node belongs to a partition: by its name or its attributes, and not once it has left the farm."""
    if node.retired:
        return False
    return node.node_id in terms.nodes or (
        bool(terms.attributes) and has_attributes(node.attributes, terms.attributes) is None
    )


def partition_stream(name: str) -> StreamId:
    """The stream of a partition, which people name."""
    return f"partition:{name}"


def decide(partition: Partition | None, command: PartitionCommand, now_ms: int) -> tuple[PartitionEvent, ...]:
    """Its terms make sense; it is defined once, and again only after it was removed."""
    known = None if partition is None or partition.removed else partition
    name = command.partition
    if isinstance(command, DefinePartition):
        check_terms(name, command.terms)
        return _define(known, command, now_ms)
    if known is None:
        if partition is not None and isinstance(command, RemovePartition):
            return ()
        raise errors.PartitionNotFound(partition=name)
    if isinstance(command, RemovePartition):
        return (PartitionRemoved(at_ms=now_ms, partition=name, why=command.why),)
    check_terms(name, command.terms)
    if known.terms == command.terms:
        return ()
    return (PartitionChanged(at_ms=now_ms, partition=name, terms=command.terms, why=command.why),)


def _define(known: Partition | None, command: DefinePartition, now_ms: int) -> tuple[PartitionEvent, ...]:
    if known is None:
        return (PartitionDefined(at_ms=now_ms, partition=command.partition, terms=command.terms),)
    if known.terms == command.terms:
        return ()
    problem = "there is one with other terms; `milepost partition set` changes them"
    raise errors.PartitionInvalid(partition=command.partition, problem=problem)


def check_terms(name: str, terms: Terms) -> None:
    """PartitionInvalid unless it names nodes or attributes, percentages are 0..100, and walltimes and limits fit."""
    problem = next(_problems(name, terms), None)
    if problem is not None:
        raise errors.PartitionInvalid(partition=name, problem=problem)


def _problems(name: str, terms: Terms) -> Iterator[str]:
    if SAFE_ID.fullmatch(name) is None:
        yield "a name is plain letters, digits, `_.@+-`"
    if not terms.nodes and not terms.attributes:
        yield "it has no nodes: name some, or an attribute that they have"
    for names in (terms.nodes, terms.clients):
        if list(names) != sorted(set(names)):
            yield "its nodes and clients must be sorted and named once"
    odd = [name for name in terms.nodes if SAFE_ID.fullmatch(name) is None]
    if odd:
        yield f"no node can be called {odd[0]!r}: an id is plain letters, digits, `_.@+-`"
    if any(not need.name or not (need.any_of or need.all_of) for need in terms.attributes):
        yield "an attribute needs a name and a value"
    yield from _wrong_limits(terms)


def _wrong_limits(terms: Terms) -> Iterator[str]:
    for percent in (terms.limit_percent, terms.client_percent):
        if not 0 <= percent <= 100:
            yield f"a limit of {percent} % is not within 0..100"
    if terms.max_tasks is not None and terms.max_tasks < 1:
        yield "the task limit must be at least 1"
    longest_ms, default_ms = terms.max_walltime_ms, terms.default_walltime_ms
    if min(1 if longest_ms is None else longest_ms, 1 if default_ms is None else default_ms) < 1:
        yield "a walltime must be at least 1 ms"
    if longest_ms is not None and default_ms is not None and default_ms > longest_ms:
        yield "the default walltime is longer than the longest one"


def evolve(partition: Partition | None, event: PartitionEvent) -> Partition:
    """The state after one more fact."""
    if isinstance(event, PartitionDefined):
        return Partition(event.partition, event.terms)
    assert partition is not None
    if isinstance(event, PartitionChanged):
        return replace(partition, terms=event.terms)
    return replace(partition, removed=True)
