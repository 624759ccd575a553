"""A farm in virtual time on which things are booked, and somebody who watches that the windows are kept."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from adapters.store.memory import MemoryLog
from application import farms
from application.app import Application
from application.simulation.clock import VirtualClock
from application.simulation.engine import Arrival, Simulator
from domain import errors
from domain.client import RegisterClient
from domain.farm import Farm
from domain.job import commands as c
from domain.job import events as e
from domain.job.values import Attempt, FailureClass, Job, JobSpec
from domain.messages import Command, JobId, NodeId, Recorded, ReservationId
from domain.node import BringOnline, Node, NodeMaintenanceEnded, NodeStatus, RegisterNode
from domain.reservation import (
    MAINTENANCE,
    Capacity,
    MakeReservation,
    Owner,
    Reservation,
    ReservationActivated,
    ReservationChanged,
    ReservationMade,
)
from domain.rules.conflicts import Obstacle
from domain.rules.evacuation import LEAD_MS, notice_ms
from domain.time_range import TimeRange
from tests.builders import NOW, resources, spec
from tests.contents import contents
from tests.fakes import CountedIds
from tests.window_oracle import owned, windows_of


class Runs:
    """How long attempts run: as the test says of their job, else as long as they may, else for a minute.

    What saves its state when told to leave goes on from there.
    """

    def __init__(self) -> None:
        self.run_ms: dict[JobId, int] = {}
        self._done_ms: Counter[tuple[JobId, int]] = Counter()

    def run_of(self, job: Job, attempt: Attempt, number: int) -> tuple[int, FailureClass | None]:
        whole_ms = self.run_ms.get(job.spec.job_id, job.spec.walltime_ms or 60_000)
        return whole_ms - (self._done_ms[job.spec.job_id, attempt.task] if job.spec.checkpoints else 0), None

    def see(self, recorded: Sequence[Recorded]) -> None:
        for each in recorded:
            if isinstance(each.event, e.TasksStopped):
                for end in each.event.ends:
                    if end.started_ms is not None and end.ended_ms is not None:
                        self._done_ms[each.event.job_id, end.task] += end.ended_ms - end.started_ms


class BookedFarm:
    """A simulator, what is asked of it, and the referee of its windows."""

    def __init__(self, nodes: int = 2, cores: float = 4, **policies: Any) -> None:
        self.clock = VirtualClock(NOW)
        self.log = MemoryLog()
        self.app = Application(self.log, self.clock, CountedIds())
        self.runs = Runs()
        self.app.listen(self.runs.see)
        self.refusals: list[errors.TaskSchedulerError] = []
        self.referee = WindowReferee(self.app)
        self.simulator = Simulator(
            self.app,
            self.clock,
            self.runs,
            seen=self.referee.see,
            refused=lambda commands, error: self.refusals.append(error),
        )
        self.node_ids = [f"n{number}" for number in range(1, nodes + 1)]
        self.ask(*(RegisterClient(client_id=client_id) for client_id in ("default", "show")))
        for node_id in self.node_ids:
            self.ask(RegisterNode(node_id=node_id, capacity=resources(cores)), BringOnline(node_id=node_id))

    @property
    def farm(self) -> Farm:
        return self.app.farm

    # -- asking --------------------------------------------------------------------------------------------------

    def ask(self, *commands: Command) -> None:
        """All of it, or the error that says why not; nothing else happens meanwhile."""
        self.app.handle_all(commands, "user:ada")

    def submit(self, job_id: JobId, cores: float = 4, run_ms: int | None = None, **fields: Any) -> None:
        """A job of the client `default`, unless it says otherwise."""
        given: dict[str, Any] = {"client_id": "default", "grace_ms": 0} | fields
        if run_ms is not None:
            self.runs.run_ms[job_id] = run_ms
        self.ask(c.SubmitJob(spec=spec(job_id, cores, **given)))

    def book(self, *nodes: NodeId, in_ms: int, lasts_ms: int, owner: Owner = MAINTENANCE, **fields: Any) -> None:
        """A reservation that begins in a while; of some nodes, or as `asked` says."""
        start_ms = self.clock.now_ms() + in_ms
        given: dict[str, Any] = {"reservation_id": "resv-1", "asked": Capacity(nodes=nodes)} | fields
        self.ask(MakeReservation(owner=owner, window=TimeRange(start_ms, start_ms + lasts_ms), **given))

    def pass_ms(self, lasts_ms: int) -> None:
        """Time passes, and everything happens that is due."""
        until_ms = self.clock.now_ms() + lasts_ms
        self.simulator.expect_cycle(self.clock.now_ms())
        self.simulator.expect(until_ms, (RegisterClient(client_id="show"),))  # which is so already, but keeps it going
        self.simulator.run((), goes_on=lambda at_ms: at_ms <= until_ms)
        self.clock.set(max(until_ms, self.clock.now_ms()))

    def run(self, *arrivals: Arrival) -> None:
        """Until nothing is left to happen."""
        self.simulator.expect_cycle(self.clock.now_ms())
        self.simulator.run(arrivals)

    # -- looking -------------------------------------------------------------------------------------------------

    def node(self, node_id: NodeId) -> Node:
        return self.farm.nodes[node_id]

    def times(self, kind: type[Any], **fields: object) -> list[int]:
        """When events of a kind with such fields happened, since the beginning of the story."""
        found = [r.event for r in self.log.read(0, 1_000_000) if type(r.event) is kind]
        return [
            each.at_ms - NOW for each in found if all(getattr(each, name) == value for name, value in fields.items())
        ]

    def check(self) -> None:
        """Replay is what was lived through, and every promise about windows was kept."""
        assert contents(self.farm) == contents(farms.load(self.log))
        assert not self.referee.wrong, "\n".join(self.referee.wrong)


class WindowReferee:
    """Holds every event against the windows written out one by one; it knows nothing of rules and alarms."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self.wrong: list[str] = []
        self.clean: set[ReservationId] = set()
        """Reservations against which nothing stood when they were made, in good time."""
        self.specs: dict[JobId, JobSpec] = {}

    def see(self, recorded: Sequence[Recorded]) -> None:
        for each in recorded:
            event = each.event
            if isinstance(event, e.TasksPlaced):
                self._starts(event)
            elif isinstance(event, ReservationMade):
                self._made(event)
            elif isinstance(event, ReservationChanged):
                self.clean.discard(event.reservation_id)
            elif isinstance(event, ReservationActivated):
                self._begins(event)
            elif isinstance(event, NodeMaintenanceEnded):
                self._comes_back(event)

    def _starts(self, event: e.TasksPlaced) -> None:
        """Nothing starts where it might still run when a window of others begins, unless it can be sent away before."""
        farm = self._app.farm
        job = farm.jobs.get(event.job_id)
        if job is None:
            return
        nodes = {node_id for placement in event.placements for node_id, _ in placement.nodes}
        for reservation in farm.reservations.values():
            if nodes & set(reservation.nodes) and not owned(reservation, job):
                for window in windows_of(reservation, event.at_ms):
                    if window.start_ms < event.at_ms + undisturbed_ms(job) and window.end_ms > event.at_ms:
                        self.wrong.append(f"{event} meets {window} of {reservation}")

    def _made(self, event: ReservationMade) -> None:
        farm = self._app.farm
        jobs = [farm.jobs[job_id] for node_id in event.nodes for job_id, _ in farm.attempts_on(node_id)]
        notice = max([notice_ms(job) for job in jobs], default=0)
        if not event.forced and event.window.start_ms - event.at_ms > notice:
            self.clean.add(event.reservation_id)

    def _begins(self, event: ReservationActivated) -> None:
        """All capacity is free at its start, unless a contract was made since that says otherwise."""
        farm = self._app.farm
        if event.reservation_id not in self.clean:
            return
        reservation = farm.reservations.get(event.reservation_id)
        for node_id in event.busy:
            foreign = [farm.jobs[job_id] for job_id, _ in farm.attempts_on(node_id)]
            if any(job.protection is None and not (reservation and owned(reservation, job)) for job in foreign):
                self.wrong.append(f"{event} finds {node_id} busy with {foreign}")

    def _comes_back(self, event: NodeMaintenanceEnded) -> None:
        if self._app.farm.attempts_on(event.node_id):
            self.wrong.append(f"{event}: something runs there")


def undisturbed_ms(job: Job) -> int:
    if job.spec.checkpoints and (job.protection is None or not job.protection.never):
        return job.spec.grace_ms + LEAD_MS + 1
    return 1 << 62 if job.spec.walltime_ms is None else job.spec.walltime_ms


__all__ = ["BookedFarm", "NodeStatus", "Obstacle", "Reservation"]
