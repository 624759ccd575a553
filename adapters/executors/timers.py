"""What is to be done later in a loop of one thread."""

import heapq
import time
from collections.abc import Callable
from itertools import count

Action = Callable[[], None]


class Timers:
    """Actions by due time. None is ever withdrawn: an action looks whether it is still wanted."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self.now_s = now_s
        self._heap: list[tuple[float, int, Action]] = []
        self._turn = count()

    def after(self, delay_s: float, action: Action) -> None:
        """Do this once, `delay_s` from now; actions due at the same time keep their order."""
        heapq.heappush(self._heap, (self.now_s() + delay_s, next(self._turn), action))

    def wait_s(self) -> float | None:
        """How long nothing is due; None means nothing ever will be."""
        return max(0.0, self._heap[0][0] - self.now_s()) if self._heap else None

    def run_due(self) -> None:
        """Do what is due now; what these actions add is looked at next time."""
        now_s = self.now_s()
        due = []
        while self._heap and self._heap[0][0] <= now_s:
            due.append(heapq.heappop(self._heap)[2])
        for action in due:
            action()
