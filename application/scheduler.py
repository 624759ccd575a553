"""The scheduler loop: farm → plan → one append, and the reasons of what waits when they changed.

Planning and appending happen under the application's lock, so within one process a plan is never stale; against other
processes the append is conditional on the log, and a plan that lost is thrown away and made anew.
"""

import threading
from collections.abc import Sequence

from application.app import Application, Reply, Request
from application.decider import Batch
from application.ports import Unless
from domain import errors
from domain.catalog import TOPICS
from domain.cycle import CycleDecided, cycle_stream
from domain.decisions import Blocked, Plan
from domain.job.commands import PlaceTasks
from domain.messages import Meta, Recorded
from domain.planner import CONFLICTING, plan

ACTOR = "scheduler"
NUMBERS_MS = 60_000
"""Numbers that moved are recorded at most this often; a new blocker at once."""
QUIET = frozenset(
    {"job.tasks_placed", "job.tasks_started", "job.progress_marked", "job.partial_published", "cycle.decided"}
)
"""Topics that cannot make anything startable: a commit of these alone wakes no cycle."""
_QUIET_KINDS = frozenset(TOPICS[topic] for topic in QUIET)


class Scheduler:
    """Runs cycles: one whenever something changed that could matter, or a time has come."""

    def __init__(self, app: Application) -> None:
        self.app = app
        self._wake = threading.Event()
        self._numbers_at: dict[str, int] = {}
        self._wake_at_ms: int | None = None
        app.listen(self._saw)

    def _saw(self, recorded: Sequence[Recorded]) -> None:
        if not _QUIET_KINDS.issuperset({type(each.event) for each in recorded}):
            self._wake.set()

    def run(self, stop: threading.Event) -> None:
        """Cycles until told to stop; `wake` ends a wait early."""
        self._wake.set()
        while not stop.is_set():
            self._wake.wait(self._patience_s())
            self._wake.clear()
            if not stop.is_set():
                self.cycle()

    def wake(self) -> None:
        """Lets the loop look again now."""
        self._wake.set()

    def _patience_s(self) -> float:
        if self._wake_at_ms is None:
            return 5.0
        return min(5.0, max(0.0, (self._wake_at_ms - self.app.clock.now_ms()) / 1_000))

    def cycle(self) -> Plan:
        """One scheduling cycle; returns the plan that was appended (or that had nothing to append)."""
        while True:
            with self.app.lock:
                made = plan(self.app.farm, self.app.farm.policies, max(self.app.clock.now_ms(), self.app.farm.now_ms))
                self._wake_at_ms = made.wake_at_ms
                outcome = self._append(made)
            if not isinstance(outcome, errors.Conflict):
                break
        if isinstance(outcome, errors.TaskSchedulerError):
            raise outcome
        return made

    def _append(self, made: Plan) -> Reply | errors.TaskSchedulerError | None:
        now_ms = max(self.app.clock.now_ms(), self.app.farm.now_ms)
        reasons = self._changed_reasons(made, now_ms)
        if not made.decisions and reasons is None:
            return None
        meta = Meta(ACTOR, cycle=made.position)
        commands = tuple(
            PlaceTasks(job_id=each.job_id, placements=each.placements, reason=each.reason) for each in made.decisions
        )

        def record_reasons(batch: Batch) -> None:
            if reasons is not None:
                batch.record(cycle_stream(now_ms), reasons, meta)

        request = Request(commands, meta, unless=Unless(made.position, CONFLICTING), also=record_reasons)
        return self.app.commit_all([request])[0]

    # -- reasons -------------------------------------------------------------------------------------------------

    def _changed_reasons(self, made: Plan, now_ms: int) -> CycleDecided | None:
        """What changed in the reasons of waiting jobs since the last recorded cycle; None if nothing did."""
        known = self.app.farm.blocked
        keyframe = cycle_stream(now_ms) != self.app.farm.cycle_day
        changed = tuple(
            blocked
            for blocked in made.passed_over
            if keyframe or self._is_news(blocked, known.get(blocked.segment), now_ms)
        )
        present = {blocked.segment for blocked in made.passed_over}
        cleared = () if keyframe else tuple(sorted(name for name in known if name not in present))
        opens_the_day = keyframe and bool(known)  # with an empty keyframe, if nothing waits any more
        if not changed and not cleared and not opens_the_day:
            return None
        for blocked in changed:
            self._numbers_at[blocked.segment] = now_ms
        for name in cleared:
            self._numbers_at.pop(name, None)
        return CycleDecided(at_ms=now_ms, position=made.position, blocked=changed, cleared=cleared, keyframe=keyframe)

    def _is_news(self, blocked: Blocked, known: Blocked | None, now_ms: int) -> bool:
        if known is None or len(known.reasons) != len(blocked.reasons):
            return True
        if not all(new.same_blocker(old) for new, old in zip(blocked.reasons, known.reasons, strict=True)):
            return True
        return blocked != known and now_ms - self._numbers_at.setdefault(blocked.segment, now_ms) >= NUMBERS_MS
