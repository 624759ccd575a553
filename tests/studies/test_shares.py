"""The study of shares on a small scale: what must hold, and what lending with preemption is worth."""

from functools import cache

import pytest

from domain.job.values import PreemptionCause
from domain.policies import Policies
from tests.studies.__main__ import main
from tests.studies.shares import MUSTS, OURS, PERIOD_S, SETS, Outcome, SharesRun, outcome
from tests.studies.shares_day import PROTECTED, SharesDay


@cache
def day(seed: int) -> SharesDay:
    """A third of the farm, and a third of the work."""
    return SharesDay.of(seed, tasks=340, nodes=0.34)


@cache
def measured(seed: int, name: str) -> Outcome:
    return outcome(day(seed), name, SETS[name]())


def test_a_day_has_as_many_tasks_and_nodes_as_it_says() -> None:
    whole = SharesDay.of(1)
    assert sum(len(job.task_s) for job in whole.farm.jobs) == 1_000
    assert len(whole.farm.nodes) == 300
    assert max(len(job.task_s) for job in whole.farm.jobs) <= 60
    protected = [terms for terms in whole.terms.values() if terms.protection is not None]
    assert len(protected) >= PROTECTED * len(whole.farm.jobs)


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
    assert each.completed == len(day(seed).farm.jobs)


@pytest.mark.parametrize("seed", [1, 2])
def test_guarantees_are_honoured_and_little_stands_idle(seed: int) -> None:
    ours, waiting = measured(seed, OURS), measured(seed, "wait")
    assert not ours.breaches
    assert ours.unmet_s <= PERIOD_S
    assert ours.preempted > 0
    assert ours.regret_h < 0  # more waiting was spared than work was lost
    assert ours.utilization > waiting.utilization + 0.1
    assert measured(seed, "no sharing").unmet_s > ours.unmet_s


def test_those_who_make_way_had_borrowed() -> None:
    run = SharesRun(day(1), SETS[OURS]()).run()
    assert run.interruptions.preempted[PreemptionCause.RECLAIM] > 0
    assert not run.interruptions.violations
    assert not run.ledger()


def test_the_command_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["shares", "--seeds", "1", "--only", "no sharing"]) == 0
    shown = capsys.readouterr().out
    assert "| no sharing" in shown
    assert "On every seed: nobody interrupted against a contract." in shown
