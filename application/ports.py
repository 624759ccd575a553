"""What the application needs from the outside world: time, ids, and something that executes attempts.

Each port has a contract suite under `tests/contracts`, run over every implementation.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import msgspec

from domain.job.values import FailureClass, NodeSlots, Work
from domain.messages import Event, JobId, NodeId, Recorded, StreamId, Value, WorkflowId
from domain.resources import Resources


class Clock(Protocol):
    """Where the time comes from."""

    def now_ms(self) -> int:
        """Milliseconds since 1970-01-01 UTC; never smaller than an earlier answer of the same clock."""
        ...


class Ids(Protocol):
    """Where ids come from."""

    def new(self, prefix: str) -> str:
        """A fresh id `prefix-…`; ids of one source sort in the order in which they were made."""
        ...


class Launch(Value, frozen=True):
    """All that an executor needs to run one attempt; equal launches are the same attempt."""

    attempt_id: str
    """The fencing token: an executor runs it at most once, ever."""
    job_id: JobId
    task: int
    attempt: int
    node_id: NodeId
    """The node that hosts the process."""
    nodes: tuple[NodeSlots, ...]
    """All nodes of a gang, the host first."""
    work: Work
    resources: Resources
    """What the attempt holds on its host; a memory amount above zero is a limit."""
    grace_ms: int
    walltime_ms: int | None = None
    workflow_id: WorkflowId | None = None
    output_dir: str | None = None
    restore_from: str | None = None
    """Path of the checkpoint to resume from."""
    partial_overhead: int | None = None
    """How much of its run time may go into partial results, in percent; None if nobody said."""


class Report(msgspec.Struct, frozen=True, omit_defaults=True, gc=False, tag_field="report"):
    """Something an executor saw."""


class AttemptStarted(Report, frozen=True, kw_only=True, tag="started"):
    """The attempt's process runs."""

    attempt_id: str
    at_ms: int
    pid: int = 0


class AttemptProgress(Report, frozen=True, kw_only=True, tag="progress"):
    """The attempt said how far it is (`openjd_progress`) or what it does (`openjd_status`)."""

    attempt_id: str
    percent: int
    status: str = ""


class AttemptPartial(Report, frozen=True, kw_only=True, tag="partial"):
    """The attempt published a result that can be looked at already (`milepost_partial`)."""

    attempt_id: str
    path: str
    quality: int
    cost_ms: int = 0
    """How long it took to make, as far as the program says."""


class AttemptCheckpoint(Report, frozen=True, kw_only=True, tag="checkpoint"):
    """The attempt saved its state (`milepost_checkpoint`); the file was read and hashed where it lies."""

    attempt_id: str
    number: int
    """Counts the checkpoints of this attempt from 1."""
    path: str
    progress: int
    size_bytes: int
    sha256: str


class AttemptExited(Report, frozen=True, kw_only=True, tag="exited"):
    """The attempt is over: none of its processes is left."""

    attempt_id: str
    exit_code: int | None = None
    signal: int | None = None
    failure: FailureClass | None = None
    """None when it succeeded."""
    message: str = ""
    started_ms: int | None = None
    ended_ms: int | None = None
    cpu_ms: int = 0
    max_rss_mib: int = 0


class NodeUp(Report, frozen=True, kw_only=True, tag="node-up"):
    """A node can take attempts: its supervisor answers."""

    node_id: NodeId
    capacity: Resources
    attributes: dict[str, tuple[str, ...]] = {}


class NodeHeartbeat(Report, frozen=True, kw_only=True, tag="node-heartbeat"):
    """A node's supervisor gave a sign of life."""

    node_id: NodeId


class NodeGone(Report, frozen=True, kw_only=True, tag="node-gone"):
    """A node's supervisor is certainly dead, and so are all processes of its attempts."""

    node_id: NodeId
    why: str
    verified: bool = False
    """The executor has looked at the machine itself, so that nobody has to wait for a lease to be sure."""
    for_good: bool = False
    """It will not be started again, whoever asks."""


AttemptReport = AttemptStarted | AttemptProgress | AttemptPartial | AttemptCheckpoint | AttemptExited
NodeReport = NodeUp | NodeHeartbeat | NodeGone
AnyReport = AttemptReport | NodeReport


class Executor(Protocol):
    """Runs attempts on nodes.

    A normal return of any method means "accepted"; everything later arrives as a report. All methods are idempotent:
    asking twice is normal after a crash. Reports about one attempt keep their order (started before exited) and may be
    repeated: a new process that asks to `start` or `terminate` a known attempt is told again what became of it.
    """

    def open(self) -> None:
        """Connect to the nodes, starting those that do not run; a `NodeUp` follows for each."""
        ...

    def start(self, launches: Sequence[Launch]) -> None:
        """Run these attempts. One that was started before is not run again but reported again, as it stands now."""
        ...

    def terminate(self, launch: Launch, grace_ms: int) -> None:
        """End an attempt: SIGTERM, then SIGKILL after the grace period. One never started never will be."""
        ...

    def suspend(self, launch: Launch) -> None:
        """Stop an attempt where it is, keeping its memory; its walltime stands still."""
        ...

    def resume(self, launch: Launch) -> None:
        """Let a suspended attempt go on."""
        ...

    def reports(self, timeout_s: float) -> list[AnyReport]:
        """What was seen since the last call, in order; waits up to `timeout_s` for the first one."""
        ...

    def wake(self) -> None:
        """Let a waiting `reports` return now."""
        ...

    def start_node(self, node_id: NodeId) -> None:
        """Start a node again that was reported gone."""
        ...

    def stop_node(self, node_id: NodeId) -> None:
        """End a node's supervisor and whatever runs there; a `NodeGone` follows."""
        ...

    def fence(self, node_id: NodeId) -> bool:
        """Make sure that nothing of a silent node runs any more, before its attempts are given to others.

        True: nothing does, neither supervisor nor attempts, frozen ones included; a `NodeGone` follows if none came
        before. False: that is not certain yet, so the node must not be given up; ask again. Blocks for seconds at
        most. A node that nobody knows runs nothing.
        """
        ...

    def close(self) -> None:
        """Let go of the nodes; their supervisors and attempts stay as they are."""
        ...


class Unless(NamedTuple):
    """A condition on the log: nothing after `position` may have one of these topics."""

    position: int
    topics: tuple[str, ...]


class StateSnapshot(NamedTuple):
    """The encoded state of one stream, or of the whole farm, at one version or position."""

    stream: StreamId
    version: int
    topic: str
    """Which kind of state it is."""
    state: bytes


class Remembered(NamedTuple):
    """What a command with a caller's id was answered, to answer the same again."""

    command_id: str
    upto: int
    """The reply's position, as the number of events of the same append that it follows."""
    events: int
    """How many of them it caused."""


class Log(Protocol):
    """The append-only store of events: the state of record. Reading never blocks writing."""

    def append(
        self,
        events: Sequence[Recorded],
        *,
        unless: Unless | None = None,
        snapshots: Sequence[StateSnapshot] = (),
        remembered: Sequence[Remembered] = (),
    ) -> int:
        """Stores all of it or nothing, durably, and returns the position of the first event.

        VersionConflict if a version of a stream is taken; PositionConflict if the condition does not hold.
        """
        ...

    def position(self) -> int:
        """The position of the last event, 0 for an empty log."""
        ...

    def read(self, after: int, limit: int, upto: int | None = None, topics: Sequence[str] = ()) -> list[Recorded]:
        """Events in order, positions above `after` and not above `upto`, of some topics or of all."""
        ...

    def replay(self, after: int, upto: int | None = None) -> Iterator[tuple[int, StreamId, int, Event]]:
        """(position, stream, version, event) in order, without the metadata: the fastest way through the log."""
        ...

    def stream(self, stream: StreamId, after: int = 0, upto: int | None = None) -> list[Recorded]:
        """The events of one stream with versions above `after`, not above `upto`."""
        ...

    def snapshot(self, stream: StreamId, upto: int | None = None, topic: str | None = None) -> StateSnapshot | None:
        """The newest snapshot of a stream, at or below a version, of one topic or of any."""
        ...

    def save_snapshots(self, snapshots: Sequence[StateSnapshot]) -> None:
        """Stores snapshots; one that is there already stays, unless its topic is another."""
        ...

    def forget_snapshots(self) -> None:
        """Deletes every snapshot, which changes nothing but time."""
        ...

    def remembered(self, command_id: str) -> tuple[int, int] | None:
        """The position and the number of events that a command was answered with before."""
        ...

    def of_command(self, command_id: str) -> list[Recorded]:
        """The events that a command led to, in order.

        As many as it has where its reply is remembered; else all of the log is looked through.
        """
        ...

    def position_at(self, at_ms: int) -> int:
        """The position of the last event at or before a time, 0 if there is none."""
        ...

    def streams(self, prefix: str, limit: int) -> list[StreamId]:
        """Up to `limit` stream ids that begin so, in order."""
        ...

    def close(self) -> None:
        """Lets go of files and connections."""
        ...
