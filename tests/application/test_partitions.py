"""Partitions among other streams: who is let in, what a job is given, and what stands in the way of a removal."""

from typing import Any

import pytest
from msgspec.structs import replace

from application.commands import AdoptPolicies
from domain import errors
from domain.decisions import ReasonCode
from domain.farm import Farm
from domain.job import commands as c
from domain.partition import ChangePartition, DefinePartition, RemovePartition, Terms
from domain.policies import Policies
from tests.application.desk import Desk
from tests.builders import HOUR, having, need
from tests.contents import contents


def desk_with(**terms: Any) -> Desk:
    """Two nodes, the first of them in the partition `night`."""
    desk = Desk()
    desk.nodes("n1", "n2", cores=2)
    desk.client("lab")
    desk.do(DefinePartition(partition="night", terms=Terms(**({"nodes": ("n1",)} | terms))))
    return desk


def limited(desk: Desk, job_id: str = "job-1", name: str = "night", **fields: Any) -> None:
    desk.submit(job_id, requirement=replace(need(1), partition=name), **fields)


def test_a_job_is_placed_on_nodes_of_its_partition_only() -> None:
    desk = desk_with()
    limited(desk, tasks="0-9")
    (place,) = desk.cycle().decisions
    assert {node_id for each in place.placements for node_id, _ in each.nodes} == {"n1"}


def test_an_unknown_partition_is_refused_with_those_there_are() -> None:
    with pytest.raises(errors.PartitionNotFound, match="there is no partition 'day'; there are night"):
        limited(desk_with(), name="day")
    with pytest.raises(errors.PartitionNotFound, match="`milepost partition add` makes one"):
        limited(Desk())


def test_a_client_that_may_not_use_it_is_told_what_it_may_use() -> None:
    desk = desk_with(clients=("lab",))
    desk.do(DefinePartition(partition="all", terms=Terms(("n2",))))
    with pytest.raises(errors.PartitionForbids, match="it is for lab, not for client default; default may use all"):
        limited(desk)
    limited(desk, client_id="lab")


def test_a_walltime_above_the_longest_is_refused_with_who_would_take_it() -> None:
    desk = desk_with(max_walltime_ms=HOUR)
    desk.do(DefinePartition(partition="long", terms=Terms(("n2",), max_walltime_ms=9 * HOUR)))
    desk.do(DefinePartition(partition="empty", terms=Terms(("n9",))))
    with pytest.raises(errors.PartitionForbids, match="a walltime of 2 h is longer than its longest, 1 h; long would"):
        limited(desk, walltime_ms=2 * HOUR)


def test_a_job_without_a_walltime_gets_the_partitions() -> None:
    desk = desk_with(max_walltime_ms=2 * HOUR, default_walltime_ms=HOUR)
    limited(desk)
    assert desk.job("job-1").spec.walltime_ms == HOUR
    limited(desk)  # the same again changes nothing


def test_a_job_that_none_of_its_nodes_could_hold_is_refused() -> None:
    desk = desk_with(nodes=("n9",))
    with pytest.raises(errors.RequirementImpossible, match="partition night has no node that could hold it"):
        limited(desk)


def test_terms_name_clients_that_are_known() -> None:
    with pytest.raises(errors.ClientNotFound):
        desk_with(clients=("nobody",))


def test_a_partition_is_not_removed_while_jobs_use_it() -> None:
    desk = desk_with()
    limited(desk)
    remove = RemovePartition(partition="night")
    with pytest.raises(errors.PartitionInUse, match=r"it is used by 1 job \(job-1\)"):
        desk.do(remove)
    desk.run("job-1")
    assert desk.do(remove).events == 1
    assert desk.do(remove).events == 0
    with pytest.raises(errors.PartitionNotFound):
        limited(desk, "job-2")


def test_one_that_is_submitted_in_the_same_request_counts() -> None:
    desk = desk_with()
    submit = c.SubmitJob(spec=replace(spec_of("job-1"), client_id="default"))
    with pytest.raises(errors.PartitionInUse):
        desk.do(submit, RemovePartition(partition="night"))


def spec_of(job_id: str) -> Any:
    desk = desk_with()
    limited(desk, job_id)
    return desk.job(job_id).spec


def test_terms_that_change_hold_for_what_waits() -> None:
    desk = desk_with()
    limited(desk, tasks="0-9", walltime_ms=2 * HOUR)
    desk.do(ChangePartition(partition="night", terms=Terms(("n1",), max_walltime_ms=HOUR)))
    assert desk.cycle().decisions == ()
    assert [r.code for row in desk.app.farm.blocked.values() for r in row.reasons] == [ReasonCode.PARTITION_WALLTIME]
    desk.do(ChangePartition(partition="night", terms=Terms(("n1", "n2"), max_tasks=3)))
    assert len(desk.cycle().decisions[0].placements) == 2
    assert len(desk.job("job-1").live) == 3


def test_the_farm_follows_from_the_log() -> None:
    desk = desk_with(attributes=(having("os", "linux"),), limit_percent=50)
    desk.do(AdoptPolicies(policies=Policies(sharing="lending")))
    limited(desk, tasks="0-3", client_id="lab")
    desk.cycle()
    again = Farm.fold(desk.log.replay(0))
    assert contents(again) == contents(desk.app.farm)
    assert again.index.members("night") == desk.app.farm.index.members("night") == 0b1
    uses = [{key: vars_of(use) for key, use in farm.use_in.items()} for farm in (again, desk.app.farm)]
    assert uses[0] == uses[1] == {("night", "lab"): (1_000, 0, 1)}
    assert again.usage.held == desk.app.farm.usage.held


def vars_of(use: Any) -> tuple[int, int, int]:
    return use.millicores, use.gpus, use.tasks
