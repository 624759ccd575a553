"""A node: what brings it into service, what takes it out, and that nothing but a person undoes what a person did."""

from typing import get_args

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from domain import node
from domain.errors import NodeInvalid, NodeNotFound, NodeStateForbids, TaskSchedulerError
from domain.node import NodeStatus
from domain.node.decide import _DECIDE
from domain.node.evolve import _EVOLVE
from domain.resources import Resources
from tests.builders import NOW, resources
from tests.spec import listing, replayed, scenarios

given = scenarios(node)
ID = {"at_ms": NOW, "node_id": "n1"}
FOUR = resources(4)

registered = node.NodeRegistered(**ID, capacity=FOUR)
online = node.NodeOnline(**ID)
retired = node.NodeRetired(**ID)
drained = node.NodeDrained(**ID, why="disk")
suspected = node.NodeSuspected(**ID, silent_ms=4_000)
maintenance = node.NodeMaintenanceStarted(**ID, why="new cards")
quarantined = node.NodeQuarantined(**ID, cause="9 failures in a row")
UP = (registered, online)
stopping = node.NodeStopping(**ID, why="w")
starting = node.NodeStarting(**ID, why="w")


def ask(kind: type[node.NodeCommand]) -> node.NodeCommand:
    """A command with whatever it needs."""
    extra = {"why": "w", "cause": "w", "silent_ms": 4_000, "capacity": FOUR}
    return kind(node_id="n1", **{name: extra[name] for name in kind.__struct_fields__ if name in extra})


def test_every_command_of_a_node_has_a_rule() -> None:
    assert set(_DECIDE) | {node.RegisterNode} == set(get_args(node.NodeCommand))


def test_every_event_of_a_node_changes_its_state_in_a_defined_way() -> None:
    assert set(_EVOLVE) | {node.NodeRegistered} == set(get_args(node.NodeEvent))


@pytest.mark.parametrize("kind", sorted(_DECIDE, key=lambda kind: kind.__name__))
def test_nothing_can_be_asked_of_a_node_that_is_not_registered_or_has_left(kind: type[node.NodeCommand]) -> None:
    given().when(ask(kind)).then_raises(NodeNotFound, node_id="n1")
    verb = kind.__struct_config__.tag
    given(registered, retired).when(ask(kind)).then_raises(NodeStateForbids, status="retired", verb=verb)


# -- registration ----------------------------------------------------------------------------------------------------


def test_a_registered_node_is_offline_until_it_reports() -> None:
    after = given().when(node.RegisterNode(node_id="n1", capacity=FOUR)).then(registered)
    assert after.state.status is NodeStatus.OFFLINE
    assert not after.state.takes_work
    assert after.when(ask(node.BringOnline)).then(online).state.takes_work


def test_registering_with_the_same_capabilities_changes_nothing() -> None:
    given(registered).when(node.RegisterNode(node_id="n1", capacity=FOUR)).then_nothing()


def test_registering_with_others_changes_them_and_nothing_else() -> None:
    wanted = node.RegisterNode(node_id="n1", capacity=resources(8, gpus=1), attributes={"os": ("linux",)})
    fact = node.NodeCapabilitiesChanged(**ID, capacity=wanted.capacity, attributes=wanted.attributes)
    after = given(*UP, drained).when(wanted).then(fact)
    assert (after.state.capacity, after.state.attributes) == (wanted.capacity, wanted.attributes)
    assert (after.state.status, after.state.draining) == (NodeStatus.ONLINE, True)


@pytest.mark.parametrize(
    ("node_id", "capacity", "problem"),
    [
        ("", FOUR, "an id is plain letters"),
        ("a b", FOUR, "an id is plain letters"),
        ("../x", FOUR, "an id is plain letters"),
        ("n1", resources(-1), "its capacity is negative"),
        ("n1", resources(licence=-1), "its capacity is negative"),
        ("n1", Resources(named=(("b", 1), ("a", 1))), "its named resources are not sorted"),
        ("n1", Resources(named=(("memory_mib", 1),)), "its named resources are not sorted"),
    ],
)
def test_what_could_never_be_a_node_is_refused(node_id: str, capacity: Resources, problem: str) -> None:
    asked = given().when(node.RegisterNode(node_id=node_id, capacity=capacity))
    asked.then_raises(NodeInvalid, node_id=node_id)
    assert problem in str(asked.refusal)


def test_a_node_that_has_left_for_good_does_not_come_back_under_its_name() -> None:
    before = given(registered, retired)
    before.when(node.RegisterNode(node_id="n1", capacity=FOUR)).then_raises(NodeStateForbids, status="retired")


# -- in and out of service -------------------------------------------------------------------------------------------


def test_bringing_an_online_node_online_changes_nothing() -> None:
    given(*UP).when(ask(node.BringOnline)).then_nothing()


def test_a_node_that_is_shut_down_in_order_is_offline() -> None:
    after = given(*UP, suspected).when(ask(node.TakeOffline)).then(node.NodeOffline(**ID, why="w"))
    assert (after.state.status, after.state.suspected, after.state.why) == (NodeStatus.OFFLINE, False, "w")
    after.when(ask(node.TakeOffline)).then_nothing()


def test_a_draining_node_takes_no_work_until_it_is_undrained_even_if_it_restarts_meanwhile() -> None:
    after = given(*UP).when(node.DrainNode(node_id="n1", why="disk")).then(drained)
    assert (after.state.status, after.state.takes_work, after.state.why) == (NodeStatus.ONLINE, False, "disk")
    after.when(ask(node.DrainNode)).then_nothing()
    restarted = given(*after.facts, node.NodeLost(**ID, why="power"), online)
    assert not restarted.state.takes_work
    assert restarted.when(ask(node.UndrainNode)).then(node.NodeUndrained(**ID, why="w")).state.takes_work
    given(*UP).when(ask(node.UndrainNode)).then_nothing()


def test_a_silent_node_is_suspected_once_and_trusted_again_when_it_reports() -> None:
    after = given(*UP).when(ask(node.SuspectNode)).then(suspected)
    assert (after.state.status, after.state.takes_work) == (NodeStatus.ONLINE, False)
    after.when(ask(node.SuspectNode)).then_nothing()
    for kind in (node.BringOnline, node.RecoverNode):
        assert after.when(ask(kind)).then(node.NodeRecovered(**ID)).state.takes_work
    given(registered).when(ask(node.SuspectNode)).then_nothing()  # nothing is expected of an offline node
    given(*UP).when(ask(node.RecoverNode)).then_nothing()


def test_a_lost_node_is_offline_until_it_reports_again() -> None:
    after = given(*UP, suspected).when(ask(node.LoseNode)).then(node.NodeLost(**ID, why="w"))
    assert (after.state.status, after.state.suspected, after.state.why) == (NodeStatus.OFFLINE, False, "w")
    after.when(ask(node.LoseNode)).then_nothing()
    back = after.when(ask(node.BringOnline)).then(online)
    assert (back.state.takes_work, back.state.why) == (True, "")


def test_maintenance_ends_only_when_somebody_ends_it() -> None:
    after = given(*UP).when(node.StartMaintenance(node_id="n1", why="new cards")).then(maintenance)
    assert (after.state.status, after.state.why) == (NodeStatus.MAINTENANCE, "new cards")
    after.when(ask(node.StartMaintenance)).then_nothing()
    after.when(ask(node.BringOnline)).then_nothing()
    after.when(ask(node.RecoverNode)).then_nothing()
    ended = after.when(ask(node.EndMaintenance)).then(node.NodeMaintenanceEnded(**ID))
    assert ended.state.status is NodeStatus.OFFLINE  # until it reports
    given(*UP).when(ask(node.EndMaintenance)).then_raises(NodeStateForbids, status=NodeStatus.ONLINE)


def test_a_quarantined_node_stays_so_until_a_person_recovers_it() -> None:
    asked = node.QuarantineNode(node_id="n1", cause="9 failures in a row")
    after = given(*UP).when(asked).then(quarantined)
    assert (after.state.status, after.state.why) == (NodeStatus.ERROR, "9 failures in a row")
    after.when(asked).then_nothing()
    after.when(ask(node.BringOnline)).then_nothing()
    assert after.when(ask(node.RecoverNode)).then(node.NodeRecovered(**ID)).state.takes_work


@pytest.mark.parametrize("set_aside", [maintenance, quarantined])
def test_a_report_of_a_suspected_node_does_not_end_what_set_it_aside_since(set_aside: node.NodeEvent) -> None:
    before = given(*UP, suspected, set_aside)
    before.when(ask(node.BringOnline)).then_nothing()
    assert not before.state.suspected


@pytest.mark.parametrize("set_aside", [maintenance, quarantined])
def test_a_node_that_was_set_aside_and_dies_does_not_take_work_when_it_restarts(set_aside: node.NodeEvent) -> None:
    after = given(*UP, set_aside).when(ask(node.LoseNode)).then(node.NodeLost(**ID, why="w"))
    assert after.state == given(*UP, set_aside).state
    after.when(ask(node.BringOnline)).then_nothing()


def test_only_an_offline_node_can_leave_for_good() -> None:
    given(*UP).when(ask(node.RetireNode)).then_raises(NodeStateForbids, status=NodeStatus.ONLINE)
    after = given(registered).when(ask(node.RetireNode)).then(retired)
    assert after.state.retired
    assert not after.state.takes_work


def test_the_status_words_are_those_that_were_published() -> None:
    assert [s.value for s in NodeStatus] == ["online", "offline", "maintenance", "error", "starting", "stopping"]


# -- whatever is asked in whatever order -----------------------------------------------------------------------------


class NodeMachine(RuleBasedStateMachine):
    """One node and every command, with a model that knows only what a wrangler would write on a whiteboard."""

    def __init__(self) -> None:
        super().__init__()
        self.facts: list[node.NodeEvent] = []
        self.state: node.Node | None = None
        self.place = NodeStatus.OFFLINE
        self.draining = self.silent = self.gone = False

    def ask(self, command: node.NodeCommand) -> bool:
        """Whether the command was obeyed; one that was is asked again, which must change nothing or be refused."""
        try:
            facts = node.decide(self.state, command, NOW)
        except TaskSchedulerError:
            return False
        for fact in facts:
            self.state = node.evolve(self.state, fact)
        self.facts += facts
        return True

    @initialize()
    def register(self) -> None:
        assert self.ask(node.RegisterNode(node_id="n1", capacity=FOUR))

    @rule(cores=st.integers(1, 3))
    def change(self, cores: int) -> None:
        assert self.ask(node.RegisterNode(node_id="n1", capacity=resources(cores))) is not self.gone
        assert self.gone or self.state.capacity == resources(cores)

    @rule(drain=st.booleans())
    def drain_or_undrain(self, drain: bool) -> None:
        assert self.ask(ask(node.DrainNode if drain else node.UndrainNode)) is not self.gone
        self.draining = self.draining if self.gone else drain

    @rule()
    def report(self) -> None:
        self.ask(ask(node.BringOnline))
        if self.place is NodeStatus.OFFLINE and not self.gone:
            self.place = NodeStatus.ONLINE
        self.silent = False

    @rule()
    def fall_silent(self) -> None:
        self.ask(ask(node.SuspectNode))
        self.silent = self.silent or self.place is NodeStatus.ONLINE

    @rule()
    def recover(self) -> None:
        self.ask(ask(node.RecoverNode))
        self.silent = False
        if self.place is NodeStatus.ERROR:
            self.place = NodeStatus.ONLINE

    @rule()
    def die(self) -> None:
        self.ask(ask(node.LoseNode))
        if self.place is NodeStatus.ONLINE:
            self.place, self.silent = NodeStatus.OFFLINE, False

    @rule(kind=st.sampled_from((node.TakeOffline, node.StartMaintenance, node.QuarantineNode)))
    def set_aside(self, kind: type[node.NodeCommand]) -> None:
        where = {node.StartMaintenance: NodeStatus.MAINTENANCE, node.QuarantineNode: NodeStatus.ERROR}
        if self.ask(ask(kind)):
            self.place, self.silent = where.get(kind, NodeStatus.OFFLINE), False

    @rule()
    def end_maintenance(self) -> None:
        obeyed = self.ask(ask(node.EndMaintenance))
        assert obeyed == (self.place is NodeStatus.MAINTENANCE and not self.gone)
        if obeyed:
            self.place = NodeStatus.OFFLINE

    @rule()
    def retire(self) -> None:
        obeyed = self.ask(ask(node.RetireNode))
        assert obeyed == (self.place is NodeStatus.OFFLINE and not self.gone)
        self.gone = self.gone or obeyed

    @invariant()
    def it_is_as_the_whiteboard_says(self) -> None:
        if self.state is None:
            return
        found = (self.state.status, self.state.draining, self.state.suspected, self.state.retired)
        assert found == (self.place, self.draining, self.silent, self.gone), listing(self.facts)
        in_service = self.place is NodeStatus.ONLINE and not self.draining and not self.silent
        assert self.state.takes_work == in_service, listing(self.facts)

    @invariant()
    def the_log_replayed_gives_the_live_state(self) -> None:
        assert replayed(node, self.facts) == self.state, listing(self.facts)


TestNode = NodeMachine.TestCase


# -- power -----------------------------------------------------------------------------------------------------------


def test_a_node_that_is_powered_down_takes_no_work_until_it_reports_again() -> None:
    down = given(*UP).when(ask(node.StopNode)).then(stopping)
    assert (down.state.status, down.state.asleep, down.state.takes_work) == (NodeStatus.STOPPING, True, False)
    off = given(*UP, stopping, node.NodeOffline(**ID, why="asleep")).when(ask(node.StartNode)).then(starting)
    assert (off.state.status, off.state.asleep) == (NodeStatus.STARTING, False)
    up = off.when(ask(node.BringOnline)).then(online)
    assert up.state.takes_work
    assert not up.state.asleep


def test_a_node_that_reports_by_itself_is_awake() -> None:
    given(*UP, stopping, node.NodeOffline(**ID, why="asleep")).when(ask(node.BringOnline)).then(online)


def test_power_is_switched_once() -> None:
    given(*UP, stopping).when(ask(node.StopNode)).then()
    given(*UP, stopping, starting).when(ask(node.StartNode)).then()
    given(*UP).when(ask(node.StartNode)).then()


def test_only_what_is_up_is_powered_down_and_only_what_sleeps_is_powered_up() -> None:
    given(registered).when(ask(node.StopNode)).then_raises(NodeStateForbids, status="offline", verb="stop-node")
    given(*UP, maintenance).when(ask(node.StopNode)).then_raises(NodeStateForbids, status="maintenance")
    given(registered).when(ask(node.StartNode)).then_raises(NodeStateForbids, status="offline", verb="start-node")
