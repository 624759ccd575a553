"""What the benchmarks feed in: jobs as people submit them, whole lives of jobs, and logs with a long history."""

import random
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from adapters.store.log import RecorderLog
from application.decider import Batch
from domain.farm import Farm
from domain.job import commands as c
from domain.job.values import AttemptEnd, JobSpec, Placement, PlacementReason, Priority, Work
from domain.messages import Command, Meta
from domain.node import BringOnline, RegisterNode
from domain.resources import Requirement, Resources

NOW = 1_790_000_000_000
CLIENT = "default"
NODES = 1_000
PER_COMMIT = 1_000
SMALL = Requirement(Resources(1_000, 1_024))
ROOMY = Resources(64_000, 262_144)
WHY = PlacementReason("best-fit", "priority", 0.625, 85)
USER, SCHEDULER, DISPATCHER = (
    Meta("user:ada", "cmd-01m852xxvw001s9x3km7"),
    Meta("scheduler", cycle=46_201),
    Meta("dispatcher"),
)


def job_ids(start: int = 0) -> Iterator[str]:
    """Ids as the Ids port makes them: time-ordered, 24 characters."""
    number = start
    while True:
        number += 1
        yield f"job-01m8{number:016d}"


def submission(
    job_id: str, requirement: Requirement = SMALL, client_id: str = CLIENT, priority: Priority = Priority.MEDIUM
) -> c.SubmitJob:
    """One job of one task."""
    work = Work(("render", "--frame", "{task}", "scene.blend"))
    return c.SubmitJob(spec=JobSpec(job_id, "shot 010", client_id, work, requirement, priority=priority))


def node_commands(count: int, capacity: Resources = ROOMY) -> list[Command]:
    """Nodes `n1, n2, …`, registered and online."""
    names = [f"n{number}" for number in range(1, count + 1)]
    made = [(RegisterNode(node_id=name, capacity=capacity), BringOnline(node_id=name)) for name in names]
    return [command for pair in made for command in pair]


# -- lives of jobs: what happened, one command after the other --------------------------------------------------------

Life = list[tuple[Command, Meta]]


def waiting(job_id: str, node_id: str) -> Life:
    """Submitted, and still in the queue: 1 event."""
    return [(submission(job_id), USER)]


def running(job_id: str, node_id: str) -> Life:
    """Submitted, placed, started: 3 events."""
    place = c.PlaceTasks(job_id=job_id, placements=(Placement("0", ((node_id, 1),)),), reason=WHY)
    return [*waiting(job_id, node_id), (place, SCHEDULER), (c.ReportStarted(job_id=job_id, attempts=(1,)), DISPATCHER)]


def completed(job_id: str, node_id: str) -> Life:
    """All of it: 5 events."""
    end = AttemptEnd(1, 0, exit_code=0, started_ms=NOW, ended_ms=NOW + 60_000, cpu_ms=58_000, max_rss_mib=700)
    return [*running(job_id, node_id), (c.ReportEnded(job_id=job_id, ends=(end,)), DISPATCHER)]


EVENTS_OF_A_LIFE = 5


def lives(count: int, ids: Iterator[str], kind: Callable[[str, str], Life] = completed) -> list[Life]:
    """That many lives, round robin over the nodes."""
    return [kind(job_id, f"n{at % NODES + 1}") for at, job_id in enumerate(islice(ids, count))]


def decided(log: RecorderLog, batch_of: Iterable[Life], now_ms: int = NOW) -> Batch:
    """The batch in which all these commands were decided and evolved, ready to be appended."""
    batch = Batch(Farm(), log, now_ms)
    for life in batch_of:
        for command, meta in life:
            batch.do(command, meta)
    return batch


# -- long logs ---------------------------------------------------------------------------------------------------------


def fill(log: RecorderLog, jobs: int, ids: Iterator[str], kind: Callable[[str, str], Life] = completed) -> None:
    """Appends the events of so many jobs, each within one commit."""
    while jobs > 0:
        log.append(decided(log, lives(min(jobs, PER_COMMIT), ids, kind)).events)
        jobs -= PER_COMMIT


def history(log: RecorderLog, events: int) -> None:
    """A farm of long standing: of 500 events 360 are those of ended jobs, 60 of running, 80 of waiting ones.

    At 500,000 events there are 72,000 ended, 20,000 running and 80,000 waiting jobs: 100,000 jobs live.
    """
    ids = job_ids()
    log.append(decided(log, [[(command, USER)] for command in node_commands(NODES)]).events)
    fill(log, events * 72 // 500, ids)
    fill(log, events * 20 // 500, ids, running)
    fill(log, events * 80 // 500, ids, waiting)


def copy(directory: Path, into: Path) -> Path:
    """A store's directory once more, to change it without harm."""
    shutil.rmtree(into, ignore_errors=True)
    shutil.copytree(directory, into)
    return into


# -- clusters and queues for cycles ------------------------------------------------------------------------------------


def shapes(count: int, seed: int = 1) -> list[Requirement]:
    """Different requirements of one slot: 1 to 16 cores, 1 to 64 GiB in steps of a half, every eighth with GPUs."""
    rng = random.Random(seed)
    found: dict[Requirement, None] = {}
    while len(found) < count:
        cores, memory_mib = rng.choice((1, 2, 3, 4, 6, 8, 12, 16)) * 1_000, rng.randint(2, 128) * 512
        found[Requirement(Resources(cores, memory_mib, rng.choice((0,) * 14 + (1, 2))))] = None
    return list(found)


def capacities(count: int, seed: int = 2) -> list[Resources]:
    """Machines of several kinds; every fifth has GPUs."""
    rng = random.Random(seed)
    made = []
    for number in range(count):
        cores = rng.choice((16, 32, 32, 64))
        gpus = rng.choice((2, 4, 8)) if number % 5 == 0 else 0
        made.append(Resources(cores * 1_000, cores * rng.choice((4, 8)) * 1_024, gpus))
    return made


def drawn(count: int, of: Sequence[Requirement], seed: int = 3) -> list[Requirement]:
    """Requirements of so many jobs, some shapes asked for often and some seldom (Zipf)."""
    rng = random.Random(seed)
    return rng.choices(of, weights=[1 / (rank + 5) for rank in range(len(of))], k=count)
