"""What the usage view answers: worked out by hand, walked minute by minute, and as a simulated farm's meter has it."""

import random
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from sqlalchemy import Engine

from domain import intervals, node
from domain.cycle import POLICY_STREAM, PoliciesAdopted
from domain.errors import BadInput
from domain.job import events as e
from domain.job.values import without_cores
from domain.messages import NodeId, Recorded
from domain.node import Node, NodeCapabilitiesChanged, NodeRegistered, NodeStatus
from domain.policies import Policies
from domain.resources import Requirement, Resources
from domain.rules.energy import figures_of, watts
from domain.tariff import DAY_MS, HOUR_MS, MINUTE_MS, PriceWindow, Tariff
from projections import usage, used
from projections.bill import Bill
from projections.draws import QUARTER_MS, price_per_h_of
from projections.runner import ProjectionRunner
from projections.tables import open_views
from projections.used import Used, Which, parts
from tests.application.test_energy import DAY_PRICES, Course
from tests.builders import need
from tests.history import History, histories
from tests.projections.reading import Log, folded, recorded, rows_of
from tests.projections.world import World

START = 1_790_000_100_000
"""The first millisecond of a quarter of an hour."""
HALF_PRICE = Tariff(0.5, (), 0, "EUR")
POWER = {"watts_idle": ("100",), "watts_peak": ("300",)}


def world() -> World:
    """Two nodes of 4 cores, n2 with 2 GPUs: 100 W idle, 300 W in full use, half a euro for a kilowatt-hour."""
    made = World(START)
    adopt(made, HALF_PRICE)
    for node_id, gpus, price in (("n1", 0, {}), ("n2", 2, {"price_per_h": ("1.5",)})):
        capacity = Resources(4_000, 8_192, gpus)
        made.do(node.RegisterNode(node_id=node_id, capacity=capacity, attributes=POWER | price))
        made.do(node.BringOnline(node_id=node_id))
    return made


def adopt(made: World, tariff: Tariff) -> None:
    made.record(POLICY_STREAM, PoliciesAdopted(at_ms=made.now_ms, policies=Policies(tariff=tariff)))


# -- by hand ---------------------------------------------------------------------------------------------------------


def test_those_who_hold_something_share_what_a_node_draws_beyond_its_idle_power(engine: Engine) -> None:
    made = world()
    made.submit("job-1", client_id="studio", requirement=need(1))
    made.submit("job-2", client_id="lab", requirement=Requirement(Resources(1_000, 0, 1)))
    made.place("job-1", "0", "n2")
    made.place("job-2", "0", "n2")
    made.now_ms += HOUR_MS
    made.end("job-2", 1)
    with folded(engine, made, usage.PROJECTION) as connection:
        found = used.usage(connection, START, START + 2 * HOUR_MS)
    # First hour: cores 2/4, GPUs 1/2, so half of 200 W; shares are 1/4 and 1/2. Second hour: 1/4 of 200 W.
    watt_hours = {name: each.used_j / 3_600 for name, each in found.clients.items()}
    assert watt_hours == pytest.approx({"lab": 100 * 2 / 3, "studio": 100 / 3 + 50}, abs=1e-2)
    assert found.total.used_j == pytest.approx(150 * 3_600, abs=0.1)
    assert found.total.used_cost == pytest.approx(0.150 * 0.5, abs=1e-6)
    assert found.nodes["n2"].idle_j == 200 * 3_600
    assert found.nodes["n1"] == Used(idle_j=200 * 3_600, idle_cost=0.1, on_s=7_200)
    assert found.total.idle_cost == pytest.approx(0.4 * 0.5)
    assert (found.total.on_s, found.total.node_cost, found.nodes["n2"].node_cost) == (14_400, 3.0, 3.0)
    assert found.clients["lab"].core_s == 3_600
    assert found.clients["lab"].gpu_s == 3_600
    assert found.clients["studio"].task_s == 7_200
    assert found.currencies == ("EUR",)


def test_only_nodes_that_are_off_draw_nothing(engine: Engine) -> None:
    made = world()
    steps: tuple[tuple[Any, bool], ...] = (
        (node.StopNode, True),
        (node.TakeOffline, False),
        (node.StartNode, True),
        (node.BringOnline, True),
        (node.StartMaintenance, True),
        (node.LoseNode, True),
        (node.EndMaintenance, False),
        (node.BringOnline, True),
        (node.QuarantineNode, True),
        (node.RecoverNode, True),
        (node.LoseNode, False),
    )
    more = {"why": "w", "cause": "w"}
    for kind, _ in steps:
        made.do(kind(node_id="n1", **{k: v for k, v in more.items() if k in kind.__struct_fields__}))
        made.now_ms += 60_000
    with folded(engine, made, usage.PROJECTION) as connection:
        for at, (_, is_on) in enumerate(steps):
            found = used.usage(connection, START + at * 60_000, START + (at + 1) * 60_000)
            assert found.nodes.get("n1", Used()).idle_j == (6_000 if is_on else 0), steps[at]


def test_suspended_attempts_give_their_cores_back(engine: Engine) -> None:
    made = world()
    made.submit("job-1", requirement=Requirement(Resources(4_000, 0, 1)))
    made.place("job-1", "0", "n2")
    made.start("job-1", 1)
    made.record("job-1", e.TasksSuspended(at_ms=START + 1_000, job_id="job-1", attempts=(1,)))
    made.record("job-1", e.TasksResumed(at_ms=START + 3_000, job_id="job-1", attempts=(1,)))
    with folded(engine, made, usage.PROJECTION) as connection:
        found = used.usage(connection, START, START + 4_000)
    assert found.total.core_s == 8  # 4 cores from 0 to 1 s and from 3 to 4 s
    assert found.total.used_j == 2 * 200 + 2 * 100  # its GPU is half of them
    assert found.total.gpu_s == 4


def test_each_moment_counts_with_the_tariff_in_force_then(engine: Engine) -> None:
    made = world()
    made.now_ms += 100_000
    adopt(made, Tariff(2.0, (), 60, "EUR"))
    adopt(made, Tariff(2.0, (), 60, "EUR"))
    made.now_ms += 100_000
    adopt(made, Tariff(0.0, (PriceWindow(0, 720, 1.0), PriceWindow(720, 1_440, 3.0)), 0, "USD"))
    with folded(engine, made, usage.PROJECTION) as connection:
        found = used.usage(connection, START, START + 2 * DAY_MS + 200_000)
        then = used.usage(connection, START + 1, START + 200_000)
    kilowatts = 0.2
    expected = kilowatts * (100 * 0.5 + 100 * 2.0) / 3_600 + kilowatts * 48 * 2.0
    assert found.total.idle_cost == pytest.approx(expected, rel=1e-9)
    assert (found.currencies, then.currencies) == (("EUR", "USD"), ("EUR",))


def test_a_gang_counts_its_tasks_once_and_its_cores_everywhere(engine: Engine) -> None:
    made = world()
    made.submit("job-1", requirement=need(1, slots=2, distinct=True))
    made.place("job-1", "0", "n2", "n1")
    with folded(engine, made, usage.PROJECTION) as connection:
        found = used.usage(connection, START, START + 1_000)
    assert (found.total.task_s, found.total.core_s) == (1, 2)
    assert {name: each.task_s for name, each in found.nodes.items()} == {"n1": 0, "n2": 1}


def test_one_client_and_one_node_have_answers_of_their_own(engine: Engine) -> None:
    made = world()
    made.submit("job-1", client_id="studio")
    made.submit("job-2", client_id="lab")
    made.place("job-1", "0", "n1")
    made.place("job-2", "0", "n2")
    span = (START, START + HOUR_MS)
    with folded(engine, made, usage.PROJECTION) as connection:
        of_studio = used.usage(connection, *span, Which("studio"))
        on_n2 = used.usage(connection, *span, Which(node_id="n2"))
        of_studio_on_n2 = used.usage(connection, *span, Which("studio", "n2"))
    assert (of_studio.total.used_j, of_studio.total.idle_j, [*of_studio.nodes]) == (180_000, 0, ["n1"])
    assert (on_n2.total.used_j, on_n2.total.idle_j, [*on_n2.clients]) == (180_000, 360_000, ["lab"])
    assert of_studio_on_n2.total == Used()


def test_hours_and_days_are_those_of_the_tariff(engine: Engine) -> None:
    made = World(START)
    adopt(made, Tariff(0.5, (), 90, "EUR"))
    made.do(
        node.RegisterNode(node_id="n1", capacity=Resources(4_000), attributes=POWER), node.BringOnline(node_id="n1")
    )
    with folded(engine, made, usage.PROJECTION) as connection:
        hours = parts(connection, START, START + 3 * HOUR_MS, HOUR_MS)
        days = parts(connection, START, START + 3 * DAY_MS, DAY_MS)
        whole = used.usage(connection, START, START + 3 * DAY_MS).total
        with pytest.raises(BadInput, match="ask for days"):
            parts(connection, START, START + 3_000 * HOUR_MS, HOUR_MS)
        with pytest.raises(BadInput, match=r"the time from 20.* UTC to 20.* UTC is empty"):
            used.usage(connection, START, START)
    assert [(each.from_ms + 90 * MINUTE_MS) % HOUR_MS for each in hours[1:]] == [0, 0, 0]
    assert (hours[0].from_ms, hours[-1].to_ms) == (START, START + 3 * HOUR_MS)
    assert len(days) == 4
    assert sum(each.used.idle_j for each in days) == pytest.approx(whole.idle_j)
    assert sum(each.used.idle_cost for each in days) == pytest.approx(whole.idle_cost)


def test_a_restart_in_the_middle_of_a_quarter_changes_nothing(engine: Engine) -> None:
    made = world()
    made.submit("job-1", requirement=need(2))
    made.place("job-1", "0", "n1")
    with folded(engine, made, usage.PROJECTION):
        made.now_ms += QUARTER_MS // 2
    made.submit("job-2", requirement=need(2), client_id="lab")
    made.place("job-2", "0", "n1")
    made.now_ms += 500
    made.end("job-1", 1)
    with folded(engine, made, usage.PROJECTION):
        found = rows_of(engine, [usage.PROJECTION])
    fresh = open_views("sqlite://")
    with folded(fresh, made, usage.PROJECTION):
        assert rows_of(fresh, [usage.PROJECTION]) == found


@pytest.mark.parametrize(
    ("said", "price"),
    [((), 0), (("1.5",), 1.5), (("1", "2"), 0), (("free",), 0), (("-1",), 0), (("nan",), 0), (("inf",), 0)],
)
def test_a_price_is_one_number(said: tuple[str, ...], price: float) -> None:
    assert price_per_h_of({"price_per_h": said}) == price


def test_before_the_first_tariff_nothing_costs_anything() -> None:
    bill = Bill([(1_000, HALF_PRICE), (500, DAY_PRICES)])
    assert bill.at(999) == Tariff()
    assert bill.at(1_000) == DAY_PRICES, "an adoption that comes later holds, whatever its time says"
    assert bill.price_hours(0, 1_000) == 0
    assert bill.price_hours(0, 1_000 + HOUR_MS) == pytest.approx(DAY_PRICES.price_hours(1_000, 1_000 + HOUR_MS))
    assert bill.price_hours(5, 5) == bill.price_hours(9, 5) == 0


# -- minute by minute ------------------------------------------------------------------------------------------------

TARIFFS = (HALF_PRICE, DAY_PRICES, Tariff(), Tariff(0.2, (PriceWindow(22 * 60, 6 * 60, 0.1, (0, 5)),), -90, "EUR"))


def powered(events: list[Recorded], seed: int) -> list[Recorded]:
    """The same history on nodes that say what they draw, under tariffs that change."""
    chance = random.Random(seed)
    return [recorded._replace(event=_powered(recorded.event, chance)) for recorded in events]


def _powered(event: Any, chance: random.Random) -> Any:
    if isinstance(event, NodeRegistered | NodeCapabilitiesChanged):
        said = {"watts_idle": str(chance.choice([0, 90, 350])), "watts_peak": str(chance.choice([0, 300, 1_601]))}
        said |= {"price_per_h": str(chance.choice([0, 0.25]))}
        return replace(event, attributes={name: (value,) for name, value in said.items()})
    if isinstance(event, PoliciesAdopted):
        return replace(event, policies=replace(event.policies, tariff=chance.choice(TARIFFS)))
    return event


class Walk:
    """The farm event by event, and what it draws from one to the next, a minute at a time."""

    def __init__(self, events: list[Recorded]) -> None:
        self.nodes: dict[NodeId, Node] = {}
        self.needs: dict[str, tuple[str, Resources]] = {}
        self.live: dict[tuple[str, int], tuple[Any, bool]] = {}
        self.tariff = Tariff()
        self.spans = list(self._spans(events))

    def _spans(self, events: list[Recorded]) -> Iterator[tuple[int, int, Tariff, dict[Any, float], Counter[str]]]:
        for each, following in pairwise([*events, None]):
            self._take(each)
            until_ms = each.event.at_ms + 3 * HOUR_MS if following is None else following.event.at_ms
            if until_ms > each.event.at_ms:
                yield each.event.at_ms, until_ms, self.tariff, self.draws(), self.cores()

    def _take(self, each: Recorded) -> None:
        event, stream = each.event, each.stream
        if isinstance(event, node.NodeEvent):
            self.nodes[event.node_id] = node.evolve(self.nodes.get(event.node_id), event)
        elif isinstance(event, PoliciesAdopted):
            self.tariff = event.policies.tariff
        elif isinstance(event, e.JobSubmitted):
            self.needs[stream] = event.spec.client_id, event.spec.requirement.resources
        elif isinstance(event, e.TasksPlaced):
            for placement in event.placements:
                for nth in range(intervals.size(placement.tasks)):
                    self.live[stream, placement.first_attempt + nth] = placement.nodes, False
        else:
            self._change(event, stream)

    def _change(self, event: Any, stream: str) -> None:
        if isinstance(event, e.TasksSuspended | e.TasksResumed):
            for number in event.attempts:
                self.live[stream, number] = self.live[stream, number][0], isinstance(event, e.TasksSuspended)
        elif isinstance(event, e.TasksLost):
            for number in event.attempts:
                del self.live[stream, number]
        elif isinstance(event, e.TasksSucceeded | e.TasksFailed | e.TasksStopped):
            for end in event.ends:
                del self.live[stream, end.attempt]

    def held(self) -> Iterator[tuple[NodeId, str, Resources, int]]:
        for (job_id, _), (nodes, suspended) in self.live.items():
            client_id, per_slot = self.needs[job_id]
            for node_id, slots in nodes:
                yield node_id, client_id, without_cores(per_slot) if suspended else per_slot, slots

    def cores(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for _, client_id, per_slot, slots in self.held():
            found[client_id] += per_slot.millicores * slots
        return found

    def draws(self) -> dict[Any, float]:
        """Watts by node and client; those of nobody are idle."""
        found: dict[Any, float] = {}
        for node_id, known in self.nodes.items():
            if known.status is NodeStatus.OFFLINE:
                continue
            have, free, shares = known.capacity, known.capacity, Counter[str]()
            by_client: dict[str, tuple[int, int]] = {}
            for where, client_id, per_slot, slots in self.held():
                if where == node_id:
                    free = free.minus(per_slot, slots)
                    millicores, gpus = by_client.get(client_id, (0, 0))
                    by_client[client_id] = millicores + per_slot.millicores * slots, gpus + per_slot.gpus * slots
            for client_id, (millicores, gpus) in by_client.items():
                parts = [(millicores, have.millicores), (gpus, have.gpus)]
                shares[client_id] = max(part / whole for part, whole in parts if whole)  # type: ignore[assignment]
            idle = figures_of(known).idle_watts or 0
            found[node_id, ""] = idle
            for client_id, share in shares.items():
                if share:
                    above = watts(figures_of(known), have, free) - idle
                    found[node_id, client_id] = above * share / sum(shares.values())
        return found


@settings(max_examples=settings().max_examples // 3)
@given(history=histories(), seed=st.integers(0, 99), cuts=st.lists(st.integers(0, 10**6), min_size=2, max_size=4))
def test_usage_is_what_a_walk_of_minutes_adds_up(history: History, seed: int, cuts: list[int]) -> None:
    events = powered(recorded(history), seed)
    log, engine = Log(events), open_views("sqlite://")
    ProjectionRunner(engine, log.read, log.position, [usage.PROJECTION]).catch_up()
    walk = Walk(events)
    first, last = events[0].event.at_ms - 1_000, events[-1].event.at_ms + 3 * HOUR_MS
    edges = sorted({first + (last - first) * cut // 10**6 for cut in cuts})
    with engine.connect() as connection:
        for from_ms, to_ms in pairwise(edges):
            check(used.usage(connection, from_ms, to_ms), walk, from_ms, to_ms)


@settings(max_examples=settings().max_examples // 3)
@given(history=histories(), seed=st.integers(0, 99), part_ms=st.sampled_from([HOUR_MS, DAY_MS]), cut=st.integers(1, 99))
def test_every_part_is_what_its_span_says(history: History, seed: int, part_ms: int, cut: int) -> None:
    events = powered(recorded(history), seed)
    log, engine = Log(events), open_views("sqlite://")
    ProjectionRunner(engine, log.read, log.position, [usage.PROJECTION]).catch_up()
    first, last = events[0].event.at_ms, events[-1].event.at_ms + 3 * HOUR_MS
    from_ms = first + (last - first) * cut // 100
    with engine.connect() as connection:
        found = parts(connection, from_ms, last, part_ms)
        assert [found[0].from_ms, found[-1].to_ms] == [from_ms, last]
        for each in random.Random(seed).sample(found, min(len(found), 12)):
            whole = used.usage(connection, each.from_ms, each.to_ms).total
            for name in Used.__struct_fields__:
                assert getattr(each.used, name) == pytest.approx(getattr(whole, name), abs=1e-6), name


def check(found: used.Usage, walk: Walk, from_ms: int, to_ms: int) -> None:
    joules, costs, core_s = Counter[str](), Counter[str](), Counter[str]()
    for start_ms, until_ms, tariff, draws, cores in walk.spans:
        start, until = max(start_ms, from_ms), min(until_ms, to_ms)
        if start >= until:
            continue
        price_hours = sum(tariff.price_at(at) * (to - at) / HOUR_MS for at, to in minutes(start, until))
        for (_, client_id), drawn in draws.items():
            joules[client_id] += drawn * (until - start) / 1_000  # type: ignore[assignment]
            costs[client_id] += drawn / 1_000 * price_hours  # type: ignore[assignment]
        for client_id, millicores in cores.items():
            core_s[client_id] += millicores * (until - start) / 1_000_000  # type: ignore[assignment]
    slack_j = 0.001 * len(walk.nodes) * (to_ms - from_ms) / 1_000 + 1e-6  # a milliwatt for each node
    assert found.total.idle_j == pytest.approx(joules.pop("", 0), abs=1e-3)
    assert found.total.idle_cost == pytest.approx(costs.pop("", 0), rel=1e-9, abs=1e-9)
    for client_id in joules.keys() | found.clients.keys():
        each = found.clients.get(client_id, Used())
        assert each.used_j == pytest.approx(joules[client_id], abs=slack_j)
        assert each.used_cost == pytest.approx(costs[client_id], abs=slack_j / 3_600_000 + 1e-9)
        assert each.core_s == pytest.approx(core_s[client_id])
    for sums in (found.clients.values(), found.nodes.values()):
        assert sum(each.used_j for each in sums) == pytest.approx(found.total.used_j)
        assert sum(each.used_cost for each in sums) == pytest.approx(found.total.used_cost, abs=1e-9)
        assert sum(each.task_s for each in sums) == pytest.approx(found.total.task_s)


def minutes(from_ms: int, to_ms: int) -> Iterator[tuple[int, int]]:
    """A span cut at every full minute."""
    while from_ms < to_ms:
        end_ms = min(to_ms, from_ms - from_ms % MINUTE_MS + MINUTE_MS)
        yield from_ms, end_ms
        from_ms = end_ms


@settings(max_examples=settings().max_examples // 3)
@given(history=histories(count=40), seed=st.integers(0, 99), cuts=st.randoms(use_true_random=False))
def test_random_batches_restarts_and_a_rebuild_give_the_same_rows(
    history: History, seed: int, cuts: random.Random
) -> None:
    log = Log(powered(recorded(history), seed))
    batched, at_once = open_views("sqlite://"), open_views("sqlite://")
    runner = ProjectionRunner(batched, log.read, log.position, [usage.PROJECTION])
    at = 0
    while at < len(log.events):
        size = cuts.choice((1, 1, 2, 7, 40))
        runner.fold(log.events[at : at + size])
        at += size
        if cuts.random() < 0.3:  # a restart: all memory is gone
            runner = ProjectionRunner(batched, log.read, log.position, [usage.PROJECTION])
    ProjectionRunner(at_once, log.read, log.position, [usage.PROJECTION]).catch_up()
    assert rows_of(batched, [usage.PROJECTION]) == rows_of(at_once, [usage.PROJECTION])


# -- a simulated farm ------------------------------------------------------------------------------------------------


@settings(max_examples=settings().max_examples // 4)
@given(st.integers(0, 10**6), st.sampled_from(["performance", "efficiency", "night-savings"]))
def test_a_simulated_farm_has_the_bill_that_its_meter_shows(seed: int, mode: str) -> None:
    course = Course(seed, Policies(energy=mode, tariff=DAY_PRICES))
    end_ms = course.app.farm.now_ms + 5 * HOUR_MS
    course.meter.settle(end_ms)
    engine = open_views("sqlite://")
    log = course.app.log
    ProjectionRunner(engine, log.read, log.position, [usage.PROJECTION]).catch_up()
    with engine.connect() as connection:
        found = used.usage(connection, 0, end_ms).total
    slack_j = 0.001 * len(course.app.farm.nodes) * end_ms / 1_000
    assert found.used_j + found.idle_j == pytest.approx(course.meter.joules, abs=slack_j)
    assert found.used_cost + found.idle_cost == pytest.approx(course.meter.cost, abs=slack_j / 3_600_000)
