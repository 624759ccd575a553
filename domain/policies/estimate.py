"""Estimates: how long an attempt will run, as backfill and orders by length need to know."""

from domain.indices.performance import kind_of
from domain.job.values import Job
from domain.messages import Value
from domain.policies import Context, register


class Requested(Value, frozen=True):
    """The walltime that was asked for; a job without one may run for ever."""

    as_requested = True

    def run_ms(self, job: Job, context: Context) -> int | None:
        """The job's walltime."""
        return job.spec.walltime_ms


class Predicted(Value, frozen=True):
    """The average of the last two run times of the same client and kind, never more than the walltime asked for.

    After Tsafrir, Etsion & Feitelson (TPDS 2007), who took the last two jobs of the same user; a job's kind makes a
    closer match. While nothing is known the walltime holds, as it does for an attempt that has outlived its prediction.
    """

    as_requested = False

    def run_ms(self, job: Job, context: Context) -> int | None:
        """The prediction, at least a millisecond; the job's walltime while nothing is known."""
        spec = job.spec
        known_ms = context.farm.performance.predicted_ms(spec.client_id, kind_of(spec))
        return spec.walltime_ms if known_ms is None else predicted_ms(known_ms, spec.walltime_ms)

    def error_ms(self, job: Job, context: Context) -> int | None:
        """How far from the run times such predictions have been on average; None while none could be checked."""
        return context.farm.performance.error_ms(job.spec.client_id, kind_of(job.spec))


def predicted_ms(average_ms: int, requested_ms: int | None) -> int:
    """What past runs say, at least 1 and at most what was asked for: nothing runs longer than its walltime."""
    return max(1, average_ms if requested_ms is None else min(average_ms, requested_ms))


register("estimate", "requested", Requested)
register("estimate", "predicted", Predicted)
