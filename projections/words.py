"""How amounts, times and reasons are said in English; amounts as in `domain.wording`, which refusals use as well."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from domain.decisions import Reason, ReasonCode
from domain.job.values import NodeSlots
from domain.resources import Requirement, Resources
from domain.wording import LIST_AT_MOST, amount, duration_text, listed, need_text, plural, size_text

__all__ = [
    "LIST_AT_MOST",
    "amount",
    "because",
    "duration_text",
    "lateness_sentence",
    "lateness_text",
    "listed",
    "nodes_text",
    "plural",
    "reason_text",
    "requirement_text",
    "resources_text",
    "size_text",
    "tasks_text",
    "time_text",
]


def reason_text(reason: Reason) -> str:
    """One blocker with its numbers, such as `needs 4 cores; node-3 comes closest with 1.5 cores free`."""
    return _REASONS[reason.code](reason)


def resources_text(resources: Resources) -> str:
    """All amounts that are not zero: `4 cores, 8 GiB memory`; `nothing` if there are none."""
    return ", ".join([amount(name, quantity) for name, quantity in resources.items()]) or "nothing"


def requirement_text(requirement: Requirement) -> str:
    """What one task needs: `4 cores, 8 GiB memory`, `on each of 16 nodes`, attributes with what is wanted of them."""
    text = resources_text(requirement.resources)
    if requirement.slots > 1:
        text += f" on each of {requirement.slots} {'nodes' if requirement.distinct_nodes else 'slots'}"
    if requirement.partition:
        text += f" in partition {requirement.partition}"
    if requirement.attributes:
        text += f" with {', '.join([need_text(need) for need in requirement.attributes])}"
    return text


def time_text(at_ms: int) -> str:
    """A moment: `2025-03-01 12:00:05 UTC`."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def lateness_text(late_ms: int) -> str:
    """How long after its deadline something ended: `late by 2 s`; if not later, `2 s before its deadline`."""
    if late_ms > 0:
        return f"late by {duration_text(late_ms)}"
    return f"{duration_text(-late_ms)} before its deadline" if late_ms else "just at its deadline"


def lateness_sentence(late_ms: int) -> str:
    """The same of a job: `It was late by 2 s.`, `It ended 2 s before its deadline.`"""
    return f"It {'was' if late_ms > 0 else 'ended'} {lateness_text(late_ms)}."


def tasks_text(tasks: str) -> str:
    """A task set as the beginning of a sentence: `Task 3`, `Tasks 1-40,90`."""
    many = "," in tasks or "-" in tasks[1:]
    return f"Tasks {tasks}" if many else f"Task {tasks}"


def nodes_text(nodes: Sequence[NodeSlots]) -> str:
    """Nodes with the number of slots where it is more than one: `n1, n2 ×4`."""
    if len(nodes) == 1 and nodes[0][1] == 1:
        return nodes[0][0]
    return listed([node_id if slots == 1 else f"{node_id} ×{slots}" for node_id, slots in nodes])


def because(why: str) -> str:
    """The end of a sentence: a full stop, after the reason in brackets where one was given."""
    return f" ({why})." if why else "."


def _client_limit(reason: Reason) -> str:
    needed, left = amount(reason.resource, reason.needed), amount(reason.resource, reason.available)
    return f"client {reason.entity} may use only {left} more, and a task needs {needed}"


def _guarantee(reason: Reason) -> str:
    needed, left = amount(reason.resource, reason.needed), amount(reason.resource, reason.available)
    if not reason.resource:
        return f"the room is wanted by client {reason.entity}, who is guaranteed it and waits"
    return f"a task needs {needed}, and {left} are left beside what client {reason.entity} is guaranteed"


def _borrow_limit(reason: Reason) -> str:
    needed, left = amount(reason.resource, reason.needed), amount(reason.resource, reason.available)
    return f"client {reason.entity} uses its guarantee and may borrow only {left} more; a task needs {needed}"


def _partition_limit(reason: Reason) -> str:
    needed, left = amount(reason.resource, reason.needed), amount(reason.resource, reason.available)
    return f"the jobs of partition {reason.entity} may use only {left} more, and a task needs {needed}"


def _partition_client(reason: Reason) -> str:
    needed, left = amount(reason.resource, reason.needed), amount(reason.resource, reason.available)
    return f"its client may use only {left} more of partition {reason.entity}, and a task needs {needed}"


def _partition_walltime(reason: Reason) -> str:
    most = duration_text(reason.available)
    if not reason.needed:
        return f"it has no walltime, and partition {reason.entity} lets jobs run for {most} at most"
    return f"it may run for {duration_text(reason.needed)}, and partition {reason.entity} lets jobs run for {most}"


def _too_large(reason: Reason) -> str:
    needed, most = amount(reason.resource, reason.needed), amount(reason.resource, reason.available)
    if not reason.node_id:
        return f"needs {needed} at once, but the farm can never give more than {most}"
    return f"needs {needed}, but {reason.node_id}, the nearest miss, has only {most} even when empty"


def _resources_short(reason: Reason) -> str:
    needed, free = amount(reason.resource, reason.needed), amount(reason.resource, reason.available)
    return f"needs {needed}; {reason.node_id} comes closest with {free} free"


def _slots_short(reason: Reason) -> str:
    return f"needs {amount(reason.resource, reason.needed)} at once; {reason.available} are free"


def _behind_head(reason: Reason) -> str:
    if reason.until_ms is None:
        return f"{reason.entity} is before it in the queue and must start first"
    return f"would delay {reason.entity}, which can start at {time_text(reason.until_ms)}"


def _booked(reason: Reason) -> str:
    """What is booked where it would fit, and how long that is ahead."""
    what = "maintenance" if reason.code is ReasonCode.MAINTENANCE else "others"
    until = "" if reason.until_ms is None else f" until {time_text(reason.until_ms)}"
    if not reason.available:
        return f"{reason.node_id} is set aside for {what}{until} ({reason.entity})"
    lasts = f"needs {duration_text(reason.needed)}" if reason.needed else "may run for ever"
    ahead = f"{reason.node_id} is set aside for {what} in {duration_text(reason.available)}"
    return f"{lasts}, and {ahead}{until} ({reason.entity})"


def _back_off(reason: Reason) -> str:
    return f"its failed tasks are tried again{_from(reason)}"


def _start_time(reason: Reason) -> str:
    return f"may not start yet{', only' + _from(reason) if reason.until_ms is not None else ''}"


def _cheaper_later(reason: Reason) -> str:
    until = "" if reason.until_ms is None else f", at {time_text(reason.until_ms)}"
    return f"waits until energy costs less{until}"


def _power_cap(reason: Reason) -> str:
    return f"would draw {reason.needed} W, but the farm may draw only {reason.available} W more"


def _by(reason: Reason) -> str:
    return f" by {reason.entity}" if reason.entity else ""


def _from(reason: Reason) -> str:
    return "" if reason.until_ms is None else f" from {time_text(reason.until_ms)} on"


_REASONS: dict[ReasonCode, Callable[[Reason], str]] = {
    ReasonCode.DEPENDENCY: lambda reason: f"waits for {reason.entity} to complete",
    ReasonCode.DEPENDENCY_FAILED: lambda reason: f"{reason.entity} did not complete; retry it or bypass the dependency",
    ReasonCode.START_TIME: _start_time,
    ReasonCode.HELD: lambda reason: f"is held{_by(reason)}",
    ReasonCode.PAUSED: lambda reason: f"is paused{_by(reason)}",
    ReasonCode.APPROVAL: lambda reason: f"{reason.needed} of its tasks wait for approval (`milepost approve`)",
    ReasonCode.BACK_OFF: _back_off,
    ReasonCode.CLIENT_LIMIT: _client_limit,
    ReasonCode.CLIENT_SUSPENDED: lambda reason: f"client {reason.entity} is suspended",
    ReasonCode.GUARANTEE: _guarantee,
    ReasonCode.BORROW_LIMIT: _borrow_limit,
    ReasonCode.PARTITION_LIMIT: _partition_limit,
    ReasonCode.PARTITION_CLIENT: _partition_client,
    ReasonCode.PARTITION_CLOSED: lambda reason: f"its client may not use partition {reason.entity} any more",
    ReasonCode.PARTITION_WALLTIME: _partition_walltime,
    ReasonCode.PARTITION_EMPTY: lambda reason: f"partition {reason.entity} has no node that could hold it",
    ReasonCode.NO_NODES: lambda reason: "no node takes work now",
    ReasonCode.ATTRIBUTE_MISSING: lambda reason: f"no node has the attribute {reason.entity} as it is needed",
    ReasonCode.TOO_LARGE: _too_large,
    ReasonCode.NODES_UNAVAILABLE: lambda reason: (
        "all nodes that could hold it are offline, asleep, draining or in maintenance"
    ),
    ReasonCode.FILTERED: lambda reason: f"the filter {reason.entity} keeps it off all nodes that have room for it",
    ReasonCode.RESOURCES_SHORT: _resources_short,
    ReasonCode.SLOTS_SHORT: _slots_short,
    ReasonCode.CHEAPER_LATER: _cheaper_later,
    ReasonCode.POWER_CAP: _power_cap,
    ReasonCode.ROOM_CLAIMED: lambda reason: f"work on {reason.node_id} makes way for it, and has not left yet",
    ReasonCode.SUSPENDED_FIRST: lambda reason: f"{reason.entity}, suspended on {reason.node_id}, goes on first",
    ReasonCode.BEHIND_HEAD: _behind_head,
    ReasonCode.RESERVED: _booked,
    ReasonCode.MAINTENANCE: _booked,
}
