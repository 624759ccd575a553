"""The story: every fact of the log as one plain English sentence with its names and numbers.

Used by the audit view, by `milepost story` and wherever events are shown to people. A sentence says what happened, not
who did it: the actor stands beside it.
"""

from domain.messages import Event, Recorded
from projections.story import farm, jobs, partitions, preemption, reservations, workflows
from projections.story.jobs import AFTER_TEXT, CAUSE_TEXT, failure_text

_SENTENCES = (
    partitions.SENTENCES
    | jobs.SENTENCES
    | preemption.SENTENCES
    | farm.SENTENCES
    | workflows.SENTENCES
    | reservations.SENTENCES
)


def sentence(recorded: Recorded) -> str:
    """What one stored event says; KeyError for an event type that this release does not know."""
    return event_sentence(recorded.event)


def event_sentence(event: Event) -> str:
    """As `sentence`, for an event without its envelope."""
    return _SENTENCES[type(event)](event)


__all__ = ["AFTER_TEXT", "CAUSE_TEXT", "event_sentence", "failure_text", "sentence"]
