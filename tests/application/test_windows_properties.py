"""Windows under random commands, failures and time: kept to the moment, whatever else happens."""

from random import Random
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from application.commands import AdoptPolicies
from application.simulation.engine import Arrival
from domain import errors
from domain.cycle import CycleDecided
from domain.job import commands as c
from domain.job import events as e
from domain.job.values import Protection
from domain.messages import Command
from domain.node import BringOnline, DrainNode, LoseNode, NodeStatus, UndrainNode
from domain.policies import Policies
from domain.reservation import (
    MAINTENANCE,
    CancelReservation,
    Capacity,
    ChangeReservation,
    EndReservation,
    MakeReservation,
    Owner,
    OwnerKind,
    Repetition,
)
from domain.time_range import TimeRange
from tests.application.booked import BookedFarm
from tests.builders import SECOND, spec

MINUTE = 60 * SECOND
OWNERS = (MAINTENANCE, MAINTENANCE, Owner(OwnerKind.CLIENT, "show"), Owner(OwnerKind.CLIENT, "default"))
BACKFILLS = ("greedy", "none", "easy", "conservative")
minutes = st.integers(0, 40)


class Windows(RuleBasedStateMachine):
    """A farm of three nodes; whoever watches it finds no window broken and no difference between replay and life."""

    def __init__(self) -> None:
        super().__init__()
        self.farm = BookedFarm(nodes=3)
        self.jobs = self.reservations = 0

    def ask(self, *commands: Command) -> None:
        """What is refused changes nothing."""
        try:
            self.farm.ask(*commands)
        except errors.TaskSchedulerError:
            return

    @initialize(backfill=st.sampled_from(BACKFILLS))
    def policies(self, backfill: str) -> None:
        self.ask(AdoptPolicies(policies=Policies(order="fifo", backfill=backfill)))

    @rule(
        cores=st.sampled_from((1, 2, 4)),
        walltime=st.none() | st.integers(1, 60),
        share=st.floats(0.1, 1.0),
        checkpoints=st.booleans(),
        protection=st.sampled_from((None, None, None, Protection(never=True))),
        grace=st.sampled_from((0, 30)),
        show=st.booleans(),
        gang=st.booleans(),
        passed=st.sampled_from((0, 1, 5)),
    )
    def submit(
        self,
        cores: int,
        walltime: int | None,
        share: float,
        checkpoints: bool,
        protection: Protection | None,
        grace: int,
        show: bool,
        gang: bool,
        passed: int,
    ) -> None:
        self.jobs += 1
        job_id = f"job-{self.jobs}"
        self.farm.runs.run_ms[job_id] = round((walltime or 20) * MINUTE * share)
        fields: dict[str, Any] = {"walltime_ms": None if walltime is None else walltime * MINUTE, "tasks": "0-1"}
        wanted = spec(
            job_id,
            cores,
            client_id="show" if show else "default",
            checkpoints=checkpoints,
            protection=protection,
            grace_ms=grace * SECOND,
            **fields,
        )
        if gang:
            slots = wanted.requirement.__class__(wanted.requirement.resources, 2, True)
            wanted = wanted.__class__(
                **{n: getattr(wanted, n) for n in wanted.__struct_fields__} | {"requirement": slots}
            )
        self.ask(c.SubmitJob(spec=wanted))
        self.farm.pass_ms(passed * MINUTE)

    @rule(
        in_minutes=minutes,
        lasts=st.integers(1, 20),
        owner=st.sampled_from(OWNERS),
        nodes=st.sets(st.sampled_from(("n1", "n2", "n3")), min_size=1),
        count=st.none() | st.just(1),
        repeat=st.none()
        | st.builds(Repetition, st.integers(20, 60).map(MINUTE.__mul__), st.none() | st.integers(1, 4)),
        force=st.booleans(),
    )
    def book(
        self,
        in_minutes: int,
        lasts: int,
        owner: Owner,
        nodes: set[str],
        count: int | None,
        repeat: Repetition | None,
        force: bool,
    ) -> None:
        self.reservations += 1
        start_ms = self.farm.clock.now_ms() + in_minutes * MINUTE
        self.ask(
            MakeReservation(
                reservation_id=f"resv-{self.reservations}",
                owner=owner,
                window=TimeRange(start_ms, start_ms + lasts * MINUTE),
                asked=Capacity(nodes=tuple(sorted(nodes)), count=count),
                repeat=repeat,
                force=force,
            )
        )

    @rule(number=st.integers(1, 5), how=st.sampled_from((CancelReservation, EndReservation)))
    def stop(self, number: int, how: type[Any]) -> None:
        self.ask(how(reservation_id=f"resv-{number}"))

    @rule(number=st.integers(1, 5), later=minutes, force=st.booleans())
    def move(self, number: int, later: int, force: bool) -> None:
        end_ms = self.farm.clock.now_ms() + later * MINUTE
        self.ask(ChangeReservation(reservation_id=f"resv-{number}", end_ms=end_ms, force=force))

    @rule(
        node_id=st.sampled_from(("n1", "n2", "n3")),
        kind=st.sampled_from((LoseNode, BringOnline, DrainNode, UndrainNode)),
    )
    def shake(self, node_id: str, kind: type[Any]) -> None:
        why = {"why": "w"} if kind is LoseNode else {}
        self.ask(kind(node_id=node_id, **why))

    @rule(
        number=st.integers(1, 8), kind=st.sampled_from((c.PauseJob, c.ResumeJob, c.HoldJob, c.UnholdJob, c.CancelJob))
    )
    def change(self, number: int, kind: type[Any]) -> None:
        self.ask(kind(job_id=f"job-{number}"))

    @rule(passed=minutes)
    def time_passes(self, passed: int) -> None:
        self.farm.pass_ms(passed * MINUTE)

    @rule(passed=st.integers(10, 200))
    def much_time_passes(self, passed: int) -> None:
        self.farm.pass_ms(passed * MINUTE)

    @invariant()
    def nothing_that_time_brings_is_refused(self) -> None:
        assert not [each for each in self.farm.refusals if not isinstance(each, errors.NotFound)]

    @invariant()
    def windows_are_kept(self) -> None:
        self.farm.check()

    @invariant()
    def nothing_is_out_of_service_for_what_is_over(self) -> None:
        for node in self.farm.farm.nodes.values():
            if node.status is NodeStatus.MAINTENANCE:
                assert node.reservation_id in self.farm.farm.reservations, node


Windows.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestWindows = Windows.TestCase


# -- promises --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backfill", ["easy", "conservative"])
def test_promises_made_with_windows_known_are_kept(backfill: str) -> None:
    """Nobody who was promised room starts later, as long as nothing new is booked, submitted or lost."""
    promised = 0
    for seed in range(150):
        rng = Random(f"{backfill} {seed}")
        farm = BookedFarm(nodes=rng.choice((2, 3)))
        farm.ask(AdoptPolicies(policies=Policies(order="fifo", backfill=backfill)))
        for number in range(rng.randint(1, 3)):
            nodes = rng.sample(farm.node_ids, rng.randint(1, len(farm.node_ids)))
            try:
                farm.book(
                    *nodes,
                    in_ms=rng.randint(0, 60) * MINUTE,
                    lasts_ms=rng.randint(1, 30) * MINUTE,
                    owner=rng.choice(OWNERS),
                    repeat=rng.choice((None, Repetition(90 * MINUTE, times=4), Repetition(150 * MINUTE))),
                    reservation_id=f"resv-{number}",
                )
            except errors.ReservationConflict:
                continue
        jobs = []
        for number in range(rng.randint(4, 12)):
            walltime_ms = rng.randint(1, 60) * MINUTE
            fields: dict[str, Any] = {"client_id": rng.choice(("show", "default")), "walltime_ms": walltime_ms}
            job_id = f"job-{number}"
            farm.runs.run_ms[job_id] = round(walltime_ms * rng.uniform(0.1, 1))
            jobs.append(c.SubmitJob(spec=spec(job_id, rng.choice((1, 2, 3, 4)), grace_ms=0, **fields)))
        farm.run(Arrival(farm.clock.now_ms(), tuple(jobs)))
        promised += check_promises(farm)
        farm.check()
    assert promised > 150


def check_promises(farm: BookedFarm) -> int:
    """Each promise that was recorded, held against the start of its job."""
    events = [recorded.event for recorded in farm.log.read(0, 100_000)]
    starts: dict[str, int] = {}
    for event in events:
        if isinstance(event, e.TasksPlaced):
            starts.setdefault(event.job_id, event.at_ms)
    count = 0
    for event in events:
        if isinstance(event, CycleDecided) and event.reserved:
            kept = event.reserved[0]
            count += 1
            assert starts.get(kept.job_id, 1 << 62) <= kept.start_ms, (kept, starts.get(kept.job_id))
    return count
