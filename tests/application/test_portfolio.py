"""The order `portfolio`: whatever would have been best in the last hours, adopted with the measurements."""

import threading
import time

import msgspec
import pytest

import domain.policies.builtin  # noqa: F401
from adapters.store.objects import ObjectLog
from application.commands import AdoptPolicies
from application.simulation.metrics import Completed, metrics
from application.simulation.portfolio import ACTOR, PortfolioReviewer, measure
from application.simulation.recording import record
from application.simulation.traces import TraceRun
from application.simulation.whatif import what_if
from application.simulation.workload import Trace, TraceJob
from domain import errors
from domain.cycle import POLICY_STREAM, Evidence, PoliciesAdopted
from domain.messages import Recorded
from domain.policies import Policies
from domain.policies.order import Fifo, ShortestFirst
from domain.policies.portfolio import Objective, Portfolio
from tests.application.desk import Desk

HOUR_S = 3_600
CANDIDATES = ["fifo", "sjf"]


def portfolio(**parameters: object) -> Policies:
    """An hourly portfolio of fifo and sjf that looks two hours back."""
    own = {"candidates": CANDIDATES, "every_h": 1, "window_h": 2} | parameters
    return Policies(order="portfolio", backfill="easy", parameters={"order": own})


def rows(first: int, start_s: int, requested_right: bool, hours: int) -> list[TraceJob]:
    """Every hour eleven jobs at once for one processor: a long one, then ten short ones; the order is all that matters.

    Where requests are right, the shortest first is best. Where they are wrong, the long job asks for the least time,
    so that the shortest first lets all wait for it that would have gone before it: it comes last in the trace.
    """
    made: list[TraceJob] = []
    for hour in range(hours):
        at_s = start_s + hour * HOUR_S
        short = [(60, 60 if requested_right else 900) for _ in range(10)]
        long = (1_500, 1_500 if requested_right else 600)
        for run_s, requested_s in [long, *short] if requested_right else [*short, long]:
            made.append(TraceJob(first + len(made), at_s, run_s, 1, requested_s))
    return made


def changing() -> Trace:
    """Six hours for which sjf is best, then six for which fifo is."""
    good = rows(1, 0, True, 6)
    return Trace((*good, *rows(len(good) + 1, 6 * HOUR_S, False, 6)), 1)


def run(of: Trace, policies: Policies) -> tuple[ObjectLog, list[Completed]]:
    """A simulation with reviews; its log, and what came of the jobs."""
    log = ObjectLog()
    trace_run = TraceRun(of, log, policies)
    trace_run.simulator.reviewer = PortfolioReviewer(trace_run.app)
    return log, trace_run.run()


def adoptions(log: ObjectLog) -> list[tuple[float, str, PoliciesAdopted]]:
    """(hour, order in force from then on, event) of all adoptions."""
    found = []
    for each in log.stream(POLICY_STREAM):
        assert isinstance(each.event, PoliciesAdopted)
        chosen = each.event.policies.policy("order").chosen
        found.append((each.event.at_ms / 1_000 / HOUR_S, chosen, each.event))
    return found


def slowdown(of: Trace, order: str) -> float:
    """Average bounded slowdown under one order all the time."""
    return metrics(run(of, Policies(order=order, backfill="easy"))[1], of.processors).average_bounded_slowdown


# -- the order -------------------------------------------------------------------------------------------------------


def test_it_is_the_candidate_in_force_and_at_first_the_first_one() -> None:
    first = Portfolio(candidates=("fifo", "sjf"))
    then = Portfolio(candidates=("fifo", "sjf"), current="sjf")
    assert (first.chosen, type(first.in_force), first.monotone) == ("fifo", Fifo, True)
    assert (then.chosen, type(then.in_force), then.monotone) == ("sjf", ShortestFirst, False)


def test_candidates_may_have_parameters() -> None:
    weights = {"multifactor": {"age": 2.0}}
    made = Portfolio(candidates=("multifactor",), parameters=weights)
    assert made.in_force == Policies(order="multifactor", parameters={"order": weights["multifactor"]}).policy("order")


def test_candidates_that_read_submit_times_on_a_clock_are_told_when_it_began() -> None:
    made = Portfolio(candidates=("f1", "f2", "sjf"), origin_ms=5_000, parameters={"f2": {"origin_ms": 7_000}})
    found = [made.parameters_of(name) for name in made.candidates]
    assert found == [{"origin_ms": 5_000}, {"origin_ms": 7_000}, {}]
    assert made.in_force == Policies(order="f1", parameters={"order": {"origin_ms": 5_000}}).policy("order")


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"candidates": []}, "length"),
        ({"candidates": ["fifo", "fifo"]}, "different orders"),
        ({"candidates": ["fifo", "portfolio"]}, "none of them 'portfolio'"),
        ({"candidates": ["fifo", "best"]}, "no order policy 'best'"),
        ({"current": "saf"}, "saf in `current` is none of its candidates"),
        ({"parameters": {"saf": {}}}, "saf in `parameters` is none of its candidates"),
        ({"objective": "luck"}, "luck"),
        ({"every_h": 0}, "every_h"),
        ({"max_jobs": 0}, "max_jobs"),
    ],
)
def test_what_is_wrong_with_a_portfolio_is_said_before_it_is_adopted(wrong: dict[str, object], problem: str) -> None:
    with pytest.raises(errors.PolicyInvalid, match=problem):
        portfolio(**wrong).check()


# -- reviews in virtual time -----------------------------------------------------------------------------------------


def test_it_changes_to_the_better_order_and_back_when_the_workload_changes() -> None:
    log, _ = run(changing(), portfolio())
    changes = [(hour, order) for hour, order, _ in adoptions(log)]
    assert [order for _, order in changes] == ["fifo", "sjf", "fifo"]
    assert 1 / 16 <= changes[1][0] < 1
    assert 6 < changes[2][0] <= 9


def test_it_comes_nearer_to_the_best_order_of_each_half_than_any_order_alone() -> None:
    chosen = metrics(run(changing(), portfolio())[1], 1).average_bounded_slowdown
    assert chosen < min(slowdown(changing(), order) for order in CANDIDATES)


def test_what_speaks_for_a_choice_stands_in_the_event_that_makes_it() -> None:
    log, _ = run(changing(), portfolio())
    first = adoptions(log)[1][2]
    best, worst = first.evidence
    assert (best.candidate, worst.candidate) == ("sjf", "fifo")
    assert (best.objective, worst.objective) == ("bounded-slowdown", "bounded-slowdown")
    assert best.value < worst.value
    assert best.jobs == worst.jobs == 11  # those of the first hour
    assert [each.meta.actor for each in log.stream(POLICY_STREAM)][1:] == [ACTOR, ACTOR]
    assert msgspec.json.decode(msgspec.json.encode(first), type=PoliciesAdopted) == first


def test_a_candidate_is_measured_as_if_it_had_been_in_force_from_the_beginning_of_the_window() -> None:
    # One processor, at once: 100 s, then 10 s. fifo: waits 0 and 100, slowdowns 1 and 11; sjf: 10 and 0, 1.1 and 1.
    of = Trace((TraceJob(1, 0, 100, 1, 100), TraceJob(2, 0, 10, 1, 10)), 1)
    trace_run = TraceRun(of, ObjectLog(), portfolio())
    trace_run.run()
    recording = record(trace_run.app.log, 0, 110_000)
    found = measure(trace_run.app, recording, portfolio())
    assert found == (
        Evidence(candidate="sjf", objective="bounded-slowdown", value=1.05, jobs=2),
        Evidence(candidate="fifo", objective="bounded-slowdown", value=6.0, jobs=2),
    )
    waits = measure(trace_run.app, recording, portfolio(objective="wait"))
    assert [(each.candidate, each.value) for each in waits] == [("sjf", 5.0), ("fifo", 50.0)]


def test_of_equally_good_candidates_the_one_in_force_stays() -> None:
    of = Trace(tuple(TraceJob(n, n * 600, 60, 1, 60) for n in range(1, 40)), 1)
    for current in CANDIDATES:
        log, _ = run(of, portfolio(current=current))
        assert [order for _, order, _ in adoptions(log)] == [current]


def test_nothing_is_reviewed_when_nothing_arrived_in_the_window() -> None:
    of = Trace((*rows(1, 0, True, 1), *rows(12, 50 * HOUR_S, True, 1)), 1)
    trace_run = TraceRun(of, ObjectLog(), portfolio())
    reviewer = PortfolioReviewer(trace_run.app)
    trace_run.simulator.reviewer = reviewer
    trace_run.run()
    trace_run.simulator.clock.set(100 * HOUR_S * 1_000)
    assert reviewer.due(100 * HOUR_S * 1_000)
    assert reviewer.review(trace_run.app) == ()
    assert not reviewer.due(100 * HOUR_S * 1_000)


def test_a_review_looks_at_no_more_submissions_than_it_may() -> None:
    log, _ = run(changing(), portfolio(max_jobs=5))
    for _, _, event in adoptions(log)[1:]:
        # Eleven jobs come at once, and a moment is looked at as a whole.
        assert all(each.jobs <= 11 + 11 for each in event.evidence)


def test_a_course_with_reviews_is_the_same_again_when_it_is_run_again_from_the_log() -> None:
    log, _ = run(changing(), portfolio())
    for hour in (0, 3, 7):
        found = what_if(log, hour * HOUR_S * 1_000, 13 * HOUR_S * 1_000)
        assert (found.moved, found.recorded) == (0, found.simulated)


def test_what_a_portfolio_would_have_done_can_be_asked() -> None:
    log, _ = run(changing(), Policies(order="fifo", backfill="easy"))
    found = what_if(log, 0, 13 * HOUR_S * 1_000, policies=portfolio())
    chosen, _ = run(changing(), portfolio())
    assert found.policies.policy("order").chosen == "fifo"
    assert found.simulated == what_if(chosen, 0, 13 * HOUR_S * 1_000).recorded


def test_the_same_trace_leads_to_the_same_log() -> None:
    def whole() -> list[Recorded]:
        return run(changing(), portfolio())[0].read(0, 1_000_000)

    assert whole() == whole()


def test_deadlines_can_be_what_counts() -> None:
    assert Objective("late") is Objective.LATE
    desk = Desk()
    desk.do(AdoptPolicies(policies=portfolio(objective="late", candidates=["fifo", "edf"])))
    desk.nodes("n1", cores=1)
    now_ms = desk.clock.now_ms()
    desk.submit("job-a", walltime_ms=100_000, deadline_ms=now_ms + 1_000_000)
    desk.cycle()
    desk.submit("job-b", walltime_ms=100_000, deadline_ms=now_ms + 2_000_000)
    desk.submit("job-c", walltime_ms=100_000, deadline_ms=now_ms + 210_000)
    for job_id in ("job-a", "job-b", "job-c"):
        desk.clock.advance(100_000)
        desk.finish(job_id)
        desk.cycle()
    desk.clock.advance(HOUR_S * 1_000)
    reviewer = PortfolioReviewer(desk.app)
    assert reviewer.due(desk.clock.now_ms())
    found = reviewer.review(desk.app)
    assert [(each.candidate, each.jobs) for each in found] == [("edf", 3), ("fifo", 3)]
    assert [each.value for each in found] == [0.0, pytest.approx(1 / 3)]
    assert desk.app.farm.policies.policy("order").chosen == "edf"


# -- reviews on a farm in use ----------------------------------------------------------------------------------------


def busy_desk() -> Desk:
    """An hour of a farm for which sjf would have been better."""
    desk = Desk()
    desk.do(AdoptPolicies(policies=portfolio()))
    desk.nodes("n1", cores=1)
    desk.submit("job-a", walltime_ms=1_000_000)
    desk.cycle()
    desk.submit("job-b", walltime_ms=1_000_000)
    desk.submit("job-c", walltime_ms=10_000)
    for job_id, run_ms in (("job-a", 1_000_000), ("job-b", 1_000_000), ("job-c", 10_000)):
        desk.clock.advance(run_ms)
        desk.finish(job_id)
        desk.cycle()
    desk.clock.advance(HOUR_S * 1_000)
    return desk


def test_the_time_of_a_review_follows_from_the_log_also_after_a_restart() -> None:
    desk = busy_desk()
    adopted_ms = desk.log.stream(POLICY_STREAM)[0].event.at_ms
    for reviewer in (PortfolioReviewer(desk.app), PortfolioReviewer(Desk(desk.log, desk.clock).app)):
        assert not reviewer.due(adopted_ms + HOUR_S * 1_000 // 16 - 1)
        assert reviewer.due(adopted_ms + HOUR_S * 1_000 // 16)


def test_the_first_reviews_come_sooner_and_later_ones_every_interval() -> None:
    desk = Desk()
    desk.do(AdoptPolicies(policies=portfolio(every_h=16)))
    reviewer, since_ms, found = PortfolioReviewer(desk.app), desk.clock.now_ms(), []
    for hour in range(1, 70):
        desk.clock.advance(HOUR_S * 1_000)
        if reviewer.due(desk.clock.now_ms()):
            reviewer.review(desk.app)
            found.append((desk.clock.now_ms() - since_ms) // 1_000 // HOUR_S)
            assert found[-1] == hour
    assert found == [1, 2, 4, 8, 16, 32, 48, 64]


def test_nothing_is_due_under_another_order() -> None:
    desk = busy_desk()
    desk.do(AdoptPolicies(policies=Policies(order="fifo")))
    assert not PortfolioReviewer(desk.app).due(desk.clock.now_ms() + 1_000 * HOUR_S * 1_000)


def test_a_choice_that_somebody_overtook_is_not_made() -> None:
    desk = busy_desk()
    reviewer = PortfolioReviewer(desk.app)
    policies = desk.app.farm.policies
    desk.do(AdoptPolicies(policies=Policies(order="fifo")))
    evidence = (Evidence(candidate="sjf", objective="wait", value=1.0, jobs=1),)
    reviewer._adopt(desk.app, policies, evidence)
    assert desk.app.farm.policies == Policies(version=3, order="fifo")


def test_a_review_that_is_told_to_stop_chooses_nothing() -> None:
    desk, stop = busy_desk(), threading.Event()
    recording = record(desk.log, 0, desk.clock.now_ms())
    assert len(measure(desk.app, recording, portfolio(), stop=stop)) == 2
    stop.set()
    assert measure(desk.app, recording, portfolio(), stop=stop) == ()


def test_in_real_time_a_thread_reviews_until_it_is_told_to_stop() -> None:
    desk, stop = busy_desk(), threading.Event()
    thread = threading.Thread(target=PortfolioReviewer(desk.app).run, args=(stop,))
    thread.start()
    deadline_s = time.monotonic() + 20
    while desk.app.farm.policies.policy("order").chosen != "sjf":
        assert time.monotonic() < deadline_s
        stop.wait(0.01)
    stop.set()
    thread.join(20)
    assert not thread.is_alive()
    adopted = desk.last(PoliciesAdopted)
    assert [each.candidate for each in adopted.evidence] == ["sjf", "fifo"]
    desk.check()
