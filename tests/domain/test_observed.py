"""What is observed outside: the last value of each name."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from application.app import Application
from application.decider import EXTERNAL, load_stream
from domain import observed
from domain.observed import Observe, Observed, ObservedExternally, external_stream
from tests.application.desk import Desk

JOB = external_stream("job", "j1")


def observe(changes: dict[str, Any], forgotten: tuple[str, ...] = ()) -> Observe:
    return Observe(stream_id=JOB, what="job", changes=changes, forgotten=forgotten)


def test_only_what_differs_is_a_fact() -> None:
    known = Observed("job", {"status": "done", "progress": 5})
    (fact,) = observed.decide(known, observe({"status": "done", "progress": 6}, ("mood",)), 7)
    assert fact == ObservedExternally(at_ms=7, stream_id=JOB, what="job", changes={"progress": 6})
    assert observed.decide(known, observe({"status": "done"}), 7) == ()
    assert observed.decide(known, observe({}, ("progress",)), 7)[0].forgotten == ("progress",)
    assert len(observed.decide(None, observe({}), 7)) == 1


NAMES = st.sampled_from("abc")
WISHES = st.lists(
    st.tuples(st.dictionaries(NAMES, st.integers(0, 2) | st.none(), max_size=3), st.sets(NAMES, max_size=2)),
    max_size=12,
)


@given(WISHES)
def test_the_fold_is_the_last_value_of_each_name(wishes: list[tuple[dict[str, Any], set[str]]]) -> None:
    state: Observed | None = None
    plain: dict[str, Any] = {}
    for changes, names in wishes:
        forgotten = names - changes.keys()
        plain = {name: value for name, value in {**plain, **changes}.items() if name not in forgotten}
        for event in observed.decide(state, observe(changes, tuple(sorted(forgotten))), 0):
            state = observed.evolve(state, event)
        assert (state.values if state else {}) == plain


def test_it_is_recorded_in_a_stream_of_its_own_and_leaves_nothing_in_the_farm() -> None:
    desk = Desk()
    desk.do(observe({"status": "done"}), observe({"status": "done"}), observe({"progress": 5}))
    assert [each.version for each in desk.log.stream(JOB)] == [1, 2]
    assert load_stream(desk.log, EXTERNAL, JOB).state == Observed("job", {"status": "done", "progress": 5})
    assert JOB not in desk.app.farm.versions
    assert Application(desk.log, desk.clock, desk.app.ids).farm.versions == desk.app.farm.versions
