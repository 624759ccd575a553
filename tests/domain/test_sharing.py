"""Guarantees in one cycle: who comes first, who may borrow, what is kept back, and whose it is to give back.

Beside examples worked out by hand stands a second planner of plain loops, one task at a time, for small random farms.
"""

from random import Random
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.decisions import Plan, Reason, ReasonCode
from domain.farm import Farm
from domain.intervals import members
from domain.job.values import PRIORITY_RANK, Attempt, Job, Priority
from domain.planning.planner import Cycle, plan
from domain.policies import Policies
from domain.resources import Resources
from domain.rules.sharing import Sharing
from tests.builders import HOUR, NOW, SECOND, client, farm, job, need, node, placements
from tests.oracle import one_by_one
from tests.sharing_referee import guarantee_of, minus, need_of, part_of, positive, used_by

WAIT = Policies(sharing="lending")
PREEMPT = Policies(sharing="lending", parameters={"sharing": {"reclaim": "preempt"}})
MINUTE = 60 * SECOND


def tasks_of(made: Plan) -> dict[str, int]:
    """How many tasks of each job a plan starts."""
    found: dict[str, int] = {}
    for job_id, _, _ in one_by_one(made):
        found[job_id] = found.get(job_id, 0) + 1
    return found


def reasons_of(made: Plan, client_id: str) -> list[Reason]:
    return [r for row in made.passed_over if row.segment.startswith(f"{client_id}/") for r in row.reasons]


def short(client_id: str, tasks: str = "0-9", **fields: Any) -> Job:
    """Tasks of one core that end within the reclaim period."""
    return job(client_id=client_id, tasks=tasks, **({"walltime_ms": 10 * MINUTE} | fields))


def live(client_id: str, count: int, on: str = "n1", since_ms: int = NOW, **fields: Any) -> Job:
    """A job with so many attempts of one core on a node."""
    attempts = {number: Attempt(number, ((on, 1),), since_ms, since_ms) for number in range(1, count + 1)}
    given = {"live": attempts, "waiting": "", "next_attempt": count + 1, "tasks": f"1-{count}"} | fields
    return short(client_id, **given)


# -- who comes first -------------------------------------------------------------------------------------------------


def test_who_has_not_got_its_guarantee_comes_before_everybody_else_whatever_the_order_says() -> None:
    urgent = short("lab", priority=Priority.CRITICAL)
    made = plan(farm([node(cores=4)], [urgent, short("show")], [client("show", guarantee_percent=50)]), WAIT, NOW)
    assert tasks_of(made) == {"job-2": 2, "job-1": 2}


def test_without_a_sharing_policy_a_guarantee_is_a_number_in_a_table() -> None:
    urgent = short("lab", priority=Priority.CRITICAL)
    shares = [client("show", guarantee_percent=50)]
    made = plan(farm([node(cores=4)], [urgent, short("show")], shares), Policies(), NOW)
    assert tasks_of(made) == {"job-1": 4}


def test_inside_a_rank_the_order_decides() -> None:
    shares = [client("show", guarantee_percent=25), client("lab", guarantee_percent=25)]
    jobs = [short("lab", "0"), short("show", "0", priority=Priority.HIGH)]
    assert list(tasks_of(plan(farm([node(cores=4)], jobs, shares), WAIT, NOW))) == ["job-2", "job-1"]


def test_the_rest_of_a_job_waits_for_its_turn_once_the_guarantee_is_used_up() -> None:
    """5 of 10 cores each: the first job takes 5, then the other its 5, although the first has tasks left."""
    shares = [client("show", guarantee_percent=50), client("lab", guarantee_percent=50)]
    made = plan(farm([node(cores=10)], [short("show"), short("lab")], shares), WAIT, NOW)
    assert tasks_of(made) == {"job-1": 5, "job-2": 5}


def test_what_a_job_gets_before_and_after_its_rank_rose_is_one_decision() -> None:
    shares = [client("show", guarantee_percent=50), client("lab", guarantee_percent=50)]
    made = plan(farm([node(cores=10)], [short("show"), short("lab", "0-1")], shares), WAIT, NOW)
    assert [place.job_id for place in made.decisions] == ["job-1", "job-2"]
    assert [tasks for _, tasks, _ in placements(made)] == ["0-4", "5-7", "0-1"]


def test_each_resource_is_judged_by_itself_and_only_if_it_is_asked_for() -> None:
    """Half of 2 GPUs is one, and the cores are no matter for a task that asks for none."""
    shares = [client("show", guarantee_percent=50, borrow=False)]
    jobs = [short("show", requirement=need(0, gpus=1)), short("show", requirement=need(1))]
    made = plan(farm([node(cores=8, gpus=2)], jobs, shares), WAIT, NOW)
    assert tasks_of(made) == {"job-1": 1, "job-2": 4}


def test_a_task_that_asks_for_neither_cores_nor_gpus_takes_nothing_that_is_shared() -> None:
    shares = [client("show", guarantee_percent=10, borrow=False)]
    made = plan(farm([node(memory_mib=500)], [short("show", requirement=need(0, memory_mib=100))], shares), WAIT, NOW)
    assert tasks_of(made) == {"job-1": 5}


# -- borrowing and lending -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shares", "tasks"),
    [
        ({"guarantee_percent": 20}, 10),
        ({"guarantee_percent": 20, "borrow": False}, 2),
        ({"guarantee_percent": 20, "borrow_percent": 30}, 5),
        ({"guarantee_percent": 20, "borrow_percent": 30, "limit_percent": 40}, 4),
        ({"borrow": False}, 0),
    ],
)
def test_a_client_borrows_if_it_may_and_as_much_as_it_may(shares: dict[str, Any], tasks: int) -> None:
    made = plan(farm([node(cores=10)], [short("show", "0-19")], [client("show", **shares)]), WAIT, NOW)
    assert tasks_of(made) == ({"job-1": tasks} if tasks else {})


def test_who_may_borrow_no_more_is_told_so() -> None:
    shares = [client("show", guarantee_percent=20, borrow_percent=30)]
    made = plan(farm([node(cores=10)], [short("show", "0-19", requirement=need(2))], shares), WAIT, NOW)
    assert tasks_of(made) == {"job-1": 2}
    assert reasons_of(made, "show") == [Reason(ReasonCode.BORROW_LIMIT, "show", "millicores", 2_000, 1_000)]


def test_what_a_client_that_does_not_lend_leaves_unused_stays_free() -> None:
    shares = [client("film", guarantee_percent=40, lend=False)]
    made = plan(farm([node(cores=10)], [short("show", "0-19")], shares), WAIT, NOW)
    assert tasks_of(made) == {"job-1": 6}
    assert reasons_of(made, "show") == [Reason(ReasonCode.GUARANTEE, "film", "millicores", 1_000, 0)]


def test_what_it_uses_itself_is_not_kept_back_twice() -> None:
    shares = [client("film", guarantee_percent=40, lend=False)]
    made = plan(farm([node(cores=10)], [live("film", 3), short("show", "0-19")], shares), WAIT, NOW)
    assert tasks_of(made) == {"job-2": 6}


def test_nodes_that_are_off_lend_nothing() -> None:
    """40 % of 20 cores are 8, and 10 are in service: 2 are left to borrow."""
    shares = [client("film", guarantee_percent=40, lend=False)]
    made = plan(farm([node(cores=10), node(cores=10, draining=True)], [short("show", "0-19")], shares), WAIT, NOW)
    assert tasks_of(made) == {"job-1": 2}


# -- wait ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("walltime_ms", "tasks"), [(HOUR, 10), (HOUR + 1, 4), (None, 4)])
def test_what_may_run_longer_than_the_period_gets_only_what_nobody_is_guaranteed(
    walltime_ms: int | None, tasks: int
) -> None:
    shares = [client("film", guarantee_percent=60)]
    made = plan(farm([node(cores=10)], [short("show", "0-19", walltime_ms=walltime_ms)], shares), WAIT, NOW)
    assert tasks_of(made) == {"job-1": tasks}
    if tasks == 4:
        assert reasons_of(made, "show") == [Reason(ReasonCode.GUARANTEE, "film", "millicores", 1_000, 0)]


def test_long_work_that_runs_counts_and_short_work_does_not() -> None:
    """Of 4 cores that nobody is guaranteed, 3 are taken by long work; short work of others takes none of them."""
    shares = [client("film", guarantee_percent=60)]
    adopted = {"policies": WAIT}
    running = [live("lab", 3, walltime_ms=9 * HOUR), live("lab", 5)]
    waiting = short("show", "0-9", walltime_ms=2 * HOUR)
    made_of = remembering(farm([node(cores=12), node(cores=8)], [*running, waiting], shares, **adopted))
    assert tasks_of(plan(made_of, WAIT, NOW)) == {"job-3": 5}  # 8 of 20 cores are nobody's, 3 of these are taken


def remembering(known: Farm) -> Farm:
    """The same farm as if its policies had just been adopted: what is held counts as used from now on."""
    known.usage.follow(known.policies, NOW, known.jobs.values())
    return known


def test_a_client_may_run_anything_within_its_guarantee() -> None:
    shares = [client("show", guarantee_percent=60), client("film", guarantee_percent=40)]
    made = plan(farm([node(cores=10)], [short("show", "0-19", walltime_ms=None)], shares), WAIT, NOW)
    assert tasks_of(made) == {"job-1": 6}


def test_short_jobs_overtake_long_ones_of_the_same_kind_that_may_not_borrow() -> None:
    shares = [client("film", guarantee_percent=100)]
    jobs = [short("show", "0-1", walltime_ms=2 * HOUR), short("show", "0-1")]
    assert tasks_of(plan(farm([node()], jobs, shares), WAIT, NOW)) == {"job-2": 2}


def test_under_preempt_anything_may_be_lent() -> None:
    shares = [client("film", guarantee_percent=60)]
    made = plan(farm([node(cores=10)], [short("show", "0-19", walltime_ms=None)], shares), PREEMPT, NOW)
    assert tasks_of(made) == {"job-1": 10}


def test_no_borrower_starts_where_what_waits_for_its_guarantee_will_fit_first() -> None:
    """Both nodes have one core free and need two more: n2 has them in 5 minutes, n1 in 9, so n2 is kept."""
    shares = [client("film", guarantee_percent=50)]
    jobs = [
        live("lab", 3, "n1", walltime_ms=9 * MINUTE),
        live("lab", 3, "n2", walltime_ms=5 * MINUTE),
        short("film", "0", requirement=need(3)),
        short("show", "0-9"),
    ]
    made = plan(farm([node(), node()], jobs, shares), WAIT, NOW)
    assert one_by_one(made) == [("job-4", 0, (("n1", 1),))]
    assert [r.code for r in reasons_of(made, "film")] == [ReasonCode.RESOURCES_SHORT]


def test_who_would_only_fit_on_a_kept_node_is_told_whose_it_is() -> None:
    shares = [client("film", guarantee_percent=50)]
    jobs = [live("lab", 3, walltime_ms=9 * MINUTE), short("film", "0", requirement=need(2)), short("show")]
    made = plan(farm([node()], jobs, shares), WAIT, NOW)
    assert tasks_of(made) == {}
    assert reasons_of(made, "show") == [Reason(ReasonCode.GUARANTEE, "film")]


def test_nothing_is_kept_for_what_will_not_fit_within_the_period() -> None:
    shares = [client("film", guarantee_percent=50)]
    jobs = [live("lab", 3, walltime_ms=2 * HOUR), short("film", "0", requirement=need(2)), short("show")]
    assert tasks_of(plan(farm([node()], jobs, shares), WAIT, NOW)) == {"job-3": 1}


def test_nodes_are_kept_for_all_that_waits_within_the_guarantee_and_for_no_more() -> None:
    """2 of 3 tasks of 3 cores are within 50 % of 12: two of three nodes are kept."""
    shares = [client("film", guarantee_percent=50)]
    running = [live("lab", 3, f"n{k}", walltime_ms=k * MINUTE) for k in (1, 2, 3)]
    jobs = [*running, short("film", "0-2", requirement=need(3)), short("show")]
    made = plan(farm([node(), node(), node()], jobs, shares), WAIT, NOW)
    assert one_by_one(made) == [("job-5", 0, (("n3", 1),))]


def test_a_gang_that_waits_for_its_guarantee_keeps_all_its_nodes() -> None:
    shares = [client("film", guarantee_percent=70)]
    running = [live("lab", 3, f"n{k}", walltime_ms=k * MINUTE) for k in (1, 2, 3)]
    gang = short("film", "0", requirement=need(4, slots=2, distinct=True))
    made = plan(farm([node(), node(), node()], [*running, gang, short("show")], shares), WAIT, NOW)
    assert one_by_one(made) == [("job-5", 0, (("n3", 1),))]


# -- preempt: whose it is to give back -------------------------------------------------------------------------------


def test_reclaims_name_what_waits_for_its_guarantee_and_who_has_borrowed_most() -> None:
    shares = [client("film", guarantee_percent=50), client("lab", guarantee_percent=10)]
    jobs = [live("lab", 4), live("show", 6), short("film", "0-9")]
    cycle = Cycle(farm([node(cores=10)], jobs, shares), PREEMPT, NOW)
    cycle.run()
    sharing = next(each for each in cycle.rules if isinstance(each, Sharing))
    (found,) = sharing.reclaims()
    assert (found.job.spec.job_id, found.tasks) == ("job-3", 5)
    assert found.borrowers == (("show", 6_000, 0), ("lab", 3_000, 0))


def test_who_has_its_guarantee_reclaims_nothing() -> None:
    shares = [client("film", guarantee_percent=50)]
    jobs = [live("film", 5), live("show", 5), short("film", "0-9")]
    cycle = Cycle(farm([node(cores=10)], jobs, shares), PREEMPT, NOW)
    cycle.run()
    assert next(each for each in cycle.rules if isinstance(each, Sharing)).reclaims() == ()


# -- a second planner ------------------------------------------------------------------------------------------------


def random_farm(rng: Random) -> Farm:
    """Up to four nodes and ten jobs of three clients, some of them running."""
    nodes = [
        node(f"n{k}", rng.choice((2, 4, 8)), gpus=rng.choice((0, 0, 1)), draining=rng.random() < 0.1)
        for k in range(rng.randint(1, 4))
    ]
    percents = rng.choice(((50, 50, 0), (25, 25, 50), (30, 0, 0), (10, 60, 20), (0, 0, 0)))
    clients = [
        client(
            name, guarantee_percent=percent, borrow=rng.random() < 0.8, borrow_percent=rng.choice((100, 100, 25)),
            lend=rng.random() < 0.7, limit_percent=rng.choice((100, 100, max(60, percent))),
            max_tasks=rng.choice((None, None, 4)),
        )
        for name, percent in zip(("show", "lab", "film"), percents, strict=True)
    ]  # fmt: skip
    free = {each.node_id: each.capacity for each in nodes}
    jobs = [random_job(rng, number, free) for number in range(rng.randint(0, 10))]
    made = farm(nodes, jobs, clients, policies=WAIT)
    return remembering(made)


def random_job(rng: Random, number: int, free: dict[str, Resources]) -> Job:
    shape = need(rng.choice((0, 1, 1, 2, 3)), gpus=rng.choice((0, 0, 0, 1)))
    made = job(
        f"job-{number}", requirement=shape, client_id=rng.choice(("show", "lab", "film", "nobody")),
        priority=rng.choice(list(Priority)), submitted_ms=NOW - rng.randint(1, 9) * SECOND, tasks="0-9",
        waiting=rng.choice(("0", "0-2", "0-4", "1,3")), walltime_ms=rng.choice((None, HOUR // 2, 2 * HOUR)),
    )  # fmt: skip
    where = rng.choice(list(free))
    if rng.random() < 0.4 and free[where].fits(shape.resources):
        free[where] = free[where].minus(shape.resources)
        return replace(made, live={1: Attempt(9, ((where, 1),), NOW, NOW)}, next_attempt=2)
    return made


class Slowly:
    """One task after the other, in the words of the rule; what fits nowhere is given up."""

    def __init__(self, known: Farm, *, waits: bool) -> None:
        self.farm, self.waits = known, waits
        self.free = {each.node_id: each.capacity for each in known.nodes.values()}
        self.used = {each: used_by(known, each) for each in ("show", "lab", "film", "nobody")}
        self.running = dict.fromkeys(self.used, 0)
        self.long = dict.fromkeys(self.used, (0, 0))
        for each in known.jobs.values():
            for attempt in each.live.values():
                self.take(each, attempt.nodes[0][0], counted=True)
        self.left = {each.spec.job_id: list(members(each.waiting)) for each in known.jobs.values()}
        self.placed: list[tuple[str, int, str]] = []
        self.owner_blocked = False

    def run(self) -> list[tuple[str, int, str]]:
        while True:
            jobs = [each for each in self.farm.jobs.values() if self.left[each.spec.job_id]]
            if not jobs:
                return sorted(self.placed)
            first = min(jobs, key=self.key)
            where = self.choose(first) if self.allows(first) else None
            if where is None:
                if self.within(first) and self.allows(first):
                    self.owner_blocked = True
                self.left[first.spec.job_id] = []
                continue
            self.placed.append((first.spec.job_id, self.left[first.spec.job_id].pop(0), where))
            self.take(first, where)

    def key(self, each: Job) -> tuple[Any, ...]:
        rank = 0 if self.within(each) else 1
        return rank, -PRIORITY_RANK[each.priority], each.submitted_ms, each.spec.job_id

    def take(self, each: Job, where: str, *, counted: bool = False) -> None:
        one = need_of(each)
        self.free[where] = self.free[where].minus(each.spec.requirement.resources)
        self.running[each.spec.client_id] += 1
        if not counted:
            before = self.used[each.spec.client_id]
            self.used[each.spec.client_id] = (before[0] + one[0], before[1] + one[1])
        if self.is_long(each):
            held = self.long[each.spec.client_id]
            self.long[each.spec.client_id] = (held[0] + one[0], held[1] + one[1])

    def is_long(self, each: Job) -> bool:
        return self.waits and (each.spec.walltime_ms is None or each.spec.walltime_ms > HOUR)

    def within(self, each: Job) -> bool:
        left = minus(guarantee_of(self.farm, each.spec.client_id), self.used[each.spec.client_id])
        one = need_of(each)
        return one != (0, 0) and all(not want or want <= have for want, have in zip(one, left, strict=True))

    def allows(self, each: Job) -> bool:
        """Limits, and for who borrows what it may borrow."""
        owner, one, used = self.farm.clients.get(each.spec.client_id), need_of(each), self.used[each.spec.client_id]
        after = (used[0] + one[0], used[1] + one[1])
        if owner is not None:
            if owner.shares.max_tasks is not None and self.running[owner.client_id] >= owner.shares.max_tasks:
                return False
            if owner.shares.limit_percent < 100 and exceeds(one, after, part_of(self.farm, owner.shares.limit_percent)):
                return False
        if self.within(each) or one == (0, 0):
            return True
        if owner is not None:
            most = owner.shares.guarantee_percent + (owner.shares.borrow_percent if owner.shares.borrow else 0)
            if most < 100 and exceeds(one, after, part_of(self.farm, most)):
                return False
        return self.leaves_enough(each, one) and (not self.is_long(each) or self.nobodys(each, one))

    def leaves_enough(self, each: Job, one: tuple[int, int]) -> bool:
        kept = [0, 0]
        for other in self.farm.clients.values():
            if other.client_id != each.spec.client_id and not other.shares.lend:
                left = positive(minus(guarantee_of(self.farm, other.client_id), self.used[other.client_id]))
                kept = [kept[0] + left[0], kept[1] + left[1]]
        free = self.free_in_service()
        return all(not want or free[what] - want >= kept[what] for what, want in enumerate(one))

    def nobodys(self, each: Job, one: tuple[int, int]) -> bool:
        """Whether long work of all, beyond their guarantees, still fits in what nobody is guaranteed."""
        in_service = [self.free_in_service()[what] + sum(used[what] for used in self.used.values()) for what in (0, 1)]
        for what, want in enumerate(one):
            owed = sum(guarantee_of(self.farm, other)[what] for other in self.farm.clients)
            beyond = 0
            for name, held in self.long.items():
                mine = held[what] + (want if name == each.spec.client_id else 0)
                before = max(0, held[what] - guarantee_of(self.farm, name)[what])
                beyond += max(before, mine - guarantee_of(self.farm, name)[what])
            grows = max(
                0, self.long[each.spec.client_id][what] + want - guarantee_of(self.farm, each.spec.client_id)[what]
            )
            if want and grows and owed + beyond > in_service[what]:
                return False
        return True

    def free_in_service(self) -> list[int]:
        open_ones = [self.free[each.node_id] for each in self.farm.nodes.values() if each.takes_work]
        return [sum(each.millicores for each in open_ones), sum(each.gpus for each in open_ones)]

    def choose(self, each: Job) -> str | None:
        """Best fit: the fewest GPUs, then cores, then the node registered first."""
        fitting = [
            (self.free[known.node_id].gpus, self.free[known.node_id].millicores, number, known.node_id)
            for number, known in enumerate(self.farm.nodes.values())
            if known.takes_work and self.free[known.node_id].fits(each.spec.requirement.resources)
        ]
        return min(fitting)[-1] if fitting else None


def exceeds(one: tuple[int, int], after: tuple[int, int], most: tuple[int, int]) -> bool:
    return any(want and have > bound for want, have, bound in zip(one, after, most, strict=True))


farms = st.builds(random_farm, st.randoms(use_true_random=False))


@given(farms)
def test_under_preempt_the_planner_starts_what_plain_loops_start(known: Farm) -> None:
    made = plan(known, PREEMPT, NOW)
    assert sorted((j, t, n[0][0]) for j, t, n in one_by_one(made)) == Slowly(known, waits=False).run()


@given(farms)
def test_under_wait_the_planner_starts_what_plain_loops_start_while_no_owner_is_blocked(known: Farm) -> None:
    slowly = Slowly(known, waits=True)
    expected = slowly.run()
    assume(not slowly.owner_blocked)
    made = plan(known, WAIT, NOW)
    assert sorted((j, t, n[0][0]) for j, t, n in one_by_one(made)) == expected


@given(farms, st.sampled_from((WAIT, PREEMPT)))
def test_whoever_is_passed_over_has_a_reason_and_the_farm_is_left_as_it_was(known: Farm, policies: Policies) -> None:
    before = known.snapshot()
    made = plan(known, policies, NOW)
    assert known.snapshot() == before
    assert made == plan(known, policies, NOW)
    assert all(row.reasons for row in made.passed_over)
