"""The study of month-long jobs on a small scale: days for months, and a few racks."""

from functools import cache

import pytest

from domain.job.values import StopCause
from domain.policies import Policies
from tests.studies.months import MUSTS, SETS, MonthsRun, Outcome, outcome
from tests.studies.months_farm import FULL, ROLLING, SMALL, STEADY, MonthsFarm


@cache
def measured(seed: int, name: str) -> Outcome:
    return outcome(MonthsFarm(seed, SMALL), name, SETS[name]())


def test_the_farm_is_what_it_says() -> None:
    farm = MonthsFarm(1)
    assert len(farm.zone_of) == 500
    assert len(farm.gangs) == FULL.gangs == 100
    windows = list(farm.windows())
    assert {node_id for each in windows for node_id in each.asked.nodes} == {
        node_id for node_id, zone in farm.zone_of.items() if zone == ROLLING
    }
    for gang in farm.gangs.values():
        contract, zone = gang.spec.protection, gang.spec.requirement.partition
        bound = contract is not None and (contract.never or contract.after_checkpoint or contract.until_ms is not None)
        assert bound is (zone == STEADY)
        assert 2 <= gang.spec.requirement.slots <= 32


@pytest.mark.parametrize("name", SETS)
def test_every_set_of_policies_can_be_adopted(name: str) -> None:
    policies = SETS[name]()
    assert isinstance(policies, Policies)
    policies.check()


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", SETS)
def test_what_must_hold_does(seed: int, name: str) -> None:
    each = measured(seed, name)  # the referee raises at the first rule that is broken
    assert all(must.holds(each) for must in MUSTS)
    assert each.windows > 0
    assert each.lost_windows_h == 0
    assert each.stretch < 3


def test_who_is_sent_away_goes_on_from_where_it_was() -> None:
    farm = MonthsFarm(1, SMALL)
    run = MonthsRun(farm, SETS["easy, checkpoint"]()).run()
    assert run.interruptions.stopped[StopCause.EVACUATED] > 0
    assert set(run.interruptions.evacuated) <= {"none", "whenever"}
    longest = max(farm.gangs.values(), key=lambda gang: gang.work_ms)
    assert run.ended[longest.spec.job_id] - longest.submit_ms >= longest.work_ms
