"""The scheduler loop: a cycle whenever something happened that could matter, or a time has come."""

import threading
from collections.abc import Sequence

from application.app import Application
from application.cycles import Cycles
from application.forecasts import Forecasts
from domain.catalog import TOPICS
from domain.decisions import Plan
from domain.messages import Recorded

PATIENCE_S = 5.0
"""How long nothing may be heard before the log is asked whether another process wrote to it."""
QUIET = frozenset(
    {
        "job.tasks_placed",
        "job.tasks_started",
        "job.progress_marked",
        "job.partial_published",
        "cycle.decided",
        "forecast.made",
        "forecast.scored",
    }
)
"""Topics that cannot make anything startable: a commit of these alone wakes no cycle."""
_QUIET_KINDS = frozenset(TOPICS[topic] for topic in QUIET)


class Scheduler:
    """Runs cycles until it is told to stop."""

    def __init__(self, app: Application, *, patience_s: float = PATIENCE_S) -> None:
        self.app, self._longest_s = app, patience_s
        self.cycles = Cycles(app)
        self.forecasts = Forecasts(app)
        self._wake = threading.Event()
        self._wake_at_ms: int | None = None
        app.listen(self._saw)

    def _saw(self, recorded: Sequence[Recorded]) -> None:
        if not _QUIET_KINDS.issuperset({type(each.event) for each in recorded}):
            self._wake.set()

    def run(self, stop: threading.Event) -> None:
        """Cycles until told to stop; `wake` ends a wait early."""
        self._wake.set()
        while not stop.is_set():
            if not self._wake.wait(self._patience_s()):
                self._hear_of_others()
            self._wake.clear()
            if not stop.is_set():
                self.cycle()
                self.forecasts.look()
        self.forecasts.score()

    def wake(self) -> None:
        """Lets the loop look again now."""
        self._wake.set()

    def _hear_of_others(self) -> None:
        """Takes in what other processes wrote, which no commit of this one would notice while it has none to make."""
        if self.app.log.position() > self.app.farm.position:
            self.app.catch_up()

    def _patience_s(self) -> float:
        if self._wake_at_ms is None:
            return self._longest_s
        return min(self._longest_s, max(0.0, (self._wake_at_ms - self.app.clock.now_ms()) / 1_000))

    def cycle(self) -> Plan:
        """One scheduling cycle; returns the plan that was appended (or that had nothing to append)."""
        made = self.cycles.cycle()
        self._wake_at_ms = made.wake_at_ms
        return made
