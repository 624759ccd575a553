"""What a farm can never hold: requirements beyond its nodes, and guarantees beyond the whole of it."""

from application.commands import Submit
from domain import errors
from domain.client import ChangeShares, RegisterClient, Shares
from domain.job import commands as c
from domain.job.values import JobStatus
from domain.node import BringOnline, RegisterNode, RetireNode, TakeOffline
from tests.application.desk import Desk
from tests.application.test_commands import refused, submission
from tests.builders import having, need, resources, spec

# -- requirements that can never be met ------------------------------------------------------------------------------


def test_a_job_that_no_node_could_ever_hold_is_refused_with_what_is_missing() -> None:
    desk = Desk()
    desk.nodes("n1", cores=4, memory_mib=8_000)
    desk.nodes("n2", cores=8, memory_mib=4_000)
    error = refused(desk, submission("job-1", requirement=need(16)))
    assert isinstance(error, errors.RequirementImpossible)
    assert error.fields["problem"] == "it needs 16 cores, the best node has 8 cores"
    with_attribute = need(1, attributes=[having("os", "plan9")])
    nowhere = refused(desk, submission("job-1", requirement=with_attribute)).fields["problem"]
    assert nowhere == "it needs a node with os plan9; no node has that attribute; they have none"
    assert "licence" in refused(desk, submission("job-1", requirement=need(1, licence=1))).message
    gang = need(4, slots=3, distinct=True)
    needs_three = refused(desk, submission("job-1", requirement=gang)).fields["problem"]
    assert needs_three == "it needs 3 nodes, the farm has 2 that could hold it"
    memory = refused(desk, submission("job-1", requirement=need(1, memory_mib=65_536))).fields["problem"]
    assert memory == "it needs 64 GiB memory, the best node has 7.81 GiB memory"


def test_an_attribute_that_no_node_has_so_is_refused_with_what_nodes_have() -> None:
    desk = Desk()
    for node_id, engines in (("n1", ("cycles",)), ("n2", ("eevee", "karma"))):
        attributes = {"render.engine": engines}
        desk.do(
            RegisterNode(node_id=node_id, capacity=resources(4), attributes=attributes), BringOnline(node_id=node_id)
        )
    wanted = having("render.engine", "arnold", "mantra")
    problem = refused(desk, submission("job-1", requirement=need(1, attributes=[wanted]))).fields["problem"]
    assert problem == "it needs a node with render.engine arnold or mantra; nodes have cycles, eevee, karma"
    both = having("render.engine", all_of=("cycles", "karma"))
    problem = refused(desk, submission("job-1", requirement=need(1, attributes=[both]))).fields["problem"]
    assert problem == "it needs a node with render.engine cycles and karma; nodes have cycles, eevee, karma"


def test_of_a_workflow_it_is_said_which_job_is_impossible() -> None:
    desk = Desk()
    desk.nodes("n1", cores=4)
    jobs = (
        c.SubmitJob(spec=spec("job-1", client_id="default", workflow_id="wf-1")),
        c.SubmitJob(spec=spec("job-2", client_id="default", workflow_id="wf-1", name="Bake", requirement=need(9))),
    )
    error = refused(desk, Submit(workflow_id="wf-1", workflow_name="film", jobs=jobs))
    assert error.fields == {"problem": "job 'Bake': it needs 9 cores, the best node has 4 cores", "job": "Bake"}


# -- guarantees ------------------------------------------------------------------------------------------------------


def test_all_guarantees_together_are_never_more_than_the_farm() -> None:
    desk = Desk()
    desk.client("studio", guarantee_percent=50)
    desk.client("lab", guarantee_percent=25)
    error = refused(desk, RegisterClient(client_id="late", shares=Shares(guarantee_percent=30)))
    assert isinstance(error, errors.GuaranteesExceeded)
    assert str(error) == (
        "client 'late' cannot be guaranteed 30 %: together 105 % of the farm (lab has 25 %, studio has 50 %)"
    )
    assert desk.known_client("late") is None
    assert isinstance(refused(desk, ChangeShares(client_id="lab", shares=Shares(guarantee_percent=51))), type(error))
    desk.do(ChangeShares(client_id="lab", shares=Shares(guarantee_percent=50)))
    lower = ChangeShares(client_id="studio", shares=Shares(guarantee_percent=40))
    desk.do(lower, RegisterClient(client_id="late", shares=Shares(guarantee_percent=10)))
    both = [RegisterClient(client_id=each, shares=Shares(guarantee_percent=0)) for each in ("one", "two")]
    desk.do(*both)


def test_before_any_node_is_known_nothing_is_impossible() -> None:
    desk = Desk()
    desk.submit("job-1", requirement=need(1_000))
    assert desk.status("job-1") is JobStatus.QUEUED


def test_a_node_that_is_only_away_makes_nothing_impossible_but_one_that_left_for_good_does() -> None:
    desk = Desk()
    desk.nodes("n1", cores=4)
    desk.nodes("n2", cores=16)
    desk.do(TakeOffline(node_id="n2"))
    desk.submit("job-1", requirement=need(16))
    desk.do(RetireNode(node_id="n2"))
    assert isinstance(refused(desk, submission("job-2", requirement=need(16))), errors.RequirementImpossible)
