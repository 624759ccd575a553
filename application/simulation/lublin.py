"""Invented workloads that look like those of real supercomputers, the same for the same seed.

The model is that of Lublin and Feitelson, "The workload on parallel supercomputers: modeling the characteristics of
rigid jobs" (J. Parallel and Distributed Computing 63(11), 2003), with the constants published there:

- Size: serial with one probability, a power of two with another, else any. The base-2 logarithm of a parallel job's
  size is two-stage uniform, between `log2_low`, `log2_medium` and `log2_high`.
- Run time: its natural logarithm is hyper-gamma; the larger the job, the likelier the second, longer component.
- Arrivals: the natural logarithm of the gap between two jobs in the rush hours is gamma; how many jobs arrive in
  each half hour of the day follows another gamma distribution. A gap therefore passes faster by day than by night.

The model says nothing of requested times, users, memory or deadlines.
"""

import heapq
import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from enum import StrEnum
from itertools import accumulate, islice
from random import Random

import msgspec

from application.simulation.workload import Trace, TraceJob
from domain.errors import BadInput

DAY_S = 86_400
BUCKETS = 48
"""Half hours of a day: the steps of the daily cycle."""
BUCKET_S = DAY_S // BUCKETS
DAY_BEGINS = 11
"""The half hour, counted from midnight, in which the model's day begins: arrivals are rarest then."""
MAX_LOG_RUN = 12.0
"""Natural logarithm of the longest run time in seconds, about 45 hours; longer ones are drawn again."""
MAX_LOG_GAP = 13.0
"""The same for the gap between two arrivals, about 5 days."""
PUBLISHED_LOG2_SIZE = 7.0
"""The constants of the model are for a machine of 128 processors."""
MAX_JOBS = 5_000_000
MAX_PROCESSORS = 2**31
MAX_STRETCH = 1e6
"""How much rarer or more frequent than published jobs may arrive."""


class Kind(msgspec.Struct, frozen=True):
    """Constants of the model for one kind of jobs, for a machine of 128 processors."""

    name: str
    queue: int
    serial: float
    """Probability of a job of one processor."""
    power_of_two: float
    """Probability of a parallel job whose size is rounded to a power of two."""
    log2_low: float
    log2_medium: float
    log2_high: float
    low_stage: float
    """Probability of a size between `log2_low` and `log2_medium`."""
    run_short: tuple[float, float]
    """Shape and scale of the first gamma of run times."""
    run_long: tuple[float, float]
    short_slope: float
    """The first gamma has probability slope × processors + base, kept between 0 and 1."""
    short_base: float
    gap: tuple[float, float]
    """Shape and scale of the gamma of gaps, the shape already multiplied by the published ratio of all to rush."""
    day: tuple[float, float]
    """Shape and scale of the gamma of arrivals over the day, in half hours."""


ALL = Kind(
    name="all", queue=-1, serial=0.244, power_of_two=0.576,
    log2_low=0.8, log2_medium=4.5, log2_high=7.0, low_stage=0.86,
    run_short=(4.2, 0.94), run_long=(312.0, 0.03), short_slope=-0.0054, short_base=0.78,
    gap=(10.2303 * 1.0225, 0.4871), day=(8.1737, 3.9631),
)  # fmt: skip
BATCH = Kind(
    name="batch", queue=1, serial=0.2927, power_of_two=0.6686,
    log2_low=1.2, log2_medium=5.0, log2_high=7.0, low_stage=0.875,
    run_short=(6.57, 0.823), run_long=(639.1, 0.0156), short_slope=-0.003, short_base=0.6986,
    gap=(6.0415 * 1.0519, 0.8531), day=(6.1271, 5.2740),
)  # fmt: skip
INTERACTIVE = Kind(
    name="interactive", queue=0, serial=0.1541, power_of_two=0.625,
    log2_low=1.0, log2_medium=3.0, log2_high=5.5, low_stage=0.705,
    run_short=(3.8351, 0.6605), run_long=(7.073, 0.6856), short_slope=-0.0118, short_base=0.9156,
    gap=(6.5510 * 0.9797, 0.6621), day=(8.9186, 3.6680),
)  # fmt: skip


class Mix(StrEnum):
    """Which jobs there are."""

    ALL = "all"
    """One kind, fitted to all jobs of the logs together."""
    SPLIT = "split"
    """Interactive jobs in queue 0 and batch jobs in queue 1, each kind with its own constants."""


KINDS = {Mix.ALL: (ALL,), Mix.SPLIT: (INTERACTIVE, BATCH)}


class Synthetic(msgspec.Struct, frozen=True):
    """What to invent; BadInput for what is out of range."""

    jobs: int
    seed: int = 1
    processors: int = 128
    """Size of the machine; the sizes of jobs grow with it."""
    load: float | None = None
    """Offered load that the trace is to have (`Trace.offered_load`); None leaves the gaps as published."""
    overestimate: float = 0.0
    """Requested times are uniform between the run time r and (1 + overestimate) × r; 0 makes every request exact.

    This is the f-model of Feitelson and Mu'alem Weil, "Utilization and predictability in scheduling the IBM SP2 with
    backfilling" (IPPS 1998). The workload model itself has no requests, and 0 adds nothing to it.
    """
    mix: Mix = Mix.ALL
    start_unix_s: int = 0
    """When second 0 is; its time of day in UTC is where the daily cycle begins."""

    def __post_init__(self) -> None:
        ranges: dict[str, tuple[float, float, float]] = {
            "jobs": (self.jobs, 1, MAX_JOBS),
            "processors": (self.processors, 1, MAX_PROCESSORS),
            "load": (1.0 if self.load is None else self.load, 0.001, 1_000.0),
            "overestimate": (self.overestimate, 0.0, 1_000_000.0),
            "start": (self.start_unix_s, 0, 2**40),
        }
        for name, (value, low, high) in ranges.items():
            if not low <= value <= high:
                raise BadInput(problem=f"a synthetic trace with {name} {value:,} is not possible: {low:,} to {high:,}")


def generate(wanted: Synthetic, kinds: Sequence[Kind] | None = None) -> Trace:
    """Invent a trace: equal wishes give equal traces, job by job.

    Jobs are numbered from 1 in the order of their arrival. Which sizes and run times there are does not depend on
    load, requests and start; a longer trace of one kind begins with the shorter one unless a load is wanted.
    `kinds` are constants of one's own, each kind with a name of its own; they take the place of those of `wanted.mix`.
    """
    kinds = kinds or KINDS[wanted.mix]
    days = [_Day(kind, wanted.start_unix_s % DAY_S) for kind in kinds]
    merged = heapq.merge(*(_arrivals(wanted.seed, which, kind) for which, kind in enumerate(kinds)))
    arrivals = list(islice(merged, wanted.jobs))
    bodies = _bodies(wanted, [kinds[which] for _, which in arrivals])
    stretch = 1.0
    if wanted.load is not None and wanted.jobs > 1:
        work = sum(run_s * processors for processors, run_s, _ in bodies)
        stretch = _stretch(days, arrivals, work / (wanted.processors * wanted.load))
    submits = [int(days[which].clock(points * stretch)) for points, which in arrivals]
    arriving = sorted(range(len(arrivals)), key=submits.__getitem__)
    return Trace(
        jobs=tuple(_job(number, submits[i], bodies[i], kinds[arrivals[i][1]]) for number, i in enumerate(arriving, 1)),
        processors=wanted.processors,
        header=_header(wanted),
        start_unix_s=wanted.start_unix_s,
        name=f"lublin-{wanted.jobs}-seed-{wanted.seed}",
    )


# Arrivals: points are seconds of an average half hour, which pass faster by day than by night.


def _arrivals(seed: int, which: int, kind: Kind) -> Iterator[tuple[float, int]]:
    """When the jobs of one kind arrive, in points since second 0, and which kind that is."""
    random = Random(f"{seed} arrivals {kind.name}")
    points = 0.0
    while True:
        points += math.exp(_gamma_below(random, kind.gap, MAX_LOG_GAP))
        yield points, which


class _Day:
    """The daily cycle of one kind of jobs."""

    def __init__(self, kind: Kind, start_s: int) -> None:
        """`start_s` is the time of day at second 0."""
        weights = [0.0] * BUCKETS
        for step in range(DAY_BEGINS, DAY_BEGINS + BUCKETS):
            share = gamma_cdf(step + 0.5, *kind.day) - gamma_cdf(step - 0.5, *kind.day)
            weights[(step - 1) % BUCKETS] = share
        mean = math.fsum(weights) / BUCKETS
        self.weights = [weight / mean for weight in weights]
        """Arrivals in each half hour from midnight, over those of the average one."""
        self._points = [0.0, *accumulate(weight * BUCKET_S for weight in self.weights)]
        self._start_s = start_s
        bucket, rest_s = divmod(start_s, BUCKET_S)
        self._start_points = self._points[bucket] + rest_s * self.weights[bucket]

    def clock(self, points: float) -> float:
        """The second in which so many points have passed since second 0."""
        day, rest = divmod(points + self._start_points, self._points[-1])
        bucket = min(bisect_right(self._points, rest), BUCKETS) - 1
        in_bucket_s = (rest - self._points[bucket]) / self.weights[bucket]
        return max(0.0, day * DAY_S + bucket * BUCKET_S + in_bucket_s - self._start_s)


def _stretch(days: list[_Day], arrivals: list[tuple[float, int]], span_s: float) -> float:
    """By what to multiply all points so that the first and the last arrival are so many seconds apart.

    Points, not seconds, so that a busier trace has the same daily cycle.
    """
    ends = [max(each for each in arrivals if each[1] == which) for which in {which for _, which in arrivals}]
    begins = [min(each for each in arrivals if each[1] == which) for which in {which for _, which in arrivals}]

    def span(stretch: float) -> float:
        last = max(days[which].clock(points * stretch) for points, which in ends)
        return last - min(days[which].clock(points * stretch) for points, which in begins)

    low, high = 1 / MAX_STRETCH, MAX_STRETCH
    for _ in range(100):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if span(middle) < span_s else (low, middle)
    return high


# Sizes, run times and requests.


def _bodies(wanted: Synthetic, kinds: list[Kind]) -> list[tuple[int, int, int]]:
    """(processors, run_s, requested_s) of each job, every column from a stream of chance of its own."""
    of_sizes, of_runs, of_requests = (Random(f"{wanted.seed} {name}") for name in ("sizes", "runs", "requests"))
    bodies = []
    for kind in kinds:
        processors = _size(of_sizes, kind, wanted.processors)
        run_s = int(math.exp(_log_run(of_runs, kind, processors)))
        requested_s = math.ceil(run_s * (1 + wanted.overestimate * of_requests.random()))
        bodies.append((processors, run_s, requested_s))
    return bodies


def _size(random: Random, kind: Kind, machine: int) -> int:
    """Processors of a job: the published logarithms are moved by how much the machine differs from 128 processors."""
    chance = random.random()
    stage, place = random.random(), random.random()
    if chance < kind.serial or machine == 1:
        return 1
    moved = math.log2(machine) - PUBLISHED_LOG2_SIZE
    high = max(kind.log2_low, kind.log2_high + moved)
    medium = max(kind.log2_low, kind.log2_medium + moved)
    low, high = (kind.log2_low, medium) if stage < kind.low_stage else (medium, high)
    log2_size = low + place * (high - low)
    if chance < kind.serial + kind.power_of_two:
        log2_size = min(math.floor(log2_size + 0.5), machine.bit_length() - 1)
    return min(machine, math.floor(2**log2_size + 0.5))


def _log_run(random: Random, kind: Kind, processors: int) -> float:
    short = kind.short_slope * processors + kind.short_base
    return _gamma_below(random, kind.run_short if random.random() < short else kind.run_long, MAX_LOG_RUN)


def _gamma_below(random: Random, gamma: tuple[float, float], limit: float) -> float:
    """A value of a gamma distribution (shape, scale), drawn again while it is above the limit."""
    while True:
        value = random.gammavariate(*gamma)
        if value <= limit:
            return value


def gamma_cdf(x: float, shape: float, scale: float) -> float:
    """Probability that a value of a gamma distribution is at most x, by the power series of the incomplete gamma."""
    t = x / scale
    if t <= 0:
        return 0.0
    term = total = 1.0
    step = shape
    while term > total * 1e-16:
        step += 1
        term *= t / step
        total += term
    return total * math.exp(shape * math.log(t) - t - math.lgamma(shape + 1))


def _job(number: int, submit_s: int, body: tuple[int, int, int], kind: Kind) -> TraceJob:
    processors, run_s, requested_s = body
    return TraceJob(number, submit_s, run_s, processors, requested_s, queue=kind.queue, status=1)


def _header(wanted: Synthetic) -> dict[str, str]:
    load = "as published" if wanted.load is None else f"{wanted.load:g}"
    return {
        "Computer": "synthetic",
        "Information": "model of Lublin and Feitelson, JPDC 63(11), 2003",
        "Note": f"seed {wanted.seed}; jobs {wanted.mix.value}; load {load}; overestimate {wanted.overestimate:g}",
    }
