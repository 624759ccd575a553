"""What an explanation says of the queue: behind whom a job is, which room is kept, when it starts, whom it passed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from application.commands import AdoptPolicies
from domain import policies
from domain.job import commands as c
from domain.node import DrainNode
from domain.partition import DefinePartition, Terms
from domain.policies import FAMILIES, Policies
from domain.tariff import DAY_MIN, DAY_MS, PriceWindow, Tariff
from projections.words import time_text
from tests.adapters.counter import Counter, counter
from tests.builders import SECOND, need

MINUTE = 60 * SECOND


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[Counter]:
    with counter(tmp_path) as opened:
        opened.nodes("n1", cores=4)
        opened.do(AdoptPolicies(policies=Policies(order="fifo", backfill="easy")))
        yield opened


def submit(farm: Counter, job_id: str, cores: float = 4, minutes: int | None = 10, **fields: Any) -> None:
    walltime_ms = None if minutes is None else minutes * MINUTE
    farm.submit(job_id, requirement=need(cores), walltime_ms=walltime_ms, **fields)


def explained(farm: Counter, job_id: str, **parameters: Any) -> tuple[dict[str, Any], list[str]]:
    """The outlook, and all lines of the text."""
    found = farm.ask(f"/api/explain/{job_id}", **parameters)
    return found["outlook"] or {}, found["text"].splitlines()


def head_and_followers(farm: Counter) -> int:
    """job-1 uses 2 of 4 cores for 10 minutes; job-2 needs all; job-3 would delay it and job-4 not. When that was."""
    submit(farm, "job-1", cores=2)
    submit(farm, "job-2", cores=4)
    submit(farm, "job-3", cores=1, minutes=30)
    submit(farm, "job-4", cores=1, minutes=5)
    farm.cycle()
    return farm.clock.now_ms()


def test_the_head_of_the_queue_is_told_which_room_is_kept_for_it(farm: Counter) -> None:
    at_ms = head_and_followers(farm)
    outlook, lines = explained(farm, "job-2")
    start = time_text(at_ms + 10 * MINUTE)
    assert (outlook["kept_from_ms"], outlook["kept_nodes"]) == (at_ms + 10 * MINUTE, [["n1", 1]])
    assert (outlook["ahead"], outlook["ahead_total"], outlook["basis"]) == ([], 0, "requested")
    assert lines[1:] == [
        "  needs 4 cores; n1 comes closest with 1 core free",
        f"Room is kept for it from {start} on n1.",
        f"It is expected to start at {start} (in 10 min), perhaps at any moment, at the latest then, "
        "if all runs as long as was requested.",
    ]


def test_who_would_delay_the_head_is_told_so_and_who_is_ahead_of_it(farm: Counter) -> None:
    at_ms = head_and_followers(farm)
    outlook, lines = explained(farm, "job-3")
    start, later = time_text(at_ms + 10 * MINUTE), time_text(at_ms + 20 * MINUTE)
    assert (outlook["ahead"], outlook["ahead_total"], outlook["kept_from_ms"]) == (["job-2"], 1, None)
    assert outlook["latest_ms"] == outlook["expected_ms"] == at_ms + 20 * MINUTE
    assert lines[1] == f"  would delay job-2, which can start at {start}"
    assert "job-2 is before it in the queue." in lines
    assert lines[-1].startswith(f"It is expected to start at {later} (in 20 min)")
    row = farm.ask("/api/queue", text="job-3")["rows"][0]
    assert row["why"] == f"would delay job-2, which can start at {start}"


def test_who_was_backfilled_is_told_past_whom(farm: Counter) -> None:
    at_ms = head_and_followers(farm)
    found = farm.ask("/api/explain/job-4")
    (placed,) = found["placements"]
    assert (placed["overtook"], placed["overtook_start_ms"]) == ("job-2", at_ms + 10 * MINUTE)
    start = time_text(at_ms + 10 * MINUTE)
    assert f"it was backfilled past job-2, which can start at {start} all the same" in found["text"]
    assert found["outlook"] is None
    assert farm.ask("/api/explain/job-1")["placements"][0]["overtook"] == ""


def test_who_overtakes_where_no_room_is_kept_is_told_that(farm: Counter) -> None:
    farm.do(AdoptPolicies(policies=Policies(order="fifo")))
    head_and_followers(farm)
    said = "job-2 before it in the queue did not fit, and no room is kept for that one"
    assert said in farm.ask("/api/explain/job-3")["text"]


def test_an_outlook_of_the_past_is_that_of_then(farm: Counter) -> None:
    head_and_followers(farm)
    position = farm.position
    farm.clock.advance(MINUTE)
    then = farm.ask("/api/explain/job-3", at=f"@{position}")
    farm.finish("job-1", "job-4")
    farm.cycle()
    assert farm.ask("/api/explain/job-3", at=f"@{position}") == then
    assert then["outlook"]["ahead"] == ["job-2"]
    assert explained(farm, "job-2")[0] == {}


def test_a_new_head_is_named_at_once_by_all_behind_it(farm: Counter) -> None:
    """Their own reasons keep naming the old one: that another job is the head is recorded once for all."""
    for job_id, cores, minutes in (("job-1", 3, 10), ("job-2", 4, 10), ("job-3", 4, 10), ("job-4", 1, 30)):
        submit(farm, job_id, cores, minutes)
    farm.cycle()
    farm.clock.advance(SECOND)
    farm.do(c.HoldJob(job_id="job-2"))
    farm.cycle()
    recorded = [each.reasons[0].entity for each in farm.app.farm.blocked.values()]
    assert "job-2" in recorded
    (reason,) = farm.ask("/api/explain/job-4")["reasons"]
    (row,) = farm.ask("/api/queue", text="job-4")["rows"]
    (past,) = farm.ask("/api/queue", text="job-4", at=f"@{farm.position}")["rows"]
    assert reason["entity"] == "job-3"
    assert [reason] == row["reasons"] == past["reasons"]


def test_many_ahead_are_counted_and_the_first_ones_named(farm: Counter) -> None:
    for number in range(1, 15):
        submit(farm, f"job-{number:02}", minutes=1)
    farm.cycle()
    outlook, lines = explained(farm, "job-14")
    assert (len(outlook["ahead"]), outlook["ahead_total"]) == (10, 12)
    assert "12 jobs are before it in the queue: job-02, job-03, job-04, job-05 and 8 more." in lines


def test_what_a_person_stopped_has_no_expected_start(farm: Counter) -> None:
    submit(farm, "job-1", held=True)
    outlook, lines = explained(farm, "job-1")
    assert (outlook["expected_ms"], outlook["unknown"]["code"]) == (None, "held")
    assert lines[-1] == "Once somebody has changed that, it starts perhaps at any moment."
    farm.do(DrainNode(node_id="n1"))
    submit(farm, "job-2")
    assert explained(farm, "job-2")[1][-1] == "It cannot start before somebody changes that."


def test_where_nobody_knows_how_long_something_runs_nothing_is_promised(farm: Counter) -> None:
    submit(farm, "job-1", minutes=None)
    submit(farm, "job-2")
    farm.cycle()
    assert explained(farm, "job-2")[1][-1] == (
        "Nobody can say when it will start: of some jobs nobody knows how long they run."
    )


def test_where_no_room_is_kept_those_behind_may_go_first(farm: Counter) -> None:
    farm.do(AdoptPolicies(policies=Policies(order="fifo")))
    submit(farm, "job-1", minutes=10)
    submit(farm, "job-2", minutes=10)
    submit(farm, "job-3", minutes=30)
    farm.cycle()
    late = time_text(farm.clock.now_ms() + 40 * MINUTE)
    assert f"at the latest at {late}, if all runs as long as was requested." in explained(farm, "job-2")[1][-1]


def test_what_waits_for_a_cheaper_hour_starts_then(farm: Counter) -> None:
    now_ms = farm.clock.now_ms()
    minute = now_ms % DAY_MS // MINUTE
    dear = PriceWindow((minute - 10) % DAY_MIN, (minute + 60) % DAY_MIN, 1.0)
    farm.do(AdoptPolicies(policies=Policies(energy="night-savings", tariff=Tariff(0.1, (dear,)))))
    submit(farm, "job-1")
    farm.cycle()
    outlook, lines = explained(farm, "job-1")
    cheap_ms = now_ms - now_ms % MINUTE + 60 * MINUTE
    assert (outlook["expected_ms"], outlook["earliest_ms"]) == (cheap_ms, cheap_ms)
    assert lines[1] == f"  waits until energy costs less, at {time_text(cheap_ms)}"
    assert lines[2].startswith(f"It is expected to start at {time_text(cheap_ms)} (in ")


def test_nobody_says_now_where_a_rule_forbids_it(farm: Counter) -> None:
    farm.do(DefinePartition(partition="p", terms=Terms(("n1",), limit_percent=50)))
    farm.submit("job-1", requirement=replace(need(1), partition="p"), tasks="0-3", walltime_ms=MINUTE)
    farm.cycle()
    outlook, lines = explained(farm, "job-1")
    assert outlook["expected_ms"] is None
    assert "  the jobs of partition p may use only 0 cores more, and a task needs 1 core" in lines
    assert "Nobody can say when it will start." in lines


def test_without_the_policies_in_force_there_is_no_forecast(farm: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that lacks a plugin still explains what was recorded."""
    head_and_followers(farm)
    monkeypatch.delitem(FAMILIES["order"], "fifo")
    monkeypatch.setattr(policies, "_MADE", [])
    outlook, lines = explained(farm, "job-2")
    assert "there is no order policy 'fifo'" in outlook["note"]
    assert lines[1] == "  needs 4 cores; n1 comes closest with 1 core free"
    assert lines[2].startswith("Room is kept for it from")
    assert lines[3].startswith("There is no forecast: the policies cannot be so: there is no order policy 'fifo'")


def test_past_runs_give_an_interval(farm: Counter) -> None:
    """Runs of 4, 6 and 8 minutes predict 7; predictions were off by 2.5 on average."""
    for number, minutes in enumerate((4, 6, 8)):
        submit(farm, f"job-a{number}", kind="sim")
        farm.cycle()
        farm.start(f"job-a{number}")
        farm.clock.advance(minutes * MINUTE)
        farm.finish(f"job-a{number}")
    submit(farm, "job-1", minutes=60, kind="sim")
    submit(farm, "job-2", minutes=60, kind="sim")
    farm.cycle()
    at_ms = farm.clock.now_ms()
    outlook, lines = explained(farm, "job-2")
    assert (outlook["earliest_ms"], outlook["expected_ms"], outlook["latest_ms"], outlook["basis"]) == (
        at_ms + 4.5 * MINUTE, at_ms + 7 * MINUTE, at_ms + 60 * MINUTE, "history",
    )  # fmt: skip
    early, expected, late = (time_text(round(at_ms + each * MINUTE)) for each in (4.5, 7, 60))
    assert lines[-1] == (
        f"It is expected to start at {expected} (in 7 min), not before {early}, at the latest at {late}, "
        "as past runs predict."
    )
