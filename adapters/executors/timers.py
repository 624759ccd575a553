"""What is to be done later in a loop of one thread."""

import heapq
import time
from collections.abc import Callable
from itertools import count

Action = Callable[[], None]
_TIDY_FROM = 64


class Timer:
    """Something to be done once, unless it is cancelled before."""

    __slots__ = ("action",)

    def __init__(self, action: Action) -> None:
        self.action: Action | None = action


class Timers:
    """Timers by due time, those due at the same time in the order in which they were set."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self.now_s = now_s
        self._heap: list[tuple[float, int, Timer]] = []
        self._turn = count()
        self._cancelled = 0

    def __len__(self) -> int:
        return len(self._heap) - self._cancelled

    def after(self, delay_s: float, action: Action) -> Timer:
        """Do this once, `delay_s` from now."""
        timer = Timer(action)
        heapq.heappush(self._heap, (self.now_s() + delay_s, next(self._turn), timer))
        return timer

    def cancel(self, timer: Timer) -> None:
        """Do it no more; nothing happens if it was done already."""
        if timer.action is None:
            return
        timer.action = None
        self._cancelled += 1
        # Most walltimes are never reached: without tidying up they would pile up until they are due.
        if self._cancelled > max(_TIDY_FROM, len(self._heap) // 2):
            self._heap = [entry for entry in self._heap if entry[2].action is not None]
            heapq.heapify(self._heap)
            self._cancelled = 0

    def wait_s(self) -> float | None:
        """How long nothing is due; None means nothing ever will be."""
        return max(0.0, self._heap[0][0] - self.now_s()) if self._heap else None

    def run_due(self) -> None:
        """Do what is due now; what these actions add is looked at next time."""
        now_s = self.now_s()
        due = []
        while self._heap and self._heap[0][0] <= now_s:
            due.append(heapq.heappop(self._heap)[2])
        for timer in due:
            action, timer.action = timer.action, None
            if action is None:
                self._cancelled -= 1
            else:
                action()
