"""The story of interruption: who made way for whom, what it cost, and what contracts say about it."""

from collections.abc import Callable
from typing import Any

from domain import intervals
from domain.client import ClientProtectionChanged
from domain.job import events as e
from domain.job.values import Alternative, PreemptedAttempt, PreemptionCause, PreemptionMode, Protection
from domain.messages import Event
from domain.wording import duration_text, listed, plural
from projections.words import because, nodes_text, time_text

MODE_TEXT = {
    PreemptionMode.NONE: "not interrupted",
    PreemptionMode.REQUEUE: "requeued",
    PreemptionMode.SUSPEND: "suspended",
    PreemptionMode.CHECKPOINT: "checkpointed and requeued",
}
RIGHT_TEXT = {
    PreemptionCause.PRIORITY: "its priority is higher",
    PreemptionCause.RECLAIM: "its client takes back capacity that it had lent",
    PreemptionCause.DEADLINE: "it would miss its deadline",
}
WORSE_TEXT = {
    "level": "its highest level of priority is {level:g}",
    "cost": "its cost is {cost:.2f}",
    "victims": "more attempts would make way",
    "name": "equal, and later by name",
}


def protection_text(contract: Protection | None) -> str:
    """When work may be interrupted under a contract: `never`, `not before …`, `only after a checkpoint`."""
    if contract is None:
        return "as its client's contract says"
    if contract.never:
        return "never"
    terms = [] if contract.until_ms is None else [f"not before {time_text(contract.until_ms)}"]
    terms += ["only after a checkpoint"] if contract.after_checkpoint else []
    return " and ".join(terms) or "by whatever has the right to"


def alternative_text(other: Alternative) -> str:
    """Other victims, and why they were left alone: `job-a (attempt 3) on n2: its cost is 4.00`."""
    victims = listed([f"{job_id} (attempt {number})" for job_id, number in other.victims])
    return f"{victims} on {listed(other.nodes)}: {WORSE_TEXT[other.worse].format(level=other.level, cost=other.cost)}"


def loss_text(attempts: tuple[PreemptedAttempt, ...]) -> str:
    """What attempts lose together: `loses 4 min of work`, `loses nothing`."""
    lost_ms = sum([each.lost_ms for each in attempts])
    verb = "loses" if len(attempts) == 1 else "lose"
    return f"{verb} {duration_text(lost_ms)} of work" if lost_ms else f"{verb} nothing"


def attempts_text(numbers: tuple[int, ...]) -> str:
    """Attempts as the beginning of a sentence: `Attempt 3`, `Attempts 1-4`."""
    return f"Attempt {numbers[0]}" if len(numbers) == 1 else f"Attempts {intervals.of(numbers)}"


def _claimed(event: e.RoomClaimed) -> str:
    """`Room on n1 is held for a task of job-b, because its priority is higher: job-a makes way (suspended).`"""
    count = len(event.places)
    where = listed(list(dict.fromkeys(nodes_text(place.nodes) for place in event.places)))
    tasks = "a task" if count == 1 else plural(count, "task")
    jobs = list(dict.fromkeys(victim.job_id for victim in event.victims))
    way = "make way" if len(jobs) > 1 else "makes way"
    chosen = f"; of {event.considered} ways this was the best" if event.considered > 1 else ""
    return (
        f"Room on {where} is held for {tasks} of {event.job_id}, because {RIGHT_TEXT[event.why]}: "
        f"{listed(jobs)} {way} ({MODE_TEXT[event.mode]}){chosen}."
    )


def _released(event: e.ClaimReleased) -> str:
    return f"No room is held for {event.job_id} any more{because(event.why)}"


def _preempted(event: e.TasksPreempted) -> str:
    numbers = tuple([each.attempt for each in event.attempts])
    verb = "makes" if len(numbers) == 1 else "make"
    return (
        f"{attempts_text(numbers)} of {event.job_id} {verb} way for {event.preemptor} and {loss_text(event.attempts)}."
    )


def _suspended(event: e.TasksSuspended) -> str:
    verb = "stands" if len(event.attempts) == 1 else "stand"
    whom = f" for {event.preemptor}" if event.preemptor else ""
    return f"{attempts_text(event.attempts)} of {event.job_id} {verb} still{whom}, memory kept, cores given back."


def _resumed(event: e.TasksResumed) -> str:
    verb = "has its" if len(event.attempts) == 1 else "have their"
    return f"{attempts_text(event.attempts)} of {event.job_id} {verb} cores again and can go on."


def _job_protected(event: e.JobProtectionChanged) -> str:
    return f"{event.job_id} may now be interrupted {protection_text(event.protection)}{because(event.why)}"


def _client_protected(event: ClientProtectionChanged) -> str:
    terms = "by whatever has the right to" if event.protection is None else protection_text(event.protection)
    return f"Work of client {event.client_id} may now be interrupted {terms}{because(event.why)}"


SENTENCES: dict[type[Event], Callable[[Any], str]] = {
    e.RoomClaimed: _claimed,
    e.ClaimReleased: _released,
    e.TasksPreempted: _preempted,
    e.TasksSuspended: _suspended,
    e.TasksResumed: _resumed,
    e.JobProtectionChanged: _job_protected,
    ClientProtectionChanged: _client_protected,
}
