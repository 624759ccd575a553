"""Scheduling cycles on a farm where fifty windows are booked, against the same cycle where nothing is.

All jobs have walltimes and end before the windows that are not theirs begin, so that both must place the same: what
differs is the price of asking. Both only compute, so both are timed in processor time.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec.structs import replace

from domain.job.commands import SubmitJob
from domain.messages import Command
from domain.planning.planner import plan
from domain.policies import Policies
from domain.reservation import MAINTENANCE, Owner, OwnerKind, Repetition, Reservation
from domain.resources import Requirement
from domain.time_range import TimeRange
from tests.benchmarks.cluster import Cluster, Scale
from tests.benchmarks.harness import Pair, Row, Size, processor_seconds

HOUR_MS = 3_600_000
TINY = Scale(nodes=20, waiting=200, shapes=10)
USUAL = Scale(nodes=1_000, waiting=10_000, shapes=300)
WINDOWS = 50


class Booked(Cluster):
    """A cluster whose jobs run for an hour at most; `book` sets nodes aside."""

    def _job(self, need: Requirement) -> Command:
        command = super()._job(need)
        assert isinstance(command, SubmitJob)
        return SubmitJob(spec=replace(command.spec, walltime_ms=HOUR_MS))

    def book(self, in_ms: int) -> None:
        """Fifty weekly windows of four hours over all nodes, half of them maintenance, half for a client each."""
        ids, start_ms = self.farm.index.ids, self.farm.now_ms + in_ms
        for number in range(WINDOWS):
            owner = MAINTENANCE if number % 2 else Owner(OwnerKind.CLIENT, f"show-{number % 10}")
            window = TimeRange(start_ms + number * 60_000, start_ms + number * 60_000 + 4 * HOUR_MS)
            nodes = tuple(ids[number::WINDOWS]) or (ids[number % len(ids)],)
            self.farm.reservations[f"resv-{number}"] = Reservation(
                f"resv-{number}", owner, nodes, window, self.farm.now_ms, repeat=Repetition(168 * HOUR_MS)
            )

    def under(self, policies: Policies) -> Callable[[], object]:
        """One cycle's plan under other policies than those in force."""
        return lambda: plan(self.farm, policies, self.farm.now_ms)


@contextmanager
def beside(size: Size, directory: Path, backfill: str = "greedy") -> Iterator[Pair]:
    """A busy farm, with windows and without."""
    scale, policies = TINY if size is Size.TINY else USUAL, Policies(backfill=backfill)
    without, made = Booked(scale), Booked(scale)
    for each in (without, made):
        each.make_busy()
    made.book(2 * HOUR_MS)
    assert without.placed(without.under(policies)()) == made.placed(made.under(policies)()), (
        "windows ahead changed plans"
    )  # type: ignore[arg-type]
    yield Pair(lambda: processor_seconds(without.under(policies)), lambda: processor_seconds(made.under(policies)))


@contextmanager
def beside_easy(size: Size, directory: Path) -> Iterator[Pair]:
    """The same with a reservation for the first blocked job."""
    with beside(size, directory, "easy") as pair:
        yield pair


_NOTHING = "the same with nothing booked"
ROWS = (
    Row("windows-greedy", "cycle, 10,000 × 1,000, 50 windows", _NOTHING, "cycle", beside, accept=1.3, goal=1.1),
    Row("windows-easy", "cycle with a reservation, 50 windows", _NOTHING, "cycle", beside_easy, accept=1.3, goal=1.1),
)
