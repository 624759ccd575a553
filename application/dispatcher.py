"""The dispatcher: what was decided is done, what was seen becomes events.

A process manager. Effects follow the append and carry the attempt id, so that an executor can refuse a second launch;
after a crash `resume` asks for everything that is still owed, and asking twice is normal. Outcomes come back as
commands.
"""

import threading
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any, NamedTuple, get_args

from msgspec.structs import replace

from application.app import Application, Request, state_of
from application.decider import CHECKPOINT
from application.launches import launch_of
from application.ports import AttemptReport, Executor, Launch, NodeReport
from application.reports import cause_of, commands_of
from domain import errors, intervals
from domain.checkpoint import RestoreCheckpoint, VerifyCheckpoint
from domain.job import events as e
from domain.job.values import AttemptNumber, Job
from domain.messages import Command, Event, JobId, Meta, Recorded

ACTOR = "dispatcher"
"""Who reports what executors saw."""

Verify = Callable[[str, int, str], str]
"""Says what is wrong with a checkpoint's artefact (path, size in bytes, SHA-256), or an empty string."""


class Kind(StrEnum):
    """What can be owed to an executor."""

    START = "start"
    TERMINATE = "terminate"
    SUSPEND = "suspend"
    RESUME = "resume"


class Effect(NamedTuple):
    """One thing owed to the executor; no attempts means all that live."""

    kind: Kind
    job_id: JobId
    attempts: tuple[AttemptNumber, ...] = ()


def react(event: Event) -> tuple[Effect, ...]:
    """The effects that follow from an event."""
    if isinstance(event, e.TasksPlaced):
        last = event.placements[-1]
        first = event.placements[0].first_attempt
        return (Effect(Kind.START, event.job_id, tuple(range(first, _end_of(last)))),)
    if isinstance(event, e.TasksStopping):
        return (Effect(Kind.TERMINATE, event.job_id, event.attempts),)
    if isinstance(event, e.JobPaused):
        return (Effect(Kind.SUSPEND, event.job_id),)
    if isinstance(event, e.JobResumed):
        return (Effect(Kind.RESUME, event.job_id),)
    if isinstance(event, e.TasksSuspended):
        return (Effect(Kind.SUSPEND, event.job_id, event.attempts),)
    if isinstance(event, e.TasksResumed):
        return (Effect(Kind.RESUME, event.job_id, event.attempts),)
    return ()


def _end_of(placement: Any) -> int:
    return int(placement.first_attempt) + intervals.size(placement.tasks)


def owed(job: Job) -> tuple[Effect, ...]:
    """All effects that a job's live attempts are owed, whatever was done before."""
    job_id = job.spec.job_id
    starting = tuple(n for n, attempt in job.live.items() if attempt.stopping is None)
    stopping = tuple(n for n, attempt in job.live.items() if attempt.stopping is not None)
    still = tuple(n for n in starting if stands_still(job, n))
    moved = tuple(n for n in starting if n not in still and has_stood_still(job, n))
    effects = [
        Effect(Kind.START, job_id, starting),
        Effect(Kind.TERMINATE, job_id, stopping),
        Effect(Kind.SUSPEND, job_id, still),
        Effect(Kind.RESUME, job_id, moved),
    ]
    return tuple(effect for effect in effects if effect.attempts)


def stands_still(job: Job, number: AttemptNumber) -> bool:
    """Whether a live attempt must not run now: its job is paused, or it is suspended for another one."""
    return job.paused or job.live[number].suspended_at_ms is not None


def has_stood_still(job: Job, number: AttemptNumber) -> bool:
    """Whether it may have been told to stand still before, and perhaps not yet to go on."""
    return bool(job.paused_ms) or job.live[number].resumed_ms is not None


class Dispatcher:
    """Carries out placements, stops and pauses on an executor, and reports back."""

    def __init__(
        self,
        app: Application,
        executor: Executor,
        *,
        node_reports: Callable[[Sequence[NodeReport]], None],
        verify: Verify,
    ) -> None:
        self.app, self.executor = app, executor
        self._node_reports, self._verify = node_reports, verify
        self._owed: list[Effect] = []
        self._owed_lock = threading.Lock()
        app.listen(self._saw)

    def run(self, stop: threading.Event) -> None:
        """Effects and reports until told to stop."""
        while not stop.is_set():
            self.perform()
            self.take_reports(0.5)

    # -- effects -------------------------------------------------------------------------------------------------

    def _saw(self, recorded: Sequence[Recorded]) -> None:
        effects = [effect for each in recorded if type(each.event) in _EFFECTIVE for effect in react(each.event)]
        if effects:
            self._owe(effects)
            self.executor.wake()

    def resume(self) -> None:
        """Asks again for everything that live attempts are owed: at every start, so also after a crash."""
        with self.app.lock:
            jobs = self.app.farm.jobs
            self._owe([effect for job_id in sorted(jobs) for effect in owed(jobs[job_id])])

    def _owe(self, effects: list[Effect]) -> None:
        with self._owed_lock:
            self._owed += effects

    def perform(self) -> int:
        """Does what is owed by now, as far as the attempts still live; how many effects that were."""
        with self._owed_lock:
            effects, self._owed = self._owed, []
        starts: list[Launch] = []
        for effect in effects:
            job = self.app.farm.jobs.get(effect.job_id)
            if job is not None:
                self._perform(effect, job, starts)
        if starts:
            self.executor.start(starts)
        return len(effects)

    def _perform(self, effect: Effect, job: Job, starts: list[Launch]) -> None:
        for number in effect.attempts or tuple(job.live):
            attempt = job.live.get(number)
            if attempt is None:
                continue
            launch = launch_of(job, number)
            if effect.kind is Kind.START:
                if attempt.stopping is None:
                    ran_before = attempt.started_ms is not None  # it is asked for again after a restart
                    starts.append(launch if ran_before else self._checked(job, launch))
                continue
            if effect.kind is Kind.RESUME and stands_still(job, number):
                continue  # for the other of two reasons
            if starts:  # keep the order: what was placed before is started before anything else happens to it
                self.executor.start(starts)
                starts.clear()
            self._signal(effect.kind, job, launch)

    def _signal(self, kind: Kind, job: Job, launch: Launch) -> None:
        if kind is Kind.TERMINATE:
            grace_ms = job.live[launch.attempt].grace_ms
            self.executor.terminate(launch, job.spec.grace_ms if grace_ms is None else grace_ms)
        elif kind is Kind.SUSPEND:
            self.executor.suspend(launch)
        else:
            self.executor.resume(launch)

    def _checked(self, job: Job, launch: Launch) -> Launch:
        """The launch with its checkpoint checked: from a damaged one nothing resumes, and the log says so."""
        if launch.restore_from is None:
            return launch
        checkpoint_id = job.checkpoints[launch.task].checkpoint_id
        checkpoint = state_of(self.app, CHECKPOINT, checkpoint_id)
        if checkpoint is None or not checkpoint.usable:
            return replace(launch, restore_from=None)
        problem = self._verify(checkpoint.location, checkpoint.size_bytes, checkpoint.sha256)
        command: Command = RestoreCheckpoint(checkpoint_id=checkpoint_id, attempt=launch.attempt)
        if problem:
            command = VerifyCheckpoint(checkpoint_id=checkpoint_id, problem=problem)
        try:
            self.app.handle(command, ACTOR)
        except errors.CheckpointStateForbids as gone:  # somebody discarded it while it was read
            problem = gone.message
        return replace(launch, restore_from=None) if problem else launch

    # -- reports -------------------------------------------------------------------------------------------------

    def take_reports(self, timeout_s: float) -> int:
        """Waits for reports and turns them into events, all in one commit; how many there were."""
        reports = self.executor.reports(timeout_s)
        of_nodes: list[Any] = [report for report in reports if type(report) in _OF_NODES]
        of_attempts: list[Any] = [report for report in reports if type(report) not in _OF_NODES]
        if of_attempts:
            self._report(of_attempts)
        self._node_reports(of_nodes)  # also when there are none: whoever waits for one learns that we listened
        return len(reports)

    def _report(self, reports: list[AttemptReport]) -> None:
        """Each command by itself: one that comes too late must not take the others of its job with it."""
        requests = [
            Request((command,), Meta(ACTOR, cause=cause_of(command)))
            for commands in commands_of(reports).values()
            for command in commands
        ]
        for outcome in self.app.commit_all(requests):
            if isinstance(outcome, errors.TaskSchedulerError) and not isinstance(outcome, errors.NotFound):
                raise outcome  # a report about something that is gone is late; any other refusal is a fault


_EFFECTIVE = (e.TasksPlaced, e.TasksStopping, e.JobPaused, e.JobResumed, e.TasksSuspended, e.TasksResumed)
_OF_NODES = get_args(NodeReport)
