"""A reservation: made once, its windows begin and end one after the other, and somebody may change his mind."""

from typing import Any

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from domain import errors, reservation
from domain.reservation import (
    MAINTENANCE,
    ActivateReservation,
    CancelReservation,
    Capacity,
    ChangeReservation,
    EndReservation,
    MakeReservation,
    Owner,
    OwnerKind,
    Repetition,
    ReservationActivated,
    ReservationCancelled,
    ReservationChanged,
    ReservationEnded,
    ReservationMade,
    ReservationStatus,
    SetAside,
    window_from,
)
from domain.resources import AttributeNeed
from domain.time_range import TimeRange
from tests.builders import HOUR, NOW
from tests.spec import scenarios

given = scenarios(reservation)
ID = "resv-1"
SHOW = Owner(OwnerKind.CLIENT, "show")
WINDOW = TimeRange(NOW + HOUR, NOW + 3 * HOUR)
DAY = 24 * HOUR


def wish(**fields: Any) -> MakeReservation:
    given: dict[str, Any] = {"owner": SHOW, "window": WINDOW, "asked": Capacity(nodes=("n1",))} | fields
    return MakeReservation(reservation_id=given.pop("reservation_id", ID), **given)


def made(**fields: Any) -> ReservationMade:
    given: dict[str, Any] = {
        "owner": SHOW,
        "nodes": ("n1",),
        "window": WINDOW,
        "asked": Capacity(nodes=("n1",)),
    } | fields
    return ReservationMade(at_ms=NOW, reservation_id=ID, **given)


def begun(occurrence: int = 1, window: TimeRange = WINDOW, **fields: Any) -> ReservationActivated:
    given: dict[str, Any] = {"owner": SHOW, "nodes": ("n1",), "at_ms": window.start_ms} | fields
    return ReservationActivated(reservation_id=ID, occurrence=occurrence, window=window, **given)


def test_nodes_are_set_aside_once() -> None:
    asked = SetAside(wish=wish(), nodes=("n1",))
    given().when(asked).then(made()).when(asked).then_nothing()


def test_another_reservation_needs_another_id() -> None:
    other = SetAside(wish=wish(owner=MAINTENANCE), nodes=("n1",))
    given(made()).when(other).then_raises(errors.ReservationExists, reservation_id=ID)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"reservation_id": "r-1"}, "its id must be"),
        ({"window": TimeRange(NOW + HOUR, NOW + HOUR)}, "it must end after it has begun"),
        ({"window": TimeRange(NOW - HOUR, NOW)}, "its time is over already"),
        ({"window": TimeRange(NOW, 1 << 60)}, "its time lies outside"),
        ({"owner": Owner(OwnerKind.MAINTENANCE, "show")}, "only maintenance is for nobody"),
        ({"owner": Owner(OwnerKind.CLIENT)}, "only maintenance is for nobody"),
        ({"asked": Capacity()}, "it must say which nodes"),
        ({"asked": Capacity(count=2)}, "it must say which nodes"),
        ({"asked": Capacity(whole_farm=True, count=1, millicores=1)}, "a number of nodes and for cores at once"),
        ({"asked": Capacity(whole_farm=True, count=0)}, "it asks for nothing"),
        ({"repeat": Repetition(HOUR)}, "its windows would overlap"),
        ({"repeat": Repetition(DAY, times=0)}, "at least once"),
        ({"repeat": Repetition(DAY, until_ms=NOW)}, "before the end of its repetition"),
        ({"follows": True}, "only one for a workflow"),
        (
            {"owner": Owner(OwnerKind.WORKFLOW, "wf-1"), "follows": True, "repeat": Repetition(DAY)},
            "only one for a workflow",
        ),
    ],
)
def test_what_can_never_be_right_is_refused_with_its_reason(fields: dict[str, Any], problem: str) -> None:
    when = given().when(SetAside(wish=wish(**fields), nodes=("n1",)))
    when.then_raises(errors.ReservationInvalid)
    assert problem in str(when.refusal)


@pytest.mark.parametrize(
    "asked",
    [
        Capacity(nodes=("n1",)),
        Capacity(partition="gpu"),
        Capacity(attributes=(AttributeNeed("os"),), count=2),
        Capacity(whole_farm=True, millicores=8_000),
    ],
)
def test_nodes_may_be_asked_for_in_many_ways(asked: Capacity) -> None:
    given().when(SetAside(wish=wish(asked=asked), nodes=("n1", "n2"))).then(made(asked=asked, nodes=("n1", "n2")))


def test_a_reservation_without_nodes_is_none() -> None:
    given().when(SetAside(wish=wish(), nodes=())).then_raises(errors.ReservationInvalid)


# -- windows ---------------------------------------------------------------------------------------------------------


def test_a_window_begins_and_ends_in_its_time() -> None:
    begin = ActivateReservation(reservation_id=ID, occurrence=1)
    end = EndReservation(reservation_id=ID, occurrence=1)
    after = given(made()).when(begin, at=WINDOW.start_ms).then(begun()).when(end, at=WINDOW.end_ms)
    over = after.then(
        ReservationEnded(at_ms=WINDOW.end_ms, reservation_id=ID, owner=SHOW, occurrence=1, window=WINDOW, nodes=("n1",))
    )
    assert over.state.status is ReservationStatus.ENDED
    over.when(end).then_nothing()


@pytest.mark.parametrize("at_ms", [NOW, WINDOW.start_ms - 1, WINDOW.end_ms])
def test_a_window_begins_at_no_other_time(at_ms: int) -> None:
    given(made()).when(ActivateReservation(reservation_id=ID, occurrence=1), at=at_ms).then_nothing()


def test_a_window_begins_once_and_none_but_the_one_that_was_meant() -> None:
    again = ActivateReservation(reservation_id=ID, occurrence=1)
    given(made(), begun()).when(again, at=WINDOW.start_ms + 1).then_nothing()
    given(made()).when(ActivateReservation(reservation_id=ID, occurrence=2), at=WINDOW.start_ms).then_nothing()


def test_a_window_that_waits_for_work_says_where() -> None:
    begin = ActivateReservation(reservation_id=ID, occurrence=1, busy=("n1",))
    given(made()).when(begin, at=WINDOW.start_ms).then(begun(busy=("n1",)))


def test_a_window_that_nobody_began_is_missed() -> None:
    ended = given(made()).when(EndReservation(reservation_id=ID, occurrence=1), at=WINDOW.end_ms + 5)
    assert ended.then_kinds(ReservationEnded).facts[-1].missed == 1  # type: ignore[attr-defined]


def test_somebody_ends_a_window_early_but_not_one_that_has_not_begun() -> None:
    end = EndReservation(reservation_id=ID, why="done")
    given(made()).when(end).then_raises(errors.ReservationStateForbids, status="not active")
    early = given(made(), begun()).when(end, at=WINDOW.start_ms + 10).then_kinds(ReservationEnded)
    assert early.facts[-1].window == TimeRange(WINDOW.start_ms, WINDOW.start_ms + 10)  # type: ignore[attr-defined]
    assert early.facts[-1].why == "done"  # type: ignore[attr-defined]


def test_windows_follow_each_other_until_there_have_been_enough() -> None:
    after = given(made(repeat=Repetition(DAY, times=3)))
    for number in (1, 2, 3):
        window = WINDOW.later((number - 1) * DAY)
        assert (after.state.window, after.state.occurrence) == (window, number)
        after = after.when(ActivateReservation(reservation_id=ID, occurrence=number), at=window.start_ms).then_kinds(
            ReservationActivated
        )
        after = after.when(EndReservation(reservation_id=ID, occurrence=number), at=window.end_ms).then_kinds(
            ReservationEnded
        )
    assert after.state.is_over


def test_a_server_that_was_down_for_days_goes_on_with_the_window_that_is_due() -> None:
    at_ms = WINDOW.later(3 * DAY).start_ms + 1
    ended = given(made(repeat=Repetition(DAY))).when(EndReservation(reservation_id=ID, occurrence=1), at=at_ms)
    after = ended.then_kinds(ReservationEnded)
    assert (after.state.window, after.state.occurrence) == (WINDOW.later(3 * DAY), 4)
    assert after.facts[-1].missed == 3  # type: ignore[attr-defined]


def test_a_window_ended_early_is_not_had_twice() -> None:
    ended = given(made(repeat=Repetition(DAY)), begun()).when(EndReservation(reservation_id=ID), at=WINDOW.start_ms + 1)
    assert ended.then_kinds(ReservationEnded).state.window == WINDOW.later(DAY)


def test_the_end_of_a_window_moves_within_bounds() -> None:
    longer = ChangeReservation(reservation_id=ID, end_ms=WINDOW.end_ms + HOUR, why="the disk was late")
    changed = ReservationChanged(
        at_ms=NOW,
        reservation_id=ID,
        window=TimeRange(WINDOW.start_ms, WINDOW.end_ms + HOUR),
        before_ms=WINDOW.end_ms,
        why="the disk was late",
    )
    given(made()).when(longer).then(changed).when(longer).then_nothing()
    backwards = ChangeReservation(reservation_id=ID, end_ms=WINDOW.start_ms)
    given(made()).when(backwards).then_raises(errors.ReservationInvalid)
    into_the_next = ChangeReservation(reservation_id=ID, end_ms=WINDOW.start_ms + DAY + 1)
    given(made(repeat=Repetition(DAY))).when(into_the_next).then_raises(errors.ReservationInvalid)


def test_a_cancelled_reservation_is_over() -> None:
    cancel = CancelReservation(reservation_id=ID, why="no need")
    cancelled = ReservationCancelled(at_ms=NOW, reservation_id=ID, owner=SHOW, nodes=("n1",), why="no need")
    over = given(made()).when(cancel).then(cancelled)
    over.when(cancel).then_nothing()
    over.when(ChangeReservation(reservation_id=ID, end_ms=NOW)).then_raises(errors.ReservationStateForbids)
    over.when(EndReservation(reservation_id=ID)).then_nothing()
    given().when(cancel).then_raises(errors.ReservationNotFound)


# -- which window ----------------------------------------------------------------------------------------------------

spans = st.tuples(st.integers(0, 50), st.integers(1, 20)).map(lambda it: TimeRange(it[0], it[0] + it[1]))


@for_all(
    spans, st.integers(20, 40), st.none() | st.integers(1, 6), st.none() | st.integers(1, 200), st.integers(0, 300)
)
def test_the_window_of_a_moment_is_the_one_that_counting_finds(
    first: TimeRange, every_ms: int, times: int | None, until_ms: int | None, at_ms: int
) -> None:
    until_ms = None if until_ms is None else max(until_ms, first.start_ms + 1)
    found, number = window_from(first, 1, Repetition(every_ms, times, until_ms), at_ms)
    counted = 1
    while first.later((counted - 1) * every_ms).end_ms <= at_ms:
        counted += 1
    window = first.later((counted - 1) * every_ms)
    gone = counted > 1 and (
        (times is not None and counted > times) or (until_ms is not None and window.start_ms >= until_ms)
    )
    assert number == (0 if gone else counted)
    assert gone or found == window


@for_all(spans, st.integers(0, 100))
def test_what_comes_once_has_one_window(first: TimeRange, at_ms: int) -> None:
    assert window_from(first, 1, None, at_ms) == (first, 1 if first.end_ms > at_ms else 0)
