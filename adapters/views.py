"""The read models of a data directory: `views.db`, kept up with the log; a cache that can be deleted at any time.

In a file of its own, because it needs no durability (the log has it) and must not hold the log's write lock.
"""

import threading
from pathlib import Path

from application.ports import Log
from projections.projection import PositionBroken
from projections.queue import JobFilter, JobOrder, JobView, list_jobs
from projections.runner import ProjectionRunner
from projections.tables import open_views

VIEWS_FILE = "views.db"
EVERYTHING = 1_000_000
TRIES = 5


class Views:
    """Read models over one log."""

    def __init__(self, data_dir: Path, log: Log) -> None:
        self._log = log
        self.engine = open_views(f"sqlite:///{data_dir / VIEWS_FILE}")
        self.runner = self._new_runner()

    def _new_runner(self) -> ProjectionRunner:
        return ProjectionRunner(self.engine, self._log.read, self._log.position)

    def run(self, stop: threading.Event, wake: threading.Event) -> None:
        """Keeps up with the log until told to stop."""
        self.runner.run(stop, wake)

    def catch_up(self) -> int:
        """Folds what is new, here and now; another process that does the same at this moment is no error."""
        for _ in range(TRIES - 1):
            try:
                return self.runner.catch_up()
            except PositionBroken:
                self.runner = self._new_runner()
        return self.runner.catch_up()

    def wait_for(self, position: int, timeout_s: float) -> bool:
        """Waits until the read models have come to a position; False if in vain."""
        return self.runner.wait_for(position, timeout_s)

    def lag(self) -> int:
        """How many events the read models are behind the log."""
        return self.runner.lag()

    def jobs(self, *, everything: bool = False) -> list[JobView]:
        """The jobs that have not ended, or all, oldest first."""
        with self.engine.connect() as connection:
            return list_jobs(connection, JobFilter(all=everything), JobOrder.OLDEST, limit=EVERYTHING)

    def close(self) -> None:
        """Lets go of the file."""
        self.engine.dispose()
