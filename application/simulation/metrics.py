"""How good was a schedule: the measures of the backfilling literature, the same number for the same schedule always.

Definitions after Feitelson, "Metrics for parallel job scheduling and their convergence" (JSSPP 2001). Sums are exact
(`math.fsum`), so no result depends on the order in which jobs ended.
"""

import hashlib
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

BOUND_S = 10
"""Shorter run times count as this long in a bounded slowdown, so that a job of a second may wait a little."""
SECONDS_PER_HOUR = 3600


class Completed(NamedTuple):
    """A job that has run to its end. Times are seconds on the trace's clock."""

    number: int
    submit_s: int
    start_s: int
    end_s: int
    processors: int
    requested_s: int
    deadline_s: int | None = None
    client: str = ""

    @property
    def wait_s(self) -> int:
        """From submission to start."""
        return self.start_s - self.submit_s

    @property
    def run_s(self) -> int:
        """From start to end."""
        return self.end_s - self.start_s


class Metrics(msgspec.Struct, frozen=True):
    """Measures of one schedule; all are 0 when no job has completed, and shares are between 0 and 1."""

    jobs: int
    """How many completed."""
    average_wait_s: float
    median_wait_s: float
    """Half of the jobs waited at most so long; of an even number of jobs, the mean of the two in the middle."""
    p95_wait_s: int
    """The shortest wait that at least 95 % of the jobs did not exceed (nearest rank)."""
    max_wait_s: int
    average_bounded_slowdown: float
    """Mean over jobs of max(1, (wait + run) / max(run, 10 s)): how many times longer it took than alone."""
    utilization: float
    """Processor seconds used, over those that the machine has in the makespan."""
    makespan_s: int
    """From the first submission to the last completion."""
    jobs_delayed: int
    """How many did not start in the second of their submission."""
    throughput_per_hour: float
    """Jobs completed per hour of the makespan."""
    on_time_share: float | None
    """Of the jobs with a deadline, the share that completed at or before it; None when no job has one."""
    starts_sha256: str
    """Digest of all start times (`starts_sha256`): equal for equal schedules."""


def metrics(completed: Iterable[Completed], processors: int) -> Metrics:
    """Measure the schedule of all completed jobs on a machine of so many processors."""
    jobs = list(completed)
    waits = sorted(job.wait_s for job in jobs)
    makespan_s = max((job.end_s for job in jobs), default=0) - min((job.submit_s for job in jobs), default=0)
    return Metrics(
        jobs=len(jobs),
        average_wait_s=_mean(waits),
        median_wait_s=float(statistics.median(waits)) if waits else 0.0,
        p95_wait_s=_nearest_rank(waits, 95),
        max_wait_s=waits[-1] if waits else 0,
        average_bounded_slowdown=_mean([bounded_slowdown(job.wait_s, job.run_s) for job in jobs]),
        utilization=_ratio(sum(job.run_s * job.processors for job in jobs), makespan_s * processors),
        makespan_s=makespan_s,
        jobs_delayed=sum(wait_s > 0 for wait_s in waits),
        throughput_per_hour=_ratio(len(jobs) * SECONDS_PER_HOUR, makespan_s),
        on_time_share=_on_time_share(jobs),
        starts_sha256=starts_sha256({job.number: job.start_s for job in jobs}),
    )


def bounded_slowdown(wait_s: int, run_s: int) -> float:
    """How many times longer a job took than it would have alone: 1 without waiting, jobs below 10 s counted as 10 s."""
    return max(1.0, (wait_s + run_s) / max(run_s, BOUND_S))


def starts_sha256(starts: Mapping[int, int]) -> str:
    """SHA-256, in hex, of the lines `id start` in ascending order of id, with a newline between each two of them."""
    lines = "\n".join(f"{number} {start_s}" for number, start_s in sorted(starts.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def _on_time_share(jobs: Sequence[Completed]) -> float | None:
    met = [job.end_s <= job.deadline_s for job in jobs if job.deadline_s is not None]
    return sum(met) / len(met) if met else None


def _nearest_rank(ascending: Sequence[int], percent: int) -> int:
    rank = -(-len(ascending) * percent // 100)
    return ascending[rank - 1] if ascending else 0


def _mean(values: Sequence[float]) -> float:
    return _ratio(math.fsum(values), len(values))


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
