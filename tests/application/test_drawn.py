"""What a course drew, from its events alone: as a meter beside the simulation has it, whole or in two parts."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from application.simulation.drawn import Drawn
from application.simulation.whatif import what_if
from domain.farm import Farm
from domain.job import events as e
from domain.messages import Event, Meta, Recorded
from domain.node import BringOnline, RegisterNode
from domain.policies import Policies
from domain.tariff import HOUR_MS, Tariff
from tests.application.desk import Desk
from tests.application.test_energy import DAY_PRICES, POWER, Course
from tests.builders import resources

MODES = st.sampled_from(["performance", "efficiency", "night-savings"])


@settings(max_examples=15)
@given(st.integers(0, 10**6), MODES, st.integers(0, 100))
def test_events_alone_tell_what_was_drawn(seed: int, mode: str, percent: int) -> None:
    course = Course(seed, Policies(energy=mode, tariff=DAY_PRICES))
    log, end_ms = course.app.log, course.app.farm.now_ms + HOUR_MS
    course.meter.settle(end_ms)
    events = log.read(0, 1_000_000)
    whole = Drawn(Farm().snapshot(), 0)
    whole.see(events)
    whole.pass_to(end_ms)
    assert whole.joules == pytest.approx(course.meter.joules)
    assert whole.cost == pytest.approx(course.meter.cost)
    cut = events[(len(events) - 1) * percent // 100].position
    first, half = Drawn(Farm().snapshot(), 0), Farm.fold(log.replay(0, cut))
    first.see(events[:cut])
    second = Drawn(half.snapshot(), events[cut - 1].event.at_ms)
    second.see(events[cut:])
    second.pass_to(end_ms)
    assert first.joules + second.joules == pytest.approx(whole.joules)
    assert first.cost + second.cost == pytest.approx(whole.cost)


def test_suspended_attempts_draw_nothing_for_their_cores() -> None:
    desk = Desk()
    desk.do(RegisterNode(node_id="n1", capacity=resources(4), attributes=POWER), BringOnline(node_id="n1"))
    desk.submit("job-1", cores=2)
    desk.cycle()
    drawn, start_ms = Drawn(desk.app.farm.snapshot(), desk.clock.now_ms()), desk.clock.now_ms()
    drawn.tariff = Tariff(0.36)
    job = {"job_id": "job-1", "attempts": (1,)}
    drawn.see([recorded(e.TasksSuspended(at_ms=start_ms + 1_000, **job))])
    drawn.see([recorded(e.TasksResumed(at_ms=start_ms + 3_000, **job))])
    drawn.pass_to(start_ms + 4_000)
    assert drawn.joules == 4 * 100 + 2 * 100  # two seconds with half of 200 W above idle power
    assert drawn.cost == pytest.approx(0.36 * drawn.kwh)


def recorded(event: Event) -> Recorded:
    return Recorded(1, "job-1", 1, event, Meta("u"))


@settings(max_examples=8)
@given(st.integers(0, 10**6))
def test_the_same_course_again_draws_the_same(seed: int) -> None:
    course = Course(seed, Policies(tariff=DAY_PRICES))
    log, end_ms = course.app.log, course.app.farm.now_ms
    found = what_if(log, 0, end_ms)
    course.meter.settle(end_ms)
    assert found.recorded.energy_kwh == found.simulated.energy_kwh
    assert (found.recorded.energy_kwh or 0) == pytest.approx(course.meter.joules / 3.6e6)
    asleep = what_if(log, 0, end_ms, policies=Policies(energy="efficiency", tariff=Tariff(1.0)))
    if asleep.simulated.energy_kwh:
        assert asleep.simulated.energy_cost == pytest.approx(asleep.simulated.energy_kwh, rel=1e-6)
