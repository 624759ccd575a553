"""Both sides of interruptions, from a job's own stream: for whom it made way at what cost, and who made way for it."""

from collections.abc import Iterator, Sequence

from adapters.queries.answers.jobs import InterruptionAnswer
from domain.job import events as e
from domain.job.values import Job, Victim
from domain.messages import Recorded
from domain.wording import duration_text, listed, plural
from projections.story.preemption import MODE_TEXT, RIGHT_TEXT, alternative_text, attempts_text, loss_text
from projections.words import nodes_text, time_text


def interruptions(own: Sequence[Recorded], state: Job) -> list[InterruptionAnswer]:
    """All of them in order, and last whom it still waits for or who still waits for it."""
    return [
        *[
            InterruptionAnswer(at_ms=each.event.at_ms, other=other, position=each.position, text=text)
            for each in own
            for other, text in _told(each.event)
        ],
        *_present(own, state),
    ]


def _told(event: object) -> Iterator[tuple[str, str]]:
    """(the other job, a sentence without its full stop)."""
    if isinstance(event, e.TasksPreempted):
        numbers = tuple([each.attempt for each in event.attempts])
        ran = duration_text(max(each.ran_ms for each in event.attempts))
        they = "it" if len(event.attempts) == 1 else "they"
        yield (
            event.preemptor,
            f"{attempts_text(numbers)} made way for {event.preemptor} ({RIGHT_TEXT[event.why]}; "
            f"{MODE_TEXT[event.mode]}); {they} had run {ran} and {loss_text(event.attempts)}",
        )
    elif isinstance(event, e.TasksResumed):
        yield "", f"{attempts_text(event.attempts)} went on, cores being free again"
    elif isinstance(event, e.RoomClaimed):
        yield from _claimed(event)
    elif isinstance(event, e.ClaimReleased):
        yield "", f"its claim to room ended ({event.why})"


def _claimed(event: e.RoomClaimed) -> Iterator[tuple[str, str]]:
    where = listed(list(dict.fromkeys(nodes_text(place.nodes) for place in event.places)))
    tasks = "a task" if len(event.places) == 1 else plural(len(event.places), "task")
    otherwise = event.places[0].otherwise_ms
    start = "nobody could say when it would start otherwise"
    if otherwise is not None:
        start = f"otherwise it would have started at {time_text(otherwise)}"
    victims = listed([_victim_text(victim) for victim in event.victims])
    jobs = ", ".join(dict.fromkeys(victim.job_id for victim in event.victims))
    yield (
        jobs,
        f"room on {where} was claimed for {tasks} of it, because {RIGHT_TEXT[event.why]}; {victims} made way "
        f"({MODE_TEXT[event.mode]}); {start}",
    )
    for other in event.alternatives:
        yield other.victims[0][0], f"left alone instead: {alternative_text(other)}"


def _victim_text(victim: Victim) -> str:
    at_risk = duration_text(victim.at_risk_ms) if victim.at_risk_ms else "nothing"
    return f"{victim.job_id} (attempt {victim.attempt}, {at_risk} at risk)"


def _present(own: Sequence[Recorded], state: Job) -> Iterator[InterruptionAnswer]:
    """What is so at this moment."""
    last = own[-1]
    if state.claim is not None:
        where = listed(list(dict.fromkeys(nodes_text(place) for place in state.claim.places)))
        text = f"room on {where} is held for it until work there has left"
        yield InterruptionAnswer(at_ms=state.claim.at_ms, other="", position=last.position, text=text)
    for number, attempt in state.live.items():
        if attempt.suspended_at_ms is not None:
            whom = next((name for each in reversed(own) if (name := _suspended_for(each.event, number))), "")
            text = f"attempt {number} stands still for {whom or 'another job'}; it goes on when its cores are free"
            yield InterruptionAnswer(at_ms=attempt.suspended_at_ms, other=whom, position=last.position, text=text)


def _suspended_for(event: object, number: int) -> str:
    return event.preemptor if isinstance(event, e.TasksSuspended) and number in event.attempts else ""
