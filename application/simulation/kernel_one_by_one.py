"""The kernel under `Pass.EVENT`: a cycle after each event, arrivals of one moment before its completions.

An arrival makes a cycle only if the new job fits. A running job whose requested end has come counts as ended as soon as
the moment has come in which it completes, so that for that long a machine may seem to hold more than it has.
"""

from collections.abc import Callable
from heapq import heappop

from application.simulation.engine import _TELL_EVERY as TELL_EVERY
from application.simulation.kernel import BITS, NEVER, Kernel, Tell


class OneByOne(Kernel):
    """As `Kernel`, one event after the other."""

    def _run(self, check: Callable[[], None], tell: Tell) -> None:
        arriving, ending = self._jobs.arriving, self._ending
        submits = [self._jobs.jobs[number].submit_s for number in arriving]
        submits.append(NEVER)
        arrived, told, now_s, new = 0, 0, 0, list[int]()
        while ending or submits[arrived] < NEVER:
            self._scribe.finish_moment()
            check()
            if ending and ending[0] >> BITS < submits[arrived]:
                now_s = ending[0] >> BITS
                self._complete_one(now_s)
                self._look(now_s, [])
                new.clear()
                continue
            job, now_s = arriving[arrived], submits[arrived]
            arrived += 1
            self._arrive(job, now_s)
            new.append(job)
            if self._needs[job] <= self._free + sum([self._needs[each] for each in self._ended_by(now_s)]):
                self._look(now_s, new)
                new.clear()
            if arrived - told >= TELL_EVERY:
                told = arrived
                self._tell(tell, arrived, now_s)
        self._tell(tell, arrived, now_s)

    def _complete_one(self, now_s: int) -> None:
        """The first of those that end now."""
        self._end(self._order[heappop(self._ending) & ((1 << BITS) - 1)], now_s)

    def _ended_by(self, now_s: int) -> list[int]:
        """Who completes later in this moment and was expected to have ended by now."""
        ending, limit = self._ending, now_s + 1 << BITS
        if not ending or ending[0] >= limit:
            return []
        completing = [self._order[end & ((1 << BITS) - 1)] for end in ending if end < limit]
        return [job for job in completing if self._begun[job] + self._requests[job] <= now_s]

    def _look(self, now_s: int, new: list[int]) -> None:
        """A cycle, after the arrival of some since the last one; after anything else if there are none."""
        self.cycled += 1
        over = self._ended_by(now_s)
        if new and not over and self._remembers and self._goes_on(now_s, new):
            return
        self._remembers = not over or not self._queue
        self._over = frozenset(over)
        room = sum([self._needs[job] for job in over])
        self._free += room
        self._cycle(now_s)
        self._free -= room
        self._over = frozenset()
