"""Scheduling cycles: whom to place where, and why the others wait.

Ours is `plan()` with all it promises: the order policy, limits, arrays, placements with their reasons, and the
blockers of every segment that was passed over. The floor is `kernel`, which only places. Both begin with the free
amounts of the nodes indexed already, work on a copy, and must choose the same nodes for the same jobs. Both only
compute, so both are timed in processor time.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from adapters.clock import SystemClock, SystemIds
from adapters.store.sqlite import open_log
from application.app import Application
from application.cycles import Cycles
from domain.cycle import CycleDecided
from domain.decisions import Reason, ReasonCode
from domain.planning import blockers
from domain.planning.replanning import Planned
from tests.benchmarks import cluster, workload
from tests.benchmarks.cluster import Cluster, Scale
from tests.benchmarks.harness import Pair, Row, Size, processor_seconds, seconds
from tests.benchmarks.ruled import RuledCluster

TINY = Scale(nodes=20, waiting=200, shapes=10)
USUAL = Scale(nodes=1_000, waiting=10_000, shapes=300)
LARGE = Scale(nodes=5_000, waiting=100_000, shapes=300)


def _scale(size: Size, full: Scale = USUAL) -> Scale:
    return TINY if size is Size.TINY else full


def _against_kernel(made: Cluster) -> Pair:
    ids, jobs = made.in_order()
    kernel = made.kernel()
    assert made.placed(made.plan()) == cluster.named(ids, kernel.copy().place(jobs)), "planner and kernel differ"
    return Pair(lambda: processor_seconds(lambda: kernel.copy().place(jobs)), lambda: processor_seconds(made.plan))


@contextmanager
def empty(size: Size, directory: Path) -> Iterator[Pair]:
    """Nothing runs yet: thousands of starts."""
    yield _against_kernel(Cluster(_scale(size)))


@contextmanager
def busy(size: Size, directory: Path) -> Iterator[Pair]:
    """The nodes are full but for what a tenth of the running tasks gave back."""
    made = Cluster(_scale(size))
    made.make_busy()
    yield _against_kernel(made)


@contextmanager
def large(size: Size, directory: Path) -> Iterator[Pair]:
    """Ten times the queue on five times the nodes, empty."""
    yield _against_kernel(Cluster(_scale(size, LARGE)))


def _ruled(made: RuledCluster) -> Pair:
    """Rules choose otherwise than the kernel, which obeys none: it only says what placing alone would cost."""
    _, jobs = made.in_order()
    kernel = made.kernel()
    return Pair(lambda: processor_seconds(lambda: kernel.copy().place(jobs)), lambda: processor_seconds(made.plan))


@contextmanager
def ruled_empty(size: Size, directory: Path) -> Iterator[Pair]:
    """Every rule of a cycle is in force, and nothing runs yet."""
    yield _ruled(RuledCluster(_scale(size)))


@contextmanager
def ruled_busy(size: Size, directory: Path) -> Iterator[Pair]:
    """The same on full nodes, where some wait who may take room from others."""
    made = RuledCluster(_scale(size))
    made.make_busy()
    yield _ruled(made)


@contextmanager
def after_one(size: Size, directory: Path) -> Iterator[Pair]:
    """One task of a full farm has ended, and much still waits; against the cycle that filled the farm."""
    fresh, full = Cluster(_scale(size)), Cluster(_scale(size))
    full.scheduler.cycle()

    def ours() -> float:
        full.complete()
        took = processor_seconds(full.plan)
        full.scheduler.cycle()
        return took

    yield Pair(lambda: processor_seconds(fresh.plan), ours)


# -- what reasons cost -------------------------------------------------------------------------------------------------


class _Silent(Cycles):
    """Records no reasons."""

    def _changed_reasons(self, planned: Planned, now_ms: int) -> CycleDecided | None:
        return None


@contextmanager
def _without_reasons() -> Iterator[None]:
    """Blocked shapes are still blocked, but nobody asks what they lack."""
    asked: Callable[..., tuple[Reason, ...]] = blockers.of_shape
    unasked = (Reason(ReasonCode.RESOURCES_SHORT),)
    blockers.of_shape = lambda farm, index, requirement, fitting, sticky="": unasked
    try:
        yield
    finally:
        blockers.of_shape = asked


@contextmanager
def reasons(size: Size, directory: Path) -> Iterator[Pair]:
    """A farm's first cycle to its durable end: every reason is new. Against the same with reasons switched off."""
    log = open_log(directory / "before")
    Cluster(_scale(size), log)
    log.close()

    def cycle(kind: type[Cycles]) -> float:
        log = open_log(workload.copy(directory / "before", directory / "copy"))
        made = kind(Application(log, SystemClock(), SystemIds()))
        try:
            return seconds(made.cycle)
        finally:
            log.close()

    def floor() -> float:
        with _without_reasons():
            return cycle(_Silent)

    yield Pair(floor, lambda: cycle(Cycles))


_KERNEL = "bitset kernel that only places"
ROWS = (
    Row("cycle-empty", "cycle, 10,000 × 1,000, empty farm", _KERNEL, "cycle", empty, accept=4, goal=2),
    Row("cycle-busy", "cycle, 10,000 × 1,000, busy farm", _KERNEL, "cycle", busy, accept=4, goal=2),
    Row("cycle-large", "cycle, 100,000 × 5,000", _KERNEL, "cycle", large, accept=4, goal=2, rounds=3),
    Row("cycle-ruled-empty", "cycle with all rules, empty farm", _KERNEL, "cycle", ruled_empty, accept=4, goal=2),
    Row("cycle-ruled-busy", "cycle with all rules, busy farm", _KERNEL, "cycle", ruled_busy, accept=4, goal=2),
    Row(
        "cycle-after-one",
        "cycle after one completion",
        "the full cycle",
        "cycle",
        after_one,
        accept=0.3,
        goal=0.1,
    ),
    Row("reasons", "cycle with reasons", "the same without", "cycle", reasons, accept=1.3, goal=1.15),
)
