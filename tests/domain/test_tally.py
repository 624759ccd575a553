"""The three counts of a workflow, job by job."""

from msgspec.structs import replace

from domain.indices.tally import Tally
from domain.job.values import Attempt, Job, JobStatus
from tests.builders import NOW, job

WAITS = job("job-1", queued=False)
QUEUED = job("job-1")
RUNS = replace(WAITS, live={1: Attempt(0, (("n1", 1),), NOW)})
"""It was unqueued while it ran."""
COMPLETED = replace(QUEUED, ended=JobStatus.COMPLETED)
FAILED = replace(QUEUED, ended=JobStatus.FAILED)
CANCELLED = replace(RUNS, ended=JobStatus.CANCELLED)
"""It still stops."""


def counts(tally: Tally) -> tuple[int, int, int]:
    return tally.left, tally.going, tally.bad


def test_each_state_counts_as_what_can_become_of_it() -> None:
    expected: list[tuple[Job, tuple[int, int, int]]] = [
        (WAITS, (1, 0, 0)),
        (QUEUED, (1, 1, 0)),
        (RUNS, (1, 1, 0)),
        (COMPLETED, (0, 0, 0)),
        (FAILED, (0, 0, 1)),
        (CANCELLED, (0, 0, 1)),
    ]
    for state, counted in expected:
        assert counts(Tally.of(["job-1"], {"job-1": state}.get, {})) == counted


def test_what_is_forgotten_counts_as_it_ended_and_what_is_unknown_is_still_to_come() -> None:
    outcomes = {"job-1": JobStatus.COMPLETED, "job-2": JobStatus.FAILED}
    assert counts(Tally.of(["job-1", "job-2", "job-3"], {}.get, outcomes)) == (1, 0, 1)


def test_a_present_state_counts_more_than_a_former_outcome() -> None:
    assert counts(Tally.of(["job-1"], {"job-1": QUEUED}.get, {"job-1": JobStatus.FAILED})) == (1, 1, 0)


def test_moves_lead_to_the_same_counts_as_a_count_of_all() -> None:
    tally = Tally.of(["job-1"], {}.get, {})
    before = None
    for state in (WAITS, QUEUED, replace(QUEUED, held=True), RUNS, WAITS, QUEUED, FAILED):
        tally.move(before, state)
        assert counts(tally) == counts(Tally.of(["job-1"], {"job-1": state}.get, {}))
        before = state
    tally.reopen(WAITS)
    assert counts(tally) == (1, 0, 0)


def test_a_copy_counts_on_by_itself() -> None:
    tally = Tally(1)
    tally.copy().add()
    assert counts(tally) == (1, 0, 0)
