"""The queue: jobs that may start, by segment, in the order of submission, after any changes."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.decisions import Segment, shape_name
from domain.indices.queue import NO_END, Line, Queue
from domain.job.values import Job, JobStatus, Priority
from tests.builders import job, need

places = st.tuples(st.integers(0, 6), st.sampled_from("abc"))


@given(st.lists(places, max_size=60))
def test_a_line_keeps_its_places_in_order_whatever_comes_and_goes(changes: list[tuple[int, str]]) -> None:
    """A place that is in the line goes, one that is not comes."""
    line, expected = Line(), set()
    for place in changes:
        if place in expected:
            line.remove(place)
        else:
            line.add(place)
        expected ^= {place}
        assert list(line) == list(line.walk()) == sorted(expected)
        assert len(line) == len(expected)
        assert bool(line) == bool(expected)


def test_a_line_that_is_used_from_the_front_forgets_what_has_left() -> None:
    line = Line()
    for number in range(1_000):
        line.add((number, "job"))
    for number in range(990):
        line.remove((number, "job"))
    assert [number for number, _ in line] == list(range(990, 1_000))
    assert len(line._places) < 100
    line.add((5, "late"))  # submitted long ago, released only now
    assert next(line.walk()) == (5, "late")


def test_jobs_of_one_client_priority_and_requirement_stand_in_one_line() -> None:
    queue = Queue()
    jobs = [
        job("job-a", submitted_ms=2),
        job("job-b", submitted_ms=1),
        job("job-c", 2, submitted_ms=1),
        job("job-d", submitted_ms=1, client_id="other"),
        job("job-e", submitted_ms=1, priority=Priority.HIGH),
    ]
    new = [queue.settle(each) for each in jobs]
    assert [segment is None for segment in new] == [False, True, False, False, False]
    medium = Segment("show", Priority.MEDIUM, need(1))
    assert list(queue.lines[medium]) == [(1, "job-b"), (2, "job-a")]
    assert len(queue.lines) == 4
    assert len(queue) == 5


def test_equal_submit_times_are_ordered_by_id() -> None:
    queue = Queue()
    for job_id in ("job-b", "job-c", "job-a"):
        queue.settle(job(job_id, submitted_ms=7))
    assert [job_id for _, job_id in next(iter(queue.lines.values()))] == ["job-a", "job-b", "job-c"]


NOT_NOW = [{"held": True}, {"paused": True}, {"queued": False}, {"waiting": ""}, {"ended": JobStatus.CANCELLED}]

changes = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from([{}, *NOT_NOW]), st.sampled_from(Priority), st.booleans()), max_size=20
)


@given(changes)
def test_the_queue_holds_just_the_jobs_that_may_start(steps: list[tuple[int, dict, Priority, bool]]) -> None:
    queue = Queue()
    now: dict[str, Job] = {}
    for number, change, priority, dropped in steps:
        job_id = f"job-{number}"
        changed = replace(job(job_id, number % 2 + 1, submitted_ms=number), priority=priority, **change)
        if dropped and job_id in now:
            queue.drop(now.pop(job_id))
        else:
            queue.settle(changed)
            now[job_id] = changed
        expected: dict[Segment, list[tuple[int, str]]] = {}
        for each in now.values():
            if each.startable and each.waiting:
                expected.setdefault(queue.segment_of(each), []).append((each.submitted_ms, each.spec.job_id))
        assert {segment: list(line) for segment, line in queue.lines.items()} == {
            segment: sorted(line) for segment, line in expected.items()
        }
        assert {job_id for job_id in now if job_id in queue} == {j for line in expected.values() for _, j in line}
        assert len(queue) == sum(map(len, expected.values()))


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=30))
def test_a_line_knows_its_shortest_job(steps: list[tuple[int, bool]]) -> None:
    """Whether or not somebody asks in between; some jobs may run for ever, and some are equally short."""
    queue = Queue()
    jobs = {f"job-{at}": job(f"job-{at}", walltime_ms=(None, 7, 3, 3, 9, 5)[at], submitted_ms=at) for at in range(6)}
    for at, ask in steps:
        each = jobs[f"job-{at}"]
        (queue.drop if each.spec.job_id in queue else queue.settle)(each)
        for line in queue.lines.values() if ask else ():
            here = [jobs[job_id].spec.walltime_ms or NO_END for _, job_id in line]
            assert line.shortest_ms(jobs) == min(here)


def test_dropping_a_job_that_is_not_in_changes_nothing() -> None:
    queue = Queue()
    queue.drop(job("job-a"))
    assert len(queue) == 0


def test_a_segment_is_named_by_client_priority_and_shape() -> None:
    segment = Queue().segment_of(job("job-a", 3))
    assert segment.name == f"show/medium/{shape_name(need(3))}"
    assert shape_name(need(3)) != shape_name(need(2)) != shape_name(need(2, slots=2))
