"""Why a job waits, and why it ran where and when it did: read from the log, never computed anew by today's code.

Only what it can look forward to is worked out, from the farm as the log has it at that place (`outlook`).

The story of a wait is folded from three kinds of facts: the job's own (held, queued, placed), those of its
dependencies, and what scheduling cycles recorded about its queue segment. Each day's cycle stream opens with a full
record, so nothing older than that has to be read to know what was in force when the job was submitted.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from adapters.queries.answers import ExplainAnswer, FailureAnswer, PlacementAnswer, WaitAnswer
from adapters.queries.interruptions import interruptions
from adapters.queries.lines import late_ms, reason_answers
from adapters.queries.outlook import outlook
from adapters.queries.outlook import sentences as outlook_sentences
from adapters.queries.past import Point, blockers_of, job_events, read_all, said_by, stream_at
from application.ports import Log
from domain import intervals, job
from domain.cycle import CycleDecided, cycle_stream
from domain.decisions import Reason, segment_name
from domain.dependency import DependencyDeclared
from domain.farm import Farm
from domain.job import events as e
from domain.job.values import AttemptEnd, Job, JobStatus, Placement, PlacementReason
from domain.messages import JobId, Recorded, StreamId
from projections.story import failure_text
from projections.words import duration_text, lateness_sentence, nodes_text, tasks_text, time_text

MAX_WAITS = 200
MAX_PLACEMENTS = 200
MAX_FAILURES = 200
MAX_INTERRUPTIONS = 200
SHOWN = 5
"""So many waits, placements and failures become sentences; the others are in the data."""


def explain(log: Log, job_id: JobId, point: Point) -> ExplainAnswer:
    """The explanation of a job at a place in the log; JobNotFound if it had not been submitted by then."""
    own = job_events(log, job_id, point.position)
    told = Told(own, _about(log, own, point.position))
    reasons = told.blockers(point.at_ms)
    placements = list(_placements(own))
    answer = ExplainAnswer(
        job_id=job_id,
        name=told.state.spec.name,
        status=told.state.status,
        submitted_ms=told.state.submitted_ms,
        started_ms=told.started_ms,
        ended_ms=told.state.ended_ms,
        waited_ms=max(0, _until_ms(told, point) - told.state.submitted_ms),
        late_ms=late_ms(told.state),
        reasons=reason_answers(reasons),
        outlook=outlook(log, job_id, point) if told.waits_now else None,
        waits=[_wait_answer(span) for span in told.waits[-MAX_WAITS:]],
        placements=placements[-MAX_PLACEMENTS:],
        placements_total=len(placements),
        failures=_failures(own, told.state)[-MAX_FAILURES:],
        interruptions=interruptions(own, told.state)[-MAX_INTERRUPTIONS:],
        text="",
        position=point.position,
        at_ms=point.at_ms,
    )
    return replace(answer, text="\n".join(sentences(answer)))


def _until_ms(told: "Told", point: Point) -> int:
    """When its first attempt ran; else when it ended; else now."""
    for known in (told.started_ms, told.state.ended_ms):
        if known is not None:
            return known
    return point.at_ms


# -- the facts ---------------------------------------------------------------------------------------------------


def _about(log: Log, own: Sequence[Recorded], position: int) -> list[Recorded]:
    """Facts of its dependencies and of its segments, in order."""
    job_id, submitted = own[0].stream, own[0]
    segments = _segments(own)
    found = [*_cycle_record(log, submitted, segments)]
    for recorded in read_all(log, submitted.position, position, ("cycle.decided", "dependency.declared")):
        event = recorded.event
        if isinstance(event, DependencyDeclared):
            if event.successor_id == job_id:
                found += stream_at(log, recorded.stream, position)
        elif isinstance(event, CycleDecided) and _concerns(event, segments):
            found.append(recorded)
    return sorted(found, key=lambda each: each.position)


def _segments(own: Sequence[Recorded]) -> frozenset[str]:
    """The queue segments that the job has been in: one per priority it has had."""
    submitted = own[0].event
    assert isinstance(submitted, e.JobSubmitted)
    spec = submitted.spec
    later = [each.event.priority for each in own if isinstance(each.event, e.JobPriorityChanged)]
    return frozenset(segment_name(spec.client_id, p, spec.requirement) for p in (spec.priority, *later))


def _concerns(event: CycleDecided, segments: frozenset[str]) -> bool:
    if event.keyframe or event.reserved is not None or not segments.isdisjoint(event.cleared):
        return True
    return any(blocked.segment in segments for blocked in event.blocked)


def _cycle_record(log: Log, submitted: Recorded, segments: frozenset[str]) -> list[Recorded]:
    """What cycles had recorded about these segments when the job came: the newest day that has a record by then."""
    newest = _day(cycle_stream(submitted.event.at_ms))
    days = sorted({_day(stream) for stream in log.streams("cycle-", MAX_DAYS)}, reverse=True)
    for day in days:
        before = stream_at(log, f"cycle-{day}", submitted.position) if day <= newest else []
        if before:
            return [each for each in before if isinstance(each.event, CycleDecided) and _concerns(each.event, segments)]
    return []


MAX_DAYS = 100_000


def _day(stream: StreamId) -> int:
    return int(stream.removeprefix("cycle-"))


# -- the wait ----------------------------------------------------------------------------------------------------


class Span(NamedTuple):
    """Time in which the job waited for the same things."""

    from_ms: int
    to_ms: int | None
    reasons: tuple[Reason, ...]


class Told:
    """A job's history, told once from beginning to end."""

    state: Job

    def __init__(self, own: Sequence[Recorded], about: Sequence[Recorded]) -> None:
        self.farm = Farm()
        """Its dependencies, recorded reasons and the recorded reservation only."""
        self.waits: list[Span] = []
        self.started_ms: int | None = None
        self._by = {"held": "", "paused": ""}
        """Who did it."""
        self._job_id = own[0].stream
        self._submitted = False
        for recorded in sorted((*about, *own), key=lambda each: each.position):
            self._tell(recorded)

    def _tell(self, recorded: Recorded) -> None:
        event = recorded.event
        if recorded.stream == self._job_id:
            self.state = job.evolve(self.state if self._submitted else None, event)  # type: ignore[arg-type]
            self._submitted = True
            if isinstance(event, e.TasksStarted) and self.started_ms is None:
                self.started_ms = event.at_ms
            if isinstance(event, e.JobHeld | e.JobPaused) or (isinstance(event, e.JobSubmitted) and event.held):
                self._by["paused" if isinstance(event, e.JobPaused) else "held"] = recorded.meta.actor
        else:
            self.farm.apply(recorded.position, recorded.stream, recorded.version, event)
        if self._submitted:
            self._note(event.at_ms)

    def blockers(self, at_ms: int) -> tuple[Reason, ...]:
        """What keeps it waiting after the facts told so far."""
        return said_by(blockers_of(self.farm, self.state, at_ms), self._by["held"], self._by["paused"])

    @property
    def waits_now(self) -> bool:
        """Whether some task of it waits."""
        return self.state.ended is None and bool(self.state.unplaced)

    def _note(self, at_ms: int) -> None:
        """Opens, continues or closes a span of waiting."""
        waiting = self.waits_now
        reasons = self.blockers(at_ms)
        last = self.waits[-1] if self.waits and self.waits[-1].to_ms is None else None
        if last is not None:
            if waiting and _same(last.reasons, reasons):
                self.waits[-1] = last._replace(reasons=reasons)
                return
            self._close(last, at_ms)
        if waiting:
            self.waits.append(Span(at_ms, None, reasons))

    def _close(self, last: Span, at_ms: int) -> None:
        """A span without length says nothing."""
        if at_ms > last.from_ms:
            self.waits[-1] = last._replace(to_ms=at_ms)
        else:
            self.waits.pop()


def _same(old: tuple[Reason, ...], new: tuple[Reason, ...]) -> bool:
    """Whether only numbers differ."""
    return len(old) == len(new) and all(a.same_blocker(b) for a, b in zip(old, new, strict=True))


def _wait_answer(span: Span) -> WaitAnswer:
    return WaitAnswer(from_ms=span.from_ms, to_ms=span.to_ms, reasons=reason_answers(span.reasons))


# -- the placements ----------------------------------------------------------------------------------------------


def _placements(own: Sequence[Recorded]) -> Iterator[PlacementAnswer]:
    starts = [each.event for each in own if isinstance(each.event, e.TasksStarted)]
    started = {number: event.at_ms for event in starts for number in event.attempts}
    for recorded in own:
        if isinstance(recorded.event, e.TasksPlaced):
            for placement in recorded.event.placements:
                yield _placement(recorded, recorded.event, placement, started)


def _placement(
    recorded: Recorded, event: e.TasksPlaced, placement: Placement, started: dict[int, int]
) -> PlacementAnswer:
    first, reason = placement.first_attempt, event.reason
    numbers = range(first, first + intervals.size(placement.tasks))
    return PlacementAnswer(
        at_ms=event.at_ms,
        started_ms=min((started[number] for number in numbers if number in started), default=None),
        tasks=placement.tasks,
        nodes=placement.nodes,
        policy=reason.policy,
        order=reason.order,
        score=reason.score,
        candidates=reason.candidates,
        overtook=reason.overtook,
        overtook_start_ms=reason.overtook_start_ms,
        cycle=recorded.meta.cycle,
        position=recorded.position,
        text=_placement_text(event, placement),
    )


def _placement_text(event: e.TasksPlaced, placement: Placement) -> str:
    reason = event.reason
    among = "the only node that could hold it" if reason.candidates == 1 else f"one of {reason.candidates} that could"
    return (
        f"{tasks_text(placement.tasks)} went to {nodes_text(placement.nodes)}, {among}; "
        f"{reason.policy} chose it with a score of {reason.score:.2f}, {reason.order} gave the job its turn"
        f"{_overtook_text(reason)}"
    )


def _overtook_text(reason: PlacementReason) -> str:
    """Past whom it was backfilled."""
    if not reason.overtook:
        return ""
    if reason.overtook_start_ms is None:
        return f"; {reason.overtook} before it in the queue did not fit, and no room is kept for that one"
    start = time_text(reason.overtook_start_ms)
    return f"; it was backfilled past {reason.overtook}, which can start at {start} all the same"


# -- the failures ------------------------------------------------------------------------------------------------


def _failures(own: Sequence[Recorded], state: Job) -> list[FailureAnswer]:
    """The newest failed attempt of each task that has not come right since, in the order in which they failed."""
    found: dict[int, FailureAnswer] = {}
    counts: Counter[int] = Counter()
    for recorded in own:
        event = recorded.event
        if isinstance(event, e.JobRetried):
            found, counts = {}, Counter()
        for end in event.ends if isinstance(event, e.TasksFailed) else ():
            counts[end.task] += 1
            found.pop(end.task, None)
            found[end.task] = _failure(event.at_ms, end, counts[end.task], recorded.position)
    return [each for task, each in found.items() if not intervals.contains(state.succeeded, task)]


def _failure(at_ms: int, end: AttemptEnd, times: int, position: int) -> FailureAnswer:
    how = f"failed {times} times; the last time:" if times > 1 else "failed:"
    return FailureAnswer(
        at_ms=at_ms,
        task=end.task,
        attempt=end.attempt,
        times=times,
        exit_code=end.exit_code,
        signal=end.signal,
        failure=end.failure,
        message=end.message,
        position=position,
        text=f"Task {end.task} {how} {failure_text(end)}",
    )


# -- in words ----------------------------------------------------------------------------------------------------


def sentences(answer: ExplainAnswer) -> list[str]:
    """The explanation for a person: how it stands, what it waited for, where it went."""
    lines = [_headline(answer)]
    lines += [] if answer.late_ms is None else [lateness_sentence(answer.late_ms)]
    lines += [f"  {reason.text}" for reason in answer.reasons]
    lines += [] if answer.outlook is None else outlook_sentences(answer.outlook, answer.at_ms)
    lines += [f"{time_text(each.at_ms)}: {each.text}." for each in answer.failures[-SHOWN:]]
    lines += [f"{time_text(each.at_ms)}: {each.text}." for each in answer.interruptions[-2 * SHOWN :]]
    if len(answer.failures) > SHOWN:
        lines.append(f"{len(answer.failures) - SHOWN} other tasks failed, too.")
    ended_waits = [wait for wait in answer.waits if wait.to_ms is not None]
    lines += [f"It waited {_wait_text(wait)}." for wait in ended_waits[-SHOWN:]]
    if len(ended_waits) > SHOWN:
        lines.insert(len(lines) - SHOWN, f"It waited {len(ended_waits)} times; the last {SHOWN} were:")
    if answer.placements_total > SHOWN:
        lines.append(f"Tasks were placed {answer.placements_total} times; the last {SHOWN} were:")
    lines += [f"{time_text(placed.at_ms)}: {placed.text}." for placed in answer.placements[-SHOWN:]]
    return lines


def _headline(answer: ExplainAnswer) -> str:
    who, waited = f"{answer.name} ({answer.job_id})", duration_text(answer.waited_ms)
    if answer.ended_ms is not None:
        ended = f"{who} {_END[answer.status]} at {time_text(answer.ended_ms)}"
        return f"{ended}, {_first_run(answer, waited)}."
    if answer.reasons:
        since = "" if answer.started_ms is not None else f" since {time_text(answer.submitted_ms)} ({waited})"
        return f"{who} is {answer.status} and waits{since}:"
    if answer.started_ms is None and answer.status is JobStatus.QUEUED:
        return f"{who} is queued; no cycle has looked at it yet, or the next one will place it."
    return f"{who} is {answer.status}, {_first_run(answer, waited)}."


def _first_run(answer: ExplainAnswer, waited: str) -> str:
    return "it never ran" if answer.started_ms is None else f"it first ran {waited} after it was submitted"


_END = {JobStatus.COMPLETED: "completed", JobStatus.FAILED: "failed", JobStatus.CANCELLED: "was cancelled"}


def _wait_text(wait: WaitAnswer) -> str:
    assert wait.to_ms is not None
    spent = f"{duration_text(wait.to_ms - wait.from_ms)} from {time_text(wait.from_ms)} on"
    return f"{spent}: " + ("; ".join(reason.text for reason in wait.reasons) or "for the next cycle")
