"""The simulator's engine: the same application, the same plan, a virtual clock, and attempts that only take time.

Everything goes through commands and events as on a real farm. In one step the clock stands at one moment: what happens
then is committed, a cycle is run and committed, and the clock goes on to the next moment at which something happens.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from functools import partial
from heapq import heappop, heappush
from typing import NamedTuple, Protocol

from application.app import Application, Request
from application.cycles import Cycles
from application.simulation.clock import VirtualClock
from application.simulation.collector import calm
from application.simulation.commits import Commits
from application.simulation.horizon import Horizon
from application.simulation.standing import Standing, saved
from application.windows import Windows
from domain import errors, intervals
from domain.decisions import Place, Plan
from domain.job import commands as c
from domain.job import events as e
from domain.job.values import Attempt, AttemptEnd, AttemptNumber, FailureClass, Job, JobSpec
from domain.messages import Command, JobId, Meta, NodeId, Recorded
from domain.node import BringOnline, NodeMaintenanceEnded, NodeStarting, NodeStopping, TakeOffline
from domain.planning.placing import Attempts
from domain.planning.planner import fits_now
from domain.reservation import PREFIX
from domain.rules.energy import wake_ms_of

ACTOR = "simulator"


class Pass(StrEnum):
    """When the scheduler looks at the queue."""

    INSTANT = "instant"
    """Once for all events of one moment, completions before arrivals."""
    EVENT = "event"
    """After each event, arrivals before completions; an arrival only if the new job fits now. An attempt whose expected
    end has come counts as ended, though its completion comes later in the same moment."""


class Arrival(NamedTuple):
    """Something that happens at a known time, whatever the farm does: submissions, nodes that come and go."""

    at_ms: int
    commands: tuple[Command, ...]


class Behaviour(Protocol):
    """What attempts do in place of running."""

    def run_of(self, job: Job, attempt: Attempt, number: AttemptNumber) -> tuple[int, FailureClass | None]:
        """How long it runs from its start, in milliseconds, and how it then fails; None when it succeeds.

        What a checkpoint of the task stands for need not be run again (`standing.rest_ms`). The time for which it
        stands suspended is added by the engine.
        """
        ...


class Reviewer(Protocol):
    """Looks at the farm now and then, and may change what is in force there."""

    def due(self, now_ms: int) -> bool:
        """Whether it is time for the next look."""
        ...

    def review(self, app: Application) -> object:
        """Looks, and commands what follows from it."""
        ...


class Progress(NamedTuple):
    """How far a simulation has come."""

    arrived: int
    now_ms: int


_COMPLETION, _CHANGE, _WAKE = 0, 1, 2
"""What happens first in one moment under `Pass.INSTANT`."""


class _Due(NamedTuple):
    """One entry of the agenda, in the order in which entries are dealt with."""

    at_ms: int
    rank: int
    number: int
    """In the order of entering, so that no two compare equal."""
    job_id: JobId
    attempt: AttemptNumber
    commands: tuple[Command, ...]
    failure: FailureClass | None


_due: Callable[[tuple[int, int, int, JobId, AttemptNumber, tuple[Command, ...], FailureClass | None]], _Due] = partial(
    tuple.__new__, _Due
)
"""Made without the Python function behind a NamedTuple's name, because there are two for every job."""

_HEARD = frozenset({e.TasksStopping, e.TasksResumed, e.JobSubmitted, NodeMaintenanceEnded, NodeStopping, NodeStarting})
"""The events after which something is to happen that nobody has entered."""


class Simulator:
    """Runs arrivals through an application until nothing is left to happen."""

    def __init__(
        self,
        app: Application,
        clock: VirtualClock,
        behaviour: Behaviour,
        *,
        passes: Pass = Pass.INSTANT,
        seen: Callable[[Sequence[Recorded]], None] | None = None,
        refused: Callable[[Sequence[Command], errors.TaskSchedulerError], None] | None = None,
        reviewer: Reviewer | None = None,
        recorder: Callable[[], object] | None = None,
    ) -> None:
        """`recorder` is called after each moment, when the log is complete, and may append facts of its own."""
        self.app, self.clock, self._behaviour, self._passes = app, clock, behaviour, passes
        self._refused, self.reviewer, self._recorder = refused, reviewer, recorder
        self._commits = Commits(app)
        self.cycles = Cycles(app, self._start, self._commits.commit)
        self.cycled = 0
        """How many scheduling cycles there were."""
        self.arrived = 0
        """How many arrivals there were."""
        self._coming: Iterator[Arrival] = iter(())
        self._agenda: list[_Due] = []
        self._entered = 0
        self._meta = Meta(ACTOR)
        self._completing: dict[int, dict[tuple[JobId, AttemptNumber], None]] = {}
        """Under `Pass.EVENT`, what is still to complete, by its moment."""
        self._wake_ms: int | None = None
        self._windows, self._horizon = Windows(app.farm), Horizon(app.farm)
        self._window_ms: int | None = None
        """When the next window begins or ends, or somebody is to leave for one."""
        self._returning: list[NodeId] = []
        """Nodes whose maintenance has ended with its window: they come up at once."""
        app.listen(self._windows.see)
        self._standing = Standing(app.farm, self.expect_end)
        app.listen(self._saw)
        if seen is not None:
            app.listen(seen)

    def run(
        self,
        arrivals: Iterable[Arrival],
        progress: Callable[[Progress], None] | None = None,
        goes_on: Callable[[int], bool] | None = None,
    ) -> None:
        """Lets everything happen in its order; arrivals come sorted by time, and `progress` is told now and then.

        `goes_on` is asked with the time of each moment before it, and ends the run by saying no.
        """
        with calm():
            self._run(iter(arrivals), progress, goes_on)

    def _run(
        self,
        arrivals: Iterator[Arrival],
        progress: Callable[[Progress], None] | None,
        goes_on: Callable[[int], bool] | None,
    ) -> None:
        self._coming = arrivals
        self._expect_arrival()
        self._expect_windows()
        step = self._instant if self._passes is Pass.INSTANT else self._one_by_one
        told = 0
        while self._agenda:
            now_ms = self._agenda[0].at_ms
            if goes_on is not None and not goes_on(now_ms):
                break
            only_time = self._agenda[0].rank == _WAKE and all(due.rank == _WAKE for due in self._agenda)
            if self._horizon.is_passed(now_ms, only_time=only_time):
                break
            self.clock.set(now_ms)
            if self.reviewer is not None and self.reviewer.due(now_ms):
                self.reviewer.review(self.app)
            step(now_ms)
            self._expect_windows()
            if self._recorder is not None:
                self._recorder()
            if progress is not None and self.arrived - told >= _TELL_EVERY:
                told = self.arrived
                progress(Progress(told, now_ms))
        if progress is not None:
            progress(Progress(self.arrived, self.clock.now_ms()))

    def expect(self, at_ms: int, commands: tuple[Command, ...]) -> None:
        """Lets something arrive, besides what `run` is given."""
        rank = _CHANGE if self._passes is Pass.INSTANT else -_CHANGE
        heappush(self._agenda, _Due(at_ms, rank, self._next(), "", 0, commands, None))

    def expect_end(self, job_id: JobId, attempt: AttemptNumber, at_ms: int, failure: FailureClass | None) -> None:
        """Lets a live attempt end at a time."""
        self._enter(at_ms, _COMPLETION, job_id, attempt, failure)
        if self._passes is Pass.EVENT:
            self._completing.setdefault(at_ms, {})[job_id, attempt] = None

    def expect_cycle(self, at_ms: int) -> None:
        """Lets a cycle look at the queue at a time."""
        self._wake_ms = at_ms
        self._enter(at_ms, _WAKE)

    # -- one moment ----------------------------------------------------------------------------------------------

    def _expect_arrival(self) -> None:
        """Enters the next arrival."""
        arrival = next(self._coming, None)
        if arrival is not None:
            rank = _CHANGE if self._passes is Pass.INSTANT else -_CHANGE
            heappush(self._agenda, _due((arrival.at_ms, rank, self._next(), "", 0, arrival.commands, None)))

    def _arrive(self, due: _Due) -> Request:
        self.arrived += 1
        self._expect_arrival()
        return Request(due.commands, self._meta)

    def _instant(self, now_ms: int) -> None:
        """All that happens in one moment, then one cycle."""
        agenda = self._agenda
        requests: list[Request] = []
        ends: dict[JobId, list[AttemptEnd]] = {}
        while agenda and agenda[0].at_ms == now_ms:
            due = heappop(agenda)
            if due.commands:
                requests.append(self._arrive(due))
            elif due.job_id:
                end = self._end_of(due)
                if end is not None:
                    ends.setdefault(due.job_id, []).append(end)
        over = [self._over_for(job_id, of) for job_id, of in ends.items()]
        self._commit(over + requests)
        self._turn_windows(now_ms)
        self._cycle()

    def _over_for(self, job_id: JobId, ends: Sequence[AttemptEnd]) -> Request:
        """Attempts of a job are over; what they save when told to end comes before."""
        job = self.app.farm.jobs[job_id]
        commands = (*saved(job, ends, self.clock.now_ms()), c.ReportEnded(job_id=job_id, ends=tuple(ends)))
        return Request(commands, self._meta)

    def _one_by_one(self, now_ms: int) -> None:
        """The next event alone, then a cycle if it could let something start."""
        due = heappop(self._agenda)
        self._turn_windows(now_ms)
        if due.commands:
            self._commit([self._arrive(due)])
            self._turn_windows(now_ms)
            over = self._over(now_ms)
            if self._lets_start(due.commands, over):
                self._cycle(over)
            return
        self._no_longer_completing(due)
        end = self._end_of(due) if due.job_id else None
        if end is not None:
            self._commit([self._over_for(due.job_id, [end])])
        if end is not None or not due.job_id:
            self._cycle(self._over(now_ms))

    def _no_longer_completing(self, due: _Due) -> None:
        left = self._completing.get(due.at_ms, {})
        left.pop((due.job_id, due.attempt), None)
        if not left:
            self._completing.pop(due.at_ms, None)

    def _over(self, now_ms: int) -> frozenset[tuple[JobId, AttemptNumber]]:
        """Attempts that complete later in this moment and are expected to have ended by now."""
        jobs, over = self.app.farm.jobs, []
        for job_id, number in self._completing.get(now_ms, ()):
            job = jobs.get(job_id)
            attempt = None if job is None else job.live.get(number)
            run_ms = None if job is None else job.spec.walltime_ms
            if attempt is None or run_ms is None or attempt.suspended_at_ms is not None:
                continue
            if attempt.placed_ms + attempt.suspended_ms + run_ms <= now_ms:
                over.append((job_id, number))
        return frozenset(over)

    def _lets_start(self, commands: Sequence[Command], over: Attempts) -> bool:
        """Whether a new job fits now; anything but a submission always might."""
        farm, now_ms = self.app.farm, self.clock.now_ms()
        new = [each.spec.job_id for each in commands if isinstance(each, c.SubmitJob)]
        if len(new) < len(commands):
            return True
        jobs = [farm.jobs[job_id] for job_id in new if job_id in farm.jobs]
        return any(fits_now(farm, farm.policies, job, now_ms, over=over) for job in jobs)

    def _commit(self, requests: Sequence[Request]) -> None:
        if not requests:
            return
        for request, outcome in zip(requests, self._commits.commit(requests), strict=True):
            if isinstance(outcome, errors.TaskSchedulerError):
                if self._refused is None:
                    raise outcome
                self._refused(request.commands, outcome)

    def _turn_windows(self, now_ms: int) -> None:
        """Windows that begin or end now, and what follows from that."""
        while self.app.farm.reservations and (commands := self._windows.due(now_ms)):
            self._commit([Request((command,), self._meta) for command in commands])
        back, self._returning = self._returning, []
        self._commit([Request((BringOnline(node_id=node_id),), self._meta) for node_id in back])

    def _expect_windows(self) -> None:
        """Comes back when the next window begins or ends."""
        at_ms = self._windows.first_ms() if self.app.farm.reservations else None
        if at_ms is not None and at_ms != self._window_ms:
            self._enter(max(at_ms, self.clock.now_ms()), _WAKE)
        self._window_ms = at_ms

    def _cycle(self, over: Attempts = ()) -> None:
        self.cycled += 1
        made = self.cycles.cycle(over=over)
        self._expect_ends(made)
        if made.wake_at_ms is not None and made.wake_at_ms != self._wake_ms:
            self._wake_ms = made.wake_at_ms
            self._enter(made.wake_at_ms, _WAKE)

    # -- attempts ------------------------------------------------------------------------------------------------

    def _start(self, place: Place) -> tuple[Command, ...]:
        """What is placed has started: nothing lies between the two here."""
        job = self.app.farm.jobs[place.job_id]
        tasks = sum([intervals.size(placement.tasks) for placement in place.placements])
        numbers = tuple(range(job.next_attempt, job.next_attempt + tasks))
        return (c.ReportStarted(job_id=place.job_id, attempts=numbers),)

    def _expect_ends(self, made: Plan) -> None:
        """Enters the ends of everything that a plan has started."""
        now_ms, jobs = self.clock.now_ms(), self.app.farm.jobs
        for place in made.decisions:
            job = jobs[place.job_id]
            count = sum([intervals.size(placement.tasks) for placement in place.placements])
            for number in range(job.next_attempt - count, job.next_attempt):
                run_ms, failure = self._behaviour.run_of(job, job.live[number], number)
                self.expect_end(place.job_id, number, now_ms + run_ms, failure)

    def _end_of(self, due: _Due) -> AttemptEnd | None:
        """How an attempt ends now; None if it has ended otherwise since."""
        job = self.app.farm.jobs.get(due.job_id)
        attempt = None if job is None else job.live.get(due.attempt)
        if attempt is None or self._standing.puts_off((due.job_id, due.attempt), attempt, due.at_ms, due.failure):
            return None
        return AttemptEnd(
            due.attempt,
            attempt.task,
            exit_code=0 if due.failure is None else None,
            failure=due.failure,
            started_ms=attempt.started_ms,
            ended_ms=due.at_ms,
        )

    def _saw(self, recorded: Sequence[Recorded]) -> None:
        """What is told to stop ends in the same moment; what may start later is looked at then."""
        for _, _, _, event, meta in recorded:
            if type(event) not in _HEARD:
                continue
            if isinstance(event, e.TasksStopping):
                for number in event.attempts:
                    self._enter(event.at_ms, _COMPLETION, event.job_id, number, FailureClass.SIGNAL)
            elif isinstance(event, e.TasksResumed):
                self._standing.resumed(event)
            elif isinstance(event, e.JobSubmitted):
                self._queue_later(event.spec)
            elif isinstance(event, NodeMaintenanceEnded) and meta.cause.startswith(PREFIX):
                self._returning.append(event.node_id)
            elif isinstance(event, NodeStopping):
                self._switch(event.at_ms, TakeOffline(node_id=event.node_id, why=event.why))
            elif isinstance(event, NodeStarting):
                attributes = self.app.farm.nodes[event.node_id].attributes
                self._switch(event.at_ms + wake_ms_of(attributes), BringOnline(node_id=event.node_id))

    def _switch(self, at_ms: int, command: Command) -> None:
        """A node that was told to power down is off in the same moment, and takes its time to come up."""
        heappush(self._agenda, _Due(at_ms, _CHANGE, self._next(), "", 0, (command,), None))

    def _queue_later(self, spec: JobSpec) -> None:
        at_ms = spec.not_before_ms
        if at_ms is not None and at_ms > self.clock.now_ms():
            queue = (c.QueueJob(job_id=spec.job_id),)
            heappush(self._agenda, _Due(at_ms, _CHANGE, self._next(), "", 0, queue, None))

    def _enter(
        self,
        at_ms: int,
        rank: int,
        job_id: JobId = "",
        attempt: AttemptNumber = 0,
        failure: FailureClass | None = None,
    ) -> None:
        heappush(self._agenda, _due((at_ms, rank, self._next(), job_id, attempt, (), failure)))

    def _next(self) -> int:
        self._entered += 1
        return self._entered


_TELL_EVERY = 500
"""Arrivals between two tellings of the progress."""
