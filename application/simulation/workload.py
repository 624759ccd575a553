"""A workload as the simulator runs it: rigid jobs with known run times that arrive at known seconds.

The fields are those of the Standard Workload Format, version 2.2 (Feitelson, Parallel Workloads Archive); where a
trace does not know something the format says -1, and so do the fields here that only travel through.
"""

from enum import StrEnum

import msgspec

from domain.messages import Value


class Dropped(StrEnum):
    """Why a line of a trace is no job; of several reasons the first one here counts."""

    REPEATED_NUMBER = "repeated-number"
    """A job by that number was read before, as in logs that add a line for every partial execution."""
    NEGATIVE_SUBMIT = "negative-submit"
    """It was submitted before second 0."""
    NO_RUN_TIME = "no-run-time"
    """Its run time is unknown or zero: it never ran."""
    NO_PROCESSORS = "no-processors"
    """Neither the requested nor the allocated number of processors is positive."""
    TOO_LARGE = "too-large"
    """It needs more processors than the machine has."""


class Adjusted(StrEnum):
    """What was changed about a job, or passed over, so that it can run."""

    REQUEST_FROM_RUN = "request-from-run"
    """No requested time; the run time was taken for it."""
    REQUEST_RAISED = "request-raised"
    """It ran longer than requested; the request was raised to the run time."""
    RUN_CUT = "run-cut"
    """It ran longer than requested; the run time was cut to the request."""
    OVERRUN_KEPT = "overrun-kept"
    """It ran longer than requested and was left so."""
    SIZE_FROM_OTHER = "size-from-other"
    """The preferred field for the number of processors was not positive, so the other one was taken."""
    ROUNDED = "rounded"
    """A fraction of a second or of a KiB was rounded, a half upwards."""
    TEXT_IGNORED = "text-ignored"
    """Something stood behind the last field of the format."""


class TraceJob(Value, frozen=True):
    """One job of a trace."""

    number: int
    """Its id, unique in the trace; 0 or more."""
    submit_s: int
    """When it arrives, in seconds on the trace's clock; 0 or more."""
    run_s: int
    """How long it runs once started; 1 or more."""
    processors: int
    """How many it holds while it runs; 1 or more."""
    requested_s: int
    """How long its owner said that it may run; 1 or more."""
    user: int = -1
    group: int = -1
    queue: int = -1
    partition: int = -1
    memory_kib_per_processor: int = -1
    """What its owner asked for."""
    wait_s: int = -1
    """How long it waited according to the trace; the simulator does not look at it."""
    cpu_s: float = -1.0
    """Processor time used, average over its processors; the one field that may have a fraction."""
    used_memory_kib_per_processor: int = -1
    status: int = -1
    """How it ended: 1 completed, 0 failed, 5 cancelled."""
    executable: int = -1
    preceding: int = -1
    """The job whose end its owner waited for before submitting it."""
    think_s: int = -1
    """How long after that end it was submitted."""


class Trace(msgspec.Struct, frozen=True):
    """Jobs and the machine that they run on."""

    jobs: tuple[TraceJob, ...]
    """Sorted by (submit_s, number); numbers are unique."""
    processors: int
    """Size of the machine."""
    dropped: dict[str, int] = {}
    """Reason (`Dropped`) to the number of lines that became no job because of it; no zeros."""
    adjusted: dict[str, int] = {}
    """What was changed (`Adjusted`) to the number of jobs in `jobs` that it concerns; no zeros."""
    header: dict[str, str] = {}
    """What the file says of itself; lines under the same key are joined by newlines."""
    start_unix_s: int = 0
    """When second 0 was, in seconds since 1970-01-01 UTC; 0 when the trace does not tell."""
    name: str = ""
    """What a person calls it, such as the name of its file."""

    @property
    def offered_load(self) -> float:
        """Processor seconds of all jobs over those the machine has from the first to the last submission.

        Above 1 the queue grows without end; 0 when all jobs arrive in the same second or there are none.
        """
        span_s = self.jobs[-1].submit_s - self.jobs[0].submit_s if self.jobs else 0
        work = sum(job.run_s * job.processors for job in self.jobs)
        return work / (self.processors * span_s) if span_s else 0.0
