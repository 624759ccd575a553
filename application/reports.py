"""From what executors saw to commands: pure translation, in order, many reports of one job in few commands."""

from collections.abc import Sequence

from application.commands import RecordCheckpoint
from application.ports import (
    AttemptCheckpoint,
    AttemptExited,
    AttemptPartial,
    AttemptProgress,
    AttemptReport,
    AttemptStarted,
)
from domain.job import commands as c
from domain.job.values import AttemptEnd, parse_attempt_id
from domain.messages import REPORT, Command, JobId


def commands_of(reports: Sequence[AttemptReport]) -> dict[JobId, list[Command]]:
    """The commands that follow from reports, by job. Neighbouring starts and ends of a job become one command each."""
    by_job: dict[JobId, list[Command]] = {}
    for report in reports:
        job_id, task, number = parse_attempt_id(report.attempt_id)
        commands = by_job.setdefault(job_id, [])
        command = _command(report, job_id, task, number)
        if commands and type(commands[-1]) is type(command):
            merged = _merged(commands[-1], command)
            if merged is not None:
                commands[-1] = merged
                continue
        commands.append(command)
    return by_job


def cause_of(command: Command) -> str:
    """The cause of what follows from reports: `attempt:7`, the first attempt that the command is about."""
    if isinstance(command, c.ReportEnded):
        return f"{REPORT}{command.ends[0].attempt}"
    if isinstance(command, c.ReportStarted):
        return f"{REPORT}{command.attempts[0]}"
    return f"{REPORT}{command.attempt}"  # type: ignore[attr-defined]  # every other one is about a single attempt


def _command(report: AttemptReport, job_id: JobId, task: int, number: int) -> Command:
    if isinstance(report, AttemptStarted):
        return c.ReportStarted(job_id=job_id, attempts=(number,))
    if isinstance(report, AttemptExited):
        return c.ReportEnded(job_id=job_id, ends=(_end(report, task, number),))
    if isinstance(report, AttemptProgress):
        return c.ReportProgress(job_id=job_id, attempt=number, percent=report.percent, status=report.status)
    if isinstance(report, AttemptPartial):
        path, quality = report.path, report.quality
        return c.ReportPartial(job_id=job_id, attempt=number, path=path, quality=quality, cost_ms=report.cost_ms)
    return _checkpoint(report, job_id, number)


def _checkpoint(report: AttemptCheckpoint, job_id: JobId, number: int) -> RecordCheckpoint:
    return RecordCheckpoint(
        checkpoint_id=f"ckpt-{report.attempt_id}.{report.number}",
        job_id=job_id,
        attempt=number,
        location=report.path,
        size_bytes=report.size_bytes,
        sha256=report.sha256,
        progress=report.progress,
    )


def _end(report: AttemptExited, task: int, number: int) -> AttemptEnd:
    return AttemptEnd(
        attempt=number,
        task=task,
        exit_code=report.exit_code,
        signal=report.signal,
        failure=report.failure,
        message=report.message,
        started_ms=report.started_ms,
        ended_ms=report.ended_ms,
        cpu_ms=report.cpu_ms,
        max_rss_mib=report.max_rss_mib,
    )


def _merged(first: Command, second: Command) -> Command | None:
    if isinstance(first, c.ReportStarted) and isinstance(second, c.ReportStarted):
        return c.ReportStarted(job_id=first.job_id, attempts=first.attempts + second.attempts)
    if isinstance(first, c.ReportEnded) and isinstance(second, c.ReportEnded):
        return c.ReportEnded(job_id=first.job_id, ends=first.ends + second.ends)
    return None
