"""What was decided is done, what was seen becomes events; asking twice is normal, and nothing late does harm."""

import threading
from collections.abc import Sequence

import pytest

from application.dispatcher import Dispatcher, owed, react
from application.launches import launch_of
from application.ports import (
    AttemptCheckpoint,
    AttemptExited,
    AttemptPartial,
    AttemptProgress,
    AttemptStarted,
    NodeHeartbeat,
    NodeReport,
)
from application.reports import commands_of
from domain import errors
from domain.checkpoint import CheckpointRestored, CheckpointState, DiscardCheckpoint
from domain.job import commands as c
from domain.job.events import PartialPublished, ProgressMarked
from domain.job.values import AttemptEnd, FailureClass, JobStatus, StopCause
from domain.node import LoseNode
from domain.resources import Requirement
from tests.application.desk import Desk
from tests.builders import need, resources
from tests.fake_executor import ScriptedExecutor


class Station:
    """A desk with a dispatcher over a scripted executor."""

    def __init__(self, desk: Desk | None = None) -> None:
        self.desk = desk or Desk()
        self.executor = ScriptedExecutor()
        self.node_reports: list[list[NodeReport]] = []
        self.problem = ""
        """What is wrong with every checkpoint's artefact."""
        self.verified: list[tuple[str, int, str]] = []
        self.dispatcher = Dispatcher(self.desk.app, self.executor, node_reports=self._hear, verify=self._verify)

    def _hear(self, reports: Sequence[NodeReport]) -> None:
        self.node_reports.append(list(reports))

    def _verify(self, path: str, size_bytes: int, sha256: str) -> str:
        self.verified.append((path, size_bytes, sha256))
        return self.problem

    def done(self) -> list[tuple[str, str]]:
        """What the executor was asked for when everything owed by now was performed."""
        self.dispatcher.perform()
        return self.executor.take_calls()

    def say(self, *reports: object) -> int:
        """The executor says this, and it is taken in."""
        self.executor.says = list(reports)  # type: ignore[arg-type]
        return self.dispatcher.take_reports(0)


def station_with(job_id: str = "job-1", cores: float = 4, **fields: object) -> Station:
    station = Station()
    station.desk.nodes("n1", cores=cores)
    station.desk.submit(job_id, **fields)  # type: ignore[arg-type]
    station.desk.cycle()
    return station


def exited(attempt_id: str, failure: FailureClass | None = None, exit_code: int = 0) -> AttemptExited:
    return AttemptExited(attempt_id=attempt_id, failure=failure, exit_code=exit_code)


def checkpointed(attempt_id: str, number: int = 1) -> AttemptCheckpoint:
    return AttemptCheckpoint(
        attempt_id=attempt_id, number=number, path=f"/c/{number}", progress=50, size_bytes=3, sha256="ab"
    )


# -- effects ---------------------------------------------------------------------------------------------------------


def test_what_was_placed_is_started_after_the_append() -> None:
    station = station_with(tasks="0-2")
    assert station.executor.calls == []
    assert station.executor.wakes == 1
    assert station.done() == [("start", "job-1.0.1"), ("start", "job-1.1.2"), ("start", "job-1.2.3")]
    assert station.done() == []


def test_nothing_is_started_for_what_was_not_stored() -> None:
    station = Station()
    station.desk.nodes("n1")
    station.desk.submit("job-1")
    append, station.desk.log.append = station.desk.log.append, fails  # type: ignore[method-assign]
    with pytest.raises(errors.StoreError):
        station.desk.cycle()
    station.desk.log.append = append  # type: ignore[method-assign]
    assert station.done() == []


def fails(*args: object, **kwargs: object) -> int:
    raise errors.StoreError("the store failed: disk full")


def test_a_launch_has_all_that_an_executor_needs() -> None:
    station = Station()
    station.desk.nodes("n1", memory_mib=1_000)
    two_slots = Requirement(resources(1, memory_mib=100), slots=2)
    station.desk.submit("job-1", requirement=two_slots, walltime_ms=5_000, grace_ms=700, output_dir="/o")
    station.desk.cycle()
    station.done()
    launch = station.executor.launches["job-1.0.1"]
    assert (launch.job_id, launch.task, launch.attempt, launch.node_id) == ("job-1", 0, 1, "n1")
    assert launch.nodes == (("n1", 2),)
    assert launch.resources == resources(2, memory_mib=200)
    assert (launch.walltime_ms, launch.grace_ms, launch.output_dir) == (5_000, 700, "/o")
    assert (launch.work.argv, launch.workflow_id, launch.restore_from) == (("true",), "job-1", None)
    assert launch == launch_of(station.desk.job("job-1"), 1)


def test_a_cancelled_job_is_told_to_stop() -> None:
    station = station_with()
    station.done()
    station.desk.do(c.CancelJob(job_id="job-1"))
    assert station.done() == [("terminate", "job-1.0.1")]


def test_what_is_cancelled_before_it_was_started_is_not_started_but_told_to_stop() -> None:
    station = station_with()
    station.desk.do(c.CancelJob(job_id="job-1"))
    assert station.done() == [("terminate", "job-1.0.1")]


def test_pausing_and_resuming_reach_every_live_attempt_after_its_start() -> None:
    station = station_with(tasks="0-1")
    station.desk.do(c.PauseJob(job_id="job-1"))
    assert station.done() == [
        ("start", "job-1.0.1"),
        ("start", "job-1.1.2"),
        ("suspend", "job-1.0.1"),
        ("suspend", "job-1.1.2"),
    ]
    station.desk.do(c.ResumeJob(job_id="job-1"))
    assert station.done() == [("resume", "job-1.0.1"), ("resume", "job-1.1.2")]


def test_nothing_is_asked_about_attempts_that_are_over() -> None:
    station = station_with()
    station.desk.finish("job-1")
    assert station.done() == []


def test_only_four_kinds_of_event_have_effects() -> None:
    station = station_with(tasks="0-1")
    station.desk.do(c.PauseJob(job_id="job-1"), c.ResumeJob(job_id="job-1"), c.RequeueTasks(job_id="job-1"))
    effects = [(effect.kind.value, effect.attempts) for r in station.desk.recorded() for effect in react(r.event)]
    assert effects == [("start", (1, 2)), ("suspend", ()), ("resume", ()), ("terminate", (1, 2))]


# -- after a crash ---------------------------------------------------------------------------------------------------


def test_a_new_process_asks_again_for_all_that_is_owed() -> None:
    before = station_with(tasks="0-2")
    before.desk.do(c.StopAttempts(job_id="job-1", attempts=(2,), cause=StopCause.REQUEUED))
    before.desk.do(c.PauseJob(job_id="job-1"))
    after = Station(Desk(log=before.desk.log))
    assert after.done() == []
    after.dispatcher.resume()
    assert after.done() == [
        ("start", "job-1.0.1"),
        ("start", "job-1.2.3"),
        ("terminate", "job-1.1.2"),
        ("suspend", "job-1.0.1"),
        ("suspend", "job-1.2.3"),
    ]


def test_a_job_of_which_nothing_lives_is_owed_nothing() -> None:
    desk = Desk()
    desk.submit("job-1")
    assert owed(desk.job("job-1")) == ()


# -- checkpoints -----------------------------------------------------------------------------------------------------


def restarting() -> Station:
    """A task that left a checkpoint and was lost with its node; its next attempt is placed."""
    station = station_with()
    station.desk.nodes("n2")
    station.done()
    station.say(AttemptStarted(attempt_id="job-1.0.1", at_ms=1), checkpointed("job-1.0.1"))
    station.desk.do(LoseNode(node_id="n1", why="it burned"))
    station.desk.cycle()
    return station


def test_the_next_attempt_starts_from_the_checkpoint_after_a_look_at_it() -> None:
    station = restarting()
    assert station.done() == [("start", "job-1.0.2")]
    assert station.verified == [("/c/1", 3, "ab")]
    assert station.executor.launches["job-1.0.2"].restore_from == "/c/1"
    restored = station.desk.last(CheckpointRestored)
    assert (restored.checkpoint_id, restored.attempt) == ("ckpt-job-1.0.1.1", 2)


def test_from_a_damaged_checkpoint_nothing_starts_and_the_log_says_so() -> None:
    station = restarting()
    station.problem = "its size is 2, not 3"
    station.done()
    assert station.executor.launches["job-1.0.2"].restore_from is None
    assert station.desk.checkpoint("ckpt-job-1.0.1.1").state is CheckpointState.CORRUPT
    station.desk.do(LoseNode(node_id="n2", why="it burned too"))
    station.desk.nodes("n3")
    station.desk.cycle()
    station.done()
    assert station.executor.launches["job-1.0.3"].restore_from is None
    assert len(station.verified) == 1


def test_a_checkpoint_discarded_while_it_is_looked_at_is_not_started_from() -> None:
    station = restarting()

    def discarding(path: str, size_bytes: int, sha256: str) -> str:
        station.desk.do(DiscardCheckpoint(checkpoint_id="ckpt-job-1.0.1.1"))
        return ""

    station.dispatcher._verify = discarding
    assert station.done() == [("start", "job-1.0.2")]
    assert station.executor.launches["job-1.0.2"].restore_from is None


def test_an_attempt_that_runs_already_is_not_restored_again_by_a_new_process() -> None:
    before = restarting()
    before.done()
    before.say(AttemptStarted(attempt_id="job-1.0.2", at_ms=2), checkpointed("job-1.0.2"))
    after = Station(Desk(log=before.desk.log))
    position = after.desk.position
    after.dispatcher.resume()
    assert after.done() == [("start", "job-1.0.2")]
    assert after.desk.position == position
    assert after.verified == []


# -- reports ---------------------------------------------------------------------------------------------------------


def test_reports_become_events_in_one_commit() -> None:
    station = station_with(tasks="0-1")
    station.done()
    before = station.desk.position
    appends = counted(station.desk)
    taken = station.say(
        AttemptStarted(attempt_id="job-1.0.1", at_ms=1),
        AttemptStarted(attempt_id="job-1.1.2", at_ms=1),
        AttemptProgress(attempt_id="job-1.0.1", percent=60, status="half"),
        AttemptPartial(attempt_id="job-1.0.1", path="/p.png", quality=40),
        exited("job-1.0.1"),
        exited("job-1.1.2"),
    )
    assert (taken, len(appends)) == (6, 1)
    assert station.desk.topics(after=before) == [
        "job.tasks_started",
        "job.progress_marked",
        "job.partial_published",
        "job.tasks_succeeded",
        "job.completed",
    ]
    assert station.desk.last(ProgressMarked).percent == 50
    assert station.desk.last(PartialPublished).path == "/p.png"
    assert {r.meta.actor for r in station.desk.recorded(after=before)} == {"dispatcher"}
    station.desk.check()


def counted(desk: Desk) -> list[int]:
    """Grows by one with every append."""
    appends: list[int] = []
    append = desk.log.append

    def counting(*args: object, **kwargs: object) -> int:
        appends.append(1)
        return append(*args, **kwargs)  # type: ignore[arg-type]

    desk.log.append = counting  # type: ignore[method-assign]
    return appends


def test_a_report_that_comes_twice_counts_once() -> None:
    station = station_with()
    station.done()
    station.say(AttemptStarted(attempt_id="job-1.0.1", at_ms=1))
    station.say(exited("job-1.0.1"))
    before = station.desk.position
    station.say(AttemptStarted(attempt_id="job-1.0.1", at_ms=1), exited("job-1.0.1", FailureClass.EXIT, 1))
    assert station.desk.position == before
    assert station.desk.status("job-1") is JobStatus.COMPLETED


def test_a_late_report_does_not_take_the_others_of_its_job_with_it() -> None:
    station = station_with(tasks="0-1")
    station.done()
    station.say(exited("job-1.0.1"))
    station.say(checkpointed("job-1.0.1"), AttemptStarted(attempt_id="job-1.1.2", at_ms=1), exited("job-1.1.2"))
    assert station.desk.status("job-1") is JobStatus.COMPLETED


def test_reports_about_a_job_that_nobody_knows_are_ignored() -> None:
    station = station_with()
    assert station.say(exited("job-9.0.1"), AttemptStarted(attempt_id="job-1.0.1", at_ms=1)) == 2
    assert station.desk.job("job-1").live[1].started_ms is not None


def test_an_attempt_of_a_node_that_is_gone_waits_again_without_counting_as_a_failure() -> None:
    station = station_with(retries=0)
    station.done()
    station.say(exited("job-1.0.1", FailureClass.LOST))
    assert [station.desk.status("job-1"), station.desk.job("job-1").waiting] == [JobStatus.QUEUED, "0"]


def test_an_end_after_its_walltime_was_over_is_a_walltime_failure() -> None:
    station = station_with()
    station.done()
    station.desk.do(c.StopAttempts(job_id="job-1", attempts=(1,), cause=StopCause.WALLTIME))
    station.say(exited("job-1.0.1", FailureClass.SIGNAL))
    assert station.desk.status("job-1") is JobStatus.FAILED


def test_a_fault_while_reporting_is_not_swallowed() -> None:
    station = station_with()
    station.desk.log.append = fails  # type: ignore[method-assign]
    with pytest.raises(errors.StoreError):
        station.say(exited("job-1.0.1"))


def test_whoever_watches_nodes_learns_of_every_time_that_somebody_listened() -> None:
    station = station_with()
    beat = NodeHeartbeat(node_id="n1")
    station.say(beat)
    station.say()
    assert station.node_reports == [[beat], []]


def test_ends_are_stored_before_the_node_that_saw_them_is_heard_of() -> None:
    station = station_with()
    station.done()
    seen: list[JobStatus] = []
    station.dispatcher._node_reports = lambda reports: seen.append(station.desk.status("job-1"))
    station.say(NodeHeartbeat(node_id="n1"), exited("job-1.0.1"))
    assert seen == [JobStatus.COMPLETED]


def test_the_loop_performs_and_reports_until_told_to_stop() -> None:
    station = Station()
    stop, started = threading.Event(), threading.Event()
    start = station.executor.start

    def note(launches: Sequence[object]) -> None:
        start(launches)  # type: ignore[arg-type]
        started.set()

    station.executor.start = note  # type: ignore[method-assign]
    loop = threading.Thread(target=station.dispatcher.run, args=(stop,))
    loop.start()
    station.desk.nodes("n1")
    station.desk.submit("job-1")
    station.desk.cycle()
    assert started.wait(5)
    stop.set()
    loop.join(5)
    assert not loop.is_alive()


# -- translation -----------------------------------------------------------------------------------------------------


def test_neighbouring_starts_and_ends_of_a_job_become_one_command_each() -> None:
    commands = commands_of(
        [
            AttemptStarted(attempt_id="job-1.0.1", at_ms=1),
            AttemptStarted(attempt_id="job-2.0.1", at_ms=1),
            AttemptStarted(attempt_id="job-1.1.2", at_ms=1),
            exited("job-1.0.1"),
            AttemptProgress(attempt_id="job-1.1.2", percent=10),
            exited("job-1.1.2"),
        ]
    )
    assert commands == {
        "job-1": [
            c.ReportStarted(job_id="job-1", attempts=(1, 2)),
            c.ReportEnded(job_id="job-1", ends=(AttemptEnd(1, 0, exit_code=0),)),
            c.ReportProgress(job_id="job-1", attempt=2, percent=10),
            c.ReportEnded(job_id="job-1", ends=(AttemptEnd(2, 1, exit_code=0),)),
        ],
        "job-2": [c.ReportStarted(job_id="job-2", attempts=(1,))],
    }


def test_an_end_keeps_everything_that_its_executor_saw() -> None:
    report = AttemptExited(
        attempt_id="job-1.7.3", exit_code=None, signal=9, failure=FailureClass.MEMORY, message="too much",
        started_ms=1, ended_ms=2, cpu_ms=3, max_rss_mib=4,
    )  # fmt: skip
    (command,) = commands_of([report])["job-1"]
    assert command == c.ReportEnded(
        job_id="job-1", ends=(AttemptEnd(3, 7, None, 9, FailureClass.MEMORY, "too much", 1, 2, 3, 4),)
    )


def test_a_gang_is_launched_on_its_first_node_with_all_its_nodes_named() -> None:
    station = Station()
    station.desk.nodes("n1", "n2", cores=1)
    station.desk.submit("job-1", requirement=need(1, slots=2, distinct=True))
    station.desk.cycle()
    station.done()
    launch = station.executor.launches["job-1.0.1"]
    assert launch.node_id == launch.nodes[0][0]
    assert {node_id for node_id, _ in launch.nodes} == {"n1", "n2"}
