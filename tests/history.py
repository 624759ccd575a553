"""Random but valid histories: the smallest application there can be, which asks the deciders and writes what follows.

A history is made by moves. Each takes one number, from which it picks who and what, so that any list of (move, number)
is a history, and one that fails shrinks to the few moves that matter. What a rule forbids is refused, and recorded so.
"""

import random
from collections.abc import Callable, Iterable
from typing import Any

from hypothesis import strategies as st
from msgspec.structs import replace

from domain import checkpoint, client, dependency, job, node, observed, partition, reservation, workflow
from domain.cycle import POLICY_STREAM, CommandRefused, CycleDecided, PoliciesAdopted, cycle_stream, refusal_stream
from domain.decisions import Plan
from domain.errors import TaskSchedulerError
from domain.farm import Farm
from domain.forecasting.lateness import forecast_ends
from domain.forecasting.promises import ForecastsMade, ForecastsScored, forecast_stream, score
from domain.intervals import size
from domain.job import commands as c
from domain.job import events as e
from domain.job.values import AttemptEnd, FailureClass, JobStatus, Priority, Progressive, Protection, StopCause
from domain.messages import Command, Event, StreamId, client_stream, node_stream
from domain.node.decide import _DECIDE
from domain.planning.planner import plan
from domain.policies import Policies
from domain.resources import Requirement
from domain.time_range import TimeRange
from domain.undo import CommandUndone, undo_stream
from tests.builders import NOW, SECOND, having, need, placements, resources, spec
from tests.spec import listing

Row = tuple[int, StreamId, int, Event]

SIZES = (resources(4), resources(8, gpus=1), resources(2, licence=1), resources(4, memory_mib=2_048))
SHAPES: tuple[Requirement, ...] = (
    need(1),
    need(2, gpus=1),
    need(1, licence=1),
    need(2, memory_mib=1_024),
    need(1, slots=3),
    need(1, slots=2, distinct=True),
    need(1, attributes=(having("os", "linux"),)),
)
CLIENTS = ("show", "research")
LINUX = {"os": ("linux",)}


class History:
    """A log, the state of every stream that was ever written, and the farm as a server would hold it."""

    def __init__(self) -> None:
        self.now_ms = NOW
        self.rows: list[Row] = []
        self.states: dict[StreamId, Any] = {}
        self.versions: dict[StreamId, int] = {}
        self.farm = Farm()

    def __repr__(self) -> str:
        return listing([event for _, _, _, event in self.rows])

    # -- writing -------------------------------------------------------------------------------------------------

    def write(self, stream: StreamId, event: Event, state: Any = None) -> None:
        """Appends one event; the farm is told the state it leads to, or has to work it out itself."""
        self.versions[stream] = self.versions.get(stream, 0) + 1
        row = (len(self.rows) + 1, stream, self.versions[stream], event)
        self.rows.append(row)
        self.farm.apply(*row, state if len(self.rows) % 2 else None)

    def ask(self, decider: Any, stream: StreamId, command: Command) -> bool:
        """Decides one command and all that follows from it; whether it was obeyed."""
        try:
            facts = decider.decide(self.states.get(stream), command, self.now_ms)
        except TaskSchedulerError as error:
            self.refuse(stream, command, error)
            return False
        for fact in facts:
            self.states[stream] = decider.evolve(self.states.get(stream), fact)
            self.write(stream, fact, self.states[stream])
        for fact in facts:
            self.follow(fact)
        return True

    def refuse(self, stream: StreamId, command: Command, error: TaskSchedulerError) -> None:
        name = str(command.__struct_config__.tag)
        fact = CommandRefused(at_ms=self.now_ms, command=name, entity_id=stream, code=error.code, message=error.message)
        self.write(refusal_stream(self.now_ms), fact)

    def of_job(self, kind: type[c.JobCommand], job_id: str, **fields: Any) -> bool:
        return self.ask(job, job_id, kind(job_id=job_id, **fields))

    # -- what follows --------------------------------------------------------------------------------------------

    def follow(self, fact: Event) -> None:
        if isinstance(fact, node.NodeLost | node.NodeOffline):
            self.lose_attempts(fact.node_id)
        elif isinstance(fact, dependency.DependencySatisfied | dependency.DependencyBypassed):
            self.queue_if_free(fact.successor_id)
        elif isinstance(fact, dependency.DependencyReopened):
            self.of_job(c.UnqueueJob, fact.successor_id, why="reopened")
        elif isinstance(fact, e.JobRetried):
            self.reopen(fact)
        elif isinstance(fact, e.JobCompleted):
            self.settle_edges(fact.job_id, dependency.SatisfyDependency)
        elif isinstance(fact, e.JobFailed | e.JobCancelled):
            self.settle_edges(fact.job_id, dependency.FailDependency, why="it ended")
        if isinstance(fact, e.JobEvent):
            self.end_workflow(self.states[getattr(fact, "job_id", None) or fact.spec.job_id])

    def lose_attempts(self, node_id: str) -> None:
        for job_id, number in self.farm.attempts_on(node_id):
            self.of_job(c.LoseAttempts, job_id, node_id=node_id, attempts=(number,))

    def queue_if_free(self, job_id: str) -> None:
        if not any(edge.blocks for edge in self.farm.edges_into(job_id)):
            self.of_job(c.QueueJob, job_id)

    def settle_edges(self, job_id: str, kind: type[Command], **why: str) -> None:
        for edge in self.farm.edges_from(job_id):
            self.ask(dependency, edge.dependency_id, kind(dependency_id=edge.dependency_id, **why))

    def reopen(self, fact: e.JobRetried) -> None:
        self.settle_edges(fact.job_id, dependency.ReopenDependency)
        if any(edge.blocks for edge in self.farm.edges_into(fact.job_id)):
            self.of_job(c.UnqueueJob, fact.job_id, why="its predecessors have not completed")
        else:
            self.of_job(c.QueueJob, fact.job_id)
        workflow_id = fact.job.spec.workflow_id
        jobs = {job_id: self.states[job_id].ended for job_id in self.states[workflow_id].jobs}
        outcomes = {job_id: ended for job_id, ended in jobs.items() if ended is not None}
        wish = workflow.ReopenWorkflow(workflow_id=workflow_id, job_id=fact.job_id, outcomes=outcomes)
        self.ask(workflow, workflow_id, wish)

    def end_workflow(self, after: job.Job) -> None:
        """A workflow ends when the farm knows how each of its jobs ended."""
        workflow_id = after.spec.workflow_id
        outcomes = self.farm.outcomes.get(workflow_id, {})
        known = self.states.get(workflow_id)
        if after.ended and known and not known.ended and outcomes.keys() >= set(known.jobs):
            bad = [status for status in outcomes.values() if status is not JobStatus.COMPLETED]
            wish = workflow.EndWorkflow(workflow_id=workflow_id, outcome=bad[0] if bad else JobStatus.COMPLETED)
            self.ask(workflow, workflow_id, wish)

    # -- who is there --------------------------------------------------------------------------------------------

    def pick(self, kind: type[Any], n: int, sensible: Callable[[Any], object] | None = None) -> Any:
        """One of the states of a kind that there are, perhaps only of those of which something is true; else None."""
        found = [s for s in self.states.values() if isinstance(s, kind) and (sensible is None or sensible(s))]
        return found[n % len(found)] if found else None


# -- moves -----------------------------------------------------------------------------------------------------------


def time_passes(h: History, n: int) -> None:
    h.now_ms += (1, SECOND, 5 * SECOND, 86_400_000)[n % 4]


def add_node(h: History, n: int) -> None:
    node_id = f"n{n % 5}"
    wish = node.RegisterNode(node_id=node_id, capacity=SIZES[n % 4], attributes=LINUX if n % 3 else {})
    if h.ask(node, node_stream(node_id), wish):
        h.ask(node, node_stream(node_id), node.BringOnline(node_id=node_id))


def change_node(h: History, n: int) -> None:
    known = h.pick(node.Node, n)
    kinds = (*_DECIDE, node.BringOnline, node.RecoverNode, node.UndrainNode, node.EndMaintenance)
    kind = kinds[n // 7 % len(kinds)]
    more = {"why": "w", "cause": "w", "silent_ms": 1}
    wish = kind(node_id=known.node_id, **{k: v for k, v in more.items() if k in kind.__struct_fields__})
    h.ask(node, node_stream(known.node_id), wish)


def change_client(h: History, n: int) -> None:
    client_id = CLIENTS[n % 2]
    shares = client.Shares(
        guarantee_percent=(0, 25)[n // 5 % 2], limit_percent=(100, 50, 25)[n // 2 % 3], max_tasks=(None, 2)[n // 6 % 2],
        borrow=bool(n // 3 % 4), borrow_percent=(100, 50)[n // 7 % 2], lend=bool(n // 11 % 3),
    )  # fmt: skip
    wishes = (
        client.RegisterClient(client_id=client_id, shares=shares),
        client.ChangeShares(client_id=client_id, shares=shares),
        client.SuspendClient(client_id=client_id),
        client.ReinstateClient(client_id=client_id),
    )
    h.ask(client, client_stream(client_id), wishes[n // 12 % 4])


def submit(h: History, n: int) -> None:
    """A workflow of one to three jobs in a row, the first of them perhaps after a job of another workflow."""
    number = sum(isinstance(state, workflow.Workflow) for state in h.states.values())
    jobs = tuple(f"job-{number}{letter}" for letter in "abc"[: n % 3 + 1])
    wish = workflow.SubmitWorkflow(workflow_id=f"wf-{number}", name="w", client_id=CLIENTS[n % 2], jobs=jobs)
    earlier = h.pick(job.Job, n)
    before = earlier.spec.job_id if earlier is not None and n // 3 % 4 == 0 and not earlier.ended else None
    h.ask(workflow, wish.workflow_id, wish)
    for k, job_id in enumerate(jobs):
        wanted = spec(
            job_id,
            requirement=SHAPES[(n + k) % len(SHAPES)],
            tasks=("0", "1-3", "1-5", "0,7")[n // 5 % 4],
            client_id=wish.client_id,
            workflow_id=wish.workflow_id,
            priority=list(Priority)[n // 2 % 4],
            retries=n % 3,
            progressive=Progressive(every=2, approve=True) if n // 7 % 5 == 0 and n // 5 % 4 == 2 else None,
        )
        h.ask(job, job_id, c.SubmitJob(spec=wanted, held=n % 11 == 0, after=(before,) if before else ()))
        if before:
            edge = dependency.DeclareDependency(predecessor_id=before, successor_id=job_id)
            h.ask(dependency, edge.dependency_id, edge)
        before = job_id


WISHES: tuple[tuple[type[Any], Callable[[job.Job], object]], ...] = (
    (c.HoldJob, lambda known: not known.ended),
    (c.UnholdJob, lambda known: known.held),
    (c.PauseJob, lambda known: not known.ended),
    (c.ResumeJob, lambda known: known.paused),
    (c.RequeueTasks, lambda known: known.live),
    (c.UnqueueJob, lambda known: known.queued),
    (c.CancelJob, lambda known: not known.ended),
    (c.RetryJob, lambda known: known.ended in (JobStatus.FAILED, JobStatus.CANCELLED)),
    (c.RetryJob, lambda known: known.ended),
    (c.ApproveJob, lambda known: known.gated),
)
"""What can be asked of a job, and of which jobs it is worth asking; every tenth time any job is asked all the same."""


def grow(h: History, n: int) -> None:
    """A workflow that has not ended gets one more job."""
    known = h.pick(workflow.Workflow, n, lambda state: not state.ended)
    if known is not None:
        job_id = f"{known.jobs[0]}-{n}"
        h.ask(workflow, known.workflow_id, workflow.AddWorkflowJob(workflow_id=known.workflow_id, job_id=job_id))
        wanted = spec(job_id, client_id=known.client_id, workflow_id=known.workflow_id)
        h.ask(job, job_id, c.SubmitJob(spec=wanted))


def change_job(h: History, n: int) -> None:
    kind, sensible = WISHES[n // 7 % len(WISHES)]
    known = h.pick(job.Job, n, sensible if n % 10 else None)
    if known is not None:
        why = {"why": "w"} if "why" in kind.__struct_fields__ else {}
        h.of_job(kind, known.spec.job_id, **why)
    pending = h.pick(job.Job, n, lambda known: not known.queued and not known.ended)
    if pending is not None:
        h.queue_if_free(pending.spec.job_id)


def change_importance(h: History, n: int) -> None:
    known = h.pick(job.Job, n)
    if known is not None:
        h.of_job(c.PrioritizeJob, known.spec.job_id, priority=list(Priority)[n // 3 % 4])
        h.of_job(c.SetDeadline, known.spec.job_id, deadline_ms=h.now_ms + n)


def run_cycle(h: History, n: int) -> None:
    """Plans, places what the plan says, and records why the rest waits."""
    made = plan(h.farm, h.farm.policies, h.now_ms)
    check_room(h, made)
    check_order(h, made)
    for place in made.decisions:
        fields = {"placements": place.placements, "reason": place.reason}
        assert h.of_job(c.PlaceTasks, place.job_id, **fields), f"the job refused {place}"
    for other in made.others:
        if isinstance(other, c.JobCommand):
            assert h.ask(job, other.job_id, other), f"the job refused {other}"
    stream = cycle_stream(h.now_ms)
    keyframe = stream != h.farm.cycle_day
    present = {blocked.segment for blocked in made.passed_over}
    cleared = () if keyframe else tuple(sorted(h.farm.blocked.keys() - present))
    if made.passed_over or cleared:
        fact = CycleDecided(
            at_ms=h.now_ms, position=made.position, blocked=made.passed_over, cleared=cleared, keyframe=keyframe
        )
        h.write(stream, fact)


def check_room(h: History, made: Plan) -> None:
    """A plan takes from each node no more than is free there, and only from nodes that take work."""
    free = {node_id: h.farm.index.free[number] for node_id, number in h.farm.index.numbers.items()}
    for job_id, tasks, nodes in placements(made):
        for node_id, slots in nodes:
            assert h.farm.nodes[node_id].takes_work, f"{node_id} takes no work\n{h}"
            taken = h.farm.jobs[job_id].spec.requirement.resources
            for name, amount in taken.items():
                left = dict(free[node_id].items()).get(name, 0)
                assert left >= amount * slots * size(tasks), f"{node_id} has not enough {name}\n{h}"
            free[node_id] = free[node_id].minus(taken, slots * size(tasks))


def check_order(h: History, made: Plan) -> None:
    """No job starts before all that it waits for is satisfied or bypassed, however long ago that was declared."""
    edges = [state for state in h.states.values() if isinstance(state, dependency.Dependency) and state.blocks]
    waiting = {edge.successor_id for edge in edges}
    assert not waiting & {place.job_id for place in made.decisions}, str(h)


def run_attempts(h: History, n: int) -> None:
    """Starts, stops or ends some attempts of a job, or lets one leave a checkpoint."""
    known = h.pick(job.Job, n, lambda state: state.live)
    if known is None:
        return
    job_id, numbers = known.spec.job_id, sorted(known.live)[: (1, 2, 9)[n // 3 % 3]]
    match n // 9 % 8:
        case 0:
            h.of_job(c.ReportStarted, job_id, attempts=tuple(numbers))
        case 1:
            h.of_job(c.StopAttempts, job_id, attempts=tuple(numbers), cause=list(StopCause)[n % 3])
        case 2:
            leave_checkpoint(h, job_id, numbers[0], n)
        case _:
            end_attempts(h, job_id, numbers, (None, None, None, FailureClass.EXIT)[n // 2 % 4])


def end_attempts(h: History, job_id: str, numbers: Iterable[int], failure: FailureClass | None) -> None:
    live = h.states[job_id].live
    h.of_job(c.ReportEnded, job_id, ends=tuple(AttemptEnd(k, live[k].task, failure=failure) for k in numbers))


def leave_checkpoint(h: History, job_id: str, number: int, n: int) -> None:
    name = f"c-{job_id}-{n}"
    where = {"checkpoint_id": name, "job_id": job_id, "attempt": number, "location": "/c"}
    take = checkpoint.TakeCheckpoint(task=0, size_bytes=1, sha256="", **where)
    h.ask(checkpoint, name, take)
    h.ask(checkpoint, name, checkpoint.VerifyCheckpoint(checkpoint_id=name, problem=("", "gone")[n % 2]))
    h.ask(checkpoint, name, checkpoint.RestoreCheckpoint(checkpoint_id=name, attempt=number))
    h.ask(checkpoint, name, checkpoint.DiscardCheckpoint(checkpoint_id=name))
    h.ask(job, job_id, c.NoteCheckpoint(**where))
    h.of_job(c.ReportProgress, job_id, attempt=number, percent=n % 101)
    h.of_job(c.ReportPartial, job_id, attempt=number, path="/p", quality=n % 101)


def adopt_policies(h: History, n: int) -> None:
    order, backfill = ("priority", "fifo")[n % 2], ("greedy", "none")[n // 2 % 2]
    energy = ("performance", "efficiency", "balanced")[n // 4 % 3]
    lending: dict[str, Any] = {"sharing": {"reclaim": ("wait", "preempt")[n // 7 % 2], "half_life_h": 1.0 + n % 2}}
    policies = Policies(
        version=n, order=order, backfill=backfill, energy=energy,
        sharing=("none", "lending", "lending")[n // 5 % 3], parameters=lending if n // 5 % 3 else {},
    )  # fmt: skip
    h.write(POLICY_STREAM, PoliciesAdopted(at_ms=h.now_ms, policies=policies))
    if n % 2:
        undone = CommandUndone(at_ms=h.now_ms, command_id=f"cmd-{n}", actor="user:ada", changes=1)
        h.write(undo_stream(h.now_ms), undone)


def observe(h: History, n: int) -> None:
    name = observed.external_stream("job", f"j{n % 3}")
    changes, forgotten = {("status", "colour")[n % 2]: n}, ("status",) if n % 5 == 0 else ()
    h.ask(observed, name, observed.Observe(stream_id=name, what="job", changes=changes, forgotten=forgotten))


def bypass_or_archive(h: History, n: int) -> None:
    edge = h.pick(dependency.Dependency, n, lambda state: state.blocks)
    ended = h.pick(workflow.Workflow, n, lambda state: state.ended)
    if n % 2 and edge is not None:
        h.ask(dependency, edge.dependency_id, dependency.BypassDependency(dependency_id=edge.dependency_id))
    elif ended is not None:
        h.ask(workflow, ended.workflow_id, workflow.ArchiveWorkflow(workflow_id=ended.workflow_id))


def look_ahead(h: History, n: int) -> None:
    """Some of the forecasts that are due, and the scores of all whose job has ended."""
    rows = tuple(forecast_ends(h.farm, h.farm.policies, h.now_ms).values())[n % 2 :]
    if rows:
        h.write(forecast_stream(h.now_ms), ForecastsMade(at_ms=h.now_ms, rows=rows))
    standings = [(standing, h.states[job_id]) for job_id, standing in h.farm.promises.items()]
    scores = tuple(score(standing, state) for standing, state in standings if state.ended is not None)
    if scores:
        h.write(forecast_stream(h.now_ms), ForecastsScored(at_ms=h.now_ms, rows=scores))


def book(h: History, n: int) -> None:
    """Nodes are set aside, once or again and again; windows begin and end, move, or are taken back."""
    known = h.pick(reservation.Reservation, n, lambda state: not state.is_over)
    if known is None or n % 3 == 0:
        some = h.pick(node.Node, n)
        start_ms = h.now_ms + (n % 5 - 1) * SECOND
        wish = reservation.MakeReservation(
            reservation_id=f"resv-{n}",
            owner=reservation.Owner(reservation.OwnerKind.CLIENT, CLIENTS[n // 5 % 2])
            if n % 2
            else reservation.MAINTENANCE,
            window=TimeRange(start_ms, start_ms + 10 * SECOND),
            asked=reservation.Capacity(nodes=(some.node_id,)),
            repeat=(None, reservation.Repetition(20 * SECOND))[n // 7 % 2],
        )
        h.ask(reservation, wish.reservation_id, reservation.SetAside(wish=wish, nodes=(some.node_id,)))
        return
    key = known.reservation_id
    wishes = (
        reservation.ActivateReservation(reservation_id=key, occurrence=known.occurrence),
        reservation.EndReservation(reservation_id=key, occurrence=known.occurrence),
        reservation.ChangeReservation(reservation_id=key, end_ms=h.now_ms + 5 * SECOND),
        reservation.CancelReservation(reservation_id=key),
    )
    h.ask(reservation, key, wishes[n // 3 % 4])


def let_work_make_way(h: History, n: int) -> None:
    """From now on, until other policies are adopted, running work makes way for what comes before it."""
    mode = ("requeue", "suspend", "checkpoint")[n % 3]
    policies = Policies(version=n, preemption=mode, parameters={"preemption": {"cool_down_s": 1}})
    h.write(POLICY_STREAM, PoliciesAdopted(at_ms=h.now_ms, policies=policies))


def protect(h: History, n: int) -> None:
    """A job or a client gets another contract about interruption."""
    later = Protection(until_ms=h.now_ms + n % 9, after_checkpoint=True)
    contract = (None, Protection(), Protection(never=True), later)
    known = h.pick(job.Job, n, lambda state: not state.ended)
    if known is not None:
        h.of_job(c.ProtectJob, known.spec.job_id, protection=contract[n // 2 % 4])
    client_id = CLIENTS[n % 2]
    wish = client.ProtectClient(client_id=client_id, protection=contract[n // 3 % 4])
    h.ask(client, client_stream(client_id), wish)


def limit_to_partition(h: History, n: int) -> None:
    """A job that may use nodes of a partition only, whether there is one or not."""
    job_id, workflow_id, client_id = f"job-p{n}", f"wf-p{n}", CLIENTS[n % 2]
    wish = workflow.SubmitWorkflow(workflow_id=workflow_id, name="w", client_id=client_id, jobs=(job_id,))
    if workflow_id not in h.states and h.ask(workflow, workflow_id, wish):
        fields = {"client_id": client_id, "workflow_id": workflow_id, "tasks": ("0", "1-3")[n % 3 % 2]}
        wanted = spec(job_id, requirement=replace(need(1), partition="p"), **fields)
        h.ask(job, job_id, c.SubmitJob(spec=wanted))


def change_partition(h: History, n: int) -> None:
    """A partition is defined, changed, or removed if no job that may still run was limited to it."""
    terms = partition.Terms(
        nodes=(("n0",), ("n0", "n1"), ("n1", "n4"))[n % 3],
        attributes=(having("os", "linux"),) if n // 3 % 2 else (),
        max_tasks=(None, 2)[n // 6 % 2],
        limit_percent=(100, 50)[n // 12 % 2],
    )
    kind = (partition.DefinePartition, partition.ChangePartition, partition.RemovePartition)[n // 24 % 3]
    used = any(each.spec.requirement.partition for each in h.farm.jobs.values())
    if not (used and kind is partition.RemovePartition):
        fields = {} if kind is partition.RemovePartition else {"terms": terms}
        h.ask(partition, partition.partition_stream("p"), kind(partition="p", **fields))


Move = Callable[[History, int], None]
OFTEN: tuple[Move, ...] = (run_cycle, run_attempts, run_attempts, submit)
NOW_AND_THEN: tuple[Move, ...] = (change_job, change_job, change_node, time_passes, bypass_or_archive)
RARELY: tuple[Move, ...] = (
    add_node, grow, change_client, change_importance, adopt_policies, change_partition, limit_to_partition, observe,
    look_ahead,
)  # fmt: skip
MOVES: tuple[Move, ...] = (*OFTEN * 4, *NOW_AND_THEN * 2, *RARELY, book, protect, let_work_make_way, let_work_make_way)


def made_by(steps: Iterable[tuple[Move, int]]) -> History:
    """The history that some moves make, on a farm that has two nodes to begin with."""
    history = History()
    add_node(history, 0)
    add_node(history, 1)
    for move, number in steps:
        move(history, number)
    return history


def random_moves(seed: int, count: int) -> list[tuple[Move, int]]:
    """Moves as a seeded generator picks them."""
    rng = random.Random(seed)
    return [(rng.choice(MOVES), rng.randrange(10**6)) for _ in range(count)]


@st.composite
def histories(draw: st.DrawFn, count: int = 60, without: tuple[Move, ...] = ()) -> History:
    """Random histories with their farms; a 0 drops a move, so that those that do not matter shrink away."""
    steps = [step for step in random_moves(draw(st.integers(0, 2**32)), count) if step[0] not in without]
    count = len(steps)
    kept = draw(st.lists(st.integers(0, 9), min_size=count, max_size=count))
    return made_by(step for step, keep in zip(steps, kept, strict=True) if keep)


def wind_down(h: History) -> None:
    """Ends everything that lives: every job and reservation is cancelled and every attempt gone."""
    for state in list(h.states.values()):
        if isinstance(state, reservation.Reservation):
            key = state.reservation_id
            h.ask(reservation, key, reservation.CancelReservation(reservation_id=key))
    for state in list(h.states.values()):
        if isinstance(state, job.Job):
            h.of_job(c.CancelJob, state.spec.job_id)
    for state in list(h.states.values()):
        if isinstance(state, job.Job) and state.live:
            end_attempts(h, state.spec.job_id, state.live, FailureClass.SIGNAL)
