"""Utilities (§5.1), and the audit interface's helper (§6)."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import (
    AuditLogEntry,
    AuditLogInterface,
    BaseJob,
    DateTimeEncoder,
    ExponentialBackoff,
    LogLevel,
    PerformanceTimer,
    calculate_hash,
    create_directory_if_not_exists,
    datetime_decoder,
    deserialize_model,
    generate_id,
    serialize_model,
    weighted_average,
)
from common.core.interfaces import matching

NOON = datetime(2026, 3, 1, 12)


def test_json_of_times_spans_sets_and_models() -> None:
    told = json.loads(
        json.dumps({"at": NOON, "for": timedelta(days=1, seconds=2), "of": {"b", "a"}}, cls=DateTimeEncoder)
    )
    span = {"__type__": "timedelta", "days": 1, "seconds": 2, "microseconds": 0}
    assert told == {"at": "2026-03-01T12:00:00", "for": span, "of": ["a", "b"]}
    assert datetime_decoder({"at": told["at"], "for": "x"}) == {"at": NOON, "for": "x"}
    assert json.loads(json.dumps(told), object_hook=datetime_decoder)["for"] == timedelta(days=1, seconds=2)
    with pytest.raises(TypeError):
        json.dumps(object(), cls=DateTimeEncoder)


@pytest.mark.parametrize("text", ["2024", "2024-01-01", "not a time at all, no", "2024-01-01_00:00:00"])
def test_names_are_no_times(text: str) -> None:
    given_dict = {"name": text}
    assert datetime_decoder(given_dict) is given_dict
    assert given_dict == {"name": text}


@given(
    st.builds(
        BaseJob,
        name=st.text(max_size=15),
        progress=st.floats(0, 100),
        dependencies=st.sets(st.text(max_size=5), max_size=3),
        estimated_duration=st.none() | st.timedeltas(timedelta(0), timedelta(days=9)),
        start_time=st.none() | st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1)),
        metadata=st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=3),
    )
)
def test_a_model_survives_being_a_dict(job: BaseJob) -> None:
    told = serialize_model(job)
    assert json.loads(json.dumps(told)) == told
    assert deserialize_model(told, BaseJob) == job


def test_ids_are_unique_and_sort_by_making() -> None:
    made = [generate_id("x") for _ in range(1_000)]
    assert sorted(set(made)) == made
    assert all(len(each) == 34 and each.startswith("x_") for each in made)
    assert len(generate_id()) == 32


def test_hashes_are_of_content() -> None:
    assert calculate_hash("a") == calculate_hash(b"a")
    assert calculate_hash({"a": 1, "b": [2]}) == calculate_hash({"b": [2], "a": 1})
    assert calculate_hash([1]) != calculate_hash([2])
    job = BaseJob(name="x")
    assert calculate_hash(job) == calculate_hash(job.model_copy())
    assert calculate_hash(12) == calculate_hash("12")


def test_directories_are_made_or_refused_without_raising(tmp_path: Path) -> None:
    assert create_directory_if_not_exists(tmp_path / "a" / "b")
    assert create_directory_if_not_exists(str(tmp_path / "a"))
    (tmp_path / "file").write_text("")
    assert not create_directory_if_not_exists(tmp_path / "file" / "below")


def test_a_timer_measures_and_lets_exceptions_through() -> None:
    timer = PerformanceTimer("work")
    assert (timer.start_time, timer.end_time, timer.get_duration()) == (None, None, 0.0)
    with timer:
        assert timer.get_duration() >= 0
    with pytest.raises(KeyError), timer:
        raise KeyError
    assert timer.get_duration() == timer.get_duration() >= 0


def test_back_off_grows_to_its_maximum() -> None:
    plain = ExponentialBackoff(jitter=0)
    assert [plain.get_next_delay() for _ in range(9)] == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    plain.reset()
    assert (plain.attempt, plain.get_next_delay()) == (0, 1)
    shaky = ExponentialBackoff(jitter=2.0)
    assert all(shaky.get_next_delay() >= 0 for _ in range(2_000))


def test_weighted_averages() -> None:
    assert (weighted_average([]), weighted_average([1, 2]), weighted_average([1, 3], [3, 1])) == (0.0, 1.5, 1.5)
    assert weighted_average([1, 2], [0, 0]) == 0.0
    with pytest.raises(ValueError, match="2 values and 1 weights"):
        weighted_average([1, 2], [1])


class Audit(AuditLogInterface):
    """A log in a list."""

    def __init__(self) -> None:
        self.entries: list[AuditLogEntry] = []

    def log_event(self, event_type: str, description: str, /, **details: Any) -> AuditLogEntry:
        self.entries.append(super().log_event(event_type, description, **details))
        return self.entries[-1]

    def get_events(
        self,
        job_id: str | None = None,
        node_id: str | None = None,
        owner_id: str | None = None,
        event_type: str | None = None,
        start_time: datetime | None = None,
        end_time: datetime | None = None,
    ) -> list[AuditLogEntry]:
        return matching(
            self.entries, start_time, end_time, job_id=job_id, node_id=node_id, owner_id=owner_id, event_type=event_type
        )


def test_an_entry_lifts_what_it_is_about_out_of_its_details() -> None:
    log = Audit()
    first = log.log_event("started", "it began", job_id="j", node_id="n", user_id="ada", log_level="warning", x=1)
    log.log_event("ended", "it is over", job_id="j", client_id="bob")
    assert (first.job_id, first.node_id, first.owner_id, first.level) == ("j", "n", "ada", LogLevel.WARNING)
    assert first.details == {"job_id": "j", "node_id": "n", "user_id": "ada", "log_level": "warning", "x": 1}
    assert [each.event_type for each in log.get_job_history("j")] == ["started", "ended"]
    assert [each.event_type for each in log.get_node_history("n")] == ["started"]
    assert log.get_events(owner_id="bob", event_type="started") == []
    assert log.get_events(start_time=first.timestamp, end_time=first.timestamp)[0] is first
