"""How amounts, times and reasons are said in English. Text is made here and in the adapters, never in the domain."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from domain.decisions import Reason, ReasonCode
from domain.job.values import NodeSlots
from domain.resources import Requirement, Resources

LIST_AT_MOST = 4
"""Longer lists are cut, and say how many more there are."""


def reason_text(reason: Reason) -> str:
    """One blocker with its numbers, such as `needs 4 cores; node-3 comes closest with 1.5 cores free`."""
    return _REASONS[reason.code](reason)


def amount(resource: str, quantity: int) -> str:
    """A quantity of a resource with its unit: `2.5 cores`, `8 GiB memory`, `3 houdini licences` as `3 houdini`."""
    if resource == "millicores":
        return plural(quantity / 1000, "core")
    if resource in ("memory_mib", "storage_mib"):
        return f"{size_text(quantity)} {resource.removesuffix('_mib')}"
    if resource == "network_mbps":
        return f"{quantity} Mbit/s network"
    if resource == "gpus":
        return plural(quantity, "GPU")
    if resource in ("tasks", "nodes", "slots"):
        return plural(quantity, resource.removesuffix("s"))
    return f"{quantity} {resource}"


def resources_text(resources: Resources) -> str:
    """All amounts that are not zero: `4 cores, 8 GiB memory`; `nothing` if there are none."""
    return ", ".join([amount(name, quantity) for name, quantity in resources.items()]) or "nothing"


def requirement_text(requirement: Requirement) -> str:
    """What one task needs: `4 cores, 8 GiB memory`, `on each of 16 nodes`, attributes by name."""
    text = resources_text(requirement.resources)
    if requirement.slots > 1:
        text += f" on each of {requirement.slots} {'nodes' if requirement.distinct_nodes else 'slots'}"
    if requirement.attributes:
        text += f" with {', '.join([need.name for need in requirement.attributes])}"
    return text


def size_text(mib: int) -> str:
    """A size given in MiB, in the largest unit that it fills: `512 MiB`, `8 GiB`, `1.5 TiB`."""
    value, unit = float(mib), "MiB"
    for larger in ("GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{_number(value)} {unit}"


def duration_text(ms: int) -> str:
    """A duration in its two largest units: `850 ms`, `12.3 s`, `3 min 20 s`, `2 h 5 min`, `4 d 1 h`."""
    if ms < 1000:
        return f"{ms} ms"
    if ms < 60_000:
        return f"{_number(ms / 1000)} s"
    seconds = ms // 1000
    for size, unit, part, part_unit in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= size:
            rest = seconds % size // part
            return f"{seconds // size} {unit}" + (f" {rest} {part_unit}" if rest else "")
    raise AssertionError("a minute or more has a unit")


def time_text(at_ms: int) -> str:
    """A moment: `2025-03-01 12:00:05 UTC`."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def tasks_text(tasks: str) -> str:
    """A task set as the beginning of a sentence: `Task 3`, `Tasks 1-40,90`."""
    many = "," in tasks or "-" in tasks[1:]
    return f"Tasks {tasks}" if many else f"Task {tasks}"


def nodes_text(nodes: Sequence[NodeSlots]) -> str:
    """Nodes with the number of slots where it is more than one: `n1, n2 ×4`."""
    if len(nodes) == 1 and nodes[0][1] == 1:
        return nodes[0][0]
    return listed([node_id if slots == 1 else f"{node_id} ×{slots}" for node_id, slots in nodes])


def listed(names: Sequence[str]) -> str:
    """Names joined by commas, cut after a few: `a, b, c, d and 12 more`."""
    if len(names) <= LIST_AT_MOST:
        return ", ".join(names)
    return f"{', '.join(names[:LIST_AT_MOST])} and {len(names) - LIST_AT_MOST} more"


def because(why: str) -> str:
    """The end of a sentence: a full stop, after the reason in brackets where one was given."""
    return f" ({why})." if why else "."


def plural(quantity: float, unit: str) -> str:
    """A count and its unit: `1 job`, `3 jobs`, `2.5 cores`."""
    return f"{_number(quantity)} {unit}" if quantity == 1 else f"{_number(quantity)} {unit}s"


def _number(value: float) -> str:
    """At most two digits after the point, none for a whole number."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if value % 1 else str(int(value))


def _client_limit(reason: Reason) -> str:
    needed, left = amount(reason.resource, reason.needed), amount(reason.resource, reason.available)
    return f"client {reason.entity} may use only {left} more, and a task needs {needed}"


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


def _back_off(reason: Reason) -> str:
    return f"its failed tasks are tried again{_from(reason)}"


def _start_time(reason: Reason) -> str:
    return f"may not start yet{', only' + _from(reason) if reason.until_ms is not None else ''}"


def _from(reason: Reason) -> str:
    return "" if reason.until_ms is None else f" from {time_text(reason.until_ms)} on"


_REASONS: dict[ReasonCode, Callable[[Reason], str]] = {
    ReasonCode.DEPENDENCY: lambda reason: f"waits for {reason.entity} to complete",
    ReasonCode.DEPENDENCY_FAILED: lambda reason: f"{reason.entity} did not complete; retry it or bypass the dependency",
    ReasonCode.START_TIME: _start_time,
    ReasonCode.HELD: lambda reason: "is held",
    ReasonCode.PAUSED: lambda reason: "is paused",
    ReasonCode.BACK_OFF: _back_off,
    ReasonCode.CLIENT_LIMIT: _client_limit,
    ReasonCode.CLIENT_SUSPENDED: lambda reason: f"client {reason.entity} is suspended",
    ReasonCode.NO_NODES: lambda reason: "no node takes work now",
    ReasonCode.ATTRIBUTE_MISSING: lambda reason: f"no node has the attribute {reason.entity} as it is needed",
    ReasonCode.TOO_LARGE: _too_large,
    ReasonCode.NODES_UNAVAILABLE: lambda reason: "all nodes that could hold it are offline, draining or in maintenance",
    ReasonCode.RESOURCES_SHORT: _resources_short,
    ReasonCode.SLOTS_SHORT: _slots_short,
    ReasonCode.BEHIND_HEAD: lambda reason: f"{reason.entity} is before it in the queue and must start first",
}
