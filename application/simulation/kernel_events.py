"""The kernel's events as the log holds them, appended many moments at a time.

What is equal is made once: placements, the reasons of placements where nobody was overtaken, the metadata of a cycle.
"""

from application.app import Application
from application.cycles import ACTOR as SCHEDULER
from application.decider import new_recorded
from application.simulation.engine import ACTOR
from application.simulation.farms import DEFAULT_CLIENT
from application.simulation.kernel_farm import LateApplication
from application.simulation.kernel_reasons import NOBODY, ON_THE_MACHINE, Board
from application.simulation.kernel_scope import Columns, Spec
from domain import client
from domain.client import RegisterClient
from domain.cycle import CycleDecided
from domain.job.events import JobCompleted, JobSubmitted, TasksPlaced, TasksStarted, TasksSucceeded
from domain.job.values import AttemptEnd, Job, Placement, PlacementReason
from domain.messages import Meta, Recorded, client_stream
from domain.policies import Context, made
from domain.resources import Resources

UNKNOWN = -1
"""When somebody can start for whom nothing is reserved."""
_BITS = 42
"""More than a number of millicores has."""
AT_ONCE = 2_000
"""Events to an append."""
_PLACEMENTS = (Placement("0", ON_THE_MACHINE, 1),)
_FIRST = (1,)
"""The attempts of a job, of which each has one."""
_SIMULATOR = Meta(ACTOR)


class Scores:
    """How well the machine suits a job, asked once for each need and what is free."""

    def __init__(self, app: Application) -> None:
        self._made = made(app.farm.policies)
        self._context = Context(app.farm, self._made, app.farm.now_ms)
        self._index = app.farm.index.fork()

    def of(self, job: Job, free: int) -> float:
        """The placement policy's score where so many millicores are free."""
        self._index.allocate(0, Resources(self._index.free[0].millicores - free))
        return self._made.placement.score(job, 0, self._index, self._context)


class Scribe:
    """Writes what happens. Times in seconds on the trace's clock; jobs by their numbers in the columns."""

    def __init__(self, app: LateApplication, columns: Columns, board: Board, spec: Spec, start_ms: int) -> None:
        self._app, self._columns, self._board, self._spec, self._start_ms = app, columns, board, spec, start_ms
        self.ids, self._millicores = columns.ids, columns.millicores
        self._numbers = [job.number for job in columns.jobs]
        self.starts: dict[int, int] = {}
        """When each job started, by its number in the trace."""
        self.ends: dict[int, int] = {}
        """When each job completed."""
        policies = app.farm.policies
        self._placement, self._order = policies.placement, policies.order
        self._scores = Scores(app)
        self._score_of: dict[int, float] = {}
        """By need and what is free, as one number."""
        self._plain: dict[float, PlacementReason] = {}
        """Where nobody was overtaken, by score."""
        self._events: list[Recorded] = []
        self._position = app.farm.position
        """Of the last event."""
        self._finished = self._position
        """The same, of the last moment of which everything was written."""
        self._meta: Meta | None = None
        """Of the cycle, once something of it is recorded."""
        self.cycle = 0
        """The position for which the cycle plans."""
        self._stream, self._version = "", 0
        """Where cycles were recorded last."""
        self._registers = True
        """Whether the client is still to become known, with the first job."""

    def flush(self) -> None:
        """Stores what is not stored yet."""
        if self._events:
            events, self._events = self._events, []
            self._app.append_unfolded(events)

    def finish_moment(self) -> None:
        """All that belongs to a moment has been written; what fills an append is stored."""
        self._finished = self._position
        if len(self._events) >= AT_ONCE:
            self.flush()

    def drop_unfinished(self) -> None:
        """Leaves out what was written of a moment that was not finished."""
        events = self._events
        del events[max(0, len(events) - (self._position - self._finished)) :]
        self._position = self._finished

    # -- jobs ----------------------------------------------------------------------------------------------------

    def submitted(self, job: int, now_s: int) -> None:
        """A job arrives."""
        job_id, at_ms = self.ids[job], self._start_ms + now_s * 1_000
        if self._registers:
            self._register_client(at_ms)
        columns = self._columns
        spec = self._spec(job_id, columns.jobs[job], columns.needs[job])
        self._position = position = self._position + 1
        event = JobSubmitted(at_ms=at_ms, spec=spec, queued=True)
        self._events.append(new_recorded((position, job_id, 1, event, _SIMULATOR)))

    def _register_client(self, at_ms: int) -> None:
        """The client of all jobs makes itself with the first one."""
        self._registers = False
        self._position += 1
        (event,) = client.decide(None, RegisterClient(client_id=DEFAULT_CLIENT), at_ms)
        stream = client_stream(DEFAULT_CLIENT)
        self._events.append(new_recorded((self._position, stream, 1, event, _SIMULATOR)))

    def ended(self, job: int, began_s: int, now_s: int) -> None:
        """A job completes."""
        job_id, at_ms = self.ids[job], self._start_ms + now_s * 1_000
        end = AttemptEnd(1, 0, 0, None, None, "", self._start_ms + began_s * 1_000, at_ms)
        position, add = self._position + 1, self._events.append
        self._position = position + 1
        succeeded = TasksSucceeded(at_ms=at_ms, job_id=job_id, ends=(end,))
        add(new_recorded((position, job_id, 4, succeeded, _SIMULATOR)))
        completed = JobCompleted(at_ms=at_ms, job_id=job_id)
        add(new_recorded((position + 1, job_id, 5, completed, Meta(ACTOR, "", job_id + "@4"))))
        self.ends[self._numbers[job]] = now_s

    def placed(self, job: int, now_s: int, free: int, head: int, shadow_s: int) -> None:
        """A job starts on a machine with so much free, before the head of the queue, if somebody waits.

        That one can start at `shadow_s`, unless that is UNKNOWN.
        """
        score, job_id, at_ms = self._score(job, free), self.ids[job], self._start_ms + now_s * 1_000
        if head == NOBODY:
            reason = self._plain.get(score) or self._simple(score)
        else:
            until_ms = None if shadow_s == UNKNOWN else self._start_ms + shadow_s * 1_000
            reason = PlacementReason(self._placement, self._order, score, 1, self.ids[head], until_ms)
        position, add, meta = self._position + 1, self._events.append, self._meta or self._of_cycle()
        self._position = position + 1
        placed = TasksPlaced(
            at_ms=at_ms, job_id=job_id, client_id=DEFAULT_CLIENT, placements=_PLACEMENTS, reason=reason
        )
        add(new_recorded((position, job_id, 2, placed, meta)))
        started = TasksStarted(at_ms=at_ms, job_id=job_id, attempts=_FIRST)
        add(new_recorded((position + 1, job_id, 3, started, meta)))
        self.starts[self._numbers[job]] = now_s

    def _simple(self, score: float) -> PlacementReason:
        reason = self._plain[score] = PlacementReason(self._placement, self._order, score, 1)
        return reason

    def _score(self, job: int, free: int) -> float:
        key = self._millicores[job] << _BITS | free
        score = self._score_of.get(key)
        if score is None:
            spec = self._spec(self.ids[job], self._columns.jobs[job], self._columns.needs[job])
            score = self._score_of[key] = self._scores.of(Job(spec, 0, spec.priority), free)
        return score

    # -- cycles --------------------------------------------------------------------------------------------------

    def begin_cycle(self) -> None:
        """Everything that comes now was decided by one cycle."""
        self.cycle, self._meta = self._position, None

    def _of_cycle(self) -> Meta:
        self._meta = meta = Meta(SCHEDULER, cycle=self.cycle)
        return meta

    def decided(self, event: CycleDecided | None) -> None:
        """What the cycle says of those who wait, if that is news."""
        if event is None:
            return
        if self._stream != self._board.stream:
            self._stream, self._version = self._board.stream, 0
        self._position, self._version = self._position + 1, self._version + 1
        meta = self._meta or self._of_cycle()
        self._events.append(new_recorded((self._position, self._stream, self._version, event, meta)))
