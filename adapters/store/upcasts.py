"""Old shapes of events → today's, one function per retired topic.

New fields need nothing here (they have defaults). A renamed or reshaped event gets a new topic, and its old topic an
entry: a function from the decoded JSON of the old event to that of the new one, `topic` included.
"""

from collections.abc import Callable
from typing import Any

Upcast = Callable[[dict[str, Any]], dict[str, Any]]

UPCASTS: dict[str, Upcast] = {}


def upcast(event: dict[str, Any], upcasts: dict[str, Upcast] = UPCASTS) -> dict[str, Any]:
    """Today's shape of an event, step by step; ValueError if the steps go round in a circle."""
    seen = set()
    while (topic := str(event["topic"])) in upcasts:
        if topic in seen:
            raise ValueError(f"upcasts of {topic} never end")
        seen.add(topic)
        event = upcasts[topic](event)
    return event
