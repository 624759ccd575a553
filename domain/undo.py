"""Facts about taking a command back. The changes themselves are ordinary facts of their streams, with a cause."""

from domain import client, node
from domain.cycle import DAY_MS, PoliciesAdopted
from domain.job import commands as c
from domain.job import events as e
from domain.messages import Command, Event, StreamId, topic_of

UNDO = "undo:"
"""Begins the cause of what takes a command back; the id of that command follows."""

UNDOABLE: tuple[type[Command], ...] = (
    c.HoldJob,
    c.UnholdJob,
    c.PauseJob,
    c.ResumeJob,
    c.PrioritizeJob,
    c.SetDeadline,
    c.ProtectJob,
    client.ChangeShares,
    client.SuspendClient,
    client.ReinstateClient,
    client.ProtectClient,
    node.DrainNode,
    node.UndrainNode,
)
"""Commands on one stream that another command takes back; sets of policies can be taken back, too."""

UNDOABLE_TOPICS = frozenset(
    topic_of(kind)
    for kind in (
        e.JobHeld,
        e.JobUnheld,
        e.JobPaused,
        e.JobResumed,
        e.JobPriorityChanged,
        e.JobDeadlineChanged,
        e.JobProtectionChanged,
        client.ClientSharesChanged,
        client.ClientSuspended,
        client.ClientReinstated,
        client.ClientProtectionChanged,
        node.NodeDrained,
        node.NodeUndrained,
        PoliciesAdopted,
    )
)
"""What those commands, and the adoption of policies, lead to."""


class CommandUndone(Event, frozen=True, kw_only=True, tag="command.undone"):
    """Everything that one command had changed was changed back."""

    command_id: str
    """The command that was taken back."""
    actor: str
    """Who had given it."""
    changes: int
    """How many facts it took."""
    why: str = ""


def undone_by(cause: str) -> str:
    """The command that an event with this cause takes back; empty if it takes none back."""
    return cause.removeprefix(UNDO) if cause.startswith(UNDO) else ""


def undo_stream(now_ms: int) -> StreamId:
    """The stream of a day's undone commands."""
    return f"undo-{now_ms // DAY_MS}"
