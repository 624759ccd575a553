"""When to stop waiting: windows may come again for ever, and some jobs fit between none of them.

As long as anything else is to happen a simulation goes on. Once only time is left, it goes on for as long as windows
could still make a difference: until those that end for good have ended, and the others have come twice more.
"""

from domain.farm import Farm


class Horizon:
    """How far a simulation looks when nothing but windows is left to happen."""

    def __init__(self, farm: Farm) -> None:
        self._farm = farm
        self._until_ms: int | None = None
        """Set when only time was left; None while there is more."""

    def is_passed(self, now_ms: int, *, only_time: bool) -> bool:
        """Whether nothing can happen any more that a window could let happen."""
        if not only_time or not self._farm.reservations:
            self._until_ms = None
            return False
        if not any(job.ended is None for job in self._farm.jobs.values()):
            return True
        if self._until_ms is None:
            self._until_ms = max(self._last_ms(), now_ms)
        return now_ms > self._until_ms

    def _last_ms(self) -> int:
        last_ms = 0
        for each in self._farm.reservations.values():
            end_ms, repeat = each.window.end_ms, each.repeat
            if repeat is not None:
                left = 2 if repeat.times is None else repeat.times - each.occurrence
                if repeat.until_ms is not None:
                    left = min(left, max(0, (repeat.until_ms - 1 - each.window.start_ms) // repeat.every_ms))
                end_ms += left * repeat.every_ms
            last_ms = max(last_ms, end_ms)
        return last_ms
