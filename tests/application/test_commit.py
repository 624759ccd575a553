"""Many requests, one transaction: each succeeds or fails by itself, each is answered once, and the log has it all."""

import threading
from collections.abc import Sequence

import pytest

from adapters.store.memory import MemoryLog
from application.app import COMMANDS, INTERNAL, Application, Outcome, Reply, Request
from application.commands import HANDLERS
from application.decider import ROUTES
from application.ports import Unless
from domain import errors
from domain.client import ClientRegistered, RegisterClient
from domain.job import commands as c
from domain.job.events import JobDeadlineChanged
from domain.job.values import JobStatus, Priority
from domain.messages import Command, Meta, Recorded, client_stream
from domain.workflow import SubmitWorkflow
from tests.application.desk import ADA, Desk
from tests.builders import NOW, spec
from tests.fakes import CountedIds, ManualClock

META = Meta(ADA)


def submission(job_id: str, **fields: object) -> c.SubmitJob:
    return c.SubmitJob(spec=spec(job_id, **({"client_id": "default"} | fields)))


def request(*commands: Command, command_id: str = "", unless: Unless | None = None) -> Request:
    return Request(commands, Meta(ADA, command_id), remember=bool(command_id), unless=unless)


def replies(outcomes: Sequence[Outcome]) -> list[Reply]:
    assert all(isinstance(outcome, Reply) for outcome in outcomes), outcomes
    return [outcome for outcome in outcomes if isinstance(outcome, Reply)]


# -- one transaction -------------------------------------------------------------------------------------------------


def test_a_reply_says_how_many_events_and_which_position_to_wait_for() -> None:
    desk = Desk()
    first = desk.do(submission("job-1"))
    assert first == Reply(position=2, events=2)  # the client `default` and the job
    assert desk.do(c.HoldJob(job_id="job-1")) == Reply(position=3, events=1)
    assert desk.do(c.HoldJob(job_id="job-1")) == Reply(position=3, events=0)
    assert desk.position == 3


def test_requests_of_one_commit_have_replies_of_their_own() -> None:
    desk = Desk()
    desk.submit("job-1", "job-2")  # positions 1 to 3
    outcomes = desk.app.commit_all(
        [
            request(c.HoldJob(job_id="job-1")),
            request(c.HoldJob(job_id="job-1")),
            request(c.HoldJob(job_id="job-2"), c.PrioritizeJob(job_id="job-2", priority=Priority.HIGH)),
        ]
    )
    assert outcomes == [Reply(4, 1), Reply(4, 0), Reply(6, 2)]


def test_all_commands_of_a_request_succeed_or_none() -> None:
    desk = Desk()
    desk.submit("job-1")
    before = desk.position
    with pytest.raises(errors.JobNotFound):
        desk.do(c.HoldJob(job_id="job-1"), c.HoldJob(job_id="job-9"))
    assert desk.position == before
    assert not desk.job("job-1").held


def test_one_request_that_fails_takes_no_other_with_it() -> None:
    desk = Desk()
    desk.submit("job-1", "job-2")
    outcomes = desk.app.commit_all(
        [
            request(c.HoldJob(job_id="job-1")),
            request(c.PrioritizeJob(job_id="job-1", priority=Priority.HIGH), c.HoldJob(job_id="job-9")),
            request(c.HoldJob(job_id="job-2")),
        ]
    )
    assert isinstance(outcomes[1], errors.JobNotFound)
    replies([outcomes[0], outcomes[2]])
    assert desk.job("job-1").held
    assert desk.job("job-1").priority is Priority.MEDIUM
    assert desk.job("job-2").held
    desk.check()


def test_what_was_rolled_back_is_forgotten_by_the_requests_after_it() -> None:
    desk = Desk()
    desk.submit("job-1")
    bad, good = desk.app.commit_all(
        [
            request(submission("job-2"), c.HoldJob(job_id="job-9")),
            request(c.HoldJob(job_id="job-2")),
        ]
    )
    assert isinstance(bad, errors.JobNotFound)
    assert isinstance(good, errors.JobNotFound)
    assert good.fields == {"job_id": "job-2"}


def test_an_end_that_was_rolled_back_does_not_end_the_workflow() -> None:
    desk = Desk()
    desk.nodes("n1")
    desk.submit_workflow("job-1", "job-2")
    desk.cycle()
    live = desk.job("job-2").live
    done = c.ReportEnded(job_id="job-2", ends=tuple(c.AttemptEnd(n, a.task) for n, a in live.items()))
    outcomes = desk.app.commit_all(
        [
            request(c.HoldJob(job_id="job-1")),  # stages job-1, so that its stream stays known to the batch
            request(c.CancelJob(job_id="job-1"), c.HoldJob(job_id="job-9")),
            request(done),
        ]
    )
    assert isinstance(outcomes[1], errors.JobNotFound)
    assert desk.status("job-2") is JobStatus.COMPLETED
    assert desk.workflow().ended is None
    desk.check()


def test_a_commit_of_nothing_is_nothing() -> None:
    desk = Desk()
    assert desk.app.commit_all([]) == []
    assert desk.position == 0


def test_listeners_hear_every_commit_once_in_order_with_its_positions() -> None:
    desk = Desk()
    heard: list[Recorded] = []
    desk.app.listen(heard.extend)
    desk.submit("job-1", "job-2")
    desk.app.commit_all([request(c.HoldJob(job_id="job-1")), request(c.HoldJob(job_id="job-2"))])
    assert heard == desk.recorded()


def test_time_never_falls_along_the_log() -> None:
    clock = ManualClock()
    desk = Desk(clock=clock)
    desk.submit("job-1")
    clock.advance(-60_000)
    desk.do(c.HoldJob(job_id="job-1"))
    assert [each.event.at_ms for each in desk.recorded()] == [NOW, NOW, NOW]


def test_many_threads_share_commits_and_none_is_lost() -> None:
    log = CountingLog()
    desk = Desk(log=log)
    desk.client()
    before = log.appends
    errors_seen: list[BaseException] = []

    def submit(worker: int) -> None:
        try:
            for n in range(20):
                desk.app.handle(submission(f"job-{worker}-{n}", client_id="show"), ADA)
        except BaseException as error:  # noqa: BLE001 (told to the test below)
            errors_seen.append(error)

    with desk.app.lock:  # while the lock is held everybody queues up behind it
        threads = [threading.Thread(target=submit, args=(worker,)) for worker in range(8)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(desk.app._pending) == 8)
    for thread in threads:
        thread.join()
    assert errors_seen == []
    assert len(desk.app.farm.jobs) == 160
    assert log.appends - before < 160
    desk.check()


def wait_until(condition: object, seconds: float = 5.0) -> None:
    assert callable(condition)
    pause = threading.Event()
    for _ in range(int(seconds / 0.005)):
        if condition():
            return
        pause.wait(0.005)
    raise AssertionError("it never came so far")


# -- the same command again ------------------------------------------------------------------------------------------


def test_a_command_id_is_answered_the_same_again_and_does_nothing() -> None:
    desk = Desk()
    first = desk.do(submission("job-1"), command_id="cmd-a")
    desk.do(c.HoldJob(job_id="job-1"))
    assert desk.do(submission("job-1"), command_id="cmd-a") == first
    assert desk.do(c.CancelJob(job_id="job-1"), command_id="cmd-a") == first
    assert not desk.job("job-1").ended


def test_a_new_process_remembers_the_command_ids_of_the_one_before() -> None:
    desk = Desk()
    first = desk.do(submission("job-1"), command_id="cmd-a")
    again = Desk(log=desk.log)
    assert again.do(submission("job-1"), command_id="cmd-a") == first


def test_replies_are_remembered_one_by_one_although_they_shared_a_commit() -> None:
    desk = Desk()
    desk.submit("job-1", "job-2")  # positions 1 to 3
    requests = [
        request(c.HoldJob(job_id="job-1"), command_id="cmd-a"),
        request(c.HoldJob(job_id="job-2"), c.PauseJob(job_id="job-2"), command_id="cmd-b"),
    ]
    first = desk.app.commit_all(requests)
    assert first == [Reply(4, 1), Reply(6, 2)]
    assert desk.app.commit_all(requests) == first
    assert [desk.log.remembered("cmd-a"), desk.log.remembered("cmd-b")] == [(4, 1), (6, 2)]


def test_a_command_id_that_comes_twice_in_one_commit_is_carried_out_once() -> None:
    desk = Desk()
    desk.submit("job-1")  # positions 1 and 2
    twice = [request(c.HoldJob(job_id="job-1"), command_id="cmd-a")] * 2
    assert desk.app.commit_all(twice) == [Reply(3, 1), Reply(3, 1)]
    assert desk.topics(after=2) == ["job.held"]


def test_a_command_that_changed_nothing_still_changes_nothing_when_it_comes_again_later() -> None:
    desk = Desk()
    desk.submit("job-1")
    first = desk.do(c.UnholdJob(job_id="job-1"), command_id="cmd-a")
    assert first.events == 0
    desk.do(c.HoldJob(job_id="job-1"))
    assert desk.do(c.UnholdJob(job_id="job-1"), command_id="cmd-a") == first
    assert desk.job("job-1").held


def test_a_refused_command_may_be_tried_again_under_its_id() -> None:
    desk = Desk()
    with pytest.raises(errors.JobNotFound):
        desk.do(c.HoldJob(job_id="job-1"), command_id="cmd-a")
    desk.submit("job-1")
    assert desk.do(c.HoldJob(job_id="job-1"), command_id="cmd-a").events == 1


def test_an_id_that_the_application_made_itself_is_not_remembered() -> None:
    desk = Desk()
    desk.submit("job-1")
    assert desk.recorded()[-1].meta.command_id == "cmd-000001"
    assert desk.log.remembered("cmd-000001") is None


def test_a_job_submitted_again_with_the_same_content_is_the_same_job() -> None:
    desk = Desk()
    desk.submit("job-1")
    before = desk.position
    assert desk.do(submission("job-1")) == Reply(before, 0)
    with pytest.raises(errors.JobExists):
        desk.do(submission("job-1", tasks="0-3"))


def test_an_old_submission_among_new_ones_does_not_stop_them() -> None:
    desk = Desk()
    desk.submit("job-1")
    outcomes = desk.app.commit_all([request(submission("job-2")), request(submission("job-1"))])
    assert [reply.events for reply in replies(outcomes)] == [1, 0]


# -- somebody else wrote meanwhile -----------------------------------------------------------------------------------


def test_a_command_is_decided_anew_when_its_stream_has_moved() -> None:
    one = Desk()
    one.submit("job-1")
    two = Desk(log=one.log)
    two.do(c.HoldJob(job_id="job-1"))
    reply = one.do(c.PrioritizeJob(job_id="job-1", priority=Priority.HIGH))
    assert reply == Reply(position=4, events=1)
    assert one.job("job-1").held
    one.check()


def test_the_position_of_a_reply_counts_what_another_process_wrote_in_between() -> None:
    one = Desk()
    one.submit("job-1")
    two = Desk(log=one.log)
    two.client("show")
    assert one.do(c.HoldJob(job_id="job-1"), command_id="cmd-a") == Reply(position=4, events=1)
    assert one.log.remembered("cmd-a") == (4, 1)
    assert one.known_client("show") is not None
    one.check()


def test_what_another_process_wrote_is_heard_before_what_came_after_it() -> None:
    one = Desk()
    one.submit("job-1")
    heard: list[Recorded] = []
    one.app.listen(heard.extend)
    Desk(log=one.log).client("show")
    one.do(c.HoldJob(job_id="job-1"))
    assert heard == one.recorded(after=2)


def test_it_is_so_already_is_said_only_of_the_log_as_it_is() -> None:
    one = Desk()
    one.submit("job-1")
    Desk(log=one.log).do(c.HoldJob(job_id="job-1"))
    assert one.do(c.UnholdJob(job_id="job-1")).events == 1
    assert not one.job("job-1").held


def test_a_command_that_another_process_carried_out_already_is_answered_with_its_reply() -> None:
    one = Desk()
    one.submit("job-1")
    two = Desk(log=one.log)
    first = two.do(c.RequeueTasks(job_id="job-1"), c.HoldJob(job_id="job-1"), command_id="cmd-a")
    assert one.do(c.RequeueTasks(job_id="job-1"), c.HoldJob(job_id="job-1"), command_id="cmd-a") == first


def test_a_condition_that_no_longer_holds_gives_a_conflict_and_writes_nothing() -> None:
    desk = Desk()
    desk.submit("job-1")
    stale = Unless(1, ("job.submitted",))
    (outcome,) = desk.app.commit_all([request(c.HoldJob(job_id="job-1"), unless=stale)])
    assert isinstance(outcome, errors.PositionConflict)
    assert desk.position == 2


def test_whoever_is_always_too_late_is_told_so_in_the_end() -> None:
    log = HastyLog()
    desk = Desk(log=log)
    desk.submit("job-1")
    log.rival = True
    (outcome,) = desk.app.commit_all([request(c.HoldJob(job_id="job-1"))])
    assert isinstance(outcome, errors.VersionConflict)
    log.rival = False
    desk.do(c.HoldJob(job_id="job-1"))
    desk.check()


# -- a store that fails ----------------------------------------------------------------------------------------------


def test_a_failed_append_changes_nothing_and_everybody_is_told() -> None:
    log = BrokenLog()
    desk = Desk(log=log)
    desk.submit("job-1")
    log.broken = True
    told: list[Outcome | BaseException] = []

    def ask() -> None:
        try:
            told.append(desk.app.commit(request(c.HoldJob(job_id="job-1"))))
        except errors.StoreError as error:
            told.append(error)

    with desk.app.lock:
        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(desk.app._pending) == 3)
    for thread in threads:
        thread.join()
    assert [type(outcome) for outcome in told] == [errors.StoreError] * 3
    assert not desk.job("job-1").held
    log.broken = False
    desk.do(c.HoldJob(job_id="job-1"))
    desk.check()


def test_a_fault_of_ours_in_one_commit_is_raised_and_leaves_the_application_working() -> None:
    desk = Desk()
    desk.submit("job-1")
    wrong = c.PrioritizeJob(job_id="job-1", priority="urgent")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="urgent"):
        desk.do(wrong)
    assert desk.do(c.HoldJob(job_id="job-1")).events == 1


# -- what may come from outside --------------------------------------------------------------------------------------


def test_what_is_true_only_when_a_part_of_the_system_says_it_does_not_come_from_outside() -> None:
    assert not set(COMMANDS) & set(INTERNAL)
    assert set(COMMANDS) | set(INTERNAL) == set(HANDLERS) | set(ROUTES)
    assert c.PlaceTasks not in COMMANDS
    assert SubmitWorkflow not in COMMANDS


class CountingLog(MemoryLog):
    """Counts appends."""

    appends = 0

    def append(self, *args: object, **kwargs: object) -> int:
        self.appends += 1
        return super().append(*args, **kwargs)  # type: ignore[arg-type]


class HastyLog(MemoryLog):
    """With a rival who writes to the same stream just before every append."""

    rival = False

    def append(self, events: Sequence[Recorded], **kwargs: object) -> int:  # type: ignore[override]
        if self.rival:
            _, stream, version, _, meta = events[0]
            moved = JobDeadlineChanged(at_ms=NOW, job_id=stream, deadline_ms=version, before_ms=None)
            super().append([Recorded(0, stream, version, moved, meta)])
        return super().append(events, **kwargs)  # type: ignore[arg-type]


class BrokenLog(MemoryLog):
    """A disk that can be full."""

    broken = False

    def append(self, *args: object, **kwargs: object) -> int:
        if self.broken:
            raise errors.StoreError("the store failed: disk full")
        return super().append(*args, **kwargs)  # type: ignore[arg-type]


def test_the_application_needs_no_scheduler() -> None:
    app = Application(MemoryLog(), ManualClock(), CountedIds())
    app.handle(RegisterClient(client_id="show"), ADA)
    (recorded,) = app.log.stream(client_stream("show"))
    assert isinstance(recorded.event, ClientRegistered)
