"""Old shapes of events become today's, step by step."""

from typing import Any

import pytest

from adapters.store.upcasts import UPCASTS, Upcast, upcast
from domain.catalog import TOPICS


def renamed(topic: str) -> Upcast:
    def rename(event: dict[str, Any]) -> dict[str, Any]:
        return event | {"topic": topic}

    return rename


def test_an_event_of_today_stays_as_it_is() -> None:
    event = {"topic": "job.held", "at_ms": 1}
    assert upcast(event, {"job.stopped": renamed("job.held")}) is event


def test_an_old_event_goes_through_every_version_between() -> None:
    def split(event: dict[str, Any]) -> dict[str, Any]:
        job_id, why = event["text"].split(":")
        return {"topic": "b", "job_id": job_id, "why": why}

    steps = {"a": split, "b": renamed("c"), "c": renamed("job.held")}
    assert upcast({"topic": "a", "text": "job-1:late"}, steps) == {
        "topic": "job.held",
        "job_id": "job-1",
        "why": "late",
    }


def test_steps_that_go_round_in_a_circle_are_an_error() -> None:
    with pytest.raises(ValueError, match="never end"):
        upcast({"topic": "a"}, {"a": renamed("b"), "b": renamed("a")})


def test_a_retired_topic_is_never_used_again() -> None:
    assert UPCASTS.keys().isdisjoint(TOPICS)
