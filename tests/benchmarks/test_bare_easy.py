"""The bare loop starts every job when the simulator and the second simulator of `tests.schedules` start it."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from adapters.importers.swf import load_swf
from adapters.store.objects import ObjectLog
from application.simulation.lublin import generate
from application.simulation.traces import TraceRun
from application.simulation.workload import Trace
from domain.cycle import CycleDecided
from tests.benchmarks import bare_easy, simulation
from tests.schedules import Job, simulate
from tests.test_schedules import SWF

Rows = list[tuple[int, int, int, int]]
PROCESSORS = 6
ROWS: st.SearchStrategy[Rows] = st.lists(
    st.tuples(*[st.integers(low, high) for low, high in ((0, 40), (1, 12), (1, PROCESSORS), (1, 20))]),
    min_size=1,
    max_size=40,
).map(sorted)


def second_simulator(rows: Sequence[tuple[int, int, int, int]], processors: int) -> list[int]:
    begun = simulate([Job(number, *row) for number, row in enumerate(rows)], processors, "fifo", "easy")
    return [begun[number] for number in range(len(rows))]


def agrees(trace: Trace) -> bool:
    run = TraceRun(trace, ObjectLog(), simulation.POLICIES)
    run.run()
    return simulation.same_starts(run, bare_easy.starts(simulation.columns_of(trace), trace.processors))


@given(ROWS, st.booleans())
def test_on_random_jobs(rows: Rows, may_overrun: bool) -> None:
    if not may_overrun:
        rows = [(submit, run, size, max(run, asked)) for submit, run, size, asked in rows]
    assert bare_easy.starts(bare_easy.columns(rows), PROCESSORS) == second_simulator(rows, PROCESSORS)


@pytest.mark.parametrize(("seed", "overestimate"), [(1, 0.0), (2, 2.0), (3, 10.0)])
def test_on_invented_traces(seed: int, overestimate: float) -> None:
    wanted = replace(simulation.WANTED, jobs=400, seed=seed, load=1.1, overestimate=overestimate)
    trace = generate(wanted)
    jobs = simulation.columns_of(trace)
    starts = bare_easy.starts(jobs, trace.processors)
    assert starts == second_simulator(list(zip(*jobs, strict=True)), trace.processors)
    assert sum(start > submit for start, submit in zip(starts, jobs.submits, strict=True)) > 100
    assert agrees(trace)


@pytest.mark.skipif(not SWF.is_dir(), reason="the shared traces are not here")
def test_on_a_real_trace() -> None:
    trace = load_swf(SWF / "KTH-SP2-1996-2-predictsim-input.swf.gz")
    jobs = simulation.columns_of(trace)
    starts = bare_easy.starts(jobs, trace.processors)
    waits = [start - submit for start, submit in zip(starts, jobs.submits, strict=True)]
    assert round(sum(waits) / len(waits), 2) == 6_834.59  # as in tests.test_schedules, one pass a second
    assert agrees(replace(trace, jobs=trace.jobs[:2_000]))


def test_the_simulation_that_is_measured_gives_reasons() -> None:
    log = ObjectLog()
    TraceRun(simulation.workload(200), log, simulation.POLICIES).run()
    decided = [event for _, _, _, event in log.replay(0) if isinstance(event, CycleDecided)]
    assert any(event.blocked for event in decided)
