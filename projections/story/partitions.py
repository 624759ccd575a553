"""The sentences about partitions."""

from collections.abc import Callable
from typing import Any

from domain.messages import Event
from domain.partition import PartitionChanged, PartitionDefined, PartitionRemoved, Terms
from domain.wording import need_text
from projections.words import because, duration_text, listed, plural


def terms_text(terms: Terms) -> str:
    """Which nodes, for whom, and how much: `n1, n2 and all with os linux, for studio, at most 50 %`."""
    alike = ", ".join([need_text(need) for need in terms.attributes])
    nodes = [*([listed(terms.nodes)] if terms.nodes else []), *([f"all with {alike}"] if alike else [])]
    parts = [" and ".join(nodes), *([f"for {listed(terms.clients)}"] if terms.clients else [])]
    if terms.max_tasks is not None:
        parts.append(f"at most {plural(terms.max_tasks, 'task')} at once")
    if terms.limit_percent < 100:
        parts.append(f"at most {terms.limit_percent} % of it in all")
    if terms.client_percent < 100:
        parts.append(f"at most {terms.client_percent} % of it for a client")
    if terms.max_walltime_ms is not None:
        parts.append(f"jobs of at most {duration_text(terms.max_walltime_ms)}")
    if terms.default_walltime_ms is not None:
        parts.append(f"{duration_text(terms.default_walltime_ms)} for a job that does not say")
    return ", ".join(parts)


def _defined(event: PartitionDefined) -> str:
    return f"Partition {event.partition} was defined: {terms_text(event.terms)}."


def _changed(event: PartitionChanged) -> str:
    return f"Partition {event.partition} is now {terms_text(event.terms)}{because(event.why)}"


def _removed(event: PartitionRemoved) -> str:
    return f"Partition {event.partition} was removed{because(event.why)}"


SENTENCES: dict[type[Event], Callable[[Any], str]] = {
    PartitionDefined: _defined,
    PartitionChanged: _changed,
    PartitionRemoved: _removed,
}
