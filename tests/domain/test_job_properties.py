"""Whatever is asked of a job in whatever order: no task is lost, none is in two states, and its log says it all.

A plain model beside the job, one word per task, is moved by what is asked and never looks at the facts that follow.
"""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from domain import intervals, job
from domain.errors import JobEnded, JobNotEnded, NothingToRetry, TasksNotWaiting
from domain.job import commands as c
from domain.job import events as e
from domain.job.values import AttemptEnd, FailureClass, JobStatus, Placement, Priority, StopCause
from tests.builders import NOW, WHY, spec
from tests.spec import listing, replayed

BACKOFF_MS = 1_000
WAITING, LIVE, SUCCEEDED, FAILED, CANCELLED = "waiting", "live", "succeeded", "failed", "cancelled"
WISHES = (c.HoldJob, c.UnholdJob, c.PauseJob, c.ResumeJob)
FAILURES = (FailureClass.EXIT, FailureClass.SIGNAL, FailureClass.MEMORY, FailureClass.LOST)
choices = st.integers(0, 9)


class JobMachine(RuleBasedStateMachine):
    """One job, the commands that can come at any time, and the model."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ms = NOW
        self.facts: list[e.JobEvent] = []
        self.state: job.Job | None = None
        self.task: dict[int, str | int] = {}
        """Each task's state: a word, or for a back-off the time when it ends."""
        self.failures: dict[int, int] = {}
        self.attempts: dict[int, tuple[int, StopCause | None]] = {}
        """Live attempts: task, and why it was told to stop."""
        self.used: set[int] = set()
        self.flags = {"queued": True, "held": False, "paused": False}
        self.ended: JobStatus | None = None

    # -- doing ---------------------------------------------------------------------------------------------------

    def ask(self, command: c.JobCommand) -> tuple[e.JobEvent, ...]:
        """Decides and folds; a refusal is an exception and changes nothing."""
        facts = job.decide(self.state, command, self.now_ms)
        for fact in facts:
            self.state = job.evolve(self.state, fact)
        self.facts += facts
        return facts

    def refused(self, command: c.JobCommand, error: type[Exception]) -> None:
        try:
            facts = self.ask(command)
        except error:
            return
        raise AssertionError(f"{command} was not refused but gave {facts}")

    def live(self, count: int) -> list[int]:
        return sorted(self.attempts)[:count]

    def ready(self) -> list[int]:
        return sorted(t for t, s in self.task.items() if s == WAITING or (isinstance(s, int) and s <= self.now_ms))

    def startable(self) -> bool:
        return self.flags == {"queued": True, "held": False, "paused": False} and self.ended is None

    @initialize(tasks=st.integers(1, 6), retries=st.integers(0, 2), held=st.booleans(), queued=st.booleans())
    def submit(self, tasks: int, retries: int, held: bool, queued: bool) -> None:
        wanted = spec(tasks=intervals.of(range(tasks)), retries=retries, backoff_ms=BACKOFF_MS)
        self.ask(c.SubmitJob(spec=wanted, held=held, after=() if queued else ("job-0",)))
        self.flags |= {"held": held, "queued": queued}
        self.task = dict.fromkeys(range(tasks), WAITING)

    @rule(ms=st.sampled_from((1, BACKOFF_MS, 5 * BACKOFF_MS)))
    def time_passes(self, ms: int) -> None:
        self.now_ms += ms

    @rule(queued=st.booleans())
    def queue_or_unqueue(self, queued: bool) -> None:
        self.ask(c.QueueJob(job_id="job-1") if queued else c.UnqueueJob(job_id="job-1", why="reopened"))
        if self.ended is None:
            self.flags["queued"] = queued

    @rule(kind=st.sampled_from(WISHES))
    def hold_or_pause(self, kind: type) -> None:
        if self.ended is not None:
            return self.refused(kind(job_id="job-1"), JobEnded)
        self.ask(kind(job_id="job-1"))
        flag = "held" if kind in (c.HoldJob, c.UnholdJob) else "paused"
        self.flags[flag] = kind in (c.HoldJob, c.PauseJob)
        return None

    @rule(priority=st.sampled_from(Priority))
    def prioritize(self, priority: Priority) -> None:
        command = c.PrioritizeJob(job_id="job-1", priority=priority)
        if self.ended is not None:
            return self.refused(command, JobEnded)
        self.ask(command)
        assert self.state.priority is priority
        return None

    @rule(count=choices)
    def place(self, count: int) -> None:
        chosen = self.ready()[: count + 1]
        command = self.placement(chosen or [0])
        if not self.startable() or not chosen:
            return self.refused(command, TasksNotWaiting)
        (fact,) = self.ask(command)
        for number, task in enumerate(chosen, fact.placements[0].first_attempt):
            assert number not in self.used, "attempt numbers are never used again"
            self.used.add(number)
            self.attempts[number] = (task, None)
            self.task[task] = LIVE
        return None

    @rule(task=choices)
    def place_what_is_not_ready(self, task: int) -> None:
        if task not in self.ready():
            self.refused(self.placement([task]), TasksNotWaiting)

    def placement(self, tasks: list[int]) -> c.PlaceTasks:
        where = (Placement(intervals.of(tasks), (("n1", 1),)),)
        return c.PlaceTasks(job_id="job-1", placements=where, reason=WHY)

    @precondition(lambda self: self.attempts)
    @rule(count=choices)
    def start(self, count: int) -> None:
        self.ask(c.ReportStarted(job_id="job-1", attempts=(*self.live(count), 999)))

    @precondition(lambda self: self.attempts)
    @rule(outcomes=st.lists(st.sampled_from((None, *FAILURES)), min_size=1, max_size=4), twice=st.booleans())
    def end(self, outcomes: list[FailureClass | None], twice: bool) -> None:
        ends = [
            AttemptEnd(number, self.attempts[number][0], failure=outcome)
            for number, outcome in zip(sorted(self.attempts), outcomes, strict=False)
        ]
        self.ask(c.ReportEnded(job_id="job-1", ends=(*ends, *ends) if twice else tuple(ends)))
        for each in ends:
            task, told = self.attempts.pop(each.attempt)
            self.task[task] = self.after_end(task, told, each.failure)
        self.close()

    def after_end(self, task: int, told: StopCause | None, failure: FailureClass | None) -> str | int:
        if failure is None:
            self.failures.pop(task, None)
            return SUCCEEDED
        goes_on = told in (StopCause.REQUEUED, StopCause.GANG_BROKEN)
        if told is StopCause.CANCELLED or (goes_on and self.ended):
            return CANCELLED
        if goes_on:
            return WAITING
        if failure is FailureClass.LOST:
            return CANCELLED if self.ended else WAITING
        before = self.failures.get(task, 0)
        self.failures[task] = before + 1
        if self.ended or before >= self.state.spec.retries:
            return FAILED
        return self.now_ms + BACKOFF_MS * 2**before

    @rule(outcome=st.sampled_from((None, FailureClass.EXIT)))
    def end_what_is_not_live(self, outcome: FailureClass | None) -> None:
        ends = tuple(AttemptEnd(number, 0, failure=outcome) for number in (self.used - self.attempts.keys()) | {999})
        assert self.ask(c.ReportEnded(job_id="job-1", ends=ends)) == ()

    @precondition(lambda self: self.attempts)
    @rule(count=choices, cause=st.sampled_from(StopCause))
    def stop(self, count: int, cause: StopCause) -> None:
        numbers = self.live(count)
        self.ask(c.StopAttempts(job_id="job-1", attempts=tuple(numbers), cause=cause))
        self.tell(numbers, cause)

    @rule(tasks=st.sets(choices, max_size=3), everything=st.booleans())
    def requeue(self, tasks: set[int], everything: bool) -> None:
        command = c.RequeueTasks(job_id="job-1", tasks=None if everything else intervals.of(tasks))
        if self.ended is not None:
            return self.refused(command, JobEnded)
        self.ask(command)
        self.tell([n for n, (task, _) in self.attempts.items() if everything or task in tasks], StopCause.REQUEUED)
        return None

    def tell(self, numbers: list[int], cause: StopCause) -> None:
        for number in numbers:
            task, told = self.attempts[number]
            self.attempts[number] = (task, told or cause)

    @precondition(lambda self: self.attempts)
    @rule(count=choices)
    def lose(self, count: int) -> None:
        numbers = self.live(count)
        self.ask(c.LoseAttempts(job_id="job-1", node_id="n1", attempts=(*numbers, *numbers, 999)))
        for number in numbers:
            task, _ = self.attempts.pop(number)
            self.task[task] = CANCELLED if self.ended else WAITING
        self.close()

    def close(self) -> None:
        """A job ends with its last task."""
        if self.ended is None and set(self.task.values()) <= {SUCCEEDED, FAILED, CANCELLED}:
            for word, status in ((FAILED, JobStatus.FAILED), (CANCELLED, JobStatus.CANCELLED)):
                if word in self.task.values():
                    self.ended = status
                    return
            self.ended = JobStatus.COMPLETED

    @rule()
    def cancel(self) -> None:
        command = c.CancelJob(job_id="job-1")
        if self.ended in (JobStatus.COMPLETED, JobStatus.FAILED):
            self.refused(command, JobEnded)
            return
        self.ask(command)
        if self.ended is None:
            self.ended = JobStatus.CANCELLED
            self.tell(list(self.attempts), StopCause.CANCELLED)
            done = (LIVE, SUCCEEDED, FAILED)
            self.task = {t: s if s in done else CANCELLED for t, s in self.task.items()}

    @rule()
    def retry(self) -> None:
        command = c.RetryJob(job_id="job-1")
        if self.ended is None or self.attempts:
            return self.refused(command, JobNotEnded)
        again = [t for t, s in self.task.items() if s in (FAILED, CANCELLED)]
        if not again:
            return self.refused(command, NothingToRetry)
        facts = self.ask(command)
        assert facts[0].job == self.state
        assert job.evolve(None, facts[0]) == self.state, "a reader who forgot the job learns all of it"
        self.task |= dict.fromkeys(again, WAITING)
        self.failures, self.ended, self.flags["paused"] = {}, None, False
        return None

    # -- what always holds ---------------------------------------------------------------------------------------

    @invariant()
    def every_task_is_in_exactly_the_state_that_the_model_says(self) -> None:
        if self.state is None:
            return
        state, story = self.state, listing(self.facts)
        found = [(t, WAITING) for t in intervals.members(state.waiting)]
        found += [(t, until_ms) for until_ms, tasks in state.delayed for t in intervals.members(tasks)]
        found += [(attempt.task, LIVE) for attempt in state.live.values()]
        for word in (SUCCEEDED, FAILED, CANCELLED):
            found += [(t, word) for t in intervals.members(getattr(state, word))]
        assert sorted(found, key=lambda each: each[0]) == sorted(self.task.items()), story
        assert {n: (a.task, a.stopping) for n, a in state.live.items()} == self.attempts, story
        assert state.failures == self.failures, story

    @invariant()
    def the_flags_and_the_end_are_those_of_the_model(self) -> None:
        if self.state is None:
            return
        state, story = self.state, listing(self.facts)
        assert {name: getattr(state, name) for name in self.flags} == self.flags, story
        assert state.ended is self.ended, story
        assert state.startable == self.startable(), story

    @invariant()
    def the_log_replayed_gives_the_live_state(self) -> None:
        assert replayed(job, self.facts) == self.state, listing(self.facts)


TestJob = JobMachine.TestCase
