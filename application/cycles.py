"""One scheduling cycle: farm → plan → one append, and the reasons of what waits where they changed.

Used by the scheduler's loop and by the simulator, so that what is measured there is what runs here. Planning and
appending happen under the application's lock, so within one process a plan is never stale; against other processes the
append is conditional on the log, and a plan that lost is thrown away and made anew.
"""

from collections.abc import Callable, Iterable, Sequence

from application.app import Application, Outcome, Request
from application.ports import Unless
from domain import errors
from domain.cycle import NUMBERS_MS, CommandRefused, CycleDecided, cycle_stream
from domain.decisions import Place, Plan, Reserved
from domain.forecasting.promises import ForecastsMade, ForecastsScored
from domain.job.commands import PlaceTasks
from domain.job.events import (
    JobSubmitted,
    PartialPublished,
    ProgressMarked,
    TaskCheckpointed,
    TasksPlaced,
    TasksStarted,
)
from domain.messages import Command, JobId, Meta, Recorded
from domain.planning.placing import Attempts
from domain.planning.planner import CONFLICTING
from domain.planning.replanning import Planned, Planner
from domain.undo import CommandUndone
from domain.workflow import WorkflowJobAdded, WorkflowSubmitted

ACTOR = "scheduler"
Commit = Callable[[Sequence[Request]], list[Outcome]]
"""How requests become events: all of them in one transaction."""

Follow = Callable[[Place], Iterable[Command]]
"""What else is said in the same commit about a job that was just placed."""


_INERT = frozenset(
    {
        TasksStarted,
        ProgressMarked,
        PartialPublished,
        TaskCheckpointed,
        CycleDecided,
        CommandRefused,
        CommandUndone,
        ForecastsMade,
        ForecastsScored,
        WorkflowSubmitted,
        WorkflowJobAdded,
    }
)
"""What makes nothing startable and nothing free that was not so when the last plan was appended."""


def _nothing(place: Place) -> Iterable[Command]:
    return ()


class Cycles:
    """Makes plans and appends them."""

    def __init__(self, app: Application, follow: Follow = _nothing, commit: Commit | None = None) -> None:
        self.app, self._follow = app, follow
        self._commit: Commit = app.commit_all if commit is None else commit
        self._planner = Planner()
        self._arrived: list[JobId] | None = None
        """Jobs queued since the last cycle, as long as nothing else happened that matters; else None."""
        self._appending = False
        self._head_at_ms = 0
        """When the head's reservation was recorded last."""
        app.listen(self._saw)

    def _saw(self, recorded: Sequence[Recorded]) -> None:
        """Under the application's lock, in order."""
        for _, _, _, event, _ in recorded:
            kind = type(event)
            if kind in _INERT or self._arrived is None or (kind is TasksPlaced and self._appending):
                continue
            if not isinstance(event, JobSubmitted):
                self._arrived = None
            elif event.queued and not event.held:
                self._arrived.append(event.spec.job_id)

    def cycle(self, *, over: Attempts = ()) -> Plan:
        """One scheduling cycle; returns the plan that was appended (or that had nothing to append)."""
        while True:
            with self.app.lock:
                farm = self.app.farm
                now_ms = max(self.app.clock.now_ms(), farm.now_ms)
                planned = self._planner.plan(farm, farm.policies, now_ms, over=over, arrived=self._arrived)
                self._arrived, self._appending = [], True
                outcome = self._append(planned, now_ms)
                self._appending = False
                if not isinstance(outcome, errors.TaskSchedulerError):
                    return planned.plan
                self._planner.forget()
            if not isinstance(outcome, errors.Conflict):
                raise outcome

    def _append(self, planned: Planned, now_ms: int) -> Outcome | None:
        made, reasons = planned.plan, self._changed_reasons(planned, now_ms)
        if not made.decisions and not made.others and reasons is None:
            return None
        meta = Meta(ACTOR, cycle=made.position)
        commands: list[Command] = []
        for each in made.decisions:
            commands.append(PlaceTasks(job_id=each.job_id, placements=each.placements, reason=each.reason))
            commands += self._follow(each)
        commands += made.others
        facts = () if reasons is None else ((cycle_stream(now_ms), reasons),)
        request = Request(tuple(commands), meta, False, Unless(made.position, CONFLICTING), facts)
        return self._commit((request,))[0]

    # -- reasons -------------------------------------------------------------------------------------------------

    def _changed_reasons(self, planned: Planned, now_ms: int) -> CycleDecided | None:
        """What changed in the reasons of waiting jobs since the last recorded cycle; None if nothing did."""
        made, known = planned.plan, self.app.farm.blocked
        keyframe = cycle_stream(now_ms) != self.app.farm.cycle_day
        rows = made.passed_over if keyframe else planned.fresh
        changed = tuple(rows) if keyframe else tuple([row for row in rows if known.get(row.segment) is not row])
        cleared = () if keyframe else planned.gone
        opens_the_day = keyframe and bool(known)  # with an empty keyframe, if nothing waits any more
        reserved = self._changed_head(made, keyframe, now_ms)
        if not changed and not cleared and not opens_the_day and reserved is None:
            return None
        return CycleDecided(
            at_ms=now_ms,
            position=made.position,
            blocked=changed,
            cleared=cleared,
            keyframe=keyframe,
            reserved=reserved,
        )

    def _changed_head(self, made: Plan, keyframe: bool, now_ms: int) -> tuple[Reserved, ...] | None:
        """The first reservation, if it is another job's than the one recorded, or its numbers are old; else None.

        The others follow from the queue's order, and a conservative plan has one for everybody.
        """
        known, first = self.app.farm.reserved, made.reserved[:1]
        if known == first:
            return first if keyframe and first else None
        same_job = bool(known) and bool(first) and known[0].job_id == first[0].job_id
        if same_job and not keyframe and now_ms - self._head_at_ms < NUMBERS_MS:
            return None
        self._head_at_ms = now_ms
        return first
