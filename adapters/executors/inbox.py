"""Reports on their way to whoever called `reports`, in order, from any thread."""

import threading
import time
from collections.abc import Iterable

from application.ports import AnyReport


class Inbox:
    """A queue that is emptied whole."""

    def __init__(self) -> None:
        self._reports: list[AnyReport] = []
        self._woken = False
        self._changed = threading.Condition()

    def put(self, reports: Iterable[AnyReport]) -> None:
        """Add reports and wake whoever waits."""
        with self._changed:
            self._reports.extend(reports)
            self._changed.notify()

    def take(self, timeout_s: float) -> list[AnyReport]:
        """All there is; waits up to `timeout_s` for the first one or for `wake`."""
        deadline_s = time.monotonic() + timeout_s
        with self._changed:
            while not self._reports and not self._woken:
                left_s = deadline_s - time.monotonic()
                if left_s <= 0 or not self._changed.wait(left_s):
                    break
            self._woken = False
            reports, self._reports = self._reports, []
            return reports

    def wake(self) -> None:
        """Let whoever waits, or will wait next, return at once."""
        with self._changed:
            self._woken = True
            self._changed.notify()
