"""What every Log keeps its word about; a test class over one implementation inherits it and provides the fixture `log`.

The words are those of `application.ports.Log`; nothing here knows how a log is made.
"""

import threading
from collections.abc import Sequence

import pytest

from application.ports import Log, Remembered, StateSnapshot, Unless
from domain import errors
from domain.job import events as e
from domain.messages import Event, Meta, Recorded
from domain.node import NodeDrained
from tests.builders import NOW, submitted

META = Meta("user:ada", "cmd-1", "job-0@3", 17)
CLASH = pytest.raises(errors.VersionConflict)


def held(job_id: str, version: int, at: int = NOW, meta: Meta = META) -> Recorded:
    """An event to append: of a job, at a version."""
    return Recorded(0, job_id, version, e.JobHeld(at_ms=at, job_id=job_id), meta)


def drained(version: int, at: int = NOW) -> Recorded:
    """An event of another topic and stream."""
    return Recorded(0, "node:n1", version, NodeDrained(at_ms=at, node_id="n1"), META)


def history(count: int, job_id: str = "job-1", first: int = 1) -> list[Recorded]:
    """So many events of one stream."""
    return [held(job_id, first + n, NOW + n) for n in range(count)]


def positions(recorded: Sequence[Recorded]) -> list[int]:
    """Where they stand."""
    return [each.position for each in recorded]


def snapshot(stream: str = "job-1", version: int = 1, state: bytes = b"\x00state") -> StateSnapshot:
    """Some encoded state."""
    return StateSnapshot(stream, version, "job.snapshot", state)


class LogContract:
    """Inherited by the tests of every implementation."""

    # -- appending -----------------------------------------------------------------------------------------------

    def test_an_empty_log_holds_nothing(self, log: Log) -> None:
        assert log.position() == 0
        assert log.read(0, 10) == []
        assert list(log.replay(0)) == []
        assert log.stream("job-1") == []
        assert log.streams("", 10) == []
        assert log.snapshot("job-1") is None
        assert log.remembered("cmd-1") is None
        assert log.of_command("cmd-1") == []
        assert log.position_at(NOW) == 0

    def test_positions_count_from_one_without_gaps_over_all_streams(self, log: Log) -> None:
        assert log.append([held("job-1", 1), held("job-2", 1)]) == 1
        assert log.append([drained(1)]) == 3
        assert log.append([held("job-1", 2)]) == 4
        assert positions(log.read(0, 10)) == [1, 2, 3, 4]
        assert log.position() == 4

    def test_what_is_read_is_what_was_appended_metadata_included(self, log: Log) -> None:
        whole = Recorded(0, "job-1", 1, submitted(), Meta("user:é√", 'cmd-"1"', "x", 3))
        log.append([whole, drained(1)])
        first, second = log.read(0, 10)
        assert first == whole._replace(position=1)
        assert second == drained(1)._replace(position=2)

    def test_nothing_can_be_appended_and_takes_no_position(self, log: Log) -> None:
        log.append(history(2))
        assert log.append([]) == 3
        assert log.position() == 2
        assert log.append([drained(1)]) == 3

    def test_a_version_that_is_taken_is_a_conflict_and_nothing_of_the_append_is_kept(self, log: Log) -> None:
        log.append(history(2))
        with CLASH:
            log.append([drained(1), held("job-1", 2)], snapshots=[snapshot()], remembered=[Remembered("cmd-a", 1, 1)])
        assert log.position() == 2
        assert log.stream("node:n1") == []
        assert log.snapshot("job-1") is None
        assert log.remembered("cmd-a") is None
        assert log.append([drained(1)]) == 3

    def test_a_version_twice_in_one_append_is_a_conflict(self, log: Log) -> None:
        with CLASH:
            log.append([held("job-1", 1), held("job-1", 1)])
        assert log.position() == 0

    # -- conditions ----------------------------------------------------------------------------------------------

    def test_a_condition_holds_while_nothing_of_its_topics_came_after_its_position(self, log: Log) -> None:
        log.append([held("job-1", 1), drained(1)])
        assert log.append([held("job-1", 2)], unless=Unless(2, ("node.drained", "job.held"))) == 3
        assert log.append([held("job-1", 3)], unless=Unless(0, ("job.paused",))) == 4
        assert log.append([held("job-1", 4)], unless=Unless(2, ("node.drained",))) == 5
        assert log.append([held("job-1", 5)], unless=Unless(0, ())) == 6

    def test_a_condition_that_does_not_hold_is_a_conflict_and_nothing_is_kept(self, log: Log) -> None:
        log.append([held("job-1", 1), drained(1), held("job-1", 2)])
        with pytest.raises(errors.PositionConflict) as caught:
            log.append(
                [held("job-2", 1)],
                unless=Unless(1, ("node.lost", "node.drained")),
                snapshots=[snapshot()],
                remembered=[Remembered("cmd-a", 1, 1)],
            )
        assert caught.value.fields == {"position": 1}
        assert (log.position(), log.snapshot("job-1"), log.remembered("cmd-a")) == (3, None, None)

    def test_of_two_appends_that_would_each_spoil_the_other_one_is_stored(self, log: Log) -> None:
        log.append([held("job-0", 1)])
        results: list[str] = []
        start = threading.Barrier(4)

        def append(number: int) -> None:
            start.wait()
            try:
                log.append([held(f"job-{number}", 1)], unless=Unless(1, ("job.held",)))
                results.append("stored")
            except errors.PositionConflict:
                results.append("refused")

        together(append, 4)
        assert sorted(results) == ["refused", "refused", "refused", "stored"]
        assert log.position() == 2

    # -- reading -------------------------------------------------------------------------------------------------

    def test_reading_goes_on_after_a_position_up_to_another_and_stops_at_a_limit(self, log: Log) -> None:
        log.append(history(6))
        assert positions(log.read(2, 10)) == [3, 4, 5, 6]
        assert positions(log.read(2, 2)) == [3, 4]
        assert positions(log.read(2, 10, upto=4)) == [3, 4]
        assert positions(log.read(4, 10, upto=4)) == []
        assert positions(log.read(6, 10)) == []
        assert positions(log.read(2, 0)) == []
        assert positions(log.read(0, 10, upto=99)) == [1, 2, 3, 4, 5, 6]

    def test_reading_some_topics_counts_the_limit_in_those(self, log: Log) -> None:
        log.append([held("job-1", 1), drained(1), held("job-1", 2), drained(2), drained(3)])
        assert positions(log.read(0, 10, topics=["node.drained"])) == [2, 4, 5]
        assert positions(log.read(2, 1, topics=("node.drained",))) == [4]
        assert positions(log.read(0, 10, upto=4, topics=["node.drained", "job.queued"])) == [2, 4]
        assert positions(log.read(0, 10, topics=["job.queued"])) == []

    def test_a_replay_gives_everything_in_order_without_the_metadata(self, log: Log) -> None:
        log.append(history(12_001))
        found = list(log.replay(1))
        assert [position for position, _, _, _ in found] == list(range(2, 12_002))
        assert found[0] == (2, "job-1", 2, e.JobHeld(at_ms=NOW + 1, job_id="job-1"))
        assert [position for position, *_ in log.replay(3, upto=5)] == [4, 5]
        assert list(log.replay(12_001)) == []

    def test_a_replay_may_be_left_before_its_end(self, log: Log) -> None:
        log.append(history(3))
        assert next(iter(log.replay(0)))[0] == 1
        assert log.append(history(1, first=4)) == 4

    def test_a_stream_is_read_by_version(self, log: Log) -> None:
        log.append([held("job-1", 1), drained(1), held("job-1", 2), held("job-1", 3)])
        assert [(r.position, r.version) for r in log.stream("job-1")] == [(1, 1), (3, 2), (4, 3)]
        assert [r.version for r in log.stream("job-1", after=1)] == [2, 3]
        assert [r.version for r in log.stream("job-1", after=1, upto=2)] == [2]
        assert log.stream("job-1", after=3) == []
        assert log.stream("job-") == []

    def test_streams_are_listed_by_prefix_in_order(self, log: Log) -> None:
        log.append([held(name, 1) for name in ("job-b", "job-a", "job-ab", "kob", "jo")] + [held("job-a", 2)])
        assert log.streams("job-", 10) == ["job-a", "job-ab", "job-b"]
        assert log.streams("job-a", 10) == ["job-a", "job-ab"]
        assert log.streams("", 10) == ["jo", "job-a", "job-ab", "job-b", "kob"]
        assert log.streams("job-", 2) == ["job-a", "job-ab"]
        assert log.streams("x", 10) == []
        assert log.streams("", 0) == []

    def test_reading_never_sees_half_an_append(self, log: Log) -> None:
        stop, torn = threading.Event(), []

        def look(_: int) -> None:
            while not stop.is_set():
                last = log.position()
                recorded = log.read(max(0, last - 10), 10, upto=last)
                if last % 5 or positions(recorded) != list(range(max(0, last - 10) + 1, last + 1)):
                    torn.append(last)

        def write() -> None:
            for n in range(60):
                log.append([held(f"job-{n}", version) for version in range(1, 6)])
            stop.set()

        writer = threading.Thread(target=write)
        writer.start()
        together(look, 2)
        writer.join()
        assert torn == []

    # -- time ----------------------------------------------------------------------------------------------------

    def test_the_position_at_a_time_is_that_of_the_last_event_by_then(self, log: Log) -> None:
        log.append([held("job-1", 1, NOW), held("job-1", 2, NOW + 10), held("job-1", 3, NOW + 10)])
        log.append([held("job-1", 4, NOW + 20)])
        asked = (NOW - 1, NOW, NOW + 9, NOW + 10, NOW + 19, NOW + 20, NOW + 1_000_000)
        assert [log.position_at(at) for at in asked] == [0, 1, 1, 3, 3, 4, 4]

    # -- snapshots -----------------------------------------------------------------------------------------------

    def test_the_newest_snapshot_at_or_below_a_version_is_found(self, log: Log) -> None:
        for version in (10, 30, 20):
            log.save_snapshots([snapshot(version=version, state=str(version).encode())])
        found = [log.snapshot("job-1", upto) for upto in (None, 9, 10, 25, 99)]
        assert [None if each is None else each.state for each in found] == [b"30", None, b"10", b"20", b"30"]
        assert found[0] == snapshot(version=30, state=b"30")
        assert log.snapshot("job-2") is None

    def test_a_snapshot_is_stored_with_the_events_it_stands_for(self, log: Log) -> None:
        log.append(history(1), snapshots=[snapshot()])
        assert log.snapshot("job-1") == snapshot()

    def test_a_snapshot_that_is_there_already_stays(self, log: Log) -> None:
        log.save_snapshots([snapshot(state=b"first")])
        log.save_snapshots([snapshot(state=b"second"), snapshot(version=2)])
        log.append(history(1), snapshots=[snapshot(state=b"third")])
        assert log.snapshot("job-1", 1) == snapshot(state=b"first")

    def test_a_snapshot_of_one_topic_is_found_behind_newer_ones_of_others(self, log: Log) -> None:
        older, newer = snapshot(version=1), snapshot(version=2)._replace(topic="job.snapshot/2")
        log.save_snapshots([older, newer])
        assert log.snapshot("job-1") == newer
        assert log.snapshot("job-1", topic="job.snapshot") == older
        assert log.snapshot("job-1", 1, "job.snapshot/2") is None
        assert log.snapshot("job-1", topic="job.snapshot/3") is None

    def test_a_snapshot_of_another_topic_gives_way(self, log: Log) -> None:
        log.save_snapshots([snapshot(state=b"first"), snapshot(version=2)])
        other = snapshot(state=b"second")._replace(topic="job.snapshot/2")
        log.save_snapshots([other])
        assert log.snapshot("job-1", 1) == other
        assert log.snapshot("job-1") == snapshot(version=2)

    def test_forgetting_snapshots_leaves_the_events(self, log: Log) -> None:
        log.append(history(2), snapshots=[snapshot()])
        log.save_snapshots([snapshot("farm", 2)])
        log.forget_snapshots()
        assert (log.snapshot("job-1"), log.snapshot("farm")) == (None, None)
        assert log.position() == 2

    # -- remembered replies --------------------------------------------------------------------------------------

    def test_a_reply_is_remembered_with_the_position_it_really_got(self, log: Log) -> None:
        log.append(history(3))
        log.append(history(4, "job-2"), remembered=[Remembered("cmd-a", 1, 1), Remembered("cmd-b", 4, 3)])
        assert log.remembered("cmd-a") == (4, 1)
        assert log.remembered("cmd-b") == (7, 3)
        assert log.remembered("cmd-c") is None

    def test_a_reply_without_events_is_remembered_too(self, log: Log) -> None:
        log.append(history(3))
        log.append([], remembered=[Remembered("cmd-a", 0, 0)])
        assert log.remembered("cmd-a") == (3, 0)

    def test_a_command_id_is_remembered_once(self, log: Log) -> None:
        log.append([held("job-1", 1)], remembered=[Remembered("cmd-a", 1, 1)])
        with CLASH:
            log.append([held("job-1", 2)], remembered=[Remembered("cmd-a", 1, 1)])
        with CLASH:
            log.append([held("job-1", 2)], remembered=[Remembered("cmd-b", 1, 1), Remembered("cmd-b", 1, 1)])
        assert (log.position(), log.remembered("cmd-a"), log.remembered("cmd-b")) == (1, (1, 1), None)

    # -- the events of a command ---------------------------------------------------------------------------------

    def test_the_events_of_a_command_are_found_in_order_over_all_streams(self, log: Log) -> None:
        mine, other = Meta("user:ada", "cmd-mine"), Meta("user:bob", "cmd-min")
        log.append([held("job-1", 1, meta=other), held("job-2", 1, meta=mine), held("job-1", 2, meta=mine)])
        log.append([held("job-3", 1, meta=other), held("job-4", 1, meta=mine)])
        assert [(r.position, r.stream, r.meta) for r in log.of_command("cmd-mine")] == [
            (2, "job-2", mine), (3, "job-1", mine), (5, "job-4", mine),
        ]  # fmt: skip
        assert positions(log.of_command("cmd-min")) == [1, 4]
        assert [log.of_command(name) for name in ("cmd-m", "cmd-mine-too", "job-1", "")] == [[], [], [], []]

    def test_the_events_of_a_remembered_command_are_those_before_its_reply(self, log: Log) -> None:
        a, b = Meta("user:ada", "cmd-a"), Meta("user:ada", "cmd-b")
        log.append(history(2))
        log.append(
            [held("job-2", 1, meta=a), held("job-3", 1, meta=b), held("job-3", 2, meta=b)],
            remembered=[Remembered("cmd-a", 1, 1), Remembered("cmd-b", 3, 2), Remembered("cmd-c", 3, 0)],
        )
        log.append(history(1, "job-4"))
        assert [positions(log.of_command(name)) for name in ("cmd-a", "cmd-b", "cmd-c")] == [[3], [4, 5], []]

    def test_a_command_id_that_stands_elsewhere_in_an_event_is_not_its_own(self, log: Log) -> None:
        named = Meta("cmd-a", "cmd-b", "undo:cmd-a")
        quoted = Meta("user:ada", 'cmd-"é\\')
        said = Recorded(0, "job-1", 1, e.JobHeld(at_ms=NOW, job_id="job-1", why='"command_id":"cmd-a"'), named)
        log.append([said, held("job-1", 2, meta=quoted)])
        assert log.of_command("cmd-a") == []
        assert positions(log.of_command(quoted.command_id)) == [2]

    # -- many at once --------------------------------------------------------------------------------------------

    def test_appends_from_many_threads_lie_one_after_the_other(self, log: Log) -> None:
        def append(number: int) -> None:
            for n in range(10):
                log.append([held(f"job-{number}", 3 * n + k) for k in (1, 2, 3)])

        together(append, 4)
        recorded = log.read(0, 1_000)
        assert positions(recorded) == list(range(1, 121))
        for at in range(0, 120, 3):
            assert len({each.stream for each in recorded[at : at + 3]}) == 1


def together(work: object, count: int) -> None:
    """Runs `work(0)` … `work(count - 1)` in as many threads; an exception in any of them is raised here."""
    assert callable(work)
    failures: list[BaseException] = []

    def run(number: int) -> None:
        try:
            work(number)
        except BaseException as error:  # noqa: BLE001 (raised below)
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def events_of(recorded: Sequence[Recorded]) -> list[Event]:
    """The facts alone."""
    return [each.event for each in recorded]
