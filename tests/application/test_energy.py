"""Energy modes in the cycle: who sleeps, who is woken, who waits for a cheaper hour, and what the farm draws."""

import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.store.objects import ObjectLog
from application.app import Application
from application.commands import AdoptPolicies
from application.simulation.clock import CountedIds, VirtualClock
from application.simulation.energy import EnergyMeter
from application.simulation.engine import ACTOR, Arrival, Simulator
from domain.client import RegisterClient, Shares
from domain.decisions import Reason, ReasonCode
from domain.farm import Farm
from domain.job import commands as c
from domain.job.values import Attempt, FailureClass, Job, JobStatus, Priority
from domain.messages import Command, Recorded
from domain.node import BringOnline, NodeStarting, NodeStatus, NodeStopping, RegisterNode, StopNode, TakeOffline
from domain.planning import blockers
from domain.policies import Policies
from domain.rules.energy import figures_of, watts
from domain.tariff import HOUR_MS, PriceWindow, Tariff
from tests.application.desk import Desk
from tests.application.referee import Referee
from tests.builders import need, resources, spec

MINUTE = 60_000
NOON = 12 * HOUR_MS
DAY_PRICES = Tariff(0.10, (PriceWindow(8 * 60, 20 * 60, 0.30),))
"""Cheap from eight in the evening to eight in the morning, UTC."""
POWER = {"watts_idle": ("100",), "watts_peak": ("300",), "wake_s": ("120",)}


def adopt(desk: Desk, mode: str, tariff: Tariff = DAY_PRICES, **parameters: Any) -> None:
    """Lets a mode be in force."""
    policies = Policies(energy=mode, tariff=tariff, parameters={"energy": parameters} if parameters else {})
    desk.do(AdoptPolicies(policies=policies))


def powered(desk: Desk, *node_ids: str, cores: int = 4) -> None:
    """Nodes that say what they draw."""
    for node_id in node_ids:
        register = RegisterNode(node_id=node_id, capacity=resources(cores), attributes=POWER)
        desk.do(register, BringOnline(node_id=node_id))


def switched(desk: Desk, kind: type[NodeStopping] | type[NodeStarting]) -> list[str]:
    """The nodes that were told so, in order."""
    return [recorded.event.node_id for recorded in desk.recorded() if isinstance(recorded.event, kind)]


def why(desk: Desk, job_id: str) -> list[Reason]:
    """What keeps a job waiting."""
    return list(blockers.of_job(desk.app.farm, desk.job(job_id), desk.clock.now_ms()))


# -- power down and up -----------------------------------------------------------------------------------------------


def test_a_node_with_nothing_to_do_is_powered_down_after_a_while() -> None:
    desk = Desk()
    powered(desk, "n1", "n2")
    adopt(desk, "efficiency", idle_after_s=300)
    desk.submit("job-1")
    plan = desk.cycle()
    assert plan.wake_at_ms == desk.clock.now_ms() + 5 * MINUTE
    desk.clock.advance(5 * MINUTE)
    desk.cycle()
    assert switched(desk, NodeStopping) == ["n2"], "n1 is in use"
    desk.finish("job-1")
    desk.clock.advance(4 * MINUTE)
    desk.cycle()
    assert switched(desk, NodeStopping) == ["n2"], "n1 was in use four minutes ago"
    desk.clock.advance(MINUTE)
    desk.cycle()
    assert switched(desk, NodeStopping) == ["n2", "n1"]


def test_some_nodes_stay_on_in_reserve() -> None:
    desk = Desk()
    powered(desk, "n1", "n2", "n3")
    adopt(desk, "balanced", idle_after_s=0, keep_idle=2)
    desk.cycle()
    assert switched(desk, NodeStopping) == ["n1"]


def test_sleeping_nodes_are_woken_for_work_as_many_as_it_takes() -> None:
    desk = Desk()
    powered(desk, "n1", "n2", "n3")
    adopt(desk, "efficiency", idle_after_s=0)
    desk.cycle()
    for node_id in ("n1", "n2", "n3"):
        desk.do(TakeOffline(node_id=node_id, why="powered down"))
    desk.submit("job-1", tasks="1-5", cores=1)
    desk.cycle()
    assert switched(desk, NodeStarting) == ["n1", "n2"], "five cores fit on two nodes of four"
    desk.cycle()
    assert switched(desk, NodeStarting) == ["n1", "n2"], "what comes up already counts"
    desk.do(BringOnline(node_id="n1"))
    assert [each.job_id for each in desk.cycle().decisions] == ["job-1"]


def asleep(desk: Desk, *node_ids: str, **attributes: tuple[str, ...]) -> None:
    """Nodes that were powered down."""
    for node_id in node_ids:
        register = RegisterNode(node_id=node_id, capacity=resources(4), attributes=POWER | attributes)
        desk.do(register, BringOnline(node_id=node_id), StopNode(node_id=node_id, why="nothing to do"))
        desk.do(TakeOffline(node_id=node_id, why="powered down"))


@pytest.mark.parametrize(("lend", "walltime_ms"), [(False, MINUTE), (True, None)])
def test_a_guarantee_that_nobody_uses_lets_no_farm_sleep_for_ever(lend: bool, walltime_ms: int | None) -> None:
    """What sleeps can be woken for its owner, so it counts as there when somebody else wants to start."""
    desk = Desk()
    asleep(desk, "n1", "n2")
    desk.do(RegisterClient(client_id="lab", name="lab", shares=Shares(guarantee_percent=50, lend=lend)))
    desk.do(AdoptPolicies(policies=Policies(energy="efficiency", sharing="lending")))
    desk.submit("job-1", cores=1, walltime_ms=walltime_ms)
    desk.cycle()
    assert switched(desk, NodeStarting) == ["n1"]
    desk.do(BringOnline(node_id="n1"))
    assert [each.job_id for each in desk.cycle().decisions] == ["job-1"]


def test_nobody_is_woken_whom_a_filter_keeps_the_work_off() -> None:
    desk = Desk()
    asleep(desk, "n1", dedicated=("lab",))
    asleep(desk, "n2")
    desk.do(AdoptPolicies(policies=Policies(energy="efficiency", filters=("dedicated",))))
    desk.submit("job-1", cores=1)
    desk.cycle()
    assert switched(desk, NodeStarting) == ["n2"]


def test_a_node_that_somebody_waits_for_is_not_powered_down() -> None:
    desk = Desk()
    powered(desk, "n1", "n2")
    adopt(desk, "efficiency", idle_after_s=0)
    desk.submit("job-1", cores=3)
    desk.submit("job-2", requirement=need(4, slots=2, distinct=True))
    desk.cycle()
    assert switched(desk, NodeStopping) == [], "the gang waits for both"


def test_everything_comes_up_when_nothing_shall_sleep_any_more() -> None:
    desk = Desk()
    powered(desk, "n1")
    adopt(desk, "efficiency", idle_after_s=0)
    desk.cycle()
    desk.do(TakeOffline(node_id="n1", why="powered down"))
    adopt(desk, "performance")
    desk.cycle()
    assert switched(desk, NodeStarting) == ["n1"]


# -- cheaper hours ---------------------------------------------------------------------------------------------------


def at_noon() -> Desk:
    """A farm of two nodes at twelve o'clock, eight hours before power gets cheap."""
    desk = Desk()
    desk.clock.advance(-desk.clock.now_ms() % (24 * HOUR_MS) + NOON)
    powered(desk, "n1", "n2")
    adopt(desk, "night-savings", idle_after_s=10**6)
    return desk


def test_what_is_not_urgent_waits_for_a_cheaper_hour() -> None:
    desk = at_noon()
    desk.submit("job-1", walltime_ms=HOUR_MS)
    desk.cycle()
    evening_ms = desk.clock.now_ms() + 8 * HOUR_MS
    assert why(desk, "job-1") == [Reason(ReasonCode.CHEAPER_LATER, until_ms=evening_ms)]
    desk.clock.advance(8 * HOUR_MS)
    assert [each.job_id for each in desk.cycle().decisions] == ["job-1"]


@pytest.mark.parametrize(
    ("what", "fields"),
    [
        ("urgent", {"priority": Priority.HIGH, "walltime_ms": HOUR_MS}),
        ("of unknown length", {}),
        ("due before that", {"walltime_ms": HOUR_MS, "deadline_ms": 9 * HOUR_MS}),
        ("so long that it makes no difference", {"walltime_ms": 30 * 24 * HOUR_MS}),
    ],
)
def test_what_cannot_wait_or_would_gain_nothing_starts_at_once(what: str, fields: dict[str, Any]) -> None:
    desk = at_noon()
    if "deadline_ms" in fields:
        fields = fields | {"deadline_ms": desk.clock.now_ms() + fields["deadline_ms"]}
    desk.submit("job-1", **fields)
    assert [each.job_id for each in desk.cycle().decisions] == ["job-1"], what


def test_so_much_waits_as_can_be_done_in_time() -> None:
    """Eight cores, half of which are counted on: twelve hours after eight o'clock hold 48 core-hours."""
    desk = at_noon()
    deadline_ms = desk.clock.now_ms() + 20 * HOUR_MS
    desk.submit("job-few", tasks="1-10", cores=1, walltime_ms=2 * HOUR_MS, deadline_ms=deadline_ms)
    assert desk.cycle().decisions == ()
    desk.submit("job-many", tasks="1-30", cores=1, walltime_ms=2 * HOUR_MS, deadline_ms=deadline_ms)
    assert {each.job_id for each in desk.cycle().decisions} == {"job-few"}


def test_nobody_waits_longer_than_allowed() -> None:
    desk = at_noon()
    adopt(desk, "night-savings", idle_after_s=10**6, max_delay_h=6)
    desk.submit("job-1", walltime_ms=HOUR_MS)
    assert [each.job_id for each in desk.cycle().decisions] == ["job-1"]


# -- the cap ---------------------------------------------------------------------------------------------------------


def test_the_farm_draws_no_more_than_its_cap() -> None:
    """Two nodes idle at 100 W each; each core in use draws 50 W more."""
    desk = Desk()
    powered(desk, "n1", "n2")
    adopt(desk, "performance", power_cap_watts=370)
    desk.submit("job-1", tasks="1-8", cores=1)
    desk.cycle()
    assert len(desk.job("job-1").live) == 3
    assert why(desk, "job-1") == [Reason(ReasonCode.POWER_CAP, resource="watts", needed=50, available=20)]


# -- over days -------------------------------------------------------------------------------------------------------


class Course:
    """A random farm and its work in virtual time, with everybody watching."""

    def __init__(self, seed: int, policies: Policies) -> None:
        self.random = random.Random(seed)
        clock = VirtualClock()
        self.app = Application(ObjectLog(), clock, CountedIds())
        self.meter = EnergyMeter(self.app, DAY_PRICES)
        self.cap, self.most_watts = policies.parameters.get("energy", {}).get("power_cap_watts"), 0.0
        referee = Referee()
        for listener in (referee.watch, self.meter.see, self._look):
            self.app.listen(listener)
        self.simulator = Simulator(self.app, clock, self)
        self.app.handle_all((*self._farm(), AdoptPolicies(policies=policies)), ACTOR)
        self.simulator.run(self._work())

    def run_of(self, job: Job, attempt: Attempt, number: int) -> tuple[int, FailureClass | None]:
        return (job.spec.walltime_ms or 0) * 2 // 3, None

    def _farm(self) -> Iterator[Command]:
        yield RegisterClient(client_id="show")
        for n in range(self.random.randint(1, 5)):
            yield RegisterNode(node_id=f"n{n}", capacity=resources(self.random.choice([2, 4, 8])), attributes=POWER)
            yield BringOnline(node_id=f"n{n}")

    def _work(self) -> Iterator[Arrival]:
        at_ms = 0
        for n in range(self.random.randint(1, 25)):
            at_ms += self.random.choice([0, MINUTE, HOUR_MS, 7 * HOUR_MS])
            walltime_ms = self.random.choice([3 * MINUTE, HOUR_MS, 5 * HOUR_MS])
            lead_ms = self.random.choice([None, 2 * walltime_ms, 30 * HOUR_MS])
            job = spec(
                f"job-{n}",
                cores=self.random.choice([1, 2]),
                tasks=f"0-{self.random.randint(1, 6)}",
                walltime_ms=walltime_ms,
                deadline_ms=None if lead_ms is None else at_ms + lead_ms,
                client_id="show",
            )
            yield Arrival(at_ms, (c.SubmitJob(spec=job),))

    def _look(self, recorded: list[Recorded]) -> None:
        farm = self.app.farm
        self.most_watts = max(self.most_watts, drawn(farm))
        for each in recorded:
            if isinstance(each.event, NodeStopping):
                assert not farm.placed.get(each.event.node_id), "nothing runs on a node that is powered down"


def drawn(farm: Farm) -> float:
    """What all nodes that are on draw."""
    index = farm.index
    return sum(
        watts(figures_of(node), node.capacity, index.free[index.numbers[node_id]])
        for node_id, node in farm.nodes.items()
        if node.status in (NodeStatus.ONLINE, NodeStatus.STARTING)
    )


modes = st.sampled_from(["efficiency", "balanced", "night-savings"])


@settings(max_examples=40)
@given(st.integers(0, 10**6), modes, st.sampled_from([0, 60, 1_800]))
def test_all_work_is_done_whoever_sleeps_meanwhile(seed: int, mode: str, idle_after_s: int) -> None:
    policies = Policies(energy=mode, tariff=DAY_PRICES, parameters={"energy": {"idle_after_s": idle_after_s}})
    course = Course(seed, policies)
    assert course.app.farm.jobs == {}
    assert Course(seed, Policies()).meter.joules >= 0


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(700, 1_500))
def test_a_cap_holds_at_every_instant(seed: int, cap: int) -> None:
    policies = Policies(energy="efficiency", parameters={"energy": {"power_cap_watts": cap, "idle_after_s": 600}})
    course = Course(seed, policies)
    assert course.most_watts <= max(cap, 100 * len(course.app.farm.nodes)), "nodes that are on draw their idle power"


def test_a_farm_that_sleeps_is_the_same_after_a_restart() -> None:
    desk = Desk()
    powered(desk, "n1", "n2")
    adopt(desk, "efficiency", idle_after_s=60)
    desk.submit("job-1")
    desk.run("job-1")
    desk.clock.advance(2 * MINUTE)
    desk.cycle()
    again = Farm.fold(desk.log.replay(0))
    assert again.snapshot() == desk.app.farm.snapshot() == Farm.restore(again.snapshot()).snapshot()
    assert again.asleep == desk.app.farm.asleep == {"n1", "n2"}
    assert desk.status("job-1") is JobStatus.COMPLETED
