"""Simulating a trace, first come, first served with EASY backfilling: 100,000 jobs from submission to completion.

The trace is invented (Lublin & Feitelson 2003) for its published machine of 128 processors at a load of 0.8, requests
up to three times the run time: a job waits 7.4 hours on average, 32 wait at a time, and 68 % do not start at once.
Ours is everything that `milepost simulate` does after it has made the trace: all events made and kept, with the reasons
of those who wait. One machine of nothing but processors is what `application.simulation.kernel` decides by integer
arithmetic, and that is what the rows measure unless they say `engine`: there commands are decided, events folded into a
farm, and every cycle planned over it, as for whatever the kernel does not know. Both leave the same log, which tests
prove. The floor is `bare_easy`, which only says who starts when; all must agree on every start.

Against accasim both read the same SWF file, and the reading counts, because accasim reads while it simulates. Only the
first jobs of the trace are simulated: its rate hardly depends on how many there are.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from msgspec.structs import replace

from adapters.importers.swf import load_swf, write_swf
from adapters.simulation import SNAPSHOT_EVERY
from adapters.store.buffered import BufferedLog
from adapters.store.objects import ObjectLog
from adapters.store.sqlite import open_log
from application.simulation.engine import Progress
from application.simulation.farms import SimulatedNode
from application.simulation.lublin import Synthetic, generate
from application.simulation.traces import TraceRun
from application.simulation.workload import Trace
from domain.policies import Policies
from domain.resources import Resources
from tests.benchmarks import accasim_peer, bare_easy
from tests.benchmarks.bare_easy import Columns
from tests.benchmarks.harness import Pair, Row, Size, processor_seconds, seconds

POLICIES = Policies(order="fifo", backfill="easy")
WANTED = Synthetic(100_000, seed=1, processors=128, load=0.8, overestimate=2.0)


def workload(jobs: int, first: int | None = None) -> Trace:
    """The invented trace of so many jobs at the same load, or the first of them only."""
    trace = generate(replace(WANTED, jobs=jobs))
    return trace if first is None else replace(trace, jobs=trace.jobs[:first])


def columns_of(trace: Trace) -> Columns:
    """The same trace for the bare loop."""
    return bare_easy.columns((job.submit_s, job.run_s, job.processors, job.requested_s) for job in trace.jobs)


def same_starts(run: TraceRun, starts: Sequence[int]) -> bool:
    """Whether a simulation started every job in the second that the bare loop says."""
    return [run.starts.get(job.number) for job in run.trace.jobs] == list(starts)


@contextmanager
def in_memory(size: Size, directory: Path) -> Iterator[Pair]:
    """Every event is kept, as an object."""
    yield _in_memory(size, kernel=True)


@contextmanager
def in_memory_by_engine(size: Size, directory: Path) -> Iterator[Pair]:
    """The same log without the kernel."""
    yield _in_memory(size, kernel=False)


def _in_memory(size: Size, *, kernel: bool) -> Pair:
    def timed(trace: Trace) -> tuple[TraceRun, float]:
        run = TraceRun(trace, ObjectLog(), POLICIES, kernel=kernel)
        took = processor_seconds(run.run)
        assert run.by_kernel is kernel
        return run, took

    return _against_bare(size, timed, processor_seconds)


@contextmanager
def durable(size: Size, directory: Path) -> Iterator[Pair]:
    """Every event is encoded and stored in SQLite, many to a commit, with snapshots of the farm now and then."""
    stores = (directory / f"store-{number}" for number in range(1_000))

    def timed(trace: Trace) -> tuple[TraceRun, float]:
        run = TraceRun(trace, BufferedLog(open_log(next(stores))), POLICIES)
        return run, seconds(lambda: _kept(run))

    yield _against_bare(size, timed, seconds)


def _kept(run: TraceRun) -> None:
    def tell(progress: Progress) -> None:
        run.app.snapshot_if_due(SNAPSHOT_EVERY)

    run.run(tell)
    run.app.close()


def _against_bare(
    size: Size, timed: Callable[[Trace], tuple[TraceRun, float]], clock: Callable[[Callable[[], object]], float]
) -> Pair:
    trace = workload(size.of(WANTED.jobs, WANTED.jobs // 10, 100))
    jobs, count = columns_of(trace), len(trace.jobs)
    starts = bare_easy.starts(jobs, trace.processors)

    def ours() -> float:
        run, took = timed(trace)
        assert same_starts(run, starts), "simulator and bare loop differ"
        return took / count

    return Pair(lambda: clock(lambda: bare_easy.starts(jobs, trace.processors)) / count, ours)


# -- accasim -----------------------------------------------------------------------------------------------------------


@contextmanager
def against_accasim(size: Size, directory: Path) -> Iterator[Pair]:
    """One node with all cores on both sides, which is what suits accasim best."""
    yield _against_accasim(size, directory, nodes=1)


@contextmanager
def against_accasim_by_engine(size: Size, directory: Path) -> Iterator[Pair]:
    """The same without the kernel."""
    yield _against_accasim(size, directory, nodes=1, kernel=False)


@contextmanager
def against_accasim_nodes(size: Size, directory: Path) -> Iterator[Pair]:
    """A node for each processor on both sides: jobs are gangs."""
    yield _against_accasim(size, directory, nodes=WANTED.processors)


def _against_accasim(size: Size, directory: Path, nodes: int, *, kernel: bool = True) -> Pair:
    count = size.of(10_000, 2_000, 50)
    swf, cores = directory / "trace.swf", WANTED.processors // nodes
    trace = workload(WANTED.jobs, count)
    with swf.open("w") as stream:
        write_swf(trace, {}, stream)
    machine = [SimulatedNode(f"node-{number:03d}", Resources(cores * 1_000, 0)) for number in range(nodes)]

    def ours() -> None:
        run = TraceRun(load_swf(swf), ObjectLog(), POLICIES, nodes=machine if nodes > 1 else (), kernel=kernel)
        assert len(run.run()) == count

    def floor() -> float:
        peer = accasim_peer.prepare(swf, directory, nodes, cores)
        took = processor_seconds(peer.run)
        assert len(peer.waits()) == count
        return took / count

    return Pair(floor, lambda: processor_seconds(ours) / count)


_WHAT = "trace simulation, FIFO + EASY, reasons on"
_BARE = "bare heap loop without objects"
ROWS = (
    Row("simulation", f"{_WHAT}, events in memory", _BARE, "job", in_memory, accept=8, goal=3, rounds=3),
    Row("simulation-engine", f"{_WHAT}, events in memory, by the engine", _BARE, "job", in_memory_by_engine, rounds=3),
    Row("simulation-durable", f"{_WHAT}, durable log", _BARE, "job", durable, accept=10, goal=4, rounds=3),
)
PEER_ROWS = (
    Row(
        "simulation-accasim",
        f"{_WHAT}, events in memory",
        "accasim, one node",
        "job",
        against_accasim,
        accept=12,
        goal=20,
        faster=True,
        rounds=3,
    ),
    Row(
        "simulation-accasim-engine",
        f"{_WHAT}, events in memory, by the engine",
        "accasim, one node",
        "job",
        against_accasim_by_engine,
        faster=True,
        rounds=3,
    ),
    Row(
        "simulation-accasim-nodes",
        f"{_WHAT}, 128 nodes, events in memory",
        "accasim, 128 nodes",
        "job",
        against_accasim_nodes,
        faster=True,
        rounds=3,
    ),
)
"""Can be measured where accasim is installed."""
