"""Who will be late: words, chances, and what is said where nobody knows."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.forecasting.lateness import by_risk, forecast_ends, outlook_of, promise_of, word_of
from domain.forecasting.promises import RANK, Basis, Promise, Word
from domain.forecasting.runahead import End
from domain.indices.performance import PerformanceState, Recent
from domain.job.values import Job
from domain.policies.priority import DAY_MS
from tests.builders import HOUR, NOW, client, farm, job, node
from tests.history import History, histories

MINUTE = 60_000
ROUGH = PerformanceState((Recent("show", "work", 10 * MINUTE, 10 * MINUTE, 20, 20 * MINUTE),))
"""Runs of ten minutes, off by one on average."""


def due(minutes: float, **fields: Any) -> Job:
    """A job with a deadline so many minutes from now."""
    return replace(job(**{"kind": "work"} | fields), deadline_ms=NOW + round(minutes * MINUTE))


def promises(*jobs: Job, performance: PerformanceState = ROUGH, cores: float = 1) -> list[Promise]:
    made = farm([node(cores=cores)], jobs, [client()], performance=performance)
    found = forecast_ends(made, made.policies, NOW)
    return [found[f"job-{number}"] for number, _ in enumerate(jobs, 1)]


def test_the_words_follow_the_chance() -> None:
    words = [each.word for each in promises(due(30), due(26), due(34), due(40), cores=4)]
    assert words == [Word.AHEAD] * 4
    stood = {minutes: promises(due(minutes))[0] for minutes in (14, 12.5, 10, 6, -1)}
    assert [each.word for each in stood.values()] == [Word.AHEAD, Word.TIGHT, Word.AT_RISK, Word.LATE, Word.LATE]
    assert all(each.basis is Basis.HISTORY for each in stood.values())
    assert stood[10].probability == pytest.approx(0.5, abs=0.01)
    assert stood[-1].probability == 1.0


def test_the_interval_holds_nine_tenths_around_the_expected_end() -> None:
    (found,) = promises(due(12))
    assert found.expected_ms == NOW + 10 * MINUTE
    assert found.earliest_ms is not None
    assert found.latest_ms is not None
    assert found.latest_ms - found.expected_ms == pytest.approx(found.expected_ms - found.earliest_ms, abs=1)


def test_walltimes_alone_say_how_long_at_most_and_give_a_chance_only_where_it_is_sure() -> None:
    nothing = PerformanceState()
    safe, open_, missed = (promises(due(minutes, walltime_ms=HOUR), performance=nothing)[0] for minutes in (61, 30, -1))
    assert (safe.basis, safe.probability, safe.word) == (Basis.REQUESTED, 0.0, Word.AHEAD)
    assert (open_.earliest_ms, open_.expected_ms, open_.latest_ms) == (NOW + 1, NOW + HOUR, NOW + HOUR)
    assert (open_.probability, open_.word) == (None, Word.AT_RISK)
    assert (missed.probability, missed.word) == (1.0, Word.LATE)


def test_nobody_knows_when_what_is_held_or_unlimited_ends() -> None:
    held, endless = promises(due(60, held=True), due(60, kind="new"), cores=2)
    for found in (held, endless):
        assert (found.basis, found.expected_ms, found.latest_ms) == (Basis.INCOMPLETE, None, None)
        assert (found.probability, found.word) == (None, Word.AT_RISK)
    assert (held.earliest_ms, endless.earliest_ms) == (None, NOW + 1)


def test_what_is_known_of_some_and_guessed_of_others_is_mixed() -> None:
    _, behind = promises(due(600, kind="new", walltime_ms=HOUR), due(30))
    assert behind.basis is Basis.MIXED
    assert behind.probability is None
    assert behind.earliest_ms is not None
    assert behind.latest_ms is not None
    assert behind.earliest_ms < NOW + 10 * MINUTE
    assert behind.latest_ms > NOW + 70 * MINUTE


def test_slack_and_urgency() -> None:
    near, far = (outlook_of(promises(due(minutes))[0], NOW) for minutes in (22, 3_000))
    assert (near.slack_ms, near.urgency) == (12 * MINUTE, pytest.approx(1 - 12 * MINUTE / DAY_MS, abs=1e-3))
    assert (far.urgency, outlook_of(promises(due(5))[0], NOW).urgency) == (0.0, 1.0)
    unknown = outlook_of(promises(due(720, held=True))[0], NOW)
    assert (unknown.slack_ms, unknown.urgency) == (None, 0.5)


def test_the_most_likely_to_be_late_come_first_then_the_least_slack() -> None:
    found = promises(due(100), due(5), due(60, held=True), due(11), due(90), cores=9)
    assert [each.promise.job_id for each in by_risk(found, NOW)] == ["job-2", "job-3", "job-4", "job-5", "job-1"]


def test_the_farm_s_experience_widens_what_is_said() -> None:
    made = farm([node(cores=1)], [due(12)], [client()], performance=ROUGH)
    before = forecast_ends(made, made.policies, NOW)["job-1"]
    made.promises.widening += 100
    after = forecast_ends(made, made.policies, NOW)["job-1"]
    assert before.latest_ms is not None
    assert after.latest_ms is not None
    assert (after.latest_ms - NOW - 10 * MINUTE) / (before.latest_ms - NOW - 10 * MINUTE) == pytest.approx(
        1.01**100, rel=1e-4
    )


chances = st.none() | st.floats(0, 1)
times = st.none() | st.integers(NOW - HOUR, NOW + HOUR)


@given(chances, st.integers(NOW - HOUR, NOW + HOUR), times, times, times)
def test_a_past_deadline_is_late_and_else_more_danger_is_no_better_a_word(
    chance: float | None, deadline: int, early: int | None, expected: int | None, late: int | None
) -> None:
    word = word_of(deadline, NOW, chance, early, expected, late)
    if deadline < NOW:
        assert word is Word.LATE
    elif chance is not None:
        assert RANK[word] <= RANK[word_of(deadline, NOW, min(1.0, chance + 0.1), early, expected, late)]


@given(
    st.integers(0, 10**7),
    st.floats(0, 10**6),
    st.integers(0, 10**6),
    st.integers(-(10**7), 10**7),
    st.integers(0, 10**7),
)
def test_a_later_deadline_is_never_more_likely_missed(
    end: int, deviation: float, more: int, at: int, later: int
) -> None:
    least, most = End(NOW + end, deviation), End(NOW + end + more, deviation)
    found = [promise_of(replace(job(), deadline_ms=NOW + t), NOW, least, most) for t in (at, at + later)]
    first, second = (each.probability for each in found)
    assert first is None or 0 <= first <= 1
    assert first is None or second is None or second <= first
    assert RANK[found[1].word] <= RANK[found[0].word]


@settings(max_examples=settings.default.max_examples // 2)
@given(histories())
def test_forecasts_of_any_farm_are_in_order(history: History) -> None:
    found = forecast_ends(history.farm, history.farm.policies, history.now_ms)
    live = {k: j for k, j in history.farm.jobs.items() if j.deadline_ms is not None and j.ended is None}
    assert found.keys() == live.keys()
    for each in found.values():
        known = [at for at in (each.earliest_ms, each.expected_ms, each.latest_ms) if at is not None]
        assert known == sorted(known)
        assert all(at >= history.now_ms for at in known)
        assert each.probability is None or 0 <= each.probability <= 1
        assert (each.expected_ms is None) == (each.basis is Basis.INCOMPLETE)
