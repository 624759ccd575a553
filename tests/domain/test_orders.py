"""Orders: who is looked at first, by formulas worked out by hand."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

import domain.policies.builtin  # noqa: F401  (registers the built-in policies)
from domain.errors import PolicyInvalid
from domain.farm import Farm
from domain.job.values import Attempt, Job, Priority
from domain.policies import FAMILIES, Context, Made, Order, OrderKey, Policies, made
from domain.policies.order import LAST, area, f1, f2, f3, f4, processors, size_share, unicep, wfp3
from tests import schedules
from tests.builders import NOW, client, farm, job, need, node

SECOND, HOUR, DAY = 1_000, 3_600_000, 86_400_000
NAMES = (
    "fifo", "fcfs", "priority", "edf", "slack", "sjf", "saf", "wfp3", "unicep", "unicef", "f1", "f2", "f3", "f4",
    "multifactor",
)  # fmt: skip
EMPTY = farm([node(cores=16)])


def key(order: str, each: Job, now_ms: int = NOW, of: Farm = EMPTY, **parameters: Any) -> OrderKey:
    """The place of a job in a queue."""
    context = Context(of, made(Policies(order=order, parameters={"order": parameters})), now_ms)
    return context.made.order.key(each, context)


def batch(requested_s: int | None = 100, cores: float = 1, wait_s: int = 0, **fields: Any) -> Job:
    """A job that asked for so many seconds and has waited for so many."""
    walltime_ms = None if requested_s is None else requested_s * SECOND
    return due(job("job-1", cores, walltime_ms=walltime_ms, submitted_ms=NOW - wait_s * SECOND, **fields))


def due(each: Job) -> Job:
    """A job with the deadline that it was submitted with."""
    return replace(each, deadline_ms=each.spec.deadline_ms)


# -- the scores, from numbers ----------------------------------------------------------------------------------------


def test_wfp3_weighs_the_third_power_of_the_relative_wait_by_processors() -> None:
    assert wfp3(200, 100, 4) == -32  # -(200 / 100)³ × 4 = -8 × 4
    assert wfp3(50, 100, 4) == -0.5  # -(1/2)³ × 4
    assert wfp3(0, 100, 4) == 0


def test_unicep_divides_the_relative_wait_by_the_logarithm_of_processors() -> None:
    assert unicep(200, 100, 4) == -1  # -200 / (2 × 100)
    assert unicep(600, 100, 8) == -2  # -600 / (3 × 100)
    assert unicep(1, 100, 1) == -1 / (1e-9 * 100)  # log₂ 1 = 0, so 10⁻⁹ takes its place
    assert unicep(1, 100, 0.5) == unicep(1, 100, 1)


def test_the_fitted_scores_weigh_size_and_submit_time() -> None:
    # r = 100: log₁₀ 2, √ 10; n = 4: √ 2; s = 1000: log₁₀ 3
    assert f1(100, 4, 1_000) == 2 * 4 + 870 * 3 == 2_618
    assert f2(100, 4, 1_000) == 10 * 4 + 25_600 * 3 == 76_840
    assert f3(100, 4, 1_000) == 100 * 4 + 6_860_000 * 3 == 20_580_400
    assert f4(100, 4, 1_000) == 100 * 2 + 530_000 * 3 == 1_590_200


@pytest.mark.parametrize("submit_s", [0, -7])
def test_what_has_no_logarithm_counts_as_a_tenth(submit_s: float) -> None:
    assert f1(100, 4, submit_s) == 8 - 870  # log₁₀ 0.1 = -1
    assert f2(100, 4, submit_s) == 40 - 25_600
    assert f3(100, 4, submit_s) == 400 - 6_860_000
    assert f4(100, 4, submit_s) == 200 - 530_000


def test_the_area_is_time_and_processors_multiplied() -> None:
    assert area(100_000, 4) == 400_000


def test_processors_are_those_of_all_slots_whole_where_possible_and_never_none() -> None:
    assert processors(need(4)) == 4
    assert processors(need(2, slots=3)) == 6
    assert isinstance(processors(need(2, slots=3)), int)
    assert processors(need(0.5, slots=2)) == 1
    assert processors(need(0.25)) == 0.25
    assert processors(need(0, gpus=1)) == 1  # it holds a GPU for itself


def test_a_job_takes_a_part_of_the_farm_and_at_most_all_of_it() -> None:
    assert size_share(4, 16) == 0.25
    assert size_share(32, 16) == size_share(1, 0) == 1.0


times = st.integers(0, 10**8)
whole = st.integers(1, 10**5)


@given(st.sampled_from(("sjf", "saf", "wfp3", "unicep", "f1", "f2", "f3", "f4", "edf", "slack", "fifo")), st.data())
def test_every_score_is_the_oracle_s_to_the_last_bit(name: str, data: st.DataObject) -> None:
    submit, wait, requested, cores = (data.draw(each) for each in (times, times, whole, whole))
    deadline = data.draw(st.none() | times)
    plain = schedules.Job(1, submit, 1, cores, requested, deadline)
    theirs = schedules.ORDERS[name](plain, submit + wait)
    epoch_ms = NOW // SECOND * SECOND
    ours = key(
        name,
        replace(
            job("job-1", cores, walltime_ms=requested * SECOND, submitted_ms=epoch_ms + submit * SECOND),
            deadline_ms=None if deadline is None else epoch_ms + deadline * SECOND,
        ),
        epoch_ms + (submit + wait) * SECOND,
        **({"origin_ms": epoch_ms} if name in ("f1", "f2", "f3", "f4") else {}),
    )
    if name in ("sjf", "saf"):
        assert ours == (theirs * SECOND,)
    elif name == "edf":
        assert ours == (LAST if deadline is None else (epoch_ms + theirs * SECOND,))
    elif name == "slack":  # the latest start: the slack, and now, which is the same for all
        assert ours == (LAST if deadline is None else (theirs * SECOND + epoch_ms + (submit + wait) * SECOND,))
    else:
        assert ours == (() if name == "fifo" else (theirs,))


# -- the scores, of jobs ---------------------------------------------------------------------------------------------


def test_scores_read_jobs_in_seconds_and_processors() -> None:
    gang = job("job-1", requirement=need(1, slots=4), walltime_ms=100_000, submitted_ms=NOW - 200_000)
    assert key("wfp3", gang) == (-32,)
    assert key("unicep", gang) == key("unicef", gang) == (-1,)
    assert key("sjf", gang) == (100_000,)
    assert key("saf", gang) == (400_000,)
    origin_ms = NOW - 200_000 - 1_000_000  # submitted 1000 s after it
    assert key("f1", gang, origin_ms=origin_ms) == (2_618,)
    assert key("f2", gang, origin_ms=origin_ms) == (76_840,)
    assert key("f3", gang, origin_ms=origin_ms) == (20_580_400,)
    assert key("f4", gang, origin_ms=origin_ms) == (1_590_200,)


def test_a_wait_of_less_than_nothing_counts_as_none() -> None:
    assert key("wfp3", batch(wait_s=-9)) == (0,)


@pytest.mark.parametrize("name", ["sjf", "saf", "wfp3", "unicep", "f1", "f2", "f3", "f4"])
def test_jobs_of_unknown_run_time_come_last(name: str) -> None:
    assert key(name, batch(None, wait_s=10**6)) == LAST
    assert key(name, batch(10**9, 10**6)) < LAST


@pytest.mark.parametrize("name", ["edf", "slack"])
def test_jobs_without_a_deadline_come_last(name: str) -> None:
    assert key(name, batch()) == LAST
    assert key(name, batch(deadline_ms=NOW + 10**12)) < LAST


def test_the_earliest_deadline_in_force_comes_first() -> None:
    assert key("edf", batch(deadline_ms=NOW + 5)) < key("edf", batch(deadline_ms=NOW + 6))
    assert key("edf", replace(batch(deadline_ms=NOW), deadline_ms=NOW + 7)) == (NOW + 7,)


def test_the_least_slack_comes_first() -> None:
    soon_but_short = batch(10, deadline_ms=NOW + 50 * SECOND)  # slack 40 s
    later_but_long = batch(100, deadline_ms=NOW + 120 * SECOND)  # slack 20 s
    of_unknown_length = batch(None, deadline_ms=NOW + 30 * SECOND)  # at most 30 s
    by_slack = sorted((soon_but_short, later_but_long, of_unknown_length), key=lambda each: key("slack", each))
    assert by_slack == [later_but_long, of_unknown_length, soon_but_short]


def test_a_run_time_of_nothing_divides_as_a_millisecond() -> None:
    class Instant:
        def run_ms(self, job: Job, context: Context) -> int:
            return 0

    context = Context(EMPTY, Made(Policies(order="wfp3")), NOW)
    context.made.estimate = Instant()
    assert context.made.order.key(batch(wait_s=1), context) == (-(1_000.0**3),)


# -- multifactor -----------------------------------------------------------------------------------------------------

NO_WEIGHTS = dict.fromkeys(("age", "size", "fair_share", "priority", "deadline"), 0)


@pytest.mark.parametrize(
    ("factor", "each", "parameters", "expected"),
    [
        ("age", batch(wait_s=0), {}, 0),
        ("age", batch(wait_s=7 * 86_400 // 4), {}, 0.25),
        ("age", batch(wait_s=30 * 86_400), {}, 1),
        ("age", batch(wait_s=3_600), {"max_age_ms": 2 * HOUR}, 0.5),
        ("size", batch(cores=4), {}, 0.25),
        ("size", batch(cores=99), {}, 1),
        ("size", batch(cores=4), {"favor_small": True}, 0.75),
        ("priority", batch(priority=Priority.LOW), {}, 0),
        ("priority", batch(priority=Priority.HIGH), {}, 2 / 3),
        ("priority", batch(priority=Priority.CRITICAL), {}, 1),
        ("deadline", batch(), {}, 0),
        ("deadline", batch(3_600, deadline_ms=NOW + 7 * HOUR), {}, 0.75),  # slack 6 of 24 h
        ("deadline", batch(3_600, deadline_ms=NOW - 7 * HOUR), {}, 1),
        ("deadline", batch(3_600, deadline_ms=NOW + 7 * HOUR), {"horizon_ms": 12 * HOUR}, 0.5),
        ("fair_share", batch(client_id="none"), {}, 0.5),
        ("fair_share", batch(client_id="poor"), {}, 0.75),  # half of its guarantee is missing: (1 + 0.5) / 2
        ("fair_share", batch(client_id="rich"), {}, 0.25),  # 6 of the other 12 cores: (1 - 0.5) / 2
    ],
)
def test_each_factor_lies_between_0_and_1(factor: str, each: Job, parameters: dict[str, Any], expected: float) -> None:
    clients = [client("poor", guarantee_percent=25), client("rich", guarantee_percent=25), client("none")]
    held = [(clients[0], 2), (clients[1], 10)]
    live = {1: Attempt(0, (("n1", 1),), NOW, NOW)}
    busy = [job(f"job-of-{who.client_id}", cores, client_id=who.client_id, live=live) for who, cores in held]
    here = farm([node(cores=16)], busy, clients)
    assert key("multifactor", each, of=here, **(NO_WEIGHTS | {factor: 1} | parameters)) == (-expected,)
    assert key("multifactor", each, of=here, **(NO_WEIGHTS | {factor: 4} | parameters)) == (-expected * 4,)


def test_multifactor_adds_its_factors_up() -> None:
    here = farm([node(cores=16)])
    each = batch(3_600, 4, 7 * 86_400 // 4, priority=Priority.HIGH, deadline_ms=NOW + 13 * HOUR)
    # age 1/4, size 1/4, fair share 1/2, priority 3 × 2/3, deadline 12 of 24 h: 1/2
    assert key("multifactor", each, of=here) == (-3.5,)


def test_a_step_of_priority_counts_as_much_as_the_whole_of_another_factor() -> None:
    old, new = batch(wait_s=7 * 86_400), batch(priority=Priority.HIGH)
    assert key("multifactor", old) == key("multifactor", new)


@pytest.mark.parametrize("parameters", [{"age": -1}, {"size": float("nan")}, {"max_age_ms": 0}, {"horizon_ms": 0}])
def test_weights_that_make_no_sense_are_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(PolicyInvalid, match="multifactor"):
        Policies(order="multifactor", parameters={"order": parameters}).check()


# -- what holds for all ----------------------------------------------------------------------------------------------

waits = st.integers(0, 10**7).map(lambda seconds: NOW - seconds * 100)


@st.composite
def jobs(draw: st.DrawFn, **fixed: Any) -> Job:
    """Any job; what is fixed is the same for all."""
    fields = {
        "cores": draw(st.sampled_from((0, 0.5, 1, 4, 64))),
        "priority": draw(st.sampled_from(Priority)),
        "client_id": draw(st.sampled_from("ab")),
        "walltime_ms": draw(st.none() | st.integers(1, 10**9)),
        "deadline_ms": draw(st.none() | st.integers(NOW - DAY, NOW + 2 * DAY)),
        "submitted_ms": draw(waits),
    }
    return due(job(f"job-{draw(st.integers(0, 999))}", **(fields | fixed)))


def place(each: Job) -> tuple[int, str]:
    """What breaks ties."""
    return each.submitted_ms, each.spec.job_id


def order_of(name: str, **parameters: Any) -> tuple[Order, Context]:
    """An order and a cycle in which it is used."""
    context = Context(EMPTY, made(Policies(order=name, parameters={"order": parameters})), NOW)
    return context.made.order, context


def test_every_built_in_order_is_registered() -> None:
    assert set(NAMES) <= FAMILIES["order"].keys()
    assert FAMILIES["order"]["unicef"] is FAMILIES["order"]["unicep"]
    assert FAMILIES["order"]["fcfs"] is FAMILIES["order"]["fifo"]


@given(st.sampled_from(NAMES), st.lists(jobs(), max_size=8, unique_by=lambda each: each.spec.job_id), st.randoms())
def test_an_order_is_total_and_does_not_depend_on_who_is_asked_first(name: str, queue: list[Job], chance: Any) -> None:
    order, context = order_of(name)
    shuffled = queue.copy()
    chance.shuffle(shuffled)
    in_order = sorted(queue, key=lambda each: (order.key(each, context), place(each)))
    another = Context(EMPTY, context.made, NOW)
    assert sorted(shuffled, key=lambda each: (order.key(each, another), place(each))) == in_order
    assert not any(math.isnan(number) for each in queue for number in order.key(each, context))


@given(st.sampled_from(NAMES), st.booleans(), st.data())
def test_a_monotone_key_never_falls_as_submit_time_and_id_rise(name: str, weigh: bool, data: st.DataObject) -> None:
    parameters = {"deadline": 1.0 if weigh else 0.0} if name == "multifactor" else {}
    order, context = order_of(name, **parameters)
    alike = {"cores": 4, "priority": Priority.HIGH, "client_id": "a"}
    queue = sorted(data.draw(st.lists(jobs(**alike), max_size=8)), key=place)
    keys = [order.key(each, context) for each in queue]
    assert not order.monotone or keys == sorted(keys)


@given(st.sampled_from(NAMES), jobs(), st.integers(1, 10**9))
def test_a_key_that_does_not_move_is_the_same_later(name: str, each: Job, later_ms: int) -> None:
    assert FAMILIES["order"][name].moves or key(name, each) == key(name, each, NOW + later_ms)


def test_which_orders_move_and_which_follow_submit_times() -> None:
    assert [name for name in NAMES if FAMILIES["order"][name].moves] == ["wfp3", "unicep", "unicef", "multifactor"]
    assert [name for name in NAMES if order_of(name)[0].monotone] == ["fifo", "fcfs", "priority"]
    assert order_of("multifactor", deadline=0)[0].monotone
