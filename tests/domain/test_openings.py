"""Where and when there will be room: step functions by hand, and both kinds of openings side by side."""

from collections.abc import Callable, Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.indices.endings import Ending
from domain.indices.nodeindex import NodeIndex
from domain.planning.openings import FOREVER, Opening, Openings, Outlook, Shadow, Timeline
from domain.resources import Requirement, Resources
from tests.builders import NOW, need, node, resources

Kind = Callable[[NodeIndex, Sequence[Ending], int], Openings]
BOTH = pytest.mark.parametrize("kind", [Shadow, Outlook])
ALL = (1 << 8) - 1


def index_of(*free: float, gpus: int = 0) -> NodeIndex:
    """Nodes with so many cores free."""
    index = NodeIndex()
    for number, cores in enumerate(free):
        index.put(node(f"n{number}", cores=cores, gpus=gpus))
    return index


def ends(*rows: tuple[int, int, float]) -> list[Ending]:
    """(after how many ms, node number, cores)."""
    return sorted(
        Ending(NOW + ms, f"job-{at}", 1, ((number, 1),), resources(cores))
        for at, (ms, number, cores) in enumerate(rows)
    )


def cores(count: float) -> Requirement:
    return need(count)


# -- one node --------------------------------------------------------------------------------------------------------


def line(*steps: tuple[int, float]) -> Timeline:
    """A node with nothing free now, where so many cores come free after so many ms."""
    return Timeline(NOW, Resources(), [(NOW + ms, resources(count)) for ms, count in steps])


def steps_of(timeline: Timeline) -> list[tuple[int, int]]:
    return [(ms - NOW, free.millicores // 1_000) for ms, free in zip(timeline.times, timeline.free, strict=True)]


def test_a_timeline_rises_at_every_end_and_ends_of_one_moment_count_together() -> None:
    assert steps_of(line((10, 1), (20, 2), (20, 1))) == [(0, 0), (10, 1), (20, 4)]


def test_what_should_have_ended_already_counts_from_now_on() -> None:
    assert steps_of(line((0, 1), (20, 2))) == [(0, 1), (20, 3)]


def test_a_hold_takes_away_between_two_moments() -> None:
    timeline = line((10, 4))
    timeline.hold(NOW + 15, NOW + 25, resources(3))
    assert steps_of(timeline) == [(0, 0), (10, 4), (15, 1), (25, 4)]
    timeline.hold(NOW + 20, FOREVER, resources(1))
    assert steps_of(timeline) == [(0, 0), (10, 4), (15, 1), (20, 0), (25, 3)]


@pytest.mark.parametrize(
    ("count", "run_ms", "not_before_ms", "start_ms"),
    [
        (1, 5, 0, 10),  # fills the gap before the hold
        (1, 6, 0, 10),  # one core is left beside it
        (2, 5, 0, 10),
        (2, 6, 0, 25),  # a millisecond too long for the gap
        (2, 5, 12, 25),  # too late for the gap
        (1, 5, 12, 12),
        (4, None, 0, 25),
        (1, None, 0, 10),
        (5, 1, 0, None),
        (0, 9, 0, 0),
        (4, 1, 99, 99),
    ],
)
def test_the_first_fit_lasts_as_long_as_the_run(
    count: int, run_ms: int | None, not_before_ms: int, start_ms: int | None
) -> None:
    """4 cores from 10 ms on, 3 of them held from 15 to 25."""
    timeline = line((10, 4))
    timeline.hold(NOW + 15, NOW + 25, resources(3))
    found = timeline.first_fit(resources(count), run_ms, NOW + not_before_ms)
    assert found == (FOREVER if start_ms is None else NOW + start_ms)


def test_the_room_between_two_moments_is_the_least_there_is() -> None:
    timeline = line((10, 4))
    timeline.hold(NOW + 15, NOW + 25, resources(3))
    assert timeline.room(resources(1), NOW + 10, NOW + 15) == 4
    assert timeline.room(resources(1), NOW + 10, NOW + 16) == 1
    assert timeline.room(resources(2), NOW + 10, NOW + 16) == 0
    assert timeline.room(resources(1), NOW + 25, FOREVER) == 4
    assert timeline.room(Resources(), NOW, FOREVER) is None


def test_a_node_that_lacks_what_nobody_asks_for_has_room_all_the_same() -> None:
    """It lost a GPU that is in use, so it has one less than none."""
    timeline = Timeline(NOW, Resources(millicores=1_000, gpus=-1), [])
    assert timeline.first_fit(resources(1), 5, NOW) == NOW
    assert timeline.first_fit(resources(1, gpus=1), 5, NOW) == FOREVER


# -- one reservation, both ways --------------------------------------------------------------------------------------


@BOTH
def test_the_earliest_end_that_leaves_enough_is_the_opening(kind: Kind) -> None:
    """3 cores: on n0 after 10 ms 2, after 30 ms 4; on n1 after 20 ms 3."""
    openings = kind(index_of(0, 1), ends((10, 0, 2), (20, 1, 2), (30, 0, 2)), NOW)
    assert openings.reserve(cores(3), ALL & 0b11, 5) == Opening(NOW + 20, ((1, 1),))


@BOTH
def test_of_nodes_with_room_at_the_same_moment_the_lowest_is_reserved(kind: Kind) -> None:
    openings = kind(index_of(0, 0, 0), ends((10, 2, 2), (10, 1, 2)), NOW)
    assert openings.reserve(cores(2), 0b111, 5) == Opening(NOW + 10, ((1, 1),))


@BOTH
def test_only_nodes_of_the_mask_are_reserved_and_none_if_none_will_do(kind: Kind) -> None:
    rows = ends((10, 0, 2), (20, 1, 2))
    assert kind(index_of(0, 0), rows, NOW).reserve(cores(2), 0b10, 5) == Opening(NOW + 20, ((1, 1),))
    assert kind(index_of(0, 0), rows, NOW).reserve(cores(3), 0b11, 5) is None


@BOTH
def test_what_is_overdue_is_expected_at_any_moment(kind: Kind) -> None:
    openings = kind(index_of(0), ends((-50, 0, 1), (0, 0, 1), (20, 0, 2)), NOW)
    assert openings.reserve(cores(2), 1, 5) == Opening(NOW, ((0, 1),))


@BOTH
def test_a_gang_waits_until_all_its_slots_fit_and_takes_the_fewest_nodes(kind: Kind) -> None:
    """3 slots of a core: n0 has 1, n1 gets 1 after 10 ms, n2 gets 3 after 20 ms."""
    openings = kind(index_of(1, 0, 0), ends((10, 1, 1), (20, 2, 3)), NOW)
    assert openings.reserve(need(1, slots=3), 0b111, 5) == Opening(NOW + 20, ((2, 3),))
    apart = kind(index_of(1, 0, 0), ends((10, 1, 1), (20, 2, 3)), NOW)
    assert apart.reserve(need(1, slots=3, distinct=True), 0b111, 5) == Opening(NOW + 20, ((0, 1), (1, 1), (2, 1)))


@BOTH
def test_beside_a_reservation_there_is_room_for_what_ends_in_time_or_is_left_over(kind: Kind) -> None:
    """3 of 4 cores are reserved on n0 from 10 ms on; 2 are free now. n1 is nobody's."""
    openings = kind(index_of(2, 1), ends((10, 0, 2)), NOW)
    openings.reserve(cores(3), 1, 50)
    assert openings.beside(cores(2), 0b11, NOW + 10) == 0b11
    assert openings.beside(cores(2), 0b11, NOW + 11) == 0b10
    assert openings.beside(cores(1), 0b11, FOREVER) == 0b11
    assert openings.room(0, resources(1), FOREVER) == 1
    assert openings.room(1, resources(1), FOREVER) is None


@BOTH
def test_what_starts_uses_up_what_is_left_over_unless_it_ends_in_time(kind: Kind) -> None:
    index = index_of(2)
    openings = kind(index, ends((10, 0, 2)), NOW)
    openings.reserve(cores(3), 1, 50)
    for end_ms, left in ((NOW + 10, 1), (NOW + 11, 0)):
        index.allocate(0, resources(1))
        openings.take([(0, 1)], resources(1), end_ms)
        assert bool(openings.beside(cores(1), 1, FOREVER)) is bool(left)


@BOTH
def test_what_started_before_there_was_a_reservation_ends_too(kind: Kind) -> None:
    """Nothing could be reserved for 3 cores; then something of 2 cores starts, and its end is an opening."""
    index = index_of(2)
    openings = kind(index, [], NOW)
    assert openings.reserve(cores(3), 1, 50) is None
    index.allocate(0, resources(2))
    openings.take([(0, 1)], resources(2), NOW + 7)
    assert openings.reserve(cores(2), 1, 50) == Opening(NOW + 7, ((0, 1),))


# -- any number ------------------------------------------------------------------------------------------------------


def test_reservations_follow_one_another_and_fill_gaps() -> None:
    """4 cores from 10 ms on: 3 for 20 ms, then 2 do not fit beside them; 1 does, and a short one even before."""
    outlook = Outlook(index_of(1), ends((10, 0, 3)), NOW)
    assert outlook.reserve(cores(3), 1, 20) == Opening(NOW + 10, ((0, 1),))
    assert outlook.reserve(cores(2), 1, 20) == Opening(NOW + 30, ((0, 1),))
    assert outlook.reserve(cores(1), 1, 5) == Opening(NOW, ((0, 1),))
    assert outlook.reserve(cores(1), 1, 25) == Opening(NOW + 5, ((0, 1),))
    assert outlook.beside(cores(1), 1, NOW + 1) == 0


def test_a_job_that_may_run_for_ever_holds_its_nodes_for_ever() -> None:
    outlook = Outlook(index_of(0), ends((10, 0, 2)), NOW)
    assert outlook.reserve(cores(2), 1, None) == Opening(NOW + 10, ((0, 1),))
    assert outlook.reserve(cores(1), 1, 1) is None


def test_a_gang_needs_all_its_slots_for_all_its_time() -> None:
    """n0 is free from 10 to 20 ms and again from 40 on, n1 from 15 on."""
    outlook = Outlook(index_of(0, 0), ends((10, 0, 1), (15, 1, 1)), NOW)
    outlook.timeline(0).hold(NOW + 20, NOW + 40, resources(1))
    gang = need(1, slots=2)
    assert outlook.reserve(gang, 0b11, 6) == Opening(NOW + 40, ((0, 1), (1, 1)))
    again = Outlook(index_of(0, 0), ends((10, 0, 1), (15, 1, 1)), NOW)
    again.timeline(0).hold(NOW + 20, NOW + 40, resources(1))
    assert again.reserve(gang, 0b11, 5) == Opening(NOW + 15, ((0, 1), (1, 1)))


# -- side by side ----------------------------------------------------------------------------------------------------


def random_openings(rng: Random) -> tuple[list[float], list[Ending], Requirement, int | None]:
    """Nodes, ends, and something that does not fit now."""
    free = [rng.randint(0, 2) for _ in range(rng.randint(1, 4))]
    rows = [(rng.randint(-3, 9), rng.randrange(len(free)), rng.randint(1, 3)) for _ in range(rng.randint(0, 6))]
    slots = rng.choice((1, 1, 2, 3))
    wanted = need(rng.randint(1, 4), slots=slots, distinct=rng.random() < 0.3)
    return [*map(float, free)], ends(*rows), wanted, rng.choice((None, 1, 4))


@given(st.randoms(use_true_random=False))
def test_both_ways_give_the_same_answers_for_one_reservation(rng: Random) -> None:
    free, rows, wanted, run_ms = random_openings(rng)
    indices = index_of(*free), index_of(*free)
    shadow, outlook = Shadow(indices[0], rows, NOW), Outlook(indices[1], rows, NOW)
    slots = sum(min(int(each // (wanted.resources.millicores // 1_000)), wanted.slots) for each in free)
    nodes = (1 << len(free)) - 1
    if slots < wanted.slots:  # else it would start at once
        assert shadow.reserve(wanted, nodes, run_ms) == outlook.reserve(wanted, nodes, run_ms)
    for _ in range(4):
        other, end_ms = need(rng.randint(0, 2)), rng.choice((FOREVER, NOW + rng.randint(1, 9)))
        now = indices[0].fitting(other)
        beside = shadow.beside(other, now, end_ms)
        assert beside == outlook.beside(other, now, end_ms)
        for number in range(len(free)):
            rooms = [each.room(number, other.resources, end_ms) for each in (shadow, outlook)]
            here = indices[0].free[number].count_of(other.resources)
            assert len({here if room is None else room if here is None else min(here, room) for room in rooms}) == 1
        if beside:
            number = beside.bit_length() - 1
            for index in indices:
                index.allocate(number, other.resources)
            shadow.take([(number, 1)], other.resources, end_ms)
            outlook.take([(number, 1)], other.resources, end_ms)


# -- gangs: a node that is full is not looked at again before it could have room --------------------------------------


def looked_at_all(outlook: Outlook, need: Requirement, nodes: int, run_ms: int | None) -> int | None:
    """When a gang can start, by every node at every moment."""
    lines = {number: outlook.timeline(number) for number in range(nodes.bit_length()) if nodes >> number & 1}
    moments = sorted({NOW, *[ms for line in lines.values() for ms in line.times]})
    for start_ms in moments:
        end_ms = FOREVER if run_ms is None else start_ms + run_ms
        rooms = [line.room(need.resources, start_ms, end_ms) or 0 for line in lines.values()]
        if sum(min(room, 1 if need.distinct_nodes else need.slots) for room in rooms) >= need.slots:
            return start_ms
    return None


@pytest.mark.parametrize("seed", range(40))
def test_a_gang_starts_when_a_look_at_every_node_at_every_moment_says(seed: int) -> None:
    rng = Random(seed)
    rows = [(rng.randint(1, 20), rng.randrange(6), rng.randint(1, 3)) for _ in range(14)]
    outlook = Outlook(index_of(*[rng.randint(0, 2) for _ in range(6)]), ends(*rows), NOW)
    for _ in range(6):
        asked = Requirement(resources(rng.randint(1, 3)), rng.randint(2, 5), distinct_nodes=rng.random() < 0.5)
        run_ms = rng.choice((None, rng.randint(1, 12)))
        wanted = looked_at_all(outlook, asked, 0b111111, run_ms)
        found = outlook.reserve(asked, 0b111111, run_ms)
        assert (None if found is None else found.start_ms) == wanted
