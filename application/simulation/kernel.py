"""The kernel: a trace on one machine decided by integer arithmetic, event for event as the engine would.

Where a simulation is one machine of nothing but processors, and its jobs differ in processors and times alone, a cycle
over a farm comes down to comparing integers: who fits, when the first who does not can start, and who ends before that
(EASY: Lifka 1995). The log that the kernel leaves is the one that the engine leaves, down to positions, causes, scores
and reasons, which a property test compares item by item. It takes over before the first job arrives or not at all
(`kernel_scope` says when), appends many moments at a time, and tells no listener; the farm is folded when somebody
looks at it (`kernel_farm`).
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Sequence
from heapq import heappop, heappush

from application.simulation.collector import calm
from application.simulation.engine import _TELL_EVERY as TELL_EVERY
from application.simulation.engine import Progress
from application.simulation.kernel_events import UNKNOWN, Scribe
from application.simulation.kernel_farm import LateApplication
from application.simulation.kernel_reasons import NOBODY, Board
from application.simulation.kernel_scope import Scope, Spec
from domain.policies import made

NEVER = 1 << 62
BITS = 32
"""A moment and a number share one integer: so many bits are the number's."""
_NUMBER = (1 << BITS) - 1

Tell = Callable[[Progress], None]


class Kernel:
    """One machine. Jobs are numbers in the order of the queue, and times whole seconds on the trace's clock."""

    def __init__(self, app: LateApplication, scope: Scope, spec: Spec) -> None:
        columns, segments, self._start_ms = scope
        backfill = made(app.farm.policies).backfill
        self._overtakes, self._reserves = backfill.overtakes, backfill.reservations == 1
        self._board = Board(segments, self._start_ms, strict=not self._overtakes, reserves=self._reserves)
        self._scribe = Scribe(app, columns, self._board, spec, self._start_ms)
        self.starts, self.ends = self._scribe.starts, self._scribe.ends
        """When each job started and completed, by its number in the trace."""
        self._jobs, self._needs, self._segments = columns, columns.millicores, columns.segments
        self._runs = [job.run_s for job in columns.jobs]
        self._requests = [job.requested_s for job in columns.jobs]
        self._free = app.farm.index.free[0].millicores
        self._queue: list[int] = []
        """Who waits, in order."""
        self._ending: list[int] = []
        """A heap: when each running job ends, and the how manieth it was to start."""
        self._order: list[int] = []
        """Jobs as they started."""
        self._begun = [0] * len(self._runs)
        self._expected: list[int] = []
        """Sorted: when each running job is expected to end, and which one it is; kept where reservations are made."""
        self._head = NOBODY
        """The first who waits for room, as the last cycle left it."""
        self._shadow, self._spare = UNKNOWN, 0
        """When the head can start, where that is reserved, and what it leaves then."""
        self._over: frozenset[int] = frozenset()
        """Who counts as ended already."""
        self._remembers = True
        """Whether those whom the last cycle passed over are known to wait as long as jobs only arrive."""
        self.cycled = 0
        """How many cycles there were."""

    def run(self, check: Callable[[], None], tell: Tell) -> None:
        """Lets everything happen, and tells now and then how far it has come, the log being complete by then.

        `check` is called at each moment before anything of it is decided. Whatever is raised ends the run; the log
        then has everything up to that moment.
        """
        try:
            with calm():
                self._run(check, tell)
        except BaseException:
            self._scribe.drop_unfinished()
            raise
        finally:
            self._scribe.flush()

    def _run(self, check: Callable[[], None], tell: Tell) -> None:
        arriving, ending = self._jobs.arriving, self._ending
        submits = [self._jobs.jobs[number].submit_s for number in arriving]
        submits.append(NEVER)
        first, told, now_s, submit_s = 0, 0, 0, submits[0]
        while ending or submit_s < NEVER:
            self._scribe.finish_moment()
            check()
            now_s = submit_s
            ended = bool(ending) and ending[0] >> BITS <= submit_s
            if ended:
                now_s = ending[0] >> BITS
                self._complete(now_s)
            last = first
            while submit_s == now_s:
                self._arrive(arriving[last], now_s)
                last += 1
                submit_s = submits[last]
            self.cycled += 1
            if ended or not self._goes_on(now_s, arriving[first:last]):
                self._cycle(now_s)
            first = last
            if first - told >= TELL_EVERY:
                told = first
                self._tell(tell, first, now_s)
        self._tell(tell, first, now_s)

    def _tell(self, tell: Tell, arrived: int, now_s: int) -> None:
        self._scribe.finish_moment()
        self._scribe.flush()
        tell(Progress(arrived, self._start_ms + now_s * 1_000))

    # -- what happens --------------------------------------------------------------------------------------------

    def _complete(self, now_s: int) -> None:
        """Everything that ends now, in the order in which it started."""
        ending, order, limit = self._ending, self._order, now_s + 1 << BITS
        while ending and ending[0] < limit:
            self._end(order[heappop(ending) & _NUMBER], now_s)

    def _end(self, job: int, now_s: int) -> None:
        began_s = self._begun[job]
        self._free += self._needs[job]
        self._scribe.ended(job, began_s, now_s)
        if self._reserves:
            expected = self._expected
            del expected[bisect_left(expected, began_s + self._requests[job] << BITS | job)]

    def _arrive(self, job: int, now_s: int) -> None:
        self._scribe.submitted(job, now_s)
        self._board.add(self._segments[job])
        queue = self._queue
        if not queue or job > queue[-1]:
            queue.append(job)
        else:
            insort(queue, job)

    def _start(self, job: int, now_s: int) -> None:
        """A job that has left the queue runs from now on."""
        order = self._order
        self._scribe.placed(job, now_s, self._free, self._head, self._shadow)
        self._free -= self._needs[job]
        self._board.take(self._segments[job])
        self._begun[job] = now_s
        heappush(self._ending, now_s + self._runs[job] << BITS | len(order))
        order.append(job)
        if self._reserves:
            insort(self._expected, now_s + self._requests[job] << BITS | job)

    # -- cycles --------------------------------------------------------------------------------------------------

    def _cycle(self, now_s: int) -> None:
        """Looks at everybody: starts the first in line while they fit, then who may overtake the one who does not."""
        queue, needs, board = self._queue, self._needs, self._board
        self._scribe.begin_cycle()
        self._head = NOBODY
        first = 0
        for job in queue:
            if needs[job] > self._free:
                break
            self._start(job, now_s)
            first += 1
        del queue[:first]
        if queue:
            self._lead(now_s)
            if self._overtakes and len(queue) > 1 and self._free:
                self._overtake(now_s)
        else:
            board.nobody_leads()
        self._scribe.decided(board.decided(now_s, self._scribe.cycle, self._free))

    def _lead(self, now_s: int) -> None:
        """The first in line waits for room, which is reserved for it where the policy says so."""
        self._head = head = self._queue[0]
        if self._reserves:
            self._reserve(head, now_s)
        self._board.lead(head, self._scribe.ids[head], self._segments[head], self._shadow)

    def _reserve(self, head: int, now_s: int) -> None:
        """Finds when enough is expected to have ended for the head, and what is spare then."""
        needs, lacking, limit, expected = self._needs, self._needs[head] - self._free, NEVER, self._expected
        if self._over:
            expected = [end for end in expected if end & _NUMBER not in self._over]
        for end in expected:
            if end >= limit:
                break
            lacking -= needs[end & _NUMBER]
            if lacking <= 0 and limit == NEVER:
                self._shadow = max(end >> BITS, now_s)
                limit = self._shadow + 1 << BITS
        self._spare = -lacking

    def _overtake(self, now_s: int) -> None:
        """Starts those behind the head that fit and do not delay it."""
        queue, needs, free = self._queue, self._needs, self._free
        for job in [job for job in queue if needs[job] <= free]:
            if needs[job] <= self._free and self._fits_beside(job, now_s):
                del queue[bisect_left(queue, job)]
                self._start(job, now_s)

    def _goes_on(self, now_s: int, arrived: Sequence[int]) -> bool:
        """A cycle after nothing but arrivals: the others are known to wait still. False if that is not so."""
        head, board, needs, segments = self._head, self._board, self._needs, self._segments
        if head == NOBODY or min(arrived) < head or (self._reserves and self._shadow <= now_s):
            return False
        scribe, free = self._scribe, self._free
        scribe.begin_cycle()
        new = [segments[job] for job in arrived if not board.says(segments[job])]
        if self._overtakes and free:
            for job in sorted(arrived):
                if needs[job] <= self._free and self._fits_beside(job, now_s):
                    del self._queue[bisect_left(self._queue, job)]
                    self._start(job, now_s)
        if self._free != free:
            scribe.decided(board.decided(now_s, scribe.cycle, self._free))
        elif new or not board.is_quiet(now_s):
            scribe.decided(board.joined(now_s, scribe.cycle, free, new))
        return True

    def _fits_beside(self, job: int, now_s: int) -> bool:
        """Whether a job that starts now leaves alone what is reserved; if it is to end later, it uses what is spare."""
        if not self._reserves or now_s + self._requests[job] <= self._shadow:
            return True
        if self._needs[job] > self._spare:
            return False
        self._spare -= self._needs[job]
        return True
