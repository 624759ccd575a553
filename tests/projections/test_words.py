"""How amounts, times and reasons are said."""

import pytest

from domain.decisions import Reason, ReasonCode
from domain.resources import AttributeNeed
from projections.words import (
    amount,
    duration_text,
    lateness_sentence,
    lateness_text,
    listed,
    nodes_text,
    reason_text,
    requirement_text,
    size_text,
    tasks_text,
    time_text,
)
from tests.builders import NOW, need

REASONS: list[tuple[Reason, str]] = [
    (Reason(ReasonCode.DEPENDENCY, entity="job-1"), "waits for job-1 to complete"),
    (
        Reason(ReasonCode.DEPENDENCY_FAILED, entity="job-1"),
        "job-1 did not complete; retry it or bypass the dependency",
    ),
    (Reason(ReasonCode.START_TIME, until_ms=NOW), "may not start yet, only from 2026-09-21 14:13:20 UTC on"),
    (Reason(ReasonCode.HELD), "is held"),
    (Reason(ReasonCode.PAUSED), "is paused"),
    (Reason(ReasonCode.PAUSED, entity="user:ada"), "is paused by user:ada"),
    (
        Reason(ReasonCode.BACK_OFF, until_ms=NOW),
        "its failed tasks are tried again from 2026-09-21 14:13:20 UTC on",
    ),
    (
        Reason(ReasonCode.CLIENT_LIMIT, "studio", "millicores", 4000, 1500),
        "client studio may use only 1.5 cores more, and a task needs 4 cores",
    ),
    (
        Reason(ReasonCode.CLIENT_LIMIT, "studio", "tasks", 1, 0),
        "client studio may use only 0 tasks more, and a task needs 1 task",
    ),
    (Reason(ReasonCode.CLIENT_SUSPENDED, "studio"), "client studio is suspended"),
    (
        Reason(ReasonCode.GUARANTEE, "film", "millicores", 4_000, 2_500),
        "a task needs 4 cores, and 2.5 cores are left beside what client film is guaranteed",
    ),
    (Reason(ReasonCode.GUARANTEE, "film"), "the room is wanted by client film, who is guaranteed it and waits"),
    (
        Reason(ReasonCode.BORROW_LIMIT, "studio", "gpus", 2, 1),
        "client studio uses its guarantee and may borrow only 1 GPU more; a task needs 2 GPUs",
    ),
    (
        Reason(ReasonCode.PARTITION_LIMIT, "night", "tasks", 1, 0),
        "the jobs of partition night may use only 0 tasks more, and a task needs 1 task",
    ),
    (
        Reason(ReasonCode.PARTITION_CLIENT, "night", "millicores", 2_000, 1_000),
        "its client may use only 1 core more of partition night, and a task needs 2 cores",
    ),
    (Reason(ReasonCode.PARTITION_CLOSED, "night"), "its client may not use partition night any more"),
    (
        Reason(ReasonCode.PARTITION_WALLTIME, "night", "walltime_ms", 7_200_000, 3_600_000),
        "it may run for 2 h, and partition night lets jobs run for 1 h",
    ),
    (
        Reason(ReasonCode.PARTITION_WALLTIME, "night", "walltime_ms", 0, 3_600_000),
        "it has no walltime, and partition night lets jobs run for 1 h at most",
    ),
    (Reason(ReasonCode.PARTITION_EMPTY, "night"), "partition night has no node that could hold it"),
    (Reason(ReasonCode.NO_NODES), "no node takes work now"),
    (Reason(ReasonCode.ATTRIBUTE_MISSING, "os"), "no node has the attribute os as it is needed"),
    (
        Reason(ReasonCode.TOO_LARGE, "", "memory_mib", 65_536, 8_192, "n1"),
        "needs 64 GiB memory, but n1, the nearest miss, has only 8 GiB memory even when empty",
    ),
    (
        Reason(ReasonCode.TOO_LARGE, "", "nodes", 8, 3),
        "needs 8 nodes at once, but the farm can never give more than 3 nodes",
    ),
    (
        Reason(ReasonCode.NODES_UNAVAILABLE),
        "all nodes that could hold it are offline, asleep, draining or in maintenance",
    ),
    (
        Reason(ReasonCode.RESOURCES_SHORT, "", "gpus", 2, 1, "n3"),
        "needs 2 GPUs; n3 comes closest with 1 GPU free",
    ),
    (Reason(ReasonCode.SLOTS_SHORT, "", "slots", 16, 12), "needs 16 slots at once; 12 are free"),
    (
        Reason(ReasonCode.CHEAPER_LATER, until_ms=NOW),
        "waits until energy costs less, at 2026-09-21 14:13:20 UTC",
    ),
    (
        Reason(ReasonCode.POWER_CAP, "", "watts", 50, 20),
        "would draw 50 W, but the farm may draw only 20 W more",
    ),
    (Reason(ReasonCode.APPROVAL, needed=3), "3 of its tasks wait for approval (`milepost approve`)"),
    (Reason(ReasonCode.ROOM_CLAIMED, node_id="n1"), "work on n1 makes way for it, and has not left yet"),
    (Reason(ReasonCode.SUSPENDED_FIRST, "job-1", node_id="n1"), "job-1, suspended on n1, goes on first"),
    (Reason(ReasonCode.BEHIND_HEAD, "job-1"), "job-1 is before it in the queue and must start first"),
    (
        Reason(ReasonCode.BEHIND_HEAD, "job-1", until_ms=NOW),
        "would delay job-1, which can start at 2026-09-21 14:13:20 UTC",
    ),
    (
        Reason(ReasonCode.FILTERED, "client-pools"),
        "the filter client-pools keeps it off all nodes that have room for it",
    ),
    (
        Reason(ReasonCode.MAINTENANCE, "resv-1", "", 7_200_000, 3_600_000, "n1", NOW),
        "needs 2 h, and n1 is set aside for maintenance in 1 h until 2026-09-21 14:13:20 UTC (resv-1)",
    ),
    (
        Reason(ReasonCode.RESERVED, "resv-2", node_id="n1", until_ms=NOW),
        "n1 is set aside for others until 2026-09-21 14:13:20 UTC (resv-2)",
    ),
]


@pytest.mark.parametrize(("reason", "expected"), REASONS, ids=[reason.code for reason, _ in REASONS])
def test_a_reason_is_said_with_its_numbers(reason: Reason, expected: str) -> None:
    assert reason_text(reason) == expected


def test_every_reason_has_words() -> None:
    assert {reason.code for reason, _ in REASONS} == set(ReasonCode)
    for code in ReasonCode:
        assert reason_text(Reason(code))


@pytest.mark.parametrize(
    ("resource", "quantity", "expected"),
    [
        ("millicores", 1000, "1 core"),
        ("millicores", 250, "0.25 cores"),
        ("memory_mib", 512, "512 MiB memory"),
        ("storage_mib", 3 << 19, "1.5 TiB storage"),
        ("network_mbps", 100, "100 Mbit/s network"),
        ("gpus", 2, "2 GPUs"),
        ("slots", 1, "1 slot"),
        ("houdini", 3, "3 houdini"),
    ],
)
def test_amounts_have_units(resource: str, quantity: int, expected: str) -> None:
    assert amount(resource, quantity) == expected


@pytest.mark.parametrize(
    ("ms", "expected"),
    [
        (0, "0 ms"),
        (999, "999 ms"),
        (1_000, "1 s"),
        (12_345, "12.35 s"),
        (59_999, "60 s"),
        (60_000, "1 min"),
        (200_000, "3 min 20 s"),
        (7_500_000, "2 h 5 min"),
        (3_600_000, "1 h"),
        (349_200_000, "4 d 1 h"),
    ],
)
def test_durations_are_told_in_their_two_largest_units(ms: int, expected: str) -> None:
    assert duration_text(ms) == expected


@pytest.mark.parametrize(
    ("late_ms", "text", "expected"),
    [
        (2_000, "late by 2 s", "It was late by 2 s."),
        (-2_000, "2 s before its deadline", "It ended 2 s before its deadline."),
        (0, "just at its deadline", "It ended just at its deadline."),
    ],
)
def test_a_deadline_was_met_or_missed_by_so_much(late_ms: int, text: str, expected: str) -> None:
    assert (lateness_text(late_ms), lateness_sentence(late_ms)) == (text, expected)


def test_sizes_times_tasks_and_nodes() -> None:
    assert [size_text(mib) for mib in (0, 1023, 1024, 1536, 1 << 21)] == [
        "0 MiB",
        "1023 MiB",
        "1 GiB",
        "1.5 GiB",
        "2 TiB",
    ]
    assert time_text(0) == "1970-01-01 00:00:00 UTC"
    assert [tasks_text(tasks) for tasks in ("3", "-3", "1-4", "1,3")] == ["Task 3", "Task -3", "Tasks 1-4", "Tasks 1,3"]
    assert nodes_text((("n1", 1),)) == "n1"
    assert nodes_text((("n1", 1), ("n2", 4))) == "n1, n2 ×4"
    assert listed(list("abcd")) == "a, b, c, d"
    assert listed(list("abcdefg")) == "a, b, c, d and 3 more"


def test_a_requirement_names_resources_slots_and_attributes() -> None:
    assert requirement_text(need(2)) == "2 cores"
    assert requirement_text(need(1, slots=4)) == "1 core on each of 4 slots"
    attributes = (AttributeNeed("os", ("linux",)), AttributeNeed("disk"))
    assert requirement_text(need(1, slots=4, distinct=True, attributes=attributes)) == (
        "1 core on each of 4 nodes with os linux, disk"
    )
