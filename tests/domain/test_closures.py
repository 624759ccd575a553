"""Windows as they must be planned around: every answer is what a look at each moment gives."""

from hypothesis import assume, given
from hypothesis import strategies as st

from domain.planning.closures import FOREVER, Closure, Closures, Gaps
from domain.reservation import Repetition, window_from
from domain.rules.conflicts import meeting
from domain.time_range import TimeRange

FAR = 600
spans = st.builds(lambda start, lasts: TimeRange(start, start + lasts), st.integers(0, 30), st.integers(1, 8))
repeats = st.none() | st.builds(Repetition, st.integers(8, 20), st.none() | st.integers(1, 5), st.none())
series = st.tuples(spans, repeats)
rows = st.lists(st.tuples(spans, repeats, st.integers(1, 7)), max_size=4)


def closures(given: list[tuple[TimeRange, Repetition | None, int]]) -> Closures:
    return Closures(
        [
            Closure(window, 1, repeat, nodes, f"resv-{number}", False)
            for number, (window, repeat, nodes) in enumerate(given)
        ]
    )


def written_out(window: TimeRange, repeat: Repetition | None) -> list[TimeRange]:
    if repeat is None:
        return [window]
    count = min(repeat.times or FAR, FAR // repeat.every_ms)
    return [window.later(nth * repeat.every_ms) for nth in range(count)]


@given(rows, st.integers(0, 2), st.integers(0, 40), st.integers(0, 15))
def test_the_earliest_start_is_the_first_moment_that_meets_no_window(
    booked: list[tuple[TimeRange, Repetition | None, int]], number: int, at_ms: int, lasts_ms: int
) -> None:
    there = [each for window, repeat, nodes in booked if nodes >> number & 1 for each in written_out(window, repeat)]
    free = (
        start
        for start in range(at_ms, FAR // 2)
        if not any(each.start_ms < start + lasts_ms and each.end_ms > start for each in there)
    )
    wanted = next(free, FOREVER)
    found = Gaps(closures(booked), lasts_ms).start_from(number, at_ms)
    assume(found < FAR // 2 or found == FOREVER)
    assert found == wanted


@given(rows, st.integers(0, 40), st.integers(0, 15))
def test_closed_nodes_are_those_where_a_start_would_meet_a_window(
    booked: list[tuple[TimeRange, Repetition | None, int]], at_ms: int, lasts_ms: int
) -> None:
    wanted = 0
    for window, repeat, nodes in booked:
        if any(each.start_ms < at_ms + lasts_ms and each.end_ms > at_ms for each in written_out(window, repeat)):
            wanted |= nodes
    assert Gaps(closures(booked), lasts_ms).closed_at(at_ms) == wanted


@given(rows, st.integers(0, 60))
def test_what_is_closed_before_a_moment_has_a_window_that_begins_before(
    booked: list[tuple[TimeRange, Repetition | None, int]], end_ms: int
) -> None:
    wanted = 0
    for window, _, nodes in booked:
        wanted |= nodes if window.start_ms < end_ms else 0
    assert closures(booked).closed(end_ms) == wanted


@given(rows)
def test_windows_end_one_after_the_other(booked: list[tuple[TimeRange, Repetition | None, int]]) -> None:
    ends: set[int] = set()
    for window, repeat, _ in booked:
        ends |= {each.end_ms for each in written_out(window, repeat) if each.end_ms < FAR // 4}
    found = []
    for at_ms in Gaps(closures(booked), 1).ends_after(0, 7):
        if at_ms >= FAR // 4:
            break
        found.append(at_ms)
    assert found == sorted(ends)


@given(series, series, st.integers(0, 60))
def test_two_series_meet_where_some_moment_lies_in_both(
    mine: tuple[TimeRange, Repetition | None], its: tuple[TimeRange, Repetition | None], now_ms: int
) -> None:
    (window, repeat), (other, its_repeat) = mine, its
    met = [
        each
        for each in written_out(window, repeat)
        if each.end_ms > now_ms
        and any(each.overlaps(one) and one.end_ms > now_ms for one in written_out(other, its_repeat))
    ]
    found = meeting((window, 1, repeat), (other, 1, its_repeat), now_ms)
    assume(found is None or found.end_ms < FAR // 2)
    near = [each for each in met if each.end_ms < FAR // 2]
    assert found == (near[0] if near else None)


@given(spans, repeats, st.integers(0, 100), st.integers(0, 5))
def test_a_window_asked_for_from_a_later_one_is_the_same(
    window: TimeRange, repeat: Repetition | None, at_ms: int, earlier: int
) -> None:
    first, number = window_from(window, 1, repeat, at_ms - earlier)
    if number:
        assert window_from(first, number, repeat, at_ms)[1] == window_from(window, 1, repeat, at_ms)[1]
