"""Job: one schedulable kind of work with one requirement, one command and 1..n tasks.

Tasks, attempts, holds, pauses, retries and their rules. Terms as in array jobs (Slurm, PBS) and OpenJD steps.
"""

from domain.job.decide import decide
from domain.job.evolve import evolve
from domain.job.values import Attempt, Job, JobSpec, JobStatus, Priority

__all__ = ["Attempt", "Job", "JobSpec", "JobStatus", "Priority", "decide", "evolve"]
