"""The relaxation: cases worked by hand, and against everything that a small machine could do."""

from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from application.simulation.feasibility import (
    Demand,
    Feasible,
    feasible,
    first_missed,
    least_work,
    scarcest,
    surely_late,
)
from application.simulation.synthetic_farm import NodeClass, Owner, SyntheticFarm, SyntheticJob
from domain.resources import Requirement, Resources

FOUR, EIGHT = Resources(millicores=4_000), Resources(millicores=8_000, memory_mib=100)
CLASSES = (NodeClass("fast", 1, FOUR, {"render": 2.0}), NodeClass("large", 1, EIGHT, {"render": 1.0}))


def farm(*jobs: SyntheticJob) -> SyntheticFarm:
    return SyntheticFarm(CLASSES, (Owner("film", 100, 1.0),), jobs)


def due(name: str, deadline_s: int | None, *task_s: float, needs: Resources = FOUR, slots: int = 1) -> SyntheticJob:
    """A render job that arrives at second 0."""
    return SyntheticJob(name, 0, "film", "render", Requirement(needs, slots=slots), task_s, 1_000, deadline_s)


def demand(name: str, submit_ms: int, deadline_ms: int, work: int) -> Demand:
    return Demand(name, submit_ms, deadline_ms, work)


# -- one job alone -----------------------------------------------------------------------------------------------------


def test_the_longest_task_must_fit_into_the_lead_on_the_fastest_class() -> None:
    on = farm(due("a", 50, 100), due("b", 49, 100), due("c", None, 1))
    assert feasible(on) == Feasible(frozenset({"a"}), 0)


def test_only_a_class_that_can_hold_a_task_counts() -> None:
    memory = Resources(millicores=4_000, memory_mib=100)
    assert feasible(farm(due("a", 99, 100, needs=memory))).alone == frozenset()
    assert feasible(farm(due("a", 100, 100, needs=memory))).alone == {"a"}


def test_all_tasks_together_must_fit_into_the_capacity() -> None:
    # 6 × 50 s × 4 cores = 1,200 core seconds on 12 cores: 100 s
    assert feasible(farm(due("a", 100, *[100] * 6))).alone == {"a"}
    assert feasible(farm(due("a", 99, *[100] * 6))).alone == frozenset()
    assert feasible(farm(due("a", 100, *[100] * 7))).alone == frozenset()


def test_the_work_of_a_gang_counts_every_slot_of_every_resource() -> None:
    job = due("a", 100, 10, 30, needs=Resources(millicores=1_000, memory_mib=7), slots=3)
    assert least_work(farm(job), job) == {"millicores": 3_000 * 40_000, "memory_mib": 21 * 40_000}


def test_the_scarcest_resource_is_that_of_which_the_largest_part_is_needed() -> None:
    assert scarcest(farm(due("a", None, 100))) == "millicores"
    memory = Resources(millicores=1_000, memory_mib=90)
    assert scarcest(farm(due("a", None, 100), due("b", None, 100, needs=memory))) == "memory_mib"


# -- jobs that compete -------------------------------------------------------------------------------------------------


def test_jobs_that_each_could_be_on_time_compete() -> None:
    # each 600 core seconds, 50 s on 12 cores: two fit into 100 s, three do not
    two = [due(name, 100, 100, 100, 100) for name in "ab"]
    assert feasible(farm(*two)).surely_late == 0
    three = feasible(farm(*two, due("c", 100, 100, 100, 100)))
    assert (three.surely_late, three.most) == (1, 2)
    assert three.share_met({"a", "c"}) == 1.0
    assert three.share_met({"a"}) == 0.5
    assert Feasible(frozenset(), 0).share_met({"a"}) == 1.0


def test_earliest_deadline_first_interrupts_and_waits_for_arrivals() -> None:
    assert first_missed([demand("a", 0, 10, 5), demand("b", 2, 4, 2), demand("c", 20, 21, 1)], 1) is None
    late = demand("b", 2, 4, 3)
    assert first_missed([demand("a", 0, 10, 5), late], 1) == late
    assert first_missed([demand("a", 0, 10, 20)], 2) is None
    assert first_missed([], 1) is None


def test_the_fewest_that_must_be_left_out_are_the_largest() -> None:
    window = [demand("a", 0, 10, 9), demand("b", 0, 10, 1), demand("c", 0, 10, 9), demand("d", 0, 10, 9)]
    assert surely_late(window, 1) == 2  # 28 - 9 - 9 = 10
    later = [demand("e", 50, 60, 7), demand("f", 50, 60, 7)]
    assert surely_late(window + later, 1) == 3
    assert surely_late(window + later, 3) == 0


DEMANDS = st.lists(st.tuples(st.integers(0, 6), st.integers(1, 6), st.integers(1, 5)), min_size=1, max_size=6)


@given(DEMANDS, st.integers(1, 2))
def test_no_order_of_work_meets_more_than_the_bound(drawn: list[tuple[int, int, int]], capacity: int) -> None:
    demands = [demand(str(at), start, start + lead, work) for at, (start, lead, work) in enumerate(drawn)]
    most = len(demands) - surely_late(demands, capacity)
    assert max(_met(order, capacity) for order in permutations(demands)) <= most


def _met(order: tuple[Demand, ...], capacity: int) -> int:
    """How many are on time if the machine, always interruptible, works on the first of this order that is there."""
    left, done = {each.job_id: each.work for each in order}, 0
    for moment in range(100):
        room = capacity
        for each in order:
            if each.submit_ms <= moment and left[each.job_id] and room:
                used = min(room, left[each.job_id])
                left[each.job_id] -= used
                room -= used
                done += left[each.job_id] == 0 and moment + 1 <= each.deadline_ms
    return done
