"""Jobs of callers in the words of the core: what they are submitted as, and what a difference between two looks means.

Where the core has a word for a change it is used; what it has no word for (the exact progress, a level below low, an
end of something that never ran here) is recorded as observed, in the stream `external-job-<name>`.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec.structs import replace

from adapters.facades.bridge import names, times
from adapters.facades.bridge.desk import CALLER, Desk
from adapters.facades.bridge.jobfacts import RUNNER, JobFacts, JobPaper
from adapters.facades.bridge.remembered import payload_of, remembered
from application.commands import Submit
from domain.client import RegisterClient
from domain.job.checks import MAX_TIME_MS
from domain.job.commands import (
    CancelJob,
    HoldJob,
    PauseJob,
    PlaceTasks,
    PrioritizeJob,
    ReportEnded,
    ReportProgress,
    ReportStarted,
    RequeueTasks,
    ResumeJob,
    RetryJob,
    SetDeadline,
    SubmitJob,
    UnholdJob,
)
from domain.job.values import AttemptEnd, FailureClass, JobSpec, Placement, PlacementReason, Priority, Work
from domain.messages import MAX_NAME_CHARS, Command
from domain.observed import Observe, external_stream
from domain.resources import NOTHING, Requirement

WAITING = ("pending", "queued")
_LEVELS = {level.value: level for level in Priority}


class _Seen:
    """How a job was seen last, and how far it is in the core if nothing was refused."""

    __slots__ = ("attempt", "core_id", "facts", "held", "odd", "phase", "placed_on", "rest")

    def __init__(self, core_id: str, facts: JobFacts) -> None:
        self.core_id, self.facts = core_id, facts
        self.phase = "waiting"
        """waiting, running, paused, completed, failed, cancelled."""
        self.attempt = 0
        self.placed_on: str | None = None
        self.held = False
        self.rest: str | None = None
        """All that is not among the facts, as it was recorded last; None if nobody has looked yet."""
        self.odd: set[str] = set()
        """Names that stand in the stream of what was observed."""


class Jobs:
    """All jobs that facades of one application have seen."""

    def __init__(self, desk: Desk, policy: str = "facade") -> None:
        self._desk, self._policy = desk, policy
        self._seen: dict[str, _Seen] = {}
        self._clients: set[str] = set()
        self.nodes: set[str] = set()
        """Nodes, by the caller's ids, on which the core can place."""
        self.reason: PlacementReason | None = None
        """Why the next job that is seen running went where it did; None for the usual reason."""

    def known(self, name: str) -> bool:
        """Whether a job was seen before."""
        return name in self._seen

    def attempt_of(self, name: str) -> int | None:
        """The attempt of a job that runs in the core; None if none does."""
        seen = self._seen.get(name)
        return seen.attempt if seen is not None and seen.phase == "running" else None

    def last(self, name: str) -> JobFacts | None:
        """How a job was seen last."""
        seen = self._seen.get(name)
        return None if seen is None else seen.facts

    def attempt(self, name: str) -> int:
        """The number of a job's last attempt in the core; 0 if it had none."""
        seen = self._seen.get(name)
        return 0 if seen is None else seen.attempt

    def see(
        self,
        facts: JobFacts,
        paper: Callable[[], JobPaper],
        actor: str = CALLER,
        why: str = "",
        rest: Callable[[], str] | None = None,
    ) -> bool:
        """Lays down what a job has become since it was seen last; whether there was anything to say.

        `rest` is all else about it as JSON; it is asked for where the record outlives the caller's objects.
        """
        seen = self._seen.get(facts.name) or self._recall(facts.name)
        if seen is None:
            seen = self._submit(facts, paper(), actor)
            seen.rest = None if rest is None or self._desk.owned else rest()
        elif rest is not None and not self._desk.owned:
            self._rest(seen, rest(), actor)
        if seen.facts == facts:
            return False
        self._differences(seen, facts, actor, why)
        seen.facts = facts
        return True

    def _rest(self, seen: _Seen, rest: str, actor: str) -> None:
        if rest != seen.rest:
            seen.rest = rest
            self._observe(seen, {"rest": msgspec.json.decode(rest)}, actor)

    # -- the first look ------------------------------------------------------------------------------------------

    def _recall(self, name: str) -> _Seen | None:
        """A job of the log that nobody has seen since this process began; private applications begin with it."""
        if self._desk.owned or self._desk.is_new:
            return None
        app = self._desk.present
        known = remembered(app.log, name)
        if known is None:
            return None
        seen = self._seen[name] = _Seen(known.job.spec.job_id, known.facts)
        status = known.job.status.value
        seen.phase = "waiting" if status in WAITING else status
        seen.attempt, seen.held, seen.odd = known.job.next_attempt - 1, known.job.held, set(known.odd)
        if known.placed_on is not None:
            seen.placed_on = known.facts.node or known.placed_on
        self.nodes |= {node.node_id for node in app.farm.nodes.values() if node.takes_work}
        return seen

    def _submit(self, facts: JobFacts, paper: JobPaper, actor: str) -> _Seen:
        spec = self._spec(facts, paper, actor)
        self._desk.do(SubmitJob(spec=spec), actor, (_unheeded(spec),))
        return self._entered(facts, spec.job_id, actor)

    def enter(self, workflow: str, title: str, members: Sequence[tuple[JobFacts, JobPaper]], actor: str) -> bool:
        """Submits jobs that nobody has seen yet as one workflow; whether they were: all of them must be new."""
        if not members or any(facts.name in self._seen or self._recall(facts.name) for facts, _ in members):
            return False
        workflow_id = f"wf-{names.safe(workflow)}"
        specs = [replace(self._spec(facts, paper, actor), workflow_id=workflow_id) for facts, paper in members]
        jobs = tuple([SubmitJob(spec=spec) for spec in specs])
        whole = Submit(jobs=jobs, workflow_id=workflow_id, workflow_name=title[:MAX_NAME_CHARS])
        self._desk.do(whole, actor, [_unheeded(replace(spec, workflow_id=None)) for spec in specs])
        for (facts, _), spec in zip(members, specs, strict=True):
            seen = self._entered(facts, spec.job_id, actor)
            self._differences(seen, facts, actor, "")
            seen.facts = facts
        return True

    def _spec(self, facts: JobFacts, paper: JobPaper, actor: str) -> JobSpec:
        return JobSpec(
            job_id=names.job_id(facts.name),
            name=paper.title[:MAX_NAME_CHARS],
            client_id=self._client(paper.client, actor),
            work=Work(runner=RUNNER, payload=payload_of(facts.name, paper.document)),
            requirement=Requirement(paper.resources) if paper.resources != NOTHING else Requirement(),
            priority=_LEVELS.get(facts.priority, Priority.LOW),
            deadline_ms=_deadline_ms(facts.deadline),
            kind=paper.kind,
        )

    def _entered(self, facts: JobFacts, core_id: str, actor: str) -> _Seen:
        """The job as it is in the core right after its submission."""
        seen = self._seen[facts.name] = _Seen(core_id, facts._replace(status="pending", progress=0.0, errors=0))
        if facts.priority not in _LEVELS:
            self._observe(seen, {"priority": facts.priority}, actor)
        if facts.node is not None and facts.status != "running":
            self._observe(seen, {"node": facts.node}, actor)
        return seen

    def _client(self, client: str, actor: str) -> str:
        known = names.client_id(client)
        if known not in self._clients:
            self._clients.add(known)
            if self._desk.is_new or known not in self._desk.present.farm.clients:
                self._desk.do(RegisterClient(client_id=known, name=client[:MAX_NAME_CHARS]), actor)
        return known

    def client_is_known(self, client: str) -> None:
        """Somebody registers this client with shares of its own."""
        self._clients.add(names.client_id(client))

    # -- differences ---------------------------------------------------------------------------------------------

    def _differences(self, seen: _Seen, after: JobFacts, actor: str, why: str) -> None:
        before = seen.facts
        if after.priority != before.priority:
            self._prioritize(seen, after.priority, actor, why)
        if after.deadline != before.deadline:
            change = SetDeadline(job_id=seen.core_id, deadline_ms=_deadline_ms(after.deadline), why=why)
            values = {"deadline": None if after.deadline is None else after.deadline.isoformat()}
            self._unless_ended(seen, change, values, actor)
        if after.status != before.status or (after.status == "running" and after.node != seen.placed_on):
            self._move(seen, after, actor, why)
        elif after.node != before.node:
            self._observe(seen, {"node": after.node}, actor, why)
        if after.progress != before.progress:
            self._progress(seen, after.progress, actor, why)
        if after.errors != before.errors:
            self._observe(seen, {"errors": after.errors}, actor, why)

    def _prioritize(self, seen: _Seen, word: str, actor: str, why: str) -> None:
        level = _LEVELS.get(word)
        if level is None:
            self._observe(seen, {"priority": word}, actor, why)
        else:
            self._unless_ended(
                seen, PrioritizeJob(job_id=seen.core_id, priority=level, why=why), {"priority": word}, actor
            )

    def _unless_ended(self, seen: _Seen, command: Command, values: dict[str, Any], actor: str) -> None:
        if seen.phase in ("completed", "failed", "cancelled"):
            self._observe(seen, values, actor)
        else:
            self._say(seen, command, values, actor)

    def _progress(self, seen: _Seen, percent: float, actor: str, why: str) -> None:
        if seen.phase == "running":
            self._desk.do(
                ReportProgress(job_id=seen.core_id, attempt=seen.attempt, percent=int(max(0, min(100, percent)))), actor
            )
        self._observe(seen, {"progress": percent}, actor, why)

    def _move(self, seen: _Seen, after: JobFacts, actor: str, why: str) -> None:
        """From one status to another, in as many words as the core needs for it."""
        word = after.status
        if word in WAITING:
            self._wait(seen, after, actor, why)
        elif word == "running":
            self._run(seen, after, actor, why)
        elif word == "paused":
            self._pause(seen, actor, why)
        elif word == "cancelled":
            self._cancel(seen, actor, why)
        elif word in ("completed", "failed"):
            self._end(seen, word, actor, why)
        else:
            self._observe(seen, {"status": word}, actor, why)
        if after.node != (seen.placed_on if seen.phase in ("running", "paused") else None):
            self._observe(seen, {"node": after.node}, actor, why)
        else:
            self._forget(seen, "node", actor)

    def _wait(self, seen: _Seen, after: JobFacts, actor: str, why: str) -> None:
        values = {"status": after.status}
        if seen.phase == "paused":
            self._say(seen, ResumeJob(job_id=seen.core_id, why=why), {}, actor)
            seen.phase = "running" if seen.attempt and seen.placed_on is not None else "waiting"
        if seen.phase == "running":
            self._stop(seen, actor, why)
        elif seen.phase in ("failed", "cancelled"):
            self._say(seen, RetryJob(job_id=seen.core_id, why=why), values, actor)
            seen.phase = "waiting"
        if seen.held:
            self._say(seen, UnholdJob(job_id=seen.core_id, why=why), {}, actor)
            seen.held = False
        if seen.phase == "waiting" and after.status == "pending":
            self._forget(seen, "status", actor)
        else:
            self._observe(seen, values, actor, why)

    def _stop(self, seen: _Seen, actor: str, why: str) -> None:
        """The attempt that runs is over and the job waits again."""
        self._desk.do(RequeueTasks(job_id=seen.core_id, why=why), actor)
        end = AttemptEnd(seen.attempt, 0, failure=FailureClass.SIGNAL, message=why)
        self._desk.do(ReportEnded(job_id=seen.core_id, ends=(end,)), actor)
        seen.phase, seen.placed_on = "waiting", None

    def _run(self, seen: _Seen, after: JobFacts, actor: str, why: str) -> None:
        if seen.phase == "paused" and after.node == seen.placed_on:
            self._say(seen, ResumeJob(job_id=seen.core_id, why=why), {"status": "running"}, actor)
            seen.phase = "running"
            return
        if seen.phase != "waiting":
            self._wait(seen, after._replace(status="pending"), actor, why)
        if after.node is None or after.node not in self.nodes or seen.phase != "waiting":
            self._observe(seen, {"status": "running"}, actor, why)
            return
        seen.attempt += 1
        placement = Placement("0", ((names.node_id(after.node), 1),))
        reason = self.reason or PlacementReason(policy=self._policy, order="priority")
        unsaid = {"status": "running", "node": after.node}
        self._say(seen, PlaceTasks(job_id=seen.core_id, placements=(placement,), reason=reason), unsaid, actor)
        self._desk.do(ReportStarted(job_id=seen.core_id, attempts=(seen.attempt,)), actor)
        seen.phase, seen.placed_on = "running", after.node

    def _pause(self, seen: _Seen, actor: str, why: str) -> None:
        if seen.phase in ("waiting", "running"):
            self._say(seen, PauseJob(job_id=seen.core_id, why=why), {"status": "paused"}, actor)
            seen.phase = "paused"
        else:
            self._observe(seen, {"status": "paused"}, actor, why)

    def _cancel(self, seen: _Seen, actor: str, why: str) -> None:
        self._unless_ended(seen, CancelJob(job_id=seen.core_id, why=why), {"status": "cancelled"}, actor)
        if seen.placed_on is not None:
            end = AttemptEnd(seen.attempt, 0, failure=FailureClass.SIGNAL, message=why)
            self._desk.do(ReportEnded(job_id=seen.core_id, ends=(end,)), actor)
        if seen.phase not in ("completed", "failed"):
            seen.phase, seen.placed_on = "cancelled", None

    def _end(self, seen: _Seen, word: str, actor: str, why: str) -> None:
        """Completed or failed: the end of the attempt that runs, or something that happened elsewhere."""
        if seen.phase == "running":
            failure = None if word == "completed" else FailureClass.DECLARED
            end = AttemptEnd(seen.attempt, 0, failure=failure, message=why)
            self._say(seen, ReportEnded(job_id=seen.core_id, ends=(end,)), {"status": word}, actor)
            seen.phase, seen.placed_on = word, None
            return
        self._observe(seen, {"status": word}, actor, why)
        if seen.phase in ("waiting", "paused") and not seen.held:
            self._desk.do(HoldJob(job_id=seen.core_id, why=f"it is {word} elsewhere"), actor)
            seen.held = True

    def lost_with(self, node: str) -> None:
        """The core has given a node up: what ran there waits again."""
        for seen in self._seen.values():
            if seen.placed_on == node:
                seen.phase, seen.placed_on = "waiting", None

    # -- saying it -----------------------------------------------------------------------------------------------

    def _say(self, seen: _Seen, command: Command, values: dict[str, Any], actor: str) -> None:
        """A word of the core; the values instead if it is refused. What was observed under these names is over."""
        self._desk.do(command, actor, (self._observation(seen, values),) if values else ())
        for name in values:
            self._forget(seen, name, actor)

    def _observe(self, seen: _Seen, values: dict[str, Any], actor: str, why: str = "") -> None:
        seen.odd.update(values)
        self._desk.do(self._observation(seen, values, why), actor)

    def _observation(self, seen: _Seen, values: dict[str, Any], why: str = "") -> Observe:
        return Observe(stream_id=external_stream("job", seen.facts.name), what="job", changes=values, why=why)

    def _forget(self, seen: _Seen, name: str, actor: str) -> None:
        if name in seen.odd:
            seen.odd.discard(name)
            stream = external_stream("job", seen.facts.name)
            self._desk.do(Observe(stream_id=stream, what="job", forgotten=(name,)), actor)


def _unheeded(spec: JobSpec) -> SubmitJob:
    """The same job where no node could ever hold it: known, but never placed."""
    return SubmitJob(spec=replace(spec, requirement=Requirement()), held=True)


def _deadline_ms(deadline: datetime | None) -> int | None:
    return None if deadline is None else max(0, min(MAX_TIME_MS, times.milliseconds(deadline)))


__all__ = ["WAITING", "JobFacts", "JobPaper", "Jobs", "jobs_of"]


def jobs_of(desk: Desk) -> Jobs:
    """The jobs of an application, the same for all its facades."""
    return desk.shared(Jobs, lambda: Jobs(desk))
