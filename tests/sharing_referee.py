"""A referee of guarantees: looks at a farm after every cycle, with plain loops over its jobs and nodes.

    shares never come to more than the farm · nobody above its guarantee borrows who may not, or more than it may ·
    what clients that do not lend leave unused stays free · long work is never started in what is lent ·
    under `wait`: who waits for its guarantee waits no longer than one reclaim period

The last one, precisely: a task of a client waits that may start, would stay within its guarantee, and would fit on the
nodes were nothing there that a borrower has started and that ends within the period. It is broken if that was so for
longer than the period while nothing else started but borrowed work that ends within the period, nothing was said by
anybody, and no node came or went. (Each of these may take the very room that would have come free first.)
"""

from collections.abc import Iterable

from domain import client, node
from domain.farm import Farm
from domain.intervals import size
from domain.job import events as e
from domain.job.values import Job
from domain.messages import Recorded
from domain.policies.sharing import Lending, in_force
from domain.resources import Resources, has_attributes
from tests.application.referee import Referee

Pair = tuple[int, int]
SPOKEN = (
    client.ClientEvent, node.NodeEvent, e.JobHeld, e.JobUnheld, e.JobPaused, e.JobResumed, e.JobPriorityChanged,
    e.TasksStopping, e.TasksRequeued, e.JobRetried, e.JobSubmitted, e.TasksLost,
)  # fmt: skip
"""What may change who waits for what, beside starts and ends."""
CLAIMED = "claim"
"""Why something starts before everybody else, whatever its rank: running work has made way for it."""


class SharingReferee(Referee):
    """Books of guarantees beside those of nodes and limits."""

    def __init__(self) -> None:
        super().__init__()
        self.short: set[tuple[str, int]] = set()
        """Live attempts that were started beyond a guarantee and end within the period."""
        self.disturbed_ms = 0
        self.waits: dict[str, int] = {}
        """Since when a job waits for its guarantee."""
        self.honoured = 0
        """How often somebody got back what was lent, having waited for it."""

    def after_cycle(self, farm: Farm, recorded: Iterable[Recorded], now_ms: int) -> None:
        """What the farm holds after a cycle, and what was written since the last one."""
        lending = in_force(farm.policies)
        assert sum(each.shares.guarantee_percent for each in farm.clients.values()) <= 100
        if lending is None:
            self.waits, self.short = {}, set()
            return
        started = [each for each in recorded if isinstance(each.event, e.TasksPlaced)]
        spoken = any(isinstance(each.event, SPOKEN) for each in recorded)
        quiet = self._sort(farm, started, lending) and not spoken
        if not quiet:
            self.disturbed_ms = now_ms
        if not any(each.event.reason.policy == CLAIMED for each in started):
            self._check_borrowers(farm, started, lending)
        self._check_waits(farm, now_ms, lending)

    # -- what was started ----------------------------------------------------------------------------------------

    def _sort(self, farm: Farm, started: list[Recorded], lending: Lending) -> bool:
        """Which of the new attempts are borrowed and short; whether all are."""
        self.short = {key for key in self.short if key[0] in farm.jobs and key[1] in farm.jobs[key[0]].live}
        quiet = True
        for client_id in sorted({each.event.client_id for each in started}):
            attempts = [
                (each.event.job_id, number)
                for each in started
                for placement in each.event.placements
                if each.event.client_id == client_id
                for number in range(placement.first_attempt, placement.first_attempt + size(placement.tasks))
            ]
            attempts = [key for key in attempts if key[0] in farm.jobs and key[1] in farm.jobs[key[0]].live]
            left = minus(guarantee_of(farm, client_id), used_by(farm, client_id))
            for key in reversed(attempts):  # those that started last go beyond the guarantee first
                spec = farm.jobs[key[0]].spec
                need = need_of(farm.jobs[key[0]])
                beyond = need != (0, 0) and any(want and have < 0 for want, have in zip(need, left, strict=True))
                left = plus(left, need)
                if beyond and spec.walltime_ms is not None and spec.walltime_ms <= lending.reclaim_period_s * 1000:
                    self.short.add(key)
                else:
                    quiet = False
        return quiet

    def _check_borrowers(self, farm: Farm, started: list[Recorded], lending: Lending) -> None:
        free = free_on_open_nodes(farm)
        for client_id in sorted({each.event.client_id for each in started}):
            used, guarantee = used_by(farm, client_id), guarantee_of(farm, client_id)
            asked = [
                need_of(farm.jobs[r.event.job_id])
                for r in started
                if r.event.client_id == client_id and r.event.job_id in farm.jobs
            ]
            known = farm.clients.get(client_id)
            for what in (0, 1):
                if used[what] <= guarantee[what] or not any(need[what] for need in asked):
                    continue
                if known is not None:
                    most = known.shares.guarantee_percent + (known.shares.borrow_percent if known.shares.borrow else 0)
                    assert used[what] * 100 <= most * capacity_of(farm)[what], f"{client_id} borrows too much"
                kept = sum(
                    max(0, guarantee_of(farm, other)[what] - used_by(farm, other)[what])
                    for other, each in farm.clients.items()
                    if other != client_id and not each.shares.lend
                )
                assert free[what] >= kept, f"{client_id} took what is not lent: {free} free, {kept} kept back"
        if lending.reclaim == "wait":
            self._check_long(farm, started, lending)

    def _check_long(self, farm: Farm, started: list[Recorded], lending: Lending) -> None:
        """Who started long work beyond its guarantee left in service what all are guaranteed."""
        period_ms = lending.reclaim_period_s * 1000
        long = {client_id: long_by(farm, client_id, period_ms) for client_id in owners(farm)}
        in_service = plus(free_on_open_nodes(farm), total(used_by(farm, each) for each in owners(farm)))
        guaranteed = total(guarantee_of(farm, each) for each in owners(farm))
        lent = total(positive(minus(long[each], guarantee_of(farm, each))) for each in owners(farm))
        for each in started:
            job = farm.jobs.get(each.event.job_id)
            if job is None or (job.spec.walltime_ms is not None and job.spec.walltime_ms <= period_ms):
                continue
            over = minus(long[job.spec.client_id], guarantee_of(farm, job.spec.client_id))
            for what in (0, 1):
                if (
                    need_of(job)[what]
                    and over[what] > 0
                    and used_by(farm, job.spec.client_id)[what] > guarantee_of(farm, job.spec.client_id)[what]
                ):
                    assert lent[what] + guaranteed[what] <= in_service[what], f"{job.spec.job_id} is long and borrowed"

    # -- who waits -----------------------------------------------------------------------------------------------

    def _check_waits(self, farm: Farm, now_ms: int, lending: Lending) -> None:
        waits: dict[str, int] = {}
        for job_id in sorted(farm.jobs):
            job = farm.jobs[job_id]
            if job.startable and job.waiting and self._within(farm, job) and self._would_fit(farm, job):
                waits[job_id] = self.waits.get(job_id, now_ms)
        self.honoured += len(self.waits.keys() - waits.keys())
        self.waits = waits
        if lending.reclaim != "wait":
            return
        for job_id, since_ms in waits.items():
            waited_ms = now_ms - max(since_ms, self.disturbed_ms)
            assert waited_ms <= lending.reclaim_period_s * 1000, (
                f"{job_id} waits for its guarantee since {waited_ms} ms"
            )

    def _within(self, farm: Farm, job: Job) -> bool:
        """Whether one more task stays within the guarantee and every limit of its client."""
        owner = farm.clients.get(job.spec.client_id)
        need = need_of(job)
        if owner is None or owner.suspended or need == (0, 0):
            return False
        used = used_by(farm, owner.client_id)
        running = sum(len(each.live) for each in farm.jobs.values() if each.spec.client_id == owner.client_id)
        if owner.shares.max_tasks is not None and running >= owner.shares.max_tasks:
            return False
        limit = part_of(farm, owner.shares.limit_percent) if owner.shares.limit_percent < 100 else (1 << 60, 1 << 60)
        least = [min(a, b) for a, b in zip(guarantee_of(farm, owner.client_id), limit, strict=True)]
        return all(not want or have + want <= most for want, have, most in zip(need, used, least, strict=True))

    def _would_fit(self, farm: Farm, job: Job) -> bool:
        """Whether a task fits now, were nothing there that was borrowed for a short time."""
        requirement, slots = job.spec.requirement, 0
        for each in farm.nodes.values():
            if not each.takes_work or has_attributes(each.attributes, requirement.attributes) is not None:
                continue
            held = self._held_for_long(farm, each.node_id)
            room = each.capacity.minus(held).count_of(requirement.resources) or 0
            slots += min(room, 1 if requirement.distinct_nodes else requirement.slots)
        return slots >= requirement.slots

    def _held_for_long(self, farm: Farm, node_id: str) -> Resources:
        held = Resources()
        for job_id, job in farm.jobs.items():
            for number, attempt in job.live.items():
                if (job_id, number) not in self.short:
                    held = held.plus(job.spec.requirement.resources, dict(attempt.nodes).get(node_id, 0))
        return held


def owners(farm: Farm) -> set[str]:
    """Everybody who could hold something."""
    return {*farm.clients, *(job.spec.client_id for job in farm.jobs.values())}


def need_of(job: Job) -> Pair:
    """What one task takes of what is shared."""
    need = job.spec.requirement.total()
    return need.millicores, need.gpus


def used_by(farm: Farm, client_id: str) -> Pair:
    """What the attempts of a client hold."""
    return total(
        (need_of(job)[0] * len(job.live), need_of(job)[1] * len(job.live))
        for job in farm.jobs.values()
        if job.spec.client_id == client_id
    )


def long_by(farm: Farm, client_id: str, period_ms: int) -> Pair:
    """What they hold for longer than the period, by their walltimes."""
    return total(
        (need_of(job)[0] * len(job.live), need_of(job)[1] * len(job.live))
        for job in farm.jobs.values()
        if job.spec.client_id == client_id and (job.spec.walltime_ms is None or job.spec.walltime_ms > period_ms)
    )


def capacity_of(farm: Farm) -> Pair:
    """Cores (in thousandths) and GPUs of all nodes that have not left."""
    return total((each.capacity.millicores, each.capacity.gpus) for each in farm.nodes.values() if not each.retired)


def part_of(farm: Farm, percent: int) -> Pair:
    """A part of them, rounded down."""
    whole = capacity_of(farm)
    return whole[0] * percent // 100, whole[1] * percent // 100


def guarantee_of(farm: Farm, client_id: str) -> Pair:
    """What a client is guaranteed."""
    known = farm.clients.get(client_id)
    return (0, 0) if known is None else part_of(farm, known.shares.guarantee_percent)


def free_on_open_nodes(farm: Farm) -> Pair:
    """What is free where work is taken, or would be if it woke a node."""
    free = []
    for each in farm.nodes.values():
        if each.takes_work or each.sleeps or each.wakes:
            held = Resources()
            for job in farm.jobs.values():
                for attempt in job.live.values():
                    held = held.plus(job.spec.requirement.resources, dict(attempt.nodes).get(each.node_id, 0))
            left = each.capacity.minus(held)
            free.append((max(0, left.millicores), max(0, left.gpus)))
    return total(free)


def plus(one: Pair, other: Pair) -> Pair:
    return one[0] + other[0], one[1] + other[1]


def minus(one: Pair, other: Pair) -> Pair:
    return one[0] - other[0], one[1] - other[1]


def positive(one: Pair) -> Pair:
    return max(0, one[0]), max(0, one[1])


def total(pairs: Iterable[Pair]) -> Pair:
    both = list(pairs)
    return sum(pair[0] for pair in both), sum(pair[1] for pair in both)
