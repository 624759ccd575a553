"""What interrupted attempts leave behind in a simulation."""

import pytest

from adapters.store.objects import ObjectLog
from application.app import Application
from application.commands import AdoptPolicies
from application.simulation.clock import CountedIds, VirtualClock
from application.simulation.engine import ACTOR, Arrival, Simulator
from application.simulation.standing import rest_ms
from domain.client import RegisterClient
from domain.job.commands import RequeueTasks, SubmitJob
from domain.job.values import Attempt, AttemptNumber, FailureClass, Job, JobSpec, Work
from domain.messages import Command
from domain.node import BringOnline, LoseNode, RegisterNode
from domain.policies import Policies
from domain.resources import Requirement, Resources

RUN_MS = 100_000
NODE = Resources(4_000, 8_192)
GANG = JobSpec(
    "job-1", "gang", "studio", Work(argv=("true",)), Requirement(NODE, slots=2, distinct_nodes=True), checkpoints=True
)


class Long:
    """Every task runs for the same time, less what its checkpoint stands for."""

    def run_of(self, job: Job, attempt: Attempt, number: AttemptNumber) -> tuple[int, FailureClass | None]:
        return rest_ms(job, attempt.task, RUN_MS), None


def ended_ms(at_ms: int, *commands: Command) -> int:
    """When a gang on two of three nodes is done to which something happens in between."""
    clock = VirtualClock()
    app = Application(ObjectLog(), clock, CountedIds())
    nodes = [(RegisterNode(node_id=name, capacity=NODE), BringOnline(node_id=name)) for name in ("n1", "n2", "n3")]
    opening = (RegisterClient(client_id="studio"), AdoptPolicies(policies=Policies(placement="first-fit")))
    app.handle_all((*opening, *[each for pair in nodes for each in pair]), ACTOR)
    arrivals = [Arrival(0, (SubmitJob(spec=GANG),)), Arrival(at_ms, commands)]
    Simulator(app, clock, Long()).run(arrivals)
    return clock.now_ms()


def test_a_gang_that_is_told_to_end_saves_what_it_has_done() -> None:
    assert ended_ms(30_000, RequeueTasks(job_id="job-1", tasks="0")) == RUN_MS


@pytest.mark.parametrize("lost", ["n1", "n2"])
def test_a_gang_that_has_lost_a_node_saves_nothing(lost: str) -> None:
    assert ended_ms(30_000, LoseNode(node_id=lost, why="outage")) == 30_000 + RUN_MS
