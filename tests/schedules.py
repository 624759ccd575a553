"""A second simulator of a batch machine, slow and obviously right: P identical processors, rigid jobs.

It says which job starts at which second, in the words of the rules, with plain lists, no index, nothing imported from
the product. A schedule depends on details that papers leave out, so all of them are here.

**Time** is whole seconds. A job that starts at `t` holds its processors in `[t, t + run)` and, as far as anybody can
know before, in `[t, t + requested)`: `t + requested` is its *requested end*. A job leaves the queue when it starts.

**A pass** at `now` sorts all waiting jobs by score (computed anew), submit time, id, and walks through them once, from
the first to the last, whatever event made the pass. Started jobs hold their processors at once, for the rest of the
same pass too. A job fits if the free processors are enough for it.

- `none`: start the first of the queue while it fits; then stop.
- `greedy`: start whatever fits.
- `easy`: start the first of the queue while it fits; the one that does not is the head. The head's *shadow second* is
  the earliest requested end (of running jobs and of those just started) at which enough processors are free. `spare`
  is what is free once all jobs requested to end at or before the shadow second have ended, minus the head's processors.
  Each later job starts if it fits and either `now + requested <= shadow` or `processors <= spare`; in the second case
  alone, `spare` shrinks by its processors.
- a number K, and `conservative` (K without limit): the walk keeps a profile of free processors over time. Each job gets
  the earliest second from `now` on from which the profile has its processors for all its requested time. If that is
  `now` and it fits, it starts; else, if it is among the first K jobs of this pass that did not start, it holds a
  reservation from that second on; else it just waits. Reservations last for one pass. 1 is the same as `easy`.

**Overrun**: a job may run on after its requested end (`requested < run`). It holds its processors until it ends; shadow
and profile count them as coming free at `now`, whatever `now` is. A reservation may then begin at `now` although the
job does not fit; that job waits.

**Passes within a second**
- `instant`: all completions of the second, then all its arrivals, then one pass, even if nothing can start.
- `event`: all arrivals of the second in the order of ids, then all its completions in the order in which the jobs
  started (earlier second first; within a second, as passes started them). A new job joins the queue; it makes a pass
  (over the whole queue) only if it fits at that moment. Each completion makes a pass, always. Passes, and the question
  whether a new job fits, count a running job as ended if its requested end is at or before `now` *and* it completes in
  this second, later in the order: its processors are free, and it is in no profile. A job that completes now but before
  its requested end, or that overruns and completes in a later second, counts as running until its own completion.

`event` with `fifo` and `easy` gives the wait of every job of a published schedule (KTH-SP2, 28,481 jobs). What it takes
for that, with the number of jobs that start at another second otherwise: count all requested ends at the shadow second
before the spare processors (1,853); shrink the spare processors only in the second case (1,397); let a job end at the
shadow second itself (412); a pass after each completion, not one for all (456); no job counts as ended before its
completion unless its requested end has come (456), and then it does (9); completions in the order of starts, not in its
reverse (12), nor by requested end (1). That trace does not tell the order of starts from rising ids: the simulator
behind that schedule breaks ties by a counter of events, which is the order of starts. Nor does it tell whether arrivals
come before completions, nor which arrivals make a pass; under other orders both decide.
"""

import gzip
import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

UNLIMITED = 1 << 60
BOUND_S = 10
"""Jobs shorter than this count as this long in a bounded slowdown."""


class Job(NamedTuple):
    """A rigid job: so many processors for so many seconds."""

    id: int
    submit: int
    run: int
    processors: int
    requested: int
    deadline: int | None = None
    rank: int = 0
    """Priority; a higher rank goes first."""


class Running(NamedTuple):
    """A job and the second at which it started."""

    job: Job
    start: int

    @property
    def end(self) -> int:
        return self.start + self.job.run

    @property
    def requested_end(self) -> int:
        return self.start + self.job.requested


def fifo(job: Job, now: int) -> float:
    """All alike: submit time decides. As everywhere here, lower goes first."""
    return 0


def sjf(job: Job, now: int) -> float:
    """Shortest requested time."""
    return job.requested


def saf(job: Job, now: int) -> float:
    """Smallest area: requested time by processors."""
    return job.requested * job.processors


def wfp3(job: Job, now: int) -> float:
    """Long waits count by the third power (Tang et al. 2009)."""
    return -(((now - job.submit) / job.requested) ** 3) * job.processors


def unicep(job: Job, now: int) -> float:
    """Waits, weighed against small and short jobs."""
    return -(now - job.submit) / (max(math.log2(job.processors), 1e-9) * job.requested)


def f1(job: Job, now: int) -> float:
    """F1 to F4: Carastan-Santos & de Camargo, SC 2017."""
    return log10(job.requested) * job.processors + 870 * log10(job.submit)


def f2(job: Job, now: int) -> float:
    return math.sqrt(job.requested) * job.processors + 25600 * log10(job.submit)


def f3(job: Job, now: int) -> float:
    return job.requested * job.processors + 6860000 * log10(job.submit)


def f4(job: Job, now: int) -> float:
    return job.requested * math.sqrt(job.processors) + 530000 * log10(job.submit)


def edf(job: Job, now: int) -> float:
    """Earliest deadline; jobs without one last."""
    return math.inf if job.deadline is None else job.deadline


def slack(job: Job, now: int) -> float:
    """Least time to spare until the deadline; jobs without one last."""
    return math.inf if job.deadline is None else job.deadline - now - job.requested


def priority(job: Job, now: int) -> float:
    """Highest rank."""
    return -job.rank


def log10(value: float) -> float:
    """The decimal logarithm; values that have none count as 0.1."""
    return math.log10(value if value > 0 else 0.1)


Order = Callable[[Job, int], float]
ORDERS: dict[str, Order] = {
    "fifo": fifo, "sjf": sjf, "saf": saf, "wfp3": wfp3, "unicep": unicep, "f1": f1, "f2": f2, "f3": f3, "f4": f4,
    "edf": edf, "slack": slack, "priority": priority,
}  # fmt: skip


class Moment(NamedTuple):
    """What a pass looks at."""

    now: int
    queue: list[Job]
    """Waiting jobs, the first in line first."""
    running: list[Running]
    """Jobs that hold processors, those that count as ended left out."""
    free: int


Backfill = Callable[[Moment], list[Job]]


def strict(moment: Moment) -> list[Job]:
    """Nothing passes a job that does not fit."""
    started: list[Job] = []
    free = moment.free
    for job in moment.queue:
        if job.processors > free:
            break
        started.append(job)
        free -= job.processors
    return started


def greedy(moment: Moment) -> list[Job]:
    """Whatever fits starts."""
    started: list[Job] = []
    free = moment.free
    for job in moment.queue:
        if job.processors <= free:
            started.append(job)
            free -= job.processors
    return started


def easy(moment: Moment) -> list[Job]:
    """EASY in its direct form (Lifka 1995): a shadow second and spare processors for the head alone."""
    started = strict(moment)
    free = moment.free - sum(job.processors for job in started)
    if len(started) == len(moment.queue):
        return started
    head, *others = moment.queue[len(started) :]
    now, running = moment.now, [*moment.running, *(Running(job, moment.now) for job in started)]
    shadow, spare = shadow_of(head, now, running, free)
    for job in others:
        ends_by_shadow = now + job.requested <= shadow
        if job.processors <= free and (ends_by_shadow or job.processors <= spare):
            started.append(job)
            free -= job.processors
            spare -= 0 if ends_by_shadow else job.processors
    return started


def shadow_of(head: Job, now: int, running: list[Running], free: int) -> tuple[int, int]:
    """The second at which the head can start by request, and the processors that it leaves over then."""
    ends = [(max(each.requested_end, now), each.job.processors) for each in running]
    for shadow, _ in sorted(ends):
        available = free + sum(processors for end, processors in ends if end <= shadow)
        if available >= head.processors:
            return shadow, available - head.processors
    raise ValueError(f"job {head.id} needs {head.processors} processors, more than the machine has")


def reserving(depth: int) -> Backfill:
    """Reservations for the first `depth` jobs that cannot start, by a profile of free processors."""

    def started(moment: Moment) -> list[Job]:
        profile = Profile(moment)
        result: list[Job] = []
        free, reservations = moment.free, 0
        for job in moment.queue:
            if job.processors > free and reservations == depth:
                continue
            start = profile.earliest(job)
            if start == moment.now and job.processors <= free:
                result.append(job)
                free -= job.processors
                profile.take(job, start)
            elif reservations < depth:
                reservations += 1
                profile.take(job, start)
        return result

    return started


class Profile:
    """Free processors over time: `levels[i]` from `times[i]` to the next time, the last level for ever."""

    def __init__(self, moment: Moment) -> None:
        ends: dict[int, int] = {moment.now: moment.free}
        for each in moment.running:
            end = max(each.requested_end, moment.now)
            ends[end] = ends.get(end, 0) + each.job.processors
        self.times = sorted(ends)
        self.levels: list[int] = []
        level = 0
        for time in self.times:
            level += ends[time]
            self.levels.append(level)

    def earliest(self, job: Job) -> int:
        """The first second from which its processors are free for all its requested time."""
        start: int | None = None
        for time, level in zip(self.times, self.levels, strict=True):
            if start is not None and time >= start + job.requested:
                return start
            if level < job.processors:
                start = None
            elif start is None:
                start = time
        if start is None:
            raise ValueError(f"job {job.id} needs {job.processors} processors, more than the machine has")
        return start

    def take(self, job: Job, start: int) -> None:
        """The job holds its processors from `start` for its requested time."""
        end = start + job.requested
        self._cut(start)
        self._cut(end)
        for index in range(self.times.index(start), self.times.index(end)):
            self.levels[index] -= job.processors

    def _cut(self, time: int) -> None:
        """Make `time` one of the times."""
        if time not in self.times:
            index = sum(1 for each in self.times if each < time)
            self.times.insert(index, time)
            self.levels.insert(index, self.levels[index - 1])


def backfill_of(name: str) -> Backfill:
    """The rule called none, greedy, easy, conservative, or a number of reservations from 1 on."""
    rules = {"none": strict, "greedy": greedy, "easy": easy, "conservative": reserving(UNLIMITED)}
    return rules.get(name) or reserving(int(name))


class Machine:
    """Processors, jobs on them, jobs in line, and what started when."""

    def __init__(self, processors: int, order: Order, backfill: Backfill) -> None:
        self.processors, self.order, self.backfill = processors, order, backfill
        self.waiting: list[Job] = []
        self.running: list[Running] = []
        self.starts: dict[int, int] = {}

    def run(self, jobs: Iterable[Job], passes: str) -> dict[int, int]:
        """Live through all seconds at which something happens; the start of every job by id."""
        second = {"instant": self._instant, "event": self._event}[passes]
        arrivals = sorted(jobs, key=lambda job: (job.submit, job.id), reverse=True)
        while arrivals or self.running:
            times = [each.end for each in self.running]
            if arrivals:
                times.append(arrivals[-1].submit)
            now = min(times)
            arrived: list[Job] = []
            while arrivals and arrivals[-1].submit == now:
                arrived.append(arrivals.pop())
            second(now, arrived)
        return self.starts

    def _instant(self, now: int, arrived: list[Job]) -> None:
        self.running = [each for each in self.running if each.end > now]
        self.waiting += arrived
        self._pass(now)

    def _event(self, now: int, arrived: list[Job]) -> None:
        for job in arrived:
            self.waiting.append(job)
            if job.processors <= self._free(now):
                self._pass(now)
        for each in [each for each in self.running if each.end == now]:  # in the order of their starts
            self.running.remove(each)
            self._pass(now)

    def _pass(self, now: int) -> None:
        queue = sorted(self.waiting, key=lambda job: (self.order(job, now), job.submit, job.id))
        for job in self.backfill(Moment(now, queue, self._holding(now), self._free(now))):
            self.waiting.remove(job)
            self.running.append(Running(job, now))
            self.starts[job.id] = now

    def _holding(self, now: int) -> list[Running]:
        """Jobs that hold processors: not those whose requested end has come and whose completion comes this second."""
        return [each for each in self.running if each.requested_end > now or each.end > now]

    def _free(self, now: int) -> int:
        return self.processors - sum(each.job.processors for each in self._holding(now))


def simulate(
    jobs: Iterable[Job], processors: int, order: str, backfill: str, passes: str = "instant"
) -> dict[int, int]:
    """The second at which each job starts, by id. Jobs need at least 1 second, and 1 to `processors` processors."""
    return Machine(processors, ORDERS[order], backfill_of(backfill)).run(jobs, passes)


def read_swf(path: Path, processors: int) -> list[Job]:
    """The usable jobs of a trace in the Standard Workload Format (gzip or plain), sorted by (submit, id).

    Processors are field 8 if positive, else field 5. Left out: run time 0 or less, submit time below 0, no processors,
    more processors than the machine. A requested time that is missing or below the run time becomes the run time.
    """
    jobs: list[Job] = []
    for line in swf_lines(path):
        number, submit, run, requested = (int(float(line[field])) for field in (0, 1, 3, 8))
        size = next((int(line[field]) for field in (7, 4) if int(line[field]) > 0), 0)
        if run > 0 and submit >= 0 and 0 < size <= processors:
            jobs.append(Job(number, submit, run, size, max(requested, run)))
    return sorted(jobs, key=lambda job: (job.submit, job.id))


def swf_lines(path: Path) -> list[list[str]]:
    """Fields of the data lines."""
    raw = path.read_bytes()
    text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()
    return [line.split() for line in text.splitlines() if line.strip() and not line.startswith(";")]


def starts_sha256(starts: Mapping[int, int]) -> str:
    """SHA-256 of lines `id start`, joined by newlines, sorted by id."""
    lines = "\n".join(f"{number} {starts[number]}" for number in sorted(starts))
    return hashlib.sha256(lines.encode()).hexdigest()


def average_wait(jobs: Sequence[Job], starts: Mapping[int, int]) -> float:
    """Mean seconds from submit to start."""
    return sum(starts[job.id] - job.submit for job in jobs) / len(jobs)


def average_bounded_slowdown(jobs: Sequence[Job], starts: Mapping[int, int]) -> float:
    """Mean of max(1, (wait + run) / max(run, 10 s))."""
    return math.fsum(max(1.0, (starts[job.id] - job.submit + job.run) / max(job.run, BOUND_S)) for job in jobs) / len(
        jobs
    )
