"""Occupancy, by hand: only the time counts in which something waits that a class of nodes could hold."""

from collections.abc import Iterable

import pytest

from application.simulation.occupancy import Occupancy
from domain.farm import Farm
from domain.job.values import Job
from domain.messages import Meta, Recorded
from domain.node import Attributes, Node, NodeOnline
from tests.builders import farm, job, need, node, running

BIG: Attributes = {"class": ("big",)}
SMALL: Attributes = {"class": ("small",)}


class Watched:
    """An occupancy of one resource over farms that follow each other."""

    def __init__(self, resource: str = "millicores") -> None:
        self._farm = farm()
        self.occupancy = Occupancy(lambda: self._farm, resource)

    def at(self, at_ms: int, on: Farm) -> "Watched":
        """From this time on the farm is like that."""
        self._farm = on
        self.occupancy.see([Recorded(1, "node:n1", 1, NodeOnline(at_ms=at_ms, node_id="n1"), Meta("test"))])
        return self

    @property
    def amounts(self) -> tuple[int, int, int]:
        """Used, offered, and how long there was demand."""
        return self.occupancy.used_ms, self.occupancy.offered_ms, self.occupancy.demand_ms


def nodes() -> list[Node]:
    return [node("n1", cores=8, attributes=BIG), node("n2", cores=2, attributes=SMALL)]


def on(*jobs: Job, among: Iterable[Node] = ()) -> Farm:
    return farm(list(among) or nodes(), jobs)


def test_without_demand_nothing_counts() -> None:
    watched = Watched().at(0, on(running("a", 6))).at(100, on())
    assert watched.amounts == (0, 0, 0)
    assert watched.occupancy.share == 1.0


def test_a_waiting_task_demands_every_class_that_could_hold_it_when_empty() -> None:
    watched = Watched().at(0, on(running("a", 6), job("b", 2))).at(100, on())
    assert watched.amounts == (6_000 * 100, 10_000 * 100, 100)
    assert watched.occupancy.share == 0.6
    watched = Watched().at(0, on(running("a", 6), job("b", 4))).at(100, on())
    assert watched.amounts == (6_000 * 100, 8_000 * 100, 100)  # the small node could never hold it


def test_all_nodes_of_a_class_count_and_only_while_demand_lasts() -> None:
    alike = [node("n1", cores=8, attributes=BIG), node("n2", cores=2, attributes=BIG)]
    watched = Watched().at(0, on(job("b", 4), among=alike)).at(10, on(running("b", 4), among=alike)).at(50, on())
    assert watched.amounts == (0, 10_000 * 10, 10)


def test_nodes_that_take_no_work_do_not_count() -> None:
    closed = [node("n1", cores=8, attributes=BIG), node("n2", cores=8, attributes=BIG, draining=True)]
    watched = Watched().at(0, on(running("a", 6), job("b", 4), among=closed)).at(100, on())
    assert watched.amounts == (6_000 * 100, 8_000 * 100, 100)


def test_a_task_that_needs_none_of_a_resource_is_no_demand_for_it() -> None:
    with_gpus = [node("n1", cores=8, gpus=4)]
    watched = Watched("gpus").at(0, on(job("b", 2), among=with_gpus)).at(100, on())
    assert watched.amounts == (0, 0, 0)
    gpu_job = job("b", requirement=need(2, gpus=1))
    watched = Watched("gpus").at(0, on(gpu_job, among=with_gpus)).at(100, on())
    assert watched.amounts == (0, 4 * 100, 100)


@pytest.mark.parametrize("empty", [[], ()])
def test_an_empty_commit_changes_nothing(empty: list[Recorded]) -> None:
    watched = Watched().at(5, on(job("b", 2)))
    watched.occupancy.see(empty)
    assert watched.amounts == (0, 0, 0)
