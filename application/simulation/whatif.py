"""What if: a recorded time under other policies or on other nodes, beside what really happened.

Both courses are looked at from the same moment to the same moment, and measured alike from their events.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
from msgspec.structs import replace

from application.commands import Submit
from application.ports import Log
from application.simulation.course import Course, Fate, Use
from application.simulation.drawn import Drawn
from application.simulation.engine import Pass, Progress
from application.simulation.farms import SimulatedNode
from application.simulation.portfolio import PortfolioReviewer
from application.simulation.recording import first_starts, record
from application.simulation.rerun import Rerun
from domain.cycle import POLICY_STREAM, PoliciesAdopted
from domain.job.values import JobStatus
from domain.messages import ClientId, Command, JobId, Recorded
from domain.policies import Policies

MOVED_MS = 1_000
"""A start that differs by less has not moved: on a farm in use, placing and launching take a while."""


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """Measures of one course over some jobs, from the first moment to the last."""

    started: int
    """How many of the jobs had started by the last moment."""
    completed: int
    failed: int
    cancelled: int
    average_wait_s: float
    """Over all jobs; one that has not started has waited until the last moment."""
    average_bounded_slowdown: float | None
    """Over the jobs that completed in both courses; None when there are none."""
    on_time_share: float | None
    """Of the jobs whose deadline lies at or before the last moment in both courses; None when there are none."""
    utilization: float | None
    """Core time held, over that of the nodes while they took work; None when none did."""
    energy_kwh: float | None = None
    """What the nodes drew while they were on, by their power figures; only of all jobs together."""
    energy_cost: float | None = None
    """Of that, under the tariffs in force, in their currency."""


class JobChange(msgspec.Struct, frozen=True, kw_only=True):
    """One job in both courses."""

    job_id: JobId
    recorded: Fate
    simulated: Fate | None
    """None when it could not be submitted."""
    wait_change_ms: int | None
    """How much longer it waits, less than 0 for a shorter wait; who has not started waits until the last moment."""


class ClientChange(msgspec.Struct, frozen=True, kw_only=True):
    """The jobs of one client in both courses."""

    client_id: ClientId
    jobs: int
    recorded: Totals
    simulated: Totals


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was said then and is not possible in the simulated course."""

    command: str
    entity: str
    code: str
    message: str


class WhatIf(msgspec.Struct, frozen=True, kw_only=True):
    """The answer: what would have been different."""

    from_ms: int
    to_ms: int
    policies: Policies
    """Those in force in the end of the simulated course."""
    jobs: tuple[JobChange, ...]
    """Those that waited or ran at the first moment, and those that came later; by submission, then id."""
    clients: tuple[ClientChange, ...]
    recorded: Totals
    simulated: Totals
    moved: int
    """How many jobs started a second or more earlier or later, or in one of the courses only."""
    refused: tuple[Refusal, ...]
    estimated: tuple[JobId, ...]
    """Jobs with attempts of which the log does not know how long they run."""
    events: int
    """How many events the simulated course has."""


def what_if(
    log: Log,
    from_ms: int,
    to_ms: int,
    *,
    policies: Policies | None = None,
    nodes: Sequence[SimulatedNode] = (),
    passes: Pass = Pass.INSTANT,
    progress: Callable[[Progress], None] | None = None,
) -> WhatIf:
    """Runs what the log recorded between two times again and compares; the log itself is only read.

    Policies and nodes that are not given are those on record, with every change of them.
    """
    recording = record(log, from_ms, to_ms)
    starts = first_starts(log, recording.start)
    then = Course(recording.start, starts, from_ms)
    then.see(recording.events)
    now = Course(recording.start, starts, from_ms)
    drawn, draws = Drawn(recording.start, from_ms), Drawn(recording.start, from_ms)
    drawn.see(recording.events)

    def seen(events: Sequence[Recorded]) -> None:
        now.see(events)
        draws.see(events)

    rerun = Rerun(log, recording, policies=policies, nodes=nodes, passes=passes, seen=seen)
    if policies is not None:
        rerun.simulator.reviewer = PortfolioReviewer(rerun.app, passes=passes)
    rerun.run(lambda at_ms: at_ms <= to_ms, progress)
    for follower in (then.use, now.use, drawn, draws):
        follower.pass_to(to_ms)
    found = _compared(then, now, rerun, to_ms)
    return replace(found, recorded=_with(found.recorded, drawn), simulated=_with(found.simulated, draws))


def _with(totals: Totals, drawn: Drawn) -> Totals:
    return replace(totals, energy_kwh=drawn.kwh, energy_cost=drawn.cost) if drawn.joules else totals


def _compared(then: Course, now: Course, rerun: Rerun, to_ms: int) -> WhatIf:
    order = sorted(then.fates, key=lambda job_id: (then.fates[job_id].submitted_ms, job_id))
    jobs = tuple(_change(job_id, then.fates[job_id], now.fates.get(job_id), to_ms) for job_id in order)
    recorded, simulated = _both(jobs, then.use, now.use, to_ms)
    return WhatIf(
        from_ms=rerun.recording.from_ms,
        to_ms=to_ms,
        policies=rerun.app.farm.policies,
        jobs=jobs,
        clients=tuple(_clients(jobs, then.use, now.use, to_ms)),
        recorded=recorded,
        simulated=simulated,
        moved=sum(map(_has_moved, jobs)),
        refused=tuple(_refusal(command, error.code, str(error)) for command, error in rerun.refused),
        estimated=tuple(sorted(rerun.estimated & then.fates.keys())),
        events=rerun.log.position() - rerun.log.start,
    )


def _has_moved(job: JobChange) -> bool:
    recorded_ms, simulated_ms = job.recorded.started_ms, None if job.simulated is None else job.simulated.started_ms
    if job.simulated is None or recorded_ms is None or simulated_ms is None:
        return job.simulated is None or recorded_ms != simulated_ms
    return abs(recorded_ms - simulated_ms) >= MOVED_MS


def _change(job_id: JobId, recorded: Fate, simulated: Fate | None, to_ms: int) -> JobChange:
    longer_ms = None if simulated is None else simulated.wait_ms(to_ms) - recorded.wait_ms(to_ms)
    return JobChange(job_id=job_id, recorded=recorded, simulated=simulated, wait_change_ms=longer_ms)


def _clients(jobs: Sequence[JobChange], then: Use, now: Use, to_ms: int) -> Iterable[ClientChange]:
    of_client: dict[ClientId, list[JobChange]] = {}
    for each in jobs:
        of_client.setdefault(each.recorded.client_id, []).append(each)
    for client_id, theirs in sorted(of_client.items()):
        recorded, simulated = _both(theirs, then, now, to_ms, client_id)
        yield ClientChange(client_id=client_id, jobs=len(theirs), recorded=recorded, simulated=simulated)


def _both(
    jobs: Sequence[JobChange], then: Use, now: Use, to_ms: int, client_id: ClientId | None = None
) -> tuple[Totals, Totals]:
    """The measures of both courses; a job that was never submitted again counts where counting needs both."""
    both = [(each.recorded, each.simulated) for each in jobs if each.simulated is not None]
    completed = [pair for pair in both if pair[0].slowdown is not None and pair[1].slowdown is not None]
    due = [pair for pair in both if _is_due(pair[0], to_ms) and _is_due(pair[1], to_ms)]
    return (
        _totals([a for a, _ in both], [a for a, _ in completed], [a for a, _ in due], to_ms, then.share(client_id)),
        _totals([b for _, b in both], [b for _, b in completed], [b for _, b in due], to_ms, now.share(client_id)),
    )


def _is_due(fate: Fate, to_ms: int) -> bool:
    return fate.deadline_ms is not None and fate.deadline_ms <= to_ms


def _totals(
    fates: Sequence[Fate], completed: Sequence[Fate], due: Sequence[Fate], to_ms: int, utilization: float | None
) -> Totals:
    ended: Mapping[JobStatus | None, int] = {
        status: sum(fate.ended is status for fate in fates) for status in JobStatus
    }
    return Totals(
        started=sum(fate.started_ms is not None for fate in fates),
        completed=ended[JobStatus.COMPLETED],
        failed=ended[JobStatus.FAILED],
        cancelled=ended[JobStatus.CANCELLED],
        average_wait_s=_mean([fate.wait_ms(to_ms) / 1_000 for fate in fates]) or 0.0,
        average_bounded_slowdown=_mean([fate.slowdown or 0.0 for fate in completed]),
        on_time_share=_mean([float(fate.on_time) for fate in due]),
        utilization=utilization,
    )


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _refusal(command: Command, code: str, message: str) -> Refusal:
    named = command.jobs[0].spec if isinstance(command, Submit) else getattr(command, "spec", command)
    for field in ("job_id", "node_id", "dependency_id", "workflow_id", "client_id"):
        if hasattr(named, field):
            return Refusal(
                command=str(command.__struct_config__.tag), entity=getattr(named, field), code=code, message=message
            )
    return Refusal(command=str(command.__struct_config__.tag), entity="", code=code, message=message)


def policies_at(log: Log, at_ms: int) -> Policies:
    """The policies in force at a time; before any were adopted, the first that were, or those of a new farm.

    PolicyInvalid if this installation lacks one of them: without it nothing could be compared.
    """
    adopted = [each.event for each in log.stream(POLICY_STREAM) if isinstance(each.event, PoliciesAdopted)]
    by_then = [event for event in adopted if event.at_ms <= at_ms]
    chosen = by_then[-1:] or adopted[:1]
    policies = chosen[0].policies if chosen else Policies()
    policies.check()
    return policies
